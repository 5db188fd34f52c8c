package simfleet_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/simfleet"
)

// A line's from= is held against the address that the host sees: the bastion's
// private one, the endpoint's interface, or the operator's own where the endpoint preserves it.
func TestFromSeesBastionAndEndpoint(t *testing.T) {
	w := generate(t, simfleet.Options{Instances: 60, Seed: 7, Healthy: true})
	in, bastion := hostAndNeighbour(t, w)
	w.Mu.Lock()
	defer w.Mu.Unlock()
	rg := in.Region
	e, err := w.AddConnectEndpoint(rg, in.Host.Subnet)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range rg.Groups {
		if slices.Contains(in.Host.Groups, g.ID) {
			g.Ingress = append(slices.Clone(g.Ingress), fleet.Permission{Protocol: "tcp", From: 22, To: 22, CIDRs: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}})
		}
	}
	eni := rg.ENIs[len(rg.ENIs)-1].PrivateIP
	_, key := w.OperatorKey()
	user := in.Users[slices.IndexFunc(in.Users, func(u *simfleet.User) bool { return u.Name == simfleet.OperatorUser })]
	for _, tt := range []struct {
		name, from string
		origin     simfleet.Origin
		preserve   bool
		refused    bool
	}{
		{"bastion", bastion.Host.PrivateIP.String() + "/32", simfleet.Origin{Instance: bastion}, false, false},
		{"bastion, another address", "192.0.2.1/32", simfleet.Origin{Instance: bastion}, false, true},
		{"endpoint", eni.String() + "/32", simfleet.Origin{Addr: simfleet.OperatorAddr, ConnectEndpoint: e}, false, false},
		{"endpoint, the bastion's address", bastion.Host.PrivateIP.String() + "/32", simfleet.Origin{Addr: simfleet.OperatorAddr, ConnectEndpoint: e}, false, true},
		{"endpoint that preserves the client's address", eni.String() + "/32", simfleet.Origin{Addr: simfleet.OperatorAddr, ConnectEndpoint: e}, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e.PreserveClientIP = tt.preserve
			user.Keys = []string{`restrict,pty,from="` + tt.from + `" ` + key}
			simfleet.NewHosts(w, simfleet.HostOptions{})
			reason := w.LoginReason(tt.origin, in, simfleet.OperatorUser, key)
			if (reason != "") != tt.refused || tt.refused && !strings.Contains(reason, "not accepted") {
				t.Errorf("%q, refused %t", reason, tt.refused)
			}
		})
	}
}

// hostAndNeighbour are two instances of one subnet, the first with the operator's account.
func hostAndNeighbour(t *testing.T, w *simfleet.World) (host, neighbour *simfleet.Instance) {
	t.Helper()
	for host := range w.Instances() {
		for other := range w.Instances() {
			if host != other && host.OS.Family != "windows" && host.Host.Running() && other.Host.Running() && host.Host.Subnet == other.Host.Subnet && host.Host.PrivateIP.Is4() &&
				slices.ContainsFunc(host.Users, func(u *simfleet.User) bool { return u.Name == simfleet.OperatorUser }) {
				return host, other
			}
		}
	}
	t.Fatal("the world has no two neighbours")
	return nil, nil
}
