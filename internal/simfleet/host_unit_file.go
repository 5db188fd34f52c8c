package simfleet

import (
	"path"
	"strings"
	"time"
)

// unitFile is what a unit's file says.
type unitFile struct {
	name, path string
	sections   map[string]map[string][]string
}

func (f unitFile) get(section, key string) string {
	if all := f.sections[section][key]; len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}

func (f unitFile) transient() bool { return path.Dir(f.path) == transientDir }

// unitFile reads a unit's file and its drop-ins.
func (m *machine) unitFile(name string) (unitFile, bool) {
	for _, dir := range unitDirs {
		at := path.Join(dir, name)
		data, err := m.fs.readFile(root, at)
		if err != nil {
			continue
		}
		f := unitFile{name: name, path: at, sections: map[string]map[string][]string{}}
		f.read(data)
		for _, dir := range unitDirs {
			entries, err := m.fs.readDir(root, path.Join(dir, name+".d"))
			if err != nil {
				continue
			}
			for _, e := range entries {
				if data, err := m.fs.readFile(root, path.Join(dir, name+".d", e.Name())); err == nil && strings.HasSuffix(e.Name(), ".conf") {
					f.read(data)
				}
			}
		}
		return f, true
	}
	return unitFile{}, false
}

// read adds the settings of one file. An empty value takes back what was set before.
func (f unitFile) read(data []byte) {
	section := ""
	text := strings.ReplaceAll(string(data), "\\\n", " ")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "["); ok {
			section = strings.TrimSuffix(name, "]")
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || line[0] == '#' || line[0] == ';' {
			continue
		}
		if f.sections[section] == nil {
			f.sections[section] = map[string][]string{}
		}
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if value == "" {
			delete(f.sections[section], key)
			continue
		}
		f.sections[section][key] = append(f.sections[section][key], value)
	}
}

// splitExec splits a command line as systemd does: quotes, backslashes, "$$"
// and "%%", and a prefix that says how to run it. Nothing is a shell's.
func splitExec(line string) []string {
	var out []string
	var word strings.Builder
	quote, open := byte(0), false
	line = strings.TrimLeft(line, "@-:+!")
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '\\' && i+1 < len(line):
			i++
			c = line[i]
			if unescaped, ok := map[byte]byte{'n': '\n', 't': '\t', 's': ' '}[c]; ok {
				c = unescaped
			}
			word.WriteByte(c)
			open = true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, open = c, true
		case (c == '$' || c == '%') && i+1 < len(line) && line[i+1] == c:
			i++
			word.WriteByte(c)
			open = true
		case quote == 0 && (c == ' ' || c == '\t'):
			if open {
				out = append(out, word.String())
				word.Reset()
			}
			open = false
		default:
			word.WriteByte(c)
			open = true
		}
	}
	if open {
		out = append(out, word.String())
	}
	return out
}

// timeSpan reads systemd's "15min", "1h 30min" and "900" (seconds).
func timeSpan(text string) (time.Duration, bool) {
	var total time.Duration
	words := strings.Fields(text)
	for i := 0; i < len(words); i++ {
		unit := strings.TrimLeft(words[i], "0123456789")
		n, ok := decimal(strings.TrimSuffix(words[i], unit))
		if !ok {
			return 0, false
		}
		if unit == "" && i+1 < len(words) && strings.Trim(words[i+1], "0123456789") == words[i+1] {
			i++
			unit = words[i]
		}
		step, ok := spanUnits[unit]
		if !ok {
			return 0, false
		}
		total += time.Duration(n) * step
	}
	return total, len(words) > 0
}

var spanUnits = map[string]time.Duration{"": time.Second, "s": time.Second, "sec": time.Second, "second": time.Second, "seconds": time.Second,
	"ms": time.Millisecond, "m": time.Minute, "min": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"h": time.Hour, "hr": time.Hour, "hour": time.Hour, "hours": time.Hour, "d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour, "w": 7 * 24 * time.Hour}

// calendar reads an absolute time of OnCalendar; the machine's zone is UTC.
// Recurring ones are not understood.
func calendar(text string) (time.Time, bool) {
	if seconds, ok := strings.CutPrefix(text, "@"); ok {
		n, ok := decimal(seconds)
		return time.Unix(int64(n), 0).UTC(), ok
	}
	text = strings.TrimSuffix(strings.TrimSuffix(text, " UTC"), "Z")
	if day, rest, ok := strings.Cut(text, " "); ok && len(day) == 3 {
		text = rest // the day of the week
	}
	for _, form := range []string{"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.Parse(form, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// badTimer says what of a timer's file systemd would not take; empty: nothing.
func (f unitFile) badTimer() string {
	set := false
	for _, key := range []string{"OnActiveSec", "OnBootSec", "OnStartupSec", "OnUnitActiveSec", "OnUnitInactiveSec"} {
		for _, v := range f.sections["Timer"][key] {
			if _, ok := timeSpan(v); !ok {
				return "Failed to parse " + key + "= value, ignoring: " + v
			}
			set = true
		}
	}
	for _, v := range f.sections["Timer"]["OnCalendar"] {
		if _, ok := calendar(v); !ok {
			return "Failed to parse calendar specification, ignoring: " + v
		}
		set = true
	}
	if !set {
		return f.name + ": Timer unit lacks value setting. Refusing."
	}
	return ""
}

// stamp is the file by which a persistent timer knows when it ran last.
func (f unitFile) stamp() string { return "/var/lib/systemd/timers/stamp-" + f.name }

// nextRun computes when a timer goes off that was started at a time, by the
// host's clock; zero: never. base is since when an absolute time counts.
func (f unitFile) nextRun(now, started, booted, base time.Time) time.Time {
	var next time.Time
	consider := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	for _, v := range f.sections["Timer"]["OnActiveSec"] {
		if d, _ := timeSpan(v); started.Add(d).After(now) {
			consider(started.Add(d))
		}
	}
	for _, key := range []string{"OnBootSec", "OnStartupSec"} {
		for _, v := range f.sections["Timer"][key] {
			if d, _ := timeSpan(v); booted.Add(d).After(now) {
				consider(booted.Add(d))
			}
		}
	}
	for _, v := range f.sections["Timer"]["OnCalendar"] {
		if t, _ := calendar(v); t.After(base) {
			consider(t)
		}
	}
	return next
}
