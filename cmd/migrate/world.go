package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/sshhost"
)

// changeWorld is everything that a cutover changes the fleet with. Nothing that
// only looks at the fleet uses it.
type changeWorld struct {
	kinds  cutover.Kinds
	prover cutover.Prover
	caller string   // who we are in AWS
	closes []func() // in the order in which things were opened
}

func (w *changeWorld) close() {
	for i := len(w.closes) - 1; i >= 0; i-- {
		w.closes[i]()
	}
}

// openChangeWorld opens the accounts and the three ways to the plan's hosts.
func openChangeWorld(ctx context.Context, cfg config, proofs cutover.Proofs, p *plan.Plan, hosts map[fleet.HostRef]fleet.Host) (*changeWorld, error) {
	accounts, err := openAccounts(ctx, cfg)
	if err != nil {
		return nil, err
	}
	w := &changeWorld{}
	if w.caller, err = accounts[0].Caller(ctx); err != nil {
		return nil, fmt.Errorf("ask AWS who we are: %w", err)
	}
	changer := awsapi.NewChanger(accounts...)
	ways, err := w.openWays(cfg, p, changer)
	if err != nil {
		w.close()
		return nil, err
	}
	ways.sessions = &awsapi.SessionProver{Sessions: awsapi.NewSessions(accounts...), LogWait: -1}
	signing, err := readSigningKey(cfg.AWS.AgentSigningKey)
	if err != nil {
		w.close()
		return nil, err
	}
	w.prover = ways
	w.kinds = cutover.AWSKinds(changer)
	maps.Copy(w.kinds, cutover.HostKinds(cutover.HostWorld{
		Hosts: ways, Prover: ways, Proofs: proofs, Scaling: changer, Bastions: ways.recovery, Plan: p,
		Find:       func(r fleet.HostRef) (fleet.Host, bool) { h, ok := hosts[r]; return h, ok },
		SigningKey: signing,
	}))
	return w, nil
}

// openAccounts opens the configured accounts. One that cannot be opened is told
// when a step needs it.
func openAccounts(ctx context.Context, cfg config) ([]*awsapi.Account, error) {
	var accounts []*awsapi.Account
	var failed []error
	for _, access := range cfg.accesses() {
		account, err := awsapi.Open(ctx, access, awsapi.Options{Version: version})
		if err != nil {
			failed = append(failed, err)
			continue
		}
		accounts = append(accounts, account)
	}
	if len(accounts) == 0 {
		return nil, errors.Join(failed...)
	}
	return accounts, nil
}

func readSigningKey(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", exitErr{code: exitUsage, err: fmt.Errorf("aws.agent_signing_key: %w", err)}
	}
	return string(text), nil
}

// ways are the three ways into hosts: scripts and proofs.
type ways struct {
	commands *awsapi.Commands
	sessions *awsapi.SessionProver
	ssh      *sshhost.Runner // nil: SSH is disabled
	recovery *sshhost.Recovery
}

func (w *changeWorld) openWays(cfg config, p *plan.Plan, changer *awsapi.Changer) (*ways, error) {
	settings, err := cfg.SSH.settings()
	if err != nil {
		return nil, exitErr{code: exitUsage, err: err}
	}
	out := &ways{commands: awsapi.NewCommands(changer)}
	if !cfg.SSH.Disabled {
		if out.ssh, err = sshhost.NewRunner(settings); err != nil {
			return nil, exitErr{code: exitUsage, err: fmt.Errorf("set up SSH: %w", err)}
		}
		w.closes = append(w.closes, func() { _ = out.ssh.Close() })
	}
	users := map[fleet.HostRef]string{}
	for _, wave := range p.Waves {
		for _, s := range wave.Steps {
			if s.Kind == plan.RecoveryKey && len(s.Hosts) == 1 {
				users[s.Hosts[0]] = s.Key.User
			}
		}
	}
	out.recovery, err = sshhost.NewRecovery(sshhost.RecoveryConfig{
		Config: settings, KeyFile: cfg.Recovery.KeyFile,
		User: func(h fleet.Host) string { return users[h.Ref()] },
	})
	if err != nil {
		return nil, exitErr{code: exitUsage, err: fmt.Errorf("set up the recovery way: %w", err)}
	}
	w.closes = append(w.closes, func() { _ = out.recovery.Close() })
	return out, nil
}

// Run implements cutover.Hosts.
func (w *ways) Run(ctx context.Context, h fleet.Host, way fleet.Way, s fleet.Script) fleet.ScriptResult {
	switch {
	case way == fleet.WaySessionManager:
		return w.commands.Run(ctx, h, way, s)
	case way == fleet.WayRecovery:
		return w.recovery.Run(ctx, h, way, s)
	case w.ssh == nil:
		return fleet.ScriptResult{Started: fleet.TruthNo, Way: way, Reason: "SSH is disabled in the configuration"}
	}
	return w.ssh.Run(ctx, h, way, s)
}

// Prove implements cutover.Prover.
func (w *ways) Prove(ctx context.Context, h fleet.Host, way fleet.Way) fleet.Proof {
	switch {
	case way == fleet.WaySessionManager:
		return w.sessions.Prove(ctx, h, way)
	case way == fleet.WayRecovery:
		return w.recovery.Prove(ctx, h, way)
	case w.ssh == nil:
		return fleet.Proof{Host: h.Ref(), Way: way, Reason: "SSH is disabled in the configuration"}
	}
	return w.ssh.Prove(ctx, h, way)
}
