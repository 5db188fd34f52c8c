package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/plan"
)

// launchChange is what a launch template's next version needs, as JSON.
type launchChange struct {
	Plan   string               `json:"plan"`
	Change *plan.TemplateChange `json:"change"`
	Script string               `json:"script,omitempty"` // the user data's part; empty: it needs none
}

func (a *app) planUserDataCommand() *cobra.Command {
	var template string
	c := &cobra.Command{
		Use:   "user-data [PLAN]",
		Short: "Print the user data that a launch template needs",
		Long: `user-data prints the shell script that a new version of a launch template needs in its user data, so that instances
that the Auto Scaling group starts later are as the plan leaves their like: on the first boot it lets the recovery
key in, and brings, enables and starts the SSM Agent, whose package's signature it checks. It holds no secret.
The end of migrate plan names the templates and the other fields to change. Nothing is changed by this command.

Exit code 3: the template needs no user data, but other fields.`,
		Example: `  migrate plan user-data --template lt-0123456789abcdef0 > first-boot.sh
  migrate plan user-data 3f2a9c --template web --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id := ""
			if len(args) > 0 {
				id = args[0]
			}
			return a.userData(cmd.Context(), id, template)
		},
	}
	c.Flags().StringVar(&template, "template", "", "launch template, by ID or name; may be left out where the plan names one only")
	return c
}

func (a *app) userData(ctx context.Context, id, template string) error {
	db, err := a.openExisting(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	p, err := findPlan(ctx, db, id)
	if err != nil {
		return err
	}
	change := p.TemplateOf(template)
	if change == nil {
		return usageErr("plan %s changes no such launch template, or several: name one that migrate plan show %s names, with --template", p.ID, p.ID)
	}
	out := launchChange{Plan: p.ID, Change: change}
	if change.Key != nil || change.Agent != nil {
		cfg, err := a.config()
		if err != nil {
			return err
		}
		signing, err := readSigningKey(cfg.Agent.SigningKeyFile)
		if err != nil {
			return err
		}
		if out.Script, err = cutover.UserData(cutover.HostWorld{SigningKey: signing}, change, change.At.Region); err != nil {
			return err
		}
	}
	switch {
	case a.json:
		err = writeJSON(a.out, out)
	case out.Script != "":
		_, err = fmt.Fprint(a.out, out.Script)
	default:
		for _, l := range change.Lines() {
			fmt.Fprintln(a.err, oneLine(l))
		}
	}
	if err == nil && out.Script == "" {
		return verdict(exitNotReady)
	}
	return err
}
