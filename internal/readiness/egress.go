package readiness

import (
	"cmp"
	"fmt"
	"net/netip"
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

// liveTest is a host's own test of an endpoint.
type liveTest struct {
	reached answer // TCP: the path that static analysis speaks of
	works   answer // TLS as well
	stage   stage  // where it failed, when works is no
	fact    fleet.Evidence
}

// egress judges whether the host reaches Systems Manager: by what EC2 lists,
// by the host's own test, and by what the agent's heartbeat and control
// channel prove.
func (j *judge) egress() {
	var e egressFindings
	for _, service := range sessionServices {
		proved := j.heartbeat
		if service == "ssmmessages" {
			proved = j.connected
		}
		static, live := j.network.path(j.h, j.r, service), j.live(service)
		if proved {
			e.contradicted(j, service, static, live)
		} else {
			e.judge(j, service, static, live)
		}
		j.endpointPolicy(static.endpoint, service)
	}
	e.report(j)
	j.ec2messages()
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
}

// contradicted notes what speaks against a path that is proved to work.
func (e *egressFindings) contradicted(j *judge, service string, static path, live liveTest) {
	proof := j.lastPing()
	if service == "ssmmessages" {
		proof = evidence(j.h.Connection, "ssmmessages is reached: connection status is connected")
	}
	var against []fleet.Evidence
	if static.open == no && !static.stop.presumed {
		against = append(against, static.stop.evidence(service+" by static analysis: "))
	}
	if live.works == no {
		against = append(against, live.fact)
	}
	if against != nil {
		e.disagreement = append(append(e.disagreement, proof), against...)
	}
}

func (e *egressFindings) judge(j *judge, service string, static path, live liveTest) {
	open := static.open
	// A presumption needs a symptom beside it before it may block.
	if open == no && static.stop.presumed && (!j.symptom || live.reached == yes) {
		open = maybe
	}
	if live.works == no {
		e.failed = append(e.failed, live.fact)
		e.failedAt[live.stage] = append(e.failedAt[live.stage], service)
		if open == maybe {
			e.failed = append(e.failed, static.stop.evidence(service+" by static analysis, undecided: "))
		}
	}
	found := static.stop.evidence(service + " by static analysis: ")
	switch {
	case open == no && live.reached == yes:
		e.disagreement = append(e.disagreement, found, live.fact)
	case open == no:
		e.stop(static.stop, found)
	case open == yes && live.reached == no:
		e.disagreement = append(e.disagreement, fleet.Evidence{Fact: service + " by static analysis: nothing is in the way", Source: j.r.RouteTables.Source, At: j.r.RouteTables.At}, live.fact)
	case open == maybe && live.reached == maybe:
		e.unknown = append(e.unknown, found)
	}
}

func (e *egressFindings) stop(at hop, fact fleet.Evidence) {
	for i := range e.stops {
		s := &e.stops[i]
		if s.object != at.object {
			continue
		}
		s.facts = append(s.facts, fact)
		if !strings.Contains(s.fix, at.fix) {
			s.fix += "; " + at.fix
		}
		return
	}
	e.stops = append(e.stops, stopped{at, []fleet.Evidence{fact}})
}

func (e *egressFindings) report(j *judge) {
	for _, s := range e.stops {
		j.add("egress-no-path", s.object, s.fix, s.facts...)
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

// live reads the host's own test of a service.
func (j *judge) live(service string) liveTest {
	none := liveTest{reached: maybe, works: maybe}
	if !j.h.Probe.Known {
		return none
	}
	tests := j.h.Probe.Value.Endpoints
	i := slices.IndexFunc(tests.Value, func(t fleet.EndpointTest) bool { return t.Service == service })
	if i < 0 {
		return none
	}
	t := tests.Value[i]
	where := service + " by the host's own test: "
	detail := ""
	if t.Detail != "" {
		detail = " (" + quoted(t.Detail) + ")"
	}
	say := func(reached, works answer, failed stage, format string, args ...any) liveTest {
		return liveTest{reached, works, failed, evidence(tests, "%s", where+fmt.Sprintf(format, args...)+detail)}
	}
	at := addressList(t.Addresses.Value)
	switch {
	case t.TLS.Known && t.TLS.Value:
		return say(yes, yes, 0, "TLS to %s at %s works", quoted(t.Host), at)
	case t.TLS.Known && t.Issuer != "":
		return say(yes, no, certificate, "TLS to %s at %s fails; the certificate's issuer is %s", quoted(t.Host), at, quoted(t.Issuer))
	case t.TLS.Known:
		return say(yes, no, certificate, "TLS to %s at %s fails", quoted(t.Host), at)
	case t.TCP.Known && t.TCP.Value:
		return say(yes, maybe, 0, "TCP to %s at %s works; TLS was not tested%s", quoted(t.Host), at, because(t.TLS.Reason))
	case t.TCP.Known:
		return say(no, no, connection, "TCP to %s at %s fails", quoted(t.Host), at)
	case t.Addresses.Known && len(t.Addresses.Value) == 0:
		return say(no, no, resolution, "%s does not resolve", quoted(t.Host))
	}
	return none
}

// addressList shows where a name leads: to private addresses means to an
// interface endpoint.
func addressList(all []netip.Addr) string {
	if len(all) == 0 {
		return "addresses unknown"
	}
	var parts []string
	for _, a := range all[:min(len(all), 4)] {
		kind := "public"
		if a.IsPrivate() {
			kind = "private"
		}
		parts = append(parts, fmt.Sprintf("%s (%s)", a, kind))
	}
	return strings.Join(parts, ", ")
}

// endpointPolicy judges the policy of the interface endpoint that the host
// uses. A connected host is not blocked by it: the policy may be read wrongly,
// as it is judged without the principals that it can name.
func (j *judge) endpointPolicy(e *fleet.VPCEndpoint, service string) {
	if e == nil || e.Policy == "" {
		return
	}
	var refused []string
	for i, action := range sessionActions {
		settled := i < heartbeatActions && j.heartbeat || i < controlActions && j.connected
		if settled || !strings.HasPrefix(action, service+":") {
			continue
		}
		resource, ctx := agentRequest(cmp.Or(j.h.ProfileARN, "arn:aws:"), j.h, i)
		if endpointAllows(e.Policy, action, resource, ctx) == no {
			refused = append(refused, action)
		}
	}
	if refused == nil {
		return
	}
	fact := evidence(j.r.Endpoints, "the policy of endpoint %s does not allow %s", e.ID, strings.Join(refused, ", "))
	if j.connected {
		j.add("egress-disagreement", e.ID, "", fact)
		return
	}
	j.add("endpoint-policy-denies", e.ID, fmt.Sprintf("allow %s in the policy of endpoint %s", strings.Join(refused, ", "), e.ID), fact)
}

// ec2messages judges the endpoint that older agents get Run Command from.
// Sessions do not need it, so it never blocks.
func (j *judge) ec2messages() {
	v, known, from := j.version()
	needed, _ := parseVersion(ec2messagesVersion)
	if !known || !v.below(needed) || slices.Contains(regionsWithoutEC2Messages, j.h.Region) {
		return
	}
	static, live := j.network.path(j.h, j.r, "ec2messages"), j.live("ec2messages")
	switch {
	case live.works == no:
		j.add("egress-ec2messages", j.h.ID, "", from, live.fact)
	case live.reached == maybe && static.open == no && !static.stop.presumed:
		j.add("egress-ec2messages", static.stop.object, "", from, static.stop.evidence("ec2messages by static analysis: "))
	}
}
