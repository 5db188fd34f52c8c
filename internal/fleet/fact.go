package fleet

import "time"

// Fact is one piece of knowledge about the world in three-valued logic: it is
// known (Value holds it) or unknown (Reason says why). The zero Fact is
// unknown without a reason. Facts are values; share and copy them freely.
type Fact[T any] struct {
	Known  bool      `json:"known"`
	Value  T         `json:"value"`
	Source string    `json:"source,omitempty"` // what was asked: "ec2:DescribeVpcs", "probe: sshd -T"
	At     time.Time `json:"at,omitzero"`      // when the source answered, or failed to
	Reason string    `json:"reason,omitempty"` // why the fact is unknown; empty when known
}

// Known is a fact that source answered at the given time.
func Known[T any](value T, source string, at time.Time) Fact[T] {
	return Fact[T]{Known: true, Value: value, Source: source, At: at}
}

// Unknown is a fact that source could not answer, and why.
func Unknown[T any](source string, at time.Time, reason string) Fact[T] {
	return Fact[T]{Source: source, At: at, Reason: reason}
}

// Partial is a collection that broke off before its end. It is unknown, but
// keeps what was seen: an element of it exists, while an element that is not
// in it may exist as well.
func Partial[T any](seen []T, source string, at time.Time, reason string) Fact[[]T] {
	return Fact[[]T]{Value: seen, Source: source, At: at, Reason: reason}
}

// Verdict is the answer to "can Session Manager open a session on this host?".
type Verdict int

// The verdicts. The zero value is VerdictUnknown, so that a forgotten answer
// never counts as a good one.
const (
	VerdictUnknown Verdict = iota // a fact that decides it is missing
	VerdictBlocked                // something known stands in the way
	VerdictReady                  // every deciding fact is known and good
)

var verdictNames = [...]string{"unknown", "blocked", "ready"}

// String is "unknown", "blocked" or "ready".
func (v Verdict) String() string { return nameOf(verdictNames[:], int(v)) }

// MarshalText writes the verdict's name.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads a verdict's name.
func (v *Verdict) UnmarshalText(b []byte) error {
	return parseName("verdict", verdictNames[:], b, (*int)(v))
}
