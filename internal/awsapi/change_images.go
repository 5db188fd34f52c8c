package awsapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"ssm-migrate/internal/fleet"
)

// Image gives the state of a machine image, such as "available". One that was
// deregistered, or is not shared any more, is fleet.ErrNotFound.
func (c *Changer) Image(ctx context.Context, at fleet.Place, id string) (state string, err error) {
	p, err := c.in(ctx, at)
	if err != nil {
		return "", err
	}
	out, err := p.ec2.DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{id}})
	if err != nil {
		return "", p.answer("ec2:DescribeImages", err)
	}
	if len(out.Images) != 1 {
		return "", none("image " + id)
	}
	return string(out.Images[0].State), nil
}
