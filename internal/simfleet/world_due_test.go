package simfleet

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestAgendaOrder(t *testing.T) {
	now := time.Date(2026, 11, 1, 9, 0, 0, 0, time.UTC)
	w := &World{Now: func() time.Time { return now }}
	var happened, told []string
	w.Happened = func(name string) { told = append(told, name) }
	note := func(name string) func() {
		return func() {
			if w.Mu.TryLock() {
				t.Errorf("%s ran without the world's lock", name)
			}
			happened = append(happened, name)
		}
	}
	w.at(now.Add(2*time.Minute), "c", note("c"))
	w.at(now.Add(time.Minute), "a", func() {
		note("a")()
		w.at(now, "follow-up", note("follow-up"))
	})
	w.at(now.Add(time.Minute), "b", note("b"))
	stop := w.at(now.Add(time.Minute), "stopped", note("stopped"))
	w.atUnlocked(now.Add(time.Minute), "machine", func() {
		w.Mu.Lock()
		defer w.Mu.Unlock()
		happened = append(happened, "machine")
	})
	stop()
	w.Advance()
	if len(happened) != 0 {
		t.Fatalf("happened before the time: %v", happened)
	}
	if when, ok := w.NextDue(); !ok || !when.Equal(now.Add(time.Minute)) {
		t.Fatalf("NextDue = %v, %v", when, ok)
	}
	now = now.Add(time.Minute)
	w.Advance()
	if !slices.Equal(happened, []string{"a", "b", "machine", "follow-up"}) {
		t.Fatalf("happened %v", happened)
	}
	now = now.Add(time.Hour)
	w.Advance()
	if happened[len(happened)-1] != "c" || !slices.Equal(told, happened) {
		t.Fatalf("happened %v, told %v", happened, told)
	}
	if _, ok := w.NextDue(); ok {
		t.Fatal("something is due though everything has happened")
	}
}

func TestRunWakesForNewEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &World{Now: time.Now}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { w.Run(ctx); close(done) }()
		synctest.Wait()
		start := time.Now()
		var at []time.Duration
		note := func() { at = append(at, time.Since(start)) }
		w.at(start.Add(time.Hour), "late", note)
		synctest.Wait()
		w.at(start.Add(time.Minute), "early", note)
		time.Sleep(2 * time.Hour)
		cancel()
		<-done
		if !slices.Equal(at, []time.Duration{time.Minute, time.Hour}) {
			t.Errorf("ran at %v", at)
		}
	})
}
