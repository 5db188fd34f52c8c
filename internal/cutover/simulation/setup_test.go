package simulation_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/inventory"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/readiness"
	"ssm-migrate/internal/simfleet"
	"ssm-migrate/internal/sqlite"
)

const simRegion = "eu-west-1"

// troubles are causes with which a fleet may begin, and which a plan mends.
var troubles = []string{"no-profile", "channel-actions-missing", "agent-too-old", "agent-disabled", "agent-sleeps", "endpoint-group-closed", "nat-swapped", "disk-full", "shared-role-without-ssm", "keys-bound-to-addresses"}

// newSimulation makes the fleet of a seed, takes its inventory and plans its
// migration. The plan is not part of the story: nothing goes wrong before it stands.
func newSimulation(t *testing.T, seed uint64) *simulation {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 0x6d696772617465))
	s := &simulation{t: t, seed: seed, random: random, dir: t.TempDir(), touched: map[string]bool{}, snapshots: map[string]*fleet.Snapshot{}, late: map[string]bool{}, used: map[string]string{}, known: map[string]*simfleet.Instance{}, events: events, faults: &simfleet.Faults{}}
	s.faultRate = []float64{0, 0.01, 0.03, 0.06}[random.IntN(4)]
	s.eventRate = []float64{0, 0.002, 0.006}[random.IntN(3)]
	var err error
	s.world, err = simfleet.Generate(simfleet.Options{Seed: seed % 97, Instances: []int{3, 3, 3, 3, 4, 5, 9}[random.IntN(7)], Healthy: true, Bastions: random.IntN(3) == 0, Regions: []string{simRegion}})
	s.must(err)
	s.operatorKeys = s.world.OperatorFiles("", "").HostKeys
	s.shareGroup()
	s.trouble()
	s.machines = simfleet.NewHosts(s.world, simfleet.HostOptions{TimeScale: -1})
	s.aws = simfleet.ServeAWS(s.world, simfleet.AWSOptions{
		NoThrottle: true, Lag: []time.Duration{0, 0, 0, 2 * time.Second, 6 * time.Second}[random.IntN(5)], Faults: s.faults, Hosts: s.machines, Changed: func(string) { s.changed = true },
	})
	s.db, err = sqlite.Open(context.Background(), filepath.Join(s.dir, "migrate.db"))
	s.must(err)
	s.ring = []string{s.makeRecoveryKey()}
	s.inventory()
	s.makePlan(s.random.IntN(3) == 0)
	s.aheadOfUs()
	time.Sleep(time.Minute) // reads have caught up when the story begins
	s.before = s.image()
	for _, h := range s.snapshot.Hosts {
		in := s.instance(h.ID)
		s.world.Mu.RLock()
		w := s.world.WaysIn(in, simfleet.Recovery{})
		s.world.Mu.RUnlock()
		if h.Running() && !h.Windows() && w.Open() {
			s.hosts = append(s.hosts, &watched{in: in, ssh: w.SSH == "", shut: map[string]int{}})
		}
	}
	ctx, end := context.WithCancel(context.Background())
	s.end = end
	s.turns = newTurns(rand.New(rand.NewPCG(seed, 1)))
	s.goes.Go(func() { s.turns.run(ctx) })
	s.goes.Go(func() { s.passTime(ctx) })
	return s
}

func (s *simulation) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// shareGroup puts a group of one host on another one of its VPC, now and then:
// port 22 of a group closes for all who carry it.
func (s *simulation) shareGroup() {
	if s.random.IntN(3) > 0 {
		return
	}
	all := slices.Collect(s.world.Instances())
	from, to := all[s.random.IntN(len(all))], all[s.random.IntN(len(all))]
	group := from.Host.Groups[0]
	if from.Host.VPC != to.Host.VPC || slices.Contains(to.Host.Groups, group) {
		return
	}
	s.change(func() {
		to.Host.Groups = append(slices.Clone(to.Host.Groups), group)
		for i := range to.Host.Interfaces {
			to.Host.Interfaces[i].Groups = append(slices.Clone(to.Host.Interfaces[i].Groups), group)
		}
	})
	s.lines = append(s.lines, fmt.Sprintf("%s shares %s with %s", to.Host.ID, group, from.Host.ID))
}

// trouble injects what is wrong with the fleet from the start.
func (s *simulation) trouble() {
	s.world.Mu.Lock()
	defer s.world.Mu.Unlock()
	all := slices.Collect(s.world.Instances())
	for range s.random.IntN(3) {
		name := troubles[s.random.IntN(len(troubles))]
		in := all[s.random.IntN(len(all))]
		for _, c := range simfleet.Causes() {
			if c.Name == name && c.Inject != nil {
				if err := c.Inject(s.world, in); err != nil {
					s.lines = append(s.lines, fmt.Sprintf("no trouble %s on %s: %v", name, in.Host.ID, err))
				} else {
					s.lines = append(s.lines, fmt.Sprintf("trouble %s on %s", name, in.Host.ID))
				}
			}
		}
	}
}

// instance gives an instance also after it was terminated and forgotten. Who
// calls it has the turn: nobody launches instances meanwhile.
func (s *simulation) instance(id string) *simfleet.Instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	for in := range s.world.Instances() {
		s.known[in.Host.ID] = in
	}
	in := s.known[id]
	if in == nil {
		s.t.Errorf("no instance %s", id)
	}
	return in
}

// inventory takes a snapshot as the program does, but for the way to the hosts.
func (s *simulation) inventory() {
	ctx := context.Background()
	account, err := awsapi.Open(ctx, awsapi.Access{Label: "simulation", Regions: []string{simRegion}}, awsapi.Options{Transport: calmTransport{s.aws}})
	s.must(err)
	s.colleague = awsapi.NewChanger(account)
	_, err = inventory.Collect(ctx, inventory.Config{
		Accounts: []inventory.Identity{account}, Clouds: []inventory.Cloud{account.Cloud(simRegion)}, Prober: simProber{s}, Store: s.db,
	}, nil)
	s.must(err)
	info, err := s.db.Latest(ctx)
	s.must(err)
	s.snapshot, err = s.db.Load(ctx, info.ID)
	s.must(err)
}

// makeRecoveryKey makes a recovery key. It gives the public line.
func (s *simulation) makeRecoveryKey() string {
	seed := make([]byte, ed25519.SeedSize)
	for i := range seed {
		seed[i] = byte(s.random.IntN(256))
	}
	public, err := ssh.NewPublicKey(ed25519.NewKeyFromSeed(seed).Public())
	s.must(err)
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public))) + " recovery"
}

// makePlan plans the fleet of the latest snapshot. With exclude somebody wants
// one host left alone: whatever it shares stays open.
func (s *simulation) makePlan(exclude bool) {
	p := plan.DefaultPolicy()
	p.Canary = s.random.IntN(2)
	p.Waves = [][]string{{"2"}, {"1", "50%"}, {"100%"}}[s.random.IntN(3)]
	p.Spread = 100
	p.Soak = plan.Duration(time.Duration(s.random.IntN(3)) * 10 * time.Minute)
	p.ErrorBudget = s.random.IntN(3)
	p.Concurrency = 1 + s.random.IntN(4)
	p.RequireSilent = false
	if exclude {
		h := s.snapshot.Hosts[s.random.IntN(len(s.snapshot.Hosts))]
		p.Exclude = []plan.Exclusion{{Selector: plan.Selector{ID: h.ID}, Reason: "left alone"}}
	}
	for _, h := range s.snapshot.Hosts {
		if in := s.instance(h.ID); in != nil && in.Role == "bastion" {
			p.Bastions = append(p.Bastions, plan.Selector{ID: h.ID})
		}
	}
	p.Recovery.PublicKey = s.ring[0]
	p.Recovery.From = []string{netip.PrefixFrom(simfleet.OperatorAddr, 32).String()}
	assessment := readiness.Assess(s.snapshot, readiness.DefaultPolicy(), time.Now())
	var err error
	s.plan, err = plan.Make(s.snapshot, assessment, p, time.Now())
	s.must(err)
	s.plans, s.snapshots[s.plan.ID] = append(s.plans, s.plan), s.snapshot
	for _, w := range s.plan.Waves {
		for _, step := range w.Steps {
			s.lines = append(s.lines, "plan: "+step.ID+": "+step.Title)
		}
	}
	for _, r := range s.plan.Refusals {
		s.lines = append(s.lines, fmt.Sprintf("refused: %s%s %s %s: %s", r.Host.ID, r.Group, r.Phase, r.Code, r.Text))
	}
}

// aheadOfUs lets colleagues do by hand, now and then, what the plan would do: a
// rollback must leave that to them.
func (s *simulation) aheadOfUs() {
	for _, w := range s.plan.Waves {
		for _, step := range w.Steps {
			if step.Kind == plan.ExtendRole && s.random.IntN(2) == 0 {
				s.must(s.colleague.PutRolePolicy(context.Background(), step.At, step.Role.Name, step.Role.Policy, step.Role.Document))
				s.lines = append(s.lines, "done by hand: "+step.Title)
			}
		}
	}
}

// recoveryUser is the account that the plan gives the recovery key to.
func (s *simulation) recoveryUser(in *simfleet.Instance) string {
	for _, step := range s.steps() {
		if step.Kind == plan.RecoveryKey && slices.ContainsFunc(step.Hosts, func(r fleet.HostRef) bool { return r.ID == in.Host.ID }) {
			return step.Key.User
		}
	}
	return simfleet.OperatorUser
}

// steps are those of all plans.
func (s *simulation) steps() (all []plan.Step) {
	for _, p := range s.plans {
		for _, w := range p.Waves {
			all = append(all, w.Steps...)
		}
	}
	return all
}

// calmTransport carries requests without turns and faults.
type calmTransport struct{ handler http.Handler }

// RoundTrip answers one request.
func (t calmTransport) RoundTrip(q *http.Request) (*http.Response, error) {
	body, err := bodyOf(q)
	if err != nil {
		return nil, err
	}
	return answer(t.handler, q, body), nil
}

// simProber runs the probe over SSH, on a connection that no network carries.
type simProber struct{ s *simulation }

// Probe logs in as the operator does.
func (p simProber) Probe(ctx context.Context, h fleet.Host) (fleet.ProbeOutput, error) {
	in := p.s.instance(h.ID)
	p.s.world.Mu.RLock()
	reason := p.s.world.OperatorLoginReason(in)
	p.s.world.Mu.RUnlock()
	if reason != "" {
		return fleet.ProbeOutput{}, fmt.Errorf("no login: %s", reason)
	}
	signer, err := ssh.ParsePrivateKey(p.s.operatorKeys[simfleet.OperatorKeyFile+"_"+h.ID])
	if err != nil {
		return fleet.ProbeOutput{}, err
	}
	near, far := net.Pipe()
	go p.s.machines.ServeConn(in, far, netip.AddrPortFrom(simfleet.OperatorAddr, 50000), netip.AddrPortFrom(h.PrivateIP, 22))
	conn, channels, requests, err := ssh.NewClientConn(buffered(near), "", &ssh.ClientConfig{
		User: simfleet.OperatorUser, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		return fleet.ProbeOutput{}, err
	}
	client := ssh.NewClient(conn, channels, requests)
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return fleet.ProbeOutput{}, err
	}
	var out, errs bytes.Buffer
	session.Stdin, session.Stdout, session.Stderr = strings.NewReader(inventory.Script(h)), &out, &errs
	err = session.Run(inventory.Command)
	return fleet.ProbeOutput{Stdout: out.Bytes(), Stderr: errs.Bytes(), User: simfleet.OperatorUser}, err
}

// bufferedConn is a pipe whose writes do not wait for the reader, as those into
// a socket do not: both sides of SSH begin by writing.
type bufferedConn struct {
	net.Conn
	queue chan []byte
	once  sync.Once
	done  chan struct{}
}

func buffered(c net.Conn) *bufferedConn {
	b := &bufferedConn{Conn: c, queue: make(chan []byte, 1024), done: make(chan struct{})}
	go func() {
		for {
			select {
			case p := <-b.queue:
				_, _ = b.Conn.Write(p) // a closed pipe ends the reader
			case <-b.done:
				return
			}
		}
	}()
	return b
}

// Write queues the data.
func (b *bufferedConn) Write(p []byte) (int, error) {
	select {
	case b.queue <- bytes.Clone(p):
		return len(p), nil
	case <-b.done:
		return 0, net.ErrClosed
	}
}

// Close closes the pipe.
func (b *bufferedConn) Close() error {
	b.once.Do(func() { close(b.done) })
	return b.Conn.Close()
}
