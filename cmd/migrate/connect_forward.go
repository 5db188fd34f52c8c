package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/session"
)

// forward is one -L.
type forward struct {
	listen string // address and port on this machine
	host   string // empty: the managed node itself
	port   int
}

// parseForward reads PORT:HOST:HOSTPORT; a HOST that is an IPv6 address is in
// brackets.
func parseForward(text, bind string) (forward, error) {
	local, rest, ok := strings.Cut(text, ":")
	if !ok {
		return forward{}, errors.New("it is not PORT:HOST:HOSTPORT")
	}
	near, err := portNumber(local, 0)
	if err != nil {
		return forward{}, err
	}
	host, far, err := net.SplitHostPort(rest)
	if err != nil || host == "" {
		return forward{}, errors.New("it is not PORT:HOST:HOSTPORT (what to bind to is --bind's)")
	}
	f := forward{host: host}
	if f.port, err = portNumber(far, 1); err != nil {
		return forward{}, err
	}
	if strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r > '~' }) || len(host) > 253 {
		return forward{}, errors.New("the host is no name and no address")
	}
	// Agents since 3.3.4851.0 refuse loopback addresses to the document for
	// remote hosts; the one for the host's own ports takes none.
	if ip, err := netip.ParseAddr(host); strings.EqualFold(host, "localhost") || err == nil && ip.IsLoopback() {
		f.host = ""
	}
	if _, err := netip.ParseAddr(bind); err != nil {
		return forward{}, fmt.Errorf("--bind %q is not an IP address", bind)
	}
	f.listen = net.JoinHostPort(bind, strconv.Itoa(near))
	return f, nil
}

func portNumber(text string, least int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > 65535 {
		return 0, fmt.Errorf("%q is not a port", text)
	}
	return n, nil
}

// target is what a connection leads to, for people.
func (f forward) target(h fleet.Host) string {
	port := strconv.Itoa(f.port)
	if f.host == "" {
		return "port " + port + " of " + h.ID
	}
	return net.JoinHostPort(f.host, port) + " by " + h.ID
}

func (f forward) request(h fleet.Host) awsapi.SessionRequest {
	r := awsapi.SessionRequest{Host: h.Ref(), Document: awsapi.DocumentPort, Parameters: map[string][]string{"portNumber": {strconv.Itoa(f.port)}}}
	if f.host != "" {
		r.Document = awsapi.DocumentRemotePort
		r.Parameters["host"] = []string{f.host}
	}
	return r
}

// forwarding is a forward that runs.
type forwarding struct {
	forward
	listener net.Listener
	session  *awsapi.Session
	port     *session.Port
}

// forwardResult is what connect -L --json prints once the ports are open.
type forwardResult struct {
	Listen      string `json:"listen"`
	Target      string `json:"target"`
	Session     string `json:"session"`
	Multiplexed bool   `json:"multiplexed"`
}

// forward serves all ports until it is interrupted or one session ends: what
// the others would still carry is half of what was asked for.
func (a *app) forward(ctx context.Context, sessions *awsapi.Sessions, h fleet.Host, forwards []forward) error {
	var all []*forwarding
	defer func() {
		for _, f := range all {
			if f.port != nil {
				f.port.Close()
			}
			a.end(ctx, f.session)
			_ = f.listener.Close()
		}
	}()
	for _, f := range forwards {
		// The port first: it may be taken, and then no session is needed.
		l, err := net.Listen("tcp", f.listen)
		if err != nil {
			return fmt.Errorf("listen for connections: %w", err)
		}
		s, err := a.start(ctx, sessions, f.request(h))
		if err != nil {
			_ = l.Close()
			return err
		}
		on := &forwarding{forward: f, listener: l, session: s}
		all = append(all, on)
		if err := s.Ready(ctx); err != nil {
			return fmt.Errorf("forward to %s: %w", f.target(h), err)
		}
		if on.port, err = s.Port(func() {
			fmt.Fprintf(a.err, "The host could not connect to %s.\n", f.target(h))
		}); err != nil {
			return fmt.Errorf("forward to %s: %w", f.target(h), err)
		}
	}
	if err := a.printForwards(h, all); err != nil {
		return err
	}
	return serveForwards(ctx, h, all)
}

func serveForwards(ctx context.Context, h fleet.Host, all []*forwarding) error {
	serving, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	errs := make(chan error, len(all))
	for _, f := range all {
		running.Go(func() {
			defer cancel()
			err := f.port.Serve(serving, f.listener)
			switch {
			case err != nil:
				errs <- fmt.Errorf("forward to %s: %w", f.target(h), err)
			case serving.Err() == nil:
				errs <- fmt.Errorf("forward to %s: the far side ended the session (an idle one ends by itself, after 20 minutes unless the preferences say otherwise)", f.target(h))
			}
		})
	}
	running.Wait()
	if ctx.Err() != nil {
		return nil // ended as people end it
	}
	close(errs)
	return <-errs
}

func (a *app) printForwards(h fleet.Host, all []*forwarding) error {
	var out []forwardResult
	for _, f := range all {
		out = append(out, forwardResult{Listen: f.listener.Addr().String(), Target: f.target(h), Session: f.session.ID, Multiplexed: f.port.Multiplexed()})
	}
	if a.json {
		return writeJSON(a.out, out)
	}
	for _, f := range out {
		fmt.Fprintf(a.out, "Forwarding %s to %s.\n", f.Listen, f.Target)
		if !f.Multiplexed {
			fmt.Fprintln(a.out, "The agent is older than 3.0.222: one connection after the other.")
		}
	}
	_, err := fmt.Fprintln(a.out, "End with Ctrl-C.")
	return err
}
