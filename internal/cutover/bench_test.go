package cutover_test

import (
	"fmt"
	"runtime"
	"testing"

	"ssm-migrate/internal/cutover"
)

// BenchmarkApply measures the executor itself: ports that answer at once.
func BenchmarkApply(b *testing.B) {
	for _, hosts := range []int{100, 1000} {
		b.Run(fmt.Sprint(hosts), func(b *testing.B) {
			steps := 0
			for b.Loop() {
				f := newFixture(b, 1, hosts)
				f.unchecked = true
				f.plan.Policy.Soak = 0
				for i := range f.plan.Waves {
					f.plan.Waves[i].Soak = 0
					steps += len(f.plan.Waves[i].Steps)
				}
				res, err := f.apply(b.Context())
				want(b, res, err, cutover.OutcomeDone)
			}
			b.ReportMetric(float64(steps)/b.Elapsed().Seconds(), "steps/s")
		})
	}
}

// BenchmarkPlanInMemory measures what an executor of a plan for 10,000 hosts holds.
func BenchmarkPlanInMemory(b *testing.B) {
	const hosts = 10_000
	for b.Loop() {
		f := newFixture(b, hosts)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		x := f.executor("ops")
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/hosts, "B/host")
		runtime.KeepAlive(x)
	}
}
