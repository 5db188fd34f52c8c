package readiness

import (
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// runAsTag names the tag of IAM users and roles that says as whom their sessions run.
// Source: AWS Systems Manager User Guide, session-preferences-run-as.
const runAsTag = "SSMSessionRunAs"

// runAs judges the accounts that sessions run as. With Run As on there is no
// way back to ssm-user: without the account the session does not start. It is
// for Linux and macOS only.
func (j *judge) runAs(s *sessionSettings) {
	if !s.inputs.RunAs || j.h.Windows() {
		return
	}
	tagged := j.iam.runAsTags(j.h.Account)
	user := strings.TrimSpace(s.inputs.RunAsUser)
	on := evidence(s.fact, "the preferences turn Run As on with %s", userOrNone(user))
	switch {
	case user == "" && len(tagged.names) == 0 && tagged.whole:
		j.addToSession("runas-user-unset", "", on, tagged.evidence("no IAM user or role has the tag "+runAsTag))
	case user == "":
		j.findTaggedUser(tagged, on)
		s.once("runas-user-unset-untagged", j.h.Account+"/"+j.h.Region, j.regionBlast(), on, tagged.evidence("whoever lacks the tag "+runAsTag+" cannot start a session"))
	case user == "root":
		j.addToSession("runas-user-root", user, on)
	default:
		j.runAsExists(user, on)
	}
	j.taggedUsers(s, tagged)
}

func userOrNone(user string) string {
	if user == "" {
		return "no default user"
	}
	return "the default user " + quoted(user)
}

// findTaggedUser looks for an account of those that users and roles are
// tagged with, where there is no default user: without any, nobody can open a
// session on the host. It reports when it finds none.
func (j *judge) findTaggedUser(tagged *runAsTags, on fleet.Evidence) {
	const most = 5
	best := no
	facts := []fleet.Evidence{on}
	for _, name := range tagged.names {
		if name == "root" {
			continue // refused wherever it exists
		}
		there, from := j.hasUser(name)
		if there == yes {
			return
		}
		if best = max(best, there); len(facts) <= most {
			facts = append(facts, from)
		}
	}
	switch {
	case !tagged.whole:
		j.undecided("", append(facts, tagged.evidence("which users and roles have the tag "+runAsTag+" is not fully known"))...)
	case best == maybe:
		j.undecided("", facts...)
	default:
		fix := "create an account that the tags name on the host (useradd -m NAME), by whatever sets the hosts up, or name a default user that exists on all of them"
		facts = append(facts, tagged.evidence("the tag "+runAsTag+" names nobody else, or root, as whom sessions are refused"))
		j.findings = append(j.findings, found("runas-user-missing", j.h.ID, "", fix, hostOnly, facts))
	}
}

// runAsExists looks for the default user on the host. A domain's users need
// not be in the host's own list.
func (j *judge) runAsExists(user string, on fleet.Evidence) {
	switch there, from := j.hasUser(user); there {
	case no:
		fix := "create user " + user + " on the host (useradd -m " + user + "), by whatever sets the hosts up, or name an account in the preferences that exists on all of them"
		j.findings = append(j.findings, found("runas-user-missing", j.h.ID, user, fix, hostOnly, []fleet.Evidence{on, from}))
	case maybe:
		j.undecided(user, on, from)
	}
}

func (j *judge) hasUser(name string) (answer, fleet.Evidence) {
	users := j.h.Probe.Value.Users
	switch {
	case !j.h.Probe.Known:
		return maybe, evidence(j.h.Probe, "whether the host has user %s is not known%s", quoted(name), because(j.h.Probe.Reason))
	case slices.ContainsFunc(users.Value, func(u fleet.User) bool { return u.Name == name }):
		return yes, evidence(users, "the host has user %s", quoted(name))
	case !users.Known:
		return maybe, evidence(users, "whether the host has user %s is not known%s", quoted(name), because(users.Reason))
	case strings.ContainsAny(name, `@\`):
		return maybe, evidence(users, "user %s of a domain is not in the host's list of users, which need not hold those of a domain", quoted(name))
	}
	return no, evidence(users, "the host has no user %s", quoted(name))
}

// taggedUsers looks for the accounts that IAM users and roles are tagged with.
func (j *judge) taggedUsers(s *sessionSettings, tagged *runAsTags) {
	const most = 5
	var missing []string
	var from fleet.Evidence
	for _, name := range tagged.names {
		if name == "root" {
			s.once("runas-tag-root", j.h.Account, "whoever has the tag", tagged.evidence("the tag "+runAsTag+" of "+tagged.who[name]+" is root"))
			continue
		}
		if there, e := j.hasUser(name); there == no {
			missing, from = append(missing, quoted(name)+" (of "+tagged.who[name]+")"), e
		}
	}
	if missing == nil {
		return
	}
	if n := len(missing); n > most {
		missing = append(missing[:most], fleet.Count(n-most, "further user"))
	}
	from.Fact = "the host has no user " + strings.Join(missing, ", ")
	j.addHere("runas-tag-user-missing", "", hostOnly, from, tagged.evidence("the tag "+runAsTag+" names them"))
}

// runAsTags are the accounts that an AWS account's users and roles run sessions as.
type runAsTags struct {
	names []string          // sorted
	who   map[string]string // by name: one ARN that has it
	whole bool              // all users and roles were read
	facts []fleet.Evidence
}

func (t *runAsTags) evidence(text string) fleet.Evidence {
	e := fleet.Evidence{Fact: text, Source: uncollected}
	for _, f := range t.facts {
		if f.Source != uncollected {
			e.Source, e.At = f.Source, f.At
			break
		}
	}
	return e
}

func (a *authority) runAsTags(account string) *runAsTags {
	if t := a.runAs[account]; t != nil {
		return t
	}
	t := &runAsTags{who: map[string]string{}, whole: len(a.accounts[account]) > 0}
	note := func(tags map[string]string, arn string) {
		if name := strings.TrimSpace(tags[runAsTag]); name != "" && t.who[name] == "" {
			t.who[name] = arn
			t.names = append(t.names, name)
		}
	}
	for _, acct := range a.accounts[account] {
		t.whole = t.whole && acct.Users.Known && acct.Roles.Known
		t.facts = append(t.facts, evidence(acct.Users, ""), evidence(acct.Roles, ""))
	}
	for _, v := range a.users {
		if fleet.ARNAccount(v.user.ARN) == account {
			note(v.user.Tags, v.user.ARN)
		}
	}
	for _, v := range a.order {
		if fleet.ARNAccount(v.role.ARN) == account {
			note(v.role.Tags, v.role.ARN)
		}
	}
	slices.Sort(t.names)
	a.runAs[account] = t
	return t
}
