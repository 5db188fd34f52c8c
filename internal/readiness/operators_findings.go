package readiness

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

const sourcePolicies = "iam:GetAccountAuthorizationDetails"

// findings judges how operators' rights are written. Administrators may do
// everything, sessions included: that is no finding about sessions.
func (w *workforce) findings() []fleet.Finding {
	out := w.unread()
	for _, x := range w.actors {
		if x.admin || !x.acts() && x.keyless == "" {
			continue
		}
		shapes := w.shapes(x)
		shut := slices.ContainsFunc(shapes, func(f fleet.Finding) bool { return f.Code == "operator-tag-on-document" })
		out = append(out, w.grants(x, shut)...)
		out = append(out, shapes...)
	}
	return out
}

// unread tells of accounts whose IAM users were asked for and are not known.
func (w *workforce) unread() []fleet.Finding {
	var out []fleet.Finding
	for i := range w.snapshot.Accounts {
		a := &w.snapshot.Accounts[i]
		if a.Users.Source == "" || a.Users.Known {
			continue
		}
		facts := []fleet.Evidence{evidence(a.Users, "IAM users are not known%s", because(a.Users.Reason))}
		if !a.Roles.Known {
			facts = append(facts, evidence(a.Roles, "roles are not known%s", because(a.Roles.Reason)))
		}
		out = append(out, found("operators-unread", "", a.ID, "", "everybody in account "+cmp.Or(a.ID, a.Label), facts))
	}
	return out
}

func (w *workforce) finding(x *actor, code, format string, args ...any) fleet.Finding {
	who := fleet.Count(1, x.kind)
	if x.kind == "role" {
		who = "whoever assumes the role"
	}
	if len(x.people) > 0 {
		who += ": " + strings.Join(x.people, ", ")
	}
	return found(code, "", x.arn, "", who, []fleet.Evidence{{Fact: fmt.Sprintf(format, args...), Source: sourcePolicies}})
}

// grants judges what an actor may do; shut says that a finding of its own tells
// why the documents that it names are out of its reach.
func (w *workforce) grants(x *actor, shut bool) []fleet.Finding {
	var out []fleet.Finding
	add := func(code, format string, args ...any) {
		out = append(out, w.finding(x, code, format, args...))
	}
	o := x.operator(len(w.snapshot.Hosts))
	if x.anywhere == yes {
		add("operator-unrestricted", "it may start sessions on any instance of account %s: %s", x.account, o.Why)
	}
	if x.edit == yes {
		add("operator-edits-preferences", "it may change document %s", fleet.PreferencesName)
	}
	if o.Command.Yes > 0 {
		add("operator-root-command", "it may send %s %s", shellScript, onHosts(o.Command))
	}
	if o.Resume.Yes > 0 || o.Terminate.Yes > 0 {
		add("operator-others-sessions", "it may resume other people's sessions %s, and end them %s", onHosts(o.Resume), onHosts(o.Terminate))
	}
	if shut := x.withoutChannel(); len(shut) > 0 {
		add("operator-data-channel", "no policy lets it call ssmmessages:OpenDataChannel for its sessions in %s", listed(shut))
	}
	named := namedDocuments(x.may)
	meant := slices.ContainsFunc(named, func(n string) bool { return glob(n, fleet.PreferencesName) })
	stray := x.implicit && len(named) > 0 && !meant // the shell comes by a grant that is for something else
	if x.keyless != "" && !stray {
		add("operator-session-key", "%s", x.keyless)
	}
	switch {
	case stray && x.keyless != "":
		add("operator-document-unchecked", "its policies name %s only, and do not ask for ssm:SessionDocumentAccessCheck; on some hosts only the key of their sessions keeps the shell from it: %s", listed(named), x.keyless)
	case stray:
		add("operator-document-unchecked", "its policies name %s only, and do not ask for ssm:SessionDocumentAccessCheck", listed(named))
	case x.implicit && meant && !shut:
		add("operator-document-implicit", "it may start sessions, but what its policies grant of document %s does not hold for all of them: %s", fleet.PreferencesName, o.Why)
	case x.implicit && !meant:
		add("operator-document-implicit", "it may start sessions, but no policy names document %s: %s", fleet.PreferencesName, o.Why)
	}
	return out
}

// withoutChannel lists the Regions where an actor may start sessions and not
// open their data channel.
func (x *actor) withoutChannel() []string {
	var out []string
	for c, r := range x.reach {
		if region := x.where.classes[c].example.Region; r.start > no && x.channels[region] == no && !slices.Contains(out, region) {
			out = append(out, region)
		}
	}
	return out
}

// namedDocuments lists the document patterns that grants of StartSession name.
func namedDocuments(p permissions) []string {
	var out []string
	for _, s := range p.about("ssm:StartSession").identity {
		if s.statement == nil || !s.allow || s.notResource {
			continue
		}
		for _, r := range s.resources {
			if _, name, ok := strings.Cut(r.text, ":document/"); ok && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

// shapes judges statements that do not do what they look like.
func (w *workforce) shapes(x *actor) []fleet.Finding {
	var out []fleet.Finding
	for _, s := range x.may.about("ssm:StartSession").identity {
		if s.statement == nil || !s.allow {
			continue
		}
		tags := tagKeys(s.condition)
		if len(tags) == 0 {
			continue
		}
		if names := documentsOf(s.statement); len(names) > 0 && w.failsOn(x, names) {
			out = append(out, w.finding(x, "operator-tag-on-document", "%s demands %s of %s in one statement with the instances", s.policy.name, listed(tags), listed(names)))
		}
		if why := w.matchesNothing(x, s.statement, tags); why != "" {
			out = append(out, w.finding(x, "operator-tags-match-nothing", "%s: %s", s.policy.name, why))
		}
	}
	if x.kind == "role" {
		if name := usernameIn(x.may); name != "" {
			out = append(out, w.finding(x, "operator-username-variable", "%s uses ${aws:username}, which sessions of a role do not have", name))
		}
	}
	return dropRepeats(out)
}

// tagKeys lists the conditions on a resource's tags, as the policy writes them.
func tagKeys(c condition) []string {
	var out []string
	for _, x := range c {
		for _, f := range tagFamilies {
			if strings.HasPrefix(x.key, f) && !strings.Contains(x.key, "aws:ssmmessages:") {
				out = append(out, x.written)
			}
		}
	}
	slices.SortFunc(out, func(a, b string) int {
		return cmp.Or(strings.Compare(strings.ToLower(a), strings.ToLower(b)), strings.Compare(a, b))
	})
	return slices.CompactFunc(out, strings.EqualFold)
}

func documentsOf(s *statement) []string {
	var out []string
	for _, r := range s.resources {
		if _, name, ok := strings.Cut(r.text, ":document/"); ok && !s.notResource {
			out = append(out, name)
		}
	}
	return out
}

// failsOn reports whether an actor may use none of the documents, in spite of
// a statement that names them.
func (w *workforce) failsOn(x *actor, names []string) bool {
	for _, region := range w.regions[x.account] {
		for _, name := range names {
			owner := x.account
			if strings.HasPrefix(name, "AWS-") {
				owner = ""
			}
			if x.ask("ssm:StartSession", x.document(region, owner, name), regionValues(region), untagged, checked).allowed == yes {
				return false
			}
		}
	}
	return true
}

// matchesNothing says why a statement's tag conditions hold on none of the
// account's hosts that its resources name; empty when they hold somewhere, or may.
func (w *workforce) matchesNothing(x *actor, s *statement, tags []string) string {
	hosts, best := 0, no
	for _, c := range x.where.classes {
		ctx := requestContext{x.context, c.values, checked}
		if s.covers(instanceARN(x.arn, c.example), ctx) == no {
			continue
		}
		hosts += c.hosts
		best = max(best, s.condition.holds(ctx))
	}
	if hosts == 0 || best != no {
		return ""
	}
	for _, c := range s.condition {
		for _, v := range c.values {
			for _, key := range v.keys() {
				if values, known := (requestContext{x.context}).lookup(key); known && len(values) == 0 {
					return fmt.Sprintf("it compares tags with ${%s}, which the %s does not have", key, x.kind)
				}
			}
		}
	}
	for _, key := range tags {
		if !slices.ContainsFunc(x.where.classes, func(c class) bool { _, has := c.values[strings.ToLower(key)]; return has }) {
			return fmt.Sprintf("it demands %s, and none of %s has that tag", key, fleet.Count(hosts, "host"))
		}
	}
	return fmt.Sprintf("what it demands of %s holds on none of %s", listed(tags), fleet.Count(hosts, "host"))
}

// usernameIn names the first policy about sessions that uses ${aws:username}.
func usernameIn(p permissions) string {
	for _, action := range []string{"ssm:StartSession", "ssm:ResumeSession", "ssm:TerminateSession", "ssmmessages:OpenDataChannel"} {
		for _, s := range p.about(action).identity {
			if s.statement != nil && slices.Contains(s.variables(), "aws:username") {
				return s.policy.name
			}
		}
	}
	return ""
}

// variables lists the condition keys that a statement's policy variables name.
func (s *statement) variables() []string {
	var out []string
	for _, r := range s.resources {
		out = append(out, r.keys()...)
	}
	for _, c := range s.condition {
		for _, v := range c.values {
			out = append(out, v.keys()...)
		}
	}
	return out
}

// dropRepeats keeps the first of findings that say the same of the same principal.
func dropRepeats(all []fleet.Finding) []fleet.Finding {
	var out []fleet.Finding
	for _, f := range all {
		if !slices.ContainsFunc(out, func(o fleet.Finding) bool { return o.Ref() == f.Ref() }) {
			out = append(out, f)
		}
	}
	return out
}
