package inventory

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"ssm-migrate/internal/fleet"
)

func (d *differ) regions(old, new *fleet.Snapshot) {
	before, after := byID(old.Regions, regionID), byID(new.Regions, regionID)
	for id, r := range after {
		d.at = Change{Account: cmp.Or(r.Account, r.Label), Region: r.Name}
		if was, ok := before[id]; ok {
			d.region(was, r)
		} else {
			d.add(Found, "Region", "", "", "", "")
		}
	}
	for id, r := range before {
		if _, ok := after[id]; !ok {
			d.at = Change{Account: cmp.Or(r.Account, r.Label), Region: r.Name}
			d.add(Lost, "Region", "", "", "", "the Region was not collected")
		}
	}
	d.at = Change{}
}

func regionID(r fleet.Region) string { return cmp.Or(r.Account, r.Label) + "/" + r.Name }

func (d *differ) region(a, b fleet.Region) {
	known(d, "instances", "", a.Instances, b.Instances)
	hybrid := func(r fleet.Region) fleet.Fact[[]fleet.Node] {
		return fleet.Fact[[]fleet.Node]{Known: r.Nodes.Known, Value: r.HybridNodes, Reason: r.Nodes.Reason}
	}
	fields(d, "hybrid node", hybrid(a), hybrid(b), func(n fleet.Node) string { return n.ID }, "lastPing")
	if known(d, "default host management role", "", a.DefaultRole, b.DefaultRole) {
		d.text("default host management role", "", a.DefaultRole.Value, b.DefaultRole.Value)
	}
	fields(d, "Auto Scaling group", a.ScalingGroups, b.ScalingGroups, func(g fleet.ScalingGroup) string { return g.Name }, "instances")
	fields(d, "launch template", a.Templates, b.Templates, func(t fleet.LaunchTemplate) string { return t.ID })
	fields(d, "key pair", a.KeyPairs, b.KeyPairs, func(k fleet.KeyPair) string { return k.ID })
	fields(d, "VPC", a.VPCs, b.VPCs, func(v fleet.VPC) string { return v.ID })
	fields(d, "subnet", a.Subnets, b.Subnets, func(s fleet.Subnet) string { return s.ID })
	fields(d, "route table", a.RouteTables, b.RouteTables, func(t fleet.RouteTable) string { return t.ID })
	fields(d, "network ACL", a.NetworkACLs, b.NetworkACLs, func(n fleet.NetworkACL) string { return n.ID })
	fields(d, "VPC endpoint", a.Endpoints, b.Endpoints, func(e fleet.VPCEndpoint) string { return e.ID })
	fields(d, "internet gateway", a.Gateways, b.Gateways, func(g fleet.Gateway) string { return g.ID })
	fields(d, "NAT gateway", a.NATGateways, b.NATGateways, func(g fleet.Gateway) string { return g.ID })
	fields(d, "prefix list", a.PrefixLists, b.PrefixLists, func(p fleet.PrefixList) string { return p.ID })
	fields(d, "DHCP options", a.DHCPOptions, b.DHCPOptions, func(o fleet.DHCPOptions) string { return o.ID })
	fields(d, "VPC peering connection", a.Peerings, b.Peerings, func(p fleet.Peering) string { return p.ID })
	fields(d, "Resolver rule", a.ResolverRules, b.ResolverRules, func(r fleet.ResolverRule) string { return r.ID })
	fields(d, "Instance Connect Endpoint", a.ConnectEndpoints, b.ConnectEndpoints, func(e fleet.ConnectEndpoint) string { return e.ID })
	if known(d, "serial console", "", a.SerialConsole, b.SerialConsole) {
		d.text("serial console", "", strconv.FormatBool(a.SerialConsole.Value), strconv.FormatBool(b.SerialConsole.Value))
	}
	d.preferences(a.Preferences, b.Preferences)
	fields(d, "session document", a.Documents, b.Documents, func(s fleet.SessionDocument) string { return s.Name })
	set(d, "security group", a.Groups, b.Groups, func(g fleet.SecurityGroup) string { return g.ID }, func(id string, a, b fleet.SecurityGroup) {
		d.rules("security group ingress", id, a.Ingress, b.Ingress)
		d.rules("security group egress", id, a.Egress, b.Egress)
	})
}

func (d *differ) accounts(old, new *fleet.Snapshot) {
	id := func(a fleet.Account) string { return cmp.Or(a.ID, a.Label) }
	before, after := byID(old.Accounts, id), byID(new.Accounts, id)
	for name, b := range after {
		d.at = Change{Account: name}
		a, ok := before[name]
		if !ok {
			d.add(Found, "account", "", "", "", "")
			continue
		}
		fields(d, "instance profile", a.Profiles, b.Profiles, func(p fleet.InstanceProfile) string { return p.ARN })
		fields(d, "role", a.Roles, b.Roles, func(r fleet.Role) string { return r.ARN })
		fields(d, "policy", a.Policies, b.Policies, func(p fleet.Policy) string { return p.ARN })
		fields(d, "user", a.Users, b.Users, func(u fleet.IAMUser) string { return u.ARN })
		fields(d, "group", a.Groups, b.Groups, func(g fleet.IAMGroup) string { return g.ARN })
		fields(d, "service control policy", controls(a.ControlLevels), controls(b.ControlLevels), control.id)
		fields(d, "hosted zone", a.HostedZones, b.HostedZones, func(z fleet.HostedZone) string { return z.ID })
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			d.at = Change{Account: name}
			d.add(Lost, "account", "", "", "", "the account was not collected")
		}
	}
	d.at = Change{}
}

// rules compares the rules of a security group one by one: a rule is its own name.
func (d *differ) rules(what, group string, old, new []fleet.Permission) {
	before, after := ruleSet(old), ruleSet(new)
	for r := range after {
		if !before[r] {
			d.add(Added, what, group, "", r, "")
		}
	}
	for r := range before {
		if !after[r] {
			d.add(Removed, what, group, r, "", "")
		}
	}
}

// ruleSet takes permissions apart into single rules: "tcp 22-22 10.0.0.0/8".
func ruleSet(permissions []fleet.Permission) map[string]bool {
	out := map[string]bool{}
	for _, p := range permissions {
		ports := fmt.Sprintf("%s %d-%d ", p.Protocol, p.From, p.To)
		for _, c := range p.CIDRs {
			out[ports+c.String()] = true
		}
		for _, id := range p.PrefixLists {
			out[ports+id] = true
		}
		for _, id := range p.Groups {
			out[ports+id] = true
		}
	}
	return out
}

// fields compares two collections field by field, as their JSON names them.
func fields[T any](d *differ, what string, old, new fleet.Fact[[]T], id func(T) string, except ...string) {
	set(d, what, old, new, id, func(name string, a, b T) { d.object(what, name, a, b, except...) })
}

// object compares two values field by field, as their JSON names them.
func (d *differ) object(what, name string, a, b any, except ...string) {
	before, after := object(a), object(b)
	for k := range after {
		if _, ok := before[k]; !ok {
			before[k] = nil
		}
	}
	for k := range before {
		if !slices.Contains(except, k) {
			d.field(what+" "+k, name, before[k], after[k])
		}
	}
}

// field compares one field. A fact that it holds may get lost like any other.
func (d *differ) field(what, name string, a, b any) {
	before, ok1 := fact(a)
	after, ok2 := fact(b)
	// A fact that was never asked for is left out of the JSON.
	if (a != nil || b != nil) && (ok1 || a == nil) && (ok2 || b == nil) {
		ok1, ok2 = true, true
	}
	if !ok1 || !ok2 {
		d.text(what, name, show(a), show(b))
	} else if known(d, what, name, before, after) {
		d.text(what, name, show(before.Value), show(after.Value))
	}
}

func fact(v any) (fleet.Fact[any], bool) {
	m, ok := v.(map[string]any)
	if !ok {
		return fleet.Fact[any]{}, false
	}
	is, ok := m["known"].(bool)
	why, _ := m["reason"].(string)
	return fleet.Fact[any]{Known: is, Value: m["value"], Reason: why}, ok
}

// object gives a value's JSON fields; none for a value that JSON cannot hold,
// such as one with a time after the year 9999.
func object(v any) map[string]any {
	m := map[string]any{}
	if b, err := json.Marshal(v); err == nil {
		_ = json.Unmarshal(b, &m) // of a struct, so it fits
	}
	return m
}

// show renders a field: plain text as it is, everything else as JSON. AWS gives
// lists in any order, so the elements are sorted.
func show(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case []any:
		if len(v) == 0 {
			return ""
		}
		parts := make([]json.RawMessage, len(v))
		for i, e := range v {
			parts[i] = json.RawMessage(raw(e))
		}
		slices.SortFunc(parts, slices.Compare)
		return raw(parts)
	}
	return raw(v)
}

func raw(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
