package awsapi

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53resolver"
	"github.com/aws/aws-sdk-go-v2/service/route53resolver/types"

	"ssm-migrate/internal/fleet"
)

// resolverRules lists the Route 53 Resolver rules that the account owns or that
// are shared with it, with the account's VPCs that they hold in.
func (r *Region) resolverRules(ctx context.Context) fleet.Fact[[]fleet.ResolverRule] {
	return collect(ctx, r.account, "route53resolver:ListResolverRules", func(v fleet.ResolverRule) string { return v.ID }, func(ctx context.Context, c *collection[fleet.ResolverRule]) error {
		err := pages(ctx, func(ctx context.Context, token *string) (*string, error) {
			out, err := r.resolver.ListResolverRules(ctx, &route53resolver.ListResolverRulesInput{MaxResults: page100, NextToken: token})
			if err != nil {
				return nil, err
			}
			for _, in := range out.ResolverRules {
				c.add(resolverRule(in))
			}
			return out.NextToken, nil
		})
		if err != nil {
			return err
		}
		if err := r.resolverAssociations(ctx, c); err != nil {
			const source = "route53resolver:ListResolverRuleAssociations"
			return &failure{api: source, text: "associations: " + r.account.failure(source, err).Error(), err: err}
		}
		return nil
	})
}

func resolverRule(in types.ResolverRule) fleet.ResolverRule {
	v := fleet.ResolverRule{ID: aws.ToString(in.Id), Domain: domain(in.DomainName), Type: string(in.RuleType)}
	for _, t := range in.TargetIps {
		for _, ip := range []*string{t.Ip, t.Ipv6} {
			if aws.ToString(ip) != "" {
				v.Targets = append(v.Targets, *ip)
			}
		}
	}
	return v
}

// domain is a DNS name without its final dot; that of the root is empty.
func domain(name *string) string { return strings.TrimSuffix(aws.ToString(name), ".") }

func (r *Region) resolverAssociations(ctx context.Context, c *collection[fleet.ResolverRule]) error {
	return pages(ctx, func(ctx context.Context, token *string) (*string, error) {
		out, err := r.resolver.ListResolverRuleAssociations(ctx, &route53resolver.ListResolverRuleAssociationsInput{MaxResults: page100, NextToken: token})
		if err != nil {
			return nil, err
		}
		for _, in := range out.ResolverRuleAssociations {
			v, ok := c.seen[aws.ToString(in.ResolverRuleId)]
			vpc := aws.ToString(in.VPCId)
			if !ok || in.Status != types.ResolverRuleAssociationStatusComplete || slices.Contains(v.VPCs, vpc) {
				continue
			}
			v.VPCs = append(v.VPCs, vpc)
			slices.Sort(v.VPCs)
			c.seen[v.ID] = v
		}
		return out.NextToken, nil
	})
}
