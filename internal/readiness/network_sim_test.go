package readiness_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/simfleet"
)

func healthyWorld(t *testing.T, seed uint64, instances int) *simfleet.World {
	t.Helper()
	w, err := simfleet.Generate(simfleet.Options{Seed: seed, Instances: instances, Healthy: true, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// withPreferences adds what the Regions of a world say of session preferences.
func withPreferences(w *simfleet.World, s *fleet.Snapshot) *fleet.Snapshot {
	i := 0
	for _, a := range w.Accounts {
		for _, r := range a.Regions {
			s.Regions[i].Preferences = known(fleet.Preferences{Exists: r.Preferences != "", Content: r.Preferences}, "ssm:GetDocument")
			i++
		}
	}
	return s
}

// TestHealthyFleetHasNoNetworkFinding holds with and without Systems Manager's
// word: static analysis alone finds every way open.
func TestHealthyFleetHasNoNetworkFinding(t *testing.T) {
	for seed := range uint64(3) {
		w := healthyWorld(t, seed, 200)
		s := withPreferences(w, observe(w))
		for _, mute := range []bool{false, true} {
			if mute {
				for i := range s.Hosts {
					silent(s, &s.Hosts[i], nil)
				}
			}
			a := judge(s)
			for _, f := range a.Findings {
				if areaOf(f.Code) == "network" {
					t.Errorf("seed %d: %s on %s%s:\n%s", seed, f.Code, f.Host, f.Object, factsOf(f))
				}
			}
			if len(a.Paths) == 0 {
				t.Errorf("seed %d: no paths", seed)
			}
			for _, p := range a.Paths {
				if stop, _ := p.Stop(); p.Open != fleet.TruthYes {
					t.Errorf("seed %d: the way to %s is %s: %s", seed, p.Name, p.Open, stop.Text)
				}
			}
		}
	}
}

// upset changes one thing in a random VPC of a world.
type upset struct {
	name string
	do   func(*rapid.T, *simfleet.Region, *fleet.VPC)
}

func pick[T any](t *rapid.T, from []T) (T, bool) {
	var none T
	if len(from) == 0 {
		return none, false
	}
	return from[rapid.IntRange(0, len(from)-1).Draw(t, "which")], true
}

func of[T any](from []T, keep func(T) bool) []T {
	var out []T
	for _, x := range from {
		if keep(x) {
			out = append(out, x)
		}
	}
	return out
}

func upsets() []upset {
	endpoint := func(do func(*simfleet.Region, *fleet.VPCEndpoint)) func(*rapid.T, *simfleet.Region, *fleet.VPC) {
		return func(t *rapid.T, r *simfleet.Region, v *fleet.VPC) {
			if e, ok := pick(t, of(r.Endpoints, func(e *fleet.VPCEndpoint) bool { return e.VPC == v.ID && e.Type == "Interface" })); ok {
				do(r, e)
			}
		}
	}
	table := func(do func(*rapid.T, *fleet.RouteTable)) func(*rapid.T, *simfleet.Region, *fleet.VPC) {
		return func(t *rapid.T, r *simfleet.Region, v *fleet.VPC) {
			if x, ok := pick(t, of(r.RouteTables, func(x *fleet.RouteTable) bool { return x.VPC == v.ID })); ok {
				do(t, x)
			}
		}
	}
	acl := func(egress bool, from, to int) func(*rapid.T, *simfleet.Region, *fleet.VPC) {
		return func(t *rapid.T, r *simfleet.Region, v *fleet.VPC) {
			if x, ok := pick(t, of(r.NetworkACLs, func(x *fleet.NetworkACL) bool { return x.VPC == v.ID })); ok {
				x.Entries = append([]fleet.ACLEntry{{Number: 1, Egress: egress, Protocol: "6", CIDR: prefix("0.0.0.0/0"), From: from, To: to}}, x.Entries...)
			}
		}
	}
	zone := func(name string, records ...fleet.DNSRecord) func(*rapid.T, *simfleet.Region, *fleet.VPC) {
		return func(t *rapid.T, r *simfleet.Region, v *fleet.VPC) {
			in := func(s string) string { return strings.ReplaceAll(s, "R", r.Name) }
			if len(records) == 0 && slices.ContainsFunc(r.Account.Zones, func(z *fleet.HostedZone) bool { return slices.Contains(z.VPCs, v.ID) }) {
				return // the world looks up an alias's target in the VPC, which Route 53 does not
			}
			z := &fleet.HostedZone{ID: fmt.Sprintf("Z%d", len(r.Account.Zones)), Name: in(name), VPCs: []string{v.ID}}
			for _, rec := range records {
				rec.Name = in(rec.Name)
				z.Records = append(z.Records, rec)
			}
			r.Account.Zones = append(r.Account.Zones, z)
		}
	}
	return []upset{
		{"endpoint gone", func(t *rapid.T, r *simfleet.Region, v *fleet.VPC) {
			if e, ok := pick(t, of(r.Endpoints, func(e *fleet.VPCEndpoint) bool { return e.VPC == v.ID })); ok {
				r.Endpoints = of(r.Endpoints, func(x *fleet.VPCEndpoint) bool { return x != e })
			}
		}},
		{"private DNS off", endpoint(func(_ *simfleet.Region, e *fleet.VPCEndpoint) { e.PrivateDNS = false })},
		{"endpoint failed", endpoint(func(r *simfleet.Region, e *fleet.VPCEndpoint) {
			e.State = "failed"
			r.ENIs = of(r.ENIs, func(n *simfleet.ENI) bool { return n.Owner != e.ID })
		})},
		{"endpoint's group closed", func(t *rapid.T, r *simfleet.Region, v *fleet.VPC) {
			for _, e := range r.Endpoints {
				for _, g := range r.Groups {
					if e.VPC == v.ID && slices.Contains(e.Groups, g.ID) {
						g.Ingress = []fleet.Permission{https(prefix("192.0.2.0/24"))}
					}
				}
			}
		}},
		{"egress closed", func(t *rapid.T, r *simfleet.Region, v *fleet.VPC) {
			if g, ok := pick(t, of(r.Groups, func(g *fleet.SecurityGroup) bool { return g.VPC == v.ID })); ok {
				g.Egress = nil
			}
		}},
		{"ACL out", acl(true, 443, 443)},
		{"ACL answers", acl(false, 1024, 65535)},
		{"ACL answers out", acl(true, 1024, 65535)},
		{"no default route", table(func(_ *rapid.T, x *fleet.RouteTable) {
			x.Routes = of(x.Routes, func(r fleet.Route) bool { return r.CIDR != prefix("0.0.0.0/0") })
		})},
		{"blackhole", table(func(t *rapid.T, x *fleet.RouteTable) {
			if len(x.Routes) > 1 {
				x.Routes[rapid.IntRange(1, len(x.Routes)-1).Draw(t, "route")].State = "blackhole"
			}
		})},
		{"NAT gateway failed", func(_ *rapid.T, r *simfleet.Region, v *fleet.VPC) {
			for _, g := range r.NATGateways {
				if slices.Contains(g.VPCs, v.ID) {
					g.State = "failed"
				}
			}
		}},
		{"no DNS", func(_ *rapid.T, _ *simfleet.Region, v *fleet.VPC) { v.DNSSupport.Value = false }},
		{"no DNS hostnames", func(_ *rapid.T, _ *simfleet.Region, v *fleet.VPC) { v.DNSHostnames.Value = false }},
		{"parent zone", zone("amazonaws.com")},
		{"zone without a record", zone("ssmmessages.R.amazonaws.com")},
		{"zone with a stale record", zone("ssm.R.amazonaws.com", fleet.DNSRecord{Name: "ssm.R.amazonaws.com", Type: "A", Values: []string{"10.255.255.254"}})},
		{"peering pending", func(t *rapid.T, r *simfleet.Region, _ *fleet.VPC) {
			if p, ok := pick(t, r.Peerings); ok {
				p.State = "pending-acceptance"
			}
		}},
		{"rule forwards the name", func(_ *rapid.T, r *simfleet.Region, v *fleet.VPC) {
			r.Rules = append(r.Rules, &fleet.ResolverRule{ID: "rslvr-rr-x", Domain: "ssm." + r.Name + ".amazonaws.com", Type: "FORWARD", VPCs: []string{v.ID}, Targets: []string{"10.0.0.53"}})
		}},
		{"rule forwards everything", func(_ *rapid.T, r *simfleet.Region, v *fleet.VPC) {
			r.Rules = append(r.Rules, &fleet.ResolverRule{ID: "rslvr-rr-y", Domain: "", Type: "FORWARD", VPCs: []string{v.ID}, Targets: []string{"10.0.0.53"}})
		}},
	}
}

// TestStaticAnalysisAgreesWithAnUpsetFleet breaks a healthy world in up to
// three random ways and holds what static analysis says of every running host
// against what the world computes packet by packet. A doubt is no error; a
// wrong yes or no is.
func TestStaticAnalysisAgreesWithAnUpsetFleet(t *testing.T) {
	decided, doubted := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		w := healthyWorld(t, rapid.Uint64Range(0, 5).Draw(rt, "seed"), 24)
		for range rapid.IntRange(1, 3).Draw(rt, "upsets") {
			r := w.Accounts[rapid.IntRange(0, len(w.Accounts)-1).Draw(rt, "account")].Regions[0]
			u, _ := pick(rt, upsets())
			v, ok := pick(rt, r.VPCs)
			if !ok {
				continue
			}
			rt.Logf("%s in %s", u.name, v.ID)
			u.do(rt, r, v)
		}
		s := observe(w)
		for i := range s.Hosts {
			silent(s, &s.Hosts[i], nil)
		}
		a := judge(s)
		verdicts := map[string]fleet.HostVerdict{}
		for _, v := range a.Hosts {
			verdicts[v.Host] = v
		}
		for in := range w.Instances() {
			if !in.Host.Running() {
				continue
			}
			for _, i := range verdicts[in.Host.ID].Paths {
				p := a.Paths[i]
				if p.Service != "ssm" && p.Service != "ssmmessages" {
					continue
				}
				real := w.EgressTo(in, p.Service)
				stop, _ := p.Stop()
				switch {
				case p.Open == fleet.TruthUnknown:
					doubted++
					continue
				case p.Open == fleet.TruthYes && !real.TCP:
					rt.Fatalf("%s to %s is open by static analysis, but %s\n%s", in.Host.ID, p.Service, real.Reason, drawHops(p))
				case p.Open == fleet.TruthNo && real.TCP:
					rt.Fatalf("%s reaches %s at %v, but static analysis says: %s\n%s", in.Host.ID, p.Service, real.Addresses, stop.Text, drawHops(p))
				}
				decided++
			}
		}
	})
	if decided < 10*doubted {
		t.Errorf("static analysis decided %d ways and doubted %d", decided, doubted)
	}
}

func drawHops(p fleet.Path) string {
	var b strings.Builder
	for _, h := range p.Hops {
		fmt.Fprintf(&b, "  %-8s %s %s: %s\n", h.Passes, h.Kind, h.Object, h.Text)
	}
	return b.String()
}

// TestHealthyWorldsHaveEveryKindOfWay makes sure that the worlds of these tests use
// peering and zones at all.
func TestHealthyWorldsHaveEveryKindOfWay(t *testing.T) {
	kinds := map[string]bool{}
	for seed := range uint64(3) {
		w := healthyWorld(t, seed, 200)
		for _, p := range judge(withPreferences(w, observe(w))).Paths {
			for _, h := range p.Hops {
				kinds[h.Kind] = true
			}
		}
	}
	for _, k := range []string{"dns", "security group", "network ACL, out", "network ACL, in", "network ACL, answers out", "network ACL, answers in", "route table", "endpoint policy", "peering", "NAT gateway", "internet gateway"} {
		if !kinds[k] {
			t.Errorf("no way passes a %s; there are %v", k, kinds)
		}
	}
}
