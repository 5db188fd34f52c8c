package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/simfleet"
	"ssm-migrate/internal/sqlite"
)

// carried is a simulated fleet on which a plan was carried out: every step's
// change was made by its kind, in the plan's order, and the journal says so.
// What only proves is left out: nothing is proved by it here.
type carried struct {
	t     *testing.T
	sim   *demoFleet
	app   *app
	out   *bytes.Buffer
	errs  *bytes.Buffer
	db    *sqlite.DB
	plan  *plan.Plan
	hosts map[fleet.HostRef]fleet.Host
	aws   *awsapi.Changer
	kinds cutover.Kinds
	ways  *hostWays
	fence int64
}

const driftPolicy = `soak: 1s
canary: 0
waves: ["100%%"]
timer: 30m
require_silent: false
require_access: false
split_wide_rules: true
recovery:
  public_key: %s
  from: ["%s/32"]
`

func carryOut(t *testing.T, o demoOptions) *carried {
	t.Helper()
	c := &carried{t: t, sim: newSim(t, o), out: &bytes.Buffer{}, errs: &bytes.Buffer{}}
	c.app = &app{streams: streams{in: strings.NewReader(""), out: c.out, err: c.errs}, dbPath: c.sim.db(), configPath: c.sim.config()}
	ctx := t.Context()
	c.must(c.app.recoveryKey(filepath.Join(c.sim.dir, "rescue"), "rescue", "", true))
	line, err := os.ReadFile(filepath.Join(c.sim.dir, "rescue.pub"))
	c.must(err)
	policy := filepath.Join(c.sim.dir, defaultPolicyFile)
	c.must(os.WriteFile(policy, fmt.Appendf(nil, driftPolicy, bytes.TrimSpace(line), simfleet.OperatorAddr), 0o600))
	c.must(c.app.inventory(ctx, nil), exitIncomplete)
	c.must(c.app.makePlan(ctx, 0, policy, planView{}), exitIncomplete)
	c.db, err = sqlite.Open(ctx, c.sim.db())
	c.must(err)
	t.Cleanup(func() { c.db.Close() })
	c.plan, err = findPlan(ctx, c.db, "")
	c.must(err)
	snap, err := load(ctx, c.db, c.plan.Snapshot)
	c.must(err)
	c.hosts = hostsOf(snap)
	cfg, err := c.app.config()
	c.must(err)
	accounts, err := openAccounts(ctx, cfg)
	c.must(err)
	c.aws = awsapi.NewChanger(accounts...)
	world, err := c.app.openChangeWorld(ctx, cfg, c.db, c.plan, c.hosts)
	c.must(err)
	t.Cleanup(world.close)
	c.kinds = world.kinds
	c.ways, err = c.app.newHostWays(cfg, c.aws, nil, recoveryUsers(c.plan), nil)
	c.must(err)
	t.Cleanup(c.ways.close)
	c.fence, err = c.db.Acquire(ctx, "drift test", time.Hour)
	c.must(err)
	for _, w := range c.plan.Waves {
		for _, ph := range plan.Phases() {
			lanes := w.Phase(ph)
			errs := make([]error, len(lanes))
			var all sync.WaitGroup
			for i, lane := range lanes {
				all.Go(func() {
					for _, s := range lane {
						if errs[i] == nil {
							errs[i] = c.carry(w, s)
						}
					}
				})
			}
			all.Wait()
			c.must(errors.Join(errs...))
		}
	}
	c.must(c.db.Release(ctx, c.fence))
	return c
}

// must fails the test on errors but for verdicts that are allowed.
func (c *carried) must(err error, allowed ...int) {
	c.t.Helper()
	if err != nil && !slices.Contains(allowed, codeOf(err)) {
		c.t.Fatalf("%v\n%s%s", err, c.out, c.errs)
	}
}

// carry does one step as the executor would, and writes that it did.
func (c *carried) carry(w plan.Wave, s plan.Step) error {
	ctx := c.t.Context()
	entry := cutover.Entry{At: time.Now().Add(-time.Hour), Plan: c.plan.ID, Digest: c.plan.Digest, Wave: w.Number, Step: s.ID, Hosts: s.Hosts, Event: cutover.Found, Operator: "test"}
	if k := c.kinds[s.Kind]; s.Kind != plan.ProveSession && s.Kind != plan.RecoveryDrill && s.Kind != plan.WaitFor {
		before, err := k.Observe(ctx, s)
		if err != nil {
			return err
		}
		if before.Holds != fleet.TruthYes {
			intended := entry
			intended.Event, intended.Image = cutover.Intended, before.Image
			if _, err := c.db.Append(ctx, c.fence, intended); err != nil {
				return err
			}
			entry.Event = cutover.Ours
			if entry.Image, err = k.Apply(ctx, s, before.Image, cutover.Token(c.plan, s.ID)); err != nil {
				return err
			}
		}
	}
	if s.Kind == plan.RecoveryDrill {
		for _, h := range s.Hosts {
			if err := c.db.SaveProof(ctx, fleet.Proof{Host: h, Way: fleet.WayRecovery, Works: fleet.TruthYes, At: entry.At, Kind: "login"}); err != nil {
				return err
			}
		}
	}
	_, err := c.db.Append(ctx, c.fence, entry)
	return err
}

// drift runs the check, and gives what it names, sorted: "code what".
func (c *carried) drift(q driftQuery, code int) (cutover.DriftReport, []string) {
	c.t.Helper()
	c.out.Reset()
	c.app.json = true
	defer func() { c.app.json = false }()
	q.concurrency = cmp.Or(q.concurrency, 50)
	err := c.app.drift(c.t.Context(), q)
	if got := codeOf(err); got != code {
		c.t.Errorf("exit code %d, want %d: %v\n%s", got, code, err, c.out)
	}
	r := decode[cutover.DriftReport](c.t, c.out.Bytes())
	var names []string
	for _, i := range r.Items {
		name := string(i.Code) + " " + i.What
		if i.Holds == fleet.TruthUnknown {
			name += " ?"
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return r, names
}

// world changes an instance in the world itself.
func (c *carried) world(r fleet.HostRef, change func(in *simfleet.Instance)) {
	c.t.Helper()
	c.sim.world.Mu.Lock()
	defer c.sim.world.Mu.Unlock()
	for in := range c.sim.world.Instances() {
		if in.Host.Ref() == r {
			change(in)
			return
		}
	}
	c.t.Fatalf("the world has no %s", r)
}

// regroup gives an instance other security groups.
func (c *carried) regroup(r fleet.HostRef, change func(groups []string) []string) (restore func()) {
	var was []string
	c.world(r, func(in *simfleet.Instance) {
		was = in.Host.Groups
		in.Host.Groups = change(slices.Clone(was))
		in.Host.Interfaces[0].Groups = in.Host.Groups
	})
	return func() {
		c.world(r, func(in *simfleet.Instance) { in.Host.Groups, in.Host.Interfaces[0].Groups = was, was })
	}
}

// script runs on a host as root.
func (c *carried) script(r fleet.HostRef, text string) {
	c.t.Helper()
	res := c.ways.Run(c.t.Context(), c.hosts[r], fleet.WaySessionManager, fleet.Script{Name: "by-hand", Text: "set -e\n" + text + "\n"})
	if !res.Ended || res.Exit != 0 {
		c.t.Fatalf("script: %+v %s%s", res, res.Stdout, res.Stderr)
	}
}

// authorize adds a rule, and gives what revokes it.
func (c *carried) authorize(at fleet.Place, group string, r fleet.Rule) (revoke func()) {
	c.t.Helper()
	c.must(c.aws.Authorize(c.t.Context(), at, group, r))
	return func() { c.revoke(at, group, r) }
}

func (c *carried) revoke(at fleet.Place, group string, r fleet.Rule) {
	c.t.Helper()
	rules, err := c.aws.GroupRules(c.t.Context(), at, group)
	c.must(err)
	for _, x := range rules {
		if x.Same(r) {
			c.must(c.aws.Revoke(c.t.Context(), at, group, r.Egress, []string{x.ID}))
			return
		}
	}
	c.t.Fatalf("%s has no such rule", group)
}

// before is the before-image of a step in the journal.
func (c *carried) before(step string) json.RawMessage {
	c.t.Helper()
	entries, err := c.db.Entries(c.t.Context(), c.plan.ID)
	c.must(err)
	for _, e := range entries {
		if e.Step == step && e.Event == cutover.Intended {
			return e.Image
		}
	}
	c.t.Fatalf("step %s was not begun", step)
	return nil
}

// Every kind of drift, made by hand one after the other: the check names it,
// and nothing else.
func TestDriftNamesWhatWasChangedAndNothingElse(t *testing.T) {
	if testing.Short() {
		t.Skip("it carries out a whole plan in real time")
	}
	if ownProcess(t) {
		return
	}
	c := carryOut(t, demoOptions{instances: 5, seed: 7, noThrottle: true, healthy: true})
	ctx := t.Context()
	report, names := c.drift(driftQuery{sessions: true}, 0)
	if len(names) > 0 || report.Steps < 30 || report.Hosts < 3 {
		t.Fatalf("drift of a fleet that nobody has changed: %v, %d steps, %d hosts", names, report.Steps, report.Hosts)
	}
	c.recoveryDrifts()
	quarantine := c.plan.Of(plan.QuarantineKeys)
	host, other := quarantine[0].Hosts[0], quarantine[1].Hosts[0]
	var port plan.Step
	for _, s := range c.plan.Of(plan.ClosePort) {
		if len(s.Hosts) == 1 && s.Hosts[0] == host {
			port = s
		}
	}
	if port.Rules == nil {
		t.Fatal("no group is the host's alone")
	}
	at, group, vpc := port.At, port.Rules.Group, c.hosts[host].VPC
	rescue := plan.RecoveryName(vpc)
	rescueGroup, err := c.aws.FindGroup(ctx, at, vpc, rescue)
	c.must(err)
	everyone := fleet.Rule{Protocol: "tcp", From: 0, To: 65535, CIDR: netip.MustParsePrefix("0.0.0.0/0")}
	stray := func(rules ...fleet.Rule) string {
		id, err := c.aws.CreateGroup(ctx, at, fleet.SecurityGroup{VPC: vpc, Name: fmt.Sprintf("stray-%d", len(rules)), Description: "by hand"})
		c.must(err)
		for _, r := range rules {
			c.must(c.aws.Authorize(ctx, at, id, r))
		}
		return id
	}
	open, closed := stray(everyone), stray()
	of := func(k plan.Kind, h fleet.HostRef) plan.Step {
		for _, s := range c.plan.Of(k) {
			if slices.Contains(s.Hosts, h) {
				return s
			}
		}
		t.Fatalf("no %s for %s", k, h)
		return plan.Step{}
	}
	arm, disarm := of(plan.ArmHostTimer, host), of(plan.DisarmHostTimer, host)
	armRule, disarmRule := of(plan.ArmRuleTimer, host), of(plan.DisarmRuleTimer, host)
	role := c.plan.Of(plan.TimerRole)[0]
	seen, err := c.kinds[plan.RecoveryKey].Observe(ctx, of(plan.RecoveryKey, host))
	c.must(err)
	keys := decode[struct{ Path string }](t, seen.Image).Path
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHj2Pp6HGJ9bZ7mBqQ0c3yY5vq1mXvV3t2m0Jm0m0m0m someone"
	file := func(then string) string { return "f=" + keys + "; " + then }
	for _, tt := range []struct {
		name   string
		change func() (restore func())
		want   []string
		code   int
	}{
		{"a closed rule is back", func() func() { return c.authorize(at, group, port.Rules.Rules[0]) }, []string{"port-open " + group}, 3},
		{"a new wide rule", func() func() { return c.authorize(at, group, everyone) }, []string{"port-open " + group}, 3},
		{"a new group with an open port", func() func() {
			return c.regroup(host, func(g []string) []string { return append(g, open) })
		}, []string{"other-group-open " + open}, 3},
		{"a new group that is closed", func() func() {
			return c.regroup(host, func(g []string) []string { return append(g, closed) })
		}, nil, 0},
		{"the groups taken away", func() func() {
			return c.regroup(host, func([]string) []string { return []string{closed} })
		}, []string{"recovery-rule " + host.ID}, 3},
		{"the recovery rule revoked", func() func() {
			r := fleet.Rule{Protocol: "tcp", From: 22, To: 22, Group: rescueGroup.ID}
			c.revoke(at, group, r)
			return func() { c.must(c.aws.Authorize(ctx, at, group, r)) }
		}, []string{"recovery-rule " + group}, 3},
		{"the recovery bastion open to others", func() func() { return c.authorize(at, rescueGroup.ID, everyone) }, []string{"recovery-group " + rescue}, 3},
		{"a key added to a file", func() func() {
			c.script(host, file("cp -p $f $f.was; echo '"+key+"' >>$f"))
			return func() { c.script(host, file("mv $f.was $f")) }
		}, []string{"keys-back " + host.ID}, 3},
		{"a new key file", func() func() {
			c.script(host, "[ ! -e /root/.ssh/authorized_keys ]; mkdir -p /root/.ssh; echo '"+key+"' >/root/.ssh/authorized_keys")
			return func() { c.script(host, "rm /root/.ssh/authorized_keys") }
		}, []string{"keys-back " + host.ID}, 3},
		{"the recovery key gone", func() func() {
			c.script(host, file("mv $f $f.was"))
			return func() { c.script(host, file("mv $f.was $f")) }
		}, []string{"recovery-key " + host.ID}, 3},
		{"a host timer armed", func() func() {
			_, err := c.kinds[plan.ArmHostTimer].Apply(ctx, arm, nil, "x")
			c.must(err)
			return func() { _, err := c.kinds[plan.DisarmHostTimer].Apply(ctx, disarm, nil, "x"); c.must(err) }
		}, []string{"host-timer-armed " + host.ID}, 3},
		{"a rule timer armed", func() func() {
			_, err := c.kinds[plan.ArmRuleTimer].Apply(ctx, armRule, c.before(armRule.ID), "x")
			c.must(err)
			return func() { _, err := c.kinds[plan.DisarmRuleTimer].Apply(ctx, disarmRule, nil, "x"); c.must(err) }
		}, []string{"rule-timer-armed " + armRule.Rules.Group}, 3},
		{"the agent stopped", func() func() {
			c.world(host, func(in *simfleet.Instance) { in.Agent.Running = false })
			return func() { c.world(host, func(in *simfleet.Instance) { in.Agent.Running = true }) }
		}, []string{"session-lost " + host.ID}, 3},
		{"the role's policy deleted", func() func() {
			c.must(c.aws.DeleteRolePolicy(ctx, role.At, role.Role.Name, role.Role.Policy))
			return func() {
				c.must(c.aws.PutRolePolicy(ctx, role.At, role.Role.Name, role.Role.Policy, role.Role.Document))
			}
		}, []string{"role " + role.Role.Name}, 3},
		{"a host stopped", func() func() {
			c.world(host, func(in *simfleet.Instance) { in.Host.State = "stopped" })
			return func() { c.world(host, func(in *simfleet.Instance) { in.Host.State = "running" }) }
		}, []string{"unseen " + host.ID + " ?"}, 4},
		{"a call denied", func() func() {
			c.sim.faults.Set(simfleet.Fault{Service: "ec2", Action: "DescribeInstances", Region: at.Region, Kind: simfleet.FaultDeny})
			return func() { c.sim.faults.Set() }
		}, []string{"unseen " + at.Account + " " + at.Region + " ?"}, 4},
		// From here on nothing is put back.
		{"a host timer that fired", func() func() {
			image, err := c.kinds[plan.ArmHostTimer].Apply(ctx, of(plan.ArmHostTimer, other), nil, "x")
			c.must(err)
			timer := decode[struct{ Due int64 }](t, image)
			c.script(other, fmt.Sprintf("sh /var/lib/migrate/%s/restore timer %d", cutover.Token(&plan.Plan{Digest: c.plan.Digest}, ""), timer.Due))
			return nil
		}, []string{"host-timer-fired " + other.ID}, 3},
		{"the recovery bastion started", func() func() {
			c.must(c.aws.SetSize(ctx, at, rescue, 0, 1, 1))
			return nil
		}, []string{"host-timer-fired " + other.ID, "recovery-group-up " + rescue}, 3},
		{"a host terminated", func() func() {
			c.world(other, func(in *simfleet.Instance) { in.Host.State = "terminated" })
			return nil
		}, []string{"host-gone " + other.ID, "recovery-group-up " + rescue}, 3},
	} {
		restore := tt.change()
		report, got := c.drift(driftQuery{}, tt.code)
		if !slices.Equal(got, tt.want) {
			text, _ := json.MarshalIndent(report.Items, "", " ")
			t.Errorf("%s: %q, want %q\n%s", tt.name, got, tt.want, text)
		}
		for _, i := range report.Items {
			if i.Now == "" || i.Do == "" || i.Was == "" {
				t.Errorf("%s: incomplete: %+v", tt.name, i)
			}
		}
		if restore != nil {
			restore()
		}
	}

	// What somebody who holds the lease may be doing is not called drift.
	c.fence, err = c.db.Acquire(ctx, "a colleague", time.Hour)
	c.must(err)
	report, got := c.drift(driftQuery{}, 3)
	if want := []string{"host-gone " + other.ID, "recovery-group-up " + rescue + " ?"}; !slices.Equal(got, want) || report.Holder != "a colleague" {
		t.Errorf("while %q holds the lease: %q, want %q", report.Holder, got, want)
	}
	c.newcomer()
}

// newcomer has an Auto Scaling group launch one instance more.
func (c *carried) newcomer() {
	c.t.Helper()
	for _, h := range c.plan.Hosts() {
		name := c.hosts[h].AutoScalingGroup
		if name == "" {
			continue
		}
		g, err := c.aws.ScalingGroup(c.t.Context(), h.Place(), name)
		c.must(err)
		c.must(c.aws.SetSize(c.t.Context(), h.Place(), name, g.Min, g.Desired+1, max(g.Max, g.Desired+1)))
		report, _ := c.drift(driftQuery{}, 3)
		var found []cutover.DriftItem
		for _, i := range report.Items {
			if i.Code == cutover.DriftNewInstance {
				found = append(found, i)
			}
		}
		if len(found) != 1 || !strings.Contains(found[0].Now, name) || found[0].Since.IsZero() {
			c.t.Errorf("after a launch by %s: %+v", name, found)
		}
		return
	}
	c.t.Fatal("no host of the plan is in an Auto Scaling group")
}

// recoveryDrifts lets the recovery way drift where no step of the plan looks: its
// image is gone, the policy has another key, an old one.
func (c *carried) recoveryDrifts() {
	c.t.Helper()
	group := c.plan.Of(plan.RecoveryGroup)[0]
	var region *simfleet.Region
	for _, r := range c.sim.world.Accounts[0].Regions {
		if r.Name == group.At.Region {
			region = r
		}
	}
	set := func(gone map[string]bool) {
		c.sim.world.Mu.Lock()
		defer c.sim.world.Mu.Unlock()
		region.Deregistered = gone
	}
	set(map[string]bool{group.Recovery.Image: true})
	if _, names := c.drift(driftQuery{}, exitNotReady); !slices.Equal(names, []string{"recovery-image " + group.Recovery.Image}) {
		c.t.Errorf("without its image: %v", names)
	}
	set(nil)
	const other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB other"
	policy := filepath.Join(c.sim.dir, defaultPolicyFile)
	text, err := os.ReadFile(policy)
	c.must(err)
	c.must(c.db.SaveRecoveryKey(c.t.Context(), fleet.RecoveryKey{Line: other, Location: "elsewhere", Made: time.Now().Add(-100 * 24 * time.Hour)}))
	c.must(os.WriteFile(policy, fmt.Appendf(nil, driftPolicy, other, simfleet.OperatorAddr), 0o600))
	want := []string{"recovery-key-age recovery key"}
	for _, s := range c.plan.Of(plan.RecoveryGroup) {
		want = append(want, "recovery-template "+s.Recovery.Name)
	}
	slices.Sort(want)
	if _, names := c.drift(driftQuery{}, exitNotReady); !slices.Equal(names, want) {
		c.t.Errorf("with another key, an old one: %v, want %v", names, want)
	}
	c.must(os.WriteFile(policy, text, 0o600))
}
