package fleet

import "strings"

// Services are the endpoints that decide whether an agent can serve sessions,
// in the order in which an agent needs them.
var Services = [...]string{"ssm", "ssmmessages", "ec2messages"}

// DNSSuffix gives the domain under which the agent looks for a Region's
// endpoints ("ssm.REGION.SUFFIX"), by the Region's partition.
// Source: amazon-ssm-agent's own endpoint table, October 2024.
func DNSSuffix(region string) string {
	for _, p := range []struct{ prefix, suffix string }{
		{"cn-", "amazonaws.com.cn"},
		{"us-iso-", "c2s.ic.gov"},
		{"us-isob-", "sc2s.sgov.gov"},
		{"eu-isoe-", "cloud.adc-e.uk"},
		{"us-isof-", "csp.hci.ic.gov"},
		{"eusc-de-", "amazonaws.eu"},
	} {
		if strings.HasPrefix(region, p.prefix) {
			return p.suffix
		}
	}
	return "amazonaws.com"
}
