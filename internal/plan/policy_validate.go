package plan

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"ssm-migrate/internal/readiness"
)

// What becomes of a fix.
const (
	FixApply = "apply"
	FixHand  = "hand"
	FixAuto  = "auto" // apply; hand where the thing has an owner
	FixNever = "never"
)

// fixDefaults are what becomes of the fixes that a policy says nothing of.
// Three are off: Default Host Management Configuration acts on a whole Region,
// new session preferences weaken what somebody asked for on purpose, and
// waiting holds a whole wave up. Agents and keys are inside of hosts, where no
// infrastructure code has them.
var fixDefaults = map[Kind]string{
	AttachProfile: FixAuto, ExtendRole: FixAuto, AllowEgress: FixAuto, CreateEndpoint: FixAuto, Agent: FixApply,
	DefaultHostManagement: FixNever, SessionPreferences: FixNever, WaitFor: FixNever,
	TimerRole: FixAuto, RecoveryGroup: FixAuto, RecoveryRule: FixAuto, RecoveryKey: FixApply,
}

// needed are the kinds without which no door closes: somebody has to do them.
var needed = []Kind{TimerRole, RecoveryGroup, RecoveryRule, RecoveryKey}

// FixOf says what becomes of a kind of fix: FixApply, FixHand, FixAuto or
// FixNever; empty for kinds that prepare nothing.
func (p Policy) FixOf(k Kind) string {
	if v := p.Fixes[string(k)]; v != "" {
		return v
	}
	return fixDefaults[k]
}

// Validate says everything that is wrong with the policy, or nil.
func (p Policy) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if p.Canary < 0 {
		wrong("canary: %d is less than 0", p.Canary)
	}
	if len(p.Waves) == 0 {
		wrong(`waves: name at least one size, such as "5" or "25%%"`)
	}
	for i, w := range p.Waves {
		if _, err := waveSize(w, 1); err != nil {
			wrong("waves[%d]: %w", i, err)
		}
	}
	if tag, isTag := strings.CutPrefix(p.GroupBy, "tag:"); p.GroupBy != "" && p.GroupBy != "asg" && p.GroupBy != "az" && (!isTag || tag == "") {
		wrong(`group_by: %q is none of asg, az and tag:NAME`, p.GroupBy)
	}
	if p.Spread < 1 || p.Spread > 100 {
		wrong("spread: %d is no share from 1 to 100 percent", p.Spread)
	}
	if p.ErrorBudget < 0 || p.Concurrency < 1 {
		wrong("error_budget must be 0 or more, and concurrency 1 or more")
	}
	errs = append(errs, p.validateTimes()...)
	errs = append(errs, p.validateSelectors()...)
	errs = append(errs, p.validatePins()...)
	errs = append(errs, p.validateFixes()...)
	errs = append(errs, p.validateManagedBy()...)
	errs = append(errs, p.Recovery.validate()...)
	return errors.Join(errs...)
}

func (p Policy) validateTimes() []error {
	var errs []error
	for _, d := range []struct {
		name         string
		value, least Duration
	}{
		{"soak", p.Soak, 0},
		{"wait", p.Wait, 0},
		{"proof_age", p.ProofAge, Duration(time.Minute)},
		{"recovery_age", p.RecoveryAge, Duration(time.Minute)},
		// The scheduler fires within the minute, and a proof through Session
		// Manager has to come back before: less leaves no room for either.
		{"timer", p.Timer, Duration(5 * time.Minute)},
	} {
		if d.value < d.least {
			errs = append(errs, fmt.Errorf("%s: %s is less than %s", d.name, d.value, d.least))
		}
	}
	for i, w := range p.Windows {
		if err := w.validate(); err != nil {
			errs = append(errs, fmt.Errorf("windows[%d]: %w", i, err))
		}
	}
	return errs
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func (w Window) validate() error {
	for _, text := range []string{w.From, w.To} {
		if _, err := time.Parse("15:04", text); err != nil {
			return fmt.Errorf("%q is no time of day such as 09:00", text)
		}
	}
	if w.From == w.To {
		return fmt.Errorf("it begins and ends at %s", w.From)
	}
	if _, err := time.LoadLocation(w.Zone); err != nil {
		return fmt.Errorf("zone %q is not known", w.Zone)
	}
	if w.Days == "" {
		return nil
	}
	for part := range strings.SplitSeq(w.Days, ",") {
		from, to, isRange := strings.Cut(strings.ToLower(strings.TrimSpace(part)), "-")
		if !slices.Contains(weekdays, from) || isRange && !slices.Contains(weekdays, to) {
			return fmt.Errorf("days: %q is neither a day such as mon nor days such as mon-fri", clip(part))
		}
	}
	return nil
}

func (p Policy) validateSelectors() []error {
	var errs []error
	check := func(what string, i int, s Selector) {
		if s.empty() {
			errs = append(errs, fmt.Errorf("%s[%d]: it selects nothing: give id, name, asg, vpc or tags", what, i))
		}
		patterns := []string{s.ID, s.Name, s.ASG, s.VPC}
		for _, v := range s.Tags {
			patterns = append(patterns, v)
		}
		for _, x := range patterns {
			if _, err := path.Match(x, ""); err != nil {
				errs = append(errs, fmt.Errorf("%s[%d]: %q is no pattern", what, i, x))
			}
		}
	}
	for i, s := range p.Order {
		check("order", i, s)
	}
	for i, s := range p.Bastions {
		check("bastions", i, s)
	}
	for i, x := range p.Exclude {
		check("exclude", i, x.Selector)
		if strings.TrimSpace(x.Reason) == "" {
			errs = append(errs, fmt.Errorf("exclude[%d]: say why in reason", i))
		}
	}
	return errs
}

func (p Policy) validateFixes() []error {
	var errs []error
	for _, k := range sortedKeys(p.Fixes) {
		v := p.Fixes[k]
		switch _, known := fixDefaults[Kind(k)]; {
		case !known:
			errs = append(errs, fmt.Errorf("fixes: %q is no kind of step that prepares", k))
		case v != FixApply && v != FixHand && v != FixAuto && v != FixNever:
			errs = append(errs, fmt.Errorf("fixes: %s: %q is none of apply, hand, auto and never", k, clip(v)))
		case Kind(k) == WaitFor && v != FixHand && v != FixNever:
			errs = append(errs, fmt.Errorf("fixes: %s: nobody applies it here: hand, or never", k))
		case v == FixNever && slices.Contains(needed, Kind(k)):
			errs = append(errs, fmt.Errorf("fixes: %s: without it no door closes: apply, hand or auto", k))
		}
	}
	if p.AgentFloor != "" {
		if _, ok := readiness.Below(p.AgentFloor, readiness.MinimumVersion); !ok {
			errs = append(errs, fmt.Errorf("agent_floor: %q is not an agent version such as %s", p.AgentFloor, readiness.DefaultPolicy().FunctionalFloor))
		}
	}
	if !slices.Contains([]string{"", "account", "open"}, p.EndpointPolicy) && !organizationID.MatchString(p.EndpointPolicy) {
		errs = append(errs, fmt.Errorf("endpoint_policy: %q is none of account, open and an organization's ID such as o-a1b2c3d4e5", clip(p.EndpointPolicy)))
	}
	for _, c := range p.EndpointSources {
		if b, err := netip.ParsePrefix(c); err != nil || b != b.Masked() || !b.Addr().Is4() || b.Bits() == 0 {
			errs = append(errs, fmt.Errorf("endpoint_sources: %q is no block of addresses such as 10.20.0.0/16", clip(c)))
		}
	}
	if err := mirror(p.AgentSource); err != nil {
		errs = append(errs, fmt.Errorf("agent_source: %w", err))
	}
	return errs
}

// organizationID is the form of an organization's ID. Source: AWS Organizations
// API Reference, Organization.
var organizationID = regexp.MustCompile(`^o-[a-z0-9]{10,32}$`)

// mirror says what is wrong with a mirror's address. It is shown in plans, and
// stands on hosts: no place for a password.
func mirror(address string) error {
	if address == "" {
		return nil
	}
	filled := mirrorURL(address, "eu-west-1", "linux_amd64", "amazon-ssm-agent.rpm")
	u, err := url.Parse(filled)
	switch {
	case err != nil:
		return fmt.Errorf("%q is no URL", clip(address))
	case u.Scheme != "https" || u.Hostname() == "":
		return fmt.Errorf("%q does not begin with https:// and a host name", clip(address))
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return fmt.Errorf("%q has a password, a query or a fragment: a mirror is read without", clip(address))
	case strings.ContainsFunc(filled, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("{}'\"\\`", r) }):
		return fmt.Errorf("%q has characters that an address has not, or other names in braces than region, folder and file", clip(address))
	case !strings.Contains(u.Path, "linux_amd64") || !strings.HasSuffix(u.Path, "/amazon-ssm-agent.rpm"):
		return fmt.Errorf("%q lacks {folder}, or does not end in /{file}", clip(address))
	}
	return nil
}

// mirrorURL is the address of a package at a mirror.
func mirrorURL(address, region, folder, file string) string {
	return strings.NewReplacer("{region}", region, "{folder}", folder, "{file}", file).Replace(address)
}

func (r RecoveryPolicy) validate() []error {
	var errs []error
	if r.PublicKey != "" {
		if _, err := keyBlob(r.PublicKey); err != nil {
			errs = append(errs, fmt.Errorf("recovery: public_key: %w", err))
		}
	}
	for _, o := range r.Options {
		if err := keyOption(o); err != nil {
			errs = append(errs, fmt.Errorf("recovery: options: %q: %w", clip(o), err))
		}
	}
	if r.KeyAge < 0 || r.DrillSample < 0 {
		errs = append(errs, errors.New("recovery: key_age and drill_sample must be 0 or more"))
	}
	if !slices.Contains([]string{"", RotateNever, RotateDue, RotateAlways}, r.Rotate) {
		errs = append(errs, fmt.Errorf("recovery: rotate: %q is none of never, due and always", clip(r.Rotate)))
	}
	if r.Type == "" {
		errs = append(errs, errors.New("recovery: type: name an instance type such as t3.micro"))
	}
	for _, c := range r.From {
		if p, err := netip.ParsePrefix(c); err != nil || p != p.Masked() {
			errs = append(errs, fmt.Errorf("recovery: from: %q is no block of addresses such as 198.51.100.0/24", c))
		}
	}
	return errs
}

// plainOptions are the options of authorized_keys that a recovery key may have
// on hosts: none that runs something else than what is asked for, and none that
// other keys of the policy stand for. Source: sshd(8), AUTHORIZED_KEYS FILE FORMAT.
var plainOptions = []string{
	"restrict", "pty", "no-pty", "agent-forwarding", "no-agent-forwarding", "port-forwarding", "no-port-forwarding",
	"x11-forwarding", "no-x11-forwarding", "user-rc", "no-user-rc", "touch-required", "no-touch-required", "verify-required",
}

func keyOption(o string) error {
	name := strings.ToLower(o)
	switch before, _, _ := strings.Cut(name, "="); {
	case before == "from":
		return errors.New("say it with bind")
	case before == "cert-authority", before == "principals":
		return errors.New("say it with ca")
	case slices.Contains(plainOptions, name):
		return nil
	}
	return fmt.Errorf("it is none of %s", strings.Join(plainOptions, ", "))
}

// keyBlob gives the base64 part of a public key. Options are refused: a line
// that lets nobody in is a way back for nobody.
func keyBlob(line string) (string, error) {
	if strings.ContainsAny(line, "\r\n\x00") {
		return "", errors.New("it must be one line")
	}
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return "", errors.New("want the key's type and its base64 text, as in a .pub file")
	}
	blob, err := base64.StdEncoding.DecodeString(fields[1])
	if err != nil || len(blob) < 4 {
		return "", fmt.Errorf("%q is not followed by a key's base64 text; options are not taken", clip(fields[0]))
	}
	n := binary.BigEndian.Uint32(blob)
	if uint64(n) > uint64(len(blob)-4) || string(blob[4:4+n]) != fields[0] || len(blob) == 4+int(n) {
		return "", fmt.Errorf("the key's text is not of type %q", clip(fields[0]))
	}
	if strings.Contains(fields[0], "-cert-") {
		return "", errors.New("it is a certificate: give the key")
	}
	return fields[1], nil
}

// waveSize reads a size: a number of hosts, or a share of all of them; one at least.
func waveSize(text string, all int) (int, error) {
	number, share := strings.CutSuffix(strings.TrimSpace(text), "%")
	n, err := strconv.Atoi(number)
	switch {
	case err != nil || n < 1 || n > 1_000_000:
		return 0, fmt.Errorf("%q is neither a number of hosts nor a share such as 25%%", text)
	case share && n > 100:
		return 0, fmt.Errorf("%q is more than all", text)
	case share:
		n = all * n / 100
	}
	return max(n, 1), nil
}

func (s Selector) empty() bool {
	return s.ID == "" && s.Name == "" && s.ASG == "" && s.VPC == "" && len(s.Tags) == 0
}
