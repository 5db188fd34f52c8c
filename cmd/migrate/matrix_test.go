package main

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
	"ssm-migrate/internal/simfleet"
	"ssm-migrate/internal/sqlite"
)

var matrixFile = flag.String("matrix", "", "inject all pairs of causes too, and write the detection matrix to this file")

// TestDetectionMatrix injects every cause of failure alone into an otherwise
// sound fleet, runs inventory and readiness on it, and holds what they say
// against what they should. With -matrix it does the same with every pair, and
// writes the result down.
func TestDetectionMatrix(t *testing.T) {
	m := newMatrix(t)
	causes := simfleet.Causes()
	for _, c := range causes {
		m.single(t, c)
	}
	if *matrixFile != "" {
		for i, a := range causes {
			for _, b := range causes[i+1:] {
				m.pair(t, a, b)
			}
		}
		var text bytes.Buffer
		m.write(&text)
		if err := os.WriteFile(*matrixFile, text.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range m.rows {
		for _, problem := range r.problems {
			t.Errorf("cause %d, %s: %s", r.cause.Number, r.cause.Name, problem)
		}
	}
	for _, p := range m.pairProblems {
		t.Error(p)
	}
	t.Log(m.summary())
}

// matrixInstances is the smallest fleet that has every kind of network.
const matrixInstances = 10

// matrix collects what the injections showed.
type matrix struct {
	rows         []matrixRow
	pairs        int // that were tried
	bothNamed    int
	hidden       []string // pairs of which one hides the other, and why
	apart        []string // pairs that cannot be had together, and why
	pairProblems []string
}

// matrixRow is one cause.
type matrixRow struct {
	cause    simfleet.Cause
	expect   expectation
	verdict  fleet.HostVerdict
	found    *fleet.Finding // the finding that names the cause
	rootOK   bool
	fixOK    bool
	alarms   []string
	problems []string
}

func newMatrix(t *testing.T) *matrix {
	t.Helper()
	r := judgeInjected(t)
	for _, f := range r.judged.Findings {
		t.Errorf("the sound fleet has a finding: %s on %q about %q: %s", f.Code, f.Host, f.Object, f.Evidence)
	}
	for _, h := range r.judged.Hosts {
		if h.Verdict != fleet.VerdictReady {
			t.Errorf("the sound fleet's host %s is %v: %s", h.Host, h.Verdict, h.Cause)
		}
	}
	if t.Failed() {
		t.FailNow() // whatever else it showed would mean nothing
	}
	return &matrix{}
}

// injected is the judgement on a fleet into which causes were injected.
type injected struct {
	judged *fleet.Assessment
	target string
	serves bool // the world says that a session on the target opens
	err    error
}

// judgeInjected makes the sound fleet, injects the causes into one of its
// hosts, and takes inventory and readiness as the program does.
func judgeInjected(t *testing.T, causes ...simfleet.Cause) injected {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	d, err := startDemo(demoOptions{instances: matrixInstances, seed: 7, addr: "127.0.0.1:0", noThrottle: true, healthy: true, dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer d.stop()
	setSim(t, d)
	d.world.Mu.Lock()
	target := injectionTarget(d.world)
	for _, c := range causes {
		if err := c.Inject(d.world, target); err != nil {
			d.world.Mu.Unlock()
			return injected{err: err}
		}
	}
	r := injected{target: target.Host.ID, serves: d.world.ServesSessions(target)}
	d.world.Mu.Unlock()

	a := &app{dbPath: d.db(), configPath: d.config()}
	cfg, err := a.config()
	if err != nil {
		t.Fatal(err)
	}
	c, err := newCollection(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	db, err := sqlite.Open(t.Context(), d.db())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	info, err := c.run(t.Context(), db, nil)
	if err != nil {
		t.Fatal(err)
	}
	snap, err := db.Load(t.Context(), info.ID)
	if err != nil {
		t.Fatal(err)
	}
	r.judged = readiness.Assess(snap, cfg.policy(), time.Now())
	return r
}

// injectionTarget is a Linux host with a role, a path and people of its own.
func injectionTarget(w *simfleet.World) *simfleet.Instance {
	for in := range w.Instances() {
		if in.Host.Running() && !in.Host.Windows() && in.Role != "bastion" {
			return in
		}
	}
	panic("the sound fleet has no Linux host")
}

// expectation is what readiness should say of a cause.
type expectation struct {
	codes []string // findings that name it; one suffices
	also  []string // findings that tell of the same thing besides
	fix   string   // the fix holds this text
	miss  string   // why there is nothing to find; then codes is empty
}

func (m *matrix) single(t *testing.T, c simfleet.Cause) {
	t.Helper()
	row := matrixRow{cause: c, expect: expectations[c.Name]}
	defer func() { m.rows = append(m.rows, row) }()
	problem := func(format string, args ...any) { row.problems = append(row.problems, fmt.Sprintf(format, args...)) }
	switch {
	case c.Inject == nil && c.Why == "":
		problem("cannot be injected, and does not say why")
		return
	case c.Inject == nil:
		return
	case (len(row.expect.codes) == 0) == (row.expect.miss == ""):
		problem("the test must expect either findings or a miss")
		return
	}
	r := judgeInjected(t, c)
	if r.err != nil {
		problem("injection: %v", r.err)
		return
	}
	row.verdict = r.verdict()
	row.found = r.naming(row.expect.codes)
	row.alarms = r.alarms(c)
	if c.Breaks == r.serves {
		problem("the world says serves=%v after the injection", r.serves)
	}
	if row.expect.miss != "" {
		if len(r.judged.Findings) > 0 {
			problem("it should leave no trace, but there is %s", codesOf(r.judged.Findings))
		}
		return
	}
	if row.found == nil {
		problem("not detected; findings are %s", codesOf(r.judged.Findings))
		return
	}
	row.rootOK = !c.Breaks && len(row.found.Because) == 0 ||
		c.Breaks && len(row.verdict.Causes) > 0 && slices.Contains(row.expect.codes, row.verdict.Causes[0].Code)
	row.fixOK = row.expect.fix != "" && strings.Contains(row.found.Fix, row.expect.fix)
	if !row.rootOK {
		problem("%s is not named first: %v", row.found.Code, row.verdict.Causes)
	}
	if !row.fixOK {
		problem("the fix does not say %q: %s", row.expect.fix, row.found.Fix)
	}
	for _, a := range row.alarms {
		problem("false alarm: %s", a)
	}
}

// verdict is the judgement on the target.
func (r injected) verdict() fleet.HostVerdict {
	i := slices.IndexFunc(r.judged.Hosts, func(h fleet.HostVerdict) bool { return h.Host == r.target })
	return r.judged.Hosts[i]
}

// naming is the finding on the target, or on no single host, with one of the codes.
func (r injected) naming(codes []string) *fleet.Finding {
	for i, f := range r.judged.Findings {
		if (f.Host == r.target || f.Host == "") && slices.Contains(codes, f.Code) {
			return &r.judged.Findings[i]
		}
	}
	return nil
}

// alarms lists findings that the causes do not explain: on other hosts, where
// what was injected is not shared with them; on no host; and, on the target,
// root causes that are none.
func (r injected) alarms(causes ...simfleet.Cause) []string {
	var expected []string
	shared := false
	for _, c := range causes {
		expected = append(expected, expectations[c.Name].codes...)
		expected = append(expected, expectations[c.Name].also...)
		shared = shared || c.Shared != ""
	}
	var out []string
	explained := map[string]map[fleet.Ref]bool{}
	for _, f := range r.judged.Findings {
		if explained[f.Host] == nil {
			explained[f.Host] = map[fleet.Ref]bool{}
		}
		explained[f.Host][f.Ref()] = slices.Contains(expected, f.Code) && (shared || f.Host == r.target || f.Host == "")
	}
	for _, f := range r.judged.Findings {
		ok := explained[f.Host][f.Ref()] || slices.ContainsFunc(f.Because, func(b fleet.Ref) bool { return follows(r.judged, f.Host, b, explained[f.Host]) })
		if !ok {
			out = append(out, fmt.Sprintf("%s on %s", f.Code, cmp.Or(f.Host, f.Object)))
		}
	}
	return out
}

// follows reports whether a finding is explained or follows from one that is.
func follows(a *fleet.Assessment, host string, ref fleet.Ref, explained map[fleet.Ref]bool) bool {
	if explained[ref] {
		return true
	}
	for _, f := range a.Findings {
		if f.Host == host && f.Ref() == ref {
			return slices.ContainsFunc(f.Because, func(b fleet.Ref) bool { return follows(a, host, b, explained) })
		}
	}
	return false
}

// pair injects two causes into one host. Both must be named; causes that keep
// sessions from opening, as root causes.
func (m *matrix) pair(t *testing.T, a, b simfleet.Cause) {
	t.Helper()
	if a.Inject == nil || b.Inject == nil || expectations[a.Name].miss != "" || expectations[b.Name].miss != "" {
		return
	}
	r := judgeInjected(t, a, b)
	if r.err != nil {
		m.apart = append(m.apart, fmt.Sprintf("%s with %s: %v", a.Name, b.Name, r.err))
		return
	}
	m.pairs++
	var missing []string
	for _, c := range []simfleet.Cause{a, b} {
		codes := expectations[c.Name].codes
		named := r.naming(codes) != nil
		if c.Breaks {
			named = slices.ContainsFunc(r.verdict().Causes, func(ref fleet.Ref) bool { return slices.Contains(codes, ref.Code) })
		}
		if !named {
			missing = append(missing, c.Name)
		}
	}
	if len(missing) == 0 {
		m.bothNamed++
		return
	}
	if why := hides[[2]string{a.Name, b.Name}]; why != "" {
		m.hidden = append(m.hidden, fmt.Sprintf("%s with %s: %s", a.Name, b.Name, why))
		return
	}
	m.pairProblems = append(m.pairProblems, fmt.Sprintf("%s with %s: %s not named; root causes %v, findings %s",
		a.Name, b.Name, strings.Join(missing, " and "), r.verdict().Causes, codesOf(r.judged.Findings)))
}

func codesOf(findings []fleet.Finding) []string {
	var out []string
	for _, f := range findings {
		out = append(out, f.Code)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// counts gives the figures of the summary: causes that sources can show and
// that were detected as they should be, all causes that can be injected or
// not, false alarms, and misses that are explained.
func (m *matrix) counts() (detected, all, alarms, explained int) {
	for _, r := range m.rows {
		all++
		alarms += len(r.alarms)
		switch {
		case r.cause.Inject == nil || r.expect.miss != "":
			explained++
		case r.found != nil && r.rootOK && r.fixOK:
			detected++
		}
	}
	return detected, all, alarms, explained
}

func (m *matrix) summary() string {
	detected, all, alarms, explained := m.counts()
	return fmt.Sprintf("detected %d/%d causes, %d false alarms, %d misses explained", detected, all, alarms, explained)
}

// write gives the matrix as a document.
func (m *matrix) write(w io.Writer) {
	p := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	p(`# Detection matrix

What readiness says when something is wrong. Each cause of failure that is known from real migrations is injected alone into one host of an otherwise
sound simulated fleet of %d hosts; inventory and readiness run on it through the ordinary APIs and over SSH. The sound fleet itself has no finding.

Written by ` + "`make matrix`" + `, which checks what it writes; ` + "`make test`" + ` checks the causes alone, without the pairs.

- **breaks**: by the simulated world's own rules a session on the host no longer opens, or does not do what it should.
- **root**: where it breaks sessions, the verdict names it as the first root cause; elsewhere it follows from nothing else.
- **fix**: the finding's fix says what this cause needs.
- **false alarms**: findings that the cause does not explain, on this host or elsewhere.
`, matrixInstances)
	p("| # | cause | breaks | found as | verdict | root | fix | false alarms |\n| --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, r := range m.rows {
		if r.cause.Inject == nil || r.expect.miss != "" {
			continue
		}
		found := "**missed**"
		if r.found != nil {
			found = fmt.Sprintf("[%s](findings/%s.md)", r.found.Code, r.found.Code)
		}
		p("| %d | %s | %s | %s | %s | %s | %s | %d |", r.cause.Number, r.cause.Text, mark(r.cause.Breaks), found, r.verdict.Verdict, mark(r.rootOK), mark(r.fixOK), len(r.alarms))
	}
	p("\n## Misses, and why\n\nNo API and no command on a host shows these, or the simulated fleet cannot express them.\n\n| # | cause | why |\n| --- | --- | --- |")
	for _, r := range m.rows {
		switch {
		case r.cause.Inject == nil:
			p("| %d | %s | Not simulated: %s |", r.cause.Number, r.cause.Text, r.cause.Why)
		case r.expect.miss != "":
			p("| %d | %s | Not seen: %s |", r.cause.Number, r.cause.Text, r.expect.miss)
		}
	}
	p("\n## Pairs\n\nEvery two of the causes above were injected together into one host. Of %d pairs, both were named in %d: causes that break sessions as root causes, the others as findings.", m.pairs, m.bothNamed)
	list := func(title string, lines []string) {
		if len(lines) == 0 {
			return
		}
		p("\n%s\n", title)
		for _, l := range lines {
			p("- %s", l)
		}
	}
	list("One of these hides the other, for the reason given:", m.hidden)
	list("Not both named, without a good reason:", m.pairProblems)
	list("These cannot be had together:", m.apart)
	p("\n%s", m.summary())
}

func mark(ok bool) string {
	if ok {
		return "yes"
	}
	return "no"
}
