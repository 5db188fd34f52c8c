package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/report"
)

func (a *app) recoveryRunbookCommand() *cobra.Command {
	var out string
	var snapshot int64
	c := &cobra.Command{
		Use:   "runbook",
		Short: "Write down how to get in when all this does not work",
		Long: `runbook writes what to do in which outage, filled with this fleet's names: accounts, Regions, VPCs, bastion
groups, hosts, login users, and where the recovery key is. Its commands are AWS CLI and OpenSSH
alone: it works without migrate, without its database, and with the AWS console down.

The end of the file's name says what is written: .md, .html or .pdf. A PDF is printed by Chromium or Chrome.
It asks AWS for nothing; make it anew after each cutover and rotation, and keep it next to the recovery key.`,
		Example: `  migrate recovery runbook -o runbook.md
  migrate recovery runbook -o runbook.pdf
  migrate recovery runbook -o - | less`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return usageErr("-o is missing: the file to write, such as runbook.md, runbook.html or runbook.pdf")
			}
			return a.recoveryRunbook(cmd.Context(), out, snapshot)
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "", "file to write (.md, .html, .pdf); - writes Markdown to standard output")
	addSnapshotFlag(c, &snapshot)
	return c
}

// runbookResult is what runbook --json prints.
type runbookResult struct {
	File     string `json:"file"`
	Snapshot int64  `json:"snapshot"`
	Plan     string `json:"plan,omitempty"`
	Networks int    `json:"networks"` // VPCs with a bastion
	Hosts    int    `json:"hosts"`    // that the recovery key opens
	Lacking  int    `json:"lacking"`  // that it does not, so far as is known
	Groups   int    `json:"groups"`   // that were closed, with the commands to open them
}

func (a *app) recoveryRunbook(ctx context.Context, out string, snapshot int64) error {
	render := report.RunbookMarkdown
	switch strings.ToLower(filepath.Ext(out)) {
	case ".md", ".markdown":
	case ".html", ".htm":
		render = report.RunbookHTML
	case ".pdf":
		render = func(w io.Writer, r report.Runbook) error {
			var page bytes.Buffer
			if err := report.RunbookHTML(&page, r); err != nil {
				return err
			}
			return printPDF(ctx, w, page.Bytes())
		}
	default:
		if out != "-" {
			return usageErr("%s: the end of the name must be .md, .html or .pdf", out)
		}
	}
	s, err := a.openStored(ctx, snapshot)
	if err != nil {
		return err
	}
	defer s.db.Close()
	book, err := runbookOf(ctx, s)
	if err != nil {
		return err
	}
	if out == "-" {
		return render(a.out, book)
	}
	if err := writeFile(out, func(w io.Writer) error { return render(w, book) }); err != nil {
		return err
	}
	r := runbookResult{File: out, Snapshot: book.Snapshot.ID, Plan: book.Plan, Networks: len(book.Networks)}
	for _, n := range book.Networks {
		r.Hosts, r.Lacking = r.Hosts+len(n.Hosts), r.Lacking+len(n.Lacking)
	}
	for _, g := range book.Groups {
		if g.Closed {
			r.Groups++
		}
	}
	if a.json {
		return writeJSON(a.out, r)
	}
	fmt.Fprintf(a.out, "Wrote %s: %s with a recovery bastion, %s that the recovery key opens, %d without it, %s to open again.\n", oneLine(out),
		count(r.Networks, "VPC", "VPCs"), count(r.Hosts, "host", "hosts"), r.Lacking, count(r.Groups, "security group", "security groups"))
	return nil
}

// runbookOf gathers what a runbook is filled with.
func runbookOf(ctx context.Context, s *stored) (report.Runbook, error) {
	r := report.Runbook{Made: time.Now(), Version: version, Snapshot: s.snap.SnapshotInfo, Accounts: runbookAccounts(s.cfg, s.snap)}
	r.Proxy = socksProxy(s.cfg.SSH.Proxy)
	g := &runbookGatherer{stored: s, hasKey: map[fleet.HostRef]bool{}, users: map[fleet.HostRef]string{}, saved: map[fleet.HostRef][]string{}}
	keys, err := s.db.RecoveryKeys(ctx)
	if err != nil {
		return r, err
	}
	policy, err := s.cfg.planPolicy("")
	if err != nil {
		return r, exitErr{code: exitUsage, err: err}
	}
	r.Key = runbookKey(s.cfg, keys, policy)
	if err := g.plans(ctx); err != nil {
		return r, err
	}
	r.Plan, r.Groups = g.plan, g.groups
	for _, n := range g.networks {
		if err := g.hosts(ctx, &n, r.Key.Public); err != nil {
			return r, err
		}
		r.Networks = append(r.Networks, n)
	}
	return r, nil
}

// socksProxy is the address of a proxy, without a password that may be in its URL.
func socksProxy(proxy string) string {
	u, err := url.Parse(proxy)
	if err != nil || !strings.HasPrefix(u.Scheme, "socks5") {
		return ""
	}
	return u.Host
}

// runbookAccounts says how each account of the snapshot is come to.
func runbookAccounts(cfg config, snap *fleet.Snapshot) []report.RunbookAccount {
	var out []report.RunbookAccount
	for _, acc := range snap.Accounts {
		if acc.ID == "" || slices.ContainsFunc(out, func(o report.RunbookAccount) bool { return o.ID == acc.ID }) {
			continue
		}
		one := report.RunbookAccount{ID: acc.ID, Label: acc.Label}
		for _, c := range cfg.Accounts {
			if len(cfg.Accounts) == 1 || c.Label != "" && c.Label == acc.Label || c.Label == "" && cmp.Or(c.Profile, c.RoleARN) == acc.Label {
				one.Profile, one.Role, one.ExternalID = c.Profile, c.RoleARN, c.ExternalID
				break
			}
		}
		out = append(out, one)
	}
	return out
}

// runbookGatherer goes through the plans, the newest first: what a newer one says
// of a VPC or a security group counts.
type runbookGatherer struct {
	*stored
	plan     string
	networks []report.RunbookNetwork
	groups   []report.RunbookGroup
	hasKey   map[fleet.HostRef]bool
	users    map[fleet.HostRef]string
	saved    map[fleet.HostRef][]string
}

func (g *runbookGatherer) plans(ctx context.Context) error {
	all, err := g.db.Plans(ctx)
	if err != nil {
		return fmt.Errorf("list the plans: %w", err)
	}
	for _, info := range all {
		p, err := g.db.Plan(ctx, info.ID)
		if err != nil {
			return fmt.Errorf("read plan %s: %w", info.ID, err)
		}
		entries, err := g.db.Entries(ctx, info.ID)
		if err != nil {
			return fmt.Errorf("read the journal of plan %s: %w", info.ID, err)
		}
		if err := g.take(p, entries); err != nil {
			return err
		}
	}
	slices.SortStableFunc(g.networks, func(a, b report.RunbookNetwork) int {
		return cmp.Or(strings.Compare(a.At.Account, b.At.Account), strings.Compare(a.At.Region, b.At.Region), strings.Compare(a.VPC, b.VPC))
	})
	return nil
}

func (g *runbookGatherer) take(p *plan.Plan, entries []cutover.Entry) error {
	if g.plan != "" && len(entries) == 0 {
		return nil // made, and never applied: a newer one stands in its place
	}
	if g.plan == "" && p.Purpose == "" {
		g.plan = p.ID
	}
	states, err := cutover.States(p, entries)
	if err != nil {
		return err
	}
	for _, s := range p.Of(plan.RecoveryGroup) {
		g.network(s, states[s.ID].Done())
	}
	for _, s := range p.Of(plan.RecoveryRule) {
		g.door(s)
	}
	for _, s := range p.Of(plan.RecoveryKey) {
		if s.Key == nil || len(s.Hosts) != 1 {
			continue
		}
		h := s.Hosts[0]
		g.hasKey[h] = g.hasKey[h] || states[s.ID].Done()
		g.users[h] = cmp.Or(g.users[h], s.Key.User)
	}
	folder, hosts, err := cutover.SavedKeys(p, entries)
	if err != nil {
		return err
	}
	for _, h := range hosts {
		g.saved[h] = append(g.saved[h], folder)
	}
	closed, err := cutover.ClosedGroups(p, entries)
	if err != nil {
		return err
	}
	for _, c := range closed {
		g.group(c)
	}
	return nil
}

func (g *runbookGatherer) network(s plan.Step, made bool) {
	c := s.Recovery
	if c == nil {
		return
	}
	if i := slices.IndexFunc(g.networks, func(n report.RunbookNetwork) bool { return n.At == s.At && n.VPC == c.VPC }); i >= 0 {
		g.networks[i].Made = g.networks[i].Made || made
		return
	}
	n := report.RunbookNetwork{
		At: s.At, VPC: c.VPC, Group: c.Name, Image: c.Image, Type: c.Type, User: c.User, Subnets: c.Subnets, From: c.From, Public: c.Public, Made: made,
	}
	for _, rg := range g.snap.Regions {
		if rg.Account != s.At.Account || rg.Name != s.At.Region {
			continue
		}
		for _, v := range rg.VPCs.Value {
			if v.ID == c.VPC {
				n.Name = v.Tags["Name"]
			}
		}
		for _, e := range rg.ConnectEndpoints.Value {
			if e.VPC == c.VPC && e.Usable() {
				n.Endpoints = append(n.Endpoints, e.ID)
			}
		}
		n.Serial = rg.SerialConsole
	}
	g.networks = append(g.networks, n)
}

// door adds a security group of hosts that lets a bastion in.
func (g *runbookGatherer) door(s plan.Step) {
	if s.Rules == nil {
		return
	}
	for i := range g.networks {
		n := &g.networks[i]
		lets := n.At == s.At && slices.ContainsFunc(s.Rules.Rules, func(r fleet.Rule) bool { return r.Group == n.Group })
		if lets && !slices.Contains(n.Doors, s.Rules.Group) {
			n.Doors = append(n.Doors, s.Rules.Group)
		}
	}
}

func (g *runbookGatherer) group(c cutover.ClosedGroup) {
	one := report.RunbookGroup{At: c.At, ID: c.Group, Closed: c.State.Owed() || c.State == cutover.StateFound, Exact: c.Journaled, Rules: c.Rules, Hosts: len(c.Hosts)}
	i := slices.IndexFunc(g.groups, func(o report.RunbookGroup) bool { return o.At == c.At && o.ID == c.Group })
	if i >= 0 {
		if one.Closed && (!g.groups[i].Closed || one.Exact && !g.groups[i].Exact) {
			one.Name = g.groups[i].Name
			g.groups[i] = one
		}
		return
	}
	for _, rg := range g.snap.Regions {
		for _, sg := range rg.Groups.Value {
			if rg.Account == c.At.Account && rg.Name == c.At.Region && sg.ID == c.Group {
				one.Name = sg.Name
			}
		}
	}
	g.groups = append(g.groups, one)
}

// hosts lists the running Linux hosts of a network.
func (g *runbookGatherer) hosts(ctx context.Context, n *report.RunbookNetwork, public string) error {
	client, err := g.cfg.SSH.client()
	if err != nil {
		return exitErr{code: exitUsage, err: fmt.Errorf("set up SSH: %w", err)}
	}
	defer client.Close()
	for _, h := range g.snap.Hosts {
		if h.Ref().Place() != n.At || h.VPC != n.VPC || !h.Running() || h.Windows() || h.AutoScalingGroup == n.Group {
			continue
		}
		one := report.RunbookHost{ID: h.ID, Name: h.Name(), Address: h.PrivateIP, User: g.users[h.Ref()], Saved: g.saved[h.Ref()]}
		user, seen := keyHolder(h, public)
		one.User = cmp.Or(one.User, user)
		if !g.hasKey[h.Ref()] && !seen || one.User == "" || !h.PrivateIP.IsValid() {
			n.Lacking = append(n.Lacking, one)
			continue
		}
		one.Password = slices.ContainsFunc(h.Probe.Value.Logins.Value.Logins, func(l fleet.Login) bool { return l.Method == "password" })
		// A known_hosts that cannot be read leaves the consoles to read the keys from.
		one.Keys, _ = client.KnownKeys(ctx, h)
		n.Hosts = append(n.Hosts, one)
	}
	return nil
}

// keyHolder is the account of a host in which the inventory saw the recovery key.
func keyHolder(h fleet.Host, public string) (user string, seen bool) {
	if public == "" || !h.Probe.Known {
		return "", false
	}
	for _, k := range h.Probe.Value.Keys.Value {
		if k.Problem == "" && k.Blob != "" && slices.Contains(strings.Fields(public), k.Blob) {
			return k.User, true
		}
	}
	return "", false
}

// runbookKey says where the recovery key is kept, by the configuration.
func runbookKey(cfg config, keys []fleet.RecoveryKey, policy plan.Policy) report.RunbookKey {
	k := report.RunbookKey{Public: policy.Recovery.PublicKey, CA: policy.Recovery.CA}
	if now, ok := fleet.CurrentRecoveryKey(keys); ok && k.Public == "" {
		k.Public, k.CA, k.Made = now.Line, now.CA, now.Made
	}
	c := cfg.Recovery
	if !c.set() {
		return k
	}
	k.Location = c.KeyFile
	switch c.store() {
	case storeAge:
		k.Store, k.Identities = report.KeyInAge, c.IdentityFiles
	case storeKMS:
		k.Store, k.KMSKey, k.Region = report.KeyInKMS, c.KMSKey, regionOf(c.KMSKey)
	case storeSecrets:
		k.Store, k.Location, k.Region = report.KeyInSecrets, c.Secret, regionOf(c.Secret)
	default:
		k.Store = report.KeyInFile
	}
	return k
}

// regionOf is the Region in an ARN; empty when it has none.
func regionOf(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 {
		return ""
	}
	return parts[3]
}
