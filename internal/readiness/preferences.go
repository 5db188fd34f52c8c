package readiness

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// preferences holds what Session Manager's preferences ask for against the
// host and its role.
func (j *judge) preferences() {
	s := j.settings(j.r)
	s.hosts++
	j.idleTimeout(s)
	before := len(j.findings)
	switch s.state {
	case settingsUnknown:
		j.settingsUnread(s)
	case settingsKnown:
		j.sessionKey(s)
		j.sessionLogGroup(s)
		j.sessionBucket(s)
		j.runAs(s)
	}
	j.weighOpenShell(before)
}

// settingsUnread records that the preferences are not known: they were not
// read, or hold no session document.
func (j *judge) settingsUnread(s *sessionSettings) {
	j.addToSession("preferences-unknown", "", evidence(s.fact, "the preferences are not known%s", because(s.why)))
	if f := &j.findings[len(j.findings)-1]; s.fact.Known {
		f.Fix = "correct document " + fleet.PreferencesName + " (aws ssm update-document, then update-document-default-version), or prove the host by opening a session"
		f.Undo = "make the former version the default again"
	}
}

// shellOpen reports whether a shell of the preferences' document is open.
func (j *judge) shellOpen() bool { return j.connected && j.iam.openShell[j.h.ID] != nil }

// weighOpenShell holds the findings from a position on against a shell that is
// open. It settles doubts. What is known to refuse sessions it does not clear:
// all is checked when a session starts, and an open one goes on when a role, a
// key or the preferences change after that.
func (j *judge) weighOpenShell(from int) {
	if !j.shellOpen() {
		return
	}
	shell := j.iam.openShell[j.h.ID]
	found := slices.DeleteFunc(j.findings[from:], func(f fleet.Finding) bool { return f.Severity == fleet.SeverityUnknown })
	for i := range found {
		if f := &found[i]; f.Severity == fleet.SeverityBlocks {
			f.Evidence = append(f.Evidence, evidence(j.r.Sessions, "session %s is open since %s: it was let in by what held then", quoted(shell.ID), shell.Start.UTC().Format("2006-01-02 15:04Z")))
		}
	}
	j.findings = j.findings[:from+len(found)]
}

// addToSession records a finding about what the preferences ask for: its fix
// acts on every host of the Region.
func (j *judge) addToSession(code, object string, facts ...fleet.Evidence) {
	j.findings = append(j.findings, found(code, j.h.ID, object, "", j.regionBlast(), facts))
}

func (j *judge) regionBlast() string {
	return fmt.Sprintf("the preferences hold for every session in account %s and Region %s", j.h.Account, j.h.Region)
}

// undecided records a doubt about whether the preferences let sessions open.
func (j *judge) undecided(object string, facts ...fleet.Evidence) {
	j.addToSession("preferences-undecided", object, facts...)
}

// refuse records that the role is denied what sessions do not open without.
func (j *judge) refuse(code, object, action, resource string, d decision, facts ...fleet.Evidence) {
	gap := newGap(j.role)
	gap.resource = resource
	gap.add(action, d, j.decided(j.role, action, d))
	blast := j.role.blast()
	if d.bounded != "" {
		blast += "; " + j.iam.boundaryBlast(j.role.role.Boundary)
	}
	if d.controlled != nil {
		blast += "; " + j.iam.controlsBlast(j.role.account)
	}
	j.findings = append(j.findings, found(code, j.h.ID, object, gap.fix(), blast, append(gap.facts(), facts...)))
}

// sessionKey judges the KMS key that session data is encrypted with: without
// it no session opens, save those that forward ports.
// Source: AWS Systems Manager User Guide, session-preferences-enable-encryption.
func (j *judge) sessionKey(s *sessionSettings) {
	if s.inputs.Key == "" {
		return
	}
	key := s.fact.Value.Key
	named := evidence(s.fact, "the preferences encrypt session data with key %s", quoted(s.inputs.Key))
	switch k := key.Value; {
	case key.Known && !k.Exists:
		j.addToSession("kms-key-unusable", s.inputs.Key, named, evidence(key, "the key does not exist"))
		return
	case key.Known && k.State != "" && k.State != "Enabled":
		j.addToSession("kms-key-unusable", s.inputs.Key, named, evidence(key, "the key's state is %s", quoted(k.State)))
		return
	case key.Known && arnRegion(k.ARN) != "" && arnRegion(k.ARN) != j.h.Region:
		j.addToSession("kms-key-unusable", s.inputs.Key, named, evidence(key, "the key is in Region %s", quoted(arnRegion(k.ARN))))
		return
	}
	if j.role == nil {
		j.otherCredentials(s.inputs.Key, named)
		return
	}
	arn := s.keyARN(partitionOf(j.role.role.ARN))
	if arn == "" {
		j.undecided(s.inputs.Key, named, evidence(key, "the key was not read%s", because(key.Reason)))
		return
	}
	d := s.withPolicy(j.role, j.h, s.key, "kms:Decrypt", arn, keyRequest(fleet.ARNAccount(j.role.role.ARN), j.h.ID))
	switch d.allowed {
	case no:
		facts := []fleet.Evidence{named}
		if s.key.gap == "" {
			facts = append(facts, evidence(key, "the key's policy was weighed as well"))
		}
		if d.denials == nil && d.controlled == nil {
			facts = append(facts, fleet.Evidence{Fact: "grants of the key are not seen: one for the role would let it decrypt (aws kms list-grants)", Source: uncollected})
		}
		j.refuse("kms-decrypt-denied", j.role.role.ARN, "kms:Decrypt", arn, d, facts...)
	case maybe:
		j.undecided(s.inputs.Key, named, j.decided(j.role, "kms:Decrypt", d))
	}
}

// otherCredentials records the doubt about an agent that need not use its
// role. That a role is not known is said by the judgement of the identity.
func (j *judge) otherCredentials(object string, named fleet.Evidence) {
	if j.elsewhere {
		j.undecided(object, named, evidence(j.h.Probe.Value.Agent, "the agent may use the keys in root's credentials file; what those allow is not known"))
	}
}

// idleTimeout notes SSH sessions that have been open for so long that an idle
// timeout would hardly have let them. How long one was idle no host tells; one
// that is open for many timeouts will not have been busy all the time.
func (j *judge) idleTimeout(s *sessionSettings) {
	if s.state != settingsKnown || !j.h.Probe.Known {
		return
	}
	const timeouts = 12
	limit := time.Duration(s.inputs.IdleTimeout) * time.Minute
	p := j.h.Probe.Value
	var facts []fleet.Evidence
	for _, x := range p.Sessions.Value {
		if x.TTY == "" {
			continue
		}
		if since := lastLogin(p.Logins.Value.Logins, x); !since.IsZero() && j.h.Probe.At.Sub(since) >= timeouts*limit {
			facts = append(facts, evidence(p.Sessions, "a session of user %s has been open since %s or longer", quoted(x.User), since.UTC().Format("2006-01-02 15:04Z")))
		}
	}
	if facts != nil {
		facts = append(facts, evidence(s.fact, "sessions end after %s without input", fleet.Count(s.inputs.IdleTimeout, "minute")))
		j.addToSession("idle-timeout-short", "", facts...)
	}
}

// lastLogin is when a session's user last logged in: it was opened then, or
// before. Zero: the log does not tell.
func lastLogin(logins []fleet.Login, x fleet.Session) time.Time {
	var last time.Time
	for _, l := range logins {
		sameKey := x.Fingerprint == "" || l.Fingerprint == x.Fingerprint
		if l.User == x.User && sameKey && l.Last.After(last) {
			last = l.Last
		}
	}
	return last
}

// sessionLogGroup judges the CloudWatch Logs group. The agent asks for the
// group before a session; where the preferences demand encryption and it
// cannot see that, the session is refused, otherwise only the log is lost.
// Source: AWS Systems Manager User Guide, session-manager-troubleshooting;
// amazon-ssm-agent, session shell plugin.
func (j *judge) sessionLogGroup(s *sessionSettings) {
	name := s.inputs.LogGroup
	if name == "" {
		return
	}
	group := s.fact.Value.LogGroup
	named := evidence(s.fact, "the preferences send session logs to log group %s%s", quoted(name), demanded(s.inputs.LogGroupEncrypted))
	missing := group.Known && !group.Value.Exists
	switch demand := s.inputs.LogGroupEncrypted; {
	case demand && missing:
		j.addToSession("log-group-unverifiable", name, named, evidence(group, "the log group does not exist"))
		return
	case demand && group.Known && group.Value.Key == "":
		j.addToSession("log-group-unverifiable", name, named, evidence(group, "the log group is not encrypted with a KMS key"))
		return
	case missing:
		s.once("log-group-missing", name, j.regionBlast(), named, evidence(group, "the log group does not exist"))
		return
	case demand && !group.Known:
		j.undecided(name, named, evidence(group, "whether the log group is encrypted is not known%s", because(group.Reason)))
	}
	if j.role == nil {
		if s.inputs.LogGroupEncrypted {
			j.otherCredentials(name, named)
		}
		return
	}
	logs := "arn:" + partitionOf(j.role.role.ARN) + ":logs:" + j.h.Region + ":" + j.h.Account + ":log-group:"
	// The list is asked for as a whole, so that a grant on one group does not serve.
	d := j.iam.ask(j.role, j.h, "logs:DescribeLogGroups", logs+":log-stream:")
	switch {
	case s.inputs.LogGroupEncrypted && d.allowed == no:
		j.refuse("log-check-denied", j.role.role.ARN, "logs:DescribeLogGroups", "*", d, named)
		return
	case s.inputs.LogGroupEncrypted && d.allowed == maybe:
		j.undecided(name, named, j.decided(j.role, "logs:DescribeLogGroups", d))
	}
	gap := newGap(j.role)
	gap.resource = logs + name + ":*"
	if d.allowed == no {
		gap.resource = "*"
		gap.add("logs:DescribeLogGroups", d, j.decided(j.role, "logs:DescribeLogGroups", d))
	}
	for _, action := range [...]string{"logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"} {
		// Policies name these by the group, or by the streams in it.
		d := j.iam.ask(j.role, j.h, action, logs+name+":log-stream:session")
		if d.allowed == no && j.iam.ask(j.role, j.h, action, logs+name).allowed == no {
			gap.add(action, d, j.decided(j.role, action, d))
		}
	}
	s.lost("log-rights-missing", gap, j.role, named)
}

// sessionBucket judges the S3 bucket, as sessionLogGroup does the log group.
func (j *judge) sessionBucket(s *sessionSettings) {
	name := s.inputs.Bucket
	if name == "" {
		return
	}
	bucket := s.fact.Value.Bucket
	b := bucket.Value
	named := evidence(s.fact, "the preferences send session logs to bucket %s%s", quoted(name), demanded(s.inputs.BucketEncrypted))
	switch demand := s.inputs.BucketEncrypted; {
	case demand && bucket.Known && !b.Exists:
		j.addToSession("bucket-unverifiable", name, named, evidence(bucket, "the bucket does not exist"))
		return
	case demand && bucket.Known && b.Encryption == "":
		j.addToSession("bucket-unverifiable", name, named, evidence(bucket, "the bucket has no default encryption"))
		return
	case bucket.Known && !b.Exists:
		s.once("bucket-missing", name, j.regionBlast(), named, evidence(bucket, "the bucket does not exist"))
		return
	case demand && !bucket.Known:
		j.undecided(name, named, evidence(bucket, "whether the bucket is encrypted is not known%s", because(bucket.Reason)))
	case demand && b.Encryption != "aws:kms" && b.Encryption != "AES256":
		j.undecided(name, named, evidence(bucket, "the bucket is encrypted by %s, which agents up to October 2024 do not take for encryption", quoted(b.Encryption)))
	}
	if bucket.Known && b.Region != "" && b.Region != j.h.Region {
		s.once("bucket-elsewhere", name, j.regionBlast(), named, evidence(bucket, "the bucket is in Region %s", quoted(b.Region)))
	}
	switch {
	case j.role != nil:
		j.bucketRights(s, named)
	case s.inputs.BucketEncrypted:
		j.otherCredentials(name, named)
	}
}

func (j *judge) bucketRights(s *sessionSettings, named fleet.Evidence) {
	name := s.inputs.Bucket
	arn := "arn:" + partitionOf(j.role.role.ARN) + ":s3:::" + name
	if s.inputs.BucketEncrypted {
		switch d := s.withPolicy(j.role, j.h, s.bucket, "s3:GetEncryptionConfiguration", arn, nil); {
		case d.allowed == no:
			j.refuse("bucket-check-denied", j.role.role.ARN, "s3:GetEncryptionConfiguration", arn, d, named)
			return
		case d.allowed == maybe && s.fact.Value.Bucket.Known: // one that was not read is in doubt already
			j.undecided(name, named, j.decided(j.role, "s3:GetEncryptionConfiguration", d))
		}
	}
	gap := newGap(j.role)
	gap.resource = arn + "/" + strings.Trim(s.inputs.Prefix+"/*", "/")
	// The object is named by the session, which is named by whoever starts it.
	object := arn + "/" + strings.TrimPrefix(s.inputs.Prefix+"/session-0123456789abcdef0.log", "/")
	if d := s.withPolicy(j.role, j.h, s.bucket, "s3:PutObject", object, nil); d.allowed == no {
		gap.add("s3:PutObject", d, j.decided(j.role, "s3:PutObject", d))
	}
	s.lost("bucket-rights-missing", gap, j.role, named)
	if b := s.fact.Value.Bucket.Value; s.fact.Value.Bucket.Known && strings.HasPrefix(b.Encryption, "aws:kms") && strings.HasPrefix(b.Key, "arn:") {
		gap := newGap(j.role)
		gap.resource = b.Key
		if d := j.iam.ask(j.role, j.h, "kms:GenerateDataKey", b.Key); d.allowed == no {
			gap.add("kms:GenerateDataKey", d, j.decided(j.role, "kms:GenerateDataKey", d))
		}
		s.lost("log-key-denied", gap, j.role, named, evidence(s.fact.Value.Bucket, "the bucket is encrypted with key %s", quoted(b.Key)))
	}
}

func demanded(encryption bool) string {
	if encryption {
		return " and demand that it is encrypted"
	}
	return ""
}

// once records a finding about the Region, whichever of its hosts it was found by.
func (s *sessionSettings) once(code, object, blast string, facts ...fleet.Evidence) {
	ref := fleet.Ref{Code: code, Object: object}
	if !s.lacks[ref] {
		s.lacks[ref] = true
		s.roles = append(s.roles, found(code, "", object, "", blast, facts))
	}
}

// lost records, once for each role, that its hosts' session logs get lost.
func (s *sessionSettings) lost(code string, gap *missingActions, v *roleView, facts ...fleet.Evidence) {
	ref := fleet.Ref{Code: code, Object: v.role.ARN}
	if !gap.any() || s.lacks[ref] {
		return
	}
	s.lacks[ref] = true
	s.roles = append(s.roles, found(code, "", v.role.ARN, gap.fix(), v.blast(), append(gap.facts(), facts...)))
}

// preferencesFindings gives what is to be said of a Region's preferences
// rather than of its hosts, which have to be judged already.
func (a *assessor) preferencesFindings() []fleet.Finding {
	var out []fleet.Finding
	for i := range a.snapshot.Regions {
		r := &a.snapshot.Regions[i]
		s := a.preferred[r]
		if s == nil || s.hosts == 0 {
			continue
		}
		name := r.Account + "/" + r.Name
		blast := fmt.Sprintf("the preferences hold for every session in account %s and Region %s, on %s that run", r.Account, r.Name, fleet.Count(s.hosts, "host"))
		if s.state == settingsDefault {
			out = append(out, found("preferences-default", "", name, "", blast, []fleet.Evidence{evidence(s.fact, "document %s does not exist", fleet.PreferencesName)}))
		}
		if problems := s.problems(); s.state == settingsKnown && problems != nil {
			var facts []fleet.Evidence
			for _, p := range problems {
				facts = append(facts, evidence(s.fact, "%s", quoted(p)))
			}
			out = append(out, found("preferences-invalid", "", name, "", blast, facts))
		}
		out = append(out, s.roles...)
	}
	return out
}

// problems lists what the document says that Session Manager would not take as meant.
func (s *sessionSettings) problems() []string {
	out := slices.Clone(s.inputs.Problems)
	if t := s.inputs.Type; t != "Standard_Stream" {
		out = append(out, fmt.Sprintf("sessionType is %q where the preferences are for Standard_Stream", t))
	}
	return out
}

// arnRegion is the Region in an ARN; empty when it has none.
func arnRegion(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 {
		return ""
	}
	return parts[3]
}
