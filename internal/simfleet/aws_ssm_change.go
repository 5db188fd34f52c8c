package simfleet

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

var ssmChanges = map[string]operation{
	"CreateDocument":               createDocument,
	"UpdateDocument":               updateDocument,
	"UpdateDocumentDefaultVersion": updateDefaultVersion,
	"DeleteDocument":               deleteDocument,
	"UpdateServiceSetting":         updateServiceSetting,
	"ResetServiceSetting":          resetServiceSetting,
}

// maxDocument is the quota of a document's size.
const maxDocument = 64 << 10

// versions are the versions of a session document. Only the default one counts.
type versions struct {
	first    int // number of the first one that is known here
	contents []string
	standard int // number of the default version
}

func (v versions) latest() int { return v.first + len(v.contents) - 1 }

func (v versions) content(number int) (string, bool) {
	i := number - v.first
	if i < 0 || i >= len(v.contents) {
		return "", false
	}
	return v.contents[i], true
}

// number reads a version of a request: "$LATEST", "$DEFAULT", a number, or
// nothing for the default one.
func (v versions) number(text string) int {
	switch text {
	case "", "$DEFAULT":
		return v.standard
	case "$LATEST":
		return v.latest()
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return -1
	}
	return n
}

// versionsOf gives the versions of a document of the account. A content that
// changed in the model itself is a document with one version.
func (rg *Region) versionsOf(name string) (versions, bool) {
	content, number := rg.Preferences, 1
	if name != fleet.PreferencesName {
		d := find(rg.Documents, func(d *fleet.SessionDocument) bool { return d.Name == name })
		if d == nil {
			return versions{}, false
		}
		content = d.Content.Value
		if n, err := strconv.Atoi(d.Version); err == nil {
			number = n
		}
	} else if content == "" {
		return versions{}, false
	}
	if v, ok := rg.versions[name]; ok {
		if now, _ := v.content(v.standard); now == content {
			return v, true
		}
	}
	return versions{number, []string{content}, number}, true
}

// setVersions makes the default version the document's content.
func (rg *Region) setVersions(name string, v versions) {
	if rg.versions == nil {
		rg.versions = map[string]versions{}
	}
	rg.versions[name] = v
	content, _ := v.content(v.standard)
	if name == fleet.PreferencesName {
		rg.Preferences = content
		return
	}
	d := &fleet.SessionDocument{Name: name, Owner: rg.Account.ID, Version: strconv.Itoa(v.standard), Content: fleet.Known(content, "", time.Time{})}
	rg.Documents = append(slices.DeleteFunc(slices.Clone(rg.Documents), func(x *fleet.SessionDocument) bool { return x.Name == name }), d)
	slices.SortFunc(rg.Documents, func(a, b *fleet.SessionDocument) int { return cmp.Compare(a.Name, b.Name) })
}

type documentRequest struct {
	Name            string
	Content         string
	DocumentType    string
	DocumentFormat  string
	DocumentVersion string
	Tags            []tag
}

func documentProblem(content string) error {
	if len(content) > maxDocument {
		return refuse("MaxDocumentSizeExceeded", "The size limit of a document is 64 KB.")
	}
	in, err := fleet.ParseSessionDocument(content)
	switch {
	case err != nil:
		return refuse("InvalidDocumentContent", "The content of the document is not valid: %v", err)
	case len(in.Problems) > 0:
		return refuse("InvalidDocumentContent", "The content of the document is not valid: %s", in.Problems[0])
	case !slices.Contains([]string{"Standard_Stream", "InteractiveCommands", "NonInteractiveCommands", "Port"}, in.Type):
		return refuse("InvalidDocumentContent", "The content of the document is not valid: sessionType %q", in.Type)
	}
	return nil
}

// ownVersions finds a document that the account may change.
func (c *call) ownVersions(name string) (versions, error) {
	v, ok := c.region.versionsOf(name)
	if !ok {
		return v, refuse("InvalidDocument", "Document with name %s does not exist.", name)
	}
	return v, nil
}

func (c *call) documentDescription(name string, number int) map[string]any {
	v, _ := c.region.versionsOf(name)
	out := c.documentIdentifier(&fleet.SessionDocument{Name: name, Owner: c.account.ID, Version: strconv.Itoa(number)})
	out["Status"], out["DefaultVersion"], out["LatestVersion"] = "Active", strconv.Itoa(v.standard), strconv.Itoa(v.latest())
	return map[string]any{"DocumentDescription": out}
}

func createDocument(c *call) (any, error) {
	var in documentRequest
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	switch {
	case len(in.Name) < 3 || len(in.Name) > 128 || !madeOf(in.Name, "-_."):
		return nil, refuse("ValidationException", "1 validation error detected: Value '%s' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9_\\-.]{3,128}$", in.Name)
	case in.DocumentType != "Session":
		return nil, refuse("ValidationException", "the simulated AWS keeps documents of type Session alone, not %q", in.DocumentType)
	case in.DocumentFormat != "" && in.DocumentFormat != "JSON":
		return nil, refuse("ValidationException", "the simulated AWS keeps documents in JSON alone")
	}
	if err := documentProblem(in.Content); err != nil {
		return nil, err
	}
	if find(c.region.documents(), func(d *fleet.SessionDocument) bool { return d.Name == in.Name }) != nil {
		return nil, refuse("DocumentAlreadyExists", "Document with same name %s already exists", in.Name)
	}
	c.region.setVersions(in.Name, versions{1, []string{in.Content}, 1})
	tags := map[string]string{}
	for _, t := range in.Tags {
		tags[t.Key] = t.Value
	}
	c.region.setTags(in.Name, tags)
	return c.documentDescription(in.Name, 1), nil
}

// updateDocument adds a version. It is not the default one until
// UpdateDocumentDefaultVersion says so.
func updateDocument(c *call) (any, error) {
	var in documentRequest
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	v, err := c.ownVersions(in.Name)
	if err != nil {
		return nil, err
	}
	if in.DocumentVersion != "" && v.number(in.DocumentVersion) != v.latest() {
		return nil, refuse("InvalidDocumentVersion", "The document version is not valid or does not exist: only the latest version can be updated.")
	}
	if err := documentProblem(in.Content); err != nil {
		return nil, err
	}
	if now, _ := v.content(v.latest()); now == in.Content {
		return nil, refuse("DuplicateDocumentContent", "Document content is a duplicate of version %d.", v.latest())
	}
	v.contents = append(slices.Clone(v.contents), in.Content)
	c.region.setVersions(in.Name, v)
	return c.documentDescription(in.Name, v.latest()), nil
}

func updateDefaultVersion(c *call) (any, error) {
	var in documentRequest
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	v, err := c.ownVersions(in.Name)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(in.DocumentVersion)
	if _, ok := v.content(n); err != nil || !ok {
		return nil, refuse("InvalidDocumentVersion", "The document version is not valid or does not exist.")
	}
	v.standard = n
	c.region.setVersions(in.Name, v)
	return map[string]any{"Description": map[string]string{"Name": in.Name, "DefaultVersion": in.DocumentVersion}}, nil
}

func deleteDocument(c *call) (any, error) {
	var in documentRequest
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	v, err := c.ownVersions(in.Name)
	switch {
	case err != nil:
		return nil, err
	case in.DocumentVersion != "" && v.number(in.DocumentVersion) == v.standard && len(v.contents) > 1:
		return nil, refuse("InvalidDocumentOperation", "The default version of a document cannot be deleted.")
	case in.DocumentVersion != "" && len(v.contents) > 1:
		return nil, refuse("InvalidDocumentOperation", "the simulated AWS deletes documents as a whole")
	}
	delete(c.region.Tags, in.Name)
	if in.Name == fleet.PreferencesName {
		c.region.Preferences = ""
	} else {
		c.region.Documents = slices.DeleteFunc(slices.Clone(c.region.Documents), func(d *fleet.SessionDocument) bool { return d.Name == in.Name })
	}
	delete(c.region.versions, in.Name)
	return struct{}{}, nil
}

func listDocumentVersions(c *call) (any, error) {
	var in struct {
		Name       string
		MaxResults *int
		NextToken  string
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	v, err := c.ownVersions(in.Name)
	if err != nil {
		return nil, err
	}
	var rows []map[string]any
	for n := v.latest(); n >= v.first; n-- {
		rows = append(rows, map[string]any{
			"Name": in.Name, "DocumentVersion": strconv.Itoa(n), "CreatedDate": 1614589200, "IsDefaultVersion": n == v.standard, "DocumentFormat": "JSON", "Status": "Active",
		})
	}
	rows, next, err := jsonPage(c, rows, in.MaxResults, in.NextToken, 50, "ValidationException", "InvalidNextToken")
	return struct {
		DocumentVersions []map[string]any
		NextToken        string `json:",omitempty"`
	}{rows, next}, err
}

// settingName reads a setting's ID or ARN.
func (c *call) settingName(id string) (string, error) {
	name := strings.TrimPrefix(id, c.settingPrefix())
	if _, ok := serviceSettings[name]; !ok {
		return "", refuse("ServiceSettingNotFound", "%s is not a service setting", id)
	}
	return name, nil
}

func (c *call) settingPrefix() string {
	return "arn:aws:ssm:" + c.region.Name + ":" + c.account.ID + ":servicesetting"
}

func updateServiceSetting(c *call) (any, error) {
	var in struct {
		ID    string `json:"SettingId"`
		Value string `json:"SettingValue"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	name, err := c.settingName(in.ID)
	if err != nil {
		return nil, err
	}
	if in.Value == "" {
		return nil, refuse("ValidationException", "1 validation error detected: Value at 'settingValue' failed to satisfy constraint: Member must have length greater than or equal to 1")
	}
	c.region.setSetting(name, in.Value)
	return struct{}{}, nil
}

func resetServiceSetting(c *call) (any, error) {
	var in struct {
		ID string `json:"SettingId"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	name, err := c.settingName(in.ID)
	if err != nil {
		return nil, err
	}
	c.region.setSetting(name, serviceSettings[name])
	return map[string]any{"ServiceSetting": c.setting(name)}, nil
}

// setSetting keeps a setting; the default value is as good as none.
func (rg *Region) setSetting(name, value string) {
	if value == serviceSettings[name] {
		value = ""
	}
	if name == defaultRoleSetting {
		rg.DefaultRole = value
		return
	}
	rg.settings = maps.Clone(rg.settings)
	if rg.settings == nil {
		rg.settings = map[string]string{}
	}
	rg.settings[name] = value
}

// setting is a setting as Systems Manager shows it.
func (c *call) setting(name string) map[string]any {
	value, status := serviceSettings[name], "Default"
	own := c.region.settings[name]
	if name == defaultRoleSetting {
		own = c.region.DefaultRole
	}
	if own != "" {
		value, status = own, "Customized"
	}
	return map[string]any{
		"SettingId": name, "SettingValue": value, "Status": status, "ARN": c.settingPrefix() + name, "LastModifiedUser": "System", "LastModifiedDate": 1614589200,
	}
}
