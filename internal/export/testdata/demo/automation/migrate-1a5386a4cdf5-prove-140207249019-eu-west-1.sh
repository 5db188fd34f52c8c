#!/bin/sh
# See that hosts answer Run Command on 5 hosts.
# Run it beside migrate-1a5386a4cdf5-prove-140207249019-eu-west-1.yaml, with credentials of account 140207249019.
set -eu
export AWS_PAGER=
cd "$(dirname "$0")"
[ "$(aws sts get-caller-identity --region 'eu-west-1' --query Account --output text)" = '140207249019' ] || { echo 'these credentials belong to another account' >&2; exit 3; }
aws ssm describe-document --region 'eu-west-1' --name 'migrate-1a5386a4cdf5-prove-140207249019-eu-west-1' >/dev/null 2>&1 ||
	aws ssm create-document --region 'eu-west-1' --name 'migrate-1a5386a4cdf5-prove-140207249019-eu-west-1' --document-type Automation --document-format YAML --content file://migrate-1a5386a4cdf5-prove-140207249019-eu-west-1.yaml >/dev/null
aws ssm start-automation-execution --region 'eu-west-1' --document-name 'migrate-1a5386a4cdf5-prove-140207249019-eu-west-1' --parameters "MaxConcurrency=${MAX_CONCURRENCY:-10%},MaxErrors=${MAX_ERRORS:-0}"
