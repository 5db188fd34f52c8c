package sqlite_test

import (
	"runtime"
	"testing"

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
