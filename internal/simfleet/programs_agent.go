package simfleet

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"time"

	"ssm-migrate/internal/fleet"
)

// agentPath is where a package puts the agent's program.
func (m *machine) agentPath(kind string) string {
	switch {
	case kind == "snap":
		return "/snap/amazon-ssm-agent/current/amazon-ssm-agent"
	case m.OS.Family == "sles":
		return "/usr/sbin/amazon-ssm-agent"
	}
	return "/usr/bin/amazon-ssm-agent"
}

// runAgent is amazon-ssm-agent -version (or --version).
func runAgent(_ context.Context, p *process) int {
	if parseOptions(p.args[1:], "").has("version", "v") {
		p.printf("SSM Agent version: %s\n", p.m.Agent.Version)
		return 0
	}
	_, _ = fmt.Fprintln(p.stderr, "Error occurred fetching the seelog config file path: another instance of the agent is running")
	return 1
}

// runAgentCLI is ssm-cli get-diagnostics [--output table|json]; it needs root.
func runAgentCLI(ctx context.Context, p *process) int {
	if len(p.args) < 2 || p.args[1] != "get-diagnostics" || versionLess(p.m.Agent.Version, firstWithDiagnostics) {
		p.printf("usage: ssm-cli <subcommand> [parameters]\n")
		return 1
	}
	if !p.cred.root() {
		_, _ = fmt.Fprintln(p.stderr, "get-diagnostics needs to be executed by administrator")
		return 1
	}
	d := &diagnosis{p: p}
	if err := d.run(ctx); err != nil {
		return waited(err, 0)
	}
	if v, _ := parseOptions(p.args[2:], "", "output").value("output"); v != "table" {
		b, err := json.MarshalIndent(map[string]any{"DiagnosticsOutput": d.out}, "", "  ")
		if err != nil {
			return p.fail(1, "%v", err)
		}
		p.printf("%s\n", b)
		return 0
	}
	for _, each := range d.out {
		p.printf("│ %-36s │ %-7s │ %s │\n", each.Check, each.Status, each.Note)
	}
	return 0
}

// diagnostic is one line of ssm-cli get-diagnostics.
type diagnostic struct{ Check, Status, Note string }

// diagnosis makes the checks of ssm-cli get-diagnostics, in their order and
// words. Source: agent source, agent/cli/diagnostics.
type diagnosis struct {
	p   *process
	out []diagnostic
}

func (d *diagnosis) add(check, status, format string, args ...any) {
	d.out = append(d.out, diagnostic{check, status, fmt.Sprintf(format, args...)})
}

func (d *diagnosis) run(ctx context.Context) error {
	m := d.p.m
	hybrid := m.Agent.Registration
	metadata := m.metadataReason()
	switch {
	case hybrid != "":
		d.add("EC2 IMDS", "Skipped", "Instance has hybrid registration")
		d.add("Hybrid instance registration", "Success", "Instance has hybrid registration with instance id %s in region %s", hybrid, m.Region.Name)
	case metadata != "":
		if err := d.p.wait(ctx, 2*time.Second); err != nil {
			return err
		}
		d.add("EC2 IMDS", "Failed", "Failed to query IMDS: instance id request timeout")
		d.add("Hybrid instance registration", "Skipped", "Instance does not have hybrid registration")
	default:
		d.add("EC2 IMDS", "Success", "IMDS is accessible and has instance id %s in region %s", m.Host.ID, m.Region.Name)
		d.add("Hybrid instance registration", "Skipped", "Instance does not have hybrid registration")
	}
	known := hybrid != "" || metadata == ""
	if err := d.connectivity(ctx, known); err != nil {
		return err
	}
	d.credentials(known)
	d.service()
	d.proxy()
	// The latest version lies in a bucket; without it the check still succeeds.
	if m.agentEgress("s3").TLS {
		if m.Agent.Version == agentCurrent {
			d.add("SSM Agent version", "Success", "SSM Agent version is %s which is the latest version", m.Agent.Version)
		} else {
			d.add("SSM Agent version", "Success", "SSM Agent version is %s, latest agent version in %s is %s", m.Agent.Version, m.Region.Name, agentCurrent)
		}
		return nil
	}
	d.add("SSM Agent version", "Success", "SSM Agent version is %s", m.Agent.Version)
	return nil
}

// agentEgress asks the world how the agent's connection to a service fares.
func (m *machine) agentEgress(service string) PathResult {
	w := m.hosts.w
	w.Mu.RLock()
	defer w.Mu.RUnlock()
	return w.AgentEgress(m.inst, service)
}

// connectivity dials each endpoint; it does not look at certificates.
func (d *diagnosis) connectivity(ctx context.Context, identified bool) error {
	m := d.p.m
	for _, service := range []string{"ssm", "ec2messages", "ssmmessages", "s3", "kms", "logs", "monitoring"} {
		check := "Connectivity to " + service + " endpoint"
		if !identified {
			d.add(check, "Skipped", "Unable to fetch AWS region details")
			continue
		}
		r := m.agentEgress(service)
		if r.TCP {
			d.add(check, "Success", "%s is reachable", r.Host)
			continue
		}
		patience, note := time.Second, r.Host+" is not reachable: dial tcp: lookup "+r.Host+": i/o timeout"
		if len(r.Addresses) > 0 {
			note = r.Host + " is not reachable: dial tcp " + net.JoinHostPort(r.Addresses[0].String(), "443") + ": i/o timeout"
		}
		if proxyFor(m.Agent.Proxy, "https", r.Host) != "" {
			patience, note = 3*time.Second, "connection timed out for "+r.Host
		}
		if err := d.p.wait(ctx, patience); err != nil {
			return err
		}
		d.add(check, "Failed", "%s", note)
	}
	return nil
}

func (d *diagnosis) credentials(identified bool) {
	const check = "AWS Credentials"
	m := d.p.m
	if !identified {
		d.add(check, "Skipped", "No credentials available")
		return
	}
	w := m.hosts.w
	w.Mu.RLock()
	defer w.Mu.RUnlock()
	who := m.Machine.RootCredentials
	if who == "" {
		r := m.Region.Account.profileRole(m.Host.ProfileARN)
		if byDefault, reason := w.credentials(m.inst); byDefault && reason == "" {
			r = m.Region.defaultRole()
		}
		if r == nil {
			d.add(check, "Failed", "EC2RoleRequestError: no EC2 instance role found")
			return
		}
		who = assumed(r, m)
	}
	if sts := w.AgentEgress(m.inst, "sts"); !sts.TLS {
		d.add(check, "Failed", "STS call timed out")
		return
	}
	expires := m.clock().Add(time.Hour).Truncate(time.Hour)
	d.add(check, "Success", "Credentials are for %s and will expire at %s", who, expires)
}

// assumed is the ARN of the instance's session of a role.
func assumed(r *fleet.Role, m *machine) string {
	return "arn:aws:sts::" + m.Region.Account.ID + ":assumed-role/" + r.Name + "/" + m.Host.ID
}

func (d *diagnosis) service() {
	const check = "Agent service"
	m := d.p.m
	for _, t := range m.tasks() {
		if t.pid == m.agentPID() {
			d.add(check, "Success", "Agent service is running and is running as expected user")
			return
		}
	}
	kind := "a systemctl"
	if m.Agent.Package == "snap" {
		kind = "snap"
	}
	d.add(check, "Failed", "Agent is installed as %s service but is not running", kind)
}

func (d *diagnosis) proxy() {
	const check = "Proxy configuration"
	m := d.p.m
	if len(m.Agent.Proxy) == 0 {
		d.add(check, "Skipped", "No proxy configuration detected")
		return
	}
	note := ""
	for _, name := range []string{"https_proxy", "http_proxy", "no_proxy"} {
		value := m.Agent.Proxy[name]
		if value == "" {
			value = "NULL"
		}
		note += name + ": " + value + " "
	}
	d.add(check, "Success", "Detected proxy configuration: %s", note)
}
