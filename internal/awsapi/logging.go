package awsapi

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"ssm-migrate/internal/fleet"
)

// APIs that facts about a bucket name, in the order of their calls.
const (
	apiBucketLocation   = "s3:GetBucketLocation"
	apiBucketEncryption = "s3:GetBucketEncryption"
	apiBucketPolicy     = "s3:GetBucketPolicy"
)

// bucket reads a bucket for session logs. Where one of its sides is denied, the
// fact is unknown and keeps the others.
func (r *Region) bucket(ctx context.Context, name string) fleet.Fact[fleet.Bucket] {
	b := fleet.Bucket{Name: name}
	region, err := r.bucketRegion(ctx, name)
	if code(err) == "NoSuchBucket" {
		return fleet.Known(b, apiBucketLocation, time.Now().UTC())
	}
	if err != nil {
		return missing(r, b, apiBucketLocation, err)
	}
	b.Exists, b.Region = true, region
	there := func(o *s3.Options) { o.Region = region }
	encryption, err := r.s3.GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: &name}, there)
	switch {
	case code(err) == "ServerSideEncryptionConfigurationNotFoundError":
	case err != nil:
		return missing(r, b, apiBucketEncryption, err)
	case encryption.ServerSideEncryptionConfiguration != nil:
		for _, rule := range encryption.ServerSideEncryptionConfiguration.Rules {
			if d := rule.ApplyServerSideEncryptionByDefault; d != nil {
				b.Encryption, b.Key = string(d.SSEAlgorithm), aws.ToString(d.KMSMasterKeyID)
			}
		}
	}
	policy, err := r.s3.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: &name}, there)
	switch {
	case code(err) == "NoSuchBucketPolicy":
	case err != nil:
		return missing(r, b, apiBucketPolicy, err)
	default:
		b.Policy = aws.ToString(policy.Policy)
	}
	return fleet.Known(b, apiBucketLocation, time.Now().UTC())
}

// missing is a fact of several calls of which one failed.
func missing[T any](r *Region, seen T, api string, err error) fleet.Fact[T] {
	return fleet.Fact[T]{Value: seen, Source: api, At: time.Now().UTC(), Reason: r.account.failure(api, err).Error()}
}

// bucketRegion asks where a bucket is. S3 turns questions away that come to
// another Region than the bucket's, and says which one that is.
func (r *Region) bucketRegion(ctx context.Context, name string) (string, error) {
	out, err := r.s3.GetBucketLocation(ctx, &s3.GetBucketLocationInput{Bucket: &name})
	var res *smithyhttp.ResponseError
	if errors.As(err, &res) && res.Response != nil {
		if there := res.Response.Header.Get("X-Amz-Bucket-Region"); there != "" && there != r.name {
			out, err = r.s3.GetBucketLocation(ctx, &s3.GetBucketLocationInput{Bucket: &name}, func(o *s3.Options) { o.Region = there })
		}
	}
	if err != nil {
		return "", err
	}
	if out.LocationConstraint == s3types.BucketLocationConstraintEu {
		return "eu-west-1", nil
	}
	return cmp.Or(string(out.LocationConstraint), "us-east-1"), nil
}

// code is the error code that a service answered with; empty: it did not.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

const apiLogGroups = "logs:DescribeLogGroups"

func (r *Region) logGroup(ctx context.Context, name string) fleet.Fact[fleet.LogGroup] {
	g := fleet.LogGroup{Name: name}
	err := pages(ctx, func(ctx context.Context, token *string) (*string, error) {
		out, err := r.logs.DescribeLogGroups(ctx, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: &name, NextToken: token})
		if err != nil {
			return nil, err
		}
		for _, in := range out.LogGroups {
			if aws.ToString(in.LogGroupName) == name {
				g.Exists, g.Key = true, aws.ToString(in.KmsKeyId)
				g.ARN = cmp.Or(aws.ToString(in.LogGroupArn), strings.TrimSuffix(aws.ToString(in.Arn), ":*"))
				return nil, nil
			}
		}
		return out.NextToken, nil
	})
	if err != nil {
		return missing(r, g, apiLogGroups, err)
	}
	return fleet.Known(g, apiLogGroups, time.Now().UTC())
}

const (
	apiKey       = "kms:DescribeKey"
	apiKeyPolicy = "kms:GetKeyPolicy"
)

// key reads a KMS key by ID, ARN or alias. A key of another account shows its
// policy to that account only: the fact is known and its policy unknown.
func (r *Region) key(ctx context.Context, id string) fleet.Fact[fleet.KMSKey] {
	k := fleet.KMSKey{ID: id}
	out, err := r.kms.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &id})
	at := time.Now().UTC()
	var absent *kmstypes.NotFoundException
	switch {
	case errors.As(err, &absent):
		return fleet.Known(k, apiKey, at)
	case err != nil:
		return missing(r, k, apiKey, err)
	case out.KeyMetadata == nil:
		return fleet.Unknown[fleet.KMSKey](apiKey, at, "the answer holds no key")
	}
	m := out.KeyMetadata
	k.Exists, k.ARN, k.State, k.Manager = true, aws.ToString(m.Arn), string(m.KeyState), string(m.KeyManager)
	policy, err := r.kms.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: aws.String(cmp.Or(k.ARN, id)), PolicyName: aws.String("default")})
	at = time.Now().UTC()
	if err != nil {
		k.Policy = fleet.Unknown[string](apiKeyPolicy, at, r.account.failure(apiKeyPolicy, err).Error())
	} else {
		k.Policy = fleet.Known(aws.ToString(policy.Policy), apiKeyPolicy, at)
	}
	return fleet.Known(k, apiKey, at)
}
