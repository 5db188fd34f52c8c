package simfleet

import (
	"encoding/json"
	"maps"
	"path"
	"slices"
	"strings"
)

// agent makes what the packages of the SSM Agent and the agent itself put on disk.
func (b *baseBuilder) agent() {
	m := b.m
	for name, text := range m.unitFiles() {
		b.text(name, 0o644, text)
	}
	if !m.Agent.Installed {
		return
	}
	for _, kind := range m.agentPackages() {
		b.agentPackage(kind)
	}
	b.dir(agentLogs, 0o755, 0, 0)
	b.dir(agentData, 0o755, 0, 0)
	b.agentState()
	for _, name := range []string{"amazon-ssm-agent.log", "errors.log"} {
		b.lazy(path.Join(agentLogs, name), 0o600, 0, func() []byte { return m.agentLog(name) })
		b.nodes[path.Join(agentLogs, name)].mtime = m.clock()
	}
}

// agentPackages names the packages that installed the agent on the machine
// itself; none where it runs in a container.
func (m *machine) agentPackages() []string {
	switch {
	case !m.Agent.Installed || m.Machine.Container:
		return nil
	case m.Agent.Second == "":
		return []string{m.Agent.Package}
	}
	return []string{m.Agent.Package, m.Agent.Second}
}

var agentPrograms = []string{"amazon-ssm-agent", "ssm-cli", "ssm-agent-worker", "ssm-session-worker"}

func (b *baseBuilder) agentPackage(kind string) {
	if kind == "snap" {
		b.link("/snap/amazon-ssm-agent/current", "x1")
		for _, name := range agentPrograms {
			b.binary("/snap/amazon-ssm-agent/x1/"+name, name)
		}
		b.link("/snap/bin/amazon-ssm-agent.ssm-cli", "../amazon-ssm-agent/current/ssm-cli")
		return
	}
	dir := path.Dir(b.m.agentPath(kind))
	for _, name := range agentPrograms {
		b.binary(path.Join(dir, name), name)
	}
	b.text("/etc/amazon/ssm/amazon-ssm-agent.json.template", 0o644, "{}\n")
	if kind == "deb" {
		b.text("/var/lib/dpkg/info/amazon-ssm-agent.list", 0o644, "/.\n/usr\n/usr/bin\n/usr/bin/amazon-ssm-agent\n/usr/bin/ssm-cli\n")
	}
}

// agentState makes configuration, registration and credentials. Forms and modes
// are those of the agent's source: core/agent_parser.go, fsvault.go,
// instance_info.go.
func (b *baseBuilder) agentState() {
	m := b.m
	if m.Agent.Config != "" {
		b.text("/etc/amazon/ssm/amazon-ssm-agent.json", 0o600, m.Agent.Config)
	}
	if id := m.Agent.Registration; id != "" {
		region := m.Region.Name
		vault := agentData + "/Vault"
		b.dir(vault, 0o700, 0, 0)
		b.dir(vault+"/Store", 0o700, 0, 0)
		b.json(agentData+"/registration", map[string]string{"ManagedInstanceID": id, "Region": region})
		b.json(vault+"/Manifest", map[string]string{"RegistrationKey": vault + "/Store/RegistrationKey"})
		b.json(vault+"/Store/RegistrationKey", map[string]string{"instanceID": id, "region": region, "instanceType": "", "availabilityZone": "",
			"privateKey": "MIIEowIBAAKCAQEA", "publicKey": "", "privateKeyType": "Rsa", "privateKeyCreatedDate": b.since.Format("2006-01-02 15:04:05.999999999 -0700 MST")})
	}
	if m.Machine.RootCredentials != "" {
		// The keys are those of AWS's documentation.
		b.dir(path.Dir(rootCredentials), 0o700, 0, 0)
		b.text(rootCredentials, 0o600, "[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n")
	}
	if _, ok := m.ssmUser(); ok && m.Machine.SSMUser == SSMUserByAgent {
		b.text(ssmUserSudoers, 0o440, "# User rules for ssm-user\nssm-user ALL=(ALL) NOPASSWD:ALL\n")
	}
}

// json writes a file that only root may read.
func (b *baseBuilder) json(name string, value any) {
	data, err := json.Marshal(value)
	if err != nil {
		panic("simfleet: writing " + name + ": " + err.Error()) // maps of strings always work
	}
	b.file(name, 0o600, 0, 0, data)
}

// proxyDropIn is the drop-in that gives the agent's unit its proxy; empty without one.
func (m *machine) proxyDropIn() string {
	if len(m.Agent.Proxy) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("[Service]\n")
	for _, name := range slices.Sorted(maps.Keys(m.Agent.Proxy)) {
		b.WriteString("Environment=\"" + name + "=" + m.Agent.Proxy[name] + "\"\n")
	}
	return b.String()
}

// proxyEnvironment is the proxy as "systemctl show" prints the unit's environment.
func (m *machine) proxyEnvironment() string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(m.Agent.Proxy)) {
		out = append(out, name+"="+m.Agent.Proxy[name])
	}
	return strings.Join(out, " ")
}
