package fleet_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/fleet"
)

// Sources of the cases: AWS Systems Manager User Guide, session-manager-schema
// (fields, bounds and defaults) and getting-started-configure-preferences-cli
// (the document that the console writes).
func TestParseSessionDocument(t *testing.T) {
	for _, tt := range []struct {
		name, content string
		want          fleet.SessionInputs
	}{
		{"the console's document", `{"schemaVersion":"1.0","description":"Document to hold regional settings for Session Manager","sessionType":"Standard_Stream",
			"inputs":{"s3BucketName":"logs","s3KeyPrefix":"ssm","s3EncryptionEnabled":true,"cloudWatchLogGroupName":"/ssm","cloudWatchEncryptionEnabled":false,
			"cloudWatchStreamingEnabled":true,"kmsKeyId":"alias/ssm","runAsEnabled":true,"runAsDefaultUser":"ops","idleSessionTimeout":"30","maxSessionDuration":"600",
			"shellProfile":{"windows":"date","linux":"exec bash"}}}`,
			fleet.SessionInputs{Type: "Standard_Stream", Bucket: "logs", Prefix: "ssm", BucketEncrypted: true, LogGroup: "/ssm", Streaming: true, Key: "alias/ssm",
				RunAs: true, RunAsUser: "ops", IdleTimeout: 30, MaxDuration: 600, LinuxProfile: "exec bash", WindowsProfile: "date"}},
		{"encryption of targets is demanded unless the document says no", `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{}}`,
			fleet.SessionInputs{Type: "Standard_Stream", BucketEncrypted: true, LogGroupEncrypted: true, IdleTimeout: 20}},
		{"empty timeouts mean the defaults", `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"idleSessionTimeout":"","maxSessionDuration":""}}`,
			fleet.SessionInputs{Type: "Standard_Stream", BucketEncrypted: true, LogGroupEncrypted: true, IdleTimeout: 20}},
		{"timeouts out of their bounds", `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"idleSessionTimeout":"61","maxSessionDuration":"soon"}}`,
			fleet.SessionInputs{Type: "Standard_Stream", BucketEncrypted: true, LogGroupEncrypted: true, IdleTimeout: 20, Problems: []string{
				`idleSessionTimeout "61" is not a number of minutes from 1 to 60`, `maxSessionDuration "soon" is not a number of minutes from 1 to 1440`}}},
		{"a port document", `{"schemaVersion":"1.0","sessionType":"Port","properties":{"portNumber":"8080","type":"LocalPortForwarding"}}`,
			fleet.SessionInputs{Type: "Port", BucketEncrypted: true, LogGroupEncrypted: true, IdleTimeout: 20}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := fleet.ParseSessionDocument(tt.content)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	for _, bad := range []string{"", "[]", `{"inputs":{}}`, `{"schemaVersion":"1.0","inputs":{"runAsEnabled":"yes"}}`} {
		if got, err := fleet.ParseSessionDocument(bad); err == nil {
			t.Errorf("%q was taken for a session document: %+v", bad, got)
		}
	}
}

func FuzzParseSessionDocument(f *testing.F) {
	f.Add(`{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"idleSessionTimeout":20}}`)
	f.Add(`{"schemaVersion":1,"inputs":{"maxSessionDuration":[1]}}`)
	f.Fuzz(func(t *testing.T, content string) {
		in, err := fleet.ParseSessionDocument(content)
		if err == nil && (in.IdleTimeout < 1 || in.IdleTimeout > 60 || in.MaxDuration < 0 || in.MaxDuration > 1440) {
			t.Errorf("timeouts out of their bounds: %+v", in)
		}
	})
}

// Every enumeration is written by name and read back, and what is no name is refused.
func TestNamesRoundTrip(t *testing.T) {
	for _, v := range []fleet.Truth{fleet.TruthUnknown, fleet.TruthNo, fleet.TruthYes} {
		var back fleet.Truth
		roundTrip(t, v, &back)
		if back != v {
			t.Errorf("%v came back as %v", v, back)
		}
	}
	for _, v := range []fleet.ConsumerStatus{fleet.ConsumerActive, fleet.ConsumerWaived, fleet.ConsumerSilent, fleet.ConsumerMigrated} {
		var back fleet.ConsumerStatus
		roundTrip(t, v, &back)
		if back != v {
			t.Errorf("%v came back as %v", v, back)
		}
	}
	var v fleet.Truth
	if err := json.Unmarshal([]byte(`"perhaps"`), &v); err == nil {
		t.Errorf("%q was taken for a truth: %v", "perhaps", v)
	}
}

func roundTrip(t *testing.T, v, back any) {
	t.Helper()
	text, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(text, back)
	}
	if err != nil {
		t.Errorf("%v: %v", v, err)
	}
}

func TestPathStop(t *testing.T) {
	hop := func(kind string, passes fleet.Truth) fleet.Hop { return fleet.Hop{Kind: kind, Passes: passes} }
	for _, tt := range []struct {
		name string
		hops []fleet.Hop
		want string
	}{
		{"a stop outweighs a doubt before it", []fleet.Hop{hop("dns", fleet.TruthUnknown), hop("security group", fleet.TruthNo)}, "security group"},
		{"the first doubt", []fleet.Hop{hop("dns", fleet.TruthYes), hop("firewall", fleet.TruthUnknown), hop("endpoint", fleet.TruthUnknown)}, "firewall"},
		{"nothing stops it", []fleet.Hop{hop("dns", fleet.TruthYes)}, ""},
	} {
		got, ok := fleet.Path{Hops: tt.hops}.Stop()
		if got.Kind != tt.want || ok != (tt.want != "") {
			t.Errorf("%s: %q, %v", tt.name, got.Kind, ok)
		}
	}
}
