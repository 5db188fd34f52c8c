package simfleet

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// EventBridge Scheduler, as far as one-time schedules go: at(…), universal
// targets that change security groups, retries, deletion after completion.
// Source: EventBridge Scheduler User Guide and API reference.

var schedulerOperations = map[string]operation{
	"GetSchedule":   getSchedule,
	"ListSchedules": listSchedules,
}

var schedulerChanges = map[string]operation{
	"CreateSchedule": createSchedule,
	"UpdateSchedule": updateSchedule,
	"DeleteSchedule": deleteSchedule,
}

// schedulerAction names the operation behind a request, and its schedule.
func schedulerAction(method, path string) (action, name string) {
	name, ok := strings.CutPrefix(path, "/schedules/")
	switch {
	case path == "/schedules" && method == http.MethodGet:
		return "ListSchedules", ""
	case !ok || name == "" || strings.Contains(name, "/"):
		return "", ""
	}
	return map[string]string{
		http.MethodGet: "GetSchedule", http.MethodPost: "CreateSchedule", http.MethodPut: "UpdateSchedule", http.MethodDelete: "DeleteSchedule",
	}[method], name
}

// scheduleGroup is the one schedule group that every account has.
const scheduleGroup = "default"

type retryPolicy struct {
	MaximumEventAgeInSeconds int
	MaximumRetryAttempts     int
}

// defaultRetry is what holds for a schedule that does not say.
var defaultRetry = retryPolicy{MaximumEventAgeInSeconds: 86_400, MaximumRetryAttempts: 185}

type scheduleTarget struct {
	Arn         string
	RoleArn     string
	Input       string       `json:",omitempty"`
	RetryPolicy *retryPolicy `json:",omitempty"`
}

type flexibleWindow struct {
	Mode                   string
	MaximumWindowInMinutes *int `json:",omitempty"`
}

// scheduleSpec is what clients say of a schedule.
type scheduleSpec struct {
	ActionAfterCompletion      string          `json:",omitempty"`
	Description                string          `json:",omitempty"`
	FlexibleTimeWindow         *flexibleWindow `json:",omitempty"`
	GroupName                  string          `json:",omitempty"`
	ScheduleExpression         string
	ScheduleExpressionTimezone string          `json:",omitempty"`
	State                      string          `json:",omitempty"`
	Target                     *scheduleTarget `json:",omitempty"`
}

// schedule is one schedule of a Region.
type schedule struct {
	scheduleSpec
	name              string
	at                time.Time
	created, modified time.Time
	stop              func() // takes the next firing off the agenda; nil: it will not fire
}

func schedulerError(status int, code, format string, args ...any) *apiError {
	return &apiError{status, code, fmt.Sprintf(format, args...)}
}

func badSchedule(format string, args ...any) *apiError {
	return schedulerError(http.StatusBadRequest, "ValidationException", format, args...)
}

func (c *call) schedule() (*schedule, error) {
	if g := cmp.Or(c.form.Get("groupName"), scheduleGroup); g != scheduleGroup {
		return nil, schedulerError(http.StatusNotFound, "ResourceNotFoundException", "Schedule group %s does not exist.", g)
	}
	if s := find(c.region.schedules, func(s *schedule) bool { return s.name == c.name }); s != nil {
		return s, nil
	}
	return nil, schedulerError(http.StatusNotFound, "ResourceNotFoundException", "Schedule %s does not exist.", c.name)
}

func (c *call) scheduleARN(name string) string {
	return "arn:aws:scheduler:" + c.region.Name + ":" + c.account.ID + ":schedule/" + scheduleGroup + "/" + name
}

// scheduleRequest reads and checks what a client says, without its token.
func (c *call) scheduleRequest() (q scheduleSpec, at time.Time, err error) {
	if err := c.decode(&q); err != nil {
		return q, at, err
	}
	q.GroupName, q.State = cmp.Or(q.GroupName, scheduleGroup), cmp.Or(q.State, "ENABLED")
	q.ScheduleExpressionTimezone, q.ActionAfterCompletion = cmp.Or(q.ScheduleExpressionTimezone, "UTC"), cmp.Or(q.ActionAfterCompletion, "NONE")
	switch {
	case len(c.name) > 64 || !madeOf(c.name, "-_."):
		return q, at, badSchedule("1 validation error detected: Value '%s' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[0-9a-zA-Z-_.]+$", c.name)
	case q.GroupName != scheduleGroup:
		return q, at, schedulerError(http.StatusNotFound, "ResourceNotFoundException", "Schedule group %s does not exist.", q.GroupName)
	case q.FlexibleTimeWindow == nil || q.Target == nil:
		return q, at, badSchedule("1 validation error detected: Value null at 'flexibleTimeWindow' or 'target' failed to satisfy constraint: Member must not be null")
	case q.FlexibleTimeWindow.Mode != "OFF":
		return q, at, badSchedule("the simulated Scheduler knows no flexible time windows")
	case q.State != "ENABLED" && q.State != "DISABLED":
		return q, at, badSchedule("1 validation error detected: Value '%s' at 'state' failed to satisfy constraint: Member must satisfy enum value set: [ENABLED, DISABLED]", q.State)
	case q.ActionAfterCompletion != "NONE" && q.ActionAfterCompletion != "DELETE":
		return q, at, badSchedule("1 validation error detected: Value '%s' at 'actionAfterCompletion' failed to satisfy constraint: Member must satisfy enum value set: [NONE, DELETE]", q.ActionAfterCompletion)
	}
	if at, err = scheduleTime(q.ScheduleExpression, q.ScheduleExpressionTimezone); err != nil {
		return q, at, err
	}
	return q, at, c.checkTarget(q.Target)
}

// scheduleTime reads at(yyyy-mm-ddThh:mm:ss).
func scheduleTime(expression, zone string) (time.Time, error) {
	place, err := time.LoadLocation(zone)
	if err != nil {
		return time.Time{}, badSchedule("Invalid schedule expression timezone %s.", zone)
	}
	text, ok := strings.CutPrefix(expression, "at(")
	text, closed := strings.CutSuffix(text, ")")
	at, err := time.ParseInLocation("2006-01-02T15:04:05", text, place)
	if !ok || !closed || err != nil {
		return time.Time{}, badSchedule("Invalid Schedule Expression %s.", expression)
	}
	return at, nil
}

// universalTargets are the operations that schedules can call.
var universalTargets = map[string]struct {
	permission string
	run        operation
}{
	"ec2:authorizeSecurityGroupIngress": {"ec2:AuthorizeSecurityGroupIngress", func(c *call) (any, error) { return authorizeRules(c, false) }},
	"ec2:authorizeSecurityGroupEgress":  {"ec2:AuthorizeSecurityGroupEgress", func(c *call) (any, error) { return authorizeRules(c, true) }},
	"autoscaling:setDesiredCapacity":    {"autoscaling:SetDesiredCapacity", setDesiredCapacity},
}

const universalPrefix = "arn:aws:scheduler:::aws-sdk:"

func (c *call) checkTarget(t *scheduleTarget) error {
	if _, ok := universalTargets[strings.TrimPrefix(t.Arn, universalPrefix)]; !ok || !strings.HasPrefix(t.Arn, universalPrefix) {
		return badSchedule("%s is not a supported service for a target.", t.Arn)
	}
	if _, err := targetForm(t.Input); err != nil {
		return badSchedule("Invalid RequestJson provided. Reason %v", err)
	}
	if r := t.RetryPolicy; r != nil && (r.MaximumRetryAttempts < 0 || r.MaximumRetryAttempts > 185 || r.MaximumEventAgeInSeconds != 0 && (r.MaximumEventAgeInSeconds < 60 || r.MaximumEventAgeInSeconds > 86_400)) {
		return badSchedule("1 validation error detected: Value at 'target.retryPolicy' failed to satisfy constraint")
	}
	if !c.server.settled(c.account).lendsTo(t.RoleArn, c.region.Name) {
		return badSchedule("The execution role you provide must allow AWS EventBridge Scheduler to assume the role.")
	}
	return nil
}

// lendsTo reports whether Scheduler may assume a role of the account. The
// source of its request is the schedule group.
// Source: EventBridge Scheduler User Guide, confused deputy prevention.
func (a *Account) lendsTo(arn, region string) bool {
	for _, r := range a.Roles {
		if r.ARN != arn {
			continue
		}
		q := request{action: "sts:AssumeRole", context: map[string][]string{
			"aws:sourceaccount": {a.ID}, "aws:sourcearn": {"arn:aws:scheduler:" + region + ":" + a.ID + ":schedule-group/" + scheduleGroup},
		}}
		allowed := false
		for _, s := range parsePolicy(r.Trust).Statement {
			if !slices.Contains(s.Principal["Service"], "scheduler.amazonaws.com") || !anyMatches(s.Action, q.action, true) || !q.conditionsHold(s) {
				continue
			}
			if s.Effect == "Deny" {
				return false
			}
			allowed = true
		}
		return allowed
	}
	return false
}

// targetNames are the members of a target's input and what the query protocol
// calls them. Numbers are those members that end in "Port" or "Capacity".
var targetNames = map[string]string{
	"GroupId": "GroupId", "IpPermissions": "IpPermissions", "IpProtocol": "IpProtocol", "FromPort": "FromPort", "ToPort": "ToPort",
	"IpRanges": "IpRanges", "CidrIp": "CidrIp", "Ipv6Ranges": "Ipv6Ranges", "CidrIpv6": "CidrIpv6", "PrefixListIds": "PrefixListIds", "PrefixListId": "PrefixListId",
	"UserIdGroupPairs": "Groups", "UserId": "UserId", "VpcId": "VpcId", "Description": "Description",
	"TagSpecifications": "TagSpecification", "ResourceType": "ResourceType", "Tags": "Tag", "Key": "Key", "Value": "Value",
	"AutoScalingGroupName": "AutoScalingGroupName", "DesiredCapacity": "DesiredCapacity",
}

// targetForm turns a universal target's input into a request of the query
// protocol. Names are those of the API reference, to the letter.
func targetForm(input string) (url.Values, error) {
	var in map[string]any
	d := json.NewDecoder(strings.NewReader(input))
	d.UseNumber()
	if err := d.Decode(&in); err != nil {
		return nil, fmt.Errorf("the input is no JSON object: %w", err)
	}
	form := url.Values{}
	return form, fillForm(form, "", in)
}

func isNumber(name string) bool {
	return strings.HasSuffix(name, "Port") || strings.HasSuffix(name, "Capacity")
}

func fillForm(form url.Values, prefix string, in map[string]any) error {
	for name, value := range in {
		as := targetNames[name]
		if as == "" {
			return fmt.Errorf("The field '%s' is not supported by api", name) //nolint:staticcheck // the service's sentence
		}
		switch v := value.(type) {
		case string:
			if isNumber(name) {
				return fmt.Errorf("the field '%s' is a number", name)
			}
			form.Set(prefix+as, v)
		case json.Number:
			if !isNumber(name) {
				return fmt.Errorf("the field '%s' is no number", name)
			}
			form.Set(prefix+as, v.String())
		case []any:
			for i, item := range v {
				member, ok := item.(map[string]any)
				if !ok {
					return fmt.Errorf("the field '%s' is a list of structures", name)
				}
				if err := fillForm(form, prefix+as+"."+strconv.Itoa(i+1)+".", member); err != nil {
					return err
				}
			}
		default:
			return fmt.Errorf("the field '%s' has a value of the wrong type", name)
		}
	}
	return nil
}

func createSchedule(c *call) (any, error) {
	q, at, err := c.scheduleRequest()
	if err != nil {
		return nil, err
	}
	var token struct{ ClientToken string }
	if err := c.decode(&token); err != nil {
		return nil, err
	}
	text := c.name + " " + string(must(json.Marshal(q)))
	_, made, keep, err := c.once(token.ClientToken, text)
	if err != nil {
		return nil, schedulerError(http.StatusConflict, "ConflictException", "The client token was used for another request.")
	}
	exists := find(c.region.schedules, func(s *schedule) bool { return s.name == c.name }) != nil
	if !made || !exists {
		switch {
		case exists:
			return nil, schedulerError(http.StatusConflict, "ConflictException", "Schedule %s already exists.", c.name)
		case !at.After(c.w.Now()):
			return nil, badSchedule("Invalid Schedule Expression %s. It lies in the past.", q.ScheduleExpression)
		}
		s := &schedule{scheduleSpec: q, name: c.name, at: at, created: c.w.Now(), modified: c.w.Now()}
		c.region.schedules = append(c.region.schedules, s)
		c.w.arm(c.region, s)
		if !made {
			keep(c.name)
		}
	}
	return map[string]string{"ScheduleArn": c.scheduleARN(c.name)}, nil
}

// updateSchedule replaces all that there is to say of a schedule.
func updateSchedule(c *call) (any, error) {
	s, err := c.schedule()
	if err != nil {
		return nil, err
	}
	q, at, err := c.scheduleRequest()
	if err != nil {
		return nil, err
	}
	if !at.After(c.w.Now()) {
		return nil, badSchedule("Invalid Schedule Expression %s. It lies in the past.", q.ScheduleExpression)
	}
	if s.stop != nil {
		s.stop()
	}
	s.scheduleSpec, s.at, s.modified = q, at, c.w.Now()
	c.w.arm(c.region, s)
	return map[string]string{"ScheduleArn": c.scheduleARN(c.name)}, nil
}

func deleteSchedule(c *call) (any, error) {
	s, err := c.schedule()
	if err != nil {
		return nil, err
	}
	c.region.remove(s)
	return struct{}{}, nil
}

func (rg *Region) remove(s *schedule) {
	if s.stop != nil {
		s.stop()
	}
	rg.schedules = slices.DeleteFunc(slices.Clone(rg.schedules), func(x *schedule) bool { return x == s })
}

func getSchedule(c *call) (any, error) {
	s, err := c.schedule()
	if err != nil {
		return nil, err
	}
	q := s.scheduleSpec
	if q.Target.RetryPolicy == nil {
		target := *q.Target
		target.RetryPolicy = &defaultRetry
		q.Target = &target
	}
	return struct {
		scheduleSpec
		Arn                  string
		Name                 string
		CreationDate         seconds
		LastModificationDate seconds
	}{q, c.scheduleARN(s.name), s.name, seconds(s.created), seconds(s.modified)}, nil
}

func listSchedules(c *call) (any, error) {
	prefix, state := c.form.Get("NamePrefix"), c.form.Get("State")
	if g := c.form.Get("ScheduleGroup"); g != "" && g != scheduleGroup {
		return nil, schedulerError(http.StatusNotFound, "ResourceNotFoundException", "Schedule group %s does not exist.", g)
	}
	rows := filter(c.region.schedules, func(s *schedule) bool {
		return strings.HasPrefix(s.name, prefix) && (state == "" || s.State == state)
	})
	slices.SortFunc(rows, func(a, b *schedule) int { return strings.Compare(a.name, b.name) })
	var size *int
	if text := c.form.Get("MaxResults"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, badSchedule("MaxResults is not a number")
		}
		size = &n
	}
	type target struct{ Arn string }
	type summary struct {
		Arn, Name, GroupName, State string
		Target                      target
		CreationDate                seconds
		LastModificationDate        seconds
	}
	rows, next, err := jsonPage(c, rows, size, c.form.Get("NextToken"), 100, "ValidationException", "ValidationException")
	return struct {
		Schedules []summary
		NextToken string `json:",omitempty"`
	}{mapped(rows, func(s *schedule) summary {
		return summary{c.scheduleARN(s.name), s.name, scheduleGroup, s.State, target{s.Target.Arn}, seconds(s.created), seconds(s.modified)}
	}), next}, err
}
