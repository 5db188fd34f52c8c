package fleet

import (
	"net/netip"
	"strings"
	"time"
)

// Owner says to whom SSH keys and certificates belong, as the operator's owners
// file has it.
type Owner struct {
	Person       string   `json:"person"`                 // a person's or a service's name
	Service      bool     `json:"service,omitempty"`      // not a human: a pipeline, a backup, a monitor
	Team         string   `json:"team,omitempty"`         // whose people get their policies together; empty: those with the same hosts
	Principals   []string `json:"principals,omitempty"`   // ARNs of IAM users and roles; a role's stands for its sessions
	Sessions     []string `json:"sessions,omitempty"`     // role session names of federated people, such as their e-mail address
	Fingerprints []string `json:"fingerprints,omitempty"` // "SHA256:…"
	Comments     []string `json:"comments,omitempty"`     // key comments; * matches any text
	Certificates []string `json:"certificates,omitempty"` // certificate IDs and principals; * matches any text
	Users        []string `json:"users,omitempty"`        // host accounts that only this owner uses
}

// Waiver lets a consumer of SSH stay for a while. Empty selectors match
// anything, but a waiver needs at least one.
type Waiver struct {
	Person      string    `json:"person,omitempty"` // an Owner's
	Fingerprint string    `json:"fingerprint,omitempty"`
	From        string    `json:"from,omitempty"` // address or CIDR
	User        string    `json:"user,omitempty"` // account on the hosts
	Use         Use       `json:"use,omitempty"`
	Hosts       []string  `json:"hosts,omitempty"` // IDs or names; * matches any text
	By          string    `json:"by"`              // who decided
	Why         string    `json:"why"`
	Until       time.Time `json:"until"` // the moment from which it holds no more
}

// Ledger lists who and what still comes in over SSH.
type Ledger struct {
	Consumers []Consumer `json:"consumers,omitempty"` // the latest first
	Hosts     int        `json:"hosts"`               // running hosts that SSH reaches in principle
	Unread    []string   `json:"unread,omitempty"`    // those of them whose logins are not known
}

// Consumer is one user of SSH: the same identity from the same address to the
// same account for the same use, over all hosts.
type Consumer struct {
	Owner       string     `json:"owner,omitempty"`      // Owner.Person; empty: nobody claims it
	OwnerBy     string     `json:"ownerBy,omitempty"`    // by what it was found: "fingerprint", "comment", "certificate", "user"; "probe" for the inventory's own logins, "recovery" for those with the recovery key
	Principals  []string   `json:"principals,omitempty"` // the owner's
	Method      string     `json:"method"`               // "publickey", "password", ...
	Fingerprint string     `json:"fingerprint,omitempty"`
	KeyType     string     `json:"keyType,omitempty"`
	Comment     string     `json:"comment,omitempty"` // of the key as hosts have it
	CertID      string     `json:"certId,omitempty"`
	CA          string     `json:"ca,omitempty"`
	User        string     `json:"user"` // account on the hosts
	From        netip.Addr `json:"from,omitzero"`
	Use         Use        `json:"use,omitempty"`
	Hosts       []string   `json:"hosts"` // IDs
	Count       int        `json:"count"`
	First       time.Time  `json:"first,omitzero"`
	Last        time.Time  `json:"last,omitzero"`
	Open        int        `json:"open"` // sessions open now

	Status ConsumerStatus `json:"status"`
	Why    string         `json:"why"` // what the status rests on
	Waiver *Waiver        `json:"waiver,omitempty"`
}

// Own reports whether these are migrate's own logins: the inventory's, or those
// with the recovery key. They keep no door open.
func (c Consumer) Own() bool { return c.OwnerBy == "probe" || c.OwnerBy == "recovery" }

// ConsumerStatus says whether a consumer still needs SSH.
type ConsumerStatus int

// The states. The zero value is the one that keeps doors open.
const (
	ConsumerActive   ConsumerStatus = iota
	ConsumerWaived                  // somebody decided that it may stay for now
	ConsumerSilent                  // did not come for as long as the policy asks, and the logs reach back that far
	ConsumerMigrated                // its owner has since used Session Manager on every one of its hosts
)

var consumerStatusNames = [...]string{"active", "waived", "silent", "migrated"}

// String is "active", "waived", "silent" or "migrated".
func (s ConsumerStatus) String() string { return nameOf(consumerStatusNames[:], int(s)) }

// MarshalText writes the state's name.
func (s ConsumerStatus) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a state's name.
func (s *ConsumerStatus) UnmarshalText(b []byte) error {
	return parseName("consumer status", consumerStatusNames[:], b, (*int)(s))
}

// Operator is an IAM user or role that may do something with sessions.
type Operator struct {
	ARN       string   `json:"arn"`
	Kind      string   `json:"kind"`                // "user" or "role"
	Federated bool     `json:"federated,omitempty"` // a role that an identity provider's users assume
	People    []string `json:"people,omitempty"`    // owners who have this principal

	Start     Reach `json:"start"` // ssm:StartSession with the default document: a shell
	Resume    Reach `json:"resume"`
	Terminate Reach `json:"terminate"`
	Command   Reach `json:"command"` // ssm:SendCommand with AWS-RunShellScript, which is root on the host

	Documents       []string `json:"documents,omitempty"`    // session documents that it may start besides the default one
	Unrestricted    bool     `json:"unrestricted,omitempty"` // may start sessions on every instance, by a grant without a condition
	EditPreferences Truth    `json:"editPreferences"`
	Why             string   `json:"why,omitempty"` // the policy that grants StartSession, or why it is not known
}

// Name is the ARN without what is the same for all principals of an account: "role/ops".
func (o Operator) Name() string {
	parts := strings.SplitN(o.ARN, ":", 6)
	return parts[len(parts)-1]
}

// Reach counts on how many hosts an action is allowed. For Resume and
// Terminate the session is somebody else's: everyone's own do not count.
type Reach struct {
	Yes     int `json:"yes"`
	Unknown int `json:"unknown"`
	No      int `json:"no"`
}

// The letters of PersonParity.Cells.
const (
	ParityNone    = '-' // no way in today, none tomorrow
	ParityKeeps   = 'k' // SSH today, Session Manager tomorrow
	ParityLoses   = 'l' // SSH today only
	ParityGains   = 'g' // Session Manager tomorrow only
	ParityUnknown = 'u' // one of the two is not known
)

// Parity compares who gets in over SSH today with who may start sessions
// once the move is done. "May" speaks of permission: that the host serves
// sessions at all is its verdict's matter.
type Parity struct {
	People []PersonParity `json:"people,omitempty"`
}

// PersonParity is one person's row.
type PersonParity struct {
	Person     string   `json:"person"`         // an owner, or a principal or key that nobody claims
	Claimed    bool     `json:"claimed"`        // the owners file names the person
	Team       string   `json:"team,omitempty"` // the owner's
	Principals []string `json:"principals,omitempty"`
	Sessions   []string `json:"sessions,omitempty"` // the owner's role session names
	Keys       []string `json:"keys,omitempty"`     // fingerprints
	Cells      string   `json:"cells"`              // one letter for each host, in the order of Assessment.Hosts

	Keeps   int `json:"keeps"`
	Loses   int `json:"loses"`
	Gains   int `json:"gains"`
	Unknown int `json:"unknown"`
}
