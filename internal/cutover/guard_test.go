package cutover_test

import (
	"strings"
	"testing"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
)

// A door that somebody else closed is not ours to open: what lets people in
// meanwhile stays.
func TestRollbackKeepsTheWaysOfHostsWhoseDoorsOthersClosed(t *testing.T) {
	in(t, func(t *testing.T, f *fixture) {
		f.at("apply w2/quarantine/i-22", func() {
			f.broken["i-22"], f.facts["port sg-2"] = fleet.TruthNo, false
		})
		res, err := f.apply(t.Context())
		want(t, res, err, cutover.OutcomeRolledPartly)
		for fact, value := range map[string]bool{"keys i-22": true, "key i-22": true, "agent i-22": true, "key i-21": true, "port sg-2": false} {
			if f.fact(fact) != value {
				t.Errorf("%s is %t", fact, !value)
			}
		}
		// A door that cannot be seen counts as closed.
		f.set(func() { f.facts["port sg-2"] = true })
		f.faults = func(_ int, name string) fault {
			if strings.HasPrefix(name, "observe w2/close/sg-2/1-") {
				return failBefore
			}
			return noFault
		}
		res, err = f.rollback(t.Context(), cutover.Scope{All: true})
		want(t, res, err, cutover.OutcomeRolledPartly)
		if !f.fact("key i-22") || f.fact("key i-10") {
			t.Error("the ways of the hosts of sg-2 alone were to stay")
		}
		f.faults = nil
		res, err = f.rollback(t.Context(), cutover.Scope{All: true})
		want(t, res, err, cutover.OutcomeRolledBack)
		if f.fact("key i-22") || f.fact("agent i-22") || f.fact("bastion vpc") {
			t.Error("the last rollback did not finish")
		}
	})
}
