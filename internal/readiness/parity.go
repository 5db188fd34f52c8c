package readiness

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// mostUnclaimed is how many rows keys and principals have that nobody claims,
// of each kind; those that open the fewest hosts share one more row.
const mostUnclaimed = 200

// parity compares, for every owner and for what no owner claims, who gets in
// over SSH today with who may start a shell session. The owners file is taken
// to be whole for those whom it names: a key that nobody claims is nobody's of
// them, and so is a principal.
func (a *assessor) parity() fleet.Parity {
	g := newGate(a)
	var out fleet.Parity
	for _, p := range g.rows() {
		row := fleet.PersonParity{Person: p.name, Claimed: p.claimed, Principals: p.principals, Keys: p.keys, Cells: string(p.cells)}
		if p.owner != nil {
			row.Team, row.Sessions = p.owner.Team, slices.Clone(p.owner.Sessions)
		}
		for _, c := range p.cells {
			switch c {
			case fleet.ParityKeeps:
				row.Keeps++
			case fleet.ParityLoses:
				row.Loses++
			case fleet.ParityGains:
				row.Gains++
			case fleet.ParityUnknown:
				row.Unknown++
			}
		}
		out.People = append(out.People, row)
	}
	return out
}

// letter is the cell for one person and host.
func letter(ssh, session answer) byte {
	switch {
	case ssh == maybe || session == maybe:
		return fleet.ParityUnknown
	case ssh == yes && session == yes:
		return fleet.ParityKeeps
	case ssh == yes:
		return fleet.ParityLoses
	case session == yes:
		return fleet.ParityGains
	}
	return fleet.ParityNone
}

// gate gathers both ways in for everybody.
type gate struct {
	*assessor
	everybody []*entrant          // the owners first, in their order
	byName    map[string]*entrant // of those whom no owner claims
	ownerOf   map[string]int      // memo: by fingerprint

	doubt    []bool   // by host: a way in over SSH that is not known whose it is
	nobodys  []answer // by host: an unclaimed key or certificate gets in
	strange  []*actor // principals that nobody claims
	stranger []answer // by host: the best that one of them may do
	connect  []bool   // by host: EC2 Instance Connect's key command is set
	certs    map[*entrant][]certified
}

// entrant is a row of the parity table in the making.
type entrant struct {
	name       string
	claimed    bool
	owner      *fleet.Owner
	principals []string
	keys       []string
	actors     []*actor
	assumes    []*actor // roles that trust one of the actors
	lost       bool     // a principal of it could not be looked up: what it may do is not known
	ssh        []answer
	cells      []byte
}

func newGate(a *assessor) *gate {
	n := len(a.snapshot.Hosts)
	g := &gate{
		assessor: a, byName: map[string]*entrant{}, ownerOf: map[string]int{}, doubt: make([]bool, n), nobodys: make([]answer, n), stranger: make([]answer, n),
		connect: make([]bool, n), certs: map[*entrant][]certified{},
	}
	g.owners()
	for _, x := range a.people.workforce.actors {
		if len(x.people) == 0 {
			g.strange = append(g.strange, x)
			for i := range g.stranger {
				g.stranger[i] = max(g.stranger[i], x.start(i))
			}
		}
	}
	g.certificates()
	for i := range a.snapshot.Hosts {
		h := &a.snapshot.Hosts[i]
		if !g.principalsKnown(h.Account) {
			g.stranger[i] = max(g.stranger[i], maybe)
		}
		g.host(i, h)
	}
	return g
}

// owners makes a row for everyone in the owners file.
func (g *gate) owners() {
	for i := range g.people.owners {
		o := &g.people.owners[i]
		e := g.entrant(o.Person)
		e.claimed, e.owner = true, o
		e.principals = slices.Clone(o.Principals)
		for _, arn := range o.Principals {
			if x := g.people.workforce.byARN[arn]; x != nil {
				e.actors = append(e.actors, x)
				e.assumes = append(e.assumes, g.people.workforce.assumedBy(x)...)
			} else {
				e.lost = e.lost || !g.listedIn(fleet.ARNAccount(arn), arn)
			}
		}
		// A federated person without a role: which one they assume is not known.
		e.lost = e.lost || len(o.Principals) == 0 && len(o.Sessions) > 0
	}
}

// principalsKnown reports whether the lists of an account's users and roles are whole.
func (g *gate) principalsKnown(account string) bool {
	for _, a := range g.iam.accounts[account] {
		if a.Users.Known && a.Roles.Known {
			return true
		}
	}
	return false
}

// listedIn reports whether the list in which a principal would stand is whole,
// so that its absence means that there is no such principal.
func (g *gate) listedIn(account, arn string) bool {
	for _, a := range g.iam.accounts[account] {
		if strings.Contains(arn, ":user/") && a.Users.Known || strings.Contains(arn, ":role/") && a.Roles.Known {
			return true
		}
	}
	return false
}

func (g *gate) entrant(name string) *entrant {
	e := &entrant{name: name, ssh: make([]answer, len(g.snapshot.Hosts))}
	g.everybody = append(g.everybody, e)
	return e
}

// of finds the row of a key's or certificate's owner, or makes one: keys that
// nobody claims are told apart by their comments.
func (g *gate) of(owner int, name string) *entrant {
	if owner != nobody {
		return g.everybody[owner]
	}
	e := g.byName[name]
	if e == nil {
		e = g.entrant(name)
		g.byName[name] = e
	}
	return e
}

// certificates notes what logs saw certificates open.
func (g *gate) certificates() {
	for _, c := range g.people.book.all {
		if c.CertID == "" {
			continue
		}
		owner, _ := g.people.ofCertificate(c.CertID)
		e := g.of(owner, "certificate "+c.CertID)
		if seen := (certified{c.CA, c.User}); !slices.Contains(g.certs[e], seen) {
			g.certs[e] = append(g.certs[e], seen)
		}
	}
	for _, e := range g.everybody {
		if e.owner != nil && len(e.owner.Certificates) > 0 && g.certs[e] == nil {
			g.certs[e] = []certified{}
		}
	}
}

// host judges everybody's way in over SSH on one host.
func (g *gate) host(i int, h *fleet.Host) {
	d := newDoor(h, g.snapshot.Finished)
	if !h.Probe.Known {
		g.doubt[i] = true
		return
	}
	keys := h.Probe.Value.Keys
	instanceConnect, command := d.keyCommand()
	g.connect[i] = instanceConnect
	g.doubt[i] = !keys.Known || !d.sshd.Known || command
	lately := g.logins(i, h)
	for j := range keys.Value {
		k := &keys.Value[j]
		if k.CA || k.Fingerprint == "" {
			continue
		}
		a := d.key(k)
		if a == maybe && lately[opened{k.User, k.Fingerprint}] {
			a = yes // sshd has shown that it takes the key
		}
		if a > no {
			g.opens(i, g.ofKey(k), a)
		}
	}
	for e, seen := range g.certs {
		g.opens(i, e, d.certificate(seen))
	}
	if len(d.authorities()) > 0 {
		g.nobodys[i] = max(g.nobodys[i], maybe) // certificates that no log has shown
	}
	g.passwords(i, d)
}

// opens notes that somebody gets in on a host over SSH.
func (g *gate) opens(host int, e *entrant, a answer) {
	e.ssh[host] = max(e.ssh[host], a)
	if !e.claimed {
		g.nobodys[host] = max(g.nobodys[host], a)
	}
}

// ofKey finds the row of a key on a host.
func (g *gate) ofKey(k *fleet.Key) *entrant {
	comments := g.keys.comments(k.Fingerprint)
	owner, seen := g.ownerOf[k.Fingerprint]
	if !seen {
		owner, _ = g.people.ofKey(k.Fingerprint, comments)
		g.ownerOf[k.Fingerprint] = owner
	}
	if owner == nobody {
		owner, _ = g.people.ofUser(k.User)
	}
	name := k.Fingerprint
	if len(comments) > 0 {
		name = comments[0]
	}
	e := g.of(owner, "key "+name)
	if !slices.Contains(e.keys, k.Fingerprint) {
		e.keys = append(e.keys, k.Fingerprint)
	}
	return e
}

// passwords judges logins by password: an owner who alone uses an account may
// know its password, and the log shows who else came by one.
func (g *gate) passwords(i int, d sshdoor) {
	for _, e := range g.everybody {
		if e.owner == nil {
			continue
		}
		for _, user := range e.owner.Users {
			e.ssh[i] = max(e.ssh[i], min(maybe, d.password(user)))
		}
	}
	for _, l := range d.h.Probe.Value.Logins.Value.Logins {
		if l.Method != "password" && !strings.HasPrefix(l.Method, "keyboard-interactive") {
			continue
		}
		if owner, _ := g.people.ofUser(l.User); owner == nobody {
			g.opens(i, g.of(nobody, "password of "+l.User), d.password(l.User))
		}
	}
}

// rows gives the finished rows: the owners, then what nobody claims, in the
// order of how many hosts it opens.
func (g *gate) rows() []*entrant {
	owners := len(g.people.owners)
	for _, e := range g.everybody[:owners] {
		g.settle(e)
	}
	loose := slices.Clone(g.everybody[owners:])
	for _, e := range loose {
		g.settle(e)
	}
	var principals []*entrant
	for _, x := range g.strange {
		if slices.ContainsFunc(x.reach, func(r reach) bool { return r.start > no }) {
			e := &entrant{name: x.arn, principals: []string{x.arn}, actors: []*actor{x}}
			g.settlePrincipal(e)
			principals = append(principals, e)
		}
	}
	out := slices.Clone(g.everybody[:owners])
	out = append(out, most(loose, "keys that nobody claims")...)
	return append(out, most(principals, "principals that nobody claims")...)
}

// settle compares the two ways in of an owner, or of a key that nobody claims.
func (g *gate) settle(e *entrant) {
	e.cells = make([]byte, len(e.ssh))
	for i := range e.cells {
		ssh, session := e.ssh[i], no
		if g.doubt[i] {
			ssh = max(ssh, maybe)
		}
		if !e.claimed {
			session = min(g.stranger[i], maybe)
			if g.connect[i] && slices.ContainsFunc(g.strange, func(x *actor) bool { return x.connect(i) > no }) {
				ssh = max(ssh, maybe)
			}
		}
		for _, x := range e.actors {
			session = max(session, x.start(i))
			if g.connect[i] {
				ssh = max(ssh, x.connect(i))
			}
		}
		for _, x := range e.assumes {
			session = max(session, min(maybe, x.start(i)))
		}
		if e.lost {
			session = max(session, maybe)
		}
		e.cells[i] = letter(ssh, session)
	}
}

// settlePrincipal compares the ways in of a principal that nobody claims: any
// key that nobody claims may be its own.
func (g *gate) settlePrincipal(e *entrant) {
	e.cells = make([]byte, len(g.snapshot.Hosts))
	x := e.actors[0]
	for i := range e.cells {
		ssh := min(g.nobodys[i], maybe)
		if g.doubt[i] {
			ssh = maybe
		}
		if g.connect[i] {
			ssh = max(ssh, x.connect(i))
		}
		e.cells[i] = letter(ssh, x.start(i))
	}
}

// most keeps the rows that matter on most hosts, and puts the rest into one.
func most(all []*entrant, rest string) []*entrant {
	matters := func(e *entrant) int {
		n := 0
		for _, c := range e.cells {
			if c != fleet.ParityNone {
				n++
			}
		}
		return n
	}
	counts := make(map[*entrant]int, len(all))
	for _, e := range all {
		counts[e] = matters(e)
	}
	all = slices.DeleteFunc(all, func(e *entrant) bool { return counts[e] == 0 })
	slices.SortFunc(all, func(a, b *entrant) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a.name, b.name))
	})
	if len(all) <= mostUnclaimed {
		return all
	}
	sum := &entrant{name: fmt.Sprintf("%d more %s", len(all)-mostUnclaimed, rest), cells: slices.Clone(all[mostUnclaimed].cells)}
	for _, e := range all[mostUnclaimed:] {
		sum.keys = append(sum.keys, e.keys...)
		sum.principals = append(sum.principals, e.principals...)
		for i, c := range e.cells {
			sum.cells[i] = together(sum.cells[i], c)
		}
	}
	return append(all[:mostUnclaimed:mostUnclaimed], sum)
}

// together is the cell of two rows in one: what is not known stays so, and a
// loss of one is a loss.
func together(a, b byte) byte {
	const order = "ulkg-"
	return order[min(strings.IndexByte(order, a), strings.IndexByte(order, b))]
}
