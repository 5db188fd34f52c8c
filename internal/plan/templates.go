package plan

import (
	"fmt"
	"strings"

	"ssm-migrate/internal/fleet"
)

// templates notes the launch templates that would undo what the plan does.
func (m *maker) templates() {
	type undone struct {
		at    fleet.Place
		text  string
		owner string
		hosts int
	}
	all := map[string]*undone{}
	for _, h := range m.hosts {
		if h.wave < 0 || h.AutoScalingGroup == "" {
			continue
		}
		key, text := m.undoes(h)
		if text == "" {
			continue
		}
		h.note = "an instance that replaces it loses this: " + text
		if all[key+text] == nil {
			all[key+text] = &undone{at: h.Ref().Place(), text: text, owner: "the code that owns it"}
			if t, _ := m.world.template(h.Host); t != nil && m.policy.ownerOf(t.Tags) != "" {
				all[key+text].owner += " (" + m.policy.ownerOf(t.Tags) + ")"
			}
		}
		all[key+text].hosts++
	}
	for _, k := range sortedKeys(all) {
		u := all[k]
		m.plan.Refusals = append(m.plan.Refusals, Refusal{
			At: u.at, Phase: Prepare, Code: "template-undoes",
			Text: fmt.Sprintf("%s; %s of this plan would come back so", u.text, fleet.Count(u.hosts, "host")),
			Do:   "make a new version of the template with the profile, the recovery key (user data or image) and no key pair, in " + u.owner + ", and let the group use it",
		})
	}
}

// undoes says what a new instance in the host's place would come without.
func (m *maker) undoes(h *member) (key, text string) {
	group := "Auto Scaling group " + clip(h.AutoScalingGroup)
	t, v := m.world.template(h.Host)
	if t == nil || v == nil {
		return h.AutoScalingGroup, "what " + group + " starts instances from was not read"
	}
	var lacks []string
	for _, s := range h.prepare {
		switch {
		case s.Kind == AttachProfile && v.Profile == "":
			lacks = addOnce(lacks, "names no instance profile")
		case s.Kind == AttachProfile && v.Profile != s.Profile.Name && !endsIn(v.Profile, s.Profile.Name):
			lacks = addOnce(lacks, "names instance profile "+clip(v.Profile))
		case s.Kind == Agent && s.Agent.Action != RestartAgent:
			lacks = addOnce(lacks, "starts image "+clip(v.ImageID)+" with the agent as it was")
		}
	}
	if h.closes {
		lacks = append(lacks, "knows no recovery key")
		if v.KeyName != "" {
			lacks = append(lacks, "puts key pair "+clip(v.KeyName)+" back")
		}
	}
	if lacks == nil {
		return "", ""
	}
	return t.ID, fmt.Sprintf("launch template %s (%s), version %d, of %s %s", t.ID, clip(t.Name), v.Number, group, strings.Join(lacks, ", "))
}
