package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// maxOpenPaths and maxClosedPaths are how many of the paths that nothing stops,
// and of the others, a report draws; the JSON has all.
const (
	maxOpenPaths   = 60
	maxClosedPaths = 200
)

// pathList is the computed ways to AWS's endpoints, each once.
type pathList struct {
	Closed []*pathRow // stopped or not known, those with most hosts first
	Open   []*pathRow
	More   int // open ones that are left out
	Shut   int // others that are left out
}

type pathRow struct {
	Number                  int
	Service, Name, Endpoint string
	Open                    fleet.Truth
	Hosts                   int
	Names                   []string // of the first few hosts
	Hops                    []hopRow
	Drawn                   bool
}

// hopRow is one thing that a connection has to pass, once or several times in
// a row: out, and back in.
type hopRow struct {
	Kind, Object string
	Texts        []string // without the kind and the object that they begin with
	Passes       fleet.Truth
}

// hops brings those of one object that follow each other together.
func hops(all []fleet.Hop) []hopRow {
	var out []hopRow
	for _, h := range all {
		kind, object := clean(h.Kind), clean(h.Object)
		text := clean(h.Text)
		if object != "" {
			text = strings.TrimPrefix(text, kind+" "+object+" ")
		}
		if last := len(out) - 1; object != "" && last >= 0 && out[last].Kind == kind && out[last].Object == object {
			out[last].Texts = append(out[last].Texts, text)
			if out[last].Passes == fleet.TruthYes || h.Passes == fleet.TruthNo {
				out[last].Passes = h.Passes
			}
			continue
		}
		out = append(out, hopRow{kind, object, []string{text}, h.Passes})
	}
	return out
}

// Ref is how the report names the path: "P3".
func (p *pathRow) Ref() string { return fmt.Sprintf("P%d", p.Number) }

// paths numbers the paths in the order shown, and gives them by their position
// in the assessment.
func (b *builder) paths() (list pathList, at map[int]*pathRow) {
	at = map[int]*pathRow{}
	for n, p := range b.in.Assessment.Paths {
		row := &pathRow{Service: clean(p.Service), Name: clean(p.Name), Endpoint: clean(p.Endpoint), Open: p.Open, Hops: hops(p.Hops)}
		at[n] = row
	}
	for _, h := range b.in.Assessment.Hosts {
		for _, n := range h.Paths {
			row := at[n]
			if row == nil {
				continue
			}
			row.Hosts++
			b.addName(&row.Names, h.Host)
		}
	}
	for n := range b.in.Assessment.Paths {
		if row := at[n]; row.Open == fleet.TruthYes {
			list.Open = append(list.Open, row)
		} else {
			list.Closed = append(list.Closed, row)
		}
	}
	number := 0
	for _, rows := range [][]*pathRow{list.Closed, list.Open} {
		slices.SortStableFunc(rows, func(x, y *pathRow) int {
			return cmp.Or(cmp.Compare(y.Open, x.Open), cmp.Compare(y.Hosts, x.Hosts), strings.Compare(x.Service, y.Service))
		})
		for _, row := range rows {
			number++
			row.Number = number
		}
	}
	list.More = max(0, len(list.Open)-maxOpenPaths)
	list.Open = list.Open[:len(list.Open)-list.More]
	list.Shut = max(0, len(list.Closed)-maxClosedPaths)
	list.Closed = list.Closed[:len(list.Closed)-list.Shut]
	for _, row := range slices.Concat(list.Open, list.Closed) {
		row.Drawn = true
	}
	return list, at
}
