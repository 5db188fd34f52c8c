package plan_test

import (
	"fmt"
	"testing"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// BenchmarkMake plans 10,000 hosts in 100 security groups, a tenth of which
// need their agent started, and encodes the plan.
func BenchmarkMake(b *testing.B) {
	const hosts = 10_000
	x := newScene(hosts)
	for g := range 100 {
		x.group(fleet.SecurityGroup{ID: fmt.Sprintf("sg-%d", g), Ingress: []fleet.Permission{ssh("10.0.0.0/8")}})
	}
	for i := range x.s.Hosts {
		x.s.Hosts[i].Groups = []string{fmt.Sprintf("sg-%d", i%100)}
		if i%10 == 0 {
			x.block(i, "agent-stopped", "")
		}
	}
	b.ReportAllocs()
	var p *plan.Plan
	for b.Loop() {
		var err error
		if p, err = plan.Make(x.s, x.a, x.p, now); err != nil {
			b.Fatal(err)
		}
	}
	text, err := plan.Encode(p)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(p.Steps()), "steps")
	b.ReportMetric(float64(len(text))/1e6, "MB-encoded")
}
