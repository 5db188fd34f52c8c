package cutover

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/recovery"
)

// HostWorld is what the step kinds of hosts work with. All ports may be called
// concurrently.
type HostWorld struct {
	Hosts    Hosts
	Prover   Prover
	Proofs   Proofs
	Scaling  Scaling
	Bastions Bastions
	// Launches tells why a bastion does not come up. Nil: nobody does.
	Launches Launches
	// Endpoint reports whether an EC2 Instance Connect Endpoint may lead to a
	// host: then nobody waits for launches that fail. Nil: none does.
	Endpoint func(fleet.Host) bool
	// Rescue starts recovery bastions in a rollback, for hosts that nothing else
	// reaches. Nil: none is.
	Rescue *Rescue

	Plan *plan.Plan
	// Find gives the host of a reference, as the plan's snapshot has it.
	Find func(fleet.HostRef) (fleet.Host, bool)
	// SigningKey is the ASCII-armored OpenPGP key that AWS signs agent packages
	// with; empty: the one that AWS publishes, which is built in.
	SigningKey string
	// Signer is that key's fingerprint, 40 hexadecimal digits; empty: that of the
	// key that is built in.
	Signer string
	Paths  HostPaths
	// Generations are all generations of the recovery key, newest first.
	Generations []fleet.RecoveryKey
	// Keys asks hosts about single recovery keys; without it, drills that name
	// one fail.
	Keys RecoveryKeys
	// Schedules end bastions that were opened; nil: nobody does.
	Schedules Schedules
	// Drilling is told when the drill of a step gets to another phase; nil: nobody is.
	Drilling func(plan.Step, DrillPhase)
	// Tell is told what cannot wait until a step ends, in one line; nil: nobody is.
	Tell func(string)
}

// HostKinds are the step kinds that work on hosts, or use the ways into them.
// Their before-images lie on the host, too, in a folder named by the plan.
func HostKinds(w HostWorld) Kinds {
	w = w.withKey()
	h := &hostSide{
		HostWorld: w, folder: token(w.Plan.Digest, ""), paths: w.Paths,
		recoveryKey: recovery.Blob(w.Plan.Policy.Recovery.PublicKey),
	}
	w.Rescue.serve(h)
	return Kinds{
		plan.Agent:           agentKind{h},
		plan.RecoveryKey:     recoveryKeyKind{h},
		plan.ArmHostTimer:    armHostTimerKind{h},
		plan.QuarantineKeys:  quarantineKeysKind{h},
		plan.DisarmHostTimer: disarmHostTimerKind{h},
		plan.ProveSession:    &proveSessionKind{hostSide: h, began: map[string]time.Time{}},
		plan.RecoveryDrill:   recoveryDrillKind{h, &drillMemory{}},
		plan.RetireKey:       retireKeyKind{h},
		plan.RecoveryOpen:    recoveryOpenKind{h, &drillMemory{}},
		plan.WaitFor:         waitForKind{h},
	}
}

// withKey is the same world with the signer of packages that is built in, where
// it names none.
func (w HostWorld) withKey() HostWorld {
	w.SigningKey, w.Signer = cmp.Or(w.SigningKey, agentKey), cmp.Or(w.Signer, agentSigner)
	return w
}

// hostSide is what the kinds share.
type hostSide struct {
	HostWorld
	paths       HostPaths
	folder      string // name of this plan's folder on hosts
	recoveryKey string // base64 part of the recovery key
	ways        wayRecord
}

// one is the host of a step that is about a single one.
func (h *hostSide) one(s plan.Step) (fleet.Host, error) {
	if len(s.Hosts) != 1 {
		return fleet.Host{}, fmt.Errorf("step %s names %d hosts, want 1", s.ID, len(s.Hosts))
	}
	return h.find(s.Hosts[0])
}

func (h *hostSide) find(r fleet.HostRef) (fleet.Host, error) {
	host, ok := h.Find(r)
	if !ok {
		return fleet.Host{}, fmt.Errorf("%s is not in the plan's snapshot: %w", r, ErrStale)
	}
	return host, nil
}

// run runs a script by the first way that gives a complete answer. In a
// rollback a recovery bastion is started for hosts that nothing else reaches.
func (h *hostSide) run(ctx context.Context, host fleet.Host, s fleet.Script) (hostAnswer, error) {
	return h.runIn(ctx, host, s, h.ways.order(host.Ref()))
}

// runIn is run with the ways in the order in which they are tried.
func (h *hostSide) runIn(ctx context.Context, host fleet.Host, s fleet.Script, ways []fleet.Way) (hostAnswer, error) {
	ref := host.Ref()
	return answerOf(ctx, host, s, ways, func(way fleet.Way) fleet.ScriptResult {
		if way != fleet.WayRecovery {
			return h.try(ctx, host, way, s)
		}
		if h.Rescue.would(host) && !h.ways.down(ref, fleet.WaySessionManager) && sleep(ctx, askAgain) == nil {
			// One lost answer is no reason to start a machine.
			if r := h.try(ctx, host, fleet.WaySessionManager, s); r.Started != fleet.TruthNo {
				return r
			}
		}
		if err := h.Rescue.reach(ctx, host); err != nil {
			return fleet.ScriptResult{Started: fleet.TruthNo, Way: way, Reason: err.Error()}
		}
		return h.try(ctx, host, way, s)
	})
}

// runBySSH is run with SSH tried first: for work on the agent, by which Session
// Manager's way leads.
func (h *hostSide) runBySSH(ctx context.Context, host fleet.Host, s fleet.Script) (hostAnswer, error) {
	ways := h.ways.order(host.Ref())
	if !h.ways.down(host.Ref(), fleet.WaySSH) {
		ways = append([]fleet.Way{fleet.WaySSH}, slices.DeleteFunc(ways, func(w fleet.Way) bool { return w == fleet.WaySSH })...)
	}
	return h.runIn(ctx, host, s, ways)
}

// runByOthers is run without the ways that rest on the recovery key: what takes
// that key off a host must not come by it, since it may be the last way.
func (h *hostSide) runByOthers(ctx context.Context, host fleet.Host, s fleet.Script) (hostAnswer, error) {
	ways := slices.DeleteFunc(h.ways.order(host.Ref()), func(w fleet.Way) bool { return w == fleet.WayRecovery || w == fleet.WayConnectEndpoint })
	return answerOf(ctx, host, s, ways, func(way fleet.Way) fleet.ScriptResult { return h.try(ctx, host, way, s) })
}

// try runs a script by one way and remembers whether that led to an answer.
func (h *hostSide) try(ctx context.Context, host fleet.Host, way fleet.Way, s fleet.Script) fleet.ScriptResult {
	r := h.Hosts.Run(ctx, host, way, s)
	r.Way = way
	_, err := parseAnswer(r.Stdout)
	h.ways.note(host.Ref(), way, r.Started != fleet.TruthNo && !errors.Is(err, errNoAnswer))
	if way == fleet.WayRecovery && r.Started == fleet.TruthNo {
		h.Rescue.missed(ctx, host)
	}
	return r
}

// image writes an image; its types hold nothing that JSON cannot.
func image(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// readImage reads an image back; none leaves v as it is.
func readImage(raw json.RawMessage, v any) error {
	if len(raw) == 0 {
		return nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("read the image from the journal: %w", err)
	}
	return nil
}

// nothing is the undo of kinds that change nothing that lasts.
type nothing struct{}

func (nothing) Undo(context.Context, plan.Step, json.RawMessage, json.RawMessage, string) error {
	return nil
}

func (nothing) Undone(context.Context, plan.Step, json.RawMessage, json.RawMessage, string) (Observation, error) {
	return Observation{Holds: fleet.TruthYes, Detail: "nothing to take back"}, nil
}

func truthOf(b bool) fleet.Truth {
	if b {
		return fleet.TruthYes
	}
	return fleet.TruthNo
}
