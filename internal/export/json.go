package export

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// JSON writes the plan's documents, one file each: policies and session
// documents as they are, all else as the input of the AWS call that makes it (aws SERVICE OPERATION
// --cli-input-json file://FILE). index.json lists them in the order in which they are applied. An ID
// that is not known before the things are made reads "(ID of security group NAME)". ErrNothing says
// that there is nothing to write.
func JSON(in Input) ([]File, error) {
	w, err := begin(in)
	if err != nil {
		return nil, err
	}
	if w.nothing() {
		return nil, ErrNothing
	}
	d := &documents{work: w, names: map[string]bool{}}
	for _, j := range w.jobs {
		d.step(j)
		if err := d.job(j); err != nil {
			return nil, fmt.Errorf("export step %s: %w", j.ID, err)
		}
	}
	if err := d.access(); err != nil {
		return nil, fmt.Errorf("export the access set-up: %w", err)
	}
	index, err := pretty(struct {
		Plan  string       `json:"plan"`
		Tag   tag          `json:"tag"`
		Steps []indexStep  `json:"steps"`
		Hosts []indexHosts `json:"hosts,omitempty"`
	}{w.Plan.ID, tag{fleet.TagStep, Tag(w.Plan)}, d.steps, d.onHosts()})
	if err != nil {
		return nil, err
	}
	return append(append([]File{{Name: "index.json", Text: index}}, d.files...), w.hostFiles()...), nil
}

// indexStep is a step of the plan with the documents that it asks for.
type indexStep struct {
	Step     string      `json:"step"`
	Kind     plan.Kind   `json:"kind"`
	Stage    stage       `json:"stage"`
	Handed   bool        `json:"handed"`
	Owner    string      `json:"owner,omitempty"`
	Account  string      `json:"account"`
	Region   string      `json:"region"`
	Title    string      `json:"title"`
	Why      string      `json:"why,omitempty"`
	Before   []string    `json:"before,omitempty"`
	After    []string    `json:"after,omitempty"`
	Hosts    []string    `json:"hosts,omitempty"`
	Document []indexFile `json:"documents"`
}

type indexFile struct {
	File string `json:"file"`
	Call string `json:"call,omitempty"` // "ec2 create-vpc-endpoint"; empty: a document that calls take as text
}

// indexHosts is a script for hosts, with those on which it is to run as root.
type indexHosts struct {
	File  string      `json:"file"`
	About string      `json:"about"`
	Steps []string    `json:"steps"`
	Hosts []indexHost `json:"hosts"`
}

type indexHost struct {
	Account string `json:"account"`
	Region  string `json:"region"`
	ID      string `json:"id"`
	Managed bool   `json:"managed"`           // Run Command led to it when the snapshot was taken
	Address string `json:"address,omitempty"` // by which the inventory reached it
	User    string `json:"user,omitempty"`
}

func (w *work) onHosts() []indexHosts {
	var out []indexHosts
	for _, h := range w.hand {
		one := indexHosts{File: "hosts/" + h.name + ".sh", About: h.about, Steps: h.steps}
		for i, ref := range slices.Concat(h.nodes, h.hosts) {
			address, user := w.login(ref)
			one.Hosts = append(one.Hosts, indexHost{ref.Account, ref.Region, ref.ID, i < len(h.nodes), address, user})
		}
		out = append(out, one)
	}
	return out
}

// documents is a JSON export in the making.
type documents struct {
	*work

	files []File
	names map[string]bool
	steps []indexStep
}

func (d *documents) step(j job) {
	s := indexStep{
		Step: j.ID, Kind: j.Kind, Stage: j.stage, Handed: j.Handed, Owner: j.Owner, Account: j.at.Account, Region: j.at.Region,
		Title: line(j.Title), Why: line(j.Why), Before: j.Before, After: j.After, Document: []indexFile{},
	}
	for _, h := range j.hosts {
		s.Hosts = append(s.Hosts, h.ID)
	}
	d.steps = append(d.steps, s)
}

// put writes a document; call is empty for one that is no call's input.
func (d *documents) put(j job, call string, v any, name ...string) error {
	parts := []string{safe(j.at.Account, "-"), safe(j.at.Region, "-")}
	for _, n := range name {
		parts = append(parts, safe(n, "-."))
	}
	file := strings.Join(parts, "/")
	if d.names[file+".json"] {
		file += "-" + hash(compact(v)+j.ID)
	}
	file += ".json"
	if d.names[file] {
		return nil // the same, for another host
	}
	d.names[file] = true
	text, err := pretty(v)
	if err != nil {
		return err
	}
	d.files = append(d.files, File{Name: file, Text: text})
	last := &d.steps[len(d.steps)-1]
	last.Document = append(last.Document, indexFile{file, call})
	return nil
}

// pretty writes JSON in lines, references in words.
func pretty(v any) (string, error) {
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(compact(v)), "", "  "); err != nil {
		return "", fmt.Errorf("read a document of the plan: %w", err)
	}
	parts := strings.Split(b.String(), `\u0000`)
	for i := 1; i+1 < len(parts); i += 2 {
		parts[i] = "(ID of security group " + parts[i] + ")"
	}
	return strings.Join(parts, "") + "\n", nil
}

func (d *documents) job(j job) error {
	var errs error
	put := func(call string, v any, name ...string) {
		if errs == nil {
			errs = d.put(j, call, v, name...)
		}
	}
	if r, ok := roleOf(j); ok {
		if r.trust != "" {
			put("", json.RawMessage(r.trust), "iam", r.name, "trust")
			put("iam create-role", createRole{RoleName: r.name, Path: r.path, AssumeRolePolicyDocument: r.trust, Tags: d.tags()}, "iam", r.name, "create-role")
		}
		if r.managed != "" {
			put("iam attach-role-policy", map[string]string{"RoleName": r.name, "PolicyArn": r.managed}, "iam", r.name, "attach-role-policy")
		}
		if r.policy != "" {
			put("", json.RawMessage(r.document), "iam", r.name, r.policy)
			put("iam put-role-policy", putRolePolicy{RoleName: r.name, PolicyName: r.policy, PolicyDocument: r.document}, "iam", r.name, "put-role-policy")
		}
	}
	switch j.Kind {
	case plan.AttachProfile:
		d.profile(j, put)
	case plan.DefaultHostManagement:
		put("ssm update-service-setting", serviceSetting{SettingId: defaultRoleSetting, SettingValue: j.Setting.Value}, "ssm", "default-host-management")
	case plan.AllowEgress, plan.RecoveryRule:
		d.rules(j.Rules.Group, j.Rules.Rules, put)
	case plan.CreateEndpoint:
		c := j.Endpoint
		if c.Tables != nil {
			put("ec2 create-vpc-endpoint", d.endpoint(j, c.Services[0]), "ec2", c.VPC, c.Services[0])
			break
		}
		put("ec2 create-security-group", createGroup{VpcId: c.VPC, GroupName: c.Group, Description: plan.EndpointGroupText, TagSpecifications: d.mark("security-group")}, "ec2", c.Group, "create-security-group")
		d.rules(c.Group, https(c), put)
		for _, service := range c.Services {
			put("ec2 create-vpc-endpoint", d.endpoint(j, service), "ec2", c.Group, service)
		}
	case plan.SessionPreferences:
		put("", json.RawMessage(j.Preferences.Document), "ssm", fleet.PreferencesName)
	case plan.RecoveryGroup:
		return firstOf(errs, d.recovery(j, put))
	case plan.ClosePort:
		d.rules(j.Rules.Group, j.Rules.Add, put)
		for _, r := range j.Rules.Rules {
			put("ec2 "+direction("revoke", r), revoke(j.Rules.Group, r), "ec2", j.Rules.Group, "revoke_"+ruleLabel("", r))
		}
	case plan.ScaleIn:
		c := j.Scaling
		put("autoscaling update-auto-scaling-group", updateScaling{AutoScalingGroupName: c.Group, MinSize: c.Min, MaxSize: c.Max, DesiredCapacity: c.Desired}, "autoscaling", c.Group)
	}
	return errs
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

type putFunc func(call string, v any, name ...string)

func (d *documents) profile(j job, put putFunc) {
	name := j.Profile.Name
	if j.Profile.Create {
		put("iam create-instance-profile", map[string]any{"InstanceProfileName": name, "Tags": d.tags()}, "iam", name, "create-instance-profile")
		put("iam add-role-to-instance-profile", map[string]string{"InstanceProfileName": name, "RoleName": name}, "iam", name, "add-role-to-instance-profile")
	}
	for _, h := range j.hosts {
		put("ec2 associate-iam-instance-profile", associate(name, h.ID), "ec2", h.ID)
	}
}

func (d *documents) rules(group string, rules []fleet.Rule, put putFunc) {
	for _, r := range rules {
		put("ec2 "+direction("authorize", r), d.authorize(group, r), "ec2", group, "authorize_"+ruleLabel("", r))
	}
}

func (d *documents) recovery(j job, put putFunc) error {
	c := j.Recovery
	t, err := d.template(c)
	if err != nil {
		return err
	}
	put("ec2 create-security-group", createGroup{VpcId: c.VPC, GroupName: c.Name, Description: plan.RecoveryGroupText, TagSpecifications: d.mark("security-group", tag{"Name", c.Name})}, "ec2", c.Name, "create-security-group")
	d.rules(c.Name, fromOperators(c), put)
	put("ec2 create-launch-template", t, "ec2", c.Name, "create-launch-template")
	put("autoscaling create-auto-scaling-group", d.scaling(c), "autoscaling", c.Name)
	return nil
}
