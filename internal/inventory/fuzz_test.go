package inventory_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/inventory"
)

// checkStrings walks a value and refuses any string that a screen must not see.
// Types that cannot hold text of a host's are not walked into.
func checkStrings(t *testing.T, v reflect.Value, path string) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		s := v.String()
		if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) || strings.ContainsAny(s, "\u202e\u2066\u2028") {
			t.Fatalf("%s is not fit for a screen: %q", path, s)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				checkStrings(t, v.Field(i), path+"."+v.Type().Field(i).Name)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			checkStrings(t, v.Index(i), path+"[]")
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			checkStrings(t, k, path+" key")
			checkStrings(t, v.MapIndex(k), path+"[]")
		}
	}
}

func FuzzParse(f *testing.F) {
	seeds, err := filepath.Glob("testdata/probe-*.txt")
	if err != nil || len(seeds) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, name := range seeds {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, []byte("sudo: a password is required"))
	}
	f.Fuzz(func(t *testing.T, stdout, stderr []byte) {
		p, err := inventory.Parse(fleet.ProbeOutput{Stdout: stdout, Stderr: stderr, User: "u"}, time.Unix(1795255679, 0))
		if err != nil {
			checkStrings(t, reflect.ValueOf(err.Error()), "error")
			return
		}
		checkStrings(t, reflect.ValueOf(p), "probe")
		lines := strings.Count(string(stdout), "\n")
		for what, n := range map[string]int{
			"users": len(p.Users.Value), "logins": len(p.Logins.Value.Logins), "sessions": len(p.Sessions.Value),
			"settings": len(p.SSHD.Value.Settings),
		} {
			if n > lines {
				t.Errorf("%d %s of %d lines", n, what, lines)
			}
		}
		if len(p.Keys.Value) > 50_000 || len(p.Gaps) > 202 || len(p.Endpoints.Value) > 6 {
			t.Errorf("%d keys, %d gaps, %d endpoints", len(p.Keys.Value), len(p.Gaps), len(p.Endpoints.Value))
		}
		for _, k := range p.Keys.Value {
			if k.Fingerprint != "" && !strings.HasPrefix(k.Fingerprint, "SHA256:") {
				t.Errorf("fingerprint %q", k.Fingerprint)
			}
		}
	})
}

func FuzzKeyLine(f *testing.F) {
	ed := wire("ssh-ed25519", strings.Repeat("k", 32))
	for _, s := range []string{
		"", "# x", "ssh-ed25519 " + ed + " me@here", `from="10.0.0.0/8",command="a \"b\", c" ssh-ed25519 ` + ed,
		"cert-authority ssh-rsa " + wire("ssh-rsa", "\x01\x00\x01", "\x00\xff\xff"), "ssh-rsa AAAA", `command="`,
		"ssh-ed25519-cert-v01@openssh.com " + wire("ssh-ed25519-cert-v01@openssh.com", "nonce", strings.Repeat("k", 32)),
		"ecdsa-sha2-nistp521 " + wire("ecdsa-sha2-nistp521", "nistp521", "p"), "new-type " + wire("new-type"), "\x1b[2J ssh-ed25519 " + ed + " \x9b31m",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		k, ok := inventory.ParseKeyLine(line)
		if !ok {
			if trimmed := strings.TrimLeft(line, " \t\r\n"); trimmed != "" && trimmed[0] != '#' && trimmed[0] != 0 {
				t.Errorf("%q is neither blank nor comment", line)
			}
			return
		}
		checkStrings(t, reflect.ValueOf(k), "key")
		if (k.Problem == "") && (k.Type == "" || k.Fingerprint == "" || k.Blob == "") {
			t.Errorf("a good key without type, fingerprint or blob: %+v", k)
		}
		if k.Type == "" && (k.Comment != "" || len(k.Options) > 0 || k.Blob != "") {
			t.Errorf("text kept of a line that is no key: %+v", k)
		}
		if k.Problem == "" {
			// What was understood is understood again from its own parts.
			again, ok := inventory.ParseKeyLine(k.Type + " " + k.Blob)
			if !ok || again.Fingerprint != k.Fingerprint || again.Bits != k.Bits || again.Problem != "" {
				t.Errorf("%+v read again: %+v", k, again)
			}
		}
	})
}

func FuzzLogLine(f *testing.F) {
	rotated, current := authLog("h")
	for line := range strings.Lines(rotated + current) {
		f.Add(strings.TrimSuffix(line, "\n"), int64(1795255679))
	}
	f.Add("2026-11-21T09:47:59.123456+00:00 h sshd[1]: Accepted publickey for a from fe80::1%\x1b[m port 1 ssh2: RSA SHA256:x", int64(0))
	f.Add("1795255679.999999 h sshd-session[1]: Accepted publickey for a b from 1.2.3.4 port 1 ssh2: X-CERT SHA256:x ID  (serial 1) CA", int64(-1))
	f.Fuzz(func(t *testing.T, line string, clock int64) {
		l, ok := inventory.ParseLogLine(line, time.Unix(clock%(1<<36), 0).UTC())
		if !ok {
			return
		}
		checkStrings(t, reflect.ValueOf(l), "login")
		if l.From.IsValid() {
			checkStrings(t, reflect.ValueOf(l.From.String()), "address")
		}
		if l.Count != 1 || l.First != l.Last || !strings.Contains(line, "]: ") && !strings.Contains(line, "]:\t") {
			t.Errorf("%+v of %q", l, line)
		}
		if _, err := l.First.MarshalJSON(); err != nil {
			t.Errorf("time that cannot be stored: %v", err)
		}
	})
}

// fuzzSection feeds text to Parse as the content of one record.
func fuzzSection(f *testing.F, section, record string, seeds ...string) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var b strings.Builder
		for line := range strings.SplitSeq(text, "\n") {
			b.WriteString("|" + line + "\n")
		}
		system := "system\nuid\t0\ntime\t1795255679\t+0000\n"
		agent := "agent\nbinary\t/usr/bin/amazon-ssm-agent\tSSM Agent version: 3.3.1.0\n"
		users := "users\nsource\tgetent passwd\n|ssm-user:x:1:1::/home/ssm-user:/bin/sh\n"
		var out []byte
		if body := record + "\n" + b.String(); section == "agent" {
			out = sections(system, users, agent+body)
		} else {
			out = sections(system, users, agent, section+"\n"+body)
		}
		p, err := inventory.Parse(fleet.ProbeOutput{Stdout: out, User: "u"}, time.Unix(1795255679, 0))
		if err != nil {
			t.Fatal(err)
		}
		checkStrings(t, reflect.ValueOf(p), "probe")
		a, h, lines := p.Agent.Value, p.Health.Value, strings.Count(text, "\n")+1
		if len(a.Signs.Value) > lines || len(h.Filesystems) > lines || len(a.Diagnostics.Value) > 64 || len(a.Config.Endpoints) > 5 {
			t.Errorf("%d signs, %d file systems, %d diagnostics, endpoints %v of %d lines", len(a.Signs.Value), len(h.Filesystems), len(a.Diagnostics.Value), a.Config.Endpoints, lines)
		}
		for _, fs := range h.Filesystems {
			if fs.Size < 0 || fs.Free < 0 || fs.Inodes < 0 || fs.FreeInodes < 0 || !strings.HasPrefix(fs.Mount, "/") {
				t.Errorf("file system %+v", fs)
			}
		}
		for _, s := range a.Signs.Value {
			if _, err := s.At.MarshalJSON(); err != nil {
				t.Errorf("time that cannot be stored: %v", err)
			}
		}
	})
}

func FuzzDiskFree(f *testing.F) {
	fuzzSection(f, "health", "space\t0", "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/a b 10 5 5 50% /mnt/x y\nudev 0 0 0 - /dev",
		"x 99999999999999999999 1 1 1% /", "x 9223372036854775807 1 -1 1% /")
}

func FuzzAgentLog(f *testing.F) { fuzzSection(f, "agent", "signs\tread\nlog\t/x", agentLog) }

func FuzzAgentConfig(f *testing.F) {
	fuzzSection(f, "agent", "config\tread\t/x", `{"Agent":{"Region":"r","UseDualStackEndpoint":true},"Mgs":{"Endpoint":"https://h/"}}`, "{", `{"Agent":7}`)
}

func FuzzSudoList(f *testing.F) {
	fuzzSection(f, "agent", "sudo\t0", "User ssm-user may run the following commands on h:\n    (ALL : ALL) NOPASSWD: ALL", "(root) PASSWD: ALL, NOPASSWD: /bin/id")
}

func FuzzDiagnostics(f *testing.F) {
	fuzzSection(f, "diagnostics", "said", `x {"DiagnosticsOutput":[{"Check":"a\u001b[m","Status":"Failed","Note":"n"}]}`+"\ncode 0", "code 124", "usage: ssm-cli\ncode 1")
}

func FuzzUnitFile(f *testing.F) {
	fuzzSection(f, "sshd", "config\t-T\n|port 22\nunit", "ExecStart=\nExecStart=/usr/sbin/sshd -D \\\n -o \"A %%u\" $X", `ExecStart="'"`, "ExecStart=\\")
}

func FuzzTimes(f *testing.F) {
	fuzzSection(f, "traces", "ansible\tu\t/x\ntimes", "1766656800 /x", "99999999999999 /x", "-1 /x")
}
