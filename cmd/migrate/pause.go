package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/cutover"
)

func (a *app) pauseCommand() *cobra.Command {
	var w cutover.Wish
	c := &cobra.Command{
		Use:   "pause [PLAN]",
		Short: "Let a running apply finish its steps under way and begin no more",
		Long: `pause asks the run of a plan, from any terminal, to finish the steps that are under way and to begin
none until migrate resume. With --stop the run ends instead; migrate apply goes on later.

Timers that are armed at that moment open their doors again when their time has come; the run says
which, and looks at what they did before it goes on.`,
		Example: `  migrate pause --reason "incident 4711"
  migrate pause 3f2a9c --stop`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			w.Pause = !w.Stop
			return a.setWish(cmd.Context(), args, func(now cutover.Wish) cutover.Wish {
				w.Concurrency = now.Concurrency
				return w
			})
		},
	}
	c.Flags().BoolVar(&w.Stop, "stop", false, "end the run")
	c.Flags().StringVar(&w.Reason, "reason", "", "why, for the journal")
	return c
}

func (a *app) resumeCommand() *cobra.Command {
	var concurrency int
	c := &cobra.Command{
		Use:   "resume [PLAN]",
		Short: "Let a paused run go on, faster or slower if need be",
		Long: `resume takes back migrate pause. A run that is waiting goes on by itself; one that has ended goes on
with migrate apply. --concurrency says how many lanes (hosts, or shared things) run at once from now on;
0 is what the policy says.`,
		Example: `  migrate resume
  migrate resume 3f2a9c --concurrency 2`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if concurrency < 0 || concurrency > 1000 {
				return usageErr("--concurrency: %d is not from 0 to 1000", concurrency)
			}
			return a.setWish(cmd.Context(), args, func(now cutover.Wish) cutover.Wish {
				w := cutover.Wish{Concurrency: now.Concurrency}
				if cmd.Flags().Changed("concurrency") {
					w.Concurrency = concurrency
				}
				return w
			})
		},
	}
	c.Flags().IntVar(&concurrency, "concurrency", 0, "how many lanes run at once; 0: what the policy says")
	return c
}

// wishResult is what pause and resume print with --json.
type wishResult struct {
	Plan   string       `json:"plan"`
	Wish   cutover.Wish `json:"wish"`
	Holder string       `json:"holder,omitempty"` // who applies now
}

func (a *app) setWish(ctx context.Context, args []string, change func(cutover.Wish) cutover.Wish) error {
	db, err := a.openExisting(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	p, err := begunPlan(ctx, db, args)
	if err != nil {
		return err
	}
	now, err := db.Control(ctx, p.ID)
	if err != nil {
		return err
	}
	w := change(now)
	w.By, w.At = planner(), time.Now()
	if err := db.SetControl(ctx, p.ID, w); err != nil {
		return err
	}
	holder, _, err := db.Holder(ctx)
	if err != nil {
		return err
	}
	if a.json {
		return writeJSON(a.out, wishResult{Plan: p.ID, Wish: w, Holder: holder})
	}
	what := "goes on"
	switch {
	case w.Stop:
		what = "ends when its steps under way are done"
	case w.Pause:
		what = "pauses when its steps under way are done"
	}
	if holder == "" {
		_, err = fmt.Fprintf(a.out, "Nobody applies now; the next migrate apply %s %s.\n", p.ID, nextRun(w))
		return err
	}
	_, err = fmt.Fprintf(a.out, "Plan %s, run by %s: %s.\n", p.ID, oneLine(holder), what)
	return err
}

func nextRun(w cutover.Wish) string {
	if w.Pause {
		return "will wait for migrate resume"
	}
	return "will go on"
}
