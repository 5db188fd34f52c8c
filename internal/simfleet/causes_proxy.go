package simfleet

import (
	"net/netip"
	"slices"

	"ssm-migrate/internal/fleet"
)

// proxyMissing leaves the instance's network a proxy as its only way out. A
// neighbour there has it in its agent's unit, the instance has not.
func proxyMissing(w *World, in *Instance) error {
	other := w.companion(in)
	switch {
	case in.Region.Proxies[in.Host.VPC] != "" && len(in.Agent.Proxy) == 0 && w.ways[in] == noWay:
		return nil
	case len(in.Agent.Proxy) > 0:
		return notHere("the agent's unit names a proxy")
	case other == nil:
		return notHere("no other instance can show that the proxy works")
	}
	in.seen(w)
	n, err := w.ownNetwork(in, noWay)
	if err != nil {
		return err
	}
	proxy := proxyOf(in)
	put(&n.rg.Proxies, in.Host.VPC, proxy)
	n.takeIn(other)
	other.Agent.Proxy = map[string]string{"http_proxy": "http://" + proxy, "https_proxy": "http://" + proxy, "no_proxy": metadataAddress}
	return nil
}

func proxyAnswersMetadata(w *World, in *Instance) error {
	if in.Region.Proxies[in.Host.VPC] != "" && len(in.Agent.Proxy) == 0 {
		return notHere("the agent's unit names no proxy, though the VPC has one")
	}
	return onNetwork(asItWas, func(n *network) {
		proxy := proxyOf(n.in)
		put(&n.rg.Proxies, n.in.Host.VPC, proxy)
		n.in.Agent.Proxy = map[string]string{"http_proxy": "http://" + proxy, "https_proxy": "http://" + proxy}
	})(w, in)
}

// proxyOf is where the instance's VPC has its proxy.
func proxyOf(in *Instance) string {
	if have := in.Region.Proxies[in.Host.VPC]; have != "" {
		return have
	}
	return "10.255.254.9:3128"
}

// companion is another instance of the Region that works and may move into the
// instance's VPC with the address that it has; nil when there is none.
func (w *World) companion(in *Instance) *Instance {
	rg := in.Region
	vpc := find(rg.VPCs, func(v *fleet.VPC) bool { return v.ID == in.Host.VPC })
	return find(rg.Instances, func(other *Instance) bool {
		h := other.Host
		own := find(rg.Subnets, func(s *fleet.Subnet) bool { return s.ID == h.Subnet })
		return other != in && w.ways[other] == "" && h.AutoScalingGroup == "" && !h.Windows() && !other.Down && len(other.Agent.Proxy) == 0 &&
			other.Role != "bastion" && w.Bastion(other) == nil && w.ServesSessions(other) && w.OperatorReaches(other) &&
			own != nil && own.CIDR.IsValid() && !slices.ContainsFunc(vpc.CIDRs, own.CIDR.Overlaps)
	})
}

// takeIn moves another instance into the network, with a subnet and a security
// group of its own and no way out.
func (n *network) takeIn(other *Instance) {
	rg, h := n.rg, &other.Host
	old := find(rg.Subnets, func(s *fleet.Subnet) bool { return s.ID == h.Subnet })
	subnet := &fleet.Subnet{ID: derived(other, "subnet-own"), VPC: n.vpc.ID, AZ: old.AZ, CIDR: old.CIDR, Tags: old.Tags}
	rg.Subnets = append(rg.Subnets, subnet)
	n.vpc.CIDRs = append(slices.Clone(n.vpc.CIDRs), old.CIDR)
	local := fleet.Route{CIDR: old.CIDR, Target: "local", State: "active"}
	for _, t := range rg.RouteTables {
		if t.VPC == n.vpc.ID {
			t.Routes = append(slices.Clone(t.Routes), local)
		}
	}
	own := &fleet.RouteTable{ID: derived(other, "rtb-own"), VPC: n.vpc.ID, Subnets: []string{subnet.ID}}
	for _, cidr := range n.vpc.CIDRs {
		own.Routes = append(own.Routes, fleet.Route{CIDR: cidr, Target: "local", State: "active"})
	}
	rg.RouteTables = append(rg.RouteTables, own)
	if acl := find(rg.NetworkACLs, func(a *fleet.NetworkACL) bool { return a.VPC == n.vpc.ID && a.Default }); acl != nil {
		acl.Subnets = append(slices.Clone(acl.Subnets), subnet.ID)
	}
	group := &fleet.SecurityGroup{ID: derived(other, "sg-own"), Name: "own", VPC: n.vpc.ID, Description: "of one host", Tags: map[string]string{"Name": "own"},
		Egress: []fleet.Permission{{Protocol: "-1", From: -1, To: -1, CIDRs: []netip.Prefix{anywhere}}}}
	rg.Groups = append(rg.Groups, group)
	h.VPC, h.Subnet, h.Groups, h.PublicIP = n.vpc.ID, subnet.ID, []string{group.ID}, netip.Addr{}
	h.Interfaces = slices.Clone(h.Interfaces)
	for i := range h.Interfaces {
		h.Interfaces[i].Subnet, h.Interfaces[i].Groups, h.Interfaces[i].PublicIP = subnet.ID, h.Groups, netip.Addr{}
	}
	(&network{w: n.w, rg: rg, in: other, vpc: n.vpc}).letOperatorIn()
}
