#!/bin/sh
# Plan 1a5386a4cdf5 of 2026-11-21 23:29 UTC for the AWS CLI, written by migrate export cli.
#
#   sh migrate-1a5386a4cdf5.sh STAGE
#
# Stages, in this order:
#   prepare   roles, profiles, rules, endpoints and preferences that hosts need for sessions
#   recovery  the timers' role, and recovery bastions at zero instances with the rules that let them in
#   access    policies and documents that stay
#   close     port 22 in security groups; only groups whose hosts are connected to Session Manager
#
# A stage can be run again: what is there already is left as it is. Run it with the credentials of each
# account in turn; exit code 3 says that sections of other accounts were left out.
#
# Not in here: 20 steps, on hosts mostly, which migrate apply does or waits for.
set -eu
export AWS_PAGER=
left=0

say() { printf '%s\n' "$*" >&2; }

# in_account ID REGION: whether the credentials are those of this account.
in_account() {
	got=$(aws sts get-caller-identity --region "$2" --query Account --output text) || exit 1
	[ "$got" != "$1" ] || return 0
	say "left out: account $1; these credentials belong to $got"
	left=1
	return 1
}

# there CODE COMMAND...: an error with this code says that it is so already.
there() {
	code=$1
	shift
	if out=$("$@" 2>&1); then return 0; fi
	case $out in
	*"($code)"*) return 0 ;;
	esac
	say "$out"
	return 1
}

# soon COMMAND...: tries for a minute. AWS does not know everywhere at once what
# was just made.
soon() {
	tries=0
	until "$@"; do
		tries=$((tries + 1))
		[ "$tries" -lt 12 ] || return 1
		sleep 5
	done
}

# group REGION FILTERS: the ID of a security group; None where there is none.
group() {
	aws ec2 describe-security-groups --region "$1" --cli-input-json "$2" --query 'SecurityGroups[0].GroupId' --output text
}

# found ID NAME: stops unless it is the ID of a security group.
found() {
	case $1 in
	sg-*) ;;
	*)
		say "there is no security group $2: run the stage that makes it first"
		return 1
		;;
	esac
}

# ---- prepare: account 140207249019, eu-west-1 ----
prepare_140207249019_eu_west_1() {
	in_account '140207249019' 'eu-west-1' || return 0

	# Let HTTPS to Systems Manager through sg-0679a1f5bd8c9b4e2 (endpoint-pilot)
	# answers: endpoint-group-closed
	# + tcp 443 from 10.19.96.0/19 (migrate: HTTPS to Systems Manager)
	# touches: security group on 0 hosts and endpoints vpce-00eb30fd9b9f2a95f, vpce-01491272c4ad5df02, vpce-033e8d5fac15be892, vpce-04994321666808cd9, vpce-091547a168fd633e0 and 2 more
	say 'Let HTTPS to Systems Manager through sg-0679a1f5bd8c9b4e2 (endpoint-pilot)'
	there InvalidPermission.Duplicate aws ec2 authorize-security-group-ingress --region 'eu-west-1' --cli-input-json '{"GroupId":"sg-0679a1f5bd8c9b4e2","IpPermissions":[{"IpProtocol":"tcp","FromPort":443,"ToPort":443,"IpRanges":[{"CidrIp":"10.19.96.0/19","Description":"migrate: HTTPS to Systems Manager"}]}],"TagSpecifications":[{"ResourceType":"security-group-rule","Tags":[{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}'

	# Create interface endpoints in VPC vpc-066a7fbd72467f8c4
	# answers: endpoint-missing
	# + com.amazonaws.eu-west-1.ssmmessages with private DNS in subnet-0c43450884e90bab8
	# + security group migrate-endpoints-vpc-066a7fbd72467f8c4: HTTPS from 10.17.0.0/16
	# touches: the names resolve to the endpoints for the whole VPC, with 1 host
	say 'Create interface endpoints in VPC vpc-066a7fbd72467f8c4'
	group1=$(group 'eu-west-1' '{"Filters":[{"Name":"vpc-id","Values":["vpc-066a7fbd72467f8c4"]},{"Name":"group-name","Values":["migrate-endpoints-vpc-066a7fbd72467f8c4"]}]}')
	if [ "$group1" = None ]; then
		group1=$(aws ec2 create-security-group --region 'eu-west-1' --cli-input-json '{"VpcId":"vpc-066a7fbd72467f8c4","GroupName":"migrate-endpoints-vpc-066a7fbd72467f8c4","Description":"HTTPS to the endpoints of Systems Manager","TagSpecifications":[{"ResourceType":"security-group","Tags":[{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}' --query GroupId --output text)
		soon aws ec2 describe-security-groups --region 'eu-west-1' --group-ids "$group1" >/dev/null
	fi
	found "$group1" 'migrate-endpoints-vpc-066a7fbd72467f8c4'
	there InvalidPermission.Duplicate aws ec2 authorize-security-group-ingress --region 'eu-west-1' --cli-input-json '{"GroupId":"'"$group1"'","IpPermissions":[{"IpProtocol":"tcp","FromPort":443,"ToPort":443,"IpRanges":[{"CidrIp":"10.17.0.0/16"}]}],"TagSpecifications":[{"ResourceType":"security-group-rule","Tags":[{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}'
	have=$(aws ec2 describe-vpc-endpoints --region 'eu-west-1' --cli-input-json '{"Filters":[{"Name":"vpc-id","Values":["vpc-066a7fbd72467f8c4"]},{"Name":"service-name","Values":["com.amazonaws.eu-west-1.ssmmessages"]}]}' --query 'length(VpcEndpoints[?PrivateDnsEnabled])' --output text)
	[ "$have" != 0 ] || aws ec2 create-vpc-endpoint --region 'eu-west-1' --cli-input-json '{"VpcEndpointType":"Interface","VpcId":"vpc-066a7fbd72467f8c4","ServiceName":"com.amazonaws.eu-west-1.ssmmessages","SubnetIds":["subnet-0c43450884e90bab8"],"SecurityGroupIds":["'"$group1"'"],"PrivateDnsEnabled":true,"TagSpecifications":[{"ResourceType":"vpc-endpoint","Tags":[{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}' >/dev/null

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
	say 'Let role app-0901bf71 do what sessions need'
	soon aws iam put-role-policy --region 'eu-west-1' --cli-input-json '{"RoleName":"app-0901bf71","PolicyName":"migrate-session-manager-e64f56c5","PolicyDocument":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":[\"logs:DescribeLogGroups\",\"ssm:UpdateInstanceInformation\",\"ssmmessages:CreateControlChannel\",\"ssmmessages:CreateDataChannel\",\"ssmmessages:OpenControlChannel\",\"ssmmessages:OpenDataChannel\"],\"Resource\":[\"*\"]},{\"Effect\":\"Allow\",\"Action\":[\"kms:Decrypt\"],\"Resource\":[\"arn:aws:kms:eu-west-1:140207249019:key/c04f9cee-f96d-4f55-bcb6-f25d6358cc1f\"]},{\"Effect\":\"Allow\",\"Action\":[\"logs:CreateLogStream\",\"logs:DescribeLogStreams\",\"logs:PutLogEvents\"],\"Resource\":[\"arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*\"]}]}"}'

	# Attach instance profile migrate-session-manager to tools-web-1 (i-0956d6f59e305c3f3)
	# answers: profile-missing
	# - no instance profile
	# + instance profile migrate-session-manager with the role of that name, which may kms:Decrypt, logs:CreateLogStream, logs:DescribeLogGroups, logs:DescribeLogStreams, logs:PutLogEvents, ssm:UpdateInstance…
	# touches: this host only; the profile and its role are made once in account 140207249019 for all hosts of the plan that need one
	# warning: an instance that replaces it loses this: launch template lt-0f3a04e499a01bedb (tools-web-1-own), version 1, of Auto Scaling group tools-web-1 names no instance profile, knows no recovery key
	say 'Attach instance profile migrate-session-manager to tools-web-1 (i-0956d6f59e305c3f3)'
	there EntityAlreadyExists aws iam create-role --region 'eu-west-1' --cli-input-json '{"RoleName":"migrate-session-manager","Path":"/","AssumeRolePolicyDocument":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":{\"Service\":\"ec2.amazonaws.com\"},\"Action\":\"sts:AssumeRole\"}]}","Tags":[{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}'
	soon aws iam put-role-policy --region 'eu-west-1' --cli-input-json '{"RoleName":"migrate-session-manager","PolicyName":"ssm-migrate","PolicyDocument":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":[\"logs:DescribeLogGroups\",\"ssm:UpdateInstanceInformation\",\"ssmmessages:CreateControlChannel\",\"ssmmessages:CreateDataChannel\",\"ssmmessages:OpenControlChannel\",\"ssmmessages:OpenDataChannel\"],\"Resource\":[\"*\"]},{\"Effect\":\"Allow\",\"Action\":[\"kms:Decrypt\"],\"Resource\":[\"arn:aws:kms:eu-west-1:140207249019:key/c04f9cee-f96d-4f55-bcb6-f25d6358cc1f\"]},{\"Effect\":\"Allow\",\"Action\":[\"kms:Decrypt\"],\"Resource\":[\"arn:aws:kms:us-east-1:140207249019:key/3351ba01-7747-8a9e-d14f-6cda4fde3ff9\"]},{\"Effect\":\"Allow\",\"Action\":[\"logs:CreateLogStream\",\"logs:DescribeLogStreams\",\"logs:PutLogEvents\"],\"Resource\":[\"arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*\"]},{\"Effect\":\"Allow\",\"Action\":[\"logs:CreateLogStream\",\"logs:DescribeLogStreams\",\"logs:PutLogEvents\"],\"Resource\":[\"arn:aws:logs:us-east-1:140207249019:log-group:/ssm/sessions:*\"]}]}"}'
	there EntityAlreadyExists aws iam create-instance-profile --region 'eu-west-1' --cli-input-json '{"InstanceProfileName":"migrate-session-manager","Tags":[{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}'
	role=$(soon aws iam get-instance-profile --region 'eu-west-1' --cli-input-json '{"InstanceProfileName":"migrate-session-manager"}' --query 'InstanceProfile.Roles[0].RoleName' --output text)
	[ "$role" = 'migrate-session-manager' ] || aws iam add-role-to-instance-profile --region 'eu-west-1' --cli-input-json '{"InstanceProfileName":"migrate-session-manager","RoleName":"migrate-session-manager"}'
	soon there IncorrectState aws ec2 associate-iam-instance-profile --region 'eu-west-1' --cli-input-json '{"IamInstanceProfile":{"Name":"migrate-session-manager"},"InstanceId":"i-0956d6f59e305c3f3"}'
}

# ---- recovery: account 140207249019, eu-west-1 ----
recovery_140207249019_eu_west_1() {
	in_account '140207249019' 'eu-west-1' || return 0

	# Make role migrate-rule-timer in account 140207249019, by which a timer opens port 22 again
	# - no inline policy migrate-rule-timer-c9c2c6b6, or no role migrate-rule-timer
	# + ec2:AuthorizeSecurityGroupIngress on arn:aws:ec2:eu-west-1:140207249019:security-group/sg-022dc97a0c03fc67f, arn:aws:ec2:eu-west-1:140207249019:security-group/sg-048f36e1efba3ce1b, arn:aws:ec2:eu-west…
	# + autoscaling:SetDesiredCapacity on migrate-recovery-*
	# + for scheduler.amazonaws.com in this account only
	# touches: nobody else: only timers of migrate assume the role
	say 'Make role migrate-rule-timer in account 140207249019, by which a timer opens port 22 again'
	there EntityAlreadyExists aws iam create-role --region 'eu-west-1' --cli-input-json '{"RoleName":"migrate-rule-timer","Path":"/","AssumeRolePolicyDocument":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":{\"Service\":\"scheduler.amazonaws.com\"},\"Action\":[\"sts:AssumeRole\"],\"Condition\":{\"StringEquals\":{\"aws:SourceAccount\":\"140207249019\"}}}]}","Tags":[{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}'
	soon aws iam put-role-policy --region 'eu-west-1' --cli-input-json '{"RoleName":"migrate-rule-timer","PolicyName":"migrate-rule-timer-c9c2c6b6","PolicyDocument":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":[\"ec2:AuthorizeSecurityGroupIngress\"],\"Resource\":[\"arn:aws:ec2:eu-west-1:140207249019:security-group/sg-022dc97a0c03fc67f\",\"arn:aws:ec2:eu-west-1:140207249019:security-group/sg-048f36e1efba3ce1b\",\"arn:aws:ec2:eu-west-1:140207249019:security-group/sg-09174c779831eb083\",\"arn:aws:ec2:eu-west-1:140207249019:security-group/sg-0cf13e324059c0813\",\"arn:aws:ec2:eu-west-1:140207249019:security-group/sg-0e9ed4b8835ab9c7f\",\"arn:aws:ec2:us-east-1:140207249019:security-group/sg-03153195c7eaed467\",\"arn:aws:ec2:us-east-1:140207249019:security-group/sg-0bacbaafdc4636d20\",\"arn:aws:ec2:us-east-1:140207249019:security-group/sg-0eb0ee91c7b662eb5\",\"arn:aws:ec2:us-east-1:140207249019:security-group/sg-0fcdbd1342cb738ac\"]},{\"Effect\":\"Allow\",\"Action\":[\"autoscaling:SetDesiredCapacity\"],\"Resource\":[\"arn:aws:autoscaling:*:140207249019:autoScalingGroup:*:autoScalingGroupName/migrate-recovery-*\"]},{\"Effect\":\"Allow\",\"Action\":[\"ec2:CreateTags\"],\"Resource\":[\"arn:aws:ec2:*:140207249019:security-group-rule/*\"],\"Condition\":{\"StringEquals\":{\"ec2:CreateAction\":\"AuthorizeSecurityGroupIngress\"}}}]}"}'

	# Make recovery bastion migrate-recovery-vpc-014a0b0c3b8c95ac1, held at zero instances
	# - no second way into VPC vpc-014a0b0c3b8c95ac1
	# + Auto Scaling group migrate-recovery-vpc-014a0b0c3b8c95ac1: 0 of at most 1 instance, t3.micro of image ami-04f5d68d2e9111f38 in subnet-002ee3fcac9825e7b, subnet-03884ae054f084d5c, subnet-045828c1a84378…
	# + security group migrate-recovery-vpc-014a0b0c3b8c95ac1: SSH from 203.0.113.10/32
	# touches: the way back into 1 host; nobody else is touched
	say 'Make recovery bastion migrate-recovery-vpc-014a0b0c3b8c95ac1, held at zero instances'
	group1=$(group 'eu-west-1' '{"Filters":[{"Name":"vpc-id","Values":["vpc-014a0b0c3b8c95ac1"]},{"Name":"group-name","Values":["migrate-recovery-vpc-014a0b0c3b8c95ac1"]}]}')
	if [ "$group1" = None ]; then
		group1=$(aws ec2 create-security-group --region 'eu-west-1' --cli-input-json '{"VpcId":"vpc-014a0b0c3b8c95ac1","GroupName":"migrate-recovery-vpc-014a0b0c3b8c95ac1","Description":"SSH to the recovery bastion","TagSpecifications":[{"ResourceType":"security-group","Tags":[{"Key":"Name","Value":"migrate-recovery-vpc-014a0b0c3b8c95ac1"},{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}' --query GroupId --output text)
		soon aws ec2 describe-security-groups --region 'eu-west-1' --group-ids "$group1" >/dev/null
	fi
	found "$group1" 'migrate-recovery-vpc-014a0b0c3b8c95ac1'
	there InvalidPermission.Duplicate aws ec2 authorize-security-group-ingress --region 'eu-west-1' --cli-input-json '{"GroupId":"'"$group1"'","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"IpRanges":[{"CidrIp":"203.0.113.10/32"}]}],"TagSpecifications":[{"ResourceType":"security-group-rule","Tags":[{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}'
	there InvalidLaunchTemplateName.AlreadyExistsException aws ec2 create-launch-template --region 'eu-west-1' --cli-input-json '{"LaunchTemplateName":"migrate-recovery-vpc-014a0b0c3b8c95ac1","LaunchTemplateData":{"ImageId":"ami-04f5d68d2e9111f38","InstanceType":"t3.micro","UserData":"I2Nsb3VkLWNvbmZpZwpzc2hfcHdhdXRoOiBmYWxzZQpzc2hfYXV0aG9yaXplZF9rZXlzOgogIC0gInJlc3RyaWN0LHB0eSxwb3J0LWZvcndhcmRpbmcscGVybWl0b3Blbj1cIio6MjJcIiBzc2gtZWQyNTUxOSBBQUFBQzNOemFDMWxaREkxTlRFNUFBQUFJR2lvZ0VJOXJWcytkZnNRdjBwQVliVXBXODlVdDFhTm1oYlIzcWp0TjBvOCBtaWdyYXRlLXJlY292ZXJ5Igo=","MetadataOptions":{"HttpTokens":"required","HttpEndpoint":"enabled"},"NetworkInterfaces":[{"DeviceIndex":0,"AssociatePublicIpAddress":false,"Groups":["'"$group1"'"]}]},"TagSpecifications":[{"ResourceType":"launch-template","Tags":[{"Key":"Name","Value":"migrate-recovery-vpc-014a0b0c3b8c95ac1"},{"Key":"ssm-migrate:user","Value":"ubuntu"},{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}'
	soon there AlreadyExists aws autoscaling create-auto-scaling-group --region 'eu-west-1' --cli-input-json '{"AutoScalingGroupName":"migrate-recovery-vpc-014a0b0c3b8c95ac1","LaunchTemplate":{"LaunchTemplateName":"migrate-recovery-vpc-014a0b0c3b8c95ac1","Version":"$Default"},"MinSize":0,"MaxSize":1,"DesiredCapacity":0,"VPCZoneIdentifier":"subnet-002ee3fcac9825e7b,subnet-03884ae054f084d5c,subnet-045828c1a84378207,subnet-07daad0d8d83de026,subnet-0864e6d20f9c3796c,subnet-0b02c9066ad5c3594","Tags":[{"Key":"Name","Value":"migrate-recovery-vpc-014a0b0c3b8c95ac1","ResourceId":"migrate-recovery-vpc-014a0b0c3b8c95ac1","ResourceType":"auto-scaling-group","PropagateAtLaunch":true},{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5","ResourceId":"migrate-recovery-vpc-014a0b0c3b8c95ac1","ResourceType":"auto-scaling-group","PropagateAtLaunch":true}]}'

	# Let the recovery bastion into sg-0cf13e324059c0813 (tools-web)
	# + tcp 22 from migrate-recovery-vpc-014a0b0c3b8c95ac1 (migrate: recovery bastion)
	# touches: security group on 1 host
	say 'Let the recovery bastion into sg-0cf13e324059c0813 (tools-web)'
	there InvalidPermission.Duplicate aws ec2 authorize-security-group-ingress --region 'eu-west-1' --cli-input-json '{"GroupId":"sg-0cf13e324059c0813","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"UserIdGroupPairs":[{"GroupId":"'"$group1"'","Description":"migrate: recovery bastion"}]}],"TagSpecifications":[{"ResourceType":"security-group-rule","Tags":[{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}'

	# Make recovery bastion migrate-recovery-vpc-05dc93c73b18b2204, held at zero instances
	# - no second way into VPC vpc-05dc93c73b18b2204
	# + Auto Scaling group migrate-recovery-vpc-05dc93c73b18b2204: 0 of at most 1 instance, t3.micro of image ami-04f5d6ed2e911296a in subnet-00b9da51183cf0dab, subnet-072b83984efa00d40, subnet-080faab485a76d…
	# + security group migrate-recovery-vpc-05dc93c73b18b2204: SSH from 203.0.113.10/32
	# touches: the way back into 1 host; nobody else is touched
	say 'Make recovery bastion migrate-recovery-vpc-05dc93c73b18b2204, held at zero instances'
	group2=$(group 'eu-west-1' '{"Filters":[{"Name":"vpc-id","Values":["vpc-05dc93c73b18b2204"]},{"Name":"group-name","Values":["migrate-recovery-vpc-05dc93c73b18b2204"]}]}')
	if [ "$group2" = None ]; then
		group2=$(aws ec2 create-security-group --region 'eu-west-1' --cli-input-json '{"VpcId":"vpc-05dc93c73b18b2204","GroupName":"migrate-recovery-vpc-05dc93c73b18b2204","Description":"SSH to the recovery bastion","TagSpecifications":[{"ResourceType":"security-group","Tags":[{"Key":"Name","Value":"migrate-recovery-vpc-05dc93c73b18b2204"},{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}' --query GroupId --output text)
		soon aws ec2 describe-security-groups --region 'eu-west-1' --group-ids "$group2" >/dev/null
	fi
	found "$group2" 'migrate-recovery-vpc-05dc93c73b18b2204'
	there InvalidPermission.Duplicate aws ec2 authorize-security-group-ingress --region 'eu-west-1' --cli-input-json '{"GroupId":"'"$group2"'","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"IpRanges":[{"CidrIp":"203.0.113.10/32"}]}],"TagSpecifications":[{"ResourceType":"security-group-rule","Tags":[{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}'
	there InvalidLaunchTemplateName.AlreadyExistsException aws ec2 create-launch-template --region 'eu-west-1' --cli-input-json '{"LaunchTemplateName":"migrate-recovery-vpc-05dc93c73b18b2204","LaunchTemplateData":{"ImageId":"ami-04f5d6ed2e911296a","InstanceType":"t3.micro","UserData":"I2Nsb3VkLWNvbmZpZwpzc2hfcHdhdXRoOiBmYWxzZQpzc2hfYXV0aG9yaXplZF9rZXlzOgogIC0gInJlc3RyaWN0LHB0eSxwb3J0LWZvcndhcmRpbmcscGVybWl0b3Blbj1cIio6MjJcIiBzc2gtZWQyNTUxOSBBQUFBQzNOemFDMWxaREkxTlRFNUFBQUFJR2lvZ0VJOXJWcytkZnNRdjBwQVliVXBXODlVdDFhTm1oYlIzcWp0TjBvOCBtaWdyYXRlLXJlY292ZXJ5Igo=","MetadataOptions":{"HttpTokens":"required","HttpEndpoint":"enabled"},"NetworkInterfaces":[{"DeviceIndex":0,"AssociatePublicIpAddress":false,"Groups":["'"$group2"'"]}]},"TagSpecifications":[{"ResourceType":"launch-template","Tags":[{"Key":"Name","Value":"migrate-recovery-vpc-05dc93c73b18b2204"},{"Key":"ssm-migrate:user","Value":"ubuntu"},{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}'
	soon there AlreadyExists aws autoscaling create-auto-scaling-group --region 'eu-west-1' --cli-input-json '{"AutoScalingGroupName":"migrate-recovery-vpc-05dc93c73b18b2204","LaunchTemplate":{"LaunchTemplateName":"migrate-recovery-vpc-05dc93c73b18b2204","Version":"$Default"},"MinSize":0,"MaxSize":1,"DesiredCapacity":0,"VPCZoneIdentifier":"subnet-00b9da51183cf0dab,subnet-072b83984efa00d40,subnet-080faab485a76d6f7,subnet-08eb6decbb8e2b9e9,subnet-09f5cda35682d11a4,subnet-0bb9eabc3e4ef40a9","Tags":[{"Key":"Name","Value":"migrate-recovery-vpc-05dc93c73b18b2204","ResourceId":"migrate-recovery-vpc-05dc93c73b18b2204","ResourceType":"auto-scaling-group","PropagateAtLaunch":true},{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5","ResourceId":"migrate-recovery-vpc-05dc93c73b18b2204","ResourceType":"auto-scaling-group","PropagateAtLaunch":true}]}'

	# Let the recovery bastion into sg-09174c779831eb083 (tools-app)
	# + tcp 22 from migrate-recovery-vpc-05dc93c73b18b2204 (migrate: recovery bastion)
	# touches: security group on 1 host
	say 'Let the recovery bastion into sg-09174c779831eb083 (tools-app)'
	there InvalidPermission.Duplicate aws ec2 authorize-security-group-ingress --region 'eu-west-1' --cli-input-json '{"GroupId":"sg-09174c779831eb083","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"UserIdGroupPairs":[{"GroupId":"'"$group2"'","Description":"migrate: recovery bastion"}]}],"TagSpecifications":[{"ResourceType":"security-group-rule","Tags":[{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}'

	# Make recovery bastion migrate-recovery-vpc-066a7fbd72467f8c4, held at zero instances
	# - no second way into VPC vpc-066a7fbd72467f8c4
	# + Auto Scaling group migrate-recovery-vpc-066a7fbd72467f8c4: 0 of at most 1 instance, t3.micro of image ami-0961e805d9aab15b0 in subnet-03407e6378576d45f, subnet-044d167707381aced, subnet-07e8375d87b9cb…
	# + security group migrate-recovery-vpc-066a7fbd72467f8c4: SSH from 203.0.113.10/32
	# touches: the way back into 1 host; nobody else is touched
	say 'Make recovery bastion migrate-recovery-vpc-066a7fbd72467f8c4, held at zero instances'
	group3=$(group 'eu-west-1' '{"Filters":[{"Name":"vpc-id","Values":["vpc-066a7fbd72467f8c4"]},{"Name":"group-name","Values":["migrate-recovery-vpc-066a7fbd72467f8c4"]}]}')
	if [ "$group3" = None ]; then
		group3=$(aws ec2 create-security-group --region 'eu-west-1' --cli-input-json '{"VpcId":"vpc-066a7fbd72467f8c4","GroupName":"migrate-recovery-vpc-066a7fbd72467f8c4","Description":"SSH to the recovery bastion","TagSpecifications":[{"ResourceType":"security-group","Tags":[{"Key":"Name","Value":"migrate-recovery-vpc-066a7fbd72467f8c4"},{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}' --query GroupId --output text)
		soon aws ec2 describe-security-groups --region 'eu-west-1' --group-ids "$group3" >/dev/null
	fi
	found "$group3" 'migrate-recovery-vpc-066a7fbd72467f8c4'
	there InvalidPermission.Duplicate aws ec2 authorize-security-group-ingress --region 'eu-west-1' --cli-input-json '{"GroupId":"'"$group3"'","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"IpRanges":[{"CidrIp":"203.0.113.10/32"}]}],"TagSpecifications":[{"ResourceType":"security-group-rule","Tags":[{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}'
	there InvalidLaunchTemplateName.AlreadyExistsException aws ec2 create-launch-template --region 'eu-west-1' --cli-input-json '{"LaunchTemplateName":"migrate-recovery-vpc-066a7fbd72467f8c4","LaunchTemplateData":{"ImageId":"ami-0961e805d9aab15b0","InstanceType":"t3.micro","UserData":"I2Nsb3VkLWNvbmZpZwpzc2hfcHdhdXRoOiBmYWxzZQpzc2hfYXV0aG9yaXplZF9rZXlzOgogIC0gInJlc3RyaWN0LHB0eSxwb3J0LWZvcndhcmRpbmcscGVybWl0b3Blbj1cIio6MjJcIiBzc2gtZWQyNTUxOSBBQUFBQzNOemFDMWxaREkxTlRFNUFBQUFJR2lvZ0VJOXJWcytkZnNRdjBwQVliVXBXODlVdDFhTm1oYlIzcWp0TjBvOCBtaWdyYXRlLXJlY292ZXJ5Igo=","MetadataOptions":{"HttpTokens":"required","HttpEndpoint":"enabled"},"NetworkInterfaces":[{"DeviceIndex":0,"AssociatePublicIpAddress":false,"Groups":["'"$group3"'"]}]},"TagSpecifications":[{"ResourceType":"launch-template","Tags":[{"Key":"Name","Value":"migrate-recovery-vpc-066a7fbd72467f8c4"},{"Key":"ssm-migrate:user","Value":"ec2-user"},{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}'
	soon there AlreadyExists aws autoscaling create-auto-scaling-group --region 'eu-west-1' --cli-input-json '{"AutoScalingGroupName":"migrate-recovery-vpc-066a7fbd72467f8c4","LaunchTemplate":{"LaunchTemplateName":"migrate-recovery-vpc-066a7fbd72467f8c4","Version":"$Default"},"MinSize":0,"MaxSize":1,"DesiredCapacity":0,"VPCZoneIdentifier":"subnet-03407e6378576d45f,subnet-044d167707381aced,subnet-07e8375d87b9cb58c,subnet-092f4d67c43e61269,subnet-0c43450884e90bab8,subnet-0ff4ca7ee115e1e23","Tags":[{"Key":"Name","Value":"migrate-recovery-vpc-066a7fbd72467f8c4","ResourceId":"migrate-recovery-vpc-066a7fbd72467f8c4","ResourceType":"auto-scaling-group","PropagateAtLaunch":true},{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5","ResourceId":"migrate-recovery-vpc-066a7fbd72467f8c4","ResourceType":"auto-scaling-group","PropagateAtLaunch":true}]}'

	# Let the recovery bastion into sg-0e9ed4b8835ab9c7f (apps-db)
	# + tcp 22 from migrate-recovery-vpc-066a7fbd72467f8c4 (migrate: recovery bastion)
	# touches: security group on 1 host
	say 'Let the recovery bastion into sg-0e9ed4b8835ab9c7f (apps-db)'
	there InvalidPermission.Duplicate aws ec2 authorize-security-group-ingress --region 'eu-west-1' --cli-input-json '{"GroupId":"sg-0e9ed4b8835ab9c7f","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"UserIdGroupPairs":[{"GroupId":"'"$group3"'","Description":"migrate: recovery bastion"}]}],"TagSpecifications":[{"ResourceType":"security-group-rule","Tags":[{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}'

	# Make recovery bastion migrate-recovery-vpc-0992e639043cee8bc, held at zero instances
	# - no second way into VPC vpc-0992e639043cee8bc
	# + Auto Scaling group migrate-recovery-vpc-0992e639043cee8bc: 0 of at most 1 instance, t3.micro of image ami-04f5d6ed2e911296a in subnet-034b967fb26a7de46, subnet-06f2b262a4f0fa7e3, subnet-08a516ad78ee08…
	# + security group migrate-recovery-vpc-0992e639043cee8bc: SSH from 203.0.113.10/32
	# touches: the way back into 1 host; nobody else is touched
	say 'Make recovery bastion migrate-recovery-vpc-0992e639043cee8bc, held at zero instances'
	group4=$(group 'eu-west-1' '{"Filters":[{"Name":"vpc-id","Values":["vpc-0992e639043cee8bc"]},{"Name":"group-name","Values":["migrate-recovery-vpc-0992e639043cee8bc"]}]}')
	if [ "$group4" = None ]; then
		group4=$(aws ec2 create-security-group --region 'eu-west-1' --cli-input-json '{"VpcId":"vpc-0992e639043cee8bc","GroupName":"migrate-recovery-vpc-0992e639043cee8bc","Description":"SSH to the recovery bastion","TagSpecifications":[{"ResourceType":"security-group","Tags":[{"Key":"Name","Value":"migrate-recovery-vpc-0992e639043cee8bc"},{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}' --query GroupId --output text)
		soon aws ec2 describe-security-groups --region 'eu-west-1' --group-ids "$group4" >/dev/null
	fi
	found "$group4" 'migrate-recovery-vpc-0992e639043cee8bc'
	there InvalidPermission.Duplicate aws ec2 authorize-security-group-ingress --region 'eu-west-1' --cli-input-json '{"GroupId":"'"$group4"'","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"IpRanges":[{"CidrIp":"203.0.113.10/32"}]}],"TagSpecifications":[{"ResourceType":"security-group-rule","Tags":[{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}'
	there InvalidLaunchTemplateName.AlreadyExistsException aws ec2 create-launch-template --region 'eu-west-1' --cli-input-json '{"LaunchTemplateName":"migrate-recovery-vpc-0992e639043cee8bc","LaunchTemplateData":{"ImageId":"ami-04f5d6ed2e911296a","InstanceType":"t3.micro","UserData":"I2Nsb3VkLWNvbmZpZwpzc2hfcHdhdXRoOiBmYWxzZQpzc2hfYXV0aG9yaXplZF9rZXlzOgogIC0gInJlc3RyaWN0LHB0eSxwb3J0LWZvcndhcmRpbmcscGVybWl0b3Blbj1cIio6MjJcIiBzc2gtZWQyNTUxOSBBQUFBQzNOemFDMWxaREkxTlRFNUFBQUFJR2lvZ0VJOXJWcytkZnNRdjBwQVliVXBXODlVdDFhTm1oYlIzcWp0TjBvOCBtaWdyYXRlLXJlY292ZXJ5Igo=","MetadataOptions":{"HttpTokens":"required","HttpEndpoint":"enabled"},"NetworkInterfaces":[{"DeviceIndex":0,"AssociatePublicIpAddress":false,"Groups":["'"$group4"'"]}]},"TagSpecifications":[{"ResourceType":"launch-template","Tags":[{"Key":"Name","Value":"migrate-recovery-vpc-0992e639043cee8bc"},{"Key":"ssm-migrate:user","Value":"ubuntu"},{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}'
	soon there AlreadyExists aws autoscaling create-auto-scaling-group --region 'eu-west-1' --cli-input-json '{"AutoScalingGroupName":"migrate-recovery-vpc-0992e639043cee8bc","LaunchTemplate":{"LaunchTemplateName":"migrate-recovery-vpc-0992e639043cee8bc","Version":"$Default"},"MinSize":0,"MaxSize":1,"DesiredCapacity":0,"VPCZoneIdentifier":"subnet-034b967fb26a7de46,subnet-06f2b262a4f0fa7e3,subnet-08a516ad78ee08534,subnet-08c2d8bfecabf2c89,subnet-0b37465eaec68604f,subnet-0c8976776b74e53ae","Tags":[{"Key":"Name","Value":"migrate-recovery-vpc-0992e639043cee8bc","ResourceId":"migrate-recovery-vpc-0992e639043cee8bc","ResourceType":"auto-scaling-group","PropagateAtLaunch":true},{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5","ResourceId":"migrate-recovery-vpc-0992e639043cee8bc","ResourceType":"auto-scaling-group","PropagateAtLaunch":true}]}'

	# Let the recovery bastion into sg-048f36e1efba3ce1b (apps-app)
	# + tcp 22 from migrate-recovery-vpc-0992e639043cee8bc (migrate: recovery bastion)
	# touches: security group on 1 host
	say 'Let the recovery bastion into sg-048f36e1efba3ce1b (apps-app)'
	there InvalidPermission.Duplicate aws ec2 authorize-security-group-ingress --region 'eu-west-1' --cli-input-json '{"GroupId":"sg-048f36e1efba3ce1b","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"UserIdGroupPairs":[{"GroupId":"'"$group4"'","Description":"migrate: recovery bastion"}]}],"TagSpecifications":[{"ResourceType":"security-group-rule","Tags":[{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}'

	# Make recovery bastion migrate-recovery-vpc-0e078981cfd3db961, held at zero instances
	# - no second way into VPC vpc-0e078981cfd3db961
	# + Auto Scaling group migrate-recovery-vpc-0e078981cfd3db961: 0 of at most 1 instance, t3.micro of image ami-04f5d6cd2e9112604 in subnet-041cc5f9a27416dac, subnet-04ee2ab6f3684d3ff, subnet-05fdd83aba3c70…
	# + security group migrate-recovery-vpc-0e078981cfd3db961: SSH from 203.0.113.10/32
	# touches: the way back into 1 host; nobody else is touched
	say 'Make recovery bastion migrate-recovery-vpc-0e078981cfd3db961, held at zero instances'
	group5=$(group 'eu-west-1' '{"Filters":[{"Name":"vpc-id","Values":["vpc-0e078981cfd3db961"]},{"Name":"group-name","Values":["migrate-recovery-vpc-0e078981cfd3db961"]}]}')
	if [ "$group5" = None ]; then
		group5=$(aws ec2 create-security-group --region 'eu-west-1' --cli-input-json '{"VpcId":"vpc-0e078981cfd3db961","GroupName":"migrate-recovery-vpc-0e078981cfd3db961","Description":"SSH to the recovery bastion","TagSpecifications":[{"ResourceType":"security-group","Tags":[{"Key":"Name","Value":"migrate-recovery-vpc-0e078981cfd3db961"},{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}' --query GroupId --output text)
		soon aws ec2 describe-security-groups --region 'eu-west-1' --group-ids "$group5" >/dev/null
	fi
	found "$group5" 'migrate-recovery-vpc-0e078981cfd3db961'
	there InvalidPermission.Duplicate aws ec2 authorize-security-group-ingress --region 'eu-west-1' --cli-input-json '{"GroupId":"'"$group5"'","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"IpRanges":[{"CidrIp":"203.0.113.10/32"}]}],"TagSpecifications":[{"ResourceType":"security-group-rule","Tags":[{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}'
	there InvalidLaunchTemplateName.AlreadyExistsException aws ec2 create-launch-template --region 'eu-west-1' --cli-input-json '{"LaunchTemplateName":"migrate-recovery-vpc-0e078981cfd3db961","LaunchTemplateData":{"ImageId":"ami-04f5d6cd2e9112604","InstanceType":"t3.micro","UserData":"I2Nsb3VkLWNvbmZpZwpzc2hfcHdhdXRoOiBmYWxzZQpzc2hfYXV0aG9yaXplZF9rZXlzOgogIC0gInJlc3RyaWN0LHB0eSxwb3J0LWZvcndhcmRpbmcscGVybWl0b3Blbj1cIio6MjJcIiBzc2gtZWQyNTUxOSBBQUFBQzNOemFDMWxaREkxTlRFNUFBQUFJR2lvZ0VJOXJWcytkZnNRdjBwQVliVXBXODlVdDFhTm1oYlIzcWp0TjBvOCBtaWdyYXRlLXJlY292ZXJ5Igo=","MetadataOptions":{"HttpTokens":"required","HttpEndpoint":"enabled"},"NetworkInterfaces":[{"DeviceIndex":0,"AssociatePublicIpAddress":false,"Groups":["'"$group5"'"]}]},"TagSpecifications":[{"ResourceType":"launch-template","Tags":[{"Key":"Name","Value":"migrate-recovery-vpc-0e078981cfd3db961"},{"Key":"ssm-migrate:user","Value":"ubuntu"},{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}'
	soon there AlreadyExists aws autoscaling create-auto-scaling-group --region 'eu-west-1' --cli-input-json '{"AutoScalingGroupName":"migrate-recovery-vpc-0e078981cfd3db961","LaunchTemplate":{"LaunchTemplateName":"migrate-recovery-vpc-0e078981cfd3db961","Version":"$Default"},"MinSize":0,"MaxSize":1,"DesiredCapacity":0,"VPCZoneIdentifier":"subnet-041cc5f9a27416dac,subnet-04ee2ab6f3684d3ff,subnet-05fdd83aba3c70739,subnet-065058a3b07263cef,subnet-092d7466492c48bfe,subnet-0fdcf7519ae0ac820","Tags":[{"Key":"Name","Value":"migrate-recovery-vpc-0e078981cfd3db961","ResourceId":"migrate-recovery-vpc-0e078981cfd3db961","ResourceType":"auto-scaling-group","PropagateAtLaunch":true},{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5","ResourceId":"migrate-recovery-vpc-0e078981cfd3db961","ResourceType":"auto-scaling-group","PropagateAtLaunch":true}]}'

	# Let the recovery bastion into sg-022dc97a0c03fc67f (prod-app)
	# + tcp 22 from migrate-recovery-vpc-0e078981cfd3db961 (migrate: recovery bastion)
	# touches: security group on 1 host
	say 'Let the recovery bastion into sg-022dc97a0c03fc67f (prod-app)'
	there InvalidPermission.Duplicate aws ec2 authorize-security-group-ingress --region 'eu-west-1' --cli-input-json '{"GroupId":"sg-022dc97a0c03fc67f","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"UserIdGroupPairs":[{"GroupId":"'"$group5"'","Description":"migrate: recovery bastion"}]}],"TagSpecifications":[{"ResourceType":"security-group-rule","Tags":[{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}'
}

# ---- recovery: account 140207249019, us-east-1 ----
recovery_140207249019_us_east_1() {
	in_account '140207249019' 'us-east-1' || return 0

	# Make recovery bastion migrate-recovery-vpc-068b0a05a58664a70, held at zero instances
	# - no second way into VPC vpc-068b0a05a58664a70
	# + Auto Scaling group migrate-recovery-vpc-068b0a05a58664a70: 0 of at most 1 instance, t3.micro of image ami-048b793d0f89b8fd2 in subnet-00348108f4c4dde92, subnet-00bccf16a80db7148, subnet-04225562847be9…
	# + security group migrate-recovery-vpc-068b0a05a58664a70: SSH from 203.0.113.10/32
	# touches: the way back into 1 host; nobody else is touched
	say 'Make recovery bastion migrate-recovery-vpc-068b0a05a58664a70, held at zero instances'
	group1=$(group 'us-east-1' '{"Filters":[{"Name":"vpc-id","Values":["vpc-068b0a05a58664a70"]},{"Name":"group-name","Values":["migrate-recovery-vpc-068b0a05a58664a70"]}]}')
	if [ "$group1" = None ]; then
		group1=$(aws ec2 create-security-group --region 'us-east-1' --cli-input-json '{"VpcId":"vpc-068b0a05a58664a70","GroupName":"migrate-recovery-vpc-068b0a05a58664a70","Description":"SSH to the recovery bastion","TagSpecifications":[{"ResourceType":"security-group","Tags":[{"Key":"Name","Value":"migrate-recovery-vpc-068b0a05a58664a70"},{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}' --query GroupId --output text)
		soon aws ec2 describe-security-groups --region 'us-east-1' --group-ids "$group1" >/dev/null
	fi
	found "$group1" 'migrate-recovery-vpc-068b0a05a58664a70'
	there InvalidPermission.Duplicate aws ec2 authorize-security-group-ingress --region 'us-east-1' --cli-input-json '{"GroupId":"'"$group1"'","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"IpRanges":[{"CidrIp":"203.0.113.10/32"}]}],"TagSpecifications":[{"ResourceType":"security-group-rule","Tags":[{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}'
	there InvalidLaunchTemplateName.AlreadyExistsException aws ec2 create-launch-template --region 'us-east-1' --cli-input-json '{"LaunchTemplateName":"migrate-recovery-vpc-068b0a05a58664a70","LaunchTemplateData":{"ImageId":"ami-048b793d0f89b8fd2","InstanceType":"t3.micro","UserData":"I2Nsb3VkLWNvbmZpZwpzc2hfcHdhdXRoOiBmYWxzZQpzc2hfYXV0aG9yaXplZF9rZXlzOgogIC0gInJlc3RyaWN0LHB0eSxwb3J0LWZvcndhcmRpbmcscGVybWl0b3Blbj1cIio6MjJcIiBzc2gtZWQyNTUxOSBBQUFBQzNOemFDMWxaREkxTlRFNUFBQUFJR2lvZ0VJOXJWcytkZnNRdjBwQVliVXBXODlVdDFhTm1oYlIzcWp0TjBvOCBtaWdyYXRlLXJlY292ZXJ5Igo=","MetadataOptions":{"HttpTokens":"required","HttpEndpoint":"enabled"},"NetworkInterfaces":[{"DeviceIndex":0,"AssociatePublicIpAddress":false,"Groups":["'"$group1"'"]}]},"TagSpecifications":[{"ResourceType":"launch-template","Tags":[{"Key":"Name","Value":"migrate-recovery-vpc-068b0a05a58664a70"},{"Key":"ssm-migrate:user","Value":"ec2-user"},{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}'
	soon there AlreadyExists aws autoscaling create-auto-scaling-group --region 'us-east-1' --cli-input-json '{"AutoScalingGroupName":"migrate-recovery-vpc-068b0a05a58664a70","LaunchTemplate":{"LaunchTemplateName":"migrate-recovery-vpc-068b0a05a58664a70","Version":"$Default"},"MinSize":0,"MaxSize":1,"DesiredCapacity":0,"VPCZoneIdentifier":"subnet-00348108f4c4dde92,subnet-00bccf16a80db7148,subnet-04225562847be95f8,subnet-08a5302d3c51405c0,subnet-097bedefb0ae5fce9,subnet-09c3355c51fa68573","Tags":[{"Key":"Name","Value":"migrate-recovery-vpc-068b0a05a58664a70","ResourceId":"migrate-recovery-vpc-068b0a05a58664a70","ResourceType":"auto-scaling-group","PropagateAtLaunch":true},{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5","ResourceId":"migrate-recovery-vpc-068b0a05a58664a70","ResourceType":"auto-scaling-group","PropagateAtLaunch":true}]}'

	# Let the recovery bastion into sg-03153195c7eaed467 (apps-db)
	# + tcp 22 from migrate-recovery-vpc-068b0a05a58664a70 (migrate: recovery bastion)
	# touches: security group on 1 host
	say 'Let the recovery bastion into sg-03153195c7eaed467 (apps-db)'
	there InvalidPermission.Duplicate aws ec2 authorize-security-group-ingress --region 'us-east-1' --cli-input-json '{"GroupId":"sg-03153195c7eaed467","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"UserIdGroupPairs":[{"GroupId":"'"$group1"'","Description":"migrate: recovery bastion"}]}],"TagSpecifications":[{"ResourceType":"security-group-rule","Tags":[{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}'

	# Make recovery bastion migrate-recovery-vpc-091e9123b8cbe868c, held at zero instances
	# - no second way into VPC vpc-091e9123b8cbe868c
	# + Auto Scaling group migrate-recovery-vpc-091e9123b8cbe868c: 0 of at most 1 instance, t3.micro of image ami-017afe4f8bc920436 in subnet-03344f687bd572e60, subnet-06e6705f979c60580, subnet-0eff2329275dfd…
	# + security group migrate-recovery-vpc-091e9123b8cbe868c: SSH from 203.0.113.10/32
	# + the bastion gets a public address: operators come through an internet gateway
	# touches: the way back into 1 host; nobody else is touched
	say 'Make recovery bastion migrate-recovery-vpc-091e9123b8cbe868c, held at zero instances'
	group2=$(group 'us-east-1' '{"Filters":[{"Name":"vpc-id","Values":["vpc-091e9123b8cbe868c"]},{"Name":"group-name","Values":["migrate-recovery-vpc-091e9123b8cbe868c"]}]}')
	if [ "$group2" = None ]; then
		group2=$(aws ec2 create-security-group --region 'us-east-1' --cli-input-json '{"VpcId":"vpc-091e9123b8cbe868c","GroupName":"migrate-recovery-vpc-091e9123b8cbe868c","Description":"SSH to the recovery bastion","TagSpecifications":[{"ResourceType":"security-group","Tags":[{"Key":"Name","Value":"migrate-recovery-vpc-091e9123b8cbe868c"},{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}' --query GroupId --output text)
		soon aws ec2 describe-security-groups --region 'us-east-1' --group-ids "$group2" >/dev/null
	fi
	found "$group2" 'migrate-recovery-vpc-091e9123b8cbe868c'
	there InvalidPermission.Duplicate aws ec2 authorize-security-group-ingress --region 'us-east-1' --cli-input-json '{"GroupId":"'"$group2"'","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"IpRanges":[{"CidrIp":"203.0.113.10/32"}]}],"TagSpecifications":[{"ResourceType":"security-group-rule","Tags":[{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}'
	there InvalidLaunchTemplateName.AlreadyExistsException aws ec2 create-launch-template --region 'us-east-1' --cli-input-json '{"LaunchTemplateName":"migrate-recovery-vpc-091e9123b8cbe868c","LaunchTemplateData":{"ImageId":"ami-017afe4f8bc920436","InstanceType":"t3.micro","UserData":"I2Nsb3VkLWNvbmZpZwpzc2hfcHdhdXRoOiBmYWxzZQpzc2hfYXV0aG9yaXplZF9rZXlzOgogIC0gInJlc3RyaWN0LHB0eSxwb3J0LWZvcndhcmRpbmcscGVybWl0b3Blbj1cIio6MjJcIiBzc2gtZWQyNTUxOSBBQUFBQzNOemFDMWxaREkxTlRFNUFBQUFJR2lvZ0VJOXJWcytkZnNRdjBwQVliVXBXODlVdDFhTm1oYlIzcWp0TjBvOCBtaWdyYXRlLXJlY292ZXJ5Igo=","MetadataOptions":{"HttpTokens":"required","HttpEndpoint":"enabled"},"NetworkInterfaces":[{"DeviceIndex":0,"AssociatePublicIpAddress":true,"Groups":["'"$group2"'"]}]},"TagSpecifications":[{"ResourceType":"launch-template","Tags":[{"Key":"Name","Value":"migrate-recovery-vpc-091e9123b8cbe868c"},{"Key":"ssm-migrate:user","Value":"ec2-user"},{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}'
	soon there AlreadyExists aws autoscaling create-auto-scaling-group --region 'us-east-1' --cli-input-json '{"AutoScalingGroupName":"migrate-recovery-vpc-091e9123b8cbe868c","LaunchTemplate":{"LaunchTemplateName":"migrate-recovery-vpc-091e9123b8cbe868c","Version":"$Default"},"MinSize":0,"MaxSize":1,"DesiredCapacity":0,"VPCZoneIdentifier":"subnet-03344f687bd572e60,subnet-06e6705f979c60580,subnet-0eff2329275dfdf95","Tags":[{"Key":"Name","Value":"migrate-recovery-vpc-091e9123b8cbe868c","ResourceId":"migrate-recovery-vpc-091e9123b8cbe868c","ResourceType":"auto-scaling-group","PropagateAtLaunch":true},{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5","ResourceId":"migrate-recovery-vpc-091e9123b8cbe868c","ResourceType":"auto-scaling-group","PropagateAtLaunch":true}]}'

	# Let the recovery bastion into sg-0bacbaafdc4636d20 (front-office-ssh)
	# + tcp 22 from migrate-recovery-vpc-091e9123b8cbe868c (migrate: recovery bastion)
	# touches: security group on 1 host
	say 'Let the recovery bastion into sg-0bacbaafdc4636d20 (front-office-ssh)'
	there InvalidPermission.Duplicate aws ec2 authorize-security-group-ingress --region 'us-east-1' --cli-input-json '{"GroupId":"sg-0bacbaafdc4636d20","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"UserIdGroupPairs":[{"GroupId":"'"$group2"'","Description":"migrate: recovery bastion"}]}],"TagSpecifications":[{"ResourceType":"security-group-rule","Tags":[{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}'

	# Let the recovery bastion into sg-0fcdbd1342cb738ac (front-web)
	# + tcp 22 from migrate-recovery-vpc-091e9123b8cbe868c (migrate: recovery bastion)
	# touches: security group on 1 host
	say 'Let the recovery bastion into sg-0fcdbd1342cb738ac (front-web)'
	there InvalidPermission.Duplicate aws ec2 authorize-security-group-ingress --region 'us-east-1' --cli-input-json '{"GroupId":"sg-0fcdbd1342cb738ac","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"UserIdGroupPairs":[{"GroupId":"'"$group2"'","Description":"migrate: recovery bastion"}]}],"TagSpecifications":[{"ResourceType":"security-group-rule","Tags":[{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}'

	# Make recovery bastion migrate-recovery-vpc-0d74c436bea4e266d, held at zero instances
	# - no second way into VPC vpc-0d74c436bea4e266d
	# + Auto Scaling group migrate-recovery-vpc-0d74c436bea4e266d: 0 of at most 1 instance, t3.micro of image ami-0114f6108c2725d1c in subnet-001c6fc36c392c272, subnet-01315aa044ee985b2, subnet-034947ad59c8c8…
	# + security group migrate-recovery-vpc-0d74c436bea4e266d: SSH from 203.0.113.10/32
	# touches: the way back into 1 host; nobody else is touched
	say 'Make recovery bastion migrate-recovery-vpc-0d74c436bea4e266d, held at zero instances'
	group3=$(group 'us-east-1' '{"Filters":[{"Name":"vpc-id","Values":["vpc-0d74c436bea4e266d"]},{"Name":"group-name","Values":["migrate-recovery-vpc-0d74c436bea4e266d"]}]}')
	if [ "$group3" = None ]; then
		group3=$(aws ec2 create-security-group --region 'us-east-1' --cli-input-json '{"VpcId":"vpc-0d74c436bea4e266d","GroupName":"migrate-recovery-vpc-0d74c436bea4e266d","Description":"SSH to the recovery bastion","TagSpecifications":[{"ResourceType":"security-group","Tags":[{"Key":"Name","Value":"migrate-recovery-vpc-0d74c436bea4e266d"},{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}' --query GroupId --output text)
		soon aws ec2 describe-security-groups --region 'us-east-1' --group-ids "$group3" >/dev/null
	fi
	found "$group3" 'migrate-recovery-vpc-0d74c436bea4e266d'
	there InvalidPermission.Duplicate aws ec2 authorize-security-group-ingress --region 'us-east-1' --cli-input-json '{"GroupId":"'"$group3"'","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"IpRanges":[{"CidrIp":"203.0.113.10/32"}]}],"TagSpecifications":[{"ResourceType":"security-group-rule","Tags":[{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}'
	there InvalidLaunchTemplateName.AlreadyExistsException aws ec2 create-launch-template --region 'us-east-1' --cli-input-json '{"LaunchTemplateName":"migrate-recovery-vpc-0d74c436bea4e266d","LaunchTemplateData":{"ImageId":"ami-0114f6108c2725d1c","InstanceType":"t3.micro","UserData":"I2Nsb3VkLWNvbmZpZwpzc2hfcHdhdXRoOiBmYWxzZQpzc2hfYXV0aG9yaXplZF9rZXlzOgogIC0gInJlc3RyaWN0LHB0eSxwb3J0LWZvcndhcmRpbmcscGVybWl0b3Blbj1cIio6MjJcIiBzc2gtZWQyNTUxOSBBQUFBQzNOemFDMWxaREkxTlRFNUFBQUFJR2lvZ0VJOXJWcytkZnNRdjBwQVliVXBXODlVdDFhTm1oYlIzcWp0TjBvOCBtaWdyYXRlLXJlY292ZXJ5Igo=","MetadataOptions":{"HttpTokens":"required","HttpEndpoint":"enabled"},"NetworkInterfaces":[{"DeviceIndex":0,"AssociatePublicIpAddress":false,"Groups":["'"$group3"'"]}]},"TagSpecifications":[{"ResourceType":"launch-template","Tags":[{"Key":"Name","Value":"migrate-recovery-vpc-0d74c436bea4e266d"},{"Key":"ssm-migrate:user","Value":"ubuntu"},{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}'
	soon there AlreadyExists aws autoscaling create-auto-scaling-group --region 'us-east-1' --cli-input-json '{"AutoScalingGroupName":"migrate-recovery-vpc-0d74c436bea4e266d","LaunchTemplate":{"LaunchTemplateName":"migrate-recovery-vpc-0d74c436bea4e266d","Version":"$Default"},"MinSize":0,"MaxSize":1,"DesiredCapacity":0,"VPCZoneIdentifier":"subnet-001c6fc36c392c272,subnet-01315aa044ee985b2,subnet-034947ad59c8c8140,subnet-0572ea0efdf5ac038,subnet-0e86326dae552a2ad,subnet-0f319879fd155f6b5","Tags":[{"Key":"Name","Value":"migrate-recovery-vpc-0d74c436bea4e266d","ResourceId":"migrate-recovery-vpc-0d74c436bea4e266d","ResourceType":"auto-scaling-group","PropagateAtLaunch":true},{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5","ResourceId":"migrate-recovery-vpc-0d74c436bea4e266d","ResourceType":"auto-scaling-group","PropagateAtLaunch":true}]}'

	# Let the recovery bastion into sg-0eb0ee91c7b662eb5 (tools-web)
	# + tcp 22 from migrate-recovery-vpc-0d74c436bea4e266d (migrate: recovery bastion)
	# touches: security group on 1 host
	say 'Let the recovery bastion into sg-0eb0ee91c7b662eb5 (tools-web)'
	there InvalidPermission.Duplicate aws ec2 authorize-security-group-ingress --region 'us-east-1' --cli-input-json '{"GroupId":"sg-0eb0ee91c7b662eb5","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"UserIdGroupPairs":[{"GroupId":"'"$group3"'","Description":"migrate: recovery bastion"}]}],"TagSpecifications":[{"ResourceType":"security-group-rule","Tags":[{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}]}'
}

# ---- access: account 140207249019, eu-west-1 ----
access_140207249019_eu_west_1() {
	in_account '140207249019' 'eu-west-1' || return 0

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
	there EntityAlreadyExists aws iam create-policy --region 'eu-west-1' --cli-input-json '{"PolicyName":"migrate-instance-app","PolicyDocument":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Sid\":\"AgentOfOwnInstance\",\"Effect\":\"Allow\",\"Action\":[\"ssm:UpdateInstanceInformation\",\"ssmmessages:CreateControlChannel\"],\"Resource\":[\"*\"],\"Condition\":{\"ArnLike\":{\"ec2:SourceInstanceARN\":[\"arn:aws:ec2:*:140207249019:instance/*\"]}}},{\"Sid\":\"Agent\",\"Effect\":\"Allow\",\"Action\":[\"ssmmessages:OpenControlChannel\",\"ssmmessages:CreateDataChannel\",\"ssmmessages:OpenDataChannel\",\"logs:DescribeLogGroups\"],\"Resource\":[\"*\"]},{\"Sid\":\"SessionLog1\",\"Effect\":\"Allow\",\"Action\":[\"kms:Decrypt\"],\"Resource\":[\"arn:aws:kms:eu-west-1:140207249019:key/c04f9cee-f96d-4f55-bcb6-f25d6358cc1f\"]},{\"Sid\":\"SessionLog2\",\"Effect\":\"Allow\",\"Action\":[\"logs:CreateLogStream\",\"logs:DescribeLogStreams\",\"logs:PutLogEvents\"],\"Resource\":[\"arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*\"]}]}","Description":"the role of their instance profile; used by 1 host","Tags":[{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}'
	soon aws iam attach-role-policy --region 'eu-west-1' --cli-input-json '{"PolicyArn":"arn:aws:iam::140207249019:policy/migrate-instance-app","RoleName":"app"}'

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
	there EntityAlreadyExists aws iam create-policy --region 'eu-west-1' --cli-input-json '{"PolicyName":"migrate-instance-app-0901bf71","PolicyDocument":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Sid\":\"AgentOfOwnInstance\",\"Effect\":\"Allow\",\"Action\":[\"ssm:UpdateInstanceInformation\",\"ssmmessages:CreateControlChannel\"],\"Resource\":[\"*\"],\"Condition\":{\"ArnLike\":{\"ec2:SourceInstanceARN\":[\"arn:aws:ec2:*:140207249019:instance/*\"]}}},{\"Sid\":\"Agent\",\"Effect\":\"Allow\",\"Action\":[\"ssmmessages:OpenControlChannel\",\"ssmmessages:CreateDataChannel\",\"ssmmessages:OpenDataChannel\",\"logs:DescribeLogGroups\"],\"Resource\":[\"*\"]},{\"Sid\":\"SessionLog1\",\"Effect\":\"Allow\",\"Action\":[\"kms:Decrypt\"],\"Resource\":[\"arn:aws:kms:eu-west-1:140207249019:key/c04f9cee-f96d-4f55-bcb6-f25d6358cc1f\"]},{\"Sid\":\"SessionLog2\",\"Effect\":\"Allow\",\"Action\":[\"logs:CreateLogStream\",\"logs:DescribeLogStreams\",\"logs:PutLogEvents\"],\"Resource\":[\"arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*\"]}]}","Description":"the role of their instance profile; used by 1 host","Tags":[{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}'
	soon aws iam attach-role-policy --region 'eu-west-1' --cli-input-json '{"PolicyArn":"arn:aws:iam::140207249019:policy/migrate-instance-app-0901bf71","RoleName":"app-0901bf71"}'

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
	there EntityAlreadyExists aws iam create-policy --region 'eu-west-1' --cli-input-json '{"PolicyName":"migrate-instance-db","PolicyDocument":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Sid\":\"AgentOfOwnInstance\",\"Effect\":\"Allow\",\"Action\":[\"ssm:UpdateInstanceInformation\",\"ssmmessages:CreateControlChannel\"],\"Resource\":[\"*\"],\"Condition\":{\"ArnLike\":{\"ec2:SourceInstanceARN\":[\"arn:aws:ec2:*:140207249019:instance/*\"]}}},{\"Sid\":\"Agent\",\"Effect\":\"Allow\",\"Action\":[\"ssmmessages:OpenControlChannel\",\"ssmmessages:CreateDataChannel\",\"ssmmessages:OpenDataChannel\",\"logs:DescribeLogGroups\"],\"Resource\":[\"*\"]},{\"Sid\":\"SessionLog1\",\"Effect\":\"Allow\",\"Action\":[\"kms:Decrypt\"],\"Resource\":[\"arn:aws:kms:eu-west-1:140207249019:key/c04f9cee-f96d-4f55-bcb6-f25d6358cc1f\"]},{\"Sid\":\"SessionLog2\",\"Effect\":\"Allow\",\"Action\":[\"logs:CreateLogStream\",\"logs:DescribeLogStreams\",\"logs:PutLogEvents\"],\"Resource\":[\"arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*\"]},{\"Sid\":\"SessionLog3\",\"Effect\":\"Allow\",\"Action\":[\"kms:Decrypt\"],\"Resource\":[\"arn:aws:kms:us-east-1:140207249019:key/3351ba01-7747-8a9e-d14f-6cda4fde3ff9\"]},{\"Sid\":\"SessionLog4\",\"Effect\":\"Allow\",\"Action\":[\"logs:CreateLogStream\",\"logs:DescribeLogStreams\",\"logs:PutLogEvents\"],\"Resource\":[\"arn:aws:logs:us-east-1:140207249019:log-group:/ssm/sessions:*\"]}]}","Description":"the role of their instance profile; used by 2 hosts","Tags":[{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}'
	soon aws iam attach-role-policy --region 'eu-west-1' --cli-input-json '{"PolicyArn":"arn:aws:iam::140207249019:policy/migrate-instance-db","RoleName":"db"}'

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
	there EntityAlreadyExists aws iam create-policy --region 'eu-west-1' --cli-input-json '{"PolicyName":"migrate-instance-migrate-session-manager","PolicyDocument":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Sid\":\"AgentOfOwnInstance\",\"Effect\":\"Allow\",\"Action\":[\"ssm:UpdateInstanceInformation\",\"ssmmessages:CreateControlChannel\"],\"Resource\":[\"*\"],\"Condition\":{\"ArnLike\":{\"ec2:SourceInstanceARN\":[\"arn:aws:ec2:*:140207249019:instance/*\"]}}},{\"Sid\":\"Agent\",\"Effect\":\"Allow\",\"Action\":[\"ssmmessages:OpenControlChannel\",\"ssmmessages:CreateDataChannel\",\"ssmmessages:OpenDataChannel\",\"logs:DescribeLogGroups\"],\"Resource\":[\"*\"]},{\"Sid\":\"SessionLog1\",\"Effect\":\"Allow\",\"Action\":[\"kms:Decrypt\"],\"Resource\":[\"arn:aws:kms:eu-west-1:140207249019:key/c04f9cee-f96d-4f55-bcb6-f25d6358cc1f\"]},{\"Sid\":\"SessionLog2\",\"Effect\":\"Allow\",\"Action\":[\"logs:CreateLogStream\",\"logs:DescribeLogStreams\",\"logs:PutLogEvents\"],\"Resource\":[\"arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*\"]}]}","Description":"the role of an instance profile for hosts that have none; used by 1 host","Tags":[{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}'
	soon aws iam attach-role-policy --region 'eu-west-1' --cli-input-json '{"PolicyArn":"arn:aws:iam::140207249019:policy/migrate-instance-migrate-session-manager","RoleName":"migrate-session-manager"}'

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
	there EntityAlreadyExists aws iam create-policy --region 'eu-west-1' --cli-input-json '{"PolicyName":"migrate-instance-web","PolicyDocument":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Sid\":\"AgentOfOwnInstance\",\"Effect\":\"Allow\",\"Action\":[\"ssm:UpdateInstanceInformation\",\"ssmmessages:CreateControlChannel\"],\"Resource\":[\"*\"],\"Condition\":{\"ArnLike\":{\"ec2:SourceInstanceARN\":[\"arn:aws:ec2:*:140207249019:instance/*\"]}}},{\"Sid\":\"Agent\",\"Effect\":\"Allow\",\"Action\":[\"ssmmessages:OpenControlChannel\",\"ssmmessages:CreateDataChannel\",\"ssmmessages:OpenDataChannel\",\"logs:DescribeLogGroups\"],\"Resource\":[\"*\"]},{\"Sid\":\"SessionLog1\",\"Effect\":\"Allow\",\"Action\":[\"kms:Decrypt\"],\"Resource\":[\"arn:aws:kms:us-east-1:140207249019:key/3351ba01-7747-8a9e-d14f-6cda4fde3ff9\"]},{\"Sid\":\"SessionLog2\",\"Effect\":\"Allow\",\"Action\":[\"logs:CreateLogStream\",\"logs:DescribeLogStreams\",\"logs:PutLogEvents\"],\"Resource\":[\"arn:aws:logs:us-east-1:140207249019:log-group:/ssm/sessions:*\"]}]}","Description":"the role of their instance profile; used by 1 host","Tags":[{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}'
	soon aws iam attach-role-policy --region 'eu-west-1' --cli-input-json '{"PolicyArn":"arn:aws:iam::140207249019:policy/migrate-instance-web","RoleName":"web"}'

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
	there EntityAlreadyExists aws iam create-policy --region 'eu-west-1' --cli-input-json '{"PolicyName":"migrate-instance-worker","PolicyDocument":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Sid\":\"AgentOfOwnInstance\",\"Effect\":\"Allow\",\"Action\":[\"ssm:UpdateInstanceInformation\",\"ssmmessages:CreateControlChannel\"],\"Resource\":[\"*\"],\"Condition\":{\"ArnLike\":{\"ec2:SourceInstanceARN\":[\"arn:aws:ec2:*:140207249019:instance/*\"]}}},{\"Sid\":\"Agent\",\"Effect\":\"Allow\",\"Action\":[\"ssmmessages:OpenControlChannel\",\"ssmmessages:CreateDataChannel\",\"ssmmessages:OpenDataChannel\",\"logs:DescribeLogGroups\"],\"Resource\":[\"*\"]},{\"Sid\":\"SessionLog1\",\"Effect\":\"Allow\",\"Action\":[\"kms:Decrypt\"],\"Resource\":[\"arn:aws:kms:eu-west-1:140207249019:key/c04f9cee-f96d-4f55-bcb6-f25d6358cc1f\"]},{\"Sid\":\"SessionLog2\",\"Effect\":\"Allow\",\"Action\":[\"logs:CreateLogStream\",\"logs:DescribeLogStreams\",\"logs:PutLogEvents\"],\"Resource\":[\"arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*\"]},{\"Sid\":\"SessionLog3\",\"Effect\":\"Allow\",\"Action\":[\"kms:Decrypt\"],\"Resource\":[\"arn:aws:kms:us-east-1:140207249019:key/3351ba01-7747-8a9e-d14f-6cda4fde3ff9\"]},{\"Sid\":\"SessionLog4\",\"Effect\":\"Allow\",\"Action\":[\"logs:CreateLogStream\",\"logs:DescribeLogStreams\",\"logs:PutLogEvents\"],\"Resource\":[\"arn:aws:logs:us-east-1:140207249019:log-group:/ssm/sessions:*\"]}]}","Description":"the role of their instance profile; used by 2 hosts","Tags":[{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}'
	soon aws iam attach-role-policy --region 'eu-west-1' --cli-input-json '{"PolicyArn":"arn:aws:iam::140207249019:policy/migrate-instance-worker","RoleName":"worker"}'

	# migrate-operator-hiro of operator hiro
	# for hiro, who get in over SSH today on 2 hosts, known by tag team = platform
	# proved: hiro may start sessions on 2 of 8 hosts, and instances to come with tag team = platform with SSM-SessionManagerRunShell, and with no other document
	# proved: resume and end sessions: their own only
	# proved: nothing else: no SSH through Session Manager, no sessions on other hosts, Run Command, changes of tags, roles, rules and documents
	# proved: denied whatever other policies allow: changes of arn:aws:ssm:*:140207249019:document/SSM-SessionManagerRunShell, arn:aws:ssm:*:140207249019:document/migrate-*, arn:aws:logs:eu-west-1:140207249019:log-…
	# proved: asked 7712 requests: 3841 allowed, all promised; 3871 not allowed, none promised
	there EntityAlreadyExists aws iam create-policy --region 'eu-west-1' --cli-input-json '{"PolicyName":"migrate-operator-hiro","PolicyDocument":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Sid\":\"Documents\",\"Effect\":\"Allow\",\"Action\":[\"ssm:StartSession\"],\"Resource\":[\"arn:aws:ssm:eu-west-1:140207249019:document/SSM-SessionManagerRunShell\"],\"Condition\":{\"BoolIfExists\":{\"ssm:SessionDocumentAccessCheck\":[\"true\"]}}},{\"Sid\":\"DataChannel\",\"Effect\":\"Allow\",\"Action\":[\"ssmmessages:OpenDataChannel\"],\"Resource\":[\"*\"]},{\"Sid\":\"OwnSessionsOfUsers\",\"Effect\":\"Allow\",\"Action\":[\"ssm:ResumeSession\",\"ssm:TerminateSession\"],\"Resource\":[\"arn:aws:ssm:*:140207249019:session/${aws:username}-*\"]},{\"Sid\":\"Look\",\"Effect\":\"Allow\",\"Action\":[\"ssm:DescribeSessions\",\"ssm:GetConnectionStatus\",\"ssm:DescribeInstanceInformation\",\"ssm:DescribeInstanceProperties\",\"ec2:DescribeInstances\"],\"Resource\":[\"*\"]},{\"Sid\":\"EncryptSessions\",\"Effect\":\"Allow\",\"Action\":[\"kms:GenerateDataKey\"],\"Resource\":[\"arn:aws:kms:eu-west-1:140207249019:key/c04f9cee-f96d-4f55-bcb6-f25d6358cc1f\"]},{\"Sid\":\"ProtectDocuments\",\"Effect\":\"Deny\",\"Action\":[\"ssm:CreateDocument\",\"ssm:UpdateDocument\",\"ssm:UpdateDocumentDefaultVersion\",\"ssm:DeleteDocument\",\"ssm:ModifyDocumentPermission\"],\"Resource\":[\"arn:aws:ssm:*:140207249019:document/SSM-SessionManagerRunShell\",\"arn:aws:ssm:*:140207249019:document/migrate-*\"]},{\"Sid\":\"ProtectLogGroup\",\"Effect\":\"Deny\",\"Action\":[\"logs:DeleteLogGroup\",\"logs:DeleteLogStream\",\"logs:PutRetentionPolicy\",\"logs:DisassociateKmsKey\"],\"Resource\":[\"arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions\",\"arn:aws:logs:eu-west-1:140207249019:log-group:/ssm/sessions:*\"]},{\"Sid\":\"ProtectKey\",\"Effect\":\"Deny\",\"Action\":[\"kms:ScheduleKeyDeletion\",\"kms:DisableKey\",\"kms:PutKeyPolicy\"],\"Resource\":[\"arn:aws:kms:eu-west-1:140207249019:key/c04f9cee-f96d-4f55-bcb6-f25d6358cc1f\"]},{\"Sid\":\"Hosts\",\"Effect\":\"Allow\",\"Action\":[\"ssm:StartSession\"],\"Resource\":[\"arn:aws:ec2:eu-west-1:140207249019:instance/*\"],\"Condition\":{\"BoolIfExists\":{\"ssm:SessionDocumentAccessCheck\":[\"true\"]},\"StringEquals\":{\"ssm:resourceTag/team\":[\"platform\"]}}}]}","Description":"for hiro, who get in over SSH today on 2 hosts, known by tag team = platform","Tags":[{"Key":"ssm-migrate:step","Value":"export-1a5386a4cdf5"}]}'
	soon aws iam attach-user-policy --region 'eu-west-1' --cli-input-json '{"PolicyArn":"arn:aws:iam::140207249019:policy/migrate-operator-hiro","UserName":"hiro"}'

	# session preferences: as they are
	want='{"schemaVersion":"1.0","description":"Session Manager preferences","sessionType":"Standard_Stream","inputs":{"s3BucketName":"","s3KeyPrefix":"","s3EncryptionEnabled":true,"cloudWatchLogGroupName":"/ssm/sessions","cloudWatchEncryptionEnabled":true,"cloudWatchStreamingEnabled":true,"kmsKeyId":"arn:aws:kms:eu-west-1:140207249019:key/c04f9cee-f96d-4f55-bcb6-f25d6358cc1f","runAsEnabled":false,"runAsDefaultUser":"","idleSessionTimeout":"60","maxSessionDuration":"","shellProfile":{"linux":"","windows":""}}}'
	if [ "$(aws ssm get-document --region 'eu-west-1' --name 'SSM-SessionManagerRunShell' --query Content --output text)" != "$want" ]; then
		there DuplicateDocumentContent aws ssm update-document --region 'eu-west-1' --cli-input-json '{"Name":"SSM-SessionManagerRunShell","Content":"{\"schemaVersion\":\"1.0\",\"description\":\"Session Manager preferences\",\"sessionType\":\"Standard_Stream\",\"inputs\":{\"s3BucketName\":\"\",\"s3KeyPrefix\":\"\",\"s3EncryptionEnabled\":true,\"cloudWatchLogGroupName\":\"/ssm/sessions\",\"cloudWatchEncryptionEnabled\":true,\"cloudWatchStreamingEnabled\":true,\"kmsKeyId\":\"arn:aws:kms:eu-west-1:140207249019:key/c04f9cee-f96d-4f55-bcb6-f25d6358cc1f\",\"runAsEnabled\":false,\"runAsDefaultUser\":\"\",\"idleSessionTimeout\":\"60\",\"maxSessionDuration\":\"\",\"shellProfile\":{\"linux\":\"\",\"windows\":\"\"}}}","DocumentVersion":"$LATEST","DocumentFormat":"JSON"}'
		version=$(aws ssm describe-document --region 'eu-west-1' --name 'SSM-SessionManagerRunShell' --query Document.LatestVersion --output text)
		if [ "$(aws ssm get-document --region 'eu-west-1' --name 'SSM-SessionManagerRunShell' --query Content --output text --document-version "$version")" != "$want" ]; then
			say 'the newest version of SSM-SessionManagerRunShell is not the wanted one: make the version that says so the default by hand'
			return 1
		fi
		aws ssm update-document-default-version --region 'eu-west-1' --name 'SSM-SessionManagerRunShell' --document-version "$version" >/dev/null
	fi
	# policy migrate-operator-alice is left out, its proof does not hold: user/alice is allowed ssm:StartSession on arn:aws:ec2:eu-west-1:140207249019:instance/i-0956d6f59e305c3f3, which nothing promises (document 1 allows it)
	# policy migrate-operator-bob is left out, its proof does not hold: user/bob is allowed ssm:StartSession on arn:aws:ec2:us-east-1:140207249019:instance/i-0b103a563f459930a, which nothing promises (document 1 allows it)
	# policy migrate-operator-carol is left out, its proof does not hold: role/data-operators as carol@corp.example is allowed ssm:StartSession on arn:aws:ec2:eu-west-1:140207249019:instance/i-09bdecf89b1f334fd, which nothing promises (document 1 allows it); role/data-opera…
	# policy migrate-operator-ines is left out, its proof does not hold: role/data-operators as ines@corp.example is allowed ssm:StartSession on arn:aws:ec2:eu-west-1:140207249019:instance/i-02327aa090ea4ab7b, which nothing promises (document 1 allows it)
}

# ---- access: account 140207249019, us-east-1 ----
access_140207249019_us_east_1() {
	in_account '140207249019' 'us-east-1' || return 0

	# session preferences: as they are
	want='{"schemaVersion":"1.0","description":"Session Manager preferences","sessionType":"Standard_Stream","inputs":{"s3BucketName":"","s3KeyPrefix":"","s3EncryptionEnabled":true,"cloudWatchLogGroupName":"/ssm/sessions","cloudWatchEncryptionEnabled":true,"cloudWatchStreamingEnabled":true,"kmsKeyId":"arn:aws:kms:us-east-1:140207249019:key/3351ba01-7747-8a9e-d14f-6cda4fde3ff9","runAsEnabled":false,"runAsDefaultUser":"","idleSessionTimeout":"60","maxSessionDuration":"","shellProfile":{"linux":"","windows":""}}}'
	if [ "$(aws ssm get-document --region 'us-east-1' --name 'SSM-SessionManagerRunShell' --query Content --output text)" != "$want" ]; then
		there DuplicateDocumentContent aws ssm update-document --region 'us-east-1' --cli-input-json '{"Name":"SSM-SessionManagerRunShell","Content":"{\"schemaVersion\":\"1.0\",\"description\":\"Session Manager preferences\",\"sessionType\":\"Standard_Stream\",\"inputs\":{\"s3BucketName\":\"\",\"s3KeyPrefix\":\"\",\"s3EncryptionEnabled\":true,\"cloudWatchLogGroupName\":\"/ssm/sessions\",\"cloudWatchEncryptionEnabled\":true,\"cloudWatchStreamingEnabled\":true,\"kmsKeyId\":\"arn:aws:kms:us-east-1:140207249019:key/3351ba01-7747-8a9e-d14f-6cda4fde3ff9\",\"runAsEnabled\":false,\"runAsDefaultUser\":\"\",\"idleSessionTimeout\":\"60\",\"maxSessionDuration\":\"\",\"shellProfile\":{\"linux\":\"\",\"windows\":\"\"}}}","DocumentVersion":"$LATEST","DocumentFormat":"JSON"}'
		version=$(aws ssm describe-document --region 'us-east-1' --name 'SSM-SessionManagerRunShell' --query Document.LatestVersion --output text)
		if [ "$(aws ssm get-document --region 'us-east-1' --name 'SSM-SessionManagerRunShell' --query Content --output text --document-version "$version")" != "$want" ]; then
			say 'the newest version of SSM-SessionManagerRunShell is not the wanted one: make the version that says so the default by hand'
			return 1
		fi
		aws ssm update-document-default-version --region 'us-east-1' --name 'SSM-SessionManagerRunShell' --document-version "$version" >/dev/null
	fi
	# policy migrate-operator-alice is left out, its proof does not hold: user/alice is allowed ssm:StartSession on arn:aws:ec2:eu-west-1:140207249019:instance/i-0956d6f59e305c3f3, which nothing promises (document 1 allows it)
	# policy migrate-operator-bob is left out, its proof does not hold: user/bob is allowed ssm:StartSession on arn:aws:ec2:us-east-1:140207249019:instance/i-0b103a563f459930a, which nothing promises (document 1 allows it)
	# policy migrate-operator-carol is left out, its proof does not hold: role/data-operators as carol@corp.example is allowed ssm:StartSession on arn:aws:ec2:eu-west-1:140207249019:instance/i-09bdecf89b1f334fd, which nothing promises (document 1 allows it); role/data-opera…
	# policy migrate-operator-ines is left out, its proof does not hold: role/data-operators as ines@corp.example is allowed ssm:StartSession on arn:aws:ec2:eu-west-1:140207249019:instance/i-02327aa090ea4ab7b, which nothing promises (document 1 allows it)
}

# ---- close: account 140207249019, eu-west-1 ----
close_140207249019_eu_west_1() {
	in_account '140207249019' 'eu-west-1' || return 0

	# Close port 22 in sg-048f36e1efba3ce1b (apps-app)
	# - tcp 22 from sg-0358741a4ec8d696e (apps-bastion) (bastion, CI)
	# - tcp 22 from sg-090bee87050d134f0 (apps-ci) (bastion, CI)
	# - tcp 22 from 203.0.113.0/24 (VPN)
	# + tcp 22 from migrate-recovery-vpc-0992e639043cee8bc stays
	# touches: security group on 1 host
	say 'Close port 22 in sg-048f36e1efba3ce1b (apps-app)'
	group1=$(group 'eu-west-1' '{"Filters":[{"Name":"vpc-id","Values":["vpc-0992e639043cee8bc"]},{"Name":"group-name","Values":["migrate-recovery-vpc-0992e639043cee8bc"]}]}')
	found "$group1" 'migrate-recovery-vpc-0992e639043cee8bc'
	closed=yes
	back=$(aws ec2 describe-security-group-rules --region 'eu-west-1' --cli-input-json '{"Filters":[{"Name":"group-id","Values":["sg-048f36e1efba3ce1b"]}]}' --query 'SecurityGroupRules[?!IsEgress].ReferencedGroupInfo.GroupId' --output text)
	case " $(printf '%s' "$back" | tr '\n\t' '  ') " in
	*" ""$group1"" "*) ;;
	*)
		say 'sg-048f36e1efba3ce1b stays open: it does not let the recovery bastion in'
		closed=no
		;;
	esac
	for host in 'i-01e4a02bb0901bf71'; do
		status=$(aws ssm get-connection-status --region 'eu-west-1' --target "$host" --query Status --output text)
		if [ "$status" != connected ]; then
			say 'sg-048f36e1efba3ce1b stays open: '"$host is not connected to Session Manager"
			closed=no
		fi
	done
	if [ "$closed" = yes ]; then
		there InvalidPermission.NotFound aws ec2 revoke-security-group-ingress --region 'eu-west-1' --cli-input-json '{"GroupId":"sg-048f36e1efba3ce1b","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"UserIdGroupPairs":[{"GroupId":"sg-0358741a4ec8d696e"}]}]}'
		there InvalidPermission.NotFound aws ec2 revoke-security-group-ingress --region 'eu-west-1' --cli-input-json '{"GroupId":"sg-048f36e1efba3ce1b","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"UserIdGroupPairs":[{"GroupId":"sg-090bee87050d134f0"}]}]}'
		there InvalidPermission.NotFound aws ec2 revoke-security-group-ingress --region 'eu-west-1' --cli-input-json '{"GroupId":"sg-048f36e1efba3ce1b","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"IpRanges":[{"CidrIp":"203.0.113.0/24"}]}]}'
	else
		left=1
	fi

	# Close port 22 in sg-022dc97a0c03fc67f (prod-app)
	# - tcp 22 from sg-02e983de169292f86 (prod-bastion) (bastion, CI)
	# - tcp 22 from sg-02131f9039a47e32a (prod-ci) (bastion, CI)
	# - tcp 22 from 203.0.113.0/24 (VPN)
	# + tcp 22 from migrate-recovery-vpc-0e078981cfd3db961 stays
	# touches: security group on 1 host
	say 'Close port 22 in sg-022dc97a0c03fc67f (prod-app)'
	group2=$(group 'eu-west-1' '{"Filters":[{"Name":"vpc-id","Values":["vpc-0e078981cfd3db961"]},{"Name":"group-name","Values":["migrate-recovery-vpc-0e078981cfd3db961"]}]}')
	found "$group2" 'migrate-recovery-vpc-0e078981cfd3db961'
	closed=yes
	back=$(aws ec2 describe-security-group-rules --region 'eu-west-1' --cli-input-json '{"Filters":[{"Name":"group-id","Values":["sg-022dc97a0c03fc67f"]}]}' --query 'SecurityGroupRules[?!IsEgress].ReferencedGroupInfo.GroupId' --output text)
	case " $(printf '%s' "$back" | tr '\n\t' '  ') " in
	*" ""$group2"" "*) ;;
	*)
		say 'sg-022dc97a0c03fc67f stays open: it does not let the recovery bastion in'
		closed=no
		;;
	esac
	for host in 'i-09bdecf89b1f334fd'; do
		status=$(aws ssm get-connection-status --region 'eu-west-1' --target "$host" --query Status --output text)
		if [ "$status" != connected ]; then
			say 'sg-022dc97a0c03fc67f stays open: '"$host is not connected to Session Manager"
			closed=no
		fi
	done
	if [ "$closed" = yes ]; then
		there InvalidPermission.NotFound aws ec2 revoke-security-group-ingress --region 'eu-west-1' --cli-input-json '{"GroupId":"sg-022dc97a0c03fc67f","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"UserIdGroupPairs":[{"GroupId":"sg-02e983de169292f86"}]}]}'
		there InvalidPermission.NotFound aws ec2 revoke-security-group-ingress --region 'eu-west-1' --cli-input-json '{"GroupId":"sg-022dc97a0c03fc67f","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"UserIdGroupPairs":[{"GroupId":"sg-02131f9039a47e32a"}]}]}'
		there InvalidPermission.NotFound aws ec2 revoke-security-group-ingress --region 'eu-west-1' --cli-input-json '{"GroupId":"sg-022dc97a0c03fc67f","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"IpRanges":[{"CidrIp":"203.0.113.0/24"}]}]}'
	else
		left=1
	fi

	# Close port 22 in sg-09174c779831eb083 (tools-app)
	# - tcp 22 from sg-0df32de8a5526fb84 (tools-bastion) (bastion, CI)
	# - tcp 22 from sg-0ad7545005ffe9367 (tools-ci) (bastion, CI)
	# - tcp 22 from 203.0.113.0/24 (VPN)
	# + tcp 22 from migrate-recovery-vpc-05dc93c73b18b2204 stays
	# touches: security group on 1 host
	say 'Close port 22 in sg-09174c779831eb083 (tools-app)'
	group3=$(group 'eu-west-1' '{"Filters":[{"Name":"vpc-id","Values":["vpc-05dc93c73b18b2204"]},{"Name":"group-name","Values":["migrate-recovery-vpc-05dc93c73b18b2204"]}]}')
	found "$group3" 'migrate-recovery-vpc-05dc93c73b18b2204'
	closed=yes
	back=$(aws ec2 describe-security-group-rules --region 'eu-west-1' --cli-input-json '{"Filters":[{"Name":"group-id","Values":["sg-09174c779831eb083"]}]}' --query 'SecurityGroupRules[?!IsEgress].ReferencedGroupInfo.GroupId' --output text)
	case " $(printf '%s' "$back" | tr '\n\t' '  ') " in
	*" ""$group3"" "*) ;;
	*)
		say 'sg-09174c779831eb083 stays open: it does not let the recovery bastion in'
		closed=no
		;;
	esac
	for host in 'i-0aaddbf50ebe432c8'; do
		status=$(aws ssm get-connection-status --region 'eu-west-1' --target "$host" --query Status --output text)
		if [ "$status" != connected ]; then
			say 'sg-09174c779831eb083 stays open: '"$host is not connected to Session Manager"
			closed=no
		fi
	done
	if [ "$closed" = yes ]; then
		there InvalidPermission.NotFound aws ec2 revoke-security-group-ingress --region 'eu-west-1' --cli-input-json '{"GroupId":"sg-09174c779831eb083","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"UserIdGroupPairs":[{"GroupId":"sg-0df32de8a5526fb84"}]}]}'
		there InvalidPermission.NotFound aws ec2 revoke-security-group-ingress --region 'eu-west-1' --cli-input-json '{"GroupId":"sg-09174c779831eb083","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"UserIdGroupPairs":[{"GroupId":"sg-0ad7545005ffe9367"}]}]}'
		there InvalidPermission.NotFound aws ec2 revoke-security-group-ingress --region 'eu-west-1' --cli-input-json '{"GroupId":"sg-09174c779831eb083","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"IpRanges":[{"CidrIp":"203.0.113.0/24"}]}]}'
	else
		left=1
	fi

	# Close port 22 in sg-0cf13e324059c0813 (tools-web)
	# - tcp 22 from sg-014e5736e3de61241 (tools-bastion) (bastion, CI)
	# - tcp 22 from sg-0c32274433b691147 (tools-ci) (bastion, CI)
	# - tcp 22 from 203.0.113.0/24 (VPN)
	# + tcp 22 from migrate-recovery-vpc-014a0b0c3b8c95ac1 stays
	# touches: security group on 1 host
	say 'Close port 22 in sg-0cf13e324059c0813 (tools-web)'
	group4=$(group 'eu-west-1' '{"Filters":[{"Name":"vpc-id","Values":["vpc-014a0b0c3b8c95ac1"]},{"Name":"group-name","Values":["migrate-recovery-vpc-014a0b0c3b8c95ac1"]}]}')
	found "$group4" 'migrate-recovery-vpc-014a0b0c3b8c95ac1'
	closed=yes
	back=$(aws ec2 describe-security-group-rules --region 'eu-west-1' --cli-input-json '{"Filters":[{"Name":"group-id","Values":["sg-0cf13e324059c0813"]}]}' --query 'SecurityGroupRules[?!IsEgress].ReferencedGroupInfo.GroupId' --output text)
	case " $(printf '%s' "$back" | tr '\n\t' '  ') " in
	*" ""$group4"" "*) ;;
	*)
		say 'sg-0cf13e324059c0813 stays open: it does not let the recovery bastion in'
		closed=no
		;;
	esac
	for host in 'i-0956d6f59e305c3f3'; do
		status=$(aws ssm get-connection-status --region 'eu-west-1' --target "$host" --query Status --output text)
		if [ "$status" != connected ]; then
			say 'sg-0cf13e324059c0813 stays open: '"$host is not connected to Session Manager"
			closed=no
		fi
	done
	if [ "$closed" = yes ]; then
		there InvalidPermission.NotFound aws ec2 revoke-security-group-ingress --region 'eu-west-1' --cli-input-json '{"GroupId":"sg-0cf13e324059c0813","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"UserIdGroupPairs":[{"GroupId":"sg-014e5736e3de61241"}]}]}'
		there InvalidPermission.NotFound aws ec2 revoke-security-group-ingress --region 'eu-west-1' --cli-input-json '{"GroupId":"sg-0cf13e324059c0813","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"UserIdGroupPairs":[{"GroupId":"sg-0c32274433b691147"}]}]}'
		there InvalidPermission.NotFound aws ec2 revoke-security-group-ingress --region 'eu-west-1' --cli-input-json '{"GroupId":"sg-0cf13e324059c0813","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"IpRanges":[{"CidrIp":"203.0.113.0/24"}]}]}'
	else
		left=1
	fi

	# Close port 22 in sg-0e9ed4b8835ab9c7f (apps-db)
	# - tcp 22 from 10.17.0.0/16 (whole VPC)
	# - tcp 22 from 203.0.113.0/24 (VPN)
	# + tcp 22 from migrate-recovery-vpc-066a7fbd72467f8c4 stays
	# touches: security group on 1 host
	say 'Close port 22 in sg-0e9ed4b8835ab9c7f (apps-db)'
	group5=$(group 'eu-west-1' '{"Filters":[{"Name":"vpc-id","Values":["vpc-066a7fbd72467f8c4"]},{"Name":"group-name","Values":["migrate-recovery-vpc-066a7fbd72467f8c4"]}]}')
	found "$group5" 'migrate-recovery-vpc-066a7fbd72467f8c4'
	closed=yes
	back=$(aws ec2 describe-security-group-rules --region 'eu-west-1' --cli-input-json '{"Filters":[{"Name":"group-id","Values":["sg-0e9ed4b8835ab9c7f"]}]}' --query 'SecurityGroupRules[?!IsEgress].ReferencedGroupInfo.GroupId' --output text)
	case " $(printf '%s' "$back" | tr '\n\t' '  ') " in
	*" ""$group5"" "*) ;;
	*)
		say 'sg-0e9ed4b8835ab9c7f stays open: it does not let the recovery bastion in'
		closed=no
		;;
	esac
	for host in 'i-02327aa090ea4ab7b'; do
		status=$(aws ssm get-connection-status --region 'eu-west-1' --target "$host" --query Status --output text)
		if [ "$status" != connected ]; then
			say 'sg-0e9ed4b8835ab9c7f stays open: '"$host is not connected to Session Manager"
			closed=no
		fi
	done
	if [ "$closed" = yes ]; then
		there InvalidPermission.NotFound aws ec2 revoke-security-group-ingress --region 'eu-west-1' --cli-input-json '{"GroupId":"sg-0e9ed4b8835ab9c7f","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"IpRanges":[{"CidrIp":"10.17.0.0/16"}]}]}'
		there InvalidPermission.NotFound aws ec2 revoke-security-group-ingress --region 'eu-west-1' --cli-input-json '{"GroupId":"sg-0e9ed4b8835ab9c7f","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"IpRanges":[{"CidrIp":"203.0.113.0/24"}]}]}'
	else
		left=1
	fi
}

# ---- close: account 140207249019, us-east-1 ----
close_140207249019_us_east_1() {
	in_account '140207249019' 'us-east-1' || return 0

	# Close port 22 in sg-03153195c7eaed467 (apps-db)
	# - tcp 22 from 10.21.0.0/16 (whole VPC)
	# - tcp 22 from 203.0.113.0/24 (VPN)
	# + tcp 22 from migrate-recovery-vpc-068b0a05a58664a70 stays
	# touches: security group on 1 host
	say 'Close port 22 in sg-03153195c7eaed467 (apps-db)'
	group1=$(group 'us-east-1' '{"Filters":[{"Name":"vpc-id","Values":["vpc-068b0a05a58664a70"]},{"Name":"group-name","Values":["migrate-recovery-vpc-068b0a05a58664a70"]}]}')
	found "$group1" 'migrate-recovery-vpc-068b0a05a58664a70'
	closed=yes
	back=$(aws ec2 describe-security-group-rules --region 'us-east-1' --cli-input-json '{"Filters":[{"Name":"group-id","Values":["sg-03153195c7eaed467"]}]}' --query 'SecurityGroupRules[?!IsEgress].ReferencedGroupInfo.GroupId' --output text)
	case " $(printf '%s' "$back" | tr '\n\t' '  ') " in
	*" ""$group1"" "*) ;;
	*)
		say 'sg-03153195c7eaed467 stays open: it does not let the recovery bastion in'
		closed=no
		;;
	esac
	for host in 'i-00f7c2a32f438cf36'; do
		status=$(aws ssm get-connection-status --region 'us-east-1' --target "$host" --query Status --output text)
		if [ "$status" != connected ]; then
			say 'sg-03153195c7eaed467 stays open: '"$host is not connected to Session Manager"
			closed=no
		fi
	done
	if [ "$closed" = yes ]; then
		there InvalidPermission.NotFound aws ec2 revoke-security-group-ingress --region 'us-east-1' --cli-input-json '{"GroupId":"sg-03153195c7eaed467","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"IpRanges":[{"CidrIp":"10.21.0.0/16"}]}]}'
		there InvalidPermission.NotFound aws ec2 revoke-security-group-ingress --region 'us-east-1' --cli-input-json '{"GroupId":"sg-03153195c7eaed467","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"IpRanges":[{"CidrIp":"203.0.113.0/24"}]}]}'
	else
		left=1
	fi

	# Close port 22 in sg-0bacbaafdc4636d20 (front-office-ssh)
	# - tcp 22 from 203.0.113.0/24 (office)
	# - tcp 22 from 198.51.100.0/24 (homes)
	# + tcp 22 from migrate-recovery-vpc-091e9123b8cbe868c stays
	# touches: security group on 1 host
	say 'Close port 22 in sg-0bacbaafdc4636d20 (front-office-ssh)'
	group2=$(group 'us-east-1' '{"Filters":[{"Name":"vpc-id","Values":["vpc-091e9123b8cbe868c"]},{"Name":"group-name","Values":["migrate-recovery-vpc-091e9123b8cbe868c"]}]}')
	found "$group2" 'migrate-recovery-vpc-091e9123b8cbe868c'
	closed=yes
	back=$(aws ec2 describe-security-group-rules --region 'us-east-1' --cli-input-json '{"Filters":[{"Name":"group-id","Values":["sg-0bacbaafdc4636d20"]}]}' --query 'SecurityGroupRules[?!IsEgress].ReferencedGroupInfo.GroupId' --output text)
	case " $(printf '%s' "$back" | tr '\n\t' '  ') " in
	*" ""$group2"" "*) ;;
	*)
		say 'sg-0bacbaafdc4636d20 stays open: it does not let the recovery bastion in'
		closed=no
		;;
	esac
	for host in 'i-001ad5ef2fd97a95d'; do
		status=$(aws ssm get-connection-status --region 'us-east-1' --target "$host" --query Status --output text)
		if [ "$status" != connected ]; then
			say 'sg-0bacbaafdc4636d20 stays open: '"$host is not connected to Session Manager"
			closed=no
		fi
	done
	if [ "$closed" = yes ]; then
		there InvalidPermission.NotFound aws ec2 revoke-security-group-ingress --region 'us-east-1' --cli-input-json '{"GroupId":"sg-0bacbaafdc4636d20","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"IpRanges":[{"CidrIp":"203.0.113.0/24"}]}]}'
		there InvalidPermission.NotFound aws ec2 revoke-security-group-ingress --region 'us-east-1' --cli-input-json '{"GroupId":"sg-0bacbaafdc4636d20","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"IpRanges":[{"CidrIp":"198.51.100.0/24"}]}]}'
	else
		left=1
	fi

	# Close port 22 in sg-0eb0ee91c7b662eb5 (tools-web)
	# - tcp 22 from sg-05ca944ca5d79a39d (tools-bastion) (bastion, CI)
	# - tcp 22 from sg-07bd89a23f5e834ce (tools-ci) (bastion, CI)
	# - tcp 22 from 203.0.113.0/24 (VPN)
	# + tcp 22 from migrate-recovery-vpc-0d74c436bea4e266d stays
	# touches: security group on 1 host
	say 'Close port 22 in sg-0eb0ee91c7b662eb5 (tools-web)'
	group3=$(group 'us-east-1' '{"Filters":[{"Name":"vpc-id","Values":["vpc-0d74c436bea4e266d"]},{"Name":"group-name","Values":["migrate-recovery-vpc-0d74c436bea4e266d"]}]}')
	found "$group3" 'migrate-recovery-vpc-0d74c436bea4e266d'
	closed=yes
	back=$(aws ec2 describe-security-group-rules --region 'us-east-1' --cli-input-json '{"Filters":[{"Name":"group-id","Values":["sg-0eb0ee91c7b662eb5"]}]}' --query 'SecurityGroupRules[?!IsEgress].ReferencedGroupInfo.GroupId' --output text)
	case " $(printf '%s' "$back" | tr '\n\t' '  ') " in
	*" ""$group3"" "*) ;;
	*)
		say 'sg-0eb0ee91c7b662eb5 stays open: it does not let the recovery bastion in'
		closed=no
		;;
	esac
	for host in 'i-0b103a563f459930a'; do
		status=$(aws ssm get-connection-status --region 'us-east-1' --target "$host" --query Status --output text)
		if [ "$status" != connected ]; then
			say 'sg-0eb0ee91c7b662eb5 stays open: '"$host is not connected to Session Manager"
			closed=no
		fi
	done
	if [ "$closed" = yes ]; then
		there InvalidPermission.NotFound aws ec2 revoke-security-group-ingress --region 'us-east-1' --cli-input-json '{"GroupId":"sg-0eb0ee91c7b662eb5","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"UserIdGroupPairs":[{"GroupId":"sg-05ca944ca5d79a39d"}]}]}'
		there InvalidPermission.NotFound aws ec2 revoke-security-group-ingress --region 'us-east-1' --cli-input-json '{"GroupId":"sg-0eb0ee91c7b662eb5","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"UserIdGroupPairs":[{"GroupId":"sg-07bd89a23f5e834ce"}]}]}'
		there InvalidPermission.NotFound aws ec2 revoke-security-group-ingress --region 'us-east-1' --cli-input-json '{"GroupId":"sg-0eb0ee91c7b662eb5","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"IpRanges":[{"CidrIp":"203.0.113.0/24"}]}]}'
	else
		left=1
	fi

	# Close port 22 in sg-0fcdbd1342cb738ac (front-web)
	# - tcp 22 from sg-09c07d4a46f0ef9b8 (front-bastion) (bastion, CI)
	# - tcp 22 from sg-0c2cba3f2c7ce2c5b (front-ci) (bastion, CI)
	# + tcp 22 from migrate-recovery-vpc-091e9123b8cbe868c stays
	# touches: security group on 1 host
	say 'Close port 22 in sg-0fcdbd1342cb738ac (front-web)'
	group2=$(group 'us-east-1' '{"Filters":[{"Name":"vpc-id","Values":["vpc-091e9123b8cbe868c"]},{"Name":"group-name","Values":["migrate-recovery-vpc-091e9123b8cbe868c"]}]}')
	found "$group2" 'migrate-recovery-vpc-091e9123b8cbe868c'
	closed=yes
	back=$(aws ec2 describe-security-group-rules --region 'us-east-1' --cli-input-json '{"Filters":[{"Name":"group-id","Values":["sg-0fcdbd1342cb738ac"]}]}' --query 'SecurityGroupRules[?!IsEgress].ReferencedGroupInfo.GroupId' --output text)
	case " $(printf '%s' "$back" | tr '\n\t' '  ') " in
	*" ""$group2"" "*) ;;
	*)
		say 'sg-0fcdbd1342cb738ac stays open: it does not let the recovery bastion in'
		closed=no
		;;
	esac
	for host in 'i-001ad5ef2fd97a95d'; do
		status=$(aws ssm get-connection-status --region 'us-east-1' --target "$host" --query Status --output text)
		if [ "$status" != connected ]; then
			say 'sg-0fcdbd1342cb738ac stays open: '"$host is not connected to Session Manager"
			closed=no
		fi
	done
	if [ "$closed" = yes ]; then
		there InvalidPermission.NotFound aws ec2 revoke-security-group-ingress --region 'us-east-1' --cli-input-json '{"GroupId":"sg-0fcdbd1342cb738ac","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"UserIdGroupPairs":[{"GroupId":"sg-09c07d4a46f0ef9b8"}]}]}'
		there InvalidPermission.NotFound aws ec2 revoke-security-group-ingress --region 'us-east-1' --cli-input-json '{"GroupId":"sg-0fcdbd1342cb738ac","IpPermissions":[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"UserIdGroupPairs":[{"GroupId":"sg-0c2cba3f2c7ce2c5b"}]}]}'
	else
		left=1
	fi
}

case ${1-} in
prepare)
	prepare_140207249019_eu_west_1
	;;
recovery)
	recovery_140207249019_eu_west_1
	recovery_140207249019_us_east_1
	;;
access)
	access_140207249019_eu_west_1
	access_140207249019_us_east_1
	;;
close)
	close_140207249019_eu_west_1
	close_140207249019_us_east_1
	;;
*)
	sed -n '2,/^set /s/^#//p' "$0" >&2
	exit 2
	;;
esac
[ "$left" = 0 ] || exit 3
