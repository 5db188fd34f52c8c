package access

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ssm-migrate/internal/fleet"
)

// ownPrefix begins the names of session documents made here. Operators may
// change none of that name.
const ownPrefix = "migrate-"

// mostDocumentName is how long a document's name may be.
// Source: AWS Systems Manager API Reference, CreateDocument.
const mostDocumentName = 128

// sessionDocument is the content of a session document.
// Source: AWS Systems Manager User Guide, session-manager-schema.
type sessionDocument struct {
	SchemaVersion string               `json:"schemaVersion"`
	Description   string               `json:"description"`
	SessionType   string               `json:"sessionType"`
	Inputs        *inputs              `json:"inputs,omitempty"`
	Parameters    map[string]parameter `json:"parameters,omitempty"`
	Properties    any                  `json:"properties,omitempty"`
}

type inputs struct {
	S3BucketName                string       `json:"s3BucketName"`
	S3KeyPrefix                 string       `json:"s3KeyPrefix"`
	S3EncryptionEnabled         bool         `json:"s3EncryptionEnabled"`
	CloudWatchLogGroupName      string       `json:"cloudWatchLogGroupName"`
	CloudWatchEncryptionEnabled bool         `json:"cloudWatchEncryptionEnabled"`
	CloudWatchStreamingEnabled  bool         `json:"cloudWatchStreamingEnabled"`
	KMSKeyID                    string       `json:"kmsKeyId"`
	RunAsEnabled                bool         `json:"runAsEnabled"`
	RunAsDefaultUser            string       `json:"runAsDefaultUser"`
	IdleSessionTimeout          string       `json:"idleSessionTimeout"`
	MaxSessionDuration          string       `json:"maxSessionDuration"`
	ShellProfile                shellProfile `json:"shellProfile"`
}

type shellProfile struct {
	Linux   string `json:"linux"`
	Windows string `json:"windows"`
}

type parameter struct {
	Type        string `json:"type"`
	Description string `json:"description"`
	Default     string `json:"default,omitempty"`
	Pattern     string `json:"allowedPattern"`
}

// preferences gives every Region of the fleet its preferences document: what
// it has, with what the operator wants instead.
func (p *promised) preferences() {
	for _, at := range p.places {
		r := p.region(at)
		in, why := fleet.SessionInputs{BucketEncrypted: true, LogGroupEncrypted: true, IdleTimeout: fleet.DefaultIdleTimeout}, "there are none yet: the service's defaults"
		switch {
		case !r.Preferences.Known:
			p.note("account %s, %s: the session preferences are not known; no preferences document is made, and policies allow nothing for logs and keys there", at.Account, at.Region)
			continue
		case r.Preferences.Value.Exists:
			got, err := fleet.ParseSessionDocument(r.Preferences.Value.Content)
			if err != nil {
				p.note("account %s, %s: the session preferences are not understood (%v); no preferences document is made", at.Account, at.Region, err)
				continue
			}
			in, why = got, "as they are"
		}
		if p.query.Preferences != (Preferences{}) {
			in, why = p.query.Preferences.over(in), why+", with what the configuration asks for"
		}
		if in.Bucket == "" && in.LogGroup == "" {
			p.note("account %s, %s: session preferences name neither a bucket nor a log group: what is done in sessions is recorded nowhere", at.Account, at.Region)
		}
		p.inputs[at] = in
		p.documents = append(p.documents, Document{
			Name: fleet.PreferencesName, Type: "Session", At: at, Content: compact(preferencesOf(in)), Who: []string{}, Why: "session preferences: " + why,
		})
	}
}

func preferencesOf(in fleet.SessionInputs) sessionDocument {
	most := ""
	if in.MaxDuration > 0 {
		most = strconv.Itoa(in.MaxDuration)
	}
	return sessionDocument{
		SchemaVersion: "1.0", Description: "Session Manager preferences", SessionType: "Standard_Stream",
		Inputs: &inputs{
			S3BucketName: in.Bucket, S3KeyPrefix: in.Prefix, S3EncryptionEnabled: in.BucketEncrypted,
			CloudWatchLogGroupName: in.LogGroup, CloudWatchEncryptionEnabled: in.LogGroupEncrypted, CloudWatchStreamingEnabled: in.Streaming,
			KMSKeyID: in.Key, RunAsEnabled: in.RunAs, RunAsDefaultUser: in.RunAsUser,
			IdleSessionTimeout: strconv.Itoa(in.IdleTimeout), MaxSessionDuration: most,
			ShellProfile: shellProfile{Linux: in.LinuxProfile, Windows: in.WindowsProfile},
		},
	}
}

// over puts what the operator wants over what there is.
func (w Preferences) over(in fleet.SessionInputs) fleet.SessionInputs {
	set := func(to *string, value string) {
		if value != "" {
			*to = value
		}
	}
	set(&in.Bucket, w.Bucket)
	set(&in.Prefix, w.Prefix)
	set(&in.LogGroup, w.LogGroup)
	set(&in.Key, w.Key)
	set(&in.RunAsUser, w.RunAs)
	set(&in.LinuxProfile, w.Profile)
	in.RunAs = in.RunAs || w.RunAs != ""
	if w.IdleTimeout > 0 {
		in.IdleTimeout = w.IdleTimeout
	}
	if w.MaxDuration > 0 {
		in.MaxDuration = w.MaxDuration
	}
	return in
}

// publish adds a document in the Regions of a team's hosts, and lets the team start it.
func (p *promised) publish(t *team, name, why string, content sessionDocument) {
	for _, at := range p.placesOf(t) {
		t.documents = append(t.documents, documentName{at.Region, at.Account, name})
		p.documents = append(p.documents, Document{Name: name, Type: "Session", At: at, Content: compact(content), Who: []string{t.name}, Why: fleet.OneLine(why, mostNote)})
	}
}

// localPort is the parameter for the port on the operator's own machine: 0
// lets the client choose.
func localPort() parameter {
	return parameter{Type: "String", Description: "Port on your own machine; 0: any free one", Default: "0",
		Pattern: `^([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$`}
}

// portDocument forwards ports of the instance itself, and no others.
func portDocument(team string, ports []int) sessionDocument {
	slices.Sort(ports)
	ports = slices.Compact(ports)
	list := make([]string, len(ports))
	for i, n := range ports {
		list[i] = strconv.Itoa(n)
	}
	return sessionDocument{
		SchemaVersion: "1.0", SessionType: "Port", Description: "Forward " + strings.Join(list, ", ") + " of an instance, for " + fleet.OneLine(team, 100),
		Parameters: map[string]parameter{
			"portNumber":      {Type: "String", Description: "Port of the instance", Default: list[0], Pattern: "^(" + strings.Join(list, "|") + ")$"},
			"localPortNumber": localPort(),
		},
		Properties: map[string]string{"portNumber": "{{ portNumber }}", "type": "LocalPortForwarding", "localPortNumber": "{{ localPortNumber }}"},
	}
}

// remoteDocument forwards one port of one host behind the instances: both stand
// in the document, where no caller can change them.
func remoteDocument(host string, port int) sessionDocument {
	return sessionDocument{
		SchemaVersion: "1.0", SessionType: "Port", Description: fmt.Sprintf("Forward port %d of %s", port, host),
		Parameters: map[string]parameter{"localPortNumber": localPort()},
		Properties: map[string]string{"host": host, "portNumber": strconv.Itoa(port), "type": "LocalPortForwarding", "localPortNumber": "{{ localPortNumber }}"},
	}
}

// forcedCommand runs what a key's command= runs today: by a shell, as sshd does,
// since the agent starts what a document names without one. Where the command
// looks at what the client asked for, that comes as a parameter without
// anything that quotes or ends a word but the blank.
func forcedCommand(command string) sessionDocument {
	d := sessionDocument{SchemaVersion: "1.0", SessionType: "NonInteractiveCommands", Description: "Run the command that an SSH key forced"}
	line := "sh -c " + quoted(command)
	if strings.Contains(command, "SSH_ORIGINAL_COMMAND") {
		d.Parameters = map[string]parameter{"command": {Type: "String", Description: "What the forced command is asked to do (SSH_ORIGINAL_COMMAND)", Pattern: `^[A-Za-z0-9_./:=@,+ -]{1,1000}$`}}
		line = "env SSH_ORIGINAL_COMMAND='{{ command }}' " + line
	}
	d.Properties = map[string]any{"linux": map[string]any{"commands": line, "runAsElevated": false}}
	return d
}

// quoted is one word to a shell and to the agent.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
