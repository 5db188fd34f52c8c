package tui

import (
	"slices"

	tea "charm.land/bubbletea/v2"

	"ssm-migrate/internal/cutover"
)

// This file alone names keys: it turns them into intents, and tells the
// footer and the help about them.

// keyContext is what a key is pressed on.
type keyContext int

const (
	ctxEmpty       keyContext = iota // inventory: none yet
	ctxRunning                       // inventory: one is running
	ctxTaken                         // inventory: there is one
	ctxComplete                      // inventory: there is one, and everything answered
	ctxReadiness                     // readiness: causes
	ctxFleet                         // fleet: the table
	ctxFilter                        // fleet: a filter is being typed
	ctxName                          // fleet: a view is given a name
	ctxPick                          // fleet: one of a list is picked
	ctxHost                          // fleet: one host
	ctxTable                         // a table of people
	ctxTables                        // one of several tables of people
	ctxText                          // one finding or reason in full
	ctxStage                         // a stage that only tells
	ctxList                          // a stage with a list
	ctxRecovery                      // recovery: VPCs and hosts
	ctxNoPlan                        // cutover: there is no plan
	ctxPlan                          // cutover: a plan on which nobody works
	ctxBusy                          // cutover: a run is under way
	ctxEdit                          // cutover: hosts are moved between waves
	ctxEditNumber                    // cutover: the wave that they are moved to is typed
	ctxEditFilter                    // cutover: a filter of these hosts is typed
	ctxEditPreview                   // cutover: what comes of the moves
	ctxWave                          // cutover: one wave, on which nobody works
	ctxWaveBusy                      // cutover: one wave while a run is under way
	ctxConfirm                       // the name that confirms is being typed
	ctxPalette                       // an action is being looked for
	ctxDecide                        // a run asks
	ctxHelp                          // the help is open
	ctxAsk                           // a question is open
	ctxStopping                      // leaving, as soon as what is under way has stopped
)

// binding is a key. One that changes the fleet, or how a run does, has a capital
// letter wherever the same letter or its neighbors do something harmless.
type binding struct {
	keys  []string
	in    intent
	short string // for the footer; empty: only in the help
	help  string
}

// section is a titled group of bindings of the help.
type section struct {
	title    string
	bindings []binding
}

var (
	keysMoving = section{"Moving", []binding{
		{[]string{"up", "k"}, move{-1}, "", "one line up"},
		{[]string{"down", "j"}, move{1}, "", "one line down"},
		{[]string{"pgup", "ctrl+b"}, page{-1}, "", "one screen up"},
		{[]string{"pgdown", "space", "ctrl+f"}, page{1}, "", "one screen down"},
		{[]string{"home", "g"}, toEdge{false}, "", "to the first line"},
		{[]string{"end", "G"}, toEdge{true}, "", "to the last line"},
	}}
	keysEverywhere = section{"Everywhere", []binding{
		{[]string{"1"}, goTo{screenInventory}, "", "stage 1, Inventory"},
		{[]string{"2"}, goTo{screenReadiness}, "2 readiness", "stage 2, Readiness"},
		{[]string{"3"}, goTo{screenPrepare}, "", "stage 3, Prepare: the fixes"},
		{[]string{"4"}, goTo{screenRecovery}, "", "stage 4, Recovery: the way back in"},
		{[]string{"5"}, goTo{screenCutover}, "", "stage 5, Cutover: plan, apply, roll back"},
		{[]string{"6"}, goTo{screenDone}, "", "stage 6, Done"},
		{[]string{"r"}, report{}, "r report", "write the HTML report and say where it is"},
		{[]string{"f"}, goTo{screenFleet}, "f fleet", "the fleet: all hosts in a table"},
		{[]string{"l"}, goTo{screenLedger}, "l ledger", "the ledger: who still comes in over SSH"},
		{[]string{"a"}, goTo{screenAccess}, "a access", "who gets in today and tomorrow, and what operators may do"},
		{[]string{"y"}, copyLine{}, "", "copy the command that shows the same, and show it"},
		{[]string{":", "ctrl+p"}, palette{}, ": actions", "all actions with their keys and commands, to be found by typing"},
		{[]string{"?"}, showHelp{}, "? help", "the keys of this screen, then all others"},
		{[]string{"q", "ctrl+c"}, quit{}, "q quit", "leave; asks first while an inventory or a plan runs"},
	}}
	keysEmpty = section{"Inventory, before the first one", []binding{
		{[]string{"enter"}, open{}, "enter start", "take the inventory; it only reads"},
		{[]string{"i"}, startRun{}, "", "take the inventory"},
	}}
	keysRunning = section{"Inventory, while it runs", []binding{
		{[]string{"enter"}, open{}, "enter reason", "the selected reason in full"},
		{[]string{"tab"}, nextPane{}, "tab list", "move in the sources or in what gave no answer"},
		{[]string{"x"}, stopRun{}, "x stop", "stop the inventory; asks first"},
	}}
	keysTaken = section{"Inventory, when it is done", []binding{
		{[]string{"enter"}, open{}, "enter reason", "the selected reason in full"},
		{[]string{"i"}, startRun{}, "i again", "take a new inventory; the old one stays stored"},
	}}
	keysComplete = section{"Inventory, when everything answered", []binding{
		{[]string{"enter"}, goTo{screenReadiness}, "enter readiness", "go on to Readiness"},
		{[]string{"i"}, startRun{}, "i again", "take a new inventory; the old one stays stored"},
	}}
	keysReadiness = section{"Readiness", []binding{
		{[]string{"enter"}, open{}, "enter show", "a cause or risk: its hosts; anything else: its full text"},
		{[]string{"i"}, startRun{}, "i again", "take a new inventory"},
	}}
	keysFleet = section{"Fleet", []binding{
		{[]string{"enter"}, open{}, "enter host", "all about the host: findings, evidence, fixes, keys; on a group: its hosts"},
		{[]string{"/"}, editFilter{}, "/ filter", "type a filter (language below)"},
		{[]string{"esc"}, back{}, "esc back", "drop the filter; without one, go back"},
		{[]string{"o"}, groupHosts{}, "o group", "group the hosts by zone, VPC, Auto Scaling group, tag, verdict, cause, …"},
		{[]string{"s"}, nextSort{}, "s sort", "sort by the next column"},
		{[]string{"S"}, flipSort{}, "", "reverse the order"},
		{[]string{"space"}, mark{}, "space mark", "mark the host, or all of the group; again: no longer"},
		{[]string{"*"}, markAll{}, "", "mark all that the table shows; again: none of them"},
		{[]string{"u"}, markNone{}, "", "take all marks away"},
		{[]string{"x"}, showCommands{}, "x commands", "the commands for the marked hosts, or the selected one, to be copied"},
		{[]string{"v"}, showViews{}, "v views", "the saved views"},
		{[]string{"V"}, nameView{}, "", "save filter, order and groups as a view"},
		{[]string{"d"}, togglePane{}, "", "details beside the table or not, in a window of 160 columns or more"},
	}}
	keysFilter = section{"Fleet, while a filter is typed", []binding{
		{[]string{"enter"}, open{}, "enter keep", "keep the filter and go back to the table"},
		{[]string{"esc"}, back{}, "esc undo", "show again what the table showed before"},
		{[]string{"tab"}, complete{}, "tab complete", "end the key that is being typed"},
	}}
	keysName = section{"Fleet, while a view is given a name", []binding{
		{[]string{"enter"}, open{}, "enter save", "save the view"},
		{[]string{"esc"}, back{}, "esc do nothing", "do not save it"},
	}}
	keysLine = section{"While a line is typed", []binding{
		{[]string{"up"}, move{-1}, "", "one line up"},
		{[]string{"down"}, move{1}, "", "one line down"},
		{[]string{"left"}, edit{toLeft}, "", "one character to the left"},
		{[]string{"right"}, edit{toRight}, "", "one character to the right"},
		{[]string{"home", "ctrl+a"}, edit{toStart}, "", "to the start"},
		{[]string{"end", "ctrl+e"}, edit{toEnd}, "", "to the end"},
		{[]string{"backspace"}, edit{eraseLeft}, "", "erase the character before the cursor"},
		{[]string{"delete", "ctrl+d"}, edit{eraseRight}, "", "erase the character at the cursor"},
		{[]string{"ctrl+w"}, edit{eraseWord}, "", "erase the word before the cursor"},
		{[]string{"ctrl+u"}, edit{eraseAll}, "", "erase all before the cursor"},
	}}
	keysPick = section{"A list to pick from", []binding{
		{[]string{"enter"}, open{}, "enter pick", "take the selected one"},
		{[]string{"esc"}, back{}, "esc close", "close the list"},
		{[]string{"pgup"}, page{-1}, "", "one screen up"},
		{[]string{"pgdown"}, page{1}, "", "one screen down"},
		{[]string{"ctrl+x"}, drop{}, "", "forget the selected view"},
	}}
	keysHost = section{"One host", []binding{
		{[]string{"esc", "backspace"}, back{}, "esc table", "back to the table"},
		{[]string{"n", "right"}, nextHost{1}, "n next host", "the next host of the table"},
		{[]string{"p", "left"}, nextHost{-1}, "p previous", "the previous host of the table"},
	}}
	keysTable = section{"Ledger and access", []binding{
		{[]string{"enter"}, open{}, "enter show", "all about the selected one"},
		{[]string{"esc", "backspace"}, back{}, "esc back", "go back"},
	}}
	keysTables = section{"Access: its tables", []binding{
		{[]string{"tab"}, nextPane{}, "tab other table", "people, or the IAM principals that are operators"},
	}}
	keysText = section{"One finding or reason", []binding{
		{[]string{"esc", "backspace", "enter"}, back{}, "esc back", "back to the list"},
	}}
	keysList = section{"Prepare and Recovery", []binding{
		{[]string{"enter"}, open{}, "enter show", "all about the selected one"},
	}}
	keysRecovery = section{"Recovery", []binding{
		{[]string{"w"}, runbook{}, "w runbook", "write down how to get in without migrate, and say where"},
		{[]string{"D"}, drill{}, "D drill", "rehearse it: start the bastions, log in by them, end them; asks first"},
	}}
	keysNoPlan = section{"Cutover, before the first plan", []binding{
		{[]string{"enter", "n"}, makePlan{}, "enter plan", "make a plan from the latest snapshot and the policy; it changes nothing"},
	}}
	keysPlan = section{"Cutover: a plan", []binding{
		{[]string{"enter"}, open{}, "enter show", "the selected wave with its steps, or the selected line in full"},
		{[]string{"tab"}, nextPane{}, "tab list", "move in the waves, what needs a look, the journal, what stays open"},
		{[]string{"A"}, apply{}, "A apply", "carry the plan out, or go on with it; asks for a name"},
		{[]string{"B"}, rollBack{}, "B roll back", "take back a host, a wave or all; asks for a name"},
		{[]string{"n"}, makePlan{}, "n new plan", "make another plan from the latest snapshot"},
		{[]string{"e"}, editPlan{}, "e edit", "move hosts between the waves, while nothing of the plan has begun"},
	}}
	keysEdit = section{"Cutover: the waves of a plan are edited", []binding{
		{[]string{"enter"}, open{}, "enter preview", "what the planner makes of the moves, as a diff"},
		{[]string{"J", "shift+down"}, drag{1}, "J later", "move the marked hosts, else the one here, to the next wave; on a wave's line all of it"},
		{[]string{"K", "shift+up"}, drag{-1}, "K earlier", "move them to the wave before"},
		{[]string{"m"}, toWave{}, "m to wave", "move them to the wave with a number; a digit begins to type it"},
		{[]string{"space"}, mark{}, "space mark", "mark the host, or all of the wave; again: no longer"},
		{[]string{"*"}, markAll{}, "", "mark all that the list shows; again: none of them"},
		{[]string{"u"}, undo{}, "u undo", "take the last move back"},
		{[]string{"/"}, editFilter{}, "/ filter", "show the hosts that a filter lets through; none is moved by that"},
		{[]string{"tab"}, nextPane{}, "", "to the next wave"},
		{[]string{"esc"}, back{}, "esc leave", "drop the filter, then the marks, then leave; asks where hosts were moved"},
	}}
	keysEditNumber = section{"Waves, while a number is typed", []binding{
		{[]string{"enter"}, open{}, "enter move", "move the hosts to this wave"},
		{[]string{"esc"}, back{}, "esc do nothing", "move nothing"},
	}}
	keysEditFilter = section{"Waves, while a filter is typed", []binding{
		{[]string{"enter"}, open{}, "enter filter", "show the hosts that it lets through; nothing typed: all"},
		{[]string{"esc"}, back{}, "esc do nothing", "leave the filter as it was"},
	}}
	keysEditPreview = section{"Waves: the preview", []binding{
		{[]string{"enter"}, open{}, "enter store it", "store the new plan; it changes nothing in the fleet, and the old plan stays"},
		{[]string{"esc", "backspace"}, back{}, "esc go on", "go on moving hosts"},
	}}
	keysBusy = section{"Cutover, while a run is under way", []binding{
		{[]string{"p"}, wish{wishPause}, "p pause", "the steps under way end, none begins until r"},
		{[]string{"r"}, wish{wishResume}, "r resume", "go on after a pause"},
		{[]string{"S"}, stopDo{}, "S stop", "the steps under way end, and the run does; asks first"},
		{[]string{"B"}, rollBack{}, "B roll back", "stop, then take back a host, a wave or all; asks for a name"},
		{[]string{"+", "="}, wish{wishMore}, "+ faster", "one more lane at once"},
		{[]string{"-"}, wish{wishFewer}, "- slower", "one lane less at once"},
	}}
	keysWatch = section{"Cutover, while a run is under way: its lists", []binding{
		{[]string{"enter"}, open{}, "enter show", "the selected wave with its steps, or the selected line in full"},
		{[]string{"tab"}, nextPane{}, "tab list", "move in the waves, what needs a look, the journal, what stays open"},
	}}
	keysWave = section{"One wave", []binding{
		{[]string{"esc", "backspace"}, back{}, "esc waves", "back to all waves"},
		{[]string{"enter"}, open{}, "enter show", "the selected step or host in full"},
		{[]string{"tab"}, nextPane{}, "tab hosts", "the wave's steps, or its hosts"},
	}}
	keysWaveIdle = section{"One wave, while nobody works on the plan", []binding{
		{[]string{"A"}, apply{}, "A apply", "carry the plan out, or go on with it; asks for a name"},
		{[]string{"B"}, rollBack{}, "B roll back", "take back the host, the wave or all; asks for a name"},
	}}
	keysPalette = section{"All actions", []binding{
		{[]string{"enter"}, open{}, "enter do it", "do the selected action; what changes the fleet asks first"},
		{[]string{"esc"}, back{}, "esc close", "close the list"},
		{[]string{"up", "ctrl+p"}, move{-1}, "", "the action above"},
		{[]string{"down", "ctrl+n"}, move{1}, "", "the action below"},
		{[]string{"pgup"}, page{-1}, "", "one screen up"},
		{[]string{"pgdown"}, page{1}, "", "one screen down"},
		{[]string{"ctrl+y"}, copyLine{}, "ctrl+y copy the command", "copy the command that does the same, and show it"},
		{[]string{"backspace"}, edit{eraseLeft}, "", "erase the last character"},
		{[]string{"ctrl+u"}, edit{eraseAll}, "", "erase all"},
	}}
	keysConfirm = section{"While a name is typed that confirms", []binding{
		{[]string{"enter"}, open{}, "enter do it", "do it, if what is typed is the name that was asked for"},
		{[]string{"ctrl+y"}, copyLine{}, "ctrl+y copy the command", "copy the command that does the same"},
		{[]string{"esc"}, back{}, "esc do nothing", "do nothing"},
		{[]string{"up"}, move{-1}, "", "the choice above"},
		{[]string{"down"}, move{1}, "", "the choice below"},
		{[]string{"backspace"}, edit{eraseLeft}, "", "erase the last character"},
		{[]string{"ctrl+u"}, edit{eraseAll}, "", "erase all"},
	}}
	keysDecide = section{"When a run asks", []binding{
		{[]string{"r"}, decide{cutover.DecideRetry}, "r look again", "look at the world once more"},
		{[]string{"B"}, decide{cutover.DecideRollback}, "B roll back", "roll the wave back and end the run"},
		{[]string{"S"}, decide{cutover.DecideStop}, "S stop", "end the run here; it can be resumed"},
	}}
	keysHelp = section{"Help", []binding{
		{[]string{"esc", "?", "q", "enter"}, back{}, "esc close", "close the help"},
	}}
	keysAsk = section{"A question", []binding{
		{[]string{"y"}, answer{true}, "y yes", "yes"},
		{[]string{"n", "esc"}, answer{false}, "n no", "no, go on as before"},
	}}
	keysInterrupt = section{"", []binding{
		{[]string{"ctrl+c"}, quit{}, "", ""},
	}}
	keysStopping = section{"", []binding{
		{[]string{"ctrl+c"}, quit{}, "ctrl+c leave now", ""},
	}}
)

// without leaves out a key that means something else in a context.
func (s section) without(key string) section {
	s.bindings = slices.Clone(s.bindings)
	for i := range s.bindings {
		b := &s.bindings[i]
		b.keys = slices.DeleteFunc(slices.Clone(b.keys), func(k string) bool { return k == key })
	}
	s.bindings = slices.DeleteFunc(s.bindings, func(b binding) bool { return len(b.keys) == 0 })
	return s
}

// only keeps some keys of a section.
func (s section) only(keys ...string) section {
	s.bindings = slices.DeleteFunc(slices.Clone(s.bindings), func(b binding) bool { return !slices.Contains(keys, b.keys[0]) })
	return s
}

// layers gives the sections that hold in a context, the most special first.
func (c keyContext) layers() []section {
	switch c {
	case ctxEmpty:
		return []section{keysEmpty, keysEverywhere}
	case ctxRunning:
		return []section{keysRunning, keysMoving, keysEverywhere}
	case ctxTaken:
		return []section{keysTaken, keysMoving, keysEverywhere}
	case ctxComplete:
		return []section{keysComplete, keysEverywhere}
	case ctxReadiness:
		return []section{keysReadiness, keysMoving, keysEverywhere}
	case ctxFleet:
		return []section{keysFleet, keysMoving.without("space"), keysEverywhere}
	case ctxFilter:
		return []section{keysFilter, keysLine, keysInterrupt}
	case ctxName:
		return []section{keysName, keysLine, keysInterrupt}
	case ctxPick:
		return []section{keysPick, keysLine, keysInterrupt}
	case ctxHost:
		return []section{keysHost, keysMoving, keysEverywhere}
	case ctxTable:
		return []section{keysTable, keysMoving, keysEverywhere}
	case ctxTables:
		return []section{keysTables, keysTable, keysMoving, keysEverywhere}
	case ctxText:
		return []section{keysText, keysMoving, keysEverywhere}
	case ctxStage:
		return []section{keysEverywhere}
	case ctxList:
		return []section{keysList, keysMoving, keysEverywhere}
	case ctxRecovery:
		return []section{keysRecovery, keysList, keysMoving, keysEverywhere}
	case ctxNoPlan:
		return []section{keysNoPlan, keysEverywhere}
	case ctxPlan:
		return []section{keysPlan, keysMoving, keysEverywhere}
	case ctxEdit:
		return []section{keysEdit, keysMoving.without("space"), keysEverywhere.only("y", ":", "ctrl+p", "?", "q", "ctrl+c")}
	case ctxEditNumber:
		return []section{keysEditNumber, keysLine, keysInterrupt}
	case ctxEditFilter:
		return []section{keysEditFilter, keysLine, keysInterrupt}
	case ctxEditPreview:
		return []section{keysEditPreview, keysMoving, keysEverywhere.only("y", ":", "ctrl+p", "?", "q", "ctrl+c")}
	case ctxBusy:
		return []section{keysBusy, keysWatch, keysMoving, keysEverywhere.without("r")}
	case ctxWave:
		return []section{keysWaveIdle, keysWave, keysMoving, keysEverywhere}
	case ctxWaveBusy:
		return []section{keysBusy, keysWave, keysMoving, keysEverywhere.without("r")}
	case ctxConfirm:
		return []section{keysConfirm, keysInterrupt}
	case ctxPalette:
		return []section{keysPalette, keysInterrupt}
	case ctxDecide:
		return []section{keysDecide, keysInterrupt}
	case ctxHelp:
		return []section{keysHelp, keysMoving, keysInterrupt}
	case ctxAsk:
		return []section{keysAsk, keysInterrupt}
	case ctxStopping:
		return []section{keysStopping}
	}
	return nil
}

// anywhere reports whether the keys for everywhere hold in a context.
func (c keyContext) anywhere() bool {
	return slices.ContainsFunc(c.layers(), func(s section) bool { return s.title == keysEverywhere.title })
}

// intent is what a key means in a context; nil when it means nothing there.
// While text is typed, every other key that writes something is text.
func (c keyContext) intent(k tea.KeyPressMsg) intent {
	name := k.String()
	for _, s := range c.layers() {
		for _, b := range s.bindings {
			if slices.Contains(b.keys, name) {
				return b.in
			}
		}
	}
	digit := c == ctxEdit && len(k.Text) == 1 && isDigit(k.Text[0])
	if (c.typing() || digit) && k.Text != "" {
		return typed{k.Text}
	}
	return nil
}

// typing reports whether keys that write something are text.
func (c keyContext) typing() bool {
	return c == ctxFilter || c == ctxName || c == ctxPick || c == ctxEditNumber || c == ctxEditFilter || c == ctxConfirm || c == ctxPalette
}

// hints are the footer's texts in a context: of what is harmless, of what
// changes something, and those that are never left out for want of room.
func (c keyContext) hints(at screenID) (usual, changing, always []string) {
	seen := map[string]bool{}
	for _, s := range c.layers() {
		for _, b := range s.bindings {
			if b.short == "" || b.in == (goTo{at}) || seen[b.short] {
				continue
			}
			seen[b.short] = true
			switch {
			case parts(b.in):
				changing = append(changing, b.short)
			case b.in == palette{} || b.in == showHelp{} || b.in == quit{}:
				always = append(always, b.short)
			default:
				usual = append(usual, b.short)
			}
		}
	}
	return usual, changing, always
}

// parts reports whether an intent stands apart in the footer: it begins a change of
// the fleet, or cuts one off. A pause and the speed are taken back as easily.
func parts(in intent) bool {
	_, wished := in.(wish)
	return changes(in) && !wished
}

// changes reports whether an intent is about changing the fleet, or a run that does.
func changes(in intent) bool {
	switch in := in.(type) {
	case apply, rollBack, stopDo, wish, drill:
		return true
	case decide:
		return in.decision == cutover.DecideRollback
	}
	return false
}

// helpSections are all sections, those of the context first.
func helpSections(c keyContext) []section {
	all := []section{keysEmpty, keysRunning, keysTaken, keysComplete, keysReadiness, keysList, keysRecovery, keysNoPlan, keysPlan, keysEdit, keysEditNumber, keysEditFilter, keysEditPreview, keysBusy, keysWatch, keysWave, keysWaveIdle, keysPalette, keysConfirm, keysDecide, keysText, keysFleet, keysFilter, keysName, keysPick, keysLine, keysHost, keysTable, keysTables, keysEverywhere, keysMoving}
	var out []section
	for _, s := range c.layers() {
		if s.title != "" && s.title != keysEverywhere.title && s.title != keysMoving.title {
			out = append(out, s)
		}
	}
	out = append(out, keysEverywhere, keysMoving)
	for _, s := range all {
		if !slices.ContainsFunc(out, func(o section) bool { return o.title == s.title }) {
			out = append(out, s)
		}
	}
	return out
}
