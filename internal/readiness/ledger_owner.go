package readiness

import (
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// InventoryOwner is the owner of logins that are provably the inventory's own.
const InventoryOwner = "migrate inventory"

// RecoveryOwner is the owner of logins with the recovery key.
const RecoveryOwner = "migrate recovery"

// registry answers whose a key, certificate, account or principal is, as the
// policy's owners have it. Where several owners claim a thing, the first one
// in the owners' order has it.
type registry struct {
	owners        []fleet.Owner
	byFingerprint map[string]int
	sharers       map[string]int    // principal ARN: how many owners name it
	users         map[string]string // ARNs of IAM users by name

	// What the judgement of people leaves for the findings, in this order.
	workforce *workforce
	book      *book
}

// nobody is the owner of what no owner claims.
const nobody = -1

func newRegistry(s *fleet.Snapshot, owners []fleet.Owner) *registry {
	r := &registry{owners: owners, byFingerprint: map[string]int{}, sharers: map[string]int{}, users: map[string]string{}}
	for _, a := range s.Accounts {
		for _, u := range a.Users.Value {
			r.users[u.Name] = u.ARN
		}
	}
	for i, o := range owners {
		for _, f := range o.Fingerprints {
			if _, taken := r.byFingerprint[plainFingerprint(f)]; !taken {
				r.byFingerprint[plainFingerprint(f)] = i
			}
		}
		for _, p := range o.Principals {
			r.sharers[p]++
		}
	}
	return r
}

// plainFingerprint is a SHA-256 fingerprint without base64's padding, as OpenSSH prints it.
func plainFingerprint(s string) string { return strings.TrimRight(s, "=") }

// ofKey finds the owner of a key by its fingerprint, else by one of its comments.
func (r *registry) ofKey(fingerprint string, comments []string) (owner int, by string) {
	if i, ok := r.byFingerprint[plainFingerprint(fingerprint)]; ok && fingerprint != "" {
		return i, "fingerprint"
	}
	i := slices.IndexFunc(r.owners, func(o fleet.Owner) bool {
		return slices.ContainsFunc(comments, func(c string) bool { return c != "" && matchesAny(o.Comments, c) })
	})
	return i, "comment"
}

// ofCertificate finds the owner of a certificate by its key ID. Which authority
// signed it is not asked: the owners file names none, so that the IDs of several
// authorities must not mean different people.
func (r *registry) ofCertificate(id string) (owner int, by string) {
	if id == "" {
		return nobody, ""
	}
	return slices.IndexFunc(r.owners, func(o fleet.Owner) bool { return matchesAny(o.Certificates, id) }), "certificate"
}

// ofUser finds the owner who alone uses an account of the hosts.
func (r *registry) ofUser(user string) (owner int, by string) {
	return slices.IndexFunc(r.owners, func(o fleet.Owner) bool { return slices.Contains(o.Users, user) }), "user"
}

// ofPrincipal lists the owners who have an IAM principal.
func (r *registry) ofPrincipal(arn string) []string {
	if r.sharers[arn] == 0 {
		return nil
	}
	var out []string
	for _, o := range r.owners {
		if slices.Contains(o.Principals, arn) {
			out = append(out, o.Person)
		}
	}
	return out
}

// started reports whether an owner started the Session Manager session that
// Systems Manager ascribes to an ARN: an IAM user's own, or a role's with the
// session name. A role that several owners share tells them apart only by
// their session names.
// Source: IAM User Guide, reference_identifiers, "assumed-role".
func (r *registry) started(o fleet.Owner, arn string) bool {
	if slices.Contains(o.Principals, arn) && !strings.Contains(arn, ":role/") {
		return true
	}
	account, role, session, ok := assumedRole(arn)
	if !ok {
		return false
	}
	if len(o.Sessions) > 0 && !slices.Contains(o.Sessions, session) {
		return false
	}
	roles := 0
	for _, p := range o.Principals {
		if !strings.Contains(p, ":role/") {
			continue
		}
		roles++
		if fleet.ARNAccount(p) == account && p[strings.LastIndexByte(p, '/')+1:] == role {
			return len(o.Sessions) > 0 || r.sharers[p] == 1
		}
	}
	return roles == 0 && len(o.Sessions) > 0
}

// assumedRole takes apart arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION,
// which leaves out the role's path.
func assumedRole(arn string) (account, role, session string, ok bool) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 || parts[2] != "sts" {
		return "", "", "", false
	}
	name, ok := strings.CutPrefix(parts[5], "assumed-role/")
	if !ok {
		return "", "", "", false
	}
	role, session, ok = strings.Cut(name, "/")
	return parts[4], role, session, ok
}

// matchesAny reports whether one of the patterns matches; * stands for any
// text, and nothing else for anything but itself.
func matchesAny(patterns []string, s string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		literal := make([]bool, len(p))
		for i := range p {
			literal[i] = p[i] != '*'
		}
		return globMasked(p, literal, s)
	})
}
