package recovery

import (
	"fmt"
	"net/netip"
	"slices"

	"ssm-migrate/internal/fleet"
)

const sshPort = 22

// ConnectEndpoint tells whether an EC2 Instance Connect Endpoint of the host's
// VPC leads to it, by what an inventory saw: the endpoint's state, its groups, which have
// to let the connection out, and the host's, which have to let it in. The zero
// endpoint with no: there is none. Why says what is in the way or not known;
// empty with yes. Whether the key's line allows the endpoint's subnet is not looked at.
func ConnectEndpoint(r *fleet.Region, h fleet.Host) (e fleet.ConnectEndpoint, works fleet.Truth, why string) {
	for _, c := range r.ConnectEndpoints.Value {
		if c.VPC != h.VPC {
			continue
		}
		if e.ID == "" || c.Usable() && (!e.Usable() || c.Subnet == h.Subnet) {
			e = c
		}
	}
	switch {
	case e.ID == "" && !r.ConnectEndpoints.Known:
		return e, fleet.TruthUnknown, "whether there is an EC2 Instance Connect Endpoint in " + h.VPC + " is not known: " + r.ConnectEndpoints.Reason
	case e.ID == "":
		return e, fleet.TruthNo, "there is no EC2 Instance Connect Endpoint in " + h.VPC
	case !e.Usable():
		return e, fleet.TruthNo, fmt.Sprintf("endpoint %s is %s", e.ID, e.State)
	case !h.PrivateIP.Is4():
		return e, fleet.TruthNo, "the host has no private IPv4 address"
	case !r.Groups.Known:
		return e, fleet.TruthUnknown, "the security groups are not known: " + r.Groups.Reason
	}
	w := endpointWay{r: r, e: e, h: h}
	if out := w.any(e.Groups, true); out != fleet.TruthYes {
		return e, out, fmt.Sprintf("the groups %v of endpoint %s let nothing out to port 22 of %s", e.Groups, e.ID, h.PrivateIP)
	}
	if e.PreserveClientIP {
		return e, fleet.TruthUnknown, fmt.Sprintf("endpoint %s shows hosts your own address: whether their groups let it in is not known", e.ID)
	}
	if in := w.any(h.Groups, false); in != fleet.TruthYes {
		return e, in, fmt.Sprintf("the host's groups %v do not let endpoint %s in on port 22", h.Groups, e.ID)
	}
	if acl := w.filtered(); acl != "" {
		return e, fleet.TruthUnknown, "network ACL " + acl + " stands between the endpoint and the host and is not followed"
	}
	return e, fleet.TruthYes, ""
}

// endpointWay is a connection from an endpoint to a host.
type endpointWay struct {
	r *fleet.Region
	e fleet.ConnectEndpoint
	h fleet.Host
}

// any is the best that one of the groups says.
func (w endpointWay) any(groups []string, egress bool) fleet.Truth {
	best := fleet.TruthNo
	for _, g := range w.r.Groups.Value {
		if !slices.Contains(groups, g.ID) {
			continue
		}
		rules := fleet.Rules(g.Ingress, false)
		if egress {
			rules = fleet.Rules(g.Egress, true)
		}
		for _, rule := range rules {
			if !rule.Admits(sshPort) {
				continue
			}
			switch w.peer(rule) {
			case fleet.TruthYes:
				return fleet.TruthYes
			case fleet.TruthUnknown:
				best = fleet.TruthUnknown
			}
		}
	}
	return best
}

// peer reports whether a rule is about the other end.
func (w endpointWay) peer(rule fleet.Rule) fleet.Truth {
	groups := w.e.Groups
	if rule.Egress {
		groups = w.h.Groups
	}
	switch {
	case rule.Group != "":
		return truth(slices.Contains(groups, rule.Group))
	case rule.CIDR.IsValid():
		return w.covers(rule, rule.CIDR)
	}
	best := fleet.TruthUnknown
	for _, l := range w.r.PrefixLists.Value {
		if l.ID != rule.PrefixList {
			continue
		}
		best = fleet.TruthNo
		for _, c := range l.CIDRs {
			if t := w.covers(rule, c); t == fleet.TruthYes || t == fleet.TruthUnknown && best == fleet.TruthNo {
				best = t
			}
		}
	}
	return best
}

// covers reports whether a range holds the other end: the host's address, or
// the endpoint's, of which only the subnet is known.
func (w endpointWay) covers(rule fleet.Rule, c netip.Prefix) fleet.Truth {
	if rule.Egress {
		return truth(c.Contains(w.h.PrivateIP))
	}
	for _, s := range w.r.Subnets.Value {
		if s.ID != w.e.Subnet || !s.CIDR.IsValid() {
			continue
		}
		switch {
		case c.Bits() <= s.CIDR.Bits() && c.Contains(s.CIDR.Addr()):
			return fleet.TruthYes
		case c.Overlaps(s.CIDR):
			return fleet.TruthUnknown
		}
		return fleet.TruthNo
	}
	return fleet.TruthUnknown
}

// filtered names a network ACL on the way that denies something; empty: none does.
func (w endpointWay) filtered() string {
	if w.e.Subnet == w.h.Subnet {
		return ""
	}
	for _, a := range w.r.NetworkACLs.Value {
		if !slices.Contains(a.Subnets, w.e.Subnet) && !slices.Contains(a.Subnets, w.h.Subnet) {
			continue
		}
		first := map[bool]fleet.ACLEntry{}
		for _, e := range a.Entries {
			if f, ok := first[e.Egress]; !ok || e.Number < f.Number {
				first[e.Egress] = e
			}
		}
		for _, egress := range []bool{false, true} {
			if f := first[egress]; !f.Allow || f.Protocol != "-1" || f.CIDR.Bits() != 0 {
				return a.ID
			}
		}
	}
	return ""
}

func truth(b bool) fleet.Truth {
	if b {
		return fleet.TruthYes
	}
	return fleet.TruthNo
}

// SerialConsole says, for people, whether the EC2 serial console may lead into a
// host; empty: the account does not allow it in the Region. It needs an OS
// account with a password, of which an inventory learns nothing.
func SerialConsole(r *fleet.Region, h fleet.Host) string {
	if !r.SerialConsole.Known || !r.SerialConsole.Value {
		return ""
	}
	return "the EC2 serial console is allowed in " + r.Name + " and needs neither Session Manager nor a network, but an OS account with a password, of which nothing is known: aws ec2-instance-connect send-serial-console-ssh-public-key --region " + r.Name + " --instance-id " + h.ID
}
