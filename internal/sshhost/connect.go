package sshhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/crypto/ssh"
)

// maxTries is how many keys one connection offers at most: sshd's default
// MaxAuthTries ends the connection after the sixth refused one.
const maxTries = 6

// connection is a logged-in SSH connection.
type connection struct {
	ssh.Conn
	user     string
	channels <-chan ssh.NewChannel
	requests <-chan *ssh.Request
}

// serve refuses whatever the server asks for, until the connection ends.
func (c *connection) serve() {
	channels, requests := c.channels, c.requests
	for channels != nil || requests != nil {
		select {
		case ch, ok := <-channels:
			if !ok {
				channels = nil
				continue
			}
			_ = ch.Reject(ssh.Prohibited, "")
		case r, ok := <-requests:
			if !ok {
				requests = nil
				continue
			}
			if r.WantReply {
				_ = r.Reply(false, nil)
			}
		}
	}
}

// connect logs in to the target, with each user in turn until one is accepted.
// The caller must take care of the connection's channels and requests.
func (c *Client) connect(ctx context.Context, t *target) (*connection, error) {
	var err *Error
	for _, user := range t.users {
		conn, e := c.login(ctx, t, user)
		if e == nil {
			return conn, nil
		}
		if err = e; !errors.Is(e, ErrAuth) || e.Hop != "" {
			return nil, e
		}
	}
	if err == nil {
		return nil, t.fail(ctx, ErrAuth, "no user to log in as", nil)
	}
	if len(t.users) > 1 {
		err.Detail = fmt.Sprintf("as %s; the last one: %s", strings.Join(t.users, ", "), err.Detail)
	}
	return nil, err
}

// login makes one connection attempt as one user.
func (c *Client) login(ctx context.Context, t *target, user string) (*connection, *Error) {
	keys, notes, err := c.keys(ctx, t, user)
	if err != nil {
		return nil, t.fail(ctx, ErrConfig, "", err)
	}
	check, err := c.hostKeys.checker(c, t, user)
	if err != nil {
		return nil, t.fail(ctx, ErrConfig, "", err)
	}
	raw, err := c.open(ctx, t, user)
	if err != nil {
		return nil, t.fail(ctx, ErrUnreachable, "while connecting", err)
	}
	ctx, cancel := context.WithTimeout(ctx, t.dialTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { raw.Close() })

	a := &attempt{ctx: ctx, client: c, keys: keys, notes: notes, check: check}
	conn, channels, requests, err := ssh.NewClientConn(raw, t.address(), a.config(user))
	if !stop() {
		if err == nil {
			conn.Close()
		}
		err = ctx.Err()
	}
	if err != nil {
		raw.Close()
		return nil, a.explain(t, user, raw, err)
	}
	return &connection{Conn: conn, user: user, channels: channels, requests: requests}, nil
}

// open makes the transport connection.
func (c *Client) open(ctx context.Context, t *target, user string) (net.Conn, error) {
	if t.via != nil {
		return t.via.dial(ctx, t.address(), t.dialTimeout)
	}
	if t.command != "" {
		line, err := t.expand(t.command, user, c.env)
		if err != nil {
			return nil, fmt.Errorf("ProxyCommand: %w", err)
		}
		return startCommand(line)
	}
	ctx, cancel := context.WithTimeout(ctx, t.dialTimeout)
	defer cancel()
	return c.dialer.DialContext(ctx, "tcp", t.address())
}

// attempt is the state of one handshake.
type attempt struct {
	ctx      context.Context
	client   *Client
	keys     []*key
	notes    []string
	check    *keyCheck
	verified bool         // the host key was accepted
	offered  atomic.Int32 // keys that login may have tried; 0: publickey was not possible
	signed   []*key       // keys that the server would have taken
	signErr  error        // why the last signature could not be made
}

func (a *attempt) config(user string) *ssh.ClientConfig {
	return &ssh.ClientConfig{
		User: user,
		Auth: []ssh.AuthMethod{ssh.PublicKeysCallback(a.signers)},
		HostKeyCallback: func(_ string, _ net.Addr, k ssh.PublicKey) error {
			err := a.check.verify(k)
			a.verified = err == nil
			return err
		},
		HostKeyAlgorithms: a.check.algorithms,
	}
}

func (a *attempt) signers() ([]ssh.Signer, error) {
	list := make([]ssh.Signer, len(a.keys))
	for i, k := range a.keys {
		list[i] = offer{k, a}
	}
	a.offered.Store(int32(len(list)))
	return list, nil
}

// offer is a key offered in one handshake. The server asks for a signature
// only of a key that it would accept.
type offer struct {
	key     *key
	attempt *attempt
}

// PublicKey is the key or certificate.
func (o offer) PublicKey() ssh.PublicKey { return o.key.public }

// Sign is not used by the handshake, which prefers SignWithAlgorithm.
func (o offer) Sign(_ io.Reader, data []byte) (*ssh.Signature, error) {
	return o.SignWithAlgorithm(nil, data, "")
}

// SignWithAlgorithm signs, and remembers that the key was accepted.
func (o offer) SignWithAlgorithm(_ io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	o.attempt.signed = append(o.attempt.signed, o.key)
	sig, err := o.key.sign(o.attempt.ctx, data, algorithm)
	if err != nil {
		o.attempt.signErr = err
		return nil, err
	}
	o.key.accepted.Add(1)
	return sig, nil
}

// explain makes the error of a failed handshake.
func (a *attempt) explain(t *target, user string, raw net.Conn, err error) *Error {
	stage := "in the SSH handshake"
	if a.verified {
		stage = "while logging in"
	}
	if a.ctx.Err() != nil {
		return t.fail(a.ctx, ErrTimeout, stage, a.ctx.Err())
	}
	var negotiation *ssh.AlgorithmNegotiationError
	switch {
	case a.check.refused != nil:
		e := *a.check.refused
		e.Host = t.label
		return &e
	case errors.As(err, &negotiation):
		return t.fail(a.ctx, ErrHandshake, "", err)
	case !a.verified:
		text := err.Error()
		if cut(err) {
			text = "the connection was closed by the other side: no SSH server, or one that is over its MaxStartups"
		}
		if cmd, ok := raw.(*commandConn); ok {
			err = errors.New(joinDetail("ProxyCommand", cmd.said(), text))
		} else {
			err = errors.New(text)
		}
		return t.fail(a.ctx, ErrHandshake, "", err)
	}
	return &Error{Kind: ErrAuth, Host: t.label, Err: err, Detail: joinDetail(a.refusal(user, err), t.note)}
}

// refusal says what was tried to log in.
func (a *attempt) refusal(user string, err error) string {
	var b strings.Builder
	n := int(a.offered.Load())
	switch {
	case cut(err):
		fmt.Fprintf(&b, "%s: the server closed the connection (keys offered: %s)", user, keyNames(a.keys))
	case a.signErr != nil:
		fmt.Fprintf(&b, "%s: key %s could not sign: %s", user, a.signed[len(a.signed)-1].name, clean(a.signErr.Error(), 150))
	case len(a.keys) == 0:
		fmt.Fprintf(&b, "%s: no usable key", user)
	case n == 0:
		fmt.Fprintf(&b, "%s: the server does not take public keys (%s)", user, clean(err.Error(), 150))
	case len(a.signed) > 0:
		fmt.Fprintf(&b, "%s: key %s alone is not enough (%s)", user, a.signed[len(a.signed)-1].name, clean(err.Error(), 150))
	default:
		fmt.Fprintf(&b, "%s: %s refused (%s)", user, quantity(n, "key", "keys"), keyNames(a.keys))
	}
	for _, note := range slices.Compact(slices.Clone(a.notes)) {
		b.WriteString("; " + note)
	}
	return b.String()
}

func keyNames(keys []*key) string {
	list := make([]string, len(keys))
	for i, k := range keys {
		list[i] = k.name
	}
	return strings.Join(list, ", ")
}

// cut reports whether the other side ended the connection without a word.
func cut(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
