package simfleet

import (
	"bytes"
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
)

func FuzzFrame(f *testing.F) {
	f.Add(newFrame(messageInput, []byte("ls\r")).encode())
	f.Add(newFrame(messageInput, nil).acknowledge().encode())
	f.Add(closedFrame("s", "i-1", "over").encode())
	f.Add([]byte{0, 0, 0, 116})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decodeFrame(b)
		if err != nil {
			return
		}
		again, err := decodeFrame(got.encode())
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if again.kind != got.kind || again.sequence != got.sequence || again.id != got.id || again.payload != got.payload || again.flags != got.flags || !bytes.Equal(again.data, got.data) {
			t.Errorf("%+v is written as %+v", got, again)
		}
	})
}

// FuzzSessionDocument starts with any document and value: it is refused, or
// what the session needs is there.
func FuzzSessionDocument(f *testing.F) {
	for _, text := range amazonDocuments {
		f.Add(text, "portNumber", "22")
		f.Add(text, "command", "ls {{ command }}")
	}
	f.Add(`{"sessionType":"Standard_Stream","inputs":{"idleSessionTimeout":"x"}}`, "", "")
	f.Add(`{"sessionType":"Port","parameters":{"p":{"default":80,"allowedPattern":"("}},"properties":{"portNumber":["{{p}}"]}}`, "p", "1")
	f.Fuzz(func(t *testing.T, content, name, value string) {
		rg := &Region{Preferences: content}
		s, err := rg.specOf(&fleet.SessionDocument{Name: "any", Content: fleet.Known(content, "", time.Time{})}, map[string][]string{name: {value}})
		if err != nil {
			return
		}
		complete := s.kind == kindShell || s.kind == kindPort && s.port.Port != "" || (s.kind == kindInteractive || s.kind == kindNonInteractive) && s.command != ""
		if !complete || s.inputs.IdleTimeout <= 0 {
			t.Errorf("%s gives %+v", content, s)
		}
	})
}

// FuzzTerminal types anything: what is erased is gone from the screen, and
// lines are never longer than the terminal takes.
func FuzzTerminal(f *testing.F) {
	f.Add([]byte("echo\x7f\x7fx\r\x15\x17\x03\x04"))
	f.Add([]byte("\xff\xfe\x7f\xc3\x7f a b\x17\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var screen bytes.Buffer
		term := newTerminal(&screen, 10)
		for _, k := range b {
			term.input([]byte{k})
			if len(term.line) > 10 {
				t.Fatalf("the line %q is too long", term.line)
			}
		}
		for _, e := range term.events {
			if len(e.line) > 10 || bytes.ContainsAny([]byte(e.line), "\r\n\x03\x04\x15\x17\x7f\b") {
				t.Errorf("the line %q", e.line)
			}
		}
	})
}
