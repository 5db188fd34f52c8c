package simfleet_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/simfleet"
)

// raw is one request in a service's own protocol.
type raw struct {
	account, region, service string
	method, path             string // default POST /
	target                   string // X-Amz-Target
	body                     string
}

func (r raw) send(side http.Handler) *httptest.ResponseRecorder {
	method, path := http.MethodPost, "/"
	if r.method != "" {
		method, path = r.method, r.path
	}
	req := httptest.NewRequest(method, path, strings.NewReader(r.body))
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+simfleet.AccessKey(r.account)+"/20261001/"+r.region+"/"+r.service+"/aws4_request, SignedHeaders=host, Signature=0")
	req.Header.Set("X-Amz-Target", r.target)
	rec := httptest.NewRecorder()
	side.ServeHTTP(rec, req)
	return rec
}

var errorCode = regexp.MustCompile(`<Code>([^<]*)</Code>|"__type":"([^"]*)"`)

// code is the error code of an answer; empty for a success.
func code(rec *httptest.ResponseRecorder) string {
	if rec.Code < 300 {
		return ""
	}
	m := errorCode.FindStringSubmatch(rec.Body.String())
	if m == nil {
		return "none"
	}
	return m[1] + m[2]
}

func TestOtherServicesRefuse(t *testing.T) {
	w := generate(t, simfleet.Options{Instances: 20, Accounts: 2})
	a, other := w.Accounts[0], w.Accounts[1]
	rg := a.Regions[0]
	rg.Buckets = append(rg.Buckets, &fleet.Bucket{Name: "bare", Exists: true, Region: rg.Name}, &fleet.Bucket{Name: "gone", Region: rg.Name})
	side := simfleet.ServeAWS(w, simfleet.AWSOptions{NoThrottle: true})
	s3 := func(region, method, path string) raw {
		return raw{account: a.ID, region: region, service: "s3", method: method, path: path}
	}
	json := func(service, target, body string) raw {
		return raw{account: a.ID, region: rg.Name, service: service, target: target, body: body}
	}
	get := func(path string) raw {
		return raw{account: a.ID, region: "us-east-1", service: "route53", method: "GET", path: path}
	}
	form := func(service, body string) raw {
		return raw{account: a.ID, region: rg.Name, service: service, body: body}
	}
	asOther := func(r raw) raw {
		r.account = other.ID
		return r
	}
	const organizations = "AWSOrganizationsV20161128."
	for name, c := range map[string]struct {
		raw    raw
		status int
		code   string
	}{
		"no such bucket":           {s3(rg.Name, "GET", "/gone?policy"), 404, "NoSuchBucket"},
		"no such bucket, head":     {s3(rg.Name, "HEAD", "/gone"), 404, "none"},
		"a bucket elsewhere":       {s3("us-east-1", "GET", "/bare?encryption"), 301, "PermanentRedirect"},
		"a bucket elsewhere, head": {s3("us-east-1", "HEAD", "/bare"), 301, "none"},
		"another account's bucket": {s3(rg.Name, "GET", "/"+other.Regions[0].Buckets[0].Name+"?policy"), 403, "AccessDenied"},
		"no bucket policy":         {s3(rg.Name, "GET", "/bare?policy"), 404, "NoSuchBucketPolicy"},
		"no encryption":            {s3(rg.Name, "GET", "/bare?encryption"), 404, "ServerSideEncryptionConfigurationNotFoundError"},
		"no such object":           {s3(rg.Name, "GET", "/bare/object"), 404, "NoSuchKey"},
		"posting an object":        {s3(rg.Name, "POST", "/bare/object"), 405, "MethodNotAllowed"},
		"no such key":              {json("kms", "TrentService.DescribeKey", `{"KeyId":"alias/none"}`), 400, "NotFoundException"},
		"another account's key":    {json("kms", "TrentService.GetKeyPolicy", `{"KeyId":"`+other.Regions[0].Keys[0].ARN+`"}`), 400, "AccessDeniedException"},
		"no key named":             {json("kms", "TrentService.DescribeKey", `{}`), 400, "ValidationException"},
		"no such zone":             {get("/2013-04-01/hostedzone/Z0"), 404, "NoSuchHostedZone"},
		"no such zone's records":   {get("/2013-04-01/hostedzone/Z0/rrset"), 404, "NoSuchHostedZone"},
		"another account's VPC":    {get("/2013-04-01/hostedzonesbyvpc?vpcregion=" + rg.Name + "&vpcid=" + other.Regions[0].VPCs[0].ID), 403, "AccessDenied"},
		"bad zone marker":          {get("/2013-04-01/hostedzone?marker=x"), 400, "InvalidInput"},
		"a type without a name":    {get("/2013-04-01/hostedzone/" + a.Zones[0].ID + "/rrset?type=A"), 400, "InvalidInput"},
		"policies closed":          {asOther(json("organizations", organizations+"ListParents", `{"ChildId":"`+other.ID+`"}`)), 400, "AccessDeniedException"},
		"members see it":           {asOther(json("organizations", organizations+"DescribeOrganization", `{}`)), 200, ""},
		"no such target":           {json("organizations", organizations+"ListPoliciesForTarget", `{"TargetId":"ou-x","Filter":"SERVICE_CONTROL_POLICY"}`), 400, "TargetNotFoundException"},
		"no such child":            {json("organizations", organizations+"ListParents", `{"ChildId":"ou-x"}`), 400, "ChildNotFoundException"},
		"no such control policy":   {json("organizations", organizations+"DescribePolicy", `{"PolicyId":"p-x"}`), 400, "PolicyNotFoundException"},
		"too many policies a page": {json("organizations", organizations+"ListPoliciesForTarget", `{"TargetId":"r-corp","Filter":"SERVICE_CONTROL_POLICY","MaxResults":21}`), 400, "InvalidInputException"},
		"no such peering":          {form("ec2", "Action=DescribeVpcPeeringConnections&VpcPeeringConnectionId.1=pcx-0"), 400, "InvalidVpcPeeringConnectionID.NotFound"},
		"no such document":         {json("ssm", "AmazonSSM.DescribeDocument", `{"Name":"none"}`), 400, "InvalidDocument"},
		"no such version":          {json("ssm", "AmazonSSM.GetDocument", `{"Name":"`+fleet.PreferencesName+`","DocumentVersion":"9"}`), 400, "InvalidDocumentVersion"},
		"bad document filter":      {json("ssm", "AmazonSSM.ListDocuments", `{"Filters":[{"Key":"Color","Values":["red"]}]}`), 400, "InvalidFilterKey"},
		"no state of sessions":     {json("ssm", "AmazonSSM.DescribeSessions", `{}`), 400, "ValidationException"},
		"page of sessions":         {json("ssm", "AmazonSSM.DescribeSessions", `{"State":"Active","MaxResults":201}`), 400, "ValidationException"},
		"token of sessions":        {json("ssm", "AmazonSSM.DescribeSessions", `{"State":"Active","NextToken":"x"}`), 400, "InvalidNextToken"},
		"bad Resolver filter":      {json("route53resolver", "Route53Resolver.ListResolverRules", `{"Filters":[{"Name":"Color","Values":["red"]}]}`), 400, "InvalidParameterException"},
		"bad Resolver token":       {json("route53resolver", "Route53Resolver.ListResolverRules", `{"NextToken":"x"}`), 400, "InvalidNextTokenException"},
		"prefix and pattern":       {json("logs", "Logs_20140328.DescribeLogGroups", `{"logGroupNamePrefix":"a","logGroupNamePattern":"b"}`), 400, "InvalidParameterException"},
		"no such user":             {form("iam", "Action=GetUser&UserName=none"), 404, "NoSuchEntity"},
		"no such principal":        {form("iam", "Action=SimulatePrincipalPolicy&PolicySourceArn=arn:aws:iam::1:role/x&ActionNames.member.1=s3:GetObject"), 404, "NoSuchEntity"},
		"wildcard in an action":    {form("iam", "Action=SimulatePrincipalPolicy&PolicySourceArn="+a.Roles[0].ARN+"&ActionNames.member.1=ssm:*"), 400, "InvalidInput"},
		"no actions":               {form("iam", "Action=SimulatePrincipalPolicy&PolicySourceArn="+a.Roles[0].ARN), 400, "ValidationError"},
	} {
		t.Run(name, func(t *testing.T) {
			rec := c.raw.send(side)
			if rec.Code != c.status || code(rec) != c.code {
				t.Errorf("status %d, code %q, want %d, %q: %s", rec.Code, code(rec), c.status, c.code, rec.Body)
			}
			if strings.HasSuffix(name, "head") && rec.Body.Len() > 0 {
				t.Errorf("an answer to HEAD has a body: %s", rec.Body)
			}
		})
	}
}

// Each service says no, and "slow down", in its own words.
func TestOtherServicesFaults(t *testing.T) {
	w := generate(t, simfleet.Options{})
	a := w.Accounts[0]
	faults := &simfleet.Faults{}
	side := simfleet.ServeAWS(w, simfleet.AWSOptions{NoThrottle: true, Faults: faults})
	for service, c := range map[string]struct {
		raw               raw
		denied, throttled string
	}{
		"s3":              {raw{method: "GET", path: "/" + a.Regions[0].Buckets[0].Name + "?policy"}, "AccessDenied", "SlowDown"},
		"route53":         {raw{method: "GET", path: "/2013-04-01/hostedzone"}, "AccessDenied", "Throttling"},
		"kms":             {raw{target: "TrentService.DescribeKey", body: `{"KeyId":"` + a.Regions[0].Keys[0].ARN + `"}`}, "AccessDeniedException", "ThrottlingException"},
		"logs":            {raw{target: "Logs_20140328.DescribeLogGroups", body: `{}`}, "AccessDeniedException", "ThrottlingException"},
		"organizations":   {raw{target: "AWSOrganizationsV20161128.DescribeOrganization", body: `{}`}, "AccessDeniedException", "TooManyRequestsException"},
		"route53resolver": {raw{target: "Route53Resolver.ListResolverRules", body: `{}`}, "AccessDeniedException", "ThrottlingException"},
	} {
		t.Run(service, func(t *testing.T) {
			r := c.raw
			r.account, r.region, r.service = a.ID, a.Regions[0].Name, service
			for want, kind := range map[string]simfleet.FaultKind{"": simfleet.FaultNone, c.denied: simfleet.FaultDeny, c.throttled: simfleet.FaultThrottle} {
				faults.Set(simfleet.Fault{Service: service, Kind: kind})
				if got := code(r.send(side)); got != want {
					t.Errorf("fault %v: code %q, want %q", kind, got, want)
				}
			}
		})
	}
}
