package simfleet

import (
	"context"
	"io"

	"mvdan.cc/sh/v3/syntax"
)

// fixSubstitutions works around another defect of the interpreter: background
// jobs in a command substitution write to one buffer at the same time. Such a
// substitution gets a pipe, which takes concurrent writes:
//
//	$(set -o pipefail; { set +o pipefail; ...; } | relay)
//
// Jobs count that stand in the substitution itself, or in a function that it
// calls by name.
func fixSubstitutions(file *syntax.File) {
	starters := map[string]bool{}
	syntax.Walk(file, func(n syntax.Node) bool {
		if f, ok := n.(*syntax.FuncDecl); ok && f.Name != nil && startsJobs(f.Body, nil) {
			starters[f.Name.Value] = true
		}
		return true
	})
	syntax.Walk(file, func(n syntax.Node) bool {
		c, ok := n.(*syntax.CmdSubst)
		if !ok {
			return true
		}
		for _, s := range c.Stmts {
			if startsJobs(s, starters) {
				c.Stmts = relayed(c.Stmts)
				break
			}
		}
		return true
	})
}

// startsJobs reports whether a background job may start in a statement.
func startsJobs(s *syntax.Stmt, starters map[string]bool) bool {
	found := false
	syntax.Walk(s, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.Stmt:
			found = found || n.Background
		case *syntax.CallExpr:
			found = found || len(n.Args) > 0 && starters[n.Args[0].Lit()]
		}
		return !found
	})
	return found
}

// relayed puts a pipe between statements and whoever reads their output; the
// exit status stays theirs.
func relayed(stmts []*syntax.Stmt) []*syntax.Stmt {
	at := stmts[0].Pos()
	call := func(all ...string) *syntax.Stmt { return &syntax.Stmt{Position: at, Cmd: simpleCommand(at, all...)} }
	inner := append([]*syntax.Stmt{call("set", "+o", "pipefail")}, stmts...)
	return []*syntax.Stmt{
		call("set", "-o", "pipefail"),
		{Position: at, Cmd: &syntax.BinaryCmd{
			OpPos: at, Op: syntax.Pipe,
			X: &syntax.Stmt{Position: at, Cmd: &syntax.Block{Lbrace: at, Rbrace: at, Stmts: inner}},
			Y: call(inShell + "relay"),
		}},
	}
}

// relay copies its input to its output.
func relay(_ context.Context, _ *shell, q *process) int {
	if q.stdin != nil {
		_, _ = io.Copy(q.stdout, q.stdin)
	}
	return 0
}
