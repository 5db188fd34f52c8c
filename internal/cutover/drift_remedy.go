package cutover

import (
	"fmt"
	"strings"

	"ssm-migrate/internal/fleet"
)

// remedy says what to do about an item: a command where there is one.
func (i DriftItem) remedy(folder string) string {
	if i.Holds == fleet.TruthUnknown {
		return i.clarify()
	}
	if i.remedyWords != "" {
		return i.remedyWords
	}
	// Hosts whose doors are closed are read by Run Command.
	const anew = "migrate inventory --hosts-by ssh,run-command; migrate plan; then migrate apply the new plan"
	host := ""
	if len(i.Hosts) > 0 {
		host = i.Hosts[0].ID
	}
	switch i.Code {
	case DriftPortOpen, DriftOtherGroupOpen:
		ids := make([]string, 0, len(i.Hosts))
		for n, h := range i.Hosts {
			if n == 3 {
				break // more would be no command for a person
			}
			ids = append(ids, h.ID)
		}
		return fmt.Sprintf("migrate prove %s; if sessions work: aws ec2 revoke-security-group-ingress --region %s --group-id %s --security-group-rule-ids %s",
			strings.Join(ids, " "), i.At.Region, i.What, strings.Join(i.Rules, " "))
	case DriftGroupGone:
		return anew + "; it knows the groups that there are now"
	case DriftRuleGone, DriftProfile, DriftRole, DriftDefaultRole, DriftEndpoint, DriftPreferences:
		return "put it back (migrate plan show tells what it was), or let the plan be made anew: " + anew
	case DriftRecoveryRule:
		if strings.HasPrefix(i.What, "sg-") {
			return "add a rule to " + i.What + " that lets TCP port 22 in from the recovery bastion's security group; then migrate recovery drill --yes"
		}
		return "give " + host + " that group back; then migrate recovery drill --yes --host " + host
	case DriftRecoveryGroup:
		return anew + ": its first wave makes the recovery bastion again; then migrate recovery drill --yes"
	case DriftRecoveryUp:
		return fmt.Sprintf("migrate recovery close --yes, if migrate recovery open has started it; else aws autoscaling update-auto-scaling-group --region %s --auto-scaling-group-name %s --min-size 0 --desired-capacity 0", i.At.Region, i.What)
	case DriftRecoveryKey:
		return "migrate connect " + host + ", and put the recovery key's line back into that file; then migrate recovery drill --yes --host " + host
	case DriftKeysBack, DriftHostTimerFired:
		return anew + ": it moves them aside again; or take them out by hand: migrate connect " + host
	case DriftHostTimerArmed:
		return "migrate prove " + host + "; if sessions work: migrate connect " + host + " --document AWS-StartInteractiveCommand --parameter command='sudo rm /var/lib/migrate/" + folder + "/armed'"
	case DriftSessionLost, DriftAgent:
		return "migrate prove " + host + "; migrate inventory --no-ssh; migrate hosts " + host + "; until it works: migrate recovery drill --yes --host " + host + " shows that the second way does"
	case DriftHostGone:
		return "nothing, if that was meant; migrate inventory and migrate plan leave it out"
	case DriftNewInstance:
		return anew + "; and put its launch template right, or the next one comes back the same"
	}
	return anew
}

// clarify says how to learn what is not known.
func (i DriftItem) clarify() string {
	switch i.Code {
	case DriftSessionLost:
		return "migrate prove " + i.What
	case DriftUnseen:
		if len(i.Hosts) > 0 {
			return "migrate drift again; migrate prove " + i.What
		}
	case DriftRecoveryUp:
		return "migrate drift again"
	}
	return "migrate drift again; migrate doctor tells whether it may look"
}
