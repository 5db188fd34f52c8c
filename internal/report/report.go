// Package report renders what is stored of a snapshot and its assessment: as
// HTML, Markdown, CSV and JSON, and as a summary for the command line. It
// judges nothing itself.
package report

import "ssm-migrate/internal/fleet"

// Input is what a report shows. Rendering only reads it, so that one Input may
// be rendered several times, concurrently too.
type Input struct {
	Snapshot   *fleet.Snapshot
	Assessment *fleet.Assessment // of Snapshot
	Previous   *fleet.Assessment // of an earlier snapshot, to compare with; nil: none
	Proved     []ProvedWays      // by place and VPC; none: no proof is stored
	Version    string            // of the program that renders
}
