package sshhost

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/kevinburke/ssh_config"
)

// The keywords that are honoured; true: every value counts, not only the first.
var honoured = map[string]bool{
	"hostname": false, "user": false, "port": false,
	"identityfile": true, "certificatefile": true, "identitiesonly": false, "identityagent": false,
	"proxyjump": false, "proxycommand": false,
	"userknownhostsfile": false, "globalknownhostsfile": false, "hashknownhosts": false,
	"stricthostkeychecking": false, "hostkeyalias": false,
	"connecttimeout": false,
}

const (
	includeKey       = "X-Included"    // stands for an Include line in text given to the parser
	maxConfigDepth   = 16              // OpenSSH's limit of nested Include
	maxConfigSize    = 8 << 20         // of one file
	controlName      = "no-such-host." // a name that only patterns for any host match
	systemConfigFile = "/etc/ssh/ssh_config"
)

// sshConfig is ssh_config, parsed once. It does not change afterwards.
type sshConfig struct {
	files []*configFile
	args  []string // options of ssh that select the same files
}

type configFile struct{ blocks []block }

// block is a Host or Match line with what follows it.
type block struct {
	match    bool             // a Match line: its patterns look at HostName
	opaque   bool             // a Match line that only OpenSSH's client can evaluate
	relevant bool             // an opaque block holds an honoured keyword
	any      bool             // applies to every name
	yes, no  *ssh_config.Host // patterns, and the negated ones; nil: none
	nodes    []node
}

// node is a setting, or the files of an Include line.
type node struct {
	key, value string // key in lower case
	included   []*configFile
}

// loadConfig reads the files that name stands for. Files that do not exist
// count as empty, unless name was given.
func loadConfig(name string, env environment) (*sshConfig, error) {
	l := &configLoader{env: env}
	conf := &sshConfig{}
	switch name {
	case "none":
		conf.args = []string{"-F", "none"}
		return conf, nil
	case "":
		for _, path := range []string{filepath.Join(env.home, ".ssh", "config"), systemConfigFile} {
			f, err := l.load(path, 0)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			conf.files = append(conf.files, f)
		}
		return conf, nil
	}
	path := expandHome(name, env.home)
	f, err := l.load(path, 0)
	if err != nil {
		return nil, err
	}
	conf.files, conf.args = []*configFile{f}, []string{"-F", path}
	return conf, nil
}

type configLoader struct{ env environment }

func (l *configLoader) load(path string, depth int) (*configFile, error) {
	if depth > maxConfigDepth {
		return nil, fmt.Errorf("read %s: %w", path, errNested)
	}
	text, err := readSmall(path, maxConfigSize)
	if err != nil {
		return nil, fmt.Errorf("read ssh_config: %w", err)
	}
	f, err := parseConfig(text, func(patterns []string) ([]*configFile, error) {
		return l.include(patterns, path, depth+1)
	})
	if errors.Is(err, errNested) {
		return nil, err // each file of the way there would say so again
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return f, nil
}

var errNested = errors.New("Include lines are nested too deeply") //nolint:staticcheck // Include is a keyword

// include loads the files of one Include line. Relative names are looked for
// where the including file's kind has its home, as OpenSSH does.
func (l *configLoader) include(patterns []string, from string, depth int) ([]*configFile, error) {
	base := filepath.Join(l.env.home, ".ssh")
	if strings.HasPrefix(from, "/etc/ssh/") {
		base = "/etc/ssh"
	}
	var files []*configFile
	for _, p := range patterns {
		p = expandHome(p, l.env.home)
		if !filepath.IsAbs(p) {
			p = filepath.Join(base, p)
		}
		paths, err := filepath.Glob(p)
		if err != nil {
			return nil, fmt.Errorf("include %s: %w", clean(p, 200), err)
		}
		for _, path := range paths {
			f, err := l.load(path, depth)
			if err != nil {
				return nil, err
			}
			files = append(files, f)
		}
	}
	return files, nil
}

// readSmall reads a regular file of at most limit bytes.
func readSmall(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		if path == os.DevNull {
			return nil, nil
		}
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return os.ReadFile(path)
}

// parseConfig parses one file. The ssh_config library resolves Include itself,
// but fails the whole file on most forms of Match and takes further criteria
// of "Match host" for patterns; so it is given text without either, and blocks
// keep their meaning here.
func parseConfig(text []byte, include func(patterns []string) ([]*configFile, error)) (*configFile, error) {
	f := &configFile{blocks: []block{{any: true}}}
	var included [][]*configFile
	var plain strings.Builder
	for number, line := range strings.Split(string(text), "\n") {
		key, value := splitLine(line)
		switch key {
		case "host", "match":
			b, err := newBlock(key, value)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", number+1, err)
			}
			f.blocks = append(f.blocks, b)
			plain.WriteString("Host *\n")
		case "include":
			files, err := include(words(value))
			if errors.Is(err, errNested) {
				return nil, err
			}
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", number+1, err)
			}
			fmt.Fprintf(&plain, "%s %d\n", includeKey, len(included))
			included = append(included, files)
		default:
			if _, ok := honoured[key]; ok {
				plain.WriteString(key + " " + value)
			}
			plain.WriteByte('\n')
		}
	}
	parsed, err := decodeConfig(plain.String())
	if err != nil {
		return nil, err
	}
	if len(parsed.Hosts) != len(f.blocks) {
		return nil, errors.New("cannot make out the Host lines")
	}
	for i, h := range parsed.Hosts {
		f.blocks[i].take(h.Nodes, included)
	}
	return f, nil
}

// decodeConfig calls the library, whose lexer can panic.
func decodeConfig(text string) (c *ssh_config.Config, err error) {
	defer func() {
		if r := recover(); r != nil {
			c, err = nil, fmt.Errorf("cannot be parsed: %v", r)
		}
	}()
	return ssh_config.DecodeBytes([]byte(text))
}

func (b *block) take(nodes []ssh_config.Node, included [][]*configFile) {
	for _, n := range nodes {
		kv, ok := n.(*ssh_config.KV)
		if !ok {
			continue
		}
		key := strings.ToLower(kv.Key)
		if strings.EqualFold(key, includeKey) {
			if i, err := strconv.Atoi(kv.Value); err == nil && i >= 0 && i < len(included) {
				b.nodes = append(b.nodes, node{included: included[i]})
				b.relevant = b.relevant || slices.ContainsFunc(included[i], (*configFile).relevant)
			}
			continue
		}
		if _, ok := honoured[key]; ok && kv.Value != "" {
			b.nodes = append(b.nodes, node{key: key, value: kv.Value})
			b.relevant = true
		}
	}
}

// relevant reports whether the file sets anything that is honoured.
func (f *configFile) relevant() bool {
	return slices.ContainsFunc(f.blocks, func(b block) bool { return b.relevant })
}

// newBlock reads the rest of a Host or Match line.
func newBlock(key, rest string) (block, error) {
	args := words(rest)
	if len(args) == 0 {
		return block{}, fmt.Errorf("%s without an argument", key)
	}
	if key == "host" {
		b := block{}
		return b, b.patterns(args)
	}
	first := strings.ToLower(args[0])
	if first == "all" && len(args) == 1 {
		return block{match: true, any: true}, nil
	}
	b := block{match: true, opaque: true, any: true}
	for i, a := range args[:len(args)-1] {
		a = strings.ToLower(a)
		if a == "host" || a == "originalhost" {
			b.any = false
			b.match = a == "host"
			b.opaque = len(args) > 2 || i > 0
			return b, b.patterns(strings.Split(args[i+1], ","))
		}
	}
	return b, nil
}

// patterns sets the block's patterns.
func (b *block) patterns(list []string) error {
	for _, s := range list {
		into, bare := &b.yes, s
		if strings.HasPrefix(s, "!") {
			into, bare = &b.no, s[1:]
		}
		if bare == "" {
			continue
		}
		p, err := ssh_config.NewPattern(strings.TrimLeft(bare, "!"))
		if err != nil {
			return fmt.Errorf("pattern %q: %w", clean(s, 60), err)
		}
		if *into == nil {
			*into = &ssh_config.Host{}
		}
		(*into).Patterns = append((*into).Patterns, p)
	}
	return nil
}

// splitLine gives a line's keyword in lower case and the rest.
func splitLine(line string) (key, value string) {
	line = strings.TrimSpace(strings.ReplaceAll(line, "\r", " "))
	if line == "" || line[0] == '#' {
		return "", ""
	}
	end := strings.IndexAny(line, " \t=")
	if end < 0 {
		return strings.ToLower(line), ""
	}
	value = strings.TrimLeft(line[end:], " \t")
	value = strings.TrimLeft(strings.TrimPrefix(value, "="), " \t")
	return strings.ToLower(line[:end]), value
}

// words splits arguments at white space, honouring double quotes, up to a comment.
func words(s string) []string {
	var list []string
	for {
		s = strings.TrimLeft(s, " \t")
		if s == "" || s[0] == '#' {
			return list
		}
		end, quote := strings.IndexAny(s, " \t"), byte(0)
		if s[0] == '"' {
			quote = '"'
			s = s[1:]
			end = strings.IndexByte(s, quote)
		}
		if end < 0 {
			return append(list, s)
		}
		list = append(list, s[:end])
		s = s[end:]
		if quote != 0 {
			s = s[1:]
		}
	}
}
