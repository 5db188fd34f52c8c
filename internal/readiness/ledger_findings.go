package readiness

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// A consumer comes regularly when a host's log shows so many logins over so
// long a time. Nobody but a machine does without a terminal.
const (
	regularLogins = 3
	regularSpan   = 24 * time.Hour
)

// useCodes are the findings for uses of SSH that Session Manager serves in
// another way than they are used to.
var useCodes = map[fleet.Use]string{
	fleet.UseSCP:     "ssh-copies",
	fleet.UseSFTP:    "ssh-copies",
	fleet.UseRsync:   "ssh-copies",
	fleet.UseAnsible: "ssh-ansible",
	fleet.UseGit:     "ssh-git",
	fleet.UseTunnel:  "ssh-tunnels",
}

// usage gathers the hosts and facts of one finding about a use of SSH.
type usage struct {
	code, object string
	hosts        []string
	facts        []fleet.Evidence
}

// usages keeps them in the order in which they were first seen.
type usages struct {
	byKey map[fleet.Ref]*usage
	all   []*usage
}

func (u *usages) add(code, object string, hosts []string, fact fleet.Evidence) {
	ref := fleet.Ref{Code: code, Object: object}
	x := u.byKey[ref]
	if x == nil {
		x = &usage{code: code, object: object}
		u.byKey[ref] = x
		u.all = append(u.all, x)
	}
	for _, h := range hosts {
		if !slices.Contains(x.hosts, h) {
			x.hosts = append(x.hosts, h)
		}
	}
	if len(x.facts) < mostListed {
		x.facts = append(x.facts, fact)
	}
}

// findings tell which uses of SSH need another way, one finding for each
// use and who has it.
func (b *book) findings() []fleet.Finding {
	u := &usages{byKey: map[fleet.Ref]*usage{}}
	for _, c := range b.all {
		if c.Status != fleet.ConsumerActive || c.Own() {
			continue
		}
		switch code := useCodes[c.Use]; {
		case code != "":
			u.add(code, c.name(), c.Hosts, c.evidence())
		case c.Owner == "" && c.regular && c.Use == fleet.UseCommand:
			u.add("consumer-forgotten", c.name(), c.Hosts, c.evidence())
		}
	}
	for i := range b.snapshot.Hosts {
		if h := &b.snapshot.Hosts[i]; h.Running() && h.Probe.Known {
			b.traces(u, h)
		}
	}
	for _, t := range b.loopback {
		u.add("ssh-through-session-manager", cmp.Or(identity(t.login), "user "+t.login.User), []string{t.host.ID},
			evidence(t.host.Probe.Value.Logins, "%s from the loopback address as %s, the last on %s", fleet.Count(t.login.Count, "login"), quoted(t.login.User), t.login.Last.UTC().Format(time.DateOnly)))
	}
	var out []fleet.Finding
	for _, x := range u.all {
		x.facts = append(x.facts, fleet.Evidence{Fact: "on " + listed(x.hosts), Source: "probe"})
		out = append(out, found(x.code, "", x.object, "", fleet.Count(len(x.hosts), "host"), x.facts))
	}
	return out
}

// traces adds what files and open sessions show of uses that logs do not name.
func (b *book) traces(u *usages, h *fleet.Host) {
	traces := h.Probe.Value.Traces
	for _, t := range traces.Value {
		code := useCodes[t.Use]
		if code == "" || stale(t.At, traces.At, b.policy.SilentDays) {
			continue
		}
		u.add(code, b.traceObject(h, t), []string{h.ID}, evidence(traces, "on %s %s", h.ID, quoted(t.What)))
	}
	sessions := h.Probe.Value.Sessions
	for _, s := range sessions.Value {
		if s.AgentForwarding && !peerAddr(s.From).IsLoopback() {
			u.add("ssh-agent-forwarding", cmp.Or(s.Fingerprint, "user "+s.User), []string{h.ID},
				evidence(sessions, "on %s a session of %s forwards an agent", h.ID, quoted(s.User)))
		}
	}
}

// stale reports whether a trace is known to be older than the policy's days.
func stale(at, read time.Time, days int) bool {
	return !at.IsZero() && !read.IsZero() && at.Before(read.AddDate(0, 0, -days))
}

// traceObject names whom a trace tells of: the server of a git remote, else
// the one consumer who does the like as that user on the host, else the account.
func (b *book) traceObject(h *fleet.Host, t fleet.Trace) string {
	if t.Use == fleet.UseGit {
		if server := gitServer(t.What); server != "" {
			return server
		}
	}
	var known []string
	for _, c := range b.all {
		if c.Use == t.Use && c.User == t.User && c.Status == fleet.ConsumerActive && slices.Contains(c.Hosts, h.ID) && !slices.Contains(known, c.name()) {
			known = append(known, c.name())
		}
	}
	switch {
	case len(known) == 1:
		return known[0]
	case t.User != "":
		return "user " + t.User
	}
	return string(t.Use)
}

// gitServer is the server of a remote at the end of a text: "git@HOST:PATH" or "ssh://git@HOST/PATH".
func gitServer(what string) string {
	remote := what[strings.LastIndexByte(what, ' ')+1:]
	if u, err := url.Parse(remote); err == nil && u.Scheme == "ssh" {
		return u.Hostname()
	}
	host, _, ok := strings.Cut(remote, ":")
	if !ok || strings.Contains(host, "/") {
		return ""
	}
	return host[strings.IndexByte(host, '@')+1:]
}

// name is the consumer as findings call it: its owner, else its key or
// certificate, else the account.
func (c *consumer) name() string {
	return cmp.Or(c.Owner, identity(fleet.Login{CertID: c.CertID, CA: c.CA, Fingerprint: c.Fingerprint}), "user "+c.User)
}

func (c *consumer) evidence() fleet.Evidence {
	log := c.visits[len(c.visits)-1].host.Probe.Value.Logins
	text := fmt.Sprintf("%s as %s", cmp.Or(string(c.Use), "ssh"), quoted(c.User))
	if c.From.IsValid() {
		text += " from " + c.From.String()
	}
	text += fmt.Sprintf(": %s on %s", fleet.Count(c.Count, "login"), fleet.Count(len(c.Hosts), "host"))
	if !c.Last.IsZero() {
		text += ", the last on " + c.Last.UTC().Format(time.DateOnly)
	}
	if c.Comment != "" {
		text += ", key comment " + quoted(c.Comment)
	}
	return evidence(log, "%s", text)
}

// listed names the first few of many.
func listed(all []string) string {
	if len(all) <= mostListed {
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:mostListed], ", "), len(all)-mostListed)
}

// commentName is the part of a key's comment before the @.
func commentName(comment string) string {
	name, _, _ := strings.Cut(comment, "@")
	return name
}
