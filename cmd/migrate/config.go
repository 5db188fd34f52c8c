package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
	"ssm-migrate/internal/sshhost"
)

// config is migrate.yaml. Every field may be left out; docs/configuration.md
// tells the defaults.
type config struct {
	Accounts  []accountConfig `yaml:"accounts"`
	AWS       awsConfig       `yaml:"aws"`
	SSH       sshConfig       `yaml:"ssh"`
	Readiness readinessConfig `yaml:"readiness"`
	Owners    string          `yaml:"owners"`
	Recovery  recoveryConfig  `yaml:"recovery"`
	Agent     agentConfig     `yaml:"agent"`
	Access    policiesConfig  `yaml:"access"`
	Copy      copyConfig      `yaml:"copy"`

	// HostsBy are the ways in which an inventory reads hosts, in order.
	HostsBy []string `yaml:"hosts_by"`

	// PolicyFile says how the fleet is cut over; left out: migrate-policy.yaml.
	PolicyFile string `yaml:"policy"`

	// What the owners file says, and where it is or would be.
	people   []fleet.Owner
	waivers  []fleet.Waiver
	ownersAt string
	dir      string // the configuration's folder

	recoveryKey string // public line that the cutover's policy names; empty: none
}

type accountConfig struct {
	Label      string   `yaml:"label"`
	Profile    string   `yaml:"profile"`
	RoleARN    string   `yaml:"role_arn"`
	ExternalID string   `yaml:"external_id"`
	Regions    []string `yaml:"regions"`
}

type awsConfig struct {
	ConnectionRate float64 `yaml:"connection_rate"`
	SessionRate    float64 `yaml:"session_rate"`
	ReadRate       float64 `yaml:"ec2_read_rate"`
	ChangeRate     float64 `yaml:"ec2_change_rate"`
}

type sshConfig struct {
	Disabled      bool     `yaml:"disabled"`
	ConfigFile    string   `yaml:"config_file"`
	Users         []string `yaml:"users"`
	IdentityFiles []string `yaml:"identity_files"`
	Jump          string   `yaml:"jump"`
	Proxy         string   `yaml:"proxy"`
	KnownHosts    []string `yaml:"known_hosts"`
	HostKeys      string   `yaml:"host_keys"`
	Address       string   `yaml:"address"`
	Port          int      `yaml:"port"`
	Concurrency   int      `yaml:"concurrency"`
	Timeout       string   `yaml:"timeout"`
}

type readinessConfig struct {
	FunctionalFloor string `yaml:"functional_floor"`
	SecurityFloor   string `yaml:"security_floor"`
	UnusedDays      int    `yaml:"unused_days"`
	SilentDays      *int   `yaml:"silent_days"`
}

// agentConfig names a file with the OpenPGP key that AWS signs agent packages
// with, in place of the one that is built in.
type agentConfig struct {
	SigningKeyFile string `yaml:"signing_key_file"`
}

const defaultConfigFile = "migrate.yaml"

func (a *app) config() (config, error) {
	path := a.configPath
	if path == "" {
		path = defaultConfigFile
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && a.configPath == "" {
		text, err = nil, nil
	}
	if err != nil {
		return config{}, exitErr{code: exitUsage, err: fmt.Errorf("read configuration: %w", err)}
	}
	c, err := parseConfig(text)
	if err != nil {
		return config{}, exitErr{code: exitUsage, err: fmt.Errorf("configuration %s: %w", path, err)}
	}
	c.dir = filepath.Dir(path)
	c.SSH.resolve(c.dir)
	c.Recovery.resolve(c.dir)
	c.Agent.SigningKeyFile = inFolder(c.dir, c.Agent.SigningKeyFile)
	if err := c.readOwners(filepath.Dir(path)); err != nil {
		return config{}, exitErr{code: exitUsage, err: err}
	}
	// A policy that cannot be read is refused where a plan is made of it.
	if cutover, err := c.planPolicy(""); err == nil {
		c.recoveryKey = cutover.Recovery.PublicKey
	}
	return c, nil
}

// Ways in which an inventory reads hosts. hostsByNothing stands for none and
// cannot be configured.
const (
	hostsBySSH     = "ssh"
	hostsByCommand = "run-command"
	hostsByNothing = ""
)

func checkWays(ways []string) error {
	for i, w := range ways {
		switch {
		case w == hostsByNothing && len(ways) == 1:
		case w != hostsBySSH && w != hostsByCommand:
			return fmt.Errorf("%q is no way to read hosts: there are %s and %s", w, hostsBySSH, hostsByCommand)
		case slices.Contains(ways[:i], w):
			return fmt.Errorf("%s is named twice", w)
		}
	}
	return nil
}

// hostsBy are the ways in which hosts are read: over SSH unless others are
// named. Run Command costs a permission, and is never used unasked.
func (c config) hostsBy() []string {
	ways := c.HostsBy
	if len(ways) == 0 {
		ways = []string{hostsBySSH}
	}
	return slices.DeleteFunc(slices.Clone(ways), func(w string) bool { return w == hostsBySSH && c.SSH.Disabled })
}

// parseConfig refuses unknown and repeated keys: a misspelled safety setting
// must not be silently ignored.
func parseConfig(text []byte) (config, error) {
	var c config
	if onlyComments(text) {
		return c, nil
	}
	if err := yaml.Load(text, &c, yaml.WithKnownFields(), yaml.WithUniqueKeys()); err != nil {
		return config{}, err
	}
	for i, a := range c.Accounts {
		if a.ExternalID != "" && a.RoleARN == "" {
			return config{}, fmt.Errorf("accounts[%d]: external_id needs role_arn", i)
		}
	}
	if _, err := c.SSH.timeout(); err != nil {
		return config{}, err
	}
	if c.AWS.ConnectionRate < 0 || min(c.AWS.SessionRate, c.AWS.ReadRate, c.AWS.ChangeRate) < 0 {
		return config{}, errors.New("aws: connection_rate, session_rate, ec2_read_rate and ec2_change_rate must be positive")
	}
	if c.SSH.Concurrency < 0 || c.SSH.Port < 0 || c.SSH.Port > 65535 {
		return config{}, errors.New("ssh: concurrency and port must be positive, and port at most 65535")
	}
	if err := checkWays(c.HostsBy); err != nil {
		return config{}, fmt.Errorf("hosts_by: %w", err)
	}
	if err := c.Recovery.validate(); err != nil {
		return config{}, fmt.Errorf("recovery: %w", err)
	}
	if err := c.Access.query().Validate(); err != nil {
		return config{}, fmt.Errorf("access: %w", err)
	}
	if err := c.policy().Validate(); err != nil {
		return config{}, fmt.Errorf("readiness: %w", err)
	}
	return c, nil
}

func onlyComments(text []byte) bool {
	for line := range strings.Lines(string(text)) {
		if l := strings.TrimSpace(line); l != "" && l != "---" && l[0] != '#' {
			return false
		}
	}
	return true
}

// resolve makes file names in the configuration relative to its own folder,
// so that it means the same from wherever migrate is started.
func (s *sshConfig) resolve(dir string) {
	at := func(p string) string {
		if p == "none" {
			return p
		}
		return inFolder(dir, p)
	}
	s.ConfigFile = at(s.ConfigFile)
	for i := range s.IdentityFiles {
		s.IdentityFiles[i] = at(s.IdentityFiles[i])
	}
	for i := range s.KnownHosts {
		s.KnownHosts[i] = at(s.KnownHosts[i])
	}
}

// inFolder resolves a file name against a folder; ~/ is the home folder.
func inFolder(dir, p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	if rest, ok := strings.CutPrefix(p, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	return filepath.Join(dir, p)
}

func (s sshConfig) timeout() (time.Duration, error) {
	if s.Timeout == "" {
		return 60 * time.Second, nil
	}
	d, err := time.ParseDuration(s.Timeout)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("ssh: timeout %q is not a positive duration such as 60s", s.Timeout)
	}
	return d, nil
}

func (s sshConfig) client() (*sshhost.Client, error) {
	o, err := s.options()
	if err != nil {
		return nil, err
	}
	return sshhost.New(o)
}

// options are what all connections over SSH have in common.
func (s sshConfig) options() (sshhost.Config, error) {
	timeout, err := s.timeout()
	if err != nil {
		return sshhost.Config{}, err
	}
	return sshhost.Config{
		ConfigFile:    s.ConfigFile,
		Users:         s.Users,
		IdentityFiles: s.IdentityFiles,
		Jump:          s.Jump,
		Proxy:         s.Proxy,
		KnownHosts:    s.KnownHosts,
		HostKeyPolicy: s.HostKeys,
		Address:       s.Address,
		Port:          s.Port,
		Timeout:       timeout,
	}, nil
}

// accesses are the ways into AWS; without any configured, the SDK's default.
func (c config) accesses() []awsapi.Access {
	if len(c.Accounts) == 0 {
		return []awsapi.Access{{}}
	}
	out := make([]awsapi.Access, 0, len(c.Accounts))
	for _, a := range c.Accounts {
		out = append(out, awsapi.Access{Label: a.Label, Profile: a.Profile, RoleARN: a.RoleARN, ExternalID: a.ExternalID, Regions: a.Regions})
	}
	return out
}

// awsOptions are what all accounts are opened with.
func (c config) awsOptions() awsapi.Options {
	return awsapi.Options{Version: version, ConnectionRate: c.AWS.ConnectionRate, SessionRate: c.AWS.SessionRate, ReadRate: c.AWS.ReadRate, ChangeRate: c.AWS.ChangeRate}
}

func (c config) policy() readiness.Policy {
	p := readiness.DefaultPolicy()
	if v := c.Readiness.FunctionalFloor; v != "" {
		p.FunctionalFloor = v
	}
	if v := c.Readiness.SecurityFloor; v != "" {
		p.SecurityFloor = v
	}
	if v := c.Readiness.UnusedDays; v != 0 {
		p.UnusedDays = v
	}
	if v := c.Readiness.SilentDays; v != nil {
		p.SilentDays = *v
	}
	p.Owners, p.Waivers = c.people, c.waivers
	if c.recoveryKey != "" {
		p.RecoveryKeys = []string{c.recoveryKey}
	}
	return p
}
