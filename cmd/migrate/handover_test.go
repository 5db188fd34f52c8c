package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/netip"
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

// inject brings causes about, those of each list on a host of their own: the
// first that the first of them fits.
func (f *ownFleet) inject(t *testing.T, lists ...[]string) (on map[*simfleet.Instance]bool) {
	t.Helper()
	f.world.Mu.Lock()
	defer f.world.Mu.Unlock()
	causes := map[string]simfleet.Cause{}
	for _, c := range simfleet.Causes() {
		causes[c.Name] = c
	}
	all := slices.Collect(f.world.Instances())
	on = map[*simfleet.Instance]bool{}
	for _, names := range lists {
		i := slices.IndexFunc(all, func(in *simfleet.Instance) bool { return !on[in] && causes[names[0]].Inject(f.world, in) == nil })
		if i < 0 {
			t.Fatalf("no host of the fleet takes the cause %s", names[0])
		}
		on[all[i]] = true
		for _, name := range names[1:] {
			if err := causes[name].Inject(f.world, all[i]); err != nil {
				t.Fatalf("%s on %s: %v", name, all[i].Host.ID, err)
			}
		}
	}
	return on
}

// only leaves all hosts out of the plan but these: the AWS CLI
// takes its time for each recovery bastion.
func (f *ownFleet) only(t *testing.T, hosts map[*simfleet.Instance]bool) {
	t.Helper()
	text := "exclude:\n"
	f.world.Mu.RLock()
	for in := range f.world.Instances() {
		if !hosts[in] {
			text += "  - {id: " + in.Host.ID + ", reason: no part of the test}\n"
		}
	}
	f.world.Mu.RUnlock()
	f.policy(t, text)
}

// policy adds to the policy of the fleet's cutover.
func (f *ownFleet) policy(t *testing.T, text string) {
	t.Helper()
	path := filepath.Join(f.dir, defaultPolicyFile)
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(have, text...), 0o600); err != nil {
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
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
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
	if !*long {
		t.Skip("it takes a minute or more: make long runs it")
	}
	t.Parallel()
	ours := ownSim(t, fleetOf(8))
	handed := ownSim(t, fleetWithKeyOf(t, ours, 8))
	for _, f := range []*ownFleet{ours, handed} {
		f.oneWave(t)
		f.only(t, f.inject(t, []string{"endpoint-missing", "no-profile"}, []string{"endpoint-group-closed", "shared-role-without-ssm"}))
	}
	// Agents are started on hosts, where no call of AWS leads.
	handed.policy(t, "fixes: {attach-profile: hand, extend-role: hand, allow-egress: hand, create-endpoint: hand}\n")

	p := ours.planned(t, exitIncomplete)
	byUs := ours.begin(t, "apply", p.ID, "--yes")
	h := handed.planned(t, exitIncomplete)
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
	if diff := cmp.Diff(endState(ours), endState(handed)); diff != "" {
		t.Errorf("the fleets differ (-by migrate +by hand):\n%.6000s", diff)
	}
	if diff := cmp.Diff(ours.verdicts(t), handed.verdicts(t)); diff != "" {
		t.Errorf("verdicts (-by migrate +by hand):\n%s", diff)
	}
	was, want, _ := doorsOpen(ours.world)
	if open, sessions, all := doorsOpen(handed.world); open != was || sessions != want || open == all {
		t.Errorf("by hand %d of %d hosts are open and %d serve sessions; by migrate %d and %d", open, all, sessions, was, want)
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
	ended := false
	t.Cleanup(func() {
		if !ended {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	})
	return func() {
		t.Helper()
		ended = true
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
			if e.Event == cutover.Note && strings.HasPrefix(e.Detail, "waits for others to do it") {
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

// fleetWithKeyOf is a fleet with another's recovery key.
func fleetWithKeyOf(t *testing.T, f *ownFleet, n int) demoOptions {
	t.Helper()
	key, err := os.ReadFile(filepath.Join(f.dir, demoRecoveryKey))
	if err != nil {
		t.Fatal(err)
	}
	o := fleetOf(n)
	o.dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(o.dir, demoRecoveryKey), key, 0o600); err != nil {
		t.Fatal(err)
	}
	return o
}

// endState is what a cutover may have changed of a world, thing by thing, with
// names in place of the IDs that AWS gives, and without the value of the steps' tag, which tells who
// brought a thing about.
func endState(f *ownFleet) worldState {
	all := stateOf(f.world)
	f.world.Mu.RLock()
	defer f.world.Mu.RUnlock()
	var ids []string
	for _, a := range f.world.Accounts {
		for _, r := range a.Roles {
			if r.ID != "" {
				ids = append(ids, r.ID, "role "+r.Name)
			}
		}
		for _, rg := range a.Regions {
			for _, g := range rg.Groups {
				ids = append(ids, g.ID, "group "+g.VPC+" "+g.Name)
			}
			for _, t := range rg.Templates {
				ids = append(ids, t.ID, "template "+t.Name)
			}
			for _, e := range rg.Endpoints {
				ids = append(ids, e.ID, "endpoint "+e.VPC+" "+e.Service)
			}
		}
	}
	names := strings.NewReplacer(ids...)
	byWhom := regexp.MustCompile(`("` + regexp.QuoteMeta(fleet.TagStep) + `":)"[^"]*"`)
	text := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return byWhom.ReplaceAllString(names.Replace(string(text)), `$1"…"`)
	}
	out := worldState{}
	for k, v := range all {
		if strings.HasPrefix(k, "i-") || strings.HasSuffix(k, " settings") || strings.HasSuffix(k, " documents") {
			out[k] = text(v)
		}
	}
	for _, a := range f.world.Accounts {
		for _, r := range a.Roles {
			out["role "+r.Name] = text(r)
		}
		for _, p := range a.Profiles {
			out["profile "+p.Name] = text(p)
		}
		for _, rg := range a.Regions {
			for _, g := range rg.Groups {
				rules := append(rulesOf(g.Ingress), rulesOf(g.Egress)...)
				for i := range rules {
					rules[i] = names.Replace(rules[i])
				}
				slices.Sort(rules)
				out[names.Replace(g.ID)] = rules
			}
			for _, t := range rg.Templates {
				out[names.Replace(t.ID)] = text(t)
			}
			for _, e := range rg.Endpoints {
				c := *e
				c.Groups = slices.Sorted(slices.Values(c.Groups))
				c.Addresses, c.DNSNames = fleet.Fact[[]netip.Addr]{}, nil // given by chance
				out[names.Replace(e.ID)] = text(c)
			}
			for _, g := range rg.Scaling {
				out["scaling group "+rg.Name+" "+g.Name] = text(g)
			}
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
