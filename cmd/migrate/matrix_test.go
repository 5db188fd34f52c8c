package main

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
	"ssm-migrate/internal/simfleet"
	"ssm-migrate/internal/sqlite"
)

var (
	matrixFile  = flag.String("matrix", "", "inject all pairs of causes too, and write the detection matrix to this file")
	long        = flag.Bool("long", false, "run the tests that take minutes, too")
	matrixCause = flag.String("cause", "", "inject only causes with one of these in their name, parted by commas")
)

// TestDetectionMatrix injects every cause of failure alone into an otherwise
// sound fleet, runs inventory and readiness on it, and holds what they say
// against what they should. With -matrix it does the same with every pair, and
// writes the result down.
func TestDetectionMatrix(t *testing.T) {
	if ownProcess(t) {
		return
	}
	causes := slices.DeleteFunc(simfleet.Causes(), func(c simfleet.Cause) bool {
		return !slices.ContainsFunc(strings.Split(*matrixCause, ","), func(part string) bool { return strings.Contains(c.Name, part) })
	})
	if raceDetector {
		causes = slices.DeleteFunc(causes, func(c simfleet.Cause) bool { return c.Number%10 != 0 }) // it is many times slower
	}
	checkSoundFleet(t)
	m := &matrix{rows: make([]matrixRow, len(causes))}
	var jobs []func()
	for i, c := range causes {
		jobs = append(jobs, func() { m.rows[i] = single(t, c) })
	}
	if *matrixFile != "" {
		for i, a := range causes {
			for _, b := range causes[i+1:] {
				if a.Inject != nil && b.Inject != nil && expectations[a.Name].miss == "" && expectations[b.Name].miss == "" {
					m.pairs = append(m.pairs, matrixPair{a: a, b: b})
				}
			}
		}
		for i := range m.pairs {
			jobs = append(jobs, func() { m.pairs[i].inject(t) })
		}
	}
	inParallel(jobs)
	for _, r := range m.rows {
		for _, problem := range r.problems {
			t.Errorf("cause %d, %s: %s", r.cause.Number, r.cause.Name, problem)
		}
	}
	for _, p := range m.pairs {
		if p.problem != "" {
			t.Errorf("%s with %s: %s", p.a.Name, p.b.Name, p.problem)
		}
	}
	t.Log(m.summary())
	if *matrixFile != "" {
		var text bytes.Buffer
		m.write(&text)
		if err := os.WriteFile(*matrixFile, text.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// inParallel does the jobs, more at a time than there are processors: hosts
// that do not answer take their time.
func inParallel(jobs []func()) {
	atOnce := 12
	if raceDetector {
		atOnce = 3 // so many slow probes at once would not keep their time limits
	}
	queue := make(chan func())
	var workers sync.WaitGroup
	for range atOnce {
		workers.Go(func() {
			for job := range queue {
				job()
			}
		})
	}
	for _, job := range jobs {
		queue <- job
	}
	close(queue)
	workers.Wait()
}

// matrixInstances is the smallest fleet that has every kind of network.
const matrixInstances = 10

// matrix is what the injections showed.
type matrix struct {
	rows  []matrixRow
	pairs []matrixPair
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

// checkSoundFleet ends the test when the fleet is not sound: whatever else it
// showed would mean nothing.
func checkSoundFleet(t *testing.T) {
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
		t.FailNow()
	}
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
	dir, err := os.MkdirTemp("", "migrate-matrix-")
	if err != nil {
		t.Error(err)
		return injected{err: err}
	}
	defer func() { _ = os.RemoveAll(dir) }()
	d, err := startDemo(demoOptions{instances: matrixInstances, seed: 7, addr: "127.0.0.1:0", noThrottle: true, healthy: true, dir: dir})
	if err != nil {
		t.Error(err)
		return injected{err: err}
	}
	defer d.stop()
	d.world.Mu.Lock()
	target := injectionTarget(d.world)
	for _, c := range causes {
		if err := c.Inject(d.world, target); err != nil {
			d.world.Mu.Unlock()
			return injected{err: err}
		}
	}
	r, vpc := injected{target: target.Host.ID, serves: d.world.ServesSessions(target)}, target.Host.VPC
	d.world.Mu.Unlock()

	var probe func(fleet.Host) bool
	if len(causes) > 1 {
		// What pairs do to other hosts is not looked at: only the target's neighbours can tell of it.
		probe = func(h fleet.Host) bool { return h.VPC == vpc }
	}
	if r.judged, err = judgeFleet(t.Context(), d, probe); err != nil {
		t.Errorf("%v: %v", causes, err)
		r.err = err
	}
	return r
}

// opening guards the environment, in which AWS's SDK looks for the endpoint.
var opening sync.Mutex

// judgeFleet takes inventory and readiness of a simulated fleet as the program
// does, probing the hosts that probe selects; nil: all.
func judgeFleet(ctx context.Context, d *demoFleet, probe func(fleet.Host) bool) (*fleet.Assessment, error) {
	cfg, err := (&app{dbPath: d.db(), configPath: d.config()}).config()
	if err != nil {
		return nil, err
	}
	opening.Lock()
	err = d.setenv()
	var c *collection
	if err == nil {
		c, err = newCollection(ctx, cfg)
	}
	opening.Unlock()
	if err != nil {
		return nil, err
	}
	defer c.close()
	c.Select = probe
	db, err := sqlite.Open(ctx, d.db())
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.Close() }()
	info, err := c.run(ctx, db, nil)
	if err != nil {
		return nil, err
	}
	snap, err := db.Load(ctx, info.ID)
	if err != nil {
		return nil, err
	}
	return readiness.Assess(snap, cfg.policy(), time.Now()), nil
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
	miss  string   // why there is nothing to find; then codes is empty, and only those in also may be found
}

// single injects one cause.
func single(t *testing.T, c simfleet.Cause) (row matrixRow) {
	row = matrixRow{cause: c, expect: expectations[c.Name]}
	problem := func(format string, args ...any) { row.problems = append(row.problems, fmt.Sprintf(format, args...)) }
	switch {
	case c.Inject == nil && c.Why == "":
		problem("cannot be injected, and does not say why")
		return row
	case c.Inject == nil:
		return row
	case (len(row.expect.codes) == 0) == (row.expect.miss == ""):
		problem("the test must expect either findings or a miss")
		return row
	}
	r := judgeInjected(t, c)
	if r.err != nil {
		problem("injection: %v", r.err)
		return row
	}
	row.verdict = r.verdict()
	row.found = r.naming(row.expect.codes)
	row.alarms = r.alarms(c)
	if c.Breaks == r.serves {
		problem("the world says serves=%v after the injection", r.serves)
	}
	if row.expect.miss != "" {
		for _, a := range row.alarms {
			problem("it should leave no trace, but there is %s", a)
		}
		return row
	}
	if row.found == nil {
		problem("not detected; findings are %s", codesOf(r.judged.Findings))
		return row
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
	return row
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

// matrixPair is two causes on one host. Both must be named; causes that keep
// sessions from opening, as root causes.
type matrixPair struct {
	a, b    simfleet.Cause
	apart   string // why the two cannot be had together
	hidden  string // why one of them rightly keeps the other from showing
	problem string
}

func (p *matrixPair) inject(t *testing.T) {
	r := judgeInjected(t, p.a, p.b)
	if r.err != nil {
		p.apart = r.err.Error()
		return
	}
	var missing, reasons []string
	for n, c := range []simfleet.Cause{p.a, p.b} {
		codes := expectations[c.Name].codes
		named := r.naming(codes) != nil
		if c.Breaks {
			named = slices.ContainsFunc(r.verdict().Causes, func(ref fleet.Ref) bool { return slices.Contains(codes, ref.Code) })
		}
		if named {
			continue
		}
		missing = append(missing, c.Name)
		other := p.b
		if n > 0 {
			other = p.a
		}
		if why := cmp.Or(hides[[2]string{p.a.Name, p.b.Name}], whyHidden(c, other)); why != "" {
			reasons = append(reasons, why)
		}
	}
	switch {
	case len(missing) == 0:
	case len(reasons) == len(missing):
		p.hidden = strings.Join(missing, " and ") + " not named: " + strings.Join(reasons, "; ")
	default:
		p.problem = fmt.Sprintf("%s not named; root causes %v, findings %s", strings.Join(missing, " and "), r.verdict().Causes, codesOf(r.judged.Findings))
	}
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

Written by `+"`make matrix`"+`, which checks what it writes; `+"`make test`"+` checks the causes alone, without the pairs.

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
	m.writePairs(p)
	p("\n%s", m.summary())
}

func (m *matrix) writePairs(p func(string, ...any)) {
	var hidden, apart, problems []string
	for _, x := range m.pairs {
		for _, l := range []struct {
			why  string
			into *[]string
		}{{x.hidden, &hidden}, {x.apart, &apart}, {x.problem, &problems}} {
			if l.why != "" {
				*l.into = append(*l.into, fmt.Sprintf("%s with %s: %s", x.a.Name, x.b.Name, l.why))
			}
		}
	}
	tried := len(m.pairs) - len(apart)
	p("\n## Pairs\n\nEvery two of the causes above were injected together into one host, where the two can be had together. Of %d such pairs both were named in %d: causes that break sessions as root causes, the others as findings.",
		tried, tried-len(hidden)-len(problems))
	for _, l := range []struct {
		title string
		lines []string
	}{{"One of these rightly hides the other:", hidden}, {"Not both named, without a good reason:", problems}, {"These cannot be had together:", apart}} {
		if len(l.lines) > 0 {
			p("\n%s\n\n- %s", l.title, strings.Join(l.lines, "\n- "))
		}
	}
}

func mark(ok bool) string {
	if ok {
		return "yes"
	}
	return "no"
}
