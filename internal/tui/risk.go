package tui

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
)

// paths is what is known of the ways into the hosts.
type paths struct {
	proved, hosts int       // ways back
	oldest        time.Time // of their proofs that count
	drilled       time.Time // the last drill
	drill         time.Duration
}

// count sums up the ways back. It looks at every host, so it is done when they
// change and not when they are drawn.
func (c *course) count() {
	c.paths = paths{}
	if c.state == nil {
		return
	}
	p := &c.paths
	for i := range c.state.Recovery {
		v := &c.state.Recovery[i]
		p.hosts += len(v.Hosts)
		if d := v.Drill; d != nil && d.At.After(p.drilled) {
			p.drilled, p.drill = d.At, d.In()
		}
		for j := range v.Hosts {
			h := &v.Hosts[j]
			if login, _ := c.login(v, h); login != fleet.TruthYes {
				continue
			}
			p.proved++
			if p.oldest.IsZero() || h.Proof.At.Before(p.oldest) {
				p.oldest = h.Proof.At
			}
		}
	}
}

// proved counts the hosts with a login by the bastion that counts.
func (c *course) proved() (proved, hosts int) { return c.paths.proved, c.paths.hosts }

// From which widths on the line tells of sessions, and in more words.
const (
	riskSessions = 100
	riskLong     = 150
)

// viewRisk is the line that always says what hangs by what: hosts with closed
// doors, armed timers, proved ways and their age, the last drill.
func (m *model) viewRisk(w int) string {
	s, c := m.env.styles, m.env.course
	const label = " Risk  "
	style, parts := s.dim, m.riskParts(w)
	if len(c.stand.Risks) > 0 || c.sum.shut > 0 && c.paths.proved < c.paths.hosts {
		style = s.risk
	}
	return s.strong.Render(label) + style.Render(fit(strings.Join(parts, " · "), w-len(label)))
}

// riskParts are the parts of the line, in more words where there is more room.
func (m *model) riskParts(w int) []string {
	long := w >= riskLong
	c, now := m.env.course, m.env.now()
	switch {
	case c.state == nil && c.err != nil:
		return []string{"? not known: where things stand cannot be read"}
	case c.state == nil:
		return []string{"reading where things stand …"}
	case c.plan() != nil && (c.known < 0 || c.broken != nil):
		return []string{"? not known: the journal is not read"}
	}
	parts := []string{"no host closed"}
	if n := c.sum.shut; n > 0 {
		parts[0] = fmt.Sprintf("closed %s/%s", thousands(n), thousands(len(c.stand.Hosts)))
		if w >= riskSessions {
			parts[0] += " hosts"
		}
	}
	parts = append(parts, m.timerPart(long))
	oldest := ","
	if long {
		oldest = " proved, oldest"
	}
	back := "no way back proved"
	if p := c.paths; p.proved > 0 {
		back = fmt.Sprintf("way back %s/%s%s %s", thousands(p.proved), thousands(p.hosts), oldest, age(p.oldest, now))
	}
	parts = append(parts, back)
	if w >= riskSessions {
		sessions := "no session proved"
		if n := c.sum.sessions; n > 0 {
			sessions = fmt.Sprintf("sessions %s%s %s", thousands(n), oldest, age(c.sum.oldestSession, now))
		}
		parts = append(parts, sessions)
	}
	drilled := "no drill yet"
	if c.drilling() {
		drilled = "drill under way"
	} else if !c.paths.drilled.IsZero() {
		drilled = "drill " + ago(c.paths.drilled, now)
	}
	return append(parts, drilled)
}

// timerPart tells of armed timers, the next one's time first.
func (m *model) timerPart(long bool) string {
	all := m.env.course.stand.Risks
	if len(all) == 0 {
		return "no timer"
	}
	next := slices.MinFunc(all, func(a, b cutover.Risk) int { return a.Deadline.Compare(b.Deadline) })
	if !next.Deadline.After(m.env.now()) {
		return "! " + count(len(all), "timer") + ", one is due"
	}
	if !long {
		return fmt.Sprintf("! %s %s", count(len(all), "timer"), m.env.until(next.Deadline))
	}
	return fmt.Sprintf("! %s armed, the next opens in %s", count(len(all), "timer"), m.env.until(next.Deadline))
}

// age is how old something is, in one unit.
func age(t, now time.Time) string {
	if t.IsZero() {
		return "of unknown age"
	}
	return span(now.Sub(t))
}
