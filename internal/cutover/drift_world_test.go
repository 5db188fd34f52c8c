package cutover_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// watched is a fake cloud with one running host, as a check for drift sees it.
type watched struct{ *fakeAWS }

func (watched) Instances(_ context.Context, at fleet.Place) ([]fleet.Host, error) {
	return []fleet.Host{{ID: "i-1", Account: at.Account, Region: at.Region, State: "running", VPC: "vpc-1", Groups: []string{"sg-web"}}}, nil
}

func (watched) Connected(context.Context, fleet.HostRef) (bool, error) { return true, nil }

func (watched) Look(context.Context, fleet.Host, fleet.Way, cutover.Look) fleet.ScriptResult {
	return fleet.ScriptResult{Reason: "nobody should ask"}
}

// journalOf says that all steps of a plan were done an hour ago.
func journalOf(t *testing.T, p *plan.Plan, at time.Time) []cutover.Entry {
	t.Helper()
	var out []cutover.Entry
	for _, w := range p.Waves {
		for _, s := range w.Steps {
			e := cutover.Entry{At: at, Plan: p.ID, Digest: p.Digest, Step: s.ID, Hosts: s.Hosts}
			for _, e.Event = range []cutover.Event{cutover.Intended, cutover.Ours} {
				out = append(out, e)
			}
		}
	}
	out, err := cutover.Chain(0, "", out)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (r *run) drift(since time.Time) []string {
	r.Helper()
	p := &plan.Plan{ID: "p", Digest: "d", Policy: plan.DefaultPolicy(), Waves: []plan.Wave{{Steps: []plan.Step{r.step}}}}
	h := fleet.Host{ID: "i-1", Account: here.Account, Region: here.Region, VPC: "vpc-1"}
	entries := journalOf(r.T, p, since)
	report, err := cutover.Drift(r.Context(), cutover.DriftConfig{
		Plan: p, Hosts: map[fleet.HostRef]fleet.Host{h.Ref(): h}, World: watched{r.aws}, Looks: watched{r.aws},
		Entries: func(context.Context) ([]cutover.Entry, error) { return entries, nil },
	})
	if err != nil {
		r.Fatal(err)
	}
	out := []string{}
	for _, i := range report.Items {
		text := string(i.Code)
		if i.Holds == fleet.TruthUnknown {
			text += " ?"
		}
		out = append(out, text)
		if i.Do == "" || i.Now == "" || i.Since != since {
			r.Errorf("incomplete: %+v", i)
		}
		if named := strings.Contains(i.Do, "managed by terraform"); named != (r.step.Owner != "" && i.Holds == fleet.TruthNo) || i.Owner != r.step.Owner {
			r.Errorf("the owner is %q: %+v", r.step.Owner, i)
		}
	}
	return out
}

// Whatever a step has brought about on AWS's side: while it holds there is no
// drift, and when it is taken back behind the journal's back, it is named.
func TestDriftOfEveryStepOnAWS(t *testing.T) {
	want := map[string][]string{
		"attach a profile": {"profile"}, "make and attach a profile": {"profile", "role"}, "extend a role": {"role"}, "make the timers' role": {"role"},
		"the timers' role of an earlier plan": {"role"}, "default host management": {"default-role"}, "default host management instead of another role": {"default-role"},
		"allow egress": {"rule-gone"}, "let the recovery group in": {"recovery-rule"}, "make endpoints": {"endpoint"}, "make a gateway endpoint": {"endpoint"}, "new session preferences": {"preferences"},
		"other session preferences": {"preferences"}, "session preferences that an old version has": {"preferences"}, "make the recovery group": {"recovery-group"},
		"close the port": {"port-open", "rule-gone"}, "close the port where a stand-in is there already": {"port-open", "rule-gone"}, "scale in": {"bastions-back"},
		"recovery template": {"recovery-group"}, "recovery template of a group that follows it": {"recovery-group"},
	}
	for _, tt := range stepCases() {
		if tt.step.Kind == plan.ArmRuleTimer || tt.step.Kind == plan.DisarmRuleTimer {
			continue // timers are not meant to stay
		}
		if tt.step.Kind == plan.ClosePort || tt.step.Kind == plan.ExtendRole {
			tt.step.Owner = "terraform"
		}
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := begin(t, tt, 0)
				after, err := r.apply()
				if err != nil {
					t.Fatal(err)
				}
				since := time.Now().UTC().Add(-time.Hour)
				if got := r.drift(since); len(got) > 0 {
					t.Errorf("before anybody changed it: %q", got)
				}
				r.undone(after)
				if got := r.drift(since); !slices.Equal(got, want[tt.name]) {
					t.Errorf("taken back: %q, want %q", got, want[tt.name])
				}
				r.aws.lose, r.aws.calls = 0, 0 // the first answer is lost
				if got := r.drift(since); !slices.ContainsFunc(got, func(s string) bool { return strings.HasSuffix(s, " ?") }) {
					t.Errorf("without an answer: %q, want something unknown", got)
				}
			})
		})
	}
}

// While reads lag behind what a step did a moment ago, nothing is called drift.
func TestDriftWaitsForReadsToCatchUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range stepCases() {
			if tt.name != "close the port" {
				continue
			}
			r := begin(t, tt, 20*time.Second)
			began := make(chan error, 1)
			go func() { _, err := r.apply(); began <- err }()
			time.Sleep(time.Second) // it is done, and no read shows it yet
			if got := r.drift(time.Now().UTC()); len(got) > 0 {
				t.Errorf("%q", got)
			}
			if err := <-began; err != nil {
				t.Error(err)
			}
		}
	})
}

// What a run changes in the journal while the check looks is not judged.
func TestDriftBesideARun(t *testing.T) {
	tt := stepCases()[0]
	r := begin(t, tt, 0)
	p := &plan.Plan{ID: "p", Digest: "d", Policy: plan.DefaultPolicy(), Waves: []plan.Wave{{Steps: []plan.Step{r.step}}}}
	h := fleet.Host{ID: "i-1", Account: here.Account, Region: here.Region, VPC: "vpc-1"}
	entries := journalOf(t, p, time.Now().UTC().Add(-time.Hour))
	undo := entries[1]
	undo.Event = cutover.UndoBegan
	undone, err := cutover.Chain(entries[1].Seq, entries[1].Hash, []cutover.Entry{undo})
	if err != nil {
		t.Fatal(err)
	}
	c := cutover.DriftConfig{Plan: p, Hosts: map[fleet.HostRef]fleet.Host{h.Ref(): h}, World: watched{r.aws}, Looks: watched{r.aws}}
	reads := 0
	c.Entries = func(context.Context) ([]cutover.Entry, error) {
		reads++
		if reads == 1 {
			return entries, nil
		}
		return append(slices.Clone(entries), undone...), nil
	}
	report, err := cutover.Drift(t.Context(), c)
	if err != nil || len(report.Items) > 0 || report.Steps != 1 {
		t.Errorf("%+v, %v", report, err)
	}
	for _, bad := range []struct {
		name    string
		entries []cutover.Entry
		want    error
	}{
		{"another plan's journal", []cutover.Entry{{Seq: 1, Plan: "p", Digest: "other", Step: r.step.ID, Event: cutover.Found}}, cutover.ErrDigest},
		{"no journal", nil, errLost},
	} {
		c.Entries = func(context.Context) ([]cutover.Entry, error) {
			if bad.entries == nil {
				return nil, fmt.Errorf("read: %w", errLost)
			}
			return bad.entries, nil
		}
		if _, err := cutover.Drift(t.Context(), c); !errors.Is(err, bad.want) {
			t.Errorf("%s: %v", bad.name, err)
		}
	}
}
