package awsapi_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/session"
	"ssm-migrate/internal/simfleet"
)

// tunnelWorld is a simulated fleet with an EC2 Instance Connect Endpoint that
// leads to one host.
type tunnelWorld struct {
	*sessionWorld
	in       *simfleet.Instance
	endpoint fleet.ConnectEndpoint
	tunnels  *awsapi.Tunnels
}

func newTunnelWorld(t *testing.T) *tunnelWorld {
	t.Helper()
	w := &tunnelWorld{sessionWorld: newSessionWorld(t)}
	w.in = w.sound(t, anyHost)
	w.w.Mu.Lock()
	defer w.w.Mu.Unlock()
	rg := w.in.Region
	e, err := w.w.AddConnectEndpoint(rg, w.in.Host.Subnet)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range rg.Groups {
		if slices.Contains(w.in.Host.Groups, g.ID) {
			g.Ingress = append(slices.Clone(g.Ingress), fleet.Permission{Protocol: "tcp", From: 22, To: 22, Groups: e.Groups})
		}
	}
	w.endpoint = *e
	w.tunnels = w.another()
	return w
}

// another is what another operator has: it counts its own tunnels alone.
func (w *tunnelWorld) another() *awsapi.Tunnels {
	return awsapi.NewTunnels(w.Sessions, func(at fleet.Place) []fleet.ConnectEndpoint {
		if at != w.in.Host.Ref().Place() {
			return nil
		}
		return []fleet.ConnectEndpoint{w.endpoint}
	})
}

// full opens as many tunnels as the endpoint carries.
func (w *tunnelWorld) full(t *testing.T) (open []net.Conn) {
	t.Helper()
	for range fleet.ConnectEndpointTunnels {
		c, err := w.tunnels.Open(t.Context(), w.in.Host)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if _, err := banner(t, c); err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	return open
}

// banner reads the first line that the far side sends.
func banner(t *testing.T, c net.Conn) (string, error) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return bufio.NewReader(c).ReadString('\n')
}

func TestTunnelLeadsToTheHost(t *testing.T) {
	w := newTunnelWorld(t)
	c, err := w.tunnels.Open(t.Context(), w.in.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	line, err := banner(t, c)
	if err != nil || !strings.HasPrefix(line, "SSH-2.0-") {
		t.Fatalf("%q, %v", line, err)
	}
	// More than one message holds.
	if _, err := c.Write([]byte("SSH-2.0-test\r\n" + strings.Repeat("x", 200_000))); err != nil {
		t.Fatal(err)
	}
}

// An endpoint carries 20 connections; the next waits for a place, or for as
// long as it may.
func TestTunnelsWaitForAPlace(t *testing.T) {
	w := newTunnelWorld(t)
	open := w.full(t)
	hurried, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := w.tunnels.Open(hurried, w.in.Host); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "carries 20 connections") {
		t.Errorf("the 21st: %v", err)
	}
	next := make(chan error, 1)
	go func() {
		c, err := w.tunnels.Open(t.Context(), w.in.Host)
		if err == nil {
			_, err = banner(t, c)
			_ = c.Close()
		}
		next <- err
	}()
	_ = open[0].Close()
	_ = open[0].Close() // gives back one place, not two
	if err := <-next; err != nil {
		t.Error(err)
	}
	if most := w.aws.MostTunnels(); most != fleet.ConnectEndpointTunnels {
		t.Errorf("the endpoint carried up to %d tunnels", most)
	}
}

// Another operator's connections are seen only by the endpoint, which says that
// it has too many.
func TestTunnelsWaitForOthers(t *testing.T) {
	w := newTunnelWorld(t)
	open := w.full(t)
	hurried, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	if _, err := w.another().Open(hurried, w.in.Host); !errors.Is(err, session.ErrTooMany) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a full endpoint: %v", err)
	}
	asked := w.aws.TunnelsRefused()
	next := make(chan error, 1)
	go func() {
		c, err := w.another().Open(t.Context(), w.in.Host)
		if err == nil {
			_, err = banner(t, c)
			_ = c.Close()
		}
		next <- err
	}()
	for w.aws.TunnelsRefused() == asked {
		time.Sleep(time.Millisecond)
	}
	_ = open[0].Close()
	if err := <-next; err != nil {
		t.Error(err)
	}
}

func TestTunnelThatIsNotOpened(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		set        func(w *tunnelWorld, h *fleet.Host)
	}{
		{"no endpoint in the VPC", "no EC2 Instance Connect Endpoint in vpc-other", func(_ *tunnelWorld, h *fleet.Host) { h.VPC = "vpc-other" }},
		{"no address", "no private IPv4 address", func(_ *tunnelWorld, h *fleet.Host) {
			*h = fleet.Host{ID: h.ID, Account: h.Account, Region: h.Region, VPC: h.VPC}
		}},
		{"the endpoint is gone", "InstanceConnectEndpointId is not valid", func(w *tunnelWorld, _ *fleet.Host) { w.in.Region.ConnectEndpoints = nil }},
		{"the service is down", "503", func(w *tunnelWorld, _ *fleet.Host) {
			w.in.Region.Outages = map[string]bool{"ec2-instance-connect": true}
		}},
		{"the host's groups do not let it in", "Unable to connect to target", func(w *tunnelWorld, _ *fleet.Host) {
			for _, g := range w.in.Region.Groups {
				g.Ingress = nil
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newTunnelWorld(t)
			h := w.in.Host
			w.w.Mu.Lock()
			tt.set(w, &h)
			w.w.Mu.Unlock()
			c, err := w.tunnels.Open(t.Context(), h)
			if err == nil {
				_, err = banner(t, c)
				_ = c.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// signs makes the address of a tunnel as the AWS CLI's eicesigner.py does, with
// the library that Debian's AWS CLI brings.
const signs = `
import sys
from urllib.parse import urlencode
from awscli.botocore.session import Session
from awscli.botocore.signers import RequestSigner
from awscli.botocore.credentials import Credentials
s = Session()
model = s.get_service_model("ec2-instance-connect")
r = RequestSigner(model.service_id, "eu-west-1", model.signing_name, model.signature_version, Credentials("AKID", "SECRET", "TOKEN/+="), s.get_component("event_emitter"))
host = "eice-1.ec2-instance-connect-endpoint.eu-west-1.amazonaws.com"
q = urlencode({"instanceConnectEndpointId": "eice-1", "remotePort": 22, "privateIpAddress": "10.0.0.7", "maxTunnelDuration": 3600})
print(r.generate_presigned_url(request_dict={"url": "wss://" + host + "/openTunnel?" + q, "body": {}, "headers": {"host": host}, "method": "GET", "query_string": "", "url_path": "/", "context": {}}, operation_name="openTunnel", expires_in=60))
`

func TestTunnelIsSignedAsTheAWSCLIDoes(t *testing.T) {
	const python = "/usr/bin/python3" // Debian's, for which its AWS CLI is
	if _, err := os.Stat("/usr/bin/aws"); err != nil {
		t.Fatalf("%v; install with: apt-get install awscli", err)
	}
	out, err := exec.CommandContext(t.Context(), python, "-c", signs).Output()
	if err != nil {
		t.Fatal(err)
	}
	want, err := url.Parse(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse("20060102T150405Z", want.Query().Get("X-Amz-Date"))
	if err != nil {
		t.Fatal(err)
	}
	isolate(t, "")
	t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "SECRET")
	t.Setenv("AWS_SESSION_TOKEN", "TOKEN/+=")
	got := awsapi.TunnelURL(t, "eu-west-1", "eice-1", "eice-1.ec2-instance-connect-endpoint.eu-west-1.amazonaws.com", "10.0.0.7", at)
	is, err := url.Parse(got)
	if err != nil {
		t.Fatal(err)
	}
	if is.Scheme != want.Scheme || is.Host != want.Host || is.Path != want.Path {
		t.Errorf("got %s, want %s", got, want)
	}
	if diff := gocmp.Diff(want.Query(), is.Query()); diff != "" {
		t.Errorf("(-AWS CLI +ours):\n%s", diff)
	}
}
