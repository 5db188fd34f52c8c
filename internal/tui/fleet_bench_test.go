package tui

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
)

const manyHosts = 100_000

// largeFleet is the fleet table of 100,000 hosts, with what it holds in memory
// for each of them on top of the snapshot.
func largeFleet(b *testing.B, w, h int) (*model, float64) {
	b.Helper()
	snap, judged := testFleet(manyHosts)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	m := newModel(b.Context(), Backend{}, Options{Now: time.Now}, nil)
	m.width, m.height = w, h
	settle(m, loadedMsg{data: newData(snap, judged)})
	m.act(goTo{screenFleet})
	m.act(page{30})
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(snap)
	return m, float64(after.HeapAlloc-before.HeapAlloc) / manyHosts
}

// settle handles a message and all that its commands bring.
func settle(m *model, msg tea.Msg) {
	_, cmd := m.Update(msg)
	if cmd == nil {
		return
	}
	switch msg := cmd().(type) {
	case nil:
	case tea.BatchMsg:
		for _, c := range msg {
			if c != nil {
				settle(m, c())
			}
		}
	default:
		settle(m, msg)
	}
}

// BenchmarkFleet is what a key costs until the screen is drawn, with 100,000
// hosts: Update and View, without what is done outside of the loop. It reports the
// median as well, and the memory that the table takes for a host.
func BenchmarkFleet(b *testing.B) {
	for _, size := range [][2]int{{80, 24}, {200, 50}, {300, 100}} {
		m, memory := largeFleet(b, size[0], size[1])
		for _, bench := range []struct {
			name string
			keys []tea.KeyPressMsg
		}{
			{"move", keys("j")}, {"page", keys("pgdown", "pgup")}, {"ends", keys("G", "g")}, {"mark", keys("space")}, {"markall", keys("*")}, {"sort", keys("s")}, {"reverse", keys("S")},
			{"filter", keys("/", "s", "t", "a", "t", "u", "s", ":", "b", "l", "esc")}, {"host", keys("enter", "esc")},
		} {
			b.Run(fmt.Sprintf("%s/%dx%d", bench.name, size[0], size[1]), func(b *testing.B) {
				var took []time.Duration
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					began := time.Now()
					m.Update(bench.keys[i%len(bench.keys)])
					if m.View().Content == "" {
						b.Fatal("nothing was drawn")
					}
					took = append(took, time.Since(began))
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
				b.ReportMetric(memory, "bytes/host")
			})
		}
	}
}

func keys(names ...string) []tea.KeyPressMsg {
	var out []tea.KeyPressMsg
	for _, n := range names {
		k := tea.KeyPressMsg{Code: namedKeys[n]}
		if n == "space" {
			k.Code, k.Text = tea.KeySpace, " "
		} else if k.Code == 0 {
			k.Code, k.Text = []rune(n)[0], n
		}
		out = append(out, k)
	}
	return out
}

// BenchmarkArrange is what is done outside of the loop: from a filter, an order
// or groups to the rows that are shown.
func BenchmarkArrange(b *testing.B) {
	snap, judged := testFleet(manyHosts)
	d := newData(snap, judged)
	order := sorted(d.rows, colVerdict, false)
	for _, bench := range []struct {
		name  string
		look  look
		order []int32
	}{
		{"word", look{filter: "web-12"}, order},
		{"terms", look{filter: "status:blocked az=eu-west-1a -cache"}, order},
		{"tag", look{filter: "team=shop"}, order},
		{"no-tag", look{filter: "tag:owner=ann"}, order},
		{"finding", look{filter: "finding:shared keys>3 age>30d"}, order},
		{"group", look{group: groupingCalled("az")}, order},
		{"group-tag", look{group: groupingCalled("tag:Name")}, order},
		{"sort-verdict", look{}, nil},
		{"sort-name", look{sort: colName}, nil},
		{"sort-keys", look{sort: colKeys}, nil},
	} {
		b.Run(bench.name, func(b *testing.B) {
			f, err := d.language.Parse(bench.look.filter, testNow)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				a, ok := request{data: d, look: bench.look, filter: f, order: bench.order}.arrange(func() bool { return false })
				if !ok || len(a.order) != manyHosts {
					b.Fatal("rows are missing")
				}
			}
		})
	}
}
