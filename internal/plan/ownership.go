package plan

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// managedBy are the tags that tell of infrastructure code unless a policy names
// others. Terraform, OpenTofu and Pulumi set none by themselves: these are what
// their users set as default tags.
var managedBy = []string{"managed*by=*terraform*", "managed*by=*tofu*", "managed*by=*pulumi*", "terraform=true", "opentofu=true"}

// Tags that CloudFormation sets on what its stacks make, those of the CDK and of
// SAM included; nobody else can set tags that begin with "aws:". Source: AWS
// CloudFormation User Guide, aws-properties-resource-tags.
const (
	tagStackName = "aws:cloudformation:stack-name"
	tagStackID   = "aws:cloudformation:stack-id"
)

// ownerOf tells from the tags of a thing whose code it is: "cloudformation
// STACK", else what the first of the patterns finds; empty: nobody's that is known.
func (p Policy) ownerOf(tags map[string]string) string {
	stack := tags[tagStackName]
	if parts := strings.Split(tags[tagStackID], "/"); stack == "" && len(parts) > 1 { // arn:…:stack/NAME/UUID
		stack = parts[1]
	}
	if stack != "" {
		return "cloudformation " + ownerName(stack)
	}
	for _, pattern := range p.ManagedBy {
		tag, value, _ := strings.Cut(strings.ToLower(pattern), "=")
		for _, k := range sortedKeys(tags) {
			name, has := strings.ToLower(k), strings.ToLower(tags[k])
			if !fits(tag, name) || !fits(value, has) {
				continue
			}
			if has = strings.TrimSpace(has); has == "" || has == "true" || has == "yes" || has == "1" {
				has = name // the tag itself names the tool
			}
			return ownerName(has)
		}
	}
	return ""
}

func ownerName(s string) string { return fleet.OneLine(s, 60) }

// validateManagedBy says which patterns are none.
func (p Policy) validateManagedBy() []error {
	var errs []error
	for i, text := range p.ManagedBy {
		tag, value, ok := strings.Cut(text, "=")
		_, badTag := path.Match(tag, "")
		_, badValue := path.Match(value, "")
		if !ok || strings.TrimSpace(tag) == "" || value == "" || badTag != nil || badValue != nil {
			errs = append(errs, fmt.Errorf("managed_by[%d]: %q is not TAG=PATTERN such as managed-by=terraform*", i, clip(text)))
		}
	}
	return errs
}

// own says whose code the thing is that a step changes, and leaves the step to
// them where the policy has it so.
func (m *maker) own(s *Step) {
	s.Owner = m.ownerOfStep(s)
	if m.plan.Purpose == Cutover && s.Kind != WaitFor { // waiting is all that WaitFor does
		s.Handed = m.policy.hands(s.Kind, s.Owner)
	}
	if s.Owner == "" || s.Handed {
		return
	}
	warning := "it is managed by " + s.Owner + ", whose next run may take this back: change it there as well"
	switch s.Kind {
	case ClosePort:
		warning = "the group is managed by " + s.Owner + ", whose next run may open the port again: take the rules out there as well; migrate drift tells if it is opened"
	case ScaleIn:
		warning = "the group is managed by " + s.Owner + ", whose next run may start the bastions again: set its sizes there as well"
	case RecoveryTemplate:
		warning = "the template is managed by " + s.Owner + ", whose next run may put the old key back: put the new one there as well"
	}
	if s.Warning != "" {
		warning = s.Warning + "; " + warning
	}
	s.Warning = warning
}

// hands reports whether steps of a kind on a thing of that owner are left to others.
func (p Policy) hands(k Kind, owner string) bool {
	v := p.FixOf(k)
	return v == FixHand || v == FixAuto && owner != ""
}

// ownerOfStep finds the owner of what a step changes. Steps that only make
// something of their own, or that work inside a host, change nothing that code
// of others describes.
func (m *maker) ownerOfStep(s *Step) string {
	switch s.Kind {
	case AttachProfile:
		return m.ownerOfHost(m.byID[s.Hosts[0].ID])
	case ExtendRole, TimerRole:
		return m.ownerOfRole(s.At.Account, s.Role.Name)
	case AllowEgress, RecoveryRule, ClosePort:
		return m.ownerOfGroup(s.Rules.Group)
	case CreateEndpoint:
		return m.ownerOfVPC(s.Endpoint.VPC)
	case SessionPreferences:
		return m.policy.ownerOf(m.world.region(s.At).Preferences.Value.Tags)
	case RecoveryGroup, RecoveryTemplate:
		return m.ownerOfBastion(s.At, s.Recovery)
	case ScaleIn:
		return m.ownerOfScaling(s.At, s.Scaling.Group)
	}
	return ""
}

// ownerOfHost is the owner of an instance: of what made it, where its own tags do not tell.
func (m *maker) ownerOfHost(h *member) string {
	if h == nil {
		return ""
	}
	if o := m.policy.ownerOf(h.Tags); o != "" {
		return o
	}
	if o := m.ownerOfScaling(h.Ref().Place(), h.AutoScalingGroup); o != "" {
		return o
	}
	if t, _ := m.world.template(h.Host); t != nil {
		return m.policy.ownerOf(t.Tags)
	}
	return ""
}

func (m *maker) ownerOfRole(account, name string) string {
	a := m.world.accounts[account]
	if a == nil {
		return ""
	}
	i := slices.IndexFunc(a.Roles.Value, func(r fleet.Role) bool { return r.Name == name })
	if i < 0 {
		return ""
	}
	return m.policy.ownerOf(a.Roles.Value[i].Tags)
}

// ownerOfGroup is the owner of a security group: of the endpoint that it guards,
// where its own tags do not tell.
func (m *maker) ownerOfGroup(id string) string {
	if g := m.world.groups[id]; g != nil {
		if o := m.policy.ownerOf(g.Tags); o != "" {
			return o
		}
	}
	return m.ownerOfEndpoint(func(e fleet.VPCEndpoint) bool { return slices.Contains(e.Groups, id) })
}

// ownerOfVPC is the owner of a VPC: of the interface endpoints that it has,
// where its own tags do not tell. Others of them are made where these are.
func (m *maker) ownerOfVPC(vpc string) string {
	if v := m.world.vpcs[vpc]; v != nil {
		if o := m.policy.ownerOf(v.Tags); o != "" {
			return o
		}
	}
	return m.ownerOfEndpoint(func(e fleet.VPCEndpoint) bool { return e.VPC == vpc && strings.EqualFold(e.Type, "Interface") })
}

// ownerOfEndpoint is the first owner of an endpoint that fits.
func (m *maker) ownerOfEndpoint(is func(fleet.VPCEndpoint) bool) string {
	for _, at := range sortedPlaces(m.world.regions) {
		for _, e := range m.world.regions[at].Endpoints.Value {
			if o := m.policy.ownerOf(e.Tags); o != "" && is(e) {
				return o
			}
		}
	}
	return ""
}

func (m *maker) ownerOfScaling(at fleet.Place, name string) string {
	for _, g := range m.world.region(at).ScalingGroups.Value {
		if name != "" && g.Name == name {
			return m.policy.ownerOf(g.Tags)
		}
	}
	return ""
}

// ownerOfBastion is the owner of a recovery bastion that is there already.
func (m *maker) ownerOfBastion(at fleet.Place, c *RecoveryChange) string {
	r := m.world.region(at)
	for _, g := range r.Groups.Value {
		if o := m.policy.ownerOf(g.Tags); o != "" && g.VPC == c.VPC && g.Name == c.Name {
			return o
		}
	}
	for _, t := range r.Templates.Value {
		if o := m.policy.ownerOf(t.Tags); o != "" && t.Name == c.Name {
			return o
		}
	}
	return m.ownerOfScaling(at, c.Name)
}

// Ownership is what a plan has to do with the things of one owner.
type Ownership struct {
	Owner   string   `json:"owner"`             // as in Step.Owner; empty: the policy hands over what nobody is known to own
	Handed  []string `json:"handed,omitempty"`  // IDs of steps that are left to the owner, in the plan's order
	Applied []string `json:"applied,omitempty"` // IDs of steps that change the owner's things all the same
}

// Owners lists who owns what the plan changes, and what is left to whom, by
// owner. What nobody is known to own and the plan does itself is not listed.
func (p *Plan) Owners() []Ownership {
	by := map[string]*Ownership{}
	for i := range p.Waves {
		for _, s := range p.Waves[i].Steps {
			if s.Owner == "" && !s.Handed {
				continue
			}
			o := by[s.Owner]
			if o == nil {
				o = &Ownership{Owner: s.Owner}
				by[s.Owner] = o
			}
			if s.Handed {
				o.Handed = append(o.Handed, s.ID)
			} else {
				o.Applied = append(o.Applied, s.ID)
			}
		}
	}
	out := []Ownership{}
	for _, k := range sortedKeys(by) {
		out = append(out, *by[k])
	}
	return out
}
