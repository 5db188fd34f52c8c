package readiness

import (
	"errors"
	"fmt"
	"time"

	"ssm-migrate/internal/fleet"
)

// MinimumVersion is the first SSM Agent that knows Session Manager.
// Source: amazon-ssm-agent release notes; AWS Systems Manager User Guide,
// session-manager-prerequisites.
const MinimumVersion = "2.3.68.0"

const (
	// The first agent that works under Default Host Management Configuration.
	// Source: AWS Systems Manager User Guide,
	// fleet-manager-default-host-management-configuration.
	defaultRoleVersion = "3.2.582.0"
	// The first agent that prefers ssmmessages for Run Command and needs
	// ec2messages no more. Source: AWS Systems Manager User Guide,
	// systems-manager-setting-up-messageAPIs.
	ec2messagesVersion = "3.3.40.0"
)

// Policy is what the operator demands beyond what AWS demands. Start from
// DefaultPolicy; the zero Policy is not valid.
type Policy struct {
	FunctionalFloor string        // agents below it block; one to four numbers
	SecurityFloor   string        // agents below it are a risk; one to four numbers
	UnusedDays      int           // a key that no login used for so many days is unused
	SharedKeyHosts  int           // a key that opens at least so many hosts is shared
	WeakRSABits     int           // RSA keys with fewer bits are weak
	MaxSkew         time.Duration // a host's clock may differ by so much
	MaxAge          time.Duration // a snapshot older than this is called stale
	SilentDays      int           // a consumer of SSH that did not come for so many days is silent
	MinFree         int64         // bytes that a file system which agents and sessions write to should have free
	MinFreeInodes   int64         // likewise inodes

	Owners  []fleet.Owner  // whose keys and principals are whose
	Waivers []fleet.Waiver // which consumers of SSH may stay

	// RecoveryKeys are the public lines of the recovery key, all generations. It
	// is on every host on purpose, and logins with it are drills and repairs.
	RecoveryKeys []string
}

// DefaultPolicy demands an agent that forwards ports to remote hosts
// (3.1.1374.0), free of CVE-2026-89049 (3.3.4851.0); calls keys unused after
// 90 days, shared from two hosts on, and weak below 2048 RSA bits (NIST SP
// 800-131A); and allows clocks 5 minutes, which is how far off AWS accepts a
// request's signature. A snapshot is stale after 7 days. A consumer of SSH is
// silent after 30 days, which is how long Session Manager lists past sessions.
// File systems should have 100 MiB and 1,000 inodes free: an update of the agent needs as much.
func DefaultPolicy() Policy {
	return Policy{
		FunctionalFloor: "3.1.1374.0",
		SecurityFloor:   "3.3.4851.0",
		UnusedDays:      90,
		SharedKeyHosts:  2,
		WeakRSABits:     2048,
		MaxSkew:         5 * time.Minute,
		MaxAge:          7 * 24 * time.Hour,
		SilentDays:      30,
		MinFree:         100 << 20,
		MinFreeInodes:   1000,
	}
}

// Validate says everything that is wrong with the policy, or nil.
func (p Policy) Validate() error {
	var errs []error
	for _, f := range []struct{ name, value string }{
		{"functional floor", p.FunctionalFloor},
		{"security floor", p.SecurityFloor},
	} {
		if _, ok := parseVersion(f.value); !ok {
			errs = append(errs, fmt.Errorf("%s %q is not an agent version such as %s", f.name, f.value, MinimumVersion))
		}
	}
	for _, n := range []struct {
		name  string
		value int64
	}{
		{"days until a key is unused", int64(p.UnusedDays)},
		{"hosts from which on a key is shared", int64(p.SharedKeyHosts)},
		{"bits below which an RSA key is weak", int64(p.WeakRSABits)},
		{"largest clock skew", int64(p.MaxSkew)},
		{"largest age of a snapshot", int64(p.MaxAge)},
		{"days until a consumer of SSH is silent", int64(p.SilentDays)},
		{"bytes free", p.MinFree},
		{"inodes free", p.MinFreeInodes},
	} {
		if n.value <= 0 {
			errs = append(errs, fmt.Errorf("%s must be positive", n.name))
		}
	}
	return errors.Join(errs...)
}

// floor reads a floor of the policy; one that is no version falls back.
func floor(s, fallback string) version {
	v, ok := parseVersion(s)
	if !ok {
		v, _ = parseVersion(fallback)
	}
	return v
}
