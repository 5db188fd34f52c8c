package readiness

import "ssm-migrate/internal/fleet"

// features are what Session Manager can do, with the first agent that can.
// Where AWS's release notes and User Guide differ, the higher number counts.
// Sources: amazon-ssm-agent release notes; AWS Systems Manager User Guide,
// session-manager-prerequisites and session-manager-working-with-sessions-start.
var features = [...]struct {
	name  string
	first string
	// uses reports whether the Region's preferences ask for it; nil: people
	// may ask for it at any time.
	uses func(fleet.SessionInputs) bool
	// refuses: a session that the preferences ask to have it does not open
	// without it.
	refuses bool
}{
	{"encryption of sessions by KMS", "2.3.539.0", func(in fleet.SessionInputs) bool { return in.Key != "" }, true},
	{"Run As", "2.3.672.0", func(in fleet.SessionInputs) bool { return in.RunAs }, true},
	{"the shell profile (release notes; the User Guide says 3.0.161.0)", "3.0.196.0", func(in fleet.SessionInputs) bool { return in.LinuxProfile != "" }, false},
	{"SSH, SCP and port forwarding (User Guide; the release notes say 2.3.672.0)", "3.0.222.0", nil, false},
	{"streaming of session logs to CloudWatch Logs (release notes; the User Guide says 3.0.284.0)", "3.0.356.0",
		func(in fleet.SessionInputs) bool { return in.LogGroup != "" && in.Streaming }, false},
	{"port forwarding to remote hosts", "3.1.1374.0", nil, false},
}

// lacks tells what an agent of the given version cannot do: what the
// preferences of the Region require, and what people may want.
func (j *judge) lacks(v version) (required, wanted []fleet.Evidence) {
	in := j.settings(j.r).inputs
	for _, f := range features {
		if first, _ := parseVersion(f.first); !v.below(first) || f.uses != nil && !f.uses(in) {
			continue
		}
		e := fleet.Evidence{Fact: f.name + " needs " + f.first, Source: guide + "session-manager-prerequisites"}
		switch {
		case f.uses != nil:
			e = evidence(j.r.Preferences, "the preferences ask for %s, which needs %s", f.name, f.first)
			if f.refuses {
				required = append(required, e)
				continue
			}
			fallthrough
		default:
			wanted = append(wanted, e)
		}
	}
	return required, wanted
}
