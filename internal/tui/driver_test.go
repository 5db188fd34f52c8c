package tui

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/inventory"
	"ssm-migrate/internal/plan"
)

var update = flag.Bool("update", false, "rewrite golden files")

// world is a backend whose inventory does what the test says, step by step.
type world struct {
	snap    *fleet.Snapshot
	judged  *fleet.Assessment
	loadErr error
	reports int
	report  string
	repErr  error
	runs    int
	steps   chan func(emit func(inventory.Event))
	result  chan error
	stopped error // context's error when the inventory was interrupted

	cutover    *Cutover
	cutoverErr error
	asked      []string // the plans that were asked for
	made       *plan.Plan
	madeErr    error
	wishErr    error
	began      []string // what was applied and rolled back
	acts       chan func(context.Context, Talk)
	ends       chan ending
	moves      []plan.Move // that a plan was made of last
	moveErr    error
	warnings   []string // of the canary of such a plan
	views      []fleet.View
	viewsErr   error
	drill      *plan.Plan
	drillErr   error
	readOnly   bool
	stage      string
	kept       []string
	keepErr    error
	holds      bool // a run does not end with its context

	mu      sync.Mutex
	changes []string // calls that change something, in order
}

// did notes that something was asked for that changes or stores something.
func (w *world) did(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changes = append(w.changes, what)
}

func (w *world) done() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.changes)
}

// ending is how the run of a plan ends.
type ending struct {
	result cutover.Result
	err    error
}

func (w *world) backend() Backend {
	return Backend{
		Demo: true, Place: testAccount + " " + testRegion + " · migrate.db",
		Load: func(context.Context) (*fleet.Snapshot, *fleet.Assessment, error) { return w.snap, w.judged, w.loadErr },
		Runbook: func(context.Context) (string, error) {
			w.did("runbook")
			return "/home/ops/runbook.md", nil
		},
		Report: func(context.Context) (string, error) {
			w.did("report")
			w.reports++
			return w.report, w.repErr
		},
		Inventory: w.inventory,
		Cutover: func(_ context.Context, id string) (*Cutover, error) {
			w.asked = append(w.asked, id)
			return w.cutover, w.cutoverErr
		},
		MakePlan: func(context.Context) (string, error) {
			w.did("plan")
			if w.madeErr != nil {
				return "", w.madeErr
			}
			w.cutover = testCutover(w.made, nil)
			return w.made.ID, nil
		},
		MovePlan: w.movePlan,
		SavePlan: func(_ context.Context, p *plan.Plan) error {
			w.did("save plan " + p.ID)
			if w.madeErr == nil {
				w.cutover = testCutover(p, nil)
			}
			return w.madeErr
		},
		Apply: func(ctx context.Context, id string, last *int, t Talk) (cutover.Result, error) {
			what := "apply " + id
			if last != nil {
				what += fmt.Sprintf(" to wave %d", *last)
			}
			return w.act(ctx, what, t)
		},
		Rollback: func(ctx context.Context, id string, s cutover.Scope, t Talk) (cutover.Result, error) {
			return w.act(ctx, "rollback "+id+" "+s.String(), t)
		},
		Views: func(context.Context) ([]fleet.View, error) { return slices.Clone(w.views), w.viewsErr },
		SaveView: func(_ context.Context, v fleet.View) error {
			w.did("save view " + v.Name)
			_ = w.backend().DropView(context.Background(), v.Name)
			w.views = append(w.views, v)
			return w.viewsErr
		},
		DropView: func(_ context.Context, name string) error {
			w.did("drop view " + name)
			w.views = slices.DeleteFunc(w.views, func(v fleet.View) bool { return v.Name == name })
			return w.viewsErr
		},
		PlanDrill: func(context.Context) (*plan.Plan, error) { return w.drill, w.drillErr },
		Drill: func(ctx context.Context, p *plan.Plan, t Talk) (cutover.Result, error) {
			return w.act(ctx, "drill "+p.ID, t)
		},
		ReadOnly: w.readOnly, Stage: w.stage,
		Keep: func(_ context.Context, stage string) error {
			w.did("keep " + stage)
			w.kept = append(w.kept, stage)
			return w.keepErr
		},
		Wish: func(_ context.Context, _ string, change func(cutover.Wish) cutover.Wish) (cutover.Wish, error) {
			if w.wishErr != nil {
				return cutover.Wish{}, w.wishErr
			}
			w.did("wish")
			now := *w.cutover
			now.Wish = change(now.Wish)
			w.cutover = &now
			return now.Wish, nil
		},
	}
}

func (w *world) act(ctx context.Context, what string, t Talk) (cutover.Result, error) {
	w.did(what)
	w.began = append(w.began, what)
	stop := ctx.Done()
	if w.holds {
		stop = nil
	}
	for {
		select {
		case act := <-w.acts:
			act(ctx, t)
		case e := <-w.ends:
			return e.result, e.err
		case <-stop:
			return cutover.Result{Outcome: cutover.OutcomeStopped, Reason: "on request"}, nil
		}
	}
}

func (w *world) inventory(ctx context.Context, emit func(inventory.Event)) error {
	w.did("inventory")
	w.runs++
	for {
		select {
		case step := <-w.steps:
			step(emit)
		case err := <-w.result:
			return err
		case <-ctx.Done():
			w.stopped = ctx.Err()
			return ctx.Err()
		}
	}
}

// driver runs the model without a terminal: commands run at once on the
// test's goroutine, and what the inventory sends waits until it is pumped.
type driver struct {
	t     *testing.T
	m     *model
	world *world
	queue chan tea.Msg
	quit  bool
	alive sync.WaitGroup
}

func newDriver(t *testing.T, w *world, width, height int, o Options) *driver {
	t.Helper()
	if w.steps == nil {
		w.steps, w.result = make(chan func(func(inventory.Event))), make(chan error)
	}
	w.acts, w.ends = make(chan func(context.Context, Talk)), make(chan ending)
	o.Now = func() time.Time { return testNow }
	ctx, cancel := context.WithCancel(context.Background())
	d := &driver{t: t, world: w, queue: make(chan tea.Msg, 1000)}
	d.m = newModel(ctx, w.backend(), o, &d.alive)
	d.m.env.send = func(msg tea.Msg) { d.queue <- msg }
	t.Cleanup(func() {
		cancel()
		d.alive.Wait()
	})
	d.send(tea.WindowSizeMsg{Width: width, Height: height})
	d.run(d.m.Init())
	return d
}

// planned starts with a stored snapshot and a plan, on the cutover screen.
func planned(t *testing.T, entries []cutover.Entry, width, height int) *driver {
	t.Helper()
	snap, judged := testFleet(60)
	p := testPlan()
	w := &world{snap: snap, judged: judged, made: p, report: "/home/ann/migrate-report.html", cutover: testCutover(p, entries)}
	return newDriver(t, w, width, height, Options{}).press("5")
}

// applying is a plan that this wizard applies, from where the history ends.
func applying(t *testing.T, h *history, width, height int) *driver {
	t.Helper()
	d := planned(t, nil, width, height).press("A").write(h.plan.ID).press("enter")
	d.journal(h.entries...)
	return d
}

// stocked starts with a stored snapshot of n hosts.
func stocked(t *testing.T, n, width, height int) *driver {
	t.Helper()
	snap, judged := testFleet(n)
	return newDriver(t, &world{snap: snap, judged: judged, report: "/home/ann/migrate-report.html"}, width, height, Options{})
}

func (d *driver) send(msg tea.Msg) {
	_, cmd := d.m.Update(msg)
	d.m.View() // the program draws after every message
	d.run(cmd)
}

func (d *driver) run(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	switch msg := cmd().(type) {
	case nil:
	case tea.BatchMsg:
		for _, c := range msg {
			d.run(c)
		}
	case tea.QuitMsg:
		d.quit = true
	default:
		d.send(msg)
	}
}

// pump handles what the inventory has sent so far.
func (d *driver) pump() {
	for {
		select {
		case msg := <-d.queue:
			d.send(msg)
		default:
			return
		}
	}
}

// emit lets the running inventory tell some events.
func (d *driver) emit(events ...inventory.Event) {
	done := make(chan struct{})
	d.world.steps <- func(emit func(inventory.Event)) {
		for _, e := range events {
			emit(e)
		}
		close(done)
	}
	<-done
	d.pump()
}

// finish ends the running inventory.
func (d *driver) finish(err error) {
	d.world.result <- err
	d.settle()
}

// settle waits until the inventory's goroutine has returned.
func (d *driver) settle() {
	d.alive.Wait()
	d.pump()
}

// journal lets the run of the plan write entries.
func (d *driver) journal(entries ...cutover.Entry) {
	done := make(chan struct{})
	d.world.acts <- func(_ context.Context, t Talk) {
		for _, e := range entries {
			t.Emit(e)
		}
		close(done)
	}
	<-done
	d.pump()
}

// question lets the run ask, and gives what it is answered.
func (d *driver) question(q cutover.Question) <-chan cutover.Decision {
	answer := make(chan cutover.Decision, 1)
	d.world.acts <- func(ctx context.Context, t Talk) {
		x, err := t.Ask(ctx, q)
		if err != nil {
			x = -1
		}
		answer <- x
	}
	d.send(<-d.queue)
	return answer
}

// over ends the run of the plan.
func (d *driver) over(r cutover.Result, err error) {
	d.world.ends <- ending{r, err}
	d.settle()
}

func (d *driver) press(keys ...string) *driver {
	for _, k := range keys {
		d.send(keyPress(d.t, k))
	}
	return d
}

func (d *driver) write(text string) *driver {
	for _, r := range text {
		if r == ' ' {
			d.press("space")
		} else {
			d.press(string(r))
		}
	}
	return d
}

func (d *driver) screen() string {
	return ansi.Strip(d.m.View().Content)
}

func (d *driver) mustShow(want ...string) {
	d.t.Helper()
	shown := d.screen()
	for _, w := range want {
		if !strings.Contains(shown, w) {
			d.t.Errorf("the screen does not show %q:\n%s", w, shown)
		}
	}
}

func (d *driver) mustNotShow(not ...string) {
	d.t.Helper()
	shown := d.screen()
	for _, w := range not {
		if strings.Contains(shown, w) {
			d.t.Errorf("the screen shows %q:\n%s", w, shown)
		}
	}
}

var namedKeys = map[string]rune{
	"up": tea.KeyUp, "down": tea.KeyDown, "left": tea.KeyLeft, "right": tea.KeyRight, "pgup": tea.KeyPgUp, "pgdown": tea.KeyPgDown,
	"home": tea.KeyHome, "end": tea.KeyEnd, "enter": tea.KeyEnter, "esc": tea.KeyEscape, "tab": tea.KeyTab, "backspace": tea.KeyBackspace, "delete": tea.KeyDelete,
}

// keyPress is the message that a terminal's key makes.
func keyPress(t *testing.T, name string) tea.KeyPressMsg {
	t.Helper()
	k := tea.KeyPressMsg{}
	bare, ctrl := strings.CutPrefix(name, "ctrl+")
	bare, shift := strings.CutPrefix(bare, "shift+")
	switch code, named := namedKeys[bare]; {
	case named:
		k.Code = code
	case bare == "space":
		k.Code, k.Text = tea.KeySpace, " "
	case utf8.RuneCountInString(bare) == 1:
		k.Code, _ = utf8.DecodeRuneInString(bare)
		k.Text = bare
	default:
		t.Fatalf("the test does not know the key %q", name)
	}
	if shift {
		k.Mod = tea.ModShift
	}
	if ctrl {
		k.Mod, k.Text = tea.ModCtrl, ""
	}
	if k.String() != name {
		t.Fatalf("the key %q calls itself %q", name, k.String())
	}
	return k
}

// golden compares a screen with its file under testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	var b strings.Builder
	for l := range strings.SplitSeq(got, "\n") {
		b.WriteString(strings.TrimRight(l, " ") + "\n")
	}
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test ./internal/tui -update writes it)", err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("%s differs (-want +got); look at it, then run with -update:\n%s", path, diff)
	}
}
