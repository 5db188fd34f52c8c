package simfleet_test

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ssm-migrate/internal/simfleet"
)

// letOperator gives the user whose key the tests use an inline policy.
func letOperator(a *simfleet.Account, actions ...string) {
	for _, u := range a.Users {
		if u.Name == "operator" {
			u.Inline = maps.Clone(u.Inline)
			if u.Inline == nil {
				u.Inline = map[string]string{}
			}
			u.Inline["more"] = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["` + strings.Join(actions, `","`) + `"],"Resource":"*"}]}`
		}
	}
}

// Debian's AWS CLI keeps a secret, and gets a data key back: what the runbook of
// the recovery key does.
func TestAWSCLIOpensSecrets(t *testing.T) {
	w := generate(t, simfleet.Options{Instances: 12, Seed: 7})
	letOperator(w.Accounts[0], "secretsmanager:*", "kms:*")
	rg := w.Accounts[0].Regions[0]
	c := newCLI(t, w, rg.Name)
	run := func(args ...string) string {
		t.Helper()
		stdout, stderr, err := c.run(t, append(args, "--output", "text")...)
		if err != nil {
			t.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, stderr)
		}
		return strings.TrimSpace(stdout)
	}
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	arn := run("secretsmanager", "create-secret", "--name", "migrate/recovery-key", "--secret-string", "file://"+file("one", "one\ntwo"), "--kms-key-id", rg.Keys[0].ARN, "--query", "ARN")
	if !strings.HasPrefix(arn, "arn:aws:secretsmanager:"+rg.Name+":"+w.Accounts[0].ID+":secret:migrate/recovery-key-") {
		t.Errorf("ARN %s", arn)
	}
	run("secretsmanager", "put-secret-value", "--secret-id", arn, "--secret-binary", "fileb://"+file("three", "three"))
	for want, args := range map[string][]string{
		"one\ntwo":                {"secretsmanager", "get-secret-value", "--secret-id", "migrate/recovery-key", "--version-stage", "AWSPREVIOUS", "--query", "SecretString"},
		"dGhyZWU=":                {"secretsmanager", "get-secret-value", "--secret-id", arn, "--query", "SecretBinary"},
		rg.Keys[0].ARN:            {"secretsmanager", "describe-secret", "--secret-id", arn, "--query", "KmsKeyId"},
		"AWSCURRENT\nAWSPREVIOUS": {"secretsmanager", "describe-secret", "--secret-id", arn, "--query", "sort(values(VersionIdsToStages)[])"},
	} {
		if got := strings.ReplaceAll(run(args...), "\t", "\n"); got != want {
			t.Errorf("aws %s: %q, want %q", strings.Join(args, " "), got, want)
		}
	}
	key := run("kms", "generate-data-key", "--key-id", rg.Keys[0].ARN, "--key-spec", "AES_256", "--encryption-context", "purpose=migrate-recovery-key", "--query", "[CiphertextBlob, Plaintext]")
	sealed, plain, _ := strings.Cut(key, "\t")
	if got := run("kms", "decrypt", "--key-id", rg.Keys[0].ARN, "--ciphertext-blob", sealed, "--encryption-context", "purpose=migrate-recovery-key", "--query", "Plaintext"); got != plain {
		t.Errorf("the data key comes back as %q, want %q", got, plain)
	}
}

func TestSecretsAreRefusedAsAWSDoes(t *testing.T) {
	w := generate(t, simfleet.Options{Instances: 12, Seed: 7})
	a := w.Accounts[0]
	side := simfleet.ServeAWS(w, simfleet.AWSOptions{NoThrottle: true})
	if got := code(raw{account: a.ID, region: a.Regions[0].Name, service: "secretsmanager", target: "secretsmanager.GetSecretValue", body: `{"SecretId":"x"}`}.send(side)); got != "AccessDeniedException" {
		t.Errorf("a user without permission: %q", got)
	}
	letOperator(a, "secretsmanager:*")
	send := func(action, body string) string {
		return code(raw{account: a.ID, region: a.Regions[0].Name, service: "secretsmanager", target: "secretsmanager." + action, body: body}.send(side))
	}
	const first, second = `"ClientRequestToken":"0123456789abcdef0123456789abcdef"`, `"ClientRequestToken":"1123456789abcdef0123456789abcdef"`
	for _, tt := range []struct{ name, action, body, want string }{
		{"no token", "CreateSecret", `{"Name":"x","SecretString":"a"}`, "InvalidParameterException"},
		{"no value", "CreateSecret", `{"Name":"x",` + first + `}`, "InvalidRequestException"},
		{"two values", "CreateSecret", `{"Name":"x","SecretString":"a","SecretBinary":"YQ==",` + first + `}`, "InvalidParameterException"},
		{"too long", "CreateSecret", `{"Name":"x","SecretString":"` + strings.Repeat("a", 65_537) + `",` + first + `}`, "ValidationException"},
		{"bad name", "CreateSecret", `{"Name":"x y","SecretString":"a",` + first + `}`, "ValidationException"},
		{"no such key", "CreateSecret", `{"Name":"x","KmsKeyId":"alias/none","SecretString":"a",` + first + `}`, "InvalidParameterException"},
		{"not there yet", "GetSecretValue", `{"SecretId":"x"}`, "ResourceNotFoundException"},
		{"made", "CreateSecret", `{"Name":"x","SecretString":"a",` + first + `}`, ""},
		{"made, asked again", "CreateSecret", `{"Name":"x","SecretString":"a",` + first + `}`, ""},
		{"made with another value", "CreateSecret", `{"Name":"x","SecretString":"b",` + first + `}`, "ResourceExistsException"},
		{"a version with another value", "PutSecretValue", `{"SecretId":"x","SecretString":"b",` + first + `}`, "ResourceExistsException"},
		{"another version", "PutSecretValue", `{"SecretId":"x","SecretString":"b",` + second + `}`, ""},
		{"stages", "PutSecretValue", `{"SecretId":"x","SecretString":"b","VersionStages":["MINE"],` + second + `}`, "InvalidParameterException"},
		{"no such stage", "GetSecretValue", `{"SecretId":"x","VersionStage":"MINE"}`, "ResourceNotFoundException"},
		{"no such version", "GetSecretValue", `{"SecretId":"x","VersionId":"2123456789abcdef0123456789abcdef"}`, "ResourceNotFoundException"},
		{"not a document", "GetSecretValue", `[]`, "SerializationException"},
		{"no such operation", "RotateSecret", `{}`, "UnknownOperationException"},
	} {
		if got := send(tt.action, tt.body); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
