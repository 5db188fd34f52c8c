package tui

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"ssm-migrate/internal/fleet"
)

// BenchmarkPeople is what one key costs on the ledger and on the access
// screen: a fleet with a consumer for each host, none of them active, 1,000
// people and 1,000 principals. The time must not grow with the fleet.
func BenchmarkPeople(b *testing.B) {
	for _, hosts := range []int{10_000, 100_000} {
		d := busyFleet(b, hosts)
		m := newModel(b.Context(), Backend{}, Options{}, nil)
		m.width, m.height = 200, 50
		m.loaded(loadedMsg{data: d})
		for _, bench := range []struct {
			name  string
			setUp []intent
			in    []intent
		}{
			{"ledger/move", []intent{goTo{screenLedger}, page{3}}, []intent{move{1}, move{-1}}},
			{"ledger/page", []intent{goTo{screenLedger}}, []intent{page{1}, page{-1}}},
			{"ledger/read", []intent{goTo{screenLedger}, toEdge{}, open{}}, []intent{move{1}, move{-1}}},
			{"access/move", []intent{goTo{screenAccess}, page{3}}, []intent{move{1}, move{-1}}},
			{"access/read", []intent{goTo{screenAccess}, toEdge{}, open{}}, []intent{move{1}, move{-1}}},
			{"operators/move", []intent{goTo{screenAccess}, nextPane{}, page{3}}, []intent{move{1}, move{-1}}},
		} {
			b.Run(fmt.Sprintf("%s/hosts=%d", bench.name, hosts), func(b *testing.B) {
				m.loaded(loadedMsg{data: d})
				for _, in := range bench.setUp {
					m.act(in)
				}
				i := 0
				for b.Loop() {
					m.act(bench.in[i%len(bench.in)])
					if m.View().Content == "" {
						b.Fatal("nothing was drawn")
					}
					i++
				}
			})
		}
	}
}

// BenchmarkNewData prepares a snapshot once after loading.
func BenchmarkNewData(b *testing.B) {
	for _, hosts := range []int{10_000, 100_000} {
		b.Run(fmt.Sprintf("hosts=%d", hosts), func(b *testing.B) {
			d := busyFleet(b, hosts)
			b.ReportAllocs()
			for b.Loop() {
				if len(newData(d.snap, d.judged).rows) != hosts {
					b.Fatal("hosts are missing")
				}
			}
		})
	}
}

func busyFleet(tb testing.TB, hosts int) *data {
	tb.Helper()
	snap, judged := testFleet(hosts)
	silent, person, operator := judged.Ledger.Consumers[2], judged.Parity.People[1], judged.Operators[0]
	judged.Ledger.Consumers = nil
	for i := range hosts {
		c := silent
		c.Owner, c.Comment, c.Hosts = "", fmt.Sprintf("person%d@laptop", i), []string{judged.Hosts[i].Host}
		if i == 0 {
			for _, h := range judged.Hosts {
				c.Hosts = append(c.Hosts, h.Host)
			}
		}
		judged.Ledger.Consumers = append(judged.Ledger.Consumers, c)
	}
	judged.Parity.People = slices.Repeat([]fleet.PersonParity{person}, 1000)
	judged.Operators = slices.Repeat([]fleet.Operator{operator}, 1000)
	if len(judged.Parity.People[0].Cells) != hosts || strings.Count(judged.Parity.People[0].Cells, "l") == 0 {
		tb.Fatal("the fixture's people lose no hosts")
	}
	return newData(snap, judged)
}
