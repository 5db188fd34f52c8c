package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/term"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/sshhost"
)

// hostWays are all ways into hosts behind the ports of a cutover: Run Command
// and sessions, SSH as people use it today, and the recovery way.
type hostWays struct {
	commands *awsapi.Commands
	sessions cutover.Prover  // by Session Manager; nil: that way is never proved
	ssh      *sshhost.Runner // nil: SSH is disabled
	recovery *sshhost.Recovery
	around   surroundings
	tunnels  *awsapi.Tunnels // by EC2 Instance Connect Endpoints; nil: none are used
	forget   func()          // the passphrase of the recovery key; nil: there is none
}

var (
	_ cutover.Hosts    = (*hostWays)(nil)
	_ cutover.Prover   = (*hostWays)(nil)
	_ cutover.Bastions = (*hostWays)(nil)
)

// newHostWays opens nothing yet. RecoveryUser gives the account of a host that
// has the recovery key; keys are the generations of that key.
func (a *app) newHostWays(cfg config, changer *awsapi.Changer, sessions cutover.Prover, recoveryUser func(fleet.Host) string, keys []fleet.RecoveryKey) (*hostWays, error) {
	o, err := cfg.SSH.options()
	if err != nil {
		return nil, err
	}
	w := &hostWays{commands: awsapi.NewCommands(changer), sessions: sessions}
	if !cfg.SSH.Disabled {
		if w.ssh, err = sshhost.NewRunner(o); err != nil {
			return nil, fmt.Errorf("set up SSH: %w", err)
		}
	}
	rc := sshhost.RecoveryConfig{Config: o, User: recoveryUser, CA: certifies(keys), Tunnel: w.tunnel}
	if cfg.Recovery.set() {
		store, forget := a.recoveryStore(cfg.Recovery, changer)
		rc.Keys, w.forget = store.Load, forget
	}
	w.recovery, err = sshhost.NewRecovery(rc)
	if err != nil {
		w.close()
		return nil, fmt.Errorf("set up the recovery way: %w", err)
	}
	return w, nil
}

func (w *hostWays) close() {
	if w.ssh != nil {
		_ = w.ssh.Close()
	}
	if w.recovery != nil {
		_ = w.recovery.Close()
	}
	if w.forget != nil {
		w.forget()
	}
}

// Run runs a script by one way.
func (w *hostWays) Run(ctx context.Context, h fleet.Host, way fleet.Way, s fleet.Script) fleet.ScriptResult {
	switch {
	case way == fleet.WaySessionManager:
		return w.commands.Run(ctx, h, way, s)
	case way == fleet.WayRecovery || way == fleet.WayConnectEndpoint:
		return w.recovery.Run(ctx, h, way, s)
	case way == fleet.WaySSH && w.ssh != nil:
		return w.ssh.Run(ctx, h, way, s)
	}
	return fleet.ScriptResult{Started: fleet.TruthNo, Way: way, Reason: "the way " + string(way) + " is not set up"}
}

// Prove proves one way.
func (w *hostWays) Prove(ctx context.Context, h fleet.Host, way fleet.Way) fleet.Proof {
	switch {
	case way == fleet.WaySessionManager && w.sessions != nil:
		return w.sessions.Prove(ctx, h, way)
	case way == fleet.WayRecovery || way == fleet.WayConnectEndpoint:
		return w.recovery.Prove(ctx, h, way)
	case way == fleet.WaySSH && w.ssh != nil:
		return w.ssh.Prove(ctx, h, way)
	}
	return fleet.Proof{Host: h.Ref(), Way: way, Reason: "the way " + string(way) + " is not set up"}
}

// OpenBastion opens the recovery way of the bastion's VPC.
func (w *hostWays) OpenBastion(ctx context.Context, bastion fleet.Host, user string, hostKeys []string) (func(), error) {
	return w.recovery.OpenBastion(ctx, bastion, user, hostKeys)
}

// recoveryUsers tells the account with the recovery key on each host: the one
// that the plan puts it into, else that of the ways that stand, else the one that the
// inventory logged in as.
func recoveryUsers(p *plan.Plan, ways ...plan.Way) func(fleet.Host) string {
	users := map[fleet.HostRef]string{}
	for _, w := range ways {
		for _, h := range w.Hosts {
			users[h.Host] = h.User
		}
	}
	if p != nil {
		for _, w := range p.Waves {
			for _, s := range w.Steps {
				if s.Kind == plan.RecoveryKey && s.Key != nil && len(s.Hosts) == 1 {
					users[s.Hosts[0]] = s.Key.User
				}
			}
		}
	}
	return func(h fleet.Host) string {
		if u := users[h.Ref()]; u != "" {
			return u
		}
		return h.Probe.Value.LoginUser
	}
}

// maxPassphraseFile bounds a file that should hold one line.
const maxPassphraseFile = 4096

// passphrase reads a passphrase from the first line of a file, or from the
// terminal, where it is not shown.
func (a *app) passphrase(file, prompt string) ([]byte, error) {
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if len(text) > maxPassphraseFile {
			return nil, fmt.Errorf("%s is longer than a passphrase", file)
		}
		line, _, _ := bytes.Cut(text, []byte("\n"))
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			return nil, fmt.Errorf("%s holds no passphrase in its first line", file)
		}
		return line, nil
	}
	in, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return nil, errors.New("there is no terminal to ask for it: name a file that holds it")
	}
	fmt.Fprint(a.err, prompt)
	line, err := term.ReadPassword(int(in.Fd()))
	fmt.Fprintln(a.err)
	return line, err
}
