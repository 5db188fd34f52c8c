package fleet

import "time"

// Severity says what a finding means for the host's verdict.
type Severity int

// The severities, least first. SeverityUnknown and SeverityBlocks decide the
// verdict; the others do not.
const (
	SeverityNote    Severity = iota // worth knowing
	SeverityRisk                    // Session Manager works, but something is unsafe or will hurt the move
	SeverityUnknown                 // a deciding fact is missing
	SeverityBlocks                  // Session Manager cannot work until it is fixed
)

var severityNames = [...]string{"note", "risk", "unknown", "blocks"}

// String is "note", "risk", "unknown" or "blocks".
func (s Severity) String() string { return nameOf(severityNames[:], int(s)) }

// MarshalText writes the severity's name.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a severity's name.
func (s *Severity) UnmarshalText(b []byte) error {
	return parseName("severity", severityNames[:], b, (*int)(s))
}

// Finding is one thing that stands between a host and Session Manager, or
// that its owner should know before the move.
type Finding struct {
	Code     string     `json:"code"`             // stable name in the catalogue: "agent-missing"
	Host     string     `json:"host"`             // host ID; empty for a finding about the account or Region
	Object   string     `json:"object,omitempty"` // the shared thing at fault: role ARN, group ID, endpoint service, key fingerprint
	Severity Severity   `json:"severity"`
	Title    string     `json:"title"`
	Evidence []Evidence `json:"evidence"`
	Fix      string     `json:"fix"`
	Blast    string     `json:"blast"`             // who else the fix touches: "role web is shared by 41 hosts"
	Undo     string     `json:"undo,omitempty"`    // how to take the fix back
	Because  []Ref      `json:"because,omitempty"` // findings of the same host that bring this one about; none: it is a root cause, or stands alone
}

// Ref gives the name under which other findings of its host refer to it.
func (f Finding) Ref() Ref { return Ref{Code: f.Code, Object: f.Object} }

// Ref names a finding among those of one host.
type Ref struct {
	Code   string `json:"code"`
	Object string `json:"object,omitempty"`
}

// Evidence is one fact that a finding rests on.
type Evidence struct {
	Fact   string    `json:"fact"`
	Source string    `json:"source"`
	At     time.Time `json:"at,omitzero"`
}

// HostVerdict is the judgement on one host.
type HostVerdict struct {
	Host    string  `json:"host"`
	Verdict Verdict `json:"verdict"`
	Cause   string  `json:"cause,omitempty"`  // code of the finding that decides it; empty when ready
	Causes  []Ref   `json:"causes,omitempty"` // every root cause that keeps it from ready, the deciding one first
	Paths   []int   `json:"paths,omitempty"`  // the host's ways to the endpoints that it needs: positions in Assessment.Paths
}

// Assessment is the judgement on one snapshot.
type Assessment struct {
	Snapshot int64         `json:"snapshot"`
	At       time.Time     `json:"at"`
	Hosts    []HostVerdict `json:"hosts"`    // in the snapshot's order
	Findings []Finding     `json:"findings"` // by host in the snapshot's order, worst first; those about no single host last

	Paths     []Path     `json:"paths,omitempty"`     // each once, however many hosts share it
	Operators []Operator `json:"operators,omitempty"` // IAM principals that may do something with sessions
	Ledger    Ledger     `json:"ledger"`
	Parity    Parity     `json:"parity"`
}

// Count gives how many hosts have the verdict.
func (a *Assessment) Count(v Verdict) int {
	n := 0
	for _, h := range a.Hosts {
		if h.Verdict == v {
			n++
		}
	}
	return n
}
