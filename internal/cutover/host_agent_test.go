package cutover_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/openpgp"        //nolint:staticcheck // for tests its keys and signatures do
	"golang.org/x/crypto/openpgp/armor"  //nolint:staticcheck // the same
	"golang.org/x/crypto/openpgp/packet" //nolint:staticcheck // the same

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// agentMachine is a machine whose package manager, units and agent lie in a
// scratch folder. Debian's dpkg, curl, gpg and gpgv are the real ones.
type agentMachine struct {
	*machine
	step   plan.Step
	signer string
	key    string // armored
	mirror *httptest.Server

	mu    sync.Mutex
	files map[string][]byte // guarded by mu; of the mirror, by path
	// redirect is where the mirror sends those who come by TLS; guarded by mu.
	redirect string
}

// The packages that the mirror may have. A signer of AWS's name is the one that
// the scripts are told of.
type offer struct {
	version, arch string
	preinst       bool // it has a script that fails
	cut           bool // without its second half, which the signature is not told
	stranger      bool // somebody else signed it
	other         bool // the signature is of another version
	unsigned      bool // there is no signature
	expired       bool // the key was good for an hour, years ago
}

func newAgentMachine(t *testing.T, form string, shell ...string) *agentMachine {
	t.Helper()
	m := &agentMachine{machine: &machine{t: t, shell: shell}, files: map[string][]byte{}}
	for _, program := range []string{"dpkg", "dpkg-deb", "curl", "gpg", "gpgv"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%s is missing: apt-get install dpkg curl gpg gpgv", program)
		}
	}
	m.root = t.TempDir()
	m.plan = &plan.Plan{Digest: t.Name() + m.root, Policy: plan.DefaultPolicy()}
	m.mirror = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		text, ok := m.files[r.URL.Path]
		elsewhere := m.redirect
		m.mu.Unlock()
		if elsewhere != "" && r.TLS != nil {
			http.Redirect(w, r, elsewhere+r.URL.Path, http.StatusFound)
			return
		}
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(text)
	}))
	m.mirror.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are to fail
	m.mirror.StartTLS()
	t.Cleanup(m.mirror.Close)
	must(t, os.WriteFile(m.at("ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.mirror.Certificate().Raw}), 0o600))
	for _, d := range []string{"bin", "units", "usr/bin", "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/rpm"} {
		must(t, os.MkdirAll(m.at(d), 0o755))
	}
	must(t, os.WriteFile(m.at("var/lib/dpkg/status"), nil, 0o644))
	m.program("sh", "exec "+strings.Join(shell, " ")+` "$@"`)
	m.program("sleep", "exit 0")
	m.program("curl", `exec /usr/bin/curl --cacert `+m.at("ca.pem")+` "$@"`)
	m.program("dpkg", `PATH=/usr/sbin:/usr/bin:/sbin:/bin exec dpkg --root=`+m.root+` "$@"`)
	m.program("rpm", strings.ReplaceAll(rpmProgram, "@ROOT@", m.root))
	m.program("systemctl", strings.ReplaceAll(systemctlProgram, "@ROOT@", m.root))
	m.paths = cutover.HostPaths{
		Base: m.at("var-lib-migrate"), Search: m.at("bin") + ":" + os.Getenv("PATH"), Systemd: m.at("no-systemd"), Units: m.at("units"), Root: m.root,
	}
	address := m.mirror.URL + "/agent/" + plan.AgentChange{Package: form, Arch: packageArch()}.Folder() + "/amazon-ssm-agent." + form
	m.step = plan.Step{ID: "s", Kind: plan.Agent, Hosts: []fleet.HostRef{host.Ref()}, Agent: &plan.AgentChange{
		Action: plan.InstallAgent, Package: form, Arch: packageArch(), Floor: "3.3.4851.0", Source: address,
	}}
	return m
}

// packageArch is this machine's architecture in the words of packages.
func packageArch() string {
	out, err := exec.Command("dpkg", "--print-architecture").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

func elsewhere() string {
	if packageArch() == "amd64" {
		return "arm64"
	}
	return "amd64"
}

func (m *agentMachine) program(name, text string) {
	m.t.Helper()
	must(m.t, os.WriteFile(m.at("bin", name), []byte("#!/bin/sh\n"+text+"\n"), 0o755)) //nolint:gosec // a program
}

// systemctlProgram keeps a unit's state in files.
const systemctlProgram = `s=@ROOT@/units
case $1 in
is-active) if [ -e $s/active ]; then echo active; else echo inactive; fi ;;
is-enabled) if [ -e $s/enabled ]; then echo enabled; else echo disabled; fi ;;
enable) : >$s/enabled ;;
restart | start) : >$s/active ;;
disable) rm -f $s/enabled ;;
stop) rm -f $s/active ;;
esac`

// rpmProgram is a package manager whose packages are one line: name, version,
// architecture, size.
const rpmProgram = `r=@ROOT@ file=''
for a in "$@"; do file=$a; done
case $1 in
-q) [ -s $r/var/lib/rpm/db ] ;;
-qp) cat "$file" ;;
-e) rm -f $r/var/lib/rpm/db $r/usr/bin/amazon-ssm-agent ;;
-U)
	read -r name version arch size <"$file"
	echo "$name $version $arch" >$r/var/lib/rpm/db
	printf '#!/bin/sh\necho "SSM Agent version: %s"\n' "$version" >$r/usr/bin/amazon-ssm-agent
	chmod 755 $r/usr/bin/amazon-ssm-agent ;;
esac`

// rpmArch are dpkg's architectures in rpm's words.
var rpmArch = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}

// build makes a package.
func (m *agentMachine) build(o offer) []byte {
	m.t.Helper()
	if m.step.Agent.Package == "rpm" {
		return fmt.Appendf(nil, "amazon-ssm-agent %s %s 40960\n", o.version, rpmArch[o.arch])
	}
	dir := m.t.TempDir()
	must(m.t, os.Chmod(dir, 0o755)) //nolint:gosec // dpkg-deb wants it
	for _, d := range []string{"DEBIAN", "usr/bin"} {
		must(m.t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	control := fmt.Sprintf("Package: amazon-ssm-agent\nVersion: %s-1\nArchitecture: %s\nInstalled-Size: 40\nMaintainer: nobody <nobody@example.com>\nDescription: agent\n", o.version, o.arch)
	must(m.t, os.WriteFile(filepath.Join(dir, "DEBIAN/control"), []byte(control), 0o644))
	must(m.t, os.WriteFile(filepath.Join(dir, "usr/bin/amazon-ssm-agent"), fmt.Appendf(nil, "#!/bin/sh\necho 'SSM Agent version: %s'\n", o.version), 0o755)) //nolint:gosec // a program
	if o.preinst {
		must(m.t, os.WriteFile(filepath.Join(dir, "DEBIAN/preinst"), []byte("#!/bin/sh\nexit 1\n"), 0o755)) //nolint:gosec // a program
	}
	file := filepath.Join(m.t.TempDir(), "p.deb")
	if out, err := exec.Command("dpkg-deb", "--root-owner-group", "-b", dir, file).CombinedOutput(); err != nil {
		m.t.Fatalf("dpkg-deb: %v: %s", err, out)
	}
	text, err := os.ReadFile(file)
	must(m.t, err)
	return text
}

// signers are keys that are made once: they take long.
var signers = struct{ aws, expired, stranger func() *openpgp.Entity }{
	sync.OnceValue(func() *openpgp.Entity { return newSigner(false) }),
	sync.OnceValue(func() *openpgp.Entity { return newSigner(true) }),
	sync.OnceValue(func() *openpgp.Entity { return newSigner(false) }),
}

// newSigner makes an OpenPGP key as AWS's is: RSA of 2048 bits.
func newSigner(expired bool) *openpgp.Entity {
	c := &packet.Config{RSABits: 2048}
	if expired {
		c.Time = func() time.Time { return time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC) }
	}
	e, err := openpgp.NewEntity("SSM Agent", "", "agent@example.com", c)
	if err != nil {
		panic(err)
	}
	if expired {
		hour := uint32(3600)
		for _, id := range e.Identities {
			id.SelfSignature.KeyLifetimeSecs = &hour
			if err := id.SelfSignature.SignUserId(id.UserId.Id, e.PrimaryKey, e.PrivateKey, c); err != nil {
				panic(err)
			}
		}
	}
	return e
}

func sign(t *testing.T, e *openpgp.Entity, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	c := &packet.Config{Time: func() time.Time { return e.PrimaryKey.CreationTime.Add(time.Minute) }}
	must(t, openpgp.ArmoredDetachSign(&out, e, bytes.NewReader(text), c))
	return out.Bytes()
}

// offers puts a package on the mirror, and tells the scripts of its signer.
func (m *agentMachine) offers(o offer) {
	m.t.Helper()
	if o.arch == "" {
		o.arch = packageArch()
	}
	signer := signers.aws()
	if o.expired {
		signer = signers.expired()
	}
	var key bytes.Buffer
	w, err := armor.Encode(&key, openpgp.PublicKeyType, nil)
	must(m.t, err)
	must(m.t, signer.Serialize(w))
	must(m.t, w.Close())
	m.key, m.signer = key.String(), fmt.Sprintf("%X", signer.PrimaryKey.Fingerprint)
	text := m.build(o)
	signed := text
	if o.other {
		signed = m.build(offer{version: "9.9.9.9", arch: o.arch})
	}
	if o.stranger {
		signer = signers.stranger()
	}
	signature := sign(m.t, signer, signed)
	if o.cut {
		text = text[:len(text)/2]
	}
	path := m.step.Agent.Source[len(m.mirror.URL):]
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files = map[string][]byte{path: text, path + ".sig": signature}
	if o.unsigned {
		delete(m.files, path+".sig")
	}
}

// kind is the kind of step under test.
func (m *agentMachine) kind() cutover.StepKind {
	return cutover.HostKinds(cutover.HostWorld{
		Hosts: m, Plan: m.plan, Paths: m.paths, SigningKey: m.key, Signer: m.signer,
		Find: func(fleet.HostRef) (fleet.Host, bool) { return host, true },
	})[plan.Agent]
}

// tree is the state of everything that an agent's package may touch.
func (m *agentMachine) tree() map[string]string {
	m.t.Helper()
	out := map[string]string{}
	for _, top := range []string{"usr", "var", "units"} {
		must(m.t, filepath.WalkDir(m.at(top), func(p string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := e.Info()
			if err != nil {
				return err
			}
			state := info.Mode().String()
			if !e.IsDir() {
				text, err := os.ReadFile(p)
				if err != nil {
					return err
				}
				state += " " + info.ModTime().String() + " " + string(text)
			}
			out[p] = state
			return nil
		}))
	}
	return out
}

// left lists the files in our own folder on the host.
func (m *agentMachine) left() []string {
	m.t.Helper()
	all, err := filepath.Glob(m.at("var-lib-migrate", "*", "*"))
	must(m.t, err)
	for i, p := range all {
		all[i] = filepath.Base(p)
	}
	return all
}

// agentShells are those that hosts may have as sh.
var agentShells = slices.Concat(shells, [][]string{{"bash", "--posix"}})

func onAgentShells(t *testing.T, run func(t *testing.T, form string, shell ...string)) {
	for _, form := range []string{"deb", "rpm"} {
		for i, shell := range agentShells {
			if form == "rpm" && i > 0 {
				continue // it differs in few lines
			}
			t.Run(form+" "+shell[0], func(t *testing.T) { run(t, form, shell...) })
		}
	}
}

func TestAgentIsInstalledUpgradedAndRemovedOnRealShells(t *testing.T) {
	if testing.Short() {
		t.Skip("runs other programs only")
	}
	onAgentShells(t, func(t *testing.T, form string, shell ...string) {
		m := newAgentMachine(t, form, shell...)
		m.offers(offer{version: "3.3.4851.0"})
		if form == "deb" {
			m.paths.Search = m.without("gpgv") // then gpg checks
		}
		before, err := m.kind().Observe(t.Context(), m.step)
		if err != nil || before.Detail != "no agent" {
			t.Fatalf("before: %+v, %v", before, err)
		}
		m.applies(m.step, form+" 3.3.4851.0, running yes, enabled yes")
		m.offers(offer{version: "3.3.5226.0"})
		upgrade, change := m.step, *m.step.Agent
		upgrade.ID, upgrade.Agent, change.Action, change.Floor = "upgrade", &change, plan.UpgradeAgent, "3.3.5000.0"
		m.applies(upgrade, form+" 3.3.5226.0, running yes, enabled yes")
		m.bubble(func(ctx context.Context) { err = m.kind().Undo(ctx, m.step, before.Image, nil, "token") })
		if err != nil {
			t.Fatal(err)
		}
		if o, err := m.kind().Undone(t.Context(), m.step, before.Image, nil, "token"); err != nil || o.Holds != fleet.TruthYes {
			t.Errorf("undone: %+v, %v", o, err)
		}
		if _, err := os.Stat(m.at("usr/bin/amazon-ssm-agent")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the program after the undo: %v", err)
		}
	})
}

// What is not AWS's, or does not fit, is not installed: the host stays as it was,
// byte for byte, and nothing of the attempt stays but its result.
func TestWhatIsNotAWSsPackageIsNotInstalledOnRealShells(t *testing.T) {
	if testing.Short() {
		t.Skip("runs other programs only")
	}
	good := offer{version: "3.3.5226.0"}
	for name, tt := range map[string]struct {
		offer func(*offer)
		more  func(*agentMachine)
		want  string
	}{
		"a signature of something else": {func(o *offer) { o.other = true }, nil, "is not AWS's"},
		"a key that is not AWS's":       {func(o *offer) { o.stranger = true }, nil, "is not AWS's"},
		"AWS's name, another key": {nil, func(m *agentMachine) {
			m.signer = strings.Repeat("A", 40)
		}, "is not AWS's"},
		"a key that has expired": {func(o *offer) { o.expired = true }, nil, "is not AWS's"},
		"no signature":           {func(o *offer) { o.unsigned = true }, nil, ".sig"},
		"half a package":         {func(o *offer) { o.cut = true }, nil, "is not AWS's"},
		"a package for others":   {func(o *offer) { o.arch = elsewhere() }, nil, "the package is for "},
		"an old version":         {func(o *offer) { o.version = "3.3.987.0" }, nil, "has version 3.3.987.0, which is below 3.3.4851.0"},
		"no space":               {nil, func(m *agentMachine) { m.program("df", "echo head; echo x 100 90 45 90% /") }, "there is no space in /usr/bin: the package needs 40 kB, and 45 kB are free"},
		"nothing there":          {nil, func(m *agentMachine) { m.files = nil }, "cannot fetch "},
		"a mirror that nobody knows": {nil, func(m *agentMachine) {
			m.program("curl", `exec /usr/bin/curl "$@"`) // without the authority of its certificate
		}, "cannot fetch "},
		"redirected out of HTTPS": {nil, func(m *agentMachine) {
			plain := httptest.NewServer(m.mirror.Config.Handler)
			m.t.Cleanup(plain.Close)
			m.redirect = plain.URL
		}, "cannot fetch "},
	} {
		t.Run(name, func(t *testing.T) {
			onAgentShells(t, func(t *testing.T, form string, shell ...string) {
				m := newAgentMachine(t, form, shell...)
				o := good
				if tt.offer != nil {
					tt.offer(&o)
				}
				m.offers(o)
				if tt.more != nil {
					tt.more(m)
				}
				before := m.tree()
				err := m.apply(m.step)
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%v; want %q", err, tt.want)
				}
				if diff := cmp.Diff(before, m.tree()); diff != "" {
					t.Errorf("the host changed (-before +after): %s", diff)
				}
				if diff := cmp.Diff([]string{"agent-result"}, m.left()); diff != "" {
					t.Errorf("left on the host (-want +got): %s", diff)
				}
				if o, err := m.kind().Observe(t.Context(), m.step); err != nil || o.Holds != fleet.TruthNo || o.Detail != "no agent" {
					t.Errorf("after: %+v, %v", o, err)
				}
			})
		})
	}
}

// A newer agent is never replaced by an older one, and what a package manager
// leaves half done goes.
func TestAgentStaysWhenThePackageFails(t *testing.T) {
	m := newAgentMachine(t, "deb", "dash")
	m.offers(offer{version: "3.3.5226.0", preinst: true})
	if err := m.apply(m.step); err == nil {
		t.Error("its script fails, and the package was installed")
	}
	if out, err := exec.Command(m.at("bin/dpkg"), "-s", "amazon-ssm-agent").CombinedOutput(); err == nil {
		t.Errorf("dpkg still knows it: %s", out)
	}
	m.offers(offer{version: "3.3.5226.0"})
	m.step.ID = "again"
	m.applies(m.step, "deb 3.3.5226.0, running yes, enabled yes")
	before := m.tree()
	m.offers(offer{version: "3.3.4851.0"})
	older, change := m.step, *m.step.Agent
	older.ID, older.Agent, change.Action = "older", &change, plan.UpgradeAgent
	if err := m.apply(older); err == nil || !strings.Contains(err.Error(), "here is 3.3.5226.0 already") {
		t.Error(err)
	}
	if diff := cmp.Diff(before, m.tree()); diff != "" {
		t.Errorf("the host changed (-before +after): %s", diff)
	}
}

// User data brings the key and the agent on the first boot; another boot of the
// same changes nothing.
func TestUserDataOnRealShells(t *testing.T) {
	onAgentShells(t, func(t *testing.T, form string, shell ...string) {
		m := newAgentMachine(t, form, shell...)
		m.offers(offer{version: "3.3.5226.0"})
		must(t, os.MkdirAll(m.at("home/.ssh"), 0o700))
		must(t, os.WriteFile(m.at("home/.ssh/authorized_keys"), []byte("ssh-rsa AAAA without an end"), 0o644)) //nolint:gosec // others read it
		must(t, os.WriteFile(m.at("passwd"), fmt.Appendf(nil, "daemon:x:1:1::%s:/bin/sh\n", m.at("home")), 0o600))
		m.paths.Accounts = m.at("passwd")
		line := `restrict,from="10.0.1.0/24" ssh-ed25519 AAAAC3 it's recovery`
		text, err := cutover.UserData(cutover.HostWorld{SigningKey: m.key, Signer: m.signer, Paths: m.paths}, &plan.TemplateChange{
			Template: "lt-1", Key: &plan.KeyChange{User: "daemon", Line: line}, Agent: m.step.Agent,
		}, "eu-west-1")
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if r := m.machine.Run(t.Context(), host, fleet.WaySSH, fleet.Script{Name: "user data", Text: text}); r.Exit != 0 {
				t.Fatalf("%d %s %s", r.Exit, r.Stdout, r.Stderr)
			}
			keys, err := os.ReadFile(m.at("home/.ssh/authorized_keys"))
			if want := "ssh-rsa AAAA without an end\n" + line + "\n"; err != nil || string(keys) != want {
				t.Errorf("%v: %q, want %q", err, keys, want)
			}
			if info, err := os.Stat(m.at("home/.ssh/authorized_keys")); err != nil || info.Mode().Perm() != 0o600 || info.Sys().(*syscall.Stat_t).Uid != 1 {
				t.Errorf("the file: %+v, %v", info, err)
			}
			if o, err := m.kind().Observe(t.Context(), m.step); err != nil || o.Holds != fleet.TruthYes || o.Detail != form+" 3.3.5226.0, running yes, enabled yes" {
				t.Errorf("%+v, %v", o, err)
			}
			m.files = nil // what is there needs no package
		}
	})
}

// What others run by hand installs, upgrades and restarts the agent with the
// step's own checks, leaves alone what is as wanted, and says what it refuses.
func TestAgentByHandOnRealShells(t *testing.T) {
	if testing.Short() {
		t.Skip("runs other programs only")
	}
	onAgentShells(t, func(t *testing.T, form string, shell ...string) {
		m := newAgentMachine(t, form, shell...)
		m.plan.ID = "0123456789ab"
		m.offers(offer{version: "3.3.4851.0", stranger: true})
		before := m.tree()
		if r := m.byHand(m.step, ""); r.Exit == 0 || !strings.Contains(string(r.Stdout), "is not AWS's") {
			t.Errorf("a stranger's package: exit %d\n%s%s", r.Exit, r.Stdout, r.Stderr)
		}
		if diff := cmp.Diff(before, m.tree()); diff != "" {
			t.Errorf("a stranger's package changed the host: %s", diff)
		}
		m.offers(offer{version: "3.3.4851.0"})
		for range 2 {
			if r := m.byHand(m.step, ""); r.Exit != 0 {
				t.Fatalf("exit %d\n%s%s", r.Exit, r.Stdout, r.Stderr)
			}
			if o, err := m.kind().Observe(t.Context(), m.step); err != nil || o.Holds != fleet.TruthYes {
				t.Errorf("%+v, %v", o, err)
			}
			m.files = nil // what is there needs no package
		}
		m.offers(offer{version: "3.3.5226.0"})
		upgrade, change := m.step, *m.step.Agent
		upgrade.Agent, change.Action, change.Floor = &change, plan.UpgradeAgent, "3.3.5000.0"
		for _, mode := range []string{"start", "look"} {
			if r := m.byHand(upgrade, mode); r.Exit != 0 {
				t.Fatalf("%s: exit %d\n%s%s", mode, r.Exit, r.Stdout, r.Stderr)
			}
		}
		if o, err := m.kind().Observe(t.Context(), upgrade); err != nil || o.Holds != fleet.TruthYes {
			t.Errorf("%+v, %v", o, err)
		}
		change.Floor = "3.4.0.0"
		if r := m.byHand(upgrade, ""); r.Exit == 0 || !strings.Contains(string(r.Stdout), "which is below 3.4.0.0") {
			t.Errorf("an agent below the floor: exit %d\n%s%s", r.Exit, r.Stdout, r.Stderr)
		}
		restart := plan.Step{ID: "w", Kind: plan.WaitFor, Wait: &plan.Wait{Code: "agent-sleeping", Action: plan.RestartAgent}}
		if r := m.byHand(restart, ""); r.Exit != 0 || !strings.Contains(string(r.Stdout), "started") {
			t.Errorf("restart: exit %d\n%s%s", r.Exit, r.Stdout, r.Stderr)
		}
		if r := m.byHand(restart, ""); r.Exit != 0 || strings.Contains(string(r.Stdout), "started") {
			t.Errorf("a second restart: exit %d\n%s%s", r.Exit, r.Stdout, r.Stderr)
		}
	})
}

// byHand runs what others run for a step, in a mode.
func (m *agentMachine) byHand(s plan.Step, mode string) fleet.ScriptResult {
	m.t.Helper()
	head, body, err := cutover.ByHand(cutover.HostWorld{Plan: m.plan, SigningKey: m.key, Signer: m.signer, Paths: m.paths}, s)
	must(m.t, err)
	if mode != "" {
		mode = "MODE=" + mode + "\n"
	}
	return m.machine.Run(m.t.Context(), host, fleet.WaySSH, fleet.Script{Name: "by hand", Text: head + mode + body, Timeout: time.Minute})
}

// EC2 takes 16 KB, with the key that is built in and a mirror's address.
func TestUserDataFits(t *testing.T) {
	c := &plan.TemplateChange{
		Template: "lt-1", Key: &plan.KeyChange{User: "ec2-user", Line: "ssh-ed25519 " + strings.Repeat("A", 100)},
		Agent: &plan.AgentChange{Action: plan.InstallAgent, Package: "rpm", Arch: "amd64", Floor: "3.3.4851.0"},
	}
	text, err := cutover.UserData(cutover.HostWorld{}, c, "eu-west-1")
	if err != nil || !strings.Contains(text, "'https://s3.eu-west-1.amazonaws.com/amazon-ssm-eu-west-1/latest/linux_amd64/amazon-ssm-agent.rpm'") {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	c.Agent.Source = "https://m/" + strings.Repeat("m", 8<<10)
	if _, err := cutover.UserData(cutover.HostWorld{}, c, "eu-west-1"); err == nil {
		t.Error("longer than EC2 takes")
	}
	if _, err := cutover.UserData(cutover.HostWorld{}, &plan.TemplateChange{Template: "lt-1", Profile: "web"}, "eu-west-1"); err == nil {
		t.Error("there is nothing to do on the first boot")
	}
}

// Run waits for the end of the work that a script left to a process of its own:
// a bubble's time does not know of it.
func (m *agentMachine) Run(ctx context.Context, h fleet.Host, way fleet.Way, s fleet.Script) fleet.ScriptResult {
	r := m.machine.Run(ctx, h, way, s)
	if !s.Reads && way == fleet.WaySSH {
		result := m.at("var-lib-migrate", "*", "agent-result")
		if out, err := exec.Command("sh", "-c", "for i in $(seq 600); do grep -qs '[.]running' "+result+" || exit 0; sleep 0.1; done; exit 1").CombinedOutput(); err != nil {
			m.t.Errorf("the work does not end: %v %s", err, out)
		}
	}
	return r
}

// bubble runs what waits.
func (m *agentMachine) bubble(run func(context.Context)) {
	synctest.Test(m.t, func(t *testing.T) { run(t.Context()) })
}

func (m *agentMachine) apply(s plan.Step) (err error) {
	m.bubble(func(ctx context.Context) { _, err = m.kind().Apply(ctx, s, nil, "token") })
	return err
}

// applies applies a step and observes what the host says then.
func (m *agentMachine) applies(s plan.Step, want string) {
	m.t.Helper()
	if err := m.apply(s); err != nil {
		m.t.Fatal(err)
	}
	o, err := m.kind().Observe(m.t.Context(), s)
	if err != nil || o.Holds != fleet.TruthYes || o.Detail != want {
		m.t.Fatalf("%+v, %v; want %s", o, err, want)
	}
	if diff := cmp.Diff([]string{"agent-result"}, m.left()); diff != "" {
		m.t.Errorf("left on the host (-want +got): %s", diff)
	}
}

// without gives a PATH that has all programs but one.
func (m *agentMachine) without(program string) string {
	m.t.Helper()
	must(m.t, os.MkdirAll(m.at("most"), 0o755))
	for _, dir := range []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
		all, err := os.ReadDir(dir)
		must(m.t, err)
		for _, e := range all {
			if e.Name() != program {
				_ = os.Symlink(filepath.Join(dir, e.Name()), m.at("most", e.Name())) // the first of a name counts
			}
		}
	}
	return m.at("bin") + ":" + m.at("most")
}
