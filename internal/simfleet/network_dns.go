package simfleet

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// firstDualStack is the first agent that can be told to use dual-stack
// endpoints. Source: agent release notes, 2025-10-09.
const firstDualStack = "3.3.3270.0"

// agentConfig is what amazon-ssm-agent.json says of endpoints.
type agentConfig struct {
	Agent                  struct{ UseDualStackEndpoint bool }
	Ssm, Mgs, Mds, S3, Kms struct{ Endpoint string }
}

// serviceName is the DNS name under which the instance's agent looks for a
// service: the one of its configuration, the dual-stack one if it is told to
// use that and new enough, else the Region's ordinary name.
func (in *Instance) serviceName(service string) string {
	region := in.Region.Name
	if in.Agent.Config == "" {
		return ordinaryName(service, region)
	}
	var c agentConfig
	if err := json.Unmarshal([]byte(in.Agent.Config), &c); err != nil {
		return ordinaryName(service, region) // the agent then works with its defaults
	}
	own := map[string]string{"ssm": c.Ssm.Endpoint, "ssmmessages": c.Mgs.Endpoint, "ec2messages": c.Mds.Endpoint, "s3": c.S3.Endpoint, "kms": c.Kms.Endpoint}[service]
	switch {
	case own != "":
		return strings.TrimSuffix(strings.TrimPrefix(own, "https://"), "/")
	case c.Agent.UseDualStackEndpoint && !versionLess(in.Agent.Version, firstDualStack):
		return dualStackName(service, region)
	}
	return ordinaryName(service, region)
}

func ordinaryName(service, region string) string {
	return service + "." + region + "." + fleet.DNSSuffix(region)
}

// dualStackSuffixes are the domains of dual-stack endpoints by the ordinary
// one. Source: botocore's endpoints.json, August 2026.
var dualStackSuffixes = map[string]string{
	"amazonaws.com": "api.aws", "amazonaws.com.cn": "api.amazonwebservices.com.cn", "c2s.ic.gov": "api.aws.ic.gov", "sc2s.sgov.gov": "api.aws.scloud",
	"cloud.adc-e.uk": "api.cloud-aws.adc-e.uk", "csp.hci.ic.gov": "api.aws.hci.ic.gov", "amazonaws.eu": "api.amazonwebservices.eu",
}

func dualStackName(service, region string) string {
	suffix := fleet.DNSSuffix(region)
	if service == "s3" {
		return "s3.dualstack." + region + "." + suffix
	}
	return service + "." + region + "." + dualStackSuffixes[suffix]
}

// maxAliases is how many aliases and CNAMEs a resolver follows.
const maxAliases = 8

// resolve answers as the VPC's resolver does. Own name servers of a VPC, and
// those that a forwarding rule names, are taken to be reachable and to know
// public names only. Sources: Route 53 Developer Guide, private hosted zone
// considerations and Resolver rules; Amazon VPC User Guide, DNS attributes.
func (rg *Region) resolve(vpc *fleet.VPC, name string, depth int) (addresses []netip.Addr, reason string) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	switch {
	case depth > maxAliases:
		return nil, "too many aliases"
	case !rg.usesResolver(vpc):
		return rg.publicName(name)
	case !vpc.DNSSupport.Value:
		return nil, "DNS resolution is off in " + vpc.ID
	}
	zone := rg.zoneOf(vpc, name)
	if r := rg.ruleOf(vpc, name); r != nil && r.Type == "FORWARD" && (zone == nil || len(r.Domain) >= len(zone.name)) {
		return rg.publicName(name)
	}
	switch {
	case zone == nil:
		return rg.publicName(name)
	case zone.endpoint != nil:
		return rg.endpointAddresses(zone.endpoint), ""
	}
	return rg.fromRecords(vpc, zone, name, depth)
}

// usesResolver reports whether the VPC's hosts ask Amazon's Resolver: by its
// name, by the address two above the start of the VPC's range, or by its
// link-local address.
func (rg *Region) usesResolver(vpc *fleet.VPC) bool {
	d := find(rg.DHCPOptions, func(d *fleet.DHCPOptions) bool { return d.ID == vpc.DHCPOptions })
	if d == nil || len(d.Servers) == 0 {
		return true
	}
	own := []string{"AmazonProvidedDNS", "169.254.169.253", "fd00:ec2::253"}
	for _, p := range vpc.CIDRs {
		if p.Addr().Is4() {
			own = append(own, addressAt(p, 2).String())
		}
	}
	return slices.ContainsFunc(d.Servers, func(s string) bool { return slices.Contains(own, s) })
}

// under reports whether a name is a domain or lies in it.
func under(name, domain string) bool {
	return domain == "" || name == domain || strings.HasSuffix(name, "."+domain)
}

// ruleOf is the most specific Resolver rule for a name in a VPC.
func (rg *Region) ruleOf(vpc *fleet.VPC, name string) *fleet.ResolverRule {
	var best *fleet.ResolverRule
	for _, a := range rg.Account.accounts() { // rules are shared between accounts
		for _, r := range a.Regions {
			if r.Name != rg.Name {
				continue
			}
			for _, rule := range r.Rules {
				if slices.Contains(rule.VPCs, vpc.ID) && under(name, strings.ToLower(rule.Domain)) && (best == nil || len(rule.Domain) > len(best.Domain)) {
					best = rule
				}
			}
		}
	}
	return best
}

// privateZone is what answers for a domain inside of a VPC: a private hosted
// zone, or the private DNS name of an interface endpoint.
type privateZone struct {
	name     string
	endpoint *fleet.VPCEndpoint
	zone     *fleet.HostedZone
}

// zoneOf is the most specific private zone for a name; a VPC without DNS
// hostnames has none.
func (rg *Region) zoneOf(vpc *fleet.VPC, name string) *privateZone {
	if !vpc.DNSHostnames.Value {
		return nil
	}
	var best *privateZone
	offer := func(z privateZone) {
		if under(name, z.name) && (best == nil || len(z.name) > len(best.name)) {
			best = &z
		}
	}
	for _, e := range rg.Endpoints {
		if e.VPC == vpc.ID && e.Type == "Interface" && e.PrivateDNS && e.State == "available" {
			for _, n := range privateNames(e, rg.Name) {
				offer(privateZone{name: n, endpoint: e})
			}
		}
	}
	for _, a := range rg.Account.accounts() {
		for _, z := range a.Zones {
			if slices.Contains(z.VPCs, vpc.ID) {
				offer(privateZone{name: strings.ToLower(z.Name), zone: z})
			}
		}
	}
	return best
}

// privateNames are the names for which an endpoint with private DNS answers:
// its service's, and those that it lists besides its own.
func privateNames(e *fleet.VPCEndpoint, region string) []string {
	service := e.Service[strings.LastIndex(e.Service, ".")+1:]
	names := []string{ordinaryName(service, region)}
	for _, n := range e.DNSNames {
		if !strings.Contains(n, ".vpce.") && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// endpointAddresses are the addresses of an endpoint's interfaces.
func (rg *Region) endpointAddresses(e *fleet.VPCEndpoint) []netip.Addr {
	var out []netip.Addr
	for _, n := range rg.ENIs {
		if n.Owner != e.ID {
			continue
		}
		if n.PrivateIP.IsValid() {
			out = append(out, n.PrivateIP)
		}
		if n.IPv6.IsValid() {
			out = append(out, n.IPv6)
		}
	}
	return out
}

// fromRecords answers from a private hosted zone. What it does not hold does
// not exist, whatever the public says.
func (rg *Region) fromRecords(vpc *fleet.VPC, z *privateZone, name string, depth int) ([]netip.Addr, string) {
	records := z.zone.Records
	at := func(n string) []fleet.DNSRecord {
		return filter(records, func(r fleet.DNSRecord) bool { return strings.EqualFold(r.Name, n) })
	}
	found := at(name)
	for rest := name; len(found) == 0 && under(rest, z.name) && rest != z.name; {
		_, rest, _ = strings.Cut(rest, ".")
		found = at("*." + rest)
	}
	var out []netip.Addr
	for _, r := range found {
		targets := []string{r.Alias}
		if r.Alias == "" {
			targets = r.Values
		}
		for _, t := range targets {
			if a, err := netip.ParseAddr(t); err == nil {
				out = append(out, a)
				continue
			}
			more, _ := rg.resolve(vpc, t, depth+1)
			out = append(out, filter(more, func(a netip.Addr) bool { return r.Type == "CNAME" || a.Is4() == (r.Type == "A") })...)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Sprintf("the private hosted zone %s has no address for %s", z.name, name)
	}
	return out, ""
}

// publicName answers for names that everybody can look up: AWS's endpoints, and
// the own names of VPC endpoints, whose addresses are private all the same.
func (rg *Region) publicName(name string) ([]netip.Addr, string) {
	for _, a := range rg.Account.accounts() {
		for _, r := range a.Regions {
			for _, e := range r.Endpoints {
				if strings.Contains(name, ".vpce.") && slices.Contains(e.DNSNames, name) {
					return r.endpointAddresses(e), ""
				}
			}
		}
	}
	for _, service := range publicServices {
		rest, ok := strings.CutPrefix(name, service+".")
		if !ok {
			continue
		}
		rest = strings.TrimPrefix(rest, "dualstack.")
		region, _, _ := strings.Cut(rest, ".")
		switch name {
		case ordinaryName(service, region):
			return PublicAddresses(service, region), ""
		case dualStackName(service, region):
			return append(PublicAddresses(service, region), publicIPv6(service, region)...), ""
		}
	}
	return nil, "no such name"
}

// serviceNet6 is where dual-stack endpoints have their IPv6 addresses: a range
// for documentation (RFC 3849).
var serviceNet6 = netip.MustParsePrefix("2001:db8:a35::/48")

// publicIPv6 mirrors a service's IPv4 addresses.
func publicIPv6(service, region string) []netip.Addr {
	return mapped(PublicAddresses(service, region), func(a netip.Addr) netip.Addr {
		out, v4 := serviceNet6.Addr().As16(), a.As4()
		copy(out[12:], v4[:])
		return netip.AddrFrom16(out)
	})
}
