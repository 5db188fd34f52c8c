package readiness

import (
	"fmt"
	"strings"

	"ssm-migrate/internal/fleet"
)

// stage is a part of reaching an endpoint, in the order in which they come.
type stage int

const (
	resolution stage = iota
	connection
	certificate
)

// stages tells for each stage how to put it right for services, and who shares
// what is put right.
var stages = [...]struct {
	fix    string // with the services
	shared func(*judge) string
}{
	resolution: {
		"make the names of %s resolve on the host: look at enableDnsSupport and the name servers of its VPC, at their forwarding for amazonaws.com, and at /etc/resolv.conf",
		func(j *judge) string {
			return "the VPC's DNS serves all its hosts: " + j.index.blast(j.h.VPC) + "; settings of the host's own resolver serve this host alone"
		},
	},
	connection: {
		"open TCP 443 from the host to %s: look at the firewall on the host, then at what the route leads through (security groups, network ACLs, a network firewall, a transit gateway)",
		func(j *judge) string {
			return "the route and the network ACL serve a whole subnet: " + j.index.blast(j.h.Subnet) + "; a network firewall may serve more, which is not known; a firewall on the host serves this host alone"
		},
	},
	certificate: {
		"exempt %s from TLS inspection, or put the inspecting proxy's certificate authority into the host's trust store",
		func(*judge) string {
			return "a proxy or firewall that inspects TLS serves every host behind it, how many is not known; the trust store serves this host alone"
		},
	},
}

// testFailed reports the host's own tests that failed, with the services by
// the stage at which they did.
func (j *judge) testFailed(at [len(stages)][]string, facts []fleet.Evidence) {
	var fixes, shared []string
	for s, services := range at {
		if services != nil {
			fixes = append(fixes, fmt.Sprintf(stages[s].fix, strings.Join(services, " and ")))
			shared = append(shared, stages[s].shared(j))
		}
	}
	j.addHere("egress-test-failed", strings.Join(fixes, "; "), strings.Join(shared, "; "), facts...)
}
