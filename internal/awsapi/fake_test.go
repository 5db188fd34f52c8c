package awsapi_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/inventory"
)

// The ports that this package fills.
var (
	_ inventory.Cloud    = (*awsapi.Region)(nil)
	_ inventory.Identity = (*awsapi.Account)(nil)
)

// script is an endpoint that answers single APIs as a test wants; all others
// answer with nothing in them. Keys are API names: "ec2:DescribeVpcs".
type script struct {
	answers map[string]http.HandlerFunc

	mu    sync.Mutex
	calls map[string]int // guarded by mu
}

var serviceOfVersion = map[string]string{"2016-11-15": "ec2", "2010-05-08": "iam", "2011-06-15": "sts", "2011-01-01": "autoscaling"}

var serviceOfTarget = map[string]string{
	"AmazonSSM": "ssm", "TrentService": "kms", "Logs_20140328": "logs", "AWSOrganizationsV20161128": "organizations", "Route53Resolver": "route53resolver",
}

func apiOf(r *http.Request) string {
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		service, op, _ := strings.Cut(target, ".")
		return serviceOfTarget[service] + ":" + op
	}
	if path, ok := strings.CutPrefix(r.URL.Path, "/2013-04-01/hostedzone"); ok {
		switch strings.Count(path, "/") {
		case 0:
			return "route53:ListHostedZones"
		case 1:
			return "route53:GetHostedZone"
		}
		return "route53:ListResourceRecordSets"
	}
	if r.Method == http.MethodGet {
		for part, op := range map[string]string{"location": "GetBucketLocation", "encryption": "GetBucketEncryption", "policy": "GetBucketPolicy"} {
			if r.URL.Query().Has(part) {
				return "s3:" + op
			}
		}
	}
	return serviceOfVersion[r.FormValue("Version")] + ":" + r.FormValue("Action")
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	api := apiOf(r)
	io.Copy(io.Discard, r.Body) // or the server would not notice that a client hangs up
	s.mu.Lock()
	if s.calls == nil {
		s.calls = map[string]int{}
	}
	s.calls[api]++
	s.mu.Unlock()
	if answer, ok := s.answers[api]; ok {
		answer(w, r)
		return
	}
	switch service, op, _ := strings.Cut(api, ":"); service {
	case "ssm", "kms", "logs", "organizations", "route53resolver":
		sendJSON(w, 200, `{}`)
	case "s3":
		s3Error(404, "NoSuchBucket", "The specified bucket does not exist")(w, r)
	case "ec2", "route53":
		sendXML(w, 200, "<"+op+"Response></"+op+"Response>")
	default:
		sendXML(w, 200, fmt.Sprintf("<%[1]sResponse><%[1]sResult></%[1]sResult></%[1]sResponse>", op))
	}
}

func (s *script) count(api string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[api]
}

func sendXML(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	w.WriteHeader(status)
	fmt.Fprint(w, `<?xml version="1.0" encoding="UTF-8"?>`+"\n"+body)
}

func sendJSON(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	fmt.Fprint(w, body)
}

func xmlAnswer(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { sendXML(w, 200, body) }
}

func jsonAnswer(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { sendJSON(w, 200, body) }
}

// ec2Error is an error in EC2's shape, queryError in that of the other query APIs.
func ec2Error(status int, code, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		sendXML(w, status, fmt.Sprintf("<Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error></Errors><RequestID>r-1</RequestID></Response>", code, message))
	}
}

func queryError(status int, code, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		sendXML(w, status, fmt.Sprintf("<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>r-1</RequestId></ErrorResponse>", code, message))
	}
}

func ssmError(status int, code, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		body, _ := json.Marshal(map[string]string{"__type": code, "message": message})
		sendJSON(w, status, string(body))
	}
}

func s3Error(status int, code, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		sendXML(w, status, fmt.Sprintf("<Error><Code>%s</Code><Message>%s</Message><RequestId>r-1</RequestId></Error>", code, message))
	}
}

const callerIdentity = `<GetCallerIdentityResponse><GetCallerIdentityResult>
<Arn>arn:aws:iam::111122223333:user/ops</Arn><UserId>AIDA</UserId><Account>111122223333</Account>
</GetCallerIdentityResult></GetCallerIdentityResponse>`

const webPage = "<!doctype html><html><body><h1>Oops</h1><script>alert(1)</script></body></html>"

func raw(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

// reset cuts the connection with a TCP reset, hangUp with an orderly close.
func reset(w http.ResponseWriter, _ *http.Request) {
	c := hijack(w)
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

func hangUp(w http.ResponseWriter, _ *http.Request) { _ = hijack(w).Close() }

func hijack(w http.ResponseWriter) net.Conn {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err) // the server of these tests speaks HTTP/1.1
	}
	return c
}

// isolate gives a test the SDK's ordinary settings and nothing of this
// machine's: endpoint, dummy credentials, no shared configuration.
func isolate(t testing.TB, endpoint string) {
	t.Helper()
	for _, name := range []string{"AWS_CA_BUNDLE", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE", "AWS_DEFAULT_REGION", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		t.Setenv(name, "")
	}
	none := filepath.Join(t.TempDir(), "none")
	t.Setenv("AWS_CONFIG_FILE", none)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", none)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_REGION", "eu-west-1")
	t.Setenv("AWS_ENDPOINT_URL", endpoint)
}

// serve starts an endpoint and opens the account behind it.
func serve(t testing.TB, handler http.Handler, access awsapi.Access, options awsapi.Options) *awsapi.Account {
	t.Helper()
	isolate(t, newServer(t, handler))
	a, err := awsapi.Open(t.Context(), access, options)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// newServer is the URL of a server for handler.
func newServer(t testing.TB, handler http.Handler) string {
	t.Helper()
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	return srv.URL
}
