package awsapi_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/limit"
)

// suspended is a context on a machine that stands still for a while: then its
// time is over, and its timer has not noticed.
type suspended struct {
	context.Context
	until atomic.Pointer[time.Time]
}

func (c *suspended) Deadline() (time.Time, bool) { return *c.until.Load(), true }

func (c *suspended) set(left time.Duration) {
	until := time.Now().Round(0).Add(left)
	c.until.Store(&until)
}

// A limit of somebody else's making counts like the end of the time, unless it is lifted.
func TestNothingIsSentPastItsLimit(t *testing.T) {
	for _, tt := range []struct {
		left   time.Duration
		lifted bool
		sent   int
	}{{time.Minute, false, 1}, {-time.Second, false, 0}, {-time.Second, true, 1}} {
		const revoke = "ec2:RevokeSecurityGroupIngress"
		s := &script{answers: map[string]http.HandlerFunc{
			"sts:GetCallerIdentity": xmlAnswer(callerIsOps),
			revoke: func(w http.ResponseWriter, r *http.Request) {
				ec2Error(400, "InvalidGroup.NotFound", "no")(w, r)
			},
		}}
		changer := awsapi.NewChanger(serve(t, s, awsapi.Access{}, awsapi.Options{MaxAttempts: 1}))
		ctx := limit.With(t.Context(), func() time.Time { return time.Now().Add(tt.left) })
		if tt.lifted {
			ctx = limit.With(ctx, nil)
		}
		err := changer.Revoke(ctx, fleet.Place{Account: "111122223333", Region: "eu-west-1"}, "sg-1", false, []string{"sgr-1"})
		if n := s.count(revoke); n != tt.sent || err == nil || strings.Contains(err.Error(), "stood still") == (n > 0) {
			t.Errorf("with %s left, lifted %t: %d requests, %v", tt.left, tt.lifted, n, err)
		}
	}
}

// callerIsOps is an answer of GetCallerIdentity.
const callerIsOps = `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>arn:aws:iam::111122223333:user/ops</Arn><UserId>U</UserId><Account>111122223333</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`

// The first try is refused, and before the second the machine stands still.
func TestNothingIsSentOnceItsTimeIsOver(t *testing.T) {
	const revoke = "ec2:RevokeSecurityGroupIngress"
	for _, tt := range []struct {
		left time.Duration // after the first try
		sent int
		want string
	}{{5 * time.Second, 3, "RequestLimitExceeded"}, {-time.Second, 1, "stood still"}} {
		ctx := &suspended{Context: t.Context()}
		ctx.set(5 * time.Second) // less than the call's own bound
		s := &script{answers: map[string]http.HandlerFunc{
			"sts:GetCallerIdentity": xmlAnswer(callerIsOps),
			revoke: func(w http.ResponseWriter, r *http.Request) {
				ctx.set(tt.left)
				ec2Error(503, "RequestLimitExceeded", "Request limit exceeded.")(w, r)
			},
		}}
		changer := awsapi.NewChanger(serve(t, s, awsapi.Access{}, awsapi.Options{MaxAttempts: 3}))
		err := changer.Revoke(ctx, fleet.Place{Account: "111122223333", Region: "eu-west-1"}, "sg-1", false, []string{"sgr-1"})
		if n := s.count(revoke); n != tt.sent || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("with %s left: %d requests, %v", tt.left, n, err)
		}
	}
}
