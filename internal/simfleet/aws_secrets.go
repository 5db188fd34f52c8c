package simfleet

import (
	"bytes"
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"
)

// Secrets Manager, as far as one secret with versions goes.
// Source: Secrets Manager API reference.

var secretsOperations = map[string]operation{"GetSecretValue": getSecretValue, "DescribeSecret": describeSecret}

var secretsChanges = map[string]operation{"CreateSecret": createSecret, "PutSecretValue": putSecretValue}

// secret is one secret of an account's Region. Its values are encrypted under its KMS key,
// as those of the service are.
type secret struct {
	region                 string
	arn, name, description string
	key                    string // ARN of a customer's KMS key; empty: the service's own
	made                   time.Time
	versions               []*secretVersion // in the order in which they were made
}

type secretVersion struct {
	id     string
	binary bool
	sealed []byte
	stages []string
	made   time.Time
}

const (
	stageCurrent  = "AWSCURRENT"
	stagePrevious = "AWSPREVIOUS"

	// maxSecret is how many bytes a value may have. Source: Secrets Manager User Guide, quotas.
	maxSecret = 65_536
)

// secretValue is what CreateSecret and PutSecretValue have in common.
type secretValue struct {
	Token  string  `json:"ClientRequestToken"`
	Text   *string `json:"SecretString"`
	Binary []byte  `json:"SecretBinary"`
}

func (v secretValue) check() ([]byte, error) {
	switch {
	case len(v.Token) < 32 || len(v.Token) > 64:
		return nil, refuse("InvalidParameterException", "ClientRequestToken must be 32-64 characters long.")
	case v.Text != nil && v.Binary != nil:
		return nil, refuse("InvalidParameterException", "You must specify either SecretString or SecretBinary, but not both.")
	case v.Text == nil && v.Binary == nil:
		return nil, refuse("InvalidRequestException", "You must provide either SecretString or SecretBinary.")
	}
	value := v.Binary
	if v.Text != nil {
		value = []byte(*v.Text)
	}
	if len(value) == 0 || len(value) > maxSecret {
		return nil, refuse("ValidationException", "1 validation error detected: the value has %d bytes, which is not from 1 to %d", len(value), maxSecret)
	}
	return value, nil
}

// secretNamed finds a secret by its name or ARN.
func (c *call) secretNamed(id string) *secret {
	return find(c.account.secrets, func(s *secret) bool { return s.region == c.region.Name && (s.arn == id || s.name == id) })
}

// maySecret asks IAM whether the caller may do something with a secret.
func (c *call) maySecret(action, resource string) error {
	p, session, known := c.principal()
	if known && !c.account.judge(p, c.request(session, action, resource)).yes() {
		return c.deniedOn(action, resource)
	}
	return nil
}

// requestedSecret is the secret that the caller names and may use so.
func (c *call) requestedSecret(id, action string) (*secret, error) {
	s := c.secretNamed(id)
	resource := c.secretARN(id, "*")
	if s != nil {
		resource = s.arn
	}
	if err := c.maySecret(action, resource); err != nil {
		return nil, err
	}
	if s == nil {
		return nil, refuse("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
	}
	return s, nil
}

func (c *call) secretARN(name, suffix string) string {
	return "arn:aws:secretsmanager:" + c.region.Name + ":" + c.account.ID + ":secret:" + name + "-" + suffix
}

// context is the encryption context of a version.
// Source: Secrets Manager User Guide, "Secret encryption and decryption".
func (s *secret) context(version string) map[string]string {
	return map[string]string{"SecretARN": s.arn, "SecretVersionId": version}
}

// sealSecret encrypts a value for a version that is to be.
func (c *call) sealSecret(s *secret, version string, value []byte) ([]byte, error) {
	key := "aws/secretsmanager"
	if s.key != "" {
		k, err := c.usableKey(s.key, "kms:GenerateDataKey", s.context(version))
		if err != nil {
			return nil, err
		}
		key = k.ARN
	}
	return c.w.keySealer(key).seal(value, encryptionContext(s.context(version))), nil
}

func (c *call) openSecret(s *secret, v *secretVersion) ([]byte, error) {
	key := "aws/secretsmanager"
	if s.key != "" {
		k, err := c.usableKey(s.key, "kms:Decrypt", s.context(v.id))
		if err != nil {
			return nil, err
		}
		key = k.ARN
	}
	value, err := c.w.keySealer(key).open(v.sealed, encryptionContext(s.context(v.id)))
	if err != nil {
		return nil, refuse("DecryptionFailure", "Secrets Manager can't decrypt the protected secret text using the provided KMS key.")
	}
	return value, nil
}

// addVersion makes a version current.
func (c *call) addVersion(s *secret, in secretValue, value []byte) (*secretVersion, error) {
	sealed, err := c.sealSecret(s, in.Token, value)
	if err != nil {
		return nil, err
	}
	for _, v := range s.versions {
		v.stages = slices.DeleteFunc(v.stages, func(stage string) bool { return stage == stagePrevious })
		if slices.Contains(v.stages, stageCurrent) {
			v.stages = []string{stagePrevious}
		}
	}
	v := &secretVersion{id: in.Token, binary: in.Binary != nil, sealed: sealed, stages: []string{stageCurrent}, made: c.w.Now()}
	s.versions = append(s.versions, v)
	return v, nil
}

func createSecret(c *call) (any, error) {
	var in struct {
		secretValue
		Name        string
		Description string
		KmsKeyID    string `json:"KmsKeyId"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	value, err := in.check()
	if err != nil {
		return nil, err
	}
	if in.Name == "" || len(in.Name) > 512 || !madeOf(in.Name, "/_+=.@-") {
		return nil, refuse("ValidationException", "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!")
	}
	if err := c.maySecret("secretsmanager:CreateSecret", c.secretARN(in.Name, "*")); err != nil {
		return nil, err
	}
	if old := c.secretNamed(in.Name); old != nil {
		return old.repeated(c, in.secretValue, value)
	}
	h := fnv.New64a()
	fmt.Fprint(h, c.w.Seed, c.account.ID, c.region.Name, in.Name)
	s := &secret{region: c.region.Name, arn: c.secretARN(in.Name, fmt.Sprintf("%x", h.Sum64())[:6]), name: in.Name, description: in.Description, made: c.w.Now()}
	if in.KmsKeyID != "" {
		_, k := c.w.key(c.region, in.KmsKeyID)
		if k == nil {
			return nil, refuse("InvalidParameterException", "The KMS key %s does not exist.", in.KmsKeyID)
		}
		s.key = k.ARN
	}
	v, err := c.addVersion(s, in.secretValue, value)
	if err != nil {
		return nil, err
	}
	c.account.secrets = append(c.account.secrets, s)
	return s.changed(v), nil
}

// repeated answers a request for a secret that is there already.
func (s *secret) repeated(c *call, in secretValue, value []byte) (any, error) {
	first := s.versions[0]
	if first.id == in.Token {
		if old, err := c.openSecret(s, first); err == nil && bytes.Equal(old, value) {
			return s.changed(first), nil
		}
	}
	return nil, refuse("ResourceExistsException", "The operation failed because the secret %s already exists.", s.name)
}

func (s *secret) changed(v *secretVersion) any {
	return map[string]any{"ARN": s.arn, "Name": s.name, "VersionId": v.id, "VersionStages": v.stages}
}

func putSecretValue(c *call) (any, error) {
	var in struct {
		secretValue
		ID     string   `json:"SecretId"`
		Stages []string `json:"VersionStages"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	value, err := in.check()
	if err != nil {
		return nil, err
	}
	if len(in.Stages) > 0 {
		return nil, refuse("InvalidParameterException", "the simulated Secrets Manager moves %s alone", stageCurrent)
	}
	s, err := c.requestedSecret(in.ID, "secretsmanager:PutSecretValue")
	if err != nil {
		return nil, err
	}
	if old := find(s.versions, func(v *secretVersion) bool { return v.id == in.Token }); old != nil {
		if before, err := c.openSecret(s, old); err != nil || !bytes.Equal(before, value) {
			return nil, refuse("ResourceExistsException", "You can't modify an existing version, you can only create a new version.")
		}
		return s.changed(old), nil
	}
	v, err := c.addVersion(s, in.secretValue, value)
	if err != nil {
		return nil, err
	}
	return s.changed(v), nil
}

func getSecretValue(c *call) (any, error) {
	var in struct {
		ID      string `json:"SecretId"`
		Stage   string `json:"VersionStage"`
		Version string `json:"VersionId"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	s, err := c.requestedSecret(in.ID, "secretsmanager:GetSecretValue")
	if err != nil {
		return nil, err
	}
	stage := in.Stage
	if in.Version == "" {
		stage = cmp.Or(stage, stageCurrent)
	}
	v := find(s.versions, func(v *secretVersion) bool {
		return (in.Version == "" || v.id == in.Version) && (stage == "" || slices.Contains(v.stages, stage))
	})
	if v == nil {
		return nil, refuse("ResourceNotFoundException", "Secrets Manager can't find the specified secret value for %s", strings.TrimSpace("staging label: "+stage))
	}
	value, err := c.openSecret(s, v)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"ARN": s.arn, "Name": s.name, "VersionId": v.id, "VersionStages": v.stages, "CreatedDate": v.made.Unix()}
	if v.binary {
		out["SecretBinary"] = value
	} else {
		out["SecretString"] = string(value)
	}
	return out, nil
}

func describeSecret(c *call) (any, error) {
	var in struct {
		ID string `json:"SecretId"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	s, err := c.requestedSecret(in.ID, "secretsmanager:DescribeSecret")
	if err != nil {
		return nil, err
	}
	stages := map[string][]string{}
	for _, v := range s.versions {
		if len(v.stages) > 0 {
			stages[v.id] = v.stages
		}
	}
	out := map[string]any{
		"ARN": s.arn, "Name": s.name, "Description": s.description, "CreatedDate": s.made.Unix(),
		"LastChangedDate": s.versions[len(s.versions)-1].made.Unix(), "VersionIdsToStages": stages,
	}
	if s.key != "" {
		out["KmsKeyId"] = s.key
	}
	return out, nil
}
