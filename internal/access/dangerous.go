package access

// dangerous are actions that a policy made here allows to nobody but where it
// is promised: with any of them somebody gets on to hosts by another way, takes
// over identities, reads secrets or removes traces. Every text is asked for all of them.
// Source of the names: AWS Service Authorization Reference.
var dangerous = []string{
	"cloudtrail:DeleteTrail", "cloudtrail:StopLogging", "cloudtrail:UpdateTrail",
	"ec2-instance-connect:OpenTunnel", "ec2-instance-connect:SendSSHPublicKey", "ec2-instance-connect:SendSerialConsoleSSHPublicKey",
	"ec2:AssociateIamInstanceProfile", "ec2:AuthorizeSecurityGroupIngress", "ec2:CreateSnapshot", "ec2:CreateTags", "ec2:DeleteTags", "ec2:GetPasswordData",
	"ec2:ModifyInstanceAttribute", "ec2:ReplaceIamInstanceProfileAssociation", "ec2:RunInstances", "ec2:StopInstances", "ec2:TerminateInstances",
	"iam:AttachRolePolicy", "iam:AttachUserPolicy", "iam:CreateAccessKey", "iam:CreatePolicyVersion", "iam:CreateUser", "iam:PassRole", "iam:PutRolePolicy",
	"iam:PutUserPolicy", "iam:SetDefaultPolicyVersion", "iam:TagRole", "iam:TagUser", "iam:UpdateAssumeRolePolicy",
	"kms:CreateGrant", "kms:Decrypt", "kms:DisableKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:PutKeyPolicy", "kms:ScheduleKeyDeletion",
	"logs:CreateLogStream", "logs:DeleteLogGroup", "logs:DeleteLogStream", "logs:DescribeLogGroups", "logs:DisassociateKmsKey", "logs:GetLogEvents", "logs:PutLogEvents", "logs:PutRetentionPolicy",
	"s3:DeleteBucket", "s3:DeleteBucketPolicy", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:GetEncryptionConfiguration", "s3:GetObject", "s3:ListBucket", "s3:PutBucketPolicy", "s3:PutBucketVersioning",
	"s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration", "s3:PutObject",
	"scheduler:CreateSchedule", "secretsmanager:GetSecretValue",
	"ssm:AddTagsToResource", "ssm:CreateActivation", "ssm:CreateAssociation", "ssm:CreateDocument", "ssm:DeleteDocument", "ssm:DeleteParameter", "ssm:DeregisterManagedInstance",
	"ssm:GetDocument", "ssm:GetParameter", "ssm:GetParameters", "ssm:GetParametersByPath", "ssm:ModifyDocumentPermission", "ssm:PutInventory", "ssm:PutParameter", "ssm:RemoveTagsFromResource",
	"ssm:ResumeSession", "ssm:SendCommand", "ssm:StartAutomationExecution", "ssm:StartSession", "ssm:TerminateSession", "ssm:UpdateAssociation", "ssm:UpdateDocument",
	"ssm:UpdateDocumentDefaultVersion", "ssm:UpdateInstanceInformation", "ssm:UpdateManagedInstanceRole", "ssm:UpdateServiceSetting",
	"ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel",
	"ec2messages:GetMessages", "ec2messages:SendReply",
	"sts:AssumeRole", "sts:TagSession",
}
