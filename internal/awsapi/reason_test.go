package awsapi_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
)

func nodes(a *awsapi.Account) error {
	return a.Cloud("eu-west-1").Nodes(context.Background(), func([]fleet.Node) error { return nil })
}

func instances(a *awsapi.Account) error {
	return a.Cloud("eu-west-1").Instances(context.Background(), func([]fleet.Host) error { return nil })
}

func TestReasonsAreShortAndClean(t *testing.T) {
	const listNodes, listInstances = "ssm:DescribeInstanceInformation", "ec2:DescribeInstances"
	foreign500 := "the endpoint answered 500 and not in AWS's protocol"
	tests := []struct {
		name   string
		api    string
		answer http.HandlerFunc
		want   string
		tries  int
	}{
		{"a web page with 500", listNodes, raw(500, "text/html; charset=utf-8", webPage), foreign500, 3},
		{"a web page that calls itself JSON", listNodes, raw(500, "application/json", webPage), foreign500, 2},
		{"a web page that calls itself XML", listInstances, raw(500, "text/xml", webPage), foreign500, 2},
		{"a login portal", listNodes, raw(200, "text/html", webPage), "the endpoint answered 200 and not in AWS's protocol", 1},
		{"a login portal in XHTML", listInstances, raw(200, "application/xhtml+xml", "<html><body/></html>"), "the endpoint answered 200 and not in AWS's protocol", 1},
		{"nothing at all", listInstances, raw(200, "text/xml", ""), "the endpoint answered 200 and not in AWS's protocol", 1},
		{"half an answer", listInstances, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.Write([]byte("<DescribeInstancesResponse>"))
		}, "the answer broke off", 2},
		{"a connection that is reset", listNodes, reset, "the connection was reset", 2},
		{"a connection that is closed without an answer", listInstances, hangUp, "the connection was closed without an answer", 2},
		{"denied", listNodes, ssmError(400, "AccessDeniedException", "User: arn:aws:iam::1:user/ops is not authorized to perform: ssm:DescribeInstanceInformation"),
			"AccessDeniedException: User: arn:aws:iam::1:user/ops is not authorized to perform: ssm:DescribeInstanceInformation", 1},
		{"denied by EC2, with its long code", listInstances, ec2Error(403, "UnauthorizedOperation", "You are not authorized to perform this operation. Encoded authorization failure message: "+strings.Repeat("4zQ", 300)),
			"UnauthorizedOperation: You are not authorized to perform this operation.", 1},
		{"throttled", listInstances, ec2Error(503, "RequestLimitExceeded", "Request limit exceeded."), "throttled after 2 attempts (RequestLimitExceeded)", 2},
		{"throttled by Systems Manager", listNodes, ssmError(400, "ThrottlingException", "Rate exceeded"), "throttled after 2 attempts (ThrottlingException)", 2},
		{"terminal escapes, markup and line breaks", listNodes, ssmError(400, "ValidationException\u202e", "\x1b[31mred\a\r\nsecond\u0085line\u200b <b onclick=x>bold</b>"),
			"ValidationException: [31mred second line", 1},
		{"markup only", listNodes, ssmError(400, "InternalThing", webPage), "InternalThing", 1},
		{"a very long message", listNodes, ssmError(400, "ValidationException", strings.Repeat("é", 5000)), "ValidationException: " + strings.Repeat("é", 300) + "…", 1},
		{"expired credentials", listNodes, ssmError(400, "ExpiredTokenException", "The security token included in the request is expired"),
			"ExpiredTokenException: The security token included in the request is expired; sign in (for example: aws sso login), set AWS_PROFILE, or name a profile for this access", 1},
		{"an operation that an emulator lacks", listInstances, ec2Error(501, "InvalidAction", "The action DescribeInstances is not valid for this web service."),
			"InvalidAction: The action DescribeInstances is not valid for this web service.", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &script{answers: map[string]http.HandlerFunc{tt.api: tt.answer, "sts:GetCallerIdentity": xmlAnswer(callerIdentity)}}
			attempts := 2
			if tt.tries > 2 {
				attempts = 5 // the bound that matters is another one
			}
			a := serve(t, s, awsapi.Access{}, awsapi.Options{MaxAttempts: attempts})
			read := nodes
			if tt.api == listInstances {
				read = instances
			}
			err := read(a)
			if err == nil || err.Error() != tt.want {
				t.Errorf("reason:\n got %v\nwant %s", err, tt.want)
			}
			if got := s.count(tt.api); got != tt.tries {
				t.Errorf("%d tries, want %d", got, tt.tries)
			}
		})
	}
}

func TestDeadEndpointIsTriedTwice(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	isolate(t, srv.URL)
	a, err := awsapi.Open(t.Context(), awsapi.Access{}, awsapi.Options{MaxAttempts: 9})
	if err != nil {
		t.Fatal(err)
	}
	if err := nodes(a); err == nil || err.Error() != "connection refused by "+strings.TrimPrefix(srv.URL, "http://") {
		t.Errorf("reason: %v", err)
	}
	for _, c := range a.Stats() {
		if c.Attempts > 2*c.Calls {
			t.Errorf("%s: %d tries for %d calls", c.API, c.Attempts, c.Calls)
		}
	}
}

func TestSilentEndpointIsGivenUp(t *testing.T) {
	hang := make(chan struct{})
	s := &script{answers: map[string]http.HandlerFunc{"ssm:GetConnectionStatus": func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}}}
	a := serve(t, s, awsapi.Access{}, awsapi.Options{CallTimeout: 50_000_000})
	t.Cleanup(func() { close(hang) })
	_, err := a.Cloud("eu-west-1").Connection(t.Context(), "i-1")
	if err == nil || err.Error() != "no answer within 50ms" {
		t.Errorf("reason: %v", err)
	}
}

func TestSilentSTSHoldsUpNothingForLong(t *testing.T) {
	s := &script{answers: roleByRole(map[string]http.HandlerFunc{
		"iam:GetAccountAuthorizationDetails": detailsAnswer(false),
		"sts:GetCallerIdentity":              func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	})}
	for _, tt := range []struct {
		options awsapi.Options
		want    string
	}{
		{awsapi.Options{IdentityTimeout: 50 * time.Millisecond}, "no answer within 50ms"},
		{awsapi.Options{CallTimeout: 2 * time.Second, IdentityTimeout: time.Hour}, "no answer within 2s"},
	} {
		got := serve(t, s, awsapi.Access{}, tt.options).Account(t.Context())
		if c := got.Caller; c.Known || c.Reason != tt.want || c.Source != "sts:GetCallerIdentity" {
			t.Errorf("caller %+v, want %q", c, tt.want)
		}
		if !got.Profiles.Known || !got.Roles.Known || got.ID != "111122223333" {
			t.Errorf("ID %q, profiles %q, roles %q", got.ID, got.Profiles.Reason, got.Roles.Reason)
		}
	}
}

func TestCancelingEndsAReadAtOnce(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &script{answers: map[string]http.HandlerFunc{"ssm:GetConnectionStatus": func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}}}
	a := serve(t, s, awsapi.Access{}, awsapi.Options{})
	_, err := a.Cloud("eu-west-1").Connection(ctx, "i-1")
	if !errors.Is(err, context.Canceled) || err.Error() != "canceled" {
		t.Errorf("error: %v", err)
	}
}

func TestMissingCredentialsSayWhatToDo(t *testing.T) {
	s := &script{}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	isolate(t, srv.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	a, err := awsapi.Open(t.Context(), awsapi.Access{}, awsapi.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := "no credentials found; sign in (for example: aws sso login), set AWS_PROFILE, or name a profile for this access"
	region := a.Cloud("eu-west-1").Surroundings(t.Context())
	for _, source := range region.Sources()[2:] { // Instances and Nodes are not Surroundings' to fill
		if source.Known || source.Reason != want {
			t.Errorf("%s: known %v, reason %q", source.Source, source.Known, source.Reason)
		}
	}
	for _, source := range a.Account(t.Context()).Sources() {
		if source.Known || !strings.HasPrefix(source.Reason, "no credentials found") {
			t.Errorf("%s: known %v, reason %q", source.Source, source.Known, source.Reason)
		}
	}
	if n := len(s.calls); n > 0 {
		t.Errorf("%d APIs were called without credentials: %v", n, s.calls)
	}
}

func TestExpiredSingleSignOnNamesTheProfile(t *testing.T) {
	isolate(t, "http://127.0.0.1:1")
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	t.Setenv("HOME", t.TempDir())
	file := filepath.Join(t.TempDir(), "config")
	t.Setenv("AWS_CONFIG_FILE", file)
	profile := "[profile prod]\nregion = eu-west-1\nsso_start_url = https://example.awsapps.com/start\nsso_region = eu-west-1\nsso_account_id = 111122223333\nsso_role_name = ReadOnly\n"
	if err := os.WriteFile(file, []byte(profile), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := awsapi.Open(t.Context(), awsapi.Access{Profile: "prod"}, awsapi.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := "no credentials: the SSO session has expired or is invalid; sign in, for example: aws sso login --profile prod"
	if err := nodes(a); err == nil || err.Error() != want {
		t.Errorf("reason:\n got %v\nwant %s", err, want)
	}
}

func TestRefusedRoleNamesTheRole(t *testing.T) {
	s := &script{answers: map[string]http.HandlerFunc{
		"sts:AssumeRole": queryError(403, "AccessDenied", "User: arn:aws:iam::1:user/ops is not authorized to perform: sts:AssumeRole"),
	}}
	a := serve(t, s, awsapi.Access{RoleARN: "arn:aws:iam::999988887777:role/reader"}, awsapi.Options{})
	want := "cannot assume role arn:aws:iam::999988887777:role/reader: AccessDenied: User: arn:aws:iam::1:user/ops is not authorized to perform: sts:AssumeRole"
	if err := nodes(a); err == nil || err.Error() != want {
		t.Errorf("reason:\n got %v\nwant %s", err, want)
	}
	a.Cloud("eu-west-1").Surroundings(t.Context())
	if n := s.count("sts:AssumeRole"); n != 1 {
		t.Errorf("asked %d times for a role that was refused", n)
	}
}

// onScreen reports whether text can go to a terminal as it is.
func onScreen(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) })
}

func FuzzReasonsAreFitForAScreen(f *testing.F) {
	for _, s := range []string{"", "plain", "\x1b]0;title\a", "<html>", "a\u202eb", "\xff\xfe", "a <\xfb/b>", "line\nline", "%!d(MISSING)"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, code, message string) {
		got := awsapi.ReasonOf(code, message)
		if !onScreen(got) || utf8.RuneCountInString(got) > 700 || strings.Contains(got, "</") {
			t.Errorf("unfit: %q", got)
		}
	})
}

func TestUntrustedCertificateIsNamed(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	isolate(t, srv.URL)
	a, err := awsapi.Open(t.Context(), awsapi.Access{}, awsapi.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := "TLS: the endpoint's certificate is signed by an unknown authority (behind an inspecting proxy, set AWS_CA_BUNDLE)"
	if err := nodes(a); err == nil || err.Error() != want {
		t.Errorf("reason:\n got %v\nwant %s", err, want)
	}
}
