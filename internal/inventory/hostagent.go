package inventory

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"ssm-migrate/internal/fleet"
)

const snapFolder = "/snap/"

func (p *parser) agent() {
	s, ok := p.frame["agent"]
	if !ok {
		p.probe.Agent = fleet.Unknown[fleet.HostAgent](sourceAgent, p.at, p.missing)
		return
	}
	binaries := s.all("binary")
	a := fleet.HostAgent{Installed: len(binaries) > 0, Installs: agentInstalls(s), Config: agentConfig(s), SSMUser: p.ssmUser(s)}
	if !a.Installed {
		p.probe.Agent = fleet.Known(a, sourceAgent, p.at)
		return
	}
	a.Proxy = agentProxy(s)
	a.Registration = p.registration(s)
	a.Credentials = p.sharedCredentials(s)
	a.Signs = p.agentSigns(s)
	a.Diagnostics = p.diagnostics()
	for _, r := range s.all("unread") {
		p.gap("agent's environment", r.field(0)+": permission denied")
	}
	unit := chooseUnit(s.all("unit"))
	if unit["LoadState"] == "loaded" || unit["LoadState"] == "masked" {
		a.Unit, a.Active, a.Enabled = unit["Id"], unit["ActiveState"], unit["UnitFileState"]
	}
	bin := binaries[0]
	for _, b := range binaries {
		if strings.HasPrefix(b.field(0), snapFolder) == strings.HasPrefix(a.Unit, "snap.") {
			bin = b
			break
		}
	}
	a.Path, a.Version = bin.field(0), agentVersion(bin.field(1))
	if a.Version == "" {
		p.gap("agent version", "amazon-ssm-agent -version said: "+bin.field(1))
	}
	a.Package = packageOf(a.Path, a.Installs)
	if r, ok := s.first("unitless"); ok {
		p.gap("agent service", "systemctl said: "+r.field(0))
	}
	// Without systemd, the process tells what it can.
	if r, ok := s.first("process"); ok && p.probe.Root {
		a.Active = map[string]string{"yes": "active", "no": "inactive"}[r.field(0)]
	}
	p.probe.Agent = fleet.Known(a, sourceAgent, p.at)
}

// agentVersion takes the version out of "SSM Agent version: 3.3.987.0", which is
// what handleAgentVersionFlag of amazon-ssm-agent prints.
func agentVersion(words string) string {
	_, v, ok := strings.Cut(words, "version: ")
	v = strings.TrimSpace(v)
	if !ok || v == "" || len(v) > 40 || strings.Trim(v, "0123456789.") != "" {
		return ""
	}
	return v
}

// chooseUnit takes the unit that runs, else one that is loaded, else the first.
func chooseUnit(units []record) map[string]string {
	var best map[string]string
	rank := -1
	for _, r := range units {
		u := map[string]string{}
		for _, l := range r.lines {
			if k, v, ok := strings.Cut(l, "="); ok && len(u) < 16 {
				u[clean(k)] = clean(v)
			}
		}
		n := 0
		if u["LoadState"] == "loaded" {
			n = 1
		}
		if u["ActiveState"] == "active" {
			n = 2
		}
		if n > rank {
			best, rank = u, n
		}
	}
	return best
}

// testedServices are those that sessions need always, and those that they need
// for updates, encryption and logging.
var testedServices = append(fleet.Services[:], "s3", "kms", "logs")

func (p *parser) endpoints() {
	s, ok := p.frame["endpoints"]
	if !ok {
		p.probe.Endpoints = fleet.Unknown[[]fleet.EndpointTest](sourceEndpoints, p.at, p.missing)
		return
	}
	tests := []fleet.EndpointTest{}
	records := s.all("endpoint")
	for _, service := range testedServices {
		for _, r := range records {
			if r.field(0) == service {
				tests = append(tests, p.endpointTest(r))
				break
			}
		}
	}
	if len(tests) == 0 {
		p.probe.Endpoints = fleet.Unknown[[]fleet.EndpointTest](sourceEndpoints, p.at, "the host's Region is not known, so neither are its endpoints")
		return
	}
	p.probe.Endpoints = fleet.Known(tests, sourceEndpoints, p.at)
}

// attempt is one endpoint record of the probe.
type attempt struct {
	dns, tool, facts, detail string
	code                     int
	proxy                    bool
}

func (p *parser) endpointTest(r record) fleet.EndpointTest {
	code, err := strconv.Atoi(r.field(5))
	if err != nil {
		code = -1
	}
	a := attempt{dns: r.field(2), tool: r.field(4), code: code, facts: r.field(6), proxy: r.field(7) == "proxy", detail: r.field(9)}
	t := fleet.EndpointTest{Service: r.field(0), Host: r.field(1), Issuer: r.field(8), Detail: a.detail}
	t.Addresses = p.addresses(a, r.field(3))
	source := sourceEndpoints
	if a.tool != "" {
		source = "probe: " + a.tool
	}
	if t.Addresses.Known && len(t.Addresses.Value) == 0 && !a.proxy {
		const why = "the name has no address"
		t.TCP, t.TLS = fleet.Unknown[bool](source, p.at, why), fleet.Unknown[bool](source, p.at, why)
		return t
	}
	tcp, tls := a.judge()
	t.TCP = tcp.fact(source, p)
	if tcp.answer == "no" || tcp.answer == "" && tls.answer == "" {
		tls.reason = "no connection to test on"
	}
	t.TLS = tls.fact(source, p)
	if a.proxy {
		t.Detail = strings.TrimSpace("through the agent's proxy " + t.Detail)
	}
	return t
}

func (p *parser) addresses(a attempt, ips string) fleet.Fact[[]netip.Addr] {
	const source = "probe: getent ahosts"
	addrs := []netip.Addr{}
	words := strings.Fields(ips)
	if a.dns == "none" && a.tool == "curl" {
		// time_connect, time_appconnect, ssl_verify_result, http_code, remote_ip
		if f := strings.Fields(a.facts); len(f) == 5 && !a.proxy {
			words = f[4:]
		}
	}
	for _, w := range words[:min(len(words), 64)] {
		if ip, err := netip.ParseAddr(w); err == nil {
			addrs = append(addrs, ip.Unmap().WithZone(""))
		}
	}
	switch {
	case len(addrs) > 0, a.dns == "2", a.dns == "none" && a.tool == "curl" && a.code == 6:
		return fleet.Known(addrs, source, p.at)
	case a.dns == "124":
		return fleet.Unknown[[]netip.Addr](source, p.at, "the resolver gave no answer in 5 seconds")
	case a.dns == "none":
		return fleet.Unknown[[]netip.Addr](source, p.at, "the host has no getent")
	}
	return fleet.Unknown[[]netip.Addr](source, p.at, "getent ended with code "+a.dns)
}

// outcome is a stage's answer: "yes", "no", or neither for a reason.
type outcome struct{ answer, reason string }

func (o outcome) fact(source string, p *parser) fleet.Fact[bool] {
	if o.answer == "" {
		return fleet.Unknown[bool](source, p.at, o.reason)
	}
	return fleet.Known(o.answer == "yes", source, p.at)
}

var yes, no = outcome{answer: "yes"}, outcome{answer: "no"}

func because(format string, args ...any) outcome {
	return outcome{reason: fmt.Sprintf(format, args...)}
}

// judge turns a tool's exit code and words into the two answers.
func (a attempt) judge() (tcp, tls outcome) {
	switch a.tool {
	case "curl":
		return a.curl()
	case "openssl":
		return a.openssl()
	case "bash", "nc":
		return a.plain(), because("no curl or openssl on the host to test TLS with")
	case "proxy":
		return because("no curl on the host, so the agent's proxy could not be tested"), outcome{}
	}
	if a.dns != "0" && a.dns != "none" {
		return because("the name was not resolved"), outcome{}
	}
	return because("no curl, openssl, bash or nc on the host"), outcome{}
}

// curl reads curl's exit code (curl(1), EXIT CODES) and the times at which the
// connection and the TLS handshake were done, which are zero if they were not.
func (a attempt) curl() (tcp, tls outcome) {
	f := append(strings.Fields(a.facts), "", "", "")
	connected, handshake := positive(f[0]), positive(f[1]) && f[2] == "0"
	unclear := because("curl ended with code %d: %s", a.code, a.detail)
	switch {
	case a.code == 0 || handshake:
		return yes, yes
	case a.code == 6:
		return because("curl could not resolve the name"), outcome{}
	case a.proxy && (a.code == 5 || a.code == 7 || a.code == 56 || a.code == 97):
		return no, outcome{}
	case a.code == 7, a.code == 28 && !connected:
		return no, outcome{}
	case a.code == 35, a.code == 51, a.code == 60:
		return yes, no
	case connected:
		return yes, unclear
	}
	return unclear, outcome{}
}

func positive(s string) bool {
	f, err := strconv.ParseFloat(s, 64)
	return err == nil && f > 0
}

// openssl reads what s_client said. It prints "Verify return code: 0" even
// after a failed handshake, so its exit code must agree.
func (a attempt) openssl() (tcp, tls outcome) {
	verify, connected := strings.CutPrefix(a.facts, "connected")
	verify = strings.TrimSpace(verify)
	switch {
	case connected && a.code == 0 && strings.HasPrefix(verify, "0 "):
		return yes, yes
	case connected && a.code == 124:
		return yes, because("no TLS handshake in 5 seconds")
	case connected && verify != "" && !strings.HasPrefix(verify, "0 "), connected && a.code == 1:
		return yes, no
	case connected:
		return yes, because("openssl ended with code %d: %s", a.code, a.detail)
	case a.code == 124 || strings.Contains(a.detail, "errno"):
		return no, outcome{}
	}
	return because("openssl ended with code %d: %s", a.code, a.detail), outcome{}
}

// plain reads a bare connection attempt by bash or nc.
func (a attempt) plain() outcome {
	switch {
	case a.code == 0:
		return yes
	case a.code == 124, strings.Contains(a.detail, "refused"), strings.Contains(a.detail, "timed out"), strings.Contains(a.detail, "unreachable"):
		return no
	case a.tool == "nc" && a.code == 1 && a.detail == "":
		return no
	}
	return because("%s ended with code %d: %s", a.tool, a.code, a.detail)
}
