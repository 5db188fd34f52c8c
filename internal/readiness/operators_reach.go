package readiness

import (
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// partition groups an account's hosts into classes that policies cannot tell
// apart: the same Region, the same values of the tags that they look at, and
// named by the same of their resource patterns.
type partition struct {
	classes []class
	classOf []int // by position of the host; -1 for hosts of other accounts
}

// class is a set of hosts with one of them as an example.
type class struct {
	example *fleet.Host
	hosts   int
	values  contextValues // of requests on the example
}

// hostActions are the actions that are asked about single hosts.
var hostActions = []string{"ssm:StartSession", "ssm:SendCommand", "ssm:ResumeSession", "ssm:TerminateSession", instanceConnectAction}

// tagFamilies are the condition keys that hold a resource's tags.
var tagFamilies = []string{"aws:resourcetag/", "ssm:resourcetag/"}

const targetTag = "aws:ssmmessages:target-id"

// partition finds or makes the partition of an actor's account.
func (w *workforce) partition(x *actor) *partition {
	d := distinguishes(x.may)
	p := w.partitionBy(x, d.allTags(), d.patterns, d.single)
	if d.single || len(p.classes) <= manyClasses || len(d.tests) == 0 {
		return p
	}
	return p.coarser(x, d)
}

// manyClasses is above how many classes it pays to look at what an actor's
// own conditions make of the tags, instead of at the tags.
const manyClasses = 200

// partitionBy groups by the values of tags. Actors whose policies look at the
// same things share one.
func (w *workforce) partitionBy(x *actor, tags, patterns []string, single bool) *partition {
	if single {
		patterns = []string{"single"}
	}
	key := strings.Join([]string{x.account, strings.Join(tags, "\x00"), strings.Join(patterns, "\x00")}, "\x01")
	if p := w.partitions[key]; p != nil {
		return p
	}
	p := &partition{classOf: make([]int, len(w.snapshot.Hosts))}
	known := map[string]int{}
	for i := range w.snapshot.Hosts {
		h := &w.snapshot.Hosts[i]
		if h.Account != x.account {
			p.classOf[i] = -1
			continue
		}
		name := h.ID
		if !single {
			name = className(x, h, tags, patterns)
		}
		c, ok := known[name]
		if !ok {
			c = len(p.classes)
			known[name] = c
			p.classes = append(p.classes, class{example: h, values: hostValues(h)})
		}
		p.classes[c].hosts++
		p.classOf[i] = c
	}
	w.partitions[key] = p
	return p
}

// coarser joins classes that the actor's own conditions do not tell apart: a
// condition without variables depends on a tag by its answer alone. Hosts
// with a tag and hosts without it stay apart, as findings tell of that.
func (p *partition) coarser(x *actor, d distinction) *partition {
	out := &partition{classOf: make([]int, len(p.classOf))}
	known := map[string]int{}
	joined := make([]int, len(p.classes))
	for i, c := range p.classes {
		name := []byte(className(x, c.example, d.tags, d.patterns))
		ctx := requestContext{c.values}
		for _, t := range d.tests {
			tagged := byte(0)
			if len(c.values[t.key]) > 0 {
				tagged = 1
			}
			name = append(name, byte(t.holds(ctx)), tagged)
		}
		n, ok := known[string(name)]
		if !ok {
			n = len(out.classes)
			known[string(name)] = n
			out.classes = append(out.classes, class{example: c.example, values: c.values})
		}
		out.classes[n].hosts += c.hosts
		joined[i] = n
	}
	for host, c := range p.classOf {
		out.classOf[host] = -1
		if c >= 0 {
			out.classOf[host] = joined[c]
		}
	}
	return out
}

// distinction is what an actor's policies tell hosts apart by.
type distinction struct {
	tags     []string      // in lower case, by their values
	tests    []*comparison // of tags, by their answers
	patterns []string      // of resources
	single   bool          // every host must be looked at for itself
}

// allTags are those that anything is about.
func (d distinction) allTags() []string {
	all := slices.Clone(d.tags)
	for _, t := range d.tests {
		all = append(all, tagOf(t.key))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// tagOf is the tag that a condition key holds; empty: none.
func tagOf(key string) string {
	for _, f := range tagFamilies {
		if tag, ok := strings.CutPrefix(key, f); ok {
			return tag
		}
	}
	return ""
}

func distinguishes(p permissions) distinction {
	var d distinction
	for _, action := range hostActions {
		r := p.about(action)
		for _, set := range append([][]statementOf{r.identity, r.boundary}, r.levels...) {
			for _, s := range set {
				if s.statement == nil {
					continue
				}
				d.conditions(s.statement)
				for _, x := range s.resources {
					d.variables(x)
					switch {
					case x.text == "*" || strings.HasSuffix(x.text, ":instance/*") || notInstance(x.text):
					case x.variables:
						d.single = true
					default:
						d.patterns = append(d.patterns, x.text)
					}
				}
			}
		}
	}
	slices.Sort(d.tags)
	slices.Sort(d.patterns)
	d.tags, d.patterns = slices.Compact(d.tags), slices.Compact(d.patterns)
	return d
}

func (d *distinction) conditions(s *statement) {
	for i := range s.condition {
		c := &s.condition[i]
		varies := false
		for _, v := range c.values {
			varies = varies || v.variables
			d.variables(v)
		}
		switch tag := tagOf(c.key); {
		case tag == "":
		case tag == targetTag:
			d.single = true
		case varies:
			d.tags = append(d.tags, tag)
		case !slices.Contains(d.tests, c):
			d.tests = append(d.tests, c)
		}
	}
}

// variables notes the tags that stand in a pattern as variables.
func (d *distinction) variables(p pattern) {
	for _, k := range p.keys() {
		switch tag := tagOf(k); tag {
		case "":
		case targetTag:
			d.single = true
		default:
			d.tags = append(d.tags, tag)
		}
	}
}

// notInstance reports whether a pattern can only mean documents or sessions.
func notInstance(pattern string) bool {
	return strings.Contains(pattern, ":document/") || strings.Contains(pattern, ":session/")
}

func className(x *actor, h *fleet.Host, tags, patterns []string) string {
	arn := ""
	if len(patterns) > 0 {
		arn = instanceARN(x.arn, h)
	}
	var b strings.Builder
	b.WriteString(h.Region)
	for _, want := range tags {
		for name, value := range h.Tags {
			if strings.EqualFold(name, want) {
				b.WriteString("\x00" + want + "=" + value)
			}
		}
	}
	for _, p := range patterns {
		if glob(p, arn) {
			b.WriteString("\x001")
		} else {
			b.WriteString("\x000")
		}
	}
	return b.String()
}

// hostValues is what is known of every request on a host.
func hostValues(h *fleet.Host) contextValues {
	v := contextValues{"aws:requestedregion": {h.Region}, "aws:resourceaccount": {h.Account}}
	v.addTags(h.Tags, tagFamilies...)
	return v
}
