package cutover_test

import (
	"context"
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
