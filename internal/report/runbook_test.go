package report_test

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"mvdan.cc/sh/v3/syntax"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/report"
)

// book is a runbook with everything that one shows.
func book() report.Runbook {
	at := fleet.Place{Account: account, Region: region}
	const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHVzdGFmYWtlaG9zdGtleWZvcnRoZXRlc3RzMDEy"
	folder := "/var/lib/migrate/migrate-0123456789abcdef0123456789abcdef"
	return report.Runbook{
		Made: noon.Add(time.Hour), Version: "1.2.3", Snapshot: fleet.SnapshotInfo{ID: 4, Started: noon}, Plan: "4f65a26fb1db", Proxy: "127.0.0.1:1080",
		Key:      report.RunbookKey{Store: report.KeyInFile, Location: "/home/ops/keys/recovery key", Public: "ssh-ed25519 AAAAC3Nz migrate-recovery"},
		Accounts: []report.RunbookAccount{{ID: account, Label: "ops", Profile: "ops-admin"}, {ID: "444455556666", Label: "data", Role: "arn:aws:iam::444455556666:role/migrate", ExternalID: "x y"}},
		Networks: []report.RunbookNetwork{
			{
				At: at, VPC: "vpc-a", Name: "prod", Group: "migrate-recovery-vpc-a", Image: "ami-1", Type: "t3.micro", User: "ec2-user",
				Subnets: []string{"subnet-1", "subnet-2"}, From: []string{"203.0.113.0/24"}, Public: true, Made: true, Doors: []string{"sg-1", "sg-2"}, Endpoints: []string{"eice-1"},
				Hosts: []report.RunbookHost{
					{ID: "i-1", Name: "web-1", Address: netip.MustParseAddr("10.0.0.1"), User: "ec2-user", Keys: []string{hostKey}, Saved: []string{folder}, Password: true},
					{ID: "i-2", Name: "i-2", Address: netip.MustParseAddr("10.0.0.2"), User: "root", Saved: []string{folder}},
				},
				Lacking: []report.RunbookHost{{ID: "i-3", Name: "new-1"}},
			},
			{At: fleet.Place{Account: "444455556666", Region: "us-east-1"}, VPC: "vpc-b", Group: "migrate-recovery-vpc-b", Image: "ami-2", Type: "t3.micro", User: "ubuntu", Subnets: []string{"subnet-9"}, From: []string{"10.0.0.0/8"}},
		},
		Groups: []report.RunbookGroup{
			{At: at, ID: "sg-1", Name: "web", Closed: true, Exact: true, Hosts: 2, Rules: []fleet.Rule{
				{Protocol: "tcp", From: 22, To: 22, CIDR: netip.MustParsePrefix("10.0.0.0/8"), Description: "it's the VPN", Tags: map[string]string{"team": "blue & green", "aws:x": "y"}},
				{Protocol: "tcp", From: 20, To: 30, CIDR: netip.MustParsePrefix("2001:db8::/32")},
				{Protocol: "-1", From: -1, To: -1, Group: "sg-9", GroupAccount: "444455556666"},
				{Protocol: "tcp", From: 22, To: 22, PrefixList: "pl-1"},
			}},
			{At: at, ID: "sg-2", Name: "old", Closed: true, Hosts: 1, Rules: []fleet.Rule{{Protocol: "tcp", From: 22, To: 22, Group: "sg-9"}}},
			{At: at, ID: "sg-3", Name: "later", Hosts: 1, Rules: []fleet.Rule{{Protocol: "tcp", From: 22, To: 22, Group: "sg-9"}}},
		},
	}
}

func runbook(t *testing.T, r report.Runbook) (markdown, html string) {
	t.Helper()
	var m, h strings.Builder
	if err := report.RunbookMarkdown(&m, r); err != nil {
		t.Fatal(err)
	}
	if err := report.RunbookHTML(&h, r); err != nil {
		t.Fatal(err)
	}
	return m.String(), h.String()
}

func TestRunbookGolden(t *testing.T) {
	m, h := runbook(t, book())
	golden(t, "runbook.md", m)
	golden(t, "runbook.html", h)
}

// fenced are the commands of a Markdown text.
func fenced(markdown string) []string {
	var out []string
	for _, m := range regexp.MustCompile("(?ms)^(```+)bash\n(.*?)\n```+$").FindAllStringSubmatch(markdown, -1) {
		out = append(out, m[2])
	}
	return out
}

// Every store has its own way to the key, and every command is one that bash understands.
func TestRunbookOfEveryStore(t *testing.T) {
	for _, tt := range []struct {
		key  report.RunbookKey
		want []string
	}{
		{report.RunbookKey{}, []string{"is not configured"}},
		{report.RunbookKey{Store: report.KeyInFile, Location: "/k"}, []string{"ln -sfn /k login_key", "ssh-add login_key"}},
		{report.RunbookKey{Store: report.KeyInFile, Location: "/k", CA: true}, []string{"ln -sfn /k ca_key", "ssh-keygen -q -s ca_key -I recovery -n migrate-recovery -V -5m:+8h login_key.pub", "CertificateFile login_key-cert.pub"}},
		{report.RunbookKey{Store: report.KeyInAge, Location: "/k.age", Identities: []string{"/me"}}, []string{"age --decrypt -i /me -o login_key /k.age"}},
		{report.RunbookKey{Store: report.KeyInSecrets, Location: "arn:aws:secretsmanager:eu-west-1:1:secret:r", Region: "eu-west-1"}, []string{"--secret-id arn:aws:secretsmanager:eu-west-1:1:secret:r", ">login_key"}},
		{report.RunbookKey{Store: report.KeyInKMS, Location: "/k.json", Region: "eu-west-1", KMSKey: "arn:k"}, []string{"aws kms decrypt --region eu-west-1 --key-id arn:k", "openssl enc -d -aes-256-ctr"}},
	} {
		r := book()
		r.Key = tt.key
		m, _ := runbook(t, r)
		for _, want := range tt.want {
			if !strings.Contains(m, want) {
				t.Errorf("%+v: the runbook lacks %q", tt.key, want)
			}
		}
		for _, c := range fenced(m) {
			if _, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(c), ""); err != nil {
				t.Errorf("%+v: %v in:\n%s", tt.key, err, c)
			}
		}
	}
}

// Whatever the fleet is called, nothing of it leaves the word, the comment, the
// cell or the tag that it stands in.
func TestRunbookOfHostileFleet(t *testing.T) {
	evil := "x'; touch /tmp/owned; echo \"`id`$(id)\\\n```\nEOF\n# <script>alert(1)</script> | [a](javascript:1) \x1b[31m\u202e! -oProxyCommand=id"
	quiet := book()
	r := book()
	r.Key.Location, r.Key.Public, r.Plan, r.Proxy = evil, evil, evil, evil
	r.Accounts[0] = report.RunbookAccount{ID: evil, Label: evil, Profile: evil}
	r.Accounts[1].Role, r.Accounts[1].ExternalID = evil, evil
	for i := range r.Networks {
		n := &r.Networks[i]
		n.VPC, n.Name, n.Group, n.Image, n.Type, n.User, n.At.Region, n.At.Account = evil, evil, evil, evil, evil, evil, evil, evil
		n.Subnets, n.From, n.Endpoints, n.Doors = []string{evil}, []string{evil}, []string{evil}, []string{evil}
		for k := range n.Hosts {
			h := &n.Hosts[k]
			h.ID, h.Name, h.Keys = evil, evil, []string{evil}
			if h.User != "root" {
				h.User = evil
			}
			h.Saved = []string{evil}
		}
	}
	r.Networks[0].Lacking[0].Name = evil
	for i := range r.Groups {
		r.Groups[i].ID, r.Groups[i].Name = evil, evil
		for k := range r.Groups[i].Rules {
			rule := &r.Groups[i].Rules[k]
			rule.Description, rule.Tags = evil, map[string]string{evil: evil}
		}
	}
	m, h := runbook(t, r)
	m2, h2 := runbook(t, quiet)
	if strings.Contains(h, "<script") || strings.ContainsAny(m+h, "\x1b\u202e") {
		t.Error("a tag or a control character came through")
	}
	tags := regexp.MustCompile(`<(\w+)[ >]`)
	if got, want := len(tags.FindAllString(h, -1)), len(tags.FindAllString(h2, -1)); got > want+20 {
		t.Errorf("%d tags, without hostile names %d", got, want)
	}
	got := fenced(m)
	for _, c := range got {
		f, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(c), "")
		if err != nil {
			t.Errorf("%v in:\n%s", err, c)
			continue
		}
		syntax.Walk(f, func(n syntax.Node) bool {
			if call, ok := n.(*syntax.CallExpr); ok && len(call.Args) > 0 {
				switch name := call.Args[0].Lit(); name {
				case "touch", "id", "echo":
					if name != "echo" || len(call.Args) > 1 && strings.Contains(fmt.Sprint(call.Args[1].Lit()), "id") {
						t.Errorf("%s would run in:\n%s", name, c)
					}
				}
			}
			return true
		})
	}
	chapters := regexp.MustCompile(`(?m)^## .*$`)
	if diff := cmp.Diff(chapters.FindAllString(m2, -1), chapters.FindAllString(m, -1)); diff != "" {
		t.Errorf("other chapters than without hostile names:\n%s", diff)
	}
	for line := range strings.Lines(strings.Join(got, "\n")) {
		for _, c := range []byte(strings.TrimSuffix(line, "\n")) {
			if c < ' ' || c > '~' {
				t.Fatalf("a byte that cannot be seen in %q", line)
			}
		}
	}
}
