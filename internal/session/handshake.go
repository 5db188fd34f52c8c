package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// The handshake, checked against src/datachannel/streaming.go of
// session-manager-plugin. A shell that is not encrypted has none.

// keyTimeout bounds how long the agent waits for a data key: it gives a
// handshake up after 15 s (amazon-ssm-agent, agent/session/datachannel).
const keyTimeout = 14 * time.Second

// maxActions bounds what one handshake may ask for.
const maxActions = 16

// shake answers the agent's request.
func (c *Channel) shake(payload []byte) error {
	var request handshakeRequest
	if err := json.Unmarshal(payload, &request); err != nil {
		return protocolError("the handshake cannot be read")
	}
	if c.shaken || len(request.RequestedClientActions) > maxActions {
		return protocolError("a second handshake, or one of more than %d actions", maxActions)
	}
	c.shaken = true
	response := handshakeResponse{ClientVersion: ClientVersion, ProcessedClientActions: []processedAction{}, Errors: nil}
	var failed error
	var keys *ciphers
	for _, want := range request.RequestedClientActions {
		done := processedAction{ActionType: want.ActionType, ActionStatus: actionDone}
		var err error
		switch want.ActionType {
		case actionEncryption:
			keys, done.ActionResult, err = c.encryption(want.ActionParameters)
		case actionSessionType:
			err = c.sessionType(want.ActionParameters)
		default:
			err = fmt.Errorf("unsupported action %s", line(want.ActionType))
			done.ActionStatus = actionUnsupported
			done.Error = err.Error()
			response.Errors = append(response.Errors, done.Error)
			response.ProcessedClientActions = append(response.ProcessedClientActions, done)
			continue
		}
		if err != nil {
			failed = errors.Join(failed, err)
			done.ActionStatus, done.ActionResult = actionFailed, nil
			done.Error = fmt.Sprintf("Failed to process action %s: %s", want.ActionType, err)
			response.Errors = append(response.Errors, done.Error)
		}
		response.ProcessedClientActions = append(response.ProcessedClientActions, done)
	}
	c.mu.Lock()
	c.agent, c.ciphers = line(request.AgentVersion), keys
	c.mu.Unlock()
	answer, err := json.Marshal(response)
	if err != nil {
		return fmt.Errorf("answer the handshake: %w", err)
	}
	c.post(PayloadHandshakeResponse, answer, false)
	// The agent has to hear of a failure before the channel ends, or it would
	// wait: so only now.
	return failed
}

func (c *Channel) encryption(parameters json.RawMessage) (*ciphers, any, error) {
	var request encryptionRequest
	if err := json.Unmarshal(parameters, &request); err != nil || request.Key == "" {
		return nil, nil, protocolError("the request for encryption names no key")
	}
	if c.o.DataKey == nil {
		return nil, nil, fmt.Errorf("%w: the session wants KMS key %s", ErrEncryption, line(request.Key))
	}
	ctx, cancel := context.WithTimeout(c.life, keyTimeout)
	defer cancel()
	key, err := c.o.DataKey(ctx, request.Key, EncryptionContext(c.o.ID, c.o.Target))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: get a data key of %s: %w", ErrEncryption, line(request.Key), err)
	}
	keys, err := newCiphers(key.Plain)
	return keys, encryptionResult{Sealed: key.Sealed}, err
}

func (c *Channel) sessionType(parameters json.RawMessage) error {
	var t sessionType
	if err := json.Unmarshal(parameters, &t); err != nil {
		return protocolError("the session's type cannot be read")
	}
	switch t.Type {
	case KindShell, KindInteractive, KindNonInteractive, KindPort:
		c.mu.Lock()
		c.kind = t
		c.mu.Unlock()
		return nil
	}
	return protocolError("a session of type %s", line(t.Type))
}

// challenged proves that both ends have the same keys.
func (c *Channel) challenged(payload []byte) error {
	var request challenge
	if err := json.Unmarshal(payload, &request); err != nil {
		return protocolError("the encryption challenge cannot be read")
	}
	c.mu.Lock()
	keys := c.ciphers
	c.mu.Unlock()
	if keys == nil {
		return protocolError("an encryption challenge in a session that is not encrypted")
	}
	plain, err := keys.decrypt(request.Challenge)
	if err != nil {
		return err
	}
	answer, err := json.Marshal(challenge{Challenge: keys.encrypt(plain)})
	if err != nil {
		return fmt.Errorf("answer the encryption challenge: %w", err)
	}
	c.post(PayloadChallengeResponse, answer, false)
	return nil
}

// shakenHands notes that the handshake is complete. What the session is to
// tell the user comes before all else.
func (c *Channel) shakenHands(payload []byte) error {
	var complete handshakeComplete
	if err := json.Unmarshal(payload, &complete); err != nil {
		return protocolError("the end of the handshake cannot be read")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.message = line(complete.CustomerMessage)
	c.serves()
	return nil
}
