package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/inventory"
	"ssm-migrate/internal/report"
	"ssm-migrate/internal/sqlite"
	"ssm-migrate/internal/tui"
)

func (a *app) wizard(ctx context.Context) error {
	if !a.terminal() {
		return usageErr("the wizard needs a terminal; without one use the commands:\n" +
			"  migrate inventory      read the accounts and hosts\n" +
			"  migrate readiness      judge them\n" +
			"  migrate report -o FILE write the report\n" +
			"  migrate demo           all of it on a simulated fleet")
	}
	return a.runWizard(ctx, wizardOptions{reportPath: "migrate-report.html"})
}

type wizardOptions struct {
	demo       *demoFleet // nil: a real fleet
	reportPath string
}

func (a *app) runWizard(ctx context.Context, o wizardOptions) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	db, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	w := &wizard{app: a, cfg: cfg, db: db, reportPath: o.reportPath}
	b := tui.Backend{
		Demo:      o.demo != nil,
		Place:     w.place(a.dbPath),
		Load:      w.load,
		Inventory: w.inventory,
		Report:    w.report,
		Runbook:   w.runbook,
		Cutover:   w.cutover,
		MakePlan:  w.makePlan,
		Apply:     w.apply,
		Rollback:  w.rollback,
		Wish:      w.wish,
	}
	if o.demo != nil {
		b.Faults, b.Fault = o.demo.wizardFaults()
	}
	return tui.Run(ctx, b, tui.Options{Input: a.in, Output: a.out})
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
