package awsapi_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/inventory"
)

var _ inventory.Prober = (*awsapi.Prober)(nil)

// newProber makes a prober whose service gives each script to answer.
func newProber(t *testing.T, script string, answer func(script string) string) (*awsapi.Prober, *systemsManager) {
	t.Helper()
	s := &systemsManager{looks: map[string]int{}, status: func(string, int) string { return "Success" }}
	s.result = func(string) (int, string, string) {
		out := answer(s.params[len(s.params)-1])
		return 0, out[:min(len(out), 24_000)], "" // as the service cuts
	}
	account := serve(t, s, awsapi.Access{}, awsapi.Options{})
	return awsapi.NewProber(func(fleet.Host) string { return script }, time.Minute, account), s
}

// noise is text that cannot be packed much.
func noise(n int) string {
	r := rand.NewChaCha8([32]byte{7})
	raw := make([]byte, n)
	_, _ = r.Read(raw)
	return base64.StdEncoding.EncodeToString(raw)[:n]
}

// TestAnswerComesWholeWhateverItsLength runs the scripts in this machine's shell.
func TestAnswerComesWholeWhateverItsLength(t *testing.T) {
	for _, tc := range []struct {
		name     string
		want     string
		commands int
	}{
		{"nothing", "", 1},
		{"short", "one line\n\ttwo lines", 1},
		{"long, and packs well", strings.Repeat("the same again and again\n", 20_000), 1},
		{"long, and does not", noise(60_000), 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			script := fmt.Sprintf("base64 -d <<'END'\n%s\nEND\nexit 0\n", base64.StdEncoding.EncodeToString([]byte(tc.want)))
			p, s := newProber(t, script, func(script string) string {
				cmd := exec.CommandContext(t.Context(), "sh", "-s")
				cmd.Stdin = strings.NewReader(script)
				var errs bytes.Buffer
				cmd.Stderr = &errs
				out, err := cmd.Output()
				if err != nil {
					t.Errorf("the script: %v: %s", err, &errs)
				}
				return string(out)
			})
			before := keptFolders(t)
			out, err := p.Probe(t.Context(), instance("i-1"))
			if err != nil {
				t.Fatal(err)
			}
			if string(out.Stdout) != tc.want || out.Truncated || out.Way != fleet.WaySessionManager {
				t.Errorf("%d bytes came (cut: %v, by %q), want %d", len(out.Stdout), out.Truncated, out.Way, len(tc.want))
			}
			if len(s.sent) != tc.commands {
				t.Errorf("it took %d commands, want %d", len(s.sent), tc.commands)
			}
			if after := keptFolders(t); !slices.Equal(after, before) {
				t.Errorf("left behind: %v", after)
			}
		})
	}
}

func keptFolders(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, dir := range []string{"/run", "/dev/shm", "/tmp"} {
		found, err := filepath.Glob(dir + "/migrate-probe.*")
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, found...)
	}
	return out
}

func TestHostileAnswerIsRefused(t *testing.T) {
	plain := base64.StdEncoding.EncodeToString([]byte("so far"))
	for _, tc := range []struct{ name, answer, more, want, kept string }{
		{"no answer of the probe", "Welcome!\n", "", "something other than the probe", ""},
		{"a size that is no number", "migrate-answer 1\tplain\t-8\t-\nc28=\n", "", "not understood", ""},
		{"a folder that is a command", "migrate-answer 1\tplain\t99999\t/tmp/migrate-probe.x';reboot;'\n" + plain, "", "where it should not be", ""},
		{"a folder elsewhere", "migrate-answer 1\tplain\t99999\t/tmp/migrate-probe.../etc\n" + plain, "", "where it should not be", ""},
		{"no base64", "migrate-answer 1\tplain\t8\t-\n{{{{{{{{\n", "", "unpack", ""},
		{"no gzip", "migrate-answer 1\tgzip\t8\t-\n" + plain + "\n", "", "unpack", ""},
		{"a part that is too short", "migrate-answer 1\tplain\t30000\t/run/migrate-probe.x\n" + plain, plain, "part 2 of 2", "so far"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			answers := []string{tc.answer, tc.more}
			p, _ := newProber(t, "exit 0", func(string) string {
				next := answers[0]
				answers = answers[1:]
				return next
			})
			out, err := p.Probe(t.Context(), instance("i-1"))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
			if string(out.Stdout) != tc.kept {
				t.Errorf("output %q, want %q", out.Stdout, tc.kept)
			}
		})
	}
}

func TestHostThatIsNotOnlineIsNotAsked(t *testing.T) {
	p, s := newProber(t, "exit 0", func(string) string { return "" })
	s.offline = map[string]bool{"i-1": true}
	_, err := p.Probe(t.Context(), instance("i-1"))
	if err == nil || !strings.Contains(err.Error(), "by Run Command: Systems Manager lists the instance as ConnectionLost") || len(s.sent) > 0 {
		t.Errorf("error %v after %d commands", err, len(s.sent))
	}
}

// TestProbeFitsIntoACommand: a command's document and parameters have a limit, of
// which 64 KB and 50 KB are told.
func TestProbeFitsIntoACommand(t *testing.T) {
	p, s := newProber(t, inventory.Script(instance("i-1")), func(string) string { return "migrate-answer 1\tplain\t0\t-\n\n" })
	if _, err := p.Probe(t.Context(), instance("i-1")); err != nil {
		t.Fatal(err)
	}
	if n := len(s.params[0]); n > 48_000 {
		t.Errorf("the probe for Run Command has %d bytes", n)
	}
}
