package readiness

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"ssm-migrate/internal/fleet"
)

// Assess judges every host of a snapshot. Verdicts speak of the moment at
// which the snapshot was taken; now is when it is judged, and decides only
// how old the snapshot is. A floor of p that is no version counts as the
// default's. The result shares nothing with s and does not change it.
//
// A host is blocked when a finding of SeverityBlocks concerns it, else unknown
// when one of SeverityUnknown does, else ready. Its causes are those of such
// findings that follow from no other, in the catalogue's order, those that
// hurt only sessions after those that keep the agent off; where Systems
// Manager did not answer, that comes first, as its answer would settle the
// other doubts.
// Findings about a shared thing (a role, a key) carry no host and come last.
func Assess(s *fleet.Snapshot, p Policy, now time.Time) *fleet.Assessment {
	a := newAssessor(s, p, now)
	out := &fleet.Assessment{Snapshot: s.ID, At: now, Hosts: make([]fleet.HostVerdict, 0, len(s.Hosts))}
	for i := range s.Hosts {
		verdict, findings := a.host(&s.Hosts[i])
		out.Hosts = append(out.Hosts, verdict)
		out.Findings = append(out.Findings, findings...)
	}
	out.Findings = append(out.Findings, a.shared()...)
	out.Paths = a.network.paths()
	out.Operators = a.operators()
	out.Ledger = a.ledger()
	out.Parity = a.parity()
	out.Findings = append(out.Findings, a.peopleFindings(out)...)
	return out
}

func newAssessor(s *fleet.Snapshot, p Policy, now time.Time) *assessor {
	index := newIndex(s)
	a := &assessor{
		snapshot:        s,
		policy:          p,
		now:             now,
		index:           index,
		network:         newNetwork(index, s),
		iam:             newAuthority(s),
		functionalFloor: floor(p.FunctionalFloor, DefaultPolicy().FunctionalFloor),
		securityFloor:   floor(p.SecurityFloor, DefaultPolicy().SecurityFloor),
		keys:            newKeyring(s),
		unservedMemo:    map[string]string{},
		people:          newRegistry(s, p.Owners),
		preferred:       map[*fleet.Region]*sessionSettings{},
	}
	a.iam.countUsers(s)
	return a
}

// assessor holds what the judgement of one snapshot shares between hosts.
type assessor struct {
	snapshot        *fleet.Snapshot
	policy          Policy
	now             time.Time
	index           *index
	network         *network
	iam             *authority
	functionalFloor version
	securityFloor   version
	keys            *keyring
	unservedMemo    map[string]string // by account ID and Region name
	people          *registry
	preferred       map[*fleet.Region]*sessionSettings
}

// judge collects the findings on one host.
type judge struct {
	*assessor
	h         *fleet.Host
	r         *fleet.Region
	heartbeat bool // Systems Manager hears the agent: ssm is reached and the credentials work
	connected bool // the agent also holds its control channel open: ssmmessages is reached
	symptom   bool // Session Manager is known not to reach the agent
	findings  []fleet.Finding
	narrowed  map[fleet.Ref]partSet // see concerns
	paths     []int                 // the host's ways, as network.paths lists them
	agentIdentity
}

const sourceInstances = "ec2:DescribeInstances"

func (a *assessor) host(h *fleet.Host) (fleet.HostVerdict, []fleet.Finding) {
	j := &judge{assessor: a, h: h, r: a.index.region(h)}
	if !h.Running() {
		j.add("instance-not-running", h.ID, "", j.ec2("the instance is %s", quoted(h.State)))
		return j.verdict(), j.findings
	}
	j.node()
	j.identity()
	j.egress()
	j.clock()
	j.agent()
	j.health()
	j.preferences()
	j.ssh()
	j.unexplained()
	slices.SortStableFunc(j.findings, func(x, y fleet.Finding) int {
		return cmp.Or(
			-cmp.Compare(x.Severity, y.Severity),
			cmp.Compare(j.afterConnecting(&x), j.afterConnecting(&y)),
			cmp.Compare(ranks[x.Code], ranks[y.Code]),
			cmp.Compare(x.Object, y.Object),
		)
	})
	j.link()
	return j.verdict(), j.findings
}

// verdict needs the findings in order and linked.
func (j *judge) verdict() fleet.HostVerdict {
	v := fleet.HostVerdict{Host: j.h.ID, Verdict: fleet.VerdictReady, Paths: j.paths}
	switch {
	case len(j.findings) == 0:
		return v
	case j.findings[0].Severity == fleet.SeverityBlocks:
		v.Verdict = fleet.VerdictBlocked
	case j.findings[0].Severity == fleet.SeverityUnknown:
		v.Verdict = fleet.VerdictUnknown
	}
	j.causes(&v)
	return v
}

// add records a finding. The object is the shared thing at fault; the host's
// own ID stands for none. An empty fix is the catalogue's.
func (j *judge) add(code, object, fix string, evidence ...fleet.Evidence) {
	if object == j.h.ID {
		j.addHere(code, fix, hostOnly, evidence...)
		return
	}
	j.findings = append(j.findings, found(code, j.h.ID, object, fix, j.index.blast(object), evidence))
}

// hostOnly is the blast radius of a change on one host.
const hostOnly = "this host only"

// addHere records a finding about the host itself, whose fix may touch others.
func (j *judge) addHere(code, fix, blast string, evidence ...fleet.Evidence) {
	j.findings = append(j.findings, found(code, j.h.ID, "", fix, blast, evidence))
}

func found(code, host, object, fix, blast string, evidence []fleet.Evidence) fleet.Finding {
	e := entry(code)
	return fleet.Finding{
		Code:     code,
		Host:     host,
		Object:   object,
		Severity: e.Severity,
		Title:    e.Title,
		Evidence: evidence,
		Fix:      cmp.Or(fix, e.Fix),
		Blast:    blast,
		Undo:     e.Undo,
	}
}

// ec2 is evidence from the host's own record.
func (j *judge) ec2(format string, args ...any) fleet.Evidence {
	return fleet.Evidence{Fact: fmt.Sprintf(format, args...), Source: sourceInstances, At: j.r.Instances.At}
}

// uncollected is the source of a fact that nobody asked for.
const uncollected = "not collected"

// evidence is a text that rests on a fact, with the fact's source and time.
func evidence[T any](f fleet.Fact[T], format string, args ...any) fleet.Evidence {
	return fleet.Evidence{Fact: fmt.Sprintf(format, args...), Source: cmp.Or(f.Source, uncollected), At: f.At}
}

func (h hop) evidence(prefix string) fleet.Evidence {
	return fleet.Evidence{Fact: prefix + h.text, Source: h.source, At: h.at}
}

// quoted makes text from a host or an API safe and short enough to show.
func quoted(s string) string {
	const most = 120
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strconv.QuoteToGraphic(s)
}

// because appends a reason, which may hold a host's or an API's own words.
func because(reason string) string {
	if reason == "" {
		return ""
	}
	const most = 300
	if len(reason) > most {
		reason = reason[:most] + "…"
	}
	return ": " + strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(reason, "?"))
}

// shared gives the findings about things that many hosts share.
func (a *assessor) shared() []fleet.Finding {
	out := append(a.identityFindings(), a.preferencesFindings()...)
	out = append(out, a.network.hazards(a.snapshot)...)
	out = append(out, a.keys.findings(a.policy, a.people)...)
	out = append(out, a.templates()...)
	out = append(out, a.strays()...)
	if end := a.snapshot.Finished; !end.IsZero() && a.now.Sub(end) > a.policy.MaxAge {
		days := int(a.now.Sub(end).Hours() / 24)
		out = append(out, found("snapshot-stale", "", "", "", fleet.Count(len(a.snapshot.Hosts), "host"), []fleet.Evidence{{
			Fact: fmt.Sprintf("the snapshot ended %s before it was judged", fleet.Count(days, "day")), Source: "snapshot", At: end,
		}}))
	}
	return out
}
