package simfleet_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"ssm-migrate/internal/simfleet"
)

// Whatever a client sends, the answer is one well-formed document.
func FuzzAWSRequest(f *testing.F) {
	f.Add("ec2", "", "Action=DescribeInstances&MaxResults=5&Filter.1.Name=tag:x&Filter.1.Value.1=*")
	f.Add("ec2", "", "Action=DescribeLaunchTemplateVersions&LaunchTemplateVersion.1=$Latest&NextToken=x")
	f.Add("iam", "", "Action=GetAccountAuthorizationDetails&MaxItems=1&Marker=R2V0")
	f.Add("autoscaling", "", "Action=DescribeAutoScalingGroups&Filters.member.1.Name=tag-key")
	f.Add("sts", "", "Action=AssumeRole&RoleArn=x&RoleSessionName=y")
	f.Add("ssm", "AmazonSSM.DescribeInstanceInformation", `{"MaxResults":5,"Filters":[{"Key":"PingStatus","Values":["Online"]}]}`)
	f.Add("s3", "", "\xff")
	w := generate(f, simfleet.Options{})
	side := simfleet.ServeAWS(w, simfleet.AWSOptions{NoThrottle: true})
	f.Fuzz(func(t *testing.T, service, target, body string) {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x/20261001/eu-west-1/"+service+"/aws4_request, SignedHeaders=host")
		r.Header.Set("X-Amz-Target", target)
		rec := httptest.NewRecorder()
		side.ServeHTTP(rec, r)
		if rec.Code >= 500 {
			t.Errorf("status %d: %s", rec.Code, rec.Body)
		}
		if strings.HasPrefix(rec.Header().Get("Content-Type"), "application/") {
			if !json.Valid(rec.Body.Bytes()) {
				t.Errorf("not JSON: %s", rec.Body)
			}
			return
		}
		d := xml.NewDecoder(rec.Body)
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				return
			} else if err != nil {
				t.Fatalf("not XML: %v", err)
			}
		}
	})
}
