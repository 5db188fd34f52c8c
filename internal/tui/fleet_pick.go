package tui

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"ssm-migrate/internal/fleet"
)

func (s *fleetScreen) handlePicker(in intent) tea.Cmd {
	p := s.picker
	done, cmd := p.handle(in)
	if done {
		s.picker = nil
	}
	return cmd
}

func (s *fleetScreen) show(p *picker) {
	p.narrow()
	s.picker = p
}

// pickGrouping offers what the hosts can be grouped by.
func (s *fleetScreen) pickGrouping() {
	if s.table.data == nil {
		return
	}
	p := &picker{title: "Group the hosts by", why: [2]string{"pick one and press enter", "each group is a line with its counts; enter unfolds it, space marks its hosts"}}
	p.items = append(p.items, pickItem{label: "nothing", note: "one list of all hosts"})
	for _, g := range groupings {
		p.items = append(p.items, pickItem{value: g.name, label: g.name, note: g.help})
	}
	for _, t := range s.table.data.tags {
		note := fmt.Sprintf("%s, %s", counted(t.values, "value", "values"), counted(t.hosts, "host has it", "hosts have it"))
		p.items = append(p.items, pickItem{value: "tag:" + t.key, label: "tag " + clean(t.key), note: note})
	}
	p.pick = func(value string) tea.Cmd {
		l := s.look
		l.group = groupingCalled(value)
		return s.setLook(l)
	}
	p.list.cursor = max(slices.IndexFunc(p.items, func(it pickItem) bool { return it.value == s.look.group.String() }), 0)
	s.show(p)
}

// pickView offers the saved views.
func (s *fleetScreen) pickView() {
	p := &picker{
		title: "Saved views", empty: "There is none yet. V in the table saves the filter, order and groups that it shows under a name.",
		why: [2]string{"pick a view and press enter", "ctrl+x forgets the selected one; V in the table saves what it shows"},
	}
	for _, v := range s.views {
		p.items = append(p.items, pickItem{value: v.Name, label: clean(v.Name), note: viewText(v), full: viewText(v)})
	}
	p.pick = func(name string) tea.Cmd {
		i := slices.IndexFunc(s.views, func(v fleet.View) bool { return v.Name == name })
		s.anchor, s.drilled = anchor{}, false
		return s.setLook(lookOf(s.views[i]))
	}
	p.drop = func(name string) tea.Cmd {
		return s.viewCmd("Forgot the view “"+clean(name)+"”.", func() error { return s.backend.DropView(s.ctx, name) })
	}
	s.show(p)
}

func viewText(v fleet.View) string {
	text := cmp.Or(clean(v.Filter), "all hosts")
	if v.Group != "" {
		text += ", grouped by " + clean(v.Group)
	}
	text += ", by " + columnNames[columnCalled(v.Sort)]
	if v.Reverse {
		text += ", reversed"
	}
	return text
}

func lookOf(v fleet.View) look {
	return look{filter: v.Filter, sort: columnCalled(v.Sort), reverse: v.Reverse, group: groupingCalled(v.Group)}
}

// saveView keeps what the table shows under a name.
func (s *fleetScreen) saveView(name string) tea.Cmd {
	if name == "" || s.problem != nil {
		return nil
	}
	v := fleet.View{Name: name, Filter: s.look.filter, Sort: columnNames[s.look.sort], Reverse: s.look.reverse, Group: s.look.group.String()}
	return s.viewCmd("Saved the view “"+clean(name)+"”: v shows it again.", func() error { return s.backend.SaveView(s.ctx, v) })
}

// viewsMsg brings the saved views, and what was done to them.
type viewsMsg struct {
	views []fleet.View
	said  string
	err   error
}

// viewCmd changes the saved views and reads them again.
func (s *fleetScreen) viewCmd(said string, change func() error) tea.Cmd {
	return func() tea.Msg {
		if err := change(); err != nil {
			return viewsMsg{err: err}
		}
		views, err := s.backend.Views(s.ctx)
		return viewsMsg{views, said, err}
	}
}

// readViews reads the saved views.
func (s *fleetScreen) readViews() tea.Cmd {
	return s.viewCmd("", func() error { return nil })
}

// viewed takes the saved views, and gives what to tell of them.
func (s *fleetScreen) viewed(msg viewsMsg) *notice {
	switch {
	case msg.err != nil:
		return &notice{failed: true, text: "The saved views: " + clean(msg.err.Error())}
	case msg.said == "":
		s.views = msg.views
		return nil
	}
	s.views = msg.views
	return &notice{text: msg.said}
}

// mostOnLine is how many hosts are named in one command.
const mostOnLine = 200

// pickCommand offers the commands that do something with the marked hosts, or
// without marks with the one under the cursor, and with all that the table shows.
func (s *fleetScreen) pickCommand() {
	if s.table.data == nil {
		return
	}
	p := &picker{
		title: "Commands", why: [2]string{"pick a command; enter copies it", "the wizard does not run these: paste it into another terminal or a script"},
		pick: func(value string) tea.Cmd {
			if value == "" {
				return nil
			}
			return tea.Batch(tea.SetClipboard(value), func() tea.Msg { return saidMsg{"Copied, where the terminal allows it: " + value} })
		},
	}
	add := func(what, command string) {
		p.items = append(p.items, pickItem{value: command, label: what, note: command, full: command})
	}
	ids, whose := s.meant()
	switch {
	case len(ids) > mostOnLine:
		p.items = append(p.items, pickItem{label: counted(len(ids), "marked host", "marked hosts"), note: "too many for one command", full: "These are too many for one command line. Narrow the table by a filter instead of marks: the commands below take the filter."})
	case len(ids) > 0:
		named := strings.Join(ids, " ")
		add("prove Session Manager on "+whose, "migrate prove "+named)
		add("tell all about "+whose, "migrate hosts "+named)
	}
	if len(ids) == 1 {
		add("open a shell by Session Manager", "migrate connect "+ids[0])
		add("see its steps of a plan", "migrate plan --host "+ids[0])
		add("see who gets in", "migrate access --host "+ids[0])
		add("rehearse the recovery way", "migrate recovery drill --yes --host "+ids[0])
	}
	shown := s.hostsCommand("")
	add("list what the table shows", shown)
	add("prove all that the table shows", s.hostsCommand("--ids")+" | xargs -r migrate prove")
	s.show(p)
}

// meant is which hosts a command is about, by their IDs, and what to call them.
// An ID that is not like one of EC2's is left out.
func (s *fleetScreen) meant() (ids []string, whose string) {
	add := func(i int32) {
		if id := s.table.data.rows[i].host.ID; instanceID(id) {
			ids = append(ids, id)
		}
	}
	l, ok := s.line()
	switch {
	case s.marks.n > 0:
		for _, i := range s.table.order {
			if s.marks.has(i) {
				add(i)
			}
		}
		return ids, counted(s.marks.n, "marked host", "marked hosts")
	case ok && l >= 0:
		add(l)
		return ids, s.table.data.rows[l].name
	}
	return nil, ""
}

// instanceID reports whether a text is an instance's or a managed node's ID, and
// so can stand in a command as it is.
func instanceID(s string) bool {
	rest, ok := strings.CutPrefix(s, "i-")
	if !ok {
		rest, ok = strings.CutPrefix(s, "mi-")
	}
	return ok && rest != "" && strings.Trim(rest, "0123456789abcdef") == ""
}

// hostsCommand is the command that lists what the table shows.
func (s *fleetScreen) hostsCommand(flags string) string {
	out := "migrate hosts"
	if flags != "" {
		out += " " + flags
	}
	if s.look.filter != "" {
		out += " " + shellQuote(clean(s.look.filter))
	}
	return out
}

// shellQuote writes a text as one word of a POSIX shell. One that begins like
// a flag is kept from being taken for one.
func shellQuote(s string) string {
	before := ""
	if strings.HasPrefix(s, "-") {
		before = "-- "
	}
	return before + "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
