package access

import (
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
)

// bundle names the policies that are parts of one: they are proved together.
type bundle struct {
	subject       Subject
	account, base string
}

func (p Policy) bundle() bundle {
	base := p.Name
	if p.Parts > 1 {
		base = strings.TrimSuffix(p.Name, fmt.Sprintf("-part-%02d", p.Part))
	}
	return bundle{p.For, p.Account, base}
}

func (s *Set) partsOf(b bundle) []int {
	var out []int
	for i := range s.Policies {
		if s.Policies[i].bundle() == b {
			out = append(out, i)
		}
	}
	return out
}

// examiners gives for every policy that is promised who examines it.
func (p *promised) examiners() ([]bundle, map[bundle]func() *examiner) {
	var order []bundle
	out := map[bundle]func() *examiner{}
	add := func(b bundle, x subject, attach []string) {
		order = append(order, b)
		out[b] = func() *examiner { return &examiner{world: p.world, subject: x, attach: attach} }
	}
	for _, x := range p.instances {
		add(bundle{Instance, x.account, x.base()}, x, []string{x.arn})
	}
	for _, t := range p.teams {
		add(bundle{Operator, t.account, t.base}, t, t.attach)
	}
	return order, out
}

const uncalled = "nothing in this fleet calls for this policy"

// prove holds every policy's text against what was promised.
func prove(p *promised, set *Set) bool {
	for i := range set.Policies {
		set.Policies[i].Proof = Proof{Problems: []string{uncalled}, Text: []string{}}
	}
	holds, matched := true, 0
	order, examiners := p.examiners()
	for _, b := range order {
		parts := set.partsOf(b)
		matched += len(parts)
		got := examiners[b]().proof(set, parts)
		for _, i := range parts {
			set.Policies[i].Proof = got
		}
		holds = holds && got.Holds
	}
	return holds && matched == len(set.Policies)
}

// Prover proves single policies of sets that were made for one fleet and
// query. It is not safe for concurrent use.
type Prover struct{ examiners map[bundle]func() *examiner }

// NewProver finds out what is promised. Errors are those of Generate.
func NewProver(s *fleet.Snapshot, a *fleet.Assessment, q Query) (*Prover, error) {
	p, err := promise(s, a, q)
	if err != nil {
		return nil, err
	}
	_, examiners := p.examiners()
	return &Prover{examiners}, nil
}

// Policy is the proof of the policy at a position of a set, with its other
// parts. It changes nothing.
func (x *Prover) Policy(set *Set, at int) Proof {
	b := set.Policies[at].bundle()
	examiner := x.examiners[b]
	if examiner == nil {
		return Proof{Problems: []string{uncalled}, Text: []string{}}
	}
	return examiner().proof(set, set.partsOf(b))
}

// subject is somebody to whom something is promised.
type subject interface {
	// callers are all who are asked for, those who must get nothing among them.
	callers(text parsed) []caller
	// things are what requests are about; some witness what the text names.
	things(text parsed) []thing
	// promises says whether a request is promised.
	promises(c caller, q ask) bool
	// keeps says whether a request is denied whatever else is allowed.
	keeps(q ask) bool
	// asks are the actions that have to be asked for on a thing, besides the
	// dangerous ones and those of the text.
	asks() []string
	// tells says in words what the proof found.
	tells() []string
}

// caller is somebody who makes requests.
type caller struct {
	name string
	keys readiness.Keys
	id   string // whose sessions are its own
	none bool   // nothing of the policy is meant for it
	bare bool   // it lacks what the policy knows callers by
	host int    // position of the host whose agent it is; -1: no agent

	brief bool // one of many alike: it is asked for what it needs alone
}

// thing is a resource with what is known of requests about it.
type thing struct {
	arn   string // "*" for what has none
	host  int    // position in the snapshot; -1: none
	place fleet.Place
	tags  map[string]string
	keys  readiness.Keys
	broad bool   // all actions are asked for on it
	owner string // of a session: the caller's id
}

// ask is one request.
type ask struct {
	action  string
	thing   *thing
	checked bool // the session document is checked too
}

// examiner asks a policy's text about everything.
type examiner struct {
	*world
	subject  subject
	attach   []string
	allows   int
	denies   int
	wrong    int
	problems []string
	text     []string
	layers   [3]readiness.Keys // of the request that is being asked
}

// mostProblems ends an examination: a text with so many is read by nobody.
const mostProblems = 12

func (e *examiner) enough() bool { return e.wrong > mostProblems }

func (e *examiner) problem(format string, args ...any) {
	if e.wrong++; e.wrong <= mostProblems {
		e.problems = append(e.problems, fleet.OneLine(fmt.Sprintf(format, args...), mostNote))
	}
}

// proof examines the policies at some positions of a set as one.
func (e *examiner) proof(set *Set, at []int) Proof {
	texts := make([]Policy, 0, len(at))
	for _, i := range at {
		texts = append(texts, set.Policies[i])
	}
	e.examine(texts)
	out := Proof{Holds: e.wrong == 0, Allows: e.allows, Denies: e.denies, Problems: slices.Clone(e.problems), Text: slices.Clone(e.text)}
	if e.wrong > mostProblems {
		out.Problems = append(out.Problems, "and more")
	}
	if !out.Holds {
		out.Text = []string{}
	}
	return out
}

// examine asks the texts of a policy's parts together.
func (e *examiner) examine(parts []Policy) {
	if len(parts) == 0 {
		e.problem("there is no policy for it")
		return
	}
	var all parsed
	var texts []string
	for i, part := range parts {
		d, problems := read(part)
		for _, text := range problems {
			e.problem("%s", text)
		}
		if part.Part != i+1 || part.Parts != len(parts) {
			e.problem("%s is part %d of %d, and stands as the %dth of %d", part.Name, part.Part, part.Parts, i+1, len(parts))
		}
		if !slices.Equal(part.Attach, e.attach) {
			e.problem("%s is attached to others than it is made for", part.Name)
		}
		if len(parts) > MostAttached {
			e.problem("%s is one of %d parts, and %d policies can be attached to a principal: tag the hosts, so that a policy need not name them", part.Name, len(parts), MostAttached)
		}
		all.Statement = append(all.Statement, d.Statement...)
		texts = append(texts, part.Document)
	}
	alone, err := readiness.ReadTexts(texts...)
	if err != nil {
		e.problem("the evaluator does not understand it: %v", err)
		return
	}
	beside, err := readiness.ReadTexts(append(texts, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`)...)
	if err != nil {
		e.problem("the evaluator does not understand it: %v", err)
		return
	}
	callers, things := e.subject.callers(all), e.subject.things(all)
	actions := addAll(slices.Clone(dangerous), append(e.subject.asks(), all.actions("Allow")...)...)
	e.ask(alone, callers, things, newQuestions(actions), newQuestions(e.subject.asks()))
	e.askBeside(beside, callers[0], things, newQuestions(addAll(actions, all.actions("Deny")...)))
	e.text = e.subject.tells()
	e.text = append(e.text, fmt.Sprintf("asked %d requests: %d allowed, all promised; %d not allowed, none promised", e.allows+e.denies, e.allows, e.denies))
}

// ask puts everything to the text alone, for all callers.
func (e *examiner) ask(texts *readiness.Texts, callers []caller, things []thing, everything, brief questions) {
	for _, c := range callers {
		of := everything
		if c.brief {
			of = brief
		}
		for i := range things {
			t := &things[i]
			if c.brief && t.arn != "*" && t.host != c.host {
				continue
			}
			of.about(t, func(q ask) { e.check(texts, c, q, e.subject.promises(c, q), "") })
			if e.enough() {
				return
			}
		}
	}
}

// askBeside puts everything to the text beside one that allows everything:
// just what is protected is denied then.
func (e *examiner) askBeside(texts *readiness.Texts, c caller, things []thing, of questions) {
	for i := range things {
		of.about(&things[i], func(q ask) { e.check(texts, c, q, !e.subject.keeps(q), " beside a policy that allows everything") })
		if e.enough() {
			return
		}
	}
}

const heartbeat = "ssm:UpdateInstanceInformation"

// questions are actions to ask for: those that know no resource, and those
// that are asked for on things; on most instances, of which there may be
// thousands, only few.
type questions struct{ alone, onThings, onInstances []string }

func newQuestions(actions []string) questions {
	var out questions
	for _, a := range actions {
		switch {
		case withoutResource(a):
			out.alone = append(out.alone, a)
			continue
		case a == startSession || a == "ssm:SendCommand" || a == heartbeat:
			out.onInstances = append(out.onInstances, a)
		}
		out.onThings = append(out.onThings, a)
	}
	return out
}

// about gives the requests about a thing.
func (x questions) about(t *thing, put func(ask)) {
	actions := x.onInstances
	switch {
	case t.arn == "*":
		actions = x.alone
	case t.broad:
		actions = x.onThings
	}
	for _, a := range actions {
		put(ask{action: a, thing: t, checked: true})
		if a == startSession {
			put(ask{action: a, thing: t})
		}
	}
}

// noResource are the actions that know no resource.
// Source: AWS Service Authorization Reference.
var noResource = []string{
	"ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel", dataChannel,
	"ssm:DescribeSessions", "ssm:DescribeInstanceInformation", "ssm:DescribeInstanceProperties", "ec2:DescribeInstances", "logs:DescribeLogGroups",
	"ec2messages:AcknowledgeMessage", "ec2messages:DeleteMessage", "ec2messages:FailMessage", "ec2messages:GetEndpoint", "ec2messages:GetMessages", "ec2messages:SendReply",
}

func withoutResource(action string) bool {
	return slices.ContainsFunc(noResource, func(n string) bool { return strings.EqualFold(n, action) })
}

// Whether Session Manager checks the session document, too.
var (
	documentChecked   = readiness.Keys{"ssm:sessiondocumentaccesscheck": {"true"}}
	documentUnchecked = readiness.Keys{"ssm:sessiondocumentaccesscheck": {"false"}}
)

// check asks one request, and holds the answer against what it has to be.
func (e *examiner) check(texts *readiness.Texts, c caller, q ask, want bool, how string) {
	e.layers[0], e.layers[1], e.layers[2] = c.keys, documentUnchecked, q.thing.keys
	if q.checked {
		e.layers[1] = documentChecked
	}
	got, why := texts.Decide(readiness.Request{Action: q.action, Resource: q.thing.arn, Keys: e.layers[:]})
	switch {
	case got == fleet.TruthYes && want:
		e.allows++
	case got == fleet.TruthNo && !want:
		e.denies++
	case want:
		e.problem("%s has to be allowed %s on %s%s, and is not (%s)", c.name, q.action, q.thing.arn, how, why)
	case got == fleet.TruthUnknown:
		e.problem("whether %s is allowed %s on %s%s is not known: %s", c.name, q.action, q.thing.arn, how, why)
	default:
		e.problem("%s is allowed %s on %s%s, which nothing promises (%s)", c.name, q.action, q.thing.arn, how, why)
	}
}
