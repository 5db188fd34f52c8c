package tui

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"ssm-migrate/internal/fleet"
)

func TestFilter(t *testing.T) {
	r := newRow(&fleet.Host{
		ID: "i-0abc", Account: testAccount, Region: testRegion, AZ: "eu-west-1a", VPC: "vpc-1", State: "running", Groups: []string{"sg-1", "sg-2"},
		Tags: map[string]string{"Name": "Web-1", "team": "shop floor", "az": "tagged"},
	}, fleet.HostVerdict{Verdict: fleet.VerdictBlocked, Cause: "agent-missing"}, []fleet.Finding{{Code: "agent-missing"}, {Code: "key-shared"}})
	tests := []struct {
		text string
		want bool
	}{
		{"", true}, {"   ", true}, {"web", true}, {"WEB-1", true}, {"db", false}, {"-db", true}, {"-web", false},
		{"status:blocked", true}, {"status=blocked", true}, {"status=block", false}, {"status:block", true}, {"status:ready", false}, {"-status:ready", true}, {"-ready", true}, {"-blocked", false},
		{"az=eu-west-1a", true}, {"az=eu-west-1", false}, {"az:eu-west-1", true}, {"region=eu-west-1", true}, {"REGION=EU-WEST-1", true}, {"vpc=vpc-1", true}, {"vpc=vpc-2", false},
		{"team=shop", false}, {`team="shop floor"`, true}, {`"shop floor"`, true}, {"Team=\"Shop Floor\"", true}, {"owner=ann", false}, {"-owner=ann", true}, {"owner=", true}, {"team=", false}, {"asg=", true}, {"-asg=", false},
		{"tag:az=tagged", true}, {"tag:az=eu", false}, {"tag:team", true}, {"tag:owner", false},
		{"cause=agent-missing", true}, {"finding=key-shared", true}, {"finding=key", false}, {"finding:key", true}, {"group=sg-2", true}, {"group=sg-3", false},
		{"web status:blocked", true}, {"web status:ready", false}, {"keys=?", true}, {"ip=", true},
		{"arn:aws:iam", false}, {"a::b", false}, {"-", true}, {"--", false}, {"=x", false}, {`"`, true},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			if got := parseFilter(tt.text).match(&r); got != tt.want {
				t.Errorf("%q matches: %v, want %v", tt.text, got, tt.want)
			}
		})
	}
}

func TestEveryFilterKeyHasAValue(t *testing.T) {
	snap, judged := testFleet(5)
	d := newData(snap, judged)
	for _, key := range filterKeys {
		found := slices.ContainsFunc(d.rows, func(r row) bool { return parseFilter("-" + key + "=").match(&r) })
		if !found {
			t.Errorf("no host of the test fleet has a value for %s=", key)
		}
	}
}

func FuzzFilter(f *testing.F) {
	for _, s := range []string{"web", "-web", "status:blocked", `a="b c"`, `"`, "-", "tag:a=b", "tag:", "=", ":"} {
		f.Add(s)
	}
	snap, judged := testFleet(9)
	d := newData(snap, judged)
	f.Fuzz(func(t *testing.T, text string) {
		terms := parseFilter(text)
		for i := range d.rows {
			all := true
			for _, term := range terms {
				turned := term
				turned.not = !term.not
				yes, no := filter{term}.match(&d.rows[i]), filter{turned}.match(&d.rows[i])
				if yes == no {
					t.Fatalf("%q: a term and its opposite both say %v", text, yes)
				}
				all = all && yes
			}
			if got := terms.match(&d.rows[i]); got != all {
				t.Fatalf("%q matches: %v, but its terms: %v", text, got, all)
			}
		}
	})
}

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
	d.press("/", "esc")
	d.mustShow("Fleet: 60 hosts")
}

func TestTheCursorStaysOnItsHost(t *testing.T) {
	d := stocked(t, 60, 80, 24).press("f").press(strings.Split(strings.Repeat("down ", 29)+"down", " ")...)
	s := d.m.screens[screenFleet].(*fleetScreen)
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
	d := stocked(t, 60, 300, 50).press("f")
	s := d.m.screens[screenFleet].(*fleetScreen)
	d.screen()
	seen := map[column]bool{}
	for range s.visible {
		seen[s.sort] = true
		for _, reverse := range []bool{false, true} {
			if !slices.IsSortedFunc(s.shown, func(a, b int32) int {
				c := compareRows(s.sort, &s.data.rows[a], &s.data.rows[b])
				if reverse {
					return -c
				}
				return c
			}) {
				t.Errorf("by %s, reverse %v: not sorted", columns[s.sort].title, reverse)
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

// A fleet of 100,000 hosts: what one key costs until the screen is drawn.
func BenchmarkFleet(b *testing.B) {
	const hosts = 100_000
	snap, judged := testFleet(hosts)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	prepared := newData(snap, judged)
	runtime.GC()
	runtime.ReadMemStats(&after)
	for _, size := range [][2]int{{80, 24}, {200, 50}} {
		m := newModel(b.Context(), Backend{}, Options{}, nil)
		m.width, m.height = size[0], size[1]
		m.loaded(loadedMsg{data: prepared})
		m.act(goTo{screenFleet})
		m.act(page{30})
		for _, bench := range []struct {
			name string
			in   []intent
		}{
			{"move", []intent{move{1}}},
			{"page", []intent{page{1}, page{-1}}},
			{"filter", []intent{setFilter{"status:blocked az=eu-west-1a"}, setFilter{""}}},
			{"sort", []intent{nextSort{}}},
		} {
			b.Run(fmt.Sprintf("%s/%dx%d", bench.name, size[0], size[1]), func(b *testing.B) {
				i := 0
				for b.Loop() {
					m.act(bench.in[i%len(bench.in)])
					if m.View().Content == "" {
						b.Fatal("nothing was drawn")
					}
					i++
				}
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/hosts, "bytes/host")
			})
		}
	}
}
