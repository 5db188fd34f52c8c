package awsapi

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"regexp"
	"strings"
	"syscall"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// failure is an error whose text is fit for a screen: one short line without
// control characters. Callers keep that text as the reason of an unknown fact,
// next to the source; so it does not name the API again.
type failure struct {
	api  string
	text string
	err  error
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.err }

// failure turns a call's error into one that may be shown and stored.
func (a *Account) failure(api string, err error) error {
	var done *failure
	if err == nil || errors.As(err, &done) {
		return err
	}
	return &failure{api: api, text: reason(err) + a.remedy(err), err: err}
}

// remedy tells what the operator can do about missing credentials.
func (a *Account) remedy(err error) string {
	var creds *credentialsError
	var api smithy.APIError
	switch {
	case errors.As(err, &creds) && creds.role == "":
	case errors.As(err, &api) && expiredCodes[api.ErrorCode()]:
	default:
		return ""
	}
	if a.access.Profile == "" {
		return "; sign in (for example: aws sso login), set AWS_PROFILE, or name a profile for this access"
	}
	return "; sign in, for example: aws sso login --profile " + clean(a.access.Profile)
}

// expiredCodes say that credentials were good once.
var expiredCodes = map[string]bool{"ExpiredToken": true, "ExpiredTokenException": true, "RequestExpired": true}

// reason says in one short clean line why a call failed.
func reason(err error) string {
	var known *failure
	var creds *credentialsError
	var foreign *foreignError
	var slow *slowError
	var broken *brokenError
	var api smithy.APIError
	switch {
	case errors.As(err, &known):
		return known.text
	case errors.As(err, &creds):
		return credentialsReason(creds)
	case errors.As(err, &foreign):
		return foreign.Error()
	case errors.As(err, &api):
		return apiReason(err, api)
	case errors.As(err, &slow):
		return slow.Error()
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, errTooLong):
		return errTooLong.Error()
	case errors.As(err, &broken):
		return broken.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	}
	if r := networkReason(err); r != "" {
		return r
	}
	var unread *smithy.DeserializationError
	if status := httpStatus(err); errors.As(err, &unread) && status != 0 {
		return (&foreignError{status: status}).Error()
	}
	var operation *smithy.OperationError
	if errors.As(err, &operation) && operation.Err != nil {
		err = operation.Err
	}
	var spent *retry.MaxAttemptsError
	if errors.As(err, &spent) && spent.Err != nil {
		err = spent.Err
	}
	return clean(err.Error())
}

func credentialsReason(e *credentialsError) string {
	var operation *smithy.OperationError
	switch {
	case e.role != "":
		return "cannot assume role " + clean(e.role) + ": " + reason(e.err)
	case e.expiredSession():
		return "no credentials: the SSO session has expired or is invalid"
	case errors.As(e.err, &operation) && operation.ServiceID == "ec2imds":
		// The end of the default chain: what it says of the metadata service
		// would only mislead an operator at a workstation.
		return "no credentials found"
	}
	return "no credentials: " + reason(e.err)
}

func apiReason(err error, api smithy.APIError) string {
	code := clean(api.ErrorCode())
	if throttleCode(err) != "" {
		var spent *retry.MaxAttemptsError
		if errors.As(err, &spent) {
			return fmt.Sprintf("throttled after %d attempts (%s)", spent.Attempt, code)
		}
		return "throttled (" + code + ")"
	}
	message, _, _ := strings.Cut(api.ErrorMessage(), "Encoded authorization failure message")
	message = clean(message)
	switch {
	case code == "" || code == "UnknownError":
		// The SDK's name for an answer without a code in it.
		if status := httpStatus(err); status != 0 {
			return (&foreignError{status: status}).Error()
		}
		return "the endpoint answered with an error that it does not name"
	case message == "" || message == code:
		return code
	}
	return code + ": " + message
}

func httpStatus(err error) int {
	var res *smithyhttp.ResponseError
	if errors.As(err, &res) {
		return res.HTTPStatusCode()
	}
	return 0
}

// connectFailed reports that no connection came about.
func connectFailed(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	return errors.As(err, &dns) || errors.As(err, &op) && op.Op == "dial"
}

func networkReason(err error) string {
	var dns *net.DNSError
	var op *net.OpError
	var untrusted x509.UnknownAuthorityError
	var wrongName x509.HostnameError
	var slow net.Error
	var sent *smithyhttp.RequestSendError
	var request *url.Error
	switch {
	case errors.As(err, &dns):
		return "cannot resolve " + clean(dns.Name)
	case errors.As(err, &untrusted):
		return "TLS: the endpoint's certificate is signed by an unknown authority (behind an inspecting proxy, set AWS_CA_BUNDLE)"
	case errors.As(err, &wrongName):
		return "TLS: the endpoint's certificate is for another name"
	case errors.As(err, &op) && op.Op == "dial" && errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused by " + address(op)
	case errors.As(err, &op) && op.Op == "dial":
		return "no connection to " + address(op)
	case errors.As(err, &slow) && slow.Timeout():
		return "no answer in time"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the connection was reset"
	case !errors.As(err, &sent):
		return ""
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed without an answer"
	case errors.As(err, &request):
		return clean(request.Err.Error()) // without the method and URL
	}
	return ""
}

func address(op *net.OpError) string {
	if op.Addr == nil {
		return "the endpoint"
	}
	return clean(op.Addr.String())
}

// maxReason bounds a reason in runes.
const maxReason = 300

var tag = regexp.MustCompile(`<[A-Za-z!/?]`)

// clean makes one short line of foreign text: no control or invisible format
// characters, no markup, no invalid UTF-8.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == unicode.ReplacementChar:
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	// Not before: what was dropped may have stood inside a tag.
	if at := tag.FindStringIndex(s); at != nil {
		s = s[:at[0]]
	}
	runes := []rune(strings.Join(strings.Fields(s), " "))
	if len(runes) > maxReason {
		return strings.TrimSpace(string(runes[:maxReason])) + "…"
	}
	return string(runes)
}
