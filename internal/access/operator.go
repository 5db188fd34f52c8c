package access

import (
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
)

// look are the actions by which clients find hosts and list sessions. None of
// them knows a resource that all clients would get on with.
// Source: AWS Systems Manager User Guide, getting-started-restrict-access-quickstart.
var look = []string{"ssm:DescribeSessions", "ssm:GetConnectionStatus", "ssm:DescribeInstanceInformation", "ssm:DescribeInstanceProperties", "ec2:DescribeInstances"}

const (
	startSession  = "ssm:StartSession"
	dataChannel   = "ssmmessages:OpenDataChannel"
	makeDataKey   = "kms:GenerateDataKey"
	documentCheck = "ssm:SessionDocumentAccessCheck"
	sessionTag    = "ssm:resourceTag/aws:ssmmessages:session-id"
)

// ownSession are the actions on sessions that everybody may do on their own.
var ownSession = []string{"ssm:ResumeSession", "ssm:TerminateSession"}

// auditTarget is a thing that an operator must not be able to take away or
// empty, whatever other policies allow: it holds what sessions did.
type auditTarget struct {
	sid       string
	resources []string
	actions   []string
}

// auditOf lists the audit targets of a Region's preferences.
// Sources: Service Authorization Reference, logs, s3 and kms.
func auditOf(r *fleet.Region, in fleet.SessionInputs) []auditTarget {
	var out []auditTarget
	partition := fleet.Partition(r.Name)
	if in.LogGroup != "" {
		group := fmt.Sprintf("arn:%s:logs:%s:%s:log-group:%s", partition, r.Name, r.Account, in.LogGroup)
		out = append(out, auditTarget{"ProtectLogGroup", []string{group, group + ":*"},
			[]string{"logs:DeleteLogGroup", "logs:DeleteLogStream", "logs:PutRetentionPolicy", "logs:DisassociateKmsKey"}})
	}
	if in.Bucket != "" {
		bucket := "arn:" + partition + ":s3:::" + in.Bucket
		out = append(out,
			auditTarget{"ProtectBucket", []string{bucket}, []string{"s3:DeleteBucket", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy", "s3:PutLifecycleConfiguration", "s3:PutBucketVersioning", "s3:PutEncryptionConfiguration"}},
			auditTarget{"ProtectLogs", []string{bucket + "/*"}, []string{"s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion"}})
	}
	if key := keyARN(r, in); key != "" {
		out = append(out, auditTarget{"ProtectKey", []string{key}, []string{"kms:ScheduleKeyDeletion", "kms:DisableKey", "kms:PutKeyPolicy"}})
	}
	return out
}

// documentActions change what a session document does or who may use it.
func documentActions() []string {
	return append(readiness.PreferencesActions(), "ssm:ModifyDocumentPermission")
}

func keyARN(r *fleet.Region, in fleet.SessionInputs) string { return readiness.KeyOf(r, in) }

func (t *team) partition() string {
	return fleet.Partition(t.world.snapshot.Hosts[t.hosts[0]].Region)
}

func (t *team) ssm(region, account, rest string) string {
	return "arn:" + t.partition() + ":ssm:" + region + ":" + account + ":" + rest
}

func (t *team) documentARN(d documentName) string {
	return t.ssm(d.region, d.account, "document/"+d.name)
}

// policies writes the team's policy. The hosts come last: they are what may
// not fit.
func (t *team) policies() ([]Policy, error) {
	documents := make([]string, 0, len(t.documents))
	for _, d := range t.documents {
		documents = append(documents, t.documentARN(d))
	}
	slices.Sort(documents)
	var all []statement
	if len(documents) > 0 {
		all = append(all, allow("Documents", documents, startSession).when("BoolIfExists", documentCheck, "true"))
	}
	all = append(all, allow("DataChannel", []string{"*"}, dataChannel))
	users, roles := t.kinds()
	if users {
		all = append(all, allow("OwnSessionsOfUsers", []string{t.ssm("*", t.account, "session/${aws:username}-*")}, ownSession...))
	}
	if roles {
		all = append(all, allow("OwnSessionsOfRoles", []string{t.ssm("*", t.account, "session/*")}, ownSession...).when("StringLike", sessionTag, "${aws:userid}*"))
	}
	all = append(all, allow("Look", []string{"*"}, look...))
	if len(t.keys) > 0 {
		all = append(all, allow("EncryptSessions", slices.Sorted(slices.Values(t.keys)), makeDataKey))
	}
	hosts := allow("Hosts", t.resources(), startSession).when("BoolIfExists", documentCheck, "true")
	switch {
	case t.variable:
		hosts = hosts.when("StringLike", "ssm:resourceTag/"+t.tag, "${aws:PrincipalTag/"+t.tag+"}")
	case t.tag != "":
		hosts = hosts.when("StringEquals", "ssm:resourceTag/"+t.tag, t.values...)
	}
	for i := range all {
		all[i] = t.narrowed(all[i])
	}
	all = append(all, t.denials()...)
	all = append(all, t.narrowed(hosts))
	return policiesOf(t.base, all, Policy{Account: t.account, For: Operator, Who: t.name, Attach: slices.Clone(t.attach), Why: t.why()})
}

// narrowed holds a statement to the role sessions of the team's people.
func (t *team) narrowed(s statement) statement {
	if len(t.sessions) == 0 {
		return s
	}
	var ids []string
	for _, n := range t.sessions {
		ids = append(ids, "*:"+n)
	}
	return s.when("StringLike", "aws:userid", ids...)
}

// resources are the team's hosts: by Region where a tag tells them apart.
func (t *team) resources() []string {
	var out []string
	for _, i := range t.hosts {
		h := &t.world.snapshot.Hosts[i]
		arn := readiness.InstanceARN(h)
		if t.tag != "" {
			arn = strings.TrimSuffix(arn, h.ID) + "*"
		}
		out = addAll(out, arn)
	}
	slices.Sort(out)
	return out
}

// kinds says whether IAM users and role sessions get the policy; both where
// nobody is named yet.
func (t *team) kinds() (users, roles bool) {
	for _, arn := range t.attach {
		users = users || strings.Contains(arn, ":user/")
		roles = roles || strings.Contains(arn, ":role/")
	}
	if !users && !roles {
		return true, true
	}
	return users, roles
}

// protected are the things that the policy keeps from its people whatever else
// they are allowed.
func (t *team) protected() []auditTarget {
	if t.guarded != nil {
		return t.guarded
	}
	out := []auditTarget{{"ProtectDocuments", []string{
		t.ssm("*", t.account, "document/"+fleet.PreferencesName), t.ssm("*", t.account, "document/"+ownPrefix+"*"),
	}, documentActions()}}
	for _, target := range t.audit {
		i := slices.IndexFunc(out, func(x auditTarget) bool { return x.sid == target.sid })
		if i < 0 {
			target.resources = slices.Clone(target.resources)
			out = append(out, target)
			continue
		}
		out[i].resources = addAll(out[i].resources, target.resources...)
	}
	t.guarded = out
	return out
}

func (t *team) denials() []statement {
	var out []statement
	for _, p := range t.protected() {
		out = append(out, deny(p.sid, p.resources, p.actions...))
	}
	return out
}

func (t *team) why() string {
	how := "by their ARNs"
	switch {
	case t.variable:
		how = fmt.Sprintf("by tag %s, which its principals carry too", t.tag)
	case t.tag != "":
		how = fmt.Sprintf("by tag %s = %s", t.tag, strings.Join(t.values, ", "))
	}
	what := "get in over SSH today"
	if t.service {
		what = "run forced commands over SSH today"
	}
	text := fmt.Sprintf("for %s, who %s on %s, known %s", strings.Join(t.people, ", "), what, fleet.Count(len(t.hosts), "host"), how)
	if len(t.sessions) > 0 {
		text += "; only their own role sessions, as they share a role with others"
	}
	return fleet.OneLine(text, mostNote)
}
