package cutover

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

var (
	driftPlace = fleet.Place{Account: "111122223333", Region: "eu-west-1"}
	driftSince = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
)

func driftRef(id string) fleet.HostRef {
	return fleet.HostRef{Account: driftPlace.Account, Region: driftPlace.Region, ID: id}
}

func tcp22(from string) fleet.Rule {
	return fleet.Rule{ID: "sgr-" + from, Protocol: "tcp", From: 22, To: 22, CIDR: netip.MustParsePrefix(from)}
}

// codes are the items in short: "code what", and "?" where nobody knows.
func codes(items []DriftItem) []string {
	out := []string{}
	for _, i := range items {
		text := string(i.Code) + " " + i.What
		if i.Holds == fleet.TruthUnknown {
			text += " ?"
		}
		out = append(out, text)
	}
	return out
}

func wantCodes(t *testing.T, items []DriftItem, want ...string) {
	t.Helper()
	if got := codes(items); !slices.Equal(got, want) {
		t.Errorf("%q, want %q (%+v)", got, want, items)
	}
}

func TestJudgeDoor(t *testing.T) {
	e := expected{step: plan.Step{ID: "close", Kind: plan.ClosePort, At: driftPlace, Title: "Close", Rules: &plan.RuleChange{Group: "sg-1"}}, since: driftSince}
	closedDoor := door{group: "sg-1", port: 22, kept: true}
	with := func(change func(*door)) door { d := closedDoor; change(&d); return d }
	for _, tt := range []struct {
		name string
		door door
		err  error
		want []string
	}{
		{"as it was left", closedDoor, nil, nil},
		{"a planned rule", with(func(d *door) { d.open = []fleet.Rule{tcp22("10.0.0.0/8")} }), nil, []string{"port-open sg-1"}},
		{"a strange rule", with(func(d *door) { d.strange = []fleet.Rule{tcp22("0.0.0.0/0")} }), nil, []string{"port-open sg-1"}},
		{"both", with(func(d *door) {
			d.open, d.strange = []fleet.Rule{tcp22("10.0.0.0/8")}, []fleet.Rule{tcp22("0.0.0.0/0")}
		}), nil, []string{"port-open sg-1"}},
		{"a stand-in gone", with(func(d *door) { d.lacking = []fleet.Rule{tcp22("10.0.0.0/8")} }), nil, []string{"rule-gone sg-1"}},
		{"recovery shut out", with(func(d *door) { d.kept = false }), nil, []string{"recovery-rule sg-1"}},
		{"the group gone", door{group: "sg-1"}, fmt.Errorf("read: %w", fleet.ErrNotFound), []string{"group-gone sg-1"}},
		{"throttled", door{group: "sg-1"}, errors.New("throttled"), []string{"port-open sg-1 ?"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			items := judgeDoor(e, tt.door, tt.err)
			wantCodes(t, items, tt.want...)
			for _, i := range items {
				if i.Since != driftSince || i.Was != "Close" || i.Steps[0] != "close" {
					t.Errorf("%+v", i)
				}
				if i.Code == DriftPortOpen && i.Holds == fleet.TruthNo && len(i.Rules) != len(tt.door.open)+len(tt.door.strange) {
					t.Errorf("rules %v", i.Rules)
				}
			}
		})
	}
}

func TestJudgeSizes(t *testing.T) {
	e := expected{step: plan.Step{ID: "in", Kind: plan.ScaleIn, At: driftPlace, Scaling: &plan.ScalingChange{Group: "bastions", Max: 3}}}
	for _, tt := range []struct {
		name string
		g    fleet.ScalingGroup
		err  error
		want []string
	}{
		{"at zero", fleet.ScalingGroup{Max: 3}, nil, nil},
		{"smaller still", fleet.ScalingGroup{}, nil, nil},
		{"deleted", fleet.ScalingGroup{}, fleet.ErrNotFound, nil},
		{"out again", fleet.ScalingGroup{Desired: 1, Max: 3}, nil, []string{"bastions-back bastions"}},
		{"about to be", fleet.ScalingGroup{Min: 1, Max: 3}, nil, []string{"bastions-back bastions"}},
		{"denied", fleet.ScalingGroup{}, errors.New("denied"), []string{"bastions-back bastions ?"}},
	} {
		t.Run(tt.name, func(t *testing.T) { wantCodes(t, judgeSizes(e, tt.g, tt.err), tt.want...) })
	}
}

func TestJudgeObserved(t *testing.T) {
	steps := map[string]plan.Step{
		"profile i-1":                      {Kind: plan.AttachProfile, Hosts: []fleet.HostRef{driftRef("i-1")}, Profile: &plan.ProfileChange{Name: "p"}},
		"role app":                         {Kind: plan.ExtendRole, Role: &plan.RoleChange{Name: "app"}},
		"default-role eu-west-1":           {Kind: plan.DefaultHostManagement, Setting: &plan.SettingChange{}},
		"rule-gone sg-1":                   {Kind: plan.AllowEgress, Rules: &plan.RuleChange{Group: "sg-1"}},
		"recovery-rule sg-1":               {Kind: plan.RecoveryRule, Rules: &plan.RuleChange{Group: "sg-1"}},
		"endpoint vpc-1":                   {Kind: plan.CreateEndpoint, Endpoint: &plan.EndpointChange{VPC: "vpc-1"}},
		"preferences eu-west-1":            {Kind: plan.SessionPreferences, Preferences: &plan.PreferencesChange{}},
		"recovery-group migrate-recovery-": {Kind: plan.RecoveryGroup, Recovery: &plan.RecoveryChange{Name: "migrate-recovery-"}},
	}
	for want, s := range steps {
		s.ID, s.At = "s", driftPlace
		e := expected{step: s}
		wantCodes(t, judgeObserved(e, Observation{Holds: fleet.TruthYes}, nil))
		wantCodes(t, judgeObserved(e, Observation{Holds: fleet.TruthNo}, nil), want)
		wantCodes(t, judgeObserved(e, Observation{}, nil), want+" ?")
		wantCodes(t, judgeObserved(e, Observation{}, errors.New("throttled")), want+" ?")
		wantCodes(t, judgeObserved(e, Observation{}, fmt.Errorf("look: %w", ErrStale)), want)
		wantCodes(t, judgeObserved(e, Observation{}, fmt.Errorf("look: %w", ErrForeign)), want)
	}
}

const driftHead = hostHeader + "\n"

func TestJudgeHost(t *testing.T) {
	step := func(k plan.Kind) *expected {
		return &expected{step: plan.Step{ID: string(k), Kind: k, At: driftPlace, Hosts: []fleet.HostRef{driftRef("i-1")}, Agent: &plan.AgentChange{Floor: "3.3.4"}}, since: driftSince}
	}
	full := func() *hostExpectation {
		rule := *step(plan.RecoveryRule)
		rule.step.Rules = &plan.RuleChange{Group: "sg-1"}
		return &hostExpectation{
			host: fleet.Host{ID: "i-1", Account: driftPlace.Account, Region: driftPlace.Region}, any: *step(plan.QuarantineKeys),
			session: step(plan.ProveSession), keys: step(plan.QuarantineKeys), key: step(plan.RecoveryKey), timer: step(plan.DisarmHostTimer), agent: step(plan.Agent),
			port: step(plan.ClosePort), rules: []expected{rule},
		}
	}
	const (
		timers = "now\t1000\n"
		agent  = "agent\trpm\t3.3.4851.0\tyes\tyes\n"
		files  = "count\t3\t0\t2\t2\t0\t0\nrecovery\tyes\t/home/u/.ssh/authorized_keys\n"
		key    = "key\tpresent\t1\tyes\tabc\tyes\t-\npath\t/home/u/.ssh/authorized_keys\n"
	)
	for _, tt := range []struct {
		name   string
		answer string
		change func(*hostSight)
		want   []string
	}{
		{"all well", timers + agent + files + key, nil, nil},
		{"terminated", "", func(s *hostSight) { s.listed, s.linked = fleet.TruthNo, fleet.TruthNo }, []string{"host-gone i-1"}},
		{"stopped", "", func(s *hostSight) { s.now.State, s.linked = "stopped", fleet.TruthNo }, []string{"unseen i-1 ?"}},
		{"not listed", timers + agent + files + key, func(s *hostSight) { s.listed, s.now.State = fleet.TruthUnknown, "" }, nil},
		{"agent lost", "", func(s *hostSight) { s.linked, s.asked = fleet.TruthNo, false }, []string{"session-lost i-1"}},
		{"connection unknown", timers + agent + files + key, func(s *hostSight) { s.linked = fleet.TruthUnknown }, []string{"session-lost i-1 ?"}},
		{"silent", "", func(s *hostSight) { s.answer, s.err = nil, errors.New("no answer") }, []string{"unseen i-1 ?"}},
		{"keys", timers + agent + "count\t3\t1\t2\t1\t0\t1\nfile\tforeign\t0\t0\t600\t1\tabc\t/root/k\nrecovery\tyes\t/x\n" + key, nil, []string{"keys-back i-1"}},
		{"fired", "fired\t900 800 2 0 0\n" + timers + agent + "count\t3\t2\t2\t0\t2\t0\nrecovery\tyes\t/x\nfired\t900 800 2 0 0\n" + key, nil, []string{"host-timer-fired i-1"}},
		{"armed", "timer\t1600\tsystemd\tlive\tunit\n" + timers + agent + files + key, nil, []string{"host-timer-armed i-1"}},
		{"armed but dead", "timer\t1600\tsh\tdead\t77\n" + timers + agent + files + key, nil, []string{"host-timer-armed i-1"}},
		{"agent older", timers + "agent\trpm\t3.2.0\tyes\tyes\n" + files + key, nil, []string{"agent i-1"}},
		{"agent disabled", timers + "agent\trpm\t3.3.4851.0\tyes\tno\n" + files + key, nil, []string{"agent i-1"}},
		{"agent not told", timers + "agent\trpm\t3.3.4851.0\tunknown\tyes\n" + files + key, nil, []string{"agent i-1 ?"}},
		{"recovery key in another line", timers + agent + files + "key\tother\t1\tyes\tabc\tyes\t-\npath\t/x\n", nil, []string{"recovery-key i-1"}},
		{"recovery key ignored", timers + agent + "count\t3\t0\t2\t2\t0\t0\nrecovery\tno\t/x can be written by others\n" + "key\tpresent\t1\tno\tabc\tyes\t/x can be written by others\npath\t/x\n", nil, []string{"recovery-key i-1", "recovery-key i-1"}},
		{"the account gone", timers + agent + files + "error\taccount\tthere is no account u\n", nil, []string{"recovery-key i-1"}},
		{"sshd gone", timers + agent + "error\tsshd\tthere is no OpenSSH server\n", nil, []string{"unseen i-1 ?"}},
		{"not root", "error\troot\tthe script runs as user 1000, not as root\n", nil, []string{"unseen i-1 ?", "unseen i-1 ?"}},
		{"odd answer", timers + agent + "count\t1\t1\t5\t0\t0\t0\n" + key, nil, []string{"unseen i-1 ?"}},
		{"another group", timers + agent + files + key, func(s *hostSight) {
			s.doors = []otherDoor{{group: "sg-2", open: []fleet.Rule{tcp22("0.0.0.0/0")}}, {group: "sg-3", err: errors.New("denied")}}
		}, []string{"other-group-open sg-2", "other-group-open sg-3 ?"}},
		{"without its group", timers + agent + files + key, func(s *hostSight) { s.now.Groups = []string{"sg-9"} }, []string{"recovery-rule i-1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := hostSight{listed: fleet.TruthYes, now: fleet.Host{ID: "i-1", State: "running", Groups: []string{"sg-1"}}, linked: fleet.TruthYes, asked: true}
			s.answer, s.err = parseAnswer([]byte(driftHead + tt.answer + hostEnd + "\n"))
			if tt.change != nil {
				tt.change(&s)
			}
			wantCodes(t, judgeHost(full(), s), tt.want...)
		})
	}
}

// What a run touches while the check looks is not judged, and what several steps say of one
// thing is said once.
func TestSettleItems(t *testing.T) {
	item := func(code DriftCode, what, step string, holds fleet.Truth, hosts ...string) DriftItem {
		i := DriftItem{Code: code, What: what, Steps: []string{step}, Holds: holds, Since: driftSince, At: driftPlace}
		for _, h := range hosts {
			i.Hosts = append(i.Hosts, driftRef(h))
		}
		return i
	}
	before := map[string]record{"a": {seq: 1}, "b": {seq: 2}, "c": {seq: 3}}
	after := map[string]record{"a": {seq: 1}, "b": {seq: 9}, "c": {seq: 3}}
	got := settleItems([]DriftItem{
		item(DriftUnseen, "i-9", "a", fleet.TruthUnknown),
		item(DriftPortOpen, "sg-1", "b", fleet.TruthNo),
		item(DriftOtherGroupOpen, "sg-2", "c", fleet.TruthUnknown, "i-2"),
		item(DriftOtherGroupOpen, "sg-2", "a", fleet.TruthNo, "i-1"),
		item(DriftRecoveryUp, "r", "c", fleet.TruthNo),
	}, before, after, "ops")
	wantCodes(t, got, "other-group-open sg-2", "recovery-group-up r ?", "unseen i-9 ?")
	if i := got[0]; !slices.Equal(i.Hosts, []fleet.HostRef{driftRef("i-1"), driftRef("i-2")}) || !slices.Equal(i.Steps, []string{"a", "c"}) {
		t.Errorf("joined: %+v", i)
	}
	for _, tt := range []struct {
		items []DriftItem
		want  fleet.Truth
	}{{got, fleet.TruthNo}, {got[1:], fleet.TruthUnknown}, {nil, fleet.TruthYes}} {
		if holds := (DriftReport{Items: tt.items}).Holds(); holds != tt.want {
			t.Errorf("%v: holds %v, want %v", codes(tt.items), holds, tt.want)
		}
	}
}

// Only what is done counts; a timer counts as disarmed only after it was armed last.
func TestExpect(t *testing.T) {
	h := []fleet.HostRef{driftRef("i-1")}
	p := &plan.Plan{
		Refusals: []plan.Refusal{{Group: "sg-open", At: driftPlace, Phase: plan.Close}},
		Waves: []plan.Wave{{Hosts: h, Steps: []plan.Step{
			{ID: "arm", Kind: plan.ArmHostTimer, Phase: plan.Quarantine, Lane: "i-1", Hosts: h, At: driftPlace},
			{ID: "keys", Kind: plan.QuarantineKeys, Phase: plan.Quarantine, Lane: "i-1", Hosts: h, At: driftPlace},
			{ID: "prove", Kind: plan.ProveSession, Phase: plan.Quarantine, Lane: "i-1", Hosts: h, At: driftPlace},
			{ID: "disarm", Kind: plan.DisarmHostTimer, Phase: plan.Quarantine, Lane: "i-1", Hosts: h, At: driftPlace},
			{ID: "close", Kind: plan.ClosePort, Phase: plan.Close, Lane: "sg-1", Hosts: h, At: driftPlace, Rules: &plan.RuleChange{Group: "sg-1"}},
		}}},
	}
	known := map[fleet.HostRef]fleet.Host{h[0]: {ID: "i-1", Account: driftPlace.Account, Region: driftPlace.Region, VPC: "vpc-1", AutoScalingGroup: "web"}}
	all := func(state State) map[string]record {
		out := map[string]record{}
		for i, s := range p.Waves[0].Steps {
			out[s.ID] = record{state: state, seq: int64(i + 1), since: driftSince}
		}
		return out
	}
	for _, state := range []State{StateNew, StateIntended, StateFailed, StateUnclear, StateUndoing, StateUndoFailed, StateUndone} {
		if x := expect(p, known, all(state)); x.steps != 0 || len(x.hosts) != 0 || len(x.shared) != 0 {
			t.Errorf("%s: %+v", state, x)
		}
	}
	x := expect(p, known, all(StateOurs))
	if e := x.hosts[h[0]]; x.steps != 4 || e.keys == nil || e.timer == nil || e.session == nil || e.port == nil || len(x.shared) != 1 {
		t.Errorf("done: %+v", x)
	}
	if !x.spoken[groupAt{driftPlace, "sg-open"}] || !x.spoken[groupAt{driftPlace, "sg-1"}] || x.spoken[groupAt{driftPlace, "sg-2"}] {
		t.Errorf("spoken of: %v", x.spoken)
	}
	again := all(StateFound)
	again["arm"] = record{state: StateOurs, seq: 99}
	if x := expect(p, known, again); x.hosts[h[0]].timer != nil || x.hosts[h[0]].keys == nil {
		t.Errorf("armed again: %+v", x.hosts[h[0]])
	}
	near := x.neighbours()
	for _, tt := range []struct {
		name string
		host fleet.Host
		want bool
	}{
		{"known", known[h[0]], false},
		{"in the VPC", fleet.Host{ID: "i-2", Account: driftPlace.Account, Region: driftPlace.Region, VPC: "vpc-1"}, true},
		{"in the group", fleet.Host{ID: "i-2", Account: driftPlace.Account, Region: driftPlace.Region, VPC: "vpc-2", AutoScalingGroup: "web"}, true},
		{"elsewhere", fleet.Host{ID: "i-2", Account: driftPlace.Account, Region: driftPlace.Region, VPC: "vpc-2"}, false},
		{"another Region", fleet.Host{ID: "i-2", Account: driftPlace.Account, Region: "us-east-1", VPC: "vpc-1"}, false},
		{"Windows", fleet.Host{ID: "i-2", Account: driftPlace.Account, Region: driftPlace.Region, VPC: "vpc-1", Platform: "Windows"}, false},
		{"recovery bastion", fleet.Host{ID: "i-2", Account: driftPlace.Account, Region: driftPlace.Region, VPC: "vpc-1", AutoScalingGroup: plan.RecoveryName("vpc-1")}, false},
	} {
		if got := near(tt.host); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
}

// No type that a check looks through has a method that changes something.
func TestDriftPortsOnlyRead(t *testing.T) {
	changes := []string{"Create", "Delete", "Set", "Put", "Attach", "Detach", "Associate(", "Disassociate", "Authorize", "Revoke", "Add", "Append", "Run", "Apply", "Undo"}
	for _, port := range []reflect.Type{reflect.TypeFor[DriftWorld](), reflect.TypeFor[HostLooks](), reflect.TypeFor[Look]()} {
		for m := range port.Methods() {
			if slices.ContainsFunc(changes, func(c string) bool { return strings.HasPrefix(m.Name+"(", c) }) {
				t.Errorf("%v.%s", port, m.Name)
			}
		}
	}
}

// Every step kind, applied and undone through what a check lends it, changes nothing.
func TestReadOnlyRefusesEveryChange(t *testing.T) {
	lent := reflect.ValueOf(readOnly{})
	reads := reflect.TypeFor[AWSReader]()
	n := 0
	for m := range reflect.TypeFor[AWS]().Methods() {
		if _, reads := reads.MethodByName(m.Name); reads {
			continue
		}
		call := lent.MethodByName(m.Name)
		args := []reflect.Value{reflect.ValueOf(context.Background())}
		for i := 1; i < call.Type().NumIn(); i++ {
			args = append(args, reflect.Zero(call.Type().In(i)))
		}
		results := call.Call(args)
		if err, _ := results[len(results)-1].Interface().(error); !errors.Is(err, errReadOnly) {
			t.Errorf("%s: %v", m.Name, err)
		}
		n++
	}
	if n < 20 {
		t.Errorf("only %d changes were tried", n)
	}
}

// What a host is asked calls functions that observe, and no others.
func TestLooksOnlyObserve(t *testing.T) {
	h := &hostSide{HostWorld: HostWorld{Plan: &plan.Plan{}}}
	script := h.driftLook(nil, observeTimer, observeAgent, observeKeys, observeKey).Script()
	_, main, ok := strings.Cut(script.Text, "\nmain() {\n")
	if !ok || strings.Count(script.Text, "\nobserve_keys() {") != 1 {
		t.Fatalf("the script has no main, or a part twice:\n%s", script.Text)
	}
	for line := range strings.Lines(main) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "observe_") && !slices.Contains([]string{"printf '" + hostHeader + `\n'`, "say 'done'", "}", "main </dev/null", "exit 0"}, line) {
			t.Errorf("main does %q", line)
		}
	}
}
