package readiness

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// fromZone reads a private hosted zone's answer.
func (n *network) fromZone(o *origin, q question, z *fleet.HostedZone, e *fleet.VPCEndpoint) lookup {
	source := fleet.Fact[[]fleet.HostedZone]{}
	if a := n.accounts[o.account]; a != nil {
		source = a.HostedZones
	}
	what := fmt.Sprintf("private hosted zone %s (%s)", z.ID, quoted(z.Name))
	nowhere := func(text string) lookup {
		return lookup{leads: leadsNowhere, hop: hopFrom(source, kindDNS, z.ID, "%s %s", what, text).as(zoneCode(z, q)).
			fixedBy("%s", zoneFix(z, q, o.vpc, e)).undoneBy("%s", zoneUndo(z, o.vpc))}
	}
	found, ok := recordFor(z, q.name)
	if !ok {
		return nowhere(fmt.Sprintf("is associated with VPC %s and has no record for %s: the answer is NXDOMAIN, and no other server is asked", o.vpc, q.name))
	}
	for _, name := range found.names {
		// Route 53 itself answers for an alias; a CNAME is looked up anew, and
		// another zone may claim that name.
		if hiding := n.zoneFor(o.vpc, name); hiding != nil && !found.alias && !hasRecord(hiding, name) {
			return nowhere(fmt.Sprintf("leads %s to %s, for which private hosted zone %s (%s) has no record: the answer is NXDOMAIN", q.name, quoted(name), hiding.ID, quoted(hiding.Name)))
		}
		if to := n.namedEndpoint(name); to != nil {
			return lookup{leads: leadsEndpoint, endpoint: to, hop: hopFrom(source, kindDNS, z.ID, "%s leads %s to endpoint %s of VPC %s", what, q.name, to.ID, to.VPC)}
		}
	}
	if len(found.names) > 0 {
		return doubt(otherDoubts, e, hopFrom(source, kindDNS, z.ID, "%s leads %s to %s, which is no endpoint that was listed", what, q.name, nameList(found.names)))
	}
	public := 0
	for _, a := range found.addresses {
		if to := n.endpointWith(o.vpc, a); to != nil {
			return lookup{leads: leadsEndpoint, endpoint: to, hop: hopFrom(source, kindDNS, z.ID, "%s leads %s to addresses of endpoint %s of VPC %s", what, q.name, to.ID, to.VPC)}
		}
		if isPublic(a) {
			public++
		}
	}
	switch {
	case public == len(found.addresses) && public > 0:
		return lookup{leads: leadsPublic, hop: hopFrom(source, kindDNS, z.ID, "%s leads %s to public addresses", what, q.name)}
	case n.nobodyHas(found.addresses):
		return nowhere(fmt.Sprintf("leads %s to addresses that no endpoint has", q.name))
	}
	return doubt(otherDoubts, e, hopFrom(source, kindDNS, z.ID, "%s leads %s to addresses that are not known to be an endpoint's", what, q.name))
}

// zoneCode is the finding about a private zone that leads nowhere.
func zoneCode(z *fleet.HostedZone, q question) string {
	if canonical(z.Name) != canonical(q.name) {
		return "dns-zone-hides"
	}
	return "dns-zone-conflict"
}

func zoneUndo(z *fleet.HostedZone, vpc string) string {
	return fmt.Sprintf("put the former records of private hosted zone %s back, and associate it with VPC %s again", z.ID, vpc)
}

// zoneFix names the way out of a private zone that leads nowhere. Private DNS
// cannot be turned on beside a zone of the same name: EC2 refuses it as a
// conflicting DNS domain.
// Source: https://dev.classmethod.jp/articles/when-creating-a-vpc-endpoint-a-conflict-occurs-what-is-the-problem/
func zoneFix(z *fleet.HostedZone, q question, vpc string, e *fleet.VPCEndpoint) string {
	if canonical(z.Name) != canonical(q.name) {
		return fmt.Sprintf("add a record for %s to private hosted zone %s that leads to the interface endpoint, or create the endpoint with private DNS in VPC %s, which then answers for exactly that name; or end the zone's association with VPC %s", q.name, z.ID, vpc, vpc)
	}
	to := "an interface endpoint that the VPC reaches"
	if e != nil {
		to = "endpoint " + e.ID
	}
	return fmt.Sprintf("make the record %s of private hosted zone %s an alias of %s; or end the zone's association with VPC %s first and then turn on the endpoint's private DNS, which EC2 refuses (\"conflicting DNS domain\") while the zone is associated", q.name, z.ID, to, vpc)
}

// nobodyHas reports whether addresses lie in VPCs that were listed with all
// their endpoints and the endpoints' addresses, none of which has them.
func (n *network) nobodyHas(all []netip.Addr) bool {
	for _, a := range all {
		at := theseAddresses(a)
		known := false
		for id, v := range n.vpcs {
			if at.within(addressesOf(v.CIDRs...)) != yes {
				continue
			}
			if known = n.endpointsRead(id); !known {
				break // ranges of VPCs may overlap: every one of them counts
			}
		}
		if !known {
			return false
		}
	}
	return len(all) > 0
}

func (n *network) endpointsRead(vpc string) bool {
	for _, r := range n.regions {
		if slices.ContainsFunc(r.VPCs.Value, func(v fleet.VPC) bool { return v.ID == vpc }) && !r.Endpoints.Known {
			return false
		}
	}
	return !slices.ContainsFunc(n.endpoints[vpc], func(e *fleet.VPCEndpoint) bool {
		return strings.EqualFold(e.Type, "Interface") && !e.Addresses.Known
	})
}

// records is what a zone has for a name.
type records struct {
	addresses []netip.Addr
	names     []string // of aliases and CNAME records
	alias     bool     // the first of names is an alias's
}

func hasRecord(z *fleet.HostedZone, name string) bool {
	_, ok := recordFor(z, name)
	return ok
}

// recordFor finds a zone's records for a name; a wildcard stands for names
// that have none of their own (RFC 4592).
func recordFor(z *fleet.HostedZone, name string) (records, bool) {
	var out records
	exact := func(r fleet.DNSRecord) bool { return canonical(r.Name) == canonical(name) }
	wild := func(r fleet.DNSRecord) bool {
		rest, is := strings.CutPrefix(strings.Replace(canonical(r.Name), `\052`, "*", 1), "*.")
		return is && canonical(name) != rest && inDomain(name, rest)
	}
	for _, match := range []func(fleet.DNSRecord) bool{exact, wild} {
		for _, r := range z.Records {
			if !match(r) {
				continue
			}
			if r.Alias != "" {
				out.names, out.alias = append([]string{r.Alias}, out.names...), true
			}
			for _, v := range r.Values {
				if a, err := netip.ParseAddr(strings.TrimSpace(v)); err == nil {
					out.addresses = append(out.addresses, a.Unmap())
				} else {
					out.names = append(out.names, v)
				}
			}
		}
		if len(out.addresses)+len(out.names) > 0 {
			return out, true
		}
	}
	return records{}, false
}

// zoneFor is the private hosted zone that answers for a name in a VPC: the one
// with the most specific domain.
func (n *network) zoneFor(vpc, name string) *fleet.HostedZone {
	var best *fleet.HostedZone
	for _, z := range n.zones[vpc] {
		if inDomain(name, z.Name) && canonical(z.Name) != "" && (best == nil || len(canonical(z.Name)) > len(canonical(best.Name))) {
			best = z
		}
	}
	return best
}
