package sshhost

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// expandHome replaces a leading "~/".
func expandHome(path, home string) string {
	if path == "~" {
		return home
	}
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return filepath.Join(home, rest)
	}
	return path
}

// expand replaces ssh_config's %-tokens.
func (t *target) expand(s, login string, env environment) (string, error) {
	if !strings.Contains(s, "%") {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i == len(s) {
			return "", fmt.Errorf("%q ends in a lone %%", clean(s, 100))
		}
		switch s[i] {
		case '%':
			b.WriteByte('%')
		case 'd':
			b.WriteString(env.home)
		case 'h':
			b.WriteString(t.name)
		case 'i':
			b.WriteString(env.uid)
		case 'k':
			if t.keyAlias != "" {
				b.WriteString(t.keyAlias)
			} else {
				b.WriteString(t.name)
			}
		case 'L':
			short, _, _ := strings.Cut(env.hostname, ".")
			b.WriteString(short)
		case 'l':
			b.WriteString(env.hostname)
		case 'n':
			b.WriteString(t.alias)
		case 'p':
			b.WriteString(strconv.Itoa(t.port))
		case 'r':
			b.WriteString(login)
		case 'u':
			b.WriteString(env.user)
		default:
			return "", fmt.Errorf("%q: token %%%s is not supported", clean(s, 100), clean(s[i:i+1], 4))
		}
	}
	return b.String(), nil
}

// expandPath replaces "~/", %-tokens and ${VARIABLES} in a file name.
func (t *target) expandPath(s, login string, env environment) (string, error) {
	s, err := t.expand(s, login, env)
	if err != nil {
		return "", err
	}
	for {
		before, rest, ok := strings.Cut(s, "${")
		if !ok {
			return expandHome(s, env.home), nil
		}
		name, after, ok := strings.Cut(rest, "}")
		if !ok {
			return expandHome(s, env.home), nil
		}
		value, set := os.LookupEnv(name)
		if !set || strings.Contains(value, "${") {
			return "", fmt.Errorf("environment variable %s is not usable in a file name", clean(name, 60))
		}
		s = before + value + after
	}
}

// safeName reports whether s can be used as a name in ssh's arguments and
// in shell commands: names of instances are chosen by whoever may tag them.
func safeName(s, also string) bool {
	if s == "" || len(s) > 255 || s[0] == '-' {
		return false
	}
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
		case strings.ContainsRune(also, r):
		default:
			return false
		}
	}
	return true
}
