package inventory

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// ChangeKind says what became of something between two snapshots.
type ChangeKind string

// The kinds of changes. What can no longer be seen is Lost, never Removed;
// what an incomplete older snapshot may have missed is Found, never Added.
const (
	Added   ChangeKind = "added"
	Removed ChangeKind = "removed"
	Changed ChangeKind = "changed"
	Lost    ChangeKind = "lost"  // known before, unknown now
	Found   ChangeKind = "found" // unknown before, known now
)

// Change is one difference between two snapshots.
type Change struct {
	Kind    ChangeKind `json:"kind"`
	Account string     `json:"account"` // ID, or access label where the ID is not known
	Region  string     `json:"region,omitempty"`
	Host    string     `json:"host,omitempty"`   // host ID; empty for a change around the hosts
	What    string     `json:"what"`             // "host", "state", "key", "sshd passwordauthentication", "groups ingress", ...
	Object  string     `json:"object,omitempty"` // which one: "alice SHA256:…", a group ID, a role ARN, a service
	Before  string     `json:"before,omitempty"`
	After   string     `json:"after,omitempty"`
	Reason  string     `json:"reason,omitempty"` // why it is unknown now, of Lost
}

// Diff lists what changed from one snapshot to another, in a fixed order. It
// looks at what decides a migration, not at what always moves: times, logins
// and open sessions are left out. Elements that an unknown collection still
// shows count as existing; elements that it does not show count as nothing.
func Diff(old, new *fleet.Snapshot) []Change {
	d := &differ{}
	d.hosts(old, new)
	d.regions(old, new)
	d.accounts(old, new)
	slices.SortStableFunc(d.changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Region, b.Region), cmp.Compare(a.Host, b.Host),
			cmp.Compare(a.What, b.What), cmp.Compare(a.Object, b.Object), cmp.Compare(a.Kind, b.Kind),
			cmp.Compare(a.Before, b.Before), cmp.Compare(a.After, b.After))
	})
	return d.changes
}

// differ collects changes; at is where they are found.
type differ struct {
	at      Change
	changes []Change
}

func (d *differ) add(kind ChangeKind, what, object, before, after, reason string) {
	c := d.at
	c.Kind, c.What, c.Object, c.Before, c.After, c.Reason = kind, what, object, before, after, reason
	d.changes = append(d.changes, c)
}

func (d *differ) text(what, object, before, after string) {
	if before != after {
		d.add(Changed, what, object, before, after, "")
	}
}

// known reports a fact that got lost or was found, and whether there are two
// values to compare.
func known[T any](d *differ, what, object string, old, new fleet.Fact[T]) bool {
	switch {
	case old.Known && !new.Known:
		d.add(Lost, what, object, "", "", new.Reason)
	case !old.Known && new.Known:
		d.add(Found, what, object, "", "", "")
	}
	return old.Known && new.Known
}

// set compares two collections element by element.
func set[T any](d *differ, what string, old, new fleet.Fact[[]T], id func(T) string, both func(id string, old, new T)) {
	known(d, what, "", old, new)
	before, after := byID(old.Value, id), byID(new.Value, id)
	for name, v := range after {
		if was, ok := before[name]; ok {
			both(name, was, v)
		} else if old.Known {
			d.add(Added, what, name, "", "", "")
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok && new.Known {
			d.add(Removed, what, name, "", "", "")
		}
	}
}

func byID[T any](list []T, id func(T) string) map[string]T {
	m := make(map[string]T, len(list))
	for _, v := range list {
		if name := id(v); name != "" {
			m[name] = v
		}
	}
	return m
}

func (d *differ) hosts(old, new *fleet.Snapshot) {
	before, after := byID(old.Hosts, hostID), byID(new.Hosts, hostID)
	for id, h := range after {
		d.at = Change{Account: h.Account, Region: h.Region, Host: id}
		if was, ok := before[id]; ok {
			d.host(was, h)
		} else if whole, _ := listed(old, h); whole {
			d.add(Added, "host", "", "", "", "")
		} else {
			d.add(Found, "host", "", "", "", "")
		}
	}
	for id, h := range before {
		if _, ok := after[id]; ok {
			continue
		}
		d.at = Change{Account: h.Account, Region: h.Region, Host: id}
		if whole, why := listed(new, h); whole {
			d.add(Removed, "host", "", "", "", "")
		} else {
			d.add(Lost, "host", "", "", "", why)
		}
	}
	d.at = Change{}
}

func hostID(h fleet.Host) string { return h.ID }

// listed tells whether a snapshot holds every instance of a host's Region, or why not.
func listed(s *fleet.Snapshot, h fleet.Host) (bool, string) {
	for _, r := range s.Regions {
		if r.Account == h.Account && r.Name == h.Region {
			return r.Instances.Known, r.Instances.Reason
		}
	}
	return false, "the Region was not collected"
}

func (d *differ) host(a, b fleet.Host) {
	d.text("state", "", a.State, b.State)
	d.text("profile", "", a.ProfileARN, b.ProfileARN)
	d.text("groups", "", sorted(a.Groups), sorted(b.Groups))
	d.text("private address", "", addr(a.PrivateIP), addr(b.PrivateIP))
	d.text("public address", "", addr(a.PublicIP), addr(b.PublicIP))
	d.text("metadata endpoint", "", a.Metadata.Endpoint, b.Metadata.Endpoint)
	d.text("metadata tokens", "", a.Metadata.Tokens, b.Metadata.Tokens)
	if known(d, "node", "", a.Node, b.Node) {
		d.text("node registered", "", yesNo(a.Node.Value.Registered), yesNo(b.Node.Value.Registered))
		d.text("node ping", "", a.Node.Value.PingStatus, b.Node.Value.PingStatus)
		d.text("node agent version", "", a.Node.Value.AgentVersion, b.Node.Value.AgentVersion)
	}
	if known(d, "connection", "", a.Connection, b.Connection) {
		d.text("connection", "", a.Connection.Value, b.Connection.Value)
	}
	if known(d, "probe", "", a.Probe, b.Probe) {
		d.probe(a.Probe.Value, b.Probe.Value)
	}
}

func (d *differ) probe(a, b fleet.Probe) {
	d.text("kernel", "", a.OS.Kernel, b.OS.Kernel)
	d.text("operating system", "", a.OS.Name, b.OS.Name)
	if known(d, "sshd", "", a.SSHD, b.SSHD) {
		d.sshd(a.SSHD.Value, b.SSHD.Value)
	}
	set(d, "user", a.Users, b.Users, func(u fleet.User) string { return u.Name }, func(name string, a, b fleet.User) {
		d.text("user shell", name, a.Shell, b.Shell)
		d.text("user home", name, a.Home, b.Home)
	})
	set(d, "key", a.Keys, b.Keys, keyID, func(id string, a, b fleet.Key) {
		d.text("key options", id, strings.Join(a.Options, ","), strings.Join(b.Options, ","))
		d.text("key problem", id, a.Problem, b.Problem)
	})
	if known(d, "agent", "", a.Agent, b.Agent) {
		d.agentSetup(a.Agent.Value, b.Agent.Value)
	}
	d.health(a, b)
	set(d, "endpoint", a.Endpoints, b.Endpoints, func(e fleet.EndpointTest) string { return e.Service }, d.endpoint)
}

// keyID names a key within its host. Lines without a key have no name.
func keyID(k fleet.Key) string {
	if k.Fingerprint == "" {
		return ""
	}
	return strings.TrimSpace(k.User + " " + k.Fingerprint)
}

func (d *differ) endpoint(service string, a, b fleet.EndpointTest) {
	if known(d, "endpoint addresses", service, a.Addresses, b.Addresses) {
		d.text("endpoint addresses", service, addrs(a.Addresses.Value), addrs(b.Addresses.Value))
	}
	if known(d, "endpoint TCP", service, a.TCP, b.TCP) {
		d.text("endpoint TCP", service, yesNo(a.TCP.Value), yesNo(b.TCP.Value))
	}
	if known(d, "endpoint TLS", service, a.TLS, b.TLS) {
		d.text("endpoint TLS", service, yesNo(a.TLS.Value), yesNo(b.TLS.Value))
	}
	d.text("endpoint issuer", service, a.Issuer, b.Issuer)
}

// sshdKeywords are the settings that decide who gets in, how, and what is logged of it.
var sshdKeywords = []string{
	"allowgroups", "allowtcpforwarding", "allowusers", "authenticationmethods", "authorizedkeyscommand",
	"authorizedkeyscommanduser", "authorizedkeysfile", "authorizedprincipalscommand", "authorizedprincipalsfile",
	"denygroups", "denyusers", "fingerprinthash", "forcecommand", "gatewayports", "kbdinteractiveauthentication",
	"listenaddress", "loglevel", "passwordauthentication", "permitlisten", "permitopen", "permitrootlogin", "permittunnel",
	"port", "pubkeyauthentication", "revokedkeys", "strictmodes", "trustedusercakeys", "usepam",
}

func (d *differ) sshd(a, b fleet.SSHD) {
	d.text("sshd version", "", a.Version, b.Version)
	d.text("sshd arguments", "", a.Arguments, b.Arguments)
	users := map[string]bool{"": true}
	for u := range a.PerUser {
		users[u] = true
	}
	for u := range b.PerUser {
		users[u] = true
	}
	for _, k := range sshdKeywords {
		global := [2]string{sorted(a.Settings[k]), sorted(b.Settings[k])}
		for u := range users {
			own := [2]string{sorted(a.For(u, k)), sorted(b.For(u, k))}
			if u == "" || own != global {
				d.text("sshd "+k, u, own[0], own[1])
			}
		}
	}
}

func sorted(s []string) string {
	s = slices.Clone(s)
	slices.Sort(s)
	return strings.Join(s, " ")
}

func addr(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func addrs(list []netip.Addr) string {
	var s []string
	for _, a := range list {
		s = append(s, addr(a))
	}
	return sorted(s)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
