package plan_test

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// waveOf lists the hosts of each wave that has some, by the last part of their IDs.
func waveOf(p *plan.Plan) []string {
	var out []string
	for _, w := range p.Waves {
		var ids []string
		for _, h := range w.Hosts {
			ids = append(ids, strings.TrimPrefix(h.ID, "i-00"))
		}
		if ids != nil {
			out = append(out, strings.Join(ids, " "))
		}
	}
	return out
}

func warningsOf(p *plan.Plan) []string {
	var out []string
	for _, w := range p.Waves {
		for _, text := range w.Warnings {
			out = append(out, fmt.Sprintf("%d: %s", w.Number, text))
		}
	}
	return out
}

func TestPinsMoveTheirHostsOnly(t *testing.T) {
	for _, tt := range []struct {
		name     string
		change   func(*scene)
		pins     string // "HOST=WAVE ..."
		want     []string
		warnings []string
		err      string
	}{
		{name: "none", want: []string{"1", "2 3 4", "5 6 7"}},
		{name: "later", pins: "2=3", want: []string{"1", "3 4", "2 5 6 7"}},
		{name: "earlier, over the size", pins: "6=2 7=2", want: []string{"1", "2 3 4 6 7", "5"}},
		{name: "a new last wave", pins: "3=4", want: []string{"1", "2 4", "5 6 7", "3"}},
		{name: "the last wave goes away", pins: "5=2 6=2 7=2", want: []string{"1", "2 3 4 5 6 7"}},
		{name: "another canary", pins: "1=2 4=1", want: []string{"4", "1 2 3", "5 6 7"}},
		{name: "a larger canary", pins: "4=1", want: []string{"1 4", "2 3", "5 6 7"}, warnings: []string{"1: the canary has 2 hosts, and the policy wants 1"}},
		{name: "out of the canary: another host comes in", pins: "1=3", want: []string{"2", "3 4", "1 5 6 7"}},
		{name: "an emptied wave: later ones move up", pins: "2=1 3=1 4=1", want: []string{"1 2 3 4", "5 6 7"}, warnings: []string{"1: the canary has 4 hosts, and the policy wants 1"}},
		{name: "no canary wanted", change: func(x *scene) { x.p.Canary = 0 }, pins: "1=3", want: []string{"2 3", "4 5 6", "1 7"}},
		{name: "where they are", pins: "2=2 6=3", want: []string{"1", "2 3 4", "5 6 7"}},
		{name: "a gap", pins: "3=6", err: "wave 4, before wave 6, into which app-3 (i-003) is put"},
		{name: "all away from the canary", pins: "1=2 2=2 3=2 4=2 5=2 6=2 7=2", err: "wave 1, before wave 2"},
		{
			name: "spread", change: func(x *scene) { x.p.GroupBy = "az" }, pins: "6=2 7=2",
			want:     []string{"1", "2 3 5 6 7", "4"},
			warnings: []string{"2: 2 hosts of az eu-west-1a, and the policy's spread of 50% lets 1", "2: 3 hosts of az eu-west-1b, and the policy's spread of 50% lets 2"},
		},
		{
			name: "order", change: func(x *scene) { x.p.Order = []plan.Selector{{Name: "app-[67]"}} }, pins: "6=3 5=1",
			want: []string{"5", "1 2 7", "3 4 6"},
			warnings: []string{
				"1: before hosts that the policy's order puts first: app-5 (i-005)", "2: before hosts that the policy's order puts first: app-1 (i-001), app-2 (i-002)",
				"2: after hosts that the policy's order puts later: app-7 (i-007)", "3: after hosts that the policy's order puts later: app-6 (i-006)",
			},
		},
		{
			name: "people log in from it to others",
			change: func(x *scene) {
				x.probe(1).Logins.Value.Logins = []fleet.Login{{From: netip.MustParseAddr("10.0.1.3")}}
			},
			pins: "3=1", want: []string{"1 3", "2 4 5", "6 7"},
			warnings: []string{"1: the canary has 2 hosts, and the policy wants 1", "1: people log in from here to others, and hosts that may still be open come later: app-3 (i-003)"},
		},
		{
			name: "a canary that closes nothing", change: func(x *scene) { x.consumer(fleet.ConsumerActive, 3) }, pins: "1=2 4=1",
			want: []string{"4", "1 2 3 5", "6 7"}, warnings: []string{"1: no door of the canary closes: it warns of nothing"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newScene(7)
			x.p.Waves = []string{"3"}
			if tt.change != nil {
				tt.change(x)
			}
			for f := range strings.FieldsSeq(tt.pins) {
				x.p.Pins = append(x.p.Pins, plan.Pin{ID: "i-00" + f[:1], Wave: int(f[2] - '0')})
			}
			p, err := plan.Make(x.s, x.a, x.p, now)
			if tt.err != "" {
				if !errors.Is(err, plan.ErrPins) || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want one about %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, waveOf(p)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.warnings, warningsOf(p)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A pin of a host that takes no part, or that is not there, is named: it would
// be read as a promise.
func TestPinsWithoutEffectAreNamed(t *testing.T) {
	x := newScene(4)
	x.p.Exclude = []plan.Exclusion{{Selector: plan.Selector{Name: "app-2"}, Reason: "frozen"}}
	x.p.Pins = []plan.Pin{{ID: "i-002", Wave: 9}, {ID: "i-gone", Wave: 1}}
	p := x.make(t)
	var texts []string
	for _, r := range p.Refusals {
		if r.Code == "pin-unused" {
			texts = append(texts, r.Text)
			if r.Expected() {
				t.Error("it passes for what the policy asked for")
			}
		}
	}
	want := []string{"the policy puts i-gone into wave 1, and the snapshot has no such host", "the policy puts app-2 (i-002) into wave 9, and it takes no part (excluded)"}
	if diff := cmp.Diff(want, texts); diff != "" {
		t.Error(diff)
	}
}

func TestMovedMakesThePins(t *testing.T) {
	x := newScene(7)
	x.p.Waves = []string{"3"}
	x.s.Hosts[6].State = "stopped"
	for _, tt := range []struct {
		before, moves string
		want          []string
		err           string
	}{
		{moves: "2=3", want: []string{"1", "3 4", "2 5 6"}},
		{moves: "2=3 2=2", want: []string{"1", "2 3 4", "5 6"}},
		{moves: "2=3 3=3 4=3", want: []string{"1", "2 3 4 5 6"}}, // two waves become one
		{moves: "1=2 2=1", want: []string{"2", "1 3 4", "5 6"}},
		{moves: "2=1", want: []string{"1 2", "3 4", "5 6"}},
		{moves: "1=2", want: []string{"2", "1 3 4", "5 6"}}, // some canary there has to be
		{before: "1=2", moves: "5=1", want: []string{"2 5", "1 3 4", "6"}},
		{before: "2=3", moves: "3=3", want: []string{"1", "4", "2 3 5 6"}},
		{before: "2=4", moves: "5=2 6=2", want: []string{"1", "3 4 5 6", "2"}}, // what had a pin moves up as well
		{moves: "2=4", want: []string{"1", "3 4", "5 6", "2"}},
		{moves: "2=5", err: "cannot be put into wave 5: plan "},
		{moves: "2=0", err: "in waves 1 to 3"},
		{moves: "7=1", err: "the instance is stopped"},
		{moves: "9=1", err: "not of its snapshot"},
	} {
		y := *x
		y.p.Pins = nil
		if tt.before != "" {
			y.p.Pins = movedPins(t, y.make(t), tt.before)
		}
		base := y.make(t)
		pins, err := base.Moved(moves(tt.moves))
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: error %v, want one about %s", tt.moves, err, tt.err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		y.p.Pins = pins
		if diff := cmp.Diff(tt.want, waveOf(y.make(t))); diff != "" {
			t.Errorf("%s, then %s: %s", tt.before, tt.moves, diff)
		}
	}
}

// Plans without a foundation count from 0; their pins do not.
func TestMovedOfAPlanThatClosesNothing(t *testing.T) {
	x := newScene(7)
	x.p.Waves, x.p.Recovery.PublicKey = []string{"3"}, ""
	base := x.make(t)
	if base.Waves[0].Name != "canary" {
		t.Fatalf("it has a foundation: %+v", base.Waves[0])
	}
	pins, err := base.Moved([]plan.Move{{Host: x.s.Hosts[6].Ref(), Wave: 1}})
	if err != nil {
		t.Fatal(err)
	}
	x.p.Pins = pins
	if diff := cmp.Diff([]string{"1", "2 3 4 7", "5 6"}, waveOf(x.make(t))); diff != "" {
		t.Error(diff)
	}
}

func moves(text string) []plan.Move {
	var out []plan.Move
	for f := range strings.FieldsSeq(text) {
		out = append(out, plan.Move{Host: fleet.HostRef{Account: account, Region: region, ID: "i-00" + f[:1]}, Wave: int(f[2] - '0')})
	}
	return out
}

func movedPins(t *testing.T, p *plan.Plan, text string) []plan.Pin {
	t.Helper()
	pins, err := p.Moved(moves(text))
	if err != nil {
		t.Fatal(err)
	}
	return pins
}

func TestDiffOfPlans(t *testing.T) {
	x := newScene(7)
	x.p.Waves = []string{"3"}
	old := x.make(t)
	if d := plan.Diff(old, old); len(d.Hosts)+len(d.Groups)+len(d.Refused)+len(d.Lifted) > 0 {
		t.Errorf("a plan differs from itself: %+v", d)
	}
	x.p.Pins = []plan.Pin{{ID: "i-006", Wave: 1}, {ID: "i-002", Wave: 4}}
	x.s.Hosts[6].State = "stopped"
	d := plan.Diff(old, x.make(t))
	var got []string
	name := func(w *plan.WaveName) string {
		if w == nil {
			return "none"
		}
		return w.Name
	}
	for _, c := range append(d.Hosts, d.Groups...) {
		got = append(got, c.Host.ID+c.Group+" "+name(c.From)+" → "+name(c.To))
	}
	for _, w := range d.Waves {
		got = append(got, fmt.Sprintf("%s %d %d %q", w.Name, w.Old, w.New, w.Warnings))
	}
	for _, r := range d.Refused {
		if r.Code != "port-stays-open" {
			got = append(got, r.Host.ID+r.Group+" "+r.Code)
		}
	}
	want := []string{
		"i-006 wave 3 → canary", "i-002 wave 2 → wave 4", "i-007 wave 3 → none", "sg-app wave 3 → none",
		"foundation 0 0 []", `canary 1 2 ["the canary has 2 hosts, and the policy wants 1"]`, "wave 2 3 2 []", "wave 3 3 1 []", "wave 4 0 1 []",
		"i-007 not-running", "sg-app member-stays",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Whatever is moved: hosts that move are where they should be, all others where
// they were, and every promise about doors is kept.
func TestMovedHostsKeepEveryPromise(t *testing.T) {
	var moved, warned int
	rapid.Check(t, func(t *rapid.T) {
		x := drawScene(t)
		base, err := plan.Make(x.s, x.a, x.p, now)
		if err != nil {
			t.Fatal(err)
		}
		hosts := base.Hosts()
		if len(hosts) == 0 {
			return
		}
		first := slices.IndexFunc(base.Waves, func(w plan.Wave) bool { return len(w.Hosts) > 0 })
		last := first
		for last+1 < len(base.Waves) && len(base.Waves[last+1].Hosts) > 0 {
			last++
		}
		to := map[fleet.HostRef]int{}
		for i := first; i <= last; i++ {
			for _, h := range base.Waves[i].Hosts {
				to[h] = i
			}
		}
		var list []plan.Move
		for range rapid.IntRange(1, 8).Draw(t, "moves") {
			m := plan.Move{Host: rapid.SampledFrom(hosts).Draw(t, "host"), Wave: rapid.IntRange(first, last+1).Draw(t, "wave")}
			list, to[m.Host] = append(list, m), m.Wave
		}
		pins, err := base.Moved(list)
		if err != nil {
			t.Fatal(err)
		}
		x.p.Pins = pins
		p, err := plan.Make(x.s, x.a, x.p, now)
		if errors.Is(err, plan.ErrPins) {
			if x.p.Canary == 0 || inWave(to, first) > 0 {
				t.Fatalf("the canary is not empty: %v", err)
			}
			return // nobody is left for it, or who comes into it leaves a gap
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := plan.Encode(p)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := plan.Decode(text); err != nil || back.Digest != p.Digest {
			t.Fatalf("it does not come back: %v", err)
		}
		checkEveryHostOnce(t, x, p)
		checkDoors(t, x, p)
		checkRules(t, x, p)
		checkExcluded(t, x, p)
		checkScaleIn(t, x, p)
		checkBoots(t, x, p)
		for _, w := range p.Waves {
			warned += len(w.Warnings)
		}
		if !cmp.Equal(p.Hosts(), hosts) {
			t.Fatal("other hosts take part")
		}
		for _, pin := range pins {
			at := slices.IndexFunc(p.Waves, func(w plan.Wave) bool {
				return slices.ContainsFunc(w.Hosts, func(h fleet.HostRef) bool { return h.ID == pin.ID })
			})
			if at-first+1 != pin.Wave {
				t.Fatalf("%s is in wave %d, and its pin says %d", pin.ID, at-first+1, pin.Wave)
			}
		}
		if emptied(to, first, x.p.Canary > 0) {
			return // somebody else is the canary, or waves have moved up
		}
		for h, n := range to {
			if w := p.WaveOf(h); w.Number != n {
				t.Fatalf("%s is in wave %d, want %d", h, w.Number, n)
			}
			moved++
		}
	})
	if !testing.Short() && (moved == 0 || warned == 0) {
		t.Errorf("the fleets prove nothing: %d hosts, %d warnings", moved, warned)
	}
}

// emptied reports whether a wave before the last has no hosts.
func emptied(to map[fleet.HostRef]int, first int, canary bool) bool {
	last := slices.Max(slices.Collect(maps.Values(to)))
	for n := first; n < last; n++ {
		if inWave(to, n) == 0 {
			return true
		}
	}
	return canary && inWave(to, first) == 0
}

func inWave(to map[fleet.HostRef]int, wave int) int {
	n := 0
	for _, w := range to {
		if w == wave {
			n++
		}
	}
	return n
}

// A bastion that does not go stays in use, and so does each that leads to it.
func TestABastionThatStaysNeedsThoseBeforeIt(t *testing.T) {
	chain := func() *scene { // through i-001 to i-002 to i-003 to i-004
		x := newScene(5)
		x.region().ScalingGroups.Value = []fleet.ScalingGroup{{Name: "outer", Max: 2}, {Name: "middle", Max: 2}, {Name: "inner", Max: 2}}
		for i, g := range x.region().ScalingGroups.Value {
			x.s.Hosts[i].AutoScalingGroup, x.s.Hosts[i].Groups = g.Name, nil
			x.probe(i + 1).Via = []string{x.s.Hosts[i].PrivateIP.String()}
		}
		return x
	}
	if n := len(chain().make(t).Of(plan.ScaleIn)); n != 3 {
		t.Fatalf("%d groups of bastions go, want all", n)
	}
	for name, c := range map[string]struct {
		setup func(*scene)
		code  string
		why   string // i-003 stays
	}{
		"excluded": {func(x *scene) {
			x.p.Exclude = []plan.Exclusion{{Selector: plan.Selector{ID: "i-003"}, Reason: "kept"}}
		}, "excluded", "the policy excludes i-003 of Auto Scaling group inner"},
		"in no group": {func(x *scene) { x.s.Hosts[2].AutoScalingGroup = "" }, "bastion-alone", "in no Auto Scaling group"},
		"in a group that was not read": {func(x *scene) {
			x.region().ScalingGroups.Value = x.region().ScalingGroups.Value[:2]
		}, "bastion-unknown", "inner was not read"},
		"in a group with others": {func(x *scene) { x.s.Hosts[4].AutoScalingGroup = "inner" }, "bastion-mixed", "no bastions: i-005"},
		"needed": {func(x *scene) {
			x.consumer(fleet.ConsumerWaived, 3)
			x.s.Hosts[3].Groups = []string{"sg-other"}
			x.group(fleet.SecurityGroup{ID: "sg-other"})
		}, "bastion-needed", "inner are still needed by i-004 (waived)"},
	} {
		t.Run(name, func(t *testing.T) {
			x := chain()
			c.setup(x)
			p := x.make(t)
			if n := len(p.Of(plan.ScaleIn)); n > 0 {
				t.Errorf("%d groups of bastions go", n)
			}
			for _, want := range [][2]string{{c.code, c.why}, {"bastion-needed", "middle are still needed by i-003"}, {"bastion-needed", "outer are still needed by i-002"}} {
				if !slices.ContainsFunc(p.Refusals, func(r plan.Refusal) bool {
					return r.Phase == plan.Finish && r.Code == want[0] && strings.Contains(r.Text, want[1])
				}) {
					t.Errorf("nobody says %q: %v", want, p.Refusals)
				}
			}
		})
	}
}

// Plans without pins are written as before there were pins: their digests hold.
func TestPlansWithoutPinsAreAsBefore(t *testing.T) {
	x := newScene(7)
	text, err := plan.Encode(x.make(t))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), `"pins"`) || strings.Contains(string(text), `"warnings"`) {
		t.Error("the plan names pins or warnings")
	}
	x.p.Pins = []plan.Pin{} // as the template writes it
	if again, err := plan.Encode(x.make(t)); err != nil || string(again) != string(text) {
		t.Errorf("an empty list makes another plan (%v)", err)
	}
}
