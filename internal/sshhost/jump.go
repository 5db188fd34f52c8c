package sshhost

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// maxHops limits chains of bastions.
const maxHops = 8

// hop is one element of a ProxyJump chain, as written.
type hop struct {
	user, host string
	port       int // 0: not given
}

// String is "[user@]host[:port]".
func (h hop) String() string {
	s := h.host
	if h.port != 0 {
		s = net.JoinHostPort(h.host, strconv.Itoa(h.port))
	}
	if h.user != "" {
		s = h.user + "@" + s
	}
	return s
}

// parseJump reads ProxyJump's value, the hops in the order in which they are
// passed. "" and "none" give no hop.
func parseJump(s string) ([]hop, error) {
	if s == "" || strings.EqualFold(s, "none") {
		return nil, nil
	}
	parts := strings.Split(s, ",")
	if len(parts) > maxHops {
		return nil, fmt.Errorf("ProxyJump has more than %d hops", maxHops)
	}
	hops := make([]hop, 0, len(parts))
	for _, p := range parts {
		h, err := parseHop(strings.TrimSpace(p))
		if err != nil {
			return nil, err
		}
		hops = append(hops, h)
	}
	return hops, nil
}

func parseHop(s string) (hop, error) {
	bad := func(what string) (hop, error) {
		return hop{}, fmt.Errorf("ProxyJump %q: %s: want [user@]host[:port]", clean(s, 100), what)
	}
	rest := strings.TrimSuffix(strings.TrimPrefix(s, "ssh://"), "/")
	var h hop
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		h.user, rest = rest[:at], rest[at+1:]
		if !safeName(h.user, "@\\+=") {
			return bad("no usable user")
		}
	}
	h.host = rest
	port := ""
	switch {
	case strings.HasPrefix(rest, "["):
		end := strings.IndexByte(rest, ']')
		if end < 0 {
			return bad("no closing bracket")
		}
		h.host = rest[1:end]
		if tail := rest[end+1:]; tail != "" {
			if tail[0] != ':' {
				return bad("text after the bracket")
			}
			port = tail[1:]
			if port == "" {
				return bad("no port")
			}
		}
	case strings.Count(rest, ":") == 1:
		h.host, port, _ = strings.Cut(rest, ":")
		if port == "" {
			return bad("no port")
		}
	}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return bad("no usable port")
		}
		h.port = int(n)
	}
	if strings.Contains(h.host, ":") {
		if _, err := netip.ParseAddr(h.host); err != nil {
			return bad("no usable host")
		}
	}
	if !safeName(h.host, ":%") {
		return bad("no usable host")
	}
	return h, nil
}
