package sqlite_test

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/inventory"
	"ssm-migrate/internal/sqlite"
)

var _ inventory.Store = (*sqlite.DB)(nil)

var day = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

var equal = cmp.Options{cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })}

// alike does not tell nil from empty.
var alike = append(cmp.Options{cmpopts.EquateEmpty()}, equal...)

// filler sets every field of a value to something that is not zero and
// differs from the others, so that a field that is not stored shows.
type filler struct{ n int }

func (f *filler) fill(v reflect.Value) {
	f.n++
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = day.Add(time.Duration(f.n) * time.Second)
		return
	case *fleet.Truth:
		*x = fleet.TruthYes
		return
	case *fleet.ConsumerStatus:
		*x = fleet.ConsumerMigrated
		return
	case *netip.Addr:
		*x = netip.AddrFrom4([4]byte{10, 0, byte(f.n >> 8), byte(f.n)})
		return
	case *netip.Prefix:
		*x = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(f.n), 0, 0}), 16)
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("s%d", f.n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(f.n))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		f.fill(v.Index(0))
		f.fill(v.Index(1))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		f.fill(key)
		f.fill(elem)
		v.SetMapIndex(key, elem)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			f.fill(v.Field(i))
		}
	default:
		panic("no filling for " + v.Type().String())
	}
}

func filled[T any](f *filler) T {
	var v T
	f.fill(reflect.ValueOf(&v).Elem())
	return v
}

// fullBatch has every field of every record set. Its host lies in its Region,
// is a managed node there, and beside it stands a hybrid node.
func fullBatch() fleet.Batch {
	f := &filler{}
	b := fleet.Batch{
		Accounts: []fleet.Account{filled[fleet.Account](f)},
		Regions:  []fleet.Region{filled[fleet.Region](f)},
		Hosts:    []fleet.Host{filled[fleet.Host](f)},
		Nodes:    []fleet.Node{filled[fleet.Node](f), filled[fleet.Node](f)},
	}
	h, r := &b.Hosts[0], &b.Regions[0]
	h.Account, h.Region = r.Account, r.Name
	b.Nodes[0].ID = h.ID
	for i := range b.Nodes {
		b.Nodes[i].Account, b.Nodes[i].Region = r.Account, r.Name
	}
	b.Connections = []fleet.HostStatus{{Host: h.ID, Status: filled[fleet.Fact[string]](f)}}
	b.Probes = []fleet.ProbeResult{{Host: h.ID, Probe: filled[fleet.Fact[fleet.Probe]](f)}}
	return b
}

func open(t testing.TB) *sqlite.DB {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "migrate.db"))
}

func openAt(t testing.TB, path string) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// take stores one finished snapshot with the batches.
func take(t testing.TB, db *sqlite.DB, batches ...fleet.Batch) fleet.SnapshotInfo {
	t.Helper()
	ctx := t.Context()
	info := fleet.SnapshotInfo{Started: day, Version: "v1.2.3"}
	var err error
	if info.ID, err = db.Begin(ctx, info); err != nil {
		t.Fatal(err)
	}
	for _, b := range batches {
		if err := db.Save(ctx, info.ID, b); err != nil {
			t.Fatal(err)
		}
		info.Hosts += len(b.Hosts)
	}
	info.Finished, info.State, info.Unknowns = day.Add(time.Minute), fleet.SnapshotIncomplete, 3
	if err := db.Finish(ctx, info); err != nil {
		t.Fatal(err)
	}
	return info
}

func load(t testing.TB, db *sqlite.DB, id int64) *fleet.Snapshot {
	t.Helper()
	s, err := db.Load(context.WithoutCancel(t.Context()), id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fleetOf is a batch of n probed hosts with five keys each, as a fleet of a
// few images shows them: one set of sshd settings, some shared keys.
func fleetOf(first, n int) fleet.Batch {
	settings := map[string][]string{}
	for i := range 90 {
		settings[fmt.Sprintf("keyword%02d", i)] = []string{fmt.Sprintf("value %d of a setting", i)}
	}
	var users []fleet.User
	for i := range 28 {
		users = append(users, fleet.User{Name: fmt.Sprintf("user%02d", i), UID: int64(i), GID: int64(i), Home: "/var/lib/somewhere", Shell: "/usr/sbin/nologin"})
	}
	var b fleet.Batch
	for i := first; i < first+n; i++ {
		id := fmt.Sprintf("i-%017x", i)
		at := day.Add(time.Duration(i) * time.Second)
		b.Hosts = append(b.Hosts, fleet.Host{
			ID: id, Account: "111122223333", Region: "eu-west-1", AZ: "eu-west-1a", Tags: map[string]string{"Name": fmt.Sprintf("web-%d", i), "team": "shop"},
			State: "running", Architecture: "x86_64", Platform: "Linux/UNIX", ImageID: "ami-0123456789abcdef0", InstanceType: "m7i.large", LaunchTime: day,
			VPC: "vpc-1", Subnet: "subnet-1", PrivateIP: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), Groups: []string{"sg-1"},
			ProfileARN: "arn:aws:iam::111122223333:instance-profile/web", AutoScalingGroup: "web",
		})
		b.Nodes = append(b.Nodes, fleet.Node{ID: id, Account: "111122223333", Region: "eu-west-1", PingStatus: "Online", LastPing: at, AgentVersion: "3.3.987.0"})
		b.Connections = append(b.Connections, fleet.HostStatus{Host: id, Status: fleet.Known("connected", "ssm:GetConnectionStatus", at)})
		var keys []fleet.Key
		for k := range 5 {
			owner := k // the first three keys are everywhere, the others on this host only
			if k > 2 {
				owner = i*10 + k
			}
			keys = append(keys, fleet.Key{
				User: "ec2-user", File: "/home/ec2-user/.ssh/authorized_keys", Line: k + 1, Type: "ssh-ed25519", Bits: 256,
				Fingerprint: fmt.Sprintf("SHA256:%043d", owner), Blob: fmt.Sprintf("AAAAC3NzaC1lZDI1NTE5AAAAI%043d", owner), Comment: fmt.Sprintf("user%d@laptop", owner),
			})
		}
		b.Probes = append(b.Probes, fleet.ProbeResult{Host: id, Probe: fleet.Known(fleet.Probe{
			LoginUser: "ec2-user", Root: true, HostTime: at, Hostname: id, OS: fleet.OS{ID: "amzn", Version: "2023", Name: "Amazon Linux 2023"},
			SSHD:  fleet.Known(fleet.SSHD{Version: "OpenSSH_8.7p1", Settings: settings}, "probe: sshd -T", at),
			Users: fleet.Known(users, "probe: getent passwd", at),
			Keys:  fleet.Known(keys, "probe: authorized_keys", at),
			Agent: fleet.Known(fleet.HostAgent{Installed: true, Version: "3.3.987.0", Active: "active"}, "probe: systemctl", at),
			Logins: fleet.Known(fleet.LoginLog{Source: "journal", From: day, To: at, Logins: []fleet.Login{
				{User: "ec2-user", Method: "publickey", Fingerprint: keys[0].Fingerprint, From: netip.MustParseAddr("10.9.9.9"), Count: 7, First: day, Last: at},
			}}, "probe: journal", at),
		}, "probe", at)})
	}
	return b
}
