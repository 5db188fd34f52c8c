package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"ssm-migrate/internal/fleet"
)

const (
	documentFormat  = "ssm-migrate-report"
	documentVersion = 1
)

// document is the JSON report; docs/report-schema.md describes it.
type document struct {
	Format        string            `json:"format"`        // "ssm-migrate-report"
	FormatVersion int               `json:"formatVersion"` // 1; a reader refuses what is newer than it knows
	Version       string            `json:"version"`       // of the program that wrote the report
	Snapshot      *fleet.Snapshot   `json:"snapshot"`
	Assessment    *fleet.Assessment `json:"assessment"`         // of the snapshot
	Previous      *fleet.Assessment `json:"previous,omitempty"` // of an earlier snapshot, to compare with
	Proved        []ProvedWays      `json:"proved,omitempty"`   // ways into hosts that have been used
}

// ErrNotReport is the error of ReadJSON for what is no report, or one that is
// newer than this program.
var ErrNotReport = errors.New("not a JSON report of migrate that this program can read")

// JSON writes all that the report rests on. ReadJSON gives it back. Unlike the
// other formats it holds foreign text as it was received, escaped as JSON
// escapes it.
func JSON(w io.Writer, in Input) error {
	doc := document{documentFormat, documentVersion, in.Version, in.Snapshot, in.Assessment, in.Previous, in.Proved}
	if err := json.NewEncoder(w).Encode(doc); err != nil {
		return fmt.Errorf("write JSON report: %w", err)
	}
	return nil
}

// ReadJSON reads what JSON wrote. What it returns without an error can be
// rendered in every format. Fields that it does not know are left out.
func ReadJSON(r io.Reader) (Input, error) {
	var doc document
	if err := json.NewDecoder(r).Decode(&doc); err != nil {
		return Input{}, fmt.Errorf("read JSON report: %w", err)
	}
	switch {
	case doc.Format != documentFormat:
		return Input{}, fmt.Errorf("read JSON report: %w: its format is %q", ErrNotReport, doc.Format)
	case doc.FormatVersion < 1 || doc.FormatVersion > documentVersion:
		return Input{}, fmt.Errorf("read JSON report: %w: format version %d, this program knows %d", ErrNotReport, doc.FormatVersion, documentVersion)
	case doc.Snapshot == nil || doc.Assessment == nil:
		return Input{}, fmt.Errorf("read JSON report: %w: it has no snapshot or no assessment", ErrNotReport)
	}
	return Input{Snapshot: doc.Snapshot, Assessment: doc.Assessment, Previous: doc.Previous, Proved: doc.Proved, Version: doc.Version}, nil
}
