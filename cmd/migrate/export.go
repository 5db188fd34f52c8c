package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/access"
	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/export"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/sqlite"
)

func (a *app) exportCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "export",
		Short: "Hand a plan over as code, and write what users need after the move",
		Long: `export writes what a stored plan would change for those who change the fleet by other means: a team that
owns the roles, groups and endpoints as code; and, of the latest snapshot, what a fleet's users need after the
move. Nothing is changed.

Steps that the policy leaves to others (fixes: hand) wait in migrate apply until somebody has brought
them about. All others may be brought about from the export as well: migrate apply finds them done.

ssh-config and howto are for the people who use the hosts, and need no plan.`,
		Example: `  migrate export terraform -o handover      # a folder of .tf files with import blocks
  migrate export cli > handover.sh          # then: sh handover.sh prepare
  migrate export json 3f2a9c -o handover
  migrate export automation -o runbooks     # fan-out steps, with rate control`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, f := range exportFormats {
		sub := a.exportFormat(f)
		wrapUsage(sub)
		c.AddCommand(sub)
	}
	a.addUserExports(c)
	return c
}

// exportFormats are the formats of a plan.
var exportFormats = []exportFormat{
	{
		"terraform", "HCL for Terraform and OpenTofu", `terraform writes formatted HCL, a file for each area, with import blocks for what exists already, and a README.md
with what no resource can say. Applying it closes nothing. Security group rules can only be imported by
their IDs, which a snapshot does not have: --rule-ids reads them from AWS (ec2:DescribeSecurityGroupRules).`, export.Terraform,
	},
	{
		"json", "Documents and the inputs of AWS's calls as JSON files", `json writes policies and session documents as they are, and all else as the input of the AWS call that makes it
(aws SERVICE OPERATION --cli-input-json file://FILE). index.json tells which step of the plan wants which.`, export.JSON,
	},
	{
		"cli", "One shell script of AWS CLI lines", `cli writes one POSIX sh script. It takes a stage (prepare, recovery, access, close, finish) as its argument, makes
only what is not there, and touches an account only with that account's credentials. The stage close leaves a
security group open unless the recovery bastion is let in and every host behind it is connected.`, export.CLI,
	},
	{
		"automation", "Fan-out steps as runbooks of Systems Manager Automation", `automation writes the steps that many hosts share, agents' upgrades and restarts and the proof that hosts answer,
as runbooks of Systems Manager Automation with rate control, for very large fleets. Each has a script beside it that
makes and starts it (MAX_CONCURRENCY, MAX_ERRORS). Hosts are reached by Run Command: their agents have to answer.`, export.Automation,
	},
}

// exportOptions are the flags of an export.
type exportOptions struct {
	dir      string
	force    bool
	handed   bool
	noAccess bool
	ruleIDs  bool
}

type exportFormat struct {
	name, short, long string
	write             func(export.Input) ([]export.File, error)
}

func (a *app) exportFormat(f exportFormat) *cobra.Command {
	var o exportOptions
	c := &cobra.Command{
		Use:   f.name + " [PLAN]",
		Short: f.short,
		Long: f.long + `

PLAN is the beginning of a plan's ID; without it the newest plan of a cutover is taken.
With -o the files go into that folder, which is made where it is missing; files that are there already are
only overwritten with --force. Without -o a single file goes to standard output.`,
		Example: "  migrate export " + f.name + " -o handover\n  migrate export " + f.name + " 3f2a9c --handed -o handover --force",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id := ""
			if len(args) > 0 {
				id = args[0]
			}
			return a.export(cmd.Context(), f, id, o)
		},
	}
	c.Flags().StringVarP(&o.dir, "output", "o", "", "folder for the files")
	c.Flags().BoolVar(&o.force, "force", false, "overwrite files that are there already")
	c.Flags().BoolVar(&o.handed, "handed", false, "only steps that the plan leaves to others, and nothing of the access set-up")
	c.Flags().BoolVar(&o.noAccess, "no-access", false, "leave the access set-up that stays out")
	if f.name == "terraform" {
		c.Flags().BoolVar(&o.ruleIDs, "rule-ids", false, "read the IDs of security group rules from AWS, so that they can be imported")
	}
	return c
}

func (a *app) export(ctx context.Context, f exportFormat, id string, o exportOptions) error {
	db, err := a.openExisting(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	in, err := a.exportInput(ctx, db, id, !o.noAccess && !o.handed)
	if err != nil {
		return err
	}
	in.Handed = o.handed
	if o.ruleIDs {
		if in.Rules, err = a.ruleIDs(ctx, in); err != nil {
			return err
		}
	}
	files, err := f.write(in)
	if errors.Is(err, export.ErrNothing) {
		fmt.Fprintf(a.err, "Plan %s: %v\n", in.Plan.ID, err)
		return verdict(exitNotReady)
	}
	if err != nil {
		return err
	}
	return a.writeExport(files, o)
}

// exportInput reads a plan of a cutover with its snapshot, and makes the access
// set-up that stays.
func (a *app) exportInput(ctx context.Context, db *sqlite.DB, id string, stays bool) (in export.Input, err error) {
	if id == "" {
		all, err := db.Plans(ctx)
		if err != nil {
			return in, err
		}
		at := slices.IndexFunc(all, func(p plan.Info) bool { return p.Purpose == plan.Cutover })
		if at < 0 {
			return in, errors.New("there is no plan of a cutover yet: run migrate plan")
		}
		id = all[at].ID
	}
	if in.Plan, err = findPlan(ctx, db, id); err != nil {
		return in, err
	}
	if in.Snapshot, err = load(ctx, db, in.Plan.Snapshot); err != nil || !stays {
		return in, err
	}
	cfg, err := a.config()
	if err != nil {
		return in, err
	}
	judged, err := assess(ctx, db, in.Snapshot, cfg.policy())
	if err != nil {
		return in, err
	}
	if in.Access, err = access.Generate(in.Snapshot, judged, access.Query{}); err != nil {
		return in, fmt.Errorf("make the access set-up that stays: %w", err)
	}
	return in, nil
}

// exportResult is what --json tells of files that were written.
type exportResult struct {
	Folder string   `json:"folder"`
	Files  []string `json:"files"`
}

func (a *app) writeExport(files []export.File, o exportOptions) error {
	if o.dir == "" {
		switch {
		case a.json:
			return writeJSON(a.out, files)
		case len(files) > 1:
			return usageErr("the export has %d files: name a folder for them with -o", len(files))
		}
		_, err := fmt.Fprint(a.out, files[0].Text)
		return err
	}
	if !o.force {
		for _, f := range files {
			if _, err := os.Lstat(filepath.Join(o.dir, filepath.FromSlash(f.Name))); err == nil {
				return fmt.Errorf("%s is there already: name another folder, or overwrite it with --force", filepath.Join(o.dir, f.Name))
			} else if !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("look for an earlier export: %w", err)
			}
		}
	}
	root, err := makeRoot(o.dir, 0o600)
	if err != nil {
		return fmt.Errorf("write the export: %w", err)
	}
	defer func() { _ = root.Close() }()
	out := exportResult{Folder: o.dir}
	for _, f := range files {
		if err := writeBelow(root, f.Name, f.Text, 0o600); err != nil {
			return fmt.Errorf("write the export: %w", err)
		}
		out.Files = append(out.Files, f.Name)
	}
	if a.json {
		return writeJSON(a.out, out)
	}
	fmt.Fprintf(a.out, "%s in %s:\n  %s\n", fleet.Count(len(files), "file"), o.dir, strings.Join(out.Files, "\n  "))
	return nil
}

// ruleIDs reads the rules of the groups that an export writes rules of, as EC2
// has them now, through a type that cannot change anything.
func (a *app) ruleIDs(ctx context.Context, in export.Input) (map[string][]fleet.Rule, error) {
	groups, err := export.RuleGroups(in)
	if err != nil {
		return nil, err
	}
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	accounts, err := openAccounts(ctx, cfg)
	if err != nil {
		return nil, err
	}
	w := awsapi.NewWatcher(accounts...)
	out := map[string][]fleet.Rule{}
	for _, id := range slices.Sorted(maps.Keys(groups)) {
		rules, err := w.GroupRules(ctx, groups[id], id)
		if err != nil {
			return nil, fmt.Errorf("read the rules of %s: %w", id, err)
		}
		out[id] = rules
	}
	return out, nil
}
