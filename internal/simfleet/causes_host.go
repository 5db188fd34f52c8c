package simfleet

import (
	"maps"
	"time"

	"ssm-migrate/internal/fleet"
)

func hostCauses() []Cause {
	const gib = 1 << 30
	return []Cause{
		{Number: 29, Name: "disk-full", Text: "the root file system is full", Breaks: true,
			Inject: onDisk("/", func(fs *fleet.Filesystem) { fs.Free = 0 })},
		{Number: 29, Name: "inodes-exhausted", Text: "/var has no inodes left", Breaks: true,
			Inject: onDisk("/var", func(fs *fleet.Filesystem) {
				fs.Size, fs.Free, fs.Inodes, fs.FreeInodes = 8*gib, 5*gib, 524_288, 0
			})},
		{Number: 30, Name: "inotify-exhausted", Text: "root's processes hold every inotify instance", Breaks: true,
			Inject: onHost(func(in *Instance) { in.Machine.InotifyUsed = inotifyLimit })},
		{Number: 31, Name: "noexec-var", Text: "/var is mounted noexec: sessions open, commands do not run",
			Inject: onDisk("/var", func(fs *fleet.Filesystem) { fs.Options = []string{"rw", "nosuid", "nodev", "noexec", "relatime"} })},
		{Number: 32, Name: "agent-too-old", Text: "the agent is older than Session Manager", Breaks: true,
			Inject: onHost(func(in *Instance) { in.Agent.Version = "2.2.619.0" })},
		{Number: 33, Name: "agent-installed-twice", Text: "two packages installed the agent, and the two stop one another", Breaks: true,
			Inject: func(w *World, in *Instance) error {
				in.seen(w)
				in.Agent.Second = "snap"
				if in.Agent.Package == "snap" {
					in.Agent.Second = "deb"
				}
				return nil
			}},
		{Number: 34, Name: "agent-disabled", Text: "the agent runs, but is not enabled: it will not start at the next boot",
			Inject: onHost(func(in *Instance) { in.Agent.Enabled = false })},
		{Number: 35, Name: "bad-release", Text: "the agent's or the plugin's release is a bad one",
			Why: "nothing on a host or in AWS tells that a release is bad before somebody finds out; an agent that fails for it looks like one of the other causes"},
		{Number: 36, Name: "hardening-stops-agent", Text: "a hardening script stops and disables the agent at every run", Breaks: true,
			Inject: onHost(func(in *Instance) {
				in.Agent.Running, in.Agent.Enabled = false, false
				in.addFile(File{Path: "/etc/cron.daily/hardening", Mode: 0o755, Content: []byte("#!/bin/sh\nfor s in rpcbind avahi-daemon cups amazon-ssm-agent; do\n\tsystemctl disable --now \"$s\"\ndone\n")})
			})},
		{Number: 37, Name: "clock-skew", Text: "the host's clock is off by more than five minutes", Breaks: true,
			Inject: onHost(func(in *Instance) { in.Skew = -9 * time.Minute })},
		{Number: 9, Name: "trust-store-without-amazon", Text: "Amazon Root CA 1 is not in the host's trust store", Breaks: true,
			Inject: onHost(func(in *Instance) { in.Machine.NoRootCA = true })},
		{Number: 38, Name: "metadata-off", Text: "the instance metadata service is off", Breaks: true,
			Inject: onHost(func(in *Instance) { in.Host.Metadata.Endpoint = "disabled" })},
		{Number: 38, Name: "metadata-hop-limit", Text: "the agent runs in a container, which the metadata service's tokens do not reach", Breaks: true,
			Inject: func(w *World, in *Instance) error {
				in.seen(w)
				in.Machine.Container = true
				in.Host.Metadata.Tokens, in.Host.Metadata.HopLimit = "required", 1
				return nil
			}},
	}
}

// onDisk is an injection into one file system, which the instance gets where it
// has none of its own there.
func onDisk(mount string, change func(fs *fleet.Filesystem)) func(*World, *Instance) error {
	return onHost(func(in *Instance) {
		fs, ok := in.Machine.Filesystems[mount]
		if !ok {
			fs = soundDisk(in.OS.Family)
			fs.Mount = mount
		}
		change(&fs)
		in.Machine.Filesystems = maps.Clone(in.Machine.Filesystems)
		if in.Machine.Filesystems == nil {
			in.Machine.Filesystems = map[string]fleet.Filesystem{}
		}
		in.Machine.Filesystems[mount] = fs
	})
}

// addFile puts a further file on the machine, once.
func (in *Instance) addFile(f File) {
	for _, have := range in.Files {
		if have.Path == f.Path {
			return
		}
	}
	in.Files = append(in.Files[:len(in.Files):len(in.Files)], f)
}
