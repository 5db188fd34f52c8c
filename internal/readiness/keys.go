package readiness

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// keyring gathers every public key of the fleet with the places that it
// opens. One key is one finding, however many hosts it opens.
type keyring struct {
	byFingerprint map[string]*keyUse
	order         []*keyUse
	pairs         map[string]string // base64 of a public key to its EC2 key pair's name
}

// keyUse is one key over the whole fleet.
type keyUse struct {
	key     fleet.Key // as first seen
	places  []string  // the first few, for evidence
	more    int       // places beyond those
	hosts   int
	last    string // host counted last; hosts come one after the other
	users   []string
	remarks []string // distinct comments, the first few
	options []string // distinct, the first few
	limited int      // places where an option acts differently through Session Manager
	limits  []string // names of such options
	unused  int      // places where the log reaches back far enough and shows no login
	used    int      // places where the log shows a login, or may
	source  string
	at      time.Time
}

const mostListed = 8

func newKeyring(s *fleet.Snapshot) *keyring {
	k := &keyring{byFingerprint: map[string]*keyUse{}, pairs: map[string]string{}}
	for _, r := range s.Regions {
		for _, p := range r.KeyPairs.Value {
			if f := strings.Fields(p.PublicKey); len(f) >= 2 {
				k.pairs[f[1]] = p.Name
			}
		}
	}
	return k
}

// add notes the keys of one host.
func (k *keyring) add(h *fleet.Host, p Policy) {
	keys := h.Probe.Value.Keys
	for i := range keys.Value {
		key := &keys.Value[i]
		if key.Problem != "" || key.Fingerprint == "" {
			continue
		}
		u := k.byFingerprint[key.Fingerprint]
		if u == nil {
			u = &keyUse{key: *key, source: keys.Source, at: keys.At}
			k.byFingerprint[key.Fingerprint] = u
			k.order = append(k.order, u)
		}
		u.add(h, key, p)
	}
}

func (u *keyUse) add(h *fleet.Host, key *fleet.Key, p Policy) {
	if key.Comment != "" && len(u.remarks) < mostListed && !slices.Contains(u.remarks, key.Comment) {
		u.remarks = append(u.remarks, key.Comment)
	}
	if key.SendsAway() {
		return // no door
	}
	if u.last != h.ID {
		u.last = h.ID
		u.hosts++
	}
	if !slices.Contains(u.users, key.User) && len(u.users) < mostListed {
		u.users = append(u.users, key.User)
	}
	if len(u.places) < mostListed {
		u.places = append(u.places, fmt.Sprintf("%s: user %s, %s line %d", h.ID, quoted(key.User), quoted(key.File), key.Line))
	} else {
		u.more++
	}
	limits := false
	for _, name := range []string{"from", "command"} {
		if value, ok := key.Option(name); ok {
			limits = true
			if !slices.Contains(u.limits, name) {
				u.limits = append(u.limits, name)
			}
			if o := name + "=" + quoted(value); !slices.Contains(u.options, o) && len(u.options) < mostListed {
				u.options = append(u.options, o)
			}
		}
	}
	if limits {
		u.limited++
	}
	switch loginSeen(h, key, p) {
	case yes:
		u.used++
	case no:
		u.unused++
	}
}

// comments lists how hosts call a key, in the order in which they were seen.
func (k *keyring) comments(fingerprint string) []string {
	if u := k.byFingerprint[fingerprint]; u != nil {
		return u.remarks
	}
	return nil
}

// loginSeen says whether a host's log shows a login with the key within the
// policy's days before the log was read. It says maybe unless the log covers
// all those days and names the key of every login of the user in them.
func loginSeen(h *fleet.Host, key *fleet.Key, p Policy) answer {
	log := h.Probe.Value.Logins
	if key.CA {
		return maybe
	}
	end := log.At
	if end.IsZero() {
		end = h.Probe.At
	}
	start := end.AddDate(0, 0, -p.UnusedDays)
	anonymous := false
	for _, l := range log.Value.Logins {
		if l.User != key.User || (!l.Last.IsZero() && l.Last.Before(start)) {
			continue
		}
		if l.Fingerprint == key.Fingerprint {
			return yes
		}
		anonymous = anonymous || (l.Fingerprint == "" && l.Method == "publickey")
	}
	// A log that ended a day or more before it was read is no longer written to.
	covered := log.Known && !end.IsZero() && !log.Value.From.IsZero() && !log.Value.From.After(start) && end.Sub(log.Value.To) < 24*time.Hour
	if !covered || anonymous {
		return maybe
	}
	return no
}

// findings judges every key of the ring, in the order in which they were found.
func (k *keyring) findings(p Policy, people *registry) []fleet.Finding {
	var out []fleet.Finding
	recovery := fingerprints(p.RecoveryKeys)
	for _, u := range k.order {
		if u.places == nil || recovery[u.key.Fingerprint] {
			continue // every line with it sends people away, or it is where it belongs
		}
		if whose, several := people.claims(u); several && !u.key.CA && (u.hosts >= p.SharedKeyHosts || len(u.users) > 1) {
			out = append(out, k.finding("key-shared", u, "", fmt.Sprintf("it opens %s as %s, and %s", fleet.Count(u.hosts, "host"), quotedList(u.users), whose)))
		}
		if why := weakness(u.key, p); why != "" {
			out = append(out, k.finding("key-weak", u, "", why))
		}
		if u.limited > 0 {
			out = append(out, k.finding("key-with-options", u, u.limitsFix(), fmt.Sprintf("in %s it carries %s", fleet.Count(u.limited, "place"), strings.Join(u.options, ", "))))
		}
		if u.unused > 0 {
			text := fmt.Sprintf("no login used it for %d days in %s whose logs reach back that far", p.UnusedDays, fleet.Count(u.unused, "place"))
			if total := len(u.places) + u.more; u.unused < total {
				text += fmt.Sprintf("; of %d others, %d saw a login and the rest cannot tell", total-u.unused, u.used)
			}
			out = append(out, k.finding("key-unused", u, "", text))
		}
	}
	return out
}

// claims says whose a key is, by its fingerprint and its comments, and whether
// that may be several people: all of those who claim it, or, where nobody does,
// nobody knows how many.
func (r *registry) claims(u *keyUse) (whose string, several bool) {
	var names []string
	for _, o := range r.owners {
		byFingerprint := slices.ContainsFunc(o.Fingerprints, func(f string) bool { return plainFingerprint(f) == plainFingerprint(u.key.Fingerprint) })
		if byFingerprint || slices.ContainsFunc(u.remarks, func(c string) bool { return matchesAny(o.Comments, c) }) {
			names = append(names, o.Person)
		}
	}
	switch len(names) {
	case 0:
		return "no owner claims it", true
	case 1:
		return quoted(names[0]) + " claims it", false
	}
	return "several owners claim it: " + quotedList(names[:min(len(names), mostListed)]), true
}

// weakness says why a key is weak; empty when it is not, or not known to be.
func weakness(key fleet.Key, p Policy) string {
	kind := strings.ToLower(key.Type)
	switch {
	case strings.HasPrefix(kind, "ssh-dss"):
		return "it is a DSA key, which OpenSSH has not accepted by default since 7.0"
	case strings.HasPrefix(kind, "ssh-rsa") && key.Bits > 0 && key.Bits < p.WeakRSABits:
		return fmt.Sprintf("it is an RSA key of %d bits; the policy wants %d", key.Bits, p.WeakRSABits)
	}
	return ""
}

// limitsFix says what to do about the options that a key has.
func (u *keyUse) limitsFix() string {
	var steps []string
	if slices.Contains(u.limits, "from") {
		steps = append(steps, "where its owner will keep SSH through Session Manager, add 127.0.0.1 and ::1 to its from= in the files that the evidence names; whoever gets a Session Manager shell instead needs no change")
	}
	if slices.Contains(u.limits, "command") {
		steps = append(steps, "find who runs the script that its command= starts; give it a session document or Run Command of its own, or keep its key until it has moved")
	}
	return strings.Join(steps, "; ")
}

func (k *keyring) finding(code string, u *keyUse, fix, what string) fleet.Finding {
	facts := []fleet.Evidence{{Fact: fmt.Sprintf("%s key, comment %s: %s", quoted(u.key.Type), quoted(u.key.Comment), what), Source: u.source, At: u.at}}
	if name, ok := k.pairs[u.key.Blob]; ok && u.key.Blob != "" {
		facts = append(facts, fleet.Evidence{Fact: "it is EC2 key pair " + quoted(name), Source: "ec2:DescribeKeyPairs"})
	}
	places := strings.Join(u.places, "; ")
	if u.more > 0 {
		places += fmt.Sprintf("; and %d more", u.more)
	}
	facts = append(facts, fleet.Evidence{Fact: places, Source: u.source, At: u.at})
	return found(code, "", u.key.Fingerprint, fix, "the key opens "+fleet.Count(u.hosts, "host"), facts)
}

func quotedList(all []string) string {
	q := make([]string, len(all))
	for i, s := range all {
		q[i] = quoted(s)
	}
	return strings.Join(q, ", ")
}

// fingerprints are those of public keys in lines without options, as OpenSSH
// prints them. What is no key has none.
func fingerprints(lines []string) map[string]bool {
	out := map[string]bool{}
	for _, line := range lines {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		if blob, err := base64.StdEncoding.DecodeString(f[1]); err == nil {
			sum := sha256.Sum256(blob)
			out["SHA256:"+base64.RawStdEncoding.EncodeToString(sum[:])] = true
		}
	}
	return out
}
