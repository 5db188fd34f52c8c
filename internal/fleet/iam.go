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
