package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// TemplateChange is what a new version of a launch template has to have, so that
// the instances that start from it are as the plan leaves their like. Nobody here
// makes the version: its user data may hold secrets, and code may own it.
type TemplateChange struct {
	At       fleet.Place `json:"at"`
	Template string      `json:"template"` // lt-…
	Name     string      `json:"name"`
	From     int64       `json:"from"`             // the version that the new one is made from
	Owner    string      `json:"owner,omitempty"`  // by whose code it is managed; empty: not known
	Group    string      `json:"group"`            // Auto Scaling group that starts instances from it
	Pinned   bool        `json:"pinned,omitempty"` // the group names the version by number: it has to be told the new one

	Profile   string       `json:"profile,omitempty"`  // name of the instance profile to set; empty: it stays
	DropKey   string       `json:"dropKey,omitempty"`  // name of the key pair to leave out; empty: there is none
	Key       *KeyChange   `json:"key,omitempty"`      // the recovery key that user data, or the image, has to bring
	Agent     *AgentChange `json:"agent,omitempty"`    // what user data, or the image, has to do about the agent
	UserData  bool         `json:"userData,omitempty"` // the version has user data already: the new part joins it
	ImageName string       `json:"image,omitempty"`    // the image that it starts
}

// Code is the code in which the template is changed, in words.
func (c *TemplateChange) Code() string {
	if c.Owner == "" {
		return "the code that owns it"
	}
	return "the code that owns it (" + c.Owner + ")"
}

// Lines are the fields of the new version as texts, one each.
func (c *TemplateChange) Lines() []string {
	lines := []string{fmt.Sprintf("a version of launch template %s, made from version %d", c.Template, c.From)}
	if c.Profile != "" {
		lines = append(lines, "IamInstanceProfile.Name: "+clip(c.Profile))
	}
	if c.DropKey != "" {
		lines = append(lines, "no KeyName (now "+clip(c.DropKey)+"): a version that names its source version keeps the key pair, so give all of its data anew")
	}
	if c.Key != nil || c.Agent != nil {
		text := "in UserData the text of migrate plan user-data --template " + c.Template
		if c.UserData {
			text += ", as a part of its own beside what is there (MIME multi-part archive)"
		}
		lines = append(lines, text)
	}
	if c.Pinned {
		lines = append(lines, fmt.Sprintf("Auto Scaling group %s names version %d: let it name the new one, or $Default", clip(c.Group), c.From))
	} else {
		lines = append(lines, fmt.Sprintf("Auto Scaling group %s takes it once it is the default, or the latest, as the group asks for", clip(c.Group)))
	}
	return append(lines, "image pipelines (EC2 Image Builder, Packer): bake the agent in, enabled at boot, and no authorized_keys; then user data needs the recovery key alone")
}

// templates notes the launch templates that would undo what the plan does.
func (m *maker) templates() {
	type undone struct {
		at     fleet.Place
		text   string
		hosts  int
		change *TemplateChange
	}
	all := map[string]*undone{}
	for _, h := range m.hosts {
		if h.wave < 0 || h.AutoScalingGroup == "" {
			continue
		}
		key, text, change := m.undoes(h)
		if text == "" {
			continue
		}
		h.note = "an instance that replaces it loses this: " + text
		if all[key+text] == nil {
			all[key+text] = &undone{at: h.Ref().Place(), text: text, change: change}
		}
		all[key+text].hosts++
	}
	for _, k := range sortedKeys(all) {
		u := all[k]
		r := Refusal{
			At: u.at, Phase: Prepare, Code: "template-undoes", Template: u.change,
			Text: fmt.Sprintf("%s; %s of this plan would come back so", u.text, fleet.Count(u.hosts, "host")),
			Do:   "let the inventory read the group and its template, or make them in the code that owns them as the plan's hosts are",
		}
		if u.change != nil {
			r.Do = "in " + u.change.Code() + ", make " + strings.Join(u.change.Lines(), "; ")
		}
		m.plan.Refusals = append(m.plan.Refusals, r)
	}
}

// undoes says what a new instance in the host's place would come without, and
// what to change; nil where nobody read that.
func (m *maker) undoes(h *member) (key, text string, change *TemplateChange) {
	group := "Auto Scaling group " + clip(h.AutoScalingGroup)
	t, v := m.world.template(h.Host)
	if t == nil || v == nil {
		return h.AutoScalingGroup, "what " + group + " starts instances from was not read", nil
	}
	c := &TemplateChange{At: h.Ref().Place(), Template: t.ID, Name: t.Name, From: v.Number, Group: h.AutoScalingGroup, Pinned: m.pinned(h), Owner: m.policy.ownerOf(t.Tags), UserData: v.UserData, ImageName: v.ImageID}
	var lacks []string
	for _, s := range h.prepare {
		switch {
		case s.Kind == AttachProfile && v.Profile == "":
			lacks = addOnce(lacks, "names no instance profile")
			c.Profile = s.Profile.Name
		case s.Kind == AttachProfile && v.Profile != s.Profile.Name && !endsIn(v.Profile, s.Profile.Name):
			lacks = addOnce(lacks, "names instance profile "+clip(v.Profile))
			c.Profile = s.Profile.Name
		case s.Kind == Agent && s.Agent.Action != RestartAgent:
			lacks = addOnce(lacks, "starts image "+clip(v.ImageID)+" with the agent as it was")
			if c.Agent == nil || c.Agent.Action == EnableAgent {
				c.Agent = atBoot(s.Agent)
			}
		}
	}
	if h.closes {
		lacks = append(lacks, "knows no recovery key")
		c.Key = &KeyChange{User: h.user, Line: m.hostLine(h.Host, m.recovery[h.vpcKey()].change.Subnets)}
		if v.KeyName != "" {
			lacks = append(lacks, "puts key pair "+clip(v.KeyName)+" back")
			c.DropKey = v.KeyName
		}
	}
	if lacks == nil {
		return "", "", nil
	}
	return t.ID, fmt.Sprintf("launch template %s (%s), version %d, of %s %s", t.ID, clip(t.Name), v.Number, group, strings.Join(lacks, ", ")), c
}

// atBoot is a change of an agent as each new instance makes it.
func atBoot(a *AgentChange) *AgentChange {
	c := *a
	c.Before = ""
	if c.Action == UpgradeAgent {
		c.Action = InstallAgent
	}
	return &c
}

// pinned reports whether the host's Auto Scaling group names its template's
// version by number.
func (m *maker) pinned(h *member) bool {
	ref := h.LaunchTemplate
	if g := m.world.scalingGroup(h.Host); g != nil {
		ref = g.Template
	}
	return !slices.Contains([]string{"", "$Default", "$Latest"}, ref.Version)
}

// TemplateOf finds what the plan wants of a launch template, by its ID or name;
// an empty name means the only one. Nil: the plan wants nothing of it, or of several.
func (p *Plan) TemplateOf(name string) *TemplateChange {
	var found *TemplateChange
	for _, r := range p.Refusals {
		c := r.Template
		if c == nil || cmp.Or(name, c.Template) != c.Template && name != c.Name {
			continue
		}
		if found != nil && found.Template != c.Template {
			return nil
		}
		if found == nil || found.Agent == nil && c.Agent != nil {
			found = c
		}
	}
	return found
}
