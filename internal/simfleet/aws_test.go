package simfleet_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/simfleet"
)

// noon is the time of the worlds in the tests.
var noon = time.Date(2026, 10, 1, 12, 34, 56, 0, time.UTC)

func generate(t testing.TB, o simfleet.Options) *simfleet.World {
	t.Helper()
	if o.Now == nil {
		o.Now = func() time.Time { return noon }
	}
	w, err := simfleet.Generate(o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// serve starts the AWS side and gives it with a client configuration for the
// world's first account and Region.
func serve(t testing.TB, w *simfleet.World, o simfleet.AWSOptions) (*simfleet.AWS, aws.Config) {
	t.Helper()
	side := simfleet.ServeAWS(w, o)
	server := httptest.NewServer(side)
	t.Cleanup(server.Close)
	return side, aws.Config{
		Region: w.Accounts[0].Regions[0].Name, BaseEndpoint: aws.String(server.URL),
		Credentials: credentials.NewStaticCredentialsProvider(simfleet.AccessKey(w.Accounts[0].ID), "secret", ""),
		Retryer:     func() aws.Retryer { return aws.NopRetryer{} },
		HTTPClient:  doFunc(ownBody),
	}
}

type doFunc func(*http.Request) (*http.Response, error)

func (f doFunc) Do(r *http.Request) (*http.Response, error) { return f(r) }

// ownBody sends a request with a body of its own. smithy-go 1.28 closes the
// request's body when the answer's header is there; net/http may still be
// checking that body for its end, gets an error and closes the connection
// under the answer. Loopback is fast enough for that.
func ownBody(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		return http.DefaultClient.Do(r)
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(b))
	return http.DefaultClient.Do(r)
}

func TestInstancesPageByPage(t *testing.T) {
	w := generate(t, simfleet.Options{Instances: 200, Seed: 3})
	rg := w.Accounts[0].Regions[0]
	_, cfg := serve(t, w, simfleet.AWSOptions{})
	var got []ec2types.Instance
	pages := 0
	p := ec2.NewDescribeInstancesPaginator(ec2.NewFromConfig(cfg), &ec2.DescribeInstancesInput{MaxResults: aws.Int32(37)})
	for p.HasMorePages() {
		out, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		pages++
		for _, r := range out.Reservations {
			got = append(got, r.Instances...)
		}
	}
	if want := (len(rg.Instances) + 36) / 37; pages != want {
		t.Errorf("%d pages, want %d", pages, want)
	}
	if len(got) != len(rg.Instances) {
		t.Fatalf("%d instances, want %d", len(got), len(rg.Instances))
	}
	for i, x := range got {
		if diff := cmp.Diff(essence(rg.Instances[i].Host), essenceOf(x)); diff != "" {
			t.Errorf("instance %d (-world +client):\n%s", i, diff)
		}
	}
}

// instanceEssence is what both sides are compared by.
type instanceEssence struct {
	ID, AZ, State, Arch, Platform, Image, Type, VPC, Subnet, Private, Public, DNS, Profile, Key, Tokens, ENI string
	Launch                                                                                                   time.Time
	Groups                                                                                                   []string
	Tags                                                                                                     map[string]string
	HopLimit                                                                                                 int32
}

func essence(h fleet.Host) instanceEssence {
	e := instanceEssence{h.ID, h.AZ, h.State, h.Architecture, h.Platform, h.ImageID, h.InstanceType, h.VPC, h.Subnet, h.PrivateIP.String(), "", h.PrivateDNS,
		h.ProfileARN, h.KeyName, h.Metadata.Tokens, h.Interfaces[0].ID, h.LaunchTime, h.Groups, h.Tags, int32(h.Metadata.HopLimit)}
	if h.PublicIP.IsValid() {
		e.Public = h.PublicIP.String()
	}
	return e
}

func essenceOf(x ec2types.Instance) instanceEssence {
	e := instanceEssence{
		ID: *x.InstanceId, AZ: *x.Placement.AvailabilityZone, State: string(x.State.Name), Arch: string(x.Architecture), Platform: *x.PlatformDetails, Image: *x.ImageId,
		Type: string(x.InstanceType), VPC: *x.VpcId, Subnet: *x.SubnetId, Private: *x.PrivateIpAddress, Public: aws.ToString(x.PublicIpAddress), DNS: *x.PrivateDnsName,
		Key: aws.ToString(x.KeyName), Tokens: string(x.MetadataOptions.HttpTokens), Launch: *x.LaunchTime, HopLimit: *x.MetadataOptions.HttpPutResponseHopLimit,
		ENI: *x.NetworkInterfaces[0].NetworkInterfaceId, Tags: map[string]string{},
	}
	if x.IamInstanceProfile != nil {
		e.Profile = *x.IamInstanceProfile.Arn
	}
	for _, g := range x.SecurityGroups {
		e.Groups = append(e.Groups, *g.GroupId)
	}
	for _, tag := range x.Tags {
		e.Tags[*tag.Key] = *tag.Value
	}
	return e
}

func TestInstanceFilters(t *testing.T) {
	w := generate(t, simfleet.Options{Instances: 120})
	rg := w.Accounts[0].Regions[0]
	_, cfg := serve(t, w, simfleet.AWSOptions{})
	first := rg.Instances[0].Host
	for name, c := range map[string]struct {
		filters []ec2types.Filter
		is      func(h fleet.Host) bool
	}{
		"state":     {[]ec2types.Filter{eq("instance-state-name", "stopped")}, func(h fleet.Host) bool { return h.State == "stopped" }},
		"VPC":       {[]ec2types.Filter{eq("vpc-id", first.VPC)}, func(h fleet.Host) bool { return h.VPC == first.VPC }},
		"subnets":   {[]ec2types.Filter{eq("subnet-id", first.Subnet, rg.Subnets[0].ID)}, func(h fleet.Host) bool { return h.Subnet == first.Subnet || h.Subnet == rg.Subnets[0].ID }},
		"tag":       {[]ec2types.Filter{eq("tag:team", "web")}, func(h fleet.Host) bool { return h.Tags["team"] == "web" }},
		"tag key":   {[]ec2types.Filter{eq("tag-key", "aws:autoscaling:*")}, func(h fleet.Host) bool { return h.AutoScalingGroup != "" }},
		"wildcard":  {[]ec2types.Filter{eq("availability-zone", "*b")}, func(h fleet.Host) bool { return strings.HasSuffix(h.AZ, "b") }},
		"two":       {[]ec2types.Filter{eq("availability-zone", "*a"), eq("image-id", first.ImageID)}, func(h fleet.Host) bool { return strings.HasSuffix(h.AZ, "a") && h.ImageID == first.ImageID }},
		"address":   {[]ec2types.Filter{eq("private-ip-address", first.PrivateIP.String())}, func(h fleet.Host) bool { return h.PrivateIP == first.PrivateIP }},
		"ID":        {[]ec2types.Filter{eq("instance-id", first.ID)}, func(h fleet.Host) bool { return h.ID == first.ID }},
		"no such":   {[]ec2types.Filter{eq("tag:team", "nobody")}, func(fleet.Host) bool { return false }},
		"case":      {[]ec2types.Filter{eq("tag:team", "WEB")}, func(fleet.Host) bool { return false }},
		"no filter": {nil, func(fleet.Host) bool { return true }},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := ec2.NewFromConfig(cfg).DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{Filters: c.filters})
			if err != nil {
				t.Fatal(err)
			}
			var got, want []string
			for _, r := range out.Reservations {
				got = append(got, *r.Instances[0].InstanceId)
			}
			for _, in := range rg.Instances {
				if c.is(in.Host) {
					want = append(want, in.Host.ID)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func eq(name string, values ...string) ec2types.Filter {
	return ec2types.Filter{Name: &name, Values: values}
}

// collect runs a paginator of any API to its end.
func collect[O, T any](t *testing.T, next func() (bool, O, error), of func(O) []T) []T {
	t.Helper()
	var all []T
	for range 10_000 {
		more, out, err := next()
		if !more {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, of(out)...)
	}
	t.Fatal("no end of pages")
	return nil
}

type paginator[O, P any] interface {
	HasMorePages() bool
	NextPage(context.Context, ...func(*P)) (O, error)
}

func pages[O, P any](t *testing.T, p paginator[O, P]) func() (bool, O, error) {
	return func() (more bool, out O, err error) {
		if !p.HasMorePages() {
			return false, out, nil
		}
		out, err = p.NextPage(t.Context())
		return true, out, err
	}
}

func TestEverythingInARegionIsListed(t *testing.T) {
	w := generate(t, simfleet.Options{Seed: 5})
	rg := w.Accounts[0].Regions[0]
	_, cfg := serve(t, w, simfleet.AWSOptions{})
	c := ec2.NewFromConfig(cfg)
	five := aws.Int32(5)

	vpcs := collect(t, pages(t, ec2.NewDescribeVpcsPaginator(c, &ec2.DescribeVpcsInput{MaxResults: five})), func(o *ec2.DescribeVpcsOutput) []ec2types.Vpc { return o.Vpcs })
	subnets := collect(t, pages(t, ec2.NewDescribeSubnetsPaginator(c, &ec2.DescribeSubnetsInput{MaxResults: five})), func(o *ec2.DescribeSubnetsOutput) []ec2types.Subnet { return o.Subnets })
	tables := collect(t, pages(t, ec2.NewDescribeRouteTablesPaginator(c, &ec2.DescribeRouteTablesInput{MaxResults: five})), func(o *ec2.DescribeRouteTablesOutput) []ec2types.RouteTable { return o.RouteTables })
	groups := collect(t, pages(t, ec2.NewDescribeSecurityGroupsPaginator(c, &ec2.DescribeSecurityGroupsInput{MaxResults: five})), func(o *ec2.DescribeSecurityGroupsOutput) []ec2types.SecurityGroup { return o.SecurityGroups })
	acls := collect(t, pages(t, ec2.NewDescribeNetworkAclsPaginator(c, &ec2.DescribeNetworkAclsInput{MaxResults: five})), func(o *ec2.DescribeNetworkAclsOutput) []ec2types.NetworkAcl { return o.NetworkAcls })
	endpoints := collect(t, pages(t, ec2.NewDescribeVpcEndpointsPaginator(c, &ec2.DescribeVpcEndpointsInput{MaxResults: aws.Int32(2)})), func(o *ec2.DescribeVpcEndpointsOutput) []ec2types.VpcEndpoint { return o.VpcEndpoints })
	igws := collect(t, pages(t, ec2.NewDescribeInternetGatewaysPaginator(c, &ec2.DescribeInternetGatewaysInput{MaxResults: five})), func(o *ec2.DescribeInternetGatewaysOutput) []ec2types.InternetGateway { return o.InternetGateways })
	nats := collect(t, pages(t, ec2.NewDescribeNatGatewaysPaginator(c, &ec2.DescribeNatGatewaysInput{MaxResults: five})), func(o *ec2.DescribeNatGatewaysOutput) []ec2types.NatGateway { return o.NatGateways })
	lists := collect(t, pages(t, ec2.NewDescribeManagedPrefixListsPaginator(c, &ec2.DescribeManagedPrefixListsInput{MaxResults: aws.Int32(1)})), func(o *ec2.DescribeManagedPrefixListsOutput) []ec2types.ManagedPrefixList { return o.PrefixLists })
	options := collect(t, pages(t, ec2.NewDescribeDhcpOptionsPaginator(c, &ec2.DescribeDhcpOptionsInput{MaxResults: five})), func(o *ec2.DescribeDhcpOptionsOutput) []ec2types.DhcpOptions { return o.DhcpOptions })
	interfaces := collect(t, pages(t, ec2.NewDescribeNetworkInterfacesPaginator(c, &ec2.DescribeNetworkInterfacesInput{MaxResults: five})), func(o *ec2.DescribeNetworkInterfacesOutput) []ec2types.NetworkInterface {
		return o.NetworkInterfaces
	})
	templates := collect(t, pages(t, ec2.NewDescribeLaunchTemplatesPaginator(c, &ec2.DescribeLaunchTemplatesInput{MaxResults: aws.Int32(1)})), func(o *ec2.DescribeLaunchTemplatesOutput) []ec2types.LaunchTemplate { return o.LaunchTemplates })
	scaling := collect(t, pages(t, autoscaling.NewDescribeAutoScalingGroupsPaginator(autoscaling.NewFromConfig(cfg), &autoscaling.DescribeAutoScalingGroupsInput{MaxRecords: aws.Int32(1)})), func(o *autoscaling.DescribeAutoScalingGroupsOutput) []string {
		return mapTo(o.AutoScalingGroups, func(g astype) string { return *g.AutoScalingGroupName })
	})
	configs, err := autoscaling.NewFromConfig(cfg).DescribeLaunchConfigurations(t.Context(), &autoscaling.DescribeLaunchConfigurationsInput{})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := c.DescribeKeyPairs(t.Context(), &ec2.DescribeKeyPairsInput{IncludePublicKey: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{
		"VPCs": len(vpcs), "subnets": len(subnets), "route tables": len(tables), "groups": len(groups), "ACLs": len(acls), "endpoints": len(endpoints), "internet gateways": len(igws),
		"NAT gateways": len(nats), "prefix lists": len(lists), "DHCP options": len(options), "interfaces": len(interfaces), "templates": len(templates), "scaling groups": len(scaling),
		"launch configurations": len(configs.LaunchConfigurations), "key pairs": len(keys.KeyPairs),
	}
	want := map[string]int{
		"VPCs": len(rg.VPCs), "subnets": len(rg.Subnets), "route tables": len(rg.RouteTables), "groups": len(rg.Groups), "ACLs": len(rg.NetworkACLs), "endpoints": len(rg.Endpoints), "internet gateways": len(rg.Gateways),
		"NAT gateways": len(rg.NATGateways), "prefix lists": len(rg.PrefixLists), "DHCP options": len(rg.DHCPOptions), "interfaces": len(rg.ENIs) + len(rg.Instances), "templates": len(rg.Templates), "scaling groups": len(rg.Scaling),
		"launch configurations": len(rg.Configs), "key pairs": len(rg.KeyPairs),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-world +client):\n%s", diff)
	}
	for k, n := range want {
		if n == 0 {
			t.Errorf("the world has no %s: nothing was tested", k)
		}
	}
	for i, k := range keys.KeyPairs {
		if *k.PublicKey != rg.KeyPairs[i].PublicKey {
			t.Errorf("key pair %s has public key %q, want %q", *k.KeyName, *k.PublicKey, rg.KeyPairs[i].PublicKey)
		}
	}
}

func mapTo[S, T any](in []S, f func(S) T) []T {
	var out []T
	for _, x := range in {
		out = append(out, f(x))
	}
	return out
}

func TestRulesAndRoutesKeepTheirShape(t *testing.T) {
	w := generate(t, simfleet.Options{})
	rg := w.Accounts[0].Regions[0]
	_, cfg := serve(t, w, simfleet.AWSOptions{})
	c := ec2.NewFromConfig(cfg)
	groups, err := c.DescribeSecurityGroups(t.Context(), &ec2.DescribeSecurityGroupsInput{})
	if err != nil {
		t.Fatal(err)
	}
	for i, g := range groups.SecurityGroups {
		want := rg.Groups[i]
		if diff := cmp.Diff(sorted(fleet.Rules(want.Ingress, false)), sorted(rulesIn(t, g.IpPermissions, false)), cmp.Comparer(samePrefix)); diff != "" {
			t.Errorf("%s ingress (-world +client):\n%s", want.Name, diff)
		}
		if diff := cmp.Diff(sorted(fleet.Rules(want.Egress, true)), sorted(rulesIn(t, g.IpPermissionsEgress, true)), cmp.Comparer(samePrefix)); diff != "" {
			t.Errorf("%s egress (-world +client):\n%s", want.Name, diff)
		}
	}
	tables, err := c.DescribeRouteTables(t.Context(), &ec2.DescribeRouteTablesInput{})
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range tables.RouteTables {
		var got []fleet.Route
		for _, r := range x.Routes {
			f := fleet.Route{PrefixList: aws.ToString(r.DestinationPrefixListId), Target: aws.ToString(r.GatewayId) + aws.ToString(r.NatGatewayId) + aws.ToString(r.VpcPeeringConnectionId), State: string(r.State)}
			if r.DestinationCidrBlock != nil {
				f.CIDR = netip.MustParsePrefix(*r.DestinationCidrBlock)
			}
			got = append(got, f)
		}
		if diff := cmp.Diff(rg.RouteTables[i].Routes, got, cmp.Comparer(samePrefix)); diff != "" {
			t.Errorf("%s (-world +client):\n%s", *x.RouteTableId, diff)
		}
	}
	for _, v := range rg.VPCs {
		out, err := c.DescribeVpcAttribute(t.Context(), &ec2.DescribeVpcAttributeInput{VpcId: &v.ID, Attribute: ec2types.VpcAttributeNameEnableDnsHostnames})
		if err != nil {
			t.Fatal(err)
		}
		if *out.EnableDnsHostnames.Value != v.DNSHostnames.Value {
			t.Errorf("%s has DNS hostnames %v, want %v", v.ID, *out.EnableDnsHostnames.Value, v.DNSHostnames.Value)
		}
	}
}

func samePrefix(a, b netip.Prefix) bool { return a == b }

func sorted(rules []fleet.Rule) []fleet.Rule {
	slices.SortFunc(rules, func(a, b fleet.Rule) int { return strings.Compare(fmt.Sprintf("%+v", a), fmt.Sprintf("%+v", b)) })
	return rules
}

// rulesIn takes EC2's permissions apart, of which there is one for each
// protocol and port range.
func rulesIn(t *testing.T, in []ec2types.IpPermission, egress bool) []fleet.Rule {
	t.Helper()
	var out []fleet.Rule
	seen := map[string]bool{}
	for _, p := range in {
		base := fleet.Rule{Egress: egress, Protocol: *p.IpProtocol, From: -1, To: -1}
		if p.FromPort != nil {
			base.From, base.To = int(*p.FromPort), int(*p.ToPort)
		}
		if key := fmt.Sprint(base.Protocol, base.From, base.To); seen[key] {
			t.Errorf("%s is shown twice", key)
		} else {
			seen[key] = true
		}
		add := func(description *string, set func(*fleet.Rule)) {
			r := base
			r.Description = aws.ToString(description)
			set(&r)
			out = append(out, r)
		}
		for _, x := range p.IpRanges {
			add(x.Description, func(r *fleet.Rule) { r.CIDR = netip.MustParsePrefix(*x.CidrIp) })
		}
		for _, x := range p.PrefixListIds {
			add(x.Description, func(r *fleet.Rule) { r.PrefixList = *x.PrefixListId })
		}
		for _, x := range p.UserIdGroupPairs {
			add(x.Description, func(r *fleet.Rule) { r.Group = *x.GroupId })
		}
	}
	return out
}

func TestLaunchTemplateVersions(t *testing.T) {
	w := generate(t, simfleet.Options{})
	rg := w.Accounts[0].Regions[0]
	_, cfg := serve(t, w, simfleet.AWSOptions{})
	c := ec2.NewFromConfig(cfg)
	l := rg.Templates[0]
	all := collect(t, pages(t, ec2.NewDescribeLaunchTemplateVersionsPaginator(c, &ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: &l.ID, MaxResults: aws.Int32(1)})), func(o *ec2.DescribeLaunchTemplateVersionsOutput) []ec2types.LaunchTemplateVersion {
		return o.LaunchTemplateVersions
	})
	if len(all) != len(l.Versions) {
		t.Errorf("%d versions, want %d", len(all), len(l.Versions))
	}
	both, err := c.DescribeLaunchTemplateVersions(t.Context(), &ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: &l.ID, Versions: []string{"$Latest", "$Default"}})
	if err != nil {
		t.Fatal(err)
	}
	got := mapTo(both.LaunchTemplateVersions, func(v ec2types.LaunchTemplateVersion) int64 { return *v.VersionNumber })
	if want := []int64{l.Latest, l.Default}; !slices.Equal(got, want) {
		t.Errorf("$Latest and $Default give %v, want %v", got, want)
	}
	latest, want := both.LaunchTemplateVersions[0].LaunchTemplateData, l.Versions[len(l.Versions)-1]
	if *latest.IamInstanceProfile.Arn != want.Profile || !slices.Equal(latest.SecurityGroupIds, want.Groups) || *latest.ImageId != want.ImageID || (latest.UserData != nil) != want.UserData {
		t.Errorf("latest version is %+v, want %+v", latest, want)
	}
	every, err := c.DescribeLaunchTemplateVersions(t.Context(), &ec2.DescribeLaunchTemplateVersionsInput{Versions: []string{"$Latest"}})
	if err != nil || len(every.LaunchTemplateVersions) != len(rg.Templates) {
		t.Errorf("$Latest of all templates: %v, %v; want %d", every, err, len(rg.Templates))
	}
}

func TestConsoleShowsTheHostKey(t *testing.T) {
	w := generate(t, simfleet.Options{})
	_, cfg := serve(t, w, simfleet.AWSOptions{})
	for _, in := range w.Accounts[0].Regions[0].Instances[:5] {
		out, err := ec2.NewFromConfig(cfg).GetConsoleOutput(t.Context(), &ec2.GetConsoleOutputInput{InstanceId: &in.Host.ID})
		if err != nil {
			t.Fatal(err)
		}
		text, err := base64.StdEncoding.DecodeString(aws.ToString(out.Output))
		if err != nil {
			t.Fatal(err)
		}
		hasKey := strings.Contains(string(text), "-----BEGIN SSH HOST KEY KEYS-----\r\nssh-ed25519 AAAA")
		if want := in.OS.Family != "windows" && in.OS.Family != "alpine"; hasKey != want {
			t.Errorf("%s (%s): console shows a host key: %v, want %v", in.Host.ID, in.OS.Family, hasKey, want)
		}
	}
}

func TestIAMDetails(t *testing.T) {
	w := generate(t, simfleet.Options{})
	a := w.Accounts[0]
	_, cfg := serve(t, w, simfleet.AWSOptions{})
	c := iam.NewFromConfig(cfg)
	roles, policies := 0, 0
	p := iam.NewGetAccountAuthorizationDetailsPaginator(c, &iam.GetAccountAuthorizationDetailsInput{MaxItems: aws.Int32(3)})
	for p.HasMorePages() {
		out, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range out.RoleDetailList {
			checkRole(t, a.Roles[roles], x)
			roles++
		}
		for _, x := range out.Policies {
			if got := decoded(t, *x.PolicyVersionList[0].Document); got != a.Policies[policies].Document.Value {
				t.Errorf("%s is %s, want %s", *x.PolicyName, got, a.Policies[policies].Document.Value)
			}
			policies++
		}
	}
	if roles != len(a.Roles) || policies != len(a.Policies) {
		t.Errorf("%d roles and %d policies, want %d and %d", roles, policies, len(a.Roles), len(a.Policies))
	}
	profiles := collect(t, pages(t, iam.NewListInstanceProfilesPaginator(c, &iam.ListInstanceProfilesInput{MaxItems: aws.Int32(2)})), func(o *iam.ListInstanceProfilesOutput) []iamtypes.InstanceProfile { return o.InstanceProfiles })
	if len(profiles) != len(a.Profiles) {
		t.Fatalf("%d profiles, want %d", len(profiles), len(a.Profiles))
	}
	for i, x := range profiles {
		got := ""
		for _, r := range x.Roles {
			got += *r.RoleName
		}
		if *x.Arn != a.Profiles[i].ARN || got != a.Profiles[i].Role {
			t.Errorf("profile %s has role %q, want %s with %q", *x.Arn, got, a.Profiles[i].ARN, a.Profiles[i].Role)
		}
	}
	only, err := c.GetAccountAuthorizationDetails(t.Context(), &iam.GetAccountAuthorizationDetailsInput{Filter: []iamtypes.EntityType{iamtypes.EntityTypeAWSManagedPolicy}})
	if err != nil || len(only.RoleDetailList) != 0 || len(only.Policies) != 4 {
		t.Errorf("AWS's policies alone: %d roles, %d policies, %v; want 0 and 4", len(only.RoleDetailList), len(only.Policies), err)
	}
}

func checkRole(t *testing.T, want *fleet.Role, x iamtypes.RoleDetail) {
	t.Helper()
	got := fleet.Role{Name: *x.RoleName, ID: *x.RoleId, ARN: *x.Arn, Trust: decoded(t, *x.AssumeRolePolicyDocument), Inline: map[string]string{}, Tags: map[string]string{}}
	for _, p := range x.RolePolicyList {
		got.Inline[*p.PolicyName] = decoded(t, *p.PolicyDocument)
	}
	for _, p := range x.AttachedManagedPolicies {
		got.Attached = append(got.Attached, *p.PolicyArn)
	}
	if x.PermissionsBoundary != nil {
		got.Boundary = *x.PermissionsBoundary.PermissionsBoundaryArn
	}
	for _, tag := range x.Tags {
		got.Tags[*tag.Key] = *tag.Value
	}
	empty := cmp.Transformer("empty", func(m map[string]string) []string {
		var out []string
		for k, v := range m {
			out = append(out, k+"="+v)
		}
		slices.Sort(out)
		return out
	})
	if diff := cmp.Diff(*want, got, empty); diff != "" {
		t.Errorf("role %s (-world +client):\n%s", want.Name, diff)
	}
}

func decoded(t *testing.T, document string) string {
	t.Helper()
	s, err := url.QueryUnescape(document)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestIAMByName(t *testing.T) {
	w := generate(t, simfleet.Options{})
	a := w.Accounts[0]
	_, cfg := serve(t, w, simfleet.AWSOptions{})
	c := iam.NewFromConfig(cfg)
	for _, r := range a.Roles {
		got, err := c.GetRole(t.Context(), &iam.GetRoleInput{RoleName: &r.Name})
		if err != nil || *got.Role.Arn != r.ARN {
			t.Fatalf("role %s: %v, %v", r.Name, got, err)
		}
		attached, err := c.ListAttachedRolePolicies(t.Context(), &iam.ListAttachedRolePoliciesInput{RoleName: &r.Name})
		if err != nil || len(attached.AttachedPolicies) != len(r.Attached) {
			t.Errorf("policies attached to %s: %v, %v; want %v", r.Name, attached, err, r.Attached)
		}
		for _, p := range attached.AttachedPolicies {
			policy, err := c.GetPolicy(t.Context(), &iam.GetPolicyInput{PolicyArn: p.PolicyArn})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.GetPolicyVersion(t.Context(), &iam.GetPolicyVersionInput{PolicyArn: p.PolicyArn, VersionId: policy.Policy.DefaultVersionId}); err != nil {
				t.Error(err)
			}
		}
		names, err := c.ListRolePolicies(t.Context(), &iam.ListRolePoliciesInput{RoleName: &r.Name})
		if err != nil || len(names.PolicyNames) != len(r.Inline) {
			t.Errorf("inline policies of %s: %v, %v; want %d", r.Name, names, err, len(r.Inline))
		}
		for _, n := range names.PolicyNames {
			p, err := c.GetRolePolicy(t.Context(), &iam.GetRolePolicyInput{RoleName: &r.Name, PolicyName: &n})
			if err != nil || decoded(t, *p.PolicyDocument) != r.Inline[n] {
				t.Errorf("policy %s of %s: %v, %v", n, r.Name, p, err)
			}
		}
	}
	local, err := c.ListPolicies(t.Context(), &iam.ListPoliciesInput{Scope: iamtypes.PolicyScopeTypeLocal})
	if err != nil || len(local.Policies) != 2 {
		t.Errorf("own policies: %v, %v; want 2", local, err)
	}
	roles, err := c.ListRoles(t.Context(), &iam.ListRolesInput{PathPrefix: aws.String("/service-role/")})
	if err != nil || len(roles.Roles) != 1 {
		t.Errorf("service roles: %v, %v; want 1", roles, err)
	}
}

func TestManagedNodes(t *testing.T) {
	w := generate(t, simfleet.Options{Instances: 150, Seed: 9})
	rg := w.Accounts[0].Regions[0]
	_, cfg := serve(t, w, simfleet.AWSOptions{})
	c := ssm.NewFromConfig(cfg)
	online := map[string]bool{}
	for _, in := range rg.Instances {
		if w.Online(in) {
			online[in.Host.ID] = true
		}
	}
	list := func(in *ssm.DescribeInstanceInformationInput) []ssmtypes.InstanceInformation {
		return collect(t, pages(t, ssm.NewDescribeInstanceInformationPaginator(c, in)), func(o *ssm.DescribeInstanceInformationOutput) []ssmtypes.InstanceInformation {
			return o.InstanceInformationList
		})
	}
	all := list(&ssm.DescribeInstanceInformationInput{MaxResults: aws.Int32(7)})
	hybrid, lost := 0, 0
	for _, n := range all {
		if strings.HasPrefix(*n.InstanceId, "mi-") {
			hybrid++
			continue
		}
		if got := n.PingStatus == ssmtypes.PingStatusOnline; got != online[*n.InstanceId] {
			t.Errorf("%s is %s, want online %v", *n.InstanceId, n.PingStatus, online[*n.InstanceId])
		}
		if n.PingStatus == ssmtypes.PingStatusConnectionLost {
			lost++
		}
		if n.LastPingDateTime == nil || n.LastPingDateTime.After(noon) {
			t.Errorf("%s pinged at %v", *n.InstanceId, n.LastPingDateTime)
		}
		delete(online, *n.InstanceId)
	}
	if len(online) > 0 || hybrid != len(rg.Hybrid) || lost == 0 {
		t.Errorf("%d online nodes were not listed, %d hybrid ones (want %d), %d lost ones (want some)", len(online), hybrid, len(rg.Hybrid), lost)
	}
	byDefault := list(&ssm.DescribeInstanceInformationInput{})
	filtered := list(&ssm.DescribeInstanceInformationInput{Filters: []ssmtypes.InstanceInformationStringFilter{{Key: aws.String("PingStatus"), Values: []string{"ConnectionLost"}}, {Key: aws.String("ResourceType"), Values: []string{"EC2Instance"}}}})
	old := list(&ssm.DescribeInstanceInformationInput{InstanceInformationFilterList: []ssmtypes.InstanceInformationFilter{{Key: "InstanceIds", ValueSet: []string{*all[0].InstanceId}}}})
	if len(byDefault) != len(all) || len(filtered) != lost || len(old) != 1 {
		t.Errorf("default page size gives %d nodes, filter %d, old filter %d; want %d, %d, 1", len(byDefault), len(filtered), len(old), len(all), lost)
	}
	for _, in := range rg.Instances[:40] {
		out, err := c.GetConnectionStatus(t.Context(), &ssm.GetConnectionStatusInput{Target: &in.Host.ID})
		if err != nil {
			t.Fatal(err)
		}
		if got := out.Status == ssmtypes.ConnectionStatusConnected; got != w.Connected(in) {
			t.Errorf("%s is %s, want connected %v", in.Host.ID, out.Status, w.Connected(in))
		}
	}
}

func TestSettingsOfARegion(t *testing.T) {
	w := generate(t, simfleet.Options{})
	_, cfg := serve(t, w, simfleet.AWSOptions{})
	id := "/ssm/managed-instance/default-ec2-instance-management-role"
	for i, want := range []struct {
		setting  string
		document bool
	}{{"$None", true}, {"service-role/AWSSystemsManagerDefaultEC2InstanceManagementRole", false}} {
		cfg.Region = w.Accounts[0].Regions[i].Name
		c := ssm.NewFromConfig(cfg)
		out, err := c.GetServiceSetting(t.Context(), &ssm.GetServiceSettingInput{SettingId: &id})
		if err != nil || *out.ServiceSetting.SettingValue != want.setting {
			t.Errorf("%s: setting is %v, %v; want %s", cfg.Region, out, err, want.setting)
		}
		doc, err := c.GetDocument(t.Context(), &ssm.GetDocumentInput{Name: aws.String("SSM-SessionManagerRunShell")})
		var absent *ssmtypes.InvalidDocument
		if want.document && (err != nil || !strings.Contains(*doc.Content, "idleSessionTimeout")) || !want.document && !errors.As(err, &absent) {
			t.Errorf("%s: document is %v, %v; want it %v", cfg.Region, doc, err, want.document)
		}
	}
}

func TestTheAccessKeySelectsTheAccount(t *testing.T) {
	w := generate(t, simfleet.Options{Accounts: 2})
	_, cfg := serve(t, w, simfleet.AWSOptions{})
	identity := func(cfg aws.Config) string {
		out, err := sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
		if err != nil {
			t.Fatal(err)
		}
		return *out.Account + " " + *out.Arn
	}
	first, second := w.Accounts[0].ID, w.Accounts[1].ID
	if got, want := identity(cfg), first+" arn:aws:iam::"+first+":user/operator"; got != want {
		t.Errorf("first account: %s, want %s", got, want)
	}
	role := "arn:aws:iam::" + second + ":role/audit"
	out, err := sts.NewFromConfig(cfg).AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: &role, RoleSessionName: aws.String("inventory")})
	if err != nil {
		t.Fatal(err)
	}
	assumed := cfg.Copy()
	assumed.Credentials = credentials.NewStaticCredentialsProvider(*out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, *out.Credentials.SessionToken)
	if got, want := identity(assumed), second+" arn:aws:sts::"+second+":assumed-role/audit/inventory"; got != want {
		t.Errorf("assumed: %s, want %s", got, want)
	}
	list, err := ec2.NewFromConfig(assumed).DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{})
	if err != nil || len(list.Reservations) != len(w.Accounts[1].Regions[0].Instances) || *list.Reservations[0].OwnerId != second {
		t.Errorf("second account lists %d instances, %v; want %d", len(list.Reservations), err, len(w.Accounts[1].Regions[0].Instances))
	}
	for _, no := range []string{"arn:aws:iam::" + second + ":role/web", "arn:aws:iam::" + second + ":role/nobody"} {
		_, err := sts.NewFromConfig(cfg).AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: &no, RoleSessionName: aws.String("inventory")})
		if got := codeOf(err); got != "AccessDenied" {
			t.Errorf("assuming %s: %v, want AccessDenied", no, err)
		}
	}
}

func codeOf(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}
