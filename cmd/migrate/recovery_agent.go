package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
)

// recoveryAgent serves the recovery key as an SSH agent, on a socket that nobody
// else may open, until stop is called. The key is read once, at the beginning.
func (a *app) recoveryAgent(ctx context.Context, b *recoveryBase) (socket string, stop func(), err error) {
	accounts, err := openAccounts(ctx, b.cfg)
	if err != nil {
		return "", nil, err
	}
	keys, err := b.db.RecoveryKeys(ctx)
	if err != nil {
		return "", nil, err
	}
	ways, err := a.newHostWays(b.cfg, awsapi.NewChanger(accounts...), nil, func(fleet.Host) string { return "" }, keys)
	if err != nil {
		return "", nil, err
	}
	defer ways.close()
	serve, forget, err := ways.recovery.Agent(ctx)
	if err != nil {
		return "", nil, fmt.Errorf("open the recovery key: %w", err)
	}
	dir, err := os.MkdirTemp("", "migrate-agent-")
	if err != nil {
		return "", nil, fmt.Errorf("make a folder for the agent of ssh: %w", err)
	}
	socket = filepath.Join(dir, "socket")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("serve an agent to ssh: %w", err), os.RemoveAll(dir))
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // stopped
			}
			serving.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	return socket, func() {
		_ = listener.Close()
		serving.Wait()
		forget()
		_ = os.RemoveAll(dir)
	}, nil
}
