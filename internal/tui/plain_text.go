package tui

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"
)

func defaultNow() time.Time { return time.Now() }

// The size of a screen that is told line by line: long lists are paged.
const (
	plainWidth  = 110
	plainHeight = 30
)

// spoken gives symbols words, and drops what is only drawn.
var spoken = strings.NewReplacer(
	"✓", "[ok]", "✗", "[no]", "○", "[to come]", "●", "[chosen]", "↶", "[taken back]", "▶", "[here]", "▸", "> ", "·", "-", "–", "-", "→", "to",
	"█", "", "░", "", "▓", "", "─", "", "│", "", "◂", "", "▌", "", "×", "x", "≥", "at least ",
)

// speak makes a line of a screen fit to be read out; empty: nothing is left of it.
func speak(line string) string {
	line = strings.TrimRight(ansi.Strip(line), " ")
	if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "… "); ok {
		line = "[under way] " + rest
	}
	return strings.TrimRight(spoken.Replace(line), " ")
}

// prompt says which kind of answer is waited for. A question is put once.
func (p *plainWizard) prompt() {
	p.heed()
	if p.failed != nil {
		return
	}
	if _, err := fmt.Fprint(p.out, "> "); err != nil {
		p.failed = fmt.Errorf("show the wizard: %w", err)
	}
}

// heed tells of what just happened.
func (p *plainWizard) heed() {
	n := p.m.notice
	if n == nil {
		return
	}
	text := "Done: "
	if n.failed {
		text = "Not done: "
	}
	p.say(text + n.text)
	p.m.notice = nil
}

// stages lists all stages with how far each is.
func (p *plainWizard) stages() {
	p.say(speak("Working on: " + p.m.place()))
	if p.m.env.backend.Demo {
		p.say("DEMO: a simulated fleet.")
	}
	if p.m.env.backend.ReadOnly {
		p.say("READ-ONLY: nothing can be changed from here.")
	}
	for id := screenInventory; id <= screenDone; id++ {
		_, symbol, status := p.m.stage(id)
		p.say(speak(fmt.Sprintf("%d %s: %s %s", id+1, stageNames[id], symbol, longer(status))))
	}
}

func longer(status string) string {
	if l := blockedBy[status]; l != "" {
		return l
	}
	return status
}

// show tells the present screen, what is at risk and what is next.
func (p *plainWizard) show() {
	m := p.m
	p.heed()
	if m.blocks() {
		p.ask()
		return
	}
	p.say("")
	if m.at <= screenDone {
		p.say(fmt.Sprintf("Stage %d of %d, %s", m.at+1, len(stageNames), stageNames[m.at]))
	}
	for _, l := range m.screens[m.at].view(plainWidth, plainHeight) {
		if l = speak(l); l != "" {
			p.say(l)
		}
	}
	p.say("Risk: " + speak(strings.Join(m.riskParts(riskLong), "; ")))
	what, why := m.screens[m.at].next()
	p.say("Next: " + speak(upperFirst(what)+": "+why+"."))
}

// ask puts the question that is open.
func (p *plainWizard) ask() {
	m := p.m
	tell := func(lines []string) {
		for _, l := range lines {
			p.say(speak(l))
		}
	}
	p.say("")
	switch {
	case m.leaving:
		p.say("Leaving: " + m.stoppingWhat() + " is being stopped.")
	case m.ask != nil:
		p.say(m.ask.title)
		tell(m.ask.lines())
		p.say("Answer yes or no.")
	case m.confirm != nil:
		c := m.confirm
		p.say(c.title)
		tell(c.lines(c.at))
		for i, choice := range c.choices {
			mark := ""
			if i == c.at {
				mark = " (chosen)"
			}
			p.say(fmt.Sprintf("%d %s%s", i+1, choice, mark))
		}
		p.say("The command for it: " + c.command(c.at))
		p.say("Type " + clean(c.want(c.at)) + " to do it, a number to choose, anything else for no.")
	case m.env.course.asked() != nil:
		q := m.env.course.asked()
		p.told.asked = q
		p.say("Not known: " + clean(q.Text))
		for _, h := range q.Hosts {
			p.say("  " + m.env.course.named(h))
		}
		p.say("Answer r to look again, b to roll the wave back, s to stop here.")
	}
}

// help lists what can be done here, and the commands for it.
func (p *plainWizard) help() {
	for _, a := range p.m.newFinder().all {
		line := a.name
		if a.key != "" {
			line = a.key + ": " + line
		}
		if a.command != "" {
			line += " (" + a.command + ")"
		}
		p.say(speak(line))
	}
	p.say("stages: the stages and how far each is")
	p.say("wait: until what is under way has ended or asks")
	p.say("/FILTER: the hosts that fit to a filter")
	p.say("move HOST=WAVE ...: hosts into other waves of the plan; asks before the new plan is stored")
	p.say("command: the command that shows the same as this screen")
	p.say("an empty line: this screen again, as it is now")
}

// news tells what the work under way has brought.
func (p *plainWizard) news() {
	m, h := p.m, &p.told
	c := m.env.course
	p.heed()
	if r := m.env.run; m.env.running() {
		pr := r.progress.probe
		if tenths := 10 * pr.done / max(pr.total, 1); pr.total > 0 && tenths != h.tenths {
			h.tenths = tenths
			p.say(fmt.Sprintf("Inventory: %s of %s hosts, %s gave no answer.", thousands(pr.done), thousands(pr.total), thousands(pr.failed)))
		}
	} else {
		h.tenths = 0
	}
	if pl := c.plan(); pl != nil && pl.ID != h.plan {
		h.plan, h.entries = pl.ID, 0
	}
	if s, ok := m.screens[screenCutover].(*cutoverScreen); ok && c.mine() {
		for ; h.entries < len(c.log); h.entries++ {
			_, symbol, text := s.entryRow(c.log[h.entries])
			p.say(speak(symbol + " " + text))
		}
	}
	p.drillNews()
	if q := c.asked(); q != nil && q != h.asked {
		p.ask()
	}
}

// drillNews tells which phases a drill has got to.
func (p *plainWizard) drillNews() {
	r := p.m.env.course.drill
	if r == nil {
		return
	}
	if len(r.told) == 0 {
		p.told.laps = 0
	}
	for ; p.told.laps < len(r.told); p.told.laps++ {
		t := r.told[p.told.laps]
		for _, ph := range drillPhases {
			if ph.phase == t.Phase {
				p.say("Drill of " + clean(t.VPC) + ": " + ph.name)
			}
		}
	}
}
