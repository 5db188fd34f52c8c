package awsapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/organizations/types"

	"ssm-migrate/internal/fleet"
)

// Organization remembers the service control policies that were read, since
// the accounts of an organization have most of them in common. Its zero value
// is ready, and it may be used concurrently. It is meant for one inventory.
type Organization struct {
	mu       sync.Mutex
	policies map[string]fleet.Policy // by ARN; guarded by mu
}

func (o *Organization) policy(arn string) (fleet.Policy, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p, ok := o.policies[arn]
	return p, ok
}

func (o *Organization) keep(p fleet.Policy) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.policies == nil {
		o.policies = map[string]fleet.Policy{}
	}
	o.policies[p.ARN] = p
}

const (
	apiLevels        = "organizations:ListPoliciesForTarget"
	apiControlPolicy = "organizations:DescribePolicy"
)

// controlLevels reads the service control policies over the account. The
// account's levels come one after the other: there are seven at most.
func (a *Account) controlLevels(ctx context.Context) fleet.Fact[[]fleet.ControlLevel] {
	levels := []fleet.ControlLevel{}
	err := a.readLevels(ctx, &levels)
	at := time.Now().UTC()
	var none *types.AWSOrganizationsNotInUseException
	switch {
	case errors.As(err, &none):
		return fleet.Known(levels, apiLevels, at)
	case err != nil:
		return fleet.Partial(levels, apiLevels, at, a.failure(apiLevels, err).Error())
	}
	// An organization without service control policies has none anywhere; one
	// with them has at least one at every level.
	if !slices.ContainsFunc(levels, func(l fleet.ControlLevel) bool { return len(l.Policies) > 0 }) {
		levels = []fleet.ControlLevel{}
	}
	return fleet.Known(levels, apiLevels, at)
}

func (a *Account) readLevels(ctx context.Context, levels *[]fleet.ControlLevel) error {
	who, err := a.whoami(ctx)
	if err != nil {
		return err
	}
	out, err := a.organizations.DescribeOrganization(ctx, &organizations.DescribeOrganizationInput{})
	if err != nil {
		return err
	}
	if out.Organization == nil {
		return errors.New("the answer holds no organization")
	}
	if aws.ToString(out.Organization.MasterAccountId) == who.id || out.Organization.FeatureSet == types.OrganizationFeatureSetConsolidatedBilling {
		return nil
	}
	targets, err := a.ancestors(ctx, who.id)
	if err != nil {
		return err
	}
	for _, target := range targets {
		policies, err := a.controlPolicies(ctx, target)
		if err != nil {
			return err
		}
		*levels = append(*levels, fleet.ControlLevel{Target: target, Policies: policies})
	}
	return nil
}

// maxDepth is more than AWS allows: a root, five levels of organizational units
// and the account ("Quotas for AWS Organizations").
const maxDepth = 10

// ancestors are the organization's root, the units below it that hold the
// account, and the account.
func (a *Account) ancestors(ctx context.Context, account string) ([]string, error) {
	path := []string{account}
	for range maxDepth {
		out, err := a.organizations.ListParents(ctx, &organizations.ListParentsInput{ChildId: aws.String(path[0])})
		if err != nil {
			return nil, err
		}
		if len(out.Parents) != 1 {
			return nil, fmt.Errorf("%s has %d parents", clean(path[0]), len(out.Parents))
		}
		path = slices.Insert(path, 0, aws.ToString(out.Parents[0].Id))
		if out.Parents[0].Type == types.ParentTypeRoot {
			return path, nil
		}
	}
	return nil, fmt.Errorf("more than %d levels of organizational units", maxDepth)
}

func (a *Account) controlPolicies(ctx context.Context, target string) ([]fleet.Policy, error) {
	policies := []fleet.Policy{}
	err := pages(ctx, func(ctx context.Context, token *string) (*string, error) {
		out, err := a.organizations.ListPoliciesForTarget(ctx, &organizations.ListPoliciesForTargetInput{
			TargetId:  &target,
			Filter:    types.PolicyTypeServiceControlPolicy,
			NextToken: token,
		})
		if err != nil {
			return nil, err
		}
		for _, in := range out.Policies {
			policies = append(policies, a.controlPolicy(ctx, in))
		}
		return out.NextToken, nil
	})
	slices.SortFunc(policies, func(x, y fleet.Policy) int { return cmp.Compare(x.ARN, y.ARN) })
	return policies, err
}

// controlPolicy reads one policy. One that is denied stays in its level with an
// unknown document, and is asked for again where another access meets it.
func (a *Account) controlPolicy(ctx context.Context, in types.PolicySummary) fleet.Policy {
	p := fleet.Policy{ARN: aws.ToString(in.Arn), Name: aws.ToString(in.Name)}
	if known, ok := a.options.Organization.policy(p.ARN); ok {
		return known
	}
	out, err := a.organizations.DescribePolicy(ctx, &organizations.DescribePolicyInput{PolicyId: in.Id})
	at := time.Now().UTC()
	switch {
	case err != nil:
		p.Document = fleet.Unknown[string](apiControlPolicy, at, a.failure(apiControlPolicy, err).Error())
	case out.Policy == nil:
		p.Document = fleet.Unknown[string](apiControlPolicy, at, "the answer holds no policy")
	default:
		p.Document = fleet.Known(aws.ToString(out.Policy.Content), apiControlPolicy, at)
		a.options.Organization.keep(p)
	}
	return p
}
