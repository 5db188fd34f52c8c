package cutover

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// What is left to others is made by their tools and with their names. Such steps
// are observed by what a thing does, not by what it is called. What cannot be
// told counts as not done yet: nothing is begun on it.

// elsewhere is what a wait sees of what others made.
func elsewhere(granted fleet.Truth, why string, image any, detail string, args ...any) (Observation, error) {
	if granted != fleet.TruthYes {
		return observed(false, image, "%s", why)
	}
	return observed(true, image, detail, args...)
}

// theirs turns the errors by which a step refuses what is not as the plan has
// it into "not yet": whoever makes it may be in the middle of it.
func theirs(s plan.Step, o Observation, err error) (Observation, error) {
	if !s.Handed || !errors.Is(err, ErrForeign) && !errors.Is(err, ErrStale) {
		return o, err
	}
	return observed(false, struct{}{}, "%v", err)
}

// letsIn reports whether rules let all of a block of addresses in on a TCP port.
// Sources that are groups or prefix lists do not count: whom they mean changes.
func letsIn(rules []fleet.Rule, port int, from netip.Prefix) bool {
	for _, r := range rules {
		if !r.Egress && r.Admits(port) && r.CIDR.IsValid() && covers(r, fleet.Rule{CIDR: from}) {
			return true
		}
	}
	// Two halves may be let in by different rules, where any is that narrow.
	narrower := false
	for _, r := range rules {
		narrower = narrower || !r.Egress && r.Admits(port) && r.CIDR.IsValid() && r.CIDR.Bits() > from.Bits() && from.Contains(r.CIDR.Addr())
	}
	if !narrower {
		return false
	}
	low, high := halves(from)
	return letsIn(rules, port, low) && letsIn(rules, port, high)
}

// halves splits a block that has more than one address.
func halves(p netip.Prefix) (low, high netip.Prefix) {
	bits := p.Bits() + 1
	low = netip.PrefixFrom(p.Masked().Addr(), bits)
	raw := low.Addr().AsSlice()
	raw[(bits-1)/8] |= 0x80 >> ((bits - 1) % 8)
	addr, _ := netip.AddrFromSlice(raw)
	return low, netip.PrefixFrom(addr, bits)
}

// through reports whether a rule lets through at least what another does.
func through(r, want fleet.Rule) bool {
	ports := r.Protocol == "-1" || r.Protocol == want.Protocol && (r.From == -1 || r.From <= want.From && want.To <= r.To)
	return r.Egress == want.Egress && ports && covers(r, want)
}

// lacking are the rules that no rule of a group lets through what they let
// through.
func lacking(planned, actual []fleet.Rule) []fleet.Rule {
	var out []fleet.Rule
	for _, p := range missingRules(planned, actual) {
		found := false
		for _, r := range actual {
			if p.GroupAccount == "" {
				r.GroupAccount = ""
			}
			found = found || through(r, p)
		}
		if !found {
			out = append(out, p)
		}
	}
	return out
}

// roleGrants asks what a role does, whoever wrote its policies.
func roleGrants(ctx context.Context, roles RoleReader, at fleet.Place, name string, judge func(fleet.Role, []fleet.Policy) (fleet.Truth, string)) (granted fleet.Truth, why string, err error) {
	role, policies, err := roles.RoleInFull(ctx, at, name)
	if errors.Is(err, fleet.ErrNotFound) {
		return fleet.TruthNo, "there is no role " + name, nil
	}
	if err != nil {
		return fleet.TruthUnknown, "", fmt.Errorf("read role %s: %w", name, err)
	}
	granted, why = judge(role, policies)
	return granted, why, nil
}
