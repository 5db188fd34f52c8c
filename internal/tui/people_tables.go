package tui

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// names lists hosts by name, each name once, as many as one can take in.
func (d *data) names(ids []string) string {
	const most = 60
	times := map[string]int{}
	for _, id := range ids {
		times[d.nameOf(id)]++
	}
	names := slices.SortedFunc(maps.Keys(times), func(a, b string) int { return cmp.Or(compareNatural(a, b), strings.Compare(a, b)) })
	shown, left := names[:min(len(names), most)], len(ids)
	out := make([]string, len(shown))
	for i, name := range shown {
		out[i] = name
		if n := times[name]; n > 1 {
			out[i] += " ×" + thousands(n)
		}
		left -= times[name]
	}
	text := strings.Join(out, ", ")
	if left > 0 {
		text += fmt.Sprintf(" and %s more", thousands(left))
	}
	return text
}

func (d *data) nameOf(id string) string {
	if i, ok := d.byID[id]; ok {
		return d.rows[i].name
	}
	return clean(id)
}

var consumerTones = map[fleet.ConsumerStatus]struct {
	tone   tone
	symbol string
}{
	fleet.ConsumerActive:   {toneBad, "✗"},
	fleet.ConsumerWaived:   {toneDoubt, "~"},
	fleet.ConsumerSilent:   {toneGood, "·"},
	fleet.ConsumerMigrated: {toneGood, "✓"},
}

// ledgerTable is who still comes in over SSH, those who stand in the way first.
func ledgerTable(d *data) []table {
	in := d.judged.Ledger
	t := table{
		name: "consumers", empty: "No login over SSH is known. That proves nothing for hosts whose logs were not read.",
		columns: []tableColumn{{title: "WHO"}, {title: "STATUS", width: 8}, {title: "USE", width: 8, need: 2}, {title: "TO USER", width: 10, need: 1}, {title: "FROM", width: 15, need: 5}, {title: "HOSTS", width: 5, number: true, need: 3}, {title: "LOGINS", width: 6, number: true, need: 6}, {title: "LAST SEEN", width: 10, need: 4}},
	}
	for _, c := range d.groups {
		look := consumerTones[c.Status]
		name := consumerName(c.Consumer)
		if c.Owner == "" {
			name = "? " + name // nobody claims it
		}
		t.rows = append(t.rows, tableRow{
			tone: look.tone, symbol: look.symbol,
			cells:  []string{name, c.Status.String(), cmp.Or(clean(string(c.Use)), "?"), clean(c.User), cmp.Or(c.Where(), "?"), thousands(len(c.Hosts)), thousands(c.Count), day(c.Last)},
			strip:  [2]string{"Why", cmp.Or(clean(c.Why), "no reason was given")},
			detail: func(s *sheet) { s.consumer(c, d) },
			next:   consumerNext(c),
		})
	}
	tally := fleet.TallyOf(d.groups)
	d.active = tally.Active
	counts := fmt.Sprintf("%d active, %d waived, %d silent, %d migrated; ", tally.Active, tally.Waived, tally.Silent, tally.Migrated)
	read, all := thousands(in.Hosts-len(in.Unread)), thousands(in.Hosts)
	t.summary = counts + "logins of " + read + " of " + all + " hosts known"
	t.short = counts + read + "/" + all + " hosts read"
	return []table{t}
}

// consumerNext says what to do about a consumer.
func consumerNext(c fleet.ConsumerGroup) [2]string {
	switch {
	case c.Own():
		return [2]string{"press esc to go back", "these are migrate's own logins"}
	case c.Status == fleet.ConsumerWaived && c.Waiver != nil:
		return [2]string{"move it before " + day(c.Waiver.Until), "the waiver ends on that day, and port 22 can close no earlier"}
	case c.Status != fleet.ConsumerActive:
		return [2]string{"press esc to go back", "it no longer keeps port 22 open"}
	case c.Owner == "":
		return [2]string{"claim it in the owners file", "nobody knows whose work closing port 22 would stop; a waiver there lets it stay for a while"}
	case len(c.Principals) == 0:
		return [2]string{"give its owner a principal in the owners file", "without one nothing can show that the move is done"}
	}
	return [2]string{"move it to Session Manager, or waive it in the owners file", "closing port 22 would stop its work"}
}

// consumerName is the owner, or what nobody claims.
func consumerName(c fleet.Consumer) string {
	if c.Owner != "" {
		return clean(c.Owner)
	}
	if c.CertID != "" {
		return "certificate " + clean(c.CertID)
	}
	return clean(cmp.Or(c.Comment, c.Fingerprint, c.Method))
}

func (s *sheet) consumer(c fleet.ConsumerGroup, d *data) {
	s.pair("owner", cmp.Or(clean(c.Owner), "nobody claims it"))
	if c.OwnerBy != "" {
		s.pair("found by", clean(c.OwnerBy))
	}
	s.pair("principals", join(", ", c.Principals...))
	s.pair("status", c.Status.String())
	s.pair("why", clean(c.Why))
	if w := c.Waiver; w != nil {
		s.pair("waived by", clean(w.By)+": "+clean(w.Why)+", until "+stamp(w.Until))
	}
	s.pair("logs in by", join(", ", c.Method, c.KeyType, c.Fingerprint, c.Comment))
	s.pair("certificate", join(", ", c.CertID, c.CA))
	from := make([]string, len(c.Addresses))
	for i, a := range c.Addresses {
		from[i] = a.String()
	}
	s.pair("from", cmp.Or(join(", ", from...), "not known"))
	s.pair("to user", clean(c.User))
	s.pair("for", cmp.Or(clean(string(c.Use)), "not known: the logs do not tell"))
	s.pair("logins", thousands(c.Count))
	if !c.First.IsZero() {
		s.pair("first seen", stamp(c.First))
	}
	s.pair("last seen", stamp(c.Last))
	if c.Open > 0 {
		s.pair("open now", count(c.Open, "session"))
	}
	s.pair("hosts", thousands(len(c.Hosts))+": "+d.names(c.Hosts))
}

// day is a date; "?" when it is not known.
func day(t time.Time) string {
	if t.IsZero() {
		return "?"
	}
	return t.UTC().Format("2006-01-02")
}

// accessTables are the people and the IAM principals.
func accessTables(d *data) []table { return []table{parityTable(d), operatorTable(d)} }

func parityTable(d *data) table {
	t := table{
		name: "people", empty: "Nobody is known who gets in, today or tomorrow.",
		columns: []tableColumn{{title: "PERSON"}, {title: "KEEPS", width: 6, number: true, need: 1}, {title: "LOSES", width: 6, number: true}, {title: "GAINS", width: 6, number: true, need: 2}, {title: "UNKNOWN", width: 7, number: true, need: 3}, {title: "KEYS", width: 4, number: true, need: 4}},
	}
	people := slices.Clone(d.judged.Parity.People)
	slices.SortStableFunc(people, func(a, b fleet.PersonParity) int {
		return cmp.Or(cmp.Compare(b.Loses, a.Loses), cmp.Compare(b.Unknown, a.Unknown), strings.Compare(a.Person, b.Person))
	})
	loses, unknown := 0, 0
	for _, p := range people {
		row := tableRow{
			tone: toneGood, symbol: "✓",
			cells:  []string{clean(p.Person), thousands(p.Keeps), thousands(p.Loses), thousands(p.Gains), thousands(p.Unknown), thousands(len(p.Keys))},
			strip:  [2]string{"By", cmp.Or(join(", ", p.Principals...), "no IAM principal: the owners file names none")},
			detail: func(s *sheet) { s.person(p, d) },
			next:   personNext(p),
		}
		switch {
		case p.Loses > 0:
			loses++
			row.tone, row.symbol = toneBad, "✗"
		case p.Unknown > 0:
			unknown++
			row.tone, row.symbol = toneDoubt, "?"
		}
		t.rows = append(t.rows, row)
	}
	d.losing = loses
	t.short = fmt.Sprintf("%d of %d people lose hosts; of %d something is not known", loses, len(people), unknown)
	t.summary = fmt.Sprintf("%d of %d people lose hosts, of %d something is not known: SSH today against Session Manager tomorrow", loses, len(people), unknown)
	return t
}

// personNext says what to do about a person's access.
func personNext(p fleet.PersonParity) [2]string {
	switch {
	case p.Loses == 0 && p.Unknown == 0:
		return [2]string{"press esc to go back", "nothing is lost"}
	case !p.Claimed:
		return [2]string{"name the owner in the owners file", "only then is it known who loses access, and what the person may do in IAM"}
	case len(p.Principals) == 0:
		return [2]string{"give " + clean(p.Person) + " a principal in the owners file", "without one no session can be started when port 22 is closed"}
	case p.Loses > 0:
		return [2]string{"allow ssm:StartSession on the lost hosts", "the principals above may not start sessions there, and SSH goes"}
	}
	return [2]string{"find out what is not known", "the hosts' keys or the principals' policies could not be read; Inventory lists what gave no answer"}
}

func (s *sheet) person(p fleet.PersonParity, d *data) {
	claimed := "yes"
	if !p.Claimed {
		claimed = "no"
	}
	s.pair("in owners", claimed)
	s.pair("principals", cmp.Or(join(", ", p.Principals...), "none"))
	s.pair("keys", cmp.Or(join(", ", p.Keys...), "none"))
	for _, cell := range []struct {
		label  string
		letter byte
	}{{"loses", fleet.ParityLoses}, {"unknown", fleet.ParityUnknown}, {"gains", fleet.ParityGains}, {"keeps", fleet.ParityKeeps}} {
		var hosts []string
		for i := range min(len(p.Cells), len(d.judged.Hosts)) {
			if p.Cells[i] == cell.letter {
				hosts = append(hosts, d.judged.Hosts[i].Host)
			}
		}
		if len(hosts) > 0 {
			s.pair(cell.label, count(len(hosts), "host")+": "+d.names(hosts))
		}
	}
}

func operatorTable(d *data) table {
	t := table{
		name: "operators", empty: "No IAM principal that may do something with sessions is known.",
		columns: []tableColumn{{title: "PRINCIPAL"}, {title: "START", width: 9, number: true}, {title: "RESUME", width: 9, number: true, need: 4}, {title: "END", width: 9, number: true, need: 3}, {title: "RUN", width: 9, number: true, need: 2}, {title: "PREFS", width: 7, need: 1}},
	}
	operators := slices.Clone(d.judged.Operators)
	slices.SortStableFunc(operators, func(a, b fleet.Operator) int {
		return cmp.Or(cmp.Compare(b.Start.Yes, a.Start.Yes), strings.Compare(a.ARN, b.ARN))
	})
	for _, o := range operators {
		row := tableRow{
			symbol: "·",
			cells:  []string{clean(o.Name()), reach(o.Start), reach(o.Resume), reach(o.Terminate), reach(o.Command), o.EditPreferences.String()},
			strip:  [2]string{"Start by", cmp.Or(clean(o.Why), "no policy grants it a session")},
			detail: func(s *sheet) { s.operator(o) },
			next:   operatorNext(o),
		}
		if o.Unrestricted || o.EditPreferences == fleet.TruthYes {
			row.tone, row.symbol = toneDoubt, "!"
		}
		t.rows = append(t.rows, row)
	}
	t.summary = "on how many hosts each may start a shell, resume or end others', run commands as root"
	t.short = "hosts where each may start, resume, end, run as root"
	return t
}

// operatorNext says what to do about a principal.
func operatorNext(o fleet.Operator) [2]string {
	switch {
	case o.Unrestricted:
		return [2]string{"limit it to tags or instances", "a grant without a condition opens every instance, also those to come"}
	case o.EditPreferences == fleet.TruthYes:
		return [2]string{"see whether it has to edit the preferences", "they decide what every session logs and as whom it runs"}
	case o.Start.Unknown > 0:
		return [2]string{"find out what is not known", "a policy or a tag that decides could not be read; Inventory lists what gave no answer"}
	case len(o.People) == 0:
		return [2]string{"say in the owners file whose it is", "nobody is known to have this principal"}
	}
	return [2]string{"press esc to go back", "the table is there"}
}

// reach is "12", or "12+3?" where something is not known.
func reach(r fleet.Reach) string {
	text := thousands(r.Yes)
	if r.Unknown > 0 {
		text += "+" + thousands(r.Unknown) + "?"
	}
	return text
}

func (s *sheet) operator(o fleet.Operator) {
	kind := o.Kind
	if o.Federated {
		kind += ", federated"
	}
	s.pair("ARN", clean(o.ARN))
	s.pair("kind", clean(kind))
	s.pair("people", cmp.Or(join(", ", o.People...), "none in the owners file"))
	for _, r := range []struct {
		label string
		reach fleet.Reach
	}{{"start", o.Start}, {"resume", o.Resume}, {"terminate", o.Terminate}, {"run as root", o.Command}} {
		s.pair(r.label, fmt.Sprintf("%s yes, %s no, %s unknown", thousands(r.reach.Yes), thousands(r.reach.No), thousands(r.reach.Unknown)))
	}
	if o.Unrestricted {
		s.pair("", "on every instance, by a grant without a condition")
	}
	s.pair("preferences", "may edit them: "+o.EditPreferences.String())
	s.pair("documents", join(", ", o.Documents...))
	s.pair("start by", clean(o.Why))
	s.pair("", "Only for start is kept which policy decides.")
}

// people tells who comes to a host over SSH, and who keeps or loses it.
func (s *sheet) people(d *data, r *row) {
	s.heading("Who uses this host")
	var lines []string
	for _, n := range d.comers[r.host.ID] {
		c := d.groups[n]
		line := join(" as ", consumerName(c.Consumer), c.User)
		if c.Use != "" {
			line += " for " + clean(string(c.Use))
		}
		lines = append(lines, line+", "+c.Status.String())
	}
	s.few("over SSH", lines, "; ")
	if len(lines) == 0 {
		s.pair("over SSH", "no login is known")
		if slices.Contains(d.judged.Ledger.Unread, r.host.ID) {
			s.pair("", "its logins could not be read")
		}
	}
	for _, cell := range []struct {
		label  string
		letter byte
	}{{"loses it", fleet.ParityLoses}, {"not known", fleet.ParityUnknown}, {"keeps it", fleet.ParityKeeps}, {"gains it", fleet.ParityGains}} {
		var who []string
		for _, p := range d.judged.Parity.People {
			if r.at >= 0 && r.at < len(p.Cells) && p.Cells[r.at] == cell.letter {
				who = append(who, clean(p.Person))
			}
		}
		s.few(cell.label, who, ", ")
	}
}

// few lists the first of many.
func (s *sheet) few(label string, all []string, sep string) {
	const most = 12
	text := strings.Join(all[:min(len(all), most)], sep)
	if n := len(all) - most; n > 0 {
		text += fmt.Sprintf(" and %s more", thousands(n))
	}
	s.pair(label, text)
}

func ledgerAdvice(s *peopleScreen) (what, why string) {
	if s.data.active > 0 {
		return "move or waive the active ones", "closing port 22 would stop their work; the owners file says who is who"
	}
	if len(s.data.judged.Ledger.Unread) > 0 {
		return "let the probe read more logs", "hosts whose logins are not known may have consumers that nobody sees"
	}
	return "press 2 for Readiness", "no consumer of SSH is active any more"
}

func accessAdvice(s *peopleScreen) (what, why string) {
	if s.at > 0 {
		return "press enter on a principal", "it shows what the principal may do and which policy grants it; tab shows the people"
	}
	if s.data.losing > 0 {
		return "give those who lose access a principal", "the owners file ties people to IAM principals; tab shows what each principal may do"
	}
	return "press tab for the operators", "nobody is known to lose access"
}
