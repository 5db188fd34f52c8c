package cutover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"ssm-migrate/internal/fleet"
)

// hostWays are tried in this order. The recovery way fails at once unless its
// bastion is up; the endpoint comes last, since it carries 20 connections at most.
var hostWays = []fleet.Way{fleet.WaySessionManager, fleet.WaySSH, fleet.WayRecovery, fleet.WayConnectEndpoint}

// A way that failed so often in a row, the last time no longer ago than this,
// is tried after all others: each try may take a minute before it fails.
const (
	wayFailures = 2
	wayMemory   = 5 * time.Minute
)

// wayRecord remembers which ways into hosts failed. Its zero value remembers
// nothing; it may be used concurrently.
type wayRecord struct {
	mu     sync.Mutex
	failed map[hostWay]wayFailure // guarded by mu
}

type hostWay struct {
	host fleet.HostRef
	way  fleet.Way
}

type wayFailure struct {
	times int
	at    time.Time // of the last
}

func (w *wayRecord) note(h fleet.HostRef, way fleet.Way, answered bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if answered {
		delete(w.failed, hostWay{h, way})
		return
	}
	if w.failed == nil {
		w.failed = map[hostWay]wayFailure{}
	}
	w.failed[hostWay{h, way}] = wayFailure{w.failed[hostWay{h, way}].times + 1, time.Now()}
}

// down reports whether a way has failed again and again of late.
func (w *wayRecord) down(h fleet.HostRef, way fleet.Way) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.failed[hostWay{h, way}]
	return f.times >= wayFailures && time.Since(f.at) < wayMemory
}

// order gives the ways into a host, those that are down last.
func (w *wayRecord) order(h fleet.HostRef) []fleet.Way {
	var up, down []fleet.Way
	for _, way := range hostWays {
		if w.down(h, way) {
			down = append(down, way)
		} else {
			up = append(up, way)
		}
	}
	return append(up, down...)
}

// unreachedError says that no way led to a host: nothing ran there.
type unreachedError struct {
	host    fleet.HostRef
	script  string
	reasons []string // "WAY: why", in the order of the tries
}

func (e *unreachedError) Error() string {
	return fmt.Sprintf("run %s on %s: %s", e.script, e.host.ID, strings.Join(e.reasons, "; "))
}

// errMayHaveRun says that a script which changes something may have run, and
// that nobody knows how it ended.
var errMayHaveRun = errors.New("whether it ran is not known")

// answerOf tries the ways into a host until one gives a complete answer. A script
// that changes something is not tried again where it may have run: who asked for it looks
// first. A refusal is an answer.
func answerOf(ctx context.Context, host fleet.Host, s fleet.Script, ways []fleet.Way, run func(fleet.Way) fleet.ScriptResult) (hostAnswer, error) {
	e := &unreachedError{host: host.Ref(), script: s.Name}
	lost := false
	for _, way := range ways {
		r := run(way)
		if r.Started != fleet.TruthNo {
			answer, err := parseAnswer(r.Stdout)
			if !errors.Is(err, errNoAnswer) {
				return answer, err
			}
			lost = true
		}
		e.reasons = append(e.reasons, fmt.Sprintf("%s: %s", cmp.Or(r.Way, way), silence(r)))
		if ctx.Err() != nil || lost && !s.Reads {
			break
		}
	}
	switch {
	case lost && !s.Reads:
		return nil, fmt.Errorf("%w: %w", e.asLost(), errMayHaveRun)
	case lost || ctx.Err() != nil:
		return nil, e.asLost()
	}
	return nil, e
}

// asLost is the same text where a way led to the host, or time was up.
func (e *unreachedError) asLost() error { return errors.New(e.Error()) }

// silence says why a run gave no answer.
func silence(r fleet.ScriptResult) string {
	switch {
	case r.Reason != "":
		return fleet.OneLine(r.Reason, 300)
	case r.Cut:
		return "the output was cut off"
	case len(r.Stderr) > 0:
		return fmt.Sprintf("ended with status %d: %s", r.Exit, fleet.OneLine(string(r.Stderr), 300))
	}
	return fmt.Sprintf("ended with status %d and no answer", r.Exit)
}
