package recovery

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// Seen is what AWS says of the recovery way of one VPC. What is not there at all
// is known, with its zero value.
type Seen struct {
	Place    fleet.Place
	VPC      string
	Group    fleet.Fact[fleet.ScalingGroup]
	Template fleet.Fact[fleet.BastionTemplate]
	Image    fleet.Fact[string]              // state of the template's image: "available"
	Door     fleet.Fact[fleet.SecurityGroup] // the bastion's security group
	Entry    fleet.Fact[[]fleet.Rule]        // its rules
	Hosts    fleet.Fact[[]fleet.Host]        // the VPC's running Linux instances but its bastions
	Rules    map[string]fleet.Fact[[]fleet.Rule]
}

// Code names what a check is about.
type Code string

// The codes.
const (
	CheckZero     Code = "recovery-group-up"  // Auto Scaling group: wants no instance, has none
	CheckThere    Code = "recovery-group"     // group, launch template and security group are there
	CheckImage    Code = "recovery-image"     // the template's image can be launched
	CheckTemplate Code = "recovery-template"  // the template has the current recovery key
	CheckEntry    Code = "recovery-entry"     // operators are let in to the bastion
	CheckDoor     Code = "recovery-rule"      // host: it lets the bastion in
	CheckKey      Code = "recovery-key"       // host: it has the recovery key
	CheckAge      Code = "recovery-key-age"   // the recovery key is younger than the policy wants
	CheckDrill    Code = "recovery-drill-age" // host: a login by the bastion is recent
)

// Check is one thing that the recovery way rests on.
type Check struct {
	Code  Code            `json:"code"`
	Holds fleet.Truth     `json:"holds"`
	What  string          `json:"what"`            // ID or name of what it is about
	Hosts []fleet.HostRef `json:"hosts,omitempty"` // whom it concerns
	Now   string          `json:"now"`
	Do    string          `json:"do,omitempty"` // where it does not hold
}

// Wanted is what the recovery way should be like.
type Wanted struct {
	Key    string // base64 part of the current key; empty: none is known
	Keys   []fleet.RecoveryKey
	KeyAge time.Duration // 0: any age
	// Known are the hosts that an inventory has looked into, with what it saw of
	// the key. Others are new: nobody knows.
	Known map[fleet.HostRef]fleet.Truth
}

// Checks judges what was seen of one VPC. Those of hosts name only hosts for which
// they do not hold.
func (s Seen) Checks(w Wanted) []Check {
	var out []Check
	if !s.Group.Known || s.Group.Value.Name != "" {
		out = append(out, s.zero())
	}
	out = append(out, s.there())
	if s.Template.Known && s.Template.Value.ID == "" {
		return append(out, s.hostChecks(w)...) // there says it
	}
	return append(append(out, s.image(), s.template(w), s.entry()), s.hostChecks(w)...)
}

func unknown(code Code, what, reason string) Check {
	return Check{Code: code, What: what, Now: fleet.OneLine(reason, 500), Do: "migrate doctor tells whether it may look"}
}

func (s Seen) zero() Check {
	name := GroupName(s.VPC)
	g := s.Group.Value
	if !s.Group.Known {
		return unknown(CheckZero, name, s.Group.Reason)
	}
	c := Check{Code: CheckZero, What: name, Holds: truth(g.Min == 0 && g.Desired == 0 && len(g.Instances) == 0), Now: "it wants no instance and has none"}
	if c.Holds != fleet.TruthYes {
		c.Now = fmt.Sprintf("minimum %d, desired %d, instances: %s", g.Min, g.Desired, strings.Join(append([]string{}, g.Instances...), ", "))
		if len(g.Instances) == 0 {
			c.Now = fmt.Sprintf("minimum %d, desired %d, no instance", g.Min, g.Desired)
		}
		c.Do = fmt.Sprintf("migrate recovery close --yes, if migrate recovery open has started it; else aws autoscaling update-auto-scaling-group --region %s --auto-scaling-group-name %s --min-size 0 --desired-capacity 0", s.Place.Region, name)
	}
	return c
}

func (s Seen) there() Check {
	name := GroupName(s.VPC)
	var missing []string
	for _, part := range []struct {
		what  string
		known bool
		there bool
		why   string
	}{
		{"Auto Scaling group", s.Group.Known, s.Group.Value.Name != "", s.Group.Reason},
		{"launch template", s.Template.Known, s.Template.Value.ID != "", s.Template.Reason},
		{"security group", s.Door.Known, s.Door.Value.ID != "", s.Door.Reason},
	} {
		switch {
		case !part.known:
			return unknown(CheckThere, name, "the "+part.what+": "+part.why)
		case !part.there:
			missing = append(missing, part.what)
		}
	}
	if g := s.Group.Value; g.Name != "" && g.Max < 1 {
		return Check{Code: CheckThere, What: name, Holds: fleet.TruthNo, Now: "its maximum is 0: it cannot start a bastion", Do: fmt.Sprintf("aws autoscaling update-auto-scaling-group --region %s --auto-scaling-group-name %s --max-size 1", s.Place.Region, name)}
	}
	if len(missing) > 0 {
		return Check{Code: CheckThere, What: name, Holds: fleet.TruthNo, Now: "missing: " + strings.Join(missing, ", "), Do: "migrate plan and migrate apply make it"}
	}
	return Check{Code: CheckThere, What: name, Holds: fleet.TruthYes, Now: "Auto Scaling group, launch template and security group are there"}
}

func (s Seen) image() Check {
	id := s.Template.Value.Image
	switch {
	case !s.Template.Known:
		return unknown(CheckImage, GroupName(s.VPC), s.Template.Reason)
	case !s.Image.Known:
		return unknown(CheckImage, id, s.Image.Reason)
	case s.Image.Value == "available":
		return Check{Code: CheckImage, What: id, Holds: fleet.TruthYes, Now: "image " + id + " is available"}
	}
	c := Check{Code: CheckImage, What: id, Holds: fleet.TruthNo, Now: "image " + id + " is " + s.Image.Value, Do: "name another in the policy (recovery.image), then migrate plan: the bastion cannot be launched"}
	if s.Image.Value == "" {
		c.Now = "image " + id + " is not there any more"
	}
	return c
}

func (s Seen) template(w Wanted) Check {
	what := GroupName(s.VPC)
	switch {
	case !s.Template.Known:
		return unknown(CheckTemplate, what, s.Template.Reason)
	case w.Key == "":
		return Check{Code: CheckTemplate, What: what, Now: "no recovery key is known to compare with", Do: "migrate recovery init"}
	}
	has := slices.Contains(strings.FieldsFunc(s.Template.Value.UserData, func(r rune) bool { return r == ' ' || r == '"' || r == '\n' || r == '\\' }), w.Key)
	if has {
		return Check{Code: CheckTemplate, What: what, Holds: fleet.TruthYes, Now: "the launch template has the current key"}
	}
	return Check{Code: CheckTemplate, What: what, Holds: fleet.TruthNo, Now: "the launch template has not the current key: a bastion that starts would refuse it", Do: "migrate recovery rotate"}
}

func (s Seen) entry() Check {
	what := GroupName(s.VPC)
	switch {
	case !s.Door.Known:
		return unknown(CheckEntry, what, s.Door.Reason)
	case s.Door.Value.ID == "":
		return Check{Code: CheckEntry, What: what, Holds: fleet.TruthNo, Now: "there is no security group of the bastion's", Do: "migrate plan and migrate apply make it"}
	case !s.Entry.Known:
		return unknown(CheckEntry, s.Door.Value.ID, s.Entry.Reason)
	}
	if slices.ContainsFunc(s.Entry.Value, func(r fleet.Rule) bool { return !r.Egress && r.Admits(22) }) {
		return Check{Code: CheckEntry, What: s.Door.Value.ID, Holds: fleet.TruthYes, Now: "operators are let in to the bastion"}
	}
	return Check{Code: CheckEntry, What: s.Door.Value.ID, Holds: fleet.TruthNo, Now: "no rule lets anybody in to the bastion", Do: "let port 22 of " + s.Door.Value.ID + " in from the operators (recovery.from of the policy)"}
}

// hostChecks are two: who lacks the rule, and who lacks the key.
func (s Seen) hostChecks(w Wanted) []Check {
	if !s.Hosts.Known {
		return []Check{unknown(CheckDoor, s.VPC, s.Hosts.Reason), unknown(CheckKey, s.VPC, s.Hosts.Reason)}
	}
	door := Check{Code: CheckDoor, What: s.VPC, Holds: fleet.TruthYes, Now: "every running host lets the bastion in"}
	key := Check{Code: CheckKey, What: s.VPC, Holds: fleet.TruthYes, Now: "every running host has the key, as the inventory or a login since has shown"}
	var doors, keys [2][]fleet.HostRef // of no, of unknown
	for _, h := range s.Hosts.Value {
		switch s.lets(h) {
		case fleet.TruthNo:
			doors[0] = append(doors[0], h.Ref())
		case fleet.TruthUnknown:
			doors[1] = append(doors[1], h.Ref())
		}
		switch w.Known[h.Ref()] {
		case fleet.TruthNo:
			keys[0] = append(keys[0], h.Ref())
		case fleet.TruthUnknown:
			keys[1] = append(keys[1], h.Ref())
		}
	}
	door.judge(doors, "do not let the bastion in", "of which it is not known whether they let the bastion in", "migrate inventory; migrate plan; then migrate apply the new plan")
	key.judge(keys, "have not the recovery key", "of which it is not known whether they have the key", "migrate inventory; migrate plan; then migrate apply the new plan")
	return []Check{door, key}
}

// judge fills in a check of hosts by those for which it does not hold, and those
// of which nobody knows.
func (c *Check) judge(hosts [2][]fleet.HostRef, no, unknown, do string) {
	text := no
	switch {
	case len(hosts[0]) > 0:
		c.Holds, c.Hosts = fleet.TruthNo, hosts[0]
	case len(hosts[1]) > 0:
		c.Holds, c.Hosts, text = fleet.TruthUnknown, hosts[1], unknown
	default:
		return
	}
	const most = 5
	var ids []string
	for _, h := range c.Hosts[:min(most, len(c.Hosts))] {
		ids = append(ids, h.ID)
	}
	list := strings.Join(ids, ", ")
	if more := len(c.Hosts) - most; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	c.Now, c.Do = fmt.Sprintf("%s %s: %s", fleet.Count(len(c.Hosts), "running host"), text, list), do
}

// lets reports whether a host lets port 22 in from the bastion's group, on its
// primary interface.
func (s Seen) lets(h fleet.Host) fleet.Truth {
	if !s.Door.Known {
		return fleet.TruthUnknown
	}
	if s.Door.Value.ID == "" {
		return fleet.TruthNo
	}
	out := fleet.TruthNo
	for _, g := range h.Groups {
		rules := s.Rules[g]
		if !rules.Known {
			out = fleet.TruthUnknown
			continue
		}
		if slices.ContainsFunc(rules.Value, func(r fleet.Rule) bool { return !r.Egress && r.Group == s.Door.Value.ID && r.Admits(22) }) {
			return fleet.TruthYes
		}
	}
	return out
}

// KeyChecks judges the recovery key itself.
func KeyChecks(w Wanted, now time.Time) []Check {
	var k fleet.RecoveryKey
	for _, one := range w.Keys {
		if w.Key != "" && Blob(one.Line) == w.Key {
			k = one
			break
		}
	}
	if k.Made.IsZero() {
		return []Check{{Code: CheckAge, What: "recovery key", Now: "when it was made is not known", Do: "migrate recovery init makes one whose age is known"}}
	}
	age := now.Sub(k.Made)
	c := Check{Code: CheckAge, What: "recovery key", Holds: fleet.TruthYes, Now: "made " + Days(age) + " ago"}
	switch {
	case age < 0:
		c.Holds, c.Now, c.Do = fleet.TruthUnknown, "it is from the future: a clock is wrong", "set the clock of this machine"
	case w.KeyAge > 0 && age > w.KeyAge:
		c.Holds, c.Do = fleet.TruthNo, "migrate recovery rotate"
		c.Now += ", at most " + Days(w.KeyAge) + " is wanted"
	}
	return []Check{c}
}

// DrillEvery is how often a drill is wanted where nothing is about to be closed:
// a way that nobody has gone for a month is not one to rely on.
const DrillEvery = 30 * 24 * time.Hour

// DrillChecks judges whether a login by the bastion into each of the hosts is recent enough.
func DrillChecks(hosts []fleet.HostRef, proofs []fleet.Proof, age time.Duration, now time.Time) []Check {
	if len(hosts) == 0 {
		return nil
	}
	j := Judge(hosts, proofs, fleet.WayRecovery, age, now)
	c := Check{Code: CheckDrill, What: "recovery drill", Holds: fleet.TruthYes, Now: j.String()}
	if j.Holds() {
		return []Check{c}
	}
	c.Holds, c.Hosts, c.Do = fleet.TruthNo, j.Missing, "migrate recovery drill --yes"
	return []Check{c}
}

// Days writes a duration for people: in days, or in hours and minutes below two days.
func Days(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fleet.Count(int(d/(24*time.Hour)), "day")
	case d >= time.Hour:
		return fmt.Sprintf("%dh %dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dm", d/time.Minute)
}
