package cutover

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ssm-migrate/internal/fleet"
)

// A block is let in exactly if each of its addresses is.
func TestLetsInAgreesWithEveryAddress(t *testing.T) {
	both := map[bool]int{}
	rapid.Check(t, func(t *rapid.T) {
		base := rapid.SampledFrom([]string{"10.0.0.0", "2001:db8::"}).Draw(t, "family")
		all := netip.PrefixFrom(netip.MustParseAddr(base), netip.MustParseAddr(base).BitLen()-5) // 32 addresses
		draw := func(label string) netip.Prefix {
			a, bits := all.Addr(), all.Addr().BitLen()
			for range rapid.IntRange(0, 31).Draw(t, label+": address") {
				a = a.Next()
			}
			return netip.PrefixFrom(a, rapid.IntRange(bits-5, bits).Draw(t, label+": bits")).Masked()
		}
		var rules []fleet.Rule
		for range rapid.IntRange(0, 9).Draw(t, "rules") {
			rules = append(rules, fleet.Rule{
				Protocol: "tcp", From: 443, To: rapid.SampledFrom([]int{443, 443, 444}).Draw(t, "to"), CIDR: draw("rule"), Egress: rapid.IntRange(0, 9).Draw(t, "egress") == 0,
			})
		}
		rules = append(rules, fleet.Rule{Protocol: "tcp", From: 443, To: 443, Group: "sg-1"}, fleet.Rule{Protocol: "tcp", From: 22, To: 22, CIDR: all})
		block, want := draw("block"), true
		for a := block.Addr(); block.Contains(a); a = a.Next() {
			want = want && slices.ContainsFunc(rules, func(r fleet.Rule) bool {
				return !r.Egress && r.From <= 443 && 443 <= r.To && r.CIDR.IsValid() && r.CIDR.Contains(a)
			})
		}
		if got := letsIn(rules, 443, block); got != want {
			t.Fatalf("%v let in: %v, want %v by %v", block, got, want, rules)
		}
		both[want]++
	})
	if both[true] == 0 || both[false] == 0 {
		t.Errorf("all blocks were alike: %v", both)
	}
}

// A rule that lets through what another does, does so for every port and source.
func TestLackingRules(t *testing.T) {
	want := fleet.Rule{Egress: true, Protocol: "tcp", From: 443, To: 443, CIDR: netip.MustParsePrefix("10.0.0.0/16")}
	for name, test := range map[string]struct {
		change func(r *fleet.Rule)
		lacks  bool
	}{
		"the same":         {func(*fleet.Rule) {}, false},
		"all protocols":    {func(r *fleet.Rule) { r.Protocol, r.From, r.To = "-1", -1, -1 }, false},
		"all ports":        {func(r *fleet.Rule) { r.From, r.To = -1, -1 }, false},
		"more ports":       {func(r *fleet.Rule) { r.From, r.To = 0, 1024 }, false},
		"more addresses":   {func(r *fleet.Rule) { r.CIDR = netip.MustParsePrefix("0.0.0.0/0") }, false},
		"fewer addresses":  {func(r *fleet.Rule) { r.CIDR = netip.MustParsePrefix("10.0.0.0/17") }, true},
		"other addresses":  {func(r *fleet.Rule) { r.CIDR = netip.MustParsePrefix("::/0") }, true},
		"another port":     {func(r *fleet.Rule) { r.From, r.To = 444, 500 }, true},
		"the other way":    {func(r *fleet.Rule) { r.Egress = false }, true},
		"another protocol": {func(r *fleet.Rule) { r.Protocol = "udp" }, true},
		"to a group":       {func(r *fleet.Rule) { r.CIDR, r.Group = netip.Prefix{}, "sg-1" }, true},
	} {
		has := want
		test.change(&has)
		if got := lacking([]fleet.Rule{want}, []fleet.Rule{has}); (len(got) > 0) != test.lacks {
			t.Errorf("%s: %v", name, got)
		}
	}
	group := fleet.Rule{Protocol: "tcp", From: 443, To: 443, Group: "sg-1"}
	ofOthers := group
	ofOthers.GroupAccount, ofOthers.To = "444455556666", 500
	if got := lacking([]fleet.Rule{group}, []fleet.Rule{ofOthers}); len(got) > 0 {
		t.Errorf("the plan names no account of the group: %v", got)
	}
}
