package report

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"ssm-migrate/internal/fleet"
)

// paper is a text with headings, from which every format is written.
type paper struct {
	Title  string
	Blocks []block
	anchor map[string]int
}

// block is a part of a document: what is set says what it is.
type block struct {
	Level  int    // of a heading; 0: none
	Anchor string // of a heading
	Text   []span
	List   [][]span
	Head   []string // of a table
	Rows   [][][]span
	Code   string // commands
}

// span is a piece of text in one type.
type span struct {
	Text         string
	Code, Strong bool
}

// spans makes text of a format of our own words: `code`, **strong**, and %s for
// one word or sentence of the fleet's, which changes no type whatever is in it.
func spans(format string, args ...string) []span {
	var out []span
	var now span
	flush := func() {
		if now.Text != "" {
			out = append(out, now)
		}
		now.Text = ""
	}
	for len(format) > 0 {
		switch {
		case strings.HasPrefix(format, "%s"):
			now.Text += clean(args[0])
			args, format = args[1:], format[2:]
		case strings.HasPrefix(format, "**"):
			flush()
			now.Strong, format = !now.Strong, format[2:]
		case format[0] == '`':
			flush()
			now.Code, format = !now.Code, format[1:]
		default:
			now.Text += format[:1]
			format = format[1:]
		}
	}
	flush()
	return out
}

func (d *paper) heading(level int, format string, args ...string) {
	text := spans(format, args...)
	var words strings.Builder
	for _, s := range text {
		words.WriteString(s.Text)
	}
	a := strings.Trim(notSlug.ReplaceAllString(strings.ToLower(words.String()), "-"), "-")
	if d.anchor == nil {
		d.anchor = map[string]int{}
	}
	d.anchor[a]++
	if n := d.anchor[a]; n > 1 {
		a += "-" + strconv.Itoa(n)
	}
	d.Blocks = append(d.Blocks, block{Level: level, Anchor: a, Text: text})
}

var notSlug = regexp.MustCompile(`[^a-z0-9]+`)

func (d *paper) say(format string, args ...string) {
	d.Blocks = append(d.Blocks, block{Text: spans(format, args...)})
}

// item adds to the list that the document ends with, or begins one.
func (d *paper) item(format string, args ...string) {
	if n := len(d.Blocks); n == 0 || d.Blocks[n-1].List == nil {
		d.Blocks = append(d.Blocks, block{List: [][]span{}})
	}
	last := &d.Blocks[len(d.Blocks)-1]
	last.List = append(last.List, spans(format, args...))
}

func (d *paper) table(head ...string) { d.Blocks = append(d.Blocks, block{Head: head}) }

func (d *paper) row(cells ...[]span) {
	last := &d.Blocks[len(d.Blocks)-1]
	last.Rows = append(last.Rows, cells)
}

// run adds commands. All that is foreign in them has been quoted.
func (d *paper) run(lines ...string) {
	d.Blocks = append(d.Blocks, block{Code: strings.Join(lines, "\n")})
}

func (d *paper) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n", md(clean(d.Title)))
	for _, x := range d.Blocks {
		b.WriteString("\n")
		switch {
		case x.Level > 0:
			fmt.Fprintf(&b, "%s %s\n", strings.Repeat("#", x.Level), mdSpans(x.Text))
		case x.Code != "":
			fence := "```"
			for strings.Contains(x.Code, fence) {
				fence += "`"
			}
			fmt.Fprintf(&b, "%sbash\n%s\n%s\n", fence, x.Code, fence)
		case x.List != nil:
			for _, i := range x.List {
				fmt.Fprintf(&b, "- %s\n", mdSpans(i))
			}
		case x.Head != nil:
			fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(x.Head, " | "), strings.Repeat(" --- |", len(x.Head)))
			for _, r := range x.Rows {
				cells := make([]string, 0, len(r))
				for _, c := range r {
					cells = append(cells, mdSpans(c))
				}
				fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
			}
		default:
			fmt.Fprintf(&b, "%s\n", mdSpans(x.Text))
		}
	}
	return b.String()
}

func mdSpans(list []span) string {
	var b strings.Builder
	for _, s := range list {
		text := md(s.Text)
		if s.Code {
			text = code(s.Text)
		}
		if s.Strong {
			text = "**" + text + "**"
		}
		b.WriteString(text)
	}
	return b.String()
}

// safe keeps what is harmless on a line that a shell or ssh reads, in a comment or as
// a name of our choice: some shells do not know comments when they are typed in.
func safe(s string) string { return notSafe.ReplaceAllString(fleet.OneLine(s, 200), "_") }

var notSafe = regexp.MustCompile(`[^A-Za-z0-9._:@/+-]`)

// shellWord makes one word of s for bash, zsh and ksh, in printable ASCII alone, so
// that what is seen is what is copied. NUL cannot be in a word and is left out.
func shellWord(s string) string {
	s = strings.ReplaceAll(s, "\x00", "")
	plain, printable := s != "", true
	for i := range len(s) {
		c := s[i]
		printable = printable && c >= ' ' && c < 0x7f
		plain = plain && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_-./:@+,", c) >= 0)
	}
	switch {
	case plain && s[0] != '-' && s[0] != '+':
		return s
	case printable:
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	var b strings.Builder
	b.WriteString("$'")
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\\' || c == '\'':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c >= ' ' && c < 0x7f:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\%03o`, c) // of fixed length: a digit after it is not taken in
		}
	}
	b.WriteString("'")
	return b.String()
}

// Chapters are the headings of the first level below the title.
func (d *paper) Chapters() []block {
	var out []block
	for _, b := range d.Blocks {
		if b.Level == 2 {
			out = append(out, b)
		}
	}
	return out
}
