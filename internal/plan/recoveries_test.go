package plan_test

import (
	"strings"
	"testing"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// bastion makes the recovery bastion of vpc-1, as a plan does.
func (x *scene) bastion(image, user string) {
	x.region().Templates = known([]fleet.LaunchTemplate{{
		ID: "lt-r", Name: plan.RecoveryName("vpc-1"), Default: 1, Latest: 1, Tags: map[string]string{fleet.TagStep: "migrate-1", fleet.TagUser: user},
		Versions: []fleet.TemplateVersion{{Number: 1, ImageID: image}},
	}})
}

// A recovery bastion that is there already is gone on with: the plan has to know
// who logs in to its image, whichever image the plan would have taken itself.
func TestBastionsKeepTheirImage(t *testing.T) {
	bastion := plan.RecoveryName("vpc-1")
	for _, test := range []struct {
		name        string
		change      func(x *scene, t *fleet.LaunchTemplate)
		image, user string
		refused     string // part of why; empty: it is not
	}{
		{"the plan that made it left the user", func(x *scene, t *fleet.LaunchTemplate) {}, "ami-old", "admin", ""},
		{"the policy names the user", func(x *scene, t *fleet.LaunchTemplate) { x.p.Recovery.User = "core" }, "ami-old", "core", ""},
		{"the policy names this image and its user", func(x *scene, t *fleet.LaunchTemplate) {
			x.p.Recovery.Image, x.p.Recovery.User = "ami-old", "core"
		}, "ami-old", "core", ""},
		{"the policy names another image and its user", func(x *scene, t *fleet.LaunchTemplate) {
			x.p.Recovery.Image, x.p.Recovery.User = "ami-new", "core"
		}, "ami-old", "admin", ""},
		{"others made it, of an image that hosts have", func(x *scene, t *fleet.LaunchTemplate) {
			t.Tags = nil
			x.s.Hosts[1].ImageID, x.probe(1).OS.ID = "ami-old", "ubuntu"
		}, "ami-old", "ubuntu", ""},
		{"others made it, of an image that nobody knows", func(x *scene, t *fleet.LaunchTemplate) { t.Tags = nil }, "", "", "ami-old"},
		{"the tag is no account", func(x *scene, t *fleet.LaunchTemplate) { t.Tags[fleet.TagUser] = "-oProxyCommand=x" }, "", "", "ami-old"},
		{"its group starts from another version", func(x *scene, t *fleet.LaunchTemplate) {
			t.Versions = append(t.Versions, fleet.TemplateVersion{Number: 2, ImageID: "ami-2"})
			x.region().ScalingGroups = known([]fleet.ScalingGroup{{Name: bastion, Template: fleet.LaunchTemplateRef{ID: "lt-r", Version: "2"}}})
		}, "ami-2", "admin", ""},
		{"what it starts from was not read", func(x *scene, t *fleet.LaunchTemplate) { t.Versions = nil }, "", "", "was not read"},
		{"it is another VPC's", func(x *scene, t *fleet.LaunchTemplate) { t.Name = plan.RecoveryName("vpc-2") }, "ami-1", "ec2-user", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			x := newScene(2)
			x.bastion("ami-old", "admin")
			test.change(x, &x.region().Templates.Value[0])
			p := x.make(t)
			if test.refused != "" {
				if r := refusal(t, p, "no-bastion-image"); !strings.Contains(r.Text, test.refused) || r.Do == "" {
					t.Errorf("refused for %q, do %q", r.Text, r.Do)
				}
				return
			}
			for _, k := range []plan.Kind{plan.RecoveryGroup, plan.RecoveryDrill} {
				if c := p.Of(k)[0].Recovery; c.Image != test.image || c.User != test.user {
					t.Errorf("%s: image %s with user %s, want %s with %s", k, c.Image, c.User, test.image, test.user)
				}
			}
		})
	}
}
