package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/access"
)

// policiesConfig is what the operator chooses of the access set-up.
type policiesConfig struct {
	TeamTag     string          `yaml:"team_tag"`
	SSH         bool            `yaml:"ssh"`
	RunCommand  bool            `yaml:"run_command"`
	Forward     []forwardConfig `yaml:"forward"`
	Preferences struct {
		Bucket      string `yaml:"bucket"`
		Prefix      string `yaml:"prefix"`
		LogGroup    string `yaml:"log_group"`
		Key         string `yaml:"kms_key_arn"`
		RunAs       string `yaml:"run_as"`
		IdleTimeout int    `yaml:"idle_timeout"`
		MaxDuration int    `yaml:"max_duration"`
		Profile     string `yaml:"shell_profile"`
	} `yaml:"preferences"`
}

type forwardConfig struct {
	Team string `yaml:"team"`
	Host string `yaml:"host"`
	Port int    `yaml:"port"`
}

// query is what policies and documents are made by.
func (c policiesConfig) query() access.Query {
	q := access.Query{Tag: c.TeamTag, SSH: c.SSH, RunCommand: c.RunCommand, Preferences: access.Preferences(c.Preferences)}
	for _, f := range c.Forward {
		q.Forwards = append(q.Forwards, access.Forward(f))
	}
	return q
}

type policiesQuery struct {
	snapshot   int64
	team, role string
	folder     string
}

func (a *app) policiesCommand() *cobra.Command {
	var q policiesQuery
	c := &cobra.Command{
		Use:   "policies",
		Short: "Make the least-privilege policies and session documents that are left behind, each with its proof",
		Long: `policies makes, from the latest snapshot, an IAM policy for every role of the fleet's instances and
one for every team of the owners file, and the session documents that go with them. A team may start
sessions on the hosts on which it gets in over SSH today, and nowhere else. Nothing is changed in AWS.

Each policy is run through the evaluator that judges operators: what its very text allows has to be
what was promised, and nothing else on this fleet. That proof is printed with it. What could not be
promised stands at the end. The section access of the configuration chooses the rest (docs/access.md).

-o writes each policy and each document as a file of its own.

Exit code 3: a proof does not hold.`,
		Example: `  migrate policies                        # everything, with its proofs
  migrate policies --team web             # the policy of one team, person or principal
  migrate policies --role app --json
  migrate policies -o access              # access/ACCOUNT/policies/NAME.json and so on`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if q.team != "" && q.role != "" {
				return usageErr("--team and --role contradict each other")
			}
			return a.policies(cmd.Context(), q)
		},
	}
	addSnapshotFlag(c, &q.snapshot)
	c.Flags().StringVar(&q.team, "team", "", "policies of this team (or person who alone is one) only, and its documents")
	c.Flags().StringVar(&q.role, "role", "", "the policy of this instance role only")
	c.Flags().StringVarP(&q.folder, "output", "o", "", "write the policies and documents into this folder")
	return c
}

func (a *app) policies(ctx context.Context, q policiesQuery) error {
	s, err := a.openStored(ctx, q.snapshot)
	if err != nil {
		return err
	}
	defer s.db.Close()
	judged, err := assess(ctx, s.db, s.snap, s.cfg.policy())
	if err != nil {
		return err
	}
	a.warnOwners(s, judged)
	set, err := access.Generate(s.snap, judged, s.cfg.Access.query())
	if err != nil {
		return fmt.Errorf("make policies of snapshot %d: %w", s.snap.ID, err)
	}
	if err := only(set, q); err != nil {
		return err
	}
	if q.folder != "" {
		if err := writePolicies(q.folder, set); err != nil {
			return err
		}
		if !a.json {
			fmt.Fprintf(a.err, "Wrote %s and %s below %s.\n", count(len(set.Policies), "policy", "policies"), count(len(set.Documents), "document", "documents"), q.folder)
		}
	}
	if a.json {
		err = writeJSON(a.out, set)
	} else {
		err = printPolicies(a.out, set, q.folder == "")
	}
	if err != nil {
		return err
	}
	if slices.ContainsFunc(set.Policies, func(p access.Policy) bool { return !p.Proof.Holds }) {
		return verdict(exitNotReady)
	}
	return nil
}

// only leaves in a set what was asked for.
func only(set *access.Set, q policiesQuery) error {
	if q.team == "" && q.role == "" {
		return nil
	}
	var known []string
	set.Policies = slices.DeleteFunc(set.Policies, func(p access.Policy) bool {
		subject, want := access.Operator, q.team
		if q.role != "" {
			subject, want = access.Instance, q.role
		}
		if p.For == subject {
			known = append(known, p.Who)
		}
		return p.For != subject || p.Who != want && !slices.Contains(p.Attach, want)
	})
	set.Documents = slices.DeleteFunc(set.Documents, func(d access.Document) bool { return !slices.Contains(d.Who, q.team) })
	if len(set.Policies) == 0 {
		slices.Sort(known)
		return fmt.Errorf("there is no policy for %s; there are those for %s", q.team+q.role, oneLine(strings.Join(slices.Compact(known), ", ")))
	}
	return nil
}

// printPolicies prints each policy with its proof; with texts their documents, too.
func printPolicies(w io.Writer, set *access.Set, texts bool) error {
	p := &printer{w: w}
	for _, x := range set.Policies {
		p.line("%s  (account %s, for %s %s)", x.Name, x.Account, x.For, x.Who)
		p.line("  why       %s", x.Why)
		p.line("  attach    %s", orNone(strings.Join(x.Attach, ", ")))
		if x.Parts > 1 {
			p.line("  part      %d of %d: a principal needs all of them", x.Part, x.Parts)
		}
		if x.Proof.Holds {
			p.line("  proof     holds")
		} else {
			p.line("  proof     DOES NOT HOLD: do not use this policy")
		}
		for _, text := range append(slices.Clone(x.Proof.Text), x.Proof.Problems...) {
			p.line("            %s", text)
		}
		if texts {
			p.text(x.Document)
		}
		p.line("")
	}
	for _, d := range set.Documents {
		p.line("%s  (session document, account %s, %s)", d.Name, d.At.Account, d.At.Region)
		p.line("  why       %s", d.Why)
		if len(d.Who) > 0 {
			p.line("  for       %s", strings.Join(d.Who, ", "))
		}
		if texts {
			p.text(d.Content)
		}
		p.line("")
	}
	if len(set.Notes) > 0 {
		p.line("To know:")
	}
	for _, n := range set.Notes {
		p.line("  - %s", n)
	}
	return p.err
}

// printer keeps the first error of writing.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	for i := range args {
		if s, ok := args[i].(string); ok {
			args[i] = oneLine(s)
		}
	}
	if _, err := fmt.Fprintf(p.w, format+"\n", args...); p.err == nil {
		p.err = err
	}
}

// text prints JSON as it would be read, below what it belongs to.
func (p *printer) text(document string) {
	for line := range strings.Lines(indented(document)) {
		content := strings.TrimLeft(line, " ")
		margin := strings.Repeat(" ", 4+len(line)-len(content))
		if _, err := fmt.Fprintln(p.w, margin+oneLine(content)); p.err == nil {
			p.err = err
		}
	}
}

func indented(document string) string {
	text, err := json.MarshalIndent(json.RawMessage(document), "", "  ")
	if err != nil {
		return document + "\n"
	}
	return string(text) + "\n"
}

// writePolicies writes every policy and document into a folder.
func writePolicies(folder string, set *access.Set) error {
	root, err := makeRoot(folder, 0o644)
	if err != nil {
		return fmt.Errorf("write policies: %w", err)
	}
	defer func() { _ = root.Close() }()
	for _, p := range set.Policies {
		if err := writeBelow(root, filepath.Join(p.Account, "policies", p.Name+".json"), indented(p.Document), 0o644); err != nil {
			return fmt.Errorf("write policies: %w", err)
		}
	}
	for _, d := range set.Documents {
		if err := writeBelow(root, filepath.Join(d.At.Account, d.At.Region, "documents", d.Name+".json"), indented(d.Content), 0o644); err != nil {
			return fmt.Errorf("write policies: %w", err)
		}
	}
	return nil
}
