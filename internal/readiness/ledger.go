package readiness

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// ledger lists who and what comes in over SSH, from the hosts' logs and open
// sessions. Logins from the loopback address that can have come through Session
// Manager (AWS-StartSSHSession) are left out: nobody needs port 22 for them.
func (a *assessor) ledger() fleet.Ledger {
	b := &book{assessor: a, byKey: map[consumerKey]*consumer{}, sessions: sessionsByHost(a.snapshot), recovery: fingerprints(a.policy.RecoveryKeys)}
	b.knowOwn()
	var out fleet.Ledger
	for i := range a.snapshot.Hosts {
		h := &a.snapshot.Hosts[i]
		if !h.Running() || h.Windows() {
			continue
		}
		out.Hosts++
		if !h.Probe.Known || !h.Probe.Value.Logins.Known {
			out.Unread = append(out.Unread, h.ID)
		}
		if h.Probe.Known {
			b.host(h)
		}
	}
	b.passages()
	for _, c := range b.all {
		b.finish(c)
		out.Consumers = append(out.Consumers, c.Consumer)
	}
	slices.SortStableFunc(out.Consumers, latestFirst)
	a.people.book = b
	return out
}

// book is the ledger in the making.
type book struct {
	*assessor
	byKey    map[consumerKey]*consumer
	all      []*consumer
	sessions map[string][]*fleet.ManagedSession // by host
	own      map[string]bool                    // identities with which the inventory logged in
	recovery map[string]bool                    // fingerprints of the recovery key's generations
	loopback []tunnelled
}

// tunnelled is a user of SSH through Session Manager.
type tunnelled struct {
	host  *fleet.Host
	login fleet.Login
}

// consumerKey is what makes two logins the same consumer's.
type consumerKey struct {
	identity, method, user string
	from                   netip.Addr
	use                    fleet.Use
}

// consumer is a fleet.Consumer with what it rests on.
type consumer struct {
	fleet.Consumer
	visits  []visit
	regular bool // on one host, more often than by chance
	service bool
}

// visit is what a consumer did on one host.
type visit struct {
	host        *fleet.Host
	first, last time.Time // by the host's clock
	count, open int
	regular     bool
	ours        bool // its last login there was the inventory's own
}

// identity tells who a login was, as far as the log does. A certificate
// stands for its owner, whose key may change with every certificate.
func identity(l fleet.Login) string {
	switch {
	case l.CertID != "":
		return "certificate " + l.CertID + " of " + l.CA
	case l.Fingerprint != "":
		return l.Fingerprint
	}
	return ""
}

func (b *book) host(h *fleet.Host) {
	logins := h.Probe.Value.Logins.Value.Logins
	own := b.ownLogin(&h.Probe.Value, logins)
	logins = usesOfOpen(logins, h.Probe.Value.Sessions.Value)
	for i, l := range logins {
		l.From = l.From.Unmap()
		if l.From.IsLoopback() && b.tunnels(h, l.Last) {
			b.loopback = append(b.loopback, tunnelled{h, l})
			continue
		}
		if i == own {
			if l.Count--; l.Count <= 0 {
				continue
			}
		}
		c := b.consumer(l)
		c.Count += l.Count
		if !l.First.IsZero() && (c.First.IsZero() || l.First.Before(c.First)) {
			c.First = l.First
		}
		if l.Last.After(c.Last) {
			c.Last = l.Last
		}
		v := c.visit(h)
		v.count += l.Count
		if !l.First.IsZero() && (v.first.IsZero() || l.First.Before(v.first)) {
			v.first = l.First
		}
		v.ours = v.ours || i == own
		if l.Last.IsZero() || l.Last.After(v.last) {
			v.last = l.Last
		}
		v.regular = v.count >= regularLogins && v.last.Sub(v.first) >= regularSpan
		c.regular = c.regular || v.regular
	}
	for _, s := range h.Probe.Value.Sessions.Value {
		from := peerAddr(s.From)
		if from.IsLoopback() && b.tunnels(h, readAt(h)) {
			continue
		}
		c := b.ofSession(logins, s, from)
		c.Open++
		c.visit(h).open++
	}
}

func (b *book) consumer(l fleet.Login) *consumer {
	key := consumerKey{identity(l), l.Method, l.User, l.From, l.Use}
	c := b.byKey[key]
	if c == nil {
		c = &consumer{Consumer: fleet.Consumer{
			Method: l.Method, Fingerprint: l.Fingerprint, KeyType: l.KeyType, CertID: l.CertID, CA: l.CA, User: l.User, From: l.From, Use: l.Use,
		}}
		b.byKey[key] = c
		b.all = append(b.all, c)
	}
	if c.Fingerprint != l.Fingerprint {
		c.Fingerprint = "" // certificates with changing keys
	}
	return c
}

// visit gives the consumer's record of a host; hosts come one after the other.
func (c *consumer) visit(h *fleet.Host) *visit {
	if n := len(c.visits); n == 0 || c.visits[n-1].host != h {
		c.visits = append(c.visits, visit{host: h})
		c.Hosts = append(c.Hosts, h.ID)
	}
	return &c.visits[len(c.visits)-1]
}

// usesOfOpen fills in what logins are for where the log does not tell, which at
// its default level it does for few uses, and a session of the same user, key
// and address that is open now does. It believes only sessions that agree and
// are no shell: a program does the same every time, a person does not.
func usesOfOpen(logins []fleet.Login, sessions []fleet.Session) []fleet.Login {
	out := slices.Clone(logins)
	for i := range out {
		l := &out[i]
		if l.Use != "" || l.Fingerprint == "" {
			continue
		}
		var uses []fleet.Use
		for _, s := range sessions {
			if s.User == l.User && s.Fingerprint == l.Fingerprint && peerAddr(s.From) == l.From.Unmap() && !slices.Contains(uses, s.Use) {
				uses = append(uses, s.Use)
			}
		}
		if len(uses) == 1 && uses[0] != fleet.UseShell {
			l.Use = uses[0]
		}
	}
	return out
}

// ofSession finds the consumer to whom an open session belongs: the one on
// this host who agrees with it in all that the session tells. A session that
// the log does not explain makes a consumer of its own.
func (b *book) ofSession(logins []fleet.Login, s fleet.Session, from netip.Addr) *consumer {
	var best *consumer
	for _, l := range logins {
		l.From = l.From.Unmap()
		c := b.byKey[consumerKey{identity(l), l.Method, l.User, l.From, l.Use}]
		if c == nil || l.User != s.User || from.IsValid() && l.From != from || s.Fingerprint != "" && l.Fingerprint != s.Fingerprint {
			continue
		}
		if s.Use != "" && l.Use != "" && l.Use != s.Use {
			continue
		}
		if best == nil || l.Last.After(best.Last) {
			best = c
		}
	}
	if best != nil {
		return best
	}
	method := ""
	if s.Fingerprint != "" {
		method = "publickey"
	}
	return b.consumer(fleet.Login{User: s.User, Method: method, Fingerprint: s.Fingerprint, From: from, Use: s.Use})
}

// peerAddr reads a peer as the host gave it; the zero address when it does not tell.
func peerAddr(s string) netip.Addr {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}

// ownWindow is how long before a host told its time the probe's login may have
// come, and how far around the inventory its passages through bastions lie.
const ownWindow = 2 * time.Minute

// mayBeOwn lists the logins with which the probe may have come: those of the
// login user, without a terminal, right before the script told the host's time.
func mayBeOwn(p *fleet.Probe, logins []fleet.Login) []int {
	var out []int
	for i, l := range logins {
		early := p.HostTime.Sub(l.Last)
		if !p.HostTime.IsZero() && l.User == p.LoginUser && (l.Use == "" || l.Use == fleet.UseCommand) && early >= -time.Second && early <= ownWindow {
			out = append(out, i)
		}
	}
	return out
}

// knowOwn notes the identities with which the inventory came where only one
// login can have been its own.
func (b *book) knowOwn() {
	b.own = map[string]bool{}
	for i := range b.snapshot.Hosts {
		p := &b.snapshot.Hosts[i].Probe
		if logins := p.Value.Logins.Value.Logins; p.Known {
			if found := mayBeOwn(&p.Value, logins); len(found) == 1 && identity(logins[found[0]]) != "" {
				b.own[identity(logins[found[0]])] = true
			}
		}
	}
}

// ownLogin finds the login with which the probe came. It gives -1 when the log
// does not show it, or shows several of which the other hosts' do not tell
// which one it was: taking the wrong one would hide somebody.
func (b *book) ownLogin(p *fleet.Probe, logins []fleet.Login) int {
	found := mayBeOwn(p, logins)
	if len(found) > 1 {
		found = slices.DeleteFunc(found, func(i int) bool { return !b.own[identity(logins[i])] })
	}
	if len(found) != 1 {
		return -1
	}
	return found[0]
}

// tunnels reports whether an SSH connection from a host's loopback address may
// have come through Session Manager: its agent is connected, or somebody had an
// SSH session to it open then.
func (b *book) tunnels(h *fleet.Host, at time.Time) bool {
	if h.Connection.Known && h.Connection.Value == "connected" || h.Node.Known && h.Node.Value.Registered && h.Node.Value.PingStatus == "Online" {
		return true
	}
	at = at.Add(-clockOffset(h))
	return slices.ContainsFunc(b.sessions[h.ID], func(s *fleet.ManagedSession) bool {
		return s.Document == sshDocument && at.After(s.Start.Add(-ownWindow)) && (s.End.IsZero() || at.Before(s.End.Add(ownWindow)))
	})
}

// passages marks what the inventory did on bastions on its way to other hosts:
// it passed with the same key, and opened no shell there.
func (b *book) passages() {
	from, to := b.snapshot.Started.Add(-ownWindow), b.snapshot.Finished.Add(ownWindow)
	for _, c := range b.all {
		if !b.own[identity(fleet.Login{CertID: c.CertID, CA: c.CA, Fingerprint: c.Fingerprint})] || c.Use != "" && c.Use != fleet.UseTunnel {
			continue
		}
		for i := range c.visits {
			v := &c.visits[i]
			v.ours = v.ours || v.last.After(from) && v.last.Before(to)
		}
	}
}

// finish settles whose the consumer is and whether it still needs SSH.
func (b *book) finish(c *consumer) {
	if u := b.keys.byFingerprint[c.Fingerprint]; u != nil {
		c.Comment = u.key.Comment
		if c.KeyType == "" {
			c.KeyType = u.key.Type
		}
	}
	b.settleOwner(c)
	b.settleStatus(c)
}

func (b *book) settleOwner(c *consumer) {
	i, by := b.people.ofKey(c.Fingerprint, b.keys.comments(c.Fingerprint))
	if i == nobody {
		i, by = b.people.ofCertificate(c.CertID)
	}
	if i == nobody {
		i, by = b.people.ofUser(c.User)
	}
	switch {
	case b.recovery[c.Fingerprint] || b.recovery[c.CA]:
		c.Owner, c.OwnerBy, c.service = RecoveryOwner, "recovery", true
	case i != nobody:
		o := b.people.owners[i]
		c.Owner, c.OwnerBy, c.Principals, c.service = o.Person, by, slices.Clone(o.Principals), o.Service
	case !slices.ContainsFunc(c.visits, func(v visit) bool { return !v.ours }):
		c.Owner, c.OwnerBy, c.service = InventoryOwner, "probe", true
	}
}

func sessionsByHost(s *fleet.Snapshot) map[string][]*fleet.ManagedSession {
	out := map[string][]*fleet.ManagedSession{}
	for i := range s.Regions {
		all := s.Regions[i].Sessions.Value
		for j := range all {
			out[all[j].Target] = append(out[all[j].Target], &all[j])
		}
	}
	return out
}

// latestFirst orders consumers; those that are alike in time, by what tells them apart.
func latestFirst(a, b fleet.Consumer) int {
	return cmp.Or(
		b.Last.Compare(a.Last),
		cmp.Compare(a.Owner, b.Owner),
		cmp.Compare(a.Fingerprint, b.Fingerprint),
		cmp.Compare(a.CertID, b.CertID),
		cmp.Compare(a.User, b.User),
		a.From.Compare(b.From),
		cmp.Compare(a.Use, b.Use),
		cmp.Compare(a.Method, b.Method),
	)
}
