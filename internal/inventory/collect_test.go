package inventory_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/inventory"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

var start = time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)

func fixed() time.Time { return start }

// memory is a Store that keeps everything, in order.
type memory struct {
	mu       sync.Mutex
	batches  []fleet.Batch
	finished *fleet.SnapshotInfo
	saveErr  error
	onSave   func()
}

func (m *memory) Begin(context.Context, fleet.SnapshotInfo) (int64, error) { return 7, nil }

func (m *memory) Save(_ context.Context, id int64, b fleet.Batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if id != 7 {
		return fmt.Errorf("snapshot %d", id)
	}
	if m.finished != nil {
		return errors.New("saved after finish")
	}
	if m.onSave != nil {
		m.onSave()
	}
	m.batches = append(m.batches, b)
	return m.saveErr
}

func (m *memory) Finish(_ context.Context, info fleet.SnapshotInfo) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.finished = &info
	return nil
}

// snapshot joins what was saved, later records replacing earlier ones.
func (m *memory) snapshot(info fleet.SnapshotInfo) *fleet.Snapshot {
	var all fleet.Batch
	hosts := map[string]int{}
	for _, b := range m.batches {
		for _, a := range b.Accounts {
			all.Accounts = append(slices.DeleteFunc(all.Accounts, func(old fleet.Account) bool { return old.Label == a.Label }), a)
		}
		all.Regions = append(all.Regions, b.Regions...)
		all.Nodes = append(all.Nodes, b.Nodes...)
		all.Connections = append(all.Connections, b.Connections...)
		for _, h := range b.Hosts {
			if i, ok := hosts[h.ID]; ok {
				all.Hosts[i] = h
				continue
			}
			hosts[h.ID] = len(all.Hosts)
			all.Hosts = append(all.Hosts, h)
		}
		all.Probes = append(all.Probes, b.Probes...)
	}
	return fleet.Join(info, all)
}

// cloud is a Cloud made of values.
type cloud struct {
	label, region string
	pages         [][]fleet.Host
	nodePages     [][]fleet.Node
	instancesErr  error // after the pages
	nodesErr      error
	account       string // what STS says
	defaultRole   string // of Default Host Management Configuration
	status        func(id string) (string, error)

	mu    sync.Mutex
	asked []string
}

func (c *cloud) Label() string      { return c.label }
func (c *cloud) RegionName() string { return c.region }

func (c *cloud) Instances(_ context.Context, page func([]fleet.Host) error) error {
	for _, p := range c.pages {
		if err := page(p); err != nil {
			return err
		}
	}
	return c.instancesErr
}

func (c *cloud) Nodes(_ context.Context, page func([]fleet.Node) error) error {
	for _, p := range c.nodePages {
		if err := page(p); err != nil {
			return err
		}
	}
	return c.nodesErr
}

func (c *cloud) Connection(_ context.Context, node string) (string, error) {
	c.mu.Lock()
	c.asked = append(c.asked, node)
	c.mu.Unlock()
	if c.status == nil {
		return "connected", nil
	}
	return c.status(node)
}

func (c *cloud) Surroundings(context.Context) fleet.Region { return c.surroundings() }

// surroundings has every collection known and empty.
func (c *cloud) surroundings() fleet.Region {
	const source = "fake"
	return fleet.Region{
		Account: c.account, DefaultRole: fleet.Known(c.defaultRole, source, start),
		ScalingGroups: fleet.Known[[]fleet.ScalingGroup](nil, source, start), Templates: fleet.Known[[]fleet.LaunchTemplate](nil, source, start),
		KeyPairs: fleet.Known[[]fleet.KeyPair](nil, source, start), VPCs: fleet.Known[[]fleet.VPC](nil, source, start),
		Subnets: fleet.Known[[]fleet.Subnet](nil, source, start), RouteTables: fleet.Known[[]fleet.RouteTable](nil, source, start),
		Groups: fleet.Known[[]fleet.SecurityGroup](nil, source, start), NetworkACLs: fleet.Known[[]fleet.NetworkACL](nil, source, start),
		Endpoints: fleet.Known[[]fleet.VPCEndpoint](nil, source, start), Gateways: fleet.Known[[]fleet.Gateway](nil, source, start),
		NATGateways: fleet.Known[[]fleet.Gateway](nil, source, start), PrefixLists: fleet.Known[[]fleet.PrefixList](nil, source, start),
		DHCPOptions: fleet.Known[[]fleet.DHCPOptions](nil, source, start),
	}
}

type identity fleet.Account

func (i identity) Account(context.Context) fleet.Account { return fleet.Account(i) }

func (i identity) Simulate(_ context.Context, principals []string) fleet.Fact[[]fleet.Simulation] {
	var out []fleet.Simulation
	for _, p := range principals {
		out = append(out, fleet.Simulation{Principal: p, Action: "ssmmessages:OpenDataChannel", Decision: "allowed"})
	}
	return fleet.Known(out, "iam", start)
}

type prober func(ctx context.Context, h fleet.Host) (inventory.Output, error)

func (p prober) Probe(ctx context.Context, h fleet.Host) (inventory.Output, error) { return p(ctx, h) }

func answering(context.Context, fleet.Host) (inventory.Output, error) {
	return inventory.Output{Stdout: []byte("migrate-probe 1\nbegin\tsystem\nuid\t0\nend\tsystem\ndone\n")}, nil
}

func host(id, state string) fleet.Host {
	return fleet.Host{ID: id, Account: "111122223333", Region: "eu-west-1", State: state, Platform: "Linux/UNIX"}
}

func node(id string) fleet.Node {
	return fleet.Node{ID: id, Region: "eu-west-1", PingStatus: "Online"}
}

// collect runs an inventory and checks what holds for every run.
func collect(t *testing.T, cfg inventory.Config) (*fleet.Snapshot, *memory, []inventory.Event) {
	t.Helper()
	m := &memory{}
	if cfg.Store == nil {
		cfg.Store = m
	}
	cfg.Now, cfg.Version = fixed, "test"
	var events []inventory.Event
	var emitting sync.Mutex
	info, err := inventory.Collect(t.Context(), cfg, func(e inventory.Event) {
		if !emitting.TryLock() {
			t.Error("two events at once")
			return
		}
		defer emitting.Unlock()
		events = append(events, e)
	})
	if err != nil {
		t.Fatal(err)
	}
	if m.finished == nil || !cmp.Equal(*m.finished, info) {
		t.Fatalf("finished as %+v, returned %+v", m.finished, info)
	}
	if last := events[len(events)-1]; last.Kind != inventory.Finished {
		t.Errorf("the last event is %+v", last)
	}
	return m.snapshot(info), m, events
}

func find(t *testing.T, s *fleet.Snapshot, id string) fleet.Host {
	t.Helper()
	i := slices.IndexFunc(s.Hosts, func(h fleet.Host) bool { return h.ID == id })
	if i < 0 {
		t.Fatalf("%s is not in the snapshot", id)
	}
	return s.Hosts[i]
}

func TestCollectJoinsEverySource(t *testing.T) {
	defer goleak.VerifyNone(t)
	c := &cloud{
		label: "prod", region: "eu-west-1",
		pages:     [][]fleet.Host{{host("i-1", "running"), host("i-2", "stopped")}, {host("i-3", "running"), host("i-4", "running")}},
		nodePages: [][]fleet.Node{{node("i-1"), node("i-2")}, {node("i-3"), node("mi-9")}},
	}
	c.pages[1][1].Platform = "Windows"
	s, _, events := collect(t, inventory.Config{
		Accounts: []inventory.Identity{identity{ID: "111122223333", Label: "prod", Profiles: fleet.Known[[]fleet.InstanceProfile](nil, "iam", start),
			Roles: fleet.Known[[]fleet.Role](nil, "iam", start), Policies: fleet.Known[[]fleet.Policy](nil, "iam", start)}},
		Clouds: []inventory.Cloud{c},
		Prober: prober(answering),
	})
	if s.State != fleet.SnapshotComplete || s.SnapshotInfo.Hosts != 4 || s.Unknowns != 0 || s.ID != 7 || s.Version != "test" {
		t.Errorf("snapshot %+v, want complete with 4 hosts", s.SnapshotInfo)
	}
	if slices.Sort(c.asked); !slices.Equal(c.asked, []string{"i-1", "i-3"}) {
		t.Errorf("asked for the connection of %v, want the running nodes i-1 and i-3", c.asked)
	}
	for id, want := range map[string][3]string{
		"i-1": {"registered", "connected", "probed"},
		"i-2": {"registered", "not asked", "the instance is stopped"},
		"i-3": {"registered", "connected", "probed"},
		"i-4": {"", "not a managed node", "Windows hosts are not probed"},
	} {
		h := find(t, s, id)
		got := [3]string{"", h.Connection.Value + h.Connection.Reason, h.Probe.Reason}
		if h.Node.Value.Registered {
			got[0] = "registered"
		}
		if h.Probe.Known {
			got[2] = "probed"
		}
		if got != want {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
	r := s.Regions[0]
	if r.Account != "111122223333" || r.Label != "prod" || r.Name != "eu-west-1" {
		t.Errorf("Region %s %s %s: the account comes from the instances", r.Account, r.Label, r.Name)
	}
	if !r.Instances.Known || r.Instances.Value != 4 || !r.Nodes.Known || r.Nodes.Value != 4 {
		t.Errorf("instances %+v, nodes %+v", r.Instances, r.Nodes)
	}
	if len(r.HybridNodes) != 1 || r.HybridNodes[0].ID != "mi-9" {
		t.Errorf("hybrid nodes %+v", r.HybridNodes)
	}
	var done []int
	for _, e := range events {
		if e.Kind == inventory.ProbeProgress {
			done = append(done, e.Done)
		}
	}
	if !slices.Equal(done, []int{1, 2}) {
		t.Errorf("probe progress %v", done)
	}
}

func TestSourceThatBreaksOffLeavesTheRestStanding(t *testing.T) {
	denied := errors.New("AccessDeniedException: no\x1b[31m")
	nodes := [][]fleet.Node{{node("i-1")}}
	hosts := [][]fleet.Host{{host("i-1", "running"), host("i-2", "running")}}
	for _, tc := range []struct {
		name       string
		cloud      *cloud
		prober     prober
		unknowns   int
		asked      int
		connection string
		node2      string // reason
		probe      string // reason
	}{
		{"nodes", &cloud{pages: hosts, nodePages: nodes, nodesErr: denied}, answering, 1, 0, "AccessDeniedException: no[31m", "AccessDeniedException: no[31m", ""},
		{"instances", &cloud{pages: hosts, nodePages: nodes, instancesErr: denied}, answering, 1, 1, "connected", "", ""},
		{"status", &cloud{pages: hosts, nodePages: nodes, status: func(string) (string, error) { return "", denied }}, answering, 1, 1, "AccessDeniedException: no[31m", "", ""},
		{"probe", &cloud{pages: hosts, nodePages: nodes}, func(context.Context, fleet.Host) (inventory.Output, error) {
			return inventory.Output{}, errors.New("dial: connection refused")
		}, 2, 1, "connected", "", "dial: connection refused"},
		{"silent host", &cloud{pages: hosts, nodePages: nodes}, func(context.Context, fleet.Host) (inventory.Output, error) {
			return inventory.Output{}, nil
		}, 2, 1, "connected", "", "the host printed nothing: a forced command, or no POSIX shell"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.cloud.label, tc.cloud.region = "p", "eu-west-1"
			s, _, events := collect(t, inventory.Config{Clouds: []inventory.Cloud{tc.cloud}, Prober: tc.prober})
			if s.State != fleet.SnapshotIncomplete || s.Unknowns != tc.unknowns {
				t.Errorf("%v with %d unknowns, want incomplete with %d", s.State, s.Unknowns, tc.unknowns)
			}
			if len(tc.cloud.asked) != tc.asked {
				t.Errorf("asked %v", tc.cloud.asked)
			}
			h1, h2 := find(t, s, "i-1"), find(t, s, "i-2")
			if !h1.Node.Known || !h1.Node.Value.Registered {
				t.Errorf("i-1 was seen among the nodes: %+v", h1.Node)
			}
			if got := h1.Connection.Value + h1.Connection.Reason; got != tc.connection {
				t.Errorf("connection %q, want %q", got, tc.connection)
			}
			if h2.Node.Known != (tc.node2 == "") || h2.Node.Reason != tc.node2 {
				t.Errorf("node of i-2: %+v, want reason %q", h2.Node, tc.node2)
			}
			if h1.Probe.Known != (tc.probe == "") || h1.Probe.Reason != tc.probe {
				t.Errorf("probe %+v, want reason %q", h1.Probe, tc.probe)
			}
			reasons := 0
			for _, e := range events {
				if e.Reason != "" {
					reasons++
				}
			}
			if reasons == 0 {
				t.Error("no event tells of the failure")
			}
		})
	}
}

func TestDeniedStatusIsNotAskedForEveryNode(t *testing.T) {
	c := &cloud{label: "p", region: "eu-west-1", status: func(string) (string, error) { return "", errors.New("denied") }}
	for i := range 300 {
		id := fmt.Sprintf("i-%03d", i)
		c.pages = append(c.pages, []fleet.Host{host(id, "running")})
		c.nodePages = append(c.nodePages, []fleet.Node{node(id)})
	}
	s, _, _ := collect(t, inventory.Config{Clouds: []inventory.Cloud{c}, StatusConcurrency: 4})
	if len(c.asked) > 30 {
		t.Errorf("asked %d times", len(c.asked))
	}
	for _, h := range s.Hosts {
		if h.Connection.Known || h.Connection.Reason != "denied" {
			t.Fatalf("%s: %+v", h.ID, h.Connection)
		}
	}
}

func TestHostOfTwoProfilesIsProbedOnce(t *testing.T) {
	var mu sync.Mutex
	probed := map[string]int{}
	page := [][]fleet.Host{{host("i-1", "running"), host("i-2", "running")}}
	s, _, _ := collect(t, inventory.Config{
		Clouds: []inventory.Cloud{&cloud{label: "a", region: "eu-west-1", pages: page}, &cloud{label: "b", region: "eu-west-1", pages: page}},
		Prober: prober(func(ctx context.Context, h fleet.Host) (inventory.Output, error) {
			mu.Lock()
			probed[h.ID]++
			mu.Unlock()
			return answering(ctx, h)
		}),
		Select: func(h fleet.Host) bool { return h.ID == "i-1" },
	})
	if !cmp.Equal(probed, map[string]int{"i-1": 1}) {
		t.Errorf("probed %v", probed)
	}
	if s.SnapshotInfo.Hosts != 2 || s.State != fleet.SnapshotComplete {
		t.Errorf("%+v", s.SnapshotInfo)
	}
}

func TestSlowHostIsGivenUpAndWhatItSaidIsKept(t *testing.T) {
	s, _, _ := collect(t, inventory.Config{
		Clouds:       []inventory.Cloud{&cloud{label: "a", region: "eu-west-1", pages: [][]fleet.Host{{host("i-1", "running"), host("i-2", "running")}}}},
		ProbeTimeout: time.Millisecond,
		Prober: prober(func(ctx context.Context, h fleet.Host) (inventory.Output, error) {
			<-ctx.Done()
			if h.ID == "i-1" {
				return inventory.Output{}, ctx.Err()
			}
			return inventory.Output{Stdout: []byte("migrate-probe 1\nbegin\tsystem\nuid\t0\nend\tsystem\nbegin\tsshd\n")}, ctx.Err()
		}),
	})
	const why = "gave up after 1ms: context deadline exceeded"
	if h := find(t, s, "i-1"); h.Probe.Known || h.Probe.Reason != why {
		t.Errorf("i-1: %+v", h.Probe)
	}
	h := find(t, s, "i-2")
	if !h.Probe.Known || !h.Probe.Value.Root || h.Probe.Value.SSHD.Known {
		t.Errorf("i-2: %+v", h.Probe)
	}
	if !slices.Contains(h.Probe.Value.Gaps, fleet.Gap{What: "probe", Reason: why}) {
		t.Errorf("gaps %+v", h.Probe.Value.Gaps)
	}
	if s.Unknowns != 2 {
		t.Errorf("%d unknowns, want 2", s.Unknowns)
	}
}

// TestNextWayIsAskedWhereOneGivesNoAnswer: each way has the whole time, and the
// fact's source tells which one answered.
func TestNextWayIsAskedWhereOneGivesNoAnswer(t *testing.T) {
	const begun = "migrate-probe 1\nbegin\tsystem\nuid\t0\nend\tsystem\n"
	var asked []string
	s, _, _ := collect(t, inventory.Config{
		Clouds: []inventory.Cloud{&cloud{label: "a", region: "eu-west-1", pages: [][]fleet.Host{
			{host("i-both", "running"), host("i-command", "running"), host("i-none", "running"), host("i-part", "running")},
		}}},
		Concurrency: 1,
		Prober: prober(func(ctx context.Context, h fleet.Host) (inventory.Output, error) {
			switch h.ID {
			case "i-both":
				return answering(ctx, h)
			case "i-part":
				return inventory.Output{Stdout: []byte(begun)}, errors.New("broke off")
			}
			return inventory.Output{}, errors.New("not reachable")
		}),
		Others: []inventory.Prober{prober(func(_ context.Context, h fleet.Host) (inventory.Output, error) {
			asked = append(asked, h.ID)
			out := inventory.Output{Way: fleet.WaySessionManager}
			if h.ID != "i-command" {
				return out, errors.New("not Online")
			}
			out.Stdout = []byte(begun + "done\n")
			return out, nil
		})},
	})
	slices.Sort(asked)
	if want := []string{"i-command", "i-none", "i-part"}; !slices.Equal(asked, want) {
		t.Errorf("the other way was asked for %v, want %v", asked, want)
	}
	for _, tc := range []struct {
		id, reason string
		known      bool
		command    bool
	}{
		{"i-both", "", true, false},
		{"i-command", "", true, true},
		{"i-none", "not reachable; not Online", false, true},
		{"i-part", "", true, false},
	} {
		h := find(t, s, tc.id)
		if h.Probe.Known != tc.known || h.Probe.Reason != tc.reason || inventory.ByRunCommand(h) != tc.command {
			t.Errorf("%s: known %v from %q, reason %q", tc.id, h.Probe.Known, h.Probe.Source, h.Probe.Reason)
		}
	}
	if s.Unknowns != 2 {
		t.Errorf("%d unknowns, want 2: one host without an answer, one that gave a part", s.Unknowns)
	}
}

func TestConcurrencyIsBounded(t *testing.T) {
	var mu sync.Mutex
	flying, most := 0, 0
	full, fill := make(chan struct{}), sync.Once{}
	c := &cloud{label: "a", region: "eu-west-1"}
	for i := range 40 {
		c.pages = append(c.pages, []fleet.Host{host(fmt.Sprintf("i-%d", i), "running")})
	}
	collect(t, inventory.Config{Clouds: []inventory.Cloud{c}, Concurrency: 5,
		Prober: prober(func(ctx context.Context, h fleet.Host) (inventory.Output, error) {
			mu.Lock()
			flying++
			most = max(most, flying)
			if flying == 5 {
				fill.Do(func() { close(full) })
			}
			mu.Unlock()
			<-full // all slots are used before the first is given back
			mu.Lock()
			flying--
			mu.Unlock()
			return answering(ctx, h)
		})})
	if most != 5 {
		t.Errorf("%d hosts in flight, want 5", most)
	}
}

func TestCancelledInventoryIsNotFinished(t *testing.T) {
	defer goleak.VerifyNone(t)
	ctx, cancel := context.WithCancel(t.Context())
	m := &memory{}
	c := &cloud{label: "a", region: "eu-west-1"}
	for i := range 1000 {
		c.pages = append(c.pages, []fleet.Host{host(fmt.Sprintf("i-%d", i), "running")})
	}
	info, err := inventory.Collect(ctx, inventory.Config{Clouds: []inventory.Cloud{c}, Store: m, Concurrency: 8,
		Prober: prober(func(ctx context.Context, _ fleet.Host) (inventory.Output, error) {
			cancel()
			<-ctx.Done()
			return inventory.Output{}, ctx.Err()
		})}, nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if m.finished != nil || info.State != fleet.SnapshotRunning {
		t.Errorf("finished %+v, state %v", m.finished, info.State)
	}
	for _, b := range m.batches {
		if len(b.Probes) > 0 {
			t.Errorf("stored what the cancelling made of a probe: %+v", b.Probes)
		}
	}
}

func TestStoreThatFailsEndsTheInventory(t *testing.T) {
	defer goleak.VerifyNone(t)
	full := errors.New("disk full")
	m := &memory{saveErr: full}
	_, err := inventory.Collect(t.Context(), inventory.Config{Store: m, Prober: prober(answering),
		Clouds: []inventory.Cloud{&cloud{label: "a", region: "eu-west-1", pages: [][]fleet.Host{{host("i-1", "running")}}}}}, nil)
	if !errors.Is(err, full) || !strings.Contains(err.Error(), "save to snapshot 7") {
		t.Errorf("error %v", err)
	}
	if m.finished != nil {
		t.Error("finished")
	}
}

func TestRecordsAreWrittenInBatches(t *testing.T) {
	c := &cloud{label: "a", region: "eu-west-1"}
	for i := range 5000 {
		c.pages = append(c.pages, []fleet.Host{host(fmt.Sprintf("i-%d", i), "running")})
	}
	m := &memory{}
	listed := make(chan struct{})
	var once sync.Once
	// The store is slow once: until enough has piled up behind it.
	m.onSave = func() { once.Do(func() { <-listed }) }
	n := 0
	info, err := inventory.Collect(t.Context(), inventory.Config{Clouds: []inventory.Cloud{c}, Store: m}, func(e inventory.Event) {
		if e.Kind == inventory.SourceProgress {
			if n++; n == 400 {
				close(listed)
			}
		}
	})
	if err != nil || info.Hosts != 5000 {
		t.Fatalf("%+v, %v", info, err)
	}
	largest, total := 0, 0
	for _, b := range m.batches {
		largest = max(largest, len(b.Hosts))
		total += len(b.Hosts)
	}
	if total != 5000 || largest < 100 || largest > 1000 {
		t.Errorf("%d hosts in %d batches, the largest of %d", total, len(m.batches), largest)
	}
}
