package export_test

import (
	"strings"
	"testing"

	"ssm-migrate/internal/export"
	"ssm-migrate/internal/plan"
)

// Endpoints are exported with their policies, and gateway endpoints with their
// route tables and without a security group.
func TestEndpointsHaveTheirPoliciesAndTables(t *testing.T) {
	const (
		service  = "com.amazonaws.eu-west-1.ssm"
		s3       = "com.amazonaws.eu-west-1.s3"
		document = `{"Statement":[{"Action":["ssm:*"]}]}`
	)
	in := everything(t, "x")
	var kept []plan.Step
	for _, s := range in.Plan.Waves[0].Steps {
		if s.Kind != plan.CreateEndpoint {
			continue
		}
		s.Endpoint.Services, s.Endpoint.Policies = []string{service}, map[string]string{service: document}
		gateway := s
		gateway.ID = "gateway"
		gateway.Endpoint = &plan.EndpointChange{VPC: "vpc-1", Services: []string{s3}, Tables: []string{"rtb-1", "rtb-2"}, Policies: map[string]string{s3: document}}
		kept = append(kept, s, gateway)
	}
	in.Plan.Waves[0].Steps = kept
	for name, tt := range map[string]struct {
		make func(export.Input) ([]export.File, error)
		want []string
	}{
		"terraform": {export.Terraform, []string{`"Gateway"`, `route_table_ids`, `"rtb-1", "rtb-2"`, `policy`, `\"ssm:*\"`}},
		"json":      {export.JSON, []string{`"VpcEndpointType": "Gateway"`, `"RouteTableIds": [`, `"PolicyDocument": "{\"Statement\":[{\"Action\":[\"ssm:*\"]}]}"`}},
		"cli":       {export.CLI, []string{`contains(RouteTableIds, '\''rtb-1'\'')`, `contains(RouteTableIds, '\''rtb-2'\'')`, `"PolicyDocument":"{\"Statement\":[{\"Action\":[\"ssm:*\"]}]}"`}},
	} {
		t.Run(name, func(t *testing.T) {
			files, err := tt.make(in)
			if err != nil {
				t.Fatal(err)
			}
			var all strings.Builder
			for _, f := range files {
				all.WriteString(f.Text)
			}
			for _, w := range tt.want {
				if !strings.Contains(all.String(), w) {
					t.Errorf("%s is not in the export:\n%s", w, all.String())
				}
			}
		})
	}
}
