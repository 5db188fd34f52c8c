package readiness

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// sessionServices are the endpoints without which no session opens.
// Source: AWS Systems Manager User Guide, session-manager-prerequisites.
var sessionServices = [...]string{"ssm", "ssmmessages"}

// regionsWithoutEC2Messages have no ec2messages endpoint: it exists only in
// Regions launched before 2024. Source: AWS Systems Manager User Guide,
// systems-manager-setting-up-messageAPIs; launch dates: AWS Regions and
// Availability Zones, document history.
var regionsWithoutEC2Messages = []string{
	"ap-southeast-5", "ap-southeast-7", "mx-central-1", "ap-east-2", "ap-southeast-6", "eusc-de-east-1",
}

// egress judges whether the host reaches Systems Manager: by what EC2 and
// Route 53 list, by the host's own test, and by what the agent's heartbeat and
// control channel prove.
func (j *judge) egress() {
	var e egressFindings
	for _, service := range sessionServices {
		proved := j.heartbeat
		if service == "ssmmessages" {
			proved = j.connected
		}
		s := j.way(service)
		if proved {
			e.contradicted(j, s)
		} else {
			e.judge(j, s)
		}
		j.endpointPolicy(s)
	}
	if j.metadataProxy() {
		e.unknown = nil // the proxy is the finding; whether it also lets the agent through shows once that is mended
	}
	e.report(j)
	j.ec2messages()
	j.sessionTargets(e.stops)
}

// serviceWay is what is known of the host's way to one service.
type serviceWay struct {
	service string
	static  *path
	live    liveTest
	proxy   string // that the agent goes through; empty: none
}

// part is what of a session's way the service is.
func (s serviceWay) part() Part {
	if s.service == "ssmmessages" {
		return PartMessages
	}
	return PartSSM
}

// way finds the host's way to a service, and notes it for the verdict.
func (j *judge) way(service string) serviceWay {
	q := j.request(service)
	s := serviceWay{service: service, static: j.network.path(j.h, j.r, q), live: j.live(service), proxy: q.proxy}
	if s.proxy != "" {
		s.live = liveTest{reached: maybe, works: maybe} // it goes past the proxy
	}
	if !slices.Contains(j.paths, s.static.position) {
		j.paths = append(j.paths, s.static.position)
	}
	return s
}

// egressFindings gathers what several services have in common, so that one
// closed security group is one finding.
type egressFindings struct {
	stops        []stopped
	failed       []fleet.Evidence
	failedAt     [len(stages)][]string // services by stage
	unknown      []fleet.Evidence
	disagreement []fleet.Evidence
}

type stopped struct {
	hop
	facts []fleet.Evidence
	parts []Part
	blast string // empty: the object's
}

// contradicted notes what speaks against a path that is proved to work.
func (e *egressFindings) contradicted(j *judge, s serviceWay) {
	proof := j.lastPing()
	if s.service == "ssmmessages" {
		proof = evidence(j.h.Connection, "ssmmessages is reached: connection status is connected")
	}
	var against []fleet.Evidence
	if s.static.tcp == no && !s.static.stop.presumed {
		against = append(against, s.static.stop.evidence(s.service+" by static analysis: "))
	}
	if s.live.works == no {
		against = append(against, s.live.fact)
	}
	if against != nil {
		e.disagreement = append(append(e.disagreement, proof), against...)
	}
}

func (e *egressFindings) judge(j *judge, s serviceWay) {
	static, live := s.static, s.live
	open := static.tcp
	// A presumption needs a symptom beside it before it may block.
	if open == no && static.stop.presumed && (!j.symptom && live.reached != no || live.reached == yes) {
		open = maybe
	}
	found := static.stop.evidence(s.service + " by static analysis: ")
	if live.works == no {
		if cause, ok := j.liveCause(s, open); ok {
			if open == maybe && cause.object == static.stop.object {
				cause.facts = append(cause.facts, found)
			}
			e.stop(cause)
			return
		}
		e.failed = append(e.failed, live.fact)
		e.failedAt[live.stage] = append(e.failedAt[live.stage], s.service)
		if open == maybe {
			e.failed = append(e.failed, static.stop.evidence(s.service+" by static analysis, undecided: "))
		}
	}
	switch {
	case open == no && live.reached == yes:
		e.disagreement = append(e.disagreement, found, live.fact)
	case open == no:
		e.stop(stopped{hop: static.stop, facts: append(static.leads(s.service), found), parts: []Part{s.part()}})
	case open == yes && live.reached == no:
		e.disagreement = append(e.disagreement, fleet.Evidence{Fact: s.service + " by static analysis: nothing is in the way", Source: cmp.Or(j.r.RouteTables.Source, uncollected), At: j.r.RouteTables.At}, live.fact)
	case open == maybe && live.reached == maybe:
		e.unknown = append(e.unknown, found)
	case static.tcp == yes && static.open == maybe:
		e.unknown = append(e.unknown, static.stop.evidence(s.service+": "))
	}
}

// leads is the evidence for where the name leads, when what stops the
// connection lies behind it.
func (p *path) leads(service string) []fleet.Evidence {
	if p.dns.text == "" || p.stop.kind == kindDNS || p.endpoint == nil {
		return nil
	}
	return []fleet.Evidence{p.dns.evidence(service + " by static analysis: ")}
}

func (e *egressFindings) stop(at stopped) {
	for i := range e.stops {
		s := &e.stops[i]
		if s.object != at.object || s.code != at.code {
			continue
		}
		s.facts = append(s.facts, at.facts...)
		s.parts = append(s.parts, at.parts...)
		if !strings.Contains(s.fix, at.fix) {
			s.fix += "; " + at.fix
		}
		if !strings.Contains(s.undo, at.undo) {
			s.undo += "; " + at.undo
		}
		return
	}
	e.stops = append(e.stops, at)
}

func (e *egressFindings) report(j *judge) {
	e.throughProxy(j)
	for _, s := range e.stops {
		j.addStop(s)
	}
	if e.failed != nil {
		j.testFailed(e.failedAt, e.failed)
	}
	if e.unknown != nil {
		j.add("egress-unknown", j.h.ID, "", e.unknown...)
	}
	if e.disagreement != nil {
		j.add("egress-disagreement", j.h.ID, "", e.disagreement...)
	}
}

// addStop records what stops the host's connections.
func (j *judge) addStop(s stopped) {
	object := s.object
	if object == j.h.ID {
		object = ""
	}
	blast := s.blast
	switch {
	case blast != "":
	case object == "":
		blast = hostOnly
	default:
		blast = j.network.blast(object)
	}
	f := found(s.code, j.h.ID, object, s.fix, blast, s.facts)
	f.Undo = cmp.Or(s.undo, f.Undo)
	j.findings = append(j.findings, f)
	j.concerns(s.code, object, s.parts...)
}

// endpointPolicy judges the policy of the endpoint that the host uses. What is
// proved to pass is not held against the host: the policy is then read
// wrongly, or is not in its way, and nothing else that it says is sure. An open
// control channel proves nothing of the data channel, for which the policy has
// to allow actions of its own.
func (j *judge) endpointPolicy(s serviceWay) {
	if j.network.passed(s.static) == nil {
		j.endpointUnseen(s)
		return
	}
	var refused, unsure, contrary []string
	for i, action := range sessionActions {
		switch settled := i < j.settled(); {
		case settled && slices.Contains(s.static.refused, action):
			contrary = append(contrary, action)
		case settled:
		case slices.Contains(s.static.refused, action):
			refused = append(refused, action)
		case slices.Contains(s.static.unsure, action):
			unsure = append(unsure, action)
		}
	}
	e := j.network.passed(s.static)
	says := func(what string, actions []string) fleet.Evidence {
		return evidence(j.r.Endpoints, "the policy of endpoint %s %s %s", e.ID, what, strings.Join(actions, ", "))
	}
	if contrary != nil && j.connected {
		j.add("egress-disagreement", e.ID, "", says("does not allow", contrary))
	}
	var doubts []fleet.Evidence
	switch {
	case refused == nil:
	case j.connected && (contrary != nil || s.static.tcp != yes):
		doubts = append(doubts, says("does not allow", refused), fleet.Evidence{Fact: "whether the host goes by endpoint " + e.ID + " is not known: it is connected, though its way there is not known to be open or the policy refuses that too", Source: "computed path"})
	default:
		j.add("endpoint-policy-denies", e.ID, fmt.Sprintf("allow %s in the policy of endpoint %s", strings.Join(refused, ", "), e.ID), says("does not allow", refused))
		if s.service == "ssmmessages" {
			j.concerns("endpoint-policy-denies", e.ID, channelParts(refused)...)
		}
	}
	if unsure != nil {
		doubts = append(doubts, says("may or may not allow, by conditions or by who calls,", unsure))
	}
	// Of a host that is not connected, the doubt is part of that about its way.
	if doubts != nil && j.connected {
		j.add("endpoint-policy-undecided", e.ID, "", doubts...)
	}
}

// endpointUnseen records that a connected host may go by an endpoint whose
// policy stops the data channel: the endpoints were not read, or the name may
// lead to one whose policy is not clean. A host that is seen to go by public
// addresses, or by a proxy, does not.
func (j *judge) endpointUnseen(s serviceWay) {
	if !j.connected || j.settled() == len(sessionActions) || s.service != "ssmmessages" || s.proxy != "" {
		return
	}
	if seen, _ := j.answered(s.service); seen == answeredPublic {
		return
	}
	if !j.r.Endpoints.Known {
		j.add("endpoint-policy-undecided", j.h.ID, "", evidence(j.r.Endpoints, "whether the host goes by an endpoint for %s, and what its policy allows, is not known: the endpoints were not read%s", s.service, because(j.r.Endpoints.Reason)))
		return
	}
	q := j.request(s.service)
	e := j.network.serviceEndpoint(j.h.VPC, q.question)
	if e == nil || s.static.public {
		return
	}
	v := judgePolicy(e, j.h, q.actions[controlActions-heartbeatActions:])
	if doubts := slices.Concat(v.refused, v.doubtful); doubts != nil {
		j.add("endpoint-policy-undecided", e.ID, "", evidence(j.r.Endpoints, "the name of %s may lead to endpoint %s, whose policy does not allow %s without doubt", s.service, e.ID, strings.Join(doubts, ", ")))
	}
}

// channelParts are the parts of a session's way that need some of the actions
// on ssmmessages.
func channelParts(actions []string) []Part {
	if slices.ContainsFunc(sessionActions[:controlActions], func(a string) bool { return slices.Contains(actions, a) }) {
		return []Part{PartChannel, PartSession}
	}
	return []Part{PartSession}
}

// ec2messages judges the endpoint that older agents get Run Command from.
// Sessions do not need it, so it never blocks.
func (j *judge) ec2messages() {
	v, known, from := j.version()
	needed, _ := parseVersion(ec2messagesVersion)
	if !known || !v.below(needed) || slices.Contains(regionsWithoutEC2Messages, j.h.Region) {
		return
	}
	s := j.way("ec2messages")
	switch {
	case s.live.works == no:
		j.add("egress-ec2messages", j.h.ID, "", from, s.live.fact)
	case s.live.reached == maybe && s.static.open == no && !s.static.stop.presumed:
		f := found("egress-ec2messages", j.h.ID, s.static.stop.object, "", j.network.blast(s.static.stop.object), []fleet.Evidence{from, s.static.stop.evidence("ec2messages by static analysis: ")})
		j.findings = append(j.findings, f)
	}
}
