package simfleet

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// AgentEgress is EgressTo as the agent meets it: by the proxy of its unit where
// it has one, and with the trust store of its machine. The caller holds w.Mu,
// at least for reading.
func (w *World) AgentEgress(in *Instance, service string) PathResult {
	return w.egressBy(in, service, in.Agent.Proxy)
}

// egressBy is AgentEgress for a program with its own proxy variables.
func (w *World) egressBy(in *Instance, service string, env map[string]string) PathResult {
	p := w.EgressTo(in, service)
	if proxy := proxyFor(env, "https", p.Host); proxy != "" {
		p = in.byProxy(proxy, PathResult{Service: p.Service, Host: p.Host})
	}
	if p.TLS && in.Machine.NoRootCA {
		p.TLS = false
		p.Reason = "certificate signed by unknown authority: Amazon Root CA 1 is not in the host's trust store"
	}
	return p
}

// byProxy fills in what becomes of a connection by a proxy. Only the proxy of
// the VPC answers, and it gets everywhere.
func (in *Instance) byProxy(proxy string, p PathResult) PathResult {
	address, port := proxyAddress(proxy)
	if address == "" || in.Region.Proxies[in.Host.VPC] != net.JoinHostPort(address, strconv.Itoa(port)) {
		p.Reason = "nobody answers at the proxy " + proxy
		return p
	}
	if a, err := netip.ParseAddr(address); err == nil && !in.Region.groupsAllow(in.Host.Groups, true, port, a, nil) {
		p.Reason = "the security groups let nothing out to the proxy " + proxy
		return p
	}
	if PublicAddresses(p.Service, in.Region.Name) == nil {
		p.Reason = "no such name"
		return p
	}
	p.TCP, p.TLS, p.Issuer = true, true, amazonIssuer
	return p
}

// proxyAddress splits a proxy's URL, whose scheme may be missing, into host and
// port; the host is empty when it is none.
func proxyAddress(proxy string) (host string, port int) {
	if !strings.Contains(proxy, "://") {
		proxy = "http://" + proxy
	}
	u, err := url.Parse(proxy)
	if err != nil {
		return "", 0
	}
	port, err = strconv.Atoi(u.Port())
	if err != nil {
		port = 80
	}
	return u.Hostname(), port
}
