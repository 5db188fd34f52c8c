package awsapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/simfleet"
)

// codeOwner makes by its own names what a step that is left to it asks for.
type codeOwner struct {
	*changed
}

func (o codeOwner) must(err error) {
	o.Helper()
	if err != nil {
		o.Fatal(err)
	}
}

func (o codeOwner) tags() map[string]string { return map[string]string{"managed-by": "terraform"} }

func (o codeOwner) role(name, path, service, policy string) {
	o.Helper()
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"` + service + `.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	err := o.changer.CreateRole(o.Context(), o.at, fleet.RoleState{Name: name, Path: path, Trust: trust, Tags: o.tags()})
	if !errors.Is(err, fleet.ErrExists) {
		o.must(err)
	}
	o.must(o.changer.PutRolePolicy(o.Context(), o.at, name, "written-by-terraform", policy))
}

// make is what the code's next run does about a step.
func (o codeOwner) make(ctx context.Context, s plan.Step) {
	o.Helper()
	const sessions = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ssm:*","ssmmessages:*"],"Resource":"*"}]}`
	switch s.Kind {
	case plan.TimerRole:
		o.role(s.Role.Name, "/", "scheduler", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ec2:Authorize*","Resource":"*"}]}`)
	case plan.ExtendRole:
		o.must(o.changer.PutRolePolicy(ctx, o.at, s.Role.Name, "written-by-terraform", sessions))
	case plan.AttachProfile:
		o.role("corp-agent", "/corp/", "ec2", sessions)
		o.must(o.changer.CreateProfile(ctx, o.at, "corp-profile", "terraform"))
		o.must(o.changer.SetProfileRole(ctx, o.at, "corp-profile", "corp-agent"))
		o.must(o.changer.Associate(ctx, o.at, s.Hosts[0].ID, "corp-profile"))
	case plan.DefaultHostManagement:
		o.role("corp-default", "/service-role/", "ssm", sessions)
		o.must(o.changer.SetDefaultRole(ctx, o.at, "service-role/corp-default"))
	case plan.SessionPreferences:
		content := `{"schemaVersion":"1.0","description":"ours","sessionType":"Standard_Stream","inputs":{"idleSessionTimeout":"30","maxSessionDuration":"60"}}`
		err := o.changer.CreateDocument(ctx, o.at, fleet.PreferencesName, content, "terraform")
		if errors.Is(err, fleet.ErrExists) {
			o.must(o.changer.AddDocumentVersion(ctx, o.at, fleet.PreferencesName, content))
			versions, err := o.changer.DocumentVersions(ctx, o.at, fleet.PreferencesName)
			o.must(err)
			err = o.changer.SetDefaultVersion(ctx, o.at, fleet.PreferencesName, versions[0].Number)
			o.must(err)
			return
		}
		o.must(err)
	case plan.RecoveryGroup:
		o.bastion(ctx, s.Recovery)
	case plan.RecoveryRule:
		source, err := o.changer.FindGroup(ctx, o.at, s.Rules.Rules[0].Group[len(plan.RecoveryName("")):], s.Rules.Rules[0].Group)
		o.must(err)
		o.must(o.changer.Authorize(ctx, o.at, s.Rules.Group, fleet.Rule{Protocol: "tcp", From: 22, To: 22, Group: source.ID, Description: "break glass"}))
	case plan.AllowEgress:
		wide := s.Rules.Rules[0]
		wide.From, wide.To = 8000, 9000
		o.must(o.changer.Authorize(ctx, o.at, s.Rules.Group, wide))
	case plan.CreateEndpoint:
		if tables := s.Endpoint.Tables; len(tables) > 0 {
			o.must(o.changer.CreateEndpoint(ctx, o.at, fleet.VPCEndpoint{VPC: s.Endpoint.VPC, Service: s.Endpoint.Services[0], Type: "Gateway", RouteTables: tables, Tags: o.tags()}, "terraform-gateway"))
			time.Sleep(10 * time.Minute) // until it is available
			return
		}
		group, err := o.changer.CreateGroup(ctx, o.at, fleet.SecurityGroup{VPC: s.Endpoint.VPC, Name: "corp-endpoints", Description: "endpoints", Tags: o.tags()})
		o.must(err)
		for _, p := range []string{"10.0.0.0/9", "10.128.0.0/9"} {
			o.must(o.changer.Authorize(ctx, o.at, group, fleet.Rule{Protocol: "tcp", From: 443, To: 443, CIDR: netip.MustParsePrefix(p)}))
		}
		o.must(o.changer.CreateEndpoint(ctx, o.at, fleet.VPCEndpoint{VPC: s.Endpoint.VPC, Service: s.Endpoint.Services[0], Subnets: s.Endpoint.Subnets, Groups: []string{group}, Tags: o.tags()}, "terraform"))
		time.Sleep(10 * time.Minute) // until it is available
	default:
		o.Fatalf("nobody makes a %s step", s.Kind)
	}
}

// bastion makes a recovery bastion with user data of its own.
func (o codeOwner) bastion(ctx context.Context, c *plan.RecoveryChange) {
	o.Helper()
	group, err := o.changer.CreateGroup(ctx, o.at, fleet.SecurityGroup{VPC: c.VPC, Name: c.Name, Description: "break glass", Tags: o.tags()})
	o.must(err)
	for _, from := range c.From {
		o.must(o.changer.Authorize(ctx, o.at, group, fleet.Rule{Protocol: "tcp", From: 22, To: 22, CIDR: netip.MustParsePrefix(from)}))
	}
	data := "#cloud-config\nusers:\n  - name: glass\n    sudo: false\n    ssh_authorized_keys: ['" + c.PublicKey + "']\n"
	o.must(o.changer.CreateTemplate(ctx, o.at, fleet.BastionTemplate{
		Name: c.Name, Image: c.Image, Type: "t4g.nano", Public: true, Groups: []string{group}, UserData: data, Tokens: "required", Tags: o.tags(),
	}, "terraform"))
	t, err := o.changer.Template(ctx, o.at, c.Name)
	o.must(err)
	o.must(o.changer.CreateScalingGroup(ctx, o.at, fleet.ScalingGroup{
		Name: c.Name, Max: 2, Subnets: c.Subnets[:1], Tags: o.tags(), Template: fleet.LaunchTemplateRef{ID: t.ID, Version: "$Default"},
	}))
}

// What the code's owner makes by its own names is recognised on the simulated
// AWS, and no undo touches it.
func TestStepsOfOthersOverTheWire(t *testing.T) {
	inBubble(t, simfleet.AWSOptions{}, func(c *changed) {
		owner := codeOwner{changed: c}
		made := []plan.Kind{}
		for _, s := range c.steps() {
			switch s.Kind {
			case plan.TimerRole, plan.ExtendRole, plan.AttachProfile, plan.DefaultHostManagement, plan.SessionPreferences, plan.RecoveryGroup, plan.RecoveryRule, plan.AllowEgress, plan.CreateEndpoint:
			default:
				continue
			}
			s.Handed = true
			if r := s.Role; r != nil {
				r.Document = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ec2:AuthorizeSecurityGroupIngress"],"Resource":["*"]}]}`
				if s.Kind == plan.TimerRole {
					r.Trust = plan.TimerTrust(c.at.Account)
				} else {
					s.Hosts = []fleet.HostRef{c.region.Instances[0].Host.Ref()}
					r.Name = "corp-old"
					r.Document = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ssm:UpdateInstanceInformation","ssmmessages:CreateDataChannel"],"Resource":["*"]}]}`
					owner.role(r.Name, "/", "ec2", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}`)
				}
			}
			if s.Kind == plan.AllowEgress {
				s.Rules.Rules[0].Egress = false // everything is let out already
			}
			if s.Profile != nil {
				s.Profile.Policy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ssm:UpdateInstanceInformation"],"Resource":["*"]}]}`
			}
			c.observe(s, fleet.TruthNo)
			owner.make(c.Context(), s)
			image := c.observe(s, fleet.TruthYes).Image
			was := c.dump()
			if err := c.kind(s).Undo(c.Context(), s, image, json.RawMessage(`{"visible":true}`), tokenOf(s)); err != nil && !errors.Is(err, cutover.ErrForeign) {
				c.Errorf("%s: undo: %v", s.Kind, err)
			}
			c.same(s, was)
			made = append(made, s.Kind)
		}
		if len(made) != 10 || !slices.Contains(made, plan.CreateEndpoint) {
			c.Errorf("only %v were tried", made)
		}
	})
}
