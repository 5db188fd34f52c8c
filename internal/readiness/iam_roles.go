package readiness

import (
	"cmp"
	"fmt"
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
	context contextValues // what every session of the role has in its requests
	trusted answer        // EC2 may hand out its credentials
	bySSM   answer        // Systems Manager may, as Default Host Management Configuration needs
	scope   scope         // what its answers for the session actions depend on
	session map[string]*[len(sessionActions)]decision
	hosts   int // instances that get their credentials from it by a profile
	regions int // account and Region pairs where it is Default Host Management Configuration's role

	asked      map[string]decision // memo of ask
	mustChange bool                // a host needs it changed, though it serves an application too
	disagrees  []disagreement      // where IAM's simulation says otherwise
	servesMemo *string
	beyondMemo map[string][]string // by ARN of the other role
	inRegions  map[string]bool     // of the hosts that use it by a profile
}

// scope says which hosts share an answer about their role.
type scope int

const (
	sameForAll scope = iota
	perRegion
	perHost
)

// authority answers what IAM users and roles may do. It is not safe for concurrent use.
type authority struct {
	accounts map[string][]*fleet.Account
	profiles map[string]*fleet.InstanceProfile
	roles    map[string]*roleView // account ID and role name
	order    []*roleView          // as the snapshot lists them
	users    []*userView          // likewise
	policies map[string]fleet.Policy
	bindings map[string]*binding // by ARN of the permissions boundary

	parsed      map[string]policyText // by ARN
	levels      map[string][]controls // by account ID
	sims        map[simulationKey]*fleet.Simulation
	openSession map[string]bool                  // by host ID: some session is open
	openShell   map[string]*fleet.ManagedSession // by host ID: the latest open one of the preferences' document

	hostsOfAccount map[string]int
	runAs          map[string]*runAsTags // by account ID
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
		parsed:   map[string]policyText{},
		levels:   map[string][]controls{},
		sims:     map[simulationKey]*fleet.Simulation{},

		openSession: map[string]bool{},
		openShell:   map[string]*fleet.ManagedSession{},

		hostsOfAccount: map[string]int{},
		runAs:          map[string]*runAsTags{},
	}
	for i := range s.Regions {
		for k := range s.Regions[i].Sessions.Value {
			a.addSession(&s.Regions[i].Sessions.Value[k])
		}
	}
	for i := range s.Accounts {
		acct := &s.Accounts[i]
		a.accounts[acct.ID] = append(a.accounts[acct.ID], acct)
		if _, read := a.levels[acct.ID]; !read && acct.ControlLevels.Known {
			a.levels[acct.ID] = controlsOf(acct.ControlLevels)
		}
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
		a.addSimulations(acct)
	}
	seen := map[string]bool{}
	for i := range s.Accounts {
		acct := &s.Accounts[i]
		for j := range acct.Roles.Value {
			r := &acct.Roles.Value[j]
			key := roleKey(fleet.ARNAccount(r.ARN), r.Name)
			if a.roles[key] == nil {
				a.roles[key] = a.view(acct, r)
				a.order = append(a.order, a.roles[key])
			}
		}
		for j := range acct.Users.Value {
			if u := &acct.Users.Value[j]; !seen[u.ARN] {
				seen[u.ARN] = true
				a.users = append(a.users, a.user(acct, u))
			}
		}
	}
	return a
}

// addSession notes a session that is open. Any proves the data channel; only
// shells of the preferences' document, which is the one where none is named,
// prove what the preferences ask for: forwarded ports and SSH need neither the
// key nor the logs. Sources: AWS Systems Manager User Guide,
// session-manager-logging; AWS Systems Manager API Reference, StartSession.
func (a *authority) addSession(x *fleet.ManagedSession) {
	if x.Status != "Connected" {
		return
	}
	a.openSession[x.Target] = true
	shell := x.Document == fleet.PreferencesName || x.Document == ""
	if last := a.openShell[x.Target]; shell && (last == nil || x.Start.After(last.Start)) {
		a.openShell[x.Target] = x
	}
}

// view gives what a role may do. Whether session policies narrow one of its
// sessions is not known to anybody but who started it.
func (a *authority) view(acct *fleet.Account, r *fleet.Role) *roleView {
	v := &roleView{role: r, account: acct, trusted: trusts(r.Trust, "ec2"), bySSM: trusts(r.Trust, "ssm"), asked: map[string]decision{}, inRegions: map[string]bool{}, beyondMemo: map[string][]string{}}
	v.may = a.permissions(r.Inline, r.Attached, r.Boundary)
	if !strings.Contains(r.ARN, ":role/aws-service-role/") { // service control policies do not bind service-linked roles
		v.may.levels = a.levels[acct.ID]
	}
	v.context = principalValues(r.ARN, "AssumedRole", r.Tags)
	v.context["aws:username"] = nil
	v.session = map[string]*[len(sessionActions)]decision{}
	for _, action := range sessionActions {
		v.scope = max(v.scope, v.scopeOf(action, action == sessionActions[0]))
	}
	return v
}

// scopeOf says on what the answer for an action depends; named says that the
// action's resource differs between hosts.
func (v *roleView) scopeOf(action string, named bool) scope {
	resource, keys := v.may.depends(action)
	if resource && named {
		return perHost
	}
	return v.scopeOfKeys(keys, nil)
}

// scopeOfKeys says which hosts of the role have the same values of condition
// keys; shared are such that they have the same.
func (v *roleView) scopeOfKeys(keys []string, shared contextValues) scope {
	s := sameForAll
	for _, key := range keys {
		_, ofRole := v.context.value(key)
		_, ofAll := shared.value(key)
		switch {
		case ofRole, ofAll && !strings.HasPrefix(key, "kms:encryptioncontext:"), strings.HasPrefix(key, "aws:principaltag/"):
		case key == "aws:requestedregion":
			s = perRegion
		default:
			return perHost
		}
	}
	return s
}

// memoKey names the hosts that share an answer with a host.
func (s scope) memoKey(h *fleet.Host) string {
	switch s {
	case sameForAll:
		return ""
	case perRegion:
		return h.Region
	}
	return h.ID
}

// decide answers all session actions for one host.
func (v *roleView) decide(h *fleet.Host) [len(sessionActions)]decision {
	key := v.scope.memoKey(h)
	if known, ok := v.session[key]; ok {
		return *known
	}
	var out [len(sessionActions)]decision
	for i, action := range sessionActions {
		resource, ctx := agentRequest(v.role.ARN, h, i)
		out[i] = v.may.decide(action, resource, append(ctx, v.values(h)...))
	}
	v.session[key] = &out
	return out
}

// ask answers one action on one resource for a host that uses the role.
func (a *authority) ask(v *roleView, h *fleet.Host, action, resource string) decision {
	key := v.scopeOf(action, false).memoKey(h) + " " + action + " " + resource
	if d, ok := v.asked[key]; ok {
		return d
	}
	d := a.settle(v, action, resource == "*", v.may.decide(action, resource, v.request(h)))
	v.asked[key] = d
	return d
}

// request is what is known of a host's request to a service other than the
// agent's own.
func (v *roleView) request(h *fleet.Host) requestContext {
	return append(requestContext{{"aws:requestedregion": {h.Region}}}, v.values(h)...)
}

// values is what is known of every request that a host makes with the role:
// its session has the instance's ID as its name and no tags of its own.
// Source: IAM User Guide, reference_policies_variables (principaltable).
func (v *roleView) values(h *fleet.Host) requestContext {
	own := contextValues{"aws:principaltag/": nil, "aws:sourceidentity": nil}
	if v.role.ID != "" {
		own["aws:userid"] = []string{v.role.ID + ":" + h.ID}
	}
	return requestContext{v.context, own}
}

// agentRequest is what is known of an agent's request for one of the session
// actions, in the partition of a known ARN. The agent always speaks TLS. Only
// the first two actions know the source instance.
// Source: AWS Service Authorization Reference, ssm and ssmmessages.
func agentRequest(arn string, h *fleet.Host, action int) (resource string, ctx requestContext) {
	self := instanceARN(arn, h)
	values := contextValues{"aws:requestedregion": {h.Region}, "aws:securetransport": {"true"}}
	if action < 2 {
		values["ec2:sourceinstancearn"], values["ssm:sourceinstancearn"] = []string{self}, []string{self}
	}
	if action == 0 {
		return self, requestContext{values}
	}
	return "*", requestContext{values}
}

// instanceARN names a host as IAM sees it, in the partition of a known ARN.
func instanceARN(arn string, h *fleet.Host) string {
	return "arn:" + partitionOf(arn) + ":ec2:" + h.Region + ":" + h.Account + ":instance/" + h.ID
}

// partitionOf is the partition that an ARN is of; "aws" when it is none.
func partitionOf(arn string) string {
	if parts := strings.SplitN(arn, ":", 3); len(parts) == 3 {
		return parts[1]
	}
	return "aws"
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
	return a.roles[roleKey(fleet.ARNAccount(p.ARN), p.Role)]
}

// countUsers notes who uses which role and which permissions boundary.
func (a *authority) countUsers(s *fleet.Snapshot) {
	for i := range s.Hosts {
		h := &s.Hosts[i]
		a.hostsOfAccount[h.Account]++
		if v := a.ofHost(h); v != nil {
			v.hosts++
			v.inRegions[h.Region] = true
		}
	}
	for i := range s.Regions {
		r := &s.Regions[i]
		if name := r.DefaultRole.Value; r.DefaultRole.Known && name != "" {
			if v := a.byName(cmp.Or(fleet.ARNAccount(name), r.Account), name); v != nil {
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
	text := fmt.Sprintf("permissions boundary %s binds %s%s with %s", arn, least, fleet.Count(b.roles, "role"), fleet.Count(b.hosts, "host"))
	if b.regions > 0 {
		text += fmt.Sprintf(", and every host without a profile in %s", fleet.Count(b.regions, "Region"))
	}
	return text
}

// blast says who shares the role.
func (v *roleView) blast() string {
	b := fmt.Sprintf("role %s is used by %s through instance profiles", v.role.Name, fleet.Count(v.hosts, "host"))
	if v.regions > 0 {
		b += fmt.Sprintf(" and by every host without a profile in %s through Default Host Management Configuration", fleet.Count(v.regions, "Region"))
	}
	return b
}

func roleKey(account, name string) string { return account + "/" + name }
