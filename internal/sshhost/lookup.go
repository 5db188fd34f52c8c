package sshhost

import "slices"

// options is what ssh_config says about one target.
type options struct {
	values map[string][]string
	by     map[string]string // the name that made a keyword apply; empty: it applies to any host
	alias  string            // the first name that a block singles out; empty: none
	// lastUser may be meant as User; it is to be tried after all others.
	lastUser string
	opaque   bool // a block that may apply can only be evaluated by OpenSSH's client
}

func (o *options) first(key string) string {
	if v := o.values[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// lookup evaluates the configuration for a target with these names.
func (s *sshConfig) lookup(names []string) *options {
	o := &options{values: map[string][]string{}, by: map[string]string{}}
	rank := len(names)
	for _, f := range s.files {
		rank = f.apply(o, names, "", rank)
	}
	if rank < len(names) {
		o.alias = names[rank]
	}
	return o
}

// apply adds what the file says. By is the name that made an including block
// apply; rank is the index in names of the best name singled out so far.
func (f *configFile) apply(o *options, names []string, by string, rank int) int {
	for i := range f.blocks {
		b := &f.blocks[i]
		name, ok := b.applies(names, o)
		if !ok {
			continue
		}
		if name == "" {
			name = by
		}
		if at := slices.Index(names, name); at >= 0 {
			rank = min(rank, at)
		}
		if b.opaque {
			o.opaque = o.opaque || b.relevant
			continue
		}
		for _, n := range b.nodes {
			for _, inc := range n.included {
				rank = inc.apply(o, names, name, rank)
			}
			if n.key != "" {
				o.set(n.key, n.value, name)
			}
		}
	}
	return rank
}

func (o *options) set(key, value, by string) {
	every := honoured[key]
	if len(o.values[key]) > 0 && !every {
		return
	}
	// The first of the two wins over the other one as well.
	if key == "proxyjump" && o.values["proxycommand"] != nil || key == "proxycommand" && o.values["proxyjump"] != nil {
		return
	}
	if len(o.values[key]) == 0 {
		o.by[key] = by
	}
	o.values[key] = append(o.values[key], value)
}

// applies reports whether the block holds for a target with these names, and
// which of them it singles out; none if it would hold for any host.
func (b *block) applies(names []string, o *options) (string, bool) {
	if b.any {
		return "", true
	}
	if h := o.first("hostname"); b.match && h != "" {
		names = []string{h}
	}
	if b.yes == nil {
		return "", false
	}
	hit := -1
	for i, n := range names {
		if b.no != nil && b.no.Matches(n) {
			return "", false
		}
		if hit < 0 && b.yes.Matches(n) {
			hit = i
		}
	}
	switch {
	case hit < 0:
		return "", false
	case b.yes.Matches(controlName):
		return "", true
	}
	return names[hit], true
}
