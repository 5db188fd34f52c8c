package tui

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/inventory"
	"ssm-migrate/internal/plan"
)

// named gives hosts, people and steps the names that their owners chose.
func named(snap *fleet.Snapshot, judged *fleet.Assessment, c *Cutover, name func(i int) string) {
	for i := range snap.Hosts {
		snap.Hosts[i].Tags = map[string]string{"Name": name(i)}
	}
	for i := range judged.Ledger.Consumers {
		judged.Ledger.Consumers[i].Owner, judged.Ledger.Consumers[i].Comment = name(i), name(i)
	}
	for i := range judged.Parity.People {
		judged.Parity.People[i].Person = name(i)
	}
	for i := range judged.Operators {
		judged.Operators[i].ARN = name(i)
	}
	for h := range c.Names {
		c.Names[h] = name(0)
	}
	for i := range c.Recovery {
		for j := range c.Recovery[i].Hosts {
			c.Recovery[i].Hosts[j].Name = name(j)
		}
	}
	for i := range c.Plan.Waves {
		c.Plan.Waves[i].Name = name(i)
		for j := range c.Plan.Waves[i].Steps {
			c.Plan.Waves[i].Steps[j].Title = name(j)
		}
	}
}

// columnsOf are the cells at which what does not depend on names begins, line by line.
func columnsOf(shown string, marks []string) []string {
	var out []string
	for n, l := range strings.Split(shown, "\n") {
		for _, m := range marks {
			if before, _, found := strings.Cut(l, m); found {
				out = append(out, fmt.Sprintf("%d: %s at %d", n+1, m, ansi.StringWidthWc(before)))
			}
		}
	}
	return out
}

// Whatever things are called, the other columns of a table stay where they are.
func TestColumnsStayAlignedWhateverThingsAreCalled(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine shows the race detector nothing")
	}
	for _, table := range []struct {
		name  string
		keys  []string
		marks []string
	}{
		{"fleet", []string{"f"}, []string{"CAUSE", "ZONE", "eu-west-1a", "eu-west-1b", "eu-west-1c", "ami-", "role-lacks", "agent-miss"}},
		{"groups", []string{"f", "o", "down", "enter", "enter"}, []string{"eu-west-1a", "eu-west-1b", "ready"}},
		{"ledger", []string{"l"}, []string{"STATUS", "USE", "active", "waived", "silent", "shell", "rsync"}},
		{"access", []string{"a"}, []string{"KEEPS", "LOSES", "UNKNOWN", " 12 ", " 0 "}},
		{"operators", []string{"a", "tab"}, []string{"START", "END", "RUN", "PREFS", "60", "50+4?"}},
		{"recovery", []string{"4"}, []string{"KEY", "DOOR", "LOGIN", "60 min ago", "never"}},
		{"waves", []string{"5"}, []string{"HOSTS", "STATE", "PREP", "QUAR", "CLOSE", "1/12", "4/4", "done", "under way"}},
		{"wave's hosts", []string{"5", "end", "enter", "tab"}, []string{"STEPS", "DOORS", "2/5", "1/2", "0/2"}},
		{"steps", []string{"5", "end", "enter"}, []string{"prep", "prove", "quar", "to come", "begun"}},
		{"prepare", []string{"3"}, []string{"prep", "done"}},
	} {
		for _, size := range [][2]int{{80, 24}, {200, 50}} {
			shown := func(name func(int) string) []string {
				snap, judged := testFleet(12)
				c := testCutover(testPlan(), halfway(testPlan()).entries)
				named(snap, judged, c, name)
				d := newDriver(t, &world{snap: snap, judged: judged, cutover: c}, size[0], size[1], Options{}).press(table.keys...)
				return columnsOf(d.screen(), table.marks)
			}
			for kind, foreign := range hostileTexts {
				// A number before it keeps the order of the rows; plain letters, as wide, the widths.
				plain := strings.Repeat("x", width(clean("n"+foreign))-1)
				want := shown(func(i int) string { return fmt.Sprintf("n%02d", i) + plain })
				if len(want) == 0 {
					t.Errorf("%s %v: nothing is looked at", table.name, size)
				}
				if got := shown(func(i int) string { return fmt.Sprintf("n%02d", i) + foreign }); !slices.Equal(got, want) {
					t.Errorf("%s %v, %s names: the columns move from\n%s\nto\n%s", table.name, size, kind, strings.Join(want, "\n"), strings.Join(got, "\n"))
				}
			}
		}
	}
}

// counting notes every call of a backend.
func counting(b Backend, calls *[]string) Backend {
	note := func(name string) { *calls = append(*calls, name) }
	out := b
	out.Load = func(ctx context.Context) (*fleet.Snapshot, *fleet.Assessment, error) {
		note("Load")
		return b.Load(ctx)
	}
	out.Cutover = func(ctx context.Context, id string) (*Cutover, error) { note("Cutover"); return b.Cutover(ctx, id) }
	out.Views = func(ctx context.Context) ([]fleet.View, error) { note("Views"); return b.Views(ctx) }
	out.Holder = func(context.Context) (string, error) { note("Holder"); return "", nil }
	out.Report = func(ctx context.Context) (string, error) { note("Report"); return b.Report(ctx) }
	out.Runbook = func(ctx context.Context) (string, error) { note("Runbook"); return b.Runbook(ctx) }
	out.Inventory = func(ctx context.Context, emit func(inventory.Event)) error {
		note("Inventory")
		return b.Inventory(ctx, emit)
	}
	out.MakePlan = func(ctx context.Context) (string, error) { note("MakePlan"); return b.MakePlan(ctx) }
	out.Apply = func(ctx context.Context, id string, last *int, t Talk) (cutover.Result, error) {
		note("Apply")
		return b.Apply(ctx, id, last, t)
	}
	out.Rollback = func(ctx context.Context, id string, s cutover.Scope, t Talk) (cutover.Result, error) {
		note("Rollback")
		return b.Rollback(ctx, id, s, t)
	}
	out.SaveView = func(ctx context.Context, v fleet.View) error { note("SaveView"); return b.SaveView(ctx, v) }
	out.DropView = func(ctx context.Context, name string) error { note("DropView"); return b.DropView(ctx, name) }
	out.PlanDrill = func(ctx context.Context) (*plan.Plan, error) { note("PlanDrill"); return b.PlanDrill(ctx) }
	out.Drill = func(ctx context.Context, p *plan.Plan, t Talk) (cutover.Result, error) {
		note("Drill")
		return b.Drill(ctx, p, t)
	}
	out.Keep = func(ctx context.Context, stage string) error { note("Keep"); return b.Keep(ctx, stage) }
	out.Wish = func(ctx context.Context, id string, change func(cutover.Wish) cutover.Wish) (cutover.Wish, error) {
		note("Wish")
		return b.Wish(ctx, id, change)
	}
	return out
}

// Scrolling through a long table asks the backend, which is where the database is, for
// nothing at all: not for a row, not for a page.
func TestScrollingAsksForNothing(t *testing.T) {
	snap, judged := testFleet(2000)
	for n, screen := range [][]string{{"f"}, {"f", "o", "down", "down", "enter", "enter"}, {"f", "enter"}, {"2"}, {"l"}, {"a"}, {"3"}, {"4"}, {"5"}, {"5", "end", "enter"}} {
		lines := 1000
		if n > 1 {
			lines = 50 // of texts and tables that are shorter
		}
		d := newDriver(t, &world{snap: snap, judged: judged, cutover: testCutover(manyWaves(), nil)}, 80, 24, Options{}).press(screen...)
		var calls []string
		d.m.env.backend = counting(d.m.env.backend, &calls)
		before := d.screen()
		for range lines {
			d.press("down")
		}
		d.press("pgdown", "pgup", "end", "home")
		for range 20 {
			d.press("pgdown")
		}
		if len(calls) > 0 {
			t.Errorf("after %v: %d lines asked for %q", screen, lines, calls)
		}
		if d.screen() == before {
			t.Errorf("after %v nothing has moved:\n%s", screen, before)
		}
	}
}
