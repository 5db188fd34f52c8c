package simfleet_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/simfleet"
)

// scripted runs the scripts of the cutover on a simulated machine, as root and
// by one way.
type scripted struct {
	t    *testing.T
	b    *commandWorld
	in   *simfleet.Instance
	key  string // recovery key
	user string
	runs int
}

func (s *scripted) Run(ctx context.Context, _ fleet.Host, way fleet.Way, script fleet.Script) fleet.ScriptResult {
	if way != fleet.WaySSH {
		return fleet.ScriptResult{Started: fleet.TruthNo, Way: way, Reason: "closed"}
	}
	s.runs++
	var out, errs bytes.Buffer
	status, err := s.b.hosts.Run(ctx, s.in, "root", script.Text, nil, &out, &errs)
	if err != nil || status == 137 {
		return fleet.ScriptResult{Started: fleet.TruthUnknown, Way: way, Reason: "lost"}
	}
	return fleet.ScriptResult{Started: fleet.TruthYes, Ended: true, Exit: status, Stdout: out.Bytes(), Stderr: errs.Bytes(), Way: way}
}

func newScripted(t *testing.T, b *commandWorld, in *simfleet.Instance) *scripted {
	_, line := signerOf(t, 99)
	return &scripted{t: t, b: b, in: in, key: line, user: in.OS.User}
}

func (s *scripted) kind(k plan.Kind) (cutover.StepKind, plan.Step) {
	host := s.in.Host
	host.Account, host.Region = s.in.Region.Account.ID, s.in.Region.Name
	p := &plan.Plan{Digest: "sha256:1", Policy: plan.DefaultPolicy()}
	p.Policy.Recovery.PublicKey = s.key
	kinds := cutover.HostKinds(cutover.HostWorld{Hosts: s, Plan: p, SigningKey: simfleet.AgentSigningKey(), Find: func(fleet.HostRef) (fleet.Host, bool) { return host, true }})
	form := map[string]string{"debian": "deb", "ubuntu": "snap"}[s.in.OS.Family]
	if form == "" {
		form = "rpm"
	}
	arch := "amd64"
	if host.Architecture == "arm64" {
		arch = "arm64"
	}
	return kinds[k], plan.Step{
		ID: "w1/" + string(k), Kind: k, Hosts: []fleet.HostRef{host.Ref()}, Keys: &plan.KeysChange{Keep: []string{strings.Fields(s.key)[1]}},
		Key: &plan.KeyChange{User: s.user, Line: s.key}, Timer: &plan.TimerChange{After: plan.Duration(15 * time.Minute)},
		Agent: &plan.AgentChange{Action: plan.InstallAgent, Package: form, Arch: arch, Floor: "3.3.4851.0"},
	}
}

func (s *scripted) observe(k plan.Kind) cutover.Observation {
	s.t.Helper()
	kind, step := s.kind(k)
	o, err := kind.Observe(s.t.Context(), step)
	if err != nil {
		s.t.Fatalf("observe %s: %v", k, err)
	}
	return o
}

func (s *scripted) apply(k plan.Kind) {
	s.t.Helper()
	kind, step := s.kind(k)
	if _, err := kind.Apply(s.t.Context(), step, s.observe(k).Image, "token"); err != nil {
		s.t.Fatalf("apply %s: %v", k, err)
	}
	if o := s.observe(k); o.Holds != fleet.TruthYes {
		s.t.Fatalf("%s does not hold: %s", k, o.Detail)
	}
}

// files are those that logins depend on.
func (s *scripted) files() []simfleet.FileState {
	s.b.Mu.RLock()
	defer s.b.Mu.RUnlock()
	return s.b.FileStates(s.in, "/home", "/root", "/etc/ssh")
}

// login gives what keeps a key out on the machine itself.
func (s *scripted) login(user, key string) string {
	s.b.Mu.RLock()
	defer s.b.Mu.RUnlock()
	near := &simfleet.Instance{Region: s.in.Region, Host: s.in.Host}
	return s.b.LoginReason(simfleet.Origin{Instance: near}, s.in, user, key)
}

// TestKeysMoveAsideAndComeBack runs the cutover's own scripts on each family,
// and then undoes, lets the timer go off, or reboots before it does.
func TestKeysMoveAsideAndComeBack(t *testing.T) {
	families := []string{"amzn", "ubuntu", "debian", "rhel", "sles", "alpine"}
	if testing.Short() {
		families = families[:1] // the others differ in nothing that the race detector sees
	}
	for _, family := range families {
		for _, ending := range []string{"undo", "timer", "reboot"} {
			if ending == "reboot" && family == "alpine" {
				continue // a detached shell does not outlive it
			}
			t.Run(family+" "+ending, func(t *testing.T) {
				withCommands(t, func(t *testing.T, b *commandWorld) {
					in := findInstance(t, b.World, family, func(in *simfleet.Instance) bool {
						return linux(family)(in) && len(in.Machine.Filesystems) == 0 && !in.Machine.CloudInitKeys
					})
					key, line := signerOf(t, 7)
					_ = key
					in.Users = append(in.Users, &simfleet.User{Name: "old", UID: 1500, Home: "/home/old", Keys: []string{"# mine", line}})
					s := newScripted(t, b, in)
					s.apply(plan.RecoveryKey)
					before := s.files()
					s.apply(plan.ArmHostTimer)
					s.apply(plan.QuarantineKeys)
					old := s.login("old", line)
					if rescue := s.login(s.user, s.key); rescue != "" && !strings.Contains(rescue, "security groups") {
						t.Errorf("the recovery key is kept out: %s", rescue)
					}
					if old == "" {
						t.Error("the old key still works")
					}
					switch ending {
					case "undo":
						kind, step := s.kind(plan.QuarantineKeys)
						if err := kind.Undo(t.Context(), step, nil, nil, "token"); err != nil {
							t.Fatal(err)
						}
						s.apply(plan.DisarmHostTimer)
					case "reboot":
						b.Mu.Lock()
						b.Reboot(in)
						b.Mu.Unlock()
						time.Sleep(20 * time.Minute)
					case "timer":
						time.Sleep(14 * time.Minute)
						if s.login("old", line) == "" {
							t.Error("the timer went off too early")
						}
						time.Sleep(2 * time.Minute)
					}
					if d := cmp.Diff(before, s.files()); d != "" {
						t.Errorf("files differ (-before +after):\n%s", d)
					}
				})
			})
		}
	}
}

// TestAgentIsInstalledByScript installs the agent where there was none, by the
// cutover's own script, and takes it away.
func TestAgentIsInstalledByScript(t *testing.T) {
	for _, family := range []string{"amzn", "ubuntu", "debian", "rhel", "sles"} {
		t.Run(family, func(t *testing.T) {
			withCommands(t, func(t *testing.T, b *commandWorld) {
				in := findInstance(t, b.World, family, func(in *simfleet.Instance) bool { return linux(family)(in) && b.Online(in) })
				in.Agent = simfleet.Agent{}
				s := newScripted(t, b, in)
				if b.Online(in) {
					t.Fatal("online without an agent")
				}
				s.apply(plan.Agent)
				if reason := b.OfflineReason(in); reason != "" || !in.Agent.Enabled || in.Agent.Version == "" {
					t.Errorf("after the installation: %q, %+v", reason, in.Agent)
				}
			})
		})
	}
}
