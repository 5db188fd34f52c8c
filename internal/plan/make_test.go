package plan_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// The timers of two plans use one role, which knows the groups of both.
func TestTimersHaveThePolicyOfTheirPlan(t *testing.T) {
	names := map[string]bool{}
	for _, id := range []string{"sg-app", "sg-2", "sg-app"} {
		x := newScene(1)
		x.region().Groups.Value[0].ID, x.s.Hosts[0].Groups = id, []string{id}
		p := x.make(t)
		role := one(t, p, plan.TimerRole).Role
		if !strings.HasPrefix(role.Policy, role.Name+"-") || !strings.Contains(role.Document, "security-group/"+id+`"`) {
			t.Errorf("%+v", role)
		}
		names[role.Policy] = true
		for _, k := range []plan.Kind{plan.ArmRuleTimer, plan.DisarmRuleTimer} {
			if c := one(t, p, k).Timer; c.Role != role.Name || c.Policy != role.Policy {
				t.Errorf("%s: %+v", k, c)
			}
		}
	}
	if len(names) != 2 {
		t.Errorf("policies of two plans: %v", names)
	}
}

func TestPlanOfReadyHosts(t *testing.T) {
	x := newScene(3)
	p := x.make(t)
	var got []string
	for _, w := range p.Waves {
		got = append(got, w.Name)
		for _, phase := range plan.Phases() {
			for _, k := range kindsIn(w, phase) {
				got = append(got, string(phase)+": "+k)
			}
		}
	}
	host := func(id string) []string {
		return []string{
			"quarantine: " + id + " arm-host-timer", "quarantine: " + id + " quarantine-keys", "quarantine: " + id + " prove-session", "quarantine: " + id + " disarm-host-timer",
		}
	}
	const bastion = "migrate-recovery-vpc-1"
	want := slices.Concat(
		[]string{
			"foundation",
			"prepare: role-" + account + "-migrate-rule-timer timer-role",
			"prepare: " + bastion + " recovery-group", "prepare: " + bastion + " recovery-rule",
			"canary",
			"prepare: i-001 recovery-key",
			"prove: i-001 prove-session", "prove: " + bastion + " recovery-drill",
		}, host("i-001"),
		[]string{
			"wave 2",
			"prepare: i-002 recovery-key", "prepare: i-003 recovery-key",
			"prove: i-002 prove-session", "prove: i-003 prove-session", "prove: " + bastion + " recovery-drill",
		}, host("i-002"), host("i-003"),
		[]string{
			"close: sg-app prove-session", "close: sg-app arm-rule-timer", "close: sg-app close-port", "close: sg-app prove-session", "close: sg-app disarm-rule-timer",
		})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(p.Refusals) != 0 {
		t.Errorf("refusals: %+v", p.Refusals)
	}
	shut := one(t, p, plan.ClosePort)
	if len(shut.Hosts) != 3 || shut.Rules.Keep != bastion || len(shut.Rules.Rules) != 1 || shut.Rules.Rules[0].CIDR != prefix("10.0.0.0/8") {
		t.Errorf("close-port: %+v", shut.Rules)
	}
	if drill := p.Of(plan.RecoveryDrill); len(drill[1].Hosts) != 3 {
		t.Errorf("the closing wave drills %v, want all members of the group", drill[1].Hosts)
	}
	group := one(t, p, plan.RecoveryGroup).Recovery
	if diff := cmp.Diff(plan.RecoveryChange{
		VPC: "vpc-1", Name: bastion, Image: "ami-1", Type: "t3.micro", Subnets: []string{"subnet-b"}, Public: true,
		From: []string{"198.51.100.0/24"}, PublicKey: `restrict,pty,port-forwarding,permitopen="*:22" ` + publicKey, User: "ec2-user",
	}, *group); diff != "" {
		t.Error(diff)
	}
	if k := p.Of(plan.QuarantineKeys)[0].Keys.Keep; !slices.Equal(k, []string{strings.Fields(publicKey)[1]}) {
		t.Errorf("lines that stay: %v", k)
	}
}

// Who takes part, and what keeps doors open.
func TestRefusals(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*scene)
		want   []string // of the first host
	}{
		{"stopped", func(x *scene) { x.s.Hosts[0].State = "stopped" }, []string{"prepare not-running"}},
		{"Windows", func(x *scene) { x.s.Hosts[0].Platform = "Windows" }, []string{"prepare windows"}},
		{"excluded", func(x *scene) {
			x.p.Exclude = []plan.Exclusion{{Selector: plan.Selector{Name: "app-1"}, Reason: "frozen"}}
		}, []string{"prepare excluded"}},
		{"not probed", func(x *scene) { x.s.Hosts[0].Probe = lost[fleet.Probe]("refused") }, []string{"prepare not-scanned"}},
		{"a bastion by the inventory's way", func(x *scene) { x.probe(1).Via = []string{"10.0.1.1"} }, []string{"prepare bastion", "finish bastion-alone"}},
		{"a bastion by the policy", func(x *scene) { x.p.Bastions = []plan.Selector{{ID: "i-001"}} }, []string{"prepare bastion", "finish bastion-alone"}},
		{"no fix", func(x *scene) { x.block(0, "clock-skew", "") }, []string{"prepare not-ready"}},
		{"one of two causes has no fix", func(x *scene) { x.block(0, "agent-stopped", ""); x.block(0, "clock-skew", "") }, []string{"prepare not-ready"}},
		{"a fix that the policy leaves out", func(x *scene) {
			x.block(0, "agent-stopped", "")
			x.p.Fixes = map[string]string{"agent": "never"}
		}, []string{"prepare not-ready"}},
		{"unknown without a cause", func(x *scene) { x.a.Hosts[0].Verdict = fleet.VerdictUnknown }, []string{"prepare not-ready"}},
		{"no agent for the system", func(x *scene) { x.probe(0).OS.ID = "alpine"; x.block(0, "agent-missing", "") }, []string{"prepare not-ready"}},

		{"an active consumer", func(x *scene) { x.consumer(fleet.ConsumerActive, 0) }, []string{"quarantine consumer-active"}},
		{"an active consumer that the policy passes over", func(x *scene) { x.consumer(fleet.ConsumerActive, 0); x.p.RequireSilent = false }, []string{}},
		{"a silent consumer", func(x *scene) { x.consumer(fleet.ConsumerSilent, 0) }, []string{}},
		{"the inventory's own logins", func(x *scene) { x.consumer(fleet.ConsumerActive, 0).OwnerBy = "probe" }, []string{}},
		{"a waived consumer", func(x *scene) { x.consumer(fleet.ConsumerWaived, 0) }, []string{"close port-stays-open"}},
		{"logins unknown", func(x *scene) { x.a.Ledger.Unread = []string{"i-001"} }, []string{"quarantine logins-unknown"}},
		{"somebody loses access", func(x *scene) { x.people("l-", true) }, []string{"quarantine access-lost"}},
		{"somebody loses access, and the policy takes it", func(x *scene) { x.people("l-", true); x.p.RequireAccess = false }, []string{}},
		{"a key that nobody claims", func(x *scene) { x.people("l-", false) }, []string{}},
		{"access not known", func(x *scene) { x.people("u-", true) }, []string{"quarantine access-unknown"}},
		{"keys not read", func(x *scene) { x.probe(0).Keys = lost[[]fleet.Key]("Permission denied") }, []string{"quarantine partly-scanned"}},
		{"a gap", func(x *scene) { x.probe(0).Gaps = []fleet.Gap{{What: "user alice", Reason: "denied"}} }, []string{"quarantine partly-scanned"}},

		{"an agent that does not start at boot, and is not to be touched", func(x *scene) {
			x.probe(0).Agent.Value.Enabled = "disabled"
			x.p.Fixes = map[string]string{"agent": "never"}
		}, []string{"quarantine agent-not-enabled"}},
		{"an agent that cannot be enabled", func(x *scene) { x.probe(0).Agent.Value.Enabled = "masked"; x.s.Hosts[0].Architecture = "i386" }, []string{"quarantine agent-not-enabled"}},
		{"an agent that two packages brought", func(x *scene) {
			x.probe(0).Agent.Value.Enabled = "disabled"
			x.probe(0).Agent.Value.Installs = []fleet.AgentInstall{{Package: "snap"}, {Package: "deb"}}
		}, []string{"quarantine agent-not-enabled"}},
		{"an agent that something else may start", func(x *scene) { x.probe(0).Agent.Value.Enabled = "static" }, []string{"quarantine agent-boot-unknown"}},
		{"no systemd to tell", func(x *scene) { x.probe(0).Agent.Value.Enabled = "" }, []string{"quarantine agent-boot-unknown"}},
		{"an agent that the host does not show", func(x *scene) { x.probe(0).Agent.Value = fleet.HostAgent{} }, []string{"quarantine agent-boot-unknown"}},
		{"an agent that was not looked at", func(x *scene) { x.probe(0).Agent = lost[fleet.HostAgent]("cut off") }, []string{"quarantine agent-boot-unknown"}},
		{"an agent that starts at boot after its upgrade", func(x *scene) { x.probe(0).Agent.Value.Enabled = "static"; x.block(0, "agent-too-old", "") }, []string{}},
		{"an agent that is only restarted", func(x *scene) { x.probe(0).Agent.Value.Enabled = "static"; x.block(0, "agent-sleeping", "") }, []string{"quarantine agent-boot-unknown"}},

		{"no recovery key", func(x *scene) { x.p.Recovery.PublicKey = "" }, []string{"quarantine no-recovery-key"}},
		{"no operators", func(x *scene) { x.p.Recovery.From = nil }, []string{"quarantine no-operator-range"}},
		{"sshd takes no keys", func(x *scene) {
			x.probe(0).SSHD.Value.Settings = map[string][]string{"pubkeyauthentication": {"no"}}
		}, []string{"quarantine recovery-key-refused"}},
		{"no way from the operators", func(x *scene) { x.region().RouteTables.Value[1].Routes[1].State = "blackhole" }, []string{"quarantine no-bastion-subnet"}},
		{"no image for the instance type", func(x *scene) { x.p.Recovery.Type = "t4g.micro" }, []string{"quarantine no-bastion-image"}},
		{"groups not read", func(x *scene) { x.region().Groups = lost[[]fleet.SecurityGroup]("denied") }, []string{"quarantine groups-unknown"}},
		{"its only group is on an excluded host", func(x *scene) {
			x.p.Exclude = []plan.Exclusion{{Selector: plan.Selector{ID: "i-002"}, Reason: "frozen"}}
		}, []string{"quarantine no-recovery-group"}},

		{"a member stays", func(x *scene) { x.s.Hosts[1].State = "stopped" }, []string{"close port-stays-open"}},
		{"a member is gone", func(x *scene) { x.s.Hosts[1].State = "terminated" }, []string{}},
		{"members not known", func(x *scene) { x.region().Instances = lost[int]("throttled") }, []string{"close port-stays-open"}},
		{"a rule for all protocols", func(x *scene) { x.ingress("-1", -1, -1) }, []string{"close port-stays-open"}},
		{"a rule for all protocols that may be split", func(x *scene) { x.ingress("-1", -1, -1); x.p.SplitWide = true }, []string{}},
		{"no rule for port 22", func(x *scene) { x.ingress("tcp", 443, 443) }, []string{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			x := newScene(2)
			test.change(x)
			p := x.make(t)
			if diff := cmp.Diff(test.want, x.codesOf(p, 0)); diff != "" {
				t.Errorf("%s\n%+v", diff, p.Refusals)
			}
			for _, r := range p.Refusals {
				if !slices.Contains(plan.Codes(), r.Code) {
					t.Errorf("code %s is not among Codes", r.Code)
				}
				if r.Text == "" || r.Do == "" && r.Code != "excluded" {
					t.Errorf("%s says neither why nor what to do: %+v", r.Code, r)
				}
			}
		})
	}
}

func (x *scene) people(cells string, claimed bool) {
	x.a.Parity.People = []fleet.PersonParity{{Person: "Alice", Claimed: claimed, Cells: cells}}
}

// ingress replaces the rules of sg-app by one.
func (x *scene) ingress(protocol string, from, to int) {
	x.region().Groups.Value[0].Ingress = []fleet.Permission{{Protocol: protocol, From: from, To: to, CIDRs: []netip.Prefix{prefix("10.0.0.0/8")}}}
}

// What each finding asks for.
func TestFixes(t *testing.T) {
	const role = "arn:aws:iam::" + account + ":role/web"
	sleeping := func(x *scene) { x.s.Hosts[0].Connection = known("notconnected") }
	for _, test := range []struct {
		code, object string
		change       func(*scene)
		shared, own  []string
	}{
		{"profile-missing", "", func(x *scene) { sleeping(x); x.s.Hosts[0].ProfileARN = "" }, nil, []string{"attach-profile", "agent"}},
		{"profile-missing", "", func(x *scene) {
			sleeping(x)
			x.s.Hosts[0].ProfileARN = ""
			x.p.Fixes = map[string]string{"attach-profile": "never", "default-host-management": "apply"}
		}, []string{"default-host-management"}, []string{"agent"}},
		{"profile-missing", "", func(x *scene) {
			sleeping(x)
			x.s.Hosts[0].ProfileARN = ""
			x.p.Fixes = map[string]string{"agent": "hand"}
		}, nil, []string{"attach-profile", "wait-for"}},
		{"role-lacks-session-actions", role, sleeping, []string{"extend-role"}, []string{"agent"}},
		{"agent-missing", "", func(x *scene) { x.probe(0).Agent.Value = fleet.HostAgent{} }, nil, []string{"agent"}},
		{"agent-below-functional-floor", "", nil, nil, []string{"agent"}},
		{"agent-stopped", "", nil, nil, []string{"agent"}},
		{"agent-sleeping", "", nil, nil, []string{"agent"}},
		{"group-egress-closed", "sg-app", sleeping, []string{"allow-egress"}, []string{"agent"}},
		{"endpoint-missing", "vpc-1", sleeping, []string{"create-endpoint"}, []string{"agent"}},
		{"runas-user-root", "root", func(x *scene) {
			x.p.Fixes = map[string]string{"session-preferences": "apply"}
			x.region().Preferences = known(fleet.Preferences{Exists: true, Content: `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"runAsEnabled":true,"runAsDefaultUser":"root"}}`})
		}, []string{"session-preferences"}, nil},
		{"clock-skew", "", func(x *scene) { x.p.Fixes = map[string]string{"wait-for": "hand"} }, nil, []string{"wait-for"}},
	} {
		t.Run(test.code, func(t *testing.T) {
			x := newScene(2)
			x.block(0, test.code, test.object)
			if test.change != nil {
				test.change(x)
			}
			p := x.make(t)
			var shared, own []string
			for _, s := range p.Waves[0].Steps {
				if strings.Contains(s.Why, test.code) {
					shared = append(shared, string(s.Kind))
				}
			}
			w := p.WaveOf(x.s.Hosts[0].Ref())
			if w == nil {
				t.Fatalf("the host is in no wave: %+v", p.Refusals)
			}
			for _, s := range w.Steps {
				if s.Phase == plan.Prepare && s.Lane == "i-001" && s.Kind != plan.RecoveryKey {
					own = append(own, string(s.Kind))
				}
			}
			if !slices.Equal(shared, test.shared) || !slices.Equal(own, test.own) {
				t.Errorf("shared %v, own %v; want %v, %v", shared, own, test.shared, test.own)
			}
			for _, s := range slices.Concat(p.Waves[0].Steps, w.Steps) {
				if s.Title == "" || len(s.Before)+len(s.After) == 0 && s.Kind != plan.ProveSession && s.Kind != plan.DisarmHostTimer && s.Kind != plan.DisarmRuleTimer {
					t.Errorf("step %s has no title or no preview: %+v", s.ID, s)
				}
			}
		})
	}
}

// An agent that runs and would not come back after a reboot is enabled before
// anything closes, by the plan or by others.
func TestAgentsThatDoNotStartAtBootAreEnabled(t *testing.T) {
	for _, test := range []struct {
		name    string
		change  func(*scene)
		want    []plan.AgentAction
		handed  bool
		pkg     string
		enabled string
	}{
		{"disabled", func(x *scene) { x.probe(0).Agent.Value.Enabled = "disabled" }, []plan.AgentAction{plan.EnableAgent}, false, "rpm", "disabled"},
		{"masked", func(x *scene) { x.probe(0).Agent.Value.Enabled = "masked" }, []plan.AgentAction{plan.EnableAgent}, false, "rpm", "masked"},
		{"until the next boot", func(x *scene) { x.probe(0).Agent.Value.Enabled = "enabled-runtime" }, []plan.AgentAction{plan.EnableAgent}, false, "rpm", "enabled-runtime"},
		{"a snap", func(x *scene) {
			x.probe(0).OS.ID = "ubuntu"
			x.probe(0).Agent.Value.Package, x.probe(0).Agent.Value.Enabled = "snap", "disabled"
		}, []plan.AgentAction{plan.EnableAgent}, false, "snap", "disabled"},
		{"left to others", func(x *scene) {
			x.probe(0).Agent.Value.Enabled = "disabled"
			x.p.Fixes = map[string]string{"agent": "hand"}
		}, []plan.AgentAction{plan.EnableAgent}, true, "rpm", "disabled"},
		{"asleep too", func(x *scene) { x.probe(0).Agent.Value.Enabled = "disabled"; x.block(0, "agent-sleeping", "") },
			[]plan.AgentAction{plan.EnableAgent, plan.RestartAgent}, false, "rpm", "disabled"},
		{"too old too", func(x *scene) { x.probe(0).Agent.Value.Enabled = "disabled"; x.block(0, "agent-too-old", "") }, []plan.AgentAction{plan.UpgradeAgent}, false, "rpm", ""},
		{"stopped too", func(x *scene) { x.probe(0).Agent.Value.Enabled = "disabled"; x.block(0, "agent-disabled", "") }, []plan.AgentAction{plan.EnableAgent}, false, "rpm", "disabled"},
		{"enabled", func(*scene) {}, nil, false, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			x := newScene(1)
			test.change(x)
			p := x.make(t)
			var got []plan.AgentAction
			for _, s := range p.Of(plan.Agent) {
				got = append(got, s.Agent.Action)
				if s.Phase != plan.Prepare || s.Handed != test.handed || s.Agent.Package != test.pkg || s.Why == "" {
					t.Errorf("%+v, agent %+v", s, s.Agent)
				}
				if s.Agent.Action == plan.EnableAgent && !strings.Contains(strings.Join(s.Before, ""), test.enabled) {
					t.Errorf("the preview does not tell %s: %v", test.enabled, s.Before)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("actions %v, want %v", got, test.want)
			}
			if len(p.Of(plan.QuarantineKeys)) != 1 || len(p.Of(plan.ClosePort)) != 1 {
				t.Errorf("it does not close: %+v", p.Refusals)
			}
		})
	}
}

func TestRoleGetsTheLeastThatItNeeds(t *testing.T) {
	const role = "arn:aws:iam::" + account + ":role/web"
	x := newScene(3)
	x.s.Accounts[0].Roles.Value[0].Inline = map[string]string{"beat": `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ssm:UpdateInstanceInformation","Resource":"*"}}`}
	x.block(0, "role-lacks-session-actions", role)
	x.block(1, "role-lacks-session-actions", role)
	s := one(t, x.make(t), plan.ExtendRole)
	want := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ssmmessages:CreateControlChannel","ssmmessages:CreateDataChannel","ssmmessages:OpenControlChannel","ssmmessages:OpenDataChannel"],"Resource":["*"]}]}`
	if s.Role.Document != want || s.Role.Name != "web" || len(s.Hosts) != 2 || s.Blast != "role shared by 3 hosts" {
		t.Errorf("%+v, blast %q", s.Role, s.Blast)
	}

	// An added Allow does nothing against a Deny.
	x.s.Accounts[0].Roles.Value[0].Inline["stop"] = `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"ssmmessages:*","Resource":"*"}}`
	p := x.make(t)
	if len(p.Of(plan.ExtendRole)) != 0 || !strings.Contains(refusal(t, p, "not-ready").Text, "stop denies it") {
		t.Errorf("a Deny is to be refused: %+v", p.Refusals)
	}
}

// The default role may not do what the Region's preferences let no session begin
// without. What only the log needs stops nothing.
func TestDefaultHostManagementServesThePreferences(t *testing.T) {
	for inputs, serves := range map[string]bool{
		`{}`: true, `{"kmsKeyId":"alias/k"}`: false, `{"cloudWatchLogGroupName":"g","cloudWatchEncryptionEnabled":false}`: true,
		`{"cloudWatchLogGroupName":"g","cloudWatchEncryptionEnabled":true}`: false, `{"s3BucketName":"b","s3EncryptionEnabled":true}`: false,
	} {
		x := newScene(2)
		x.s.Hosts[0].ProfileARN, x.s.Hosts[0].Connection = "", known("notconnected")
		x.block(0, "profile-missing", "")
		x.p.Fixes = map[string]string{"attach-profile": "never", "default-host-management": "apply"}
		x.region().Preferences = known(fleet.Preferences{Exists: true, Content: `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":` + inputs + `}`})
		if got := len(x.make(t).Of(plan.DefaultHostManagement)) > 0; got != serves {
			t.Errorf("%s: turned on %v, want %v", inputs, got, serves)
		}
	}
}

func TestPreferencesChangeOnlyWhatIsAtFault(t *testing.T) {
	x := newScene(1)
	x.p.Fixes = map[string]string{"session-preferences": "hand"}
	x.region().Preferences = known(fleet.Preferences{Exists: true, Content: `{"inputs":{"kmsKeyId":"k","runAsEnabled":true,"idleSessionTimeout":"5"},"schemaVersion":"1.0","sessionType":"Standard_Stream"}`})
	x.block(0, "kms-key-unusable", "k")
	s := one(t, x.make(t), plan.SessionPreferences)
	if want := `{"inputs":{"idleSessionTimeout":"5","kmsKeyId":"","runAsEnabled":true},"schemaVersion":"1.0","sessionType":"Standard_Stream"}`; s.Preferences.Document != want || !s.Handed {
		t.Errorf("%s, handed %v", s.Preferences.Document, s.Handed)
	}
}

// TestRecoveryKeyStaysWithItsAccount: a host that is closed is read by Run
// Command, as nobody's login; a later plan must not move its recovery key.
func TestRecoveryKeyStaysWithItsAccount(t *testing.T) {
	blob := strings.Fields(publicKey)[1]
	has := func(users ...string) func(*fleet.Probe) {
		return func(p *fleet.Probe) {
			for _, u := range users {
				p.Keys.Value = append(p.Keys.Value, fleet.Key{User: u, Type: "ssh-ed25519", Blob: blob, Comment: "migrate-recovery"})
			}
		}
	}
	for _, tc := range []struct {
		name, login string
		change      func(*fleet.Probe)
		want        string
	}{
		{"the account of the login", "ops", has(), "ops"},
		{"the image's account", "", has(), "ec2-user"},
		{"the account that has it", "", has("ops"), "ops"},
		{"the account that has it, whoever logs in", "admin", has("ops"), "ops"},
		{"of two the login's", "ops", has("backup", "ops"), "ops"},
		{"of two the first", "", has("ops", "backup"), "backup"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x := newScene(1)
			x.probe(0).LoginUser = tc.login
			x.probe(0).Users.Value = []fleet.User{{Name: "ops"}, {Name: "backup"}, {Name: "admin"}, {Name: "ec2-user"}}
			tc.change(x.probe(0))
			p := x.make(t)
			if got := one(t, p, plan.RecoveryKey).Key.User; got != tc.want {
				t.Errorf("the key is for %q, want %q", got, tc.want)
			}
			if before := strings.Join(one(t, p, plan.QuarantineKeys).Before, "\n"); strings.Contains(before, "migrate-recovery") {
				t.Errorf("the preview moves the recovery key aside: %s", before)
			}
		})
	}
}

func TestWaivedKeysStay(t *testing.T) {
	x := newScene(1)
	x.consumer(fleet.ConsumerWaived, 0)
	p := x.make(t)
	if k := one(t, p, plan.QuarantineKeys).Keys.Keep; !slices.Contains(k, "AAAAone") || len(k) != 2 {
		t.Errorf("lines that stay: %v", k)
	}
	if r := refusal(t, p, "member-stays"); r.Group != "sg-app" || !strings.Contains(r.Text, "Alice") {
		t.Errorf("%+v", r)
	}
}

func TestWideRulesGetStandIns(t *testing.T) {
	x := newScene(1)
	x.p.SplitWide = true
	x.region().Groups.Value[0].Ingress = []fleet.Permission{
		{Protocol: "tcp", From: 20, To: 30, CIDRs: []netip.Prefix{prefix("10.0.0.0/8")}, Description: "ops"},
		{Protocol: "tcp", From: -1, To: -1, Groups: []string{"sg-app"}},
		{Protocol: "-1", From: -1, To: -1, CIDRs: []netip.Prefix{prefix("10.9.0.0/16"), prefix("fd00::/8")}},
		{Protocol: "udp", From: 22, To: 22, CIDRs: []netip.Prefix{prefix("10.0.0.0/8")}},
	}
	s := one(t, x.make(t), plan.ClosePort)
	want := []string{
		"tcp 20-21 from 10.0.0.0/8 (ops)", "tcp 23-30 from 10.0.0.0/8 (ops)",
		"tcp 0-21 from sg-app (app)", "tcp 23-65535 from sg-app (app)",
		"tcp 0-21 from 10.9.0.0/16", "tcp 23-65535 from 10.9.0.0/16", "all udp from 10.9.0.0/16", "all icmp from 10.9.0.0/16",
		"tcp 0-21 from fd00::/8", "tcp 23-65535 from fd00::/8", "all udp from fd00::/8", "all icmpv6 from fd00::/8",
		"tcp 22 from migrate-recovery-vpc-1 stays",
	}
	if diff := cmp.Diff(want, s.After); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(s.Warning, "other than TCP, UDP and ICMP") || len(s.Rules.Rules) != 4 {
		t.Errorf("warning %q, rules %v", s.Warning, s.Rules.Rules)
	}
}

// A group closes in the wave of its last member, on whatever interface.
func TestSharedGroupsCloseWithTheirLastMember(t *testing.T) {
	x := newScene(4)
	x.group(fleet.SecurityGroup{ID: "sg-extra", Ingress: []fleet.Permission{ssh("10.0.0.0/8")}})
	x.s.Hosts[0].Groups = append(x.s.Hosts[0].Groups, "sg-extra")
	x.s.Hosts[2].Interfaces = []fleet.NetworkInterface{{ID: "eni-2", Index: 1, Groups: []string{"sg-extra"}}}
	x.p.Waves = []string{"1"}
	p := x.make(t)
	waves := map[string]string{}
	for _, w := range p.Waves {
		for _, s := range w.Steps {
			if s.Kind == plan.ClosePort {
				waves[s.Rules.Group] = w.Name
			}
		}
	}
	if waves["sg-extra"] != "wave 3" || waves["sg-app"] != "wave 4" {
		t.Errorf("groups close in %v", waves)
	}
}

func TestBastionsScaleInLastAndOnlyIfNobodyNeedsThem(t *testing.T) {
	bastion := func(x *scene) {
		b := readyHost(9)
		b.AutoScalingGroup, b.Groups = "jump", []string{"sg-jump"}
		x.add(b)
		x.group(fleet.SecurityGroup{ID: "sg-jump", Ingress: []fleet.Permission{ssh("198.51.100.0/24")}})
		x.region().ScalingGroups.Value = []fleet.ScalingGroup{{Name: "jump", Min: 1, Desired: 1, Max: 3}}
		x.probe(0).Via = []string{"10.0.1.9"}
	}
	x := newScene(2)
	bastion(x)
	p := x.make(t)
	s := one(t, p, plan.ScaleIn)
	if diff := cmp.Diff(plan.ScalingChange{Group: "jump", Max: 3}, *s.Scaling); diff != "" {
		t.Error(diff)
	}
	if last := p.Waves[len(p.Waves)-1]; last.Name != "finish" || len(last.Steps) != 1 || len(last.Hosts) != 0 {
		t.Errorf("last wave %+v", last)
	}
	for name, change := range map[string]func(*scene){
		"a host that is left out": func(x *scene) {
			x.p.Exclude = []plan.Exclusion{{Selector: plan.Selector{ID: "i-001"}, Reason: "frozen"}}
			x.s.Hosts[0].Groups = []string{"sg-other"}
			x.group(fleet.SecurityGroup{ID: "sg-other"})
		},
		"a host that is left out, behind the bastion before this one": func(x *scene) {
			x.p.Exclude = []plan.Exclusion{{Selector: plan.Selector{ID: "i-002"}, Reason: "frozen"}}
			x.s.Hosts[1].Groups = []string{"sg-other"}
			x.group(fleet.SecurityGroup{ID: "sg-other"})
			before := readyHost(8)
			before.AutoScalingGroup, before.State, before.Probe = "jump", "terminated", lost[fleet.Probe]("terminated")
			x.add(before)
			x.probe(1).Via = []string{"10.0.1.8"}
		},
		"logins from the bastion": func(x *scene) {
			x.s.Hosts[1].State, x.s.Hosts[1].Groups = "stopped", nil
			x.probe(1).Logins.Value.Logins = []fleet.Login{{User: "ec2-user", From: netip.MustParseAddr("10.0.1.9")}}
		},
		"a group that lets the bastion in": func(x *scene) {
			x.s.Hosts[1].Platform, x.s.Hosts[1].Groups = "Windows", []string{"sg-other"}
			x.group(fleet.SecurityGroup{ID: "sg-other", Ingress: []fleet.Permission{{Protocol: "tcp", From: 3389, To: 3389, Groups: []string{"sg-jump"}}}})
		},
		"a host that nobody saw": func(x *scene) {
			x.s.Hosts[1].Probe, x.s.Hosts[1].Groups = lost[fleet.Probe]("timeout"), nil
		},
		"a waived host":           func(x *scene) { x.consumer(fleet.ConsumerWaived, 0) },
		"people on the bastion":   func(x *scene) { x.consumer(fleet.ConsumerActive, 2) },
		"an unread scaling group": func(x *scene) { x.region().ScalingGroups = lost[[]fleet.ScalingGroup]("denied") },
		"other instances in its group": func(x *scene) {
			x.s.Hosts[1].AutoScalingGroup = "jump"
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := newScene(2)
			bastion(x)
			change(x)
			p := x.make(t)
			if n := len(p.Of(plan.ScaleIn)); n != 0 {
				t.Errorf("%d scale-in steps", n)
			}
			if !slices.ContainsFunc(p.Refusals, func(r plan.Refusal) bool {
				return r.Phase == plan.Finish && r.Group == "jump" && strings.HasPrefix(r.Code, "bastion-")
			}) {
				t.Errorf("nobody says why: %+v", p.Refusals)
			}
		})
	}
}

// A host that stays as it is keeps the bastions whose addresses its groups let in.
func TestBastionsStayWhereTheirAddressIsLetIn(t *testing.T) {
	from := func(block string, port int) func(*scene) {
		return func(x *scene) {
			x.region().Groups.Value[1].Ingress = []fleet.Permission{{Protocol: "tcp", From: port, To: port, CIDRs: []netip.Prefix{prefix(block)}}}
		}
	}
	list := func(blocks ...netip.Prefix) func(*scene) {
		return func(x *scene) {
			x.region().Groups.Value[1].Ingress = []fleet.Permission{{Protocol: "tcp", From: 22, To: 22, PrefixLists: []string{"pl-1"}}}
			if blocks != nil {
				x.region().PrefixLists = known([]fleet.PrefixList{{ID: "pl-1", CIDRs: blocks}})
			}
		}
	}
	all := func(changes ...func(*scene)) func(*scene) {
		return func(x *scene) {
			for _, change := range changes {
				change(x)
			}
		}
	}
	public := func(x *scene) { x.s.Hosts[1].PublicIP = netip.MustParseAddr("198.18.0.2") }
	inVPC2 := func(target string) func(*scene) {
		return func(x *scene) {
			x.s.Hosts[1].VPC, x.s.Hosts[1].Subnet = "vpc-2", "subnet-2"
			x.region().Subnets.Value = append(x.region().Subnets.Value, fleet.Subnet{ID: "subnet-2", VPC: "vpc-2", CIDR: prefix("10.2.0.0/24")})
			routes := []fleet.Route{{CIDR: prefix("10.2.0.0/16"), Target: "local", State: "active"}}
			if target != "" {
				routes = append(routes, fleet.Route{CIDR: prefix("0.0.0.0/0"), Target: target, State: "active"})
			}
			x.region().RouteTables.Value = append(x.region().RouteTables.Value, fleet.RouteTable{ID: "rtb-2", VPC: "vpc-2", Main: true, Routes: routes})
		}
	}
	tests := []struct {
		name  string
		setup func(*scene)
		stays bool
	}{
		{"no rule", func(*scene) {}, false},
		{"the whole VPC", from("10.0.0.0/16", 22), true},
		{"another block", from("10.0.2.0/24", 22), false},
		{"the whole VPC, to another port", from("10.0.0.0/16", 8080), false},
		{"the whole VPC, to the port of its sshd", all(from("10.0.0.0/16", 2222), func(x *scene) {
			x.probe(1).SSHD.Value.Settings = map[string][]string{"port": {"2222"}}
		}), true},
		{"the whole VPC, to Remote Desktop", all(from("10.0.0.0/16", 3389), func(x *scene) { x.s.Hosts[1].Platform = "Windows" }), true},
		{"Remote Desktop of a Linux host", from("10.0.0.0/16", 3389), false},
		{"everywhere, to a private host", from("0.0.0.0/0", 22), true},
		{"everywhere, to a public host", all(from("0.0.0.0/0", 22), public), false},
		{"the VPC, to a public host", all(from("10.0.0.0/16", 22), public), true},
		{"the bastion's public address", all(from("198.18.0.9/32", 22), public), true},
		{"a prefix list with it", list(prefix("10.9.0.0/16"), prefix("10.0.1.9/32")), true},
		{"a prefix list without it", list(prefix("10.9.0.0/16")), false},
		{"a prefix list that was not read", list(), true},
		{"a group that was not read", func(x *scene) { x.s.Hosts[1].Groups = []string{"sg-unread"} }, true},
		{"another VPC, no route", all(from("10.0.0.0/8", 22), inVPC2("")), false},
		{"another VPC, peered", all(from("10.0.0.0/8", 22), inVPC2("pcx-1")), true},
		{"another VPC, behind a NAT gateway", all(from("10.0.0.0/8", 22), inVPC2("nat-1")), false},
		{"another VPC, in the internet", all(from("198.18.0.9/32", 22), public, inVPC2("igw-1")), true},
		{"another VPC, routes not read", all(from("10.0.0.0/8", 22), inVPC2(""), func(x *scene) { x.s.Hosts[1].Subnet = "subnet-unread" }), true},
		{"another VPC, group not read", all(inVPC2(""), func(x *scene) { x.s.Hosts[1].Groups = []string{"sg-unread"} }), false},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			x := newScene(2)
			x.group(fleet.SecurityGroup{ID: "sg-other"})
			x.s.Hosts[1].Groups = []string{"sg-other"}
			x.p.Exclude = []plan.Exclusion{{Selector: plan.Selector{ID: "i-002"}, Reason: "frozen"}}
			b := readyHost(9)
			b.AutoScalingGroup, b.Groups, b.PublicIP = "jump", []string{"sg-jump"}, netip.MustParseAddr("198.18.0.9")
			x.add(b)
			x.group(fleet.SecurityGroup{ID: "sg-jump"})
			x.region().ScalingGroups.Value = []fleet.ScalingGroup{{Name: "jump", Min: 1, Desired: 1, Max: 3}}
			x.p.Bastions = []plan.Selector{{ID: "i-009"}}
			c.setup(x)
			p := x.make(t)
			if stays := len(p.Of(plan.ScaleIn)) == 0; stays != c.stays {
				t.Errorf("stays: %t", stays)
			}
			if c.stays {
				if r := refusal(t, p, "bastion-needed"); !strings.Contains(r.Text, "i-002 (excluded)") {
					t.Errorf("needed otherwise: %s", r.Text)
				}
			}
		})
	}
}

// keyOf is the recovery key that a host gets.
func keyOf(t *testing.T, p *plan.Plan, h fleet.HostRef) *plan.KeyChange {
	t.Helper()
	for _, s := range p.Of(plan.RecoveryKey) {
		if slices.Contains(s.Hosts, h) {
			return s.Key
		}
	}
	t.Fatalf("%s gets no recovery key", h)
	return nil
}

// A template of which several groups pin versions, with an agent to install and
// user data of its own.
func TestTemplatesGetTheAgentsPart(t *testing.T) {
	x := newScene(1)
	x.network("igw-1")
	x.s.Hosts[0].AutoScalingGroup = "web"
	x.region().ScalingGroups.Value = []fleet.ScalingGroup{{Name: "web", Template: fleet.LaunchTemplateRef{ID: "lt-1", Version: "1"}}}
	x.region().Templates.Value = []fleet.LaunchTemplate{{ID: "lt-1", Name: "web", Default: 2, Latest: 2, Versions: []fleet.TemplateVersion{{Number: 1, Profile: "web", UserData: true, ImageID: "ami-1"}, {Number: 2, Profile: "web"}}}}
	x.probe(0).Agent.Value.Version = "3.2.0.0"
	x.block(0, "agent-too-old", "")
	p := x.make(t)
	c := p.TemplateOf("web")
	if c == nil || c.Agent == nil || c.Agent.Action != plan.InstallAgent || c.Agent.Floor != one(t, p, plan.Agent).Agent.Floor || c.Agent.Before != "" || !c.Pinned || !c.UserData || c.Profile != "" {
		t.Fatalf("%+v", c)
	}
	do := refusal(t, p, "template-undoes").Do
	for _, want := range []string{"Auto Scaling group web names version 1: let it name the new one", "beside what is there"} {
		if !strings.Contains(do, want) {
			t.Errorf("%q does not say %q", do, want)
		}
	}
	if p.TemplateOf("lt-2") != nil {
		t.Error("a template that the plan does not know")
	}
}

func TestTemplatesThatUndoAreNamed(t *testing.T) {
	x := newScene(2)
	h := &x.s.Hosts[0]
	h.AutoScalingGroup, h.ProfileARN = "web", ""
	x.region().ScalingGroups.Value = []fleet.ScalingGroup{{Name: "web", Template: fleet.LaunchTemplateRef{ID: "lt-1", Version: "$Latest"}}}
	x.region().Templates.Value = []fleet.LaunchTemplate{{ID: "lt-1", Name: "web", Default: 1, Latest: 2, Versions: []fleet.TemplateVersion{{Number: 1, Profile: "web"}, {Number: 2, KeyName: "ops"}}}}
	x.block(0, "profile-missing", "")
	p := x.make(t)
	r := refusal(t, p, "template-undoes")
	for text, wants := range map[string][]string{
		r.Text: {"lt-1", "version 2", "names no instance profile", "key pair ops", "web"},
		r.Do: {
			"made from version 2", "IamInstanceProfile.Name: migrate-", "no KeyName (now ops)", "migrate plan user-data --template lt-1", "group web takes it once",
			"bake the agent in, enabled at boot, and no authorized_keys",
		},
	} {
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%q does not say %q", text, want)
			}
		}
	}
	profile := one(t, p, plan.AttachProfile).Profile.Name
	want := &plan.TemplateChange{At: h.Ref().Place(), Template: "lt-1", Name: "web", From: 2, Group: "web", Profile: profile, DropKey: "ops", Key: keyOf(t, p, h.Ref())}
	if diff := cmp.Diff(want, p.TemplateOf("")); diff != "" {
		t.Errorf("the change (-want +got): %s", diff)
	}
	for _, k := range []plan.Kind{plan.AttachProfile, plan.QuarantineKeys} {
		if s := p.Of(k)[0]; !strings.Contains(s.Warning, "lt-1") {
			t.Errorf("%s warns %q", k, s.Warning)
		}
	}
}

// Few groups, none of them on hosts that the policy excludes.
func TestRecoveryRulesCoverAllHosts(t *testing.T) {
	x := newScene(4)
	for _, id := range []string{"sg-all", "sg-1", "sg-2"} {
		x.group(fleet.SecurityGroup{ID: id})
	}
	for i := range x.s.Hosts {
		x.s.Hosts[i].Groups = []string{[]string{"sg-1", "sg-2"}[i%2], "sg-all"}
	}
	rules := func() (out []string) {
		for _, s := range x.make(t).Of(plan.RecoveryRule) {
			out = append(out, s.Rules.Group)
		}
		return out
	}
	if got := rules(); !slices.Equal(got, []string{"sg-all"}) {
		t.Errorf("rules on %v", got)
	}
	other := readyHost(8)
	other.Groups = []string{"sg-all"}
	x.add(other)
	x.p.Exclude = []plan.Exclusion{{Selector: plan.Selector{ID: "i-008"}, Reason: "frozen"}}
	if got := rules(); !slices.Equal(got, []string{"sg-1", "sg-2"}) {
		t.Errorf("with an excluded host rules on %v", got)
	}
}

func TestOrderAndSpread(t *testing.T) {
	x := newScene(10)
	for i := range x.s.Hosts {
		x.s.Hosts[i].Tags["env"] = []string{"prod", "dev"}[i%2]
	}
	x.p.Order = []plan.Selector{{Tags: map[string]string{"env": "dev"}}}
	x.p.GroupBy, x.p.Spread, x.p.Waves = "az", 40, []string{"100%"}
	var got []string
	for _, w := range x.make(t).Waves[1:] {
		line := w.Name
		for _, h := range w.Hosts {
			line += " " + h.ID
		}
		got = append(got, line)
	}
	// Hosts of dev are i-002, i-004, …, all in zone a; two of a zone's five in a wave.
	want := []string{"canary i-002", "wave 2 i-004 i-006", "wave 3 i-001 i-003 i-008 i-010", "wave 4 i-005 i-007", "wave 5 i-009"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// People go on from the first host to the second: it comes after it.
func TestHostsThatLeadToOthersComeLast(t *testing.T) {
	x := newScene(3)
	x.probe(1).Logins.Value.Logins = []fleet.Login{{User: "ec2-user", From: x.s.Hosts[0].PrivateIP}}
	x.probe(2).Logins.Value.Logins = []fleet.Login{{User: "ec2-user", From: x.s.Hosts[2].PrivateIP}} // to itself
	x.p.Waves = []string{"1"}
	var got []string
	for _, w := range x.make(t).Waves[1:] {
		got = append(got, w.Hosts[0].ID)
	}
	if want := []string{"i-002", "i-003", "i-001"}; !slices.Equal(got, want) {
		t.Errorf("waves %v, want %v", got, want)
	}
}

func TestMakeRefusesWhatDoesNotBelongTogether(t *testing.T) {
	for name, change := range map[string]func(*scene){
		"another snapshot's judgement": func(x *scene) { x.a.Snapshot = 6 },
		"hosts in another order":       func(x *scene) { slices.Reverse(x.a.Hosts) },
		"an unfinished snapshot":       func(x *scene) { x.s.State = fleet.SnapshotRunning },
		"an invalid policy":            func(x *scene) { x.p.Spread = 0 },
		"one image for two Regions": func(x *scene) {
			x.p.Recovery.Image, x.s.Hosts[1].Region = "ami-9", "eu-central-1"
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := newScene(2)
			change(x)
			if p, err := plan.Make(x.s, x.a, x.p, now); err == nil {
				t.Errorf("it made plan %s", p.ID)
			}
		})
	}
}

func TestStale(t *testing.T) {
	x := newScene(3)
	p := x.make(t)
	if got := p.Stale(x.s); len(got) != 0 {
		t.Fatalf("stale against its own snapshot: %v", got)
	}
	for _, test := range []struct {
		name   string
		change func(*scene)
		want   string // empty: not stale
	}{
		{"a host is gone", func(y *scene) { y.s.Hosts = y.s.Hosts[1:] }, "i-001 is not there any more"},
		{"a host was stopped", func(y *scene) { y.s.Hosts[0].State = "stopped" }, "i-001 is stopped now"},
		{"a new member of the group", func(y *scene) { y.add(readyHost(4)) }, "i-004 carries security group sg-app"},
		{"a new rule for port 22", func(y *scene) {
			g := &y.region().Groups.Value[0]
			g.Ingress = append(g.Ingress, ssh("0.0.0.0/0"))
		}, "a rule that the plan does not know: tcp 22 from 0.0.0.0/0"},
		{"the rule is closed already", func(y *scene) { y.region().Groups.Value[0].Ingress = nil }, ""},
		{"the group is gone", func(y *scene) { y.region().Groups.Value = nil }, "sg-app is not there"},
		{"instances not listed", func(y *scene) { y.region().Instances = lost[int]("throttled") }, "not known"},
		{"a bastion was made that lets another user in", func(y *scene) { y.bastion("ami-2", "ubuntu") }, "starts from image ami-2 now, and lets ubuntu in"},
		{"a bastion was made of another image with the same user", func(y *scene) { y.bastion("ami-2", "ec2-user") }, ""},
		{"the plan's own bastion", func(y *scene) { y.bastion("ami-1", "ec2-user") }, ""},
		{"something else", func(y *scene) { y.s.Hosts[0].Tags["x"] = "y" }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			y := newScene(3)
			test.change(y)
			got := strings.Join(p.Stale(y.s), "; ")
			if test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("stale: %q, want %q", got, test.want)
			}
		})
	}
}

func TestQueries(t *testing.T) {
	x := newScene(2)
	p := x.make(t)
	s := one(t, p, plan.ClosePort)
	w, found := p.Step(s.ID)
	if found == nil || found.Kind != plan.ClosePort || w.Name != "wave 2" {
		t.Errorf("step %s: %+v", s.ID, found)
	}
	if w, found := p.Step("nothing"); w != nil || found != nil {
		t.Error("a step that is not there was found")
	}
	if w := p.WaveOf(x.s.Hosts[0].Ref()); w == nil || w.Name != "canary" {
		t.Errorf("wave of the first host: %+v", w)
	}
	if n := len(p.Hosts()); n != 2 {
		t.Errorf("%d hosts", n)
	}
	if !p.Made.Equal(now) || p.Snapshot != 7 || p.ID != p.Digest[:12] {
		t.Errorf("%s %s %s %d", p.ID, p.Digest, p.Made, p.Snapshot)
	}
	later, err := plan.Make(x.s, x.a, x.p, now.Add(time.Hour))
	if err != nil || later.ID == p.ID {
		t.Errorf("a plan made later has the same ID (%v)", err)
	}
}
