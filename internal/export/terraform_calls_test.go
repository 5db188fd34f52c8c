package export_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
	"pgregory.net/rapid"

	"ssm-migrate/internal/export"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// What Terraform would make is compared with the inputs of AWS's calls that the
// JSON export has of the same plan, resource by resource and argument by argument. That these are what the
// plan means is tested with the AWS CLI, which brings a simulated fleet to the same end.

type object = map[string]any

// calls are inputs of AWS's calls, "account/region service operation" → input as
// JSON with sorted keys.
type calls map[string][]string

func (c calls) add(t testing.TB, at, operation string, input any) {
	t.Helper()
	c[at+" "+operation] = append(c[at+" "+operation], plain(t, input))
}

// plain writes a value as JSON with sorted keys, lists of strings and of tags in
// order, and documents as values. cty writes texts in Unicode's normal form C, as Terraform itself does.
func plain(t testing.TB, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var x any
	if err := json.Unmarshal(text, &x); err != nil {
		t.Fatal(err)
	}
	return quotedAny(sorted(t, x))
}

func sorted(t testing.TB, v any) any {
	t.Helper()
	switch x := v.(type) {
	case object:
		for k, e := range x {
			if s, ok := e.(string); ok && slices.Contains([]string{"PolicyDocument", "AssumeRolePolicyDocument", "Content"}, k) {
				if err := json.Unmarshal([]byte(s), &e); err != nil {
					t.Fatalf("%s %q: %v", k, s, err)
				}
			}
			x[k] = sorted(t, e)
		}
	case []any:
		for i := range x {
			x[i] = sorted(t, x[i])
		}
		slices.SortFunc(x, func(a, b any) int { return strings.Compare(quotedAny(a), quotedAny(b)) })
	case string:
		return cty.NormalizeString(x)
	}
	return v
}

// wanted reads the JSON export.
func wanted(t testing.TB, in export.Input) calls {
	t.Helper()
	files, err := export.JSON(in)
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, f := range files {
		texts[f.Name] = f.Text
	}
	var index struct {
		Steps []struct {
			Documents []struct{ File, Call string }
		}
	}
	if err := json.Unmarshal([]byte(texts["index.json"]), &index); err != nil {
		t.Fatal(err)
	}
	out := calls{}
	for _, s := range index.Steps {
		for _, d := range s.Documents {
			parts := strings.Split(d.File, "/")
			at := parts[0] + "/" + parts[1]
			if d.Call == "" && parts[len(parts)-1] == fleet.PreferencesName+".json" { // two calls bring it about
				out.add(t, at, "ssm create-document", object{"Name": fleet.PreferencesName, "Content": texts[d.File], "DocumentType": "Session", "DocumentFormat": "JSON"})
			} else if d.Call != "" {
				out.add(t, at, d.Call, json.RawMessage(texts[d.File]))
			}
		}
	}
	return out
}

// reader reads calls out of a configuration.
type reader struct {
	*module

	t testing.TB
}

// at is the place that a resource's provider works in.
func (r reader) at(b *hclsyntax.Body) (account, region string) {
	r.t.Helper()
	alias := ""
	if a := b.Attributes["provider"]; a != nil {
		to, diags := hcl.AbsTraversalForExpr(a.Expr)
		if diags.HasErrors() {
			r.t.Fatal(diags)
		}
		alias = to[1].(hcl.TraverseAttr).Name
	}
	p := r.providers[alias]
	return r.value(r.t, p, "allowed_account_ids").AsValueSlice()[0].AsString(), r.value(r.t, p, "region").AsString()
}

// named is the name of what a reference leads to; other texts stay.
func (r reader) named(v any) any {
	s, _ := v.(string)
	if b := r.blocks[strings.Trim(s, "<>")]; b != nil && strings.HasPrefix(s, "<") {
		return r.value(r.t, b.Body, "name").AsString()
	}
	return v
}

func (r reader) group(v any) any {
	if name := r.named(v); name != v {
		return "(ID of security group " + name.(string) + ")"
	}
	return v
}

func (r reader) groups(v any) any {
	var out []any
	for _, g := range v.([]any) {
		out = append(out, r.group(g))
	}
	return out
}

func tagged(v object) any {
	var out []any
	tags, _ := v["tags"].(object)
	for k, value := range tags {
		out = append(out, object{"Key": k, "Value": value})
	}
	return out
}

func specified(v object, kind string) any {
	return []any{object{"ResourceType": kind, "Tags": tagged(v)}}
}

// inner is the only block of a kind; all gives each.
func (r reader) inner(b *hclsyntax.Body, kind string) object {
	all := r.all(b, kind)
	if len(all) != 1 {
		r.t.Fatalf("%d blocks %s", len(all), kind)
	}
	return all[0]
}

func (r reader) all(b *hclsyntax.Body, kind string) []object {
	var out []object
	for _, x := range b.Blocks {
		if x.Type == kind {
			out = append(out, r.plain(r.t, x.Body))
		}
	}
	return out
}

// with copies arguments that are there under the names of the call's fields.
func with(in, v object, fields ...string) object {
	for i := 0; i < len(fields); i += 2 {
		if x, ok := v[fields[i]]; ok {
			in[fields[i+1]] = x
		}
	}
	return in
}

// made reads the calls that would do what a configuration says.
func (r reader) made() calls {
	out := calls{}
	for _, address := range slices.Sorted(maps.Keys(r.blocks)) {
		b := r.blocks[address]
		if b.Type == "data" {
			continue
		}
		v := r.plain(r.t, b.Body)
		account, region := r.at(b.Body)
		put := func(operation string, input any) { out.add(r.t, account+"/"+region, operation, input) }
		switch kind := b.Labels[0]; kind {
		case "aws_iam_role":
			put("iam create-role", object{"RoleName": v["name"], "Path": v["path"], "AssumeRolePolicyDocument": v["assume_role_policy"], "Tags": tagged(v)})
		case "aws_iam_role_policy":
			put("iam put-role-policy", object{"RoleName": r.named(v["role"]), "PolicyName": v["name"], "PolicyDocument": v["policy"]})
		case "aws_iam_role_policy_attachment", "aws_iam_user_policy_attachment", "aws_iam_group_policy_attachment":
			holder := strings.TrimSuffix(strings.TrimPrefix(kind, "aws_iam_"), "_policy_attachment")
			arn := v["policy_arn"]
			if name := r.named(arn); name != arn {
				arn = "arn:aws:iam::" + account + ":policy/" + name.(string)
			}
			put("iam attach-"+holder+"-policy", object{strings.ToUpper(holder[:1]) + holder[1:] + "Name": r.named(v[holder]), "PolicyArn": arn})
		case "aws_iam_instance_profile":
			put("iam create-instance-profile", object{"InstanceProfileName": v["name"], "Tags": tagged(v)})
			put("iam add-role-to-instance-profile", object{"InstanceProfileName": v["name"], "RoleName": r.named(v["role"])})
		case "aws_iam_policy":
			put("iam create-policy", object{"PolicyName": v["name"], "PolicyDocument": v["policy"], "Description": v["description"], "Tags": tagged(v)})
		case "aws_security_group":
			put("ec2 create-security-group", object{"VpcId": v["vpc_id"], "GroupName": v["name"], "Description": v["description"], "TagSpecifications": specified(v, "security-group")})
		case "aws_vpc_security_group_ingress_rule", "aws_vpc_security_group_egress_rule":
			verb, direction := "authorize", strings.Split(kind, "_")[4]
			if r.imports[address] != "" {
				verb = "revoke"
			}
			if input, ok := r.rule(v, verb); ok {
				put("ec2 "+verb+"-security-group-"+direction, input)
			}
		case "aws_vpc_endpoint":
			in := with(object{"TagSpecifications": specified(v, "vpc-endpoint")}, v, "vpc_id", "VpcId", "service_name", "ServiceName", "vpc_endpoint_type", "VpcEndpointType",
				"subnet_ids", "SubnetIds", "route_table_ids", "RouteTableIds", "private_dns_enabled", "PrivateDnsEnabled", "policy", "PolicyDocument")
			if g, ok := v["security_group_ids"]; ok {
				in["SecurityGroupIds"] = r.groups(g)
			}
			put("ec2 create-vpc-endpoint", in)
		case "aws_launch_template":
			net, meta := r.inner(b.Body, "network_interfaces"), r.inner(b.Body, "metadata_options")
			put("ec2 create-launch-template", object{"LaunchTemplateName": v["name"], "TagSpecifications": specified(v, "launch-template"), "LaunchTemplateData": object{
				"ImageId": v["image_id"], "InstanceType": v["instance_type"], "UserData": v["user_data"],
				"MetadataOptions":   object{"HttpTokens": meta["http_tokens"], "HttpEndpoint": meta["http_endpoint"]},
				"NetworkInterfaces": []any{object{"DeviceIndex": net["device_index"], "AssociatePublicIpAddress": net["associate_public_ip_address"], "Groups": r.groups(net["security_groups"])}},
			}})
		case "aws_autoscaling_group":
			lt := r.inner(b.Body, "launch_template")
			var subnets []string
			for _, s := range v["vpc_zone_identifier"].([]any) {
				subnets = append(subnets, s.(string))
			}
			var tags []any
			for _, x := range r.all(b.Body, "tag") {
				tags = append(tags, object{"Key": x["key"], "Value": x["value"], "PropagateAtLaunch": x["propagate_at_launch"], "ResourceId": v["name"], "ResourceType": "auto-scaling-group"})
			}
			put("autoscaling create-auto-scaling-group", object{
				"AutoScalingGroupName": v["name"], "LaunchTemplate": object{"LaunchTemplateName": r.named(lt["id"]), "Version": lt["version"]},
				"MinSize": v["min_size"], "MaxSize": v["max_size"], "DesiredCapacity": v["desired_capacity"], "VPCZoneIdentifier": strings.Join(subnets, ","), "Tags": tags,
			})
		case "aws_ssm_service_setting":
			id, ok := strings.CutPrefix(v["setting_id"].(string), "arn:aws:ssm:"+region+":"+account+":servicesetting")
			if !ok {
				r.t.Errorf("%s: setting %v", address, v["setting_id"])
			}
			put("ssm update-service-setting", object{"SettingId": id, "SettingValue": v["setting_value"]})
		case "aws_ssm_document":
			put("ssm create-document", object{"Name": v["name"], "Content": v["content"], "DocumentType": v["document_type"], "DocumentFormat": v["document_format"]})
		default:
			r.t.Errorf("%s: nothing reads a %s back", address, kind)
		}
	}
	return out
}

// rule reads a rule; ok is false for the one for all traffic that EC2 gives a new
// group, and that the provider takes away.
func (r reader) rule(v object, verb string) (_ object, ok bool) {
	source := object{}
	if verb == "authorize" {
		with(source, v, "description", "Description")
	}
	p := with(object{"IpProtocol": v["ip_protocol"]}, v, "from_port", "FromPort", "to_port", "ToPort")
	if v["cidr_ipv4"] != nil {
		source["CidrIp"], p["IpRanges"] = v["cidr_ipv4"], []any{source}
	}
	if v["cidr_ipv6"] != nil {
		source["CidrIpv6"], p["Ipv6Ranges"] = v["cidr_ipv6"], []any{source}
	}
	if v["prefix_list_id"] != nil {
		source["PrefixListId"], p["PrefixListIds"] = v["prefix_list_id"], []any{source}
	}
	if g, _ := v["referenced_security_group_id"].(string); g != "" {
		if owner, id, other := strings.Cut(g, "/"); other {
			g, source["UserId"] = id, owner
		}
		source["GroupId"], p["UserIdGroupPairs"] = r.group(g), []any{source}
	}
	in := object{"GroupId": r.group(v["security_group_id"]), "IpPermissions": []any{p}}
	if verb == "authorize" {
		in["TagSpecifications"] = specified(v, "security-group-rule")
	}
	return in, v["ip_protocol"] != "-1" || v["cidr_ipv4"] != "0.0.0.0/0" || in["GroupId"] == v["security_group_id"]
}

// differ compares what Terraform would make with the calls of the JSON export.
func differ(t testing.TB, in export.Input, m *module) string {
	t.Helper()
	got, want := reader{module: m, t: t}.made(), wanted(t, in)
	for _, c := range []calls{got, want} {
		for operation := range c {
			// README.md has these: they are edits in resources of others.
			by := strings.Fields(operation)[2]
			if by == "associate-iam-instance-profile" || by == "update-auto-scaling-group" || in.Rules == nil && strings.HasPrefix(by, "revoke-") {
				delete(c, operation)
			}
			slices.Sort(c[operation])
		}
	}
	return cmp.Diff(want, got)
}

func TestTerraformMakesWhatTheCallsMake(t *testing.T) {
	gateway := everything(t, "text")
	for i := range gateway.Plan.Waves[0].Steps {
		if c := gateway.Plan.Waves[0].Steps[i].Endpoint; c != nil {
			*c = plan.EndpointChange{VPC: "vpc-1", Services: []string{"com.amazonaws.eu-west-1.s3"}, Tables: []string{"rtb-1", "rtb-2"}, Policies: map[string]string{"com.amazonaws.eu-west-1.s3": policy("s3:GetObject")}}
		}
	}
	sources := everything(t, "text")
	sources.Plan.Waves[0].Steps = append(sources.Plan.Waves[0].Steps, plan.Step{ID: "sources", Kind: plan.AllowEgress, At: fleet.Place{Account: account, Region: "eu-west-1"}, Rules: &plan.RuleChange{Group: "sg-7", Rules: []fleet.Rule{
		{Egress: true, Protocol: "tcp", From: 443, To: 443, PrefixList: "pl-1", Description: "list"},
		{Egress: true, Protocol: "tcp", From: 443, To: 443, Group: "sg-8"},
		{Egress: true, Protocol: "tcp", From: 443, To: 443, Group: "sg-9", GroupAccount: other},
		{Egress: true, Protocol: "-1", From: -1, To: -1, CIDR: prefix("2001:db8::/32")},
	}}})
	staying := everything(t, "text")
	staying.Access = setUp("text")
	for name, in := range map[string]export.Input{
		"everything": everything(t, "text"), "hostile": everything(t, hostile), "demo": demo(t), "gateway": gateway, "sources": sources, "access": staying,
	} {
		if diff := differ(t, in, read(t, terraform(t, in))); diff != "" {
			t.Errorf("%s (-calls +HCL):\n%s", name, diff)
		}
	}
}

// anyText draws what could end a string, a template, a comment or a line in HCL,
// and any other letter but NUL, which AWS keeps nowhere. A combining mark has a letter before it: after a
// line break Terraform itself would join it with the n of JSON's \n.
func anyText() *rapid.Generator[string] {
	return rapid.Map(rapid.SliceOfN(rapid.OneOf(
		rapid.SampledFrom([]string{`"`, `\`, "${", "%{", "$${", "}", "~}", "\n", "\r\n", "#", "//", "/*", "*/", "<<EOT", "EOT", "'", "`", "\u2028", "\u0085", "e\u0301", "\u202e", "\x1b[2J", "=", "resource \"x\" \"y\" {}"}),
		rapid.Map(rapid.Rune().Filter(func(r rune) bool { return r != 0 && !unicode.Is(unicode.M, r) }), func(r rune) string { return string(r) }),
	), 0, 12), func(parts []string) string { return strings.Join(parts, "") })
}

// Whatever names and texts come from AWS: the HCL means what the calls mean, has
// no other arguments, and each thing has an address of its own.
func TestTerraformTakesAnyText(t *testing.T) {
	p := listed(t)
	rapid.Check(t, func(rt *rapid.T) {
		in := everything(t, anyText().Draw(rt, "text"))
		in.Plan.ID = anyText().Draw(rt, "plan")
		in.Access = setUp(anyText().Draw(rt, "why"))
		name := func(what string) string { return "n" + anyText().Draw(rt, what) }
		in.Access.Policies[0].Name = name("policy")
		in.Access.Policies[0].Attach = []string{"arn:aws:iam::" + account + ":user/" + strings.ReplaceAll(name("user"), "/", "")}
		in.Access.Documents[0].Name = name("document")
		for i := range in.Plan.Waves[0].Steps {
			switch s := &in.Plan.Waves[0].Steps[i]; {
			case s.ID == "extend":
				s.Role.Name, s.Role.Policy = name("role"), name("inline policy")
			case s.Recovery != nil:
				s.Recovery.Type, s.Recovery.Image, s.Recovery.Subnets = name("type"), name("image"), []string{name("subnet")}
			case s.Endpoint != nil:
				s.Endpoint.Subnets = []string{name("subnet")}
				s.Endpoint.Policies = map[string]string{s.Endpoint.Services[0]: policy(strings.TrimSuffix(quoted(name("action"))[1:], `"`))}
			}
		}
		files := terraform(t, in)
		m := read(t, files)
		if diff := differ(t, in, m); diff != "" {
			rt.Errorf("(-calls +HCL):\n%s", diff)
		}
		for _, said := range p.departures(m) {
			rt.Error(said)
		}
		for _, f := range files {
			if strings.HasSuffix(f.Name, ".tf") && string(hclwrite.Format([]byte(f.Text))) != f.Text {
				rt.Errorf("%s is not formatted:\n%s", f.Name, f.Text)
			}
		}
	})
}

// What is there already is imported, by the IDs that the provider takes.
func TestTerraformImportsWhatIsThere(t *testing.T) {
	recovery := strings.ReplaceAll(plan.RecoveryName("vpc-1"), "-", "_") + "_" + account
	want := map[string]string{
		"aws_iam_role.migrate_rule_timer_" + account:                              "migrate-rule-timer",
		"aws_iam_role.migrate_session_manager_" + account:                         "migrate-session-manager",
		"aws_iam_role.awssystemsmanagerdefaultec2instancemanagementrole_" + other: "AWSSystemsManagerDefaultEC2InstanceManagementRole",
		"aws_iam_role_policy.migrate_rule_timer_migrate_rule_timer_1_" + account:  "migrate-rule-timer:migrate-rule-timer-1",
		"aws_iam_role_policy.web_migrate_session_manager_1_" + account:            "web:migrate-session-manager-1",
		"aws_iam_role_policy.migrate_session_manager_ssm_migrate_" + account:      "migrate-session-manager:" + plan.ProfilePolicy,
		"aws_iam_instance_profile.migrate_session_manager_" + account:             "migrate-session-manager",
		"aws_iam_policy.migrate_operators_" + account:                             "arn:aws:iam::" + account + ":policy/migrate-operators",
		"aws_ssm_document.ssm_sessionmanagerrunshell_" + account + "_eu_west_1":   "SSM-SessionManagerRunShell",
		"aws_security_group.migrate_endpoints_vpc_1_" + account:                   "sg-4",
		"aws_security_group." + recovery:                                          "sg-3",
		"aws_launch_template." + recovery:                                         "lt-1",
		"aws_autoscaling_group." + recovery:                                       plan.RecoveryName("vpc-1"),
		"aws_vpc_security_group_ingress_rule.sg_1_tcp_22_22_10_0_0_0_8":           "sgr-1",
		"aws_vpc_security_group_ingress_rule.sg_1_tcp_0_1023_2001_db8___32":       "sgr-2",
	}
	in := there(t)
	m := read(t, terraform(t, in))
	if diff := cmp.Diff(want, m.imports); diff != "" {
		t.Errorf("imports (-want +got):\n%s", diff)
	}

	// Rules that are there cannot be made again. Without their IDs they are left out.
	groups, err := export.RuleGroups(in)
	if err != nil {
		t.Fatal(err)
	}
	here := fleet.Place{Account: account, Region: "eu-west-1"}
	if diff := cmp.Diff(map[string]fleet.Place{"sg-1": here, "sg-2": here, "sg-3": here, "sg-4": here}, groups); diff != "" {
		t.Errorf("groups whose rules are asked for (-want +got):\n%s", diff)
	}
	rules := map[string]fleet.Rule{
		"aws_vpc_security_group_ingress_rule.sg_1_tcp_22_22_" + strings.ReplaceAll(plan.RecoveryName("vpc-1"), "-", "_"):                 {ID: "sgr-11", Protocol: "tcp", From: 22, To: 22, Group: "sg-3", GroupAccount: account},
		"aws_vpc_security_group_ingress_rule." + strings.ReplaceAll(plan.RecoveryName("vpc-1"), "-", "_") + "_tcp_22_22_198_51_100_0_24": {ID: "sgr-13", Protocol: "tcp", From: 22, To: 22, CIDR: prefix("198.51.100.0/24")},
		"aws_vpc_security_group_ingress_rule.migrate_endpoints_vpc_1_tcp_443_443_10_0_0_0_16":                                            {ID: "sgr-14", Protocol: "tcp", From: 443, To: 443, CIDR: prefix("10.0.0.0/16")},
	}
	for address, r := range rules {
		if m.blocks[address] != nil {
			t.Errorf("%s would be made a second time", address)
		}
		group := map[string]string{"sgr-11": "sg-1", "sgr-13": "sg-3", "sgr-14": "sg-4"}[r.ID]
		in.Rules[group] = append(in.Rules[group], r)
		want[address] = r.ID
	}
	if diff := cmp.Diff(want, read(t, terraform(t, in)).imports); diff != "" {
		t.Errorf("imports with the IDs of rules (-want +got):\n%s", diff)
	}
}
