# Plan 1a5386a4cdf5, written by migrate export terraform.

# Make role migrate-rule-timer in account 140207249019, by which a timer opens port 22 again
# - no inline policy migrate-rule-timer-c9c2c6b6, or no role migrate-rule-timer
# + ec2:AuthorizeSecurityGroupIngress on arn:aws:ec2:eu-west-1:140207249019:security-group/sg-022dc97a0c03fc67f, arn:aws:ec2:eu-west-1:140207249019:security-group/sg-048f36e1efba3ce1b, arn:aws:ec2:eu-west…
# + autoscaling:SetDesiredCapacity on migrate-recovery-*
# + for scheduler.amazonaws.com in this account only
# touches: nobody else: only timers of migrate assume the role

resource "aws_iam_role" "migrate_rule_timer_140207249019" {
  provider = aws.a140207249019_eu_west_1
  name     = "migrate-rule-timer"
  path     = "/"
  assume_role_policy = jsonencode({
    Statement = [{
      Action = ["sts:AssumeRole"]
      Condition = {
        StringEquals = {
          "aws:SourceAccount" = "140207249019"
        }
      }
      Effect = "Allow"
      Principal = {
        Service = "scheduler.amazonaws.com"
      }
    }]
    Version = "2012-10-17"
  })
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

resource "aws_iam_role_policy" "migrate_rule_timer_migrate_rule_timer_c9c2c6b6_140207249019" {
  provider = aws.a140207249019_eu_west_1
  name     = "migrate-rule-timer-c9c2c6b6"
  role     = aws_iam_role.migrate_rule_timer_140207249019.name
  policy = jsonencode({
    Statement = [{
      Action   = ["ec2:AuthorizeSecurityGroupIngress"]
      Effect   = "Allow"
      Resource = ["arn:aws:ec2:eu-west-1:140207249019:security-group/sg-022dc97a0c03fc67f", "arn:aws:ec2:eu-west-1:140207249019:security-group/sg-048f36e1efba3ce1b", "arn:aws:ec2:eu-west-1:140207249019:security-group/sg-09174c779831eb083", "arn:aws:ec2:eu-west-1:140207249019:security-group/sg-0cf13e324059c0813", "arn:aws:ec2:eu-west-1:140207249019:security-group/sg-0e9ed4b8835ab9c7f", "arn:aws:ec2:us-east-1:140207249019:security-group/sg-03153195c7eaed467", "arn:aws:ec2:us-east-1:140207249019:security-group/sg-0bacbaafdc4636d20", "arn:aws:ec2:us-east-1:140207249019:security-group/sg-0eb0ee91c7b662eb5", "arn:aws:ec2:us-east-1:140207249019:security-group/sg-0fcdbd1342cb738ac"]
      }, {
      Action   = ["autoscaling:SetDesiredCapacity"]
      Effect   = "Allow"
      Resource = ["arn:aws:autoscaling:*:140207249019:autoScalingGroup:*:autoScalingGroupName/migrate-recovery-*"]
      }, {
      Action = ["ec2:CreateTags"]
      Condition = {
        StringEquals = {
          "ec2:CreateAction" = "AuthorizeSecurityGroupIngress"
        }
      }
      Effect   = "Allow"
      Resource = ["arn:aws:ec2:*:140207249019:security-group-rule/*"]
    }]
    Version = "2012-10-17"
  })
}

# Make recovery bastion migrate-recovery-vpc-014a0b0c3b8c95ac1, held at zero instances
# - no second way into VPC vpc-014a0b0c3b8c95ac1
# + Auto Scaling group migrate-recovery-vpc-014a0b0c3b8c95ac1: 0 of at most 1 instance, t3.micro of image ami-04f5d68d2e9111f38 in subnet-002ee3fcac9825e7b, subnet-03884ae054f084d5c, subnet-045828c1a84378…
# + security group migrate-recovery-vpc-014a0b0c3b8c95ac1: SSH from 203.0.113.10/32
# touches: the way back into 1 host; nobody else is touched

resource "aws_security_group" "migrate_recovery_vpc_014a0b0c3b8c95ac1_140207249019" {
  provider    = aws.a140207249019_eu_west_1
  name        = "migrate-recovery-vpc-014a0b0c3b8c95ac1"
  description = "SSH to the recovery bastion"
  vpc_id      = "vpc-014a0b0c3b8c95ac1"
  tags = {
    Name               = "migrate-recovery-vpc-014a0b0c3b8c95ac1"
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

resource "aws_vpc_security_group_ingress_rule" "migrate_recovery_vpc_014a0b0c3b8c95ac1_tcp_22_22_203_0_113_10_32" {
  provider          = aws.a140207249019_eu_west_1
  security_group_id = aws_security_group.migrate_recovery_vpc_014a0b0c3b8c95ac1_140207249019.id
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
  cidr_ipv4         = "203.0.113.10/32"
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

resource "aws_vpc_security_group_egress_rule" "migrate_recovery_vpc_014a0b0c3b8c95ac1_all__0_0_0_0_0" {
  provider          = aws.a140207249019_eu_west_1
  security_group_id = aws_security_group.migrate_recovery_vpc_014a0b0c3b8c95ac1_140207249019.id
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

resource "aws_launch_template" "migrate_recovery_vpc_014a0b0c3b8c95ac1_140207249019" {
  provider      = aws.a140207249019_eu_west_1
  name          = "migrate-recovery-vpc-014a0b0c3b8c95ac1"
  image_id      = "ami-04f5d68d2e9111f38"
  instance_type = "t3.micro"
  user_data     = base64encode("#cloud-config\nssh_pwauth: false\nssh_authorized_keys:\n  - \"restrict,pty,port-forwarding,permitopen=\\\"*:22\\\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGiogEI9rVs+dfsQv0pAYbUpW89Ut1aNmhbR3qjtN0o8 migrate-recovery\"\n")
  tags = {
    Name               = "migrate-recovery-vpc-014a0b0c3b8c95ac1"
    "ssm-migrate:step" = "export-1a5386a4cdf5"
    "ssm-migrate:user" = "ubuntu"
  }
  metadata_options {
    http_endpoint = "enabled"
    http_tokens   = "required"
  }
  network_interfaces {
    device_index                = 0
    associate_public_ip_address = false
    security_groups             = [aws_security_group.migrate_recovery_vpc_014a0b0c3b8c95ac1_140207249019.id]
  }
  lifecycle {
    ignore_changes = [user_data, default_version]
  }
}

resource "aws_autoscaling_group" "migrate_recovery_vpc_014a0b0c3b8c95ac1_140207249019" {
  provider            = aws.a140207249019_eu_west_1
  name                = "migrate-recovery-vpc-014a0b0c3b8c95ac1"
  min_size            = 0
  max_size            = 1
  desired_capacity    = 0
  vpc_zone_identifier = ["subnet-002ee3fcac9825e7b", "subnet-03884ae054f084d5c", "subnet-045828c1a84378207", "subnet-07daad0d8d83de026", "subnet-0864e6d20f9c3796c", "subnet-0b02c9066ad5c3594"]
  launch_template {
    id      = aws_launch_template.migrate_recovery_vpc_014a0b0c3b8c95ac1_140207249019.id
    version = "$Default"
  }
  tag {
    key                 = "Name"
    value               = "migrate-recovery-vpc-014a0b0c3b8c95ac1"
    propagate_at_launch = true
  }
  tag {
    key                 = "ssm-migrate:step"
    value               = "export-1a5386a4cdf5"
    propagate_at_launch = true
  }
  lifecycle {
    ignore_changes = [desired_capacity, max_size]
  }
}

# Let the recovery bastion into sg-0cf13e324059c0813 (tools-web)
# + tcp 22 from migrate-recovery-vpc-014a0b0c3b8c95ac1 (migrate: recovery bastion)
# touches: security group on 1 host

resource "aws_vpc_security_group_ingress_rule" "sg_0cf13e324059c0813_tcp_22_22_migrate_recovery_vpc_014a0b0c3b8c95ac1" {
  provider                     = aws.a140207249019_eu_west_1
  security_group_id            = "sg-0cf13e324059c0813"
  ip_protocol                  = "tcp"
  from_port                    = 22
  to_port                      = 22
  referenced_security_group_id = aws_security_group.migrate_recovery_vpc_014a0b0c3b8c95ac1_140207249019.id
  description                  = "migrate: recovery bastion"
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

# Make recovery bastion migrate-recovery-vpc-05dc93c73b18b2204, held at zero instances
# - no second way into VPC vpc-05dc93c73b18b2204
# + Auto Scaling group migrate-recovery-vpc-05dc93c73b18b2204: 0 of at most 1 instance, t3.micro of image ami-04f5d6ed2e911296a in subnet-00b9da51183cf0dab, subnet-072b83984efa00d40, subnet-080faab485a76d…
# + security group migrate-recovery-vpc-05dc93c73b18b2204: SSH from 203.0.113.10/32
# touches: the way back into 1 host; nobody else is touched

resource "aws_security_group" "migrate_recovery_vpc_05dc93c73b18b2204_140207249019" {
  provider    = aws.a140207249019_eu_west_1
  name        = "migrate-recovery-vpc-05dc93c73b18b2204"
  description = "SSH to the recovery bastion"
  vpc_id      = "vpc-05dc93c73b18b2204"
  tags = {
    Name               = "migrate-recovery-vpc-05dc93c73b18b2204"
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

resource "aws_vpc_security_group_ingress_rule" "migrate_recovery_vpc_05dc93c73b18b2204_tcp_22_22_203_0_113_10_32" {
  provider          = aws.a140207249019_eu_west_1
  security_group_id = aws_security_group.migrate_recovery_vpc_05dc93c73b18b2204_140207249019.id
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
  cidr_ipv4         = "203.0.113.10/32"
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

resource "aws_vpc_security_group_egress_rule" "migrate_recovery_vpc_05dc93c73b18b2204_all__0_0_0_0_0" {
  provider          = aws.a140207249019_eu_west_1
  security_group_id = aws_security_group.migrate_recovery_vpc_05dc93c73b18b2204_140207249019.id
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

resource "aws_launch_template" "migrate_recovery_vpc_05dc93c73b18b2204_140207249019" {
  provider      = aws.a140207249019_eu_west_1
  name          = "migrate-recovery-vpc-05dc93c73b18b2204"
  image_id      = "ami-04f5d6ed2e911296a"
  instance_type = "t3.micro"
  user_data     = base64encode("#cloud-config\nssh_pwauth: false\nssh_authorized_keys:\n  - \"restrict,pty,port-forwarding,permitopen=\\\"*:22\\\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGiogEI9rVs+dfsQv0pAYbUpW89Ut1aNmhbR3qjtN0o8 migrate-recovery\"\n")
  tags = {
    Name               = "migrate-recovery-vpc-05dc93c73b18b2204"
    "ssm-migrate:step" = "export-1a5386a4cdf5"
    "ssm-migrate:user" = "ubuntu"
  }
  metadata_options {
    http_endpoint = "enabled"
    http_tokens   = "required"
  }
  network_interfaces {
    device_index                = 0
    associate_public_ip_address = false
    security_groups             = [aws_security_group.migrate_recovery_vpc_05dc93c73b18b2204_140207249019.id]
  }
  lifecycle {
    ignore_changes = [user_data, default_version]
  }
}

resource "aws_autoscaling_group" "migrate_recovery_vpc_05dc93c73b18b2204_140207249019" {
  provider            = aws.a140207249019_eu_west_1
  name                = "migrate-recovery-vpc-05dc93c73b18b2204"
  min_size            = 0
  max_size            = 1
  desired_capacity    = 0
  vpc_zone_identifier = ["subnet-00b9da51183cf0dab", "subnet-072b83984efa00d40", "subnet-080faab485a76d6f7", "subnet-08eb6decbb8e2b9e9", "subnet-09f5cda35682d11a4", "subnet-0bb9eabc3e4ef40a9"]
  launch_template {
    id      = aws_launch_template.migrate_recovery_vpc_05dc93c73b18b2204_140207249019.id
    version = "$Default"
  }
  tag {
    key                 = "Name"
    value               = "migrate-recovery-vpc-05dc93c73b18b2204"
    propagate_at_launch = true
  }
  tag {
    key                 = "ssm-migrate:step"
    value               = "export-1a5386a4cdf5"
    propagate_at_launch = true
  }
  lifecycle {
    ignore_changes = [desired_capacity, max_size]
  }
}

# Let the recovery bastion into sg-09174c779831eb083 (tools-app)
# + tcp 22 from migrate-recovery-vpc-05dc93c73b18b2204 (migrate: recovery bastion)
# touches: security group on 1 host

resource "aws_vpc_security_group_ingress_rule" "sg_09174c779831eb083_tcp_22_22_migrate_recovery_vpc_05dc93c73b18b2204" {
  provider                     = aws.a140207249019_eu_west_1
  security_group_id            = "sg-09174c779831eb083"
  ip_protocol                  = "tcp"
  from_port                    = 22
  to_port                      = 22
  referenced_security_group_id = aws_security_group.migrate_recovery_vpc_05dc93c73b18b2204_140207249019.id
  description                  = "migrate: recovery bastion"
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

# Make recovery bastion migrate-recovery-vpc-066a7fbd72467f8c4, held at zero instances
# - no second way into VPC vpc-066a7fbd72467f8c4
# + Auto Scaling group migrate-recovery-vpc-066a7fbd72467f8c4: 0 of at most 1 instance, t3.micro of image ami-0961e805d9aab15b0 in subnet-03407e6378576d45f, subnet-044d167707381aced, subnet-07e8375d87b9cb…
# + security group migrate-recovery-vpc-066a7fbd72467f8c4: SSH from 203.0.113.10/32
# touches: the way back into 1 host; nobody else is touched

resource "aws_security_group" "migrate_recovery_vpc_066a7fbd72467f8c4_140207249019" {
  provider    = aws.a140207249019_eu_west_1
  name        = "migrate-recovery-vpc-066a7fbd72467f8c4"
  description = "SSH to the recovery bastion"
  vpc_id      = "vpc-066a7fbd72467f8c4"
  tags = {
    Name               = "migrate-recovery-vpc-066a7fbd72467f8c4"
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

resource "aws_vpc_security_group_ingress_rule" "migrate_recovery_vpc_066a7fbd72467f8c4_tcp_22_22_203_0_113_10_32" {
  provider          = aws.a140207249019_eu_west_1
  security_group_id = aws_security_group.migrate_recovery_vpc_066a7fbd72467f8c4_140207249019.id
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
  cidr_ipv4         = "203.0.113.10/32"
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

resource "aws_vpc_security_group_egress_rule" "migrate_recovery_vpc_066a7fbd72467f8c4_all__0_0_0_0_0" {
  provider          = aws.a140207249019_eu_west_1
  security_group_id = aws_security_group.migrate_recovery_vpc_066a7fbd72467f8c4_140207249019.id
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

resource "aws_launch_template" "migrate_recovery_vpc_066a7fbd72467f8c4_140207249019" {
  provider      = aws.a140207249019_eu_west_1
  name          = "migrate-recovery-vpc-066a7fbd72467f8c4"
  image_id      = "ami-0961e805d9aab15b0"
  instance_type = "t3.micro"
  user_data     = base64encode("#cloud-config\nssh_pwauth: false\nssh_authorized_keys:\n  - \"restrict,pty,port-forwarding,permitopen=\\\"*:22\\\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGiogEI9rVs+dfsQv0pAYbUpW89Ut1aNmhbR3qjtN0o8 migrate-recovery\"\n")
  tags = {
    Name               = "migrate-recovery-vpc-066a7fbd72467f8c4"
    "ssm-migrate:step" = "export-1a5386a4cdf5"
    "ssm-migrate:user" = "ec2-user"
  }
  metadata_options {
    http_endpoint = "enabled"
    http_tokens   = "required"
  }
  network_interfaces {
    device_index                = 0
    associate_public_ip_address = false
    security_groups             = [aws_security_group.migrate_recovery_vpc_066a7fbd72467f8c4_140207249019.id]
  }
  lifecycle {
    ignore_changes = [user_data, default_version]
  }
}

resource "aws_autoscaling_group" "migrate_recovery_vpc_066a7fbd72467f8c4_140207249019" {
  provider            = aws.a140207249019_eu_west_1
  name                = "migrate-recovery-vpc-066a7fbd72467f8c4"
  min_size            = 0
  max_size            = 1
  desired_capacity    = 0
  vpc_zone_identifier = ["subnet-03407e6378576d45f", "subnet-044d167707381aced", "subnet-07e8375d87b9cb58c", "subnet-092f4d67c43e61269", "subnet-0c43450884e90bab8", "subnet-0ff4ca7ee115e1e23"]
  launch_template {
    id      = aws_launch_template.migrate_recovery_vpc_066a7fbd72467f8c4_140207249019.id
    version = "$Default"
  }
  tag {
    key                 = "Name"
    value               = "migrate-recovery-vpc-066a7fbd72467f8c4"
    propagate_at_launch = true
  }
  tag {
    key                 = "ssm-migrate:step"
    value               = "export-1a5386a4cdf5"
    propagate_at_launch = true
  }
  lifecycle {
    ignore_changes = [desired_capacity, max_size]
  }
}

# Let the recovery bastion into sg-0e9ed4b8835ab9c7f (apps-db)
# + tcp 22 from migrate-recovery-vpc-066a7fbd72467f8c4 (migrate: recovery bastion)
# touches: security group on 1 host

resource "aws_vpc_security_group_ingress_rule" "sg_0e9ed4b8835ab9c7f_tcp_22_22_migrate_recovery_vpc_066a7fbd72467f8c4" {
  provider                     = aws.a140207249019_eu_west_1
  security_group_id            = "sg-0e9ed4b8835ab9c7f"
  ip_protocol                  = "tcp"
  from_port                    = 22
  to_port                      = 22
  referenced_security_group_id = aws_security_group.migrate_recovery_vpc_066a7fbd72467f8c4_140207249019.id
  description                  = "migrate: recovery bastion"
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

# Make recovery bastion migrate-recovery-vpc-0992e639043cee8bc, held at zero instances
# - no second way into VPC vpc-0992e639043cee8bc
# + Auto Scaling group migrate-recovery-vpc-0992e639043cee8bc: 0 of at most 1 instance, t3.micro of image ami-04f5d6ed2e911296a in subnet-034b967fb26a7de46, subnet-06f2b262a4f0fa7e3, subnet-08a516ad78ee08…
# + security group migrate-recovery-vpc-0992e639043cee8bc: SSH from 203.0.113.10/32
# touches: the way back into 1 host; nobody else is touched

resource "aws_security_group" "migrate_recovery_vpc_0992e639043cee8bc_140207249019" {
  provider    = aws.a140207249019_eu_west_1
  name        = "migrate-recovery-vpc-0992e639043cee8bc"
  description = "SSH to the recovery bastion"
  vpc_id      = "vpc-0992e639043cee8bc"
  tags = {
    Name               = "migrate-recovery-vpc-0992e639043cee8bc"
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

resource "aws_vpc_security_group_ingress_rule" "migrate_recovery_vpc_0992e639043cee8bc_tcp_22_22_203_0_113_10_32" {
  provider          = aws.a140207249019_eu_west_1
  security_group_id = aws_security_group.migrate_recovery_vpc_0992e639043cee8bc_140207249019.id
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
  cidr_ipv4         = "203.0.113.10/32"
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

resource "aws_vpc_security_group_egress_rule" "migrate_recovery_vpc_0992e639043cee8bc_all__0_0_0_0_0" {
  provider          = aws.a140207249019_eu_west_1
  security_group_id = aws_security_group.migrate_recovery_vpc_0992e639043cee8bc_140207249019.id
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

resource "aws_launch_template" "migrate_recovery_vpc_0992e639043cee8bc_140207249019" {
  provider      = aws.a140207249019_eu_west_1
  name          = "migrate-recovery-vpc-0992e639043cee8bc"
  image_id      = "ami-04f5d6ed2e911296a"
  instance_type = "t3.micro"
  user_data     = base64encode("#cloud-config\nssh_pwauth: false\nssh_authorized_keys:\n  - \"restrict,pty,port-forwarding,permitopen=\\\"*:22\\\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGiogEI9rVs+dfsQv0pAYbUpW89Ut1aNmhbR3qjtN0o8 migrate-recovery\"\n")
  tags = {
    Name               = "migrate-recovery-vpc-0992e639043cee8bc"
    "ssm-migrate:step" = "export-1a5386a4cdf5"
    "ssm-migrate:user" = "ubuntu"
  }
  metadata_options {
    http_endpoint = "enabled"
    http_tokens   = "required"
  }
  network_interfaces {
    device_index                = 0
    associate_public_ip_address = false
    security_groups             = [aws_security_group.migrate_recovery_vpc_0992e639043cee8bc_140207249019.id]
  }
  lifecycle {
    ignore_changes = [user_data, default_version]
  }
}

resource "aws_autoscaling_group" "migrate_recovery_vpc_0992e639043cee8bc_140207249019" {
  provider            = aws.a140207249019_eu_west_1
  name                = "migrate-recovery-vpc-0992e639043cee8bc"
  min_size            = 0
  max_size            = 1
  desired_capacity    = 0
  vpc_zone_identifier = ["subnet-034b967fb26a7de46", "subnet-06f2b262a4f0fa7e3", "subnet-08a516ad78ee08534", "subnet-08c2d8bfecabf2c89", "subnet-0b37465eaec68604f", "subnet-0c8976776b74e53ae"]
  launch_template {
    id      = aws_launch_template.migrate_recovery_vpc_0992e639043cee8bc_140207249019.id
    version = "$Default"
  }
  tag {
    key                 = "Name"
    value               = "migrate-recovery-vpc-0992e639043cee8bc"
    propagate_at_launch = true
  }
  tag {
    key                 = "ssm-migrate:step"
    value               = "export-1a5386a4cdf5"
    propagate_at_launch = true
  }
  lifecycle {
    ignore_changes = [desired_capacity, max_size]
  }
}

# Let the recovery bastion into sg-048f36e1efba3ce1b (apps-app)
# + tcp 22 from migrate-recovery-vpc-0992e639043cee8bc (migrate: recovery bastion)
# touches: security group on 1 host

resource "aws_vpc_security_group_ingress_rule" "sg_048f36e1efba3ce1b_tcp_22_22_migrate_recovery_vpc_0992e639043cee8bc" {
  provider                     = aws.a140207249019_eu_west_1
  security_group_id            = "sg-048f36e1efba3ce1b"
  ip_protocol                  = "tcp"
  from_port                    = 22
  to_port                      = 22
  referenced_security_group_id = aws_security_group.migrate_recovery_vpc_0992e639043cee8bc_140207249019.id
  description                  = "migrate: recovery bastion"
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

# Make recovery bastion migrate-recovery-vpc-0e078981cfd3db961, held at zero instances
# - no second way into VPC vpc-0e078981cfd3db961
# + Auto Scaling group migrate-recovery-vpc-0e078981cfd3db961: 0 of at most 1 instance, t3.micro of image ami-04f5d6cd2e9112604 in subnet-041cc5f9a27416dac, subnet-04ee2ab6f3684d3ff, subnet-05fdd83aba3c70…
# + security group migrate-recovery-vpc-0e078981cfd3db961: SSH from 203.0.113.10/32
# touches: the way back into 1 host; nobody else is touched

resource "aws_security_group" "migrate_recovery_vpc_0e078981cfd3db961_140207249019" {
  provider    = aws.a140207249019_eu_west_1
  name        = "migrate-recovery-vpc-0e078981cfd3db961"
  description = "SSH to the recovery bastion"
  vpc_id      = "vpc-0e078981cfd3db961"
  tags = {
    Name               = "migrate-recovery-vpc-0e078981cfd3db961"
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

resource "aws_vpc_security_group_ingress_rule" "migrate_recovery_vpc_0e078981cfd3db961_tcp_22_22_203_0_113_10_32" {
  provider          = aws.a140207249019_eu_west_1
  security_group_id = aws_security_group.migrate_recovery_vpc_0e078981cfd3db961_140207249019.id
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
  cidr_ipv4         = "203.0.113.10/32"
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

resource "aws_vpc_security_group_egress_rule" "migrate_recovery_vpc_0e078981cfd3db961_all__0_0_0_0_0" {
  provider          = aws.a140207249019_eu_west_1
  security_group_id = aws_security_group.migrate_recovery_vpc_0e078981cfd3db961_140207249019.id
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

resource "aws_launch_template" "migrate_recovery_vpc_0e078981cfd3db961_140207249019" {
  provider      = aws.a140207249019_eu_west_1
  name          = "migrate-recovery-vpc-0e078981cfd3db961"
  image_id      = "ami-04f5d6cd2e9112604"
  instance_type = "t3.micro"
  user_data     = base64encode("#cloud-config\nssh_pwauth: false\nssh_authorized_keys:\n  - \"restrict,pty,port-forwarding,permitopen=\\\"*:22\\\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGiogEI9rVs+dfsQv0pAYbUpW89Ut1aNmhbR3qjtN0o8 migrate-recovery\"\n")
  tags = {
    Name               = "migrate-recovery-vpc-0e078981cfd3db961"
    "ssm-migrate:step" = "export-1a5386a4cdf5"
    "ssm-migrate:user" = "ubuntu"
  }
  metadata_options {
    http_endpoint = "enabled"
    http_tokens   = "required"
  }
  network_interfaces {
    device_index                = 0
    associate_public_ip_address = false
    security_groups             = [aws_security_group.migrate_recovery_vpc_0e078981cfd3db961_140207249019.id]
  }
  lifecycle {
    ignore_changes = [user_data, default_version]
  }
}

resource "aws_autoscaling_group" "migrate_recovery_vpc_0e078981cfd3db961_140207249019" {
  provider            = aws.a140207249019_eu_west_1
  name                = "migrate-recovery-vpc-0e078981cfd3db961"
  min_size            = 0
  max_size            = 1
  desired_capacity    = 0
  vpc_zone_identifier = ["subnet-041cc5f9a27416dac", "subnet-04ee2ab6f3684d3ff", "subnet-05fdd83aba3c70739", "subnet-065058a3b07263cef", "subnet-092d7466492c48bfe", "subnet-0fdcf7519ae0ac820"]
  launch_template {
    id      = aws_launch_template.migrate_recovery_vpc_0e078981cfd3db961_140207249019.id
    version = "$Default"
  }
  tag {
    key                 = "Name"
    value               = "migrate-recovery-vpc-0e078981cfd3db961"
    propagate_at_launch = true
  }
  tag {
    key                 = "ssm-migrate:step"
    value               = "export-1a5386a4cdf5"
    propagate_at_launch = true
  }
  lifecycle {
    ignore_changes = [desired_capacity, max_size]
  }
}

# Let the recovery bastion into sg-022dc97a0c03fc67f (prod-app)
# + tcp 22 from migrate-recovery-vpc-0e078981cfd3db961 (migrate: recovery bastion)
# touches: security group on 1 host

resource "aws_vpc_security_group_ingress_rule" "sg_022dc97a0c03fc67f_tcp_22_22_migrate_recovery_vpc_0e078981cfd3db961" {
  provider                     = aws.a140207249019_eu_west_1
  security_group_id            = "sg-022dc97a0c03fc67f"
  ip_protocol                  = "tcp"
  from_port                    = 22
  to_port                      = 22
  referenced_security_group_id = aws_security_group.migrate_recovery_vpc_0e078981cfd3db961_140207249019.id
  description                  = "migrate: recovery bastion"
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

# Make recovery bastion migrate-recovery-vpc-068b0a05a58664a70, held at zero instances
# - no second way into VPC vpc-068b0a05a58664a70
# + Auto Scaling group migrate-recovery-vpc-068b0a05a58664a70: 0 of at most 1 instance, t3.micro of image ami-048b793d0f89b8fd2 in subnet-00348108f4c4dde92, subnet-00bccf16a80db7148, subnet-04225562847be9…
# + security group migrate-recovery-vpc-068b0a05a58664a70: SSH from 203.0.113.10/32
# touches: the way back into 1 host; nobody else is touched

resource "aws_security_group" "migrate_recovery_vpc_068b0a05a58664a70_140207249019" {
  provider    = aws.a140207249019_us_east_1
  name        = "migrate-recovery-vpc-068b0a05a58664a70"
  description = "SSH to the recovery bastion"
  vpc_id      = "vpc-068b0a05a58664a70"
  tags = {
    Name               = "migrate-recovery-vpc-068b0a05a58664a70"
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

resource "aws_vpc_security_group_ingress_rule" "migrate_recovery_vpc_068b0a05a58664a70_tcp_22_22_203_0_113_10_32" {
  provider          = aws.a140207249019_us_east_1
  security_group_id = aws_security_group.migrate_recovery_vpc_068b0a05a58664a70_140207249019.id
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
  cidr_ipv4         = "203.0.113.10/32"
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

resource "aws_vpc_security_group_egress_rule" "migrate_recovery_vpc_068b0a05a58664a70_all__0_0_0_0_0" {
  provider          = aws.a140207249019_us_east_1
  security_group_id = aws_security_group.migrate_recovery_vpc_068b0a05a58664a70_140207249019.id
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

resource "aws_launch_template" "migrate_recovery_vpc_068b0a05a58664a70_140207249019" {
  provider      = aws.a140207249019_us_east_1
  name          = "migrate-recovery-vpc-068b0a05a58664a70"
  image_id      = "ami-048b793d0f89b8fd2"
  instance_type = "t3.micro"
  user_data     = base64encode("#cloud-config\nssh_pwauth: false\nssh_authorized_keys:\n  - \"restrict,pty,port-forwarding,permitopen=\\\"*:22\\\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGiogEI9rVs+dfsQv0pAYbUpW89Ut1aNmhbR3qjtN0o8 migrate-recovery\"\n")
  tags = {
    Name               = "migrate-recovery-vpc-068b0a05a58664a70"
    "ssm-migrate:step" = "export-1a5386a4cdf5"
    "ssm-migrate:user" = "ec2-user"
  }
  metadata_options {
    http_endpoint = "enabled"
    http_tokens   = "required"
  }
  network_interfaces {
    device_index                = 0
    associate_public_ip_address = false
    security_groups             = [aws_security_group.migrate_recovery_vpc_068b0a05a58664a70_140207249019.id]
  }
  lifecycle {
    ignore_changes = [user_data, default_version]
  }
}

resource "aws_autoscaling_group" "migrate_recovery_vpc_068b0a05a58664a70_140207249019" {
  provider            = aws.a140207249019_us_east_1
  name                = "migrate-recovery-vpc-068b0a05a58664a70"
  min_size            = 0
  max_size            = 1
  desired_capacity    = 0
  vpc_zone_identifier = ["subnet-00348108f4c4dde92", "subnet-00bccf16a80db7148", "subnet-04225562847be95f8", "subnet-08a5302d3c51405c0", "subnet-097bedefb0ae5fce9", "subnet-09c3355c51fa68573"]
  launch_template {
    id      = aws_launch_template.migrate_recovery_vpc_068b0a05a58664a70_140207249019.id
    version = "$Default"
  }
  tag {
    key                 = "Name"
    value               = "migrate-recovery-vpc-068b0a05a58664a70"
    propagate_at_launch = true
  }
  tag {
    key                 = "ssm-migrate:step"
    value               = "export-1a5386a4cdf5"
    propagate_at_launch = true
  }
  lifecycle {
    ignore_changes = [desired_capacity, max_size]
  }
}

# Let the recovery bastion into sg-03153195c7eaed467 (apps-db)
# + tcp 22 from migrate-recovery-vpc-068b0a05a58664a70 (migrate: recovery bastion)
# touches: security group on 1 host

resource "aws_vpc_security_group_ingress_rule" "sg_03153195c7eaed467_tcp_22_22_migrate_recovery_vpc_068b0a05a58664a70" {
  provider                     = aws.a140207249019_us_east_1
  security_group_id            = "sg-03153195c7eaed467"
  ip_protocol                  = "tcp"
  from_port                    = 22
  to_port                      = 22
  referenced_security_group_id = aws_security_group.migrate_recovery_vpc_068b0a05a58664a70_140207249019.id
  description                  = "migrate: recovery bastion"
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

# Make recovery bastion migrate-recovery-vpc-091e9123b8cbe868c, held at zero instances
# - no second way into VPC vpc-091e9123b8cbe868c
# + Auto Scaling group migrate-recovery-vpc-091e9123b8cbe868c: 0 of at most 1 instance, t3.micro of image ami-017afe4f8bc920436 in subnet-03344f687bd572e60, subnet-06e6705f979c60580, subnet-0eff2329275dfd…
# + security group migrate-recovery-vpc-091e9123b8cbe868c: SSH from 203.0.113.10/32
# + the bastion gets a public address: operators come through an internet gateway
# touches: the way back into 1 host; nobody else is touched

resource "aws_security_group" "migrate_recovery_vpc_091e9123b8cbe868c_140207249019" {
  provider    = aws.a140207249019_us_east_1
  name        = "migrate-recovery-vpc-091e9123b8cbe868c"
  description = "SSH to the recovery bastion"
  vpc_id      = "vpc-091e9123b8cbe868c"
  tags = {
    Name               = "migrate-recovery-vpc-091e9123b8cbe868c"
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

resource "aws_vpc_security_group_ingress_rule" "migrate_recovery_vpc_091e9123b8cbe868c_tcp_22_22_203_0_113_10_32" {
  provider          = aws.a140207249019_us_east_1
  security_group_id = aws_security_group.migrate_recovery_vpc_091e9123b8cbe868c_140207249019.id
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
  cidr_ipv4         = "203.0.113.10/32"
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

resource "aws_vpc_security_group_egress_rule" "migrate_recovery_vpc_091e9123b8cbe868c_all__0_0_0_0_0" {
  provider          = aws.a140207249019_us_east_1
  security_group_id = aws_security_group.migrate_recovery_vpc_091e9123b8cbe868c_140207249019.id
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

resource "aws_launch_template" "migrate_recovery_vpc_091e9123b8cbe868c_140207249019" {
  provider      = aws.a140207249019_us_east_1
  name          = "migrate-recovery-vpc-091e9123b8cbe868c"
  image_id      = "ami-017afe4f8bc920436"
  instance_type = "t3.micro"
  user_data     = base64encode("#cloud-config\nssh_pwauth: false\nssh_authorized_keys:\n  - \"restrict,pty,port-forwarding,permitopen=\\\"*:22\\\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGiogEI9rVs+dfsQv0pAYbUpW89Ut1aNmhbR3qjtN0o8 migrate-recovery\"\n")
  tags = {
    Name               = "migrate-recovery-vpc-091e9123b8cbe868c"
    "ssm-migrate:step" = "export-1a5386a4cdf5"
    "ssm-migrate:user" = "ec2-user"
  }
  metadata_options {
    http_endpoint = "enabled"
    http_tokens   = "required"
  }
  network_interfaces {
    device_index                = 0
    associate_public_ip_address = true
    security_groups             = [aws_security_group.migrate_recovery_vpc_091e9123b8cbe868c_140207249019.id]
  }
  lifecycle {
    ignore_changes = [user_data, default_version]
  }
}

resource "aws_autoscaling_group" "migrate_recovery_vpc_091e9123b8cbe868c_140207249019" {
  provider            = aws.a140207249019_us_east_1
  name                = "migrate-recovery-vpc-091e9123b8cbe868c"
  min_size            = 0
  max_size            = 1
  desired_capacity    = 0
  vpc_zone_identifier = ["subnet-03344f687bd572e60", "subnet-06e6705f979c60580", "subnet-0eff2329275dfdf95"]
  launch_template {
    id      = aws_launch_template.migrate_recovery_vpc_091e9123b8cbe868c_140207249019.id
    version = "$Default"
  }
  tag {
    key                 = "Name"
    value               = "migrate-recovery-vpc-091e9123b8cbe868c"
    propagate_at_launch = true
  }
  tag {
    key                 = "ssm-migrate:step"
    value               = "export-1a5386a4cdf5"
    propagate_at_launch = true
  }
  lifecycle {
    ignore_changes = [desired_capacity, max_size]
  }
}

# Let the recovery bastion into sg-0bacbaafdc4636d20 (front-office-ssh)
# + tcp 22 from migrate-recovery-vpc-091e9123b8cbe868c (migrate: recovery bastion)
# touches: security group on 1 host

resource "aws_vpc_security_group_ingress_rule" "sg_0bacbaafdc4636d20_tcp_22_22_migrate_recovery_vpc_091e9123b8cbe868c" {
  provider                     = aws.a140207249019_us_east_1
  security_group_id            = "sg-0bacbaafdc4636d20"
  ip_protocol                  = "tcp"
  from_port                    = 22
  to_port                      = 22
  referenced_security_group_id = aws_security_group.migrate_recovery_vpc_091e9123b8cbe868c_140207249019.id
  description                  = "migrate: recovery bastion"
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

# Let the recovery bastion into sg-0fcdbd1342cb738ac (front-web)
# + tcp 22 from migrate-recovery-vpc-091e9123b8cbe868c (migrate: recovery bastion)
# touches: security group on 1 host

resource "aws_vpc_security_group_ingress_rule" "sg_0fcdbd1342cb738ac_tcp_22_22_migrate_recovery_vpc_091e9123b8cbe868c" {
  provider                     = aws.a140207249019_us_east_1
  security_group_id            = "sg-0fcdbd1342cb738ac"
  ip_protocol                  = "tcp"
  from_port                    = 22
  to_port                      = 22
  referenced_security_group_id = aws_security_group.migrate_recovery_vpc_091e9123b8cbe868c_140207249019.id
  description                  = "migrate: recovery bastion"
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

# Make recovery bastion migrate-recovery-vpc-0d74c436bea4e266d, held at zero instances
# - no second way into VPC vpc-0d74c436bea4e266d
# + Auto Scaling group migrate-recovery-vpc-0d74c436bea4e266d: 0 of at most 1 instance, t3.micro of image ami-0114f6108c2725d1c in subnet-001c6fc36c392c272, subnet-01315aa044ee985b2, subnet-034947ad59c8c8…
# + security group migrate-recovery-vpc-0d74c436bea4e266d: SSH from 203.0.113.10/32
# touches: the way back into 1 host; nobody else is touched

resource "aws_security_group" "migrate_recovery_vpc_0d74c436bea4e266d_140207249019" {
  provider    = aws.a140207249019_us_east_1
  name        = "migrate-recovery-vpc-0d74c436bea4e266d"
  description = "SSH to the recovery bastion"
  vpc_id      = "vpc-0d74c436bea4e266d"
  tags = {
    Name               = "migrate-recovery-vpc-0d74c436bea4e266d"
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

resource "aws_vpc_security_group_ingress_rule" "migrate_recovery_vpc_0d74c436bea4e266d_tcp_22_22_203_0_113_10_32" {
  provider          = aws.a140207249019_us_east_1
  security_group_id = aws_security_group.migrate_recovery_vpc_0d74c436bea4e266d_140207249019.id
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
  cidr_ipv4         = "203.0.113.10/32"
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

resource "aws_vpc_security_group_egress_rule" "migrate_recovery_vpc_0d74c436bea4e266d_all__0_0_0_0_0" {
  provider          = aws.a140207249019_us_east_1
  security_group_id = aws_security_group.migrate_recovery_vpc_0d74c436bea4e266d_140207249019.id
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

resource "aws_launch_template" "migrate_recovery_vpc_0d74c436bea4e266d_140207249019" {
  provider      = aws.a140207249019_us_east_1
  name          = "migrate-recovery-vpc-0d74c436bea4e266d"
  image_id      = "ami-0114f6108c2725d1c"
  instance_type = "t3.micro"
  user_data     = base64encode("#cloud-config\nssh_pwauth: false\nssh_authorized_keys:\n  - \"restrict,pty,port-forwarding,permitopen=\\\"*:22\\\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGiogEI9rVs+dfsQv0pAYbUpW89Ut1aNmhbR3qjtN0o8 migrate-recovery\"\n")
  tags = {
    Name               = "migrate-recovery-vpc-0d74c436bea4e266d"
    "ssm-migrate:step" = "export-1a5386a4cdf5"
    "ssm-migrate:user" = "ubuntu"
  }
  metadata_options {
    http_endpoint = "enabled"
    http_tokens   = "required"
  }
  network_interfaces {
    device_index                = 0
    associate_public_ip_address = false
    security_groups             = [aws_security_group.migrate_recovery_vpc_0d74c436bea4e266d_140207249019.id]
  }
  lifecycle {
    ignore_changes = [user_data, default_version]
  }
}

resource "aws_autoscaling_group" "migrate_recovery_vpc_0d74c436bea4e266d_140207249019" {
  provider            = aws.a140207249019_us_east_1
  name                = "migrate-recovery-vpc-0d74c436bea4e266d"
  min_size            = 0
  max_size            = 1
  desired_capacity    = 0
  vpc_zone_identifier = ["subnet-001c6fc36c392c272", "subnet-01315aa044ee985b2", "subnet-034947ad59c8c8140", "subnet-0572ea0efdf5ac038", "subnet-0e86326dae552a2ad", "subnet-0f319879fd155f6b5"]
  launch_template {
    id      = aws_launch_template.migrate_recovery_vpc_0d74c436bea4e266d_140207249019.id
    version = "$Default"
  }
  tag {
    key                 = "Name"
    value               = "migrate-recovery-vpc-0d74c436bea4e266d"
    propagate_at_launch = true
  }
  tag {
    key                 = "ssm-migrate:step"
    value               = "export-1a5386a4cdf5"
    propagate_at_launch = true
  }
  lifecycle {
    ignore_changes = [desired_capacity, max_size]
  }
}

# Let the recovery bastion into sg-0eb0ee91c7b662eb5 (tools-web)
# + tcp 22 from migrate-recovery-vpc-0d74c436bea4e266d (migrate: recovery bastion)
# touches: security group on 1 host

resource "aws_vpc_security_group_ingress_rule" "sg_0eb0ee91c7b662eb5_tcp_22_22_migrate_recovery_vpc_0d74c436bea4e266d" {
  provider                     = aws.a140207249019_us_east_1
  security_group_id            = "sg-0eb0ee91c7b662eb5"
  ip_protocol                  = "tcp"
  from_port                    = 22
  to_port                      = 22
  referenced_security_group_id = aws_security_group.migrate_recovery_vpc_0d74c436bea4e266d_140207249019.id
  description                  = "migrate: recovery bastion"
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}
