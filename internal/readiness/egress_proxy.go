package readiness

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

const metadataAddress = "169.254.169.254"

// proxyFor is the proxy that the agent goes through for an https endpoint;
// empty: none.
// Source: AWS Systems Manager User Guide, configure-proxy-ssm-agent; Go's
// golang.org/x/net/http/httpproxy, which the agent uses.
func proxyFor(settings map[string]string, name string) string {
	if p := settings["https_proxy"]; p != "" && !withoutProxy(settings["no_proxy"], name) {
		return p
	}
	return ""
}

// withoutProxy reports whether no_proxy exempts a host: by "*", by its name, by
// a domain that it lies under, by its address or by a CIDR block. An entry with
// a port exempts that port only: 443 for names, 80 for the metadata service.
// Source: golang.org/x/net/http/httpproxy, Config.NoProxy.
func withoutProxy(list, host string) bool {
	address, err := netip.ParseAddr(host)
	isAddress := err == nil
	port := "443"
	if host == metadataAddress {
		port = "80"
	}
	for _, entry := range strings.Split(list, ",") {
		entry = strings.ToLower(strings.TrimSpace(entry))
		if entry == "*" {
			return true
		}
		if p, err := netip.ParsePrefix(entry); err == nil {
			if isAddress && p.Contains(address.Unmap()) {
				return true
			}
			continue
		}
		if a, err := netip.ParseAddrPort(entry); err == nil {
			if isAddress && a.Addr() == address && fmt.Sprint(a.Port()) == port {
				return true
			}
			continue
		}
		if a, err := netip.ParseAddr(entry); err == nil {
			if isAddress && a == address {
				return true
			}
			continue
		}
		entry, only, hasPort := strings.Cut(entry, ":")
		if entry == "" || isAddress || hasPort && only != port {
			continue
		}
		domain, under := strings.CutPrefix(strings.TrimPrefix(entry, "*"), ".")
		if inDomain(host, domain) && (!under || canonical(host) != canonical(domain)) && domain != "" {
			return true
		}
	}
	return false
}

// noteProxy remembers a proxy that works for a host of a VPC.
func (n *network) noteProxy(h *fleet.Host) {
	if !h.Probe.Known || !h.Node.Known || h.Node.Value.PingStatus != pingOnline || n.proxies[h.VPC].proxy != "" {
		return
	}
	if a := h.Probe.Value.Agent; a.Known && a.Value.Proxy["https_proxy"] != "" {
		n.proxies[h.VPC] = neighbour{host: h.ID, proxy: a.Value.Proxy["https_proxy"], agent: a}
	}
}

// neighbour is a host whose agent is heard through a proxy.
type neighbour struct {
	host, proxy string
	agent       fleet.Fact[fleet.HostAgent]
}

// closedWays are the stops that a proxy would lead around.
var closedWays = []string{"route-missing", "no-public-address", "endpoint-missing", "firewall-drops", "group-egress-closed", "acl-closed"}

// throughProxy looks at stops and doubts again: where neighbours get through
// by a proxy that this host's agent does not have, the missing setting is the
// cause; where the agent's log tells of a proxy that refuses, the proxy is.
func (e *egressFindings) throughProxy(j *judge) {
	if !j.h.Probe.Known || !j.h.Probe.Value.Agent.Known {
		return
	}
	agent := j.h.Probe.Value.Agent
	a := agent.Value
	if own := a.Proxy["https_proxy"]; own != "" {
		i := slices.IndexFunc(a.Signs.Value, func(s fleet.LogSign) bool { return s.Kind == "proxy" })
		if i < 0 || e.unknown == nil || !j.symptom {
			return
		}
		facts := append([]fleet.Evidence{evidence(a.Signs, "the agent's log: %s", quoted(a.Signs.Value[i].Text))}, e.unknown...)
		e.unknown = nil
		e.stop(stopped{hop: hop{code: "proxy-fails"}, facts: facts, parts: []Part{PartSSM, PartMessages},
			blast: "the proxy serves every host that is set to use it, how many is not known; the agent's setting serves this host alone"})
		return
	}
	other := j.network.proxies[j.h.VPC]
	if other.proxy == "" || !a.Installed {
		return
	}
	for i := range e.stops {
		s := &e.stops[i]
		if !slices.Contains(closedWays, s.code) {
			continue
		}
		s.code, s.object, s.blast = "proxy-missing", "", ""
		s.fix = fmt.Sprintf("give the agent's unit a drop-in with http_proxy and https_proxy %s and no_proxy=%s, as host %s has it, and restart the agent", quoted(other.proxy), metadataAddress, other.host)
		s.undo = "remove the drop-in and restart the agent"
		s.facts = append(s.facts,
			evidence(agent, "the agent's unit has no proxy settings"),
			evidence(other.agent, "host %s of the same VPC, which Systems Manager hears, connects through %s", other.host, quoted(other.proxy)))
	}
	e.merge()
}

// merge joins stops that have become one.
func (e *egressFindings) merge() {
	all := e.stops
	e.stops = nil
	for _, s := range all {
		e.stop(s)
	}
	for i := range e.stops {
		s := &e.stops[i]
		var once []fleet.Evidence
		for _, f := range s.facts {
			if !slices.Contains(once, f) {
				once = append(once, f)
			}
		}
		s.facts = once
	}
}

// metadataProxy judges whether a proxy stands between the agent and the
// instance metadata service, from which it has its identity and credentials.
// It says whether one does.
func (j *judge) metadataProxy() bool {
	if j.heartbeat || !j.h.Probe.Known {
		return false
	}
	agent, test := j.h.Probe.Value.Agent, j.h.Probe.Value.Metadata
	proxy := agent.Value.Proxy["http_proxy"]
	covered := agent.Known && proxy != "" && !withoutProxy(agent.Value.Proxy["no_proxy"], metadataAddress)
	foreign := test.Known && test.Value.Server != "" && !strings.HasPrefix(test.Value.Server, "EC2ws")
	if !foreign && (!covered || !j.symptom) {
		return false
	}
	var facts []fleet.Evidence
	if covered {
		facts = append(facts, evidence(agent, "the agent's http_proxy is %s, and its no_proxy (%s) does not exempt %s", quoted(proxy), quoted(agent.Value.Proxy["no_proxy"]), metadataAddress))
	}
	if foreign {
		facts = append(facts, evidence(test, "%s answered the host as server %s with status %d; EC2's metadata service is EC2ws", metadataAddress, quoted(test.Value.Server), test.Value.Status))
	}
	j.add("proxy-answers-metadata", j.h.ID, "", facts...)
	return true
}
