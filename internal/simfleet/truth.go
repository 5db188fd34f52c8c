package simfleet

import "iter"

// Counts is the truth about a world, for tests and for the operator of a demo
// to compare with.
type Counts struct {
	Instances  int // all, stopped ones included
	Running    int
	Bastions   int
	Windows    int
	Listed     int // instances that ssm:DescribeInstanceInformation lists
	Online     int // of these
	Connected  int
	Sessions   int // instances on which a session would open
	Hybrid     int // managed nodes that are no instance
	Reachable  int // running instances whose port 22 the operator reaches, by a bastion or directly
	Groups     int // security groups
	VPCs       int
	Endpoints  int
	Scaling    int // Auto Scaling groups
	Roles      int
	Profiles   int
	KeysOnHost int // lines with keys in the users' files
}

// Counts computes the truth as it is now. The caller holds w.Mu, at least for
// reading.
func (w *World) Counts() Counts {
	var c Counts
	for _, a := range w.Accounts {
		c.Roles += len(a.Roles)
		c.Profiles += len(a.Profiles)
		for _, rg := range a.Regions {
			c.Hybrid += len(rg.Hybrid)
			c.Groups += len(rg.Groups)
			c.VPCs += len(rg.VPCs)
			c.Endpoints += len(rg.Endpoints)
			c.Scaling += len(rg.Scaling)
		}
	}
	for in := range w.Instances() {
		w.count(&c, in)
	}
	return c
}

func (w *World) count(c *Counts, in *Instance) {
	add := func(n *int, is bool) {
		if is {
			*n++
		}
	}
	listed, ping, _ := w.nodeState(in)
	c.Instances++
	add(&c.Running, in.Host.Running())
	add(&c.Bastions, in.Role == "bastion")
	add(&c.Windows, in.Host.Windows())
	add(&c.Listed, listed)
	add(&c.Online, ping == "Online")
	add(&c.Connected, w.Connected(in))
	add(&c.Sessions, w.ServesSessions(in))
	add(&c.Reachable, w.OperatorReaches(in))
	for _, u := range in.Users {
		c.KeysOnHost += len(u.Keys)
	}
}

// Instances iterates over every instance of the world in a fixed order.
func (w *World) Instances() iter.Seq[*Instance] {
	return func(yield func(*Instance) bool) {
		for _, a := range w.Accounts {
			for _, rg := range a.Regions {
				for _, in := range rg.Instances {
					if !yield(in) {
						return
					}
				}
			}
		}
	}
}

// Bastion gives a running bastion of the instance's VPC; nil when it has none
// or is one itself. The caller holds w.Mu, at least for reading.
func (w *World) Bastion(of *Instance) *Instance {
	return find(of.Region.Instances, func(in *Instance) bool {
		return in.Role == "bastion" && in.Host.VPC == of.Host.VPC && in.Host.Running() && in != of
	})
}

// OperatorReaches reports whether packets from the operator get to port 22 of
// the instance, directly, by its VPC's bastion, or by VPN. The caller holds w.Mu, at
// least for reading.
func (w *World) OperatorReaches(in *Instance) bool {
	operator := Origin{Addr: OperatorAddr}
	if in.Host.PublicIP.IsValid() && w.CanReach(operator, in, in.Host.PublicIP, 22).OK {
		return true
	}
	b := w.Bastion(in)
	if b == nil {
		return w.CanReach(operator, in, in.Host.PrivateIP, 22).OK
	}
	return w.CanReach(operator, b, b.Host.PublicIP, 22).OK && w.CanReach(Origin{Instance: b}, in, in.Host.PrivateIP, 22).OK
}
