package simfleet_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/simfleet"
)

// TestSSHDPrintsLikeTheRealOne compares what "sshd -T" prints, and how it
// fails, with OpenSSH's own server.
func TestSSHDPrintsLikeTheRealOne(t *testing.T) {
	const program = "/usr/sbin/sshd"
	if version, err := exec.Command(program, "-V").CombinedOutput(); err != nil {
		t.Fatal("OpenSSH's server is needed to compare with: apt-get install openssh-server")
	} else if !bytes.HasPrefix(version, []byte("OpenSSH_9.2")) {
		t.Logf("the simulated defaults are those of OpenSSH 9.2; here is %s", version)
	}
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("making a host key: %v\n%s", err, out)
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatalf("sshd needs its folder: %v", err)
	}
	w, h := newWorld(t, 60, simfleet.HostOptions{})
	in := findInstance(t, w, "Debian host", func(in *simfleet.Instance) bool { return in.OS.Family == "debian" })
	in.Files = append(in.Files, simfleet.File{Path: key, Content: []byte("a key"), Mode: 0o600})
	for i, conf := range []string{
		"",
		"Port 2222\nListenAddress 10.0.0.1\nListenAddress ::1\nPermitRootLogin no\nAuthorizedKeysFile .ssh/authorized_keys /etc/ssh/keys/%u\n",
		"AllowUsers alice bob\nAllowUsers carol@10.0.0.0/8\nDenyGroups \"bad guys\" x\nAcceptEnv LANG LC_*\nSetEnv A=b C=d\nSubsystem sftp /usr/lib/openssh/sftp-server -l INFO\n",
		"passwordauthentication No # off\nLogLevel verbose\nClientAliveInterval 5m\nLoginGraceTime 1h30m\nMaxStartups 20\nPermitOpen host:22 h2:*\nForceCommand /bin/x \"a b\"\nBanner /etc/issue.net\n",
		"ChallengeResponseAuthentication no\nPermitRootLogin prohibit-password\nPermitRootLogin yes\nUseDNS=yes\nSyslogFacility authpriv\nX11Forwarding   yes\n",
		"PasswordAuthentication no\nMatch User alice,dave\n  PasswordAuthentication yes\n  AuthorizedKeysFile /x/%u\nMatch User d* Address 10.0.0.0/8\n  AllowTcpForwarding local\n  AuthorizedKeysFile /never\nMatch all\n  GatewayPorts clientspecified\n",
		"AuthorizedKeysCommand /usr/bin/keys %u %f\nAuthorizedKeysCommandUser nobody\nTrustedUserCAKeys /etc/ssh/ca.pub\nRevokedKeys /etc/ssh/revoked\n",
		"Match User !root,*\n  MaxSessions 3\n  PermitTTY no\n",
		"NoSuchThing yes\nPort 22\nAnother one\n",
		"PermitRootLogin maybe\n",
		"Port\n",
	} {
		name := filepath.Join(dir, fmt.Sprintf("conf%d", i))
		text := []byte("HostKey " + key + "\n" + conf)
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		in.Files = append(in.Files, simfleet.File{Path: name, Content: text, Mode: 0o600})
		for _, spec := range []string{
			"", " -C user=alice,addr=10.1.2.3", " -C user=dave,host=h,addr=10.1.2.3,laddr=10.0.0.1,lport=22", " -C user=root", " -C nonsense",
			" -o X11Forwarding=yes -o 'AuthorizedKeysCommand /a/b %u' -o AuthorizedKeysCommandUser=sshd",
		} {
			line := program + " -T -f " + name + spec
			var out, errs bytes.Buffer
			cmd := exec.Command("sh", "-c", line)
			cmd.Stdout, cmd.Stderr = &out, &errs
			want := 0
			if err := cmd.Run(); err != nil {
				want = cmd.ProcessState.ExitCode()
			}
			gotOut, gotErrs, status := shell(t, h, in, "root", line)
			if d := cmp.Diff(out.String(), gotOut); d != "" || status != want {
				t.Errorf("%s with\n%s\nstatus %d, want %d; output (-real +ours):\n%s", line, conf, status, want, d)
			}
			if d := cmp.Diff(strings.ReplaceAll(errs.String(), "\r", ""), gotErrs); d != "" {
				t.Errorf("%s: errors (-real +ours):\n%s", line, d)
			}
		}
	}
}
