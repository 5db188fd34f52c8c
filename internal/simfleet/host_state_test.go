package simfleet_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/simfleet"
)

// compareState compares what the probe tells of a host's health, its agent's
// surroundings and its users with the model.
func compareState(t *testing.T, in *simfleet.Instance, p fleet.Probe) {
	t.Helper()
	compareHealth(t, in, p)
	compareSurroundings(t, in, p)
	compareMetadata(t, in, p)
	compareTraces(t, in, p)
	compareSessions(t, in, p)
	if !p.CloudInit.Known || !p.CloudInit.Value.Present || (len(p.CloudInit.Value.AlwaysKeys) > 0) != in.Machine.CloudInitKeys {
		t.Errorf("cloud-init: %+v, model %v", p.CloudInit, in.Machine.CloudInitKeys)
	}
}

func compareHealth(t *testing.T, in *simfleet.Instance, p fleet.Probe) {
	t.Helper()
	if !p.Health.Known {
		t.Fatalf("health is unknown: %s", p.Health.Reason)
	}
	h := p.Health.Value
	for mount, want := range in.Machine.Filesystems {
		i := slices.IndexFunc(h.Filesystems, func(f fleet.Filesystem) bool { return f.Mount == mount })
		if i < 0 {
			t.Errorf("%s is missing in %+v", mount, h.Filesystems)
			continue
		}
		want.Mount, want.Size, want.Free = mount, want.Size>>10<<10, want.Free>>10<<10 // df counts in KiB
		if d := cmp.Diff(want, h.Filesystems[i]); d != "" {
			t.Errorf("%s (-model +probe):\n%s", mount, d)
		}
	}
	if !slices.ContainsFunc(h.Filesystems, func(f fleet.Filesystem) bool { return f.Mount == "/" }) {
		t.Errorf("no root file system: %+v", h.Filesystems)
	}
	if h.Inotify.MaxInstances != 128 || h.Inotify.UsedInstances != in.Machine.InotifyUsed {
		t.Errorf("inotify: %+v, model %d", h.Inotify, in.Machine.InotifyUsed)
	}
	if !h.TrustStore.Known || h.TrustStore.Value == in.Machine.NoRootCA {
		t.Errorf("trust store: %+v, model lacks the root: %v", h.TrustStore, in.Machine.NoRootCA)
	}
	if h.Clock.Source != "" && (h.Clock.Host.Sub(h.Clock.Server)-in.Skew).Abs() > time.Minute {
		t.Errorf("clock: %+v, model %v", h.Clock, in.Skew)
	}
}

// compareSurroundings compares what lies around the agent.
func compareSurroundings(t *testing.T, in *simfleet.Instance, p fleet.Probe) {
	t.Helper()
	a := p.Agent.Value
	var packages []string
	for _, i := range a.Installs {
		if !strings.HasPrefix(i.Version, in.Agent.Version) {
			t.Errorf("%s has version %s, want %s", i.Package, i.Version, in.Agent.Version)
		}
		packages = append(packages, i.Package)
	}
	var want []string
	if in.Agent.Installed {
		want = append(want, in.Agent.Package)
	}
	if in.Agent.Second != "" {
		want = append(want, in.Agent.Second)
	}
	slices.Sort(packages)
	slices.Sort(want)
	if d := cmp.Diff(want, packages); d != "" {
		t.Errorf("packages (-model +probe):\n%s", d)
	}
	if !in.Agent.Installed {
		return
	}
	if len(a.Proxy) != len(in.Agent.Proxy) || len(in.Agent.Proxy) > 0 && cmp.Diff(in.Agent.Proxy, a.Proxy) != "" {
		t.Errorf("proxy %v, model %v", a.Proxy, in.Agent.Proxy)
	}
	if !a.Registration.Known || a.Registration.Value.ID != in.Agent.Registration {
		t.Errorf("registration %+v, model %q", a.Registration, in.Agent.Registration)
	}
	if !a.Credentials.Known || (len(a.Credentials.Value) > 0) != (in.Machine.RootCredentials != "") {
		t.Errorf("credentials %+v, model %q", a.Credentials, in.Machine.RootCredentials)
	}
	u := a.SSMUser.Value
	foreign, absent := in.Machine.SSMUser == simfleet.SSMUserForeign, in.Machine.SSMUser == simfleet.SSMUserAbsent
	if !a.SSMUser.Known || u.Exists == absent || !absent && (u.Sudoers == foreign || !u.Sudo.Known || u.Sudo.Value == foreign) {
		t.Errorf("ssm-user %+v, model %q", a.SSMUser, in.Machine.SSMUser)
	}
}

func compareMetadata(t *testing.T, in *simfleet.Instance, p fleet.Probe) {
	t.Helper()
	if !p.Metadata.Known {
		if in.OS.Family != "alpine" { // which has no curl
			t.Errorf("metadata is unknown: %s", p.Metadata.Reason)
		}
		return
	}
	m := p.Metadata.Value
	proxied := in.Agent.Proxy["http_proxy"] != "" && in.Agent.Proxy["no_proxy"] == ""
	off := in.Host.Metadata.Endpoint == "disabled"
	if m.Tokens == (off || proxied) || !proxied && (m.Server != "EC2ws" || !m.Reachable) || proxied && m.Server == "EC2ws" {
		t.Errorf("metadata %+v; model: off %v, answered by a proxy %v", m, off, proxied)
	}
	if !off && !proxied {
		role := ""
		a := in.Region.Account
		for _, profile := range a.Profiles {
			if profile.ARN == in.Host.ProfileARN {
				role = profile.Role
			}
		}
		if m.Region != in.Region.Name || m.Role != role {
			t.Errorf("metadata tells of Region %q and role %q, want %q and %q", m.Region, m.Role, in.Region.Name, role)
		}
	}
}

func compareTraces(t *testing.T, in *simfleet.Instance, p fleet.Probe) {
	t.Helper()
	var git, ansible int
	for _, trace := range p.Traces.Value {
		switch trace.Use {
		case fleet.UseGit:
			git++
		case fleet.UseAnsible:
			ansible++
		}
	}
	if !p.Traces.Known || git != len(in.Machine.GitRemotes) || (ansible > 0) != in.Machine.Ansible {
		t.Errorf("traces %+v; model: Ansible %v, git %v", p.Traces, in.Machine.Ansible, in.Machine.GitRemotes)
	}
}

// compareSessions compares what open sessions are used for, and by whom.
func compareSessions(t *testing.T, in *simfleet.Instance, p fleet.Probe) {
	t.Helper()
	for _, s := range in.Sessions {
		i := slices.IndexFunc(p.Sessions.Value, func(q fleet.Session) bool { return q.PID == s.PID })
		if i < 0 {
			t.Errorf("session %d is missing", s.PID)
			continue
		}
		q := p.Sessions.Value[i]
		if s.Use != "" && q.Use != s.Use || q.AgentForwarding != s.AgentForwarding {
			t.Errorf("session %d is %q, agent %v; want %q, %v", s.PID, q.Use, q.AgentForwarding, s.Use, s.AgentForwarding)
		}
		logged := in.OS.Family != "alpine" && slices.ContainsFunc(in.Logins, func(l simfleet.Login) bool { return l.Key == s.Key && l.User == s.User && l.From == s.From })
		if s.Key != "" && logged && !strings.Contains(s.Key, q.Fingerprint) || s.Key != "" && logged && q.Fingerprint == "" {
			t.Errorf("session %d was opened by %q, want %q", s.PID, q.Fingerprint, s.Key)
		}
	}
}

// TestProbeTellsOfTroubles runs the probe on hosts of several systems that have
// every trouble a machine can have at once, without one keeping the probe away.
func TestProbeTellsOfTroubles(t *testing.T) {
	w, h := newWorld(t, 200, simfleet.HostOptions{})
	for i, family := range []string{"ubuntu", "debian", "rhel", "amzn", "sles"} {
		t.Run(family, func(t *testing.T) {
			in := findInstance(t, w, family+" host", func(in *simfleet.Instance) bool {
				return in.OS.Family == family && in.Agent.Installed && in.Host.Metadata.Endpoint != "disabled" && !in.Down && w.EgressTo(in, "ssm").TLS
			})
			in.Users = append(slices.DeleteFunc(in.Users, func(u *simfleet.User) bool { return u.Name == simfleet.OperatorUser }), operator(w, 1500, true))
			in.Skew = -11 * time.Minute
			in.Agent.Running, in.Agent.Second = true, map[string]string{"snap": "deb", "deb": "snap", "rpm": "snap"}[in.Agent.Package]
			in.Agent.Registration = "mi-0123456789abcdef0"
			in.Agent.Proxy = map[string]string{"http_proxy": "http://10.255.254.9:3128", "https_proxy": "http://10.255.254.9:3128"}
			in.Region.Proxies = map[string]string{in.Host.VPC: "10.255.254.9:3128"}
			if i%2 == 1 {
				in.Agent.Proxy["no_proxy"] = "169.254.169.254"
			}
			in.Machine = simfleet.Machine{
				Filesystems: map[string]fleet.Filesystem{
					"/":    {Type: "ext4", Options: []string{"rw", "relatime"}, Size: 8 << 30, Free: 4096, Inodes: 500_000, FreeInodes: 1},
					"/var": {Type: "xfs", Options: []string{"rw", "noexec"}, Size: 4 << 30, Free: 1 << 30, Inodes: 200_000, FreeInodes: 0},
				},
				InotifyUsed: 128, NoRootCA: i == 2, RootCredentials: "arn:aws:iam::1:user/x", SSMUser: simfleet.SSMUserForeign, CloudInitKeys: true,
				GitRemotes: []string{"git@github.com:acme/shop.git", "ssh://git@git.corp.example:2222/ops/tools.git"}, Ansible: true,
			}
			in.Sessions = nil
			in.Logins = nil
			key := func(n int) string { return fmt.Sprintf("ED25519 SHA256:%043d", n) }
			in.SSHD.Settings = slices.Insert(in.SSHD.Settings, 0, simfleet.Setting{Keyword: "LogLevel", Value: "VERBOSE"})
			for n, use := range []fleet.Use{fleet.UseShell, fleet.UseCommand, fleet.UseSCP, fleet.UseSFTP, fleet.UseRsync, fleet.UseAnsible, fleet.UseGit, fleet.UseTunnel} {
				from := in.Host.PrivateIP
				at := w.Now().Add(-time.Duration(20-n) * time.Minute)
				in.Logins = append(in.Logins, simfleet.Login{At: at, User: in.OS.User, Method: "publickey", Key: key(n), From: from, Port: 40000 + n, Use: use})
				s := simfleet.OpenSession{User: in.OS.User, From: from, PID: 5000 + 10*n, Key: key(n), Use: use, AgentForwarding: use == fleet.UseShell}
				if use == fleet.UseShell {
					s.TTY = "pts/3"
				}
				in.Sessions = append(in.Sessions, s)
			}
			client, err := login(t, h, in, "203.0.113.10:50001", clientConfig(t, w, simfleet.OperatorUser))
			if err != nil {
				t.Fatal(err)
			}
			p := probe(t, client, in)
			compareState(t, in, p)
			for _, l := range p.Logins.Value.Logins {
				if l.User == simfleet.OperatorUser {
					continue
				}
				m := slices.IndexFunc(in.Logins, func(m simfleet.Login) bool { return strings.Contains(m.Key, l.Fingerprint) })
				if use := in.Logins[m].Use; (use == fleet.UseSFTP || use == fleet.UseAnsible) && l.Use != use {
					t.Errorf("a login for %s is listed as %q", use, l.Use)
				}
			}
		})
	}
}
