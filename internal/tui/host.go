package tui

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/inventory"
)

// textView shows one text in full.
type textView struct {
	title string
	lines func(w int) []string
	pager pager

	made   []string // lines for width and styles
	width  int
	styles *styles
}

// view makes the lines once for each width: they may tell of every host.
func (t *textView) view(e *env, w, h int) []string {
	if t.made == nil || t.width != w || t.styles != e.styles {
		t.made, t.width, t.styles = t.lines(w), w, e.styles
	}
	shown := t.pager.view(t.made, h-2)
	return append([]string{e.title(t.title, more(t.pager.offset, t.pager.offset+len(shown), len(t.made)), w), ""}, shown...)
}

// hostView shows all about one host. Its lines are made once for each width:
// a host may have thousands of keys.
type hostView struct {
	row    *row
	data   *data
	pager  pager
	lines  []string
	width  int
	styles *styles
}

func (v *hostView) view(e *env, position string, w, h int) []string {
	if v.lines == nil || v.width != w || v.styles != e.styles {
		v.lines, v.width, v.styles = e.hostLines(v.data, v.row, w), w, e.styles
	}
	style, symbol, word := e.styles.verdict(v.row.verdict)
	head := symbol + " " + word
	if v.row.cause != "" {
		head += ": " + v.row.cause
	}
	shown := v.pager.view(v.lines, h-3)
	right := position
	if m := more(v.pager.offset, v.pager.offset+len(shown), len(v.lines)); m != "" {
		right = "lines " + m + "  " + position
	}
	return append([]string{e.title(v.row.name, right, w), style.Render(cut(head, w)), ""}, shown...)
}

// sheet collects lines: paragraphs and label-value pairs.
type sheet struct {
	*env
	w     int
	lines []string
}

const labelWidth = 13

func (s *sheet) heading(text string) {
	if len(s.lines) > 0 {
		s.lines = append(s.lines, "")
	}
	s.lines = append(s.lines, s.styles.heading.Render(text))
}

// pair writes a label and its value, which is clean already. Empty values are
// left out.
func (s *sheet) pair(label, value string) {
	if value == "" {
		return
	}
	for i, l := range wrap(value, s.w-labelWidth-2) {
		if i > 0 {
			label = ""
		}
		s.lines = append(s.lines, s.styles.dim.Render(fit("  "+label, labelWidth+2))+l)
	}
}

// missing writes why something is not known.
func (s *sheet) missing(label, source, reason string, at time.Time) {
	text := "? unknown: " + reasonOr(reason)
	if source != "" {
		text += " (" + clean(source) + ", " + stamp(at) + ")"
	}
	for i, l := range wrap(text, s.w-labelWidth-2) {
		if i > 0 {
			label = ""
		}
		s.lines = append(s.lines, s.styles.dim.Render(fit("  "+label, labelWidth+2))+s.styles.unknown.Render(l))
	}
}

// findingLines tells one finding with its evidence, fix and blast radius.
func (e *env) findingLines(f fleet.Finding, w int) []string {
	style, symbol := e.styles.severity(f.Severity)
	var out []string
	for i, l := range wrap(clean(f.Title), w-2) {
		if i > 0 {
			symbol = " "
		}
		out = append(out, style.Bold(true).Render(symbol+" "+l))
	}
	s := sheet{env: e, w: w, lines: out}
	s.pair("code", clean(f.Code)+" ("+f.Severity.String()+")")
	s.pair("object", clean(f.Object))
	for _, ev := range f.Evidence {
		s.pair("seen", clean(ev.Fact)+" ("+origin(ev)+")")
	}
	s.pair("fix", clean(f.Fix))
	s.pair("undo", clean(f.Undo))
	s.pair("blast", cmp.Or(clean(f.Blast), "nothing else"))
	return s.lines
}

// origin is where evidence comes from, and since when. What holds by rule has no time.
func origin(ev fleet.Evidence) string {
	if ev.At.IsZero() {
		return clean(ev.Source)
	}
	return clean(ev.Source) + ", " + stamp(ev.At)
}

func (e *env) problemLines(p problem, w int) []string {
	s := sheet{env: e, w: w}
	s.pair("where", p.place)
	s.pair("asked", p.source)
	s.pair("when", stamp(p.at))
	s.pair("reason", p.reason)
	s.lines = append(s.lines, "")
	s.lines = append(s.lines, e.paintWrapped(e.styles.dim, "What it would have told is unknown: that never counts as good, and never as bad.", w)...)
	return s.lines
}

// hostLines is everything known of a host: why it has its verdict first.
func (e *env) hostLines(d *data, r *row, w int) []string {
	s := &sheet{env: e, w: w}
	s.chains(r.findings)
	s.findings(r)
	s.instance(r.host)
	s.systemsManager(r.host)
	s.people(d, r)
	s.paths(d, r)
	s.probe(r.host)
	s.keys(r.host)
	return s.lines
}

func (s *sheet) findings(r *row) {
	worst := slices.DeleteFunc(slices.Clone(r.findings), func(f fleet.Finding) bool { return f.Severity >= fleet.SeverityUnknown })
	if len(r.findings) == 0 {
		s.heading("Findings")
		s.lines = append(s.lines, s.styles.ready.Render("  ✓ Nothing was found against this host."))
	}
	if len(worst) == 0 {
		return
	}
	s.heading("Risks and notes (" + fmt.Sprint(len(worst)) + "), which do not decide the verdict")
	slices.SortStableFunc(worst, func(a, b fleet.Finding) int { return int(b.Severity) - int(a.Severity) })
	for i, f := range worst {
		if i > 0 {
			s.lines = append(s.lines, "")
		}
		s.lines = append(s.lines, s.findingLines(f, s.w)...)
	}
}

func (s *sheet) instance(h *fleet.Host) {
	s.heading("Instance")
	s.pair("ID", clean(h.ID))
	s.pair("account", clean(h.Account))
	s.pair("place", join(", ", h.AZ, h.VPC, h.Subnet))
	s.pair("state", clean(h.State))
	s.pair("type", join(", ", h.InstanceType, h.Architecture, h.Platform))
	s.pair("image", clean(h.ImageID))
	if !h.LaunchTime.IsZero() {
		s.pair("launched", stamp(h.LaunchTime))
	}
	s.pair("addresses", join(", ", address(h.PrivateIP), address(h.PublicIP), h.PrivateDNS))
	s.pair("groups", join(", ", h.Groups...))
	s.pair("profile", cmp.Or(clean(h.ProfileARN), "none"))
	s.pair("ASG", clean(h.AutoScalingGroup))
	s.pair("template", join(" version ", h.LaunchTemplate.ID, h.LaunchTemplate.Version))
	if m := h.Metadata; m.Endpoint != "" {
		s.pair("metadata", clean(fmt.Sprintf("%s, tokens %s, hop limit %d", m.Endpoint, m.Tokens, m.HopLimit)))
	}
	s.pair("launch key", clean(h.KeyName))
	tags := make([]string, 0, len(h.Tags))
	for k, v := range h.Tags {
		tags = append(tags, k+"="+v)
	}
	slices.Sort(tags)
	for i, t := range tags {
		s.pair([]string{"tags", ""}[min(i, 1)], clean(t))
	}
}

func (s *sheet) systemsManager(h *fleet.Host) {
	s.heading("Systems Manager")
	switch n := h.Node; {
	case !n.Known:
		s.missing("managed node", n.Source, n.Reason, n.At)
	case !n.Value.Registered:
		s.pair("managed node", "no: a complete list does not name this instance ("+clean(n.Source)+", "+stamp(n.At)+")")
	default:
		s.pair("managed node", join(", ", n.Value.PingStatus, "last ping "+stamp(n.Value.LastPing)))
		s.pair("agent", clean(n.Value.AgentVersion))
		s.pair("platform", join(" ", n.Value.PlatformName, n.Value.PlatformVersion))
		s.pair("association", clean(n.Value.Association))
	}
	if h.Connection.Known {
		s.pair("connection", clean(h.Connection.Value)+" ("+clean(h.Connection.Source)+", "+stamp(h.Connection.At)+")")
		return
	}
	s.missing("connection", h.Connection.Source, h.Connection.Reason, h.Connection.At)
}

func (s *sheet) probe(h *fleet.Host) {
	byCommand := inventory.ByRunCommand(*h)
	if byCommand {
		s.heading("Host, by Run Command")
	} else {
		s.heading("Host, over SSH")
	}
	if !h.Probe.Known {
		s.missing("probe", h.Probe.Source, h.Probe.Reason, h.Probe.At)
		return
	}
	p := h.Probe.Value
	login := p.LoginUser
	if byCommand {
		login = "nobody: the SSM Agent ran the probe"
	}
	if p.Root {
		login += ", with root's rights"
	} else {
		login += ", without root's rights"
	}
	if len(p.Via) > 0 {
		login += ", through " + strings.Join(p.Via, ", ")
	}
	s.pair("logged in as", clean(login))
	s.pair("hostname", clean(p.Hostname))
	s.pair("system", join(", ", cmp.Or(p.OS.Name, p.OS.ID+" "+p.OS.Version), p.OS.Kernel, p.OS.Arch))
	if !p.HostTime.IsZero() {
		s.pair("clock", stamp(p.HostTime))
	}
	s.agent(p.Agent)
	s.endpoints(p.Endpoints)
	s.health(p)
	if p.SSHD.Known {
		s.pair("sshd", clean(p.SSHD.Value.Version))
		s.pair("key files", join(", ", p.SSHD.Value.Settings["authorizedkeysfile"]...))
	} else {
		s.missing("sshd", p.SSHD.Source, p.SSHD.Reason, p.SSHD.At)
	}
	if p.Sessions.Known {
		s.pair("SSH sessions", sessions(p.Sessions.Value))
	} else {
		s.missing("SSH sessions", p.Sessions.Source, p.Sessions.Reason, p.Sessions.At)
	}
	for _, g := range p.Gaps {
		s.pair("not read", clean(g.What)+": "+clean(g.Reason))
	}
}

func (s *sheet) agent(f fleet.Fact[fleet.HostAgent]) {
	switch a := f.Value; {
	case !f.Known:
		s.missing("agent", f.Source, f.Reason, f.At)
	case !a.Installed:
		s.pair("agent", "not installed")
	default:
		s.pair("agent", join(", ", a.Version, a.Package, a.Unit, a.Active, a.Enabled, a.Path))
	}
}

func (s *sheet) endpoints(f fleet.Fact[[]fleet.EndpointTest]) {
	if !f.Known {
		s.missing("endpoints", f.Source, f.Reason, f.At)
		return
	}
	for _, t := range f.Value {
		text := fmt.Sprintf("%s: name %s, TCP %s, TLS %s", t.Service, addressesWord(t.Addresses), yesNo(t.TCP), yesNo(t.TLS))
		if t.Issuer != "" {
			text += ", issued by " + t.Issuer
		}
		if t.Detail != "" {
			text += ": " + t.Detail
		}
		s.pair("endpoint", clean(text))
	}
}

func (s *sheet) keys(h *fleet.Host) {
	if !h.Probe.Known {
		s.heading("Authorized keys")
		s.missing("keys", h.Probe.Source, h.Probe.Reason, h.Probe.At)
		return
	}
	p := h.Probe.Value
	s.heading(fmt.Sprintf("Authorized keys (%s)", thousands(len(p.Keys.Value))))
	if !p.Keys.Known {
		s.missing("not all", p.Keys.Source, p.Keys.Reason, p.Keys.At)
	}
	last := lastLogins(p.Logins)
	for _, k := range p.Keys.Value {
		who := clean(cmp.Or(k.Comment, "no comment"))
		opens := "opens " + cmp.Or(clean(k.User), "any user")
		switch {
		case k.CA:
			opens += ", as a certificate authority"
		case k.SendsAway():
			opens = "opens nothing: it only tells to log in as another user,"
		}
		s.lines = append(s.lines, s.styles.strong.Render("  "+cut(who, s.w-2)))
		s.pair("", join(" ", opens, "with", k.Type)+bits(k.Bits)+", "+clean(k.Fingerprint))
		s.pair("", clean(fmt.Sprintf("%s line %d", k.File, k.Line)))
		s.pair("", join(", ", k.Options...))
		s.pair("", last.of(k, p.Logins))
		if k.Problem != "" {
			s.pair("", "sshd ignores this line: "+clean(k.Problem))
		}
	}
}

type lastUse map[string]fleet.Login

// lastLogins finds each key's latest login.
func lastLogins(f fleet.Fact[fleet.LoginLog]) lastUse {
	out := lastUse{}
	for _, l := range f.Value.Logins {
		id := cmp.Or(l.CA, l.Fingerprint)
		if id != "" && !l.Last.Before(out[id].Last) {
			out[id] = l
		}
	}
	return out
}

// of tells when a key was last used. Silence proves nothing outside of what
// the log covers.
func (u lastUse) of(k fleet.Key, log fleet.Fact[fleet.LoginLog]) string {
	if l, ok := u[k.Fingerprint]; ok {
		return join(" ", "last used "+stamp(l.Last), "as", l.User, "from", cmp.Or(address(l.From), "an unknown address"))
	}
	switch {
	case !log.Known:
		return "last use unknown: " + reasonOr(log.Reason)
	case log.Value.From.IsZero():
		return "no use in " + clean(log.Value.Source)
	}
	return "not used since " + stamp(log.Value.From) + ", as far as " + clean(log.Value.Source) + " goes back"
}

func sessions(all []fleet.Session) string {
	if len(all) == 0 {
		return "none open"
	}
	var out []string
	for _, x := range all {
		out = append(out, join(" ", x.User, cmp.Or(x.TTY, "without terminal"), "from", cmp.Or(x.From, "?")))
	}
	return strings.Join(out, "; ")
}

func bits(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" %d", n)
}

func yesNo(f fleet.Fact[bool]) string {
	switch {
	case !f.Known:
		return "?"
	case f.Value:
		return "✓"
	}
	return "✗"
}

func addressesWord[T any](f fleet.Fact[[]T]) string {
	switch {
	case !f.Known:
		return "?"
	case len(f.Value) == 0:
		return "✗ does not exist"
	}
	var out []string
	for _, a := range f.Value {
		out = append(out, fmt.Sprint(a))
	}
	return strings.Join(out, " ")
}

// join cleans the parts and joins those that are not empty.
func join(sep string, parts ...string) string {
	out := make([]string, 0, len(parts))
	for _, p := range parts {
		if p != "" {
			out = append(out, clean(p))
		}
	}
	return strings.Join(out, sep)
}
