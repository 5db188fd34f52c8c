package sshhost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"ssm-migrate/internal/fleet"
)

// RecoveryConfig says how to use the recovery way.
type RecoveryConfig struct {
	// Config gives the rules for the hosts' keys, the proxy, the port and the time
	// limits. Its bastions and identities are those of today's way, and not used.
	Config Config
	// Keys gives the private keys, newest first, each as the PEM text of an
	// unencrypted key; they are cleared. All are tried. Nil: none is configured.
	Keys func(context.Context) ([][]byte, error)
	// CA reports whether the key with this public part (base64) signs user
	// certificates, in place of logging in itself; nil: none does.
	CA func(blob string) bool
	// User is the account of a host that has the recovery key.
	User func(fleet.Host) string
	// Tunnel connects to port 22 of a host by an EC2 Instance Connect Endpoint.
	// Nil: there is no such way.
	Tunnel func(context.Context, fleet.Host) (net.Conn, error)
}

// Recovery logs in to hosts with the recovery key: by the recovery bastion of
// their VPC, once that is open, or by an EC2 Instance Connect Endpoint. It may be used concurrently.
type Recovery struct {
	cfg    RecoveryConfig
	client *Client

	mu   sync.Mutex
	open map[network]*recoveryBastion // guarded by mu
	keys keyMemo                      // of logins without a bastion
}

// network is where a recovery bastion reaches hosts.
type network struct {
	place fleet.Place
	vpc   string
}

func networkOf(h fleet.Host) network { return network{h.Ref().Place(), h.VPC} }

// recoveryBastion is a login to a bastion.
type recoveryBastion struct {
	name string
	conn *ssh.Client
	keys []ringKey
}

// NewRecovery makes the recovery way. It reads no key yet.
func NewRecovery(cfg RecoveryConfig) (*Recovery, error) {
	cfg.Config.Jump = ""
	c, err := New(cfg.Config)
	if err != nil {
		return nil, err
	}
	return &Recovery{cfg: cfg, client: c, open: map[network]*recoveryBastion{}}, nil
}

// Close ends all connections.
func (r *Recovery) Close() error {
	r.mu.Lock()
	all := r.open
	r.open = map[network]*recoveryBastion{}
	r.mu.Unlock()
	for _, b := range all {
		_ = b.conn.Close()
	}
	return r.client.Close()
}

// OpenBastion logs in to a bastion as user. The bastion must show one of the
// host keys ("ssh-ed25519 AAAA…"). Until closeIt, Run and Prove reach the hosts
// of its VPC. An error is an *Error, or says what is wrong with the
// keys: it wraps fleet.ErrNoKey where ours cannot be had.
func (r *Recovery) OpenBastion(ctx context.Context, bastion fleet.Host, user string, hostKeys []string) (closeIt func(), err error) {
	keys, err := r.ring(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", fleet.ErrNoKey, err)
	}
	return r.openBastion(ctx, bastion, user, hostKeys, keys)
}

func (r *Recovery) openBastion(ctx context.Context, bastion fleet.Host, user string, hostKeys []string, keys []ringKey) (closeIt func(), err error) {
	known, err := parseHostKeys(hostKeys)
	if err != nil {
		return nil, fmt.Errorf("host keys of bastion %s: %w", bastion.ID, err)
	}
	conn, err := r.dialBastion(ctx, bastion, user, keys, known)
	if err != nil {
		return nil, err
	}
	b := &recoveryBastion{name: bastion.ID, conn: conn, keys: keys}
	at := networkOf(bastion)
	r.mu.Lock()
	old := r.open[at]
	r.open[at] = b
	r.mu.Unlock()
	if old != nil {
		_ = old.conn.Close()
	}
	return func() {
		r.mu.Lock()
		if r.open[at] == b {
			delete(r.open, at)
		}
		r.mu.Unlock()
		_ = conn.Close()
		_ = conn.Wait()
	}, nil
}

func parseHostKeys(lines []string) ([]ssh.PublicKey, error) {
	var keys []ssh.PublicKey
	for _, l := range lines {
		k, _, _, _, err := ssh.ParseAuthorizedKey([]byte(l))
		if err != nil {
			continue // of a type that this program does not know
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, errors.New("none that can be used")
	}
	return keys, nil
}

// bastionAddresses lists where a bastion may be reached, the likely one first.
func (r *Recovery) bastionAddresses(h fleet.Host) []string {
	list := []netip.Addr{h.PrivateIP, h.PublicIP}
	if r.cfg.Config.Address == AddressPublic || r.cfg.Config.Address == AddressAuto {
		slices.Reverse(list)
	}
	var out []string
	for _, a := range list {
		if a.IsValid() {
			out = append(out, net.JoinHostPort(a.String(), strconv.Itoa(r.client.cfg.Port)))
		}
	}
	return out
}

// dialBastion logs in at the first of the bastion's addresses that answers.
func (r *Recovery) dialBastion(ctx context.Context, h fleet.Host, user string, keys []ringKey, known []ssh.PublicKey) (*ssh.Client, error) {
	err := error(&Error{Kind: ErrUnreachable, Host: h.ID, Detail: "the bastion has no address"})
	for _, address := range r.bastionAddresses(h) {
		var conn *ssh.Client
		if conn, err = r.dialAt(ctx, address, user, keys, known); err == nil {
			return conn, nil
		}
		if !errors.Is(err, ErrUnreachable) && !errors.Is(err, ErrTimeout) {
			break
		}
	}
	return nil, err
}

func (r *Recovery) dialAt(ctx context.Context, address, user string, keys []ringKey, known []ssh.PublicKey) (*ssh.Client, error) {
	t := &target{label: address}
	ctx, cancel := context.WithTimeout(ctx, r.client.cfg.DialTimeout)
	defer cancel()
	raw, err := r.client.dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, t.fail(ctx, ErrUnreachable, "while connecting", err)
	}
	var refused *Error
	conn, err := handshake(ctx, raw, address, &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{auth(keys)}, HostKeyAlgorithms: algorithmsOf(known),
		HostKeyCallback: func(_ string, _ net.Addr, k ssh.PublicKey) error {
			if slices.ContainsFunc(known, func(o ssh.PublicKey) bool { return string(o.Marshal()) == string(k.Marshal()) }) {
				return nil
			}
			refused = &Error{Kind: ErrHostKeyChanged, Host: address, Detail: "it showed " + describe(k) + ", which is not among the keys of the bastion's console"}
			return refused
		},
	})
	switch {
	case refused != nil:
		return nil, refused
	case err != nil:
		return nil, failedLogin(ctx, t, user, err)
	}
	return ssh.NewClient(conn.Conn, conn.channels, conn.requests), nil
}

// handshake makes a connection of a raw one, which it closes when that fails.
func handshake(ctx context.Context, raw net.Conn, address string, cfg *ssh.ClientConfig) (*connection, error) {
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	conn, channels, requests, err := ssh.NewClientConn(raw, address, cfg)
	if !stop() {
		if err == nil {
			conn.Close()
		}
		err = ctx.Err()
	}
	if err != nil {
		raw.Close()
		return nil, err
	}
	return &connection{Conn: conn, user: cfg.User, channels: channels, requests: requests}, nil
}

// failedLogin tells a refused key from everything else.
func failedLogin(ctx context.Context, t *target, user string, err error) *Error {
	var auth *ssh.ServerAuthError
	if errors.As(err, &auth) || ctx.Err() == nil && isRefusal(err) {
		return &Error{Kind: ErrAuth, Host: t.label, Err: err, Detail: "the recovery key is refused for account " + clean(user, 60)}
	}
	return t.fail(ctx, ErrHandshake, "", err)
}

// isRefusal reports the library's own error after its last key was refused; it
// has no type.
func isRefusal(err error) bool {
	const said = "ssh: handshake failed: ssh: unable to authenticate"
	return len(err.Error()) >= len(said) && err.Error()[:len(said)] == said
}

// algorithmsOf lists the host key algorithms of keys.
func algorithmsOf(keys []ssh.PublicKey) []string {
	var list []string
	for _, k := range keys {
		if k.Type() == ssh.KeyAlgoRSA {
			list = append(list, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
			continue
		}
		list = append(list, k.Type())
	}
	return list
}

// login logs in to a host by the open bastion of its VPC.
func (r *Recovery) login(ctx context.Context, h fleet.Host) (*connection, error) {
	return r.loginWith(ctx, h, nil)
}

// loginWith logs in as method does; nil: with the ring of the bastion's login.
func (r *Recovery) loginWith(ctx context.Context, h fleet.Host, method ssh.AuthMethod) (*connection, error) {
	r.mu.Lock()
	b := r.open[networkOf(h)]
	r.mu.Unlock()
	if b == nil {
		return nil, &Error{Kind: ErrUnreachable, Host: h.ID, Detail: "no recovery bastion is open in " + clean(h.VPC, 40)}
	}
	if method == nil {
		method = auth(b.keys)
	}
	return r.loginOver(ctx, h, method, "by bastion "+b.name, func(ctx context.Context, address string) (net.Conn, error) {
		return b.conn.DialContext(ctx, "tcp", address)
	})
}

// loginOver logs in to a host over a connection that dial makes.
func (r *Recovery) loginOver(ctx context.Context, h fleet.Host, method ssh.AuthMethod, by string, connect func(ctx context.Context, address string) (net.Conn, error)) (*connection, error) {
	if r.cfg.User == nil || r.cfg.User(h) == "" {
		return nil, &Error{Kind: ErrConfig, Host: h.ID, Detail: "no account with the recovery key is known"}
	}
	user := r.cfg.User(h)
	ctx, cancel := context.WithTimeout(ctx, r.client.cfg.Timeout)
	defer cancel()
	known, err := r.client.target(ctx, h)
	if err != nil {
		return nil, err
	}
	if !h.PrivateIP.IsValid() {
		return nil, &Error{Kind: ErrUnreachable, Host: h.ID, Detail: "the instance has no private address"}
	}
	t := *known
	t.via, t.command, t.name = nil, "", h.PrivateIP.String()
	t.label = clean(t.address(), 120)
	check, err := r.client.hostKeys.checker(r.client, &t, user)
	if err != nil {
		return nil, t.fail(ctx, ErrConfig, "", err)
	}
	dial, stop := context.WithTimeout(ctx, r.client.cfg.DialTimeout)
	defer stop()
	raw, err := connect(dial, t.address())
	if err != nil {
		e := t.fail(dial, ErrUnreachable, by, err)
		e.Err = errors.Join(e.Err, err)
		return nil, e
	}
	conn, err := handshake(ctx, raw, t.address(), &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{method},
		HostKeyAlgorithms: check.algorithms,
		HostKeyCallback:   func(_ string, _ net.Addr, k ssh.PublicKey) error { return check.verify(k) },
	})
	switch {
	case check.refused != nil:
		e := *check.refused
		e.Host, e.Hop = t.label, ""
		return nil, &e
	case err != nil:
		return nil, failedLogin(ctx, &t, user, err)
	}
	return conn, nil
}

// loginBy logs in to a host by one of the two ways.
func (r *Recovery) loginBy(ctx context.Context, h fleet.Host, way fleet.Way) (*connection, error) {
	switch way {
	case fleet.WayRecovery:
		return r.login(ctx, h)
	case fleet.WayConnectEndpoint:
		return r.loginByEndpoint(ctx, h)
	}
	return nil, errors.New("the recovery way is no " + string(way) + " way")
}

// Run runs a script as root on a host, by the recovery bastion or an EC2 Instance
// Connect Endpoint. On any other way, and while the bastion is not open, nothing starts.
func (r *Recovery) Run(ctx context.Context, h fleet.Host, way fleet.Way, s fleet.Script) fleet.ScriptResult {
	res := fleet.ScriptResult{Started: fleet.TruthNo, Way: way}
	conn, err := r.loginBy(ctx, h, way)
	if err != nil {
		res.Reason = clean(err.Error(), 500)
		return res
	}
	return runAsRoot(ctx, conn, nil, s, res)
}

// Prove logs in to a host by one of the two ways and runs a command that prints
// a random number.
func (r *Recovery) Prove(ctx context.Context, h fleet.Host, way fleet.Way) fleet.Proof {
	p := fleet.Proof{Host: h.Ref(), Way: way, Kind: "login"}
	start := time.Now()
	conn, err := r.loginBy(ctx, h, way)
	if err != nil {
		return unproved(p, err)
	}
	return proveOn(ctx, conn, p, start)
}
