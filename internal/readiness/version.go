package readiness

import (
	"slices"
	"strconv"
	"strings"
)

// version is an SSM Agent version: four numbers, as in "3.3.4851.0".
type version [4]int

// parseVersion reads a version of one to four numbers; missing ones are zero.
func parseVersion(s string) (version, bool) {
	var v version
	parts := strings.Split(strings.TrimSpace(s), ".")
	if len(parts) > len(v) {
		return version{}, false
	}
	for i, p := range parts {
		n, err := strconv.Atoi(p)
		if err != nil || n < 0 || p[0] == '+' {
			return version{}, false
		}
		v[i] = n
	}
	return v, true
}

func (v version) below(w version) bool { return slices.Compare(v[:], w[:]) < 0 }

func (v version) String() string {
	parts := make([]string, len(v))
	for i, n := range v {
		parts[i] = strconv.Itoa(n)
	}
	return strings.Join(parts, ".")
}
