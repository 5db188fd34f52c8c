package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
)

// warnOwners tells on standard error of what in the owners file leads nowhere
// in a snapshot. That is no mistake for sure: an account may come later.
func (a *app) warnOwners(s *stored, judged *fleet.Assessment) {
	for _, text := range idleOwners(s.snap, judged, s.cfg) {
		fmt.Fprintf(a.err, "Warning: owners %s: %s.\n", s.cfg.ownersAt, oneLine(text))
	}
}

// idleOwners lists principals that no account that was read has, and waivers
// that match no consumer. Where an account's list is not known, nothing is said.
func idleOwners(snap *fleet.Snapshot, judged *fleet.Assessment, cfg config) []string {
	var out []string
	for _, o := range cfg.people {
		for _, p := range o.Principals {
			if why := missing(snap, p); why != "" {
				out = append(out, fmt.Sprintf("%q: principal %s %s", o.Person, p, why))
			}
		}
	}
	for _, i := range readiness.IdleWaivers(snap, judged.Ledger, cfg.waivers) {
		w := cfg.waivers[i]
		out = append(out, fmt.Sprintf("waiver %d (by %s, until %s) matches no consumer of SSH", i+1, w.By, w.Until.UTC().Format(time.DateOnly)))
	}
	return out
}

// missing says why a principal is in no account; empty when it is, or may be.
func missing(snap *fleet.Snapshot, arn string) string {
	why := "is of an account that was not read"
	account := strings.Split(arn, ":")[4]
	for i := range snap.Accounts {
		a := &snap.Accounts[i]
		if a.ID != account {
			continue
		}
		why = "does not exist"
		known, there := a.Roles.Known, slices.ContainsFunc(a.Roles.Value, func(r fleet.Role) bool { return r.ARN == arn })
		if strings.Contains(arn, ":user/") {
			known, there = a.Users.Known, slices.ContainsFunc(a.Users.Value, func(u fleet.IAMUser) bool { return u.ARN == arn })
		}
		if there || !known {
			return ""
		}
	}
	return why
}
