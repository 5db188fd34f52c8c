package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
	"ssm-migrate/internal/sqlite"
)

// completer gives the words that may stand where the cursor is.
type completer = func(c *cobra.Command, args []string, begin string) []cobra.Completion

const (
	mostCompletions = 200             // a shell shows no more at once
	completionTime  = 2 * time.Second // somebody waits at a prompt
)

// addCompletions gives a command and all below it completions from the state
// file. What an argument is called in the usage line says what completes it.
func (a *app) addCompletions(c *cobra.Command) {
	for _, sub := range c.Commands() {
		a.addCompletions(sub)
	}
	if words := argumentNames(c.Use); len(words) > 0 && c.ValidArgsFunction == nil && len(c.ValidArgs) == 0 {
		c.ValidArgsFunction = a.completeArgument(words)
	}
	c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if by := a.completeFlag(c, f); by != nil {
			_ = c.RegisterFlagCompletionFunc(f.Name, noFiles(by)) // fails only for a flag that has one
		}
	})
}

// argumentNames reads a usage line: "diff [OLD [NEW]]" gives OLD and NEW. An
// argument that may be repeated ends in "...".
func argumentNames(use string) []string {
	var out []string
	words := strings.Fields(use)
	for _, w := range words[min(1, len(words)):] {
		w = strings.Trim(w, "[]")
		if strings.HasPrefix(w, "-") {
			break
		}
		out = append(out, w)
	}
	return out
}

func (a *app) completeArgument(names []string) cobra.CompletionFunc {
	by := map[string]completer{
		"PLAN": a.completePlans, "HOST": a.completeHosts, "OLD": a.completeSnapshots, "NEW": a.completeSnapshots, "FAULT": completeFaults,
	}
	return func(c *cobra.Command, args []string, begin string) ([]cobra.Completion, cobra.ShellCompDirective) {
		at := min(len(args), len(names)-1)
		name, repeated := strings.CutSuffix(names[at], "...")
		if len(args) >= len(names) && !repeated {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		give, ok := by[name]
		if !ok {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return noFiles(give)(c, args, begin)
	}
}

func (a *app) completeFlag(c *cobra.Command, f *pflag.Flag) completer {
	switch f.Name {
	case "snapshot":
		return a.completeSnapshots
	case "wave":
		return a.completeWaves
	case "host", "run":
		if strings.HasSuffix(f.Usage, "(instance ID)") || f.Name == "run" {
			return a.completeIDs
		}
		return a.completeHosts
	case "verdict":
		return fixed("ready", "blocked", "unknown")
	case "cause":
		return completeCauses
	case "store":
		return fixed(recoveryStores...)
	case "hosts-by":
		return fixed(hostsBySSH, hostsByCommand, hostsBySSH+","+hostsByCommand)
	case "fault":
		return completeFaults
	case "type":
		if c.Name() == "prove" {
			return fixed(proofKindNames()...)
		}
	}
	return nil
}

func noFiles(by completer) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, begin string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return by(c, args, begin), cobra.ShellCompDirectiveNoFileComp
	}
}

func fixed(words ...string) completer {
	return func(*cobra.Command, []string, string) []cobra.Completion { return words }
}

func completeFaults(_ *cobra.Command, args []string, begin string) []cobra.Completion {
	var out []cobra.Completion
	for _, f := range demoFaults {
		out = complete(out, begin, f.name, f.what, args...)
	}
	return out
}

func completeCauses(_ *cobra.Command, _ []string, begin string) []cobra.Completion {
	var out []cobra.Completion
	for _, e := range readiness.Catalogue() {
		if strings.HasPrefix(e.Code, begin) {
			out = append(out, cobra.CompletionWithDesc(e.Code, oneLine(e.Title)))
		}
	}
	return out
}

func (a *app) completeSnapshots(c *cobra.Command, args []string, begin string) []cobra.Completion {
	var out []cobra.Completion
	a.completing(c, func(ctx context.Context, db *sqlite.DB) error {
		all, err := db.Snapshots(ctx)
		for _, s := range all {
			out = complete(out, begin, strconv.FormatInt(s.ID, 10), fmt.Sprintf("%s, %s, %s", stamp(s.Started), s.State, count(s.Hosts, "host", "hosts")), args...)
		}
		return err
	})
	return out
}

func (a *app) completePlans(c *cobra.Command, args []string, begin string) []cobra.Completion {
	var out []cobra.Completion
	a.completing(c, func(ctx context.Context, db *sqlite.DB) error {
		all, err := db.Plans(ctx)
		for _, p := range all {
			text := fmt.Sprintf("%s, snapshot %d", stamp(p.Made), p.Snapshot)
			if p.Purpose != "" {
				text = string(p.Purpose) + ", " + text
			}
			out = complete(out, begin, p.ID, text, args...)
		}
		return err
	})
	return out
}

// completeWaves gives those of the plan that is named, or else of the one that
// migrate status speaks of.
func (a *app) completeWaves(c *cobra.Command, args []string, begin string) []cobra.Completion {
	var out []cobra.Completion
	a.completing(c, func(ctx context.Context, db *sqlite.DB) error {
		p, err := begunPlan(ctx, db, args[:min(1, len(args))])
		if err != nil {
			return err
		}
		for _, w := range p.Waves {
			out = complete(out, begin, strconv.Itoa(w.Number), fmt.Sprintf("%s, %s", w.Name, count(len(w.Hosts), "host", "hosts")))
		}
		return nil
	})
	return out
}

func (a *app) completeHosts(c *cobra.Command, args []string, begin string) []cobra.Completion {
	return a.hostWordsFrom(c, args, begin, true)
}

func (a *app) completeIDs(c *cobra.Command, args []string, begin string) []cobra.Completion {
	return a.hostWordsFrom(c, args, begin, false)
}

// hostWordsFrom gives the IDs of hosts, and their names where those will do.
func (a *app) hostWordsFrom(c *cobra.Command, args []string, begin string, names bool) []cobra.Completion {
	var out []cobra.Completion
	a.completing(c, func(ctx context.Context, db *sqlite.DB) error {
		info, err := db.Latest(ctx)
		if err != nil {
			return err
		}
		hosts, err := db.HostNames(ctx, info.ID, begin, mostCompletions)
		for _, h := range hosts {
			name := h.Name()
			if names && name != h.ID {
				out = complete(out, begin, name, h.ID, args...)
			}
			out = complete(out, begin, h.ID, name, args...)
		}
		return err
	})
	return out
}

// completing opens the state file for somebody who waits at a prompt. What goes
// wrong is told to cobra's debug log alone: a prompt is no place for errors.
func (a *app) completing(c *cobra.Command, ask func(context.Context, *sqlite.DB) error) {
	parent := c.Context()
	if parent == nil {
		parent = context.Background()
	}
	ctx, cancel := context.WithTimeout(parent, completionTime)
	defer cancel()
	if _, err := os.Stat(a.dbPath); err != nil {
		cobra.CompDebugln(err.Error(), false)
		return
	}
	db, err := a.open(ctx)
	if err != nil {
		cobra.CompDebugln(err.Error(), false)
		return
	}
	defer db.Close()
	if err := ask(ctx, db); err != nil {
		cobra.CompDebugln(err.Error(), false)
	}
}

// complete adds a word to the others if it begins as it should, is none of those
// that stand there already, and is harmless in every shell: names are whatever
// somebody wrote into a tag, and a shell runs what it completes.
func complete(to []cobra.Completion, begin, word, text string, there ...string) []cobra.Completion {
	if len(to) >= mostCompletions || !strings.HasPrefix(word, begin) || !shellSafe(word) {
		return to
	}
	for _, t := range there {
		if t == word {
			return to
		}
	}
	return append(to, cobra.CompletionWithDesc(word, cell(harmless(fleet.OneLine(text, 200)))))
}

// harmless takes from a description what a shell might take for more than text:
// the script for bash hands words and descriptions alike to its expansion.
func harmless(text string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("$`\\\"'<>|&;*?{}[]!#~", r) {
			return '.'
		}
		return r
	}, text)
}

// shellSafe reports whether a word means itself in bash, zsh, fish and
// PowerShell, and is no flag.
func shellSafe(word string) bool {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-"
	return word != "" && word[0] != '-' && strings.Trim(word, plain) == ""
}
