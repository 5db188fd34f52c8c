package sshhost_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ssm-migrate/internal/sshhost"
)

func TestLook(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config   string
		bastions []string // "JUMP xBLOCKS", with "!" where it cannot be used
		users    []string
		names    int
		commands int
		fails    string
	}{
		"empty": {},
		"usual": {
			config:   "User ops\nHost a b\n ProxyJump bastion\nHost c\n  ProxyJump=two:22\nMatch host d\n ProxyJump bastion\n User root\nHost bastion\n ProxyJump none\nHost e\n ProxyCommand nc %h %p\n",
			bastions: []string{"bastion x2", "two:22 x1"}, users: []string{"ops", "root"}, names: 5, commands: 1,
		},
		"escapes": {config: "Host a\n ProxyJump \x1b[31mx y\nHost b\n User \x1b]0;x\x07root\n", bastions: []string{"x y x1!"}, users: []string{"root"}, names: 2},
		"hops":    {config: "Host a\n ProxyJump 1,2,3,4,5,6,7,8,9\n", bastions: []string{"1,2,3,4,5,6,7,8,9 x1!"}, names: 1},
		"loop":    {config: "Include %d/config\n", fails: "nested too deeply"},
		"pattern": {config: "Include [\n", fails: "include"},
		"binary":  {config: "\x00\xff\xfe\x80Host\n"},
		"huge":    {config: strings.Repeat("# a comment\n", 1<<20), fails: "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "config")
			if err := os.WriteFile(path, []byte(strings.ReplaceAll(c.config, "%d", dir)), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := sshhost.Look(path)
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) || len(err.Error()) > 400 {
					t.Fatalf("error %v, want a short one with %q", err, c.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, b := range s.Bastions {
				text := b.Jump + " x" + string(rune('0'+b.Blocks))
				if b.Problem != "" {
					text += "!"
				}
				got = append(got, text)
			}
			if !s.Found || !slices.Equal(got, c.bastions) || !slices.Equal(s.Users, c.users) || s.Names != c.names || s.Commands != c.commands {
				t.Errorf("%+v, want bastions %q, users %q, %d names, %d commands", s, c.bastions, c.users, c.names, c.commands)
			}
		})
	}
}

// A file that includes a thousand others with a thousand bastions is surveyed in
// bounds.
func TestLookIsBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var b strings.Builder
	for i := range 2000 {
		b.WriteString("Host h" + strings.Repeat("x", i%7) + "\n ProxyJump b" + strings.Repeat("y", i%1500+1)[:min(200, i%1500+1)] + "\n User u" + strings.Repeat("z", i%300) + "\n")
	}
	for _, f := range []string{"one", "two"} {
		if err := os.WriteFile(filepath.Join(dir, f), []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "config")
	if err := os.WriteFile(path, []byte("Include "+dir+"/one "+dir+"/two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := sshhost.Look(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Bastions) != 50 || len(s.Users) != 50 {
		t.Errorf("%d bastions and %d users, want 50 each", len(s.Bastions), len(s.Users))
	}
}
