package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/simfleet"
)

// inject brings causes about, each on the first host that it fits and that none
// of the others is on.
func (f *ownFleet) inject(t *testing.T, names ...string) {
	t.Helper()
	f.world.Mu.Lock()
	defer f.world.Mu.Unlock()
	used := map[*simfleet.Instance]bool{}
	for _, name := range names {
		all := simfleet.Causes()
		cause := all[slices.IndexFunc(all, func(c simfleet.Cause) bool { return c.Name == name })]
		done := false
		for _, in := range slices.Collect(f.world.Instances()) {
			if !done && !used[in] && cause.Inject(f.world, in) == nil {
				used[in], done = true, true
			}
		}
		if !done {
			t.Fatalf("no host of the fleet takes the cause %s", name)
		}
	}
}

// handAll leaves all fixes that AWS calls bring about to others. Those of agents
// are done on hosts, where no AWS call leads.
func (f *ownFleet) handAll(t *testing.T) {
	t.Helper()
	path := filepath.Join(f.dir, "migrate-policy.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`(?m)^fixes:.*\n(?:[ #].*\n)*`).ReplaceAll(text, nil)
	text = append(text, "fixes:\n  attach-profile: hand\n  extend-role: hand\n  allow-egress: hand\n  create-endpoint: hand\n"...)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// codeOwner runs a stage of an exported script with Debian's AWS CLI.
func (f *ownFleet) codeOwner(t *testing.T, script string, stage ...string) string {
	t.Helper()
	const debians = "/usr/bin/aws"
	if _, err := os.Stat(debians); err != nil {
		t.Fatalf("%v; install it with: apt-get install awscli", err)
	}
	// That version does not know AWS_ENDPOINT_URL.
	bin := t.TempDir()
	wrapper := "#!/bin/sh\nexec " + debians + ` --endpoint-url "$AWS_ENDPOINT_URL" "$@"` + "\n"
	if err := os.WriteFile(filepath.Join(bin, "aws"), []byte(wrapper), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "sh", append([]string{script}, stage...)...)
	c.Env = append(slices.Clone(f.env), "PATH="+bin+":/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE=1")
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Run(); err != nil {
		t.Errorf("sh %s %s: %v\n%s", filepath.Base(script), strings.Join(stage, " "), err, &out)
	}
	return out.String()
}

// The same fleet is prepared twice: once wholly by migrate, and once by the
// owner of its code, who applies the exported lines while migrate waits. Both end alike.
func TestHandOverEndsInTheSameState(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs the program and the AWS CLI")
	}
	t.Parallel()
	ours, handed := ownSim(t, fleetOf(8)), ownSim(t, fleetOf(8))
	for _, f := range []*ownFleet{ours, handed} {
		f.oneWave(t)
		f.inject(t, "shared-role-without-ssm", "endpoint-missing", "endpoint-group-closed")
	}
	handed.handAll(t)

	p := ours.planned(t)
	byUs := ours.begin(t, "apply", p.ID, "--yes")
	h := handed.planned(t)
	kinds := map[plan.Kind]int{}
	for _, w := range h.Waves {
		for _, s := range w.Steps {
			if s.Handed {
				kinds[s.Kind]++
			}
		}
	}
	for _, k := range []plan.Kind{plan.AttachProfile, plan.ExtendRole, plan.AllowEgress, plan.CreateEndpoint} {
		if kinds[k] == 0 {
			t.Errorf("no step %s is handed over: the fleet shows nothing of it", k)
		}
	}
	script := filepath.Join(t.TempDir(), "handover.sh")
	if err := os.WriteFile(script, handed.run(t, nil, "export", "cli"), 0o600); err != nil {
		t.Fatal(err)
	}
	// migrate waits for the fixes; what it would make itself, the owner makes first.
	handed.codeOwner(t, script, "recovery")
	byHand := handed.begin(t, "apply", h.ID, "--yes")
	handed.waits(t)
	handed.codeOwner(t, script, "prepare")
	byHand()
	byUs()
	for _, e := range journalEntries(t, handed) {
		_, s := h.Step(e.Step)
		if s != nil && others(s) && (e.Event == cutover.Intended || e.Event == cutover.Ours) {
			t.Errorf("migrate itself did %s: %s", e.Step, e.Event)
		}
	}
	handed.codeOwner(t, script, "prepare") // again: nothing is left to do
	handed.codeOwner(t, script, "recovery")
	if diff := cmp.Diff(endState(ours), endState(handed)); diff != "" {
		t.Errorf("the fleets differ (-by migrate +by hand):\n%.6000s", diff)
	}
	if diff := cmp.Diff(ours.verdicts(t), handed.verdicts(t)); diff != "" {
		t.Errorf("verdicts (-by migrate +by hand):\n%s", diff)
	}
	open, sessions, all := doorsOpen(handed.world)
	if open != 0 || sessions != all {
		t.Errorf("by hand %d of %d hosts are open and %d serve sessions", open, all, sessions)
	}
}

// begin starts the program; what it gives waits for its end, which has to be good.
func (f *ownFleet) begin(t *testing.T, args ...string) func() {
	t.Helper()
	c := f.program(args...)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := c.Wait(); err != nil {
			t.Fatalf("migrate %s: %v\n%s", strings.Join(args, " "), err, &out)
		}
	}
}

// others reports whether the test leaves the step to the owner of the code.
func others(s *plan.Step) bool {
	switch s.Kind {
	case plan.TimerRole, plan.RecoveryGroup, plan.RecoveryRule:
		return true
	}
	return s.Handed
}

// waits returns when the run of migrate waits for somebody else.
func (f *ownFleet) waits(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, e := range journalEntries(t, f) {
			if e.Event == cutover.Note && strings.HasPrefix(e.Detail, "waits until others have done it") {
				return
			}
		}
		select {
		case <-ctx.Done():
			t.Fatal("migrate apply does not wait for anybody")
		case <-tick.C:
		}
	}
}

// endState is the world's state but for what tells who brought it about: the
// values of the steps' tag.
func endState(f *ownFleet) worldState {
	byWhom := regexp.MustCompile(`("` + regexp.QuoteMeta(fleet.TagStep) + `":)"[^"]*"`)
	out := stateOf(f.world)
	for k, v := range out {
		if text, ok := v.(string); ok {
			out[k] = byWhom.ReplaceAllString(text, `$1"…"`)
		}
	}
	return out
}

// verdicts takes a new inventory and judges every host.
func (f *ownFleet) verdicts(t *testing.T) map[string]string {
	t.Helper()
	f.run(t, []int{exitIncomplete}, "inventory")
	judged := decode[fleet.Assessment](t, f.run(t, []int{exitNotReady, exitIncomplete}, "readiness", "--json"))
	out := map[string]string{}
	for _, h := range judged.Hosts {
		out[h.Host] = h.Verdict.String() + " " + h.Cause
	}
	return out
}
