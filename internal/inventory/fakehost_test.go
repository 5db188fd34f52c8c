package inventory_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ssm-migrate/internal/fleet"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// inEveryShell runs a test of the script against a machine of its own.
func inEveryShell(t *testing.T, setUp func(m machine), check func(t *testing.T, m machine, p fleet.Probe)) {
	t.Helper()
	for _, shell := range shells {
		t.Run(shell[0], func(t *testing.T) {
			m := newMachine(t)
			m.link(t, "grep", "grep")
			m.link(t, "cat", "coreutils")
			m.link(t, "ls", "coreutils")
			m.link(t, "tail", "coreutils")
			m.link(t, "stat", "coreutils")
			m.link(t, "find", "findutils")
			setUp(m)
			check(t, m, m.probe(t, shell...))
		})
	}
}

// unstamped leaves out of a comparison when facts were learned.
var unstamped = cmp.FilterPath(func(p cmp.Path) bool {
	return p.Last().String() == ".At" && p.Index(-2).Type() != nil && strings.HasPrefix(p.Index(-2).Type().Name(), "Fact[")
}, cmp.Ignore())

func TestHealthOfTheHost(t *testing.T) {
	inEveryShell(t, func(m machine) {
		m.program(t, "df", `case $2 in
-k) echo "Filesystem 1024-blocks Used Available Capacity Mounted on
/dev/nvme0n1p1 1000 900 100 90% /
/dev/nvme0n1p1 1000 900 100 90% /
//nas/home share 5000 0 5000 0% /home
tmpfs 10 10 0 100% /tmp
udev 0 0 0 - /dev";;
-i) echo "Filesystem Inodes IUsed IFree IUse% Mounted on
/dev/nvme0n1p1 64 60 4 94% /
//nas/home share 0 0 0 - /home"; exit 1;;
esac`)
		m.file(t, "proc/self/mounts", "/dev/root / ext4 rw,relatime 0 0\ntmpfs /tmp tmpfs rw,noexec 0 0\n/dev/x /mnt/data xfs rw 0 0\n//nas/home\\040share /home cifs rw,vers=3 0 0\n", 0o644)
		m.file(t, "proc/sys/fs/inotify/max_user_instances", "128\n", 0o644)
		m.file(t, "proc/sys/fs/inotify/max_user_watches", "8192\n", 0o644)
		m.file(t, "etc/pki/tls/certs/ca-bundle.crt", "# Amazon Root CA 1\n-----BEGIN CERTIFICATE-----\nMIIDQTCCAimgAwIBAgITBmyfz5m/jAo54vB4ikPmljZbyjANBgkqhkiG9w0BAQsF\n", 0o644)
		m.program(t, "curl", `case $* in
*api/token*) printf 'HTTP/1.1 200 OK\r\nServer: EC2ws\r\nDate: Sat, 21 Nov 2026 10:07:59 GMT\r\nContent-Type: text/plain\r\n\r\nAQAEAO_secret==\nfacts 200\n';;
*"token: AQAEAO_secret== "*iam/*placement/region*) printf 'HTTP/1.1 200 OK\r\nServer: EC2ws\r\n\r\nweb-role\nfacts 200\nHTTP/1.1 200 OK\r\nServer: EC2ws\r\n\r\neu-west-1\nfacts 200\n';;
*https://ssm.*) printf '* issuer: C=US\n< HTTP/2 404 \n< date: Sat, 21 Nov 2026 09:47:59 GMT\r\nfacts 0.01 0.05 0 404 10.0.3.4\n';;
*) echo "curl: (7) refused"; exit 7;;
esac`)
	}, func(t *testing.T, m machine, p fleet.Probe) {
		want := fleet.Health{
			Filesystems: []fleet.Filesystem{
				{Mount: "/", Type: "ext4", Options: []string{"rw", "relatime"}, Size: 1000 << 10, Free: 100 << 10, Inodes: 64, FreeInodes: 4},
				{Mount: "/home", Type: "cifs", Options: []string{"rw", "vers=3"}, Size: 5000 << 10, Free: 5000 << 10},
				{Mount: "/tmp", Type: "tmpfs", Options: []string{"rw", "noexec"}, Size: 10 << 10},
				{Mount: "/dev"},
			},
			Inotify:    fleet.Inotify{MaxInstances: 128, MaxWatches: 8192},
			Clock:      fleet.Clock{Host: time.Unix(1795255679, 0).UTC(), Server: time.Date(2026, 11, 21, 9, 47, 59, 0, time.UTC), Source: "ssm.eu-west-1.amazonaws.com"},
			TrustStore: fleet.Known(true, "probe: certificate bundle", time.Time{}),
		}
		if !p.Health.Known {
			t.Fatalf("health unknown: %s", p.Health.Reason)
		}
		if diff := cmp.Diff(want, p.Health.Value, unstamped); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(fleet.MetadataTest{Reachable: true, Tokens: true, Status: 200, Server: "EC2ws", Role: "web-role", Region: "eu-west-1"}, p.Metadata.Value); diff != "" {
			t.Error(diff)
		}
		if strings.Contains(fmt.Sprintf("%+v", p), "AQAEAO") {
			t.Error("the metadata token is in the probe")
		}
	})
}

// TestClockThatTLSRefuses: with a clock that is years off, no certificate is
// valid, and the metadata service tells the time over plain HTTP.
func TestClockThatTLSRefuses(t *testing.T) {
	for _, tc := range []struct{ name, server, source string }{
		{"EC2's metadata service", "EC2ws", "169.254.169.254"},
		{"a proxy that answers for it", "squid/5.7", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inEveryShell(t, func(m machine) {
				m.program(t, "curl", `case $* in
*169.254*) printf 'HTTP/1.1 403 Forbidden\r\nServer: `+tc.server+`\r\nDate: Sat, 21 Nov 2026 10:07:59 GMT\r\n\r\n<html>\nfacts 403\n';;
*-kv*) printf '< Date: Sat, 21 Nov 2026 11:11:11 GMT\r\n* issuer: O=Amazon\n';;
*) printf '< Date: Sat, 21 Nov 2026 12:12:12 GMT\r\ncurl: (60) SSL certificate problem: certificate is not yet valid\nfacts 0.01 0.0 9 0 x\n'; exit 60;;
esac`)
			}, func(t *testing.T, _ machine, p fleet.Probe) {
				if got := p.Health.Value.Clock.Source; got != tc.source {
					t.Errorf("the time is that of %q, want %q", got, tc.source)
				}
				if diff := cmp.Diff(fleet.MetadataTest{Reachable: true, Status: 403, Server: tc.server}, p.Metadata.Value); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

const agentLog = `2026-11-21 08:00:00.0000 INFO https_proxy: http://u:secret@proxy.corp:3128
2026-11-21 08:00:01.0000 ERROR [CredentialRefresher] Retrieve credentials produced error: AccessDeniedException: not authorized
2026-11-21 08:00:02.0000 INFO [CredentialRefresher] Sleeping for 27m43s before retrying retrieve credentials
2026-11-21 08:27:45.0000 INFO [CredentialRefresher] Credentials ready
2026-11-21 08:27:50.1234 ERROR failed to connect: proxyconnect tcp: dial http://u:secret@proxy.corp:3128 refused
2026-11-21 08:30:00 ERROR Failed to create session: write /var/lib/amazon/ssm/x: no space left on device
garbage
` + "2026-11-21 08:31:00.0000 ERROR \x1b[31mGet https://ssm: x509: unknown authority \xff\n2026-11-21 08:32:00.0000 ERROR cut off: x509: "

func TestAgentAsTheHostShowsIt(t *testing.T) {
	inEveryShell(t, func(m machine) {
		m.file(t, "usr/bin/amazon-ssm-agent", "#!/bin/sh\necho 'SSM Agent version: 3.3.987.0'\n", 0o755)
		m.file(t, "usr/bin/ssm-cli", `#!/bin/sh
echo "Applying config override from /etc/amazon/ssm/amazon-ssm-agent.json."
echo '{ "DiagnosticsOutput": [
  { "Check": "EC2 IMDS", "Status": "Success", "Note": "fine" },
  { "Check": "Agent service", "Status": "Failed", "Note": "not running \u001b[31m" } ] }'`, 0o755)
		m.file(t, "snap/amazon-ssm-agent/current/meta/snap.yaml", "name: amazon-ssm-agent\nversion: 3.3.4793.0\nsummary: x\n", 0o644)
		m.file(t, "var/lib/dpkg/info/amazon-ssm-agent.list", "", 0o644)
		m.program(t, "dpkg-query", "echo install ok installed 3.3.987.0-1")
		m.program(t, "rpm", "echo package amazon-ssm-agent is not installed; exit 1")
		m.program(t, "timeout", "shift; exec \"$@\"")
		m.program(t, "systemctl", `case $1 in show) echo 'Environment="no_proxy=169.254.169.254, 10.0.0.0/8" LANG=C
EnvironmentFiles=`+m.root+`/etc/default/agent (ignore_errors=yes)
EnvironmentFiles=`+m.root+`/etc/default/missing (ignore_errors=yes)
Id=amazon-ssm-agent.service
LoadState=loaded
ActiveState=active
UnitFileState=disabled' ;; esac`)
		m.file(t, "etc/default/agent", "# proxy\nhttp_proxy=http://proxy.corp:3128\nHTTPS_PROXY='http://u:p@ss@proxy.corp:3128'\nAWS_ACCESS_KEY_ID=AKIAEXAMPLE\n", 0o600)
		m.file(t, "etc/amazon/ssm/amazon-ssm-agent.json", `{
  "Agent": { "Region": "eu-west-1" },
  "Mgs": {
    "Region": "",
    "Endpoint": "https://mgs.example.internal/"
  },
  "Ssm": {
    "Endpoint": "",
    "HealthFrequencyMinutes": 5
  }
}`, 0o644)
		m.file(t, "var/lib/amazon/ssm/Vault/Store/RegistrationKey", `{"instanceID":"mi-0123456789abcdef0","region":"eu-central-1","privateKey":"topsecret"}`, 0o600)
		m.file(t, "root/.aws/credentials", "[default]\naws_secret_access_key = topsecret\n", 0o600)
		m.file(t, "var/log/amazon/ssm/amazon-ssm-agent.log", agentLog, 0o600)
		m.file(t, "etc/passwd", "root:x:0:0::/root-of-nobody:/bin/sh\nssm-user:x:1001:1001::/home/ssm-user:/bin/bash\n", 0o644)
		m.program(t, "sudo", "echo 'User ssm-user may run the following commands on h:\n    (root) NOPASSWD: /usr/bin/id\n    (ALL : ALL) PASSWD: ALL'")
	}, func(t *testing.T, m machine, p fleet.Probe) {
		at := time.Time{}
		day := func(hour, minute, sec int) time.Time { return time.Date(2026, 11, 21, hour, minute, sec, 0, time.UTC) }
		want := fleet.HostAgent{
			Installed: true, Path: m.root + "/usr/bin/amazon-ssm-agent", Package: "deb", Version: "3.3.987.0",
			Unit: "amazon-ssm-agent.service", Active: "active", Enabled: "disabled",
			Installs:     []fleet.AgentInstall{{Package: "deb", Version: "3.3.987.0"}, {Package: "snap", Version: "3.3.4793.0"}},
			Proxy:        map[string]string{"http_proxy": "http://proxy.corp:3128", "https_proxy": "http://u@proxy.corp:3128", "no_proxy": "169.254.169.254, 10.0.0.0/8"},
			Config:       fleet.AgentConfig{File: m.root + "/etc/amazon/ssm/amazon-ssm-agent.json", Region: "eu-west-1", Endpoints: map[string]string{"mgs": "mgs.example.internal"}},
			Registration: fleet.Known(fleet.Registration{ID: "mi-0123456789abcdef0", Region: "eu-central-1"}, "probe: the agent's vault", at),
			Credentials:  fleet.Known([]string{"AWS_ACCESS_KEY_ID in the environment of the unit", m.root + "/root/.aws/credentials"}, "probe: files", at),
			Signs: fleet.Known([]fleet.LogSign{
				{Kind: "access denied", At: day(8, 0, 1), Text: "ERROR [CredentialRefresher] Retrieve credentials produced error: AccessDeniedException: not authorized"},
				{Kind: "proxy", At: day(8, 27, 50).Add(1234 * 100 * time.Microsecond), Text: "ERROR failed to connect: proxyconnect tcp: dial http://(left out)"},
				{Kind: "disk full", At: day(8, 30, 0), Text: "ERROR Failed to create session: write /var/lib/amazon/ssm/x: no space left on device"},
				{Kind: "x509", At: day(8, 31, 0), Text: "ERROR [31mGet https://ssm: x509: unknown authority \ufffd"},
			}, "probe: the agent's log", at),
			Diagnostics: fleet.Known([]fleet.Diagnostic{{Check: "EC2 IMDS", Status: "Success", Note: "fine"}, {Check: "Agent service", Status: "Failed", Note: "not running [31m"}}, "probe: ssm-cli get-diagnostics", at),
			SSMUser: fleet.Known(fleet.SSMUser{Exists: true, Shell: "/bin/bash", Sudo: fleet.Known(false, "probe: sudo -l -U ssm-user", at)},
				"probe: getent passwd, sudo -l -U ssm-user", at),
		}
		ignore := cmpopts.IgnoreFields(fleet.Fact[[]fleet.LogSign]{}, "At")
		if diff := cmp.Diff(want, p.Agent.Value, unstamped, ignore); diff != "" {
			t.Error(diff)
		}
		for _, secret := range []string{"secret", "p@ss", "AKIAEXAMPLE"} {
			if strings.Contains(fmt.Sprintf("%+v", p), secret) {
				t.Errorf("%q is in the probe", secret)
			}
		}
		for _, e := range p.Endpoints.Value {
			if e.Service == "ssmmessages" && e.Host != "mgs.example.internal" {
				t.Errorf("%s is tested as %s, not as the agent's settings say", e.Service, e.Host)
			}
		}
	})
}

// TestProxyWithoutSystemd has the files of an upstart job and of drop-ins, which
// tell where systemd itself is not asked or does not answer.
func TestProxyWithoutSystemd(t *testing.T) {
	for _, tc := range []struct{ name, file, text string }{
		{"upstart", "etc/init/amazon-ssm-agent.override", "env https_proxy=http://u:secret@proxy.corp:3128\nenv no_proxy=169.254.169.254\n"},
		{"a drop-in", "etc/systemd/system/amazon-ssm-agent.service.d/proxy.conf", "[Service]\nEnvironment=\"https_proxy=http://u:secret@proxy.corp:3128\" \"no_proxy=169.254.169.254\"\n"},
		{"a drop-in of the snap's", "etc/systemd/system/snap.amazon-ssm-agent.amazon-ssm-agent.service.d/x.conf", "[Service]\nEnvironment=https_proxy=http://u:secret@proxy.corp:3128\nEnvironment=no_proxy=169.254.169.254"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inEveryShell(t, func(m machine) {
				m.file(t, "usr/bin/amazon-ssm-agent", "#!/bin/sh\necho 'SSM Agent version: 3.3.987.0'\n", 0o755)
				m.file(t, tc.file, tc.text, 0o644)
				m.program(t, "curl", `echo "curl: (97) by $https_proxy" >&2; exit 97`)
			}, func(t *testing.T, _ machine, p fleet.Probe) {
				if diff := cmp.Diff(map[string]string{"https_proxy": "http://u@proxy.corp:3128", "no_proxy": "169.254.169.254"}, p.Agent.Value.Proxy); diff != "" {
					t.Error(diff)
				}
				if strings.Contains(fmt.Sprintf("%+v", p), "secret") {
					t.Error("the proxy's password is in the probe")
				}
				if e := p.Endpoints.Value[0]; !e.TCP.Known || e.TCP.Value || !strings.HasPrefix(e.Detail, "through the agent's proxy") {
					t.Errorf("endpoint %+v", e)
				}
			})
		})
	}
}

func TestAgentWithDualStackEndpoints(t *testing.T) {
	inEveryShell(t, func(m machine) {
		m.file(t, "etc/amazon/ssm/amazon-ssm-agent.json", "{\n\"Agent\": {\n\"UseDualStackEndpoint\": true\n}\n}", 0o644)
		m.program(t, "getent", `case $1 in ahosts) echo "2600:1f18::1 STREAM $2"; echo "::ffff:10.0.0.4 STREAM $2";; *) exit 2;; esac`)
	}, func(t *testing.T, _ machine, p fleet.Probe) {
		var hosts []string
		for _, e := range p.Endpoints.Value {
			hosts = append(hosts, e.Host)
			if diff := cmp.Diff([]netip.Addr{netip.MustParseAddr("2600:1f18::1"), netip.MustParseAddr("10.0.0.4")}, e.Addresses.Value, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Error(diff)
			}
		}
		if diff := cmp.Diff([]string{"ssm.eu-west-1.api.aws", "ssmmessages.eu-west-1.api.aws", "ec2messages.eu-west-1.api.aws",
			"s3.dualstack.eu-west-1.amazonaws.com", "kms.eu-west-1.api.aws", "logs.eu-west-1.api.aws"}, hosts); diff != "" {
			t.Error(diff)
		}
		if !p.Agent.Value.Config.DualStack {
			t.Errorf("config %+v", p.Agent.Value.Config)
		}
	})
}

// TestCloudInit has the spellings of YAML in which modules get a frequency
// (config/modules.py of cloud-init reads a name, a list or a mapping).
func TestCloudInit(t *testing.T) {
	files := []struct {
		name, text   string
		always, keys bool
	}{
		{"as-packaged", "users:\n  - default\ncloud_init_modules:\n - ssh\n - users-groups\ncloud_config_modules:\n - ssh-import-id\n", false, false},
		{"list", "#cloud-config\ncloud_init_modules:\n - [ssh, always]\n", true, false},
		{"list-with-quotes", "cloud_final_modules:\n- [ \"users-groups\" , 'always' ]\n", true, false},
		{"nested-list", "cloud_init_modules:\n- - ssh\n  - always\n", true, false},
		{"mapping", "cloud_init_modules:\n- name: ssh\n  frequency: always\n", true, false},
		{"another-module", "cloud_final_modules:\n - [scripts-user, always]\n - ssh\n", false, false},
		{"another-mapping", "cloud_final_modules:\n- name: scripts-user\n  frequency: always\n", false, false},
		{"comment", "#- [ssh, always]\n# ssh_authorized_keys: x\n", false, false},
		{"keys", "#cloud-config\nusers:\n  - name: ann\n    ssh_authorized_keys:\n      - ssh-ed25519 AAAA secret\n", false, true},
		{"no-keys", "ssh_authorized_keys: []\n", false, false},
		{"script", "#!/bin/sh\necho secret >/root/x\n", false, false},
		{"binary", "\x1f\x8b\x08\x00\xff\xfe [ssh\n\x00always\n", false, false},
		{"zz-blocked", "allow_public_ssh_keys: false\n", false, false},
	}
	inEveryShell(t, func(m machine) {
		m.file(t, "etc/cloud/cloud.cfg", "cloud_init_modules:\n - ssh\n", 0o644)
		for _, f := range files {
			m.file(t, "etc/cloud/cloud.cfg.d/"+f.name+".cfg", f.text, 0o644)
		}
		m.file(t, "var/lib/cloud/instance/user-data.txt", "#cloud-config\nssh_authorized_keys:\n - secret\n", 0o600)
	}, func(t *testing.T, m machine, p fleet.Probe) {
		want := fleet.CloudInit{Present: true, BlocksKeys: true}
		for _, f := range files {
			if f.always {
				want.AlwaysKeys = append(want.AlwaysKeys, m.root+"/etc/cloud/cloud.cfg.d/"+f.name+".cfg")
			}
			if f.keys {
				want.KeyFiles = append(want.KeyFiles, m.root+"/etc/cloud/cloud.cfg.d/"+f.name+".cfg")
			}
		}
		want.KeyFiles = append(want.KeyFiles, m.root+"/var/lib/cloud/instance/user-data.txt")
		if !p.CloudInit.Known {
			t.Fatalf("unknown: %s", p.CloudInit.Reason)
		}
		if diff := cmp.Diff(want, p.CloudInit.Value, cmpopts.SortSlices(func(a, b string) bool { return a < b })); diff != "" {
			t.Error(diff)
		}
		if strings.Contains(fmt.Sprintf("%+v", p), "secret") {
			t.Error("user data is in the probe")
		}
	})
}

func TestCloudInitThatIsOff(t *testing.T) {
	inEveryShell(t, func(m machine) {
		m.file(t, "etc/cloud/cloud.cfg", "", 0o644)
		m.file(t, "proc/cmdline", "BOOT_IMAGE=/vmlinuz cloud-init=disabled quiet\n", 0o644)
	}, func(t *testing.T, _ machine, p fleet.Probe) {
		if diff := cmp.Diff(fleet.CloudInit{Present: true, Disabled: true}, p.CloudInit.Value); diff != "" {
			t.Error(diff)
		}
	})
}

func TestTraces(t *testing.T) {
	inEveryShell(t, func(m machine) {
		m.file(t, "etc/passwd", fmt.Sprintf("ann:x:1000:1000::%s/home/ann:/bin/sh\n", m.root), 0o644)
		m.file(t, "home/ann/.ansible/tmp/x", "", 0o600)
		m.file(t, "home/ann/tool/.git/config", "[remote \"origin\"]\n\turl=ssh://ann:secret@git.example/tool.git\n", 0o644)
		m.file(t, "srv/app/.git/config", "[core]\n\tbare = false\n[remote \"origin\"]\n\turl = git@github.com:acme/app.git\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n[remote \"web\"]\n\turl = https://token:secret@github.com/acme/app.git\n[remote \"disk\"]\n\turl = /srv/git/app.git\n", 0o644)
		m.file(t, "opt/a/b/c/d/e/.git/config", "[remote \"origin\"]\n\turl = git@github.com:too/deep.git\n", 0o644)
		m.program(t, "date", `case $1 in +%s) echo 1795255679 ;; *) printf 'time\t1795255679\t+0000\n' ;; esac`)
	}, func(t *testing.T, m machine, p fleet.Probe) {
		want := []fleet.Trace{
			{Use: fleet.UseAnsible, What: m.root + "/home/ann/.ansible/tmp", User: "ann"},
			{Use: fleet.UseGit, What: m.root + "/srv/app/.git/config: git@github.com:acme/app.git"},
			{Use: fleet.UseGit, What: m.root + "/home/ann/tool/.git/config: ssh://ann@git.example/tool.git", User: "ann"},
		}
		if !p.Traces.Known {
			t.Fatalf("traces unknown: %s", p.Traces.Reason)
		}
		if diff := cmp.Diff(want, p.Traces.Value, cmpopts.IgnoreFields(fleet.Trace{}, "At"), cmpopts.SortSlices(func(a, b fleet.Trace) bool { return filepath.Base(a.What) < filepath.Base(b.What) })); diff != "" {
			t.Error(diff)
		}
		for _, tr := range p.Traces.Value {
			if time.Since(tr.At).Abs() > time.Hour {
				t.Errorf("%s was changed at %v", tr.What, tr.At)
			}
		}
	})
}

// TestDropInOfInstanceConnect has the drop-ins of aws-ec2-instance-connect-config
// (src/deb_systemd, src/rpm_systemd) while sshd runs as it did before them.
func TestDropInOfInstanceConnect(t *testing.T) {
	for _, tc := range []struct{ name, cat, want string }{
		{"installed since", "# /lib/systemd/system/ssh.service\n[Service]\nExecStart=/usr/sbin/sshd -D $SSHD_OPTS\n\n# /lib/systemd/system/ssh.service.d/ec2-instance-connect.conf\n[Service]\nExecStart=\n" +
			`ExecStart=/usr/sbin/sshd -D -o "AuthorizedKeysCommand /usr/share/ec2-instance-connect/eic_run_authorized_keys %%u %%f" -o "AuthorizedKeysCommandUser ec2-instance-connect" $SSHD_OPTS`,
			"-D -o AuthorizedKeysCommand /usr/share/ec2-instance-connect/eic_run_authorized_keys %u %f -o AuthorizedKeysCommandUser ec2-instance-connect"},
		{"on two lines", "ExecStart=/usr/sbin/sshd -D \\\n  -p 2222\n", "-D -p 2222"},
		{"as it runs", "ExecStart=/usr/sbin/sshd -D $OPTIONS", ""},
		{"no unit", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inEveryShell(t, func(m machine) {
				m.file(t, "usr/sbin/sshd", "#!/bin/sh\necho port 22\n", 0o755)
				m.file(t, "proc/self/stat", "99 (sh) S 50 1 1\n", 0o644)
				m.file(t, "proc/50/stat", "50 (sshd) S 1 1 1\n", 0o644)
				m.file(t, "proc/50/cmdline", "sshd: "+m.root+"/usr/sbin/sshd -D [listener] 0 of 10-100 startups\x00", 0o644)
				m.file(t, "units", tc.cat+"\n", 0o644)
				m.program(t, "systemctl", `case $1 in cat) while IFS= read -r l; do printf '%s\n' "$l"; done <`+m.root+`/units ;; esac`)
			}, func(t *testing.T, _ machine, p fleet.Probe) {
				if got := p.SSHD.Value.UnitArguments; got != tc.want {
					t.Errorf("%q, want %q", got, tc.want)
				}
			})
		})
	}
}
