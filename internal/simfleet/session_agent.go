package simfleet

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// More of the agent's thresholds. Sources: agent release notes; Systems Manager
// User Guide, session-manager-prerequisites and sessions-start;
// session-manager-plugin, src/config/config.go.
const (
	firstWithInteractive    = "2.3.668.0"
	firstWithPorts          = "2.3.672.0"
	firstWithMultiplexing   = "3.0.222.0"
	firstWithNonInteractive = "3.0.1124.0"
	firstWithRemoteHosts    = "3.1.1374.0"
	firstWithoutKeepAlive   = "3.1.1512.0"
	firstWithLoopbackDenied = "3.3.4851.0"
)

// Waits of the agent.
const (
	handshakePatience = 15 * time.Second
	logsPatience      = 2 * time.Minute // four attempts of 30 s to reach a service
)

// Messages of the agent to people whose session it refuses.
// Source: amazon-ssm-agent, agent/session.
const (
	agentError       = "----------ERROR-------\n"
	groupUnencrypted = "We couldn't start the session because encryption is not set up on the selected CloudWatch Logs log group. Either encrypt the log group or choose an option to enable logging without encryption."
	bucketNotSealed  = "We couldn't start the session because encryption is not set up on the selected Amazon S3 bucket. Either encrypt the bucket or choose an option to enable logging without encryption."
)

// trouble is what keeps a session from working although it was started.
type trouble struct {
	silent bool   // nobody ever says anything
	output string // why the session ends at once
	blank  bool   // the agent waits for services out of reach, and goes on without them
}

// trouble finds out how the session fares on its machine. The reasons are
// SessionReason's; what of them people see is the agent's wording.
func (ls *liveSession) trouble() trouble {
	w, in, p := ls.server.w, ls.inst, ls.spec.inputs
	w.Mu.RLock()
	defer w.Mu.RUnlock()
	if reason := in.machineReason(); reason != "" {
		return trouble{silent: true}
	}
	if reason := w.serviceReason(in, "ssmmessages", sessionActions[1:]...); reason != "" {
		return trouble{output: agentError + "Setting up data channel with id " + ls.record.ID + " failed: failed to create websocket for datachannel with error: CreateDataChannel failed with no output or error: " + reason}
	}
	if ls.pluginMissing() {
		return trouble{output: "Plugin with name " + ls.spec.kind + " is not supported by this version of ssm agent, please update to latest version. Step name: " + ls.spec.kind}
	}
	if ls.spec.kind == kindPort {
		return trouble{}
	}
	if p.LogGroup != "" && p.LogGroupEncrypted {
		switch reason := w.logGroupReason(in, p.LogGroup); {
		case strings.HasSuffix(reason, " is not encrypted"):
			return trouble{output: groupUnencrypted}
		case reason != "":
			return trouble{output: "Couldn't start the session because we are unable to validate encryption on CloudWatch Logs log group. Error: " + reason}
		}
	}
	if p.Bucket != "" && p.BucketEncrypted {
		switch reason := w.bucketReason(in, p.Bucket); {
		case strings.HasSuffix(reason, " is not encrypted"):
			return trouble{output: bucketNotSealed}
		case reason != "":
			return trouble{output: "Couldn't start the session because we are unable to validate encryption on Amazon S3 bucket. Error: " + reason}
		}
	}
	unreached := func(service string) bool { return !w.AgentEgress(in, service).TLS }
	return trouble{blank: p.LogGroup != "" && unreached("logs") || p.Bucket != "" && unreached("s3")}
}

// pluginMissing reports whether the agent is too old for the type of session.
func (ls *liveSession) pluginMissing() bool {
	first := map[string]string{kindInteractive: firstWithInteractive, kindNonInteractive: firstWithNonInteractive, kindPort: firstWithPorts}[ls.spec.kind]
	return first != "" && versionLess(ls.inst.Agent.Version, first)
}

// serve is the agent's part. It gives what the client is told at the end.
func (ls *liveSession) serve(ctx context.Context) string {
	if ctx.Err() != nil {
		return ""
	}
	t := ls.trouble()
	switch {
	case t.silent:
		<-ctx.Done()
		return ""
	case t.output != "":
		return t.output
	}
	key := ls.spec.inputs.Key
	if ls.spec.kind == kindPort {
		key = "" // the agent does not encrypt port sessions
	}
	if key != "" || ls.spec.kind == kindPort || ls.spec.kind == kindNonInteractive {
		if err := ls.handshake(ctx, key); err != nil {
			return agentError + "Encountered error while initiating handshake. " + err.Error()
		}
	}
	if t.blank {
		if err := ls.hosts.wait(ctx, logsPatience); err != nil {
			return ""
		}
	}
	if ls.spec.kind == kindPort {
		return ls.servePort(ctx)
	}
	return ls.serveCommands(ctx)
}

type clientAction struct {
	Type       string `json:"ActionType"`
	Parameters any    `json:"ActionParameters"`
}

type clientResult struct {
	Type   string          `json:"ActionType"`
	Status int             `json:"ActionStatus"` // 1: success
	Result json.RawMessage `json:"ActionResult"`
	Error  string          `json:"Error"`
}

// handshake tells the client the agent's version, the type of session and, with
// a key, that it is encrypted; then it has the encryption proved.
// Source: amazon-ssm-agent, agent/session/datachannel/datachannel.go.
func (ls *liveSession) handshake(ctx context.Context, key string) error {
	begin := time.Now()
	actions := []clientAction{{"SessionType", map[string]any{"SessionType": ls.spec.kind, "Properties": ls.spec.properties}}}
	if key != "" {
		if versionLess(ls.agentVersion(), firstWithEncryption) {
			return errors.New("agent " + ls.agentVersion() + " cannot encrypt sessions")
		}
		actions = append(actions, clientAction{"KMSEncryption", map[string]string{"KMSKeyId": key}})
	}
	request := must(json.Marshal(map[string]any{"AgentVersion": ls.agentVersion(), "RequestedClientActions": actions}))
	if err := ls.channel.send(ctx, payloadHandshakeRequest, request); err != nil {
		return err
	}
	answer, err := ls.await(ctx, payloadHandshakeResponse, "Handshake timed out. Please ensure that you have the latest version of the session manager plugin.")
	if err != nil {
		return err
	}
	var response struct {
		Client  string         `json:"ClientVersion"`
		Results []clientResult `json:"ProcessedClientActions"`
	}
	if err := json.Unmarshal(answer, &response); err != nil {
		return fmt.Errorf("Unmarshalling of HandshakeResponse message failed, %w", err) //nolint:staticcheck // the agent's words
	}
	ls.client = response.Client
	if err := ls.results(response.Results); err != nil {
		return err
	}
	message := ""
	if key != "" {
		if ls.cipher == nil {
			return errors.New("KMSEncryption was not answered by the client")
		}
		if err := ls.challenge(ctx); err != nil {
			return err
		}
		message = "This session is encrypted using AWS KMS."
	}
	return ls.channel.send(ctx, payloadHandshakeComplete, must(json.Marshal(map[string]any{"HandshakeTimeToComplete": time.Since(begin), "CustomerMessage": message})))
}

func (ls *liveSession) agentVersion() string {
	w := ls.server.w
	w.Mu.RLock()
	defer w.Mu.RUnlock()
	return ls.inst.Agent.Version
}

// await waits for a message of one payload type; others are passed over, since
// nothing else is taken before the handshake is over.
func (ls *liveSession) await(ctx context.Context, want payloadType, late string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, handshakePatience, errors.New(late))
	defer cancel()
	for {
		f, err := ls.channel.input(ctx)
		switch {
		case err != nil:
			return nil, context.Cause(ctx)
		case f.payload == want:
			return f.data, nil
		}
	}
}

func (ls *liveSession) results(of []clientResult) error {
	for _, r := range of {
		switch {
		case r.Status != 1:
			return fmt.Errorf("%s failed on client with status %d error: %s", r.Type, r.Status, r.Error)
		case r.Type == "KMSEncryption":
			if err := ls.openKey(r.Result); err != nil {
				return fmt.Errorf("Fetching data key failed: Unable to retrieve data key, Error when decrypting data key %w", err) //nolint:staticcheck // the agent's words
			}
		}
	}
	return nil
}

// openKey has KMS decrypt the client's data key, as the instance's role.
func (ls *liveSession) openKey(result json.RawMessage) error {
	var r struct {
		Key []byte `json:"KMSCipherTextKey"`
	}
	if err := json.Unmarshal(result, &r); err != nil {
		return err
	}
	w := ls.server.w
	w.Mu.RLock()
	defer w.Mu.RUnlock()
	arn, plain, err := w.decryptKey(r.Key, map[string]string{"aws:ssm:SessionId": ls.record.ID, "aws:ssm:TargetId": ls.record.Target})
	if err != nil {
		return err
	}
	if reason := w.keyReason(ls.inst, arn); reason != "" {
		return errors.New("AccessDeniedException: " + reason)
	}
	ls.cipher, err = newSessionCipher(plain)
	return err
}

// challenge has the client prove that it has both keys.
func (ls *liveSession) challenge(ctx context.Context) error {
	secret := newToken()
	sealed := ls.cipher.toClient.seal([]byte(secret), nil)
	if err := ls.channel.send(ctx, payloadChallengeRequest, must(json.Marshal(map[string][]byte{"Challenge": sealed}))); err != nil {
		return err
	}
	answer, err := ls.await(ctx, payloadChallengeResponse, "Timed out waiting for encryption challenge.")
	if err != nil {
		return err
	}
	var r struct{ Challenge []byte }
	if err := json.Unmarshal(answer, &r); err != nil {
		return err
	}
	if got, err := ls.cipher.fromClient.open(r.Challenge, nil); err != nil || string(got) != secret {
		return errors.New("Encryption challenge does not match!") //nolint:staticcheck,revive // the agent's words
	}
	return nil
}

// print sends output in pieces of streamPayload that split no character.
func (ls *liveSession) print(ctx context.Context, payload payloadType, b []byte) error {
	if payload == payloadOutput || payload == payloadStderr {
		ls.logMu.Lock()
		ls.log.Write(b)
		ls.logMu.Unlock()
	}
	for len(b) > 0 {
		n := min(len(b), streamPayload)
		for n < len(b) && n > streamPayload-utf8.UTFMax && !utf8.RuneStart(b[n]) {
			n--
		}
		if err := ls.stream(ctx, payload, b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// stream sends one message, encrypted where the session is.
func (ls *liveSession) stream(ctx context.Context, payload payloadType, b []byte) error {
	if ls.cipher != nil {
		b = ls.cipher.toClient.seal(b, nil)
	}
	return ls.channel.send(ctx, payload, b)
}

// flag sends a flag of port sessions.
func (ls *liveSession) flag(ctx context.Context, flag uint32) error {
	return ls.channel.send(ctx, payloadFlag, binary.BigEndian.AppendUint32(nil, flag))
}

// take waits for the next message and opens what is encrypted. What does not
// open is passed over.
func (ls *liveSession) take(ctx context.Context) (frame, error) {
	for {
		f, err := ls.channel.input(ctx)
		if err != nil || ls.cipher == nil || f.payload != payloadOutput {
			return f, err
		}
		if f.data, err = ls.cipher.fromClient.open(f.data, nil); err == nil {
			return f, nil
		}
	}
}
