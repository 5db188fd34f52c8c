package tui

import (
	"fmt"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/recovery"
)

// recoveryScreen shows the way back in: VPC by VPC, host by host.
type recoveryScreen struct {
	*env
	rows []recoveryRow
	list list
	text *textView
}

// recoveryRow is a VPC, or a host of the one before.
type recoveryRow struct {
	vpc  *recovery.VPC
	host *recovery.Host
}

func (s *recoveryScreen) loaded() {}

func (s *recoveryScreen) stood() {
	s.rows = nil
	if s.course.state == nil {
		return
	}
	for i := range s.course.state.Recovery {
		v := &s.course.state.Recovery[i]
		s.rows = append(s.rows, recoveryRow{vpc: v})
		for j := range v.Hosts {
			s.rows = append(s.rows, recoveryRow{vpc: v, host: &v.Hosts[j]})
		}
	}
	if s.text != nil {
		s.text.made = nil
	}
}

// login is whether the way into a host is proved, and why it is not. A login
// from before a rollback took the key or the bastion proves nothing any more.
func (c *course) login(v *recovery.VPC, h *recovery.Host) (fleet.Truth, string) {
	switch {
	case h.Login != fleet.TruthYes:
		return h.Login, clean(h.Why)
	case c.sum.noKey[h.Host].After(h.Proof.At):
		return fleet.TruthNo, "a rollback has taken the key since"
	case c.sum.noBastion[v.VPC].After(h.Proof.At):
		return fleet.TruthNo, "a rollback has taken the bastion group since"
	}
	return fleet.TruthYes, ""
}

func (s *recoveryScreen) context() keyContext {
	switch {
	case s.text != nil:
		return ctxText
	case len(s.rows) == 0:
		return ctxStage
	}
	return ctxRecovery
}

func (s *recoveryScreen) handle(in intent) (intent, tea.Cmd) {
	switch in.(type) {
	case back:
		s.text = nil
	case open:
		if s.list.cursor < len(s.rows) {
			r := s.rows[s.list.cursor]
			s.text = &textView{title: "The way back", lines: func(w int) []string {
				sh := &sheet{env: s.env, w: w}
				sh.recovery(r)
				return sh.lines
			}}
		}
	default:
		if s.text != nil {
			s.text.pager.handle(in)
		} else {
			s.list.handle(in)
		}
	}
	return nil, nil
}

func (s *recoveryScreen) next() (what, why string) {
	c := s.course
	proved, hosts := c.proved()
	switch {
	case s.text != nil:
		return "press esc to go back", "the list is there"
	case c.drilling():
		return "watch; the drill ends by itself", "its bastions go back to zero whatever comes; q stops it"
	case s.data == nil:
		return "press 1 and take the inventory", "nothing is known yet to come back into"
	case c.state == nil:
		return "wait a moment", "the state is being read"
	case c.state.Drill != nil && c.state.Holder == "":
		return "press D to go on with the drill", "it was broken off, and its bastions cost money as long as they run"
	case slices.ContainsFunc(c.state.Recovery, func(v recovery.VPC) bool { return v.There != fleet.TruthNo && v.Zero == fleet.TruthNo }):
		return "see to the bastion group that is not at zero", "a bastion that runs is a way in; migrate recovery close --yes ends what an opening has left"
	case c.state.Policy.Recovery.PublicKey == "":
		return "make a recovery key (migrate recovery init)", "it says what migrate.yaml needs, and plans take it from then on"
	case c.plan() == nil:
		return "press 5 and make a plan", "its steps bring key, bastion group and door, and prove the way"
	case c.reached() && proved < hosts:
		return "press 1, then i, to take the inventory again", "this one is from before the plan's end; hosts that the plan left out have no second way in"
	case proved < hosts:
		return "press 5 for Cutover", "each wave proves the way into its hosts before it closes a door; D rehearses it before"
	}
	return "press 5 for Cutover", "the way back is proved into every host; D rehearses it once more"
}

func (s *recoveryScreen) view(w, h int) []string {
	if s.text != nil {
		return s.text.view(s.env, w, h)
	}
	c := s.course
	proved, hosts := c.proved()
	out := []string{s.title("Recovery", fmt.Sprintf("proved into %s of %s", thousands(proved), count(hosts, "host")), w)}
	out = append(out, s.paintWrapped(s.styles.dim, "The way back in without Session Manager: a key of its own, and in each VPC a bastion group held at zero.", w)...)
	if line := s.keyLine(); line != "" {
		out = append(out, s.paintWrapped(s.styles.text, line, w)...)
	}
	if c.state != nil && c.state.Drill != nil && !c.drilling() && c.state.Holder == "" {
		out = append(out, s.paintWrapped(s.styles.risk, "! A drill was broken off (plan "+clean(c.state.Drill.ID)+"): its bastions may still run. D goes on with it and ends them.", w)...)
	}
	if c.drilling() {
		out = append(out, s.viewDrill(w, max((h-len(out))/2-1, 1))...)
	} else {
		glass := "In an emergency: " + s.called("recovery open --reason TEXT --yes")
		if after := "; after it, " + s.called("recovery close --yes"); width(glass+after) <= w {
			glass += after
		}
		out = append(out, s.styles.dim.Render(cut(glass, w)))
	}
	out = append(out, "")
	if len(s.rows) == 0 {
		text := "The inventory knows no running Linux host yet."
		if c.state == nil {
			text = "Reading …"
		}
		return append(out, s.paintWrapped(s.styles.dim, text, w)...)
	}
	s.list.resize(len(s.rows), h-len(out)-1)
	from, to := s.list.window()
	nameW := max(w-36, 16)
	if w >= 80 {
		nameW = w / 2
	}
	head, seen := "   "+fit("VPC AND HOST", nameW)+" KEY  DOOR LOGIN", more(from, to, len(s.rows))
	if width(head)+len(" WHEN ")+width(seen) <= w {
		head += " WHEN"
	}
	out = append(out, s.styles.dim.Render(fit(head, w-width(seen)))+s.styles.dim.Render(seen))
	for i := from; i < to; i++ {
		out = append(out, s.viewRow(s.rows[i], i == s.list.cursor, nameW, w))
	}
	return out
}

// keyLine tells of the recovery key: where it is, how old, of how many generations.
func (s *recoveryScreen) keyLine() string {
	if s.course.state == nil {
		return ""
	}
	k, ok := fleet.CurrentRecoveryKey(s.course.state.Keys)
	if !ok {
		return ""
	}
	used := 0
	for _, one := range s.course.state.Keys {
		if one.Retired.IsZero() {
			used++
		}
	}
	text := "Key: made " + ago(k.Made, s.now())
	if k.CA {
		text = "Key (signs certificates): made " + ago(k.Made, s.now())
	}
	if most := time.Duration(s.course.state.Policy.Recovery.KeyAge); most > 0 && s.now().Sub(k.Made) > most {
		text += ", TOO OLD: at most " + recovery.Days(most) + " (migrate recovery rotate)"
	}
	return text + ", " + count(used, "generation") + " in use, in " + clean(k.Location)
}

func (s *recoveryScreen) viewRow(r recoveryRow, here bool, nameW, w int) string {
	if r.host == nil {
		style, symbol := s.styles.truth(r.vpc.There)
		text := clean(r.vpc.VPC) + ": "
		switch {
		case r.vpc.There == fleet.TruthNo:
			style, symbol = s.styles.dim, "○"
			text += "no bastion group yet"
			if r.vpc.Drill != nil {
				text = clean(r.vpc.VPC) + ": bastion group not in the snapshot yet"
			}
		case r.vpc.Zero == fleet.TruthNo:
			style, symbol = s.styles.risk, "!"
			text += "NOT at zero: bastion group " + clean(r.vpc.Group)
		case r.vpc.There == fleet.TruthYes && r.vpc.Zero == fleet.TruthYes:
			text += "at zero"
		default:
			text += fmt.Sprintf("bastion group there: %s, at zero: %s", r.vpc.There, r.vpc.Zero)
		}
		if d := r.vpc.Drill; d != nil {
			text += fmt.Sprintf(", drilled %s in %s", ago(d.At, s.now()), d.In().Round(time.Second))
		}
		return s.styles.on(here, style).Render(marker(here)+symbol+" ") + s.styles.on(here, s.styles.strong).Render(fit(text, w-3))
	}
	cell := func(t fleet.Truth) string {
		_, symbol := s.styles.truth(t)
		return symbol
	}
	name := clean(r.host.Host.ID)
	if r.host.Name != "" && r.host.Name != r.host.Host.ID {
		name = clean(r.host.Name) + " (" + name + ")"
	}
	when := "never"
	if !r.host.Proof.At.IsZero() {
		when = ago(r.host.Proof.At, s.now())
	}
	login, _ := s.course.login(r.vpc, r.host)
	style, symbol := s.styles.truth(login)
	if login != fleet.TruthYes && r.host.Proof.At.IsZero() {
		style, symbol = s.styles.dim, "○"
	}
	key, rule := r.host.Key, r.host.Rule
	if login == fleet.TruthYes && s.data != nil && r.host.Proof.At.After(s.data.snap.Started) {
		key, rule = fleet.TruthYes, fleet.TruthYes // who got in had both; the snapshot is older
	}
	text := fmt.Sprintf("%s %-4s %-4s %-5s %s", fit("  "+name, nameW), cell(key), cell(rule), cell(login), when)
	return s.styles.on(here, style).Render(marker(here)+symbol+" ") + s.styles.on(here, s.styles.text).Render(fit(text, w-3))
}

// recovery tells of one VPC or host how one comes back in.
func (s *sheet) recovery(r recoveryRow) {
	s.pair("VPC", clean(r.vpc.VPC))
	s.pair("where", placeName(r.vpc.Place.Account, r.vpc.Place.Region))
	s.pair("group", clean(r.vpc.Group))
	s.pair("there", r.vpc.There.String())
	s.pair("at zero", r.vpc.Zero.String())
	if r.host == nil {
		s.drill(r.vpc.Drill)
		return
	}
	s.heading("Host")
	s.pair("host", join(" ", r.host.Host.ID, r.host.Name))
	s.pair("key on it", r.host.Key.String()+", as the snapshot saw it")
	s.pair("door", r.host.Rule.String()+": port 22 from the bastion's group")
	login, why := s.course.login(r.vpc, r.host)
	s.pair("login", login.String())
	if !r.host.Proof.At.IsZero() {
		s.pair("last try", stamp(r.host.Proof.At))
	}
	s.pair("why", why)
}

// drill tells of the last drill of a VPC, and how long its parts took.
func (s *sheet) drill(d *recovery.Drill) {
	if d == nil {
		return
	}
	s.heading("Last drill")
	s.pair("when", stamp(d.At))
	s.pair("into", fmt.Sprintf("%d of %s", d.Proved, count(d.Hosts, "host")))
	for _, p := range []struct {
		name string
		took time.Duration
	}{{"launch", d.Launch}, {"host keys", d.Console}, {"bastion", d.Bastion}, {"logins", d.Logins}, {"to zero", d.ScaleIn}} {
		s.pair(p.name, p.took.Round(time.Second).String())
	}
	s.pair("in all", d.In().Round(time.Second).String()+" until the last host was reached")
}
