package cutover

import (
	"context"
	_ "embed" // the key
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// agentKind installs, upgrades, restarts or enables the SSM Agent of a host. An
// older agent does not come back: the undo of an upgrade leaves the newer one.
type agentKind struct{ *hostSide }

// agentSigner is the fingerprint of the key that AWS has signed agent packages
// with since 3.3.4851.0; it expires on 2027-11-25. Source: Systems Manager User
// Guide, "Verifying the signature of the SSM Agent", checked October 2026.
const agentSigner = "1C5B395CBE5E74E2F1CA21592784DBF388D19D46"

// agentKey is that key, as the same page prints it.
//
//go:embed agent_key.asc
var agentKey string

// How long work on an agent may take: a download and a package manager.
const agentTimeout = 10 * time.Minute

// packageURL is where the package comes from: the mirror that the plan names, or
// the place where a Region keeps its newest one. Source: Systems Manager User
// Guide, the pages on installing the agent by hand.
func packageURL(c plan.AgentChange, region string) string {
	folder := c.Folder()
	if folder == "" || c.Source != "" {
		return c.Source
	}
	return fmt.Sprintf("https://s3.%s.%s/amazon-ssm-%s/latest/%s/amazon-ssm-agent.%s", region, fleet.DNSSuffix(region), region, folder, c.Package)
}

func (k agentKind) observe(ctx context.Context, s plan.Step) (hostAgent, error) {
	host, err := k.one(s)
	if err != nil {
		return hostAgent{}, err
	}
	a, err := k.runBySSH(ctx, host, k.script("observe-agent", "observe_agent", time.Minute, nil, "common", "agent"))
	if err != nil {
		return hostAgent{}, err
	}
	return hostAgentOf(a)
}

// job names the work of a step on its host.
func (k agentKind) job(s plan.Step, action string) string {
	return token(k.Plan.Digest, s.ID+" "+action)
}

// Observe holds if the agent is what the step wants: new enough, running and
// enabled; after a restart, restarted by this plan and running.
func (k agentKind) Observe(ctx context.Context, s plan.Step) (Observation, error) {
	if s.Agent == nil {
		return Observation{}, fmt.Errorf("step %s names no agent", s.ID)
	}
	a, err := k.observe(ctx, s)
	if err != nil {
		return Observation{}, err
	}
	o := Observation{Image: image(a), Detail: a.String()}
	switch s.Agent.Action {
	case plan.RestartAgent:
		o.Holds = all(truthOf(a.Result == k.job(s, string(s.Agent.Action))+".done"), a.Running)
	default:
		o.Holds = all(a.atLeast(s.Agent.Floor), a.Running, a.Enabled)
	}
	return o, nil
}

// String is "rpm 3.3.4851.0, running yes, enabled yes".
func (a hostAgent) String() string {
	if a.Form == "" {
		return "no agent"
	}
	text := fmt.Sprintf("%s %s, running %s, enabled %s", a.Form, a.Version, a.Running, a.Enabled)
	if a.Masked != "" {
		text += ", masked"
	}
	return text
}

// atLeast compares versions of up to four numbers.
func (a hostAgent) atLeast(floor string) fleet.Truth {
	if a.Form == "" {
		return fleet.TruthNo
	}
	want, ok := numbers(floor)
	have, known := numbers(a.Version)
	if floor == "" {
		return fleet.TruthYes
	}
	if !ok || !known {
		return fleet.TruthUnknown
	}
	return truthOf(slices.Compare(have[:], want[:]) >= 0)
}

func numbers(version string) (v [4]int, ok bool) {
	parts := strings.Split(version, ".")
	if len(parts) > len(v) {
		return v, false
	}
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 31)
		if err != nil {
			return v, false
		}
		v[i] = int(n)
	}
	return v, true
}

// all is yes if all are, no if one is no.
func all(parts ...fleet.Truth) fleet.Truth {
	out := fleet.TruthYes
	for _, p := range parts {
		if p == fleet.TruthNo {
			return fleet.TruthNo
		}
		if p == fleet.TruthUnknown {
			out = fleet.TruthUnknown
		}
	}
	return out
}

// Apply does the work and waits for its end.
func (k agentKind) Apply(ctx context.Context, s plan.Step, _ json.RawMessage, _ string) (json.RawMessage, error) {
	if s.Agent == nil {
		return nil, fmt.Errorf("step %s names no agent", s.ID)
	}
	a, err := k.work(ctx, s, string(s.Agent.Action), nil)
	if err != nil {
		return nil, err
	}
	return image(a), nil
}

// agentVars are what the scripts that work on an agent find set.
func (h *hostSide) agentVars(c *plan.AgentChange, action, region string) hostVars {
	return hostVars{
		{"ACTION", action}, {"PACKAGE", c.Package}, {"URL", packageURL(*c, region)}, {"FLOOR", c.Floor}, {"SIGNING_KEY", h.SigningKey}, {"SIGNER", h.Signer},
	}
}

// work begins work on the host's agent and looks until it has ended. The agent
// may go away meanwhile, and with it the way by which it was begun.
func (k agentKind) work(ctx context.Context, s plan.Step, action string, more hostVars) (hostAgent, error) {
	host, err := k.one(s)
	if err != nil {
		return hostAgent{}, err
	}
	job := k.job(s, action)
	vars := append(k.agentVars(s.Agent, action, host.Region), append(hostVars{{"JOB", job}}, more...)...)
	script := k.script(action+"-agent", "change_agent", time.Minute, hostVars{{"JOB", job}}, "common", "agent")
	script.Text = k.saved("work_script", "work", vars, "common", "agent", "agentwork") + script.Text
	if _, err := k.runBySSH(ctx, host, script); err != nil {
		return hostAgent{}, fmt.Errorf("%s the agent: %w", action, err)
	}
	ctx, cancel := context.WithTimeout(ctx, agentTimeout)
	defer cancel()
	for pause := firstPause; ; pause = min(pause*3/2, lastPause/2) {
		if err := sleep(ctx, pause); err != nil {
			return hostAgent{}, fmt.Errorf("%s the agent: it was begun, and no end is seen: %w", action, err)
		}
		a, err := k.observe(ctx, s)
		if err != nil {
			continue // the way may be the agent's own
		}
		rest, ours := strings.CutPrefix(a.Result, job+".")
		switch {
		case ours && rest == "done":
			return a, nil
		case ours && strings.HasPrefix(rest, "failed"):
			return a, fmt.Errorf("%s the agent: %w", action, errors.New(strings.TrimSpace(strings.TrimPrefix(rest, "failed"))))
		}
	}
}

// Undo removes an agent that was installed, and stops and disables one that was
// stopped or disabled.
func (k agentKind) Undo(ctx context.Context, s plan.Step, before, _ json.RawMessage, _ string) error {
	var was hostAgent
	if err := readImage(before, &was); err != nil || s.Agent == nil || len(before) == 0 {
		return err
	}
	action, vars := k.back(s, was)
	if action == "" {
		return nil
	}
	if _, err := k.work(ctx, s, action, vars); err != nil {
		return err
	}
	return nil
}

// back tells what takes a step on an agent back; empty: nothing does, or need.
func (k agentKind) back(s plan.Step, was hostAgent) (action string, vars hostVars) {
	switch {
	case s.Agent.Action == plan.RestartAgent:
		return "", nil
	case was.Form == "":
		return "remove", nil
	case was.Running == fleet.TruthNo || was.Enabled == fleet.TruthNo:
		return "back", hostVars{{"WAS_RUNNING", was.Running.String()}, {"WAS_ENABLED", was.Enabled.String()}, {"WAS_MASKED", was.Masked}}
	}
	return "", nil
}

// Undone holds if the agent is away, stopped or disabled as it was before. A
// newer version stays.
func (k agentKind) Undone(ctx context.Context, s plan.Step, before, _ json.RawMessage, _ string) (Observation, error) {
	var was hostAgent
	if err := readImage(before, &was); err != nil {
		return Observation{}, err
	}
	if s.Agent == nil || len(before) == 0 {
		return Observation{Holds: fleet.TruthYes, Detail: "nothing to take back"}, nil
	}
	action, _ := k.back(s, was)
	if action == "" {
		return Observation{Holds: fleet.TruthYes, Detail: "the agent stays as it is"}, nil
	}
	a, err := k.observe(ctx, s)
	if err != nil {
		return Observation{}, err
	}
	o := Observation{Image: image(a), Detail: a.String()}
	if action == "remove" {
		o.Holds = truthOf(a.Form == "")
	} else {
		o.Holds = all(truthOf(was.Running != fleet.TruthNo || a.Running == fleet.TruthNo), truthOf(was.Enabled != fleet.TruthNo || a.Enabled == fleet.TruthNo), truthOf(was.Masked == a.Masked))
	}
	return o, nil
}
