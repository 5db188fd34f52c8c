package simfleet

import (
	"cmp"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// jsonPage takes one page out of rows, as the JSON services do it. A size that
// is absent is the most.
func jsonPage[T any](c *call, rows []T, size *int, token string, most int, badSize, badToken string) (page []T, next string, err error) {
	n := most
	if size != nil {
		if n = *size; n < 1 || n > most {
			return nil, "", refuse(badSize, "the page size %d is not from 1 to %d", n, most)
		}
	}
	start, err := c.offset(token, len(rows), badToken)
	if err != nil {
		return nil, "", err
	}
	end := min(start+n, len(rows))
	if end < len(rows) {
		next = c.pageToken(end)
	}
	return append([]T{}, rows[start:end]...), next, nil
}

var logsOperations = map[string]operation{"DescribeLogGroups": describeLogGroups, "DescribeLogStreams": describeLogStreams, "GetLogEvents": getLogEvents}

func describeLogGroups(c *call) (any, error) {
	var in struct {
		Prefix  string `json:"logGroupNamePrefix"`
		Pattern string `json:"logGroupNamePattern"`
		Token   string `json:"nextToken"`
		Limit   *int   `json:"limit"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if in.Prefix != "" && in.Pattern != "" {
		return nil, refuse("InvalidParameterException", "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
	}
	type group struct {
		Name    string `json:"logGroupName"`
		ARN     string `json:"arn"`
		GroupID string `json:"logGroupArn"`
		Key     string `json:"kmsKeyId,omitempty"`
		Created int64  `json:"creationTime"`
		Stored  int64  `json:"storedBytes"`
		Class   string `json:"logGroupClass"`
	}
	rows := []group{}
	for _, g := range c.region.LogGroups {
		if g.Exists && strings.HasPrefix(g.Name, in.Prefix) && strings.Contains(g.Name, in.Pattern) {
			arn := cmp.Or(g.ARN, c.logGroupARN(g.Name))
			rows = append(rows, group{g.Name, arn + ":*", arn, g.Key, 1614589200000, 0, "STANDARD"})
		}
	}
	slices.SortFunc(rows, func(a, b group) int { return strings.Compare(a.Name, b.Name) })
	rows, next, err := jsonPage(c, rows, in.Limit, in.Token, 50, "InvalidParameterException", "InvalidParameterException")
	return struct {
		Groups []group `json:"logGroups"`
		Next   string  `json:"nextToken,omitempty"`
	}{rows, next}, err
}

func (c *call) logGroupARN(name string) string {
	return "arn:aws:logs:" + c.region.Name + ":" + c.account.ID + ":log-group:" + name
}

var kmsOperations = map[string]operation{"DescribeKey": describeKey, "GetKeyPolicy": getKeyPolicy, "GenerateDataKey": generateDataKey, "Decrypt": kmsDecrypt}

// key finds a KMS key by what AWS takes for one: key ID, key ARN, alias name or
// alias ARN. A key of another account is found by its ARN alone.
func (w *World) key(rg *Region, id string) (*Region, *fleet.KMSKey) {
	for _, a := range w.Accounts {
		for _, r := range a.Regions {
			for _, k := range r.Keys {
				if k.Exists && (k.ARN == id || r == rg && (k.ID == id || k.ARN[strings.LastIndex(k.ARN, "/")+1:] == id)) {
					return r, k
				}
				if k.Exists && strings.HasPrefix(k.ID, "alias/") && id == "arn:aws:kms:"+r.Name+":"+a.ID+":"+k.ID {
					return r, k
				}
			}
		}
	}
	return nil, nil
}

func (c *call) namedKey() (*Region, *fleet.KMSKey, error) {
	var in struct {
		KeyID string `json:"KeyId"`
	}
	if err := c.decode(&in); err != nil {
		return nil, nil, err
	}
	if in.KeyID == "" {
		return nil, nil, refuse("ValidationException", "1 validation error detected: Value at 'keyId' failed to satisfy constraint: Member must not be null")
	}
	rg, k := c.w.key(c.region, in.KeyID)
	switch {
	case k == nil && strings.HasPrefix(in.KeyID, "alias/"):
		return nil, nil, refuse("NotFoundException", "Alias arn:aws:kms:%s:%s:%s is not found.", c.region.Name, c.account.ID, in.KeyID)
	case k == nil:
		return nil, nil, refuse("NotFoundException", "Key '%s' does not exist", in.KeyID)
	case rg.Account != c.account:
		return nil, nil, c.denied()
	}
	return rg, k, nil
}

func describeKey(c *call) (any, error) {
	rg, k, err := c.namedKey()
	if err != nil {
		return nil, err
	}
	state := cmp.Or(k.State, "Enabled")
	m := map[string]any{
		"AWSAccountId": rg.Account.ID, "KeyId": k.ARN[strings.LastIndex(k.ARN, "/")+1:], "Arn": k.ARN, "CreationDate": 1614589200, "Enabled": state == "Enabled",
		"Description": "", "KeyUsage": "ENCRYPT_DECRYPT", "KeyState": state, "Origin": "AWS_KMS", "KeyManager": cmp.Or(k.Manager, "CUSTOMER"),
		"KeySpec": "SYMMETRIC_DEFAULT", "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT", "EncryptionAlgorithms": []string{"SYMMETRIC_DEFAULT"}, "MultiRegion": false,
	}
	if state == "PendingDeletion" {
		m["DeletionDate"] = c.w.Now().AddDate(0, 0, 7).Unix()
	}
	return map[string]any{"KeyMetadata": m}, nil
}

func getKeyPolicy(c *call) (any, error) {
	_, k, err := c.namedKey()
	if err != nil {
		return nil, err
	}
	return map[string]string{"Policy": k.Policy.Value, "PolicyName": "default"}, nil
}
