package readiness_test

import (
	"slices"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
)

// isStop reports whether a finding says that static analysis found no way.
func isStop(code string) bool {
	for _, e := range readiness.Catalogue() {
		if e.Code == code {
			return e.Area == "network" && e.Severity == fleet.SeverityBlocks && !slices.Contains([]string{"endpoint-policy-denies", "egress-test-failed", "clock-skew"}, code)
		}
	}
	return false
}
