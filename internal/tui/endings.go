package tui

import (
	"fmt"

	tea "charm.land/bubbletea/v2"

	"ssm-migrate/internal/plan"
)

// prepareScreen lists the fixes: the steps of the plan's prepare phases.
type prepareScreen struct {
	*env
	of    *plan.Plan
	steps stepList
	text  *textView
}

func (s *prepareScreen) loaded() {}

func (s *prepareScreen) stood() {
	p := s.course.plan()
	if p != s.of {
		s.of, s.text, s.steps = p, nil, stepList{env: s.env}
		if p != nil {
			for i := range p.Waves {
				for j := range p.Waves[i].Steps {
					if st := &p.Waves[i].Steps[j]; st.Phase == plan.Prepare {
						s.steps.all = append(s.steps.all, st)
					}
				}
			}
		}
	}
	if s.of != nil {
		s.steps.stood()
	}
	if s.text != nil {
		s.text.made = nil
	}
}

func (s *prepareScreen) context() keyContext {
	switch {
	case s.text != nil:
		return ctxText
	case s.of == nil || len(s.steps.all) == 0:
		return ctxStage
	}
	return ctxList
}

func (s *prepareScreen) handle(in intent) (intent, tea.Cmd) {
	switch in.(type) {
	case back:
		s.text = nil
	case open:
		if s.of != nil {
			s.text = s.steps.open()
		}
	default:
		if s.text != nil {
			s.text.pager.handle(in)
		} else {
			s.steps.list.handle(in)
		}
	}
	return nil, nil
}

func (s *prepareScreen) next() (what, why string) {
	switch {
	case s.text != nil:
		return "press esc to go back", "the list of fixes is there"
	case s.data == nil:
		return "press 1 and take the inventory", "nothing is known yet that would need a fix"
	case s.of == nil:
		return "press 5 and make a plan", "the fixes are its first steps; making it changes nothing"
	case s.course.sum.prepared == s.course.sum.prepare:
		return "press 5 for Cutover", "everything is prepared"
	}
	return "press 5 for Cutover", "apply there carries the fixes out with each wave; the policy can leave them to Terraform instead (fixes)"
}

func (s *prepareScreen) view(w, h int) []string {
	if s.text != nil {
		return s.text.view(s.env, w, h)
	}
	if s.of == nil {
		out := []string{s.title("Prepare", "no plan yet", w), ""}
		out = append(out, s.paintWrapped(s.styles.text, "The fixes that Readiness names are the first steps of a plan: each is shown with what goes, what comes and who else is touched, and each can be taken back.", w)...)
		out = append(out, "")
		return append(out, s.paintWrapped(s.styles.text, "The policy says of each kind of fix whether migrate applies it, leaves it to others such as Terraform, or must not (fixes: apply, hand, never).", w)...)
	}
	sum := s.course.sum
	out := []string{s.title("Prepare", fmt.Sprintf("plan %s: %s of %s done", clean(s.of.ID), thousands(sum.prepared), count(sum.prepare, "fix step")), w), ""}
	if len(s.steps.all) == 0 {
		return append(out, s.paintWrapped(s.styles.dim, "The plan has nothing to prepare.", w)...)
	}
	return append(out, s.steps.view("Fixes, wave by wave", "", w, h-len(out))...)
}

// doneScreen says what has been reached, and what is left.
type doneScreen struct {
	*env
}

func (s *doneScreen) loaded()                                {}
func (s *doneScreen) context() keyContext                    { return ctxStage }
func (s *doneScreen) handle(intent) (in intent, cmd tea.Cmd) { return nil, nil }

// left counts the refusals that stand in the plan's way, and the others.
func (c *course) left() (unwanted, wanted int) {
	if p := c.plan(); p != nil {
		for _, r := range p.Refusals {
			if r.Expected() {
				wanted++
			} else {
				unwanted++
			}
		}
	}
	return unwanted, wanted
}

func (s *doneScreen) next() (what, why string) {
	unwanted, _ := s.course.left()
	switch {
	case s.course.plan() == nil:
		return "press 5 for Cutover", "nothing has been closed yet"
	case s.course.takenBack():
		return "press 5 for Cutover", "all that the plan had done is taken back"
	case !s.course.reached():
		return "press 5 for Cutover", "the plan has not come to its end"
	case unwanted > 0:
		return "press 5, tab to what stays open, and see to it", "then take the inventory again and make the next plan"
	}
	if d := s.data; d != nil && d.snap.Started.After(s.course.stand.Since) {
		return "press r for the report", "the latest inventory is from after the plan's end; take one from time to time"
	}
	return "press i for a new inventory, then r for the report", "they show the fleet as it is now; after that, take it from time to time"
}

func (s *doneScreen) view(w, _ int) []string {
	c := s.course
	if c.plan() == nil || c.known <= 0 {
		out := []string{s.title("Done", "", w), ""}
		return append(out, s.paintWrapped(s.styles.text, "Nothing has been done yet. When a plan has come to its end, this stage says what was closed, what stays open and why.", w)...)
	}
	sum := c.sum
	how := "not at its end yet"
	last := "Everything can still be taken back: 5, then B. What was there before each step is kept, on the hosts and in the journal."
	switch {
	case c.reached():
		how = "at its end"
	case c.takenBack():
		how, last = "taken back", "Nothing of this plan stands any more; each step was looked at again after it was undone."
	}
	out := []string{s.title("Done: plan "+clean(c.plan().ID), how, w), ""}
	done, total := 0, 0
	for _, h := range c.stand.Hosts {
		total++
		if h.All > 0 && h.Doors == h.All {
			done++
		}
	}
	unwanted, wanted := c.left()
	proved, hosts := c.proved()
	for _, l := range [][2]string{
		{"hosts closed", fmt.Sprintf("%s of %s in the plan: all doors that it knows", thousands(done), thousands(total))},
		{"keys aside", fmt.Sprintf("on %s of %s", thousands(sum.quarantined), count(sum.keys, "host"))},
		{"port 22 closed", fmt.Sprintf("in %s of %s", thousands(sum.closed), count(sum.groups, "security group"))},
		{"way back", fmt.Sprintf("proved into %s of %s a short time ago", thousands(proved), count(hosts, "host"))},
		{"left open", fmt.Sprintf("%s that should not be, %s on purpose (5, tab)", thousands(unwanted), thousands(wanted))},
		{"steps", fmt.Sprintf("%s of %s done, in %s of the journal", thousands(sum.done), thousands(sum.steps), counted(len(c.entries), "entry", "entries"))},
	} {
		out = append(out, s.styles.dim.Render(fit(l[0], 16))+cut(l[1], w-16))
	}
	out = append(out, "")
	for _, t := range []string{
		last,
		"Evidence: migrate journal --verify checks the journal's hashes, migrate report writes the state of the fleet.",
	} {
		out = append(out, s.paintWrapped(s.styles.text, t, w)...)
	}
	return out
}
