package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"net/netip"
	"time"

	"ssm-migrate/internal/fleet"
)

// Runbook is what a recovery runbook is filled with. What comes from the fleet may
// be any text: rendering quotes it.
type Runbook struct {
	Made     time.Time
	Version  string // of the program that renders
	Snapshot fleet.SnapshotInfo
	Plan     string // the plan that the fleet was cut over by; empty: none yet
	Key      RunbookKey
	Accounts []RunbookAccount
	Networks []RunbookNetwork
	Groups   []RunbookGroup
	// Proxy is the address and port of a SOCKS 5 proxy by which the operators reach
	// bastions; empty: they need none.
	Proxy string
}

// The kinds of store that keep the private part of the recovery key.
const (
	KeyInFile    = "file"           // OpenSSH's format
	KeyInAge     = "age"            // encrypted by age
	KeyInKMS     = "kms"            // encrypted by a data key that a KMS key wraps
	KeyInSecrets = "secretsmanager" // AWS Secrets Manager
)

// RunbookKey says where the recovery key is, and never what it is.
type RunbookKey struct {
	Store    string // one of the kinds; empty: none is configured
	Location string // path, or ARN of the secret
	Region   string // of the secret, or of the KMS key
	KMSKey   string // ARN of the key that wraps the file's
	// Identities open a file that is encrypted to age recipients.
	Identities []string
	Public     string // line of authorized_keys without options
	CA         bool   // it signs certificates, and does not log in itself
	Made       time.Time
}

// RunbookAccount says how an account is come to.
type RunbookAccount struct {
	ID, Label string
	// Profile is the AWS CLI's; Role, what is assumed from it, with ExternalID.
	Profile, Role, ExternalID string
}

// RunbookNetwork is a VPC as one account sees it.
type RunbookNetwork struct {
	At      fleet.Place
	VPC     string
	Name    string // its Name tag
	Group   string // of Auto Scaling group, launch template and security group
	Image   string
	Type    string
	User    string // the image's login user
	Subnets []string
	From    []string // CIDRs of the operators
	Public  bool     // the bastion is reached by its public address
	Made    bool     // the group was there when it was last looked at
	Doors   []string // security groups of hosts that let the bastion in
	// Endpoints are the VPC's EC2 Instance Connect Endpoints.
	Endpoints []string
	Serial    fleet.Fact[bool] // whether the account allows the EC2 serial console in the Region
	Hosts     []RunbookHost
	// Lacking have no recovery key, as far as anybody knows.
	Lacking []RunbookHost
}

// RunbookHost is a host that the recovery key opens.
type RunbookHost struct {
	ID, Name string
	Address  netip.Addr // in the VPC
	User     string     // account that takes the recovery key
	Keys     []string   // its host keys: "ssh-ed25519 AAAA…"; none: not known
	Saved    []string   // folders in which it keeps images of its key files
	Password bool       // somebody logged in with a password: the serial console may let them in, too
}

// RunbookGroup is a security group in which SSH was closed, or will be.
type RunbookGroup struct {
	At     fleet.Place
	ID     string
	Name   string
	Closed bool // by a step that is done and not undone
	// Exact: the rules are as they were just before, with descriptions and tags.
	Exact bool
	Rules []fleet.Rule
	Hosts int
}

//go:embed assets/runbook.html
var runbookText string

//go:embed assets/runbook.css
var runbookStyle string

var runbookPage = template.Must(template.New("runbook").Parse(runbookText))

// RunbookMarkdown writes the runbook in CommonMark with GitHub's tables.
func RunbookMarkdown(w io.Writer, r Runbook) error {
	if _, err := io.WriteString(w, writeRunbook(r).markdown()); err != nil {
		return fmt.Errorf("write Markdown runbook: %w", err)
	}
	return nil
}

// RunbookHTML writes the runbook as one file that needs nothing else, to be read
// on a screen and to be printed. Nothing in it runs.
func RunbookHTML(w io.Writer, r Runbook) error { return writeRunbook(r).html(w) }

// html writes the document as one page.
func (d *paper) html(w io.Writer) error {
	sum := sha256.Sum256([]byte(runbookStyle))
	err := runbookPage.Execute(w, struct {
		*paper
		Style  template.CSS
		Policy string
	}{d, template.CSS(runbookStyle), "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"})
	if err != nil {
		return fmt.Errorf("write HTML page: %w", err)
	}
	return nil
}
