package simfleet

import "strings"

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
		if !in.Region.Account.principalAllows(by, in.agentRequest(register)) {
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
	who, ok := w.principal(in)
	return ok && in.Region.Account.judge(who, in.agentRequest(action)).yes()
}

// principal is the role or user whose credentials the agent works with; ok is
// false without any.
func (w *World) principal(in *Instance) (who principal, ok bool) {
	byDefault, reason := w.credentials(in)
	a := in.Region.Account
	switch {
	case reason != "":
		return who, false
	case in.Machine.RootCredentials != "":
		who, _, ok = a.principalOf(in.Machine.RootCredentials)
		return who, ok
	case byDefault:
		return a.rolePrincipal(in.Region.defaultRole()), true
	}
	return a.rolePrincipal(a.profileRole(in.Host.ProfileARN)), true
}

// agentRequest is a request by the agent. Keys from a file do not tell from
// which instance they are used.
func (in *Instance) agentRequest(action string) request {
	q := instanceRequest(in, action)
	if in.Machine.RootCredentials != "" {
		delete(q.context, "ec2:sourceinstancearn")
		delete(q.context, "ssm:sourceinstancearn")
		q.session, q.principal = "", in.Machine.RootCredentials
	}
	return q
}

// principalAllows asks the policies of one of the account's roles or users;
// anybody else is allowed nothing.
func (a *Account) principalAllows(arn string, q request) bool {
	who, _, ok := a.principalOf(arn)
	return ok && a.judge(who, q).yes()
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
