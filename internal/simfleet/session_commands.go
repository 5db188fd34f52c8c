package simfleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	words "mvdan.cc/sh/v3/shell"
)

// outputWriter carries a program's output into the session.
type outputWriter struct {
	ls      *liveSession
	ctx     context.Context
	payload payloadType
}

func (o outputWriter) Write(b []byte) (int, error) {
	if err := o.ls.print(o.ctx, o.payload, b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// serveCommands runs a shell or a command on the machine.
func (ls *liveSession) serveCommands(ctx context.Context) string {
	m := ls.hosts.machine(ls.inst)
	if m.OS.Family == "windows" {
		return agentError + "Unable to start command: the simulated fleet runs nothing on Windows"
	}
	a, err := ls.user()
	if err != nil {
		return agentError + "Unable to start command: " + err.Error() + "\n"
	}
	if a.name == ssmUserName {
		m = ls.hosts.machine(ls.inst) // the account may be new
	}
	c := command{account: a, parent: m.agentPID() + 80, env: map[string]string{"TERM": "xterm-256color", "LANG": "C.UTF-8", "HOME": "/home/" + a.name}}
	if a.uid == 0 {
		c.env["HOME"] = "/root"
	}
	switch ls.spec.kind {
	case kindNonInteractive:
		ls.nonInteractive(ctx, m, c)
	default:
		ls.onTerminal(ctx, m, c)
	}
	return ""
}

// user finds the account in which the session's programs run. The first session
// makes ssm-user. Sources: amazon-ssm-agent, agent/session/shell/shell_unix.go;
// Systems Manager User Guide, session-preferences-run-as.
func (ls *liveSession) user() (account, error) {
	name := ssmUserName
	switch {
	case ls.spec.elevated:
		name = "root"
	case ls.spec.inputs.RunAs:
		name = ls.owner.tags["SSMSessionRunAs"]
		if name == "" {
			name = ls.spec.inputs.RunAsUser
		}
		if strings.TrimSpace(name) == "" {
			return account{}, errors.New("please set the RunAs default user")
		}
	}
	w := ls.server.w
	w.Mu.Lock()
	if name == ssmUserName && ls.inst.Machine.SSMUser == SSMUserAbsent {
		ls.inst.Machine.SSMUser = SSMUserByAgent
	}
	w.Mu.Unlock()
	a, ok := ls.hosts.machine(ls.inst).account(name)
	switch {
	case !ok:
		return account{}, fmt.Errorf("failed to start pty since RunAs user %s does not exist", name)
	case a.uid == 0 && !ls.spec.elevated:
		return account{}, errors.New("invalid uid and gid")
	}
	return a, nil
}

// nonInteractive runs one command without a terminal and without a shell, and
// sends its output when it has ended, unless the document wants the streams
// apart.
func (ls *liveSession) nonInteractive(ctx context.Context, m *machine, c command) {
	fields, err := words.Fields(ls.spec.command, func(string) string { return "" })
	if err != nil || len(fields) == 0 {
		_ = ls.print(ctx, payloadOutput, []byte("Unable to start command: Failed to parse commands input: "+fmt.Sprint(err)+"\n"))
		return
	}
	c.line = strings.Join(quoted(fields), " ")
	out := newCoalescer(outputWriter{ls, ctx, payloadOutput})
	errs := out
	if ls.spec.separately {
		errs = newCoalescer(outputWriter{ls, ctx, payloadStderr})
	}
	c.stdout, c.stderr = out, errs
	running, stop := context.WithCancel(ctx)
	defer stop()
	ls.hosts.wg.Go(func() {
		for {
			f, err := ls.take(running)
			if err != nil {
				return
			}
			if f.payload == payloadOutput && slices.Contains(f.data, keyInterrupt) {
				stop()
			}
		}
	})
	status := ls.hosts.run(running, m, c)
	out.close()
	if ls.spec.separately {
		errs.close()
		_ = ls.stream(ctx, payloadExitCode, fmt.Appendf(nil, "EXIT_CODE: %d", status))
	}
}

func quoted(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	return out
}

// onTerminal runs a shell, or one command, on a pseudo terminal.
func (ls *liveSession) onTerminal(ctx context.Context, m *machine, c command) {
	out := newCoalescer(outputWriter{ls, ctx, payloadOutput})
	defer out.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	limit := editedLine
	if m.dpkgBased() || m.OS.Family == "alpine" {
		limit = canonicalLine // sh is no bash there and leaves lines to the kernel
	}
	t := newTerminal(out, limit)
	ls.hosts.wg.Go(func() { ls.keyboard(ctx, t) })
	switch m.Fault {
	case MachineEndless:
		endless(ctx, t, ls.hosts.opts.EndlessBytes)
		return
	case MachineHang:
		<-ctx.Done()
		return
	case MachineGarbage:
		garbage(out, io.Discard)
		return
	}
	if ls.spec.kind == kindInteractive {
		c.line = ls.spec.command
		c.stdout, c.stderr, c.tty = t, t, t
		running, stop := context.WithCancel(ctx)
		defer stop()
		defer t.during(stop)()
		ls.hosts.run(running, m, c)
		return
	}
	sh := &sessionShell{ls: ls, t: t, c: c}
	sh.run(ctx, m)
}

// keyboard takes the client's input to the terminal until the session ends.
func (ls *liveSession) keyboard(ctx context.Context, t *terminal) {
	for {
		f, err := ls.take(ctx)
		if err != nil {
			return
		}
		switch f.payload {
		case payloadOutput:
			t.input(f.data)
		case payloadSize:
			t.resize(f.data)
		}
	}
}
