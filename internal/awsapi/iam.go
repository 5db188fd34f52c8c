package awsapi

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"ssm-migrate/internal/fleet"
)

// APIs that an account's collections are named for.
const (
	apiDetails  = "iam:GetAccountAuthorizationDetails"
	apiProfiles = "iam:ListInstanceProfiles"
	apiRoles    = "iam:ListRoles"
	apiPolicy   = "iam:GetPolicyVersion"
)

// Account reads the account's identity side: who we are, instance profiles,
// roles, users, groups, and the managed policies that are in use; further the
// service control policies over it and its private hosted zones. All of IAM's
// comes from one listing; where that is denied or missing, roles and policies
// are read role by role, and then only roles that matter to Session Manager are
// listed: those in instance profiles and those that Systems Manager may assume.
// Users and groups are then unknown. Simulations are for Simulate.
func (a *Account) Account(ctx context.Context) fleet.Account {
	out := fleet.Account{Label: a.access.Label}
	var roles map[string]types.RoleDetail
	each([]func(){
		func() { out.ID, out.Caller = a.identity(ctx) },
		func() { out.Profiles = a.profiles(ctx) },
		func() { roles = a.details(ctx, &out) },
		func() { out.ControlLevels = a.controlLevels(ctx) },
		func() { out.HostedZones = a.hostedZones(ctx) },
	}, parallel, func(read func()) { read() })
	if len(roles) == 0 && !out.Roles.Known {
		out.Roles, out.Policies = a.rolesOneByOne(ctx, out.Profiles, out.Roles.Reason)
	}
	if !out.Profiles.Known && len(out.Profiles.Value) == 0 {
		addProfiles(&out.Profiles, roles)
	}
	if out.ID == "" {
		out.ID = ownerOf(out)
	}
	return out
}

// ownerOf takes the account's ID from any ARN in it.
func ownerOf(a fleet.Account) string {
	var arns []string
	for _, p := range a.Profiles.Value {
		arns = append(arns, p.ARN)
	}
	for _, r := range a.Roles.Value {
		arns = append(arns, r.ARN)
	}
	for _, s := range arns {
		if parsed, err := arn.Parse(s); err == nil && parsed.AccountID != "" {
			return parsed.AccountID
		}
	}
	return ""
}

func (a *Account) profiles(ctx context.Context) fleet.Fact[[]fleet.InstanceProfile] {
	return collect(ctx, a, apiProfiles, profileARN, func(ctx context.Context, c *collection[fleet.InstanceProfile]) error {
		return pages(ctx, func(ctx context.Context, token *string) (*string, error) {
			out, err := a.iam.ListInstanceProfiles(ctx, &iam.ListInstanceProfilesInput{MaxItems: page1000, Marker: token})
			if err != nil {
				return nil, err
			}
			for _, in := range out.InstanceProfiles {
				c.add(profile(in))
			}
			return marker(out.IsTruncated, out.Marker)
		})
	})
}

func profileARN(p fleet.InstanceProfile) string { return p.ARN }

func profile(in types.InstanceProfile) fleet.InstanceProfile {
	p := fleet.InstanceProfile{ARN: aws.ToString(in.Arn), Name: aws.ToString(in.InstanceProfileName)}
	if len(in.Roles) > 0 {
		p.Role = aws.ToString(in.Roles[0].RoleName)
	}
	return p
}

// marker is the next page's token in IAM's way of saying it.
func marker(truncated bool, next *string) (*string, error) {
	switch {
	case !truncated:
		return nil, nil
	case aws.ToString(next) == "":
		return nil, errors.New("the endpoint says that there is more, but not where")
	}
	return next, nil
}

// addProfiles fills in what roles tell of profiles when the profiles themselves
// could not be listed. Profiles without a role stay unseen, so the fact stays unknown.
func addProfiles(f *fleet.Fact[[]fleet.InstanceProfile], roles map[string]types.RoleDetail) {
	for _, r := range roles {
		for _, in := range r.InstanceProfileList {
			p := profile(in)
			p.Role = cmp.Or(p.Role, aws.ToString(r.RoleName))
			f.Value = append(f.Value, p)
		}
	}
	slices.SortFunc(f.Value, func(x, y fleet.InstanceProfile) int { return cmp.Compare(x.ARN, y.ARN) })
}

// details reads all roles, users and groups, and the managed policies in use,
// in one listing. It returns the roles as IAM gave them, too.
func (a *Account) details(ctx context.Context, into *fleet.Account) map[string]types.RoleDetail {
	found := map[string]types.RoleDetail{}
	policies := map[string]types.ManagedPolicyDetail{}
	users, groups := map[string]fleet.IAMUser{}, map[string]fleet.IAMGroup{}
	roles := collect(ctx, a, apiDetails, roleARN, func(ctx context.Context, c *collection[fleet.Role]) error {
		return pages(ctx, func(ctx context.Context, token *string) (*string, error) {
			out, err := a.iam.GetAccountAuthorizationDetails(ctx, &iam.GetAccountAuthorizationDetailsInput{
				Filter: []types.EntityType{
					types.EntityTypeUser, types.EntityTypeGroup, types.EntityTypeRole,
					types.EntityTypeLocalManagedPolicy, types.EntityTypeAWSManagedPolicy,
				},
				MaxItems: page1000,
				Marker:   token,
			})
			if err != nil {
				return nil, err
			}
			for _, in := range out.RoleDetailList {
				found[aws.ToString(in.Arn)] = in
				c.add(roleDetail(in))
			}
			for _, in := range out.UserDetailList {
				users[aws.ToString(in.Arn)] = userDetail(in)
			}
			for _, in := range out.GroupDetailList {
				groups[aws.ToString(in.Arn)] = groupDetail(in)
			}
			for _, in := range out.Policies {
				policies[aws.ToString(in.Arn)] = in
			}
			return marker(out.IsTruncated, out.Marker)
		})
	})
	into.Roles = roles
	into.Users = alongside(roles, users)
	into.Groups = alongside(roles, groups)
	used := policiesOf(roles.Value)
	for _, u := range users {
		markUsed(used, u.Attached, u.Boundary)
	}
	for _, g := range groups {
		markUsed(used, g.Attached, "")
	}
	inUse := map[string]fleet.Policy{}
	for arn, in := range policies {
		if used[arn] || aws.ToInt32(in.AttachmentCount) > 0 || aws.ToInt32(in.PermissionsBoundaryUsageCount) > 0 {
			inUse[arn] = policyDetail(in, roles.At)
		}
	}
	into.Policies = alongside(roles, inUse)
	return found
}

// alongside is a fact about what came in the same listing as roles. Its
// elements come sorted by key.
func alongside[T any](roles fleet.Fact[[]fleet.Role], found map[string]T) fleet.Fact[[]T] {
	list := make([]T, 0, len(found))
	for _, key := range slices.Sorted(maps.Keys(found)) {
		list = append(list, found[key])
	}
	return fleet.Fact[[]T]{Known: roles.Known, Value: list, Source: roles.Source, At: roles.At, Reason: roles.Reason}
}

func roleARN(r fleet.Role) string { return r.ARN }

func sortPolicies(list []fleet.Policy) {
	slices.SortFunc(list, func(x, y fleet.Policy) int { return cmp.Compare(x.ARN, y.ARN) })
}

// policiesOf are the managed policies that decide what the roles may do.
func policiesOf(roles []fleet.Role) map[string]bool {
	used := map[string]bool{}
	for _, r := range roles {
		markUsed(used, r.Attached, r.Boundary)
	}
	return used
}

func markUsed(used map[string]bool, attached []string, boundary string) {
	for _, arn := range attached {
		used[arn] = true
	}
	if boundary != "" {
		used[boundary] = true
	}
}

func userDetail(in types.UserDetail) fleet.IAMUser {
	return fleet.IAMUser{
		Name:     aws.ToString(in.UserName),
		ID:       aws.ToString(in.UserId),
		ARN:      aws.ToString(in.Arn),
		Groups:   in.GroupList,
		Inline:   inline(in.UserPolicyList),
		Attached: attached(in.AttachedManagedPolicies),
		Boundary: boundary(in.PermissionsBoundary),
		Tags:     iamTags(in.Tags),
	}
}

func groupDetail(in types.GroupDetail) fleet.IAMGroup {
	return fleet.IAMGroup{
		Name:     aws.ToString(in.GroupName),
		ARN:      aws.ToString(in.Arn),
		Inline:   inline(in.GroupPolicyList),
		Attached: attached(in.AttachedManagedPolicies),
	}
}

func roleDetail(in types.RoleDetail) fleet.Role {
	return fleet.Role{
		Name:     aws.ToString(in.RoleName),
		ID:       aws.ToString(in.RoleId),
		ARN:      aws.ToString(in.Arn),
		Trust:    document(in.AssumeRolePolicyDocument),
		Inline:   inline(in.RolePolicyList),
		Attached: attached(in.AttachedManagedPolicies),
		Boundary: boundary(in.PermissionsBoundary),
		Tags:     iamTags(in.Tags),
	}
}

func inline(list []types.PolicyDetail) map[string]string {
	if len(list) == 0 {
		return nil
	}
	out := make(map[string]string, len(list))
	for _, p := range list {
		out[aws.ToString(p.PolicyName)] = document(p.PolicyDocument)
	}
	return out
}

func boundary(in *types.AttachedPermissionsBoundary) string {
	if in == nil {
		return ""
	}
	return aws.ToString(in.PermissionsBoundaryArn)
}

func attached(list []types.AttachedPolicy) []string {
	var out []string
	for _, p := range list {
		out = append(out, aws.ToString(p.PolicyArn))
	}
	slices.Sort(out)
	return out
}

func iamTags(tags []types.Tag) map[string]string {
	if len(tags) == 0 {
		return nil
	}
	out := make(map[string]string, len(tags))
	for _, t := range tags {
		out[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return out
}

func policyDetail(in types.ManagedPolicyDetail, at time.Time) fleet.Policy {
	p := fleet.Policy{ARN: aws.ToString(in.Arn), Name: aws.ToString(in.PolicyName)}
	for _, v := range in.PolicyVersionList {
		if v.IsDefaultVersion || in.DefaultVersionId != nil && aws.ToString(v.VersionId) == *in.DefaultVersionId {
			p.Document = fleet.Known(document(v.Document), apiDetails, at)
			return p
		}
	}
	p.Document = fleet.Unknown[string](apiDetails, at, "the answer lacks the policy's default version")
	return p
}

// document undoes the URL encoding (RFC 3986) that IAM wraps policies in. Text
// that is not encoded stays as it is: what is wrong with it is for its reader
// to say.
func document(encoded *string) string {
	s := aws.ToString(encoded)
	if strings.HasPrefix(strings.TrimSpace(s), "{") {
		return s
	}
	if plain, err := url.PathUnescape(s); err == nil {
		return plain
	}
	return s
}
