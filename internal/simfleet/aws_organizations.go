package simfleet

import (
	"net/http"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

var organizationsOperations = map[string]operation{
	"DescribeOrganization":  describeOrganization,
	"ListParents":           listParents,
	"ListPoliciesForTarget": listPoliciesForTarget,
	"DescribePolicy":        describeOrganizationPolicy,
}

// organization refuses callers whose account is in none, or may not read it.
func (c *call) organization() error {
	switch {
	case len(c.account.ControlLevels) == 0:
		return &apiError{http.StatusBadRequest, "AWSOrganizationsNotInUseException", "Your account is not a member of an organization."}
	case !c.account.OrganizationReadable:
		return refuse("AccessDeniedException", "You don't have permissions to access this resource.")
	}
	return nil
}

const organizationID = "o-simulated0"

// managementAccount is the organization's own account, which no service
// control policy binds and which is none of the world's.
const managementAccount = "999999999999"

func describeOrganization(c *call) (any, error) {
	// Any member may ask for its organization; only the policies are closed.
	if len(c.account.ControlLevels) == 0 {
		return nil, c.organization()
	}
	return map[string]any{"Organization": map[string]any{
		"Id": organizationID, "Arn": "arn:aws:organizations::" + managementAccount + ":organization/" + organizationID, "FeatureSet": "ALL",
		"MasterAccountId": managementAccount, "MasterAccountArn": "arn:aws:organizations::" + managementAccount + ":account/" + organizationID + "/" + managementAccount,
		"MasterAccountEmail": "aws@corp.example", "AvailablePolicyTypes": []map[string]string{{"Type": "SERVICE_CONTROL_POLICY", "Status": "ENABLED"}},
	}}, nil
}

// levelOf is where a target stands among the account's levels; -1: nowhere.
func (c *call) levelOf(target string) int {
	return slices.IndexFunc(c.account.ControlLevels, func(l fleet.ControlLevel) bool { return l.Target == target })
}

func listParents(c *call) (any, error) {
	var in struct {
		Child     string `json:"ChildId"`
		NextToken string
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if err := c.organization(); err != nil {
		return nil, err
	}
	i := c.levelOf(in.Child)
	if i < 1 {
		return nil, refuse("ChildNotFoundException", "You specified a child that doesn't exist.")
	}
	parent := c.account.ControlLevels[i-1].Target
	kind := "ORGANIZATIONAL_UNIT"
	if strings.HasPrefix(parent, "r-") {
		kind = "ROOT"
	}
	return map[string]any{"Parents": []map[string]string{{"Id": parent, "Type": kind}}}, nil
}

type organizationPolicy struct {
	ID      string `json:"Id"`
	ARN     string `json:"Arn"`
	Name    string
	Type    string
	Managed bool `json:"AwsManaged"`
}

func organizationPolicyOf(p fleet.Policy) organizationPolicy {
	id := p.ARN[strings.LastIndex(p.ARN, "/")+1:]
	return organizationPolicy{id, p.ARN, p.Name, "SERVICE_CONTROL_POLICY", id == "p-FullAWSAccess"}
}

func listPoliciesForTarget(c *call) (any, error) {
	var in struct {
		Target     string `json:"TargetId"`
		Filter     string
		MaxResults *int
		NextToken  string
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if err := c.organization(); err != nil {
		return nil, err
	}
	i := c.levelOf(in.Target)
	switch {
	case i < 0:
		return nil, refuse("TargetNotFoundException", "You specified a target that doesn't exist.")
	case in.Filter == "":
		return nil, refuse("InvalidInputException", "You provided invalid values for one or more of the request parameters: Filter")
	}
	rows := []organizationPolicy{}
	if in.Filter == "SERVICE_CONTROL_POLICY" {
		rows = mapped(c.account.ControlLevels[i].Policies, organizationPolicyOf)
	}
	rows, next, err := jsonPage(c, rows, in.MaxResults, in.NextToken, 20, "InvalidInputException", "InvalidInputException")
	return struct {
		Policies  []organizationPolicy
		NextToken string `json:",omitempty"`
	}{rows, next}, err
}

func describeOrganizationPolicy(c *call) (any, error) {
	var in struct {
		Policy string `json:"PolicyId"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if err := c.organization(); err != nil {
		return nil, err
	}
	for _, l := range c.account.ControlLevels {
		for _, p := range l.Policies {
			if x := organizationPolicyOf(p); x.ID == in.Policy {
				return map[string]any{"Policy": map[string]any{"PolicySummary": x, "Content": p.Document.Value}}, nil
			}
		}
	}
	return nil, refuse("PolicyNotFoundException", "We can't find a policy with the PolicyId that you specified.")
}
