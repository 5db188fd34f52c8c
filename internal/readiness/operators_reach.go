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

// partition finds or makes the partition of an actor's account. Actors whose
// policies look at the same things share one.
func (w *workforce) partition(x *actor) *partition {
	tags, patterns, single := distinguishes(x.may)
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
			name = className(h, instanceARN(x.arn, h), tags, patterns)
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

// distinguishes lists what an actor's policies tell hosts apart by: tags (in
// lower case), and resource patterns; single says that every host must be
// looked at for itself.
func distinguishes(p permissions) (tags, patterns []string, single bool) {
	for _, action := range hostActions {
		_, keys := p.depends(action)
		for _, k := range keys {
			for _, f := range tagFamilies {
				switch tag, ok := strings.CutPrefix(k, f); {
				case ok && tag == targetTag:
					single = true
				case ok:
					tags = append(tags, tag)
				}
			}
		}
		r := p.about(action)
		for _, set := range append([][]statementOf{r.identity, r.boundary}, r.levels...) {
			for _, s := range set {
				if s.statement == nil {
					continue
				}
				for _, x := range s.resources {
					switch {
					case x.text == "*" || strings.HasSuffix(x.text, ":instance/*") || notInstance(x.text):
					case x.variables:
						single = true
					default:
						patterns = append(patterns, x.text)
					}
				}
			}
		}
	}
	slices.Sort(tags)
	slices.Sort(patterns)
	return slices.Compact(tags), slices.Compact(patterns), single
}

// notInstance reports whether a pattern can only mean documents or sessions.
func notInstance(pattern string) bool {
	return strings.Contains(pattern, ":document/") || strings.Contains(pattern, ":session/")
}

func className(h *fleet.Host, arn string, tags, patterns []string) string {
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
