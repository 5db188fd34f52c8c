package tui

import (
	"fmt"
	"time"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/recovery"
)

var testPlace = fleet.Place{Account: testAccount, Region: testRegion}

// testRef is the i-th host of testFleet.
func testRef(i int) fleet.HostRef {
	h := testHost(i, testNow)
	return h.Ref()
}

// testPlan has a foundation, a canary of one host and a wave of four.
func testPlan() *plan.Plan {
	p := &plan.Plan{
		ID: "3f2a9c01d4e7", Digest: "3f2a9c01d4e7aaaa", Snapshot: 3, Made: testNow.Add(-time.Minute), Policy: plan.DefaultPolicy(),
		Refusals: []plan.Refusal{
			{Host: testRef(7), At: testPlace, Phase: plan.Prepare, Code: "excluded", Text: "the policy leaves it out: retired in March"},
			{Host: testRef(8), At: testPlace, Phase: plan.Quarantine, Code: "consumer-active", Text: "Ann still comes in over SSH", Do: "move Ann to Session Manager, or waive the key in the owners file"},
			{Host: testRef(9), At: testPlace, Phase: plan.Quarantine, Code: "consumer-active", Text: "Ann still comes in over SSH", Do: "move Ann to Session Manager, or waive the key in the owners file"},
			{Group: "sg-0bb", At: testPlace, Phase: plan.Close, Code: "member-stays", Text: "i-0legacy keeps its doors", Do: "see to i-0legacy"},
		},
	}
	p.Policy.Windows = []plan.Window{{Days: "mon-fri", From: "09:00", To: "16:30", Zone: "Europe/Berlin"}}
	base := plan.Wave{Number: 0, Name: "foundation", Steps: []plan.Step{
		{ID: "w0/prepare/role-batch/1-extend-role", Kind: plan.ExtendRole, Phase: plan.Prepare, Lane: "role-batch", At: testPlace, Title: "Let role batch open sessions",
			Why: "role-lacks-channel", Before: []string{"role batch: no inline policy migrate-session"}, After: []string{"role batch: inline policy migrate-session", "  allow ssmmessages:OpenDataChannel, …"}, Blast: "role shared by 12 hosts, 3 of them not in this plan"},
		{ID: "w0/prepare/recovery/1-recovery-group", Kind: plan.RecoveryGroup, Phase: plan.Prepare, Lane: "recovery", At: testPlace, Title: "Make recovery bastion migrate-recovery-vpc-0a1b2c3d4e5f60718",
			Recovery: &plan.RecoveryChange{VPC: "vpc-0a1b2c3d4e5f60718"}, After: []string{"Auto Scaling group migrate-recovery-vpc-0a1b2c3d4e5f60718, 0 instances"}},
	}}
	p.Waves = []plan.Wave{base, testWave(1, "canary", 0, 1), testWave(2, "wave 2", 1, 5)}
	return p
}

func testWave(number int, name string, from, to int) plan.Wave {
	w := plan.Wave{Number: number, Name: name, Soak: plan.Duration(30 * time.Minute)}
	add := func(ph plan.Phase, lane string, k plan.Kind, title string, hosts []fleet.HostRef, change func(*plan.Step)) {
		s := plan.Step{ID: fmt.Sprintf("w%d/%s/%s/%d-%s", number, ph, lane, len(w.Steps), k), Kind: k, Phase: ph, Lane: lane, At: testPlace, Hosts: hosts, Title: title, Blast: "this host only"}
		if change != nil {
			change(&s)
		}
		w.Steps = append(w.Steps, s)
	}
	timer := func(s *plan.Step) { s.Timer = &plan.TimerChange{After: plan.Duration(15 * time.Minute)} }
	for i := from; i < to; i++ {
		w.Hosts = append(w.Hosts, testRef(i))
	}
	for _, h := range w.Hosts {
		one := []fleet.HostRef{h}
		add(plan.Prepare, h.ID, plan.RecoveryKey, "Put the recovery key on "+h.ID, one, func(s *plan.Step) {
			s.After = []string{"/home/ops/.ssh/authorized_keys: ssh-ed25519 … migrate-recovery"}
			s.Warning = "its launch template brings it back without the key"
		})
	}
	for _, h := range w.Hosts {
		add(plan.Prove, h.ID, plan.ProveSession, "Prove a session on "+h.ID, []fleet.HostRef{h}, nil)
	}
	for _, h := range w.Hosts {
		one := []fleet.HostRef{h}
		add(plan.Quarantine, h.ID, plan.ArmHostTimer, "Arm a timer that puts the keys back on "+h.ID, one, timer)
		add(plan.Quarantine, h.ID, plan.QuarantineKeys, "Move the keys of "+h.ID+" aside", one, func(s *plan.Step) {
			s.Before = []string{"ann@laptop (ssh-ed25519) opens ops", "deploy@ci (ssh-ed25519) opens deploy", "ops shared 2019 (ssh-rsa) opens ops", "bob@old-laptop (ssh-rsa) opens bob", "restore (ssh-rsa) opens root"}
			s.After = []string{"only the recovery key stays"}
		})
		add(plan.Quarantine, h.ID, plan.DisarmHostTimer, "Disarm the timer on "+h.ID, one, timer)
	}
	if number == 2 {
		add(plan.Close, "sg-0aa", plan.ClosePort, "Close port 22 in sg-0aa (web)", w.Hosts, func(s *plan.Step) {
			s.Before, s.After, s.Blast = []string{"tcp 22 from 10.0.0.0/8"}, []string{"tcp 22 from the recovery bastion"}, "4 hosts"
			s.Rules = &plan.RuleChange{Group: "sg-0aa", Port: 22}
		})
	}
	return w
}

// history is a journal that the executor could have written.
type history struct {
	plan    *plan.Plan
	entries []cutover.Entry
	at      time.Time
}

func newHistory(p *plan.Plan, at time.Time) *history { return &history{plan: p, at: at} }

func (h *history) add(e cutover.Entry) *history {
	e.Seq, e.At, e.Plan, e.Digest, e.Operator = int64(len(h.entries)+1), h.at, h.plan.ID, h.plan.Digest, "arn:aws:iam::123456789012:user/ann (ann@laptop)"
	h.entries = append(h.entries, e)
	h.at = h.at.Add(time.Second)
	return h
}

func (h *history) run(command string) *history {
	return h.add(cutover.Entry{Event: cutover.RunBegan, Detail: command})
}

// step writes the events of a step, by wave and position.
func (h *history) step(wave, i int, events ...cutover.Event) *history {
	st := &h.plan.Waves[wave].Steps[i]
	for _, ev := range events {
		e := cutover.Entry{Wave: wave, Step: st.ID, Event: ev, Hosts: st.Hosts}
		switch ev {
		case cutover.Failed, cutover.Held, cutover.Unclear, cutover.UndoFailed:
			e.Detail = "the host gave no session: TargetNotConnected"
		default:
		}
		h.add(e)
	}
	return h
}

// wave writes all steps of a wave, but the last so many.
func (h *history) wave(wave, but int) *history {
	for i := range h.plan.Waves[wave].Steps {
		if i < len(h.plan.Waves[wave].Steps)-but {
			h.step(wave, i, cutover.Intended, cutover.Ours)
		}
	}
	return h
}

func (h *history) end(wave int) *history {
	return h.add(cutover.Entry{Wave: wave, Event: cutover.Gate, Detail: "soak", Result: fleet.TruthYes}).
		add(cutover.Entry{Wave: wave, Event: cutover.Gate, Detail: "end", Result: fleet.TruthYes})
}

// halfway stands within the quarantine of wave 2, with an armed timer.
func halfway(p *plan.Plan) *history {
	h := newHistory(p, testNow.Add(-5*time.Minute)).run("apply").wave(0, 0).end(0).wave(1, 0).end(1)
	for i := range 8 {
		h.step(2, i, cutover.Intended, cutover.Ours)
	}
	return h.step(2, 8, cutover.Intended, cutover.Ours).step(2, 9, cutover.Intended)
}

// doneHistory is a plan that has come to its end.
func doneHistory() *history {
	h := newHistory(testPlan(), testNow.Add(-10*time.Minute)).run("apply")
	for i := range h.plan.Waves {
		h.wave(i, 0).end(i)
	}
	return h.add(cutover.Entry{Wave: 2, Event: cutover.RunEnded, Detail: "done"})
}

// failedHistory is a wave that was rolled back, with a step that could not be.
func failedHistory() *history {
	h := newHistory(testPlan(), testNow.Add(-10*time.Minute)).run("apply").wave(0, 0).end(0)
	h.step(1, 0, cutover.Intended, cutover.Ours).step(1, 1, cutover.Intended, cutover.Failed).
		add(cutover.Entry{Wave: 1, Event: cutover.Note, Detail: "canary is rolled back: web-1 gave no session"}).
		step(1, 1, cutover.UndoBegan, cutover.Undone).step(1, 0, cutover.UndoBegan, cutover.UndoFailed)
	return h.add(cutover.Entry{Wave: 1, Event: cutover.RunEnded, Detail: "rolled back in part: canary: web-1 gave no session"})
}

// testCutover is a plan with a journal, and what else belongs to it.
func testCutover(p *plan.Plan, entries []cutover.Entry) *Cutover {
	policy := plan.DefaultPolicy()
	policy.Recovery.PublicKey, policy.Recovery.From = "ssh-ed25519 AAAAC3Nz migrate-recovery", []string{"198.51.100.0/24"}
	c := &Cutover{
		Plan: p, Entries: entries, Names: map[fleet.HostRef]string{}, Policy: policy,
		PolicyFile: "migrate-policy.yaml", PolicyThere: true, RecoveryKey: true,
	}
	vpc := recovery.VPC{VPC: "vpc-0a1b2c3d4e5f60718", Place: testPlace, Group: "migrate-recovery-vpc-0a1b2c3d4e5f60718", There: fleet.TruthYes, Zero: fleet.TruthYes}
	for i := range 6 {
		h := testHost(i, testNow)
		c.Names[h.Ref()] = h.Name()
		r := recovery.Host{Host: h.Ref(), Name: h.Name(), VPC: vpc.VPC, Key: fleet.TruthYes, Rule: fleet.TruthYes, Login: fleet.TruthYes, Proof: fleet.Proof{Host: h.Ref(), Way: fleet.WayRecovery, Works: fleet.TruthYes, At: testNow.Add(-time.Hour)}}
		switch i {
		case 4:
			r.Login, r.Why = fleet.TruthNo, "the last login failed: connection refused"
		case 5:
			r.Key, r.Rule, r.Login, r.Why, r.Proof = fleet.TruthUnknown, fleet.TruthNo, fleet.TruthUnknown, "no login by the recovery way yet", fleet.Proof{}
		}
		vpc.Hosts = append(vpc.Hosts, r)
	}
	vpc.Drill = &recovery.Drill{Place: testPlace, VPC: vpc.VPC, Plan: "4f65a26fb1db", At: testNow.Add(-time.Hour), Hosts: 3, Proved: 3,
		Launch: 65 * time.Second, Console: 90 * time.Second, Bastion: 2 * time.Second, Logins: 4 * time.Second, ScaleIn: 40 * time.Second}
	c.Keys = []fleet.RecoveryKey{{Line: policy.Recovery.PublicKey, Location: "age file /home/ops/recovery.age", Made: testNow.Add(-26 * time.Hour)}}
	c.Recovery = []recovery.VPC{vpc, {VPC: "vpc-0b", Place: testPlace, There: fleet.TruthNo}}
	return c
}
