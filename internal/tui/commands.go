package tui

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"

	"ssm-migrate/internal/cutover"
)

// screenCommands show on the command line what the screens show.
var screenCommands = map[screenID]string{
	screenInventory: "snapshots", screenReadiness: "readiness", screenPrepare: "plan show", screenRecovery: "recovery status",
	screenCutover: "status", screenDone: "drift", screenLedger: "ledger", screenAccess: "access",
}

// command is the command line that does what an intent does; empty: there is none.
func (m *model) command(in intent) string {
	args := ""
	switch in := in.(type) {
	case goTo:
		args = m.screenCommand(in.to)
	case copyLine:
		args = m.screenCommand(m.at)
	case startRun:
		args = "inventory"
	case report:
		args = "report --format html -o migrate-report.html"
	case runbook:
		args = "recovery runbook -o runbook.md"
	case drill:
		args = "recovery drill --yes"
	case makePlan:
		args = "plan"
	case editPlan:
		args = "plan --from " + m.planID() + " --move HOST=WAVE"
	case saveEdit:
		args = m.screenCommand(screenCutover)
	case apply:
		args = "apply " + m.planID()
	case rollBack:
		args = "rollback " + m.planID() + " --all"
	case stopDo:
		args = "pause " + m.planID() + " --stop"
	case wish:
		args = m.wishCommand(in.kind)
	case tellLine:
		args = in.command
	}
	if args == "" {
		return ""
	}
	return m.env.called(args)
}

// called is a command line as it is typed.
func (e *env) called(args string) string {
	name := e.backend.Command
	if name == "" {
		name = "migrate"
	}
	return strings.TrimSpace(name + " " + args)
}

// screenCommand names the plan where the command is about one.
func (m *model) screenCommand(id screenID) string {
	args := screenCommands[id]
	if id == screenFleet {
		return m.fleet().hostsArgs("")
	}
	if v := m.cutover().edit; id == screenCutover && v != nil && v.moved > 0 {
		return v.command()
	}
	if m.env.course.plan() == nil {
		if id == screenPrepare {
			return "plan"
		}
		return args
	}
	switch id {
	case screenPrepare, screenCutover, screenDone:
		args += " " + m.planID()
	default:
	}
	return args
}

// planID is what stands for the plan in a command line.
func (m *model) planID() string {
	if p := m.env.course.plan(); p != nil {
		return clean(p.ID)
	}
	return "PLAN"
}

func (m *model) wishCommand(kind wishKind) string {
	lanes := 0
	if c := m.env.course; c.plan() != nil {
		lanes = c.plan().Policy.Concurrency
		if c.state.Wish.Concurrency > 0 {
			lanes = c.state.Wish.Concurrency
		}
	}
	switch kind {
	case wishPause:
		return "pause " + m.planID()
	case wishStop:
		return "pause " + m.planID() + " --stop"
	case wishMore:
		return fmt.Sprintf("resume %s --concurrency %d", m.planID(), lanes+1)
	case wishFewer:
		return fmt.Sprintf("resume %s --concurrency %d", m.planID(), max(lanes-1, 1))
	case wishResume:
	}
	return "resume " + m.planID()
}

// scopeCommand takes back a scope.
func (m *model) scopeCommand(s cutover.Scope) string {
	args := "rollback " + m.planID()
	switch {
	case s.Host != nil:
		args += " --host " + clean(s.Host.ID)
	case s.Wave != nil:
		args += fmt.Sprintf(" --wave %d", *s.Wave)
	default:
		args += " --all"
	}
	return m.env.called(args)
}

// copied puts a command line into the terminal's clipboard and shows it: many a
// terminal does not let programs do the former.
func (m *model) copied(line string) tea.Cmd {
	if line == "" {
		m.notice = &notice{failed: true, text: "No command does this."}
		return nil
	}
	if m.plain {
		m.notice = &notice{text: line}
		return nil
	}
	m.notice = &notice{text: "Copied, if your terminal lets programs copy: " + line}
	return tea.SetClipboard(line)
}

// refusal says why a wizard that only looks does not act on an intent; empty: it may.
func (m *model) refusal(in intent) string {
	if !m.env.backend.ReadOnly {
		return ""
	}
	switch in.(type) {
	case startRun, makePlan, saveEdit, decide, nameView, drop:
	default:
		if !changes(in) {
			return ""
		}
	}
	text := "Read-only: nothing is changed from here."
	if line := m.command(in); line != "" {
		text += " By command: " + line
	}
	return text
}
