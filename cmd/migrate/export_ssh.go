package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/fleet"
)

// addUserExports adds what is written for a fleet's users.
func (a *app) addUserExports(to *cobra.Command) {
	for _, c := range []*cobra.Command{a.exportSSHConfigCommand(), a.exportHowtoCommand()} {
		wrapUsage(c)
		to.AddCommand(c)
	}
}

type sshConfigQuery struct {
	out      string
	snapshot int64
	awsCLI   bool
	user     string
	profile  string
}

func (a *app) exportSSHConfigCommand() *cobra.Command {
	var q sshConfigQuery
	c := &cobra.Command{
		Use:   "ssh-config",
		Short: "An ssh_config that reaches the hosts through Session Manager",
		Long: `ssh-config writes an OpenSSH configuration by which ssh, scp, rsync, git and Ansible reach every Linux host of the
latest snapshot through Session Manager, by its instance ID and by its Name tag. They connect by
migrate connect --ssh, which has to be in PATH; with --aws-cli, by the AWS CLI and its session-manager-plugin.

Use it with ssh -F FILE, or by the lines "Match all" and "Include FILE" at the end of ~/.ssh/config: what stands
before them goes first. The host's SSH server still has to accept the user: a key or certificate is needed as before.

A name that several hosts have, that has a dot, or that could be taken for another machine stands with the
instance ID behind it: NAME.ID. A Name tag that is no host name is left out.`,
		Example: `  migrate export ssh-config -o ~/.ssh/config.fleet
  migrate export ssh-config --aws-cli --user ec2-user > fleet.conf
  ssh -F fleet.conf web-1`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case q.user != "" && !fleet.IsUserName(q.user):
				return usageErr("--user %q is no user name", q.user)
			case q.profile != "" && !sshProfile.MatchString(q.profile):
				return usageErr("--profile %q: a profile in an ssh_config has letters, digits and - _ . alone", q.profile)
			case q.profile != "" && !q.awsCLI:
				return usageErr("--profile goes with --aws-cli; migrate connect takes its accounts from migrate.yaml")
			}
			return a.exportSSHConfig(cmd.Context(), q)
		},
	}
	f := c.Flags()
	f.StringVarP(&q.out, "output", "o", "", "file to write (default: standard output)")
	f.BoolVar(&q.awsCLI, "aws-cli", false, "connect by the AWS CLI instead of migrate")
	f.StringVar(&q.user, "user", "", "login name on the hosts (default: ssh's own)")
	f.StringVar(&q.profile, "profile", "", "profile for the AWS CLI")
	addSnapshotFlag(c, &q.snapshot)
	return c
}

var (
	sshProfile  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$`)
	sshRegion   = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$`)
	sshName     = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_.-]{0,62}[A-Za-z0-9])?$`)
	looksLikeID = regexp.MustCompile(`^m?i-[0-9a-fA-F]+$`)
)

// sshHost is a host as an ssh_config names it.
type sshHost struct {
	ID     string `json:"id"`
	Region string `json:"region"`
	Name   string `json:"name,omitempty"` // that ssh takes; empty: only the ID

	call string // what migrate's own commands take
}

// sshHosts names the Linux hosts of a snapshot. Name tags are anybody's who may
// tag: none may be a pattern, stand for a machine elsewhere, or for another host.
func sshHosts(snap *fleet.Snapshot) []sshHost {
	count := map[string]int{}
	var out []sshHost
	for _, h := range snap.Hosts {
		if h.Windows() || h.State == "terminated" || h.State == "shutting-down" || !instanceID.MatchString(h.ID) || !sshRegion.MatchString(h.Region) {
			continue
		}
		one := sshHost{ID: h.ID, Region: h.Region, call: h.ID}
		if n := h.Tags["Name"]; sshName.MatchString(n) && !looksLikeID.MatchString(n) {
			one.Name = n
			count[strings.ToLower(n)]++
		}
		out = append(out, one)
	}
	for i, h := range out {
		n := strings.ToLower(h.Name)
		if n != "" && count[n] == 1 {
			out[i].call = h.Name
		}
		if n != "" && (count[n] > 1 || strings.Contains(n, ".") || n == "localhost") {
			out[i].Name = h.Name + "." + h.ID
		}
	}
	slices.SortFunc(out, func(a, b sshHost) int {
		return cmp.Or(strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), strings.Compare(a.ID, b.ID))
	})
	return out
}

// sshConfigText writes the configuration. Of what it holds nothing is a shell's
// or ssh's to interpret: names, IDs and Regions are letters, digits and - _ . alone.
func sshConfigText(hosts []sshHost, q sshConfigQuery, snapshot int64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Made by migrate export ssh-config from snapshot %d: hosts by Session Manager.\n# ssh -F THIS-FILE HOST, or \"Match all\" and \"Include THIS-FILE\" at the end of ~/.ssh/config\n", snapshot)
	for _, h := range hosts {
		names := h.ID
		if h.Name != "" {
			names = h.Name + " " + h.ID
		}
		proxy := "migrate connect --ssh --region " + h.Region + " --port %p %h"
		if q.awsCLI {
			proxy = "aws ssm start-session --region " + h.Region + " --target %h --document-name AWS-StartSSHSession --parameters portNumber=%p"
			if q.profile != "" {
				proxy += " --profile " + q.profile
			}
		}
		fmt.Fprintf(&b, "\nHost %s\n    HostName %s\n    ProxyCommand %s\n", names, h.ID, proxy)
		if q.user != "" {
			fmt.Fprintf(&b, "    User %s\n", q.user)
		}
	}
	return b.String()
}

func (a *app) exportSSHConfig(ctx context.Context, q sshConfigQuery) error {
	s, err := a.openStored(ctx, q.snapshot)
	if err != nil {
		return err
	}
	defer s.db.Close()
	hosts := sshHosts(s.snap)
	text := sshConfigText(hosts, q, s.snap.ID)
	if s.snap.State != fleet.SnapshotComplete {
		fmt.Fprintf(a.err, "Snapshot %d is %s: hosts may be missing.\n", s.snap.ID, s.snap.State)
	}
	if q.out == "" {
		if a.json {
			return writeJSON(a.out, struct {
				Hosts  []sshHost `json:"hosts"`
				Config string    `json:"config"`
			}{hosts, text})
		}
		_, err := io.WriteString(a.out, text)
		return err
	}
	if err := writeFile(q.out, func(w io.Writer) error { _, err := io.WriteString(w, text); return err }); err != nil {
		return err
	}
	if a.json {
		return writeJSON(a.out, struct {
			File  string    `json:"file"`
			Hosts []sshHost `json:"hosts"`
		}{q.out, hosts})
	}
	at, err := filepath.Abs(q.out)
	if err != nil {
		return fmt.Errorf("find %s: %w", q.out, err)
	}
	_, err = fmt.Fprintf(a.out, "Wrote %s: %s. Use it by ssh -F, or by these lines at the end of ~/.ssh/config:\nMatch all\nInclude %s\n", oneLine(q.out), count(len(hosts), "host", "hosts"), oneLine(at))
	return err
}
