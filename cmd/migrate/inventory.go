package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/inventory"
	"ssm-migrate/internal/sqlite"
	"ssm-migrate/internal/sshhost"
)

func (a *app) inventoryCommand() *cobra.Command {
	var noSSH bool
	var by []string
	c := &cobra.Command{
		Use:   "inventory",
		Short: "Read the accounts, the hosts and their SSH keys into a new snapshot",
		Long: `inventory reads every configured account and Region through the AWS APIs and every
running Linux host over SSH, and stores what it finds as a new snapshot. It changes nothing.

Hosts that SSH does not reach, as after a cutover, can be read by Run Command instead, where
Systems Manager lists them as Online. It needs ssm:SendCommand, which is root on the hosts
(docs/permissions.md), so it is used only where hosts_by in migrate.yaml or --hosts-by names it.

What gives no answer (an API that is denied, a host that is down) is stored as unknown with
the reason, and the run goes on; it then ends with exit code 4.`,
		Example: `  migrate inventory                               as migrate.yaml says; left out: over SSH
  migrate inventory --hosts-by ssh,run-command    over SSH, and what it does not reach by Run Command
  migrate inventory --hosts-by run-command        by Run Command alone
  migrate inventory --no-ssh                      only the AWS APIs`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if noSSH {
				by = []string{hostsByNothing}
			}
			return a.inventory(cmd.Context(), by)
		},
	}
	c.Flags().BoolVar(&noSSH, "no-ssh", false, "read only the AWS APIs")
	c.Flags().StringSliceVar(&by, "hosts-by", nil, "ways to read hosts, in the order in which they are tried: ssh, run-command (default: hosts_by of migrate.yaml, else ssh)")
	c.MarkFlagsMutuallyExclusive("no-ssh", "hosts-by")
	return c
}

// inventory takes an inventory; without ways to hosts, by those of the configuration.
func (a *app) inventory(ctx context.Context, by []string) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	if len(by) > 0 {
		cfg.HostsBy = by
	}
	if err := checkWays(cfg.HostsBy); err != nil {
		return exitErr{code: exitUsage, err: fmt.Errorf("--hosts-by: %w", err)}
	}
	c, err := newCollection(ctx, cfg)
	if err != nil {
		return fmt.Errorf("inventory: %w", err)
	}
	defer c.close()
	db, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	bar := newProgress(a.err)
	info, err := c.run(ctx, db, bar.event)
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

// collection is one inventory to be, with adapters made from the configuration.
type collection struct {
	inventory.Config
	client *sshhost.Client   // nil without SSH
	opened []*awsapi.Account // those of the accounts that could be opened
}

// newCollection opens accounts and SSH, and so finds mistakes in the
// configuration before a state file is touched.
func newCollection(ctx context.Context, cfg config) (*collection, error) {
	c := &collection{Config: inventory.Config{Version: version, Concurrency: cfg.SSH.Concurrency}}
	var err error
	if c.ProbeTimeout, err = cfg.SSH.timeout(); err != nil {
		return nil, err
	}
	if slices.Contains(cfg.hostsBy(), hostsBySSH) {
		if c.client, err = cfg.SSH.client(); err != nil {
			return nil, exitErr{code: exitUsage, err: fmt.Errorf("set up SSH: %w", err)}
		}
	}
	if err := c.open(ctx, cfg); err != nil {
		c.close()
		return nil, err
	}
	var probers []inventory.Prober
	for _, way := range cfg.hostsBy() {
		switch way {
		case hostsBySSH:
			probers = append(probers, c.client.Prober(inventory.Command, inventory.Script))
		case hostsByCommand:
			probers = append(probers, awsapi.NewProber(inventory.Script, c.ProbeTimeout, c.opened...))
		}
	}
	if len(probers) > 0 {
		c.Prober, c.Others = probers[0], probers[1:]
	}
	return c, nil
}

func (c *collection) close() {
	if c.client != nil {
		c.client.Close()
	}
}

func (c *collection) run(ctx context.Context, db *sqlite.DB, emit func(inventory.Event)) (fleet.SnapshotInfo, error) {
	c.Store = db
	return inventory.Collect(ctx, c.Config, emit)
}

// open adds the configured accounts. One that cannot be opened is unknown like
// any source that does not answer; when none can, there is nothing to collect.
func (c *collection) open(ctx context.Context, cfg config) error {
	var failed []error
	options := cfg.awsOptions()
	options.Organization = &awsapi.Organization{}
	for _, access := range cfg.accesses() {
		account, err := awsapi.Open(ctx, access, options)
		if err != nil {
			failed = append(failed, err)
			c.Accounts = append(c.Accounts, closedAccount{access: access, reason: oneLine(err.Error())})
			continue
		}
		c.Accounts = append(c.Accounts, account)
		c.opened = append(c.opened, account)
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
		Caller:   fleet.Unknown[string]("sts:GetCallerIdentity", now, a.reason),
		Profiles: fleet.Unknown[[]fleet.InstanceProfile]("iam:ListInstanceProfiles", now, a.reason),
		Roles:    fleet.Unknown[[]fleet.Role]("iam:GetAccountAuthorizationDetails", now, a.reason),
		Policies: fleet.Unknown[[]fleet.Policy]("iam:GetAccountAuthorizationDetails", now, a.reason),
		Users:    fleet.Unknown[[]fleet.IAMUser]("iam:GetAccountAuthorizationDetails", now, a.reason),
		Groups:   fleet.Unknown[[]fleet.IAMGroup]("iam:GetAccountAuthorizationDetails", now, a.reason),

		ControlLevels: fleet.Unknown[[]fleet.ControlLevel]("organizations:ListPoliciesForTarget", now, a.reason),
		HostedZones:   fleet.Unknown[[]fleet.HostedZone]("route53:ListHostedZones", now, a.reason),
	}
}

func (a closedAccount) Simulate(context.Context, []string) fleet.Fact[[]fleet.Simulation] {
	return fleet.Unknown[[]fleet.Simulation]("iam:SimulatePrincipalPolicy", time.Now(), a.reason)
}

type inventoryResult struct {
	fleet.SnapshotInfo
	HostCounts hostCounts          `json:"counts"`
	Sources    []fleet.SourceState `json:"sources"`
}

// hostCounts says how much is known of the hosts.
type hostCounts struct {
	Listed   int `json:"listed"`
	Running  int `json:"running"`
	Managed  int `json:"managed"`      // managed nodes among them
	Probed   int `json:"probed"`       // answered the probe
	Commands int `json:"byRunCommand"` // of those, how many by Run Command
	Hybrid   int `json:"hybrid"`       // managed nodes that are no instance here
	Unplaced int `json:"unplaced"`     // managed nodes that may be instances EC2 did not get to list
	Partly   int `json:"partly"`       // of those, how many could not tell everything
	Keys     int `json:"keys"`         // authorized key lines found
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
			if inventory.ByRunCommand(h) {
				c.Commands++
			}
			c.Keys += len(h.Probe.Value.Keys.Value)
			if !h.Probe.Value.Whole() {
				c.Partly++
			}
		}
	}
	for _, r := range s.Regions {
		c.Hybrid += len(r.HybridNodes)
		c.Unplaced += len(r.UnplacedNodes)
	}
	return c
}

// maxReasons is how many silent sources or hosts the summary spells out.
const maxReasons = 10

func printInventory(w io.Writer, s *fleet.Snapshot) error {
	c := countHosts(s)
	probed := fmt.Sprintf("%d hosts probed over SSH", c.Probed-c.Commands)
	if c.Commands > 0 {
		probed += fmt.Sprintf(" and %d by Run Command", c.Commands)
	}
	fmt.Fprintf(w, "Snapshot %d: %d instances (%d running), %d managed nodes (and %d outside EC2), %s, %d authorized keys.\n",
		s.ID, c.Listed, c.Running, c.Managed, c.Hybrid, probed, c.Keys)
	if c.Unplaced > 0 {
		fmt.Fprintf(w, "%d more managed nodes may be instances that EC2 did not get to list.\n", c.Unplaced)
	}
	if c.Partly > 0 {
		fmt.Fprintf(w, "%d of these hosts answered only in part: what the login may not read stays unknown (migrate hosts HOST says what).\n", c.Partly)
	}
	if s.State == fleet.SnapshotComplete {
		fmt.Fprintln(w, "Every source and host that counts answered.")
		printOptional(w, s)
		_, err := fmt.Fprintln(w, "Next: migrate readiness")
		return err
	}
	fmt.Fprintf(w, "Incomplete: %s gave no answer, stored as unknown:\n", count(s.Unknowns, "source or host", "sources or hosts"))
	silent := silence(s)
	for _, r := range silent[:min(len(silent), maxReasons)] {
		fmt.Fprintf(w, "  %s: %s\n", r.who, r.reason)
	}
	if more := len(silent) - maxReasons; more > 0 {
		fmt.Fprintf(w, "  … and %d more reasons (migrate inventory --json lists the sources, migrate hosts --json the hosts)\n", more)
	}
	printOptional(w, s)
	if n := onlyByCommand(s); n > 0 {
		fmt.Fprintf(w, "Systems Manager reaches %s that gave no answer: migrate inventory --hosts-by ssh,run-command reads them by Run Command,\n"+
			"where you may use ssm:SendCommand (docs/permissions.md). hosts_by in migrate.yaml says so for every inventory.\n", count(n, "host", "hosts"))
	}
	_, err := fmt.Fprintln(w, "Next: migrate readiness, or see to the reasons above and run migrate inventory again")
	return err
}

// onlyByCommand counts silent hosts that were not asked by Run Command, and could be.
func onlyByCommand(s *fleet.Snapshot) int {
	n := 0
	for _, h := range s.Hosts {
		if !h.Probe.Known && inventory.Probeable(h) && !inventory.ByRunCommand(h) && h.Node.Known && h.Node.Value.PingStatus == "Online" {
			n++
		}
	}
	return n
}

// printOptional tells of sources that most accounts may not ask.
func printOptional(w io.Writer, s *fleet.Snapshot) {
	for _, src := range s.Sources() {
		if !src.Known && src.Optional {
			fmt.Fprintf(w, "Not read, and optional: %s: %s\n", oneLine(src.Account+" "+src.Source), oneLine(src.Reason))
		}
	}
}

// count is a number with its noun.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// silent is a reason for silence and who gave no answer for it.
type silent struct{ who, reason string }

// hostSpecific is what differs between hosts that are silent for one reason.
var hostSpecific = regexp.MustCompile(`\b\d{1,3}(\.\d{1,3}){3}(:\d+)?: `)

// silence lists the sources without an answer, then the hosts, alike ones together.
func silence(s *fleet.Snapshot) []silent {
	var out []silent
	for _, src := range s.Sources() {
		if !src.Known && !src.Optional {
			out = append(out, silent{oneLine(src.Account + " " + src.Region + " " + src.Source), oneLine(src.Reason)})
		}
	}
	hosts := map[string][]fleet.Host{}
	for _, h := range s.Hosts {
		if !h.Probe.Known && inventory.Probeable(h) {
			reason := hostSpecific.ReplaceAllString(oneLine(h.Probe.Reason), "")
			hosts[reason] = append(hosts[reason], h)
		}
	}
	first := len(out)
	for reason, alike := range hosts {
		who := fmt.Sprintf("%s (%s)", alike[0].ID, cell(alike[0].Name()))
		if more := len(alike) - 1; more > 0 {
			who = fmt.Sprintf("%d hosts, %s first", len(alike), who)
		}
		out = append(out, silent{who, reason})
	}
	slices.SortFunc(out[first:], func(a, b silent) int {
		return cmp.Or(cmp.Compare(len(hosts[b.reason]), len(hosts[a.reason])), cmp.Compare(a.who, b.who))
	})
	return out
}

// writeJSON writes v as JSON in which every rune that does not print is
// escaped: JSON is looked at on terminals too.
func writeJSON(w io.Writer, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	out := bufio.NewWriter(w)
	for _, r := range string(text) {
		if r == '\n' || unicode.IsPrint(r) {
			_, err = out.WriteRune(r)
		} else {
			for _, unit := range utf16.Encode([]rune{r}) {
				_, err = fmt.Fprintf(out, `\u%04x`, unit)
			}
		}
		if err != nil {
			return fmt.Errorf("write JSON: %w", err)
		}
	}
	if err := out.WriteByte('\n'); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return out.Flush()
}
