package tui

import (
	"time"

	"ssm-migrate/internal/cutover"
)

// loadedMsg brings the latest stored snapshot; data is nil when there is none.
type loadedMsg struct {
	data *data
	err  error
}

// fedMsg says that the running inventory, or the run of a plan, has something
// to tell.
type fedMsg struct{}

// standsMsg brings a plan and where it stands.
type standsMsg struct {
	state *Cutover
	err   error
}

// reckonedMsg brings the standing by so many entries of a plan's journal.
type reckonedMsg struct {
	plan    string
	entries int
	stand   cutover.Standing
	sum     sum
	err     error
	took    time.Duration
}

// reckonMsg says that it is time to reckon again.
type reckonMsg struct{}

// plannedMsg says which plan was made.
type plannedMsg struct {
	id  string
	err error
}

// wishedMsg says what is wished of the run now.
type wishedMsg struct {
	kind wishKind
	wish cutover.Wish
	err  error
}

// reportedMsg says where the report is, or why there is none.
type reportedMsg struct {
	path string
	err  error
}

// runbookMsg says where the recovery runbook is, or why there is none.
type runbookMsg struct {
	path string
	err  error
}

// saidMsg is something to tell the operator.
type saidMsg struct{ text string }

// tickMsg lets the clock go on.
type tickMsg struct{}

// polledMsg says who works now.
type polledMsg struct {
	holder string
	err    error
}

// keptMsg says whether the stage that is shown was noted.
type keptMsg struct{ err error }
