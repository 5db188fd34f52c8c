package fleet_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/fleet"
)

const (
	account = "111122223333"
	region  = "eu-west-1"
	listing = "ssm:DescribeInstanceInformation"
)

var at = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func regionOf(instances, nodes fleet.Fact[int]) fleet.Region {
	return fleet.Region{Account: account, Name: region, Label: "ops", Instances: instances, Nodes: nodes}
}

func hostOf(id string) fleet.Host { return fleet.Host{ID: id, Account: account, Region: region} }

func nodeOf(id string) fleet.Node { return fleet.Node{ID: id, Account: account, Region: region} }

func sameAddr(a, b netip.Addr) bool { return a == b }

func TestJoinDecidesWhatSilenceMeans(t *testing.T) {
	all := regionOf(fleet.Known(2, "ec2:DescribeInstances", at), fleet.Known(1, listing, at))
	brokeOff := regionOf(fleet.Known(2, "ec2:DescribeInstances", at), fleet.Unknown[int](listing, at, "throttled"))
	registered := nodeOf("i-1")
	registered.Registered = true
	const connection = "ssm:GetConnectionStatus"
	notAsked := fleet.Unknown[string](connection, at, "not asked")
	notProbed := fleet.Unknown[fleet.Probe]("probe", time.Time{}, "not probed")
	for _, tt := range []struct {
		name    string
		regions []fleet.Region
		batch   fleet.Batch
		want    fleet.Host
	}{
		{"a complete list names it", []fleet.Region{all}, fleet.Batch{Nodes: []fleet.Node{nodeOf("i-1")}},
			fleet.Host{Node: fleet.Known(registered, listing, at), Connection: notAsked, Probe: notProbed}},
		{"a complete list leaves it out", []fleet.Region{all}, fleet.Batch{},
			fleet.Host{Node: fleet.Known(nodeOf("i-1"), listing, at), Connection: fleet.Unknown[string](connection, at, "not a managed node"), Probe: notProbed}},
		{"a list that broke off names it", []fleet.Region{brokeOff}, fleet.Batch{Nodes: []fleet.Node{nodeOf("i-1")}},
			fleet.Host{Node: fleet.Known(registered, listing, at), Connection: notAsked, Probe: notProbed}},
		{"a list that broke off leaves it out", []fleet.Region{brokeOff}, fleet.Batch{},
			fleet.Host{Node: fleet.Unknown[fleet.Node](listing, at, "throttled"), Connection: fleet.Unknown[string](connection, at, "throttled"), Probe: notProbed}},
		{"its Region was not read", nil, fleet.Batch{}, fleet.Host{
			Node:       fleet.Unknown[fleet.Node](listing, time.Time{}, "the Region's managed nodes were not collected"),
			Connection: fleet.Unknown[string](connection, time.Time{}, "the Region's managed nodes were not collected"),
			Probe:      notProbed,
		}},
		{"its Region was not read, but the node was", nil, fleet.Batch{Nodes: []fleet.Node{nodeOf("i-1")}}, fleet.Host{
			Node: fleet.Known(registered, listing, time.Time{}), Connection: fleet.Unknown[string](connection, time.Time{}, "not asked"), Probe: notProbed,
		}},
		{"asked and probed", []fleet.Region{all}, fleet.Batch{
			Nodes:       []fleet.Node{nodeOf("i-1")},
			Connections: []fleet.HostStatus{{Host: "i-0"}, {Host: "i-1", Status: fleet.Known("connected", connection, at)}},
			Probes:      []fleet.ProbeResult{{Host: "i-0"}, {Host: "i-1", Probe: fleet.Known(fleet.Probe{LoginUser: "ops"}, "probe", at)}},
		}, fleet.Host{
			Node: fleet.Known(registered, listing, at), Connection: fleet.Known("connected", connection, at),
			Probe: fleet.Known(fleet.Probe{LoginUser: "ops"}, "probe", at),
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.batch.Regions, tt.batch.Hosts = tt.regions, []fleet.Host{hostOf("i-1")}
			got := fleet.Join(fleet.SnapshotInfo{ID: 7}, tt.batch)
			tt.want.ID, tt.want.Account, tt.want.Region = "i-1", account, region
			want := []fleet.Host{tt.want}
			if diff := cmp.Diff(want, got.Hosts, cmp.Comparer(sameAddr)); diff != "" || got.ID != 7 {
				t.Errorf("snapshot %d, hosts (-want +got):\n%s", got.ID, diff)
			}
		})
	}
}

func TestJoinPlacesNodesWithoutAHost(t *testing.T) {
	nodes := []fleet.Node{nodeOf("mi-1"), nodeOf("i-9"), nodeOf("i-1"), {ID: "i-8", Account: account, Region: "us-east-1"}}
	for _, tt := range []struct {
		name             string
		instances        fleet.Fact[int]
		hybrid, unplaced []fleet.Node
	}{
		{"EC2 listed all instances", fleet.Known(1, "ec2:DescribeInstances", at), []fleet.Node{nodeOf("mi-1"), nodeOf("i-9")}, nil},
		{"EC2's list broke off", fleet.Unknown[int]("ec2:DescribeInstances", at, "denied"), []fleet.Node{nodeOf("mi-1")}, []fleet.Node{nodeOf("i-9")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := regionOf(tt.instances, fleet.Known(3, listing, at))
			r.HybridNodes, r.UnplacedNodes = []fleet.Node{nodeOf("mi-old")}, []fleet.Node{nodeOf("i-old")}
			got := fleet.Join(fleet.SnapshotInfo{}, fleet.Batch{Regions: []fleet.Region{r}, Hosts: []fleet.Host{hostOf("i-1")}, Nodes: nodes}).Regions[0]
			if diff := cmp.Diff(tt.hybrid, got.HybridNodes, cmp.Comparer(sameAddr)); diff != "" {
				t.Errorf("hybrid nodes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.unplaced, got.UnplacedNodes, cmp.Comparer(sameAddr)); diff != "" {
				t.Errorf("unplaced nodes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestJoinSortsHosts(t *testing.T) {
	hosts := []fleet.Host{
		{ID: "i-1", Account: "2", Region: "eu-west-1"}, {ID: "i-2", Account: "1", Region: "us-east-1"},
		{ID: "i-4", Account: "1", Region: "eu-west-1"}, {ID: "i-3", Account: "1", Region: "eu-west-1"},
	}
	var got []string
	for _, h := range fleet.Join(fleet.SnapshotInfo{}, fleet.Batch{Hosts: hosts}).Hosts {
		got = append(got, h.ID)
	}
	if diff := cmp.Diff([]string{"i-3", "i-4", "i-2", "i-1"}, got); diff != "" {
		t.Errorf("hosts (-want +got):\n%s", diff)
	}
}

func TestAccountSourcesNameTheCallerFirst(t *testing.T) {
	a := fleet.Account{
		Label:  "ops",
		Caller: fleet.Unknown[string]("sts:GetCallerIdentity", at, "denied"),
		Roles:  fleet.Known([]fleet.Role{{Name: "web"}}, "iam:ListRoles", at),
	}
	got := a.Sources()
	want := fleet.SourceState{Account: "ops", Source: "sts:GetCallerIdentity", At: at, Reason: "denied"}
	if len(got) != 2 || got[0] != want {
		t.Errorf("sources %+v, want %+v first", got, want)
	}
}

func TestEndpointDomains(t *testing.T) {
	for region, want := range map[string][2]string{
		"eu-west-1": {"amazonaws.com", "api.aws"}, "us-gov-west-1": {"amazonaws.com", "api.aws"}, "cn-north-1": {"amazonaws.com.cn", "api.amazonwebservices.com.cn"},
		"us-iso-east-1": {"c2s.ic.gov", "api.aws.ic.gov"}, "us-isob-east-1": {"sc2s.sgov.gov", "api.aws.scloud"}, "eusc-de-east-1": {"amazonaws.eu", "api.amazonwebservices.eu"},
	} {
		if got := [2]string{fleet.DNSSuffix(region), fleet.DualStackSuffix(region)}; got != want {
			t.Errorf("%s: %v, want %v", region, got, want)
		}
	}
}
