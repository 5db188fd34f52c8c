package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/simfleet"
)

// chapter is a part of a Markdown text below a heading, down to the next
// heading of the same level or a higher one.
func chapter(t *testing.T, text string, heading *regexp.Regexp) string {
	t.Helper()
	at := heading.FindStringIndex(text)
	if at == nil {
		t.Fatalf("the runbook has no heading %s", heading)
	}
	title := text[at[0]:at[1]]
	level := len(title) - len(strings.TrimLeft(title, "#"))
	var out strings.Builder
	inCode := false
	for line := range strings.Lines(text[at[1]:]) {
		if strings.HasPrefix(line, "```") {
			inCode = !inCode
		}
		if n := len(line) - len(strings.TrimLeft(line, "#")); !inCode && n > 0 && n <= level {
			break
		}
		out.WriteString(line)
	}
	return out.String()
}

// commands are the fenced commands of a chapter, in order.
func commands(t *testing.T, chapter string) []string {
	t.Helper()
	var out []string
	for _, m := range regexp.MustCompile("(?ms)^```bash\n(.*?)\n```$").FindAllStringSubmatch(chapter, -1) {
		out = append(out, m[1])
	}
	if len(out) == 0 {
		t.Fatalf("no commands in:\n%s", chapter)
	}
	return out
}

// What the runbook says for the day on which Session Manager is down leads an
// operator into a closed host, as root, with AWS CLI and OpenSSH alone; and then
// opens what was closed.
func TestRunbookLeadsIntoAClosedHost(t *testing.T) {
	if testing.Short() {
		t.Skip("other programs show the race detector nothing")
	}
	t.Parallel()
	for path, line := range map[string]string{"/usr/bin/aws": "apt-get install awscli", "/usr/bin/ssh": "apt-get install openssh-client", "/bin/nc": "apt-get install netcat-openbsd"} {
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("%v; install with: %s", err, line)
		}
	}
	f := ownSim(t, fleetOf(1))
	f.oneWave(t)
	p := f.planned(t)
	f.run(t, nil, "apply", p.ID, "--yes")
	if open, _, _ := doorsOpen(f.world); open != 0 {
		t.Fatalf("the operator still gets into %d hosts", open)
	}
	file := filepath.Join(t.TempDir(), "runbook.md")
	f.run(t, nil, "recovery", "runbook", "-o", file)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	host := p.Of(plan.QuarantineKeys)[0].Hosts[0]
	var in *simfleet.Instance
	for one := range f.world.Instances() {
		if one.Host.ID == host.ID {
			in = one
		}
	}
	if in == nil {
		t.Fatalf("the world has no %s", host.ID)
	}

	down := chapter(t, string(text), regexp.MustCompile(`(?m)^## Session Manager is down$`))
	vpc := chapter(t, down, regexp.MustCompile(`(?m)^### VPC `+in.Host.VPC+`\b.*$`))
	script := commands(t, chapter(t, down, regexp.MustCompile(`(?m)^### Folder, key and settings$`)))
	script = append(script, commands(t, strings.Split(vpc, "\n#### ")[0])...)
	script = append(script, commands(t, chapter(t, vpc, regexp.MustCompile(`(?m)^#### Start the bastion of .*$`)))...)
	script = append(script, "echo 'id -u; echo shell ended' | "+lineFor(t, chapter(t, vpc, regexp.MustCompile(`(?m)^#### Log in to a host of .*$`)), host.ID))
	script = append(script, lineFor(t, chapter(t, string(text), regexp.MustCompile(`(?m)^## Put the key files back$`)), host.ID))
	rules := chapter(t, string(text), regexp.MustCompile(`(?m)^## Open the closed rules again$`))
	for _, s := range p.Of(plan.ClosePort) {
		if slices.Contains(s.Hosts, host) {
			script = append(script, commands(t, chapter(t, rules, regexp.MustCompile(`(?m)^### Security group `+s.Rules.Group+`\b.*$`)))...)
		}
	}
	script = append(script, commands(t, chapter(t, vpc, regexp.MustCompile(`(?m)^#### Back at zero: .*$`)))...)

	f.faults.Set(simfleet.Fault{Service: "ssm", Kind: simfleet.FaultDeny})
	out := f.operator(t, strings.Join(script, "\n"))
	for _, want := range []string{`(?m)^the bastion lets you in$`, `(?m)^0\nshell ended$`, `(?m)^restore\t[1-9]\t0\t0$`} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("the commands do not print %s:\n%s", want, out)
		}
	}
	f.world.Mu.RLock()
	defer f.world.Mu.RUnlock()
	if why := f.world.OperatorLoginReason(in); why != "" {
		t.Errorf("after all, the way of before is still closed: %s", why)
	}
	for _, a := range f.world.Accounts {
		for _, rg := range a.Regions {
			for _, g := range rg.Scaling {
				if strings.HasPrefix(g.Name, plan.RecoveryName("")) && (g.Desired != 0 || len(g.Instances) != 0) {
					t.Errorf("%s is left at %d", g.Name, g.Desired)
				}
			}
		}
	}
}

// lineFor is the command for one host, among those for all, whose comment names it.
func lineFor(t *testing.T, chapter, id string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^# (?:\S+ )?` + id + `\n(.*)$`).FindStringSubmatch(chapter)
	if m == nil {
		t.Fatalf("no line for %s in:\n%s", id, chapter)
	}
	return m[1]
}

// operator runs commands in a shell that knows AWS's endpoint, as an operator's
// does, and nothing of migrate.
func (f *ownFleet) operator(t *testing.T, script string) string {
	t.Helper()
	home := t.TempDir()
	bin := filepath.Join(home, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	// Debian's AWS CLI knows no AWS_ENDPOINT_URL.
	wrapper := fmt.Sprintf("#!/bin/sh\nexec /usr/bin/aws --endpoint-url http://%s \"$@\"\n", f.aws.Addr())
	if err := os.WriteFile(filepath.Join(bin, "aws"), []byte(wrapper), 0o700); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
	c.Env = []string{"PATH=" + bin + ":/usr/bin:/bin", "HOME=" + home, "AWS_PAGER="}
	for _, v := range f.demoFleet.env() {
		if !strings.HasPrefix(v.name, "MIGRATE_") {
			c.Env = append(c.Env, v.name+"="+v.value)
		}
	}
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%v\n%s\n%s\nof:\n%s", err, out, errs.Bytes(), script)
	}
	return string(out)
}

func TestWithoutABrowserNothingIsPrinted(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	var out bytes.Buffer
	err := printPDF(t.Context(), &out, []byte("<p>"))
	if err == nil || !strings.Contains(err.Error(), "apt-get install chromium") || out.Len() > 0 {
		t.Errorf("%v, and %d bytes", err, out.Len())
	}
}
