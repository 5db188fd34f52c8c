package readiness_test

import (
	"strings"
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
)

const (
	keyARN      = "arn:aws:kms:" + regionName + ":" + accountID + ":key/1234"
	ownPolicies = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + accountID + `:root"},"Action":"kms:*","Resource":"*"}]}`
	rootOnly    = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + accountID + `:role/admin"},"Action":"kms:*","Resource":"*"}]}`
	namesRole   = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + roleARN + `"},"Action":["kms:Decrypt","kms:GenerateDataKey"],"Resource":"*"}]}`
)

// prefer sets the preferences' inputs, and then what they point to.
func prefer(inputs string, more ...func(p *fleet.Preferences)) change {
	return func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
		p := fleet.Preferences{Exists: true, Version: "3", Content: `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{` + inputs + `}}`}
		for _, f := range more {
			f(&p)
		}
		r.Preferences = known(p, "ssm:GetDocument")
	}
}

func sessionKey(k fleet.KMSKey) func(*fleet.Preferences) {
	return func(p *fleet.Preferences) { p.Key = known(k, "kms:DescribeKey") }
}

func enabledKey(policy string) func(*fleet.Preferences) {
	return sessionKey(fleet.KMSKey{ID: keyARN, ARN: keyARN, Exists: true, State: "Enabled", Policy: known(policy, "kms:GetKeyPolicy")})
}

func sessionLogs(g fleet.LogGroup) func(*fleet.Preferences) {
	return func(p *fleet.Preferences) { p.LogGroup = known(g, "logs:DescribeLogGroups") }
}

func sessionBucket(b fleet.Bucket) func(*fleet.Preferences) {
	return func(p *fleet.Preferences) { p.Bucket = known(b, "s3:GetBucketEncryption") }
}

func openSession(s *fleet.Snapshot, h *fleet.Host, r *fleet.Region) {
	r.Sessions = known([]fleet.ManagedSession{{ID: "ann-1", Target: h.ID, Status: "Connected", Document: fleet.PreferencesName}}, "ssm:DescribeSessions")
}

func openWith(document string) change {
	return func(s *fleet.Snapshot, h *fleet.Host, r *fleet.Region) {
		openSession(s, h, r)
		r.Sessions.Value[0].Document = document
	}
}

var openPort = openWith("AWS-StartPortForwardingSession")

func users(names ...string) change {
	return func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
		var all []fleet.User
		for _, n := range names {
			all = append(all, fleet.User{Name: n})
		}
		h.Probe.Value.Users = known(all, "probe: getent passwd")
	}
}

func tagged(user string) change {
	return func(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) {
		s.Accounts[0].Users = known([]fleet.IAMUser{{Name: "ann", ARN: "arn:aws:iam::" + accountID + ":user/ann", Tags: map[string]string{"SSMSessionRunAs": user}}}, "iam:GetAccountAuthorizationDetails")
	}
}

func TestSessionKey(t *testing.T) {
	const denied, useless, undecided = "kms-decrypt-denied", "kms-key-unusable", "preferences-undecided"
	encrypt := `"kmsKeyId":"` + keyARN + `"`
	decrypt := role(`{"Statement":[{"Effect":"Allow","Action":[` + core + `],"Resource":"*"},{"Effect":"Allow","Action":"kms:Decrypt","Resource":"` + keyARN + `"}]}`)
	runCases(t, []verdictCase{
		{"both the policy and the role let it (session-preferences-enable-encryption)", []change{decrypt, prefer(encrypt, enabledKey(ownPolicies))},
			fleet.VerdictReady, "", []string{}},
		{"the role lacks kms:Decrypt (getting-started-create-iam-instance-profile)", []change{prefer(encrypt, enabledKey(ownPolicies))},
			fleet.VerdictBlocked, denied, []string{denied}},
		{"a key policy that names the role needs no policy of the role (key-policy-default)", []change{prefer(encrypt, enabledKey(namesRole))},
			fleet.VerdictReady, "", []string{}},
		{"a key policy that leaves nothing to the account makes the role's policies ineffective (key-policy-default)", []change{decrypt, prefer(encrypt, enabledKey(rootOnly))},
			fleet.VerdictBlocked, denied, []string{denied}},
		{"a boundary without kms stops the shell", []change{decrypt, boundary(allowing(core)), prefer(encrypt, enabledKey(ownPolicies))},
			fleet.VerdictBlocked, denied, []string{denied}},
		{"a key policy that was not read", []change{decrypt, prefer(encrypt, sessionKey(fleet.KMSKey{ID: keyARN, ARN: keyARN, Exists: true, State: "Enabled", Policy: lost[string]("kms:GetKeyPolicy", "AccessDenied")}))},
			fleet.VerdictUnknown, undecided, []string{undecided}},
		{"a session that is open settles it", []change{decrypt, openSession, prefer(encrypt, sessionKey(fleet.KMSKey{ID: keyARN, ARN: keyARN, Exists: true, Policy: lost[string]("kms:GetKeyPolicy", "AccessDenied")}))},
			fleet.VerdictReady, "", []string{}},
		{"a session of no named document is one of the preferences' (StartSession)", []change{decrypt, openWith(""), prefer(encrypt, sessionKey(fleet.KMSKey{ID: keyARN, ARN: keyARN, Exists: true, Policy: lost[string]("kms:GetKeyPolicy", "AccessDenied")}))},
			fleet.VerdictReady, "", []string{}},
		{"SSH through Session Manager that is open does not", []change{decrypt, openWith("AWS-StartSSHSession"), prefer(encrypt, sessionKey(fleet.KMSKey{ID: keyARN, ARN: keyARN, Exists: true, Policy: lost[string]("kms:GetKeyPolicy", "AccessDenied")}))},
			fleet.VerdictUnknown, undecided, []string{undecided}},
		{"a forwarded port that is open does not", []change{decrypt, openPort, prefer(encrypt, sessionKey(fleet.KMSKey{ID: keyARN, ARN: keyARN, Exists: true, Policy: lost[string]("kms:GetKeyPolicy", "AccessDenied")}))},
			fleet.VerdictUnknown, undecided, []string{undecided}},
		{"a session that is open was let in before the role lost kms:Decrypt", []change{openSession, prefer(encrypt, enabledKey(ownPolicies))},
			fleet.VerdictBlocked, denied, []string{denied}},
		{"a session that is open was let in before the key was disabled", []change{decrypt, openSession, prefer(encrypt, sessionKey(fleet.KMSKey{ARN: keyARN, Exists: true, State: "Disabled"}))},
			fleet.VerdictBlocked, useless, []string{useless}},
		{"a disabled key", []change{decrypt, prefer(encrypt, sessionKey(fleet.KMSKey{ARN: keyARN, Exists: true, State: "Disabled"}))},
			fleet.VerdictBlocked, useless, []string{useless}},
		{"a key that is gone", []change{decrypt, prefer(encrypt, sessionKey(fleet.KMSKey{}))},
			fleet.VerdictBlocked, useless, []string{useless}},
		{"a key of another Region", []change{decrypt, prefer(encrypt, sessionKey(fleet.KMSKey{ARN: "arn:aws:kms:us-east-1:" + accountID + ":key/1", Exists: true, State: "Enabled"}))},
			fleet.VerdictBlocked, useless, []string{useless}},
		{"an alias that was not followed", []change{decrypt, prefer(`"kmsKeyId":"alias/sessions"`)},
			fleet.VerdictUnknown, undecided, []string{undecided}},
	})
}

// A key's policy may tell the hosts of one role apart by their sessions,
// whichever of them is judged first.
func TestKeyPolicyOfOneSession(t *testing.T) {
	session := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:sts::` + accountID + `:assumed-role/web/i-1"},"Action":"kms:Decrypt","Resource":"*"}]}`
	for _, ids := range [][]string{{"i-1", "i-2"}, {"i-2", "i-1"}} {
		a := assess(prefer(`"kmsKeyId":"`+keyARN+`"`, enabledKey(session)), func(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) {
			s.Hosts = []fleet.Host{healthyHost(ids[0]), healthyHost(ids[1])}
		})
		for _, v := range a.Hosts {
			if want := map[string]fleet.Verdict{"i-1": fleet.VerdictReady, "i-2": fleet.VerdictBlocked}[v.Host]; v.Verdict != want {
				t.Errorf("%v: %s is %s, want %s", ids, v.Host, v.Verdict, want)
			}
		}
	}
}

func TestOpenShellIsEvidence(t *testing.T) {
	f := finding(t, assess(openSession, prefer(`"kmsKeyId":"`+keyARN+`"`, enabledKey(ownPolicies))), "kms-decrypt-denied")
	if last := f.Evidence[len(f.Evidence)-1]; !strings.Contains(last.Fact, "ann-1") || last.Source != "ssm:DescribeSessions" {
		t.Errorf("the open session is not told of: %+v", f.Evidence)
	}
}

func TestGrantsOfTheKeyAreNotSeen(t *testing.T) {
	f := finding(t, assess(prefer(`"kmsKeyId":"`+keyARN+`"`, enabledKey(ownPolicies))), "kms-decrypt-denied")
	if !strings.Contains(factsOf(f), "grants of the key are not seen") {
		t.Errorf("evidence does not tell of grants: %s", factsOf(f))
	}
	denied := role(`{"Statement":[{"Effect":"Allow","Action":[` + core + `],"Resource":"*"},{"Effect":"Deny","Action":"kms:*","Resource":"*"}]}`)
	f = finding(t, assess(denied, prefer(`"kmsKeyId":"`+keyARN+`"`, enabledKey(ownPolicies))), "kms-decrypt-denied")
	if strings.Contains(factsOf(f), "grants") {
		t.Errorf("no grant helps against a Deny: %s", factsOf(f))
	}
}

func TestSessionLogs(t *testing.T) {
	const gone, rights, refused, check = "log-group-missing", "log-rights-missing", "log-group-unverifiable", "log-check-denied"
	name := `"cloudWatchLogGroupName":"/ssm/sessions"`
	plain, demand := name+`,"cloudWatchEncryptionEnabled":false`, name+`,"cloudWatchEncryptionEnabled":true`
	logging := func(resource string) change {
		return role(`{"Statement":[{"Effect":"Allow","Action":[` + core + `],"Resource":"*"},{"Effect":"Allow","Action":"logs:*","Resource":"` + resource + `"}]}`)
	}
	there := sessionLogs(fleet.LogGroup{Name: "/ssm/sessions", Exists: true})
	encrypted := sessionLogs(fleet.LogGroup{Name: "/ssm/sessions", Exists: true, Key: keyARN})
	group := "arn:aws:logs:" + regionName + ":" + accountID + ":log-group:/ssm/sessions:*"
	runCases(t, []verdictCase{
		{"all there", []change{logging("*"), prefer(plain, there)}, fleet.VerdictReady, "", []string{}},
		{"a deleted group blanks the screen (session-manager-troubleshooting)", []change{logging("*"), prefer(plain, sessionLogs(fleet.LogGroup{}))},
			fleet.VerdictReady, "", []string{gone}},
		{"rights are missing", []change{prefer(plain, there)}, fleet.VerdictReady, "", []string{rights}},
		{"a grant on the group alone does not let it be found", []change{logging(group), prefer(plain, there)}, fleet.VerdictReady, "", []string{rights}},
		{"encryption demanded and there", []change{logging("*"), prefer(demand, encrypted)}, fleet.VerdictReady, "", []string{}},
		{"encryption is demanded where the document does not say", []change{logging("*"), prefer(name, there)},
			fleet.VerdictBlocked, refused, []string{refused}},
		{"encryption demanded of a group without a key (session-manager-troubleshooting)", []change{logging("*"), prefer(demand, there)},
			fleet.VerdictBlocked, refused, []string{refused}},
		{"encryption demanded of a deleted group", []change{logging("*"), prefer(demand, sessionLogs(fleet.LogGroup{}))},
			fleet.VerdictBlocked, refused, []string{refused}},
		{"encryption that the role cannot see is refused (amazon-ssm-agent, shell plugin)", []change{logging(group), prefer(demand, encrypted)},
			fleet.VerdictBlocked, check, []string{check}},
		{"a group that was not read", []change{logging("*"), prefer(demand, func(p *fleet.Preferences) {
			p.LogGroup = lost[fleet.LogGroup]("logs:DescribeLogGroups", "AccessDenied")
		})}, fleet.VerdictUnknown, "preferences-undecided", []string{"preferences-undecided"}},
	})
}

func TestSessionBucket(t *testing.T) {
	const refused, check, gone, rights = "bucket-unverifiable", "bucket-check-denied", "bucket-missing", "bucket-rights-missing"
	name := `"s3BucketName":"logs","s3KeyPrefix":"ssm"`
	plain, demand := name+`,"s3EncryptionEnabled":false`, name+`,"s3EncryptionEnabled":true`
	writing := role(`{"Statement":[{"Effect":"Allow","Action":[` + core + `],"Resource":"*"},{"Effect":"Allow","Action":"s3:PutObject","Resource":"arn:aws:s3:::logs/ssm/*"},{"Effect":"Allow","Action":"s3:GetEncryptionConfiguration","Resource":"*"}]}`)
	there := func(change func(b *fleet.Bucket)) func(*fleet.Preferences) {
		b := fleet.Bucket{Name: "logs", Exists: true, Region: regionName, Encryption: "AES256"}
		if change != nil {
			change(&b)
		}
		return sessionBucket(b)
	}
	runCases(t, []verdictCase{
		{"all there", []change{writing, prefer(demand, there(nil))}, fleet.VerdictReady, "", []string{}},
		{"a bucket without encryption (session-manager-troubleshooting)", []change{writing, prefer(demand, there(func(b *fleet.Bucket) { b.Encryption = "" }))},
			fleet.VerdictBlocked, refused, []string{refused}},
		{"a bucket that is gone", []change{writing, prefer(demand, sessionBucket(fleet.Bucket{}))}, fleet.VerdictBlocked, refused, []string{refused}},
		{"a bucket that is gone, encryption not demanded", []change{writing, prefer(plain, sessionBucket(fleet.Bucket{}))}, fleet.VerdictReady, "", []string{gone}},
		{"s3:GetEncryptionConfiguration is missing (getting-started-create-iam-instance-profile)", []change{prefer(demand, there(nil))},
			fleet.VerdictBlocked, check, []string{check}},
		{"s3:PutObject is missing", []change{prefer(plain, there(nil))}, fleet.VerdictReady, "", []string{rights}},
		{"a prefix that the role may not write", []change{writing, prefer(strings.Replace(plain, `"ssm"`, `"other"`, 1), there(nil))}, fleet.VerdictReady, "", []string{rights}},
		{"the bucket's policy denies it", []change{writing, prefer(plain, there(func(b *fleet.Bucket) {
			b.Policy = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::logs/*","Condition":{"StringNotEquals":{"aws:PrincipalAccount":"999999999999"}}}]}`
		}))}, fleet.VerdictReady, "", []string{rights}},
		{"a bucket policy with an element that is not known", []change{writing, prefer(demand, there(func(b *fleet.Bucket) {
			b.Policy = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*","Comment":"x"}]}`
		}))}, fleet.VerdictUnknown, "preferences-undecided", []string{"preferences-undecided"}},
		{"a bucket policy that was not read is one doubt", []change{writing, prefer(demand, func(p *fleet.Preferences) {
			p.Bucket = lost[fleet.Bucket]("s3:GetBucketPolicy", "AccessDenied")
			p.Bucket.Value = fleet.Bucket{Name: "logs", Exists: true, Region: regionName, Encryption: "AES256"}
		})}, fleet.VerdictUnknown, "preferences-undecided", []string{"preferences-undecided"}},
		{"the bucket's key is not the role's (session-manager-logging-s3)", []change{writing, prefer(demand, there(func(b *fleet.Bucket) { b.Encryption, b.Key = "aws:kms", keyARN }))},
			fleet.VerdictReady, "", []string{"log-key-denied"}},
		{"another Region", []change{writing, prefer(demand, there(func(b *fleet.Bucket) { b.Region = "us-east-1" }))}, fleet.VerdictReady, "", []string{"bucket-elsewhere"}},
		{"an encryption that agents do not know", []change{writing, prefer(demand, there(func(b *fleet.Bucket) { b.Encryption = "aws:kms:dsse" }))},
			fleet.VerdictUnknown, "preferences-undecided", []string{"preferences-undecided"}},
	})
}

func TestRunAs(t *testing.T) {
	const missing, undecided, tagMissing, untagged = "runas-user-missing", "preferences-undecided", "runas-tag-user-missing", "runas-user-unset-untagged"
	as := func(user string) change { return prefer(`"runAsEnabled":true,"runAsDefaultUser":"` + user + `"`) }
	windows := func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) { h.Platform = "Windows" }
	readAll := func(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) {
		s.Accounts[0].Users = known([]fleet.IAMUser{}, "iam:GetAccountAuthorizationDetails")
	}
	runCases(t, []verdictCase{
		{"the user is there", []change{users("ops"), as("ops")}, fleet.VerdictReady, "", []string{}},
		{"off", []change{prefer(`"runAsEnabled":false,"runAsDefaultUser":"ops"`)}, fleet.VerdictReady, "", []string{}},
		{"no fall-back without the user (session-preferences-run-as)", []change{users("ec2-user"), as("ops")}, fleet.VerdictBlocked, missing, []string{missing}},
		{"a session that is open was let in before Run As came", []change{openSession, users("ec2-user"), as("ops")}, fleet.VerdictBlocked, missing, []string{missing}},
		{"root is not supported (session-preferences-run-as)", []change{users("root"), as("root")}, fleet.VerdictBlocked, "runas-user-root", []string{"runas-user-root"}},
		{"Windows knows no Run As", []change{windows, as("ops")}, fleet.VerdictReady, "", []string{}},
		{"users that were not read", []change{unprobed, as("ops")}, fleet.VerdictUnknown, undecided, []string{undecided, "ssh-not-scanned"}},
		{"a domain's user", []change{users("ec2-user"), as(`ops@corp.example`)}, fleet.VerdictUnknown, undecided, []string{undecided}},
		{"nobody is named", []change{readAll, as("")}, fleet.VerdictBlocked, "runas-user-unset", []string{"runas-user-unset"}},
		{"nobody is named who is on the host", []change{readAll, users("ec2-user"), tagged("ann"), as("")}, fleet.VerdictBlocked, missing, []string{missing, tagMissing, untagged}},
		{"nobody is named but root", []change{readAll, users("root"), tagged("root"), as("")}, fleet.VerdictBlocked, missing, []string{missing, untagged, "runas-tag-root"}},
		{"who is tagged is not fully known", []change{users("ec2-user"), as("")}, fleet.VerdictUnknown, undecided, []string{undecided, untagged}},
		{"a tagged user may be on the host", []change{unprobed, tagged("ann"), as("")}, fleet.VerdictUnknown, undecided, []string{undecided, "ssh-not-scanned", untagged}},
		{"nobody but the tagged", []change{users("ann"), tagged("ann"), as("")}, fleet.VerdictReady, "", []string{"runas-user-unset-untagged"}},
		{"a tag names a user who is not there", []change{users("ops"), tagged("ann"), as("ops")}, fleet.VerdictReady, "", []string{"runas-tag-user-missing"}},
		{"a tag names root", []change{users("ops", "root"), tagged("root"), as("ops")}, fleet.VerdictReady, "", []string{"runas-tag-root"}},
	})
}

func TestIdleTimeout(t *testing.T) {
	open := func(tty string, ago time.Duration) change {
		return func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
			h.Probe.Value.Sessions = known([]fleet.Session{{User: "ann", TTY: tty, Fingerprint: "SHA256:a"}}, "probe: sessions")
			h.Probe.Value.Logins.Value.Logins = []fleet.Login{
				{User: "ann", Fingerprint: "SHA256:a", Last: at.Add(-ago)},
				{User: "ann", Fingerprint: "SHA256:b", Last: at},
				{User: "bob", Fingerprint: "SHA256:a", Last: at},
			}
		}
	}
	const short = "idle-timeout-short"
	runCases(t, []verdictCase{
		{"an hour against two minutes", []change{open("pts/1", time.Hour), prefer(`"idleSessionTimeout":"2"`)}, fleet.VerdictReady, "", []string{short}},
		{"an hour against the default of twenty (session-manager-schema)", []change{open("pts/1", time.Hour), prefer("")}, fleet.VerdictReady, "", []string{}},
		{"a night against the default", []change{open("pts/1", 10*time.Hour), prefer("")}, fleet.VerdictReady, "", []string{short}},
		{"a copy idles nowhere", []change{open("", 10*time.Hour), prefer("")}, fleet.VerdictReady, "", []string{}},
	})
}

func TestPreferencesDocument(t *testing.T) {
	unread := func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
		r.Preferences = lost[fleet.Preferences]("ssm:GetDocument", "AccessDeniedException")
	}
	unasked := func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
		r.Preferences = fleet.Fact[fleet.Preferences]{}
	}
	none := func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
		r.Preferences = known(fleet.Preferences{}, "ssm:GetDocument")
	}
	broken := func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
		r.Preferences = known(fleet.Preferences{Exists: true, Content: `{"inputs":`}, "ssm:GetDocument")
	}
	runCases(t, []verdictCase{
		{"none: the service's defaults hold", []change{none}, fleet.VerdictReady, "", []string{"preferences-default"}},
		{"saved with nothing set", []change{prefer("")}, fleet.VerdictReady, "", []string{}},
		{"never asked for", []change{unasked}, fleet.VerdictUnknown, "preferences-unknown", []string{"preferences-unknown"}},
		{"of a Region without a record", []change{func(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) { s.Regions = nil }}, fleet.VerdictUnknown, "endpoint-policy-undecided", []string{"endpoint-policy-undecided", "preferences-unknown"}},
		{"not read", []change{unread}, fleet.VerdictUnknown, "preferences-unknown", []string{"preferences-unknown"}},
		{"not read, but a session is open", []change{unread, openSession}, fleet.VerdictReady, "", []string{}},
		{"not understood", []change{broken}, fleet.VerdictUnknown, "preferences-unknown", []string{"preferences-unknown"}},
		{"a timeout out of bounds (session-manager-schema)", []change{prefer(`"idleSessionTimeout":"90"`)}, fleet.VerdictReady, "", []string{"preferences-invalid"}},
	})
}

// One denied call leaves every host of the Region unknown: the finding has to
// say so, and what to grant.
func TestUnreadPreferencesSayWhatToGrant(t *testing.T) {
	const code = "preferences-unknown"
	denied := finding(t, assess(func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
		r.Preferences = lost[fleet.Preferences]("ssm:GetDocument", "AccessDeniedException")
	}), code)
	if !strings.Contains(denied.Fix, "ssm:GetDocument on document SSM-SessionManagerRunShell") || !strings.Contains(denied.Blast, regionName) || !strings.Contains(factsOf(denied), "AccessDenied") {
		t.Errorf("denied: %+v", denied)
	}
	broken := finding(t, assess(func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
		r.Preferences = known(fleet.Preferences{Exists: true, Content: "{"}, "ssm:GetDocument")
	}), code)
	if strings.Contains(broken.Fix, "ssm:GetDocument") || !strings.Contains(broken.Fix, "update-document") {
		t.Errorf("not understood: %+v", broken)
	}
}

func TestRightsAreOneFindingForEachRole(t *testing.T) {
	a := assess(prefer(`"cloudWatchLogGroupName":"g","cloudWatchEncryptionEnabled":false`, sessionLogs(fleet.LogGroup{Name: "g", Exists: true})), func(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) {
		for _, id := range []string{"i-2", "i-3", "i-4"} {
			s.Hosts = append(s.Hosts, healthyHost(id))
		}
	})
	if len(a.Findings) != 1 || a.Findings[0].Code != "log-rights-missing" || a.Findings[0].Object != roleARN || !strings.Contains(a.Findings[0].Blast, "4 hosts") {
		t.Errorf("findings %+v", a.Findings)
	}
	want := `{"Effect":"Allow","Action":["logs:DescribeLogGroups","logs:CreateLogStream","logs:DescribeLogStreams","logs:PutLogEvents"],"Resource":"*"}`
	if fix := a.Findings[0].Fix; !strings.Contains(fix, want) {
		t.Errorf("fix %s lacks %s", fix, want)
	}
}
