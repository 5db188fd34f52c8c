package simfleet

import (
	"encoding/json"
	"slices"
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

func (in *Instance) runAsReason(user string) string {
	switch {
	case versionLess(in.Agent.Version, firstWithRunAs):
		return "agent " + in.Agent.Version + " knows no Run As"
	case user == "root" || user == ssmUserName && in.Machine.SSMUser != SSMUserAbsent:
		return ""
	case !slices.ContainsFunc(in.Users, func(u *User) bool { return u.Name == user }):
		return "there is no user " + user + " to run sessions as"
	}
	return ""
}

// permission gives what keeps the agent from an action of a service on one of
// its resources, over the network or by policy.
func (w *World) permission(in *Instance, service, action, resource string) string {
	p := w.AgentEgress(in, service)
	if !p.TLS {
		return service + ": " + p.Reason
	}
	q := instanceRequest(in, action)
	q.resource = resource
	if !w.allowedOn(in, q) {
		return "no permission for " + action + " on " + resource
	}
	if p.Policy != "" {
		if d := q.decide(p.Policy); !d.allowed || d.denied {
			return "the endpoint's policy does not allow " + action
		}
	}
	return ""
}

func (w *World) keyReason(in *Instance, id string) string {
	k := find(in.Region.Keys, func(k *fleet.KMSKey) bool { return k.ID == id || k.ARN == id })
	switch {
	case versionLess(in.Agent.Version, firstWithEncryption):
		return "agent " + in.Agent.Version + " cannot encrypt sessions"
	case k == nil || !k.Exists:
		return "KMS key " + id + " does not exist"
	case k.State != "" && k.State != "Enabled":
		return "KMS key " + id + " is " + k.State
	}
	if !keyPolicyAllows(k.Policy.Value, in.Region.Account.ID, w.principal(in)) {
		return "the policy of KMS key " + id + " does not let the host's role in"
	}
	return w.permission(in, "kms", "kms:Decrypt", k.ARN)
}

// keyPolicyAllows reports whether a key policy leaves it to IAM whether a
// principal may decrypt, or names the principal itself. Without a policy it is
// KMS's default one, which leaves it to IAM.
func keyPolicyAllows(text, account, principal string) bool {
	if text == "" {
		return true
	}
	var d struct {
		Statement oneOrMore[struct {
			Effect    string
			Principal struct{ AWS oneOrMore[string] }
			Action    oneOrMore[string]
		}]
	}
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return false
	}
	root := "arn:aws:iam::" + account + ":root"
	for _, s := range d.Statement {
		named := slices.ContainsFunc(s.Principal.AWS, func(p string) bool { return p == "*" || p == account || p == root || p == principal })
		if s.Effect == "Allow" && named && anyMatches(s.Action, "kms:Decrypt", true) {
			return true
		}
	}
	return false
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
	if reason := w.permission(in, "s3", "s3:GetEncryptionConfiguration", "arn:aws:s3:::"+name); reason != "" {
		return reason
	}
	b := find(in.Region.Buckets, func(b *fleet.Bucket) bool { return b.Name == name })
	switch {
	case b == nil || !b.Exists:
		return "bucket " + name + " does not exist"
	case b.Encryption == "":
		return "bucket " + name + " is not encrypted"
	}
	return ""
}
