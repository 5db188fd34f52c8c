package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"charm.land/fang/v2"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/sqlite"
)

// app is what every command shares.
type app struct {
	streams
	dbPath     string
	configPath string
	json       bool

	phraseMu sync.Mutex
	phrase   *phrase // guarded by phraseMu; of the recovery key
}

func run(ctx context.Context, args []string, s streams) int {
	a := &app{streams: s}
	root := a.command()
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	err := dress(root)
	if err == nil {
		root.SetArgs(args)
		err = root.ExecuteContext(ctx)
	}
	if err == nil {
		return exitFine
	}
	printError(s.err, err)
	if errors.Is(err, context.Canceled) {
		return exitError
	}
	return codeOf(err)
}

// dress gives the command fang's help, man page and version. Fang does that where it
// runs a command, and so runs one that does nothing: in the face of an error it
// would ask the terminal for its colors first, and wait for good where a question or
// a shell has just read the answer.
func dress(root *cobra.Command) error {
	run := root.RunE
	defer func() { root.RunE = run }()
	root.RunE = func(*cobra.Command, []string) error { return nil }
	root.SetArgs([]string{})
	return fang.Execute(context.Background(), root, fang.WithVersion(version))
}

func printError(w io.Writer, err error) {
	var v verdict
	if errors.As(err, &v) {
		return
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(w, "migrate: interrupted")
		return
	}
	fmt.Fprintf(w, "migrate: %v\n", err)
	if codeOf(err) == exitUsage {
		fmt.Fprintln(w, "Try migrate --help, or migrate COMMAND --help.")
	}
}

func (a *app) command() *cobra.Command {
	var o wizardOptions
	root := &cobra.Command{
		Use:   "migrate",
		Short: "Move an EC2 fleet from SSH to Session Manager, without locking anyone out",
		Long: `migrate moves a fleet of EC2 instances from SSH access to AWS Systems Manager
Session Manager, and never locks anyone out on the way.

Without a command it opens the wizard. Everything that the wizard does is also a command.

Exit codes: 0 fine, 1 error, 2 usage, 3 hosts are not ready, 4 finished but incomplete.`,
		Example: `  migrate demo                      # the whole way on a simulated fleet, no AWS account needed
  migrate init                      # set migrate up for your own fleet
  migrate inventory                 # read the account, the hosts and their SSH keys
  migrate readiness                 # judge every host
  migrate report --format html -o report.html`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageErr("there is no command %q", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return a.wizard(cmd.Context(), o) },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageErr("%w", err) })
	root.PersistentFlags().StringVar(&a.dbPath, "db", envOr("MIGRATE_DB", "migrate.db"), "state file ($MIGRATE_DB)")
	root.PersistentFlags().StringVar(&a.configPath, "config", os.Getenv("MIGRATE_CONFIG"), "configuration file ($MIGRATE_CONFIG; default migrate.yaml where it exists)")
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print JSON instead of text")
	root.AddCommand(a.inventoryCommand(), a.readinessCommand(), a.reportCommand(), a.hostsCommand(), a.ledgerCommand(), a.operatorsCommand(), a.accessCommand(), a.policiesCommand(), a.diffCommand(), a.snapshotsCommand(), a.demoCommand(),
		a.applyCommand(), a.statusCommand(), a.pauseCommand(), a.resumeCommand(), a.rollbackCommand(), a.journalCommand(), a.driftCommand())
	o.flags(root)
	root.AddCommand(a.wizardCommand(), a.planCommand(), a.exportCommand(), a.proveCommand(), a.connectCommand(), a.recoveryCommand(), a.doctorCommand(), a.initCommand())
	root.AddCommand(a.cpCommand())
	for _, c := range root.Commands() {
		wrapUsage(c)
	}
	a.addCompletions(root)
	return root
}

// wrapUsage gives errors about a command's arguments the exit code for usage.
func wrapUsage(c *cobra.Command) {
	check := c.Args
	if check == nil {
		return
	}
	c.Args = func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageErr("%w", err)
		}
		return nil
	}
}

func envOr(name, fallback string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return fallback
}

// open opens the state file for writing, creating it where it is missing.
func (a *app) open(ctx context.Context) (*sqlite.DB, error) {
	return sqlite.Open(ctx, a.dbPath)
}

// openExisting opens the state file for a command that only looks at it: such
// a command must not leave an empty database behind.
func (a *app) openExisting(ctx context.Context) (*sqlite.DB, error) {
	if _, err := os.Stat(a.dbPath); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("there is no state file %s: run migrate inventory first, or name one with --db", a.dbPath)
		}
		return nil, fmt.Errorf("open state file: %w", err)
	}
	return a.open(ctx)
}

// terminal reports whether there is one that can show screens.
func (a *app) terminal() bool { return a.isTerminal() && !dumb() }

func (a *app) isTerminal() bool {
	in, okIn := a.in.(*os.File)
	out, okOut := a.out.(*os.File)
	return okIn && okOut && term.IsTerminal(int(in.Fd())) && term.IsTerminal(int(out.Fd()))
}

// width is how many columns standard output has; 0: no terminal, no limit.
func (a *app) width() int {
	out, ok := a.out.(*os.File)
	if !ok || !term.IsTerminal(int(out.Fd())) {
		return 0
	}
	width, _, err := term.GetSize(int(out.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// oneLine makes text from a host or an API harmless in one line.
func oneLine(s string) string { return fleet.OneLine(s, 1000) }

// cell is oneLine for a table, where one long text would spoil every row.
func cell(s string) string {
	const most = 48
	s = oneLine(s)
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return s
}
