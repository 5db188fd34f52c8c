package simfleet

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// grant is what an accepted key may do.
type grant struct {
	account    account
	logKey     string // "ED25519 SHA256:…", as sshd logs it
	command    string // forced command; empty: none
	terminal   bool
	forwarding bool
	permitOpen []string // "host:port" patterns; empty: any
}

// judge decides logins for one connection as sshd would.
type judge struct {
	m    *machine
	from netip.AddrPort
	to   netip.AddrPort
}

// config is the effective configuration for a user on this connection.
func (j *judge) config(user string) (sshdConfig, error) {
	c := &connection{addr: j.from.Addr().String(), host: j.from.Addr().String(), laddr: j.to.Addr().String(), lport: fmt.Sprint(j.to.Port())}
	j.m.connectionSpec(c, "user="+user)
	return j.m.sshdEffective(root, j.m.sshdArguments()[1:], c)
}

var errRefusedKey = errors.New("key not accepted")

// publicKey decides whether a key opens an account.
func (j *judge) publicKey(user string, key ssh.PublicKey) (*grant, error) {
	conf, err := j.config(user)
	if err != nil {
		return nil, err
	}
	a, ok := j.m.account(user)
	switch {
	case !ok:
		return nil, fmt.Errorf("no account %s", user)
	case conf.first("pubkeyauthentication") != "yes":
		return nil, errors.New("public keys are off")
	}
	if err := j.allowed(conf, a); err != nil {
		return nil, err
	}
	if err := j.revoked(conf, key); err != nil {
		return nil, err
	}
	cert, _ := key.(*ssh.Certificate)
	if cert != nil {
		if g := j.trustedCA(conf, a, cert); g != nil {
			return j.finish(conf, g)
		}
	}
	for _, file := range keyFiles(conf.get("authorizedkeysfile"), a) {
		if g := j.keyFile(conf, a, file, key); g != nil {
			return j.finish(conf, g)
		}
	}
	return nil, errRefusedKey
}

// finish applies what holds for every accepted key.
func (j *judge) finish(conf sshdConfig, g *grant) (*grant, error) {
	if g.account.uid == 0 {
		switch conf.first("permitrootlogin") {
		case "no":
			return nil, errors.New("root may not log in")
		case "forced-commands-only":
			if g.command == "" {
				return nil, errors.New("root needs a forced command")
			}
		}
	}
	if c := strings.Join(conf.get("forcecommand"), " "); c != "none" {
		g.command = c
	}
	g.terminal = g.terminal && conf.first("permittty") == "yes"
	tcp := conf.first("allowtcpforwarding")
	g.forwarding = g.forwarding && (tcp == "yes" || tcp == "local") && conf.first("disableforwarding") == "no"
	if open := conf.get("permitopen"); len(open) > 0 && open[0] != "any" {
		g.permitOpen = append(g.permitOpen, open...)
	}
	return g, nil
}

// allowed checks the account itself: its shell, its lock, and the four lists.
func (j *judge) allowed(conf sshdConfig, a account) error {
	if err := j.m.fs.access(root, a.shell, 1); err != nil {
		return fmt.Errorf("shell %s does not exist", a.shell)
	}
	// With PAM a locked password does not keep keys out (sshd_config(5), UsePAM).
	if conf.first("usepam") != "yes" && slices.ContainsFunc(j.m.Users, func(u *User) bool { return u.Name == a.name && u.Locked }) {
		return errors.New("account is locked")
	}
	user := func(pattern string) bool {
		name, host, ok := strings.Cut(pattern, "@")
		return matchGlob(a.name, name) && (!ok || matchAddress(j.from.Addr().String(), host))
	}
	var groups []string
	for _, id := range j.m.credOf(a).groups {
		groups = append(groups, j.m.groupName(id))
	}
	member := func(pattern string) bool {
		return slices.ContainsFunc(groups, func(g string) bool { return matchGlob(g, pattern) })
	}
	allowUsers, allowGroups := conf.get("allowusers"), conf.get("allowgroups")
	switch {
	case slices.ContainsFunc(conf.get("denyusers"), user):
		return errors.New("listed in DenyUsers")
	case len(allowUsers) > 0 && !slices.ContainsFunc(allowUsers, user):
		return errors.New("not listed in AllowUsers")
	case slices.ContainsFunc(conf.get("denygroups"), member):
		return errors.New("a group is listed in DenyGroups")
	case len(allowGroups) > 0 && !slices.ContainsFunc(allowGroups, member):
		return errors.New("no group is listed in AllowGroups")
	}
	return nil
}

// revoked refuses a key in the RevokedKeys file, and every key when the file
// cannot be read (sshd_config(5)).
func (j *judge) revoked(conf sshdConfig, key ssh.PublicKey) error {
	file := strings.Join(conf.get("revokedkeys"), " ")
	if file == "none" {
		return nil
	}
	data, err := j.m.fs.readFile(root, file)
	if err != nil {
		return fmt.Errorf("revoked keys: %w", err)
	}
	for line := range bytes.Lines(data) {
		if k, _, _, _, err := ssh.ParseAuthorizedKey(line); err == nil && bytes.Equal(k.Marshal(), key.Marshal()) {
			return errors.New("key is revoked")
		}
	}
	return nil
}

// trustedCA accepts a certificate that a TrustedUserCAKeys authority signed for the user.
func (j *judge) trustedCA(conf sshdConfig, a account, cert *ssh.Certificate) *grant {
	data, err := j.m.fs.readFile(root, strings.Join(conf.get("trustedusercakeys"), " "))
	if err != nil || !holdsKey(data, cert.SignatureKey) || len(cert.ValidPrincipals) == 0 {
		return nil
	}
	names := []string{a.name}
	if file := strings.Join(conf.get("authorizedprincipalsfile"), " "); file != "none" {
		names = nil
		for _, f := range keyFiles([]string{file}, a) {
			text, err := j.m.fs.readFile(root, f)
			if err != nil {
				continue
			}
			for _, line := range lines(text) {
				if f := strings.Fields(line); len(f) > 0 && !strings.HasPrefix(line, "#") {
					names = append(names, f[len(f)-1])
				}
			}
		}
	}
	if !j.certHolds(cert, names) {
		return nil
	}
	return j.certGrant(a, cert)
}

func holdsKey(data []byte, key ssh.PublicKey) bool {
	for line := range bytes.Lines(data) {
		if k, _, _, _, err := ssh.ParseAuthorizedKey(line); err == nil && bytes.Equal(k.Marshal(), key.Marshal()) {
			return true
		}
	}
	return false
}

// certHolds checks dates, signature and options, and that one of the names is
// a principal; a certificate without principals holds for everybody here.
func (j *judge) certHolds(cert *ssh.Certificate, names []string) bool {
	if cert.CertType != ssh.UserCert {
		return false
	}
	checker := ssh.CertChecker{Clock: j.m.clock, SupportedCriticalOptions: []string{"force-command", "source-address"}}
	return slices.ContainsFunc(names, func(name string) bool {
		return checker.CheckCert(name, cert) == nil
	})
}

func (j *judge) certGrant(a account, cert *ssh.Certificate) *grant {
	_, terminal := cert.Extensions["permit-pty"]
	_, forwarding := cert.Extensions["permit-port-forwarding"]
	if source, ok := cert.CriticalOptions["source-address"]; ok && !matchAddress(j.from.Addr().String(), source) {
		return nil
	}
	return &grant{
		account: a, terminal: terminal, forwarding: forwarding, command: cert.CriticalOptions["force-command"],
		logKey: fmt.Sprintf("%s-CERT %s ID %s (serial %d) CA %s %s", shortType(cert.Key.Type()), ssh.FingerprintSHA256(cert.Key), cert.KeyId, cert.Serial,
			shortType(cert.SignatureKey.Type()), ssh.FingerprintSHA256(cert.SignatureKey)),
	}
}

// keyFile looks for the key, or its certificate's authority, in one file.
func (j *judge) keyFile(conf sshdConfig, a account, file string, key ssh.PublicKey) *grant {
	data, err := j.m.fs.readFile(j.m.credOf(a), file)
	if err != nil || conf.first("strictmodes") == "yes" && !j.safe(a, file) {
		return nil
	}
	for line := range bytes.Lines(data) {
		// sshd reads lines of up to 8 KiB (sshd(8)).
		if len(line) > 8192 {
			continue
		}
		listed, _, options, _, err := ssh.ParseAuthorizedKey(line)
		if err != nil {
			continue
		}
		if g := j.keyLine(a, listed, options, key); g != nil {
			return g
		}
	}
	return nil
}

func (j *judge) keyLine(a account, listed ssh.PublicKey, options []string, key ssh.PublicKey) *grant {
	o := keyOptions(options)
	cert, isCert := key.(*ssh.Certificate)
	authority, _ := o.get("cert-authority")
	g := &grant{account: a, terminal: true, forwarding: true}
	switch {
	case isCert && authority && bytes.Equal(listed.Marshal(), cert.SignatureKey.Marshal()):
		names := []string{a.name}
		if _, list := o.get("principals"); list != "" {
			names = strings.Split(list, ",")
		}
		if !j.certHolds(cert, names) {
			return nil
		}
		if g = j.certGrant(a, cert); g == nil {
			return nil
		}
	case authority || isCert || !bytes.Equal(listed.Marshal(), key.Marshal()):
		return nil
	default:
		g.logKey = shortType(key.Type()) + " " + ssh.FingerprintSHA256(key)
	}
	if ok, from := o.get("from"); ok && !matchAddress(j.from.Addr().String(), from) {
		return nil
	}
	if ok, text := o.get("expiry-time"); ok {
		until, err := expiry(text)
		if err != nil || !j.m.clock().Before(until) {
			return nil
		}
	}
	o.limit(g)
	return g
}

// keyOptions are the options of one line, each as written.
type keyOptions []string

// get finds an option without regard to case, and its value without quotes.
func (o keyOptions) get(name string) (bool, string) {
	for _, each := range o {
		key, value, _ := strings.Cut(each, "=")
		if strings.EqualFold(key, name) {
			value = strings.TrimSuffix(strings.TrimPrefix(value, `"`), `"`)
			return true, strings.ReplaceAll(value, `\"`, `"`)
		}
	}
	return false, ""
}

// limit applies the options, in their order, to what the key may do.
func (o keyOptions) limit(g *grant) {
	for _, each := range o {
		key, _, _ := strings.Cut(each, "=")
		switch strings.ToLower(key) {
		case "restrict":
			g.terminal, g.forwarding = false, false
		case "no-pty":
			g.terminal = false
		case "pty":
			g.terminal = true
		case "no-port-forwarding":
			g.forwarding = false
		case "port-forwarding":
			g.forwarding = true
		case "command":
			_, g.command = keyOptions{each}.get("command")
		case "permitopen":
			_, open := keyOptions{each}.get("permitopen")
			g.permitOpen = append(g.permitOpen, open)
		}
	}
}

// expiry reads expiry-time's YYYYMMDD[HHMM[SS]][Z]; the machine's zone is UTC.
func expiry(s string) (time.Time, error) {
	s = strings.TrimSuffix(s, "Z")
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("bad expiry time %q", s)
}

// safe is StrictModes: the file and every folder above it up to the home, or
// to the root for files elsewhere, belong to the user or root and are writable
// by nobody else.
func (j *judge) safe(a account, file string) bool {
	at, n, err := j.m.fs.resolve(root, file, true)
	if err != nil || n == nil {
		return false
	}
	for {
		if n == nil || n.uid != 0 && n.uid != a.uid || n.mode&writable(j.m, n, a) != 0 {
			return false
		}
		if at == "/" || at == path.Clean(a.home) {
			return true
		}
		at = path.Dir(at)
		n = j.m.fs.node(at)
	}
}

// writable are the permission bits that nobody but the owner may have. Debian's
// build lets the user's own group write (its patch user-group-modes).
func writable(m *machine, n *node, a account) fs.FileMode {
	if m.dpkgBased() && n.gid == a.gid {
		return 0o002
	}
	return 0o022
}

// mayOpen reports whether a grant lets a tunnel to a target through.
func (g *grant) mayOpen(host string, port uint32) bool {
	if !g.forwarding {
		return false
	}
	return len(g.permitOpen) == 0 || slices.ContainsFunc(g.permitOpen, func(p string) bool {
		i := strings.LastIndexByte(p, ':')
		return i >= 0 && (p[:i] == "*" || strings.Trim(p[:i], "[]") == host) && (p[i+1:] == "*" || p[i+1:] == fmt.Sprint(port))
	})
}
