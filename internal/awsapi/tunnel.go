package awsapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/session"
)

// Tunnels opens connections to hosts through EC2 Instance Connect Endpoints. The
// request follows the AWS CLI's eicesigner.py, version 2. It may be used concurrently.
type Tunnels struct {
	sessions *Sessions
	known    func(fleet.Place) []fleet.ConnectEndpoint

	mu    sync.Mutex
	slots map[string]chan struct{} // by endpoint; guarded by mu
}

// NewTunnels makes tunnels by the endpoints that are known of a place: none is
// asked for, since EC2 may not answer just when they are needed.
func NewTunnels(s *Sessions, known func(fleet.Place) []fleet.ConnectEndpoint) *Tunnels {
	return &Tunnels{sessions: s, known: known, slots: map[string]chan struct{}{}}
}

const (
	apiOpenTunnel = "ec2-instance-connect:OpenTunnel"
	tunnelTime    = "3600" // seconds; the most there is
	tunnelWait    = 30 * time.Second
	tunnelExpires = "60" // seconds for which the request may be used

	tunnelPause    = 100 * time.Millisecond // the first; doubled up to the longest
	maxTunnelPause = 3 * time.Second
)

// Open connects to port 22 of the host. While the host's endpoint carries as many
// connections as it can, it waits: for its own as long as ctx lets it, for those of
// others half a minute.
func (t *Tunnels) Open(ctx context.Context, h fleet.Host) (net.Conn, error) {
	e, err := t.endpoint(h)
	if err != nil {
		return nil, err
	}
	p, err := t.sessions.at(ctx, h.Ref().Place())
	if err != nil {
		return nil, err
	}
	slot := t.slot(e.ID)
	select {
	case slot <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("endpoint %s carries %d connections: %w", e.ID, fleet.ConnectEndpointTunnels, context.Cause(ctx))
	}
	conn, err := p.openTunnel(ctx, e, h)
	if err == nil {
		return &slotted{Conn: conn, free: sync.OnceFunc(func() { <-slot })}, nil
	}
	<-slot
	if errors.Is(err, session.ErrRefused) {
		err = fmt.Errorf("%w; you need %s on endpoint %s", err, apiOpenTunnel, e.ID)
	}
	return nil, fmt.Errorf("open a tunnel by EC2 Instance Connect Endpoint %s: %w", e.ID, err)
}

// openTunnel asks again, with pauses, while the endpoint says that it carries too
// many connections: those of others are not counted here, and one that was closed
// here may not have ended there yet.
func (p *sessionPlace) openTunnel(ctx context.Context, e fleet.ConnectEndpoint, h fleet.Host) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, tunnelWait)
	defer cancel()
	for pause := tunnelPause; ; pause = min(2*pause, maxTunnelPause) {
		address, err := p.tunnelURL(ctx, e, h, time.Now())
		if err != nil {
			return nil, err
		}
		conn, err := session.Tunnel(ctx, address, p.channelClient())
		if err == nil || !errors.Is(err, session.ErrTooMany) {
			return conn, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// endpoint picks the host's: one of its subnet, else of its VPC.
func (t *Tunnels) endpoint(h fleet.Host) (fleet.ConnectEndpoint, error) {
	all := slices.DeleteFunc(slices.Clone(t.known(h.Ref().Place())), func(e fleet.ConnectEndpoint) bool { return e.VPC != h.VPC || !e.Usable() || e.DNSName == "" })
	switch i := slices.IndexFunc(all, func(e fleet.ConnectEndpoint) bool { return e.Subnet == h.Subnet }); {
	case len(all) == 0:
		return fleet.ConnectEndpoint{}, fmt.Errorf("the inventory knows of no EC2 Instance Connect Endpoint in %s that is ready", clean(h.VPC))
	case !h.PrivateIP.Is4():
		return fleet.ConnectEndpoint{}, errors.New("the instance has no private IPv4 address")
	case i >= 0:
		return all[i], nil
	}
	return all[0], nil
}

func (t *Tunnels) slot(endpoint string) chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.slots[endpoint] == nil {
		t.slots[endpoint] = make(chan struct{}, fleet.ConnectEndpointTunnels)
	}
	return t.slots[endpoint]
}

// tunnelURL is the signed address of a tunnel. An endpoint URL of the operator's
// own (AWS_ENDPOINT_URL) stands in for the endpoint's DNS name.
func (p *sessionPlace) tunnelURL(ctx context.Context, e fleet.ConnectEndpoint, h fleet.Host, now time.Time) (string, error) {
	u := url.URL{Scheme: "wss", Host: e.DNSName, Path: "/openTunnel"}
	if own := aws.ToString(p.config.BaseEndpoint); own != "" {
		base, err := url.Parse(own)
		if err != nil {
			return "", fmt.Errorf("the configured endpoint URL: %w", err)
		}
		u.Host = base.Host
		if base.Scheme == "http" {
			u.Scheme = "ws"
		}
	}
	q := url.Values{
		"instanceConnectEndpointId": {e.ID}, "remotePort": {"22"}, "privateIpAddress": {h.PrivateIP.String()},
		"maxTunnelDuration": {tunnelTime}, "X-Amz-Expires": {tunnelExpires},
	}
	u.RawQuery = q.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", fmt.Errorf("the address of the tunnel: %w", err)
	}
	keys, err := p.config.Credentials.Retrieve(ctx)
	if err != nil {
		return "", p.account.failure(apiOpenTunnel, err)
	}
	signed, _, err := v4.NewSigner().PresignHTTP(ctx, keys, r, emptyHash, "ec2-instance-connect", p.region, now)
	return signed, err
}

// slotted gives its place in the endpoint back when it is closed.
type slotted struct {
	net.Conn
	free func()
}

func (s *slotted) Close() error {
	defer s.free()
	return s.Conn.Close()
}
