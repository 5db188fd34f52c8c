package readiness

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// identityFindings gives what is to be said of roles and accounts rather than
// of hosts. The hosts have to be judged already.
func (a *assessor) identityFindings() []fleet.Finding {
	out := a.broadRoles()
	for _, v := range a.iam.order {
		if v.hosts == 0 && v.regions == 0 {
			continue
		}
		if v.mustChange {
			out = append(out, a.servesApplication(v))
		}
		if v.disagrees != nil {
			out = append(out, simulationDisagrees(v))
		}
		if v.hosts > 0 {
			out = append(out, a.updateBuckets(v)...)
		}
	}
	return append(out, a.unreadControls()...)
}

// broadRoles finds roles of hosts that let anyone on the host act on others.
func (a *assessor) broadRoles() []fleet.Finding {
	var out []fleet.Finding
	for _, v := range a.iam.order {
		if v.hosts == 0 {
			continue
		}
		var facts []fleet.Evidence
		for _, arn := range v.role.Attached {
			if strings.HasSuffix(arn, ":policy/service-role/AmazonEC2RoleforSSM") || strings.HasSuffix(arn, ":policy/AdministratorAccess") {
				facts = append(facts, evidence(v.account.Roles, "policy %s is attached", arn))
			}
		}
		for _, action := range broadActions {
			if d := v.may.decide(action, "*", nil); d.allowed == yes {
				facts = append(facts, evidence(v.account.Roles, "the role may %s on every resource: %s", action, d.why))
			}
		}
		if facts != nil {
			out = append(out, found("role-too-broad", "", v.role.ARN, "", v.blast(), append(facts, v.wildcards()...)))
		}
	}
	return out
}

// broadActions let whoever has them act on other hosts, or give them more.
var broadActions = [...]string{"ssm:SendCommand", "ssm:StartSession", "ssm:StartAutomationExecution", "ssm:CreateAssociation", "ssm:UpdateDocument", "iam:PassRole"}

// wildcards names the statements that allow all of a service on everything.
func (v *roleView) wildcards() []fleet.Evidence {
	var facts []fleet.Evidence
	for i := range v.may.identity {
		p := &v.may.identity[i]
		for k := range p.doc.statements {
			s := &p.doc.statements[k]
			if !s.allow || s.notAction || !s.everything() || s.condition != nil {
				continue
			}
			for _, action := range s.actions {
				if action == "*" || action == "ssm:*" || action == "iam:*" {
					facts = append(facts, evidence(v.account.Roles, "statement %d of %s allows %s on every resource", k+1, p.name, action))
				}
			}
		}
	}
	return facts
}

// servesApplication lists who shares a role that has to be changed.
func (a *assessor) servesApplication(v *roleView) fleet.Finding {
	const most = 10
	var some []string
	for i := range a.snapshot.Hosts {
		if h := &a.snapshot.Hosts[i]; a.iam.ofHost(h) == v {
			if some = append(some, h.ID); len(some) == most {
				break
			}
		}
	}
	list := strings.Join(some, ", ")
	if more := v.hosts - len(some); more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	fix := fmt.Sprintf("attach AmazonSSMManagedInstanceCore to role %s beside what it has; do not replace the profile or its policies, on which the application lives", v.role.Name)
	return found("role-serves-application", "", v.role.ARN, fix, v.blast(), []fleet.Evidence{
		evidence(v.account.Roles, "role %s %s", v.role.Name, v.serves()),
		evidence(v.account.Profiles, "it is on %s: %s", fleet.Count(v.hosts, "host"), list),
	})
}

// simulationDisagrees shows where IAM and the policies that were read differ.
func simulationDisagrees(v *roleView) fleet.Finding {
	var facts []fleet.Evidence
	for _, x := range v.disagrees {
		facts = append(facts,
			evidence(v.account.Roles, "%s: %s", x.action, x.policies),
			evidence(v.account.Simulations, "%s: %s", x.action, x.simulation))
	}
	return found("simulation-disagreement", "", v.role.ARN, "", v.blast(), facts)
}

// updateBuckets finds roles that are denied the buckets from which the agent
// and its documents load their parts: in each Region where hosts use the role.
// Denials of the organization are left to findings of their own.
// Source: AWS Systems Manager User Guide, ssm-agent-technical-details.
func (a *assessor) updateBuckets(v *roleView) []fleet.Finding {
	var facts []fleet.Evidence
	var denied []string
	for _, region := range slices.Sorted(maps.Keys(v.inRegions)) {
		for _, bucket := range [...]string{"amazon-ssm-" + region, "aws-ssm-" + region} {
			object := "arn:" + partitionOf(v.role.ARN) + ":s3:::" + bucket + "/latest/VERSION"
			w := v.may.weigh("s3:GetObject", object, requestContext{{"aws:requestedregion": {region}}, v.context})
			why := w.own.denyWhy
			if w.own.deny != yes {
				why = "the permissions boundary " + w.bound.denyWhy
			}
			if max(w.own.deny, w.bound.deny) == yes {
				denied = append(denied, bucket)
				facts = append(facts, evidence(v.account.Roles, "role %s is denied s3:GetObject on %s: %s", v.role.Name, bucket, why))
			}
		}
	}
	if denied == nil {
		return nil
	}
	fix := "leave " + strings.Join(denied, ", ") + " out of the Deny, for example by NotResource"
	return []fleet.Finding{found("agent-buckets-denied", "", v.role.ARN, fix, v.blast(), facts)}
}

// unreadControls notes accounts of whose service control policies some were
// seen by nobody: not in the organization, and not by a simulation.
func (a *assessor) unreadControls() []fleet.Finding {
	var out []fleet.Finding
	seen := map[string]bool{}
	for i := range a.snapshot.Accounts {
		acct := &a.snapshot.Accounts[i]
		levels, read := a.iam.levels[acct.ID]
		unread := unreadPolicies(acct, levels)
		asked := acct.ControlLevels.Source != ""
		if seen[acct.ID] || read && unread == nil || !asked || a.iam.simulates(acct) {
			continue
		}
		seen[acct.ID] = true
		if !read {
			unread = []fleet.Evidence{evidence(acct.ControlLevels, "the service control policies of account %s are not known%s", acct.ID, because(acct.ControlLevels.Reason))}
		}
		out = append(out, found("controls-unread", "", acct.ID, "", a.iam.controlsBlast(acct), append(unread,
			evidence(acct.Simulations, "no simulation tells of them%s", because(acct.Simulations.Reason)))))
	}
	return out
}

// unreadPolicies names the service control policies whose documents are not known.
func unreadPolicies(acct *fleet.Account, levels []controls) []fleet.Evidence {
	const most = 10
	var facts []fleet.Evidence
	for _, l := range levels {
		for _, p := range l.policies {
			if p.gap != "" && len(facts) < most {
				facts = append(facts, evidence(acct.ControlLevels, "%s at %s is not known%s", p.name, l.target, because(p.gap)))
			}
		}
	}
	return facts
}

// simulates reports whether a simulation told of the organization's policies.
func (a *authority) simulates(acct *fleet.Account) bool {
	for i := range acct.Simulations.Value {
		if acct.Simulations.Value[i].Organizations != fleet.TruthUnknown {
			return true
		}
	}
	return false
}

// controlsBlast says whom an account's service control policies bind.
func (a *authority) controlsBlast(acct *fleet.Account) string {
	return fmt.Sprintf("service control policies bind every user and role of account %s with %s, and those of every other account under the same level", acct.ID, fleet.Count(a.hostsOfAccount[acct.ID], "host"))
}
