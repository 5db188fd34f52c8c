package simfleet_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	awshttp "github.com/aws/smithy-go/transport/http"

	"ssm-migrate/internal/simfleet"
)

type astype = astypes.AutoScalingGroup

func TestRefusals(t *testing.T) {
	w := generate(t, simfleet.Options{})
	_, cfg := serve(t, w, simfleet.AWSOptions{})
	ec, sm, im, as := ec2.NewFromConfig(cfg), ssm.NewFromConfig(cfg), iam.NewFromConfig(cfg), autoscaling.NewFromConfig(cfg)
	instances := func(in *ec2.DescribeInstancesInput) func(context.Context) error {
		return func(ctx context.Context) error { _, err := ec.DescribeInstances(ctx, in); return err }
	}
	nodes := func(in *ssm.DescribeInstanceInformationInput) func(context.Context) error {
		return func(ctx context.Context) error { _, err := sm.DescribeInstanceInformation(ctx, in); return err }
	}
	filter := func(key string, values ...string) *ssm.DescribeInstanceInformationInput {
		return &ssm.DescribeInstanceInformationInput{Filters: []ssmtypes.InstanceInformationStringFilter{{Key: &key, Values: values}}}
	}
	id := w.Accounts[0].Regions[0].Instances[0].Host.ID
	for name, c := range map[string]struct {
		call   func(context.Context) error
		code   string
		status int
	}{
		"unknown instance":     {instances(&ec2.DescribeInstancesInput{InstanceIds: []string{"i-00000000000000000"}}), "InvalidInstanceID.NotFound", 400},
		"page too small":       {instances(&ec2.DescribeInstancesInput{MaxResults: aws.Int32(4)}), "InvalidParameterValue", 400},
		"IDs with a page size": {instances(&ec2.DescribeInstancesInput{MaxResults: aws.Int32(5), InstanceIds: []string{id}}), "InvalidParameterCombination", 400},
		"bad token":            {instances(&ec2.DescribeInstancesInput{NextToken: aws.String("bogus")}), "InvalidNextToken", 400},
		"bad filter":           {instances(&ec2.DescribeInstancesInput{Filters: []ec2types.Filter{eq("color", "red")}}), "InvalidParameterValue", 400},
		"unknown action": {func(ctx context.Context) error {
			_, err := ec.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{})
			return err
		}, "InvalidAction", 400},
		"unknown VPC": {func(ctx context.Context) error {
			_, err := ec.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: []string{"vpc-0"}})
			return err
		}, "InvalidVpcID.NotFound", 400},
		"unknown SSM operation": {func(ctx context.Context) error {
			_, err := sm.DescribeActivations(ctx, &ssm.DescribeActivationsInput{})
			return err
		}, "UnknownOperationException", 400},
		"node page too large": {nodes(&ssm.DescribeInstanceInformationInput{MaxResults: aws.Int32(51)}), "ValidationException", 400},
		"node page too small": {nodes(&ssm.DescribeInstanceInformationInput{MaxResults: aws.Int32(4)}), "ValidationException", 400},
		"bad node token":      {nodes(&ssm.DescribeInstanceInformationInput{NextToken: aws.String("x")}), "InvalidNextToken", 400},
		"bad node filter":     {nodes(filter("Color", "red")), "InvalidFilterKey", 400},
		"unknown node":        {nodes(filter("InstanceIds", "i-00000000000000000")), "InvalidInstanceId", 400},
		"unknown setting": {func(ctx context.Context) error {
			_, err := sm.GetServiceSetting(ctx, &ssm.GetServiceSettingInput{SettingId: aws.String("/ssm/none")})
			return err
		}, "ServiceSettingNotFound", 400},
		"unknown role": {func(ctx context.Context) error {
			_, err := im.GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String("none")})
			return err
		}, "NoSuchEntity", 404},
		"IAM page too large": {func(ctx context.Context) error {
			_, err := im.ListRoles(ctx, &iam.ListRolesInput{MaxItems: aws.Int32(1001)})
			return err
		}, "ValidationError", 400},
		"scaling page too large": {func(ctx context.Context) error {
			_, err := as.DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{MaxRecords: aws.Int32(101)})
			return err
		}, "ValidationError", 400},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.call(t.Context())
			if codeOf(err) != c.code || statusOf(err) != c.status {
				t.Errorf("%v (code %s, status %d), want %s, %d", err, codeOf(err), statusOf(err), c.code, c.status)
			}
		})
	}
}

func statusOf(err error) int {
	var e *awshttp.ResponseError
	if errors.As(err, &e) {
		return e.HTTPStatusCode()
	}
	return 0
}

func TestFaults(t *testing.T) {
	w := generate(t, simfleet.Options{})
	faults := &simfleet.Faults{}
	_, cfg := serve(t, w, simfleet.AWSOptions{Faults: faults})
	calls := map[string]func(context.Context) error{
		"ec2": func(ctx context.Context) error {
			_, err := ec2.NewFromConfig(cfg).DescribeInstances(ctx, &ec2.DescribeInstancesInput{})
			return err
		},
		"ssm": func(ctx context.Context) error {
			_, err := ssm.NewFromConfig(cfg).DescribeInstanceInformation(ctx, &ssm.DescribeInstanceInformationInput{})
			return err
		},
		"iam": func(ctx context.Context) error {
			_, err := iam.NewFromConfig(cfg).ListRoles(ctx, &iam.ListRolesInput{})
			return err
		},
		"autoscaling": func(ctx context.Context) error {
			_, err := autoscaling.NewFromConfig(cfg).DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{})
			return err
		},
	}
	for _, c := range []struct {
		service string
		kind    simfleet.FaultKind
		code    string
		status  int
	}{
		{"ec2", simfleet.FaultDeny, "UnauthorizedOperation", 403}, {"ssm", simfleet.FaultDeny, "AccessDeniedException", 400},
		{"iam", simfleet.FaultDeny, "AccessDenied", 403}, {"autoscaling", simfleet.FaultDeny, "AccessDenied", 403},
		{"ec2", simfleet.FaultThrottle, "RequestLimitExceeded", 503}, {"ssm", simfleet.FaultThrottle, "ThrottlingException", 400},
		{"iam", simfleet.FaultThrottle, "Throttling", 400}, {"autoscaling", simfleet.FaultThrottle, "Throttling", 400},
		{"ssm", simfleet.FaultHTML, "", 500}, {"ec2", simfleet.FaultHTML, "", 500},
	} {
		faults.Set(simfleet.Fault{Service: c.service, Kind: c.kind, Times: 1})
		err := calls[c.service](t.Context())
		if err == nil || c.code != "" && codeOf(err) != c.code || statusOf(err) != c.status {
			t.Errorf("%s, fault %d: %v (status %d); want %s, %d", c.service, c.kind, err, statusOf(err), c.code, c.status)
		}
		if err := calls[c.service](t.Context()); err != nil {
			t.Errorf("%s after its only fault: %v", c.service, err)
		}
	}
	for service, call := range calls {
		faults.Set(simfleet.Fault{Kind: simfleet.FaultCut})
		if err := call(t.Context()); err == nil || codeOf(err) != "" {
			t.Errorf("%s with its answer cut off: %v, want an error of the transport", service, err)
		}
	}
	faults.Set(simfleet.Fault{Service: "ec2", Action: "DescribeVpcs", Kind: simfleet.FaultDeny})
	if err := calls["ec2"](t.Context()); err != nil {
		t.Errorf("a fault of another action hit: %v", err)
	}
}

// A delayed or late call ends when the client gives up, and not before.
func TestSlowAnswers(t *testing.T) {
	w := generate(t, simfleet.Options{})
	for name, f := range map[string]simfleet.Fault{"delay": {Delay: time.Hour}, "late": {Late: time.Hour}} {
		faults := &simfleet.Faults{}
		faults.Set(f)
		_, cfg := serve(t, w, simfleet.AWSOptions{Faults: faults})
		ctx, cancel := context.WithCancel(t.Context())
		cfg.HTTPClient = doFunc(func(r *http.Request) (*http.Response, error) {
			cancel()
			return ownBody(r)
		})
		_, err := ec2.NewFromConfig(cfg).DescribeInstances(ctx, &ec2.DescribeInstancesInput{})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want canceled", name, err)
		}
	}
}

func TestThrottling(t *testing.T) {
	w := generate(t, simfleet.Options{})
	clock := noon
	side, cfg := serve(t, w, simfleet.AWSOptions{Clock: func() time.Time { return clock }})
	passed := func(cfg aws.Config, calls int) (n int) {
		t.Helper()
		c := ec2.NewFromConfig(cfg)
		for range calls {
			_, err := c.DescribeInternetGateways(t.Context(), &ec2.DescribeInternetGatewaysInput{})
			switch {
			case err == nil:
				n++
			case codeOf(err) != "RequestLimitExceeded":
				t.Fatal(err)
			}
		}
		return n
	}
	if n := passed(cfg, 120); n != 100 {
		t.Errorf("%d calls passed at once, want the bucket's 100", n)
	}
	clock = clock.Add(time.Second)
	if n := passed(cfg, 30); n != 20 {
		t.Errorf("%d calls passed after a second, want 20", n)
	}
	if got := side.Calls()["ec2:DescribeInternetGateways"]; got != 150 {
		t.Errorf("%d calls counted, want 150", got)
	}
	elsewhere := cfg.Copy()
	elsewhere.Region = w.Accounts[0].Regions[1].Name
	if n := passed(elsewhere, 1); n != 1 {
		t.Error("another Region shares the bucket")
	}
	_, off := serve(t, w, simfleet.AWSOptions{NoThrottle: true})
	if n := passed(off, 150); n != 150 {
		t.Errorf("%d of 150 calls passed without throttling", n)
	}
}

func TestUnsignedRequestsAreRefused(t *testing.T) {
	w := generate(t, simfleet.Options{})
	_, cfg := serve(t, w, simfleet.AWSOptions{})
	resp, err := http.Post(*cfg.BaseEndpoint, "application/x-www-form-urlencoded", strings.NewReader("Action=DescribeInstances&Version=2016-11-15"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("status %d, want 403", resp.StatusCode)
	}
}
