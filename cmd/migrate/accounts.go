package main

import (
	"context"
	"errors"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
)

// closedAccess is an access that could not be opened.
type closedAccess struct {
	name string
	err  error
}

// tryAccounts opens the configured accounts and tells which could not be opened.
func tryAccounts(ctx context.Context, cfg config) (accounts []*awsapi.Account, closed []closedAccess) {
	for _, access := range cfg.accesses() {
		account, err := awsapi.Open(ctx, access, cfg.awsOptions())
		if err != nil {
			closed = append(closed, closedAccess{access.Name(), err})
			continue
		}
		accounts = append(accounts, account)
	}
	return accounts, closed
}

// openAccounts opens the configured accounts; it fails if none can be opened.
// One of several that cannot is told when a host of it is wanted: none of the
// others is its.
func openAccounts(ctx context.Context, cfg config) ([]*awsapi.Account, error) {
	accounts, closed := tryAccounts(ctx, cfg)
	if len(accounts) > 0 {
		return accounts, nil
	}
	var failed []error
	for _, c := range closed {
		failed = append(failed, c.err)
	}
	return nil, errors.Join(failed...)
}

// finder finds hosts by their references.
func finder(hosts map[fleet.HostRef]fleet.Host) func(fleet.HostRef) (fleet.Host, bool) {
	return func(r fleet.HostRef) (fleet.Host, bool) {
		h, ok := hosts[r]
		return h, ok
	}
}
