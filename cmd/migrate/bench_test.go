package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// benchSim serves a fleet from this process; the program under measurement is
// a process of its own.
func benchSim(b *testing.B, o demoOptions) *demoFleet {
	b.Helper()
	o.addr, o.dir, o.noThrottle = "127.0.0.1:0", b.TempDir(), true
	d, err := startDemo(o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(d.stop)
	for _, name := range foreign {
		b.Setenv(name, "")
		if err := os.Unsetenv(name); err != nil {
			b.Fatal(err)
		}
	}
	for _, v := range d.env() {
		b.Setenv(v.name, v.value)
	}
	b.Setenv("HOME", b.TempDir())
	b.Setenv("SSH_AUTH_SOCK", "")
	return d
}

// benchProgram runs the program b.N times and reports its processor time per
// host and its peak memory.
func benchProgram(b *testing.B, hosts int, args ...string) {
	b.Helper()
	var cpu time.Duration
	var peak int64
	for b.Loop() {
		_, used := measured(b, program(args...), exitIncomplete, exitNotReady)
		cpu += used.CPU
		peak = max(peak, used.Peak)
	}
	n := float64(b.N)
	b.ReportMetric(float64(hosts)*n/b.Elapsed().Seconds(), "hosts/s")
	b.ReportMetric(cpu.Seconds()*1000/n/float64(hosts), "cpu-ms/host")
	b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
}

// BenchmarkInventoryAPI reads a fleet through the simulated AWS APIs into
// SQLite, without SSH: EC2, Systems Manager with one GetConnectionStatus for
// each node, network and IAM. The simulated APIs share the processors.
func BenchmarkInventoryAPI(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		b.Run(fmt.Sprintf("hosts=%d", n), func(b *testing.B) {
			benchSim(b, demoOptions{instances: n, seed: 7})
			benchProgram(b, n, "inventory", "--no-ssh")
		})
	}
}

// BenchmarkInventoryWhole is the same with the probe on every host. The
// simulated hosts interpret the script on the same processors, so the wall
// time is theirs; processor time and memory are the program's own.
func BenchmarkInventoryWhole(b *testing.B) {
	const n = 1_000
	benchSim(b, demoOptions{instances: n, seed: 7})
	benchProgram(b, n, "inventory")
}

// BenchmarkJudgeAndReport judges a stored fleet and writes the report.
func BenchmarkJudgeAndReport(b *testing.B) {
	const n = 10_000
	benchSim(b, demoOptions{instances: n, seed: 7})
	output(b, program("inventory", "--no-ssh"), exitIncomplete)
	b.Run("readiness", func(b *testing.B) { benchProgram(b, n, "readiness") })
	html := filepath.Join(b.TempDir(), "report.html")
	b.Run("html", func(b *testing.B) { benchProgram(b, n, "report", "-o", html) })
}
