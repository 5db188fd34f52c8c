package awsapi

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/limit"
	"ssm-migrate/internal/session"
)

// AWS's own documents for the kinds of sessions. Source: Systems Manager User
// Guide, "Start a session".
const (
	DocumentCommand    = "AWS-StartInteractiveCommand"
	DocumentPort       = "AWS-StartPortForwardingSession"
	DocumentRemotePort = "AWS-StartPortForwardingSessionToRemoteHost"
	DocumentSSH        = "AWS-StartSSHSession"
)

// Sessions starts and ends Session Manager sessions. It is apart from Account
// and Region, which only read. Its methods may run concurrently; calls in one
// account and Region keep below the published rates.
type Sessions struct {
	accounts []*Account

	mu      sync.Mutex
	places  map[fleet.Place]*sessionPlace // guarded by mu
	callers map[*Account]caller           // guarded by mu
}

// NewSessions starts sessions with the accounts' credentials.
func NewSessions(accounts ...*Account) *Sessions {
	return &Sessions{accounts: accounts, places: map[fleet.Place]*sessionPlace{}, callers: map[*Account]caller{}}
}

// sessionPlace are the clients of one account and Region.
type sessionPlace struct {
	account     *Account
	by          string // our ARN there
	region      string
	config      aws.Config
	ssm         *ssm.Client
	kms         *kms.Client
	s3          *s3.Client
	logs        *cloudwatchlogs.Client
	preferences recent[fleet.SessionInputs]
}

// at finds the clients of a place by the account's ID.
func (s *Sessions) at(ctx context.Context, at fleet.Place) (*sessionPlace, error) {
	s.mu.Lock()
	p := s.places[at]
	s.mu.Unlock()
	if p != nil {
		return p, nil
	}
	account, who, err := s.accountOf(ctx, at.Account)
	if err != nil {
		return nil, err
	}
	cfg := account.configFor(at.Region)
	p = &sessionPlace{
		account: account,
		by:      who.arn,
		region:  at.Region,
		config:  cfg,
		ssm:     ssm.NewFromConfig(cfg),
		kms:     kms.NewFromConfig(cfg),
		s3:      s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = o.BaseEndpoint != nil }),
		logs:    cloudwatchlogs.NewFromConfig(cfg),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.places[at]; other != nil {
		return other, nil // the pace is one for all
	}
	s.places[at] = p
	return p, nil
}

// accountOf finds the account with an ID, which STS tells; none stands for the
// only one there is. An answer is kept;
// that there was none is not: a run may outlive it.
func (s *Sessions) accountOf(ctx context.Context, id string) (*Account, caller, error) {
	if len(s.accounts) == 0 {
		return nil, caller{}, errors.New("no access to AWS is configured")
	}
	var errs []error
	for _, a := range s.accounts {
		s.mu.Lock()
		who, known := s.callers[a]
		s.mu.Unlock()
		if !known {
			var err error
			if who, err = a.askWhoami(ctx); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", a.Label(), err))
				continue
			}
			s.mu.Lock()
			s.callers[a] = who
			s.mu.Unlock()
		}
		if who.id == id || id == "" && len(s.accounts) == 1 {
			return a, who, nil
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, caller{}, fmt.Errorf("which access is to account %s is not known: %w", id, err)
	}
	return nil, caller{}, fmt.Errorf("none of the configured accesses is to account %s", id)
}

// SessionRequest says which session to start.
type SessionRequest struct {
	Host       fleet.HostRef
	Document   string              // empty: the shell of the account's preferences
	Parameters map[string][]string // of the document
	Reason     string              // shown in the session's history
}

// Session is an open session.
type Session struct {
	*session.Channel
	ID string // Session Manager's session ID

	place *sessionPlace
}

// SessionError says why a session could not be started.
type SessionError struct {
	// Refused: yes, the far side turned it down for a reason of its own; else
	// what went wrong says nothing about whether sessions work.
	Refused fleet.Truth
	Host    string // instance ID
	Reason  string // in one line, with what to do about it
	err     error
}

func (e *SessionError) Error() string { return "start a session on " + e.Host + ": " + e.Reason }
func (e *SessionError) Unwrap() error { return e.err }

const (
	apiStartSession     = "ssm:StartSession"
	apiResumeSession    = "ssm:ResumeSession"
	apiTerminateSession = "ssm:TerminateSession"
	apiDataKey          = "kms:GenerateDataKey"
	apiOpenChannel      = "ssmmessages:OpenDataChannel"
)

// endTimeout bounds the ending of a session; it runs on when the caller's
// context has ended.
const endTimeout = 20 * time.Second

// Start starts a session and opens its data channel. The session must be
// ended by End. It fails with a *SessionError.
func (s *Sessions) Start(ctx context.Context, r SessionRequest) (*Session, error) {
	p, err := s.at(ctx, r.Host.Place())
	if err != nil {
		return nil, &SessionError{Host: r.Host.ID, Reason: clean(err.Error()), err: err}
	}
	in := &ssm.StartSessionInput{Target: &r.Host.ID, Parameters: r.Parameters}
	if r.Document != "" {
		in.DocumentName = &r.Document
	}
	if r.Reason != "" {
		in.Reason = &r.Reason
	}
	out, err := p.ssm.StartSession(ctx, in)
	if err != nil {
		return nil, p.startError(r, err)
	}
	live := &Session{ID: aws.ToString(out.SessionId), place: p}
	live.Channel, err = session.Open(ctx, session.Options{
		ID:      live.ID,
		URL:     aws.ToString(out.StreamUrl),
		Token:   aws.ToString(out.TokenValue),
		Target:  r.Host.ID,
		HTTP:    p.channelClient(),
		Sign:    p.sign,
		Resume:  func(ctx context.Context) (string, error) { return p.resume(ctx, live.ID) },
		DataKey: p.dataKey,
	})
	if err != nil {
		return nil, errors.Join(p.channelError(r, err), live.terminate(ctx))
	}
	return live, nil
}

// Terminate ends a session by its ID, whoever started it.
func (s *Sessions) Terminate(ctx context.Context, at fleet.Place, id string) error {
	p, err := s.at(ctx, at)
	if err != nil {
		return fmt.Errorf("terminate session %s: %w", clean(id), err)
	}
	return (&Session{ID: id, place: p}).terminate(ctx)
}

// End closes the channel and terminates the session, even if ctx has ended. It
// may be called again.
func (s *Session) End(ctx context.Context) error {
	s.Close()
	return s.terminate(ctx)
}

func (s *Session) terminate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(limit.With(context.WithoutCancel(ctx), nil), endTimeout)
	defer cancel()
	_, err := s.place.ssm.TerminateSession(ctx, &ssm.TerminateSessionInput{SessionId: &s.ID})
	// One that has ended by itself is gone from the service after a while.
	if err == nil || code(err) == "DoesNotExistException" {
		return nil
	}
	return fmt.Errorf("terminate session %s (it ends by itself when it is idle): %w", clean(s.ID), s.place.account.failure(apiTerminateSession, err))
}

func (p *sessionPlace) resume(ctx context.Context, id string) (string, error) {
	out, err := p.ssm.ResumeSession(ctx, &ssm.ResumeSessionInput{SessionId: &id})
	if err != nil {
		return "", fmt.Errorf("%s: %w", apiResumeSession, p.account.failure(apiResumeSession, err))
	}
	return aws.ToString(out.TokenValue), nil
}

func (p *sessionPlace) dataKey(ctx context.Context, key string, bound map[string]string) (session.DataKey, error) {
	out, err := p.kms.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: &key, NumberOfBytes: aws.Int32(session.DataKeySize), EncryptionContext: bound})
	if err != nil {
		return session.DataKey{}, fmt.Errorf("%s: %w", apiDataKey, p.account.failure(apiDataKey, err))
	}
	return session.DataKey{Plain: out.Plaintext, Sealed: out.CiphertextBlob}, nil
}

// emptyHash is the SHA-256 of no body.
var emptyHash = func() string {
	sum := sha256.Sum256(nil)
	return hex.EncodeToString(sum[:])
}()

// sign signs the opening of a data channel.
func (p *sessionPlace) sign(ctx context.Context, r *http.Request) error {
	keys, err := p.config.Credentials.Retrieve(ctx)
	if err != nil {
		return p.account.failure(apiOpenChannel, err)
	}
	return v4.NewSigner().SignHTTP(ctx, keys, r, emptyHash, "ssmmessages", p.region, time.Now())
}

// channelClient dials WebSockets as the API's client dials its connections: with
// the same proxy and certificates, but without its time limit.
func (p *sessionPlace) channelClient() *http.Client {
	client := p.config.HTTPClient
	if own, ok := client.(ownBody); ok {
		client = own.client
	}
	built, ok := client.(*awshttp.BuildableClient)
	if !ok {
		return &http.Client{}
	}
	return &http.Client{Transport: built.GetTransport()}
}

// startError says what to do about a session that was not started.
func (p *sessionPlace) startError(r SessionRequest, err error) error {
	err = p.account.failure(apiStartSession, err)
	document := cmp.Or(r.Document, fleet.PreferencesName)
	e := &SessionError{Refused: fleet.TruthYes, Host: r.Host.ID, Reason: err.Error(), err: err}
	switch code(err) {
	case "TargetNotConnected":
		e.Reason = fmt.Sprintf("the agent is not connected to Session Manager (migrate hosts %s shows what stands in the way)", r.Host.ID)
	case "AccessDeniedException":
		e.Reason += fmt.Sprintf("; you need %s on the instance and on document %s", apiStartSession, document)
	case "InvalidDocument":
		e.Reason += fmt.Sprintf("; document %s has to exist in %s and be of type Session", document, p.region)
	case "InvalidParameters", "ValidationException", "BadRequest", "InvalidTarget":
	default:
		e.Refused = fleet.TruthUnknown
	}
	return e
}

func (p *sessionPlace) channelError(r SessionRequest, err error) error {
	e := &SessionError{Host: r.Host.ID, Reason: clean(err.Error()), err: err}
	if errors.Is(err, session.ErrRefused) {
		e.Refused = fleet.TruthYes
		e.Reason += "; you need " + apiOpenChannel
	}
	return e
}

// recent keeps a value that many ask for at the same time for a short while.
type recent[T any] struct {
	mu    sync.Mutex
	until time.Time // guarded by mu
	value T         // guarded by mu
	err   error     // guarded by mu
}

const recentFor = 20 * time.Second

func (r *recent[T]) get(ctx context.Context, read func() (T, error)) (T, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Now().Before(r.until) {
		return r.value, r.err
	}
	v, err := read()
	if ctx.Err() == nil {
		r.value, r.err, r.until = v, err, time.Now().Add(recentFor)
	}
	return v, err
}
