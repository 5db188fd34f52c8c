package readiness

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// Part is one of the things that a session rests on, from the machine to the
// shell. A finding that breaks a part brings about the findings that show that
// this part, or one that needs it, does not work.
type Part int

// The parts, each after those that it needs.
const (
	PartNames       Part = iota // the names of the endpoints resolve on the host
	PartSSM                     // a TCP connection from the host reaches ssm
	PartMessages                // a TCP connection from the host reaches ssmmessages
	PartTrust                   // the certificates of the endpoints verify on the host
	PartMetadata                // the instance metadata service answers the host
	PartAgent                   // an agent runs that is fit to work
	PartCredentials             // the agent has credentials that it may call with
	PartHeartbeat               // Systems Manager hears the agent over ssm
	PartChannel                 // the agent holds its control channel over ssmmessages
	PartSession                 // a session opens and does what people use it for
)

// parts tells for each part which others it needs, what it means for what
// rests on it that it is broken, and where that is written.
var parts = [...]struct {
	needs  []Part
	broken string
	source string
}{
	PartNames: {
		broken: "the host cannot resolve the names of the endpoints",
		source: guide + "setup-create-vpc",
	},
	PartSSM: {
		needs:  []Part{PartNames},
		broken: "no connection of the host reaches ssm, over which the agent registers and reports",
		source: guide + "session-manager-prerequisites",
	},
	PartMessages: {
		needs:  []Part{PartNames},
		broken: "no connection of the host reaches ssmmessages, over which the agent holds its control channel",
		source: guide + "session-manager-prerequisites",
	},
	PartTrust: {
		broken: "the certificates that the host is shown do not verify, so the agent breaks its connections off",
		source: guide + "ssm-agent-technical-details",
	},
	PartMetadata: {
		broken: "the metadata service, from which the agent has its identity and its credentials, does not answer it",
		source: guide + "ssm-agent-technical-details",
	},
	PartAgent: {
		broken: "no agent is at work on the host",
		source: guide + "troubleshooting-ssm-agent",
	},
	PartCredentials: {
		needs:  []Part{PartMetadata},
		broken: "the agent has no credentials that it may call Systems Manager with",
		source: guide + "setup-instance-permissions",
	},
	PartHeartbeat: {
		needs:  []Part{PartSSM, PartTrust, PartAgent, PartCredentials},
		broken: "the agent's calls to ssm do not succeed",
		source: guide + "fleet-manager-troubleshooting-managed-nodes",
	},
	PartChannel: {
		needs:  []Part{PartMessages, PartHeartbeat},
		broken: "the agent's calls to ssmmessages do not succeed",
		source: guide + "systems-manager-setting-up-messageAPIs",
	},
	PartSession: {
		needs:  []Part{PartChannel},
		broken: "no session does what it should",
		source: guide + "session-manager-troubleshooting",
	},
}

// partSet is a set of parts, one bit for each.
type partSet uint16

func setOf(all []Part) partSet {
	var s partSet
	for _, p := range all {
		s |= 1 << p
	}
	return s
}

// rests is the set of parts without which those of s do not work, s included.
func (s partSet) rests() partSet {
	for p := len(parts) - 1; p >= 0; p-- {
		if s&(1<<p) != 0 {
			s |= setOf(parts[p].needs)
		}
	}
	return s
}

// why says what it means that the parts of s are broken: those that are
// broken only because they need another of s are left out.
func (s partSet) why() (fact, source string) {
	var facts []string
	for p, part := range parts {
		if one := setOf([]Part{Part(p)}); s&one == 0 || s&one.rests() != one {
			continue
		}
		facts = append(facts, part.broken)
		source = cmp.Or(source, part.source)
	}
	return strings.Join(facts, "; "), source
}

// last is the last part of a set; -1 for the empty one.
func (s partSet) last() Part {
	p := PartSession
	for p >= 0 && s&(1<<p) == 0 {
		p--
	}
	return p
}

// concerns narrows what a finding of the host breaks and shows to some of the
// parts that its kind may break and show: a closed way to ssmmessages alone
// does not silence the heartbeat. Call it for a finding whose Entry says more
// than is true of this one.
func (j *judge) concerns(code, object string, parts ...Part) {
	if object == j.h.ID {
		object = ""
	}
	if j.narrowed == nil {
		j.narrowed = map[fleet.Ref]partSet{}
	}
	j.narrowed[fleet.Ref{Code: code, Object: object}] |= setOf(parts)
}

// breaks is what a finding breaks, without what is proved to work all the same.
func (j *judge) breaks(f *fleet.Finding) partSet {
	return j.narrow(f, entries[f.Code].breaks()) &^ j.proved()
}

// shows is what a finding is the sign of.
func (j *judge) shows(f *fleet.Finding) partSet { return j.narrow(f, entries[f.Code].shows()) }

// proved is what the heartbeat and the control channel show to work. Names
// and certificates are those of both services: only both together prove them.
func (j *judge) proved() partSet {
	switch {
	case j.connected:
		return setOf([]Part{PartChannel}).rests()
	case j.heartbeat:
		return setOf([]Part{PartHeartbeat}).rests() &^ setOf([]Part{PartNames, PartTrust})
	}
	return 0
}

func (j *judge) narrow(f *fleet.Finding, s partSet) partSet {
	if only, ok := j.narrowed[f.Ref()]; ok {
		return s & only
	}
	return s
}

// link says which finding of the host brings which other about. A finding
// follows from those that break what it shows, if they are at least as sure
// and nearer to the machine; of two where one follows from the other, only the
// nearer is named. The findings have to be in order.
func (j *judge) link() {
	var deciding []*fleet.Finding
	for i := range j.findings {
		if f := &j.findings[i]; f.Severity >= fleet.SeverityUnknown {
			deciding = append(deciding, f)
		}
	}
	slices.SortStableFunc(deciding, func(x, y *fleet.Finding) int { return int(j.depth(x)) - int(j.depth(y)) })
	above := make([]map[int]bool, len(deciding)) // all that a finding follows from
	for i, f := range deciding {
		above[i] = map[int]bool{}
		rests := j.shows(f).rests()
		var from []int
		for k, cause := range deciding[:i] {
			if cause.Code != f.Code && cause.Severity >= f.Severity && (rests&j.breaks(cause) != 0 || j.sameHop(cause, f)) {
				from = append(from, k)
				above[i][k] = true
			}
		}
		for _, k := range from {
			for further := range above[k] {
				above[i][further] = true
			}
		}
		for _, k := range from {
			if slices.ContainsFunc(from, func(nearer int) bool { return above[nearer][k] }) {
				continue
			}
			cause := deciding[k]
			f.Because = append(f.Because, cause.Ref())
			why, source := (rests & j.breaks(cause)).why()
			if why == "" {
				why, source = cause.Object+" stops both", "computed path"
			}
			f.Evidence = append(f.Evidence, fleet.Evidence{Fact: fmt.Sprintf("it follows from %s: %s", cause.Code, why), Source: source})
		}
	}
}

// depth is how far from the machine a finding stands: at the last part that it
// is the sign of. One that shows that a way is broken which only sessions need
// comes after all that show it of the agent's own ways.
func (j *judge) depth(f *fleet.Finding) Part {
	shows := j.shows(f)
	if shows != 0 && j.breaks(f) == setOf([]Part{PartSession}) {
		return PartSession
	}
	return shows.last()
}

// afterConnecting is 1 for a finding that hurts only sessions, which come after
// the agent has connected, and 0 for others. What a role lacks is put right at
// one go, the rights that only sessions need included.
func (j *judge) afterConnecting(f *fleet.Finding) int {
	if !j.connected && entries[f.Code].Area != "identity" && j.breaks(f) == setOf([]Part{PartSession}) {
		return 1
	}
	return 0
}

// sameHop reports whether what stops the agent's way stops, as the same hop,
// a way that only sessions need.
func (j *judge) sameHop(cause, f *fleet.Finding) bool {
	session := setOf([]Part{PartSession})
	return f.Object != "" && cause.Object == f.Object && entries[cause.Code].Area == entries[f.Code].Area &&
		j.breaks(f) == session && j.breaks(cause)&^session != 0
}

// causes gives the verdict its root causes, the deciding one first. The
// findings have to be in order and linked.
func (j *judge) causes(v *fleet.HostVerdict) {
	for _, chain := range fleet.Chains(j.findings) {
		if r := chain[0].Ref(); !slices.Contains(v.Causes, r) {
			v.Causes = append(v.Causes, r)
		}
	}
	if i := slices.IndexFunc(v.Causes, j.settles); v.Verdict == fleet.VerdictUnknown && i > 0 {
		first := v.Causes[i]
		v.Causes = slices.Insert(slices.Delete(v.Causes, i, i+1), 0, first)
	}
	if v.Causes != nil {
		v.Cause = v.Causes[0].Code
	}
}

// settles reports whether a finding is a silence of Systems Manager, whose
// answer would settle every doubt about the way to it.
func (j *judge) settles(r fleet.Ref) bool {
	return r.Code == "node-unknown" || r.Code == "connection-unknown"
}
