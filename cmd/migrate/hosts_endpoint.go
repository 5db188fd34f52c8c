package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/recovery"
	"ssm-migrate/internal/sqlite"
)

// surroundings are the Regions of the newest inventory: which ways into hosts
// they have that no plan makes.
type surroundings map[fleet.Place]*fleet.Region

// newestSurroundings reads them, or takes the snapshot at hand where there is no newer one.
func newestSurroundings(ctx context.Context, db *sqlite.DB, at *fleet.Snapshot) (surroundings, error) {
	info, err := db.Latest(ctx)
	if err != nil {
		return nil, err
	}
	if info.ID != at.ID {
		if at, err = load(ctx, db, info.ID); err != nil {
			return nil, err
		}
	}
	out := surroundings{}
	for i := range at.Regions {
		out[fleet.Place{Account: at.Regions[i].Account, Region: at.Regions[i].Name}] = &at.Regions[i]
	}
	return out, nil
}

func (s surroundings) endpoints(at fleet.Place) []fleet.ConnectEndpoint {
	if r := s[at]; r != nil {
		return r.ConnectEndpoints.Value
	}
	return nil
}

// otherWays says which ways into a host there are besides those that a cutover
// proves, for people.
func (s surroundings) otherWays(h fleet.Host) string {
	r := s[h.Ref().Place()]
	if r == nil {
		return ""
	}
	var out []string
	switch e, works, why := recovery.ConnectEndpoint(r, h); {
	case works == fleet.TruthYes:
		out = append(out, fmt.Sprintf("EC2 Instance Connect Endpoint %s leads to it", e.ID))
	case e.ID != "":
		out = append(out, "EC2 Instance Connect Endpoint: "+why)
	}
	if console := recovery.SerialConsole(r, h); console != "" {
		out = append(out, console)
	}
	return strings.Join(out, "; ")
}

// useEndpoints lets the recovery key come in by EC2 Instance Connect Endpoints.
func (w *hostWays) useEndpoints(sessions *awsapi.Sessions, s surroundings) {
	w.tunnels, w.around = awsapi.NewTunnels(sessions, s.endpoints), s
}

// endpoint reports whether an EC2 Instance Connect Endpoint may lead to the host.
func (w *hostWays) endpoint(h fleet.Host) bool {
	r := w.around[h.Ref().Place()]
	if r == nil {
		return false
	}
	e, _, _ := recovery.ConnectEndpoint(r, h)
	return e.Usable()
}

func (w *hostWays) tunnel(ctx context.Context, h fleet.Host) (net.Conn, error) {
	if w.tunnels == nil {
		return nil, errors.New("EC2 Instance Connect Endpoints are not used here")
	}
	return w.tunnels.Open(ctx, h)
}
