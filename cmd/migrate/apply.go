package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

type applyQuery struct {
	plan string
	yes  bool
	wave int // -1: all
}

func (a *app) applyCommand() *cobra.Command {
	q := applyQuery{wave: -1}
	c := &cobra.Command{
		Use:   "apply PLAN",
		Short: "Carry a plan out, wave by wave, or go on with one that was begun",
		Long: `apply carries out the plan whose ID begins with PLAN, at least six digits of it. Each step is
looked at first, written to the journal, done, and looked at again. Before a door closes, Session Manager
and the recovery way must be proved and a timer must be armed that opens it again. A wave that fails is
rolled back.

Run it again after any stop, crash or lost connection: it goes on from where the journal says it is.
The first Ctrl-C finishes the steps that are under way and ends; the second does not wait for them.
Other terminals can look on (migrate status) and speak to it (migrate pause, migrate resume).

A person is asked when something stays unknown. Without a terminal the run ends there, with exit code 4.

A plan that a newer snapshot speaks against is refused; once it was begun, that is only a warning. It
does not begin while another plan has armed a timer that would open what this one closes.

Exit code 3: a wave was rolled back, or the plan is stale. Exit code 4: stopped or paused before its
end, or hosts were left out.`,
		Example: `  migrate apply 3f2a9c01d4e7            # asks for the plan's ID
  migrate apply 3f2a9c --yes --wave 1   # up to the end of wave 1, without a question
  migrate apply 3f2a9c --yes --json     # a line of JSON for each event`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.plan = args[0]
			if q.wave < 0 && cmd.Flags().Changed("wave") {
				return usageErr("--wave: %d is not the number of a wave", q.wave)
			}
			return a.apply(cmd.Context(), q)
		},
	}
	c.Flags().BoolVar(&q.yes, "yes", false, "change the fleet without asking for the plan's ID")
	c.Flags().IntVar(&q.wave, "wave", -1, "end after the wave with this number")
	return c
}

func (a *app) apply(ctx context.Context, q applyQuery) error {
	e, err := a.openExecution(ctx, q.plan)
	if err != nil {
		return err
	}
	defer e.close()
	if err := e.tellStanding(ctx); err != nil {
		return err
	}
	if err := e.current(ctx); err != nil {
		return err
	}
	if err := a.agree(ctx, e, "apply", q.yes); err != nil {
		return err
	}
	if q.wave >= 0 {
		if q.wave >= len(e.plan.Waves) {
			return usageErr("--wave %d: the plan's waves are 0 to %d", q.wave, len(e.plan.Waves)-1)
		}
		e.config.LastWave = &q.wave
	}
	e.config.Acquired = e.clearStop
	res, err := e.run(ctx, func(ctx context.Context, x *cutover.Executor) (cutover.Result, error) { return x.Apply(ctx) })
	if err != nil {
		return err
	}
	if err := e.printResult(res, "migrate apply "+e.plan.ID); err != nil {
		return err
	}
	switch res.Outcome {
	case cutover.OutcomeDone:
		return nil
	case cutover.OutcomeRolledBack, cutover.OutcomeRolledPartly, cutover.OutcomeStale:
		return verdict(exitNotReady)
	}
	return verdict(exitIncomplete)
}

// agree asks for the plan's ID, unless yes was said on the command line.
func (a *app) agree(ctx context.Context, e *execution, what string, yes bool) error {
	if yes {
		return nil
	}
	if !a.terminal() {
		return usageErr("%s changes the fleet: say --yes, or run it on a terminal", what)
	}
	fmt.Fprintf(a.err, "Type the plan's ID (%s) to %s it: ", e.plan.ID, what)
	answer, err := a.readLine(ctx)
	if err != nil {
		return err
	}
	if answer != e.plan.ID {
		return usageErr("%q is not the plan's ID: nothing was changed", oneLine(answer))
	}
	return nil
}

// readLine reads one line from standard input, or until ctx ends.
func (a *app) readLine(ctx context.Context) (string, error) {
	type line struct {
		text string
		err  error
	}
	read := make(chan line, 1)
	go func() { // ends with the process at the latest: a terminal's read cannot be cancelled
		text, err := bufio.NewReader(a.in).ReadString('\n')
		read <- line{strings.TrimSpace(text), err}
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case l := <-read:
		if l.text != "" {
			return l.text, nil
		}
		return "", l.err
	}
}

// clearStop takes back a stop that an earlier run was given. Only who holds the
// lease may: the run that the stop is meant for may still go. A pause stays: it
// is for whoever applies.
func (e *execution) clearStop(ctx context.Context) error {
	w, err := e.db.Control(ctx, e.plan.ID)
	if err != nil || !w.Stop {
		return err
	}
	w.Stop = false
	return e.db.SetControl(ctx, e.plan.ID, w)
}

// run makes an executor and lets it work. A second signal cancels what is
// under way.
func (e *execution) run(ctx context.Context, work func(context.Context, *cutover.Executor) (cutover.Result, error)) (cutover.Result, error) {
	c := e.config
	c.Acquired = e.sameKeys(c.Acquired)
	x, err := cutover.New(c)
	if err != nil {
		return cutover.Result{}, err
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, stopSignals()...)
	ended := make(chan struct{})
	defer close(ended)
	defer signal.Stop(signals)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-ended:
				return
			case <-signals:
			}
			if n > 0 {
				x.Abort()
				return
			}
			e.say("Finishing the steps under way; once more to cancel them.")
		}
	}()
	res, err := work(ctx, x)
	e.progress.end()
	return res, e.explain(err)
}

// running is the plan of the run that has the lease, with a blank behind it; empty:
// it is not known. One run goes on at a time: it is the one that began last.
func (e *execution) running() string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) // the run's own may have ended
	defer cancel()
	entries, err := e.db.Entries(ctx, "")
	if err != nil {
		return ""
	}
	for _, entry := range slices.Backward(entries) {
		switch entry.Event {
		case cutover.RunEnded:
			return "" // the one that has the lease has only just begun
		case cutover.RunBegan:
			return entry.Plan + " "
		}
	}
	return ""
}

// explain says beside why a run could not go on what can be done.
func (e *execution) explain(err error) error {
	var held *cutover.HeldError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &held):
		return fmt.Errorf("%w, and longer while it goes on: migrate status shows where it is, and migrate pause %s--stop ends it; if that run has died, wait until then and try again", held, e.running())
	case errors.Is(err, cutover.ErrJournal):
		return fmt.Errorf("%w: nothing is closed by it. migrate rollback %s --all opens what is closed; else put back a copy of the state file that verifies", err, e.plan.ID)
	case errors.Is(err, cutover.ErrLease):
		return fmt.Errorf("%w: somebody else may have gone on; look at migrate status %s before anything else", err, e.plan.ID)
	}
	return fmt.Errorf("%w: migrate status %s says where things stand; migrate apply goes on, migrate rollback takes back", err, e.plan.ID)
}

// ask asks the operator on the terminal.
func (e *execution) ask(ctx context.Context, q cutover.Question) (cutover.Decision, error) {
	e.progress.end()
	fmt.Fprintf(e.app.err, "\nNot known: %s\n", oneLine(q.Text))
	for _, h := range q.Hosts {
		fmt.Fprintf(e.app.err, "  %s\n", e.name(h))
	}
	for {
		fmt.Fprintf(e.app.err, "[r]etry, roll the wave [b]ack, or [s]top here? ")
		answer, err := e.app.readLine(ctx)
		if err != nil {
			return cutover.DecideStop, err
		}
		switch strings.ToLower(answer) {
		case "r", "retry":
			return cutover.DecideRetry, nil
		case "b", "back":
			return cutover.DecideRollback, nil
		case "s", "stop":
			return cutover.DecideStop, nil
		}
	}
}

// standing is where the plan stands by the journal.
func (e *execution) standing(ctx context.Context) (cutover.Standing, error) {
	entries, err := e.db.Entries(ctx, e.plan.ID)
	if err != nil {
		return cutover.Standing{}, err
	}
	return cutover.Status(e.plan, entries)
}

// tellStanding says where things stand if the plan was begun before.
func (e *execution) tellStanding(ctx context.Context) error {
	s, err := e.standing(ctx)
	if err != nil {
		return err
	}
	if s.Entries > 0 {
		e.say(standingText(s, time.Now()))
	}
	return nil
}

func timerText(r cutover.Risk, now time.Time) string {
	if !r.Deadline.After(now) {
		return "has had its time at " + stamp(r.Deadline) + ": it will be looked at"
	}
	return "will open a door again at " + stamp(r.Deadline)
}

// mostStale bounds how many reasons are named why a plan is stale.
const mostStale = 20

// current refuses a plan of which nothing stands if a newer snapshot speaks
// against it. One that was begun is only warned of: going on closes what timers
// guard, and each step looks at the world before it begins.
func (e *execution) current(ctx context.Context) error {
	latest, err := e.db.Latest(ctx)
	if err != nil || latest.ID <= e.plan.Snapshot {
		return err
	}
	now, err := load(ctx, e.db, latest.ID)
	if err != nil {
		return err
	}
	lines := e.plan.Stale(now)
	if len(lines) == 0 {
		return nil
	}
	s, err := e.standing(ctx)
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "plan %s is stale by snapshot %d: ", e.plan.ID, latest.ID)
	for i, line := range lines[:min(len(lines), mostStale)] {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(oneLine(line))
	}
	if more := len(lines) - mostStale; more > 0 {
		fmt.Fprintf(&b, "; and %d more", more)
	}
	if s.Begun > 0 || s.Owed > 0 || len(s.Risks) > 0 {
		e.say("Warning: " + b.String())
		return nil
	}
	return exitErr{code: exitNotReady, err: fmt.Errorf("%s: make a new one with migrate plan", &b)}
}

// standingText says in a few lines where a plan that was begun stands, and
// what can be done.
func standingText(s cutover.Standing, now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Plan %s: the last run (%s, by %s): %s, last entry %s.", s.Plan, oneLine(s.Command), oneLine(s.Operator), oneLine(s.State), stamp(s.Since))
	if s.Begun > 0 {
		fmt.Fprintf(&b, "\n%s begun without an end being known: going on looks at them first.", count(s.Begun, "step was", "steps were"))
	}
	for _, bastion := range s.Bastions {
		fmt.Fprintf(&b, "\nSince %s %s", stamp(bastion.Since), oneLine(bastion.Runs()))
	}
	for _, r := range s.Risks {
		fmt.Fprintf(&b, "\nThe timer of %s %s.", r.Step, timerText(r, now))
	}
	if s.Owed > 0 {
		fmt.Fprintf(&b, "\n%s ours.", count(s.Owed, "step is", "steps are"))
		if !s.Ended {
			fmt.Fprintf(&b, " Go on: migrate apply %s.", s.Plan)
		}
		fmt.Fprintf(&b, " Take back: migrate rollback %s --all.", s.Plan)
	}
	return b.String()
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// hostsOf are the hosts of a snapshot by their references.
func hostsOf(s *fleet.Snapshot) map[fleet.HostRef]fleet.Host {
	out := make(map[fleet.HostRef]fleet.Host, len(s.Hosts))
	for _, h := range s.Hosts {
		out[h.Ref()] = h
	}
	return out
}

// titles are what the plan's steps are called.
func titles(p *plan.Plan) map[string]string {
	out := map[string]string{}
	for _, w := range p.Waves {
		for _, s := range w.Steps {
			out[s.ID] = s.Title
		}
	}
	return out
}
