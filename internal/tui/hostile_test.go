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

func mustBeHarmless(t *testing.T, where, content string) {
	t.Helper()
	for i, r := range sgr.ReplaceAllString(content, "") {
		if r != '\n' && unicode.IsControl(r) || isBidi(r) || r == utf8.RuneError && !strings.HasPrefix(sgr.ReplaceAllString(content, "")[i:], "\uFFFD") {
			t.Fatalf("%s: the screen has %U at byte %d", where, r, i)
		}
	}
}

// poisoned is a fleet in which every foreign text is hostile.
func poisoned() (*fleet.Snapshot, *fleet.Assessment) {
	snap, judged := testFleet(12)
	for i := range snap.Hosts {
		h := &snap.Hosts[i]
		h.Tags = map[string]string{"Name": hostileText, hostileText: hostileText}
		for _, p := range []*string{&h.AZ, &h.State, &h.Architecture, &h.Platform, &h.ImageID, &h.InstanceType, &h.VPC, &h.Subnet, &h.PrivateDNS, &h.ProfileARN, &h.AutoScalingGroup, &h.KeyName, &h.Metadata.Endpoint, &h.Metadata.Tokens, &h.LaunchTemplate.ID, &h.Account} {
			*p = hostileText
		}
		h.Groups = []string{hostileText}
		h.Node.Value.AgentVersion, h.Node.Value.PingStatus, h.Node.Value.PlatformName, h.Node.Value.Association = hostileText, hostileText, hostileText, hostileText
		if i%3 == 0 {
			h.Node = fleet.Unknown[fleet.Node](hostileText, testNow, hostileText)
		}
		h.Connection = fleet.Unknown[string](hostileText, testNow, hostileText)
		poisonProbe(&h.Probe)
	}
	for i := range judged.Hosts {
		if judged.Hosts[i].Cause != "" {
			judged.Hosts[i].Cause = hostileText
		}
	}
	for i := range judged.Findings {
		f := &judged.Findings[i]
		f.Code, f.Object, f.Title, f.Fix, f.Blast = hostileText, hostileText, hostileText, hostileText, hostileText
		for j := range f.Evidence {
			f.Evidence[j].Fact, f.Evidence[j].Source = hostileText, hostileText
		}
	}
	poisonPeople(judged)
	r := &snap.Regions[0]
	r.Account, r.Name, r.Label = hostileText, hostileText, hostileText
	r.Endpoints = fleet.Unknown[[]fleet.VPCEndpoint](hostileText, testNow, hostileText)
	return snap, judged
}

func poisonPeople(judged *fleet.Assessment) {
	bad := []string{hostileText}
	for i := range judged.Ledger.Consumers {
		c := &judged.Ledger.Consumers[i]
		c.Owner, c.OwnerBy, c.Principals, c.Method, c.Fingerprint, c.KeyType, c.Comment, c.User, c.Why = hostileText, hostileText, bad, hostileText, hostileText, hostileText, hostileText, hostileText, hostileText
		c.Use = fleet.Use(hostileText)
		if c.Waiver != nil {
			c.Waiver.By, c.Waiver.Why = hostileText, hostileText
		}
	}
	for i := range judged.Parity.People {
		p := &judged.Parity.People[i]
		p.Person, p.Principals, p.Keys = hostileText, bad, bad
	}
	for i := range judged.Operators {
		o := &judged.Operators[i]
		o.ARN, o.Kind, o.People, o.Documents, o.Why = hostileText, hostileText, bad, bad, hostileText
	}
	for i := range judged.Paths {
		p := &judged.Paths[i]
		p.Service, p.Name, p.Endpoint = hostileText, hostileText, hostileText
		for j := range p.Hops {
			p.Hops[j].Kind, p.Hops[j].Object, p.Hops[j].Text = hostileText, hostileText, hostileText
		}
	}
}

func poisonProbe(f *fleet.Fact[fleet.Probe]) {
	f.Reason = hostileText
	p := &f.Value
	p.LoginUser, p.Via, p.Hostname = hostileText, []string{hostileText}, hostileText
	p.OS = fleet.OS{ID: hostileText, Version: hostileText, Name: hostileText, Kernel: hostileText, Arch: hostileText}
	p.SSHD.Value.Version = hostileText
	p.SSHD.Value.Settings = map[string][]string{"authorizedkeysfile": {hostileText}}
	p.Agent.Value = fleet.HostAgent{Installed: true, Path: hostileText, Package: hostileText, Version: hostileText, Unit: hostileText, Active: hostileText, Enabled: hostileText}
	for i := range p.Endpoints.Value {
		p.Endpoints.Value[i].Service, p.Endpoints.Value[i].Issuer, p.Endpoints.Value[i].Detail = hostileText, hostileText, hostileText
	}
	p.Logins.Value.Source = hostileText
	for i := range p.Logins.Value.Logins {
		p.Logins.Value.Logins[i].User = hostileText
	}
	p.Sessions.Value = []fleet.Session{{User: hostileText, TTY: hostileText, From: hostileText}}
	p.Gaps = []fleet.Gap{{What: hostileText, Reason: hostileText}}
	for i := range p.Keys.Value {
		k := &p.Keys.Value[i]
		k.User, k.File, k.Type, k.Comment, k.Options, k.Problem = hostileText, hostileText, hostileText, hostileText, []string{hostileText}, hostileText
		if i > 0 {
			k.Fingerprint = hostileText
		}
	}
}

func TestHostileTextDoesNotReachTheTerminal(t *testing.T) {
	if testing.Short() {
		t.Skip("nothing runs side by side here")
	}
	snap, judged := poisoned()
	w := &world{snap: snap, judged: judged, report: hostileText}
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
	w.repErr = errors.New(hostileText)
	check("r")
	d.press("f", "/").send(pasted(hostileText))
	check("left")
	check("enter")
	check("esc")

	check("1", "i")
	d.emit(
		inventory.Event{Kind: inventory.SourceProgress, Account: hostileText, Region: hostileText, Source: hostileText, Done: 1},
		inventory.Event{Kind: inventory.SourceDone, Account: hostileText, Region: hostileText, Source: hostileText, Reason: hostileText},
		inventory.Event{Kind: inventory.ProbeProgress, Host: hostileText, Reason: hostileText, Done: 1, Total: 2},
	)
	check("down")
	check("enter")
	check("esc", "q")
	check("n")
	d.finish(errors.New(hostileText))
	check()
	w.loadErr = errors.New(hostileText)
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
	snap, judged := poisoned()
	snap.Hosts[0].ID, judged.Hosts[0].Host = hostileText, hostileText
	w := &world{snap: snap, judged: judged, views: []fleet.View{{Name: hostileText, Filter: hostileText, Sort: hostileText, Group: "tag:" + hostileText}, {Name: "no such group", Group: hostileText}}}
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
	d.send(pasted(hostileText))
	check("enter")
	w.viewsErr = errors.New(hostileText)
	check("V", "x", "enter")
	check("home", "enter", "down", "enter")
	check("end", "n", "n")
}

// poisonedPlan is a plan in which every foreign text is hostile, with a journal.
func poisonedPlan() *Cutover {
	p := testPlan()
	p.ID = hostileText
	for i := range p.Waves {
		w := &p.Waves[i]
		w.Name = hostileText
		for j := range w.Steps {
			s := &w.Steps[j]
			s.Title, s.Why, s.Blast, s.Warning, s.Lane = hostileText, hostileText, hostileText, hostileText, hostileText
			s.Before, s.After = append(s.Before, hostileText), append(s.After, hostileText)
			s.At = fleet.Place{Account: hostileText, Region: hostileText}
		}
	}
	for i := range p.Refusals {
		r := &p.Refusals[i]
		r.Code, r.Text, r.Do, r.Group = hostileText, hostileText, hostileText, hostileText
	}
	p.Policy.Windows = []plan.Window{{Days: hostileText, From: hostileText, To: hostileText, Zone: hostileText}}
	h := failedHistory()
	h.plan = p
	h.step(2, 0, cutover.Held).add(cutover.Entry{Wave: 2, Event: cutover.Note, Hosts: p.Waves[2].Hosts[:1], Detail: hostileText})
	for i := range h.entries {
		e := &h.entries[i]
		e.Plan, e.Operator = p.ID, hostileText
		if e.Event != cutover.Gate && e.Event != cutover.RunBegan {
			e.Detail = hostileText
		}
	}
	c := testCutover(p, h.entries)
	c.Stale, c.PolicyFile = []string{hostileText}, hostileText
	for h := range c.Names {
		c.Names[h] = hostileText
	}
	for i := range c.Recovery {
		v := &c.Recovery[i]
		v.VPC, v.Group = hostileText, hostileText
		for j := range v.Hosts {
			v.Hosts[j].Name, v.Hosts[j].Why = hostileText, hostileText
		}
	}
	return c
}

func TestHostilePlansDoNotReachTheTerminal(t *testing.T) {
	snap, judged := poisoned()
	c := poisonedPlan()
	w := &world{snap: snap, judged: judged, cutover: c}
	d := newDriver(t, w, 120, 40, Options{})
	check := func(keys ...string) {
		t.Helper()
		d.press(keys...)
		mustBeHarmless(t, strings.Join(keys, " "), d.m.View().Content)
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
	d.question(cutover.Question{Text: hostileText, Hosts: c.Plan.Waves[2].Hosts, Timers: []cutover.Risk{{Step: hostileText, Deadline: testNow}}})
	check()
	check("S")
	check("q")
	check("n")
	d.over(cutover.Result{Outcome: cutover.OutcomePartly, Reason: hostileText}, errors.New(hostileText))
	check()
	begin()
	d.over(cutover.Result{Outcome: hostileText, Reason: hostileText}, nil)
	check()
	again := *c
	again.Holder = hostileText
	w.cutover = &again
	check("6", "5")
	w.cutover = &Cutover{PolicyErr: errors.New(hostileText)}
	d.m.env.course.shown = ""
	check("6", "5")
	w.cutoverErr = errors.New(hostileText)
	check("6", "5")
	w.madeErr = errors.New(hostileText)
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
