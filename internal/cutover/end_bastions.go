package cutover

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"ssm-migrate/internal/fleet"
)

// BastionRuns reports whether a recovery group is not at zero: it wants an
// instance, or has one. A group that is not there runs none.
func BastionRuns(ctx context.Context, groups ScalingGroupReader, at fleet.Place, group string) (bool, error) {
	g, err := groups.ScalingGroup(ctx, at, group)
	switch {
	case errors.Is(err, fleet.ErrNotFound):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look at the recovery group %s: %w", group, err)
	}
	return !idle(g), nil
}

// EndBastions brings recovery groups to zero that were found running, whoever
// started them, and waits until no instance is left. The plan's journal tells of them
// before and after, so that the plan's next run goes on with it after a crash. Errors are
// Apply's.
func (x *Executor) EndBastions(ctx context.Context, found []Bastion) (Result, error) {
	if x.cfg.Rescue == nil {
		return Result{}, errors.New("the executor cannot end recovery bastions")
	}
	return x.run(ctx, "end recovery bastions", func(r *run) (Result, error) {
		for _, b := range found {
			detail := fmt.Sprintf("the recovery bastion %s of %s was found running: ending it", b.Group, b.VPC)
			if err := r.write(Entry{Event: BastionBegan, Detail: detail, Image: image(b)}); err != nil {
				return Result{}, err
			}
		}
		if err := r.endBastions(); err != nil {
			return Result{}, err
		}
		res := Result{Outcome: OutcomeRolledBack}
		var left []string
		for _, b := range r.bastions() {
			left = append(left, b.Runs())
		}
		if len(left) > 0 {
			res.Outcome, res.Reason = OutcomeRolledPartly, strings.Join(left, "; ")
		}
		return res, nil
	})
}
