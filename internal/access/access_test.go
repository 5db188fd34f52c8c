package access_test

import (
	"os"
	"testing"

	"ssm-migrate/internal/access"
)

var scratch string

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "access"); err != nil {
		panic(err)
	}
	for k, v := range map[string]string{"AWS_ACCESS_KEY_ID": "AKIASIMULATED", "AWS_SECRET_ACCESS_KEY": "simulated", "AWS_REGION": "eu-west-1", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull} {
		os.Setenv(k, v)
	}
	code := m.Run()
	os.RemoveAll(scratch)
	os.Exit(code)
}

// Everything that is made for the demo's fleet is proved, and says so.
func TestDemoFleetIsProved(t *testing.T) {
	d := demoFleet(t)
	set, err := access.Generate(d.snapshot, d.judged, access.Query{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range set.Policies {
		t.Logf("%s %v %d %s %v\n%v\n%s", p.Name, p.Attach, len(p.Document), p.Why, p.Proof.Holds, p.Proof.Text, p.Document)
		if !p.Proof.Holds {
			t.Errorf("%s: %q", p.Name, p.Proof.Problems)
		}
	}
	for _, x := range set.Documents {
		t.Logf("%+v", x)
	}
	for _, n := range set.Notes {
		t.Log(n)
	}
}
