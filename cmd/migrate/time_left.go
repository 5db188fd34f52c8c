package main

import (
	"fmt"
	"time"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/plan"
)

// timeLeft is how long a run still takes, as far as its own journal tells, by
// two ways of reckoning: how long steps of the same kinds took, with as many side
// by side as may be; and the pace of the whole run so far, gates and waiting for
// one's turn included. The first is too hopeful, the second mostly too gloomy.
type timeLeft struct {
	Known  bool          `json:"known"`         // false: nothing can be told, Why says why
	Least  time.Duration `json:"least"`         // nanoseconds
	Most   time.Duration `json:"most"`          // nanoseconds; not below Least
	Soak   time.Duration `json:"soak"`          // part of both: waves are watched
	Unseen int           `json:"unseen"`        // steps of kinds of which none was done yet: their time is not in Least, and a guess in Most
	Why    string        `json:"why,omitempty"` // why nothing is known
}

// String says it to people. What is not known is not made up.
func (r timeLeft) String() string {
	if !r.Known {
		return "not known: " + r.Why
	}
	least, most := roughly(r.Least), roughly(r.Most)
	text := least + " to " + most
	switch {
	case r.Unseen > 0:
		text = "at least " + least
	case least == most:
		text = "about " + least
	}
	if r.Soak > 0 {
		text += fmt.Sprintf(", %s of it to watch waves", roughly(r.Soak))
	}
	if r.Unseen > 0 {
		text += "; " + count(r.Unseen, "step is", "steps are") + " of a kind not done yet"
	}
	return text
}

// roughly rounds up to what an estimate is worth.
func roughly(d time.Duration) string {
	unit := time.Minute
	switch {
	case d < time.Minute:
		unit = 5 * time.Second
	case d < 10*time.Minute:
		unit = 30 * time.Second
	}
	d = (d + unit - 1).Truncate(unit)
	if d == 0 {
		return "a moment"
	}
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if len(text) > len(zero) && text[len(text)-len(zero):] == zero {
			text = text[:len(text)-2]
		}
	}
	return text
}

// pace is what a journal tells of how fast steps are.
type pace struct {
	mean    map[plan.Kind]time.Duration
	begun   map[string]time.Time // steps under way
	done    map[string]bool
	perWave map[int]time.Time // the last step's end
	steps   int               // that the last run has done
	took    time.Duration     // it, without pauses and watching
}

// remainingOf estimates from the plan's journal, in order.
func remainingOf(p *plan.Plan, entries []cutover.Entry, s cutover.Standing, w cutover.Wish, now time.Time) timeLeft {
	switch {
	case s.Entries == 0:
		return timeLeft{Why: "it has not begun"}
	case s.State != "running or broken off":
		return timeLeft{Why: "nothing runs"}
	case s.Command != "apply":
		return timeLeft{Why: fmt.Sprintf("%s ours before it is taken back", count(s.Owed, "step is", "steps are"))}
	case w.Pause || w.Stop:
		return timeLeft{Why: "it was asked to wait or to end"}
	}
	pc := paceOf(p, entries, now)
	if len(pc.mean) == 0 {
		return timeLeft{Why: "no step has been done yet"}
	}
	r := timeLeft{Known: true}
	var work time.Duration
	for i, wave := range p.Waves {
		if s.Waves[i].State == "done" {
			continue
		}
		left := pc.ahead(wave, p.Policy.Concurrency, w.Concurrency, now, &r.Unseen)
		work += left
		soak := time.Duration(wave.Soak)
		if s.Waves[i].State == "soaking" {
			soak = max(0, pc.perWave[wave.Number].Add(soak).Sub(now))
		}
		r.Soak += soak
	}
	r.Least = work + r.Soak
	done, all := stepsOf(s)
	r.Most = max(r.Least, pc.took*time.Duration(all-done)/time.Duration(max(1, pc.steps))+r.Soak)
	return r
}

// ahead is how long the steps of a wave that are not done take.
func (pc pace) ahead(w plan.Wave, policy, wished int, now time.Time, unseen *int) time.Duration {
	atOnce := policy
	if wished > 0 {
		atOnce = wished
	}
	return phases(w, atOnce, func(s plan.Step) time.Duration {
		if pc.done[s.ID] {
			return 0
		}
		mean, ok := pc.mean[s.Kind]
		if !ok {
			*unseen++
			return 0
		}
		if at, ok := pc.begun[s.ID]; ok {
			return max(0, mean-now.Sub(at))
		}
		return mean
	})
}

// phases adds up the phases of a wave: lanes side by side, as many as may be.
func phases(w plan.Wave, atOnce int, takes func(plan.Step) time.Duration) time.Duration {
	var sum time.Duration
	for _, ph := range plan.Phases() {
		lanes := map[string]time.Duration{}
		var total, longest time.Duration
		for _, s := range w.Steps {
			if s.Phase != ph {
				continue
			}
			d := takes(s)
			if d == 0 {
				continue
			}
			total += d
			lanes[s.Lane] += d
			longest = max(longest, lanes[s.Lane])
		}
		if n := min(max(1, atOnce), len(lanes)); n > 0 {
			sum += max(longest, total/time.Duration(n))
		}
	}
	return sum
}

// paceOf reads the last run's pace out of the journal.
func paceOf(p *plan.Plan, entries []cutover.Entry, now time.Time) pace {
	pc := pace{mean: map[plan.Kind]time.Duration{}, begun: map[string]time.Time{}, done: map[string]bool{}, perWave: map[int]time.Time{}}
	kinds := map[string]plan.Kind{}
	soaks := map[int]time.Duration{}
	for _, w := range p.Waves {
		soaks[w.Number] = time.Duration(w.Soak)
		for _, s := range w.Steps {
			kinds[s.ID] = s.Kind
		}
	}
	number := map[plan.Kind]int{}
	sums := map[plan.Kind]time.Duration{}
	var began, paused time.Time
	var idle time.Duration
	for _, e := range entries {
		switch e.Event {
		case cutover.RunBegan:
			began, paused, idle = e.At, time.Time{}, 0
			pc.steps = 0
		case cutover.Intended:
			pc.begun[e.Step] = e.At
			delete(pc.done, e.Step)
		case cutover.Ours, cutover.Found:
			if at, ok := pc.begun[e.Step]; ok {
				sums[kinds[e.Step]] += e.At.Sub(at)
				number[kinds[e.Step]]++
			}
			pc.steps++
			delete(pc.begun, e.Step)
			pc.done[e.Step], pc.perWave[e.Wave] = true, e.At
		case cutover.Failed, cutover.Unclear, cutover.UndoBegan, cutover.Undone, cutover.UndoFailed:
			delete(pc.begun, e.Step)
			delete(pc.done, e.Step)
		case cutover.Gate:
			if e.Detail == "soak" {
				idle += soaks[e.Wave]
			}
		case cutover.Paused:
			paused = e.At
		case cutover.Resumed:
			if !paused.IsZero() {
				idle += e.At.Sub(paused)
				paused = time.Time{}
			}
		}
	}
	for k, n := range number {
		pc.mean[k] = sums[k] / time.Duration(n)
	}
	if !paused.IsZero() {
		idle += now.Sub(paused)
	}
	pc.took = max(0, now.Sub(began)-idle)
	return pc
}
