package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// Limits of an opening. A schedule fires within the minute; more than a day is
// no emergency.
const (
	leastOpen    = Duration(10 * time.Minute)
	mostOpen     = Duration(24 * time.Hour)
	mostBastions = 5
)

// Opening says what MakeOpening opens.
type Opening struct {
	Reason   string   // why: it goes into the plan and the journal
	VPCs     []string // empty: all
	For      Duration // after which the bastions end by themselves
	Bastions int      // in each VPC, over its subnets' zones; 0: one
}

// MakeOpening plans to run recovery bastions for a while.
func MakeOpening(s *fleet.Snapshot, ways []Way, o Opening, p Policy, now time.Time) (*Plan, error) {
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	switch {
	case strings.TrimSpace(o.Reason) == "":
		return nil, errors.New("open: say why: the reason is kept in the journal")
	case o.For < leastOpen || o.For > mostOpen:
		return nil, fmt.Errorf("open: %s is not between %s and %s", o.For, leastOpen, mostOpen)
	case o.Bastions < 0 || o.Bastions > mostBastions:
		return nil, fmt.Errorf("open: %d bastions in a VPC: %d at most", o.Bastions, mostBastions)
	}
	m, ways := ofWays(s, ways, p, BreakGlass)
	m.plan.Reason = fleet.OneLine(o.Reason, 300)
	var steps []Step
	for _, w := range ways {
		if len(o.VPCs) > 0 && !slices.Contains(o.VPCs, w.Recovery.VPC) {
			continue
		}
		c := w.change(w.Recovery.PublicKey)
		c.Bastions, c.Until, c.Role = max(o.Bastions, 1), o.For, w.Role
		step := Step{
			Kind: RecoveryOpen, Phase: Prepare, Lane: wayLane(w, ways), At: w.At, Hosts: wayRefs(w.Hosts), Recovery: c,
			Title: fmt.Sprintf("Open recovery bastion %s for %s: %s", c.Name, shortly(o.For), m.plan.Reason),
			After: []string{fmt.Sprintf("%s of %s for %s", fleet.Count(c.Bastions, "instance"), c.Name, shortly(o.For))},
			Blast: "operators from " + strings.Join(c.From, ", ") + " may log in to the bastion with the recovery key, and through it to " + fleet.Count(len(w.Hosts), "host"),
		}
		if c.Role == "" {
			step.Warning = "no role for a timer is known: close it yourself when the time is up"
		}
		steps = append(steps, step)
	}
	if len(steps) == 0 {
		return nil, errors.New("open: no recovery way that a plan made leads into what was asked for")
	}
	m.add("open", nil, steps, 0)
	return m.sealed(now)
}
