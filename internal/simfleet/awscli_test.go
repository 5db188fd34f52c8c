package simfleet_test

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/simfleet"
)

// cli runs Debian's AWS CLI against a simulated AWS.
type cli struct {
	path, url string
	env       []string
}

func newCLI(t *testing.T, w *simfleet.World, region string) cli {
	t.Helper()
	if testing.Short() {
		t.Skip("another program's requests show the race detector nothing that ours do not")
	}
	const path = "/usr/bin/aws" // Debian's; others in PATH may wrap it
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v; install with: apt-get install awscli", err)
	}
	server := httptest.NewServer(simfleet.ServeAWS(w, simfleet.AWSOptions{}))
	t.Cleanup(server.Close)
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "AWS_") || strings.HasPrefix(strings.ToUpper(v), "HTTP_PROXY=")
	})
	none := t.TempDir() + "/none"
	return cli{path: path, url: server.URL, env: append(env,
		"AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=", "AWS_REGION="+region, "AWS_DEFAULT_REGION="+region, "AWS_CONFIG_FILE="+none, "AWS_SHARED_CREDENTIALS_FILE="+none,
		"AWS_ACCESS_KEY_ID="+simfleet.AccessKey(w.Accounts[0].ID), "AWS_SECRET_ACCESS_KEY=secret", "AWS_MAX_ATTEMPTS=1")}
}

// strings runs a command whose --query gives a list of strings, and sorts it.
func (c cli) strings(t *testing.T, args ...string) []string {
	t.Helper()
	stdout, stderr, err := c.run(t, args...)
	if err != nil {
		t.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, stderr)
	}
	var out []string
	if err := json.Unmarshal([]byte(stdout), &out); err != nil {
		t.Fatalf("aws %s: %v\n%.500s", strings.Join(args, " "), err, stdout)
	}
	slices.Sort(out)
	return out
}

func (c cli) run(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), c.path, append([]string{"--endpoint-url", c.url, "--output", "json"}, args...)...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Env = &o, &e, c.env
	err = cmd.Run()
	return o.String(), e.String(), err
}

func TestAWSCLIListsTheWorld(t *testing.T) {
	w := generate(t, simfleet.Options{Instances: 90, Seed: 7})
	a := w.Accounts[0]
	rg := a.Regions[0]
	c := newCLI(t, w, rg.Name)
	sorted := func(in []string) []string { slices.Sort(in); return in }
	var nodes, online []string
	for _, in := range rg.Instances {
		if w.Online(in) {
			online = append(online, in.Host.ID)
		}
	}
	for _, n := range rg.Hybrid {
		nodes = append(nodes, n.ID)
	}
	id := func(in *simfleet.Instance) string { return in.Host.ID }
	for name, check := range map[string]struct {
		args []string
		want []string
	}{
		"instances": {[]string{"ec2", "describe-instances", "--page-size", "7", "--query", "Reservations[].Instances[].InstanceId"}, mapTo(rg.Instances, id)},
		"running": {[]string{"ec2", "describe-instances", "--filters", "Name=instance-state-name,Values=running", "Name=tag:team,Values=web", "--query", "Reservations[].Instances[].InstanceId"},
			mapTo(slices.DeleteFunc(slices.Clone(rg.Instances), func(in *simfleet.Instance) bool {
				return !in.Host.Running() || in.Host.Tags["team"] != "web"
			}), id)},
		"groups":   {[]string{"ec2", "describe-security-groups", "--page-size", "10", "--query", "SecurityGroups[].GroupId"}, mapTo(rg.Groups, func(g *fleet.SecurityGroup) string { return g.ID })},
		"subnets":  {[]string{"ec2", "describe-subnets", "--query", "Subnets[].SubnetId"}, mapTo(rg.Subnets, func(s *fleet.Subnet) string { return s.ID })},
		"roles":    {[]string{"iam", "list-roles", "--page-size", "3", "--query", "Roles[].RoleName"}, mapTo(a.Roles, func(r *fleet.Role) string { return r.Name })},
		"profiles": {[]string{"iam", "list-instance-profiles", "--query", "InstanceProfiles[].InstanceProfileName"}, mapTo(a.Profiles, func(p *fleet.InstanceProfile) string { return p.Name })},
		"details":  {[]string{"iam", "get-account-authorization-details", "--query", "RoleDetailList[].RoleName"}, mapTo(a.Roles, func(r *fleet.Role) string { return r.Name })},
		"online": {[]string{"ssm", "describe-instance-information", "--page-size", "5", "--filters", "Key=PingStatus,Values=Online", "Key=ResourceType,Values=EC2Instance", "--query", "InstanceInformationList[].InstanceId"},
			online},
		"hybrid": {[]string{"ssm", "describe-instance-information", "--filters", "Key=ResourceType,Values=ManagedInstance", "--query", "InstanceInformationList[].InstanceId"}, nodes},
		"scaling": {[]string{"autoscaling", "describe-auto-scaling-groups", "--page-size", "1", "--query", "AutoScalingGroups[].AutoScalingGroupName"},
			mapTo(rg.Scaling, func(g *fleet.ScalingGroup) string { return g.Name })},
		"scaled instances": {[]string{"autoscaling", "describe-auto-scaling-instances", "--page-size", "9", "--query", "AutoScalingInstances[].InstanceId"}, scaled(rg)},
		"account":          {[]string{"sts", "get-caller-identity", "--query", "[Account]"}, []string{a.ID}},
	} {
		t.Run(name, func(t *testing.T) {
			if len(check.want) == 0 {
				t.Fatal("the world has none: nothing would be tested")
			}
			if diff := cmp.Diff(sorted(check.want), c.strings(t, check.args...)); diff != "" {
				t.Errorf("(-world +aws):\n%s", diff)
			}
		})
	}
}

func scaled(rg *simfleet.Region) (ids []string) {
	for _, g := range rg.Scaling {
		ids = append(ids, g.Instances...)
	}
	return ids
}

func TestAWSCLIShowsErrors(t *testing.T) {
	w := generate(t, simfleet.Options{})
	c := newCLI(t, w, w.Accounts[0].Regions[0].Name)
	for want, args := range map[string][]string{
		"InvalidInstanceID.NotFound": {"ec2", "describe-instances", "--instance-ids", "i-00000000000000000"},
		"NoSuchEntity":               {"iam", "get-role", "--role-name", "none"},
		"InvalidDocument":            {"ssm", "get-document", "--name", "none"},
		"InvalidAction":              {"ec2", "describe-snapshots"},
	} {
		if _, stderr, err := c.run(t, args...); err == nil || !strings.Contains(stderr, "("+want+")") {
			t.Errorf("aws %s: %v, %q; want %s", strings.Join(args, " "), err, stderr, want)
		}
	}
}
