package simfleet

import (
	"strconv"

	"mvdan.cc/sh/v3/syntax"
)

// loopFixer works around a defect of the interpreter (mvdan.cc/sh 3.14.1): after
// a break or continue it goes on with what follows in the same if, case or
// block, and only the loop's own list of statements stops. Lists in which that
// would show become loops of one turn, which do stop, and the break gets one
// level more for each of them.
//
// A level that is not a plain number ("break $n") is left as it is, and so is a
// break in a function that is called from a loop.
type loopFixer struct {
	// extra counts, for each loop around, the loops of one turn between it and
	// the next one inside; the innermost is last.
	extra []int
}

// fixLoops rewrites a script in place.
func fixLoops(file *syntax.File) {
	f := &loopFixer{}
	f.list(&file.Stmts)
}

// list handles the statements of anything but a loop's body.
func (f *loopFixer) list(stmts *[]*syntax.Stmt) {
	if len(f.extra) == 0 || !goesOnAfterEscape(*stmts) {
		f.stmts(*stmts)
		return
	}
	f.extra[len(f.extra)-1]++
	f.stmts(*stmts)
	f.extra[len(f.extra)-1]--
	first := (*stmts)[0].Pos()
	*stmts = []*syntax.Stmt{{Position: first, Cmd: &syntax.ForClause{
		ForPos: first,
		Loop:   &syntax.WordIter{Name: &syntax.Lit{Value: "_once"}, InPos: first, Items: []*syntax.Word{{Parts: []syntax.WordPart{&syntax.Lit{Value: "1"}}}}},
		Do:     *stmts,
	}}}
}

func (f *loopFixer) stmts(stmts []*syntax.Stmt) {
	for _, s := range stmts {
		f.command(s.Cmd)
	}
}

// loop handles a loop's body; its own list of statements needs no help.
func (f *loopFixer) loop(body []*syntax.Stmt) {
	f.extra = append(f.extra, 0)
	f.stmts(body)
	f.extra = f.extra[:len(f.extra)-1]
}

// apart handles what no loop around reaches into.
func (f *loopFixer) apart(body func(*loopFixer)) { body(&loopFixer{}) }

func (f *loopFixer) command(c syntax.Command) {
	switch c := c.(type) {
	case *syntax.CallExpr:
		f.call(c)
	case *syntax.Block:
		f.list(&c.Stmts)
	case *syntax.IfClause:
		for part := c; part != nil; part = part.Else {
			f.list(&part.Cond)
			f.list(&part.Then)
		}
	case *syntax.CaseClause:
		for _, item := range c.Items {
			f.list(&item.Stmts)
		}
	case *syntax.BinaryCmd:
		f.command(c.X.Cmd)
		f.command(c.Y.Cmd)
	case *syntax.ForClause:
		f.loop(c.Do)
	case *syntax.WhileClause:
		f.loop(c.Cond)
		f.loop(c.Do)
	case *syntax.Subshell:
		f.apart(func(g *loopFixer) { g.list(&c.Stmts) })
	case *syntax.FuncDecl:
		f.apart(func(g *loopFixer) { g.command(c.Body.Cmd) })
	}
	if c == nil {
		return
	}
	// Command substitutions lie in words; the interpreter runs them apart too.
	syntax.Walk(c, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.Stmt:
			return false
		case *syntax.CmdSubst:
			f.apart(func(g *loopFixer) { g.list(&n.Stmts) })
			return false
		}
		return true
	})
}

// call adds to the level of a break or continue the loops of one turn that it
// has to leave as well.
func (f *loopFixer) call(c *syntax.CallExpr) {
	level := escapeLevel(c)
	if level == 0 {
		return
	}
	added := 0
	for i := range min(level, len(f.extra)) {
		added += f.extra[len(f.extra)-1-i]
	}
	if added > 0 {
		number := &syntax.Word{Parts: []syntax.WordPart{&syntax.Lit{Value: strconv.Itoa(level + added)}}}
		c.Args = append(c.Args[:1:1], number)
	}
}

// escapeLevel is how many loops a command leaves; 0 if it is no break or continue.
func escapeLevel(c *syntax.CallExpr) int {
	if len(c.Args) == 0 || len(c.Args) > 2 {
		return 0
	}
	if name := c.Args[0].Lit(); name != "break" && name != "continue" {
		return 0
	}
	if len(c.Args) == 1 {
		return 1
	}
	n, err := strconv.Atoi(c.Args[1].Lit())
	if err != nil || n < 1 {
		return 0
	}
	return n
}

// goesOnAfterEscape reports whether a statement before the last one may leave
// a loop around the list.
func goesOnAfterEscape(stmts []*syntax.Stmt) bool {
	for _, s := range stmts[:max(len(stmts)-1, 0)] {
		if escapes(s, 0) {
			return true
		}
	}
	return false
}

// escapes reports whether a break or continue below n leaves more loops than
// the inner ones that lie between.
func escapes(n syntax.Node, inner int) bool {
	found := false
	syntax.Walk(n, func(n syntax.Node) bool {
		var bodies [][]*syntax.Stmt
		switch n := n.(type) {
		case *syntax.CallExpr:
			found = found || escapeLevel(n) > inner
			return !found
		case *syntax.Subshell, *syntax.FuncDecl, *syntax.CmdSubst:
			return false
		case *syntax.ForClause:
			bodies = [][]*syntax.Stmt{n.Do}
		case *syntax.WhileClause:
			bodies = [][]*syntax.Stmt{n.Cond, n.Do}
		default:
			return !found
		}
		for _, body := range bodies {
			for _, s := range body {
				found = found || escapes(s, inner+1)
			}
		}
		return false
	})
	return found
}
