package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"ssm-migrate/internal/simfleet"
	"ssm-migrate/internal/sqlite"
)

// A newcomer's first minutes: the real program, the simulated fleet, a real
// terminal of 80 by 24.
func TestDemoWizardInATerminal(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := newScreen(t, fmt.Sprintf("%s=1 HOME=%s %s demo --dir %s --instances 24 --no-throttle; echo exit code $?", asMigrate, t.TempDir(), exe, t.TempDir()))
	s.expect("DEMO", "Press enter to take the inventory", "6 Done", "after 5")
	s.press("Enter")
	s.expect("24 listed", "for Readiness")
	s.press("2")
	s.expect("What stands in the way", "ready", "blocked", "r report")
	s.dialog("!", "Escape", "Break something in the simulated fleet?")
	s.press("f")
	s.expect("Fleet: 24 hosts", "VERDICT")
	s.press("/")
	s.press("-l", "status:ready")
	s.press("Enter")
	s.expect("status:ready", "✓ ready")
	if now := s.tmux("capture-pane", "-p", "-t", "w"); strings.Contains(now, "✗ blocked ") {
		t.Errorf("the filter lets blocked hosts through:\n%s", now)
	}
	s.press("Enter")
	s.expect("host 1 of", "Findings")
	s.tmux("resize-window", "-t", "w", "-x", "120", "-y", "40")
	s.expect(strings.Repeat("─", 90), "subnet-")
	s.press("r")
	s.expect("report.html")
	s.press("?")
	s.expect("The language of filters")
	s.press("Escape")
	s.expect("n next host") // a key sent at once would read as alt and that key
	s.press("l")
	s.expect("who comes in over SSH")
	s.press("a")
	s.expect("Access: people")
	s.press("q")
	s.expect("exit code 0")
}

// The whole way: from the inventory to the end and back by a rollback, through every
// dialog's no, with a wizard that is killed in each stage.
func TestTheWholeWayInATerminal(t *testing.T) {
	if !*long {
		t.Skip("it takes a minute or more: make long runs it")
	}
	t.Parallel()
	l := newLead(t, 3)
	l.expect("Press enter to take the inventory", "Risk  no host closed")
	l.takesInventory()
	l.looksAround()
	for _, stage := range [][2]string{{"1", "3 listed"}, {"2", "What stands in the way"}, {"3", "The fixes that Readiness names"}, {"4", "no bastion group yet"}, {"6", "Nothing has been done yet"}, {"5", "Press enter to make a plan"}} {
		l.stage(stage[0], stage[1])
		l.killed()
		l.expect(stage[1])
	}
	id := l.plans()
	l.applies(id)
	l.drills()
	l.takesBack(id)
	l.press("q")
	l.expect(endedWith + "0")
}

// takesInventory is stage 1. One source does not answer as long as its dialogs are
// tried, and the wizard dies meanwhile.
func (l *lead) takesInventory() {
	l.t.Helper()
	l.demo.faults.Set(simfleet.Fault{Service: "ec2", Action: "DescribeVpcs", Delay: time.Hour})
	l.press("Enter")
	l.expect("running for", " 3 of 3")
	l.dialog("x", "n", "Stop the inventory?", "Stopping changes nothing")
	l.dialog("x", "Escape", "Stop the inventory?")
	l.dialog("q", "n", "Stop it and leave?")
	l.dialog("C-c", "Escape", "Stop it and leave?")
	l.killed()
	l.expect("none yet", "Press enter to take the inventory")
	l.demo.faults.Set()
	l.stage("Enter", "running for")
	l.expect("3 listed", "for Readiness")
}

// looksAround opens and leaves what can be looked at without a plan.
func (l *lead) looksAround() {
	l.t.Helper()
	l.stage("2", "What stands in the way")
	l.dialog(":", "Escape", "Do: ", "Inventory: show it")
	l.dialog("C-p", "Escape", "Do: ", "Inventory: show it")
	l.dialog("?", "Escape", "Everywhere")
	l.dialog("?", "q", "Everywhere")
	l.dialog("f", "Escape", "Fleet: 3 hosts")
	l.press("End")
	l.expect("▸!")
	l.dialog("Enter", "Escape", "Press esc to go back")
	l.dialog("a", "Escape", "Access: people")
	l.press("l")
	l.expect("who comes in over SSH")
	l.dialog("Enter", "Escape", "logs in by")
	l.dialog("a", "Escape", "Access: people")
	l.press("f")
	l.expect("Fleet: 3 hosts")
	l.dialog("/", "Escape", "the table follows as you type", "enter keep")
	l.press("/")
	l.expect("enter keep")
	l.press("-l", "--", "-zzz")
	l.press("Enter")
	l.expect("/ -zzz", "enter host")
	l.dialog("/", "Escape", "enter keep")
	l.dialog("o", "Escape", "Group the hosts by")
	l.dialog("v", "Escape", "Saved views", "There is none yet")
	l.dialog("V", "Escape", "Name of this view")
	l.dialog("x", "Escape", "Commands", "migrate prove")
	l.dialog("Enter", "Escape", "host 1 of 3")
}

// plans makes a plan and opens and leaves what there is of it. A wizard that dies on
// any of its stages shows the plan again.
func (l *lead) plans() (id string) {
	l.t.Helper()
	l.stage("Enter", "Not begun: nothing has been changed")
	found := regexp.MustCompile("plan ([0-9a-f]{12})").FindStringSubmatch(l.expect("Not begun: nothing has been changed", "canary"))
	if found == nil {
		l.t.Fatal("the screen names no plan")
	}
	id = found[1]
	l.press("5")
	l.gone("is made and stored")
	l.dialog("A", "Escape", "Apply plan "+id, "$ migrate apply "+id)
	l.dialog("Enter", "Escape", "Wave 0, foundation", "Steps ◂")
	l.press("Enter")
	l.expect("Wave 0, foundation")
	l.dialog("Enter", "Escape", "Press esc to go back")
	l.dialog("A", "Escape", "Apply plan "+id)
	l.press("Escape")
	l.gone("Wave 0, foundation")
	for _, stage := range [][2]string{{"3", "plan " + id}, {"4", "no bastion group yet"}} {
		l.stage(stage[0], stage[1])
		l.killed()
		l.expect(stage[1])
		l.stage("Enter", "Press esc to go back")
		l.press("Escape")
		l.gone("Press esc to go back")
	}
	l.stage("5", "Not begun: nothing has been changed")
	l.edits(id)
	return id
}

// edits moves a host to another wave and opens and leaves what the plan's editor
// asks; the plan stays as it is.
func (l *lead) edits(id string) {
	l.t.Helper()
	plans := l.stored()
	l.dialog("e", "Escape", "Waves of plan "+id, "nothing moved")
	l.press("e")
	l.expect("Waves of plan "+id, "nothing moved")
	l.press("J")
	l.expect("1 host moved")
	l.dialog("2", "Escape", "to wave (1 to ", "enter move")
	l.dialog("/", "Escape", "enter filter")
	l.dialog("Enter", "Escape", "Preview: plan "+id, "enter store it")
	l.dialog("Escape", "n", "Leave without making the new plan?", "1 host moved")
	l.press("Escape")
	l.expect("Leave without making the new plan?")
	l.press("y")
	l.expect("Not begun: nothing has been changed")
	if now := l.stored(); now != plans {
		l.t.Errorf("an edit that nobody has stored left %d plans in the state file", now-plans)
	}
}

// applies is stage 5: the canary, with a pause in which the wizard dies, then the rest.
func (l *lead) applies(id string) {
	l.t.Helper()
	l.press("A")
	l.expect("Type " + id)
	l.press("-l", "yes")
	l.press("Enter")
	l.expect("No. Type " + id)
	l.press("Down")
	l.agree("canary")
	l.until("no step was done", regexp.MustCompile(`Steps .* [1-9]\d* of \d+`).MatchString)
	l.press("p")
	l.expect("PAUSED: no step begins before r")
	l.press("5")
	l.gone("It pauses when")
	l.dialog("S", "n", "Stop the run?")
	l.dialog("S", "Escape", "Stop the run?")
	l.dialog("B", "Escape", "Roll back?")
	l.dialog("q", "n", "Stop it and")
	l.dialog("C-c", "Escape", "Stop it and")
	l.killed()
	l.expect("aused; run by", "Next  Watch") // until the lease of the dead has run out
	l.leaseOut()
	l.stage("5", "broken off")
	l.expect("Press A to go on, or B to take it back")
	l.dialog("B", "Escape", "Roll back?")
	l.press("Tab")
	l.expect("Journal, newest first ◂")
	l.dialog("Enter", "Escape", "Journal entry", "Press esc to go back")
	l.press("A")
	l.agree(id)
	l.press("r") // the pause was wished, whoever runs it
	l.expect("Press 6 for what has been reached")
}

// drills is stage 4: a drill that is not agreed to, one in which the wizard dies, and
// its end.
func (l *lead) drills() {
	l.t.Helper()
	l.press("4")
	l.expect("proved into 3 of 3 hosts")
	plans := l.stored()
	l.dialog("D", "Escape", "Rehearse the way back?", "migrate recovery drill --yes")
	if now := l.stored(); now != plans {
		l.t.Errorf("a drill that nobody has agreed to left %d plans in the state file", now-plans)
	}
	l.demo.faults.Set(simfleet.Fault{Service: "autoscaling", Action: "UpdateAutoScalingGroup", Delay: time.Hour})
	l.press("D")
	drill := regexp.MustCompile("Type ([0-9a-f]{12})").FindStringSubmatch(l.expect("Rehearse the way back?", "Type "))
	if drill == nil {
		l.t.Fatal("the dialog names no plan")
	}
	l.agree(drill[1])
	l.expect("Drill "+drill[1], "under way", "… launch")
	l.dialog("q", "n", "A drill is under way. Stop it and leave?")
	l.killed()
	l.demo.faults.Set()
	l.expect("VPC AND HOST")
	l.leaseOut()
	l.stage("5", "Press 6 for what has been reached")
	l.stage("4", "A drill was broken off (plan "+drill[1])
	l.press("D")
	l.agree(drill[1])
	l.expect("The drill is done in")
}

// stored is how many plans the state file has.
func (l *lead) stored() int {
	l.t.Helper()
	db, err := sqlite.Open(l.t.Context(), l.demo.db())
	if err != nil {
		l.t.Fatal(err)
	}
	defer db.Close()
	plans, err := db.Plans(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	return len(plans)
}

// takesBack is stage 6, and all the way back, with a wizard that dies on the way.
func (l *lead) takesBack(id string) {
	l.t.Helper()
	l.press("6")
	l.expect("at its end", "hosts closed")
	l.killed()
	l.expect("at its end", "hosts closed")
	l.stage("5", "Press 6 for what has been reached")
	l.demo.faults.Set(simfleet.Fault{Service: "ec2", Action: "AuthorizeSecurityGroupIngress", Delay: time.Hour})
	whole := func() {
		l.t.Helper()
		l.press("B")
		l.expect("Roll back?")
		for range 3 {
			l.press("Down")
		}
		l.expect("● the whole plan", "--all")
		l.agree(id)
	}
	whole()
	l.expect("Rolling back for")
	l.press("q")
	l.expect("Stop it and")
	l.press("n")
	l.gone("Stop it and") // what is below goes on meanwhile
	l.killed()
	l.demo.faults.Set()
	l.leaseOut()
	l.stage("5", "broken off")
	whole()
	l.expect("↶ Rolled back.", "keys of 0 of 3 hosts", "no host closed")
}

// A terminal that can only write gets the wizard line by line, and is told so.
func TestADumbTerminalGetsLines(t *testing.T) {
	t.Parallel()
	out, err := onPTY(t, "dumb", "2\nq\n", "wizard", "--db", filepath.Join(t.TempDir(), "m.db"))
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, want := range []string{"This terminal (TERM=dumb) cannot show the wizard's screens", "Stage 1 of 6, Inventory", "Stage 2 of 6, Readiness"} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
	if strings.ContainsRune(out, '\x1b') {
		t.Errorf("the output has escape sequences: %q", out)
	}
}
