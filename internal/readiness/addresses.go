package readiness

import (
	"net/netip"
	"slices"
)

// addresses is a set of IPv4 and IPv6 addresses: disjoint spans in ascending
// order, IPv4 before IPv6. Values are immutable once made.
type addresses []span

// span is the addresses of one family from lo to hi, both included.
type span struct{ lo, hi netip.Addr }

// before orders addresses: netip.Addr.Compare puts all of IPv4 before IPv6, so
// that spans of different families never meet.
func before(a, b netip.Addr) bool { return a.Compare(b) < 0 }

func (s span) apart(t span) bool { return before(s.hi, t.lo) || before(t.hi, s.lo) }

// prefixSpan gives the addresses of a prefix; false for one that is not valid.
func prefixSpan(p netip.Prefix) (span, bool) {
	if !p.IsValid() {
		return span{}, false
	}
	lo := p.Masked().Addr()
	last := lo.AsSlice()
	for bit := p.Bits(); bit < lo.BitLen(); bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	hi, _ := netip.AddrFromSlice(last)
	if lo.Is4In6() != hi.Is4In6() {
		return span{lo, hi}, true
	}
	return span{lo.Unmap(), hi.Unmap()}, true
}

// addressesOf is the union of prefixes; those that are not valid are left out.
func addressesOf(prefixes ...netip.Prefix) addresses {
	var spans []span
	for _, p := range prefixes {
		if s, ok := prefixSpan(p); ok {
			spans = append(spans, s)
		}
	}
	return normalized(spans)
}

// theseAddresses is the set of single addresses; invalid ones are left out.
func theseAddresses(all ...netip.Addr) addresses {
	var spans []span
	for _, a := range all {
		if a = a.Unmap().WithZone(""); a.IsValid() {
			spans = append(spans, span{a, a})
		}
	}
	return normalized(spans)
}

// normalized sorts and merges spans; it owns its argument.
func normalized(spans []span) addresses {
	slices.SortFunc(spans, func(a, b span) int { return a.lo.Compare(b.lo) })
	out := spans[:0]
	for _, s := range spans {
		if n := len(out); n > 0 && (!before(out[n-1].hi, s.lo) || out[n-1].hi.Next() == s.lo) {
			if before(out[n-1].hi, s.hi) {
				out[n-1].hi = s.hi
			}
			continue
		}
		out = append(out, s)
	}
	return addresses(out)
}

// coverage says whether all (yes), some (maybe) or none (no) of the set lies
// in one span. The empty set is not covered by anything.
func (a addresses) coverage(s span) answer {
	inside, outside := false, false
	for _, x := range a {
		if x.apart(s) {
			outside = true
			continue
		}
		inside = true
		if before(x.lo, s.lo) || before(s.hi, x.hi) {
			outside = true
		}
	}
	switch {
	case inside && outside:
		return maybe
	case inside:
		return yes
	}
	return no
}

// within says whether all (yes), some (maybe) or none (no) of the set lies in
// b. None of the empty set does.
func (a addresses) within(b addresses) answer {
	if len(a) == 0 {
		return no
	}
	rest := a
	for _, s := range b {
		rest = rest.without(s)
	}
	switch {
	case len(rest) == 0:
		return yes
	case slices.Equal(rest, a):
		return no
	}
	return maybe
}

// without is the set less one span.
func (a addresses) without(s span) addresses {
	if !slices.ContainsFunc(a, func(x span) bool { return !x.apart(s) }) {
		return a
	}
	out := make(addresses, 0, len(a)+1)
	for _, x := range a {
		if x.apart(s) {
			out = append(out, x)
			continue
		}
		if before(x.lo, s.lo) {
			out = append(out, span{x.lo, s.lo.Prev()})
		}
		if before(s.hi, x.hi) {
			out = append(out, span{s.hi.Next(), x.hi})
		}
	}
	return out
}

// less is the set without another one.
func (a addresses) less(b addresses) addresses {
	for _, s := range b {
		a = a.without(s)
	}
	return a
}

// family gives the part of the set that is IPv6, or the part that is IPv4.
func (a addresses) family(v6 bool) addresses {
	var out addresses
	for _, s := range a {
		if s.lo.Is6() == v6 {
			out = append(out, s)
		}
	}
	return out
}

// sharedSpace is carriers' address space, which VPCs may use, too (RFC 6598).
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// isPublic reports whether an address is one of the internet's.
func isPublic(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsGlobalUnicast() && !a.IsPrivate() && !sharedSpace.Contains(a)
}

// publicSpace is every address of a family at which a public AWS endpoint could be.
// Source: IANA IPv4 and IPv6 Special-Purpose Address Registries, multicast and
// class E left out; IPv6 global unicast is 2000::/3 (RFC 4291).
func publicSpace(v6 bool) addresses {
	all, special := "0.0.0.0/0", []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
		"192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
		"224.0.0.0/3",
	}
	if v6 {
		all, special = "2000::/3", nil
	}
	space := addressesOf(netip.MustParsePrefix(all))
	for _, p := range special {
		s, _ := prefixSpan(netip.MustParsePrefix(p))
		space = space.without(s)
	}
	return space
}
