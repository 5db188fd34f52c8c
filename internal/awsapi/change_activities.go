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
	out, err := p.scaling.DescribeScalingActivities(ctx, &autoscaling.DescribeScalingActivitiesInput{AutoScalingGroupName: &name, MaxRecords: aws.Int32(1)})
	if err != nil {
		return "", p.answer("autoscaling:DescribeScalingActivities", err)
	}
	if len(out.Activities) == 0 {
		return "", nil
	}
	newest := out.Activities[0]
	if aws.ToTime(newest.StartTime).Before(since.Add(-clockSkew)) {
		return "", nil
	}
	switch newest.StatusCode {
	case scaling.ScalingActivityStatusCodeFailed, scaling.ScalingActivityStatusCodeCancelled:
		return clean(aws.ToString(newest.StatusMessage)), nil
	}
	return "", nil
}
