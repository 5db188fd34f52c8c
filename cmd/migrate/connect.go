package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"regexp"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
)

type connectQuery struct {
	host       string
	document   string
	parameters []string
	forwards   []string
	bind       string
	ssh        bool
	port       int
	region     string
}

func (a *app) connectCommand() *cobra.Command {
	var q connectQuery
	c := &cobra.Command{
		Use:   "connect HOST",
		Short: "Open a shell on a host, or forward ports, through Session Manager",
		Long: `connect opens a Session Manager session on a host and ends it when you are done. Neither the AWS CLI
nor the session-manager-plugin is needed.

HOST is an instance ID, a Name tag or an address from the latest snapshot. An instance ID goes without
a snapshot where a single account is configured; --region then says where it is.

Without -L or --ssh it is a shell of the session preferences, or what --document names. On a terminal,
Enter ~ . ends a session that no longer answers.

-L forwards a port of this machine to one of the host (localhost), or of what the host reaches, over
any number of connections at once; it may be repeated. Ports are bound to 127.0.0.1 unless --bind says
otherwise: whoever reaches them gets in with your permissions.

--ssh carries standard input and output to the host's SSH server, for ssh's ProxyCommand.`,
		Example: `  migrate connect web-1
  migrate connect web-1 --document AWS-StartInteractiveCommand --parameter command='sudo tail -f /var/log/syslog'
  migrate connect web-1 -L 8080:localhost:8080 -L 5432:db.internal:5432
  ssh -o ProxyCommand='migrate connect --ssh --port %p %h' ec2-user@i-0123456789abcdef0`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.host = args[0]
			if q.port != 22 && !q.ssh {
				return usageErr("--port goes with --ssh")
			}
			return a.connect(cmd.Context(), q)
		},
	}
	f := c.Flags()
	f.StringVar(&q.document, "document", "", "session document instead of the session preferences")
	f.StringArrayVar(&q.parameters, "parameter", nil, "NAME=VALUE of the document; may be repeated")
	f.StringArrayVarP(&q.forwards, "forward", "L", nil, "PORT:HOST:HOSTPORT to forward; PORT 0: any; may be repeated")
	f.StringVar(&q.bind, "bind", "127.0.0.1", "address that forwarded ports are bound to")
	f.BoolVar(&q.ssh, "ssh", false, "carry standard input and output to the SSH server")
	f.IntVar(&q.port, "port", 22, "the SSH server's port, with --ssh")
	f.StringVar(&q.region, "region", "", "where an instance is that no snapshot lists")
	return c
}

func (a *app) connect(ctx context.Context, q connectQuery) error {
	// Who closes the terminal ends the session, too.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
	defer stop()
	forwards, err := q.check(a.json)
	if err != nil {
		return err
	}
	cfg, err := a.config()
	if err != nil {
		return err
	}
	h, err := a.connectHost(ctx, cfg, q)
	if err != nil {
		return err
	}
	if h.Windows() && !q.ssh && len(forwards) == 0 {
		fmt.Fprintln(a.err, "A shell on Windows is PowerShell.")
	}
	accounts, err := openAccounts(ctx, cfg)
	if err != nil {
		return err
	}
	sessions := awsapi.NewSessions(accounts...)
	switch {
	case len(forwards) > 0:
		return a.forward(ctx, sessions, h, forwards)
	case q.ssh:
		return a.proxySSH(ctx, sessions, h, q.port)
	}
	return a.shell(ctx, sessions, h, q)
}

// check refuses flags that do not go together.
func (q connectQuery) check(json bool) ([]forward, error) {
	shell := len(q.forwards) == 0 && !q.ssh
	switch {
	case q.ssh && len(q.forwards) > 0:
		return nil, usageErr("--ssh and -L do not go together: ssh forwards by itself")
	case !shell && (q.document != "" || len(q.parameters) > 0):
		return nil, usageErr("--document and --parameter are for shells and commands")
	case q.document == "" && len(q.parameters) > 0:
		return nil, usageErr("--parameter needs --document")
	case json && len(q.forwards) == 0:
		return nil, usageErr("--json goes with -L only: a session's output is its own")
	case q.port < 1 || q.port > 65535:
		return nil, usageErr("--port %d is not a port", q.port)
	}
	var out []forward
	for _, text := range q.forwards {
		f, err := parseForward(text, q.bind)
		if err != nil {
			return nil, usageErr("-L %s: %w", text, err)
		}
		out = append(out, f)
	}
	return out, nil
}

var instanceID = regexp.MustCompile(`^m?i-[0-9a-f]{8,32}$`)

// connectHost finds the host in the latest snapshot, or takes an instance ID
// as it is.
func (a *app) connectHost(ctx context.Context, cfg config, q connectQuery) (fleet.Host, error) {
	h, found := fleet.Host{}, false
	db, err := a.openExisting(ctx)
	if err == nil {
		var snap *fleet.Snapshot
		if snap, err = load(ctx, db, 0); err == nil {
			h, found, err = oneHost(snap, q.host)
			if err == nil && !found {
				err = fmt.Errorf("snapshot %d has no host called %s: migrate hosts lists them", snap.ID, oneLine(q.host))
			}
		}
		_ = db.Close()
	}
	switch {
	case found:
		return h, err
	case !instanceID.MatchString(q.host) || len(cfg.accesses()) != 1:
		return h, err
	}
	region := q.region
	if region == "" {
		account, err := awsapi.Open(ctx, cfg.accesses()[0], cfg.awsOptions())
		if err != nil {
			return h, err
		}
		if len(account.Regions()) != 1 {
			return h, usageErr("--region: say where %s is, since no snapshot lists it", q.host)
		}
		region = account.Regions()[0]
	}
	return fleet.Host{ID: q.host, Region: region}, nil
}

// oneHost finds the host that a name means. An ID or address goes before a
// name, which several hosts may have.
func oneHost(snap *fleet.Snapshot, name string) (fleet.Host, bool, error) {
	var found []fleet.Host
	for _, h := range snap.Hosts {
		if h.ID == name {
			return h, true, nil
		}
		if named(h, []string{name}) {
			found = append(found, h)
		}
	}
	switch len(found) {
	case 0:
		return fleet.Host{}, false, nil
	case 1:
		return found[0], true, nil
	}
	var ids []string
	for _, h := range found {
		ids = append(ids, h.ID)
	}
	return fleet.Host{}, false, fmt.Errorf("%d hosts are called %s: name one by its ID (%s)", len(found), oneLine(name), oneLine(strings.Join(ids, ", ")))
}

// start begins a session and waits until it serves.
func (a *app) start(ctx context.Context, sessions *awsapi.Sessions, r awsapi.SessionRequest) (*awsapi.Session, error) {
	r.Reason = "migrate connect"
	return sessions.Start(ctx, r)
}

// end ends a session, and says so where that failed.
func (a *app) end(ctx context.Context, s *awsapi.Session) {
	if err := s.End(ctx); err != nil {
		fmt.Fprintf(a.err, "migrate: %s\n", oneLine(err.Error()))
	}
}

func parameters(list []string) (map[string][]string, error) {
	if len(list) == 0 {
		return nil, nil
	}
	out := map[string][]string{}
	for _, p := range list {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return nil, usageErr("--parameter %q is not NAME=VALUE", p)
		}
		out[name] = append(out[name], value)
	}
	return out, nil
}

// proxySSH joins standard input and output to the SSH server.
func (a *app) proxySSH(ctx context.Context, sessions *awsapi.Sessions, h fleet.Host, port int) error {
	s, err := a.start(ctx, sessions, awsapi.SessionRequest{
		Host: h.Ref(), Document: awsapi.DocumentSSH, Parameters: map[string][]string{"portNumber": {fmt.Sprint(port)}},
	})
	if err != nil {
		return err
	}
	defer a.end(ctx, s)
	if err := s.Ready(ctx); err != nil {
		return fmt.Errorf("SSH to %s: %w", h.ID, err)
	}
	err = s.Stdio(ctx, a.in, a.out)
	if err == nil || errors.Is(err, context.Canceled) {
		return nil // ssh ends its proxy by a signal
	}
	return fmt.Errorf("SSH to %s: %w", h.ID, err)
}
