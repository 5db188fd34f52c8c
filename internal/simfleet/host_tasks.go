package simfleet

import (
	"fmt"
	"path"
	"strings"

	"ssm-migrate/internal/fleet"
)

// containerID is that of the agent's container, where it runs in one.
const containerID = "4f1c2a90d35be7788a61c0b2e94dd01f6c7a3e5580b94412cd7781f06e2ab39d"

// agentTasks are the agent's processes: its core and the worker.
func (m *machine) agentTasks() []task {
	if !m.Agent.Installed || !m.Agent.Running || m.Agent.Second != "" {
		return nil
	}
	at, parent, group := m.agentPath(m.Agent.Package), 1, "/system.slice/"+agentUnit(m.Agent.Package)
	var out []task
	if m.Machine.Container {
		parent, group = m.agentPID()-1, "/system.slice/docker-"+containerID+".scope"
		out = append(out, task{pid: parent, ppid: 1, comm: "containerd-shim", exe: "/usr/bin/containerd-shim-runc-v2",
			cmdline: "/usr/bin/containerd-shim-runc-v2\x00-namespace\x00moby\x00-id\x00" + containerID + "\x00"})
	}
	worker := path.Join(path.Dir(at), "ssm-agent-worker")
	return append(out,
		task{pid: m.agentPID(), ppid: parent, comm: "amazon-ssm-agen", cmdline: at + "\x00", exe: at, cgroup: group},
		task{pid: m.agentPID() + 40, ppid: m.agentPID(), comm: "ssm-agent-worke", cmdline: worker + "\x00", exe: worker, cgroup: group})
}

// watchers are the processes of root that use up its inotify instances: a log
// shipper that leaks them.
func (m *machine) watchers() []task {
	if m.Machine.InotifyUsed == 0 {
		return nil
	}
	return []task{{pid: m.listenerPID() + 60, ppid: 1, comm: "filebeat", cmdline: "/usr/share/filebeat/bin/filebeat\x00-e\x00", exe: "/usr/share/filebeat/bin/filebeat", inotify: m.Machine.InotifyUsed}}
}

// openTasks are the processes of the sessions that the model has open.
func (m *machine) openTasks() []task {
	used := map[int]bool{}
	for _, s := range m.Sessions {
		used[s.PID] = true
	}
	var out []task
	for _, s := range m.Sessions {
		a, _ := m.account(s.User)
		a.name = s.User
		priv := s.PID - 1
		for used[priv] {
			priv--
		}
		used[priv] = true
		tty := s.TTY
		if tty == "" && s.Use != fleet.UseTunnel {
			tty = "notty"
		}
		out = append(out, m.sessionTasks(a, priv, s.PID, tty)...)
		out = append(out, m.useTasks(s, a)...)
	}
	return out
}

// useTasks are what sshd started for a session, the process nearest to sshd
// first. A tunnel needs none.
func (m *machine) useTasks(s OpenSession, a account) []task {
	var lines [][]string
	use := s.Use
	if use == "" {
		use = fleet.UseCommand
		if s.TTY != "" {
			use = fleet.UseShell
		}
	}
	shell := path.Base(a.shell)
	switch use {
	case fleet.UseShell:
		lines = [][]string{{"-" + shell}}
	case fleet.UseCommand:
		lines = [][]string{{shell, "-c", "/usr/local/bin/nightly-export --all | gzip"}, {"/bin/sh", "/usr/local/bin/nightly-export", "--all"}}
	case fleet.UseSCP:
		lines = [][]string{{"scp", "-t", "/var/tmp/"}}
	case fleet.UseSFTP:
		lines = [][]string{{m.sftpServer()}}
	case fleet.UseRsync:
		lines = [][]string{{"rsync", "--server", "-logDtpre.iLsfxCIvu", ".", "/srv/backup/"}}
	case fleet.UseAnsible:
		module := a.home + "/.ansible/tmp/ansible-tmp-1763712000.12-4242-77/AnsiballZ_setup.py"
		lines = [][]string{{"/bin/sh", "-c", "/usr/bin/python3 " + module + " && sleep 0"}, {"/usr/bin/python3", module}}
	case fleet.UseGit:
		lines = [][]string{{"git-receive-pack", "/srv/git/app.git"}}
	}
	var out []task
	parent := s.PID
	for i, args := range lines {
		comm := strings.TrimPrefix(path.Base(args[0]), "-")
		t := task{pid: s.PID + 40000 + i, ppid: parent, uid: a.uid, gid: a.gid, comm: comm[:min(len(comm), 15)], cmdline: strings.Join(args, "\x00") + "\x00", exe: args[0]}
		if s.AgentForwarding {
			t.environ = "SSH_AUTH_SOCK=" + agentSocket(s) + "\x00"
		}
		out = append(out, t)
		parent = t.pid
	}
	return out
}

// agentSocket is where sshd listens for a session that forwards an agent: it
// names the file by its own process (sshd source, auth_input_request_forwarding).
func agentSocket(s OpenSession) string {
	return fmt.Sprintf("/tmp/ssh-XXXX%06d/agent.%d", s.PID, s.PID)
}

// sftpServer is sshd's subsystem for file transfer.
func (m *machine) sftpServer() string {
	switch {
	case m.dpkgBased():
		return "/usr/lib/openssh/sftp-server"
	case m.OS.Family == "sles", m.OS.Family == "alpine":
		return "/usr/lib/ssh/sftp-server"
	}
	return "/usr/libexec/openssh/sftp-server"
}
