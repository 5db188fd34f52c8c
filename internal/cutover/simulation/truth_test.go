package simulation_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/simfleet"
)

// watched is a host that the simulation watches over: one that somebody could
// get into at the beginning.
type watched struct {
	in     *simfleet.Instance
	ssh    bool      // so at the beginning; else Session Manager is its one way, and an outage nobody's fault
	away   time.Time // until then it reboots
	lastSM time.Time // when a session would last have opened
	// shut tells by door (a group's ID, or "" for the host's own) in which turn
	// it was closed last.
	shut   map[string]int
	proved int // turn in which a session last opened
	// byHand: somebody else closed a door of the host. What then happens to its
	// other ways by themselves is nobody's fault; down: that has shut it.
	byHand, down bool
	// noBastion: its Auto Scaling group has replaced the bastion that leads to it.
	// Until the next one is there nobody has closed the way of today.
	noBastion bool
}

// truth computes the ways into a host as they are now, from the model alone.
func (s *simulation) truth(in *simfleet.Instance) simfleet.Ways {
	w := s.world.WaysIn(in, simfleet.Recovery{})
	w.Recovery = s.recoveryReason(in)
	return w
}

// recoveryReason is what keeps the recovery keys that are kept out of a host, by
// a bastion that would be launched.
func (s *simulation) recoveryReason(in *simfleet.Instance) string {
	r, missing := s.recoveryWay(in)
	if missing != "" {
		return missing
	}
	r.User = s.recoveryUser(in)
	return s.anyKey(func(key string) string {
		r.Key = key
		return s.world.RecoveryReason(in, r)
	})
}

// recoveryWay is the bastion that would be launched for a host, or what of it is missing.
func (s *simulation) recoveryWay(in *simfleet.Instance) (r simfleet.Recovery, missing string) {
	name := plan.RecoveryName(in.Host.VPC)
	group := slices.IndexFunc(in.Region.Groups, func(g *fleet.SecurityGroup) bool { return g.Name == name && g.VPC == in.Host.VPC })
	scaling := slices.IndexFunc(in.Region.Scaling, func(g *fleet.ScalingGroup) bool { return g.Name == name })
	switch {
	case group < 0:
		return r, "no security group " + name
	case scaling < 0:
		return r, "no Auto Scaling group " + name
	case !slices.ContainsFunc(in.Region.Templates, func(t *fleet.LaunchTemplate) bool {
		return t.ID == in.Region.Scaling[scaling].Template.ID || t.Name == name
	}):
		return r, "no launch template " + name
	}
	r.Groups = []string{in.Region.Groups[group].ID}
	if subnets := in.Region.Scaling[scaling].Subnets; len(subnets) > 0 {
		r.Subnet = subnets[0]
	}
	return r, ""
}

// anyKey gives what is in the way of a login with the newest recovery key; empty
// if it works with any of those that are kept.
func (s *simulation) anyKey(reason func(key string) string) string {
	newest := "no recovery key is kept"
	for i, key := range s.ring {
		why := reason(key)
		if why == "" {
			return ""
		}
		if i == 0 {
			newest = why
		}
	}
	return newest
}

// change is what somebody did to the world.
type change struct {
	what string
	// host or group is whose door the operator's process closed by it, or whose
	// dead man's switch it took away; both empty: nobody's.
	host, group string
	disarms     bool // the switch, not the door
	ours        bool // by the operator's process
}

func (c change) closes(in *simfleet.Instance) bool {
	return c.host == in.Host.ID || c.group != "" && slices.Contains(in.Host.Groups, c.group)
}

// check asserts, after every change of the world, that nobody is locked out,
// and after a change that closes a door that two ways were left, as far as
// anybody could know.
func (s *simulation) check(c change) {
	s.world.Mu.RLock()
	defer s.world.Mu.RUnlock()
	if s.also != nil {
		s.also(c)
	}
	now := time.Now()
	for _, h := range s.hosts {
		if h.in.Host.State != "running" || now.Before(h.away) {
			continue
		}
		if s.world.SessionReason(h.in) == "" && h.in.SessionSudo() {
			h.lastSM, h.down = now, false
			if !c.closes(h.in) {
				continue // open; the rest would only cost time
			}
		}
		w := s.truth(h.in)
		timer := s.timerOpens(h.in)
		wasDown := h.down
		if h.down = !w.Open() && !timer && !s.reboots(h, w.SSH); h.down && (h.ssh && !h.byHand || c.ours && !wasDown) {
			s.fail("lock-out", "%s after %s: session-manager: %s; ssh: %s; recovery: %s; no timer", h.in.Host.ID, firstLine(c.what), w.SessionManager, w.SSH, w.Recovery)
		}
		if !c.closes(h.in) || !h.ssh || w.SSH == "" {
			continue
		}
		// What proofs could know is what was true within their age. Nothing in
		// these stories but the operator's process takes the recovery way away.
		sm := now.Sub(h.lastSM) <= time.Duration(s.plan.Policy.ProofAge)
		if !c.disarms {
			h.shut[c.group] = s.acts
		}
		switch {
		case c.disarms && h.proved <= h.shut[c.group] && s.shut(c, h.in):
			s.fail("not proved", "%s after %s: its dead man's switch is gone, and no session was opened since its door closed", h.in.Host.ID, firstLine(c.what))
		case !timer && !c.disarms:
			s.fail("no timer", "%s after %s: its door is closed (%s), and nothing would open it again", h.in.Host.ID, firstLine(c.what), w.SSH)
		case (!sm || w.Recovery != "") && (!c.disarms || s.shut(c, h.in)):
			s.fail("one way only", "%s after %s: session-manager: %s; ssh: %s; recovery: %s", h.in.Host.ID, firstLine(c.what), w.SessionManager, w.SSH, w.Recovery)
		}
	}
}

// reboots reports whether the way of today is barred by nothing but a bastion that
// is about to be back, or was replaced: nobody has closed it.
func (s *simulation) reboots(of *watched, why string) bool {
	if b := s.world.Bastion(of.in); of.noBastion && (b == nil || b.Down) {
		return true
	}
	return slices.ContainsFunc(s.hosts, func(h *watched) bool {
		return time.Now().Before(h.away) && strings.Contains(why, "bastion "+h.in.Host.ID+": sshd does not answer")
	})
}

// shut reports whether the very door is shut whose dead man's switch a change
// takes away: the group's, or else the host's own, which lets today's key in
// whatever stands between.
func (s *simulation) shut(c change, in *simfleet.Instance) bool {
	if c.group == "" {
		r, missing := s.recoveryWay(in)
		r.User, r.Key = simfleet.OperatorUser, s.world.OperatorLine(in)
		return missing != "" || s.world.RecoveryReason(in, r) != ""
	}
	recovery := ""
	for _, g := range in.Region.Groups {
		if g.VPC == in.Host.VPC && g.Name == plan.RecoveryName(in.Host.VPC) {
			recovery = g.ID
		}
	}
	for _, g := range in.Region.Groups {
		if g.ID == c.group {
			return !slices.ContainsFunc(fleet.Rules(g.Ingress, false), func(r fleet.Rule) bool { return r.Admits(22) && r.Group != recovery })
		}
	}
	return false
}

// timerOpens reports whether a dead man's switch is armed that opens SSH to
// the host again: one on the machine that its own list counts, or a schedule
// for one of its groups.
func (s *simulation) timerOpens(in *simfleet.Instance) bool {
	armed := map[string]bool{}
	for _, f := range s.world.FileStates(in, "/var/lib/migrate") {
		if path.Base(f.Path) == "armed" && f.Kind == "file" {
			for line := range strings.Lines(f.Content) {
				if words := strings.Fields(line); len(words) == 3 {
					armed[words[1]+" "+words[2]] = true
					armed[words[1]] = true
				}
			}
		}
	}
	return slices.ContainsFunc(s.world.Timers(), func(t simfleet.Timer) bool {
		switch {
		case t.Instance == in && t.How == "sh":
			return armed["sh"]
		case t.Instance == in:
			return armed[t.How+" "+t.ID]
		}
		return t.Group != "" && slices.Contains(in.Host.Groups, t.Group)
	})
}

// image is everything that a rollback restores, exactly, by the thing's name.
func (s *simulation) image() map[string]string {
	s.world.Mu.RLock()
	defer s.world.Mu.RUnlock()
	out := map[string]string{}
	put := func(name string, v any) {
		text, err := json.Marshal(v)
		if err != nil {
			s.t.Fatal(err)
		}
		out[name] = string(text)
	}
	for _, a := range s.world.Accounts {
		for _, r := range a.Roles {
			put("role "+r.ARN, []any{r.Attached, sorted(r.Inline)})
		}
		for _, p := range a.Profiles {
			put("profile "+p.ARN, p)
		}
		for _, rg := range a.Regions {
			at := a.ID + "/" + rg.Name + " "
			put(at+"default role", rg.DefaultRole)
			put(at+"preferences", rg.Preferences)
			for _, g := range rg.Groups {
				put(at+"group "+g.ID, []any{g.Name, g.Description, ruleTexts(g.Ingress), ruleTexts(g.Egress)})
			}
			for _, e := range rg.Endpoints {
				put(at+"endpoint "+e.ID, []any{e.Service, e.PrivateDNS, e.Groups, e.Policy})
			}
			for _, g := range rg.Scaling {
				put(at+"scaling group "+g.Name, []int{g.Min, g.Desired, g.Max})
			}
			for _, t := range rg.Templates {
				put(at+"template "+t.Name, t.Versions)
			}
			for _, k := range rg.KeyPairs {
				put(at+"key pair "+k.Name, k.PublicKey)
			}
			for _, in := range rg.Instances {
				if in.Host.State == "terminated" {
					continue
				}
				put("instance "+in.Host.ID, in.Host.ProfileARN)
				for _, f := range s.world.FileStates(in, "/home", "/root", "/etc/ssh", "/etc/systemd/system", "/var/spool/cron") {
					if ours := strings.Contains(f.Path, "ssm-user"); !ours && f.Kind != "directory" {
						f.ModTime = time.Time{} // a file that was written twice is younger
						put("file "+in.Host.ID+" "+path.Clean(f.Path), f)
					}
				}
			}
		}
	}
	return out
}

func sorted(m map[string]string) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k+"="+m[k])
	}
	return out
}

// ruleTexts are a group's rules one by one, in an order of their own: AWS keeps none.
func ruleTexts(permissions []fleet.Permission) []string {
	var out []string
	for _, r := range fleet.Rules(permissions, false) {
		out = append(out, fmt.Sprintf("%s %d-%d %v%s%s %q", r.Protocol, r.From, r.To, r.CIDR, r.PrefixList, r.Group, r.Description))
	}
	slices.Sort(out)
	return out
}

// differences tells what is not the same in two images, passing over names
// that somebody else touched.
func differences(before, after map[string]string, touched func(string) bool) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, id, _ := strings.Cut(name, " "); strings.HasPrefix(name, "file ") && touched("instance "+strings.Fields(id)[0]) {
			continue // its host is gone
		}
		if after[name] != before[name] && !touched(name) {
			out = append(out, fmt.Sprintf("%s\n  before %s\n  after  %s", name, before[name], after[name]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(after)) {
		kind, id, _ := strings.Cut(name, " ")
		id, _, _ = strings.Cut(id, " ")
		if _, was := before["instance "+id]; !was && (kind == "instance" || kind == "file") {
			continue // it came in place of another
		}
		if _, was := before[name]; !was && !touched(name) {
			out = append(out, name+" was left behind: "+after[name])
		}
	}
	return out
}
