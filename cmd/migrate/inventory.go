package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/inventory"
	"ssm-migrate/internal/sqlite"
)

func (a *app) inventoryCommand() *cobra.Command {
	var noSSH bool
	c := &cobra.Command{
		Use:   "inventory",
		Short: "Read the accounts, the hosts and their SSH keys into a new snapshot",
		Long: `inventory reads every configured account and Region through the AWS APIs and every
running Linux host over SSH, and stores what it finds as a new snapshot. It changes nothing.

What gives no answer (an API that is denied, a host that is down) is stored as unknown with
the reason, and the run goes on; it then ends with exit code 4.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.inventory(cmd.Context(), noSSH)
		},
	}
	c.Flags().BoolVar(&noSSH, "no-ssh", false, "read only the AWS APIs")
	return c
}

func (a *app) inventory(ctx context.Context, noSSH bool) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	cfg.SSH.Disabled = cfg.SSH.Disabled || noSSH
	db, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	bar := newProgress(a.err)
	info, err := collect(ctx, cfg, db, bar.event)
	bar.end()
	if err != nil {
		return fmt.Errorf("inventory: %w", err)
	}
	snap, err := db.Load(ctx, info.ID)
	if err != nil {
		return fmt.Errorf("read the new snapshot back: %w", err)
	}
	if a.json {
		err = writeJSON(a.out, inventoryResult{SnapshotInfo: info, Sources: snap.Sources(), HostCounts: countHosts(snap)})
	} else {
		err = printInventory(a.out, snap)
	}
	if err != nil {
		return err
	}
	if info.State != fleet.SnapshotComplete {
		return verdict(exitIncomplete)
	}
	return nil
}

// collect runs one inventory with adapters made from the configuration.
func collect(ctx context.Context, cfg config, db *sqlite.DB, emit func(inventory.Event)) (fleet.SnapshotInfo, error) {
	run := collection{inventory.Config{Store: db, Version: version, Concurrency: cfg.SSH.Concurrency}}
	var err error
	if run.ProbeTimeout, err = cfg.SSH.timeout(); err != nil {
		return fleet.SnapshotInfo{}, err
	}
	if err := run.open(ctx, cfg); err != nil {
		return fleet.SnapshotInfo{}, err
	}
	if !cfg.SSH.Disabled {
		client, err := cfg.SSH.client()
		if err != nil {
			return fleet.SnapshotInfo{}, fmt.Errorf("set up SSH: %w", err)
		}
		defer client.Close()
		run.Prober = client.Prober(inventory.Command, inventory.Script)
	}
	return inventory.Collect(ctx, run.Config, emit)
}

type collection struct{ inventory.Config }

// open adds the configured accounts. One that cannot be opened is unknown like
// any source that does not answer; when none can, there is nothing to collect.
func (c *collection) open(ctx context.Context, cfg config) error {
	var failed []error
	for _, access := range cfg.accesses() {
		account, err := awsapi.Open(ctx, access, awsapi.Options{Version: version, ConnectionRate: cfg.AWS.ConnectionRate})
		if err != nil {
			failed = append(failed, err)
			c.Accounts = append(c.Accounts, closedAccount{access: access, reason: oneLine(err.Error())})
			continue
		}
		c.Accounts = append(c.Accounts, account)
		for _, name := range account.Regions() {
			c.Clouds = append(c.Clouds, account.Cloud(name))
		}
	}
	if len(failed) == len(c.Accounts) {
		return errors.Join(failed...)
	}
	return nil
}

// closedAccount is an account that could not be opened.
type closedAccount struct {
	access awsapi.Access
	reason string
}

func (a closedAccount) Account(context.Context) fleet.Account {
	now := time.Now()
	return fleet.Account{
		Label:    a.access.Name(),
		Profiles: fleet.Unknown[[]fleet.InstanceProfile]("iam:ListInstanceProfiles", now, a.reason),
		Roles:    fleet.Unknown[[]fleet.Role]("iam:GetAccountAuthorizationDetails", now, a.reason),
		Policies: fleet.Unknown[[]fleet.Policy]("iam:GetAccountAuthorizationDetails", now, a.reason),
	}
}

type inventoryResult struct {
	fleet.SnapshotInfo
	HostCounts hostCounts          `json:"counts"`
	Sources    []fleet.SourceState `json:"sources"`
}

// hostCounts says how much is known of the hosts.
type hostCounts struct {
	Listed  int `json:"listed"`
	Running int `json:"running"`
	Managed int `json:"managed"` // managed nodes among them
	Probed  int `json:"probed"`  // answered the probe over SSH
	Hybrid  int `json:"hybrid"`  // managed nodes that are no instance here
	Keys    int `json:"keys"`    // authorized key lines found
}

func countHosts(s *fleet.Snapshot) hostCounts {
	c := hostCounts{Listed: len(s.Hosts)}
	for _, h := range s.Hosts {
		if h.Running() {
			c.Running++
		}
		if h.Node.Known && h.Node.Value.Registered {
			c.Managed++
		}
		if h.Probe.Known {
			c.Probed++
			c.Keys += len(h.Probe.Value.Keys.Value)
		}
	}
	for _, r := range s.Regions {
		c.Hybrid += len(r.HybridNodes)
	}
	return c
}

// maxReasons is how many silent sources or hosts the summary spells out.
const maxReasons = 10

func printInventory(w io.Writer, s *fleet.Snapshot) error {
	c := countHosts(s)
	fmt.Fprintf(w, "Snapshot %d: %d instances (%d running), %d managed nodes (and %d outside EC2), %d hosts probed over SSH, %d authorized keys.\n",
		s.ID, c.Listed, c.Running, c.Managed, c.Hybrid, c.Probed, c.Keys)
	if s.State == fleet.SnapshotComplete {
		fmt.Fprintln(w, "Every source answered.")
		_, err := fmt.Fprintln(w, "Next: migrate readiness")
		return err
	}
	fmt.Fprintf(w, "Incomplete: %d sources or hosts gave no answer. They are stored as unknown:\n", s.Unknowns)
	shown := 0
	for _, src := range s.Sources() {
		if src.Known {
			continue
		}
		if shown++; shown <= maxReasons {
			fmt.Fprintf(w, "  %s %s %s: %s\n", src.Account, src.Region, src.Source, oneLine(src.Reason))
		}
	}
	for _, h := range s.Hosts {
		if h.Probe.Known || !inventory.Probeable(h) {
			continue
		}
		if shown++; shown <= maxReasons {
			fmt.Fprintf(w, "  %s (%s): %s\n", h.ID, oneLine(h.Name()), oneLine(h.Probe.Reason))
		}
	}
	if shown > maxReasons {
		fmt.Fprintf(w, "  … and %d more (migrate inventory --json lists the sources, migrate hosts --json the hosts)\n", shown-maxReasons)
	}
	_, err := fmt.Fprintln(w, "Next: migrate readiness, or see to the reasons above and run migrate inventory again")
	return err
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}
