package tui

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
	"unicode"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/inventory"
	"ssm-migrate/internal/plan"
)

// plainly runs the wizard line by line on some input and gives what it wrote.
func plainly(t *testing.T, b Backend, input string) string {
	t.Helper()
	var out bytes.Buffer
	err := RunPlain(t.Context(), b, Options{Input: strings.NewReader(input), Output: &out, Now: func() time.Time { return testNow }})
	if err != nil {
		t.Fatalf("RunPlain: %v\n%s", err, out.String())
	}
	for _, r := range out.String() {
		if r != '\n' && unicode.IsControl(r) || isBidi(r) || joins(r) || strings.ContainsRune("✓✗○●▸│█", r) {
			t.Fatalf("the output has %q:\n%s", r, out.String())
		}
	}
	return out.String()
}

// inOrder fails unless each text comes after the one before.
func inOrder(t *testing.T, out string, want ...string) {
	t.Helper()
	rest := out
	for _, w := range want {
		_, after, found := strings.Cut(rest, w)
		if !found {
			t.Fatalf("%q does not come where it should:\n%s", w, out)
		}
		rest = after
	}
}

func TestPlainLeadsThroughTheStages(t *testing.T) {
	snap, judged := testFleet(60)
	w := &world{made: testPlan(), cutover: testCutover(nil, nil), report: "/home/ann/r.html"}
	b := w.backend()
	b.Inventory = func(_ context.Context, emit func(inventory.Event)) error {
		for _, e := range testEvents(60) {
			emit(e)
		}
		w.snap, w.judged = snap, judged
		return nil
	}
	var applied []string
	b.Apply = func(ctx context.Context, id string, last *int, talk Talk) (cutover.Result, error) {
		for _, e := range doneHistory().entries {
			talk.Emit(e)
		}
		x, err := talk.Ask(ctx, cutover.Question{Wave: w.made.Waves[2], Text: "1 host gave no answer"})
		if err != nil || x != cutover.DecideRetry {
			t.Errorf("answered %v, %v", x, err)
		}
		applied = append(applied, id)
		w.cutover = testCutover(w.made, doneHistory().entries)
		return cutover.Result{Outcome: cutover.OutcomeDone}, nil
	}
	out := plainly(t, b, "inventory\nwait\n2\nr\n/web\nback\n5\nplan\napply\nno\napply\n3f2a9c01d4e7\nwait\nr\nwait\n6\ny\nstages\nxyzzy\n?\nq\n")
	inOrder(t, out, "DEMO: a simulated fleet.", "Stage 1 of 6, Inventory", "Next: Press enter to take the inventory",
		"60 listed", "Stage 2 of 6, Readiness", "role-lacks-channel", "Next: See to role-lacks-channel", "Done: The report is in /home/ann/r.html",
		"Fleet", "Stage 5 of 6, Cutover", "Next: Press enter to make a plan", "Done: Plan 3f2a9c01d4e7 is made", "Apply plan 3f2a9c01d4e7?", "Type 3f2a9c01d4e7 to do it",
		"That is not it: nothing is done.", "Apply plan 3f2a9c01d4e7?", "Not known: 1 host gave no answer", "Answer r to look again", "Done: Done.",
		"Stage 6 of 6, Done", "Risk: closed 5/5 hosts", "Done: migrate drift 3f2a9c01d4e7", "6 Done: [ok] reached", `"xyzzy" means nothing here`, "migrate rollback 3f2a9c01d4e7 --all")
	if len(applied) != 1 {
		t.Errorf("applied %v", applied)
	}
}

func TestPlainInputThatEndsStopsTheRun(t *testing.T) {
	p := testPlan()
	snap, judged := testFleet(10)
	w := &world{snap: snap, judged: judged, made: p, cutover: testCutover(p, nil)}
	b := w.backend()
	stopped := false
	b.Apply = func(ctx context.Context, _ string, _ *int, _ Talk) (cutover.Result, error) {
		<-ctx.Done()
		stopped = true
		return cutover.Result{Outcome: cutover.OutcomeStopped}, nil
	}
	out := plainly(t, b, "5\napply\n2\ncanary\n")
	inOrder(t, out, "2 only up to the end of wave 1, canary", "The command for it: migrate apply 3f2a9c01d4e7 --wave 1", "Running for", "The input has ended: leaving.")
	if !stopped {
		t.Error("it left before the run had ended")
	}
}

func TestPlainIsReadOnlyToo(t *testing.T) {
	p := testPlan()
	snap, judged := testFleet(10)
	w := &world{snap: snap, judged: judged, cutover: testCutover(p, nil), readOnly: true}
	out := plainly(t, w.backend(), "5\napply\nplan\ndrill\ninventory\n")
	if n := strings.Count(out, "Not done: Read-only: "); n != 4 {
		t.Errorf("%d of 4 changes were refused:\n%s", n, out)
	}
	inOrder(t, out, "READ-ONLY: nothing can be changed from here.")
}

func TestPlainTellsOfADrill(t *testing.T) {
	p := testPlan()
	snap, judged := testFleet(10)
	w := &world{snap: snap, judged: judged, cutover: testCutover(p, nil), drill: testDrill()}
	b := w.backend()
	b.Drill = func(_ context.Context, _ *plan.Plan, talk Talk) (cutover.Result, error) {
		for _, ph := range drillPhases {
			talk.Drill(DrillReport{"vpc-0a", ph.phase, testNow})
		}
		return cutover.Result{Outcome: cutover.OutcomeDone}, nil
	}
	out := plainly(t, b, "drill\nd1d2d3d4d5d6\nwait\nq\n")
	inOrder(t, out, "Rehearse the way back?", "The command for it: migrate recovery drill --yes", "The drill is done in")
	for _, ph := range drillPhases {
		if !strings.Contains(out, ph.name) {
			t.Errorf("phase %s is not told:\n%s", ph.name, out)
		}
	}
}

// Every stage, question and report of work, line by line, with hostile text wherever
// there is a foreign one.
func TestPlainHostileTextIsHarmless(t *testing.T) {
	for name, bad := range hostileTexts {
		t.Run(name, func(t *testing.T) {
			snap, judged := poisoned(bad)
			c := poisonedPlan(bad)
			c.Plan.ID = "3f2a9c01d4e7" // somebody has to type it
			for i := range c.Entries {
				c.Entries[i].Plan = c.Plan.ID
			}
			w := &world{snap: snap, judged: judged, report: bad, cutover: c, drill: testDrill(), madeErr: errors.New(bad), wishErr: errors.New(bad), viewsErr: errors.New(bad)}
			w.drill.Refusals[0].Text = bad
			w.drill.Waves[0].Steps[0].Recovery.VPC = bad
			b := w.backend()
			b.Place = bad
			b.Inventory = func(_ context.Context, emit func(inventory.Event)) error {
				for i := range 20 {
					emit(inventory.Event{Kind: inventory.ProbeProgress, Host: bad, Reason: bad, Done: i, Total: 20, Account: bad, Region: bad, Source: bad})
				}
				return errors.New(bad)
			}
			b.Apply = func(ctx context.Context, _ string, _ *int, talk Talk) (cutover.Result, error) {
				talk.Emit(cutover.Entry{Seq: 1000, Plan: c.Plan.ID, Digest: c.Plan.Digest, Event: cutover.RunBegan, Detail: bad, Operator: bad})
				talk.Emit(cutover.Entry{Seq: 1001, Plan: c.Plan.ID, Digest: c.Plan.Digest, Wave: 2, Event: cutover.Note, Detail: bad, Operator: bad})
				_, err := talk.Ask(ctx, cutover.Question{Wave: c.Plan.Waves[2], Text: bad, Hosts: c.Plan.Waves[2].Hosts})
				return cutover.Result{Outcome: cutover.Outcome(bad), Reason: bad}, errors.Join(err, errors.New(bad))
			}
			b.Drill = func(_ context.Context, _ *plan.Plan, talk Talk) (cutover.Result, error) {
				talk.Drill(DrillReport{bad, cutover.DrillLaunch, testNow})
				talk.Emit(cutover.Entry{Seq: 1, Event: cutover.Failed, Detail: bad})
				return cutover.Result{Outcome: cutover.OutcomePartly, Reason: bad}, nil
			}
			out := plainly(t, b, "2\nenter\nback\nr\ncommand\nf\nenter\nn\nback\nx\nback\nv\nback\n/"+bad+"\n\x1b[2J\x9b\xff\n"+
				"back\nl\nenter\nback\na\nenter\nback\ntab\nenter\nback\n3\nenter\nback\n4\nend\nenter\nback\n6\n?\nstages\n"+
				"5\nenter\nenter\nback\ntab\nback\ntab\nenter\nback\ntab\nenter\nback\nplan\napply\nno\nrollback\n2\nno\n"+
				"apply\n3f2a9c01d4e7\nwait\nb\nno\ns\nwait\ndrill\nno\ndrill\nd1d2d3d4d5d6\nwait\ninventory\nwait\nq\n")
			inOrder(t, out, "Apply plan 3f2a9c01d4e7?", "Roll back?", "Not known:", "Roll the wave back?", "Rehearse the way back?", "Drill of", "The inventory failed")
		})
	}
}

func TestPlainEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, wr := io.Pipe()
	defer wr.Close()
	began := make(chan struct{})
	w := &world{}
	b := w.backend()
	b.Inventory = func(ctx context.Context, _ func(inventory.Event)) error {
		close(began)
		<-ctx.Done()
		return ctx.Err()
	}
	result := make(chan error, 1)
	go func() { result <- RunPlain(ctx, b, Options{Input: r, Output: io.Discard}) }()
	if _, err := io.WriteString(wr, "inventory\n"); err != nil {
		t.Fatal(err)
	}
	<-began
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("RunPlain: %v, want context.Canceled", err)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestPlainSaysThatNobodyReads(t *testing.T) {
	w := &world{}
	err := RunPlain(t.Context(), w.backend(), Options{Input: strings.NewReader("2\n"), Output: brokenWriter{}})
	if err == nil || !strings.Contains(err.Error(), "broken pipe") {
		t.Errorf("RunPlain: %v", err)
	}
}

func TestPlainNamesAStageUnderWay(t *testing.T) {
	h := halfway(testPlan())
	snap, judged := testFleet(10)
	c := testCutover(h.plan, h.entries)
	c.Holder, c.Until = "bob@build", testNow.Add(43*time.Second)
	w := &world{snap: snap, judged: judged, cutover: c}
	inOrder(t, plainly(t, w.backend(), "5\nstages\n"), "Cutover: plan", "5 Cutover: [under way] 16/28")
}
