package simfleet

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// agentPath is where the agent's program lies.
func (m *machine) agentPath() string {
	switch {
	case m.Agent.Package == "snap":
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

// diagnostic is one line of ssm-cli get-diagnostics.
type diagnostic struct{ Check, Status, Note string }

// runAgentCLI is ssm-cli get-diagnostics [--output table|json]; it needs root.
func runAgentCLI(ctx context.Context, p *process) int {
	if len(p.args) < 2 || p.args[1] != "get-diagnostics" {
		p.printf("usage: ssm-cli <subcommand> [parameters]\n")
		return 1
	}
	if !p.cred.root() {
		_, _ = fmt.Fprintln(p.stderr, "get-diagnostics needs to be executed by administrator")
		return 1
	}
	var out []diagnostic
	for _, service := range []string{"ssm", "ec2messages", "ssmmessages"} {
		r := p.egress(service)
		d := diagnostic{"Connectivity to " + service + " endpoint", "Success", r.Host + " is reachable"}
		if !r.TCP {
			if err := p.wait(ctx, time.Second); err != nil {
				return waited(err, 0)
			}
			d.Status, d.Note = "Failed", "Failed to reach "+r.Host+": dial tcp: i/o timeout"
		}
		out = append(out, d)
	}
	service := diagnostic{"Agent service", "Success", "Agent service is running and is running as expected user"}
	if !p.m.Agent.Running {
		service.Status, service.Note = "Failed", "Agent service is not running"
	}
	out = append(out, service, diagnostic{"SSM Agent version", "Success", "SSM Agent version is " + p.m.Agent.Version})
	if o := parseOptions(p.args[2:], "", "output"); len(o.flags["output"]) > 0 && o.flags["output"][0] == "json" {
		b, err := json.MarshalIndent(map[string]any{"DiagnosticsOutput": out}, "", "  ")
		if err != nil {
			return p.fail(1, "%v", err)
		}
		p.printf("%s\n", b)
		return 0
	}
	for _, d := range out {
		p.printf("%-40s %-8s %s\n", d.Check, d.Status, d.Note)
	}
	return 0
}
