package readiness

import (
	"slices"

	"ssm-migrate/internal/fleet"
)

// preferencesEntries are about what Session Manager's preferences ask for.
func preferencesEntries() []Entry {
	return slices.Concat(refusedEntries(), lostEntries())
}

// refusedEntries are about sessions that do not open, or may not.
func refusedEntries() []Entry {
	return []Entry{{
		Code: "kms-key-unusable", Area: "session", Severity: fleet.SeverityBlocks,
		Title:    "The key that sessions are encrypted with cannot be used",
		Means:    "The preferences name a KMS key. The agent and the operator's client both have to use it before a shell opens; sessions that only forward ports go without it.",
		Detected: "kms:DescribeKey: the key does not exist, is disabled or about to be deleted, or is in another Region.",
		Fix:      "enable the key (aws kms enable-key, or cancel-key-deletion first), or name a usable key of this Region in the preferences",
		Undo:     "name the former key in the preferences again",
		Sources:  []string{guide + "session-preferences-enable-encryption", guide + "session-manager-schema", "AWS KMS Developer Guide, key-state"},
		Breaks:   []Part{PartSession},
	}, {
		Code: "kms-decrypt-denied", Area: "session", Severity: fleet.SeverityBlocks,
		Title:    "The role may not decrypt with the session key",
		Means:    "The preferences encrypt session data with a KMS key, and the agent's role is not allowed kms:Decrypt with it: the shell ends before it begins, while forwarded ports still work. Roles of Default Host Management Configuration do not have it either. A KMS key lets nobody in, not even its own account, unless its policy says so.",
		Detected: "kms:Decrypt on the key, evaluated for the role: its policies, its permissions boundary, the organization's policies and the key's policy. Grants of the key, which may let the role in as well, are not collected.",
		Fix:      "allow the role kms:Decrypt on the key, and see that the key's policy leaves it to the account's policies or names the role",
		Undo:     "take the statement out of the role again",
		Sources:  []string{guide + "session-preferences-enable-encryption", guide + "getting-started-create-iam-instance-profile", "AWS KMS Developer Guide, key-policy-default", "AWS KMS Developer Guide, grants"},
		Breaks:   []Part{PartSession},
	}, {
		Code: "log-group-unverifiable", Area: "session", Severity: fleet.SeverityBlocks,
		Title:    "Sessions demand an encrypted log group that is not there",
		Means:    "The preferences demand that the log group for sessions is encrypted. It does not exist, or has no KMS key: the agent refuses every session.",
		Detected: "cloudWatchEncryptionEnabled in the preferences, and logs:DescribeLogGroups.",
		Fix:      "create the log group, or associate a KMS key with it (aws logs associate-kms-key), or set cloudWatchEncryptionEnabled to false",
		Undo:     "set the preferences back, or disassociate the key",
		Sources:  []string{guide + "session-manager-troubleshooting", guide + "session-manager-schema", "aws/amazon-ssm-agent, session shell plugin"},
		Breaks:   []Part{PartSession},
	}, {
		Code: "log-check-denied", Area: "session", Severity: fleet.SeverityBlocks,
		Title:    "The role may not look whether the log group is encrypted",
		Means:    "The preferences demand that the log group is encrypted. The agent asks for the list of log groups to see it; as its role is denied that, it refuses every session.",
		Detected: "logs:DescribeLogGroups, evaluated for the role on the account's log groups. A grant on the one group does not serve.",
		Fix:      "allow the role logs:DescribeLogGroups on \"*\"",
		Undo:     "take the statement out of the role again",
		Sources:  []string{guide + "getting-started-create-iam-instance-profile", "aws/amazon-ssm-agent, session shell plugin", "aws/amazon-ssm-agent issue 246"},
		Breaks:   []Part{PartSession},
	}, {
		Code: "bucket-unverifiable", Area: "session", Severity: fleet.SeverityBlocks,
		Title:    "Sessions demand an encrypted bucket that is not there",
		Means:    "The preferences demand that the bucket for session logs is encrypted. It does not exist, or has no default encryption: the agent refuses every session.",
		Detected: "s3EncryptionEnabled in the preferences, s3:GetBucketLocation and s3:GetBucketEncryption.",
		Fix:      "create the bucket or turn its default encryption on, or name another in the preferences",
		Undo:     "name the former bucket again",
		Sources:  []string{guide + "session-manager-troubleshooting", guide + "session-manager-schema", "aws/amazon-ssm-agent, session shell plugin"},
		Breaks:   []Part{PartSession},
	}, {
		Code: "bucket-check-denied", Area: "session", Severity: fleet.SeverityBlocks,
		Title:    "The role may not look whether the bucket is encrypted",
		Means:    "The preferences demand that the bucket for session logs is encrypted. The agent asks for its encryption; as its role is denied that, it refuses every session.",
		Detected: "s3:GetEncryptionConfiguration on the bucket, evaluated for the role and against the bucket's policy.",
		Fix:      "allow the role s3:GetEncryptionConfiguration on the bucket",
		Undo:     "take the statement out of the role again",
		Sources:  []string{guide + "getting-started-create-iam-instance-profile", "aws/amazon-ssm-agent, session shell plugin", "awslabs/landing-zone-accelerator-on-aws issue 19"},
		Breaks:   []Part{PartSession},
	}, {
		Code: "runas-user-root", Area: "session", Severity: fleet.SeverityBlocks,
		Title:    "Sessions are to run as root, which is refused",
		Means:    "The preferences turn Run As on with the user root. Session Manager does not support that account for sessions, and does not fall back to ssm-user.",
		Detected: "runAsEnabled and runAsDefaultUser in the preferences.",
		Fix:      "name an ordinary account that exists on all hosts, and give it sudo",
		Undo:     "name the former user again",
		Sources:  []string{guide + "session-preferences-run-as", guide + "session-manager-schema"},
		Breaks:   []Part{PartSession},
	}, {
		Code: "runas-user-unset", Area: "session", Severity: fleet.SeverityBlocks,
		Title:    "Sessions are to run as a user that nobody names",
		Means:    "The preferences turn Run As on without a default user, and no IAM user or role is tagged SSMSessionRunAs. No session starts, and none falls back to ssm-user. A tag that a session of a role carries is not seen.",
		Detected: "runAsEnabled and runAsDefaultUser in the preferences; the tags of all IAM users and roles.",
		Fix:      "name a default user that exists on all hosts, or tag the operators, or turn Run As off",
		Undo:     "set the preferences back",
		Sources:  []string{guide + "session-preferences-run-as", guide + "session-manager-schema"},
		Breaks:   []Part{PartSession},
	}, {
		Code: "runas-user-missing", Area: "session", Severity: fleet.SeverityBlocks,
		Title:    "The user that sessions run as does not exist on the host",
		Means:    "The preferences turn Run As on. Session Manager starts no session as an account that the host does not have, and does not fall back to ssm-user.",
		Detected: "runAsDefaultUser in the preferences, or without one all SSMSessionRunAs tags of the account's users and roles, and the host's own list of users, which has none of them. Users of a domain need not be in that list and stay open.",
		Fix:      "create the account on the host, or name one that exists on all hosts",
		Undo:     "remove the account from the host (userdel)",
		Sources:  []string{guide + "session-preferences-run-as", "aws/amazon-ssm-agent, session shell plugin", "aws/amazon-ssm-agent issue 518"},
		Breaks:   []Part{PartSession},
	}, {
		Code: "preferences-unknown", Area: "session", Severity: fleet.SeverityUnknown,
		Title:    "What sessions are to do is not known",
		Means:    "Session Manager's preferences could not be read or understood. They may demand a key, a log or a user that the host does not have. So it stands for every host of the account and Region that has no shell open.",
		Detected: "ssm:GetDocument for SSM-SessionManagerRunShell was not asked, as of an inventory of an earlier version, gave no answer, or something that is no session document.",
		Fix:      "allow the inventory to call ssm:GetDocument on document SSM-SessionManagerRunShell (docs/permissions.md) and take it again, or prove the host by opening a session",
		Undo:     "take the permission away again",
		Sources:  []string{guide + "getting-started-configure-preferences-cli"},
	}, {
		Code: "preferences-undecided", Area: "session", Severity: fleet.SeverityUnknown,
		Title:    "Whether the host meets the preferences is not known",
		Means:    "Session Manager's preferences demand a key, an encrypted log or a user, and a fact about it is missing. Without it the session would be refused.",
		Detected: "The evidence names what is demanded and which fact is missing.",
		Fix:      "allow the inventory to read what is missing (kms:DescribeKey, kms:GetKeyPolicy, logs:DescribeLogGroups, s3:GetEncryptionConfiguration, the host's users), or prove the host by opening a session",
		Undo:     "take the permission away again",
		Sources:  []string{guide + "session-manager-troubleshooting", guide + "session-manager-schema"},
	}}
}

// lostEntries are about sessions that open, but not as the preferences have it.
func lostEntries() []Entry {
	return []Entry{{
		Code: "log-group-missing", Area: "session", Severity: fleet.SeverityRisk,
		Title:    "The log group for sessions does not exist",
		Means:    "Sessions open, but what is done in them is not recorded in CloudWatch Logs; a console may show a blank screen.",
		Detected: "The preferences name a log group, without a demand for encryption, that logs:DescribeLogGroups does not list.",
		Fix:      "create the log group, or take it out of the preferences",
		Undo:     "delete the log group again",
		Sources:  []string{guide + "session-manager-troubleshooting"},
	}, {
		Code: "log-rights-missing", Area: "session", Severity: fleet.SeverityRisk,
		Title:    "The role may not write session logs to CloudWatch Logs",
		Means:    "Sessions open, but what is done in them on these hosts is not recorded.",
		Detected: "logs:DescribeLogGroups, DescribeLogStreams, CreateLogStream and PutLogEvents, evaluated for the role on the log group of the preferences. One finding for each role and Region.",
		Fix:      "allow the role the actions on the log group",
		Undo:     "take the statement out of the role again",
		Sources:  []string{guide + "getting-started-create-iam-instance-profile"},
	}, {
		Code: "bucket-missing", Area: "session", Severity: fleet.SeverityRisk,
		Title:    "The bucket for session logs does not exist",
		Means:    "Sessions open, but what is done in them is not recorded in S3; a console may show a blank screen.",
		Detected: "The preferences name a bucket, without a demand for encryption, that s3:GetBucketLocation does not find.",
		Fix:      "create the bucket, or take it out of the preferences",
		Undo:     "delete the bucket again",
		Sources:  []string{guide + "session-manager-troubleshooting"},
	}, {
		Code: "bucket-rights-missing", Area: "session", Severity: fleet.SeverityRisk,
		Title:    "The role may not write session logs to the bucket",
		Means:    "Sessions open, but what is done in them on these hosts is not recorded.",
		Detected: "s3:PutObject below the prefix, evaluated for the role and against the bucket's policy. A bucket of another account also needs s3:PutObjectAcl. One finding for each role and Region.",
		Fix:      "allow the role s3:PutObject on the bucket and prefix",
		Undo:     "take the statement out of the role again",
		Sources:  []string{guide + "getting-started-create-iam-instance-profile", guide + "session-manager-logging-s3"},
	}, {
		Code: "log-key-denied", Area: "session", Severity: fleet.SeverityRisk,
		Title:    "The role may not use the bucket's key",
		Means:    "The bucket encrypts with a KMS key of yours. Who writes to it needs kms:GenerateDataKey; without it session logs are lost.",
		Detected: "kms:GenerateDataKey on the bucket's key, evaluated for the role. One finding for each role and Region.",
		Fix:      "allow the role kms:GenerateDataKey on the key, and let the key's policy leave it to the account's policies",
		Undo:     "take the statement out of the role again",
		Sources:  []string{guide + "getting-started-create-iam-instance-profile", guide + "session-manager-logging-s3"},
	}, {
		Code: "bucket-elsewhere", Area: "session", Severity: fleet.SeverityRisk,
		Title:    "The bucket for session logs is in another Region",
		Means:    "A gateway endpoint leads to buckets of its own Region only. Hosts that reach S3 by such an endpoint alone lose their session logs.",
		Detected: "s3:GetBucketLocation names another Region than that of the preferences.",
		Fix:      "name a bucket of the same Region in the preferences",
		Undo:     "name the former bucket again",
		Sources:  []string{vpcBook + "vpc-endpoints-s3", guide + "session-manager-troubleshooting"},
	}, {
		Code: "runas-tag-user-missing", Area: "session", Severity: fleet.SeverityRisk,
		Title:    "Operators' own users do not exist on the host",
		Means:    "The preferences turn Run As on, and IAM users or roles are tagged SSMSessionRunAs with accounts that this host does not have. Whoever has such a tag cannot open a session here, whatever the default user is.",
		Detected: "The tags of IAM users and roles, and the host's own list of users.",
		Fix:      "create the accounts on the host, or change the tags",
		Undo:     "remove the accounts from the host again",
		Sources:  []string{guide + "session-preferences-run-as"},
	}, {
		Code: "runas-tag-root", Area: "session", Severity: fleet.SeverityRisk,
		Title:    "An operator's tag asks for sessions as root",
		Means:    "Session Manager does not support root for sessions, and does not fall back: whoever has the tag cannot open one.",
		Detected: "The tag SSMSessionRunAs of an IAM user or role is root.",
		Fix:      "tag an ordinary account and give it sudo on the hosts",
		Undo:     "set the tag back",
		Sources:  []string{guide + "session-preferences-run-as"},
	}, {
		Code: "runas-user-unset-untagged", Area: "session", Severity: fleet.SeverityRisk,
		Title:    "Operators without a tag cannot open sessions",
		Means:    "The preferences turn Run As on without a default user: only who is tagged SSMSessionRunAs, or whose session is, can open a session.",
		Detected: "runAsEnabled and runAsDefaultUser in the preferences; the tags of IAM users and roles.",
		Fix:      "name a default user, or tag all operators",
		Undo:     "set the preferences back",
		Sources:  []string{guide + "session-preferences-run-as", guide + "session-manager-schema"},
	}, {
		Code: "preferences-invalid", Area: "session", Severity: fleet.SeverityRisk,
		Title:    "The preferences hold values that are not taken as meant",
		Means:    "The document was made by command line or template and holds something that its schema does not allow. Session Manager may pass over it or refuse sessions.",
		Detected: "The content of SSM-SessionManagerRunShell against the schema of session documents.",
		Fix:      "correct the values (aws ssm update-document, then update-document-default-version)",
		Undo:     "make the former version the default again",
		Sources:  []string{guide + "session-manager-schema"},
	}, {
		Code: "idle-timeout-short", Area: "session", Severity: fleet.SeverityNote,
		Title:    "Long SSH sessions meet a short idle timeout",
		Means:    "Users leave sessions open on this host for much longer than Session Manager would let them idle. What runs in the foreground of such a session ends with it.",
		Detected: "A terminal session over SSH that is open now began at least twelve idle timeouts ago, by the host's log. How long it was idle is not seen.",
		Fix:      "raise idleSessionTimeout (60 minutes at most), or have long work run in tmux or by Run Command",
		Undo:     "set the timeout back",
		Sources:  []string{guide + "session-manager-schema", "aws/amazon-ssm-agent issue 261"},
	}, {
		Code: "preferences-default", Area: "session", Severity: fleet.SeverityNote,
		Title:    "Session Manager works with its defaults",
		Means:    "Nobody saved preferences in this account and Region: sessions are not logged, not encrypted beyond TLS, run as ssm-user and end after 20 idle minutes.",
		Detected: "Document SSM-SessionManagerRunShell does not exist.",
		Fix:      "decide about logging, encryption, Run As and timeouts before people move, and save the preferences",
		Undo:     "delete the document, and the defaults hold again",
		Sources:  []string{guide + "getting-started-configure-preferences-cli", guide + "session-manager-schema"},
	}}
}
