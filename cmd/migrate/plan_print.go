package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// wholePlan is a plan as --json prints it: as it is stored, and whose the
// things are that it changes.
type wholePlan struct {
	*plan.Plan
	Owners []plan.Ownership `json:"owners"`
}

// planPart is a part of a plan as --json prints it.
type planPart struct {
	Plan     string         `json:"plan"`
	Waves    []plan.Wave    `json:"waves"`
	Refusals []plan.Refusal `json:"refusals"`
}

func namesOfHosts(s *fleet.Snapshot) map[fleet.HostRef]string {
	names := make(map[fleet.HostRef]string, len(s.Hosts))
	for i := range s.Hosts {
		names[s.Hosts[i].Ref()] = s.Hosts[i].Name()
	}
	return names
}

func (a *app) writePlan(p *plan.Plan, names map[fleet.HostRef]string, view planView) error {
	part := planPart{Plan: p.ID, Waves: p.Waves, Refusals: p.Refusals}
	if view.wave >= 0 {
		if view.wave >= len(p.Waves) {
			return usageErr("--wave %d: the plan's waves are 0 to %d", view.wave, len(p.Waves)-1)
		}
		part.Waves, part.Refusals = p.Waves[view.wave:view.wave+1], []plan.Refusal{}
	}
	if view.host != "" {
		if !part.about(view.host, names) {
			return usageErr("--host %s: the plan knows no such host", oneLine(view.host))
		}
	}
	whole := view.wave < 0 && view.host == ""
	if a.json {
		if whole {
			return writeJSON(a.out, wholePlan{p, p.Owners()})
		}
		return writeJSON(a.out, part)
	}
	out := bufio.NewWriter(a.out)
	w := planPrinter{out: out, names: names, colour: a.coloured(), full: view.host != ""}
	if whole {
		w.summary(p)
		w.owners(p)
	}
	for _, wave := range part.Waves {
		w.wave(wave)
	}
	w.refusals("What stays as it is", part.Refusals)
	if whole {
		w.next(p)
	}
	return out.Flush()
}

// about narrows the part to one host, by ID or name; false: it is not there.
func (p *planPart) about(host string, names map[fleet.HostRef]string) bool {
	is := func(h fleet.HostRef) bool { return h.ID == host || names[h] == host }
	known := false
	for h := range names {
		known = known || is(h)
	}
	var waves []plan.Wave
	for _, w := range p.Waves {
		w.Hosts = slices.DeleteFunc(slices.Clone(w.Hosts), func(h fleet.HostRef) bool { return !is(h) })
		w.Steps = slices.DeleteFunc(slices.Clone(w.Steps), func(s plan.Step) bool { return !slices.ContainsFunc(s.Hosts, is) })
		if len(w.Steps) > 0 {
			waves = append(waves, w)
		}
	}
	p.Waves = append([]plan.Wave{}, waves...)
	p.Refusals = slices.DeleteFunc(slices.Clone(p.Refusals), func(r plan.Refusal) bool { return !is(r.Host) })
	return known
}

// coloured reports whether standard output is a terminal that takes colours.
func (a *app) coloured() bool {
	f, ok := a.out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// planPrinter shows a plan like a diff.
type planPrinter struct {
	out    io.Writer
	names  map[fleet.HostRef]string
	colour bool
	full   bool // every step by itself
}

// The colours, as SGR parameters.
const (
	bold   = "1"
	red    = "31"
	green  = "32"
	yellow = "33"
	faint  = "2"
)

func (w planPrinter) line(style, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if w.colour && style != "" {
		text = "\x1b[" + style + "m" + text + "\x1b[0m"
	}
	fmt.Fprintln(w.out, text)
}

func (w planPrinter) summary(p *plan.Plan) {
	hosts, groups := p.Closes()
	w.line(bold, "Plan %s, made %s from snapshot %d", p.ID, p.Made.UTC().Format("2006-01-02 15:04:05Z"), p.Snapshot)
	w.line("", "%s in %s, %s.", count(len(p.Hosts()), "host", "hosts"), count(len(p.Waves), "wave", "waves"), count(p.Steps(), "step", "steps"))
	if hosts+groups == 0 {
		w.line(yellow, "It closes nothing: it prepares hosts and proves sessions only. The end says why.")
		return
	}
	w.line("", "It quarantines the keys of %s and closes port 22 in %s.", count(hosts, "host", "hosts"), count(groups, "security group", "security groups"))
}

// owners tells what is left to whom, and what is changed though it is theirs.
func (w planPrinter) owners(p *plan.Plan) {
	all := p.Owners()
	if len(all) == 0 {
		return
	}
	fmt.Fprintln(w.out)
	w.line(bold, "Whose things it changes")
	for _, o := range all {
		name := cmp.Or(cell(o.Owner), "others")
		if len(o.Handed) > 0 {
			w.line("", "  %s: left to them, and waited for: %s", name, kindsOf(p, o.Handed))
		}
		if len(o.Applied) > 0 {
			w.line(yellow, "  %s: changed here; their code has to follow: %s", name, kindsOf(p, o.Applied))
		}
	}
}

// kindsOf counts steps by kind, in the order in which the kinds come first.
func kindsOf(p *plan.Plan, ids []string) string {
	var order []plan.Kind
	number := map[plan.Kind]int{}
	for _, id := range ids {
		_, s := p.Step(id)
		if number[s.Kind]++; number[s.Kind] == 1 {
			order = append(order, s.Kind)
		}
	}
	texts := make([]string, len(order))
	for i, k := range order {
		texts[i] = fmt.Sprintf("%d %s", number[k], k)
	}
	return strings.Join(texts, ", ")
}

func (w planPrinter) wave(v plan.Wave) {
	fmt.Fprintln(w.out)
	title := fmt.Sprintf("Wave %d", v.Number)
	if !strings.HasPrefix(v.Name, "wave ") {
		title += ": " + v.Name
	}
	if len(v.Hosts) > 0 {
		title += fmt.Sprintf(", %s", count(len(v.Hosts), "host", "hosts"))
	}
	if v.Soak > 0 {
		title += ", then watched for " + (time.Duration(v.Soak)).String()
	}
	w.line(bold, "%s", title)
	if len(v.Hosts) > 0 {
		var names []string
		for _, h := range v.Hosts {
			names = append(names, w.hostName(h))
		}
		w.line(faint, "  %s", someOf(names))
	}
	for _, text := range v.Warnings {
		w.line(yellow, "  ! %s", oneLine(text))
	}
	for _, phase := range plan.Phases() {
		w.phase(v, phase)
	}
}

// alike are the kinds whose steps say no more than on which host they run.
var alike = map[plan.Kind]string{
	plan.ProveSession: "Prove sessions on", plan.ArmHostTimer: "Arm a timer that puts the keys back on",
	plan.DisarmHostTimer: "Disarm the timer on", plan.RecoveryKey: "Put the recovery key on",
}

func (w planPrinter) phase(v plan.Wave, phase plan.Phase) {
	steps := slices.DeleteFunc(slices.Clone(v.Steps), func(s plan.Step) bool { return s.Phase != phase })
	if len(steps) == 0 {
		return
	}
	w.line(faint, "  %s", phase)
	together := func(s plan.Step) bool { return !w.full && alike[s.Kind] != "" && len(s.Hosts) == 1 }
	number, shown := map[plan.Kind]int{}, map[plan.Kind]bool{}
	for _, s := range steps {
		if together(s) {
			number[s.Kind]++
		}
	}
	for _, s := range steps {
		switch {
		case !together(s):
			w.step(s)
		case !shown[s.Kind]:
			shown[s.Kind] = true
			w.line("", "    %s %s", alike[s.Kind], count(number[s.Kind], "host", "hosts"))
		}
	}
}

func (w planPrinter) step(s plan.Step) {
	title := oneLine(s.Title)
	if s.Handed {
		title += " (left to " + cmp.Or(cell(s.Owner), "others") + ": the plan waits for it)"
	}
	w.line("", "    %s", title)
	if s.Why != "" {
		w.line(faint, "        because of %s", oneLine(s.Why))
	}
	for _, l := range s.Before {
		w.line(red, "      - %s", oneLine(l))
	}
	for _, l := range s.After {
		w.line(green, "      + %s", oneLine(l))
	}
	if s.Blast != "" && s.Blast != "this host only" {
		w.line(faint, "        touches: %s", oneLine(s.Blast))
	}
	if s.Warning != "" {
		w.line(yellow, "      ! %s", oneLine(s.Warning))
	}
}

// refusals come last, those for the same reason together.
func (w planPrinter) refusals(title string, all []plan.Refusal) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintln(w.out)
	w.line(bold, "%s", title)
	type key struct {
		phase          plan.Phase
		code, text, do string
	}
	var order []key
	names := map[key][]string{}
	templates := map[key]*plan.TemplateChange{}
	for _, r := range all {
		k := key{r.Phase, r.Code, r.Text, r.Do}
		templates[k] = r.Template
		if _, seen := names[k]; !seen {
			order = append(order, k)
			names[k] = nil
		}
		if r.Host.ID != "" {
			names[k] = append(names[k], w.hostName(r.Host))
		}
	}
	for _, k := range order {
		text := oneLine(k.text)
		if n := names[k]; len(n) > 0 {
			text = fmt.Sprintf("%s: %s", someOf(n), text)
		}
		w.line("", "  %s, from %s on: %s", k.code, k.phase, text)
		switch t := templates[k]; {
		case t != nil:
			w.line(faint, "      do: in %s, make", oneLine(t.Code()))
			for _, l := range t.Lines() {
				w.line(green, "      + %s", oneLine(l))
			}
		case k.do != "":
			w.line(faint, "      do: %s", oneLine(k.do))
		}
	}
}

func (w planPrinter) hostName(h fleet.HostRef) string {
	if n := w.names[h]; n != "" && n != h.ID {
		return h.ID + " (" + cell(n) + ")"
	}
	return h.ID
}

// someOf names the first few, and counts the rest.
func someOf(list []string) string {
	const most = 5
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}

func (w planPrinter) next(p *plan.Plan) {
	fmt.Fprintln(w.out)
	w.line("", "Nothing has been changed. Apply it with: migrate apply %s", p.ID)
}
