package simfleet

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Timer is something that will happen by itself unless somebody stops it.
type Timer struct {
	Group    string    // security group that a schedule will open
	Instance *Instance // machine on which something will run
	How      string    // on a machine: "systemd", "at", "sh" (a program that waits)
	ID       string    // schedule's name, timer unit without its suffix, number of at's job; empty for programs
	At       time.Time // zero: not known
}

// Timers lists the schedules that will fire and what waits on machines. The
// caller holds w.Mu, at least for reading.
func (w *World) Timers() []Timer {
	var out []Timer
	for _, a := range w.Accounts {
		for _, rg := range a.Regions {
			for _, s := range rg.schedules {
				var input struct{ GroupId string }
				if s.stop != nil && s.Target != nil && json.Unmarshal([]byte(s.Target.Input), &input) == nil {
					out = append(out, Timer{Group: input.GroupId, ID: s.name, At: s.at})
				}
			}
		}
	}
	h := w.hostSide()
	for in := range w.Instances() {
		h.mu.Lock()
		s := h.states[in]
		h.mu.Unlock()
		if s != nil {
			out = append(out, s.timers(in)...)
		}
	}
	return out
}

func (s *hostState) timers(in *Instance) []Timer {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Timer
	for _, name := range slices.Sorted(maps.Keys(s.units)) {
		if id, ok := strings.CutSuffix(name, ".timer"); ok && !s.units[name].next.IsZero() {
			out = append(out, Timer{Instance: in, How: "systemd", ID: id, At: s.units[name].next})
		}
	}
	for _, j := range s.queue {
		out = append(out, Timer{Instance: in, How: "at", ID: strconv.Itoa(j.number), At: j.when})
	}
	for range s.background {
		out = append(out, Timer{Instance: in, How: "sh"})
	}
	return out
}
