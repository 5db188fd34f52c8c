package export_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"ssm-migrate/internal/export"
)

// shape is a resource, a data source or a block as the provider has it.
type shape struct {
	Import     string            `json:"import"`     // regular expression of the ID that imports it; empty: never imported
	Attributes map[string]string `json:"attributes"` // name → type, with "*" where required, " computed" where read only
	Blocks     map[string]shape  `json:"blocks"`
}

// provider is the list of what an export may use: testdata/resources.json tells
// where each entry was read.
type provider struct {
	Resources map[string]shape `json:"resources"`
	Data      map[string]shape `json:"data"`
	Provider  shape            `json:"provider"`
	Meta      shape            `json:"meta"` // Terraform's own arguments
}

func listed(t testing.TB) provider {
	t.Helper()
	text, err := os.ReadFile("testdata/resources.json")
	if err != nil {
		t.Fatal(err)
	}
	var p provider
	if err := json.Unmarshal(text, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

var argumentTypes = map[string]cty.Type{"string": cty.String, "number": cty.Number, "bool": cty.Bool, "set of string": cty.Set(cty.String), "map of string": cty.Map(cty.String)}

// departures tell where a configuration is not as the list has it.
type departures struct {
	provider

	m    *module
	said []string
}

func (d *departures) say(format string, args ...any) {
	d.said = append(d.said, fmt.Sprintf(format, args...))
}

func (p provider) departures(m *module) []string {
	d := &departures{provider: p, m: m}
	for _, address := range slices.Sorted(maps.Keys(m.blocks)) {
		b := m.blocks[address]
		all := p.Resources
		if b.Type == "data" {
			all = p.Data
		}
		s, ok := all[b.Labels[0]]
		if !ok {
			d.say("%s: %s is not listed", address, b.Labels[0])
			continue
		}
		d.body(address, b.Body, s, p.Meta)
		if id, ok := m.imports[address]; ok && (s.Import == "" || !regexp.MustCompile(`^(?:`+s.Import+`)$`).MatchString(id)) {
			d.say("%s: nothing is imported as %q", address, id)
		}
	}
	for alias, b := range m.providers {
		d.body("provider "+alias, b, p.Provider, shape{Attributes: map[string]string{"alias": "string"}})
	}
	return d.said
}

func (d *departures) body(where string, b *hclsyntax.Body, s, meta shape) {
	for _, name := range slices.Sorted(maps.Keys(b.Attributes)) {
		kind, ok := s.Attributes[name]
		if ok {
			d.value(where+" "+name, b.Attributes[name].Expr, kind)
		} else if meta.Attributes[name] == "" {
			d.say("%s: the provider has no argument %s", where, name)
		} else if name == "depends_on" {
			for _, to := range b.Attributes[name].Expr.Variables() {
				if address := to.RootName() + "." + to[1].(hcl.TraverseAttr).Name; d.m.blocks[address] == nil {
					d.say("%s depends on %s, which is not there", where, address)
				}
			}
		}
	}
	for name, kind := range s.Attributes {
		if strings.HasSuffix(kind, "*") && b.Attributes[name] == nil {
			d.say("%s lacks %s", where, name)
		}
	}
	for _, inner := range b.Blocks {
		if x, ok := s.Blocks[inner.Type]; ok {
			d.body(where+" "+inner.Type, inner.Body, x, shape{})
		} else if x, ok := meta.Blocks[inner.Type]; ok {
			d.ignored(where, inner.Body, s)
			d.body(where+" "+inner.Type, inner.Body, shape{}, x)
		} else {
			d.say("%s: the provider has no block %s", where, inner.Type)
		}
	}
}

func (d *departures) value(where string, e hclsyntax.Expression, kind string) {
	kind, computed := strings.CutSuffix(kind, " computed")
	if computed {
		d.say("%s is read only", where)
	}
	before := len(d.said)
	for _, to := range e.Variables() {
		d.reference(where, to)
	}
	if len(d.said) > before {
		return
	}
	v, diags := e.Value(d.m.ctx)
	if diags.HasErrors() {
		d.say("%s: %v", where, diags)
		return
	}
	if _, err := convert.Convert(v, argumentTypes[strings.TrimSuffix(kind, "*")]); err != nil {
		d.say("%s is no %s: %v", where, kind, err)
	}
}

// reference wants a listed attribute of a resource that is there.
func (d *departures) reference(where string, to hcl.Traversal) {
	var parts []string
	for i, step := range to {
		switch x := step.(type) {
		case hcl.TraverseRoot:
			parts = append(parts, x.Name)
		case hcl.TraverseAttr:
			parts = append(parts, x.Name)
		default:
			d.say("%s: step %d of its reference is a %T", where, i, step)
		}
	}
	all, n := d.Resources, len(parts)
	if parts[0] == "data" {
		all, n = d.Data, n-1
	}
	if n != 3 || d.m.blocks[strings.Join(parts[:len(parts)-1], ".")] == nil || all[parts[len(parts)-3]].Attributes[parts[len(parts)-1]] == "" {
		d.say("%s refers to %s, which is not there", where, strings.Join(parts, "."))
	}
}

// ignored wants lifecycle's ignore_changes to name arguments of the resource.
func (d *departures) ignored(where string, b *hclsyntax.Body, s shape) {
	a := b.Attributes["ignore_changes"]
	if a == nil {
		return
	}
	names, diags := hcl.ExprList(a.Expr)
	if diags.HasErrors() {
		d.say("%s: %v", where, diags)
	}
	for _, n := range names {
		if name := hcl.ExprAsKeyword(n); s.Attributes[name] == "" {
			d.say("%s ignores changes of %q, which it has not", where, name)
		}
	}
}

// Resources have only arguments that the provider has, of their types, and all
// that it requires; what is imported is imported by IDs as the provider takes them.
func TestTerraformUsesTheProvidersArguments(t *testing.T) {
	p, kinds := listed(t), map[string]bool{}
	for name, in := range map[string]export.Input{"everything": everything(t, "text"), "all of it there": there(t), "demo": demo(t)} {
		m := read(t, terraform(t, in))
		for _, said := range p.departures(m) {
			t.Errorf("%s: %s", name, said)
		}
		for _, b := range m.blocks {
			kinds[b.Type+" "+b.Labels[0]] = true
		}
	}
	for name := range p.Resources {
		if !kinds["resource "+name] {
			t.Errorf("no export has a %s: it is on the list, and nothing checks it", name)
		}
	}
	for name := range p.Data {
		if !kinds["data "+name] {
			t.Errorf("no export looks up a %s: it is on the list, and nothing checks it", name)
		}
	}
}

// The check finds what it is there for.
func TestDeparturesFromTheProviderAreFound(t *testing.T) {
	const group = `resource "aws_security_group" "x" {
  name = "x"
}
`
	for text, want := range map[string]string{
		group:                            "",
		`resource "aws_iam_rule" "x" {}`: "aws_iam_rule is not listed",
		`resource "aws_security_group" "x" { title = "x" }`:                                                                                                              "no argument title",
		`resource "aws_iam_role" "x" { name = "x" }`:                                                                                                                     "lacks assume_role_policy",
		`resource "aws_security_group" "x" { id = "sg-1" }`:                                                                                                              "id is read only",
		`resource "aws_security_group" "x" { name = ["x"] }`:                                                                                                             "name is no string",
		"resource \"aws_security_group\" \"x\" {\n  tags {\n  }\n}":                                                                                                      "no block tags",
		`resource "aws_launch_template" "x" { metadata_options = {} }`:                                                                                                   "no argument metadata_options",
		`data "aws_security_group" "x" { group = "x" }`:                                                                                                                  "no argument group",
		`resource "aws_security_group" "x" { depends_on = [aws_iam_role.x] }`:                                                                                            "depends on aws_iam_role.x",
		`provider "aws" { regoin = "eu-west-1" }`:                                                                                                                        "no argument regoin",
		group + "resource \"aws_iam_role_policy_attachment\" \"y\" {\n  role       = aws_security_group.x.arn\n  policy_arn = \"a\"\n}":                                  "refers to aws_security_group.x.arn",
		"resource \"aws_iam_role_policy_attachment\" \"y\" {\n  role       = aws_iam_role.z.name\n  policy_arn = \"a\"\n}":                                               "refers to aws_iam_role.z.name",
		"resource \"aws_launch_template\" \"x\" {\n  lifecycle {\n    ignore_changes = [capacity]\n  }\n}":                                                               `ignores changes of "capacity"`,
		"import {\n  to = aws_launch_template.x\n  id = \"name\"\n}\nresource \"aws_launch_template\" \"x\" {\n}":                                                        `nothing is imported as "name"`,
		"import {\n  to = aws_ssm_service_setting.x\n  id = \"y\"\n}\nresource \"aws_ssm_service_setting\" \"x\" {\n  setting_id    = \"a\"\n  setting_value = \"b\"\n}": `nothing is imported as "y"`,
	} {
		got := listed(t).departures(read(t, []export.File{{Name: "x.tf", Text: text}}))
		if want == "" && len(got) > 0 || want != "" && !strings.Contains(strings.Join(got, "\n"), want) {
			t.Errorf("%s\nis said to depart in %q, want %q", text, got, want)
		}
	}
}
