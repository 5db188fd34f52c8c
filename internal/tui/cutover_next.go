package tui

import (
	"strings"

	"ssm-migrate/internal/cutover"
)

func (s *cutoverScreen) next() (what, why string) {
	c := s.course
	switch {
	case s.edit != nil:
		return s.edit.next()
	case s.text != nil || s.wave != nil && s.wave.text != nil:
		return "press esc to go back", "the lists are there"
	case c.making:
		return "wait a moment", "the plan is being made"
	case c.plan() == nil:
		return s.nextWithout()
	case c.mine():
		return s.nextRunning()
	case c.elsewhere() && c.paused():
		return "watch, or press r to let it go on", "another process works on the plan; if it has died, the plan is free in " + s.until(c.state.Until)
	case c.elsewhere():
		return "watch, or press p to pause it", "another process works on the plan; if it has died, the plan is free in " + s.until(c.state.Until)
	case s.wave != nil && c.known == 0:
		return "look at the steps, enter shows one in full", "what is red goes, what is green comes; nothing has been changed yet"
	case c.broken != nil:
		return "look at it with migrate journal --verify", "a journal that is not right says nothing of where the plan stands"
	case c.known < 0:
		return "wait a moment", "the journal is being read"
	case c.known == 0:
		return s.nextNew()
	case c.stand.State == brokenOff:
		return "press A to go on, or B to take it back", "going on looks first at the steps whose end is not known"
	}
	switch c.outcome() {
	case cutover.OutcomeDone:
		if !c.stand.Ended {
			return "press A to go on with the next wave", "the waves so far are done and proved; B takes them back"
		}
		return "press 6 for what has been reached", "the plan has come to its end"
	case cutover.OutcomeRolledBack:
		switch {
		case strings.HasPrefix(c.stand.Command, "rollback"):
			return "press A to apply it again, or n to plan anew", "what you asked for is taken back"
		case c.stand.Owed == 0:
			return "see to the reason, take the inventory again (i) and press n", "all that the plan had done is taken back"
		}
		return "see to the reason, then press A to try again", "what was taken back is done anew, the rest stays done"
	case cutover.OutcomeRolledPartly:
		return "see to what could not be undone, then press B again", "the doors that matter are in the list"
	case cutover.OutcomeStale:
		return "take the inventory again (i), then press n", "the fleet is not what the plan was made for"
	case cutover.OutcomeStopped, cutover.OutcomePaused, cutover.OutcomePartly:
	}
	if len(c.sum.troubles) > 0 {
		return "see to what needs a look, then press A to go on", "B takes back; everything done so far stays proved until then"
	}
	return "press A to go on, or B to take it back", "the plan has not come to its end"
}

func (s *cutoverScreen) nextWithout() (what, why string) {
	st := s.course.state
	switch {
	case st == nil:
		return "wait a moment", "the plans are being read"
	case s.data == nil:
		return "press 1 and take the inventory", "a plan is made from it"
	case st.PolicyErr != nil:
		return "put the policy file right", "a misspelled safety setting must not be ignored"
	case st.Policy.Recovery.PublicKey == "":
		return "make a recovery key (migrate recovery init)", "without it a plan closes nothing; enter plans the preparation alone"
	}
	return "press enter to make a plan", "that changes nothing, and shows what would change"
}

func (s *cutoverScreen) nextRunning() (what, why string) {
	c := s.course
	d := c.doing
	switch {
	case d.stopping:
		return "wait a moment", "the steps under way are ending"
	case d.scope != nil:
		return "watch", "everything is looked at again after it was undone"
	case c.paused() || c.state.Wish.Pause:
		if len(c.stand.Risks) == 0 {
			return "press r to go on", "no timer is armed meanwhile, so there is no hurry"
		}
		return "press r to go on", "armed timers go on meanwhile and open their doors when their time comes"
	}
	return "watch; p pauses, S stops, B takes back", "the run goes on while you are on other screens"
}

func (s *cutoverScreen) nextNew() (what, why string) {
	hosts, groups := s.of.Closes()
	switch {
	case len(s.course.state.Stale) > 0:
		return "press n to plan anew", "a newer snapshot shows that what the plan touches has changed"
	case hosts+groups == 0 && len(s.refused) > 0 && s.refused[0].Do != "":
		return clean(s.refused[0].Do), "the plan closes nothing yet"
	case hosts+groups == 0:
		return "press A to prepare and prove", "the plan closes nothing"
	}
	return "look into the waves (enter; e moves hosts), then press A to apply", "nothing changes before you have typed the plan's ID"
}
