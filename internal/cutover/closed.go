package cutover

import (
	"fmt"
	"slices"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// ClosedGroup is a security group in which a plan closes a port.
type ClosedGroup struct {
	Step  string
	At    fleet.Place
	Group string
	Hosts []fleet.HostRef
	State State
	// Rules are those that the step revokes, as they were before: with their
	// descriptions and tags where Journaled is set, else as the plan knows them.
	Rules     []fleet.Rule
	Journaled bool
}

// ClosedGroups lists the security groups that a plan closes, in the plan's
// order. Entries are those of its journal; there may be none.
func ClosedGroups(p *plan.Plan, entries []Entry) ([]ClosedGroup, error) {
	records, err := recordsOf(p, entries)
	if err != nil {
		return nil, err
	}
	var out []ClosedGroup
	for _, s := range p.Of(plan.ClosePort) {
		if s.Rules == nil {
			return nil, malformed(s)
		}
		g := ClosedGroup{Step: s.ID, At: s.At, Group: s.Rules.Group, Hosts: s.Hosts, State: StateNew, Rules: s.Rules.Rules}
		if r, ok := records[s.ID]; ok {
			g.State = r.state
			if r.state.Owed() {
				image, err := imageOf[groupImage](r.before)
				if err != nil {
					return nil, fmt.Errorf("step %s: %w", s.ID, err)
				}
				g.Rules, g.Journaled = closed(image, s.Rules.Rules), true
			}
		}
		out = append(out, g)
	}
	return out, nil
}

// SavedKeys tells where hosts keep the images of the key files that a plan has
// quarantined: the folder, and the hosts on which it may hold any.
func SavedKeys(p *plan.Plan, entries []Entry) (folder string, hosts []fleet.HostRef, err error) {
	records, err := recordsOf(p, entries)
	if err != nil {
		return "", nil, err
	}
	for _, s := range p.Of(plan.QuarantineKeys) {
		if records[s.ID].state.Owed() {
			hosts = append(hosts, s.Hosts...)
		}
	}
	slices.SortFunc(hosts, fleet.HostRef.Compare)
	return hostFolder + "/" + token(p.Digest, ""), slices.Compact(hosts), nil
}

// recordsOf is what a plan's journal says of each step.
func recordsOf(p *plan.Plan, entries []Entry) (map[string]record, error) {
	out := map[string]record{}
	for _, e := range entries {
		if e.Digest != p.Digest {
			return nil, fmt.Errorf("plan %s: %w", p.ID, ErrDigest)
		}
		if e.Step == "" {
			continue
		}
		var err error
		if out[e.Step], err = out[e.Step].advance(e); err != nil {
			return nil, fmt.Errorf("journal entry %d: %w", e.Seq, err)
		}
	}
	return out, nil
}

// States tells where each step of a plan is that its journal speaks of.
func States(p *plan.Plan, entries []Entry) (map[string]State, error) {
	records, err := recordsOf(p, entries)
	out := make(map[string]State, len(records))
	for id, r := range records {
		out[id] = r.state
	}
	return out, err
}
