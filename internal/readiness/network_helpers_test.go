package readiness_test

import (
	"slices"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
)

// proxied sets the agent's proxy, with what it exempts.
func proxied(exempt string) change {
	return func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
		h.Probe.Value.Agent.Value.Proxy = map[string]string{"http_proxy": "http://proxy:3128", "https_proxy": "http://proxy:3128", "no_proxy": exempt}
	}
}

// isStop reports whether a finding says that static analysis found no way.
func isStop(code string) bool {
	for _, e := range readiness.Catalogue() {
		if e.Code == code {
			return e.Area == "network" && e.Severity == fleet.SeverityBlocks && !slices.Contains([]string{"endpoint-policy-denies", "egress-test-failed", "clock-skew"}, code)
		}
	}
	return false
}

func areaOf(code string) string {
	for _, e := range readiness.Catalogue() {
		if e.Code == code {
			return e.Area
		}
	}
	return ""
}
