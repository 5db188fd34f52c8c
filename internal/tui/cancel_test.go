package tui

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
	"testing"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
)

// dialogCase is one thing that a key opens and that can be left again without
// having done anything: a question, a form, a list, a page, a detail.
type dialogCase struct {
	by    string // the functions that make it, by type and name
	in    keyContext
	keys  []string // that open it, the last one does
	title string   // of it
	stage func(t *testing.T) *driver
}

func begun(t *testing.T) *driver { return planned(t, halfway(testPlan()).entries, 80, 24) }

func underWay(t *testing.T) *driver { return applying(t, halfway(testPlan()), 80, 24) }

func asking(t *testing.T) *driver {
	d := underWay(t)
	d.question(cutover.Question{Wave: testPlan().Waves[2], Text: "1 host gave no answer"})
	return d
}

func drillable(t *testing.T) *driver {
	d := planned(t, nil, 80, 24)
	d.world.drill = testDrill()
	return d.press("4", "down")
}

func atReadiness(t *testing.T) *driver { return stocked(t, 60, 80, 24).press("2", "down") }

// narrowed is a fleet table that is filtered and scrolled already.
func narrowed(t *testing.T) *driver {
	return stocked(t, 300, 80, 24).press("f", "/").write("-cache").press("enter", "s", "pgdown", "pgdown", "up", "up", "space")
}

func viewed(t *testing.T) *driver {
	snap, judged := testFleet(60)
	w := &world{snap: snap, judged: judged, views: []fleet.View{{Name: "to do", Filter: "status:blocked"}, {Name: "all"}}}
	return newDriver(t, w, 80, 24, Options{}).press("f", "down")
}

// dialogs are all of them. TestEveryDialogHasItsCancel looks for more in the source.
var dialogs = []dialogCase{
	{"model.askToStop", ctxAsk, []string{"x"}, "Stop the inventory?", func(t *testing.T) *driver { return running(t, 80, 24, 34) }},
	{"model.quit", ctxAsk, []string{"q"}, "An inventory is running. Stop it and leave?", func(t *testing.T) *driver { return running(t, 80, 24, 34) }},
	{"model.quit", ctxAsk, []string{"q"}, "A run of plan 3f2a9c01d4e7 is under way.", underWay},
	{"model.quit", ctxAsk, []string{"q"}, "A drill is under way. Stop it and leave?", func(t *testing.T) *driver {
		d := drilling(t, 80, 24)
		d.phase("vpc-0a", cutover.DrillLaunch, testNow)
		return d
	}},
	{"model.askStop", ctxAsk, []string{"S"}, "Stop the run?", underWay},
	{"model.askStop", ctxAsk, []string{"enter", "S"}, "Stop the run?", underWay},
	{"model.askStop", ctxAsk, []string{"S"}, "Stop the run?", func(t *testing.T) *driver {
		d := begun(t)
		other := *d.world.cutover
		other.Holder, other.Until = "bob@build", testNow
		d.world.cutover = &other
		return d.press("1", "5")
	}},
	{"model.askApply", ctxConfirm, []string{"A"}, "Apply plan 3f2a9c01d4e7?", func(t *testing.T) *driver { return planned(t, nil, 80, 24) }},
	{"model.askApply", ctxConfirm, []string{"A"}, "Apply plan 3f2a9c01d4e7?", begun},
	{"model.askApply", ctxConfirm, []string{"enter", "A"}, "Apply plan 3f2a9c01d4e7?", begun},
	{"model.askRollback", ctxConfirm, []string{"B"}, "Roll back?", begun},
	{"model.askRollback", ctxConfirm, []string{"end", "enter", "tab", "B"}, "Roll back?", begun},
	{"model.askRollback", ctxConfirm, []string{"B"}, "Roll back?", underWay},
	{"model.decide", ctxConfirm, []string{"B"}, "Roll the wave back?", asking},
	{"model.drillPlanned", ctxConfirm, []string{"D"}, "Rehearse the way back?", drillable},
	{"model.askFault", ctxConfirm, []string{"!"}, "Break something in the simulated fleet?", func(t *testing.T) *driver {
		d, broken := breakable(t, true)
		t.Cleanup(func() {
			if len(*broken) > 0 {
				t.Errorf("%q were broken", *broken)
			}
		})
		return d.press("2")
	}},
	{"model.newFinder", ctxPalette, []string{":"}, "Do:", begun},
	{"model.newFinder", ctxPalette, []string{"ctrl+p"}, "Do:", underWay},
	{"newHelp", ctxHelp, []string{"?"}, "Help", atReadiness},
	{"newHelp", ctxHelp, []string{"enter", "?"}, "Help", narrowed},
	{"fleetScreen.handle", ctxFilter, []string{"/"}, "/ -cache", narrowed},
	{"fleetScreen.handle", ctxFilter, []string{"/"}, "/ cause=", func(t *testing.T) *driver { return atReadiness(t).press("enter", "down") }},
	{"fleetScreen.handle", ctxName, []string{"V"}, "Name of this view", narrowed},
	{"fleetScreen.pickGrouping", ctxPick, []string{"o"}, "Group the hosts by", narrowed},
	{"fleetScreen.pickView", ctxPick, []string{"v"}, "Saved views", viewed},
	{"fleetScreen.pickView", ctxPick, []string{"v"}, "There is none yet", narrowed},
	{"fleetScreen.pickCommand", ctxPick, []string{"x"}, "Commands", narrowed},
	{"fleetScreen.open", ctxHost, []string{"enter"}, "host ", narrowed},
	{"stepList.open", ctxText, []string{"enter"}, "Step", func(t *testing.T) *driver { return planned(t, nil, 80, 24).press("3", "down") }},
	{"stepList.open", ctxText, []string{"enter"}, "Step", func(t *testing.T) *driver { return begun(t).press("enter", "down") }},
	{"newWaveView", ctxWave, []string{"enter"}, "Wave 2", begun},
	{"newWaveView", ctxWaveBusy, []string{"enter"}, "Wave 2", underWay},
	{"waveView.open", ctxText, []string{"enter"}, "(i-", func(t *testing.T) *driver { return begun(t).press("end", "enter", "tab", "down") }},
	{"cutoverScreen.open", ctxText, []string{"enter"}, "Step", func(t *testing.T) *driver { return planned(t, failedHistory().entries, 80, 24).press("tab") }},
	{"cutoverScreen.open", ctxText, []string{"enter"}, "Journal entry", func(t *testing.T) *driver { return begun(t).press("tab", "down") }},
	{"cutoverScreen.open", ctxText, []string{"enter"}, "consumer-active", func(t *testing.T) *driver { return planned(t, nil, 80, 24).press("tab") }},
	{"inventoryScreen.open", ctxText, []string{"enter"}, "No answer", func(t *testing.T) *driver { return stocked(t, 60, 80, 24).press("down") }},
	{"inventoryScreen.open", ctxText, []string{"enter"}, "No answer", func(t *testing.T) *driver { return running(t, 80, 24, 34) }},
	{"readinessScreen.open", ctxText, []string{"enter"}, "finding", func(t *testing.T) *driver { return stocked(t, 60, 80, 24).press("2", "down", "down", "down") }},
	{"readinessScreen.open", ctxText, []string{"enter"}, "No answer", func(t *testing.T) *driver { return stocked(t, 60, 80, 24).press("2", "end") }},
	{"recoveryScreen.handle", ctxText, []string{"enter"}, "The way back", drillable},
	{"recoveryScreen.handle", ctxText, []string{"home", "enter"}, "The way back", func(t *testing.T) *driver { return drillable(t).press("up") }},
	{"peopleScreen.open", ctxText, []string{"enter"}, "owner        person ", func(t *testing.T) *driver { return crowded(t).press("l", "pgdown") }},
	{"peopleScreen.open", ctxText, []string{"enter"}, "person ", func(t *testing.T) *driver { return crowded(t).press("a", "pgdown") }},
	{"peopleScreen.open", ctxText, []string{"enter"}, "arn:aws:iam", func(t *testing.T) *driver { return stocked(t, 60, 80, 24).press("a", "tab") }},
	{"model.leaveEdit", ctxAsk, []string{"esc"}, "Leave without making the new plan?", func(t *testing.T) *driver { return moving(t, 80, 24).press("J") }},
	{"newPlanEditor", ctxEdit, []string{"e"}, "Waves of plan", func(t *testing.T) *driver { return planned(t, nil, 80, 24) }},
	{"planEditor.handle", ctxEditNumber, []string{"2"}, "to wave", func(t *testing.T) *driver { return moving(t, 80, 24).press("tab", "down") }},
	{"planEditor.handle", ctxEditFilter, []string{"/"}, "/ ", func(t *testing.T) *driver { return moving(t, 80, 24).press("tab", "down") }},
	{"screen", ctxEditPreview, []string{"enter"}, "new plan", func(t *testing.T) *driver { return moving(t, 80, 24).press("tab", "down", "J") }},
	{"screen", ctxFleet, []string{"f"}, "Fleet: 60 hosts", begun},
	{"screen", ctxFleet, []string{"enter"}, "cause=", atReadiness},
	{"screen", ctxTable, []string{"l"}, "Ledger", begun},
	{"screen", ctxTables, []string{"a"}, "Access", atReadiness},
	{"screen", ctxTables, []string{"l", "a"}, "Access", begun},
	{"screen", ctxTable, []string{"f", "a", "l"}, "Ledger", begun},
	{"screen", ctxFleet, []string{"f", "a", "l", "f"}, "Fleet: 60 hosts", begun},
}

// opened stages the case and opens it. It gives what was shown and done before.
func (c dialogCase) opened(t *testing.T) (d *driver, before string, done []string) {
	t.Helper()
	d = c.stage(t)
	last := len(c.keys) - 1
	d.press(c.keys[:last]...)
	before, done = d.m.View().Content, d.world.done()
	d.press(c.keys[last])
	if got := d.m.context(); got != c.in {
		t.Fatalf("%v leads to context %d, want %d:\n%s", c.keys, got, c.in, d.screen())
	}
	d.mustShow(c.title)
	if d.m.View().Content == before {
		t.Fatalf("%v opens nothing:\n%s", c.keys, d.screen())
	}
	return d, before, done
}

// fumble does in it what operators do before they think better of it.
func (c dialogCase) fumble(d *driver) {
	switch {
	case c.in == ctxFilter:
		d.write(" status:blocked tag:").send(pasted("az=nowhere\n"))
		d.press("left", "up", "backspace")
	case c.in == ctxName || c.in == ctxEditNumber || c.in == ctxEditFilter:
		d.write("zz").press("left", "backspace")
	case c.in.typing():
		d.write("zz").press("enter", "down", "up", "down", "backspace", "backspace", "down")
	default:
		d.press("down", "pgdown", "end")
	}
}

// cancels are the keys of a context that leave it without doing anything.
func (c keyContext) cancels() []string {
	var out []string
	for _, s := range c.layers() {
		for _, b := range s.bindings {
			if b.in == (back{}) || b.in == (answer{false}) {
				out = append(out, b.keys...)
			}
		}
	}
	return out
}

// nothingElse fails when something was done in between but for noting the stage
// that is shown.
func (d *driver) nothingElse(what string, done []string) {
	d.t.Helper()
	for _, change := range d.world.done()[len(done):] {
		if change != "keep "+stageNames[min(d.m.at, screenDone)] {
			d.t.Errorf("%s: asked for %q", what, change)
		}
	}
}

// Whatever is opened and left again by any key for no has done nothing, and the
// screen is what it was.
func TestWhatIsCancelledHasDoneNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("nothing runs side by side here")
	}
	for _, c := range dialogs {
		t.Run(strings.Join(append([]string{c.title}, c.keys...), " "), func(t *testing.T) {
			if len(c.in.cancels()) == 0 {
				t.Fatal("no key leaves it")
			}
			for _, fumbles := range []bool{false, true} {
				for _, key := range c.in.cancels() {
					d, before, done := c.opened(t)
					if fumbles {
						c.fumble(d)
					}
					d.press(key)
					if now := d.m.View().Content; now != before {
						t.Errorf("after %v (fumbled: %v) and %s the screen is another:\n%s", c.keys, fumbles, key, d.screen())
					}
					d.nothingElse(key, done)
					if d.quit || d.m.leaving {
						t.Errorf("%s leaves the wizard", key)
					}
				}
			}
		})
	}
}

// ctrl+c leaves the wizard from wherever one is, and does nothing else. While work is
// under way it asks first, and no leads back to what was open.
func TestInterruptsInDialogsDoNothing(t *testing.T) {
	for _, c := range dialogs {
		t.Run(strings.Join(append([]string{c.title}, c.keys...), " "), func(t *testing.T) {
			d, _, done := c.opened(t)
			open := d.m.View().Content
			busy := d.m.busy()
			d.press("ctrl+c")
			switch {
			case !busy && d.quit:
			case busy && c.in == ctxAsk:
				if !d.m.leaving || d.quit {
					t.Errorf("ctrl+c in a question neither stops what is under way nor waits for it:\n%s", d.screen())
				}
			default: // something would be lost
				if d.quit || d.m.context() != ctxAsk {
					t.Fatalf("ctrl+c neither leaves nor asks:\n%s", d.screen())
				}
				if d.press("n"); d.m.View().Content != open {
					t.Errorf("no does not lead back:\n%s", d.screen())
				}
			}
			d.nothingElse("ctrl+c", done)
		})
	}
}

// depth says how much lies under a context: one that a key leads into from a lesser
// one was opened by it.
var depth = map[keyContext]int{
	ctxEmpty: 0, ctxRunning: 0, ctxTaken: 0, ctxComplete: 0, ctxReadiness: 0, ctxFleet: 0, ctxTable: 0, ctxTables: 0,
	ctxStage: 0, ctxList: 0, ctxRecovery: 0, ctxNoPlan: 0, ctxPlan: 0, ctxBusy: 0,
	ctxHost: 1, ctxWave: 1, ctxWaveBusy: 1, ctxText: 2, ctxFilter: 2, ctxName: 2, ctxPick: 2,
	ctxEdit: 1, ctxEditNumber: 2, ctxEditFilter: 2, ctxEditPreview: 2,
	ctxPalette: 3, ctxHelp: 3, ctxDecide: 3, ctxConfirm: 4, ctxAsk: 5, ctxStopping: 6,
}

// mustClose leaves what a key has opened, and fails unless all is as it was.
func (d *driver) mustClose(from keyContext, at screenID, before string, done []string) {
	d.t.Helper()
	to := d.m.context()
	if d.m.at != at || depth[to] <= depth[from] || to == ctxStopping {
		return
	}
	d.press(to.cancels()[0])
	if d.screen() != before {
		d.t.Errorf("what the key opened does not lead back; before:\n%s\nafter:\n%s", before, d.screen())
	}
	d.nothingElse(to.cancels()[0], done)
}

// makers are the types whose values lie over a screen until they are left.
var makers = []string{"confirm", "question", "picker", "textView", "help", "finder", "hostView", "waveView", "planEditor"}

// made are the functions of the package that make something to be left, or begin to
// read a line.
func made(t *testing.T) []string {
	t.Helper()
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if ok && fn.Body != nil && opens(fn.Body) {
				out = append(out, nameOf(fn))
			}
		}
	}
	return out
}

func opens(body ast.Node) bool {
	found := false
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			id, ok := n.Type.(*ast.Ident)
			found = found || ok && slices.Contains(makers, id.Name)
		case *ast.AssignStmt:
			to, field := n.Lhs[0].(*ast.SelectorExpr)
			from, name := n.Rhs[0].(*ast.Ident)
			found = found || field && name && to.Sel.Name == "typing" && !strings.HasSuffix(from.Name, "Nothing")
		}
		return true
	})
	return found
}

func nameOf(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return fn.Name.Name
	}
	of := fn.Recv.List[0].Type
	if p, ok := of.(*ast.StarExpr); ok {
		of = p.X
	}
	return of.(*ast.Ident).Name + "." + fn.Name.Name
}

// A dialog that nobody has cancelled in a test is found by the function that makes
// it, a new kind of them by its keys.
func TestEveryDialogHasItsCancel(t *testing.T) {
	again := []string{
		"fleetScreen.reopen", "fleetScreen.nextHost", // another host in the place of the open one
		"model.askToStore", // line by line only: TestPlainMovesAreNotStoredWithoutAYes
	}
	found := made(t)
	for _, name := range found {
		if !slices.Contains(again, name) && !slices.ContainsFunc(dialogs, func(c dialogCase) bool { return c.by == name }) {
			t.Errorf("%s makes something to be left: cancel it in a case of dialogs", name)
		}
	}
	for _, c := range dialogs {
		if c.by != "screen" && !slices.Contains(found, c.by) {
			t.Errorf("nothing is made by %s", c.by)
		}
	}
	for c := ctxEmpty; c <= ctxStopping; c++ {
		if _, ok := depth[c]; !ok {
			t.Errorf("context %d has no depth", c)
		}
		if len(c.cancels()) > 0 && !slices.ContainsFunc(dialogs, func(d dialogCase) bool { return d.in == c }) {
			t.Errorf("context %d can be left, and no case of dialogs does", c)
		}
	}
}

// Line by line, too, moves are stored only by a yes.
func TestPlainMovesAreNotStoredWithoutAYes(t *testing.T) {
	snap, judged := testFleet(10)
	for _, answer := range []string{"no", "n"} {
		w := &world{snap: snap, judged: judged, cutover: testCutover(testPlan(), nil)}
		out := plainly(t, w.backend(), "5\nmove "+testRef(0).ID+"=2\n"+answer+"\nq\n")
		inOrder(t, out, "Store the new plan?", "Answer yes or no", "Stage 5 of 6, Cutover")
		for _, change := range w.done() {
			if change != "keep Cutover" {
				t.Errorf("%s: asked for %q", answer, change)
			}
		}
	}
}
