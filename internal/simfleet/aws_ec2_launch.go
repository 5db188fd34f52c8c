package simfleet

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"ssm-migrate/internal/fleet"
)

const fiveMinutes = 5 * time.Minute

func describeRegions(c *call) (any, error) {
	type region struct {
		Name     string `xml:"regionName"`
		Endpoint string `xml:"regionEndpoint"`
		OptIn    string `xml:"optInStatus"`
	}
	rows, _, err := table[*Region]{
		rows: c.account.Regions, id: func(rg *Region) string { return rg.Name }, ids: "RegionName", absent: "InvalidParameterValue",
		filter: map[string]func(*Region) []string{
			"region-name":   one(func(rg *Region) string { return rg.Name }),
			"endpoint":      one(func(rg *Region) string { return "ec2." + rg.Name + ".amazonaws.com" }),
			"opt-in-status": one(func(*Region) string { return "opt-in-not-required" }),
		},
	}.page(c)
	if err != nil {
		return nil, err
	}
	var out struct {
		Regions itemSet[region] `xml:"regionInfo"`
	}
	out.Regions = itemsOf(rows, func(rg *Region) region {
		return region{rg.Name, "ec2." + rg.Name + ".amazonaws.com", "opt-in-not-required"}
	})
	return out, nil
}

func describeKeyPairs(c *call) (any, error) {
	t := table[*fleet.KeyPair]{
		rows: c.region.KeyPairs, id: func(k *fleet.KeyPair) string { return k.Name }, ids: "KeyName", absent: "InvalidKeyPair.NotFound",
		filter: map[string]func(*fleet.KeyPair) []string{
			"key-name":    one(func(k *fleet.KeyPair) string { return k.Name }),
			"key-pair-id": one(func(k *fleet.KeyPair) string { return k.ID }),
			"fingerprint": one(c.region.keyPairFingerprint),
		},
		tags: func(k *fleet.KeyPair) map[string]string { return c.region.tagged(k.ID) },
	}
	if c.form.Has("KeyPairId.1") {
		t.id, t.ids = func(k *fleet.KeyPair) string { return k.ID }, "KeyPairId"
	}
	rows, _, err := t.page(c)
	if err != nil {
		return nil, err
	}
	type pair struct {
		ID          string `xml:"keyPairId"`
		Fingerprint string `xml:"keyFingerprint"`
		Name        string `xml:"keyName"`
		Type        string `xml:"keyType"`
		Public      string `xml:"publicKey,omitempty"`
		Created     string `xml:"createTime"`

		Tags itemSet[tag] `xml:"tagSet"`
	}
	var out struct {
		Keys itemSet[pair] `xml:"keySet"`
	}
	out.Keys = itemsOf(rows, func(k *fleet.KeyPair) pair {
		p := pair{k.ID, c.region.keyPairFingerprint(k), k.Name, k.Type, "", "2021-03-01T09:00:00.000Z", tagSet(c.region.tagged(k.ID))}
		if c.form.Get("IncludePublicKey") == "true" {
			p.Public = k.PublicKey
		}
		return p
	})
	return out, nil
}

// keyPairFingerprint is SHA-256 of an ED25519 key. AWS-made RSA pairs have the
// SHA-1 of a private key that nobody has: it cannot be told from the public key.
func (rg *Region) keyPairFingerprint(k *fleet.KeyPair) string {
	if k.Type == "ed25519" {
		if key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(k.PublicKey)); err == nil {
			return strings.TrimPrefix(ssh.FingerprintSHA256(key), "SHA256:") + "="
		}
	}
	if rg.Imported[k.ID] {
		return importedFingerprint(k)
	}
	sum := sha1.Sum([]byte(k.ID))
	var parts []string
	for _, b := range sum {
		parts = append(parts, hex.EncodeToString([]byte{b}))
	}
	return strings.Join(parts, ":")
}

func (c *call) templates() table[*fleet.LaunchTemplate] {
	t := table[*fleet.LaunchTemplate]{
		rows: c.region.Templates, id: func(l *fleet.LaunchTemplate) string { return l.ID }, ids: "LaunchTemplateId", absent: "InvalidLaunchTemplateId.NotFound", min: 1,
		tags:   func(l *fleet.LaunchTemplate) map[string]string { return c.region.tagged(l.ID) },
		filter: map[string]func(*fleet.LaunchTemplate) []string{"launch-template-name": one(func(l *fleet.LaunchTemplate) string { return l.Name })},
	}
	if c.form.Has("LaunchTemplateName.1") {
		t.id, t.ids, t.absent = func(l *fleet.LaunchTemplate) string { return l.Name }, "LaunchTemplateName", "InvalidLaunchTemplateName.NotFoundException"
	}
	return t
}

func describeLaunchTemplates(c *call) (any, error) {
	rows, next, err := c.templates().page(c)
	if err != nil {
		return nil, err
	}
	var out struct {
		Templates itemSet[xmlTemplate] `xml:"launchTemplates"`
		Next      string               `xml:"nextToken,omitempty"`
	}
	out.Next = next
	out.Templates = itemsOf(rows, c.launchTemplateXML)
	return out, nil
}

type templateProfile struct {
	ARN  string `xml:"arn,omitempty"`
	Name string `xml:"name,omitempty"`
}

type groupIDs struct {
	IDs []string `xml:"groupId"`
}

type templateInterface struct {
	Index  int      `xml:"deviceIndex"`
	Public string   `xml:"associatePublicIpAddress,omitempty"`
	Subnet string   `xml:"subnetId,omitempty"`
	Groups groupIDs `xml:"groupSet"`
}

type templateTags struct {
	Type string       `xml:"resourceType"`
	Tags itemSet[tag] `xml:"tagSet"`
}

type templateData struct {
	ImageID    string                     `xml:"imageId,omitempty"`
	Type       string                     `xml:"instanceType,omitempty"`
	KeyName    string                     `xml:"keyName,omitempty"`
	Profile    *templateProfile           `xml:"iamInstanceProfile"`
	Groups     itemSet[string]            `xml:"securityGroupIdSet"`
	Interfaces itemSet[templateInterface] `xml:"networkInterfaceSet"`
	Tags       itemSet[templateTags]      `xml:"tagSpecificationSet"`
	UserData   string                     `xml:"userData,omitempty"`
	Metadata   xmlMetadata                `xml:"metadataOptions"`
}

type templateVersion struct {
	ID          string       `xml:"launchTemplateId"`
	Name        string       `xml:"launchTemplateName"`
	Number      int64        `xml:"versionNumber"`
	Description string       `xml:"versionDescription,omitempty"`
	Created     string       `xml:"createTime"`
	By          string       `xml:"createdBy"`
	Default     bool         `xml:"defaultVersion"`
	Data        templateData `xml:"launchTemplateData"`
}

// userData is what every generated version with user data holds.
var userData = base64.StdEncoding.EncodeToString([]byte("#cloud-config\nssh:\n  - always\n"))

func (c *call) versionDataXML(l *fleet.LaunchTemplate, v fleet.TemplateVersion) templateVersion {
	d, known := c.region.Launches[launchKey(l.ID, v.Number)]
	x := templateVersion{ID: l.ID, Name: l.Name, Number: v.Number, Description: d.Description, Created: templateCreated, Default: v.Number == l.Default, By: "arn:aws:iam::" + c.account.ID + ":root",
		Data: templateData{ImageID: v.ImageID, Type: d.InstanceType, KeyName: v.KeyName, UserData: d.UserData, Metadata: xmlMetadata{"", v.Metadata.Tokens, v.Metadata.HopLimit, v.Metadata.Endpoint}}}
	if known {
		x.Created = timestamp(d.Created)
	} else if v.UserData {
		x.Data.UserData = userData
	}
	if d.Interface {
		n := templateInterface{Subnet: d.Subnet, Groups: groupIDs{v.Groups}}
		if d.PublicIP != nil {
			n.Public = strconv.FormatBool(*d.PublicIP)
		}
		x.Data.Interfaces.Items = []templateInterface{n}
	} else {
		x.Data.Groups.Items = v.Groups
	}
	if len(d.Tags) > 0 {
		x.Data.Tags.Items = []templateTags{{"instance", tagSet(d.Tags)}}
	}
	if strings.HasPrefix(v.Profile, "arn:") {
		x.Data.Profile = &templateProfile{ARN: v.Profile}
	} else if v.Profile != "" {
		x.Data.Profile = &templateProfile{Name: v.Profile}
	}
	return x
}

// fleetVersion is a version together with its template.
type fleetVersion struct {
	fleet.TemplateVersion
	template *fleet.LaunchTemplate
}

func describeTemplateVersions(c *call) (any, error) {
	rows, err := c.wantedVersions()
	if err != nil {
		return nil, err
	}
	size := 200
	if s := c.form.Get("MaxResults"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 200 {
			return nil, refuse("InvalidParameterValue", "MaxResults must be between 1 and 200")
		}
		size = n
	}
	start, err := c.offset(c.form.Get("NextToken"), len(rows), "InvalidNextToken")
	if err != nil {
		return nil, err
	}
	var out struct {
		Versions itemSet[templateVersion] `xml:"launchTemplateVersionSet"`
		Next     string                   `xml:"nextToken,omitempty"`
	}
	end := min(start+size, len(rows))
	out.Versions = itemsOf(rows[start:end], func(v *fleetVersion) templateVersion { return c.versionDataXML(v.template, v.TemplateVersion) })
	if end < len(rows) {
		out.Next = c.pageToken(end)
	}
	return out, nil
}

// wantedVersions gives the versions of one template, or, as EC2 allows, the
// $Latest and $Default ones of all.
func (c *call) wantedVersions() ([]*fleetVersion, error) {
	id, name, want := c.form.Get("LaunchTemplateId"), c.form.Get("LaunchTemplateName"), c.list("LaunchTemplateVersion")
	templates := c.region.Templates
	if id != "" || name != "" {
		l := find(templates, func(l *fleet.LaunchTemplate) bool { return id != "" && l.ID == id || name != "" && l.Name == name })
		if l == nil && id != "" {
			return nil, refuse("InvalidLaunchTemplateId.NotFound", "The specified launch template, with template ID %s, does not exist.", id)
		}
		if l == nil {
			return nil, refuse("InvalidLaunchTemplateName.NotFoundException", "The specified launch template, with template name %s, does not exist.", name)
		}
		templates = []*fleet.LaunchTemplate{l}
	} else if len(want) == 0 || slices.ContainsFunc(want, func(v string) bool { return !strings.HasPrefix(v, "$") }) {
		return nil, refuse("MissingParameter", "Either a launch template ID or name, or the versions $Latest or $Default are required")
	}
	var out []*fleetVersion
	for _, l := range templates {
		for _, v := range slices.Backward(l.Versions) {
			wanted := len(want) == 0 || slices.Contains(want, strconv.FormatInt(v.Number, 10)) ||
				slices.Contains(want, "$Latest") && v.Number == l.Latest || slices.Contains(want, "$Default") && v.Number == l.Default
			if wanted {
				out = append(out, &fleetVersion{v, l})
			}
		}
	}
	return out, nil
}
