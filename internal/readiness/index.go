package readiness

import (
	"cmp"
	"fmt"
	"slices"

	"ssm-migrate/internal/fleet"
)

// index finds a snapshot's objects by ID and counts who uses them. IDs are
// unique over accounts, so a VPC that is shared between two accounts is found
// from both. It is not safe for concurrent use.
type index struct {
	regions     map[string]*fleet.Region // account ID and Region name
	vpcs        map[string]*fleet.VPC
	subnets     map[string]*fleet.Subnet
	tables      map[string]*fleet.RouteTable
	tableOf     map[string]*fleet.RouteTable // by subnet, explicit associations
	mainTable   map[string]*fleet.RouteTable // by VPC
	acls        map[string]*fleet.NetworkACL
	aclOf       map[string]*acl // by subnet
	groups      map[string]*fleet.SecurityGroup
	endpoints   map[string][]*fleet.VPCEndpoint // by VPC
	byEndpoint  map[string]*fleet.VPCEndpoint
	gateways    map[string]*fleet.Gateway
	nats        map[string]*fleet.Gateway
	prefixLists map[string]*fleet.PrefixList
	dhcp        map[string]*fleet.DHCPOptions

	hostsOfSubnet       map[string]int
	hostsOfGroup        map[string]int
	hostsOfVPC          map[string]int
	hostsOfProfile      map[string]int    // by ARN
	hostsOfTemplate     map[string]int    // by launch template ID
	hostsOfScalingGroup map[string]int    // by scalingGroupKey
	blasts              map[string]string // memo of blast
}

func newIndex(s *fleet.Snapshot) *index {
	x := &index{
		regions:             map[string]*fleet.Region{},
		vpcs:                map[string]*fleet.VPC{},
		subnets:             map[string]*fleet.Subnet{},
		tables:              map[string]*fleet.RouteTable{},
		tableOf:             map[string]*fleet.RouteTable{},
		mainTable:           map[string]*fleet.RouteTable{},
		acls:                map[string]*fleet.NetworkACL{},
		aclOf:               map[string]*acl{},
		groups:              map[string]*fleet.SecurityGroup{},
		endpoints:           map[string][]*fleet.VPCEndpoint{},
		byEndpoint:          map[string]*fleet.VPCEndpoint{},
		gateways:            map[string]*fleet.Gateway{},
		nats:                map[string]*fleet.Gateway{},
		prefixLists:         map[string]*fleet.PrefixList{},
		dhcp:                map[string]*fleet.DHCPOptions{},
		hostsOfSubnet:       map[string]int{},
		hostsOfGroup:        map[string]int{},
		hostsOfVPC:          map[string]int{},
		hostsOfProfile:      map[string]int{},
		hostsOfTemplate:     map[string]int{},
		hostsOfScalingGroup: map[string]int{},
		blasts:              map[string]string{},
	}
	for i := range s.Regions {
		x.addRegion(&s.Regions[i])
	}
	for i := range s.Hosts {
		h := &s.Hosts[i]
		x.hostsOfSubnet[h.Subnet]++
		x.hostsOfVPC[h.VPC]++
		x.hostsOfProfile[h.ProfileARN]++
		x.hostsOfTemplate[h.LaunchTemplate.ID]++
		x.hostsOfScalingGroup[scalingGroupKey(h)]++
		for _, g := range groupsOf(h) {
			x.hostsOfGroup[g]++
		}
	}
	return x
}

func (x *index) addRegion(r *fleet.Region) {
	x.regions[r.Account+"/"+r.Name] = r
	byID(x.vpcs, r.VPCs.Value, func(v *fleet.VPC) string { return v.ID })
	byID(x.subnets, r.Subnets.Value, func(v *fleet.Subnet) string { return v.ID })
	byID(x.groups, r.Groups.Value, func(v *fleet.SecurityGroup) string { return v.ID })
	byID(x.gateways, r.Gateways.Value, func(v *fleet.Gateway) string { return v.ID })
	byID(x.nats, r.NATGateways.Value, func(v *fleet.Gateway) string { return v.ID })
	byID(x.prefixLists, r.PrefixLists.Value, func(v *fleet.PrefixList) string { return v.ID })
	byID(x.dhcp, r.DHCPOptions.Value, func(v *fleet.DHCPOptions) string { return v.ID })
	byID(x.tables, r.RouteTables.Value, func(v *fleet.RouteTable) string { return v.ID })
	byID(x.acls, r.NetworkACLs.Value, func(v *fleet.NetworkACL) string { return v.ID })
	for i := range r.RouteTables.Value {
		t := &r.RouteTables.Value[i]
		if t.Main {
			x.mainTable[t.VPC] = t
		}
		for _, s := range t.Subnets {
			x.tableOf[s] = t
		}
	}
	for i := range r.NetworkACLs.Value {
		a := newACL(&r.NetworkACLs.Value[i])
		for _, s := range a.Subnets {
			x.aclOf[s] = a
		}
	}
	for i := range r.Endpoints.Value {
		e := &r.Endpoints.Value[i]
		if x.byEndpoint[e.ID] == nil {
			x.endpoints[e.VPC] = append(x.endpoints[e.VPC], e)
		}
		x.byEndpoint[e.ID] = e
	}
}

func byID[T any](into map[string]*T, from []T, id func(*T) string) {
	for i := range from {
		into[id(&from[i])] = &from[i]
	}
}

// region is the surroundings of a host; all unknown when they were not collected.
func (x *index) region(h *fleet.Host) *fleet.Region {
	if r := x.regions[h.Account+"/"+h.Region]; r != nil {
		return r
	}
	return &fleet.Region{}
}

// scalingGroupKey tells Auto Scaling groups apart, whose names are unique
// only within an account and Region.
func scalingGroupKey(h *fleet.Host) string {
	return h.Account + "/" + h.Region + "/" + h.AutoScalingGroup
}

// groupsOf lists a host's security groups over all its interfaces, once each.
func groupsOf(h *fleet.Host) []string {
	all := slices.Clone(h.Groups)
	for _, n := range h.Interfaces {
		all = append(all, n.Groups...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// subnetsOf lists the subnets that a route table serves, the implicit ones of
// a main table included, in order.
func (x *index) subnetsOf(t *fleet.RouteTable) []string {
	out := slices.Clone(t.Subnets)
	if t.Main {
		for id, s := range x.subnets {
			if s.VPC == t.VPC && x.tableOf[id] == nil {
				out = append(out, id)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (x *index) hostsIn(subnets []string) int {
	n := 0
	for _, s := range subnets {
		n += x.hostsOfSubnet[s]
	}
	return n
}

// blast says who shares the object with the given ID or profile ARN.
func (x *index) blast(id string) string {
	if b, ok := x.blasts[id]; ok {
		return b
	}
	b := x.sharers(id)
	x.blasts[id] = b
	return b
}

func (x *index) sharers(id string) string {
	if n := x.hostsOfProfile[id]; n > 0 {
		return fmt.Sprintf("instance profile %s is on %s", id, fleet.Count(n, "host"))
	}
	if x.groups[id] != nil {
		guarded := x.endpointsOf(id)
		switch {
		case guarded == "":
			return fmt.Sprintf("security group %s is on %s", id, fleet.Count(x.hostsOfGroup[id], "host"))
		case x.hostsOfGroup[id] == 0:
			return fmt.Sprintf("security group %s guards %s", id, guarded)
		}
		return fmt.Sprintf("security group %s is on %s and guards %s", id, fleet.Count(x.hostsOfGroup[id], "host"), guarded)
	}
	if t := x.tables[id]; t != nil {
		subnets := x.subnetsOf(t)
		return fmt.Sprintf("route table %s serves %s with %s", id, fleet.Count(len(subnets), "subnet"), fleet.Count(x.hostsIn(subnets), "host"))
	}
	if a := x.acls[id]; a != nil {
		return fmt.Sprintf("network ACL %s guards %s with %s", id, fleet.Count(len(a.Subnets), "subnet"), fleet.Count(x.hostsIn(a.Subnets), "host"))
	}
	if e := x.byEndpoint[id]; e != nil {
		return fmt.Sprintf("endpoint %s serves VPC %s with %s", id, e.VPC, fleet.Count(x.hostsOfVPC[e.VPC], "host"))
	}
	if x.vpcs[id] != nil {
		return fmt.Sprintf("VPC %s has %s", id, fleet.Count(x.hostsOfVPC[id], "host"))
	}
	if x.nats[id] != nil || x.gateways[id] != nil {
		subnets := x.routedTo(id)
		return fmt.Sprintf("gateway %s serves %s with %s", id, fleet.Count(len(subnets), "subnet"), fleet.Count(x.hostsIn(subnets), "host"))
	}
	if x.subnets[id] != nil {
		return fmt.Sprintf("subnet %s has %s", id, fleet.Count(x.hostsOfSubnet[id], "host"))
	}
	return "not known: " + id + " was not read"
}

// endpointsOf tells how many endpoints a group guards and how many hosts their
// VPCs have; empty: it guards none.
func (x *index) endpointsOf(group string) string {
	endpoints, hosts := 0, 0
	vpcs := map[string]bool{}
	for _, e := range x.byEndpoint {
		if !slices.Contains(e.Groups, group) {
			continue
		}
		endpoints++
		if !vpcs[e.VPC] {
			vpcs[e.VPC] = true
			hosts += x.hostsOfVPC[e.VPC]
		}
	}
	if endpoints == 0 {
		return ""
	}
	return fmt.Sprintf("%s, which serve VPCs with %s", fleet.Count(endpoints, "endpoint"), fleet.Count(hosts, "host"))
}

// routedTo lists the subnets whose routes lead to a target, in order.
func (x *index) routedTo(target string) []string {
	var out []string
	for _, t := range x.tables {
		if slices.ContainsFunc(t.Routes, func(r fleet.Route) bool { return r.Target == target }) {
			out = append(out, x.subnetsOf(t)...)
		}
	}
	slices.SortFunc(out, cmp.Compare)
	return slices.Compact(out)
}
