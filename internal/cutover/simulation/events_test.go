package simulation_test

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/simfleet"
)

// revert is something that passes by itself.
type revert struct {
	when time.Time
	name string
	f    func()
}

// passTime lets the world's own things happen when they are due, also while
// nobody calls.
func (s *simulation) passTime(ctx context.Context) {
	for {
		wait := 30 * time.Second
		if when, ok := s.world.NextDue(); ok {
			wait = min(wait, max(time.Until(when), time.Millisecond))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		s.turns.take("world")
		if ctx.Err() != nil {
			return
		}
		s.advance()
	}
}

// advance lets happen what is due. The caller has the turn.
func (s *simulation) advance() {
	when, ok := s.world.NextDue()
	due := ok && !when.After(time.Now())
	s.world.Advance()
	now := time.Now()
	s.reverts = slices.DeleteFunc(s.reverts, func(r revert) bool {
		if r.when.After(now) {
			return false
		}
		s.log("event: %s", r.name)
		r.f()
		due = true
		return true
	})
	if due {
		s.check(change{what: "time"})
	}
}

// event is something that people or machines do meanwhile. It gives its name,
// or "" where it cannot happen.
type event func(s *simulation, in *simfleet.Instance) string

var events = []event{outage, agentDies, fullDisk, opensByHand, closesByHand, keyByHand, reboot, replaced}

// happen lets things happen between two calls. The caller has the turn.
func (s *simulation) happen() {
	s.advance()
	if s.process == nil || s.process.calm || s.random.Float64() >= s.eventRate || len(s.hosts) == 0 {
		return
	}
	h := s.hosts[s.random.IntN(len(s.hosts))]
	if name := s.events[s.random.IntN(len(s.events))](s, h.in); name != "" {
		s.count.events++
		s.log("event: %s", name)
		s.check(change{what: name})
	}
}

func (s *simulation) later(from, to time.Duration, name string, f func()) {
	s.reverts = append(s.reverts, revert{when: time.Now().Add(from + time.Duration(s.random.Int64N(int64(to-from)))), name: name, f: f})
}

// change changes the world.
func (s *simulation) change(f func()) {
	s.world.Mu.Lock()
	defer s.world.Mu.Unlock()
	f()
}

// outage takes Session Manager down in the Region.
func outage(s *simulation, in *simfleet.Instance) string {
	if in.Region.Outages != nil {
		return ""
	}
	s.change(func() { in.Region.Outages = map[string]bool{"ssm": true, "ssmmessages": true, "ec2messages": true} })
	s.later(time.Minute, 90*time.Minute, "Systems Manager is back", func() {
		if !s.downForGood {
			s.change(func() { in.Region.Outages = nil })
		}
	})
	return "Systems Manager is down"
}

func agentDies(s *simulation, in *simfleet.Instance) string {
	if !in.Agent.Running {
		return ""
	}
	s.change(func() { in.Agent.Running = false })
	s.later(2*time.Minute, 2*time.Hour, "the agent is back on "+in.Host.ID, func() { s.change(func() { in.Agent.Running = true }) })
	return "the agent dies on " + in.Host.ID
}

func fullDisk(s *simulation, in *simfleet.Instance) string {
	s.change(func() { s.world.SetDiskFull(in, true) })
	s.later(time.Minute, time.Hour, "there is room again on "+in.Host.ID, func() { s.change(func() { s.world.SetDiskFull(in, false) }) })
	return "the disk is full on " + in.Host.ID
}

// opensByHand is a colleague who opens port 22 in one of the host's groups.
func opensByHand(s *simulation, in *simfleet.Instance) string {
	group := in.Host.Groups[s.random.IntN(len(in.Host.Groups))]
	rule := fleet.Rule{Protocol: "tcp", From: 22, To: 22, CIDR: netip.MustParsePrefix("198.51.100.0/24"), Description: "by hand"}
	if err := s.colleague.Authorize(context.Background(), in.Host.Ref().Place(), group, rule); err != nil {
		return ""
	}
	s.touched[in.Region.Account.ID+"/"+in.Region.Name+" group "+group] = true
	return "a colleague opens port 22 in " + group
}

// closesByHand is a colleague who does what the plan would do: revokes rules
// that let port 22 in, where all whose door it is have another way in by now, and nobody
// is taking such ways back.
func closesByHand(s *simulation, in *simfleet.Instance) string {
	steps := slices.DeleteFunc(s.steps(), func(p plan.Step) bool {
		return p.Kind != plan.ClosePort || !slices.Contains(in.Host.Groups, p.Rules.Group)
	})
	if len(steps) == 0 || s.rollbacks.Load() > 0 {
		return ""
	}
	step := steps[s.random.IntN(len(steps))]
	group := step.Rules.Group
	var theirs []*watched
	for _, h := range s.hosts {
		if !slices.Contains(h.in.Host.Groups, group) {
			continue
		}
		s.world.Mu.RLock()
		w := s.truth(h.in)
		s.world.Mu.RUnlock()
		if w.SessionManager != "" && w.Recovery != "" {
			return ""
		}
		theirs = append(theirs, h)
	}
	rules, err := s.colleague.GroupRules(context.Background(), step.At, group)
	if err != nil {
		return ""
	}
	var ids []string
	for _, r := range rules {
		if slices.ContainsFunc(step.Rules.Rules, func(p fleet.Rule) bool { p.GroupAccount = r.GroupAccount; return p.Same(r) }) {
			ids = append(ids, r.ID)
		}
	}
	if len(ids) == 0 || s.colleague.Revoke(context.Background(), step.At, group, false, ids[:1+s.random.IntN(len(ids))]) != nil {
		return ""
	}
	s.touched[in.Region.Account.ID+"/"+in.Region.Name+" group "+group] = true
	for _, h := range theirs {
		h.byHand = true
	}
	return "a colleague closes port 22 in " + group
}

// keyByHand is a colleague who adds a key of theirs.
func keyByHand(s *simulation, in *simfleet.Instance) string {
	file := "/home/" + simfleet.OperatorUser + "/.ssh/authorized_keys"
	const line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1qkkwrlpJ2cYVMMIvxbGYyFJKGZuCyQPjqYUSkkAo1 by-hand"
	if status, _, _ := s.script(in, fleet.Script{Name: "by hand", Text: "echo '" + line + "' >> " + file + "\n"}, 0); status != 0 {
		return ""
	}
	s.touched["file "+in.Host.ID+" "+file] = true
	return "a colleague adds a key on " + in.Host.ID
}

func reboot(s *simulation, in *simfleet.Instance) string {
	now := time.Now()
	s.change(func() {
		for _, h := range s.hosts {
			if h.in != in {
				continue
			}
			if !now.Before(h.away) {
				h.silent, h.agent = in.Down, in.Agent.Running
			}
			h.away = now.Add(time.Minute)
			// What does not come up with it is the reboot's doing, not that of the next change.
			s.reverts = append(s.reverts, revert{when: h.away, name: in.Host.ID + " has rebooted", f: func() {}})
		}
		s.world.Reboot(in)
	})
	return in.Host.ID + " reboots"
}

// replaced is an Auto Scaling group that replaces a member.
func replaced(s *simulation, in *simfleet.Instance) string {
	if s.random.IntN(4) > 0 || in.Host.State != "running" {
		return ""
	}
	if err := s.world.Replace(in); err != nil {
		return ""
	}
	if in.Role == "bastion" {
		for _, h := range s.hosts { // whoever needs it waits for the next one
			h.noBastion = h.noBastion || h.in.Host.VPC == in.Host.VPC
		}
	}
	s.touched["instance "+in.Host.ID] = true
	return in.Host.ID + " is replaced by its Auto Scaling group"
}
