package awsapi

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"ssm-migrate/internal/fleet"
)

// DefaultRole gives Default Host Management Configuration's role.
func (c *Changer) DefaultRole(ctx context.Context, at fleet.Place) (string, error) {
	p, err := c.in(ctx, at)
	if err != nil {
		return "", err
	}
	out, err := p.ssm.GetServiceSetting(ctx, &ssm.GetServiceSettingInput{SettingId: aws.String(settingDefaultRole)})
	if err != nil {
		return "", p.answer("ssm:GetServiceSetting", err)
	}
	if out.ServiceSetting == nil {
		return "", p.answer("ssm:GetServiceSetting", errors.New("the answer holds no setting"))
	}
	if v := aws.ToString(out.ServiceSetting.SettingValue); v != settingNone {
		return v, nil
	}
	return "", nil
}

// SetDefaultRole sets it, or with an empty path takes it back.
func (c *Changer) SetDefaultRole(ctx context.Context, at fleet.Place, path string) error {
	p, err := c.in(ctx, at)
	if err != nil {
		return err
	}
	if path == "" {
		_, err := p.ssm.ResetServiceSetting(ctx, &ssm.ResetServiceSettingInput{SettingId: aws.String(settingDefaultRole)})
		return p.answer("ssm:ResetServiceSetting", err)
	}
	_, err = p.ssm.UpdateServiceSetting(ctx, &ssm.UpdateServiceSettingInput{SettingId: aws.String(settingDefaultRole), SettingValue: &path})
	return p.answer("ssm:UpdateServiceSetting", err)
}

// Document reads one version of a document.
func (c *Changer) Document(ctx context.Context, at fleet.Place, name, number string) (fleet.DocumentVersion, error) {
	p, err := c.in(ctx, at)
	if err != nil {
		return fleet.DocumentVersion{}, err
	}
	in := &ssm.GetDocumentInput{Name: &name, DocumentFormat: types.DocumentFormatJson}
	if number != "" {
		in.DocumentVersion = &number
	}
	out, err := p.ssm.GetDocument(ctx, in)
	if err != nil {
		return fleet.DocumentVersion{}, p.answer("ssm:GetDocument", err)
	}
	return fleet.DocumentVersion{Number: aws.ToString(out.DocumentVersion), Content: aws.ToString(out.Content)}, nil
}

// DocumentVersions lists a document's versions.
func (c *Changer) DocumentVersions(ctx context.Context, at fleet.Place, name string) ([]fleet.DocumentVersion, error) {
	p, err := c.in(ctx, at)
	if err != nil {
		return nil, err
	}
	var all []fleet.DocumentVersion
	err = pages(ctx, func(ctx context.Context, token *string) (*string, error) {
		out, err := p.ssm.ListDocumentVersions(ctx, &ssm.ListDocumentVersionsInput{Name: &name, NextToken: token})
		if err != nil {
			return nil, err
		}
		for _, v := range out.DocumentVersions {
			all = append(all, fleet.DocumentVersion{Number: aws.ToString(v.DocumentVersion), Default: v.IsDefaultVersion})
		}
		return out.NextToken, nil
	})
	number := func(v fleet.DocumentVersion) int {
		n, _ := strconv.Atoi(v.Number) // what is no number comes last
		return n
	}
	slices.SortStableFunc(all, func(a, b fleet.DocumentVersion) int { return number(b) - number(a) })
	return all, p.answer("ssm:ListDocumentVersions", err)
}

// CreateDocument makes a session document.
func (c *Changer) CreateDocument(ctx context.Context, at fleet.Place, name, content, token string) error {
	p, err := c.in(ctx, at)
	if err != nil {
		return err
	}
	_, err = p.ssm.CreateDocument(ctx, &ssm.CreateDocumentInput{
		Name: &name, Content: &content, DocumentType: types.DocumentTypeSession, DocumentFormat: types.DocumentFormatJson,
		Tags: []types.Tag{{Key: aws.String(fleet.TagStep), Value: &token}},
	})
	return p.answer("ssm:CreateDocument", err)
}

// AddDocumentVersion adds a version, which is not the default yet.
func (c *Changer) AddDocumentVersion(ctx context.Context, at fleet.Place, name, content string) error {
	p, err := c.in(ctx, at)
	if err != nil {
		return err
	}
	_, err = p.ssm.UpdateDocument(ctx, &ssm.UpdateDocumentInput{
		Name: &name, Content: &content, DocumentFormat: types.DocumentFormatJson, DocumentVersion: aws.String("$LATEST"),
	})
	return p.answer("ssm:UpdateDocument", err)
}

// SetDefaultVersion makes a version the default.
func (c *Changer) SetDefaultVersion(ctx context.Context, at fleet.Place, name, number string) error {
	p, err := c.in(ctx, at)
	if err != nil {
		return err
	}
	_, err = p.ssm.UpdateDocumentDefaultVersion(ctx, &ssm.UpdateDocumentDefaultVersionInput{Name: &name, DocumentVersion: &number})
	return p.answer("ssm:UpdateDocumentDefaultVersion", err)
}

// DeleteDocument deletes a document with all its versions.
func (c *Changer) DeleteDocument(ctx context.Context, at fleet.Place, name string) error {
	p, err := c.in(ctx, at)
	if err != nil {
		return err
	}
	_, err = p.ssm.DeleteDocument(ctx, &ssm.DeleteDocumentInput{Name: &name})
	return p.answer("ssm:DeleteDocument", err)
}
