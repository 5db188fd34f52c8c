package awsapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"

	"ssm-migrate/internal/fleet"
)

// scheduleTime is the layout of at() expressions. Source: EventBridge Scheduler
// User Guide, "Schedule types".
const scheduleTime = "2006-01-02T15:04:05"

// authorizeInput is the input of ec2:AuthorizeSecurityGroupIngress as a
// universal target takes it: the API's own names, in JSON. Source: EventBridge
// Scheduler User Guide, "Using universal targets"; EC2 API reference.
type authorizeInput struct {
	GroupID     string            `json:"GroupId"`
	Permissions []inputPermission `json:"IpPermissions"`
	Tags        []inputTagging    `json:"TagSpecifications,omitempty"`
}

type inputPermission struct {
	Protocol    string        `json:"IpProtocol"`
	From        *int          `json:"FromPort,omitempty"`
	To          *int          `json:"ToPort,omitempty"`
	IPv4        []inputSource `json:"IpRanges,omitempty"`
	IPv6        []inputSource `json:"Ipv6Ranges,omitempty"`
	PrefixLists []inputSource `json:"PrefixListIds,omitempty"`
	Groups      []inputSource `json:"UserIdGroupPairs,omitempty"`
}

// inputSource is any of the four sources; each knows one of the first fields.
type inputSource struct {
	CIDR        string `json:"CidrIp,omitempty"`
	CIDR6       string `json:"CidrIpv6,omitempty"`
	PrefixList  string `json:"PrefixListId,omitempty"`
	Group       string `json:"GroupId,omitempty"`
	Account     string `json:"UserId,omitempty"`
	Description string `json:"Description,omitempty"`
}

type inputTagging struct {
	Kind string     `json:"ResourceType"`
	Tags []inputTag `json:"Tags"`
}

type inputTag struct {
	Key   string `json:"Key"`
	Value string `json:"Value"`
}

// capacityInput is the input of autoscaling:SetDesiredCapacity. Source: the same.
type capacityInput struct {
	Group   string `json:"AutoScalingGroupName"`
	Desired int    `json:"DesiredCapacity"`
}

// universal names an operation as a target.
func universal(region, operation string) string {
	return "arn:" + fleet.Partition(region) + ":scheduler:::aws-sdk:" + operation
}

// What schedules may call.
const (
	authorizeIngress = "ec2:authorizeSecurityGroupIngress"
	setCapacity      = "autoscaling:setDesiredCapacity"
)

// scheduleCall gives target, input and description of what a schedule is to do.
func scheduleCall(region string, s fleet.Schedule) (target, input, description string, err error) {
	if s.ScaleIn != "" {
		text, err := json.Marshal(capacityInput{Group: s.ScaleIn})
		return universal(region, setCapacity), string(text), "Ends the recovery bastions of " + s.ScaleIn, err
	}
	input, err = scheduleInput(s.Group, s.Rule)
	return universal(region, authorizeIngress), input, "Opens " + s.Group + " again unless ssm-migrate confirms that it may stay closed", err
}

// scaledIn reads an input that sets a group to zero; empty: it is something else.
func scaledIn(text string) string {
	var in capacityInput
	in.Desired = -1
	if len(text) > maxInput || json.Unmarshal([]byte(text), &in) != nil || in.Desired != 0 {
		return ""
	}
	return in.Group
}

func scheduleInput(group string, r fleet.Rule) (string, error) {
	p := inputPermission{Protocol: r.Protocol}
	if r.Protocol != "-1" {
		p.From, p.To = &r.From, &r.To
	}
	switch {
	case r.Group != "":
		p.Groups = []inputSource{{Group: r.Group, Account: r.GroupAccount, Description: r.Description}}
	case r.PrefixList != "":
		p.PrefixLists = []inputSource{{PrefixList: r.PrefixList, Description: r.Description}}
	case r.CIDR.Addr().Is4():
		p.IPv4 = []inputSource{{CIDR: r.CIDR.String(), Description: r.Description}}
	default:
		p.IPv6 = []inputSource{{CIDR6: r.CIDR.String(), Description: r.Description}}
	}
	in := authorizeInput{GroupID: group, Permissions: []inputPermission{p}}
	if list := tagList(r.Tags); len(list) > 0 {
		t := inputTagging{Kind: "security-group-rule"}
		for _, tag := range list {
			t.Tags = append(t.Tags, inputTag{Key: *tag.Key, Value: *tag.Value})
		}
		in.Tags = []inputTagging{t}
	}
	text, err := json.Marshal(in)
	return string(text), err
}

// maxInput is far above what one rule takes.
const maxInput = 64 << 10

// scheduleRule reads an input that authorizes exactly one rule.
func scheduleRule(text string) (group string, r fleet.Rule, err error) {
	var in authorizeInput
	if len(text) > maxInput {
		return "", r, fmt.Errorf("%d bytes are too many", len(text))
	}
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return "", r, err
	}
	if len(in.Permissions) != 1 {
		return "", r, fmt.Errorf("%d permissions", len(in.Permissions))
	}
	p := in.Permissions[0]
	all := append(append(append(append([]inputSource{}, p.IPv4...), p.IPv6...), p.PrefixLists...), p.Groups...)
	if len(all) != 1 {
		return "", r, fmt.Errorf("%d sources", len(all))
	}
	r = fleet.Rule{Protocol: p.Protocol, From: -1, To: -1, PrefixList: all[0].PrefixList, Group: all[0].Group, GroupAccount: all[0].Account, Description: all[0].Description}
	if p.From != nil && p.To != nil {
		r.From, r.To = *p.From, *p.To
	}
	if cidr := all[0].CIDR + all[0].CIDR6; cidr != "" {
		if r.CIDR, err = netip.ParsePrefix(cidr); err != nil {
			return "", fleet.Rule{}, err
		}
	}
	for _, t := range in.Tags {
		for _, tag := range t.Tags {
			if r.Tags == nil {
				r.Tags = map[string]string{}
			}
			r.Tags[tag.Key] = tag.Value
		}
	}
	return in.GroupID, r, nil
}

// Schedule reads a schedule back.
func (c *Changer) Schedule(ctx context.Context, at fleet.Place, name string) (fleet.Schedule, error) {
	p, err := c.in(ctx, at)
	if err != nil {
		return fleet.Schedule{}, err
	}
	out, err := p.scheduler.GetSchedule(ctx, &scheduler.GetScheduleInput{Name: &name})
	if err != nil {
		return fleet.Schedule{}, p.answer("scheduler:GetSchedule", err)
	}
	s := fleet.Schedule{Name: name, State: string(out.State)}
	zone := aws.ToString(out.ScheduleExpressionTimezone)
	exact := out.FlexibleTimeWindow != nil && out.FlexibleTimeWindow.Mode == types.FlexibleTimeWindowModeOff
	if when, err := time.Parse("at("+scheduleTime+")", aws.ToString(out.ScheduleExpression)); err == nil && exact && (zone == "" || zone == "UTC") {
		s.At = when
	}
	if out.Target != nil {
		s.Target, s.Role = aws.ToString(out.Target.Arn), aws.ToString(out.Target.RoleArn)
		if s.Target == universal(at.Region, setCapacity) {
			s.ScaleIn = scaledIn(aws.ToString(out.Target.Input))
		} else if group, r, err := scheduleRule(aws.ToString(out.Target.Input)); err == nil {
			s.Group, s.Rule = group, r
		}
	}
	return s, nil
}

// CreateSchedule makes a schedule that authorizes a rule, or scales a group in, once.
func (c *Changer) CreateSchedule(ctx context.Context, at fleet.Place, s fleet.Schedule, token string) error {
	p, err := c.in(ctx, at)
	if err != nil {
		return err
	}
	target, input, description, err := scheduleCall(at.Region, s)
	if err != nil {
		return fmt.Errorf("write the schedule's input: %w", err)
	}
	_, err = p.scheduler.CreateSchedule(ctx, &scheduler.CreateScheduleInput{
		Name: &s.Name, ClientToken: &token,
		Description:                &description,
		ScheduleExpression:         aws.String("at(" + s.At.UTC().Format(scheduleTime) + ")"),
		ScheduleExpressionTimezone: aws.String("UTC"),
		FlexibleTimeWindow:         &types.FlexibleTimeWindow{Mode: types.FlexibleTimeWindowModeOff},
		ActionAfterCompletion:      types.ActionAfterCompletionDelete,
		State:                      types.ScheduleStateEnabled,
		Target: &types.Target{
			Arn: &target, RoleArn: &s.Role, Input: &input,
		},
	})
	return p.answer("scheduler:CreateSchedule", err)
}

// DeleteSchedule deletes a schedule.
func (c *Changer) DeleteSchedule(ctx context.Context, at fleet.Place, name string) error {
	p, err := c.in(ctx, at)
	if err != nil {
		return err
	}
	_, err = p.scheduler.DeleteSchedule(ctx, &scheduler.DeleteScheduleInput{Name: &name})
	return p.answer("scheduler:DeleteSchedule", err)
}
