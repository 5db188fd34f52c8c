package simfleet

import (
	"net/netip"
	"slices"

	"ssm-migrate/internal/fleet"
)

var ec2PowerChanges = map[string]operation{
	"TerminateInstances": terminateInstances,
	"StopInstances":      stopInstances,
	"StartInstances":     startInstances,
	"RebootInstances":    rebootInstances,
}

func (c *call) namedInstances() ([]*Instance, error) {
	ids := c.list("InstanceId")
	if len(ids) == 0 {
		return nil, c.missing("InstanceId.1")
	}
	var out []*Instance
	for _, id := range ids {
		in, err := c.instanceNamed(id)
		if err != nil {
			return nil, err
		}
		out = append(out, in)
	}
	return out, nil
}

type stateChange struct {
	ID       string   `xml:"instanceId"`
	Current  xmlState `xml:"currentState"`
	Previous xmlState `xml:"previousState"`
}

type stateChanges struct {
	Instances itemSet[stateChange] `xml:"instancesSet"`
}

// changeState changes all instances or, when one is in a wrong state, none.
func (c *call) changeState(from []string, change func(*Instance)) (any, error) {
	list, err := c.namedInstances()
	if err != nil {
		return nil, err
	}
	for _, in := range list {
		if !slices.Contains(from, in.Host.State) {
			return nil, refuse("IncorrectInstanceState", "The instance '%s' is not in a state from which it can be changed: it is %s.", in.Host.ID, in.Host.State)
		}
	}
	var out stateChanges
	for _, in := range list {
		was := in.Host.State
		change(in)
		out.Instances.Items = append(out.Instances.Items, stateChange{in.Host.ID, xmlState{stateCodes[in.Host.State], in.Host.State}, xmlState{stateCodes[was], was}})
	}
	return out, nil
}

func terminateInstances(c *call) (any, error) {
	return c.changeState([]string{"pending", "running", "stopping", "stopped", "shutting-down", "terminated"}, func(in *Instance) {
		grouped := in.lifecycle != "Terminating"
		c.w.terminate(in)
		if grouped {
			c.w.noticeLater(in)
		}
	})
}

// noticeLater lets the instance's group find out that it no longer runs.
func (w *World) noticeLater(in *Instance) {
	rg, name := in.Region, in.Host.AutoScalingGroup
	if rg.scalingNamed(name) == nil {
		return
	}
	w.at(w.Now().Add(w.takes(unhealthyAfter)), "scaling group "+name+" checks its instances", func() {
		if g := rg.scalingNamed(name); g != nil {
			w.reconcile(rg, g)
		}
	})
}

func stopInstances(c *call) (any, error) {
	w := c.w
	return c.changeState([]string{"running", "stopping", "stopped"}, func(in *Instance) {
		if in.Host.State != "running" {
			return
		}
		w.moves.Add(1)
		w.shutDown(in)
		in.Host.State = "stopping"
		w.at(w.Now().Add(w.takes(untilStopped)), "instance "+in.Host.ID+" stopped", func() {
			if in.Host.State != "stopping" {
				return
			}
			in.Host.State = "stopped"
			in.setPublic(netip.Addr{})
			w.moves.Add(1)
		})
		w.noticeLater(in)
	})
}

// setPublic gives the instance another public address, or none.
func (in *Instance) setPublic(a netip.Addr) {
	in.Host.PublicIP = a
	in.Host.Interfaces = slices.Clone(in.Host.Interfaces)
	if len(in.Host.Interfaces) > 0 {
		in.Host.Interfaces[0].PublicIP = a
	}
}

func startInstances(c *call) (any, error) {
	return c.changeState([]string{"stopped", "pending", "running"}, func(in *Instance) {
		if in.Host.State != "stopped" {
			return
		}
		in.Host.State = "pending"
		s := find(in.Region.Subnets, func(s *fleet.Subnet) bool { return s.ID == in.Host.Subnet })
		if s != nil && in.Region.mapsPublicIPs(s) {
			in.setPublic(c.w.freePublic())
		}
		now := c.w.Now()
		c.w.moves.Add(1)
		c.w.run(in, now)
		c.w.atUnlocked(now.Add(c.w.takes(untilSSH)), "boot of "+in.Host.ID, func() { c.w.bootUp(in) })
	})
}

func rebootInstances(c *call) (any, error) {
	list, err := c.namedInstances()
	if err != nil {
		return nil, err
	}
	for _, in := range list {
		if in.Host.State != "running" {
			return nil, refuse("IncorrectInstanceState", "The instance '%s' is not in the 'running' state.", in.Host.ID)
		}
	}
	for _, in := range list {
		c.w.Reboot(in)
	}
	return returned{true}, nil
}
