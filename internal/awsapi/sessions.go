package awsapi

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"ssm-migrate/internal/fleet"
)

// maxSessions bounds each list of sessions: at 200 a page and 4 pages a second
// so many take a minute.
const maxSessions = 50_000

// sessions lists the open sessions and those of the last 30 days, which is how
// long Systems Manager keeps them.
func (r *Region) sessions(ctx context.Context) fleet.Fact[[]fleet.ManagedSession] {
	return collect(ctx, r.account, apiSessions, func(v fleet.ManagedSession) string { return v.ID }, func(ctx context.Context, c *collection[fleet.ManagedSession]) error {
		// The open ones first: one that ends meanwhile is then in the history, too.
		for _, state := range []types.SessionState{types.SessionStateActive, types.SessionStateHistory} {
			n := 0
			err := pages(ctx, func(ctx context.Context, token *string) (*string, error) {
				if n >= maxSessions {
					return nil, fmt.Errorf("more than %d sessions", maxSessions)
				}
				out, err := r.ssm.DescribeSessions(ctx, &ssm.DescribeSessionsInput{State: state, MaxResults: page200, NextToken: token})
				if err != nil {
					return nil, err
				}
				for _, in := range out.Sessions {
					c.add(managedSession(in))
				}
				n += len(out.Sessions)
				return out.NextToken, nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func managedSession(in types.Session) fleet.ManagedSession {
	return fleet.ManagedSession{
		ID:       aws.ToString(in.SessionId),
		Target:   aws.ToString(in.Target),
		Owner:    aws.ToString(in.Owner),
		Status:   string(in.Status),
		Document: aws.ToString(in.DocumentName),
		Start:    utc(in.StartDate),
		End:      utc(in.EndDate),
	}
}

func utc(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}
