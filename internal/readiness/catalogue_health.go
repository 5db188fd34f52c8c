package readiness

import "ssm-migrate/internal/fleet"

func healthEntries() []Entry {
	return []Entry{{
		Code: "disk-full", Area: "health", Severity: fleet.SeverityBlocks,
		Title:    "The disk is full",
		Means:    "The agent needs room for a session's files: with none, StartSession hangs or answers that the plugin Standard_Stream is not found, while SSH still works. Once SSH is gone, nobody gets in to clean up.",
		Detected: "Less than 1 MiB or no inode is free, for others than root, on the file system of /var/lib/amazon/ssm or /var/log/amazon/ssm. That the agent is stopped follows from it only where its unit failed, or its log speaks of a disk without room.",
		Fix:      "free space (du -xh MOUNTPOINT | sort -h | tail; journalctl --disk-usage) or inodes (du --inodes -x MOUNTPOINT | sort -n | tail); old folders under /var/lib/amazon/ssm/*/document/orchestration may go; enlarge the volume if it keeps filling, and keep a file to delete in need",
		Undo:     "nothing to take back",
		Sources:  []string{"aws/amazon-ssm-agent issues 170 and 225", "aws/session-manager-plugin issue 91", guide + "session-manager-troubleshooting"},
		Breaks:   []Part{PartAgent, PartSession},
	}, {
		Code: "disk-read-only", Area: "health", Severity: fleet.SeverityBlocks,
		Title:    "The agent's disk is mounted read-only",
		Means:    "The agent can write neither its state nor a session's files, which shows as a plugin that is not found. Most often the kernel remounted a damaged file system.",
		Detected: "The option ro of the file system of /var/lib/amazon/ssm or /var/log/amazon/ssm.",
		Fix:      "read the kernel's log (dmesg), repair the file system (fsck on the detached volume) and mount it rw: mount -o remount,rw /",
		Undo:     "nothing to take back",
		Sources:  []string{"aws/amazon-ssm-agent issue 90"},
		Breaks:   []Part{PartAgent, PartSession},
	}, {
		Code: "inotify-exhausted", Area: "health", Severity: fleet.SeverityBlocks,
		Title:    "No inotify instance is left for root",
		Means:    "The agent's workers watch their channels with inotify. Without an instance they end with \"too many open files\" or \"no space left on device\", though the disk has room, and sessions and commands time out.",
		Detected: "Root's inotify instances, counted as root, against fs.inotify.max_user_instances. That the agent is stopped follows from it only where its unit failed, or its log speaks of it.",
		Fix:      "echo 'fs.inotify.max_user_instances = 8192' > /etc/sysctl.d/90-inotify.conf && sysctl --system, then restart the agent; find who holds the others: find /proc/*/fd -lname anon_inode:inotify",
		Undo:     "rm /etc/sysctl.d/90-inotify.conf && sysctl -w fs.inotify.max_user_instances=128, or what it was before",
		Sources:  []string{guide + "troubleshooting-ssm-agent", "aws/amazon-ssm-agent issues 262, 265 and 330"},
		Breaks:   []Part{PartAgent, PartSession},
	}, {
		Code: "disk-nearly-full", Area: "health", Severity: fleet.SeverityRisk,
		Title:    "The disk is nearly full",
		Means:    "Sessions stop when it is full, while SSH does not. An update of the agent may fail already now.",
		Detected: "Less than the policy's floor is free (100 MiB or 1,000 inodes by default) on the file system of the agent's data or logs, or nothing on that of /tmp or /home.",
		Fix:      "find what fills it (du -xh / | sort -h | tail; journalctl --disk-usage) and remove it, or enlarge the volume, before SSH is closed",
		Undo:     "nothing to take back",
		Sources:  []string{"aws/amazon-ssm-agent issues 170 and 225", "the readiness policy"},
	}, {
		Code: "inotify-nearly-exhausted", Area: "health", Severity: fleet.SeverityRisk,
		Title:    "Root has few inotify instances left",
		Means:    "Every session and command takes some. When none is left, sessions and commands time out.",
		Detected: "Root uses more than three quarters of fs.inotify.max_user_instances.",
		Fix:      "echo 'fs.inotify.max_user_instances = 8192' > /etc/sysctl.d/90-inotify.conf && sysctl --system",
		Undo:     "rm /etc/sysctl.d/90-inotify.conf && sysctl -w fs.inotify.max_user_instances=128, or what it was before",
		Sources:  []string{guide + "troubleshooting-ssm-agent", "aws/amazon-ssm-agent issue 262"},
	}, {
		Code: "noexec-agent-data", Area: "health", Severity: fleet.SeverityRisk,
		Title:    "Run Command cannot start its scripts",
		Means:    "The agent writes scripts and its own updates below /var/lib/amazon/ssm and executes them there; on a noexec mount that is refused. Sessions are not touched, but updates, patching and the fixes that come by Run Command are.",
		Detected: "The option noexec of the file system that holds /var/lib/amazon/ssm.",
		Fix:      "mount the file system with exec, or give /var/lib/amazon a file system of its own that is",
		Undo:     "mount -o remount,noexec the file system, and put /etc/fstab back",
		Sources:  []string{"bottlerocket-os/bottlerocket issue 114"},
	}, {
		Code: "trust-store-incomplete", Area: "health", Severity: fleet.SeverityRisk,
		Title:    "Amazon Root CA 1 is missing, though the endpoints are trusted now",
		Means:    "The certificates verify by another root. AWS asks for Amazon Root CA 1 and the Starfield roots, since an endpoint's chain may change.",
		Detected: "Amazon Root CA 1 is not in the host's trust store, while the host verified an endpoint or Systems Manager hears the agent. Otherwise it is root-ca-missing.",
		Fix:      "install the distribution's current certificate authorities (package ca-certificates)",
		Undo:     "install the former version of the package",
		Sources:  []string{guide + "ssm-agent-technical-details"},
	}, {
		Code: "noexec-tmp", Area: "health", Severity: fleet.SeverityNote,
		Title:    "Programs cannot be started from /tmp",
		Means:    "Hardening guides ask for it. Sessions are not touched; documents and scripts that unpack into /tmp and start from there fail, as the agent's domain join does.",
		Detected: "The option noexec of the file system that holds /tmp.",
		Fix:      "let scripts use another folder; or mount /tmp with exec",
		Undo:     "mount -o remount,noexec /tmp, and put /etc/fstab back",
		Sources:  []string{"aws/amazon-ssm-agent issue 321", "CIS Benchmarks for Linux, /tmp"},
	}}
}
