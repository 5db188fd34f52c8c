package simfleet

import (
	"context"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// prepare turns what the interpreter would answer from the process that
// simulates into what holds on the simulated machine: $$ and $PPID become
// variables of the simulated shell. It also gives the names of the functions,
// which the interpreter does not tell its handlers about.
func prepare(file *syntax.File) (functions map[string]bool) {
	functions = map[string]bool{}
	fixLoops(file)
	detaches := markDetached(file)
	defer func() {
		fixTraps(file) // after it, $! is the interpreter's own again
		quickCases(file)
	}()
	fixSubstitutions(file)
	syntax.Walk(file, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.FuncDecl:
			if n.Name != nil {
				functions[n.Name.Value] = true
			}
		case *syntax.Word:
			processIDs(n.Parts, detaches)
		case *syntax.DblQuoted:
			processIDs(n.Parts, detaches)
		case *syntax.CallExpr:
			setUmask(n)
		}
		return true
	})
	return functions
}

// markDetached finds the programs that a script starts to outlive it: "setsid
// PROGRAM &" and "nohup PROGRAM &".
func markDetached(file *syntax.File) (found bool) {
	syntax.Walk(file, func(n syntax.Node) bool {
		s, ok := n.(*syntax.Stmt)
		if !ok || !s.Background {
			return true
		}
		c, ok := s.Cmd.(*syntax.CallExpr)
		if !ok || len(c.Args) < 2 {
			return true
		}
		if name := c.Args[0].Lit(); name == "setsid" || name == "nohup" {
			s.Background, found = false, true
			c.Args = append(simpleCommand(c.Pos(), inShell+"detach").Args, c.Args...)
		}
		return true
	})
	return found
}

// simpleCommand makes a simple command.
func simpleCommand(at syntax.Pos, all ...string) *syntax.CallExpr {
	c := &syntax.CallExpr{}
	for _, w := range all {
		c.Args = append(c.Args, &syntax.Word{Parts: []syntax.WordPart{&syntax.Lit{ValuePos: at, Value: w}}})
	}
	return c
}

// umaskVariable holds a shell's file mode creation mask, so that subshells have
// their own, as they do of variables. It is never exported.
const umaskVariable = "_umask"

// pidVariable and ppidVariable hold what a shell calls $$ and $PPID.
const pidVariable, ppidVariable = "_pid", "_ppid"

// setUmask turns "umask MASK" into an assignment.
func setUmask(c *syntax.CallExpr) {
	if len(c.Args) != 2 || c.Args[0].Lit() != "umask" || strings.HasPrefix(c.Args[1].Lit(), "-") {
		return
	}
	c.Assigns = []*syntax.Assign{{Name: &syntax.Lit{ValuePos: c.Pos(), Value: umaskVariable}, Value: c.Args[1]}}
	c.Args = nil
}

func processIDs(parts []syntax.WordPart, detaches bool) {
	for i, part := range parts {
		e, ok := part.(*syntax.ParamExp)
		if !ok || e.Param == nil || e.Exp != nil || e.Repl != nil || e.Slice != nil || e.Length {
			continue
		}
		switch e.Param.Value {
		case "$":
			parts[i] = &syntax.ParamExp{Dollar: part.Pos(), Short: true, Param: &syntax.Lit{ValuePos: part.Pos(), Value: pidVariable}}
		case "!":
			// Without detached programs it is the interpreter's own word for a
			// job, which only wait knows.
			if detaches {
				parts[i] = &syntax.CmdSubst{Left: part.Pos(), Right: part.End(), Stmts: []*syntax.Stmt{{Position: part.Pos(), Cmd: simpleCommand(part.Pos(), inShell+"detached")}}}
			}
		case "PPID":
			parts[i] = &syntax.ParamExp{Dollar: part.Pos(), Short: true, Param: &syntax.Lit{ValuePos: part.Pos(), Value: ppidVariable}}
		}
	}
}

// call sees every simple command first. Builtins that look at the real system,
// or that the interpreter lacks, go to shellBuiltin; names that only bash
// has as builtins go to the search path.
func (s *shell) call(ctx context.Context, args []string) ([]string, error) {
	name := args[0]
	switch {
	case s.functions[name]:
	case name == "cd" && len(args) > 1:
		return s.changeDir(ctx, args[1:]), nil
	case name == "pwd" && len(args) == 2 && args[1] == "-P":
		return []string{inShell + "pwd"}, nil
	case name == "command" && len(args) > 1 && (args[1] == "-v" || args[1] == "-V"):
		return append([]string{inShell + "command"}, args[2:]...), nil
	case name == "command" && len(args) > 1 && ownBuiltin(args[1]):
		return append([]string{inShell + args[1]}, args[2:]...), nil
	case name == "trap":
		return trapArguments(args), nil
	case ownBuiltin(name):
		return append([]string{inShell + name}, args[1:]...), nil
	case slices.Contains(bashOnly, name):
		return append([]string{inShell + "program"}, args...), nil
	}
	return args, nil
}

// changeDir are cd's arguments without options, of which the interpreter knows
// none. With -P links are followed here.
func (s *shell) changeDir(ctx context.Context, args []string) []string {
	physical := false
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		physical = args[0] == "-P" || physical && args[0] != "-L"
		last := args[0] == "--"
		if args = args[1:]; last {
			break
		}
	}
	if physical && len(args) == 1 && args[0] != "" {
		q := s.at(interp.HandlerCtx(ctx))
		if at, n, err := q.m.fs.resolve(q.cred, q.abs(args[0]), true); err == nil && n != nil {
			args = []string{at}
		}
	}
	return append([]string{"cd"}, args...)
}

// physicalDir is pwd -P.
func physicalDir(_ context.Context, _ *shell, q *process) int {
	at, _, err := q.m.fs.resolve(q.cred, q.dir, true)
	if err != nil {
		return q.fail(1, "%s", errorText(err))
	}
	q.printf("%s\n", at)
	return 0
}

// bashOnly are the interpreter's builtins that a POSIX shell does not have.
var bashOnly = []string{
	"source", "bind", "builtin", "caller", "compgen", "complete", "compopt", "declare", "typeset", "dirs", "disown",
	"enable", "history", "help", "let", "logout", "mapfile", "readarray", "popd", "pushd", "shopt", "suspend",
}

// trapArguments leaves only the conditions that the interpreter knows: nobody
// sends signals to a simulated shell.
func trapArguments(args []string) []string {
	out := args[:min(len(args), 2):2]
	for _, a := range args[min(len(args), 2):] {
		if a == "0" || a == "EXIT" {
			out = append(out, "EXIT")
		}
	}
	if len(args) > 2 && len(out) == 2 {
		return []string{"true"}
	}
	return out
}

// inShell is the prefix of names under which call hands builtins to exec. No
// command line can hold a NUL, so nobody asks for them directly.
const inShell = "\x00"

// shellBuiltin finds what runs inside of the shell rather than as a process.
func shellBuiltin(name string) func(context.Context, *shell, *process) int {
	switch name {
	case inShell + "command":
		return commandV
	case inShell + "type":
		return commandV
	case inShell + "printf":
		return shellPrintf
	case inShell + "echo":
		return shellEcho
	case inShell + "pwd":
		return physicalDir
	case inShell + "relay":
		return relay
	case inShell + "kill":
		return runKill
	case inShell + "detach":
		return detach
	case inShell + "detached":
		return func(_ context.Context, s *shell, q *process) int { q.printf("%d\n", s.detached); return 0 }
	case inShell + "hash":
		return func(context.Context, *shell, *process) int { return 0 }
	case inShell + "ulimit":
		return func(_ context.Context, _ *shell, q *process) int { q.printf("unlimited\n"); return 0 }
	case inShell + "umask":
		return func(_ context.Context, _ *shell, q *process) int { q.printf("%04o\n", q.umask); return 0 }
	case inShell + "program":
		return func(ctx context.Context, _ *shell, q *process) int { return q.start(ctx, q.args[1:], nil) }
	}
	return nil
}

// ownBuiltin reports whether a builtin that scripts know is ours rather than
// the interpreter's.
func ownBuiltin(name string) bool {
	switch name {
	case "type", "printf", "echo", "hash", "kill", "ulimit", "umask":
		return true
	}
	return false
}

// commandV is "command -v": functions, builtins, then the search path.
func commandV(_ context.Context, s *shell, q *process) int {
	status := 0
	for _, name := range q.args[1:] {
		if s.functions[name] || interp.IsBuiltin(name) && !slices.Contains(bashOnly, name) {
			q.printf("%s\n", name)
			continue
		}
		at, ok := q.lookPath(name)
		if !ok {
			status = 127
			continue
		}
		q.printf("%s\n", at)
	}
	return status
}
