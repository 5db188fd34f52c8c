package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/sshhost"
)

type initQuery struct {
	yes, plain, force, noCheck bool
	out                        string
	profiles, regions          []string
	jump                       string
	noSSH, runCommand          bool
}

func (a *app) initCommand() *cobra.Command {
	var q initQuery
	c := &cobra.Command{
		Use:   "init",
		Short: "Set migrate up: look around, ask a few questions, write migrate.yaml",
		Long: `init finds AWS profiles, the Regions in which they have instances, your ssh_config and the bastions in it. It asks
which of them to use, writes a migrate.yaml in which every setting is explained, and checks what your
credentials may do. It changes nothing else: no host, nothing in AWS.

On a terminal it asks by forms; with --plain, or without a terminal, line by line. With --yes it asks nothing
and takes what the flags say, and elsewhere what it would have proposed. A file that exists is replaced
only if you say so, or with --force.

Exit code 4: the file is written, but an account of it gave no answer.`,
		Example: `  migrate init
  migrate init --plain
  migrate init --yes --profile prod --profile sandbox --region eu-west-1 --region us-east-1
  migrate init --yes --no-ssh -o other.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, r := range q.regions {
				if err := checkRegion(r); err != nil {
					return usageErr("--region: %w", err)
				}
			}
			if len(q.regions) > 1 && slices.Contains(q.regions, awsapi.AllRegions) {
				return usageErr("--region all goes with no other")
			}
			if err := sshhost.CheckJump(q.jump); err != nil {
				return usageErr("--jump: %w", err)
			}
			if a.json && !q.yes {
				return usageErr("--json goes with --yes: questions are no JSON")
			}
			return a.init(cmd.Context(), q)
		},
	}
	f := c.Flags()
	f.BoolVarP(&q.yes, "yes", "y", false, "ask nothing")
	f.BoolVar(&q.plain, "plain", false, "ask line by line, without forms")
	f.BoolVar(&q.force, "force", false, "replace a file that exists")
	f.BoolVar(&q.noCheck, "no-check", false, "do not ask AWS anything")
	f.StringVarP(&q.out, "output", "o", "", "file to write (default the one of --config, or migrate.yaml)")
	f.StringArrayVar(&q.profiles, "profile", nil, "AWS profile to use (may be repeated)")
	f.StringArrayVar(&q.regions, "region", nil, "Region to read, or all (may be repeated; default those with instances)")
	f.StringVar(&q.jump, "jump", "", "bastion for every host: user@host:port")
	f.BoolVar(&q.noSSH, "no-ssh", false, "do not read hosts over SSH")
	f.BoolVar(&q.runCommand, "run-command", false, "read hosts by Run Command where SSH gives no answer")
	return c
}

// initResult is what init --json prints.
type initResult struct {
	File     string        `json:"file"`
	Accesses []initAccess  `json:"accesses"`
	SSH      initSSH       `json:"ssh"`
	Checks   []fleet.Check `json:"checks"` // of migrate doctor
	Next     []string      `json:"next"`
}

// initAccess is a way into AWS that was chosen.
type initAccess struct {
	Name    string   `json:"name"`
	Account string   `json:"account,omitempty"`
	Regions []string `json:"regions"`
	Reason  string   `json:"reason,omitempty"` // why it gave no answer
}

type initSSH struct {
	Disabled bool     `json:"disabled"`
	Bastions []string `json:"bastions"`
	Problem  string   `json:"problem,omitempty"`
}

func (a *app) init(ctx context.Context, q initQuery) error {
	path := cmp.Or(q.out, a.configPath, defaultConfigFile)
	var ask asker = presetAsker{}
	if !q.yes {
		ask = a.asker(q.plain)
	}
	replace, err := mayReplace(ctx, ask, path, q)
	if err != nil {
		return err
	}
	s := setup{app: a, ask: ask, q: q}
	if err := s.accesses(ctx); err != nil {
		return err
	}
	if err := s.ssh(ctx); err != nil {
		return err
	}
	text := s.choices.text()
	cfg, err := parseConfig([]byte(text))
	if err != nil {
		return fmt.Errorf("what was answered makes no configuration: %w", err)
	}
	if err := writeNew(path, text, replace); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	fmt.Fprintf(a.err, "\nWrote %s.\n", path)
	if !q.noCheck {
		s.check(ctx, cfg)
	}
	return s.finish(path)
}

// mayReplace asks before a file gives way.
func mayReplace(ctx context.Context, ask asker, path string, q initQuery) (bool, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	if q.force {
		return true, nil
	}
	ok, err := ask.yes(ctx, path+" exists already.", "Replace it? What is in it is lost.", false)
	switch {
	case err != nil:
		return false, err
	case !ok:
		return false, usageErr("%s exists and stays as it is: --force replaces it, -o names another file", path)
	}
	return true, nil
}

// writeNew writes a file whole or not at all, and over another one only if that
// is meant.
func writeNew(path, text string, replace bool) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".migrate-init-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already where it was renamed
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Chmod(0o600), f.Sync(), f.Close()); err != nil {
		return err
	}
	if replace {
		return os.Rename(f.Name(), path)
	}
	return os.Link(f.Name(), path) // unlike a rename it fails where something has come meanwhile
}

// setup gathers what init finds and what the operator chooses.
type setup struct {
	app *app
	ask asker
	q   initQuery

	choices choices
	opened  []*awsapi.Account
	result  initResult
}

func (s *setup) say(format string, args ...any) { fmt.Fprintf(s.app.err, format+"\n", args...) }

// defaultChain stands for the SDK's default credentials among the profiles.
const defaultChain = ""

// accesses chooses profiles and Regions.
func (s *setup) accesses(ctx context.Context) error {
	found, err := awsapi.Profiles(ctx)
	if err != nil {
		s.say("Warning: %s", oneLine(err.Error()))
	}
	picked, err := s.pickProfiles(ctx, found)
	if err != nil {
		return err
	}
	uses := s.look(ctx, picked, found)
	regions, err := s.pickRegions(ctx, uses)
	if err != nil {
		return err
	}
	for i, name := range picked {
		access := accountConfig{Profile: name}
		if name == defaultChain {
			access.Label = "default"
		}
		access.Regions = regions
		if len(regions) == 0 && len(uses[i]) == 1 {
			access.Regions = []string{uses[i][0].Name}
		}
		s.choices.accounts = append(s.choices.accounts, access)
	}
	return nil
}

func (s *setup) pickProfiles(ctx context.Context, found []awsapi.Profile) ([]string, error) {
	if len(s.q.profiles) > 0 {
		return s.q.profiles, nil
	}
	environment := os.Getenv("AWS_ACCESS_KEY_ID") != "" || os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE") != ""
	named := cmp.Or(os.Getenv("AWS_PROFILE"), os.Getenv("AWS_DEFAULT_PROFILE"))
	var options []option
	for _, p := range found {
		text := oneLine(p.Name)
		for _, more := range []string{p.Region, p.Role, map[bool]string{true: "IAM Identity Center"}[p.SSO]} {
			if more != "" {
				text += ", " + more
			}
		}
		options = append(options, option{value: p.Name, text: text, chosen: !environment && (p.Name == named || named == "" && (p.Name == "default" || len(found) == 1))})
	}
	if environment || len(found) == 0 {
		why := "the SDK's default credentials, as of an instance's role"
		if environment {
			why = "the credentials in this terminal's environment"
		}
		options = append([]option{{value: defaultChain, text: why, chosen: true}}, options...)
	}
	if len(chosen(options)) == 0 {
		if s.q.yes {
			return nil, usageErr("which of %s? Name it with --profile, or set AWS_PROFILE", count(len(found), "AWS profile", "AWS profiles"))
		}
	}
	if len(options) == 1 {
		s.say("AWS: %s.", options[0].text)
		return []string{options[0].value}, nil
	}
	return s.ask.many(ctx, "Which AWS profiles lead to the fleet?", fmt.Sprintf("Found: %s.", count(len(found), "profile", "profiles")), options)
}

// look opens the chosen accesses and asks in which Regions they have instances.
// An access without an answer has none; the operator is told.
func (s *setup) look(ctx context.Context, picked []string, found []awsapi.Profile) [][]awsapi.RegionUse {
	uses := make([][]awsapi.RegionUse, len(picked))
	for i, name := range picked {
		access := awsapi.Access{Profile: name, Regions: []string{awsapi.AllRegions}}
		if len(s.q.regions) > 0 {
			access.Regions = s.q.regions
		}
		at := slices.IndexFunc(found, func(p awsapi.Profile) bool { return p.Name == name })
		own := ""
		if at >= 0 {
			own = found[at].Region
		}
		if own = cmp.Or(own, os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION")); checkRegion(own) != nil {
			own = ""
		}
		r := initAccess{Name: access.Name(), Regions: []string{}}
		if s.q.noCheck {
			if own != "" {
				uses[i] = []awsapi.RegionUse{{Name: own}}
			}
			s.result.Accesses = append(s.result.Accesses, r)
			continue
		}
		s.say("Looking where %s has instances …", oneLine(r.Name))
		account, err := awsapi.Open(ctx, access, awsapi.Options{Version: version})
		if err == nil {
			var who string
			if who, err = account.Caller(ctx); err == nil {
				r.Account = accountOf(who)
				s.opened = append(s.opened, account)
				uses[i] = slices.DeleteFunc(account.UsedRegions(ctx), func(u awsapi.RegionUse) bool { return checkRegion(u.Name) != nil })
			}
		}
		if err != nil {
			r.Reason = oneLine(err.Error())
			s.say("  no answer: %s\n  to do: sign in (aws sso login --profile NAME, or other credentials) and run migrate init again, or go on", r.Reason)
			if own != "" {
				uses[i] = []awsapi.RegionUse{{Name: own}}
			}
		}
		s.result.Accesses = append(s.result.Accesses, r)
	}
	return uses
}

// accountOf takes the account's ID out of a principal's ARN.
func accountOf(arn string) string {
	parts := strings.Split(arn, ":")
	if len(parts) < 5 {
		return ""
	}
	return parts[4]
}

// pickRegions asks for the Regions, of all accesses together. None: each
// access's own.
func (s *setup) pickRegions(ctx context.Context, uses [][]awsapi.RegionUse) ([]string, error) {
	if len(s.q.regions) > 0 {
		return s.q.regions, nil
	}
	var options []option
	for _, use := range slices.Concat(uses...) {
		i := slices.IndexFunc(options, func(o option) bool { return o.value == use.Name })
		if i < 0 {
			i = len(options)
			options = append(options, option{value: use.Name, text: use.Name + ", no instances"})
		}
		switch {
		case use.Instances == fleet.TruthYes:
			options[i].text, options[i].chosen = use.Name+", has instances", true
		case use.Instances == fleet.TruthUnknown && !options[i].chosen:
			options[i].text = use.Name + ", not known whether it has instances"
		}
	}
	slices.SortFunc(options, func(a, b option) int {
		if a.chosen != b.chosen {
			return map[bool]int{true: -1, false: 1}[a.chosen]
		}
		return cmp.Compare(a.value, b.value)
	})
	if used := chosen(options); len(used) > 0 {
		s.say("Instances were found in %s.", strings.Join(used, ", "))
	} else { // nobody could say: the accesses' own
		for i := range options {
			options[i].chosen = strings.HasSuffix(options[i].text, "not known whether it has instances")
		}
	}
	options = append(options, option{value: awsapi.AllRegions, text: "all: every Region enabled, also those that come later", chosen: len(chosen(options)) == 0})
	got, err := s.ask.many(ctx, "Which Regions?", "Each Region costs some API calls at every inventory, also one without instances.", options)
	if slices.Contains(got, awsapi.AllRegions) {
		return []string{awsapi.AllRegions}, err
	}
	return got, err
}
