package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

type openQuery struct {
	plan.Opening
	length time.Duration
	yes    bool
	run    string // host to log in to
}

func (a *app) recoveryOpenCommand() *cobra.Command {
	var q openQuery
	c := &cobra.Command{
		Use:   "open --reason TEXT",
		Short: "Break the glass: run the recovery bastions, and print the ssh commands",
		Long: `open starts the recovery bastions, for when Session Manager does not lead into hosts. The reason is kept in the
plan and the journal. First it arms a schedule that ends the bastions when the time is up (--for); if
EventBridge Scheduler does not answer, it says so and goes on. If EC2 launches nothing, it says so at once.

It writes a configuration for OpenSSH with the bastions' host keys, as their consoles show them, and prints the command
for each host. Where the recovery key is a certificate authority, it signs a key for this opening, good for an hour at
most, in a file beside that configuration; close removes it. --run HOST runs the one of a host. A bastion that runs already is taken; if it would end too soon, or never, its schedule
is set anew, and never to an earlier time.

When you are done: migrate recovery close, which ends the bastions and rotates the recovery key.

Exit code 4: not every bastion is in service.`,
		Example: `  migrate recovery open --reason "SSM is down in eu-west-1" --yes
  migrate recovery open --reason "INC-4711" --vpc vpc-0123456789abcdef0 --for 30m --bastions 2 --yes
  migrate recovery open --reason "INC-4711" --yes --run i-0123456789abcdef0`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q.For = plan.Duration(q.length)
			return a.recoveryOpen(cmd.Context(), q)
		},
	}
	c.Flags().StringVar(&q.Reason, "reason", "", "why: kept in the journal")
	c.Flags().StringSliceVar(&q.VPCs, "vpc", nil, "only this VPC (may be repeated)")
	c.Flags().DurationVar(&q.length, "for", 2*time.Hour, "after which the bastions end by themselves")
	c.Flags().IntVar(&q.Bastions, "bastions", 1, "bastions in each VPC, spread over its zones")
	c.Flags().StringVar(&q.run, "run", "", "log in to this host (instance ID or Name tag) once its bastion is up")
	c.Flags().BoolVar(&q.yes, "yes", false, "start the bastions")
	return c
}

// openedHost is a host that open leads to.
type openedHost struct {
	Host    fleet.HostRef `json:"host"`
	Name    string        `json:"name"`
	Command string        `json:"command"`
}

// openedWay is an open recovery way.
type openedWay struct {
	VPC     string       `json:"vpc"`
	Bastion string       `json:"bastion,omitempty"` // instance ID
	Address string       `json:"address,omitempty"`
	Ends    time.Time    `json:"ends,omitzero"`   // zero: no schedule ends it, or see Timer
	Timer   string       `json:"timer,omitempty"` // why it is not known whether a schedule ends it
	Hosts   []openedHost `json:"hosts"`
	Error   string       `json:"error,omitempty"`
}

type openResult struct {
	Plan   string `json:"plan"`
	Config string `json:"config,omitempty"` // for ssh -F
	Key    string `json:"key"`              // where the private key is
	CA     bool   `json:"ca,omitempty"`     // it signs certificates, and does not log in itself
	// LoginKey is the file of a key that the authority has certified for this opening;
	// empty: there is none.
	LoginKey   string      `json:"loginKey,omitempty"`
	LoginUntil time.Time   `json:"loginUntil,omitzero"` // when its certificates end
	Ways       []openedWay `json:"ways"`
	isFile     bool        // ssh can use the key as it is
}

func (a *app) recoveryOpen(ctx context.Context, q openQuery) error {
	b, err := a.openRecovery(ctx)
	if err != nil {
		return err
	}
	defer b.db.Close()
	p, err := plan.MakeOpening(b.snap, b.ways, q.Opening, b.policy, time.Now())
	if err != nil {
		return exitErr{code: exitUsage, err: err}
	}
	if !q.yes {
		return usageErr("this starts %s: add --yes", count(len(p.Of(plan.RecoveryOpen)), "recovery bastion", "recovery bastions"))
	}
	var run fleet.HostRef
	if q.run != "" { // before anything starts
		if run, err = ledTo(p, namesOfHosts(b.snap), q.run); err != nil {
			return err
		}
	}
	out, err := a.carryOut(ctx, b.db, p)
	if err != nil {
		return err
	}
	accounts, err := openAccounts(ctx, b.cfg)
	if err != nil {
		return err
	}
	res, config, err := opened(ctx, b, awsapi.NewChanger(accounts...), p, out)
	if err != nil {
		return err
	}
	if res.isFile {
		config += "Match all\n  IdentityFile " + sshWord(b.cfg.Recovery.KeyFile) + "\n  IdentitiesOnly yes\n"
	}
	var noLogin error
	if res.CA && b.cfg.Recovery.set() {
		var login openLogin
		if login, noLogin = a.certifyLogin(ctx, b, p.ID, res.until(q.length)); noLogin != nil { // the bastions run: the rest is of use all the same
			fmt.Fprintf(a.err, "No certificate was signed: %s\n", oneLine(noLogin.Error()))
		}
		config += login.config
		res.LoginKey, res.LoginUntil = login.file, login.until
	}
	if res.Config, err = writeSSHConfig(b.cfg, p.ID, config); err != nil {
		return err
	}
	for i := range res.Ways {
		for k := range res.Ways[i].Hosts {
			h := &res.Ways[i].Hosts[k]
			h.Command = "ssh -F " + shellWord(res.Config) + " -J " + res.Ways[i].Bastion + " " + h.Host.ID
		}
	}
	if err := a.printOpened(res); err != nil {
		return err
	}
	if q.run != "" {
		return a.runOpened(ctx, b, res, run)
	}
	if out.result.Outcome != cutover.OutcomeDone || noLogin != nil {
		return verdict(exitIncomplete)
	}
	return nil
}

// ledTo is the host of an opening that is called so: by its ID, or by its name.
func ledTo(p *plan.Plan, names map[fleet.HostRef]string, name string) (fleet.HostRef, error) {
	var found []fleet.HostRef
	for _, s := range p.Of(plan.RecoveryOpen) {
		for _, h := range s.Hosts {
			if h.ID == name {
				return h, nil
			}
			if names[h] == name {
				found = append(found, h)
			}
		}
	}
	switch len(found) {
	case 0:
		return fleet.HostRef{}, usageErr("--run: no recovery bastion that this opens leads to a host called %s: nothing was started", oneLine(name))
	case 1:
		return found[0], nil
	}
	return fleet.HostRef{}, usageErr("--run: %d hosts are called %s: name one by its instance ID", len(found), oneLine(name))
}

// until is when the last of the bastions ends, or what was wanted of them where that is not known.
func (r openResult) until(wanted time.Duration) time.Time {
	until := time.Now().Add(wanted)
	var last time.Time
	for _, w := range r.Ways {
		if w.Ends.After(last) {
			last = w.Ends
		}
	}
	if !last.IsZero() && last.Before(until) {
		return last
	}
	return until
}

// opened looks which bastions are up, and writes what OpenSSH has to know of them.
func opened(ctx context.Context, b *recoveryBase, changer *awsapi.Changer, p *plan.Plan, out outcome) (openResult, string, error) {
	res := openResult{Plan: p.ID, Key: "-", Ways: []openedWay{}}
	keys, err := b.db.RecoveryKeys(ctx)
	if err != nil {
		return res, "", err
	}
	if k, ok := fleet.CurrentRecoveryKey(keys); ok {
		res.Key, res.CA = k.Location, k.CA
	}
	res.isFile = !res.CA && b.cfg.Recovery.set() && b.cfg.Recovery.store() == storeFile
	var config strings.Builder
	hosts := hostsOf(b.snap)
	users := recoveryUsers(p, b.ways...)
	for _, s := range p.Of(plan.RecoveryOpen) {
		w := openedWay{VPC: s.Recovery.VPC, Hosts: []openedHost{}}
		if w.Ends, err = cutover.OpenEnds(ctx, changer, s.At, s.Recovery.Name); err != nil {
			w.Timer = oneLine(err.Error())
		}
		up, err := changer.InService(ctx, s.At, s.Recovery.Name)
		switch {
		case err != nil:
			w.Error = oneLine(err.Error())
		case len(up) == 0:
			w.Error = cmp.Or(oneLine(out.failures[s.ID]), "no bastion is in service")
		default:
			bastion := up[0]
			known, err := consoleKeys(ctx, changer, bastion.Ref())
			if err != nil {
				w.Error = oneLine(err.Error())
				break
			}
			w.Bastion, w.Address = bastion.ID, addressOf(bastion, s.Recovery.Public, b.cfg.SSH.Address)
			writeBastion(&config, w, s.Recovery.User, b.cfg, known)
		}
		for _, ref := range s.Hosts {
			h, ok := hosts[ref]
			if !ok || w.Bastion == "" || !h.PrivateIP.IsValid() {
				continue
			}
			fmt.Fprintf(&config, "Host %s\n  HostName %s\n  User %s\n  ProxyJump %s\n\n", ref.ID, h.PrivateIP, users(h), w.Bastion)
			w.Hosts = append(w.Hosts, openedHost{Host: ref, Name: h.Name()})
		}
		res.Ways = append(res.Ways, w)
	}
	return res, config.String(), nil
}

// How long a console may take to show host keys, and how often it is asked.
const (
	consoleTimeout = 5 * time.Minute
	consolePause   = 5 * time.Second
)

func consoleKeys(ctx context.Context, changer *awsapi.Changer, h fleet.HostRef) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, consoleTimeout)
	defer cancel()
	for {
		keys, err := changer.HostKeys(ctx, h)
		if err == nil && len(keys) > 0 {
			return keys, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the console of bastion %s shows no host keys: %w", h.ID, errors.Join(ctx.Err(), err))
		case <-time.After(consolePause):
		}
	}
}

// addressOf is where operators reach a bastion. One that its plan made public is in a
// VPC that they come into through its internet gateway.
func addressOf(h fleet.Host, public bool, wish string) string {
	if h.PublicIP.IsValid() && (public || wish == "public" || wish == "auto" || !h.PrivateIP.IsValid()) {
		return h.PublicIP.String()
	}
	return h.PrivateIP.String()
}

// writeBastion writes a bastion's entry. The known hosts follow as comments, which
// writeSSHConfig takes out into their own file.
func writeBastion(w *strings.Builder, o openedWay, user string, cfg config, known []string) {
	fmt.Fprintf(w, "Host %s\n  HostName %s\n  HostKeyAlias %s\n  User %s\n", o.Bastion, o.Address, o.Bastion, user)
	if cfg.SSH.Port != 0 {
		fmt.Fprintf(w, "  Port %d\n", cfg.SSH.Port)
	}
	if proxy := socksProxy(cfg.SSH.Proxy); proxy != "" {
		fmt.Fprintf(w, "  ProxyCommand nc -X 5 -x %s %%h %%p\n", strings.ReplaceAll(shellWord(proxy), "%", "%%"))
	}
	fmt.Fprintln(w)
	for _, k := range known {
		fmt.Fprintf(w, "%s%s %s\n", knownMark, o.Bastion, k)
	}
}

const knownMark = "#known "

// writeSSHConfig writes two files beside the configuration that nobody else may
// read: one for ssh -F, and the host keys that it names.
func writeSSHConfig(cfg config, id, text string) (string, error) {
	path, err := openingPath(cfg.dir, id)
	if err != nil {
		return "", err
	}
	var known, config strings.Builder
	for line := range strings.Lines(text) {
		if k, ok := strings.CutPrefix(line, knownMark); ok {
			known.WriteString(k)
			continue
		}
		config.WriteString(line)
	}
	others := "~/.ssh/known_hosts"
	if len(cfg.SSH.KnownHosts) > 0 {
		others = ""
		for _, f := range cfg.SSH.KnownHosts {
			others += " " + sshWord(f)
		}
	}
	fmt.Fprintf(&config, "Match all\n  UserKnownHostsFile %s %s\n  StrictHostKeyChecking ask\n", sshWord(path+".known_hosts"), strings.TrimSpace(others))
	if err := os.WriteFile(path+".known_hosts", []byte(known.String()), 0o600); err != nil {
		return "", fmt.Errorf("write the bastions' host keys: %w", err)
	}
	if err := os.WriteFile(path+".ssh_config", []byte(config.String()), 0o600); err != nil {
		return "", fmt.Errorf("write the configuration for ssh: %w", err)
	}
	return path + ".ssh_config", nil
}

// sshWord quotes a path as ssh_config(5) wants it.
func sshWord(s string) string { return `"` + strings.ReplaceAll(s, "%", "%%") + `"` }

func (a *app) printOpened(res openResult) error {
	if a.json {
		return writeJSON(a.out, res)
	}
	for _, w := range res.Ways {
		if w.Error != "" {
			fmt.Fprintf(a.out, "%s: not open: %s\n  Ways in that need no launch: an EC2 Instance Connect Endpoint, the serial console (docs/recovery.md).\n", oneLine(w.VPC), w.Error)
			continue
		}
		fmt.Fprintf(a.out, "%s: bastion %s (%s)", oneLine(w.VPC), oneLine(w.Bastion), oneLine(w.Address))
		switch {
		case w.Timer != "":
			fmt.Fprintf(a.out, "; whether a schedule ends it is not known (%s): close it yourself", w.Timer)
		case w.Ends.IsZero():
			fmt.Fprint(a.out, "; no schedule ends it: close it yourself")
		default:
			fmt.Fprintf(a.out, "; it ends by itself at %s", stamp(w.Ends))
		}
		fmt.Fprintln(a.out)
		for _, h := range w.Hosts {
			fmt.Fprintf(a.out, "  %s   # %s\n", h.Command, cell(h.Name))
		}
	}
	fmt.Fprintf(a.out, "\nThe private key: %s\n", oneLine(res.Key))
	switch {
	case res.LoginKey != "":
		fmt.Fprintf(a.out, "It has certified a key for this opening, for logins until %s: %s\nmigrate recovery open makes another one, migrate recovery close removes it.\n", stamp(res.LoginUntil), oneLine(res.LoginKey))
	case res.CA:
		fmt.Fprintln(a.out, "It signs certificates: ssh needs one of it. Sign one as the runbook says.")
	case !res.isFile:
		fmt.Fprintln(a.out, "ssh needs it in your agent. Add --run HOST to do without, or open it as the runbook says, and ssh-add it.")
	}
	_, err := fmt.Fprintln(a.out, "When you are done: migrate recovery close --yes")
	return err
}

// runOpened gives the terminal to ssh, with an agent that has the recovery key.
func (a *app) runOpened(ctx context.Context, b *recoveryBase, res openResult, host fleet.HostRef) error {
	for _, w := range res.Ways {
		for _, h := range w.Hosts {
			if h.Host != host {
				continue
			}
			socket, stop, err := a.recoveryAgent(ctx, b)
			if err != nil {
				return err
			}
			defer stop()
			c := exec.CommandContext(ctx, "ssh", "-F", res.Config, "-J", w.Bastion, h.Host.ID)
			c.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
			c.Stdin, c.Stdout, c.Stderr = a.in, a.out, a.err
			if err := c.Run(); err != nil {
				return fmt.Errorf("ssh to %s: %w", oneLine(host.ID), err)
			}
			return nil
		}
	}
	return fmt.Errorf("no bastion is up that leads to %s: see above why, and run the same command again", oneLine(host.ID))
}
