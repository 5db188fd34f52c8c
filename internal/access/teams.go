package access

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// team are people of one account who get in on the same hosts today, and so
// get the same policy.
type team struct {
	world *world

	name, account string
	people        []string
	service       bool           // none of them has a shell: only commands that their keys force
	hosts         []int          // positions in the snapshot
	attach        []string       // ARNs of their users and roles in the account
	sessions      []string       // role session names that the policy is narrowed to; empty: all of a principal's
	tag           string         // by which policies know the hosts; empty: by their ARNs
	values        []string       // of the tag
	variable      bool           // the tag's value is the caller's own
	keys          []string       // KMS keys that encrypt their sessions
	documents     []documentName // that they may start, the preferences' first
	audit         []auditTarget
	guarded       []auditTarget // memo of protected
	documentARNs  map[string]bool

	base string // name of the policy
}

// documentName is a session document in one place; the account is empty for AWS's own.
type documentName struct{ region, account, name string }

// entrant is a person of the parity table in one account.
type entrant struct {
	row      *fleet.PersonParity
	account  string
	hosts    []int // with a shell
	forced   []int // by keys that force a command alone
	attach   []string
	sessions []string
}

// findTeams groups people by what they may do today.
func (p *promised) findTeams(a *fleet.Assessment) {
	var all []*entrant
	unclaimed := 0
	for i := range a.Parity.People {
		row := &a.Parity.People[i]
		if row.Claimed {
			p.rows[row.Person] = row
			all = append(all, p.entrants(row)...)
		} else if row.Keeps+row.Loses > 0 {
			unclaimed++
		}
	}
	if unclaimed > 0 {
		p.note("%s or principals that get in today are nobody's by the owners file: no policy stands for them (migrate access lists them)", fleet.Count(unclaimed, "key"))
	}
	p.unattached(all)
	p.tellApart(all)
	groups := map[string]*team{}
	for _, e := range all {
		for _, mode := range []struct {
			hosts   []int
			service bool
		}{{e.hosts, false}, {e.forced, true}} {
			if len(mode.hosts) == 0 || mode.service && len(e.hosts) > 0 {
				continue
			}
			key := fmt.Sprintf("%q %q %v %q", e.account, e.row.Team, mode, e.sessions)
			if mode.service {
				key += e.row.Person // one service's commands are not another's
			}
			t := groups[key]
			if t == nil {
				t = &team{world: p.world, account: e.account, name: e.row.Team, hosts: mode.hosts, service: mode.service, sessions: e.sessions}
				groups[key] = t
				p.teams = append(p.teams, t)
			}
			t.people = append(t.people, e.row.Person)
			t.attach = addAll(t.attach, e.attach...)
		}
		if len(e.hosts) > 0 && len(e.forced) > 0 {
			p.note("%s has a shell on some hosts and forced commands alone on %s: IAM cannot tie a document to hosts, so a principal of its own has to run those commands", e.row.Person, fleet.Count(len(e.forced), "host"))
		}
	}
	for _, t := range p.teams {
		p.finish(t)
	}
	p.nameTeams()
	slices.SortStableFunc(p.teams, func(a, b *team) int {
		return cmp.Or(strings.Compare(a.account, b.account), strings.Compare(a.name, b.name))
	})
}

// entrants gives a person's part of each account.
func (p *promised) entrants(row *fleet.PersonParity) []*entrant {
	var out []*entrant
	unknown, gains := 0, 0
	for i := range p.snapshot.Hosts {
		h := &p.snapshot.Hosts[i]
		if i >= len(row.Cells) || gone(h) {
			continue
		}
		switch row.Cells[i] {
		case fleet.ParityUnknown:
			unknown++
		case fleet.ParityGains:
			gains++
		case fleet.ParityKeeps, fleet.ParityLoses:
			at := slices.IndexFunc(out, func(e *entrant) bool { return e.account == h.Account })
			if at < 0 {
				at = len(out)
				out = append(out, p.entrant(row, h.Account))
			}
			if onlyCommands(h, row.Keys) {
				out[at].forced = append(out[at].forced, i)
			} else {
				out[at].hosts = append(out[at].hosts, i)
			}
		}
	}
	if unknown > 0 {
		p.note("%s: whether they get in is not known on %s: no policy allows those (name the team's tag under access.team_tag, or take the inventory again)", row.Person, fleet.Count(unknown, "host"))
	}
	if gains > 0 {
		p.note("%s may start sessions on %s where they do not get in over SSH today: the policies made here leave those out", row.Person, fleet.Count(gains, "host"))
	}
	return out
}

func (p *promised) entrant(row *fleet.PersonParity, account string) *entrant {
	e := &entrant{row: row, account: account}
	for _, arn := range row.Principals {
		if fleet.ARNAccount(arn) == account {
			e.attach = addAll(e.attach, arn)
		}
	}
	return e
}

// unattached tells whose policies nobody can be given yet.
func (p *promised) unattached(all []*entrant) {
	var accounts []string
	people := map[string][]string{}
	for _, e := range all {
		if len(e.attach) == 0 {
			accounts = addAll(accounts, e.account)
			people[e.account] = append(people[e.account], e.row.Person)
		}
	}
	for _, account := range accounts {
		p.note("the owners file names no IAM user or role in account %s for %s: their policies wait for the ones that they will use", account, strings.Join(people[account], ", "))
	}
}

// onlyCommands reports whether every key of a person that opens a host forces a command.
func onlyCommands(h *fleet.Host, fingerprints []string) bool {
	found := false
	for _, k := range h.Probe.Value.Keys.Value {
		if k.CA || k.Problem != "" || k.SendsAway() || !slices.Contains(fingerprints, k.Fingerprint) {
			continue
		}
		if command, ok := k.Option("command"); !ok || command == "" {
			return false
		}
		found = true
	}
	return found
}

// sessionName is what AWS takes as the name of a role session.
// Source: AWS STS API Reference, AssumeRole.
var sessionName = regexp.MustCompile(`^[A-Za-z0-9_+=,.@-]{2,64}$`)

// tellApart narrows what people get who share a principal with people of other
// hosts: by the names of their role sessions, or to what all of them share.
func (p *promised) tellApart(all []*entrant) {
	sharers := map[string][]*entrant{}
	for _, e := range all {
		for _, arn := range e.attach {
			sharers[arn] = append(sharers[arn], e)
		}
	}
	for _, arn := range slices.Sorted(maps.Keys(sharers)) {
		list := sharers[arn]
		if !slices.ContainsFunc(list[1:], func(e *entrant) bool {
			return !slices.Equal(e.hosts, list[0].hosts) || !slices.Equal(e.forced, list[0].forced)
		}) {
			continue
		}
		if strings.Contains(arn, ":role/") && !slices.ContainsFunc(list, func(e *entrant) bool { return !named(e) }) {
			for _, e := range list {
				e.sessions = e.row.Sessions
			}
			continue
		}
		common := slices.Clone(list[0].hosts)
		for _, e := range list[1:] {
			common = slices.DeleteFunc(common, func(i int) bool { return !slices.Contains(e.hosts, i) })
		}
		for _, e := range list {
			p.note("%s shares %s with others who have other hosts: their policy has only the %s that all of them have; give them principals of their own, or name their role sessions in the owners file", e.row.Person, arn, fleet.Count(len(common), "host"))
			e.hosts, e.forced = common, nil
		}
	}
}

// named reports whether a person's role sessions can be told from others'.
func named(e *entrant) bool {
	return len(e.row.Sessions) > 0 && !slices.ContainsFunc(e.attach, func(arn string) bool { return !strings.Contains(arn, ":role/") }) &&
		!slices.ContainsFunc(e.row.Sessions, func(s string) bool { return !sessionName.MatchString(s) })
}

// finish fills in how a team's policy knows its hosts, and what it needs beside them.
func (p *promised) finish(t *team) {
	slices.Sort(t.people)
	slices.Sort(t.attach)
	p.byTag(t)
	for _, at := range p.placesOf(t) {
		in := p.inputs[at]
		r := p.region(at)
		t.audit = append(t.audit, auditOf(r, in)...)
		if !t.service {
			t.documents = append(t.documents, documentName{at.Region, at.Account, fleet.PreferencesName})
			if p.query.SSH {
				t.documents = append(t.documents, documentName{at.Region, "", sshDocument})
			}
		}
		if key := keyARN(r, in); key != "" {
			t.keys = addAll(t.keys, key)
		} else if in.Key != "" {
			p.note("account %s, %s: KMS key %s of the preferences was not read: operators' policies do not allow it, and shells would not open", at.Account, at.Region, in.Key)
		}
	}
}

const sshDocument = "AWS-StartSSHSession"

// placesOf are the Regions of a team's hosts, in order.
func (p *promised) placesOf(t *team) []fleet.Place {
	var out []fleet.Place
	for _, i := range t.hosts {
		if at := p.snapshot.Hosts[i].Ref().Place(); !slices.Contains(out, at) {
			out = append(out, at)
		}
	}
	return out
}

// nameTeams gives every team a name that is its own in the account: the one of
// the owners file, the tag's value, or its people's.
func (p *promised) nameTeams() {
	for _, t := range p.teams {
		switch {
		case t.name != "":
		case len(t.people) == 1:
			t.name = t.people[0]
		case t.tag != "":
			t.name = strings.Join(t.values, "-")
		default:
			t.name = t.people[0] + "-and-" + fmt.Sprint(len(t.people)-1)
		}
	}
	seen := map[string]int{}
	for _, t := range p.teams {
		t.base = name("migrate-operator-", t.name, mostBase-3)
		key := t.account + "/" + strings.ToLower(t.base)
		if seen[key]++; seen[key] > 1 {
			t.base = fmt.Sprintf("%s-%d", t.base, seen[key])
			t.name = fmt.Sprintf("%s-%d", t.name, seen[key])
		}
	}
}

func addAll(to []string, more ...string) []string {
	for _, m := range more {
		if !slices.Contains(to, m) {
			to = append(to, m)
		}
	}
	return to
}
