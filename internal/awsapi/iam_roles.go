package awsapi

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"ssm-migrate/internal/fleet"
)

// rolesOneByOne is the way for those who may not list all details. The roles
// are known when each role that matters was read; why the details are missing
// is told only where this way is barred as well.
func (a *Account) rolesOneByOne(ctx context.Context, profiles fleet.Fact[[]fleet.InstanceProfile], denied string) (fleet.Fact[[]fleet.Role], fleet.Fact[[]fleet.Policy]) {
	roles := collect(ctx, a, apiRoles, roleARN, func(ctx context.Context, c *collection[fleet.Role]) error {
		names := map[string]bool{}
		for _, p := range profiles.Value {
			if p.Role != "" {
				names[p.Role] = true
			}
		}
		err := a.rolesForSystemsManager(ctx, names)
		each(slices.Sorted(maps.Keys(names)), parallel, func(name string) {
			role, err := a.role(ctx, name)
			if err != nil {
				c.leaveOut(&failure{api: apiRoles, text: "role " + clean(name) + ": " + a.failure(apiRoles, err).Error(), err: err})
				return
			}
			c.add(role)
		})
		if err == nil && !profiles.Known {
			err = &failure{api: apiProfiles, text: profiles.Reason}
		}
		return err
	})
	if !roles.Known {
		roles.Reason = clean(roles.Reason + " (and " + apiDetails + ": " + denied + ")")
	}
	return roles, a.policies(ctx, roles)
}

// rolesForSystemsManager adds the names of roles that Systems Manager may
// assume: those of hybrid activations and of Default Host Management.
func (a *Account) rolesForSystemsManager(ctx context.Context, names map[string]bool) error {
	return pages(ctx, func(ctx context.Context, token *string) (*string, error) {
		out, err := a.iam.ListRoles(ctx, &iam.ListRolesInput{MaxItems: page1000, Marker: token})
		if err != nil {
			return nil, err
		}
		for _, in := range out.Roles {
			// A rough sieve: what the trust policy really says is for readiness to judge.
			if strings.Contains(document(in.AssumeRolePolicyDocument), "ssm.amazonaws.com") {
				names[aws.ToString(in.RoleName)] = true
			}
		}
		return marker(out.IsTruncated, out.Marker)
	})
}

// role reads one role in full. ListRoles leaves boundaries and tags out.
func (a *Account) role(ctx context.Context, name string) (fleet.Role, error) {
	out, err := a.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: &name})
	if err != nil {
		return fleet.Role{}, err
	}
	in := out.Role
	if in == nil {
		return fleet.Role{}, &failure{api: "iam:GetRole", text: "the answer holds no role"}
	}
	r := fleet.Role{
		Name:     aws.ToString(in.RoleName),
		ID:       aws.ToString(in.RoleId),
		ARN:      aws.ToString(in.Arn),
		Trust:    document(in.AssumeRolePolicyDocument),
		Boundary: boundary(in.PermissionsBoundary),
		Tags:     iamTags(in.Tags),
	}
	err = pages(ctx, func(ctx context.Context, token *string) (*string, error) {
		out, err := a.iam.ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: &name, Marker: token})
		if err != nil {
			return nil, err
		}
		r.Attached = append(r.Attached, attached(out.AttachedPolicies)...)
		return marker(out.IsTruncated, out.Marker)
	})
	if err != nil {
		return r, err
	}
	slices.Sort(r.Attached)
	err = pages(ctx, func(ctx context.Context, token *string) (*string, error) {
		out, err := a.iam.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: &name, Marker: token})
		if err != nil {
			return nil, err
		}
		for _, policy := range out.PolicyNames {
			text, err := a.iam.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &name, PolicyName: &policy})
			if err != nil {
				return nil, err
			}
			if r.Inline == nil {
				r.Inline = map[string]string{}
			}
			r.Inline[policy] = document(text.PolicyDocument)
		}
		return marker(out.IsTruncated, out.Marker)
	})
	return r, err
}

// policies reads the managed policies that the roles name. One that cannot be
// read stays in the list, its document unknown.
func (a *Account) policies(ctx context.Context, roles fleet.Fact[[]fleet.Role]) fleet.Fact[[]fleet.Policy] {
	var mu sync.Mutex
	list := []fleet.Policy{} // guarded by mu
	each(slices.Sorted(maps.Keys(policiesOf(roles.Value))), parallel, func(arn string) {
		p := a.policy(ctx, arn)
		mu.Lock()
		defer mu.Unlock()
		list = append(list, p)
	})
	sortPolicies(list)
	return fleet.Fact[[]fleet.Policy]{Known: roles.Known, Value: list, Source: apiPolicy, At: time.Now().UTC(), Reason: roles.Reason}
}

func (a *Account) policy(ctx context.Context, arn string) fleet.Policy {
	p := fleet.Policy{ARN: arn, Name: arn[strings.LastIndexByte(arn, '/')+1:]}
	unknown := func(api string, err error) fleet.Policy {
		p.Document = fleet.Unknown[string](api, time.Now().UTC(), a.failure(api, err).Error())
		return p
	}
	head, err := a.iam.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: &arn})
	if err != nil {
		return unknown("iam:GetPolicy", err)
	}
	if head.Policy == nil || head.Policy.DefaultVersionId == nil {
		return unknown("iam:GetPolicy", &failure{text: "the answer lacks the policy's default version"})
	}
	version, err := a.iam.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: &arn, VersionId: head.Policy.DefaultVersionId})
	if err != nil {
		return unknown(apiPolicy, err)
	}
	if version.PolicyVersion == nil {
		return unknown(apiPolicy, &failure{text: "the answer holds no policy version"})
	}
	p.Document = fleet.Known(document(version.PolicyVersion.Document), apiPolicy, time.Now().UTC())
	return p
}
