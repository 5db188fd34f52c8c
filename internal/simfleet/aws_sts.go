package simfleet

import (
	"encoding/json"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

var stsOperations = map[string]operation{
	"GetCallerIdentity": getCallerIdentity,
	"AssumeRole":        assumeRole,
}

func getCallerIdentity(c *call) (any, error) {
	arn := c.callerARN()
	return struct {
		ARN     string `xml:"Arn"`
		UserID  string `xml:"UserId"`
		Account string `xml:"Account"`
	}{arn, uniqueID("AIDA", arn), c.account.ID}, nil
}

// assumeRole gives an access key ID that selects the role's account. The
// session token carries who the caller is then: "ROLE~SESSION".
func assumeRole(c *call) (any, error) {
	arn, session := c.form.Get("RoleArn"), c.form.Get("RoleSessionName")
	if arn == "" || session == "" {
		return nil, refuse("ValidationError", "1 validation error detected: RoleArn and RoleSessionName must not be null")
	}
	account, role := c.w.role(arn)
	if role == nil || !trustsAccount(role, c.account.ID) {
		return nil, &apiError{http.StatusForbidden, "AccessDenied", "User: " + c.callerARN() + " is not authorized to perform: sts:AssumeRole on resource: " + arn}
	}
	name := path.Base(arn)
	assumed := "arn:aws:sts::" + account.ID + ":assumed-role/" + name + "/" + session
	type credentials struct {
		Key     string `xml:"AccessKeyId"`
		Secret  string `xml:"SecretAccessKey"`
		Token   string `xml:"SessionToken"`
		Expires string `xml:"Expiration"`
	}
	type user struct {
		ID  string `xml:"AssumedRoleId"`
		ARN string `xml:"Arn"`
	}
	return struct {
		Credentials credentials `xml:"Credentials"`
		User        user        `xml:"AssumedRoleUser"`
	}{
		credentials{assumedPrefix + account.ID + "DEMO", "simulated", name + "~" + session, c.w.Now().Add(time.Hour).UTC().Format(time.RFC3339)},
		user{uniqueID("AROA", arn) + ":" + session, assumed},
	}, nil
}

func (w *World) role(arn string) (*Account, *fleet.Role) {
	for _, a := range w.Accounts {
		if r := find(a.Roles, func(r *fleet.Role) bool { return r.ARN == arn }); r != nil {
			return a, r
		}
	}
	return nil, nil
}

// trustsAccount reports whether a role may be assumed from an account.
func trustsAccount(r *fleet.Role, account string) bool {
	var d struct {
		Statement oneOrMore[struct {
			Effect    string
			Principal struct{ AWS oneOrMore[string] }
		}]
	}
	if err := json.Unmarshal([]byte(r.Trust), &d); err != nil {
		return false
	}
	for _, s := range d.Statement {
		if s.Effect == "Allow" && slices.ContainsFunc(s.Principal.AWS, func(p string) bool {
			return p == "*" || p == account || strings.HasPrefix(p, "arn:aws:iam::"+account+":")
		}) {
			return true
		}
	}
	return false
}
