package readiness

import "ssm-migrate/internal/fleet"

// Entry describes one kind of finding.
type Entry struct {
	Code     string         // stable: scripts and stored findings use it
	Area     string         // "host", "identity", "network", "health", "agent", "node", "ssh" or "snapshot"
	Severity fleet.Severity // of every finding with this code
	Title    string
	Means    string   // what it means for the host and its owner
	Detected string   // from which facts, by which rule
	Fix      string   // in general; a finding names its objects where it can
	Undo     string   // how to take the fix back
	Sources  []string // where the rule is written

	// Breaks are the parts of a session's way that such a finding stops, the
	// parts that need those left out; Shows are the parts whose failure it is
	// the sign of. Causal chains follow from the two: a finding follows from
	// those that break what it shows. Fill Breaks in for every kind of
	// finding of SeverityBlocks that is a cause, and Shows for those that are
	// a symptom. Where a kind may break several parts and one finding breaks
	// only some of them, judge.concerns says which.
	Breaks []Part
	Shows  []Part
}

func (e Entry) breaks() partSet { return setOf(e.Breaks) }
func (e Entry) shows() partSet  { return setOf(e.Shows) }

// Catalogue lists every kind of finding, causes before symptoms: not running,
// no agent, identity, network, health, agent, then what Systems Manager says,
// the preferences, then SSH. The order decides which of several findings is
// named as a verdict's cause; what hurts a session only after the agent has
// connected comes after all that keeps the agent off.
func Catalogue() []Entry {
	var all []Entry
	all = append(all, hostEntries()...)
	all = append(all, absentAgentEntry())
	all = append(all, identityEntries()...)
	all = append(all, networkEntries()...)
	all = append(all, healthEntries()...)
	all = append(all, agentEntries()...)
	all = append(all, nodeEntries()...)
	all = append(all, preferencesEntries()...)
	all = append(all, sshEntries()...)
	all = append(all, peopleEntries()...)
	return all
}

// entries and ranks index the catalogue by code. They are never written to.
var entries, ranks = func() (map[string]Entry, map[string]int) {
	e, r := map[string]Entry{}, map[string]int{}
	for i, x := range Catalogue() {
		e[x.Code], r[x.Code] = x, i
	}
	return e, r
}()

// entry gives the catalogue's entry for a code of this package.
func entry(code string) Entry {
	e, ok := entries[code]
	if !ok {
		panic("readiness: finding " + code + " is not in the catalogue")
	}
	return e
}
