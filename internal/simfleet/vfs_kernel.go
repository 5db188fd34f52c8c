package simfleet

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// mounts is /proc/mounts.
func (m *machine) mounts() string {
	var b strings.Builder
	b.WriteString("sysfs /sys sysfs rw,nosuid,nodev,noexec,relatime 0 0\nproc /proc proc rw,nosuid,nodev,noexec,relatime 0 0\ntmpfs /run tmpfs rw,nosuid,nodev,mode=755 0 0\n")
	for i, fs := range m.filesystems() {
		fmt.Fprintf(&b, "%s %s %s %s 0 0\n", device(i, fs.Type), fs.Mount, fs.Type, strings.Join(fs.Options, ","))
	}
	return b.String()
}

// device names what is mounted in the ith place.
func device(i int, kind string) string {
	switch {
	case kind == "tmpfs":
		return "tmpfs"
	case i == 0:
		return "/dev/nvme0n1p1"
	}
	return fmt.Sprintf("/dev/nvme%dn1", i)
}

// kernelFile gives a file of /proc that belongs to no process; dir tells a
// directory of them.
func (m *machine) kernelFile(name string) (text string, dir, ok bool) {
	switch name {
	case "uptime":
		now := m.clock()
		up := now.Sub(m.bootTime()).Seconds()
		return fmt.Sprintf("%.2f %.2f\n", up, up*0.98), false, true
	case "version":
		return "Linux version " + m.OS.Kernel + "\n", false, true
	case "mounts":
		return m.mounts(), false, true
	case "cmdline":
		return "BOOT_IMAGE=/boot/vmlinuz-" + m.OS.Kernel + " root=/dev/nvme0n1p1 ro console=ttyS0\n", false, true
	case "sys", "sys/fs", "sys/fs/inotify", "sys/kernel", "sys/kernel/random":
		return "", true, true
	case "sys/kernel/random/boot_id":
		sum := sha256.Sum256([]byte(m.Host.ID + m.bootTime().String()))
		return fmt.Sprintf("%x-%x-4%03x-8%03x-%x\n", sum[:4], sum[4:6], int(sum[6])<<4|int(sum[7])>>4, int(sum[8])<<4|int(sum[9])>>4, sum[10:16]), false, true
	case "sys/fs/inotify/max_user_instances":
		return strconv.Itoa(inotifyLimit) + "\n", false, true
	case "sys/fs/inotify/max_user_watches":
		return "65536\n", false, true
	}
	return "", false, false
}

// descriptors are what a process has open, by number.
func (t task) descriptors() []string {
	return slices.Concat([]string{"/dev/null", "/dev/null", "/dev/null"}, slices.Repeat([]string{"anon_inode:inotify"}, t.inotify))
}

// descriptor gives /proc/PID/fd/N.
func (t task) descriptor(number string) (*node, bool) {
	n, err := strconv.Atoi(number)
	all := t.descriptors()
	if err != nil || n < 0 || n >= len(all) {
		return nil, false
	}
	return &node{mode: fs.ModeSymlink | 0o700, uid: t.uid, gid: t.gid, target: all[n]}, true
}
