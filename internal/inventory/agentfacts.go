package inventory

import (
	"encoding/json"
	"path"
	"strings"

	"ssm-migrate/internal/fleet"
)

// Sources of the facts about the agent that come from elsewhere than its unit.
const (
	sourceRegistration = "probe: the agent's vault"
	sourceCredentials  = "probe: files"
	sourceSigns        = "probe: the agent's log"
	sourceDiagnostics  = "probe: ssm-cli get-diagnostics"
	sourceSSMUser      = "probe: getent passwd, sudo -l -U ssm-user"
	needsRoot          = "only root may see it"
)

const (
	maxDiagnostics = 64
	maxConfig      = 128 << 10
)

// agentInstalls gives every installation that a package manager knows of.
func agentInstalls(s section) []fleet.AgentInstall {
	var list []fleet.AgentInstall
	for _, r := range s.all("install") {
		if len(list) == 8 {
			break
		}
		// Package releases follow a hyphen: 3.3.987.0-1.amzn2023.x86_64.
		version, _, _ := strings.Cut(r.field(1), "-")
		if version == "" && r.field(0) == "snap" {
			for _, b := range s.all("binary") {
				if strings.HasPrefix(b.field(0), snapFolder) {
					version = agentVersion(b.field(1))
				}
			}
		}
		list = append(list, fleet.AgentInstall{Package: r.field(0), Version: version})
	}
	return list
}

func agentProxy(s section) map[string]string {
	var proxy map[string]string
	for _, r := range s.all("proxy") {
		switch name := r.field(0); name {
		case "http_proxy", "https_proxy", "no_proxy":
			if proxy == nil {
				proxy = map[string]string{}
			}
			proxy[name] = withoutPassword(r.field(1))
		}
	}
	return proxy
}

// agentConfig reads amazon-ssm-agent.json. Its keys match without regard to
// case, as in the agent, which uses encoding/json too.
func agentConfig(s section) fleet.AgentConfig {
	r, ok := s.first("config")
	if !ok {
		return fleet.AgentConfig{}
	}
	c := fleet.AgentConfig{File: r.field(1)}
	if r.field(0) != "read" {
		c.Problem = "the login user may not read it"
		return c
	}
	text := strings.Join(r.lines, "\n")
	type endpoint struct{ Endpoint string }
	var v struct {
		Agent struct {
			Region               string
			UseDualStackEndpoint bool
		}
		Ssm, Mgs, Mds, S3, Kms endpoint
	}
	if len(text) > maxConfig {
		c.Problem = "it is larger than 128 KB"
		return c
	}
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		c.Problem = clean("it is no valid JSON: " + err.Error())
		return c
	}
	c.Region, c.DualStack = clean(v.Agent.Region), v.Agent.UseDualStackEndpoint
	for name, e := range map[string]endpoint{"ssm": v.Ssm, "mgs": v.Mgs, "mds": v.Mds, "s3": v.S3, "kms": v.Kms} {
		if host := endpointHost(e.Endpoint); host != "" {
			if c.Endpoints == nil {
				c.Endpoints = map[string]string{}
			}
			c.Endpoints[name] = host
		}
	}
	return c
}

// endpointHost takes the host name out of an endpoint setting, which may be a URL.
func endpointHost(s string) string {
	if _, rest, ok := strings.Cut(s, "://"); ok {
		s = rest
	}
	s, _, _ = strings.Cut(s, "/")
	return clean(s)
}

func (p *parser) registration(s section) fleet.Fact[fleet.Registration] {
	switch r, ok := s.first("registration"); {
	case !ok:
		return fleet.Unknown[fleet.Registration](sourceRegistration, p.at, p.missing)
	case r.field(0) != "read":
		return fleet.Unknown[fleet.Registration](sourceRegistration, p.at, needsRoot)
	default:
		reg := fleet.Registration{}
		if strings.HasPrefix(r.field(1), "mi-") {
			reg = fleet.Registration{ID: r.field(1), Region: r.field(2)}
		}
		return fleet.Known(reg, sourceRegistration, p.at)
	}
}

func (p *parser) sharedCredentials(s section) fleet.Fact[[]string] {
	r, ok := s.first("shared")
	list := []string{}
	for _, c := range s.all("credentials") {
		if len(list) < 16 {
			list = append(list, c.field(0))
		}
	}
	switch {
	case !ok:
		return fleet.Partial(list, sourceCredentials, p.at, p.missing)
	case r.field(0) != "checked":
		return fleet.Partial(list, sourceCredentials, p.at, needsRoot)
	}
	return fleet.Known(list, sourceCredentials, p.at)
}

func (p *parser) agentSigns(s section) fleet.Fact[[]fleet.LogSign] {
	switch r, ok := s.first("signs"); {
	case !ok:
		return fleet.Unknown[[]fleet.LogSign](sourceSigns, p.at, p.missing)
	case r.field(0) != "read":
		return fleet.Unknown[[]fleet.LogSign](sourceSigns, p.at, needsRoot)
	}
	logs := s.all("log")
	if len(logs) == 0 {
		return fleet.Unknown[[]fleet.LogSign](sourceSigns, p.at, "the agent has no log in /var/log/amazon/ssm")
	}
	clock := p.probe.HostTime
	if clock.IsZero() {
		clock = p.at
	}
	var lines [][]string
	for _, r := range logs {
		lines = append(lines, r.lines)
	}
	return fleet.Known(readAgentLog(lines, clock), sourceSigns, p.at)
}

// ssmUser tells of the account ssm-user. That there is one, the list of users says.
func (p *parser) ssmUser(s section) fleet.Fact[fleet.SSMUser] {
	if !p.probe.Users.Known {
		return fleet.Unknown[fleet.SSMUser](sourceSSMUser, p.at, "the host's users are not known: "+p.probe.Users.Reason)
	}
	var u fleet.SSMUser
	for _, a := range p.probe.Users.Value {
		if a.Name == "ssm-user" {
			u.Exists, u.Shell = true, a.Shell
		}
	}
	_, u.Sudoers = s.first("sudoers")
	u.Sudo = p.ssmSudo(s, u.Exists)
	return fleet.Known(u, sourceSSMUser, p.at)
}

func (p *parser) ssmSudo(s section, exists bool) fleet.Fact[bool] {
	const source = "probe: sudo -l -U ssm-user"
	unknown := func(reason string) fleet.Fact[bool] { return fleet.Unknown[bool](source, p.at, reason) }
	r, asked := s.first("sudo")
	switch {
	case !exists:
		return unknown("there is no ssm-user yet: the agent makes it, with its sudo rule, at its first session")
	case !asked:
		return unknown(p.missing)
	case r.field(0) == "denied":
		return unknown(needsRoot)
	case r.field(0) == "none":
		return unknown("no sudo on the host")
	case r.field(0) == "124":
		return unknown("sudo gave no answer in 5 seconds")
	}
	listed := false
	for _, l := range r.lines {
		if mayAll(l) {
			return fleet.Known(true, source, p.at)
		}
		listed = listed || strings.Contains(l, "may run the following commands") || strings.Contains(l, "is not allowed to run sudo")
	}
	if !listed {
		return unknown("sudo said: " + firstWords(r.lines))
	}
	return fleet.Known(false, source, p.at)
}

// mayAll reports whether a line of "sudo -l" lets its user run every command as
// root without a password: "(ALL) NOPASSWD: ALL" or "(ALL : ALL) NOPASSWD: ALL".
func mayAll(line string) bool {
	who, rest, ok := strings.Cut(strings.TrimSpace(line), ")")
	who, whole := strings.CutPrefix(who, "(")
	if !ok || !whole {
		return false
	}
	who, _, _ = strings.Cut(who, ":")
	who = strings.TrimSpace(who)
	if who != "ALL" && who != "root" {
		return false
	}
	free := false
	for _, w := range strings.FieldsFunc(rest, func(r rune) bool { return r == ' ' || r == ',' }) {
		switch w {
		case "NOPASSWD:":
			free = true
		case "PASSWD:":
			free = false
		case "ALL":
			if free {
				return true
			}
		}
	}
	return false
}

// diagnostics reads what "ssm-cli get-diagnostics --output json" printed
// (agent/cli/clicommand/getdiagnostics.go of amazon-ssm-agent). Lines about its
// configuration may go before the JSON text.
func (p *parser) diagnostics() fleet.Fact[[]fleet.Diagnostic] {
	unknown := func(reason string) fleet.Fact[[]fleet.Diagnostic] {
		return fleet.Unknown[[]fleet.Diagnostic](sourceDiagnostics, p.at, reason)
	}
	s, ok := p.frame["diagnostics"]
	said, ran := s.first("said")
	switch {
	case !ok:
		return unknown(p.missing)
	case !ran:
		if _, denied := s.first("denied"); denied {
			return unknown(needsRoot)
		}
		if _, unbounded := s.first("unbounded"); unbounded {
			return unknown("the host has no timeout to run it under")
		}
		return unknown("no ssm-cli next to the agent")
	}
	lines, code := said.lines, ""
	if n := len(lines); n > 0 {
		if c, ok := strings.CutPrefix(lines[n-1], "code "); ok {
			lines, code = lines[:n-1], c
		}
	}
	text := strings.Join(lines, "\n")
	start := strings.IndexByte(text, '{')
	if code == "124" {
		return unknown("ssm-cli gave no answer in 12 seconds")
	}
	if start < 0 {
		return unknown("ssm-cli said: " + firstWords(lines))
	}
	var v struct{ DiagnosticsOutput []fleet.Diagnostic }
	if err := json.NewDecoder(strings.NewReader(text[start:])).Decode(&v); err != nil || len(v.DiagnosticsOutput) == 0 {
		return unknown("ssm-cli's answer is not understood: " + firstWords(lines))
	}
	list := v.DiagnosticsOutput[:min(len(v.DiagnosticsOutput), maxDiagnostics)]
	for i, d := range list {
		list[i] = fleet.Diagnostic{Check: clean(d.Check), Status: clean(d.Status), Note: clean(d.Note)}
	}
	return fleet.Known(list, sourceDiagnostics, p.at)
}

// packageOf is the package that a binary belongs to, of those that are installed.
func packageOf(binary string, installs []fleet.AgentInstall) string {
	if strings.HasPrefix(path.Clean(binary), snapFolder) {
		return "snap"
	}
	for _, i := range installs {
		if i.Package != "snap" {
			return i.Package
		}
	}
	return ""
}
