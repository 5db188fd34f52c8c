package main

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// planEdit is how a plan is made from another.
type planEdit struct {
	moves []string // HOST=WAVE
	from  string   // plan; empty: the newest
}

func (e planEdit) wanted() bool { return len(e.moves) > 0 || e.from != "" }

func (a *app) planDiffCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "diff PLAN [PLAN]",
		Short: "Show which hosts two plans have in different waves",
		Long: `diff compares two stored plans, the older first; without a second one the newest is it. It shows the hosts
that are in another wave, the security groups whose port 22 closes in another, the sizes of the waves, and what only one of
the plans leaves open.`,
		Example: `  migrate plan diff 3f2a9c
  migrate plan diff 3f2a9c 9b1d44 --json`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.diffPlans(cmd.Context(), append(args, "")[:2])
		},
	}
}

func (a *app) diffPlans(ctx context.Context, ids []string) error {
	db, err := a.openExisting(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	plans := make([]*plan.Plan, 2)
	names := map[fleet.HostRef]string{}
	for i, id := range ids {
		if plans[i], err = findPlan(ctx, db, id); err != nil {
			return err
		}
		snap, err := load(ctx, db, plans[i].Snapshot)
		if err != nil {
			return err
		}
		for h, n := range namesOfHosts(snap) {
			names[h] = n
		}
	}
	return a.writeDifference(plans[0], plans[1], names)
}

// editPlan makes and stores a plan that has hosts in other waves than a stored one.
func (a *app) editPlan(ctx context.Context, snapshot int64, policyFile string, edit planEdit) error {
	s, err := a.openStored(ctx, snapshot)
	if err != nil {
		return err
	}
	defer s.db.Close()
	base, err := findPlan(ctx, s.db, edit.from)
	if err != nil {
		return err
	}
	moves, err := parseMoves(edit.moves, s.snap)
	if err != nil {
		return err
	}
	p, err := movedPlan(ctx, s, policyFile, base, moves)
	if err != nil {
		return err
	}
	if err := s.db.SavePlan(ctx, p, planner()); err != nil {
		return err
	}
	if err := a.writeDifference(base, p, namesOfHosts(s.snap)); err != nil {
		return err
	}
	return planVerdict(p)
}

// parseMoves reads HOST=WAVE; hosts by ID or name.
func parseMoves(texts []string, snap *fleet.Snapshot) ([]plan.Move, error) {
	var out []plan.Move
	for _, text := range texts {
		at := strings.LastIndexByte(text, '=')
		wave, err := strconv.Atoi(text[at+1:])
		if at < 1 || err != nil || wave < 0 {
			return nil, usageErr("--move %s: want HOST=WAVE, such as web-3=2", oneLine(text))
		}
		host := text[:at]
		var found []fleet.HostRef
		for i := range snap.Hosts {
			if h := &snap.Hosts[i]; h.ID == host || h.Name() == host {
				found = append(found, h.Ref())
			}
		}
		switch {
		case len(found) == 0:
			return nil, usageErr("--move %s: snapshot %d has no such host", oneLine(text), snap.ID)
		case len(found) > 1:
			ids := make([]string, len(found))
			for i, h := range found {
				ids[i] = h.ID
			}
			return nil, usageErr("--move %s: several hosts have that name: give an ID of %s", oneLine(text), someOf(ids))
		}
		out = append(out, plan.Move{Host: found[0], Wave: wave})
	}
	return out, nil
}

// movedPlan plans a snapshot anew with what a plan has moved and with more
// moves. It stores nothing.
func movedPlan(ctx context.Context, s *stored, policyFile string, base *plan.Plan, moves []plan.Move) (*plan.Plan, error) {
	if base.Purpose != plan.Cutover {
		return nil, usageErr("plan %s is no cutover (%s): its hosts cannot be moved", base.ID, base.Purpose)
	}
	policy, err := s.cfg.keyedPolicy(ctx, s.db, policyFile)
	if err != nil {
		return nil, err
	}
	pins, err := base.Moved(moves)
	if err != nil {
		return nil, exitErr{code: exitUsage, err: fmt.Errorf("move: %w", err)}
	}
	for _, p := range policy.Pins {
		if !slices.ContainsFunc(pins, func(o plan.Pin) bool { return o.ID == p.ID }) {
			pins = append(pins, p)
		}
	}
	policy.Pins = pins
	judged, err := judge(ctx, s.db, s.snap, s.cfg.policy())
	if err != nil {
		return nil, err
	}
	p, err := plan.Make(s.snap, judged, policy, time.Now())
	if err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	return p, nil
}

// writeDifference shows what a plan has otherwise than an older one.
func (a *app) writeDifference(old, now *plan.Plan, names map[fleet.HostRef]string) error {
	d := plan.Diff(old, now)
	if a.json {
		return writeJSON(a.out, d)
	}
	out := bufio.NewWriter(a.out)
	w := planPrinter{out: out, names: names, colour: a.coloured()}
	w.difference(d)
	if old.Snapshot != now.Snapshot {
		w.line(faint, "Plan %s is of snapshot %d, plan %s of snapshot %d.", old.ID, old.Snapshot, now.ID, now.Snapshot)
	}
	fmt.Fprintln(out)
	w.line("", "Nothing has been changed. Look at it with: migrate plan show %s; apply it with: migrate apply %s", now.ID, now.ID)
	return out.Flush()
}

func (w planPrinter) difference(d plan.Difference) {
	w.line(bold, "Plan %s → plan %s", d.Old, d.New)
	if len(d.Hosts)+len(d.Groups) == 0 {
		w.line("", "All hosts are in the same waves.")
	}
	for _, c := range d.Hosts {
		w.line("", "  %s  %s → %s", w.hostName(c.Host), waveName(c.From), waveName(c.To))
	}
	for _, c := range d.Groups {
		w.line("", "  port 22 of %s closes in: %s → %s", cell(c.Group), waveName(c.From), waveName(c.To))
	}
	fmt.Fprintln(w.out)
	for _, v := range d.Waves {
		switch {
		case v.Old == v.New && len(v.Warnings) == 0:
			continue
		case v.Old == v.New:
			w.line("", "  %s: %s", v.Name, count(v.New, "host", "hosts"))
		default:
			w.line("", "  %s: %d → %s", v.Name, v.Old, count(v.New, "host", "hosts"))
		}
		for _, text := range v.Warnings {
			w.line(yellow, "    ! %s", oneLine(text))
		}
	}
	w.refusals("What stays as it is, and did not", d.Refused)
	w.refusals("What stayed as it is, and does not any more", d.Lifted)
}

func waveName(w *plan.WaveName) string {
	if w == nil {
		return "no wave"
	}
	return w.Name
}
