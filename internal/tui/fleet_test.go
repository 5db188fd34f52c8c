package tui

import (
	"slices"
	"strings"
	"testing"
)

func TestTypingFiltersAsOneTypes(t *testing.T) {
	d := stocked(t, 60, 80, 24).press("f", "/").write("status:blocked ")
	d.mustShow("23 of 60 hosts")
	d.send(pasted("az=eu-west-1a\n"))
	d.mustShow("8 of 60 hosts", "/ status:blocked az=eu-west-1a")
	d.press("ctrl+w").write("q")
	d.mustShow("No host passes the filter")
	d.press("backspace", "enter")
	d.mustShow("23 of 60 hosts")
	d.press("q")
	if !d.quit {
		t.Error("after enter, keys are not keys again")
	}
	d.press("/").write("team=shop").press("esc")
	d.mustShow("23 of 60 hosts")
	d.press("esc")
	d.mustShow("Fleet: 60 hosts")
}

func TestTheCursorStaysOnItsHost(t *testing.T) {
	d := stocked(t, 60, 80, 24).press("f").press(strings.Split(strings.Repeat("down ", 29)+"down", " ")...)
	s := d.m.fleet()
	id := s.current().host.ID
	still := func(after string) {
		t.Helper()
		if got := s.current(); got == nil || got.host.ID != id {
			t.Errorf("after %s the cursor is on another host", after)
		}
		d.mustShow(id)
	}
	d.press("S")
	still("reversing")
	d.press("s")
	still("sorting")
	d.press("/").write("status:" + s.current().verdict.String())
	still("filtering")
	d.press("esc")
	still("dropping the filter")
	d.press("enter", "1", "i")
	d.finish(nil)
	d.press("f")
	still("a new inventory")
	if d.m.context() != ctxHost {
		t.Error("the open host was closed")
	}
	d.press("1", "i")
	d.world.snap, d.world.judged = testFleet(1)
	d.finish(nil)
	d.press("f")
	d.mustShow("Fleet: 1 host")
}

func TestSortsByEveryVisibleColumn(t *testing.T) {
	d := stocked(t, 60, 300, 50).press("f", "d")
	s := d.m.fleet()
	d.screen()
	seen := map[column]bool{}
	for range s.visible {
		seen[s.look.sort] = true
		for range 2 {
			if !slices.IsSortedFunc(s.table.shown, func(a, b int32) int {
				c := compareRows(s.look.sort, &s.table.data.rows[a], &s.table.data.rows[b])
				if s.look.reverse {
					return -c
				}
				return c
			}) {
				t.Errorf("by %s, reverse %v: not sorted", columns[s.look.sort].title, s.look.reverse)
			}
			d.press("S")
		}
		d.press("s")
	}
	if len(seen) != len(s.visible) || len(seen) != int(columnCount) {
		t.Errorf("sorted by %d columns, %d are visible, %d exist", len(seen), len(s.visible), columnCount)
	}
}

func TestColumnsAreChosenByWidth(t *testing.T) {
	snap, judged := testFleet(60)
	d := newData(snap, judged)
	before := 0
	for w := 40; w <= 300; w++ {
		total := -1
		for _, p := range layout(d.widths, w) {
			total += p.width + 1
		}
		if total > w {
			t.Errorf("at %d cells the columns take %d", w, total)
		}
		n := len(layout(d.widths, w))
		if n < before {
			t.Errorf("at %d cells there are fewer columns than at %d", w, w-1)
		}
		before = n
	}
	if before != int(columnCount) {
		t.Errorf("at 300 cells %d of %d columns are shown", before, columnCount)
	}
}

func TestCompareNatural(t *testing.T) {
	inOrder := []string{"", "3.1.9", "3.1.10", "3.3.131.0", "3.3.4851.0", "A", "a1", "a2", "a10", "a10b", "b"}
	for i, a := range inOrder {
		for j, b := range inOrder {
			got := compareNatural(a, b)
			if (i < j) != (got < 0) || (i > j) != (got > 0) {
				t.Errorf("compareNatural(%q, %q) = %d", a, b, got)
			}
		}
	}
	if compareNatural("web-01", "WEB-1") != 0 {
		t.Error("case and leading zeros matter")
	}
}
