package fleet

// Chain is how one root cause shows: the finding that starts it, then those
// that follow from it, nearest first.
type Chain []Finding

// Chains orders the findings of one host that keep it from ready (severities
// blocks and unknown) into causal chains, one for each root cause, in the
// order of the findings. A finding that follows from several root causes
// stands in the chain of each. A reference to a finding that is not among
// those given is passed over.
func Chains(findings []Finding) []Chain {
	at := make(map[Ref]int, len(findings))
	for i, f := range findings {
		if f.Severity >= SeverityUnknown {
			at[f.Ref()] = i
		}
	}
	follows := map[int][]int{}
	root := map[int]bool{}
	for _, i := range at {
		root[i] = true
	}
	for i, f := range findings {
		if at[f.Ref()] != i || f.Severity < SeverityUnknown {
			continue
		}
		for _, b := range f.Because {
			if from, ok := at[b]; ok && from != i {
				follows[from] = append(follows[from], i)
				delete(root, i)
			}
		}
	}
	var out []Chain
	for i := range findings {
		if !root[i] {
			continue
		}
		seen := map[int]bool{i: true}
		chain := Chain{findings[i]}
		for queue := follows[i]; len(queue) > 0; {
			next := queue[0]
			queue = queue[1:]
			if seen[next] {
				continue
			}
			seen[next] = true
			chain = append(chain, findings[next])
			queue = append(queue, follows[next]...)
		}
		out = append(out, chain)
	}
	return out
}
