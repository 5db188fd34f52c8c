package main

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"ssm-migrate/internal/simfleet"
)

// asMigrate makes the test binary behave as the program itself, so that tests
// can kill it.
const asMigrate = "MIGRATE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if file := os.Getenv(asMeasurer); file != "" {
		os.Exit(measure(file))
	}
	if os.Getenv(asMigrate) != "" {
		os.Exit(realMain())
	}
	testscript.Main(m, map[string]func(){"migrate": func() { os.Exit(realMain()) }})
}

// TestScripts runs every script in testdata/script. Commands beyond
// testscript's own:
//
//	sim [-instances N] [-seed N] [-unreachable N]   starts a simulated fleet and sets the environment for it
//	mendable [-instances N] [-seed N]                the same with a fleet that a plan can close whole
//	fault SERVICE KIND                               deny, throttle or html: from now on for every call to it
//	exits CODE COMMAND [ARG...]                      runs a command that must end with this exit code
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			for _, name := range foreign {
				e.Setenv(name, "")
			}
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("AWS_EC2_METADATA_DISABLED", "true")
			e.Setenv("SSH_AUTH_SOCK", "")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"sim":      func(ts *testscript.TestScript, neg bool, args []string) { scriptSim(ts, neg, args, false) },
			"mendable": func(ts *testscript.TestScript, neg bool, args []string) { scriptSim(ts, neg, args, true) },
			"fault":    scriptFault,
			"exits":    scriptExits,
		},
	})
}

func scriptSim(ts *testscript.TestScript, neg bool, args []string, mendable bool) {
	o := demoOptions{instances: 40, seed: 7, addr: "127.0.0.1:0", noThrottle: true, pace: 100, mendable: mendable, dir: ts.MkAbs("sim")}
	if neg || len(args)%2 != 0 {
		ts.Fatalf("usage: sim [-instances N] [-seed N] [-unreachable N] [-owned 1]")
	}
	for i := 0; i < len(args); i += 2 {
		n, err := strconv.Atoi(args[i+1])
		ts.Check(err)
		switch args[i] {
		case "-instances":
			o.instances = n
		case "-seed":
			o.seed = uint64(n)
		case "-unreachable":
			o.unreachable = n
		case "-owned":
			o.owned = n > 0
		default:
			ts.Fatalf("sim: unknown option %s", args[i])
		}
	}
	d, err := startDemo(o)
	ts.Check(err)
	ts.Defer(d.stop)
	for _, v := range d.env() {
		ts.Setenv(v.name, v.value)
	}
	work := ts.Getenv("WORK")
	faults.Store(work, d.faults)
	ts.Defer(func() { faults.Delete(work) })
}

// faults finds a script's *simfleet.Faults by its work folder; scripts run in
// parallel.
var faults sync.Map

func scriptFault(ts *testscript.TestScript, neg bool, args []string) {
	kinds := map[string]simfleet.FaultKind{"deny": simfleet.FaultDeny, "throttle": simfleet.FaultThrottle, "html": simfleet.FaultHTML, "none": simfleet.FaultNone}
	if neg || len(args) != 2 {
		ts.Fatalf("usage: fault SERVICE KIND")
	}
	kind, ok := kinds[args[1]]
	if !ok {
		ts.Fatalf("fault: unknown kind %s", args[1])
	}
	f, ok := faults.Load(ts.Getenv("WORK"))
	if !ok {
		ts.Fatalf("fault: no simulated fleet runs; begin with sim")
	}
	f.(*simfleet.Faults).Set(simfleet.Fault{Service: args[0], Kind: kind})
}

func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		got = exitCode(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func exitCode(err error) int {
	var e *exec.ExitError
	if errors.As(err, &e) {
		return e.ExitCode()
	}
	return -1
}

// ownProcess lets a test that needs an environment of its own run beside others:
// in a process of its own. It reports false there, and true where the test is
// done: its caller returns then.
func ownProcess(t *testing.T) bool {
	t.Helper()
	if os.Getenv(testAlone) == t.Name() {
		return false
	}
	t.Parallel()
	args := []string{"-test.run=^" + t.Name() + "$", "-test.v"}
	flag.Visit(func(f *flag.Flag) {
		if !strings.HasPrefix(f.Name, "test.") || f.Name == "test.short" || f.Name == "test.parallel" {
			args = append(args, "-"+f.Name+"="+f.Value.String())
		}
	})
	c := exec.CommandContext(t.Context(), os.Args[0], args...)
	c.Env = append(os.Environ(), testAlone+"="+t.Name())
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	out, err := c.CombinedOutput()
	switch {
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	case bytes.Contains(out, []byte("--- SKIP: "+t.Name())):
		t.Skip(string(out))
	case !bytes.Contains(out, []byte("--- PASS: "+t.Name())):
		t.Errorf("it did not run:\n%s", out)
	default:
		t.Log(string(out))
	}
	return true
}

// testAlone names the test that a process of its own runs.
const testAlone = "MIGRATE_TEST_ALONE"

func setSim(t *testing.T, d *demoFleet) {
	t.Helper()
	for _, name := range foreign {
		t.Setenv(name, "") // restores it afterwards
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range d.env() {
		t.Setenv(v.name, v.value)
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("SSH_AUTH_SOCK", "")
}

func newSim(t *testing.T, o demoOptions) *demoFleet {
	t.Helper()
	if o.addr == "" {
		o.addr = "127.0.0.1:0"
	}
	o.dir = t.TempDir()
	d, err := startDemo(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.stop)
	setSim(t, d)
	return d
}
