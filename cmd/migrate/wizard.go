package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/inventory"
	"ssm-migrate/internal/report"
	"ssm-migrate/internal/sqlite"
	"ssm-migrate/internal/tui"
)

func (a *app) wizardCommand() *cobra.Command {
	var o wizardOptions
	c := &cobra.Command{
		Use:   "wizard",
		Short: "Lead through the migration, stage by stage (what migrate alone does, too)",
		Long: `wizard leads through the stages: Inventory, Readiness, Prepare, Recovery, Cutover, Done. It says what is next
and why, and what is at risk. Everything in it is also a command, which it names. It needs a terminal of at
least 60 columns and 15 lines.

--plain asks and answers line by line, without moving the cursor: for screen readers, bad links and scripts.
It reads its answers from standard input, one on each line. A terminal that can only write (TERM=dumb) gets it
by itself.

--read-only shows everything and refuses whatever changes the fleet, a run or the state file.`,
		Example: `  migrate wizard
  migrate wizard --read-only
  migrate wizard --plain
  printf 'inventory\nwait\n2\n' | migrate wizard --plain`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.wizard(cmd.Context(), o) },
	}
	o.flags(c)
	return c
}

// wizardOptions are how the wizard is shown, and where it writes.
type wizardOptions struct {
	demo       *demoFleet // nil: a real fleet
	plain      bool
	readOnly   bool
	reportPath string
}

func (o *wizardOptions) flags(c *cobra.Command) {
	c.Flags().BoolVar(&o.plain, "plain", false, "line by line, for screen readers, bad links and scripts")
	c.Flags().BoolVar(&o.readOnly, "read-only", false, "refuse whatever changes the fleet, a run or the state file")
}

// dumb reports whether the terminal can do nothing but write lines.
func dumb() bool { return os.Getenv("TERM") == "dumb" }

func (a *app) wizard(ctx context.Context, o wizardOptions) error {
	o.reportPath = "migrate-report.html"
	switch {
	case o.plain, a.terminal():
	case dumb() && a.isTerminal():
		fmt.Fprintln(a.err, "This terminal (TERM=dumb) cannot show the wizard's screens: it goes line by line, as with --plain.")
		o.plain = true
	default:
		return usageErr("the wizard needs a terminal; without one use the commands:\n" +
			"  migrate inventory      read the accounts and hosts\n" +
			"  migrate readiness      judge them\n" +
			"  migrate report -o FILE write the report\n" +
			"  migrate demo           all of it on a simulated fleet\n" +
			"  migrate wizard --plain the wizard line by line, also from a pipe")
	}
	return a.runWizard(ctx, o)
}

func (a *app) runWizard(ctx context.Context, o wizardOptions) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	open := a.open
	if o.readOnly {
		open = a.openExisting
	}
	db, err := open(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	w := &wizard{app: a, cfg: cfg, db: db, reportPath: o.reportPath}
	stage, err := db.Stage(ctx)
	if err != nil {
		return err
	}
	b := tui.Backend{
		Demo:     o.demo != nil,
		ReadOnly: o.readOnly,
		Command:  a.called(),
		Place:    w.place(a.dbPath),
		Load:     w.load,
		Report:   w.report,
		Runbook:  w.runbook,
		Cutover:  w.cutover,
		Holder: func(ctx context.Context) (string, error) {
			holder, _, err := db.Holder(ctx)
			return holder, err
		},
		Stage: stage,
		Views: db.Views,
	}
	b.MovePlan = w.movePlan
	if !o.readOnly {
		b.SavePlan = w.savePlan
		b.SaveView, b.DropView = db.SaveView, db.DropView
		b.Inventory, b.MakePlan, b.Apply, b.Rollback, b.Wish = w.inventory, w.makePlan, w.apply, w.rollback, w.wish
		b.PlanDrill, b.Drill, b.Keep = w.planDrill, w.drill, db.KeepStage
		b.SaveView, b.DropView = db.SaveView, db.DropView
	}
	if o.demo != nil {
		b.Faults, b.Fault = o.demo.wizardFaults()
	}
	show := tui.Run
	if o.plain {
		show = tui.RunPlain
	}
	return show(ctx, b, tui.Options{Input: a.in, Output: a.out})
}

// called is how another process is told to work on the same state file.
func (a *app) called() string {
	out := "migrate"
	if a.dbPath != envOr("MIGRATE_DB", "migrate.db") {
		out += " --db " + shellWord(a.dbPath)
	}
	if a.configPath != os.Getenv("MIGRATE_CONFIG") {
		out += " --config " + shellWord(a.configPath)
	}
	return out
}

// wizard serves the screens with what the commands use.
type wizard struct {
	app        *app
	cfg        config
	db         *sqlite.DB
	reportPath string
}

func (w *wizard) place(db string) string {
	var parts []string
	for _, access := range w.cfg.accesses() {
		name := access.Name()
		if len(access.Regions) > 0 {
			name += " " + strings.Join(access.Regions, ",")
		}
		parts = append(parts, name)
	}
	return strings.Join(parts, "; ") + " · " + filepath.Base(db)
}

func (w *wizard) load(ctx context.Context) (*fleet.Snapshot, *fleet.Assessment, error) {
	snap, err := load(ctx, w.db, 0)
	if errors.Is(err, sqlite.ErrNoSnapshot) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	judged, err := judgement(ctx, w.db, snap, w.cfg.policy())
	return snap, judged, err
}

func (w *wizard) inventory(ctx context.Context, emit func(inventory.Event)) error {
	c, err := newCollection(ctx, w.cfg)
	if err != nil {
		return err
	}
	defer c.close()
	info, err := c.run(ctx, w.db, emit)
	if err != nil {
		return err
	}
	snap, err := w.db.Load(ctx, info.ID)
	if err != nil {
		return fmt.Errorf("read the new snapshot back: %w", err)
	}
	_, err = assess(ctx, w.db, snap, w.cfg.policy())
	return err
}

func (w *wizard) report(ctx context.Context) (string, error) {
	snap, err := load(ctx, w.db, 0)
	if err != nil {
		return "", err
	}
	in, err := reportInput(ctx, w.db, snap, w.cfg.policy())
	if err != nil {
		return "", err
	}
	path, err := filepath.Abs(w.reportPath)
	if err != nil {
		return "", err
	}
	return path, writeFile(path, func(out io.Writer) error { return report.HTML(out, in) })
}

func (w *wizard) runbook(ctx context.Context) (string, error) {
	cfg, err := w.app.config() // again: the operator may have put it right meanwhile
	if err != nil {
		return "", err
	}
	snap, err := load(ctx, w.db, 0)
	if err != nil {
		return "", err
	}
	book, err := runbookOf(ctx, &stored{cfg: cfg, db: w.db, snap: snap})
	if err != nil {
		return "", err
	}
	path, err := filepath.Abs(filepath.Join(filepath.Dir(w.reportPath), "runbook.md"))
	if err != nil {
		return "", err
	}
	return path, writeFile(path, func(out io.Writer) error { return report.RunbookMarkdown(out, book) })
}
