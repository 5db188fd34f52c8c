// Package access makes the access set-up that is left behind when SSH is gone:
// least-privilege policies for the roles of instances and for teams of
// operators, and session documents, all from what a snapshot and its
// assessment say. Every policy comes with a proof: readiness' own evaluator is
// asked what the text allows on this fleet, and it has to be what access
// parity promises and nothing else. The package computes from its arguments alone.
package access

import (
	"fmt"
	"slices"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
)

// Subject is whom a policy is for.
type Subject string

// The subjects.
const (
	Instance Subject = "instance"
	Operator Subject = "operator"
)

// Set is the access set-up of a fleet, in a fixed order.
type Set struct {
	Query     Query      `json:"query"` // what was asked for
	Policies  []Policy   `json:"policies"`
	Documents []Document `json:"documents"`
	Notes     []string   `json:"notes"` // what could not be promised, and what to do about it
}

// Policy is one customer managed policy. It is not longer than IAM allows;
// what would be is in several parts, which belong together.
type Policy struct {
	Name    string  `json:"name"` // unique in the account
	Account string  `json:"account"`
	For     Subject `json:"for"`
	Who     string  `json:"who"` // role name, or team
	Part    int     `json:"part"`
	Parts   int     `json:"parts"`

	Attach   []string `json:"attach"`   // ARNs of roles and users it is meant for; empty: none is named yet
	Document string   `json:"document"` // compact JSON of IAM's policy language
	Why      string   `json:"why"`
	Proof    Proof    `json:"proof"` // of all its parts together
}

// Document is a session document of one account and Region.
type Document struct {
	Name    string      `json:"name"`
	Type    string      `json:"type"` // document type: always "Session"
	At      fleet.Place `json:"at"`
	Content string      `json:"content"` // JSON
	Who     []string    `json:"who"`     // teams that may start it; empty for the preferences
	Why     string      `json:"why"`
}

// Proof is what readiness' evaluator says of a policy's very text.
type Proof struct {
	Holds    bool     `json:"holds"`
	Allows   int      `json:"allows"`             // requests that it allows, all of them promised
	Denies   int      `json:"denies"`             // requests that it does not allow, none of them promised
	Problems []string `json:"problems,omitempty"` // where text and promise differ
	Text     []string `json:"text"`               // what it allows to whom, for people
}

// Query is what the operator chooses. The zero value allows a shell and
// nothing else.
type Query struct {
	// Tag is the tag by which the operator's teams share their hosts. Hosts
	// with a team's value of it are the team's even where the inventory could
	// not see who gets in. Empty: any tag that fits what was seen exactly.
	Tag string `json:"tag,omitempty"`
	// SSH lets operators use SSH, SCP and Ansible through Session Manager
	// (document AWS-StartSSHSession), which has no content log.
	SSH bool `json:"ssh,omitempty"`
	// RunCommand keeps Run Command working on agents that need ec2messages for it.
	RunCommand bool `json:"runCommand,omitempty"`
	// Forwards are ports that teams may forward, besides those that today's
	// keys are limited to.
	Forwards []Forward `json:"forwards,omitempty"`
	// Preferences, where they are set, take the place of those of every Region.
	Preferences Preferences `json:"preferences,omitzero"`
}

// Forward is a port that a team may reach.
type Forward struct {
	Team string `json:"team,omitempty"` // empty: every team
	Host string `json:"host,omitempty"` // behind the instances; empty: the instance's own port
	Port int    `json:"port"`
}

// Preferences are what the operator wants of every shell session. A nil or
// zero field leaves what the Region has.
type Preferences struct {
	Bucket      string `json:"bucket,omitempty"`
	Prefix      string `json:"prefix,omitempty"`
	LogGroup    string `json:"logGroup,omitempty"`
	Key         string `json:"key,omitempty"`         // KMS key ARN
	RunAs       string `json:"runAs,omitempty"`       // default OS user; turns Run As on
	IdleTimeout int    `json:"idleTimeout,omitempty"` // minutes, 1 to 60
	MaxDuration int    `json:"maxDuration,omitempty"` // minutes, 1 to 1440
	Profile     string `json:"profile,omitempty"`     // shell commands at the begin of a session on Linux
}

// Generate makes the access set-up with its proofs. It changes neither of its
// arguments. An error means that the query or the assessment cannot be meant;
// what is not known of the fleet is told in Notes.
func Generate(s *fleet.Snapshot, a *fleet.Assessment, q Query) (*Set, error) {
	p, err := promise(s, a, q)
	if err != nil {
		return nil, err
	}
	out := &Set{Query: q, Policies: []Policy{}, Documents: p.documents, Notes: p.notes}
	for _, x := range p.instances {
		policies, err := x.policies()
		if err != nil {
			return nil, err
		}
		out.Policies = append(out.Policies, policies...)
	}
	for _, x := range p.teams {
		policies, err := x.policies()
		if err != nil {
			return nil, err
		}
		out.Policies = append(out.Policies, policies...)
	}
	prove(p, out)
	return out, nil
}

// Prove asks readiness' evaluator again what the policies of a set allow, and
// writes the answer into their proofs. It reports whether all of them hold. A
// policy that nothing calls for, and a promise for which there is no policy,
// make it false.
func Prove(s *fleet.Snapshot, a *fleet.Assessment, set *Set) (bool, error) {
	p, err := promise(s, a, set.Query)
	if err != nil {
		return false, err
	}
	return prove(p, set), nil
}

// promised is what the set-up has to allow, to whom, and why. Policies are
// written from it, and their texts are held against it.
type promised struct {
	*world
	query     Query
	instances []*instanceRole
	teams     []*team
	rows      map[string]*fleet.PersonParity // by person
	documents []Document
	notes     []string
}

// world finds things of a snapshot.
type world struct {
	snapshot *fleet.Snapshot
	grants   *readiness.Grants
	regions  map[fleet.Place]*fleet.Region
	inputs   map[fleet.Place]fleet.SessionInputs // the preferences as they are to be
	places   []fleet.Place                       // with hosts, in order
}

func promise(s *fleet.Snapshot, a *fleet.Assessment, q Query) (*promised, error) {
	if err := q.Validate(); err != nil {
		return nil, err
	}
	if len(a.Hosts) != len(s.Hosts) {
		return nil, fmt.Errorf("the assessment judges %d hosts, the snapshot has %d: it is of another one", len(a.Hosts), len(s.Hosts))
	}
	p := &promised{world: newWorld(s), query: q, rows: map[string]*fleet.PersonParity{}, documents: []Document{}, notes: []string{}}
	p.preferences()
	p.instanceRoles()
	p.findTeams(a)
	p.forwards(a)
	p.commands()
	return p, nil
}

func newWorld(s *fleet.Snapshot) *world {
	w := &world{snapshot: s, grants: readiness.NewGrants(s), regions: map[fleet.Place]*fleet.Region{}, inputs: map[fleet.Place]fleet.SessionInputs{}}
	for i := range s.Regions {
		r := &s.Regions[i]
		w.regions[fleet.Place{Account: r.Account, Region: r.Name}] = r
	}
	for i := range s.Hosts {
		if at := s.Hosts[i].Ref().Place(); !slices.Contains(w.places, at) {
			w.places = append(w.places, at)
		}
	}
	return w
}

// region is what was collected around a place; all unknown when nothing was.
func (w *world) region(at fleet.Place) *fleet.Region {
	if r := w.regions[at]; r != nil {
		return r
	}
	return &fleet.Region{Account: at.Account, Name: at.Region}
}

// note records once what the operator should know.
func (p *promised) note(format string, args ...any) {
	if text := fleet.OneLine(fmt.Sprintf(format, args...), mostNote); !slices.Contains(p.notes, text) {
		p.notes = append(p.notes, text)
	}
}

const mostNote = 1000 // characters; names in it come from hosts and tags
