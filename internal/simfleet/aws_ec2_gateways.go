package simfleet

import (
	"cmp"
	"net/netip"

	"ssm-migrate/internal/fleet"
)

type xmlDNSEntry struct {
	Name string `xml:"dnsName"`
}

type xmlEndpoint struct {
	ID          string               `xml:"vpcEndpointId"`
	Type        string               `xml:"vpcEndpointType"`
	VPC         string               `xml:"vpcId"`
	Service     string               `xml:"serviceName"`
	State       string               `xml:"state"`
	Policy      string               `xml:"policyDocument,omitempty"`
	RouteTables itemSet[string]      `xml:"routeTableIdSet"`
	Subnets     itemSet[string]      `xml:"subnetIdSet"`
	Groups      itemSet[xmlGroup]    `xml:"groupSet"`
	PrivateDNS  bool                 `xml:"privateDnsEnabled"`
	IPType      string               `xml:"ipAddressType"`
	Interfaces  itemSet[string]      `xml:"networkInterfaceIdSet"`
	DNS         itemSet[xmlDNSEntry] `xml:"dnsEntrySet"`
	Owner       string               `xml:"ownerId"`
	Tags        itemSet[tag]         `xml:"tagSet"`
}

func (c *call) endpointXML(e *fleet.VPCEndpoint, names map[string]string) xmlEndpoint {
	x := xmlEndpoint{ID: e.ID, Type: e.Type, VPC: e.VPC, Service: e.Service, State: e.State, Policy: e.Policy, PrivateDNS: e.PrivateDNS, IPType: cmp.Or(e.IPType, "ipv4"), Owner: c.account.ID,
		RouteTables: itemSet[string]{e.RouteTables}, Subnets: itemSet[string]{e.Subnets}, Groups: groupSet(e.Groups, names),
		DNS: itemsOf(e.DNSNames, func(n string) xmlDNSEntry { return xmlDNSEntry{n} }), Tags: tagSet(c.region.tagged(e.ID))}
	for _, n := range c.region.ENIs {
		if n.Owner == e.ID {
			x.Interfaces.Items = append(x.Interfaces.Items, n.ID)
		}
	}
	return x
}

func describeEndpoints(c *call) (any, error) {
	var out struct {
		Endpoints itemSet[xmlEndpoint] `xml:"vpcEndpointSet"`
		Next      string               `xml:"nextToken,omitempty"`
	}
	names := c.groupNames()
	var err error
	out.Endpoints, out.Next, err = paged(c, table[*fleet.VPCEndpoint]{
		rows: c.region.Endpoints, id: func(e *fleet.VPCEndpoint) string { return e.ID }, ids: "VpcEndpointId", absent: "InvalidVpcEndpointId.NotFound", min: 1,
		tags: func(e *fleet.VPCEndpoint) map[string]string { return c.region.tagged(e.ID) },
		filter: map[string]func(*fleet.VPCEndpoint) []string{
			"vpc-id": one(func(e *fleet.VPCEndpoint) string { return e.VPC }), "service-name": one(func(e *fleet.VPCEndpoint) string { return e.Service }),
			"vpc-endpoint-id": one(func(e *fleet.VPCEndpoint) string { return e.ID }), "vpc-endpoint-type": one(func(e *fleet.VPCEndpoint) string { return e.Type }),
			"vpc-endpoint-state": one(func(e *fleet.VPCEndpoint) string { return e.State }),
		},
	}, func(e *fleet.VPCEndpoint) xmlEndpoint { return c.endpointXML(e, names) })
	return out, err
}

func describeInternetGateways(c *call) (any, error) {
	type attachment struct {
		VPC   string `xml:"vpcId"`
		State string `xml:"state"`
	}
	type gateway struct {
		ID          string              `xml:"internetGatewayId"`
		Owner       string              `xml:"ownerId"`
		Attachments itemSet[attachment] `xml:"attachmentSet"`
		Tags        itemSet[tag]        `xml:"tagSet"`
	}
	var out struct {
		Gateways itemSet[gateway] `xml:"internetGatewaySet"`
		Next     string           `xml:"nextToken,omitempty"`
	}
	var err error
	out.Gateways, out.Next, err = paged(c, table[*fleet.Gateway]{
		rows: c.region.Gateways, id: func(g *fleet.Gateway) string { return g.ID }, ids: "InternetGatewayId", absent: "InvalidInternetGatewayID.NotFound",
		tags: noTags[*fleet.Gateway],
		filter: map[string]func(*fleet.Gateway) []string{
			"attachment.vpc-id": func(g *fleet.Gateway) []string { return g.VPCs }, "internet-gateway-id": one(func(g *fleet.Gateway) string { return g.ID }),
		},
	}, func(g *fleet.Gateway) gateway {
		return gateway{ID: g.ID, Owner: c.account.ID, Attachments: itemsOf(g.VPCs, func(v string) attachment { return attachment{v, g.State} })}
	})
	return out, err
}

func describeNATGateways(c *call) (any, error) {
	type address struct {
		Interface string `xml:"networkInterfaceId"`
		Private   string `xml:"privateIp"`
		Public    string `xml:"publicIp,omitempty"`
	}
	type gateway struct {
		ID           string           `xml:"natGatewayId"`
		State        string           `xml:"state"`
		Subnet       string           `xml:"subnetId"`
		VPC          string           `xml:"vpcId"`
		Connectivity string           `xml:"connectivityType"`
		Addresses    itemSet[address] `xml:"natGatewayAddressSet"`
		Tags         itemSet[tag]     `xml:"tagSet"`
	}
	var out struct {
		Gateways itemSet[gateway] `xml:"natGatewaySet"`
		Next     string           `xml:"nextToken,omitempty"`
	}
	var err error
	out.Gateways, out.Next, err = paged(c, table[*fleet.Gateway]{
		rows: c.region.NATGateways, id: func(g *fleet.Gateway) string { return g.ID }, ids: "NatGatewayId", absent: "NatGatewayNotFound", tags: noTags[*fleet.Gateway],
		filter: map[string]func(*fleet.Gateway) []string{
			"vpc-id": func(g *fleet.Gateway) []string { return g.VPCs }, "subnet-id": one(func(g *fleet.Gateway) string { return g.Subnet }),
			"state": one(func(g *fleet.Gateway) string { return g.State }), "nat-gateway-id": one(func(g *fleet.Gateway) string { return g.ID }),
		},
	}, func(g *fleet.Gateway) gateway {
		x := gateway{ID: g.ID, State: g.State, Subnet: g.Subnet, Connectivity: "private"}
		if g.Public {
			x.Connectivity = "public"
		}
		if len(g.VPCs) > 0 {
			x.VPC = g.VPCs[0]
		}
		for _, n := range c.region.ENIs {
			if n.Owner == g.ID {
				x.Addresses.Items = append(x.Addresses.Items, address{n.ID, n.PrivateIP.String(), addressText(n.PublicIP)})
			}
		}
		return x
	})
	return out, err
}

func describePrefixLists(c *call) (any, error) {
	type list struct {
		ID      string       `xml:"prefixListId"`
		Family  string       `xml:"addressFamily"`
		State   string       `xml:"state"`
		Name    string       `xml:"prefixListName"`
		Max     int          `xml:"maxEntries"`
		Version int64        `xml:"version"`
		Owner   string       `xml:"ownerId"`
		Tags    itemSet[tag] `xml:"tagSet"`
	}
	var out struct {
		Lists itemSet[list] `xml:"prefixListSet"`
		Next  string        `xml:"nextToken,omitempty"`
	}
	var err error
	out.Lists, out.Next, err = paged(c, table[*fleet.PrefixList]{
		rows: c.region.PrefixLists, id: func(l *fleet.PrefixList) string { return l.ID }, ids: "PrefixListId", absent: "InvalidPrefixListID.NotFound", min: 1,
		tags: noTags[*fleet.PrefixList],
		filter: map[string]func(*fleet.PrefixList) []string{
			"prefix-list-id": one(func(l *fleet.PrefixList) string { return l.ID }), "prefix-list-name": one(func(l *fleet.PrefixList) string { return l.Name }),
			"owner-id": one(func(l *fleet.PrefixList) string { return c.listOwner(l) }),
		},
	}, func(l *fleet.PrefixList) list {
		x := list{ID: l.ID, Family: "IPv4", State: "create-complete", Name: l.Name, Max: len(l.CIDRs), Version: 1, Owner: c.listOwner(l)}
		return x
	})
	return out, err
}

// listOwner tells AWS's own prefix lists by their names.
func (c *call) listOwner(l *fleet.PrefixList) string {
	if len(l.Name) > 14 && l.Name[:14] == "com.amazonaws." {
		return "AWS"
	}
	return c.account.ID
}

func prefixListEntries(c *call) (any, error) {
	id := c.form.Get("PrefixListId")
	l := find(c.region.PrefixLists, func(l *fleet.PrefixList) bool { return l.ID == id })
	if l == nil {
		return nil, refuse("InvalidPrefixListID.NotFound", "The prefix list ID '%s' does not exist", id)
	}
	type entry struct {
		CIDR string `xml:"cidr"`
	}
	var out struct {
		Entries itemSet[entry] `xml:"entrySet"`
		Next    string         `xml:"nextToken,omitempty"`
	}
	var err error
	out.Entries, out.Next, err = paged(c, table[netip.Prefix]{rows: l.CIDRs, id: netip.Prefix.String, min: 1}, func(p netip.Prefix) entry { return entry{p.String()} })
	return out, err
}
