package awsapi_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ssm-migrate/internal/awsapi"
)

func sharedFiles(t *testing.T, configuration, credentials string) {
	t.Helper()
	dir := t.TempDir()
	for name, f := range map[string]struct{ variable, text string }{
		"config": {"AWS_CONFIG_FILE", configuration}, "credentials": {"AWS_SHARED_CREDENTIALS_FILE", credentials},
	} {
		path := filepath.Join(dir, name)
		t.Setenv(f.variable, path)
		if f.text == "" {
			continue
		}
		if err := os.WriteFile(path, []byte(f.text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestProfiles(t *testing.T) {
	for _, c := range []struct {
		name, configuration, credentials string
		want                             []string
	}{
		{name: "neither file"},
		{
			name:          "both files",
			configuration: "[profile z]\nregion = eu-west-1\n[default]\nregion=us-east-1\n[profile a]\nrole_arn=arn:aws:iam::123456789012:role/x\nsource_profile=z\n[sso-session corp]\nsso_region=eu-west-1\n[services s]\n[plain]\n",
			credentials:   "[z]\naws_access_key_id=x\naws_secret_access_key=y\n[only-keys]\naws_access_key_id=x\naws_secret_access_key=y\n",
			want:          []string{"default us-east-1", "a  arn:aws:iam::123456789012:role/x", "only-keys", "z eu-west-1"},
		},
		{name: "odd sections", configuration: "[profile two words]\nregion=eu-west-1\n[profile \t tab]\n[profile]\n[profile broken\n[]\n[profile x\x1b[31m]\n[profile " + strings.Repeat("n", 200) + "]\n", want: []string{"tab", "two words eu-west-1"}},
		{name: "no text", configuration: "\x00\xff\xfe[\x80]", credentials: "\xff\xff[a\xff]\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sharedFiles(t, c.configuration, c.credentials)
			got, err := awsapi.Profiles(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			for _, p := range got {
				lines = append(lines, strings.TrimRight(p.Name+" "+p.Region+" "+p.Role, " "))
			}
			if !slices.Equal(lines, c.want) {
				t.Errorf("%q, want %q", lines, c.want)
			}
		})
	}
}

// What cannot be read is told, beside what the other file has.
func TestProfilesTellsWhatCannotBeRead(t *testing.T) {
	sharedFiles(t, "", "[keys]\naws_access_key_id=x\naws_secret_access_key=y\n")
	if err := os.Mkdir(os.Getenv("AWS_CONFIG_FILE"), 0o700); err != nil {
		t.Fatal(err)
	}
	got, err := awsapi.Profiles(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no regular file") || len(got) != 1 || got[0].Name != "keys" {
		t.Errorf("%+v and error %v, want the profile keys and an error about the other file", got, err)
	}
}
