// Package awsapi is the only home of the AWS SDK. Account and Region read AWS
// accounts for an inventory and call nothing that can change one; what changes
// an account is a type of its own: Changer.
package awsapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"ssm-migrate/internal/fleet"
)

// Access says how to reach one account and which Regions of it to read.
type Access struct {
	Label      string   // the operator's name for it; empty: Profile, RoleARN or "default"
	Profile    string   // of the shared AWS configuration; empty: the SDK's default chain
	RoleARN    string   // role to assume with the credentials of Profile; empty: none
	ExternalID string   // for RoleARN's trust policy; empty: none
	Regions    []string // empty: the default Region; AllRegions alone: every Region enabled in the account
}

// Name is what the access is called: Label, or else Profile, RoleARN, "default".
func (a Access) Name() string { return cmp.Or(a.Label, a.Profile, a.RoleARN, "default") }

// AllRegions in Access.Regions stands for every Region that is enabled in the account.
const AllRegions = "all"

// Options tune how an account is read. The zero value of each field means its default.
type Options struct {
	// MaxAttempts bounds the tries of one call, the first included; default 5.
	// AWS_MAX_ATTEMPTS and max_attempts of the profile go before it.
	MaxAttempts int
	// ConnectTimeout bounds TCP connect and TLS handshake, each; default 5 s.
	ConnectTimeout time.Duration
	// AttemptTimeout bounds one try, from connect to the last byte; default 30 s.
	AttemptTimeout time.Duration
	// CallTimeout bounds one call with all its tries and the pauses between
	// them, but not the wait for its turn (see ConnectionRate); default 60 s.
	CallTimeout time.Duration
	// IdentityTimeout bounds sts:GetCallerIdentity as CallTimeout does the
	// other calls, but at most as long; default 15 s. What it tells is worth no
	// more of a wait.
	IdentityTimeout time.Duration
	// ConnectionRate is how many ssm:GetConnectionStatus calls a second are
	// made in one account and Region; default 40. AWS publishes a quota of 50
	// ("Systems Manager endpoints and quotas"), which consoles and others share.
	ConnectionRate float64
	// SessionRate is how many ssm:StartSession calls a second are made in one
	// account and Region, and twice as many ssm:ResumeSession and
	// ssm:TerminateSession calls each; default 2.5. AWS publishes quotas of 3 and 6.
	SessionRate float64
	// ReadRate and ChangeRate are how many of EC2's APIs are called a second in
	// one account and Region, those that read and those that change something;
	// defaults 15 and 4. EC2's buckets for them refill by 20 and 5 a second.
	ReadRate, ChangeRate float64
	// Organization is what the accounts of one inventory share; default: this
	// account reads for itself.
	Organization *Organization
	// Transport carries the requests, in place of connections of our own; the
	// bounds of connects and tries are its own business then. Default none.
	Transport http.RoundTripper
	// Logger gets one debug line per call; default none.
	Logger *slog.Logger
	// Version is this program's version for the User-Agent header.
	Version string
}

func (o Options) withDefaults() Options {
	o.MaxAttempts = cmp.Or(o.MaxAttempts, 5)
	o.ConnectTimeout = cmp.Or(o.ConnectTimeout, 5*time.Second)
	o.AttemptTimeout = cmp.Or(o.AttemptTimeout, 30*time.Second)
	o.CallTimeout = cmp.Or(o.CallTimeout, time.Minute)
	o.IdentityTimeout = min(cmp.Or(o.IdentityTimeout, 15*time.Second), o.CallTimeout)
	o.ConnectionRate = cmp.Or(o.ConnectionRate, 40)
	o.SessionRate = cmp.Or(o.SessionRate, 2.5)
	o.ReadRate = cmp.Or(o.ReadRate, 15)
	o.ChangeRate = cmp.Or(o.ChangeRate, 4)
	o.Version = cmp.Or(o.Version, "dev")
	if o.Organization == nil {
		o.Organization = &Organization{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Account reads one AWS account: its identity side itself, its Regions through
// Cloud. It is meant for one inventory, since it remembers who it is and that
// its credentials failed. Its methods may run concurrently.
type Account struct {
	access        Access
	options       Options
	config        aws.Config
	iam           *iam.Client
	sts           *sts.Client
	organizations *organizations.Client
	route53       *route53.Client
	regions       []string
	stats         stats
	caller        memo[caller]
}

// Open prepares the reading of an account. It reads the shared configuration
// and, for AllRegions only, asks EC2 for the enabled Regions; bad credentials
// show in the answers of the sources otherwise. Endpoints come from the SDK's
// ordinary settings (AWS_ENDPOINT_URL and its relatives).
func Open(ctx context.Context, access Access, options Options) (*Account, error) {
	access.Label = access.Name()
	a := &Account{access: access, options: options.withDefaults()}
	all := slices.Contains(access.Regions, AllRegions)
	if all && len(access.Regions) > 1 {
		return nil, fmt.Errorf("open %s: %q stands for every Region and goes with no other", access.Label, AllRegions)
	}
	cfg, err := a.loadConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", access.Label, err)
	}
	switch {
	case all:
		// Any Region of the partition can list the others; us-east-1 cannot be disabled.
		cfg.Region = cmp.Or(cfg.Region, "us-east-1")
	case len(access.Regions) > 0:
		a.regions = uniq(access.Regions)
		cfg.Region = cmp.Or(cfg.Region, a.regions[0])
	case cfg.Region == "":
		return nil, fmt.Errorf("open %s: no Region: name Regions for this access (or %q), set AWS_REGION, or set region in the profile", access.Label, AllRegions)
	default:
		a.regions = []string{cfg.Region}
	}
	a.config = cfg
	a.assumeRole()
	global := a.configFor(cfg.Region)
	a.iam = iam.NewFromConfig(global)
	a.organizations = organizations.NewFromConfig(global)
	a.route53 = route53.NewFromConfig(global)
	a.sts = sts.NewFromConfig(a.configWithin(cfg.Region, a.options.IdentityTimeout))
	if all {
		if a.regions, err = a.enabledRegions(ctx); err != nil {
			return nil, fmt.Errorf("open %s: list its Regions: %w", access.Label, err)
		}
	}
	return a, nil
}

func (a *Account) enabledRegions(ctx context.Context) ([]string, error) {
	// Without AllRegions=true EC2 lists the enabled ones only.
	out, err := ec2.NewFromConfig(a.configFor(a.config.Region)).DescribeRegions(ctx, &ec2.DescribeRegionsInput{})
	if err != nil {
		return nil, a.failure("ec2:DescribeRegions", err)
	}
	var names []string
	for _, r := range out.Regions {
		if n := aws.ToString(r.RegionName); n != "" {
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		return nil, errors.New("EC2 listed none")
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Label is the operator's name for the access.
func (a *Account) Label() string { return a.access.Label }

// Regions are the Regions to read, in the order of Access.Regions or by name.
func (a *Account) Regions() []string { return slices.Clone(a.regions) }

// Stats tells what was called so far, by API and Region.
func (a *Account) Stats() []CallStats { return a.stats.list() }

// caller is who we are in an account, or were not told.
type caller struct {
	id, arn string
	at      time.Time
}

const apiCaller = "sts:GetCallerIdentity"

// whoami asks STS once. Any credentials may make this call: no policy can deny it.
func (a *Account) whoami(ctx context.Context) (caller, error) {
	return a.caller.get(ctx, func() (caller, error) { return a.askWhoami(ctx) })
}

func (a *Account) askWhoami(ctx context.Context) (caller, error) {
	// Apart from the call, whose bound is too short for some providers.
	waiting, cancel := context.WithTimeout(ctx, a.options.CallTimeout)
	defer cancel()
	if _, err := a.config.Credentials.Retrieve(waiting); err != nil {
		return caller{at: time.Now().UTC()}, a.failure(apiCaller, err)
	}
	out, err := a.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	who := caller{at: time.Now().UTC()}
	if err != nil {
		return who, a.failure(apiCaller, err)
	}
	who.id, who.arn = aws.ToString(out.Account), aws.ToString(out.Arn)
	return who, nil
}

// identity is who we are, as a fact.
func (a *Account) identity(ctx context.Context) (id string, arn fleet.Fact[string]) {
	who, err := a.whoami(ctx)
	if err != nil {
		return "", fleet.Unknown[string](apiCaller, who.at, err.Error())
	}
	return who.id, fleet.Known(who.arn, apiCaller, who.at)
}
