package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"ssm-migrate/internal/fleet"
)

// initOwners writes an owners file to fill in. An existing file is not
// touched: what it says took people's time.
func (a *app) initOwners(path string, s *stored, judged *fleet.Assessment) error {
	if path == "-" {
		return writeSkeleton(a.out, s.snap, judged)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return usageErr("--init: %s exists already; --init - prints what nobody claims", path)
	}
	if err != nil {
		return fmt.Errorf("write owners: %w", err)
	}
	if err := finish(f, func(w io.Writer) error { return writeSkeleton(w, s.snap, judged) }); err != nil {
		return fmt.Errorf("write owners %s: %w", path, err)
	}
	fmt.Fprintf(a.err, "Wrote %s. migrate reads %s.\n", path, s.cfg.ownersAt)
	return nil
}

// writeSkeleton writes what nobody claims as comments, so that the file is
// valid however far it has been filled in.
func writeSkeleton(out io.Writer, snap *fleet.Snapshot, judged *fleet.Assessment) error {
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, `# Whose SSH keys are whose (docs/owners.md). Made from snapshot %d.
# Take the # off the entries whose owners you know, and write the name in place of WHO.
# IAM principals are what Session Manager will know people by.

owners:
`, snap.ID)
	keys := keysOf(snap)
	names := make(map[string]string, len(snap.Hosts))
	for i := range snap.Hosts {
		names[snap.Hosts[i].ID] = oneLine(snap.Hosts[i].Name())
	}
	done := map[string]bool{}
	shared := usersOfKeys(snap, judged.Ledger)
	for _, c := range judged.Ledger.Groups() {
		if c.Owner == "" {
			writeOwner(w, names, c, done, shared)
		}
	}
	for _, k := range keys {
		if !done["fingerprints"+k.Fingerprint] && !claimed(judged, k.Fingerprint) {
			done["fingerprints"+k.Fingerprint] = true
			entry(w, fmt.Sprintf("%s key of account %s; no login seen%s", oneLine(k.Type), oneLine(k.User), commentOf(k.Comment)), "fingerprints", k.Fingerprint)
		}
	}
	for _, o := range judged.Operators {
		if len(o.People) == 0 && o.Start.Yes+o.Start.Unknown > 0 {
			entry(w, fmt.Sprintf("may start sessions on %d hosts, perhaps on %d more", o.Start.Yes, o.Start.Unknown), "principals", o.ARN)
		}
	}
	fmt.Fprint(w, `
# Consumers that may stay for a while.
waivers:
#  - person: WHO
#    use: rsync
#    by: WHO DECIDED
#    why: REASON
#    until: 2099-12-31
`)
	return w.Flush()
}

// usersOfKeys lists the accounts that keys or certificates open: whoever came
// to one without either is not its only user.
func usersOfKeys(snap *fleet.Snapshot, l fleet.Ledger) map[string]bool {
	out := map[string]bool{}
	for i := range snap.Hosts {
		for _, k := range snap.Hosts[i].Probe.Value.Keys.Value {
			out[k.User] = true
		}
	}
	for _, c := range l.Consumers {
		if c.Fingerprint != "" || c.CertID != "" {
			out[c.User] = true
		}
	}
	return out
}

// writeOwner writes the entry of a consumer that nobody claims, once for each
// key, certificate or account. An account that keys open too is nobody's alone.
func writeOwner(w io.Writer, names map[string]string, c fleet.ConsumerGroup, done, shared map[string]bool) {
	field, value := "users", c.User
	switch {
	case c.CertID != "":
		field, value = "certificates", c.CertID
	case c.Fingerprint != "":
		field, value = "fingerprints", c.Fingerprint
	case shared[c.User]:
		return
	}
	if done[field+value] {
		return
	}
	done[field+value] = true
	about := fmt.Sprintf("%s as %s from %s, on %s", cmp.Or(string(c.Use), "ssh"), oneLine(c.User), cmp.Or(c.Where(), "an unknown address"), hostNames(names, c.Hosts))
	if !c.Last.IsZero() {
		about += ", last on " + lastColumn(c.Last)
	}
	entry(w, about+commentOf(c.Comment), field, value)
}

// commentOf tells a key's comment, if it has one.
func commentOf(comment string) string {
	if comment == "" {
		return ""
	}
	return "; key comment " + oneLine(comment)
}

// hostNames names the first few hosts of a consumer.
func hostNames(names map[string]string, ids []string) string {
	const most = 3
	var shown []string
	for _, id := range ids[:min(len(ids), most)] {
		shown = append(shown, names[id])
	}
	text := strings.Join(shown, ", ")
	if more := len(ids) - len(shown); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// entry is a commented entry. A value goes in single quotes, where YAML knows
// no escapes but the doubled quote.
func entry(w io.Writer, about, field, value string) {
	quoted := "'" + strings.ReplaceAll(oneLine(value), "'", "''") + "'"
	fmt.Fprintf(w, "#  - person: WHO   # %s\n#    %s: [%s]\n", strings.TrimSpace(about), field, quoted)
}

// keysOf lists every key of the fleet once, in the order of the hosts.
func keysOf(snap *fleet.Snapshot) []fleet.Key {
	var out []fleet.Key
	seen := map[string]bool{}
	for i := range snap.Hosts {
		for _, k := range snap.Hosts[i].Probe.Value.Keys.Value {
			if !k.CA && k.Problem == "" && k.Fingerprint != "" && !seen[k.Fingerprint] {
				seen[k.Fingerprint] = true
				out = append(out, k)
			}
		}
	}
	return out
}

// claimed reports whether an owner's row of the parity table has the key.
func claimed(judged *fleet.Assessment, fingerprint string) bool {
	for _, p := range judged.Parity.People {
		if !p.Claimed {
			continue
		}
		for _, k := range p.Keys {
			if k == fingerprint {
				return true
			}
		}
	}
	return false
}
