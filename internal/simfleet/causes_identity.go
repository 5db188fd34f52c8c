package simfleet

import (
	"fmt"
	"slices"
	"time"

	"ssm-migrate/internal/fleet"
)

func identityCauses() []Cause {
	return []Cause{
		{Number: 13, Name: "no-profile", Text: "the host has no instance profile, and nothing stands in for one", Breaks: true, Inject: noProfile},
		{Number: 14, Name: "shared-role-without-ssm", Text: "the profile serves an application that other hosts share, and does not know Systems Manager", Breaks: true, Shared: "role", Inject: sharedRole},
		{Number: 15, Name: "channel-actions-missing", Text: "the role registers the host but allows no channels", Breaks: true,
			Inject: onRole(func(w *World, in *Instance) { w.withhold(in, "ssmmessages:*") })},
		{Number: 16, Name: "scp-denies-channels", Text: "a service control policy denies ssmmessages to the host's role", Breaks: true, Shared: "account", Inject: controlPolicy},
		{Number: 17, Name: "boundary-without-kms", Text: "the role's permissions boundary leaves kms:Decrypt out, and sessions are encrypted", Breaks: true, Shared: "region", Inject: boundaryWithoutKMS},
		{Number: 18, Name: "agent-sleeps", Text: "the agent was refused, and sleeps though it would be let in now", Breaks: true,
			Inject: func(w *World, in *Instance) error {
				in.seen(w)
				in.Agent.SleepsUntil = w.Now().Add(21 * time.Minute)
				return nil
			}},
		{Number: 19, Name: "profile-shadows-default-role", Text: "the profile allows ssm:UpdateInstanceInformation and no channels, so the default role is not tried", Breaks: true, Shared: "region",
			Inject: onRole(func(w *World, in *Instance) {
				w.withhold(in, "ssmmessages:*")
				in.Region.defaultManaged()
			})},
		{Number: 20, Name: "default-role-changes-credentials", Text: "the default role manages the host, so Run Command's documents no longer have the profile's credentials", Shared: "region", Inject: defaultRoleCredentials},
		{Number: 21, Name: "root-credentials", Text: "keys in /root/.aws/credentials shadow the role", Breaks: true,
			Inject: func(w *World, in *Instance) error {
				in.seen(w)
				in.Machine.RootCredentials = in.Region.Account.backupUser()
				return nil
			}},
		{Number: 22, Name: "leftover-registration", Text: "the image brought a hybrid activation's registration with it", Breaks: true,
			Inject: func(w *World, in *Instance) error {
				in.Agent.Registration = derived(in, "mi-registration")
				if find(in.Region.Hybrid, func(n *fleet.Node) bool { return n.ID == in.Agent.Registration }) != nil {
					return nil
				}
				in.Region.Hybrid = append(in.Region.Hybrid, &fleet.Node{ID: in.Agent.Registration, Account: in.Region.Account.ID, Region: in.Region.Name, Registered: true,
					ComputerName: in.Hostname, PingStatus: "Online", LastPing: w.Now().UTC().Add(-2 * time.Minute).Truncate(time.Second), AgentVersion: in.Agent.Version,
					LatestVersion: in.Agent.Version == agentCurrent, PlatformType: "Linux", PlatformName: platformName(in.OS), PlatformVersion: in.OS.Version,
					ResourceType: "ManagedInstance", IAMRole: "service-role/AmazonEC2RunCommandRoleForManagedInstances", Association: "Success"})
				return nil
			}},
		{Number: 23, Name: "document-grant-opens-shell", Text: "a grant for one document lets its users start the default shell too", Shared: "account", Inject: documentGrant},
	}
}

// onRole is an injection into a role of the instance's own.
func onRole(change func(w *World, in *Instance)) func(*World, *Instance) error {
	return func(w *World, in *Instance) error {
		in.seen(w)
		change(w, in)
		return nil
	}
}

func noProfile(w *World, in *Instance) error {
	if r := in.Region.defaultRole(); r != nil && !versionLess(in.Agent.Version, firstWithDefaultRole) {
		return notHere("Default Host Management Configuration would take over")
	}
	w.alone(in)
	in.Host.ProfileARN = ""
	w.profileOfGroup(in)
	return nil
}

// sharedRole takes all of Systems Manager from a role that others have, too:
// stopped instances, and a launch template that would start further ones.
func sharedRole(w *World, in *Instance) error {
	if r := in.Region.defaultRole(); r != nil && !versionLess(in.Agent.Version, firstWithDefaultRole) {
		return notHere("Default Host Management Configuration would take over")
	}
	in.seen(w)
	r := w.ownRole(in)
	r.Attached = nil
	r.Inline = map[string]string{"shop": document(statement{Effect: "Allow", Action: []string{"s3:GetObject", "s3:PutObject", "sqs:ReceiveMessage"}, Resource: "*"})}
	for _, other := range in.Region.Instances {
		if other.Host.State == "stopped" && other.Host.AutoScalingGroup == "" {
			other.Host.ProfileARN = in.Host.ProfileARN
		}
	}
	in.Region.Templates = append(in.Region.Templates, &fleet.LaunchTemplate{ID: derived(in, "lt-shop"), Name: "shop", Default: 1, Latest: 1,
		Versions: []fleet.TemplateVersion{{Number: 1, ImageID: in.Host.ImageID, Profile: in.Host.ProfileARN, Groups: in.Host.Groups, Metadata: in.Host.Metadata}}})
	return nil
}

func controlPolicy(w *World, in *Instance) error {
	in.seen(w)
	r := w.ownRole(in)
	p := fleet.Policy{ARN: "arn:aws:organizations::" + in.Region.Account.ID + ":policy/o-a1b2c3d4e5/service_control_policy/p-" + derived(in, "p-scp")[3:11], Name: "no-shells"}
	p.Document = fleet.Fact[string]{Known: true, Value: document(statement{Sid: "NoShells", Effect: "Deny", Action: "ssmmessages:*", Resource: "*",
		Condition: map[string]any{"ArnLike": map[string]string{"aws:PrincipalArn": r.ARN}}})}
	level := in.Region.Account.rootLevel()
	level.Policies = append(level.Policies, p)
	return nil
}

func boundaryWithoutKMS(w *World, in *Instance) error {
	in.seen(w)
	w.encryptSessions(in.Region)
	r := w.ownRole(in)
	a := in.Region.Account
	p := &fleet.Policy{ARN: "arn:aws:iam::" + a.ID + ":policy/boundary-" + r.Name, Name: "boundary-" + r.Name}
	p.Document = fleet.Fact[string]{Known: true, Value: document(statement{Sid: "Workloads", Effect: "Allow",
		Action: []string{"ssm:*", "ssmmessages:*", "ec2messages:*", "s3:*", "logs:*", "cloudwatch:*", "ec2:Describe*"}, Resource: "*"})}
	a.Policies = append(slices.DeleteFunc(a.Policies, func(x *fleet.Policy) bool { return x.ARN == p.ARN }), p)
	r.Boundary = p.ARN
	return nil
}

func defaultRoleCredentials(w *World, in *Instance) error {
	if versionLess(in.Agent.Version, firstWithDefaultRole) {
		return notHere("the agent is too old for the default role")
	}
	in.Region.defaultManaged()
	if p := preferences(in.Region.Preferences); p.Key != "" || p.LogGroup != "" && p.LogGroupEncrypted || p.Bucket != "" && p.BucketEncrypted {
		d := in.Region.defaultRole()
		if d.Inline == nil {
			d.Inline = map[string]string{}
		}
		d.Inline["sessions"] = document(allow("kms:Decrypt", "logs:DescribeLogGroups", "logs:DescribeLogStreams", "logs:CreateLogStream", "logs:PutLogEvents", "s3:GetEncryptionConfiguration", "s3:PutObject"))
	}
	r := w.ownRole(in)
	r.Attached = nil
	r.Inline = map[string]string{"backup": document(statement{Effect: "Allow", Action: []string{"s3:GetObject", "s3:PutObject"}, Resource: "arn:aws:s3:::corp-backup/*"})}
	return nil
}

// backupUser gives a user of the account whose keys may do nothing with Systems
// Manager, and makes it where there is none.
func (a *Account) backupUser() string {
	arn := "arn:aws:iam::" + a.ID + ":user/backup-script"
	if find(a.Users, func(u *fleet.IAMUser) bool { return u.ARN == arn }) == nil {
		a.Users = append(a.Users, &fleet.IAMUser{Name: "backup-script", ARN: arn, Inline: map[string]string{
			"backup": document(statement{Effect: "Allow", Action: "s3:PutObject", Resource: "arn:aws:s3:::corp-backup/*"})}})
	}
	return arn
}

// documentGrant makes a user who shall forward ports only, and may open shells:
// the grant names a document but does not ask that it be given. The rest is
// what AWS's quickstart policy for end users has. Sources: Systems Manager User
// Guide, getting-started-sessiondocumentaccesscheck and
// getting-started-restrict-access-quickstart.
func documentGrant(_ *World, in *Instance) error {
	a, name := in.Region.Account, "vendor-"+in.Host.ID
	if find(a.Users, func(u *fleet.IAMUser) bool { return u.Name == name }) != nil {
		return nil
	}
	a.Users = append(a.Users, &fleet.IAMUser{Name: name, ARN: "arn:aws:iam::" + a.ID + ":user/" + name, Inline: map[string]string{
		"forward-ports": document(
			statement{Effect: "Allow", Action: "ssm:StartSession", Resource: []string{
				fmt.Sprintf("arn:aws:ec2:%s:%s:instance/%s", in.Region.Name, a.ID, in.Host.ID), "arn:aws:ssm:*:*:document/AWS-StartPortForwardingSession"}},
			statement{Effect: "Allow", Action: "ssmmessages:OpenDataChannel", Resource: "arn:aws:ssm:*:*:session/${aws:userid}-*"},
			statement{Effect: "Allow", Action: "kms:GenerateDataKey", Resource: "arn:aws:kms:*:" + a.ID + ":key/*"}),
	}})
	return nil
}
