package simfleet

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// The types of sessions, and what a port session's properties say when it
// forwards a port of the client. Source: Systems Manager User Guide,
// session-manager-schema.
const (
	kindShell           = "Standard_Stream"
	kindInteractive     = "InteractiveCommands"
	kindNonInteractive  = "NonInteractiveCommands"
	kindPort            = "Port"
	localPortForwarding = "LocalPortForwarding"
)

// sessionSpec is what a session document asks for, parameters filled in.
type sessionSpec struct {
	document   *fleet.SessionDocument
	kind       string
	inputs     fleet.SessionInputs // the document's own, or the Region's preferences
	properties any                 // as the client is told them

	port       portProperties
	command    string
	elevated   bool // runs as root
	separately bool // standard error is told apart, and the exit code is sent
}

type portProperties struct {
	Port      string `json:"portNumber"`
	LocalPort string `json:"localPortNumber"`
	Host      string `json:"host"`
	Type      string `json:"type"`
}

type commandProperties struct {
	Linux struct {
		Commands   string `json:"commands"`
		Elevated   any    `json:"runAsElevated"`
		Separately any    `json:"separateOutputStream"`
	} `json:"linux"`
}

type documentParameter struct {
	Type    string   `json:"type"`
	Default any      `json:"default"`
	Pattern string   `json:"allowedPattern"`
	Values  []string `json:"allowedValues"`
}

type documentText struct {
	Type       string                       `json:"sessionType"`
	Inputs     json.RawMessage              `json:"inputs"`
	Parameters map[string]documentParameter `json:"parameters"`
	Properties any                          `json:"properties"`
}

// commandDocuments are documents of AWS for Run Command: no session starts
// with them.
var commandDocuments = []string{"AWS-RunShellScript", "AWS-RunPowerShellScript", "AWS-UpdateSSMAgent", "AWS-ConfigureAWSPackage", "AWS-RunRemoteScript", "AWS-RunPatchBaseline"}

// sessionDocument finds the document that StartSession names. Without a name
// it is the preferences; an account without them has AWS's defaults.
func (c *call) sessionDocument(name string) (*fleet.SessionDocument, error) {
	named := name != ""
	name = cmp.Or(name[strings.LastIndexAny(name, "/")+1:], fleet.PreferencesName)
	if slices.Contains(commandDocuments, name) {
		return nil, refuse("InvalidDocument", "Document type: 'Command' is not supported. Only type: 'Session' is supported for Session Manager.")
	}
	d := find(c.region.documents(), func(d *fleet.SessionDocument) bool { return d.Name == name })
	switch {
	case d != nil:
		return d, nil
	case named:
		return nil, refuse("InvalidDocument", "Document with name %s does not exist.", name)
	}
	return &fleet.SessionDocument{Name: name, Owner: c.account.ID, Content: fleet.Known(`{"schemaVersion":"1.0","sessionType":"`+kindShell+`"}`, "", c.w.Now())}, nil
}

// specOf reads a document and fills in parameters.
func (rg *Region) specOf(d *fleet.SessionDocument, parameters map[string][]string) (*sessionSpec, error) {
	var text documentText
	if err := json.Unmarshal([]byte(d.Content.Value), &text); err != nil {
		return nil, refuse("InvalidDocument", "The content of document %s is not valid: %v", d.Name, err)
	}
	values, err := text.values(parameters)
	if err != nil {
		return nil, err
	}
	s := &sessionSpec{document: d, kind: text.Type, properties: filled(text.Properties, values)}
	switch {
	case len(text.Inputs) > 0:
		s.inputs = preferences(d.Content.Value)
	case rg.Preferences != "":
		s.inputs = preferences(rg.Preferences)
	}
	s.inputs.IdleTimeout = cmp.Or(s.inputs.IdleTimeout, fleet.DefaultIdleTimeout)
	return s, s.readProperties()
}

func (s *sessionSpec) readProperties() error {
	raw := must(json.Marshal(s.properties))
	switch s.kind {
	case kindPort:
		if err := json.Unmarshal(raw, &s.port); err != nil || s.port.Port == "" {
			return refuse("InvalidDocument", "The properties of document %s name no port number.", s.document.Name)
		}
	case kindInteractive, kindNonInteractive:
		var p commandProperties
		if err := json.Unmarshal(raw, &p); err != nil {
			return refuse("InvalidDocument", "The properties of document %s are not valid: %v", s.document.Name, err)
		}
		s.command, s.elevated, s.separately = p.Linux.Commands, isTrue(p.Linux.Elevated), isTrue(p.Linux.Separately)
		if strings.TrimSpace(s.command) == "" {
			return refuse("InvalidDocument", "The properties of document %s name no commands.", s.document.Name)
		}
	case kindShell:
	default:
		return refuse("InvalidDocument", "Document %s has no session type that is known.", s.document.Name)
	}
	return nil
}

// isTrue reads a boolean property, which a parameter gives as text.
func isTrue(v any) bool { return strings.EqualFold(fmt.Sprint(v), "true") }

// values gives every parameter's value: the caller's, or its default.
func (t documentText) values(given map[string][]string) (map[string]string, error) {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if _, ok := t.Parameters[name]; !ok {
			return nil, refuse("InvalidParameters", "Parameter %q is not defined in the document.", name)
		}
	}
	out := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(t.Parameters)) {
		p := t.Parameters[name]
		v := strings.Join(given[name], ",")
		switch {
		case len(given[name]) == 0 && p.Default == nil:
			return nil, refuse("InvalidParameters", "Parameter %q is required.", name)
		case len(given[name]) == 0:
			v = fmt.Sprint(p.Default)
		case p.Type != "StringList" && len(given[name]) > 1:
			return nil, refuse("InvalidParameters", "Parameter %q takes one value.", name)
		}
		if p.Pattern != "" {
			if re, err := regexp.Compile(p.Pattern); err != nil || !re.MatchString(v) {
				return nil, refuse("InvalidParameters", "Parameter %q does not match the allowed pattern %s.", name, p.Pattern)
			}
		}
		if len(p.Values) > 0 && !slices.Contains(p.Values, v) {
			return nil, refuse("InvalidParameters", "Parameter %q is none of the allowed values.", name)
		}
		out[name] = v
	}
	return out, nil
}

var placeholder = regexp.MustCompile(`\{\{\s*([A-Za-z0-9_]+)\s*\}\}`)

// filled puts values into the placeholders of a document's properties.
func filled(v any, values map[string]string) any {
	switch v := v.(type) {
	case string:
		return placeholder.ReplaceAllStringFunc(v, func(m string) string {
			name := placeholder.FindStringSubmatch(m)[1]
			if to, ok := values[name]; ok {
				return to
			}
			return m
		})
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			out[k] = filled(e, values)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = filled(e, values)
		}
		return out
	}
	return v
}
