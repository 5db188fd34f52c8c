// Package export writes a stored plan for those who change a fleet by other
// means than migrate: as Terraform, as JSON documents, as lines for the AWS CLI and as runbooks of
// Systems Manager Automation.
//
// It is pure: the same input gives the same files, byte by byte. What is
// written is what the step kinds of a cutover would bring about, so that a step that is left to
// others observes it, and a step that is not finds it done.
package export

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/access"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// Input is what is exported. Plan and Snapshot, the one that the plan was made
// from, must be set.
type Input struct {
	Snapshot *fleet.Snapshot
	Plan     *plan.Plan
	// Access is the access set-up that stays; nil: it is not exported.
	Access *access.Set
	// Handed leaves out every step that the plan does not leave to others, and
	// Access.
	Handed bool
	// Rules are rules of security groups as EC2 lists them now, with their IDs,
	// by group's ID. A snapshot does not have IDs; Terraform cannot import a rule without. RuleGroups lists
	// the groups.
	Rules map[string][]fleet.Rule
}

// File is one file of an export. Name is relative, with slashes, and made of
// letters, digits and "._-/" only.
type File struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// ErrNothing says that the plan has nothing that the format could express.
var ErrNothing = errors.New("the plan has nothing to export in this format")

// Tag marks what an export makes with the tag that steps give what they make
// (fleet.TagStep): a recovery bastion without it counts as somebody else's. The value is no step's
// token, so a rollback leaves it alone.
func Tag(p *plan.Plan) string { return "export-" + p.ID }

// stage is a part of the hand-over that is applied in one go.
type stage string

// The stages in their order. What closes a way in stands alone in the last two.
const (
	stagePrepare  stage = "prepare"
	stageRecovery stage = "recovery"
	stageAccess   stage = "access"
	stageClose    stage = "close"
	stageFinish   stage = "finish"
)

var stages = []stage{stagePrepare, stageRecovery, stageAccess, stageClose, stageFinish}

// stageOf is the stage of a kind of step; empty: it is done on hosts, or is
// nothing that anybody else could do for a run.
func stageOf(k plan.Kind) stage {
	switch k {
	case plan.AttachProfile, plan.ExtendRole, plan.DefaultHostManagement, plan.AllowEgress, plan.CreateEndpoint, plan.SessionPreferences:
		return stagePrepare
	case plan.TimerRole, plan.RecoveryGroup, plan.RecoveryRule:
		return stageRecovery
	case plan.ClosePort:
		return stageClose
	case plan.ScaleIn:
		return stageFinish
	}
	return ""
}

// job is a step as it is exported, with the steps that ask for the same.
type job struct {
	plan.Step

	stage stage
	at    fleet.Place // with a Region, also where the step has none
	hosts []fleet.HostRef
}

// work is an export in the making.
type work struct {
	Input

	jobs   []job
	places []fleet.Place // of all jobs, sorted
	onHost []plan.Step   // steps that the export does not express: those on hosts, mostly
	seen   seen
}

// seen are things of the snapshot that an export may meet, by place and name.
type seen struct {
	roles     map[string]bool // account/name
	inline    map[string]bool // account/role/policy
	profiles  map[string]bool
	policies  map[string]bool                // managed ones, by ARN
	groups    map[string]fleet.SecurityGroup // account/region/vpc/name
	byID      map[string]fleet.SecurityGroup
	templates map[string]string // account/region/name → ID
	scaling   map[string]bool
	documents map[string]bool // the preferences, account/region
	hosts     map[fleet.HostRef]*fleet.Host
}

func key(parts ...string) string { return strings.Join(parts, "/") }

func look(s *fleet.Snapshot) seen {
	out := seen{
		roles: map[string]bool{}, inline: map[string]bool{}, profiles: map[string]bool{}, policies: map[string]bool{}, groups: map[string]fleet.SecurityGroup{}, byID: map[string]fleet.SecurityGroup{},
		templates: map[string]string{}, scaling: map[string]bool{}, documents: map[string]bool{}, hosts: map[fleet.HostRef]*fleet.Host{},
	}
	for _, a := range s.Accounts {
		for _, r := range a.Roles.Value {
			out.roles[key(a.ID, r.Name)] = true
			for name := range r.Inline {
				out.inline[key(a.ID, r.Name, name)] = true
			}
		}
		for _, p := range a.Profiles.Value {
			out.profiles[key(a.ID, p.Name)] = true
		}
		for _, p := range a.Policies.Value {
			out.policies[p.ARN] = true
		}
	}
	for i := range s.Regions {
		r := &s.Regions[i]
		for _, g := range r.Groups.Value {
			out.groups[key(r.Account, r.Name, g.VPC, g.Name)], out.byID[g.ID] = g, g
		}
		for _, t := range r.Templates.Value {
			out.templates[key(r.Account, r.Name, t.Name)] = t.ID
		}
		for _, g := range r.ScalingGroups.Value {
			out.scaling[key(r.Account, r.Name, g.Name)] = true
		}
		out.documents[key(r.Account, r.Name)] = r.Preferences.Value.Exists
	}
	for i := range s.Hosts {
		out.hosts[s.Hosts[i].Ref()] = &s.Hosts[i]
	}
	return out
}

// rule tells whether a group has a rule that lets the same through.
func (s seen) rule(group string, r fleet.Rule) bool {
	g, permissions := s.byID[group], s.byID[group].Ingress
	if r.Egress {
		permissions = g.Egress
	}
	r.GroupAccount = ""
	return slices.ContainsFunc(fleet.Rules(permissions, r.Egress), r.Same)
}

// group is a security group as a comment names it: "sg-0abc (web)".
func (s seen) group(id string) string {
	if g, ok := s.byID[id]; ok && g.Name != "" {
		return id + " (" + line(g.Name) + ")"
	}
	return id
}

// host is a host as a comment names it.
func (s seen) host(h fleet.HostRef) string {
	if x := s.hosts[h]; x != nil && x.Name() != "" {
		return h.ID + " (" + line(x.Name()) + ")"
	}
	return h.ID
}

func begin(in Input) (*work, error) {
	if in.Plan == nil || in.Snapshot == nil {
		return nil, errors.New("export: a plan and its snapshot are needed")
	}
	if in.Plan.Purpose != plan.Cutover {
		return nil, fmt.Errorf("export: plan %s is a %s, and only cutovers can be handed over", in.Plan.ID, in.Plan.Purpose)
	}
	w := &work{Input: in, seen: look(in.Snapshot)}
	at := map[string]int{} // what a job asks for → its index
	for i := range in.Plan.Waves {
		for _, s := range in.Plan.Waves[i].Steps {
			w.take(s, at)
		}
	}
	slices.SortStableFunc(w.jobs, func(a, b job) int {
		return cmp.Compare(slices.Index(stages, a.stage), slices.Index(stages, b.stage))
	})
	w.places = w.accessPlaces()
	for _, j := range w.jobs {
		w.places = append(w.places, j.at)
	}
	slices.SortFunc(w.places, comparePlaces)
	w.places = slices.Compact(w.places)
	return w, nil
}

func (w *work) take(s plan.Step, at map[string]int) {
	st := stageOf(s.Kind)
	switch {
	case w.Handed && !s.Handed:
		return
	case st == "":
		if s.Kind == plan.Agent || s.Kind == plan.WaitFor || s.Kind == plan.RecoveryKey || s.Kind == plan.QuarantineKeys {
			w.onHost = append(w.onHost, s)
		}
		return
	}
	j := job{Step: s, stage: st, at: w.place(s.At), hosts: s.Hosts}
	// Hosts of one account share a profile; each has a step of its own.
	same := s.ID
	if s.Kind == plan.AttachProfile {
		same = key(string(s.Kind), j.at.Account, j.at.Region, s.Profile.Name)
	}
	if k, ok := at[same]; ok {
		w.jobs[k].hosts = append(slices.Clone(w.jobs[k].hosts), s.Hosts...)
		return
	}
	at[same] = len(w.jobs)
	w.jobs = append(w.jobs, j)
}

// place gives steps on IAM, which have an account alone, a Region to be made
// from: the account's first.
func (w *work) place(at fleet.Place) fleet.Place {
	if at.Region != "" {
		return at
	}
	best := ""
	for _, r := range w.Snapshot.Regions {
		if r.Account == at.Account && (best == "" || r.Name < best) {
			best = r.Name
		}
	}
	return fleet.Place{Account: at.Account, Region: cmp.Or(best, "us-east-1")}
}

// groupID is the ID of a group that the plan knows by its name; the name where
// the snapshot does not show it.
func (w *work) groupID(j job, group string) string {
	if strings.HasPrefix(group, "sg-") {
		return group
	}
	return cmp.Or(w.seen.groups[key(j.at.Account, j.at.Region, vpcOf(j, group), group)].ID, group)
}

// RuleGroups are the security groups that are there, and of which an export
// writes rules: by ID, with their places.
func RuleGroups(in Input) (map[string]fleet.Place, error) {
	w, err := begin(in)
	if err != nil {
		return nil, err
	}
	out := map[string]fleet.Place{}
	for _, j := range w.jobs {
		group := ""
		switch {
		case j.Rules != nil:
			group = j.Rules.Group
		case j.Endpoint != nil:
			group = j.Endpoint.Group
		case j.Recovery != nil:
			group = j.Recovery.Name
		}
		if id := w.groupID(j, group); strings.HasPrefix(id, "sg-") {
			out[id] = j.at
		}
	}
	return out, nil
}

func (w *work) of(st stage) []job {
	return slices.DeleteFunc(slices.Clone(w.jobs), func(j job) bool { return j.stage != st })
}

func (w *work) nothing() bool { return len(w.places) == 0 }

func comparePlaces(a, b fleet.Place) int {
	return cmp.Or(strings.Compare(a.Account, b.Account), strings.Compare(a.Region, b.Region))
}

// line makes a text from a host, an API or a file fit for one line of a comment.
func line(s string) string { return fleet.OneLine(s, 200) }

// safe makes a text fit for file and resource names. Where that loses something,
// a hash of the text keeps names of different texts apart.
func safe(s, also string) string {
	out := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(also, r) {
			return r
		}
		return '_'
	}, s)
	const most = 96
	out = out[:min(len(out), most)]
	if strings.Trim(out, "._") == "" {
		return "x" + hash(s)
	}
	return out
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:4])
}

// about are the comment lines that say what a job is and which finding it answers.
func (w *work) about(j job) []string {
	out := []string{line(j.Title)}
	if len(j.hosts) > 1 && j.Kind == plan.AttachProfile {
		out = []string{fmt.Sprintf("Instance profile %s for %s", line(j.Profile.Name), fleet.Count(len(j.hosts), "host"))}
	}
	if j.Why != "" {
		out = append(out, "answers: "+line(j.Why))
	}
	if j.Owner != "" {
		out = append(out, "owned by: "+line(j.Owner))
	}
	for _, l := range j.Before {
		out = append(out, "- "+line(l))
	}
	for _, l := range j.After {
		out = append(out, "+ "+line(l))
	}
	if j.Blast != "" {
		out = append(out, "touches: "+line(j.Blast))
	}
	if j.Warning != "" {
		out = append(out, "warning: "+line(j.Warning))
	}
	return out
}
