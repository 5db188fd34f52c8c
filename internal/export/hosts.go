package export

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// HostScript brings a step about on a host: head and body, in this order, are a
// script that sh runs as root, from standard input or as a file. It can be run again. Between the two a line
// MODE=start lets work on an agent go on by itself, for callers that the agent carries, and with
// MODE=look the script only waits for its end. The zero value: nobody does the step on a host.
type HostScript struct{ Head, Body string }

// text is the script with what is said of it.
func (h HostScript) text(about string) string {
	return "#!/bin/sh\n# " + about + "\n" + h.Head + h.Body
}

// handWork is what a script does on hosts: all whose steps have the same one.
type handWork struct {
	HostScript

	name  string // of its file, without .sh
	about string // in one line
	agent bool   // it works on the agent, which may carry it: MODE counts
	order int    // among the works on one host
	steps []string
	nodes []fleet.HostRef // hosts that Systems Manager reached: Run Command leads there
	hosts []fleet.HostRef // the others: SSH does
}

// handStep is what somebody else does on a host in a step; ok tells whether
// there is anything. Who merely waits does not say what for.
func (w *work) handStep(s plan.Step) (name, about string, order int, ok bool) {
	action := plan.AgentAction("")
	switch {
	case s.Kind == plan.Agent && s.Agent != nil:
		action = s.Agent.Action
	case s.Kind == plan.WaitFor && s.Wait != nil:
		action = s.Wait.Action
	case s.Kind == plan.RecoveryKey && s.Key != nil:
		name = "recovery-key-" + safe(s.Key.User, "-")
		if h := w.seen.hosts[s.Hosts[0]]; h != nil && h.VPC != "" {
			name += "-" + safe(h.VPC, "-") // its line is bound to the VPC's bastion
		}
		return name, "Let the recovery key into the account " + line(s.Key.User), 4, true
	}
	parts := []string{"agent", safe(string(action), "-")}
	if s.Agent != nil && s.Agent.Package != "" && (action == plan.InstallAgent || action == plan.UpgradeAgent) {
		parts = append(parts, safe(s.Agent.Package, "-"))
		if s.Agent.Folder() != "" {
			parts = append(parts, safe(s.Agent.Arch, "-"), safe(s.At.Region, "-"))
		}
	}
	order = slices.Index([]plan.AgentAction{plan.InstallAgent, plan.UpgradeAgent, plan.EnableAgent, plan.RestartAgent}, action)
	return strings.Join(parts, "-"), fanText[string(action)], order, action != ""
}

// takeOnHost notes what a step does on its host, with those that do the same.
func (w *work) takeOnHost(s plan.Step) error {
	name, about, order, ok := w.handStep(s)
	if w.Script == nil || !ok {
		return nil
	}
	script, err := w.Script(s)
	if err != nil {
		return fmt.Errorf("export step %s: %w", s.ID, err)
	}
	if script == (HostScript{}) {
		return nil
	}
	if strings.ContainsFunc(script.Head+script.Body, func(r rune) bool { return (r < ' ' && r != '\n' && r != '\t') || r == 0x7f }) {
		return fmt.Errorf("export step %s: %w", s.ID, errors.New("its script has control characters: a name on the host or in the policy is not what it should be"))
	}
	i := slices.IndexFunc(w.hand, func(h *handWork) bool { return h.HostScript == script })
	if i < 0 {
		if slices.ContainsFunc(w.hand, func(h *handWork) bool { return h.name == name }) {
			name += "-" + hash(script.Head+script.Body)
		}
		i = len(w.hand)
		w.hand = append(w.hand, &handWork{HostScript: script, name: name, about: about, agent: order < 4, order: order})
	}
	h := w.hand[i]
	h.steps = append(h.steps, s.ID)
	for _, ref := range s.Hosts {
		list := &h.hosts
		if w.reached(ref) {
			list = &h.nodes
		}
		if !slices.Contains(*list, ref) {
			*list = append(*list, ref)
		}
	}
	return nil
}

// reached reports whether Run Command led to a host when the snapshot was taken.
func (w *work) reached(ref fleet.HostRef) bool {
	h := w.seen.hosts[ref]
	return h != nil && h.Node.Known && h.Node.Value.PingStatus == "Online" && h.Connection.Known && h.Connection.Value == "connected"
}

// login is how the inventory came to a host by SSH; user is empty where no
// ordinary name is known.
func (w *work) login(ref fleet.HostRef) (address, user string) {
	h := w.seen.hosts[ref]
	if h == nil {
		return "", ""
	}
	p := h.Probe.Value
	switch direct := h.Probe.Known && len(p.Via) == 0; {
	case direct && h.PublicIP.IsValid():
		address = h.PublicIP.String()
	case h.PrivateIP.IsValid():
		address = h.PrivateIP.String()
	}
	if plainUser.MatchString(p.LoginUser) {
		user = p.LoginUser
	}
	return address, user
}

// plainUser are login names that OpenSSH and shells take for nothing else.
var plainUser = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,31}$`)

// templates are files with the user data that launch templates' next versions
// need, and notes on those for which there is none.
func (w *work) templates() (files []File, notes []string) {
	if w.UserData == nil || w.Handed {
		return nil, nil
	}
	seen := map[string]bool{}
	for _, r := range w.Plan.Refusals {
		if r.Template == nil || seen[r.Template.Template] {
			continue
		}
		seen[r.Template.Template] = true
		c := w.Plan.TemplateOf(r.Template.Template)
		if c.Key == nil && c.Agent == nil {
			continue
		}
		text, err := w.UserData(c)
		if err != nil {
			notes = append(notes, line(err.Error()))
			continue
		}
		files = append(files, File{Name: "user-data/" + safe(c.Template, "-") + ".sh", Text: text})
	}
	return files, notes
}

// hostFiles are the scripts of all works as files, and user data.
func (w *work) hostFiles() []File {
	var out []File
	for _, h := range w.hand {
		out = append(out, File{Name: "hosts/" + h.name + ".sh", Text: h.text(h.about + " (plan " + safe(w.Plan.ID, "-") + ").")})
	}
	templates, _ := w.templates()
	return append(out, templates...)
}

func sortHand(all []*handWork) {
	slices.SortStableFunc(all, func(a, b *handWork) int { return cmp.Compare(a.order, b.order) })
}

// readmeHosts tells where the scripts for hosts run.
func (t *terraform) readmeHosts(put func(format string, args ...any)) {
	if len(t.hand) > 0 {
		put("\n## Scripts for hosts\n\nWhat the steps above do, for those who do it by other means. Each runs as root, can be run again, and checks what it brings:\n`ssh HOST 'sudo -n sh -s' < hosts/SCRIPT.sh`. In this order, on:\n")
		for _, h := range t.hand {
			put("- `hosts/%s.sh`: %s", h.name, md(h.about))
			for _, ref := range slices.Concat(h.nodes, h.hosts) {
				put("  - %s", md(t.seen.host(ref)))
			}
		}
	}
	templates, notes := t.templates()
	if len(templates)+len(notes) > 0 {
		put("\n## User data\n\nFor the next versions of launch templates, besides what the end of `migrate plan show` says of their fields. A first boot does it; it can be run again.\n")
		for _, f := range templates {
			put("- `%s`", f.Name)
		}
		for _, n := range notes {
			put("- none: %s", md(n))
		}
	}
}
