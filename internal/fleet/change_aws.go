package fleet

import (
	"errors"
	"regexp"
	"strings"
)

// ErrExists says that something of that name, or that does the same, is there already.
var ErrExists = errors.New("exists already")

// ErrInUse says that something cannot be removed while something else uses it.
var ErrInUse = errors.New("still in use")

// TagStep is the tag that names the step that made a thing: its value is the
// step's token.
const TagStep = "ssm-migrate:step"

// TagUser is the tag of a recovery bastion's launch template that names the
// login user of its image: nothing else of the template tells.
const TagUser = "ssm-migrate:user"

var userName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,31}$`)

// IsUserName reports whether a text is a name that useradd takes, and that no shell
// and no program reads as anything else, such as an option.
func IsUserName(text string) bool { return userName.MatchString(text) }

// Partition gives the partition of a Region as ARNs name it. Source: AWS
// General Reference, "Amazon Resource Names"; botocore's endpoints.json, August 2026.
func Partition(region string) string {
	for _, p := range []struct{ prefix, name string }{
		{"cn-", "aws-cn"}, {"us-gov-", "aws-us-gov"}, {"us-iso-", "aws-iso"}, {"us-isob-", "aws-iso-b"},
		{"eu-isoe-", "aws-iso-e"}, {"us-isof-", "aws-iso-f"}, {"eusc-", "aws-eusc"},
	} {
		if strings.HasPrefix(region, p.prefix) {
			return p.name
		}
	}
	return "aws"
}

// ARNAccount is the account ID in an ARN; empty when it has none.
func ARNAccount(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 {
		return ""
	}
	return parts[4]
}

// ProfileAssociation ties an instance profile to an instance.
type ProfileAssociation struct {
	ID      string `json:"id"`
	Profile string `json:"profile"` // name
	State   string `json:"state"`   // "associating" or "associated"
}

// RoleState is a role as one call of IAM shows it, without its policies.
type RoleState struct {
	Name  string            `json:"name"`
	Path  string            `json:"path"` // "/" or "/service-role/"
	Trust string            `json:"trust"`
	Tags  map[string]string `json:"tags,omitempty"`
}

// ProfileState is an instance profile as one call of IAM shows it.
type ProfileState struct {
	Name string            `json:"name"`
	Role string            `json:"role,omitempty"` // name; empty: it has none
	Tags map[string]string `json:"tags,omitempty"`
}

// DocumentVersion is one version of a Systems Manager document.
type DocumentVersion struct {
	Number  string `json:"number"`
	Default bool   `json:"default,omitempty"`
	Content string `json:"content,omitempty"` // JSON; empty in lists
}

// BastionTemplate is the launch template of a recovery bastion: its default
// version, of which it has only one.
type BastionTemplate struct {
	ID       string            `json:"id,omitempty"` // given by EC2
	Name     string            `json:"name"`
	Image    string            `json:"image"`
	Type     string            `json:"type"`
	Public   bool              `json:"public,omitempty"`  // with a public IPv4 address, else without; whatever the subnet's setting
	Groups   []string          `json:"groups"`            // security group IDs
	UserData string            `json:"userData"`          // plain text; holds no secret
	Tokens   string            `json:"tokens"`            // "required": IMDSv2 only
	Version  int64             `json:"version,omitempty"` // the default one, as read
	Tags     map[string]string `json:"tags,omitempty"`
}

// Check is one thing that a cutover relies on, looked at before it begins.
type Check struct {
	At     Place  `json:"at,omitzero"` // zero: this machine
	Name   string `json:"name"`
	Holds  Truth  `json:"holds"`
	Reason string `json:"reason"`
	Remedy string `json:"remedy,omitempty"` // where Holds is not yes
}

// CheckOn is what of a place the checks are made on; an empty field leaves out
// what needs it.
type CheckOn struct {
	Instance  string
	Group     string // security group
	VPC       string
	TimerRole string // name
	// Write really makes a schedule, a year ahead, and deletes it.
	Write bool
}
