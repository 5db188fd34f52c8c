package simfleet

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"
)

// agentPackage is a package file of the agent.
type agentPackage struct{ form, version, arch string }

const (
	packageMagic = "simulated package amazon-ssm-agent\n"
	packageEnd   = "\nend of package\n"
	// agentSigner is the fingerprint of AWS's key for current packages. Source:
	// Systems Manager User Guide, verify-agent-signature.
	agentSigner = "1C5B395CBE5E74E2F1CA21592784DBF388D19D46"
)

// bytes is the file: it can be told from any other and from a part of itself.
func (a agentPackage) bytes() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%sform %s\nversion %s\narch %s\n", packageMagic, a.form, a.version, a.arch)
	b.WriteString(strings.Repeat("payload ", 1024))
	b.WriteString(packageEnd)
	return b.Bytes()
}

func parsePackage(data []byte) (a agentPackage, ok bool) {
	rest, magic := bytes.CutPrefix(data, []byte(packageMagic))
	if !magic || !bytes.HasSuffix(data, []byte(packageEnd)) {
		return a, false
	}
	for line := range strings.Lines(string(rest[:min(len(rest), 200)])) {
		switch key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " "); key {
		case "form":
			a.form = value
		case "version":
			a.version = value
		case "arch":
			a.arch = value
		}
	}
	return a, bytes.Equal(a.bytes(), data)
}

// signature is what lies next to a package file as NAME.sig.
func signature(data []byte) []byte { return signatureBy(agentSigner, data) }

func signatureBy(signer string, data []byte) []byte {
	return armored("SIGNATURE", fmt.Sprintf("simulated signature %s %x", signer, sha256.Sum256(data)))
}

// AgentSigningKey is the public key by which the simulated agent's packages are
// signed. The simulated gpg and rpm take it, under the fingerprint of AWS's own.
func AgentSigningKey() string {
	return string(armored("PUBLIC KEY BLOCK", keyText+agentSigner))
}

// keyText stands before the fingerprint in the simulation's key files.
const keyText = "simulated public key "

func armored(kind, text string) []byte {
	return fmt.Appendf(nil, "-----BEGIN PGP %s-----\n\n%s\n-----END PGP %[1]s-----\n", kind, base64.StdEncoding.EncodeToString([]byte(text)))
}

// unarmored reads it back; empty: it is none of that kind.
func unarmored(kind string, data []byte) []string {
	_, rest, ok := bytes.Cut(data, []byte("-----BEGIN PGP "+kind+"-----\n"))
	body, _, ended := bytes.Cut(rest, []byte("-----END PGP "+kind+"-----"))
	text, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(body)), ""))
	if !ok || !ended || err != nil {
		return nil
	}
	return strings.Fields(string(text))
}

// object is what S3 answers for an object: those of the buckets with the
// agent, which everybody may read as far as an endpoint's policy lets them. Source: Systems
// Manager User Guide, agent-install pages and ssm-agent-technical-details.
func (r *transfer) object(policy string) response {
	m := r.p.m
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.path, "/"), "/")
	if own, ok := strings.CutSuffix(strings.SplitN(r.host, "."+m.Region.Name+".", 2)[0], ".s3"); ok {
		bucket, key = own, strings.TrimPrefix(r.path, "/")
	}
	refused := func(code int, name string) response {
		return response{code: code, header: map[string]string{"Server": "AmazonS3", "Content-Type": "application/xml"},
			body: "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>" + name + "</Code></Error>"}
	}
	if policy != "" {
		q := instanceRequest(m.inst, "s3:GetObject")
		q.resource, q.principal = "arn:aws:s3:::"+bucket+"/"+key, ""
		if !q.decide(policy).yes() {
			return refused(http.StatusForbidden, "AccessDenied")
		}
	}
	body, ok := m.agentObject(bucket, key)
	if !ok {
		return refused(http.StatusForbidden, "AccessDenied") // what S3 says to those who may not list
	}
	return response{code: http.StatusOK, header: map[string]string{"Server": "AmazonS3", "Content-Type": "binary/octet-stream"}, body: string(body)}
}

// agentObject gives an object of the Region's bucket with the agent:
// VERSION/SYSTEM_ARCH/FILE, or the number of the latest version.
func (m *machine) agentObject(bucket, key string) ([]byte, bool) {
	if bucket != "amazon-ssm-"+m.Region.Name {
		return nil, false
	}
	if key == "latest/VERSION" {
		return []byte(agentCurrent), true
	}
	parts := strings.Split(key, "/")
	if len(parts) != 3 {
		return nil, false
	}
	version := parts[0]
	if version == "latest" {
		version = agentCurrent
	}
	system, arch, _ := strings.Cut(parts[1], "_")
	name, signed := strings.CutSuffix(parts[2], ".sig")
	form := map[string]string{"linux/amazon-ssm-agent.rpm": "rpm", "debian/amazon-ssm-agent.deb": "deb"}[system+"/"+name]
	if form == "" || arch != "amd64" && arch != "arm64" || len(numbers(version)) != 4 || versionLess(agentCurrent, version) {
		return nil, false
	}
	data := agentPackage{form: form, version: version, arch: arch}.bytes()
	if signed {
		return signature(data), true
	}
	return data, true
}

// runWget is wget [-q] [-T N] [-O FILE] URL.
func runWget(ctx context.Context, p *process) int {
	o := parseOptions(p.args[1:], "OTt", "output-document", "timeout", "tries")
	if len(o.operands) == 0 {
		return p.fail(1, "missing URL")
	}
	like := options{flags: map[string][]string{"s": {""}, "f": {""}, "L": {""}}}
	file, ok := o.value("O", "output-document")
	if !ok {
		file = path.Base(o.operands[0])
	}
	like.flags["o"] = []string{file}
	if v, ok := o.value("T", "timeout"); ok {
		like.flags["connect-timeout"] = []string{v}
	}
	quiet := *p
	quiet.stderr = io.Discard
	status, known := map[int]int{0: 0, 6: 4, 28: 4, 60: 5, 22: 8, 23: 3}[curlOne(ctx, &quiet, like, o.operands[0])]
	switch {
	case !known:
		return statusTimedOut
	case status != 0 && !o.has("q", "quiet"):
		return p.fail(status, "cannot fetch %s", o.operands[0])
	}
	return status
}

// runGPG knows --import, --verify SIGNATURE FILE and --fingerprint, with
// --homedir and --status-fd 1; gpgv is the same with --keyring.
func runGPG(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "", "homedir", "status-fd", "keyring", "trust-model")
	home, ok := o.value("homedir")
	if !ok {
		home = path.Join(p.env["HOME"], ".gnupg")
	}
	ring := path.Join(home, "pubring.kbx")
	if v, ok := o.value("keyring"); ok {
		ring = v
	}
	held, _ := p.readFile(ring)
	switch {
	case o.has("import"):
		return p.importKeys(o.operands, home, ring, held)
	case o.has("verify"), path.Base(p.args[0]) == "gpgv":
		return p.verifySignature(o, string(held))
	case o.has("fingerprint", "list-keys"):
		for _, f := range lines(held) {
			p.printf("pub   rsa2048\n      %s\n", f)
		}
		return 0
	}
	return p.fail(2, "no command supplied")
}

func (p *process) importKeys(files []string, home, ring string, held []byte) int {
	added := 0
	status := eachInput(p, files, func(_ string, data []byte) {
		if f := unarmored("PUBLIC KEY BLOCK", data); len(f) == 4 {
			held = fmt.Appendf(bytes.Clone(held), "%s\n", f[3])
			added++
		}
	})
	if added == 0 {
		return p.fail(2, "no valid OpenPGP data found.")
	}
	if p.m.fs.node(p.abs(home)) == nil {
		_ = p.m.fs.mkdir(p.cred, p.abs(home), 0o700)
	}
	if err := p.m.fs.writeFile(p.cred, p.abs(ring), held, 0o600); err != nil {
		return p.fail(2, "error writing keyring '%s': %s", ring, errorText(err))
	}
	return status
}

func (p *process) verifySignature(o options, held string) int {
	if len(o.operands) < 2 {
		return p.fail(2, "missing operand")
	}
	tell := func(format string, args ...any) {
		if fd, _ := o.value("status-fd"); fd == "1" {
			p.printf("[GNUPG:] "+format+"\n", args...)
		}
	}
	sig, err1 := p.readFile(o.operands[0])
	data, err2 := p.readFile(o.operands[1])
	if err := cmp.Or(err1, err2); err != nil {
		return p.fail(2, "can't open: %s", errorText(err))
	}
	f := unarmored("SIGNATURE", sig)
	if len(f) != 4 {
		tell("NODATA 4")
		return p.fail(2, "no signature found")
	}
	signer, id := f[2], f[2][len(f[2])-16:]
	switch {
	case !slices.ContainsFunc(lines([]byte(held)), func(l string) bool { return strings.TrimPrefix(l, keyText) == signer }):
		tell("ERRSIG %s 1 8 00 0 9", id)
		tell("NO_PUBKEY %s", id)
		return p.fail(2, "Can't check signature: No public key")
	case f[3] != fmt.Sprintf("%x", sha256.Sum256(data)):
		tell("BADSIG %s SSM Agent <ssm-agent-signer@amazon.com>", id)
		return p.fail(1, "BAD signature from \"SSM Agent <ssm-agent-signer@amazon.com>\"")
	}
	tell("GOODSIG %s SSM Agent <ssm-agent-signer@amazon.com>", id)
	tell("VALIDSIG %s 2026-09-08 1788825600 0 4 0 1 8 00 %[1]s", signer)
	_, _ = fmt.Fprintf(p.stderr, "gpg: Good signature from \"SSM Agent <ssm-agent-signer@amazon.com>\"\n")
	return 0
}

// installed says how the agent changes when a package of it is installed: the
// two packages of AWS start and enable its unit.
func (h *Hosts) installed(inst *Instance, form, version string, starts bool) {
	h.changeAgent(inst, func(a *Agent, now time.Time) {
		switch {
		case !a.Installed:
			a.Installed, a.Package, a.Version, a.Second, a.LastSeen = true, form, version, "", time.Time{}
			a.Running, a.Enabled = false, starts
			if starts {
				a.start(now)
			}
		case a.Package != form && a.Second == "":
			a.Second = form
		default:
			a.Version = version
			if a.Running {
				a.start(now)
			}
		}
	})
}

// removed says how the agent changes when one of its packages goes.
func (h *Hosts) removed(inst *Instance, form string) {
	h.changeAgent(inst, func(a *Agent, now time.Time) {
		switch {
		case a.Second == form:
			a.Second = ""
		case a.Second != "":
			a.Package, a.Second = a.Second, ""
		default:
			a.Installed, a.Running, a.Enabled = false, false, false
			return
		}
		if a.Running {
			a.start(now)
		}
	})
}

// reachesInternet reports whether the machine opens connections to port 443 of
// an address out there.
func (p *process) reachesInternet() bool {
	w := p.x.hosts.w
	w.Mu.RLock()
	defer w.Mu.RUnlock()
	return p.m.inst.connect(netip.AddrFrom4([4]byte{185, 125, 188, 54}), 443, "", nil).reason == ""
}
