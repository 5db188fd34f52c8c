package readiness

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// policyText is one policy of a principal: parsed, or why it could not be.
type policyText struct {
	name string // as an operator finds it: ARN, or "inline policy NAME"
	doc  document
	gap  string // why doc is not known; empty when it is
}

func readPolicy(name, text string) policyText {
	doc, err := parseDocument(text)
	if err != nil {
		return policyText{name: name, gap: err.Error()}
	}
	for i := range doc.statements {
		if doc.statements[i].who != nil {
			return policyText{name: name, gap: "an identity policy cannot name a Principal"}
		}
	}
	return policyText{name: name, doc: doc}
}

// permissions is everything that decides what a principal may do within its
// account, as far as it is looked at: session policies, resource control
// policies and the policies of resources are not. The zero value allows
// nothing. Copies share a memo, so it is not safe for concurrent use.
type permissions struct {
	identity []policyText
	boundary *policyText // nil: none

	// levels are the service control policies of the organization's levels,
	// from its root down: every level must allow an action. A document that
	// was not read is passed over, as all of them are where the organization
	// cannot be read: what they would say is left to the simulation, to a
	// live proof, to a doubt about the data channel, or to a note. Empty:
	// none, or not known.
	levels []controls

	memo map[string]*relevant // by action as asked for; nil: nothing is remembered
}

// controls are the service control policies of one level.
type controls struct {
	target   string
	policies []policyText
	partial  bool // a policy of it was not read
}

// relevant is what of a principal's policies speaks of one action.
type relevant struct {
	identity []statementOf
	boundary []statementOf
	levels   [][]statementOf
}

// statementOf is a statement and the name of its policy; a nil statement
// stands for a policy that was not read.
type statementOf struct {
	*statement
	policy *policyText
}

// decision is the answer to whether an action is allowed.
type decision struct {
	allowed answer
	why     string // what decides it: "inline policy x denies it"
	unread  bool   // maybe, because a document could not be read

	fromControls bool // maybe, because of a service control policy's condition

	// What is in the way when the answer is no; several things may be.
	denials    []string // explicit Denies: "inline policy x denies it"
	ungranted  bool     // no policy of the principal, or of the resource, allows it
	bounded    string   // the permissions boundary's part: "policy x denies it"; empty: none
	controlled []string // service control policies in the way: "service control policy p at ou-1 denies it"
}

// opinion is what a set of policies says of one action on one resource,
// before they are weighed against each other.
type opinion struct {
	allow, deny       answer
	allowWhy, denyWhy string
	unread            bool
}

func (o *opinion) add(all []statementOf, resource string, ctx requestContext) {
	for _, s := range all {
		if s.statement == nil {
			o.unread = true
			why := fmt.Sprintf("%s is not known: %s", s.policy.name, s.policy.gap)
			raise(&o.allow, &o.allowWhy, maybe, why)
			raise(&o.deny, &o.denyWhy, maybe, why)
			continue
		}
		// What is said with more certainty already need not be said again.
		if s.allow && o.allow == yes || !s.allow && o.deny == yes {
			continue
		}
		switch a := s.applies(resource, ctx); {
		case a == no:
		case s.allow && a > o.allow:
			o.allow, o.allowWhy = a, verb(s.policy.name, "allows it", a)
		case !s.allow && a > o.deny:
			o.deny, o.denyWhy = a, verb(s.policy.name, "denies it", a)
		}
	}
}

func raise(what *answer, why *string, to answer, reason string) {
	if to > *what {
		*what, *why = to, reason
	}
}

func verb(name, does string, a answer) string {
	if a == maybe {
		return name + " " + does + " under a condition or policy variable"
	}
	return name + " " + does
}

// about selects what speaks of an action.
func (p permissions) about(action string) *relevant {
	if r, ok := p.memo[action]; ok {
		return r
	}
	asked := action
	action = strings.ToLower(action)
	r := &relevant{}
	for i := range p.identity {
		r.identity = appendAbout(r.identity, &p.identity[i], action, true)
	}
	if p.boundary != nil {
		r.boundary = appendAbout(nil, p.boundary, action, true)
	}
	for i := range p.levels {
		var level []statementOf
		for j := range p.levels[i].policies {
			level = appendAbout(level, &p.levels[i].policies[j], action, false)
		}
		r.levels = append(r.levels, level)
	}
	if p.memo != nil {
		p.memo[asked] = r
	}
	return r
}

func appendAbout(to []statementOf, p *policyText, action string, gaps bool) []statementOf {
	if p.gap != "" {
		if gaps {
			to = append(to, statementOf{policy: p})
		}
		return to
	}
	for i := range p.doc.statements {
		if s := &p.doc.statements[i]; s.names(action) {
			to = append(to, statementOf{s, p})
		}
	}
	return to
}

// weighing is what all policies of a principal say of one action.
type weighing struct {
	own, bound opinion
	levels     opinion  // all levels must allow
	controlled []string // service control policies that are known to stop it
}

func (p permissions) weigh(action, resource string, ctx requestContext) weighing {
	r := p.about(action)
	var w weighing
	w.own.add(r.identity, resource, ctx)
	w.bound.allow = yes
	if p.boundary != nil {
		w.bound.allow = no
		w.bound.add(r.boundary, resource, ctx)
	}
	w.levels.allow = yes
	for i, level := range r.levels {
		w.addLevel(p.levels[i], level, resource, ctx)
	}
	return w
}

// addLevel weighs one level of the organization. Where a policy of it was not
// read, its silence proves nothing.
// Source: AWS Organizations User Guide, orgs_manage_policies_scps_evaluation.
func (w *weighing) addLevel(c controls, statements []statementOf, resource string, ctx requestContext) {
	var o opinion
	o.add(statements, resource, ctx)
	if o.deny == yes {
		w.controlled = append(w.controlled, fmt.Sprintf("%s at %s", o.denyWhy, c.target))
	}
	if o.deny > w.levels.deny {
		w.levels.deny, w.levels.denyWhy = o.deny, o.denyWhy+" at "+c.target
	}
	switch {
	case c.partial:
	case o.allow == no:
		w.controlled = append(w.controlled, "no service control policy at "+c.target+" allows it")
		w.levels.allow = no
	case o.allow == maybe && w.levels.allow == yes:
		w.levels.allow, w.levels.allowWhy = maybe, o.allowWhy+" at "+c.target
	}
}

// decide evaluates as IAM does within one account: an explicit Deny wins;
// without an Allow it is denied; a boundary and every level of the
// organization must allow it as well. Each request stands for itself: the
// action in any case, the resource as its full ARN ("*" for an action that
// knows no resource), and what is known of its context.
// Source: IAM User Guide, reference_policies_evaluation-logic.
func (p permissions) decide(action, resource string, ctx requestContext) decision {
	w := p.weigh(action, resource, ctx)
	d := p.obstacles(&w)
	switch {
	case d.denials != nil:
		d.why = d.denials[0]
	case d.ungranted:
		d.why = "no policy allows it"
	case d.bounded != "":
		d.why = "the permissions boundary " + d.bounded
	case d.controlled != nil:
		d.why = d.controlled[0]
	default:
		return w.doubts(w.own.allow, w.own.allowWhy)
	}
	return d
}

// obstacles is what is known to be in the way, whoever grants the action.
func (p permissions) obstacles(w *weighing) decision {
	d := decision{ungranted: w.own.allow == no, controlled: w.controlled}
	if w.own.deny == yes {
		d.denials = append(d.denials, w.own.denyWhy)
	}
	switch {
	case w.bound.deny == yes:
		d.bounded = w.bound.denyWhy
	case w.bound.allow == no:
		d.bounded = p.boundary.name + " does not allow it"
	}
	return d
}

// doubts is the decision where nothing is known to be in the way and somebody
// may grant the action.
func (w *weighing) doubts(granted answer, why string) decision {
	d := decision{allowed: yes, why: why, unread: w.own.unread || w.bound.unread}
	for _, doubt := range []struct {
		is  bool
		why string
	}{
		{granted == maybe, why},
		{w.own.deny == maybe, w.own.denyWhy},
		{w.bound.allow == maybe, w.bound.allowWhy},
		{w.bound.deny == maybe, w.bound.denyWhy},
		{w.levels.allow == maybe, w.levels.allowWhy},
		{w.levels.deny == maybe, w.levels.denyWhy},
	} {
		if doubt.is {
			d.allowed, d.why = maybe, doubt.why
			d.fromControls = w.levels.allow == maybe || w.levels.deny == maybe
			return d
		}
	}
	return d
}

// depends says on what the answer for an action can depend besides the action:
// on the resource, and on the values of condition keys (in lower case, sorted).
// Requests that agree in these share one decision.
func (p permissions) depends(action string) (resource bool, keys []string) {
	r := p.about(action)
	for _, set := range append([][]statementOf{r.identity, r.boundary}, r.levels...) {
		for _, s := range set {
			if s.statement == nil {
				continue
			}
			resource = resource || !s.everything()
			keys = append(keys, s.keys()...)
		}
	}
	slices.Sort(keys)
	return resource, slices.Compact(keys)
}

// keys lists the condition keys that a document looks at for an action.
func (d document) keys(action string) []string {
	var out []string
	for i := range d.statements {
		if s := &d.statements[i]; s.names(strings.ToLower(action)) {
			out = append(out, s.keys()...)
		}
	}
	return out
}

// keys lists the condition keys that a statement looks at.
func (s *statement) keys() []string {
	var out []string
	for i := range s.condition {
		out = append(out, s.condition[i].key)
		for _, v := range s.condition[i].values {
			out = append(out, v.keys()...)
		}
	}
	for _, v := range s.resources {
		out = append(out, v.keys()...)
	}
	return out
}

// keys lists the condition keys that a pattern's variables name.
func (p pattern) keys() []string {
	if !p.variables {
		return nil
	}
	var out []string
	for rest := p.text; ; {
		_, after, found := strings.Cut(rest, "${")
		if !found {
			return out
		}
		var name string
		name, rest, _ = strings.Cut(after, "}")
		key, _, _ := strings.Cut(name, ",")
		out = append(out, strings.ToLower(strings.TrimSpace(key)))
	}
}

// controlsOf reads the service control policies that bind an account.
func controlsOf(levels fleet.Fact[[]fleet.ControlLevel]) []controls {
	if !levels.Known {
		return nil
	}
	var out []controls
	for _, l := range levels.Value {
		if len(l.Policies) == 0 {
			continue // where such policies are in use, every level has at least one
		}
		c := controls{target: l.Target}
		for _, p := range l.Policies {
			text := policyText{name: "service control policy " + cmp.Or(p.Name, p.ARN), gap: cmp.Or(p.Document.Reason, "its document was not read")}
			if p.Document.Known {
				text = readPolicy(text.name, p.Document.Value)
			}
			c.policies = append(c.policies, text)
			c.partial = c.partial || text.gap != ""
		}
		out = append(out, c)
	}
	return out
}
