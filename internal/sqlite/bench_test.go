package sqlite_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
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

// BenchmarkAppend measures one journal entry, on disk when it returns, also from
// several lanes at once, beside what the disk itself takes to make 4 KiB durable in
// a file that has the room already, as a WAL has.
func BenchmarkAppend(b *testing.B) {
	b.Run("fdatasync", func(b *testing.B) {
		f, err := os.Create(filepath.Join(b.TempDir(), "bare"))
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		const room = 4 << 20
		block := make([]byte, 4096)
		if _, err := f.Write(make([]byte, room)); err != nil {
			b.Fatal(err)
		}
		n := int64(0)
		median(b, 1, func() error {
			n += int64(len(block))
			if _, err := f.WriteAt(block, n%(room-4096)); err != nil {
				return err
			}
			return syscall.Fdatasync(int(f.Fd()))
		})
	})
	for _, lanes := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("lanes=%d", lanes), func(b *testing.B) {
			db := open(b)
			fence, err := db.Acquire(b.Context(), "bench", time.Hour)
			if err != nil {
				b.Fatal(err)
			}
			median(b, lanes, func() error {
				_, err := db.Append(b.Context(), fence, entry("s", cutover.Intended))
				return err
			})
		})
	}
}

// median does something b.N times, by several at once, and reports the median
// of how long one took and how many a second there were.
func median(b *testing.B, lanes int, do func() error) {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(b.N))
	took := make([][]time.Duration, lanes)
	var all sync.WaitGroup
	b.ResetTimer()
	for i := range lanes {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				start := time.Now()
				if err := do(); err != nil {
					b.Error(err)
					return
				}
				took[i] = append(took[i], time.Since(start))
			}
		})
	}
	all.Wait()
	b.StopTimer()
	each := slices.Sorted(slices.Values(slices.Concat(took...)))
	b.ReportMetric(float64(each[len(each)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(len(each))/b.Elapsed().Seconds(), "entries/s")
}

// BenchmarkJournal reads, verifies and sums up a journal of 100,000 entries: a
// plan with 50,000 steps that are done.
func BenchmarkJournal(b *testing.B) {
	const steps = 50_000
	db := open(b)
	fence, err := db.Acquire(b.Context(), "bench", time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	p := &plan.Plan{ID: "p1", Digest: "d1", Policy: plan.DefaultPolicy(), Waves: []plan.Wave{{}}}
	var entries []cutover.Entry
	for i := range steps {
		h := fleet.HostRef{Account: "111122223333", Region: "eu-west-1", ID: fmt.Sprintf("i-%017d", i/5)}
		id := fmt.Sprintf("w1/prepare/%s/%d-agent", h.ID, i%5)
		p.Waves[0].Steps = append(p.Waves[0].Steps, plan.Step{ID: id, Kind: plan.Agent, Phase: plan.Prepare, Lane: h.ID, Hosts: []fleet.HostRef{h}})
		if i%5 == 0 {
			p.Waves[0].Hosts = append(p.Waves[0].Hosts, h)
		}
		for _, ev := range []cutover.Event{cutover.Intended, cutover.Ours} {
			e := entry(id, ev)
			e.Plan, e.Digest, e.Hosts = p.ID, p.Digest, []fleet.HostRef{h}
			entries = append(entries, e)
		}
	}
	if _, err := db.Append(b.Context(), fence, entries...); err != nil {
		b.Fatal(err)
	}
	if entries, err = db.Entries(b.Context(), ""); err != nil || len(entries) != 2*steps {
		b.Fatal(len(entries), err)
	}
	for _, part := range []struct {
		name string
		do   func() error
	}{
		{"read", func() error { _, err := db.Entries(b.Context(), p.ID); return err }},
		{"verify", func() error { return cutover.Verify(entries) }},
		{"status", func() error { _, err := cutover.Status(p, entries); return err }},
	} {
		b.Run(part.name, func(b *testing.B) {
			for b.Loop() {
				if err := part.do(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// instant is a step kind that is done as soon as it is tried, and a prover that
// always succeeds.
type instant struct {
	mu   sync.Mutex
	done map[string]bool // guarded by mu
}

func (k *instant) Observe(_ context.Context, s plan.Step) (cutover.Observation, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	o := cutover.Observation{Holds: fleet.TruthNo, Image: json.RawMessage(`{"form":"rpm","version":"3.3.4851.0","running":"no","enabled":"no"}`)}
	if k.done[s.ID] {
		o.Holds = fleet.TruthYes
	}
	return o, nil
}

func (k *instant) Apply(_ context.Context, s plan.Step, _ json.RawMessage, _ string) (json.RawMessage, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.done[s.ID] = true
	return nil, nil
}

func (k *instant) Undo(context.Context, plan.Step, json.RawMessage, json.RawMessage, string) error {
	return nil
}

func (k *instant) Undone(context.Context, plan.Step, json.RawMessage, json.RawMessage, string) (cutover.Observation, error) {
	return cutover.Observation{Holds: fleet.TruthYes}, nil
}

func (k *instant) Prove(_ context.Context, h fleet.Host, way fleet.Way) fleet.Proof {
	return fleet.Proof{Host: h.Ref(), Way: way, Works: fleet.TruthYes, At: time.Now()}
}

// BenchmarkExecutor carries out steps that take no time, five for each of 400
// hosts, with the journal on disk: what is left is the executor and its store.
func BenchmarkExecutor(b *testing.B) {
	const hosts, each = 400, 5
	for _, lanes := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("lanes=%d", lanes), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				db := open(b)
				k := &instant{done: map[string]bool{}}
				p := &plan.Plan{ID: "p1", Digest: "d1", Policy: plan.DefaultPolicy(), Waves: []plan.Wave{{Number: 1, Name: "wave 1"}}}
				p.Policy.Concurrency = lanes
				c := cutover.Config{
					Plan: p, Hosts: map[fleet.HostRef]fleet.Host{}, Kinds: cutover.Kinds{plan.Agent: k}, Prover: k,
					Proofs: db, Journal: db, Leases: db, Control: db, Operator: "bench",
				}
				for i := range hosts {
					h := fleet.Host{ID: fmt.Sprintf("i-%017d", i), Account: "111122223333", Region: "eu-west-1"}
					c.Hosts[h.Ref()] = h
					p.Waves[0].Hosts = append(p.Waves[0].Hosts, h.Ref())
					for n := range each {
						p.Waves[0].Steps = append(p.Waves[0].Steps, plan.Step{
							ID: fmt.Sprintf("w1/prepare/%s/%d-agent", h.ID, n), Kind: plan.Agent, Phase: plan.Prepare, Lane: h.ID, Hosts: []fleet.HostRef{h.Ref()}, Title: "Start the agent",
						})
					}
				}
				x, err := cutover.New(c)
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				res, err := x.Apply(b.Context())
				if err != nil || res.Outcome != cutover.OutcomeDone {
					b.Fatal(res, err)
				}
			}
			b.ReportMetric(hosts*each*float64(b.N)/b.Elapsed().Seconds(), "steps/s")
		})
	}
}
