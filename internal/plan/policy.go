package plan

import (
	"fmt"
	"slices"
	"time"
)

// Duration is a time.Duration that is written as text: "15m".
type Duration time.Duration

// String is the duration as time.Duration writes it.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes the duration as text.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a duration: "15m", "1h30m".
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is no duration such as 15m or 1h30m", b)
	}
	*d = Duration(v)
	return nil
}

// Policy is how the operator wants the cutover. DefaultPolicy has the defaults;
// the zero value is not valid.
type Policy struct {
	Canary int `json:"canary" yaml:"canary"` // hosts in the first wave; 0: none
	// Waves are the sizes of the following waves, hosts ("5") or a share of
	// all ("25%"); the last repeats.
	Waves   []string    `json:"waves" yaml:"waves"`
	GroupBy string      `json:"groupBy" yaml:"group_by"` // "", "asg", "az", "tag:NAME": no wave holds more than the share Spread of one group
	Spread  int         `json:"spread" yaml:"spread"`    // percent of a group in one wave at most, one host at least; 100: all
	Order   []Selector  `json:"order" yaml:"order"`      // hosts that match earlier selectors go into earlier waves; others last
	Exclude []Exclusion `json:"exclude" yaml:"exclude"`
	// Pins put single hosts into waves of the operator's choice, whatever sizes,
	// order and spread would do with them.
	Pins []Pin `json:"pins,omitempty" yaml:"pins"`

	Soak        Duration `json:"soak" yaml:"soak"`                // after each wave
	Windows     []Window `json:"windows" yaml:"windows"`          // when steps that close may run; none: always
	ErrorBudget int      `json:"errorBudget" yaml:"error_budget"` // hosts of one wave that may fail before the wave is rolled back
	Concurrency int      `json:"concurrency" yaml:"concurrency"`  // lanes at once

	ProofAge    Duration `json:"proofAge" yaml:"proof_age"`       // of a Session Manager proof when a door closes
	RecoveryAge Duration `json:"recoveryAge" yaml:"recovery_age"` // of a recovery login when a door closes
	Timer       Duration `json:"timer" yaml:"timer"`              // after which a dead man's switch opens the door again

	// Fixes say for each kind of step that prepares what becomes of it: "apply",
	// "hand" (left to others; the plan waits until it observes the condition),
	// "auto" (apply; hand where the thing has an owner) or "never" (the host is
	// refused). Where a kind is left out, FixOf has the default.
	Fixes map[string]string `json:"fixes" yaml:"fixes"`
	// ManagedBy are patterns of tags, TAG=PATTERN, by which infrastructure code
	// marks what is its own; * and ? match, letters of either case are the same.
	// What a CloudFormation stack has made is known without them.
	ManagedBy []string `json:"managedBy,omitempty" yaml:"managed_by"`
	// Profile is an instance profile that hosts without one get; empty: migrate
	// makes its own in each account.
	Profile    string `json:"profile,omitempty" yaml:"profile"`
	AgentFloor string `json:"agentFloor,omitempty" yaml:"agent_floor"` // version that agents must have after their fix; empty: readiness' functional floor
	// AgentSource is where rpm and deb packages of the agent come from in place of
	// the Region's bucket: an https URL with {folder} and {file} and, if need be, {region}.
	AgentSource string   `json:"agentSource,omitempty" yaml:"agent_source"`
	Wait        Duration `json:"wait" yaml:"wait"` // how long to wait for what others bring about; 0: for ever

	// EndpointPolicy is whom endpoints that are made let through: "account", the
	// accounts that are seen in the VPC and in those peered with it; an organization's ID,
	// "o-…", its accounts; "open", everybody.
	EndpointPolicy string `json:"endpointPolicy,omitempty" yaml:"endpoint_policy"`
	// EndpointSources are CIDRs besides the VPC's own that the endpoints' group lets
	// in: of networks that ask the VPC's name server.
	EndpointSources []string `json:"endpointSources,omitempty" yaml:"endpoint_sources"`

	// RequireSilent refuses to close hosts that an active consumer of the ledger
	// still uses, or whose logins are not known.
	RequireSilent bool `json:"requireSilent" yaml:"require_silent"`
	// RequireAccess refuses to close hosts on which somebody whom the owners file
	// names would lose access, or may.
	RequireAccess bool `json:"requireAccess" yaml:"require_access"`
	// SplitWide lets rules for all protocols be replaced by rules for TCP without
	// port 22, UDP and ICMP: other protocols are cut off by that.
	SplitWide bool `json:"splitWide" yaml:"split_wide_rules"`
	// Bastions are hosts that act as bastions, besides those that the inventory
	// came through.
	Bastions []Selector `json:"bastions,omitempty" yaml:"bastions"`

	Recovery RecoveryPolicy `json:"recovery" yaml:"recovery"`
	Hooks    Hooks          `json:"hooks" yaml:"hooks"`
}

// Selector picks hosts. All fields that are set must match; patterns are path.Match's.
type Selector struct {
	ID   string            `json:"id,omitempty" yaml:"id"`
	Name string            `json:"name,omitempty" yaml:"name"`
	ASG  string            `json:"asg,omitempty" yaml:"asg"`
	VPC  string            `json:"vpc,omitempty" yaml:"vpc"`
	Tags map[string]string `json:"tags,omitempty" yaml:"tags"`
}

// Exclusion leaves hosts out, with a reason that the plan shows.
type Exclusion struct {
	Selector `yaml:",inline"`
	Reason   string `json:"reason" yaml:"reason"`
}

// Pin puts a host into a wave. Waves of hosts count from 1: the canary, where
// the policy has one. In a plan that closes something this is Wave.Number.
type Pin struct {
	ID     string `json:"id" yaml:"id"` // instance ID
	Wave   int    `json:"wave" yaml:"wave"`
	Reason string `json:"reason,omitempty" yaml:"reason"`
}

// Window is a time in which doors may close.
type Window struct {
	Days string `json:"days" yaml:"days"` // "mon-fri", "sat,sun"; empty: every day
	From string `json:"from" yaml:"from"` // "09:00"
	To   string `json:"to" yaml:"to"`     // "16:30"; before From: over midnight
	Zone string `json:"zone" yaml:"zone"` // IANA name; empty: UTC
}

// RecoveryPolicy says how the recovery bastion is made.
type RecoveryPolicy struct {
	PublicKey string   `json:"publicKey" yaml:"public_key"` // type, base64 and comment of the recovery key; without it nothing can be closed
	Image     string   `json:"image" yaml:"image"`          // AMI, in plans of one Region; empty: that of the VPC's present bastion, or of its newest Linux host. A recovery bastion that is there keeps its own
	Type      string   `json:"type" yaml:"type"`            // instance type; default t3.micro
	From      []string `json:"from" yaml:"from"`            // CIDRs of the operators
	User      string   `json:"user" yaml:"user"`            // login user of Image; empty: by the image's family

	// Options stand before the key on hosts; empty: none.
	Options []string `json:"options,omitempty" yaml:"options"`
	// Bind takes the key only from the subnets of the VPC's bastion and of its
	// Instance Connect Endpoints.
	Bind bool `json:"bind,omitempty" yaml:"bind"`
	// CA says that the key signs certificates for the principal
	// fleet.RecoveryPrincipal, and does not log in itself.
	CA bool `json:"ca,omitempty" yaml:"ca"`
	// KeyAge is how old the key may be before it is to be rotated; 0: any age.
	KeyAge Duration `json:"keyAge,omitempty" yaml:"key_age"`
	// Rotate says when a drill that succeeded rotates the key: RotateNever,
	// RotateDue or RotateAlways; empty is never.
	Rotate string `json:"rotate,omitempty" yaml:"rotate"`
	// DrillSample is how many hosts of each VPC a drill logs in to that names
	// none; one of each image and wave are taken in any case.
	DrillSample int `json:"drillSample,omitempty" yaml:"drill_sample"`
}

// When drills rotate the recovery key.
const (
	RotateNever  = "never"
	RotateDue    = "due" // when the key is older than KeyAge
	RotateAlways = "always"
)

// RotatesAfterDrill reports whether a drill that succeeded at now rotates a key
// that was made at a time; the zero time is not known, and due.
func (r RecoveryPolicy) RotatesAfterDrill(made, now time.Time) bool {
	return r.Rotate == RotateAlways || r.Rotate == RotateDue && r.KeyAge > 0 && (made.IsZero() || now.Sub(made) > time.Duration(r.KeyAge))
}

// Hooks are the operator's commands, run by sh with MIGRATE_PLAN, MIGRATE_WAVE
// and MIGRATE_HOSTS in their environment. One that fails before a wave stops the run
// ahead of it; one that fails after a wave is a failed gate.
type Hooks struct {
	BeforeWave string `json:"beforeWave,omitempty" yaml:"before_wave"`
	AfterWave  string `json:"afterWave,omitempty" yaml:"after_wave"`
}

// DefaultPolicy is a cautious policy.
func DefaultPolicy() Policy {
	return Policy{
		Canary: 1, Waves: []string{"5", "25%"}, Spread: 50, Soak: Duration(30 * time.Minute),
		ErrorBudget: 0, Concurrency: 8,
		ProofAge: Duration(15 * time.Minute), RecoveryAge: Duration(24 * time.Hour), Timer: Duration(15 * time.Minute),
		Wait: Duration(24 * time.Hour), EndpointPolicy: "account", RequireSilent: true, RequireAccess: true,
		ManagedBy: slices.Clone(managedBy),
		Recovery: RecoveryPolicy{
			Type: "t3.micro", Options: []string{"restrict", "pty"}, Bind: true, KeyAge: Duration(90 * 24 * time.Hour), Rotate: RotateNever, DrillSample: 3,
		},
	}
}
