package simfleet

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"ssm-migrate/internal/fleet"
)

var iamOperations = map[string]operation{
	"GetAccountAuthorizationDetails": authorizationDetails,
	"SimulatePrincipalPolicy":        simulatePrincipal,
	"ListUsers":                      listUsers,
	"GetUser":                        getUser,
	"ListGroups":                     listGroups,
	"ListRoles":                      listRoles,
	"GetRole":                        getRole,
	"ListInstanceProfiles":           listProfiles,
	"GetInstanceProfile":             getProfile,
	"ListAttachedRolePolicies":       listAttached,
	"ListRolePolicies":               listInline,
	"GetRolePolicy":                  getInline,
	"GetPolicy":                      getPolicy,
	"GetPolicyVersion":               getPolicyVersion,
	"ListPolicies":                   listPolicies,
}

const created = "2021-03-01T09:00:00Z"

type iamTag struct{ Key, Value string }

type iamBoundary struct {
	Type string `xml:"PermissionsBoundaryType"`
	ARN  string `xml:"PermissionsBoundaryArn"`
}

type iamAttached struct {
	Name string `xml:"PolicyName"`
	ARN  string `xml:"PolicyArn"`
}

type iamInline struct {
	Role     string `xml:"RoleName,omitempty"`
	Name     string `xml:"PolicyName"`
	Document string `xml:"PolicyDocument"`
}

type iamRole struct {
	Path     string             `xml:"Path"`
	Name     string             `xml:"RoleName"`
	ID       string             `xml:"RoleId"`
	ARN      string             `xml:"Arn"`
	Created  string             `xml:"CreateDate"`
	Trust    string             `xml:"AssumeRolePolicyDocument"`
	Boundary *iamBoundary       `xml:"PermissionsBoundary"`
	Tags     memberList[iamTag] `xml:"Tags"`
}

type iamRoleDetail struct {
	iamRole
	Profiles memberList[iamProfile]  `xml:"InstanceProfileList"`
	Inline   memberList[iamInline]   `xml:"RolePolicyList"`
	Attached memberList[iamAttached] `xml:"AttachedManagedPolicies"`
}

type iamProfile struct {
	Path    string              `xml:"Path"`
	Name    string              `xml:"InstanceProfileName"`
	ID      string              `xml:"InstanceProfileId"`
	ARN     string              `xml:"Arn"`
	Created string              `xml:"CreateDate"`
	Roles   memberList[iamRole] `xml:"Roles"`
	Tags    memberList[iamTag]  `xml:"Tags"`
}

type iamVersion struct {
	Document string `xml:"Document"`
	ID       string `xml:"VersionId"`
	Default  bool   `xml:"IsDefaultVersion"`
	Created  string `xml:"CreateDate"`
}

type iamPolicy struct {
	Name       string `xml:"PolicyName"`
	ID         string `xml:"PolicyId"`
	ARN        string `xml:"Arn"`
	Path       string `xml:"Path"`
	Version    string `xml:"DefaultVersionId"`
	Attached   int    `xml:"AttachmentCount"`
	Bounds     int    `xml:"PermissionsBoundaryUsageCount"`
	Attachable bool   `xml:"IsAttachable"`
	Created    string `xml:"CreateDate"`
	Updated    string `xml:"UpdateDate"`
}

type iamPolicyDetail struct {
	iamPolicy
	Versions memberList[iamVersion] `xml:"PolicyVersionList"`
}

type iamPage struct {
	Truncated bool   `xml:"IsTruncated"`
	Marker    string `xml:"Marker,omitempty"`
}

// encodedDocument is a policy as IAM gives it: percent-encoded by RFC 3986.
func encodedDocument(d string) string {
	return strings.ReplaceAll(url.QueryEscape(d), "+", "%20")
}

// pathOf is the path in an IAM ARN, from behind the resource type to the name.
func pathOf(arn string) string {
	_, rest, _ := strings.Cut(arn[strings.LastIndex(arn, ":")+1:], "/")
	if dir := path.Dir(rest); dir != "." {
		return "/" + dir + "/"
	}
	return "/"
}

func boundaryXML(arn string) *iamBoundary {
	if arn == "" {
		return nil
	}
	return &iamBoundary{"Policy", arn}
}

func iamTags(tags map[string]string) memberList[iamTag] {
	return membersOf(tagSet(tags).Items, func(t tag) iamTag { return iamTag(t) })
}

func (c *call) roleXML(r *fleet.Role) iamRole {
	x := iamRole{Path: pathOf(r.ARN), Name: r.Name, ID: cmp.Or(r.ID, uniqueID("AROA", r.ARN)), ARN: r.ARN, Created: created, Trust: encodedDocument(r.Trust)}
	x.Boundary, x.Tags = boundaryXML(r.Boundary), iamTags(r.Tags)
	return x
}

func (c *call) profileXML(p *fleet.InstanceProfile) iamProfile {
	x := iamProfile{Path: pathOf(p.ARN), Name: p.Name, ID: uniqueID("AIPA", p.ARN), ARN: p.ARN, Created: created, Tags: iamTags(c.account.Tags[p.ARN])}
	if r := find(c.account.Roles, func(r *fleet.Role) bool { return r.Name == p.Role }); r != nil {
		x.Roles.Items = append(x.Roles.Items, c.roleXML(r))
	}
	return x
}

func inlineNames(policies map[string]string) []string { return slices.Sorted(maps.Keys(policies)) }

func inlineXML(policies map[string]string) memberList[iamInline] {
	return membersOf(inlineNames(policies), func(n string) iamInline { return iamInline{Name: n, Document: encodedDocument(policies[n])} })
}

func (c *call) roleDetail(r *fleet.Role) iamRoleDetail {
	x := iamRoleDetail{iamRole: c.roleXML(r), Attached: membersOf(r.Attached, attachedXML)}
	for _, p := range c.account.Profiles {
		if p.Role == r.Name {
			x.Profiles.Items = append(x.Profiles.Items, c.profileXML(p))
		}
	}
	x.Inline = inlineXML(r.Inline)
	return x
}

func attachedXML(arn string) iamAttached { return iamAttached{path.Base(arn), arn} }

func (c *call) policyXML(p *fleet.Policy) iamPolicy {
	x := iamPolicy{Name: p.Name, ID: uniqueID("ANPA", p.ARN), ARN: p.ARN, Path: pathOf(p.ARN), Version: policyVersion, Attachable: true, Created: created, Updated: created}
	count := func(attached []string, boundary string) {
		if slices.Contains(attached, p.ARN) {
			x.Attached++
		}
		if boundary == p.ARN {
			x.Bounds++
		}
	}
	for _, r := range c.account.Roles {
		count(r.Attached, r.Boundary)
	}
	for _, u := range c.account.Users {
		count(u.Attached, u.Boundary)
	}
	for _, g := range c.account.Groups {
		count(g.Attached, "")
	}
	return x
}

const policyVersion = "v2"

func (c *call) versionXML(p *fleet.Policy) iamVersion {
	return iamVersion{encodedDocument(p.Document.Value), policyVersion, true, created}
}

// cut takes one page out of rows.
func cut[T any](c *call, rows []T) ([]T, iamPage, error) {
	size := 100
	if s := c.form.Get("MaxItems"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 1000 {
			return nil, iamPage{}, refuse("ValidationError", "1 validation error detected: Value '%s' at 'maxItems' failed to satisfy constraint: Member must have value between 1 and 1000", s)
		}
		size = n
	}
	start, err := c.offset(c.form.Get("Marker"), len(rows), "ValidationError")
	if err != nil {
		return nil, iamPage{}, err
	}
	end := min(start+size, len(rows))
	if end < len(rows) {
		return rows[start:end], iamPage{true, c.pageToken(end)}, nil
	}
	return rows[start:], iamPage{}, nil
}

func ownPolicy(p *fleet.Policy) bool { return !strings.HasPrefix(p.ARN, "arn:aws:iam::aws:") }

func authorizationDetails(c *call) (any, error) {
	want := c.list("Filter.member")
	wanted := func(kind string) bool { return len(want) == 0 || slices.Contains(want, kind) }
	var rows []any
	for _, u := range c.account.Users {
		if wanted("User") {
			rows = append(rows, u)
		}
	}
	for _, g := range c.account.Groups {
		if wanted("Group") {
			rows = append(rows, g)
		}
	}
	for _, r := range c.account.Roles {
		if wanted("Role") {
			rows = append(rows, r)
		}
	}
	for _, p := range c.account.Policies {
		if ownPolicy(p) && wanted("LocalManagedPolicy") || !ownPolicy(p) && wanted("AWSManagedPolicy") {
			rows = append(rows, p)
		}
	}
	rows, page, err := cut(c, rows)
	if err != nil {
		return nil, err
	}
	var out struct {
		Users    memberList[iamUserDetail]   `xml:"UserDetailList"`
		Groups   memberList[iamGroupDetail]  `xml:"GroupDetailList"`
		Roles    memberList[iamRoleDetail]   `xml:"RoleDetailList"`
		Policies memberList[iamPolicyDetail] `xml:"Policies"`
		iamPage
	}
	out.iamPage = page
	for _, x := range rows {
		switch x := x.(type) {
		case *fleet.IAMUser:
			out.Users.Items = append(out.Users.Items, userDetail(x))
		case *fleet.IAMGroup:
			out.Groups.Items = append(out.Groups.Items, groupDetail(x))
		case *fleet.Role:
			out.Roles.Items = append(out.Roles.Items, c.roleDetail(x))
		case *fleet.Policy:
			out.Policies.Items = append(out.Policies.Items, iamPolicyDetail{c.policyXML(x), memberList[iamVersion]{[]iamVersion{c.versionXML(x)}}})
		}
	}
	return out, nil
}

func noSuchEntity(format, name string) error {
	e := refuse("NoSuchEntity", format, name)
	e.status = http.StatusNotFound
	return e
}

func (c *call) role() (*fleet.Role, error) {
	name := c.form.Get("RoleName")
	if r := find(c.account.Roles, func(r *fleet.Role) bool { return r.Name == name }); r != nil {
		return r, nil
	}
	return nil, noSuchEntity("The role with name %s cannot be found.", name)
}

func (c *call) policy() (*fleet.Policy, error) {
	arn := c.form.Get("PolicyArn")
	if p := find(c.account.Policies, func(p *fleet.Policy) bool { return p.ARN == arn }); p != nil {
		return p, nil
	}
	return nil, noSuchEntity("Policy %s does not exist or is not attachable.", arn)
}

func listRoles(c *call) (any, error) {
	rows, page, err := cut(c, filter(c.account.Roles, func(r *fleet.Role) bool { return strings.HasPrefix(pathOf(r.ARN), c.form.Get("PathPrefix")) }))
	var out struct {
		Roles memberList[iamRole] `xml:"Roles"`
		iamPage
	}
	out.Roles, out.iamPage = membersOf(rows, c.roleXML), page
	return out, err
}

func getRole(c *call) (any, error) {
	r, err := c.role()
	if err != nil {
		return nil, err
	}
	return struct{ Role iamRole }{c.roleXML(r)}, nil
}

func listProfiles(c *call) (any, error) {
	rows, page, err := cut(c, c.account.Profiles)
	var out struct {
		Profiles memberList[iamProfile] `xml:"InstanceProfiles"`
		iamPage
	}
	out.Profiles, out.iamPage = membersOf(rows, c.profileXML), page
	return out, err
}

func getProfile(c *call) (any, error) {
	name := c.form.Get("InstanceProfileName")
	p := find(c.account.Profiles, func(p *fleet.InstanceProfile) bool { return p.Name == name })
	if p == nil {
		return nil, noSuchEntity("Instance Profile %s cannot be found.", name)
	}
	return struct{ InstanceProfile iamProfile }{c.profileXML(p)}, nil
}

func listAttached(c *call) (any, error) {
	r, err := c.role()
	if err != nil {
		return nil, err
	}
	rows, page, err := cut(c, r.Attached)
	var out struct {
		Policies memberList[iamAttached] `xml:"AttachedPolicies"`
		iamPage
	}
	out.Policies, out.iamPage = membersOf(rows, attachedXML), page
	return out, err
}

func listInline(c *call) (any, error) {
	r, err := c.role()
	if err != nil {
		return nil, err
	}
	rows, page, err := cut(c, inlineNames(r.Inline))
	var out struct {
		Names memberList[string] `xml:"PolicyNames"`
		iamPage
	}
	out.Names, out.iamPage = memberList[string]{rows}, page
	return out, err
}

func getInline(c *call) (any, error) {
	r, err := c.role()
	if err != nil {
		return nil, err
	}
	name := c.form.Get("PolicyName")
	d, ok := r.Inline[name]
	if !ok {
		return nil, noSuchEntity("The role policy with name %s cannot be found.", name)
	}
	return iamInline{r.Name, name, encodedDocument(d)}, nil
}

func getPolicy(c *call) (any, error) {
	p, err := c.policy()
	if err != nil {
		return nil, err
	}
	return struct{ Policy iamPolicy }{c.policyXML(p)}, nil
}

func getPolicyVersion(c *call) (any, error) {
	p, err := c.policy()
	if err != nil {
		return nil, err
	}
	if v := c.form.Get("VersionId"); v != policyVersion {
		return nil, noSuchEntity("Policy version %s does not exist.", v)
	}
	return struct{ PolicyVersion iamVersion }{c.versionXML(p)}, nil
}

func listPolicies(c *call) (any, error) {
	rows, page, err := cut(c, filter(c.account.Policies, func(p *fleet.Policy) bool {
		switch scope := c.form.Get("Scope"); {
		case scope == "AWS" && ownPolicy(p), scope == "Local" && !ownPolicy(p):
			return false
		}
		return c.form.Get("OnlyAttached") != "true" || c.policyXML(p).Attached > 0
	}))
	var out struct {
		Policies memberList[iamPolicy] `xml:"Policies"`
		iamPage
	}
	out.Policies, out.iamPage = membersOf(rows, c.policyXML), page
	return out, err
}
