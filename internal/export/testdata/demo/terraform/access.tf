# Plan 1a5386a4cdf5, written by migrate export terraform.

# migrate-instance-app of instance app
# the role of their instance profile; used by 1 host
# proved: agents of 1 host with role app may keep up and serve sessions: ssm:UpdateInstanceInformation, ssmmessages:CreateControlChannel, ssmmessages:OpenControlChannel, ssmmessages:CreateDataChannel, ssmmessag…
# proved: and kms:Decrypt on arn:aws:kms:eu-west-1:140207249019:key/c04f9cee-f96d-4f55-bcb6-f25d6358cc1f
# proved: and logs:DescribeLogGroups
# proved: and logs:CreateLogStream on arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*
# proved: and logs:DescribeLogStreams on arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*
# proved: and logs:PutLogEvents on arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*
# proved: ssm:UpdateInstanceInformation and ssmmessages:CreateControlChannel only from instances of account 140207249019
# proved: asked 9188 requests: 2385 allowed, all promised; 6803 not allowed, none promised

resource "aws_iam_policy" "migrate_instance_app_140207249019" {
  provider    = aws.a140207249019_eu_west_1
  name        = "migrate-instance-app"
  description = "the role of their instance profile; used by 1 host"
  policy = jsonencode({
    Statement = [{
      Action = ["ssm:UpdateInstanceInformation", "ssmmessages:CreateControlChannel"]
      Condition = {
        ArnLike = {
          "ec2:SourceInstanceARN" = ["arn:aws:ec2:*:140207249019:instance/*"]
        }
      }
      Effect   = "Allow"
      Resource = ["*"]
      Sid      = "AgentOfOwnInstance"
      }, {
      Action   = ["ssmmessages:OpenControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenDataChannel", "logs:DescribeLogGroups"]
      Effect   = "Allow"
      Resource = ["*"]
      Sid      = "Agent"
      }, {
      Action   = ["kms:Decrypt"]
      Effect   = "Allow"
      Resource = ["arn:aws:kms:eu-west-1:140207249019:key/c04f9cee-f96d-4f55-bcb6-f25d6358cc1f"]
      Sid      = "SessionLog1"
      }, {
      Action   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
      Effect   = "Allow"
      Resource = ["arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*"]
      Sid      = "SessionLog2"
    }]
    Version = "2012-10-17"
  })
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
  lifecycle {
    ignore_changes = [description]
  }
}

resource "aws_iam_role_policy_attachment" "migrate_instance_app_app_140207249019" {
  provider   = aws.a140207249019_eu_west_1
  role       = "app"
  policy_arn = aws_iam_policy.migrate_instance_app_140207249019.arn
}

# migrate-instance-app-0901bf71 of instance app-0901bf71
# the role of their instance profile; used by 1 host
# proved: agents of 1 host with role app-0901bf71 may keep up and serve sessions: ssm:UpdateInstanceInformation, ssmmessages:CreateControlChannel, ssmmessages:OpenControlChannel, ssmmessages:CreateDataChannel, …
# proved: and kms:Decrypt on arn:aws:kms:eu-west-1:140207249019:key/c04f9cee-f96d-4f55-bcb6-f25d6358cc1f
# proved: and logs:DescribeLogGroups
# proved: and logs:CreateLogStream on arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*
# proved: and logs:DescribeLogStreams on arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*
# proved: and logs:PutLogEvents on arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*
# proved: ssm:UpdateInstanceInformation and ssmmessages:CreateControlChannel only from instances of account 140207249019
# proved: asked 9188 requests: 2385 allowed, all promised; 6803 not allowed, none promised

resource "aws_iam_policy" "migrate_instance_app_0901bf71_140207249019" {
  provider    = aws.a140207249019_eu_west_1
  name        = "migrate-instance-app-0901bf71"
  description = "the role of their instance profile; used by 1 host"
  policy = jsonencode({
    Statement = [{
      Action = ["ssm:UpdateInstanceInformation", "ssmmessages:CreateControlChannel"]
      Condition = {
        ArnLike = {
          "ec2:SourceInstanceARN" = ["arn:aws:ec2:*:140207249019:instance/*"]
        }
      }
      Effect   = "Allow"
      Resource = ["*"]
      Sid      = "AgentOfOwnInstance"
      }, {
      Action   = ["ssmmessages:OpenControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenDataChannel", "logs:DescribeLogGroups"]
      Effect   = "Allow"
      Resource = ["*"]
      Sid      = "Agent"
      }, {
      Action   = ["kms:Decrypt"]
      Effect   = "Allow"
      Resource = ["arn:aws:kms:eu-west-1:140207249019:key/c04f9cee-f96d-4f55-bcb6-f25d6358cc1f"]
      Sid      = "SessionLog1"
      }, {
      Action   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
      Effect   = "Allow"
      Resource = ["arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*"]
      Sid      = "SessionLog2"
    }]
    Version = "2012-10-17"
  })
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
  lifecycle {
    ignore_changes = [description]
  }
}

resource "aws_iam_role_policy_attachment" "migrate_instance_app_0901bf71_app_0901bf71_140207249019" {
  provider   = aws.a140207249019_eu_west_1
  role       = "app-0901bf71"
  policy_arn = aws_iam_policy.migrate_instance_app_0901bf71_140207249019.arn
}

# migrate-instance-db of instance db
# the role of their instance profile; used by 2 hosts
# proved: agents of 2 hosts with role db may keep up and serve sessions: ssm:UpdateInstanceInformation, ssmmessages:CreateControlChannel, ssmmessages:OpenControlChannel, ssmmessages:CreateDataChannel, ssmmessag…
# proved: and kms:Decrypt on arn:aws:kms:eu-west-1:140207249019:key/c04f9cee-f96d-4f55-bcb6-f25d6358cc1f
# proved: and logs:DescribeLogGroups
# proved: and logs:CreateLogStream on arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*
# proved: and logs:DescribeLogStreams on arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*
# proved: and logs:PutLogEvents on arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*
# proved: and kms:Decrypt on arn:aws:kms:us-east-1:140207249019:key/3351ba01-7747-8a9e-d14f-6cda4fde3ff9
# proved: and logs:CreateLogStream on arn:aws:logs:us-east-1:140207249019:log-group:/ssm/sessions:*
# proved: and logs:DescribeLogStreams on arn:aws:logs:us-east-1:140207249019:log-group:/ssm/sessions:*
# proved: and logs:PutLogEvents on arn:aws:logs:us-east-1:140207249019:log-group:/ssm/sessions:*
# proved: ssm:UpdateInstanceInformation and ssmmessages:CreateControlChannel only from instances of account 140207249019
# proved: asked 14095 requests: 3027 allowed, all promised; 11068 not allowed, none promised

resource "aws_iam_policy" "migrate_instance_db_140207249019" {
  provider    = aws.a140207249019_eu_west_1
  name        = "migrate-instance-db"
  description = "the role of their instance profile; used by 2 hosts"
  policy = jsonencode({
    Statement = [{
      Action = ["ssm:UpdateInstanceInformation", "ssmmessages:CreateControlChannel"]
      Condition = {
        ArnLike = {
          "ec2:SourceInstanceARN" = ["arn:aws:ec2:*:140207249019:instance/*"]
        }
      }
      Effect   = "Allow"
      Resource = ["*"]
      Sid      = "AgentOfOwnInstance"
      }, {
      Action   = ["ssmmessages:OpenControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenDataChannel", "logs:DescribeLogGroups"]
      Effect   = "Allow"
      Resource = ["*"]
      Sid      = "Agent"
      }, {
      Action   = ["kms:Decrypt"]
      Effect   = "Allow"
      Resource = ["arn:aws:kms:eu-west-1:140207249019:key/c04f9cee-f96d-4f55-bcb6-f25d6358cc1f"]
      Sid      = "SessionLog1"
      }, {
      Action   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
      Effect   = "Allow"
      Resource = ["arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*"]
      Sid      = "SessionLog2"
      }, {
      Action   = ["kms:Decrypt"]
      Effect   = "Allow"
      Resource = ["arn:aws:kms:us-east-1:140207249019:key/3351ba01-7747-8a9e-d14f-6cda4fde3ff9"]
      Sid      = "SessionLog3"
      }, {
      Action   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
      Effect   = "Allow"
      Resource = ["arn:aws:logs:us-east-1:140207249019:log-group:/ssm/sessions:*"]
      Sid      = "SessionLog4"
    }]
    Version = "2012-10-17"
  })
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
  lifecycle {
    ignore_changes = [description]
  }
}

resource "aws_iam_role_policy_attachment" "migrate_instance_db_db_140207249019" {
  provider   = aws.a140207249019_eu_west_1
  role       = "db"
  policy_arn = aws_iam_policy.migrate_instance_db_140207249019.arn
}

# migrate-instance-migrate-session-manager of instance migrate-session-manager
# the role of an instance profile for hosts that have none; used by 1 host
# proved: agents of 1 host with role migrate-session-manager may keep up and serve sessions: ssm:UpdateInstanceInformation, ssmmessages:CreateControlChannel, ssmmessages:OpenControlChannel, ssmmessages:CreateDa…
# proved: and kms:Decrypt on arn:aws:kms:eu-west-1:140207249019:key/c04f9cee-f96d-4f55-bcb6-f25d6358cc1f
# proved: and logs:DescribeLogGroups
# proved: and logs:CreateLogStream on arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*
# proved: and logs:DescribeLogStreams on arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*
# proved: and logs:PutLogEvents on arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*
# proved: ssm:UpdateInstanceInformation and ssmmessages:CreateControlChannel only from instances of account 140207249019
# proved: asked 9188 requests: 2385 allowed, all promised; 6803 not allowed, none promised

resource "aws_iam_policy" "migrate_instance_migrate_session_manager_140207249019" {
  provider    = aws.a140207249019_eu_west_1
  name        = "migrate-instance-migrate-session-manager"
  description = "the role of an instance profile for hosts that have none; used by 1 host"
  policy = jsonencode({
    Statement = [{
      Action = ["ssm:UpdateInstanceInformation", "ssmmessages:CreateControlChannel"]
      Condition = {
        ArnLike = {
          "ec2:SourceInstanceARN" = ["arn:aws:ec2:*:140207249019:instance/*"]
        }
      }
      Effect   = "Allow"
      Resource = ["*"]
      Sid      = "AgentOfOwnInstance"
      }, {
      Action   = ["ssmmessages:OpenControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenDataChannel", "logs:DescribeLogGroups"]
      Effect   = "Allow"
      Resource = ["*"]
      Sid      = "Agent"
      }, {
      Action   = ["kms:Decrypt"]
      Effect   = "Allow"
      Resource = ["arn:aws:kms:eu-west-1:140207249019:key/c04f9cee-f96d-4f55-bcb6-f25d6358cc1f"]
      Sid      = "SessionLog1"
      }, {
      Action   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
      Effect   = "Allow"
      Resource = ["arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*"]
      Sid      = "SessionLog2"
    }]
    Version = "2012-10-17"
  })
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
  lifecycle {
    ignore_changes = [description]
  }
}

resource "aws_iam_role_policy_attachment" "migrate_instance_migrate_session_manager_migrate_session_manager_140207249019" {
  provider   = aws.a140207249019_eu_west_1
  role       = "migrate-session-manager"
  policy_arn = aws_iam_policy.migrate_instance_migrate_session_manager_140207249019.arn
}

# migrate-instance-web of instance web
# the role of their instance profile; used by 1 host
# proved: agents of 1 host with role web may keep up and serve sessions: ssm:UpdateInstanceInformation, ssmmessages:CreateControlChannel, ssmmessages:OpenControlChannel, ssmmessages:CreateDataChannel, ssmmessag…
# proved: and kms:Decrypt on arn:aws:kms:us-east-1:140207249019:key/3351ba01-7747-8a9e-d14f-6cda4fde3ff9
# proved: and logs:DescribeLogGroups
# proved: and logs:CreateLogStream on arn:aws:logs:us-east-1:140207249019:log-group:/ssm/sessions:*
# proved: and logs:DescribeLogStreams on arn:aws:logs:us-east-1:140207249019:log-group:/ssm/sessions:*
# proved: and logs:PutLogEvents on arn:aws:logs:us-east-1:140207249019:log-group:/ssm/sessions:*
# proved: ssm:UpdateInstanceInformation and ssmmessages:CreateControlChannel only from instances of account 140207249019
# proved: asked 9188 requests: 2385 allowed, all promised; 6803 not allowed, none promised

resource "aws_iam_policy" "migrate_instance_web_140207249019" {
  provider    = aws.a140207249019_eu_west_1
  name        = "migrate-instance-web"
  description = "the role of their instance profile; used by 1 host"
  policy = jsonencode({
    Statement = [{
      Action = ["ssm:UpdateInstanceInformation", "ssmmessages:CreateControlChannel"]
      Condition = {
        ArnLike = {
          "ec2:SourceInstanceARN" = ["arn:aws:ec2:*:140207249019:instance/*"]
        }
      }
      Effect   = "Allow"
      Resource = ["*"]
      Sid      = "AgentOfOwnInstance"
      }, {
      Action   = ["ssmmessages:OpenControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenDataChannel", "logs:DescribeLogGroups"]
      Effect   = "Allow"
      Resource = ["*"]
      Sid      = "Agent"
      }, {
      Action   = ["kms:Decrypt"]
      Effect   = "Allow"
      Resource = ["arn:aws:kms:us-east-1:140207249019:key/3351ba01-7747-8a9e-d14f-6cda4fde3ff9"]
      Sid      = "SessionLog1"
      }, {
      Action   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
      Effect   = "Allow"
      Resource = ["arn:aws:logs:us-east-1:140207249019:log-group:/ssm/sessions:*"]
      Sid      = "SessionLog2"
    }]
    Version = "2012-10-17"
  })
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
  lifecycle {
    ignore_changes = [description]
  }
}

resource "aws_iam_role_policy_attachment" "migrate_instance_web_web_140207249019" {
  provider   = aws.a140207249019_eu_west_1
  role       = "web"
  policy_arn = aws_iam_policy.migrate_instance_web_140207249019.arn
}

# migrate-instance-worker of instance worker
# the role of their instance profile; used by 2 hosts
# proved: agents of 2 hosts with role worker may keep up and serve sessions: ssm:UpdateInstanceInformation, ssmmessages:CreateControlChannel, ssmmessages:OpenControlChannel, ssmmessages:CreateDataChannel, ssmme…
# proved: and kms:Decrypt on arn:aws:kms:eu-west-1:140207249019:key/c04f9cee-f96d-4f55-bcb6-f25d6358cc1f
# proved: and logs:DescribeLogGroups
# proved: and logs:CreateLogStream on arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*
# proved: and logs:DescribeLogStreams on arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*
# proved: and logs:PutLogEvents on arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*
# proved: and kms:Decrypt on arn:aws:kms:us-east-1:140207249019:key/3351ba01-7747-8a9e-d14f-6cda4fde3ff9
# proved: and logs:CreateLogStream on arn:aws:logs:us-east-1:140207249019:log-group:/ssm/sessions:*
# proved: and logs:DescribeLogStreams on arn:aws:logs:us-east-1:140207249019:log-group:/ssm/sessions:*
# proved: and logs:PutLogEvents on arn:aws:logs:us-east-1:140207249019:log-group:/ssm/sessions:*
# proved: ssm:UpdateInstanceInformation and ssmmessages:CreateControlChannel only from instances of account 140207249019
# proved: asked 14095 requests: 3027 allowed, all promised; 11068 not allowed, none promised

resource "aws_iam_policy" "migrate_instance_worker_140207249019" {
  provider    = aws.a140207249019_eu_west_1
  name        = "migrate-instance-worker"
  description = "the role of their instance profile; used by 2 hosts"
  policy = jsonencode({
    Statement = [{
      Action = ["ssm:UpdateInstanceInformation", "ssmmessages:CreateControlChannel"]
      Condition = {
        ArnLike = {
          "ec2:SourceInstanceARN" = ["arn:aws:ec2:*:140207249019:instance/*"]
        }
      }
      Effect   = "Allow"
      Resource = ["*"]
      Sid      = "AgentOfOwnInstance"
      }, {
      Action   = ["ssmmessages:OpenControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenDataChannel", "logs:DescribeLogGroups"]
      Effect   = "Allow"
      Resource = ["*"]
      Sid      = "Agent"
      }, {
      Action   = ["kms:Decrypt"]
      Effect   = "Allow"
      Resource = ["arn:aws:kms:eu-west-1:140207249019:key/c04f9cee-f96d-4f55-bcb6-f25d6358cc1f"]
      Sid      = "SessionLog1"
      }, {
      Action   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
      Effect   = "Allow"
      Resource = ["arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*"]
      Sid      = "SessionLog2"
      }, {
      Action   = ["kms:Decrypt"]
      Effect   = "Allow"
      Resource = ["arn:aws:kms:us-east-1:140207249019:key/3351ba01-7747-8a9e-d14f-6cda4fde3ff9"]
      Sid      = "SessionLog3"
      }, {
      Action   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
      Effect   = "Allow"
      Resource = ["arn:aws:logs:us-east-1:140207249019:log-group:/ssm/sessions:*"]
      Sid      = "SessionLog4"
    }]
    Version = "2012-10-17"
  })
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
  lifecycle {
    ignore_changes = [description]
  }
}

resource "aws_iam_role_policy_attachment" "migrate_instance_worker_worker_140207249019" {
  provider   = aws.a140207249019_eu_west_1
  role       = "worker"
  policy_arn = aws_iam_policy.migrate_instance_worker_140207249019.arn
}

# migrate-operator-hiro of operator hiro
# for hiro, who get in over SSH today on 2 hosts, known by tag team = platform
# proved: hiro may start sessions on 2 of 8 hosts, and instances to come with tag team = platform with SSM-SessionManagerRunShell, and with no other document
# proved: resume and end sessions: their own only
# proved: nothing else: no SSH through Session Manager, no sessions on other hosts, Run Command, changes of tags, roles, rules and documents
# proved: denied whatever other policies allow: changes of arn:aws:ssm:*:140207249019:document/SSM-SessionManagerRunShell, arn:aws:ssm:*:140207249019:document/migrate-*, arn:aws:logs:eu-west-1:140207249019:log-…
# proved: asked 7712 requests: 3841 allowed, all promised; 3871 not allowed, none promised

resource "aws_iam_policy" "migrate_operator_hiro_140207249019" {
  provider    = aws.a140207249019_eu_west_1
  name        = "migrate-operator-hiro"
  description = "for hiro, who get in over SSH today on 2 hosts, known by tag team = platform"
  policy = jsonencode({
    Statement = [{
      Action = ["ssm:StartSession"]
      Condition = {
        BoolIfExists = {
          "ssm:SessionDocumentAccessCheck" = ["true"]
        }
      }
      Effect   = "Allow"
      Resource = ["arn:aws:ssm:eu-west-1:140207249019:document/SSM-SessionManagerRunShell"]
      Sid      = "Documents"
      }, {
      Action   = ["ssmmessages:OpenDataChannel"]
      Effect   = "Allow"
      Resource = ["*"]
      Sid      = "DataChannel"
      }, {
      Action   = ["ssm:ResumeSession", "ssm:TerminateSession"]
      Effect   = "Allow"
      Resource = ["arn:aws:ssm:*:140207249019:session/$${aws:username}-*"]
      Sid      = "OwnSessionsOfUsers"
      }, {
      Action   = ["ssm:DescribeSessions", "ssm:GetConnectionStatus", "ssm:DescribeInstanceInformation", "ssm:DescribeInstanceProperties", "ec2:DescribeInstances"]
      Effect   = "Allow"
      Resource = ["*"]
      Sid      = "Look"
      }, {
      Action   = ["kms:GenerateDataKey"]
      Effect   = "Allow"
      Resource = ["arn:aws:kms:eu-west-1:140207249019:key/c04f9cee-f96d-4f55-bcb6-f25d6358cc1f"]
      Sid      = "EncryptSessions"
      }, {
      Action   = ["ssm:CreateDocument", "ssm:UpdateDocument", "ssm:UpdateDocumentDefaultVersion", "ssm:DeleteDocument", "ssm:ModifyDocumentPermission"]
      Effect   = "Deny"
      Resource = ["arn:aws:ssm:*:140207249019:document/SSM-SessionManagerRunShell", "arn:aws:ssm:*:140207249019:document/migrate-*"]
      Sid      = "ProtectDocuments"
      }, {
      Action   = ["logs:DeleteLogGroup", "logs:DeleteLogStream", "logs:PutRetentionPolicy", "logs:DisassociateKmsKey"]
      Effect   = "Deny"
      Resource = ["arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions", "arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*"]
      Sid      = "ProtectLogGroup"
      }, {
      Action   = ["kms:ScheduleKeyDeletion", "kms:DisableKey", "kms:PutKeyPolicy"]
      Effect   = "Deny"
      Resource = ["arn:aws:kms:eu-west-1:140207249019:key/c04f9cee-f96d-4f55-bcb6-f25d6358cc1f"]
      Sid      = "ProtectKey"
      }, {
      Action = ["ssm:StartSession"]
      Condition = {
        BoolIfExists = {
          "ssm:SessionDocumentAccessCheck" = ["true"]
        }
        StringEquals = {
          "ssm:resourceTag/team" = ["platform"]
        }
      }
      Effect   = "Allow"
      Resource = ["arn:aws:ec2:eu-west-1:140207249019:instance/*"]
      Sid      = "Hosts"
    }]
    Version = "2012-10-17"
  })
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
  lifecycle {
    ignore_changes = [description]
  }
}

resource "aws_iam_user_policy_attachment" "migrate_operator_hiro_hiro_140207249019" {
  provider   = aws.a140207249019_eu_west_1
  user       = "hiro"
  policy_arn = aws_iam_policy.migrate_operator_hiro_140207249019.arn
}

import {
  to = aws_ssm_document.ssm_sessionmanagerrunshell_140207249019_eu_west_1
  id = "SSM-SessionManagerRunShell"
}

resource "aws_ssm_document" "ssm_sessionmanagerrunshell_140207249019_eu_west_1" {
  provider        = aws.a140207249019_eu_west_1
  name            = "SSM-SessionManagerRunShell"
  document_type   = "Session"
  document_format = "JSON"
  content = jsonencode({
    description = "Session Manager preferences"
    inputs = {
      cloudWatchEncryptionEnabled = true
      cloudWatchLogGroupName      = "/ssm/sessions"
      cloudWatchStreamingEnabled  = true
      idleSessionTimeout          = "60"
      kmsKeyId                    = "arn:aws:kms:eu-west-1:140207249019:key/c04f9cee-f96d-4f55-bcb6-f25d6358cc1f"
      maxSessionDuration          = ""
      runAsDefaultUser            = ""
      runAsEnabled                = false
      s3BucketName                = ""
      s3EncryptionEnabled         = true
      s3KeyPrefix                 = ""
      shellProfile = {
        linux   = ""
        windows = ""
      }
    }
    schemaVersion = "1.0"
    sessionType   = "Standard_Stream"
  })
}

import {
  to = aws_ssm_document.ssm_sessionmanagerrunshell_140207249019_us_east_1
  id = "SSM-SessionManagerRunShell"
}

resource "aws_ssm_document" "ssm_sessionmanagerrunshell_140207249019_us_east_1" {
  provider        = aws.a140207249019_us_east_1
  name            = "SSM-SessionManagerRunShell"
  document_type   = "Session"
  document_format = "JSON"
  content = jsonencode({
    description = "Session Manager preferences"
    inputs = {
      cloudWatchEncryptionEnabled = true
      cloudWatchLogGroupName      = "/ssm/sessions"
      cloudWatchStreamingEnabled  = true
      idleSessionTimeout          = "60"
      kmsKeyId                    = "arn:aws:kms:us-east-1:140207249019:key/3351ba01-7747-8a9e-d14f-6cda4fde3ff9"
      maxSessionDuration          = ""
      runAsDefaultUser            = ""
      runAsEnabled                = false
      s3BucketName                = ""
      s3EncryptionEnabled         = true
      s3KeyPrefix                 = ""
      shellProfile = {
        linux   = ""
        windows = ""
      }
    }
    schemaVersion = "1.0"
    sessionType   = "Standard_Stream"
  })
}
# policy migrate-operator-alice is left out, its proof does not hold: user/alice is allowed ssm:StartSession on arn:aws:ec2:eu-west-1:140207249019:instance/i-0956d6f59e305c3f3, which nothing promises (document 1 allows it)
# policy migrate-operator-bob is left out, its proof does not hold: user/bob is allowed ssm:StartSession on arn:aws:ec2:us-east-1:140207249019:instance/i-0b103a563f459930a, which nothing promises (document 1 allows it)
# policy migrate-operator-carol is left out, its proof does not hold: role/data-operators as carol@corp.example is allowed ssm:StartSession on arn:aws:ec2:eu-west-1:140207249019:instance/i-09bdecf89b1f334fd, which nothing promises (document 1 allows it); role/data-opera…
# policy migrate-operator-ines is left out, its proof does not hold: role/data-operators as ines@corp.example is allowed ssm:StartSession on arn:aws:ec2:eu-west-1:140207249019:instance/i-02327aa090ea4ab7b, which nothing promises (document 1 allows it)
