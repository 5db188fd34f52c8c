package simfleet

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// sshdConfigText writes the model's configuration as /etc/ssh/sshd_config.
func (m *machine) sshdConfigText() string {
	var b strings.Builder
	b.WriteString("# This is the sshd server system-wide configuration file. See\n# sshd_config(5) for more information.\n\n")
	if m.includesDropIns() {
		b.WriteString("Include /etc/ssh/sshd_config.d/*.conf\n\n")
	}
	for _, s := range m.SSHD.Settings {
		fmt.Fprintf(&b, "%s %s\n", s.Keyword, s.Value)
	}
	users := make([]string, 0, len(m.SSHD.Match))
	for u := range m.SSHD.Match {
		users = append(users, u)
	}
	slices.Sort(users)
	for _, u := range users {
		fmt.Fprintf(&b, "\nMatch User %s\n", u)
		for _, s := range m.SSHD.Match[u] {
			fmt.Fprintf(&b, "    %s %s\n", s.Keyword, s.Value)
		}
	}
	if len(m.SSHD.MatchLoopback) > 0 {
		fmt.Fprintf(&b, "\nMatch Address %s\n", loopbackPattern)
	}
	for _, s := range m.SSHD.MatchLoopback {
		fmt.Fprintf(&b, "    %s %s\n", s.Keyword, s.Value)
	}
	return b.String()
}

// loopbackPattern matches the addresses of connections from the host itself.
const loopbackPattern = "127.0.0.0/8,::1"

// includesDropIns reports whether the distribution's configuration includes sshd_config.d.
func (m *machine) includesDropIns() bool { return m.version() >= 802 && m.OS.Family != "amzn" }

// splitArguments splits a line into words; double quotes join words.
func splitArguments(s string) []string {
	var out []string
	var word strings.Builder
	quoted, open := false, false
	for _, r := range s {
		switch {
		case r == '"':
			quoted, open = !quoted, true
		case !quoted && (r == ' ' || r == '\t'):
			if open {
				out = append(out, word.String())
				word.Reset()
			}
			open = false
		default:
			word.WriteRune(r)
			open = true
		}
	}
	if open {
		out = append(out, word.String())
	}
	return out
}

// daemonArguments splits the daemon's further arguments: unlike in a shell, an
// option's value reaches up to the next word that starts with a dash.
func daemonArguments(s string) []string {
	var out []string
	for i, w := range splitArguments(s) {
		if i > 0 && !strings.HasPrefix(w, "-") && len(out) > 0 && out[len(out)-1] != "" && !strings.HasPrefix(out[len(out)-1], "-") {
			out[len(out)-1] += " " + w
			continue
		}
		out = append(out, w)
	}
	return out
}

// connection is what Match blocks look at. Empty fields match nothing, as in "sshd -T -C".
type connection struct {
	user, host, addr, laddr, lport string
	groups                         []string
}

// sshdConfig is an effective configuration: for each lower-case keyword its
// arguments, in order. Keywords that were not set are absent.
type sshdConfig map[string][]string

// get gives the arguments of a keyword, defaults included.
func (c sshdConfig) get(keyword string) []string {
	if v, ok := c[keyword]; ok {
		return v
	}
	for _, d := range sshdKeywords {
		if d.name == keyword && d.value != "" {
			return strings.Fields(d.value)
		}
	}
	return nil
}

// first is the first argument of a keyword, lower-case.
func (c sshdConfig) first(keyword string) string {
	if v := c.get(keyword); len(v) > 0 {
		return strings.ToLower(v[0])
	}
	return ""
}

// sshdParser reads configuration as sshd does: the first value of a keyword
// wins, except that a Match block that applies overrides the global section.
type sshdParser struct {
	m      *machine
	who    cred
	conn   *connection // nil: Match blocks do not apply, but "Match all" does
	global sshdConfig
	match  sshdConfig
	errs   []string // each a line of sshd's own words
	fatal  string   // the word that ended the reading
	depth  int
}

// sshdError is what sshd prints before it gives up.
type sshdError struct{ text string }

func (e sshdError) Error() string { return e.text }

// sshdEffective computes the configuration as it holds for a connection: what
// the daemon's arguments set, then the file.
//
// The file is read at the time of asking, as if sshd were reloaded after each change.
func (m *machine) sshdEffective(who cred, args []string, conn *connection) (sshdConfig, error) {
	p := &sshdParser{m: m, who: who, conn: conn, global: sshdConfig{}, match: sshdConfig{}}
	file := "/etc/ssh/sshd_config"
	for i := 0; i < len(args); i++ {
		option, value := args[i], ""
		if len(option) > 2 && option[0] == '-' {
			option, value = option[:2], option[2:]
		} else if i+1 < len(args) {
			value = args[i+1]
		}
		switch option {
		case "-o", "-f", "-p", "-h":
			if len(args[i]) == 2 {
				i++
			}
		}
		switch option {
		case "-o":
			p.line("command-line", 0, value, p.global)
		case "-p":
			p.line("command-line", 0, "Port "+value, p.global)
		case "-h":
			p.line("command-line", 0, "HostKey "+value, p.global)
		case "-f":
			file = value
		}
	}
	data, err := m.fs.readFile(who, file)
	if err != nil {
		return nil, sshdError{file + ": " + errorText(err)}
	}
	p.file(file, data, p.global)
	if p.fatal != "" {
		return nil, sshdError{p.fatal}
	}
	if len(p.errs) > 0 {
		return nil, sshdError{strings.Join(append(p.errs, fmt.Sprintf("%s: terminating, %d bad configuration options", file, len(p.errs))), "\n")}
	}
	for k, v := range p.match {
		p.global[k] = v
	}
	return p.global, nil
}

// file reads one file, whose lines belong to a section up to its first Match
// line; a nil section only checks them.
func (p *sshdParser) file(name string, data []byte, section sshdConfig) {
	if p.depth++; p.depth > 16 {
		p.fatal = "Too many recursive configuration includes"
		return
	}
	defer func() { p.depth-- }()
	active := section != nil
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		if p.fatal != "" {
			return
		}
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		keyword, rest := splitKeyword(line)
		switch strings.ToLower(keyword) {
		case "match":
			switch section = nil; {
			case !active || !p.matches(rest):
			case p.conn == nil:
				section = p.global // "Match all" while no connection is looked at
			default:
				section = p.match
			}
		case "include":
			p.include(rest, section)
		default:
			p.line(name, n, line, section)
		}
	}
}

// include reads the files that patterns name. Within a Match block they belong to it.
func (p *sshdParser) include(patterns string, section sshdConfig) {
	for _, pattern := range splitArguments(patterns) {
		if !path.IsAbs(pattern) {
			pattern = path.Join("/etc/ssh", pattern)
		}
		entries, err := p.m.fs.readDir(p.who, path.Dir(pattern))
		if err != nil {
			continue
		}
		for _, e := range entries {
			if ok, err := path.Match(path.Base(pattern), e.Name()); err != nil || !ok {
				continue
			}
			name := path.Join(path.Dir(pattern), e.Name())
			data, err := p.m.fs.readFile(p.who, name)
			if err != nil {
				p.fatal = name + ": " + errorText(err)
				return
			}
			p.file(name, data, section)
		}
	}
}

// splitKeyword cuts a line at the first blanks or at "=".
func splitKeyword(line string) (keyword, rest string) {
	i := strings.IndexAny(line, " \t=")
	if i < 0 {
		return line, ""
	}
	rest = strings.TrimLeft(line[i:], " \t")
	rest = strings.TrimLeft(strings.TrimPrefix(rest, "="), " \t")
	return line[:i], rest
}

// line takes one setting into a section; a nil section only checks it.
func (p *sshdParser) line(file string, n int, line string, section sshdConfig) {
	keyword, rest := splitKeyword(line)
	name := strings.ToLower(keyword)
	if newer, ok := sshdAliases[name]; ok {
		name = newer
	}
	if sshdDeprecated[name] {
		return
	}
	i := slices.IndexFunc(sshdKeywords, func(k sshdKeyword) bool { return k.name == name })
	if i < 0 {
		p.errs = append(p.errs, fmt.Sprintf("%s: line %d: Bad configuration option: %s", file, n, keyword))
		return
	}
	args := splitArguments(rest)
	if i := slices.IndexFunc(args, func(a string) bool { return strings.HasPrefix(a, "#") }); i >= 0 {
		args = args[:i]
	}
	if len(args) == 0 {
		p.errs = append(p.errs, fmt.Sprintf("%s line %d: no argument after keyword \"%s\"", file, n, keyword))
		return
	}
	k := sshdKeywords[i]
	if k.verbatim {
		args = []string{strings.TrimSpace(rest)}
	}
	args, bad := k.canonical(args)
	if bad != "" {
		p.fatal = fmt.Sprintf("%s line %d: %s", file, n, bad)
		return
	}
	switch _, set := section[name]; {
	case section == nil:
	case k.adds:
		section[name] = append(section[name], args...)
	case !set:
		section[name] = args
	}
}

// matches evaluates the criteria of a Match line.
func (p *sshdParser) matches(criteria string) bool {
	words := splitArguments(strings.ReplaceAll(criteria, "=", " "))
	if len(words) == 1 && strings.EqualFold(words[0], "all") {
		return true
	}
	if p.conn == nil {
		return false
	}
	for i := 0; i+1 < len(words); i += 2 {
		pattern, c := words[i+1], p.conn
		ok := false
		switch strings.ToLower(words[i]) {
		case "user":
			ok = c.user != "" && matchList(c.user, pattern)
		case "group":
			ok = slices.ContainsFunc(c.groups, func(g string) bool { return matchList(g, pattern) })
		case "host":
			ok = c.host != "" && matchList(c.host, pattern)
		case "address":
			ok = c.addr != "" && matchAddress(c.addr, pattern)
		case "localaddress":
			ok = c.laddr != "" && matchAddress(c.laddr, pattern)
		case "localport":
			ok = c.lport == pattern
		default:
			p.fatal = "Unsupported Match attribute " + words[i]
		}
		if !ok {
			return false
		}
	}
	return true
}

// port is where sshd listens.
func (c sshdConfig) port() int {
	n, err := strconv.Atoi(c.first("port"))
	if err != nil {
		return 22
	}
	return n
}
