package main

import (
	"context"
	"fmt"
	"maps"
	"os"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/sqlite"
)

// changeWorld is everything that a cutover changes the fleet with. Nothing that
// only looks at the fleet uses it.
type changeWorld struct {
	kinds    cutover.Kinds
	rescue   *cutover.Rescue
	ways     *hostWays
	prover   cutover.Prover
	sessions *awsapi.Sessions
	drilling func(plan.Step, cutover.DrillPhase) // told of the phases of drills; set before they begin; nil: nobody is
	caller   string                              // who we are in AWS
	keys     []fleet.RecoveryKey                 // generations as they were when it was opened, which the kinds go by
	closes   []func()                            // in the order in which things were opened
}

func (w *changeWorld) close() {
	for i := len(w.closes) - 1; i >= 0; i-- {
		w.closes[i]()
	}
}

// openChangeWorld opens the accounts and the three ways to the plan's hosts.
func (a *app) openChangeWorld(ctx context.Context, cfg config, db *sqlite.DB, p *plan.Plan, hosts map[fleet.HostRef]fleet.Host) (*changeWorld, error) {
	accounts, err := openAccounts(ctx, cfg)
	if err != nil {
		return nil, err
	}
	w := &changeWorld{}
	if w.caller, err = accounts[0].Caller(ctx); err != nil {
		return nil, fmt.Errorf("ask AWS who we are: %w", err)
	}
	keys, err := db.RecoveryKeys(ctx)
	if err != nil {
		return nil, err
	}
	w.keys = keys
	changer := awsapi.NewChanger(accounts...)
	w.sessions = awsapi.NewSessions(accounts...)
	sessions := &awsapi.SessionProver{Sessions: w.sessions, LogWait: -1}
	var stand []plan.Way
	if p.Purpose != plan.Cutover {
		if stand, err = recoveryWays(ctx, db); err != nil {
			return nil, err
		}
	}
	ways, err := a.newHostWays(cfg, changer, sessions, recoveryUsers(p, stand...), keys)
	if err != nil {
		return nil, exitErr{code: exitUsage, err: err}
	}
	w.closes = append(w.closes, ways.close)
	signing, err := readSigningKey(cfg.Agent.SigningKeyFile)
	if err != nil {
		w.close()
		return nil, err
	}
	w.prover, w.ways, w.rescue = ways, ways, &cutover.Rescue{}
	w.kinds = cutover.AWSKinds(changer, keys...)
	maps.Copy(w.kinds, cutover.HostKinds(cutover.HostWorld{
		Hosts: ways, Prover: ways, Proofs: db, Scaling: changer, Bastions: ways, Launches: changer, Endpoint: ways.endpoint, Rescue: w.rescue, Plan: p,
		Find:       finder(hosts),
		SigningKey: signing, Generations: keys, Keys: ways.recovery, Schedules: changer,
		Drilling: func(s plan.Step, phase cutover.DrillPhase) {
			if w.drilling != nil {
				w.drilling(s, phase)
			}
		},
		Tell: func(text string) { fmt.Fprintln(a.err, oneLine(text)) },
	}))
	return w, nil
}

func readSigningKey(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", exitErr{code: exitUsage, err: fmt.Errorf("agent.signing_key_file: %w", err)}
	}
	return string(text), nil
}
