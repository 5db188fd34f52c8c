package session_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"ssm-migrate/internal/session"
)

// typedLine takes apart what Run types.
var typedLine = regexp.MustCompile(`^ sh -c '([^']*)'; exit\r$`)

// answer runs the script of a typed line as a real sh does.
func answer(t *testing.T, typed string) string {
	t.Helper()
	m := typedLine.FindStringSubmatch(typed)
	if m == nil {
		t.Fatalf("typed %q", typed)
	}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", m[1]).CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(out), "\n", "\r\n")
}

func command(t *testing.T, text string) session.Command {
	t.Helper()
	c, err := session.NewCommand(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type ran struct {
	session.Result
	err error
}

func run(t *testing.T, c *session.Channel, cmd session.Command) <-chan ran {
	t.Helper()
	out := make(chan ran, 1)
	ctx := t.Context()
	go func() {
		r, err := c.Run(ctx, cmd)
		out <- ran{r, err}
	}()
	return out
}

func TestRunFindsTheAnswerInWhateverIsAround(t *testing.T) {
	for name, dress := range map[string]func(typed, answer string) []string{
		"a plain terminal":        func(typed, a string) []string { return []string{typed + "\n", a, "$ exit\r\n"} },
		"no echo":                 func(_, a string) []string { return []string{a} },
		"echo before the prompt":  func(typed, a string) []string { return []string{typed, "\r\n", "$ ", typed, "\r\n", a} },
		"bracketed paste":         func(typed, a string) []string { return []string{typed + "\r\n\x1b[?2004l\r" + a + "\x1b[?2004h$ "} },
		"a title and colours":     func(typed, a string) []string { return []string{"\x1b]0;host\a\x1b[32m$\x1b[0m ", typed, a} },
		"byte by byte":            func(typed, a string) []string { return strings.Split(typed+"\r\n"+a, "") },
		"a message of the day":    func(typed, a string) []string { return []string{strings.Repeat("Welcome!\r\n", 2000), typed, a} },
		"not UTF-8":               func(typed, a string) []string { return []string{"\xff\xfe\x00", typed, a} },
		"answers to an older run": func(typed, a string) []string { return []string{"m0:begin:0\r\nroot\r\nm0:end:0:0:\r\n", typed, a} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			got := run(t, p.open(), command(t, "echo one; echo two; exit 3"))
			p.output(session.PayloadOutput, "$ ")
			typed := string(p.receive(session.PayloadOutput).Payload)
			for _, s := range dress(typed, answer(t, strings.ReplaceAll(typed, "exit 3;", "(exit 3);"))) {
				p.output(session.PayloadOutput, s)
			}
			if r := <-got; r.err != nil || r.Output != "one\ntwo" || r.Exit != 3 {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestEchoAloneIsNoAnswer(t *testing.T) {
	p := newPeer(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	got := make(chan error, 1)
	c := p.open()
	go func() {
		_, err := c.Run(ctx, command(t, "id -un"))
		got <- err
	}()
	p.output(session.PayloadOutput, "$ ")
	typed := string(p.receive(session.PayloadOutput).Payload)
	p.output(session.PayloadOutput, typed, "\r\nsh: id: not found\r\n")
	for range 3 {
		<-p.acks
	}
	cancel(nil)
	if err := <-got; err == nil {
		t.Error("an echo was taken for the answer")
	}
}

func TestRunInACommandSessionOnlyReads(t *testing.T) {
	p := newPeer(t)
	c := p.open()
	cmd := command(t, "id -un")
	got := run(t, c, cmd)
	p.shake("3.3.0.0", sessionOf(session.KindInteractive, nil))
	p.complete()
	out, err := exec.CommandContext(t.Context(), "sh", "-c", cmd.Script()).Output()
	if err != nil {
		t.Fatal(err)
	}
	me, err := exec.CommandContext(t.Context(), "id", "-un").Output()
	if err != nil {
		t.Fatal(err)
	}
	p.output(session.PayloadOutput, string(out))
	p.closed("")
	if r := <-got; r.err != nil || r.Output != strings.TrimSpace(string(me)) || r.Exit != 0 {
		t.Errorf("%+v", r)
	}
	select {
	case m := <-p.in:
		if m.PayloadType == session.PayloadOutput {
			t.Errorf("typed %q", m.Payload)
		}
	default:
	}
}

func TestRunReadsWhatASessionLeftThatIsOver(t *testing.T) {
	for range 20 { // which of two things that have happened is seen first is chance
		p := newPeer(t)
		c := p.open()
		cmd := command(t, "echo x")
		out, err := exec.CommandContext(t.Context(), "sh", "-c", cmd.Script()).Output()
		if err != nil {
			t.Fatal(err)
		}
		p.shake("3.3.0.0", sessionOf(session.KindInteractive, nil))
		p.complete()
		p.output(session.PayloadOutput, string(out))
		p.closed("")
		<-c.Done()
		if r, err := c.Run(t.Context(), cmd); err != nil || r.Output != "x" {
			t.Fatalf("%+v, %v", r, err)
		}
	}
}

func TestRunTellsWhyThereIsNoAnswer(t *testing.T) {
	t.Run("the agent ends the session", func(t *testing.T) {
		p := newPeer(t)
		got := run(t, p.open(), command(t, "id -un"))
		p.closed("Unable to start shell: failed to start pty since RunAs user ops does not exist")
		var end *session.EndError
		if r := <-got; !errors.As(r.err, &end) || !strings.Contains(r.err.Error(), "RunAs user ops does not exist") {
			t.Errorf("%v", r.err)
		}
	})
	t.Run("the shell ends", func(t *testing.T) {
		p := newPeer(t)
		got := run(t, p.open(), command(t, "id -un"))
		p.output(session.PayloadOutput, "This account is currently not available.\r\n")
		p.receive(session.PayloadOutput)
		p.closed("")
		var end *session.EndError
		if r := <-got; !errors.As(r.err, &end) || !strings.Contains(r.err.Error(), "This account is currently not available.") {
			t.Errorf("%v", r.err)
		}
	})
	t.Run("it is silent", func(t *testing.T) {
		p := newPeer(t)
		c := p.open()
		p.output(session.PayloadOutput, "\x1b[2JPress any key")
		<-p.acks
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if _, err := c.Run(ctx, command(t, "id -un")); !errors.Is(err, session.ErrNoAnswer) || !strings.Contains(err.Error(), "the session showed: Press any key") {
			t.Errorf("%v", err)
		}
	})
	t.Run("it talks for ever", func(t *testing.T) {
		p := newPeer(t)
		got := run(t, p.open(), command(t, "id -un"))
		for range 11 {
			p.output(session.PayloadOutput, strings.Repeat("y\r\n", 10_000))
		}
		if r := <-got; !errors.Is(r.err, session.ErrNoAnswer) {
			t.Errorf("%v", r.err)
		}
	})
}

func TestCommandsThatNotEveryShellTakes(t *testing.T) {
	for _, text := range []string{"", "echo 'x'", `echo \n`, "echo !1", "echo `id`", "a\nb", "é", strings.Repeat("x", 201)} {
		if _, err := session.NewCommand(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	a, b := command(t, "id -un"), command(t, "id -un")
	if a.Script() == b.Script() {
		t.Error("two commands have the same mark")
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add("x", "\x1b[0m", "0")
	f.Add("m", ":end:", "-1")
	f.Fuzz(func(t *testing.T, before, between, code string) {
		cmd := command(t, "id -un")
		m := regexp.MustCompile(`^echo; echo (m[0-9a-f]+)"":begin:([0-9a-f]+);`).FindStringSubmatch(cmd.Script())
		if m == nil {
			t.Fatal(cmd.Script())
		}
		r, ok := cmd.Find([]byte(fmt.Sprintf("%s%s:begin:%s\n%s\n%s:end:%s:%s:", before, m[1], m[2], between, m[1], m[2], code)))
		if ok && (r.Exit < 0 || r.Exit > 255 || len(r.Output) > len(between)+len(before)+len(code)+1000) {
			t.Errorf("%+v", r)
		}
	})
}

// What came before the end of a session is read, however close the end follows.
func TestTheLastOutputComesBeforeTheEnd(t *testing.T) {
	for range 200 {
		p := newPeer(t)
		c := p.open()
		got := run(t, c, command(t, "echo one"))
		p.output(session.PayloadOutput, "$ ")
		a := answer(t, string(p.receive(session.PayloadOutput).Payload))
		begin, rest, _ := strings.Cut(a, "\n")
		p.output(session.PayloadOutput, begin+"\n")
		p.output(session.PayloadOutput, rest)
		p.closed("")
		if r := <-got; r.err != nil || r.Output != "one" {
			t.Fatalf("%+v", r)
		}
	}
}
