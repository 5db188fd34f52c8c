package fleet

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// ConsumerGroup is all consumers of one owner or identity to the same account
// for the same use, wherever they come from: people roam, and machines reach
// each VPC by another way. Its Consumer is the member that stands most in the
// way of closing SSH, with the hosts, counts and times of all members; its
// Fingerprint and CertID are empty where theirs differ.
type ConsumerGroup struct {
	Consumer
	Addresses []netip.Addr // distinct ones, in order; the invalid address is left out
	Members   int
}

// Groups brings together what belongs together. Groups that need SSH come
// first, then the latest.
func (l Ledger) Groups() []ConsumerGroup {
	type key struct {
		who, user string
		use       Use
	}
	at := map[key]int{}
	var out []ConsumerGroup
	for _, c := range l.Consumers {
		k := key{cmp.Or(c.Owner, c.CertID, c.Fingerprint, c.Method), c.User, c.Use}
		i, ok := at[k]
		if !ok {
			i = len(out)
			at[k] = i
			out = append(out, ConsumerGroup{})
		}
		out[i].add(c)
	}
	for i := range out {
		g := &out[i]
		slices.Sort(g.Hosts)
		g.Hosts = slices.Compact(g.Hosts)
		slices.SortFunc(g.Addresses, netip.Addr.Compare)
		g.Addresses = slices.Compact(g.Addresses)
		if g.Members > 1 && g.From.IsValid() {
			g.Why = "from " + g.From.String() + ": " + g.Why // speaks of that member's hosts alone
		}
	}
	slices.SortStableFunc(out, func(a, b ConsumerGroup) int {
		return cmp.Or(cmp.Compare(a.Status, b.Status), b.Last.Compare(a.Last), strings.Compare(a.Owner, b.Owner))
	})
	return out
}

func (g *ConsumerGroup) add(c Consumer) {
	so := g.Consumer
	if g.Members == 0 || c.Status < so.Status || c.Status == so.Status && c.Last.After(so.Last) {
		g.Consumer = c
	}
	if g.Members == 0 {
		so = Consumer{Fingerprint: c.Fingerprint, CertID: c.CertID, First: c.First}
	}
	g.Members++
	g.Hosts = slices.Concat(so.Hosts, c.Hosts)
	g.Count, g.Open = so.Count+c.Count, so.Open+c.Open
	g.First, g.Last = so.First, so.Last
	if so.First.IsZero() || !c.First.IsZero() && c.First.Before(so.First) {
		g.First = c.First
	}
	if c.Last.After(so.Last) {
		g.Last = c.Last
	}
	if c.Fingerprint != so.Fingerprint {
		g.Fingerprint = ""
	}
	if c.CertID != so.CertID {
		g.CertID = ""
	}
	if c.From.IsValid() {
		g.Addresses = append(g.Addresses, c.From)
	}
}

// LedgerTally counts groups of consumers by their status. The inventory's own
// logins, which end with the last inventory over SSH, are counted apart.
type LedgerTally struct {
	Active, Waived, Silent, Migrated int
	Unclaimed                        int // active ones that nobody claims
	Own                              int // migrate's own, whatever their status
}

// Total is how many groups there are, the inventory's own left out.
func (t LedgerTally) Total() int { return t.Active + t.Waived + t.Silent + t.Migrated }

// TallyOf counts groups.
func TallyOf(groups []ConsumerGroup) LedgerTally {
	var t LedgerTally
	for _, g := range groups {
		switch {
		case g.Own():
			t.Own++
		case g.Status == ConsumerWaived:
			t.Waived++
		case g.Status == ConsumerSilent:
			t.Silent++
		case g.Status == ConsumerMigrated:
			t.Migrated++
		default:
			t.Active++
			if g.Owner == "" {
				t.Unclaimed++
			}
		}
	}
	return t
}

// Where tells in short where the group comes from: its only address, or how
// many there are; empty when none is known.
func (g ConsumerGroup) Where() string {
	switch n := len(g.Addresses); n {
	case 0:
		return ""
	case 1:
		return g.Addresses[0].String()
	default:
		return fmt.Sprintf("%d addresses", n)
	}
}
