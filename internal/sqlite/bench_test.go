package sqlite_test

import (
	"runtime"
	"testing"
	"time"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
)

const benchHosts = 10_000

func benchBatches() []fleet.Batch {
	var out []fleet.Batch
	for i := 0; i < benchHosts; i += 250 {
		out = append(out, fleetOf(i, 250))
	}
	return out
}

// BenchmarkSave stores hosts with node, connection, probe and five keys each,
// in batches of 250, with synchronous=FULL.
func BenchmarkSave(b *testing.B) {
	batches := benchBatches()
	for b.Loop() {
		take(b, open(b), batches...)
	}
	b.ReportMetric(float64(benchHosts)*float64(b.N)/b.Elapsed().Seconds(), "hosts/s")
}

// BenchmarkLoad reads them back, and tells what a loaded host costs in memory.
func BenchmarkLoad(b *testing.B) {
	db := open(b)
	id := take(b, db, benchBatches()...).ID
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var s *fleet.Snapshot
	for b.Loop() {
		s = load(b, db, id)
	}
	b.StopTimer()
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(s)
	b.ReportMetric(float64(benchHosts)*float64(b.N)/b.Elapsed().Seconds(), "hosts/s")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/benchHosts, "B/host")
}

// BenchmarkAppend measures one journal entry, on disk when it returns, and
// reading a journal of 100,000.
func BenchmarkAppend(b *testing.B) {
	db := open(b)
	fence, err := db.Acquire(b.Context(), "bench", time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("one", func(b *testing.B) {
		for b.Loop() {
			if _, err := db.Append(b.Context(), fence, entry("s", cutover.Intended)); err != nil {
				b.Fatal(err)
			}
		}
	})
	many := make([]cutover.Entry, 100_000)
	for i := range many {
		many[i] = entry("s", cutover.Intended)
	}
	if _, err := db.Append(b.Context(), fence, many...); err != nil {
		b.Fatal(err)
	}
	b.Run("read 100000", func(b *testing.B) {
		for b.Loop() {
			if got, err := db.Entries(b.Context(), ""); err != nil || len(got) < len(many) {
				b.Fatal(len(got), err)
			}
		}
	})
}
