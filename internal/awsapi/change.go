package awsapi

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"ssm-migrate/internal/fleet"
)

// Changer changes AWS accounts: it is the one type here that can. It picks the
// account by a place's account ID, and the Region by its name. Its methods may
// run concurrently.
type Changer struct {
	accounts []*Account

	mu     sync.Mutex
	places map[fleet.Place]*changing // guarded by mu
}

// changing are the clients for one account and Region.
type changing struct {
	account   *Account
	region    string
	arn       string // who we are
	ec2       *ec2.Client
	iam       *iam.Client
	ssm       *ssm.Client
	scaling   *autoscaling.Client
	scheduler *scheduler.Client
}

// NewChanger makes a changer of the accounts. Two accesses to one account: the
// first is used.
func NewChanger(accounts ...*Account) *Changer {
	return &Changer{accounts: accounts, places: map[fleet.Place]*changing{}}
}

// in gives the clients for a place. Without a Region, it is that of the
// account's own configuration: IAM is the same everywhere.
func (c *Changer) in(ctx context.Context, at fleet.Place) (*changing, error) {
	c.mu.Lock()
	known := c.places[at]
	c.mu.Unlock()
	if known != nil {
		return known, nil
	}
	a, who, err := c.account(ctx, at.Account)
	if err != nil {
		return nil, err
	}
	region := at.Region
	if region == "" {
		region = a.config.Region
	}
	cfg := a.configFor(region)
	p := &changing{
		account:   a,
		region:    region,
		arn:       who.arn,
		ec2:       ec2.NewFromConfig(cfg),
		iam:       iam.NewFromConfig(cfg),
		ssm:       ssm.NewFromConfig(cfg),
		scaling:   autoscaling.NewFromConfig(cfg),
		scheduler: scheduler.NewFromConfig(cfg),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.places[at] == nil {
		c.places[at] = p
	}
	return c.places[at], nil
}

func (c *Changer) account(ctx context.Context, id string) (*Account, caller, error) {
	var failed error
	for _, a := range c.accounts {
		who, err := a.whoami(ctx)
		switch {
		case err != nil:
			failed = errors.Join(failed, fmt.Errorf("access %s: %w", a.Label(), err))
		case who.id == id:
			return a, who, nil
		}
	}
	if failed != nil {
		return nil, caller{}, fmt.Errorf("find the access to account %s: %w", id, failed)
	}
	return nil, caller{}, fmt.Errorf("no configured access leads to account %s: add one to the configuration", id)
}

// answer is an API's error with what it means.
type answer struct {
	error
	means error // fleet.ErrNotFound, ErrExists or ErrInUse
}

func (a *answer) Unwrap() []error { return []error{a.error, a.means} }

// Error codes by what they mean. Sources: EC2's and IAM's API references, and
// botocore's models of Systems Manager, Auto Scaling and EventBridge Scheduler, August 2026.
var meanings = map[string]error{
	"InvalidAMIID.NotFound":                       fleet.ErrNotFound,
	"InvalidAMIID.Unavailable":                    fleet.ErrNotFound,
	"InvalidGroup.NotFound":                       fleet.ErrNotFound,
	"InvalidGroupId.NotFound":                     fleet.ErrNotFound,
	"InvalidSecurityGroupId.NotFound":             fleet.ErrNotFound,
	"InvalidSecurityGroupRuleId.NotFound":         fleet.ErrNotFound,
	"InvalidPermission.NotFound":                  fleet.ErrNotFound,
	"InvalidAssociationID.NotFound":               fleet.ErrNotFound,
	"InvalidVpcEndpointId.NotFound":               fleet.ErrNotFound,
	"InvalidVpcEndpoint.NotFound":                 fleet.ErrNotFound,
	"InvalidLaunchTemplateName.NotFoundException": fleet.ErrNotFound,
	"InvalidLaunchTemplateId.NotFound":            fleet.ErrNotFound,
	"NoSuchEntity":                                fleet.ErrNotFound,
	"ResourceNotFoundException":                   fleet.ErrNotFound,
	"InvalidDocument":                             fleet.ErrNotFound,
	"InvalidDocumentVersion":                      fleet.ErrNotFound,

	"InvalidPermission.Duplicate":                      fleet.ErrExists,
	"InvalidGroup.Duplicate":                           fleet.ErrExists,
	"InvalidLaunchTemplateName.AlreadyExistsException": fleet.ErrExists,
	"EntityAlreadyExists":                              fleet.ErrExists,
	"AlreadyExists":                                    fleet.ErrExists,
	"DocumentAlreadyExists":                            fleet.ErrExists,
	"DuplicateDocumentContent":                         fleet.ErrExists,
	"DuplicateDocumentVersionName":                     fleet.ErrExists,
	"ConflictException":                                fleet.ErrExists,

	"DependencyViolation":       fleet.ErrInUse,
	"DeleteConflict":            fleet.ErrInUse,
	"ResourceInUse":             fleet.ErrInUse,
	"ScalingActivityInProgress": fleet.ErrInUse,
	"ResourceContention":        fleet.ErrInUse,
}

// answer makes an error of a call fit to be shown, and tells what it means.
func (p *changing) answer(api string, err error) error {
	if err == nil {
		return nil
	}
	means := meanings[code(err)]
	err = fmt.Errorf("%s: %w", api, p.account.failure(api, err))
	if means != nil {
		return &answer{err, means}
	}
	return err
}

// none is what a list without the wanted element means.
func none(what string) error { return fmt.Errorf("%s: %w", clean(what), fleet.ErrNotFound) }
