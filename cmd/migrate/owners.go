package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"ssm-migrate/internal/fleet"
)

// defaultOwnersFile is read from the configuration's folder where it exists.
const defaultOwnersFile = "migrate-owners.yaml"

// ownersFile is the file that says whose SSH keys are whose, and which
// consumers of SSH may stay for now (docs/owners.md).
type ownersFile struct {
	Owners  []ownerEntry  `yaml:"owners,omitempty"`
	Waivers []waiverEntry `yaml:"waivers,omitempty"`
}

type ownerEntry struct {
	Person       string   `yaml:"person,omitempty"`
	Service      bool     `yaml:"service,omitempty"`
	Team         string   `yaml:"team,omitempty"`
	Principals   []string `yaml:"principals,omitempty"`
	Sessions     []string `yaml:"sessions,omitempty"`
	Fingerprints []string `yaml:"fingerprints,omitempty"`
	Comments     []string `yaml:"comments,omitempty"`
	Certificates []string `yaml:"certificates,omitempty"`
	Users        []string `yaml:"users,omitempty"`
}

type waiverEntry struct {
	Person      string   `yaml:"person,omitempty"`
	Fingerprint string   `yaml:"fingerprint,omitempty"`
	From        string   `yaml:"from,omitempty"`
	User        string   `yaml:"user,omitempty"`
	Use         string   `yaml:"use,omitempty"`
	Hosts       []string `yaml:"hosts,omitempty"`
	By          string   `yaml:"by,omitempty"`
	Why         string   `yaml:"why,omitempty"`
	Until       string   `yaml:"until,omitempty"`
}

// ownersPath is where the owners file is, and whether it must be there.
func (c config) ownersPath(dir string) (path string, must bool) {
	if c.Owners != "" {
		return inFolder(dir, c.Owners), true
	}
	return filepath.Join(dir, defaultOwnersFile), false
}

// readOwners reads the owners file into the configuration.
func (c *config) readOwners(dir string) error {
	path, must := c.ownersPath(dir)
	c.ownersAt = path
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && !must {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read owners: %w", err)
	}
	c.people, c.waivers, err = parseOwners(text)
	if err != nil {
		return fmt.Errorf("owners %s: %w", path, err)
	}
	return nil
}

// maxOwners is far above what any organization would list.
const maxOwners = 8 << 20

// parseOwners refuses unknown and repeated keys and everything that could not
// be meant; each error names its line.
func parseOwners(text []byte) ([]fleet.Owner, []fleet.Waiver, error) {
	if len(text) > maxOwners {
		return nil, nil, fmt.Errorf("%d bytes are too many", len(text))
	}
	if onlyComments(text) {
		return nil, nil, nil
	}
	var f ownersFile
	if err := yaml.Load(text, &f, yaml.WithKnownFields(), yaml.WithUniqueKeys()); err != nil {
		return nil, nil, err
	}
	var doc yaml.Node
	if err := yaml.Load(text, &doc); err != nil {
		return nil, nil, err
	}
	var errs []error
	owners := make([]fleet.Owner, 0, len(f.Owners))
	check := ownersCheck{persons: map[string]int{}, fingerprints: map[string]string{}}
	for i, o := range f.Owners {
		line := lineOf(&doc, "owners", i)
		if err := check.owner(o, line); err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", line, err))
		}
		owners = append(owners, fleet.Owner(o))
	}
	waivers := make([]fleet.Waiver, 0, len(f.Waivers))
	for i, w := range f.Waivers {
		waiver, err := check.waiver(w)
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", lineOf(&doc, "waivers", i), err))
		}
		waivers = append(waivers, waiver)
	}
	return owners, waivers, errors.Join(errs...)
}

// lineOf finds the line of an element of a list at the top of a document.
func lineOf(doc *yaml.Node, list string, i int) int {
	top := doc
	if top.Kind == yaml.DocumentNode && len(top.Content) > 0 {
		top = top.Content[0]
	}
	for k := 0; k+1 < len(top.Content); k += 2 {
		if top.Content[k].Value == list && i < len(top.Content[k+1].Content) {
			return top.Content[k+1].Content[i].Line
		}
	}
	return 0
}

// ownersCheck remembers what must not come twice.
type ownersCheck struct {
	persons      map[string]int    // to their lines
	fingerprints map[string]string // to the person who has it
}

func (c ownersCheck) owner(o ownerEntry, line int) error {
	if strings.TrimSpace(o.Person) == "" {
		return errors.New("an owner needs a person")
	}
	if before, twice := c.persons[o.Person]; twice {
		return fmt.Errorf("%q is an owner already, on line %d", o.Person, before)
	}
	c.persons[o.Person] = line
	for _, p := range o.Principals {
		if !isPrincipal(p) {
			return fmt.Errorf("%q: principal %q is not the ARN of an IAM user or role", o.Person, p)
		}
	}
	for _, f := range o.Fingerprints {
		if !isFingerprint(f) {
			return fmt.Errorf("%q: fingerprint %q is not of the form SHA256:…, as ssh-keygen -l prints it", o.Person, f)
		}
		f = strings.TrimRight(f, "=")
		if who, twice := c.fingerprints[f]; twice && who != o.Person {
			return fmt.Errorf("%q: fingerprint %s is %q's already", o.Person, f, who)
		}
		c.fingerprints[f] = o.Person
	}
	for name, list := range map[string][]string{"sessions": o.Sessions, "comments": o.Comments, "certificates": o.Certificates, "users": o.Users} {
		for _, v := range list {
			if strings.Trim(v, "* \t") == "" {
				return fmt.Errorf("%q: %s: %q would match anything", o.Person, name, v)
			}
		}
	}
	return nil
}

// isPrincipal reports whether an ARN names an IAM user or role.
func isPrincipal(arn string) bool {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" || parts[2] != "iam" || parts[4] == "" {
		return false
	}
	kind, name, _ := strings.Cut(parts[5], "/")
	return name != "" && !strings.HasSuffix(name, "/") && (kind == "user" || kind == "role")
}

func isFingerprint(s string) bool {
	rest, ok := strings.CutPrefix(s, "SHA256:")
	return ok && len(strings.TrimRight(rest, "=")) == 43 && strings.Trim(rest, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") == ""
}

var uses = []string{
	string(fleet.UseShell), string(fleet.UseCommand), string(fleet.UseSCP), string(fleet.UseSFTP),
	string(fleet.UseRsync), string(fleet.UseAnsible), string(fleet.UseGit), string(fleet.UseTunnel),
}

func (c ownersCheck) waiver(w waiverEntry) (fleet.Waiver, error) {
	out := fleet.Waiver{
		Person: w.Person, Fingerprint: w.Fingerprint, From: w.From, User: w.User, Use: fleet.Use(w.Use), Hosts: w.Hosts, By: w.By, Why: w.Why,
	}
	switch {
	case w.Person == "" && w.Fingerprint == "" && w.From == "" && w.User == "" && w.Use == "" && len(w.Hosts) == 0:
		return out, errors.New("a waiver needs at least one of person, fingerprint, from, user, use and hosts")
	case strings.TrimSpace(w.By) == "" || strings.TrimSpace(w.Why) == "" || w.Until == "":
		return out, errors.New("a waiver needs by, why and until")
	case w.Person != "" && c.persons[w.Person] == 0:
		return out, fmt.Errorf("waiver: %q is not among the owners", w.Person)
	case w.Fingerprint != "" && !isFingerprint(w.Fingerprint):
		return out, fmt.Errorf("waiver: fingerprint %q is not of the form SHA256:…", w.Fingerprint)
	case w.Use != "" && !slices.Contains(uses, w.Use):
		return out, fmt.Errorf("waiver: use %q is not one of %s", w.Use, strings.Join(uses, ", "))
	case slices.Contains(w.Hosts, ""):
		return out, errors.New("waiver: a host's name is empty")
	}
	if w.From != "" {
		_, err1 := netip.ParseAddr(w.From)
		_, err2 := netip.ParsePrefix(w.From)
		if err1 != nil && err2 != nil {
			return out, fmt.Errorf("waiver: from %q is neither an address nor a CIDR", w.From)
		}
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, w.Until); err == nil {
			out.Until = t
			return out, nil
		}
	}
	return out, fmt.Errorf("waiver: until %q is not a date such as 2026-12-31", w.Until)
}
