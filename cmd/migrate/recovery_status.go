package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/recovery"
	"ssm-migrate/internal/sqlite"
)

type recoveryStatusQuery struct {
	snapshot int64
	age      time.Duration
	stored   bool
}

func (a *app) recoveryStatusCommand() *cobra.Command {
	var q recoveryStatusQuery
	c := &cobra.Command{
		Use:   "status",
		Short: "Show how the recovery way stands, by VPC and host",
		Long: `status shows what the recovery way rests on. Of each host, as the latest snapshot (or --snapshot N) and the
stored proofs tell it: is the recovery key there, does it let port 22 in from the bastion's group, and
is there a login by the bastion that is recent enough.

Then it asks AWS, of each VPC: is the bastion's group there, at zero, with no instance; can its image still be
launched; has its launch template the current key; are operators let in; do all hosts that run now let
the bastion in, those that came after the inventory too. And: how old is the last drill, and how many minutes did
it take; is the key younger than the policy wants.
With --stored AWS is not asked.

Exit code 3: something is not as it should be. Exit code 4: something is not known, or AWS gave no answer.`,
		Example: "  migrate recovery status\n  migrate recovery status --stored\n  migrate recovery status --age 168h --json",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.recoveryStatus(cmd.Context(), q) },
	}
	addSnapshotFlag(c, &q.snapshot)
	c.Flags().DurationVar(&q.age, "age", 0, "how old a login may be (default: the policy's recovery_age)")
	c.Flags().BoolVar(&q.stored, "stored", false, "show what is stored, and do not ask AWS")
	return c
}

// recoveryStanding is what status --json prints.
type recoveryStanding struct {
	At     time.Time        `json:"at"`
	Asked  bool             `json:"asked"` // AWS was asked
	VPCs   []recovery.VPC   `json:"vpcs"`
	Checks []recovery.Check `json:"checks"` // of the key
}

func (a *app) recoveryStatus(ctx context.Context, q recoveryStatusQuery) error {
	s, err := a.openStored(ctx, q.snapshot)
	if err != nil {
		return err
	}
	defer s.db.Close()
	policy, err := s.cfg.keyedPolicy(ctx, s.db, "")
	if err != nil {
		return err
	}
	if q.age == 0 {
		q.age = time.Duration(policy.RecoveryAge)
	}
	proofs, err := recoveryProofs(ctx, s.db, s.snap.Hosts)
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	r := recoveryStanding{At: now, Asked: !q.stored}
	r.VPCs = append([]recovery.VPC{}, recovery.Status(s.snap, proofs, fleet.RecoveryKey{Line: policy.Recovery.PublicKey, CA: policy.Recovery.CA}, q.age, now)...)
	want, err := wantedRecovery(ctx, s.cfg, s.db, policy)
	if err != nil {
		return err
	}
	r.Checks = recovery.KeyChecks(want, now)
	ways, err := recoveryWays(ctx, s.db)
	if err != nil {
		return err
	}
	r.Checks = append(r.Checks, unseenChecks(s.snap, ways)...)
	logins, err := loginsWith(ctx, s.db, want.Key)
	if err != nil {
		return err
	}
	knowKeys(want, r.VPCs, logins)
	if r.Asked {
		a.lookAtRecovery(ctx, s.cfg, want, r.VPCs)
	}
	drills, err := storedDrills(ctx, s.db)
	if err != nil {
		return err
	}
	for i := range r.VPCs {
		r.VPCs[i].Drilled(drills, now)
	}
	if a.json {
		err = writeJSON(a.out, r)
	} else {
		err = printRecovery(a.out, r)
	}
	if err != nil {
		return err
	}
	return recoveryVerdict(r)
}

// unseenChecks tells of hosts with the recovery key that a snapshot says nothing of.
func unseenChecks(snap *fleet.Snapshot, ways []plan.Way) []recovery.Check {
	hosts := plan.Unseen(snap, ways)
	if len(hosts) == 0 {
		return nil
	}
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = h.String()
	}
	return []recovery.Check{{
		Code: recovery.CheckKey, Hosts: hosts, What: fleet.Count(len(hosts), "host"),
		Now: fmt.Sprintf("snapshot %d tells nothing of %s with the recovery key: %s", snap.ID, fleet.Count(len(hosts), "host"), oneLine(strings.Join(names, ", "))),
		Do:  "take the inventory again, with their accounts and Regions, until its sources are complete",
	}}
}

// wantedRecovery is what the policy and the known keys want of the recovery way.
// A key that the state file does not know is as old as its file.
func wantedRecovery(ctx context.Context, cfg config, db *sqlite.DB, policy plan.Policy) (recovery.Wanted, error) {
	keys, err := db.RecoveryKeys(ctx)
	w := recovery.Wanted{Key: recovery.Blob(policy.Recovery.PublicKey), Keys: keys, KeyAge: time.Duration(policy.Recovery.KeyAge), Known: map[fleet.HostRef]fleet.Truth{}}
	known := slices.ContainsFunc(keys, func(k fleet.RecoveryKey) bool { return recovery.Blob(k.Line) == w.Key })
	if info, statErr := os.Stat(cfg.Recovery.KeyFile); statErr == nil && !known {
		w.Keys = append(w.Keys, fleet.RecoveryKey{Line: policy.Recovery.PublicKey, Location: cfg.Recovery.KeyFile, Made: info.ModTime().UTC()})
	}
	return w, err
}

// knowKeys fills in which hosts have the current key, in what is shown as well. A login is
// better proof than what the inventory saw before it, if it was with that key: a drill of a rotation logs in with the new
// one alone, every other login with any of those in use.
func knowKeys(want recovery.Wanted, vpcs []recovery.VPC, logins map[fleet.HostRef]bool) {
	for _, v := range vpcs {
		for i := range v.Hosts {
			h := &v.Hosts[i]
			if h.Login == fleet.TruthYes && (logins[h.Host] || onlyKey(want, h.Proof.At)) {
				h.Key = fleet.TruthYes
			}
			want.Known[h.Host] = h.Key
		}
	}
}

// onlyKey reports whether no other generation than the current one was in use at a
// time.
func onlyKey(want recovery.Wanted, at time.Time) bool {
	return !slices.ContainsFunc(want.Keys, func(k fleet.RecoveryKey) bool {
		return recovery.Blob(k.Line) != want.Key && !k.Made.After(at) && (k.Retired.IsZero() || !k.Retired.Before(at))
	})
}

// loginsWith are the hosts that a drill with one key alone has logged in to, by the
// journal.
func loginsWith(ctx context.Context, db *sqlite.DB, key string) (map[fleet.HostRef]bool, error) {
	plans, _, err := begunPlans(ctx, db)
	if err != nil {
		return nil, err
	}
	out := map[fleet.HostRef]bool{}
	for _, p := range plans {
		if p.Purpose != plan.Rotation {
			continue
		}
		entries, err := db.Entries(ctx, p.ID)
		if err != nil {
			return nil, fmt.Errorf("read the journal of plan %s: %w", p.ID, err)
		}
		for id, report := range cutover.DrillsIn(p, entries) {
			if _, s := p.Step(id); key == "" || s.Recovery.With != key {
				continue
			}
			for _, proof := range report.Proofs {
				out[proof.Host] = out[proof.Host] || proof.Works == fleet.TruthYes
			}
		}
	}
	return out, nil
}

// lookAtRecovery asks AWS about the VPCs, and fills in what it says. Where AWS cannot
// be asked, the checks say why.
func (a *app) lookAtRecovery(ctx context.Context, cfg config, want recovery.Wanted, vpcs []recovery.VPC) {
	var list []cutover.RecoveryNetwork
	for _, v := range vpcs {
		list = append(list, cutover.RecoveryNetwork{At: v.Place, VPC: v.VPC})
	}
	accounts, err := openAccounts(ctx, cfg)
	if err != nil {
		for i := range vpcs {
			vpcs[i].Checks = []recovery.Check{{Code: recovery.CheckThere, What: vpcs[i].Group, Now: oneLine("AWS was not asked: " + err.Error()), Do: "migrate doctor"}}
		}
		return
	}
	for i, seen := range cutover.SeeRecovery(ctx, awsapi.NewWatcher(accounts...), list) {
		vpcs[i].See(seen, want)
	}
}

// storedDrills are all drills that the journal knows.
func storedDrills(ctx context.Context, db *sqlite.DB) ([]recovery.Drill, error) {
	plans, err := db.Plans(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the plans: %w", err)
	}
	var out []recovery.Drill
	for _, info := range plans {
		entries, err := db.Entries(ctx, info.ID)
		if err != nil {
			return nil, fmt.Errorf("read the journal of plan %s: %w", info.ID, err)
		}
		if len(entries) == 0 {
			continue
		}
		p, err := db.Plan(ctx, info.ID)
		if err != nil {
			return nil, fmt.Errorf("read plan %s: %w", info.ID, err)
		}
		out = append(out, cutover.Drills(p, entries)...)
	}
	return out, nil
}

// recoveryProofs are the newest recovery proofs of the hosts.
func recoveryProofs(ctx context.Context, db *sqlite.DB, hosts []fleet.Host) ([]fleet.Proof, error) {
	var out []fleet.Proof
	for _, h := range hosts {
		p, ok, err := db.LatestProof(ctx, h.Ref(), fleet.WayRecovery)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, p)
		}
	}
	return out, nil
}

func recoveryVerdict(r recoveryStanding) error {
	holds := fleet.TruthYes
	judge := func(t fleet.Truth) {
		if t == fleet.TruthNo || holds == fleet.TruthYes {
			holds = t
		}
	}
	for _, v := range r.VPCs {
		judge(v.Zero)
		for _, h := range v.Hosts {
			if h.Login != fleet.TruthYes {
				judge(fleet.TruthNo) // missing and too old count as failed: nothing is proved
			}
		}
		for _, c := range v.Checks {
			judge(c.Holds)
		}
	}
	for _, c := range r.Checks {
		judge(c.Holds)
	}
	switch holds {
	case fleet.TruthNo:
		return verdict(exitNotReady)
	case fleet.TruthUnknown:
		return verdict(exitIncomplete)
	}
	return nil
}

func printRecovery(w io.Writer, r recoveryStanding) error {
	if len(r.VPCs) == 0 {
		_, err := fmt.Fprintln(w, "The snapshot has no running Linux hosts.")
		return err
	}
	for _, v := range r.VPCs {
		fmt.Fprintf(w, "%s (%s %s): group %s %s\n", oneLine(v.VPC), oneLine(v.Place.Account), oneLine(v.Place.Region), oneLine(v.Group), groupStands(v))
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "  HOST\tNAME\tKEY\tRULE\tLOGIN\tWHEN\tWHY")
		for _, h := range v.Hosts {
			when := "-"
			if !h.Proof.At.IsZero() {
				when = h.Proof.At.UTC().Format("2006-01-02 15:04:05Z")
			}
			fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\t%s\t%s\n", oneLine(h.Host.ID), cell(h.Name), h.Key, h.Rule, h.Login, when, oneLine(h.Why))
		}
		if err := t.Flush(); err != nil {
			return err
		}
		printRecoveryChecks(w, v.Checks)
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w, "The recovery key")
	printRecoveryChecks(w, r.Checks)
	return nil
}

// groupStands says how a bastion's group stands, as the inventory saw it.
func groupStands(v recovery.VPC) string {
	if v.There == fleet.TruthNo {
		return "there: no"
	}
	return fmt.Sprintf("there: %s, at zero: %s", v.There, v.Zero)
}

func printRecoveryChecks(w io.Writer, checks []recovery.Check) {
	for _, c := range checks {
		fmt.Fprintf(w, "  %-8s%s\n", c.Holds, oneLine(c.Now))
		if c.Do != "" {
			fmt.Fprintf(w, "          do: %s\n", oneLine(c.Do))
		}
	}
}
