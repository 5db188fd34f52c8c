package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/term"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/sqlite"
)

// watchEvery is how often the state file is asked whether there is more.
const watchEvery = time.Second

// watcher shows a plan's run as it goes, whoever runs it.
type watcher struct {
	app    *app
	db     *sqlite.DB
	plan   *plan.Plan
	titles map[string]string
	names  map[fleet.HostRef]string
	hosts  bool
	lines  *redrawn // nil: plain lines

	entries []cutover.Entry
	seq     int64
	ran     bool   // somebody has applied or rolled back since we look
	told    int    // entries that were told in plain lines
	last    string // what the last plain line about how far it is was about
}

// watchResult is what status --watch --json prints, one in a line.
type watchResult struct {
	statusResult
	Remaining timeLeft `json:"remaining"`
}

func (a *app) watchStatus(ctx context.Context, args []string, hosts bool) error {
	db, err := a.openExisting(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	w := &watcher{app: a, db: db, hosts: hosts}
	if w.plan, err = begunPlan(ctx, db, args); err != nil {
		return err
	}
	snap, err := load(ctx, db, w.plan.Snapshot)
	if err != nil {
		return err
	}
	w.titles, w.names = titles(w.plan), namesOfHosts(snap)
	if a.terminal() && !a.json {
		w.lines = &redrawn{w: a.out, size: a.size}
	}
	return w.run(ctx)
}

// size are the columns and rows of standard output.
func (a *app) size() (columns, rows int) {
	if out, ok := a.out.(*os.File); ok {
		if c, r, err := term.GetSize(int(out.Fd())); err == nil && c > 0 && r > 0 {
			return c, r
		}
	}
	return 80, 24
}

func (w *watcher) run(ctx context.Context) error {
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		s, changed, err := w.look(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil // Ctrl-C is how one leaves
			}
			return err
		}
		over := w.over(s)
		if err := w.show(s, changed, over); err != nil {
			return err
		}
		if over {
			return standingVerdict(s.Standing)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// look reads where the plan stands; changed: the journal has grown.
func (w *watcher) look(ctx context.Context) (s statusResult, changed bool, err error) {
	if s.Holder, s.Until, err = w.db.Holder(ctx); err != nil { // before the journal: who has ended has written so
		return s, false, err
	}
	if s.Wish, err = w.db.Control(ctx, w.plan.ID); err != nil {
		return s, false, err
	}
	seq, err := w.db.LastEntry(ctx, w.plan.ID)
	if err != nil {
		return s, false, err
	}
	if changed = seq != w.seq; changed {
		if w.entries, err = w.db.Entries(ctx, w.plan.ID); err != nil {
			return s, false, err
		}
		w.seq = seq
	}
	s.Standing, err = cutover.Status(w.plan, w.entries)
	return s, changed, err
}

// over reports whether there is nothing more to see: the run that was watched
// has ended or broken off, or the plan was at its end before.
func (w *watcher) over(s statusResult) bool {
	if running(s) {
		w.ran = true
		return false
	}
	return w.ran || s.Ended && s.State == string(cutover.OutcomeDone) || s.State == string(cutover.OutcomeRolledBack) && s.Owed == 0
}

// running reports whether somebody carries this plan out now.
func running(s statusResult) bool { return s.Holder != "" && s.State == "running or broken off" }

func (w *watcher) show(s statusResult, changed, over bool) error {
	left := remainingOf(w.plan, w.entries, s.Standing, s.Wish, time.Now())
	switch {
	case w.app.json && (changed || over || w.told == 0):
		w.told = 1
		return w.jsonLine(watchResult{s, left})
	case w.app.json:
		return nil
	case w.lines == nil:
		return w.plain(s, left, over)
	}
	var b bytes.Buffer
	w.screen(&b, s, left)
	if err := w.lines.draw(strings.Split(strings.TrimRight(b.String(), "\n"), "\n")); err != nil {
		return err
	}
	if over {
		fmt.Fprintln(w.app.out)
		return printStatus(w.app.out, s, w.hosts)
	}
	return nil
}

func (w *watcher) jsonLine(v any) error {
	e := &execution{app: w.app}
	return e.jsonLine(v)
}

// plain writes what is new in lines that stay.
func (w *watcher) plain(s statusResult, left timeLeft, over bool) error {
	for _, e := range w.entries[min(w.told, len(w.entries)):] {
		if line := entryLine(e, w.titles, w.name); line != "" {
			fmt.Fprintln(w.app.out, line)
		}
	}
	w.told = len(w.entries)
	done, all := stepsOf(s.Standing)
	if about := fmt.Sprint(s.State, done*10/max(1, all)); about != w.last {
		w.last = about
		fmt.Fprintf(w.app.out, "%d of %d steps done, %s; left: %s\n", done, all, s.State, left)
	}
	if over {
		fmt.Fprintln(w.app.out)
		return printStatus(w.app.out, s, w.hosts)
	}
	return nil
}

func (w *watcher) name(h fleet.HostRef) string { return hostName(w.names, h) }

// Lines of the watched screen.
const (
	watchEvents = 8 // of the journal's newest entries
	watchTimers = 3
)

// screen writes the whole picture; redrawn puts on the terminal what is new in it.
func (w *watcher) screen(b io.Writer, s statusResult, left timeLeft) {
	now := time.Now()
	done, all := stepsOf(s.Standing)
	fmt.Fprintf(b, "Plan %s: %s\n", s.Plan, oneLine(s.State))
	switch {
	case running(s):
		fmt.Fprintf(b, "%s: %s\n", oneLine(s.Command), oneLine(s.Holder))
	case s.Entries == 0:
		fmt.Fprintf(b, "Nobody applies yet: migrate apply %s\n", s.Plan)
	default:
		fmt.Fprintf(b, "Nobody applies now. Go on: migrate apply %s, take back: migrate rollback %s --all\n", s.Plan, s.Plan)
	}
	fmt.Fprintf(b, "[%s] %d of %d steps\n", bar(done, all, 40), done, all)
	fmt.Fprintf(b, "Left: %s\n", left)
	if s.Wish.Pause || s.Wish.Stop {
		fmt.Fprintf(b, "%s asked it to %s. %s\n", oneLine(s.Wish.By), map[bool]string{true: "stop", false: "pause"}[s.Wish.Stop], oneLine(s.Wish.Reason))
	}
	for i, r := range s.Risks {
		if i == watchTimers {
			fmt.Fprintf(b, "and %d more timers\n", len(s.Risks)-i)
			break
		}
		fmt.Fprintf(b, "Armed: a door of %s opens again %s\n", w.hostList(r.Hosts), until(r.Deadline, now))
	}
	_ = printWaves(b, s.Standing) // a buffer takes everything
	fmt.Fprintln(b)
	from := max(0, len(w.entries)-watchEvents)
	for _, e := range w.entries[from:] {
		if line := entryLine(e, w.titles, w.name); line != "" {
			fmt.Fprintln(b, line)
		}
	}
	printNext(b, s.Standing)
	if w.hosts {
		_ = printHostStatus(b, s.Hosts)
	}
}

func (w *watcher) hostList(hosts []fleet.HostRef) string {
	if len(hosts) == 1 {
		return w.name(hosts[0])
	}
	return hostWords(hosts)
}

func until(t, now time.Time) string {
	if left := t.Sub(now); left > 0 {
		return "in " + left.Round(time.Second).String()
	}
	return "now"
}

func bar(done, all, cells int) string {
	full := 0
	if all > 0 {
		full = cells * done / all
	}
	return strings.Repeat("#", full) + strings.Repeat(".", cells-full)
}

func stepsOf(s cutover.Standing) (done, all int) {
	for _, wave := range s.Waves {
		for _, ph := range wave.Phases {
			done += ph.Done
			all += len(ph.Steps)
		}
	}
	return done, all
}

// redrawn is a block of lines at the end of a terminal's screen. Each drawing
// writes only the lines that differ from those before: links may be slow, and
// screen readers speak what is written.
type redrawn struct {
	w    io.Writer
	size func() (columns, rows int)

	shown         []string
	columns, rows int
}

// draw shows the lines in place of those shown before. What does not fit on the
// screen is left out.
func (r *redrawn) draw(lines []string) error {
	columns, rows := r.size()
	lines = lines[:min(len(lines), max(1, rows-1))]
	var b strings.Builder
	if len(r.shown) > 0 {
		if columns != r.columns || rows != r.rows { // the terminal has broken the lines anew
			b.WriteString("\x1b[2J\x1b[H")
			r.shown = nil
		} else {
			fmt.Fprintf(&b, "\x1b[%dA\r", len(r.shown))
		}
	}
	r.columns, r.rows = columns, rows
	changed := len(lines) != len(r.shown)
	for i, line := range lines {
		line = ansi.Truncate(line, columns-1, "…")
		lines[i] = line
		if i < len(r.shown) && r.shown[i] == line {
			b.WriteString("\n")
			continue
		}
		changed = true
		b.WriteString(line + "\x1b[K\n")
	}
	if len(r.shown) > len(lines) {
		b.WriteString("\x1b[J")
	}
	r.shown = lines
	if !changed {
		return nil
	}
	_, err := io.WriteString(r.w, b.String())
	return err
}
