package inventory

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

func (p *parser) logins() {
	unknown := func(reason string) {
		p.probe.Logins = fleet.Unknown[fleet.LoginLog](sourceLogins, p.at, reason)
	}
	s, ok := p.frame["logins"]
	if !ok {
		unknown(p.missing)
		return
	}
	source, ok := s.first("source")
	if !ok {
		if r, ok := s.first("unreadable"); ok {
			unknown(r.field(0) + ": permission denied")
		} else {
			unknown("no SSH log file and no journal on the host")
		}
		return
	}
	clock := p.probe.HostTime
	if clock.IsZero() {
		clock = p.at
	}
	c := loginCounter{clock: clock, index: map[fleet.Login]int{}, logins: []fleet.Login{}}
	log := fleet.LoginLog{Source: source.field(0)}
	log.From = c.edge(s.all("first"), false)
	log.To = c.edge(s.all("last"), true)
	if _, some := s.first("first"); !some && log.Source == "journal" && !p.probe.Root {
		unknown("the login user may not read the system journal")
		return
	}
	p.openers = openers(s.all("open"))
	c.groups(s.all("group"))
	maps.Copy(p.openers, c.lines(s.all("line")))
	log.Logins = c.logins
	if over, ok := s.first("over"); ok {
		c.lost += atoi(over.field(0))
	}
	if c.lost > 0 {
		p.gap("logins", fmt.Sprintf("%d accepted logins are left out: there are more than %d kinds of them", c.lost, maxLoginGroups))
	}
	if c.bad > 0 {
		p.gap("logins", fmt.Sprintf("%d lines about accepted logins are not understood", c.bad))
	}
	p.probe.Logins = fleet.Known(log, "probe: "+log.Source, p.at)
}

// loginCounter groups logins that are alike in all but time.
type loginCounter struct {
	clock  time.Time // the host's
	index  map[fleet.Login]int
	logins []fleet.Login
	lost   int
	bad    int
}

// edge gives the time of the first or last log line that has one.
func (c *loginCounter) edge(records []record, last bool) time.Time {
	var edge time.Time
	for _, r := range records {
		if len(r.lines) == 0 {
			continue
		}
		stamp, _, _ := cutStamp(r.lines[0])
		if at, ok := parseStamp(stamp, c.clock); ok {
			if edge.IsZero() || last && at.After(edge) || !last && at.Before(edge) {
				edge = at
			}
		}
	}
	return edge
}

// groups takes the logins that awk counted on the host.
func (c *loginCounter) groups(records []record) {
	for _, r := range records {
		if len(r.fields) < 5 {
			c.bad++
			continue
		}
		l, ok := parseAccepted(r.fields[4])
		n := atoi(r.field(0))
		if !ok || n < 1 {
			c.bad++
			continue
		}
		l.Count, l.Use = n, useNamed(r.fields[3])
		l.First, _ = parseStamp(r.fields[1], c.clock)
		l.Last, _ = parseStamp(r.fields[2], c.clock)
		c.count(l)
	}
}

// lines takes the raw lines of a host without awk, and gives the logins by the
// processes that logged them.
func (c *loginCounter) lines(records []record) map[int]fleet.Login {
	var conns connections
	for _, r := range records {
		for _, line := range r.lines {
			if l, ok := ParseLogLine(line, c.clock); ok {
				conns.follow(line, &l)
				continue
			}
			if strings.Contains(line, "]: Accepted ") {
				c.bad++
			}
			conns.follow(line, nil)
		}
	}
	for _, l := range conns.logins {
		c.count(*l)
	}
	openers := make(map[int]fleet.Login, len(conns.opened))
	for pid, l := range conns.opened {
		openers[pid] = *l
	}
	return openers
}

// openers takes the logins by the processes that logged them, which awk found.
func openers(records []record) map[int]fleet.Login {
	out := map[int]fleet.Login{}
	for _, r := range records {
		if len(r.fields) < 2 {
			continue
		}
		if l, ok := parseAccepted(r.fields[1]); ok {
			out[atoi(r.field(0))] = l
		}
	}
	return out
}

func (c *loginCounter) count(l fleet.Login) {
	kind := l
	kind.Count, kind.First, kind.Last = 0, time.Time{}, time.Time{}
	i, seen := c.index[kind]
	switch {
	case seen:
		sum := &c.logins[i]
		sum.Count += l.Count
		if !l.First.IsZero() && (sum.First.IsZero() || l.First.Before(sum.First)) {
			sum.First = l.First
		}
		if l.Last.After(sum.Last) {
			sum.Last = l.Last
		}
	case len(c.logins) == maxLoginGroups:
		c.lost += l.Count
	default:
		c.index[kind] = len(c.logins)
		c.logins = append(c.logins, l)
	}
}

// atoi reads a count; 0 when it is none.
func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 1<<40 {
		return 0
	}
	return n
}
