package simfleet

import (
	"bytes"
	"sync"

	"mvdan.cc/sh/v3/syntax"
)

// parsedScript is shell text that is ready to run. Interpreters only read it:
// any number may do so at the same time.
type parsedScript struct {
	file      *syntax.File
	functions map[string]bool // names that it defines
}

// parsedScripts keeps the scripts that ran last: the same few run many times
// on a machine. The zero value is ready for use; it is safe for concurrent use.
type parsedScripts struct {
	mu   sync.Mutex
	all  map[string]parsedScript // guarded by mu; by name and text
	size int                     // guarded by mu; bytes of text in all
}

// maxParsed bounds the text of the scripts that are kept, in bytes.
const maxParsed = 8 << 20

// parse gives the script of a text; name is what its messages call it.
func (c *parsedScripts) parse(text []byte, name string) (parsedScript, error) {
	key := name + "\x00" + string(text)
	c.mu.Lock()
	kept, ok := c.all[key]
	c.mu.Unlock()
	if ok {
		return kept, nil
	}
	file, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(bytes.NewReader(text), name)
	if err != nil {
		return parsedScript{}, err
	}
	parsed := parsedScript{file: file, functions: prepare(file)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil || c.size+len(key) > maxParsed {
		c.all, c.size = map[string]parsedScript{}, 0
	}
	c.all[key] = parsed
	c.size += len(key)
	return parsed, nil
}
