package awsapi

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	scaling "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"

	"ssm-migrate/internal/fleet"
)

// clockSkew is how far AWS's clock and ours may be apart.
const clockSkew = time.Minute

// LaunchFailure gives the status message of the group's newest scaling activity
// that began no earlier than since, if that failed; empty: it did not, or there is none.
func (c *Changer) LaunchFailure(ctx context.Context, at fleet.Place, name string, since time.Time) (string, error) {
	p, err := c.in(ctx, at)
	if err != nil {
		return "", err
	}
	out, err := p.scaling.DescribeScalingActivities(ctx, &autoscaling.DescribeScalingActivitiesInput{AutoScalingGroupName: &name, MaxRecords: aws.Int32(20)})
	if err != nil {
		return "", p.answer("autoscaling:DescribeScalingActivities", err)
	}
	// The newest comes first.
	for _, a := range out.Activities {
		if aws.ToTime(a.StartTime).Before(since.Add(-clockSkew)) {
			break
		}
		switch a.StatusCode {
		case scaling.ScalingActivityStatusCodeFailed, scaling.ScalingActivityStatusCodeCancelled:
			return clean(aws.ToString(a.StatusMessage)), nil
		}
		return "", nil
	}
	return "", nil
}
