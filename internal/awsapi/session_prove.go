package awsapi

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/session"
)

// ProofKind is a kind of session that a proof opens.
type ProofKind string

// The kinds of proofs.
const (
	ProofShell   ProofKind = "shell"               // types a command into the preferences' shell
	ProofCommand ProofKind = "interactive-command" // has AWS-StartInteractiveCommand run one
	ProofPort    ProofKind = "port"                // reads the SSH server's greeting by port forwarding
	ProofSSH     ProofKind = "ssh"                 // reads it by AWS-StartSSHSession
)

// SessionProver proves Session Manager by using it. It implements
// cutover.Prover for fleet.WaySessionManager.
type SessionProver struct {
	Sessions *Sessions
	Kind     ProofKind     // zero: ProofShell
	Timeout  time.Duration // from the session's start to its answer; 0: 60 s
	// LogWait bounds how long a session's log is looked for after the session,
	// where the preferences want one; 0: 15 s, negative: not looked for.
	LogWait time.Duration
}

const (
	proofTimeout = time.Minute
	logWait      = 15 * time.Second
	proofReason  = "migrate: proof that Session Manager works"
)

// Prove opens a session, has it answer, and ends it. Timeouts, throttling, lost
// connections and missing credentials leave Works unknown.
func (v *SessionProver) Prove(ctx context.Context, h fleet.Host, way fleet.Way) fleet.Proof {
	kind := v.Kind
	if kind == "" {
		kind = ProofShell
	}
	p := fleet.Proof{Host: h.Ref(), Way: way, Kind: string(kind)}
	if way != fleet.WaySessionManager {
		p.At, p.Reason = time.Now().UTC(), "this proves Session Manager only"
		return p
	}
	if h.Windows() {
		p.At, p.Reason = time.Now().UTC(), "sessions on Windows are not proved"
		return p
	}
	err := v.use(ctx, kind, &p)
	p.At = time.Now().UTC()
	p.Works, p.Reason = judge(err)
	if p.Session != "" && (kind == ProofShell || kind == ProofCommand) && v.LogWait >= 0 && p.Works == fleet.TruthYes {
		v.log(ctx, &p)
	}
	return p
}

// use opens the session and uses it.
func (v *SessionProver) use(ctx context.Context, kind ProofKind, p *fleet.Proof) (err error) {
	place, err := v.Sessions.at(ctx, p.Host.Place())
	if err != nil {
		return err
	}
	p.By = place.by
	command, err := session.NewCommand("id -un")
	if err != nil {
		return err
	}
	request := SessionRequest{Host: p.Host, Reason: proofReason}
	switch kind {
	case ProofShell:
	case ProofCommand:
		request.Document, request.Parameters = DocumentCommand, map[string][]string{"command": {command.Script()}}
	case ProofPort:
		request.Document, request.Parameters = DocumentPort, map[string][]string{"portNumber": {"22"}}
	case ProofSSH:
		request.Document, request.Parameters = DocumentSSH, map[string][]string{"portNumber": {"22"}}
	default:
		return fmt.Errorf("there is no proof of kind %q", kind)
	}
	live, err := v.Sessions.Start(ctx, request)
	if err != nil {
		return err
	}
	start := time.Now()
	p.Session = live.ID
	// That it does not end says nothing against the way: it ends when idle.
	defer func() { _ = live.End(ctx) }()
	timeout := v.Timeout
	if timeout <= 0 {
		timeout = proofTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	switch kind {
	case ProofPort:
		err = greetedByPort(ctx, live.Channel)
	case ProofSSH:
		err = greeted(ctx, live.Channel)
	default:
		var r session.Result
		if r, err = live.Run(ctx, command); err == nil {
			p.RunAs, err = accountName(r)
		}
	}
	if err == nil {
		p.RoundTrip = time.Since(start)
	}
	return err
}

// works is what a session that was not started says of the way.
func (e *SessionError) works() fleet.Truth {
	if e.Refused == fleet.TruthYes {
		return fleet.TruthNo
	}
	return fleet.TruthUnknown
}

// refusedBy is an error of the far side's own.
type refusedBy struct{ text string }

func (e *refusedBy) Error() string { return e.text }

func judge(err error) (fleet.Truth, string) {
	if err == nil {
		return fleet.TruthYes, ""
	}
	text := clean(err.Error())
	var start *SessionError
	var end *session.EndError
	var refused *refusedBy
	if errors.As(err, &start) {
		return start.works(), start.Reason
	}
	switch {
	case errors.As(err, &end), errors.As(err, &refused), errors.Is(err, session.ErrPortRefused):
		return fleet.TruthNo, text
	case errors.Is(err, session.ErrEncryption) && code(err) == "AccessDeniedException":
		return fleet.TruthNo, text + "; you need " + apiDataKey + " on the key of the session preferences"
	case errors.Is(err, session.ErrNoAnswer):
		return fleet.TruthUnknown, text + " (a session that stays blank: a full disk, or a log bucket or group that the host cannot reach)"
	case errors.Is(err, context.DeadlineExceeded):
		return fleet.TruthUnknown, "no answer in time: " + text
	}
	return fleet.TruthUnknown, text
}
