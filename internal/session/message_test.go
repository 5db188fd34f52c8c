package session_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ssm-migrate/internal/session"
)

var sample = session.Message{
	Type: session.TypeOutput, Schema: 1, Created: time.UnixMilli(1_700_000_000_123).UTC(), Sequence: 7, Flags: 1,
	ID:          session.UUID{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
	PayloadType: session.PayloadOutput, Payload: []byte("hi"),
}

// The bytes were put together by hand from the format's description.
func TestMessageOnTheWire(t *testing.T) {
	want := "00000074" + hex.EncodeToString([]byte("output_stream_data              ")) +
		"00000001" + "0000018bcfe5687b" + "0000000000000007" + "0000000000000001" +
		"08090a0b0c0d0e0f" + "0001020304050607" +
		"8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4" +
		"00000001" + "00000002" + "6869"
	if got := hex.EncodeToString(sample.Encode()); got != want {
		t.Errorf("encoded\n%s, want\n%s", got, want)
	}
	b, err := hex.DecodeString(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := session.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample, got); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
	if got.ID.String() != "00010203-0405-0607-0809-0a0b0c0d0e0f" {
		t.Errorf("ID %s", got.ID)
	}
}

func TestDecodeTakesTypesPaddedWithZeros(t *testing.T) {
	b := sample.Encode()
	copy(b[4:36], bytes.Repeat([]byte{0}, 32))
	copy(b[4:36], session.TypeAcknowledge)
	if m, err := session.Decode(b); err != nil || m.Type != session.TypeAcknowledge {
		t.Errorf("type %q, %v", m.Type, err)
	}
}

func TestDecodeRefusesWhatIsNoMessage(t *testing.T) {
	change := func(f func([]byte) []byte) []byte { return f(sample.Encode()) }
	for name, b := range map[string][]byte{
		"nothing":                {},
		"cut in the header":      sample.Encode()[:100],
		"cut in the payload":     sample.Encode()[:121],
		"a byte too many":        append(sample.Encode(), 0),
		"another payload":        change(func(b []byte) []byte { b[120] = 'x'; return b }),
		"header too short":       change(func(b []byte) []byte { b[3] = 20; return b }),
		"header beyond its end":  change(func(b []byte) []byte { binary.BigEndian.PutUint32(b, 1<<31); return b }),
		"header of all there is": change(func(b []byte) []byte { binary.BigEndian.PutUint32(b, 0xffffffff); return b }),
		"no type":                change(func(b []byte) []byte { copy(b[4:36], strings.Repeat(" ", 32)); return b }),
		"too long":               session.Message{Type: session.TypeOutput, Payload: make([]byte, session.MaxMessage)}.Encode(),
	} {
		if m, err := session.Decode(b); !errors.Is(err, session.ErrProtocol) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

func TestEveryMessageComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := session.Message{
			Type:        rapid.StringMatching(`[a-z_]{1,32}`).Filter(func(s string) bool { return s != session.TypeStart && s != session.TypePause }).Draw(t, "type"),
			Schema:      rapid.Uint32().Draw(t, "schema"),
			Created:     time.UnixMilli(rapid.Int64Range(0, 1<<42).Draw(t, "created")).UTC(),
			Sequence:    rapid.Int64().Draw(t, "sequence"),
			Flags:       rapid.Uint64().Draw(t, "flags"),
			ID:          session.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id")),
			PayloadType: session.PayloadType(rapid.Uint32().Draw(t, "payload type")),
			Payload:     rapid.SliceOfN(rapid.Byte(), 1, 2000).Draw(t, "payload"),
		}
		got, err := session.Decode(want.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add(sample.Encode())
	f.Add(session.Message{Type: session.TypePause}.Encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := session.Decode(b)
		if err != nil {
			if !errors.Is(err, session.ErrProtocol) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		if m.Type == session.TypeStart || m.Type == session.TypePause {
			return
		}
		again, err := session.Decode(m.Encode())
		if err != nil {
			t.Fatalf("what was decoded does not encode: %v", err)
		}
		if !bytes.Equal(again.Payload, m.Payload) || again.Type != m.Type || again.Sequence != m.Sequence || again.ID != m.ID {
			t.Errorf("%+v became %+v", m, again)
		}
	})
}
