package readiness

import "ssm-migrate/internal/fleet"

const (
	guide   = "AWS Systems Manager User Guide, "
	vpcBook = "Amazon VPC User Guide, "
	iamBook = "IAM User Guide, "
	ec2Book = "Amazon EC2 User Guide, "
)

func hostEntries() []Entry {
	return []Entry{{
		Code: "instance-not-running", Area: "host", Severity: fleet.SeverityUnknown,
		Title:    "The instance is not running",
		Means:    "An agent that does not run cannot be judged. Nothing else is said about this host.",
		Detected: "The state in ec2:DescribeInstances is not \"running\".",
		Fix:      "start the instance and take the inventory again, or leave it out of the move",
		Undo:     "stop the instance again",
		Sources:  []string{"Amazon EC2 API Reference, InstanceState"},
	}, {
		Code: "snapshot-stale", Area: "snapshot", Severity: fleet.SeverityRisk,
		Title:    "The snapshot is old",
		Means:    "Verdicts speak of the moment at which the snapshot was taken. The fleet may have changed since.",
		Detected: "The inventory ended longer ago than the policy's largest age (7 days by default).",
		Fix:      "take the inventory again",
		Undo:     "nothing to take back",
		Sources:  []string{"the readiness policy"},
	}}
}
