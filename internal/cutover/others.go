package cutover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// other is another plan that the journal tells of, as it stands: nobody else
// writes while we hold the lease.
type other struct {
	id      string
	err     error // why the rest is not known
	plan    *index
	records map[string]record
	shut    []plan.Step                   // doors that it may hold closed
	of      map[fleet.HostRef][]plan.Step // those of hosts, by host
	gone    []plan.Step                   // bastions, through which anybody may come
}

// loadOthers replays what the journal says of other plans.
func (r *run) loadOthers(entries []Entry) {
	var ids []string
	of := map[string][]Entry{}
	for _, e := range entries {
		if of[e.Plan] == nil {
			ids = append(ids, e.Plan)
		}
		of[e.Plan] = append(of[e.Plan], e)
	}
	for _, id := range ids {
		o := other{id: id, records: map[string]record{}, of: map[fleet.HostRef][]plan.Step{}}
		o.err = o.replay(r.work, r.cfg.Plans, of[id])
		r.others = append(r.others, o)
	}
}

func (o *other) replay(ctx context.Context, plans func(context.Context, string) (*plan.Plan, error), entries []Entry) error {
	if plans == nil {
		return errors.New("nothing here can look it up")
	}
	p, err := plans(ctx, o.id)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Digest != p.Digest {
			return ErrDigest
		}
		if e.Step == "" {
			continue
		}
		rec, err := o.records[e.Step].advance(e)
		if err != nil {
			return fmt.Errorf("journal entry %d: %w", e.Seq, err)
		}
		o.records[e.Step] = rec
	}
	o.plan = indexOf(p)
	for _, c := range o.plan.close {
		if !o.records[c.ID].state.Owed() {
			continue
		}
		o.shut = append(o.shut, c)
		if c.Kind == plan.ScaleIn {
			o.gone = append(o.gone, c)
		}
		for _, h := range c.Hosts {
			o.of[h] = append(o.of[h], c)
		}
	}
	return nil
}

// restsOn says which door that another plan has closed may rest on what a step
// made; empty: none. What was begun after a door had closed it does not rest on.
func (r *run) restsOn(s plan.Step) string {
	first := r.record(s.ID).first
	for _, o := range r.others {
		if o.err != nil {
			return fmt.Sprintf("whether plan %s has closed doors that rest on it is not known: %v", o.id, o.err)
		}
		doors := o.shut
		if alone(s) {
			doors = slices.Concat(o.of[s.Hosts[0]], o.gone)
		}
		for _, c := range doors {
			if o.records[c.ID].seq > first && r.reaches(s, c) {
				return fmt.Sprintf("still closed by plan %s: %s; roll that back first (migrate rollback %s --all)", o.id, c.Title, o.id)
			}
		}
	}
	return ""
}

// alone reports whether a step is about nothing but its one host.
func alone(s plan.Step) bool {
	switch s.Kind {
	case plan.AttachProfile, plan.Agent, plan.RecoveryKey:
		return len(s.Hosts) == 1
	}
	return false
}

// reaches reports whether hosts behind another plan's door may use what a step
// made. Only the VPC tells them apart: groups and roles of hosts may have changed since either plan
// was made, a host's VPC cannot.
func (r *run) reaches(s, door plan.Step) bool {
	switch {
	case s.At.Account != door.At.Account || s.At.Region != "" && s.At.Region != door.At.Region:
		return false
	case alone(s):
		return true // the door is the host's, or bastions'
	}
	vpc := r.vpcOf(s)
	return vpc == "" || len(door.Hosts) == 0 || slices.ContainsFunc(door.Hosts, func(h fleet.HostRef) bool {
		v := r.cfg.Hosts[h].VPC
		return v == "" || v == vpc
	})
}

// vpcOf is the VPC to which what a step makes is bound; empty: none that is known.
func (r *run) vpcOf(s plan.Step) string {
	switch s.Kind {
	case plan.RecoveryGroup:
		if s.Recovery != nil {
			return s.Recovery.VPC
		}
	case plan.CreateEndpoint:
		if s.Endpoint != nil {
			return s.Endpoint.VPC
		}
	case plan.AllowEgress, plan.RecoveryRule:
		if len(s.Hosts) > 0 {
			return r.cfg.Hosts[s.Hosts[0]].VPC
		}
	}
	return ""
}

// openings are the bastions that other plans have opened and not closed, with
// the times at which schedules end them; zero: none is known to.
func (r *run) openings() map[bastionKey]time.Time {
	out := map[bastionKey]time.Time{}
	for _, o := range r.others {
		if o.plan == nil {
			continue // what it has under way is not known
		}
		for id, s := range o.plan.steps {
			if s.Kind != plan.RecoveryOpen || s.Recovery == nil || !o.records[id].state.Owed() {
				continue
			}
			key := bastionKey{s.At, s.Recovery.Name}
			var opened OpenedImage
			_ = readImage(o.records[id].after, &opened) // what cannot be read has no end that is known
			if ends, ok := out[key]; !ok || opened.Ends.IsZero() || !ends.IsZero() && opened.Ends.After(ends) {
				out[key] = opened.Ends
			}
		}
	}
	return out
}

// apart refuses to go on while a timer that another plan has armed may open a
// door of this plan: a closed door would be found, or proved, and open again after that.
func (r *run) apart() error {
	mine := map[fleet.HostRef]bool{}
	for _, c := range r.plan.close {
		for _, h := range c.Hosts {
			mine[h] = true
		}
	}
	for _, o := range r.others {
		if o.err != nil {
			return errEnded{r.summary(OutcomePaused, fmt.Sprintf("the journal tells of plan %s, and what that has under way is not known: %v", o.id, o.err))}
		}
		for _, k := range risks(o.plan, o.records) {
			until := k.Deadline.Add(timerSlack)
			if !time.Now().Before(until) || !slices.ContainsFunc(k.Hosts, func(h fleet.HostRef) bool { return mine[h] }) {
				continue
			}
			return errEnded{r.summary(OutcomePaused, fmt.Sprintf(
				"plan %s has armed a timer that may open doors of this plan (%s): go on with that plan first (migrate apply %s), take it back (migrate rollback %s --all), or wait until %s",
				o.id, k.Step, o.id, o.id, until.UTC().Format(time.RFC3339)))}
		}
	}
	return nil
}
