package tui

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/inventory"
	"ssm-migrate/internal/plan"
)

// sgr is the only escape sequence that our own styles make.
var sgr = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// hostileText tries to move the cursor, set the title, write to the clipboard,
// start a new line, turn the direction, hide and join characters.
const hostileText = "a\x1b[2J\x1b]0;owned\x07\x1b]52;c;b3duZWQ=\x1b\\b\r\nc\x00\x9b31m\u202egpj\u2066\u200b\u00ad\U0001f1e9\U0001f1ea\U0001f44d\U0001f3fd한글\xff\x1bP\x90"

// hostileTexts are what foreign texts are made of in turn.
var hostileTexts = map[string]string{
	"escapes": hostileText,
	"wide":    strings.Repeat("한東京", 40) + "é́́́ ☂️ 👩‍👩‍👧 " + strings.Repeat("z̸̡̢̧", 50),
	"long":    strings.Repeat("A-very-long-name.", 30) + strings.Repeat(" and words", 30),
	"blank":   " \u00a0\u3000\t \u200b\u2060 ",
}

func mustBeHarmless(t *testing.T, where, content string) {
	t.Helper()
	for i, r := range sgr.ReplaceAllString(content, "") {
		if r != '\n' && unicode.IsControl(r) || isBidi(r) || r == utf8.RuneError && !strings.HasPrefix(sgr.ReplaceAllString(content, "")[i:], "\uFFFD") {
			t.Fatalf("%s: the screen has %U at byte %d", where, r, i)
		}
	}
}

// poisoned is a fleet in which every foreign text is hostile.
func poisoned(bad string) (*fleet.Snapshot, *fleet.Assessment) {
	snap, judged := testFleet(12)
	for i := range snap.Hosts {
		h := &snap.Hosts[i]
		h.Tags = map[string]string{"Name": bad, bad: bad}
		for _, p := range []*string{&h.AZ, &h.State, &h.Architecture, &h.Platform, &h.ImageID, &h.InstanceType, &h.VPC, &h.Subnet, &h.PrivateDNS, &h.ProfileARN, &h.AutoScalingGroup, &h.KeyName, &h.Metadata.Endpoint, &h.Metadata.Tokens, &h.LaunchTemplate.ID, &h.Account} {
			*p = bad
		}
		h.Groups = []string{bad}
		h.Node.Value.AgentVersion, h.Node.Value.PingStatus, h.Node.Value.PlatformName, h.Node.Value.Association = bad, bad, bad, bad
		if i%3 == 0 {
			h.Node = fleet.Unknown[fleet.Node](bad, testNow, bad)
		}
		h.Connection = fleet.Unknown[string](bad, testNow, bad)
		poisonProbe(&h.Probe, bad)
	}
	for i := range judged.Hosts {
		if judged.Hosts[i].Cause != "" {
			judged.Hosts[i].Cause = bad
		}
	}
	for i := range judged.Findings {
		f := &judged.Findings[i]
		f.Code, f.Object, f.Title, f.Fix, f.Blast = bad, bad, bad, bad, bad
		for j := range f.Evidence {
			f.Evidence[j].Fact, f.Evidence[j].Source = bad, bad
		}
	}
	poisonPeople(judged, bad)
	r := &snap.Regions[0]
	r.Account, r.Name, r.Label = bad, bad, bad
	r.Endpoints = fleet.Unknown[[]fleet.VPCEndpoint](bad, testNow, bad)
	return snap, judged
}

func poisonPeople(judged *fleet.Assessment, bad string) {
	all := []string{bad}
	for i := range judged.Ledger.Consumers {
		c := &judged.Ledger.Consumers[i]
		c.Owner, c.OwnerBy, c.Principals, c.Method, c.Fingerprint, c.KeyType, c.Comment, c.User, c.Why = bad, bad, all, bad, bad, bad, bad, bad, bad
		c.Use = fleet.Use(bad)
		if c.Waiver != nil {
			c.Waiver.By, c.Waiver.Why = bad, bad
		}
	}
	for i := range judged.Parity.People {
		p := &judged.Parity.People[i]
		p.Person, p.Principals, p.Keys = bad, all, all
	}
	for i := range judged.Operators {
		o := &judged.Operators[i]
		o.ARN, o.Kind, o.People, o.Documents, o.Why = bad, bad, all, all, bad
	}
	for i := range judged.Paths {
		p := &judged.Paths[i]
		p.Service, p.Name, p.Endpoint = bad, bad, bad
		for j := range p.Hops {
			p.Hops[j].Kind, p.Hops[j].Object, p.Hops[j].Text = bad, bad, bad
		}
	}
}

func poisonProbe(f *fleet.Fact[fleet.Probe], bad string) {
	f.Reason = bad
	p := &f.Value
	p.LoginUser, p.Via, p.Hostname = bad, []string{bad}, bad
	p.OS = fleet.OS{ID: bad, Version: bad, Name: bad, Kernel: bad, Arch: bad}
	p.SSHD.Value.Version = bad
	p.SSHD.Value.Settings = map[string][]string{"authorizedkeysfile": {bad}}
	p.Agent.Value = fleet.HostAgent{Installed: true, Path: bad, Package: bad, Version: bad, Unit: bad, Active: bad, Enabled: bad}
	for i := range p.Endpoints.Value {
		p.Endpoints.Value[i].Service, p.Endpoints.Value[i].Issuer, p.Endpoints.Value[i].Detail = bad, bad, bad
	}
	p.Logins.Value.Source = bad
	for i := range p.Logins.Value.Logins {
		p.Logins.Value.Logins[i].User = bad
	}
	p.Sessions.Value = []fleet.Session{{User: bad, TTY: bad, From: bad}}
	p.Gaps = []fleet.Gap{{What: bad, Reason: bad}}
	for i := range p.Keys.Value {
		k := &p.Keys.Value[i]
		k.User, k.File, k.Type, k.Comment, k.Options, k.Problem = bad, bad, bad, bad, []string{bad}, bad
		if i > 0 {
			k.Fingerprint = bad
		}
	}
}

func TestHostileTextDoesNotReachTheTerminal(t *testing.T) {
	if testing.Short() {
		t.Skip("nothing runs side by side here")
	}
	for name, bad := range hostileTexts {
		t.Run(name, func(t *testing.T) { hostileScreens(t, bad) })
	}
}

func hostileScreens(t *testing.T, bad string) {
	t.Helper()
	snap, judged := poisoned(bad)
	w := &world{snap: snap, judged: judged, report: bad}
	d := newDriver(t, w, 120, 40, Options{})
	check := func(keys ...string) {
		t.Helper()
		d.press(keys...)
		mustBeHarmless(t, strings.Join(keys, " "), d.m.View().Content)
		for i, l := range strings.Split(d.m.View().Content, "\n") {
			if got := ansi.StringWidthWc(l); got != 120 {
				t.Errorf("after %v line %d is %d cells wide to a terminal that counts runes", keys, i+1, got)
			}
		}
	}
	for range 3 {
		check("enter")
		check("esc", "down")
	}
	check("2")
	for range 12 {
		check("down")
	}
	check("enter")
	check("esc", "f", "end", "enter")
	for range 14 {
		check("pgdown")
	}
	for range 11 {
		check("n", "end")
	}
	check("esc", "2", "home", "enter", "enter")
	for range 3 {
		check("l", "down", "enter")
		check("esc", "a", "down", "enter")
		check("esc", "tab", "down", "enter")
		check("esc")
	}
	check("2", "r")
	w.repErr = errors.New(bad)
	check("r")
	d.press("f", "/").send(pasted(bad))
	check("left")
	check("enter")
	check("esc")

	check("1", "i")
	d.emit(
		inventory.Event{Kind: inventory.SourceProgress, Account: bad, Region: bad, Source: bad, Done: 1},
		inventory.Event{Kind: inventory.SourceDone, Account: bad, Region: bad, Source: bad, Reason: bad},
		inventory.Event{Kind: inventory.ProbeProgress, Host: bad, Reason: bad, Done: 1, Total: 2},
	)
	check("down")
	check("enter")
	check("esc", "q")
	check("n")
	d.finish(errors.New(bad))
	check()
	w.loadErr = errors.New(bad)
	check("i")
	d.finish(nil)
	check()
	for _, size := range [][2]int{{60, 15}, {80, 24}, {300, 100}} {
		d.m.width, d.m.height = size[0], size[1]
		mustBeHarmless(t, "resized", d.m.View().Content)
	}
}

// The fleet table in all its shapes: groups by every key and by a hostile tag,
// their heads, marks, saved views, commands, and the details beside the table.
func TestHostileFleetsDoNotReachTheTerminal(t *testing.T) {
	if testing.Short() {
		t.Skip("nothing runs side by side here")
	}
	for name, bad := range hostileTexts {
		t.Run(name, func(t *testing.T) { hostileFleet(t, bad) })
	}
}

func hostileFleet(t *testing.T, bad string) {
	t.Helper()
	snap, judged := poisoned(bad)
	snap.Hosts[0].ID, judged.Hosts[0].Host = bad, bad
	w := &world{snap: snap, judged: judged, views: []fleet.View{{Name: bad, Filter: bad, Sort: bad, Group: "tag:" + bad}, {Name: "no such group", Group: bad}}}
	d := newDriver(t, w, 200, 50, Options{}).press("f")
	check := func(keys ...string) {
		t.Helper()
		d.press(keys...)
		for _, size := range [][2]int{{200, 50}, {80, 24}} {
			d.m.width, d.m.height = size[0], size[1]
			content := d.m.View().Content
			mustBeHarmless(t, strings.Join(keys, " "), content)
			for i, l := range strings.Split(content, "\n") {
				if got := ansi.StringWidthWc(l); got != size[0] {
					t.Errorf("after %v line %d is %d cells wide to a terminal that counts runes", keys, i+1, got)
				}
			}
		}
	}
	groups := len(groupings) + len(d.m.fleet().table.data.tags)
	for n := range groups {
		check("o")
		check(slices.Repeat([]string{"down"}, n+1)...)
		check("enter")
		check("enter", "down", "space")
		check("x")
		check("enter")
		check("esc")
	}
	check("s", "S", "*")
	check("v")
	check("enter")
	check("/", "left")
	check("esc", "v", "down", "enter")
	check("V")
	d.send(pasted(bad))
	check("enter")
	w.viewsErr = errors.New(bad)
	check("V", "x", "enter")
	check("home", "enter", "down", "enter")
	check("end", "n", "n")
}

// poisonedPlan is a plan in which every foreign text is hostile, with a journal.
func poisonedPlan(bad string) *Cutover {
	p := testPlan()
	p.ID = bad
	for i := range p.Waves {
		w := &p.Waves[i]
		w.Name = bad
		for j := range w.Steps {
			s := &w.Steps[j]
			s.Title, s.Why, s.Blast, s.Warning, s.Lane = bad, bad, bad, bad, bad
			s.Before, s.After = append(s.Before, bad), append(s.After, bad)
			s.At = fleet.Place{Account: bad, Region: bad}
		}
	}
	for i := range p.Refusals {
		r := &p.Refusals[i]
		r.Code, r.Text, r.Do, r.Group = bad, bad, bad, bad
	}
	p.Policy.Windows = []plan.Window{{Days: bad, From: bad, To: bad, Zone: bad}}
	h := failedHistory()
	h.plan = p
	h.step(2, 0, cutover.Held).add(cutover.Entry{Wave: 2, Event: cutover.Note, Hosts: p.Waves[2].Hosts[:1], Detail: bad})
	for i := range h.entries {
		e := &h.entries[i]
		e.Plan, e.Operator = p.ID, bad
		if e.Event != cutover.Gate && e.Event != cutover.RunBegan {
			e.Detail = bad
		}
	}
	c := testCutover(p, h.entries)
	c.Stale, c.PolicyFile = []string{bad}, bad
	for h := range c.Names {
		c.Names[h] = bad
	}
	for i := range c.Recovery {
		v := &c.Recovery[i]
		v.VPC, v.Group = bad, bad
		for j := range v.Hosts {
			v.Hosts[j].Name, v.Hosts[j].Why = bad, bad
		}
	}
	return c
}

func TestHostilePlansDoNotReachTheTerminal(t *testing.T) {
	if testing.Short() {
		t.Skip("nothing runs side by side here")
	}
	for name, bad := range hostileTexts {
		t.Run(name, func(t *testing.T) { hostilePlan(t, bad) })
	}
}

func hostilePlan(t *testing.T, bad string) {
	t.Helper()
	snap, judged := poisoned(bad)
	c := poisonedPlan(bad)
	w := &world{snap: snap, judged: judged, cutover: c}
	d := newDriver(t, w, 120, 40, Options{})
	check := func(keys ...string) {
		t.Helper()
		d.press(keys...)
		for _, size := range [][2]int{{120, 40}, {80, 24}} {
			d.m.width, d.m.height = size[0], size[1]
			content := d.m.View().Content
			mustBeHarmless(t, strings.Join(keys, " "), content)
			for i, l := range strings.Split(content, "\n") {
				if got := ansi.StringWidthWc(l); got != size[0] {
					t.Errorf("after %v line %d is %d cells wide to a terminal that counts runes", keys, i+1, got)
				}
			}
		}
	}
	for _, stage := range []string{"3", "4", "5", "6"} {
		check(stage)
		check("enter")
		check("tab")
		check("end", "enter")
		check("esc")
		check("esc")
	}
	check("5")
	for range 3 {
		check("tab")
		check("enter")
		check("esc", "down", "enter")
		check("esc")
	}
	check("A")
	check("esc", "B")
	check("esc")
	d.press("A").send(pasted(clean(c.Plan.ID)))
	check("enter")
	check("esc")
	begin := func() { d.run(d.m.begin(nil, nil)) } // nobody can type such an ID
	begin()
	d.question(cutover.Question{Wave: c.Plan.Waves[2], Text: bad, Hosts: c.Plan.Waves[2].Hosts, Timers: []cutover.Risk{{Step: bad, Deadline: testNow}}})
	check()
	check("B")
	check("esc")
	check("S")
	check("q")
	check("n")
	d.over(cutover.Result{Outcome: cutover.OutcomePartly, Reason: bad}, errors.New(bad))
	check()
	begin()
	d.over(cutover.Result{Outcome: cutover.Outcome(bad), Reason: bad}, nil)
	check()
	w.drill = testDrill()
	w.drill.ID = bad
	w.drill.Refusals[0].Text = bad
	for i := range w.drill.Waves[0].Steps {
		w.drill.Waves[0].Steps[i].Recovery.VPC = bad
	}
	check("4", "D")
	check("esc")
	d.run(d.m.beginDrill(w.drill))
	d.phase(bad, cutover.DrillLaunch, testNow)
	check()
	check("q")
	check("n")
	d.journal(cutover.Entry{Seq: 1, Event: cutover.Failed, Step: bad, Detail: bad})
	d.over(cutover.Result{Outcome: cutover.OutcomePartly, Reason: bad}, nil)
	check()
	d.run(d.m.beginDrill(w.drill))
	d.over(cutover.Result{}, errors.New(bad))
	check()
	w.drillErr = errors.New(bad)
	check("D")
	d.m.env.backend.Faults = []Fault{{Name: bad, Argument: bad, Text: bad, See: bad}}
	check("!")
	check("esc", ":")
	check("esc")
	again := *c
	again.Holder, again.Drill, again.Keys = bad, w.drill, []fleet.RecoveryKey{{Line: bad, Location: bad}}
	w.cutover = &again
	check("6", "5")
	check("S")
	check("n", "4")
	w.cutover = &Cutover{PolicyErr: errors.New(bad)}
	d.m.env.course.shown = ""
	check("6", "5")
	w.cutoverErr = errors.New(bad)
	check("6", "5")
	w.madeErr = errors.New(bad)
	check("n")
}

func TestClean(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"plain", "web-1", "web-1"},
		{"empty", "", ""},
		{"escape", "a\x1b[31mb", "a�[31mb"},
		{"C1 control", "a\u009bb", "a�b"},
		{"lines", "a\r\nb\tc", "a  b c"},
		{"right to left override", "exe\u202egpj", "exe�gpj"},
		{"zero width", "a\u200bb\u2060c\ufeff", "abc"},
		{"combining", "e\u0301", "e"},
		{"invalid UTF-8", "a\xffb", "a�b"},
		{"wide", "東京", "東京"},
		{"flag", "\U0001f1e9\U0001f1ea", "??"},
		{"accent", "Zürich", "Zürich"},
		{"joined emoji", "\U0001f468\u200d\U0001f469", "\U0001f468\U0001f469"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := clean(tt.in); got != tt.want {
				t.Errorf("clean(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
	if got := clean(strings.Repeat("x", 1<<20)); len(got) > maxText+len("…") || !strings.HasSuffix(got, "…") {
		t.Errorf("a megabyte became %d bytes", len(got))
	}
}

// What is clean has the same width however a terminal counts, can be laid out
// to the cell, and stays as it is when cleaned again.
func FuzzClean(f *testing.F) {
	for _, s := range []string{"", "web-1", hostileText, "e\u0301\u0301", "\u0915\u093f", "\u1100\u1161", "👩‍👩‍👧", "☂️", "\u0600a", "東京"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := clean(s)
		mustBeHarmless(t, "clean", strings.ReplaceAll(got, "\n", "\x00"))
		if !utf8.ValidString(got) {
			t.Fatalf("%q is not valid UTF-8", got)
		}
		if a, b := ansi.StringWidth(got), ansi.StringWidthWc(got); a != b {
			t.Fatalf("%q is %d or %d cells wide", got, a, b)
		}
		for _, w := range []int{1, 2, 7, 40} {
			if n := ansi.StringWidthWc(fit(got, w)); n != w {
				t.Fatalf("fit(%q, %d) is %d cells wide", got, w, n)
			}
			for _, l := range wrap(got, w) {
				if n := ansi.StringWidth(l); n > max(w, 2) {
					t.Fatalf("wrap(%q, %d) has a line of %d cells", got, w, n)
				}
			}
		}
		if len(s) < maxText/8 && clean(got) != got {
			t.Fatalf("cleaning %q again gives %q", got, clean(got))
		}
	})
}
