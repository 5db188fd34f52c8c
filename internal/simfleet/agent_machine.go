package simfleet

import (
	"maps"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// Where the agent keeps its files.
const (
	agentData       = "/var/lib/amazon/ssm"
	agentLogs       = "/var/log/amazon/ssm"
	rootCredentials = "/root/.aws/credentials"
	ssmUserSudoers  = "/etc/sudoers.d/ssm-agent-users"
)

// inotifyLimit is Linux's default of fs.inotify.max_user_instances.
const inotifyLimit = 128

// soundDisk is the root file system of a machine that nothing ails.
func soundDisk(family string) fleet.Filesystem {
	kind := "ext4"
	if family == "amzn" || family == "rhel" || family == "sles" {
		kind = "xfs"
	}
	const size = 20 << 30
	return fleet.Filesystem{Mount: "/", Type: kind, Options: []string{"rw", "relatime"}, Size: size, Free: size / 5 * 3, Inodes: 1_310_720, FreeInodes: 1_130_000}
}

// filesystems lists what is mounted on the machine's disks, by mount point: the
// sound ones where the model names no others.
func (in *Instance) filesystems() []fleet.Filesystem {
	disk := soundDisk(in.OS.Family)
	if in.Fault == MachineDiskFull {
		disk.Free = 0
	}
	all := map[string]fleet.Filesystem{"/": disk}
	if in.OS.Family == "amzn" && in.OS.Version == "2023" {
		all["/tmp"] = fleet.Filesystem{Mount: "/tmp", Type: "tmpfs", Options: []string{"rw", "nosuid", "nodev"}, Size: 1 << 30, Free: 1<<30 - 1<<20, Inodes: 1_048_576, FreeInodes: 1_048_500}
	}
	for mount, fs := range in.Machine.Filesystems {
		fs.Mount = mount
		if fs.Type == "" {
			fs.Type = disk.Type
		}
		if len(fs.Options) == 0 {
			fs.Options = disk.Options
		}
		all[mount] = fs
	}
	var out []fleet.Filesystem
	for _, mount := range slices.Sorted(maps.Keys(all)) {
		out = append(out, all[mount])
	}
	return out
}

// filesystem gives the one that holds an absolute path.
func (in *Instance) filesystem(path string) fleet.Filesystem {
	var holds fleet.Filesystem
	for _, fs := range in.filesystems() {
		below := strings.TrimSuffix(fs.Mount, "/") + "/"
		if (path == fs.Mount || strings.HasPrefix(path, below)) && len(fs.Mount) >= len(holds.Mount) {
			holds = fs
		}
	}
	return holds
}

// spent says what has run out on a file system; empty when nothing has.
func spent(fs fleet.Filesystem) string {
	switch {
	case fs.Size > 0 && fs.Free == 0:
		return "no space left on " + fs.Mount
	case fs.Inodes > 0 && fs.FreeInodes == 0:
		return "no inodes left on " + fs.Mount
	}
	return ""
}

// fullReason gives which of the agent's file systems takes no more files.
// Source: Systems Manager User Guide, session-manager-troubleshooting (blank
// screen).
func (in *Instance) fullReason() string {
	for _, dir := range []string{agentData, agentLogs} {
		if reason := spent(in.filesystem(dir)); reason != "" {
			return reason + ", which holds " + dir
		}
	}
	return ""
}

// machineReason gives what of the machine keeps a session from starting.
func (in *Instance) machineReason() string {
	if reason := in.fullReason(); reason != "" {
		return reason
	}
	// The session's worker watches its channel's folder (agent source,
	// filewatcherchannel.go).
	if in.Machine.InotifyUsed >= inotifyLimit {
		return "root has no inotify instance left"
	}
	return ""
}
