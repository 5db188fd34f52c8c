package awsapi_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
)

const sessionDocument = `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{%s}}`

// preferences are what is read when the document names inputs and the services
// behind them answer so. Calls that were made come with them.
func preferences(t *testing.T, inputs string, answers map[string]http.HandlerFunc) (fleet.Fact[fleet.Preferences], *script) {
	t.Helper()
	s := &script{answers: answers}
	if answers["ssm:GetDocument"] == nil {
		answers["ssm:GetDocument"] = jsonAnswer(fmt.Sprintf(`{"Name":"SSM-SessionManagerRunShell","DocumentVersion":"4","Content":%q}`, fmt.Sprintf(sessionDocument, inputs)))
	}
	return serve(t, s, awsapi.Access{}, awsapi.Options{MaxAttempts: 1}).Cloud("eu-west-1").Surroundings(t.Context()).Preferences, s
}

func TestPreferencesThatAreNotThere(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		want   fleet.Fact[fleet.Preferences]
	}{
		// Systems Manager API Reference, GetDocument, Errors.
		{"absent", ssmError(400, "InvalidDocument", "Document with name SSM-SessionManagerRunShell does not exist."), fleet.Known(fleet.Preferences{}, "ssm:GetDocument", time.Time{})},
		{"denied", ssmError(400, "AccessDeniedException", "no"), fleet.Unknown[fleet.Preferences]("ssm:GetDocument", time.Time{}, "AccessDeniedException: no")},
		{"not JSON", jsonAnswer(`{"DocumentVersion":"1","Content":"gibberish"}`),
			fleet.Known(fleet.Preferences{Exists: true, Version: "1", Content: "gibberish"}, "ssm:GetDocument", time.Time{})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, s := preferences(t, "", map[string]http.HandlerFunc{"ssm:GetDocument": tt.answer})
			got.At = time.Time{}
			if diff := cmp.Diff(tt.want, got, untimed); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if n := s.count("s3:GetBucketLocation") + s.count("kms:DescribeKey") + s.count("logs:DescribeLogGroups"); n > 0 {
				t.Errorf("%d calls about what no document names", n)
			}
		})
	}
}

// location is S3's answer to where a bucket is; us-east-1 is the empty place.
func location(region string) http.HandlerFunc {
	return xmlAnswer(`<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` + region + `</LocationConstraint>`)
}

func TestBucketForSessionLogs(t *testing.T) {
	encryption := xmlAnswer(`<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm>
		<KMSMasterKeyID>arn:key</KMSMasterKeyID></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>`)
	none := s3Error(404, "ServerSideEncryptionConfigurationNotFoundError", "none")
	policy := raw(200, "application/json", `{"Statement":[]}`)
	noPolicy := s3Error(404, "NoSuchBucketPolicy", "none")
	denied := s3Error(403, "AccessDenied", "Access Denied")
	moved := func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Authorization"), "/us-west-2/s3/") {
			w.Header().Set("x-amz-bucket-region", "us-west-2")
			s3Error(400, "AuthorizationHeaderMalformed", "the region 'eu-west-1' is wrong; expecting 'us-west-2'")(w, r)
			return
		}
		location("us-west-2")(w, r)
	}
	full := fleet.Bucket{Name: "logs", Exists: true, Region: "us-east-1", Encryption: "aws:kms", Key: "arn:key", Policy: `{"Statement":[]}`}
	there := func(change func(*fleet.Bucket)) fleet.Bucket {
		b := full
		change(&b)
		return b
	}
	for _, tt := range []struct {
		name                         string
		location, encryption, policy http.HandlerFunc
		want                         fleet.Bucket
		source, reason               string
	}{
		{"everything", location(""), encryption, policy, full, "s3:GetBucketLocation", ""},
		// S3 API Reference, GetBucketLocation: EU is eu-west-1.
		{"the old name of eu-west-1", location("EU"), encryption, policy, there(func(b *fleet.Bucket) { b.Region = "eu-west-1" }), "s3:GetBucketLocation", ""},
		{"in another Region", moved, encryption, policy, there(func(b *fleet.Bucket) { b.Region = "us-west-2" }), "s3:GetBucketLocation", ""},
		{"neither encryption nor policy", location(""), none, noPolicy, fleet.Bucket{Name: "logs", Exists: true, Region: "us-east-1"}, "s3:GetBucketLocation", ""},
		{"absent", s3Error(404, "NoSuchBucket", "no"), encryption, policy, fleet.Bucket{Name: "logs"}, "s3:GetBucketLocation", ""},
		{"denied", denied, encryption, policy, fleet.Bucket{Name: "logs"}, "s3:GetBucketLocation", "AccessDenied: Access Denied"},
		{"policy denied", location(""), encryption, denied, there(func(b *fleet.Bucket) { b.Policy = "" }), "s3:GetBucketPolicy", "AccessDenied: Access Denied"},
		{"a login portal", xmlAnswer("<html><body/></html>"), encryption, policy, fleet.Bucket{Name: "logs"}, "s3:GetBucketLocation", "the endpoint answered 200 and not in AWS's protocol"},
		{"a policy of a login portal", location(""), encryption, xmlAnswer("<html><body/></html>"), there(func(b *fleet.Bucket) { b.Policy = "" }), "s3:GetBucketPolicy",
			"the endpoint answered 200 and not in AWS's protocol"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, _ := preferences(t, `"s3BucketName":"logs"`, map[string]http.HandlerFunc{
				"s3:GetBucketLocation": tt.location, "s3:GetBucketEncryption": tt.encryption, "s3:GetBucketPolicy": tt.policy,
			})
			got := p.Value.Bucket
			if diff := cmp.Diff(tt.want, got.Value); diff != "" || got.Known != (tt.reason == "") || got.Reason != tt.reason || got.Source != tt.source {
				t.Errorf("known %v, %s: %q (-want +got):\n%s", got.Known, got.Source, got.Reason, diff)
			}
			if !p.Known || p.Value.Version != "4" || p.Value.Key.Source+p.Value.LogGroup.Source != "" {
				t.Errorf("preferences %+v", p)
			}
		})
	}
}

func TestLogGroupForSessionLogs(t *testing.T) {
	page := func(next string, names ...string) http.HandlerFunc {
		var list []string
		for _, n := range names {
			list = append(list, fmt.Sprintf(`{"logGroupName":%q,"arn":"arn:aws:logs:eu-west-1:1:log-group:%[1]s:*","kmsKeyId":"arn:key"}`, n))
		}
		return jsonAnswer(fmt.Sprintf(`{"logGroups":[%s],"nextToken":%q}`, strings.Join(list, ","), next))
	}
	there := fleet.LogGroup{Name: "/ssm", Exists: true, ARN: "arn:aws:logs:eu-west-1:1:log-group:/ssm", Key: "arn:key"}
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		want   fleet.LogGroup
		reason string
	}{
		{"there", page("", "/ssm", "/ssm/other"), there, ""},
		{"on the second page", inTurn(page("2", "/ssm/a"), page("", "/ssm")), there, ""},
		{"only longer names", page("", "/ssm/other"), fleet.LogGroup{Name: "/ssm"}, ""},
		{"denied", ssmError(400, "AccessDeniedException", "no"), fleet.LogGroup{Name: "/ssm"}, "AccessDeniedException: no"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, _ := preferences(t, `"cloudWatchLogGroupName":"/ssm"`, map[string]http.HandlerFunc{"logs:DescribeLogGroups": tt.answer})
			got := p.Value.LogGroup
			if diff := cmp.Diff(tt.want, got.Value); diff != "" || got.Reason != tt.reason || got.Known != (tt.reason == "") || got.Source != "logs:DescribeLogGroups" {
				t.Errorf("%+v (-want +got):\n%s", got, diff)
			}
		})
	}
}

func TestKeyOfSessions(t *testing.T) {
	key := jsonAnswer(`{"KeyMetadata":{"KeyId":"1","Arn":"arn:aws:kms:eu-west-1:1:key/1","KeyState":"PendingDeletion","KeyManager":"CUSTOMER"}}`)
	there := func(policy fleet.Fact[string]) fleet.KMSKey {
		return fleet.KMSKey{ID: "alias/sessions", ARN: "arn:aws:kms:eu-west-1:1:key/1", Exists: true, State: "PendingDeletion", Manager: "CUSTOMER", Policy: policy}
	}
	denied := ssmError(400, "AccessDeniedException", "no")
	for _, tt := range []struct {
		name        string
		key, policy http.HandlerFunc
		want        fleet.KMSKey
		reason      string
	}{
		{"there", key, jsonAnswer(`{"Policy":"{}"}`), there(fleet.Known("{}", "kms:GetKeyPolicy", time.Time{})), ""},
		{"of another account", key, denied, there(fleet.Unknown[string]("kms:GetKeyPolicy", time.Time{}, "AccessDeniedException: no")), ""},
		{"absent", ssmError(400, "NotFoundException", "Alias arn:aws:kms:eu-west-1:1:alias/sessions is not found."), nil, fleet.KMSKey{ID: "alias/sessions"}, ""},
		{"denied", denied, nil, fleet.KMSKey{ID: "alias/sessions"}, "AccessDeniedException: no"},
		{"an empty answer", jsonAnswer(`{}`), nil, fleet.KMSKey{}, "the answer holds no key"},
		{"a login portal", raw(200, "application/xhtml+xml", "<html/>"), nil, fleet.KMSKey{ID: "alias/sessions"}, "the endpoint answered 200 and not in AWS's protocol"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, _ := preferences(t, `"kmsKeyId":"alias/sessions"`, map[string]http.HandlerFunc{"kms:DescribeKey": tt.key, "kms:GetKeyPolicy": func(w http.ResponseWriter, r *http.Request) {
				tt.policy(w, r)
			}})
			got := p.Value.Key
			if diff := cmp.Diff(tt.want, got.Value, untimed); diff != "" || got.Reason != tt.reason || got.Known != (tt.reason == "") || got.Source != "kms:DescribeKey" {
				t.Errorf("%+v (-want +got):\n%s", got, diff)
			}
		})
	}
}

func TestControlLevels(t *testing.T) {
	organization := jsonAnswer(`{"Organization":{"Id":"o-1","FeatureSet":"ALL","MasterAccountId":"999999999999"}}`)
	full := jsonAnswer(`{"Policies":[{"Id":"p-FullAWSAccess","Arn":"arn:full","Name":"FullAWSAccess"}]}`)
	text := jsonAnswer(`{"Policy":{"Content":"{}"}}`)
	denied := ssmError(400, "AccessDeniedException", "You don't have permissions to access this resource.")
	const refused = "AccessDeniedException: You don't have permissions to access this resource."
	level := func(target string, document fleet.Fact[string]) fleet.ControlLevel {
		return fleet.ControlLevel{Target: target, Policies: []fleet.Policy{{ARN: "arn:full", Name: "FullAWSAccess", Document: document}}}
	}
	levels := func(document fleet.Fact[string]) []fleet.ControlLevel {
		return []fleet.ControlLevel{level("r-1", document), level("ou-a", document), level("ou-b", document), level("111122223333", document)}
	}
	read := fleet.Known("{}", "organizations:DescribePolicy", time.Time{})
	for _, tt := range []struct {
		name     string
		answers  map[string]http.HandlerFunc
		want     []fleet.ControlLevel
		reason   string
		policies int // calls of DescribePolicy
	}{
		{"root, units, account", map[string]http.HandlerFunc{}, levels(read), "", 1},
		// Organizations API Reference, DescribeOrganization, Errors.
		{"in no organization", map[string]http.HandlerFunc{"organizations:DescribeOrganization": ssmError(400, "AWSOrganizationsNotInUseException", "none")}, nil, "", 0},
		// Organizations User Guide, "Service control policies": they do not bind the management account.
		{"the management account", map[string]http.HandlerFunc{"organizations:DescribeOrganization": jsonAnswer(`{"Organization":{"FeatureSet":"ALL","MasterAccountId":"111122223333"}}`)}, nil, "", 0},
		// The same: only organizations with all features have them.
		{"consolidated billing only", map[string]http.HandlerFunc{"organizations:DescribeOrganization": jsonAnswer(`{"Organization":{"FeatureSet":"CONSOLIDATED_BILLING","MasterAccountId":"9"}}`)}, nil, "", 0},
		{"policies switched off", map[string]http.HandlerFunc{"organizations:ListPoliciesForTarget": jsonAnswer(`{"Policies":[]}`)}, nil, "", 0},
		{"denied", map[string]http.HandlerFunc{"organizations:ListParents": denied}, nil, refused, 0},
		{"all denied", map[string]http.HandlerFunc{"organizations:DescribeOrganization": denied}, nil, refused, 0},
		{"denied half-way", map[string]http.HandlerFunc{"organizations:ListPoliciesForTarget": inTurn(full, denied)}, levels(read)[:1], refused, 1},
		{"documents denied", map[string]http.HandlerFunc{"organizations:DescribePolicy": denied}, levels(fleet.Unknown[string]("organizations:DescribePolicy", time.Time{}, refused)), "", 4},
		{"no parent", map[string]http.HandlerFunc{"organizations:ListParents": jsonAnswer(`{"Parents":[]}`)}, nil, "111122223333 has 0 parents", 0},
		{"units without end", map[string]http.HandlerFunc{"organizations:ListParents": jsonAnswer(`{"Parents":[{"Id":"ou-a","Type":"ORGANIZATIONAL_UNIT"}]}`)}, nil, "more than 10 levels of organizational units", 0},
		{"who we are is not known", map[string]http.HandlerFunc{"sts:GetCallerIdentity": queryError(403, "AccessDenied", "no")}, nil, "AccessDenied: no", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			answers := map[string]http.HandlerFunc{
				"sts:GetCallerIdentity": xmlAnswer(callerIdentity), "organizations:DescribeOrganization": organization,
				"organizations:ListPoliciesForTarget": full, "organizations:DescribePolicy": text,
				"organizations:ListParents": inTurn(jsonAnswer(`{"Parents":[{"Id":"ou-b","Type":"ORGANIZATIONAL_UNIT"}]}`),
					jsonAnswer(`{"Parents":[{"Id":"ou-a","Type":"ORGANIZATIONAL_UNIT"}]}`), jsonAnswer(`{"Parents":[{"Id":"r-1","Type":"ROOT"}]}`)),
			}
			for api, answer := range tt.answers {
				answers[api] = answer
			}
			s := &script{answers: answers}
			got := serve(t, s, awsapi.Access{}, awsapi.Options{MaxAttempts: 1}).Account(t.Context()).ControlLevels
			if diff := cmp.Diff(tt.want, got.Value, untimed); diff != "" || got.Reason != tt.reason || got.Known != (tt.reason == "") {
				t.Errorf("known %v, %q (-want +got):\n%s", got.Known, got.Reason, diff)
			}
			if n := s.count("organizations:DescribePolicy"); n != tt.policies {
				t.Errorf("%d calls for documents, want %d", n, tt.policies)
			}
		})
	}
}

func TestHostedZonesForNamesOfEndpoints(t *testing.T) {
	zone := func(id, name string, private bool) string {
		return fmt.Sprintf("<HostedZone><Id>/hostedzone/%s</Id><Name>%s</Name><CallerReference>x</CallerReference><Config><PrivateZone>%v</PrivateZone></Config></HostedZone>", id, name, private)
	}
	list := func(next string, zones ...string) http.HandlerFunc {
		return xmlAnswer(fmt.Sprintf("<ListHostedZonesResponse><HostedZones>%s</HostedZones><IsTruncated>%v</IsTruncated><NextMarker>%s</NextMarker><MaxItems>100</MaxItems></ListHostedZonesResponse>",
			strings.Join(zones, ""), next != "", next))
	}
	record := func(name, kind, inner string) string {
		return "<ResourceRecordSet><Name>" + name + "</Name><Type>" + kind + "</Type>" + inner + "</ResourceRecordSet>"
	}
	values := func(v ...string) string {
		return "<TTL>60</TTL><ResourceRecords><ResourceRecord><Value>" + strings.Join(v, "</Value></ResourceRecord><ResourceRecord><Value>") + "</Value></ResourceRecord></ResourceRecords>"
	}
	records := func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.URL.Path, "ZDENIED"):
			queryError(403, "AccessDenied", "no")(w, r)
		case r.URL.Query().Get("name") == "":
			sendXML(w, 200, "<ListResourceRecordSetsResponse><ResourceRecordSets>"+record("api.aws.", "NS", values("ns-1."))+record(`\052.eu-west-1.api.aws.`, "CNAME", values("proxy.corp.example."))+
				"</ResourceRecordSets><IsTruncated>true</IsTruncated><NextRecordName>b.api.aws.</NextRecordName><NextRecordType>A</NextRecordType><MaxItems>300</MaxItems></ListResourceRecordSetsResponse>")
		default:
			sendXML(w, 200, "<ListResourceRecordSetsResponse><ResourceRecordSets>"+record("b.api.aws.", "A", values("10.0.0.1", "10.0.0.2"))+
				record("b.api.aws.", "AAAA", "<AliasTarget><HostedZoneId>Z</HostedZoneId><DNSName>vpce-1.vpce.amazonaws.com.</DNSName><EvaluateTargetHealth>false</EvaluateTargetHealth></AliasTarget>")+
				"</ResourceRecordSets><IsTruncated>false</IsTruncated><MaxItems>300</MaxItems></ListResourceRecordSetsResponse>")
		}
	}
	answers := map[string]http.HandlerFunc{
		"sts:GetCallerIdentity": xmlAnswer(callerIdentity),
		"route53:ListHostedZones": inTurn(
			list("m2", zone("Z1", "api.aws.", true), zone("Z2", "amazonaws.com.", false), zone("Z3", "aws.", true), zone("Z4", "ap-south-1.amazonaws.com.", true)),
			list("", zone("Z5", "notapi.aws.", true), zone("ZDENIED", "ssm.EU-west-1.amazonaws.com.", true))),
		"route53:GetHostedZone":          xmlAnswer("<GetHostedZoneResponse><HostedZone><Id>/hostedzone/Z1</Id><Name>api.aws.</Name><CallerReference>x</CallerReference></HostedZone><VPCs><VPC><VPCRegion>eu-west-1</VPCRegion><VPCId>vpc-2</VPCId></VPC><VPC><VPCId>vpc-1</VPCId></VPC></VPCs></GetHostedZoneResponse>"),
		"route53:ListResourceRecordSets": records,
	}
	got := serve(t, &script{answers: answers}, awsapi.Access{Regions: []string{"eu-west-1"}}, awsapi.Options{}).Account(t.Context()).HostedZones
	one := fleet.HostedZone{ID: "Z1", Name: "api.aws", VPCs: []string{"vpc-1", "vpc-2"}, Records: []fleet.DNSRecord{
		{Name: "*.eu-west-1.api.aws", Type: "CNAME", Values: []string{"proxy.corp.example"}},
		{Name: "b.api.aws", Type: "A", Values: []string{"10.0.0.1", "10.0.0.2"}},
		{Name: "b.api.aws", Type: "AAAA", Alias: "vpce-1.vpce.amazonaws.com"},
	}}
	three := one
	three.ID, three.Name = "Z3", "aws"
	if diff := cmp.Diff([]fleet.HostedZone{one, three}, got.Value); diff != "" {
		t.Errorf("zones (-want +got):\n%s", diff)
	}
	if got.Known || got.Reason != "zone ssm.EU-west-1.amazonaws.com: AccessDenied: no" || got.Source != "route53:ListHostedZones" {
		t.Errorf("known %v, %s: %q", got.Known, got.Source, got.Reason)
	}
}

func TestAddressesOfEndpoints(t *testing.T) {
	endpoint := func(id, kind string, interfaces ...string) string {
		return fmt.Sprintf("<item><vpcEndpointId>%s</vpcEndpointId><vpcEndpointType>%s</vpcEndpointType><ipAddressType>dualstack</ipAddressType><networkInterfaceIdSet><item>%s</item></networkInterfaceIdSet></item>",
			id, kind, strings.Join(interfaces, "</item><item>"))
	}
	list := xmlAnswer("<DescribeVpcEndpointsResponse><vpcEndpointSet>" + endpoint("vpce-1", "Interface", "eni-1", "eni-2") + endpoint("vpce-2", "Interface", "eni-3") +
		"<item><vpcEndpointId>vpce-3</vpcEndpointId><vpcEndpointType>Gateway</vpcEndpointType></item></vpcEndpointSet></DescribeVpcEndpointsResponse>")
	page := func(next string, items ...string) http.HandlerFunc {
		return xmlAnswer("<DescribeNetworkInterfacesResponse><networkInterfaceSet>" + strings.Join(items, "") + "</networkInterfaceSet><nextToken>" + next + "</nextToken></DescribeNetworkInterfacesResponse>")
	}
	eni := func(id, ip, ip6 string) string {
		return fmt.Sprintf("<item><networkInterfaceId>%s</networkInterfaceId><privateIpAddress>%s</privateIpAddress><ipv6AddressesSet><item><ipv6Address>%s</ipv6Address></item></ipv6AddressesSet></item>", id, ip, ip6)
	}
	addresses := func(list ...string) []netip.Addr {
		var out []netip.Addr
		for _, s := range list {
			out = append(out, netip.MustParseAddr(s))
		}
		return out
	}
	const source = "ec2:DescribeNetworkInterfaces"
	whole := fleet.Known(addresses("10.0.0.4", "10.0.1.4", "2001:db8::4", "2001:db8::5"), source, time.Time{})
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		want   [2]fleet.Fact[[]netip.Addr]
	}{
		{"paged", inTurn(page("2", eni("eni-2", "10.0.1.4", "2001:db8::5"), eni("eni-3", "10.0.2.4", "none")), page("", eni("eni-1", "10.0.0.4", "2001:db8::4"))),
			[2]fleet.Fact[[]netip.Addr]{whole, fleet.Known(addresses("10.0.2.4"), source, time.Time{})}},
		{"one is not listed", page("", eni("eni-1", "10.0.0.4", "2001:db8::4"), eni("eni-2", "10.0.1.4", "2001:db8::5")),
			[2]fleet.Fact[[]netip.Addr]{whole, fleet.Unknown[[]netip.Addr](source, time.Time{}, "EC2 tells no address of eni-3")}},
		{"denied half-way", inTurn(page("2", eni("eni-1", "10.0.0.4", "2001:db8::4")), ec2Error(403, "UnauthorizedOperation", "no")),
			[2]fleet.Fact[[]netip.Addr]{fleet.Partial(addresses("10.0.0.4", "2001:db8::4"), source, time.Time{}, "UnauthorizedOperation: no"), fleet.Unknown[[]netip.Addr](source, time.Time{}, "UnauthorizedOperation: no")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, _ := surroundings(t, map[string]http.HandlerFunc{"ec2:DescribeVpcEndpoints": list, source: tt.answer})
			f := r.Endpoints
			if !f.Known || len(f.Value) != 3 || f.Value[0].IPType != "dualstack" {
				t.Fatalf("endpoints %+v", f)
			}
			if diff := cmp.Diff(tt.want[:], []fleet.Fact[[]netip.Addr]{f.Value[0].Addresses, f.Value[1].Addresses}, untimed); diff != "" {
				t.Errorf("addresses (-want +got):\n%s", diff)
			}
			if a := f.Value[2].Addresses; a.Source != "" {
				t.Errorf("a gateway endpoint has addresses: %+v", a)
			}
		})
	}
}

func TestResolverRulesWithoutTheirVPCsAreNotKnown(t *testing.T) {
	rules := jsonAnswer(`{"ResolverRules":[{"Id":"rslvr-rr-1","DomainName":"amazonaws.com.","RuleType":"FORWARD","TargetIps":[{"Ip":"10.0.0.2","Port":53},{"Ipv6":"2001:db8::2","Port":53}]},
		{"Id":"rslvr-autodefined-rr-internet-resolver","DomainName":".","RuleType":"RECURSIVE"}]}`)
	associations := jsonAnswer(`{"ResolverRuleAssociations":[{"ResolverRuleId":"rslvr-rr-1","VPCId":"vpc-2","Status":"COMPLETE"},{"ResolverRuleId":"rslvr-rr-1","VPCId":"vpc-1","Status":"COMPLETE"},
		{"ResolverRuleId":"rslvr-rr-1","VPCId":"vpc-3","Status":"DELETING"},{"ResolverRuleId":"rslvr-rr-gone","VPCId":"vpc-1","Status":"COMPLETE"}]}`)
	want := []fleet.ResolverRule{
		{ID: "rslvr-autodefined-rr-internet-resolver", Type: "RECURSIVE"},
		{ID: "rslvr-rr-1", Domain: "amazonaws.com", Type: "FORWARD", VPCs: []string{"vpc-1", "vpc-2"}, Targets: []string{"10.0.0.2", "2001:db8::2"}},
	}
	r, _ := surroundings(t, map[string]http.HandlerFunc{"route53resolver:ListResolverRules": rules, "route53resolver:ListResolverRuleAssociations": associations})
	if diff := cmp.Diff(want, r.ResolverRules.Value); diff != "" || !r.ResolverRules.Known {
		t.Errorf("%q (-want +got):\n%s", r.ResolverRules.Reason, diff)
	}
	want[1].VPCs = nil
	r, _ = surroundings(t, map[string]http.HandlerFunc{"route53resolver:ListResolverRules": rules, "route53resolver:ListResolverRuleAssociations": ssmError(400, "AccessDeniedException", "no")})
	if diff := cmp.Diff(want, r.ResolverRules.Value); diff != "" || r.ResolverRules.Known || r.ResolverRules.Reason != "associations: AccessDeniedException: no" {
		t.Errorf("known %v, %q (-want +got):\n%s", r.ResolverRules.Known, r.ResolverRules.Reason, diff)
	}
}

func TestSessionDocumentsWhoseContentIsDenied(t *testing.T) {
	r, _ := surroundings(t, map[string]http.HandlerFunc{
		"ssm:ListDocuments": jsonAnswer(`{"DocumentIdentifiers":[{"Name":"SSM-SessionManagerRunShell","Owner":"111122223333"},{"Name":"Port","Owner":"111122223333","DocumentVersion":"2"}]}`),
		"ssm:GetDocument":   ssmError(400, "AccessDeniedException", "no"),
	})
	want := []fleet.SessionDocument{{Name: "Port", Owner: "111122223333", Version: "2", Content: fleet.Unknown[string]("ssm:GetDocument", time.Time{}, "AccessDeniedException: no")}}
	if diff := cmp.Diff(want, r.Documents.Value, untimed); diff != "" || !r.Documents.Known {
		t.Errorf("%q (-want +got):\n%s", r.Documents.Reason, diff)
	}
}

// An endpoint that never ends its list of sessions must not fill the memory.
func TestSessionsAreBounded(t *testing.T) {
	var list strings.Builder
	for i := range 50_000 {
		if i > 0 {
			list.WriteByte(',')
		}
		fmt.Fprintf(&list, `{"SessionId":"s-%d","Status":"Terminated"}`, i)
	}
	s := &script{answers: map[string]http.HandlerFunc{"ssm:DescribeSessions": func(w http.ResponseWriter, r *http.Request) {
		sendJSON(w, 200, `{"Sessions":[`+list.String()+`],"NextToken":"more"}`)
	}}}
	got := serve(t, s, awsapi.Access{}, awsapi.Options{}).Cloud("eu-west-1").Surroundings(t.Context()).Sessions
	if n := s.count("ssm:DescribeSessions"); n != 1 || got.Known || len(got.Value) != 50_000 || got.Reason != "more than 50000 sessions" {
		t.Errorf("%d calls, known %v, %d sessions, %q", n, got.Known, len(got.Value), got.Reason)
	}
}

func FuzzZoneNames(f *testing.F) {
	for _, s := range []string{"", ".", `\052.api.aws.`, `\777`, `\05`, `\000.x`, "a..", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := awsapi.ZoneName(s)
		if strings.Contains(got, `\052`) && !strings.Contains(s, `\134`) {
			t.Errorf("%q became %q", s, got)
		}
		if !strings.Contains(s, `\`) && got != strings.TrimSuffix(s, ".") {
			t.Errorf("%q became %q", s, got)
		}
	})
}
