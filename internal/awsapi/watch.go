package awsapi

import (
	"context"
	"sync"

	"ssm-migrate/internal/fleet"
)

// Watcher reads what a cutover has changed. It has no method that changes
// anything. Its methods may run concurrently.
type Watcher struct {
	reads *Changer

	mu      sync.Mutex
	regions map[fleet.Place]*Region // guarded by mu
}

// NewWatcher makes a watcher of the accounts. Two accesses to one account: the
// first is used.
func NewWatcher(accounts ...*Account) *Watcher {
	return &Watcher{reads: NewChanger(accounts...), regions: map[fleet.Place]*Region{}}
}

func (w *Watcher) region(ctx context.Context, at fleet.Place) (*Region, error) {
	a, _, err := w.reads.account(ctx, at.Account)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.regions[at] == nil {
		w.regions[at] = a.Cloud(at.Region)
	}
	return w.regions[at], nil
}

// Instances lists every instance that is not terminated or being terminated.
func (w *Watcher) Instances(ctx context.Context, at fleet.Place) ([]fleet.Host, error) {
	r, err := w.region(ctx, at)
	if err != nil {
		return nil, err
	}
	var out []fleet.Host
	if err := r.Instances(ctx, func(page []fleet.Host) error { out = append(out, page...); return nil }); err != nil {
		return nil, err
	}
	return out, nil
}

// Connected reports whether an instance's agent holds its connection to Session Manager.
func (w *Watcher) Connected(ctx context.Context, h fleet.HostRef) (bool, error) {
	r, err := w.region(ctx, h.Place())
	if err != nil {
		return false, err
	}
	status, err := r.Connection(ctx, h.ID)
	return status == "connected", err
}

// FindGroup is the Changer's.
func (w *Watcher) FindGroup(ctx context.Context, at fleet.Place, vpc, name string) (fleet.SecurityGroup, error) {
	return w.reads.FindGroup(ctx, at, vpc, name)
}

// GroupRules is the Changer's.
func (w *Watcher) GroupRules(ctx context.Context, at fleet.Place, group string) ([]fleet.Rule, error) {
	return w.reads.GroupRules(ctx, at, group)
}

// GroupMembers is the Changer's.
func (w *Watcher) GroupMembers(ctx context.Context, at fleet.Place, group string) ([]string, error) {
	return w.reads.GroupMembers(ctx, at, group)
}

// Association is the Changer's.
func (w *Watcher) Association(ctx context.Context, at fleet.Place, instance string) (fleet.ProfileAssociation, error) {
	return w.reads.Association(ctx, at, instance)
}

// Associated is the Changer's.
func (w *Watcher) Associated(ctx context.Context, at fleet.Place, profile string) (int, error) {
	return w.reads.Associated(ctx, at, profile)
}

// Profile is the Changer's.
func (w *Watcher) Profile(ctx context.Context, at fleet.Place, name string) (fleet.ProfileState, error) {
	return w.reads.Profile(ctx, at, name)
}

// Role is the Changer's.
func (w *Watcher) Role(ctx context.Context, at fleet.Place, name string) (fleet.RoleState, error) {
	return w.reads.Role(ctx, at, name)
}

// RolePolicy is the Changer's.
func (w *Watcher) RolePolicy(ctx context.Context, at fleet.Place, role, policy string) (string, error) {
	return w.reads.RolePolicy(ctx, at, role, policy)
}

// RolePolicies is the Changer's.
func (w *Watcher) RolePolicies(ctx context.Context, at fleet.Place, role string) ([]string, error) {
	return w.reads.RolePolicies(ctx, at, role)
}

// RoleInFull is the Changer's.
func (w *Watcher) RoleInFull(ctx context.Context, at fleet.Place, role string) (fleet.Role, []fleet.Policy, error) {
	return w.reads.RoleInFull(ctx, at, role)
}

// HasPolicy is the Changer's.
func (w *Watcher) HasPolicy(ctx context.Context, at fleet.Place, role, arn string) (bool, error) {
	return w.reads.HasPolicy(ctx, at, role, arn)
}

// DefaultRole is the Changer's.
func (w *Watcher) DefaultRole(ctx context.Context, at fleet.Place) (string, error) {
	return w.reads.DefaultRole(ctx, at)
}

// Document is the Changer's.
func (w *Watcher) Document(ctx context.Context, at fleet.Place, name, number string) (fleet.DocumentVersion, error) {
	return w.reads.Document(ctx, at, name, number)
}

// DocumentVersions is the Changer's.
func (w *Watcher) DocumentVersions(ctx context.Context, at fleet.Place, name string) ([]fleet.DocumentVersion, error) {
	return w.reads.DocumentVersions(ctx, at, name)
}

// EndpointsOf is the Changer's.
func (w *Watcher) EndpointsOf(ctx context.Context, at fleet.Place, vpc string) ([]fleet.VPCEndpoint, error) {
	return w.reads.EndpointsOf(ctx, at, vpc)
}

// Template is the Changer's.
func (w *Watcher) Template(ctx context.Context, at fleet.Place, name string) (fleet.BastionTemplate, error) {
	return w.reads.Template(ctx, at, name)
}

// ScalingGroup is the Changer's.
func (w *Watcher) ScalingGroup(ctx context.Context, at fleet.Place, name string) (fleet.ScalingGroup, error) {
	return w.reads.ScalingGroup(ctx, at, name)
}

// Schedule is the Changer's.
func (w *Watcher) Schedule(ctx context.Context, at fleet.Place, name string) (fleet.Schedule, error) {
	return w.reads.Schedule(ctx, at, name)
}

// Image is the Changer's.
func (w *Watcher) Image(ctx context.Context, at fleet.Place, id string) (state string, err error) {
	return w.reads.Image(ctx, at, id)
}
