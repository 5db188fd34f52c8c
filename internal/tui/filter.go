package tui

import (
	"slices"
	"strconv"
	"strings"

	"ssm-migrate/internal/fleet"
)

// filter is a parsed filter: a host passes when every term does. The zero
// filter passes every host. See filterHelp for the language.
type filter []term

type term struct {
	not   bool
	field string // empty: a plain word
	tag   string // tag key, for field "tag"
	exact bool   // "=": the whole value; ":" : a part of it
	want  string // lower case
}

// filterHelp explains the language to the operator.
var filterHelp = [][2]string{
	{"web", "the row contains “web” anywhere: name, ID, cause, zone, tags, …"},
	{"status:blocked", "blocked, ready or unknown"},
	{"az=eu-west-1a", "= is the whole value, : is a part of it"},
	{"team=web", "any other key with = is a tag; tag:az=x for tags named like a key"},
	{"-ready  -asg=", "- turns a term around; an empty value means “has none”"},
	{`owner="Ann Lee"`, "quotes keep blanks together; all terms must hold"},
}

// filterKeys are the keys that are not taken for tags.
var filterKeys = []string{"status", "cause", "finding", "name", "id", "account", "region", "az", "vpc", "subnet", "asg", "os", "agent", "state", "type", "image", "ip", "keys", "group", "profile", "keypair"}

// parseFilter reads a filter. Every text is a filter: what has no key is
// looked for as it stands.
func parseFilter(s string) filter {
	var out filter
	for _, word := range splitWords(s) {
		t := term{}
		if len(word) > 1 && word[0] == '-' {
			t.not, word = true, word[1:]
		}
		t.field, t.tag, t.want, t.exact = parseTerm(word)
		t.want = strings.ToLower(t.want)
		out = append(out, t)
	}
	return out
}

func parseTerm(word string) (field, tag, want string, exact bool) {
	i := strings.IndexAny(word, "=:")
	if i <= 0 {
		return "", "", word, false
	}
	key, value := strings.ToLower(word[:i]), word[i+1:]
	switch {
	case key == "tag":
		if t, v, ok := strings.Cut(value, "="); ok {
			return "tag", t, v, true
		}
		return "tag", value, "", false
	case slices.Contains(filterKeys, key):
		return key, "", value, word[i] == '='
	case word[i] == '=':
		return "tag", word[:i], value, true
	}
	return "", "", word, false // an ARN, a fingerprint, an IPv6 address
}

// splitWords splits at blanks outside of double quotes, which are dropped.
func splitWords(s string) []string {
	var out []string
	var b strings.Builder
	quoted, open := false, false
	for _, r := range s {
		switch {
		case r == '"':
			quoted, open = !quoted, true
		case r == ' ' && !quoted:
			if b.Len() > 0 || open {
				out = append(out, b.String())
			}
			b.Reset()
			open = false
		default:
			b.WriteRune(r)
		}
	}
	if b.Len() > 0 || open {
		out = append(out, b.String())
	}
	return slices.DeleteFunc(out, func(w string) bool { return w == "" })
}

func (f filter) match(r *row) bool {
	for i := range f {
		if f[i].match(r) == f[i].not {
			return false
		}
	}
	return true
}

func (t *term) match(r *row) bool {
	switch t.field {
	case "":
		return strings.Contains(r.text, t.want)
	case "tag":
		return t.matchTag(r.host.Tags)
	case "finding":
		return slices.ContainsFunc(r.findings, func(f fleet.Finding) bool { return t.holds(f.Code) })
	case "group":
		return slices.ContainsFunc(r.host.Groups, t.holds)
	}
	return t.holds(r.field(t.field))
}

func (t *term) matchTag(tags map[string]string) bool {
	value, ok := tags[t.tag]
	if !ok {
		for k, v := range tags {
			if strings.EqualFold(k, t.tag) {
				value, ok = v, true
				break
			}
		}
	}
	if t.want == "" && t.exact {
		return value == ""
	}
	return ok && t.holds(value)
}

func (t *term) holds(value string) bool {
	if t.exact {
		return strings.EqualFold(value, t.want)
	}
	return strings.Contains(strings.ToLower(value), t.want)
}

// field gives a row's value for one of filterKeys.
func (r *row) field(key string) string {
	h := r.host
	switch key {
	case "status":
		return r.verdict.String()
	case "cause":
		return r.cause
	case "name":
		return r.name
	case "id":
		return h.ID
	case "account":
		return h.Account
	case "region":
		return h.Region
	case "az":
		return h.AZ
	case "vpc":
		return h.VPC
	case "subnet":
		return h.Subnet
	case "asg":
		return h.AutoScalingGroup
	case "os":
		return r.os
	case "agent":
		return r.agent
	case "state":
		return h.State
	case "type":
		return h.InstanceType
	case "image":
		return h.ImageID
	case "ip":
		return address(h.PrivateIP)
	case "keys":
		return keysCell(r.keys)
	case "profile":
		return h.ProfileARN
	case "keypair":
		return h.KeyName
	}
	return ""
}

// quoteTerm makes a term that matches exactly one value of a key.
func quoteTerm(key, value string) string {
	if strings.ContainsRune(value, ' ') {
		value = strconv.Quote(value)
	}
	return key + "=" + value
}
