package readiness

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// launch is one version of a launch template with the hosts that Auto Scaling
// groups would replace from it.
type launch struct {
	region   *fleet.Region
	template *fleet.LaunchTemplate
	version  *fleet.TemplateVersion
	groups   []string // Auto Scaling groups that use it
	hosts    []*fleet.Host
}

// templates judges the launch templates of Auto Scaling groups: an instance
// that is replaced comes back as the template has it, whatever was repaired on
// the one before it.
func (a *assessor) templates() []fleet.Finding {
	inGroup := map[string][]*fleet.Host{}
	for i := range a.snapshot.Hosts {
		if h := &a.snapshot.Hosts[i]; h.AutoScalingGroup != "" && h.Running() {
			inGroup[scalingGroupKey(h)] = append(inGroup[scalingGroupKey(h)], h)
		}
	}
	var out []fleet.Finding
	for i := range a.snapshot.Regions {
		for _, l := range launches(&a.snapshot.Regions[i], inGroup) {
			out = append(out, l.findings()...)
		}
	}
	return out
}

// launches gathers a Region's Auto Scaling groups by the template version that
// they use. Groups whose template was not read are left out.
func launches(r *fleet.Region, inGroup map[string][]*fleet.Host) []*launch {
	var out []*launch
	for _, g := range r.ScalingGroups.Value {
		hosts := inGroup[r.Account+"/"+r.Name+"/"+g.Name]
		t, v := r.Template(g.Template)
		if v == nil || len(hosts) == 0 {
			continue
		}
		i := slices.IndexFunc(out, func(l *launch) bool { return l.version == v })
		if i < 0 {
			i = len(out)
			out = append(out, &launch{region: r, template: t, version: v})
		}
		out[i].groups = append(out[i].groups, g.Name)
		out[i].hosts = append(out[i].hosts, hosts...)
	}
	slices.SortFunc(out, func(x, y *launch) int {
		return cmp.Or(strings.Compare(x.template.ID, y.template.ID), cmp.Compare(x.version.Number, y.version.Number))
	})
	for _, l := range out {
		slices.Sort(l.groups)
		slices.SortFunc(l.hosts, func(x, y *fleet.Host) int { return strings.Compare(x.ID, y.ID) })
	}
	return out
}

func (l *launch) findings() []fleet.Finding {
	var undone, differs []fleet.Evidence
	var wants []string // what a new version of the template has to have
	v := l.version
	count := func(is func(*fleet.Host) bool) int {
		n := 0
		for _, h := range l.hosts {
			if is(h) {
				n++
			}
		}
		return n
	}
	if n := count(func(h *fleet.Host) bool { return h.ProfileARN != "" && !namesProfile(v.Profile, h.ProfileARN) }); n > 0 {
		names := "no instance profile"
		if v.Profile != "" {
			names = "instance profile " + quoted(v.Profile)
		}
		var had []string
		for _, h := range l.hosts {
			if h.ProfileARN != "" && !slices.Contains(had, h.ProfileARN) {
				had = append(had, h.ProfileARN)
			}
		}
		wants = append(wants, "instance profile "+listed(had))
		undone = append(undone, l.evidence("it names %s, while %s a different one", names, fleet.Count(n, "host")+have(n)))
	}
	if n := count(func(h *fleet.Host) bool { return h.Metadata.Endpoint == "enabled" }); n > 0 && v.Metadata.Endpoint == "disabled" {
		wants = append(wants, "the metadata service on (HttpEndpoint=enabled)")
		undone = append(undone, l.evidence("it turns the instance metadata service off, which is on for %s", fleet.Count(n, "host")))
	}
	if n := count(func(h *fleet.Host) bool { return v.ImageID != "" && h.ImageID != v.ImageID }); n > 0 {
		differs = append(differs, l.evidence("it starts image %s, while %s another one", quoted(v.ImageID), fleet.Count(n, "host")+have(n)))
	}
	if n := count(func(h *fleet.Host) bool { return len(v.Groups) > 0 && !sameGroups(v.Groups, h.Groups) }); n > 0 {
		differs = append(differs, l.evidence("it gives security groups %s, while %s others", quotedList(v.Groups), fleet.Count(n, "host")+have(n)))
	}
	if n := count(func(h *fleet.Host) bool {
		return h.Metadata.Tokens == "required" && v.Metadata.Tokens == "optional"
	}); n > 0 {
		differs = append(differs, l.evidence("it leaves IMDSv2 optional, which %s to use", fleet.Count(n, "host")+have(n)))
	}
	var out []fleet.Finding
	add := func(code, fix string, facts []fleet.Evidence) {
		if facts != nil {
			out = append(out, found(code, "", l.template.ID, fix, l.blast(), facts))
		}
	}
	add("template-undoes-fixes", fmt.Sprintf("make a new version of launch template %s with %s, in the code that owns it, and let %s use it",
		l.template.ID, strings.Join(wants, " and "), l.groupNames()), undone)
	add("template-differs", "", differs)
	if v.KeyName != "" {
		add("template-names-key", "", []fleet.Evidence{l.evidence("it names key pair %s, which cloud-init puts into authorized_keys of every new instance", quoted(v.KeyName))})
	}
	return out
}

func (l *launch) evidence(format string, args ...any) fleet.Evidence {
	return evidence(l.region.Templates, "launch template %s, version %d: "+format, append([]any{l.template.ID, l.version.Number}, args...)...)
}

// groupNames names the first few groups that start instances from the template.
func (l *launch) groupNames() string {
	names := l.groups
	if len(names) > mostListed {
		names = append(names[:mostListed:mostListed], fmt.Sprintf("and %d more", len(l.groups)-mostListed))
	}
	return strings.Join(names, ", ")
}

func (l *launch) blast() string {
	return fmt.Sprintf("launch template %s starts the instances of %s (%s) with %s now", l.template.ID, fleet.Count(len(l.groups), "Auto Scaling group"), l.groupNames(), fleet.Count(len(l.hosts), "host"))
}

// namesProfile reports whether a template's profile, a name or an ARN, is the
// one with an ARN.
func namesProfile(profile, arn string) bool {
	return profile == arn || profile != "" && strings.HasSuffix(arn, "/"+profile)
}

func sameGroups(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

func have(n int) string {
	if n == 1 {
		return " has"
	}
	return " have"
}
