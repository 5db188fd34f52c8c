package cutover

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// Event is what a journal entry says.
type Event string

// The events. Those of a step come in the order found | intended → ours, or
// undo → undone; failed and unknown may follow intended and undo.
const (
	RunBegan   Event = "run-began"  // Detail: "apply", "rollback --all", ...; Operator, Reason
	RunEnded   Event = "run-ended"  // Detail: outcome
	Found      Event = "found"      // the condition held already: never undone
	Intended   Event = "intended"   // about to apply; Image is the before-image
	Ours       Event = "ours"       // applied and observed; Image is what Apply returned
	Failed     Event = "failed"     // observed not to hold after the try
	Unclear    Event = "unclear"    // could not be observed after the try: for a person
	Held       Event = "held"       // not begun, Detail says why: a member of the group failed, ...
	UndoBegan  Event = "undo-began" // about to undo
	Undone     Event = "undone"     // the before-image observed to hold again
	UndoFailed Event = "undo-failed"
	Gate       Event = "gate"   // Detail: phase or soak; Truth in Result
	Paused     Event = "paused" // Detail: by whom, why
	Resumed    Event = "resumed"
	Note       Event = "note"

	BastionBegan Event = "bastion-began" // about to start a recovery bastion; Image is a Bastion
	BastionEnded Event = "bastion-ended" // its group was seen at zero
)

// Entry is one line of the journal.
type Entry struct {
	Seq      int64           `json:"seq"` // from 1, without gaps over all plans
	At       time.Time       `json:"at"`  // UTC
	Plan     string          `json:"plan"`
	Digest   string          `json:"digest"` // of the plan
	Wave     int             `json:"wave"`
	Step     string          `json:"step,omitempty"`
	Event    Event           `json:"event"`
	Result   fleet.Truth     `json:"result"`
	Hosts    []fleet.HostRef `json:"hosts,omitempty"`
	Detail   string          `json:"detail,omitempty"`
	Operator string          `json:"operator"` // who runs it: principal ARN and local user
	Image    json.RawMessage `json:"image,omitempty"`
	Prev     string          `json:"prev"` // hash of the entry before; empty for the first
	Hash     string          `json:"hash"` // SHA-256, hex, over everything else
}

// ErrLease says that the lease is not, or no longer, held.
var ErrLease = errors.New("the lease is not held")

// HeldError says who holds the lease.
type HeldError struct {
	Holder string
	Until  time.Time
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("%s applies, until %s", e.Holder, e.Until.UTC().Format(time.RFC3339))
}

// Token gives the token of a step: the same for every try, different for every
// step and plan. It fits AWS's client tokens (at most 64 of A-Z, a-z, 0-9 and "-").
func Token(p *plan.Plan, step string) string { return token(p.Digest, step) }
