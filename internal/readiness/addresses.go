package readiness

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// addresses is a set of IPv4 addresses: disjoint spans in ascending order.
// Values are immutable once made.
type addresses []span

// span is the addresses from lo to hi, both included.
type span struct{ lo, hi uint32 }

func number(a netip.Addr) uint32 {
	b := a.Unmap().As4()
	return binary.BigEndian.Uint32(b[:])
}

// prefixSpan gives the addresses of an IPv4 prefix; false for any other.
func prefixSpan(p netip.Prefix) (span, bool) {
	if !p.IsValid() || !p.Addr().Is4() {
		return span{}, false
	}
	lo := number(p.Masked().Addr())
	return span{lo, lo | uint32(uint64(1)<<(32-p.Bits())-1)}, true
}

// addressesOf is the union of the IPv4 prefixes among those given.
func addressesOf(prefixes ...netip.Prefix) addresses {
	var spans []span
	for _, p := range prefixes {
		if s, ok := prefixSpan(p); ok {
			spans = append(spans, s)
		}
	}
	return normalized(spans)
}

func singleAddress(a netip.Addr) addresses {
	if !a.Unmap().Is4() {
		return nil
	}
	n := number(a)
	return addresses{{n, n}}
}

// normalized sorts and merges spans; it owns its argument.
func normalized(spans []span) addresses {
	slices.SortFunc(spans, func(a, b span) int {
		switch {
		case a.lo < b.lo:
			return -1
		case a.lo > b.lo:
			return 1
		}
		return 0
	})
	out := spans[:0]
	for _, s := range spans {
		if n := len(out); n > 0 && uint64(s.lo) <= uint64(out[n-1].hi)+1 {
			out[n-1].hi = max(out[n-1].hi, s.hi)
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
		if x.hi < s.lo || x.lo > s.hi {
			outside = true
			continue
		}
		inside = true
		if x.lo < s.lo || x.hi > s.hi {
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

// within says whether all (yes), some (maybe) or none (no) of the set lies in b.
func (a addresses) within(b addresses) answer {
	if len(a) == 0 {
		return no
	}
	rest, size := a, a.size()
	for _, s := range b {
		rest = rest.without(s)
	}
	switch rest.size() {
	case 0:
		return yes
	case size:
		return no
	}
	return maybe
}

func (a addresses) size() uint64 {
	var n uint64
	for _, s := range a {
		n += uint64(s.hi-s.lo) + 1
	}
	return n
}

// without is the set less one span.
func (a addresses) without(s span) addresses {
	out := make(addresses, 0, len(a)+1)
	for _, x := range a {
		if x.hi < s.lo || x.lo > s.hi {
			out = append(out, x)
			continue
		}
		if x.lo < s.lo {
			out = append(out, span{x.lo, s.lo - 1})
		}
		if x.hi > s.hi {
			out = append(out, span{s.hi + 1, x.hi})
		}
	}
	return out
}

// publicSpace is every IPv4 address at which a public AWS endpoint could be.
// Source: IANA IPv4 Special-Purpose Address Registry, multicast and class E left out.
func publicSpace() addresses {
	all := addressesOf(netip.MustParsePrefix("0.0.0.0/0"))
	for _, p := range []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
		"192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
		"224.0.0.0/3",
	} {
		s, _ := prefixSpan(netip.MustParsePrefix(p))
		all = all.without(s)
	}
	return all
}
