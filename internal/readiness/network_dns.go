package readiness

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// lookup is what a name gives to the hosts of a VPC.
type lookup struct {
	leads    leads
	endpoint *fleet.VPCEndpoint // leadsEndpoint; leadsUnknown: what it may be
	hop      hop                // passes is yes, maybe with leadsUnknown, no with leadsNowhere
	doubt    lookupDoubt
	// off says why the VPC's own endpoint does not answer for the name, where
	// it has one: the cause when the public addresses are out of reach.
	off    hop
	unread string // what was not read and might change the answer; empty: nothing
	seen   bool   // leadsPublic: so the name does on the host itself
}

type leads int

const (
	leadsUnknown leads = iota
	leadsPublic
	leadsEndpoint
	leadsNowhere
)

// lookupDoubt is why nobody knows what a name gives.
type lookupDoubt int

const (
	noDoubt     lookupDoubt = iota
	ownServers              // the VPC's DHCP options name servers that are not Amazon's
	forwarded               // a Resolver rule forwards the name
	otherDoubts             // settings or collections that were not read
)

// question is a name that an agent asks for.
type question struct {
	service string
	region  string
	name    string
	dual    bool   // a dual-stack name
	config  string // the agent's configuration names the endpoint
}

// serviceName is the name under which the agent looks for a service.
func serviceName(service, region string, dual bool) string {
	switch {
	case !dual:
		return service + "." + region + "." + fleet.DNSSuffix(region)
	case service == "s3":
		return "s3.dualstack." + region + "." + fleet.DNSSuffix(region)
	}
	return service + "." + region + "." + fleet.DualStackSuffix(region)
}

// inDomain reports whether a name is a domain or lies under it. The root, "",
// holds every name.
// Source: Amazon Route 53 Developer Guide,
// resolver-overview-forward-vpc-to-network-domain-name-matches.
func inDomain(name, domain string) bool {
	name, domain = canonical(name), canonical(domain)
	return domain == "" || name == domain || strings.HasSuffix(name, "."+domain)
}

func canonical(name string) string { return strings.ToLower(strings.Trim(name, ".")) }

// resolve says what a name gives to the hosts of a VPC that ask the servers of
// its DHCP options.
//
// Where several things claim a name, the most specific domain wins; a Resolver
// rule that forwards wins over a private hosted zone of the same domain. An
// interface endpoint's private DNS is a hidden private hosted zone for exactly
// the service's name, so that rules for shorter domains do not touch it. A zone
// that matches and has no record answers NXDOMAIN; nothing else is asked.
// Source: Amazon Route 53 Developer Guide, hosted-zone-private-considerations
// and resolver-overview-forward-vpc-to-network-autodefined-rules; AWS
// PrivateLink Guide, privatelink-access-aws-services (private DNS).
func (n *network) resolve(o *origin, q question) lookup {
	key := o.account + "|" + o.region + "|" + o.vpc + "|" + q.name + "|" + q.config
	if l, ok := n.lookups[key]; ok {
		return l
	}
	l := n.ask(o, q)
	n.lookups[key] = l
	return l
}

func (n *network) ask(o *origin, q question) lookup {
	vpc, r := n.vpcs[o.vpc], o.r
	if vpc == nil {
		return doubt(otherDoubts, nil, hopFrom(r.VPCs, kindDNS, o.vpc, "VPC %s is not known%s", o.vpc, because(r.VPCs.Reason)))
	}
	e := n.serviceEndpoint(vpc.ID, q)
	if named := n.namedEndpoint(q.name); named != nil && n.zoneFor(vpc.ID, q.name) == nil {
		return lookup{leads: leadsEndpoint, endpoint: named, hop: hopFrom(r.Endpoints, kindDNS, named.ID, "%s is a name of endpoint %s itself", quoted(q.name), named.ID)}
	}
	if q.config != "" {
		return doubt(otherDoubts, e, hop{kind: kindDNS, text: fmt.Sprintf("the agent's configuration names the endpoint %s, which is not followed", quoted(q.name)), source: "probe: " + q.config})
	}
	servers := n.dhcp[vpc.DHCPOptions]
	switch n.amazonDNS(vpc) {
	case no:
		return doubt(ownServers, e, hopFrom(r.DHCPOptions, kindDNS, servers.ID, "hosts of VPC %s ask name servers of their own (%s, DHCP options %s); what those answer for %s is not known", vpc.ID, nameList(servers.Servers), servers.ID, q.name))
	case maybe:
		return doubt(otherDoubts, e, hopFrom(r.DHCPOptions, kindDNS, vpc.ID, "whether the hosts of VPC %s ask Amazon's name servers is not known%s", vpc.ID, because(r.DHCPOptions.Reason)))
	}
	if vpc.DNSSupport.Known && !vpc.DNSSupport.Value {
		return lookup{leads: leadsNowhere, hop: n.dnsOff(vpc)}
	}
	return n.unread(o, n.answered(o, q, vpc, e))
}

// unread marks an answer as a presumption where something that could change it
// was not collected.
func (n *network) unread(o *origin, l lookup) lookup {
	var missing string
	switch a := n.accounts[o.account]; {
	case l.leads == leadsUnknown:
		return l
	case l.leads != leadsEndpoint && !o.r.Endpoints.Known:
		missing = "endpoints" + because(o.r.Endpoints.Reason)
	case !o.r.ResolverRules.Known:
		missing = "Resolver rules" + because(o.r.ResolverRules.Reason)
	case l.leads != leadsEndpoint && (a == nil || !a.HostedZones.Known):
		missing = "private hosted zones"
		if a != nil {
			missing += because(a.HostedZones.Reason)
		}
	default:
		return l
	}
	l.unread = "; the " + missing + " were not read and might say otherwise"
	l.hop.presumed, l.off.presumed = true, true
	l.hop.text += l.unread
	return l
}

// answered is what Amazon's resolver says.
func (n *network) answered(o *origin, q question, vpc *fleet.VPC, e *fleet.VPCEndpoint) lookup {
	r := o.r
	private := min(answerOf(vpc.DNSSupport), answerOf(vpc.DNSHostnames)) // private zones count only with both attributes
	zone := n.zoneFor(vpc.ID, q.name)
	hidden := e != nil && e.PrivateDNS && strings.EqualFold(e.State, "available") &&
		(!q.dual || slices.ContainsFunc(e.DNSNames, func(n string) bool { return canonical(n) == canonical(q.name) }))
	rule := n.ruleFor(vpc.ID, q.name)
	most := -1 // length of the private zone's domain
	switch {
	case hidden:
		most = len(canonical(q.name))
	case zone != nil:
		most = len(canonical(zone.Name))
	}
	if rule != nil && rule.Type == "FORWARD" && (private == no || len(canonical(rule.Domain)) >= most) {
		return doubt(forwarded, e, hopFrom(r.ResolverRules, kindDNS, rule.ID, "Resolver rule %s forwards %s (domain %s) to name servers %s; what those answer is not known", rule.ID, q.name, quoted(rule.Domain), nameList(rule.Targets)))
	}
	switch {
	case private == maybe && (hidden || zone != nil):
		return doubt(otherDoubts, e, hopFrom(vpc.DNSHostnames, kindDNS, vpc.ID, "whether private DNS works in VPC %s is not known: enableDnsSupport or enableDnsHostnames was not read", vpc.ID))
	case private == yes && hidden && q.service == "s3" && n.gatewayEndpoint(vpc.ID, q):
		// Beside a gateway endpoint, private DNS may be for inbound Resolver
		// endpoints only, which EC2 is not asked for: the VPC's own hosts then get
		// public addresses. Source: Amazon EC2 API Reference, DnsOptions.
		return doubt(otherDoubts, e, hopFrom(r.Endpoints, kindDNS, e.ID, "whether %s gives the addresses of endpoint %s or, beside the VPC's gateway endpoint, public ones is not known: its private DNS may be for inbound Resolver endpoints only", q.name, e.ID))
	case private == yes && hidden:
		return lookup{leads: leadsEndpoint, endpoint: e, hop: hopFrom(r.Endpoints, kindDNS, e.ID, "%s gives the addresses of endpoint %s, whose private DNS is on", q.name, e.ID)}
	case private == yes && zone != nil:
		return n.fromZone(o, q, zone, e)
	}
	public := lookup{leads: leadsPublic, hop: hopFrom(r.VPCs, kindDNS, vpc.ID, "%s gives the service's public addresses in VPC %s", q.name, vpc.ID)}
	public.off = n.whyNotEndpoint(o, q, vpc, e)
	if q.dual && e != nil && e.PrivateDNS && len(e.DNSNames) == 0 && private != no {
		return doubt(otherDoubts, e, hopFrom(r.Endpoints, kindDNS, e.ID, "whether private DNS of endpoint %s answers for the dual-stack name %s is not known", e.ID, q.name))
	}
	return public
}

// whyNotEndpoint says why a VPC's endpoint does not answer for its service's
// name; a hop without text when the VPC has none.
func (n *network) whyNotEndpoint(o *origin, q question, vpc *fleet.VPC, e *fleet.VPCEndpoint) hop {
	switch {
	case e == nil:
		return hop{}
	case !strings.EqualFold(e.State, "available"):
		return hopFrom(o.r.Endpoints, kindEndpoint, e.ID, "endpoint %s for %s is %s, not available", e.ID, e.Service, quoted(e.State)).as("endpoint-not-available").
			fixedBy("bring endpoint %s into the state available, or create it anew", e.ID)
	case !e.PrivateDNS:
		at := hopFrom(o.r.Endpoints, kindEndpoint, e.ID, "endpoint %s for %s has private DNS off, so %s gives public addresses", e.ID, e.Service, q.name).as("private-dns-off").
			fixedBy("turn on private DNS of endpoint %s; first open its security group to every host of VPC %s, since all of them will use it%s", e.ID, vpc.ID, n.wouldShutOut(e)).
			undoneBy("turn private DNS of endpoint %s off again", e.ID)
		return at
	}
	if vpc.DNSHostnames.Known && !vpc.DNSHostnames.Value {
		return hopFrom(vpc.DNSHostnames, kindDNS, vpc.ID, "VPC %s has enableDnsHostnames off, so private DNS of endpoint %s has no effect", vpc.ID, e.ID).as("dns-off").
			fixedBy("set enableDnsHostnames to true on VPC %s", vpc.ID).
			undoneBy("set enableDnsHostnames of VPC %s back to false", vpc.ID)
	}
	return hopFrom(o.r.Endpoints, kindEndpoint, e.ID, "private DNS of endpoint %s does not answer for the dual-stack name %s", e.ID, q.name).as("endpoint-not-available").
		fixedBy("give endpoint %s an IP address type and DNS records that include IPv6", e.ID)
}

// dnsOff is a VPC whose resolver is turned off.
func (n *network) dnsOff(vpc *fleet.VPC) hop {
	off, text := "enableDnsSupport", fmt.Sprintf("VPC %s has enableDnsSupport off, so no name resolves", vpc.ID)
	private := slices.ContainsFunc(n.endpoints[vpc.ID], func(e *fleet.VPCEndpoint) bool { return e.PrivateDNS })
	if private && vpc.DNSHostnames.Known && !vpc.DNSHostnames.Value {
		off += " and enableDnsHostnames"
		text += "; enableDnsHostnames is off too, without which its endpoints' private DNS has no effect"
	}
	return hopFrom(vpc.DNSSupport, kindDNS, vpc.ID, "%s", text).as("dns-off").
		fixedBy("set %s to true on VPC %s", off, vpc.ID).
		undoneBy("set %s of VPC %s back to false", off, vpc.ID)
}

// ruleFor is the Resolver rule that decides for a name in a VPC: the one with
// the most specific domain. RECURSIVE rules are Resolver's own default.
func (n *network) ruleFor(vpc, name string) *fleet.ResolverRule {
	var best *fleet.ResolverRule
	for _, r := range n.rules[vpc] {
		if r.Type != "RECURSIVE" && inDomain(name, r.Domain) && (best == nil || len(canonical(r.Domain)) > len(canonical(best.Domain))) {
			best = r
		}
	}
	return best
}

// namedEndpoint finds the endpoint that a DNS name of its own belongs to:
// "vpce-ID-HASH.SERVICE.REGION.vpce.amazonaws.com".
// Source: AWS PrivateLink Guide, privatelink-access-aws-services (DNS hostnames).
func (n *network) namedEndpoint(name string) *fleet.VPCEndpoint {
	name = canonical(name)
	label, rest, _ := strings.Cut(name, ".")
	if !strings.HasPrefix(label, "vpce-") || !strings.Contains("."+rest+".", ".vpce.") {
		return nil
	}
	for cut := len(label); cut > 0; cut = strings.LastIndexByte(label[:cut], '-') {
		if e := n.byEndpoint[label[:cut]]; e != nil {
			return e
		}
	}
	return nil
}

// serviceEndpoint finds a VPC's interface endpoint for a service: one that is
// available before one that is not, and of those the one with private DNS.
func (n *network) serviceEndpoint(vpc string, q question) *fleet.VPCEndpoint {
	var found *fleet.VPCEndpoint
	best := -1
	for _, e := range n.endpoints[vpc] {
		if !strings.EqualFold(e.Type, "Interface") || !serves(e, q) {
			continue
		}
		rank := 0
		if strings.EqualFold(e.State, "available") {
			rank += 2
		}
		if e.PrivateDNS {
			rank++
		}
		if rank > best {
			found, best = e, rank
		}
	}
	return found
}

// gatewayEndpoint reports whether a VPC has a gateway endpoint for a service.
func (n *network) gatewayEndpoint(vpc string, q question) bool {
	return slices.ContainsFunc(n.endpoints[vpc], func(e *fleet.VPCEndpoint) bool { return strings.EqualFold(e.Type, "Gateway") && serves(e, q) })
}

func serves(e *fleet.VPCEndpoint, q question) bool {
	return strings.HasSuffix(e.Service, "."+q.region+"."+q.service)
}

// amazonDNS says whether a VPC's hosts ask Amazon's resolver for names; no:
// they ask others; maybe: not known, or both.
func (n *network) amazonDNS(vpc *fleet.VPC) answer {
	o := n.dhcp[vpc.DHCPOptions]
	if o == nil || len(o.Servers) == 0 {
		return maybe
	}
	var all []answer
	for _, s := range o.Servers {
		if s == "AmazonProvidedDNS" || s == "169.254.169.253" || s == "fd00:ec2::253" {
			all = append(all, yes)
			continue
		}
		a, err := netip.ParseAddr(s)
		// The resolver also answers at the VPC's base address plus two.
		if err == nil && len(vpc.CIDRs) > 0 && vpc.CIDRs[0].IsValid() && vpc.CIDRs[0].Masked().Addr().Next().Next() == a {
			all = append(all, yes)
		} else {
			all = append(all, no)
		}
	}
	return agree(all...)
}

func doubt(why lookupDoubt, e *fleet.VPCEndpoint, at hop) lookup {
	return lookup{leads: leadsUnknown, endpoint: e, doubt: why, hop: at}
}

func answerOf(f fleet.Fact[bool]) answer {
	switch {
	case !f.Known:
		return maybe
	case f.Value:
		return yes
	}
	return no
}

// nameList shows a few names that come from an API.
func nameList(all []string) string {
	var parts []string
	for _, s := range all[:min(len(all), 3)] {
		parts = append(parts, quoted(s))
	}
	if len(all) > 3 {
		parts = append(parts, "…")
	}
	if parts == nil {
		return "not known"
	}
	return strings.Join(parts, ", ")
}
