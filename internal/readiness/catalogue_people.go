package readiness

import "ssm-migrate/internal/fleet"

func peopleEntries() []Entry {
	return append(operatorEntries(), consumerEntries()...)
}

const (
	authorization = "AWS Service Authorization Reference, AWS Systems Manager"
	nothingToUndo = "nothing to take back"
	oldStatement  = "put the former policy statement back"
)

func operatorEntries() []Entry {
	return []Entry{{
		Code: "operators-unread", Area: "people", Severity: fleet.SeverityRisk,
		Title:    "Who may start sessions is not known",
		Means:    "Without the account's users and roles nobody can say who keeps access when SSH closes.",
		Detected: "The list of IAM users was refused or broke off.",
		Fix:      "let the inventory call iam:GetAccountAuthorizationDetails (docs/permissions.md) and take it again",
		Undo:     "remove the permission",
		Sources:  []string{"IAM API Reference, GetAccountAuthorizationDetails"},
	}, {
		Code: "operator-unrestricted", Area: "people", Severity: fleet.SeverityRisk,
		Title:    "Somebody may start sessions on every instance",
		Means:    "The grant names no instances and has no condition: new instances are open to it as well. SSH keys rarely reached as far.",
		Detected: "ssm:StartSession is allowed on an instance that nothing is known of, in every Region with hosts. Administrators, who may do everything, are left out.",
		Fix:      "narrow the statement to instances by ARN or by a tag condition (ssm:resourceTag/KEY), and keep the documents in a statement of their own",
		Undo:     oldStatement,
		Sources:  []string{guide + "getting-started-restrict-access-quickstart", authorization},
	}, {
		Code: "operator-edits-preferences", Area: "people", Severity: fleet.SeverityRisk,
		Title:    "Somebody may change the session preferences",
		Means:    "Document SSM-SessionManagerRunShell decides where sessions are logged, as whom they run and how they are encrypted. Whoever may change it may switch the logging off.",
		Detected: "ssm:CreateDocument, ssm:UpdateDocument, ssm:UpdateDocumentDefaultVersion or ssm:DeleteDocument is allowed on the document. Administrators are left out.",
		Fix:      "deny ssm:CreateDocument, ssm:UpdateDocument, ssm:UpdateDocumentDefaultVersion and ssm:DeleteDocument on document SSM-SessionManagerRunShell to operators, or leave the document out of what they may change",
		Undo:     oldStatement,
		Sources:  []string{"cloudonaut, \"Goodbye SSH, use AWS Session Manager instead\"", authorization},
	}, {
		Code: "operator-root-command", Area: "people", Severity: fleet.SeverityRisk,
		Title:    "Somebody may run commands as root",
		Means:    "Run Command runs AWS-RunShellScript as root, past Run As and past the session log. The right is worth as much as sudo.",
		Detected: "ssm:SendCommand is allowed on document AWS-RunShellScript and on hosts. Administrators are left out.",
		Fix:      "grant ssm:SendCommand like sudo: only to those who need root, or on documents of your own that do one thing",
		Undo:     oldStatement,
		Sources:  []string{guide + "run-command", authorization},
	}, {
		Code: "operator-others-sessions", Area: "people", Severity: fleet.SeverityRisk,
		Title:    "Somebody may take over or end other people's sessions",
		Means:    "Who resumes a session sits in somebody else's shell.",
		Detected: "ssm:ResumeSession or ssm:TerminateSession is allowed on a session that somebody else started. Administrators are left out.",
		Fix:      "allow both on session/${aws:username}-* for IAM users; for roles demand ssm:resourceTag/aws:ssmmessages:session-id like ${aws:userid}*",
		Undo:     oldStatement,
		Sources:  []string{guide + "getting-started-restrict-access-examples", authorization},
	}, {
		Code: "operator-data-channel", Area: "people", Severity: fleet.SeverityRisk,
		Title:    "The data channel is not granted",
		Means:    "Newer session-manager-plugins sign ssmmessages:OpenDataChannel with the operator's own credentials. Without the right, sessions start and then fail.",
		Detected: "ssm:StartSession may be allowed, ssmmessages:OpenDataChannel is not, neither on * nor on own sessions.",
		Fix:      "allow ssmmessages:OpenDataChannel on arn:aws:ssm:*:*:session/${aws:userid}-* and session/${aws:username}-*, or on *",
		Undo:     oldStatement,
		Sources:  []string{guide + "getting-started-default-session-document", guide + "getting-started-restrict-access-quickstart"},
	}, {
		Code: "operator-session-key", Area: "people", Severity: fleet.SeverityRisk,
		Title:    "Somebody may start sessions but not encrypt them",
		Means:    "The Region's preferences name a KMS key. Without kms:GenerateDataKey on it, the operator's shell sessions end before they begin; sessions that only forward ports go without it.",
		Detected: "ssm:StartSession may be allowed on hosts whose preferences name a key, and kms:GenerateDataKey on that key is not, by the operator's policies and the key's own.",
		Fix:      "allow the operator kms:GenerateDataKey on the key, and let the key's policy leave it to the account's policies",
		Undo:     oldStatement,
		Sources:  []string{guide + "session-preferences-enable-encryption", "ministryofjustice/modernisation-platform issue 1296"},
	}, {
		Code: "operator-document-implicit", Area: "people", Severity: fleet.SeverityRisk,
		Title:    "The default document is not granted",
		Means:    "The policy allows sessions on instances, but names no document. That used to grant the default shell; AWS now wants document SSM-SessionManagerRunShell named.",
		Detected: "ssm:StartSession is allowed on hosts and not on document SSM-SessionManagerRunShell, and no policy names a document, or what one grants of this document does not hold there.",
		Fix:      "add arn:aws:ssm:REGION:ACCOUNT:document/SSM-SessionManagerRunShell to the resources of ssm:StartSession",
		Undo:     oldStatement,
		Sources:  []string{guide + "getting-started-default-session-document"},
	}, {
		Code: "operator-document-unchecked", Area: "people", Severity: fleet.SeverityRisk,
		Title:    "A policy meant for one document may grant the default shell too",
		Means:    "The policy names documents other than the default one, and does not ask for the check of documents. Under the older rule whoever has it also gets the default shell, which may be root's by sudo.",
		Detected: "Policies name documents for ssm:StartSession, not SSM-SessionManagerRunShell, and hosts without the condition ssm:SessionDocumentAccessCheck.",
		Fix:      "add the condition BoolIfExists ssm:SessionDocumentAccessCheck true to the statement with the instances; who shall have the shell gets SSM-SessionManagerRunShell as a resource",
		Undo:     oldStatement,
		Sources:  []string{guide + "getting-started-sessiondocumentaccesscheck", "ashley, \"AWS SSM Quirks\""},
	}, {
		Code: "operator-tag-on-document", Area: "people", Severity: fleet.SeverityRisk,
		Title:    "A tag condition shuts the documents out",
		Means:    "The statement lists instances and documents and demands a tag. Documents lack the tag, so their part of the grant never holds, and sessions are refused.",
		Detected: "A statement that allows ssm:StartSession names documents and has a condition on resource tags, and no other statement grants those documents.",
		Fix:      "keep the documents in a statement of their own, without the tag condition",
		Undo:     oldStatement,
		Sources:  []string{"awslabs/awsome-distributed-ai pull request 1137", authorization},
	}, {
		Code: "operator-tags-match-nothing", Area: "people", Severity: fleet.SeverityRisk,
		Title:    "A tag condition matches no instance",
		Means:    "The grant looks like access and gives none: the tag is not on any host, its values are others, or the principal lacks the tag that it is compared with.",
		Detected: "The conditions of a statement that allows ssm:StartSession, held against the tags of all hosts of the account that its resources name.",
		Fix:      "tag the instances, or the principal, as the policy demands; or correct the condition",
		Undo:     "remove the tags",
		Sources:  []string{"IAM User Guide, access_tags", authorization},
	}, {
		Code: "operator-username-variable", Area: "people", Severity: fleet.SeverityRisk,
		Title:    "${aws:username} in a role's policy",
		Means:    "Sessions of a role, those of federated users among them, have no aws:username: what the variable stands in matches nothing. They cannot resume or end even their own sessions.",
		Detected: "A policy of a role that people assume uses the variable for sessions.",
		Fix:      "demand ssm:resourceTag/aws:ssmmessages:session-id like ${aws:userid}*",
		Undo:     oldStatement,
		Sources:  []string{"IAM User Guide, reference_policies_variables", guide + "getting-started-restrict-access-examples"},
	}}
}

func consumerEntries() []Entry {
	const traces = "Logins in the hosts' logs whose use is known, and what files and settings on hosts show. Consumers that are waived, silent or migrated are left out."
	return []Entry{{
		Code: "ssh-copies", Area: "people", Severity: fleet.SeverityRisk,
		Title:    "Files are copied over SSH",
		Means:    "scp, sftp and rsync work through Session Manager's SSH document, but at some 0.6 MB/s.",
		Detected: traces,
		Fix:      "relay large files through S3 (aws s3 cp on both ends, the host by its role); small ones may go through AWS-StartSSHSession",
		Undo:     "copy over SSH as before",
		Sources:  []string{"aws/amazon-ssm-agent issue 664"},
	}, {
		Code: "ssh-ansible", Area: "people", Severity: fleet.SeverityRisk,
		Title:    "Ansible works over SSH",
		Means:    "Playbooks stop when port 22 closes. Ansible's own connection for Session Manager is about half as fast and has failed with KMS encryption.",
		Detected: traces,
		Fix:      "use the connection community.aws.aws_ssm with a bucket for its files, or keep SSH with ProxyCommand aws ssm start-session --document-name AWS-StartSSHSession",
		Undo:     "set the connection back to ssh",
		Sources:  []string{"ansible-collections/community.aws issue 2209", "ansible-collections/community.aws issue 684"},
	}, {
		Code: "ssh-git", Area: "people", Severity: fleet.SeverityRisk,
		Title:    "git works over SSH",
		Means:    "Working copies with SSH remotes pull with the agent that somebody forwards. Session Manager's shell forwards none, and deployments fail. Repositories on the host itself are reached over port 22.",
		Detected: traces,
		Fix:      "give each host a deploy key or a token of its own for the remotes; move repositories that hosts serve to a git service",
		Undo:     "remove the deploy key",
		Sources:  []string{guide + "session-manager", "OpenSSH, ssh(1), -A"},
	}, {
		Code: "ssh-agent-forwarding", Area: "people", Severity: fleet.SeverityRisk,
		Title:    "Somebody forwards an SSH agent",
		Means:    "What is reached from the host with the forwarded agent, other hosts or git remotes, will not be reached from a Session Manager shell.",
		Detected: "An SSH session that is open now has an agent socket.",
		Fix:      "find out what the agent is used for: jump to other hosts by Session Manager directly, and give git a deploy key",
		Undo:     nothingToUndo,
		Sources:  []string{"OpenSSH, ssh(1), -A"},
	}, {
		Code: "ssh-tunnels", Area: "people", Severity: fleet.SeverityRisk,
		Title:    "Ports are forwarded over SSH",
		Means:    "Tunnels break when port 22 closes. Session Manager forwards ports too, but TCP only, from the client to the host, and each with a document that must be granted.",
		Detected: traces,
		Fix:      "use AWS-StartPortForwardingSession for the host's own ports and AWS-StartPortForwardingSessionToRemoteHost (agent 3.1.1374.0) for others; grant these documents",
		Undo:     "forward over SSH as before",
		Sources:  []string{guide + "session-manager-working-with-sessions-start", "aws/amazon-ssm-agent issue 478"},
	}, {
		Code: "consumer-forgotten", Area: "people", Severity: fleet.SeverityRisk,
		Title:    "A script that nobody claims comes regularly",
		Means:    "It will hang or fail when port 22 closes, and nobody knows yet who will notice.",
		Detected: "Logins without a terminal that no owner claims, on one host at least three over a day or more.",
		Fix:      "find its owner by key, address and time; name it in the owners file, and move it to Run Command, a session document or an API",
		Undo:     nothingToUndo,
		Sources:  []string{"openaustralia/openaustralia issue 974"},
	}, {
		Code: "ssh-through-session-manager", Area: "people", Severity: fleet.SeverityNote,
		Title:    "SSH already comes through Session Manager",
		Means:    "Logins from the loopback address do not need port 22, but they still need sshd, the key and an account: keys moved aside end them.",
		Detected: "Logins from 127.0.0.1 or ::1 in the host's log, as AWS-StartSSHSession makes them. A program on the host that logs in to itself looks the same.",
		Fix:      "decide whether these users keep their keys, or change to the shell and port sessions of Session Manager",
		Undo:     nothingToUndo,
		Sources:  []string{guide + "session-manager-getting-started-enable-ssh-connections", "Nebulaworks, \"Minimal IAM permissions for Session Manager\""},
	}, {
		Code: "access-lost", Area: "people", Severity: fleet.SeverityRisk,
		Title:    "Somebody would lose access",
		Means:    "Their key opens hosts on which none of their IAM principals may start a session.",
		Detected: "For each owner and host: what sshd accepts of their keys and certificates, against ssm:StartSession with the default document for their principals. What is not known is not counted.",
		Fix:      "name their IAM principal in the owners file; grant it ssm:StartSession on these hosts; or agree that the access ends",
		Undo:     oldStatement,
		Sources:  []string{"docs/owners.md"},
	}, {
		Code: "access-gained", Area: "people", Severity: fleet.SeverityNote,
		Title:    "Somebody gains much access",
		Means:    "They may start sessions on many hosts that their keys do not open today. Closing SSH should not widen who gets in.",
		Detected: "An owner gains at least ten hosts, and more than they keep.",
		Fix:      "narrow the grant of ssm:StartSession to the hosts that they need",
		Undo:     oldStatement,
		Sources:  []string{"docs/owners.md"},
	}}
}
