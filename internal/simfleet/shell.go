package simfleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
)

// execution is one command line that runs on a machine, with all its processes.
type execution struct {
	hosts      *Hosts
	inst       *Instance
	now        atomic.Pointer[machine] // as the programs that start next see it
	background *background             // that it is of; nil: somebody waits for its end

	mu    sync.Mutex
	procs map[int]task   // guarded by mu
	stops map[int]func() // guarded by mu; end a process
}

func newExecution(h *Hosts, m *machine) *execution {
	e := &execution{hosts: h, inst: m.inst, procs: map[int]task{}, stops: map[int]func(){}}
	m.exec = e
	e.now.Store(m)
	return e
}

// current is the machine as it was when it was last looked at.
func (e *execution) current() *machine { return e.now.Load() }

// renew looks at the machine again: time has passed, or a program has changed it.
func (e *execution) renew() {
	m := e.hosts.machine(e.inst)
	m.exec = e
	e.now.Store(m)
}

// signal ends one of the processes, or only looks for it.
func (e *execution) signal(pid int, end bool) bool {
	e.mu.Lock()
	stop, ok := e.stops[pid]
	e.mu.Unlock()
	if ok && end {
		stop()
	}
	return ok
}

func (e *execution) tasks() []task {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]task, 0, len(e.procs))
	for _, t := range e.procs {
		out = append(out, t)
	}
	return out
}

// process is one running program. Its methods see the machine as its user does.
type process struct {
	x         *execution
	m         *machine
	pid, ppid int
	cred      cred
	user      string
	args      []string
	env       map[string]string // exported variables
	dir       string
	stdin     *os.File // nil: closed
	stdout    io.Writer
	stderr    io.Writer
	allowance *allowance
	umask     fs.FileMode
	tty       *terminal // of a session through Session Manager; nil: none
}

// allowance is how much simulated time "timeout" leaves its command. Only
// simulated waiting uses it up, so that a slow machine under the simulation
// does not end commands that would have been quick.
type allowance struct {
	mu   sync.Mutex
	left time.Duration
}

var errTimedOut = errors.New("timed out")

// statusTimedOut is what a program returns, in place of an exit status, when
// the allowance that "timeout" gave it is used up.
const statusTimedOut = -1

// wait lets d of simulated time pass, or what "timeout" has left and then fails.
func (p *process) wait(ctx context.Context, d time.Duration) error {
	pass := p.x.hosts.wait
	if b := p.x.background; b != nil {
		pass = b.wait
	}
	if a := p.allowance; a != nil {
		a.mu.Lock()
		over := d >= a.left
		d = min(d, a.left)
		a.left -= d
		a.mu.Unlock()
		if err := pass(ctx, d); err != nil || !over {
			return err
		}
		return errTimedOut
	}
	return pass(ctx, d)
}

func (p *process) printf(format string, args ...any) { _, _ = fmt.Fprintf(p.stdout, format, args...) }

// fail prints a message in the program's name and gives the exit status.
func (p *process) fail(status int, format string, args ...any) int {
	_, _ = fmt.Fprintf(p.stderr, "%s: %s\n", path.Base(strings.TrimPrefix(p.args[0], inShell)), fmt.Sprintf(format, args...))
	return status
}

// abs makes a path absolute and resolves /proc/self to the process's own entry.
func (p *process) abs(name string) string {
	if !path.IsAbs(name) {
		name = path.Join(p.dir, name)
	}
	if name == "/proc/self" || strings.HasPrefix(name, "/proc/self/") {
		return "/proc/" + strconv.Itoa(p.pid) + strings.TrimPrefix(name, "/proc/self")
	}
	return name
}

func (p *process) readFile(name string) ([]byte, error) { return p.m.fs.readFile(p.cred, p.abs(name)) }

// input gives the content of a file, or of standard input for "-".
func (p *process) input(name string) ([]byte, error) {
	if name != "-" {
		return p.readFile(name)
	}
	if p.stdin == nil {
		return nil, errors.New("Bad file descriptor") //nolint:staticcheck // the C library's words
	}
	return io.ReadAll(io.LimitReader(p.stdin, p.x.hosts.opts.MaxOutput))
}

// start runs a program as a child process with other arguments and, where a
// change function is given, other properties. It returns the exit status.
func (p *process) start(ctx context.Context, args []string, change func(*process)) int {
	if l, ok := ctx.Value(commandLimit{}).(*limit); ok && l.reached() {
		return 137
	}
	child := *p
	child.args, child.ppid, child.pid, child.m = args, p.pid, 0, p.x.current()
	if change != nil {
		change(&child)
	}
	program, status := child.find(args[0])
	if program == nil {
		return status
	}
	if child.pid == 0 {
		child.pid = p.x.hosts.newPIDs(1)
	}
	comm := path.Base(args[0])
	own, stop := context.WithCancel(ctx)
	defer stop()
	p.x.mu.Lock()
	p.x.procs[child.pid] = task{
		pid: child.pid, ppid: child.ppid, uid: child.cred.uid, gid: child.cred.gid,
		comm: comm[:min(len(comm), 15)], cmdline: strings.Join(args, "\x00") + "\x00", exe: args[0],
	}
	p.x.stops[child.pid] = stop
	p.x.mu.Unlock()
	defer func() {
		p.x.mu.Lock()
		delete(p.x.procs, child.pid)
		delete(p.x.stops, child.pid)
		p.x.mu.Unlock()
	}()
	out := outputOf(child.stdout)
	child.stdout = out
	status = out.status(&child, program(own, &child))
	if own.Err() != nil && ctx.Err() == nil {
		return 143 // ended by a signal
	}
	return status
}

// exec runs a program in place of this one, under its process ID.
func (p *process) exec(ctx context.Context, args []string, change func(*process)) int {
	return p.start(ctx, args, func(c *process) {
		c.pid, c.ppid = p.pid, p.ppid
		if change != nil {
			change(c)
		}
	})
}

// find looks a command up as execvp does, and says why there is none.
func (p *process) find(name string) (program, int) {
	missing := func() (program, int) {
		_, _ = fmt.Fprintf(p.stderr, "sh: 1: %s: not found\n", name)
		return nil, 127
	}
	at, ok := p.lookPath(name)
	if !ok {
		if strings.Contains(name, "/") {
			if _, err := p.m.fs.stat(p.cred, p.abs(name), true); err == nil {
				_, _ = fmt.Fprintf(p.stderr, "sh: 1: %s: Permission denied\n", name)
				return nil, 126
			}
		}
		return missing()
	}
	_, n, err := p.m.fs.resolve(p.cred, at, true)
	if err != nil || n == nil {
		return missing()
	}
	if n.program != "" {
		return p.x.hosts.programs[n.program].run, 0
	}
	// A file that was written on the machine can only be a shell script.
	return func(ctx context.Context, q *process) int {
		data, err := q.readFile(at)
		if err != nil {
			return q.fail(126, "%s", errorText(err))
		}
		return q.script(ctx, data, q.args[0], q.args[1:])
	}, 0
}

// lookPath finds the executable file that a command name stands for.
func (p *process) lookPath(name string) (string, bool) {
	executable := func(at string) bool {
		_, n, err := p.m.fs.resolve(p.cred, at, true)
		return err == nil && n != nil && n.mode.IsRegular() && p.cred.may(n, 1)
	}
	if strings.Contains(name, "/") {
		return p.abs(name), executable(p.abs(name))
	}
	search, set := p.env["PATH"]
	if !set {
		search = "/usr/bin:/bin" // execvp's default
	}
	for dir := range strings.SplitSeq(search, ":") {
		if at := path.Join(p.abs(dir), name); executable(at) {
			return at, true
		}
	}
	return "", false
}

// maxScript bounds the scripts that a shell takes.
const maxScript = 4 << 20

// script runs shell text in a process of its own and returns its exit status.
func (p *process) script(ctx context.Context, text []byte, name string, params []string) int {
	if len(text) > maxScript {
		return p.fail(2, "%s: script too large", name)
	}
	parsed, err := p.x.hosts.scripts.parse(text, name)
	if err != nil {
		_, _ = fmt.Fprintf(p.stderr, "sh: %v\n", err)
		return 2
	}
	s := &shell{p: p, functions: parsed.functions}
	r, err := s.runner(params)
	if err != nil {
		return p.fail(2, "%v", err)
	}
	err = r.Run(ctx, parsed.file)
	var status interp.ExitStatus
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	case ctx.Err() != nil:
		return 137
	case errors.Is(err, errTimedOut):
		return statusTimedOut
	}
	return p.fail(2, "%v", err)
}

// runner makes the interpreter for the shell's process.
func (s *shell) runner(params []string) (*interp.Runner, error) {
	p := s.p
	// A nil *os.File must not become a reader that is not nil.
	var stdin io.Reader
	if p.stdin != nil {
		stdin = p.stdin
	}
	r, err := interp.New(
		interp.Env(expand.ListEnviron(p.environ()...)),
		interp.StdIO(stdin, p.stdout, p.stderr),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return s.exec }),
		interp.CallHandler(s.call),
		interp.OpenHandler(s.open),
		interp.StatHandler(s.stat),
		interp.AccessHandler(s.access),
		interp.ReadDirHandler2(s.readDir),
		interp.Dir("/"),
	)
	if err != nil {
		return nil, err
	}
	r.Dir, r.Params = p.dir, params
	return r, nil
}

// environ lists the exported variables, and those of the shell alone (ownVariable).
// UID and EUID are there since the interpreter would otherwise take them from
// the process that simulates.
func (p *process) environ() []string {
	out := []string{
		"UID=" + strconv.Itoa(p.cred.uid), "EUID=" + strconv.Itoa(p.cred.uid), "GID=" + strconv.Itoa(p.cred.gid),
		pidVariable + "=" + strconv.Itoa(p.pid), ppidVariable + "=" + strconv.Itoa(p.ppid),
	}
	for k, v := range p.env {
		out = append(out, k+"="+v)
	}
	return out
}

// ownVariable reports whether a variable is the shell's own, and no program's environment has it.
func ownVariable(name string) bool {
	switch name {
	case "UID", "EUID", "GID", pidVariable, ppidVariable:
		return true
	}
	return false
}

// shell connects the interpreter to the machine for one script.
type shell struct {
	p         *process
	functions map[string]bool // names that the script defines
	detached  int             // process ID of the last program that was to outlive it
}

// at gives the process as it is at one point of the script.
func (s *shell) at(hc interp.HandlerContext) *process {
	q := *s.p
	q.m = q.x.current()
	q.dir, q.stdout, q.stderr = hc.Dir, hc.Stdout, hc.Stderr
	q.stdin, _ = hc.Stdin.(*os.File)
	if v := hc.Env.Get(umaskVariable); v.IsSet() {
		if bits, err := strconv.ParseUint(v.Str, 8, 9); err == nil {
			q.umask = fs.FileMode(bits)
		}
	}
	return &q
}

func (s *shell) exec(ctx context.Context, args []string) error {
	if args[0] == inShell+"match" {
		if !matchesAny(args[1:]) {
			return interp.ExitStatus(1)
		}
		return nil
	}
	hc := interp.HandlerCtx(ctx)
	q := s.at(hc)
	if args[0] == inShell+"printf" { // by far the most frequent, and it needs no environment
		if status := s.builtin(ctx, q, args, shellPrintf); status != 0 {
			return interp.ExitStatus(status)
		}
		return nil
	}
	q.env = map[string]string{}
	hc.Env.Each(func(name string, v expand.Variable) bool {
		if v.Exported && v.Kind == expand.String && !ownVariable(name) {
			q.env[name] = v.Str
		}
		return true
	})
	var status int
	if b := shellBuiltin(args[0]); b != nil {
		status = s.builtin(ctx, q, args, b)
	} else {
		status = q.start(ctx, args, nil)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case status == statusTimedOut:
		return errTimedOut // the shell itself is what "timeout" ends
	case status != 0:
		return interp.ExitStatus(status)
	}
	return nil
}

// builtin runs what runs inside of the shell.
func (s *shell) builtin(ctx context.Context, q *process, args []string, run func(context.Context, *shell, *process) int) int {
	out := outputOf(q.stdout)
	q.args, q.stdout = args, out
	return out.status(q, run(ctx, s, q))
}

func (s *shell) open(ctx context.Context, name string, flag int, perm os.FileMode) (io.ReadWriteCloser, error) {
	q := s.at(interp.HandlerCtx(ctx))
	at := q.abs(name)
	if name == "" {
		return nil, pathError("open", name, fs.ErrNotExist)
	}
	if flag&(os.O_WRONLY|os.O_RDWR) == 0 {
		data, err := q.m.fs.readFile(q.cred, at)
		if err != nil {
			return nil, err
		}
		return pipeOf(data)
	}
	clean, err := q.m.fs.create(q.cred, at, flag, perm&^q.umask)
	if err != nil {
		return nil, err
	}
	return &appender{fs: q.m.fs, at: clean}, nil
}

func (s *shell) stat(ctx context.Context, name string, follow bool) (fs.FileInfo, error) {
	q := s.at(interp.HandlerCtx(ctx))
	return q.m.fs.stat(q.cred, q.abs(name), follow)
}

func (s *shell) access(ctx context.Context, name string, mode interp.AccessMode) error {
	q := s.at(interp.HandlerCtx(ctx))
	return q.m.fs.access(q.cred, q.abs(name), fs.FileMode(mode))
}

func (s *shell) readDir(ctx context.Context, name string) ([]fs.DirEntry, error) {
	q := s.at(interp.HandlerCtx(ctx))
	return q.m.fs.readDir(q.cred, q.abs(name))
}

// pipeOf gives data as the file that the interpreter wants for its standard
// input. Closing it ends the goroutine that feeds it.
func pipeOf(data []byte) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, pathError("open", "pipe", err)
	}
	go func() {
		_, _ = w.Write(data)
		_ = w.Close()
	}()
	return r, nil
}

// appender writes through to a file of the machine.
type appender struct {
	fs *vfs
	at string
}

func (a *appender) Read([]byte) (int, error) { return 0, io.EOF }
func (a *appender) Close() error             { return nil }

func (a *appender) Write(b []byte) (int, error) {
	if err := a.fs.appendTo(a.at, b); err != nil {
		return 0, pathError("write", a.at, err)
	}
	return len(b), nil
}
