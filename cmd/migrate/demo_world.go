package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/simfleet"
)

// demoWorld makes the demo's fleet.
func demoWorld(o demoOptions) (*simfleet.World, error) {
	w, err := simfleet.Generate(simfleet.Options{Seed: o.seed, Instances: o.instances, Unreachable: o.unreachable, Healthy: o.healthy || o.mendable, Owned: o.owned, Pace: o.pace})
	if err != nil {
		return nil, err
	}
	first := w.Accounts[0].Regions[0]
	first.Buckets = append(first.Buckets, &fleet.Bucket{Name: demoCopyBucket, Exists: true, Region: first.Name, Encryption: "AES256"})
	if o.mendable {
		breakMendably(w)
	}
	answerSSH(w)
	if o.mendable || !o.healthy {
		for _, a := range w.Accounts {
			allowCutover(a)
		}
	}
	return w, nil
}

// answerSSH starts sshd where sessions work and sshd alone does not. A plan would take
// such a host, since Run Command reads it, and end at its recovery login every
// time: the story would have no end. Hosts that are silent both ways stay so.
func answerSSH(w *simfleet.World) {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	for in := range w.Instances() {
		if in.Down && w.CommandReason(in) == "" {
			in.Down = false
		}
	}
}

// mendable are causes, by their names in simfleet, that steps of a plan mend,
// and the hosts on which they do, by the beginning of their names.
var mendable = []struct{ cause, hosts string }{
	{"no-profile", ""}, {"agent-disabled", ""}, {"shared-role-without-ssm", ""},
	{"agent-too-old", "apps-"}, // its packages come from the internet
	{"hardening-stops-agent", ""}, {"channel-actions-missing", ""},
	{"endpoint-missing", "prod-"}, {"endpoint-group-closed", "prod-"}, // other networks have no endpoints of their own
}

// breakMendably brings the mendable causes about in turn, on every third host.
func breakMendably(w *simfleet.World) {
	causes := map[string]simfleet.Cause{}
	for _, c := range simfleet.Causes() {
		causes[c.Name] = c
	}
	turn, seen := 0, 0
	for _, in := range slices.Collect(w.Instances()) {
		if seen++; seen%3 != 0 {
			continue
		}
		for range mendable {
			m := mendable[turn%len(mendable)]
			turn++
			if strings.HasPrefix(in.Hostname, m.hosts) && causes[m.cause].Inject(w, in) == nil {
				break
			}
		}
	}
}

// cutoverActions are what docs/permissions.md grants for a cutover, by service.
var cutoverActions = map[string][]string{
	"autoscaling": {"CreateAutoScalingGroup", "CreateOrUpdateTags", "DeleteAutoScalingGroup", "DescribeScalingActivities", "UpdateAutoScalingGroup"},
	"ec2": {"AssociateIamInstanceProfile", "AuthorizeSecurityGroupEgress", "AuthorizeSecurityGroupIngress", "CreateLaunchTemplate", "CreateLaunchTemplateVersion", "CreateSecurityGroup", "CreateTags",
		"CreateVpcEndpoint", "DeleteLaunchTemplate", "DeleteSecurityGroup", "DeleteVpcEndpoints", "DescribeIamInstanceProfileAssociations", "DescribeImages", "DescribeSecurityGroupRules",
		"DisassociateIamInstanceProfile", "GetConsoleOutput", "ModifyLaunchTemplate", "RevokeSecurityGroupEgress", "RevokeSecurityGroupIngress", "RunInstances"},
	"iam": {"AddRoleToInstanceProfile", "AttachRolePolicy", "CreateInstanceProfile", "CreateRole", "DeleteInstanceProfile", "DeleteRole", "DeleteRolePolicy",
		"DetachRolePolicy", "GetInstanceProfile", "PassRole", "PutRolePolicy", "RemoveRoleFromInstanceProfile", "TagInstanceProfile", "TagRole"},
	"ec2-instance-connect": {"OpenTunnel"},
	"kms":                  {"GenerateDataKey"},
	"logs":                 {"DescribeLogStreams"},
	"s3":                   {"ListBucket"},
	"scheduler":            {"CreateSchedule", "DeleteSchedule", "GetSchedule", "ListSchedules"},
	"ssm": {"AddTagsToResource", "CreateDocument", "DeleteDocument", "GetCommandInvocation", "ListCommandInvocations", "ListDocumentVersions", "ResetServiceSetting",
		"ResumeSession", "SendCommand", "StartSession", "TerminateSession", "UpdateDocument", "UpdateDocumentDefaultVersion", "UpdateServiceSetting"},
	"ssmmessages": {"OpenDataChannel"},
}

// allowCutover lets the demo's user do what a cutover does.
func allowCutover(a *simfleet.Account) {
	allow(a, "migrate-recovery-key", recoveryKeyActions)
	var actions []string
	for _, service := range slices.Sorted(maps.Keys(cutoverActions)) {
		for _, action := range cutoverActions[service] {
			actions = append(actions, service+":"+action)
		}
	}
	allow(a, "migrate-cutover", actions)
}

// recoveryKeyActions are what docs/permissions.md grants for a recovery key that
// AWS keeps.
var recoveryKeyActions = []string{"kms:Decrypt", "kms:GenerateDataKey", "secretsmanager:CreateSecret", "secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue"}

// allow gives the demo's user a policy.
func allow(a *simfleet.Account, name string, actions []string) {
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{
		map[string]any{"Sid": strings.ReplaceAll(name, "-", ""), "Effect": "Allow", "Action": actions, "Resource": "*"},
	}})
	if err != nil {
		panic(fmt.Sprintf("a policy cannot be written: %v", err)) // strings always can
	}
	i := slices.IndexFunc(a.Users, func(u *fleet.IAMUser) bool { return u.Name == demoUser })
	if i < 0 {
		i = len(a.Users)
		a.Users = append(a.Users, &fleet.IAMUser{Name: demoUser, ARN: "arn:aws:iam::" + a.ID + ":user/" + demoUser, ID: "AIDADEMOOPERATOR00001"})
	}
	u := a.Users[i]
	u.Inline = maps.Clone(u.Inline)
	if u.Inline == nil {
		u.Inline = map[string]string{}
	}
	u.Inline[name] = string(text)
}

// demoUser is the IAM user that simfleet.AccessKey belongs to.
const demoUser = "operator"
