package inventory

import (
	"strings"
	"unicode/utf8"
)

// maxOutput is how much of a host's output is looked at. The script's own
// limits keep an honest host well below it.
const maxOutput = 16 << 20

// record is one line of structure and the content that belongs to it.
type record struct {
	tag    string
	fields []string
	lines  []string // content; foreign text, not yet cleaned
}

// field gives the i-th field, cleaned; empty when it is not there.
func (r record) field(i int) string {
	if i >= len(r.fields) {
		return ""
	}
	return clean(r.fields[i])
}

// section is one part of the probe's output. Its end was seen: what is missing
// from it was not there.
type section []record

// all gives the records with a tag.
func (s section) all(tag string) []record {
	var out []record
	for _, r := range s {
		if r.tag == tag {
			out = append(out, r)
		}
	}
	return out
}

// first gives the first record with a tag.
func (s section) first(tag string) (record, bool) {
	for _, r := range s {
		if r.tag == tag {
			return r, true
		}
	}
	return record{}, false
}

// frame is a probe's output cut into sections. Sections without an end are left out.
type frame map[string]section

const (
	frameHeader = "migrate-probe 1"
	frameEnd    = "done"
	maxFields   = 12
)

// unframe cuts up a probe's output. What a login shell prints before the header
// is skipped; ok tells whether there was a header at all.
func unframe(stdout []byte) (f frame, ok bool) {
	text := string(stdout[:min(len(stdout), maxOutput)])
	start := strings.Index("\n"+text, "\n"+frameHeader+"\n")
	if start < 0 {
		return nil, false
	}
	text = text[start+len(frameHeader)+1:]
	f = frame{}
	var name string
	var open section
	for {
		line, rest, whole := strings.Cut(text, "\n")
		if !whole {
			return f, true // the last line may have been cut off
		}
		text = rest
		if content, is := strings.CutPrefix(line, "|"); is {
			if n := len(open); n > 0 {
				open[n-1].lines = append(open[n-1].lines, content)
			}
			continue
		}
		fields := strings.SplitN(line, "\t", maxFields)
		switch tag := fields[0]; {
		case tag == "begin" && len(fields) == 2:
			name, open = fields[1], section{}
		case tag == "end" && len(fields) == 2 && fields[1] == name:
			if _, again := f[name]; !again {
				f[name] = open
			}
			name, open = "", nil
		case tag == frameEnd && name == "":
			return f, true
		case name != "" && tag != "":
			open = append(open, record{tag: tag, fields: fields[1:]})
		}
	}
}

// maxText bounds every single string that is taken from a host.
const maxText = 4096

// clean makes foreign text fit for a screen: valid UTF-8 without control
// characters (so without terminal escapes) and without characters that reorder
// the text around them, bounded in length.
func clean(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	if plain(s) {
		return s
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case unsafeRune(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, string(utf8.RuneError))))
}

func plain(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// unsafeRune reports C0 and C1 controls, line and paragraph separators, and the
// marks that change the direction of text.
func unsafeRune(r rune) bool {
	return r < 0x20 || r >= 0x7f && r < 0xa0 ||
		r >= 0x200e && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// firstWords joins the first lines of a program's complaint to one line.
func firstWords(lines []string) string {
	return clean(strings.Join(lines[:min(len(lines), 3)], "; "))
}
