package fleet_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ssm-migrate/internal/fleet"
)

// because makes a finding that follows from others.
func because(code string, from ...string) fleet.Finding {
	f := fleet.Finding{Code: code, Severity: fleet.SeverityBlocks}
	for _, c := range from {
		f.Because = append(f.Because, fleet.Ref{Code: c})
	}
	return f
}

// drawn writes chains as "a>b>c a>d".
func drawn(chains []fleet.Chain) string {
	var out []string
	for _, c := range chains {
		var codes []string
		for _, f := range c {
			codes = append(codes, f.Code)
		}
		out = append(out, strings.Join(codes, ">"))
	}
	return strings.Join(out, " ")
}

func TestChains(t *testing.T) {
	risk := because("risk")
	risk.Severity = fleet.SeverityRisk
	group := because("no-path")
	group.Object = "sg-1"
	table := because("no-path")
	table.Object = "rtb-1"
	byGroup := because("test-failed")
	byGroup.Because = []fleet.Ref{group.Ref()}
	for _, c := range []struct {
		name     string
		findings []fleet.Finding
		want     string
	}{
		{"none", nil, ""},
		{"a root alone", []fleet.Finding{because("a")}, "a"},
		{"nearest first", []fleet.Finding{because("far", "near"), because("root"), because("near", "root")}, "root>near>far"},
		{"two roots of one symptom", []fleet.Finding{because("a"), because("b"), because("s", "a", "b")}, "a>s b>s"},
		{"roots in the order of the findings", []fleet.Finding{because("z"), because("a")}, "z a"},
		{"risks keep nothing from ready", []fleet.Finding{risk, because("s", "risk")}, "s"},
		{"a reference to nothing is passed over", []fleet.Finding{because("s", "gone")}, "s"},
		{"a reference to itself is no circle", []fleet.Finding{because("s", "s")}, "s"},
		{"objects tell findings apart", []fleet.Finding{group, table, byGroup}, "no-path>test-failed no-path"},
		{"the same finding twice is lost neither time", []fleet.Finding{because("a"), because("a"), because("s", "a")}, "a>s a>s"},
		{"a circle has its first as root", []fleet.Finding{because("a", "b"), because("b", "a")}, "a>b"},
		{"what follows from a circle is not its root", []fleet.Finding{because("s", "a"), because("a", "b"), because("b", "a")}, "a>s>b"},
		{"a circle behind a root starts nothing", []fleet.Finding{because("a", "b", "root"), because("b", "a"), because("root")}, "root>a>b"},
		{"two circles", []fleet.Finding{because("a", "b"), because("b", "a"), because("c", "d"), because("d", "c")}, "a>b c>d"},
	} {
		if got := drawn(fleet.Chains(c.findings)); got != c.want {
			t.Errorf("%s: chains %q, want %q", c.name, got, c.want)
		}
	}
}

func TestChainsLoseNoFinding(t *testing.T) {
	codes := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "gone"})
	rapid.Check(t, func(t *rapid.T) {
		var findings []fleet.Finding
		for range rapid.IntRange(0, 8).Draw(t, "findings") {
			f := because(codes.Draw(t, "code"), rapid.SliceOfN(codes, 0, 3).Draw(t, "because")...)
			f.Severity = fleet.Severity(rapid.IntRange(0, 3).Draw(t, "severity"))
			findings = append(findings, f)
		}
		in := map[string]bool{}
		deciding := 0
		chains := fleet.Chains(findings)
		for _, c := range chains {
			for i, f := range c {
				in[f.Code] = true
				follows := slices.ContainsFunc(f.Because, func(r fleet.Ref) bool {
					return slices.ContainsFunc(c[:i], func(g fleet.Finding) bool { return g.Ref() == r })
				})
				if i > 0 && !follows {
					t.Fatalf("%s stands in %s without a cause before it", f.Code, drawn([]fleet.Chain{c}))
				}
			}
		}
		for _, f := range findings {
			if f.Severity < fleet.SeverityUnknown {
				continue
			}
			deciding++
			if !in[f.Code] {
				t.Fatalf("%s is in none of the chains %s", f.Code, drawn(chains))
			}
		}
		if len(chains) > deciding {
			t.Fatalf("%d chains for %d findings", len(chains), deciding)
		}
	})
}
