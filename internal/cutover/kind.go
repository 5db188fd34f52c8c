// Package cutover carries a plan out against the world: every step observed,
// journaled before and after, gated by fresh proofs, and reversible.
package cutover

import (
	"context"
	"encoding/json"
	"errors"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// Observation is what a step saw of its condition.
type Observation struct {
	// Holds: the condition holds; no, it does not, and Image can be restored;
	// unknown, the world did not answer.
	Holds  fleet.Truth
	Detail string // in one line, for people
	// Image is the exact present state of what the step changes: with Holds no,
	// the before-image that Undo restores. It holds no secret. Kinds choose its form.
	Image json.RawMessage
}

// StepKind is one kind of step. Its methods may run concurrently for different
// steps. None of them journals or retries: that is the executor's part.
// Errors are final answers or lost ones; nobody asks which: the executor
// observes again after each.
type StepKind interface {
	// Observe looks whether the condition holds. It changes nothing. An error
	// means unknown; ErrStale, that the world is not as the plan found it.
	Observe(ctx context.Context, s plan.Step) (Observation, error)
	// Apply brings the condition about. Before is the image that Observe gave.
	// Token is the same for every try of this step in this plan; it goes to
	// AWS where a call takes one, and into the tags of what is made. Apply may be
	// called again after any failure, also one in its middle. After is kept for Undo.
	// Kinds that close a door after more than one look or wait ask Late right before.
	Apply(ctx context.Context, s plan.Step, before json.RawMessage, token string) (after json.RawMessage, err error)
	// Undo restores the before-image, from whatever state between before and
	// after the world is in. After may be nil: Apply may have been cut off. It may be called
	// again. What others have changed since, it does not overwrite: ErrForeign.
	Undo(ctx context.Context, s plan.Step, before, after json.RawMessage, token string) error
	// Undone looks whether the world is as before again; it is asked after Undo.
	Undone(ctx context.Context, s plan.Step, before, after json.RawMessage, token string) (Observation, error)
}

// Kinds are all step kinds, by name.
type Kinds map[plan.Kind]StepKind

// Errors of step kinds.
var (
	// ErrStale says that the world is not what the plan was made for.
	ErrStale = errors.New("the world has changed since the plan was made")
	// ErrForeign says that somebody else changed what the step changed.
	ErrForeign = errors.New("somebody else changed it meanwhile")
)
