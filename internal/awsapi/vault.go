package awsapi

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"ssm-migrate/internal/fleet"
)

// Vault keeps what must stay secret: data keys of KMS and secrets of Secrets
// Manager. The ARN of a key or a secret says which account and Region it is in.
// Its methods may run concurrently. Errors wrap fleet.ErrDenied,
// fleet.ErrNotFound, fleet.ErrExists or fleet.ErrCiphertext where one fits.
type Vault struct{ changer *Changer }

// NewVault makes a vault with the accesses of a Changer.
func NewVault(c *Changer) *Vault { return &Vault{c} }

// Meanings of error codes of KMS and Secrets Manager. Sources: their API
// references, "Errors" of the operations below.
var vaultMeanings = map[string]error{
	"AccessDeniedException":      fleet.ErrDenied,
	"AccessDenied":               fleet.ErrDenied,
	"ResourceNotFoundException":  fleet.ErrNotFound,
	"NotFoundException":          fleet.ErrNotFound,
	"ResourceExistsException":    fleet.ErrExists,
	"InvalidCiphertextException": fleet.ErrCiphertext,
	"IncorrectKeyException":      fleet.ErrCiphertext,
}

func (p *changing) vaultAnswer(api string, err error) error {
	if err == nil {
		return nil
	}
	means := vaultMeanings[code(err)]
	err = fmt.Errorf("%s: %w", api, p.account.failure(api, err))
	if means != nil {
		return &answer{err, means}
	}
	return err
}

// place is where a resource is.
func place(name, service string) (fleet.Place, error) {
	a, err := arn.Parse(name)
	if err != nil || a.Service != service || a.AccountID == "" || a.Region == "" {
		return fleet.Place{}, fmt.Errorf("%q is not an ARN of %s with account and Region", clean(name), service)
	}
	return fleet.Place{Account: a.AccountID, Region: a.Region}, nil
}

func (v *Vault) kms(ctx context.Context, key string) (*changing, *kms.Client, error) {
	at, err := place(key, "kms")
	if err != nil {
		return nil, nil, err
	}
	p, err := v.changer.in(ctx, at)
	if err != nil {
		return nil, nil, err
	}
	return p, kms.NewFromConfig(p.account.configFor(p.region)), nil
}

// NewDataKey makes 32 random bytes, plain and encrypted under a KMS key.
func (v *Vault) NewDataKey(ctx context.Context, key string, about map[string]string) (plain, sealed []byte, err error) {
	p, client, err := v.kms(ctx, key)
	if err != nil {
		return nil, nil, err
	}
	out, err := client.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: &key, KeySpec: kmstypes.DataKeySpecAes256, EncryptionContext: about})
	if err != nil {
		return nil, nil, p.vaultAnswer("kms:GenerateDataKey", err)
	}
	return out.Plaintext, out.CiphertextBlob, nil
}

// OpenDataKey decrypts what NewDataKey encrypted.
func (v *Vault) OpenDataKey(ctx context.Context, key string, sealed []byte, about map[string]string) ([]byte, error) {
	p, client, err := v.kms(ctx, key)
	if err != nil {
		return nil, err
	}
	out, err := client.Decrypt(ctx, &kms.DecryptInput{KeyId: &key, CiphertextBlob: sealed, EncryptionContext: about})
	if err != nil {
		return nil, p.vaultAnswer("kms:Decrypt", err)
	}
	return out.Plaintext, nil
}

func (p *changing) secrets() *secretsmanager.Client {
	return secretsmanager.NewFromConfig(p.account.configFor(p.region))
}

func (v *Vault) secrets(ctx context.Context, name string) (*changing, *secretsmanager.Client, error) {
	at, err := place(name, "secretsmanager")
	if err != nil {
		return nil, nil, err
	}
	p, err := v.changer.in(ctx, at)
	if err != nil {
		return nil, nil, err
	}
	return p, p.secrets(), nil
}

// Secret reads the version of a secret that has a staging label, and its ID.
func (v *Vault) Secret(ctx context.Context, name, stage string) (text []byte, version string, err error) {
	p, client, err := v.secrets(ctx, name)
	if err != nil {
		return nil, "", err
	}
	out, err := client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &name, VersionStage: &stage})
	if err != nil {
		return nil, "", p.vaultAnswer("secretsmanager:GetSecretValue", err)
	}
	text = out.SecretBinary
	if out.SecretString != nil {
		text = []byte(*out.SecretString)
	}
	return text, aws.ToString(out.VersionId), nil
}

// PutSecret makes a version of a secret, with the token as its ID, and moves
// AWSCURRENT to it. The same token and text again do nothing.
func (v *Vault) PutSecret(ctx context.Context, name string, text []byte, token string) error {
	p, client, err := v.secrets(ctx, name)
	if err != nil {
		return err
	}
	_, err = client.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: &name, SecretString: aws.String(string(text)), ClientRequestToken: &token})
	return p.vaultAnswer("secretsmanager:PutSecretValue", err)
}

// CreateSecret makes a secret. Key is the ARN of a KMS key; empty: AWS's own.
func (v *Vault) CreateSecret(ctx context.Context, at fleet.Place, name, key string, text []byte, token string) (string, error) {
	p, err := v.changer.in(ctx, at)
	if err != nil {
		return "", err
	}
	in := &secretsmanager.CreateSecretInput{
		Name: &name, SecretString: aws.String(string(text)), ClientRequestToken: &token,
		Description: aws.String("Recovery key of ssm-migrate: private keys in PEM, newest first"),
	}
	if key != "" {
		in.KmsKeyId = &key
	}
	out, err := p.secrets().CreateSecret(ctx, in)
	if err != nil {
		return "", p.vaultAnswer("secretsmanager:CreateSecret", err)
	}
	if made := aws.ToString(out.ARN); strings.HasPrefix(made, "arn:") {
		return made, nil
	}
	return "", errors.New("secretsmanager:CreateSecret: the answer names no secret")
}
