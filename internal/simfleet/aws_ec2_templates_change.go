package simfleet

import (
	"crypto/md5"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"ssm-migrate/internal/fleet"
)

var ec2TemplateChanges = map[string]operation{
	"CreateLaunchTemplate":        createTemplate,
	"CreateLaunchTemplateVersion": createTemplateVersion,
	"ModifyLaunchTemplate":        modifyTemplate,
	"DeleteLaunchTemplate":        deleteTemplate,
	"ImportKeyPair":               importKeyPair,
	"DeleteKeyPair":               deleteKeyPair,
}

// LaunchData is what a launch template version has beyond fleet's own words.
type LaunchData struct {
	InstanceType string
	Interface    bool  // the security groups are those of the primary network interface
	PublicIP     *bool // nil: as the subnet has it
	Subnet       string
	UserData     string            // Base64
	Tags         map[string]string // of instances
	Description  string
	Created      time.Time
}

// launchKey names a version in Region.Launches.
func launchKey(template string, version int64) string {
	return template + "/" + strconv.FormatInt(version, 10)
}

// templateData reads LaunchTemplateData over a version that it builds on.
func (c *call) templateData(v fleet.TemplateVersion, d LaunchData) (fleet.TemplateVersion, LaunchData, error) {
	const p = "LaunchTemplateData."
	if !c.hasPrefix(p) {
		return v, d, c.missing("LaunchTemplateData")
	}
	set := func(into *string, name string) {
		if s := c.form.Get(p + name); s != "" {
			*into = s
		}
	}
	set(&v.ImageID, "ImageId")
	set(&v.KeyName, "KeyName")
	set(&v.Profile, "IamInstanceProfile.Name")
	set(&v.Profile, "IamInstanceProfile.Arn")
	set(&d.InstanceType, "InstanceType")
	set(&d.UserData, "UserData")
	if _, err := base64.StdEncoding.DecodeString(d.UserData); err != nil {
		return v, d, refuse("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.")
	}
	v.UserData = v.UserData || d.UserData != ""
	if groups := c.list(p + "SecurityGroupId"); len(groups) > 0 {
		v.Groups, d.Interface = groups, false
	}
	for _, n := range c.members(p + "NetworkInterface") {
		if i := c.form.Get(n + ".DeviceIndex"); i != "" && i != "0" {
			continue
		}
		d.Interface = true
		if groups := c.list(n + ".SecurityGroupId"); len(groups) > 0 {
			v.Groups = groups
		}
		if s := c.form.Get(n + ".AssociatePublicIpAddress"); s != "" {
			public := s == "true"
			d.PublicIP = &public
		}
		if s := c.form.Get(n + ".SubnetId"); s != "" {
			d.Subnet = s
		}
	}
	if d.Interface && c.form.Has(p+"SecurityGroupId.1") {
		return v, d, refuse("InvalidParameterCombination", "Network interfaces and an instance-level security groups may not be specified on the same request")
	}
	for _, t := range c.members(p + "TagSpecification") {
		if c.form.Get(t+".ResourceType") == "instance" {
			d.Tags = c.pairs(t + ".Tag")
		}
	}
	var err error
	v.Metadata, err = c.metadataOptions(p+"MetadataOptions.", v.Metadata)
	d.Description, d.Created = c.form.Get("VersionDescription"), c.w.Now()
	return v, d, err
}

type xmlTemplate struct {
	ID      string       `xml:"launchTemplateId"`
	Name    string       `xml:"launchTemplateName"`
	Created string       `xml:"createTime"`
	By      string       `xml:"createdBy"`
	Default int64        `xml:"defaultVersionNumber"`
	Latest  int64        `xml:"latestVersionNumber"`
	Tags    itemSet[tag] `xml:"tagSet"`
}

// templateCreated is when the generated templates were made.
const templateCreated = "2022-05-01T09:00:00.000Z"

func (c *call) launchTemplateXML(l *fleet.LaunchTemplate) xmlTemplate {
	x := xmlTemplate{l.ID, l.Name, templateCreated, "arn:aws:iam::" + c.account.ID + ":root", l.Default, l.Latest, tagSet(c.region.tagged(l.ID))}
	if d, ok := c.region.Launches[launchKey(l.ID, 1)]; ok {
		x.Created = timestamp(d.Created)
	}
	return x
}

type templateAnswer struct {
	Template xmlTemplate `xml:"launchTemplate"`
}

func createTemplate(c *call) (any, error) {
	if err := c.missing("LaunchTemplateName"); err != nil {
		return nil, err
	}
	id, made, keep, err := c.once(c.form.Get("ClientToken"), c.formRequest())
	if err != nil {
		return nil, err
	}
	name := c.form.Get("LaunchTemplateName")
	if !made {
		switch {
		case len(name) < 3 || len(name) > 128 || !madeOf(name, "().-/_"):
			return nil, refuse("InvalidLaunchTemplateName.MalformedException", "A launch template name must be between 3 and 128 characters, and may contain letters, numbers, and the following characters: - ( ) . / _.")
		case find(c.region.Templates, func(l *fleet.LaunchTemplate) bool { return l.Name == name }) != nil:
			return nil, refuse("InvalidLaunchTemplateName.AlreadyExistsException", "Launch template name already in use.")
		}
		v, d, err := c.templateData(fleet.TemplateVersion{Number: 1}, LaunchData{})
		if err != nil {
			return nil, err
		}
		l := &fleet.LaunchTemplate{ID: c.w.newID("lt"), Name: name, Default: 1, Latest: 1, Versions: []fleet.TemplateVersion{v}}
		c.region.Templates = append(c.region.Templates, l)
		c.region.setLaunch(l.ID, 1, d)
		c.region.setTags(l.ID, c.specifiedTags("launch-template"))
		id = l.ID
		keep(id)
	}
	l, err := c.template(id, "")
	if err != nil {
		return nil, err
	}
	return templateAnswer{c.launchTemplateXML(l)}, nil
}

func (rg *Region) setLaunch(template string, version int64, d LaunchData) {
	if rg.Launches == nil {
		rg.Launches = map[string]LaunchData{}
	}
	rg.Launches[launchKey(template, version)] = d
}

// template finds a template by ID or name.
func (c *call) template(id, name string) (*fleet.LaunchTemplate, error) {
	l := find(c.region.Templates, func(l *fleet.LaunchTemplate) bool { return id != "" && l.ID == id || id == "" && l.Name == name })
	switch {
	case l != nil:
		return l, nil
	case id != "":
		return nil, refuse("InvalidLaunchTemplateId.NotFound", "The specified launch template, with template ID %s, does not exist.", id)
	}
	return nil, refuse("InvalidLaunchTemplateName.NotFoundException", "The specified launch template, with template name %s, does not exist.", name)
}

func (c *call) requestedTemplate() (*fleet.LaunchTemplate, error) {
	id, name := c.form.Get("LaunchTemplateId"), c.form.Get("LaunchTemplateName")
	if id == "" && name == "" {
		return nil, c.missing("LaunchTemplateId")
	}
	return c.template(id, name)
}

// versionOf finds a version by number, "$Latest" or "$Default"; empty is the default.
func versionOf(l *fleet.LaunchTemplate, version string) (fleet.TemplateVersion, bool) {
	n := l.Default
	switch version {
	case "", "$Default":
	case "$Latest":
		n = l.Latest
	default:
		n, _ = strconv.ParseInt(version, 10, 64)
	}
	i := slices.IndexFunc(l.Versions, func(v fleet.TemplateVersion) bool { return v.Number == n })
	if i < 0 {
		return fleet.TemplateVersion{}, false
	}
	return l.Versions[i], true
}

func noSuchVersion(l *fleet.LaunchTemplate, version string) error {
	return refuse("InvalidLaunchTemplateId.VersionNotFound", "Could not find launch template version %s for launch template %s.", version, l.ID)
}

func createTemplateVersion(c *call) (any, error) {
	l, err := c.requestedTemplate()
	if err != nil {
		return nil, err
	}
	number, made, keep, err := c.once(c.form.Get("ClientToken"), c.formRequest())
	if err != nil {
		return nil, err
	}
	if !made {
		var v fleet.TemplateVersion
		var d LaunchData
		if source := c.form.Get("SourceVersion"); source != "" {
			var ok bool
			if v, ok = versionOf(l, source); !ok {
				return nil, noSuchVersion(l, source)
			}
			d = c.region.Launches[launchKey(l.ID, v.Number)]
		}
		if v, d, err = c.templateData(v, d); err != nil {
			return nil, err
		}
		v.Number = l.Latest + 1
		l.Versions, l.Latest = append(slices.Clone(l.Versions), v), v.Number
		c.region.setLaunch(l.ID, v.Number, d)
		number = strconv.FormatInt(v.Number, 10)
		keep(number)
	}
	v, ok := versionOf(l, number)
	if !ok {
		return nil, noSuchVersion(l, number)
	}
	return struct {
		Version templateVersion `xml:"launchTemplateVersion"`
	}{c.versionDataXML(l, v)}, nil
}

func modifyTemplate(c *call) (any, error) {
	l, err := c.requestedTemplate()
	if err != nil {
		return nil, err
	}
	version := c.form.Get("SetDefaultVersion") // the query protocol's name of DefaultVersion
	v, ok := versionOf(l, version)
	if !ok {
		return nil, noSuchVersion(l, version)
	}
	l.Default = v.Number
	return templateAnswer{c.launchTemplateXML(l)}, nil
}

func deleteTemplate(c *call) (any, error) {
	l, err := c.requestedTemplate()
	if err != nil {
		return nil, err
	}
	out := templateAnswer{c.launchTemplateXML(l)}
	c.region.Templates = slices.DeleteFunc(slices.Clone(c.region.Templates), func(x *fleet.LaunchTemplate) bool { return x == l })
	delete(c.region.Tags, l.ID)
	maps.DeleteFunc(c.region.Launches, func(k string, _ LaunchData) bool { return strings.HasPrefix(k, l.ID+"/") })
	return out, nil
}

func importKeyPair(c *call) (any, error) {
	if err := c.missing("KeyName", "PublicKeyMaterial"); err != nil {
		return nil, err
	}
	name := c.form.Get("KeyName")
	if find(c.region.KeyPairs, func(k *fleet.KeyPair) bool { return k.Name == name }) != nil {
		return nil, refuse("InvalidKeyPair.Duplicate", "The keypair already exists")
	}
	malformed := refuse("InvalidKey.Format", "Key is not in valid OpenSSH public key format")
	text, err := base64.StdEncoding.DecodeString(c.form.Get("PublicKeyMaterial"))
	if err != nil {
		return nil, malformed
	}
	key, comment, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		return nil, malformed
	}
	kind := map[string]string{ssh.KeyAlgoRSA: "rsa", ssh.KeyAlgoED25519: "ed25519"}[key.Type()]
	if kind == "" {
		return nil, malformed
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)) + " " + comment)
	k := &fleet.KeyPair{ID: c.w.newID("key"), Name: name, Type: kind, PublicKey: strings.ReplaceAll(line, "\n", "")}
	c.region.KeyPairs = append(c.region.KeyPairs, k)
	c.region.setTags(k.ID, c.specifiedTags("key-pair"))
	if c.region.Imported == nil {
		c.region.Imported = map[string]bool{}
	}
	c.region.Imported[k.ID] = true
	return struct {
		Fingerprint string       `xml:"keyFingerprint"`
		Name        string       `xml:"keyName"`
		ID          string       `xml:"keyPairId"`
		Tags        itemSet[tag] `xml:"tagSet"`
	}{c.region.keyPairFingerprint(k), k.Name, k.ID, tagSet(c.region.tagged(k.ID))}, nil
}

// importedFingerprint is MD5 of the public key, which AWS gives for RSA keys
// that it did not make itself.
func importedFingerprint(k *fleet.KeyPair) string {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(k.PublicKey))
	if err != nil {
		return ""
	}
	public, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return ""
	}
	der, err := x509.MarshalPKIXPublicKey(public.CryptoPublicKey())
	if err != nil {
		return ""
	}
	var parts []string
	for _, b := range md5.Sum(der) {
		parts = append(parts, hex.EncodeToString([]byte{b}))
	}
	return strings.Join(parts, ":")
}

// deleteKeyPair says that it was done whether there was such a pair or not, as
// EC2 does.
func deleteKeyPair(c *call) (any, error) {
	name, id := c.form.Get("KeyName"), c.form.Get("KeyPairId")
	if name == "" && id == "" {
		return nil, c.missing("KeyName")
	}
	c.region.KeyPairs = slices.DeleteFunc(slices.Clone(c.region.KeyPairs), func(k *fleet.KeyPair) bool {
		return name != "" && k.Name == name || id != "" && k.ID == id
	})
	return returned{true}, nil
}
