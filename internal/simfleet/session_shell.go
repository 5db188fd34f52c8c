package simfleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"

	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// sessionShell is an interactive sh on a terminal. Variables, functions and
// the folder last from line to line; programs have no standard input.
type sessionShell struct {
	ls *liveSession
	t  *terminal
	c  command

	p      *process
	shell  *shell
	runner *interp.Runner
}

// prompt is what sh prints before a line: bash as sh tells its version, dash
// and ash do not.
func (m *machine) prompt(a account) string {
	sign := "$ "
	if a.uid == 0 {
		sign = "# "
	}
	if m.dpkgBased() || m.OS.Family == "alpine" {
		return sign
	}
	version := "5.1"
	switch major, _, _ := strings.Cut(m.OS.Version, "."); {
	case m.OS.Family == "amzn" && major == "2":
		version = "4.2"
	case m.OS.Family == "amzn":
		version = "5.2"
	case major == "8" || major == "15":
		version = "4.4"
	}
	return "sh-" + version + sign
}

// run reads lines and runs them until exit, Ctrl-D, or the session's end.
func (sh *sessionShell) run(ctx context.Context, m *machine) {
	if err := sh.start(m); err != nil {
		_, _ = fmt.Fprintf(sh.t, "sh: %v\n", err)
		return
	}
	prompt := m.prompt(sh.c.account)
	if profile := sh.ls.spec.inputs.LinuxProfile; strings.TrimSpace(profile) != "" {
		sh.t.input([]byte(profile + "\n")) // the agent types it
	}
	text := ""
	for {
		if text == "" {
			_, _ = io.WriteString(sh.t, prompt)
		} else {
			_, _ = io.WriteString(sh.t, "> ")
		}
		e, err := sh.t.next(ctx)
		switch {
		case err != nil:
			return
		case e.interrupted:
			text = ""
			_, _ = io.WriteString(sh.t, "\n")
			continue
		case e.eof && text == "":
			_, _ = io.WriteString(sh.t, "exit\n")
			return
		case e.eof:
			continue
		}
		text += e.line + "\n"
		file, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(text), "sh")
		switch {
		case incomplete(text, err):
			continue
		case err != nil:
			_, _ = fmt.Fprintf(sh.t, "sh: %v\n", err)
		default:
			if sh.line(ctx, file) {
				return
			}
		}
		text = ""
	}
}

// incomplete reports whether a command goes on in the next line.
func incomplete(text string, err error) bool {
	if len(text) > maxScript {
		return false
	}
	return syntax.IsIncomplete(err) || strings.HasSuffix(text, "\\\n") && !strings.HasSuffix(text, "\\\\\n")
}

func (sh *sessionShell) start(m *machine) error {
	x := newExecution(sh.ls.hosts, m)
	a := sh.c.account
	p := &process{
		x: x, m: m, pid: sh.ls.hosts.newPIDs(1), ppid: sh.c.parent, cred: m.credOf(a), user: a.name, dir: "/", args: []string{"sh"}, tty: sh.t, umask: 0o022,
		env:    map[string]string{"PATH": m.defaultPath(a), "SHELL": a.shell},
		stdout: sh.t, stderr: sh.t,
	}
	for k, v := range sh.c.env {
		p.env[k] = v
	}
	// The agent's unit runs there (WorkingDirectory), and sessions with it.
	if m.rpmBased() {
		p.dir = "/usr/bin"
	}
	x.procs[p.pid] = task{pid: p.pid, ppid: p.ppid, uid: p.cred.uid, gid: p.cred.gid, comm: "sh", cmdline: "sh\x00", exe: "/bin/sh"}
	sh.p, sh.shell = p, &shell{p: p, functions: map[string]bool{}}
	var err error
	sh.runner, err = sh.shell.runner(nil)
	return err
}

// line runs what was typed, on the machine as it is now. It reports whether the
// shell has ended.
func (sh *sessionShell) line(ctx context.Context, file *syntax.File) bool {
	m := sh.ls.hosts.machine(sh.ls.inst)
	m.exec, sh.p.m = sh.p.x, m
	sh.p.x.now.Store(m)
	ctx, cancel := context.WithTimeout(ctx, sh.ls.hosts.opts.ExecTimeout)
	defer cancel()
	limit := sh.ls.hosts.opts.MaxOutput
	sh.p.stdout = &limited{w: sh.t, left: limit, stop: cancel}
	sh.p.stderr = sh.p.stdout
	if err := interp.StdIO(nil, sh.p.stdout, sh.p.stderr)(sh.runner); err != nil {
		return true
	}
	maps.Copy(sh.shell.functions, prepare(file))
	finished := sh.t.during(cancel)
	defer finished()
	for _, s := range file.Stmts {
		err := sh.runner.Run(ctx, s)
		var status interp.ExitStatus
		if err != nil && !errors.As(err, &status) && ctx.Err() == nil && !errors.Is(err, errTimedOut) {
			_, _ = fmt.Fprintf(sh.t, "sh: %v\n", err)
		}
		if sh.runner.Exited() && ctx.Err() == nil {
			return true
		}
		if ctx.Err() != nil {
			_, _ = io.WriteString(sh.t, "\n")
			break
		}
	}
	return false
}

// runStty is stty as far as scripts and people change a terminal's echo or ask
// for its size.
func runStty(_ context.Context, p *process) int {
	if p.tty == nil {
		return p.fail(1, "'standard input': Inappropriate ioctl for device")
	}
	for _, a := range p.args[1:] {
		switch a {
		case "-echo", "raw":
			p.tty.echo(false)
		case "echo", "sane", "-raw", "cooked":
			p.tty.echo(true)
		case "size":
			cols, rows := p.tty.window()
			p.printf("%d %d\n", rows, cols)
		}
	}
	return 0
}

func runTTY(_ context.Context, p *process) int {
	if p.tty == nil {
		p.printf("not a tty\n")
		return 1
	}
	p.printf("/dev/pts/0\n")
	return 0
}
