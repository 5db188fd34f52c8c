package cutover_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// keyWorld is a drillWorld whose hosts know single keys.
type keyWorld struct {
	*drillWorld
	with    string            // the key of the open bastion
	takes   map[string]string // an old key that a host still takes, by host
	notRoot string            // host on which the login is no root's
}

func (w *keyWorld) OpenBastionWith(ctx context.Context, bastion fleet.Host, user string, hostKeys []string, key string) (func(), error) {
	w.with = key
	return w.OpenBastion(ctx, bastion, user, hostKeys)
}

func (w *keyWorld) Refuses(_ context.Context, h fleet.Host, key string) (fleet.Truth, string) {
	if !w.open {
		return fleet.TruthUnknown, "no bastion is open"
	}
	if w.takes[h.ID] == key {
		return fleet.TruthNo, ""
	}
	return fleet.TruthYes, ""
}

func (w *keyWorld) Run(_ context.Context, h fleet.Host, way fleet.Way, _ fleet.Script) fleet.ScriptResult {
	r := fleet.ScriptResult{Started: fleet.TruthYes, Ended: true, Way: way, Stdout: []byte("migrate-host 1\ndone\n")}
	if h.ID == w.notRoot {
		r.Stdout = []byte("migrate-host 1\nerror\troot\tthe script runs as user 1000, not as root\ndone\n")
	}
	return r
}

func TestDrillOfARotation(t *testing.T) {
	for name, tt := range map[string]struct {
		takes   map[string]string
		notRoot string
		want    string // in the error; empty: it holds
	}{
		"refused everywhere": {},
		"taken by one host":  {takes: map[string]string{"i-1": "OLD"}, want: "i-1 does not refuse the old recovery key"},
		"not as root":        {notRoot: "i-0", want: "not as root"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, _, s := newDrill(plan.Prove, 2)
				w := &keyWorld{drillWorld: d, takes: tt.takes, notRoot: tt.notRoot}
				kinds := cutover.HostKinds(cutover.HostWorld{
					Hosts: w, Prover: w, Proofs: w, Scaling: w, Bastions: w, Keys: w, Plan: &plan.Plan{Digest: "d", Purpose: plan.Rotation, Policy: plan.DefaultPolicy()},
					Find: func(r fleet.HostRef) (fleet.Host, bool) { return fleet.Host{ID: r.ID, VPC: "vpc-1"}, true },
				})
				s.Recovery.With, s.Recovery.Refused = "NEW", []string{"OLD"}
				k := kinds[plan.RecoveryDrill]
				// Logins of before say nothing of this key.
				for _, h := range s.Hosts {
					_ = d.SaveProof(t.Context(), fleet.Proof{Host: h, Way: fleet.WayRecovery, Works: fleet.TruthYes, At: time.Now()})
				}
				if o, err := k.Observe(t.Context(), s); err != nil || o.Holds != fleet.TruthNo {
					t.Fatalf("before: %+v, %v", o, err)
				}
				after, err := k.Apply(t.Context(), s, nil, "token")
				if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want %q", err, tt.want)
				}
				if w.with != "NEW" {
					t.Errorf("logged in with %q", w.with)
				}
				o, err := k.Observe(t.Context(), s)
				if err != nil || (o.Holds == fleet.TruthYes) != (tt.want == "") {
					t.Errorf("after: %+v, %v", o, err)
				}
				var report cutover.DrillReport
				if err := json.Unmarshal(after, &report); err != nil || len(report.Proofs) != 2 || report.Launch < time.Minute || report.ScaleIn < 30*time.Second {
					t.Errorf("report %+v, %v", report, err)
				}
				if tt.want == "" && len(report.Refused) != 2 {
					t.Errorf("refused by %v", report.Refused)
				}
			})
		})
	}
}

// openWorld is a group whose launches may fail, and a scheduler that may.
type openWorld struct {
	*drillWorld
	failure   string
	schedules map[string]fleet.Schedule
	noAnswer  bool
}

func (w *openWorld) LaunchFailure(context.Context, fleet.Place, string, time.Time) (string, error) {
	return w.failure, nil
}

func (w *openWorld) Schedule(_ context.Context, _ fleet.Place, name string) (fleet.Schedule, error) {
	if w.noAnswer {
		return fleet.Schedule{}, errors.New("service unavailable")
	}
	s, ok := w.schedules[name]
	if !ok {
		return s, fleet.ErrNotFound
	}
	return s, nil
}

func (w *openWorld) CreateSchedule(_ context.Context, _ fleet.Place, s fleet.Schedule, _ string) error {
	if w.noAnswer {
		return errors.New("service unavailable")
	}
	s.State = "ENABLED"
	w.schedules[s.Name] = s
	return nil
}

func (w *openWorld) DeleteSchedule(_ context.Context, _ fleet.Place, name string) error {
	if w.noAnswer {
		return errors.New("service unavailable")
	}
	if _, ok := w.schedules[name]; !ok {
		return fleet.ErrNotFound
	}
	delete(w.schedules, name)
	return nil
}

func TestOpeningEndsByItself(t *testing.T) {
	for name, tt := range map[string]struct {
		failure   string
		noAnswer  bool
		noBastion bool
		role      string
		told      string
		holds     bool
	}{
		"as it should":                {role: "timer", holds: true},
		"no answer of the scheduler":  {role: "timer", noAnswer: true, told: "service unavailable", holds: true},
		"no role":                     {told: "no role is known", holds: true},
		"no capacity":                 {role: "timer", failure: "We currently do not have sufficient capacity", noBastion: true, told: "sufficient capacity"},
		"no capacity only at first":   {role: "timer", failure: "We currently do not have sufficient capacity", told: "sufficient capacity", holds: true},
		"no answer, and no capacity":  {role: "timer", noAnswer: true, failure: "Internal error", noBastion: true, told: "Internal error"},
		"no instance and no word why": {role: "timer", noBastion: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, _, s := newDrill(plan.Prepare, 2)
				d.noBastion = tt.noBastion
				w := &openWorld{drillWorld: d, failure: tt.failure, noAnswer: tt.noAnswer, schedules: map[string]fleet.Schedule{}}
				var told []string
				k := cutover.HostKinds(cutover.HostWorld{
					Scaling: w, Launches: w, Schedules: w, Plan: &plan.Plan{Digest: "d", Purpose: plan.BreakGlass, Policy: plan.DefaultPolicy()},
					Tell: func(text string) { told = append(told, text) },
				})[plan.RecoveryOpen]
				s.Kind, s.At = plan.RecoveryOpen, fleet.Place{Account: "1", Region: "eu-west-1"}
				s.Recovery.Bastions, s.Recovery.Until, s.Recovery.Role = 1, plan.Duration(2*time.Hour), tt.role
				before, err := k.Observe(t.Context(), s)
				if err != nil || before.Holds != fleet.TruthNo {
					t.Fatalf("before: %+v, %v", before, err)
				}
				began := time.Now()
				after, err := k.Apply(t.Context(), s, before.Image, "token")
				if (err == nil) != tt.holds || err != nil && tt.failure != "" && !strings.Contains(err.Error(), tt.failure) {
					t.Errorf("apply: %v", err)
				}
				if o, err := k.Observe(t.Context(), s); err != nil || (o.Holds == fleet.TruthYes) != tt.holds {
					t.Errorf("after: %+v, %v", o, err)
				}
				if !strings.Contains(strings.Join(told, "\n"), tt.told) || tt.told == "" && len(told) > 0 {
					t.Errorf("told %q", told)
				}
				var image cutover.OpenedImage
				if err := json.Unmarshal(after, &image); err != nil {
					t.Fatal(err)
				}
				if armed := tt.role != "" && !tt.noAnswer; armed {
					at := image.Ends.Sub(began)
					if len(w.schedules) != 1 || at < 2*time.Hour || at > 2*time.Hour+time.Minute {
						t.Errorf("ends in %s, schedules %v", at, w.schedules)
					}
					for _, c := range w.schedules {
						if c.ScaleIn != s.Recovery.Name || c.Role != "arn:aws:iam::1:role/timer" {
							t.Errorf("schedule %+v", c)
						}
					}
				} else if !image.Ends.IsZero() || image.Timer == "" {
					t.Errorf("image %+v", image)
				}
				w.noAnswer = false
				if err := k.Undo(t.Context(), s, before.Image, after, "token"); err != nil {
					t.Errorf("undo: %v", err)
				}
				if o, err := k.Undone(t.Context(), s, before.Image, after, "token"); err != nil || o.Holds != fleet.TruthYes || len(w.schedules) != 0 {
					t.Errorf("undone: %+v, %v, schedules %v", o, err, w.schedules)
				}
			})
		})
	}
}

// Several bastions raise the group's bound, and closing lowers it again.
func TestOpeningOfSeveralBastions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _, s := newDrill(plan.Prepare, 1)
		k := cutover.HostKinds(cutover.HostWorld{Scaling: d, Plan: &plan.Plan{Digest: "d", Policy: plan.DefaultPolicy()}})[plan.RecoveryOpen]
		s.Recovery.Bastions, s.Recovery.Until = 2, plan.Duration(time.Hour)
		before, err := k.Observe(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = k.Apply(t.Context(), s, before.Image, "token") // this world never has two
		if d.group.Desired != 2 || d.group.Max != 2 || d.group.Min != 0 {
			t.Errorf("group %+v", d.group)
		}
		if err := k.Undo(t.Context(), s, before.Image, nil, "token"); err != nil || d.group.Max != 1 || d.group.Desired != 0 {
			t.Errorf("group %+v, %v", d.group, err)
		}
	})
}

// Whoever opens finds a bastion that ends too soon, or never: a schedule of this
// opening ends it. Bastions in use stay.
func TestOpeningOfABastionThatRuns(t *testing.T) {
	for name, tt := range map[string]struct {
		earlier  time.Duration // an opening before; 0: none, as after a drill that was killed
		bastions int           // that run
		noAnswer bool          // of the scheduler
		holds    fleet.Truth   // before anything is done
		ends     time.Duration
	}{
		"nothing ends it":          {bastions: 1, holds: fleet.TruthNo, ends: 4 * time.Hour},
		"it ends too soon":         {earlier: 30 * time.Minute, bastions: 1, holds: fleet.TruthNo, ends: 4 * time.Hour},
		"it ends later":            {earlier: 8 * time.Hour, bastions: 1, holds: fleet.TruthYes, ends: 8 * time.Hour},
		"two of them run":          {earlier: 30 * time.Minute, bastions: 2, holds: fleet.TruthNo, ends: 4 * time.Hour},
		"the scheduler is silent":  {earlier: 30 * time.Minute, bastions: 1, noAnswer: true, holds: fleet.TruthNo, ends: 30 * time.Minute},
		"silent, and nothing ends": {bastions: 1, noAnswer: true, holds: fleet.TruthNo},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, _, s := newDrill(plan.Prepare, 1)
				w := &openWorld{drillWorld: d, schedules: map[string]fleet.Schedule{}}
				s.Kind, s.At = plan.RecoveryOpen, fleet.Place{Account: "1", Region: "eu-west-1"}
				s.Recovery.Bastions, s.Recovery.Role = 1, "timer"
				began := time.Now()
				opening := func(length time.Duration) (cutover.StepKind, plan.Step) {
					own, c := s, *s.Recovery
					c.Until, own.Recovery = plan.Duration(length), &c
					return cutover.HostKinds(cutover.HostWorld{
						Scaling: w, Launches: w, Schedules: w,
						Plan: &plan.Plan{Digest: length.String(), Made: time.Now(), Purpose: plan.BreakGlass, Policy: plan.DefaultPolicy()},
					})[plan.RecoveryOpen], own
				}
				if err := d.SetSize(t.Context(), s.At, s.Recovery.Name, 0, tt.bastions, max(tt.bastions, 1)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(5 * time.Minute)
				if tt.earlier > 0 {
					k, own := opening(tt.earlier)
					if _, err := k.Apply(t.Context(), own, nil, "first"); err != nil {
						t.Fatal(err)
					}
				}
				w.noAnswer = tt.noAnswer
				k, own := opening(4 * time.Hour)
				before, err := k.Observe(t.Context(), own)
				if err != nil || before.Holds != tt.holds {
					t.Fatalf("before: %+v, %v", before, err)
				}
				if before.Holds != fleet.TruthYes {
					if _, err := k.Apply(t.Context(), own, before.Image, "second"); err != nil {
						t.Fatal(err)
					}
					if o, err := k.Observe(t.Context(), own); err != nil || o.Holds != fleet.TruthYes {
						t.Errorf("after: %+v, %v", o, err)
					}
				}
				if d.group.Desired != tt.bastions {
					t.Errorf("%d bastions are wanted of %d that ran", d.group.Desired, tt.bastions)
				}
				if _, err := cutover.OpenEnds(t.Context(), w, s.At, s.Recovery.Name); (err != nil) != tt.noAnswer {
					t.Errorf("the end: %v", err)
				}
				w.noAnswer = false
				ends, err := cutover.OpenEnds(t.Context(), w, s.At, s.Recovery.Name)
				if err != nil || ends.IsZero() != (tt.ends == 0) {
					t.Fatalf("ends %s, %v", ends, err)
				}
				if at := ends.Sub(began); tt.ends > 0 && (at < tt.ends || at > tt.ends+time.Hour/4) {
					t.Errorf("ends after %s, want %s", at, tt.ends)
				}
			})
		})
	}
}
