package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/sshhost"
)

// Ways in which init proposes to read hosts.
const (
	readAsSSH  = "ssh"
	readNoFile = "none"
	readNot    = "not"
)

// ssh looks at ssh_config and asks how hosts are read.
func (s *setup) ssh(ctx context.Context) error {
	s.result.SSH.Bastions = []string{}
	if s.q.noSSH {
		s.choices.sshOff, s.result.SSH.Disabled = true, true
		return nil
	}
	survey, broken := sshhost.Look("")
	said := describeSSH(survey)
	if broken != nil {
		s.result.SSH.Problem = oneLine(broken.Error())
		said = "Your ssh_config cannot be used: " + s.result.SSH.Problem + ". "
	}
	for _, b := range survey.Bastions {
		if b.Problem == "" {
			s.result.SSH.Bastions = append(s.result.SSH.Bastions, oneLine(b.Jump))
		}
	}
	how, err := s.ask.one(ctx, "How does migrate read hosts today?", said+"It logs in once on each host and runs one script, which changes nothing.", []option{
		{value: readAsSSH, text: "over SSH, as ssh_config and the ssh-agent say", chosen: broken == nil},
		{value: readNoFile, text: "over SSH, without any ssh_config", chosen: broken != nil},
		{value: readNot, text: "not at all: only what AWS's APIs tell (keys and logins stay unknown)"},
	})
	if err != nil {
		return err
	}
	switch how {
	case readNot:
		s.choices.sshOff, s.result.SSH.Disabled = true, true
		return nil
	case readNoFile:
		s.choices.sshConfig = "none"
		if s.result.SSH.Problem != "" {
			s.say("Warning: %sIt is not used (config_file: none).", said)
		}
	}
	if s.choices.jump = s.q.jump; s.q.jump == "" && (how == readNoFile || len(survey.Bastions) == 0) {
		s.choices.jump, err = s.ask.line(ctx, "Is there a bastion that leads to every host?", "user@host:port, several by comma in the order in which they are passed; empty: none, hosts are reached directly.", "", sshhost.CheckJump)
		if err != nil {
			return err
		}
	}
	s.choices.runCommand, err = s.ask.yes(ctx, "Read hosts by Run Command where SSH gives no answer?", "After the cutover no host answers over SSH any more. It needs ssm:SendCommand; without it, those hosts are unknown.", s.q.runCommand)
	return err
}

func describeSSH(v sshhost.Survey) string {
	if !v.Found {
		return "You have no ssh_config. "
	}
	text := fmt.Sprintf("Your ssh_config has %s", count(v.Names, "block for certain hosts", "blocks for certain hosts"))
	var bastions, broken []string
	for _, b := range v.Bastions {
		if b.Problem == "" {
			bastions = append(bastions, cell(b.Jump))
		} else {
			broken = append(broken, cell(b.Jump))
		}
	}
	const most = 3
	if n := len(bastions); n > 0 {
		text += fmt.Sprintf(" and leads through %s: %s", count(n, "bastion", "bastions"), strings.Join(bastions[:min(n, most)], "; "))
		if n > most {
			text += fmt.Sprintf(" and %d more", n-most)
		}
	}
	if len(broken) > 0 {
		text += fmt.Sprintf(" (%s not usable)", count(len(broken), "bastion is", "bastions are"))
	}
	if v.Commands > 0 {
		text += fmt.Sprintf("; %s", count(v.Commands, "ProxyCommand", "ProxyCommands"))
	}
	return text + ". "
}

// check runs migrate doctor's checks in each account and Region that was chosen.
func (s *setup) check(ctx context.Context, cfg config) {
	var places []patient
	for i, access := range s.result.Accesses {
		c := cfg.Accounts[i]
		s.result.Accesses[i].Regions = c.Regions
		regions := c.Regions
		if slices.Contains(regions, awsapi.AllRegions) {
			regions = nil // one place stands for all: most of what is checked is the account's
		}
		if access.Account == "" {
			continue
		}
		for _, r := range append(slices.Clone(regions), map[bool][]string{true: {""}}[len(regions) == 0]...) {
			places = append(places, patient{at: fleet.Place{Account: access.Account, Region: r}})
		}
	}
	if len(places) == 0 || ctx.Err() != nil {
		return
	}
	s.say("Checking what these credentials may do …")
	s.result.Checks = examine(ctx, awsapi.NewChanger(s.opened...), places, doctorQuery{timerRole: defaultTimerRole})
}

// finish prints what was found and what comes next.
func (s *setup) finish(path string) error {
	r := &s.result
	r.File = path
	if r.Checks == nil {
		r.Checks = []fleet.Check{}
	}
	silent := slices.ContainsFunc(r.Accesses, func(a initAccess) bool { return a.Reason != "" })
	r.Next = []string{"migrate inventory", "migrate readiness", "migrate"}
	if silent {
		r.Next = append([]string{"aws sso login, or other credentials"}, r.Next...)
	}
	if s.app.json {
		if err := writeJSON(s.app.out, r); err != nil {
			return err
		}
	} else if err := s.print(silent); err != nil {
		return err
	}
	if silent {
		return verdict(exitIncomplete)
	}
	return nil
}

func (s *setup) print(silent bool) error {
	w, r := s.app.out, s.result
	var no, unknown []string
	for _, c := range r.Checks {
		name := oneLine(c.Name)
		switch {
		case c.Holds == fleet.TruthNo && !slices.Contains(no, name):
			no = append(no, name)
		case c.Holds == fleet.TruthUnknown && !slices.Contains(unknown, name):
			unknown = append(unknown, name)
		}
	}
	switch {
	case len(r.Checks) == 0:
	case len(no)+len(unknown) == 0:
		fmt.Fprintln(w, "These credentials may do all that a cutover needs, as far as it can be told before an inventory.")
	default:
		fmt.Fprintln(w, "An inventory only reads. For the cutover, migrate doctor looks more closely after it; now it says:")
		if len(no) > 0 {
			fmt.Fprintf(w, "  no:      %s\n", strings.Join(no, ", "))
		}
		if len(unknown) > 0 {
			fmt.Fprintf(w, "  unknown: %s\n", strings.Join(unknown, ", "))
		}
		fmt.Fprintln(w, "  what to grant: docs/permissions.md")
	}
	where := ""
	if r.File != defaultConfigFile {
		where = " --config " + shellWord(r.File)
	}
	fmt.Fprintln(w, "\nNext:")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if silent {
		fmt.Fprintln(t, "  sign in to AWS\t# an account gave no answer, see above")
	}
	fmt.Fprintf(t, "  migrate inventory%s\t# reads AWS and hosts, changes nothing\n", where)
	fmt.Fprintf(t, "  migrate readiness%s\t# what stands in the way, host by host\n", where)
	fmt.Fprintf(t, "  migrate%s\t# or all of it in the wizard\n", where)
	return t.Flush()
}
