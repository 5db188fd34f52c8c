package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
)

// want is what one finding on one host asks for.
type want struct {
	kind Kind
	key  string // of the shared thing that is changed; empty: the host alone
	at   fleet.Place
	code string
	fix  string // the finding's own advice

	action   AgentAction
	role     string // ARN
	grants   []grant
	group    string
	rules    []fleet.Rule
	vpc      string
	services []string
	tables   []string // of a gateway endpoint
}

// sharedFix is a change of something that several hosts share, made once, in
// the foundation.
type sharedFix struct {
	want
	hosts []*member
	codes []string
}

// fixes finds, for each host that takes part and is not ready, the steps that
// prepare it, or refuses it.
func (m *maker) fixes() {
	for _, h := range m.joined() {
		if h.verdict.Verdict == fleet.VerdictReady {
			continue
		}
		wants, missing, why := m.wanted(h)
		if missing != nil {
			m.refuse(h, Prepare, "not-ready", fmt.Sprintf("%s (%s)%s", clip(missing.Title), missing.Code, why), fleet.OneLine(missing.Fix, 600))
			continue
		}
		for _, w := range wants {
			m.take(h, w)
		}
		m.wake(h, wants)
	}
}

// wanted gives what a host's root causes ask for, or the first of them that no
// step answers, and why.
func (m *maker) wanted(h *member) (wants []want, missing *fleet.Finding, why string) {
	if len(h.roots) == 0 {
		return nil, &fleet.Finding{Code: cmp.Or(h.verdict.Cause, "unknown"), Title: "It is " + h.verdict.Verdict.String(), Fix: "take the inventory again"}, ""
	}
	for i := range h.roots {
		f := &h.roots[i]
		got, why := m.answer(h, f)
		if got == nil {
			if m.policy.FixOf(WaitFor) != FixHand {
				return nil, f, why
			}
			got = []want{{kind: WaitFor, code: f.Code, fix: f.Fix}}
		}
		wants = append(wants, got...)
	}
	return wants, nil, ""
}

// answer gives the steps that answer a finding; nil with the reason when there
// are none, or the policy does not want them.
func (m *maker) answer(h *member, f *fleet.Finding) ([]want, string) {
	got, why := m.known(h, f)
	if got == nil {
		if why == "" {
			why = "no step fixes it"
		}
		return nil, ": " + why
	}
	for i := range got {
		if m.policy.FixOf(got[i].kind) == FixNever {
			return nil, ": the policy leaves " + string(got[i].kind) + " out"
		}
		got[i].at, got[i].code, got[i].fix = h.Ref().Place(), f.Code, f.Fix
	}
	return got, ""
}

// known maps findings to kinds of steps.
func (m *maker) known(h *member, f *fleet.Finding) ([]want, string) {
	switch f.Code {
	case "profile-missing":
		return m.credentials(h)
	case "role-lacks-session-actions", "default-role-shut-out":
		return m.extend(h, f.Object, "*", readiness.SessionActions())
	case "kms-decrypt-denied", "log-check-denied", "bucket-check-denied":
		return m.extendForPreferences(h, f.Code)
	case "agent-missing":
		return m.agentPackage(h, f, InstallAgent)
	case "agent-too-old", "agent-below-functional-floor", "agent-below-preferences":
		return m.agentPackage(h, f, UpgradeAgent)
	case "agent-stopped", "agent-disabled":
		return agentWant(h, EnableAgent)
	case "agent-sleeping", "channel-stale", "node-connection-lost", "node-not-connected":
		return agentWant(h, RestartAgent)
	case "group-egress-closed":
		return m.egress(h, f.Object)
	case "endpoint-group-closed":
		return m.intoEndpoint(h, f.Object)
	case "endpoint-missing":
		return m.endpoints(h, m.missingEndpoints(h))
	case "session-target-no-path":
		return m.targets(h)
	case "runas-user-root", "runas-user-unset", "runas-user-missing", "log-group-unverifiable", "bucket-unverifiable", "kms-key-unusable":
		return m.preferences(h)
	}
	return nil, ""
}

// take makes the steps of a want: the host's own at once, a shared one when
// all hosts that need it are known.
func (m *maker) take(h *member, w want) {
	if w.key == "" {
		if s := m.ownStep(h, w); !slices.ContainsFunc(h.prepare, func(x Step) bool { return x.Kind == s.Kind && s.Kind != WaitFor }) {
			h.prepare = append(h.prepare, s)
		}
		return
	}
	key := string(w.kind) + " " + w.key
	f := m.shared[key]
	if f == nil {
		f = &sharedFix{want: w}
		f.grants, f.rules, f.services, f.tables = nil, nil, nil, nil
		m.shared[key] = f
	}
	f.hosts = addOnce(f.hosts, h)
	f.codes = addOnce(f.codes, w.code)
	f.services = addOnce(f.services, w.services...)
	f.tables = addOnce(f.tables, w.tables...)
	for _, g := range w.grants {
		f.grants = addOnce(f.grants, g)
	}
	for _, r := range w.rules {
		if !slices.ContainsFunc(f.rules, r.Same) {
			f.rules = append(f.rules, r)
		}
	}
}

// ownStep is a step on the host alone.
func (m *maker) ownStep(h *member, w want) Step {
	s := Step{Kind: w.kind, Phase: Prepare, Lane: h.ID, At: h.Ref().Place(), Hosts: []fleet.HostRef{h.Ref()}, Why: w.code, Blast: "this host only"}
	if w.action == RestartAgent && m.policy.FixOf(Agent) == FixHand {
		s.Kind = WaitFor // who restarts an agent leaves no trace of it but that it works again
	}
	switch s.Kind {
	case AttachProfile:
		m.attach(h, &s)
	case Agent:
		m.agent(h, w.action, &s)
	default:
		s.Title = fmt.Sprintf("Wait until %s of %s is put right", w.code, h.label())
		s.After = []string{fleet.OneLine(w.fix, 300)}
		s.Wait = &Wait{Code: w.code, For: m.policy.Wait, Action: w.action}
		if w.action != "" {
			s.Title = fmt.Sprintf("Wait until the SSM Agent of %s was restarted", h.label())
			s.After = []string{"restarted by others, connected to Systems Manager"}
		}
	}
	return s
}

// wake restarts an agent after its credentials or its way were put right: it
// may sleep for up to an hour otherwise. Source: aws/amazon-ssm-agent,
// credential refresher and hibernation; AWS Systems Manager User Guide,
// fleet-manager-troubleshooting-managed-nodes.
func (m *maker) wake(h *member, wants []want) {
	slept := slices.ContainsFunc(wants, func(w want) bool {
		switch w.kind {
		case AttachProfile, ExtendRole, DefaultHostManagement, AllowEgress, CreateEndpoint:
			return true
		}
		return false
	})
	agent := slices.ContainsFunc(h.prepare, func(s Step) bool { return s.Kind == Agent || s.Kind == WaitFor })
	if !slept || agent || m.policy.FixOf(Agent) == FixNever || h.Connection.Known && h.Connection.Value == "connected" {
		return
	}
	if got, _ := agentWant(h, RestartAgent); got != nil {
		got[0].code = "agent-sleeping"
		m.take(h, got[0])
	}
}

// prepareOrder puts a host's own steps into the order in which they build on
// one another.
func prepareOrder(a, b Step) int {
	order := []Kind{AttachProfile, Agent, WaitFor, RecoveryKey}
	return cmp.Compare(slices.Index(order, a.Kind), slices.Index(order, b.Kind))
}

// packages are the forms in which the agent comes to a distribution, by
// os-release ID. Source: AWS Systems Manager User Guide,
// manually-install-ssm-agent-linux.
var packages = map[string]string{
	"amzn": "rpm", "rhel": "rpm", "centos": "rpm", "rocky": "rpm", "almalinux": "rpm", "ol": "rpm", "sles": "rpm", "debian": "deb", "ubuntu": "snap",
}

var architectures = map[string]string{"x86_64": "amd64", "arm64": "arm64"}

// agentWant asks for something to be done about the agent, where the host's
// system is one that the agent comes to.
func agentWant(h *member, action AgentAction) ([]want, string) {
	p := h.Probe.Value
	if action != RestartAgent && (packages[p.OS.ID] == "" || architectures[h.Architecture] == "") {
		return nil, "AWS has no agent for " + clip(cmp.Or(p.OS.Name, p.OS.ID, "its system")+" "+h.Architecture)
	}
	if action != InstallAgent && p.Agent.Known && !p.Agent.Value.Installed {
		return nil, "no agent is installed"
	}
	return []want{{kind: Agent, action: action}}, ""
}

// agentPackage asks for a package of the agent, where the host reaches the place
// that it comes from: the snap store, or the Region's bucket. Elsewhere the
// finding's advice begins with that.
func (m *maker) agentPackage(h *member, f *fleet.Finding, action AgentAction) ([]want, string) {
	got, why := agentWant(h, action)
	if got == nil {
		return nil, why
	}
	if reach, from, why := m.packageWay(h); reach == fleet.TruthNo {
		if packageForm(h) != "snap" && m.policy.FixOf(CreateEndpoint) != FixNever {
			if through, _ := m.gateway(h); through != nil {
				return append(through, got...), ""
			}
		}
		f.Fix = fmt.Sprintf("give the host a way to %s, or bring the package to it by another; then %s", from, f.Fix)
		return nil, fmt.Sprintf("its package comes from %s, which the host does not reach: %s", from, clip(why))
	}
	return got, ""
}

// packageWay tells whether a host reaches the place that the agent's package
// comes from, which place that is, and what stops it. A security group that stops
// it does not count where the plan opens it.
func (m *maker) packageWay(h *member) (reach fleet.Truth, from, why string) {
	if packageForm(h) == "snap" {
		from = "the snap store"
		reach, why = m.waysNow().Internet(h.Host)
	} else if m.policy.AgentSource != "" {
		from, why = "the mirror of agent_source", "the inventory does not test it"
	} else {
		from = "S3 bucket amazon-ssm-" + h.Region
		reach, why = m.waysNow().Bucket(h.Host)
	}
	opens := m.policy.FixOf(AllowEgress) != FixNever && slices.ContainsFunc(h.roots, func(f fleet.Finding) bool { return f.Code == "group-egress-closed" })
	if reach == fleet.TruthNo && opens {
		reach = fleet.TruthUnknown
	}
	return reach, from, why
}

// packageForm is the form in which the agent comes to a host: that of the agent
// that it has, else its distribution's.
func packageForm(h *member) string {
	p := h.Probe.Value
	return cmp.Or(p.Agent.Value.Package, packages[p.OS.ID])
}

func (m *maker) agent(h *member, action AgentAction, s *Step) {
	p := h.Probe.Value
	floor := cmp.Or(m.policy.AgentFloor, readiness.DefaultPolicy().FunctionalFloor)
	s.Agent = &AgentChange{
		Action: action, Family: p.OS.ID, Package: packageForm(h), Arch: architectures[h.Architecture],
		Before: agentVersion(h.Host),
	}
	if action == InstallAgent || action == UpgradeAgent {
		s.Agent.Floor = floor
		if folder := s.Agent.Folder(); folder != "" && m.policy.AgentSource != "" {
			s.Agent.Source = mirrorURL(m.policy.AgentSource, h.Region, folder, "amazon-ssm-agent."+s.Agent.Package)
		}
		if reach, from, why := m.packageWay(h); reach == fleet.TruthUnknown {
			s.Warning = fmt.Sprintf("whether the host reaches %s, where the package comes from, is not known: %s", from, clip(why))
		}
	}
	title := map[AgentAction]string{InstallAgent: "Install", UpgradeAgent: "Upgrade", RestartAgent: "Restart", EnableAgent: "Enable and start"}[action]
	s.Title = fmt.Sprintf("%s the SSM Agent on %s", title, h.label())
	have := "no agent"
	if s.Agent.Before != "" {
		have = "agent " + clip(s.Agent.Before)
	} else if p.Agent.Value.Installed {
		have = "an agent that does not tell its version"
	}
	switch state := cmp.Or(p.Agent.Value.Active, "state not known"); action {
	case InstallAgent, UpgradeAgent:
		s.Before, s.After = []string{have}, []string{fmt.Sprintf("agent %s or later (%s), enabled and running", floor, s.Agent.Package)}
		if s.Agent.Source != "" {
			s.After = append(s.After, "from "+s.Agent.Source)
		}
	case EnableAgent:
		s.Before, s.After = []string{have + ", " + clip(state) + ", " + clip(cmp.Or(p.Agent.Value.Enabled, "not known whether enabled"))}, []string{"enabled and running"}
	default:
		s.Before, s.After = []string{have + ", " + clip(state) + ", waits before it tries again"}, []string{"restarted, connected to Systems Manager"}
	}
}

// agentVersion is the agent's version as the host has it, else as Systems
// Manager heard it; empty when neither is known.
func agentVersion(h *fleet.Host) string {
	if a := h.Probe.Value.Agent; h.Probe.Known && a.Known && a.Value.Version != "" {
		return a.Value.Version
	}
	if h.Node.Known {
		return h.Node.Value.AgentVersion
	}
	return ""
}

// runCommand lists the actions that Run Command needs on the host besides those
// of sessions. An agent that is installed or upgraded now will be a recent one.
func runCommand(h *member) []string {
	v := agentVersion(h.Host)
	if below, ok := readiness.Below(v, readiness.RunCommandVersion); !ok || !below {
		return nil
	}
	return readiness.CommandActions()
}

// sharedSteps makes the steps of the foundation that prepare what hosts share.
func (m *maker) sharedSteps() []Step {
	var out []Step
	for _, key := range sortedKeys(m.shared) {
		f := m.shared[key]
		taking := slices.DeleteFunc(slices.Clone(f.hosts), func(h *member) bool { return !h.joins })
		if len(taking) == 0 {
			continue
		}
		s := Step{
			Kind: f.kind, Phase: Prepare, Lane: f.key, At: f.at, Why: strings.Join(f.codes, ", "),
			Hosts: refs(taking),
		}
		switch f.kind {
		case ExtendRole:
			m.roleStep(f, &s)
		case DefaultHostManagement:
			m.settingStep(f, &s)
		case AllowEgress:
			m.rulesStep(f, &s)
		case CreateEndpoint:
			m.endpointStep(f, &s)
		case SessionPreferences:
			m.preferencesStep(f, &s)
		}
		out = append(out, s)
	}
	return out
}

func refs(hosts []*member) []fleet.HostRef {
	out := make([]fleet.HostRef, 0, len(hosts))
	for _, h := range hosts {
		out = append(out, h.Ref())
	}
	return out
}

// beyond tells how many of the hosts that share something are not in the plan.
func beyond(what string, hosts []*member) string {
	out := 0
	for _, h := range hosts {
		if !h.joins {
			out++
		}
	}
	text := fmt.Sprintf("%s %s", what, fleet.Count(len(hosts), "host"))
	if out > 0 {
		text += fmt.Sprintf(", %d of them not in this plan", out)
	}
	return text
}
