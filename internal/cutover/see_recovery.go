package cutover

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/recovery"
)

// RecoveryWorld is what a look at the recovery way reads of AWS. Nothing can be
// changed by it.
type RecoveryWorld interface {
	SecurityGroupReader
	TemplateReader
	ScalingGroupReader
	// Instances lists a place's instances but those that are terminated or being terminated.
	Instances(ctx context.Context, at fleet.Place) ([]fleet.Host, error)
	// Image gives the state of a machine image, such as "available".
	Image(ctx context.Context, at fleet.Place, id string) (state string, err error)
}

// RecoveryNetwork is a VPC as one account sees it.
type RecoveryNetwork struct {
	At  fleet.Place
	VPC string
}

// SeeRecovery looks at the recovery way of VPCs. What does not answer is unknown,
// with its reason; there is no error. The result is in the order of list.
func SeeRecovery(ctx context.Context, w RecoveryWorld, list []RecoveryNetwork) []recovery.Seen {
	out := make([]recovery.Seen, 0, len(list))
	instances := map[fleet.Place]fleet.Fact[[]fleet.Host]{}
	rules := map[groupAt]fleet.Fact[[]fleet.Rule]{}
	for _, n := range list {
		if _, ok := instances[n.At]; !ok {
			instances[n.At] = asked("ec2:DescribeInstances", func() ([]fleet.Host, error) { return w.Instances(ctx, n.At) })
		}
		s := seeNetwork(ctx, w, n)
		s.Hosts = hostsIn(n, instances[n.At])
		for _, h := range s.Hosts.Value {
			for _, g := range h.Groups {
				at := groupAt{n.At, g}
				if _, ok := rules[at]; !ok {
					rules[at] = asked("ec2:DescribeSecurityGroupRules", func() ([]fleet.Rule, error) { return w.GroupRules(ctx, n.At, g) })
				}
				s.Rules[g] = rules[at]
			}
		}
		out = append(out, s)
	}
	return out
}

func seeNetwork(ctx context.Context, w RecoveryWorld, n RecoveryNetwork) recovery.Seen {
	name := plan.RecoveryName(n.VPC)
	s := recovery.Seen{Place: n.At, VPC: n.VPC, Rules: map[string]fleet.Fact[[]fleet.Rule]{}}
	s.Group = asked("autoscaling:DescribeAutoScalingGroups", func() (fleet.ScalingGroup, error) { return w.ScalingGroup(ctx, n.At, name) })
	s.Template = asked("ec2:DescribeLaunchTemplates", func() (fleet.BastionTemplate, error) { return w.Template(ctx, n.At, name) })
	s.Door = asked("ec2:DescribeSecurityGroups", func() (fleet.SecurityGroup, error) { return w.FindGroup(ctx, n.At, n.VPC, name) })
	if id := s.Template.Value.Image; s.Template.Known && id != "" {
		s.Image = asked("ec2:DescribeImages", func() (string, error) { return w.Image(ctx, n.At, id) })
	}
	if id := s.Door.Value.ID; s.Door.Known && id != "" {
		s.Entry = asked("ec2:DescribeSecurityGroupRules", func() ([]fleet.Rule, error) { return w.GroupRules(ctx, n.At, id) })
	}
	return s
}

// asked makes a fact of an answer; what is not there is known to be nothing.
func asked[T any](source string, read func() (T, error)) fleet.Fact[T] {
	v, err := read()
	now := time.Now().UTC()
	switch {
	case errors.Is(err, fleet.ErrNotFound):
		var none T
		return fleet.Known(none, source, now)
	case err != nil:
		return fleet.Unknown[T](source, now, err.Error())
	}
	return fleet.Known(v, source, now)
}

// hostsIn are the network's running Linux hosts but its bastions, by ID.
func hostsIn(n RecoveryNetwork, all fleet.Fact[[]fleet.Host]) fleet.Fact[[]fleet.Host] {
	if !all.Known {
		return all
	}
	out := all
	out.Value = slices.DeleteFunc(slices.Clone(all.Value), func(h fleet.Host) bool {
		return h.VPC != n.VPC || !h.Running() || h.Windows() || strings.HasPrefix(h.AutoScalingGroup, plan.RecoveryName(""))
	})
	slices.SortFunc(out.Value, func(a, b fleet.Host) int { return cmp.Compare(a.ID, b.ID) })
	return out
}
