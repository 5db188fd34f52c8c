package simfleet

import (
	"net/netip"
	"strconv"
	"strings"

	"ssm-migrate/internal/fleet"
)

func noTags[T any](T) map[string]string { return nil }

// paged is what most EC2 answers need: the rows in their XML form and a token.
func paged[T, X any](c *call, t table[T], toXML func(T) X) (itemSet[X], string, error) {
	rows, next, err := t.page(c)
	if err != nil {
		return itemSet[X]{}, "", err
	}
	return itemsOf(rows, toXML), next, nil
}

type cidrState struct {
	State string `xml:"state"`
}

type cidrAssociation struct {
	ID    string    `xml:"associationId"`
	CIDR  string    `xml:"cidrBlock,omitempty"`
	IPv6  string    `xml:"ipv6CidrBlock,omitempty"`
	State cidrState `xml:"cidrBlockState"`
}

func describeVPCs(c *call) (any, error) {
	type vpc struct {
		ID      string                   `xml:"vpcId"`
		Owner   string                   `xml:"ownerId"`
		State   string                   `xml:"state"`
		CIDR    string                   `xml:"cidrBlock"`
		CIDRs   itemSet[cidrAssociation] `xml:"cidrBlockAssociationSet"`
		IPv6    itemSet[ipv6Association] `xml:"ipv6CidrBlockAssociationSet"`
		DHCP    string                   `xml:"dhcpOptionsId"`
		Tenancy string                   `xml:"instanceTenancy"`
		Default bool                     `xml:"isDefault"`
		Tags    itemSet[tag]             `xml:"tagSet"`
	}
	var out struct {
		VPCs itemSet[vpc] `xml:"vpcSet"`
		Next string       `xml:"nextToken,omitempty"`
	}
	var err error
	out.VPCs, out.Next, err = paged(c, table[*fleet.VPC]{
		rows: c.region.VPCs, id: func(v *fleet.VPC) string { return v.ID }, ids: "VpcId", absent: "InvalidVpcID.NotFound",
		tags: func(v *fleet.VPC) map[string]string { return v.Tags },
		filter: map[string]func(*fleet.VPC) []string{
			"vpc-id": one(func(v *fleet.VPC) string { return v.ID }), "dhcp-options-id": one(func(v *fleet.VPC) string { return v.DHCPOptions }),
			"cidr": func(v *fleet.VPC) []string { return mapped(v.CIDRs, netip.Prefix.String) }, "state": one(func(*fleet.VPC) string { return "available" }),
		},
	}, func(v *fleet.VPC) vpc {
		x := vpc{ID: v.ID, Owner: c.account.ID, State: "available", DHCP: v.DHCPOptions, Tenancy: "default", Tags: tagSet(v.Tags)}
		x.IPv6 = ipv6Associations(v.ID, v.CIDRs)
		for i, p := range v.CIDRs {
			if p.Addr().Is4() {
				x.CIDR = firstNonEmpty(x.CIDR, p.String())
				x.CIDRs.Items = append(x.CIDRs.Items, cidrAssociation{ID: "vpc-cidr-assoc-" + v.ID[4:] + strconv.Itoa(i), CIDR: p.String(), State: cidrState{"associated"}})
			}
		}
		return x
	})
	return out, err
}

type ipv6Association struct {
	ID    string    `xml:"associationId"`
	CIDR  string    `xml:"ipv6CidrBlock"`
	State cidrState `xml:"ipv6CidrBlockState"`
}

func ipv6Associations(of string, in []netip.Prefix) itemSet[ipv6Association] {
	v6 := filter(in, func(p netip.Prefix) bool { return p.Addr().Is6() })
	return itemsOf(v6, func(p netip.Prefix) ipv6Association {
		return ipv6Association{"cidr-assoc-" + of, p.String(), cidrState{"associated"}}
	})
}

func firstNonEmpty(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func describeVPCAttribute(c *call) (any, error) {
	id := c.form.Get("VpcId")
	v := find(c.region.VPCs, func(v *fleet.VPC) bool { return v.ID == id })
	if v == nil {
		return nil, refuse("InvalidVpcID.NotFound", "The vpc ID '%s' does not exist", id)
	}
	type value struct {
		Value bool `xml:"value"`
	}
	var out struct {
		VPC       string `xml:"vpcId"`
		Hostnames *value `xml:"enableDnsHostnames"`
		Support   *value `xml:"enableDnsSupport"`
	}
	out.VPC = id
	switch a := c.form.Get("Attribute"); a {
	case "enableDnsHostnames":
		out.Hostnames = &value{v.DNSHostnames.Value}
	case "enableDnsSupport":
		out.Support = &value{v.DNSSupport.Value}
	default:
		return nil, refuse("InvalidParameterValue", "Value (%s) for parameter attribute is invalid. Unknown attribute.", a)
	}
	return out, nil
}

func describeSubnets(c *call) (any, error) {
	type subnet struct {
		ID        string                   `xml:"subnetId"`
		VPC       string                   `xml:"vpcId"`
		AZ        string                   `xml:"availabilityZone"`
		CIDR      string                   `xml:"cidrBlock,omitempty"`
		Owner     string                   `xml:"ownerId"`
		State     string                   `xml:"state"`
		PublicIPs bool                     `xml:"mapPublicIpOnLaunch"`
		IPv6      itemSet[ipv6Association] `xml:"ipv6CidrBlockAssociationSet"`
		Tags      itemSet[tag]             `xml:"tagSet"`
	}
	var out struct {
		Subnets itemSet[subnet] `xml:"subnetSet"`
		Next    string          `xml:"nextToken,omitempty"`
	}
	var err error
	out.Subnets, out.Next, err = paged(c, table[*fleet.Subnet]{
		rows: c.region.Subnets, id: func(s *fleet.Subnet) string { return s.ID }, ids: "SubnetId", absent: "InvalidSubnetID.NotFound",
		tags: func(s *fleet.Subnet) map[string]string { return s.Tags },
		filter: map[string]func(*fleet.Subnet) []string{
			"vpc-id": one(func(s *fleet.Subnet) string { return s.VPC }), "subnet-id": one(func(s *fleet.Subnet) string { return s.ID }),
			"availability-zone": one(func(s *fleet.Subnet) string { return s.AZ }), "cidr-block": one(func(s *fleet.Subnet) string { return s.CIDR.String() }),
		},
	}, func(s *fleet.Subnet) subnet {
		x := subnet{ID: s.ID, VPC: s.VPC, AZ: s.AZ, Owner: c.account.ID, State: "available", IPv6: ipv6Associations(s.ID, s.IPv6), Tags: tagSet(s.Tags)}
		if s.CIDR.IsValid() {
			x.CIDR = s.CIDR.String()
		}
		x.PublicIPs = c.region.mapsPublicIPs(s)
		return x
	})
	return out, err
}

type xmlRoute struct {
	CIDR       string `xml:"destinationCidrBlock,omitempty"`
	IPv6       string `xml:"destinationIpv6CidrBlock,omitempty"`
	PrefixList string `xml:"destinationPrefixListId,omitempty"`
	Gateway    string `xml:"gatewayId,omitempty"`
	Instance   string `xml:"instanceId,omitempty"`
	NAT        string `xml:"natGatewayId,omitempty"`
	Transit    string `xml:"transitGatewayId,omitempty"`
	Interface  string `xml:"networkInterfaceId,omitempty"`
	Peering    string `xml:"vpcPeeringConnectionId,omitempty"`
	Egress     string `xml:"egressOnlyInternetGatewayId,omitempty"`
	State      string `xml:"state"`
	Origin     string `xml:"origin"`
}

func routeXML(r fleet.Route) xmlRoute {
	x := xmlRoute{PrefixList: r.PrefixList, State: r.State, Origin: "CreateRoute"}
	if r.CIDR.IsValid() && r.CIDR.Addr().Is4() {
		x.CIDR = r.CIDR.String()
	} else if r.CIDR.IsValid() {
		x.IPv6 = r.CIDR.String()
	}
	kind, _, _ := strings.Cut(r.Target, "-")
	switch kind {
	case "nat":
		x.NAT = r.Target
	case "i":
		x.Instance = r.Target
	case "tgw":
		x.Transit = r.Target
	case "eni":
		x.Interface = r.Target
	case "pcx":
		x.Peering = r.Target
	case "eigw":
		x.Egress = r.Target
	case "local":
		x.Gateway, x.Origin = r.Target, "CreateRouteTable"
	default: // igw, vgw, vpce
		x.Gateway = r.Target
	}
	return x
}

func describeRouteTables(c *call) (any, error) {
	type association struct {
		ID     string    `xml:"routeTableAssociationId"`
		Table  string    `xml:"routeTableId"`
		Subnet string    `xml:"subnetId,omitempty"`
		Main   bool      `xml:"main"`
		State  cidrState `xml:"associationState"`
	}
	type routeTable struct {
		ID           string               `xml:"routeTableId"`
		VPC          string               `xml:"vpcId"`
		Owner        string               `xml:"ownerId"`
		Routes       itemSet[xmlRoute]    `xml:"routeSet"`
		Associations itemSet[association] `xml:"associationSet"`
		Tags         itemSet[tag]         `xml:"tagSet"`
	}
	var out struct {
		Tables itemSet[routeTable] `xml:"routeTableSet"`
		Next   string              `xml:"nextToken,omitempty"`
	}
	var err error
	out.Tables, out.Next, err = paged(c, table[*fleet.RouteTable]{
		rows: c.region.RouteTables, id: func(t *fleet.RouteTable) string { return t.ID }, ids: "RouteTableId", absent: "InvalidRouteTableID.NotFound", tags: noTags[*fleet.RouteTable],
		filter: map[string]func(*fleet.RouteTable) []string{
			"vpc-id": one(func(t *fleet.RouteTable) string { return t.VPC }), "route-table-id": one(func(t *fleet.RouteTable) string { return t.ID }),
			"association.subnet-id": func(t *fleet.RouteTable) []string { return t.Subnets },
			"association.main":      one(func(t *fleet.RouteTable) string { return strconv.FormatBool(t.Main) }),
		},
	}, func(t *fleet.RouteTable) routeTable {
		x := routeTable{ID: t.ID, VPC: t.VPC, Owner: c.account.ID, Routes: itemsOf(t.Routes, routeXML)}
		if t.Main {
			x.Associations.Items = append(x.Associations.Items, association{"rtbassoc-" + t.ID[4:], t.ID, "", true, cidrState{"associated"}})
		}
		for _, s := range t.Subnets {
			x.Associations.Items = append(x.Associations.Items, association{"rtbassoc-" + s[7:], t.ID, s, false, cidrState{"associated"}})
		}
		return x
	})
	return out, err
}

func describeDHCPOptions(c *call) (any, error) {
	type value struct {
		Value string `xml:"value"`
	}
	type configuration struct {
		Key    string         `xml:"key"`
		Values itemSet[value] `xml:"valueSet"`
	}
	type options struct {
		ID    string                 `xml:"dhcpOptionsId"`
		Owner string                 `xml:"ownerId"`
		Set   itemSet[configuration] `xml:"dhcpConfigurationSet"`
		Tags  itemSet[tag]           `xml:"tagSet"`
	}
	var out struct {
		Options itemSet[options] `xml:"dhcpOptionsSet"`
		Next    string           `xml:"nextToken,omitempty"`
	}
	values := func(v ...string) itemSet[value] { return itemsOf(v, func(s string) value { return value{s} }) }
	var err error
	out.Options, out.Next, err = paged(c, table[*fleet.DHCPOptions]{
		rows: c.region.DHCPOptions, id: func(d *fleet.DHCPOptions) string { return d.ID }, ids: "DhcpOptionsId", absent: "InvalidDhcpOptionID.NotFound", tags: noTags[*fleet.DHCPOptions],
		filter: map[string]func(*fleet.DHCPOptions) []string{"dhcp-options-id": one(func(d *fleet.DHCPOptions) string { return d.ID })},
	}, func(d *fleet.DHCPOptions) options {
		return options{ID: d.ID, Owner: c.account.ID, Set: itemSet[configuration]{[]configuration{
			{"domain-name", values(c.region.Name + ".compute.internal")}, {"domain-name-servers", values(d.Servers...)}}}}
	})
	return out, err
}

// interfaces are all network interfaces of the Region: instances', endpoints', NAT gateways'.
func (c *call) interfaces() []xmlInterface {
	names := c.groupNames()
	var out []xmlInterface
	for _, in := range c.region.Instances {
		for i := range in.Host.Interfaces {
			out = append(out, c.instanceInterface(&in.Host, &in.Host.Interfaces[i], names))
		}
	}
	for _, n := range c.region.ENIs {
		x := c.networkInterface(n.ID, n.Subnet, n.VPC, n.PrivateIP, n.PublicIP)
		x.Groups = groupSet(n.Groups, names)
		if n.IPv6.IsValid() {
			x.IPv6.Items = []xmlIPv6{{n.IPv6.String()}}
		}
		x.Type, x.Description = "vpc_endpoint", "VPC Endpoint Interface "+n.Owner
		if strings.HasPrefix(n.Owner, "nat-") {
			x.Type, x.Description = "nat_gateway", "Interface for NAT Gateway "+n.Owner
		}
		if s := find(c.region.Subnets, func(s *fleet.Subnet) bool { return s.ID == n.Subnet }); s != nil {
			x.AZ = s.AZ
		}
		out = append(out, x)
	}
	return out
}

func describeInterfaces(c *call) (any, error) {
	var out struct {
		Interfaces itemSet[xmlInterface] `xml:"networkInterfaceSet"`
		Next       string                `xml:"nextToken,omitempty"`
	}
	attached := func(f func(*xmlAttachment) string) func(xmlInterface) []string {
		return func(x xmlInterface) []string {
			if x.Attachment == nil {
				return nil
			}
			return []string{f(x.Attachment)}
		}
	}
	var err error
	out.Interfaces, out.Next, err = paged(c, table[xmlInterface]{
		rows: c.interfaces(), id: func(x xmlInterface) string { return x.ID }, ids: "NetworkInterfaceId", absent: "InvalidNetworkInterfaceID.NotFound",
		tags: noTags[xmlInterface],
		filter: map[string]func(xmlInterface) []string{
			"vpc-id": one(func(x xmlInterface) string { return x.VPC }), "subnet-id": one(func(x xmlInterface) string { return x.Subnet }),
			"network-interface-id": one(func(x xmlInterface) string { return x.ID }), "interface-type": one(func(x xmlInterface) string { return x.Type }),
			"private-ip-address": one(func(x xmlInterface) string { return x.PrivateIP }), "description": one(func(x xmlInterface) string { return x.Description }),
			"status":                 one(func(x xmlInterface) string { return x.Status }),
			"group-id":               func(x xmlInterface) []string { return mapped(x.Groups.Items, func(g xmlGroup) string { return g.ID }) },
			"attachment.instance-id": attached(func(a *xmlAttachment) string { return a.Host }),
		},
	}, same)
	return out, err
}
