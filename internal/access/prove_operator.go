package access

import (
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
)

// callers are the team's principals, and those who share a principal or a
// policy with it but are none of it.
func (t *team) callers(parsed) []caller {
	var out []caller
	add := func(arn, name, session string, keys readiness.Keys) {
		c := caller{name: name, keys: keys, host: -1, id: arn + "/" + session}
		out = append(out, c)
		if t.variable {
			without := caller{name: name + " without tag " + t.tag, keys: readiness.Keys{}, host: -1, id: c.id, bare: true}
			for k, v := range keys {
				if !strings.HasPrefix(k, "aws:principaltag/") {
					without.keys[k] = v
				}
			}
			without.keys["aws:principaltag/"] = nil
			out = append(out, without)
		}
	}
	for _, arn := range t.attach {
		name := arn[strings.LastIndexByte(arn, ':')+1:]
		if strings.Contains(arn, ":user/") {
			add(arn, name, "", t.keysOf(arn, ""))
			continue
		}
		for _, session := range t.sessionNames() {
			add(arn, name+" as "+session, session, t.keysOf(arn, session))
		}
	}
	if len(t.attach) == 0 {
		iam := "arn:" + t.partition() + ":iam::" + t.account
		add(iam+":user/to-be-named", "a user to be named", "", readiness.Stranger(iam+":user/to-be-named", "to-be-named", ""))
		add(iam+":role/to-be-named", "a role to be named", "somebody", readiness.Stranger(iam+":role/to-be-named", "to-be-named", "somebody"))
	}
	if len(t.sessions) > 0 {
		for _, arn := range t.attach {
			const session = "somebody.else"
			out = append(out, caller{name: arn[strings.LastIndexByte(arn, ':')+1:] + " as " + session, keys: t.keysOf(arn, session), host: -1, id: arn + "/" + session, none: true})
		}
	}
	return out
}

func (t *team) sessionNames() []string {
	if len(t.sessions) > 0 {
		return t.sessions
	}
	return []string{"somebody"}
}

func (t *team) keysOf(arn, session string) readiness.Keys {
	if keys, ok := t.world.grants.Caller(arn, session); ok {
		return keys
	}
	return readiness.Stranger(arn, arn[strings.LastIndexByte(arn, '/')+1:], session)
}

func (t *team) things(text parsed) []thing {
	at := t.world.snapshot.Hosts[t.hosts[0]].Ref().Place()
	regions := t.regions()
	out := others(t.partition(), at)
	mine := make([]bool, len(t.world.snapshot.Hosts))
	for _, i := range t.hosts {
		mine[i] = true
	}
	stranger := slices.Index(mine, false)
	out = append(out, t.world.hosts(func(i int) bool { return i == t.hosts[0] || i == stranger })...)
	for _, region := range append(slices.Clone(regions), elsewhere(regions)) {
		here, abroad := fleet.Place{Account: t.account, Region: region}, fleet.Place{Account: foreign, Region: region}
		out = append(out, phantom(here, nil), phantom(abroad, nil))
		for _, tags := range t.tagged(text) {
			out = append(out, phantom(here, tags), phantom(abroad, tags))
		}
		out = append(out, plain(t.ssm(region, t.account, "document/"+fleet.PreferencesName), here), plain(t.ssm(region, t.account, "document/"+ownPrefix+"of-nobody"), here))
	}
	for _, d := range t.world.documentNames(t.account) {
		out = append(out, plain(t.documentARN(d), fleet.Place{Account: t.account, Region: d.region}))
	}
	for _, d := range t.documents {
		out = append(out, plain(t.documentARN(d), fleet.Place{Account: t.account, Region: d.region}))
	}
	for _, key := range t.keys {
		out = append(out, plain(key, at))
	}
	for _, target := range t.protected() {
		for _, r := range target.resources {
			out = append(out, plain(witness(r), at))
		}
	}
	out = append(out, t.sessionThings(at, text)...)
	return mentioning(out, text, at)
}

// sessionThings are sessions: everybody's own, another person's, and those of
// the same names in another account.
func (t *team) sessionThings(at fleet.Place, text parsed) []thing {
	// AWS tells of the tag for sessions of roles alone: those of users must do without.
	session := func(account, name, userID, owner string) thing {
		x := plain(t.ssm(at.Region, account, "session/"+name+"-0123456789abcdef0"), fleet.Place{Account: account, Region: at.Region})
		if userID != "" {
			for _, family := range []string{"ssm:resourcetag/", "aws:resourcetag/"} {
				x.keys[family+"aws:ssmmessages:session-id"] = []string{userID}
			}
		}
		x.owner = owner
		return x
	}
	out := []thing{session(t.account, "another.person", "AROAANOTHERPERSON:another.person", "")}
	for _, c := range t.callers(text) {
		name, id := c.id[strings.LastIndexByte(c.id, '/')+1:], c.keys["aws:userid"][0]
		if user := c.keys["aws:username"]; len(user) == 1 {
			name, id = user[0], ""
		}
		out = append(out, session(t.account, name, id, c.id), session(foreign, name, id, ""))
	}
	return out
}

// tagged are the tags that instances would have whom the text's conditions, or
// the promise, speak of.
func (t *team) tagged(text parsed) []map[string]string {
	var out []map[string]string
	for key, values := range text.compared() {
		for _, family := range []string{"ssm:resourcetag/", "aws:resourcetag/"} {
			if tag, ok := strings.CutPrefix(key, family); ok && !strings.HasPrefix(tag, "aws:") {
				for _, v := range values {
					out = append(out, map[string]string{tag: v})
				}
			}
		}
	}
	for _, v := range t.values {
		out = append(out, map[string]string{t.tag: v}, map[string]string{t.tag: v + "-and-more"}, map[string]string{t.tag: ""})
	}
	slices.SortFunc(out, func(a, b map[string]string) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return out
}

func (t *team) regions() []string {
	var out []string
	for _, i := range t.hosts {
		out = addAll(out, t.world.snapshot.Hosts[i].Region)
	}
	return out
}

// documentNames are the account's own session documents.
func (w *world) documentNames(account string) []documentName {
	var out []documentName
	for _, r := range w.snapshot.Regions {
		if r.Account != account {
			continue
		}
		for _, d := range r.Documents.Value {
			out = append(out, documentName{r.Name, account, d.Name})
		}
	}
	return out
}

// promises is the parity table's promise, and what goes with a session.
func (t *team) promises(c caller, q ask) bool {
	switch {
	case c.none:
		return false
	case slices.Contains(look, q.action), q.action == dataChannel:
		return true
	case q.action == makeDataKey:
		return slices.Contains(t.keys, q.thing.arn)
	case slices.Contains(ownSession, q.action):
		return q.thing.owner != "" && q.thing.owner == c.id
	case q.action != startSession || !q.checked:
		return false
	case q.thing.host >= 0:
		_, mine := slices.BinarySearch(t.hosts, q.thing.host)
		return mine && !c.bare
	case strings.Contains(q.thing.arn, ":instance/"):
		return !c.bare && t.adopts(q.thing)
	}
	if t.documentARNs == nil {
		t.documentARNs = map[string]bool{}
		for _, d := range t.documents {
			t.documentARNs[t.documentARN(d)] = true
		}
	}
	return t.documentARNs[q.thing.arn]
}

// adopts reports whether an instance that comes to be is the team's by its tag.
func (t *team) adopts(x *thing) bool {
	if t.tag == "" || x.place.Account != t.account || !slices.Contains(t.regions(), x.place.Region) {
		return false
	}
	v, has, _ := valueOf(&fleet.Host{Tags: x.tags}, t.tag)
	return has && slices.Contains(t.values, v)
}

func (t *team) keeps(q ask) bool {
	return slices.ContainsFunc(t.protected(), func(p auditTarget) bool {
		return slices.Contains(p.actions, q.action) && slices.ContainsFunc(p.resources, func(r string) bool { return matches(r, q.thing.arn) })
	})
}

func (t *team) asks() []string {
	out := append([]string{startSession, dataChannel, makeDataKey}, ownSession...)
	out = append(out, look...)
	for _, p := range t.protected() {
		out = addAll(out, p.actions...)
	}
	return out
}

func (t *team) tells() []string {
	var names, what []string
	for _, d := range t.documents {
		names = addAll(names, d.name)
	}
	who := strings.Join(t.people, ", ")
	if len(t.attach) == 0 {
		who += " (no principal is named yet; asked for a user and a role without tags)"
	}
	where := fmt.Sprintf("%d of %s", len(t.hosts), fleet.Count(len(t.world.snapshot.Hosts), "host"))
	if t.tag != "" {
		where += fmt.Sprintf(", and instances to come with tag %s = %s", t.tag, strings.Join(t.values, " or "))
	}
	out := []string{
		fmt.Sprintf("%s may start sessions on %s with %s, and with no other document", who, where, strings.Join(names, ", ")),
		"resume and end sessions: their own only",
	}
	if !slices.Contains(names, sshDocument) {
		what = append(what, "SSH through Session Manager")
	}
	what = append(what, "sessions on other hosts, Run Command, changes of tags, roles, rules and documents")
	out = append(out, "nothing else: no "+strings.Join(what, ", no "))
	var kept []string
	for _, p := range t.protected() {
		kept = append(kept, p.resources...)
	}
	return append(out, "denied whatever other policies allow: changes of "+strings.Join(kept, ", "))
}
