package cutover_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/simfleet"
)

// simulated runs scripts on one simulated machine, as root.
type simulated struct {
	t     *testing.T
	world *simfleet.World
	hosts *simfleet.Hosts
	inst  *simfleet.Instance
}

func (s simulated) Run(ctx context.Context, _ fleet.Host, way fleet.Way, script fleet.Script) fleet.ScriptResult {
	if way != fleet.WaySSH {
		return fleet.ScriptResult{Started: fleet.TruthNo, Reason: "closed"}
	}
	var out, errs bytes.Buffer
	code, err := s.hosts.Run(ctx, s.inst, "root", "sh -s", strings.NewReader(script.Text), &out, &errs)
	if testing.Verbose() {
		s.t.Logf("%s: %d %v\n%s%s", script.Name, code, err, &out, &errs)
	}
	r := fleet.ScriptResult{Started: fleet.TruthYes, Ended: err == nil, Exit: code, Stdout: out.Bytes(), Stderr: errs.Bytes()}
	if err != nil {
		r.Reason = err.Error()
	}
	return r
}

// files are all files of the accounts and of sshd.
func (s simulated) files() []simfleet.FileState {
	s.world.Mu.RLock()
	defer s.world.Mu.RUnlock()
	all := s.world.FileStates(s.inst, "/home", "/root", "/etc/ssh")
	// The model marshals a host key anew, with other random check bytes, each time.
	return slices.DeleteFunc(all, func(f simfleet.FileState) bool { return strings.HasSuffix(f.Path, "_key") })
}

// The scripts on every system that the simulation has: keys come, go and come
// back byte for byte, and the timer fits the system.
func TestScriptsOnSimulatedSystems(t *testing.T) {
	if testing.Short() {
		t.Skip("nothing runs side by side here")
	}
	w, err := simfleet.Generate(simfleet.Options{Instances: 300, Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	hosts := simfleet.NewHosts(w, simfleet.HostOptions{TimeScale: -1})
	defer hosts.Close()
	seen := map[string]bool{}
	for in := range w.Instances() {
		if in.OS.Family == "windows" || !in.Host.Running() || seen[in.OS.Family] {
			continue
		}
		seen[in.OS.Family] = true
		t.Run(in.OS.Family+" "+in.OS.Version, func(t *testing.T) { cycle(t, simulated{t, w, hosts, in}) })
	}
	if len(seen) < 5 {
		t.Errorf("only %d systems", len(seen))
	}
}

const rescueLine = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOAFm0vcsQXbb3Otah2mH2xY3HnW0mJrD2Tz1p8pQ0aa migrate-recovery"

func cycle(t *testing.T, s simulated) {
	const rescue = rescueLine
	blob := strings.Fields(rescue)[1]
	user := "root"
	for _, u := range s.inst.Users {
		if u.Sudo {
			user = u.Name
		}
	}
	p := &plan.Plan{Digest: s.inst.Host.ID, Policy: plan.DefaultPolicy()}
	p.Policy.Recovery.PublicKey = rescue
	kinds := cutover.HostKinds(cutover.HostWorld{Hosts: s, Plan: p, Find: func(fleet.HostRef) (fleet.Host, bool) { return s.inst.Host, true }})
	step := plan.Step{
		ID: "s", Phase: plan.Quarantine, Hosts: []fleet.HostRef{s.inst.Host.Ref()}, Keys: &plan.KeysChange{Keep: []string{blob}},
		Key: &plan.KeyChange{User: user, Line: rescue}, Timer: &plan.TimerChange{After: plan.Duration(15 * time.Minute)},
	}
	observe := func(kind plan.Kind, want fleet.Truth) cutover.Observation {
		t.Helper()
		o, err := kinds[kind].Observe(t.Context(), step)
		if err != nil || o.Holds != want {
			t.Fatalf("%s: %+v, %v; want %s", kind, o, err, want)
		}
		return o
	}
	apply := func(kind plan.Kind) {
		t.Helper()
		if _, err := kinds[kind].Apply(t.Context(), step, nil, "token"); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if o, err := kinds[kind].Observe(t.Context(), step); err != nil || o.Holds != fleet.TruthYes {
			t.Fatalf("%s, applied: %+v, %v", kind, o, err)
		}
	}
	undo := func(kind plan.Kind, before []byte) {
		t.Helper()
		if err := kinds[kind].Undo(t.Context(), step, before, nil, "token"); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if o, err := kinds[kind].Undone(t.Context(), step, before, nil, "token"); err != nil || o.Holds != fleet.TruthYes {
			t.Fatalf("%s, undone: %+v, %v", kind, o, err)
		}
	}
	untouched := s.files()
	key := observe(plan.RecoveryKey, fleet.TruthNo)
	apply(plan.RecoveryKey)
	before := s.files()
	keys := observe(plan.QuarantineKeys, fleet.TruthNo)
	observe(plan.ArmHostTimer, fleet.TruthNo)
	apply(plan.ArmHostTimer)
	apply(plan.QuarantineKeys)
	if cmp.Equal(before, s.files()) {
		t.Error("nothing changed")
	}
	undo(plan.QuarantineKeys, keys.Image)
	if diff := cmp.Diff(before, s.files()); diff != "" {
		t.Errorf("after the restore (-before +after): %s", diff)
	}
	apply(plan.QuarantineKeys)
	apply(plan.DisarmHostTimer)
	observe(plan.ArmHostTimer, fleet.TruthNo)
	observe(plan.QuarantineKeys, fleet.TruthYes)
	undo(plan.QuarantineKeys, keys.Image)
	undo(plan.RecoveryKey, key.Image)
	after := s.files()
	for i := range after {
		after[i].ModTime = time.Time{}
	}
	for i := range untouched {
		untouched[i].ModTime = time.Time{}
	}
	if diff := cmp.Diff(untouched, after); diff != "" {
		t.Errorf("after all (-before +after): %s", diff)
	}
}

// However much room a disk has when it fills up, either all keys are quarantined or
// an undo leaves nothing of the try.
func TestQuarantineOnFullDisks(t *testing.T) {
	if testing.Short() {
		t.Skip("nothing runs side by side here")
	}
	w, err := simfleet.Generate(simfleet.Options{Instances: 40, Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	var in *simfleet.Instance
	for i := range w.Instances() {
		if i.OS.Family == "amzn" && i.Host.Running() && len(i.Users) > 1 && (in == nil || len(i.Users) < len(in.Users)) {
			in = i
		}
	}
	if in == nil {
		t.Fatal("the world has no such instance")
	}
	p := &plan.Plan{Digest: in.Host.ID, Policy: plan.DefaultPolicy()}
	p.Policy.Recovery.PublicKey = rescueLine
	step := plan.Step{
		ID: "s", Phase: plan.Quarantine, Hosts: []fleet.HostRef{in.Host.Ref()}, Keys: &plan.KeysChange{Keep: []string{strings.Fields(rescueLine)[1]}},
		Key: &plan.KeyChange{User: "ec2-user", Line: rescueLine}, Timer: &plan.TimerChange{After: plan.Duration(15 * time.Minute)},
	}
	refused := 0
	for room := 12 << 10; ; room += 211 {
		hosts := simfleet.NewHosts(w, simfleet.HostOptions{TimeScale: -1, Disk: room})
		s := simulated{t, w, hosts, in}
		kinds := cutover.HostKinds(cutover.HostWorld{Hosts: s, Plan: p, Find: func(fleet.HostRef) (fleet.Host, bool) { return in.Host, true }})
		armed := true
		for _, kind := range []plan.Kind{plan.RecoveryKey, plan.ArmHostTimer} {
			_, err := kinds[kind].Apply(t.Context(), step, nil, "token")
			armed = armed && err == nil
		}
		done := false
		if armed {
			done = quarantineOrNothing(t, s, kinds[plan.QuarantineKeys], step, room)
		}
		hosts.Close()
		switch {
		case done && refused < 10:
			t.Fatalf("the quarantine was refused %d times", refused)
		case done, t.Failed():
			return
		case armed:
			refused++
		}
	}
}

// quarantineOrNothing tells whether the quarantine had room.
func quarantineOrNothing(t *testing.T, s simulated, k cutover.StepKind, step plan.Step, room int) bool {
	before := withoutFolderTimes(s.files())
	if _, err := k.Apply(t.Context(), step, nil, "token"); err == nil {
		return true
	}
	if err := k.Undo(t.Context(), step, nil, nil, "token"); err != nil {
		t.Errorf("%d bytes: %v", room, err)
	}
	if diff := cmp.Diff(before, withoutFolderTimes(s.files())); diff != "" {
		t.Errorf("%d bytes, after the undo (-before +after): %s", room, diff)
	}
	return false
}

func withoutFolderTimes(files []simfleet.FileState) []simfleet.FileState {
	for i, f := range files {
		if f.Kind == "directory" {
			files[i].ModTime = time.Time{}
		}
	}
	return files
}

// Agents are installed, upgraded, enabled and restarted in a process of their
// own, and what an undo can take back goes.
func TestAgentWorkOnSimulatedSystems(t *testing.T) {
	for _, tt := range []struct {
		name   string
		action plan.AgentAction
		form   string
		fits   func(*simfleet.Instance) bool
		undone string // in what the host says after the undo; empty: the agent stays
	}{
		{"install deb", plan.InstallAgent, "deb", func(in *simfleet.Instance) bool { return in.OS.Family == "debian" }, "no agent"},
		{"install rpm", plan.InstallAgent, "rpm", func(in *simfleet.Instance) bool { return in.OS.Family == "rhel" && !in.Agent.Installed }, "no agent"},
		{"upgrade rpm", plan.UpgradeAgent, "rpm", func(in *simfleet.Instance) bool {
			return in.OS.Family == "amzn" && in.Agent.Installed && in.Agent.Version < "3.3.4"
		}, ""},
		{"restart", plan.RestartAgent, "rpm", func(in *simfleet.Instance) bool { return in.OS.Family == "amzn" && in.Agent.Installed }, ""},
		{"enable", plan.EnableAgent, "rpm", func(in *simfleet.Instance) bool {
			return in.OS.Family == "amzn" && in.Agent.Installed && !in.Agent.Running
		}, "running no"},
		{"enable at boot", plan.EnableAgent, "rpm", func(in *simfleet.Instance) bool {
			if in.OS.Family != "amzn" || !in.Agent.Running || in.Agent.Second != "" {
				return false
			}
			in.Agent.Enabled = false
			return true
		}, "running yes, enabled no"},
		{"enable a snap at boot", plan.EnableAgent, "snap", func(in *simfleet.Instance) bool {
			if in.Agent.Package != "snap" || !in.Agent.Running || in.Agent.Second != "" {
				return false
			}
			in.Agent.Enabled = false
			return true
		}, "running yes, enabled no"},
		{"enable what is masked", plan.EnableAgent, "rpm", func(in *simfleet.Instance) bool {
			if in.OS.Family != "amzn" || !in.Agent.Running || in.Agent.Second != "" {
				return false
			}
			in.Agent.Enabled, in.Agent.Masked = false, true
			return true
		}, "running yes, enabled no, masked"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, err := simfleet.Generate(simfleet.Options{Instances: 300, Seed: 7})
				if err != nil {
					t.Fatal(err)
				}
				hosts := simfleet.NewHosts(w, simfleet.HostOptions{TimeScale: -1})
				defer hosts.Close()
				var in *simfleet.Instance
				for i := range w.Instances() {
					if in == nil && i.Host.Running() && tt.fits(i) && w.EgressTo(i, "s3").TLS {
						in = i
					}
				}
				if in == nil {
					t.Fatal("the world has no such instance")
				}
				if tt.form == "deb" {
					in.Agent = simfleet.Agent{} // all of Debian's have one
				}
				ctx, cancel := context.WithCancel(t.Context())
				var running sync.WaitGroup
				running.Go(func() { w.Run(ctx) })
				defer running.Wait()
				defer cancel()
				agentWork(t, simulated{t, w, hosts, in}, tt.action, tt.form, tt.undone)
			})
		})
	}
}

func agentWork(t *testing.T, s simulated, action plan.AgentAction, form, undone string) {
	arch := "amd64"
	if s.inst.Host.Architecture == "arm64" {
		arch = "arm64"
	}
	p := &plan.Plan{Digest: s.inst.Host.ID, Policy: plan.DefaultPolicy()}
	k := cutover.HostKinds(cutover.HostWorld{
		Hosts: s, Plan: p, SigningKey: simfleet.AgentSigningKey(), Find: func(fleet.HostRef) (fleet.Host, bool) { return s.inst.Host, true },
	})[plan.Agent]
	step := plan.Step{ID: "s", Hosts: []fleet.HostRef{s.inst.Host.Ref()}, Agent: &plan.AgentChange{
		Action: action, Family: s.inst.OS.Family, Package: form, Arch: arch, Floor: "3.3.4851.0",
	}}
	if action == plan.RestartAgent || action == plan.EnableAgent {
		step.Agent.Floor = ""
	}
	before, err := k.Observe(t.Context(), step)
	if err != nil || before.Holds != fleet.TruthNo {
		t.Fatalf("before: %+v, %v", before, err)
	}
	ran, started := s.inst.Agent.Running, s.inst.Agent.Started
	if _, err := k.Apply(t.Context(), step, before.Image, "token"); err != nil {
		t.Fatal(err)
	}
	if o, err := k.Observe(t.Context(), step); err != nil || o.Holds != fleet.TruthYes {
		t.Errorf("after: %+v, %v", o, err)
	}
	if again := !s.inst.Agent.Started.Equal(started); action == plan.EnableAgent && again == ran {
		t.Errorf("it ran: %v; started again: %v", ran, again)
	}
	if err := k.Undo(t.Context(), step, before.Image, nil, "token"); err != nil {
		t.Fatal(err)
	}
	o, err := k.Undone(t.Context(), step, before.Image, nil, "token")
	if err != nil || o.Holds != fleet.TruthYes || !strings.Contains(o.Detail, undone) {
		t.Errorf("undone: %+v, %v", o, err)
	}
}
