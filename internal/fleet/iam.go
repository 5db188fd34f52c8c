package fleet

// Account is one AWS account's identity side. IAM is global: one Account
// serves all Regions.
type Account struct {
	ID    string `json:"id"`    // empty when neither STS nor an ARN could tell
	Label string `json:"label"` // the operator's name for the access used

	Caller   Fact[string]            `json:"caller"` // ARN of who we are there
	Profiles Fact[[]InstanceProfile] `json:"profiles"`
	Roles    Fact[[]Role]            `json:"roles"`
	Policies Fact[[]Policy]          `json:"policies"` // managed policies that are attached or bound somewhere
	Users    Fact[[]IAMUser]         `json:"users"`
	Groups   Fact[[]IAMGroup]        `json:"groups"`

	// ControlLevels are the service control policies that bind the account,
	// from the organization's root down to the account itself. A member
	// account may usually not read them: then Simulations tell of them.
	// Known and empty: the account is in no organization, or is its
	// management account, which no service control policy binds.
	ControlLevels Fact[[]ControlLevel] `json:"controlLevels"`
	Simulations   Fact[[]Simulation]   `json:"simulations"` // of the roles that instances or Default Host Management Configuration use
	HostedZones   Fact[[]HostedZone]   `json:"hostedZones"` // private Route 53 zones that answer for names of AWS endpoints
}

// ControlLevel is one level of an organization: its root, an organizational
// unit, or the account. An action is possible only where every level allows it.
type ControlLevel struct {
	Target   string   `json:"target"` // r-…, ou-… or account ID
	Policies []Policy `json:"policies"`
}

// IAMUser is an IAM user with everything that decides what it may do.
type IAMUser struct {
	Name     string            `json:"name"`
	ID       string            `json:"id"` // "AIDA…", as ${aws:userid} gives it
	ARN      string            `json:"arn"`
	Groups   []string          `json:"groups,omitempty"` // group names
	Inline   map[string]string `json:"inline,omitempty"`
	Attached []string          `json:"attached,omitempty"`
	Boundary string            `json:"boundary,omitempty"`
	Tags     map[string]string `json:"tags,omitempty"`
}

// IAMGroup is a group of IAM users.
type IAMGroup struct {
	Name     string            `json:"name"`
	ARN      string            `json:"arn"`
	Inline   map[string]string `json:"inline,omitempty"`
	Attached []string          `json:"attached,omitempty"`
}

// Simulation is what iam:SimulatePrincipalPolicy said of one action.
type Simulation struct {
	Principal     string   `json:"principal"` // ARN
	Action        string   `json:"action"`
	Resource      string   `json:"resource"`
	Decision      string   `json:"decision"`          // "allowed", "explicitDeny" or "implicitDeny"
	Organizations Truth    `json:"organizations"`     // allowed by the organization's policies; unknown: IAM did not say
	Boundary      Truth    `json:"boundary"`          // allowed by the permissions boundary; unknown: there is none, or IAM did not say
	Missing       []string `json:"missing,omitempty"` // condition keys that IAM would have needed
}

// InstanceProfile ties a role to instances. EC2 allows one role in it at most.
type InstanceProfile struct {
	ARN  string `json:"arn"`
	Name string `json:"name"`
	Role string `json:"role,omitempty"` // role name; empty: the profile gives no credentials
}

// Role is an IAM role with everything that decides what it may do.
type Role struct {
	Name     string            `json:"name"`
	ID       string            `json:"id,omitempty"` // "AROA…", the first half of ${aws:userid}
	ARN      string            `json:"arn"`
	Trust    string            `json:"trust"`              // JSON document
	Inline   map[string]string `json:"inline,omitempty"`   // policy name to JSON document
	Attached []string          `json:"attached,omitempty"` // managed policy ARNs
	Boundary string            `json:"boundary,omitempty"` // managed policy ARN
	Tags     map[string]string `json:"tags,omitempty"`
}

// Policy is the default version of a managed policy.
type Policy struct {
	ARN      string       `json:"arn"`
	Name     string       `json:"name"`
	Document Fact[string] `json:"document"` // JSON document
}
