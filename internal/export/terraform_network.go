package export

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// group is an expression for the ID of a security group: its own for one that
// the plan knows by its ID, else of the resource that makes it, or of a look-up.
func (t *terraform) group(file string, j job, id string) hclwrite.Tokens {
	if strings.HasPrefix(id, "sg-") {
		return hclwrite.TokensForValue(cty.StringVal(id))
	}
	if name := t.made[key(j.at.Account, j.at.Region, id)]; name != "" {
		return refer("aws_security_group", name, "id")
	}
	name, first := t.claim("data.aws_security_group", t.groupName(j, id), key(j.at.Account, j.at.Region, id))
	if first {
		b := t.file(file)
		b.AppendNewline()
		d := b.AppendNewBlock("data", []string{"aws_security_group", name}).Body()
		t.provider(d, j.at)
		text(d, "vpc_id", vpcOf(j, id))
		text(d, "name", id)
	}
	return refer("data", "aws_security_group", name, "id")
}

// ruleLabel tells rules of one group apart by what they let through.
func ruleLabel(group string, r fleet.Rule) string {
	source := r.PrefixList + r.Group
	if r.CIDR.IsValid() {
		source = r.CIDR.String()
	}
	ports := ""
	if r.Protocol != "-1" {
		ports = strconv.Itoa(r.From) + "_" + strconv.Itoa(r.To)
	}
	protocol := r.Protocol
	if protocol == "-1" {
		protocol = "all"
	}
	return label(group, protocol, ports, source)
}

// ruleID is the ID of a rule that does the same; empty where none is known.
func (t *terraform) ruleID(group string, r fleet.Rule) string {
	for _, have := range t.Rules[group] {
		if r.GroupAccount == "" {
			have.GroupAccount = ""
		}
		if have.Same(r) {
			return have.ID
		}
	}
	return ""
}

func ruleKind(r fleet.Rule) string {
	if r.Egress {
		return "aws_vpc_security_group_egress_rule"
	}
	return "aws_vpc_security_group_ingress_rule"
}

// rules writes a resource for each rule. EC2 refuses a second rule that lets the
// same through: one that is there is imported, or only named where its ID is not known.
func (t *terraform) rules(file string, j job, group string, rules []fleet.Rule) {
	at := t.groupID(j, group)
	for _, r := range rules {
		as := r
		if r.Group != "" {
			as.Group = t.groupID(j, r.Group)
		}
		id := t.ruleID(at, as)
		if id == "" && t.seen.rule(at, as) {
			comment(t.file(file), "There already (--rule-ids imports it): "+ruleKind(r)+"."+ruleLabel(group, r))
			continue
		}
		t.rule(file, j, group, r, id)
	}
}

func (t *terraform) rule(file string, j job, group string, r fleet.Rule, id string) {
	kind := ruleKind(r)
	on := t.group(file, j, group)
	var from hclwrite.Tokens
	if r.Group != "" {
		from = t.group(file, j, r.Group)
	}
	name := ruleLabel(group, r)
	b, _ := t.resource(file, j, kind, name, key(j.at.Region, group, name, r.Description), id)
	if b == nil {
		return
	}
	b.SetAttributeRaw("security_group_id", on)
	text(b, "ip_protocol", r.Protocol)
	if r.Protocol != "-1" {
		number(b, "from_port", r.From)
		number(b, "to_port", r.To)
	}
	switch {
	case r.Group != "" && r.GroupAccount != "":
		text(b, "referenced_security_group_id", r.GroupAccount+"/"+r.Group)
	case r.Group != "":
		b.SetAttributeRaw("referenced_security_group_id", from)
	case r.PrefixList != "":
		text(b, "prefix_list_id", r.PrefixList)
	case r.CIDR.Addr().Is4():
		text(b, "cidr_ipv4", r.CIDR.String())
	default:
		text(b, "cidr_ipv6", r.CIDR.String())
	}
	if r.Description != "" {
		text(b, "description", r.Description)
	}
	if id == "" {
		t.tagged(b)
	}
}

// securityGroup makes a group. The provider takes away the rule for all outbound
// traffic that EC2 gives a new group; the group has it from migrate, so it is written.
func (t *terraform) securityGroup(file string, j job, vpc, name, description string, in []fleet.Rule, more ...tag) {
	id := t.seen.groups[key(j.at.Account, j.at.Region, vpc, name)].ID
	b, _ := t.resource(file, j, "aws_security_group", t.groupName(j, name), key(j.at.Region, name), id)
	if b == nil {
		return
	}
	text(b, "name", name)
	text(b, "description", description)
	text(b, "vpc_id", vpc)
	t.tagged(b, more...)
	t.rules(file, j, name, in)
	if id == "" {
		t.rules(file, j, name, []fleet.Rule{{Egress: true, Protocol: "-1", From: -1, To: -1, CIDR: anywhere}})
	}
}

var anywhere, _ = parsePrefix("0.0.0.0/0")

func (t *terraform) endpoints(j job) {
	c := j.Endpoint
	if c.Tables != nil {
		t.gateway(j)
		return
	}
	t.securityGroup(fileNetwork, j, c.VPC, c.Group, plan.EndpointGroupText, https(c))
	for _, service := range c.Services {
		short := service[strings.LastIndexByte(service, '.')+1:]
		b, _ := t.resource(fileNetwork, j, "aws_vpc_endpoint", inAccount(j, c.VPC, short), key(c.VPC, service), "")
		if b == nil {
			continue
		}
		text(b, "vpc_id", c.VPC)
		text(b, "service_name", service)
		text(b, "vpc_endpoint_type", "Interface")
		list(b, "subnet_ids", c.Subnets)
		b.SetAttributeRaw("security_group_ids", hclwrite.TokensForTuple([]hclwrite.Tokens{t.group(fileNetwork, j, c.Group)}))
		b.SetAttributeValue("private_dns_enabled", cty.True)
		if p := c.Policies[service]; p != "" {
			text(b, "policy", p)
		}
		t.tagged(b)
		// The names lead the whole VPC to the endpoint from the moment that it is there.
		depends := make([]hclwrite.Tokens, 0, len(c.Sources))
		for _, r := range https(c) {
			if name := ruleLabel(c.Group, r); t.done[ruleKind(r)+"."+name] != "" {
				depends = append(depends, refer(ruleKind(r), name))
			}
		}
		if len(depends) > 0 {
			b.SetAttributeRaw("depends_on", hclwrite.TokensForTuple(depends))
		}
	}
}

func (t *terraform) gateway(j job) {
	c := j.Endpoint
	b, _ := t.resource(fileNetwork, j, "aws_vpc_endpoint", inAccount(j, c.VPC, "s3"), key(c.VPC, c.Services[0]), "")
	if b == nil {
		return
	}
	text(b, "vpc_id", c.VPC)
	text(b, "service_name", c.Services[0])
	text(b, "vpc_endpoint_type", "Gateway")
	list(b, "route_table_ids", c.Tables)
	if p := c.Policies[c.Services[0]]; p != "" {
		text(b, "policy", p)
	}
	t.tagged(b)
}

func ignore(b *hclwrite.Body, names ...string) {
	all := make([]hclwrite.Tokens, 0, len(names))
	for _, n := range names {
		all = append(all, hclwrite.TokensForIdentifier(n))
	}
	b.AppendNewBlock("lifecycle", nil).Body().SetAttributeRaw("ignore_changes", hclwrite.TokensForTuple(all))
}

// recovery makes the bastion's group, template and Auto Scaling group. What
// migrate recovery open and recovery rotate change is not Terraform's to change back.
func (t *terraform) recovery(j job) error {
	c := j.Recovery
	data, err := plan.BastionData(c.PublicKey)
	if err != nil {
		return err
	}
	t.securityGroup(fileRecovery, j, c.VPC, c.Name, plan.RecoveryGroupText, fromOperators(c), tag{"Name", c.Name})
	b, name := t.resource(fileRecovery, j, "aws_launch_template", inAccount(j, c.Name), key(j.at.Region, c.Name), t.seen.templates[key(j.at.Account, j.at.Region, c.Name)])
	if b != nil {
		text(b, "name", c.Name)
		text(b, "image_id", c.Image)
		text(b, "instance_type", c.Type)
		b.SetAttributeRaw("user_data", hclwrite.TokensForFunctionCall("base64encode", hclwrite.TokensForValue(cty.StringVal(data))))
		t.tagged(b, tag{"Name", c.Name}, tag{fleet.TagUser, c.User})
		meta := b.AppendNewBlock("metadata_options", nil).Body()
		text(meta, "http_endpoint", "enabled")
		text(meta, "http_tokens", "required")
		net := b.AppendNewBlock("network_interfaces", nil).Body()
		number(net, "device_index", 0)
		net.SetAttributeValue("associate_public_ip_address", cty.BoolVal(c.Public))
		net.SetAttributeRaw("security_groups", hclwrite.TokensForTuple([]hclwrite.Tokens{t.group(fileRecovery, j, c.Name)}))
		ignore(b, "user_data", "default_version")
	}
	there := existing(t.seen.scaling[key(j.at.Account, j.at.Region, c.Name)], c.Name)
	g, _ := t.resource(fileRecovery, j, "aws_autoscaling_group", inAccount(j, c.Name), key(j.at.Region, c.Name), there)
	if g == nil {
		return nil
	}
	text(g, "name", c.Name)
	number(g, "min_size", 0)
	number(g, "max_size", 1)
	number(g, "desired_capacity", 0)
	list(g, "vpc_zone_identifier", c.Subnets)
	lt := g.AppendNewBlock("launch_template", nil).Body()
	lt.SetAttributeRaw("id", refer("aws_launch_template", name, "id"))
	text(lt, "version", "$Default")
	for _, x := range t.tags(tag{"Name", c.Name}) {
		tb := g.AppendNewBlock("tag", nil).Body()
		text(tb, "key", x.Key)
		text(tb, "value", x.Value)
		tb.SetAttributeValue("propagate_at_launch", cty.True)
	}
	ignore(g, "desired_capacity", "max_size")
	return nil
}

// doors writes the rules that let port 22 in as they stand, to be imported and
// then deleted. Without their IDs they can only be named.
func (t *terraform) doors(j job) {
	var known, unknown []fleet.Rule
	for _, r := range j.Rules.Rules {
		if t.ruleID(j.Rules.Group, r) == "" {
			unknown = append(unknown, r)
		} else {
			known = append(known, r)
		}
	}
	if len(known) > 0 {
		if t.files[fileSSH] == nil {
			comment(t.file(fileSSH), "Rules that let port 22 in, as they stand. Apply once, so that they are in the state. When migrate has",
				"proved sessions on all hosts behind a group, delete its part of this file and apply again: that closes it.")
		}
		t.say(fileSSH, j)
		for _, r := range known {
			t.rule(fileSSH, j, j.Rules.Group, r, t.ruleID(j.Rules.Group, r))
		}
	}
	if len(unknown) > 0 {
		comment(t.file(fileClose), "To be deleted where "+t.seen.group(j.Rules.Group)+" is defined: the rules with - above.",
			"(migrate export terraform --rule-ids writes them with import blocks.)")
	}
}

// providers writes which providers the resources need: one for each account and
// Region, which works on no other account.
func (t *terraform) providers() {
	b := t.file("providers.tf")
	comment(b, "Leave this file out where the module has its providers already.")
	b.AppendNewline()
	tf := b.AppendNewBlock("terraform", nil).Body()
	text(tf, "required_version", ">= 1.5.0") // import blocks
	aws := map[string]cty.Value{"source": cty.StringVal("hashicorp/aws"), "version": cty.StringVal(">= 5.0.0")}
	tf.AppendNewBlock("required_providers", nil).Body().SetAttributeValue("aws", cty.ObjectVal(aws))
	for _, at := range t.places {
		b.AppendNewline()
		p := b.AppendNewBlock("provider", []string{"aws"}).Body()
		if len(t.places) > 1 {
			text(p, "alias", alias(at))
		}
		text(p, "region", at.Region)
		list(p, "allowed_account_ids", []string{at.Account})
	}
}

// md makes a foreign text fit for a list of Markdown.
func md(s string) string {
	return "`" + strings.ReplaceAll(line(s), "`", "'") + "`"
}

// readme tells what resources cannot say: what belongs into resources that
// somebody has already, and what happens on hosts.
func (t *terraform) readme() string {
	var b strings.Builder
	put := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	put("# Plan %s as Terraform\n", md(t.Plan.ID))
	put("Written by `migrate export terraform` from the plan of %s. Applying it closes nothing.\n", t.Plan.Made.UTC().Format("2006-01-02 15:04 UTC"))
	put("1. Read the files, and move what belongs there into your own. What exists already has an `import` block.")
	put("2. Apply them while `migrate apply %s` runs or before: it waits for steps that are handed over, and finds the others done.", safe(t.Plan.ID, "-"))
	put("3. Close port 22 only when `migrate apply` has proved sessions on all hosts behind a group.")
	if edits := t.edits(); len(edits) > 0 {
		put("\n## Edits in resources that you have already\n")
		for _, e := range edits {
			put("- %s", e)
		}
	}
	if len(t.onHost) > 0 {
		put("\n## On hosts, and what else is not in here\n\nNo resource does these; `migrate apply` does them, or waits for them where the policy leaves them to others.\n")
		for _, s := range t.onHost {
			left := ""
			if s.Handed || s.Kind == plan.WaitFor {
				left = " (waits for others)"
			}
			put("- %s%s", md(s.Title), left)
		}
	}
	t.readmeHosts(put)
	return b.String()
}

func (t *terraform) edits() []string {
	var out []string
	for _, j := range t.jobs {
		switch j.Kind {
		case plan.AttachProfile:
			for _, h := range j.hosts {
				out = append(out, fmt.Sprintf("`aws_instance` of %s: `iam_instance_profile = %q`", md(t.seen.host(h)), line(j.Profile.Name)))
			}
		case plan.ScaleIn:
			c := j.Scaling
			out = append(out, fmt.Sprintf("`aws_autoscaling_group` %s, after the last wave: `min_size = %d`, `desired_capacity = %d`", md(c.Group), c.Min, c.Desired))
		case plan.ClosePort:
			if slices.ContainsFunc(j.Rules.Rules, func(r fleet.Rule) bool { return t.ruleID(j.Rules.Group, r) == "" }) {
				out = append(out, fmt.Sprintf("security group %s, when it is to be closed: delete the rules for %s", md(t.seen.group(j.Rules.Group)), md(strings.Join(j.Before, "; "))))
			}
		}
	}
	return out
}
