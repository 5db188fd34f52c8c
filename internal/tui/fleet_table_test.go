package tui

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"
	"pgregory.net/rapid"

	"ssm-migrate/internal/fleet"
)

// An arranging that was overtaken by another one is not shown, whichever is done
// first, and gives up by itself.
func TestLateArrangementsAreNotShown(t *testing.T) {
	d := stocked(t, 60, 80, 24).press("f")
	s := d.m.fleet()
	slow := s.setFilter("status:blocked")
	quick := s.setFilter("status:ready")
	d.mustShow("arranging …", "Fleet: 60 hosts")
	if msg := slow(); msg != nil {
		t.Errorf("what nobody waits for is done to the end: %T", msg)
	}
	d.run(quick)
	d.mustShow("36 of 60 hosts")
	d.mustNotShow("arranging")
	blocked := s.setFilter("status:blocked")
	late, ok := blocked().(arrangedMsg)
	if !ok {
		t.Fatal("nothing was arranged")
	}
	d.run(s.setFilter("status:unknown"))
	d.send(late)
	d.mustShow("1 of 60 hosts")
}

// While an order is made the table can be used, and what is opened is what was shown.
func TestTheTableCanBeUsedWhileItIsArranged(t *testing.T) {
	d := stocked(t, 60, 80, 24).press("f", "down", "down")
	s := d.m.fleet()
	id := s.current().host.ID
	cmd := s.sortBy(colName, true)
	d.press("enter")
	d.mustShow("host 3 of 60")
	if s.host.row.host.ID != id {
		t.Error("another host was opened than the one that was selected")
	}
	d.run(cmd)
	if s.host == nil || s.host.row.host.ID != id || s.current().host.ID != id {
		t.Error("the open host changed with the order")
	}
}

func TestMarksBelongToHosts(t *testing.T) {
	d := stocked(t, 60, 120, 40).press("f", "down", "space", "space")
	s := d.m.fleet()
	marked := func() []string {
		ids, _ := s.meant()
		return slices.Sorted(slices.Values(ids))
	}
	want := marked()
	if len(want) != 2 || s.marks.n != 2 {
		t.Fatalf("marked %v", want)
	}
	d.press("/").write("status:ready").press("enter")
	d.mustShow("36 of 60 hosts, 2 marked (2 not shown)")
	d.press("s", "S", "o").write("az").press("enter", "esc")
	if got := marked(); !slices.Equal(got, want) {
		t.Errorf("filter, order and groups changed the marks to %v", got)
	}
	d.press("1", "i")
	d.finish(nil)
	if d.press("f"); !slices.Equal(marked(), want) {
		t.Errorf("a new inventory changed the marks to %v", marked())
	}
	d.press("1", "i")
	d.world.snap, d.world.judged = testFleet(4)
	known := 0
	for _, h := range d.world.snap.Hosts {
		if slices.Contains(want, h.ID) {
			known++
		}
	}
	d.finish(nil)
	if d.press("f"); s.marks.n != known || len(s.marks.marked) > 4 {
		t.Errorf("%d marks are left, %d of the hosts", s.marks.n, known)
	}
	d.press("u", "*")
	d.mustShow("Fleet: 4 hosts in 3 groups by az, 4 marked")
	d.press("*")
	d.mustNotShow("marked,", "4 marked")
}

func TestMarksOfAFilterAreMarkedAtOnce(t *testing.T) {
	d := stocked(t, 60, 120, 40).press("f", "/").write("cause=agent-missing").press("enter", "*", "esc")
	d.mustShow("Fleet: 60 hosts, 11 marked")
	s := d.m.fleet()
	for i := range s.table.data.rows {
		if got := s.marks.has(int32(i)); got != (s.table.data.rows[i].cause == "agent-missing") {
			t.Errorf("host %d is marked: %v", i, got)
		}
	}
}

// Groups part the hosts: each is in one, the counts say so, and folding loses none.
func TestGroupsPartTheHosts(t *testing.T) {
	snap, judged := testFleet(200)
	d := newData(snap, judged)
	rapid.Check(t, func(t *rapid.T) {
		by := rapid.SampledFrom([]string{"status", "cause", "az", "vpc", "asg", "account", "region", "os", "tag:team", "tag:Name", "tag:nobody"}).Draw(t, "by")
		text := rapid.SampledFrom([]string{"", "status:blocked", "team=shop", "zzz"}).Draw(t, "filter")
		f, err := d.language.Parse(text, testNow)
		if err != nil {
			t.Fatal(err)
		}
		q := request{data: d, look: look{filter: text, sort: colName}, filter: f}
		plain, _ := q.arrange(func() bool { return false })
		q.look.group = groupingCalled(by)
		if q.look.group.String() != by {
			t.Fatalf("%s is read as %s", by, q.look.group)
		}
		a, _ := q.arrange(func() bool { return false })
		if !slices.Equal(slices.Sorted(slices.Values(a.shown)), slices.Sorted(slices.Values(plain.shown))) {
			t.Fatal("grouping changes which hosts are shown")
		}
		end, names := 0, map[string]bool{}
		for i, g := range a.groups {
			if g.from != end || g.to-g.from != g.hosts() || g.hosts() == 0 || names[g.name] || i > 0 && g.hosts() > a.groups[i-1].hosts() {
				t.Fatalf("group %+v after %d", g, end)
			}
			end, names[g.name] = g.to, true
			for n, r := range a.shown[g.from:g.to] {
				if got := q.look.group.of()(&d.rows[r]); got != g.name {
					t.Fatalf("host of group %q is in %q", got, g.name)
				}
				if n > 0 && compareRows(colName, &d.rows[a.shown[g.from+n-1]], &d.rows[r]) > 0 {
					t.Fatal("a group is not in order")
				}
			}
		}
		if end != len(a.shown) {
			t.Fatalf("the groups have %d of %d hosts", end, len(a.shown))
		}
	})
}

func TestGroupsUnfold(t *testing.T) {
	d := stocked(t, 60, 120, 40).press("f", "o").write("tag team").press("enter")
	d.mustShow("60 hosts in 2 groups by tag:team", "+ data", "+ shop", "30 hosts")
	d.press("down", "enter", "down", "down", "enter")
	d.mustShow("host 32 of 60")
	d.press("n")
	d.mustShow("host 33 of 60")
	d.press("esc", "up", "up", "up", "enter")
	d.mustShow("+ shop")
	d.press("o").write("nothing").press("enter")
	d.mustShow("Fleet: 60 hosts  ")
}

func TestViewsAreSavedAndShownAgain(t *testing.T) {
	d := stocked(t, 60, 120, 40).press("f", "v")
	d.mustShow("There is none yet. V in the table saves")
	d.press("esc", "/").write("status:blocked").press("enter", "s", "S", "o").write("az").press("enter", "V").write("to do").press("enter")
	d.mustShow("Saved the view “to do”")
	want := fleet.View{Name: "to do", Filter: "status:blocked", Sort: "name", Reverse: true, Group: "az"}
	if len(d.world.views) != 1 || d.world.views[0] != want {
		t.Fatalf("saved %+v", d.world.views)
	}
	shown := d.m.fleet().look
	d.press("o").write("nothing").press("enter", "esc", "s", "v", "enter")
	if got := d.m.fleet().look; got != shown {
		t.Errorf("shows %+v, saved was %+v", got, shown)
	}
	d.mustShow("23 of 60 hosts in 3 groups by az")
	// Another wizard on the same state file finds it.
	again := newDriver(t, d.world, 120, 40, Options{}).press("f", "v")
	again.mustShow("to do", "status:blocked, grouped by az, by name, reversed")
	again.press("ctrl+x")
	again.mustShow("Forgot the view “to do”")
	if len(d.world.views) != 0 {
		t.Errorf("left: %v", d.world.views)
	}
	again.press("V", "enter")
	if len(d.world.views) != 0 {
		t.Error("a view without a name was saved")
	}
	d.world.viewsErr = errors.New("disk full")
	again.press("V").write("x").press("enter")
	again.mustShow("The saved views: disk full")
}

func TestCommandsNameTheMarkedHosts(t *testing.T) {
	d := stocked(t, 60, 200, 50).press("f", "down", "space", "space")
	s := d.m.fleet()
	ids, _ := s.meant()
	d.press("x")
	line := "migrate prove " + strings.Join(ids, " ")
	d.mustShow(line)
	copied := s.picker.pick(line)()
	found := false
	for _, c := range copied.(tea.BatchMsg) {
		if msg := c(); fmt.Sprint(msg) == line {
			found = true
		}
	}
	if !found {
		t.Error("the command does not reach the clipboard")
	}
	d.press("enter")
	d.mustShow("Copied, where the terminal allows it: " + line)
	d.press("u", "/").write(`-cache name:'x "a b`).press("enter", "x", "down", "down")
	d.mustShow(`migrate hosts -- '-cache name:'\''x "a b'`)
	d.press("esc", "/", "ctrl+u", "enter", "*", "/").press("enter", "x")
	d.mustShow("migrate prove i-")
	snap, judged := testFleet(300)
	many := newDriver(t, &world{snap: snap, judged: judged}, 120, 40, Options{}).press("f", "*", "x")
	many.mustShow("too many for one command")
	many.press("enter")
	many.mustShow("300 marked")
}

// What is not an instance's ID never stands in a command.
func TestCommandsTakeNoForeignText(t *testing.T) {
	for id, want := range map[string]bool{"i-0abc": true, "mi-0abc": true, "": false, "i-": false, "i-0; rm -rf /": false, "i-$(x)": false, "-x": false, "i-0\x1b[2J": false} {
		if got := instanceID(id); got != want {
			t.Errorf("%q is an instance's ID: %v", id, got)
		}
	}
	snap, judged := testFleet(3)
	snap.Hosts[0].ID, judged.Hosts[0].Host = "$(reboot)", "$(reboot)"
	d := newDriver(t, &world{snap: snap, judged: judged}, 120, 40, Options{}).press("f", "*", "x")
	d.mustNotShow("reboot")
	d.mustShow("migrate prove i-")
}

func TestKeysAreCompleted(t *testing.T) {
	d := stocked(t, 60, 120, 40).press("f", "/").write("sta")
	d.mustShow("tab completes: status= state=", "Fleet: 60 hosts")
	d.write("tu").press("tab")
	d.mustShow("/ status=")
	d.write("blocked -te").press("tab").write("shop")
	d.mustShow("/ status=blocked -team=shop", "of 60 hosts")
	d.write(" zzz").press("tab").press("enter")
	d.mustShow("No host passes the filter")
}

// What cannot be read is said and not kept; the rest of the filter holds.
func TestWrongFiltersAreSaid(t *testing.T) {
	d := stocked(t, 60, 120, 40).press("f", "/").write("status:blocked satus=x").press("enter")
	d.mustShow("did you mean status", "23 of 60 hosts", "Change the filter")
	if d.m.context() != ctxFilter {
		t.Error("a filter that cannot be read was kept")
	}
	d.press("esc")
	d.mustShow("Fleet: 60 hosts")
	d.mustNotShow("did you mean")
}

func TestTheMouseSelectsOpensAndSorts(t *testing.T) {
	d := stocked(t, 60, 120, 40).press("f")
	s := d.m.fleet()
	d.screen()
	d.run(s.click(5, tableTop+4))
	if s.list.cursor != 4 {
		t.Errorf("the cursor is on line %d", s.list.cursor)
	}
	d.run(s.click(5, tableTop+4))
	d.mustShow("host 5 of 60")
	d.press("esc")
	d.run(s.click(markW+columns[colVerdict].max+2, tableTop-1))
	if s.look.sort != colName || s.look.reverse {
		t.Errorf("sorted by %v, reversed %v", s.look.sort, s.look.reverse)
	}
	d.run(s.click(markW+columns[colVerdict].max+2, tableTop-1))
	if s.look.sort != colName || !s.look.reverse {
		t.Errorf("sorted by %v, reversed %v", s.look.sort, s.look.reverse)
	}
	for _, at := range [][2]int{{0, 0}, {5, 1}, {5, 39}, {-3, 6}, {500, 6}, {1, tableTop - 1}} {
		d.run(s.click(at[0], at[1]))
	}
	d.press("o", "esc", "/").write("zzz")
	d.run(s.click(5, tableTop))
	d.mustShow("No host passes")
}

// In a wide window the selected host's causes stand beside the table and follow
// the cursor; in a narrow one enter shows them.
func TestDetailsStandBesideAWideTable(t *testing.T) {
	d := stocked(t, 60, 160, 40).press("f")
	d.mustShow("Why: the root cause", "✗ Role batch")
	d.press("end")
	d.mustNotShow("✗ Role batch")
	d.mustShow(d.m.fleet().current().name, "Instance")
	d.press("d")
	d.mustNotShow("Instance")
	narrow := stocked(t, 60, 159, 40).press("f")
	narrow.mustNotShow("Why: the root cause")
	narrow.press("enter")
	narrow.mustShow("Why: the root cause")
}

// No filter that is typed breaks the screen, at any size.
func TestAnythingMayBeTyped(t *testing.T) {
	snap, judged := testFleet(30)
	w := &world{snap: snap, judged: judged}
	rapid.Check(t, func(rt *rapid.T) {
		d := newDriver(t, w, 80, 24, Options{}).press("f", "/")
		d.send(pasted(rapid.OneOf(rapid.String(), rapid.StringMatching(`(-?[a-z]{0,6}[=:<>]?"?[a-z0-9]{0,3} ?){0,4}`)).Draw(rt, "filter")))
		mustBeHarmless(t, "typed", d.m.View().Content)
		d.press("enter", "esc", "o", "down", "enter")
		mustBeHarmless(t, "grouped", d.m.View().Content)
	})
}
