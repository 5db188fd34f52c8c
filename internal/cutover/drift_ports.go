package cutover

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"ssm-migrate/internal/fleet"
)

// DriftWorld is what a check for drift reads of AWS. Nothing can be changed by
// it. All methods may run concurrently.
type DriftWorld interface {
	AWSReader
	// Instances lists a place's instances but those that are terminated or being terminated.
	Instances(ctx context.Context, at fleet.Place) ([]fleet.Host, error)
	// Connected reports whether the instance's agent holds a connection to
	// Session Manager; an error means unknown.
	Connected(ctx context.Context, h fleet.HostRef) (bool, error)
}

// HostLooks looks at hosts. It may be called concurrently.
type HostLooks interface {
	Look(ctx context.Context, h fleet.Host, way fleet.Way, l Look) fleet.ScriptResult
}

// Look is a script for a host that changes nothing. Only this package makes
// any, out of the functions of its scripts that observe; the zero value does nothing.
type Look struct{ script fleet.Script }

// Script is what runs on the host.
func (l Look) Script() fleet.Script { return l.script }

// observing is a function of the host scripts that changes nothing.
type observing string

const (
	observeTimer observing = "observe_timer"
	observeAgent observing = "observe_agent"
	observeKeys  observing = "observe_keys"
	observeKey   observing = "observe_key"
)

// parts of the scripts that the function needs, besides the common one.
func (o observing) parts() []string {
	switch o {
	case observeTimer:
		return []string{"timer"}
	case observeAgent:
		return []string{"agent"}
	case observeKeys:
		return []string{"find", "restore", "timer", "keys"}
	case observeKey:
		return []string{"find", "restore", "key"}
	}
	return nil
}

// driftLook puts one script together that calls all the functions in turn. One
// that refuses ends the script: those after it say nothing.
func (h *hostSide) driftLook(vars hostVars, functions ...observing) Look {
	parts, calls := []string{"common"}, make([]string, 0, len(functions))
	seen := map[string]bool{}
	for _, f := range functions {
		calls = append(calls, string(f))
		for _, p := range f.parts() {
			if !seen[p] {
				seen[p] = true
				parts = append(parts, p)
			}
		}
	}
	return Look{h.script("observe-drift", strings.Join(calls, "\n"), keysTimeout+time.Minute, vars, parts...)}
}

// memory remembers the reads that many steps share for as long as a check runs.
type memory struct {
	DriftWorld
	mu     sync.Mutex
	groups map[string]*remembered[fleet.SecurityGroup] // guarded by mu
	rules  map[string]*remembered[[]fleet.Rule]        // guarded by mu
}

// remembered is one read; its fields are set when done is closed.
type remembered[T any] struct {
	done  chan struct{}
	value T
	err   error
}

func newMemory(w DriftWorld) *memory {
	return &memory{DriftWorld: w, groups: map[string]*remembered[fleet.SecurityGroup]{}, rules: map[string]*remembered[[]fleet.Rule]{}}
}

func (m *memory) FindGroup(ctx context.Context, at fleet.Place, vpc, name string) (fleet.SecurityGroup, error) {
	return once(&m.mu, m.groups, fmt.Sprint(at, vpc, " ", name), func() (fleet.SecurityGroup, error) {
		return m.DriftWorld.FindGroup(ctx, at, vpc, name)
	})
}

func (m *memory) GroupRules(ctx context.Context, at fleet.Place, group string) ([]fleet.Rule, error) {
	return once(&m.mu, m.rules, fmt.Sprint(at, group), func() ([]fleet.Rule, error) { return m.DriftWorld.GroupRules(ctx, at, group) })
}

// once reads for the first who asks; all others wait for that answer.
func once[T any](mu *sync.Mutex, known map[string]*remembered[T], key string, read func() (T, error)) (T, error) {
	mu.Lock()
	r := known[key]
	first := r == nil
	if first {
		r = &remembered[T]{done: make(chan struct{})}
		known[key] = r
	}
	mu.Unlock()
	if first {
		r.value, r.err = read()
		close(r.done)
	}
	<-r.done
	return r.value, r.err
}

// readOnly lends the step kinds, which can change things, a world in which
// nothing can be changed.
type readOnly struct{ AWSReader }

var _ AWS = readOnly{}

var errReadOnly = errors.New("a check for drift changes nothing")

func (readOnly) CreateGroup(context.Context, fleet.Place, fleet.SecurityGroup) (string, error) {
	return "", errReadOnly
}
func (readOnly) DeleteGroup(context.Context, fleet.Place, string) error { return errReadOnly }
func (readOnly) Authorize(context.Context, fleet.Place, string, fleet.Rule) error {
	return errReadOnly
}
func (readOnly) Revoke(context.Context, fleet.Place, string, bool, []string) error {
	return errReadOnly
}
func (readOnly) Associate(context.Context, fleet.Place, string, string) error { return errReadOnly }
func (readOnly) Disassociate(context.Context, fleet.Place, string) error      { return errReadOnly }
func (readOnly) CreateProfile(context.Context, fleet.Place, string, string) error {
	return errReadOnly
}
func (readOnly) SetProfileRole(context.Context, fleet.Place, string, string) error {
	return errReadOnly
}
func (readOnly) DeleteProfile(context.Context, fleet.Place, fleet.ProfileState) error {
	return errReadOnly
}
func (readOnly) CreateRole(context.Context, fleet.Place, fleet.RoleState) error { return errReadOnly }
func (readOnly) DeleteRole(context.Context, fleet.Place, string) error          { return errReadOnly }
func (readOnly) PutRolePolicy(context.Context, fleet.Place, string, string, string) error {
	return errReadOnly
}
func (readOnly) DeleteRolePolicy(context.Context, fleet.Place, string, string) error {
	return errReadOnly
}
func (readOnly) AttachPolicy(context.Context, fleet.Place, string, string) error { return errReadOnly }
func (readOnly) DetachPolicy(context.Context, fleet.Place, string, string) error { return errReadOnly }
func (readOnly) SetDefaultRole(context.Context, fleet.Place, string) error       { return errReadOnly }
func (readOnly) CreateDocument(context.Context, fleet.Place, string, string, string) error {
	return errReadOnly
}
func (readOnly) AddDocumentVersion(context.Context, fleet.Place, string, string) error {
	return errReadOnly
}
func (readOnly) SetDefaultVersion(context.Context, fleet.Place, string, string) error {
	return errReadOnly
}
func (readOnly) DeleteDocument(context.Context, fleet.Place, string) error { return errReadOnly }
func (readOnly) CreateEndpoint(context.Context, fleet.Place, fleet.VPCEndpoint, string) error {
	return errReadOnly
}
func (readOnly) DeleteEndpoint(context.Context, fleet.Place, string) error { return errReadOnly }
func (readOnly) CreateTemplate(context.Context, fleet.Place, fleet.BastionTemplate, string) error {
	return errReadOnly
}
func (readOnly) DeleteTemplate(context.Context, fleet.Place, string) error { return errReadOnly }
func (readOnly) AddTemplateVersion(context.Context, fleet.Place, fleet.BastionTemplate, string, string) (int64, error) {
	return 0, errReadOnly
}
func (readOnly) SetTemplateDefault(context.Context, fleet.Place, string, int64) error {
	return errReadOnly
}
func (readOnly) SetTemplateVersion(context.Context, fleet.Place, string, string, string) error {
	return errReadOnly
}
func (readOnly) InService(context.Context, fleet.Place, string) ([]fleet.Host, error) {
	return nil, errReadOnly
}
func (readOnly) LaunchFailure(context.Context, fleet.Place, string, time.Time) (string, error) {
	return "", errReadOnly
}
func (readOnly) SetSize(context.Context, fleet.Place, string, int, int, int) error {
	return errReadOnly
}
func (readOnly) CreateScalingGroup(context.Context, fleet.Place, fleet.ScalingGroup) error {
	return errReadOnly
}
func (readOnly) DeleteScalingGroup(context.Context, fleet.Place, string) error { return errReadOnly }
func (readOnly) CreateSchedule(context.Context, fleet.Place, fleet.Schedule, string) error {
	return errReadOnly
}
func (readOnly) DeleteSchedule(context.Context, fleet.Place, string) error { return errReadOnly }
