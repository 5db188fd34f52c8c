package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ssm-migrate/internal/fleet"
)

// sshSays asks OpenSSH itself what a configuration means for a host.
func sshSays(t *testing.T, config, host string) map[string]string {
	t.Helper()
	ssh, err := exec.LookPath("ssh")
	if err != nil {
		t.Fatal("install the SSH client: apt-get install openssh-client")
	}
	out, err := exec.Command(ssh, "-G", "-F", config, "--", host).CombinedOutput()
	if err != nil {
		t.Fatalf("ssh -G %q: %v\n%s", host, err, out)
	}
	got := map[string]string{}
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		got[key] = value
	}
	return got
}

func tagged(id, region, name string) fleet.Host {
	return fleet.Host{ID: id, Region: region, State: "running", Tags: map[string]string{"Name": name}}
}

func TestSSHConfigIsReadAsMeant(t *testing.T) {
	snap := &fleet.Snapshot{Hosts: []fleet.Host{
		tagged("i-00000000000000001", "eu-west-1", "web-1"),
		tagged("i-00000000000000002", "us-gov-west-1", "db_2"),
		tagged("i-00000000000000003", "eu-west-1", "twin"),
		tagged("i-00000000000000004", "eu-west-1", "Twin"),
		tagged("i-00000000000000005", "eu-west-1", "github.com"),
		tagged("i-00000000000000006", "eu-west-1", "localhost"),
		tagged("i-00000000000000007", "eu-west-1", "i-00000000000000001"),
		tagged("i-00000000000000008", "eu-west-1", "*"),
		tagged("i-00000000000000009", "eu-west-1", "x\n    ProxyCommand touch /tmp/owned\nHost *"),
		tagged("i-0000000000000000a", "eu-west-1", "-oProxyCommand=touch"),
		tagged("i-0000000000000000b", "eu-west-1", "two words"),
		tagged("i-0000000000000000c", "eu-west-1", "%h$(id)`id`"),
		tagged("i-0000000000000000d", "eu-west-1", ""),
		{ID: "i-0000000000000000e", Region: "eu-west-1", State: "running", Platform: "Windows"},
		tagged("i-0000000000000000f", "eu-west-1;id", "bad-region"),
		tagged("i-00;id", "eu-west-1", "bad-id"),
		tagged("i-00000000000000010", "eu-west-1", "gone"),
	}}
	snap.Hosts[len(snap.Hosts)-1].State = "terminated"
	own := "migrate connect --ssh --region eu-west-1 --port %p %h"
	for _, tt := range []struct {
		name string
		q    sshConfigQuery
		want map[string][2]string // host typed: HostName, ProxyCommand
		user string
	}{
		{"own", sshConfigQuery{user: "alice"}, map[string][2]string{
			"web-1":                          {"i-00000000000000001", own},
			"i-00000000000000001":            {"i-00000000000000001", own},
			"db_2":                           {"i-00000000000000002", "migrate connect --ssh --region us-gov-west-1 --port %p %h"},
			"twin.i-00000000000000003":       {"i-00000000000000003", own},
			"Twin.i-00000000000000004":       {"i-00000000000000004", own},
			"github.com.i-00000000000000005": {"i-00000000000000005", own},
			"i-00000000000000007":            {"i-00000000000000007", own},
			"i-00000000000000008":            {"i-00000000000000008", own},
			"i-00000000000000009":            {"i-00000000000000009", own},
			"i-0000000000000000d":            {"i-0000000000000000d", own},
			// These stand for other machines, or for nothing.
			"github.com":          {"github.com", ""},
			"localhost":           {"localhost", ""},
			"twin":                {"twin", ""},
			"anything":            {"anything", ""},
			"x":                   {"x", ""},
			"two":                 {"two", ""},
			"i-0000000000000000e": {"i-0000000000000000e", ""},
			"bad-region":          {"bad-region", ""},
			"bad-id":              {"bad-id", ""},
			"gone":                {"gone", ""},
		}, "alice"},
		{"aws-cli", sshConfigQuery{awsCLI: true, profile: "prod"}, map[string][2]string{
			"web-1": {"i-00000000000000001", "aws ssm start-session --region eu-west-1 --target %h --document-name AWS-StartSSHSession --parameters portNumber=%p --profile prod"},
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := filepath.Join(t.TempDir(), "config")
			if err := os.WriteFile(config, []byte(sshConfigText(sshHosts(snap), tt.q, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			for host, want := range tt.want {
				got := sshSays(t, config, host)
				if got["hostname"] != strings.ToLower(want[0]) && got["hostname"] != want[0] || got["proxycommand"] != want[1] {
					t.Errorf("%s: host name %q by %q, want %q by %q", host, got["hostname"], got["proxycommand"], want[0], want[1])
				}
				if want[1] != "" && tt.user != "" && got["user"] != tt.user {
					t.Errorf("%s: user %q", host, got["user"])
				}
			}
		})
	}
}

// Whatever tags say, each line is one of those that we write.
func TestSSHConfigHoldsNothingOfHostileTags(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		snap := &fleet.Snapshot{}
		for i, name := range rapid.SliceOfN(rapid.String(), 0, 5).Draw(t, "names") {
			snap.Hosts = append(snap.Hosts, tagged("i-0000000"+string(rune('a'+i)), rapid.SampledFrom([]string{"eu-west-1", "x y", "us-east-1"}).Draw(t, "region"), name))
		}
		text := sshConfigText(sshHosts(snap), sshConfigQuery{}, 1)
		lines := bufio.NewScanner(strings.NewReader(text))
		for lines.Scan() {
			line := lines.Text()
			word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			switch word {
			case "", "#":
			case "Host":
				for name := range strings.FieldsSeq(rest) {
					if !linkName.MatchString(name) || len(strings.Fields(rest)) > 2 {
						t.Fatalf("line %q", line)
					}
				}
			case "HostName":
				if !instanceID.MatchString(rest) {
					t.Fatalf("line %q", line)
				}
			case "ProxyCommand":
				if rest != "migrate connect --ssh --region eu-west-1 --port %p %h" && rest != "migrate connect --ssh --region us-east-1 --port %p %h" {
					t.Fatalf("line %q", line)
				}
			default:
				t.Fatalf("line %q", line)
			}
		}
	})
}
