package cutover_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/simfleet"
)

// families are the systems that agents come to, each with its package.
var families = []struct{ system, form string }{{"amzn", "rpm"}, {"rhel", "rpm"}, {"sles", "rpm"}, {"debian", "deb"}, {"ubuntu", "snap"}}

const mirrorHost = "mirror.example.com"

// bareWorld is a world in which the first host of a system with a way to the
// internet has no agent. Its disk has room.
func bareWorld(t *testing.T, system string) (*simfleet.World, *simfleet.Instance) {
	t.Helper()
	w, err := simfleet.Generate(simfleet.Options{Instances: 300, Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	for in := range w.Instances() {
		if in.OS.Family != system || !in.Host.Running() || !w.EgressTo(in, "s3").TLS || !w.EgressTo(in, "sts").TLS {
			continue
		}
		in.Agent = simfleet.Agent{}
		return w, in
	}
	t.Fatalf("no %s reaches the internet", system)
	return nil, nil
}

// agentStep is a step on an instance's agent, and what carries it out.
func agentStep(s simulated, action plan.AgentAction, form, source string) (cutover.StepKind, plan.Step) {
	arch := map[string]string{"arm64": "arm64"}[s.inst.Host.Architecture]
	if arch == "" {
		arch = "amd64"
	}
	step := plan.Step{ID: "s " + string(action), Kind: plan.Agent, Hosts: []fleet.HostRef{s.inst.Host.Ref()}, Agent: &plan.AgentChange{
		Action: action, Family: s.inst.OS.Family, Package: form, Arch: arch, Floor: "3.3.4851.0",
	}}
	if folder := step.Agent.Folder(); source != "" && folder != "" {
		step.Agent.Source = fmt.Sprintf("%s/%s/amazon-ssm-agent.%s", source, folder, form)
	}
	return cutover.HostKinds(cutover.HostWorld{
		Hosts: s, Plan: &plan.Plan{Digest: s.inst.Host.ID, Policy: plan.DefaultPolicy()}, SigningKey: simfleet.AgentSigningKey(),
		Find: func(fleet.HostRef) (fleet.Host, bool) { return s.inst.Host, true },
	})[plan.Agent], step
}

// inWorld runs a test with a world's time going on.
func inWorld(t *testing.T, w *simfleet.World, run func(ctx context.Context, hosts *simfleet.Hosts)) {
	t.Helper()
	hosts := simfleet.NewHosts(w, simfleet.HostOptions{TimeScale: -1})
	defer hosts.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { w.Run(ctx) })
	defer running.Wait()
	defer cancel()
	run(ctx, hosts)
}

// Each family gets its agent, from the Region's bucket or a mirror, and an undo
// takes it away.
func TestAgentComesToEveryFamily(t *testing.T) {
	for _, f := range families {
		for _, source := range []string{"", "https://" + mirrorHost + "/ssm"} {
			if f.form == "snap" && source != "" {
				continue // snaps come from snap's store
			}
			t.Run(f.system+" "+source, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w, in := bareWorld(t, f.system)
					inWorld(t, w, func(ctx context.Context, hosts *simfleet.Hosts) {
						k, step := agentStep(simulated{t, w, hosts, in}, plan.InstallAgent, f.form, source)
						mirrored(w, step, "3.3.4851.0", "")
						before, err := k.Observe(ctx, step)
						if err != nil || before.Holds != fleet.TruthNo {
							t.Fatalf("before: %+v, %v", before, err)
						}
						if _, err := k.Apply(ctx, step, before.Image, "token"); err != nil {
							t.Fatal(err)
						}
						if o, err := k.Observe(ctx, step); err != nil || o.Holds != fleet.TruthYes || source != "" && !strings.Contains(o.Detail, "3.3.4851.0") {
							t.Errorf("after: %+v, %v", o, err)
						}
						if err := k.Undo(ctx, step, before.Image, nil, "token"); err != nil {
							t.Fatal(err)
						}
						if o, err := k.Undone(ctx, step, before.Image, nil, "token"); err != nil || o.Holds != fleet.TruthYes {
							t.Errorf("undone: %+v, %v", o, err)
						}
					})
				})
			})
		}
	}
}

// What others run brings the agent to each family as well, and sees it there.
func TestAgentByHandComesToEveryFamily(t *testing.T) {
	for _, f := range families {
		t.Run(f.system, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, in := bareWorld(t, f.system)
				inWorld(t, w, func(ctx context.Context, hosts *simfleet.Hosts) {
					s := simulated{t, w, hosts, in}
					k, step := agentStep(s, plan.InstallAgent, f.form, "")
					step.At = in.Host.Ref().Place()
					head, body, err := cutover.ByHand(cutover.HostWorld{Plan: &plan.Plan{ID: "0123456789ab", Policy: plan.DefaultPolicy()}, SigningKey: simfleet.AgentSigningKey()}, step)
					if err != nil {
						t.Fatal(err)
					}
					for _, mode := range []string{"start", "look", "start"} {
						w.Mu.RLock()
						first := mode == "start" && !in.Agent.Installed
						w.Mu.RUnlock()
						r := s.Run(ctx, in.Host, fleet.WaySSH, fleet.Script{Name: "by hand", Text: head + "MODE=" + mode + "\n" + body})
						if r.Exit != 0 || strings.Contains(string(r.Stdout), "started") != first {
							t.Errorf("%s: exit %d\n%s%s", mode, r.Exit, r.Stdout, r.Stderr)
						}
						time.Sleep(10 * time.Minute)
					}
					if o, err := k.Observe(ctx, step); err != nil || o.Holds != fleet.TruthYes {
						t.Errorf("after: %+v, %v", o, err)
					}
				})
			})
		})
	}
}

// mirrored puts a package on the mirror where the step takes it from; it gives
// the mirror's files.
func mirrored(w *simfleet.World, s plan.Step, version, signer string) map[string][]byte {
	at := strings.TrimPrefix(s.Agent.Source, "https://"+mirrorHost)
	pkg, sig := simfleet.AgentPackage(s.Agent.Package, version, s.Agent.Arch, signer)
	files := map[string][]byte{at: pkg, at + ".sig": sig}
	w.Mirrors = map[string]map[string][]byte{mirrorHost: files}
	return files
}

// What is wrong with a package stops the installation, and the host is as it was.
func TestWrongPackageLeavesEveryFamilyAsItWas(t *testing.T) {
	for about, spoil := range map[string]func(w *simfleet.World, in *simfleet.Instance, s plan.Step, at string, files map[string][]byte){
		"wrong signature: is not AWS's": func(_ *simfleet.World, _ *simfleet.Instance, _ plan.Step, at string, files map[string][]byte) {
			files[at+".sig"][60] ^= 1
		},
		"signature of another package: is not AWS's": func(_ *simfleet.World, _ *simfleet.Instance, s plan.Step, at string, files map[string][]byte) {
			_, files[at+".sig"] = simfleet.AgentPackage(s.Agent.Package, "3.3.5226.0", s.Agent.Arch, "")
		},
		"wrong key: is not AWS's": func(w *simfleet.World, _ *simfleet.Instance, s plan.Step, at string, files map[string][]byte) {
			_, files[at+".sig"] = simfleet.AgentPackage(s.Agent.Package, "3.3.4851.0", s.Agent.Arch, strings.Repeat("AB", 20))
		},
		"truncated: is not AWS's": func(_ *simfleet.World, _ *simfleet.Instance, _ plan.Step, at string, files map[string][]byte) {
			files[at] = files[at][:len(files[at])/2]
		},
		"wrong architecture: the package is for ": func(_ *simfleet.World, _ *simfleet.Instance, s plan.Step, at string, files map[string][]byte) {
			arch := map[string]string{"amd64": "arm64", "arm64": "amd64"}[s.Agent.Arch]
			files[at], files[at+".sig"] = simfleet.AgentPackage(s.Agent.Package, "3.3.4851.0", arch, "")
		},
		"below the floor: which is below 3.3.4851.0": func(_ *simfleet.World, _ *simfleet.Instance, s plan.Step, at string, files map[string][]byte) {
			files[at], files[at+".sig"] = simfleet.AgentPackage(s.Agent.Package, "3.3.987.0", s.Agent.Arch, "")
		},
		"no space: there is no space in /usr/bin": func(w *simfleet.World, in *simfleet.Instance, _ plan.Step, _ string, _ map[string][]byte) {
			w.SetDiskFree(in, 50<<20)
		},
		"no mirror: cannot fetch ": func(w *simfleet.World, _ *simfleet.Instance, _ plan.Step, _ string, _ map[string][]byte) {
			w.Mirrors[mirrorHost] = map[string][]byte{}
		},
	} {
		name, want, _ := strings.Cut(about, ": ")
		t.Run(name, func(t *testing.T) {
			for _, f := range families {
				if f.form == "snap" {
					continue // snapd checks what its store sends
				}
				t.Run(f.system, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						w, in := bareWorld(t, f.system)
						inWorld(t, w, func(ctx context.Context, hosts *simfleet.Hosts) {
							s := simulated{t, w, hosts, in}
							k, step := agentStep(s, plan.InstallAgent, f.form, "https://"+mirrorHost+"/ssm")
							files := mirrored(w, step, "3.3.4851.0", "")
							spoil(w, in, step, strings.TrimPrefix(step.Agent.Source, "https://"+mirrorHost), files)
							refusesAndLeaves(ctx, s, k, step, want)
						})
					})
				})
			}
		})
	}
}

// What snap's store has is looked at before anything is installed.
func TestSnapBelowTheFloorIsNotInstalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, in := bareWorld(t, "ubuntu")
		inWorld(t, w, func(ctx context.Context, hosts *simfleet.Hosts) {
			s := simulated{t, w, hosts, in}
			k, step := agentStep(s, plan.InstallAgent, "snap", "")
			step.Agent.Floor = "9.9.9.9"
			refusesAndLeaves(ctx, s, k, step, "which is below 9.9.9.9")
		})
	})
}

// refusesAndLeaves applies a step that has to fail, and compares the host before
// with the host after.
func refusesAndLeaves(ctx context.Context, s simulated, k cutover.StepKind, step plan.Step, want string) {
	s.t.Helper()
	look := func() ([]simfleet.FileState, simfleet.Agent) {
		s.world.Mu.RLock()
		defer s.world.Mu.RUnlock()
		return s.world.FileStates(s.inst, "/usr", "/var/lib/dpkg", "/var/lib/rpm", "/var/lib/snapd", "/etc/amazon", "/etc/systemd", "/snap", "/opt"), s.inst.Agent
	}
	files, agent := look()
	if _, err := k.Apply(ctx, step, nil, "token"); err == nil || !strings.Contains(err.Error(), want) {
		s.t.Errorf("%v; want %q", err, want)
	}
	filesAfter, agentAfter := look()
	if diff := cmp.Diff(files, filesAfter); diff != "" {
		s.t.Errorf("files (-before +after): %s", diff)
	}
	if diff := cmp.Diff(agent, agentAfter, cmpopts.EquateEmpty(), cmpopts.IgnoreUnexported(simfleet.Agent{})); diff != "" {
		s.t.Errorf("agent (-before +after): %s", diff)
	}
	s.world.Mu.RLock()
	defer s.world.Mu.RUnlock()
	for _, f := range s.world.FileStates(s.inst, "/var/lib/migrate") {
		if f.Kind == "file" && !strings.HasSuffix(f.Path, "/agent-result") {
			s.t.Errorf("%s is left", f.Path)
		}
	}
}
