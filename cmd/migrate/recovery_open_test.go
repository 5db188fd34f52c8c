package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ssm-migrate/internal/plan"
)

// With an authority on the hosts, the commands that open prints log in with OpenSSH
// alone; what they log in with is for this opening, and gone after close.
func TestOpenedCommandsLogInWithAnAuthority(t *testing.T) {
	if testing.Short() {
		t.Skip("other programs show the race detector nothing")
	}
	t.Parallel()
	for path, line := range map[string]string{"/usr/bin/ssh": "apt-get install openssh-client", "/bin/nc": "apt-get install netcat-openbsd"} {
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("%v; install with: %s", err, line)
		}
	}
	f := ownSim(t, fleetOf(1))
	f.oneWave(t)
	f.run(t, nil, "recovery", "init", "--adopt", "--replace", "--ca")
	p := f.planned(t)
	f.run(t, nil, "apply", p.ID, "--yes")
	host := p.Of(plan.QuarantineKeys)[0].Hosts[0]
	o := decode[openResult](t, f.run(t, nil, "recovery", "open", "--reason", "Session Manager is down", "--for", "30m", "--yes", "--json"))
	if o.LoginKey == "" || o.LoginUntil.IsZero() || o.LoginUntil.After(o.Ways[0].Ends) {
		t.Errorf("opened: %+v", o)
	}
	files, err := filepath.Glob(strings.TrimSuffix(o.Config, "ssh_config") + "*")
	if err != nil || len(files) != 4 {
		t.Errorf("the files of the opening: %q, %v", files, err)
	}
	for _, name := range files {
		if i, err := os.Stat(name); err != nil || i.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, i.Mode(), err)
		}
	}
	command := ""
	for _, w := range o.Ways {
		for _, h := range w.Hosts {
			if h.Host == host {
				command = h.Command
			}
		}
	}
	args := strings.Fields(command)
	if len(args) < 2 {
		t.Fatalf("no command for %s: %+v", host.ID, o)
	}
	// The host's key is a person's to accept.
	c := exec.CommandContext(t.Context(), args[0], append([]string{"-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=accept-new"}, args[1:]...)...)
	c.Env, c.Stdin = f.env, strings.NewReader("id -un; echo shell ended\n")
	out, err := c.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "shell ended") {
		t.Errorf("%s: %v\n%s", command, err, out)
	}
	f.run(t, nil, "recovery", "close", "--yes", "--keep-key")
	if left, err := filepath.Glob(strings.TrimSuffix(o.Config, "ssh_config") + "*"); err != nil || len(left) != 0 {
		t.Errorf("close leaves %q, %v", left, err)
	}
}
