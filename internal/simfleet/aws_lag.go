package simfleet

import (
	"slices"
	"time"

	"ssm-migrate/internal/fleet"
)

// Eventual consistency: with AWSOptions.Lag, EC2 and IAM answer reads from the
// state that was Lag ago, and services that use IAM's roles and profiles see
// those as late. Before each change, what may change is copied; a reader gets
// the oldest copy that is not older than Lag, or the present.

// past is a state and when it ended.
type past[T any] struct {
	until time.Time
	state T
}

// before gives the state as of a time; ok is false when it is the present one.
func before[T any](list []past[T], at time.Time) (state T, ok bool) {
	for _, p := range list {
		if p.until.After(at) {
			return p.state, true
		}
	}
	return state, false
}

// keep adds a state and forgets those that nobody can ask for any more.
func keep[T any](list []past[T], now time.Time, lag time.Duration, state T) []past[T] {
	list = slices.DeleteFunc(list, func(p past[T]) bool { return !p.until.After(now.Add(-lag)) })
	return append(list, past[T]{now, state})
}

// remember copies what a changing call may change, if reads of it lag. The
// caller holds World.Mu for writing.
func (s *AWS) remember(c *call) {
	now := s.w.Now()
	switch {
	case s.o.Lag <= 0:
	case c.service == "ec2":
		s.regions[c.region] = keep(s.regions[c.region], now, s.o.Lag, copyRegion(c.region))
	case c.service == "iam":
		s.accounts[c.account] = keep(s.accounts[c.account], now, s.o.Lag, copyAccount(c.account))
	}
}

// lag puts the state that a reading call sees into the call. The caller holds
// World.Mu at least for reading.
func (s *AWS) lag(c *call) {
	switch {
	case s.o.Lag <= 0:
	case c.service == "ec2":
		if rg, ok := before(s.regions[c.region], s.w.Now().Add(-s.o.Lag)); ok {
			c.region = rg
		}
	case c.service == "iam":
		c.account = s.settled(c.account)
	}
}

// settled is an account's identities as other services see them. The caller
// holds World.Mu at least for reading.
func (s *AWS) settled(a *Account) *Account {
	if old, ok := before(s.accounts[a], s.w.Now().Add(-s.o.Lag)); ok && s.o.Lag > 0 {
		return old
	}
	return a
}

func copied[T any](in []*T, change func(*T)) []*T {
	out := make([]*T, len(in))
	for i, x := range in {
		own := *x
		if change != nil {
			change(&own)
		}
		out[i] = &own
	}
	return out
}

// copyRegion copies what calls to EC2 change. Maps and slices inside are
// replaced by those calls, not written to, unless they are copied here.
func copyRegion(rg *Region) *Region {
	own := *rg
	own.Groups = copied(rg.Groups, nil)
	own.Endpoints = copied(rg.Endpoints, nil)
	own.ENIs = copied(rg.ENIs, nil)
	own.Templates = copied(rg.Templates, nil)
	own.KeyPairs = copied(rg.KeyPairs, nil)
	own.Instances = copied(rg.Instances, func(in *Instance) { in.Host.Interfaces = slices.Clone(in.Host.Interfaces) })
	own.rules = cloneMap(rg.rules)
	own.Launches = cloneMap(rg.Launches)
	own.Tags = make(map[string]map[string]string, len(rg.Tags))
	for id, tags := range rg.Tags {
		own.Tags[id] = cloneMap(tags)
	}
	return &own
}

func copyAccount(a *Account) *Account {
	own := *a
	own.Roles = copied(a.Roles, func(r *fleet.Role) {
		r.Inline, r.Tags, r.Attached = cloneMap(r.Inline), cloneMap(r.Tags), slices.Clone(r.Attached)
	})
	own.Profiles = copied(a.Profiles, nil)
	own.Tags = cloneMap(a.Tags)
	return &own
}

func cloneMap[K comparable, V any](m map[K]V) map[K]V {
	out := make(map[K]V, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}
