package simfleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// runShell is sh, bash and ash: -c TEXT [NAME ARG...], -s [ARG...], FILE [ARG...]
// or a script on standard input. Other one-letter flags are taken and ignored.
func runShell(ctx context.Context, p *process) int {
	args := p.args[1:]
	command, fromStdin := false, false
	for len(args) > 0 && len(args[0]) > 1 && (args[0][0] == '-' || args[0][0] == '+') && args[0] != "--" {
		command = command || strings.Contains(args[0], "c")
		fromStdin = fromStdin || strings.Contains(args[0], "s") && !strings.HasPrefix(args[0], "--")
		args = args[1:]
	}
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	switch {
	case command && len(args) == 0:
		return p.fail(2, "-c requires an argument")
	case command:
		name := "sh"
		if len(args) > 1 {
			name = args[1]
		}
		return p.script(ctx, []byte(args[0]), name, args[min(len(args), 2):])
	case !fromStdin && len(args) > 0:
		text, err := p.readFile(args[0])
		if err != nil {
			_, _ = fmt.Fprintf(p.stderr, "sh: 0: cannot open %s: %s\n", args[0], errorText(err))
			return 2
		}
		return p.script(ctx, text, args[0], args[1:])
	case p.stdin == nil:
		return 0
	}
	// A script on standard input is read whole before it runs. A real shell
	// reads it piece by piece; that shows only where the input breaks off.
	stop := context.AfterFunc(ctx, func() { _ = p.stdin.SetReadDeadline(time.Now()) })
	defer stop()
	text, err := io.ReadAll(io.LimitReader(p.stdin, maxScript+1))
	if err != nil {
		return p.fail(2, "%v", err)
	}
	return p.script(ctx, text, "sh", args)
}

// securePath is sudo's own search path.
const securePath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin"

// runSudo is sudo [-n] [-u USER] COMMAND, sudo [-n] -i for a shell that reads
// standard input, and sudo [-n] -l [-U USER]. Nobody
// types a password here, so an account that needs one is refused with or
// without -n.
func runSudo(ctx context.Context, p *process) int {
	args := p.args[1:]
	target, list, shell, of := "root", false, false, p.user
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		option := args[0]
		args = args[1:]
		if option == "--" {
			break
		}
		switch {
		case option == "-u" && len(args) > 0:
			target, args = args[0], args[1:]
		case option == "-U" && len(args) > 0:
			of, args = args[0], args[1:]
		case option == "-l" || option == "-nl" || option == "-ln":
			list = true
		case option == "-i" || option == "-s":
			shell = true
		}
	}
	if !p.cred.root() && !p.m.maySudo(p.user) {
		return p.fail(1, "a password is required")
	}
	if list {
		return p.listSudo(of)
	}
	a, ok := p.m.account(target)
	if !ok {
		return p.fail(1, "unknown user %s", target)
	}
	if len(args) == 0 && shell {
		args = []string{a.shell}
	}
	if len(args) == 0 {
		return 0
	}
	env := map[string]string{"PATH": securePath, "HOME": a.home, "USER": a.name, "LOGNAME": a.name, "SHELL": a.shell,
		"SUDO_USER": p.user, "SUDO_UID": strconv.Itoa(p.cred.uid), "SUDO_GID": strconv.Itoa(p.cred.gid), "SUDO_COMMAND": strings.Join(args, " ")}
	for _, keep := range []string{"LANG", "LC_ALL", "TERM"} {
		if v, ok := p.env[keep]; ok {
			env[keep] = v
		}
	}
	missing := false
	status := p.start(ctx, args, func(c *process) {
		c.env, c.cred, c.user = env, c.m.credOf(a), a.name
		_, found := c.lookPath(args[0])
		missing = !found
		if missing {
			c.stderr = io.Discard // sudo says it in its own words
		}
	})
	if missing {
		return p.fail(1, "%s: command not found", args[0])
	}
	return status
}

// listSudo shows what an account may do by sudo.
func (p *process) listSudo(name string) int {
	if _, ok := p.m.account(name); !ok {
		return p.fail(1, "unknown user %s", name)
	}
	if !p.m.maySudo(name) {
		p.printf("User %s is not allowed to run sudo on %s.\n", name, p.m.shortHostname())
		return 0
	}
	rule := "(ALL) NOPASSWD: ALL"
	if name == "root" {
		rule = "(ALL : ALL) ALL"
	}
	p.printf("Matching Defaults entries for %s on %s:\n    env_reset, secure_path=%s\n\nUser %s may run the following commands on %s:\n    %s\n",
		name, p.m.shortHostname(), strings.ReplaceAll(securePath, ":", `\:`), name, p.m.shortHostname(), rule)
	return 0
}

// runEnv is env [-i] [NAME=VALUE...] [COMMAND].
func runEnv(ctx context.Context, p *process) int {
	env, args := maps.Clone(p.env), p.args[1:]
	if len(args) > 0 && (args[0] == "-i" || args[0] == "-") {
		env, args = map[string]string{}, args[1:]
	}
	for len(args) > 0 {
		name, value, ok := strings.Cut(args[0], "=")
		if !ok {
			break
		}
		env[name], args = value, args[1:]
	}
	if len(args) > 0 {
		return p.exec(ctx, args, func(c *process) { c.env = env })
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		p.printf("%s=%s\n", name, env[name])
	}
	return 0
}

func runNohup(ctx context.Context, p *process) int {
	if len(p.args) < 2 {
		return p.fail(125, "missing operand")
	}
	return p.exec(ctx, p.args[1:], nil)
}

func duration(s string) (time.Duration, bool) {
	unit := time.Second
	if n := len(s) - 1; n >= 0 {
		switch s[n] {
		case 's':
			s = s[:n]
		case 'm':
			unit, s = time.Minute, s[:n]
		case 'h':
			unit, s = time.Hour, s[:n]
		case 'd':
			unit, s = 24*time.Hour, s[:n]
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f < 0 || f > 1e6 {
		return 0, false
	}
	return time.Duration(f * float64(unit)), true
}

// runTimeout is timeout [OPTION...] DURATION COMMAND. What the command spends in
// simulated waiting counts; a command that blocks in reality (on standard
// input) is ended after the same time in reality.
func runTimeout(ctx context.Context, p *process) int {
	args := p.args[1:]
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		if args[0] == "-s" || args[0] == "-k" {
			args = args[min(len(args), 2):]
			continue
		}
		args = args[1:]
	}
	if len(args) < 2 {
		return p.fail(125, "missing operand")
	}
	d, ok := duration(args[0])
	if !ok {
		return p.fail(125, "invalid time interval ‘%s’", args[0])
	}
	if d == 0 {
		return p.start(ctx, args[1:], nil)
	}
	own := &allowance{left: d}
	outer := p.allowance
	if outer != nil {
		outer.mu.Lock()
		own.left = min(own.left, outer.left)
		outer.mu.Unlock()
	}
	before := own.left
	limited, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	status := p.start(limited, args[1:], func(c *process) { c.allowance = own })
	if outer != nil {
		outer.mu.Lock()
		outer.left -= before - own.left
		exhausted := outer.left <= 0
		outer.mu.Unlock()
		if exhausted {
			return statusTimedOut
		}
	}
	if status == statusTimedOut || limited.Err() != nil && ctx.Err() == nil {
		return 124
	}
	return status
}

func runSleep(ctx context.Context, p *process) int {
	var total time.Duration
	for _, a := range p.args[1:] {
		d, ok := duration(a)
		if !ok {
			return p.fail(1, "invalid time interval ‘%s’", a)
		}
		total += d
	}
	err := p.wait(ctx, total)
	p.x.renew()
	return waited(err, 0)
}

// waited turns the outcome of process.wait into an exit status.
func waited(err error, status int) int {
	switch {
	case err == nil:
		return status
	case errors.Is(err, errTimedOut):
		return statusTimedOut
	}
	return 137
}

func runTrue(context.Context, *process) int  { return 0 }
func runFalse(context.Context, *process) int { return 1 }

func runNologin(_ context.Context, p *process) int {
	p.printf("This account is currently not available.\n")
	return 1
}
