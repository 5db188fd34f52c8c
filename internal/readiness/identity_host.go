package readiness

import (
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// metadata judges whether the agent gets at the instance metadata service,
// which tells it who it is and gives it its credentials.
func (j *judge) metadata() {
	if j.h.Metadata.Endpoint == "disabled" {
		if !j.heartbeat {
			j.addHere("imds-disabled", "", j.origin(), j.ec2("the instance metadata endpoint is disabled"))
		}
		return
	}
	m := j.h.Probe.Value.Metadata
	if !j.h.Probe.Known || !m.Known || m.Value.Reachable && (m.Value.Tokens || j.h.Metadata.Tokens != "required") {
		return
	}
	if s := m.Value.Server; m.Value.Reachable && s != "" && !strings.HasPrefix(s, metadataServer) {
		return // a proxy's answer has a finding of its own
	}
	code := "imds-unreachable"
	if j.heartbeat {
		code = "imds-unreachable-connected"
	}
	what := "the instance metadata service did not answer the host"
	if m.Value.Reachable {
		what = "the instance metadata service gave the host no IMDSv2 token"
	}
	j.addHere(code, "", hostOnly, evidence(m, "%s%s", what, because(m.Value.Detail)),
		j.ec2("the metadata options are endpoint %s, tokens %s, hop limit %d", quoted(j.h.Metadata.Endpoint), quoted(j.h.Metadata.Tokens), j.h.Metadata.HopLimit))
}

// metadataServer begins the Server header of EC2's metadata service.
const metadataServer = "EC2ws"

// registration looks for a hybrid activation that was left behind, for example
// in an image: the agent then registers as another node than the instance.
func (j *judge) registration() {
	if agent := j.h.Probe.Value.Agent; j.h.Probe.Known && agent.Known && agent.Value.Registration.Known {
		r := agent.Value.Registration
		if r.Value.ID == "" {
			return
		}
		code := "hybrid-registration"
		if j.heartbeat {
			code = "hybrid-registration-connected"
		}
		facts := []fleet.Evidence{evidence(r, "the agent is registered as %s%s", quoted(r.Value.ID), inRegion(r.Value.Region))}
		for _, n := range j.r.HybridNodes {
			if n.ID == r.Value.ID {
				facts = append(facts, evidence(j.r.Nodes, "Systems Manager lists %s as %s", n.ID, quoted(n.PingStatus)))
			}
		}
		j.addHere(code, "", hostOnly, facts...)
		return
	}
	if j.heartbeat || !j.h.Node.Known || j.h.PrivateDNS == "" {
		return
	}
	short, _, _ := strings.Cut(j.h.PrivateDNS, ".")
	for _, n := range j.r.HybridNodes {
		if strings.EqualFold(n.ComputerName, j.h.PrivateDNS) || strings.EqualFold(n.ComputerName, short) {
			j.addHere("hybrid-registration-suspected", "", hostOnly, evidence(j.r.Nodes, "hybrid node %s has the host's name %s", n.ID, quoted(n.ComputerName)))
			return
		}
	}
}

func inRegion(name string) string {
	if name == "" {
		return ""
	}
	return " in " + quoted(name)
}

// credentialsFile looks for a shared credentials file, which goes before the
// instance profile, and reports whether there is one.
// Source: AWS Systems Manager User Guide, ssm-agent-technical-details.
func (j *judge) credentialsFile() bool {
	agent := j.h.Probe.Value.Agent
	if !j.h.Probe.Known || !agent.Known || !agent.Value.Credentials.Known || len(agent.Value.Credentials.Value) == 0 {
		return false
	}
	code := "credentials-file"
	switch {
	case j.connected && j.h.Node.Value.IAMRole == "" && j.settled() < len(sessionActions):
		code = "credentials-file-unproved"
	case j.heartbeat:
		code = "credentials-file-connected"
	}
	files := make([]string, len(agent.Value.Credentials.Value))
	for i, f := range agent.Value.Credentials.Value {
		files[i] = quoted(f)
	}
	fix := fmt.Sprintf("move %s away, so that the agent uses its role (mv FILE FILE.before-ssm); give what else uses it a profile of another user; then restart the agent", strings.Join(files, ", "))
	j.addHere(code, fix, "this host only; every program of root's that uses the file", evidence(agent.Value.Credentials, "the agent prefers the credentials in %s to those of its role", strings.Join(files, ", ")))
	return true
}

// commandsChange warns where documents and associations call AWS: under
// Default Host Management Configuration they do so with the default role, not
// with the profile's.
func (j *judge) commandsChange(own, used credentials) {
	if own.kind != fromRole || used.kind != fromRole {
		return
	}
	lost := own.role.beyond(used.role)
	if lost == nil {
		return
	}
	const most = 6
	more := ""
	if n := len(lost) - most; n > 0 {
		lost, more = lost[:most], fmt.Sprintf(" and %d more", n)
	}
	facts := []fleet.Evidence{
		evidence(j.h.Node, "the agent runs under role %s of Default Host Management Configuration", quoted(j.h.Node.Value.IAMRole)),
		evidence(own.role.account.Roles, "the profile's role %s allows what that role does not: %s%s", own.role.role.Name, strings.Join(lost, ", "), more),
	}
	if a := j.h.Node.Value.Association; a != "" {
		facts = append(facts, evidence(j.h.Node, "associations run on the host, the last with status %s", quoted(a)))
	}
	j.findings = append(j.findings, found("default-role-runs-commands", j.h.ID, own.role.role.ARN, "", own.role.blast(), facts))
}

// beyond lists what a role allows and another is known not to, as its
// policies have it. The agent's own services are left out.
func (v *roleView) beyond(other *roleView) []string {
	key := other.role.ARN
	if lost, ok := v.beyondMemo[key]; ok {
		return lost
	}
	var lost []string
	for i := range v.may.identity {
		for k := range v.may.identity[i].doc.statements {
			s := &v.may.identity[i].doc.statements[k]
			if !s.allow || s.notAction || s.notResource {
				continue
			}
			for _, action := range s.actions {
				if service, _, _ := strings.Cut(action, ":"); slices.Contains(channelServices, service) {
					continue
				}
				// A pattern stands for itself here: who allows it allows all that it means.
				if len(s.resources) > 0 && other.may.decide(action, s.resources[0].text, requestContext{other.context}).allowed == no {
					lost = append(lost, action)
				}
			}
		}
	}
	slices.Sort(lost)
	lost = slices.Compact(lost)
	v.beyondMemo[key] = lost
	return lost
}

// serves says what a role is for besides Systems Manager, by the policies that
// allow it and the services that they are about; empty: nothing.
func (v *roleView) serves() string {
	if v.servesMemo != nil {
		return *v.servesMemo
	}
	var policies, services []string
	for i := range v.may.identity {
		p := &v.may.identity[i]
		var beyond bool
		var about []string
		for k := range p.doc.statements {
			s := &p.doc.statements[k]
			if !s.allow || s.notAction {
				continue
			}
			for _, a := range s.actions {
				service, _, _ := strings.Cut(a, ":")
				beyond = beyond || !slices.Contains(agentServices, service)
				about = append(about, service)
			}
		}
		if beyond {
			policies, services = append(policies, p.name), append(services, mainServices(about)...)
		}
	}
	slices.Sort(services)
	text := ""
	if policies != nil {
		text = fmt.Sprintf("has %s, which is about %s", few(policies), few(slices.Compact(services)))
	}
	v.servesMemo = &text
	return text
}

// mainServices are those that a policy is about besides an agent's own. AWS's
// policies for S3 name S3 Object Lambda as well, and mean S3.
func mainServices(about []string) []string {
	var out []string
	for _, service := range about {
		if service == "s3-object-lambda" {
			service = "s3"
		} else if slices.Contains(agentServices, service) {
			continue
		}
		out = append(out, strings.Replace(service, "*", "any service", 1))
	}
	return out
}

// few lists the first of many.
func few(all []string) string {
	const most = 8
	if n := len(all) - most; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:most], ", "), n)
	}
	return strings.Join(all, ", ")
}

// channelServices are those by which an agent is managed.
var channelServices = []string{"ssm", "ssmmessages", "ec2messages"}

// agentServices are those that an agent itself uses, for commands, sessions,
// their logs and its updates.
var agentServices = []string{"ssm", "ssmmessages", "ec2messages", "logs", "kms", "s3", "cloudwatch", "ec2", "ds"}

// commands judges Run Command and State Manager, which the move uses too.
// Agents before 3.3.40.0 get their commands by ec2messages.
func (j *judge) commands() {
	if j.role == nil {
		return
	}
	modern, _ := parseVersion(ec2messagesVersion)
	if v, known, from := j.version(); known && v.below(modern) {
		j.lackingExtra("run-command-denied", commandActions[:], from)
	}
	if n := j.h.Node; n.Known && n.Value.Association != "" && n.Value.Association != "Success" {
		j.lackingExtra("state-manager-denied", associationActions[:], evidence(n, "the status of the host's associations is %s", quoted(n.Value.Association)))
	}
}

// lackingExtra reports actions that the role is known not to be allowed.
func (j *judge) lackingExtra(code string, actions []string, why fleet.Evidence) {
	gap := newGap(j.role)
	for _, action := range actions {
		if d := j.iam.ask(j.role, j.h, action, "*"); d.allowed == no {
			gap.add(action, d, j.decided(j.role, action, d))
		}
	}
	if gap.any() {
		facts := append(gap.facts(), why)
		j.findings = append(j.findings, found(code, j.h.ID, j.role.role.ARN, gap.fix(), j.role.blast(), facts))
	}
}

// commandActions are what an agent before 3.3.40.0 needs for Run Command.
// Source: AWS managed policy AmazonSSMManagedInstanceCore; AWS Systems Manager
// User Guide, systems-manager-setting-up-messageAPIs.
var commandActions = [...]string{
	"ec2messages:AcknowledgeMessage", "ec2messages:DeleteMessage", "ec2messages:FailMessage",
	"ec2messages:GetEndpoint", "ec2messages:GetMessages", "ec2messages:SendReply",
}

// associationActions are what an agent needs for associations.
// Source: AWS managed policy AmazonSSMManagedInstanceCore.
var associationActions = [...]string{
	"ssm:DescribeAssociation", "ssm:GetDocument", "ssm:ListAssociations", "ssm:ListInstanceAssociations",
	"ssm:UpdateAssociationStatus", "ssm:UpdateInstanceAssociationStatus",
}
