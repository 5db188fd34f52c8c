package readiness

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// request is what a host wants to reach and what it told of how it tries.
type request struct {
	question
	answer  answered           // what the host's own resolver answered; decides where nobody else can tell
	seen    *fleet.VPCEndpoint // answeredEndpoint
	proxy   string             // of the agent's unit, when the name goes through it
	noIPv4  hop                // why the agent finds no address that it can use, on a host without IPv4
	usesV6  bool               // the name has IPv6 addresses
	actions []policyRequest    // what the endpoint's policy has to allow
}

type answered int

const (
	notAnswered answered = iota
	answeredPublic
	answeredEndpoint
	answeredElse
)

// path finds the way of a host to a service.
func (n *network) path(h *fleet.Host, r *fleet.Region, q request) *path {
	shared := n.origin(h, r, false)
	p := n.way(shared, q)
	if p.differs {
		p = n.way(n.origin(h, r, true), q)
	}
	p = n.withPolicy(p, h, r, q)
	if p.position < 0 {
		p.position = n.list(p)
	}
	return p
}

func (n *network) way(o *origin, q request) *path {
	key := fmt.Sprintf("%s|%s|%s|%s|%s|%d", o.key, q.service, q.name, q.config, q.proxy, q.answer)
	if q.seen != nil {
		key += q.seen.ID
	}
	if q.noIPv4.text != "" {
		key += "|" + q.noIPv4.text
	}
	if p := n.ways[key]; p != nil {
		return p
	}
	p := n.find(o, q)
	p.service, p.name, p.position = q.service, q.name, -1
	p.tcp = p.open
	n.ways[key] = p
	return p
}

// finish makes a path of what a walk met.
func (w *walk) finish(p *path) *path {
	p.open, p.stop, p.hops, p.differs = w.answer, w.stop, w.hops, w.differs
	if p.open == no && p.dns.presumed {
		p.stop.presumed = true
	}
	return p
}

func (n *network) find(o *origin, q request) *path {
	w := n.walk(o, false)
	switch {
	case q.proxy != "":
		w.pass(maybe, hop{kind: kindProxy, object: "", text: fmt.Sprintf("the agent connects through the proxy %s; whether that lets it through is not known", quoted(q.proxy)), source: "probe: agent"})
		return w.finish(&path{})
	case !o.has[0] && !o.has[1]:
		w.pass(maybe, hopFrom(o.r.Instances, kindHost, o.subnet, "the addresses of the host are not known"))
		return w.finish(&path{})
	case !o.has[0] && !q.usesV6:
		return n.withoutIPv4(o, q)
	}
	l := n.settled(n.resolve(o, q.question), q)
	if l.leads == leadsNowhere {
		w.pass(no, l.hop)
		return w.finish(&path{dns: l.hop})
	}
	var best *path
	for _, v6 := range []bool{true, false} {
		if v6 && (!q.usesV6 || !o.has[1]) || !v6 && !o.has[0] {
			continue
		}
		if p := n.follow(o, q.question, l, v6); best == nil || p.open > best.open {
			best = p
		}
	}
	return best
}

// withoutIPv4 is the way of a host that has IPv6 addresses only and whose
// agent asks for names that have IPv4 addresses.
func (n *network) withoutIPv4(o *origin, q request) *path {
	w := n.walk(o, true)
	e := n.serviceEndpoint(o.vpc, q.question)
	a := no
	at := q.noIPv4
	switch {
	case e != nil && e.PrivateDNS && e.IPType != "" && e.IPType != "ipv4":
		a = maybe
		at.text += fmt.Sprintf("; endpoint %s has IPv6 addresses, but whether its private DNS gives them is not known", e.ID)
	case n.translates(o):
		a = maybe
		at.text += "; its subnet routes 64:ff9b::/96 to a NAT gateway, but whether DNS64 is on is not known"
	}
	w.pass(a, at)
	return w.finish(&path{})
}

// settled lets the host's own answer decide what nobody else can tell.
func (n *network) settled(l lookup, q request) lookup {
	if l.leads != leadsUnknown {
		if l.seen = l.leads == leadsPublic && q.answer == answeredPublic; l.seen && l.unread != "" {
			l.hop.text = strings.TrimSuffix(l.hop.text, l.unread) + "; the host's own test says the same"
			l.hop.presumed, l.off.presumed, l.unread = false, false, ""
		}
		return l
	}
	said := l.hop
	said.text += "; by the host's own test it "
	switch q.answer {
	case answeredPublic:
		said.text += "gives public addresses"
		return lookup{leads: leadsPublic, hop: said, doubt: l.doubt, off: n.misled(l), seen: true}
	case answeredEndpoint:
		said.text += "gives addresses of endpoint " + q.seen.ID
		return lookup{leads: leadsEndpoint, endpoint: q.seen, hop: said, doubt: l.doubt}
	}
	return l
}

// misled is the cause when name servers other than Amazon's give public
// addresses to hosts whose VPC has an endpoint.
// Source: Amazon Route 53 Developer Guide, hosted-zone-private-considerations (custom DNS servers).
func (n *network) misled(l lookup) hop {
	e := l.endpoint
	if e == nil || l.doubt == otherDoubts {
		return hop{}
	}
	at := l.hop.as("dns-custom-resolver")
	at.text += "; by the host's own test they give public addresses, though endpoint " + e.ID + " is there"
	at.fix, at.undo = forwarderFix(l.doubt, at.object), "take the forwarder or the rule back"
	if !e.PrivateDNS {
		at.fix += fmt.Sprintf("; and turn on private DNS of endpoint %s, after opening its security group to every host of VPC %s", e.ID, e.VPC)
	}
	return at
}

func forwarderFix(why lookupDoubt, object string) string {
	if why == forwarded {
		return fmt.Sprintf("add a Resolver rule of type SYSTEM for the Region's names under amazonaws.com to the VPC, or make the name servers of rule %s forward them to a Resolver inbound endpoint", object)
	}
	return fmt.Sprintf("make the name servers of DHCP options %s forward amazonaws.com to the VPC's own resolver (the VPC's base address plus two)", object)
}

// follow walks the way that a name's answer opens.
func (n *network) follow(o *origin, q question, l lookup, v6 bool) *path {
	p := &path{dns: l.hop, doubtful: l.doubt}
	w := n.walk(o, v6)
	w.service = q.service
	switch l.leads {
	case leadsEndpoint:
		p.endpoint = l.endpoint
		w.pass(l.certain(), l.hop)
		w.toEndpoint(l.endpoint)
	case leadsPublic:
		p.public = true
		return n.publicWay(o, q, l, v6, p)
	default:
		return n.doubtfulWay(o, q, l, v6, p)
	}
	return w.finish(p)
}

// certain is maybe for an answer that rests on a presumption.
func (l lookup) certain() answer {
	if l.hop.presumed {
		return maybe
	}
	return yes
}

// publicWay follows a connection to the service's public addresses. Where the
// way ends because the name should have led to an endpoint, that is the cause.
// It is a doubt as long as what was not read may lead the name to an endpoint,
// and nobody saw what it gives.
func (n *network) publicWay(o *origin, q question, l lookup, v6 bool, p *path) *path {
	w := n.walk(o, v6)
	w.service = q.service
	w.pass(l.certain(), l.hop)
	w.toPublic(q)
	if w.answer != no {
		return w.finish(p)
	}
	cause, found := n.missingWay(o, q, l, w.stop)
	beyond := ""
	if found && !l.seen {
		beyond = n.leadsElsewhere(o, q, v6)
	}
	switch {
	case beyond != "":
		w.endAs(maybe, hopFrom(o.r.RouteTables, kindDNS, beyond, "%s; but routes lead on through %s, where an endpoint may be%s", cause.text, beyond, l.unread))
	case l.unread != "":
		cause = cmp.Or(cause, w.stop)
		cause.text += l.unread
		w.endAs(maybe, cause)
	case found:
		if cause.code == "private-dns-off" && !l.seen {
			cause.text += "; private hosted zones of accounts outside the inventory cannot be seen and might lead there all the same"
		}
		w.endAs(no, cause)
	}
	return w.finish(p)
}

// missingWay names what is missing when a name gives public addresses and the
// way there ends at a stop: a split of the names, an endpoint that does not
// answer, or an endpoint at all. It has nothing to say when the stop is a
// fault of the way to the internet itself.
func (n *network) missingWay(o *origin, q question, l lookup, stop hop) (hop, bool) {
	out := ", and the public addresses are out of reach: " + stop.text
	sibling := n.sibling(o, q)
	if sibling != nil && l.doubt == noDoubt {
		if at, is := n.split(o, q, l, sibling); is {
			at.text += out
			return at, true
		}
	}
	if l.off.text != "" {
		at := l.off
		at.text += out
		return at, true
	}
	// A subnet without any way out was meant to use endpoints, and so was one
	// of which the other service's name leads to an endpoint. Elsewhere the way
	// to the internet is what has broken.
	routing := stop.none || sibling != nil && slices.Contains([]string{"route-missing", "no-public-address"}, stop.code)
	if n.vpcs[o.vpc] == nil || !o.r.Endpoints.Known || !routing {
		return hop{}, false
	}
	at := hopFrom(o.r.Endpoints, kindEndpoint, o.vpc, "VPC %s has no interface endpoint for %s%s", o.vpc, q.service, out).as("endpoint-missing")
	at.fix, at.undo = n.wayOut(o, q), fmt.Sprintf("delete the endpoints that were added to VPC %s, or the route", o.vpc)
	return at, true
}

// sibling is the endpoint that the other of the two session services' names
// leads to; nil when it leads to none.
func (n *network) sibling(o *origin, q question) *fleet.VPCEndpoint {
	i := slices.Index(sessionServices[:], q.service)
	if i < 0 || q.config != "" {
		return nil
	}
	other := q
	other.service = sessionServices[1-i]
	other.name = strings.Replace(q.name, q.service+".", other.service+".", 1)
	if l := n.resolve(o, other); l.leads == leadsEndpoint {
		return l.endpoint
	}
	return nil
}

// split recognises names of which one leads to an endpoint while the other,
// whose endpoint exists too, leads to the internet.
func (n *network) split(o *origin, q question, l lookup, sibling *fleet.VPCEndpoint) (hop, bool) {
	own := n.serviceEndpoint(sibling.VPC, q)
	if own == nil || !strings.EqualFold(own.State, "available") {
		return hop{}, false
	}
	at := hopFrom(o.r.Endpoints, kindDNS, o.vpc, "%s leads hosts of VPC %s to public addresses, though the other service's name leads to endpoint %s and endpoint %s is there for %s", q.name, o.vpc, sibling.ID, own.ID, q.service).as("dns-split")
	at.presumed = l.off.presumed
	zone := n.zoneNamed(q.name)
	switch {
	case own.VPC == o.vpc && !own.PrivateDNS:
		at.fix = fmt.Sprintf("turn on private DNS of endpoint %s; first open its security group to every host of VPC %s, since all of them will use it%s", own.ID, o.vpc, n.wouldShutOut(own))
		at.undo = fmt.Sprintf("turn private DNS of endpoint %s off again", own.ID)
	case zone != nil:
		at.fix = fmt.Sprintf("associate private hosted zone %s (%s) with VPC %s, as the zone of the other service is", zone.ID, quoted(zone.Name), o.vpc)
		at.undo = fmt.Sprintf("end the association of private hosted zone %s with VPC %s", zone.ID, o.vpc)
	default:
		at.fix = fmt.Sprintf("make a private hosted zone %s whose record is an alias of endpoint %s, and associate it with VPC %s", q.name, own.ID, o.vpc)
		at.undo = fmt.Sprintf("end the association of the new zone with VPC %s", o.vpc)
	}
	return at, true
}

func (n *network) zoneNamed(name string) *fleet.HostedZone {
	var found *fleet.HostedZone
	for _, z := range n.byZone {
		if canonical(z.Name) == canonical(name) && (found == nil || z.ID < found.ID) {
			found = z
		}
	}
	return found
}

// doubtfulWay follows every way that an unknown answer may open. Where they
// end alike, the doubt does not matter.
func (n *network) doubtfulWay(o *origin, q question, l lookup, v6 bool, p *path) *path {
	public := n.follow(o, q, lookup{leads: leadsPublic, hop: hop{kind: kindDNS, text: "public addresses, if the name gives those"}}, v6)
	ends := []*path{public}
	if e := l.endpoint; e != nil {
		ends = append(ends, n.follow(o, q, lookup{leads: leadsEndpoint, endpoint: e, hop: hop{kind: kindDNS, text: "endpoint " + e.ID + ", if the name gives that"}}, v6))
	}
	var answers []answer
	for _, e := range ends {
		answers = append(answers, e.open)
	}
	w := n.walk(o, v6)
	joint := agree(answers...)
	if l.doubt == otherDoubts && l.endpoint == nil || n.beyond(o, l) {
		joint = maybe // a third way is possible
	}
	if joint != yes {
		at := l.hop
		if joint == no {
			stop := ends[len(ends)-1].stop
			at.presumed, at.code, at.fix, at.undo = true, stop.code, stop.fix, stop.undo
			at.object = stop.object
			at.text += ", and neither way is open: " + stop.text
		}
		w.pass(joint, at)
		return w.finish(p)
	}
	at := l.hop
	at.text += ", but every way that it may open is open"
	w.pass(yes, at)
	for _, e := range ends {
		for _, h := range e.hops {
			if h.kind != kindDNS {
				w.pass(h.passes, h)
			}
		}
	}
	return w.finish(p)
}

// beyond reports whether an answer that nobody knows may lead further than the
// VPC's own endpoint and the internet.
func (n *network) beyond(o *origin, l lookup) bool {
	return l.doubt != noDoubt && n.elsewhere(o, false) != ""
}

// wouldShutOut warns of the hosts that an endpoint's groups do not admit.
func (n *network) wouldShutOut(e *fleet.VPCEndpoint) string {
	refused, _ := n.admission(e)
	if len(refused) == 0 {
		return ""
	}
	return fmt.Sprintf(" (today it does not admit %s)", fleet.Count(len(refused), "host"))
}

// wayOut advises on a VPC whose hosts reach nothing. It is the same for all
// services, so that one dead end is one finding.
func (n *network) wayOut(o *origin, q question) string {
	var missing []string
	services := sessionServices[:]
	if !slices.Contains(services, q.service) {
		services = []string{q.service}
	}
	for _, service := range services {
		if n.serviceEndpoint(o.vpc, question{service: service, region: q.region}) == nil {
			missing = append(missing, service)
		}
	}
	where := o.subnet
	if t := n.walk(o, false).listedTable(o.subnet, o.vpc); t != nil {
		where = t.ID
	}
	if q.service == "s3" && q.region == o.region {
		return fmt.Sprintf("add a gateway endpoint for s3 to VPC %s and %s, or a route from there to a NAT gateway", o.vpc, where)
	}
	what := "interface endpoints"
	switch len(missing) {
	case 0:
		return fmt.Sprintf("add a route from %s to a NAT gateway", where)
	case 1:
		what = "an interface endpoint"
	}
	return fmt.Sprintf("add %s for %s with private DNS to VPC %s, or a route from %s to a NAT gateway", what, strings.Join(missing, " and "), o.vpc, where)
}

// leadsElsewhere names a route target through which another network, and an
// endpoint in it that a name might lead to, may be reached; empty when there
// is none. A peer VPC that was listed and has no endpoint for the service is none.
func (n *network) leadsElsewhere(o *origin, q question, v6 bool) string {
	for _, t := range n.targetsElsewhere(o, v6) {
		peer := n.peerOf(n.peerings[t], o.vpc)
		if peer != nil && n.vpcs[peer.VPC] != nil && n.endpointsRead(peer.VPC) && n.serviceEndpoint(peer.VPC, q) == nil {
			continue
		}
		return t
	}
	return ""
}

func (n *network) elsewhere(o *origin, v6 bool) string {
	return cmp.Or(append(n.targetsElsewhere(o, v6), "")...)
}

func (n *network) targetsElsewhere(o *origin, v6 bool) []string {
	t := n.walk(o, v6).table(o.subnet, o.vpc)
	if t == nil {
		return nil
	}
	var out []string
	for _, route := range t.Routes {
		kind, _, _ := strings.Cut(route.Target, "-")
		known := []string{"local", "igw", "nat", "eigw", "vpce"}
		if route.State != "blackhole" && !slices.Contains(known, kind) && mayHoldEndpoint(route) {
			out = append(out, route.Target)
		}
	}
	return out
}

// privateSpace is where networks have addresses of their own.
// Source: Amazon VPC User Guide, vpc-cidr-blocks (RFC 1918 and RFC 6598 ranges).
var privateSpace = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("::/0"),
}

// mayHoldEndpoint reports whether an interface endpoint may stand behind a
// route: a VPN's to public addresses alone, such as a partner's, leads to none.
func mayHoldEndpoint(r fleet.Route) bool {
	return !r.CIDR.IsValid() || !strings.HasPrefix(r.Target, "vgw-") || slices.ContainsFunc(privateSpace, r.CIDR.Overlaps)
}
