package tui

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
)

// screenID names a screen. The first six are the stages.
type screenID int

const (
	screenInventory screenID = iota
	screenReadiness
	screenPrepare
	screenRecovery
	screenCutover
	screenDone
	screenFleet
	screenLedger
	screenAccess
	screenCount
)

// screen is one screen's work and look.
type screen interface {
	// context is what keys mean on it now.
	context() keyContext
	// handle acts on an intent. It may answer with an intent for the root.
	handle(in intent) (intent, tea.Cmd)
	// loaded tells that env.data has changed.
	loaded()
	// view draws at most h lines of at most w cells.
	view(w, h int) []string
	// next is what to do next, and why.
	next() (what, why string)
}

// env is what all screens share.
type env struct {
	ctx     context.Context
	backend Backend
	now     func() time.Time
	send    func(tea.Msg) // brings a message to the loop from outside; does not block
	tick    func(time.Duration, func(time.Time) tea.Msg) tea.Cmd
	alive   *sync.WaitGroup // inventories whose goroutine has not returned
	styles  *styles
	data    *data // the latest snapshot; nil without one
	loading bool
	loadErr error
	run     *run // the inventory of this session that was started last
	course  *course
}

func (e *env) running() bool { return e.run != nil && !e.run.over }

// notice is one line about something that just happened.
type notice struct {
	failed bool
	text   string
}

// question asks before something is interrupted.
type question struct {
	title string
	lines func() []string // told anew at every drawing
	yes   func() tea.Cmd
}

// model is the root: it owns the frame, the screens and what lies over them.
type model struct {
	env           *env
	options       Options
	light         bool // the terminal's background
	width, height int
	screens       [screenCount]screen
	at            screenID
	trail         []screenID // that the fleet and the tables of people were opened from, each once
	help          *help
	ask           *question
	confirm       *confirm
	finder        *finder
	plain         bool       // it is told line by line
	railAt        []screenID // what each line of the stages' column leads to; -1: nothing
	polling       bool
	notice        *notice
	reporting     bool
	ticking       bool
	leaving       bool // quit as soon as what is under way has stopped
	abandoned     bool
	faulty        bool // this wizard broke something in a demo, and did not put it right
}

func newModel(ctx context.Context, b Backend, o Options, alive *sync.WaitGroup) *model {
	e := &env{ctx: ctx, backend: b, now: o.Now, alive: alive, styles: newStyles(true, o.NoColor), loading: true, course: &course{known: -1}}
	m := &model{env: e, options: o}
	m.screens[screenInventory] = &inventoryScreen{env: e}
	m.screens[screenReadiness] = &readinessScreen{env: e}
	m.screens[screenFleet] = &fleetScreen{env: e}
	m.screens[screenLedger] = &peopleScreen{env: e, head: "Ledger: who comes in over SSH", pick: func(d *data) []table { return d.ledger }, advice: ledgerAdvice}
	m.screens[screenAccess] = &peopleScreen{env: e, head: "Access", pick: func(d *data) []table { return d.access }, advice: accessAdvice}
	m.screens[screenPrepare] = &prepareScreen{env: e}
	m.screens[screenRecovery] = &recoveryScreen{env: e}
	m.screens[screenCutover] = &cutoverScreen{env: e}
	m.screens[screenDone] = &doneScreen{env: e}
	if i := slices.Index(stageNames[:], b.Stage); i > 0 {
		m.at = screenID(i)
	}
	return m
}

// Init reads the latest snapshot and asks the terminal for its background.
func (m *model) Init() tea.Cmd {
	if m.options.NoColor {
		return tea.Batch(m.load(), m.look(), m.poll(), m.fleet().readViews())
	}
	return tea.Batch(m.load(), m.look(), m.poll(), m.fleet().readViews(), tea.RequestBackgroundColor)
}

func (m *model) fleet() *fleetScreen { return m.screens[screenFleet].(*fleetScreen) }

func (m *model) load() tea.Cmd {
	m.env.loading = true
	e := m.env
	return func() tea.Msg {
		snap, judged, err := e.backend.Load(e.ctx)
		if err != nil || snap == nil {
			return loadedMsg{err: err}
		}
		return loadedMsg{data: newData(snap, judged)}
	}
}

// Update acts on one message.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	cmd := m.update(msg)
	return m, tea.Batch(cmd, m.clock())
}

func (m *model) update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.BackgroundColorMsg:
		m.light = !msg.IsDark()
		m.restyle()
	case tea.ColorProfileMsg:
		m.options.NoColor = m.options.NoColor || msg.Profile == colorprofile.ASCII || msg.Profile == colorprofile.NoTTY
		m.restyle()
	case tea.KeyPressMsg:
		return m.key(msg)
	case tea.PasteMsg:
		if m.context().typing() {
			return m.act(typed{msg.Content})
		}
	case tea.MouseClickMsg:
		return m.click(msg)
	case tea.MouseWheelMsg:
		return m.wheel(msg)
	case loadedMsg:
		m.loaded(msg)
		return m.fleet().reload()
	case arrangedMsg:
		m.fleet().arranged(msg)
	case viewsMsg:
		if n := m.fleet().viewed(msg); n != nil {
			m.notice = n
		}
	case copyMsg:
		return m.copied(msg.line)
	case polledMsg:
		return m.polled(msg)
	case keptMsg:
		if msg.err != nil {
			m.notice = &notice{failed: true, text: "Where you are was not kept: " + clean(msg.err.Error())}
		}
	case drillPlannedMsg:
		m.drillPlanned(msg)
	case fedMsg:
		return m.fed()
	case tickMsg:
		m.ticking = false
		if m.env.course.elsewhere() && m.at >= screenPrepare && m.at <= screenDone {
			return m.look() // its entries do not come by themselves
		}
	case standsMsg:
		return m.stands(msg)
	case reckonMsg:
		m.env.course.reckons = false
		return m.reckon()
	case reckonedMsg:
		return m.reckoned(msg)
	case editMsg:
		return msg.then(m)
	case plannedMsg:
		return m.planned(msg)
	case wishedMsg:
		m.wished(msg)
	case brokenMsg:
		m.broken(msg)
	case runbookMsg:
		m.reporting = false
		m.notice = &notice{text: "The runbook is in " + clean(msg.path)}
		if msg.err != nil {
			m.notice = &notice{failed: true, text: "The runbook was not written: " + clean(msg.err.Error())}
		}
	case reportedMsg:
		m.reporting = false
		m.notice = &notice{text: "The report is in " + clean(msg.path)}
		if msg.err != nil {
			m.notice = &notice{failed: true, text: "The report was not written: " + clean(msg.err.Error())}
		}
	}
	return nil
}

func (m *model) restyle() { m.env.styles = newStyles(!m.light, m.options.NoColor) }

func (m *model) context() keyContext {
	switch {
	case m.leaving:
		return ctxStopping
	case m.ask != nil:
		return ctxAsk
	case m.confirm != nil:
		return ctxConfirm
	case m.env.course.asked() != nil:
		return ctxDecide
	case m.finder != nil:
		return ctxPalette
	case m.help != nil:
		return ctxHelp
	}
	return m.screens[m.at].context()
}

func (m *model) key(k tea.KeyPressMsg) tea.Cmd {
	in := m.context().intent(k)
	if in == nil && m.env.backend.Demo && m.context().anywhere() && slices.Contains(keysDemo.bindings[0].keys, k.String()) {
		in = keysDemo.bindings[0].in
	}
	if in == nil {
		return nil
	}
	if !m.reporting {
		m.notice = nil
	}
	return m.act(in)
}

// act carries an intent out, by what lies over the screen, the screen, or the
// root, whichever it is for.
func (m *model) act(in intent) tea.Cmd {
	switch in := in.(type) {
	case quit:
		return m.quit()
	case answer:
		ask := m.ask
		m.ask = nil
		if in.yes {
			return ask.yes()
		}
		return nil
	case decide:
		return m.decide(in.decision)
	}
	if m.confirm != nil {
		if in == (copyLine{}) {
			return m.copied(m.confirm.command(m.confirm.at))
		}
		done, cmd := m.confirm.handle(in)
		if done {
			m.confirm = nil
		}
		return cmd
	}
	if m.finder != nil {
		return m.find(in)
	}
	if m.help != nil {
		if _, ok := in.(back); ok {
			m.help = nil
		} else {
			m.help.pager.handle(in)
		}
		return nil
	}
	if why := m.refusal(in); why != "" {
		m.notice = &notice{failed: true, text: why}
		return nil
	}
	switch in := in.(type) {
	case palette:
		m.finder = m.newFinder()
	case copyLine:
		if v := m.cutover().edit; v != nil && m.at == screenCutover && v.tooMany() {
			m.notice = &notice{failed: true, text: fmt.Sprintf("More than %d hosts are moved: too many for a command line.", mostMoved)}
			return nil
		}
		return m.copied(m.command(in))
	case drill:
		return tea.Batch(m.goTo(screenRecovery), m.askDrill())
	case showHelp:
		m.help = newHelp(m.env, m.screens[m.at].context())
	case goTo:
		return m.goTo(in.to)
	case startRun:
		return m.start()
	case stopRun:
		m.askToStop()
	case report:
		return m.report()
	case runbook:
		return m.runbook()
	case makePlan:
		return m.makePlan()
	case editPlan:
		return m.editPlan()
	case saveEdit:
		return m.saveEdit()
	case leaveEdit:
		m.leaveEdit()
	case apply:
		m.askApply()
	case rollBack:
		m.askRollback()
	case stopDo:
		return m.askStop()
	case breakIt:
		m.askFault()
	case wish:
		return m.wish(in.kind)
	default:
		follow, cmd := m.screens[m.at].handle(in)
		return tea.Batch(cmd, m.follow(follow))
	}
	return nil
}

// follow does what a screen answered with.
func (m *model) follow(in intent) tea.Cmd {
	switch in := in.(type) {
	case nil:
		return nil
	case setFilter:
		cmd := m.goTo(screenFleet)
		_, arrange := m.fleet().handle(in)
		return tea.Batch(cmd, arrange)
	case back:
		return m.leaveView()
	}
	return m.act(in)
}

func (m *model) goTo(id screenID) tea.Cmd {
	if id == m.at {
		return nil
	}
	if id <= screenDone {
		m.trail = nil
	} else {
		m.trail = append(slices.DeleteFunc(m.trail, func(s screenID) bool { return s == id }), m.at)
	}
	m.at = id
	cmd := m.keep(id)
	if id >= screenPrepare && id <= screenDone && !m.env.course.mine() {
		return tea.Batch(cmd, m.look()) // other processes may have changed it
	}
	return cmd
}

// leaveView goes back to where the fleet or a table of people was opened from.
func (m *model) leaveView() tea.Cmd {
	to, rest := screenReadiness, m.trail
	if n := len(rest); n > 0 {
		to, rest = rest[n-1], rest[:n-1]
	}
	cmd := m.goTo(to)
	m.trail = rest
	return cmd
}

func (m *model) start() tea.Cmd {
	cmd := m.goTo(screenInventory)
	if m.env.running() {
		return cmd
	}
	e := m.env
	e.run = startInventory(e.ctx, e.backend.Inventory, func() { e.send(fedMsg{}) }, e.now(), e.alive)
	return cmd
}

// clock makes the next tick come where something on the screen moves with time;
// without a tick source it stands.
func (m *model) clock() tea.Cmd {
	c := m.env.course
	moves := m.env.running() || c.underway() || c.drilling() || len(c.stand.Risks) > 0
	if !moves || m.ticking || m.env.tick == nil {
		return nil
	}
	m.ticking = true
	return m.env.tick(time.Second, func(time.Time) tea.Msg { return tickMsg{} })
}

// fed takes what the running inventory and the run of a plan brought.
func (m *model) fed() tea.Cmd {
	cmd := tea.Batch(m.fedInventory(), m.fedCourse(), m.fedDrill())
	if m.leaving && !m.busy() {
		return tea.Quit
	}
	return cmd
}

// busy reports whether leaving would cut something off.
func (m *model) busy() bool { return m.env.running() || m.env.course.mine() || m.env.course.drilling() }

func (m *model) fedInventory() tea.Cmd {
	if m.env.run == nil || !m.env.run.drain(m.env.now()) {
		return nil
	}
	m.ask = nil // it may have been about interrupting it
	switch r := m.env.run; {
	case r.err != nil && r.stopping && errors.Is(r.err, context.Canceled):
		m.notice = &notice{failed: true, text: "The inventory was stopped. Earlier snapshots stay as they are."}
		return nil
	case r.err != nil:
		m.notice = &notice{failed: true, text: "The inventory failed: " + clean(r.err.Error())}
		return nil
	}
	return tea.Batch(m.load(), m.look())
}

func (m *model) loaded(msg loadedMsg) {
	m.env.loading, m.env.loadErr = false, msg.err
	if msg.err != nil {
		m.notice = &notice{failed: true, text: "The latest snapshot cannot be read: " + clean(msg.err.Error())}
	} else {
		m.env.data = msg.data
	}
	for _, s := range m.screens {
		s.loaded()
	}
}
