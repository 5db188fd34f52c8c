package readiness

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// sessionActions are the five actions that an agent's role must be allowed
// for Session Manager, in the order in which the agent uses them.
// Source: AWS Systems Manager User Guide, getting-started-create-iam-instance-profile.
var sessionActions = [...]string{
	"ssm:UpdateInstanceInformation",
	"ssmmessages:CreateControlChannel",
	"ssmmessages:OpenControlChannel",
	"ssmmessages:CreateDataChannel",
	"ssmmessages:OpenDataChannel",
}

// heartbeatActions and controlActions count the leading sessionActions that a
// heartbeat, and an open control channel, prove to be allowed.
const (
	heartbeatActions = 1
	controlActions   = 3
)

// roleView is a role with its policies parsed once for all hosts that use it.
type roleView struct {
	role    *fleet.Role
	account *fleet.Account
	may     permissions
	trusted answer // EC2 may hand out its credentials
	perHost bool   // the answer depends on which instance asks
	session *[len(sessionActions)]decision
	hosts   int // instances that get their credentials from it by a profile
	regions int // account and Region pairs where it is Default Host Management Configuration's role
}

// authority answers what roles may do. It is not safe for concurrent use.
type authority struct {
	accounts map[string][]*fleet.Account
	profiles map[string]*fleet.InstanceProfile
	roles    map[string]*roleView // account ID and role name
	order    []*roleView          // as the snapshot lists them
	policies map[string]fleet.Policy
	bindings map[string]*binding // by ARN of the permissions boundary
}

// binding is how many roles and hosts a permissions boundary binds.
type binding struct {
	roles, hosts, regions int
	partial               bool // roles may be missing
}

func newAuthority(s *fleet.Snapshot) *authority {
	a := &authority{
		accounts: map[string][]*fleet.Account{},
		profiles: map[string]*fleet.InstanceProfile{},
		roles:    map[string]*roleView{},
		policies: map[string]fleet.Policy{},
		bindings: map[string]*binding{},
	}
	for i := range s.Accounts {
		acct := &s.Accounts[i]
		a.accounts[acct.ID] = append(a.accounts[acct.ID], acct)
		for _, p := range acct.Policies.Value {
			// AWS's own policies appear in every account; one readable copy will do.
			if old, seen := a.policies[p.ARN]; !seen || !old.Document.Known {
				a.policies[p.ARN] = p
			}
		}
		for j := range acct.Profiles.Value {
			p := &acct.Profiles.Value[j]
			a.profiles[p.ARN] = p
		}
	}
	for i := range s.Accounts {
		acct := &s.Accounts[i]
		for j := range acct.Roles.Value {
			r := &acct.Roles.Value[j]
			key := roleKey(arnAccount(r.ARN), r.Name)
			if a.roles[key] == nil {
				a.roles[key] = a.view(acct, r)
				a.order = append(a.order, a.roles[key])
			}
		}
	}
	return a
}

func (a *authority) view(acct *fleet.Account, r *fleet.Role) *roleView {
	v := &roleView{role: r, account: acct, trusted: trusts(r.Trust)}
	for _, name := range slices.Sorted(maps.Keys(r.Inline)) {
		v.may.identity = append(v.may.identity, readPolicy("inline policy "+name, r.Inline[name]))
	}
	for _, arn := range r.Attached {
		v.may.identity = append(v.may.identity, a.managed(arn))
	}
	if r.Boundary != "" {
		b := a.managed(r.Boundary)
		v.may.boundary = &b
		v.perHost = narrows(b.doc)
	}
	for _, t := range v.may.identity {
		v.perHost = v.perHost || narrows(t.doc)
	}
	return v
}

func (a *authority) managed(arn string) policyText {
	p, ok := a.policies[arn]
	switch {
	case !ok:
		return policyText{name: "policy " + arn, gap: "it was not listed"}
	case !p.Document.Known:
		return policyText{name: "policy " + arn, gap: cmp.Or(p.Document.Reason, "its document was not read")}
	}
	return readPolicy("policy "+arn, p.Document.Value)
}

// narrows reports whether a document may tell hosts apart: by a condition, or,
// of the session actions only for ssm:UpdateInstanceInformation, by a resource.
// Source: AWS Service Authorization Reference, ssm and ssmmessages.
func narrows(d document) bool {
	for _, s := range d.statements {
		everything := len(s.resources) == 1 && s.resources[0] == "*" && !s.notResource
		if s.condition != nil || !everything && s.names(sessionActions[0]) {
			return true
		}
	}
	return false
}

// decide answers all session actions for one host.
func (v *roleView) decide(h *fleet.Host) [len(sessionActions)]decision {
	if v.session != nil {
		return *v.session
	}
	var out [len(sessionActions)]decision
	for i, action := range sessionActions {
		resource, ctx := agentRequest(v.role.ARN, h, i)
		out[i] = v.may.decide(action, resource, ctx)
	}
	if !v.perHost {
		v.session = &out
	}
	return out
}

// agentRequest is what is known of an agent's request for one of the session
// actions, in the partition of a known ARN. The agent always speaks TLS. Only
// the first two actions know the source instance.
// Source: AWS Service Authorization Reference, ssm and ssmmessages.
func agentRequest(arn string, h *fleet.Host, action int) (resource string, ctx requestContext) {
	self := instanceARN(arn, h)
	ctx = requestContext{"aws:requestedregion": h.Region, "aws:securetransport": "true"}
	if action < 2 {
		ctx["ec2:sourceinstancearn"], ctx["ssm:sourceinstancearn"] = self, self
	}
	if action == 0 {
		return self, ctx
	}
	return "*", ctx
}

// instanceARN names a host as IAM sees it, in the partition of a known ARN.
func instanceARN(arn string, h *fleet.Host) string {
	partition := "aws"
	if parts := strings.SplitN(arn, ":", 3); len(parts) == 3 {
		partition = parts[1]
	}
	return "arn:" + partition + ":ec2:" + h.Region + ":" + h.Account + ":instance/" + h.ID
}

// byName finds a role by the name, path or ARN that Systems Manager gives it.
func (a *authority) byName(account, name string) *roleView {
	return a.roles[roleKey(account, name[strings.LastIndexByte(name, '/')+1:])]
}

// ofHost finds the role of a host's instance profile; nil when it is not known.
func (a *authority) ofHost(h *fleet.Host) *roleView {
	p := a.profiles[h.ProfileARN]
	if p == nil || p.Role == "" {
		return nil
	}
	return a.roles[roleKey(arnAccount(p.ARN), p.Role)]
}

// countUsers notes who uses which role and which permissions boundary.
func (a *authority) countUsers(s *fleet.Snapshot) {
	for i := range s.Hosts {
		if v := a.ofHost(&s.Hosts[i]); v != nil {
			v.hosts++
		}
	}
	for i := range s.Regions {
		r := &s.Regions[i]
		if name := r.DefaultRole.Value; r.DefaultRole.Known && name != "" {
			if v := a.byName(cmp.Or(arnAccount(name), r.Account), name); v != nil {
				v.regions++
			}
		}
	}
	for _, v := range a.order {
		if v.role.Boundary == "" {
			continue
		}
		b := a.bindings[v.role.Boundary]
		if b == nil {
			b = &binding{}
			a.bindings[v.role.Boundary] = b
		}
		b.roles++
		b.hosts += v.hosts
		b.regions += v.regions
		b.partial = b.partial || !v.account.Roles.Known
	}
}

// boundaryBlast says whom a permissions boundary binds.
func (a *authority) boundaryBlast(arn string) string {
	b := a.bindings[arn]
	if b == nil {
		return fmt.Sprintf("whom permissions boundary %s binds is not known", arn)
	}
	least := ""
	if b.partial {
		least = "at least "
	}
	text := fmt.Sprintf("permissions boundary %s binds %s%s with %s", arn, least, plural(b.roles, "role"), plural(b.hosts, "host"))
	if b.regions > 0 {
		text += fmt.Sprintf(", and every host without a profile in %s", plural(b.regions, "Region"))
	}
	return text
}

// blast says who shares the role.
func (v *roleView) blast() string {
	b := fmt.Sprintf("role %s is used by %s through instance profiles", v.role.Name, plural(v.hosts, "host"))
	if v.regions > 0 {
		b += fmt.Sprintf(" and by every host without a profile in %s through Default Host Management Configuration", plural(v.regions, "Region"))
	}
	return b
}

func roleKey(account, name string) string { return account + "/" + name }

// arnAccount is the account ID in an ARN; empty when it has none.
func arnAccount(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 {
		return ""
	}
	return parts[4]
}
