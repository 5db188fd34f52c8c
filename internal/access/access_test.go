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
	subjects := map[access.Subject]int{}
	for _, p := range set.Policies {
		subjects[p.For]++
		if !p.Proof.Holds || p.Proof.Allows < 5 || p.Proof.Denies < 1000 || len(p.Proof.Text) < 2 {
			t.Errorf("%s: %+v", p.Name, p.Proof)
		}
		if len(p.Document) > access.MostCharacters {
			t.Errorf("%s: %d characters", p.Name, len(p.Document))
		}
	}
	if subjects[access.Instance] < 5 || subjects[access.Operator] < 15 {
		t.Errorf("policies: %v", subjects)
	}
}
