package simfleet

import (
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// credentials says whether the agent works with Default Host Management
// Configuration's role, or why it has no credentials that register it. Keys in
// root's credentials file come first (aws/amazon-ssm-agent#526), then the
// profile; the agent falls back to the default role only when the profile does
// not permit ssm:UpdateInstanceInformation.
func (w *World) credentials(in *Instance) (byDefault bool, reason string) {
	const register = "ssm:UpdateInstanceInformation"
	if reason := in.metadataReason(); reason != "" {
		return false, reason
	}
	if by := in.Machine.RootCredentials; by != "" {
		if !in.Region.Account.principalAllows(by, foreignRequest(in, register)) {
			return false, rootCredentials + " makes the agent " + by + ", who may not " + register
		}
		return false, ""
	}
	if w.Permits(in, register) {
		return false, ""
	}
	r := in.Region.defaultRole()
	switch {
	case r == nil:
		return false, "no role permits " + register
	case versionLess(in.Agent.Version, firstWithDefaultRole):
		return false, "the agent is too old for the default role"
	case !in.Region.Account.roleAllows(r, instanceRequest(in, register)):
		return false, "the default role does not permit " + register
	}
	return true, ""
}

// allowed reports whether the credentials that the agent works with permit an action.
func (w *World) allowed(in *Instance, action string) bool {
	return w.allowedOn(in, instanceRequest(in, action))
}

// allowedOn is allowed for a request on a resource other than the instance.
func (w *World) allowedOn(in *Instance, q request) bool {
	byDefault, reason := w.credentials(in)
	a := in.Region.Account
	switch {
	case reason != "":
		return false
	case in.Machine.RootCredentials != "":
		delete(q.context, "ec2:sourceinstancearn")
		delete(q.context, "ssm:sourceinstancearn")
		return a.principalAllows(in.Machine.RootCredentials, q)
	case byDefault:
		return a.roleAllows(in.Region.defaultRole(), q)
	}
	r := a.profileRole(in.Host.ProfileARN)
	return r != nil && trusts(r, "ec2.amazonaws.com") && a.roleAllows(r, q)
}

// principal is the ARN of the role or user whose credentials the agent works
// with; empty without any.
func (w *World) principal(in *Instance) string {
	byDefault, reason := w.credentials(in)
	switch {
	case reason != "":
		return ""
	case in.Machine.RootCredentials != "":
		return in.Machine.RootCredentials
	case byDefault:
		return in.Region.defaultRole().ARN
	}
	return in.Region.Account.profileRole(in.Host.ProfileARN).ARN
}

// foreignRequest is a request for the instance by somebody whose credentials
// EC2 did not hand to it.
func foreignRequest(in *Instance, action string) request {
	q := instanceRequest(in, action)
	delete(q.context, "ec2:sourceinstancearn")
	delete(q.context, "ssm:sourceinstancearn")
	return q
}

// principalAllows evaluates the policies of one of the account's roles or
// users; anybody else is allowed nothing.
func (a *Account) principalAllows(arn string, q request) bool {
	if r := find(a.Roles, func(r *fleet.Role) bool { return r.ARN == arn }); r != nil {
		return a.roleAllows(r, q)
	}
	u := find(a.Users, func(u *fleet.IAMUser) bool { return u.ARN == arn })
	if u == nil {
		return false
	}
	// What a user may do is what a role with the same policies may.
	r := &fleet.Role{ARN: u.ARN, Inline: map[string]string{}, Attached: slices.Clone(u.Attached), Boundary: u.Boundary}
	for name, text := range u.Inline {
		r.Inline["user "+name] = text
	}
	for _, name := range u.Groups {
		g := find(a.Groups, func(g *fleet.IAMGroup) bool { return g.Name == name })
		if g == nil {
			continue
		}
		r.Attached = append(r.Attached, g.Attached...)
		for policy, text := range g.Inline {
			r.Inline["group "+name+" "+policy] = text
		}
	}
	return a.roleAllows(r, q)
}

// metadataAddress is where the instance metadata service answers.
const metadataAddress = "169.254.169.254"

// metadataReason gives what keeps the agent from the instance metadata service.
func (in *Instance) metadataReason() string {
	options := in.Host.Metadata
	if options.Endpoint == "disabled" {
		return "the instance metadata service is off"
	}
	if proxy := proxyFor(in.Agent.Proxy, "http", metadataAddress); proxy != "" {
		return "the proxy " + proxy + " answers for " + metadataAddress
	}
	// The limit holds for the answer that brings the token. Agents of old go on
	// without one where the instance lets them.
	withoutToken := options.Tokens != "required" && versionLess(in.Agent.Version, firstWithoutMetadataV1)
	if in.Machine.Container && options.HopLimit < 2 && !withoutToken {
		return "the metadata service's token does not reach the agent's container: the hop limit is 1"
	}
	return ""
}

// proxyFor gives the proxy that a program with these variables uses for a host;
// empty when it connects directly. The names are in lower case.
func proxyFor(env map[string]string, scheme, host string) string {
	proxy := env[scheme+"_proxy"]
	if proxy == "" || bypassed(env["no_proxy"], host) {
		return ""
	}
	return proxy
}

// bypassed reports whether no_proxy lists a host: by name, by a suffix of it
// that starts at a dot, or by "*".
func bypassed(list, host string) bool {
	for entry := range strings.SplitSeq(list, ",") {
		entry = strings.TrimPrefix(strings.TrimSpace(entry), ".")
		if entry == "*" || entry != "" && (host == entry || strings.HasSuffix(host, "."+entry)) {
			return true
		}
	}
	return false
}
