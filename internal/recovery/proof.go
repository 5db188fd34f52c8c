package recovery

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// Judgement says which hosts a way is proved into.
type Judgement struct {
	Way    fleet.Way
	Hosts  int
	Proved []fleet.HostRef // with a proof that counts
	// Missing are the others, in the order given; Why has one line for each.
	Missing []fleet.HostRef
	Why     []string
}

// Holds reports whether the way is proved into every host. Into none at all
// it is not proved.
func (j Judgement) Holds() bool { return j.Hosts > 0 && len(j.Missing) == 0 }

// String is one line for people.
func (j Judgement) String() string {
	if j.Holds() {
		return fmt.Sprintf("%s is proved into %d of %d hosts", j.Way, len(j.Proved), j.Hosts)
	}
	const most = 5
	why := strings.Join(j.Why[:min(most, len(j.Why))], "; ")
	if more := len(j.Why) - most; more > 0 {
		why += fmt.Sprintf("; and %d more", more)
	}
	return fmt.Sprintf("%s is proved into %d of %d hosts: %s", j.Way, len(j.Proved), j.Hosts, why)
}

// Judge looks for proofs of a way into hosts. Only the newest proof of the way
// into a host counts, only if it worked, and only as long as it is no older than
// age: a way that failed since is not proved by an earlier success.
func Judge(hosts []fleet.HostRef, proofs []fleet.Proof, way fleet.Way, age time.Duration, now time.Time) Judgement {
	j := Judgement{Way: way, Hosts: len(hosts)}
	for _, h := range hosts {
		p, ok := Newest(proofs, h, way)
		if ok && p.Fresh(now, age) {
			j.Proved = append(j.Proved, h)
			continue
		}
		j.Missing = append(j.Missing, h)
		why := "never tried"
		switch {
		case ok && p.Works != fleet.TruthYes:
			why = fmt.Sprintf("the last try says %s: %s", p.Works, p.Reason)
		case ok && p.At.After(now):
			why = "the proof is from the future: a clock is wrong"
		case ok:
			why = fmt.Sprintf("the proof is %s old, at most %s counts", now.Sub(p.At).Round(time.Second), age)
		}
		j.Why = append(j.Why, h.ID+": "+why)
	}
	return j
}

// Blob is the base64 part of a line of authorized_keys; empty without one. Options
// with blanks in them are not looked into: a recovery key needs none.
func Blob(line string) string {
	words := strings.Fields(line)
	for i, w := range words[:max(0, len(words)-1)] {
		if strings.HasPrefix(w, "ssh-") || strings.HasPrefix(w, "ecdsa-") || strings.HasPrefix(w, "sk-") {
			return words[i+1]
		}
	}
	return ""
}

// Newest finds the newest proof of a way into a host.
func Newest(proofs []fleet.Proof, h fleet.HostRef, way fleet.Way) (fleet.Proof, bool) {
	i := -1
	for n, p := range proofs {
		if p.Host == h && p.Way == way && (i < 0 || p.At.After(proofs[i].At)) {
			i = n
		}
	}
	if i < 0 {
		return fleet.Proof{}, false
	}
	return proofs[i], true
}

// Host is the state of the recovery way into one host.
type Host struct {
	Host fleet.HostRef `json:"host"`
	Name string        `json:"name"`
	VPC  string        `json:"vpc"`
	// Key: the recovery key is in a file that sshd reads, as the snapshot saw it, or as
	// a login since has shown.
	Key fleet.Truth `json:"key"`
	// Rule: a security group of the host lets port 22 in from the recovery group.
	Rule  fleet.Truth `json:"rule"`
	Login fleet.Truth `json:"login"` // a fresh login by the bastion: yes; the last one failed: no
	Proof fleet.Proof `json:"proof,omitzero"`
	Why   string      `json:"why,omitempty"` // why the way is not proved
}

// VPC is the state of the recovery way of one VPC.
type VPC struct {
	VPC   string      `json:"vpc"`
	Place fleet.Place `json:"place"`
	Group string      `json:"group"` // what the Auto Scaling group is called
	// There: the group exists. Zero: it is at zero, with no instance.
	There fleet.Truth `json:"there"`
	Zero  fleet.Truth `json:"zero"`
	Hosts []Host      `json:"hosts"`
	Drill *Drill      `json:"drill,omitempty"` // the last one; nil: none
	// Checks are what AWS says now, and what the last drill says.
	Checks []Check `json:"checks,omitempty"`
}

// See fills in what AWS says now.
func (v *VPC) See(s Seen, w Wanted) {
	v.Checks = s.Checks(w)
	if s.Group.Known {
		v.There, v.Zero = truth(s.Group.Value.Name != ""), truth(s.Group.Value.Name != "" && s.zero().Holds == fleet.TruthYes)
	}
	if !s.Hosts.Known {
		return
	}
	for i, h := range v.Hosts {
		for _, now := range s.Hosts.Value {
			if now.Ref() == h.Host {
				v.Hosts[i].Rule = s.lets(now)
			}
		}
	}
}

// Proved reports whether the way is proved into all hosts of the VPC, and the
// bastion is not left running.
func (v VPC) Proved() bool {
	return v.Zero == fleet.TruthYes && !slices.ContainsFunc(v.Hosts, func(h Host) bool { return h.Login != fleet.TruthYes })
}

// GroupName is what bastion groups are called; it must be the same as the plan's.
func GroupName(vpc string) string { return "migrate-recovery-" + vpc }

// Status tells the state of the recovery way of every VPC with running Linux
// hosts, by place and VPC, as a snapshot and the proofs show it. A key with an
// empty line: none is known. A login counts only if no later snapshot saw that the
// key is gone.
func Status(s *fleet.Snapshot, proofs []fleet.Proof, key fleet.RecoveryKey, age time.Duration, now time.Time) []VPC {
	var out []VPC
	for i := range s.Hosts {
		h := s.Hosts[i]
		if !h.Running() || h.Windows() {
			continue
		}
		at := slices.IndexFunc(out, func(v VPC) bool { return v.VPC == h.VPC && v.Place == h.Ref().Place() })
		if at < 0 {
			out = append(out, vpcOf(s, h))
			at = len(out) - 1
		}
		if h.AutoScalingGroup != out[at].Group {
			out[at].Hosts = append(out[at].Hosts, hostOf(s, h, proofs, key, age, now))
		}
	}
	out = slices.DeleteFunc(out, func(v VPC) bool { return len(v.Hosts) == 0 })
	slices.SortFunc(out, func(a, b VPC) int {
		return strings.Compare(a.Place.Account+" "+a.Place.Region+" "+a.VPC, b.Place.Account+" "+b.Place.Region+" "+b.VPC)
	})
	for _, v := range out {
		slices.SortFunc(v.Hosts, func(a, b Host) int { return a.Host.Compare(b.Host) })
	}
	return out
}

func region(s *fleet.Snapshot, at fleet.Place) (fleet.Region, bool) {
	for _, r := range s.Regions {
		if r.Account == at.Account && r.Name == at.Region {
			return r, true
		}
	}
	return fleet.Region{}, false
}

func vpcOf(s *fleet.Snapshot, h fleet.Host) VPC {
	v := VPC{VPC: h.VPC, Place: h.Ref().Place(), Group: GroupName(h.VPC)}
	r, ok := region(s, v.Place)
	if !ok || !r.ScalingGroups.Known {
		return v
	}
	v.There, v.Zero = fleet.TruthNo, fleet.TruthNo
	for _, g := range r.ScalingGroups.Value {
		if g.Name == v.Group {
			v.There = fleet.TruthYes
			if g.Desired == 0 && len(g.Instances) == 0 {
				v.Zero = fleet.TruthYes
			}
		}
	}
	return v
}

func hostOf(s *fleet.Snapshot, h fleet.Host, proofs []fleet.Proof, key fleet.RecoveryKey, age time.Duration, now time.Time) Host {
	out := Host{Host: h.Ref(), Name: h.Name(), VPC: h.VPC, Key: hasKey(h, key), Rule: hasRule(s, h)}
	j := Judge([]fleet.HostRef{h.Ref()}, proofs, fleet.WayRecovery, age, now)
	out.Proof, _ = Newest(proofs, h.Ref(), fleet.WayRecovery)
	switch {
	case j.Holds() && out.Key == fleet.TruthNo && out.Proof.At.Before(s.Started):
		out.Why = "the inventory after the last login has not seen the key"
		return out
	case j.Holds():
		out.Login = fleet.TruthYes
		return out
	case out.Proof.Works == fleet.TruthNo:
		out.Login = fleet.TruthNo
	}
	out.Why = strings.TrimPrefix(j.Why[0], h.ID+": ")
	return out
}

// hasKey looks for the key among those that the probe saw.
func hasKey(h fleet.Host, key fleet.RecoveryKey) fleet.Truth {
	blob := Blob(key.Line)
	if blob == "" || !h.Probe.Known || !h.Probe.Value.Keys.Known {
		return fleet.TruthUnknown
	}
	if slices.ContainsFunc(h.Probe.Value.Keys.Value, func(k fleet.Key) bool { return k.Blob == blob && k.Problem == "" && k.CA == key.CA }) {
		return fleet.TruthYes
	}
	return fleet.TruthNo
}

// hasRule looks for port 22 from the recovery group in the host's security groups.
func hasRule(s *fleet.Snapshot, h fleet.Host) fleet.Truth {
	r, ok := region(s, h.Ref().Place())
	if !ok || !r.Groups.Known {
		return fleet.TruthUnknown
	}
	var own string
	for _, g := range r.Groups.Value {
		if g.Name == GroupName(h.VPC) && g.VPC == h.VPC {
			own = g.ID
		}
	}
	if own == "" {
		return fleet.TruthNo
	}
	for _, g := range r.Groups.Value {
		if !slices.Contains(h.Groups, g.ID) {
			continue
		}
		for _, rule := range fleet.Rules(g.Ingress, false) {
			if rule.Group == own && rule.Admits(22) {
				return fleet.TruthYes
			}
		}
	}
	return fleet.TruthNo
}
