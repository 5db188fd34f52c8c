package simfleet

import (
	"context"
	"slices"
	"strconv"

	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// prepare turns what the interpreter would answer from the process that
// simulates into what holds on the simulated machine: $$ and $PPID become
// numbers of its process table. It also notes the functions, which the
// interpreter does not tell its handlers about.
func (s *shell) prepare(file *syntax.File) {
	fixLoops(file)
	fixSubstitutions(file)
	syntax.Walk(file, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.FuncDecl:
			if n.Name != nil {
				s.functions[n.Name.Value] = true
			}
		case *syntax.Word:
			s.processIDs(n.Parts)
		case *syntax.DblQuoted:
			s.processIDs(n.Parts)
		}
		return true
	})
}

func (s *shell) processIDs(parts []syntax.WordPart) {
	for i, part := range parts {
		e, ok := part.(*syntax.ParamExp)
		if !ok || e.Param == nil || e.Exp != nil || e.Repl != nil || e.Slice != nil || e.Length {
			continue
		}
		switch e.Param.Value {
		case "$":
			parts[i] = &syntax.Lit{Value: strconv.Itoa(s.p.pid)}
		case "PPID":
			parts[i] = &syntax.Lit{Value: strconv.Itoa(s.p.ppid)}
		}
	}
}

// call sees every simple command first. Builtins that look at the real system,
// or that the interpreter lacks, go to shellBuiltin; names that only bash
// has as builtins go to the search path.
func (s *shell) call(_ context.Context, args []string) ([]string, error) {
	name := args[0]
	switch {
	case s.functions[name]:
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
	case inShell + "relay":
		return relay
	case inShell + "hash", inShell + "kill":
		return func(context.Context, *shell, *process) int { return 0 }
	case inShell + "ulimit":
		return func(_ context.Context, _ *shell, q *process) int { q.printf("unlimited\n"); return 0 }
	case inShell + "umask":
		return func(_ context.Context, _ *shell, q *process) int { q.printf("0022\n"); return 0 }
	case inShell + "program":
		return func(ctx context.Context, _ *shell, q *process) int { return q.start(ctx, q.args[1:], nil) }
	}
	return nil
}

// ownBuiltin reports whether a builtin that scripts know is ours rather than
// the interpreter's.
func ownBuiltin(name string) bool {
	switch name {
	case "type", "printf", "hash", "kill", "ulimit", "umask":
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
