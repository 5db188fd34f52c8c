package sshhost

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// target is one machine and how to reach it. It does not change once made.
type target struct {
	label string // the machine in messages
	alias string // the name that ssh_config knows it by: %n
	name  string // host name or address to connect to: %h
	port  int
	users []string

	via     *bastion // nil: no bastion
	command string   // ProxyCommand; empty: none
	opts    *options
	note    string // what the operator should know when it fails

	keyAlias    string // HostKeyAlias
	dialTimeout time.Duration
}

func (t *target) address() string { return net.JoinHostPort(t.name, strconv.Itoa(t.port)) }

// viaNames lists the bastions on the way, outermost first.
func (t *target) viaNames() []string {
	if t.via == nil {
		return nil
	}
	return t.via.names()
}

// names lists by what names an operator's ssh_config may know the host.
func names(h fleet.Host) []string {
	var list []string
	add := func(s string) {
		if safeName(s, ":") && !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	add(h.ID)
	add(h.Tags["Name"])
	for _, a := range []netip.Addr{h.PrivateIP, h.PublicIP} {
		if a.IsValid() {
			add(a.String())
		}
	}
	add(h.PrivateDNS)
	return list
}

// owns reports whether name is an address or DNS name that EC2 lists for the host.
func owns(h fleet.Host, name string) bool {
	if name == "" {
		return false
	}
	if h.PrivateDNS != "" && strings.EqualFold(h.PrivateDNS, name) || name == h.ID {
		return true
	}
	a, err := netip.ParseAddr(name)
	if err != nil {
		return false
	}
	if a == h.PrivateIP || a == h.PublicIP {
		return true
	}
	return slices.ContainsFunc(h.Interfaces, func(i fleet.NetworkInterface) bool {
		return a == i.PrivateIP || a == i.PublicIP || slices.Contains(i.IPv6, a)
	})
}

// target works out how to reach a host of the fleet.
func (c *Client) target(ctx context.Context, h fleet.Host) (*target, error) {
	t := &target{label: clean(h.ID, 40), port: c.cfg.Port, users: c.cfg.Users, dialTimeout: c.cfg.DialTimeout}
	known := names(h)
	if err := c.configure(ctx, t, known, c.ownAddress(h, true)); err != nil {
		return nil, t.fail(ctx, ErrConfig, "", err)
	}
	hops, direct, err := c.jumps(t.opts)
	if err != nil {
		return nil, t.fail(ctx, ErrConfig, "", err)
	}
	t.command = proxyCommand(t.opts)
	if len(hops) > 0 {
		if t.via, err = c.bastion(hops, nil); err != nil {
			return nil, t.fail(ctx, ErrConfig, "", err)
		}
	}
	if err := c.locate(t, h, direct); err != nil {
		return nil, err
	}
	t.label = clean(t.address(), 120)
	return c.shortcut(ctx, t, h)
}

// jumps gives the hops to a host of the fleet; direct says that nothing stands between.
func (c *Client) jumps(o *options) (hops []hop, direct bool, err error) {
	if o.values["proxyjump"] == nil && o.values["proxycommand"] == nil {
		hops, err = parseJump(c.cfg.Jump)
	} else {
		hops, err = parseJump(o.first("proxyjump"))
	}
	return hops, len(hops) == 0 && proxyCommand(o) == "" && c.cfg.Proxy == "", err
}

func proxyCommand(o *options) string {
	if v := o.first("proxycommand"); !strings.EqualFold(v, "none") {
		return v
	}
	return ""
}

// locate decides what address to connect to.
func (c *Client) locate(t *target, h fleet.Host, direct bool) error {
	hostName := t.opts.first("hostname")
	if hostName != "" {
		expanded, err := t.expand(hostName, "", c.env)
		if err != nil {
			return &Error{Kind: ErrConfig, Host: t.label, Detail: "HostName " + err.Error()}
		}
		by := t.opts.by["hostname"]
		if by == "" || by != h.Tags["Name"] || owns(h, expanded) {
			t.name = expanded
			return nil
		}
		t.note = fmt.Sprintf("ssh_config's HostName %s was not used: it is given for the Name tag, which is not unique, and is no address of this instance; name %s in the Host line to use it", clean(expanded, 100), clean(h.ID, 40))
	}
	if by := t.opts.by["proxycommand"]; t.command != "" && by != "" && hostName == "" {
		t.name = by
		return nil
	}
	if t.name = c.ownAddress(h, direct); t.name == "" {
		return &Error{Kind: ErrUnreachable, Host: t.label, Detail: fmt.Sprintf("the instance has no %s address", c.cfg.Address)}
	}
	return nil
}

// ownAddress picks the host's address by Config.Address; "" if it has none.
func (c *Client) ownAddress(h fleet.Host, direct bool) string {
	public := c.cfg.Address == AddressPublic || c.cfg.Address == AddressAuto && direct && h.PublicIP.IsValid()
	switch {
	case public && h.PublicIP.IsValid():
		return h.PublicIP.String()
	case public:
		return ""
	case h.PrivateIP.IsValid():
		return h.PrivateIP.String()
	}
	for _, i := range h.Interfaces {
		if len(i.IPv6) > 0 {
			return i.IPv6[0].String()
		}
	}
	return ""
}

// shortcut reaches a host that is its own bastion the way the bastion is reached.
func (c *Client) shortcut(ctx context.Context, t *target, h fleet.Host) (*target, error) {
	if t.via == nil {
		return t, nil
	}
	b, err := t.via.resolve(ctx)
	if err != nil {
		return nil, t.fail(ctx, ErrConfig, "", err)
	}
	if !owns(h, b.name) && b.address() != t.address() {
		return t, nil
	}
	same := *b
	same.label = t.label
	return &same, nil
}

// hopTarget works out how to reach a bastion. Before are the hops that lead to
// it as written; without any, its own ProxyJump or ProxyCommand counts, except
// for one that leads through a machine on the path from the bastion to the target.
func (c *Client) hopTarget(ctx context.Context, h hop, before []hop, path []string) (*target, error) {
	t := &target{label: clean(h.String(), 120), port: 22, users: c.cfg.Users, dialTimeout: c.cfg.DialTimeout}
	if err := c.configure(ctx, t, []string{h.host}, h.host); err != nil {
		return nil, t.fail(ctx, ErrConfig, "", err)
	}
	if h.port != 0 {
		t.port = h.port
	}
	if h.user != "" {
		t.users = []string{h.user}
	}
	t.name = h.host
	if n := t.opts.first("hostname"); n != "" {
		var err error
		if t.name, err = t.expand(n, "", c.env); err != nil {
			return nil, t.fail(ctx, ErrConfig, "HostName", err)
		}
	}
	if len(before) == 0 {
		var err error
		if before, err = parseJump(t.opts.first("proxyjump")); err != nil {
			return nil, t.fail(ctx, ErrConfig, "", err)
		}
		if slices.ContainsFunc(before, func(b hop) bool { return slices.Contains(path, b.host) }) {
			before = nil
		}
		t.command = proxyCommand(t.opts)
	}
	if len(before) > 0 {
		var err error
		if t.via, err = c.bastion(before, path); err != nil {
			return nil, t.fail(ctx, ErrConfig, "", err)
		}
	}
	return t, nil
}

// configure looks the target up in ssh_config by its names, and takes over
// what does not depend on the way to it. Address stands for it where
// no block singles it out.
func (c *Client) configure(ctx context.Context, t *target, known []string, address string) error {
	o := c.config.lookup(known)
	t.alias = o.alias
	if t.alias == "" {
		t.alias = address
	}
	t.name = t.alias // for %h in HostName
	if o.opaque {
		if err := c.askSSH(ctx, o, t.alias); err != nil {
			return err
		}
	}
	t.opts = o
	if u := o.first("user"); u != "" {
		t.users = []string{u}
	} else if o.lastUser != "" && !slices.Contains(t.users, o.lastUser) {
		t.users = append(slices.Clone(t.users), o.lastUser)
	}
	if p := o.first("port"); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return fmt.Errorf("port %q of ssh_config is no port", clean(p, 20))
		}
		t.port = int(n)
	}
	if s := o.first("connecttimeout"); s != "" && s != "none" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 || n > 3600 {
			return fmt.Errorf("ConnectTimeout %q of ssh_config is no number of seconds up to 3600", clean(s, 20))
		}
		if n > 0 {
			t.dialTimeout = time.Duration(n) * time.Second
		}
	}
	t.keyAlias = o.first("hostkeyalias")
	return nil
}
