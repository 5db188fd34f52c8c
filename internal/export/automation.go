package export

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// Automation writes the plan's fan-out steps as runbooks of Systems Manager
// Automation, one for each account, Region and action: the agents of many hosts are upgraded, enabled
// or restarted, and hosts are proved to answer, with rate control. Each runbook comes with a shell
// script that makes the document and starts it. It reaches hosts whose agent answers; an agent that is
// installed first is migrate's matter, over SSH. ErrNothing says that no step of the plan is of that kind.
func Automation(in Input) ([]File, error) {
	w, err := begin(in)
	if err != nil {
		return nil, err
	}
	fans := w.fans()
	if len(fans) == 0 {
		return nil, ErrNothing
	}
	var out []File
	for _, f := range fans {
		text, err := f.runbook()
		if err != nil {
			return nil, err
		}
		name := f.name(w.Plan)
		out = append(out, File{Name: name + ".yaml", Text: text}, File{Name: name + ".sh", Text: f.start(name)})
	}
	return out, nil
}

// fan is one action on many hosts of a place.
type fan struct {
	action string // an AgentAction that needs an agent, or "prove"
	floor  string // version, of an upgrade
	at     fleet.Place
	hosts  []string
	first  string // of the hosts, where the fan is one of several parts
	plan   *plan.Plan
}

// fans groups the plan's steps in the order in which they build on one another.
func (w *work) fans() []*fan {
	var out []*fan
	take := func(action, floor string, hosts []fleet.HostRef) {
		for _, h := range hosts {
			i := slices.IndexFunc(out, func(f *fan) bool { return f.action == action && f.floor == floor && f.at == h.Place() })
			if i < 0 {
				i = len(out)
				out = append(out, &fan{action: action, floor: floor, at: h.Place(), plan: w.Plan})
			}
			if !slices.Contains(out[i].hosts, h.ID) {
				out[i].hosts = append(out[i].hosts, h.ID)
			}
		}
	}
	for _, s := range w.Plan.Of(plan.Agent) {
		if s.Agent.Action != plan.InstallAgent && (s.Handed || !w.Handed) {
			take(string(s.Agent.Action), s.Agent.Floor, s.Hosts)
		}
	}
	for _, s := range w.Plan.Of(plan.WaitFor) {
		if s.Wait.Action == plan.RestartAgent {
			take(string(s.Wait.Action), "", s.Hosts)
		}
	}
	for _, s := range w.Plan.Of(plan.ProveSession) {
		if s.Phase == plan.Prove && !w.Handed {
			take("prove", "", s.Hosts)
		}
	}
	order := []string{string(plan.UpgradeAgent), string(plan.EnableAgent), string(plan.RestartAgent), "prove"}
	slices.SortStableFunc(out, func(a, b *fan) int {
		if c := slices.Index(order, a.action) - slices.Index(order, b.action); c != 0 {
			return c
		}
		return comparePlaces(a.at, b.at)
	})
	return split(out)
}

// mostHosts is how many hosts a runbook names: the content of a document takes
// 64 KB. Source: AWS General Reference, ssm (quotas).
const mostHosts = 1000

// split makes several runbooks of one that would be too large.
func split(fans []*fan) []*fan {
	var out []*fan
	for _, f := range fans {
		if len(f.hosts) <= mostHosts {
			out = append(out, f)
			continue
		}
		for hosts := range slices.Chunk(f.hosts, mostHosts) {
			part := *f
			part.hosts, part.first = hosts, hosts[0]
			out = append(out, &part)
		}
	}
	return out
}

func (f *fan) name(p *plan.Plan) string {
	parts := []string{"migrate", safe(p.ID, "-"), f.action}
	if f.floor != "" {
		parts = append(parts, safe(f.floor, ".-"))
	}
	parts = append(parts, safe(f.at.Account, "-"), safe(f.at.Region, "-"))
	if f.first != "" {
		parts = append(parts, "from", safe(f.first, "-"))
	}
	return strings.Join(parts, "-")
}

// The fields of a runbook. Source: AWS Systems Manager User Guide,
// documents-schemas-features and automation-action-runcommand; AWS Systems Manager
// API Reference, SendCommand.
type runbook struct {
	Description   string               `yaml:"description"`
	SchemaVersion string               `yaml:"schemaVersion"`
	AssumeRole    string               `yaml:"assumeRole"`
	Parameters    map[string]parameter `yaml:"parameters"`
	MainSteps     []runbookStep        `yaml:"mainSteps"`
}

type parameter struct {
	Type           string `yaml:"type"`
	Description    string `yaml:"description"`
	Default        string `yaml:"default"`
	AllowedPattern string `yaml:"allowedPattern,omitempty"`
}

type runbookStep struct {
	Name           string     `yaml:"name"`
	Action         string     `yaml:"action"`
	OnFailure      string     `yaml:"onFailure"`
	TimeoutSeconds int        `yaml:"timeoutSeconds"`
	Inputs         runCommand `yaml:"inputs"`
	IsEnd          bool       `yaml:"isEnd,omitempty"`
}

type runCommand struct {
	DocumentName   string              `yaml:"DocumentName"`
	Comment        string              `yaml:"Comment"`
	Targets        []target            `yaml:"Targets"`
	MaxConcurrency string              `yaml:"MaxConcurrency"`
	MaxErrors      string              `yaml:"MaxErrors"`
	TimeoutSeconds int                 `yaml:"TimeoutSeconds"`
	Parameters     map[string][]string `yaml:"Parameters"`
}

type target struct {
	Key    string   `yaml:"Key"`
	Values []string `yaml:"Values"`
}

// mostTargets is how many values a target takes. Source: AWS Systems Manager API
// Reference, Target.
const mostTargets = 50

// command is the document of a fan and its parameters.
func (f *fan) command() (document string, parameters map[string][]string) {
	shell := func(lines ...string) (string, map[string][]string) {
		return "AWS-RunShellScript", map[string][]string{"commands": lines, "executionTimeout": {"300"}}
	}
	// The agent is a snap on some systems. It must not end while it runs the
	// command that restarts it.
	const unit = `unit=amazon-ssm-agent.service; systemctl cat "$unit" >/dev/null 2>&1 || unit=snap.amazon-ssm-agent.amazon-ssm-agent.service`
	switch plan.AgentAction(f.action) {
	case plan.UpgradeAgent:
		return "AWS-UpdateSSMAgent", map[string][]string{"allowDowngrade": {"false"}}
	case plan.EnableAgent:
		return shell("set -eu", unit, `systemctl enable "$unit"`, `systemctl is-enabled "$unit"`)
	case plan.RestartAgent:
		return shell("set -eu", unit, `systemd-run --on-active=10 systemctl restart "$unit"`)
	}
	return shell("set -eu", "uname -n")
}

var fanText = map[string]string{
	string(plan.UpgradeAgent): "Upgrade the SSM Agent", string(plan.EnableAgent): "Let the SSM Agent start at boot",
	string(plan.RestartAgent): "Restart the SSM Agent", string(plan.InstallAgent): "Install the SSM Agent", "prove": "See that hosts answer Run Command",
}

func (f *fan) runbook() (string, error) {
	what := fmt.Sprintf("%s on %s in account %s, %s (plan %s)", fanText[f.action], fleet.Count(len(f.hosts), "host"), line(f.at.Account), line(f.at.Region), line(f.plan.ID))
	r := runbook{
		Description: what, SchemaVersion: "0.3", AssumeRole: "{{ AutomationAssumeRole }}",
		Parameters: map[string]parameter{
			"AutomationAssumeRole": {Type: "String", Description: "ARN of the role that Automation works as; empty: whoever starts it"},
			"MaxConcurrency":       {Type: "String", Description: "on how many hosts at once, or on which share of them", Default: "10%", AllowedPattern: `^([1-9][0-9]*|[1-9][0-9]%|[1-9]%|100%)$`},
			"MaxErrors":            {Type: "String", Description: "after how many failures no further host is touched", Default: "0", AllowedPattern: `^([1-9][0-9]*|[0]|[1-9][0-9]%|[0-9]%|100%)$`},
		},
	}
	document, parameters := f.command()
	batches := slices.Collect(slices.Chunk(f.hosts, mostTargets))
	for i, hosts := range batches {
		r.MainSteps = append(r.MainSteps, runbookStep{
			Name: fmt.Sprintf("batch%04d", i+1), Action: "aws:runCommand", OnFailure: "Abort", TimeoutSeconds: 7200, IsEnd: i == len(batches)-1,
			Inputs: runCommand{
				DocumentName: document, Comment: "migrate " + f.action, Targets: []target{{"InstanceIds", hosts}},
				MaxConcurrency: "{{ MaxConcurrency }}", MaxErrors: "{{ MaxErrors }}", TimeoutSeconds: 600, Parameters: parameters,
			},
		})
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(r); err != nil {
		return "", fmt.Errorf("write a runbook: %w", err)
	}
	return b.String(), nil
}

// start makes the document where it is missing and starts it.
func (f *fan) start(name string) string {
	var b strings.Builder
	put := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	put("#!/bin/sh")
	put("# %s on %s.", fanText[f.action], fleet.Count(len(f.hosts), "host"))
	put("# Run it beside %s.yaml, with credentials of account %s.", name, line(f.at.Account))
	put("set -eu")
	put("export AWS_PAGER=")
	put("cd \"$(dirname \"$0\")\"")
	put("[ \"$(aws sts get-caller-identity --region %s --query Account --output text)\" = %s ] || { echo 'these credentials belong to another account' >&2; exit 3; }", quote(f.at.Region), quote(f.at.Account))
	put("aws ssm describe-document --region %s --name %s >/dev/null 2>&1 ||", quote(f.at.Region), quote(name))
	put("\taws ssm create-document --region %s --name %s --document-type Automation --document-format YAML --content file://%s.yaml >/dev/null", quote(f.at.Region), quote(name), name)
	put("aws ssm start-automation-execution --region %s --document-name %s --parameters \"MaxConcurrency=${MAX_CONCURRENCY:-10%%},MaxErrors=${MAX_ERRORS:-0}\"", quote(f.at.Region), quote(name))
	return b.String()
}
