package awsapi

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"mime"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"ssm-migrate/internal/limit"
)

// wire is what every call of one Region passes on its way: it waits for its
// turn, is bounded in time and size, and is counted.
type wire struct {
	region  string
	timeout time.Duration
	stats   *stats
	pace    *pace
	log     *slog.Logger
}

// maxBody bounds one answer. A page of 1,000 instances takes a few MB.
const maxBody = 64 << 20

func (w *wire) install(stack *middleware.Stack) error {
	return errors.Join(
		stack.Initialize.Add(middleware.InitializeMiddlewareFunc("Turn", w.call), middleware.Before),
		stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("Count", w.attempt), "Retry", middleware.After),
		stack.Finalize.Add(middleware.FinalizeMiddlewareFunc("Late", late), middleware.After),
		stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("Inspect", inspect), middleware.After),
	)
}

// apiName is how reports and policies write an API: "ec2:DescribeVpcs".
func apiName(ctx context.Context) string {
	service := strings.ToLower(strings.ReplaceAll(middleware.GetServiceID(ctx), " ", ""))
	if service == "cloudwatchlogs" {
		service = "logs"
	}
	return service + ":" + middleware.GetOperationName(ctx)
}

func (w *wire) call(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (
	out middleware.InitializeOutput, md middleware.Metadata, err error,
) {
	api := apiName(ctx)
	// The wait does not count as the call's time: a long queue is no fault.
	if err := w.pace.of(api).wait(ctx); err != nil {
		return out, md, err
	}
	bounded, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	start := time.Now()
	out, md, err = next.HandleInitialize(bounded, in)
	took := time.Since(start)
	if err != nil && ctx.Err() == nil && bounded.Err() != nil {
		err = &slowError{after: w.timeout, err: err}
	}
	w.stats.called(api, w.region, took, err != nil)
	if w.log.Enabled(ctx, slog.LevelDebug) {
		attrs := []any{"api", api, "took", took}
		if err != nil {
			attrs = append(attrs, "error", reason(err))
		}
		w.log.Debug("aws call", attrs...)
	}
	return out, md, err
}

func (w *wire) attempt(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
	middleware.FinalizeOutput, middleware.Metadata, error,
) {
	out, md, err := next.HandleFinalize(ctx, in)
	throttled := throttleCode(err) != ""
	api := apiName(ctx)
	w.stats.tried(api, w.region, throttled)
	switch p := w.pace.of(api); {
	case throttled:
		p.slower(time.Now())
	case err == nil:
		p.faster()
	}
	return out, md, err
}

// errLate says that a request was not sent, since its time was over. Unlike the context's
// own error it does not invite to try again.
var errLate = errors.New("not sent: the machine stood still until its time was over")

// late refuses a request whose time is over by the wall clock, which goes on
// while a machine is suspended; the one by which contexts end does not. It comes after the request
// was signed: what is held up later than here AWS refuses by the signature's age.
func late(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
	out middleware.FinalizeOutput, md middleware.Metadata, err error,
) {
	if until, ok := limit.Of(ctx); ok && !time.Now().Round(0).Before(until) {
		return out, md, errLate
	}
	return next.HandleFinalize(ctx, in)
}

// foreignError is an answer that did not come from an AWS API: a web page of a
// proxy, a login portal, an overloaded front end or an emulator.
type foreignError struct{ status int }

func (e *foreignError) Error() string {
	return fmt.Sprintf("the endpoint answered %d and not in AWS's protocol", e.status)
}

// slowError is a call that used up its time, tries included.
type slowError struct {
	after time.Duration
	err   error // of the last try
}

func (e *slowError) Error() string { return fmt.Sprintf("no answer within %v", e.after) }
func (e *slowError) Unwrap() error { return e.err }

// brokenError is an answer whose body ended early.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return "the answer broke off" }
func (e *brokenError) Unwrap() error { return e.err }

var errTooLong = fmt.Errorf("the answer is longer than %d MiB", maxBody>>20)

// inspect reads an answer before the SDK does, which takes any well-formed XML
// for a list without elements: "none" must never come of a login portal's page.
func inspect(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (
	middleware.DeserializeOutput, middleware.Metadata, error,
) {
	out, md, err := next.HandleDeserialize(ctx, in)
	res, ok := out.RawResponse.(*smithyhttp.Response)
	if err != nil || !ok {
		return out, md, err
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	_ = res.Body.Close()
	switch {
	case err != nil:
		return out, md, &brokenError{err: err}
	case len(body) > maxBody:
		return out, md, errTooLong
	case !spokenBy(ctx, res, body):
		return out, md, &foreignError{status: res.StatusCode}
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return out, md, nil
}

// spokenBy reports whether an answer can come from the API that was called.
func spokenBy(ctx context.Context, res *smithyhttp.Response, body []byte) bool {
	if kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); kind == "text/html" {
		return false
	}
	if res.StatusCode >= 300 {
		return true // the SDK reads errors strictly
	}
	api := apiName(ctx)
	service, operation, _ := strings.Cut(api, ":")
	if service == "scheduler" && len(body) == 0 {
		return true // deleting answers with nothing
	}
	if api == "s3:DeleteObject" {
		return res.StatusCode == 204 && len(body) == 0
	}
	if speaksJSON[service] || api == "s3:GetBucketPolicy" {
		return bytes.HasPrefix(bytes.TrimSpace(body), []byte("{"))
	}
	root, ok := rootElements[api]
	if !ok {
		root = operation + "Response"
	}
	return rootElement(body) == root
}

// speaksJSON are the services that answer in JSON; the others do so in XML.
var speaksJSON = map[string]bool{"ssm": true, "kms": true, "logs": true, "organizations": true, "route53resolver": true, "scheduler": true, "secretsmanager": true}

// rootElements are those of answers that do not end in "Response".
var rootElements = map[string]string{
	"s3:GetBucketLocation":   "LocationConstraint",
	"s3:GetBucketEncryption": "ServerSideEncryptionConfiguration",
	"s3:ListObjectsV2":       "ListBucketResult",
}

func rootElement(document []byte) string {
	d := xml.NewDecoder(bytes.NewReader(document))
	for {
		token, err := d.RawToken()
		if err != nil {
			return ""
		}
		if start, ok := token.(xml.StartElement); ok {
			return start.Name.Local
		}
	}
}

// newRetryer is the SDK's standard retryer with pauses that fit an inventory:
// a throttled call has time, a dead or foreign endpoint must show soon.
func newRetryer(maxAttempts int) aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = maxAttempts
		o.Backoff = retry.BackoffDelayerFunc(backoff)
		o.Retryables = append([]retry.IsErrorRetryable{retry.IsErrorRetryableFunc(retryable)}, o.Retryables...)
		o.Retryables = append(o.Retryables, retry.RetryableErrorCode{Codes: moreThrottles})
	})
}

// retryable decides for errors of our own and leaves all others to the SDK.
func retryable(err error) aws.Ternary {
	var creds *credentialsError
	var foreign *foreignError
	var broken *brokenError
	switch {
	case errors.As(err, &creds), errors.Is(err, errTooLong):
		return aws.FalseTernary
	case errors.As(err, &foreign):
		return aws.BoolTernary(foreign.status >= 500)
	case errors.As(err, &broken):
		return aws.TrueTernary
	}
	return aws.UnknownTernary
}

// Tries of a call that the endpoint gives no proper answer to.
const (
	maxConnects = 2
	maxForeign  = 3
)

// backoff is the pause after a failed try; it ends the call by an error.
func backoff(attempt int, err error) (time.Duration, error) {
	attempt = max(attempt, 1)
	var foreign *foreignError
	if errors.As(err, &foreign) && attempt >= maxForeign || connectFailed(err) && attempt >= maxConnects {
		return 0, err
	}
	base, top := 100*time.Millisecond, 2*time.Second
	if throttleCode(err) != "" {
		base, top = 500*time.Millisecond, 8*time.Second
	}
	pause := min(base<<min(attempt-1, 10), top)
	// Jitter, so that parallel calls do not come back all at once.
	return pause/2 + rand.N(pause/2), nil
}

// moreThrottles are codes that services use besides the SDK's own list.
var moreThrottles = map[string]struct{}{"RateExceeded": {}, "TooManyRequests": {}, "RequestThrottleException": {}}

// throttleCode is the error code if a service turned a call down for its rate.
func throttleCode(err error) string {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return ""
	}
	_, standard := retry.DefaultThrottleErrorCodes[api.ErrorCode()]
	_, more := moreThrottles[api.ErrorCode()]
	if standard || more {
		return api.ErrorCode()
	}
	return ""
}
