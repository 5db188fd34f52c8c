package readiness

import (
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// hazards are the findings about endpoints that many hosts share.
func (n *network) hazards(s *fleet.Snapshot) []fleet.Finding {
	var out []fleet.Finding
	for i := range s.Regions {
		r := &s.Regions[i]
		shut := map[string]bool{} // VPC and groups
		for k := range r.Endpoints.Value {
			e := &r.Endpoints.Value[k]
			if n.byEndpoint[e.ID] != e {
				continue // listed by two accounts
			}
			if f, ok := n.shutsOut(r, e); ok && !shut[e.VPC+"|"+strings.Join(e.Groups, ",")] {
				shut[e.VPC+"|"+strings.Join(e.Groups, ",")] = true
				out = append(out, f)
			}
			if f, ok := n.refusesBuckets(r, e); ok {
				out = append(out, f)
			}
		}
	}
	return out
}

// admission sorts the running hosts of an endpoint's VPC by whether its
// security groups let them in for certain.
func (n *network) admission(e *fleet.VPCEndpoint) (refused, admitted []*fleet.Host) {
	if len(e.Groups) == 0 {
		return nil, nil
	}
	in := n.groupRules(e.Groups, false)
	for _, h := range n.hosts[e.VPC] {
		switch in.let(theseAddresses(h.PrivateIP), h.Groups) {
		case no:
			refused = append(refused, h)
		case yes:
			admitted = append(admitted, h)
		}
	}
	return refused, admitted
}

// shutsOut finds endpoints that answer for their service's name in the whole
// VPC but do not let all of its hosts in. Hosts that got through by the
// internet before lose their way. The finding is the same for all endpoints of
// the VPC with the same groups.
func (n *network) shutsOut(r *fleet.Region, e *fleet.VPCEndpoint) (fleet.Finding, bool) {
	if !answersForAll(r, e) {
		return fleet.Finding{}, false
	}
	refused, admitted := n.admission(e)
	heard := 0
	for _, h := range refused {
		if h.Node.Known && h.Node.Value.PingStatus == pingOnline {
			heard++
		}
	}
	if len(refused) == 0 || len(admitted) == 0 && heard == 0 {
		return fleet.Finding{}, false
	}
	group := e.Groups[0]
	var alike []string
	for _, other := range n.endpoints[e.VPC] {
		if slices.Equal(other.Groups, e.Groups) && answersForAll(r, other) {
			alike = append(alike, fmt.Sprintf("%s (%s)", other.ID, other.Service))
		}
	}
	f := found("endpoint-shuts-out-neighbours", "", group,
		fmt.Sprintf("allow TCP 443 into security group %s from %s, or from the whole of VPC %s", group, strings.Join(n.subnetsOfHosts(refused), ", "), e.VPC),
		n.index.blast(group), []fleet.Evidence{
			evidence(r.Endpoints, "%s of VPC %s with private DNS, to which every host of the VPC connects: %s", fleet.Count(len(alike), "endpoint"), e.VPC, strings.Join(alike, ", ")),
			evidence(r.Groups, "security group %s lets in %d of %s; it does not let in %s", strings.Join(e.Groups, ", "), len(admitted), fleet.Count(len(refused)+len(admitted), "host"), someHosts(refused)),
		})
	if heard > 0 {
		f.Evidence = append(f.Evidence, evidence(r.Nodes, "Systems Manager still hears %s of those: they will be cut off when their connections end", fleet.Count(heard, "host")))
	}
	f.Undo = "remove the added rule from security group " + group
	return f, true
}

// answersForAll reports whether an endpoint answers for the name of a service
// that sessions need, in the whole of its VPC.
func answersForAll(r *fleet.Region, e *fleet.VPCEndpoint) bool {
	needed := slices.ContainsFunc(sessionServices[:], func(s string) bool { return serves(e, question{service: s, region: r.Name}) })
	return needed && strings.EqualFold(e.Type, "Interface") && e.PrivateDNS && strings.EqualFold(e.State, "available")
}

// subnetsOfHosts lists the hosts' subnets with their CIDR blocks, once each.
func (n *network) subnetsOfHosts(all []*fleet.Host) []string {
	var out []string
	for _, h := range all {
		text := h.Subnet
		if s := n.subnets[h.Subnet]; s != nil && s.CIDR.IsValid() {
			text = fmt.Sprintf("%s (%s)", s.CIDR, h.Subnet)
		}
		out = append(out, text)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func someHosts(all []*fleet.Host) string {
	var out []string
	for _, h := range all[:min(len(all), 5)] {
		out = append(out, h.ID)
	}
	text := strings.Join(out, ", ")
	if more := len(all) - len(out); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// agentBuckets are AWS's own buckets that the agent reads, those left out
// whose names are not the same in every Region.
// Source: AWS Systems Manager User Guide, ssm-agent-technical-details (minimum
// S3 bucket permissions).
var agentBuckets = []struct{ name, use string }{
	{"amazon-ssm-%s", "agent updates"},
	{"aws-ssm-%s", "modules of documents"},
	{"%s-birdwatcher-prod", "Distributor"},
	{"patch-baseline-snapshot-%s", "patching"},
}

// refusesBuckets finds S3 endpoints whose policy keeps the agent from AWS's
// own buckets: sessions work, agent updates do not.
func (n *network) refusesBuckets(r *fleet.Region, e *fleet.VPCEndpoint) (fleet.Finding, bool) {
	if !serves(e, question{service: "s3", region: r.Name}) || e.Policy == "" || len(n.hosts[e.VPC]) == 0 {
		return fleet.Finding{}, false
	}
	own := requestContext{contextValues{"aws:sourcevpce": {e.ID}, "aws:sourcevpc": {e.VPC}, "aws:requestedregion": {r.Name}, "aws:securetransport": {"true"}}}
	partition := "aws"
	for _, h := range n.hosts[e.VPC] {
		if h.ProfileARN != "" {
			partition = partitionOf(h.ProfileARN)
			break
		}
	}
	var refused []string
	for _, b := range agentBuckets {
		name := fmt.Sprintf(b.name, r.Name)
		if endpointAllows(e.Policy, "s3:GetObject", "arn:"+partition+":s3:::"+name+"/any", own) == no {
			refused = append(refused, name+" ("+b.use+")")
		}
	}
	if refused == nil {
		return fleet.Finding{}, false
	}
	return found("endpoint-policy-denies-buckets", "", e.ID, fmt.Sprintf("allow s3:GetObject on these buckets in the policy of endpoint %s: %s", e.ID, strings.Join(refused, ", ")),
		n.index.blast(e.ID), []fleet.Evidence{evidence(r.Endpoints, "the policy of endpoint %s does not allow s3:GetObject on %s", e.ID, strings.Join(refused, ", "))}), true
}

// blast says who shares an object of the network, those included that the
// index does not know.
func (n *network) blast(id string) string {
	if z := n.byZone[id]; z != nil {
		return fmt.Sprintf("private hosted zone %s is associated with %s with %s", id, fleet.Count(len(z.VPCs), "VPC"), fleet.Count(n.hostsInVPCs(z.VPCs), "host"))
	}
	if r := n.byRule[id]; r != nil {
		return fmt.Sprintf("Resolver rule %s holds in %s with %s", id, fleet.Count(len(r.VPCs), "VPC"), fleet.Count(n.hostsInVPCs(r.VPCs), "host"))
	}
	if p := n.peerings[id]; p != nil {
		both := []string{p.Requester.VPC, p.Accepter.VPC}
		return fmt.Sprintf("peering connection %s joins VPCs %s with %s", id, strings.Join(both, " and "), fleet.Count(n.hostsInVPCs(both), "host"))
	}
	if n.dhcp[id] != nil {
		var vpcs []string
		for _, v := range n.vpcs {
			if v.DHCPOptions == id {
				vpcs = append(vpcs, v.ID)
			}
		}
		return fmt.Sprintf("DHCP options %s hold in %s with %s", id, fleet.Count(len(vpcs), "VPC"), fleet.Count(n.hostsInVPCs(vpcs), "host"))
	}
	if subnets := n.routedTo(id); len(subnets) > 0 && n.byEndpoint[id] == nil && n.nats[id] == nil && n.gateways[id] == nil {
		return fmt.Sprintf("%s carries the traffic of at least %s with %s", id, fleet.Count(len(subnets), "subnet"), fleet.Count(n.hostsIn(subnets), "host"))
	}
	return n.index.blast(id)
}

func (n *network) hostsInVPCs(ids []string) int {
	total := 0
	for _, id := range ids {
		total += n.hostsOfVPC[id]
	}
	return total
}
