package simfleet_test

import (
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/simfleet"
)

// TestConsequencesOfTheMachine checks what a machine's state lets its agent do.
// Sources stand beside the rules in agent*.go.
func TestConsequencesOfTheMachine(t *testing.T) {
	const gib = 1 << 30
	proxy := func(s scene, more ...string) {
		s.rg.Proxies = map[string]string{s.in.Host.VPC: "10.255.254.9:3128"}
		s.in.Agent.Proxy = map[string]string{"https_proxy": "http://10.255.254.9:3128", "http_proxy": "http://10.255.254.9:3128"}
		for i := 0; i+1 < len(more); i += 2 {
			s.in.Agent.Proxy[more[i]] = more[i+1]
		}
	}
	disk := func(s scene, mount string, fs fleet.Filesystem) {
		s.in.Machine.Filesystems = map[string]fleet.Filesystem{mount: fs}
	}
	for name, c := range map[string]struct {
		change                      func(scene)
		online, connected, sessions bool
		commands                    bool
	}{
		"nothing":               {func(scene) {}, true, true, true, true},
		"root file system full": {func(s scene) { disk(s, "/", fleet.Filesystem{Size: gib}) }, true, true, false, false},
		"disk fault":            {func(s scene) { s.in.Fault = simfleet.MachineDiskFull }, true, true, false, false},
		"no inodes":             {func(s scene) { disk(s, "/", fleet.Filesystem{Size: gib, Free: gib, Inodes: 1000}) }, true, true, false, false},
		"inodes not counted":    {func(s scene) { disk(s, "/", fleet.Filesystem{Size: gib, Free: gib}) }, true, true, true, true},
		"/home full":            {func(s scene) { disk(s, "/home", fleet.Filesystem{Size: gib}) }, true, true, true, true},
		"/variant full":         {func(s scene) { disk(s, "/variant", fleet.Filesystem{Size: gib}) }, true, true, true, true},
		"/var/log full":         {func(s scene) { disk(s, "/var/log", fleet.Filesystem{Size: gib}) }, true, true, false, false},
		"/tmp noexec": {func(s scene) {
			disk(s, "/tmp", fleet.Filesystem{Size: gib, Free: gib, Options: []string{"rw", "noexec"}})
		}, true, true, true, false},
		"/var/lib noexec": {func(s scene) {
			disk(s, "/var/lib", fleet.Filesystem{Size: gib, Free: gib, Options: []string{"noexec"}})
		}, true, true, true, false},
		"inotify used up":               {func(s scene) { s.in.Machine.InotifyUsed = 128 }, true, true, false, true},
		"inotify nearly used up":        {func(s scene) { s.in.Machine.InotifyUsed = 127 }, true, true, true, true},
		"two packages":                  {func(s scene) { s.in.Agent.Second = "deb" }, false, false, false, false},
		"service disabled":              {func(s scene) { s.in.Agent.Enabled = false }, true, true, true, true},
		"asleep":                        {func(s scene) { s.in.Agent.SleepsUntil = s.Now().Add(time.Minute) }, false, false, false, false},
		"awake again":                   {func(s scene) { s.in.Agent.SleepsUntil = s.Now().Add(-time.Minute) }, true, true, true, true},
		"stale control channel":         {func(s scene) { s.in.Agent.Stale = true }, true, false, false, true},
		"hybrid registration":           {func(s scene) { s.in.Agent.Registration = "mi-0123456789abcdef0" }, false, false, false, false},
		"no root CA":                    {func(s scene) { s.in.Machine.NoRootCA = true }, false, false, false, false},
		"foreign ssm-user":              {func(s scene) { s.in.Machine.SSMUser = simfleet.SSMUserForeign }, true, true, true, true},
		"keys of a stranger":            {func(s scene) { s.in.Machine.RootCredentials = "arn:aws:iam::1:user/x" }, false, false, false, false},
		"keys of a role that may":       {func(s scene) { s.in.Machine.RootCredentials = s.role().ARN }, true, true, true, true},
		"proxy without no_proxy":        {func(s scene) { proxy(s) }, false, false, false, false},
		"proxy with no_proxy":           {func(s scene) { proxy(s, "no_proxy", "169.254.169.254") }, true, true, true, true},
		"https_proxy only":              {func(s scene) { proxy(s); delete(s.in.Agent.Proxy, "http_proxy") }, true, true, true, true},
		"proxy, no other way":           {func(s scene) { proxy(s, "no_proxy", "169.254.169.254"); s.routes().Routes = s.routes().Routes[:1] }, true, true, true, true},
		"proxy, trust store without CA": {func(s scene) { proxy(s, "no_proxy", "169.254.169.254"); s.in.Machine.NoRootCA = true }, false, false, false, false},
		"proxy spared for AWS": {func(s scene) {
			proxy(s, "no_proxy", "169.254.169.254,.amazonaws.com")
			s.routes().Routes = s.routes().Routes[:1]
		}, false, false, false, false},
		"proxy that is not there":    {func(s scene) { proxy(s, "no_proxy", "169.254.169.254", "https_proxy", "http://10.9.9.9:3128") }, false, false, false, false},
		"proxy behind closed groups": {func(s scene) { proxy(s, "no_proxy", "169.254.169.254"); s.group().Egress = nil }, false, false, false, false},
		"container, one hop": {func(s scene) {
			s.in.Machine.Container = true
			s.in.Host.Metadata = fleet.MetadataOptions{Tokens: "required", HopLimit: 1}
		}, false, false, false, false},
		"container, two hops": {func(s scene) {
			s.in.Machine.Container = true
			s.in.Host.Metadata = fleet.MetadataOptions{Tokens: "required", HopLimit: 2}
		}, true, true, true, true},
		"container, tokens optional": {func(s scene) {
			s.in.Machine.Container = true
			s.in.Host.Metadata = fleet.MetadataOptions{Tokens: "optional", HopLimit: 1}
		}, false, false, false, false},
		"old agent in a container": {func(s scene) {
			s.in.Machine.Container, s.in.Agent.Version = true, "3.1.1374.0"
			s.in.Host.Metadata = fleet.MetadataOptions{Tokens: "optional", HopLimit: 1}
		}, true, true, true, true},
		"one hop without a container": {func(s scene) { s.in.Host.Metadata = fleet.MetadataOptions{Tokens: "required", HopLimit: 1} }, true, true, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := connectedHost(t, "apps")
			s.in.Agent.Package = "snap"
			c.change(s)
			if got := [4]bool{s.Online(s.in), s.Connected(s.in), s.ServesSessions(s.in), s.CommandReason(s.in) == ""}; got != [4]bool{c.online, c.connected, c.sessions, c.commands} {
				t.Errorf("online, connected, sessions, commands: %v; want %v (%s; %s)", got, [4]bool{c.online, c.connected, c.sessions, c.commands}, s.SessionReason(s.in), s.CommandReason(s.in))
			}
			if s.in.SessionSudo() == (s.in.Machine.SSMUser == simfleet.SSMUserForeign) {
				t.Error("a session's user may become root only where the agent made the user")
			}
		})
	}
}
