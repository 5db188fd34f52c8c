package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// PreferencesName is the document that holds Session Manager's preferences of
// one account and Region. Source: AWS Systems Manager User Guide,
// getting-started-configure-preferences-cli.
const PreferencesName = "SSM-SessionManagerRunShell"

// Preferences is Session Manager's preferences document and what it points to.
type Preferences struct {
	Exists  bool   `json:"exists"` // false: the service's defaults hold
	Version string `json:"version,omitempty"`
	Content string `json:"content,omitempty"` // JSON document

	Tags map[string]string `json:"tags,omitempty"` // known where Region.Documents is

	// What the document names; zero facts where it names none.
	Bucket   Fact[Bucket]   `json:"bucket,omitzero"`
	LogGroup Fact[LogGroup] `json:"logGroup,omitzero"`
	Key      Fact[KMSKey]   `json:"key,omitzero"`
}

// SessionDocument is a document of type Session.
type SessionDocument struct {
	Name    string       `json:"name"`
	Owner   string       `json:"owner"` // account ID or "Amazon"
	Version string       `json:"version,omitempty"`
	Content Fact[string] `json:"content"` // JSON document
}

// SessionInputs is the content of a session document. Timeouts are in minutes.
// Source: AWS Systems Manager User Guide, session-manager-schema.
type SessionInputs struct {
	Type              string // sessionType: "Standard_Stream", "InteractiveCommands", "NonInteractiveCommands", "Port"
	Bucket            string
	Prefix            string
	BucketEncrypted   bool
	LogGroup          string
	LogGroupEncrypted bool
	Streaming         bool
	Key               string // KMS key ID or ARN; empty: no encryption beyond TLS
	RunAs             bool
	RunAsUser         string // runAsDefaultUser
	IdleTimeout       int    // 20 when the document does not say
	MaxDuration       int    // 0: none
	LinuxProfile      string
	WindowsProfile    string
	Problems          []string // values that Session Manager would not take as meant
}

// DefaultIdleTimeout is after how many minutes an idle session ends when the
// preferences do not say. Source: AWS Systems Manager User Guide, session-manager-schema.
const DefaultIdleTimeout = 20

// ParseSessionDocument reads a session document. Unknown fields are passed
// over; a value out of its bounds is a Problem and leaves the default.
func ParseSessionDocument(content string) (SessionInputs, error) {
	var doc struct {
		SchemaVersion any    `json:"schemaVersion"`
		SessionType   string `json:"sessionType"`
		Inputs        struct {
			S3BucketName                string `json:"s3BucketName"`
			S3KeyPrefix                 string `json:"s3KeyPrefix"`
			S3EncryptionEnabled         *bool  `json:"s3EncryptionEnabled"`
			CloudWatchLogGroupName      string `json:"cloudWatchLogGroupName"`
			CloudWatchEncryptionEnabled *bool  `json:"cloudWatchEncryptionEnabled"`
			CloudWatchStreamingEnabled  bool   `json:"cloudWatchStreamingEnabled"`
			KMSKeyID                    string `json:"kmsKeyId"`
			RunAsEnabled                bool   `json:"runAsEnabled"`
			RunAsDefaultUser            string `json:"runAsDefaultUser"`
			IdleSessionTimeout          any    `json:"idleSessionTimeout"`
			MaxSessionDuration          any    `json:"maxSessionDuration"`
			ShellProfile                struct {
				Linux   string `json:"linux"`
				Windows string `json:"windows"`
			} `json:"shellProfile"`
		} `json:"inputs"`
	}
	if err := json.Unmarshal([]byte(content), &doc); err != nil {
		return SessionInputs{}, fmt.Errorf("session document: %w", err)
	}
	if doc.SessionType == "" && doc.SchemaVersion == nil {
		return SessionInputs{}, errors.New("session document: neither schemaVersion nor sessionType is there")
	}
	in := doc.Inputs
	out := SessionInputs{
		Type:              doc.SessionType,
		Bucket:            in.S3BucketName,
		Prefix:            in.S3KeyPrefix,
		BucketEncrypted:   in.S3EncryptionEnabled == nil || *in.S3EncryptionEnabled,
		LogGroup:          in.CloudWatchLogGroupName,
		LogGroupEncrypted: in.CloudWatchEncryptionEnabled == nil || *in.CloudWatchEncryptionEnabled,
		Streaming:         in.CloudWatchStreamingEnabled,
		Key:               in.KMSKeyID,
		RunAs:             in.RunAsEnabled,
		RunAsUser:         in.RunAsDefaultUser,
		IdleTimeout:       DefaultIdleTimeout,
		LinuxProfile:      in.ShellProfile.Linux,
		WindowsProfile:    in.ShellProfile.Windows,
	}
	out.minutes("idleSessionTimeout", in.IdleSessionTimeout, 60, &out.IdleTimeout)
	out.minutes("maxSessionDuration", in.MaxSessionDuration, 1440, &out.MaxDuration)
	return out, nil
}

// minutes reads a timeout, which the schema has as a string of minutes.
func (s *SessionInputs) minutes(name string, value any, most int, into *int) {
	if value == nil || value == "" {
		return
	}
	n, err := strconv.Atoi(fmt.Sprint(value))
	if err != nil || n < 1 || n > most {
		s.Problems = append(s.Problems, fmt.Sprintf("%s %q is not a number of minutes from 1 to %d", name, fmt.Sprint(value), most))
		return
	}
	*into = n
}

// Bucket is an S3 bucket for session logs.
type Bucket struct {
	Name       string `json:"name"`
	Exists     bool   `json:"exists"`
	Region     string `json:"region,omitempty"`
	Encryption string `json:"encryption,omitempty"` // "AES256", "aws:kms", "aws:kms:dsse"; empty: none
	Key        string `json:"key,omitempty"`        // KMS key of aws:kms; empty: AWS's own
	Policy     string `json:"policy,omitempty"`     // JSON document; empty: none
}

// LogGroup is a CloudWatch Logs group for session logs.
type LogGroup struct {
	Name   string `json:"name"`
	ARN    string `json:"arn,omitempty"`
	Exists bool   `json:"exists"`
	Key    string `json:"key,omitempty"` // KMS key ARN; empty: not encrypted with one
}

// KMSKey is a KMS key that sessions or their logs are encrypted with.
type KMSKey struct {
	ID      string       `json:"id"` // as the preferences name it
	ARN     string       `json:"arn,omitempty"`
	Exists  bool         `json:"exists"`
	State   string       `json:"state,omitempty"`   // "Enabled", "Disabled", "PendingDeletion", ...
	Manager string       `json:"manager,omitempty"` // "CUSTOMER" or "AWS"
	Policy  Fact[string] `json:"policy"`            // JSON document
}

// ManagedSession is one Session Manager session.
type ManagedSession struct {
	ID       string    `json:"id"`
	Target   string    `json:"target"` // host ID
	Owner    string    `json:"owner"`  // ARN of who started it
	Status   string    `json:"status"` // "Connected", "Terminated", ...
	Document string    `json:"document,omitempty"`
	Start    time.Time `json:"start,omitzero"`
	End      time.Time `json:"end,omitzero"` // zero: open
}
