package simfleet_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	schedulertypes "github.com/aws/aws-sdk-go-v2/service/scheduler/types"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/simfleet"
)

// timerRole makes the role that schedules assume.
func timerRole(t *testing.T, m movable, statement string) string {
	t.Helper()
	id := iam.NewFromConfig(m.cfg)
	name := aws.String("migrate-timer")
	trust := fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"scheduler.amazonaws.com"},"Action":"sts:AssumeRole",
		"Condition":{"StringEquals":{"aws:SourceAccount":%q},"ArnLike":{"aws:SourceArn":"arn:aws:scheduler:*:%s:schedule-group/default"}}}}`, m.rg.Account.ID, m.rg.Account.ID)
	out, err := id.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: &trust})
	fine(t, err)
	putTimerPolicy(t, m, statement)
	return *out.Role.Arn
}

func putTimerPolicy(t *testing.T, m movable, statement string) {
	t.Helper()
	_, err := iam.NewFromConfig(m.cfg).PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: aws.String("migrate-timer"), PolicyName: aws.String("authorize"), PolicyDocument: aws.String(statements(statement))})
	fine(t, err)
}

const mayAuthorize = `{"Effect":"Allow","Action":"ec2:AuthorizeSecurityGroupIngress","Resource":"arn:aws:ec2:*:*:security-group/*"}`

// timer is a schedule that opens port 22 of a group for an address again.
func timer(name, role, group string, r fleet.Rule, at time.Time) *scheduler.CreateScheduleInput {
	input, _ := json.Marshal(map[string]any{"GroupId": group, "IpPermissions": []any{map[string]any{"IpProtocol": "tcp", "FromPort": r.From, "ToPort": r.To,
		"IpRanges": []any{map[string]string{"CidrIp": r.CIDR.String(), "Description": r.Description}}}}})
	return &scheduler.CreateScheduleInput{Name: &name, ScheduleExpression: aws.String(at.UTC().Format("at(2006-01-02T15:04:05)")), FlexibleTimeWindow: &schedulertypes.FlexibleTimeWindow{Mode: schedulertypes.FlexibleTimeWindowModeOff},
		ActionAfterCompletion: schedulertypes.ActionAfterCompletionDelete, ClientToken: aws.String("token of " + name),
		Target: &schedulertypes.Target{Arn: aws.String("arn:aws:scheduler:::aws-sdk:ec2:authorizeSecurityGroupIngress"), RoleArn: &role, Input: aws.String(string(input))}}
}

// doorOf gives the rules by which the operator gets to port 22, and takes them away.
func doorOf(t *testing.T, m movable) (*simfleet.Instance, *fleet.SecurityGroup, []fleet.Rule) {
	t.Helper()
	in, g := m.sshHost(t)
	var door []fleet.Rule
	for _, r := range fleet.Rules(g.Ingress, false) {
		if r.Admits(22) && r.CIDR.IsValid() && r.CIDR.Contains(simfleet.OperatorAddr) {
			door = append(door, r)
		}
	}
	return in, g, door
}

func closeDoor(t *testing.T, m movable, g *fleet.SecurityGroup, door []fleet.Rule) {
	t.Helper()
	for _, r := range door {
		_, err := ec2.NewFromConfig(m.cfg).RevokeSecurityGroupIngress(t.Context(), &ec2.RevokeSecurityGroupIngressInput{GroupId: &g.ID, IpPermissions: []types.IpPermission{tcp22(r.CIDR.String())}})
		fine(t, err)
	}
}

// TestScheduleOpensThePortAgain arms a timer for each rule, closes the port and
// lets the time pass.
func TestScheduleOpensThePortAgain(t *testing.T) {
	m := movableWorld(t, simfleet.AWSOptions{})
	c := scheduler.NewFromConfig(m.cfg)
	role := timerRole(t, m, mayAuthorize)
	in, g, door := doorOf(t, m)
	before := sorted(fleet.Rules(g.Ingress, false))
	at := m.now.Add(10 * time.Minute)
	for i, r := range door {
		_, err := c.CreateSchedule(t.Context(), timer(fmt.Sprint("migrate-", i), role, g.ID, r, at))
		fine(t, err)
	}
	got, err := c.GetSchedule(t.Context(), &scheduler.GetScheduleInput{Name: aws.String("migrate-0")})
	fine(t, err)
	if want := timer("migrate-0", role, g.ID, door[0], at); *got.ScheduleExpression != *want.ScheduleExpression || *got.Target.Input != *want.Target.Input || got.State != "ENABLED" ||
		got.ActionAfterCompletion != "DELETE" || *got.ScheduleExpressionTimezone != "UTC" || *got.Target.RetryPolicy.MaximumRetryAttempts != 185 || !got.CreationDate.Equal(m.now.Truncate(time.Millisecond)) {
		t.Errorf("the schedule reads %+v", got)
	}
	list, err := c.ListSchedules(t.Context(), &scheduler.ListSchedulesInput{NamePrefix: aws.String("migrate-"), State: schedulertypes.ScheduleStateEnabled})
	fine(t, err)
	if len(list.Schedules) != len(door) {
		t.Errorf("%d schedules are listed, want %d", len(list.Schedules), len(door))
	}
	closeDoor(t, m, g, door)
	m.pass(10*time.Minute - time.Second)
	if m.answers(in) {
		t.Fatal("port 22 answers before the time")
	}
	m.pass(time.Minute + time.Second)
	if !m.answers(in) {
		t.Fatal("port 22 does not answer again")
	}
	if after := sorted(fleet.Rules(g.Ingress, false)); !slices.EqualFunc(before, after, func(a, b fleet.Rule) bool { return a.Same(b) && a.Description == b.Description }) {
		t.Errorf("rules before %+v, after %+v", before, after)
	}
	_, err = c.GetSchedule(t.Context(), &scheduler.GetScheduleInput{Name: aws.String("migrate-0")})
	wantCode(t, "a schedule that is through", err, "ResourceNotFoundException")
}

func TestScheduleThatIsDisarmedDoesNotFire(t *testing.T) {
	m := movableWorld(t, simfleet.AWSOptions{})
	c := scheduler.NewFromConfig(m.cfg)
	role := timerRole(t, m, mayAuthorize)
	in, g, door := doorOf(t, m)
	in1 := timer("one", role, g.ID, door[0], m.now.Add(10*time.Minute))
	for range 2 {
		_, err := c.CreateSchedule(t.Context(), in1) // the same token: once
		fine(t, err)
	}
	other := timer("one", role, g.ID, door[0], m.now.Add(11*time.Minute))
	other.ClientToken = aws.String("another")
	_, err := c.CreateSchedule(t.Context(), other)
	wantCode(t, "the same name", err, "ConflictException")
	_, err = c.CreateSchedule(t.Context(), timer("two", role, g.ID, door[0], m.now.Add(10*time.Minute)))
	fine(t, err)
	_, err = c.UpdateSchedule(t.Context(), &scheduler.UpdateScheduleInput{Name: aws.String("two"), ScheduleExpression: aws.String(m.now.Add(24 * time.Hour).Format("at(2006-01-02T15:04:05)")),
		FlexibleTimeWindow: in1.FlexibleTimeWindow, Target: in1.Target, State: schedulertypes.ScheduleStateDisabled})
	fine(t, err)
	closeDoor(t, m, g, door)
	_, err = c.DeleteSchedule(t.Context(), &scheduler.DeleteScheduleInput{Name: aws.String("one")})
	fine(t, err)
	_, err = c.DeleteSchedule(t.Context(), &scheduler.DeleteScheduleInput{Name: aws.String("one")})
	wantCode(t, "deleting it again", err, "ResourceNotFoundException")
	m.pass(48 * time.Hour)
	if m.answers(in) {
		t.Error("a timer went off that was disarmed")
	}
}

func TestSchedulesThatAreRefused(t *testing.T) {
	m := movableWorld(t, simfleet.AWSOptions{Lag: 5 * time.Second})
	c := scheduler.NewFromConfig(m.cfg)
	role := timerRole(t, m, mayAuthorize)
	_, g, door := doorOf(t, m)
	create := func(edit func(*scheduler.CreateScheduleInput)) error {
		in := timer("migrate-x", role, g.ID, door[0], m.now.Add(time.Hour))
		edit(in)
		_, err := c.CreateSchedule(t.Context(), in)
		return err
	}
	err := create(func(*scheduler.CreateScheduleInput) {})
	wantCode(t, "a role that is too new", err, "ValidationException")
	if err == nil || !strings.Contains(err.Error(), "must allow AWS EventBridge Scheduler to assume the role") {
		t.Errorf("the refusal reads %v", err)
	}
	m.pass(6 * time.Second)
	for what, edit := range map[string]func(*scheduler.CreateScheduleInput){
		"another service's role": func(in *scheduler.CreateScheduleInput) { in.Target.RoleArn = &m.rg.Account.Roles[0].ARN },
		"no expression":          func(in *scheduler.CreateScheduleInput) { in.ScheduleExpression = aws.String("at(tomorrow)") },
		"the past":               func(in *scheduler.CreateScheduleInput) { in.ScheduleExpression = aws.String("at(2020-01-01T00:00:00)") },
		"another target": func(in *scheduler.CreateScheduleInput) {
			in.Target.Arn = aws.String("arn:aws:scheduler:::aws-sdk:ec2:nothing")
		},
		"input in lower case": func(in *scheduler.CreateScheduleInput) { in.Target.Input = aws.String(`{"groupId":"sg-1"}`) },
		"a port as text": func(in *scheduler.CreateScheduleInput) {
			in.Target.Input = aws.String(`{"IpPermissions":[{"FromPort":"22"}]}`)
		},
		"input that is no JSON": func(in *scheduler.CreateScheduleInput) { in.Target.Input = aws.String(`{`) },
		"an odd name":           func(in *scheduler.CreateScheduleInput) { in.Name = aws.String("a b") },
	} {
		wantCode(t, what, create(edit), "ValidationException")
	}
	wantCode(t, "another group", create(func(in *scheduler.CreateScheduleInput) { in.GroupName = aws.String("mine") }), "ResourceNotFoundException")
	fine(t, create(func(*scheduler.CreateScheduleInput) {}))
}

// TestScheduleIsTriedAgain takes the role's permission away and gives it back.
func TestScheduleIsTriedAgain(t *testing.T) {
	m := movableWorld(t, simfleet.AWSOptions{})
	c := scheduler.NewFromConfig(m.cfg)
	role := timerRole(t, m, `{"Effect":"Allow","Action":"ec2:AuthorizeSecurityGroupIngress","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/migrate":"yes"}}}`)
	in, g, door := doorOf(t, m)
	_, err := c.CreateSchedule(t.Context(), timer("one", role, g.ID, door[0], m.now.Add(time.Minute)))
	fine(t, err)
	short := timer("short", role, g.ID, door[0], m.now.Add(time.Minute))
	short.Target.RetryPolicy = &schedulertypes.RetryPolicy{MaximumRetryAttempts: aws.Int32(0), MaximumEventAgeInSeconds: aws.Int32(60)}
	_, err = c.CreateSchedule(t.Context(), short)
	fine(t, err)
	closeDoor(t, m, g, door)
	m.pass(30 * time.Minute)
	if m.answers(in) {
		t.Fatal("the schedule acted without permission")
	}
	_, err = c.GetSchedule(t.Context(), &scheduler.GetScheduleInput{Name: aws.String("short")})
	wantCode(t, "a schedule without retries", err, "ResourceNotFoundException")
	_, err = c.GetSchedule(t.Context(), &scheduler.GetScheduleInput{Name: aws.String("one")})
	fine(t, err)
	_, err = ec2.NewFromConfig(m.cfg).CreateTags(t.Context(), &ec2.CreateTagsInput{Resources: []string{g.ID}, Tags: []types.Tag{{Key: aws.String("migrate"), Value: aws.String("yes")}}})
	fine(t, err)
	m.pass(20 * time.Minute)
	if !m.answers(in) {
		t.Error("the schedule was not tried again")
	}
}

// TestScheduleFiresByItselfInVirtualTime runs a world on synctest's clock, with
// nobody asking it anything.
func TestScheduleFiresByItselfInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := generate(t, simfleet.Options{Healthy: true, Instances: 24, Seed: 4, Now: time.Now})
		var happened []string
		w.Happened = func(what string) { happened = append(happened, what) }
		side := simfleet.ServeAWS(w, simfleet.AWSOptions{NoThrottle: true})
		cfg := aws.Config{Region: w.Accounts[0].Regions[0].Name, BaseEndpoint: aws.String("http://simulated"),
			Credentials: credentials.NewStaticCredentialsProvider(simfleet.AccessKey(w.Accounts[0].ID), "secret", ""), Retryer: func() aws.Retryer { return aws.NopRetryer{} },
			HTTPClient: doFunc(func(r *http.Request) (*http.Response, error) {
				rec := httptest.NewRecorder()
				side.ServeHTTP(rec, r)
				return rec.Result(), nil
			})}
		m := movable{World: w, rg: w.Accounts[0].Regions[0], cfg: cfg}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { w.Run(ctx); close(done) }()
		role := timerRole(t, m, mayAuthorize)
		in, g, door := doorOf(t, m)
		rule := door[0]
		rule.CIDR = netip.PrefixFrom(simfleet.OperatorAddr, 32)
		_, err := scheduler.NewFromConfig(cfg).CreateSchedule(t.Context(), timer("one", role, g.ID, rule, time.Now().Add(time.Hour)))
		fine(t, err)
		closeDoor(t, m, g, door)
		time.Sleep(time.Hour - time.Second)
		synctest.Wait()
		if m.answers(in) {
			t.Error("port 22 answers before the time")
		}
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		if !m.answers(in) {
			t.Error("port 22 does not answer")
		}
		cancel()
		<-done
		if !slices.Equal(happened, []string{"schedule one"}) {
			t.Errorf("happened: %v", happened)
		}
	})
}
