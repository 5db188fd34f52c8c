package cutover

import (
	"errors"
	"fmt"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// Unreached is a host to which no way led when a step was to be undone.
type Unreached struct {
	Host   fleet.HostRef `json:"host"`
	Step   string        `json:"step"`
	Why    string        `json:"why"`    // each way that was tried, with what came of it
	ByHand string        `json:"byHand"` // what to do in place of the step
}

// noteUnreached remembers that no way led to the host of a step, and gives what
// to do by hand; empty: a way did.
func (r *run) noteUnreached(s plan.Step, errs ...error) string {
	var e *unreachedError
	for _, err := range errs {
		if errors.As(err, &e) {
			break
		}
	}
	if e == nil {
		return ""
	}
	u := Unreached{Host: e.host, Step: s.ID, Why: e.Error(), ByHand: r.byHand(s, e.host)}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unreached[s.ID] = u
	return u.ByHand
}

func (r *run) unreachedOf(steps []string) []Unreached {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Unreached
	for _, id := range steps {
		if u, ok := r.unreached[id]; ok {
			out = append(out, u)
		}
	}
	return out
}

// byHand says what a person can do who gets in by a way that this program does
// not have.
func (r *run) byHand(s plan.Step, h fleet.HostRef) string {
	text := "run the rollback again once a way works"
	if s.Kind == plan.QuarantineKeys {
		folder := "/var/lib/migrate/" + token(r.cfg.Plan.Digest, "")
		text += fmt.Sprintf("; by hand, as root on %s: copy the files that %s/manifest lists from %s/files back with cp -a", h.ID, folder, folder)
	}
	if r.cfg.OtherWays != nil {
		if more := r.cfg.OtherWays(h); more != "" {
			text += "; " + more
		}
	}
	return text
}
