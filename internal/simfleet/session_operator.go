package simfleet

import (
	"cmp"
	"fmt"
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
	document := fmt.Sprintf("arn:aws:ssm:%s:%s:document/%s", rg.Name, a.ID, fleet.PreferencesName)
	if resource := a.startRefused(p, session, in, document); resource != "" {
		return operator + " may not ssm:StartSession on " + resource
	}
	if !a.opensDataChannel(p, session, rg.Name) {
		return operator + " may not ssmmessages:OpenDataChannel"
	}
	return w.operatorKeyReason(p, personRequest(rg.Name, session, "kms:GenerateDataKey", ""), in)
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

// personRequest is a person's request from the office to a Region.
func personRequest(region, session, action, resource string) request {
	return request{action: action, resource: resource, session: session, context: map[string][]string{
		"aws:requestedregion": {region}, "aws:sourceip": {OperatorAddr.String()}, "aws:securetransport": {"true"}, "aws:viaawsservice": {"false"},
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
	return cmp.Or(w.streamReason(in, p), w.objectReason(in, p))
}

// streamReason gives what keeps a session's log out of its log group.
func (w *World) streamReason(in *Instance, p fleet.SessionInputs) string {
	if p.LogGroup == "" {
		return ""
	}
	arn := fmt.Sprintf("arn:aws:logs:%s:%s:log-group:%s", in.Region.Name, in.Region.Account.ID, p.LogGroup)
	for _, need := range []struct{ action, resource string }{
		{"logs:DescribeLogGroups", "*"}, {"logs:DescribeLogStreams", arn + ":*"}, {"logs:CreateLogStream", arn + ":*"}, {"logs:PutLogEvents", arn + ":log-stream:x"},
	} {
		if reason := w.permission(in, "logs", need.action, need.resource); reason != "" {
			return reason
		}
	}
	return ""
}

// objectReason gives what keeps a session's log out of its bucket.
func (w *World) objectReason(in *Instance, p fleet.SessionInputs) string {
	if p.Bucket == "" {
		return ""
	}
	if reason := w.permission(in, "s3", "s3:PutObject", "arn:aws:s3:::"+p.Bucket+"/"+logKey(p, "session")); reason != "" {
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

// logKey is the key of a session's log object.
func logKey(p fleet.SessionInputs, session string) string {
	return strings.TrimPrefix(strings.TrimSuffix(p.Prefix, "/")+"/", "/") + session + ".log"
}
