package access

import (
	"maps"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// mostValues is up to how many values of a tag a policy lists; beyond, the tag
// does not describe the team.
const mostValues = 10

// byTag finds a tag whose values all and only the team's hosts have. With the
// tag that the operator names, hosts that the inventory could not judge come
// with their value, if none of the judged ones speaks against it.
func (p *promised) byTag(t *team) {
	if p.query.Tag != "" {
		if hosts, values, ok := p.wished(t); ok {
			if more := len(hosts) - len(t.hosts); more > 0 {
				p.note("%s: by tag %s they also get %s on which nobody could see who gets in", strings.Join(t.people, ", "), p.query.Tag, fleet.Count(more, "host"))
			}
			t.hosts, t.tag, t.values = hosts, p.query.Tag, values
			t.variable = p.carried(t)
			return
		}
		p.note("%s: their hosts are not all and only those of some values of tag %s; the policy names the hosts instead", strings.Join(t.people, ", "), p.query.Tag)
		return
	}
	for _, tag := range p.tags(t) {
		if values, ok := p.exactly(t, tag); ok && (t.tag == "" || len(values) < len(t.values)) {
			t.tag, t.values = tag, values
		}
	}
	if t.tag != "" {
		t.variable = p.carried(t)
	}
}

// tags are those that the first of a team's hosts has and that may describe a
// team, in order. A Name is one host's.
func (p *promised) tags(t *team) []string {
	var out []string
	for _, tag := range slices.Sorted(maps.Keys(p.snapshot.Hosts[t.hosts[0]].Tags)) {
		if tag != "Name" && !strings.HasPrefix(strings.ToLower(tag), "aws:") && writable(tag) {
			out = append(out, tag)
		}
	}
	return out
}

// valueOf is a host's value of a tag as policies see it: without regard to the
// case of the tag's name. It is not usable where a policy could not write it,
// or where two names differ by case alone.
func valueOf(h *fleet.Host, tag string) (value string, has, usable bool) {
	n := 0
	for k, v := range h.Tags {
		if strings.EqualFold(k, tag) {
			value, n = v, n+1
		}
	}
	return value, n > 0, n == 1 && writable(value) && value != ""
}

// exactly gives the values of a tag by which a team's hosts are all and only
// those of the account that have one of them.
func (p *promised) exactly(t *team, tag string) (values []string, ok bool) {
	for _, i := range t.hosts {
		v, _, usable := valueOf(&p.snapshot.Hosts[i], tag)
		if !usable {
			return nil, false
		}
		if values = addAll(values, v); len(values) > mostValues {
			return nil, false
		}
	}
	if len(values) >= len(t.hosts) && len(t.hosts) > 1 {
		return nil, false // as good as a list of hosts
	}
	for i := range p.snapshot.Hosts {
		h := &p.snapshot.Hosts[i]
		if h.Account != t.account || gone(h) {
			continue
		}
		if v, has, _ := valueOf(h, tag); has && slices.Contains(values, v) && !slices.Contains(t.hosts, i) {
			return nil, false
		}
	}
	slices.Sort(values)
	return values, true
}

// carried reports whether all principals of a team are known to carry the
// team's one value of its tag, so that the policy can speak of the caller's own.
func (p *promised) carried(t *team) bool {
	if len(t.values) != 1 || len(t.attach) == 0 {
		return false
	}
	for _, arn := range t.attach {
		keys, ok := p.grants.Caller(arn, "somebody")
		if got := keys["aws:principaltag/"+strings.ToLower(t.tag)]; !ok || !slices.Equal(got, t.values) {
			return false
		}
	}
	return true
}

// wished gives the hosts of a team by the operator's own tag: those with one of
// the values that its known hosts have. It fails where somebody of the team is
// known not to get in on one of them.
func (p *promised) wished(t *team) (hosts []int, values []string, ok bool) {
	for _, i := range t.hosts {
		v, _, usable := valueOf(&p.snapshot.Hosts[i], p.query.Tag)
		if !usable {
			return nil, nil, false
		}
		if values = addAll(values, v); len(values) > mostValues {
			return nil, nil, false
		}
	}
	for i := range p.snapshot.Hosts {
		h := &p.snapshot.Hosts[i]
		v, has, _ := valueOf(h, p.query.Tag)
		if h.Account != t.account || gone(h) || !has || !slices.Contains(values, v) {
			continue
		}
		if !slices.Contains(t.hosts, i) && !p.open(t, i) {
			return nil, nil, false
		}
		hosts = append(hosts, i)
	}
	slices.Sort(values)
	return hosts, values, true
}

// open reports whether nobody of a team is known to have no way in on a host.
func (p *promised) open(t *team, host int) bool {
	for _, who := range t.people {
		if row := p.rows[who]; row == nil || host >= len(row.Cells) || row.Cells[host] != fleet.ParityUnknown {
			return false
		}
	}
	return true
}
