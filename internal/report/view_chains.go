package report

import (
	"cmp"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// chain is one root cause on a host and what follows from it, nearest first.
type chain []link

// link is one finding of a chain. Again: an earlier chain of the host told it.
type link struct {
	hostFinding
	Again bool
}

// chains divides the findings of a host into causal chains and the rest, which
// keeps nothing from working.
func (b *builder) chains(host string) (chains []chain, others []hostFinding) {
	at := map[fleet.Ref]int{}
	var findings []fleet.Finding
	for _, n := range b.by[host] {
		f := b.in.Assessment.Findings[n]
		if _, twice := at[f.Ref()]; !twice {
			at[f.Ref()] = n
		}
		findings = append(findings, f)
		if f.Severity < fleet.SeverityUnknown {
			others = append(others, b.finding(n))
		}
	}
	told := map[fleet.Ref]bool{}
	for _, c := range fleet.Chains(findings) {
		row := make(chain, 0, len(c))
		for _, f := range c {
			row = append(row, link{b.finding(at[f.Ref()]), told[f.Ref()]})
			told[f.Ref()] = true
		}
		chains = append(chains, row)
	}
	return chains, others
}

// causeMove is how many hosts a root cause kept from ready, then and now.
type causeMove struct {
	Code, Title string
	Then, Now   int
}

// causeMoves compares the root causes of two assessments, the greatest change first.
func (b *builder) causeMoves() []causeMove {
	moves := map[string]*causeMove{}
	count := func(a *fleet.Assessment, add func(*causeMove)) {
		for _, h := range a.Hosts {
			here := map[string]bool{}
			for _, ref := range h.Causes {
				if here[ref.Code] {
					continue
				}
				here[ref.Code] = true
				if moves[ref.Code] == nil {
					moves[ref.Code] = &causeMove{Code: clean(ref.Code), Title: clean(cmp.Or(b.entry[ref.Code].Title, ref.Code))}
				}
				add(moves[ref.Code])
			}
		}
	}
	count(b.in.Previous, func(m *causeMove) { m.Then++ })
	count(b.in.Assessment, func(m *causeMove) { m.Now++ })
	var out []causeMove
	for _, m := range moves {
		if m.Then != m.Now {
			out = append(out, *m)
		}
	}
	slices.SortFunc(out, func(x, y causeMove) int {
		return cmp.Or(cmp.Compare(max(y.Now-y.Then, y.Then-y.Now), max(x.Now-x.Then, x.Then-x.Now)), strings.Compare(x.Code, y.Code))
	})
	return out
}
