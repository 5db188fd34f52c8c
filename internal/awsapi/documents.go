package awsapi

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"ssm-migrate/internal/fleet"
)

const apiDocument = "ssm:GetDocument"

// preferences reads Session Manager's preferences document, then what it names:
// bucket, log group and key are facts of their own.
func (r *Region) preferences(ctx context.Context) fleet.Fact[fleet.Preferences] {
	out, err := r.document(ctx, fleet.PreferencesName)
	at := time.Now().UTC()
	var absent *types.InvalidDocument
	switch {
	case errors.As(err, &absent):
		return fleet.Known(fleet.Preferences{}, apiDocument, at)
	case err != nil:
		return fleet.Unknown[fleet.Preferences](apiDocument, at, r.account.failure(apiDocument, err).Error())
	}
	p := fleet.Preferences{Exists: true, Version: aws.ToString(out.DocumentVersion), Content: aws.ToString(out.Content)}
	// What is wrong with a document that cannot be read is for readiness to say.
	in, _ := fleet.ParseSessionDocument(p.Content)
	var reads []func()
	if in.Bucket != "" {
		reads = append(reads, func() { p.Bucket = r.bucket(ctx, in.Bucket) })
	}
	if in.LogGroup != "" {
		reads = append(reads, func() { p.LogGroup = r.logGroup(ctx, in.LogGroup) })
	}
	if in.Key != "" {
		reads = append(reads, func() { p.Key = r.key(ctx, in.Key) })
	}
	each(reads, 3, func(read func()) { read() })
	return fleet.Known(p, apiDocument, at)
}

func (r *Region) document(ctx context.Context, name string) (*ssm.GetDocumentOutput, error) {
	return r.ssm.GetDocument(ctx, &ssm.GetDocumentInput{Name: &name, DocumentFormat: types.DocumentFormatJson})
}

// maxDocuments is the quota of own documents in one account and Region
// ("Systems Manager endpoints and quotas").
const maxDocuments = 500

// documents reads the account's own session documents but for the preferences,
// of which it gives the tags. One whose content is denied stays in the list.
func (r *Region) documents(ctx context.Context) (own fleet.Fact[[]fleet.SessionDocument], preferences map[string]string) {
	own = collect(ctx, r.account, "ssm:ListDocuments", func(v fleet.SessionDocument) string { return v.Name }, func(ctx context.Context, c *collection[fleet.SessionDocument]) error {
		var found []fleet.SessionDocument
		err := pages(ctx, func(ctx context.Context, token *string) (*string, error) {
			out, err := r.ssm.ListDocuments(ctx, &ssm.ListDocumentsInput{
				Filters: []types.DocumentKeyValuesFilter{
					{Key: aws.String("Owner"), Values: []string{"Self"}},
					{Key: aws.String("DocumentType"), Values: []string{string(types.DocumentTypeSession)}},
				},
				MaxResults: aws.Int32(50),
				NextToken:  token,
			})
			if err != nil {
				return nil, err
			}
			for _, in := range out.DocumentIdentifiers {
				if name := aws.ToString(in.Name); name == fleet.PreferencesName {
					preferences = documentTags(in.Tags)
				} else {
					found = append(found, fleet.SessionDocument{Name: name, Owner: aws.ToString(in.Owner), Version: aws.ToString(in.DocumentVersion)})
				}
			}
			if len(found) > maxDocuments {
				return nil, fmt.Errorf("more than %d session documents", maxDocuments)
			}
			return out.NextToken, nil
		})
		each(found, parallel, func(d fleet.SessionDocument) {
			out, err := r.document(ctx, d.Name)
			at := time.Now().UTC()
			if err != nil {
				d.Content = fleet.Unknown[string](apiDocument, at, r.account.failure(apiDocument, err).Error())
			} else {
				d.Version = aws.ToString(out.DocumentVersion)
				d.Content = fleet.Known(aws.ToString(out.Content), apiDocument, at)
			}
			c.add(d)
		})
		return err
	})
	return own, preferences
}

func documentTags(list []types.Tag) map[string]string {
	var out map[string]string
	for _, t := range list {
		if out == nil {
			out = map[string]string{}
		}
		out[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return out
}
