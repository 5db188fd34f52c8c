package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/simfleet"
	"ssm-migrate/internal/sqlite"
)

// Debian's AWS CLI, the world's own truth and our inventory must count alike.
func TestCountsAgreeWithAWSCLIAndTruth(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs other programs, which show the race detector nothing")
	}
	t.Parallel()
	sim := serve(t, "--instances", "150", "--seed", "7")
	got := decode[inventoryResult](t, output(t, sim.program(t, "inventory", "--json")))

	world, err := simfleet.Generate(simfleet.Options{Seed: 7, Instances: 150})
	if err != nil {
		t.Fatal(err)
	}
	truth := world.Counts()
	if diff := cmp.Diff(hostCounts{
		Listed: truth.Instances, Running: truth.Running, Managed: truth.Listed, Hybrid: truth.Hybrid,
		Probed: got.HostCounts.Probed, Partly: got.HostCounts.Partly, Keys: got.HostCounts.Keys,
	}, got.HostCounts); diff != "" {
		t.Errorf("against the world (-world +inventory):\n%s", diff)
	}
	reachable := 0 // Windows hosts are not probed, whoever reaches their port 22
	for in := range world.Instances() {
		if in.Host.Running() && !in.Host.Windows() && world.OperatorReaches(in) {
			reachable++
		}
	}
	if got.HostCounts.Probed != reachable {
		t.Errorf("probed %d hosts, reachable are %d", got.HostCounts.Probed, reachable)
	}

	counts := map[string]int{} // over both Regions
	for _, s := range got.Sources {
		counts[s.Source] += s.Count
	}
	for source, args := range map[string][]string{
		"ec2:DescribeInstances":                 {"ec2", "describe-instances", "--page-size", "50", "--query", "Reservations[].Instances[].InstanceId"},
		"ec2:DescribeSecurityGroups":            {"ec2", "describe-security-groups", "--page-size", "5", "--query", "SecurityGroups[].GroupId"},
		"ec2:DescribeVpcs":                      {"ec2", "describe-vpcs", "--query", "Vpcs[].VpcId"},
		"ssm:DescribeInstanceInformation":       {"ssm", "describe-instance-information", "--page-size", "20", "--query", "InstanceInformationList[].InstanceId"},
		"autoscaling:DescribeAutoScalingGroups": {"autoscaling", "describe-auto-scaling-groups", "--query", "AutoScalingGroups[].AutoScalingGroupName"},
	} {
		n := 0
		for _, region := range []string{"eu-west-1", "us-east-1"} {
			n += len(awsCLI(t, sim.env, append([]string{"--region", region}, args...)...))
		}
		if n != counts[source] {
			t.Errorf("%s: AWS CLI lists %d, the inventory %d", source, n, counts[source])
		}
		if n == 0 {
			t.Errorf("%s: nothing listed at all", source)
		}
	}
	if n := len(awsCLI(t, sim.env, "iam", "list-roles", "--page-size", "3", "--query", "Roles[].RoleName")); n != truth.Roles {
		t.Errorf("AWS CLI lists %d roles, the world has %d", n, truth.Roles)
	}
}

// awsCLI runs Debian's AWS CLI and gives the list of strings that it prints.
func awsCLI(t *testing.T, env []string, args ...string) []string {
	t.Helper()
	const path = "/usr/bin/aws"
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s is missing; install it with: apt-get install awscli", path)
	}
	endpoint := ""
	for _, v := range env {
		if e, ok := strings.CutPrefix(v, "AWS_ENDPOINT_URL="); ok {
			endpoint = e
		}
	}
	c := exec.Command(path, append([]string{"--endpoint-url", endpoint, "--output", "json"}, args...)...)
	c.Env = append(env, "AWS_PAGER=")
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("aws %s: %v", strings.Join(args, " "), err)
	}
	return decode[[]string](t, out)
}

// A fleet made anew from the same seed is judged the same.
func TestSameSeedSameFindings(t *testing.T) {
	if testing.Short() {
		t.Skip("what it runs, other tests run too")
	}
	t.Parallel()
	type essence struct {
		Verdicts []fleet.HostVerdict
		Findings []fleet.Finding
	}
	var runs [2]essence
	for i := range runs {
		sim := serve(t, "--instances", "50", "--seed", "11")
		output(t, sim.program(t, "inventory"))
		judged := decode[fleet.Assessment](t, output(t, sim.program(t, "readiness", "--json"), exitNotReady))
		for _, f := range judged.Findings {
			f.Evidence = nil // holds times
			runs[i].Findings = append(runs[i].Findings, f)
		}
		runs[i].Verdicts = judged.Hosts
		sim.stop(t)
	}
	if diff := cmp.Diff(runs[0], runs[1]); diff != "" {
		t.Errorf("two runs differ:\n%s", diff)
	}
	if len(runs[0].Findings) == 0 {
		t.Error("no findings at all")
	}
}

// An inventory that is killed at any moment leaves the snapshot before it whole.
func TestKilledInventoryLeavesThePreviousSnapshotWhole(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector has no time to tell of a program that is killed")
	}
	t.Parallel()
	f := ownSim(t, demoOptions{instances: 5, seed: 7, noThrottle: true})
	f.run(t, nil, "inventory")
	before := latest(t, f.db())
	// The program tells on standard error how far it is; every line is a moment.
	moments := 0
	for {
		killed := f.killAtLine(t, moments)
		after := latest(t, f.db())
		if !killed {
			if after.ID == before.ID {
				t.Error("the run that was let go made no snapshot")
			}
			break
		}
		if diff := cmp.Diff(before, snapshotIn(t, f.db(), before.ID), addresses); diff != "" {
			t.Fatalf("killed at line %d, the snapshot before it differs:\n%.3000s", moments, diff)
		}
		// After its last line there is a moment in which it has stored all and not ended.
		if after.ID != before.ID && (len(after.Hosts) != len(before.Hosts) || len(after.Sources()) != len(before.Sources())) {
			t.Fatalf("killed at line %d, it left half a snapshot: %d hosts, %d sources", moments, len(after.Hosts), len(after.Sources()))
		}
		before = after
		moments++
	}
	if moments < 20 {
		t.Errorf("only %d moments were tried", moments)
	}
}

// addresses lets cmp compare what netip keeps to itself.
var addresses = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

// killAtLine kills an inventory when it has printed n lines of progress, and
// reports whether it got that far.
func (f *ownFleet) killAtLine(t *testing.T, n int) bool {
	t.Helper()
	c := f.program("inventory")
	stderr, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	for i := 0; i < n && lines.Scan(); i++ {
	}
	if n > 0 && !lines.Scan() {
		return c.Wait() != nil
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	return c.Wait() != nil
}

func latest(t *testing.T, path string) *fleet.Snapshot {
	t.Helper()
	return snapshotIn(t, path, 0)
}

// snapshotIn is a snapshot in the state file; 0: the latest.
func snapshotIn(t *testing.T, path string, id int64) *fleet.Snapshot {
	t.Helper()
	db, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	snap, err := load(t.Context(), db, id)
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

// Hosts that print without end, hang, or send terminal escapes harm neither
// memory nor run nor screen.
func TestHostileHosts(t *testing.T) {
	t.Parallel()
	d := ownSim(t, demoOptions{instances: 30, seed: 7, noThrottle: true})
	_, usual := measured(t, d.program("inventory"))
	// Only hosts that hang need the short timeout: on a busy machine a sound one may miss it.
	config, err := os.ReadFile(d.config())
	if err != nil {
		t.Fatal(err)
	}
	short := bytes.Replace(config, []byte("\nssh:\n"), []byte("\nssh:\n  timeout: 5s\n"), 1)
	if bytes.Equal(short, config) {
		t.Fatalf("the configuration has no section ssh:\n%s", config)
	}
	if err := os.WriteFile(d.config(), short, 0o600); err != nil {
		t.Fatal(err)
	}
	kinds := []simfleet.MachineFault{simfleet.MachineEndless, simfleet.MachineHang, simfleet.MachineSilent, simfleet.MachineGarbage, simfleet.MachineCut, simfleet.MachineHostKey}
	faulty := map[string]simfleet.MachineFault{}
	d.world.Mu.Lock()
	for in := range d.world.Instances() {
		if in.Host.Running() && in.Role != "bastion" && !in.Host.Windows() && len(kinds) > 0 {
			in.Fault, faulty[in.Host.ID] = kinds[0], kinds[0]
			kinds = kinds[1:]
		}
	}
	d.world.Mu.Unlock()

	text, used := measured(t, d.program("inventory"), exitIncomplete)
	// One host prints 1 GiB. What the race detector adds is in both figures.
	t.Logf("peak memory: %d MiB, without hostile hosts %d MiB", used.Peak>>20, usual.Peak>>20)
	if more := used.Peak - usual.Peak; more > 128<<20 {
		t.Errorf("peak memory was %d MiB, %d MiB more than without hostile hosts", used.Peak>>20, more>>20)
	}
	if strings.ContainsAny(string(text), "\x1b\x07\x08") {
		t.Errorf("control characters on the screen: %q", text)
	}
	for _, h := range latest(t, d.db()).Hosts {
		kind, ok := faulty[h.ID]
		if !ok {
			continue
		}
		// What a host said before it broke off may be kept, marked as not whole.
		if h.Probe.Known && len(h.Probe.Value.Gaps) == 0 {
			t.Errorf("host with fault %v is known in full", kind)
		}
		if !h.Probe.Known && h.Probe.Reason == "" {
			t.Errorf("host with fault %v has no reason", kind)
		}
		all, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(all), `\u001b`) {
			t.Errorf("host with fault %v: terminal escapes were stored: %s", kind, all)
		}
	}
	report := filepath.Join(t.TempDir(), "report.html")
	d.run(t, nil, "report", "-o", report)
	html, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(string(html), "\x1b\x07\x08") {
		t.Error("control characters in the report")
	}
}
