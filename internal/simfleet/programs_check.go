package simfleet

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/md5"  //nolint:gosec // md5sum is a program that machines have
	"crypto/sha1" //nolint:gosec // as is sha1sum
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"io"
	"path"
	"strings"
	"syscall"
)

// runSum is sha256sum and its kin: FILE..., and -c [--status|--quiet] FILE.
func runSum(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "")
	if !o.has("c", "check") {
		return eachInput(p, o.operands, func(name string, data []byte) { p.printf("%s  %s\n", p.digest(data), name) })
	}
	bad, seen := 0, 0
	status := eachInput(p, o.operands, func(_ string, list []byte) {
		for _, line := range lines(list) {
			sum, name, ok := strings.Cut(line, " ")
			if !ok || len(sum) != 2*p.hash().Size() {
				continue
			}
			seen++
			name = name[1:] // a second blank, or "*"
			data, err := p.readFile(name)
			word := "OK"
			switch {
			case err != nil:
				word, bad = "FAILED open or read", bad+1
				p.fail(1, "%s: %s", name, errorText(err))
			case !strings.EqualFold(p.digest(data), sum):
				word, bad = "FAILED", bad+1
			}
			if !o.has("status") && (word != "OK" || !o.has("quiet")) {
				p.printf("%s: %s\n", name, word)
			}
		}
	})
	if seen == 0 && status == 0 {
		return p.fail(1, "no properly formatted checksum lines found")
	}
	if bad > 0 {
		return 1
	}
	return status
}

func (p *process) hash() hash.Hash {
	switch path.Base(p.args[0]) {
	case "md5sum":
		return md5.New() //nolint:gosec // see above
	case "sha1sum":
		return sha1.New() //nolint:gosec // see above
	case "sha512sum":
		return sha512.New()
	}
	return sha256.New()
}

func (p *process) digest(data []byte) string {
	h := p.hash()
	_, _ = h.Write(data)
	return hex.EncodeToString(h.Sum(nil))
}

// runCmp is cmp [-s] FILE1 FILE2.
func runCmp(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "")
	if len(o.operands) < 2 {
		return p.fail(2, "missing operand after '%s'", p.args[len(p.args)-1])
	}
	var data [2][]byte
	for i := range data {
		var err error
		if data[i], err = p.input(o.operands[i]); err != nil {
			if !o.has("s", "quiet", "silent") {
				p.fail(2, "%s: %s", o.operands[i], errorText(err))
			}
			return 2
		}
	}
	if bytes.Equal(data[0], data[1]) {
		return 0
	}
	n := 0
	for n < min(len(data[0]), len(data[1])) && data[0][n] == data[1][n] {
		n++
	}
	switch short := o.operands[0]; {
	case o.has("s", "quiet", "silent"):
	case n == min(len(data[0]), len(data[1])):
		if len(data[1]) < len(data[0]) {
			short = o.operands[1]
		}
		p.fail(1, "EOF on %s after byte %d", short, n)
	default:
		p.printf("%s %s differ: byte %d, line %d\n", o.operands[0], o.operands[1], n+1, bytes.Count(data[0][:n], []byte("\n"))+1)
	}
	return 1
}

// runTee is tee [-a] FILE...
func runTee(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "")
	var data []byte
	if p.stdin != nil {
		var err error
		if data, err = io.ReadAll(io.LimitReader(p.stdin, p.x.hosts.opts.MaxOutput)); err != nil {
			return p.fail(1, "read error: %v", err)
		}
	}
	_, _ = p.stdout.Write(data)
	status := 0
	for _, name := range o.operands {
		if err := p.writeInto(name, data, o.has("a", "append")); err != nil {
			status = p.fail(1, "%s: %s", name, errorText(err))
		}
	}
	return status
}

// writeInto writes a file as a redirection would.
func (p *process) writeInto(name string, data []byte, appending bool) error {
	flag := syscall.O_CREAT | syscall.O_WRONLY
	if !appending {
		flag |= syscall.O_TRUNC
	}
	at, err := p.m.fs.create(p.cred, p.abs(name), flag, 0o666&^p.umask)
	if err != nil {
		return err
	}
	return p.m.fs.appendTo(at, data)
}

// runSync writes what memory holds to disk; here it is there at once. With
// operands each has to exist.
func runSync(_ context.Context, p *process) int {
	return eachOperand(p, parseOptions(p.args[1:], "").operands, "error opening", func(name string) error {
		_, err := p.m.fs.stat(p.cred, p.abs(name), true)
		return err
	})
}

// runChattr is chattr [-R] +i|-i|=i FILE...; other attributes are taken and ignored.
func runChattr(_ context.Context, p *process) int {
	args := p.args[1:]
	recursive := len(args) > 0 && args[0] == "-R"
	if recursive {
		args = args[1:]
	}
	if len(args) < 2 || !strings.ContainsAny(args[0][:1], "+-=") {
		return p.fail(1, "Must use '-v', =, - or +")
	}
	if !p.cred.root() {
		return p.fail(1, "Operation not permitted while setting flags on %s", args[1])
	}
	named := strings.Contains(args[0], "i")
	return eachOperand(p, args[1:], "setting flags on", func(name string) error {
		for _, at := range below(p, name, recursive) {
			err := p.m.fs.change(p.cred, "chattr", at, func(n *node) error {
				switch {
				case args[0][0] == '=':
					n.immutable = named
				case named:
					n.immutable = args[0][0] == '+'
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// runLsattr is lsattr [-d] FILE...
func runLsattr(_ context.Context, p *process) int {
	return eachOperand(p, parseOptions(p.args[1:], "").operands, "while reading flags on", func(name string) error {
		info, err := p.m.fs.stat(p.cred, p.abs(name), false)
		if err != nil {
			return err
		}
		flags := "--------------e-------"
		if n, _ := info.Sys().(*node); n.immutable {
			flags = "----i---------e-------"
		}
		p.printf("%s %s\n", flags, name)
		return nil
	})
}

// runBase64 is base64 [-d] [-w N] [FILE].
func runBase64(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "w", "wrap")
	bad := false
	status := eachInput(p, o.operands, func(_ string, data []byte) {
		if o.has("d", "decode") {
			out, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(data)), ""))
			bad = bad || err != nil
			_, _ = p.stdout.Write(out)
			return
		}
		text := base64.StdEncoding.EncodeToString(data)
		width := 76
		if v, given := o.value("w", "wrap"); given {
			if n, ok := decimal(v); ok {
				width = n
			}
		}
		for ; width > 0 && len(text) > width; text = text[width:] {
			p.printf("%s\n", text[:width])
		}
		p.printf("%s", text)
		if width > 0 && text != "" {
			p.printf("\n")
		}
	})
	if bad {
		return p.fail(1, "invalid input")
	}
	return status
}

// runGzip is gzip -c, from standard input.
func runGzip(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "")
	if !o.has("c", "stdout") || o.has("d", "decompress") || len(o.operands) > 0 {
		return p.fail(1, "this gzip packs its standard input alone")
	}
	return eachInput(p, nil, func(_ string, data []byte) {
		w := gzip.NewWriter(p.stdout)
		_, _ = w.Write(data)
		_ = w.Close()
	})
}
