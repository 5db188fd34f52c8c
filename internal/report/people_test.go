package report_test

import (
	"encoding/csv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/report"
)

func TestLedgerAndAccessAsCSV(t *testing.T) {
	in := small()
	in.Assessment.Ledger.Consumers[1].Comment = "=cmd|' /C calc'!A0"
	ledger := rows(t, render(t, report.LedgerCSV, in))
	if len(ledger) != 3 || ledger[2][0] != "" || ledger[2][2] != "active" || ledger[2][8] != "10.0.9.9" || ledger[2][10] != "rsync" || ledger[2][11] != "2" {
		t.Errorf("ledger: %q", ledger)
	}
	if got := ledger[2][6]; !strings.HasPrefix(got, "'=") {
		t.Errorf("a spreadsheet would run %q", got)
	}
	var access []string
	for _, r := range rows(t, render(t, report.AccessCSV, in))[1:] {
		access = append(access, r[0]+" "+r[3]+" "+r[4])
	}
	want := []string{"Bob web-1 loses", "Bob web-2 keeps", "Bob web-5 unknown", "Alice web-1 gains", "Alice web-2 gains", "Alice web-3 gains", "Alice web-4 gains", "Alice web-6 gains"}
	if diff := cmp.Diff(want, access); diff != "" {
		t.Errorf("access (-want +got):\n%s", diff)
	}
}

func rows(t *testing.T, text string) [][]string {
	t.Helper()
	all, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A finding that follows from two root causes is told once and named twice.
func TestChainsOfAHost(t *testing.T) {
	page := render(t, report.HTML, small())
	for _, want := range []string{"root cause", "class=chain", "<ol class=hops>", "no route to the internet", "nobody claims it", "not in the owners file"} {
		if want == "not in the owners file" {
			if strings.Contains(page, want) {
				t.Errorf("everybody is in the owners file, but the page says %q", want)
			}
			continue
		}
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	text := render(t, report.Markdown, small())
	if !strings.Contains(text, " → ") {
		t.Error("the Markdown draws no chain")
	}
}
