package simfleet

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"ssm-migrate/internal/fleet"
)

// sessionInputs caches preferences by their text, as policies does.
var sessionInputs sync.Map

func preferences(text string) fleet.SessionInputs {
	if in, ok := sessionInputs.Load(text); ok {
		return in.(fleet.SessionInputs)
	}
	in, err := fleet.ParseSessionDocument(text)
	if err != nil {
		// Systems Manager does not store a document that it cannot parse.
		in = fleet.SessionInputs{}
	}
	sessionInputs.Store(text, in)
	return in
}

// preferencesReason gives what keeps a session from opening as the Region's
// preferences ask for it. Source: Systems Manager User Guide,
// session-preferences-enable-encryption, session-manager-logging and
// session-preferences-run-as.
func (w *World) preferencesReason(in *Instance) string {
	if in.Region.Preferences == "" {
		return ""
	}
	p := preferences(in.Region.Preferences)
	if p.Key != "" {
		if reason := w.keyReason(in, p.Key); reason != "" {
			return reason
		}
	}
	if p.LogGroup != "" && p.LogGroupEncrypted {
		if reason := w.logGroupReason(in, p.LogGroup); reason != "" {
			return reason
		}
	}
	if p.Bucket != "" && p.BucketEncrypted {
		if reason := w.bucketReason(in, p.Bucket); reason != "" {
			return reason
		}
	}
	// Whose sessions have another user by a tag is the operator's matter.
	if p.RunAs && p.RunAsUser != "" && in.OS.Family != "windows" {
		return in.runAsReason(p.RunAsUser)
	}
	return ""
}

// runAsReason gives what keeps sessions from running as a user. Systems Manager
// supports root for none. Source: Systems Manager User Guide,
// session-preferences-run-as.
func (in *Instance) runAsReason(user string) string {
	switch {
	case versionLess(in.Agent.Version, firstWithRunAs):
		return "agent " + in.Agent.Version + " knows no Run As"
	case user == "root":
		return "sessions do not run as root"
	case user == ssmUserName && in.Machine.SSMUser != SSMUserAbsent:
		return ""
	case !slices.ContainsFunc(in.Users, func(u *User) bool { return u.Name == user }):
		return "there is no user " + user + " to run sessions as"
	}
	return ""
}

// permission gives what keeps the agent from an action of a service on one of
// its resources, over the network or by policy: its own, the resource's where
// there is one, or the endpoint's.
func (w *World) permission(in *Instance, service, action, resource string) string {
	p := w.AgentEgress(in, service)
	if !p.TLS {
		return service + ": " + p.Reason
	}
	q := in.agentRequest(action)
	q.resource = resource
	who, ok := w.principal(in)
	owner, policy := w.resourcePolicy(in, service, resource)
	if !ok || !in.Region.Account.judgeWith(who, q, owner, policy, service == "kms") {
		return "no permission for " + action + " on " + resource
	}
	if p.Policy != "" {
		q.principal, q.who = who.arn, &who
		if !q.decide(p.Policy).yes() {
			return "the endpoint's policy does not allow " + action
		}
	}
	return ""
}

// resourcePolicy gives the policy of a key or a bucket, by ARN, and the account
// that owns it; other resources have none.
func (w *World) resourcePolicy(in *Instance, service, resource string) (owner, policy string) {
	owner = in.Region.Account.ID
	switch service {
	case "kms":
		if rg, k := w.key(in.Region, resource); k != nil {
			return rg.Account.ID, cmp.Or(k.Policy.Value, defaultKeyPolicy(rg.Account.ID))
		}
	case "s3":
		name, _, _ := strings.Cut(strings.TrimPrefix(resource, "arn:aws:s3:::"), "/")
		if a, b := w.bucket(name); b != nil {
			return a.ID, b.Policy
		}
	}
	return owner, ""
}

func (w *World) keyReason(in *Instance, id string) string {
	_, k := w.key(in.Region, id)
	switch {
	case versionLess(in.Agent.Version, firstWithEncryption):
		return "agent " + in.Agent.Version + " cannot encrypt sessions"
	case k == nil:
		return "KMS key " + id + " does not exist"
	case k.State != "" && k.State != "Enabled":
		return "KMS key " + id + " is " + k.State
	}
	return w.permission(in, "kms", "kms:Decrypt", k.ARN)
}

// defaultKeyPolicy leaves it to IAM who may use a key. Source: KMS Developer
// Guide, key-policy-default.
func defaultKeyPolicy(account string) string {
	return document(statement{Effect: "Allow", Principal: map[string]string{"AWS": "arn:aws:iam::" + account + ":root"}, Action: "kms:*", Resource: "*"})
}

func (w *World) logGroupReason(in *Instance, name string) string {
	g := find(in.Region.LogGroups, func(g *fleet.LogGroup) bool { return g.Name == name })
	if reason := w.permission(in, "logs", "logs:DescribeLogGroups", "*"); reason != "" {
		return reason
	}
	switch {
	case g == nil || !g.Exists:
		return "log group " + name + " does not exist"
	case g.Key == "":
		return "log group " + name + " is not encrypted"
	}
	return ""
}

func (w *World) bucketReason(in *Instance, name string) string {
	_, b := w.bucket(name)
	switch {
	case b == nil:
		return "bucket " + name + " does not exist"
	case b.Encryption == "":
		return "bucket " + name + " is not encrypted"
	}
	return w.permission(in, "s3", "s3:GetEncryptionConfiguration", "arn:aws:s3:::"+name)
}
