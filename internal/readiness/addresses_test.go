package readiness

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"ssm-migrate/internal/fleet"
)

// smallPrefix draws prefixes within 10.0.0.0/27, so that they overlap and a
// test can ask every single address.
func smallPrefix() *rapid.Generator[netip.Prefix] {
	return rapid.Custom(func(t *rapid.T) netip.Prefix {
		last := rapid.Byte().Draw(t, "last")
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, last % 32}), rapid.IntRange(27, 32).Draw(t, "bits")).Masked()
	})
}

func eachAddress(do func(netip.Addr)) {
	for a := netip.MustParseAddr("10.0.0.0"); a != netip.MustParseAddr("10.0.0.32"); a = a.Next() {
		do(a)
	}
}

func contains(all []netip.Prefix, a netip.Addr) bool {
	for _, p := range all {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// sizeOf counts the IPv4 addresses of a set.
func sizeOf(a addresses) uint64 {
	var n uint64
	for _, s := range a {
		lo, hi := s.lo.As4(), s.hi.As4()
		n += uint64(binary.BigEndian.Uint32(hi[:])-binary.BigEndian.Uint32(lo[:])) + 1
	}
	return n
}

func counted(yesses, total int) answer {
	switch yesses {
	case 0:
		return no
	case total:
		return yes
	}
	return maybe
}

func TestAddressesAgreeWithAskingEachAddress(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.SliceOfN(smallPrefix(), 1, 4).Draw(t, "a")
		b := rapid.SliceOfN(smallPrefix(), 0, 4).Draw(t, "b")
		size, both := 0, 0
		eachAddress(func(x netip.Addr) {
			if contains(a, x) {
				size++
				if contains(b, x) {
					both++
				}
			}
		})
		if got := sizeOf(addressesOf(a...)); got != uint64(size) {
			t.Fatalf("size %d, want %d", got, size)
		}
		if got, want := addressesOf(a...).within(addressesOf(b...)), counted(both, size); got != want {
			t.Fatalf("within: %s, want %s", got, want)
		}
	})
}

func TestWholeSpaceDoesNotOverflow(t *testing.T) {
	all := addressesOf(netip.MustParsePrefix("0.0.0.0/0"))
	if sizeOf(all) != 1<<32 || theseAddresses(netip.MustParseAddr("255.255.255.255")).within(all) != yes {
		t.Errorf("0.0.0.0/0 is %v", all)
	}
	halves := addressesOf(netip.MustParsePrefix("0.0.0.0/1"), netip.MustParsePrefix("128.0.0.0/1"))
	if len(halves) != 1 || publicSpace(false).within(halves) != yes {
		t.Errorf("two halves are %v", halves)
	}
	for a, want := range map[string]answer{"52.94.0.1": yes, "10.1.2.3": no, "169.254.169.254": no, "172.31.0.1": no, "172.32.0.1": yes, "100.64.0.1": no} {
		if got := theseAddresses(netip.MustParseAddr(a)).within(publicSpace(false)); got != want {
			t.Errorf("%s is public: %s, want %s", a, got, want)
		}
	}
}

// TestACLAgreesWithAskingEachPacket checks the order of rules and the
// splitting by ports and addresses against one question per port and address.
func TestACLAgreesWithAskingEachPacket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 5).Draw(t, "rules")
		var entries []fleet.ACLEntry
		for i := range n {
			lo := rapid.IntRange(440, 450).Draw(t, "from")
			entries = append(entries, fleet.ACLEntry{
				Number: rapid.IntRange(1, 1000).Draw(t, "number")*10 + i, // numbers are unique in a network ACL
				Egress: rapid.Bool().Draw(t, "egress"), Allow: rapid.Bool().Draw(t, "allow"),
				Protocol: rapid.SampledFrom([]string{"6", "-1", "17"}).Draw(t, "protocol"),
				CIDR:     smallPrefix().Draw(t, "cidr"), From: lo, To: lo + rapid.IntRange(0, 5).Draw(t, "width"),
			})
		}
		a := newACL(&fleet.NetworkACL{Entries: entries})
		remote, p := smallPrefix().Draw(t, "remote"), ports{441, 448}
		passed, total := 0, 0
		eachAddress(func(x netip.Addr) {
			if !remote.Contains(x) {
				return
			}
			for port := p.lo; port <= p.hi; port++ {
				total++
				if packetPasses(entries, true, port, x) {
					passed++
				}
			}
		})
		if got, want := a.allows(true, p, addressesOf(remote)), counted(passed, total); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	})
}

func packetPasses(entries []fleet.ACLEntry, egress bool, port int, remote netip.Addr) bool {
	best, allow := int(^uint(0)>>1), false
	for _, e := range entries {
		tcp := e.Protocol == "-1" || e.Protocol == "6" && e.From <= port && port <= e.To
		if e.Egress == egress && tcp && e.CIDR.Contains(remote) && e.Number < best {
			best, allow = e.Number, e.Allow
		}
	}
	return allow
}

func TestVersions(t *testing.T) {
	for _, c := range []struct {
		a, b  string
		below bool
	}{
		{"2.3.67.9", "2.3.68.0", true}, {"3.10.0.0", "3.9.0.0", false}, {"3.3.4851.0", "3.3.4851.0", false}, {"3.3", "3.3.0.1", true},
	} {
		a, ok1 := parseVersion(c.a)
		b, ok2 := parseVersion(c.b)
		if !ok1 || !ok2 || a.below(b) != c.below {
			t.Errorf("%s below %s: %t, want %t", c.a, c.b, a.below(b), c.below)
		}
	}
	for _, s := range []string{"", "x", "1.2.3.4.5", "1..2", "-1.2", "+1.2", "1.2.3.4-rc1", "99999999999999999999.0"} {
		if v, ok := parseVersion(s); ok {
			t.Errorf("%q was read as %s", s, v)
		}
	}
}
