package simfleet

import "time"

// changeAgent changes the model's agent by what a program of the machine did.
// now is the world's clock.
func (h *Hosts) changeAgent(inst *Instance, edit func(a *Agent, now time.Time)) {
	h.w.Mu.Lock()
	defer h.w.Mu.Unlock()
	was := h.w.Online(inst)
	edit(&inst.Agent, h.w.Now())
	if was && !h.w.Online(inst) {
		inst.Agent.LastSeen = h.w.Now()
	}
}

// runAgentUnit starts, stops or restarts the agent's service.
func (h *Hosts) runAgentUnit(inst *Instance, verb string) {
	h.changeAgent(inst, func(a *Agent, now time.Time) {
		switch {
		case verb == "stop":
			a.Running = false
		case verb == "restart", verb == "start" && !a.Running, verb == "try-restart" && a.Running:
			a.start(now)
		}
	})
}

func (a *Agent) startsAtBoot() bool { return a.Installed && a.Enabled && !a.Masked }

// start is an agent that begins anew: it asks for credentials at once and opens
// a new control channel.
func (a *Agent) start(now time.Time) {
	a.Running, a.Started, a.SleepsUntil, a.Stale = true, now, time.Time{}, false
}
