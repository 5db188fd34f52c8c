package export_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ssm-migrate/internal/export"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// stubForHosts stands for the AWS CLI and ssh: what goes to hosts is kept in files.
const stubForHosts = `#!/bin/sh
printf '%s\n' "${0##*/} $*" >>calls
case "${0##*/} $*" in
*get-caller-identity*) echo "$ACCOUNT" ;;
*describe-instance-information*) echo "$ONLINE" ;;
*send-command*)
	n=$(($(cat count 2>/dev/null || echo 0) + 1))
	echo "$n" >count
	while [ "$1" != --cli-input-json ]; do shift; done
	printf '%s' "$2" >"sent$n"
	echo "command-$n"
	;;
*list-command-invocations*) printf 'i-1\t%s\n' "$STATUS" ;;
ssh*)
	cat >over_ssh
	exit "$SSH_EXIT"
	;;
esac
`

// withHosts lets an export have scripts for hosts that write a hostile text into
// a file: i-1 is reached by Run Command, i-2 by SSH.
func withHosts(t *testing.T) export.Input {
	in := everything(t, hostile)
	at := in.Plan.Made
	in.Snapshot.Hosts = []fleet.Host{
		{
			ID: "i-1", Account: account, Region: "eu-west-1", Tags: map[string]string{"Name": hostile}, PrivateIP: netip.MustParseAddr("10.0.0.1"),
			Node: fleet.Known(fleet.Node{PingStatus: "Online"}, "test", at), Connection: fleet.Known("connected", "test", at),
		},
		{
			ID: "i-2", Account: account, Region: "eu-west-1", Tags: map[string]string{"Name": hostile}, PrivateIP: netip.MustParseAddr("10.0.0.2"),
			Probe: fleet.Known(fleet.Probe{LoginUser: hostile, Via: []string{"bastion"}}, "test", at),
		},
	}
	in.Script = func(s plan.Step) (export.HostScript, error) {
		return export.HostScript{Head: "TEXT='" + strings.ReplaceAll(hostile, "'", `'\''`) + "'\n", Body: "printf '%s\\t%s' \"$TEXT\" \"${MODE-whole}\" >" + string(s.Agent.Action) + "\n"}, nil
	}
	in.UserData = func(c *plan.TemplateChange) (string, error) { return "#!/bin/sh\n# " + c.Template + "\n", nil }
	in.Plan.Refusals = []plan.Refusal{{Code: "template-undoes", Template: &plan.TemplateChange{Template: "lt-1", Agent: &plan.AgentChange{}}}}
	return in
}

// ranForHosts runs a stage of the script with a shell, in a folder of its own.
func ranForHosts(t *testing.T, in export.Input, shell []string, stage []string, env ...string) (dir, out string, code int) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range map[string]string{"aws": stubForHosts, "ssh": stubForHosts, "sleep": "#!/bin/sh\n", "script.sh": script(t, in)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.Command(shell[0], slices.Concat(shell[1:], []string{"script.sh"}, stage)...)
	c.Dir = dir
	c.Env = append([]string{"PATH=" + dir + ":/usr/bin:/bin", "ACCOUNT=" + account, "ONLINE=i-1", "STATUS=Success", "SSH_EXIT=0"}, env...)
	text, err := c.CombinedOutput()
	if c.ProcessState == nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "pwned")); err == nil {
		t.Errorf("stage %s: a foreign text was run as a command", stage)
	}
	return dir, string(text), c.ProcessState.ExitCode()
}

func read1(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What runs on hosts arrives there byte for byte, by Run Command and by SSH.
func TestScriptsArriveOnHosts(t *testing.T) {
	for _, shell := range [][]string{{"dash"}, {"bash", "--posix"}, {"busybox", "sh"}} {
		in := withHosts(t)
		// run runs a text as a host would, and gives what it wrote.
		run := func(text, file string) string {
			dir := t.TempDir()
			c := exec.Command("sh", "-s")
			c.Dir, c.Stdin = dir, strings.NewReader(text)
			if out, err := c.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			return read1(t, dir, file)
		}
		dir, out, code := ranForHosts(t, in, shell, []string{"nodes"})
		if code != 0 {
			t.Errorf("%v: nodes: exit code %d\n%s", shell, code, out)
		}
		for i, mode := range []string{"start", "look"} {
			var sent struct {
				DocumentName string
				Parameters   map[string][]string
			}
			if err := json.Unmarshal([]byte(read1(t, dir, fmt.Sprintf("sent%d", i+1))), &sent); err != nil {
				t.Fatalf("%v: %v", shell, err)
			}
			if got := run(strings.Join(sent.Parameters["commands"], "\n"), "upgrade"); got != hostile+"\t"+mode || sent.DocumentName != "AWS-RunShellScript" {
				t.Errorf("%v: by Run Command (%s) came %q", shell, mode, got)
			}
		}
		dir, out, code = ranForHosts(t, in, shell, []string{"hosts"})
		if got := run(read1(t, dir, "over_ssh"), "install"); code != 0 || got != hostile+"\twhole" {
			t.Errorf("%v: hosts: exit code %d, %q\n%s", shell, code, got, out)
		}
		if call := read1(t, dir, "calls"); !strings.HasPrefix(call, "ssh -o BatchMode=yes -- 10.0.0.2 exec sh -c ") {
			t.Errorf("%v: a name that is no login's came through: %s", shell, call)
		}
		if _, out, code = ranForHosts(t, in, shell, []string{"script", "agent-install"}); code != 0 || run(out, "install") != hostile+"\twhole" {
			t.Errorf("%v: script: exit code %d\n%s", shell, code, out)
		}
		if _, out, code = ranForHosts(t, in, shell, []string{"user-data", "lt-1"}); code != 0 || out != "#!/bin/sh\n# lt-1\n" {
			t.Errorf("%v: user-data: exit code %d\n%s", shell, code, out)
		}
	}
}

// Hosts that cannot be reached are left out and named; a failure on one shows in the exit code.
func TestScriptsForHostsTellWhatFailed(t *testing.T) {
	dash := []string{"dash"}
	for _, test := range []struct {
		stage []string
		env   string
		want  int
		says  string
	}{
		{[]string{"nodes"}, "ONLINE=i-7", 3, "left out: i-1"},
		{[]string{"nodes"}, "STATUS=Failed", 1, "i-1: agent-upgrade"},
		{[]string{"nodes"}, "ACCOUNT=" + other, 3, "left out: account"},
		{[]string{"hosts"}, "SSH_EXIT=255", 1, "i-2: agent-install"},
		{[]string{"script", "another"}, "A=b", 2, "scripts: agent-"},
		{[]string{"user-data", "lt-2"}, "A=b", 2, "launch templates: lt-1"},
	} {
		if _, out, code := ranForHosts(t, withHosts(t), dash, test.stage, test.env); code != test.want || !strings.Contains(out, test.says) {
			t.Errorf("%v, %s: exit code %d, want %d and %q\n%s", test.stage, test.env, code, test.want, test.says, out)
		}
	}
	dir, _, _ := ranForHosts(t, withHosts(t), dash, []string{"hosts"}, "SSH=ssh -F own", "SSH_USER=me")
	if call := read1(t, dir, "calls"); !strings.HasPrefix(call, "ssh -F own -o BatchMode=yes -l me -- 10.0.0.2 ") {
		t.Errorf("ssh ran as %s", call)
	}
}

// A script with control characters would not arrive as it is: it is refused.
func TestControlCharactersAreRefused(t *testing.T) {
	in := withHosts(t)
	in.Script = func(plan.Step) (export.HostScript, error) { return export.HostScript{Head: "A='\x1b'\n"}, nil }
	if _, err := export.CLI(in); err == nil || !strings.Contains(err.Error(), "control characters") {
		t.Error(err)
	}
}

// Formats that are folders have the scripts as files, and say where they run.
func TestFoldersHaveScriptsForHosts(t *testing.T) {
	for name, write := range map[string]func(export.Input) ([]export.File, error){"terraform": export.Terraform, "json": export.JSON} {
		files, err := write(withHosts(t))
		if err != nil {
			t.Fatal(err)
		}
		texts := map[string]string{}
		for _, f := range files {
			texts[f.Name] = f.Text
		}
		index := texts["index.json"] + texts["README.md"]
		for _, f := range []string{"hosts/agent-upgrade.sh", "hosts/agent-install.sh", "user-data/lt-1.sh"} {
			if texts[f] == "" || strings.HasPrefix(f, "hosts") && !strings.Contains(index, f) {
				t.Errorf("%s has no %s, or its index does not name it", name, f)
			}
		}
	}
}
