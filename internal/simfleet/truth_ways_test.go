package simfleet_test

import (
	"context"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"ssm-migrate/internal/simfleet"
)

// dialled connects as Dial does; the near end buffers, as SSH needs it.
func dialled(t *testing.T, h *simfleet.Hosts, to netip.Addr) (net.Conn, error) {
	t.Helper()
	far, err := h.Dial(t.Context(), simfleet.Origin{Addr: simfleet.OperatorAddr}, netip.AddrPortFrom(to, 22))
	if err != nil {
		return nil, err
	}
	near, middle, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(far, middle); _ = far.Close() }()
	go func() { _, _ = io.Copy(middle, far); _ = middle.Close() }()
	return near, nil
}

// becomesRoot logs in over a connection and tries sudo.
func becomesRoot(conn net.Conn, conf *ssh.ClientConfig) (*ssh.Client, error) {
	c, channels, requests, err := ssh.NewClientConn(conn, "host:22", conf)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return ssh.NewClient(c, channels, requests), nil
}

func sudo(client *ssh.Client) error {
	s, err := client.NewSession()
	if err != nil {
		return err
	}
	return s.Run("sudo -n true")
}

// operatorConnects logs in as the operator's SSH configuration does.
func operatorConnects(t *testing.T, w *simfleet.World, h *simfleet.Hosts, in *simfleet.Instance) error {
	t.Helper()
	conf := clientConfig(t, w, simfleet.OperatorUser)
	conf.Timeout = 10 * time.Second
	b := w.Bastion(in)
	if b == nil || in.Role == "bastion" {
		to := in.Host.PrivateIP
		if in.Host.PublicIP.IsValid() {
			to = in.Host.PublicIP
		}
		conn, err := dialled(t, h, to)
		if err != nil {
			return err
		}
		client, err := becomesRoot(conn, conf)
		if err != nil {
			return err
		}
		defer func() { _ = client.Close() }()
		return sudo(client)
	}
	conn, err := dialled(t, h, b.Host.PublicIP)
	if err != nil {
		return err
	}
	hop, err := becomesRoot(conn, conf)
	if err != nil {
		return err
	}
	defer func() { _ = hop.Close() }()
	inner, err := hop.DialContext(context.Background(), "tcp", netip.AddrPortFrom(in.Host.PrivateIP, 22).String())
	if err != nil {
		return err
	}
	client, err := becomesRoot(inner, conf)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	return sudo(client)
}

// TestTruthOfLogins compares what the model says of the operator's way in with
// real attempts on every machine.
func TestTruthOfLogins(t *testing.T) {
	w, h := newWorld(t, 60, simfleet.HostOptions{})
	open, closed := 0, 0
	for in := range w.Instances() {
		if in.OS.Family == "windows" || !in.Host.Running() || in.Fault != "" {
			continue
		}
		w.Mu.RLock()
		reason := w.OperatorLoginReason(in)
		w.Mu.RUnlock()
		err := operatorConnects(t, w, h, in)
		if (reason == "") != (err == nil) {
			t.Errorf("%s: the model says %q, the attempt %v", in.Host.ID, reason, err)
		}
		if reason == "" {
			open++
		} else {
			closed++
		}
	}
	if open == 0 || closed == 0 {
		t.Errorf("nothing is compared: %d open, %d closed", open, closed)
	}
}

// TestRecoveryNeedsKeyRuleAndDaemon takes each part of the recovery way away.
func TestRecoveryNeedsKeyRuleAndDaemon(t *testing.T) {
	s := newStillWorld(t)
	in := findInstance(t, s.World, "host", func(in *simfleet.Instance) bool {
		return (linux("ubuntu")(in) || linux("amzn")(in)) && s.Bastion(in) != nil && s.OperatorReaches(in) && len(in.Machine.Filesystems) == 0
	})
	_, key := signerOf(t, 5)
	in.Users = append(in.Users, &simfleet.User{Name: "rescue", UID: 1700, Home: "/home/rescue", Sudo: true, Keys: []string{key}})
	r := simfleet.Recovery{Groups: s.Bastion(in).Host.Groups, User: "rescue", Key: key}
	ways := func(r simfleet.Recovery) simfleet.Ways {
		s.Mu.RLock()
		defer s.Mu.RUnlock()
		return s.WaysIn(in, r)
	}
	if reason := ways(r).Recovery; reason != "" {
		t.Fatalf("the way is closed: %s", reason)
	}
	if ways(simfleet.Recovery{}).Recovery == "" {
		t.Error("open without a key")
	}
	_, other := signerOf(t, 6)
	for what, bad := range map[string]simfleet.Recovery{
		"another group": {Groups: []string{"sg-none"}, User: r.User, Key: r.Key},
		"another key":   {Groups: r.Groups, User: r.User, Key: other},
		"another user":  {Groups: r.Groups, User: "nobody", Key: r.Key},
		"no subnet":     {Groups: r.Groups, User: r.User, Key: r.Key, Subnet: "subnet-none"},
	} {
		if ways(bad).Recovery == "" {
			t.Errorf("open with %s", what)
		}
	}
	for _, script := range []string{
		`chmod 666 /home/rescue/.ssh/authorized_keys`, `mv /home/rescue/.ssh/authorized_keys /root/`, `systemctl stop ` + in.OS.SSHUnit,
		`echo 'AllowUsers somebody' >>/etc/ssh/sshd_config`,
	} {
		before := s.root(t, in, `cp -a /etc/ssh/sshd_config /root/conf; cp -a /home/rescue/.ssh/authorized_keys /root/keys; echo ok`)
		s.root(t, in, script)
		if ways(r).Recovery == "" {
			t.Errorf("%sopen after %s", before, script)
		}
		s.root(t, in, `cp -a /root/conf /etc/ssh/sshd_config; cp -a /root/keys /home/rescue/.ssh/authorized_keys; systemctl start `+in.OS.SSHUnit)
		if reason := ways(r).Recovery; reason != "" {
			t.Errorf("closed after %s was taken back: %s", script, reason)
		}
	}
}
