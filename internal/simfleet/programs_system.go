package simfleet

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// runID knows id [-u|-g|-G] [-n] [USER].
func runID(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "")
	c := p.cred
	if len(o.operands) > 0 {
		a, ok := p.m.account(o.operands[0])
		if !ok {
			return p.fail(1, "‘%s’: no such user", o.operands[0])
		}
		c = p.m.credOf(a)
	}
	groups := append([]int{c.gid}, slices.DeleteFunc(slices.Clone(c.groups), func(g int) bool { return g == c.gid })...)
	number := func(n int, name string) string {
		if o.has("n") {
			return name
		}
		return strconv.Itoa(n)
	}
	switch {
	case o.has("u"):
		p.printf("%s\n", number(c.uid, p.m.userName(c.uid)))
	case o.has("g"):
		p.printf("%s\n", number(c.gid, p.m.groupName(c.gid)))
	case o.has("G"):
		var out []string
		for _, g := range groups {
			out = append(out, number(g, p.m.groupName(g)))
		}
		p.printf("%s\n", strings.Join(out, " "))
	default:
		var out []string
		for _, g := range groups {
			out = append(out, fmt.Sprintf("%d(%s)", g, p.m.groupName(g)))
		}
		p.printf("uid=%d(%s) gid=%d(%s) groups=%s\n", c.uid, p.m.userName(c.uid), c.gid, p.m.groupName(c.gid), strings.Join(out, ","))
	}
	return 0
}

func runWhoami(_ context.Context, p *process) int {
	p.printf("%s\n", p.m.userName(p.cred.uid))
	return 0
}

// runWho lists the open sessions that have a terminal.
func runWho(_ context.Context, p *process) int {
	for _, s := range p.m.Sessions {
		if s.TTY != "" {
			p.printf("%-8s %-12s %s (%s)\n", s.User, s.TTY, p.m.clock().Add(-time.Hour).Format("2006-01-02 15:04"), s.From)
		}
	}
	return 0
}

// runUname knows -s -n -r -v -m -o and -a.
func runUname(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "")
	machine := p.m.Host.Architecture
	if machine == "arm64" {
		machine = "aarch64"
	}
	var out []string
	for _, f := range []struct{ flag, value string }{
		{"s", "Linux"}, {"n", p.m.Hostname}, {"r", p.m.OS.Kernel}, {"v", "#1 SMP"}, {"m", machine}, {"o", "GNU/Linux"},
	} {
		if o.has(f.flag, "a") || f.flag == "s" && len(o.flags) == 0 {
			out = append(out, f.value)
		}
	}
	p.printf("%s\n", strings.Join(out, " "))
	return 0
}

// runHostname knows -s, -f and -I.
func runHostname(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "")
	switch {
	case o.has("s"):
		p.printf("%s\n", p.m.shortHostname())
	case o.has("I"):
		p.printf("%s \n", p.m.Host.PrivateIP)
	case o.has("f") && p.m.Host.PrivateDNS != "":
		p.printf("%s\n", p.m.Host.PrivateDNS)
	default:
		p.printf("%s\n", p.m.Hostname)
	}
	return 0
}

func strftime(format string, t time.Time) string {
	layouts := map[byte]string{
		'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'M': "04", 'S': "05", 'y': "06", 'b': "Jan", 'e': "_2", 'a': "Mon", 'j': "002",
		'F': "2006-01-02", 'T': "15:04:05", 'R': "15:04", 'Z': "UTC", 'z': "-0700", 'N': "000000000",
	}
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		switch c := format[i]; {
		case c == 's':
			b.WriteString(strconv.FormatInt(t.Unix(), 10))
		case c == 'n':
			b.WriteByte('\n')
		case c == 't':
			b.WriteByte('\t')
		case c == 'N':
			fmt.Fprintf(&b, "%09d", t.Nanosecond())
		case c == 'Z':
			b.WriteString("UTC")
		case layouts[c] != "":
			b.WriteString(t.Format(layouts[c]))
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// runGetent knows the databases passwd, group, hosts, ahosts and ahostsv4.
func runGetent(ctx context.Context, p *process) int {
	if len(p.args) < 2 {
		return p.fail(1, "wrong number of arguments")
	}
	keys := p.args[2:]
	switch p.args[1] {
	case "passwd":
		return getent(p, keys, p.m.accounts(), func(a account, key string) bool { return a.name == key || strconv.Itoa(a.uid) == key })
	case "group":
		return getent(p, keys, p.m.groups(), func(g group, key string) bool { return g.name == key || strconv.Itoa(g.gid) == key })
	case "hosts", "ahosts", "ahostsv4":
		return getentHosts(ctx, p, p.args[1], keys)
	}
	return p.fail(1, "Unknown database: %s", p.args[1])
}

func getent[T fmt.Stringer](p *process, keys []string, all []T, is func(T, string) bool) int {
	if len(keys) == 0 {
		for _, each := range all {
			p.printf("%s\n", each)
		}
		return 0
	}
	status := 0
	for _, key := range keys {
		i := slices.IndexFunc(all, func(each T) bool { return is(each, key) })
		if i < 0 {
			status = 2
			continue
		}
		p.printf("%s\n", all[i])
	}
	return status
}

func getentHosts(ctx context.Context, p *process, database string, keys []string) int {
	status := 0
	for _, name := range keys {
		addresses, err := p.lookup(ctx, name)
		if errors.Is(err, errTimedOut) {
			return statusTimedOut
		}
		if len(addresses) == 0 {
			status = 2
			continue
		}
		for _, a := range addresses {
			if database == "hosts" {
				p.printf("%-15s %s\n", a, name)
				continue
			}
			p.printf("%-15s STREAM %s\n%-15s DGRAM  \n%-15s RAW    \n", a, name, a, a)
		}
	}
	return status
}

// runSSHD answers -V, -T, -t and -G, with -C, -f, -o, -p and -h; as a daemon it
// refuses to start, since the port is taken.
func runSSHD(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "CEbcfghkopu")
	version := p.m.version()
	say := func(status int, format string, args ...any) int {
		_, _ = fmt.Fprintf(p.stderr, format+"\n", args...)
		return status
	}
	if o.has("V") && version >= 902 {
		return say(0, "%s", p.m.sshdBanner())
	}
	for _, unknown := range []string{"?", "V", "G"} {
		if o.has(unknown) && (unknown != "G" || version < 903) {
			return say(1, "unknown option -- %s\n%s\nusage: sshd [-46DdeiqTt] [-C connection_spec] [-c host_cert_file]\n"+
				"            [-E log_file] [-f config_file] [-g login_grace_time]\n            [-h host_key_file] [-o option] [-p port] [-u len]", unknown, p.m.sshdBuild())
		}
	}
	if !o.has("T", "t", "G") {
		if p.args[0] != "/usr/sbin/sshd" {
			return say(255, "sshd re-exec requires execution with an absolute path")
		}
		return say(255, "Bind to port 22 on 0.0.0.0 failed: Address already in use.\nCannot bind any address.")
	}
	var conn *connection
	if specs := o.flags["C"]; len(specs) > 0 {
		conn = &connection{}
		for _, spec := range specs {
			if !p.m.connectionSpec(conn, spec) {
				return say(1, "Invalid test mode specification %s", spec)
			}
		}
	}
	conf, err := p.m.sshdEffective(p.cred, p.args[1:], conn)
	if err != nil {
		status := 255
		if strings.HasSuffix(err.Error(), "No such file or directory") || strings.HasSuffix(err.Error(), "Permission denied") {
			status = 1
		}
		return say(status, "%s", err)
	}
	if !o.has("G") && !p.hasHostKey(conf) {
		return say(1, "sshd: no hostkeys available -- exiting.")
	}
	if o.has("T", "G") {
		for _, line := range conf.print(version) {
			p.printf("%s\n", line)
		}
	}
	return 0
}

// sshdBuild is the version with which sshd's usage message starts.
func (m *machine) sshdBuild() string {
	library := "OpenSSL 3.0.13 30 Jan 2024"
	if m.version() < 800 {
		library = "OpenSSL 1.0.2k-fips  26 Jan 2017"
	}
	return m.OS.SSHDBuild + ", " + library
}

// sshdBanner is what "sshd -V" prints: 9.2 leaves the portable release and the
// distribution's part out (seen on Debian 12).
func (m *machine) sshdBanner() string {
	if m.version() > 902 {
		return m.sshdBuild()
	}
	return "OpenSSH_9.2, OpenSSL 3.0.13 30 Jan 2024"
}

// connectionSpec adds one -C argument to c.
func (m *machine) connectionSpec(c *connection, spec string) bool {
	for part := range strings.SplitSeq(spec, ",") {
		key, value, ok := strings.Cut(part, "=")
		if !ok {
			return false
		}
		switch key {
		case "user":
			c.user = value
			if a, ok := m.account(value); ok {
				for _, id := range m.credOf(a).groups {
					c.groups = append(c.groups, m.groupName(id))
				}
			}
		case "host":
			c.host = value
		case "addr":
			c.addr = value
		case "laddr":
			c.laddr = value
		case "lport":
			c.lport = value
		case "rdomain", "invalid-user":
		default:
			return false
		}
	}
	return true
}

func (p *process) hasHostKey(conf sshdConfig) bool {
	return slices.ContainsFunc(conf.get("hostkey"), func(name string) bool {
		_, err := p.readFile(name)
		return err == nil
	})
}

// queryRPM knows -q NAME and -qf FILE, with --qf FORMAT ignored.
func queryRPM(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "", "qf", "queryformat")
	a := p.m.Agent
	arch := p.m.Host.Architecture
	if arch == "arm64" {
		arch = "aarch64"
	}
	release := "1"
	if p.m.OS.Family == "amzn" {
		release = "1.amzn" + p.m.OS.Version
	}
	full := fmt.Sprintf("amazon-ssm-agent-%s-%s.%s", a.Version, release, arch)
	ours := slices.Contains(p.m.agentPackages(), "rpm")
	status := 0
	for _, name := range o.operands {
		switch {
		case ours && (!o.has("f") && name == "amazon-ssm-agent" || o.has("f") && name == p.m.agentPath("rpm")):
			p.printf("%s\n", full)
		case o.has("f"):
			p.printf("file %s is not owned by any package\n", name)
			status = 1
		default:
			p.printf("package %s is not installed\n", name)
			status = 1
		}
	}
	return status
}

// runDpkgQuery is dpkg-query -W [-f FORMAT] NAME and dpkg -S FILE.
func runDpkgQuery(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "f", "showformat")
	ours := slices.Contains(p.m.agentPackages(), "deb")
	status := 0
	for _, name := range o.operands {
		switch {
		case o.has("S") && ours && name == p.m.agentPath("deb"):
			p.printf("amazon-ssm-agent: %s\n", name)
		case o.has("S"):
			status = 1
			_, _ = fmt.Fprintf(p.stderr, "dpkg-query: no path found matching pattern %s\n", name)
		case ours && name == "amazon-ssm-agent":
			format, ok := o.value("f", "showformat")
			if !ok {
				format = "${Package}\t${Version}\n"
			}
			p.printf("%s", strings.NewReplacer("${Package}", name, "${Version}", p.m.Agent.Version+"-1", "${Status}", "install ok installed",
				"${db:Status-Status}", "installed", `\n`, "\n", `\t`, "\t").Replace(format))
		default:
			status = 1
			_, _ = fmt.Fprintf(p.stderr, "%s: no packages found matching %s\n", path.Base(p.args[0]), name)
		}
	}
	return status
}
