package access

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"ssm-migrate/internal/fleet"
)

// hostName is a name or an address that a document may forward to.
var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.:_-]{0,252}[A-Za-z0-9])?$`)

// Validate says everything that is wrong with the query, or nil.
func (q Query) Validate() error {
	var errs []error
	for _, f := range q.Forwards {
		if f.Port < 1 || f.Port > 65535 {
			errs = append(errs, fmt.Errorf("port %d is none from 1 to 65535", f.Port))
		}
		if f.Host != "" && !hostName.MatchString(f.Host) {
			errs = append(errs, fmt.Errorf("%q is no host name or address that a port could be forwarded to", f.Host))
		}
	}
	w := q.Preferences
	if w.IdleTimeout < 0 || w.IdleTimeout > 60 {
		errs = append(errs, fmt.Errorf("an idle timeout of %d minutes is none from 1 to 60", w.IdleTimeout))
	}
	if w.MaxDuration < 0 || w.MaxDuration > 1440 {
		errs = append(errs, fmt.Errorf("a longest session of %d minutes is none from 1 to 1440", w.MaxDuration))
	}
	if w.RunAs == "root" {
		errs = append(errs, errors.New("session manager refuses to run sessions as root"))
	}
	if w.Key != "" && !strings.HasPrefix(w.Key, "arn:") {
		errs = append(errs, fmt.Errorf("KMS key %q is no ARN", w.Key))
	}
	if !writable(w.Bucket) || !writable(w.Prefix) || !writable(w.LogGroup) || strings.ContainsAny(w.Bucket+w.Prefix+w.LogGroup+w.Key, "*?") || !writable(w.Key) {
		errs = append(errs, errors.New("names of the bucket, its prefix, the log group and the key must not hold wildcards or variables"))
	}
	return errors.Join(errs...)
}

// forwards makes the documents for ports: those that today's keys are limited
// to where the ledger saw them forward, and those that the operator names.
func (p *promised) forwards(a *fleet.Assessment) {
	for _, t := range p.teams {
		wanted, blind := p.seen(t, a)
		for _, f := range p.query.Forwards {
			if f.Team == "" && !t.service || f.Team != "" && p.isOf(t, f.Team) {
				wanted = append(wanted, Forward{Host: f.Host, Port: f.Port})
			}
		}
		if len(blind) > 0 && len(wanted) == 0 {
			p.note("%s forwards ports over SSH, and nothing tells which: name them under access.forward", strings.Join(blind, ", "))
		}
		slices.SortFunc(wanted, func(x, y Forward) int { return cmp.Or(strings.Compare(x.Host, y.Host), cmp.Compare(x.Port, y.Port)) })
		wanted = slices.Compact(wanted)
		var own []int
		for _, f := range wanted {
			if f.Host == "" {
				own = append(own, f.Port)
				continue
			}
			to := f.Host + ":" + strconv.Itoa(f.Port)
			p.publish(t, name(ownPrefix+"remote-", t.name+"-"+to, mostDocumentName), "forwards "+to+" through an instance, and nothing else", remoteDocument(f.Host, f.Port))
		}
		if len(own) > 0 {
			p.publish(t, name(ownPrefix+"ports-", t.name, mostDocumentName), "forwards ports of the instance itself that keys were limited to or the configuration names", portDocument(t.name, own))
		}
	}
	for _, f := range p.query.Forwards {
		if f.Team != "" && !slices.ContainsFunc(p.teams, func(t *team) bool { return p.isOf(t, f.Team) }) {
			p.note("access.forward: there is no team %s", f.Team)
		}
	}
}

// isOf reports whether a team goes by a name: its own, the owners file's, or one of its people's.
func (p *promised) isOf(t *team, name string) bool {
	return t.name == name || slices.ContainsFunc(t.people, func(who string) bool { return who == name || p.rows[who].Team == name })
}

// seen gives the ports that a team's people forward today, as far as permitopen
// in their keys tells; blind are those of whom nothing tells.
func (p *promised) seen(t *team, a *fleet.Assessment) (out []Forward, blind []string) {
	for _, c := range a.Ledger.Consumers {
		if c.Use != fleet.UseTunnel || !slices.Contains(t.people, c.Owner) || c.Own() {
			continue
		}
		got := p.permitted(t, c.Fingerprint)
		if len(got) == 0 {
			blind = addAll(blind, c.Owner)
		}
		out = append(out, got...)
	}
	return out, blind
}

// permitted reads the permitopen options of a key on a team's hosts. Source: sshd(8).
func (p *promised) permitted(t *team, fingerprint string) []Forward {
	var out []Forward
	for _, i := range t.hosts {
		for _, k := range p.snapshot.Hosts[i].Probe.Value.Keys.Value {
			if fingerprint == "" || k.Fingerprint != fingerprint {
				continue
			}
			for _, o := range k.Options {
				one := fleet.Key{Options: []string{o}}
				to, ok := one.Option("permitopen")
				if !ok {
					continue
				}
				host, n := hostPort(to)
				if n < 1 || n > 65535 || !hostName.MatchString(host) {
					p.note("a key of %s may open %q, which no document can be limited to", strings.Join(t.people, ", "), to)
					continue
				}
				if host == "localhost" || host == "127.0.0.1" || host == "::1" {
					host = ""
				}
				if f := (Forward{Host: host, Port: n}); !slices.Contains(out, f) {
					out = append(out, f)
				}
			}
		}
	}
	return out
}

// hostPort takes apart "host:port" and "[address]:port"; a port that is no number is 0.
func hostPort(text string) (host string, port int) {
	colon := strings.LastIndexByte(text, ':')
	if colon < 0 {
		return text, 0
	}
	port, _ = strconv.Atoi(text[colon+1:])
	return strings.TrimSuffix(strings.TrimPrefix(text[:colon], "["), "]"), port
}

// commands makes the documents that take the place of keys with a forced
// command, for those who have no shell on any host.
func (p *promised) commands() {
	for _, t := range p.teams {
		if !t.service {
			continue
		}
		for _, f := range p.forced(t) {
			if strings.Contains(f.command, "{{") || !writable(f.command) || len(f.command) > 8000 {
				p.note("%s: the forced command %q cannot stand in a document as it is; write one by hand", strings.Join(t.people, ", "), fleet.OneLine(f.command, 100))
				continue
			}
			p.publish(t, name(ownPrefix+"command-", t.name+" "+f.command, mostDocumentName), "runs what the key of "+strings.Join(t.people, ", ")+" forces: "+f.command, forcedCommand(f.command))
			p.note("%s: the forced command runs as %s today; in a session it runs as ssm-user or by Run As: let the team's principals run as %s (tag SSMSessionRunAs), or adapt the command", strings.Join(t.people, ", "), f.user, f.user)
		}
	}
}

type forced struct{ user, command string }

// forced lists the commands that the keys of a team's people force, in order.
func (p *promised) forced(t *team) []forced {
	var keys []string
	for _, who := range t.people {
		keys = append(keys, p.rows[who].Keys...)
	}
	var out []forced
	for _, i := range t.hosts {
		for _, k := range p.snapshot.Hosts[i].Probe.Value.Keys.Value {
			if !slices.Contains(keys, k.Fingerprint) || k.Problem != "" || k.SendsAway() {
				continue
			}
			if command, ok := k.Option("command"); ok && !slices.ContainsFunc(out, func(f forced) bool { return f.command == command }) {
				out = append(out, forced{k.User, command})
			}
		}
	}
	slices.SortFunc(out, func(a, b forced) int { return strings.Compare(a.command, b.command) })
	return out
}
