package export

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// Terraform writes HCL for Terraform and OpenTofu, formatted, a file for each
// area, and a README.md that tells what no resource can say. Things that the snapshot shows get import
// blocks. Applying all of it closes nothing. ErrNothing says that there is nothing to write.
func Terraform(in Input) ([]File, error) {
	w, err := begin(in)
	if err != nil {
		return nil, err
	}
	if w.nothing() {
		return nil, ErrNothing
	}
	t := &terraform{work: w, files: map[string]*hclwrite.File{}, done: map[string]string{}, made: map[string]string{}}
	for _, j := range w.jobs {
		switch j.Kind {
		case plan.CreateEndpoint:
			if j.Endpoint.Tables == nil {
				t.made[key(j.at.Account, j.at.Region, j.Endpoint.Group)] = t.groupName(j, j.Endpoint.Group)
			}
		case plan.RecoveryGroup:
			t.made[key(j.at.Account, j.at.Region, j.Recovery.Name)] = t.groupName(j, j.Recovery.Name)
		}
	}
	for _, j := range w.jobs {
		if err := t.job(j); err != nil {
			return nil, fmt.Errorf("export step %s: %w", j.ID, err)
		}
	}
	if err := t.access(); err != nil {
		return nil, fmt.Errorf("export the access set-up: %w", err)
	}
	t.providers()
	var out []File
	for _, name := range slices.Sorted(maps.Keys(t.files)) {
		text := hclwrite.Format(t.files[name].Bytes())
		out = append(out, File{Name: name, Text: string(bytes.TrimLeft(text, "\n"))})
	}
	out = append(out, t.hostFiles()...)
	return append(out, File{Name: "README.md", Text: t.readme()}), nil
}

// terraform is a configuration in the making.
type terraform struct {
	*work

	files map[string]*hclwrite.File
	done  map[string]string // addresses that are taken, and by what
	made  map[string]string // names of resources of groups, by account/region/group
}

// Files of the configuration.
const (
	fileIAM      = "iam.tf"
	fileNetwork  = "network.tf"
	fileSession  = "session.tf"
	fileRecovery = "recovery.tf"
	fileClose    = "close.tf"
	fileSSH      = "ssh.tf"
)

func (t *terraform) file(name string) *hclwrite.Body {
	if t.files[name] == nil {
		t.files[name] = hclwrite.NewEmptyFile()
		comment(t.files[name].Body(), "Plan "+safe(t.Plan.ID, "-")+", written by migrate export terraform.")
	}
	return t.files[name].Body()
}

func comment(b *hclwrite.Body, lines ...string) {
	for _, l := range lines {
		b.AppendUnstructuredTokens(hclwrite.Tokens{{Type: hclsyntax.TokenComment, Bytes: []byte("# " + l + "\n")}})
	}
}

// label makes a resource's name of texts that identify what it stands for.
func label(parts ...string) string {
	name := strings.Trim(strings.ToLower(safe(strings.Join(parts, "_"), "")), "_")
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		name = "r_" + name
	}
	return name
}

// inAccount is label with the account: names in IAM are unique there only. It is
// in every name, so that no name changes when another account comes in.
func inAccount(j job, parts ...string) string { return label(append(parts, j.at.Account)...) }

func inRegion(j job, parts ...string) string {
	return label(append(parts, j.at.Account, j.at.Region)...)
}

func (t *terraform) groupName(j job, group string) string { return inAccount(j, group) }

// claim gives the address for a thing, with a hash where another thing has the
// same; first is false where the thing has been written already.
func (t *terraform) claim(kind, name, thing string) (_ string, first bool) {
	thing = key(kind, thing)
	address := kind + "." + name
	if by, ok := t.done[address]; ok && by != thing {
		name += "_" + hash(thing)
		address = kind + "." + name
	}
	_, ok := t.done[address]
	t.done[address] = thing
	return name, !ok
}

// resource opens a resource; nil where the thing has one already. With an id it
// exists, and is imported.
func (t *terraform) resource(file string, j job, kind, name, thing, id string) (*hclwrite.Body, string) {
	name, first := t.claim(kind, name, key(j.at.Account, thing))
	if !first {
		return nil, name
	}
	b := t.file(file)
	if id != "" {
		b.AppendNewline()
		im := b.AppendNewBlock("import", nil).Body()
		im.SetAttributeRaw("to", refer(kind, name))
		im.SetAttributeValue("id", cty.StringVal(id))
	}
	b.AppendNewline()
	r := b.AppendNewBlock("resource", []string{kind, name}).Body()
	t.provider(r, j.at)
	return r, name
}

// provider names the provider of a place, where there are several.
func (t *terraform) provider(b *hclwrite.Body, at fleet.Place) {
	if len(t.places) > 1 {
		b.SetAttributeRaw("provider", refer("aws", alias(at)))
	}
}

func alias(at fleet.Place) string { return label("a"+at.Account, at.Region) }

func refer(parts ...string) hclwrite.Tokens {
	tr := hcl.Traversal{hcl.TraverseRoot{Name: parts[0]}}
	for _, p := range parts[1:] {
		tr = append(tr, hcl.TraverseAttr{Name: p})
	}
	return hclwrite.TokensForTraversal(tr)
}

func text(b *hclwrite.Body, name, value string) { b.SetAttributeValue(name, cty.StringVal(value)) }

func number(b *hclwrite.Body, name string, value int) {
	b.SetAttributeValue(name, cty.NumberIntVal(int64(value)))
}

func list(b *hclwrite.Body, name string, values []string) {
	if len(values) == 0 {
		b.SetAttributeValue(name, cty.ListValEmpty(cty.String))
		return
	}
	all := make([]cty.Value, 0, len(values))
	for _, v := range values {
		all = append(all, cty.StringVal(v))
	}
	b.SetAttributeValue(name, cty.ListVal(all))
}

// encoded sets an attribute to jsonencode of a JSON document.
func encoded(b *hclwrite.Body, name, document string) error {
	kind, err := ctyjson.ImpliedType([]byte(document))
	if err != nil {
		return fmt.Errorf("read a document of the plan: %w", err)
	}
	v, err := ctyjson.Unmarshal([]byte(document), kind)
	if err != nil {
		return fmt.Errorf("read a document of the plan: %w", err)
	}
	b.SetAttributeRaw(name, hclwrite.TokensForFunctionCall("jsonencode", hclwrite.TokensForValue(v)))
	return nil
}

func (t *terraform) tagged(b *hclwrite.Body, more ...tag) {
	tags := map[string]cty.Value{}
	for _, x := range t.tags(more...) {
		tags[x.Key] = cty.StringVal(x.Value)
	}
	b.SetAttributeValue("tags", cty.MapVal(tags))
}

// say writes what a job is above its resources.
func (t *terraform) say(file string, j job) {
	b := t.file(file)
	b.AppendNewline()
	comment(b, t.about(j)...)
}

func (t *terraform) job(j job) error {
	switch j.Kind {
	case plan.AttachProfile, plan.ExtendRole, plan.DefaultHostManagement:
		t.say(fileIAM, j)
		if err := t.role(fileIAM, j); err != nil {
			return err
		}
		t.profile(j)
		t.setting(j)
	case plan.TimerRole:
		t.say(fileRecovery, j)
		return t.role(fileRecovery, j)
	case plan.AllowEgress:
		t.say(fileNetwork, j)
		t.rules(fileNetwork, j, j.Rules.Group, j.Rules.Rules)
	case plan.CreateEndpoint:
		t.say(fileNetwork, j)
		t.endpoints(j)
	case plan.SessionPreferences:
		t.say(fileSession, j)
		return t.preferences(j)
	case plan.RecoveryGroup:
		t.say(fileRecovery, j)
		return t.recovery(j)
	case plan.RecoveryRule:
		t.say(fileRecovery, j)
		t.rules(fileRecovery, j, j.Rules.Group, j.Rules.Rules)
	case plan.ClosePort:
		t.say(fileClose, j)
		t.rules(fileClose, j, j.Rules.Group, j.Rules.Add)
		t.doors(j)
	}
	return nil
}

// role writes the role, where the step may make it, and what it gets.
func (t *terraform) role(file string, j job) error {
	r, ok := roleOf(j)
	if !ok {
		return nil
	}
	name := hclwrite.TokensForValue(cty.StringVal(r.name))
	if r.trust != "" {
		b, at := t.resource(file, j, "aws_iam_role", inAccount(j, r.name), r.name, existing(t.seen.roles[key(j.at.Account, r.name)], r.name))
		name = refer("aws_iam_role", at, "name")
		if b != nil {
			text(b, "name", r.name)
			text(b, "path", r.path)
			if err := encoded(b, "assume_role_policy", r.trust); err != nil {
				return err
			}
			t.tagged(b)
		}
	}
	if r.managed != "" {
		if b, _ := t.resource(file, j, "aws_iam_role_policy_attachment", inAccount(j, r.name), r.managed, ""); b != nil {
			b.SetAttributeRaw("role", name)
			text(b, "policy_arn", r.managed)
		}
	}
	if r.policy == "" {
		return nil
	}
	id := existing(t.seen.inline[key(j.at.Account, r.name, r.policy)], r.name+":"+r.policy)
	b, _ := t.resource(file, j, "aws_iam_role_policy", inAccount(j, r.name, r.policy), key(r.name, r.policy), id)
	if b == nil {
		return nil
	}
	text(b, "name", r.policy)
	b.SetAttributeRaw("role", name)
	return encoded(b, "policy", r.document)
}

func existing(there bool, id string) string {
	if there {
		return id
	}
	return ""
}

func (t *terraform) profile(j job) {
	if j.Profile == nil || !j.Profile.Create {
		return
	}
	name := j.Profile.Name
	b, _ := t.resource(fileIAM, j, "aws_iam_instance_profile", inAccount(j, name), name, existing(t.seen.profiles[key(j.at.Account, name)], name))
	if b == nil {
		return
	}
	text(b, "name", name)
	b.SetAttributeRaw("role", refer("aws_iam_role", inAccount(j, name), "name"))
	t.tagged(b)
}

func (t *terraform) setting(j job) {
	if j.Setting == nil {
		return
	}
	id := "arn:" + fleet.Partition(j.at.Region) + ":ssm:" + j.at.Region + ":" + j.at.Account + ":servicesetting" + defaultRoleSetting
	if b, _ := t.resource(fileIAM, j, "aws_ssm_service_setting", inRegion(j, "default_host_management"), id, ""); b != nil {
		text(b, "setting_id", id)
		text(b, "setting_value", j.Setting.Value)
	}
}

func (t *terraform) preferences(j job) error {
	id := existing(t.seen.documents[key(j.at.Account, j.at.Region)], fleet.PreferencesName)
	b, _ := t.resource(fileSession, j, "aws_ssm_document", inRegion(j, fleet.PreferencesName), key(j.at.Region, fleet.PreferencesName), id)
	if b == nil {
		return nil
	}
	text(b, "name", fleet.PreferencesName)
	text(b, "document_type", "Session")
	text(b, "document_format", "JSON")
	return encoded(b, "content", j.Preferences.Document)
}
