package tui

import (
	"ssm-migrate/internal/filter"
	"ssm-migrate/internal/fleet"
)

// filterHelp explains the language of filters to the operator.
func filterHelp() [][2]string {
	out := [][2]string{
		{"web", "“web” is somewhere in name, ID, address, tags, cause, place, …"},
		{"status:blocked", ": is a part of the value"},
		{"az=eu-west-1a", "= is the whole value; nothing after it means “has none”"},
		{"team=web", "a tag; tag:az=x for tags named like a key"},
		{"keys>5 age<=30d", "numbers; ages in m, h, d, w, y"},
		{"-ready -asg=", "- turns a term around"},
		{`owner="Ann Lee"`, "quotes keep blanks together; all terms must hold"},
	}
	for _, k := range filter.Keys() {
		name := k.Name
		if k.Also != "" {
			name += ", " + k.Also
		}
		out = append(out, [2]string{name, k.Help})
	}
	return out
}

// subject is the row as a filter looks at it: with the texts that are shown.
func (r *row) subject() filter.Subject {
	return filter.Subject{Host: r.host, Name: r.name, Verdict: r.verdict, Cause: r.cause, Findings: r.findings, Agent: r.agent, OS: r.os, Keys: r.keys, Text: r.text}
}

func newRow(h *fleet.Host, v fleet.HostVerdict, findings []fleet.Finding) row {
	s := filter.NewSubject(h, v, findings)
	r := row{
		host: h, verdict: v.Verdict, cause: clean(v.Cause), findings: findings, paths: v.Paths,
		name: clean(s.Name), agent: clean(s.Agent), os: clean(s.OS), keys: s.Keys,
	}
	seen := r.subject()
	r.text = seen.Words()
	return r
}
