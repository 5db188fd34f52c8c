// Package sshhost runs scripts on hosts over SSH, one connection and one exec
// per host, as the operator's own OpenSSH client would reach them: ssh_config,
// ssh-agent, certificates, bastions and known_hosts are honoured. What a host
// sends is limited in size and time, and errors are safe to show on a screen.
package sshhost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/user"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/proxy"

	"ssm-migrate/internal/fleet"
)

// Host key policies.
const (
	PolicyStrict    = "strict"     // a host without a known key is refused
	PolicyAcceptNew = "accept-new" // a key is recorded on first use; a changed key is refused
)

// Addresses of a host to connect to.
const (
	AddressPrivate = "private"
	AddressPublic  = "public"
	AddressAuto    = "auto" // the public address where the host has one and nothing stands in between, else the private one
)

// Config says how to reach hosts. The zero value behaves like OpenSSH's client
// with the operator's own configuration. Files that it names are read when
// first needed, once per Client.
//
// A host is looked up in ssh_config by all names that an operator may have
// used, at once: instance ID, Name tag, private address, public address, private
// DNS name. A Host block applies when one of them matches, and none matches a
// negated pattern; within that the first value wins, as in OpenSSH. A Name tag
// is not unique, so HostName from a block that only the Name tag matches is
// used only if it is one of the instance's own addresses.
//
// Honoured are Host, Match, Include, HostName, User, Port, IdentityFile,
// CertificateFile, IdentitiesOnly, IdentityAgent, ProxyJump, ProxyCommand,
// UserKnownHostsFile, GlobalKnownHostsFile, HashKnownHosts,
// StrictHostKeyChecking, HostKeyAlias and ConnectTimeout. Where a Match block with one of
// these can only be evaluated by OpenSSH's client, "ssh -G" is run. A host's
// key is looked up by HostKeyAlias, else by the address connected to, else by
// the name that a Host block singles it out by.
//
// Login is by public key or certificate only. At most six keys are offered per
// connection: those that other hosts took, those of named identity files, the
// agent's, those of the default files. Encrypted files count if the agent holds their keys.
type Config struct {
	ConfigFile    string        // ssh_config; "": ~/.ssh/config and /etc/ssh/ssh_config; "none": neither
	Users         []string      // login users, tried in this order where ssh_config names none; empty: the local user
	IdentityFiles []string      // private keys to try first, besides ssh_config's and the default ones
	AgentSocket   string        // ssh-agent; "": $SSH_AUTH_SOCK; "none": no agent. ssh_config's IdentityAgent goes first
	Jump          string        // ProxyJump for hosts that have neither ProxyJump nor ProxyCommand in ssh_config
	Proxy         string        // "socks5://[user:password@]host:port": every first hop's TCP connection goes through it
	KnownHosts    []string      // replaces all other known_hosts files; accept-new writes to the first
	HostKeyPolicy string        // PolicyStrict, PolicyAcceptNew; "": StrictHostKeyChecking of ssh_config, strict by default
	Port          int           // of hosts, where ssh_config names none; 0: 22
	Address       string        // AddressPrivate (default), AddressPublic or AddressAuto, where ssh_config has no HostName
	DialTimeout   time.Duration // for the TCP connection, and again for handshake and login, of each hop; 0: 20 s. ssh_config's ConnectTimeout goes first
	Timeout       time.Duration // for one Probe as a whole; 0: 60 s
	MaxOutput     int64         // bytes of standard output that Probe returns at most; 0: 8 MiB
	BastionOpens  int           // connections being opened at once through one bastion; 0: 32
}

// Client reaches hosts as its Config says. It keeps connections to bastions
// open until Close. It may be used concurrently.
type Client struct {
	cfg    Config
	env    environment
	config *sshConfig
	dialer proxy.ContextDialer

	identities *identities
	hostKeys   *hostKeys

	life context.Context // ends with Close
	end  context.CancelFunc

	mu       sync.Mutex
	bastions map[string]*bastion // guarded by mu; by chain of hops
	running  sync.WaitGroup      // background dials and checks of bastions
	forks    chan struct{}       // places for ssh -G processes
}

// environment is what ssh_config's tokens need to know of this machine.
type environment struct {
	home, user, uid, hostname string
}

// New checks cfg and reads ssh_config. It opens no connection.
func New(cfg Config) (*Client, error) {
	env, err := localEnvironment()
	if err != nil {
		return nil, err
	}
	if err := cfg.complete(env); err != nil {
		return nil, err
	}
	conf, err := loadConfig(cfg.ConfigFile, env)
	if err != nil {
		return nil, err
	}
	dialer, err := newDialer(cfg.Proxy)
	if err != nil {
		return nil, err
	}
	c := &Client{
		cfg: cfg, env: env, config: conf, dialer: dialer,
		identities: newIdentities(),
		hostKeys:   &hostKeys{dbs: map[string]*keyFiles{}},
		bastions:   map[string]*bastion{},
		forks:      make(chan struct{}, 4),
	}
	c.life, c.end = context.WithCancel(context.Background())
	return c, nil
}

func localEnvironment() (environment, error) {
	u, err := user.Current()
	if err != nil {
		return environment{}, fmt.Errorf("find the local user: %w", err)
	}
	env := environment{home: u.HomeDir, user: u.Username, uid: u.Uid}
	if h, err := os.UserHomeDir(); err == nil {
		env.home = h
	}
	env.hostname, err = os.Hostname()
	if err != nil {
		return environment{}, fmt.Errorf("find the local host name: %w", err)
	}
	return env, nil
}

// complete checks the settings and fills in defaults.
func (cfg *Config) complete(env environment) error {
	switch cfg.HostKeyPolicy {
	case "", PolicyStrict, PolicyAcceptNew:
	default:
		return fmt.Errorf("host key policy %q: want %s or %s", cfg.HostKeyPolicy, PolicyStrict, PolicyAcceptNew)
	}
	switch cfg.Address {
	case "":
		cfg.Address = AddressPrivate
	case AddressPrivate, AddressPublic, AddressAuto:
	default:
		return fmt.Errorf("address %q: want %s, %s or %s", cfg.Address, AddressPrivate, AddressPublic, AddressAuto)
	}
	if cfg.Port < 0 || cfg.Port > 65535 {
		return fmt.Errorf("port %d: want 1 to 65535", cfg.Port)
	}
	if _, err := parseJump(cfg.Jump); err != nil {
		return err
	}
	if len(cfg.Users) == 0 {
		cfg.Users = []string{env.user}
	}
	for _, u := range cfg.Users {
		if !safeName(u, "@\\+=,") {
			return fmt.Errorf("user %q is no login name", clean(u, 60))
		}
	}
	if cfg.AgentSocket == "" {
		cfg.AgentSocket = os.Getenv("SSH_AUTH_SOCK")
	}
	setDefault(&cfg.Port, 22)
	setDefault(&cfg.DialTimeout, 20*time.Second)
	setDefault(&cfg.Timeout, time.Minute)
	setDefault(&cfg.MaxOutput, 8<<20)
	setDefault(&cfg.BastionOpens, 32)
	return nil
}

func setDefault[T int | int64 | time.Duration](v *T, to T) {
	if *v <= 0 {
		*v = to
	}
}

func newDialer(via string) (proxy.ContextDialer, error) {
	direct := &net.Dialer{}
	if via == "" {
		return direct, nil
	}
	u, err := url.Parse(via)
	if err != nil || u.Host == "" {
		// The address may hold a password, so it is not repeated.
		return nil, errors.New("proxy is no URL: want socks5://host:port")
	}
	d, err := proxy.FromURL(u, direct)
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", u.Redacted(), err)
	}
	cd, ok := d.(proxy.ContextDialer)
	if !ok {
		return nil, fmt.Errorf("proxy %s: connections through it cannot be cancelled", u.Redacted())
	}
	return &proxied{name: u.Redacted(), dialer: cd}, nil
}

// proxied says which proxy a failure comes from, in place of the library's
// words about its own connection.
type proxied struct {
	name   string
	dialer proxy.ContextDialer
}

func (p *proxied) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := p.dialer.DialContext(ctx, network, address)
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "socks connect" {
		// The library calls every answer but success an unknown error.
		err = errors.New(strings.TrimPrefix(op.Err.Error(), "unknown error "))
		if ctx.Err() != nil {
			err = ctx.Err()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", p.name, err)
	}
	return c, nil
}

// Close ends all connections to bastions and the agent and waits for what runs
// in the background. A Probe that is under way fails. Close returns nil.
func (c *Client) Close() error {
	c.end()
	c.mu.Lock()
	all := make([]*bastion, 0, len(c.bastions))
	for _, b := range c.bastions {
		all = append(all, b)
	}
	c.mu.Unlock()
	for _, b := range all {
		b.close()
	}
	c.running.Wait()
	c.identities.close()
	return nil
}

// background runs f unless the client is closed, and makes Close wait for it.
func (c *Client) background(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life.Err() != nil {
		return false
	}
	c.running.Go(f)
	return true
}

// Prober runs one command on hosts, with a script of the host on its standard
// input. It may be used concurrently.
type Prober struct {
	client  *Client
	command string
	script  func(fleet.Host) string
}

// Prober prepares runs of command. Script gives each host's standard input; it
// may be called concurrently. The command goes to the login user's shell as it is.
func (c *Client) Prober(command string, script func(fleet.Host) string) *Prober {
	return &Prober{client: c, command: command, script: script}
}

// Probe opens one connection to the host, runs the command once and returns
// what it printed. An exit status other than 0 is no error as long as something
// was printed. More standard output than Config.MaxOutput, or as much standard
// error, ends the run: Truncated is set and the error is nil.
//
// Every error is an *Error. When the run broke off after it had begun, the
// output up to there comes with the error; User and Via are set from then on.
// Probe returns soon after ctx ends or Config.Timeout has passed, at whatever stage.
func (p *Prober) Probe(ctx context.Context, host fleet.Host) (fleet.ProbeOutput, error) {
	c := p.client
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()

	t, err := c.target(ctx, host)
	if err != nil {
		return fleet.ProbeOutput{}, err
	}
	conn, err := c.connect(ctx, t)
	if err != nil {
		return fleet.ProbeOutput{}, err
	}
	out, err := run(ctx, conn, p.command, p.script(host), c.cfg.MaxOutput)
	out.User, out.Via = conn.user, t.viaNames()
	if err != nil {
		return out, t.fail(ctx, ErrOutput, "while the command ran", err)
	}
	return out, nil
}
