package report_test

import (
	"encoding/csv"
	"fmt"
	"html"
	"regexp"
	"strings"
	"testing"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/report"
)

// caused is a fleet of which two hosts have a missing route as their root
// cause, and the third one as a consequence of the closed group it has.
func caused() report.Input {
	in := small()
	in.Assessment = &fleet.Assessment{}
	for i, h := range in.Snapshot.Hosts[:3] {
		route := fleet.Finding{Code: "route-missing", Host: h.ID, Object: "rtb-1", Severity: fleet.SeverityBlocks, Title: "No route", Fix: "Add a route to rtb-1.", Blast: "Three subnets.", Undo: "Delete the route."}
		v := fleet.HostVerdict{Host: h.ID, Verdict: fleet.VerdictBlocked, Cause: route.Code, Causes: []fleet.Ref{route.Ref()}}
		if i == 2 {
			group := fleet.Finding{Code: "group-closed", Host: h.ID, Object: "sg-1", Severity: fleet.SeverityBlocks, Title: "Group closed", Fix: "Open sg-1."}
			route.Because, route.Evidence = []fleet.Ref{group.Ref()}, []fleet.Evidence{{Fact: "no answer from rtb-1", Source: "probe"}}
			route.Fix = "Add a route that misleads."
			v.Cause, v.Causes = group.Code, []fleet.Ref{group.Ref()}
			in.Assessment.Findings = append(in.Assessment.Findings, group)
		}
		in.Assessment.Hosts = append(in.Assessment.Hosts, v)
		in.Assessment.Findings = append(in.Assessment.Findings, route)
	}
	in.Snapshot.Hosts = in.Snapshot.Hosts[:3]
	return in
}

func TestACauseCountsTheHostsItIsTheRootOf(t *testing.T) {
	page := html.UnescapeString(render(t, report.HTML, caused()))
	cause := regexp.MustCompile(`(?s)<article class="cause.*?</article>`).FindString(page)
	if !strings.Contains(cause, "<b>2</b>") || !strings.Contains(cause, "route-missing") || !strings.Contains(cause, "<span class=n>2 hosts</span>") || strings.Count(cause, "<li>") != 1 {
		t.Errorf("the first cause is\n%s", cause)
	}
}

// Of the causes of a fleet as it is, the issues' hosts add up to the hosts that
// have the cause, unless the report says that some have several.
func TestTheHostsOfACauseAddUp(t *testing.T) {
	page := render(t, report.HTML, realistic(t, 300))
	causes := regexp.MustCompile(`(?s)<article class="cause.*?</article>`).FindAllString(page, -1)
	if len(causes) < 5 {
		t.Fatalf("%d causes", len(causes))
	}
	number := func(text string, what string) (n int) {
		if m := regexp.MustCompile(what).FindStringSubmatch(text); m != nil {
			_, _ = fmt.Sscan(m[1], &n)
		}
		return n
	}
	for _, c := range causes {
		want := max(number(c, `<b>(\d+)</b>`), number(c, `root cause on (\d+) in all`))
		sum := 0
		for _, m := range regexp.MustCompile(`<span class=n>(\d+) host`).FindAllStringSubmatch(c, -1) {
			n := 0
			_, _ = fmt.Sscan(m[1], &n)
			sum += n
		}
		more, several := strings.Contains(c, "more under"), strings.Contains(c, "have several")
		if sum != want && !more && !several || sum < want && !more {
			t.Errorf("%d hosts have the cause, its issues %d:\n%.600s", want, sum, c)
		}
	}
}

func TestAConsequenceHasNoFixOfItsOwn(t *testing.T) {
	for name, format := range formats {
		got := render(t, format, caused())
		if strings.Contains(got, "misleads") {
			t.Errorf("%s tells the fix of a consequence", name)
		}
		if name == "report.html" && (!strings.Contains(got, "Follows from <a href=#F") || !strings.Contains(got, "no answer from rtb-1")) {
			t.Errorf("the HTML does not say what the consequence follows from, or not what it rests on")
		}
		if name == "report.md" && !strings.Contains(got, "Follows from F") {
			t.Errorf("the Markdown does not say what the consequence follows from")
		}
	}
}

func TestMarkdownPartsObjectFixAndBlast(t *testing.T) {
	got := render(t, report.Markdown, caused())
	if want := "`rtb-1`. **Blast radius:** Three subnets.\n"; !strings.Contains(got, want) {
		t.Errorf("the Markdown lacks %q", want)
	}
}

func TestCSVTellsHowToTakeTheFixBack(t *testing.T) {
	rows, err := csv.NewReader(strings.NewReader(render(t, report.CSV, caused()))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	for i, name := range rows[0] {
		at[name] = i
	}
	if fix, undo := rows[1][at["fix"]], rows[1][at["undo"]]; fix != "Add a route to rtb-1." || undo != "Delete the route." {
		t.Errorf("fix %q, undo %q", fix, undo)
	}
	if fix := rows[3][at["fix"]]; fix != "Open sg-1." {
		t.Errorf("fix of the third host %q", fix)
	}
}

// A fleet with more paths than a report draws has no link that leads nowhere,
// and says of each path of a host how it is.
func TestPathsThatAreLeftOutAreNotLinked(t *testing.T) {
	in := small()
	in.Assessment.Paths = nil
	var all []int
	for i := range 900 {
		in.Assessment.Paths = append(in.Assessment.Paths, fleet.Path{Service: "ssm", Open: fleet.Truth(i % 3), Hops: []fleet.Hop{{Kind: "dns", Text: "resolves"}}})
		all = append(all, i)
	}
	for i := range in.Assessment.Hosts {
		in.Assessment.Hosts[i].Paths = all
	}
	got := render(t, report.HTML, in)
	for _, m := range regexp.MustCompile(`href=#(P\d+)`).FindAllStringSubmatch(got, -1) {
		if !strings.Contains(got, "id="+m[1]+">") {
			t.Fatalf("link to #%s leads nowhere", m[1])
		}
	}
	for _, want := range []string{"<i class=yes>ssm open</i>", "<i class=no>ssm stopped</i>", "<i class=unknown>ssm not known</i>"} {
		if !strings.Contains(got, want) {
			t.Errorf("no host says %q", want)
		}
	}
}
