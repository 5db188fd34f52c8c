package readiness

import (
	"fmt"

	"ssm-migrate/internal/fleet"
)

// wideGain is on how many hosts somebody must gain access before it is worth
// a finding; it must also be more than they keep.
const wideGain = 10

// peopleFindings judges operators, consumers and what the move does to people.
func (a *assessor) peopleFindings(out *fleet.Assessment) []fleet.Finding {
	findings := a.people.workforce.findings()
	findings = append(findings, a.people.book.findings()...)
	for _, p := range out.Parity.People {
		if !p.Claimed {
			continue
		}
		if p.Loses > 0 {
			findings = append(findings, parityFinding(out, p, "access-lost", fleet.ParityLoses, p.Loses))
		}
		if p.Gains >= wideGain && p.Gains > p.Keeps {
			findings = append(findings, parityFinding(out, p, "access-gained", fleet.ParityGains, p.Gains))
		}
	}
	return findings
}

func parityFinding(out *fleet.Assessment, p fleet.PersonParity, code string, letter byte, n int) fleet.Finding {
	var hosts []string
	for i := range len(p.Cells) {
		if p.Cells[i] == letter {
			hosts = append(hosts, out.Hosts[i].Host)
		}
	}
	text := fmt.Sprintf("on %s: %s", fleet.Count(n, "host"), listed(hosts))
	if len(p.Principals) == 0 {
		text += "; the owners file names no IAM principal"
	}
	return found(code, "", p.Person, "", quoted(p.Person)+" "+fmt.Sprintf("on %s", fleet.Count(n, "host")), []fleet.Evidence{
		{Fact: text, Source: "readiness: parity"},
		{Fact: fmt.Sprintf("keeps %d, loses %d, gains %d, not known %d", p.Keeps, p.Loses, p.Gains, p.Unknown), Source: "readiness: parity"},
	})
}
