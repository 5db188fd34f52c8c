package simulation_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/simfleet"
	"ssm-migrate/internal/sqlite"
)

var (
	seeds     = flag.Int("seeds", 0, "how many migrations TestSimulate runs; 0: a few")
	firstSeed = flag.Uint64("first", 1, "the first seed of TestSimulate")
	traceSeed = flag.Bool("trace", false, "print all that happens in the simulated migrations")
	tellFile  = flag.String("tell", "", "append the figures of the simulation to this file")
)

// failureMark is what a failing simulation's line begins with.
const failureMark = "simulation failed: "

// counts are the figures of many migrations.
type counts struct {
	seeds, faults, kills, events, lockouts, lost int
	applied, rolledBack, foreign, closed         int
	calls                                        int
}

func (c *counts) add(o counts) {
	c.seeds += o.seeds
	c.faults += o.faults
	c.kills += o.kills
	c.events += o.events
	c.lockouts += o.lockouts
	c.lost += o.lost
	c.applied += o.applied
	c.rolledBack += o.rolledBack
	c.calls += o.calls
	c.closed += o.closed
	c.foreign += o.foreign
}

// TestSimulate runs whole migrations of small simulated fleets, each decided by
// its seed: which hosts and which troubles they begin with, which calls fail and how, what
// people and machines do meanwhile, when the operator's process dies, and
// whether somebody resumes, rolls back, or nobody ever comes. After every
// change of the world nobody may be locked out.
func TestSimulate(t *testing.T) {
	notUnderRace(t)
	setCredentials(t)
	n := *seeds
	if n == 0 {
		n = 150
	}
	var mu sync.Mutex
	var total counts
	t.Run("seeds", func(t *testing.T) {
		next := make(chan uint64)
		var workers sync.WaitGroup
		for range runtime.GOMAXPROCS(0) + 1 { // one more: they wait for the disk, too
			workers.Go(func() {
				for seed := range next {
					t.Run(fmt.Sprint(seed), func(t *testing.T) {
						c := simulate(t, seed)
						mu.Lock()
						defer mu.Unlock()
						total.add(c)
					})
				}
			})
		}
		for i := range n {
			if t.Failed() && *tellFile == "" {
				break
			}
			next <- *firstSeed + uint64(i)
		}
		close(next)
		workers.Wait()
	})
	tell(t, "seeds %d, faults %d, kills %d, lock-outs %d", total.seeds, total.faults, total.kills, total.lockouts)
	t.Logf("%+v", total)
	if total.seeds > 20 && (total.applied == 0 || total.rolledBack == 0 || total.kills == 0 || total.faults == 0) {
		t.Errorf("the simulation does not try what it should: %+v", total)
	}
}

// TestSimulationReplays runs seeds twice: the same things must happen. It takes
// those whose plan runs one lane at a time, by one operator at a time: what several
// write down as they begin at the same moment may change places.
func TestSimulationReplays(t *testing.T) {
	notUnderRace(t)
	setCredentials(t)
	replayed := 0
	for seed := *firstSeed; replayed < 2; seed++ {
		var traces [2][]string
		alone := false
		for i := range traces {
			synctest.Test(t, func(t *testing.T) {
				s := newSimulation(t, seed)
				if alone = s.plan.Policy.Concurrency == 1; !alone {
					s.close()
					return
				}
				s.run()
				traces[i] = s.lines
				alone = !slices.ContainsFunc(s.lines, func(l string) bool { return strings.Contains(l, " successor-1 ") })
			})
		}
		if !alone {
			continue
		}
		replayed++
		for i := range min(len(traces[0]), len(traces[1])) {
			if traces[0][i] != traces[1][i] {
				t.Fatalf("seed %d, line %d differs:\n%s\n%s", seed, i, traces[0][i], traces[1][i])
			}
		}
		if len(traces[0]) != len(traces[1]) || len(traces[0]) == 0 {
			t.Fatalf("seed %d: %d and %d lines", seed, len(traces[0]), len(traces[1]))
		}
	}
}

// notUnderRace leaves the simulation out with -short, as the race detector's run
// is: what it does is ordered by turns in virtual time, which the detector does
// not take for an order. The executor's own tests run under it.
func notUnderRace(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("it is ordered by turns, which the race detector does not see")
	}
}

func setCredentials(t *testing.T) {
	for _, name := range []string{"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_CONFIG_FILE"} {
		t.Setenv(name, "")
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_ACCESS_KEY_ID", "SIMULATION")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
	t.Setenv("AWS_REGION", simRegion)
}

// tell appends a line for make simulate.
func tell(t *testing.T, format string, args ...any) {
	t.Helper()
	if *tellFile == "" {
		return
	}
	f, err := os.OpenFile(*tellFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(f, format+"\n", args...)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func simulate(t *testing.T, seed uint64) (c counts) {
	synctest.Test(t, func(t *testing.T) {
		s := newSimulation(t, seed)
		s.run()
		c = s.count
		if *traceSeed || t.Failed() {
			t.Log("\n" + strings.Join(s.lines, "\n"))
		}
	})
	return c
}

// simulation is one migration of a small fleet.
type simulation struct {
	t        testing.TB
	seed     uint64
	random   *rand.Rand // what happens; used in turns only
	world    *simfleet.World
	machines *simfleet.Hosts
	aws      *simfleet.AWS
	faults   *simfleet.Faults
	db       *sqlite.DB
	dir      string
	turns    *turns
	end      context.CancelFunc // of the world's own goroutines ...
	goes     sync.WaitGroup     // ... which these are

	colleague *awsapi.Changer // somebody else at work, without faults and turns

	snapshot  *fleet.Snapshot            // the latest
	snapshots map[string]*fleet.Snapshot // that plans were made from, by the plan's ID
	plan      *plan.Plan                 // that is being carried out or rolled back
	plans     []*plan.Plan               // all there are
	before    map[string]string
	hosts     []*watched
	known     map[string]*simfleet.Instance // all there ever were, by ID
	late      map[string]bool               // hosts on which a script ran that nobody waited for any more
	touched   map[string]bool               // by others than the operator's process: names of image

	faultRate, eventRate float64
	events               []event // of which one happens now and then
	reverts              []revert
	process              *process
	changed              bool         // by the request under way
	acts                 int          // turns that processes had
	rollbacks            atomic.Int32 // under way

	// ring are the recovery keys whose private parts are kept, newest first: a
	// login tries all of them.
	ring []string
	used map[string]string // by host's ID: the key that alone logged in last
	// also is what a story wants beside after each change; nil: nothing. It is
	// called with the world's lock.
	also         func(change)
	downForGood  bool              // Systems Manager
	operatorKeys map[string][]byte // by file name
	count        counts
	failed       bool

	mu    sync.Mutex // guards lines, known and count.kills
	lines []string   // the trace
}

// log keeps a line of the trace.
func (s *simulation) log(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, time.Now().UTC().Format("15:04:05.000 ")+strings.ReplaceAll(firstLine(fmt.Sprintf(format, args...)), "\n", " "))
}

// fail reports what must not happen, once, and ends the operator's process.
func (s *simulation) fail(kind, format string, args ...any) {
	if s.failed {
		return
	}
	s.failed = true
	switch kind {
	case "lock-out", "one way only":
		s.count.lockouts++
	case "lost":
		s.count.lost++
	}
	text := fmt.Sprintf(format, args...)
	s.log("%s%s: %s", failureMark, kind, text)
	test, _, _ := strings.Cut(s.t.Name(), "/")
	s.t.Errorf("%sseed %d: %s: %s\nreplay: go test -tags sqlite_omit_load_extension -run '^%s$' ./internal/cutover/simulation -args -seeds 1 -first %d -trace", failureMark, s.seed, kind, text, test, s.seed)
	if s.process != nil {
		s.process.cancel()
	}
}

// run is the story of one migration.
func (s *simulation) run() {
	defer s.close()
	s.count.seeds++
	story := []string{"through", "through", "back", "back", "abandon", "two plans"}[s.random.IntN(6)]
	if story == "two plans" {
		s.twoPlans()
		return
	}
	s.play(story, true, mostTrouble)
}

// mostTrouble is how many lives of a story may meet trouble.
const mostTrouble = 7

// play lets one operator after the other work on the plan until the story has
// come to its end, and reports whether all of it is rolled back then. Alone: a
// rollback brings everything back. The first lives meet trouble: faults, kills, happenings.
func (s *simulation) play(story string, alone bool, trouble int) (whole bool) {
	s.log("story: %s", story)
	done := false
	for life := 1; !done && !s.failed && life <= 14; life++ {
		p := s.newProcess(life, life > trouble)
		rollback := story == "undo" || story == "back" && (life > 1 || s.random.IntN(3) == 0) || story == "abandon" && life > 1
		outcome, err := s.perhapsTwo(p, rollback)
		s.count.calls += p.calls
		s.log("life %d ends: %s %s, %v", life, outcome.Outcome, outcome.Reason, err)
		s.verifyJournal()
		switch {
		case s.failed:
		case err == nil && outcome.Outcome == cutover.OutcomeRolledBack && rollback:
			done, whole = true, true
			s.count.rolledBack++
			if alone {
				s.afterRollback()
			}
		case err == nil && ended(outcome) && story == "back":
			// All applied: the next life rolls it back.
		case err == nil && ended(outcome):
			done = true
			s.count.applied++
			s.afterApply()
		case story == "abandon" && life == 1:
			s.abandoned()
		case p.calm && err == nil && rollback && life > trouble+2 && (len(s.touched) > 0 || !alone):
			// What others changed meanwhile is left to them, and so is what rests on it.
			done = true
			s.count.foreign++
		case p.calm && err == nil && story == "through" && len(s.touched) > 0:
			// What others did keeps it from being carried out: it wants a new plan.
			story = "back"
		}
		s.rest()
	}
	if !done && !s.failed {
		s.fail("no end", "story %q did not come to an end", story)
	}
	return whole
}

// lookUp finds a plan of the journal.
func (s *simulation) lookUp(_ context.Context, id string) (*plan.Plan, error) {
	if i := slices.IndexFunc(s.plans, func(p *plan.Plan) bool { return p.ID == id }); i >= 0 {
		return s.plans[i], nil
	}
	return nil, fleet.ErrNotFound
}

// twoPlans lets a second plan be made when the first is carried out, for those
// whom the first left alone, and rolls both back, in either order. What one of
// them made and the other found stays until nothing rests on it.
func (s *simulation) twoPlans() {
	s.play("through", true, mostTrouble)
	if s.failed {
		return
	}
	first, before := s.plan, s.before
	s.turns.take("second plan")
	s.inventory()
	s.makePlan(false)
	s.before = s.image()
	second := s.plan
	if len(second.Waves) > 0 {
		s.play([]string{"through", "back"}[s.random.IntN(2)], true, mostTrouble)
	}
	s.before = before
	order := []*plan.Plan{first, second}
	if s.random.IntN(2) == 0 {
		slices.Reverse(order)
	}
	whole := map[*plan.Plan]bool{second: len(second.Waves) == 0} // nothing may be left to plan
	for again, lives := range []int{1, 0} {
		for _, p := range order {
			if s.plan = p; !s.failed && !whole[p] {
				time.Sleep(time.Duration(again) * 3 * time.Hour) // what was broken for a while is well again
				whole[p] = s.play("undo", false, lives)
			}
		}
	}
	switch {
	case s.failed:
	case whole[first] && whole[second]:
		s.afterRollback()
	case len(s.touched) == 0:
		s.fail("no end", "two plans on one fleet could not be rolled back")
	}
}

// perhapsTwo lets an operator work, now and then while a second one tries the
// same, or takes over from one who is frozen: only one may change the fleet at a time.
func (s *simulation) perhapsTwo(p *process, rollback bool) (cutover.Result, error) {
	if p.freezeAt > 0 {
		return s.takenOver(p, rollback, s.random.IntN(2) == 0)
	}
	if p.calm || s.random.IntN(5) > 0 {
		return p.live(rollback)
	}
	second := s.newProcess(100, false)
	s.process = p
	delay := time.Duration(s.random.IntN(120)) * time.Second
	var both sync.WaitGroup
	both.Go(func() {
		time.Sleep(delay)
		outcome, err := second.live(rollback)
		s.log("%s ends: %s %s, %v", second.name, outcome.Outcome, outcome.Reason, err)
	})
	outcome, err := p.live(rollback)
	both.Wait()
	return outcome, err
}

// takenOver lets a process freeze while another operator waits for its lease,
// who may want the contrary.
func (s *simulation) takenOver(p *process, rollback, otherRollback bool) (cutover.Result, error) {
	over := make(chan struct{})
	var both sync.WaitGroup
	both.Go(func() {
		for n := 1; ; n++ {
			select {
			case <-over:
				return
			case <-time.After(2 * time.Minute):
			}
			other := &process{s: s, name: fmt.Sprintf("successor-%d", n)}
			other.ctx, other.cancel = context.WithCancel(context.Background())
			outcome, err := other.live(otherRollback)
			s.log("%s ends: %s %s, %v", other.name, outcome.Outcome, outcome.Reason, err)
			if !errors.As(err, new(*cutover.HeldError)) {
				return
			}
		}
	})
	outcome, err := p.live(rollback)
	close(over)
	both.Wait()
	return outcome, err
}

// ended reports whether there is nothing more to apply.
func ended(r cutover.Result) bool {
	return r.Outcome == cutover.OutcomeDone || r.Outcome == cutover.OutcomePartly
}

// rest lets a while pass between two lives, so that leases expire.
func (s *simulation) rest() { time.Sleep(time.Duration(3+s.random.IntN(20)) * time.Minute) }

func (s *simulation) close() {
	s.end()
	s.goes.Wait()
	s.machines.Close()
	if err := s.db.Close(); err != nil {
		s.t.Error(err)
	}
}

func (s *simulation) verifyJournal() {
	entries, err := s.db.Entries(context.Background(), "")
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cutover.Verify(entries); err != nil {
		s.fail("journal", "%v", err)
	}
	for _, e := range entries {
		if e.Event == cutover.Intended && len(e.Image) == 0 && !strings.Contains(e.Step, "prove-session") && !strings.Contains(e.Step, "drill") && !strings.Contains(e.Step, "wait-for") {
			s.fail("lost", "step %s was begun without a before-image", e.Step)
		}
	}
}
