package simfleet

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"ssm-migrate/internal/fleet"
)

// launchRetry is after how long Auto Scaling tries a failed launch again.
const launchRetry = time.Minute

// unhealthyAfter is how long Auto Scaling takes to notice that an instance of
// a group no longer runs.
const unhealthyAfter = time.Minute

// scalingState is what a group has beyond fleet's own words.
type scalingState struct {
	quiet      map[string]bool // tags that instances do not get
	deleting   bool
	retrying   bool
	launched   int  // instances so far; spreads them over the subnets
	role       Role // of its instances when they are all gone
	created    time.Time
	activities []scalingActivity // oldest first
}

type scalingActivity struct {
	id, description, cause, status, message string
	start                                   time.Time
}

const maxActivities = 100

func (rg *Region) scalingNamed(name string) *fleet.ScalingGroup {
	return find(rg.Scaling, func(g *fleet.ScalingGroup) bool { return name != "" && g.Name == name })
}

func (rg *Region) scalingOf(g *fleet.ScalingGroup) *scalingState {
	if rg.scaling == nil {
		rg.scaling = map[string]*scalingState{}
	}
	s := rg.scaling[g.Name]
	if s == nil {
		s = &scalingState{}
		rg.scaling[g.Name] = s
	}
	return s
}

func (w *World) scalingActivity(rg *Region, g *fleet.ScalingGroup, description, cause, status, message string) scalingActivity {
	s := rg.scalingOf(g)
	a := scalingActivity{id: w.unique(32), description: description, cause: cause, status: status, message: message, start: w.Now()}
	s.activities = append(s.activities, a)
	if len(s.activities) > maxActivities {
		s.activities = s.activities[1:]
	}
	return a
}

// members are a group's instances that count towards its capacity, oldest first.
func (rg *Region) members(g *fleet.ScalingGroup) []*Instance {
	out := filter(rg.Instances, func(in *Instance) bool {
		return slices.Contains(g.Instances, in.Host.ID) && in.lifecycle != "Terminating" && in.alive()
	})
	slices.SortStableFunc(out, func(a, b *Instance) int {
		return cmp.Or(a.Host.LaunchTime.Compare(b.Host.LaunchTime), cmp.Compare(a.Host.ID, b.Host.ID))
	})
	return out
}

// reconcile brings a group to its desired capacity: it ends members that no
// longer run, launches what is missing, and terminates the oldest of what is
// too much. The caller holds w.Mu for writing.
func (w *World) reconcile(rg *Region, g *fleet.ScalingGroup) {
	for _, in := range rg.Instances {
		if slices.Contains(g.Instances, in.Host.ID) && !in.alive() && in.lifecycle != "Terminating" {
			w.scalingActivity(rg, g, "Terminating EC2 instance: "+in.Host.ID, "an instance was taken out of service in response to an EC2 health check indicating it has been terminated or stopped.", "Successful", "")
			w.terminate(in)
		}
	}
	members := rg.members(g)
	for i := 0; i < len(members)-g.Desired; i++ {
		w.scalingActivity(rg, g, "Terminating EC2 instance: "+members[i].Host.ID, fmt.Sprintf("an instance was taken out of service in response to a difference between desired and actual capacity, shrinking the capacity from %d to %d.", len(members), g.Desired), "Successful", "")
		w.terminate(members[i])
	}
	for i := len(members); i < g.Desired; i++ {
		if err := w.launchMember(rg, g); err != nil {
			w.retryLaunch(rg, g, err)
			return
		}
	}
}

// retryLaunch notes a failed launch and tries again later.
func (w *World) retryLaunch(rg *Region, g *fleet.ScalingGroup, err error) {
	message := err.Error()
	var refused *apiError
	if errors.As(err, &refused) {
		message = refused.message + " Launching EC2 instance failed."
	}
	w.scalingActivity(rg, g, "Launching a new EC2 instance.  Status Reason: "+message, fmt.Sprintf("an instance was started in response to a difference between desired and actual capacity, increasing the capacity to %d.", g.Desired), "Failed", message)
	s := rg.scalingOf(g)
	if s.retrying {
		return
	}
	s.retrying = true
	w.at(w.Now().Add(w.takes(launchRetry)), "scaling group "+g.Name+" tries again", func() {
		s.retrying = false
		if rg.scalingNamed(g.Name) == g {
			w.reconcile(rg, g)
		}
	})
}

// launchMember launches one instance from the group's template.
func (w *World) launchMember(rg *Region, g *fleet.ScalingGroup) error {
	q := launchSpec{region: rg, group: g, tags: map[string]string{}}
	switch {
	case g.Template.ID != "":
		l := find(rg.Templates, func(l *fleet.LaunchTemplate) bool { return l.ID == g.Template.ID })
		if l == nil {
			return refuse("InvalidLaunchTemplateId.NotFound", "The specified launch template, with template ID %s, does not exist.", g.Template.ID)
		}
		v, ok := versionOf(l, g.Template.Version)
		if !ok {
			return noSuchVersion(l, g.Template.Version)
		}
		q.version, q.data = v, rg.Launches[launchKey(l.ID, v.Number)]
		q.ref = fleet.LaunchTemplateRef{ID: l.ID, Version: fmt.Sprint(v.Number)}
	default:
		config := find(rg.Configs, func(l *LaunchConfig) bool { return l.Name == g.Config })
		if config == nil {
			return refuse("ValidationError", "Launch configuration name not found - %s", g.Config)
		}
		q.version = config.Version
	}
	s := rg.scalingOf(g)
	subnets := filter(rg.Subnets, func(s *fleet.Subnet) bool { return slices.Contains(g.Subnets, s.ID) })
	if len(subnets) == 0 {
		return refuse("InvalidSubnetID.NotFound", "The subnets of the group %s do not exist", g.Name)
	}
	q.subnet = subnets[s.launched%len(subnets)]
	maps.Copy(q.tags, g.Tags)
	maps.DeleteFunc(q.tags, func(k, _ string) bool { return s.quiet[k] })
	q.role = s.role
	if peers := filter(rg.Instances, func(in *Instance) bool { return in.Host.AutoScalingGroup == g.Name }); len(peers) > 0 {
		// What the group's instances are in the story, and what they are sized, stays.
		q.role, q.data.InstanceType = peers[0].Role, cmp.Or(q.data.InstanceType, peers[0].Host.InstanceType)
	}
	in, err := w.launch(q)
	if err != nil {
		return err
	}
	s.launched++
	g.Instances = append(slices.Clone(g.Instances), in.Host.ID)
	w.scalingActivity(rg, g, "Launching a new EC2 instance: "+in.Host.ID, fmt.Sprintf("an instance was started in response to a difference between desired and actual capacity, increasing the capacity to %d.", g.Desired), "Successful", "")
	return nil
}

// settleDeletion takes a group away that is being deleted and has no instance left.
func (w *World) settleDeletion(rg *Region, g *fleet.ScalingGroup) {
	if !rg.scalingOf(g).deleting || len(g.Instances) > 0 {
		return
	}
	rg.Scaling = slices.DeleteFunc(slices.Clone(rg.Scaling), func(x *fleet.ScalingGroup) bool { return x == g })
	delete(rg.scaling, g.Name)
}
