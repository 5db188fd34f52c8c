package export_test

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"ssm-migrate/internal/export"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// module is a configuration read back.
type module struct {
	blocks    map[string]*hclsyntax.Block // by address: "aws_iam_role.x", "data.aws_security_group.x"
	imports   map[string]string           // address → ID
	providers map[string]*hclsyntax.Body  // by alias; empty where there is one alone
	ctx       *hcl.EvalContext
	readme    string
}

func terraform(t testing.TB, in export.Input) []export.File {
	t.Helper()
	files, err := export.Terraform(in)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

var base64encode = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "text", Type: cty.String}}, Type: function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		return cty.StringVal(base64.StdEncoding.EncodeToString([]byte(args[0].AsString()))), nil
	},
})

// read parses the files; every address may be there once. References to a
// resource's id or name give "<address>".
func read(t testing.TB, files []export.File) *module {
	t.Helper()
	m := &module{blocks: map[string]*hclsyntax.Block{}, imports: map[string]string{}, providers: map[string]*hclsyntax.Body{}}
	p := hclparse.NewParser()
	var moved []*hclsyntax.Block
	for _, f := range files {
		if f.Name == "README.md" {
			m.readme = f.Text
			continue
		}
		parsed, diags := p.ParseHCL([]byte(f.Text), f.Name)
		if diags.HasErrors() {
			t.Fatalf("%v\n%s", diags, f.Text)
		}
		for _, b := range parsed.Body.(*hclsyntax.Body).Blocks {
			switch b.Type {
			case "resource", "data":
				address := strings.Join(b.Labels, ".")
				if b.Type == "data" {
					address = "data." + address
				}
				if m.blocks[address] != nil {
					t.Errorf("%s is there twice", address)
				}
				m.blocks[address] = b
			case "import":
				moved = append(moved, b)
			case "provider":
				alias := ""
				if a := b.Body.Attributes["alias"]; a != nil {
					v, _ := a.Expr.Value(nil)
					alias = v.AsString()
				}
				m.providers[alias] = b.Body
			case "terraform":
			default:
				t.Errorf("%s has a block %s", f.Name, b.Type)
			}
		}
	}
	m.ctx = &hcl.EvalContext{Functions: map[string]function.Function{"jsonencode": stdlib.JSONEncodeFunc, "base64encode": base64encode}, Variables: map[string]cty.Value{}}
	roots, data := map[string]map[string]cty.Value{}, map[string]map[string]cty.Value{}
	for address, b := range m.blocks {
		of := roots
		if b.Type == "data" {
			of = data
		}
		if of[b.Labels[0]] == nil {
			of[b.Labels[0]] = map[string]cty.Value{}
		}
		ref := cty.StringVal("<" + address + ">")
		of[b.Labels[0]][b.Labels[1]] = cty.ObjectVal(map[string]cty.Value{"id": ref, "name": ref, "arn": ref})
	}
	for kind, all := range roots {
		m.ctx.Variables[kind] = cty.ObjectVal(all)
	}
	looked := map[string]cty.Value{}
	for kind, all := range data {
		looked[kind] = cty.ObjectVal(all)
	}
	m.ctx.Variables["data"] = cty.ObjectVal(looked)
	for _, b := range moved {
		to, diags := hcl.AbsTraversalForExpr(b.Body.Attributes["to"].Expr)
		if diags.HasErrors() || len(to) != 2 {
			t.Fatal(diags)
		}
		address := to.RootName() + "." + to[1].(hcl.TraverseAttr).Name
		if m.blocks[address] == nil {
			t.Errorf("%s is imported and not there", address)
		}
		m.imports[address] = m.value(t, b.Body, "id").AsString()
	}
	return m
}

func (m *module) value(t testing.TB, b *hclsyntax.Body, name string) cty.Value {
	t.Helper()
	a := b.Attributes[name]
	if a == nil {
		return cty.NullVal(cty.String)
	}
	v, diags := a.Expr.Value(m.ctx)
	if diags.HasErrors() {
		t.Fatalf("%s: %v", name, diags)
	}
	return v
}

// plain is a body's attributes as JSON would have them; meta arguments are left out.
func (m *module) plain(t testing.TB, b *hclsyntax.Body) map[string]any {
	t.Helper()
	out := map[string]any{}
	for name := range b.Attributes {
		if name == "provider" || name == "depends_on" || name == "ignore_changes" {
			continue
		}
		v := m.value(t, b, name)
		text, err := ctyjson.Marshal(v, v.Type())
		if err != nil {
			t.Fatal(err)
		}
		var x any
		if err := json.Unmarshal(text, &x); err != nil {
			t.Fatal(err)
		}
		out[name] = x
	}
	return out
}

func (m *module) of(kind string) []string {
	var out []string
	for a := range m.blocks {
		if strings.HasPrefix(a, kind+".") {
			out = append(out, a)
		}
	}
	slices.Sort(out)
	return out
}

func sameJSON(t testing.TB, a, b string) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal([]byte(a), &x); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(b), &y); err != nil {
		t.Fatal(err)
	}
	return cmp.Equal(x, y)
}

// rules reads rules back as the plan has them, with their groups.
func (m *module) rules(t testing.TB) map[string][]fleet.Rule {
	t.Helper()
	out := map[string][]fleet.Rule{}
	for _, a := range append(m.of("aws_vpc_security_group_ingress_rule"), m.of("aws_vpc_security_group_egress_rule")...) {
		v := m.plain(t, m.blocks[a].Body)
		r := fleet.Rule{ID: m.imports[a], Egress: strings.Contains(a, "egress"), From: -1, To: -1}
		str := func(name string) string { s, _ := v[name].(string); return s }
		r.Protocol, r.Description, r.PrefixList, r.Group = str("ip_protocol"), str("description"), str("prefix_list_id"), str("referenced_security_group_id")
		if c := str("cidr_ipv4") + str("cidr_ipv6"); c != "" {
			r.CIDR = prefix(c)
		}
		if n, ok := v["from_port"].(float64); ok {
			r.From, r.To = int(n), int(v["to_port"].(float64))
		}
		out[str("security_group_id")] = append(out[str("security_group_id")], r)
	}
	return out
}

// All that the plan wants is read back from the HCL, whatever texts are in it.
func TestTerraformSaysWhatThePlanSays(t *testing.T) {
	for _, text := range []string{"text", hostile} {
		in := everything(t, text)
		m := read(t, terraform(t, in))
		rules := m.rules(t)
		group := func(name string) string {
			if strings.HasPrefix(name, "sg-") {
				return name
			}
			return "<aws_security_group." + strings.ReplaceAll(name, "-", "_") + "_" + account + ">"
		}
		want := map[string][]fleet.Rule{}
		for _, s := range in.Plan.Waves[0].Steps {
			switch {
			case s.Rules != nil:
				for _, r := range append(slices.Clone(s.Rules.Rules), s.Rules.Add...) {
					if r.Group != "" {
						r.Group = group(r.Group)
					}
					for _, known := range in.Rules[s.Rules.Group] {
						if known.Same(r) {
							r.ID = known.ID
						}
					}
					want[s.Rules.Group] = append(want[s.Rules.Group], r)
				}
			case s.Endpoint != nil:
				want[group(s.Endpoint.Group)] = []fleet.Rule{{Protocol: "tcp", From: 443, To: 443, CIDR: prefix(s.Endpoint.Sources[0])}, allOut}
				got := map[string]string{}
				for _, a := range m.of("aws_vpc_endpoint") {
					v := m.plain(t, m.blocks[a].Body)
					got[v["service_name"].(string)] = quotedAny([]any{v["vpc_id"], v["vpc_endpoint_type"], v["subnet_ids"], v["security_group_ids"], v["private_dns_enabled"]})
				}
				line := quotedAny([]any{s.Endpoint.VPC, "Interface", s.Endpoint.Subnets, []string{group(s.Endpoint.Group)}, true})
				if diff := cmp.Diff(map[string]string{s.Endpoint.Services[0]: line, s.Endpoint.Services[1]: line}, got); diff != "" {
					t.Errorf("endpoints (-plan +HCL):\n%s", diff)
				}
			case s.Role != nil:
				policyOf(t, m, s.Role.Name, s.Role.Policy, s.Role.Trust, s.Role.Document)
			case s.Profile != nil:
				policyOf(t, m, s.Profile.Name, plan.ProfilePolicy, plan.TrustEC2, s.Profile.Policy)
			case s.Preferences != nil:
				a := m.of("aws_ssm_document")[0]
				if got := m.value(t, m.blocks[a].Body, "content").AsString(); !sameJSON(t, got, s.Preferences.Document) || m.imports[a] != fleet.PreferencesName {
					t.Errorf("preferences: %s, imported as %q", got, m.imports[a])
				}
			case s.Setting != nil:
				v := m.plain(t, m.blocks[m.of("aws_ssm_service_setting")[0]].Body)
				if v["setting_value"] != s.Setting.Value || v["setting_id"] != "arn:aws:ssm:us-east-1:"+other+":servicesetting/ssm/managed-instance/default-ec2-instance-management-role" {
					t.Errorf("default host management: %v", v)
				}
			case s.Recovery != nil:
				want[group(s.Recovery.Name)] = []fleet.Rule{{Protocol: "tcp", From: 22, To: 22, CIDR: prefix(s.Recovery.From[0])}, allOut}
				bastion(t, m, s.Recovery)
			}
		}
		for g := range want {
			byLine := func(a, b fleet.Rule) int { return strings.Compare(quotedAny(a), quotedAny(b)) }
			slices.SortFunc(want[g], byLine)
			slices.SortFunc(rules[g], byLine)
		}
		if diff := cmp.Diff(quotedAny(want), quotedAny(rules)); diff != "" {
			t.Errorf("rules (-plan +HCL):\n%s", diff)
		}
		if !strings.Contains(m.readme, "Do install") || !strings.Contains(m.readme, "iam_instance_profile") {
			t.Errorf("README.md leaves out what no resource can say:\n%s", m.readme)
		}
	}
}

var allOut = fleet.Rule{Egress: true, Protocol: "-1", From: -1, To: -1, CIDR: prefix("0.0.0.0/0")}

// policyOf compares a role's inline policy, and its trust where the plan makes the role.
func policyOf(t *testing.T, m *module, role, name, trust, document string) {
	t.Helper()
	for _, a := range m.of("aws_iam_role_policy") {
		v := m.plain(t, m.blocks[a].Body)
		made := "<aws_iam_role." + strings.ReplaceAll(role, "-", "_") + "_" + account + ">"
		if v["name"] != name || v["role"] != role && v["role"] != made {
			continue
		}
		if !sameJSON(t, v["policy"].(string), document) {
			t.Errorf("policy %s of %s: %s", name, role, v["policy"])
		}
		if id := m.imports[a]; role == "web" && id != "web:"+name {
			t.Errorf("policy %s of %s exists, and is imported as %q", name, role, id)
		}
		if trust == "" {
			return
		}
		r := m.plain(t, m.blocks[strings.Trim(made, "<>")].Body)
		if !sameJSON(t, r["assume_role_policy"].(string), trust) || r["name"] != role {
			t.Errorf("role %s: %v", role, r)
		}
		return
	}
	t.Errorf("role %s has no policy %s", role, name)
}

func bastion(t *testing.T, m *module, c *plan.RecoveryChange) {
	t.Helper()
	lt := m.blocks[m.of("aws_launch_template")[0]].Body
	data, err := plan.BastionData(c.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	v := m.plain(t, lt)
	if v["user_data"] != base64.StdEncoding.EncodeToString([]byte(data)) || v["image_id"] != c.Image || v["instance_type"] != c.Type || v["name"] != c.Name {
		t.Errorf("launch template: %v", v)
	}
	blocks := map[string]map[string]any{}
	for _, b := range lt.Blocks {
		blocks[b.Type] = m.plain(t, b.Body)
	}
	if blocks["metadata_options"]["http_tokens"] != "required" || blocks["network_interfaces"]["associate_public_ip_address"] != c.Public {
		t.Errorf("launch template: %v", blocks)
	}
	g := m.plain(t, m.blocks[m.of("aws_autoscaling_group")[0]].Body)
	if want := map[string]any{"name": c.Name, "min_size": 0.0, "max_size": 1.0, "desired_capacity": 0.0, "vpc_zone_identifier": []any{"subnet-a", "subnet-b"}}; !cmp.Equal(want, g) {
		t.Errorf("Auto Scaling group (-plan +HCL):\n%s", cmp.Diff(want, g))
	}
}

// tofu fmt formats with the same library; make hcl runs it.
func TestTerraformIsFormatted(t *testing.T) {
	for _, text := range []string{"text", hostile} {
		for _, f := range terraform(t, everything(t, text)) {
			if strings.HasSuffix(f.Name, ".tf") && string(hclwrite.Format([]byte(f.Text))) != f.Text {
				t.Errorf("%s is not formatted:\n%s", f.Name, f.Text)
			}
		}
	}
}

// Every resource names a provider that is there, which works on no other account.
func TestTerraformKeepsAccountsApart(t *testing.T) {
	m := read(t, terraform(t, everything(t, "text")))
	if len(m.providers) != 2 {
		t.Errorf("providers: %v", m.providers)
	}
	for address, b := range m.blocks {
		a := b.Body.Attributes["provider"]
		if a == nil {
			t.Errorf("%s has no provider", address)
			continue
		}
		to, _ := hcl.AbsTraversalForExpr(a.Expr)
		if len(to) != 2 || m.providers[to[1].(hcl.TraverseAttr).Name] == nil {
			t.Errorf("%s has an unknown provider", address)
		}
	}
}

// Nothing in it closes a port: rules that go can only be imported, or named.
func TestTerraformWithoutRuleIDsOnlyNamesWhatGoes(t *testing.T) {
	in := everything(t, "text")
	in.Rules = nil
	files := terraform(t, in)
	m := read(t, files)
	for _, r := range m.rules(t)["sg-1"] {
		if r.Admits(22) && r.Group == "" {
			t.Errorf("%v would be authorized again", r)
		}
	}
	i := slices.IndexFunc(files, func(f export.File) bool { return f.Name == "close.tf" })
	if i < 0 || !strings.Contains(files[i].Text, "To be deleted where sg-1") {
		t.Errorf("close.tf does not say what to delete")
	}
}

// What changes a resource only by making it anew, and may differ from one plan to
// the next, is left as it is: its end would take access away.
func TestTerraformMakesNoPolicyAnew(t *testing.T) {
	m := read(t, terraform(t, there(t)))
	for _, address := range m.of("aws_iam_policy") {
		blocks := m.blocks[address].Body.Blocks
		if len(blocks) != 1 || blocks[0].Type != "lifecycle" {
			t.Fatalf("%s has blocks %v", address, blocks)
		}
		names, _ := hcl.ExprList(blocks[0].Body.Attributes["ignore_changes"].Expr)
		if len(names) != 1 || hcl.ExprAsKeyword(names[0]) != "description" {
			t.Errorf("%s is made anew when its description changes", address)
		}
	}
}
