package awsapi

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"ssm-migrate/internal/fleet"
)

func iamTagList(tags map[string]string) []types.Tag {
	out := make([]types.Tag, 0, len(tags))
	for k, v := range tags {
		out = append(out, types.Tag{Key: aws.String(k), Value: aws.String(v)})
	}
	slices.SortFunc(out, func(a, b types.Tag) int { return strings.Compare(*a.Key, *b.Key) })
	return out
}

// Role reads a role.
func (c *Changer) Role(ctx context.Context, at fleet.Place, name string) (fleet.RoleState, error) {
	p, err := c.in(ctx, at)
	if err != nil {
		return fleet.RoleState{}, err
	}
	out, err := p.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: &name})
	if err != nil {
		return fleet.RoleState{}, p.answer("iam:GetRole", err)
	}
	if out.Role == nil {
		return fleet.RoleState{}, none("role " + name)
	}
	return fleet.RoleState{Name: name, Path: aws.ToString(out.Role.Path), Trust: document(out.Role.AssumeRolePolicyDocument), Tags: iamTags(out.Role.Tags)}, nil
}

// CreateRole makes a role without policies.
func (c *Changer) CreateRole(ctx context.Context, at fleet.Place, r fleet.RoleState) error {
	p, err := c.in(ctx, at)
	if err != nil {
		return err
	}
	_, err = p.iam.CreateRole(ctx, &iam.CreateRoleInput{RoleName: &r.Name, Path: &r.Path, AssumeRolePolicyDocument: &r.Trust, Tags: iamTagList(r.Tags)})
	return p.answer("iam:CreateRole", err)
}

// DeleteRole deletes a role that has no policies any more.
func (c *Changer) DeleteRole(ctx context.Context, at fleet.Place, name string) error {
	p, err := c.in(ctx, at)
	if err != nil {
		return err
	}
	_, err = p.iam.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: &name})
	return p.answer("iam:DeleteRole", err)
}

// RolePolicy reads an inline policy's document.
func (c *Changer) RolePolicy(ctx context.Context, at fleet.Place, role, policy string) (string, error) {
	p, err := c.in(ctx, at)
	if err != nil {
		return "", err
	}
	out, err := p.iam.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &role, PolicyName: &policy})
	if err != nil {
		return "", p.answer("iam:GetRolePolicy", err)
	}
	return document(out.PolicyDocument), nil
}

// RolePolicies lists a role's inline policies by name.
func (c *Changer) RolePolicies(ctx context.Context, at fleet.Place, role string) ([]string, error) {
	p, err := c.in(ctx, at)
	if err != nil {
		return nil, err
	}
	var names []string
	err = pages(ctx, func(ctx context.Context, token *string) (*string, error) {
		out, err := p.iam.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: &role, Marker: token})
		if err != nil {
			return nil, err
		}
		names = append(names, out.PolicyNames...)
		return marker(out.IsTruncated, out.Marker)
	})
	return names, p.answer("iam:ListRolePolicies", err)
}

// RoleInFull reads a role with everything that decides what it may do, and the
// documents of its managed policies and boundary.
func (c *Changer) RoleInFull(ctx context.Context, at fleet.Place, role string) (fleet.Role, []fleet.Policy, error) {
	p, err := c.in(ctx, at)
	if err != nil {
		return fleet.Role{}, nil, err
	}
	r, err := p.account.role(ctx, role)
	if err != nil {
		return fleet.Role{}, nil, p.answer("iam:GetRole", err)
	}
	var policies []fleet.Policy
	for _, arn := range slices.Sorted(maps.Keys(policiesOf([]fleet.Role{r}))) {
		policies = append(policies, p.account.policy(ctx, arn))
	}
	return r, policies, nil
}

// PutRolePolicy gives a role an inline policy.
func (c *Changer) PutRolePolicy(ctx context.Context, at fleet.Place, role, policy, text string) error {
	p, err := c.in(ctx, at)
	if err != nil {
		return err
	}
	_, err = p.iam.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &role, PolicyName: &policy, PolicyDocument: &text})
	return p.answer("iam:PutRolePolicy", err)
}

// DeleteRolePolicy takes an inline policy away.
func (c *Changer) DeleteRolePolicy(ctx context.Context, at fleet.Place, role, policy string) error {
	p, err := c.in(ctx, at)
	if err != nil {
		return err
	}
	_, err = p.iam.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: &role, PolicyName: &policy})
	return p.answer("iam:DeleteRolePolicy", err)
}

// HasPolicy reports whether a managed policy is attached to a role.
func (c *Changer) HasPolicy(ctx context.Context, at fleet.Place, role, arn string) (bool, error) {
	p, err := c.in(ctx, at)
	if err != nil {
		return false, err
	}
	has := false
	err = pages(ctx, func(ctx context.Context, token *string) (*string, error) {
		out, err := p.iam.ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: &role, Marker: token})
		if err != nil {
			return nil, err
		}
		has = has || slices.ContainsFunc(out.AttachedPolicies, func(a types.AttachedPolicy) bool { return aws.ToString(a.PolicyArn) == arn })
		return marker(out.IsTruncated, out.Marker)
	})
	return has, p.answer("iam:ListAttachedRolePolicies", err)
}

// AttachPolicy attaches a managed policy to a role.
func (c *Changer) AttachPolicy(ctx context.Context, at fleet.Place, role, arn string) error {
	p, err := c.in(ctx, at)
	if err != nil {
		return err
	}
	_, err = p.iam.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: &role, PolicyArn: &arn})
	return p.answer("iam:AttachRolePolicy", err)
}

// DetachPolicy detaches a managed policy from a role.
func (c *Changer) DetachPolicy(ctx context.Context, at fleet.Place, role, arn string) error {
	p, err := c.in(ctx, at)
	if err != nil {
		return err
	}
	_, err = p.iam.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: &role, PolicyArn: &arn})
	return p.answer("iam:DetachRolePolicy", err)
}

// Profile reads an instance profile.
func (c *Changer) Profile(ctx context.Context, at fleet.Place, name string) (fleet.ProfileState, error) {
	p, err := c.in(ctx, at)
	if err != nil {
		return fleet.ProfileState{}, err
	}
	out, err := p.iam.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: &name})
	if err != nil {
		return fleet.ProfileState{}, p.answer("iam:GetInstanceProfile", err)
	}
	if out.InstanceProfile == nil {
		return fleet.ProfileState{}, none("instance profile " + name)
	}
	state := fleet.ProfileState{Name: name, Tags: iamTags(out.InstanceProfile.Tags)}
	for _, r := range out.InstanceProfile.Roles { // one at most
		state.Role = aws.ToString(r.RoleName)
	}
	return state, nil
}

// CreateProfile makes an instance profile without a role.
func (c *Changer) CreateProfile(ctx context.Context, at fleet.Place, name, token string) error {
	p, err := c.in(ctx, at)
	if err != nil {
		return err
	}
	_, err = p.iam.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: &name, Tags: iamTagList(map[string]string{fleet.TagStep: token})})
	return p.answer("iam:CreateInstanceProfile", err)
}

// SetProfileRole puts a role into a profile that has none. IAM says that the
// quota of one role is spent where there is one.
func (c *Changer) SetProfileRole(ctx context.Context, at fleet.Place, profile, role string) error {
	p, err := c.in(ctx, at)
	if err != nil {
		return err
	}
	_, err = p.iam.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: &profile, RoleName: &role})
	full := code(err) == "LimitExceeded"
	if err = p.answer("iam:AddRoleToInstanceProfile", err); full {
		return &answer{err, fleet.ErrExists}
	}
	return err
}

// DeleteProfile deletes an instance profile.
func (c *Changer) DeleteProfile(ctx context.Context, at fleet.Place, profile fleet.ProfileState) error {
	p, err := c.in(ctx, at)
	if err != nil {
		return err
	}
	if profile.Role != "" {
		_, err := p.iam.RemoveRoleFromInstanceProfile(ctx, &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: &profile.Name, RoleName: &profile.Role})
		if err != nil && code(err) != "NoSuchEntity" {
			return p.answer("iam:RemoveRoleFromInstanceProfile", err)
		}
	}
	_, err = p.iam.DeleteInstanceProfile(ctx, &iam.DeleteInstanceProfileInput{InstanceProfileName: &profile.Name})
	return p.answer("iam:DeleteInstanceProfile", err)
}

var associationStates = filter("state", "associating", "associated")

// associations lists associations that are there or on their way.
func (p *changing) associations(ctx context.Context, more ...ec2types.Filter) ([]fleet.ProfileAssociation, error) {
	var all []fleet.ProfileAssociation
	err := pages(ctx, func(ctx context.Context, token *string) (*string, error) {
		out, err := p.ec2.DescribeIamInstanceProfileAssociations(ctx, &ec2.DescribeIamInstanceProfileAssociationsInput{
			Filters: append([]ec2types.Filter{associationStates}, more...), MaxResults: page1000, NextToken: token,
		})
		if err != nil {
			return nil, err
		}
		for _, in := range out.IamInstanceProfileAssociations {
			a := fleet.ProfileAssociation{ID: aws.ToString(in.AssociationId), State: string(in.State)}
			if in.IamInstanceProfile != nil {
				arn := aws.ToString(in.IamInstanceProfile.Arn)
				a.Profile = arn[strings.LastIndex(arn, "/")+1:]
			}
			all = append(all, a)
		}
		return out.NextToken, nil
	})
	return all, p.answer("ec2:DescribeIamInstanceProfileAssociations", err)
}

// Association gives an instance's instance profile.
func (c *Changer) Association(ctx context.Context, at fleet.Place, instance string) (fleet.ProfileAssociation, error) {
	p, err := c.in(ctx, at)
	if err != nil {
		return fleet.ProfileAssociation{}, err
	}
	all, err := p.associations(ctx, filter("instance-id", instance))
	if err != nil {
		return fleet.ProfileAssociation{}, err
	}
	if len(all) == 0 {
		return fleet.ProfileAssociation{}, none("instance profile of " + instance)
	}
	return all[0], nil
}

// Associated counts the instances of the place's account that have a profile, in
// the place's Region and in all that an access to the account names.
func (c *Changer) Associated(ctx context.Context, at fleet.Place, profile string) (int, error) {
	regions := []string{at.Region}
	for _, a := range c.accounts {
		who, err := a.whoami(ctx)
		switch {
		case err != nil:
			return 0, fmt.Errorf("find the Regions of account %s: access %s, which may lead there: %w", at.Account, a.Label(), err)
		case who.id == at.Account:
			regions = append(regions, a.regions...)
		}
	}
	slices.Sort(regions)
	n := 0
	for _, region := range slices.Compact(regions) {
		p, err := c.in(ctx, fleet.Place{Account: at.Account, Region: region})
		if err != nil {
			return 0, err
		}
		all, err := p.associations(ctx)
		if err != nil {
			return 0, err
		}
		for _, a := range all {
			if a.Profile == profile {
				n++
			}
		}
	}
	return n, nil
}

// Associate gives an instance a profile.
func (c *Changer) Associate(ctx context.Context, at fleet.Place, instance, profile string) error {
	p, err := c.in(ctx, at)
	if err != nil {
		return err
	}
	_, err = p.ec2.AssociateIamInstanceProfile(ctx, &ec2.AssociateIamInstanceProfileInput{
		InstanceId: &instance, IamInstanceProfile: &ec2types.IamInstanceProfileSpecification{Name: &profile},
	})
	means := map[string]error{
		"InvalidParameterValue": fleet.ErrNotFound, // "Invalid IAM Instance Profile name"
		"IncorrectState":        fleet.ErrExists,   // "There is an existing association for instance"
	}[code(err)]
	if err = p.answer("ec2:AssociateIamInstanceProfile", err); means != nil {
		return &answer{err, means}
	}
	return err
}

// Disassociate takes a profile off an instance.
func (c *Changer) Disassociate(ctx context.Context, at fleet.Place, id string) error {
	p, err := c.in(ctx, at)
	if err != nil {
		return err
	}
	_, err = p.ec2.DisassociateIamInstanceProfile(ctx, &ec2.DisassociateIamInstanceProfileInput{AssociationId: &id})
	return p.answer("ec2:DisassociateIamInstanceProfile", err)
}
