package inventory

import (
	"strconv"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

const maxTraces = 1000

func (p *parser) cloudInit() {
	s, ok := p.frame["cloudinit"]
	if !ok {
		p.probe.CloudInit = fleet.Unknown[fleet.CloudInit](sourceCloudInit, p.at, p.missing)
		return
	}
	var c fleet.CloudInit
	_, c.Present = s.first("present")
	_, c.Disabled = s.first("disabled")
	files := func(tag string) (list []string) {
		for _, r := range s.all(tag) {
			if len(list) < maxTraces {
				list = append(list, r.field(0))
			}
		}
		return list
	}
	c.AlwaysKeys, c.KeyFiles = files("always"), files("keys")
	for _, r := range s.all("allow") { // a later file's word replaces an earlier one's
		c.BlocksKeys = r.field(0) == "no"
	}
	if unread := files("unread"); len(unread) > 0 {
		p.probe.CloudInit = fleet.Fact[fleet.CloudInit]{Value: c, Source: sourceCloudInit, At: p.at,
			Reason: "the login user may not read " + clean(strings.Join(unread, ", "))}
		return
	}
	p.probe.CloudInit = fleet.Known(c, sourceCloudInit, p.at)
}

func (p *parser) traces() {
	s, ok := p.frame["traces"]
	if !ok {
		p.probe.Traces = fleet.Unknown[[]fleet.Trace](sourceTraces, p.at, p.missing)
		return
	}
	times := map[string]time.Time{}
	r, _ := s.first("times")
	for _, l := range r.lines {
		seconds, name, ok := strings.Cut(l, " ")
		n, err := strconv.ParseInt(seconds, 10, 64)
		if at, sound := sane(time.Unix(n, 0).UTC()); ok && err == nil && sound {
			times[clean(name)] = at
		}
	}
	traces := []fleet.Trace{}
	add := func(t fleet.Trace) {
		if len(traces) < maxTraces {
			traces = append(traces, t)
		}
	}
	for _, r := range s.all("ansible") {
		add(fleet.Trace{Use: fleet.UseAnsible, User: r.field(0), What: r.field(1), At: times[r.field(1)]})
	}
	for _, r := range s.all("git") {
		remote, file := withoutPassword(r.field(0)), r.field(1)
		add(fleet.Trace{Use: fleet.UseGit, User: p.ownerOf(file), What: clean(file + ": " + remote), At: times[file]})
	}
	var missing []string
	for _, r := range s.all("shut") {
		missing = append(missing, "the login user may not look into "+r.field(0))
	}
	for _, r := range s.all("cut") {
		missing = append(missing, "the search ended after "+r.field(0))
	}
	if len(missing) > 0 {
		p.probe.Traces = fleet.Partial(traces, sourceTraces, p.at, clean(strings.Join(missing[:min(len(missing), 5)], "; ")))
		return
	}
	p.probe.Traces = fleet.Known(traces, sourceTraces, p.at)
}

// ownerOf gives the user whose home holds a file; empty for none.
func (p *parser) ownerOf(file string) string {
	for _, u := range p.probe.Users.Value {
		if len(u.Home) > 1 && strings.HasPrefix(file, strings.TrimSuffix(u.Home, "/")+"/") {
			return u.Name
		}
	}
	return ""
}

// withoutPassword takes the password out of an address such as
// "http://user:password@proxy:3128". The host does so too; this is for hosts
// that run something else.
func withoutPassword(address string) string {
	i := strings.LastIndexByte(address, '@')
	if i < 0 {
		return address
	}
	who, rest := address[:i], address[i:]
	scheme := ""
	if j := strings.Index(who, "://"); j >= 0 {
		scheme, who = who[:j+3], who[j+3:]
	}
	who, _, _ = strings.Cut(who, ":")
	return scheme + who + rest
}
