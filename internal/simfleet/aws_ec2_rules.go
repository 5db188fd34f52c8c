package simfleet

import (
	"fmt"
	"net/netip"
	"strconv"

	"ssm-migrate/internal/fleet"
)

type xmlRange struct {
	CIDR        string `xml:"cidrIp,omitempty"`
	IPv6        string `xml:"cidrIpv6,omitempty"`
	Description string `xml:"description,omitempty"`
}

type xmlPair struct {
	Group       string `xml:"groupId"`
	User        string `xml:"userId"`
	Description string `xml:"description,omitempty"`
}

type xmlPrefixListID struct {
	ID          string `xml:"prefixListId"`
	Description string `xml:"description,omitempty"`
}

type xmlPermission struct {
	Protocol    string                   `xml:"ipProtocol"`
	From        *int                     `xml:"fromPort"`
	To          *int                     `xml:"toPort"`
	Groups      itemSet[xmlPair]         `xml:"groups"`
	Ranges      itemSet[xmlRange]        `xml:"ipRanges"`
	IPv6        itemSet[xmlRange]        `xml:"ipv6Ranges"`
	PrefixLists itemSet[xmlPrefixListID] `xml:"prefixListIds"`
}

// permissions is a rule set as EC2 shows it: all sources of one protocol and
// port range together, each with its own description.
func (c *call) permissions(g *fleet.SecurityGroup, egress bool) itemSet[xmlPermission] {
	var out []xmlPermission
	at := map[string]int{}
	for _, r := range c.region.rulesOf(g) {
		if r.Egress != egress {
			continue
		}
		key := fmt.Sprint(r.Protocol, " ", r.From, " ", r.To)
		i, ok := at[key]
		if !ok {
			i = len(out)
			at[key] = i
			out = append(out, xmlPermission{Protocol: r.Protocol})
			if r.Protocol != "-1" {
				out[i].From, out[i].To = &r.From, &r.To
			}
		}
		x := &out[i]
		switch {
		case r.Group != "":
			x.Groups.Items = append(x.Groups.Items, xmlPair{r.Group, firstNonEmpty(r.GroupAccount, c.account.ID), r.Description})
		case r.PrefixList != "":
			x.PrefixLists.Items = append(x.PrefixLists.Items, xmlPrefixListID{r.PrefixList, r.Description})
		case r.CIDR.Addr().Is4():
			x.Ranges.Items = append(x.Ranges.Items, xmlRange{CIDR: r.CIDR.String(), Description: r.Description})
		default:
			x.IPv6.Items = append(x.IPv6.Items, xmlRange{IPv6: r.CIDR.String(), Description: r.Description})
		}
	}
	return itemSet[xmlPermission]{out}
}

func describeSecurityGroups(c *call) (any, error) {
	type group struct {
		ID          string                 `xml:"groupId"`
		Name        string                 `xml:"groupName"`
		Description string                 `xml:"groupDescription"`
		Owner       string                 `xml:"ownerId"`
		VPC         string                 `xml:"vpcId"`
		Ingress     itemSet[xmlPermission] `xml:"ipPermissions"`
		Egress      itemSet[xmlPermission] `xml:"ipPermissionsEgress"`
		Tags        itemSet[tag]           `xml:"tagSet"`
	}
	var out struct {
		Groups itemSet[group] `xml:"securityGroupInfo"`
		Next   string         `xml:"nextToken,omitempty"`
	}
	ports := func(f func(fleet.Permission) []string) func(*fleet.SecurityGroup) []string {
		return func(g *fleet.SecurityGroup) (out []string) {
			for _, p := range g.Ingress {
				out = append(out, f(p)...)
			}
			return out
		}
	}
	t := table[*fleet.SecurityGroup]{
		rows: c.region.Groups, id: func(g *fleet.SecurityGroup) string { return g.ID }, ids: "GroupId", absent: "InvalidGroup.NotFound",
		tags: func(g *fleet.SecurityGroup) map[string]string { return g.Tags },
		filter: map[string]func(*fleet.SecurityGroup) []string{
			"vpc-id": one(func(g *fleet.SecurityGroup) string { return g.VPC }), "group-id": one(func(g *fleet.SecurityGroup) string { return g.ID }),
			"group-name":                   one(func(g *fleet.SecurityGroup) string { return g.Name }),
			"description":                  one(func(g *fleet.SecurityGroup) string { return g.Description }),
			"ip-permission.from-port":      ports(func(p fleet.Permission) []string { return []string{strconv.Itoa(p.From)} }),
			"ip-permission.to-port":        ports(func(p fleet.Permission) []string { return []string{strconv.Itoa(p.To)} }),
			"ip-permission.cidr":           ports(func(p fleet.Permission) []string { return mapped(p.CIDRs, netip.Prefix.String) }),
			"ip-permission.group-id":       ports(func(p fleet.Permission) []string { return p.Groups }),
			"ip-permission.prefix-list-id": ports(func(p fleet.Permission) []string { return p.PrefixLists }),
			"ip-permission.protocol":       ports(func(p fleet.Permission) []string { return []string{p.Protocol} }),
		},
	}
	if c.form.Has("GroupName.1") {
		t.id, t.ids = func(g *fleet.SecurityGroup) string { return g.Name }, "GroupName"
	}
	var err error
	out.Groups, out.Next, err = paged(c, t, func(g *fleet.SecurityGroup) group {
		return group{g.ID, g.Name, g.Description, c.account.ID, g.VPC, c.permissions(g, false), c.permissions(g, true), tagSet(g.Tags)}
	})
	return out, err
}

type xmlReferenced struct {
	Group string `xml:"groupId"`
	User  string `xml:"userId"`
	VPC   string `xml:"vpcId,omitempty"`
}

type xmlRule struct {
	ID          string         `xml:"securityGroupRuleId"`
	Group       string         `xml:"groupId"`
	Owner       string         `xml:"groupOwnerId"`
	Egress      bool           `xml:"isEgress"`
	Protocol    string         `xml:"ipProtocol"`
	From        int            `xml:"fromPort"`
	To          int            `xml:"toPort"`
	CIDR        string         `xml:"cidrIpv4,omitempty"`
	IPv6        string         `xml:"cidrIpv6,omitempty"`
	PrefixList  string         `xml:"prefixListId,omitempty"`
	Referenced  *xmlReferenced `xml:"referencedGroupInfo"`
	Description string         `xml:"description,omitempty"`
	Tags        itemSet[tag]   `xml:"tagSet"`
	ARN         string         `xml:"securityGroupRuleArn"`
}

func (c *call) ruleXML(group string, r fleet.Rule) xmlRule {
	x := xmlRule{ID: r.ID, Group: group, Owner: c.account.ID, Egress: r.Egress, Protocol: r.Protocol, From: r.From, To: r.To, PrefixList: r.PrefixList,
		Description: r.Description, Tags: tagSet(r.Tags), ARN: "arn:aws:ec2:" + c.region.Name + ":" + c.account.ID + ":security-group-rule/" + r.ID}
	switch {
	case r.Group != "":
		x.Referenced = &xmlReferenced{Group: r.Group, User: firstNonEmpty(r.GroupAccount, c.account.ID)}
		if g := find(c.region.Groups, func(g *fleet.SecurityGroup) bool { return g.ID == r.Group }); g != nil {
			x.Referenced.VPC = g.VPC
		}
	case r.CIDR.IsValid() && r.CIDR.Addr().Is4():
		x.CIDR = r.CIDR.String()
	case r.CIDR.IsValid():
		x.IPv6 = r.CIDR.String()
	}
	return x
}

func describeSecurityGroupRules(c *call) (any, error) {
	type row struct {
		group string
		rule  fleet.Rule
	}
	var rows []row
	for _, g := range c.region.Groups {
		for _, r := range c.region.rulesOf(g) {
			rows = append(rows, row{g.ID, r})
		}
	}
	var out struct {
		Rules itemSet[xmlRule] `xml:"securityGroupRuleSet"`
		Next  string           `xml:"nextToken,omitempty"`
	}
	var err error
	out.Rules, out.Next, err = paged(c, table[row]{
		rows: rows, id: func(r row) string { return r.rule.ID }, ids: "SecurityGroupRuleId", absent: "InvalidSecurityGroupRuleId.NotFound",
		tags: func(r row) map[string]string { return r.rule.Tags },
		filter: map[string]func(row) []string{
			"group-id":               one(func(r row) string { return r.group }),
			"security-group-rule-id": one(func(r row) string { return r.rule.ID }),
		},
	}, func(r row) xmlRule { return c.ruleXML(r.group, r.rule) })
	return out, err
}

func describeNetworkACLs(c *call) (any, error) {
	type association struct {
		ID     string `xml:"networkAclAssociationId"`
		ACL    string `xml:"networkAclId"`
		Subnet string `xml:"subnetId"`
	}
	type ports struct {
		From int `xml:"from"`
		To   int `xml:"to"`
	}
	type entry struct {
		Number   int    `xml:"ruleNumber"`
		Protocol string `xml:"protocol"`
		Action   string `xml:"ruleAction"`
		Egress   bool   `xml:"egress"`
		CIDR     string `xml:"cidrBlock,omitempty"`
		IPv6     string `xml:"ipv6CidrBlock,omitempty"`
		Ports    *ports `xml:"portRange"`
	}
	type acl struct {
		ID           string               `xml:"networkAclId"`
		VPC          string               `xml:"vpcId"`
		Owner        string               `xml:"ownerId"`
		Default      bool                 `xml:"default"`
		Entries      itemSet[entry]       `xml:"entrySet"`
		Associations itemSet[association] `xml:"associationSet"`
		Tags         itemSet[tag]         `xml:"tagSet"`
	}
	var out struct {
		ACLs itemSet[acl] `xml:"networkAclSet"`
		Next string       `xml:"nextToken,omitempty"`
	}
	toEntry := func(e fleet.ACLEntry) entry {
		x := entry{Number: e.Number, Protocol: e.Protocol, Action: "deny", Egress: e.Egress}
		if e.Allow {
			x.Action = "allow"
		}
		if e.CIDR.Addr().Is4() {
			x.CIDR = e.CIDR.String()
		} else {
			x.IPv6 = e.CIDR.String()
		}
		if e.From != 0 || e.To != 0 {
			x.Ports = &ports{e.From, e.To}
		}
		return x
	}
	var err error
	out.ACLs, out.Next, err = paged(c, table[*fleet.NetworkACL]{
		rows: c.region.NetworkACLs, id: func(a *fleet.NetworkACL) string { return a.ID }, ids: "NetworkAclId", absent: "InvalidNetworkAclID.NotFound", tags: noTags[*fleet.NetworkACL],
		filter: map[string]func(*fleet.NetworkACL) []string{
			"vpc-id": one(func(a *fleet.NetworkACL) string { return a.VPC }), "network-acl-id": one(func(a *fleet.NetworkACL) string { return a.ID }),
			"default":               one(func(a *fleet.NetworkACL) string { return strconv.FormatBool(a.Default) }),
			"association.subnet-id": func(a *fleet.NetworkACL) []string { return a.Subnets },
		},
	}, func(a *fleet.NetworkACL) acl {
		return acl{ID: a.ID, VPC: a.VPC, Owner: c.account.ID, Default: a.Default, Entries: itemsOf(a.Entries, toEntry),
			Associations: itemsOf(a.Subnets, func(s string) association { return association{"aclassoc-" + s[7:], a.ID, s} })}
	})
	return out, err
}
