package readiness

import (
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// Words of ssm:DescribeInstanceInformation and ssm:GetConnectionStatus.
// Source: AWS Systems Manager API Reference.
const (
	pingOnline         = "Online"
	pingConnectionLost = "ConnectionLost"
	pingInactive       = "Inactive"
	statusConnected    = "connected"
	statusNotConnected = "notconnected"
)

// node judges what Systems Manager says of the host, and so what needs no
// further proof.
func (j *judge) node() {
	node, connection := j.h.Node, j.h.Connection
	if !node.Known {
		j.add("node-unknown", j.h.ID, "", evidence(node, "whether it is a managed node is not known%s", because(node.Reason)))
		return
	}
	n := node.Value
	link := connection.Value
	if !connection.Known {
		link = ""
	}
	switch {
	case !n.Registered:
		j.symptom = true
		j.add("node-not-registered", j.h.ID, "", evidence(node, "Systems Manager listed its managed nodes in full, and the instance is not among them"))
	case n.PingStatus == pingOnline:
		j.heartbeat = true
		j.online(link, connection)
	case n.PingStatus != pingConnectionLost && n.PingStatus != pingInactive:
		j.add("node-unknown", j.h.ID, "", evidence(node, "PingStatus is %s", quoted(n.PingStatus)))
	case link == statusConnected:
		j.add("node-disagreement", j.h.ID, "", j.lastPing(), evidence(connection, "connection status is connected"))
	default:
		j.symptom = true
		j.add("node-connection-lost", j.h.ID, "", j.lastPing())
	}
}

func (j *judge) online(link string, connection fleet.Fact[string]) {
	switch link {
	case statusConnected:
		j.connected = true
	case statusNotConnected:
		j.symptom = true
		j.add("node-not-connected", j.h.ID, "", j.lastPing(), evidence(connection, "connection status is notconnected"))
	default:
		reason := connection.Reason
		if connection.Known {
			reason = "the answer was " + quoted(connection.Value)
		}
		j.add("connection-unknown", j.h.ID, "", j.lastPing(), evidence(connection, "connection status is not known%s", because(reason)))
	}
}

func (j *judge) lastPing() fleet.Evidence {
	n := j.h.Node.Value
	if n.LastPing.IsZero() {
		return evidence(j.h.Node, "PingStatus is %s", quoted(n.PingStatus))
	}
	return evidence(j.h.Node, "PingStatus is %s, last heartbeat %s", quoted(n.PingStatus), n.LastPing.UTC().Format("2006-01-02 15:04:05Z"))
}

// unexplained looks at what no finding explains yet. It comes after all others.
func (j *judge) unexplained() {
	j.diagnostics()
	j.staleChannel()
}

// checks are those of ssm-cli get-diagnostics that a session needs, and the
// parts of its way that each tests, what it is about first. The credentials are
// tried on STS, over the network. The other endpoints may fail harmlessly.
// Source: AWS Systems Manager User Guide, ssm-cli.
var checks = map[string][]Part{
	"EC2 IMDS":                             {PartMetadata},
	"Connectivity to ssm endpoint":         {PartSSM},
	"Connectivity to ssmmessages endpoint": {PartMessages},
	"AWS Credentials":                      {PartCredentials, PartSSM, PartMessages, PartTrust},
	"Agent service":                        {PartAgent},
}

// diagnostics reports the agent's own checks that failed where no finding
// says why. What Systems Manager shows to work needs no check.
func (j *judge) diagnostics() {
	if p := j.h.Probe; !p.Known || !p.Value.Agent.Known || j.connected {
		return
	}
	all := j.h.Probe.Value.Agent.Value.Diagnostics
	var failed []Part
	var facts []fleet.Evidence
	for _, d := range all.Value {
		tested := checks[d.Check]
		if tested == nil || d.Status != "Failed" || onlySTS(d) || j.heartbeat && tested[0] != PartMessages || j.explained(tested) {
			continue
		}
		failed = append(failed, tested[0])
		facts = append(facts, evidence(all, "check %s failed: %s", quoted(d.Check), quoted(d.Note)))
	}
	if !all.Known || facts == nil {
		return
	}
	j.add("diagnostics-failed", j.h.ID, "", facts...)
	j.concerns("diagnostics-failed", "", failed...)
}

// onlySTS reports whether a check of the credentials failed for want of a way
// to STS. No session needs that endpoint, and nothing was learned of the
// credentials. Source: amazon-ssm-agent, agent/cli/diagnostics/credentials_check.go.
func onlySTS(d fleet.Diagnostic) bool {
	return d.Check == "AWS Credentials" && (d.Note == "STS call timed out" || strings.HasPrefix(d.Note, "Failed call sts endpoint: RequestError"))
}

// explained reports whether a finding of SeverityBlocks breaks one of the parts
// or one that they need.
func (j *judge) explained(tested []Part) bool {
	rests := setOf(tested).rests()
	for i := range j.findings {
		if f := &j.findings[i]; f.Severity == fleet.SeverityBlocks && j.breaks(f)&rests != 0 {
			return true
		}
	}
	return false
}

// strays counts, for each Region, the managed nodes that are no instance that
// EC2 lists, and so what makes the counts of the two differ beyond what the
// findings on hosts tell.
func (a *assessor) strays() []fleet.Finding {
	running, registered := map[*fleet.Region]int{}, map[*fleet.Region]int{}
	for i := range a.snapshot.Hosts {
		h := &a.snapshot.Hosts[i]
		r := a.index.region(h)
		if h.Running() {
			running[r]++
		}
		if h.Node.Known && h.Node.Value.Registered {
			registered[r]++
		}
	}
	var out []fleet.Finding
	for i := range a.snapshot.Regions {
		r := &a.snapshot.Regions[i]
		if len(r.HybridNodes)+len(r.UnplacedNodes) == 0 {
			continue
		}
		doubt := ""
		if n := len(r.UnplacedNodes); n > 0 {
			doubt = fmt.Sprintf(", and of %d nobody can tell, as EC2's list is not whole", n)
		}
		facts := []fleet.Evidence{
			evidence(r.Instances, "%s in %s: EC2 lists %s, %d of them running", r.Account, r.Name, fleet.Count(r.Instances.Value, "instance"), running[r]),
			evidence(r.Nodes, "Systems Manager lists %s: %d are instances that EC2 lists, %d are not%s",
				fleet.Count(registered[r]+len(r.HybridNodes)+len(r.UnplacedNodes), "managed node"), registered[r], len(r.HybridNodes), doubt),
		}
		if names := nodeNames(append(slices.Clone(r.HybridNodes), r.UnplacedNodes...)); names != "" {
			facts = append(facts, evidence(r.Nodes, "nodes that are no listed instance: %s", names))
		}
		out = append(out, found("nodes-without-instance", "", r.Account+"/"+r.Name, "", "no host of this fleet", facts))
	}
	return out
}

func nodeNames(all []fleet.Node) string {
	var names []string
	for i, n := range all {
		if i == mostListed {
			names = append(names, fmt.Sprintf("and %d more", len(all)-i))
			break
		}
		names = append(names, quoted(n.ID)+" ("+quoted(n.ComputerName)+")")
	}
	return strings.Join(names, ", ")
}
