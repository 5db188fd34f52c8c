package readiness

import "strings"

// glob matches the wildcards of IAM's policies and OpenSSH's patterns: * for any
// run of characters, ? for one.
func glob(pattern, s string) bool { return globMasked(pattern, nil, s) }

// globMasked is glob for a pattern some of whose bytes stand for themselves
// even where they are wildcards; a nil mask has none of those.
func globMasked(pattern string, literal []bool, s string) bool {
	wild := func(p int, c byte) bool { return pattern[p] == c && (literal == nil || !literal[p]) }
	p, i := 0, 0
	star, mark := -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && wild(p, '*'):
			star, mark = p, i
			p++
		case p < len(pattern) && (wild(p, '?') || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && wild(p, '*') {
		p++
	}
	return p == len(pattern)
}

// pattern is a policy's value in which variables and wildcards may stand.
type pattern struct {
	text      string
	variables bool // text holds variables that are to be replaced
}

// newPattern reads a value of a document of the given language version. Only
// version 2012-10-17 knows variables; elsewhere they are plain text.
// Source: IAM User Guide, reference_policies_variables.
func newPattern(text, version string) pattern {
	return pattern{text: text, variables: version == languageVersion && strings.Contains(text, "${")}
}

// expanded is a pattern whose variables were replaced.
type expanded struct {
	text    string
	literal []bool // bytes of text that are no wildcards; nil: none
	absent  bool   // a variable has no value: it matches nothing
	unsure  bool   // a variable's value is not known and stands as *
}

// expand replaces variables by what is known of the request. A variable
// without a value makes the whole match nothing, unless it has a default.
// Source: IAM User Guide, reference_policies_variables (policy-vars-no-value,
// policy-vars-default-values, policy-vars-specialchars).
func (p pattern) expand(ctx requestContext) expanded {
	if !p.variables {
		return expanded{text: p.text}
	}
	const room = 32 // for what replaces variables
	e := expanded{literal: make([]bool, 0, len(p.text)+room)}
	var text strings.Builder
	text.Grow(len(p.text) + room)
	add := func(s string, literal bool) {
		text.WriteString(s)
		for range len(s) {
			e.literal = append(e.literal, literal)
		}
	}
	for rest := p.text; rest != ""; {
		before, after, found := strings.Cut(rest, "${")
		add(before, false)
		if !found {
			break
		}
		var name string
		name, rest, found = strings.Cut(after, "}")
		value, state := variable(name, ctx)
		switch {
		case !found || state == maybe:
			e.unsure = true
			add("*", false)
		case state == no:
			e.absent = true
		default:
			add(value, true)
		}
	}
	e.text = text.String()
	return e
}

// variable gives what stands for ${name}: yes with its value, no when it has
// none, maybe when that is not known.
func variable(name string, ctx requestContext) (string, answer) {
	if name == "*" || name == "?" || name == "$" {
		return name, yes
	}
	key, fallback, hasDefault := strings.Cut(name, ",")
	if hasDefault {
		fallback = strings.TrimSpace(fallback)
		if len(fallback) < 2 || fallback[0] != '\'' || fallback[len(fallback)-1] != '\'' {
			return "", maybe
		}
		fallback = fallback[1 : len(fallback)-1]
	}
	values, known := ctx.lookup(strings.ToLower(strings.TrimSpace(key)))
	switch {
	case !known || len(values) > 1: // a key with several values cannot be a variable
		return "", maybe
	case len(values) == 1:
		return values[0], yes
	case hasDefault:
		return fallback, yes
	}
	return "", no
}

// matches compares by wildcards.
func (p pattern) matches(s string, ctx requestContext) answer {
	if !p.variables {
		return truth(p.text == "*" || glob(p.text, s))
	}
	return p.compare(ctx, func(e expanded) bool { return globMasked(e.text, e.literal, s) })
}

// equals compares without wildcards, byte by byte or without regard to case.
// A value with an unknown variable may be equal to anything of its shape.
func (p pattern) equals(s string, fold bool, ctx requestContext) answer {
	return p.compare(ctx, func(e expanded) bool {
		switch {
		case e.unsure && fold:
			return glob(strings.ToLower(e.text), strings.ToLower(s))
		case e.unsure:
			return glob(e.text, s)
		case fold:
			return strings.EqualFold(e.text, s)
		}
		return e.text == s
	})
}

func (p pattern) compare(ctx requestContext, same func(expanded) bool) answer {
	e := p.expand(ctx)
	switch {
	case e.absent || !same(e):
		return no
	case e.unsure:
		return maybe
	}
	return yes
}

// matchesARN compares each of the six parts of an ARN for itself, by wildcards.
// A pattern that is no ARN leaves it open.
// Source: IAM User Guide, reference_policies_elements_condition_operators.
func (p pattern) matchesARN(s string, ctx requestContext) answer {
	const parts = 6
	malformed := false
	a := p.compare(ctx, func(e expanded) bool {
		want, masks := splitMasked(e, parts)
		have := strings.SplitN(s, ":", parts)
		if len(want) < parts || e.unsure {
			malformed = true
			return globMasked(e.text, e.literal, s)
		}
		if len(have) < parts {
			return false
		}
		for i := range want {
			if !globMasked(want[i], masks[i], have[i]) {
				return false
			}
		}
		return true
	})
	if malformed {
		return min(a, maybe)
	}
	return a
}

// splitMasked cuts a text at its first colons, and its mask with it.
func splitMasked(e expanded, n int) (texts []string, masks [][]bool) {
	texts = strings.SplitN(e.text, ":", n)
	masks = make([][]bool, len(texts))
	if e.literal == nil {
		return texts, masks
	}
	at := 0
	for i, t := range texts {
		masks[i] = e.literal[at : at+len(t)]
		at += len(t) + 1
	}
	return texts, masks
}
