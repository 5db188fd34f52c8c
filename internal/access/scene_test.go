package access_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ssm-migrate/internal/access"
	"ssm-migrate/internal/fleet"
)

const account = "111122223333"

func known[T any](v T) fleet.Fact[T] { return fleet.Known(v, "test", noon) }

// scene is a fleet made by hand.
type scene struct {
	s fleet.Snapshot
	a fleet.Assessment
}

func newScene() *scene {
	x := &scene{}
	x.s.Regions = []fleet.Region{{Account: account, Name: "eu-west-1", Preferences: known(fleet.Preferences{}), DefaultRole: known("")}}
	x.s.Accounts = []fleet.Account{{ID: account, Users: known([]fleet.IAMUser{}), Roles: known([]fleet.Role{})}}
	return x
}

// host adds a host with a value of tag team; empty: untagged.
func (x *scene) host(team string) {
	h := fleet.Host{ID: fmt.Sprintf("i-%017x", len(x.s.Hosts)+1), Account: account, Region: "eu-west-1", State: "running", Tags: map[string]string{"Name": fmt.Sprint("h", len(x.s.Hosts))}}
	if team != "" {
		h.Tags["team"] = team
	}
	x.s.Hosts = append(x.s.Hosts, h)
	x.a.Hosts = append(x.a.Hosts, fleet.HostVerdict{Host: h.ID})
}

// user adds an IAM user, and gives its ARN.
func (x *scene) user(name string, tags map[string]string) string {
	arn := "arn:aws:iam::" + account + ":user/" + name
	x.s.Accounts[0].Users.Value = append(x.s.Accounts[0].Users.Value, fleet.IAMUser{Name: name, ID: "AIDA" + strings.ToUpper(name), ARN: arn, Tags: tags})
	return arn
}

func (x *scene) role(name string) string {
	arn := "arn:aws:iam::" + account + ":role/" + name
	x.s.Accounts[0].Roles.Value = append(x.s.Accounts[0].Roles.Value, fleet.Role{Name: name, ID: "AROA" + strings.ToUpper(name), ARN: arn, Trust: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + account + `:root"},"Action":"sts:AssumeRole"}}`})
	return arn
}

func (x *scene) person(name, cells string, principals ...string) *fleet.PersonParity {
	x.a.Parity.People = append(x.a.Parity.People, fleet.PersonParity{Person: name, Claimed: true, Cells: cells, Principals: principals})
	return &x.a.Parity.People[len(x.a.Parity.People)-1]
}

// generate makes the set, all of whose proofs have to hold.
func (x *scene) generate(t testing.TB, q access.Query) *access.Set {
	t.Helper()
	set, err := access.Generate(&x.s, &x.a, q)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range set.Policies {
		if !p.Proof.Holds {
			t.Errorf("%s: %q\n%s", p.Name, p.Proof.Problems, p.Document)
		}
	}
	return set
}

// of gives the policies of a team.
func of(set *access.Set, who string) []access.Policy {
	return slices.DeleteFunc(slices.Clone(set.Policies), func(p access.Policy) bool { return p.For != access.Operator || p.Who != who })
}

func noted(set *access.Set, text string) bool {
	return slices.ContainsFunc(set.Notes, func(n string) bool { return strings.Contains(n, text) })
}

func TestHostsByTag(t *testing.T) {
	for name, c := range map[string]struct {
		cells string // of web, web, data, untagged
		tags  map[string]string
		query access.Query
		want  string // in the policy
		not   string
	}{
		"all and only":                    {"ll--", nil, access.Query{}, `"StringEquals":{"ssm:resourceTag/team":["web"]}`, "i-0"},
		"two values":                      {"lll-", nil, access.Query{}, `"StringEquals":{"ssm:resourceTag/team":["data","web"]}`, "i-0"},
		"the principal's own":             {"ll--", map[string]string{"team": "web"}, access.Query{}, `"StringLike":{"ssm:resourceTag/team":["${aws:PrincipalTag/team}"]}`, "i-0"},
		"another tag of the principal":    {"ll--", map[string]string{"team": "data"}, access.Query{}, `"StringEquals":{"ssm:resourceTag/team":["web"]}`, "PrincipalTag"},
		"not all":                         {"l---", nil, access.Query{}, "i-00000000000000001", "resourceTag/team"},
		"not only":                        {"ll-l", nil, access.Query{}, "i-00000000000000004", "resourceTag/team"},
		"one is not known":                {"lu--", nil, access.Query{}, "i-00000000000000001", "i-00000000000000002"},
		"one is not known, by the tag":    {"lu--", nil, access.Query{Tag: "team"}, `"StringEquals":{"ssm:resourceTag/team":["web"]}`, "i-0"},
		"the tag that is wished for errs": {"l---", nil, access.Query{Tag: "team"}, "i-00000000000000001", "resourceTag/team"},
		"gains are left out":              {"lg--", nil, access.Query{}, "i-00000000000000001", "i-00000000000000002"},
	} {
		t.Run(name, func(t *testing.T) {
			x := newScene()
			for _, team := range []string{"web", "web", "data", ""} {
				x.host(team)
			}
			x.person("ann", c.cells, x.user("ann", c.tags))
			got := of(x.generate(t, c.query), "ann")
			if len(got) != 1 || !strings.Contains(got[0].Document, c.want) || strings.Contains(got[0].Document, c.not) {
				t.Errorf("%+v", got)
			}
		})
	}
}

// People with the same hosts are a team; the owners file names it, and does not widen it.
func TestTeams(t *testing.T) {
	x := newScene()
	for range 3 {
		x.host("")
	}
	x.person("ann", "ll-", x.user("ann", nil)).Team = "ops"
	x.person("ben", "ll-", x.user("ben", nil)).Team = "ops"
	x.person("cat", "l--", x.user("cat", nil)).Team = "ops"
	x.person("dan", "--l")
	set := x.generate(t, access.Query{})
	if got := of(set, "ops"); len(got) != 1 || len(got[0].Attach) != 2 {
		t.Errorf("ops: %+v", got)
	}
	if got := of(set, "ops-2"); len(got) != 1 || len(got[0].Attach) != 1 || strings.Contains(got[0].Document, x.s.Hosts[1].ID) {
		t.Errorf("ops-2: %+v", got)
	}
	if got := of(set, "dan"); len(got) != 1 || len(got[0].Attach) != 0 || !noted(set, "names no IAM user or role in account "+account+" for dan") {
		t.Errorf("dan: %+v, %q", got, set.Notes)
	}
}

// Who shares a principal is told apart by the session's name, or gets what all have.
func TestSharedPrincipals(t *testing.T) {
	x := newScene()
	for range 3 {
		x.host("")
	}
	role, user := x.role("dev"), x.user("shared", nil)
	x.person("ann", "ll-", role).Sessions = []string{"ann@corp.example"}
	x.person("ben", "-ll", role).Sessions = []string{"ben@corp.example"}
	x.person("cat", "ll-", user)
	x.person("dan", "-ll", user)
	set := x.generate(t, access.Query{})
	for who, host := range map[string]string{"ann": x.s.Hosts[0].ID, "ben": x.s.Hosts[2].ID} {
		if got := of(set, who); len(got) != 1 || !strings.Contains(got[0].Document, `"aws:userid":["*:`+who+`@corp.example"]`) || !strings.Contains(got[0].Document, host) {
			t.Errorf("%s: %+v", who, got)
		}
	}
	common := of(set, "cat-and-1")
	if len(common) != 1 || !strings.Contains(common[0].Document, x.s.Hosts[1].ID) || strings.Contains(common[0].Document, x.s.Hosts[0].ID) || !noted(set, "cat shares "+user) {
		t.Errorf("%+v, %q", common, set.Notes)
	}
}

// More hosts than a policy holds are divided, the same way each time; and more
// parts than can be attached are no set-up.
func TestLongPoliciesAreDivided(t *testing.T) {
	x := newScene()
	for range 400 {
		x.host("")
	}
	x.host("")
	x.person("ann", strings.Repeat("l", 400)+"-", x.user("ann", nil))
	parts := of(x.generate(t, access.Query{}), "ann")
	seen := 0
	for i, p := range parts {
		if p.Name != fmt.Sprintf("migrate-operator-ann-part-%02d", i+1) || p.Part != i+1 || p.Parts != len(parts) || len(p.Document) > access.MostCharacters {
			t.Errorf("%s: part %d of %d, %d characters", p.Name, p.Part, p.Parts, len(p.Document))
		}
		seen += strings.Count(p.Document, "instance/i-")
	}
	if len(parts) < 4 || seen != 400 {
		t.Errorf("%d parts with %d hosts", len(parts), seen)
	}
	again := of(x.generate(t, access.Query{}), "ann")
	for i := range parts {
		if parts[i].Document != again[i].Document {
			t.Errorf("part %d differs", i+1)
		}
	}
	for range 800 {
		x.host("")
	}
	x.a.Parity.People[0].Cells = strings.Repeat("l", 400) + "-" + strings.Repeat("l", 800)
	set, err := access.Generate(&x.s, &x.a, access.Query{})
	if err != nil {
		t.Fatal(err)
	}
	if got := of(set, "ann"); len(got) <= access.MostAttached || got[0].Proof.Holds || !strings.Contains(strings.Join(got[0].Proof.Problems, " "), "tag the hosts") {
		t.Errorf("%d parts: %+v", len(got), got[0].Proof)
	}
}

// A set fails whole where a part of it is missing, or one is there that nothing calls for.
func TestProveLooksAtTheWholeSet(t *testing.T) {
	x := newScene()
	x.host("")
	x.person("ann", "l", x.user("ann", nil))
	set := x.generate(t, access.Query{})
	prove := func(s *access.Set) bool {
		t.Helper()
		ok, err := access.Prove(&x.s, &x.a, s)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !prove(set) {
		t.Error("the set as it was made is not proved")
	}
	less := *set
	less.Policies = slices.Clone(set.Policies[:1])
	if prove(&less) {
		t.Error("a set without a policy is proved")
	}
	more := *set
	more.Policies = append(slices.Clone(set.Policies), access.Policy{Name: "migrate-operator-eve", Account: account, For: access.Operator, Who: "eve", Part: 1, Parts: 1, Document: set.Policies[1].Document})
	if prove(&more) || more.Policies[2].Proof.Holds {
		t.Error("a set with a policy too many is proved")
	}
	moved := *set
	moved.Policies = slices.Clone(set.Policies)
	moved.Policies[1].Attach = []string{"arn:aws:iam::" + account + ":user/eve"}
	if prove(&moved) {
		t.Error("a policy for somebody else is proved")
	}
	if _, err := access.Generate(&x.s, &fleet.Assessment{}, access.Query{}); err == nil {
		t.Error("an assessment of another snapshot was taken")
	}
}

var (
	documentName = regexp.MustCompile(`^[A-Za-z0-9_.-]{3,128}$`)
	anchored     = regexp.MustCompile(`^\^.*\$$`)
)

// Every document is one that Session Manager takes, with parameters that are held to something.
func TestDocumentsAreValid(t *testing.T) {
	d := demoFleet(t)
	set, err := access.Generate(d.snapshot, d.judged, everything())
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, x := range set.Documents {
		var doc struct {
			SchemaVersion, SessionType, Description string
			Inputs                                  map[string]any
			Parameters                              map[string]struct{ Type, Default, AllowedPattern, Description string }
			Properties                              json.RawMessage
		}
		if err := json.Unmarshal([]byte(x.Content), &doc); err != nil {
			t.Fatalf("%s: %v", x.Name, err)
		}
		kinds[doc.SessionType]++
		if !documentName.MatchString(x.Name) || doc.SchemaVersion != "1.0" || x.Type != "Session" || len(x.Content) > 64<<10 {
			t.Errorf("%s: %s", x.Name, x.Content)
		}
		for name, p := range doc.Parameters {
			re, err := regexp.Compile(p.AllowedPattern)
			if err != nil || !anchored.MatchString(p.AllowedPattern) || p.Default != "" && !re.MatchString(p.Default) || strings.Contains(p.AllowedPattern, ".*") {
				t.Errorf("%s: parameter %s: %+v", x.Name, name, p)
			}
			if !strings.Contains(string(doc.Properties), "{{ "+name+" }}") {
				t.Errorf("%s: parameter %s is not used", x.Name, name)
			}
		}
		if doc.SessionType == "Standard_Stream" {
			in, err := fleet.ParseSessionDocument(x.Content)
			if err != nil || len(in.Problems) > 0 || in.LogGroup != "/ssm/shells" || in.Bucket != "session-logs" || in.IdleTimeout != 15 || in.Key == "" {
				t.Errorf("preferences: %+v, %v", in, err)
			}
		}
	}
	if kinds["Standard_Stream"] == 0 || kinds["Port"] == 0 || kinds["NonInteractiveCommands"] == 0 {
		t.Errorf("documents: %v", kinds)
	}
}

// Fleets of any shape: what is generated is proved, is the same each time, and
// a host that is taken from somebody fails the proof of the policy that has it.
func TestAnyFleetIsProved(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := newScene()
		n := rapid.IntRange(1, 5).Draw(t, "hosts")
		for range n {
			x.host(rapid.SampledFrom([]string{"", "web", "data", "a*b", "ünïcode", "${aws:username}", "日本"}).Draw(t, "team"))
		}
		role := x.role("dev")
		for i := range rapid.IntRange(1, 3).Draw(t, "people") {
			name := rapid.SampledFrom([]string{"ann", "ann/ben", "Ünal", "x y", strings.Repeat("long", 40)}).Draw(t, "name") + fmt.Sprint(i)
			var principals []string
			switch rapid.IntRange(0, 3).Draw(t, "principal") {
			case 0:
				principals = []string{role}
			case 1:
				principals = []string{x.user(fmt.Sprint("u", i), map[string]string{"team": rapid.SampledFrom([]string{"web", "data"}).Draw(t, "tag")})}
			case 2:
				principals = []string{x.user(fmt.Sprint("u", i), nil), "arn:aws:iam::" + account + ":role/not-read"}
			}
			p := x.person(name, rapid.StringOfN(rapid.RuneFrom([]rune("klgu-")), n, n, n).Draw(t, "cells"), principals...)
			p.Team = rapid.SampledFrom([]string{"", "", "team"}).Draw(t, "team of the owners file")
			if rapid.Bool().Draw(t, "named sessions") {
				p.Sessions = []string{fmt.Sprintf("s%d@corp.example", i)}
			}
		}
		q := access.Query{Tag: rapid.SampledFrom([]string{"", "team"}).Draw(t, "wished tag"), SSH: rapid.Bool().Draw(t, "ssh"), RunCommand: rapid.Bool().Draw(t, "run command")}
		if rapid.Bool().Draw(t, "forward") {
			q.Forwards = []access.Forward{{Port: rapid.IntRange(1, 65535).Draw(t, "port")}}
		}
		if rapid.Bool().Draw(t, "logs") {
			q.Preferences = access.Preferences{LogGroup: "/logs", Bucket: "logs", Key: "arn:aws:kms:eu-west-1:" + account + ":key/k"}
		}
		set, err := access.Generate(&x.s, &x.a, q)
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]bool{}
		for _, p := range set.Policies {
			if !p.Proof.Holds {
				t.Fatalf("%s: %q\n%s", p.Name, p.Proof.Problems, p.Document)
			}
			if names[strings.ToLower(p.Name)] {
				t.Fatalf("two policies are called %s", p.Name)
			}
			names[strings.ToLower(p.Name)] = true
		}
		again, err := access.Generate(&x.s, &x.a, q)
		if one, two := fmt.Sprintf("%+v", set), fmt.Sprintf("%+v", again); err != nil || one != two {
			t.Fatalf("another time it is another set (%v)", err)
		}
		// The promise is the parity table's: take a host from its person.
		for i := range x.a.Parity.People {
			row := &x.a.Parity.People[i]
			if at := strings.IndexAny(row.Cells, "kl"); at >= 0 && q.Tag == "" && len(row.Principals) == 1 && row.Principals[0] != role {
				row.Cells = row.Cells[:at] + "-" + row.Cells[at+1:]
				if ok, err := access.Prove(&x.s, &x.a, set); ok || err != nil {
					t.Fatalf("%s lost %s, and the set is proved still (%v)", row.Person, x.s.Hosts[at].ID, err)
				}
				break
			}
		}
	})
}
