package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/recovery"
	"ssm-migrate/internal/seal"
	"ssm-migrate/internal/sqlite"
)

// ringTurn is a turn at the place of the recovery key and at what is noted of it.
// Nobody else has one: the lease is held.
type ringTurn struct {
	db    *sqlite.DB
	store seal.Store
	fence int64
	ring  [][]byte
	blobs []string            // of the ring, in its order
	keys  []fleet.RecoveryKey // all that are noted
}

// withRing opens the place of the key, which may ask a person, who takes their
// time. Only then it takes the lease, and reads ring and notes anew for work.
func withRing(ctx context.Context, db *sqlite.DB, store seal.Store, work func(*ringTurn) error) (err error) {
	open := func() ([][]byte, error) {
		ring, err := store.Load(ctx)
		if err != nil {
			return nil, fmt.Errorf("open the recovery key (%s): %w", store.Location(), err)
		}
		return ring, nil
	}
	ring, err := open()
	if err != nil {
		return err
	}
	seal.Clear(ring)
	t := &ringTurn{db: db, store: store}
	if t.fence, err = db.Acquire(ctx, planner()+", recovery rotate", lease); err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	defer func() { err = errors.Join(err, db.Release(context.WithoutCancel(ctx), t.fence)) }()
	if t.ring, err = open(); err != nil {
		return err
	}
	defer seal.Clear(t.ring)
	for _, text := range t.ring {
		line, err := seal.PublicLine(text)
		if err != nil {
			return err
		}
		t.blobs = append(t.blobs, recovery.Blob(line))
	}
	if t.keys, err = db.RecoveryKeys(ctx); err != nil {
		return err
	}
	return work(t)
}

// save puts a ring in place, if the lease is still held: it ends before the lease does.
func (t *ringTurn) save(ctx context.Context, ring [][]byte) error {
	if err := t.db.Renew(ctx, t.fence, lease); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, lease/2)
	defer cancel()
	return t.store.Save(ctx, ring)
}

// note keeps what became of a generation, if the lease is still held.
func (t *ringTurn) note(ctx context.Context, k fleet.RecoveryKey) error {
	if err := t.db.Renew(ctx, t.fence, lease); err != nil {
		return err
	}
	return t.db.SaveRecoveryKey(ctx, k)
}

// noted is what was noted of a generation when the turn began; nil: nothing.
func (t *ringTurn) noted(blob string) *fleet.RecoveryKey {
	for i := range t.keys {
		if recovery.Blob(t.keys[i].Line) == blob {
			return &t.keys[i]
		}
	}
	return nil
}

// drop lets the private keys go that are noted as retired by now, and gives their
// public lines.
func (t *ringTurn) drop(ctx context.Context) (dropped []string, err error) {
	if t.keys, err = t.db.RecoveryKeys(ctx); err != nil {
		return nil, err
	}
	var stay [][]byte
	inUse := false
	for i, blob := range t.blobs {
		switch k := t.noted(blob); {
		case k != nil && !k.Retired.IsZero():
			dropped = append(dropped, k.Line)
			continue
		case k != nil:
			inUse = true
		}
		stay = append(stay, t.ring[i])
	}
	switch {
	case len(dropped) == 0:
		return nil, nil
	case !inUse:
		return nil, fmt.Errorf("%s holds none of the keys that are in use: it is left as it is", t.store.Location())
	}
	return dropped, t.save(ctx, stay)
}

// mayRetire fails unless a rotation has taken the old keys off every host that
// plans gave one and that is not known to be gone, as journal and newest snapshot
// say now.
func mayRetire(ctx context.Context, db *sqlite.DB, p *plan.Plan) error {
	plans, standing, err := begunPlans(ctx, db)
	if err != nil {
		return err
	}
	ways, err := recoveryWays(ctx, db)
	if err != nil {
		return err
	}
	entries, err := db.Entries(ctx, "")
	if err != nil {
		return err
	}
	hosts := putBack(p, plans, entries)
	done := retiredOn(p, statesOf(standing[p.ID]))
	var snap *fleet.Snapshot
	if len(ways) > 0 {
		if snap, err = load(ctx, db, 0); err != nil {
			return err
		}
	}
	for _, w := range ways {
		for _, h := range w.Hosts {
			if !done[h.Host] && !plan.Gone(snap, h.Host) && !slices.Contains(hosts, h.Host) {
				hosts = append(hosts, h.Host)
			}
		}
	}
	if len(hosts) == 0 {
		return nil
	}
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = h.String()
	}
	slices.Sort(names)
	return fmt.Errorf("%s may still need the old key, which is kept: %s", fleet.Count(len(names), "host"), oneLine(strings.Join(names, ", ")))
}

// retiredOn are the hosts off which a rotation has taken the old keys.
func retiredOn(p *plan.Plan, states map[string]cutover.State) map[fleet.HostRef]bool {
	out := map[fleet.HostRef]bool{}
	for _, s := range p.Of(plan.RetireKey) {
		for _, h := range s.Hosts {
			out[h] = states[s.ID].Done()
		}
	}
	return out
}

// putBack lists the hosts on which a step of another plan may have put a key that
// a rotation takes off, after the rotation had begun.
func putBack(rotation *plan.Plan, plans []*plan.Plan, entries []cutover.Entry) []fleet.HostRef {
	old := rotation.Retires()
	puts := map[string]map[string]fleet.HostRef{} // by plan and step
	for _, p := range plans {
		puts[p.ID] = map[string]fleet.HostRef{}
		for _, s := range p.Of(plan.RecoveryKey) {
			if slices.Contains(old, recovery.Blob(s.Key.Line)) {
				puts[p.ID][s.ID] = s.Hosts[0]
			}
		}
	}
	var out []fleet.HostRef
	begun := false
	for _, e := range entries {
		begun = begun || e.Plan == rotation.ID
		if h, ok := puts[e.Plan][e.Step]; ok && begun && e.Event == cutover.Intended && !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}

// sameRotation reports whether two rotations change the same hosts, leave out the
// same ones, and take off the same keys.
func sameRotation(a, b *plan.Plan) bool {
	hosts := func(p *plan.Plan) []fleet.HostRef {
		var out []fleet.HostRef
		for _, s := range p.Of(plan.RetireKey) {
			out = append(out, s.Hosts[0])
		}
		slices.SortFunc(out, fleet.HostRef.Compare)
		return out
	}
	return slices.Equal(hosts(a), hosts(b)) && slices.Equal(a.Refusals, b.Refusals) && slices.Equal(a.Retires(), b.Retires())
}

// oldKeyKept fails where a rollback of a rotation would leave hosts with a key that
// nobody has: no private part of an old key is kept. Keys that are noted as retired
// are not put back anyway.
func oldKeyKept(ctx context.Context, db *sqlite.DB, store seal.Store, p *plan.Plan) error {
	keys, err := db.RecoveryKeys(ctx)
	if err != nil {
		return err
	}
	old := slices.DeleteFunc(p.Retires(), func(blob string) bool {
		return slices.ContainsFunc(keys, func(k fleet.RecoveryKey) bool { return !k.Retired.IsZero() && recovery.Blob(k.Line) == blob })
	})
	if len(old) == 0 {
		return nil
	}
	ring, err := store.Load(ctx)
	if err != nil {
		return fmt.Errorf("open the recovery key (%s): %w", store.Location(), err)
	}
	defer seal.Clear(ring)
	for _, text := range ring {
		line, err := seal.PublicLine(text)
		if err != nil {
			return err
		}
		if slices.Contains(old, recovery.Blob(line)) {
			return nil
		}
	}
	return fmt.Errorf("%s holds none of the keys that plan %s took off hosts: a rollback would leave them with a key that nobody has; go on with migrate recovery rotate", store.Location(), p.ID)
}

// sameKeys is called once the lease is held, and then calls next. It fails where the
// recovery key was rotated or retired after the plan was opened: what is done to
// hosts goes by the generations of that time.
func (e *execution) sameKeys(next func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		keys, err := e.db.RecoveryKeys(ctx)
		if err != nil {
			return err
		}
		if !slices.EqualFunc(keys, e.world.keys, func(a, b fleet.RecoveryKey) bool { return a.Line == b.Line && a.Retired.Equal(b.Retired) }) {
			return errors.New("the recovery key was rotated since the plan was opened: nothing was begun; run it again")
		}
		if next == nil {
			return nil
		}
		return next(ctx)
	}
}
