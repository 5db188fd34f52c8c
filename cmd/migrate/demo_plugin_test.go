package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ssm-migrate/internal/simfleet"
)

// TestDemoServesAWSsOwnClients opens a shell and an SSH connection on the
// demo's fleet with the AWS CLI, session-manager-plugin and OpenSSH.
func TestDemoServesAWSsOwnClients(t *testing.T) {
	if testing.Short() {
		t.Skip("other programs' sessions show the race detector nothing that ours do not")
	}
	t.Parallel()
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	for path, line := range map[string]string{bin + "/session-manager-plugin": "make setup", "/usr/bin/aws": "apt-get install awscli", "/usr/bin/ssh": "apt-get install openssh-client"} {
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("%v; install with: %s", err, line)
		}
	}
	d, err := startDemo(demoOptions{serve: true, instances: 60, seed: 7, addr: "127.0.0.1:0", dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.stop)
	host := demoHost(t, d.world)
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "AWS_") || strings.HasPrefix(strings.ToUpper(v), "HTTP_PROXY=") || strings.HasPrefix(v, "PATH=")
	})
	env = append(env, "PATH="+bin+":/usr/bin:/bin", "HOME="+t.TempDir(), "AWS_PAGER=")
	for _, v := range d.env() {
		env = append(env, v.name+"="+v.value)
	}
	start := "aws --endpoint-url http://" + d.aws.Addr().String() + " ssm start-session --target " + host.Host.ID
	run := func(input string, args ...string) string {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Env = env
		in, err := cmd.StdinPipe() // it stays open: at the end of its input the plugin leaves
		if err != nil {
			t.Fatal(err)
		}
		// Ended by ssh, the AWS CLI says on standard error, now and then, that its
		// plugin was.
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(in, input)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v\n%s", strings.Join(args, " "), err, &errs)
		}
		return out.String()
	}
	t.Run("shell", func(t *testing.T) {
		out := run("hostname\nexit\n", strings.Fields(start)...)
		if !strings.Contains(out, "\n"+host.Hostname+"\r\n") || !strings.Contains(out, "Exiting session") {
			t.Errorf("the session shows:\n%s", out)
		}
	})
	t.Run("SSH", func(t *testing.T) {
		out := run("", "ssh", "-F", "none", "-i", filepath.Join(d.dir, simfleet.OperatorKeyFile), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
			"-o", "UserKnownHostsFile="+filepath.Join(d.dir, simfleet.OperatorKnownHostsFile), "-o", "HostKeyAlias="+host.Host.PrivateIP.String(),
			"-o", "ProxyCommand="+start+" --document-name AWS-StartSSHSession --parameters portNumber=%p", simfleet.OperatorUser+"@"+host.Host.ID, "hostname")
		if out != host.Hostname+"\n" {
			t.Errorf("ssh prints %q", out)
		}
	})
}

// demoHost is a host that serves sessions and has the operator's account.
func demoHost(t *testing.T, w *simfleet.World) *simfleet.Instance {
	t.Helper()
	w.Mu.RLock()
	defer w.Mu.RUnlock()
	for _, in := range w.Accounts[0].Regions[0].Instances {
		user := slices.ContainsFunc(in.Users, func(u *simfleet.User) bool { return u.Name == simfleet.OperatorUser && !u.Locked })
		if user && !in.Down && in.Fault == "" && in.OS.Family != "windows" && w.ServesSessions(in) && w.AgentEgress(in, "logs").TLS {
			return in
		}
	}
	t.Fatal("no host of the demo serves sessions")
	return nil
}
