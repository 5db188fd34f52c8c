package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
)

// What migrate calls what it makes in IAM.
const (
	ownProfile = "migrate-session-manager" // instance profile, its role and the policy in it
	timerRole  = "migrate-rule-timer"
)

// grant is an action on a resource.
type grant struct{ action, resource string }

// statement is one statement of a policy document.
type statement struct {
	Effect    string         `json:"Effect"`
	Principal map[string]any `json:"Principal,omitempty"`
	Action    []string       `json:"Action"`
	Resource  []string       `json:"Resource,omitempty"`
	Condition map[string]any `json:"Condition,omitempty"`
}

func document(statements ...statement) string {
	text, err := json.Marshal(struct {
		Version   string      `json:"Version"`
		Statement []statement `json:"Statement"`
	}{"2012-10-17", statements})
	if err != nil {
		panic("plan: policy document: " + err.Error()) // strings, lists and maps of them always encode
	}
	return string(text)
}

// allowing is a policy document with one statement for each resource.
func allowing(grants []grant) string {
	byResource := map[string][]string{}
	for _, g := range grants {
		byResource[g.resource] = addOnce(byResource[g.resource], g.action)
	}
	var out []statement
	for _, r := range sortedKeys(byResource) {
		slices.Sort(byResource[r])
		out = append(out, statement{Effect: "Allow", Action: byResource[r], Resource: []string{r}})
	}
	return document(out...)
}

func on(resource string, actions ...string) []grant {
	out := make([]grant, 0, len(actions))
	for _, a := range actions {
		out = append(out, grant{action: a, resource: resource})
	}
	return out
}

// credentials answers for a host that nothing gives credentials.
func (m *maker) credentials(h *member) ([]want, string) {
	if m.policy.FixOf(AttachProfile) == FixNever && m.policy.FixOf(DefaultHostManagement) != FixNever {
		return m.defaultManagement(h)
	}
	if h.ProfileARN != "" {
		return nil, "it has a profile already, which gives no credentials: another cannot be put beside it"
	}
	acct := m.world.accounts[h.Account]
	if name := m.policy.Profile; name != "" && acct != nil && acct.Profiles.Known {
		if !slices.ContainsFunc(acct.Profiles.Value, func(p fleet.InstanceProfile) bool { return p.Name == name }) {
			return nil, fmt.Sprintf("account %s has no instance profile %s, which the policy names", h.Account, clip(name))
		}
	}
	return []want{{kind: AttachProfile}}, ""
}

func (m *maker) attach(h *member, s *Step) {
	c := &ProfileChange{Name: m.policy.Profile}
	s.After = []string{"instance profile " + c.Name}
	if c.Name == "" {
		grants := m.sessionGrants(h)
		c.Name, c.Create, c.Policy = ownProfile, true, allowing(grants)
		s.After = []string{"instance profile " + c.Name + " with the role of that name, which may " + actionsOf(grants)}
		s.Blast = "this host only; the profile and its role are made once in account " + h.Account + " for all hosts of the plan that need one"
	}
	s.Profile = c
	s.Title = fmt.Sprintf("Attach instance profile %s to %s", clip(c.Name), h.label())
	s.Before = []string{"no instance profile"}
}

// sessionGrants is what an agent of the host's account needs: the five session
// actions, those of Run Command for old agents, and what the preferences of the
// account's Regions ask for. It is the same for all hosts of an account.
// Source: AWS Systems Manager User Guide, getting-started-create-iam-instance-profile.
func (m *maker) sessionGrants(h *member) []grant {
	grants := on("*", readiness.SessionActions()...)
	for _, other := range m.hosts {
		if other.Account == h.Account && other.ProfileARN == "" && runCommand(other) != nil {
			grants = append(grants, on("*", readiness.CommandActions()...)...)
			break
		}
	}
	for _, at := range sortedPlaces(m.world.regions) {
		if at.Account == h.Account {
			grants = append(grants, m.preferenceGrants(at)...)
		}
	}
	return grants
}

// preferenceGrants is what an agent's role must be allowed for the session
// preferences of a Region.
func (m *maker) preferenceGrants(at fleet.Place) []grant {
	var grants []grant
	for _, n := range readiness.PreferenceNeeds(m.world.region(at)) {
		grants = append(grants, grant{action: n.Action, resource: n.Resource})
	}
	return grants
}

// neededToBegin are those of preferenceGrants without which no session begins:
// encryption, and what it is checked with. Source: as readiness has it for kms-decrypt-denied,
// log-check-denied and bucket-check-denied.
func (m *maker) neededToBegin(at fleet.Place) []grant {
	in, err := fleet.ParseSessionDocument(m.world.region(at).Preferences.Value.Content)
	if err != nil {
		return nil // then preferenceGrants has none
	}
	needs := slices.DeleteFunc(m.preferenceGrants(at), func(g grant) bool {
		switch g.action {
		case "logs:DescribeLogGroups":
			return !in.LogGroupEncrypted
		case "s3:GetEncryptionConfiguration":
			return !in.BucketEncrypted
		}
		return true
	})
	if in.Key != "" {
		needs = append(needs, grant{action: "kms:Decrypt", resource: in.Key})
	}
	return needs
}

// defaultManagement turns Default Host Management Configuration on. Source: AWS
// Systems Manager User Guide, fleet-manager-default-host-management-configuration.
func (m *maker) defaultManagement(h *member) ([]want, string) {
	at := h.Ref().Place()
	switch r := m.world.region(at); {
	case !r.DefaultRole.Known:
		return nil, "whether Default Host Management Configuration is on is not known"
	case r.DefaultRole.Value != "":
		return nil, "Default Host Management Configuration is on, but the host does not meet what it needs"
	case h.Metadata.Endpoint == "disabled":
		return nil, "Default Host Management Configuration needs the metadata service, which is off"
	}
	if below, ok := readiness.Below(agentVersion(h.Host), "3.2.582.0"); ok && below {
		return nil, "Default Host Management Configuration needs agent 3.2.582.0"
	}
	if needs := m.neededToBegin(at); len(needs) > 0 {
		return nil, fmt.Sprintf("the role of Default Host Management Configuration has %s, which lacks %s: by the Region's preferences no session begins without", DefaultHostPolicy, actionsOf(needs))
	}
	return []want{{kind: DefaultHostManagement, key: "default-host-management-" + at.Account + "-" + at.Region}}, ""
}

func (m *maker) settingStep(f *sharedFix, s *Step) {
	s.Setting = &SettingChange{Value: "service-role/AWSSystemsManagerDefaultEC2InstanceManagementRole", CreateRole: true}
	s.Title = fmt.Sprintf("Turn on Default Host Management Configuration in account %s, %s", f.at.Account, f.at.Region)
	s.Before, s.After = []string{"off"}, []string{"role " + s.Setting.Value}
	without := slices.DeleteFunc(slices.Clone(m.hosts), func(h *member) bool { return h.Ref().Place() != f.at || h.ProfileARN != "" || gone(h.Host) })
	s.Blast = "serves every instance of the account and Region without a working profile: at least " + beyond("", without)[1:]
}

// extend answers for a role that lacks actions on a resource.
func (m *maker) extend(h *member, role, resource string, actions []string) ([]want, string) {
	missing, stop := m.grants.Lacks(role, h.Host, resource, actions)
	if stop != "" {
		return nil, "adding to the role would not do: " + clip(stop)
	}
	if missing == nil {
		return nil, "the role's own policies are not what is in the way"
	}
	grants := on(resource, missing...)
	if slices.Equal(actions, readiness.SessionActions()) && runCommand(h) != nil {
		more, _ := m.grants.Lacks(role, h.Host, "*", readiness.CommandActions())
		grants = append(grants, on("*", more...)...)
	}
	return []want{{kind: ExtendRole, key: role, role: role, grants: grants}}, ""
}

// checks are what a finding about a role and the session preferences says that
// the role is denied; no session opens without it.
var checks = map[string]string{
	"kms-decrypt-denied": "kms:Decrypt", "log-check-denied": "logs:DescribeLogGroups", "bucket-check-denied": "s3:GetEncryptionConfiguration",
}

// extendForPreferences answers for a role that lacks what the preferences ask
// for. With what sessions do not open without, it gets what their logs need:
// otherwise sessions open, and their logs get lost.
func (m *maker) extendForPreferences(h *member, code string) ([]want, string) {
	role := m.grants.RoleOf(h.Host)
	if role == nil {
		return nil, "which role the agent uses is not known"
	}
	var grants []grant
	denied, asked := checks[code], false
	for _, g := range m.preferenceGrants(h.Ref().Place()) {
		got, why := m.extend(h, role.ARN, g.resource, []string{g.action})
		if g.action == denied {
			if asked = true; got == nil {
				return nil, why
			}
		}
		for _, w := range got {
			grants = append(grants, w.grants...)
		}
	}
	if !asked {
		return nil, "the key or bucket that the preferences name was not read"
	}
	return []want{{kind: ExtendRole, key: role.ARN, role: role.ARN, grants: grants}}, ""
}

func (m *maker) roleStep(f *sharedFix, s *Step) {
	name := f.role[strings.LastIndexByte(f.role, '/')+1:]
	s.Lane = "role-" + f.at.Account + "-" + name
	s.At = fleet.Place{Account: cmp.Or(fleet.ARNAccount(f.role), f.at.Account)}
	text := allowing(f.grants)
	s.Role = &RoleChange{Name: name, Policy: policyName(ownProfile, text), Document: text}
	s.Title = fmt.Sprintf("Let role %s do what sessions need", clip(name))
	for _, g := range f.grants {
		s.After = append(s.After, g.action+" on "+clip(g.resource))
	}
	s.Before = []string{"no inline policy " + s.Role.Policy}
	sharing := slices.DeleteFunc(slices.Clone(m.hosts), func(h *member) bool {
		r := m.grants.RoleOf(h.Host)
		return r == nil || r.ARN != f.role
	})
	s.Blast = beyond("role shared by", sharing)
}

// policyName names an inline policy by its text, so that a later plan's stands
// beside an earlier one's.
func policyName(prefix, text string) string {
	sum := sha256.Sum256([]byte(text))
	return prefix + "-" + hex.EncodeToString(sum[:4])
}

func actionsOf(grants []grant) string {
	var out []string
	for _, g := range grants {
		out = addOnce(out, g.action)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// timerRoleStep is the role that an account's rule timers assume: it may
// authorize ingress in the groups that the plan closes, and nothing else.
// Source: EventBridge Scheduler User Guide, setting-up (execution role) and
// cross-service-confused-deputy-prevention; Service Authorization Reference, Amazon EC2.
func (m *maker) timerRoleStep(account string, groups []*closing) Step {
	var arns []string
	part := fleet.Partition(groups[0].at.Region)
	for _, g := range groups {
		arns = append(arns, fmt.Sprintf("arn:%s:ec2:%s:%s:security-group/%s", part, g.at.Region, account, g.id))
	}
	slices.Sort(arns)
	if len(arns) > mostTimerGroups {
		arns = []string{fmt.Sprintf("arn:%s:ec2:*:%s:security-group/*", part, account)}
	}
	trust := TimerTrust(account)
	text := document(
		statement{Effect: "Allow", Action: []string{"ec2:AuthorizeSecurityGroupIngress"}, Resource: arns},
		statement{ // a recovery bastion that was opened is ended by a timer, too
			Effect: "Allow", Action: []string{"autoscaling:SetDesiredCapacity"},
			Resource: []string{fmt.Sprintf("arn:%s:autoscaling:*:%s:autoScalingGroup:*:autoScalingGroupName/%s", part, account, RecoveryName("*"))},
		},
		statement{
			Effect: "Allow", Action: []string{"ec2:CreateTags"}, Resource: []string{fmt.Sprintf("arn:%s:ec2:*:%s:security-group-rule/*", part, account)},
			Condition: map[string]any{"StringEquals": map[string]any{"ec2:CreateAction": "AuthorizeSecurityGroupIngress"}},
		},
	)
	change := &RoleChange{Name: timerRole, Trust: trust, Policy: policyName(timerRole, text), Document: text}
	for _, g := range groups {
		g.timerPolicy = change.Policy
	}
	return Step{
		Kind: TimerRole, Phase: Prepare, Lane: "role-" + account + "-" + timerRole, At: fleet.Place{Account: account},
		Title:  fmt.Sprintf("Make role %s in account %s, by which a timer opens port 22 again", timerRole, account),
		Before: []string{"no inline policy " + change.Policy + ", or no role " + timerRole},
		After:  []string{"ec2:AuthorizeSecurityGroupIngress on " + some(arns), "autoscaling:SetDesiredCapacity on " + RecoveryName("*"), "for scheduler.amazonaws.com in this account only"},
		Blast:  "nobody else: only timers of migrate assume the role",
		Role:   change,
	}
}

// TimerTrust is the trust policy of an account's timer role.
func TimerTrust(account string) string {
	return document(statement{
		Effect: "Allow", Principal: map[string]any{"Service": "scheduler.amazonaws.com"}, Action: []string{"sts:AssumeRole"},
		Condition: map[string]any{"StringEquals": map[string]any{"aws:SourceAccount": account}},
	})
}

// TimerGrant is what the timer role must be let do to open a group.
func TimerGrant(at fleet.Place, group string) string {
	return allowing(on(fmt.Sprintf("arn:%s:ec2:%s:%s:security-group/%s", fleet.Partition(at.Region), at.Region, at.Account, group), "ec2:AuthorizeSecurityGroupIngress"))
}

// mostTimerGroups is how many groups the timer role names one by one: an inline
// policy takes 10,240 characters. Source: IAM User Guide, reference_iam-quotas.
const mostTimerGroups = 100
