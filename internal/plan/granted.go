package plan

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
)

// GrantedBy says whether a role, as it is now, may do what the change would let
// it do, by whatever policies, and trusts whom it would trust: as narrow as the
// change or wider. Hosts are those that use the role; none: a service does.
// Policies are the documents of the role's managed policies. Why says what is
// missing, or not known.
func (c *RoleChange) GrantedBy(role fleet.Role, policies []fleet.Policy, at fleet.Place, hosts []fleet.HostRef) (granted fleet.Truth, why string) {
	if c.Trust != "" {
		t, err := readDocument(c.Trust)
		if err != nil {
			return fleet.TruthUnknown, err.Error()
		}
		for _, s := range t {
			service := strings.TrimSuffix(fmt.Sprint(s.Principal["Service"]), ".amazonaws.com")
			if got := readiness.RoleTrusts(role.Trust, service, s.conditions()); got != fleet.TruthYes {
				return got, fmt.Sprintf("whether role %s trusts %s: %s", clip(role.Name), service, got)
			}
		}
	}
	return grantedAll(c.Document, role, policies, at, hosts)
}

// GrantedBy says whether a role of an instance profile gives a host what the
// profile that the change would attach gives it: credentials for sessions.
func (c *ProfileChange) GrantedBy(role fleet.Role, policies []fleet.Policy, h fleet.HostRef) (granted fleet.Truth, why string) {
	if got := readiness.RoleTrusts(role.Trust, "ec2", nil); got != fleet.TruthYes {
		return got, fmt.Sprintf("whether role %s trusts EC2: %s", clip(role.Name), got)
	}
	text := c.Policy
	if text == "" {
		text = allowing(on("*", readiness.SessionActions()...))
	}
	return grantedAll(text, role, policies, h.Place(), []fleet.HostRef{h})
}

// GrantedBy says whether a role that Default Host Management Configuration has
// gives hosts credentials for sessions.
func (c *SettingChange) GrantedBy(role fleet.Role, policies []fleet.Policy, at fleet.Place, hosts []fleet.HostRef) (granted fleet.Truth, why string) {
	if got := readiness.RoleTrusts(role.Trust, "ssm", nil); got != fleet.TruthYes {
		return got, fmt.Sprintf("whether role %s trusts Systems Manager: %s", clip(role.Name), got)
	}
	return grantedAll(allowing(on("*", readiness.SessionActions()...)), role, policies, at, hosts)
}

// grantedAll asks the role for every action of a document on every resource of it.
func grantedAll(text string, role fleet.Role, policies []fleet.Policy, at fleet.Place, hosts []fleet.HostRef) (granted fleet.Truth, why string) {
	want, err := readDocument(text)
	if err != nil {
		return fleet.TruthUnknown, err.Error()
	}
	if len(hosts) == 0 {
		hosts = []fleet.HostRef{{Account: at.Account, Region: at.Region}}
	}
	granted = fleet.TruthYes
	for _, x := range asked(want) {
		for _, h := range hosts {
			switch readiness.RoleAllows(&role, policies, requester(h, x.resource), x.action, x.resource, x.known) {
			case fleet.TruthNo:
				return fleet.TruthNo, fmt.Sprintf("role %s may not do %s on %s", clip(role.Name), x.action, clip(x.resource))
			case fleet.TruthUnknown:
				granted, why = fleet.TruthUnknown, fmt.Sprintf("whether role %s may do %s on %s is not known", clip(role.Name), x.action, clip(x.resource))
			}
		}
	}
	return granted, why
}

// request is one thing that a role is to be allowed.
type request struct {
	grant
	known map[string]string
}

func asked(want []statement) []request {
	var out []request
	for _, s := range want {
		for _, pattern := range s.Resource {
			for _, resource := range instances(pattern) {
				for _, action := range s.Action {
					out = append(out, request{grant: grant{action: action, resource: resource}, known: s.conditions()})
				}
			}
		}
	}
	return out
}

// requester is a host as the evaluator wants it. A service asks in the Region of
// the resource.
func requester(h fleet.HostRef, resource string) *fleet.Host {
	if parts := strings.Split(resource, ":"); h.Region == "" && len(parts) > 3 {
		h.Region = parts[3]
	}
	return &fleet.Host{ID: h.ID, Account: h.Account, Region: h.Region}
}

// instances are resources that only a policy allows both of that allows all that
// a pattern of resources means.
func instances(resource string) []string {
	if resource == "*" || !strings.Contains(resource, "*") {
		return []string{resource}
	}
	return []string{strings.ReplaceAll(resource, "*", "0"), strings.ReplaceAll(resource, "*", "any-1a2b3c4d5e6f")}
}

// readDocument reads a policy document of this package.
func readDocument(text string) ([]statement, error) {
	var d struct{ Statement []statement }
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return nil, fmt.Errorf("the step's policy is not understood: %w", err)
	}
	if len(d.Statement) == 0 || slices.ContainsFunc(d.Statement, func(s statement) bool { return s.Effect != "Allow" }) {
		return nil, fmt.Errorf("the step's policy does not only allow")
	}
	return d.Statement, nil
}

// conditions are the values that a statement of this package asks for.
func (s statement) conditions() map[string]string {
	out := map[string]string{}
	equals, _ := s.Condition["StringEquals"].(map[string]any)
	for k, v := range equals {
		out[k] = fmt.Sprint(v)
	}
	return out
}
