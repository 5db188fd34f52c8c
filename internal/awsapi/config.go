package awsapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"
)

func (a *Account) loadConfig(ctx context.Context) (aws.Config, error) {
	o := a.options
	client := awshttp.NewBuildableClient().
		WithTimeout(o.AttemptTimeout).
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = o.ConnectTimeout }).
		WithTransportOptions(func(t *http.Transport) {
			t.TLSHandshakeTimeout = o.ConnectTimeout
			t.MaxIdleConnsPerHost = 64 // as many as calls run at once, or each would dial anew
		})
	load := []func(*config.LoadOptions) error{
		config.WithHTTPClient(client),
		// A function: each client gets a retryer of its own, and with it a
		// budget of retries of its own.
		config.WithRetryer(func() aws.Retryer { return newRetryer(o.MaxAttempts) }),
		config.WithLogger(sdkLog(o.Logger)),
		config.WithAPIOptions([]func(*middleware.Stack) error{awsmiddleware.AddUserAgentKeyValue("ssm-migrate", o.Version)}),
	}
	if a.access.Profile != "" {
		load = append(load, config.WithSharedConfigProfile(a.access.Profile))
	}
	if r := a.access.Regions; len(r) > 0 && r[0] != AllRegions {
		load = append(load, config.WithDefaultRegion(r[0]))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	var noProfile config.SharedConfigProfileNotExistError
	var mfa config.AssumeRoleTokenProviderNotSetError
	switch {
	case errors.As(err, &noProfile):
		return cfg, fmt.Errorf("the AWS configuration has no profile %q (see aws configure list-profiles)", noProfile.Profile)
	case errors.As(err, &mfa):
		return cfg, fmt.Errorf("profile %q asks for an MFA code: sign in first, and name a profile that holds the session's credentials", a.access.Profile)
	case err != nil:
		return cfg, fmt.Errorf("read the AWS configuration: %w", err)
	}
	if o.Transport != nil {
		cfg.HTTPClient = &http.Client{Transport: o.Transport}
	}
	cfg.HTTPClient = ownBody{cfg.HTTPClient} // only now: LoadDefaultConfig still puts AWS_CA_BUNDLE into it
	a.wrapCredentials(&cfg, "")
	return cfg, nil
}

// assumeRole makes the configuration act as Access.RoleARN.
func (a *Account) assumeRole() {
	role := a.access.RoleARN
	if role == "" {
		return
	}
	client := sts.NewFromConfig(a.configFor(a.config.Region))
	a.config.Credentials = stscreds.NewAssumeRoleProvider(client, role, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = "ssm-migrate-inventory"
		if a.access.ExternalID != "" {
			o.ExternalID = &a.access.ExternalID
		}
	})
	a.wrapCredentials(&a.config, role)
}

// configFor is the configuration of one Region's clients, with pacing and
// counting of their own.
func (a *Account) configFor(region string) aws.Config {
	return a.configWithin(region, a.options.CallTimeout)
}

// configWithin is configFor with another bound for each call.
func (a *Account) configWithin(region string, timeout time.Duration) aws.Config {
	cfg := a.config.Copy()
	cfg.Region = region
	w := &wire{
		region:  region,
		timeout: timeout,
		stats:   &a.stats,
		pace:    newPace(a.options),
		log:     a.options.Logger.With("access", a.access.Label, "region", region),
	}
	cfg.APIOptions = append(cfg.APIOptions, w.install)
	return cfg
}

// credentialsError marks that no call was made, for want of credentials.
type credentialsError struct {
	profile string
	role    string // role that was to be assumed
	err     error
}

func (e *credentialsError) Error() string {
	if e.role != "" {
		return "assume role " + e.role + ": " + e.err.Error()
	}
	return "get credentials: " + e.err.Error()
}

func (e *credentialsError) Unwrap() error { return e.err }

// expiredSession reports that a sign-in, not a policy, is what is missing.
func (e *credentialsError) expiredSession() bool {
	var token *ssocreds.InvalidTokenError
	return errors.As(e.err, &token)
}

// credentials marks a provider's failures and remembers them for a while: an
// inventory makes dozens of calls, each of which would look for credentials
// again in places that answer by a timeout.
type credentials struct {
	aws.CredentialsProvider
	profile, role string

	mu     sync.Mutex
	failed error     // guarded by mu
	since  time.Time // guarded by mu
}

const credentialsRest = time.Minute

func (c *credentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil && time.Since(c.since) < credentialsRest {
		return aws.Credentials{}, c.failed
	}
	got, err := c.CredentialsProvider.Retrieve(ctx)
	if err == nil {
		c.failed = nil
		return got, nil
	}
	var inner *credentialsError
	if !errors.As(err, &inner) {
		err = &credentialsError{profile: c.profile, role: c.role, err: err}
	}
	if ctx.Err() == nil {
		c.failed, c.since = err, time.Now()
	}
	return aws.Credentials{}, err
}

func (a *Account) wrapCredentials(cfg *aws.Config, role string) {
	cfg.Credentials = aws.NewCredentialsCache(&credentials{CredentialsProvider: cfg.Credentials, profile: a.access.Profile, role: role})
}

// sdkLog passes the SDK's own messages on. Without it they would go to standard
// error, in the middle of a full-screen program.
func sdkLog(l *slog.Logger) logging.Logger {
	return logging.LoggerFunc(func(c logging.Classification, format string, v ...any) {
		level := slog.LevelDebug
		if c == logging.Warn {
			level = slog.LevelWarn
		}
		l.Log(context.Background(), level, "aws sdk: "+clean(fmt.Sprintf(format, v...)))
	})
}
