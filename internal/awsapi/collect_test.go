package awsapi_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
)

// Facts are compared without the time at which they were learned.
var untimed = cmp.Options{
	cmpopts.IgnoreFields(fleet.Fact[bool]{}, "At"), cmpopts.IgnoreFields(fleet.Fact[string]{}, "At"),
	cmpopts.IgnoreFields(fleet.Fact[[]netip.Addr]{}, "At"),
	cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}),
}

// inTurn answers the first request with the first answer and so on; the last
// answer repeats.
func inTurn(answers ...http.HandlerFunc) http.HandlerFunc {
	var n atomic.Int32
	return func(w http.ResponseWriter, r *http.Request) {
		answers[min(int(n.Add(1)), len(answers))-1](w, r)
	}
}

func surroundings(t *testing.T, answers map[string]http.HandlerFunc) (fleet.Region, *awsapi.Account) {
	t.Helper()
	answers["sts:GetCallerIdentity"] = xmlAnswer(callerIdentity)
	a := serve(t, &script{answers: answers}, awsapi.Access{Label: "prod"}, awsapi.Options{})
	start := time.Now()
	r := a.Cloud("eu-west-1").Surroundings(t.Context())
	for _, s := range r.Sources()[2:] {
		if s.Source == "" || s.At.Before(start) || s.At.After(time.Now()) || s.Known != (s.Reason == "") {
			t.Errorf("source without a name, time or reason: %+v", s)
		}
	}
	return r, a
}

func subnetPage(next string, ids ...string) http.HandlerFunc {
	var b strings.Builder
	for _, id := range ids {
		fmt.Fprintf(&b, "<item><subnetId>%s</subnetId><vpcId>vpc-1</vpcId><availabilityZone>eu-west-1a</availabilityZone><cidrBlock>10.0.1.0/24</cidrBlock></item>", id)
	}
	return xmlAnswer("<DescribeSubnetsResponse><subnetSet>" + b.String() + "</subnetSet><nextToken>" + next + "</nextToken></DescribeSubnetsResponse>")
}

func subnetIDs(f fleet.Fact[[]fleet.Subnet]) string {
	var ids []string
	for _, s := range f.Value {
		ids = append(ids, s.ID)
	}
	return strings.Join(ids, " ")
}

func TestListingsEndHonestly(t *testing.T) {
	tests := []struct {
		name   string
		answer http.HandlerFunc
		seen   string
		reason string
	}{
		{"pages are joined, sorted and rid of repetitions", inTurn(subnetPage("2", "subnet-c", "subnet-b"), subnetPage("", "subnet-b", "subnet-a")), "subnet-a subnet-b subnet-c", ""},
		{"nothing there", subnetPage(""), "", ""},
		{"throttled once", inTurn(ec2Error(503, "RequestLimitExceeded", "Request limit exceeded."), subnetPage("", "subnet-a")), "subnet-a", ""},
		{"broke off on the second page", inTurn(subnetPage("2", "subnet-a"), ec2Error(403, "UnauthorizedOperation", "You are not authorized to perform this operation.")), "subnet-a",
			"UnauthorizedOperation: You are not authorized to perform this operation."},
		{"the same token again", inTurn(subnetPage("2", "subnet-a"), subnetPage("2", "subnet-b")), "subnet-a subnet-b", "the endpoint gave the same page token twice"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, _ := surroundings(t, map[string]http.HandlerFunc{"ec2:DescribeSubnets": tt.answer})
			f := r.Subnets
			if got := subnetIDs(f); got != tt.seen || f.Reason != tt.reason || f.Known != (tt.reason == "") {
				t.Errorf("saw %q, known %v, reason %q; want %q, %q", got, f.Known, f.Reason, tt.seen, tt.reason)
			}
			if !r.VPCs.Known || r.Account != "111122223333" {
				t.Errorf("a neighbor suffered: %+v", r)
			}
		})
	}
}

func TestStatsCountTriesAndThrottles(t *testing.T) {
	_, a := surroundings(t, map[string]http.HandlerFunc{
		"ec2:DescribeSubnets": inTurn(ec2Error(503, "RequestLimitExceeded", "slow down"), subnetPage("2", "subnet-a"), subnetPage("")),
		"ec2:DescribeVpcs":    ec2Error(403, "UnauthorizedOperation", "no"),
	})
	got := map[string]awsapi.CallStats{}
	for _, c := range a.Stats() {
		if c.Time <= 0 {
			t.Errorf("%s took no time", c.API)
		}
		c.Time = 0
		got[c.API] = c
	}
	want := awsapi.CallStats{API: "ec2:DescribeSubnets", Region: "eu-west-1", Calls: 2, Attempts: 3, Throttled: 1}
	if got[want.API] != want {
		t.Errorf("got %+v, want %+v", got[want.API], want)
	}
	want = awsapi.CallStats{API: "ec2:DescribeVpcs", Region: "eu-west-1", Calls: 1, Attempts: 1, Failed: 1}
	if got[want.API] != want {
		t.Errorf("got %+v, want %+v", got[want.API], want)
	}
}

func TestVPCWhoseAttributesAreDenied(t *testing.T) {
	r, _ := surroundings(t, map[string]http.HandlerFunc{
		"ec2:DescribeVpcs": xmlAnswer(`<DescribeVpcsResponse><vpcSet><item><vpcId>vpc-1</vpcId><cidrBlock>10.0.0.0/16</cidrBlock><dhcpOptionsId>dopt-1</dhcpOptionsId></item></vpcSet></DescribeVpcsResponse>`),
		"ec2:DescribeVpcAttribute": func(w http.ResponseWriter, r *http.Request) {
			if r.FormValue("Attribute") == "enableDnsSupport" {
				sendXML(w, 200, `<DescribeVpcAttributeResponse><vpcId>vpc-1</vpcId><enableDnsSupport><value>true</value></enableDnsSupport></DescribeVpcAttributeResponse>`)
				return
			}
			ec2Error(403, "UnauthorizedOperation", "no")(w, r)
		},
	})
	const source = "ec2:DescribeVpcAttribute"
	want := []fleet.VPC{{
		ID: "vpc-1", CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}, DHCPOptions: "dopt-1",
		DNSSupport:   fleet.Known(true, source, time.Time{}),
		DNSHostnames: fleet.Unknown[bool](source, time.Time{}, "UnauthorizedOperation: no"),
	}}
	if diff := cmp.Diff(want, r.VPCs.Value, untimed); diff != "" || !r.VPCs.Known {
		t.Errorf("known %v, (-want +got):\n%s", r.VPCs.Known, diff)
	}
}

func TestElementsThatCannotBeReadInFullAreLeftOut(t *testing.T) {
	r, _ := surroundings(t, map[string]http.HandlerFunc{
		"ec2:DescribeManagedPrefixLists": xmlAnswer(`<DescribeManagedPrefixListsResponse><prefixListSet>
			<item><prefixListId>pl-1</prefixListId><prefixListName>one</prefixListName></item>
			<item><prefixListId>pl-2</prefixListId><prefixListName>two</prefixListName></item></prefixListSet></DescribeManagedPrefixListsResponse>`),
		"ec2:GetManagedPrefixListEntries": func(w http.ResponseWriter, r *http.Request) {
			if r.FormValue("PrefixListId") == "pl-2" {
				ec2Error(403, "UnauthorizedOperation", "no")(w, r)
				return
			}
			sendXML(w, 200, `<GetManagedPrefixListEntriesResponse><entrySet><item><cidr>10.2.0.0/16</cidr></item><item><cidr>10.1.0.0/16</cidr></item></entrySet></GetManagedPrefixListEntriesResponse>`)
		},
		"ec2:DescribeSecurityGroups": xmlAnswer(`<DescribeSecurityGroupsResponse><securityGroupInfo>
			<item><groupId>sg-1</groupId><groupName>odd</groupName><ipPermissions><item><ipProtocol>tcp</ipProtocol><fromPort>22</fromPort><toPort>22</toPort>
			<ipRanges><item><cidrIp>not a cidr</cidrIp></item></ipRanges></item></ipPermissions></item>
			<item><groupId>sg-2</groupId><groupName>fine</groupName></item></securityGroupInfo></DescribeSecurityGroupsResponse>`),
	})
	wantLists := []fleet.PrefixList{{ID: "pl-1", Name: "one", CIDRs: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("10.2.0.0/16")}}}
	if diff := cmp.Diff(wantLists, r.PrefixLists.Value, untimed); diff != "" || r.PrefixLists.Known {
		t.Errorf("known %v (-want +got):\n%s", r.PrefixLists.Known, diff)
	}
	if want := "entries of pl-2: UnauthorizedOperation: no"; r.PrefixLists.Reason != want {
		t.Errorf("reason %q, want %q", r.PrefixLists.Reason, want)
	}
	if len(r.Groups.Value) != 1 || r.Groups.Value[0].ID != "sg-2" || r.Groups.Known {
		t.Errorf("groups: %+v", r.Groups)
	}
	if want := `sg-1: "not a cidr" is not a CIDR`; r.Groups.Reason != want {
		t.Errorf("reason %q, want %q", r.Groups.Reason, want)
	}
}

const twoTemplates = `<DescribeLaunchTemplatesResponse><launchTemplates>
<item><launchTemplateId>lt-1</launchTemplateId><launchTemplateName>web</launchTemplateName><defaultVersionNumber>1</defaultVersionNumber><latestVersionNumber>2</latestVersionNumber></item>
<item><launchTemplateId>lt-2</launchTemplateId><launchTemplateName>db</launchTemplateName><defaultVersionNumber>1</defaultVersionNumber><latestVersionNumber>1</latestVersionNumber></item>
</launchTemplates></DescribeLaunchTemplatesResponse>`

func versionItem(id string, number int) string {
	return fmt.Sprintf(`<item><launchTemplateId>%s</launchTemplateId><versionNumber>%d</versionNumber><launchTemplateData>
<imageId>ami-%[2]d</imageId><keyName>ops</keyName><userData>c2VjcmV0</userData><iamInstanceProfile><name>web</name></iamInstanceProfile>
<networkInterfaceSet><item><deviceIndex>0</deviceIndex><groupSet><groupId>sg-1</groupId></groupSet></item></networkInterfaceSet>
<metadataOptions><httpEndpoint>enabled</httpEndpoint><httpTokens>required</httpTokens><httpPutResponseHopLimit>2</httpPutResponseHopLimit></metadataOptions>
</launchTemplateData></item>`, id, number)
}

func versionList(items ...string) http.HandlerFunc {
	return xmlAnswer("<DescribeLaunchTemplateVersionsResponse><launchTemplateVersionSet>" + strings.Join(items, "") + "</launchTemplateVersionSet></DescribeLaunchTemplateVersionsResponse>")
}

func TestLaunchTemplateVersions(t *testing.T) {
	version := func(n int64) fleet.TemplateVersion {
		return fleet.TemplateVersion{
			Number: n, ImageID: fmt.Sprintf("ami-%d", n), Profile: "web", KeyName: "ops", Groups: []string{"sg-1"}, UserData: true,
			Metadata: fleet.MetadataOptions{Endpoint: "enabled", Tokens: "required", HopLimit: 2},
		}
	}
	whole := []fleet.LaunchTemplate{
		{ID: "lt-1", Name: "web", Default: 1, Latest: 2, Versions: []fleet.TemplateVersion{version(1), version(2)}},
		{ID: "lt-2", Name: "db", Default: 1, Latest: 1, Versions: []fleet.TemplateVersion{version(1)}},
	}
	bare := []fleet.LaunchTemplate{{ID: "lt-1", Name: "web", Default: 1, Latest: 2}, {ID: "lt-2", Name: "db", Default: 1, Latest: 1}}
	byID := func(w http.ResponseWriter, r *http.Request) {
		switch r.FormValue("LaunchTemplateId") {
		case "lt-1":
			versionList(versionItem("lt-1", 1), versionItem("lt-1", 2))(w, r)
		case "lt-2":
			versionList(versionItem("lt-2", 1), versionItem("lt-2", 1))(w, r)
		default:
			ec2Error(400, "MissingParameter", "The request must contain the parameter LaunchTemplateId")(w, r)
		}
	}
	tests := []struct {
		name     string
		versions http.HandlerFunc
		want     []fleet.LaunchTemplate
		reason   string
	}{
		{"all at once, a version that is default and latest twice", versionList(versionItem("lt-1", 2), versionItem("lt-2", 1), versionItem("lt-1", 1), versionItem("lt-2", 1)), whole, ""},
		{"one by one, for an endpoint that insists", byID, whole, ""},
		{"denied", ec2Error(403, "UnauthorizedOperation", "no"), bare, "versions: UnauthorizedOperation: no"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, _ := surroundings(t, map[string]http.HandlerFunc{"ec2:DescribeLaunchTemplates": xmlAnswer(twoTemplates), "ec2:DescribeLaunchTemplateVersions": tt.versions})
			if diff := cmp.Diff(tt.want, r.Templates.Value, untimed); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if r.Templates.Reason != tt.reason || r.Templates.Known != (tt.reason == "") {
				t.Errorf("known %v, reason %q; want %q", r.Templates.Known, r.Templates.Reason, tt.reason)
			}
		})
	}
}

func TestDefaultHostManagementSetting(t *testing.T) {
	setting := func(value, status string) http.HandlerFunc {
		return jsonAnswer(fmt.Sprintf(`{"ServiceSetting":{"SettingId":"/ssm/managed-instance/default-ec2-instance-management-role","SettingValue":%q,"Status":%q}}`, value, status))
	}
	const role = "service-role/AWSSystemsManagerDefaultEC2InstanceManagementRole"
	tests := []struct {
		name   string
		answer http.HandlerFunc
		known  bool
		value  string
	}{
		{"set", setting(role, "Customized"), true, role},
		{"never set", setting("$None", "Default"), true, ""},
		{"empty", setting("", "Default"), true, ""},
		{"not offered", ssmError(400, "ServiceSettingNotFound", "The specified service setting wasn't found."), true, ""},
		{"denied", ssmError(400, "AccessDeniedException", "no"), false, ""},
		{"nothing in the answer", jsonAnswer(`{}`), false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, _ := surroundings(t, map[string]http.HandlerFunc{"ssm:GetServiceSetting": tt.answer})
			if f := r.DefaultRole; f.Known != tt.known || f.Value != tt.value {
				t.Errorf("got %+v", f)
			}
		})
	}
}

// An instance in the shape that EC2 answers in, with two interfaces out of order.
const oneReservation = `<item><reservationId>r-1</reservationId><ownerId>111122223333</ownerId><instancesSet><item>
<instanceId>%s</instanceId><imageId>ami-1</imageId><instanceState><code>16</code><name>running</name></instanceState>
<privateDnsName>ip-10-0-1-5.eu-west-1.compute.internal</privateDnsName><keyName>ops</keyName><instanceType>m7g.large</instanceType>
<launchTime>2026-03-01T10:00:00.000Z</launchTime><placement><availabilityZone>eu-west-1a</availabilityZone></placement>
<subnetId>subnet-1</subnetId><vpcId>vpc-1</vpcId><privateIpAddress>10.0.1.5</privateIpAddress><ipAddress>198.51.100.7</ipAddress>
<groupSet><item><groupId>sg-1</groupId></item><item><groupId>sg-9</groupId></item></groupSet><architecture>arm64</architecture><platformDetails>Linux/UNIX</platformDetails>
<tagSet><item><key>Name</key><value>web-1</value></item><item><key>aws:autoscaling:groupName</key><value>web</value></item>
<item><key>aws:ec2launchtemplate:id</key><value>lt-1</value></item><item><key>aws:ec2launchtemplate:version</key><value>3</value></item></tagSet>
<iamInstanceProfile><arn>arn:aws:iam::111122223333:instance-profile/web</arn><id>AIPA</id></iamInstanceProfile>
<networkInterfaceSet>
<item><networkInterfaceId>eni-2</networkInterfaceId><subnetId>subnet-2</subnetId><privateIpAddress>10.0.2.5</privateIpAddress><groupSet><item><groupId>sg-9</groupId></item></groupSet><attachment><deviceIndex>1</deviceIndex><networkCardIndex>0</networkCardIndex></attachment></item>
<item><networkInterfaceId>eni-1</networkInterfaceId><subnetId>subnet-1</subnetId><privateIpAddress>10.0.1.5</privateIpAddress><groupSet><item><groupId>sg-1</groupId></item></groupSet><attachment><deviceIndex>0</deviceIndex><networkCardIndex>0</networkCardIndex></attachment><association><publicIp>198.51.100.7</publicIp></association><ipv6AddressesSet><item><ipv6Address>2001:db8::5</ipv6Address></item></ipv6AddressesSet></item>
</networkInterfaceSet>
<metadataOptions><state>applied</state><httpTokens>required</httpTokens><httpPutResponseHopLimit>2</httpPutResponseHopLimit><httpEndpoint>enabled</httpEndpoint></metadataOptions>
</item></instancesSet></item>`

func instancePage(next string, ids ...string) http.HandlerFunc {
	var b strings.Builder
	for _, id := range ids {
		fmt.Fprintf(&b, oneReservation, id)
	}
	return xmlAnswer("<DescribeInstancesResponse><reservationSet>" + b.String() + "</reservationSet><nextToken>" + next + "</nextToken></DescribeInstancesResponse>")
}

func TestInstanceInFull(t *testing.T) {
	a := serve(t, &script{answers: map[string]http.HandlerFunc{"ec2:DescribeInstances": instancePage("", "i-1")}}, awsapi.Access{}, awsapi.Options{})
	var got []fleet.Host
	if err := a.Cloud("eu-west-1").Instances(t.Context(), func(h []fleet.Host) error { got = append(got, h...); return nil }); err != nil {
		t.Fatal(err)
	}
	want := []fleet.Host{{
		ID: "i-1", Account: "111122223333", Region: "eu-west-1", AZ: "eu-west-1a",
		Tags:  map[string]string{"Name": "web-1", "aws:autoscaling:groupName": "web", "aws:ec2launchtemplate:id": "lt-1", "aws:ec2launchtemplate:version": "3"},
		State: "running", Architecture: "arm64", Platform: "Linux/UNIX", ImageID: "ami-1", InstanceType: "m7g.large",
		LaunchTime: time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC), VPC: "vpc-1", Subnet: "subnet-1",
		PrivateIP: netip.MustParseAddr("10.0.1.5"), PublicIP: netip.MustParseAddr("198.51.100.7"), PrivateDNS: "ip-10-0-1-5.eu-west-1.compute.internal",
		Interfaces: []fleet.NetworkInterface{
			{ID: "eni-1", Subnet: "subnet-1", PrivateIP: netip.MustParseAddr("10.0.1.5"), PublicIP: netip.MustParseAddr("198.51.100.7"), IPv6: []netip.Addr{netip.MustParseAddr("2001:db8::5")}, Groups: []string{"sg-1"}},
			{ID: "eni-2", Subnet: "subnet-2", PrivateIP: netip.MustParseAddr("10.0.2.5"), Groups: []string{"sg-9"}, Index: 1},
		},
		Groups: []string{"sg-1"}, ProfileARN: "arn:aws:iam::111122223333:instance-profile/web", AutoScalingGroup: "web",
		LaunchTemplate: fleet.LaunchTemplateRef{ID: "lt-1", Version: "3"},
		Metadata:       fleet.MetadataOptions{Endpoint: "enabled", Tokens: "required", HopLimit: 2}, KeyName: "ops",
	}}
	if diff := cmp.Diff(want, got, untimed); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPagesBeforeAnErrorStayValid(t *testing.T) {
	a := serve(t, &script{answers: map[string]http.HandlerFunc{
		"ec2:DescribeInstances": inTurn(instancePage("2", "i-1", "i-2"), instancePage("3", "i-2", "i-3"), ec2Error(403, "UnauthorizedOperation", "no")),
	}}, awsapi.Access{}, awsapi.Options{})
	var got []string
	err := a.Cloud("eu-west-1").Instances(t.Context(), func(hosts []fleet.Host) error {
		for _, h := range hosts {
			got = append(got, h.ID)
		}
		return nil
	})
	if err == nil || err.Error() != "UnauthorizedOperation: no" {
		t.Errorf("error: %v", err)
	}
	if diff := cmp.Diff([]string{"i-1", "i-2", "i-3"}, got); diff != "" {
		t.Errorf("instances (-want +got):\n%s", diff)
	}
}

func TestConsumersErrorEndsAListingUnchanged(t *testing.T) {
	full := errors.New("disk full")
	s := &script{answers: map[string]http.HandlerFunc{
		"ec2:DescribeInstances":           instancePage("2", "i-1"),
		"ssm:DescribeInstanceInformation": jsonAnswer(`{"InstanceInformationList":[{"InstanceId":"i-1"}],"NextToken":"2"}`),
	}}
	r := serve(t, s, awsapi.Access{}, awsapi.Options{}).Cloud("eu-west-1")
	if err := r.Instances(t.Context(), func([]fleet.Host) error { return full }); !errors.Is(err, full) || err.Error() != "disk full" {
		t.Errorf("Instances: %v", err)
	}
	if err := r.Nodes(t.Context(), func([]fleet.Node) error { return full }); !errors.Is(err, full) || err.Error() != "disk full" {
		t.Errorf("Nodes: %v", err)
	}
	if s.count("ec2:DescribeInstances") != 1 || s.count("ssm:DescribeInstanceInformation") != 1 {
		t.Error("the listing went on")
	}
}

// Hosts, nodes and the Region are joined by the account's ID: it has to be the
// same in all of them also where STS is missing.
func TestOneAccountIDWithoutSTS(t *testing.T) {
	a := serve(t, &script{answers: map[string]http.HandlerFunc{
		"sts:GetCallerIdentity":           queryError(501, "NotImplemented", "no STS here"),
		"ec2:DescribeInstances":           instancePage("", "i-1"),
		"ssm:DescribeInstanceInformation": jsonAnswer(`{"InstanceInformationList":[{"InstanceId":"i-1","PingStatus":"Online","LastPingDateTime":1.7e9,"AgentVersion":"3.3.4851.0","IsLatestVersion":false,"PlatformType":"Linux","ResourceType":"EC2Instance"}]}`),
	}}, awsapi.Access{Label: "prod"}, awsapi.Options{})
	r := a.Cloud("eu-west-1")
	var b fleet.Batch
	if err := r.Instances(t.Context(), func(h []fleet.Host) error { b.Hosts = append(b.Hosts, h...); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := r.Nodes(t.Context(), func(n []fleet.Node) error { b.Nodes = append(b.Nodes, n...); return nil }); err != nil {
		t.Fatal(err)
	}
	region := r.Surroundings(t.Context())
	region.Nodes = fleet.Known(1, "ssm:DescribeInstanceInformation", time.Now())
	b.Regions = []fleet.Region{region}
	hosts := fleet.Join(fleet.SnapshotInfo{}, b).Hosts
	if len(hosts) != 1 || !hosts[0].Node.Known || !hosts[0].Node.Value.Registered || region.Account != "111122223333" {
		t.Errorf("account %q, hosts %+v", region.Account, hosts)
	}
	if id := a.Account(t.Context()).ID; id != "" {
		t.Errorf("the account side made up an ID: %q", id)
	}
}

func TestConnectionStatus(t *testing.T) {
	status := func(s string) http.HandlerFunc { return jsonAnswer(fmt.Sprintf(`{"Target":"i-1","Status":%q}`, s)) }
	for _, tt := range []struct {
		answer       http.HandlerFunc
		want, reason string
	}{
		{status("connected"), "connected", ""},
		{status("notconnected"), "notconnected", ""},
		{status("\u202epossibly"), "", "unexpected status possibly"},
		{jsonAnswer(`{}`), "", "unexpected status"},
		{ssmError(400, "AccessDeniedException", "no"), "", "AccessDeniedException: no"},
	} {
		a := serve(t, &script{answers: map[string]http.HandlerFunc{"ssm:GetConnectionStatus": tt.answer}}, awsapi.Access{}, awsapi.Options{})
		got, err := a.Cloud("eu-west-1").Connection(t.Context(), "i-1")
		if reason := strings.TrimSpace(fmt.Sprint(errText(err))); got != tt.want || reason != tt.reason {
			t.Errorf("got %q, %q; want %q, %q", got, reason, tt.want, tt.reason)
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestVersionThatAScalingGroupPins(t *testing.T) {
	group := func(version string) http.HandlerFunc {
		return xmlAnswer(`<DescribeAutoScalingGroupsResponse><DescribeAutoScalingGroupsResult><AutoScalingGroups><member><AutoScalingGroupName>web</AutoScalingGroupName>
			<MinSize>1</MinSize><MaxSize>3</MaxSize><DesiredCapacity>2</DesiredCapacity><VPCZoneIdentifier>subnet-1, subnet-2</VPCZoneIdentifier>
			<Instances><member><InstanceId>i-2</InstanceId></member><member><InstanceId>i-1</InstanceId></member></Instances>
			<MixedInstancesPolicy><LaunchTemplate><LaunchTemplateSpecification><LaunchTemplateId>lt-1</LaunchTemplateId><Version>` + version + `</Version></LaunchTemplateSpecification></LaunchTemplate></MixedInstancesPolicy>
			</member></AutoScalingGroups></DescribeAutoScalingGroupsResult></DescribeAutoScalingGroupsResponse>`)
	}
	versions := func(w http.ResponseWriter, r *http.Request) {
		switch r.FormValue("LaunchTemplateVersion.1") {
		case "7":
			versionList(versionItem("lt-1", 7))(w, r)
		case "8":
			ec2Error(400, "InvalidLaunchTemplateId.VersionNotFound", "gone")(w, r)
		case "9":
			ec2Error(403, "UnauthorizedOperation", "no")(w, r)
		default:
			versionList(versionItem("lt-1", 1), versionItem("lt-1", 2), versionItem("lt-2", 1))(w, r)
		}
	}
	for _, tt := range []struct {
		pinned string
		want   []int64
		reason string
	}{
		{"7", []int64{1, 2, 7}, ""},
		{"2", []int64{1, 2}, ""},
		{"$Latest", []int64{1, 2}, ""},
		{"8", []int64{1, 2}, ""},
		{"9", []int64{1, 2}, "version 9 of lt-1: UnauthorizedOperation: no"},
	} {
		t.Run(tt.pinned, func(t *testing.T) {
			r, _ := surroundings(t, map[string]http.HandlerFunc{
				"ec2:DescribeLaunchTemplates": xmlAnswer(twoTemplates), "ec2:DescribeLaunchTemplateVersions": versions, "autoscaling:DescribeAutoScalingGroups": group(tt.pinned),
			})
			var got []int64
			for _, v := range r.Templates.Value[0].Versions {
				got = append(got, v.Number)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || r.Templates.Reason != tt.reason || r.Templates.Known != (tt.reason == "") {
				t.Errorf("known %v, reason %q (-want +got):\n%s", r.Templates.Known, r.Templates.Reason, diff)
			}
			want := []fleet.ScalingGroup{{
				Name: "web", Min: 1, Max: 3, Desired: 2, Subnets: []string{"subnet-1", "subnet-2"}, Instances: []string{"i-1", "i-2"},
				Template: fleet.LaunchTemplateRef{ID: "lt-1", Version: tt.pinned},
			}}
			if diff := cmp.Diff(want, r.ScalingGroups.Value, untimed); diff != "" {
				t.Errorf("groups (-want +got):\n%s", diff)
			}
		})
	}
}
