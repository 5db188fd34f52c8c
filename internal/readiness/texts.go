package readiness

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"ssm-migrate/internal/fleet"
)

// Request is one request as IAM weighs it: the action, the resource's full
// ARN ("*" for an action that knows no resource), and what is known of its
// condition keys, in layers of which the first that knows a key decides.
type Request struct {
	Action   string
	Resource string
	Keys     []Keys
}

// Texts is what identity policies say by themselves, without a permissions
// boundary and an organization. It is not safe for concurrent use.
type Texts struct{ may permissions }

// ReadTexts reads policy documents that one principal would have, all of them
// together and nothing else. A document that the evaluator does not understand
// is an error.
func ReadTexts(documents ...string) (*Texts, error) {
	t := &Texts{may: permissions{memo: map[string]*relevant{}}}
	for i, text := range documents {
		p := readPolicy(fmt.Sprintf("document %d", i+1), text)
		if p.gap != "" {
			return nil, fmt.Errorf("policy document %d: %s", i+1, p.gap)
		}
		t.may.identity = append(t.may.identity, p)
	}
	return t, nil
}

// Decide answers a request by the rules by which operators and roles are
// judged, and says what decides it. Unknown means that it hangs on a condition
// key that the request does not tell.
func (t *Texts) Decide(r Request) (fleet.Truth, string) {
	d := t.may.decide(r.Action, r.Resource, r.Keys)
	return truthOf(d.allowed), d.why
}

// Caller is what is known of every request of an IAM user, or of a role's
// session of the given name; ok is false for a principal that was not read.
func (g *Grants) Caller(arn, session string) (keys Keys, ok bool) {
	for _, u := range g.iam.users {
		if u.user.ARN == arn {
			keys = maps.Clone(u.context)
			keys["aws:userid"] = []string{cmp.Or(u.user.ID, "AIDA")}
			return keys, true
		}
	}
	i := slices.IndexFunc(g.iam.order, func(v *roleView) bool { return v.role.ARN == arn })
	if i < 0 {
		return nil, false
	}
	_, context := sessionsOf(g.iam.order[i])
	keys = maps.Clone(context)
	keys["aws:userid"] = []string{cmp.Or(g.iam.order[i].role.ID, "AROA") + ":" + session}
	return keys, true
}

// Stranger is what would be known of the requests of a principal that is not
// made yet and has no tags: an IAM user of the given name, or with a session
// name a role's session.
func Stranger(arn, name, session string) Keys {
	if session == "" {
		keys := principalValues(arn, "User", nil)
		keys["aws:username"], keys["aws:userid"] = []string{name}, []string{"AIDA" + name}
		return keys
	}
	keys := principalValues(arn, "AssumedRole", nil)
	keys["aws:username"], keys["aws:principaltag/"] = nil, nil
	keys["aws:userid"] = []string{"AROA" + name + ":" + session}
	return keys
}

// HostKeys is what is known of every request about a host.
func HostKeys(h *fleet.Host) Keys { return hostValues(h) }

// InstanceARN names a host as policies do.
func InstanceARN(h *fleet.Host) string {
	return "arn:" + fleet.Partition(h.Region) + ":ec2:" + h.Region + ":" + h.Account + ":instance/" + h.ID
}

// SessionDocuments are AWS's own documents that sessions other than the
// default shell start with.
func SessionDocuments() []string { return slices.Clone(sessionDocuments) }

// PreferencesActions change what every shell session of a Region does, where
// they are allowed on the preferences document.
func PreferencesActions() []string { return slices.Clone(preferencesActions) }
