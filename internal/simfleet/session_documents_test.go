package simfleet_test

import (
	"fmt"
	"strings"
	"testing"

	"ssm-migrate/internal/access"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/simfleet"
)

// generated is the access set-up for three people of a healthy fleet: one with
// a shell on one host, and two whose keys force a command on it.
func generated(t *testing.T, s *sessionWorld, in *simfleet.Instance) *access.Set {
	t.Helper()
	h := in.Host
	const plain, fixed, asked = "SHA256:plain", "SHA256:fixed", "SHA256:asked"
	h.Probe = fleet.Known(fleet.Probe{Keys: fleet.Known([]fleet.Key{
		{User: "ops", Fingerprint: plain, Options: []string{`permitopen="localhost:8080"`}},
		{User: "backup", Fingerprint: fixed, Options: []string{`command="echo \"it's forced\"; id -un"`, "restrict"}},
		{User: "git", Fingerprint: asked, Options: []string{`command="echo asked for: $SSH_ORIGINAL_COMMAND"`}},
	}, "test", noon)}, "test", noon)
	other := in.Host
	other.ID = "i-00000000000000000"
	snapshot := &fleet.Snapshot{Hosts: []fleet.Host{h, other}, Regions: []fleet.Region{{
		Account: h.Account, Name: h.Region, Preferences: fleet.Known(fleet.Preferences{Exists: true, Content: plainPreferences(t, nil)}, "test", noon),
	}}}
	user := func(name string) []string {
		return []string{fmt.Sprintf("arn:aws:iam::%s:user/%s", h.Account, name)}
	}
	set, err := access.Generate(snapshot, &fleet.Assessment{
		Hosts:  []fleet.HostVerdict{{Host: h.ID}, {Host: other.ID}},
		Ledger: fleet.Ledger{Consumers: []fleet.Consumer{{Owner: "olga", Fingerprint: plain, Use: fleet.UseTunnel}}},
		Parity: fleet.Parity{People: []fleet.PersonParity{
			{Person: "olga", Claimed: true, Principals: user("olga"), Keys: []string{plain}, Cells: "l-", Loses: 1},
			{Person: "backup", Claimed: true, Principals: user("backup"), Keys: []string{fixed}, Cells: "l-", Loses: 1},
			{Person: "git", Claimed: true, Principals: user("git"), Keys: []string{asked}, Cells: "l-", Loses: 1},
		}},
	}, access.Query{Forwards: []access.Forward{{Team: "olga", Host: "10.9.8.7", Port: 5432}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range set.Policies {
		if !p.Proof.Holds {
			t.Errorf("%s: %q", p.Name, p.Proof.Problems)
		}
	}
	return set
}

// install makes users with their generated policies, and the documents by the API.
func (s *sessionWorld) install(t *testing.T, set *access.Set) {
	t.Helper()
	s.w.Mu.Lock()
	a := s.w.Accounts[0]
	for _, p := range set.Policies {
		for _, arn := range p.Attach {
			if name, ok := strings.CutPrefix(arn, "arn:aws:iam::"+a.ID+":user/"); ok {
				a.Users = append(a.Users, &fleet.IAMUser{Name: name, ID: "AIDA" + name, ARN: arn, Inline: map[string]string{p.Name: p.Document}})
			}
		}
	}
	s.w.Mu.Unlock()
	for _, d := range set.Documents {
		if d.Name == fleet.PreferencesName {
			continue
		}
		in := map[string]any{"Name": d.Name, "Content": d.Content, "DocumentType": d.Type, "DocumentFormat": "JSON"}
		if refusal := s.operator().call(t, "ssm", "AmazonSSM.CreateDocument", in, &struct{}{}); refusal != "" {
			t.Fatalf("%s: %s", d.Name, refusal)
		}
	}
}

// What the generated documents and policies promise is what the simulated
// Session Manager does by them.
func TestGeneratedDocumentsAndPolicies(t *testing.T) {
	s := healthySessions(t, map[string]any{}, simfleet.AWSOptions{})
	in := s.sound(t, anyHost)
	set := generated(t, s, in)
	s.install(t, set)
	documents := map[string]string{}
	for _, d := range set.Documents {
		for _, who := range d.Who {
			documents[who+" "+strings.Split(d.Name, "-")[1]] = d.Name
		}
	}
	if len(documents) != 4 {
		t.Fatalf("documents: %v", documents)
	}
	port := func(n string) map[string][]string { return map[string][]string{"portNumber": {n}} }
	id, olga := in.Host.ID, s.as("olga")

	if _, refusal := olga.start(t, id, "", nil); refusal != "" {
		t.Errorf("olga's shell: %s", refusal)
	}
	if _, refusal := olga.start(t, id, documents["olga ports"], port("8080")); refusal != "" {
		t.Errorf("the port that a key was limited to: %s", refusal)
	}
	if _, refusal := olga.start(t, id, documents["olga remote"], map[string][]string{"localPortNumber": {"65535"}}); refusal != "" {
		t.Errorf("the host that the operator names: %s", refusal)
	}
	for what, try := range map[string]struct {
		document   string
		parameters map[string][]string
		want       string
	}{
		"another port":                {documents["olga ports"], port("22"), "InvalidParameters"},
		"a port that begins alike":    {documents["olga ports"], port("80801"), "InvalidParameters"},
		"a port and another line":     {documents["olga ports"], port("8080\n22"), "InvalidParameters"},
		"a local port beyond all":     {documents["olga ports"], map[string][]string{"localPortNumber": {"65536"}}, "InvalidParameters"},
		"another remote host":         {documents["olga remote"], map[string][]string{"host": {"10.0.0.1"}}, "InvalidParameters"},
		"another port there":          {documents["olga remote"], port("22"), "InvalidParameters"},
		"SSH":                         {"AWS-StartSSHSession", nil, "AccessDeniedException"},
		"any port":                    {"AWS-StartPortForwardingSession", port("8080"), "AccessDeniedException"},
		"somebody else's command":     {documents["backup command"], nil, "AccessDeniedException"},
		"a command of her own choice": {"AWS-StartNonInteractiveCommand", map[string][]string{"command": {"id"}}, "AccessDeniedException"},
	} {
		if _, refusal := olga.start(t, id, try.document, try.parameters); !strings.HasPrefix(refusal, try.want) {
			t.Errorf("%s: %q, want %s", what, refusal, try.want)
		}
	}
	elsewhere := findInstance(t, s.w, "another host", func(x *simfleet.Instance) bool { return x != in && x.Region == s.rg && s.w.ServesSessions(x) })
	if _, refusal := olga.start(t, elsewhere.Host.ID, "", nil); !strings.HasPrefix(refusal, "AccessDeniedException") {
		t.Errorf("another host: %q", refusal)
	}

	p := s.as("backup").open(t, id, documents["backup command"], nil)
	if end := p.ends(); end != "" || p.out.String() != "it's forced\nssm-user\n" {
		t.Errorf("the forced command: %q, %q", end, p.out.String())
	}
	if _, refusal := s.as("backup").start(t, id, "", nil); !strings.HasPrefix(refusal, "AccessDeniedException") {
		t.Errorf("backup's shell: %q", refusal)
	}
	p = s.as("git").open(t, id, documents["git command"], map[string][]string{"command": {"git-upload-pack /srv/app.git"}})
	if end := p.ends(); end != "" || p.out.String() != "asked for: git-upload-pack /srv/app.git\n" {
		t.Errorf("what the forced command is asked for: %q, %q", end, p.out.String())
	}
	for _, evil := range []string{"a; id", "a'b", "$(id)", "`id`", "a\nid", "a|id", "a&b", ""} {
		if _, refusal := s.as("git").start(t, id, documents["git command"], map[string][]string{"command": {evil}}); !strings.HasPrefix(refusal, "InvalidParameters") {
			t.Errorf("%q: %q", evil, refusal)
		}
	}
}
