package simfleet

import (
	"net/netip"

	"ssm-migrate/internal/fleet"
)

type xmlPeeringBlock struct {
	CIDR string `xml:"cidrBlock,omitempty"`
	IPv6 string `xml:"ipv6CidrBlock,omitempty"`
}

type xmlPeeringOptions struct {
	DNS bool `xml:"allowDnsResolutionFromRemoteVpc"`
}

type xmlPeeringEnd struct {
	CIDR    string                   `xml:"cidrBlock,omitempty"`
	CIDRs   itemSet[xmlPeeringBlock] `xml:"cidrBlockSet"`
	IPv6    itemSet[xmlPeeringBlock] `xml:"ipv6CidrBlockSet"`
	Owner   string                   `xml:"ownerId"`
	Options xmlPeeringOptions        `xml:"peeringOptions"`
	VPC     string                   `xml:"vpcId"`
	Region  string                   `xml:"region"`
}

func peeringEndXML(e fleet.PeeringEnd) xmlPeeringEnd {
	x := xmlPeeringEnd{Owner: e.Account, VPC: e.VPC, Region: e.Region}
	for _, p := range e.CIDRs {
		if p.Addr().Is4() {
			x.CIDR = firstNonEmpty(x.CIDR, p.String())
			x.CIDRs.Items = append(x.CIDRs.Items, xmlPeeringBlock{CIDR: p.String()})
		} else {
			x.IPv6.Items = append(x.IPv6.Items, xmlPeeringBlock{IPv6: p.String()})
		}
	}
	return x
}

func describePeerings(c *call) (any, error) {
	type status struct {
		Code    string `xml:"code"`
		Message string `xml:"message"`
	}
	type peering struct {
		ID        string        `xml:"vpcPeeringConnectionId"`
		Requester xmlPeeringEnd `xml:"requesterVpcInfo"`
		Accepter  xmlPeeringEnd `xml:"accepterVpcInfo"`
		Status    status        `xml:"status"`
		Tags      itemSet[tag]  `xml:"tagSet"`
	}
	var out struct {
		Peerings itemSet[peering] `xml:"vpcPeeringConnectionSet"`
		Next     string           `xml:"nextToken,omitempty"`
	}
	cidrs := func(e fleet.PeeringEnd) []string { return mapped(e.CIDRs, netip.Prefix.String) }
	var err error
	out.Peerings, out.Next, err = paged(c, table[*fleet.Peering]{
		rows: c.region.Peerings, id: func(p *fleet.Peering) string { return p.ID }, ids: "VpcPeeringConnectionId", absent: "InvalidVpcPeeringConnectionID.NotFound",
		tags: noTags[*fleet.Peering],
		filter: map[string]func(*fleet.Peering) []string{
			"vpc-peering-connection-id": one(func(p *fleet.Peering) string { return p.ID }), "status-code": one(func(p *fleet.Peering) string { return p.State }),
			"requester-vpc-info.vpc-id":     one(func(p *fleet.Peering) string { return p.Requester.VPC }),
			"accepter-vpc-info.vpc-id":      one(func(p *fleet.Peering) string { return p.Accepter.VPC }),
			"requester-vpc-info.owner-id":   one(func(p *fleet.Peering) string { return p.Requester.Account }),
			"accepter-vpc-info.owner-id":    one(func(p *fleet.Peering) string { return p.Accepter.Account }),
			"requester-vpc-info.cidr-block": func(p *fleet.Peering) []string { return cidrs(p.Requester) },
			"accepter-vpc-info.cidr-block":  func(p *fleet.Peering) []string { return cidrs(p.Accepter) },
		},
	}, func(p *fleet.Peering) peering {
		return peering{ID: p.ID, Requester: peeringEndXML(p.Requester), Accepter: peeringEndXML(p.Accepter), Status: status{p.State, p.State}}
	})
	return out, err
}
