package simfleet

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// PathResult is what happens when an instance connects to an AWS endpoint on
// port 443.
type PathResult struct {
	Service   string       // "ssm", "ssmmessages", "ec2messages", ...
	Host      string       // the DNS name that was asked for
	Addresses []netip.Addr // DNS answer; empty: no answer
	Endpoint  string       // the interface endpoint whose addresses were given; empty: public ones
	TCP       bool         // a connection opens; false: it times out
	TLS       bool         // the certificate verifies by the host's trust store
	Issuer    string       // of the certificate; empty without TCP
	Policy    string       // the interface endpoint's policy document; empty: everything is allowed
	Reason    string       // the first thing in the way; empty when TLS is true
}

// Origin is where a connection starts: an instance, or an address outside of
// the world when Instance is nil.
type Origin struct {
	Instance *Instance
	Addr     netip.Addr
}

// ReachResult is what becomes of a TCP connection to an instance.
type ReachResult struct {
	OK     bool       // packets pass both ways; whether somebody listens is another matter
	Source netip.Addr // the address that the target sees; zero without OK
	Reason string     // the first thing in the way; packets are dropped there, so the peer sees a timeout
}

// amazonIssuer is who signs AWS's endpoints.
const amazonIssuer = "C=US, O=Amazon, CN=Amazon RSA 2048 M01"

// publicServices have addresses of their own in every Region.
var publicServices = []string{"ssm", "ssmmessages", "ec2messages", "s3", "kms", "logs", "monitoring", "sts"}

// PublicAddresses gives a service's addresses on the internet; none for a
// service that the world does not have.
func PublicAddresses(service, region string) []netip.Addr {
	i := slices.Index(publicServices, service)
	if i < 0 {
		return nil
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(region))
	n := 1 + i*30 + int(h.Sum32()%15)*2
	return []netip.Addr{addressAt(serviceNet, n), addressAt(serviceNet, n+1)}
}

// EgressTo computes how a connection from the instance to a service of its
// Region fares: name resolution in its VPC, its groups, network ACLs both
// ways, the route, and the endpoint's groups. The caller holds w.Mu, at least
// for reading. The instance's state and its programs are not looked at.
func (w *World) EgressTo(in *Instance, service string) PathResult {
	return egress(in, service).PathResult
}

// egressPath is a path with what AWS sees of it at its end.
type egressPath struct {
	PathResult
	through *fleet.VPCEndpoint // nil: the public endpoint
	source  netip.Addr
}

func egress(in *Instance, service string) egressPath {
	rg := in.Region
	p := egressPath{source: in.Host.PrivateIP}
	p.PathResult = PathResult{Service: service, Host: service + "." + rg.Name + "." + fleet.DNSSuffix(rg.Name)}
	var policy string
	p.Addresses, p.Endpoint, policy, p.Reason = rg.resolve(in.Host.VPC, service)
	if p.Reason != "" {
		return p
	}
	for _, a := range p.Addresses {
		var reason string
		if p.Endpoint != "" {
			reason = rg.toEndpoint(in, a)
		} else {
			p.source, reason = rg.toInternet(in, a, 443)
		}
		if reason == "" {
			p.TCP, p.Reason = true, ""
			break
		}
		if p.Reason == "" {
			p.Reason = reason
		}
	}
	if !p.TCP {
		return p
	}
	p.through = find(rg.Endpoints, func(e *fleet.VPCEndpoint) bool { return e.ID == p.Endpoint })
	p.TLS, p.Issuer, p.Policy = true, amazonIssuer, policy
	if by := rg.Inspected[in.Host.VPC]; by != "" && p.Endpoint == "" {
		p.TLS, p.Issuer = false, by
		p.Reason = "certificate signed by unknown authority " + by
	}
	return p
}

// resolve answers as the VPC's resolver does. Own name servers of a VPC are
// taken to be reachable and to know public names only.
func (rg *Region) resolve(vpcID, service string) (addresses []netip.Addr, endpoint, policy, reason string) {
	vpc := find(rg.VPCs, func(v *fleet.VPC) bool { return v.ID == vpcID })
	if vpc == nil {
		return nil, "", "", "VPC " + vpcID + " does not exist"
	}
	amazon := true
	if d := find(rg.DHCPOptions, func(d *fleet.DHCPOptions) bool { return d.ID == vpc.DHCPOptions }); d != nil {
		amazon = slices.Contains(d.Servers, "AmazonProvidedDNS")
	}
	if amazon && !vpc.DNSSupport.Value {
		return nil, "", "", "DNS resolution is off in " + vpcID
	}
	if amazon && vpc.DNSHostnames.Value {
		if e := find(rg.Endpoints, func(e *fleet.VPCEndpoint) bool {
			return e.VPC == vpcID && e.Type == "Interface" && e.PrivateDNS && e.State == "available" && strings.HasSuffix(e.Service, "."+rg.Name+"."+service)
		}); e != nil {
			for _, n := range rg.ENIs {
				if n.Owner == e.ID {
					addresses = append(addresses, n.PrivateIP)
				}
			}
			return addresses, e.ID, e.Policy, ""
		}
	}
	if addresses = PublicAddresses(service, rg.Name); addresses == nil {
		reason = "no such name"
	}
	return addresses, "", "", reason
}

// toEndpoint gives what stops a connection to an endpoint's interface.
func (rg *Region) toEndpoint(in *Instance, a netip.Addr) string {
	eni := find(rg.ENIs, func(n *ENI) bool { return n.PrivateIP == a && n.VPC == in.Host.VPC })
	if eni == nil {
		return fmt.Sprintf("no interface has %s", a)
	}
	return rg.inside(in.side(), side{addr: a, subnet: eni.Subnet, groups: eni.Groups}, 443)
}

// side is one end of a connection inside a VPC.
type side struct {
	addr   netip.Addr
	subnet string
	groups []string
}

func (in *Instance) side() side {
	return side{addr: in.Host.PrivateIP, subnet: in.Host.Subnet, groups: in.Host.Groups}
}

// inside gives what stops a connection between two interfaces of one VPC.
func (rg *Region) inside(from, to side, port int) string {
	if !rg.groupsAllow(from.groups, true, port, to.addr, to.groups) {
		return fmt.Sprintf("security groups %v let nothing out to %s:%d", from.groups, to.addr, port)
	}
	if from.subnet != to.subnet {
		if reason := rg.aclsAllow(from.subnet, true, port, to.addr); reason != "" {
			return reason
		}
		if reason := rg.aclsAllow(to.subnet, false, port, from.addr); reason != "" {
			return reason
		}
	}
	if !rg.groupsAllow(to.groups, false, port, from.addr, from.groups) {
		return fmt.Sprintf("security groups %v do not let %s in on port %d", to.groups, from.addr, port)
	}
	return ""
}

// toInternet gives the public address that the instance shows to the internet
// on its way to dst, or what stops it.
func (rg *Region) toInternet(in *Instance, dst netip.Addr, port int) (as netip.Addr, reason string) {
	h := in.Host
	if !rg.groupsAllow(h.Groups, true, port, dst, nil) {
		return as, fmt.Sprintf("security groups %v let nothing out to %s:%d", h.Groups, dst, port)
	}
	if reason := rg.aclsAllow(h.Subnet, true, port, dst); reason != "" {
		return as, reason
	}
	route := rg.route(h.VPC, h.Subnet, dst)
	if route == nil {
		return as, fmt.Sprintf("no route from %s to %s", h.Subnet, dst)
	}
	if route.State != "active" {
		return as, fmt.Sprintf("the route to %s by %s is a %s", dst, route.Target, route.State)
	}
	kind, _, _ := strings.Cut(route.Target, "-")
	switch kind {
	case "igw":
		if !h.PublicIP.IsValid() {
			return as, "no public address to use the internet gateway with"
		}
		return h.PublicIP, rg.gateway(route.Target, h.VPC)
	case "nat":
		return rg.throughNAT(route.Target, dst, port)
	case "vpce":
		return h.PrivateIP, ""
	}
	return as, fmt.Sprintf("the route to %s leads to %s, out of this world", dst, route.Target)
}

func (rg *Region) throughNAT(id string, dst netip.Addr, port int) (as netip.Addr, reason string) {
	nat := find(rg.NATGateways, func(g *fleet.Gateway) bool { return g.ID == id })
	eni := find(rg.ENIs, func(n *ENI) bool { return n.Owner == id })
	if nat == nil || eni == nil || nat.State != "available" {
		return as, "NAT gateway " + id + " is not available"
	}
	if reason := rg.aclsAllow(nat.Subnet, true, port, dst); reason != "" {
		return as, reason
	}
	route := rg.route(eni.VPC, nat.Subnet, dst)
	if route == nil || route.State != "active" || !strings.HasPrefix(route.Target, "igw-") {
		return as, "NAT gateway " + id + " has no route to the internet"
	}
	return eni.PublicIP, rg.gateway(route.Target, eni.VPC)
}

func (rg *Region) gateway(id, vpc string) string {
	g := find(rg.Gateways, func(g *fleet.Gateway) bool { return g.ID == id })
	if g == nil || !slices.Contains(g.VPCs, vpc) {
		return "internet gateway " + id + " is not attached to " + vpc
	}
	return ""
}

// CanReach computes whether a TCP connection from an instance or an outside
// address to dst, which must be an address of to, gets through. The caller
// holds w.Mu, at least for reading.
func (w *World) CanReach(from Origin, to *Instance, dst netip.Addr, port int) ReachResult {
	if to.Host.State != "running" {
		return ReachResult{Reason: "the instance is " + to.Host.State}
	}
	private, public := dst == to.Host.PrivateIP, dst.IsValid() && dst == to.Host.PublicIP
	switch f := from.Instance; {
	case !private && !public:
		return ReachResult{Reason: fmt.Sprintf("%s has no address %s", to.Host.ID, dst)}
	case f != nil && f.Host.State != "running":
		return ReachResult{Reason: "the origin is " + f.Host.State}
	case private && f == nil:
		if reason := to.Region.fromVPN(to, from.Addr, port); reason != "" {
			return ReachResult{Reason: reason}
		}
		return ReachResult{OK: true, Source: from.Addr}
	case private && (f.Region != to.Region || f.Host.VPC != to.Host.VPC):
		return ReachResult{Reason: fmt.Sprintf("%s is a private address of %s", dst, to.Host.VPC)}
	case private:
		if reason := to.Region.inside(f.side(), to.side(), port); reason != "" {
			return ReachResult{Reason: reason}
		}
		return ReachResult{OK: true, Source: f.Host.PrivateIP}
	}
	source := from.Addr
	if from.Instance != nil {
		var reason string
		if source, reason = from.Instance.Region.toInternet(from.Instance, dst, port); reason != "" {
			return ReachResult{Reason: reason}
		}
	}
	if reason := to.Region.fromInternet(to, source, port); reason != "" {
		return ReachResult{Reason: reason}
	}
	return ReachResult{OK: true, Source: source}
}

// fromVPN is for packets that a virtual private gateway brings to a private address.
func (rg *Region) fromVPN(to *Instance, source netip.Addr, port int) string {
	h := to.Host
	route := rg.route(h.VPC, h.Subnet, source)
	if route == nil || route.State != "active" || !strings.HasPrefix(route.Target, "vgw-") {
		return fmt.Sprintf("%s is a private address of %s", h.PrivateIP, h.VPC)
	}
	return rg.letsIn(to, source, port)
}

func (rg *Region) fromInternet(to *Instance, source netip.Addr, port int) string {
	h := to.Host
	route := rg.route(h.VPC, h.Subnet, source)
	if route == nil || route.State != "active" || !strings.HasPrefix(route.Target, "igw-") {
		return h.Subnet + " has no route to an internet gateway"
	}
	if reason := rg.gateway(route.Target, h.VPC); reason != "" {
		return reason
	}
	return rg.letsIn(to, source, port)
}

// letsIn is what subnet and groups say to packets from outside of the VPC.
func (rg *Region) letsIn(to *Instance, source netip.Addr, port int) string {
	h := to.Host
	if reason := rg.aclsAllow(h.Subnet, false, port, source); reason != "" {
		return reason
	}
	if !rg.groupsAllow(h.Groups, false, port, source, nil) {
		return fmt.Sprintf("security groups %v do not let %s in on port %d", h.Groups, source, port)
	}
	return ""
}
