package simfleet

import (
	"errors"
	"fmt"
	"slices"
)

// Cause is one way in which the move of a host from SSH to Session Manager
// fails or hurts, as it can be brought into a world.
type Cause struct {
	Number int    // in the project's list of failure causes; causes with several forms come once for each
	Name   string // stable and unique: "endpoint-missing"
	Text   string // what is wrong
	Why    string // why the model cannot express it; empty when Inject is not nil
	Shared string // what besides the instance the injection changes: "", "subnet", "vpc", "role", "account", "region"
	Breaks bool   // afterwards no session opens on the instance, by the world's own rules

	// Inject brings the cause about on one instance. It changes the world's
	// data only; what follows, follows by the world's rules. Other instances
	// keep what they have: where the thing at fault would be shared, the
	// instance gets its own first. On an error the world is as it was before.
	// The caller holds w.Mu for writing. Nil: the model cannot express it.
	Inject func(w *World, in *Instance) error
}

// Causes lists the causes by number.
func Causes() []Cause {
	out := slices.Concat(networkCauses(), identityCauses(), sessionCauses(), hostCauses(), peopleCauses())
	slices.SortStableFunc(out, func(a, b Cause) int { return a.Number - b.Number })
	return out
}

// errNotHere is wrapped by the errors of Inject that another instance might not give.
var errNotHere = errors.New("cannot be injected here")

func notHere(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errNotHere, fmt.Sprintf(format, args...))
}

// onHost is an injection that cannot fail and changes only the instance.
func onHost(change func(in *Instance)) func(*World, *Instance) error {
	return func(w *World, in *Instance) error {
		in.seen(w)
		change(in)
		return nil
	}
}

// seen notes that Systems Manager heard from the instance's agent until the
// cause came, unless it never did.
func (in *Instance) seen(w *World) {
	if in.Agent.LastSeen.IsZero() && w.Online(in) {
		_, _, in.Agent.LastSeen = w.nodeState(in)
	}
}
