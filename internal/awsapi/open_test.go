package awsapi_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/awsapi"
)

const regionsAnswer = `<DescribeRegionsResponse><regionInfo><item><regionName>us-east-1</regionName></item><item><regionName>eu-west-1</regionName></item></regionInfo></DescribeRegionsResponse>`

func TestRegionsToRead(t *testing.T) {
	config := "[profile home]\nregion = eu-north-1\n[profile bare]\naws_access_key_id = a\naws_secret_access_key = b\n"
	tests := []struct {
		name   string
		access awsapi.Access
		env    string
		want   []string
	}{
		{"named ones, in their order, once", awsapi.Access{Regions: []string{"us-west-2", "eu-west-1", "us-west-2"}}, "", []string{"us-west-2", "eu-west-1"}},
		{"the environment's", awsapi.Access{}, "ap-south-1", []string{"ap-south-1"}},
		{"the profile's", awsapi.Access{Profile: "home"}, "", []string{"eu-north-1"}},
		{"all that are enabled", awsapi.Access{Profile: "bare", Regions: []string{"all"}}, "", []string{"eu-west-1", "us-east-1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(&script{answers: map[string]http.HandlerFunc{"ec2:DescribeRegions": xmlAnswer(regionsAnswer)}})
			t.Cleanup(srv.Close)
			isolate(t, srv.URL)
			t.Setenv("AWS_REGION", tt.env)
			writeConfig(t, config)
			a, err := awsapi.Open(t.Context(), tt.access, awsapi.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, a.Regions()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for _, name := range a.Regions() {
				if c := a.Cloud(name); c.RegionName() != name || c.Label() != a.Label() {
					t.Errorf("Cloud(%s) is %s of %s", name, c.RegionName(), c.Label())
				}
			}
		})
	}
}

func writeConfig(t *testing.T, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CONFIG_FILE", file)
}

func TestOpenRefusesWhatCannotWork(t *testing.T) {
	tests := []struct {
		name   string
		access awsapi.Access
		want   string
	}{
		{"no Region", awsapi.Access{Profile: "bare"}, `open bare: no Region: name Regions for this access (or "all"), set AWS_REGION, or set region in the profile`},
		{"all and more", awsapi.Access{Regions: []string{"eu-west-1", "all"}}, `open default: "all" stands for every Region and goes with no other`},
		{"unknown profile", awsapi.Access{Label: "prod", Profile: "nobody"}, `open prod: the AWS configuration has no profile "nobody" (see aws configure list-profiles)`},
		{"a profile with MFA", awsapi.Access{Profile: "mfa"}, `open mfa: profile "mfa" asks for an MFA code: sign in first, and name a profile that holds the session's credentials`},
		{"Regions cannot be listed", awsapi.Access{Label: "prod", Regions: []string{"all"}}, `open prod: list its Regions: UnauthorizedOperation: no`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(&script{answers: map[string]http.HandlerFunc{"ec2:DescribeRegions": ec2Error(403, "UnauthorizedOperation", "no")}})
			t.Cleanup(srv.Close)
			isolate(t, srv.URL)
			t.Setenv("AWS_REGION", "")
			writeConfig(t, "[profile bare]\n[profile base]\naws_access_key_id=a\naws_secret_access_key=b\n[profile mfa]\nregion=eu-west-1\nrole_arn=arn:aws:iam::1:role/x\nsource_profile=base\nmfa_serial=arn:aws:iam::1:mfa/me\n")
			_, err := awsapi.Open(t.Context(), tt.access, awsapi.Options{})
			if err == nil || err.Error() != tt.want {
				t.Errorf("error:\n got %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestRequestsNameTheProgram(t *testing.T) {
	agent := make(chan string, 1)
	s := &script{answers: map[string]http.HandlerFunc{"ssm:GetConnectionStatus": func(w http.ResponseWriter, r *http.Request) {
		agent <- r.UserAgent()
		sendJSON(w, 200, `{"Status":"connected"}`)
	}}}
	a := serve(t, s, awsapi.Access{}, awsapi.Options{Version: "1.2.3"})
	if _, err := a.Cloud("eu-west-1").Connection(t.Context(), "i-1"); err != nil {
		t.Fatal(err)
	}
	if got := <-agent; !strings.Contains(got, "ssm-migrate/1.2.3") {
		t.Errorf("User-Agent: %s", got)
	}
}
