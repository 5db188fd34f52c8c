package simfleet

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

// SOCKS version 5 replies (RFC 1928 section 6).
const (
	socksOK          = 0
	socksFailure     = 1
	socksUnreachable = 4
	socksRefused     = 5
	socksTimedOut    = 6 // "TTL expired", what proxies answer for a timeout
	socksBadCommand  = 7
	socksBadAddress  = 8
)

// socksHandshake is how long a client may take for its request.
const socksHandshake = 30 * time.Second

// ServeSOCKS is the operator's way into the world: a SOCKS version 5 proxy
// (CONNECT, no authentication) whose connections start at
// HostOptions.Operator. It serves until ctx ends or the Hosts are closed, and
// closes ln. It is meant for a listener on loopback.
func (h *Hosts) ServeSOCKS(ctx context.Context, ln net.Listener) error {
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
	defer context.AfterFunc(h.ctx, func() { _ = ln.Close() })()
	defer func() { _ = ln.Close() }()
	for {
		c, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil || h.ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accepting a SOCKS connection: %w", err)
		}
		if !h.track(c) {
			return nil
		}
		go func() {
			defer h.untrack(c)
			h.socks(ctx, c)
		}()
	}
}

// socks serves one client.
func (h *Hosts) socks(ctx context.Context, c net.Conn) {
	_ = c.SetDeadline(time.Now().Add(socksHandshake))
	dst, reply := readSOCKS(c)
	if reply != socksOK {
		writeSOCKS(c, reply)
		return
	}
	inst, source, err := h.target(Origin{Addr: h.opts.Operator}, dst)
	switch {
	case errors.Is(err, ErrTimedOut):
		if h.wait(ctx, connectPatience) == nil {
			writeSOCKS(c, socksTimedOut)
		}
		return
	case errors.Is(err, ErrRefused):
		writeSOCKS(c, socksRefused)
		return
	case err != nil:
		writeSOCKS(c, socksUnreachable)
		return
	}
	writeSOCKS(c, socksOK)
	_ = c.SetDeadline(time.Time{})
	h.ServeConn(inst, c, netip.AddrPortFrom(source, h.ephemeralPort()), dst)
}

// readSOCKS reads greeting and request; a reply other than socksOK is the answer to it.
func readSOCKS(c io.ReadWriter) (netip.AddrPort, byte) {
	var none netip.AddrPort
	head := make([]byte, 2)
	if _, err := io.ReadFull(c, head); err != nil || head[0] != 5 {
		return none, socksFailure
	}
	if _, err := io.ReadFull(c, make([]byte, head[1])); err != nil {
		return none, socksFailure
	}
	if _, err := c.Write([]byte{5, 0}); err != nil {
		return none, socksFailure
	}
	request := make([]byte, 4)
	if _, err := io.ReadFull(c, request); err != nil || request[0] != 5 {
		return none, socksFailure
	}
	var size int
	switch request[3] {
	case 1:
		size = 4
	case 4:
		size = 16
	case 3:
		length := make([]byte, 1)
		if _, err := io.ReadFull(c, length); err != nil {
			return none, socksFailure
		}
		size = int(length[0])
	default:
		return none, socksBadAddress
	}
	rest := make([]byte, size+2)
	if _, err := io.ReadFull(c, rest); err != nil {
		return none, socksFailure
	}
	port := binary.BigEndian.Uint16(rest[size:])
	addr, ok := netip.AddrFromSlice(rest[:size])
	if request[3] == 3 {
		// Names are the operator's resolver's business; only addresses in
		// the form of a name come through here.
		a, err := netip.ParseAddr(string(rest[:size]))
		addr, ok = a, err == nil
	}
	switch {
	case request[1] != 1:
		return none, socksBadCommand
	case !ok:
		return none, socksUnreachable
	}
	return netip.AddrPortFrom(addr.Unmap(), port), socksOK
}

func writeSOCKS(w io.Writer, reply byte) {
	_, _ = w.Write([]byte{5, reply, 0, 1, 0, 0, 0, 0, 0, 0})
}
