package simfleet

import "mvdan.cc/sh/v3/syntax"

// fixTraps works around a defect of the interpreter: it does not run the exit
// trap of a subshell. A subshell in which a trap may be set becomes a job that
// is waited for, whose trap does run when it exits:
//
//	{ { ...; exit; } & wait $!; }
//
// Traps count that stand in the subshell itself, or in a function that it calls
// by name, or that those call.
func fixTraps(file *syntax.File) {
	setters := trapSetters(file)
	syntax.Walk(file, func(n syntax.Node) bool {
		s, ok := n.(*syntax.Stmt)
		if !ok || s.Background {
			return true
		}
		sub, ok := s.Cmd.(*syntax.Subshell)
		if !ok || !callsAny(sub, setters) {
			return true
		}
		at := sub.Pos()
		job := &syntax.Stmt{Position: at, Background: true, Cmd: &syntax.Block{Lbrace: at, Rbrace: at,
			Stmts: append(append([]*syntax.Stmt{}, sub.Stmts...), &syntax.Stmt{Position: at, Cmd: simpleCommand(at, "exit")})}}
		wait := simpleCommand(at, "wait")
		wait.Args = append(wait.Args, &syntax.Word{Parts: []syntax.WordPart{&syntax.ParamExp{Dollar: at, Short: true, Param: &syntax.Lit{ValuePos: at, Value: "!"}}}})
		s.Cmd = &syntax.Block{Lbrace: at, Rbrace: at, Stmts: []*syntax.Stmt{job, {Position: at, Cmd: wait}}}
		return true
	})
}

// trapSetters names "trap" and the functions in which, directly or not, a trap is set.
func trapSetters(file *syntax.File) map[string]bool {
	bodies := map[string]*syntax.Stmt{}
	syntax.Walk(file, func(n syntax.Node) bool {
		if f, ok := n.(*syntax.FuncDecl); ok && f.Name != nil {
			bodies[f.Name.Value] = f.Body
		}
		return true
	})
	setters := map[string]bool{"trap": true}
	for grown := true; grown; {
		grown = false
		for name, body := range bodies {
			if !setters[name] && callsAny(body, setters) {
				setters[name], grown = true, true
			}
		}
	}
	return setters
}

func callsAny(in syntax.Node, names map[string]bool) bool {
	found := false
	syntax.Walk(in, func(n syntax.Node) bool {
		if c, ok := n.(*syntax.CallExpr); ok && len(c.Args) > 0 && names[c.Args[0].Lit()] {
			found = true
		}
		return !found
	})
	return found
}
