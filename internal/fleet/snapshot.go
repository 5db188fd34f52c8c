package fleet

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// SnapshotState says how an inventory ended.
type SnapshotState int

// The states. A snapshot whose process died stays SnapshotRunning; nothing
// but an inspection of it should trust it.
const (
	SnapshotRunning    SnapshotState = iota
	SnapshotComplete                 // every source answered
	SnapshotIncomplete               // finished, with unknowns
)

var snapshotStateNames = [...]string{"running", "complete", "incomplete"}

// String is "running", "complete" or "incomplete".
func (s SnapshotState) String() string { return nameOf(snapshotStateNames[:], int(s)) }

// MarshalText writes the state's name.
func (s SnapshotState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a state's name.
func (s *SnapshotState) UnmarshalText(b []byte) error {
	return parseName("snapshot state", snapshotStateNames[:], b, (*int)(s))
}

// SnapshotInfo is a snapshot without its contents.
type SnapshotInfo struct {
	ID       int64         `json:"id"` // given by the store, growing
	Started  time.Time     `json:"started"`
	Finished time.Time     `json:"finished,omitzero"`
	State    SnapshotState `json:"state"`
	Version  string        `json:"version"` // of the program that took it
	Hosts    int           `json:"hostCount"`
	Unknowns int           `json:"unknowns"` // sources and hosts that gave no answer
}

// Snapshot is the world as one inventory saw it.
type Snapshot struct {
	SnapshotInfo
	Accounts []Account `json:"accounts"`
	Regions  []Region  `json:"regions"`
	Hosts    []Host    `json:"hosts"` // sorted by account, Region, ID
}

// Batch is a part of a snapshot on its way to the store: any mix of records.
// A record that comes again replaces the earlier one with the same key.
type Batch struct {
	Accounts    []Account     // key: Label
	Regions     []Region      // key: Label and Name
	Hosts       []Host        // key: ID; facts from other sources are not looked at
	Nodes       []Node        // key: ID
	Connections []HostStatus  // key: Host
	Probes      []ProbeResult // key: Host
}

// HostStatus is the connection status of one host.
type HostStatus struct {
	Host   string       `json:"host"`
	Status Fact[string] `json:"status"`
}

// ProbeResult is the outcome of probing one host.
type ProbeResult struct {
	Host  string      `json:"host"`
	Probe Fact[Probe] `json:"probe"`
}

// Join assembles a snapshot from all that was collected for it. It decides what
// silence means: an instance that a complete list of managed nodes leaves out
// is known not to be one; the same instance is unknown when the list broke off.
// Likewise, a managed node that matches no instance is a hybrid one only where
// the list of instances is complete or its ID is not an instance's.
func Join(info SnapshotInfo, b Batch) *Snapshot {
	s := &Snapshot{SnapshotInfo: info, Accounts: b.Accounts, Regions: b.Regions, Hosts: b.Hosts}
	regions := make(map[string]*Region, len(b.Regions))
	for i := range s.Regions {
		s.Regions[i].HybridNodes, s.Regions[i].UnplacedNodes = nil, nil
		regions[s.Regions[i].Account+"/"+s.Regions[i].Name] = &s.Regions[i]
	}
	hosts := make(map[string]*Host, len(b.Hosts))
	for i := range s.Hosts {
		h := &s.Hosts[i]
		hosts[h.ID] = h
		h.Node = silentNode(*h, regions[h.Account+"/"+h.Region])
		h.Connection = Unknown[string]("ssm:GetConnectionStatus", h.Node.At, connectionSilence(h.Node))
		h.Probe = Unknown[Probe]("probe", time.Time{}, "not probed")
	}
	for _, n := range b.Nodes {
		r := regions[n.Account+"/"+n.Region]
		h, ours := hosts[n.ID]
		if !ours {
			r.addStray(n)
			continue
		}
		n.Registered = true
		var at time.Time
		if r != nil {
			at = r.Nodes.At
		}
		h.Node = Known(n, sourceNodes, at)
		h.Connection = Unknown[string]("ssm:GetConnectionStatus", at, "not asked")
	}
	for _, c := range b.Connections {
		if h, ok := hosts[c.Host]; ok {
			h.Connection = c.Status
		}
	}
	for _, p := range b.Probes {
		if h, ok := hosts[p.Host]; ok {
			h.Probe = p.Probe
		}
	}
	slices.SortFunc(s.Hosts, func(a, b Host) int {
		return strings.Compare(a.Account+"/"+a.Region+"/"+a.ID, b.Account+"/"+b.Region+"/"+b.ID)
	})
	return s
}

// addStray places a managed node that matches no host; a nil Region drops it.
func (r *Region) addStray(n Node) {
	switch {
	case r == nil:
	case strings.HasPrefix(n.ID, "i-") && !r.Instances.Known:
		r.UnplacedNodes = append(r.UnplacedNodes, n)
	default:
		r.HybridNodes = append(r.HybridNodes, n)
	}
}

const sourceNodes = "ssm:DescribeInstanceInformation"

func silentNode(h Host, r *Region) Fact[Node] {
	switch {
	case r == nil:
		return Unknown[Node](sourceNodes, time.Time{}, "the Region's managed nodes were not collected")
	case !r.Nodes.Known:
		return Unknown[Node](sourceNodes, r.Nodes.At, r.Nodes.Reason)
	}
	return Known(Node{ID: h.ID, Account: h.Account, Region: h.Region}, sourceNodes, r.Nodes.At)
}

func connectionSilence(node Fact[Node]) string {
	if node.Known {
		return "not a managed node"
	}
	return node.Reason
}

// SourceState is how one source of a snapshot answered.
type SourceState struct {
	Account string `json:"account"` // ID, or the access label where the ID is not known
	Region  string `json:"region"`  // empty for global sources
	Source  string `json:"source"`
	Known   bool   `json:"known"`
	// Optional: most accounts may not ask it and lose little; that it gave
	// no answer does not make a snapshot incomplete.
	Optional bool      `json:"optional,omitempty"`
	Count    int       `json:"count"` // elements that it gave
	At       time.Time `json:"at,omitzero"`
	Reason   string    `json:"reason,omitempty"`
}

// Sources lists how every API of the snapshot answered, in a fixed order.
func (s *Snapshot) Sources() []SourceState {
	var out []SourceState
	for _, a := range s.Accounts {
		out = append(out, a.Sources()...)
	}
	for _, r := range s.Regions {
		out = append(out, r.Sources()...)
	}
	return out
}

// Sources lists how STS, IAM, Route 53 and Organizations answered.
func (a Account) Sources() []SourceState {
	c := sourceList{account: cmp.Or(a.ID, a.Label)}
	c.add(a.Caller.Source, a.Caller.Known, 0, a.Caller.At, a.Caller.Reason)
	add(&c, a.Profiles)
	add(&c, a.Roles)
	add(&c, a.Policies)
	add(&c, a.Users)
	add(&c, a.Groups)
	add(&c, a.HostedZones)
	c.optional = true
	add(&c, a.ControlLevels)
	add(&c, a.Simulations)
	return c.out
}

// Sources lists how every regional API answered.
func (r Region) Sources() []SourceState {
	c := sourceList{account: cmp.Or(r.Account, r.Label), region: r.Name}
	c.add(r.Instances.Source, r.Instances.Known, r.Instances.Value, r.Instances.At, r.Instances.Reason)
	c.add(r.Nodes.Source, r.Nodes.Known, r.Nodes.Value, r.Nodes.At, r.Nodes.Reason)
	c.add(r.DefaultRole.Source, r.DefaultRole.Known, 0, r.DefaultRole.At, r.DefaultRole.Reason)
	add(&c, r.ScalingGroups)
	add(&c, r.Templates)
	add(&c, r.KeyPairs)
	add(&c, r.VPCs)
	add(&c, r.Subnets)
	add(&c, r.RouteTables)
	add(&c, r.Groups)
	add(&c, r.NetworkACLs)
	add(&c, r.Endpoints)
	add(&c, r.Gateways)
	add(&c, r.NATGateways)
	add(&c, r.PrefixLists)
	add(&c, r.DHCPOptions)
	add(&c, r.Peerings)
	add(&c, r.ResolverRules)
	c.add(r.Preferences.Source, r.Preferences.Known, 0, r.Preferences.At, r.Preferences.Reason)
	prefs := r.Preferences.Value
	c.add(prefs.Bucket.Source, prefs.Bucket.Known, 0, prefs.Bucket.At, prefs.Bucket.Reason)
	c.add(prefs.LogGroup.Source, prefs.LogGroup.Known, 0, prefs.LogGroup.At, prefs.LogGroup.Reason)
	c.add(prefs.Key.Source, prefs.Key.Known, 0, prefs.Key.At, prefs.Key.Reason)
	policy := prefs.Key.Value.Policy
	c.add(policy.Source, policy.Known, 0, policy.At, policy.Reason)
	add(&c, r.Documents)
	add(&c, r.Sessions)
	c.optional = true
	add(&c, r.ConnectEndpoints)
	c.add(r.SerialConsole.Source, r.SerialConsole.Known, 0, r.SerialConsole.At, r.SerialConsole.Reason)
	return c.out
}

type sourceList struct {
	account, region string
	optional        bool
	out             []SourceState
}

func (c *sourceList) add(source string, known bool, count int, at time.Time, reason string) {
	if source == "" {
		return // never asked: nothing names it, or the snapshot is of an earlier version
	}
	c.out = append(c.out, SourceState{Account: c.account, Region: c.region, Source: source, Known: known, Optional: c.optional, Count: count, At: at, Reason: reason})
}

func add[T any](c *sourceList, f Fact[[]T]) {
	c.add(f.Source, f.Known, len(f.Value), f.At, f.Reason)
}
