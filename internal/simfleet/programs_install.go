package simfleet

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

const agentName = "amazon-ssm-agent"

// packageFile reads and checks a package file for this machine.
func (p *process) packageFile(name, form string) (agentPackage, error) {
	data, err := p.readFile(name)
	if err != nil {
		return agentPackage{}, fmt.Errorf("%s: %s", name, errorText(err))
	}
	a, ok := parsePackage(data)
	arch := "amd64"
	if p.m.Host.Architecture == "arm64" {
		arch = "arm64"
	}
	switch {
	case !ok || a.form != form:
		return a, fmt.Errorf("%s: not a package of the form %s", name, form)
	case a.arch != arch:
		return a, fmt.Errorf("%s: package architecture (%s) does not match system (%s)", name, a.arch, arch)
	}
	return a, nil
}

// diskReason gives why nothing can be installed; empty: it can.
func (p *process) diskReason() string {
	at := p.m.agentPath("rpm")
	switch {
	case p.m.full(at, false) || p.m.full(at, true):
		return "No space left on device"
	case p.m.fs.fixed(at):
		return "Read-only file system"
	}
	return ""
}

// install installs the agent's package, or refuses what the machine cannot take.
func (p *process) install(a agentPackage, starts bool) int {
	if reason := p.diskReason(); reason != "" {
		return p.fail(1, "error writing to %s: %s", p.m.agentPath(a.form), reason)
	}
	p.x.hosts.installed(p.m.inst, a.form, a.version, starts)
	p.x.renew()
	return 0
}

// has reports whether a package installed the agent.
func (p *process) has(form string) bool { return slices.Contains(p.m.agentPackages(), form) }

// runDpkg is dpkg -i FILE, -r and -P NAME, and what dpkg-query does.
func runDpkg(ctx context.Context, p *process) int {
	o := parseOptions(p.args[1:], "")
	switch {
	case !o.has("i", "install", "r", "remove", "P", "purge"):
		return runDpkgQuery(ctx, p)
	case !p.cred.root():
		return p.fail(2, "error: requested operation requires superuser privilege")
	case o.has("i", "install"):
		return p.dpkgInstall(o.operands)
	}
	return p.removeAgent("deb", o.operands)
}

func (p *process) dpkgInstall(files []string) int {
	for _, file := range files {
		a, err := p.packageFile(file, "deb")
		if err != nil {
			_, _ = fmt.Fprintf(p.stderr, "dpkg: error processing archive %s (--install):\n %v\nErrors were encountered while processing:\n %s\n", file, err, file)
			return 1
		}
		p.printf("Preparing to unpack %s ...\nUnpacking amazon-ssm-agent (%s-1) ...\n", file, a.version)
		if status := p.install(a, true); status != 0 {
			return status
		}
		p.printf("Setting up amazon-ssm-agent (%s-1) ...\n", a.version)
	}
	return 0
}

func (p *process) removeAgent(form string, names []string) int {
	for _, name := range names {
		if name != agentName || !p.has(form) {
			if form == "deb" {
				_, _ = fmt.Fprintf(p.stderr, "dpkg: warning: ignoring request to remove %s which isn't installed\n", name)
				continue
			}
			return p.fail(1, "package %s is not installed", name)
		}
		p.x.hosts.removed(p.m.inst, form)
		p.x.renew()
	}
	return 0
}

// runApt is apt-get update, install FILE and remove NAME. Debian and Ubuntu have
// no package of the agent in their archives.
func runApt(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "o")
	if !p.cred.root() {
		return p.fail(100, "Could not open lock file /var/lib/dpkg/lock-frontend - open (13: Permission denied)")
	}
	if len(o.operands) == 0 {
		return p.fail(100, "no command")
	}
	names := o.operands[1:]
	switch o.operands[0] {
	case "install":
		for _, name := range names {
			if !strings.Contains(name, "/") {
				_, _ = fmt.Fprintf(p.stderr, "E: Unable to locate package %s\n", name)
				return 100
			}
		}
		if p.dpkgInstall(names) != 0 {
			return 100
		}
	case "remove", "purge", "autoremove":
		return p.removeAgent("deb", names)
	}
	return 0
}

// runRPM is rpm -q, -U, -i, -F, -e, -K and --import.
func runRPM(ctx context.Context, p *process) int {
	o := parseOptions(p.args[1:], "", "qf", "queryformat", "dbpath")
	change := o.has("U", "upgrade", "i", "install", "F", "freshen", "e", "erase", "import") && !o.has("q", "query")
	switch {
	case o.has("K", "checksig"):
		return p.checkRPMs(o.operands)
	case !change && o.has("p", "package"):
		return p.aboutRPM(o.operands)
	case !change:
		return queryRPM(ctx, p)
	case !p.cred.root():
		return p.fail(1, "can't create transaction lock on /usr/lib/sysimage/rpm/.rpm.lock (Permission denied)")
	case o.has("import"):
		return p.importRPMKeys(o.operands)
	case o.has("e", "erase"):
		return p.removeAgent("rpm", o.operands)
	}
	for _, file := range o.operands {
		a, err := p.packageFile(file, "rpm")
		if err != nil {
			return p.fail(1, "%v", err)
		}
		if p.has("rpm") && !versionLess(p.m.Agent.Version, a.version) && !o.has("replacepkgs", "force", "oldpackage") {
			return p.fail(1, "\tpackage amazon-ssm-agent-%s-1.%s is already installed", p.m.Agent.Version, a.arch)
		}
		if status := p.install(a, true); status != 0 {
			return status
		}
	}
	return 0
}

// rpmKeys is where the model keeps the keys that rpm trusts.
const rpmKeys = "/var/lib/rpm/pubring.kbx"

func (p *process) importRPMKeys(files []string) int {
	held, _ := p.readFile(rpmKeys)
	return p.importKeys(files, path.Dir(rpmKeys), rpmKeys, held)
}

// checkRPMs is rpm --checksig: the simulated packages carry their signature.
func (p *process) checkRPMs(files []string) int {
	status := 0
	held, _ := p.readFile(rpmKeys)
	for _, file := range files {
		_, err := p.packageFile(file, "rpm")
		verdict := "digests signatures OK"
		if err != nil || !slices.Contains(lines(held), agentSigner) {
			verdict, status = "digests SIGNATURES NOT OK", 1
		}
		p.printf("%s: %s\n", file, verdict)
	}
	return status
}

// runYum is yum, dnf and zypper: install, update and remove of the agent by
// name, file or URL. By name it is in the repositories of Amazon Linux, which lie in
// S3, and of SLES, whose package neither starts nor enables it (Systems Manager
// User Guide, agent-install-sles).
func runYum(ctx context.Context, p *process) int {
	o := parseOptions(p.args[1:], "")
	words := slices.DeleteFunc(slices.Clone(o.operands), func(w string) bool { return w == "--" })
	switch {
	case len(words) == 0:
		return p.fail(1, "no command")
	case !p.cred.root():
		return p.fail(1, "This command has to be run with superuser privileges (under the root user on most systems).")
	}
	verb, names := words[0], words[1:]
	switch verb {
	case "install", "in", "localinstall", "update", "upgrade", "up", "reinstall":
	case "remove", "erase", "rm":
		return p.removeAgent("rpm", names)
	default:
		return 0
	}
	if len(names) == 0 {
		names = []string{agentName}
	}
	for _, name := range names {
		if status := p.yumInstall(ctx, verb, name); status != 0 {
			return status
		}
	}
	return 0
}

func (p *process) yumInstall(ctx context.Context, verb, name string) int {
	if strings.Contains(name, "://") {
		file := "/var/cache/" + path.Base(name)
		quiet := options{flags: map[string][]string{"s": {""}, "S": {""}, "f": {""}, "o": {file}}}
		if status := curlOne(ctx, p, quiet, name); status != 0 {
			return p.fail(1, "[Errno 14] curl#%d: cannot fetch %s", status, name)
		}
		name = file
	}
	a := agentPackage{form: "rpm", version: agentCurrent}
	fromFile := strings.Contains(name, "/") || strings.HasSuffix(name, ".rpm")
	switch {
	case fromFile:
		var err error
		if a, err = p.packageFile(name, "rpm"); err != nil {
			return p.fail(1, "%v", err)
		}
	case name != agentName || p.m.OS.Family != "amzn" && p.m.OS.Family != "sles":
		return p.fail(1, "No match for argument: %s\nError: Unable to find a match: %[1]s", name)
	case p.m.OS.Family == "amzn" && !p.egress("s3", p.env).TLS, p.m.OS.Family == "sles" && !p.reachesInternet():
		return p.fail(1, "Error: Failed to download metadata for repo: Cannot download repomd.xml: All mirrors were tried")
	case !p.has("rpm") && strings.HasPrefix(verb, "up"):
		return 0
	}
	if p.has("rpm") && !versionLess(p.m.Agent.Version, a.version) && verb != "reinstall" {
		p.printf("Nothing to do.\n")
		return 0
	}
	if status := p.install(a, fromFile || p.m.OS.Family == "amzn"); status != 0 {
		return status
	}
	p.printf("Complete!\n")
	return 0
}

// runSnap is snap info, list, install, refresh, remove, start, stop, restart and services.
func runSnap(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "", "channel")
	if len(o.operands) == 0 {
		return p.fail(64, "unknown command")
	}
	verb, names := o.operands[0], o.operands[1:]
	ours := p.has("snap")
	say := func(format string, args ...any) int {
		_, _ = fmt.Fprintf(p.stderr, "error: "+format+"\n", args...)
		return 1
	}
	if verb == "info" {
		return p.snapInfo()
	}
	if verb == "list" {
		if !ours || len(names) > 0 && names[0] != agentName {
			return say("no matching snaps installed")
		}
		p.printf("Name              Version     Rev   Tracking         Publisher  Notes\namazon-ssm-agent  %-11s 9881  latest/stable/…  aws✓       classic\n", p.m.Agent.Version)
		return 0
	}
	name := ""
	if len(names) > 0 {
		name, _, _ = strings.Cut(names[0], ".")
	}
	switch {
	case !p.cred.root():
		return say("access denied (try with sudo)")
	case name != agentName && (name != "" || verb != "refresh"):
		return say("snap %q not found", name)
	case verb != "install" && !ours:
		return say("snap \"amazon-ssm-agent\" is not installed")
	}
	switch verb {
	case "install":
		if ours {
			p.printf("snap \"amazon-ssm-agent\" is already installed, see 'snap help refresh'\n")
			return 0
		}
		if !o.has("classic") {
			return say("This revision of snap \"amazon-ssm-agent\" was published using classic confinement")
		}
		return p.snapInstall()
	case "refresh":
		if !versionLess(p.m.Agent.Version, agentCurrent) {
			p.printf("snap \"amazon-ssm-agent\" has no updates available\n")
			return 0
		}
		return p.snapInstall()
	case "remove":
		return p.removeAgent("snap", []string{agentName})
	case "start", "stop", "restart":
		if o.has("enable", "disable") {
			p.x.hosts.changeAgent(p.m.inst, func(a *Agent, _ time.Time) { a.Enabled = o.has("enable") })
		}
		p.x.hosts.runAgentUnit(p.m.inst, verb)
		p.x.renew()
		return 0
	case "services":
		return 0
	}
	return p.fail(64, "unknown command")
}

func (p *process) snapInstall() int {
	if !p.reachesInternet() {
		_, _ = fmt.Fprintln(p.stderr, "error: cannot install \"amazon-ssm-agent\": Post \"https://api.snapcraft.io/v2/snaps/refresh\": net/http: request canceled while waiting for connection")
		return 1
	}
	if status := p.install(agentPackage{form: "snap", version: agentCurrent}, true); status != 0 {
		return status
	}
	p.printf("amazon-ssm-agent %s from Amazon Web Services (aws✓) installed\n", agentCurrent)
	return 0
}
