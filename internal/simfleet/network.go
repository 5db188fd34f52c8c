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
	Endpoint  string       // the interface endpoint whose addresses were given; empty: others
	TCP       bool         // a connection opens; false: it times out
	TLS       bool         // the certificate verifies by the host's trust store
	Issuer    string       // of the certificate; empty without TCP
	Policy    string       // policy document of the VPC endpoint, of either type, that is passed; empty: everything is allowed
	Reason    string       // the first thing in the way; empty when TLS is true
}

// Origin is where a connection starts: an instance, or an address outside of
// the world when Instance is nil. With ConnectEndpoint, Addr comes in by it.
type Origin struct {
	Instance        *Instance
	Addr            netip.Addr
	ConnectEndpoint *fleet.ConnectEndpoint
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

// EgressTo computes how a connection from the instance's agent to a service of
// its Region fares: the name that the agent asks for, its resolution in the
// VPC, groups, network ACLs both ways, routes, peering and what lies behind
// them, and the endpoint's groups. Of all addresses that the name has and the
// instance can use, one that answers is enough. The caller holds w.Mu, at least
// for reading. The instance's state, its programs and proxies are not looked at.
func (w *World) EgressTo(in *Instance, service string) PathResult {
	return egress(in, service).PathResult
}

// egressPath is a path with what AWS sees of it at its end.
type egressPath struct {
	PathResult
	through *fleet.VPCEndpoint // nil: the public endpoint
	source  netip.Addr         // zero: hidden by something on the way
}

func egress(in *Instance, service string) egressPath {
	rg := in.Region
	var p egressPath
	p.PathResult = PathResult{Service: service, Host: in.serviceName(service)}
	vpc := find(rg.VPCs, func(v *fleet.VPC) bool { return v.ID == in.Host.VPC })
	if vpc == nil {
		p.Reason = "VPC " + in.Host.VPC + " does not exist"
		return p
	}
	if p.Addresses, p.Reason = rg.resolve(vpc, p.Host, 0); p.Reason != "" {
		return p
	}
	if l := rg.locate(in.Host.VPC, p.Addresses[0]); l != nil && l.endpoint != nil {
		p.Endpoint = l.endpoint.ID
	}
	public := false
	for _, a := range p.Addresses {
		way := in.connect(a, 443, service, nil)
		if way.reason == "" {
			p.TCP, p.Reason = true, ""
			p.through, p.source, public = way.endpoint, way.source, way.public
			break
		}
		if p.Reason == "" {
			p.Reason = way.reason
		}
	}
	if !p.TCP {
		return p
	}
	p.TLS, p.Issuer = true, amazonIssuer
	if p.through != nil {
		p.Policy = p.through.Policy
	}
	if by := rg.Inspected[in.Host.VPC]; by != "" && public {
		p.TLS, p.Issuer = false, by
		p.Reason = "certificate signed by unknown authority " + by
	}
	return p
}

// CanReach computes whether a TCP connection from an instance or an outside
// address to dst, which must be an address of to, gets through. The caller
// holds w.Mu, at least for reading.
func (w *World) CanReach(from Origin, to *Instance, dst netip.Addr, port int) ReachResult {
	if to.Host.State != "running" {
		return ReachResult{Reason: "the instance is " + to.Host.State}
	}
	private := dst.IsValid() && (dst == to.Host.PrivateIP || slices.Contains(to.ipv6(), dst))
	public := dst.IsValid() && dst == to.Host.PublicIP
	switch f := from.Instance; {
	case !private && !public:
		return ReachResult{Reason: fmt.Sprintf("%s has no address %s", to.Host.ID, dst)}
	case f != nil && f.Host.State != "running":
		return ReachResult{Reason: "the origin is " + f.Host.State}
	case from.ConnectEndpoint != nil:
		return to.Region.fromConnectEndpoint(from, to, dst, port)
	case private && f == nil:
		if reason := to.Region.fromVPN(to, from.Addr, port); reason != "" {
			return ReachResult{Reason: reason}
		}
		return ReachResult{OK: true, Source: from.Addr}
	case private:
		way := f.connect(dst, port, "", &location{region: to.Region, vpc: to.Host.VPC, side: to.sideFor(dst)})
		if way.reason != "" {
			return ReachResult{Reason: way.reason}
		}
		return ReachResult{OK: true, Source: way.source}
	}
	source := from.Addr
	if from.Instance != nil {
		way := from.Instance.connect(dst, port, "", nil)
		if way.reason != "" {
			return ReachResult{Reason: way.reason}
		}
		source = way.source
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
	switch {
	case route == nil || route.State != "active":
		return h.Subnet + " has no route to an internet gateway"
	case strings.HasPrefix(route.Target, "igw-"):
		if reason := rg.gateway(route.Target, h.VPC); reason != "" {
			return reason
		}
	case strings.HasPrefix(route.Target, "vpce-"):
		// A firewall between the subnet and the VPC's internet gateway.
		if rg.drops(route.Target, "") || find(rg.Gateways, func(g *fleet.Gateway) bool { return slices.Contains(g.VPCs, h.VPC) }) == nil {
			return h.Subnet + " has no way to an internet gateway by " + route.Target
		}
	default:
		return h.Subnet + " has no route to an internet gateway"
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
