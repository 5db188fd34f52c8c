package simfleet

import (
	"regexp"
	"strings"
	"sync"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/pattern"
	"mvdan.cc/sh/v3/syntax"
)

// caseVariable holds what a case of quickCases is about.
const caseVariable = "_case"

// quickCases spares the interpreter (mvdan.cc/sh 3.14.1) a regular expression
// for every pattern each time that it comes to one, which takes longer than all
// else that our scripts do. A case whose patterns do not depend on variables
// becomes
//
//	{ _case=WORD; if match "$_case" PATTERN...; then ...; elif ...; fi; }
//
// where match keeps what it has compiled. In the bodies $? would be that of
// match: a case that asks for it stays as it is.
func quickCases(file *syntax.File) {
	syntax.Walk(file, func(n syntax.Node) bool {
		s, ok := n.(*syntax.Stmt)
		if !ok {
			return true
		}
		if c, ok := s.Cmd.(*syntax.CaseClause); ok && len(c.Items) > 0 && !asksForStatus(c) {
			if chain := caseChain(c); chain != nil {
				assign := &syntax.CallExpr{Assigns: []*syntax.Assign{{Name: &syntax.Lit{ValuePos: c.Pos(), Value: caseVariable}, Value: c.Word}}}
				s.Cmd = &syntax.Block{Lbrace: c.Pos(), Rbrace: c.Pos(), Stmts: []*syntax.Stmt{
					{Position: c.Pos(), Cmd: assign}, {Position: c.Pos(), Cmd: chain},
				}}
			}
		}
		return true
	})
}

// caseChain is the case's items as conditions; nil: not all can be that.
func caseChain(c *syntax.CaseClause) *syntax.IfClause {
	var next *syntax.IfClause
	for i := len(c.Items) - 1; i >= 0; i-- {
		item := c.Items[i]
		if item.Op != syntax.Break {
			return nil
		}
		at := item.Pos()
		call := simpleCommand(at, inShell+"match")
		call.Args = append(call.Args, &syntax.Word{Parts: []syntax.WordPart{&syntax.DblQuoted{Left: at, Right: at, Parts: []syntax.WordPart{
			&syntax.ParamExp{Dollar: at, Short: true, Param: &syntax.Lit{ValuePos: at, Value: caseVariable}},
		}}}})
		for _, w := range item.Patterns {
			text, ok := constantPattern(w)
			if !ok {
				return nil
			}
			call.Args = append(call.Args, &syntax.Word{Parts: []syntax.WordPart{&syntax.SglQuoted{Left: at, Right: at, Value: text}}})
		}
		next = &syntax.IfClause{Position: at, ThenPos: at, FiPos: at, Cond: []*syntax.Stmt{{Position: at, Cmd: call}}, Then: item.Stmts, Else: next}
	}
	return next
}

// constantPattern is a pattern's text as the interpreter makes it, if it is
// always the same and well-formed.
func constantPattern(w *syntax.Word) (string, bool) {
	constant := true
	syntax.Walk(w, func(n syntax.Node) bool {
		switch n := n.(type) {
		case nil, *syntax.Word, *syntax.DblQuoted:
		case *syntax.SglQuoted:
			constant = constant && !n.Dollar
		case *syntax.Lit:
			constant = constant && !strings.HasPrefix(n.Value, "~")
		default:
			constant = false
		}
		return constant
	})
	if !constant {
		return "", false
	}
	text, err := expand.Pattern(nil, w)
	if err != nil {
		return "", false
	}
	_, err = patterns.compiled(text)
	return text, err == nil
}

// asksForStatus reports whether a command of the case may want to know how the
// one before it ended.
func asksForStatus(c *syntax.CaseClause) bool {
	found := false
	for _, item := range c.Items {
		syntax.Walk(item, func(n syntax.Node) bool {
			switch n := n.(type) {
			case *syntax.ParamExp:
				found = found || n.Param != nil && n.Param.Value == "?"
			case *syntax.CallExpr:
				if len(n.Args) == 1 {
					name := n.Args[0].Lit()
					found = found || name == "return" || name == "exit"
				}
			}
			return !found
		})
	}
	return found
}

// patterns keeps the patterns of all scripts that this process has simulated.
var patterns patternCache

// patternCache is ready for use as its zero value, and safe for concurrent use.
type patternCache struct {
	mu  sync.RWMutex
	all map[string]*regexp.Regexp // guarded by mu
}

// maxPatterns bounds a patternCache: scripts of hosts are few.
const maxPatterns = 10_000

// compiled gives the regular expression of a pattern of case.
func (c *patternCache) compiled(text string) (*regexp.Regexp, error) {
	c.mu.RLock()
	rx := c.all[text]
	c.mu.RUnlock()
	if rx != nil {
		return rx, nil
	}
	expr, err := pattern.Regexp(text, pattern.EntireString|pattern.ExtendedOperators)
	if err != nil {
		return nil, err
	}
	if rx, err = regexp.Compile(expr); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil || len(c.all) >= maxPatterns {
		c.all = map[string]*regexp.Regexp{}
	}
	c.all[text] = rx
	return rx, nil
}

// matchesAny is the shell's builtin match: whether the first of the arguments
// is matched by one of the others.
func matchesAny(args []string) bool {
	for _, text := range args[1:] {
		if rx, err := patterns.compiled(text); err == nil && rx.MatchString(args[0]) {
			return true
		}
	}
	return false
}
