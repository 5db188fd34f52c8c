package simfleet_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"ssm-migrate/internal/simfleet"
)

// BenchmarkAPI measures what the simulated AWS itself takes of an inventory of
// 10,000 instances, without a network or a client.
func BenchmarkAPI(b *testing.B) {
	w := generate(b, simfleet.Options{Instances: 10_000, Regions: []string{"eu-west-1"}})
	side := simfleet.ServeAWS(w, simfleet.AWSOptions{NoThrottle: true})
	for name, c := range map[string]struct{ service, target, body string }{
		"DescribeInstances/1000":         {"ec2", "", "Action=DescribeInstances&MaxResults=1000"},
		"DescribeInstanceInformation/50": {"ssm", "AmazonSSM.DescribeInstanceInformation", `{"MaxResults":50}`},
		"GetConnectionStatus":            {"ssm", "AmazonSSM.GetConnectionStatus", `{"Target":"` + w.Accounts[0].Regions[0].Instances[5000].Host.ID + `"}`},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(c.body))
				r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x/20261001/eu-west-1/"+c.service+"/aws4_request, SignedHeaders=host, Signature=0")
				r.Header.Set("X-Amz-Target", c.target)
				rec := httptest.NewRecorder()
				side.ServeHTTP(rec, r)
				if rec.Code != http.StatusOK {
					body, _ := io.ReadAll(rec.Body)
					b.Fatalf("status %d: %s", rec.Code, body)
				}
			}
		})
	}
}
