package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/report"
)

func (a *app) exportHowtoCommand() *cobra.Command {
	var out string
	var snapshot int64
	c := &cobra.Command{
		Use:   "howto",
		Short: "A page for users: how do I now get a shell, copy, tunnel, run Ansible, use git",
		Long: `howto writes one page for the people who used SSH: how they get a shell, copy files, open tunnels, and go on using ssh,
Ansible and git through Session Manager, with this fleet's names in the examples.

The end of the file's name says what is written: .md or .html. Without -o, Markdown goes to standard output.`,
		Example: `  migrate export howto -o howto.html
  migrate export howto | less`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.exportHowto(cmd.Context(), out, snapshot) },
	}
	c.Flags().StringVarP(&out, "output", "o", "", "file to write (.md, .html); default: Markdown to standard output")
	addSnapshotFlag(c, &snapshot)
	return c
}

func (a *app) exportHowto(ctx context.Context, out string, snapshot int64) error {
	render := report.HowtoMarkdown
	switch strings.ToLower(filepath.Ext(out)) {
	case ".md", ".markdown":
	case ".html", ".htm":
		render = report.HowtoHTML
	default:
		if out != "" {
			return usageErr("%s: the end of the name must be .md or .html", out)
		}
	}
	if out == "" && a.json {
		return usageErr("--json tells what was written: name a file with -o")
	}
	s, err := a.openStored(ctx, snapshot)
	if err != nil {
		return err
	}
	defer s.db.Close()
	page := howtoOf(s)
	if out == "" {
		return render(a.out, page)
	}
	if err := writeFile(out, func(w io.Writer) error { return render(w, page) }); err != nil {
		return err
	}
	if a.json {
		return writeJSON(a.out, struct {
			File     string `json:"file"`
			Snapshot int64  `json:"snapshot"`
			Hosts    int    `json:"hosts"`
		}{out, s.snap.ID, len(page.Hosts) + page.More})
	}
	_, err = fmt.Fprintf(a.out, "Wrote %s for %s.\n", oneLine(out), count(len(page.Hosts)+page.More, "host", "hosts"))
	return err
}

// howtoHosts is how many hosts the page lists.
const howtoHosts = 60

// howtoOf fills the page. Hosts that sessions reach come first: examples are
// made of them.
func howtoOf(s *stored) report.Howto {
	h := report.Howto{Made: time.Now(), Version: version, Snapshot: s.snap.ID, Bucket: s.cfg.Copy.Bucket, LoggedKnown: true}
	connected := map[string]bool{}
	for _, host := range s.snap.Hosts {
		connected[host.ID] = host.Connection.Known && host.Connection.Value == "connected"
	}
	hosts := sshHosts(s.snap)
	slices.SortStableFunc(hosts, func(a, b sshHost) int { return rank(connected[a.ID], a) - rank(connected[b.ID], b) })
	for i, host := range hosts {
		if i == howtoHosts {
			h.More = len(hosts) - i
			break
		}
		h.Hosts = append(h.Hosts, report.HowtoHost{Call: host.call, SSH: cmp.Or(host.Name, host.ID), ID: host.ID, Region: host.Region})
	}
	for _, r := range s.snap.Regions {
		h.LoggedKnown = h.LoggedKnown && r.Preferences.Known
		if !r.Preferences.Known {
			continue
		}
		in := fleet.SessionInputs{}
		if r.Preferences.Value.Exists {
			var err error
			if in, err = fleet.ParseSessionDocument(r.Preferences.Value.Content); err != nil {
				h.LoggedKnown = false
				continue
			}
		}
		h.Users = append(h.Users, runsAs(in))
		if in.Bucket != "" {
			h.Logged = append(h.Logged, "the S3 bucket "+in.Bucket)
		}
		if in.LogGroup != "" {
			h.Logged = append(h.Logged, "the CloudWatch log group "+in.LogGroup)
		}
	}
	for _, list := range []*[]string{&h.Users, &h.Logged} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return h
}

// rank puts hosts that sessions reach first, of these those with a plain name.
func rank(connected bool, h sshHost) int {
	n := 0
	if !connected {
		n += 2
	}
	if h.call == h.ID || h.call != h.Name {
		n++
	}
	return n
}

// runsAs is the account in which the shells of preferences run.
func runsAs(in fleet.SessionInputs) string {
	switch {
	case !in.RunAs:
		return "ssm-user"
	case in.RunAsUser != "":
		return "the user that the tag SSMSessionRunAs of your IAM user or role names, else " + in.RunAsUser
	}
	return "the user that the tag SSMSessionRunAs of your IAM user or role names"
}
