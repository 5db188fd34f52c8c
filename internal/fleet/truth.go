package fleet

// Truth is a yes or no that may not be known. The zero value is
// TruthUnknown, so that a forgotten answer never counts as either.
type Truth int

// The truths.
const (
	TruthUnknown Truth = iota
	TruthNo
	TruthYes
)

var truthNames = [...]string{"unknown", "no", "yes"}

// String is "unknown", "no" or "yes".
func (t Truth) String() string { return nameOf(truthNames[:], int(t)) }

// MarshalText writes the truth's name.
func (t Truth) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads a truth's name.
func (t *Truth) UnmarshalText(b []byte) error {
	return parseName("truth", truthNames[:], b, (*int)(t))
}
