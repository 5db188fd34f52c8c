package simfleet

import (
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// OperatorReason gives the first thing that keeps an IAM user or role, or the
// session of an assumed one, from starting a shell on the instance; empty when
// it may. That the instance serves sessions is SessionReason's matter. The
// caller holds w.Mu, at least for reading.
//
// The operator needs ssm:StartSession on the instance and on the preferences
// document, ssmmessages:OpenDataChannel, and kms:GenerateDataKey where sessions
// are encrypted. Sources: Systems Manager User Guide,
// getting-started-default-session-document, getting-started-restrict-access-quickstart,
// session-preferences-enable-encryption.
func (w *World) OperatorReason(operator string, in *Instance) string {
	a, rg := in.Region.Account, in.Region
	p, session, ok := a.principalOf(operator)
	if !ok {
		return operator + " is no user or role of account " + a.ID
	}
	if session == "" {
		session = "operator"
	}
	host := fmt.Sprintf("arn:aws:ec2:%s:%s:instance/%s", rg.Name, a.ID, in.Host.ID)
	document := fmt.Sprintf("arn:aws:ssm:%s:%s:document/%s", rg.Name, a.ID, fleet.PreferencesName)
	for _, resource := range []string{host, document} {
		q := operatorRequest(in, session, "ssm:StartSession", resource)
		if resource == host {
			for k, v := range in.Host.Tags {
				for _, prefix := range []string{"aws:resourcetag/", "ssm:resourcetag/", "ec2:resourcetag/"} {
					q.context[prefix+strings.ToLower(k)] = []string{v}
				}
			}
		}
		if !a.judge(p, q).yes() {
			return operator + " may not ssm:StartSession on " + resource
		}
	}
	// AWS's own pages name the channel's resource in three ways.
	name := p.name
	if name == "" {
		name = session
	}
	sessions := fmt.Sprintf("arn:aws:ssm:%s:%s:session/", rg.Name, a.ID)
	id := p.value("aws:userid", session)[0]
	if !slices.ContainsFunc([]string{"*", sessions + name + "-0", sessions + id + "-0"}, func(resource string) bool {
		return a.judge(p, operatorRequest(in, session, "ssmmessages:OpenDataChannel", resource)).yes()
	}) {
		return operator + " may not ssmmessages:OpenDataChannel"
	}
	return w.operatorKeyReason(p, operatorRequest(in, session, "kms:GenerateDataKey", ""), in)
}

func (w *World) operatorKeyReason(p principal, q request, in *Instance) string {
	id := preferences(in.Region.Preferences).Key
	if in.Region.Preferences == "" || id == "" {
		return ""
	}
	rg, k := w.key(in.Region, id)
	if k == nil {
		return "KMS key " + id + " does not exist"
	}
	q.resource = k.ARN
	if !in.Region.Account.judgeWith(p, q, rg.Account.ID, k.Policy.Value, true) {
		return p.arn + " may not kms:GenerateDataKey on " + k.ARN
	}
	return ""
}

// operatorRequest is a person's request from the office.
func operatorRequest(in *Instance, session, action, resource string) request {
	return request{action: action, resource: resource, session: session, context: map[string][]string{
		"aws:requestedregion": {in.Region.Name}, "aws:sourceip": {OperatorAddr.String()}, "aws:securetransport": {"true"}, "aws:viaawsservice": {"false"},
		"aws:multifactorauthpresent": {"true"}, "ssm:sessiondocumentaccesscheck": {"true"},
	}}
}

// LoggingReason gives what keeps the log of a session on the instance from
// where the Region's preferences want it; empty when it arrives, or none is
// wanted. A session whose log has no way there opens to a blank screen.
// Source: Systems Manager User Guide, session-manager-troubleshooting,
// getting-started-create-iam-instance-profile. The caller holds w.Mu, at least
// for reading.
func (w *World) LoggingReason(in *Instance) string {
	if in.Region.Preferences == "" {
		return ""
	}
	p := preferences(in.Region.Preferences)
	if p.LogGroup != "" {
		arn := fmt.Sprintf("arn:aws:logs:%s:%s:log-group:%s", in.Region.Name, in.Region.Account.ID, p.LogGroup)
		for _, need := range []struct{ action, resource string }{
			{"logs:DescribeLogGroups", "*"}, {"logs:DescribeLogStreams", arn + ":*"}, {"logs:CreateLogStream", arn + ":*"}, {"logs:PutLogEvents", arn + ":log-stream:x"},
		} {
			if reason := w.permission(in, "logs", need.action, need.resource); reason != "" {
				return reason
			}
		}
	}
	if p.Bucket == "" {
		return ""
	}
	object := "arn:aws:s3:::" + p.Bucket + "/" + strings.TrimPrefix(strings.TrimSuffix(p.Prefix, "/")+"/", "/") + "session.log"
	if reason := w.permission(in, "s3", "s3:PutObject", object); reason != "" {
		return reason
	}
	_, b := w.bucket(p.Bucket)
	switch {
	case b == nil:
		return "bucket " + p.Bucket + " does not exist"
	case b.Key == "":
		return ""
	}
	return w.permission(in, "kms", "kms:GenerateDataKey", b.Key)
}
