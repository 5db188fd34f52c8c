package awsapi_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/seal"
	"ssm-migrate/internal/simfleet"
)

// The ports that a vault fills.
var (
	_ seal.DataKeys = (*awsapi.Vault)(nil)
	_ seal.Secrets  = (*awsapi.Vault)(nil)
)

const requestToken = "0123456789abcdef0123456789abcdef"

// newVault opens a vault of a simulated account, as the account itself or as one
// of its users.
func newVault(t *testing.T, user string) (*awsapi.Vault, *simfleet.World, *simfleet.AWS) {
	t.Helper()
	w, server, open := simulate(t, simfleet.Options{Seed: 3, Instances: 12, Accounts: 1, Regions: []string{"eu-west-1"}, Healthy: true}, simfleet.AWSOptions{NoThrottle: true})
	w.Accounts[0].Users = append(w.Accounts[0].Users, &fleet.IAMUser{Name: "nobody", ARN: "arn:aws:iam::" + w.Accounts[0].ID + ":user/nobody"})
	a := open(awsapi.Access{Regions: []string{"eu-west-1"}}, awsapi.Options{})
	if user != "" {
		t.Setenv("AWS_ACCESS_KEY_ID", simfleet.UserAccessKey(w.Accounts[0].ID, user))
		a = open(awsapi.Access{Regions: []string{"eu-west-1"}}, awsapi.Options{})
	}
	return awsapi.NewVault(awsapi.NewChanger(a)), w, server
}

func TestDataKeysComeBack(t *testing.T) {
	v, w, _ := newVault(t, "")
	ctx := t.Context()
	key := w.Accounts[0].Regions[0].Keys[0]
	about := map[string]string{"purpose": "test"}
	plain, sealed, err := v.NewDataKey(ctx, key.ARN, about)
	if err != nil || len(plain) != 32 || bytes.Contains(sealed, plain) {
		t.Fatalf("%d bytes, %v", len(plain), err)
	}
	if got, err := v.OpenDataKey(ctx, key.ARN, sealed, about); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("opened: %v", err)
	}
	other := *key
	other.ARN, other.ID = key.ARN[:len(key.ARN)-1]+"f", ""
	w.Accounts[0].Regions[0].Keys = append(w.Accounts[0].Regions[0].Keys, &other)
	for name, try := range map[string]func() error{
		"another purpose": func() error {
			_, err := v.OpenDataKey(ctx, key.ARN, sealed, map[string]string{"purpose": "x"})
			return err
		},
		"another key": func() error { _, err := v.OpenDataKey(ctx, other.ARN, sealed, about); return err },
		"garbled":     func() error { _, err := v.OpenDataKey(ctx, key.ARN, sealed[1:], about); return err },
	} {
		if err := try(); !errors.Is(err, fleet.ErrCiphertext) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := v.NewDataKey(ctx, key.ARN+"none", about); !errors.Is(err, fleet.ErrNotFound) {
		t.Errorf("no such key: %v", err)
	}
	for _, arn := range []string{"", "alias/sessions", "arn:aws:s3:::bucket", strings.Replace(key.ARN, w.Accounts[0].ID, "", 1)} {
		if _, _, err := v.NewDataKey(ctx, arn, about); err == nil || !strings.Contains(err.Error(), "ARN of kms") {
			t.Errorf("%q: %v", arn, err)
		}
	}
	if _, _, err := v.NewDataKey(ctx, "arn:aws:kms:eu-west-1:999999999999:key/x", about); err == nil || !strings.Contains(err.Error(), "account 999999999999") {
		t.Errorf("an account without an access: %v", err)
	}
}

func TestSecretsHaveVersions(t *testing.T) {
	v, w, _ := newVault(t, "")
	ctx := t.Context()
	// Also in a Region where no host is.
	at := fleet.Place{Account: w.Accounts[0].ID, Region: "eu-central-1"}
	arn, err := v.CreateSecret(ctx, at, "migrate/key", "", []byte("one"), requestToken)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := v.CreateSecret(ctx, at, "migrate/key", "", []byte("one"), requestToken); err != nil || again != arn {
		t.Errorf("the same request once more: %q, %v", again, err)
	}
	if _, err := v.CreateSecret(ctx, at, "migrate/key", "", []byte("two"), requestToken[1:]+"x"); !errors.Is(err, fleet.ErrExists) {
		t.Errorf("made twice: %v", err)
	}
	expect := func(stage, want string, is error) {
		t.Helper()
		if text, _, err := v.Secret(ctx, arn, stage); string(text) != want || !errors.Is(err, is) {
			t.Errorf("%s: %q, %v", stage, text, err)
		}
	}
	expect("AWSCURRENT", "one", nil)
	expect("AWSPREVIOUS", "", fleet.ErrNotFound)
	second := strings.ToUpper(requestToken)
	for range 2 {
		if err := v.PutSecret(ctx, arn, []byte("two"), second); err != nil {
			t.Fatal(err)
		}
		expect("AWSCURRENT", "two", nil)
		expect("AWSPREVIOUS", "one", nil)
	}
	if err := v.PutSecret(ctx, arn, []byte("three"), second); !errors.Is(err, fleet.ErrExists) {
		t.Errorf("one version with two values: %v", err)
	}
	if _, version, _ := v.Secret(ctx, arn, "AWSCURRENT"); version != second {
		t.Errorf("version %q", version)
	}
	if err := v.PutSecret(ctx, arn+"x", []byte("x"), requestToken); !errors.Is(err, fleet.ErrNotFound) {
		t.Errorf("no such secret: %v", err)
	}
	if _, _, err := v.Secret(ctx, "migrate/key", "AWSCURRENT"); err == nil || !strings.Contains(err.Error(), "ARN of secretsmanager") {
		t.Errorf("a name in place of an ARN: %v", err)
	}
}

func TestVaultSaysWhatIsDenied(t *testing.T) {
	v, w, _ := newVault(t, "nobody")
	ctx := t.Context()
	a := w.Accounts[0]
	at := fleet.Place{Account: a.ID, Region: "eu-west-1"}
	_, err := v.CreateSecret(ctx, at, "x", "", []byte("hush"), requestToken)
	if !errors.Is(err, fleet.ErrDenied) || strings.Contains(err.Error(), "hush") {
		t.Errorf("create: %v", err)
	}
	if _, _, err := v.Secret(ctx, "arn:aws:secretsmanager:eu-west-1:"+a.ID+":secret:x-AbCdEf", "AWSCURRENT"); !errors.Is(err, fleet.ErrDenied) {
		t.Errorf("read: %v", err)
	}
	if _, _, err := v.NewDataKey(ctx, a.Regions[0].Keys[0].ARN, nil); !errors.Is(err, fleet.ErrDenied) {
		t.Errorf("data key: %v", err)
	}
}

// What keeps the recovery key works on the wire as its contract says, also when
// answers are lost and requests arrive twice.
func TestRecoveryKeyIsKeptByAWS(t *testing.T) {
	v, w, server := newVault(t, "")
	ctx := t.Context()
	a := w.Accounts[0]
	first, _, err := seal.NewKey("")
	if err != nil {
		t.Fatal(err)
	}
	second, _, err := seal.NewKey("")
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]seal.Creator{
		"KMS":             &seal.KMSFile{Path: filepath.Join(t.TempDir(), "key"), Key: a.Regions[0].Keys[0].ARN, Keys: v},
		"Secrets Manager": &seal.Secret{Secrets: v, Name: "key", Key: a.Regions[0].Keys[0].ARN, At: fleet.Place{Account: a.ID, Region: "eu-west-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := s.Create(ctx, [][]byte{first}); err != nil {
				t.Fatal(err)
			}
			if err := s.Save(ctx, [][]byte{second, first}); err != nil {
				t.Fatal(err)
			}
			ring, err := s.Load(ctx)
			if err != nil || len(ring) != 2 || !bytes.Equal(ring[0], second) || !bytes.Equal(ring[1], first) {
				t.Errorf("%d keys, %v", len(ring), err)
			}
			a.Regions[0].Keys[0].State = "Disabled"
			defer func() { a.Regions[0].Keys[0].State = "Enabled" }()
			if _, err := s.Load(ctx); err == nil || errors.Is(err, seal.ErrMissing) || errors.Is(err, seal.ErrDamaged) || !strings.Contains(err.Error(), "DisabledException") {
				t.Errorf("the KMS key is disabled: %v", err)
			}
		})
	}
	if n := server.Calls()["secretsmanager:PutSecretValue"]; n != 1 {
		t.Errorf("%d versions were put", n)
	}
}

// The policies of docs/permissions.md for the recovery key are what is called.
func TestDocumentedPoliciesOfTheRecoveryKey(t *testing.T) {
	text, err := os.ReadFile("../../docs/permissions.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "# Permissions of the recovery key")
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(section, -1)
	var granted []string
	for _, b := range blocks {
		var policy struct {
			Statement []struct {
				Action   []string
				Resource string
			}
		}
		if err := json.Unmarshal([]byte(b[1]), &policy); err != nil {
			t.Fatal(err)
		}
		for _, s := range policy.Statement {
			if s.Resource == "*" {
				t.Errorf("%v is granted on everything", s.Action)
			}
			granted = append(granted, s.Action...)
		}
	}
	slices.Sort(granted)
	called := operationsIn(t, "vault.go", "kms", "secretsmanager")
	if diff := gocmp.Diff(called, slices.Compact(granted)); diff != "" || len(blocks) != 2 {
		t.Errorf("%d policies (-called +granted):\n%s", len(blocks), diff)
	}
}
