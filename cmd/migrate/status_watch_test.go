package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// watchedPlan has waves of so many hosts, with a proof and a quarantine each.
func watchedPlan(concurrency int, soak time.Duration, hosts ...int) *plan.Plan {
	p := &plan.Plan{ID: "p", Digest: "d", Policy: plan.Policy{Concurrency: concurrency}}
	for w, n := range hosts {
		wave := plan.Wave{Number: w, Name: fmt.Sprintf("wave %d", w), Soak: plan.Duration(soak)}
		for h := range n {
			ref := fleet.HostRef{Account: "1", Region: "r", ID: fmt.Sprintf("i-%d-%d", w, h)}
			wave.Hosts = append(wave.Hosts, ref)
			for _, s := range []struct {
				kind  plan.Kind
				phase plan.Phase
			}{{plan.ProveSession, plan.Prove}, {plan.QuarantineKeys, plan.Quarantine}} {
				wave.Steps = append(wave.Steps, plan.Step{ID: ref.ID + string(s.kind), Kind: s.kind, Phase: s.phase, Lane: ref.ID, Hosts: []fleet.HostRef{ref}})
			}
		}
		p.Waves = append(p.Waves, wave)
	}
	return p
}

// journaled is a journal of the plan up to the step with the number, each of them taking so long, one
// after the other.
func journaled(p *plan.Plan, steps int, each time.Duration) (entries []cutover.Entry, now time.Time) {
	now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	add := func(e cutover.Entry) {
		e.Seq, e.At, e.Plan, e.Digest = int64(len(entries)+1), now, p.ID, p.Digest
		entries = append(entries, e)
	}
	add(cutover.Entry{Event: cutover.RunBegan, Detail: "apply"})
	for _, w := range p.Waves {
		for _, ph := range plan.Phases() {
			for _, s := range w.Steps {
				if s.Phase != ph {
					continue
				}
				if steps--; steps < 0 {
					return entries, now
				}
				add(cutover.Entry{Event: cutover.Intended, Wave: w.Number, Step: s.ID})
				now = now.Add(each)
				add(cutover.Entry{Event: cutover.Ours, Wave: w.Number, Step: s.ID})
			}
		}
		now = now.Add(time.Duration(w.Soak))
		for _, gate := range []string{"soak", "end"} {
			add(cutover.Entry{Event: cutover.Gate, Wave: w.Number, Detail: gate, Result: fleet.TruthYes})
		}
	}
	return entries, now
}

func left(t *testing.T, p *plan.Plan, entries []cutover.Entry, w cutover.Wish, now time.Time) timeLeft {
	t.Helper()
	s, err := cutover.Status(p, entries)
	if err != nil {
		t.Fatal(err)
	}
	return remainingOf(p, entries, s, w, now)
}

func TestRemaining(t *testing.T) {
	t.Parallel()
	p := watchedPlan(1, time.Minute, 1, 4)
	for _, c := range []struct {
		name  string
		steps int
		wish  cutover.Wish
		want  string
	}{
		{"not begun", -1, cutover.Wish{}, "not known: it has not begun"},
		{"nothing done", 0, cutover.Wish{}, "not known: no step has been done yet"},
		{"one kind seen", 1, cutover.Wish{}, "at least 3m, 2m of it to watch waves; 5 steps are of a kind not done yet"},
		{"canary done", 2, cutover.Wish{}, "about 2m30s, 1m of it to watch waves"},
		{"half of the wave", 6, cutover.Wish{}, "about 2m, 1m of it to watch waves"},
		{"paused", 6, cutover.Wish{Pause: true}, "not known: it was asked to wait or to end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			entries, now := journaled(p, max(0, c.steps), 10*time.Second)
			if c.steps < 0 {
				entries = nil
			}
			if got := left(t, p, entries, c.wish, now).String(); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
	entries, now := journaled(p, 6, 10*time.Second)
	last := entries[len(entries)-1]
	for _, c := range []struct{ event, detail, want string }{
		{string(cutover.RunEnded), "stopped", "not known: nothing runs"},
		{string(cutover.RunBegan), "rollback --all", "not known: 6 steps are ours before it is taken back"},
	} {
		more := append(entries[:len(entries):len(entries)], cutover.Entry{Seq: last.Seq + 1, At: now, Plan: "p", Digest: "d", Event: cutover.Event(c.event), Detail: c.detail})
		if got := left(t, p, more, cutover.Wish{}, now).String(); got != c.want {
			t.Errorf("after %s: %q, want %q", c.event, got, c.want)
		}
	}
}

// A run that keeps its pace ends within what was told, whenever one asks; lanes
// side by side make it shorter, never longer.
func TestRemainingHoldsForASteadyRun(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		hosts := rapid.SliceOfN(rapid.IntRange(1, 6), 2, 4).Draw(rt, "hosts")
		soak := time.Duration(rapid.IntRange(0, 90).Draw(rt, "soak")) * time.Second
		each := time.Duration(rapid.IntRange(1, 600).Draw(rt, "each")) * time.Second
		p := watchedPlan(1, soak, hosts...)
		all := 0
		for _, w := range p.Waves {
			all += len(w.Steps)
		}
		done := rapid.IntRange(2*hosts[0], all-1).Draw(rt, "done")
		entries, now := journaled(p, done, each)
		_, end := journaled(p, all, each)
		got, truth := left(t, p, entries, cutover.Wish{}, now), end.Sub(now)
		if !got.Known || got.Unseen > 0 || got.Least > truth || got.Most < truth {
			rt.Fatalf("%v after %d of %d steps, it takes %v", got, done, all, truth)
		}
		faster := left(t, p, entries, cutover.Wish{Concurrency: 4}, now)
		if faster.Least > got.Least {
			rt.Fatalf("with four lanes %v, with one %v", faster.Least, got.Least)
		}
	})
}

// What a terminal shows after any drawings is what was drawn last, and lines
// that stay the same are not written again.
func TestRedrawnWritesWhatChanges(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	columns, rows := 20, 10
	r := &redrawn{w: &out, size: func() (int, int) { return columns, rows }}
	step := func(want string, lines ...string) {
		t.Helper()
		out.Reset()
		if err := r.draw(lines); err != nil {
			t.Fatal(err)
		}
		if out.String() != want {
			t.Errorf("%q was written, want %q", out.String(), want)
		}
	}
	step("one\x1b[K\ntwo\x1b[K\n", "one", "two")
	step("", "one", "two")
	step("\x1b[2A\r\ntwo!\x1b[K\n", "one", "two!")
	step("\x1b[2A\r\n\nthree\x1b[K\n", "one", "two!", "three")
	step("\x1b[3A\r\n\x1b[J", "one")
	columns = 8
	step("\x1b[2J\x1b[H0123456…\x1b[K\n"[:7]+"012345…\x1b[K\n", "0123456789")
	rows = 2
	step("\x1b[2J\x1b[Ha\x1b[K\n", "a", "b", "c")
}

func TestCompletionsAreHarmless(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"", "-rf", "$(reboot)", "`id`", "a b", "a;b", "x\ty", "x\nActiveHelp", "a'b", `a"b`, "a\x1b[31m", "é", "a|b", "a:b", "~root", "a*"} {
		if got := complete(nil, "", word, "text"); len(got) > 0 {
			t.Errorf("%q is offered as %q", word, got)
		}
	}
	got := complete(nil, "web", "web-1.example_x", "$(reboot) `id` \x1b[31m\t\n!")
	if len(got) != 1 || !strings.HasPrefix(got[0], "web-1.example_x\t") || strings.ContainsAny(got[0], "$`!\n\x1b") || strings.Count(got[0], "\t") != 1 {
		t.Errorf("%q", got)
	}
	if got := complete(nil, "", "web", "", "web"); len(got) > 0 {
		t.Errorf("what stands there is offered again: %q", got)
	}
}
