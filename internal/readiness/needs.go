package readiness

import (
	"fmt"
	"strings"

	"ssm-migrate/internal/fleet"
)

// Need is an action on a resource that somebody has to be allowed.
type Need struct{ Action, Resource string }

// PreferenceNeeds is what an agent's role must be allowed for the session
// preferences of a Region: to open sessions, and to bring their logs to where
// they are sent. Nothing where the preferences are not known. Who writes to a
// log group that is encrypted needs nothing of its key: CloudWatch Logs uses it
// in its own name. Sources: AWS Systems Manager User Guide,
// getting-started-create-iam-instance-profile, session-manager-logging;
// Amazon CloudWatch Logs User Guide, encrypt-log-data-kms.
func PreferenceNeeds(r *fleet.Region) []Need {
	in, err := fleet.ParseSessionDocument(r.Preferences.Value.Content)
	if !r.Preferences.Known || !r.Preferences.Value.Exists || err != nil {
		return nil
	}
	return InputNeeds(r, in)
}

// InputNeeds is PreferenceNeeds for preferences that are still to be made in
// the Region. A key or bucket is looked up among what the Region's own name.
func InputNeeds(r *fleet.Region, in fleet.SessionInputs) []Need {
	partition := fleet.Partition(r.Name)
	var needs []Need
	add := func(resource string, actions ...string) {
		for _, a := range actions {
			needs = append(needs, Need{Action: a, Resource: resource})
		}
	}
	if key := KeyOf(r, in); key != "" {
		add(key, "kms:Decrypt")
	}
	if in.LogGroup != "" {
		// The list of groups is asked for as a whole.
		add("*", "logs:DescribeLogGroups")
		add(fmt.Sprintf("arn:%s:logs:%s:%s:log-group:%s:*", partition, r.Name, r.Account, in.LogGroup),
			"logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents")
	}
	if in.Bucket != "" {
		bucket := "arn:" + partition + ":s3:::" + in.Bucket
		add(bucket, "s3:GetEncryptionConfiguration")
		prefix := strings.Trim(in.Prefix, "/")
		if prefix != "" {
			prefix += "/"
		}
		add(bucket+"/"+prefix+"*", "s3:PutObject")
		if b := r.Preferences.Value.Bucket.Value; b.Name == in.Bucket && strings.HasPrefix(b.Encryption, "aws:kms") && strings.HasPrefix(b.Key, "arn:") {
			add(b.Key, "kms:GenerateDataKey")
		}
	}
	return needs
}

// KeyOf is the ARN of the key that preferences encrypt sessions with; empty
// when they name none, or one that was not read.
func KeyOf(r *fleet.Region, in fleet.SessionInputs) string {
	switch key := r.Preferences.Value.Key.Value; {
	case in.Key == "":
		return ""
	case key.ARN != "" && (key.ID == in.Key || key.ARN == in.Key):
		return key.ARN
	case strings.HasPrefix(in.Key, "arn:") && strings.Contains(in.Key, ":key/"):
		return in.Key
	}
	return ""
}
