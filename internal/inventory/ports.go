// Package inventory collects a snapshot of a fleet through read-only ports and
// hands it to a store as it arrives.
package inventory

import (
	"context"
	"time"

	"ssm-migrate/internal/fleet"
)

// Cloud reads one account in one Region. Its methods may run concurrently.
// Paging, throttling and retries are its own business; an error it returns is
// final for this run.
type Cloud interface {
	// Label is the operator's name for this access: a profile or role ARN.
	Label() string
	// RegionName is the Region that it reads.
	RegionName() string
	// Instances lists every instance that is not terminated, page by page.
	// Pages that were handed over before an error stay valid.
	Instances(ctx context.Context, page func([]fleet.Host) error) error
	// Nodes lists every managed node, hybrid ones included, page by page.
	Nodes(ctx context.Context, page func([]fleet.Node) error) error
	// Connection is ssm:GetConnectionStatus of one node: "connected" or "notconnected".
	Connection(ctx context.Context, node string) (string, error)
	// Surroundings reads all collections of a Region but Instances and Nodes.
	// It cannot fail as a whole: each collection carries its own reason.
	// Account stays empty where it cannot be known.
	Surroundings(ctx context.Context) fleet.Region
}

// Identity reads one account's global side.
type Identity interface {
	// Account cannot fail as a whole: each collection carries its own reason.
	// It leaves Simulations out.
	Account(ctx context.Context) fleet.Account
	// Simulate asks IAM what roles, named by ARN, may do. Where it gives an
	// answer for some only, the fact is unknown and keeps these.
	Simulate(ctx context.Context, principals []string) fleet.Fact[[]fleet.Simulation]
}

// Prober runs the probe script on hosts, and can run nothing else.
type Prober interface {
	// Probe runs Script on the host once and returns what it printed, with the
	// way by which it ran. The output is hostile until parsed; it is cut off at a
	// size that the Prober sets, with Output.Truncated saying so.
	Probe(ctx context.Context, host fleet.Host) (Output, error)
}

// Output is fleet.ProbeOutput: what a host printed.
type Output = fleet.ProbeOutput

// Store keeps what an inventory finds. Each call is one transaction that is on
// disk when it returns.
type Store interface {
	// Begin opens a new snapshot. Until Finish it counts as running, and no
	// reader takes it for the latest.
	Begin(ctx context.Context, info fleet.SnapshotInfo) (int64, error)
	// Save adds a batch to a running snapshot.
	Save(ctx context.Context, snapshot int64, b fleet.Batch) error
	// Finish closes a snapshot with its end state and counts.
	Finish(ctx context.Context, info fleet.SnapshotInfo) error
}

// Event tells a watcher how far an inventory is. Every field but Kind may be zero.
type Event struct {
	Kind    EventKind
	Account string // ID, or access label
	Region  string
	Source  string // API or "probe"
	Host    string // host ID, for host events
	Done    int    // elements so far
	Total   int    // 0: not known yet
	Reason  string // why a source or host gave no answer
	At      time.Time
}

// EventKind says what an Event tells.
type EventKind int

// The kinds of events.
const (
	SourceProgress EventKind = iota // a source gave more elements
	SourceDone                      // a source ended; Reason is set when it broke off
	ProbeProgress                   // one more host was probed or given up; Done of Total
	Finished                        // the snapshot is closed
)
