package simfleet

import (
	"fmt"
	"net/netip"
	"slices"

	"ssm-migrate/internal/fleet"
)

// AddConnectEndpoint makes an EC2 Instance Connect Endpoint that is ready, with
// a network interface in the subnet; without groups it has the VPC's default one.
// Hosts see the interface's address unless the endpoint preserves the client's.
// The caller holds w.Mu for writing.
func (w *World) AddConnectEndpoint(rg *Region, subnet string, groups ...string) (*fleet.ConnectEndpoint, error) {
	s := find(rg.Subnets, func(s *fleet.Subnet) bool { return s.ID == subnet })
	if s == nil {
		return nil, fmt.Errorf("subnet %s does not exist", subnet)
	}
	groups, err := rg.launchGroups(groups, s.VPC)
	if err != nil {
		return nil, err
	}
	e := &fleet.ConnectEndpoint{ID: w.newID("eice"), VPC: s.VPC, Subnet: subnet, State: "create-complete", Groups: groups}
	e.DNSName = e.ID + ".51f1ee70.ec2-instance-connect-endpoint." + rg.Name + ".amazonaws.com"
	rg.ConnectEndpoints = append(slices.Clone(rg.ConnectEndpoints), e)
	rg.ENIs = append(slices.Clone(rg.ENIs), &ENI{ID: w.newID("eni"), VPC: s.VPC, Subnet: subnet, Groups: groups, PrivateIP: w.freeAddress(rg, s), Owner: e.ID})
	return e, nil
}

// ConnectEndpointOf is the endpoint that reaches an instance: one of its
// subnet, else of its VPC; nil without any. The caller holds w.Mu, at least for reading.
func (w *World) ConnectEndpointOf(in *Instance) *fleet.ConnectEndpoint {
	var found *fleet.ConnectEndpoint
	for _, e := range in.Region.ConnectEndpoints {
		switch {
		case !e.Usable() || e.VPC != in.Host.VPC:
		case e.Subnet == in.Host.Subnet:
			return e
		case found == nil:
			found = e
		}
	}
	return found
}

// fromConnectEndpoint is for connections by an EC2 Instance Connect Endpoint:
// what reaches the endpoint is let in whatever its groups say; what leaves it,
// its groups must let out, and the instance's must let in. Source: EC2 User Guide,
// "Security groups for EC2 Instance Connect Endpoint", August 2026.
func (rg *Region) fromConnectEndpoint(from Origin, to *Instance, dst netip.Addr, port int) ReachResult {
	e := from.ConnectEndpoint
	eni := find(rg.ENIs, func(n *ENI) bool { return n.Owner == e.ID })
	switch {
	case eni == nil || !e.Usable():
		return ReachResult{Reason: fmt.Sprintf("the endpoint %s is %s", e.ID, e.State)}
	case dst != to.Host.PrivateIP || e.VPC != to.Host.VPC:
		return ReachResult{Reason: fmt.Sprintf("the endpoint %s does not lead to %s", e.ID, dst)}
	case !e.PreserveClientIP:
		if reason := rg.inside(side{eni.PrivateIP, eni.Subnet, e.Groups}, to.sideFor(eni.PrivateIP), port); reason != "" {
			return ReachResult{Reason: reason}
		}
		return ReachResult{OK: true, Source: eni.PrivateIP}
	case !rg.groupsAllow(e.Groups, true, port, dst, to.Host.Groups):
		return ReachResult{Reason: fmt.Sprintf("security groups %v let nothing out to %s:%d", e.Groups, dst, port)}
	}
	if reason := rg.letsIn(to, from.Addr, port); reason != "" {
		return ReachResult{Reason: reason}
	}
	return ReachResult{OK: true, Source: from.Addr}
}

func describeConnectEndpoints(c *call) (any, error) {
	type endpoint struct {
		ID       string          `xml:"instanceConnectEndpointId"`
		ARN      string          `xml:"instanceConnectEndpointArn"`
		Owner    string          `xml:"ownerId"`
		State    string          `xml:"state"`
		DNS      string          `xml:"dnsName"`
		VPC      string          `xml:"vpcId"`
		Subnet   string          `xml:"subnetId"`
		Preserve bool            `xml:"preserveClientIp"`
		Groups   itemSet[string] `xml:"securityGroupIdSet"`
		Tags     itemSet[tag]    `xml:"tagSet"`
	}
	var out struct {
		Endpoints itemSet[endpoint] `xml:"instanceConnectEndpointSet"`
		Next      string            `xml:"nextToken,omitempty"`
	}
	var err error
	out.Endpoints, out.Next, err = paged(c, table[*fleet.ConnectEndpoint]{
		rows: c.region.ConnectEndpoints, id: func(e *fleet.ConnectEndpoint) string { return e.ID }, ids: "InstanceConnectEndpointId", absent: "InvalidInstanceConnectEndpointId.NotFound",
		tags: noTags[*fleet.ConnectEndpoint],
		filter: map[string]func(*fleet.ConnectEndpoint) []string{
			"instance-connect-endpoint-id": one(func(e *fleet.ConnectEndpoint) string { return e.ID }),
			"state":                        one(func(e *fleet.ConnectEndpoint) string { return e.State }),
			"subnet-id":                    one(func(e *fleet.ConnectEndpoint) string { return e.Subnet }),
			"vpc-id":                       one(func(e *fleet.ConnectEndpoint) string { return e.VPC }),
		},
	}, func(e *fleet.ConnectEndpoint) endpoint {
		return endpoint{
			ID: e.ID, ARN: "arn:aws:ec2:" + c.region.Name + ":" + c.account.ID + ":instance-connect-endpoint/" + e.ID, Owner: c.account.ID,
			State: e.State, DNS: e.DNSName, VPC: e.VPC, Subnet: e.Subnet, Preserve: e.PreserveClientIP, Groups: itemSet[string]{e.Groups},
		}
	})
	return out, err
}

func serialConsoleStatus(c *call) (any, error) {
	return struct {
		Enabled bool `xml:"serialConsoleAccessEnabled"`
	}{c.region.SerialConsole}, nil
}
