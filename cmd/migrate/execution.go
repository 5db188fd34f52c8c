package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/sqlite"
)

// execution is a plan with all that is needed to carry it out.
type execution struct {
	app      *app
	db       *sqlite.DB
	plan     *plan.Plan
	names    map[fleet.HostRef]string
	titles   map[string]string
	config   cutover.Config
	world    *changeWorld
	progress *stepProgress
}

// lease is how long others wait for a run that died.
const lease = time.Minute

// shortestID is how much of a plan's ID it takes to change the fleet.
const shortestID = 6

// openExecution opens the state file, the plan, its snapshot and everything
// that can change the fleet. An ID that is empty or too short is refused: it is
// what a shell makes of a variable that is not set, not the wish for some plan.
func (a *app) openExecution(ctx context.Context, planID string) (*execution, error) {
	if len(planID) < shortestID {
		return nil, usageErr("%q does not name a plan to change the fleet by: give at least %d digits of its ID (migrate plan list lists them)", oneLine(planID), shortestID)
	}
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	db, err := a.openExisting(ctx)
	if err != nil {
		return nil, err
	}
	e := &execution{app: a, db: db}
	if err := e.open(ctx, cfg, planID); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

func (e *execution) open(ctx context.Context, cfg config, planID string) error {
	var err error
	if e.plan, err = findPlan(ctx, e.db, planID); err != nil {
		return err
	}
	snap, err := load(ctx, e.db, e.plan.Snapshot)
	if err != nil {
		return err
	}
	hosts := hostsOf(snap)
	if e.world, err = e.app.openChangeWorld(ctx, cfg, e.db, e.plan, hosts); err != nil {
		return err
	}
	around, err := newestSurroundings(ctx, e.db, snap)
	if err != nil {
		return err
	}
	e.world.ways.useEndpoints(e.world.sessions, around)
	e.names, e.titles = namesOfHosts(snap), titles(e.plan)
	e.progress = newStepProgress(e.app.err, e.plan)
	host, err := os.Hostname()
	if err != nil {
		host = "?"
	}
	operator := fmt.Sprintf("%s (%s@%s)", e.world.caller, planner(), host)
	e.config = cutover.Config{
		Plan: e.plan, Hosts: hosts, Kinds: e.world.kinds, Prover: e.world.prover,
		Proofs: e.db, Journal: e.db, Leases: e.db, Control: e.db, Hooks: hooks{e.app}, Plans: e.db.Plan,
		Operator: operator, Holder: fmt.Sprintf("%s, process %d", operator, os.Getpid()), Lease: lease,
		Event: e.event, Rescue: e.world.rescue,
		OtherWays: func(h fleet.HostRef) string { return around.otherWays(hosts[h]) },
	}
	if e.app.terminal() {
		e.config.Ask = e.ask
	}
	return nil
}

func (e *execution) close() {
	if e.world != nil {
		e.world.close()
	}
	_ = e.db.Close() // everything is on disk already
}

// say tells the operator something beside the results.
func (e *execution) say(text string) {
	e.progress.end()
	fmt.Fprintln(e.app.err, text)
}

func (e *execution) name(h fleet.HostRef) string { return hostName(e.names, h) }

// hostName is a host's ID, with its name where it has one.
func hostName(names map[fleet.HostRef]string, h fleet.HostRef) string {
	if n := names[h]; n != "" && n != h.ID {
		return oneLine(h.ID + " (" + n + ")")
	}
	return oneLine(h.ID)
}

// event prints one journal entry as one line.
func (e *execution) event(entry cutover.Entry) {
	e.progress.clear()
	if e.app.json {
		_ = e.jsonLine(entry) // the last line tells if nobody reads any more
	} else if line := e.eventLine(entry); line != "" {
		fmt.Fprintln(e.app.out, line)
	}
	e.progress.entry(entry)
}

func (e *execution) jsonLine(v any) error {
	var b bytes.Buffer
	if err := writeJSON(&b, v); err != nil {
		return err
	}
	var line bytes.Buffer
	if err := json.Compact(&line, b.Bytes()); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	line.WriteByte('\n')
	_, err := e.app.out.Write(line.Bytes())
	return err
}

// eventWords are the events as people read them; those that are left out are
// only in the journal.
var eventWords = map[cutover.Event]string{
	cutover.RunBegan: "run", cutover.RunEnded: "end", cutover.Found: "found", cutover.Ours: "done", cutover.Failed: "FAILED",
	cutover.Unclear: "UNCLEAR", cutover.Held: "held", cutover.Undone: "undone", cutover.UndoFailed: "NOT UNDONE",
	cutover.Gate: "gate", cutover.Paused: "PAUSED", cutover.Resumed: "resumed", cutover.Note: "note",
}

func (e *execution) eventLine(entry cutover.Entry) string {
	return entryLine(entry, e.titles, e.name)
}

// entryLine is one journal entry as one line; empty where it says nothing to people.
func entryLine(entry cutover.Entry, titles map[string]string, name func(fleet.HostRef) string) string {
	word := eventWords[entry.Event]
	if word == "" {
		return ""
	}
	what := titles[entry.Step]
	switch {
	case entry.Event == cutover.Gate:
		what = fmt.Sprintf("after %s: %s", entry.Detail, entry.Result)
		for i, h := range entry.Hosts {
			if entry.Result == fleet.TruthYes || i == 3 {
				break
			}
			what += " " + name(h)
		}
	case what == "":
		what = entry.Detail
	case entry.Event != cutover.Ours && entry.Event != cutover.Found && entry.Event != cutover.Undone:
		what += ": " + entry.Detail
	}
	return fmt.Sprintf("%s  wave %d  %-10s  %s", entry.At.UTC().Format("15:04:05Z"), entry.Wave, word, oneLine(what))
}

// printResult says what came of a run, and what to do next.
func (e *execution) printResult(res cutover.Result, again string) error {
	if e.app.json {
		return e.jsonLine(res)
	}
	w := e.app.out
	fmt.Fprintf(w, "\nPlan %s: %s.", e.plan.ID, res.Outcome)
	if res.Reason != "" {
		fmt.Fprintf(w, " %s", oneLine(res.Reason))
	}
	fmt.Fprintln(w)
	for _, h := range res.Hosts {
		fmt.Fprintf(w, "  left out: %s\n", e.name(h))
	}
	for _, s := range res.Held {
		fmt.Fprintf(w, "  held: %s\n", oneLine(cmp.Or(e.titles[s], s)))
	}
	for _, s := range res.Left {
		fmt.Fprintf(w, "  not undone: %s\n", oneLine(cmp.Or(e.titles[s], s)))
	}
	for _, u := range res.Unreached {
		fmt.Fprintf(w, "  not reached: %s: %s\n    %s\n", e.name(u.Host), oneLine(u.Why), oneLine(u.ByHand))
	}
	for _, b := range res.Bastions {
		fmt.Fprintf(w, "  %s\n", oneLine(b.Runs()))
	}
	for _, r := range res.Timers {
		fmt.Fprintf(w, "  armed: the timer of %s %s\n", r.Step, timerText(r, time.Now()))
	}
	if len(res.Left) > 0 || res.Outcome != cutover.OutcomeDone && res.Outcome != cutover.OutcomeRolledBack {
		if all := "migrate rollback " + e.plan.ID + " --all"; again != all {
			again += ", or " + all
		}
		fmt.Fprintf(w, "Next: migrate status %s; then %s\n", e.plan.ID, again)
	}
	return nil
}

// hooks run the operator's commands.
type hooks struct{ app *app }

// Hook implements cutover.Hooks. The command's output goes to standard error.
func (h hooks) Hook(ctx context.Context, command, planID string, w plan.Wave) error {
	ids := make([]string, 0, len(w.Hosts))
	for _, host := range w.Hosts {
		ids = append(ids, host.ID)
	}
	c := exec.CommandContext(ctx, "sh", "-c", command)
	c.Env = append(os.Environ(), "MIGRATE_PLAN="+planID, fmt.Sprintf("MIGRATE_WAVE=%d", w.Number), "MIGRATE_HOSTS="+strings.Join(ids, " "))
	c.Stdout, c.Stderr = h.app.err, h.app.err
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = 10 * time.Second
	if err := c.Run(); err != nil {
		return fmt.Errorf("run %q: %w", command, err)
	}
	return nil
}
