package fleet

import "strings"

// unquote undoes the quoting of an authorized_keys option value: only \" is an
// escape there (sshd's opt_dequote).
func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	return strings.ReplaceAll(s[1:len(s)-1], `\"`, `"`)
}
