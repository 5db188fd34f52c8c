package cutover_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

func cidr(s string) netip.Prefix { return netip.MustParsePrefix(s) }

const token = "migrate-0123456789abcdef0123456789abcdef"

var here = fleet.Place{Account: "111122223333", Region: "eu-west-1"}

func sshRule(from string) fleet.Rule {
	return fleet.Rule{Protocol: "tcp", From: 22, To: 22, CIDR: cidr(from)}
}

func noted(r fleet.Rule, id, words string, tags map[string]string) fleet.Rule {
	r.ID, r.Description, r.Tags = id, words, tags
	return r
}

// town is a cloud in which every kind of step has something to do.
const bastions = "migrate-recovery-vpc-1"

// oldData is the user data of a bastion with the old recovery key.
const oldData = "#cloud-config\nssh_pwauth: false\nssh_authorized_keys:\n  - \"restrict ssh-ed25519 AAAAold old\"\n"

// withBastions adds a recovery group that starts from a version of its template.
func withBastions(version string) func(*cloud) {
	return func(c *cloud) {
		tags := map[string]string{fleet.TagStep: "other"}
		c.Templates[bastions] = fleet.BastionTemplate{ID: "lt-1", Name: bastions, Version: 1, Image: "ami-1", Tokens: "required", UserData: oldData, Tags: tags}
		c.Scaling[bastions] = fleet.ScalingGroup{Name: bastions, Max: 1, Template: fleet.LaunchTemplateRef{ID: "lt-1", Version: version}, Tags: tags}
	}
}

func town() cloud {
	c := emptyCloud()
	c.Groups["sg-web"] = fleet.SecurityGroup{ID: "sg-web", Name: "web", VPC: "vpc-1"}
	c.Groups["sg-rec"] = fleet.SecurityGroup{ID: "sg-rec", Name: "migrate-recovery-vpc-1", VPC: "vpc-1", Tags: map[string]string{fleet.TagStep: "other"}}
	c.Rules["sg-web"] = []fleet.Rule{
		noted(sshRule("10.0.0.0/8"), "sgr-a", "office", map[string]string{"team": "ops"}),
		noted(sshRule("2001:db8::/32"), "sgr-b", "", nil),
		{ID: "sgr-c", Protocol: "tcp", From: 0, To: 1024, CIDR: cidr("192.168.0.0/16"), Description: "all low ports"},
		{ID: "sgr-d", Protocol: "tcp", From: 443, To: 443, CIDR: cidr("0.0.0.0/0")},
		{ID: "sgr-e", Protocol: "tcp", From: 22, To: 22, Group: "sg-rec", Description: "recovery"},
		{ID: "sgr-f", Egress: true, Protocol: "tcp", From: 80, To: 80, CIDR: cidr("0.0.0.0/0")},
	}
	c.Rules["sg-rec"] = nil
	c.Members["sg-web"] = []string{"i-1"}
	c.Roles["app"] = fleet.RoleState{Name: "app", Path: "/", Trust: "{}"}
	c.Profiles["ready"] = fleet.ProfileState{Name: "ready", Role: "app"}
	c.Documents[fleet.PreferencesName] = []fleet.DocumentVersion{
		{Number: "1", Content: `{"old": 1}`}, {Number: "2", Default: true, Content: `{ "schemaVersion":"1.0" }`}, {Number: "3", Content: `{"newer": 1}`},
	}
	c.Scaling["bastions"] = fleet.ScalingGroup{Name: "bastions", Min: 1, Desired: 2, Max: 3}
	return c
}

func closing() *plan.RuleChange {
	low := fleet.Rule{Protocol: "tcp", From: 0, To: 1024, CIDR: cidr("192.168.0.0/16")}
	below, above := low, low
	below.To, above.From = 21, 23
	return &plan.RuleChange{
		Group: "sg-web", Rules: []fleet.Rule{sshRule("10.0.0.0/8"), sshRule("2001:db8::/32"), low},
		Add: []fleet.Rule{below, above}, Keep: "migrate-recovery-vpc-1", Port: 22,
	}
}

func recovery(vpc string) *plan.RecoveryChange {
	return &plan.RecoveryChange{
		VPC: vpc, Name: plan.RecoveryName(vpc), Image: "ami-1", Type: "t3.micro", Subnets: []string{"subnet-1", "subnet-2"},
		From: []string{"198.51.100.0/24", "2001:db8:1::/48"}, PublicKey: "ssh-ed25519 AAAA recovery \"key\"", User: "ec2-user",
	}
}

const doc = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ssm:UpdateInstanceInformation","Resource":"*"}]}`

type stepCase struct {
	name   string
	step   plan.Step
	change func(*cloud) // before the step
	stays  bool         // what Undo leaves is not what was before
}

func stepCases() []stepCase {
	host := []fleet.HostRef{{Account: here.Account, Region: here.Region, ID: "i-1"}}
	toRecovery := fleet.Rule{Protocol: "tcp", From: 22, To: 22, Group: "migrate-recovery-vpc-1"}
	return []stepCase{
		{name: "attach a profile", step: plan.Step{Kind: plan.AttachProfile, Hosts: host, Profile: &plan.ProfileChange{Name: "ready"}}},
		{name: "make and attach a profile", step: plan.Step{Kind: plan.AttachProfile, Hosts: host, Profile: &plan.ProfileChange{Name: "new", Create: true, Policy: doc}}},
		{name: "extend a role", step: plan.Step{Kind: plan.ExtendRole, Role: &plan.RoleChange{Name: "app", Policy: "ssm-migrate", Document: doc}}},
		{name: "make the timers' role", step: plan.Step{Kind: plan.TimerRole, Role: &plan.RoleChange{Name: "timers", Trust: `{"a":1}`, Policy: "ssm-migrate", Document: doc}}},
		{
			name: "the timers' role of an earlier plan", step: plan.Step{Kind: plan.TimerRole, Role: &plan.RoleChange{Name: "timers", Trust: `{"a":1}`, Policy: "ssm-migrate", Document: doc}},
			change: func(c *cloud) {
				c.Roles["timers"] = fleet.RoleState{Name: "timers", Path: "/", Trust: `{"a": 1}`, Tags: map[string]string{fleet.TagStep: "earlier"}}
				c.Policies["timers/ssm-migrate"] = `{ "of the earlier plan": 1 }`
			},
		},
		{name: "default host management", step: plan.Step{Kind: plan.DefaultHostManagement, Setting: &plan.SettingChange{Value: "service-role/Default", CreateRole: true}}},
		{
			name: "default host management instead of another role", change: func(c *cloud) { c.DefaultRole = "other" },
			step: plan.Step{Kind: plan.DefaultHostManagement, Setting: &plan.SettingChange{Before: "other", Value: "service-role/Default"}},
		},
		{name: "allow egress", step: plan.Step{Kind: plan.AllowEgress, Rules: &plan.RuleChange{Group: "sg-web", Rules: []fleet.Rule{
			{Egress: true, Protocol: "tcp", From: 443, To: 443, CIDR: cidr("0.0.0.0/0"), Description: "Systems Manager"},
			{Egress: true, Protocol: "tcp", From: 80, To: 80, CIDR: cidr("0.0.0.0/0")},
		}}}},
		{
			name:   "let the recovery group in",
			change: func(c *cloud) { c.Rules["sg-web"] = append(c.Rules["sg-web"][:4:4], c.Rules["sg-web"][5:]...) },
			step:   plan.Step{Kind: plan.RecoveryRule, Rules: &plan.RuleChange{Group: "sg-web", Rules: []fleet.Rule{toRecovery}}},
		},
		{name: "make endpoints", step: plan.Step{Kind: plan.CreateEndpoint, Endpoint: &plan.EndpointChange{
			VPC: "vpc-1", Services: []string{"com.amazonaws.eu-west-1.ssm", "com.amazonaws.eu-west-1.ssmmessages"}, Subnets: []string{"subnet-1"},
			Group: "migrate-endpoints", Sources: []string{"10.0.0.0/16", "10.9.0.0/16"},
		}}},
		{name: "make a gateway endpoint", step: plan.Step{Kind: plan.CreateEndpoint, Endpoint: &plan.EndpointChange{
			VPC: "vpc-1", Services: []string{"com.amazonaws.eu-west-1.s3"}, Tables: []string{"rtb-1", "rtb-2"}, Policies: map[string]string{"com.amazonaws.eu-west-1.s3": "{}"},
		}}},
		{name: "new session preferences", change: func(c *cloud) { clear(c.Documents) }, step: plan.Step{Kind: plan.SessionPreferences, Preferences: &plan.PreferencesChange{Document: `{"a":1}`}}},
		{name: "other session preferences", step: plan.Step{Kind: plan.SessionPreferences, Preferences: &plan.PreferencesChange{Before: `{"schemaVersion":"1.0"}`, Document: `{"a":1}`}}},
		{name: "session preferences that an old version has", step: plan.Step{Kind: plan.SessionPreferences, Preferences: &plan.PreferencesChange{Before: `{"schemaVersion":"1.0"}`, Document: `{"newer": 1}`}}},
		{name: "make the recovery group", step: plan.Step{Kind: plan.RecoveryGroup, Recovery: recovery("vpc-2")}},
		{name: "arm timers", step: plan.Step{Kind: plan.ArmRuleTimer, Rules: closing(), Timer: &plan.TimerChange{After: plan.Duration(15 * time.Minute), Role: "timers"}}},
		{name: "close the port", step: plan.Step{Kind: plan.ClosePort, Hosts: host, Rules: closing()}},
		{
			name: "close the port where a stand-in is there already", step: plan.Step{Kind: plan.ClosePort, Hosts: host, Rules: closing()},
			change: func(c *cloud) {
				c.Rules["sg-web"] = append(c.Rules["sg-web"], noted(closing().Add[0], "sgr-g", "mine", map[string]string{"x": "y"}))
			},
		},
		{
			name: "disarm timers", stays: true,
			step: plan.Step{Kind: plan.DisarmRuleTimer, Rules: closing(), Timer: &plan.TimerChange{After: plan.Duration(15 * time.Minute), Role: "timers"}},
			change: func(c *cloud) {
				f := newFakeAWS(*c)
				s := plan.Step{ID: "arm", At: here, Kind: plan.ArmRuleTimer, Rules: closing(), Timer: &plan.TimerChange{After: plan.Duration(15 * time.Minute), Role: "timers"}}
				if _, err := cutover.AWSKinds(f)[plan.ArmRuleTimer].Apply(context.Background(), s, json.RawMessage(`{}`), token); err != nil {
					panic(err)
				}
				*c = f.now
			},
		},
		{
			name: "recovery template", step: plan.Step{Kind: plan.RecoveryTemplate, Recovery: &plan.RecoveryChange{VPC: "vpc-1", Name: bastions, PublicKey: "restrict ssh-ed25519 AAAAnew new"}},
			change: withBastions("1"),
		},
		{
			name: "recovery template of a group that follows it", step: plan.Step{Kind: plan.RecoveryTemplate, Recovery: &plan.RecoveryChange{VPC: "vpc-1", Name: bastions, PublicKey: "restrict ssh-ed25519 AAAAnew new"}},
			change: withBastions("$Default"),
		},
		{name: "scale in", step: plan.Step{Kind: plan.ScaleIn, Scaling: &plan.ScalingChange{Group: "bastions", Max: 3}}},
	}
}

// run is one step in a cloud of its own.
type run struct {
	*testing.T
	stepCase
	aws    *fakeAWS
	kind   cutover.StepKind
	before json.RawMessage
	was    string
}

func begin(t *testing.T, tt stepCase, lag time.Duration) *run {
	t.Helper()
	c := town()
	if tt.change != nil {
		tt.change(&c)
	}
	tt.step.ID, tt.step.At = "w1/x/"+tt.name, here
	r := &run{T: t, stepCase: tt, aws: newFakeAWS(c)}
	r.aws.lag = lag
	r.kind = cutover.AWSKinds(r.aws)[tt.step.Kind]
	r.was = r.aws.now.dump(t)
	o := r.observe(fleet.TruthNo)
	r.before = o.Image
	if !json.Valid(o.Image) || o.Detail == "" {
		t.Fatalf("image %s, detail %q", o.Image, o.Detail)
	}
	return r
}

func (r *run) observe(want fleet.Truth) cutover.Observation {
	r.Helper()
	o, err := r.kind.Observe(r.Context(), r.step)
	if err != nil || o.Holds != want {
		r.Fatalf("observed %v (%s), %v; want %v", o.Holds, o.Detail, err, want)
	}
	return o
}

func (r *run) apply() (json.RawMessage, error) {
	return r.kind.Apply(r.Context(), r.step, r.before, token)
}

// undone undoes, looks, and compares with what was.
func (r *run) undone(after json.RawMessage) {
	r.Helper()
	if err := r.kind.Undo(r.Context(), r.step, r.before, after, token); err != nil {
		r.Fatalf("undo: %v", err)
	}
	o, err := r.kind.Undone(r.Context(), r.step, r.before, after, token)
	if r.step.Kind == plan.ScaleIn && err == nil && o.Holds == fleet.TruthNo {
		time.Sleep(time.Minute + r.aws.lag) // until the instances are in service
		o, err = r.kind.Undone(r.Context(), r.step, r.before, after, token)
	}
	if err != nil || o.Holds != fleet.TruthYes {
		r.Fatalf("undone: %v (%s), %v", o.Holds, o.Detail, err)
	}
	if got := r.aws.now.dump(r); got != r.was && !r.stays {
		r.Fatalf("not as before (-before +now):\n%s", cmp.Diff(r.was, got))
	}
}

func (r *run) must(after json.RawMessage, err error) json.RawMessage {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
	return after
}

func TestStepsThereAndBack(t *testing.T) {
	for _, tt := range stepCases() {
		for _, lag := range []time.Duration{0, 3 * time.Second} {
			t.Run(fmt.Sprint(tt.name, " ", lag), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := begin(t, tt, lag)
					r.must(r.apply())
					r.observe(fleet.TruthYes)
					then := r.aws.now.dump(t)
					if then == r.was {
						t.Fatal("nothing has changed")
					}
					after := r.must(r.kind.Apply(t.Context(), r.step, r.before, token))
					if got := r.aws.now.dump(t); got != then {
						t.Fatalf("a second Apply changed something:\n%s", cmp.Diff(then, got))
					}
					r.undone(after)
					r.undone(after)
					if !r.stays {
						r.observe(fleet.TruthNo)
					}
				})
			})
		}
	}
}

// Every call in its turn gets lost, before it acts and after; the step is then
// tried again, or undone.
func TestStepsWithLostCalls(t *testing.T) {
	if testing.Short() {
		t.Skip("nothing runs side by side here")
	}
	for _, tt := range stepCases() {
		t.Run(tt.name, func(t *testing.T) {
			lost := 0
			for _, lag := range []time.Duration{0, 3 * time.Second} {
				for _, acted := range []bool{false, true} {
					for _, undo := range []bool{false, true} {
						lost += loseEach(t, tt, lag, acted, undo)
					}
				}
			}
			if lost < 8 {
				t.Errorf("only %d calls were lost", lost)
			}
		})
	}
}

// loseEach loses one call of Apply after the other until none is left to lose,
// and gives their number.
func loseEach(t *testing.T, tt stepCase, lag time.Duration, acted, undo bool) (lost int) {
	t.Helper()
	for n := 0; n < 200; n++ {
		done := false
		synctest.Test(t, func(t *testing.T) {
			r := begin(t, tt, lag)
			r.aws.lose, r.aws.acted = r.aws.calls+n, acted
			after, err := r.apply()
			done = r.aws.calls <= r.aws.lose
			if done {
				return
			}
			if err != nil && !errors.Is(err, errLost) {
				t.Fatalf("call %d lost (acted %v): %v", n, acted, err)
			}
			if !undo {
				after = r.must(r.apply())
				r.observe(fleet.TruthYes)
			}
			r.undone(after)
		})
		if done || t.Failed() {
			return n
		}
	}
	t.Fatal("more than 200 calls")
	return 0
}

// Every call of Undo gets lost; undoing again restores what was.
func TestStepsUndoneWithLostCalls(t *testing.T) {
	if testing.Short() {
		t.Skip("nothing runs side by side here")
	}
	for _, tt := range stepCases() {
		t.Run(tt.name, func(t *testing.T) {
			for _, acted := range []bool{false, true} {
				for n, done := 0, false; !done && !t.Failed(); n++ {
					synctest.Test(t, func(t *testing.T) {
						r := begin(t, tt, time.Second)
						after := r.must(r.apply())
						r.aws.lose, r.aws.acted = r.aws.calls+n, acted
						err := r.kind.Undo(t.Context(), r.step, r.before, after, token)
						done = r.aws.calls <= r.aws.lose
						if !done && err == nil {
							t.Fatalf("call %d was lost and Undo says nothing", n)
						}
						r.aws.lose = -1
						r.undone(nil)
					})
				}
			}
		})
	}
}

func TestStepsLeaveWhatOthersChanged(t *testing.T) {
	find := func(name string) stepCase {
		for _, tt := range stepCases() {
			if tt.name == name {
				return tt
			}
		}
		t.Fatalf("no case %q", name)
		return stepCase{}
	}
	tests := []struct {
		name, of string
		change   func(*cloud) // between Apply and Undo
	}{
		{"another profile", "attach a profile", func(c *cloud) {
			c.Associations["i-1"] = fleet.ProfileAssociation{ID: "iip-assoc-i-1", Profile: "theirs", State: "associated"}
		}},
		{"another policy", "extend a role", func(c *cloud) { c.Policies["app/ssm-migrate"] = `{"theirs":1}` }},
		{"a role that got more policies", "make the timers' role", func(c *cloud) { c.Policies["timers/theirs"] = `{}` }},
		{"another default role", "default host management", func(c *cloud) { c.DefaultRole = "theirs" }},
		{"other preferences", "other session preferences", func(c *cloud) { c.Documents[fleet.PreferencesName][1].Content = `{"theirs":1}`; setDefault(c, 1) }},
		{"other sizes", "scale in", func(c *cloud) { g := c.Scaling["bastions"]; g.Max = 9; c.Scaling["bastions"] = g }},
		{"a rule written anew", "close the port", func(c *cloud) {
			c.Rules["sg-web"] = append(c.Rules["sg-web"], noted(sshRule("10.0.0.0/8"), "sgr-z", "theirs", nil))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := begin(t, find(tt.of), 0)
				after := r.must(r.apply())
				tt.change(&r.aws.now)
				if err := r.kind.Undo(t.Context(), r.step, r.before, after, token); !errors.Is(err, cutover.ErrForeign) {
					t.Errorf("undo: %v", err)
				}
				theirs := r.aws.now.clone()
				tt.change(&theirs)
				if tt.of != "close the port" {
					if diff := cmp.Diff(theirs.dump(t), r.aws.now.dump(t)); diff != "" {
						t.Errorf("what others made is changed:\n%s", diff)
					}
				}
				o, err := r.kind.Undone(t.Context(), r.step, r.before, after, token)
				if err == nil && o.Holds == fleet.TruthYes {
					t.Errorf("counts as undone: %s", o.Detail)
				}
			})
		})
	}
}

func setDefault(c *cloud, i int) {
	for j := range c.Documents[fleet.PreferencesName] {
		c.Documents[fleet.PreferencesName][j].Default = i == j
	}
}

func TestStepsRefuseAnotherWorld(t *testing.T) {
	tests := []struct {
		name, of string
		change   func(*cloud)
		want     error
		words    string
	}{
		{"a profile is there", "attach a profile", func(c *cloud) {
			c.Associations["i-1"] = fleet.ProfileAssociation{Profile: "theirs"}
		}, cutover.ErrStale, "theirs"},
		{"the profile is gone", "attach a profile", func(c *cloud) { delete(c.Profiles, "ready") }, cutover.ErrStale, "ready"},
		{"the role is gone", "extend a role", func(c *cloud) { delete(c.Roles, "app") }, cutover.ErrStale, "app"},
		{"the policy's name is taken", "extend a role", func(c *cloud) { c.Policies["app/ssm-migrate"] = `{}` }, cutover.ErrForeign, "ssm-migrate"},
		{"the role trusts others", "make the timers' role", func(c *cloud) { c.Roles["timers"] = fleet.RoleState{Name: "timers", Trust: `{"b":1}`} }, cutover.ErrForeign, "timers"},
		{"another default role", "default host management", func(c *cloud) { c.DefaultRole = "theirs" }, cutover.ErrStale, "theirs"},
		{"the group is gone", "allow egress", func(c *cloud) { delete(c.Groups, "sg-web") }, cutover.ErrStale, "sg-web"},
		{"an unknown rule admits the port", "close the port", func(c *cloud) {
			c.Rules["sg-web"] = append(c.Rules["sg-web"], sshRule("203.0.113.0/24"))
		}, cutover.ErrStale, "203.0.113.0/24"},
		{"all traffic is admitted", "close the port", func(c *cloud) {
			c.Rules["sg-web"] = append(c.Rules["sg-web"], fleet.Rule{Protocol: "-1", From: -1, To: -1, Group: "sg-web"})
		}, cutover.ErrStale, "all traffic"},
		{"an instance was launched into the group", "close the port", func(c *cloud) {
			c.Members["sg-web"] = append(c.Members["sg-web"], "i-new")
		}, cutover.ErrStale, "i-new"},
		{"other preferences", "new session preferences", func(c *cloud) {
			c.Documents[fleet.PreferencesName] = []fleet.DocumentVersion{{Number: "1", Default: true, Content: `{"theirs":1}`}}
		}, cutover.ErrStale, fleet.PreferencesName},
		{"the recovery group's name is taken", "make the recovery group", func(c *cloud) {
			c.Groups["sg-x"] = fleet.SecurityGroup{ID: "sg-x", Name: "migrate-recovery-vpc-2", VPC: "vpc-2"}
		}, cutover.ErrForeign, "somebody else"},
		{"the scaling group is gone", "scale in", func(c *cloud) { delete(c.Scaling, "bastions") }, cutover.ErrStale, "bastions"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, of := range stepCases() {
					if of.name != tt.of {
						continue
					}
					r := begin(t, of, 0)
					tt.change(&r.aws.now)
					was := r.aws.now.dump(t)
					if _, err := r.kind.Observe(t.Context(), r.step); !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.words) {
						t.Errorf("observe: %v", err)
					}
					if _, err := r.apply(); err == nil {
						t.Error("apply went through")
					}
					if got := r.aws.now.dump(t); got != was {
						t.Errorf("apply changed something:\n%s", cmp.Diff(was, got))
					}
				}
			})
		})
	}
}

func TestClosingNeedsTheRecoveryRule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := town()
		c.Rules["sg-web"] = append(c.Rules["sg-web"][:4:4], c.Rules["sg-web"][5:]...)
		f := newFakeAWS(c)
		k := cutover.AWSKinds(f)[plan.ClosePort]
		s := plan.Step{At: here, Kind: plan.ClosePort, Hosts: []fleet.HostRef{{Account: here.Account, Region: here.Region, ID: "i-1"}}, Rules: closing()}
		o, err := k.Observe(t.Context(), s)
		if err != nil || o.Holds != fleet.TruthNo {
			t.Fatalf("%+v, %v", o, err)
		}
		if _, err := k.Apply(t.Context(), s, o.Image, token); err == nil || !strings.Contains(err.Error(), "recovery") {
			t.Errorf("apply: %v", err)
		}
		if diff := cmp.Diff(c.dump(t), f.now.dump(t)); diff != "" {
			t.Errorf("a group was changed:\n%s", diff)
		}
	})
}

// Two plans share the timers' role, each with a policy of its own.
func TestTimersRoleIsSharedByPlans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeAWS(town())
		k := cutover.AWSKinds(f)[plan.TimerRole]
		step := func(policy string) plan.Step {
			return plan.Step{At: here, Kind: plan.TimerRole, Role: &plan.RoleChange{Name: "timers", Trust: `{"a":1}`, Policy: policy, Document: doc}}
		}
		a, b := step("timers-a"), step("timers-b")
		apply := func(s plan.Step, token string) json.RawMessage {
			t.Helper()
			o, err := k.Observe(t.Context(), s)
			if err != nil || o.Holds != fleet.TruthNo {
				t.Fatalf("%+v, %v", o, err)
			}
			if _, err := k.Apply(t.Context(), s, o.Image, token); err != nil {
				t.Fatal(err)
			}
			return o.Image
		}
		undo := func(s plan.Step, before json.RawMessage, token string) {
			t.Helper()
			if err := k.Undo(t.Context(), s, before, nil, token); err != nil {
				t.Fatal(err)
			}
			if o, err := k.Undone(t.Context(), s, before, nil, token); err != nil || o.Holds != fleet.TruthYes {
				t.Fatalf("undone: %+v, %v", o, err)
			}
		}
		beforeA := apply(a, "plan-a")
		beforeB := apply(b, "plan-b")
		if f.now.Policies["timers/timers-a"] == "" {
			t.Fatal("the later plan took the earlier one's policy away")
		}
		undo(a, beforeA, "plan-a")
		if o, err := k.Observe(t.Context(), b); err != nil || o.Holds != fleet.TruthYes || f.now.Policies["timers/timers-a"] != "" {
			t.Fatalf("after the earlier plan's undo: %+v, %v, %v", o, err, f.now.Policies)
		}
		undo(b, beforeB, "plan-b")
		if _, is := f.now.Roles["timers"]; is {
			t.Error("nobody uses the role and it is still there")
		}
	})
}

// A timers' role that was there before the plan goes with its last policy only if
// a plan made it.
func TestTimersRoleOfOthersStays(t *testing.T) {
	for name, tt := range map[string]struct {
		tags   map[string]string
		policy string // that is there before
	}{
		"made by a person":                    {},
		"made by a plan that is there":        {map[string]string{fleet.TagStep: "plan-a"}, "timers-a"},
		"made by a plan with the same policy": {map[string]string{fleet.TagStep: "plan-a"}, "timers-b"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := town()
				c.Roles["timers"] = fleet.RoleState{Name: "timers", Path: "/", Trust: `{"a":1}`, Tags: tt.tags}
				if tt.policy != "" {
					c.Policies["timers/"+tt.policy] = `{"of the earlier plan":1}`
				}
				f := newFakeAWS(c)
				was := f.now.dump(t)
				k := cutover.AWSKinds(f)[plan.TimerRole]
				s := plan.Step{At: here, Kind: plan.TimerRole, Role: &plan.RoleChange{Name: "timers", Trust: `{"a":1}`, Policy: "timers-b", Document: doc}}
				o, err := k.Observe(t.Context(), s)
				if err != nil || o.Holds != fleet.TruthNo {
					t.Fatalf("%+v, %v", o, err)
				}
				after, err := k.Apply(t.Context(), s, o.Image, "plan-b")
				if err != nil {
					t.Fatal(err)
				}
				if err := k.Undo(t.Context(), s, o.Image, after, "plan-b"); err != nil {
					t.Fatal(err)
				}
				if o, err := k.Undone(t.Context(), s, o.Image, after, "plan-b"); err != nil || o.Holds != fleet.TruthYes {
					t.Errorf("undone: %+v, %v", o, err)
				}
				if diff := cmp.Diff(was, f.now.dump(t)); diff != "" {
					t.Errorf("it is not as before:\n%s", diff)
				}
			})
		})
	}
}

// A timer whose role may not open the group would go off and do nothing.
func TestTimersCountAsArmedOnlyIfTheirRoleMayOpen(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want fleet.Truth
	}{
		"the group":     {`{"Action":["ec2:AuthorizeSecurityGroupIngress"],"Resource":["arn:aws:ec2:eu-west-1:111122223333:security-group/sg-web"]}`, fleet.TruthYes},
		"all groups":    {`{"Action":["ec2:AuthorizeSecurityGroupIngress"],"Resource":["arn:aws:ec2:*:111122223333:security-group/*"]}`, fleet.TruthYes},
		"another group": {`{"Action":["ec2:AuthorizeSecurityGroupIngress"],"Resource":["arn:aws:ec2:eu-west-1:111122223333:security-group/sg-web2"]}`, fleet.TruthNo},
		"no policy":     {"", fleet.TruthNo},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeAWS(town())
				k := cutover.AWSKinds(f)[plan.ArmRuleTimer]
				s := plan.Step{At: here, Kind: plan.ArmRuleTimer, Rules: closing(), Timer: &plan.TimerChange{After: plan.Duration(15 * time.Minute), Role: "timers", Policy: "timers-a"}}
				if tt.text != "" {
					f.now.Policies["timers/timers-a"] = tt.text
				}
				o, err := k.Observe(t.Context(), s)
				if err != nil || o.Holds != fleet.TruthNo {
					t.Fatalf("before: %+v, %v", o, err)
				}
				_, err = k.Apply(t.Context(), s, o.Image, token)
				if (err == nil) != (tt.want == fleet.TruthYes) {
					t.Errorf("apply: %v", err)
				}
				if armed := len(f.now.Schedules) > 0; armed != (tt.want == fleet.TruthYes) {
					t.Errorf("schedules: %v", f.now.Schedules)
				}
				delete(f.now.Policies, "timers/timers-a")
				if o, err := k.Observe(t.Context(), s); err != nil || o.Holds != fleet.TruthNo {
					t.Errorf("the policy gone: %+v, %v", o, err)
				}
				f.now.Policies["timers/timers-a"] = tt.text
				if o, err := k.Observe(t.Context(), s); err != nil || o.Holds != tt.want {
					t.Errorf("%+v, %v; want %v", o, err, tt.want)
				}
			})
		})
	}
}

func TestTimersCountAsArmedOnlyInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeAWS(town())
		k := cutover.AWSKinds(f)[plan.ArmRuleTimer]
		s := plan.Step{At: here, Kind: plan.ArmRuleTimer, Rules: closing(), Timer: &plan.TimerChange{After: plan.Duration(15 * time.Minute), Role: "timers"}}
		observe := func(want fleet.Truth) cutover.Observation {
			t.Helper()
			o, err := k.Observe(t.Context(), s)
			if err != nil || o.Holds != want {
				t.Fatalf("%v (%s), %v; want %v", o.Holds, o.Detail, err, want)
			}
			return o
		}
		before := observe(fleet.TruthNo).Image
		time.Sleep(90 * time.Second) // not at a whole minute
		if _, err := k.Apply(t.Context(), s, before, token); err != nil {
			t.Fatal(err)
		}
		observe(fleet.TruthYes)
		exact := map[string]bool{}
		for name, c := range f.now.Schedules {
			wait := time.Until(c.At)
			if c.At.Second() != 0 || wait < 15*time.Minute || wait > 16*time.Minute || len(name) > 64 || c.Role != "arn:aws:iam::111122223333:role/timers" || c.Group != "sg-web" {
				t.Errorf("%s in %v: %+v", name, wait, c)
			}
			exact[c.Rule.Description+c.Rule.Tags["team"]] = true
		}
		if !exact["officeops"] || !exact["all low ports"] || len(f.now.Schedules) != 3 {
			t.Errorf("the timers' rules are not those of the group: %v", f.now.Schedules)
		}
		time.Sleep(11 * time.Minute)
		observe(fleet.TruthNo) // almost due

		// The door is closed by now: what was noted before it tells the rules.
		f.now.Rules["sg-web"] = f.now.Rules["sg-web"][3:]
		if _, err := k.Apply(t.Context(), s, before, token); err != nil {
			t.Fatal(err)
		}
		observe(fleet.TruthYes)
		for name, spoil := range map[string]func(*fleet.Schedule){
			"disabled":     func(c *fleet.Schedule) { c.State = "DISABLED" },
			"other target": func(c *fleet.Schedule) { c.Target += "x" },
			"other role":   func(c *fleet.Schedule) { c.Role += "x" },
			"other group":  func(c *fleet.Schedule) { c.Group += "x" },
			"other rule":   func(c *fleet.Schedule) { c.Rule.To++ },
			"far ahead":    func(c *fleet.Schedule) { c.At = c.At.Add(time.Hour) },
			"no time":      func(c *fleet.Schedule) { c.At = time.Time{} },
		} {
			for key, c := range f.now.Schedules {
				good := c
				spoil(&c)
				f.now.Schedules[key] = c
				if o, err := k.Observe(t.Context(), s); err != nil || o.Holds != fleet.TruthNo {
					t.Errorf("%s: %v (%s), %v", name, o.Holds, o.Detail, err)
				}
				f.now.Schedules[key] = good
			}
		}
	})
}

// A profile that other instances have come to use stays.
func TestProfileInUseStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := begin(t, stepCases()[1], 0)
		after := r.must(r.apply())
		r.aws.now.Associations["i-2"] = fleet.ProfileAssociation{ID: "iip-assoc-i-2", Profile: "new"}
		if err := r.kind.Undo(t.Context(), r.step, r.before, after, token); err != nil {
			t.Fatal(err)
		}
		o, err := r.kind.Undone(t.Context(), r.step, r.before, after, token)
		if err != nil || o.Holds != fleet.TruthYes || r.aws.now.Profiles["new"].Role != "new" || r.aws.now.Associations["i-1"].Profile != "" {
			t.Errorf("%v (%s), %v; %v", o.Holds, o.Detail, err, r.aws.now.Profiles)
		}
	})
}

// What the first step made goes with the last host that uses it, whichever that is.
func TestProfileGoesWithItsLastUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeAWS(town())
		k := cutover.AWSKinds(f)[plan.AttachProfile]
		step := func(host string) plan.Step {
			return plan.Step{At: here, Kind: plan.AttachProfile, Hosts: []fleet.HostRef{{Account: here.Account, Region: here.Region, ID: host}}, Profile: &plan.ProfileChange{Name: "new", Create: true, Policy: doc}}
		}
		apply := func(host string) json.RawMessage {
			t.Helper()
			o, err := k.Observe(t.Context(), step(host))
			if err != nil || o.Holds != fleet.TruthNo {
				t.Fatalf("%+v, %v", o, err)
			}
			if _, err := k.Apply(t.Context(), step(host), o.Image, "by-"+host); err != nil {
				t.Fatal(err)
			}
			return o.Image
		}
		undo := func(host string, before json.RawMessage) {
			t.Helper()
			if err := k.Undo(t.Context(), step(host), before, nil, "by-"+host); err != nil {
				t.Fatal(err)
			}
			if o, err := k.Undone(t.Context(), step(host), before, nil, "by-"+host); err != nil || o.Holds != fleet.TruthYes {
				t.Fatalf("undone: %+v, %v", o, err)
			}
		}
		first, second := apply("i-1"), apply("i-2")
		undo("i-1", first)
		if f.now.Profiles["new"].Role != "new" || f.now.Associations["i-2"].Profile != "new" {
			t.Fatalf("the second host has lost its profile: %v", f.now.Profiles)
		}
		undo("i-2", second)
		_, profile := f.now.Profiles["new"]
		if _, role := f.now.Roles["new"]; profile || role {
			t.Errorf("nobody uses them, and they are still there: %v, %v", f.now.Profiles, f.now.Roles)
		}
	})
}

// A running bastion is ended first.
func TestRecoveryGroupIsRemovedWithItsBastion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range stepCases() {
			if tt.step.Kind != plan.RecoveryGroup {
				continue
			}
			r := begin(t, tt, 0)
			after := r.must(r.apply())
			name := r.step.Recovery.Name
			g := r.aws.now.Scaling[name]
			if g.Min != 0 || g.Desired != 0 || g.Max != 1 || g.Template.Version != "$Default" {
				t.Errorf("scaling group %+v", g)
			}
			if d := r.aws.now.Templates[name]; d.Tokens != "required" || d.Tags[fleet.TagUser] != "ec2-user" || !strings.Contains(d.UserData, `"ssh-ed25519 AAAA recovery \"key\""`) {
				t.Errorf("template %+v", d)
			}
			g.Desired, g.Instances = 1, []string{"i-9"}
			r.aws.now.Scaling[name] = g
			r.observe(fleet.TruthYes)
			r.undone(after)
		}
	})
}

func TestEndpointConflictSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range stepCases() {
			if tt.step.Kind != plan.CreateEndpoint || tt.step.Endpoint.Tables != nil {
				continue // a gateway has no name
			}
			r := begin(t, tt, 0)
			r.aws.now.Conflict = true
			if _, err := r.apply(); err == nil || !strings.Contains(err.Error(), "private hosted zone") {
				t.Errorf("apply: %v", err)
			}
			r.aws.now.Conflict = false
			r.undone(nil)
		}
	})
}

func TestStepsEndWithTheirContext(t *testing.T) {
	for _, tt := range stepCases() {
		synctest.Test(t, func(t *testing.T) {
			r := begin(t, tt, time.Hour) // no change ever shows
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			start := time.Now()
			_, err := r.kind.Apply(ctx, r.step, r.before, token)
			if err == nil || time.Since(start) > 2*time.Second {
				t.Errorf("%s: %v after %v", tt.name, err, time.Since(start))
			}
		})
	}
}

// A template that somebody changed, or a key that is the last one, stays as it is.
func TestTemplatesThatARotationLeavesAlone(t *testing.T) {
	step := plan.Step{ID: "s", Kind: plan.RecoveryTemplate, At: here, Recovery: &plan.RecoveryChange{VPC: "vpc-1", Name: bastions, PublicKey: "restrict ssh-ed25519 AAAAnew new"}}
	for name, change := range map[string]func(*cloud){
		"another user data": func(c *cloud) { d := c.Templates[bastions]; d.UserData += "runcmd: [x]\n"; c.Templates[bastions] = d },
		"somebody else's":   func(c *cloud) { d := c.Templates[bastions]; d.Tags = nil; c.Templates[bastions] = d },
		"IMDSv1":            func(c *cloud) { d := c.Templates[bastions]; d.Tokens = "optional"; c.Templates[bastions] = d },
		"another template":  func(c *cloud) { g := c.Scaling[bastions]; g.Template.ID = "lt-2"; c.Scaling[bastions] = g },
	} {
		c := town()
		withBastions("1")(&c)
		change(&c)
		k := cutover.AWSKinds(newFakeAWS(c))[plan.RecoveryTemplate]
		if o, err := k.Observe(t.Context(), step); !errors.Is(err, cutover.ErrForeign) {
			t.Errorf("%s: %+v, %v", name, o, err)
		}
	}
	c := town()
	withBastions("1")(&c)
	retired := []fleet.RecoveryKey{{Line: "ssh-ed25519 AAAAnew new"}, {Line: "ssh-ed25519 AAAAold old", Retired: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}}
	k := cutover.AWSKinds(newFakeAWS(c), retired...)[plan.RecoveryTemplate]
	if err := k.Undo(t.Context(), step, json.RawMessage(`{"version":1,"starts":"1"}`), nil, "token"); !errors.Is(err, cutover.ErrForeign) {
		t.Errorf("bastions would start with a key that nobody has: %v", err)
	}
}

// A bastion that starts with a later generation of the key serves a plan of before.
func TestRecoveryGroupWithALaterKey(t *testing.T) {
	step := plan.Step{ID: "s", Kind: plan.RecoveryGroup, At: here, Recovery: &plan.RecoveryChange{
		VPC: "vpc-1", Name: bastions, Image: "ami-1", Subnets: []string{"subnet-1"}, From: []string{"198.51.100.0/24"}, PublicKey: "restrict ssh-ed25519 AAAAfirst",
	}}
	for name, tt := range map[string]struct {
		key  fleet.RecoveryKey
		want bool
	}{
		"in use":  {fleet.RecoveryKey{Line: "ssh-ed25519 AAAAold old"}, true},
		"retired": {fleet.RecoveryKey{Line: "ssh-ed25519 AAAAold old", Retired: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}, false},
		"another": {fleet.RecoveryKey{Line: "ssh-ed25519 AAAAother"}, false},
	} {
		c := town()
		withBastions("1")(&c)
		c.Rules["sg-rec"] = []fleet.Rule{sshRule("198.51.100.0/24")}
		d := c.Templates[bastions]
		d.Groups = []string{"sg-rec"}
		c.Templates[bastions] = d
		o, err := cutover.AWSKinds(newFakeAWS(c), tt.key)[plan.RecoveryGroup].Observe(t.Context(), step)
		if (err == nil && o.Holds == fleet.TruthYes) != tt.want {
			t.Errorf("%s: %+v, %v", name, o, err)
		}
	}
}
