package awsapi

import "context"

// Caller is the ARN of the principal that the account's calls are made as.
func (a *Account) Caller(ctx context.Context) (string, error) {
	who, err := a.whoami(ctx)
	return who.arn, err
}
