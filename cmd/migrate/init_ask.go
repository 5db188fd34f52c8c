package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"charm.land/huh/v2"
)

// option is one answer that can be chosen.
type option struct {
	value, text string
	chosen      bool // unless the operator says otherwise
}

// asker asks the operator.
type asker interface {
	// many asks for any number of options, at least one; one for exactly one.
	many(ctx context.Context, title, help string, options []option) ([]string, error)
	one(ctx context.Context, title, help string, options []option) (string, error)
	// line asks for a text that check accepts; empty means the preset.
	line(ctx context.Context, title, help, preset string, check func(string) error) (string, error)
	yes(ctx context.Context, title, help string, preset bool) (bool, error)
}

// errLeft says that the operator left in the middle of the questions.
var errLeft = errors.New("left before the last question: nothing was written")

// asker gives forms on a terminal, and questions line by line elsewhere.
func (a *app) asker(plain bool) asker {
	if a.terminal() && !plain {
		return formAsker{in: a.in, out: a.err}
	}
	return &plainAsker{in: bufio.NewReader(io.LimitReader(a.in, 1<<20)), out: a.err}
}

// presetAsker answers all questions by what is preset.
type presetAsker struct{}

func chosen(options []option) []string {
	var out []string
	for _, o := range options {
		if o.chosen {
			out = append(out, o.value)
		}
	}
	return out
}

func (presetAsker) many(_ context.Context, _, _ string, options []option) ([]string, error) {
	return chosen(options), nil
}

func (presetAsker) one(_ context.Context, _, _ string, options []option) (string, error) {
	return append(chosen(options), "")[0], nil
}

func (presetAsker) line(_ context.Context, _, _, preset string, _ func(string) error) (string, error) {
	return preset, nil
}

func (presetAsker) yes(_ context.Context, _, _ string, preset bool) (bool, error) { return preset, nil }

// formAsker asks by forms that fill the line: arrows, space, enter.
type formAsker struct {
	in  io.Reader
	out io.Writer
}

func (f formAsker) run(ctx context.Context, field huh.Field) error {
	form := huh.NewForm(huh.NewGroup(field)).WithInput(f.in).WithOutput(f.out)
	if os.Getenv("NO_COLOR") != "" {
		form = form.WithTheme(huh.ThemeFunc(huh.ThemeBase))
	}
	if ctx.Err() != nil { // between two forms Ctrl-C is a signal
		return errLeft
	}
	err := form.RunWithContext(ctx)
	if errors.Is(err, huh.ErrUserAborted) || ctx.Err() != nil {
		return errLeft
	}
	return err
}

func formOptions(options []option) []huh.Option[string] {
	var out []huh.Option[string]
	for _, o := range options {
		out = append(out, huh.NewOption(o.text, o.value).Selected(o.chosen))
	}
	return out
}

// mostShown is how many options a form shows at once; the others scroll.
const mostShown = 10

func (f formAsker) many(ctx context.Context, title, help string, options []option) ([]string, error) {
	var out []string
	err := f.run(ctx, huh.NewMultiSelect[string]().Title(title).Description(help+" (space chooses, enter goes on)").Options(formOptions(options)...).
		Height(min(len(options), mostShown)+3).Value(&out).Validate(func(v []string) error {
		if len(v) == 0 {
			return errors.New("choose at least one, with space")
		}
		return nil
	}))
	return out, err
}

func (f formAsker) one(ctx context.Context, title, help string, options []option) (string, error) {
	var out string
	err := f.run(ctx, huh.NewSelect[string]().Title(title).Description(help).Options(formOptions(options)...).Value(&out))
	return out, err
}

func (f formAsker) line(ctx context.Context, title, help, preset string, check func(string) error) (string, error) {
	out := preset
	err := f.run(ctx, huh.NewInput().Title(title).Description(help).Value(&out).Validate(func(s string) error { return check(strings.TrimSpace(s)) }))
	return strings.TrimSpace(out), err
}

func (f formAsker) yes(ctx context.Context, title, help string, preset bool) (bool, error) {
	out := preset
	err := f.run(ctx, huh.NewConfirm().Title(title).Description(help).Value(&out))
	return out, err
}

// plainAsker asks line by line: for screen readers, dumb terminals and pipes.
type plainAsker struct {
	in  *bufio.Reader
	out io.Writer
}

// answer reads a line. The end of the input is no answer: what was not agreed to
// is not done.
func (p *plainAsker) answer(ctx context.Context, prompt string) (string, error) {
	fmt.Fprint(p.out, prompt)
	type read struct {
		text string
		err  error
	}
	lines := make(chan read, 1)
	go func() { // ends with the process at the latest: a terminal's read cannot be cancelled
		text, err := p.in.ReadString('\n')
		lines <- read{strings.TrimSpace(text), err}
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case l := <-lines:
		if l.err != nil && l.text == "" {
			fmt.Fprintln(p.out)
			return "", usageErr("the answers ended too early (%w): nothing was written; migrate init --yes asks nothing", l.err)
		}
		return l.text, nil
	}
}

func (p *plainAsker) many(ctx context.Context, title, help string, options []option) ([]string, error) {
	p.list(title, help, options)
	for {
		text, err := p.answer(ctx, "Numbers, by comma; empty takes those marked *: ")
		if err != nil {
			return nil, err
		}
		got := chosen(options)
		if text != "" {
			got, err = numbered(text, options)
		}
		if err == nil && len(got) > 0 {
			return got, nil
		}
		fmt.Fprintln(p.out, "Name at least one by its number.")
	}
}

func (p *plainAsker) one(ctx context.Context, title, help string, options []option) (string, error) {
	p.list(title, help, options)
	for {
		text, err := p.answer(ctx, "Number; empty takes the one marked *: ")
		if err != nil {
			return "", err
		}
		got := chosen(options)
		if text != "" {
			got, err = numbered(text, options)
		}
		if err == nil && len(got) == 1 {
			return got[0], nil
		}
		fmt.Fprintln(p.out, "Name one by its number.")
	}
}

func (p *plainAsker) list(title, help string, options []option) {
	fmt.Fprintf(p.out, "\n%s\n%s\n", title, help)
	for i, o := range options {
		mark := " "
		if o.chosen {
			mark = "*"
		}
		fmt.Fprintf(p.out, "%s %2d  %s\n", mark, i+1, o.text)
	}
}

func numbered(text string, options []option) ([]string, error) {
	var out []string
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < 1 || n > len(options) {
			return nil, fmt.Errorf("%q is no number of an option", part)
		}
		if v := options[n-1].value; !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out, nil
}

func (p *plainAsker) line(ctx context.Context, title, help, preset string, check func(string) error) (string, error) {
	fmt.Fprintf(p.out, "\n%s\n%s\n", title, help)
	for {
		prompt := "Answer: "
		if preset != "" {
			prompt = "Answer (empty: " + preset + "): "
		}
		text, err := p.answer(ctx, prompt)
		if err != nil {
			return "", err
		}
		if text == "" {
			text = preset
		}
		if err = check(text); err == nil {
			return text, nil
		}
		fmt.Fprintf(p.out, "%v\n", err)
	}
}

func (p *plainAsker) yes(ctx context.Context, title, help string, preset bool) (bool, error) {
	fmt.Fprintf(p.out, "\n%s\n%s\n", title, help)
	for {
		text, err := p.answer(ctx, map[bool]string{true: "Yes or no (empty: yes): ", false: "Yes or no (empty: no): "}[preset])
		if err != nil {
			return false, err
		}
		switch strings.ToLower(text) {
		case "":
			return preset, nil
		case "y", "yes":
			return true, nil
		case "n", "no":
			return false, nil
		}
	}
}
