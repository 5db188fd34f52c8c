package simfleet_test

import (
	"strings"
	"testing"

	"ssm-migrate/internal/simfleet"
)

// world for causes: the same for all.
func causeWorld(t *testing.T) *simfleet.World {
	t.Helper()
	return generate(t, simfleet.Options{Instances: 150, Seed: 8})
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
			if !w.OperatorReaches(in) {
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
