package tui

import "ssm-migrate/internal/cutover"

// intent is what the operator wants, apart from the key that says it. Screens
// act on intents and never see keys.
type intent interface{ isIntent() }

type (
	move         struct{ by int }      // lines down; negative: up
	page         struct{ by int }      // screens down; negative: up
	toEdge       struct{ last bool }   // first or last line
	open         struct{}              // act on what is selected
	back         struct{}              // leave the innermost thing
	goTo         struct{ to screenID } // show a screen
	nextPane     struct{}              // the other list on this screen
	startRun     struct{}              // take an inventory
	stopRun      struct{}              // interrupt it
	report       struct{}              // write the report
	runbook      struct{}              // write the recovery runbook
	editFilter   struct{}              // start typing a filter
	setFilter    struct{ text string } // replace the filter
	nextSort     struct{}              // sort by the next column
	flipSort     struct{}              // reverse the order
	complete     struct{}              // end the word that is being typed
	groupHosts   struct{}              // pick what hosts are grouped by
	showViews    struct{}              // pick a saved view
	nameView     struct{}              // save what is shown as a view
	mark         struct{}              // mark what is selected, or take its mark away
	markAll      struct{}              // mark all that the table shows
	markNone     struct{}              // take all marks away
	showCommands struct{}              // commands for the marked hosts
	togglePane   struct{}              // details beside the table
	drop         struct{}              // forget the selected one
	nextHost     struct{ by int }      // in the detail: the host after or before
	showHelp     struct{}              //
	quit         struct{}              // leave, after asking where work would be lost
	answer       struct{ yes bool }    // to a question
	palette      struct{}              // all actions, to be found by typing
	copyLine     struct{}              // copy the command that does the same

	editPlan  struct{}         // move hosts between the plan's waves
	drag      struct{ by int } // to the wave so many later; negative: earlier
	toWave    struct{}         // type the number of a wave
	undo      struct{}         // take the last move back
	saveEdit  struct{}         // store the plan that is previewed
	leaveEdit struct{}         // close the editor; asks where something was moved

	makePlan struct{}                            // from the latest snapshot
	apply    struct{}                            // carry the plan out, or go on; asks first
	rollBack struct{}                            // take back; asks what, and first
	stopDo   struct{}                            // let the steps under way end, and end
	wish     struct{ kind wishKind }             // of a run, whoever runs it
	drill    struct{}                            // rehearse the way back; asks first
	tellLine struct{ command string }            // copy and show a command that has no key
	decide   struct{ decision cutover.Decision } // of a run's question
)

// wishKind is what can be wished of a run that is under way.
type wishKind int

const (
	wishPause wishKind = iota
	wishResume
	wishMore // lanes at once
	wishFewer
	wishStop
)

func (move) isIntent()         {}
func (page) isIntent()         {}
func (toEdge) isIntent()       {}
func (open) isIntent()         {}
func (back) isIntent()         {}
func (goTo) isIntent()         {}
func (nextPane) isIntent()     {}
func (startRun) isIntent()     {}
func (stopRun) isIntent()      {}
func (report) isIntent()       {}
func (runbook) isIntent()      {}
func (editFilter) isIntent()   {}
func (setFilter) isIntent()    {}
func (nextSort) isIntent()     {}
func (flipSort) isIntent()     {}
func (nextHost) isIntent()     {}
func (complete) isIntent()     {}
func (groupHosts) isIntent()   {}
func (showViews) isIntent()    {}
func (nameView) isIntent()     {}
func (mark) isIntent()         {}
func (markAll) isIntent()      {}
func (markNone) isIntent()     {}
func (showCommands) isIntent() {}
func (togglePane) isIntent()   {}
func (drop) isIntent()         {}
func (showHelp) isIntent()     {}
func (quit) isIntent()         {}
func (answer) isIntent()       {}
func (makePlan) isIntent()     {}
func (editPlan) isIntent()     {}
func (drag) isIntent()         {}
func (toWave) isIntent()       {}
func (undo) isIntent()         {}
func (saveEdit) isIntent()     {}
func (leaveEdit) isIntent()    {}
func (apply) isIntent()        {}
func (rollBack) isIntent()     {}
func (stopDo) isIntent()       {}
func (wish) isIntent()         {}
func (decide) isIntent()       {}
func (palette) isIntent()      {}
func (copyLine) isIntent()     {}
func (drill) isIntent()        {}
func (tellLine) isIntent()     {}

// typed adds text to the line that is being typed; edit changes that line.
type (
	typed struct{ text string }
	edit  struct{ op editing }
)

func (typed) isIntent() {}
func (edit) isIntent()  {}

// editing is one way to change a typed line.
type editing int

const (
	eraseLeft editing = iota
	eraseRight
	eraseWord
	eraseAll
	toLeft
	toRight
	toStart
	toEnd
)
