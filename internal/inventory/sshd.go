package inventory

import (
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

const maxSettings = 5000 // values of one sshd configuration

func (p *parser) sshd() {
	s, ok := p.frame["sshd"]
	if !ok {
		p.probe.SSHD = fleet.Unknown[fleet.SSHD](sourceSSHD, p.at, p.missing)
		return
	}
	config, ok := s.first("config")
	if !ok {
		p.probe.SSHD = fleet.Unknown[fleet.SSHD](sourceSSHD, p.at, whyNoConfig(s))
		return
	}
	d := fleet.SSHD{Settings: settings(config.lines)}
	if daemon, ok := s.first("daemon"); ok {
		d.Arguments = daemon.field(0)
	} else {
		p.gap("sshd arguments", whichDaemon(s)+": settings given on its command line are not known")
	}
	if unit, ok := s.first("unit"); ok {
		if next := unitArguments(unit.lines); next != "" && !sameOptions(next, d.Arguments) {
			d.UnitArguments = next
		}
	}
	version, _ := s.first("version")
	for _, l := range version.lines {
		if strings.HasPrefix(l, "OpenSSH_") {
			d.Version = clean(l)
			break
		}
	}
	p.matchBlocks(&d)
	p.probe.SSHD = fleet.Known(d, "probe: sshd "+config.field(0), p.at)
}

// whichDaemon tells why the probe does not know the daemon that logins come to.
func whichDaemon(s section) string {
	listeners, ok := s.first("listeners")
	switch n := listeners.field(0); {
	case !ok:
		return "no listening sshd above this session"
	case n == "0":
		return "no sshd listens; systemd may start one for each connection"
	default:
		return n + " sshd listen, and the probe came through none of them"
	}
}

// unitArguments takes the daemon's arguments from the ExecStart lines of
// "systemctl cat": an empty one takes back those before it, and the last one
// counts (systemd.service(5)). Variables, such as $SSHD_OPTS, are left out:
// their value is not known.
func unitArguments(lines []string) string {
	command := ""
	for i := 0; i < len(lines); i++ {
		line, ok := strings.CutPrefix(lines[i], "ExecStart=")
		if !ok {
			continue
		}
		for strings.HasSuffix(line, `\`) && i+1 < len(lines) {
			i++
			line = strings.TrimSuffix(line, `\`) + " " + lines[i]
		}
		command = line
	}
	var args []string
	for _, w := range systemdWords(command) {
		if !strings.HasPrefix(w, "$") {
			args = append(args, w)
		}
	}
	if len(args) < 2 {
		return ""
	}
	return clean(strings.Join(args[1:], " "))
}

// systemdWords splits a command line as systemd does, as far as sshd's need it:
// quotes, and a doubled percent sign.
func systemdWords(s string) []string {
	var words []string
	var word strings.Builder
	quote, open := rune(0), false
	for _, r := range s {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote, open = r, true
		case quote == 0 && (r == ' ' || r == '\t'):
			if open {
				words = append(words, word.String())
			}
			word.Reset()
			open = false
		default:
			word.WriteRune(r)
			open = true
		}
	}
	if open {
		words = append(words, word.String())
	}
	for i := range words {
		words[i] = strings.ReplaceAll(words[i], "%%", "%")
	}
	return words
}

// sameOptions reports whether two command lines give sshd the same options. That
// it stays in the foreground, and what a shell or a title does with blanks and
// quotes, makes no difference.
func sameOptions(a, b string) bool {
	words := func(s string) []string {
		return slices.DeleteFunc(strings.Fields(s), func(w string) bool { return w == "-D" || w == "-e" })
	}
	return slices.Equal(words(a), words(b))
}

// whyNoConfig gives the reason for missing settings, in sshd's own words where it had any.
func whyNoConfig(s section) string {
	if failed, ok := s.first("failed"); ok {
		if words := firstWords(failed.lines); words != "" {
			return words
		}
		return "sshd -T and sshd -G failed without a word"
	}
	if server, ok := s.first("server"); ok && server.field(0) != "sshd" {
		return "the SSH server is " + server.field(0) + ", not OpenSSH"
	}
	return "no sshd program found"
}

// settings reads the output of sshd -T: lower-case keywords with their values.
// Warnings that got between are dropped.
func settings(lines []string) map[string][]string {
	out := make(map[string][]string, len(lines))
	for i, l := range lines {
		if i == maxSettings {
			break
		}
		keyword, value, _ := strings.Cut(l, " ")
		if !isKeyword(keyword) {
			continue
		}
		out[keyword] = append(out[keyword], clean(value))
	}
	return out
}

func isKeyword(s string) bool {
	for i := range len(s) {
		if (s[i] < 'a' || s[i] > 'z') && (s[i] < '0' || s[i] > '9') {
			return false
		}
	}
	return s != ""
}

// matchBlocks reads what differs for single users, and notes which user has
// which variant of the settings.
func (p *parser) matchBlocks(d *fleet.SSHD) {
	global := d.Settings
	s, ok := p.frame["match"]
	if !ok {
		p.gap("sshd Match blocks", p.missing)
		return
	}
	variants := map[string]map[string][]string{}
	for _, r := range s.all("variant") {
		variants[r.field(0)] = differing(settings(r.lines), global)
	}
	p.perUser, p.byVar = map[string]string{}, map[string][]string{}
	out := map[string]map[string][]string{}
	for _, r := range s.all("user") {
		v, name := r.field(0), r.field(1)
		if len(variants[v]) == 0 {
			continue
		}
		if _, again := p.perUser[name]; again {
			continue
		}
		out[name] = variants[v]
		p.perUser[name] = v
		p.byVar[v] = append(p.byVar[v], name)
	}
	for _, r := range s.all("unmatched") {
		p.gap("sshd Match blocks for "+r.field(0), r.field(1))
	}
	if cut, ok := s.first("cut"); ok {
		p.gap("sshd Match blocks", "only the first "+cut.field(0)+" users were asked about")
	}
	if len(out) > 0 {
		d.PerUser = out
	}
	for _, r := range s.all("loopback") {
		v, name := r.field(0), r.field(1)
		if _, known := variants[v]; !known && v != "0" {
			continue
		}
		if own := fromLoopback(d, name, variants[v]); len(own) > 0 {
			if d.FromLoopback == nil {
				d.FromLoopback = map[string]map[string][]string{}
			}
			d.FromLoopback[name] = own
		}
	}
}

// fromLoopback gives what holds for a user who comes from the loopback address,
// as a variant of the global settings has it, where it is not what holds otherwise.
func fromLoopback(d *fleet.SSHD, user string, variant map[string][]string) map[string][]string {
	out := map[string][]string{}
	for _, settings := range []map[string][]string{variant, d.PerUser[user]} {
		for k := range settings {
			then, ok := variant[k]
			if !ok {
				then = d.Settings[k]
			}
			if !slices.Equal(then, d.For(user, k)) {
				out[k] = then
			}
		}
	}
	return out
}

// differing gives the settings of own that are not the same in global. A
// keyword that own lacks gets no values.
func differing(own, global map[string][]string) map[string][]string {
	out := map[string][]string{}
	for k, v := range own {
		if !slices.Equal(v, global[k]) {
			out[k] = v
		}
	}
	for k := range global {
		if _, ok := own[k]; !ok {
			out[k] = []string{}
		}
	}
	return out
}
