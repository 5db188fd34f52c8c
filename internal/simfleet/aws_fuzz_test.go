package simfleet_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"ssm-migrate/internal/simfleet"
)

// Whatever a client sends, the answer is one well-formed document.
func FuzzAWSRequest(f *testing.F) {
	w := generate(f, simfleet.Options{})
	role := w.Accounts[0].Roles[0].ARN
	f.Add("ec2", "", "Action=DescribeInstances&MaxResults=5&Filter.1.Name=tag:x&Filter.1.Value.1=*")
	f.Add("ec2", "", "Action=DescribeLaunchTemplateVersions&LaunchTemplateVersion.1=$Latest&NextToken=x")
	f.Add("iam", "", "Action=GetAccountAuthorizationDetails&MaxItems=1&Marker=R2V0")
	f.Add("autoscaling", "", "Action=DescribeAutoScalingGroups&Filters.member.1.Name=tag-key")
	f.Add("sts", "", "Action=AssumeRole&RoleArn=x&RoleSessionName=y")
	f.Add("ssm", "AmazonSSM.DescribeInstanceInformation", `{"MaxResults":5,"Filters":[{"Key":"PingStatus","Values":["Online"]}]}`)
	f.Add("elsewhere", "", "\xff")
	f.Add("iam", "", "Action=SimulatePrincipalPolicy&PolicySourceArn="+role+"&ActionNames.member.1=ssm:StartSession&ResourceArns.member.1=*&ContextEntries.member.1.ContextKeyName=aws:x")
	f.Add("ssm", "AmazonSSM.DescribeSessions", `{"State":"History","MaxResults":5,"Filters":[{"key":"InvokedAfter","value":"2026-01-01T00:00:00Z"}]}`)
	f.Add("ssm", "AmazonSSM.ListDocuments", `{"Filters":[{"Key":"Owner","Values":["Self"]}],"DocumentFilterList":[{"key":"Name","value":"x"}]}`)
	f.Add("ssm", "AmazonSSM.GetDocument", `{"Name":"SSM-SessionManagerRunShell","DocumentVersion":"$LATEST"}`)
	f.Add("organizations", "AWSOrganizationsV20161128.ListPoliciesForTarget", `{"TargetId":"r-1","Filter":"SERVICE_CONTROL_POLICY","MaxResults":1}`)
	f.Add("route53resolver", "Route53Resolver.ListResolverRules", `{"MaxResults":1,"NextToken":"x","Filters":[{"Name":"Type","Values":["FORWARD"]}]}`)
	f.Add("logs", "Logs_20140328.DescribeLogGroups", `{"logGroupNamePrefix":"/ssm","limit":1}`)
	f.Add("kms", "TrentService.DescribeKey", `{"KeyId":"alias/x"}`)
	f.Add("secretsmanager", "secretsmanager.CreateSecret", `{"Name":"x","SecretString":"a","ClientRequestToken":"0123456789abcdef0123456789abcdef"}`)
	f.Add("secretsmanager", "secretsmanager.GetSecretValue", `{"SecretId":"x","VersionStage":"AWSPREVIOUS"}`)
	group := w.Accounts[0].Regions[0].Groups[0].ID
	f.Add("ec2", "", "Action=AuthorizeSecurityGroupIngress&GroupId="+group+"&IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=22&IpPermissions.1.ToPort=22&IpPermissions.1.IpRanges.1.CidrIp=192.0.2.0/24&TagSpecification.1.ResourceType=security-group-rule&TagSpecification.1.Tag.1.Key=a")
	f.Add("ec2", "", "Action=RevokeSecurityGroupIngress&GroupId="+group+"&SecurityGroupRuleId.1=sgr-1&CidrIp=::/0&IpProtocol=-1")
	f.Add("ec2", "", "Action=CreateLaunchTemplate&LaunchTemplateName=abc&LaunchTemplateData.UserData=IyE=&LaunchTemplateData.NetworkInterface.1.DeviceIndex=0&ClientToken=x")
	f.Add("ec2", "", "Action=ImportKeyPair&KeyName=x&PublicKeyMaterial=c3NoLXJzYQ==")
	f.Add("iam", "", "Action=PutRolePolicy&RoleName=web&PolicyName=x&PolicyDocument={\"Statement\":{\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\"}}")
	f.Add("autoscaling", "", "Action=CreateOrUpdateTags&Tags.member.1.ResourceId=prod-web-1&Tags.member.1.Key=a&Tags.member.1.Value=b")
	f.Add("ssm", "AmazonSSM.CreateDocument", `{"Name":"abc","DocumentType":"Session","Content":"{\"schemaVersion\":\"1.0\",\"sessionType\":\"Port\"}"}`)
	side := simfleet.ServeAWS(w, simfleet.AWSOptions{NoThrottle: true})
	f.Fuzz(func(t *testing.T, service, target, body string) {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x/20261001/eu-west-1/"+service+"/aws4_request, SignedHeaders=host")
		r.Header.Set("X-Amz-Target", target)
		rec := httptest.NewRecorder()
		side.ServeHTTP(rec, r)
		if rec.Code >= 500 {
			t.Errorf("status %d: %s", rec.Code, rec.Body)
		}
		if strings.HasPrefix(rec.Header().Get("Content-Type"), "application/") {
			if !json.Valid(rec.Body.Bytes()) {
				t.Errorf("not JSON: %s", rec.Body)
			}
			return
		}
		wellFormed(t, rec.Body)
	})
}

// The REST services take what they are asked for from the path and the query string.
func FuzzAWSRequestPath(f *testing.F) {
	for _, s := range []struct{ service, method, target string }{
		{"route53", "GET", "/2013-04-01/hostedzone?maxitems=1&marker=x"},
		{"route53", "GET", "/2013-04-01/hostedzone/Z1/rrset?name=a.example.&type=A&maxitems=2"},
		{"route53", "GET", "/2013-04-01/hostedzonesbyvpc?vpcid=vpc-1&vpcregion=eu-west-1"},
		{"s3", "GET", "/bucket?encryption"}, {"s3", "GET", "/bucket?policy="}, {"s3", "GET", "/%ff?location"}, {"s3", "PUT", "//x"},
	} {
		f.Add(s.service, s.method, s.target)
	}
	w := generate(f, simfleet.Options{})
	side := simfleet.ServeAWS(w, simfleet.AWSOptions{NoThrottle: true})
	f.Fuzz(func(t *testing.T, service, method, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Skip()
		}
		r := &http.Request{Method: method, URL: u, Header: http.Header{}, Body: http.NoBody}
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x/20261001/eu-west-1/"+service+"/aws4_request, SignedHeaders=host")
		rec := httptest.NewRecorder()
		side.ServeHTTP(rec, r)
		if rec.Code >= 500 {
			t.Errorf("status %d: %s", rec.Code, rec.Body)
		}
		if rec.Header().Get("Content-Type") == "application/json" {
			return // a bucket's policy is its owner's text
		}
		wellFormed(t, rec.Body)
	})
}

// Scheduler takes a name from the path and the rest from a JSON body, in which
// the target's input is JSON again.
func FuzzScheduleRequest(f *testing.F) {
	w := generate(f, simfleet.Options{})
	w.Accounts[0].Roles[0].Trust = `{"Statement":{"Effect":"Allow","Principal":{"Service":"scheduler.amazonaws.com"},"Action":"sts:AssumeRole"}}`
	role := w.Accounts[0].Roles[0].ARN
	f.Add("POST", "one", `{"ScheduleExpression":"at(2030-01-01T00:00:00)","FlexibleTimeWindow":{"Mode":"OFF"},"ClientToken":"x","Target":{"Arn":"arn:aws:scheduler:::aws-sdk:ec2:authorizeSecurityGroupIngress","RoleArn":"`+role+`","Input":"{\"GroupId\":\"sg-1\",\"IpPermissions\":[{\"FromPort\":22}]}"}}`)
	f.Add("PUT", "one", `{"ScheduleExpressionTimezone":"Mars","ScheduleExpression":"at("}`)
	f.Add("DELETE", "one", "")
	f.Add("GET", "one", "")
	side := simfleet.ServeAWS(w, simfleet.AWSOptions{NoThrottle: true})
	f.Fuzz(func(t *testing.T, method, name, body string) {
		r := &http.Request{Method: method, URL: &url.URL{Path: "/schedules/" + name}, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x/20261001/eu-west-1/scheduler/aws4_request, SignedHeaders=host")
		rec := httptest.NewRecorder()
		side.ServeHTTP(rec, r)
		if rec.Code >= 500 || !json.Valid(rec.Body.Bytes()) {
			t.Errorf("status %d: %s", rec.Code, rec.Body)
		}
	})
}

func wellFormed(t *testing.T, body io.Reader) {
	t.Helper()
	d := xml.NewDecoder(body)
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("not XML: %v", err)
		}
	}
}
