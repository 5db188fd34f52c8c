package simfleet

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// documents are the session documents that the account sees in the Region:
// its preferences, its own, and Amazon's.
func (rg *Region) documents() []*fleet.SessionDocument {
	var out []*fleet.SessionDocument
	if v, ok := rg.versionsOf(fleet.PreferencesName); ok {
		out = append(out, &fleet.SessionDocument{Name: fleet.PreferencesName, Owner: rg.Account.ID, Version: strconv.Itoa(v.standard), Content: fleet.Known(rg.Preferences, "", time.Time{})})
	}
	out = append(out, rg.Documents...)
	for _, name := range slices.Sorted(maps.Keys(amazonDocuments)) {
		out = append(out, &fleet.SessionDocument{Name: name, Owner: "Amazon", Version: "1", Content: fleet.Known(amazonDocuments[name], "", time.Time{})})
	}
	return out
}

// portPattern is a port number or 0, as AWS's own documents check it.
const portPattern = `"allowedPattern":"^([0-9]|[1-9][0-9]{1,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$"`

// amazonDocuments are session documents that AWS owns, as far as a fleet meets
// them. Source: Systems Manager User Guide, "Start a session".
var amazonDocuments = map[string]string{
	"AWS-StartSSHSession":                        `{"schemaVersion":"1.0","description":"Document to start SSH session over Session Manager","sessionType":"Port","parameters":{"portNumber":{"type":"String","description":"(Optional) Port number of SSH server on the instance",` + portPattern + `,"default":"22"}},"properties":{"portNumber":"{{ portNumber }}"}}`,
	"AWS-StartPortForwardingSession":             `{"schemaVersion":"1.0","description":"Document to start port forwarding session over Session Manager","sessionType":"Port","parameters":{"portNumber":{"type":"String",` + portPattern + `,"default":"80"},"localPortNumber":{"type":"String",` + portPattern + `,"default":"0"}},"properties":{"portNumber":"{{ portNumber }}","type":"LocalPortForwarding","localPortNumber":"{{ localPortNumber }}"}}`,
	"AWS-StartPortForwardingSessionToRemoteHost": `{"schemaVersion":"1.0","description":"Document to start port forwarding session over Session Manager to remote host","sessionType":"Port","parameters":{"host":{"type":"String","description":"(Optional) Hostname or IP address of the destination server","default":"localhost"},"portNumber":{"type":"String",` + portPattern + `,"default":"80"},"localPortNumber":{"type":"String",` + portPattern + `,"default":"0"}},"properties":{"portNumber":"{{ portNumber }}","type":"LocalPortForwarding","localPortNumber":"{{ localPortNumber }}","host":"{{ host }}"}}`,
	"AWS-StartInteractiveCommand":                `{"schemaVersion":"1.0","description":"Document to run single interactive command on an instance","sessionType":"InteractiveCommands","parameters":{"command":{"type":"String","description":"The command to run on the instance"}},"properties":{"linux":{"commands":"{{ command }}","runAsElevated":false}}}`,
	"AWS-StartNonInteractiveCommand":             `{"schemaVersion":"1.0","description":"Document to run single non-interactive command on an instance","sessionType":"NonInteractiveCommands","parameters":{"command":{"type":"String","description":"The command to run on the instance"}},"properties":{"linux":{"commands":"{{ command }}","runAsElevated":false}}}`,
}

func (c *call) document() (*fleet.SessionDocument, error) {
	var in struct {
		Name            string
		DocumentVersion string
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	name := in.Name[strings.LastIndex(in.Name, "/")+1:] // a document ARN will do
	d := find(c.region.documents(), func(d *fleet.SessionDocument) bool { return d.Name == name })
	if d == nil {
		return nil, refuse("InvalidDocument", "Document with name %s does not exist.", in.Name)
	}
	v := versions{1, []string{d.Content.Value}, 1}
	if own, ok := c.region.versionsOf(d.Name); ok {
		v = own
	}
	number := v.number(in.DocumentVersion)
	content, ok := v.content(number)
	if !ok {
		return nil, refuse("InvalidDocumentVersion", "Version %s of document %s does not exist.", in.DocumentVersion, in.Name)
	}
	wanted := *d
	wanted.Version, wanted.Content.Value = strconv.Itoa(number), content
	return &wanted, nil
}

func getDocument(c *call) (any, error) {
	d, err := c.document()
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"Name": d.Name, "DocumentVersion": cmp.Or(d.Version, "1"), "Status": "Active", "Content": d.Content.Value, "DocumentType": "Session", "DocumentFormat": "JSON", "CreatedDate": 1614589200,
	}, nil
}

func (c *call) documentIdentifier(d *fleet.SessionDocument) map[string]any {
	return map[string]any{
		"Tags": tagSet(c.region.tagged(d.Name)).Items,
		"Name": d.Name, "Owner": d.Owner, "DocumentVersion": cmp.Or(d.Version, "1"), "DocumentType": "Session", "DocumentFormat": "JSON", "SchemaVersion": "1.0",
		"PlatformTypes": []string{"Windows", "Linux", "MacOS"}, "CreatedDate": 1614589200,
	}
}

func describeDocument(c *call) (any, error) {
	d, err := c.document()
	if err != nil {
		return nil, err
	}
	out := c.documentIdentifier(d)
	sum := sha256.Sum256([]byte(d.Content.Value))
	out["Status"], out["DefaultVersion"], out["LatestVersion"] = "Active", "1", "1"
	if v, ok := c.region.versionsOf(d.Name); ok {
		out["DefaultVersion"], out["LatestVersion"] = strconv.Itoa(v.standard), strconv.Itoa(v.latest())
	}
	out["Hash"], out["HashType"] = hex.EncodeToString(sum[:]), "Sha256"
	return map[string]any{"Document": out}, nil
}

// documentFilters are the filters of ListDocuments and what a value of theirs
// means to a document.
var documentFilters = map[string]func(c *call, d *fleet.SessionDocument, value string) bool{
	"DocumentType": func(_ *call, _ *fleet.SessionDocument, v string) bool { return v == "Session" },
	"Owner": func(c *call, d *fleet.SessionDocument, v string) bool {
		switch v {
		case "All":
			return true
		case "Self":
			return d.Owner == c.account.ID
		case "Amazon", "Public":
			return d.Owner == "Amazon"
		}
		return false
	},
	"Name": func(_ *call, d *fleet.SessionDocument, v string) bool { return strings.HasPrefix(d.Name, v) },
	"PlatformTypes": func(_ *call, _ *fleet.SessionDocument, v string) bool {
		return slices.Contains([]string{"Windows", "Linux", "MacOS"}, v)
	},
}

func listDocuments(c *call) (any, error) {
	var in struct {
		MaxResults *int
		NextToken  string
		Filters    []nodeFilter
		Old        []struct{ Key, Value string } `json:"DocumentFilterList"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	for _, f := range in.Old {
		in.Filters = append(in.Filters, nodeFilter{f.Key, []string{f.Value}})
	}
	rows := c.region.documents()
	for _, f := range in.Filters {
		matches := documentFilters[f.Key]
		if matches == nil {
			return nil, refuse("InvalidFilterKey", "%s is not a valid filter key", f.Key)
		}
		rows = filter(rows, func(d *fleet.SessionDocument) bool {
			return slices.ContainsFunc(f.Values, func(v string) bool { return matches(c, d, v) })
		})
	}
	rows, next, err := jsonPage(c, rows, in.MaxResults, in.NextToken, 50, "ValidationException", "InvalidNextToken")
	return struct {
		DocumentIdentifiers []map[string]any
		NextToken           string `json:",omitempty"`
	}{mapped(rows, c.documentIdentifier), next}, err
}

type sessionInfo struct {
	ID        string `json:"SessionId"`
	Target    string
	Status    string
	StartDate *seconds `json:",omitempty"`
	EndDate   *seconds `json:",omitempty"`
	Document  string   `json:"DocumentName"`
	Owner     string
	Access    string `json:"AccessType"`
}

// sessionHistory is for how long Systems Manager tells of a session that ended.
// Source: General Reference, Systems Manager quotas.
const sessionHistory = 30 * 24 * time.Hour

func sessionJSON(s *fleet.ManagedSession) sessionInfo {
	start, end := seconds(s.Start), seconds(s.End)
	x := sessionInfo{ID: s.ID, Target: s.Target, Status: s.Status, StartDate: &start, EndDate: &end, Document: cmp.Or(s.Document, fleet.PreferencesName), Owner: s.Owner, Access: "Standard"}
	if s.End.IsZero() {
		x.EndDate = nil
	}
	return x
}

var sessionFilters = map[string]func(s *fleet.ManagedSession, value string) bool{
	"Target":        func(s *fleet.ManagedSession, v string) bool { return s.Target == v },
	"Owner":         func(s *fleet.ManagedSession, v string) bool { return s.Owner == v },
	"Status":        func(s *fleet.ManagedSession, v string) bool { return s.Status == v },
	"SessionId":     func(s *fleet.ManagedSession, v string) bool { return s.ID == v },
	"AccessType":    func(_ *fleet.ManagedSession, v string) bool { return v == "Standard" },
	"InvokedAfter":  func(s *fleet.ManagedSession, v string) bool { return s.Start.After(filterTime(v)) },
	"InvokedBefore": func(s *fleet.ManagedSession, v string) bool { return s.Start.Before(filterTime(v)) },
}

// filterTime reads a filter's time; one that is none lies before all sessions.
func filterTime(v string) time.Time {
	t, _ := time.Parse(time.RFC3339, v)
	return t
}

func describeSessions(c *call) (any, error) {
	var in struct {
		State      string
		MaxResults *int
		NextToken  string
		Filters    []struct {
			Key   string `json:"key"`
			Value string `json:"value"`
		}
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if in.State != "Active" && in.State != "History" {
		return nil, refuse("ValidationException", "1 validation error detected: Value '%s' at 'state' failed to satisfy constraint: Member must satisfy enum value set: [Active, History]", in.State)
	}
	now := c.w.Now()
	rows := filter(c.region.ManagedSessions, func(s *fleet.ManagedSession) bool {
		if s.End.IsZero() {
			return in.State == "Active"
		}
		return in.State == "History" && now.Sub(s.End) <= sessionHistory
	})
	for _, f := range in.Filters {
		matches := sessionFilters[f.Key]
		if matches == nil {
			return nil, refuse("InvalidFilterKey", "%s is not a valid filter key", f.Key)
		}
		rows = filter(rows, func(s *fleet.ManagedSession) bool { return matches(s, f.Value) })
	}
	rows, next, err := jsonPage(c, rows, in.MaxResults, in.NextToken, 200, "ValidationException", "InvalidNextToken")
	return struct {
		Sessions  []sessionInfo
		NextToken string `json:",omitempty"`
	}{mapped(rows, sessionJSON), next}, err
}
