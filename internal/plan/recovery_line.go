package plan

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"ssm-migrate/internal/fleet"
)

// bastionOptions are what the recovery key may do on a bastion: go on to a
// host's port 22.
const bastionOptions = `restrict,pty,port-forwarding,permitopen="*:22"`

// withOptions puts options before a key.
func withOptions(options []string, key string) string {
	if len(options) == 0 {
		return key
	}
	return strings.Join(options, ",") + " " + key
}

// authority are the options of a line whose key signs certificates.
func (r RecoveryPolicy) authority() []string {
	if !r.CA {
		return nil
	}
	return []string{"cert-authority", `principals="` + fleet.RecoveryPrincipal + `"`}
}

// bastionLine is the recovery key's line on bastions.
func bastionLine(r RecoveryPolicy) string {
	return withOptions(append(r.authority(), bastionOptions), r.PublicKey)
}

// hostLine is the recovery key's line on a host that a bastion in the given
// subnets reaches.
func (m *maker) hostLine(h *fleet.Host, subnets []string) string {
	return keyLine(m.world, m.policy.Recovery, h, subnets)
}

func keyLine(w *world, r RecoveryPolicy, h *fleet.Host, subnets []string) string {
	options := r.authority()
	for _, o := range r.Options {
		if o == "restrict" && tooOldToRestrict(h) {
			options = append(options, "no-port-forwarding", "no-agent-forwarding", "no-X11-forwarding", "no-user-rc")
			if !slices.Contains(r.Options, "pty") {
				options = append(options, "no-pty")
			}
			continue
		}
		if o == "pty" && tooOldToRestrict(h) {
			continue // as it is anyway
		}
		options = append(options, o)
	}
	if from := w.sources(h, r, subnets); r.Bind && len(from) > 0 {
		options = append(options, `from="`+strings.Join(from, ",")+`"`)
	}
	return withOptions(options, r.PublicKey)
}

// sources are the blocks of addresses from which the recovery way reaches a
// host: those of the bastion's subnets and of the VPC's Instance Connect
// Endpoints. None: they are not all known.
func (w *world) sources(h *fleet.Host, r RecoveryPolicy, subnets []string) []string {
	var out []netip.Prefix
	for _, id := range subnets {
		s := w.subnets[id]
		if s == nil || !s.CIDR.IsValid() {
			return nil
		}
		out = addOnce(out, s.CIDR)
	}
	for _, e := range w.region(h.Ref().Place()).ConnectEndpoints.Value {
		if e.VPC != h.VPC || !e.Usable() {
			continue
		}
		if s := w.subnets[e.Subnet]; s != nil && s.CIDR.IsValid() {
			out = addOnce(out, s.CIDR)
		}
		if !e.PreserveClientIP {
			continue
		}
		for _, text := range r.From { // hosts see the operators themselves
			if p, err := netip.ParsePrefix(text); err == nil {
				out = addOnce(out, p)
			}
		}
	}
	slices.SortFunc(out, comparePrefixes)
	texts := make([]string, len(out))
	for i, p := range out {
		texts[i] = p.String()
	}
	return texts
}

func comparePrefixes(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}

// tooOldToRestrict reports whether a host's sshd is known to be older than the
// option restrict, and would ignore a line that has it. Source: release notes of
// OpenSSH 7.2.
func tooOldToRestrict(h *fleet.Host) bool {
	_, rest, ok := strings.Cut(h.Probe.Value.SSHD.Value.Version, "OpenSSH_")
	if !ok {
		return false
	}
	major, rest, _ := strings.Cut(rest, ".")
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(rest)
	}
	a, errA := strconv.Atoi(major)
	b, errB := strconv.Atoi(rest[:end])
	return errA == nil && errB == nil && (a < 7 || a == 7 && b < 2)
}

// refusesKeys says why sshd is known to read no key file for an account; empty:
// nothing of the kind is known.
func refusesKeys(h *fleet.Host, user string) string {
	d := h.Probe.Value.SSHD.Value
	if v := d.For(user, "pubkeyauthentication"); len(v) > 0 && v[0] == "no" {
		return "sshd takes no public keys from " + clip(user)
	}
	files := d.For(user, "authorizedkeysfile")
	if len(files) == 0 || slices.ContainsFunc(files, func(f string) bool { return f != "none" }) {
		return ""
	}
	if v := d.For(user, "authorizedkeyscommand"); len(v) > 0 && v[0] != "none" {
		return "sshd asks a command for the keys of " + clip(user) + " and reads no file"
	}
	return "sshd reads no key file for " + clip(user)
}

// lineBlob is the base64 part of a line of authorized_keys, options or not;
// empty without one. Options with blanks in them are not looked into.
func lineBlob(line string) string {
	words := strings.Fields(line)
	for i, w := range words[:max(0, len(words)-1)] {
		if strings.HasPrefix(w, "ssh-") || strings.HasPrefix(w, "ecdsa-") || strings.HasPrefix(w, "sk-") {
			return words[i+1]
		}
	}
	return ""
}
