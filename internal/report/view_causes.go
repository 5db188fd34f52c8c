package report

import (
	"cmp"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// cause is a code that decides the verdict of hosts.
type cause struct {
	Code    string
	Title   string
	Verdict fleet.Verdict
	Decides int // hosts whose verdict it decides
	Found   int // hosts that have it as a root cause, whatever decides them
	Alone   int // hosts of which it is the only root cause
	Means   string
	Issues  []causeIssue // that make it up, those with most hosts first
}

// causeIssue is an issue as the root cause of hosts that are not ready.
type causeIssue struct {
	*issue
	Roots int // hosts of which it is a root cause
}

// maxIssues is how many of its issues a cause shows; the list of findings has all.
const maxIssues = 5

// First are the issues to show with the cause.
func (c cause) First() []causeIssue { return c.Issues[:min(len(c.Issues), maxIssues)] }

// More is how many issues First leaves out.
func (c cause) More() int { return len(c.Issues) - len(c.First()) }

// Several reports whether some host has more than one of the issues.
func (c cause) Several() bool {
	sum := 0
	for _, i := range c.Issues {
		sum += i.Roots
	}
	return sum > c.Found
}

// Fix is what fixes all of the cause's issues; empty when each has its own.
func (c cause) Fix() string {
	fix := ""
	for _, i := range c.Issues {
		if fix != "" && i.Fix != fix {
			return ""
		}
		fix = i.Fix
	}
	return fix
}

func (b *builder) causes(hosts []hostRow, kinds []kind) []cause {
	by := map[string]*cause{}
	get := func(code string) *cause {
		if by[code] == nil {
			by[code] = &cause{Code: code}
		}
		return by[code]
	}
	for _, h := range hosts {
		if h.Verdict == fleet.VerdictReady || h.Cause == "" {
			continue
		}
		c := get(h.Cause)
		c.Decides++
		c.Verdict = max(c.Verdict, h.Verdict)
		c.Title = cmp.Or(c.Title, h.CauseTitle)
		if len(h.Roots) == 1 {
			c.Alone++
		}
	}
	for _, h := range hosts {
		for _, code := range h.Roots {
			if c := by[code]; c != nil && h.Verdict != fleet.VerdictReady {
				c.Found++
			}
		}
	}
	roots := b.rootIssues()
	var out []cause
	for _, c := range by {
		for _, k := range kinds {
			if k.Code != c.Code {
				continue
			}
			c.Means = k.Means
			for _, i := range k.Issues {
				if roots[i] > 0 {
					c.Issues = append(c.Issues, causeIssue{i, roots[i]})
				}
			}
		}
		slices.SortStableFunc(c.Issues, func(x, y causeIssue) int { return cmp.Compare(y.Roots, x.Roots) })
		c.Title = cmp.Or(c.Title, c.Code)
		c.Found = max(c.Found, c.Decides)
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b cause) int {
		return cmp.Or(cmp.Compare(b.Verdict, a.Verdict), cmp.Compare(b.Decides, a.Decides), strings.Compare(a.Code, b.Code))
	})
	return out
}

// rootIssues counts of how many hosts that are not ready each issue is a root cause.
func (b *builder) rootIssues() map[*issue]int {
	out := map[*issue]int{}
	for _, v := range b.in.Assessment.Hosts {
		if v.Verdict == fleet.VerdictReady {
			continue
		}
		here := map[*issue]bool{}
		for _, n := range b.by[v.Host] {
			f := b.in.Assessment.Findings[n]
			root := slices.Contains(v.Causes, f.Ref()) || len(v.Causes) == 0 && f.Code == v.Cause
			if i := b.issue[n]; root && !here[i] {
				here[i] = true
				out[i]++
			}
		}
	}
	return out
}
