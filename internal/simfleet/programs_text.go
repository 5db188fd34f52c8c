package simfleet

import (
	"bytes"
	"cmp"
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// eachInput calls f with each operand's content, standard input without
// operands, and gives the exit status: 1 once a file could not be read.
func eachInput(p *process, operands []string, f func(name string, data []byte)) int {
	if len(operands) == 0 {
		operands = []string{"-"}
	}
	status := 0
	for _, name := range operands {
		data, err := p.input(name)
		if err != nil {
			status = p.fail(1, "%s: %s", name, errorText(err))
			continue
		}
		f(name, data)
	}
	return status
}

func runCat(_ context.Context, p *process) int {
	return eachInput(p, parseOptions(p.args[1:], "").operands, func(_ string, data []byte) { _, _ = p.stdout.Write(data) })
}

// lines splits text into lines without their ends; a last line without end counts.
func lines(data []byte) []string {
	if len(data) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

// count reads head's and tail's -n and -c, and the old form -N.
func count(p *process) (n int, unit byte, fromStart bool, operands []string) {
	args := slices.Clone(p.args[1:])
	for i, a := range args {
		if len(a) > 1 && a[0] == '-' && a[1] >= '0' && a[1] <= '9' {
			args[i] = "-n" + a[1:]
		}
	}
	o := parseOptions(args, "nc", "lines", "bytes")
	text, unit := "10", byte('n')
	if v, ok := o.value("n", "lines"); ok {
		text = v
	}
	if v, ok := o.value("c", "bytes"); ok {
		text, unit = v, 'c'
	}
	fromStart = strings.HasPrefix(text, "+")
	n, _ = strconv.Atoi(strings.TrimPrefix(text, "+"))
	return n, unit, fromStart, o.operands
}

func runHead(_ context.Context, p *process) int {
	n, unit, _, operands := count(p)
	return eachInput(p, operands, func(_ string, data []byte) {
		if unit == 'c' {
			_, _ = p.stdout.Write(data[:min(max(n, 0), len(data))])
			return
		}
		left := n
		for line := range bytes.Lines(data) {
			if left--; left < 0 {
				break
			}
			_, _ = p.stdout.Write(line)
		}
	})
}

func runTail(_ context.Context, p *process) int {
	n, unit, fromStart, operands := count(p)
	return eachInput(p, operands, func(_ string, data []byte) {
		if unit == 'c' {
			from := max(len(data)-n, 0)
			if fromStart {
				from = min(max(n-1, 0), len(data))
			}
			_, _ = p.stdout.Write(data[from:])
			return
		}
		all := bytes.SplitAfter(data, []byte("\n"))
		if len(all[len(all)-1]) == 0 {
			all = all[:len(all)-1]
		}
		from := max(len(all)-n, 0)
		if fromStart {
			from = min(max(n-1, 0), len(all))
		}
		_, _ = p.stdout.Write(bytes.Join(all[from:], nil))
	})
}

func runWc(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "")
	show := func(l, w, c int, name string) {
		var f []string
		all := !o.has("l", "w", "c")
		if all || o.has("l") {
			f = append(f, strconv.Itoa(l))
		}
		if all || o.has("w") {
			f = append(f, strconv.Itoa(w))
		}
		if all || o.has("c") {
			f = append(f, strconv.Itoa(c))
		}
		if name != "-" {
			f = append(f, name)
		}
		p.printf("%s\n", strings.Join(f, " "))
	}
	return eachInput(p, o.operands, func(name string, data []byte) {
		show(bytes.Count(data, []byte("\n")), len(bytes.Fields(data)), len(data), name)
	})
}

// runSort knows -r, -n, -u and -k N (up to the end of the line).
func runSort(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "kt")
	var all []string
	status := eachInput(p, o.operands, func(_ string, data []byte) { all = append(all, lines(data)...) })
	field := 0
	if v, ok := o.value("k"); ok {
		field, _ = strconv.Atoi(strings.TrimRight(strings.SplitN(v, ",", 2)[0], "nr"))
	}
	key := func(s string) string {
		if field < 2 {
			return s
		}
		f := strings.Fields(s)
		return strings.Join(f[min(field-1, len(f)):], " ")
	}
	number := func(s string) float64 {
		f := strings.Fields(s)
		if len(f) == 0 {
			return 0
		}
		n, _ := strconv.ParseFloat(f[0], 64)
		return n
	}
	compare := func(a, b string) int {
		a, b = key(a), key(b)
		if o.has("n") {
			if c := cmp.Compare(number(a), number(b)); c != 0 {
				return c
			}
		}
		return strings.Compare(a, b)
	}
	slices.SortStableFunc(all, func(a, b string) int {
		if o.has("r") {
			return compare(b, a)
		}
		return compare(a, b)
	})
	if o.has("u") {
		all = slices.Compact(all)
	}
	for _, l := range all {
		p.printf("%s\n", l)
	}
	return status
}

func runUniq(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "")
	return eachInput(p, o.operands, func(_ string, data []byte) {
		all := lines(data)
		for i := 0; i < len(all); {
			n := 1
			for i+n < len(all) && all[i+n] == all[i] {
				n++
			}
			if o.has("c") {
				p.printf("%7d %s\n", n, all[i])
			} else {
				p.printf("%s\n", all[i])
			}
			i += n
		}
	})
}

// runTr knows tr SET1 SET2 and tr -d SET1 with ranges and the escapes \n \t \0 \\.
func runTr(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "")
	if len(o.operands) == 0 {
		return p.fail(1, "missing operand")
	}
	from, to := trSet(o.operands[0]), ""
	if len(o.operands) > 1 {
		to = trSet(o.operands[1])
	}
	return eachInput(p, nil, func(_ string, data []byte) {
		out := make([]byte, 0, len(data))
		for _, b := range data {
			i := strings.IndexByte(from, b)
			switch {
			case i < 0:
				out = append(out, b)
			case o.has("d") || to == "":
			default:
				out = append(out, to[min(i, len(to)-1)])
			}
		}
		_, _ = p.stdout.Write(out)
	})
}

func trSet(s string) string {
	s = strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\000`, "\x00", `\0`, "\x00", `\\`, `\`, "[:upper:]", "A-Z", "[:lower:]", "a-z", "[:digit:]", "0-9").Replace(s)
	var out []byte
	for i := 0; i < len(s); i++ {
		if i+2 < len(s) && s[i+1] == '-' && s[i] < s[i+2] {
			for c := int(s[i]); c <= int(s[i+2]); c++ {
				out = append(out, byte(c))
			}
			i += 2
			continue
		}
		out = append(out, s[i])
	}
	return string(out)
}

// runCut knows -d and -f or -c with single numbers, lists and ranges.
func runCut(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "dfc")
	delimiter, ok := o.value("d")
	if !ok {
		delimiter = "\t"
	}
	list, fields := o.value("f")
	if !fields {
		list, _ = o.value("c")
	}
	wanted := func(n int) bool {
		for part := range strings.SplitSeq(list, ",") {
			from, to, isRange := strings.Cut(part, "-")
			a, _ := strconv.Atoi(from)
			b, err := strconv.Atoi(to)
			if !isRange {
				b = a
			} else if err != nil {
				b = n
			}
			if n >= a && n <= b {
				return true
			}
		}
		return false
	}
	return eachInput(p, o.operands, func(_ string, data []byte) {
		for _, line := range lines(data) {
			parts, glue := strings.Split(line, ""), ""
			if fields {
				if !strings.Contains(line, delimiter) {
					p.printf("%s\n", line)
					continue
				}
				parts, glue = strings.Split(line, delimiter), delimiter
			}
			var out []string
			for i, part := range parts {
				if wanted(i + 1) {
					out = append(out, part)
				}
			}
			p.printf("%s\n", strings.Join(out, glue))
		}
	})
}

// runGrep knows -E -F -v -i -q -c -h -H -n -l -s -a -x -m N and -e.
func runGrep(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "em")
	patterns, operands := o.flags["e"], o.operands
	if len(patterns) == 0 {
		if len(operands) == 0 {
			return p.fail(2, "usage: grep [OPTION]... PATTERNS [FILE]...")
		}
		patterns, operands = operands[:1], operands[1:]
	}
	match, err := grepMatcher(o, patterns)
	if err != nil {
		return p.fail(2, "%v", err)
	}
	limit, _ := o.value("m")
	most, err := strconv.Atoi(limit)
	if err != nil {
		most = -1
	}
	many := o.has("H") || len(operands) > 1 && !o.has("h")
	found := false
	stderr := p.stderr
	if o.has("s") {
		q := *p
		q.stderr = &bytes.Buffer{}
		p = &q
	}
	status := eachInput(p, operands, func(name string, data []byte) {
		n := 0
		for i, line := range lines(data) {
			if n == most || match(line) == o.has("v") {
				continue
			}
			n++
			found = true
			if o.has("q", "c", "l") {
				continue
			}
			if many {
				p.printf("%s:", name)
			}
			if o.has("n") {
				p.printf("%d:", i+1)
			}
			p.printf("%s\n", line)
		}
		switch {
		case o.has("l") && n > 0:
			p.printf("%s\n", name)
		case o.has("c") && many:
			p.printf("%s:%d\n", name, n)
		case o.has("c"):
			p.printf("%d\n", n)
		}
	})
	p.stderr = stderr
	switch {
	case status != 0 && (!found || !o.has("q")):
		return 2
	case found:
		return 0
	}
	return 1
}

func grepMatcher(o options, patterns []string) (func(string) bool, error) {
	var all []*regexp.Regexp
	for _, text := range patterns {
		for pattern := range strings.SplitSeq(text, "\n") {
			switch {
			case o.has("F"):
				pattern = regexp.QuoteMeta(pattern)
			case !o.has("E"):
				pattern = basicToExtended(pattern)
			}
			if o.has("x") {
				pattern = "^(?:" + pattern + ")$"
			}
			if o.has("i") {
				pattern = "(?i)" + pattern
			}
			re, err := regexp.Compile(pattern)
			if err != nil {
				return nil, err
			}
			all = append(all, re)
		}
	}
	return func(line string) bool {
		return slices.ContainsFunc(all, func(re *regexp.Regexp) bool { return re.MatchString(line) })
	}, nil
}

// basicToExtended exchanges the escaped and plain forms of ( ) { } | + ?,
// in which POSIX basic and extended expressions differ.
func basicToExtended(s string) string {
	const special = "(){}|+?"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			if !strings.ContainsRune(special, rune(s[i])) {
				b.WriteByte('\\')
			}
			b.WriteByte(s[i])
		case strings.ContainsRune(special, rune(s[i])):
			b.WriteByte('\\')
			b.WriteByte(s[i])
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}
