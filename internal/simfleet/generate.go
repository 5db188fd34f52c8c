package simfleet

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"ssm-migrate/internal/fleet"
)

// Options say which world to generate. The zero value is a world of one
// account and 60 instances in two Regions, seed 0.
type Options struct {
	Seed      uint64
	Instances int              // over all accounts and Regions, stopped ones included; default 60
	Accounts  int              // default 1
	Regions   []string         // default eu-west-1, us-east-1; the first holds most of the fleet
	Now       func() time.Time // the world's clock; default time.Now

	// Unreachable is how many hosts in a hundred are down or refuse the
	// operator's login, 90 at most. Without any, an inventory of the world is
	// complete.
	Unreachable int

	// Pace is how many times as fast as AWS the world launches, stops and
	// terminates instances and makes endpoints. Default 1. Timers and schedules
	// go off at their own times.
	Pace float64

	// Healthy leaves out everything that a readiness report should name: the
	// world in which one injected cause can be told from the rest.
	Healthy bool

	// Bastions gives the healthy world the bastions that it otherwise does
	// without: people come by a VPN there.
	Bastions bool

	// Owned marks what team web has as owned by Terraform and CloudFormation: by
	// the tags of their things.
	Owned bool
}

// maxInstances is what the generated address plan has room for.
const maxInstances = 40_000

func (o *Options) setDefaults() error {
	if o.Instances == 0 {
		o.Instances = 60
	}
	if o.Accounts == 0 {
		o.Accounts = 1
	}
	if len(o.Regions) == 0 {
		o.Regions = []string{"eu-west-1", "us-east-1"}
	}
	if o.Pace == 0 {
		o.Pace = 1
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Instances < 0 || o.Instances > maxInstances {
		return fmt.Errorf("%d instances: want 1 to %d", o.Instances, maxInstances)
	}
	if o.Unreachable < 0 || o.Unreachable > 90 {
		return fmt.Errorf("%d%% unreachable hosts: want 0 to 90", o.Unreachable)
	}
	if o.Pace < 0 {
		return fmt.Errorf("pace %v: want a positive number", o.Pace)
	}
	if o.Accounts < 0 || o.Accounts > 20 {
		return fmt.Errorf("%d accounts: want 1 to 20", o.Accounts)
	}
	for i, r := range o.Regions {
		if r == "" || slices.Contains(o.Regions[:i], r) {
			return errors.New("regions must be distinct and not empty")
		}
	}
	return nil
}

// Generate makes a world. The same options give the same world, times counting
// from the hour that the clock shows.
func Generate(o Options) (*World, error) {
	if err := o.setDefaults(); err != nil {
		return nil, fmt.Errorf("generating the simulated fleet: %w", err)
	}
	g := &generator{
		seed:        o.Seed,
		unreachable: o.Unreachable,
		healthy:     o.Healthy,
		bastions:    o.Bastions || !o.Healthy,
		base:        o.Now().UTC().Truncate(time.Hour),
		used:        map[string]bool{},
	}
	w := &World{Seed: o.Seed, Now: o.Now, healthy: o.Healthy, pace: o.Pace}
	g.people = g.makePeople()
	_, public := w.OperatorKey()
	g.operator = public
	g.claims()
	shares := split(o.Instances, repeat(1, o.Accounts))
	for i := range o.Accounts {
		a := g.account(i, shares[i], o.Regions)
		a.world = w
		w.Accounts = append(w.Accounts, a)
	}
	w.owners = g.owners
	if o.Owned {
		w.markOwners()
	}
	return w, nil
}

type generator struct {
	seed        uint64
	base        time.Time
	used        map[string]bool // IDs handed out
	unreachable int
	healthy     bool
	bastions    bool
	owners      []*fleet.Owner
	publics     int    // public addresses handed out
	home        string // first account's ID: roles for people trust it
	octets      int    // VPC address ranges handed out
	people      *people
	operator    string // the operator's public key line
}

// rng gives an own random stream for each named part, so that a change to one
// part leaves the others as they were.
func (g *generator) rng(part ...any) *rand.Rand {
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, part...)
	return rand.New(rand.NewPCG(g.seed, h.Sum64()))
}

// id makes an EC2-style ID that is unique in the world.
func (g *generator) id(r *rand.Rand, prefix string) string {
	for {
		id := fmt.Sprintf("%s-0%016x", prefix, r.Uint64())
		if !g.used[id] {
			g.used[id] = true
			return id
		}
	}
}

func (g *generator) account(index, instances int, regions []string) *Account {
	r := g.rng("account", index)
	a := &Account{ID: fmt.Sprintf("%012d", 100_000_000_000+r.Int64N(899_999_999_999))}
	if index == 0 {
		g.home = a.ID
	}
	g.identity(a)
	g.organization(a, index)
	weights := repeat(35, len(regions))
	weights[0] = 65
	shares := split(instances, weights)
	for i, name := range regions {
		rg := g.region(a, i, name, shares[i])
		a.Regions = append(a.Regions, rg)
		g.managedSessions(rg)
	}
	return a
}

func (g *generator) region(a *Account, index int, name string, instances int) *Region {
	rg := &Region{Account: a, Name: name, Inspected: map[string]string{}}
	if index == 1 && !g.healthy {
		rg.DefaultRole = "service-role/" + defaultHostRole
	}
	b := &regionBuilder{generator: g, Region: rg, rand: g.rng("network", a.ID, name)}
	b.sessionObjects(index)
	b.network(index)
	b.keyPairs()
	b.rand = g.rng("hosts", a.ID, name)
	b.populate(instances)
	if index == 0 && !b.healthy {
		b.hybrid()
	}
	slices.SortFunc(rg.Instances, func(x, y *Instance) int { return cmp.Compare(x.Host.ID, y.Host.ID) })
	return rg
}

// split divides n by weights; the parts add up to n.
func split(n int, weights []int) []int {
	total := 0
	for _, w := range weights {
		total += w
	}
	out := make([]int, len(weights))
	given, seen := 0, 0
	for i, w := range weights {
		seen += w
		out[i] = n*seen/total - given
		given += out[i]
	}
	return out
}

func repeat(v, n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = v
	}
	return out
}

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

func randomHex(r *rand.Rand, bytes int) string { return hex.EncodeToString(randomBytes(r, bytes)) }

func randomBytes(r *rand.Rand, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(r.Uint32())
	}
	return out
}

// addressAt gives the nth address of a prefix.
func addressAt(p netip.Prefix, n int) netip.Addr {
	b := p.Masked().Addr().As4()
	v := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	v += uint32(n)
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
}

func (b *regionBuilder) hybrid() {
	for i, n := range []fleet.Node{
		{ComputerName: "dc1-build01.corp.example", PingStatus: "Online", AgentVersion: agentCurrent, PlatformName: "Ubuntu", PlatformVersion: "22.04"},
		{ComputerName: "dc1-nas.corp.example", PingStatus: "ConnectionLost", AgentVersion: "3.2.582.0", PlatformName: "Red Hat Enterprise Linux", PlatformVersion: "8.10"},
		{ComputerName: "DC1-PRINT", PingStatus: "Online", AgentVersion: "3.3.2299.0", PlatformName: "Microsoft Windows Server 2019 Standard", PlatformVersion: "10.0.17763"},
	} {
		n.ID = b.id(b.rand, "mi")
		n.Account, n.Region = b.Account.ID, b.Name
		n.Registered = true
		n.PlatformType = "Linux"
		if i == 2 {
			n.PlatformType = "Windows"
		}
		n.LastPing = b.base.Add(-2 * time.Minute)
		if n.PingStatus != "Online" {
			n.LastPing = b.base.AddDate(0, 0, -9)
		}
		n.LatestVersion = n.AgentVersion == agentCurrent
		n.ResourceType, n.IAMRole, n.Association = "ManagedInstance", "service-role/AmazonEC2RunCommandRoleForManagedInstances", "Success"
		b.Hybrid = append(b.Hybrid, &n)
	}
}
