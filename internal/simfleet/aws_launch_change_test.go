package simfleet_test

import (
	"encoding/base64"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/crypto/ssh"

	"ssm-migrate/internal/simfleet"
)

// bastionGroup makes a recovery bastion's security group, key pair, template
// and Auto Scaling group of size 0 in the VPC of an instance with a public address.
func bastionGroup(t *testing.T, m movable, line string) (name string, template string) {
	t.Helper()
	c, as := ec2.NewFromConfig(m.cfg), autoscaling.NewFromConfig(m.cfg)
	like, _ := m.sshHost(t)
	name = "migrate-recovery-" + like.Host.VPC
	key, err := c.ImportKeyPair(t.Context(), &ec2.ImportKeyPairInput{KeyName: &name, PublicKeyMaterial: []byte(line)})
	fine(t, err)
	if aws.ToString(key.KeyFingerprint) == "" {
		t.Error("the key pair has no fingerprint")
	}
	_, err = c.ImportKeyPair(t.Context(), &ec2.ImportKeyPairInput{KeyName: &name, PublicKeyMaterial: []byte(line)})
	wantCode(t, "the same key pair", err, "InvalidKeyPair.Duplicate")
	group, err := c.CreateSecurityGroup(t.Context(), &ec2.CreateSecurityGroupInput{GroupName: &name, Description: aws.String("recovery"), VpcId: &like.Host.VPC})
	fine(t, err)
	_, err = c.AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: group.GroupId, IpPermissions: []types.IpPermission{tcp22(simfleet.OperatorAddr.String() + "/32")}})
	fine(t, err)
	made, err := c.CreateLaunchTemplate(t.Context(), &ec2.CreateLaunchTemplateInput{LaunchTemplateName: &name, ClientToken: aws.String("t"), LaunchTemplateData: &types.RequestLaunchTemplateData{
		ImageId: &like.Host.ImageID, InstanceType: types.InstanceTypeT4gMicro, KeyName: &name,
		MetadataOptions:   &types.LaunchTemplateInstanceMetadataOptionsRequest{HttpTokens: types.LaunchTemplateHttpTokensStateRequired},
		NetworkInterfaces: []types.LaunchTemplateInstanceNetworkInterfaceSpecificationRequest{{DeviceIndex: aws.Int32(0), AssociatePublicIpAddress: aws.Bool(true), Groups: []string{*group.GroupId}}},
		TagSpecifications: []types.LaunchTemplateTagSpecificationRequest{{ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{{Key: aws.String("Name"), Value: &name}}}},
	}})
	fine(t, err)
	template = *made.LaunchTemplate.LaunchTemplateId
	_, err = as.CreateAutoScalingGroup(t.Context(), &autoscaling.CreateAutoScalingGroupInput{AutoScalingGroupName: &name, MinSize: aws.Int32(0), MaxSize: aws.Int32(1), DesiredCapacity: aws.Int32(0),
		VPCZoneIdentifier: &like.Host.Subnet, LaunchTemplate: &astypes.LaunchTemplateSpecification{LaunchTemplateId: &template, Version: aws.String("$Latest")},
		Tags: []astypes.Tag{{Key: aws.String("migrate"), Value: aws.String("yes"), PropagateAtLaunch: aws.Bool(true)}, {Key: aws.String("quiet"), Value: aws.String("yes"), PropagateAtLaunch: aws.Bool(false)}}})
	fine(t, err)
	return name, template
}

func resize(t *testing.T, m movable, name string, n int32) error {
	t.Helper()
	_, err := autoscaling.NewFromConfig(m.cfg).SetDesiredCapacity(t.Context(), &autoscaling.SetDesiredCapacityInput{AutoScalingGroupName: &name, DesiredCapacity: &n})
	return err
}

func group(t *testing.T, m movable, name string) astypes.AutoScalingGroup {
	t.Helper()
	out, err := autoscaling.NewFromConfig(m.cfg).DescribeAutoScalingGroups(t.Context(), &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{name}})
	fine(t, err)
	if len(out.AutoScalingGroups) != 1 {
		return astypes.AutoScalingGroup{}
	}
	return out.AutoScalingGroups[0]
}

// TestBastionComesUpAndLetsItsKeyIn scales a bastion group from 0 to 1, logs
// in with the key pair's key, and goes back.
func TestBastionComesUpAndLetsItsKeyIn(t *testing.T) {
	m := movableWorld(t, simfleet.AWSOptions{})
	h := simfleet.NewHosts(m.World, simfleet.HostOptions{TimeScale: -1})
	t.Cleanup(h.Close)
	c := ec2.NewFromConfig(m.cfg)
	signer, line := signerOf(t, 99)
	name, template := bastionGroup(t, m, line)
	wantCode(t, "above the maximum", resize(t, m, name, 2), "ValidationError")
	fine(t, resize(t, m, name, 1))
	if g := group(t, m, name); len(g.Instances) != 1 || g.Instances[0].LifecycleState != astypes.LifecycleStatePending {
		t.Fatalf("right after the change: %+v", g.Instances)
	}
	m.pass(10 * time.Second)
	g := group(t, m, name)
	if g.Instances[0].LifecycleState != astypes.LifecycleStateInService {
		t.Fatalf("after 10 s: %+v", g.Instances)
	}
	id := *g.Instances[0].InstanceId
	described, err := c.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	fine(t, err)
	x := described.Reservations[0].Instances[0]
	tags := map[string]string{}
	for _, tag := range x.Tags {
		tags[*tag.Key] = *tag.Value
	}
	if x.State.Name != "running" || x.PublicIpAddress == nil || *x.KeyName != name || x.Architecture != "arm64" || tags["Name"] != name || tags["migrate"] != "yes" || tags["quiet"] != "" || tags["aws:ec2launchtemplate:id"] != template {
		t.Errorf("the instance is %+v with tags %v", x, tags)
	}
	addr := netip.AddrPortFrom(netip.MustParseAddr(*x.PublicIpAddress), 22)
	operator := simfleet.Origin{Addr: simfleet.OperatorAddr}
	if _, err := h.Dial(t.Context(), operator, addr); err == nil {
		t.Error("sshd answers before it is up")
	}
	console := func(latest bool) string {
		out, err := c.GetConsoleOutput(t.Context(), &ec2.GetConsoleOutputInput{InstanceId: &id, Latest: &latest})
		fine(t, err)
		text, err := base64.StdEncoding.DecodeString(aws.ToString(out.Output))
		fine(t, err)
		return string(text)
	}
	if console(true) != "" {
		t.Error("the console has text before cloud-init ran")
	}
	m.pass(10 * time.Second)
	_, keys, ok := strings.Cut(console(true), "-----BEGIN SSH HOST KEY KEYS-----\r\n")
	keys, _, closed := strings.Cut(keys, "\r\n-----END SSH HOST KEY KEYS-----")
	if !ok || !closed || console(false) != "" {
		t.Fatalf("the console shows %q", console(true))
	}
	hostKey, _, _, _, err := ssh.ParseAuthorizedKey([]byte(keys))
	fine(t, err)
	conn, err := h.Dial(t.Context(), operator, addr)
	fine(t, err)
	_ = conn.Close()
	in := instanceOf(m, id)
	client, err := login(t, h, in, simfleet.OperatorAddr.String()+":40000", &ssh.ClientConfig{User: in.OS.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.FixedHostKey(hostKey)})
	fine(t, err)
	if out := output(t, client, "sudo -n true && echo yes"); out != "yes\n" {
		t.Errorf("the command printed %q", out)
	}
	m.pass(30 * time.Second)
	if !in.Agent.Running || m.Online(in) {
		t.Errorf("the agent runs: %v; online without a profile: %v", in.Agent.Running, m.Online(in))
	}
	fine(t, resize(t, m, name, 0))
	if g := group(t, m, name); g.Instances[0].LifecycleState != astypes.LifecycleStateTerminating {
		t.Errorf("after scaling in: %+v", g.Instances)
	}
	if _, err := h.Dial(t.Context(), operator, addr); err == nil {
		t.Error("a terminated instance answers")
	}
	m.pass(time.Minute)
	if g := group(t, m, name); len(g.Instances) != 0 {
		t.Errorf("a minute later: %+v", g.Instances)
	}
	dismantle(t, m, name, template)
}

func instanceOf(m movable, id string) *simfleet.Instance {
	i := slices.IndexFunc(m.rg.Instances, func(in *simfleet.Instance) bool { return in.Host.ID == id })
	return m.rg.Instances[i]
}

// dismantle takes the bastion's group and template away.
func dismantle(t *testing.T, m movable, name, template string) {
	t.Helper()
	c, as := ec2.NewFromConfig(m.cfg), autoscaling.NewFromConfig(m.cfg)
	fine(t, resize(t, m, name, 1))
	remove := func(force bool) error {
		_, err := as.DeleteAutoScalingGroup(t.Context(), &autoscaling.DeleteAutoScalingGroupInput{AutoScalingGroupName: &name, ForceDelete: &force})
		return err
	}
	wantCode(t, "deleting a group with an instance", remove(false), "ResourceInUse")
	fine(t, remove(true))
	if g := group(t, m, name); aws.ToString(g.Status) != "Delete in progress" {
		t.Errorf("the group's status is %q", aws.ToString(g.Status))
	}
	m.pass(time.Minute)
	if g := group(t, m, name); g.AutoScalingGroupName != nil {
		t.Error("the group is still there")
	}
	_, err := c.DeleteLaunchTemplate(t.Context(), &ec2.DeleteLaunchTemplateInput{LaunchTemplateId: &template})
	fine(t, err)
	_, err = c.DeleteLaunchTemplate(t.Context(), &ec2.DeleteLaunchTemplateInput{LaunchTemplateId: &template})
	wantCode(t, "deleting the template again", err, "InvalidLaunchTemplateId.NotFound")
	_, err = c.DeleteKeyPair(t.Context(), &ec2.DeleteKeyPairInput{KeyName: &name})
	fine(t, err)
}

func TestLaunchesFailWithoutCapacity(t *testing.T) {
	m := movableWorld(t, simfleet.AWSOptions{})
	_, line := signerOf(t, 99)
	name, _ := bastionGroup(t, m, line)
	m.rg.NoCapacity = true
	fine(t, resize(t, m, name, 1))
	m.pass(3 * time.Minute)
	if g := group(t, m, name); len(g.Instances) != 0 {
		t.Fatalf("launched %+v", g.Instances)
	}
	out, err := autoscaling.NewFromConfig(m.cfg).DescribeScalingActivities(t.Context(), &autoscaling.DescribeScalingActivitiesInput{AutoScalingGroupName: &name})
	fine(t, err)
	if len(out.Activities) < 2 || out.Activities[0].StatusCode != astypes.ScalingActivityStatusCodeFailed || !strings.Contains(*out.Activities[0].StatusMessage, "sufficient") {
		t.Errorf("activities: %+v", out.Activities)
	}
	m.rg.NoCapacity = false
	m.pass(2 * time.Minute)
	m.pass(10 * time.Second)
	if g := group(t, m, name); len(g.Instances) != 1 || g.Instances[0].LifecycleState != astypes.LifecycleStateInService {
		t.Errorf("with capacity again: %+v", g.Instances)
	}
}

// TestReplacedInstanceComesFromTheTemplate replaces members of generated groups.
func TestReplacedInstanceComesFromTheTemplate(t *testing.T) {
	now := noon
	w := generate(t, simfleet.Options{Instances: 60, Seed: 11, Now: func() time.Time { return now }})
	replaced := 0
	for _, rg := range w.Accounts[0].Regions {
		for _, g := range slices.Clone(rg.Scaling) {
			old := rg.Instances[slices.IndexFunc(rg.Instances, func(in *simfleet.Instance) bool { return in.Host.ID == g.Instances[0] })]
			count := len(rg.Instances)
			if err := w.Replace(old); err != nil {
				t.Fatal(err)
			}
			now = now.Add(time.Minute)
			w.Advance()
			in := rg.Instances[len(rg.Instances)-1]
			if len(rg.Instances) != count+1 || old.Host.State != "terminated" || in.Host.State != "running" || in.Down || len(g.Instances) != g.Desired || slices.Contains(g.Instances, old.Host.ID) {
				t.Errorf("%s: the old one is %s, the new one %s (down %v), members %v", g.Name, old.Host.State, in.Host.State, in.Down, g.Instances)
			}
			if in.Host.VPC != old.Host.VPC || in.Host.KeyName != old.Host.KeyName || in.Host.AutoScalingGroup != g.Name || !slices.Equal(in.Host.Groups, old.Host.Groups) || in.Role != old.Role || in.OS.Family == "" {
				t.Errorf("%s: the new one is %+v", g.Name, in.Host)
			}
			wantKeys := 0
			if in.Host.KeyName != "" {
				wantKeys = 1
			}
			if u := user(in, in.OS.User); len(u.Keys) != wantKeys {
				t.Errorf("%s: %s has keys %v", g.Name, u.Name, u.Keys)
			}
			replaced++
		}
	}
	if replaced == 0 {
		t.Fatal("no group")
	}
	single := w.Accounts[0].Regions[0].Instances[slices.IndexFunc(w.Accounts[0].Regions[0].Instances, func(in *simfleet.Instance) bool { return in.Host.AutoScalingGroup == "" })]
	if err := w.Replace(single); err == nil {
		t.Error("an instance alone was replaced")
	}
}

// TestTemplateVersionsBuildOnOneAnother makes a version from another.
func TestTemplateVersionsBuildOnOneAnother(t *testing.T) {
	m := movableWorld(t, simfleet.AWSOptions{})
	_, line := signerOf(t, 99)
	_, template := bastionGroup(t, m, line)
	c := ec2.NewFromConfig(m.cfg)
	next, err := c.CreateLaunchTemplateVersion(t.Context(), &ec2.CreateLaunchTemplateVersionInput{LaunchTemplateId: &template, SourceVersion: aws.String("1"), VersionDescription: aws.String("larger"),
		LaunchTemplateData: &types.RequestLaunchTemplateData{InstanceType: types.InstanceTypeT3Small}})
	fine(t, err)
	if *next.LaunchTemplateVersion.VersionNumber != 2 || *next.LaunchTemplateVersion.DefaultVersion {
		t.Errorf("made %+v", next.LaunchTemplateVersion)
	}
	_, err = c.ModifyLaunchTemplate(t.Context(), &ec2.ModifyLaunchTemplateInput{LaunchTemplateId: &template, DefaultVersion: aws.String("2")})
	fine(t, err)
	out, err := c.DescribeLaunchTemplateVersions(t.Context(), &ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: &template, Versions: []string{"$Default"}})
	fine(t, err)
	v := out.LaunchTemplateVersions[0]
	if d := v.LaunchTemplateData; *v.VersionNumber != 2 || d.InstanceType != types.InstanceTypeT3Small || len(d.NetworkInterfaces) != 1 || len(d.NetworkInterfaces[0].Groups) != 1 ||
		!*d.NetworkInterfaces[0].AssociatePublicIpAddress || d.MetadataOptions.HttpTokens != "required" || *d.TagSpecifications[0].Tags[0].Key != "Name" {
		t.Errorf("the default version is %+v", v)
	}
}

// TestPowerFollowsTheCalls stops, starts, reboots and terminates an instance.
func TestPowerFollowsTheCalls(t *testing.T) {
	m := movableWorld(t, simfleet.AWSOptions{})
	h := simfleet.NewHosts(m.World, simfleet.HostOptions{TimeScale: -1})
	t.Cleanup(h.Close)
	c := ec2.NewFromConfig(m.cfg)
	var in *simfleet.Instance
	for _, x := range m.rg.Instances {
		if x.Host.AutoScalingGroup == "" && x.Host.PublicIP.IsValid() && m.Online(x) {
			in = x
		}
	}
	if in == nil {
		t.Fatal("no instance alone")
	}
	ids, public := []string{in.Host.ID}, in.Host.PublicIP
	state := func(want string, online bool) {
		t.Helper()
		if in.Host.State != want || m.Online(in) != online {
			t.Errorf("it is %s, want %s; online %v (%s), want %v", in.Host.State, want, m.Online(in), m.OfflineReason(in), online)
		}
	}
	_, err := c.StopInstances(t.Context(), &ec2.StopInstancesInput{InstanceIds: ids})
	fine(t, err)
	state("stopping", false)
	m.pass(time.Minute)
	state("stopped", false)
	if in.Host.PublicIP.IsValid() {
		t.Error("a stopped instance keeps its public address")
	}
	_, err = c.RebootInstances(t.Context(), &ec2.RebootInstancesInput{InstanceIds: ids})
	wantCode(t, "rebooting a stopped instance", err, "IncorrectInstanceState")
	_, err = c.StartInstances(t.Context(), &ec2.StartInstancesInput{InstanceIds: ids})
	fine(t, err)
	state("pending", false)
	m.pass(time.Minute)
	state("running", true)
	if !in.Host.PublicIP.IsValid() || in.Host.PublicIP == public {
		t.Errorf("the public address is %s, was %s", in.Host.PublicIP, public)
	}
	_, err = c.RebootInstances(t.Context(), &ec2.RebootInstancesInput{InstanceIds: ids})
	fine(t, err)
	state("running", false)
	m.pass(time.Minute)
	state("running", true)
	_, err = c.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: ids})
	fine(t, err)
	m.pass(time.Minute)
	state("terminated", false)
	m.pass(time.Hour)
	_, err = c.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: ids})
	wantCode(t, "an instance that is forgotten", err, "InvalidInstanceID.NotFound")
}

// TestStoppedMemberIsReplaced stops an instance of a group by hand.
func TestStoppedMemberIsReplaced(t *testing.T) {
	m := movableWorld(t, simfleet.AWSOptions{})
	g := m.rg.Scaling[0]
	id := g.Instances[0]
	_, err := ec2.NewFromConfig(m.cfg).StopInstances(t.Context(), &ec2.StopInstancesInput{InstanceIds: []string{id}})
	fine(t, err)
	m.pass(2 * time.Minute)
	m.pass(time.Minute)
	if slices.Contains(g.Instances, id) || len(g.Instances) != g.Desired {
		t.Errorf("members are %v, want %d without %s", g.Instances, g.Desired, id)
	}
	first := instanceOf(m, g.Instances[0])
	_, err = autoscaling.NewFromConfig(m.cfg).TerminateInstanceInAutoScalingGroup(t.Context(), &autoscaling.TerminateInstanceInAutoScalingGroupInput{InstanceId: &first.Host.ID, ShouldDecrementDesiredCapacity: aws.Bool(false)})
	fine(t, err)
	m.pass(time.Minute)
	if first.Host.State != "terminated" || len(g.Instances) != g.Desired {
		t.Errorf("the member is %s, members are %v", first.Host.State, g.Instances)
	}
}
