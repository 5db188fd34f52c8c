package cutover_test

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"ssm-migrate/internal/cutover"
)

// BenchmarkApply measures the executor itself: ports that answer at once. The
// peak of memory is what the process took beyond the plan and the fake fleet, whose
// journal in memory it contains.
func BenchmarkApply(b *testing.B) {
	for _, hosts := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprint(hosts), func(b *testing.B) {
			steps, peak := 0, 0.0
			for b.Loop() {
				f := newFixture(b, 1, hosts)
				f.unchecked = true
				f.plan.Policy.Soak = 0
				for i := range f.plan.Waves {
					f.plan.Waves[i].Soak = 0
					steps += len(f.plan.Waves[i].Steps)
				}
				debug.FreeOSMemory()
				before := resetPeak(b)
				res, err := f.apply(b.Context())
				want(b, res, err, cutover.OutcomeDone)
				peak = max(peak, resident(b, "VmHWM:")-before)
			}
			b.ReportMetric(float64(steps)/b.Elapsed().Seconds(), "steps/s")
			b.ReportMetric(peak, "peak-MiB")
		})
	}
}

// resetPeak forgets the peak of resident memory, and gives what is resident in MiB.
func resetPeak(b *testing.B) float64 {
	b.Helper()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		b.Fatal(err)
	}
	return resident(b, "VmRSS:")
}

// resident reads a line of the process' status in MiB.
func resident(b *testing.B, line string) float64 {
	b.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n"+line)
	var kib float64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		b.Fatalf("%s in /proc/self/status: %v", line, err)
	}
	return kib / 1024
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
