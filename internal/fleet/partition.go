package fleet

import "strings"

// Services are the endpoints that decide whether an agent can serve sessions,
// in the order in which an agent needs them.
var Services = [...]string{"ssm", "ssmmessages", "ec2messages"}

// partitions are those whose endpoints have domains of their own, by the prefix
// of their Regions. Sources: amazon-ssm-agent's own endpoint table, October
// 2024; for dual stack, botocore's endpoints.json, August 2026.
var partitions = []struct{ prefix, suffix, dualStack string }{
	{"cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"},
	{"us-iso-", "c2s.ic.gov", "api.aws.ic.gov"},
	{"us-isob-", "sc2s.sgov.gov", "api.aws.scloud"},
	{"eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"},
	{"us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov"},
	{"eusc-de-", "amazonaws.eu", "api.amazonwebservices.eu"},
}

// DNSSuffix gives the domain under which the agent looks for a Region's
// endpoints ("ssm.REGION.SUFFIX"), by the Region's partition.
func DNSSuffix(region string) string {
	for _, p := range partitions {
		if strings.HasPrefix(region, p.prefix) {
			return p.suffix
		}
	}
	return "amazonaws.com"
}

// DualStackSuffix gives the domain of a Region's dual-stack endpoints, those of
// S3 left out, which are named differently.
func DualStackSuffix(region string) string {
	for _, p := range partitions {
		if strings.HasPrefix(region, p.prefix) {
			return p.dualStack
		}
	}
	return "api.aws"
}
