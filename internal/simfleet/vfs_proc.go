package simfleet

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// task is one process as /proc shows it.
type task struct {
	pid, ppid int
	uid, gid  int
	comm      string
	cmdline   string // NUL-separated arguments, or a title that the process set
	exe       string
	environ   string // NUL-separated
	cgroup    string // below the root; empty: by the service manager's default
	inotify   int    // inotify instances that it has open
}

// liveLogin is a connection of a real client to a simulated machine.
type liveLogin struct {
	user     account
	from     string // "address:port"
	local    string
	priv     int    // process ID of sshd's privileged half; the other half's follows
	terminal string // "pts/0", "notty"; empty while no session runs (a tunnel)
	sessions int    // running sessions
	cut      func() // breaks the connection
}

// listenerPID is the process ID of the SSH daemon.
func (m *machine) listenerPID() int { return 731 }

func (m *machine) agentPID() int { return 655 }

// sshdArguments is the SSH daemon's command line.
func (m *machine) sshdArguments() []string {
	return append([]string{"/usr/sbin/sshd", "-D"}, daemonArguments(m.SSHD.Arguments)...)
}

// tasks lists every process that the model implies, and those of live logins.
func (m *machine) tasks() []task {
	initName := "systemd"
	if !m.systemd() {
		initName = "init"
	}
	out := []task{{pid: 1, comm: initName, cmdline: "/sbin/init\x00", exe: "/usr/lib/systemd/systemd"}}
	out = append(out, m.agentTasks()...)
	out = append(out, m.watchers()...)
	if hasAt(m) {
		out = append(out, task{pid: m.listenerPID() + 70, ppid: 1, comm: "atd", cmdline: "/usr/sbin/atd\x00-f\x00", exe: "/usr/sbin/atd"})
	}
	out = append(out, m.listener())
	out = append(out, m.openTasks()...)
	for _, l := range m.live {
		out = append(out, m.sessionTasks(l.user, l.priv, l.priv+1, l.terminal)...)
	}
	for _, b := range m.hosts.backgrounds(m.inst) {
		if b.x != m.exec {
			out = append(out, b.x.tasks()...)
		}
	}
	if m.exec != nil {
		out = append(out, m.exec.tasks()...)
	}
	return out
}

// listener is the SSH daemon. Since 8.2 it sets its title (OpenSSH release
// notes); before, its arguments stay as they are.
func (m *machine) listener() task {
	t := task{pid: m.listenerPID(), ppid: 1, comm: "sshd", exe: "/usr/sbin/sshd"}
	if m.version() < 802 {
		t.cmdline = strings.Join(m.sshdArguments(), "\x00") + "\x00"
		return t
	}
	t.cmdline = "sshd: " + strings.Join(m.sshdArguments(), " ") + " [listener] 0 of 10-100 startups"
	return t
}

// sessionTasks are sshd's two processes for one login. A kernel would pad a
// title with NUL bytes, which every shell's read drops, but this interpreter's
// does not; they are left out.
func (m *machine) sessionTasks(a account, priv, pid int, tty string) []task {
	name := m.loginProcess()
	title := name + ": " + a.name
	if tty != "" {
		title += "@" + tty
	}
	return []task{
		{pid: priv, ppid: m.listenerPID(), comm: name, cmdline: name + ": " + a.name + " [priv]", exe: "/usr/sbin/sshd"},
		{pid: pid, ppid: priv, uid: a.uid, gid: a.gid, comm: name, cmdline: title, exe: "/usr/sbin/sshd"},
	}
}

func (m *machine) taskByPID(pid int) (task, bool) {
	all := m.tasks()
	i := slices.IndexFunc(all, func(t task) bool { return t.pid == pid })
	if i < 0 {
		return task{}, false
	}
	return all[i], true
}

// procNames lists a directory below /proc.
func (m *machine) procNames(dir string) []string {
	if dir != "/proc" {
		return m.procEntries(strings.TrimPrefix(dir, "/proc/"))
	}
	names := map[string]bool{"uptime": true, "version": true, "mounts": true, "sys": true, "cmdline": true}
	for _, t := range m.tasks() {
		names[strconv.Itoa(t.pid)] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// procEntries lists a directory below /proc by its path from there.
func (m *machine) procEntries(dir string) []string {
	switch dir {
	case "sys":
		return []string{"fs", "kernel"}
	case "sys/kernel":
		return []string{"random"}
	case "sys/kernel/random":
		return []string{"boot_id"}
	case "sys/fs":
		return []string{"inotify"}
	case "sys/fs/inotify":
		return []string{"max_user_instances", "max_user_watches"}
	}
	number, below, _ := strings.Cut(dir, "/")
	pid, err := strconv.Atoi(number)
	if err != nil {
		return nil
	}
	t, ok := m.taskByPID(pid)
	switch {
	case ok && below == "":
		return []string{"cgroup", "cmdline", "comm", "environ", "exe", "fd", "mounts", "stat", "status"}
	case ok && below == "fd":
		var out []string
		for i := range t.descriptors() {
			out = append(out, strconv.Itoa(i))
		}
		return out
	}
	return nil
}

// procNode answers for a path at or below /proc.
func (m *machine) procNode(name string) (*node, bool) {
	now := m.clock()
	dir := &node{mode: fs.ModeDir | 0o555, mtime: now}
	rest := strings.TrimPrefix(strings.TrimPrefix(name, "/proc"), "/")
	text := func(s string) (*node, bool) { return &node{mode: 0o444, mtime: now, data: []byte(s)}, true }
	if rest == "" {
		return dir, true
	}
	if content, isDir, ok := m.kernelFile(rest); isDir {
		return dir, true
	} else if ok {
		return text(content)
	}
	number, file, _ := strings.Cut(rest, "/")
	pid, err := strconv.Atoi(number)
	if err != nil {
		return nil, false
	}
	t, ok := m.taskByPID(pid)
	if !ok {
		return nil, false
	}
	if number, ok := strings.CutPrefix(file, "fd/"); ok {
		return t.descriptor(number)
	}
	switch file {
	case "":
		dir.uid, dir.gid = t.uid, t.gid
		return dir, true
	case "fd":
		return &node{mode: fs.ModeDir | 0o500, uid: t.uid, gid: t.gid, mtime: now}, true
	case "mounts":
		return text(m.mounts())
	case "environ":
		return &node{mode: 0o400, uid: t.uid, gid: t.gid, mtime: now, data: []byte(t.environ)}, true
	case "cgroup":
		return text("0::" + cmp.Or(t.cgroup, "/system.slice") + "\n")
	case "cmdline":
		return text(t.cmdline)
	case "comm":
		return text(t.comm + "\n")
	case "exe":
		return &node{mode: fs.ModeSymlink | 0o777, uid: t.uid, gid: t.gid, mtime: now, target: t.exe}, true
	case "stat":
		return text(fmt.Sprintf("%d (%s) S %d %d %d 0 -1 4194560 0 0 0 0 1 1 0 0 20 0 1 0 %d 0 0\n",
			t.pid, t.comm, t.ppid, t.pid, t.pid, t.pid*10))
	case "status":
		return text(fmt.Sprintf("Name:\t%s\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t%d\nPid:\t%d\nPPid:\t%d\nUid:\t%[5]d\t%[5]d\t%[5]d\t%[5]d\nGid:\t%[6]d\t%[6]d\t%[6]d\t%[6]d\n",
			t.comm, t.pid, t.pid, t.ppid, t.uid, t.gid))
	}
	return nil, false
}

// started is when the machine's services came up, for unit and process times.
func (m *machine) started() time.Time { return m.Host.LaunchTime.Add(m.Skew) }
