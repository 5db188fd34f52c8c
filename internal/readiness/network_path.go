package readiness

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// network answers, from what EC2 lists alone, whether a host's TCP connection
// to an AWS endpoint's port 443 would be let through, and what stops it. It
// looks at IPv4 and the host's primary interface. It is not safe for
// concurrent use.
type network struct {
	*index
	public   addresses
	ruleMemo map[string]rules
}

func newNetwork(x *index) *network {
	return &network{index: x, public: publicSpace(), ruleMemo: map[string]rules{}}
}

// path is the answer for one host and service.
type path struct {
	open     answer
	stop     hop                // what decides it, unless open is yes
	endpoint *fleet.VPCEndpoint // whose addresses the service's name is known to give
}

// hop is one thing that a connection has to pass.
type hop struct {
	object   string // its ID
	text     string // what it does to the connection
	source   string
	at       time.Time
	fix      string
	presumed bool // "no" holds unless something that is not collected helps, such as a private hosted zone
}

// walk follows a connection hop by hop. The first hop that stops it is kept;
// a stop outweighs a doubt.
type walk struct {
	*network
	h      *fleet.Host
	r      *fleet.Region
	answer answer
	stop   hop
}

func (n *network) walk(h *fleet.Host, r *fleet.Region) *walk {
	return &walk{network: n, h: h, r: r, answer: yes}
}

func (w *walk) pass(a answer, at hop) {
	if a < w.answer {
		w.answer, w.stop = a, at
	}
}

func (w *walk) path() path { return path{open: w.answer, stop: w.stop} }

// hopFrom starts a hop that a collection vouches for.
func hopFrom[T any](f fleet.Fact[T], object, format string, args ...any) hop {
	return hop{object: object, text: fmt.Sprintf(format, args...), source: cmp.Or(f.Source, uncollected), at: f.At}
}

func (h hop) fixedBy(format string, args ...any) hop {
	h.fix = fmt.Sprintf(format, args...)
	return h
}

// path finds the way from a host to a service of its Region.
func (n *network) path(h *fleet.Host, r *fleet.Region, service string) path {
	vpc := n.vpcs[h.VPC]
	switch {
	case !h.PrivateIP.Unmap().Is4():
		return path{open: maybe, stop: hop{object: h.ID, text: "the host has no IPv4 address; paths over IPv6 are not analysed", source: sourceInstances, at: r.Instances.At}}
	case vpc == nil:
		return path{open: maybe, stop: hopFrom(r.VPCs, h.VPC, "VPC %s is not known%s", h.VPC, because(r.VPCs.Reason))}
	}
	amazon := n.amazonDNS(vpc)
	if amazon == yes && vpc.DNSSupport.Known && !vpc.DNSSupport.Value {
		return path{open: no, stop: hopFrom(vpc.DNSSupport, vpc.ID, "VPC %s has enableDnsSupport off, so no name resolves", vpc.ID).
			fixedBy("set enableDnsSupport (and, for endpoints, enableDnsHostnames) to true on VPC %s", vpc.ID)}
	}
	e := n.serviceEndpoint(vpc.ID, r.Name, service)
	if e == nil {
		return n.withoutEndpoint(h, r, service)
	}
	return n.withEndpoint(h, r, vpc, e, amazon)
}

func (n *network) withoutEndpoint(h *fleet.Host, r *fleet.Region, service string) path {
	p := n.publicPath(h, r)
	if !r.Endpoints.Known {
		return path{open: maybe, stop: hopFrom(r.Endpoints, h.VPC, "whether VPC %s has an endpoint for %s is not known%s", h.VPC, service, because(r.Endpoints.Reason))}
	}
	if p.open == no {
		if beyond := n.leadsElsewhere(h, r); beyond != "" {
			return path{open: maybe, stop: hopFrom(r.RouteTables, beyond, "VPC %s has no endpoint for %s and no way to the internet, but routes lead on through %s, where an endpoint may be", h.VPC, service, beyond)}
		}
		p.stop.text += fmt.Sprintf("; VPC %s has no interface endpoint for %s", h.VPC, service)
	}
	return p
}

// withEndpoint decides whether the service's name gives the endpoint's
// addresses, and follows the connection there or to the public ones.
// Source: AWS PrivateLink Guide, privatelink-access-aws-services (private DNS).
func (n *network) withEndpoint(h *fleet.Host, r *fleet.Region, vpc *fleet.VPC, e *fleet.VPCEndpoint, amazon answer) path {
	var off hop // why the name does not give the endpoint
	private := yes
	switch {
	case !strings.EqualFold(e.State, "available"):
		private = no
		off = hopFrom(r.Endpoints, e.ID, "endpoint %s for %s is %q, not available", e.ID, e.Service, e.State).
			fixedBy("bring endpoint %s into the state available, or create it anew", e.ID)
	case !e.PrivateDNS:
		private = no
		off = hopFrom(r.Endpoints, e.ID, "endpoint %s for %s has private DNS off", e.ID, e.Service).
			fixedBy("turn on private DNS of endpoint %s; first open its security group to every host of VPC %s, since all of them will use it", e.ID, vpc.ID)
		off.presumed = true
	case vpc.DNSHostnames.Known && !vpc.DNSHostnames.Value, vpc.DNSSupport.Known && !vpc.DNSSupport.Value:
		private = no
		off = hopFrom(vpc.DNSHostnames, vpc.ID, "VPC %s has enableDnsHostnames or enableDnsSupport off, so private DNS of endpoint %s has no effect", vpc.ID, e.ID).
			fixedBy("set enableDnsHostnames and enableDnsSupport to true on VPC %s", vpc.ID)
	case !vpc.DNSHostnames.Known || !vpc.DNSSupport.Known || amazon != yes:
		private = maybe
		off = hopFrom(r.DHCPOptions, vpc.ID, "whether hosts of VPC %s resolve %s to endpoint %s is not known: its DNS settings or name servers are not Amazon's or not known", vpc.ID, e.Service, e.ID)
	}
	if private == yes {
		p := n.endpointPath(h, r, e)
		p.endpoint = e
		return p
	}
	out := n.publicPath(h, r)
	if private == no {
		if out.open == no {
			off.text += ", and the public addresses are out of reach: " + out.stop.text
			out.stop = off
		}
		return out
	}
	in := n.endpointPath(h, r, e)
	switch agree(in.open, out.open) {
	case yes:
		return in
	case no:
		in.stop.presumed = in.stop.presumed || out.stop.presumed
		return in
	}
	return path{open: maybe, stop: off}
}

// serviceEndpoint finds a VPC's interface endpoint for a service, the one
// with private DNS first.
func (n *network) serviceEndpoint(vpc, region, service string) *fleet.VPCEndpoint {
	var found *fleet.VPCEndpoint
	for _, e := range n.endpoints[vpc] {
		if strings.EqualFold(e.Type, "Interface") && strings.HasSuffix(e.Service, "."+region+"."+service) && (found == nil || e.PrivateDNS && !found.PrivateDNS) {
			found = e
		}
	}
	return found
}

// amazonDNS says whether a VPC's hosts ask Amazon's resolver for names.
func (n *network) amazonDNS(vpc *fleet.VPC) answer {
	o := n.dhcp[vpc.DHCPOptions]
	if o == nil || len(o.Servers) == 0 {
		return maybe
	}
	for _, s := range o.Servers {
		if s == "AmazonProvidedDNS" || s == "169.254.169.253" {
			continue
		}
		a, err := netip.ParseAddr(s)
		// The resolver also answers at the VPC's base address plus two.
		if err != nil || len(vpc.CIDRs) == 0 || !vpc.CIDRs[0].IsValid() || vpc.CIDRs[0].Masked().Addr().Next().Next() != a {
			return maybe
		}
	}
	return yes
}

// endpointPath follows a connection to an interface endpoint in the host's VPC.
func (n *network) endpointPath(h *fleet.Host, r *fleet.Region, e *fleet.VPCEndpoint) path {
	w := n.walk(h, r)
	var targets []netip.Prefix
	for _, id := range e.Subnets {
		s := n.subnets[id]
		if s == nil {
			w.pass(maybe, hopFrom(r.Subnets, id, "subnet %s of endpoint %s is not known%s", id, e.ID, because(r.Subnets.Reason)))
			continue
		}
		targets = append(targets, s.CIDR)
	}
	if len(targets) == 0 {
		w.pass(maybe, hopFrom(r.Endpoints, e.ID, "the subnets of endpoint %s are not known", e.ID))
		return w.path()
	}
	w.egress(addressesOf(targets...), e.Groups, "endpoint "+e.ID)
	var crossings []answer
	var first *walk
	for _, id := range e.Subnets {
		if n.subnets[id] == nil {
			continue
		}
		c := n.walk(h, r)
		c.cross(n.subnets[id], e)
		crossings = append(crossings, c.answer)
		if first == nil || first.answer == yes {
			first = c
		}
	}
	w.pass(agree(crossings...), first.stop)
	w.ingress(e)
	return w.path()
}

// ingress asks an endpoint's security groups to let the host in.
func (w *walk) ingress(e *fleet.VPCEndpoint) {
	if len(e.Groups) == 0 {
		w.pass(maybe, hopFrom(w.r.Endpoints, e.ID, "the security groups of endpoint %s are not known", e.ID))
		return
	}
	a := w.groupRules(e.Groups, false).let(singleAddress(w.h.PrivateIP), w.h.Groups)
	if a == yes {
		return
	}
	text := fmt.Sprintf("security group %s of endpoint %s does not let %s in on port 443", strings.Join(e.Groups, ", "), e.ID, w.h.PrivateIP)
	if a == maybe {
		text = fmt.Sprintf("whether security group %s of endpoint %s lets %s in on port 443 is not known", strings.Join(e.Groups, ", "), e.ID, w.h.PrivateIP)
	}
	w.pass(a, hopFrom(w.r.Groups, e.Groups[0], "%s", text).
		fixedBy("allow TCP 443 into security group %s from the host's security group or subnet", e.Groups[0]))
}

// cross follows a connection to an endpoint's network interface in one subnet
// and the answer back.
func (w *walk) cross(to *fleet.Subnet, e *fleet.VPCEndpoint) {
	there, own := addressesOf(to.CIDR), singleAddress(w.h.PrivateIP)
	if to.ID == w.h.Subnet {
		return // neither routes nor network ACLs act inside a subnet
	}
	w.aclPass(w.h.Subnet, true, ports{httpsPort, httpsPort}, there, "endpoint "+e.ID)
	if t := w.table(w.h); t != nil {
		for _, leg := range w.legs(t, there) {
			if leg.target != "local" {
				w.pass(maybe, hopFrom(w.r.RouteTables, t.ID, "route table %s sends traffic for endpoint %s through %s, which is not followed", t.ID, e.ID, leg.target))
			}
		}
	}
	w.aclPass(to.ID, false, ports{httpsPort, httpsPort}, own, "the host")
	w.aclPass(to.ID, true, ephemeralPorts(w.h), own, "the host")
	w.aclPass(w.h.Subnet, false, ephemeralPorts(w.h), there, "endpoint "+e.ID)
}

func (w *walk) egress(remote addresses, groups []string, what string) {
	if len(w.h.Groups) == 0 {
		w.pass(maybe, hop{object: w.h.ID, text: "the host's security groups are not known", source: sourceInstances, at: w.r.Instances.At})
		return
	}
	a := w.groupRules(w.h.Groups, true).let(remote, groups)
	if a == yes {
		return
	}
	text := fmt.Sprintf("security group %s lets nothing out to %s on port 443", strings.Join(w.h.Groups, ", "), what)
	if a == maybe {
		text = fmt.Sprintf("whether security group %s lets everything out to %s on port 443 is not known", strings.Join(w.h.Groups, ", "), what)
	}
	w.pass(a, hopFrom(w.r.Groups, w.h.Groups[0], "%s", text).fixedBy("allow TCP 443 out of security group %s to the Systems Manager endpoints", w.h.Groups[0]))
}

func (w *walk) aclPass(subnet string, egress bool, p ports, remote addresses, what string) {
	a := w.aclOf[subnet]
	if a == nil {
		w.pass(maybe, hopFrom(w.r.NetworkACLs, subnet, "the network ACL of subnet %s is not known%s", subnet, because(w.r.NetworkACLs.Reason)))
		return
	}
	v := a.allows(egress, p, remote)
	if v == yes {
		return
	}
	direction, ends := "in from", fmt.Sprintf("%d-%d", p.lo, p.hi)
	if egress {
		direction = "out to"
	}
	if p.lo == p.hi {
		ends = fmt.Sprint(p.lo)
	}
	word := "stops"
	if v == maybe {
		word = "stops part of"
	}
	w.pass(v, hopFrom(w.r.NetworkACLs, a.ID, "network ACL %s of subnet %s %s TCP %s %s %s", a.ID, subnet, word, ends, direction, what).
		fixedBy("allow TCP %s %s %s in network ACL %s, before any rule that denies it", ends, direction, peers(what), a.ID))
}

// peers names the other end so that one fix speaks for all endpoints.
func peers(what string) string {
	if strings.HasPrefix(what, "endpoint ") {
		return "the Systems Manager endpoints"
	}
	return what
}

// leadsElsewhere names a route target through which another network, and an
// endpoint in it, may be reached; empty when there is none.
func (n *network) leadsElsewhere(h *fleet.Host, r *fleet.Region) string {
	t := n.walk(h, r).table(h)
	if t == nil {
		return ""
	}
	for _, route := range t.Routes {
		kind, _, _ := strings.Cut(route.Target, "-")
		known := []string{"local", "igw", "nat", "eigw", "vpce"}
		if route.State != "blackhole" && !slices.Contains(known, kind) {
			return route.Target
		}
	}
	return ""
}
