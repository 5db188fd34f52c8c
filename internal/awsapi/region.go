package awsapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/route53resolver"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"ssm-migrate/internal/fleet"
)

// Region reads one Region of an account. Its methods may run concurrently.
type Region struct {
	account  *Account
	name     string
	ec2      *ec2.Client
	ssm      *ssm.Client
	scaling  *autoscaling.Client
	resolver *route53resolver.Client
	s3       *s3.Client
	kms      *kms.Client
	logs     *cloudwatchlogs.Client
	owner    memo[string]
}

// Cloud gives a reader of one Region, which need not be one of Regions.
func (a *Account) Cloud(region string) *Region {
	cfg := a.configFor(region)
	return &Region{
		account:  a,
		name:     region,
		ec2:      ec2.NewFromConfig(cfg),
		ssm:      ssm.NewFromConfig(cfg),
		scaling:  autoscaling.NewFromConfig(cfg),
		resolver: route53resolver.NewFromConfig(cfg),
		// An endpoint of the operator's own need not have a DNS name for every bucket.
		s3:   s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = o.BaseEndpoint != nil }),
		kms:  kms.NewFromConfig(cfg),
		logs: cloudwatchlogs.NewFromConfig(cfg),
	}
}

// Label is the operator's name for the access.
func (r *Region) Label() string { return r.account.access.Label }

// RegionName is the Region that it reads.
func (r *Region) RegionName() string { return r.name }

// accountID is the same answer for all that this Region's reader returns: hosts,
// nodes and network are joined by it. Where STS does not answer, EC2's owner of
// any instance does; it is empty where there is none.
func (r *Region) accountID(ctx context.Context) string {
	id, _ := r.owner.get(ctx, func() (string, error) {
		who, err := r.account.whoami(ctx)
		if err == nil {
			return who.id, nil
		}
		out, err := r.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{MaxResults: aws.Int32(5)})
		if err != nil || len(out.Reservations) == 0 {
			return "", err
		}
		return aws.ToString(out.Reservations[0].OwnerId), nil
	})
	return id
}

// parallel bounds how many collections of a Region, and how many calls for
// their elements, run at once.
const parallel = 8

// Surroundings reads all collections of the Region but instances and managed
// nodes, side by side. Each carries its own reason when it could not be read;
// one that broke off keeps what was seen.
func (r *Region) Surroundings(ctx context.Context) fleet.Region {
	out := fleet.Region{Name: r.name, Label: r.Label()}
	var preferencesTags map[string]string
	each([]func(){
		func() { out.Account = r.accountID(ctx) },
		func() { out.Sessions = r.sessions(ctx) }, // the slowest first
		func() { out.DefaultRole = r.defaultRole(ctx) },
		func() { out.VPCs = r.vpcs(ctx) },
		func() { out.PrefixLists = r.prefixLists(ctx) },
		func() { out.Templates = r.templates(ctx) },
		func() { out.ScalingGroups = r.scalingGroups(ctx) },
		func() { out.KeyPairs = r.keyPairs(ctx) },
		func() { out.Subnets = r.subnets(ctx) },
		func() { out.RouteTables = r.routeTables(ctx) },
		func() { out.Groups = r.securityGroups(ctx) },
		func() { out.NetworkACLs = r.networkACLs(ctx) },
		func() { out.Endpoints = r.endpoints(ctx) },
		func() { out.Gateways = r.internetGateways(ctx) },
		func() { out.NATGateways = r.natGateways(ctx) },
		func() { out.DHCPOptions = r.dhcpOptions(ctx) },
		func() { out.Peerings = r.peerings(ctx) },
		func() { out.ResolverRules = r.resolverRules(ctx) },
		func() { out.ConnectEndpoints = r.connectEndpoints(ctx) },
		func() { out.SerialConsole = r.serialConsole(ctx) },
		func() { out.Preferences = r.preferences(ctx) },
		func() { out.Documents, preferencesTags = r.documents(ctx) },
	}, parallel, func(read func()) { read() })
	out.Preferences.Value.Tags = preferencesTags
	r.addPinned(ctx, &out.Templates, out.ScalingGroups.Value)
	return out
}
