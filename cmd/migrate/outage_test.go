package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/simfleet"
)

// regions calls f for every Region of the world, which nobody reads meanwhile.
func (f *ownFleet) regions(change func(*simfleet.Region)) {
	f.world.Mu.Lock()
	defer f.world.Mu.Unlock()
	for _, a := range f.world.Accounts {
		for _, rg := range a.Regions {
			change(rg)
		}
	}
}

// Systems Manager goes down after a fleet was closed. One host comes back by
// the recovery bastion; then nothing can be launched any more, and another comes back by an EC2
// Instance Connect Endpoint.
func TestRollbackWhileSystemsManagerIsDown(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs the program; the simulation goes the same ways")
	}
	t.Parallel()
	f := ownSim(t, fleetOf(6))
	f.regions(func(rg *simfleet.Region) { addEndpoints(t, f.world, rg) })
	f.oneWave(t)
	p := f.planned(t)
	f.run(t, nil, "apply", p.ID, "--yes")
	open, _, all := doorsOpen(f.world)
	if open != 0 {
		t.Fatalf("after apply %d of %d hosts are open", open, all)
	}
	f.regions(func(rg *simfleet.Region) {
		rg.Outages = map[string]bool{"ssm": true, "ssmmessages": true, "ec2messages": true}
	})
	rest := p.Waves[len(p.Waves)-1].Hosts
	first, second := p.Waves[1].Hosts[0], rest[len(rest)-1]
	if first == second {
		t.Fatal("the plan has no two waves of hosts")
	}
	f.run(t, []int{exitIncomplete}, "rollback", p.ID, "--host", first.ID, "--yes")
	if open, _, _ = doorsOpen(f.world); open == 0 {
		t.Error("no host is open after its rollback by the recovery bastion")
	}
	f.regions(func(rg *simfleet.Region) { rg.NoCapacity = true })
	out := f.run(t, []int{exitIncomplete}, "rollback", p.ID, "--host", second.ID, "--yes", "--json")
	if now, _, _ := doorsOpen(f.world); now <= open {
		t.Errorf("after the second rollback %d of %d hosts are open, %d after the first:\n%s", now, all, open, out)
	}
	s := f.verified(t)
	if len(s.Bastions) > 0 {
		t.Errorf("bastions are left: %v", s.Bastions)
	}
	ways := map[string]bool{}
	for _, e := range journalEntries(t, f) {
		switch {
		case e.Event == cutover.BastionBegan:
			ways["bastion"] = true
		case e.Event == cutover.Note && strings.Contains(e.Detail, "EC2 Auto Scaling cannot launch it"):
			ways["no launch"] = true
		}
	}
	f.regions(func(rg *simfleet.Region) {
		for _, in := range rg.Instances {
			for _, l := range in.Logins {
				for _, n := range rg.ENIs {
					ways["endpoint"] = ways["endpoint"] || n.PrivateIP == l.From && strings.HasPrefix(n.Owner, "eice-")
				}
			}
		}
	})
	if !ways["bastion"] || !ways["no launch"] || !ways["endpoint"] {
		t.Errorf("ways taken: %v", ways)
	}
}

// addEndpoints gives each VPC an EC2 Instance Connect Endpoint, which the groups
// of all hosts let in.
func addEndpoints(t *testing.T, w *simfleet.World, rg *simfleet.Region) {
	t.Helper()
	for _, v := range rg.VPCs {
		i := slices.IndexFunc(rg.Subnets, func(s *fleet.Subnet) bool { return s.VPC == v.ID })
		if i < 0 {
			continue
		}
		e, err := w.AddConnectEndpoint(rg, rg.Subnets[i].ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range rg.Groups {
			if g.VPC == v.ID && !slices.Contains(e.Groups, g.ID) {
				g.Ingress = append(slices.Clone(g.Ingress), fleet.Permission{Protocol: "tcp", From: 22, To: 22, Groups: e.Groups})
			}
		}
	}
}

func journalEntries(t *testing.T, f *ownFleet) []cutover.Entry {
	t.Helper()
	var out []cutover.Entry
	if err := json.Unmarshal(f.run(t, nil, "journal", "--json"), &out); err != nil {
		t.Fatal(err)
	}
	return out
}
