package awsapi

import (
	"context"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"ssm-migrate/internal/fleet"
)

// simulated are the actions that decide whether a role can serve sessions, take
// commands, and log and encrypt sessions. IAM takes no wildcards here.
var simulated = []string{
	"ssm:UpdateInstanceInformation",
	"ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel",
	"ec2messages:AcknowledgeMessage", "ec2messages:DeleteMessage", "ec2messages:FailMessage", "ec2messages:GetEndpoint", "ec2messages:GetMessages", "ec2messages:SendReply",
	"ssm:GetDocument",
	"kms:Decrypt", "kms:GenerateDataKey",
	"logs:CreateLogStream", "logs:DescribeLogGroups", "logs:DescribeLogStreams", "logs:PutLogEvents",
	"s3:GetEncryptionConfiguration", "s3:PutObject",
}

// simulating bounds the calls in flight; their rate is bounded by their pacer.
const simulating = 4

// Simulate asks IAM what the roles may do, in one call for each with all
// actions on the resource "*": an action that is granted on single resources
// only shows as denied there. A role that IAM gives no answer for makes the
// fact unknown; the others' answers are kept. When IAM denies the first
// questions, the remaining ones are not asked.
func (a *Account) Simulate(ctx context.Context, principals []string) fleet.Fact[[]fleet.Simulation] {
	key := func(s fleet.Simulation) string { return s.Principal + " " + s.Action + " " + s.Resource }
	return collect(ctx, a, apiSimulate, key, func(ctx context.Context, c *collection[fleet.Simulation]) error {
		var refused refusal
		each(uniq(principals), simulating, func(principal string) {
			if refused.yes() {
				return
			}
			err := a.simulate(ctx, c, principal)
			refused.note(err)
			if err != nil {
				c.leaveOut(&failure{api: apiSimulate, text: "role " + clean(principal) + ": " + a.failure(apiSimulate, err).Error(), err: err})
			}
		})
		return nil
	})
}

// refusal tells an API that is denied from one that does not answer for a
// single role.
type refusal struct {
	mu      sync.Mutex
	denied  bool // guarded by mu
	allowed bool // guarded by mu
}

func (r *refusal) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.denied = r.denied || strings.HasPrefix(code(err), "AccessDenied")
	r.allowed = r.allowed || err == nil
}

func (r *refusal) yes() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.denied && !r.allowed
}

func (a *Account) simulate(ctx context.Context, c *collection[fleet.Simulation], principal string) error {
	return pages(ctx, func(ctx context.Context, token *string) (*string, error) {
		out, err := a.iam.SimulatePrincipalPolicy(ctx, &iam.SimulatePrincipalPolicyInput{
			PolicySourceArn: &principal,
			ActionNames:     simulated,
			MaxItems:        page1000,
			Marker:          token,
		})
		if err != nil {
			return nil, err
		}
		for _, in := range out.EvaluationResults {
			c.add(simulation(principal, in))
		}
		return marker(out.IsTruncated, out.Marker)
	})
}

func simulation(principal string, in types.EvaluationResult) fleet.Simulation {
	s := fleet.Simulation{
		Principal: principal,
		Action:    aws.ToString(in.EvalActionName),
		Resource:  aws.ToString(in.EvalResourceName),
		Decision:  string(in.EvalDecision),
		Missing:   in.MissingContextValues,
	}
	if d := in.OrganizationsDecisionDetail; d != nil {
		s.Organizations = truth(d.AllowedByOrganizations)
	}
	if d := in.PermissionsBoundaryDecisionDetail; d != nil {
		s.Boundary = truth(d.AllowedByPermissionsBoundary)
	}
	return s
}

func truth(yes bool) fleet.Truth {
	if yes {
		return fleet.TruthYes
	}
	return fleet.TruthNo
}
