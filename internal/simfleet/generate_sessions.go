package simfleet

import (
	"encoding/json"
	"fmt"
	"time"

	"ssm-migrate/internal/fleet"
)

const sessionLogGroup = "/ssm/sessions"

// sessionKey is the ARN of the KMS key for a Region's sessions. It depends on
// the seed alone, so that roles can name it before there is a Region.
func (g *generator) sessionKey(account, region string) string {
	r := g.rng("session key", account, region)
	return fmt.Sprintf("arn:aws:kms:%s:%s:key/%s-%s-%s-%s-%s", region, account, randomHex(r, 4), randomHex(r, 2), randomHex(r, 2), randomHex(r, 2), randomHex(r, 6))
}

// preferencesDocument writes Session Manager's preferences.
func preferencesDocument(logGroup, key string, encrypted bool, idle string) string {
	text, err := json.Marshal(map[string]any{
		"schemaVersion": "1.0", "description": "Document to hold regional settings for Session Manager", "sessionType": "Standard_Stream",
		"inputs": map[string]any{
			"s3BucketName": "", "s3KeyPrefix": "", "s3EncryptionEnabled": true, "cloudWatchLogGroupName": logGroup, "cloudWatchEncryptionEnabled": encrypted,
			"cloudWatchStreamingEnabled": true, "idleSessionTimeout": idle, "kmsKeyId": key, "runAsEnabled": false, "runAsDefaultUser": "",
		},
	})
	if err != nil {
		panic("simfleet: writing preferences: " + err.Error())
	}
	return string(text)
}

// sessionObjects makes what sessions in the Region are set up with. The
// ordinary world logs to a group on which no role of a host has rights.
func (b *regionBuilder) sessionObjects(index int) {
	key := b.sessionKey(b.Account.ID, b.Name)
	root := map[string]string{"AWS": "arn:aws:iam::" + b.Account.ID + ":root"}
	logs := map[string]string{"Service": "logs." + b.Name + ".amazonaws.com"}
	b.Keys = append(b.Keys, &fleet.KMSKey{ID: key, ARN: key, Exists: true, State: "Enabled", Manager: "CUSTOMER", Policy: fleet.Known(document(
		statement{Sid: "IAM", Effect: "Allow", Principal: root, Action: "kms:*", Resource: "*"},
		statement{Sid: "Logs", Effect: "Allow", Principal: logs, Action: []string{"kms:Encrypt*", "kms:Decrypt*", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"}, Resource: "*"},
	), "", b.base)})
	group := &fleet.LogGroup{Name: sessionLogGroup, ARN: "arn:aws:logs:" + b.Name + ":" + b.Account.ID + ":log-group:" + sessionLogGroup, Exists: true}
	b.LogGroups = append(b.LogGroups, group)
	if b.healthy {
		group.Key = key
		b.Preferences = preferencesDocument(sessionLogGroup, key, true, "60")
		return
	}
	if index > 0 {
		return
	}
	b.Preferences = preferencesDocument(sessionLogGroup, "", false, "20")
	b.Documents = append(b.Documents, &fleet.SessionDocument{Name: "Corp-PortForward-DB", Owner: b.Account.ID, Version: "3", Content: fleet.Known(
		`{"schemaVersion":"1.0","description":"Reach PostgreSQL","sessionType":"Port","parameters":{"localPortNumber":{"type":"String","default":"0"}},"properties":{"portNumber":"5432","type":"LocalPortForwarding","localPortNumber":"{{ localPortNumber }}"}}`, "", b.base)})
	b.Buckets = append(b.Buckets, &fleet.Bucket{Name: "corp-session-logs-" + b.Account.ID, Exists: true, Region: b.Name, Encryption: "aws:kms", Key: key, Policy: document(
		statement{Sid: "TLS", Effect: "Deny", Principal: "*", Action: "s3:*", Resource: []string{"arn:aws:s3:::corp-session-logs-" + b.Account.ID, "arn:aws:s3:::corp-session-logs-" + b.Account.ID + "/*"},
			Condition: map[string]any{"Bool": map[string]any{"aws:SecureTransport": "false"}}})})
}

// managedSessions is what Systems Manager remembers of sessions on the Region's
// hosts: those of people with a principal and a reason to be there, some of
// them open.
func (g *generator) managedSessions(rg *Region) {
	r := g.rng("sessions", rg.Account.ID, rg.Name)
	for i, in := range rg.Instances {
		if in.Host.Windows() || !in.Host.Running() || !g.healthy && (i%4 != 0 || in.Host.ProfileARN == "") {
			continue
		}
		arn, name := g.sessionOwner(in, i)
		if arn == "" {
			continue
		}
		for n := range 1 + r.IntN(3) {
			start := g.base.Add(-time.Duration(1+n*26+r.IntN(20)) * time.Hour)
			s := &fleet.ManagedSession{ID: name + "-" + randomHex(r, 9)[:17], Target: in.Host.ID, Owner: arn, Status: "Terminated", Document: fleet.PreferencesName, Start: start, End: start.Add(time.Duration(5+r.IntN(40)) * time.Minute)}
			if n == 0 && i%5 == 0 {
				s.Status, s.End = "Connected", time.Time{}
			}
			rg.ManagedSessions = append(rg.ManagedSessions, s)
		}
	}
}
