package access_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/inventory"
	"ssm-migrate/internal/readiness"
	"ssm-migrate/internal/simfleet"
	"ssm-migrate/internal/sqlite"
)

// simulated is a simulated fleet, and what an inventory and readiness say of it.
type simulated struct {
	world    *simfleet.World
	machines *simfleet.Hosts
	aws      http.Handler
	snapshot *fleet.Snapshot
	judged   *fleet.Assessment
}

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// demo is the fleet of the demo, taken once for all tests that only read it.
var demo = sync.OnceValues(func() (*simulated, error) {
	return take(simfleet.Options{Seed: 7, Instances: 60}, nil)
})

func demoFleet(t *testing.T) *simulated {
	t.Helper()
	d, err := demo()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// take makes a fleet and takes its inventory through the adapters of the
// program, but for the way to the hosts.
func take(o simfleet.Options, change func(*simfleet.World)) (*simulated, error) {
	var d simulated
	var err error
	o.Now = func() time.Time { return noon }
	if d.world, err = simfleet.Generate(o); err != nil {
		return nil, err
	}
	if change != nil {
		change(d.world)
	}
	d.machines = simfleet.NewHosts(d.world, simfleet.HostOptions{TimeScale: -1})
	d.aws = simfleet.ServeAWS(d.world, simfleet.AWSOptions{NoThrottle: true, Hosts: d.machines})
	return &d, d.inventory()
}

func (d *simulated) inventory() error {
	dir, ctx := filepath.Join(scratch, fmt.Sprint(time.Now().UnixNano())), context.Background()
	db, err := sqlite.Open(ctx, dir+".db")
	if err != nil {
		return err
	}
	defer db.Close()
	cfg := inventory.Config{Prober: prober{d}, Store: db, Concurrency: 4}
	for _, a := range d.world.Accounts[:1] {
		account, err := awsapi.Open(ctx, awsapi.Access{Label: a.ID}, awsapi.Options{Transport: transport{d.aws}})
		if err != nil {
			return err
		}
		cfg.Accounts = append(cfg.Accounts, account)
		for _, r := range a.Regions {
			cfg.Clouds = append(cfg.Clouds, account.Cloud(r.Name))
		}
	}
	if _, err := inventory.Collect(ctx, cfg, nil); err != nil {
		return err
	}
	info, err := db.Latest(ctx)
	if err != nil {
		return err
	}
	if d.snapshot, err = db.Load(ctx, info.ID); err != nil {
		return err
	}
	policy := readiness.DefaultPolicy()
	policy.Owners = d.world.Owners()
	d.judged = readiness.Assess(d.snapshot, policy, noon)
	return nil
}

// transport brings requests to the simulated AWS without a network.
type transport struct{ handler http.Handler }

// RoundTrip answers one request.
func (t transport) RoundTrip(q *http.Request) (*http.Response, error) {
	var body []byte
	if q.Body != nil {
		var err error
		if body, err = io.ReadAll(q.Body); err != nil {
			return nil, err
		}
	}
	c := q.Clone(q.Context())
	c.Body = io.NopCloser(bytes.NewReader(body))
	w := httptest.NewRecorder()
	t.handler.ServeHTTP(w, c)
	res := w.Result()
	res.Request = q
	return res, nil
}

// prober runs the probe over SSH.
type prober struct{ d *simulated }

// Probe logs in as the operator does.
func (p prober) Probe(_ context.Context, h fleet.Host) (fleet.ProbeOutput, error) {
	var in *simfleet.Instance
	for x := range p.d.world.Instances() {
		if x.Host.ID == h.ID {
			in = x
		}
	}
	p.d.world.Mu.RLock()
	reason := p.d.world.OperatorLoginReason(in)
	p.d.world.Mu.RUnlock()
	if reason != "" {
		return fleet.ProbeOutput{}, errors.New(reason)
	}
	files := p.d.world.OperatorFiles("", "") // takes the world's lock itself
	key := files.HostKeys[simfleet.OperatorKeyFile+"_"+h.ID]
	if key == nil {
		key = files.PrivateKey
	}
	signer, err := ssh.ParsePrivateKey(key)
	if err != nil {
		return fleet.ProbeOutput{}, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fleet.ProbeOutput{}, err
	}
	go func() {
		defer listener.Close()
		if far, err := listener.Accept(); err == nil {
			p.d.machines.ServeConn(in, far, netip.AddrPortFrom(simfleet.OperatorAddr, 50000), netip.AddrPortFrom(h.PrivateIP, 22))
		}
	}()
	client, err := ssh.Dial("tcp", listener.Addr().String(), &ssh.ClientConfig{
		User: simfleet.OperatorUser, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		return fleet.ProbeOutput{}, err
	}
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
