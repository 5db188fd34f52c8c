package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"ssm-migrate/internal/fleet"
)

const (
	summaryCauses = 5
	summaryGaps   = 6
	minWidth      = 40
)

// Summary writes the report in short as plain text, for a terminal or a log,
// in lines of at most width columns (at least 40) where words allow it.
func Summary(w io.Writer, in Input, width int) error {
	v := build(in)
	s := &summary{width: max(width, minWidth)}
	s.head(v)
	s.causes(v)
	s.people(v)
	s.unknowns(v)
	s.next(v)
	if _, err := w.Write(s.Bytes()); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}

type summary struct {
	bytes.Buffer
	width int
}

// text writes words after a prefix and wraps them below their start.
func (s *summary) text(prefix, words string) {
	indent := strings.Repeat(" ", utf8.RuneCountInString(prefix))
	line := prefix
	used := utf8.RuneCountInString(prefix)
	for i, word := range strings.Fields(words) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case used+1+n > s.width:
			s.line(line)
			line, used = indent, len(indent)
		default:
			line += " "
			used++
		}
		line += word
		used += n
	}
	s.line(line)
}

func (s *summary) line(text string) {
	s.WriteString(strings.TrimRight(text, " "))
	s.WriteByte('\n')
}

func (s *summary) head(v *view) {
	s.text("", fmt.Sprintf("Snapshot %d, %s, taken %s: %s in %s", v.ID, v.State, cmp.Or(v.Started, "at a time not known"),
		fleet.Count(v.Tally.Total(), "host"), fleet.Count(v.Accounts, "account")+", "+fleet.Count(v.Regions, "Region")))
	s.line("")
	bar := max(s.width-26, 10)
	for _, r := range []struct {
		verdict fleet.Verdict
		n       int
	}{{fleet.VerdictReady, v.Tally.Ready}, {fleet.VerdictBlocked, v.Tally.Blocked}, {fleet.VerdictUnknown, v.Tally.Unknown}} {
		full := 0
		if r.n > 0 {
			full = max(1, bar*r.n/v.Tally.Total())
		}
		s.line(fmt.Sprintf("  %-8s %6d %4d %%  %s", r.verdict, r.n, v.Tally.Percent(r.n), strings.Repeat("█", full)))
	}
}

func (s *summary) causes(v *view) {
	if len(v.Causes) == 0 {
		return
	}
	s.line("\nWhat stands in the way")
	for _, c := range v.Causes[:min(len(v.Causes), summaryCauses)] {
		s.text(fmt.Sprintf("  %5d  ", c.Decides), fmt.Sprintf("%s [%s]", c.Title, c.Code))
		if fix := c.Fix(); fix != "" {
			s.text("         ", "Fix: "+fix)
		} else if first := c.First(); len(first) > 0 && first[0].Fix != "" {
			more := "and 1 more fix"
			if n := len(c.Issues) - 1; n > 1 {
				more = fmt.Sprintf("and %d more fixes", n)
			}
			s.text("         ", fmt.Sprintf("Fix on %s: %s (%s)", fleet.Count(first[0].Hosts, "host"), first[0].Fix, more))
		}
	}
	if more := len(v.Causes) - summaryCauses; more > 0 {
		s.line(fmt.Sprintf("         and %s", fleet.Count(more, "more cause")))
	}
}

// people says in two lines who would be left behind.
func (s *summary) people(v *view) {
	if v.Ledger.Total()+len(v.Parity.Rows) == 0 {
		return
	}
	s.line("\nWho uses SSH")
	if l := v.Ledger; l.Total() > 0 {
		s.text("  ", fmt.Sprintf("%s: %d active, %d waived, %d silent, %d migrated (migrate ledger).", fleet.Count(l.Total(), "consumer"), l.Active, l.Waived, l.Silent, l.Migrated))
	}
	if p := v.Parity.Sum; len(v.Parity.Rows) > 0 {
		s.text("  ", fmt.Sprintf("Access, in pairs of a person and a host: %d kept, %d lost, %d gained, %d unknown (migrate access).", p.Keeps, p.Loses, p.Gains, p.Unknown))
	}
}

func (s *summary) unknowns(v *view) {
	if len(v.Sources.Silent)+len(v.Sources.Denied)+len(v.Sources.Hosts) == 0 {
		return
	}
	s.line("\nWhat gave no answer")
	for _, r := range v.Sources.Silent[:min(len(v.Sources.Silent), summaryGaps)] {
		s.text("  ", fmt.Sprintf("%s (%s): %s", r.Source, strings.TrimSpace(r.Account+" "+r.Region), r.Reason))
	}
	if more := len(v.Sources.Silent) - summaryGaps; more > 0 {
		s.line(fmt.Sprintf("  and %s", fleet.Count(more, "more source")))
	}
	for _, r := range v.Sources.Denied {
		s.text("  ", fmt.Sprintf("%s (%s), optional: %s", r.Source, r.Account, r.Reason))
	}
	s.silentHosts(v.Sources)
}

// silentHosts names whole answers that are missing, and only counts the hosts
// that answered in part: the report has the details.
func (s *summary) silentHosts(l sourceList) {
	shown, more := 0, 0
	usual := ""
	for _, r := range l.Hosts {
		switch {
		case r.Part:
			usual = cmp.Or(usual, r.What+": "+r.Reason)
		case shown == summaryGaps:
			more++
		default:
			shown++
			s.text(fmt.Sprintf("  %5d  ", r.Hosts), fmt.Sprintf("%s: %s", r.What, r.Reason))
		}
	}
	if more > 0 {
		s.line(fmt.Sprintf("         and %s", fleet.Count(more, "more reason")))
	}
	if l.Partly > 0 {
		s.text(fmt.Sprintf("  %5d  ", l.Partly), "host over SSH: answered only in part; most often "+usual+". The report lists the rest")
	}
}

func (s *summary) next(v *view) {
	s.line("\nNext")
	if v.Tally.Total() == 0 {
		s.nothing(v)
		return
	}
	if len(v.Sources.Silent) > 0 {
		s.text("  - ", "Let the sources above answer (most often a permission is missing), then run migrate inventory again.")
	}
	var begin cause // the one that frees most hosts
	for _, c := range v.Causes {
		if c.Alone > begin.Alone && c.Verdict == fleet.VerdictBlocked {
			begin = c
		}
	}
	if begin.Alone > 0 {
		s.text("  - ", fmt.Sprintf("Begin with %s: nothing else that is known stands in the way on %s.", begin.Code, fleet.Count(begin.Alone, "host")))
	}
	if n := v.Tally.Unknown - v.Stopped; n > 0 {
		s.text("  - ", fmt.Sprintf("Find out about the %s: the report names the missing facts.", fleet.Count(n, "unknown host")))
	}
	if v.Stopped > 0 {
		are := "are"
		if v.Stopped == 1 {
			are = "is"
		}
		s.text("  - ", fmt.Sprintf("Start the %s that %s not running and run migrate inventory again, or leave them out of the move.", fleet.Count(v.Stopped, "host"), are))
	}
	if v.Tally.Ready == v.Tally.Total() {
		s.text("  - ", "Every host is ready for Session Manager.")
	}
	s.text("  - ", "migrate report --format html -o report.html shows every host with evidence and fix.")
}

// nothing says why the report has no hosts.
func (s *summary) nothing(v *view) {
	switch n := len(v.Unlisted); {
	case v.Regions == 0:
		s.text("  - ", "The list of instances could not be read, as no Region answered: check the credentials, the accounts and the Regions, then run migrate inventory again.")
	case n > 0:
		where := strings.Join(v.Unlisted[:min(n, summaryGaps)], ", ")
		if more := n - summaryGaps; more > 0 {
			where += fmt.Sprintf(" and %s", fleet.Count(more, "more Region"))
		}
		s.text("  - ", "The list of instances could not be read in "+where+": let ec2:DescribeInstances answer, then run migrate inventory again.")
	default:
		s.text("  - ", "No instance was found: check the accounts and Regions, then run migrate inventory again.")
	}
}
