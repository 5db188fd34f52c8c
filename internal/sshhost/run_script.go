package sshhost

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"ssm-migrate/internal/fleet"
)

// rootCommand runs the shell script on its standard input as root, or not at all:
// notRoot says that it did not. It works in any login shell. sudo is asked first
// whether it would, since its own failures cannot be told from the script's.
const (
	rootCommand = `exec sh -c 'c=$SSH_CONNECTION; u=; ` +
		`while read -r k x u y; do [ "$k" = Uid: ] && break; done 2>/dev/null </proc/self/status; ` +
		`[ -n "$u" ] || u=$(id -u); ` +
		`[ "$u" = 0 ] && exec sh -s "$c"; ` +
		`sudo -n true </dev/null >/dev/null 2>&1 || exit 201; ` +
		`exec sudo -n sh -s "$c"'`
	notRoot = 201
)

// maxScriptOutput is what is read of a script's standard output: what Run Command
// would let through.
const maxScriptOutput = 24_000

// Runner changes hosts over SSH: it runs scripts as root on hosts that a Config
// leads to. It may be used concurrently.
type Runner struct{ client *Client }

// NewRunner makes a Runner with connections of its own.
func NewRunner(cfg Config) (*Runner, error) {
	c, err := New(cfg)
	if err != nil {
		return nil, err
	}
	return &Runner{c}, nil
}

// Close ends all connections.
func (r *Runner) Close() error { return r.client.Close() }

// Run runs a script as root on a host, by a login like the inventory's. On any
// other way nothing starts.
func (r *Runner) Run(ctx context.Context, h fleet.Host, way fleet.Way, s fleet.Script) fleet.ScriptResult {
	res := fleet.ScriptResult{Started: fleet.TruthNo, Way: fleet.WaySSH}
	if way != fleet.WaySSH {
		res.Reason = "SSH is no " + string(way) + " way"
		return res
	}
	c := r.client
	t, conn, err := c.reach(ctx, h)
	if err != nil {
		res.Reason = clean(err.Error(), 500)
		return res
	}
	return runAsRoot(ctx, conn, t.viaNames(), s, res)
}

// reach logs in to a host within the time that the Config gives.
func (c *Client) reach(ctx context.Context, h fleet.Host) (*target, *connection, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	t, err := c.target(ctx, h)
	if err != nil {
		return nil, nil, err
	}
	conn, err := c.connect(ctx, t)
	return t, conn, err
}

// runAsRoot runs a script on a connection and closes it.
func runAsRoot(ctx context.Context, conn *connection, via []string, s fleet.Script, res fleet.ScriptResult) fleet.ScriptResult {
	limit := s.Timeout
	setDefault(&limit, time.Minute)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	res.User = conn.user
	out, status, err := execute(ctx, conn, rootCommand, s.Text, maxScriptOutput)
	if err != nil {
		res.Reason = clean(err.Error(), 300)
		return res
	}
	res.Stdout, res.Stderr, res.Cut = out.Stdout, out.Stderr, out.Truncated
	switch {
	case status.known && status.signal == "" && status.code == notRoot && len(out.Stdout) == 0:
		res.Reason = fmt.Sprintf("user %s is not root, and sudo -n does not make it so", conn.user)
	case status.known && status.signal == "":
		res.Started, res.Ended, res.Exit = fleet.TruthYes, true, int(status.code)
	case status.known:
		res.Started, res.Reason = fleet.TruthYes, "ended by signal "+clean(status.signal, 20)
	default:
		res.Started, res.Reason = fleet.TruthUnknown, fmt.Sprintf("the connection broke after %s", quantity(len(out.Stdout), "byte", "bytes"))
		if ctx.Err() != nil {
			res.Reason = "no end within " + limit.String()
		}
		if len(out.Stdout) > 0 {
			res.Started = fleet.TruthYes
		}
	}
	if res.Reason != "" && len(via) > 0 {
		res.Reason += " (by " + strings.Join(via, ", ") + ")"
	}
	return res
}

// Prove logs in to a host and runs a command that prints a random number.
func (r *Runner) Prove(ctx context.Context, h fleet.Host, way fleet.Way) fleet.Proof {
	p := fleet.Proof{Host: h.Ref(), Way: way, Kind: "login"}
	if way != fleet.WaySSH {
		return unproved(p, errors.New("SSH is no "+string(way)+" way"))
	}
	start := time.Now()
	_, conn, err := r.client.reach(ctx, h)
	if err != nil {
		return unproved(p, err)
	}
	return proveOn(ctx, conn, p, start)
}

// proveOn completes a proof on a connection, which it closes.
func proveOn(ctx context.Context, conn *connection, p fleet.Proof, start time.Time) fleet.Proof {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	number := rand.Text()
	p.By = conn.user
	out, status, err := execute(ctx, conn, "exec sh -c 'echo "+number+"; id -un'", "", 4096)
	said := strings.Fields(string(out.Stdout))
	switch {
	case err != nil:
		return unproved(p, err)
	case len(said) < 2 || said[len(said)-2] != number:
		err := fmt.Errorf("the command did not answer: %s", clean(string(out.Stdout)+" "+string(out.Stderr), 200))
		p = unproved(p, err)
		if status.known {
			p.Works = fleet.TruthNo // a forced command, a shell that sends people away
		}
		return p
	}
	p.Works, p.RunAs, p.At = fleet.TruthYes, clean(said[len(said)-1], 64), time.Now().UTC()
	p.RoundTrip = time.Since(start)
	return p
}

// unproved ends a proof that failed. No means that the other side refused;
// everything else says nothing about the way.
func unproved(p fleet.Proof, err error) fleet.Proof {
	p.At, p.Reason = time.Now().UTC(), clean(err.Error(), 500)
	var channel *ssh.OpenChannelError
	for _, refusal := range []error{ErrAuth, ErrHostKeyUnknown, ErrHostKeyChanged, ErrHostKeyRevoked} {
		if errors.Is(err, refusal) {
			p.Works = fleet.TruthNo
		}
	}
	if errors.As(err, &channel) {
		p.Works = fleet.TruthNo
	}
	return p
}
