package cutover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// DriftCode names a way in which a fleet strays from what a plan has brought about.
type DriftCode string

// The codes. What they are about is named beside them.
const (
	DriftPortOpen         DriftCode = "port-open"          // security group that was closed: SSH is let through again
	DriftOtherGroupOpen   DriftCode = "other-group-open"   // security group that the plan does not know of, on a host whose port was closed
	DriftGroupGone        DriftCode = "group-gone"         // security group that a step changed
	DriftRuleGone         DriftCode = "rule-gone"          // security group: egress rules, or stand-ins of wide rules
	DriftRecoveryRule     DriftCode = "recovery-rule"      // security group or host: the recovery bastion is not let in
	DriftRecoveryGroup    DriftCode = "recovery-group"     // the VPC's recovery bastion: not as it was made
	DriftRecoveryUp       DriftCode = "recovery-group-up"  // Auto Scaling group of the recovery bastion: not at zero
	DriftRecoveryKey      DriftCode = "recovery-key"       // host: the recovery key would not open it
	DriftKeysBack         DriftCode = "keys-back"          // host: key files hold keys that do not stay
	DriftHostTimerFired   DriftCode = "host-timer-fired"   // host: the timer put key files back
	DriftHostTimerArmed   DriftCode = "host-timer-armed"   // host: a timer is left
	DriftRuleTimerArmed   DriftCode = "rule-timer-armed"   // security group: a schedule is left
	DriftSessionLost      DriftCode = "session-lost"       // host: Session Manager does not reach it
	DriftAgent            DriftCode = "agent"              // host: the agent is older, stopped or disabled
	DriftProfile          DriftCode = "profile"            // host: its instance profile
	DriftRole             DriftCode = "role"               // IAM role
	DriftDefaultRole      DriftCode = "default-role"       // Region: Default Host Management Configuration
	DriftEndpoint         DriftCode = "endpoint"           // VPC
	DriftPreferences      DriftCode = "preferences"        // Region: session preferences
	DriftBastions         DriftCode = "bastions-back"      // Auto Scaling group that was scaled in
	DriftHostGone         DriftCode = "host-gone"          // host: terminated
	DriftNewInstance      DriftCode = "new-instance"       // instance that came after the plan
	DriftRecoveryImage    DriftCode = "recovery-image"     // machine image of a recovery bastion: it cannot be launched
	DriftRecoveryTemplate DriftCode = "recovery-template"  // launch template of a recovery bastion: it has another key
	DriftRecoveryKeyAge   DriftCode = "recovery-key-age"   // the recovery key is older than the policy wants
	DriftRecoveryDrillAge DriftCode = "recovery-drill-age" // no recent login by the recovery bastion
	DriftUnseen           DriftCode = "unseen"             // host or Region that gives no answer; always unknown
)

// DriftItem is one thing that does not hold any more, or of which nobody knows.
type DriftItem struct {
	Code  DriftCode       `json:"code"`
	Holds fleet.Truth     `json:"holds"` // no: it has drifted; unknown: it does not answer
	What  string          `json:"what"`  // ID or name of what it is about
	At    fleet.Place     `json:"at"`
	Hosts []fleet.HostRef `json:"hosts,omitempty"` // whom it concerns
	Steps []string        `json:"steps,omitempty"` // of the plan, that brought it about
	Since time.Time       `json:"since,omitzero"`  // when the journal says that it held; of a new instance, its launch
	Was   string          `json:"was,omitempty"`   // what should hold: the steps' title
	Now   string          `json:"now"`             // what is
	Do    string          `json:"do"`              // what to do about it
	Rules []string        `json:"rules,omitempty"` // security group rules that are too many
	Owner string          `json:"owner,omitempty"` // whose code describes it, by the plan

	remedyWords string // what to do, where the code alone does not tell
}

// DriftReport is what a check for drift saw.
type DriftReport struct {
	Plan   string      `json:"plan"`
	Digest string      `json:"digest"`
	At     time.Time   `json:"at"`     // when the check began
	Steps  int         `json:"steps"`  // that are done, and whose conditions were looked at
	Hosts  int         `json:"hosts"`  // that were looked at
	Holder string      `json:"holder"` // who applied or rolled back meanwhile; empty: nobody
	Items  []DriftItem `json:"items"`  // by code, place and what they are about
}

// Holds is no if something has drifted, or else unknown if something gave no answer.
func (r DriftReport) Holds() fleet.Truth {
	out := fleet.TruthYes
	for _, i := range r.Items {
		switch i.Holds {
		case fleet.TruthNo:
			return fleet.TruthNo
		case fleet.TruthUnknown:
			out = fleet.TruthUnknown
		}
	}
	return out
}

// DriftConfig is what a check works with. Plan, Hosts, World, Looks and Entries
// must be set.
type DriftConfig struct {
	Plan  *plan.Plan
	Hosts map[fleet.HostRef]fleet.Host // all of the plan's snapshot
	World DriftWorld
	Looks HostLooks
	// Entries reads the plan's journal; it is asked again at the end.
	Entries func(context.Context) ([]Entry, error)
	// Holder tells who holds the lease; nil or empty: nobody.
	Holder func(context.Context) (string, error)
	// Sessions opens a real session on each host that should have any; nil: it
	// is enough that the agent is connected.
	Sessions    Prover
	Concurrency int // looks at once; 0: 50, as many as one Run Command takes
	Paths       HostPaths
	// Recovery looks at the recovery way as a whole, too; nil: it is not looked at
	// beyond the conditions of the plan's steps.
	Recovery *RecoveryDrift
	// Generations are all generations of the recovery key, newest first: a later
	// one than the plan's serves as well.
	Generations []fleet.RecoveryKey
}

// Drift compares the world with what the plan's journal says of it: the
// condition of every step that is done, and not undone, is observed again. It
// changes nothing, takes no lease, and may run while somebody applies: what a run
// has touched meanwhile is not judged. An error means that the journal could not be
// read, or that ctx has ended.
func Drift(ctx context.Context, c DriftConfig) (DriftReport, error) {
	if c.Plan == nil || c.Hosts == nil || c.World == nil || c.Looks == nil || c.Entries == nil {
		return DriftReport{}, errors.New("the check for drift lacks a plan, hosts, a world or a journal")
	}
	r := DriftReport{Plan: c.Plan.ID, Digest: c.Plan.Digest, At: time.Now().UTC(), Items: []DriftItem{}}
	before, err := c.records(ctx)
	if err != nil {
		return r, err
	}
	if r.Holder, err = c.holder(ctx); err != nil {
		return r, err
	}
	e := expect(c.Plan, c.Hosts, before)
	r.Steps, r.Hosts = e.steps, len(e.hosts)
	items := newDriftCheck(c, e).run(ctx)
	if err := ctx.Err(); err != nil {
		return r, fmt.Errorf("look for drift: %w", err)
	}
	after, err := c.records(ctx)
	if err != nil {
		return r, err
	}
	if r.Holder == "" {
		if r.Holder, err = c.holder(ctx); err != nil {
			return r, err
		}
	}
	r.Items = settleItems(items, before, after, r.Holder)
	for n, i := range r.Items {
		r.Items[n].Do = i.remedy(token(c.Plan.Digest, ""))
		if i.Owner != "" && i.Holds == fleet.TruthNo {
			r.Items[n].Do += "; it is managed by " + i.Owner + ": put it right there as well, or its next run brings this back"
		}
	}
	return r, nil
}

func (c DriftConfig) holder(ctx context.Context) (string, error) {
	if c.Holder == nil {
		return "", nil
	}
	return c.Holder(ctx)
}

// records is what the journal says of each step.
func (c DriftConfig) records(ctx context.Context) (map[string]record, error) {
	entries, err := c.Entries(ctx)
	if err != nil {
		return nil, err
	}
	return recordsOf(c.Plan, entries)
}

// settleItems drops what a run has touched since the check began, joins what
// several steps say of one thing, and puts everything in order.
func settleItems(items []DriftItem, before, after map[string]record, holder string) []DriftItem {
	type key struct {
		code DriftCode
		at   fleet.Place
		what string
	}
	out := []DriftItem{}
	at := map[key]int{}
	for _, i := range items {
		if slices.ContainsFunc(i.Steps, func(s string) bool { return before[s].seq != after[s].seq }) {
			continue
		}
		if i.Code == DriftRecoveryUp && i.Holds == fleet.TruthNo && holder != "" {
			i.Holds, i.Now = fleet.TruthUnknown, i.Now+"; "+holder+" is at work, and may be drilling"
		}
		k := key{i.Code, i.At, i.What}
		n, ok := at[k]
		if !ok {
			at[k] = len(out)
			out = append(out, i)
			continue
		}
		out[n] = join(out[n], i)
	}
	slices.SortStableFunc(out, func(a, b DriftItem) int {
		return cmp.Or(rank(a.Holds)-rank(b.Holds), strings.Compare(string(a.Code), string(b.Code)),
			strings.Compare(a.At.Account, b.At.Account), strings.Compare(a.At.Region, b.At.Region), strings.Compare(a.What, b.What))
	})
	return out
}

// rank puts drift before what is unknown.
func rank(t fleet.Truth) int {
	if t == fleet.TruthNo {
		return 0
	}
	return 1
}

// join makes one of what two steps say of the same thing. What is known decides.
func join(a, b DriftItem) DriftItem {
	if rank(b.Holds) < rank(a.Holds) {
		a, b = b, a
	}
	hosts, steps := slices.Concat(a.Hosts, b.Hosts), slices.Concat(a.Steps, b.Steps)
	slices.SortFunc(hosts, fleet.HostRef.Compare)
	a.Hosts = slices.Compact(hosts)
	slices.Sort(steps)
	a.Steps = slices.Compact(steps)
	if a.Since.IsZero() || !b.Since.IsZero() && b.Since.Before(a.Since) {
		a.Since = b.Since
	}
	return a
}
