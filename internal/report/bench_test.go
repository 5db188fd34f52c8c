package report_test

import (
	"io"
	"testing"

	"ssm-migrate/internal/report"
)

// BenchmarkHTML renders a fleet of 10,000.
func BenchmarkHTML(b *testing.B) {
	in := large(b, 10_000)
	b.ReportAllocs()
	for b.Loop() {
		if err := report.HTML(io.Discard, in); err != nil {
			b.Fatal(err)
		}
	}
}
