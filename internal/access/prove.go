package access

import (
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
)

// prove holds every policy's text against what was promised.
func prove(p *promised, set *Set) bool {
	type group struct {
		subject       Subject
		account, base string
	}
	of := map[group][]int{}
	for i := range set.Policies {
		x := &set.Policies[i]
		base := x.Name
		if x.Parts > 1 {
			base = strings.TrimSuffix(x.Name, fmt.Sprintf("-part-%02d", x.Part))
		}
		of[group{x.For, x.Account, base}] = append(of[group{x.For, x.Account, base}], i)
		x.Proof = Proof{Problems: []string{"nothing in this fleet calls for this policy"}, Text: []string{}}
	}
	holds, matched := true, 0
	settle := func(g group, e *examiner) {
		at := of[g]
		if len(at) == 0 {
			holds = false
			return
		}
		matched += len(at)
		texts := make([]Policy, 0, len(at))
		for _, i := range at {
			texts = append(texts, set.Policies[i])
		}
		e.examine(texts)
		for _, i := range at {
			set.Policies[i].Proof = e.proof()
		}
		holds = holds && e.holds()
	}
	for _, x := range p.instances {
		settle(group{Instance, x.account, x.base()}, &examiner{world: p.world, subject: x, attach: []string{x.arn}})
	}
	for _, t := range p.teams {
		settle(group{Operator, t.account, t.base}, &examiner{world: p.world, subject: t, attach: t.attach})
	}
	return holds && matched == len(set.Policies)
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
	tells(callers int) []string
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
}

const mostProblems = 12

func (e *examiner) problem(format string, args ...any) {
	if e.wrong++; e.wrong <= mostProblems {
		e.problems = append(e.problems, fleet.OneLine(fmt.Sprintf(format, args...), mostNote))
	}
}

func (e *examiner) holds() bool { return e.wrong == 0 }

func (e *examiner) proof() Proof {
	out := Proof{Holds: e.holds(), Allows: e.allows, Denies: e.denies, Problems: slices.Clone(e.problems), Text: slices.Clone(e.text)}
	if e.wrong > mostProblems {
		out.Problems = append(out.Problems, fmt.Sprintf("and %d more", e.wrong-mostProblems))
	}
	if !out.Holds {
		out.Text = []string{}
	}
	return out
}

// examine asks the texts of a policy's parts together.
func (e *examiner) examine(parts []Policy) {
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
	allowed := addAll(slices.Clone(dangerous), append(e.subject.asks(), all.actions("Allow")...)...)
	denied := addAll(slices.Clone(allowed), all.actions("Deny")...)
	for _, c := range callers {
		for i := range things {
			t, actions := &things[i], allowed
			if c.brief {
				if actions = e.subject.asks(); t.arn != "*" && t.host != c.host {
					continue
				}
			}
			for _, q := range e.questions(t, actions) {
				e.check(alone, c, q, e.subject.promises(c, q), "")
			}
		}
	}
	for i := range things {
		t := &things[i]
		for _, q := range e.questions(t, denied) {
			e.check(beside, callers[0], q, !e.subject.keeps(q), " beside a policy that allows everything")
		}
	}
	e.text = e.subject.tells(len(callers))
	e.text = append(e.text, fmt.Sprintf("asked %d requests: %d allowed, all promised; %d not allowed, none promised", e.allows+e.denies, e.allows, e.denies))
}

const heartbeat = "ssm:UpdateInstanceInformation"

// questions are the requests about a thing. On what is not broad only sessions
// are asked for: there may be thousands.
func (e *examiner) questions(t *thing, actions []string) []ask {
	var out []ask
	for _, a := range actions {
		if without := withoutResource(a); without != (t.arn == "*") {
			continue // what knows no resource is asked for on "*", and all else on things
		}
		if !t.broad && a != startSession && a != "ssm:SendCommand" && a != heartbeat {
			continue
		}
		out = append(out, ask{action: a, thing: t, checked: true})
		if a == startSession {
			out = append(out, ask{action: a, thing: t})
		}
	}
	return out
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

// check asks one request, and holds the answer against what it has to be.
func (e *examiner) check(texts *readiness.Texts, c caller, q ask, want bool, how string) {
	check := "false"
	if q.checked {
		check = "true"
	}
	keys := []readiness.Keys{c.keys, {strings.ToLower(documentCheck): {check}}, q.thing.keys}
	got, why := texts.Decide(readiness.Request{Action: q.action, Resource: q.thing.arn, Keys: keys})
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
