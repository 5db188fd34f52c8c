package fleet

import "slices"

// Chain is how one root cause shows: the finding that starts it, then those
// that follow from it, nearest first.
type Chain []Finding

// Chains orders the findings of one host that keep it from ready (severities
// blocks and unknown) into causal chains, one for each root cause, in the
// order of the findings. A finding that follows from several root causes
// stands in the chain of each; each finding stands in one chain at least. A
// reference to a finding that is not among those given is passed over. Of
// findings that follow from one another in a circle, the first is their root.
func Chains(findings []Finding) []Chain {
	g := newCausality(findings)
	roots := make([]bool, len(findings))
	reached := make([]bool, len(findings))
	start := func(i int) {
		roots[i], reached[i] = true, true
		for _, k := range g.reach(g.follows, i) {
			reached[k] = true
		}
	}
	for _, i := range g.deciding {
		if len(g.from[i]) == 0 {
			start(i)
		}
	}
	for _, i := range g.deciding {
		if !reached[i] {
			start(g.origin(i))
		}
	}
	var out []Chain
	for i, root := range roots {
		if !root {
			continue
		}
		chain := Chain{findings[i]}
		for _, k := range g.reach(g.follows, i) {
			if k != i {
				chain = append(chain, findings[k])
			}
		}
		out = append(out, chain)
	}
	return out
}

// causality is the graph of what follows from what, by positions among the findings.
type causality struct {
	deciding []int
	follows  [][]int
	from     [][]int
}

func newCausality(findings []Finding) causality {
	g := causality{follows: make([][]int, len(findings)), from: make([][]int, len(findings))}
	named := map[Ref][]int{}
	for i, f := range findings {
		if f.Severity >= SeverityUnknown {
			g.deciding = append(g.deciding, i)
			named[f.Ref()] = append(named[f.Ref()], i)
		}
	}
	for _, i := range g.deciding {
		for _, b := range findings[i].Because {
			for _, from := range named[b] {
				if from != i {
					g.follows[from] = append(g.follows[from], i)
					g.from[i] = append(g.from[i], from)
				}
			}
		}
	}
	return g
}

// reach lists what the edges lead to from i, nearest first; i itself only if
// it lies on a circle.
func (g causality) reach(edges [][]int, i int) []int {
	seen := map[int]bool{}
	var out []int
	for queue := edges[i]; len(queue) > 0; {
		next := queue[0]
		queue = queue[1:]
		if seen[next] {
			continue
		}
		seen[next] = true
		out = append(out, next)
		queue = append(queue[:len(queue):len(queue)], edges[next]...)
	}
	return out
}

// origin finds where the findings come from that lead to i, when no root does:
// the first of a circle that nothing outside of it leads to.
func (g causality) origin(i int) int {
	best, fewest := -1, 0
	above := g.reach(g.from, i)
	for _, k := range g.deciding {
		if k != i && !slices.Contains(above, k) {
			continue
		}
		n := 1
		for _, j := range g.reach(g.from, k) {
			if j != k {
				n++
			}
		}
		if best < 0 || n < fewest {
			best, fewest = k, n
		}
	}
	return best
}
