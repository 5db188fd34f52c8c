package tui

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	tea "charm.land/bubbletea/v2"

	"ssm-migrate/internal/cutover"
)

// RunPlain leads through the same stages line by line: for screen readers, bad
// links and scripts. It writes whole lines, moves no cursor, and reads one answer
// per line. When the input ends it leaves, after what is under way has stopped.
// Its errors are Run's.
func RunPlain(ctx context.Context, b Backend, o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	o.NoColor = true
	in, out := o.Input, o.Output
	if in == nil {
		in = os.Stdin
	}
	if out == nil {
		out = os.Stdout
	}
	if o.Now == nil {
		o.Now = defaultNow
	}
	var alive sync.WaitGroup
	m := newModel(ctx, b, o, &alive)
	m.plain = true
	p := &plainWizard{m: m, out: out, results: make(chan tea.Msg), wakes: make(chan tea.Msg, 1)}
	m.env.send = func(msg tea.Msg) {
		select {
		case p.wakes <- msg:
		default: // one that was not looked at yet will find everything
		}
	}
	return m.finish(ctx, cancel, p.run(ctx, in))
}

// plainWizard shows the model as lines.
type plainWizard struct {
	m       *model
	out     io.Writer
	results chan tea.Msg // of commands that run
	wakes   chan tea.Msg // from work outside of the loop
	pending int          // commands whose result has not come
	quit    bool
	told    heard
	failed  error // of writing
}

// heard is what was told of the work under way.
type heard struct {
	plan    string
	entries int // of the journal
	tenths  int // of the hosts of an inventory
	laps    int // phases of a drill
	asked   *asked
}

// plainLine is a line of input, or its end.
type plainLine struct {
	text string
	end  bool
}

func (p *plainWizard) run(ctx context.Context, in io.Reader) error {
	lines := make(chan plainLine)
	go readPlain(ctx, in, lines)
	p.do(p.m.Init())
	if err := p.settle(ctx); err != nil {
		return err
	}
	p.say("migrate, line by line. Type a key or a word and press enter; ? lists what there is here, q leaves.")
	p.stages()
	p.show()
	for !p.quit && p.failed == nil {
		p.prompt()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case msg := <-p.wakes:
			p.take(msg)
			if err := p.settle(ctx); err != nil {
				return err
			}
			p.news()
		case l := <-lines:
			if err := p.line(ctx, l); err != nil {
				return err
			}
		}
	}
	return p.failed
}

// readPlain hands lines on until the input or ctx ends. A terminal's read cannot be
// cancelled: then it ends with the process.
func readPlain(ctx context.Context, in io.Reader, to chan<- plainLine) {
	scan := bufio.NewScanner(in)
	for end := false; !end; {
		end = !scan.Scan()
		select {
		case to <- plainLine{scan.Text(), end}:
		case <-ctx.Done():
			return
		}
	}
}

// line acts on one line of input.
func (p *plainWizard) line(ctx context.Context, l plainLine) error {
	if l.end {
		p.say("The input has ended: leaving.")
		p.do(p.m.leave())
		return p.until(ctx, func() bool { return p.quit })
	}
	text := strings.TrimSpace(l.text)
	if text == "wait" {
		return p.until(ctx, func() bool { return !p.m.busy() && !p.m.env.course.elsewhere() || p.m.blocks() })
	}
	p.m.notice = nil
	leaving := p.m.leaving
	if !p.answer(text) {
		return nil
	}
	if err := p.settle(ctx); err != nil {
		return err
	}
	p.heed()
	if p.m.leaving && !leaving {
		return p.until(ctx, func() bool { return p.quit })
	}
	if !p.quit {
		p.show()
	}
	return nil
}

// until takes what comes until it holds, and tells of it.
func (p *plainWizard) until(ctx context.Context, holds func() bool) error {
	if err := p.settle(ctx); err != nil {
		return err
	}
	for !holds() && p.failed == nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case msg := <-p.wakes:
			p.take(msg)
			if err := p.settle(ctx); err != nil {
				return err
			}
			p.news()
		}
	}
	if !p.quit {
		p.show()
	}
	return p.failed
}

// do runs a command beside the loop.
func (p *plainWizard) do(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	p.pending++
	go func() { p.results <- cmd() }()
}

// take lets the model act on a message.
func (p *plainWizard) take(msg tea.Msg) {
	switch msg := msg.(type) {
	case nil:
	case tea.BatchMsg:
		for _, c := range msg {
			p.do(c)
		}
	case tea.QuitMsg:
		p.quit = true
	default:
		_, cmd := p.m.Update(msg)
		p.do(cmd)
	}
}

// settle waits for everything short that was begun, so that what is shown is not
// behind what was answered.
func (p *plainWizard) settle(ctx context.Context) error {
	for p.pending > 0 {
		select {
		case <-ctx.Done():
			for ; p.pending > 0; p.pending-- { // they end with ctx
				<-p.results
			}
			return ctx.Err()
		case msg := <-p.results:
			p.pending--
			p.take(msg)
		}
	}
	return nil
}

// plainWords are words for what has a key elsewhere.
var plainWords = map[string]intent{
	"inventory": startRun{}, "report": report{}, "runbook": runbook{}, "drill": drill{}, "plan": makePlan{}, "apply": apply{},
	"rollback": rollBack{}, "roll back": rollBack{}, "pause": wish{wishPause}, "resume": wish{wishResume}, "faster": wish{wishMore},
	"slower": wish{wishFewer}, "stop": stopDo{}, "quit": quit{}, "command": copyLine{}, "next": page{1}, "previous": page{-1}, "back": back{},
}

// answer acts on a line where it stands, and reports whether the screen may have
// changed.
func (p *plainWizard) answer(text string) bool {
	m := p.m
	low := strings.ToLower(text)
	switch m.context() {
	case ctxConfirm:
		p.confirm(text)
		return true
	case ctxAsk:
		return p.oneOf(low, map[string]intent{"y": answer{true}, "yes": answer{true}, "n": answer{false}, "no": answer{false}})
	case ctxDecide:
		return p.oneOf(low, map[string]intent{
			"r": decide{cutover.DecideRetry}, "again": decide{cutover.DecideRetry}, "b": decide{cutover.DecideRollback},
			"roll back": decide{cutover.DecideRollback}, "s": decide{cutover.DecideStop}, "stop": decide{cutover.DecideStop}, "q": quit{},
		})
	}
	if words := strings.Fields(text); len(words) > 0 && words[0] == "move" {
		p.do(m.moveByLine(words[1:]))
		return true
	}
	switch {
	case text == "":
		p.do(m.look())
		return true
	case text == "?" || low == "help":
		p.help()
		return false
	case low == "stages":
		p.stages()
		return false
	case strings.HasPrefix(text, "/"):
		p.do(m.follow(setFilter{strings.TrimSpace(text[1:])}))
		return true
	}
	for _, s := range m.context().layers() {
		for _, b := range s.bindings {
			if slices.Contains(b.keys, text) && b.in != (palette{}) && b.in != (editFilter{}) {
				p.do(m.act(b.in))
				return true
			}
		}
	}
	if i := slices.IndexFunc(stageNames[:], func(n string) bool { return strings.EqualFold(n, text) }); i > 0 {
		p.do(m.act(goTo{screenID(i)}))
		return true
	}
	return p.oneOf(low, plainWords)
}

// oneOf acts on one of some words.
func (p *plainWizard) oneOf(text string, words map[string]intent) bool {
	in := words[text]
	if in == nil {
		p.say(strconv.Quote(clean(text)) + " means nothing here; ? lists what there is.")
		return false
	}
	p.do(p.m.act(in))
	return true
}

// confirm takes a choice by its number, the name that was asked for, or anything
// else for no.
func (p *plainWizard) confirm(text string) {
	c := p.m.confirm
	n, err := strconv.Atoi(text)
	switch {
	case squeezed(text) == squeezed(c.want(c.at)):
		c.input.set(text)
		p.do(p.m.act(open{}))
	case err == nil && n >= 1 && n <= len(c.choices):
		c.at = n - 1
	default:
		p.m.confirm = nil
		p.say("That is not it: nothing is done.")
	}
}

// say writes one line.
func (p *plainWizard) say(text string) {
	if p.failed != nil {
		return
	}
	if _, err := fmt.Fprintln(p.out, text); err != nil {
		p.failed = fmt.Errorf("show the wizard: %w", err)
	}
}
