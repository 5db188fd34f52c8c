package readiness

import (
	"cmp"
	"strings"

	"ssm-migrate/internal/fleet"
)

// sessionSettings are the preferences of one account and Region, ready to be
// held against its hosts.
type sessionSettings struct {
	region *fleet.Region
	state  settingsState
	why    string // why they are not known
	inputs fleet.SessionInputs
	fact   fleet.Fact[fleet.Preferences]

	key    resourcePolicy // of the session key, when inputs name one
	bucket resourcePolicy // of the bucket, when inputs name one
	hosts  int            // running hosts of the Region
	memo   map[string]decision
	lacks  map[fleet.Ref]bool // findings about a role that were reported already
	roles  []fleet.Finding    // about roles and the Region rather than hosts
}

type settingsState int

const (
	settingsUnknown settingsState = iota
	settingsDefault               // there is no document: the service's defaults hold
	settingsKnown
)

// settings gives the preferences of a Region, read once.
func (a *assessor) settings(r *fleet.Region) *sessionSettings {
	if s := a.preferred[r]; s != nil {
		return s
	}
	s := readSettings(r)
	a.preferred[r] = s
	return s
}

func readSettings(r *fleet.Region) *sessionSettings {
	s := &sessionSettings{region: r, fact: r.Preferences, memo: map[string]decision{}, lacks: map[fleet.Ref]bool{}}
	p := r.Preferences.Value
	switch {
	case !r.Preferences.Known:
		s.why = cmp.Or(r.Preferences.Reason, "they were not asked for")
		return s
	case !p.Exists:
		s.state = settingsDefault
		return s
	}
	var err error
	if s.inputs, err = fleet.ParseSessionDocument(p.Content); err != nil {
		s.why = err.Error()
		return s
	}
	s.state = settingsKnown
	if s.inputs.Key != "" {
		s.key = keyPolicy(p.Key.Value, s.inputs.Key, r)
		if !p.Key.Known {
			s.key.gap = cmp.Or(p.Key.Reason, "the key was not read")
		}
	}
	if s.inputs.Bucket != "" {
		s.bucket = bucketPolicy(p.Bucket, s.inputs.Bucket, r)
	}
	return s
}

// keyPolicy reads the policy of a KMS key. Unlike other resources, a key lets
// not even its own account in unless its policy says so.
func keyPolicy(k fleet.KMSKey, id string, r *fleet.Region) resourcePolicy {
	p := resourcePolicy{name: "the policy of key " + id, account: cmp.Or(fleet.ARNAccount(k.ARN), fleet.ARNAccount(id), r.Account), needsPolicy: true}
	if !k.Policy.Known {
		p.gap = cmp.Or(k.Policy.Reason, "it was not read")
		return p
	}
	p.read(k.Policy.Value)
	return p
}

// bucketPolicy reads the policy of a bucket. Whose bucket it is no API tells;
// it is taken for the account's own.
func bucketPolicy(b fleet.Fact[fleet.Bucket], name string, r *fleet.Region) resourcePolicy {
	p := resourcePolicy{name: "the policy of bucket " + name, account: r.Account}
	switch {
	case !b.Known:
		p.gap = cmp.Or(b.Reason, "the bucket was not read")
	case b.Value.Policy != "":
		p.read(b.Value.Policy)
	}
	return p
}

func (p *resourcePolicy) read(text string) {
	doc, err := parseDocument(text)
	if err != nil {
		p.gap = err.Error()
	}
	p.doc = doc
}

// keyARN names the session key as policies do. A key that is named by an alias
// or an ID and was not read has no ARN that is known.
func (s *sessionSettings) keyARN(partition string) string {
	k := s.fact.Value.Key.Value
	switch id := s.inputs.Key; {
	case k.ARN != "":
		return k.ARN
	case strings.HasPrefix(id, "arn:"):
		return id
	case strings.HasPrefix(id, "alias/"):
		return ""
	default:
		return "arn:" + partition + ":kms:" + s.region.Name + ":" + s.region.Account + ":key/" + id
	}
}

// keyRequest is what is known of a request for the session key. The agent and
// the operator's client name the session and its target in it.
// Source: amazon-ssm-agent, session crypto.
func keyRequest(account, target string) contextValues {
	v := contextValues{
		"kms:calleraccount": {account},
		"kms:viaservice":    nil,
	}
	if target != "" {
		v["kms:encryptioncontext:aws:ssm:targetid"] = []string{target}
	}
	return v
}

// operatorKey says whether a principal may make the data key that its
// sessions in a Region are encrypted with; needed is false where they are not.
// Sessions to hosts whose preferences name a key fail without it. target is
// the host's ID, or empty for any.
func (a *assessor) operatorKey(r *fleet.Region, may permissions, who caller, target string, ctx requestContext) (d decision, needed bool) {
	s := a.settings(r)
	if s.state != settingsKnown || s.inputs.Key == "" {
		return decision{}, false
	}
	arn := s.keyARN(partitionOf(who.arn))
	if arn == "" {
		return decision{allowed: maybe, unread: true, why: s.key.name + " is not known: " + s.key.gap}, true
	}
	layers := append(requestContext{{"aws:requestedregion": {r.Name}}, keyRequest(who.account, target)}, ctx...)
	return may.decideWith(s.key, who, "kms:GenerateDataKey", arn, layers), true
}

// caller is the role as resources' policies name it, in the session of a host.
func (v *roleView) caller(h *fleet.Host) caller {
	c := caller{arn: v.role.ARN, account: fleet.ARNAccount(v.role.ARN), id: v.role.ID, bounded: v.may.boundary != nil}
	if h != nil {
		c.session = "arn:" + partitionOf(v.role.ARN) + ":sts::" + c.account + ":assumed-role/" + v.role.Name + "/" + h.ID
	}
	return c
}

// caller is the user as resources' policies name it.
func (v *userView) caller() caller {
	return caller{arn: v.user.ARN, account: fleet.ARNAccount(v.user.ARN), id: v.user.ID, bounded: v.may.boundary != nil}
}

// withPolicy answers one action of a host's role on a resource whose policy has a say.
func (s *sessionSettings) withPolicy(v *roleView, h *fleet.Host, p resourcePolicy, action, resource string, more contextValues) decision {
	sc := max(v.scopeOf(action, false), v.scopeOfKeys(p.doc.keys(action), more))
	if p.doc.namesSessions() {
		sc = perHost
	}
	key := v.role.ARN + " " + sc.memoKey(h) + " " + action + " " + resource
	if d, ok := s.memo[key]; ok {
		return d
	}
	d := v.may.decideWith(p, v.caller(h), action, resource, append(v.request(h), more))
	s.memo[key] = d
	return d
}
