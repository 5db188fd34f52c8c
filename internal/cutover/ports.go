package cutover

import (
	"context"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// Hosts runs scripts on hosts as root.
type Hosts interface {
	// Run runs a script by one way. What went wrong is in the result; nothing
	// is retried that may have run. WaySessionManager is Run Command, WaySSH a login as the
	// inventory makes it, WayRecovery a login with the recovery key by the recovery
	// bastion, which must be up, WayConnectEndpoint one by an EC2 Instance Connect Endpoint.
	Run(ctx context.Context, h fleet.Host, way fleet.Way, s fleet.Script) fleet.ScriptResult
}

// Prover uses ways for no other purpose than to prove them.
type Prover interface {
	// Prove opens a session (or logs in), runs a command that prints a random
	// number, compares, and ends the session. It returns when that is done or ctx has ended.
	Prove(ctx context.Context, h fleet.Host, way fleet.Way) fleet.Proof
}

// Scaling changes Auto Scaling groups.
type Scaling interface {
	// ScalingGroup fails with fleet.ErrNotFound where there is none.
	ScalingGroup(ctx context.Context, at fleet.Place, name string) (fleet.ScalingGroup, error)
	SetSize(ctx context.Context, at fleet.Place, name string, minimum, desired, maximum int) error
	// InService gives the group's instances that are in service, with their
	// addresses and networks.
	InService(ctx context.Context, at fleet.Place, name string) ([]fleet.Host, error)
	// HostKeys gives the public host keys ("ssh-ed25519 AAAA…") that the
	// instance wrote to its console at first boot; none as long as it has not.
	HostKeys(ctx context.Context, h fleet.HostRef) ([]string, error)
}

// Launches tells how Auto Scaling groups fare with launching instances.
type Launches interface {
	// LaunchFailure gives the status message of the group's newest scaling
	// activity that began at or after since, if that failed; empty: it did not, or there is none.
	LaunchFailure(ctx context.Context, at fleet.Place, name string, since time.Time) (reason string, err error)
}

// Bastions opens the recovery way of a VPC. Until then, and after close,
// Hosts and Prover fail on it for hosts of that VPC.
type Bastions interface {
	// OpenBastion logs in to a running bastion with the recovery key; only
	// the given host keys are accepted.
	OpenBastion(ctx context.Context, bastion fleet.Host, user string, hostKeys []string) (closeIt func(), err error)
}

// RecoveryKeys asks about single generations of the recovery key, named by
// their base64 parts.
type RecoveryKeys interface {
	// OpenBastionWith is OpenBastion with one key alone, there and on the hosts
	// until it is closed.
	OpenBastionWith(ctx context.Context, bastion fleet.Host, user string, hostKeys []string, key string) (closeIt func(), err error)
	// Refuses asks a host, by the open bastion, whether it would let a login
	// with a key go on; nothing is signed with it. Yes: it refuses the key.
	Refuses(ctx context.Context, h fleet.Host, key string) (refuses fleet.Truth, why string)
}

// Proofs keeps proofs. Both methods may run concurrently.
type Proofs interface {
	SaveProof(ctx context.Context, p fleet.Proof) error
	// LatestProof gives the newest proof of a way, whatever it says; ok is false without any.
	LatestProof(ctx context.Context, h fleet.HostRef, way fleet.Way) (p fleet.Proof, ok bool, err error)
}

// Journal is the append-only record of a plan's execution.
type Journal interface {
	// Append writes entries in one transaction that is on disk when it returns,
	// and fills in their Seq, Prev and Hash. It fails with ErrLease unless the
	// lease is held with this fence; nothing is written then.
	Append(ctx context.Context, fence int64, entries ...Entry) ([]Entry, error)
	// Entries gives a plan's entries in their order; an empty plan ID: all.
	Entries(ctx context.Context, planID string) ([]Entry, error)
}

// Leases let one operator apply at a time.
type Leases interface {
	// Acquire takes the lease for a while; it fails with a *HeldError while
	// somebody else holds it. The fence grows with every acquisition.
	Acquire(ctx context.Context, holder string, d time.Duration) (fence int64, err error)
	Renew(ctx context.Context, fence int64, d time.Duration) error // ErrLease: lost
	Release(ctx context.Context, fence int64) error
}

// Control is how other terminals speak to a run.
type Control interface {
	// Control gives what is wished for a plan's run; the zero value: run.
	Control(ctx context.Context, planID string) (Wish, error)
}

// Wish is what somebody wishes of a run.
type Wish struct {
	Pause       bool      `json:"pause"`       // finish the steps under way, begin none
	Stop        bool      `json:"stop"`        // the same, and end the run
	Concurrency int       `json:"concurrency"` // 0: the policy's
	By          string    `json:"by"`
	At          time.Time `json:"at,omitzero"`
	Reason      string    `json:"reason,omitempty"`
}

// Hooks runs the operator's commands.
type Hooks interface {
	Hook(ctx context.Context, command string, planID string, w plan.Wave) error
}
