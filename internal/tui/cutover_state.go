package tui

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"charm.land/lipgloss/v2"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

const truthYes = fleet.TruthYes

// outcome is how the last run ended; empty while one is under way, after one
// that was broken off and before the first.
func (c *course) outcome() cutover.Outcome {
	if c.underway() || c.known <= 0 || c.broken != nil || c.stand.State == brokenOff {
		return ""
	}
	word, _, _ := strings.Cut(c.stand.State, ":")
	return cutover.Outcome(word)
}

// blamed says why the last run's end names a host; empty: it does not, or that run
// came to a good end.
func (c *course) blamed(h fleet.HostRef) string {
	if c.underway() {
		return ""
	}
	for i := len(c.entries) - 1; i >= 0; i-- {
		if e := c.entries[i]; e.Event == cutover.RunEnded {
			if slices.Contains(e.Hosts, h) {
				return e.Detail
			}
			return ""
		}
	}
	return ""
}

// waveCalled is a wave by its number as the table of waves calls it.
func (c *course) waveCalled(n int) string {
	if p := c.plan(); p != nil {
		for i := range p.Waves {
			if p.Waves[i].Number == n {
				return clean(p.Waves[i].Name)
			}
		}
	}
	return fmt.Sprintf("wave %d", n)
}

// undone reports whether all of a wave was taken back.
func (c *course) undone(wave int) bool {
	return slices.ContainsFunc(c.stand.Waves, func(w cutover.WaveStatus) bool { return w.Number == wave && w.State == "rolled back" })
}

// reached reports whether the plan has come to its end, and not only as far as
// the last run was asked to go.
func (c *course) reached() bool { return c.outcome() == cutover.OutcomeDone && c.stand.Ended }

// takenBack reports whether nothing of a plan that was begun stands any more.
func (c *course) takenBack() bool {
	return c.outcome() == cutover.OutcomeRolledBack && c.stand.Owed == 0 && c.stand.Begun == 0
}

// brokenOff is what cutover.Status says of a run without an end.
const brokenOff = "running or broken off"

// wave is the standing of a wave by its position.
func (c *course) wave(i int) cutover.WaveStatus {
	if i < len(c.stand.Waves) {
		return c.stand.Waves[i]
	}
	return cutover.WaveStatus{}
}

// status is the standing of a step.
func (c *course) status(id string) cutover.StepStatus {
	for _, w := range c.stand.Waves {
		for _, ph := range w.Phases {
			for _, st := range ph.Steps {
				if st.ID == id {
					return st
				}
			}
		}
	}
	return cutover.StepStatus{ID: id, State: cutover.StateNew}
}

// headline says in one line how the plan stands.
func (s *cutoverScreen) headline() (style lipgloss.Style, symbol, text string) {
	c, st := s.course, s.styles
	switch {
	case c.err != nil:
		return st.blocked, "✗", "Where it stands cannot be read: " + clean(c.err.Error())
	case c.broken != nil:
		return st.blocked, "✗", "The journal is not right: " + clean(c.broken.Error())
	case c.mine():
		return s.runningLine()
	case c.elsewhere():
		text := "Run by " + clean(c.state.Holder)
		if c.paused() {
			text = "Paused; run by " + clean(c.state.Holder)
		}
		return st.accent, "…", text
	case c.known < 0:
		return st.dim, "…", "Reading the journal …"
	case c.known == 0:
		return st.text, "○", "Not begun: nothing has been changed."
	case c.stand.State == brokenOff:
		text = "The last run was broken off " + ago(c.stand.Since, s.now())
		if n := c.stand.Begun; n > 0 {
			text += "; " + counted(n, "step was begun without a known end", "steps were begun without a known end")
		}
		return st.risk, "!", text + "."
	}
	text = upperFirst(clean(c.stand.State))
	if !strings.HasSuffix(text, ".") {
		text += "."
	}
	switch c.outcome() {
	case cutover.OutcomeDone:
		if !c.stand.Ended {
			text = "Done as far as it was asked to go; later waves wait."
		}
		return st.ready, "✓", text
	case cutover.OutcomeRolledBack:
		return st.unknown, "↶", text
	case cutover.OutcomeStopped:
		return st.unknown, "!", text
	case cutover.OutcomeRolledPartly:
		return st.blocked, "✗", text
	case cutover.OutcomePartly, cutover.OutcomePaused, cutover.OutcomeStale:
	}
	return st.risk, "!", text
}

func (s *cutoverScreen) runningLine() (style lipgloss.Style, symbol, text string) {
	c, st := s.course, s.styles
	d := c.doing
	since := span(s.now().Sub(d.started))
	switch {
	case d.asked != nil:
		return st.unknown, "?", "Waiting for your answer: " + clean(d.asked.Text)
	case d.stopping && d.then != nil:
		return st.unknown, "…", "Stopping, then rolling back: the steps under way end."
	case d.stopping:
		return st.unknown, "…", "Stopping: the steps under way end, none begins."
	case d.scope != nil:
		return st.unknown, "↶", "Rolling back for " + since
	case c.paused():
		return st.risk, "!", "PAUSED: no step begins before r."
	case c.state.Wish.Pause:
		return st.risk, "!", "Pausing: the steps under way end, none begins."
	case c.sum.soaking != "" && !c.sum.soaked.After(s.now()):
		return st.accent, "…", upperFirst(clean(c.sum.soaking)) + " was watched; it is looked at a last time."
	case c.sum.soaking != "":
		return st.accent, "…", fmt.Sprintf("%s is watched until %s: %s left", upperFirst(clean(c.sum.soaking)), c.sum.soaked.UTC().Format("15:04:05Z"), s.until(c.sum.soaked))
	}
	return st.accent, "…", "Running for " + since + s.lanes()
}

// lanes says how many may run at once.
func (s *cutoverScreen) lanes() string {
	n := s.of.Policy.Concurrency
	if w := s.course.state.Wish.Concurrency; w > 0 {
		n = w
	}
	return ", up to " + count(n, "lane") + " at once"
}

// viewState tells how the plan stands: headline, progress, doors, what is under
// way, what is at risk.
func (s *cutoverScreen) viewState(w, h int) []string {
	c, st := s.course, s.styles
	style, symbol, text := s.headline()
	var out []string
	most := 3
	if !c.underway() {
		most = 5 // why it ended
	}
	for i, l := range wrapTo(symbol+" "+text, w-2, most) {
		if i > 0 {
			l = "  " + l
		}
		out = append(out, style.Bold(true).Render(l))
	}
	if len(c.state.Stale) > 0 && c.outcome() == "" && !c.underway() {
		out = append(out, st.risk.Render(cut(fmt.Sprintf("! A newer snapshot speaks against it (%d): %s", len(c.state.Stale), clean(c.state.Stale[0])), w)))
	}
	if c.known < 0 || c.broken != nil {
		return out
	}
	sum := c.sum
	tally := fmt.Sprintf(" %s of %s", thousands(sum.done), thousands(sum.steps))
	bar := min(max(w-9-width(tally), 5), 60)
	full := 0
	if sum.steps > 0 {
		full = bar * sum.done / sum.steps
	}
	out = append(out, st.dim.Render(fit("Steps", 9))+st.accent.Render(strings.Repeat("█", full))+st.dim.Render(strings.Repeat("░", bar-full))+tally)
	doors := "the plan closes none"
	if sum.keys+sum.groups > 0 {
		doors = fmt.Sprintf("keys of %s of %s, port 22 of %s of %s", thousands(sum.quarantined), count(sum.keys, "host"), thousands(sum.closed), count(sum.groups, "group"))
	}
	out = append(out, st.dim.Render(fit("Closed", 9))+cut(doors, w-9))
	if windows := s.windows(); windows != "" && c.known == 0 {
		out = append(out, st.dim.Render(fit("Windows", 9))+cut(windows, w-9))
	}
	room := 1 + max(h-24, 0)/4
	return append(append(out, s.viewNow(w, room)...), s.viewRisks(w, 1+room)...)
}

// viewNow names steps that are under way.
func (s *cutoverScreen) viewNow(w, most int) []string {
	all := s.course.sum.underway
	label := "Now"
	if !s.course.underway() {
		label = "Begun"
	}
	var out []string
	for i := range min(len(all), most) {
		text := clean(all[i].Title)
		if rest := len(all) - most; i == most-1 && rest > 0 {
			text = fmt.Sprintf("%s (%s more)", cut(text, w-20-len(thousands(rest))), thousands(rest))
		}
		out = append(out, s.styles.dim.Render(fit(label, 9))+cut(text, w-9))
		label = ""
	}
	return out
}

// windows says when doors may close.
func (s *cutoverScreen) windows() string {
	var out []string
	for _, w := range s.of.Policy.Windows {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s-%s %s", clean(w.Days), clean(w.From), clean(w.To), clean(cmp.Or(w.Zone, "UTC")))))
	}
	if len(out) == 0 {
		return ""
	}
	return "doors close only " + strings.Join(out, ", ")
}

// viewRisks counts down the armed timers, the next one first.
func (s *cutoverScreen) viewRisks(w, most int) []string {
	all := slices.Clone(s.course.stand.Risks)
	slices.SortStableFunc(all, func(a, b cutover.Risk) int { return a.Deadline.Compare(b.Deadline) })
	var out []string
	for i, r := range all[:min(len(all), most)] {
		what := s.course.riskName(r)
		when := s.until(r.Deadline) + " left"
		if !r.Deadline.After(s.now()) {
			when = "its time has come"
		}
		if rest := len(all) - most; i == most-1 && rest > 0 {
			what = fmt.Sprintf("%s (%s more)", cut(what, w-22-width(when)-len(thousands(rest))), thousands(rest))
		}
		out = append(out, s.styles.risk.Render(fit("! Armed", 9)+cut(when+": "+what, w-9)))
	}
	return out
}

// riskName says what an armed timer does if nobody disarms it.
func (c *course) riskName(r cutover.Risk) string {
	step := c.steps[r.Step]
	switch {
	case step != nil && step.Kind == plan.ArmHostTimer && len(r.Hosts) == 1:
		return "puts the keys back on " + c.named(r.Hosts[0])
	case step != nil && step.Kind == plan.ArmRuleTimer && step.Rules != nil:
		return "opens port 22 again in " + clean(step.Rules.Group)
	case step != nil:
		return clean(step.Title)
	}
	return clean(r.Step)
}

// viewNone tells what a plan is, and what one would need.
func (s *cutoverScreen) viewNone(w int) []string {
	c := s.course
	out := []string{s.title("Cutover", "no plan yet", w), ""}
	switch {
	case c.err != nil:
		return append(out, s.paintWrapped(s.styles.blocked, "✗ The plans cannot be read: "+clean(c.err.Error()), w)...)
	case c.state == nil:
		return append(out, s.styles.dim.Render("Reading the plans …"))
	}
	for _, t := range []string{
		"A plan is waves of small steps, each of which can be taken back: prepare, prove sessions and the way back, move keys aside, close port 22. Making one changes nothing.",
		"No door closes without two proved ways in and a timer outside of migrate that opens it again.",
	} {
		out = append(out, s.paintWrapped(s.styles.text, t, w)...)
		out = append(out, "")
	}
	out = append(out, s.styles.strong.Render("What it is made from"))
	for _, n := range s.needs() {
		style, symbol := s.styles.truth(n.holds)
		for i, l := range wrap(n.text, w-4) {
			if i > 0 {
				symbol = " "
			}
			out = append(out, style.Render("  "+symbol)+" "+l)
		}
	}
	return out
}

// need is something that a plan is made from.
type need struct {
	holds fleet.Truth
	text  string
}

// needs are what the next plan is made from, and what is missing of it.
func (e *env) needs() []need {
	c := e.course
	if c.state == nil {
		return nil
	}
	var out []need
	add := func(ok bool, yes, no string) {
		n := need{fleet.TruthYes, yes}
		if !ok {
			n = need{fleet.TruthNo, no}
		}
		out = append(out, n)
	}
	if e.data != nil {
		add(true, fmt.Sprintf("snapshot %d, taken %s", e.data.snap.ID, ago(e.data.snap.Started, e.now())), "")
	} else {
		add(false, "", "no snapshot: take the inventory first (1)")
	}
	file := clean(c.state.PolicyFile)
	switch {
	case c.state.PolicyErr != nil:
		return append(out, need{fleet.TruthNo, "the policy: " + clean(c.state.PolicyErr.Error())})
	case !c.state.PolicyThere:
		add(false, "", "no policy file; the defaults close nothing. migrate plan --policy-template > "+file)
	default:
		add(true, "policy "+file, "")
	}
	policy := c.state.Policy
	add(policy.Recovery.PublicKey != "", "recovery key "+keyName(policy.Recovery.PublicKey), "no recovery key, so nothing can be closed. migrate recovery init makes one, and says what migrate.yaml needs")
	if policy.Recovery.PublicKey != "" {
		add(c.state.RecoveryKey, "its private half, named in the configuration", "migrate.yaml does not say where its private half is (recovery: key_file), so nothing can be proved")
		add(len(policy.Recovery.From) > 0, "operators come from "+clean(strings.Join(policy.Recovery.From, ", ")), "the policy does not say from where operators come (recovery: from)")
	}
	return out
}

// keyName is a line of authorized_keys without its key.
func keyName(line string) string {
	f := strings.Fields(line)
	if len(f) < 3 {
		return ""
	}
	return clean(f[0] + " " + strings.Join(f[2:], " "))
}

// hostStatus tells how far one host has come.
func (s *sheet) hostStatus(h cutover.HostStatus) {
	s.pair("host", s.course.named(h.Host))
	s.pair("where", placeName(h.Host.Account, h.Host.Region))
	s.pair("wave", fmt.Sprint(h.Wave))
	s.pair("steps", fmt.Sprintf("%d of %d done", h.Done, h.Steps))
	s.pair("doors", fmt.Sprintf("%d of %d closed", h.Doors, h.All))
	s.pair("left out", clean(h.Why))
	s.pair("last run", clean(s.course.blamed(h.Host)))
}

// entry tells one journal entry in full, but for its before-image.
func (s *sheet) entry(e cutover.Entry, step *plan.Step) {
	s.pair("when", stamp(e.At))
	s.pair("event", clean(string(e.Event)))
	if e.Event == cutover.Gate {
		s.pair("answer", e.Result.String())
	}
	if step != nil {
		s.pair("step", clean(step.Title))
	}
	s.pair("ID", clean(e.Step))
	s.pair("detail", clean(e.Detail))
	if step != nil || e.Event == cutover.Gate {
		s.pair("wave", s.course.waveCalled(e.Wave))
	}
	for i, h := range e.Hosts {
		if i == 20 {
			s.pair("", fmt.Sprintf("and %d more", len(e.Hosts)-i))
			break
		}
		label := ""
		if i == 0 {
			label = "hosts"
		}
		s.pair(label, s.course.named(h))
	}
	s.pair("operator", clean(e.Operator))
	s.pair("hash", clean(e.Hash))
}

// refusal tells what stays open, why, and what to do.
func (s *sheet) refusal(r refusals) {
	for _, l := range wrap(clean(r.Text), s.w) {
		s.lines = append(s.lines, s.styles.strong.Render(l))
	}
	s.lines = append(s.lines, "")
	s.pair("stays open", "from phase "+clean(string(r.Phase))+" on")
	s.pair("do", cmp.Or(clean(r.Do), "nothing: it is meant to stay"))
	for i, h := range r.hosts {
		label := ""
		if i == 0 {
			label = "who"
		}
		s.pair(label, h)
	}
}
