// Package plan turns a snapshot, its findings and the operator's policy into
// waves of reversible steps, and refuses what could lock anyone out.
package plan

import (
	"time"

	"ssm-migrate/internal/fleet"
)

// Plan is what a cutover will do, bound to the snapshot that it was made from.
type Plan struct {
	ID       string    `json:"id"`     // the digest's first 12 hex digits
	Digest   string    `json:"digest"` // SHA-256 over everything but ID and Digest
	Snapshot int64     `json:"snapshot"`
	Made     time.Time `json:"made"`
	// Purpose is what the plan is for, and Reason why it was made, where a
	// person had to say.
	Purpose  Purpose   `json:"purpose,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Policy   Policy    `json:"policy"`
	Waves    []Wave    `json:"waves"`    // in their order
	Refusals []Refusal `json:"refusals"` // what the plan leaves open, and why
}

// Purpose is what a plan is for.
type Purpose string

// The purposes.
const (
	Cutover    Purpose = ""            // Make's: hosts go over to Session Manager
	Rotation   Purpose = "rotation"    // MakeRotation's: a new recovery key takes the place of old ones
	Drill      Purpose = "drill"       // MakeDrill's: logins by the recovery bastions
	BreakGlass Purpose = "break-glass" // MakeOpening's: recovery bastions run for a while
)

// Info is a plan without its content, as the store lists it.
type Info struct {
	ID       string    `json:"id"`
	Digest   string    `json:"digest"`
	Snapshot int64     `json:"snapshot"`
	Made     time.Time `json:"made"`
	By       string    `json:"by"` // who made it
	Purpose  Purpose   `json:"purpose,omitempty"`
}

// Wave is a group of hosts that goes through all phases together. The first
// wave of a plan may be the foundation, without hosts: what all waves share.
// The last may be the finish.
type Wave struct {
	Number int             `json:"number"` // from 0, in the order of Plan.Waves
	Name   string          `json:"name"`   // "foundation", "canary", "wave 2", "finish"
	Hosts  []fleet.HostRef `json:"hosts,omitempty"`
	Steps  []Step          `json:"steps"` // by phase; within a phase and a lane in the order in which they run
	Soak   Duration        `json:"soak"`  // how long the wave is watched after its last step
	// Warnings say which of the policy's rules the wave breaks by its pins.
	Warnings []string `json:"warnings,omitempty"`
}

// Phase is a part of a wave. All steps of one phase end before the next begins.
type Phase string

// The phases in their order.
const (
	Prepare    Phase = "prepare"
	Prove      Phase = "prove"
	Quarantine Phase = "quarantine"
	Close      Phase = "close"
	Finish     Phase = "finish"
)

// Phases lists the phases in their order.
func Phases() []Phase { return []Phase{Prepare, Prove, Quarantine, Close, Finish} }

// Kind is a kind of step.
type Kind string

// The kinds. Each is a wished-for condition; the field of Step that says which
// is named beside it.
const (
	AttachProfile         Kind = "attach-profile"          // Profile
	ExtendRole            Kind = "extend-role"             // Role
	DefaultHostManagement Kind = "default-host-management" // Setting
	AllowEgress           Kind = "allow-egress"            // Rules
	CreateEndpoint        Kind = "create-endpoint"         // Endpoint
	Agent                 Kind = "agent"                   // Agent
	SessionPreferences    Kind = "session-preferences"     // Preferences
	WaitFor               Kind = "wait-for"                // Wait
	TimerRole             Kind = "timer-role"              // Role: the role that the rule timers assume
	RecoveryGroup         Kind = "recovery-group"          // Recovery: bastion group at zero, its security group and launch template
	RecoveryRule          Kind = "recovery-rule"           // Rules: port 22 from the recovery group
	RecoveryKey           Kind = "recovery-key"            // Key: the recovery key on a host
	RecoveryDrill         Kind = "recovery-drill"          // Recovery: a login on every host of Step.Hosts through the bastion
	RecoveryTemplate      Kind = "recovery-template"       // Recovery: what the bastion starts from has this key
	RetireKey             Kind = "retire-key"              // Key: no file of a host, live or saved, has one of the old keys
	RecoveryOpen          Kind = "recovery-open"           // Recovery: bastions run, for a while
	ProveSession          Kind = "prove-session"           // (Hosts)
	ArmHostTimer          Kind = "arm-host-timer"          // Timer
	QuarantineKeys        Kind = "quarantine-keys"         // Keys
	DisarmHostTimer       Kind = "disarm-host-timer"       // Timer
	ArmRuleTimer          Kind = "arm-rule-timer"          // Rules, Timer
	ClosePort             Kind = "close-port"              // Rules
	DisarmRuleTimer       Kind = "disarm-rule-timer"       // Rules, Timer
	ScaleIn               Kind = "scale-in"                // Scaling
)

// Closes reports whether steps of the kind take a way in away from somebody.
func (k Kind) Closes() bool { return k == QuarantineKeys || k == ClosePort || k == ScaleIn }

// Step is a condition to bring about. Exactly those of the pointers are set
// that its Kind names.
type Step struct {
	ID    string          `json:"id"` // unique in the plan: "w1/quarantine/i-0abc/2-quarantine-keys"
	Kind  Kind            `json:"kind"`
	Phase Phase           `json:"phase"`
	Lane  string          `json:"lane"` // steps of one lane run in order, lanes side by side: a host's or a shared thing's name
	At    fleet.Place     `json:"at"`
	Hosts []fleet.HostRef `json:"hosts,omitempty"` // whom the step serves or, when it closes, whose door it is

	Title   string   `json:"title"`            // "Close port 22 in sg-0abc (web)"
	Why     string   `json:"why,omitempty"`    // the finding that it answers, with its code
	Before  []string `json:"before,omitempty"` // preview, line by line, of what goes ...
	After   []string `json:"after,omitempty"`  // ... and what comes
	Blast   string   `json:"blast,omitempty"`  // who else is touched: "role shared by 41 instances"
	Handed  bool     `json:"handed,omitempty"` // left to others, by the policy or because it is theirs: the step waits until it observes the condition
	Warning string   `json:"warning,omitempty"`
	// Owner is whose code describes what the step changes: "cloudformation
	// STACK", or what a tag says that the policy names, such as "terraform"; empty:
	// nobody's that is known.
	Owner string `json:"owner,omitempty"`

	Profile     *ProfileChange     `json:"profile,omitempty"`
	Role        *RoleChange        `json:"role,omitempty"`
	Setting     *SettingChange     `json:"setting,omitempty"`
	Rules       *RuleChange        `json:"rules,omitempty"`
	Endpoint    *EndpointChange    `json:"endpoint,omitempty"`
	Agent       *AgentChange       `json:"agent,omitempty"`
	Preferences *PreferencesChange `json:"preferences,omitempty"`
	Wait        *Wait              `json:"wait,omitempty"`
	Recovery    *RecoveryChange    `json:"recovery,omitempty"`
	Key         *KeyChange         `json:"key,omitempty"`
	Keys        *KeysChange        `json:"keys,omitempty"`
	Timer       *TimerChange       `json:"timer,omitempty"`
	Scaling     *ScalingChange     `json:"scaling,omitempty"`
}

// ProfileChange puts an instance profile on an instance that has none. Where
// Create is set, the profile and its role of the same name are made first.
type ProfileChange struct {
	Name   string `json:"name"`
	Create bool   `json:"create,omitempty"`
	Policy string `json:"policy,omitempty"` // JSON document of the role's inline policy, with Create
}

// RoleChange gives a role an inline policy. Where Trust is set, the role is
// made first where it is missing.
type RoleChange struct {
	Name     string `json:"name"`
	Trust    string `json:"trust,omitempty"` // JSON trust policy
	Policy   string `json:"policy"`          // inline policy's name
	Document string `json:"document"`        // JSON
}

// SettingChange sets Default Host Management Configuration's role.
type SettingChange struct {
	Before string `json:"before"` // role path; empty: off
	Value  string `json:"value"`
	// CreateRole makes the role with AWS's managed policy where it is missing.
	CreateRole bool `json:"createRole,omitempty"`
}

// RuleChange is about rules of one security group.
type RuleChange struct {
	Group string       `json:"group"`
	Rules []fleet.Rule `json:"rules"` // to authorize; for ClosePort and the timers: to revoke
	// Add are rules that stand in for revoked ones that let more through than
	// the port: authorized before the others are revoked.
	Add []fleet.Rule `json:"add,omitempty"`
	// Keep names the security group from which port 22 stays open; ClosePort
	// only. It is the one that the RecoveryGroup step of the VPC makes: its ID is
	// not known to the plan, and RecoveryName(VPC) stands in its place, here as
	// in the source of the RecoveryRule step's rule.
	Keep string `json:"keep,omitempty"`
	Port int    `json:"port,omitempty"` // whose admission is closed; 22
}

// EndpointChange makes interface endpoints with private DNS or, where it names
// route tables, a gateway endpoint.
type EndpointChange struct {
	VPC      string   `json:"vpc"`
	Services []string `json:"services"`          // "com.amazonaws.eu-west-1.ssm"
	Subnets  []string `json:"subnets,omitempty"` // one for each AZ
	Zones    []string `json:"zones,omitempty"`   // the AZ of each of the subnets
	// Sources are what the endpoints' security group (made with them, named Group)
	// lets in on 443: the VPC's own CIDRs, so that no neighbour of the VPC loses the
	// service when the name begins to resolve to the endpoint, and those that the policy adds.
	Group   string   `json:"group,omitempty"`
	Sources []string `json:"sources,omitempty"`
	// Policies are the endpoints' policies, JSON by service; without one an
	// endpoint lets everything through.
	Policies map[string]string `json:"policies,omitempty"`
	Tables   []string          `json:"tables,omitempty"` // route tables of a gateway endpoint
}

// AgentAction is what is done about an agent.
type AgentAction string

// The actions.
const (
	InstallAgent AgentAction = "install"
	UpgradeAgent AgentAction = "upgrade"
	RestartAgent AgentAction = "restart"
	EnableAgent  AgentAction = "enable" // and start
)

// AgentChange is done on a host, by the way that is open.
type AgentChange struct {
	Action  AgentAction `json:"action"`
	Family  string      `json:"family"`  // os-release ID: "amzn", "ubuntu", "debian", "rhel", "sles", ...
	Package string      `json:"package"` // "rpm", "deb", "snap"
	Arch    string      `json:"arch"`    // "amd64", "arm64"
	Floor   string      `json:"floor"`   // version that it must have afterwards at least
	Before  string      `json:"before"`  // version now; empty: none
	// Source is the package's address at the operator's mirror, its signature's
	// being the same with ".sig" behind it; empty: the Region's bucket, or snap's store.
	Source string `json:"source,omitempty"`
}

// Folder is the folder in which AWS's buckets, and mirrors of them, have the
// package: "linux_amd64", "debian_arm64"; empty for snaps.
func (c AgentChange) Folder() string {
	switch c.Package {
	case "rpm":
		return "linux_" + c.Arch
	case "deb":
		return "debian_" + c.Arch
	}
	return ""
}

// PreferencesChange is the content of SSM-SessionManagerRunShell.
type PreferencesChange struct {
	Before   string `json:"before"` // empty: the document does not exist
	Document string `json:"document"`
}

// Wait is a condition that somebody else brings about: that the finding with
// this code no longer holds for the hosts, observed by proving a session.
type Wait struct {
	Code string   `json:"code"`
	For  Duration `json:"for"` // 0: for ever
}

// RecoveryChange is about one VPC's recovery bastion.
type RecoveryChange struct {
	VPC       string   `json:"vpc"`
	Name      string   `json:"name"` // of group, template and security group: RecoveryName(VPC)
	Image     string   `json:"image"`
	Type      string   `json:"type"` // instance type
	Subnets   []string `json:"subnets"`
	Public    bool     `json:"public,omitempty"` // operators come through an internet gateway: the bastion needs a public address
	From      []string `json:"from"`             // CIDRs from which operators come
	PublicKey string   `json:"publicKey"`        // line of the bastion's authorized_keys, with options
	User      string   `json:"user"`             // login user of the image

	// With is the base64 part of the one key with which a drill logs in; empty:
	// any of the ring. Refused are those that hosts must refuse in it.
	With    string   `json:"with,omitempty"`
	Refused []string `json:"refused,omitempty"`
	// Bastions is how many RecoveryOpen starts, and Until for how long: then a
	// schedule scales in that assumes Role.
	Bastions int      `json:"bastions,omitempty"`
	Until    Duration `json:"until,omitempty"`
	Role     string   `json:"role,omitempty"`
}

// KeyChange puts the recovery key into an account of a host.
type KeyChange struct {
	User string `json:"user"`
	Line string `json:"line"` // options, type, base64, comment
	// Old are the base64 parts of the generations that Line takes the place of.
	// RecoveryKey puts Line behind their lines, also in files that were saved for
	// a later rollback; RetireKey takes them out of both.
	Old []string `json:"old,omitempty"`
}

// KeysChange moves all key files of a host aside but for the lines that stay.
type KeysChange struct {
	Keep []string `json:"keep"` // base64 parts of the keys whose lines stay: the recovery key, waived keys
}

// TimerChange is a dead man's switch.
type TimerChange struct {
	After Duration `json:"after"`
	Role  string   `json:"role,omitempty"` // that the schedule assumes: its name
	// Policy is the name of the role's inline policy that lets it open the group.
	Policy string `json:"policy,omitempty"`
}

// ScalingChange sets the sizes of an Auto Scaling group.
type ScalingChange struct {
	Group   string `json:"group"`
	Min     int    `json:"min"`
	Desired int    `json:"desired"`
	Max     int    `json:"max"`
}

// Refusal is a host, or a security group of hosts, that stays open, or
// something else that the plan leaves as it is.
type Refusal struct {
	Host  fleet.HostRef `json:"host,omitzero"`
	Group string        `json:"group,omitempty"` // security group, or Auto Scaling group of bastions
	At    fleet.Place   `json:"at,omitzero"`
	Phase Phase         `json:"phase"`        // the first phase that it does not take part in; Prepare: none at all
	Code  string        `json:"code"`         // Codes lists them
	Text  string        `json:"text"`         // why
	Do    string        `json:"do,omitempty"` // what to do, so that the next plan takes it in
	// Template is what to change of a launch template; only with code
	// template-undoes, and nil where it was not read.
	Template *TemplateChange `json:"template,omitempty"`
}

// RecoveryName is what the recovery bastion's Auto Scaling group, launch
// template and security group of a VPC are called.
func RecoveryName(vpc string) string { return "migrate-recovery-" + vpc }
