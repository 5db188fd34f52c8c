package simfleet

import (
	"errors"
	"hash/fnv"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// schedulePrecision is how late a schedule may fire at most.
// Source: EventBridge Scheduler User Guide, schedule types.
const schedulePrecision = time.Minute

// Waits between two tries of a target.
const firstRetry, lastRetry = time.Minute, 15 * time.Minute

// arm puts a schedule's firing on the agenda. The caller holds w.Mu for writing.
func (w *World) arm(rg *Region, s *schedule) {
	s.stop = nil
	if s.State != "ENABLED" {
		return
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(s.name))
	first := s.at.Add(time.Duration(h.Sum32()) * time.Second % schedulePrecision)
	s.stop = w.at(first, "schedule "+s.name, func() { w.fire(rg, s, first, first, 0) })
}

// fire calls the schedule's target: tries before this one have failed.
func (w *World) fire(rg *Region, s *schedule, first, now time.Time, tries int) {
	s.stop = nil
	if w.invoke(rg, s.Target) {
		retry := defaultRetry
		if p := s.Target.RetryPolicy; p != nil {
			retry.MaximumRetryAttempts = p.MaximumRetryAttempts
			if p.MaximumEventAgeInSeconds != 0 {
				retry.MaximumEventAgeInSeconds = p.MaximumEventAgeInSeconds
			}
		}
		next := now.Add(min(firstRetry<<min(tries, 10), lastRetry))
		if tries < retry.MaximumRetryAttempts && next.Sub(first) <= time.Duration(retry.MaximumEventAgeInSeconds)*time.Second {
			s.stop = w.at(next, "schedule "+s.name+" again", func() { w.fire(rg, s, first, next, tries+1) })
			return
		}
	}
	if s.ActionAfterCompletion == "DELETE" {
		rg.remove(s)
	}
}

// invoke calls a target with the rights of its role. A call that was refused
// for lack of rights is worth another try; one that the target's service
// refused is not.
func (w *World) invoke(rg *Region, t *scheduleTarget) (again bool) {
	target := universalTargets[strings.TrimPrefix(t.Arn, universalPrefix)]
	form, err := targetForm(t.Input)
	if err != nil {
		return false
	}
	a := rg.Account
	role := find(a.Roles, func(r *fleet.Role) bool { return r.ARN == t.RoleArn })
	if role == nil || !a.lendsTo(t.RoleArn, rg.Name) || !a.roleAllows(role, rg.groupRequest(target.permission, form.Get("GroupId"), w.Now())) {
		return true
	}
	_, err = target.run(&call{w: w, account: a, region: rg, service: "ec2", form: form})
	var refused *apiError
	return err != nil && !errors.As(err, &refused)
}

// groupRequest is a request for an action on a security group with what
// policies may ask of it.
func (rg *Region) groupRequest(action, id string, now time.Time) request {
	q := request{
		action: action, resource: "arn:aws:ec2:" + rg.Name + ":" + rg.Account.ID + ":security-group/" + id,
		context: map[string][]string{
			"aws:requestedregion": {rg.Name}, "ec2:region": {rg.Name}, "aws:currenttime": {now.UTC().Format(time.RFC3339)},
			"aws:securetransport": {"true"}, "aws:resourceaccount": {rg.Account.ID},
		},
	}
	if g := find(rg.Groups, func(g *fleet.SecurityGroup) bool { return g.ID == id }); g != nil {
		q.context["ec2:vpc"] = []string{"arn:aws:ec2:" + rg.Name + ":" + rg.Account.ID + ":vpc/" + g.VPC}
		for k, v := range g.Tags {
			q.context["aws:resourcetag/"+strings.ToLower(k)] = []string{v}
			q.context["ec2:resourcetag/"+strings.ToLower(k)] = []string{v}
		}
	}
	return q
}
