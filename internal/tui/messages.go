package tui

// loadedMsg brings the latest stored snapshot; data is nil when there is none.
type loadedMsg struct {
	data *data
	err  error
}

// fedMsg says that the running inventory has something to tell.
type fedMsg struct{}

// reportedMsg says where the report is, or why there is none.
type reportedMsg struct {
	path string
	err  error
}

// tickMsg lets the clock of an inventory go on.
type tickMsg struct{ run *run }
