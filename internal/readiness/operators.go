package readiness

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// operators lists the IAM users, and the roles that people can assume, that
// may do something with sessions on the snapshot's hosts.
func (a *assessor) operators() []fleet.Operator {
	w := newWorkforce(a)
	a.people.workforce = w
	var out []fleet.Operator
	for _, x := range w.actors {
		if x.acts() {
			out = append(out, x.operator(len(a.snapshot.Hosts)))
		}
	}
	return out
}

// workforce is everybody who may have to do with sessions.
type workforce struct {
	*assessor
	actors     []*actor
	byARN      map[string]*actor
	partitions map[string]*partition
	regions    map[string][]string // by account, those with hosts, in order
	documents  map[string][]string // by account, names of its own session documents
}

// actor is an IAM user, or a role that people can assume.
type actor struct {
	arn, account, kind string
	who                caller
	federated          bool
	may                permissions
	context            contextValues
	self               contextValues // a stand-in for one of its sessions
	people             []string
	admin              bool // may do everything: it is no surprise among operators

	where     *partition
	reach     []reach           // by class of where
	trust     document          // of a role: who may assume it
	channels  map[string]answer // ssmmessages:OpenDataChannel, by Region
	documents []string
	anywhere  answer // ssm:StartSession on an instance that nothing is known of
	edit      answer
	implicit  bool   // some shell rests on the implicit grant of the default document
	keyless   string // why sessions fail for want of the key that encrypts them; empty: they do not
}

// reach is what an actor may do on hosts of one class.
type reach struct {
	start, resume, terminate, command, connect answer
	why                                        string // of start
}

func newWorkforce(a *assessor) *workforce {
	w := &workforce{
		assessor: a, byARN: map[string]*actor{}, partitions: map[string]*partition{}, regions: map[string][]string{}, documents: map[string][]string{},
	}
	for i := range a.snapshot.Hosts {
		h := &a.snapshot.Hosts[i]
		if !slices.Contains(w.regions[h.Account], h.Region) {
			w.regions[h.Account] = append(w.regions[h.Account], h.Region)
		}
	}
	for _, r := range a.snapshot.Regions {
		for _, d := range r.Documents.Value {
			if !slices.Contains(w.documents[r.Account], d.Name) {
				w.documents[r.Account] = append(w.documents[r.Account], d.Name)
			}
		}
	}
	for _, u := range a.iam.users {
		x := &actor{arn: u.user.ARN, kind: "user", who: u.caller(), may: u.may, context: u.context}
		x.self = contextValues{"aws:userid": {cmp.Or(u.user.ID, "AIDA")}}
		w.add(x)
	}
	for _, r := range a.iam.order {
		assumable, federated := peopleAssume(r.role.Trust)
		if !assumable {
			continue
		}
		x := &actor{arn: r.role.ARN, kind: "role", who: r.caller(nil), federated: federated || strings.Contains(r.role.ARN, ":role/aws-reserved/sso.amazonaws.com/"), may: r.may}
		x.trust, x.context = sessionsOf(r)
		x.self = contextValues{"aws:userid": {cmp.Or(r.role.ID, "AROA") + ":" + standIn}}
		w.add(x)
	}
	return w
}

func (w *workforce) add(x *actor) {
	x.account = fleet.ARNAccount(x.arn)
	x.people = w.people.ofPrincipal(x.arn)
	x.admin = administers(x.may)
	x.where = w.partition(x)
	w.judge(x)
	w.actors = append(w.actors, x)
	w.byARN[x.arn] = x
}

// peopleAssume reports whether somebody else than an AWS service may assume a
// role: an AWS principal, or the users of an identity provider. A trust
// policy that is not understood may let anybody.
// Source: IAM User Guide, reference_policies_elements_principal.
func peopleAssume(trust string) (is, federated bool) {
	if trust == "" {
		return false, false
	}
	doc, err := parseStatements(trust)
	if err != nil {
		return true, false
	}
	for i := range doc.statements {
		s := &doc.statements[i]
		if !s.allow || s.who == nil {
			continue
		}
		if (s.who.anyone || len(s.who.aws) > 0) && s.names("sts:assumerole") {
			is = true
		}
		if len(s.who.federated) > 0 && (s.names("sts:assumerolewithsaml") || s.names("sts:assumerolewithwebidentity")) {
			is, federated = true, true
		}
	}
	return is, federated
}

// sessionsOf reads a role's trust policy, and tells what is known of every
// request of its sessions. Where the trust policy allows sts:TagSession, a
// session may bring tags of its own, which go before the role's.
// Source: IAM User Guide, id_session-tags, "Things to know about session tags".
func sessionsOf(r *roleView) (document, contextValues) {
	trust, err := parseStatements(r.role.Trust)
	if err == nil && !slices.ContainsFunc(trust.statements, func(s statement) bool { return s.allow && s.names("sts:tagsession") }) {
		return trust, r.context
	}
	c := maps.Clone(r.context)
	maps.DeleteFunc(c, func(key string, _ []string) bool { return strings.HasPrefix(key, "aws:principaltag/") })
	return trust, c
}

// assumedBy lists the roles that an actor may assume, perhaps: those that
// trust it by name, and those that leave it to its account, which its own
// policies then have to allow. A role of its own account that trusts the
// account as a whole is left to the owners file, which would have to name it.
// Source: IAM User Guide, reference_policies_evaluation-logic-cross-account.
func (w *workforce) assumedBy(x *actor) []*actor {
	var out []*actor
	for _, r := range w.actors {
		if r == x || r.kind != "role" {
			continue
		}
		if r.trust.statements != nil { // one that is not understood may let anybody
			v := r.trusts(x)
			foreign := r.account != x.account
			if v.deny == yes || v.direct == no && (v.delegated == no || !foreign) || foreign && x.ask("sts:AssumeRole", r.arn).allowed == no {
				continue
			}
		}
		out = append(out, r)
	}
	return out
}

// trusts weighs a role's trust policy for another actor. Its statements name no resource.
func (x *actor) trusts(other *actor) verdictOf {
	var v verdictOf
	for i := range x.trust.statements {
		s := &x.trust.statements[i]
		if s.who == nil || !s.names("sts:assumerole") {
			continue
		}
		a, g := s.condition.holds(requestContext{other.context}), s.who.match(other.who)
		switch {
		case s.who.not:
			v.deny = max(v.deny, min(a, s.who.excludes(g, other.who)))
		case s.allow:
			v.direct, v.delegated = max(v.direct, min(a, g.direct)), max(v.delegated, min(a, g.delegated))
		default:
			v.deny = max(v.deny, min(a, max(g.direct, g.delegated)))
		}
	}
	return v
}

// administers reports whether a policy allows every action on everything.
func administers(p permissions) bool {
	for i := range p.identity {
		for j := range p.identity[i].doc.statements {
			s := &p.identity[i].doc.statements[j]
			if s.allow && !s.notAction && s.condition == nil && s.everything() && slices.ContainsFunc(s.actions, func(a string) bool { return a == "*" || a == "*:*" }) {
				return true
			}
		}
	}
	return false
}

// start says whether the actor may open a shell on the host at a position.
func (x *actor) start(host int) answer {
	if c := x.where.classOf[host]; c >= 0 {
		return x.reach[c].start
	}
	return no
}

// connect says whether it may push a key by EC2 Instance Connect.
func (x *actor) connect(host int) answer {
	if c := x.where.classOf[host]; c >= 0 {
		return x.reach[c].connect
	}
	return no
}

// acts reports whether the actor may do anything with sessions.
func (x *actor) acts() bool {
	return x.edit > no || len(x.documents) > 0 || slices.ContainsFunc(x.reach, func(r reach) bool {
		return max(r.start, r.resume, r.terminate, r.command) > no
	})
}

func (x *actor) operator(hosts int) fleet.Operator {
	o := fleet.Operator{
		ARN: x.arn, Kind: x.kind, Federated: x.federated, People: x.people, Documents: x.documents,
		Unrestricted: x.anywhere == yes, EditPreferences: truthOf(x.edit),
	}
	o.Start = x.count(hosts, func(r reach) answer { return r.start })
	o.Resume = x.count(hosts, func(r reach) answer { return r.resume })
	o.Terminate = x.count(hosts, func(r reach) answer { return r.terminate })
	o.Command = x.count(hosts, func(r reach) answer { return r.command })
	best := no
	for _, r := range x.reach {
		if r.start > best {
			best, o.Why = r.start, r.why
		}
	}
	return o
}

// count counts hosts by the answer; those of other accounts are out of reach.
func (x *actor) count(hosts int, of func(reach) answer) fleet.Reach {
	var out fleet.Reach
	for c, r := range x.reach {
		switch of(r) {
		case yes:
			out.Yes += x.where.classes[c].hosts
		case maybe:
			out.Unknown += x.where.classes[c].hosts
		}
	}
	out.No = hosts - out.Yes - out.Unknown
	return out
}

func truthOf(a answer) fleet.Truth {
	return [...]fleet.Truth{fleet.TruthNo, fleet.TruthUnknown, fleet.TruthYes}[a]
}
