package plan_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// newKey makes the public line of a key that nobody has.
func newKey(n byte) string {
	blob := append([]byte{0, 0, 0, 11}, "ssh-ed25519"...)
	blob = append(blob, 0, 0, 0, 32)
	blob = append(blob, slices.Repeat([]byte{n}, 32)...)
	return "ssh-ed25519 " + base64.StdEncoding.EncodeToString(blob) + " generation"
}

func blobOf(line string) string {
	f := strings.Fields(line)
	return f[slices.Index(f, "ssh-ed25519")+1]
}

func generations(lines ...string) []fleet.RecoveryKey {
	var out []fleet.RecoveryKey
	for _, l := range lines {
		out = append(out, fleet.RecoveryKey{Line: l})
	}
	return out
}

func all(*plan.Plan, string) bool { return true }

func (x *scene) ways(t *testing.T) []plan.Way {
	t.Helper()
	return plan.Ways([]*plan.Plan{x.make(t)}, all)
}

func TestLinesOnHostsAreBoundToTheWayBackIn(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*scene)
		want   string
	}{
		{"as usual", func(*scene) {}, `restrict,pty,from="10.0.2.0/24" `},
		{"not bound", func(x *scene) { x.p.Recovery.Bind = false }, "restrict,pty "},
		{"without options", func(x *scene) { x.p.Recovery.Bind, x.p.Recovery.Options = false, nil }, ""},
		{"an authority", func(x *scene) { x.p.Recovery.CA = true }, `cert-authority,principals="migrate-recovery",restrict,pty,from="10.0.2.0/24" `},
		{"two subnets", func(x *scene) {
			r := x.region()
			r.Subnets.Value = append(r.Subnets.Value, fleet.Subnet{ID: "subnet-0", VPC: "vpc-1", AZ: region + "c", CIDR: prefix("10.0.0.0/28")})
			r.RouteTables.Value[1].Subnets = append(r.RouteTables.Value[1].Subnets, "subnet-0")
		}, `restrict,pty,from="10.0.0.0/28,10.0.2.0/24" `},
		{"an Instance Connect Endpoint", func(x *scene) {
			x.region().ConnectEndpoints = known([]fleet.ConnectEndpoint{
				{ID: "eice-1", VPC: "vpc-1", Subnet: "subnet-a", State: "create-complete"}, {ID: "eice-2", VPC: "vpc-2", Subnet: "subnet-a", State: "create-complete", PreserveClientIP: true},
			})
		}, `restrict,pty,from="10.0.1.0/24,10.0.2.0/24" `},
		{"an endpoint that is gone", func(x *scene) {
			x.region().ConnectEndpoints = known([]fleet.ConnectEndpoint{{ID: "eice-1", VPC: "vpc-1", Subnet: "subnet-a", State: "delete-complete"}})
		}, `restrict,pty,from="10.0.2.0/24" `},
		{"an endpoint that preserves addresses", func(x *scene) {
			x.region().ConnectEndpoints = known([]fleet.ConnectEndpoint{{ID: "eice-1", VPC: "vpc-1", Subnet: "subnet-b", State: "create-complete", PreserveClientIP: true}})
		}, `restrict,pty,from="10.0.2.0/24,198.51.100.0/24" `},
		{"an sshd that does not know restrict", func(x *scene) { x.probe(0).SSHD.Value.Version = "OpenSSH_6.6.1p1 Ubuntu" },
			`no-port-forwarding,no-agent-forwarding,no-X11-forwarding,no-user-rc,from="10.0.2.0/24" `},
		{"an sshd that just does", func(x *scene) { x.probe(0).SSHD.Value.Version = "OpenSSH_7.2p2" }, `restrict,pty,from="10.0.2.0/24" `},
	} {
		t.Run(test.name, func(t *testing.T) {
			x := newScene(1)
			test.change(x)
			p := x.make(t)
			if got := one(t, p, plan.RecoveryKey).Key.Line; got != test.want+publicKey {
				t.Errorf("got %s", got)
			}
			on := one(t, p, plan.RecoveryGroup).Recovery.PublicKey
			if !strings.Contains(on, `restrict,pty,port-forwarding,permitopen="*:22" `+publicKey) || strings.Contains(on, "cert-authority") != x.p.Recovery.CA {
				t.Errorf("on the bastion: %s", on)
			}
			if k := one(t, p, plan.QuarantineKeys).Keys.Keep; !slices.Equal(k, []string{blobOf(publicKey)}) {
				t.Errorf("lines that stay: %v", k)
			}
		})
	}
}

func TestSSHDsThatReadNoFileAreRefused(t *testing.T) {
	for _, test := range []struct {
		name     string
		settings map[string][]string
		want     string // in the reason; empty: it is not refused
	}{
		{"no keys", map[string][]string{"pubkeyauthentication": {"no"}}, "takes no public keys"},
		{"no files", map[string][]string{"authorizedkeysfile": {"none"}}, "reads no key file"},
		{"a command only", map[string][]string{"authorizedkeysfile": {"none"}, "authorizedkeyscommand": {"/usr/bin/keys", "%u"}}, "asks a command"},
		{"a command and files", map[string][]string{"authorizedkeysfile": {"/etc/keys/%u"}, "authorizedkeyscommand": {"/usr/bin/keys"}}, ""},
		{"nothing and files", map[string][]string{"authorizedkeysfile": {"none", ".ssh/keys"}}, ""},
	} {
		for _, inMatch := range []bool{false, true} {
			x := newScene(1)
			if d := &x.probe(0).SSHD.Value; inMatch {
				d.PerUser = map[string]map[string][]string{"ec2-user": test.settings}
			} else {
				d.Settings = test.settings
			}
			p := x.make(t)
			i := slices.IndexFunc(p.Refusals, func(r plan.Refusal) bool { return r.Code == "recovery-key-refused" })
			if (i >= 0) != (test.want != "") || i >= 0 && !strings.Contains(p.Refusals[i].Text, test.want) {
				t.Errorf("%s, in a Match block %v: %+v", test.name, inMatch, p.Refusals)
			}
		}
	}
}

func TestRotationKeepsAKeyThatWorks(t *testing.T) {
	x := newScene(3)
	x.s.Hosts[2].State = "stopped"
	ways := newScene(3).ways(t)
	next := newKey(1)
	p, err := plan.MakeRotation(x.s, ways, generations(next, publicKey), x.p, now)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range p.Waves {
		got = append(got, w.Name)
		if len(w.Hosts) > 0 {
			t.Errorf("%s has gates of Session Manager, which may be what is down", w.Name)
		}
		for _, phase := range plan.Phases() {
			got = append(got, kindsIn(w, phase)...)
		}
	}
	const bastion = "migrate-recovery-vpc-1"
	if diff := cmp.Diff([]string{
		"new key", "i-001 recovery-key", "i-002 recovery-key",
		"bastions", bastion + " recovery-template", bastion + " recovery-drill",
		"old key", "i-001 retire-key", "i-002 retire-key", bastion + " recovery-drill",
	}, got); diff != "" {
		t.Error(diff)
	}
	if p.Purpose != plan.Rotation || !slices.Equal(p.Retires(), []string{blobOf(publicKey)}) || p.Policy.Recovery.PublicKey != next {
		t.Errorf("purpose %s, retires %v, key %s", p.Purpose, p.Retires(), p.Policy.Recovery.PublicKey)
	}
	drills := p.Of(plan.RecoveryDrill)
	for i, want := range [][]string{nil, {blobOf(publicKey)}} {
		if c := drills[i].Recovery; c.With != blobOf(next) || !slices.Equal(c.Refused, want) || len(drills[i].Hosts) != 2 {
			t.Errorf("drill %d: %+v", i, drills[i])
		}
	}
	if r := refusal(t, p, "not-running"); r.Host.ID != "i-003" {
		t.Errorf("refused: %+v", r)
	}
	if n := plan.Ways([]*plan.Plan{p, newScene(3).make(t)}, all); len(n) != 1 || len(n[0].Hosts) != 3 || n[0].Hosts[2].Wave == 0 || n[0].Hosts[0].Wave == 0 {
		t.Errorf("ways after it: %+v", n)
	}
	again, err := plan.MakeRotation(x.s, ways, generations(next, publicKey), x.p, now)
	if err != nil || again.Digest != p.Digest {
		t.Errorf("the same arguments give another plan: %v", err)
	}
}

// Nobody knows whether a host is gone that the inventory did not look for.
func TestHostsOfWaysThatWereNotSeenAreRefused(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*scene)
		want   []string // codes of refusals
		unseen int
	}{
		{"not listed", func(x *scene) { x.s.Hosts = x.s.Hosts[:2] }, nil, 0},
		{"terminated", func(x *scene) { x.s.Hosts[2].State = "terminated" }, nil, 0},
		{"terminated, the list broke off", func(x *scene) { x.s.Hosts[2].State = "terminated"; x.region().Instances = lost[int]("throttled") }, nil, 0},
		{"stopped", func(x *scene) { x.s.Hosts[2].State = "stopped" }, []string{"not-running"}, 0},
		{"the list broke off", func(x *scene) { x.s.Hosts = x.s.Hosts[:2]; x.region().Instances = lost[int]("throttled") }, []string{"not-seen"}, 1},
		{"the Region was not asked about", func(x *scene) { x.s.Hosts = x.s.Hosts[:2]; x.region().Name = "eu-west-2" }, []string{"not-seen"}, 1},
		{"the account was not asked about", func(x *scene) { x.s.Hosts = x.s.Hosts[:2]; x.region().Account = "444455556666" }, []string{"not-seen"}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			ways := newScene(3).ways(t)
			x := newScene(3)
			test.change(x)
			p, err := plan.MakeRotation(x.s, ways, generations(newKey(1), publicKey), x.p, now)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range p.Refusals {
				if r.Host.ID != "i-003" {
					t.Errorf("refused: %+v", r)
				}
				got = append(got, r.Code)
			}
			if !slices.Equal(got, test.want) || len(p.Of(plan.RetireKey)) != 2 {
				t.Errorf("refused as %v, want %v; %d hosts lose the old key", got, test.want, len(p.Of(plan.RetireKey)))
			}
			if n := len(plan.Unseen(x.s, ways)); n != test.unseen {
				t.Errorf("%d hosts are unseen, want %d", n, test.unseen)
			}
		})
	}
}

// A drill says nothing of hosts that it was not asked about.
func TestDrillTellsOfUnseenHostsThatItWasAskedFor(t *testing.T) {
	ways := newScene(3).ways(t)
	x := newScene(3)
	x.s.Hosts, x.region().Instances = x.s.Hosts[:2], lost[int]("throttled")
	for _, test := range []struct {
		q    plan.DrillQuery
		want int
	}{{plan.DrillQuery{All: true}, 1}, {plan.DrillQuery{}, 1}, {plan.DrillQuery{Host: "i-001"}, 0}} {
		p, err := plan.MakeDrill(x.s, ways, test.q, x.p, now)
		if err != nil || len(p.Refusals) != test.want {
			t.Errorf("%+v: %d refusals, want %d, %v", test.q, len(p.Refusals), test.want, err)
		}
	}
}

func TestRotationRefuses(t *testing.T) {
	x := newScene(1)
	for name, c := range map[string]struct {
		ways []plan.Way
		keys []fleet.RecoveryKey
	}{
		"one key":       {x.ways(t), generations(publicKey)},
		"the same key":  {x.ways(t), generations(publicKey, publicKey)},
		"no ways":       {nil, generations(newKey(1), publicKey)},
		"not a key":     {x.ways(t), generations("hello", publicKey)},
		"not a key old": {x.ways(t), generations(newKey(1), "hello")},
	} {
		if p, err := plan.MakeRotation(x.s, c.ways, c.keys, x.p, now); err == nil {
			t.Errorf("%s: it gave %+v", name, p)
		}
	}
}

// Plans that somebody made by hand are held to the rules as well.
func TestCheckSeesRotationsThatWouldLockOut(t *testing.T) {
	for name, change := range map[string]func(*plan.Plan){
		"old keys go without a login": func(p *plan.Plan) {
			p.Waves[1].Steps = slices.DeleteFunc(p.Waves[1].Steps, func(s plan.Step) bool { return s.Kind == plan.RecoveryDrill })
		},
		"old keys go before new ones come": func(p *plan.Plan) { p.Waves[0].Steps = nil },
		"the login may be with an old key": func(p *plan.Plan) { p.Waves[1].Steps[1].Recovery.With = "" },
		"the new key goes, too":            func(p *plan.Plan) { k := p.Waves[2].Steps[0].Key; k.Old = append(k.Old, blobOf(k.Line)) },
		"nothing goes":                     func(p *plan.Plan) { p.Waves[2].Steps[0].Key.Old = nil },
		"an unknown purpose":               func(p *plan.Plan) { p.Purpose = "fun" },
		"a door closes": func(p *plan.Plan) {
			p.Waves[2].Steps = append(p.Waves[2].Steps, plan.Step{ID: "x", Kind: plan.ScaleIn, Phase: plan.Finish, Lane: "x", Scaling: &plan.ScalingChange{Group: "jump"}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := newScene(2)
			p, err := plan.MakeRotation(x.s, x.ways(t), generations(newKey(1), publicKey), x.p, now)
			if err != nil {
				t.Fatal(err)
			}
			change(p)
			if p.Check() == nil {
				t.Error("it is passed over")
			}
		})
	}
}

func TestDrillTakesOneOfEachImageAndWave(t *testing.T) {
	x := newScene(12)
	x.s.Hosts[7].ImageID = "ami-other"
	ways := x.ways(t) // waves of 1, 5, 3 and 3
	number := func(n int) *int { return &n }
	hosts := func(p *plan.Plan) int { return len(one(t, p, plan.RecoveryDrill).Hosts) }
	for _, test := range []struct {
		name string
		q    plan.DrillQuery
		want int
	}{
		{"a sample", plan.DrillQuery{}, 5}, {"more", plan.DrillQuery{Hosts: 7}, 7}, {"more than there are", plan.DrillQuery{Hosts: 99}, 12},
		{"all", plan.DrillQuery{All: true}, 12}, {"a wave", plan.DrillQuery{Wave: number(2)}, 5}, {"a host", plan.DrillQuery{Host: "i-003"}, 1},
		{"a VPC", plan.DrillQuery{VPC: "vpc-1", All: true}, 12},
	} {
		p, err := plan.MakeDrill(x.s, ways, test.q, x.p, now)
		if err != nil || hosts(p) != test.want || p.Purpose != plan.Drill {
			t.Errorf("%s: %d hosts, want %d, %v", test.name, hosts(p), test.want, err)
		}
	}
	p, err := plan.MakeDrill(x.s, ways, plan.DrillQuery{}, x.p, now)
	if err != nil || !slices.ContainsFunc(one(t, p, plan.RecoveryDrill).Hosts, func(h fleet.HostRef) bool { return h.ID == "i-008" }) {
		t.Errorf("the one host of its image is not among them, %v", err)
	}
	for _, q := range []plan.DrillQuery{{VPC: "vpc-2"}, {Host: "i-999"}, {Wave: number(9)}} {
		if _, err := plan.MakeDrill(x.s, ways, q, x.p, now); err == nil {
			t.Errorf("%+v: a drill of nothing", q)
		}
	}
}

func TestOpeningHasAReasonAndAnEnd(t *testing.T) {
	x := newScene(2)
	ways := x.ways(t)
	hours := func(n int) plan.Duration { return plan.Duration(time.Duration(n) * time.Hour) }
	p, err := plan.MakeOpening(x.s, ways, plan.Opening{Reason: "SSM is\ndown", For: hours(2), Bastions: 2}, x.p, now)
	if err != nil {
		t.Fatal(err)
	}
	s := one(t, p, plan.RecoveryOpen)
	if c := s.Recovery; c.Bastions != 2 || c.Until != hours(2) || c.Role != "migrate-rule-timer" || !strings.Contains(s.Title, "SSM is down") || p.Reason != "SSM is down" || s.Warning != "" {
		t.Errorf("%+v of a plan because of %q", s, p.Reason)
	}
	ways[0].Role = ""
	if p, err := plan.MakeOpening(x.s, ways, plan.Opening{Reason: "x", For: hours(1)}, x.p, now); err != nil || one(t, p, plan.RecoveryOpen).Warning == "" {
		t.Errorf("nothing is said of a missing role: %v", err)
	}
	for _, o := range []plan.Opening{{For: hours(1)}, {Reason: " ", For: hours(1)}, {Reason: "x"}, {Reason: "x", For: hours(25)}, {Reason: "x", For: hours(1), Bastions: 9}, {Reason: "x", For: hours(1), VPCs: []string{"vpc-9"}}} {
		if _, err := plan.MakeOpening(x.s, ways, o, x.p, now); err == nil {
			t.Errorf("%+v is opened", o)
		}
	}
}

func TestOptionsThatARecoveryKeyMayHave(t *testing.T) {
	for option, want := range map[string]bool{
		"restrict": true, "PTY": true, "no-port-forwarding": true, "from=\"10.0.0.0/8\"": false, "command=\"true\"": false, "cert-authority": false,
		"principals=\"x\"": false, "environment=\"A=b\"": false, "permitopen=\"a:1\"": false, "restrict,pty": false, "pty ssh-ed25519": false, "": false,
	} {
		p := plan.DefaultPolicy()
		p.Recovery.Options = []string{option}
		if err := p.Validate(); (err == nil) != want {
			t.Errorf("%q: %v", option, err)
		}
	}
}

// Ways count what stands only, and the newest plan first.
func TestWaysAreWhatStands(t *testing.T) {
	p := newScene(3).make(t)
	for _, missing := range []struct {
		kind  plan.Kind
		ways  int
		hosts int
	}{{plan.RecoveryGroup, 0, 0}, {plan.RecoveryKey, 1, 0}, {plan.TimerRole, 1, 3}} {
		got := plan.Ways([]*plan.Plan{p}, func(p *plan.Plan, id string) bool {
			_, s := p.Step(id)
			return s.Kind != missing.kind
		})
		n := 0
		for _, w := range got {
			n += len(w.Hosts)
		}
		if len(got) != missing.ways || n != missing.hosts {
			t.Errorf("without %s: %s", missing.kind, fmt.Sprint(got))
		}
	}
}
