package cutover

import (
	"context"
	"fmt"
	"time"

	"ssm-migrate/internal/fleet"
)

// prove tells whether Session Manager worked on a host since a time: by the
// latest proof there is, or else by a new one.
func (r *run) prove(ctx context.Context, h fleet.HostRef, since time.Time) (fleet.Truth, string) {
	p, ok, err := r.cfg.Proofs.LatestProof(ctx, h, fleet.WaySessionManager)
	if err == nil && ok && p.At.After(since) && p.Fresh(time.Now(), time.Since(since)) {
		return fleet.TruthYes, ""
	}
	for t, rest := 1, firstRest; ; t, rest = t+1, 2*rest {
		p := r.cfg.Prover.Prove(ctx, r.cfg.Hosts[h], fleet.WaySessionManager)
		if p.Works == fleet.TruthYes {
			p.Host, p.Way = h, fleet.WaySessionManager
		}
		if err := r.cfg.Proofs.SaveProof(context.WithoutCancel(ctx), p); err != nil {
			return fleet.TruthUnknown, err.Error() // a proof that nobody can look up is none
		}
		if p.Works == fleet.TruthYes || t == tries || r.rest(ctx, rest) != nil {
			return p.Works, p.Reason
		}
	}
}

// gate demands a proof through Session Manager, not older than since, of every
// host of the wave that takes part. It returns nil when the wave may go on.
func (r *run) gate(i int, name string, since time.Time) error {
	w := r.cfg.Plan.Waves[i]
	for {
		if _, err := r.proceed(w.Number); err != nil {
			return err
		}
		hosts := r.still(w.Hosts)
		works := make([]fleet.Truth, len(hosts))
		whys := make([]string, len(hosts))
		if err := r.each(len(hosts), func(n int) { works[n], whys[n] = r.prove(r.work, hosts[n], since) }); err != nil {
			return err
		}
		var no, unknown []fleet.HostRef
		why := ""
		for n, h := range hosts {
			switch works[n] {
			case fleet.TruthNo:
				no = append(no, h)
				r.blame(laneEnd{why: fmt.Sprintf("no session at the gate after %s: %s", name, whys[n]), hosts: hosts[n : n+1]})
			case fleet.TruthUnknown:
				unknown = append(unknown, h)
				why = whys[n]
			}
		}
		e := Entry{Wave: w.Number, Event: Gate, Detail: name, Result: fleet.TruthYes}
		switch {
		case len(no) > 0:
			e.Result, e.Hosts = fleet.TruthNo, no
		case len(unknown) > 0:
			e.Result, e.Hosts = fleet.TruthUnknown, unknown
		}
		if err := r.write(e); err != nil {
			return err
		}
		switch {
		case r.overBudget(i)():
			return r.giveUp(i, r.whyOver(i))
		case len(no) > 0:
			if err := r.takeBackFailed(i); err != nil {
				return err
			}
		case len(unknown) > 0:
			if err := r.unsure(i, fmt.Sprintf("%s: the gate after %s: %d hosts gave no answer: %s", w.Name, name, len(unknown), why), unknown); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}
