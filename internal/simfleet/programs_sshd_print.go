package simfleet

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// print writes a configuration as "sshd -T" of a version does.
func (c sshdConfig) print(version int) []string {
	var out []string
	for _, k := range sshdKeywords {
		if version < k.since || k.until > 0 && version >= k.until {
			continue
		}
		name := k.nameIn(version)
		values := c.get(k.name)
		switch {
		case k.name == "listenaddress":
			for _, a := range c.listenAddresses() {
				out = append(out, name+" "+a)
			}
		case k.name == "challengeresponseauthentication":
			out = append(out, name+" "+c.first("kbdinteractiveauthentication"))
		case k.adds, k.name == "setenv":
			for _, v := range values {
				out = append(out, name+" "+v)
			}
		default:
			out = append(out, name+" "+strings.Join(values, " "))
		}
	}
	return out
}

// nameIn is the keyword's name in a version: 8.5 renamed two (release notes).
func (k sshdKeyword) nameIn(version int) string {
	if version < 805 && (k.name == "pubkeyacceptedalgorithms" || k.name == "hostbasedacceptedalgorithms") {
		return strings.TrimSuffix(k.name, "algorithms") + "keytypes"
	}
	return k.name
}

func (c sshdConfig) listenAddresses() []string {
	port := strconv.Itoa(c.port())
	given := c["listenaddress"]
	if len(given) == 0 {
		return []string{"[::]:" + port, "0.0.0.0:" + port}
	}
	var out []string
	for _, a := range given {
		switch strings.Count(a, ":") {
		case 0:
			a += ":" + port
		case 1:
		default:
			if !strings.HasPrefix(a, "[") {
				a = "[" + a + "]:" + port
			}
		}
		out = append(out, a)
	}
	return out
}

// canonical turns arguments into the form that sshd prints, or says what is
// wrong with them.
func (k sshdKeyword) canonical(args []string) (out []string, bad string) {
	unsupported := fmt.Sprintf("unsupported option \"%s\".", args[0])
	switch k.kind {
	case lower:
		v := strings.ToLower(args[0])
		if !slices.Contains([]string{"yes", "no", "local", "remote", "all", "clientspecified", "delayed", "point-to-point", "ethernet", "shosts-only"}, v) {
			return nil, unsupported
		}
		if v == "all" {
			v = "yes"
		}
		return []string{v}, ""
	case upper:
		return []string{strings.ToUpper(args[0])}, ""
	case rootLogin:
		switch v := strings.ToLower(args[0]); v {
		case "prohibit-password":
			return []string{"without-password"}, ""
		case "yes", "no", "without-password", "forced-commands-only":
			return []string{v}, ""
		}
		return nil, unsupported
	case aTime:
		n, ok := timeValue(args[0])
		if !ok {
			return nil, "invalid time value."
		}
		return []string{strconv.Itoa(n)}, ""
	case startups:
		if _, err := strconv.Atoi(args[0]); err == nil {
			return []string{args[0] + ":30:" + args[0]}, ""
		}
	}
	return args, ""
}

// timeValue reads sshd_config's time format: numbers with the units s, m, h, d and w.
func timeValue(s string) (int, bool) {
	total, n, digits := 0, 0, false
	for _, r := range strings.ToLower(s) {
		unit := map[rune]int{'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 604800}[r]
		switch {
		case r >= '0' && r <= '9':
			n, digits = n*10+int(r-'0'), true
		case unit > 0 && digits:
			total, n, digits = total+n*unit, 0, false
		default:
			return 0, false
		}
	}
	return total + n, digits || total > 0
}
