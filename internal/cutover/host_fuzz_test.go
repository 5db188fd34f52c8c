package cutover_test

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"unicode/utf8"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// says is a host that answers every script with the same bytes.
type says []byte

func (s says) Run(_ context.Context, _ fleet.Host, way fleet.Way, _ fleet.Script) fleet.ScriptResult {
	return fleet.ScriptResult{Started: fleet.TruthYes, Ended: true, Way: way, Stdout: s}
}

func hostile(out []byte) (cutover.Kinds, plan.Step) {
	p := &plan.Plan{Digest: "d", Policy: plan.DefaultPolicy()}
	p.Policy.Recovery.PublicKey = "ssh-ed25519 AAAA"
	kinds := cutover.HostKinds(cutover.HostWorld{Hosts: says(out), Plan: p, Find: func(fleet.HostRef) (fleet.Host, bool) { return host, true }})
	return kinds, plan.Step{
		ID: "s", Phase: plan.Quarantine, Hosts: []fleet.HostRef{host.Ref()}, Keys: &plan.KeysChange{Keep: []string{"AAAA"}},
		Key: &plan.KeyChange{User: "u", Line: "ssh-ed25519 AAAA"}, Timer: &plan.TimerChange{After: plan.Duration(15 * 60e9)},
		Agent: &plan.AgentChange{Action: plan.InstallAgent, Floor: "3.1"},
	}
}

// Whatever a host answers, nothing breaks, and what is shown is one harmless line.
func FuzzHostAnswers(f *testing.F) {
	for _, seed := range []string{
		"", "migrate-host 1\ndone\n", "motd\nmigrate-host 1\nerror\tforeign\tx\ndone\n",
		"migrate-host 1\nfile\topen\t0\t0\t600\t1\tabc\t/root/.ssh/authorized_keys\ncount\t1\t1\t0\t0\t0\t0\nrecovery\tyes\t/x\ndone\n",
		"migrate-host 1\ncount\t1\t0\t1\t0\t1\t0\nrecovery\tno\t\x1b[31m\xff\nfired\t12 13 1 0 0\ndone\n",
		"migrate-host 1\ntimer\t99999999999\tsystemd\tlive\tx\nnow\t1\ndone\n", "migrate-host 1\nnow\t1\ndone\n",
		"migrate-host 1\nkey\tpresent\t1\tyes\tabc\tyes\t-\npath\t/x\ndone\n", "migrate-host 1\nagent\trpm\t3.3.1.0\tyes\tno\nresult\tx.done\ndone\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, out []byte) {
		kinds, s := hostile(out)
		for _, kind := range []plan.Kind{plan.Agent, plan.RecoveryKey, plan.ArmHostTimer, plan.QuarantineKeys, plan.DisarmHostTimer} {
			o, err := kinds[kind].Observe(t.Context(), s)
			if err != nil {
				o.Detail = err.Error()
			}
			if !utf8.ValidString(o.Detail) {
				t.Errorf("%s: %q", kind, o.Detail)
			}
			for _, r := range o.Detail {
				if r < ' ' || r >= 0x7f && r < 0xa0 {
					t.Errorf("%s: %q", kind, o.Detail)
					break
				}
			}
		}
	})
}

// answers are a host's answers by the name of the script.
type answers map[string]string

func (a answers) Run(_ context.Context, _ fleet.Host, way fleet.Way, s fleet.Script) fleet.ScriptResult {
	return fleet.ScriptResult{Started: fleet.TruthYes, Ended: true, Way: way, Stdout: []byte("migrate-host 1\n" + a[s.Name] + "done\n")}
}

// Without its before-images a host shows nothing saved. What counts then is
// whether its key files hold keys again.
func TestLostBeforeImagesAreNotAsBefore(t *testing.T) {
	const (
		none   = "count\t0\t0\t0\t0\t0\t0\nrecovery\tno\tx\n"
		open   = "file\topen\t0\t0\t600\t1\tabc\t/k\ncount\t2\t1\t0\t0\t0\t0\nrecovery\tyes\t/r\n"
		edited = "file\topen\t0\t0\t600\t9\tdef\t/k\ncount\t2\t1\t0\t0\t0\t0\nrecovery\tyes\t/r\n"
		other  = "file\topen\t0\t0\t600\t1\tabc\t/l\ncount\t2\t1\t0\t0\t0\t0\nrecovery\tyes\t/r\n"
		shut   = "count\t2\t0\t0\t0\t0\t0\nrecovery\tyes\t/r\n"

		before = `{"files":[{"path":"/k","state":"open","sum":"abc"}],"read":2,"open":1,"usable":true}`
		halves = `{"files":[{"path":"/k","state":"quarantined"},{"path":"/l","state":"original","sum":"abc"}],"read":2,"open":1,"saved":2,"closed":1,"original":1,"usable":true}`
		after  = `{"files":[{"path":"/k","state":"quarantined"}],"read":2,"saved":1,"closed":1,"usable":true}`
	)
	for _, tt := range []struct {
		name, before, after, now string
		want                     fleet.Truth
	}{
		{"quarantined", before, after, shut, fleet.TruthNo},
		{"quarantined, the answer was lost", before, "", shut, fleet.TruthNo},
		{"quarantined, another file holds keys", before, "", other, fleet.TruthNo},
		{"quarantined, other keys meanwhile", before, after, edited, fleet.TruthNo},
		{"half of it quarantined by a try before", halves, "", other, fleet.TruthNo},
		{"put back before they were lost", before, after, open, fleet.TruthYes},
		{"never begun", before, "", open, fleet.TruthYes},
		{"never begun, other keys meanwhile", before, "", edited, fleet.TruthYes},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &plan.Plan{Digest: "d", Policy: plan.DefaultPolicy()}
			p.Policy.Recovery.PublicKey = "ssh-ed25519 AAAA"
			w := answers{"restore-keys": "restore\t0\t0\t0\n", "observe-saved-keys": none, "observe-keys": tt.now}
			k := cutover.HostKinds(cutover.HostWorld{Hosts: w, Plan: p, Find: func(fleet.HostRef) (fleet.Host, bool) { return host, true }})[plan.QuarantineKeys]
			_, s := hostile(nil)
			if err := k.Undo(t.Context(), s, []byte(tt.before), []byte(tt.after), "token"); err != nil {
				t.Fatal(err)
			}
			o, err := k.Undone(t.Context(), s, []byte(tt.before), []byte(tt.after), "token")
			if err != nil || o.Holds != tt.want {
				t.Fatalf("%+v, %v; want %v", o, err, tt.want)
			}
			if tt.want == fleet.TruthNo && (!strings.Contains(o.Detail, "before-images are missing") || !strings.Contains(o.Detail, "by hand")) {
				t.Errorf("the detail says not what to do: %s", o.Detail)
			}
		})
	}
}

// A job of at's is known by the number that begins its line, not by one in its time.
func TestJobOfAtIsFoundByItsNumber(t *testing.T) {
	const script = `NL='
' DEF=" 	$NL"
atq() { printf '12\tWed Nov 18 09:20:00 2026 a root\n7\tThu Nov 19 10:20:00 2026 a root\n'; }
. scripts/timer.sh
alive 1 at "$1" && echo alive || echo dead`
	for job, want := range map[string]string{"12": "alive", "7": "alive", "18": "dead", "2026": "dead", "1": "dead", "-": "dead"} {
		if out, err := exec.Command("sh", "-c", script, "sh", job).CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("job %s: %s, %v; want %s", job, out, err, want)
		}
	}
}

// An answer that is not whole, or contradicts itself, is not known: never yes or no.
func TestHalfAnswersAreUnknown(t *testing.T) {
	for _, out := range []string{
		"", "done\n", "migrate-host 1\n", "migrate-host 1\ncount\t1\t0\t0\t0\t0\t0\nrecovery\tyes\t/x\n",
		"migrate-host 1\ncount\t1\t0\t5\t0\t0\t0\nrecovery\tyes\t/x\ndone\n", "migrate-host 1\ncount\tmany\ndone\n",
		"migrate-host 1\ncount\t1\t0\t0\t0\t0\t0\nfile\topen\ndone\n", "migrate-host 2\ncount\t1\t0\t0\t0\t0\t0\nrecovery\tyes\t/x\ndone\n",
		"migrate-host 1\nerror\tsshd\tsshd -T says nothing\ndone\n",
	} {
		kinds, s := hostile([]byte(out))
		for _, kind := range []plan.Kind{plan.Agent, plan.RecoveryKey, plan.ArmHostTimer, plan.QuarantineKeys, plan.DisarmHostTimer} {
			if o, err := kinds[kind].Observe(t.Context(), s); err == nil {
				t.Errorf("%s: %q is taken for %+v", kind, out, o)
			}
		}
	}
}
