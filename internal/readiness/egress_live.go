package readiness

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// liveTest is a host's own test of an endpoint.
type liveTest struct {
	reached answer // TCP: the path that static analysis speaks of
	works   answer // TLS as well
	stage   stage  // where it failed, when works is no
	issuer  string // of the certificate
	fact    fleet.Evidence
}

// stage is a part of reaching an endpoint, in the order in which they come.
type stage int

const (
	resolution stage = iota
	connection
	certificate
)

// stages tells for each stage how to put it right for services, and who shares
// what is put right.
var stages = [...]struct {
	fix    string // with the services
	shared func(*judge) string
}{
	resolution: {
		"make the names of %s resolve on the host: look at enableDnsSupport and the name servers of its VPC, at their forwarding for amazonaws.com, and at /etc/resolv.conf",
		func(j *judge) string {
			return "the VPC's DNS serves all its hosts: " + j.index.blast(j.h.VPC) + "; settings of the host's own resolver serve this host alone"
		},
	},
	connection: {
		"open TCP 443 from the host to %s: look at the firewall on the host, then at what the route leads through (security groups, network ACLs, a network firewall, a transit gateway)",
		func(j *judge) string {
			return "the route and the network ACL serve a whole subnet: " + j.index.blast(j.h.Subnet) + "; a network firewall may serve more, which is not known; a firewall on the host serves this host alone"
		},
	},
	certificate: {
		"exempt %s from TLS inspection, or put the inspecting proxy's certificate authority into the host's trust store",
		func(*judge) string {
			return "a proxy or firewall that inspects TLS serves every host behind it, how many is not known; the trust store serves this host alone"
		},
	},
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
		return liveTest{reached, works, failed, t.Issuer, evidence(tests, "%s", where+fmt.Sprintf(format, args...)+detail)}
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

// liveCause names what made the host's own test fail, where the test together
// with static analysis tells; open is what static analysis says.
func (j *judge) liveCause(s serviceWay, open answer) (stopped, bool) {
	cause := func(object, code, fix, undo string) (stopped, bool) {
		return stopped{hop: hop{object: object, code: code, fix: fix, undo: undo}, facts: []fleet.Evidence{s.live.fact}, parts: []Part{s.part()}}, true
	}
	switch s.live.stage {
	case certificate:
		return j.badCertificate(s)
	case resolution:
		if d := s.static.doubtful; open == maybe && (d == ownServers || d == forwarded) {
			return cause(s.static.dnsObject(), "dns-custom-resolver", forwarderFix(d, s.static.dnsObject()), "take the forwarder or the rule back")
		}
	case connection:
		if open == no {
			break
		}
		if c, ok := j.splitAnswers(s); ok {
			return c, true
		}
		if e := s.static.endpoint; e != nil && s.static.doubtful == noDoubt && !j.ofEndpoint(e, j.seen(s.service)) {
			return cause(j.h.ID, "dns-answer-differs",
				fmt.Sprintf("make the host ask its VPC's resolver for %s: take its name servers out of /etc/resolv.conf and the name out of /etc/hosts, where they stand", s.static.name), "put the host's own name servers or hosts entry back")
		}
		if c, ok := j.badZone(s); ok {
			return c, true
		}
		way, stop := j.followSeen(j.request(s.service).question, s.static)
		if way == no {
			return stopped{hop: stop, facts: []fleet.Evidence{s.live.fact, stop.evidence(s.service + " by static analysis of these addresses: ")}, parts: []Part{s.part()}}, true
		}
		if what := middlebox(stop); way == maybe && open == maybe && what != "" {
			return cause(stop.object, "firewall-drops",
				fmt.Sprintf("let TCP 443 to %s through %s, or add interface endpoints for both with private DNS to VPC %s, which do not lead through it", strings.Join(sessionServices[:], " and "), what, j.h.VPC), "take the rule, or the endpoints, back")
		}
	}
	return stopped{}, false
}

// middlebox names what a path's undecided hop leads to, where that may drop
// connections; empty where it may not.
func middlebox(at hop) string {
	switch at.kind {
	case kindFirewall:
		return "the firewall behind endpoint " + at.object
	case kindTransit:
		return "transit gateway " + at.object + " and the firewall that it may lead to"
	case kindVPN:
		return "the firewall at the far end of virtual private gateway " + at.object
	case kindENI, kindOther:
		return "the firewall or appliance that " + at.object + " leads to"
	}
	return ""
}

// toSeen tells what stops for certain a connection to the public addresses
// that the host's own test was given.
func (j *judge) toSeen(q question) (hop, bool) {
	way, stop := j.followSeen(q, &path{public: true})
	return stop, way == no
}

// followSeen follows the connection to the very addresses that the host's own
// test was given, on a path that leads to an endpoint or to the internet, and
// tells what decides; yes, without a hop, when those are not known.
func (j *judge) followSeen(q question, p *path) (answer, hop) {
	seen := j.seen(q.service)
	if p.public {
		seen = slices.DeleteFunc(slices.Clone(seen), func(a netip.Addr) bool { return !isPublic(a) })
	}
	o, best, stop := j.network.origin(j.h, j.r, true), no, hop{}
	for _, v6 := range []bool{true, false} {
		w := j.network.walk(o, v6)
		w.remote, w.service = theseAddresses(seen...).family(v6), q.service
		if len(w.remote) == 0 || len(o.source(v6)) == 0 {
			continue
		}
		switch {
		case p.public:
			j.network.followPublic(w, q)
		case p.endpoint != nil:
			w.toEndpoint(p.endpoint)
		default:
			continue
		}
		if stop.text == "" || w.answer > best {
			best, stop = w.answer, w.stop
		}
		if w.answer == yes {
			return yes, hop{}
		}
	}
	if stop.text == "" {
		return yes, hop{}
	}
	return best, stop
}

// followPublic follows a connection to public addresses that the host itself
// was given, and names what is missing where it ends.
func (n *network) followPublic(w *walk, q question) {
	w.toPublic(q)
	if w.answer != no {
		return
	}
	l := n.settled(n.resolve(w.o, q), request{question: q, answer: answeredPublic})
	if cause, found := n.missingWay(w.o, q, l, w.stop); found {
		w.endAs(no, cause)
	}
}

// badZone recognises a private hosted zone that leads the host to addresses of
// which nothing that was listed is an endpoint's, and which do not answer.
func (j *judge) badZone(s serviceWay) (stopped, bool) {
	z := j.network.byZone[s.static.dns.object]
	if z == nil || s.static.doubtful != otherDoubts {
		return stopped{}, false
	}
	q := j.request(s.service)
	found, _ := recordFor(z, q.name)
	seen := j.seen(s.service)
	if len(seen) == 0 || slices.ContainsFunc(seen, func(a netip.Addr) bool { return !slices.Contains(found.addresses, a.Unmap()) }) {
		return stopped{}, false
	}
	e := j.network.serviceEndpoint(j.h.VPC, q.question)
	return stopped{
		hop:   hop{object: z.ID, code: zoneCode(z, q.question), fix: zoneFix(z, q.question, j.h.VPC, e), undo: zoneUndo(z, j.h.VPC)},
		facts: []fleet.Evidence{s.static.dns.evidence(s.service + " by static analysis: "), s.live.fact},
		parts: []Part{s.part()},
	}, true
}

// dnsObject is what decides a name's answer.
func (p *path) dnsObject() string {
	if p.dns.object != "" {
		return p.dns.object
	}
	return p.stop.object
}

// splitAnswers recognises, by the host's own answers, names of which one leads
// to an endpoint and the other to the internet, which is out of reach.
func (j *judge) splitAnswers(s serviceWay) (stopped, bool) {
	i := slices.Index(sessionServices[:], s.service)
	if i < 0 {
		return stopped{}, false
	}
	other := sessionServices[1-i]
	mine, _ := j.answered(s.service)
	theirs, e := j.answered(other)
	if mine != answeredPublic || theirs == answeredPublic || theirs == notAnswered {
		return stopped{}, false
	}
	to := "private addresses"
	if e != nil {
		to = "endpoint " + e.ID
	}
	return stopped{
		hop: hop{
			object: j.h.VPC, code: "dns-split",
			fix:  fmt.Sprintf("make %s lead to an interface endpoint as %s does: turn on private DNS of the endpoint for %s, or associate the private hosted zone of its name with VPC %s", s.static.name, other, s.service, j.h.VPC),
			undo: "turn private DNS off again, or end the zone's association",
		},
		facts: []fleet.Evidence{s.live.fact, evidence(j.h.Probe.Value.Endpoints, "the name of %s leads the host to %s", other, to)},
		parts: []Part{s.part()},
	}, true
}

// ofEndpoint reports whether any address may be an endpoint's.
func (j *judge) ofEndpoint(e *fleet.VPCEndpoint, all []netip.Addr) bool {
	if len(all) == 0 {
		return true
	}
	return slices.ContainsFunc(all, func(a netip.Addr) bool {
		if e.Addresses.Known {
			return slices.Contains(e.Addresses.Value, a.Unmap())
		}
		return !isPublic(a)
	})
}

// badCertificate tells TLS inspection, where the certificate names another
// issuer than Amazon, from a host that lacks Amazon's root certificates.
// Source: AWS Systems Manager User Guide, ssm-agent-technical-details (root
// certificates); aws/amazon-ssm-agent issue 195.
func (j *judge) badCertificate(s serviceWay) (stopped, bool) {
	trust := j.h.Probe.Value.Health.Value.TrustStore
	public := fleet.DNSSuffix(j.h.Region) == "amazonaws.com" // other partitions' certificates may have other issuers
	at := stopped{facts: []fleet.Evidence{s.live.fact}, parts: []Part{PartTrust}}
	switch {
	case s.live.issuer != "" && public && !amazonIssuer(s.live.issuer):
		at.object, at.code = j.inspector(s.static), "tls-intercepted"
		at.fix = fmt.Sprintf("exempt ssm and ssmmessages from TLS inspection, where %s issues the certificates, or let the hosts reach them by interface endpoints; only where inspection has to stay, put its certificate authority into the hosts' trust stores", quoted(s.live.issuer))
		at.blast = fmt.Sprintf("what inspects TLS serves every host behind it: %s of this snapshot saw certificates of %s", fleet.Count(j.network.issuers[s.live.issuer], "host"), quoted(s.live.issuer))
		at.undo = "take the exemption back"
		if trust.Known && trust.Value {
			at.facts = append(at.facts, evidence(trust, "Amazon Root CA 1 is in the host's trust store, so that Amazon's own certificates would verify"))
		}
		return at, true
	case trust.Known && !trust.Value:
		at.code = "root-ca-missing"
		at.facts = append(at.facts, evidence(trust, "Amazon Root CA 1 is not in the host's trust store"))
		return at, true
	}
	return stopped{}, false
}

// inspector is what may inspect TLS on a path: a firewall that it leads
// through, else the VPC's way out.
func (j *judge) inspector(p *path) string {
	for _, h := range p.hops {
		if h.kind == kindFirewall || h.kind == kindENI || h.kind == kindTransit {
			return h.object
		}
	}
	return j.h.VPC
}

// amazonIssuer reports whether a certificate names an Amazon authority as its
// issuer. Anybody can write such a name: it only sorts failed tests.
func amazonIssuer(issuer string) bool {
	for _, part := range strings.FieldsFunc(issuer, func(r rune) bool { return r == ',' || r == '/' || r == ';' }) {
		key, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if ok && (key == "O" && value == "Amazon" || key == "CN" && (strings.HasPrefix(value, "Amazon R") || strings.HasPrefix(value, "Amazon E") || strings.HasPrefix(value, "Starfield "))) {
			return true
		}
	}
	return false
}

// noteIssuers counts the hosts that saw another issuer than Amazon.
func (n *network) noteIssuers(h *fleet.Host) {
	if !h.Probe.Known {
		return
	}
	seen := map[string]bool{}
	for _, t := range h.Probe.Value.Endpoints.Value {
		if t.Issuer != "" && !seen[t.Issuer] && t.TLS.Known && !t.TLS.Value && !amazonIssuer(t.Issuer) {
			seen[t.Issuer] = true
			n.issuers[t.Issuer]++
		}
	}
}

// testFailed reports the host's own tests that failed, with the services by
// the stage at which they did.
func (j *judge) testFailed(at [len(stages)][]string, facts []fleet.Evidence) {
	var fixes, shared []string
	var parts []Part
	for s, services := range at {
		if services == nil {
			continue
		}
		fixes = append(fixes, fmt.Sprintf(stages[s].fix, strings.Join(services, " and ")))
		shared = append(shared, stages[s].shared(j))
		if stage(s) == resolution && len(services) == len(sessionServices) {
			parts = append(parts, PartNames)
		}
		for _, service := range services {
			switch {
			case stage(s) == certificate:
				parts = append(parts, PartTrust)
			case service == "ssm":
				parts = append(parts, PartSSM)
			default:
				parts = append(parts, PartMessages)
			}
		}
	}
	j.addHere("egress-test-failed", strings.Join(fixes, "; "), strings.Join(shared, "; "), facts...)
	j.concerns("egress-test-failed", "", parts...)
}
