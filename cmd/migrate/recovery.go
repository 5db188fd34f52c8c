package main

import "github.com/spf13/cobra"

func (a *app) recoveryCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "recovery",
		Short: "The second way in: the recovery key and the bastions held at zero",
		Long: `The recovery way leads into hosts when Session Manager does not: a key of its own on every host, and in
every VPC a bastion that an Auto Scaling group holds at zero instances. Nothing is closed on a
host without a recent login by it (docs/recovery.md).`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, sub := range []*cobra.Command{a.recoveryInitCommand(), a.recoveryKeyCommand(), a.recoveryStatusCommand(), a.recoveryDrillCommand(), a.recoveryRotateCommand(), a.recoveryOpenCommand(), a.recoveryCloseCommand(), a.recoveryRunbookCommand()} {
		wrapUsage(sub)
		c.AddCommand(sub)
	}
	return c
}
