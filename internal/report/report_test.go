package report_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"html"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
	"ssm-migrate/internal/report"
)

var update = flag.Bool("update", false, "rewrite golden files")

var formats = map[string]func(io.Writer, report.Input) error{
	"report.html": report.HTML,
	"report.md":   report.Markdown,
	"report.csv":  report.CSV,
	"report.txt":  func(w io.Writer, in report.Input) error { return report.Summary(w, in, 80) },
}

func render(t testing.TB, f func(io.Writer, report.Input) error, in report.Input) string {
	t.Helper()
	var b bytes.Buffer
	if err := f(&b, in); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestFormatsOfAStoredReport(t *testing.T) {
	golden(t, "report.json", render(t, report.JSON, small()))
	stored, err := os.Open("testdata/report.json")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stored.Close() }()
	in, err := report.ReadJSON(stored)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(small(), in, cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("read back (-written +read):\n%s", diff)
	}
	for name, format := range formats {
		got := render(t, format, in)
		golden(t, name, got)
		if direct := render(t, format, small()); direct != got {
			t.Errorf("%s from JSON differs from the direct one:\n%s", name, cmp.Diff(direct, got))
		}
	}
}

func TestReadJSONRefusesWhatItCannotRender(t *testing.T) {
	for name, text := range map[string]string{
		"empty":         ``,
		"other JSON":    `{"hosts":[]}`,
		"newer":         `{"format":"ssm-migrate-report","formatVersion":2,"snapshot":{},"assessment":{}}`,
		"no snapshot":   `{"format":"ssm-migrate-report","formatVersion":1,"assessment":{}}`,
		"no assessment": `{"format":"ssm-migrate-report","formatVersion":1,"snapshot":{}}`,
		"bad verdict":   `{"format":"ssm-migrate-report","formatVersion":1,"snapshot":{},"assessment":{"hosts":[{"verdict":"fine"}]}}`,
	} {
		_, err := report.ReadJSON(strings.NewReader(text))
		if err == nil {
			t.Errorf("%s was read", name)
		}
		if name != "empty" && name != "bad verdict" && !errors.Is(err, report.ErrNotReport) {
			t.Errorf("%s: %v, want ErrNotReport", name, err)
		}
	}
}

// fill sets every string that v reaches to text.
func fill(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.Pointer:
		fill(v.Elem(), text)
	case reflect.String:
		v.SetString(text)
	case reflect.Slice:
		for i := range v.Len() {
			fill(v.Index(i), text)
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			if v.Type().Elem().Kind() == reflect.String {
				v.SetMapIndex(k, reflect.ValueOf(text))
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i), text)
			}
		}
	}
}

// hostile fills every text of a report but what ties its parts together.
func hostile(text string) report.Input {
	in := small()
	ids := map[string]string{}
	for i, h := range in.Snapshot.Hosts {
		ids[h.ID] = text + string(rune('a'+i))
	}
	var hosts []string
	for _, f := range in.Assessment.Findings {
		hosts = append(hosts, ids[f.Host])
	}
	fill(reflect.ValueOf(in.Snapshot), text)
	fill(reflect.ValueOf(in.Assessment), text)
	fill(reflect.ValueOf(in.Previous), text)
	in.Version = text
	for i := range in.Snapshot.Hosts {
		in.Snapshot.Hosts[i].ID = text + string(rune('a'+i))
		in.Assessment.Hosts[i].Host = in.Snapshot.Hosts[i].ID
		for j := range in.Snapshot.Hosts[i].Probe.Value.Keys.Value {
			in.Snapshot.Hosts[i].Probe.Value.Keys.Value[j].Problem = ""
			in.Snapshot.Hosts[i].Probe.Value.Keys.Value[j].Fingerprint = "SHA256:" + text
		}
	}
	for i := range in.Assessment.Findings {
		in.Assessment.Findings[i].Host = hosts[i]
		if hosts[i] == "" {
			in.Assessment.Findings[i].Object = "SHA256:" + text
		}
	}
	return in
}

var tags = regexp.MustCompile(`<[^>]*>`)

func TestHostileTextIsHarmless(t *testing.T) {
	for _, text := range []string{
		"</script><script>alert(1)</script>", `" onmouseover="alert(1)`, "<img src=x onerror=alert(1)>", "javascript:alert(1)", "{{.}}",
		"\x1b[2J\x1b]0;owned\x07", "\u202egnp.exe\u2066", "a\x00b\u0085c\u2028d\u200be\ufefff", "bad \xff\xfe utf-8", strings.Repeat("x", 100_000),
		"=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "＝1", "| a | b |\n# heading\n[link](http://evil.example) www.evil.example <b>", "`code` ``` ~~~",
	} {
		in := hostile(text)
		plain := strings.Count(render(t, report.HTML, small()), "<script")
		for name, format := range formats {
			got := render(t, format, in)
			checkText(t, name, text, got)
			switch name {
			case "report.html":
				if n := strings.Count(got, "<script"); n != plain {
					t.Errorf("%q adds %d scripts to the HTML", text, n-plain)
				}
				for _, tag := range tags.FindAllString(got[strings.Index(got, "<body"):], -1) {
					if regexp.MustCompile(`(?i)\son\w+\s*=|javascript:|onerror`).MatchString(html.UnescapeString(tag)) {
						t.Errorf("%q becomes part of tag %s", text, tag)
					}
				}
			case "report.md":
				got = regexp.MustCompile("`[^`\n]*`").ReplaceAllString(got, "") // code is shown as it is
				if regexp.MustCompile(`(^|[^\\])<|\n# heading|[^\\]\]\(http`).MatchString(got) {
					t.Errorf("%q is markup in the Markdown", text)
				}
			case "report.csv":
				checkCells(t, text, got)
			}
		}
	}
}

// checkText finds what could harm a screen or mislead its reader.
func checkText(t *testing.T, name, text, got string) {
	t.Helper()
	if !utf8.ValidString(got) {
		t.Errorf("%s of %q is not UTF-8", name, text)
	}
	for _, r := range got {
		if r != '\n' && (unicode.Is(unicode.C, r) || r == '\u2028' || r == '\u2029') {
			t.Errorf("%s of %.40q has %U in it", name, text, r)
			return
		}
	}
	if len(got) > 3_000_000 {
		t.Errorf("%s of %.40q has %d bytes", name, text, len(got))
	}
}

func checkCells(t *testing.T, text, got string) {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(got)).ReadAll()
	if err != nil {
		t.Errorf("CSV of %q: %v", text, err)
	}
	for _, row := range rows {
		for _, cell := range row {
			if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r") || strings.HasPrefix(cell, "＝") {
				t.Errorf("cell %.40q is a formula to a spreadsheet", cell)
			}
		}
	}
}

func TestJSONKeepsHostileText(t *testing.T) {
	text := "</script>\x1b[2J\u202e\u2028=1"
	in := hostile(text)
	got := render(t, report.JSON, in)
	if strings.Contains(got, "</script>") || strings.Contains(got, "\x1b") || strings.Contains(got, "\u2028") {
		t.Error("the JSON holds dangerous characters as they are")
	}
	back, err := report.ReadJSON(strings.NewReader(got))
	if err != nil {
		t.Fatal(err)
	}
	if back.Assessment.Findings[0].Title != text {
		t.Errorf("title came back as %q", back.Assessment.Findings[0].Title)
	}
}

func TestHTMLNeedsNothingElse(t *testing.T) {
	got := render(t, report.HTML, small())
	for _, bad := range []string{"http://", "https://", "src=", "url(", "@import", "<link", "<iframe", " style=", "fetch(", "XMLHttp"} {
		if strings.Contains(got, bad) {
			t.Errorf("the HTML contains %q", bad)
		}
	}
	policy := html.UnescapeString(regexp.MustCompile(`Content-Security-Policy content="([^"]*)"`).FindStringSubmatch(got)[1])
	if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy %s", policy)
	}
	for tag, directive := range map[string]string{"style": "style-src", "script": "script-src"} {
		found := regexp.MustCompile(`(?s)<`+tag+`>(.*?)</`+tag+`>`).FindAllStringSubmatch(got, -1)
		if len(found) != 1 {
			t.Fatalf("%d elements %s", len(found), tag)
		}
		sum := sha256.Sum256([]byte(found[0][1]))
		if want := directive + " 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(policy, want) {
			t.Errorf("policy %s lacks %s: a browser would not use the %s", policy, want, tag)
		}
	}
	ids := map[string]bool{}
	for _, m := range regexp.MustCompile(`\sid="?([^">\s]+)`).FindAllStringSubmatch(got, -1) {
		if ids[m[1]] {
			t.Errorf("id %s is given twice", m[1])
		}
		ids[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`href="?#([^">\s]+)`).FindAllStringSubmatch(got, -1) {
		if !ids[m[1]] {
			t.Errorf("link to #%s leads nowhere", m[1])
		}
	}
}

func TestLargeHTMLStaysSmall(t *testing.T) {
	for name, in := range map[string]report.Input{"many sources silent": large(t, 1000), "realistic": realistic(t, 1000)} {
		got := render(t, report.HTML, in)
		a := in.Assessment
		t.Logf("%s: %d bytes for 1,000 hosts with %d findings, %d paths, %d consumers, %d people, %d operators: %d ready, %d blocked, %d unknown", name, len(got),
			len(a.Findings), len(a.Paths), len(a.Ledger.Consumers), len(a.Parity.People), len(a.Operators),
			a.Count(fleet.VerdictReady), a.Count(fleet.VerdictBlocked), a.Count(fleet.VerdictUnknown))
		if len(got) > 1_900_000 {
			t.Errorf("%s: 1,000 hosts make %d bytes of HTML, want less than 1.9 MB", name, len(got))
		}
		for _, h := range in.Snapshot.Hosts {
			if !strings.Contains(got, h.ID) {
				t.Fatalf("%s: host %s is missing", name, h.ID)
			}
		}
	}
}

func TestCatalogueExplainsFindings(t *testing.T) {
	in := large(t, 60)
	page, text := render(t, report.HTML, in), render(t, report.Markdown, in)
	seen := map[string]bool{}
	for _, f := range in.Assessment.Findings {
		seen[f.Code] = true
	}
	n := 0
	for _, e := range readiness.Catalogue() {
		if !seen[e.Code] {
			continue
		}
		n++
		for _, words := range []string{e.Title, e.Means, e.Undo} {
			if !strings.Contains(html.UnescapeString(page), words) {
				t.Errorf("%s: the HTML does not say %q", e.Code, words)
			}
		}
		if !strings.Contains(text, "`"+e.Code+"`") {
			t.Errorf("%s is not in the Markdown", e.Code)
		}
	}
	if n < 10 {
		t.Errorf("only %d kinds of findings in the fixture", n)
	}
}

func TestEmptyAndHalfReports(t *testing.T) {
	empty := report.Input{Snapshot: &fleet.Snapshot{}, Assessment: &fleet.Assessment{}}
	unjudged := small()
	unjudged.Assessment = &fleet.Assessment{}
	stranger := small()
	stranger.Snapshot.Hosts = nil
	for name, c := range map[string]struct {
		in   report.Input
		html string
	}{
		"no hosts":            {empty, "No hosts were found"},
		"nothing judged":      {unjudged, "0 of 6 hosts ready"},
		"hosts not in it":     {stranger, "2 of 6 hosts ready"},
		"all ready, no cause": {allReady(), "All 2 hosts ready"},
	} {
		for format, f := range formats {
			got := render(t, f, c.in)
			if format == "report.html" && !strings.Contains(got, c.html) {
				t.Errorf("%s: the HTML does not say %q", name, c.html)
			}
			if strings.Contains(got, "%!") || strings.Contains(got, "no value") {
				t.Errorf("%s: %s has a formatting fault", name, format)
			}
		}
	}
}

func allReady() report.Input {
	in := small()
	in.Snapshot.Hosts, in.Assessment.Hosts, in.Assessment.Findings = in.Snapshot.Hosts[:2], in.Assessment.Hosts[:2], nil
	return in
}

func TestRenderingLeavesItsInputAlone(t *testing.T) {
	in := small()
	before := render(t, report.JSON, in)
	for _, f := range formats {
		render(t, f, in)
	}
	if after := render(t, report.JSON, in); after != before {
		t.Error("rendering changed its input")
	}
}

func TestSummaryKeepsToItsWidth(t *testing.T) {
	for _, width := range []int{0, 40, 60, 80, 132} {
		var b bytes.Buffer
		if err := report.Summary(&b, small(), width); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(b.String()) {
			line = strings.TrimRight(line, "\n")
			if n := utf8.RuneCountInString(line); n > max(width, 40) && strings.Contains(strings.TrimLeft(line, " 0123456789"), " ") {
				t.Errorf("width %d: line of %d: %q", width, n, line)
			}
		}
	}
}

func TestWriteErrorsAreReported(t *testing.T) {
	for name, f := range formats {
		if err := f(brokenWriter{}, small()); !errors.Is(err, errBroken) {
			t.Errorf("%s: %v, want the writer's error", name, err)
		}
	}
	if err := report.JSON(brokenWriter{}, small()); !errors.Is(err, errBroken) {
		t.Errorf("JSON: %v, want the writer's error", err)
	}
}

var errBroken = errors.New("broken")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func FuzzReadJSON(f *testing.F) {
	var b bytes.Buffer
	if err := report.JSON(&b, small()); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(`{"format":"ssm-migrate-report","formatVersion":1,"snapshot":{"hosts":[{"id":"a"},{"id":"a"}]},"assessment":{"hosts":[{"host":"b","verdict":"blocked","cause":"x"}],"findings":[{"object":"SHA256:","severity":"risk"}]},"previous":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		in, err := report.ReadJSON(bytes.NewReader(data))
		if err != nil {
			return
		}
		for name, format := range formats {
			checkText(t, name, "fuzz", render(t, format, in))
		}
		if !json.Valid([]byte(render(t, report.JSON, in))) {
			t.Error("the JSON is not valid")
		}
	})
}

// TestSummarySaysWhatIsNext reads the summary's last part.
func TestSummarySaysWhatIsNext(t *testing.T) {
	blocked := func(in *report.Input, host int, roots ...string) {
		h := in.Snapshot.Hosts[host].ID
		v := fleet.HostVerdict{Host: h, Verdict: fleet.VerdictBlocked, Cause: roots[0]}
		for _, code := range roots {
			v.Causes = append(v.Causes, fleet.Ref{Code: code, Object: h})
		}
		in.Assessment.Hosts = append(in.Assessment.Hosts, v)
		for _, code := range append(roots, "node-not-registered") {
			in.Assessment.Findings = append(in.Assessment.Findings, fleet.Finding{Code: code, Host: h, Object: h, Severity: fleet.SeverityBlocks})
		}
	}
	unknown := func(in *report.Input, host int, cause string) {
		h := in.Snapshot.Hosts[host].ID
		in.Assessment.Hosts = append(in.Assessment.Hosts, fleet.HostVerdict{Host: h, Cause: cause})
		in.Assessment.Findings = append(in.Assessment.Findings, fleet.Finding{Code: cause, Host: h, Object: h, Severity: fleet.SeverityUnknown})
	}
	for name, c := range map[string]struct {
		hosts  int
		change func(*report.Input)
		says   []string
		not    []string
	}{
		"symptoms do not hide that a fix would free hosts": {2, func(in *report.Input) {
			blocked(in, 0, "route-missing")
			blocked(in, 1, "route-missing")
		}, []string{"Begin with route-missing: nothing else that is known stands in the way on 2 hosts."}, nil},
		"a second root cause does": {1, func(in *report.Input) {
			blocked(in, 0, "profile-missing", "egress-test-failed")
		}, nil, []string{"Begin with"}},
		"what frees most hosts comes first": {5, func(in *report.Input) {
			blocked(in, 0, "imds-disabled")
			blocked(in, 1, "imds-disabled", "agent-stopped")
			blocked(in, 2, "imds-disabled", "agent-stopped")
			blocked(in, 3, "agent-missing")
			blocked(in, 4, "agent-missing")
		}, []string{"Begin with agent-missing: nothing else that is known stands in the way on 2 hosts."}, nil},
		"the list was not read": {0, func(in *report.Input) {
			in.Snapshot.Regions[0].Instances = fleet.Unknown[int]("ec2:DescribeInstances", noon, "UnauthorizedOperation")
		}, []string{"The list of instances could not be read in " + region + " of account " + account}, []string{"No instance was found"}},
		"no Region was asked":    {0, func(in *report.Input) { in.Snapshot.Regions = nil }, []string{"The list of instances could not be read"}, []string{"No instance was found"}},
		"there are no instances": {0, func(*report.Input) {}, []string{"No instance was found"}, nil},
		"only stopped instances": {2, func(in *report.Input) {
			unknown(in, 0, "instance-not-running")
			unknown(in, 1, "instance-not-running")
		}, []string{"Start the 2 hosts that are not running"}, []string{"Find out about"}},
		"stopped and unknown": {2, func(in *report.Input) {
			unknown(in, 0, "instance-not-running")
			unknown(in, 1, "node-unknown")
		}, []string{"Start the 1 host that is not running", "Find out about the 1 unknown host:"}, nil},
	} {
		in := small()
		in.Previous, in.Assessment = nil, &fleet.Assessment{}
		in.Snapshot.Hosts = in.Snapshot.Hosts[:c.hosts]
		c.change(&in)
		got := strings.Join(strings.Fields(render(t, formats["report.txt"], in)), " ")
		got = got[strings.LastIndex(got, " Next "):]
		for _, want := range c.says {
			if !strings.Contains(got, want) {
				t.Errorf("%s: does not say %q:\n%s", name, want, got)
			}
		}
		for _, bad := range c.not {
			if strings.Contains(got, bad) {
				t.Errorf("%s: says %q:\n%s", name, bad, got)
			}
		}
	}
}
