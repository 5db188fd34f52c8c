package simfleet

import (
	"context"
	"fmt"
	"net/http"
	"slices"
)

// agentSize is what the agent takes on the disk, in kB.
const agentSize = 98_304

// AgentPackage gives a package of the simulated agent and the signature that lies
// beside it. Form is "rpm" or "deb", arch "amd64" or "arm64". Signer is the
// fingerprint of the key that signs it; empty: that of AgentSigningKey.
func AgentPackage(form, version, arch, signer string) (pkg, sig []byte) {
	pkg = agentPackage{form: form, version: version, arch: arch}.bytes()
	if signer == "" {
		signer = agentSigner
	}
	return pkg, signatureBy(signer, pkg)
}

// runDpkgDeb is dpkg-deb -f FILE [FIELD...].
func runDpkgDeb(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "")
	if !o.has("f", "field") || len(o.operands) == 0 {
		return p.fail(2, "error: need an action option")
	}
	file := o.operands[0]
	data, err := p.readFile(file)
	if err != nil {
		return p.fail(2, "error: failed to read archive '%s': %s", file, errorText(err))
	}
	a, ok := parsePackage(data)
	if !ok || a.form != "deb" {
		return p.fail(2, "error: '%s' is not a Debian format archive", file)
	}
	for _, f := range [][2]string{{"Package", agentName}, {"Version", a.version + "-1"}, {"Architecture", a.arch}, {"Installed-Size", fmt.Sprint(agentSize)}} {
		if len(o.operands) == 1 || slices.Contains(o.operands[1:], f[0]) {
			p.printf("%s: %s\n", f[0], f[1])
		}
	}
	return 0
}

// aboutRPM is rpm -qp with name, version, architecture and size of files.
func (p *process) aboutRPM(operands []string) int {
	status := 0
	for _, file := range operands {
		data, err := p.readFile(file)
		a, ok := parsePackage(data)
		switch {
		case err != nil:
			status = p.fail(1, "error: open of %s failed: %s", file, errorText(err))
		case !ok || a.form != "rpm":
			status = p.fail(1, "error: %s: not an rpm package (or package manifest)", file)
		default:
			p.printf("%s %s %s %d\n", agentName, a.version, map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[a.arch], agentSize*1024)
		}
	}
	return status
}

// snapInfo is snap info NAME: what the store has, where snapd reaches it.
func (p *process) snapInfo() int {
	if !p.reachesInternet() {
		_, _ = fmt.Fprintf(p.stderr, "error: no snap found for \"%s\"\n", agentName)
		return 1
	}
	p.printf("name:      %s\nsummary:   Agent to enable remote management of your Amazon EC2 instances\npublisher: Amazon Web Services (aws**)\nchannels:\n", agentName)
	p.printf("  latest/stable:    %s 2026-09-08 (9881) 27MB classic\n  latest/candidate: ^\n", agentCurrent)
	return 0
}

// fromMirror is a transfer from a server on the internet that is no service of AWS.
func (r *transfer) fromMirror(ctx context.Context, files map[string][]byte) error {
	if r.port != "443" || !r.p.reachesInternet() {
		return r.unanswered(ctx, r.host, r.port)
	}
	r.connected("185.125.188.54", r.port)
	r.tls = true
	if body, ok := files[r.path]; ok {
		r.answer(response{code: http.StatusOK, body: string(body)})
	} else {
		r.answer(response{code: http.StatusNotFound, body: "not found\n"})
	}
	return nil
}
