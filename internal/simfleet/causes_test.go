package simfleet_test

import (
	"context"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/inventory"
	"ssm-migrate/internal/simfleet"
	"ssm-migrate/internal/sshhost"
)

// world for causes: the same for all.
func causeWorld(t *testing.T) *simfleet.World {
	t.Helper()
	return generate(t, simfleet.Options{Instances: 80, Seed: 8, Healthy: true})
}

// inject brings a cause about on the first instance that serves sessions, can
// be reached, and takes it.
func inject(t *testing.T, w *simfleet.World, c simfleet.Cause) *simfleet.Instance {
	t.Helper()
	var last error
	for in := range w.Instances() {
		if in.Role == "bastion" || in.OS.Family == "windows" || in.Down || !w.ServesSessions(in) || !w.OperatorReaches(in) {
			continue
		}
		if last = c.Inject(w, in); last == nil {
			return in
		}
	}
	t.Fatalf("no instance takes %s: %v", c.Name, last)
	return nil
}

// serving is the reason why no session opens, by instance; "" where one would.
func serving(w *simfleet.World) map[string]string {
	out := map[string]string{}
	for in := range w.Instances() {
		out[in.Host.ID] = w.SessionReason(in)
	}
	return out
}

func TestCausesAreListed(t *testing.T) {
	names, numbers := map[string]bool{}, map[int]bool{}
	for _, c := range simfleet.Causes() {
		if names[c.Name] || c.Name == "" || c.Text == "" || strings.ToLower(c.Name) != c.Name || strings.ContainsAny(c.Name, " _") {
			t.Errorf("bad or repeated name %q (%q)", c.Name, c.Text)
		}
		if (c.Inject == nil) != (c.Why != "") {
			t.Errorf("%s: has to have either an injection or the reason why not", c.Name)
		}
		names[c.Name], numbers[c.Number] = true, true
	}
	for n := 1; n <= 50; n++ {
		if !numbers[n] {
			t.Errorf("cause %d is missing", n)
		}
	}
}

// TestCausesFollowTheRules brings every cause about alone, and looks at what
// the world's rules make of it: on the target, and everywhere else.
func TestCausesFollowTheRules(t *testing.T) {
	for _, c := range simfleet.Causes() {
		if c.Inject == nil {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			w := causeWorld(t)
			before := serving(w)
			in := inject(t, w, c)
			after := serving(w)
			if broken := after[in.Host.ID] != ""; broken != c.Breaks {
				t.Errorf("broken %v, want %v (%s)", broken, c.Breaks, after[in.Host.ID])
			}
			if !w.OperatorReaches(in) && in.Host.PrivateIP.IsValid() {
				t.Error("the operator no longer reaches the host")
			}
			for id, reason := range before {
				if id != in.Host.ID && reason == "" && after[id] != "" {
					t.Errorf("%s no longer serves sessions: %s", id, after[id])
				}
			}
			// A cause that is there already changes nothing more.
			if err := c.Inject(w, in); err != nil {
				t.Errorf("a second time: %v", err)
			}
			if again := serving(w); again[in.Host.ID] != after[in.Host.ID] {
				t.Errorf("a second time: %q, before %q", again[in.Host.ID], after[in.Host.ID])
			}
		})
	}
}

// TestCausesKeepNeighboursWays copies the VPC whose endpoints a peered VPC
// uses, and the one that uses them: both copies have the addresses of the
// originals, and nobody else may be led to them.
func TestCausesKeepNeighboursWays(t *testing.T) {
	for _, cause := range []string{"endpoint-missing", "endpoint-policy", "vpc-dns-off", "acl-drops-replies", "proxy-missing"} {
		for _, vpc := range []string{"prod", "tools"} {
			s := healthyHost(t, vpc)
			before := serving(s.World)
			c := causeNamed(t, cause)
			if err := c.Inject(s.World, s.in); err != nil {
				t.Errorf("%s in %s: %v", cause, vpc, err)
				continue
			}
			for id, reason := range serving(s.World) {
				if broken := reason != ""; broken != (before[id] != "" || id == s.in.Host.ID) {
					t.Errorf("%s in %s: %s: %q", cause, vpc, id, reason)
				}
			}
		}
	}
}

// TestCausesKeepTemplates brings network causes about on an instance that is
// alone in its Auto Scaling group: the next one would start beside it.
func TestCausesKeepTemplates(t *testing.T) {
	s := healthyHost(t, "prod")
	var group *fleet.ScalingGroup
	for _, g := range s.rg.Scaling {
		if len(g.Instances) > 0 {
			group = g
		}
	}
	if group == nil {
		t.Fatal("the world has no Auto Scaling group in use")
	}
	group.Instances, group.Desired, group.Min = group.Instances[:1], 1, 1
	i := slices.IndexFunc(s.rg.Instances, func(in *simfleet.Instance) bool { return in.Host.ID == group.Instances[0] })
	in := s.rg.Instances[i]
	c := causeNamed(t, "vpc-dns-off")
	if err := c.Inject(s.World, in); err != nil {
		t.Fatal(err)
	}
	k := slices.IndexFunc(s.rg.Templates, func(l *fleet.LaunchTemplate) bool { return l.ID == group.Template.ID })
	if k < 0 || in.Host.LaunchTemplate.ID != group.Template.ID || in.Host.Tags["aws:ec2launchtemplate:id"] != group.Template.ID {
		t.Fatalf("the group has template %s, the instance %s (%s)", group.Template.ID, in.Host.LaunchTemplate.ID, in.Host.Tags["aws:ec2launchtemplate:id"])
	}
	for _, v := range s.rg.Templates[k].Versions {
		if len(v.Groups) == 0 || !slices.Equal(v.Groups, in.Host.Groups) {
			t.Errorf("version %d gives %v, the instance has %v", v.Number, v.Groups, in.Host.Groups)
		}
	}
	if !slices.Contains(group.Subnets, in.Host.Subnet) {
		t.Errorf("the group starts instances in %v, the instance is in %s", group.Subnets, in.Host.Subnet)
	}
}

func causeNamed(t *testing.T, name string) simfleet.Cause {
	t.Helper()
	all := simfleet.Causes()
	i := slices.IndexFunc(all, func(c simfleet.Cause) bool { return c.Name == name })
	if i < 0 {
		t.Fatal("no cause " + name)
	}
	return all[i]
}

// TestPairsOfCauses brings pairs of causes about on one instance. Whatever two
// do together, one that breaks goes on breaking, and nobody else is harmed.
func TestPairsOfCauses(t *testing.T) {
	all := slices.DeleteFunc(simfleet.Causes(), func(c simfleet.Cause) bool { return c.Inject == nil })
	if testing.Short() {
		all = all[:len(all)/5] // nothing runs side by side here
	}
	together := 0
	for i, first := range all {
		second := all[(i*7+3)%len(all)]
		w := causeWorld(t)
		before := serving(w)
		in := inject(t, w, first)
		if second.Name == first.Name || second.Inject(w, in) != nil {
			continue
		}
		together++
		for id, reason := range serving(w) {
			switch {
			case id != in.Host.ID && before[id] == "" && reason != "":
				t.Errorf("%s and %s: %s no longer serves sessions: %s", first.Name, second.Name, id, reason)
			case id == in.Host.ID && (reason != "") != (first.Breaks || second.Breaks):
				t.Errorf("%s and %s: %q", first.Name, second.Name, reason)
			}
		}
	}
	if together < len(all)/2 {
		t.Errorf("only %d of %d pairs went together", together, len(all))
	}
}

// TestCausesShowOnTheHost probes the host of each cause with the product's own
// client, by the operator's own files, and compares what the probe says with
// the model.
func TestCausesShowOnTheHost(t *testing.T) {
	for _, c := range simfleet.Causes() {
		if testing.Short() && c.Number%10 != 0 {
			continue // nothing runs side by side here
		}
		if c.Inject == nil || c.Name == "ipv6-only" { // to which the operator has no way
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			w := causeWorld(t)
			in := inject(t, w, c)
			out, err := operatorsProbe(t, w)(context.Background(), in.Host)
			if err != nil {
				t.Fatal(err)
			}
			p, err := inventory.Parse(out, w.Now())
			if err != nil {
				t.Fatal(err)
			}
			if in.Machine.Container {
				// The host has no agent of its own; the rest is as the model says.
				if p.Agent.Value.Installed {
					t.Error("an agent in a container is listed as the host's")
				}
				return
			}
			compareState(t, in, p)
			compareEndpoints(t, w, in, p)
		})
	}
}

// operatorsProbe gives a way to probe the world's hosts as their operator.
func operatorsProbe(t *testing.T, w *simfleet.World) func(context.Context, fleet.Host) (fleet.ProbeOutput, error) {
	t.Helper()
	h := simfleet.NewHosts(w, simfleet.HostOptions{TimeScale: -1})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- h.ServeSOCKS(ctx, ln) }()
	dir := t.TempDir()
	files := w.OperatorFiles(ln.Addr().String(), dir)
	texts := map[string][]byte{"config": []byte(files.SSHConfig), simfleet.OperatorKnownHostsFile: []byte(files.KnownHosts), simfleet.OperatorKeyFile: files.PrivateKey}
	maps.Copy(texts, files.HostKeys)
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := sshhost.New(sshhost.Config{ConfigFile: filepath.Join(dir, "config"), Proxy: "socks5://" + ln.Addr().String(), AgentSocket: "none"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Close()
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		h.Close()
	})
	return c.Prober(inventory.Command, inventory.Script).Probe
}
