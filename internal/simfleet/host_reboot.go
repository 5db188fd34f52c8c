package simfleet

import (
	"bytes"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"ssm-migrate/internal/fleet"
)

// bootDuration is how long a machine is away while it reboots.
const bootDuration = 40 * time.Second

// Reboot reboots a running instance: its processes end at once, transient
// timers and detached programs with them; connections break. bootDuration later
// by the world's clock (at the next Advance from then on) it is up again: the
// agent if it is enabled, sshd, persistent timers and jobs of at, which make up
// for what they missed. /tmp and /run are empty then, and cloud-init has added
// the launch key where it does that at every boot. The caller holds w.Mu for writing.
func (w *World) Reboot(in *Instance) {
	w.shutDown(in)
	w.atUnlocked(w.Now().Add(w.takes(bootDuration)), "boot of "+in.Host.ID, func() { w.bootUp(in) })
}

// shutDown ends everything that runs on an instance. The caller holds w.Mu for writing.
func (w *World) shutDown(in *Instance) {
	h := w.hostSide()
	s := h.state(in)
	s.mu.Lock()
	if !s.off {
		s.wasDown = in.Down && !s.sshdStopped
	}
	s.off, s.sshdStopped = true, false
	s.boots++
	for _, name := range slices.Sorted(maps.Keys(s.units)) {
		if r := s.units[name]; r.stop != nil {
			r.stop()
		}
	}
	clear(s.units)
	for _, j := range s.queue {
		j.stop()
	}
	for b := range s.background {
		b.cancel()
	}
	for _, stop := range s.foreground {
		stop()
	}
	s.mu.Unlock()
	h.mu.Lock()
	for _, l := range h.live[in] {
		if l.cut != nil {
			h.wg.Go(l.cut) // it may wait for a peer that does not read
		}
	}
	h.mu.Unlock()
	if w.Online(in) {
		in.Agent.LastSeen = w.Now()
	}
	in.Down, in.Agent.Running, in.Sessions = true, false, nil
}

// bootUp starts what starts with an instance. The caller holds no lock.
func (w *World) bootUp(in *Instance) {
	h := w.hostSide()
	s := h.state(in)
	w.Mu.Lock()
	if !in.Host.Running() {
		w.Mu.Unlock()
		return
	}
	s.mu.Lock()
	in.Down = s.wasDown
	s.off, s.booted = false, w.Now()
	s.mu.Unlock()
	if in.Agent.startsAtBoot() {
		in.Agent.start(w.Now())
	}
	h.clearVolatile(in)
	m := h.lockedMachine(in)
	m.addLaunchKey()
	w.Mu.Unlock()
	s.mu.Lock()
	for i, j := range s.queue {
		s.queue[i].stop = h.enterJob(in, j)
	}
	s.mu.Unlock()
	for _, name := range m.wantedUnits() {
		f, ok := m.unitFile(name)
		switch {
		case !ok:
		case path.Ext(name) == ".timer":
			_ = h.startTimer(m, f) // what is wrong with it is in nobody's way
		case path.Ext(name) == ".service":
			_, _ = h.startService(m, f)
		}
	}
}

// clearVolatile takes away what was written to file systems in memory, and to /tmp.
func (h *Hosts) clearVolatile(in *Instance) {
	o := h.overlay(in, false)
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for name, n := range o.nodes {
		if strings.HasPrefix(name, "/tmp/") || strings.HasPrefix(name, "/run/") {
			if n != nil {
				o.size -= len(n.data)
			}
			delete(o.nodes, name)
		}
	}
}

// addLaunchKey is cloud-init at boot, where it adds the launch key each time: it
// merges the key into the login user's file and takes none away (cloud-init
// source, ssh_util.setup_user_keys).
func (m *machine) addLaunchKey() {
	a, ok := m.account(m.OS.User)
	key := (&baseBuilder{m: m}).launchKey()
	if !m.Machine.CloudInitKeys || !ok || key == "" {
		return
	}
	files := keyFiles(m.modelSetting(a.name, "AuthorizedKeysFile", ".ssh/authorized_keys"), a)
	public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(key))
	if err != nil || len(files) == 0 {
		return
	}
	at := files[0]
	data, err := m.fs.readFile(root, at)
	if err == nil && holdsKey(data, public) {
		return
	}
	if len(data) > 0 && !bytes.HasSuffix(data, []byte("\n")) {
		data = append(bytes.Clone(data), '\n')
	}
	who := m.credOf(a)
	if m.fs.node(path.Dir(at)) == nil && m.fs.mkdir(who, path.Dir(at), 0o700) != nil {
		return
	}
	// As root, since the file may be anybody's; a full disk takes nothing.
	if m.fs.writeFile(root, at, append(bytes.Clone(data), key+"\n"...), 0o600) == nil {
		_ = m.fs.chown(root, at, true, a.uid, a.gid)
		_ = m.fs.chmod(root, at, 0o600)
	}
}

// SetDiskFull makes an instance's root file system full, or gives it room
// again. The caller holds w.Mu for writing.
func (w *World) SetDiskFull(in *Instance, full bool) {
	disk := in.filesystem("/")
	switch {
	case full:
		disk.Free = 0
	case disk.Free == 0:
		disk.Free = disk.Size / 5 * 3
	}
	if !full && in.Fault == MachineDiskFull {
		in.Fault = ""
	}
	w.SetDiskFree(in, disk.Free)
}

// SetDiskFree sets how many bytes are free on an instance's root file system. The
// caller holds w.Mu for writing.
func (w *World) SetDiskFree(in *Instance, bytes int64) {
	disk := in.filesystem("/")
	disk.Free = bytes
	all := maps.Clone(in.Machine.Filesystems) // copies of the machine share the old one
	if all == nil {
		all = map[string]fleet.Filesystem{}
	}
	all["/"] = disk
	in.Machine.Filesystems = all
}

// started notes a command that somebody waits for, so that a reboot ends it.
func (h *Hosts) started(inst *Instance, stop func()) (ended func(), err error) {
	s := h.state(inst)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.off {
		return nil, fmt.Errorf("%s is down", inst.Host.ID)
	}
	s.commands++
	n := s.commands
	s.foreground[n] = stop
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.foreground, n)
	}, nil
}
