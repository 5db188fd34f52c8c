# Plan 1a5386a4cdf5, written by migrate export terraform.

# Let role app-0901bf71 do what sessions need
# answers: role-lacks-session-actions, kms-decrypt-denied, log-check-denied
# - no inline policy migrate-session-manager-e64f56c5
# + ssm:UpdateInstanceInformation on *
# + ssmmessages:CreateControlChannel on *
# + ssmmessages:OpenControlChannel on *
# + ssmmessages:CreateDataChannel on *
# + ssmmessages:OpenDataChannel on *
# + kms:Decrypt on arn:aws:kms:eu-west-1:140207249019:key/c04f9cee-f96d-4f55-bcb6-f25d6358cc1f
# + logs:DescribeLogGroups on *
# + logs:CreateLogStream on arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*
# + logs:DescribeLogStreams on arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*
# + logs:PutLogEvents on arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*
# touches: role shared by 1 host

resource "aws_iam_role_policy" "app_0901bf71_migrate_session_manager_e64f56c5_140207249019" {
  provider = aws.a140207249019_eu_west_1
  name     = "migrate-session-manager-e64f56c5"
  role     = "app-0901bf71"
  policy = jsonencode({
    Statement = [{
      Action   = ["logs:DescribeLogGroups", "ssm:UpdateInstanceInformation", "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel"]
      Effect   = "Allow"
      Resource = ["*"]
      }, {
      Action   = ["kms:Decrypt"]
      Effect   = "Allow"
      Resource = ["arn:aws:kms:eu-west-1:140207249019:key/c04f9cee-f96d-4f55-bcb6-f25d6358cc1f"]
      }, {
      Action   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
      Effect   = "Allow"
      Resource = ["arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*"]
    }]
    Version = "2012-10-17"
  })
}

# Attach instance profile migrate-session-manager to tools-web-1 (i-0956d6f59e305c3f3)
# answers: profile-missing
# - no instance profile
# + instance profile migrate-session-manager with the role of that name, which may kms:Decrypt, logs:CreateLogStream, logs:DescribeLogGroups, logs:DescribeLogStreams, logs:PutLogEvents, ssm:UpdateInstance…
# touches: this host only; the profile and its role are made once in account 140207249019 for all hosts of the plan that need one
# warning: an instance that replaces it loses this: launch template lt-0f3a04e499a01bedb (tools-web-1-own), version 1, of Auto Scaling group tools-web-1 names no instance profile, knows no recovery key

resource "aws_iam_role" "migrate_session_manager_140207249019" {
  provider = aws.a140207249019_eu_west_1
  name     = "migrate-session-manager"
  path     = "/"
  assume_role_policy = jsonencode({
    Statement = [{
      Action = "sts:AssumeRole"
      Effect = "Allow"
      Principal = {
        Service = "ec2.amazonaws.com"
      }
    }]
    Version = "2012-10-17"
  })
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

resource "aws_iam_role_policy" "migrate_session_manager_ssm_migrate_140207249019" {
  provider = aws.a140207249019_eu_west_1
  name     = "ssm-migrate"
  role     = aws_iam_role.migrate_session_manager_140207249019.name
  policy = jsonencode({
    Statement = [{
      Action   = ["logs:DescribeLogGroups", "ssm:UpdateInstanceInformation", "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel"]
      Effect   = "Allow"
      Resource = ["*"]
      }, {
      Action   = ["kms:Decrypt"]
      Effect   = "Allow"
      Resource = ["arn:aws:kms:eu-west-1:140207249019:key/c04f9cee-f96d-4f55-bcb6-f25d6358cc1f"]
      }, {
      Action   = ["kms:Decrypt"]
      Effect   = "Allow"
      Resource = ["arn:aws:kms:us-east-1:140207249019:key/3351ba01-7747-8a9e-d14f-6cda4fde3ff9"]
      }, {
      Action   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
      Effect   = "Allow"
      Resource = ["arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*"]
      }, {
      Action   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
      Effect   = "Allow"
      Resource = ["arn:aws:logs:us-east-1:140207249019:log-group:/ssm/sessions:*"]
    }]
    Version = "2012-10-17"
  })
}

resource "aws_iam_instance_profile" "migrate_session_manager_140207249019" {
  provider = aws.a140207249019_eu_west_1
  name     = "migrate-session-manager"
  role     = aws_iam_role.migrate_session_manager_140207249019.name
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}
