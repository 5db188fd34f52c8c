package cutover_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// opening are the kinds that tell whether a door is open.
type opening interface {
	Open(ctx context.Context, s plan.Step) (cutover.Observation, error)
}

// A port is open for those whom the plan found using it.
func TestPortIsOpenByTheRulesThatThePlanFound(t *testing.T) {
	only := func(ids ...string) func(*fakeAWS) {
		return func(f *fakeAWS) {
			var left []fleet.Rule
			for _, r := range f.now.Rules["sg-web"] {
				if strings.Contains(strings.Join(ids, " "), r.ID) {
					left = append(left, r)
				}
			}
			f.now.Rules["sg-web"] = left
		}
	}
	stranger := func(f *fakeAWS) {
		only("sgr-e")(f)
		f.now.Rules["sg-web"] = append(f.now.Rules["sg-web"], noted(sshRule("203.0.113.0/24"), "sgr-x", "by hand", nil))
	}
	wider := func(f *fakeAWS) {
		only("sgr-b")(f)
		f.now.Rules["sg-web"] = append(f.now.Rules["sg-web"], fleet.Rule{ID: "sgr-x", Protocol: "-1", From: -1, To: -1, CIDR: cidr("0.0.0.0/0")})
	}
	other := func(f *fakeAWS) {
		f.now.Rules["sg-web"] = []fleet.Rule{{ID: "sgr-x", Protocol: "tcp", From: 443, To: 443, CIDR: cidr("0.0.0.0/0")}}
	}
	for name, tt := range map[string]struct {
		rules  *plan.RuleChange
		change func(*fakeAWS)
		want   fleet.Truth // unknown: an error
		stale  bool
		detail string
	}{
		"as the plan found it":                 {closing(), func(*fakeAWS) {}, fleet.TruthYes, false, "lacks 0 of 3"},
		"one of its rules is left":             {closing(), only("sgr-b"), fleet.TruthNo, false, "lacks 2 of 3"},
		"a wider rule took their place":        {closing(), wider, fleet.TruthYes, false, "lacks 0 of 3"},
		"a wider rule for another port":        {closing(), other, fleet.TruthNo, false, "lacks 3 of 3"},
		"only the recovery group is let in":    {closing(), only("sgr-d", "sgr-e"), fleet.TruthNo, false, "lacks 3 of 3"},
		"nobody is let in":                     {closing(), only(), fleet.TruthNo, false, "lacks 3 of 3"},
		"a rule that nobody knows is no door":  {closing(), stranger, fleet.TruthNo, false, "lacks 3 of 3"},
		"the group is gone":                    {closing(), func(f *fakeAWS) { delete(f.now.Groups, "sg-web") }, fleet.TruthUnknown, true, "is gone"},
		"the group cannot be read":             {closing(), func(f *fakeAWS) { f.lose = 0 }, fleet.TruthUnknown, false, "the answer was lost"},
		"a step that does not say which group": {nil, func(*fakeAWS) {}, fleet.TruthUnknown, false, "close"},
	} {
		f := newFakeAWS(town())
		tt.change(f)
		s := plan.Step{ID: "w1/close", Kind: plan.ClosePort, At: here, Rules: tt.rules}
		o, err := cutover.AWSKinds(f)[plan.ClosePort].(opening).Open(t.Context(), s)
		said := o.Detail
		if err != nil {
			said = err.Error()
		}
		if (err != nil) != (tt.want == fleet.TruthUnknown) || o.Holds != tt.want || errors.Is(err, cutover.ErrStale) != tt.stale || !strings.Contains(said, tt.detail) {
			t.Errorf("%s: %s %q, %v", name, o.Holds, o.Detail, err)
		}
	}
}

// silentHosts give no answer.
type silentHosts struct{}

func (silentHosts) Run(context.Context, fleet.Host, fleet.Way, fleet.Script) fleet.ScriptResult {
	return fleet.ScriptResult{Started: fleet.TruthNo, Reason: "connection refused"}
}

// Keys are an open door as long as one is left that does not stay.
func TestKeysAreOpenAsLongAsOneOpens(t *testing.T) {
	m := newMachine(t, "dash")
	rescue := m.rescue.line + "\n"
	closed := func() {
		m.write("keys/root", rescue, 0o600, 0)
		m.write("keys/daemon", "", 0o644, 1)
		m.write("home/games/.ssh/authorized_keys2", "", 0o640, 5)
	}
	kind := func() opening { return m.kinds()[plan.QuarantineKeys].(opening) }
	for _, tt := range []struct {
		name   string
		change func()
		want   fleet.Truth
		detail string
	}{
		{"as the plan found it", func() {}, fleet.TruthYes, "3 of 3"},
		{"keys that stay are no door", closed, fleet.TruthNo, "0 of 3"},
		{"neither are waived ones", func() { m.write("keys/daemon", m.waived.line+"\n", 0o644, 1) }, fleet.TruthNo, "0 of 3"},
		{"one key of one account", func() { m.write("keys/daemon", "# mine\n"+m.old.line+"\n", 0o644, 1) }, fleet.TruthYes, "1 of 3"},
		{"without the recovery key it is one, too", func() { m.write("keys/root", "", 0o600, 0) }, fleet.TruthYes, "1 of 3"},
		{"no file at all", func() {
			closed()
			for _, f := range []string{"keys/root", "keys/daemon", "home/games/.ssh/authorized_keys2"} {
				must(t, os.Remove(m.at(f)))
			}
		}, fleet.TruthNo, "0 of"},
	} {
		tt.change()
		if o, err := kind().Open(t.Context(), m.step(plan.QuarantineKeys)); err != nil || o.Holds != tt.want || !strings.Contains(o.Detail, tt.detail) {
			t.Errorf("%s: %s %q, %v", tt.name, o.Holds, o.Detail, err)
		}
	}
	m.apply(plan.RecoveryKey)
	m.write("keys/daemon", m.old.line+"\n", 0o644, 1)
	m.apply(plan.ArmHostTimer)
	m.apply(plan.QuarantineKeys)
	if o, err := kind().Open(t.Context(), m.step(plan.QuarantineKeys)); err != nil || o.Holds != fleet.TruthNo {
		t.Errorf("after the quarantine: %+v, %v", o, err)
	}
	m.undo(t, plan.QuarantineKeys)
	m.undo(t, plan.ArmHostTimer)
	if o, err := kind().Open(t.Context(), m.step(plan.QuarantineKeys)); err != nil || o.Holds != fleet.TruthYes {
		t.Errorf("after the restore: %+v, %v", o, err)
	}
	silent := cutover.HostKinds(cutover.HostWorld{
		Hosts: silentHosts{}, Plan: m.plan, Paths: m.paths, Find: func(fleet.HostRef) (fleet.Host, bool) { return host, true },
	})[plan.QuarantineKeys].(opening)
	if o, err := silent.Open(t.Context(), m.step(plan.QuarantineKeys)); err == nil || o.Holds != fleet.TruthUnknown {
		t.Errorf("a host that is silent: %+v, %v", o, err)
	}
	s := m.step(plan.QuarantineKeys)
	s.Keys = nil
	if o, err := kind().Open(t.Context(), s); err == nil || o.Holds != fleet.TruthUnknown {
		t.Errorf("a step that names no keys: %+v, %v", o, err)
	}
}
