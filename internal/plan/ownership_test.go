package plan_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// owned marks all things of a scene that steps change.
func (x *scene) owned(tags map[string]string) {
	r := x.region()
	for i := range r.Groups.Value {
		r.Groups.Value[i].Tags = tags
	}
	for i := range r.VPCs.Value {
		r.VPCs.Value[i].Tags = tags
	}
	for i := range x.s.Accounts[0].Roles.Value {
		x.s.Accounts[0].Roles.Value[i].Tags = tags
	}
	for i := range x.s.Hosts {
		for k, v := range tags {
			x.s.Hosts[i].Tags[k] = v
		}
	}
}

func TestOwnersAreFoundByTags(t *testing.T) {
	for name, test := range map[string]struct {
		tags      map[string]string
		managedBy []string
		want      string
	}{
		"nothing":               {map[string]string{"team": "web"}, nil, ""},
		"stack name":            {map[string]string{"aws:cloudformation:stack-name": "Net", "aws:cloudformation:logical-id": "Web"}, nil, "cloudformation Net"},
		"stack ID alone":        {map[string]string{"aws:cloudformation:stack-id": "arn:aws:cloudformation:eu-west-1:111122223333:stack/Net/0f0f"}, nil, "cloudformation Net"},
		"a stack before a tag":  {map[string]string{"managed-by": "terraform", "aws:cloudformation:stack-name": "Net"}, nil, "cloudformation Net"},
		"managed-by":            {map[string]string{"managed-by": "terraform"}, nil, "terraform"},
		"ManagedBy":             {map[string]string{"ManagedBy": "Terraform"}, nil, "terraform"},
		"managed_by, a module":  {map[string]string{"managed_by": "net/terraform"}, nil, "net/terraform"},
		"OpenTofu":              {map[string]string{"Managed-By": "OpenTofu"}, nil, "opentofu"},
		"a flag":                {map[string]string{"Terraform": "true"}, nil, "terraform"},
		"a flag that is down":   {map[string]string{"Terraform": "false"}, nil, ""},
		"people":                {map[string]string{"managed-by": "ops"}, nil, ""},
		"a pattern of the team": {map[string]string{"repo": "infra-net"}, []string{"repo=infra-*"}, "infra-net"},
		"the team's alone":      {map[string]string{"managed-by": "terraform"}, []string{"repo=infra-*"}, ""},
		"terminal escapes":      {map[string]string{"managed-by": "terraform\x1b[2J\n"}, nil, fleet.OneLine("terraform\x1b[2j", 60)},
	} {
		x := newScene(1)
		if test.managedBy != nil {
			x.p.ManagedBy = test.managedBy
		}
		x.region().Groups.Value[0].Tags = test.tags
		for _, k := range []plan.Kind{plan.RecoveryRule, plan.ClosePort} {
			if got := one(t, x.make(t), k).Owner; got != test.want {
				t.Errorf("%s: the owner of a %s step is %q, want %q", name, k, got, test.want)
			}
		}
	}
}

// What a stack or Terraform owns is left to it by default, but for what closes
// a door: that is done here, with a warning.
func TestOwnedThingsAreHandedOver(t *testing.T) {
	terraform := map[string]string{"managed-by": "terraform"}
	for _, test := range []struct {
		kind   plan.Kind
		setUp  func(x *scene)
		fixes  map[string]string
		handed bool
	}{
		{kind: plan.RecoveryRule, handed: true},
		{kind: plan.RecoveryRule, fixes: map[string]string{"recovery-rule": "apply"}},
		{kind: plan.ClosePort},
		{kind: plan.AttachProfile, setUp: func(x *scene) { x.s.Hosts[0].ProfileARN = ""; x.block(0, "profile-missing", "") }, handed: true},
		{kind: plan.AttachProfile, setUp: func(x *scene) { x.s.Hosts[0].ProfileARN = ""; x.block(0, "profile-missing", "") }, fixes: map[string]string{"attach-profile": "apply"}},
		{kind: plan.ExtendRole, setUp: func(x *scene) {
			x.block(0, "role-lacks-session-actions", x.s.Accounts[0].Roles.Value[0].ARN)
		}, handed: true},
		{kind: plan.AllowEgress, setUp: func(x *scene) { x.block(0, "group-egress-closed", "sg-app") }, handed: true},
		{kind: plan.CreateEndpoint, setUp: func(x *scene) { x.block(0, "endpoint-missing", "") }, handed: true},
		{kind: plan.CreateEndpoint, setUp: func(x *scene) { x.block(0, "endpoint-missing", "") }, fixes: map[string]string{"create-endpoint": "auto"}, handed: true},
		{kind: plan.SessionPreferences, setUp: func(x *scene) {
			x.region().Preferences = known(fleet.Preferences{Exists: true, Content: `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"kmsKeyId":"alias/x"}}`, Tags: terraform})
			x.block(0, "kms-key-unusable", "")
		}, fixes: map[string]string{"session-preferences": "auto"}, handed: true},
		{kind: plan.RecoveryGroup, setUp: func(x *scene) {
			x.group(fleet.SecurityGroup{ID: "sg-rec", Name: plan.RecoveryName("vpc-1"), Tags: terraform})
		}, handed: true},
	} {
		x := newScene(1)
		if test.setUp != nil {
			test.setUp(x)
		}
		x.owned(terraform)
		x.p.Fixes = test.fixes
		p := x.make(t)
		s := one(t, p, test.kind)
		if s.Owner != "terraform" || s.Handed != test.handed {
			t.Errorf("%s with %v: owner %q, handed %v, want %v", s.Kind, test.fixes, s.Owner, s.Handed, test.handed)
		}
		if warned := strings.Contains(s.Warning, "managed by terraform"); warned == test.handed {
			t.Errorf("%s with %v: handed %v, and the warning is %q", s.Kind, test.fixes, s.Handed, s.Warning)
		}
		i := slices.IndexFunc(p.Owners(), func(o plan.Ownership) bool { return o.Owner == "terraform" })
		if i < 0 || slices.Contains(p.Owners()[i].Handed, s.ID) != test.handed || slices.Contains(p.Owners()[i].Applied, s.ID) == test.handed {
			t.Errorf("%s is not where it belongs among %+v", s.ID, p.Owners())
		}
	}
}

func TestWithoutOwnersOnlyThePolicyHandsOver(t *testing.T) {
	x := newScene(2)
	x.p.Fixes = map[string]string{"recovery-group": "hand", "timer-role": "hand", "recovery-key": "hand"}
	p := x.make(t)
	got := p.Owners()
	if len(got) != 1 || got[0].Owner != "" || got[0].Applied != nil {
		t.Fatalf("owners: %+v", got)
	}
	var kinds []plan.Kind
	for _, id := range got[0].Handed {
		_, s := p.Step(id)
		kinds = append(kinds, s.Kind)
	}
	if diff := cmp.Diff([]plan.Kind{plan.TimerRole, plan.RecoveryGroup, plan.RecoveryKey, plan.RecoveryKey}, kinds); diff != "" {
		t.Error(diff)
	}
	if got := newScene(2).make(t).Owners(); len(got) != 0 {
		t.Errorf("a plan in which everything is done here has owners: %+v", got)
	}
}

// An instance that an Auto Scaling group replaces comes from its template: who
// owns group or template owns it.
func TestInstancesBelongToWhatStartsThem(t *testing.T) {
	for name, mark := range map[string]func(x *scene, tags map[string]string){
		"group":    func(x *scene, tags map[string]string) { x.region().ScalingGroups.Value[0].Tags = tags },
		"template": func(x *scene, tags map[string]string) { x.region().Templates.Value[0].Tags = tags },
	} {
		x := newScene(1)
		x.s.Hosts[0].ProfileARN, x.s.Hosts[0].AutoScalingGroup = "", "web"
		x.block(0, "profile-missing", "")
		x.region().ScalingGroups = known([]fleet.ScalingGroup{{Name: "web", Template: fleet.LaunchTemplateRef{ID: "lt-1", Version: "1"}}})
		x.region().Templates = known([]fleet.LaunchTemplate{{ID: "lt-1", Name: "web", Default: 1, Latest: 1, Versions: []fleet.TemplateVersion{{Number: 1}}}})
		mark(x, map[string]string{"aws:cloudformation:stack-name": "web"})
		p := x.make(t)
		if s := one(t, p, plan.AttachProfile); s.Owner != "cloudformation web" || !s.Handed {
			t.Errorf("%s: owner %q, handed %v", name, s.Owner, s.Handed)
		}
		if name == "template" && !strings.Contains(refusal(t, p, "template-undoes").Do, "cloudformation web") {
			t.Errorf("the note on the template does not name its owner: %+v", refusal(t, p, "template-undoes"))
		}
	}
}

// What the owner does about a step that is left to it does not make the plan stale.
func TestOwnersDoNotMakePlansStale(t *testing.T) {
	x := newScene(2)
	x.s.Hosts[0].ProfileARN = ""
	x.block(0, "profile-missing", "")
	x.region().Preferences = known(fleet.Preferences{Exists: true, Content: `{"schemaVersion":"1.0","inputs":{"kmsKeyId":"alias/x"}}`})
	x.block(1, "kms-key-unusable", "")
	for _, fix := range []string{"hand", "apply"} {
		x.p.Fixes = map[string]string{"attach-profile": fix, "session-preferences": fix}
		p := x.make(t)
		later := *x.s
		later.Hosts = slices.Clone(x.s.Hosts)
		later.Hosts[0].ProfileARN = "arn:aws:iam::" + account + ":instance-profile/corp"
		later.Regions = slices.Clone(x.s.Regions)
		for content, stale := range map[string]bool{`{"schemaVersion":"1.0","inputs":{"idleSessionTimeout":"9"}}`: fix == "apply", `{"schemaVersion":"1.0","inputs":{"kmsKeyId":"alias/y"}}`: true} {
			later.Regions[0].Preferences = known(fleet.Preferences{Exists: true, Content: content})
			if got := p.Stale(&later); (len(got) > 0) != stale {
				t.Errorf("%s, then %s: %v", fix, content, got)
			}
		}
	}
}

// A restart that others make leaves no trace on the host: what is waited for is
// that the agent works.
func TestHandedRestartsWaitForTheAgentToWork(t *testing.T) {
	x := newScene(1)
	x.block(0, "channel-stale", "")
	x.p.Fixes = map[string]string{"agent": "hand"}
	p := x.make(t)
	if s := one(t, p, plan.WaitFor); s.Wait.Code != "channel-stale" || s.Handed || len(p.Of(plan.Agent)) != 0 {
		t.Errorf("%+v, and %d agent steps", s, len(p.Of(plan.Agent)))
	}
}
