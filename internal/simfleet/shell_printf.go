package simfleet

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// shellPrintf is POSIX printf: the interpreter's own lacks widths and precisions.
func shellPrintf(_ context.Context, _ *shell, q *process) int {
	args := q.args[1:]
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return q.fail(2, "usage: printf format [arg ...]")
	}
	f := formatter{args: args[1:]}
	for {
		before := len(f.args)
		f.once(args[0])
		// The format is used again as long as it consumes arguments.
		if f.stop || len(f.args) == 0 || len(f.args) == before {
			break
		}
	}
	q.printf("%s", f.out.String())
	if f.bad != "" {
		_, _ = fmt.Fprintf(q.stderr, "printf: %s\n", f.bad)
		return 1
	}
	return 0
}

// formatter works through one call of printf.
type formatter struct {
	out  strings.Builder
	args []string
	stop bool // \c in an argument of %b
	bad  string
}

func (f *formatter) next() string {
	if len(f.args) == 0 {
		return ""
	}
	a := f.args[0]
	f.args = f.args[1:]
	return a
}

// once works through the format one time.
func (f *formatter) once(format string) {
	for i := 0; i < len(format) && !f.stop; i++ {
		switch format[i] {
		case '\\':
			text, n, _ := unescape(format[i:], false)
			f.out.WriteString(text)
			i += n - 1
		case '%':
			i += f.conversion(format[i:]) - 1
		default:
			f.out.WriteByte(format[i])
		}
	}
}

// conversion handles what starts with a percent sign and gives its length.
func (f *formatter) conversion(s string) int {
	end := 1
	spec := "%"
	for end < len(s) && strings.IndexByte("-+ 0#.123456789*", s[end]) >= 0 {
		if s[end] == '*' {
			spec += strconv.Itoa(f.integer(f.next()))
		} else {
			spec += s[end : end+1]
		}
		end++
	}
	if end == len(s) {
		f.bad = s + ": missing format character"
		return end
	}
	switch verb := s[end]; verb {
	case '%':
		f.out.WriteByte('%')
	case 's':
		fmt.Fprintf(&f.out, spec+"s", f.next())
	case 'b':
		text, stop := unescapeAll(f.next())
		fmt.Fprintf(&f.out, spec+"s", text)
		f.stop = stop
	case 'c':
		fmt.Fprintf(&f.out, spec+".1s", f.next())
	case 'd', 'i', 'u':
		fmt.Fprintf(&f.out, spec+"d", f.integer(f.next()))
	case 'o', 'x', 'X':
		fmt.Fprintf(&f.out, spec+string(verb), f.integer(f.next()))
	case 'e', 'f', 'g':
		n, err := strconv.ParseFloat(strings.TrimSpace(f.next()), 64)
		if err != nil {
			f.bad = "expected numeric value"
		}
		fmt.Fprintf(&f.out, spec+string(verb), n)
	default:
		f.bad = s[:end+1] + ": invalid directive"
		f.stop = true
	}
	return end + 1
}

func (f *formatter) integer(s string) int {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0
	}
	if (s[0] == '\'' || s[0] == '"') && len(s) > 1 {
		r, _ := utf8.DecodeRuneInString(s[1:])
		return int(r)
	}
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		f.bad = s + ": expected numeric value"
	}
	return int(n)
}

// unescapeAll undoes the escapes of a %b argument; stop tells of a \c.
func unescapeAll(s string) (text string, stop bool) {
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			i++
			continue
		}
		part, n, end := unescape(s[i:], true)
		b.WriteString(part)
		if end {
			return b.String(), true
		}
		i += n
	}
	return b.String(), false
}

// unescape reads one escape at the start of s and gives its length. In a %b
// argument an octal number starts with a 0 of its own, and \c ends the output.
func unescape(s string, argument bool) (text string, n int, stop bool) {
	if len(s) < 2 {
		return s, len(s), false
	}
	if i := strings.IndexByte("abfnrtv\\\"'", s[1]); i >= 0 {
		return "\a\b\f\n\r\t\v\\\"'"[i : i+1], 2, false
	}
	if argument && s[1] == 'c' {
		return "", 2, true
	}
	start := 1
	if argument && s[1] == '0' {
		start = 2
	}
	end := start
	for end < len(s) && end < start+3 && s[end] >= '0' && s[end] <= '7' {
		end++
	}
	if end == start && start == 1 {
		return s[:2], 2, false
	}
	code, _ := strconv.ParseUint("0"+s[start:end], 8, 16)
	return string([]byte{byte(code)}), end, false
}
