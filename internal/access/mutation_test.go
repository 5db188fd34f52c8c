package access_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"ssm-migrate/internal/access"
)

// a policy as whoever edits it sees it.
type edited struct {
	Version   string
	Statement []editedStatement
}

type editedStatement struct {
	Sid, Effect      string
	Action, Resource []string
	Condition        map[string]map[string][]string `json:",omitempty"`
}

func (p edited) clone() edited {
	out := edited{Version: p.Version}
	for _, s := range p.Statement {
		s.Action, s.Resource = slices.Clone(s.Action), slices.Clone(s.Resource)
		conditions := map[string]map[string][]string{}
		for op, keys := range s.Condition {
			conditions[op] = map[string][]string{}
			for k, v := range keys {
				conditions[op][k] = slices.Clone(v)
			}
		}
		s.Condition = conditions
		if len(conditions) == 0 {
			s.Condition = nil
		}
		out.Statement = append(out.Statement, s)
	}
	return out
}

type mutant struct {
	what string
	text string
}

// mutants are all that can be made of a policy by one edit of each kind at
// each place.
func mutants(t *testing.T, text string) []mutant {
	t.Helper()
	var p edited
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	var out []mutant
	edit := func(what string, change func(s *editedStatement), at int) {
		m := p.clone()
		change(&m.Statement[at])
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, mutant{fmt.Sprintf("%s: %s", p.Statement[at].Sid, what), string(b)})
	}
	for i, s := range p.Statement {
		for k, a := range s.Action {
			service, _, _ := strings.Cut(a, ":")
			edit("action "+a+" removed", func(s *editedStatement) { s.Action = slices.Delete(s.Action, k, k+1) }, i)
			edit("wildcard after "+a, func(s *editedStatement) { s.Action[k] = a + "*" }, i)
			edit("all of service "+service, func(s *editedStatement) { s.Action[k] = service + ":*" }, i)
		}
		for _, a := range []string{"*", "ssm:SendCommand", "ssm:GetParameter", "iam:PassRole", "ssm:ListNothingInParticular"} {
			edit("action "+a+" added", func(s *editedStatement) { s.Action = append(s.Action, a) }, i)
		}
		last := len(s.Resource) - 1
		for _, k := range slices.Compact([]int{0, last}) {
			r := s.Resource[k]
			edit("resource "+r+" removed", func(s *editedStatement) { s.Resource = slices.Delete(s.Resource, k, k+1) }, i)
			if r == "*" {
				continue
			}
			edit("resource "+r+" widened to all", func(s *editedStatement) { s.Resource[k] = "*" }, i)
			if !strings.HasSuffix(r, "*") {
				edit("wildcard after "+r, func(s *editedStatement) { s.Resource[k] = r + "*" }, i)
			}
			cut := strings.LastIndexAny(r, "/:-")
			if wide := r[:cut+1] + "*"; wide != r {
				edit("resource "+r+" widened to "+wide, func(s *editedStatement) { s.Resource[k] = wide }, i)
			}
			parts := strings.Split(r, ":")
			if parts[4] != "" && parts[4] != "*" {
				parts[4] = "*"
				edit("any account in "+r, func(s *editedStatement) { s.Resource[k] = strings.Join(parts, ":") }, i)
			}
		}
		for _, op := range slices.Sorted(maps.Keys(s.Condition)) {
			edit("condition "+op+" dropped", func(s *editedStatement) { delete(s.Condition, op) }, i)
			for _, key := range slices.Sorted(maps.Keys(s.Condition[op])) {
				edit("key "+key+" dropped", func(s *editedStatement) { delete(s.Condition[op], key) }, i)
				for k := range s.Condition[op][key] {
					edit("any value of "+key, func(s *editedStatement) {
						values := s.Condition[op][key]
						delete(s.Condition, op)
						values[k] = "*"
						s.Condition["StringLike"] = map[string][]string{key: values}
					}, i)
				}
			}
			edit("all conditions dropped", func(s *editedStatement) { s.Condition = nil }, i)
		}
		edit("a condition that nobody knows", func(s *editedStatement) {
			if s.Condition == nil {
				s.Condition = map[string]map[string][]string{}
			}
			s.Condition["IpAddress"] = map[string][]string{"aws:SourceIp": {"10.0.0.0/8"}}
		}, i)
		edit("the other effect", func(s *editedStatement) { s.Effect = map[string]string{"Allow": "Deny", "Deny": "Allow"}[s.Effect] }, i)
		m := p.clone()
		m.Statement = slices.Delete(m.Statement, i, i+1)
		b, _ := json.Marshal(m)
		out = append(out, mutant{s.Sid + " removed", string(b)})
	}
	return out
}

// Whatever one edit makes of a policy, its proof fails.
func TestEveryMutationFailsTheProof(t *testing.T) {
	d := demoFleet(t)
	tried, shapes := 0, map[string]bool{}
	for _, q := range []access.Query{{}, everything()} {
		set, err := access.Generate(d.snapshot, d.judged, q)
		if err != nil {
			t.Fatal(err)
		}
		prover, err := access.NewProver(d.snapshot, d.judged, q)
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range set.Policies {
			every := 50 // of a policy whose statements are like those of an earlier one
			if s := shape(t, p.Document); !shapes[s] && !testing.Short() {
				shapes[s], every = true, 3
			}
			for n, m := range mutants(t, p.Document) {
				if (n+i)%every > 0 {
					continue
				}
				tried++
				set.Policies[i].Document = m.text
				if got := prover.Policy(set, i); got.Holds || len(got.Problems) == 0 {
					t.Errorf("%s: %s: the proof holds", p.Name, m.what)
				}
			}
			set.Policies[i].Document = p.Document
		}
	}
	if t.Logf("%d mutations, %d shapes of policies", tried, len(shapes)); tried < 200 {
		t.Errorf("only %d mutations were tried", tried)
	}
}

// shape is what tells policies apart but for their names and hosts.
func shape(t *testing.T, text string) string {
	t.Helper()
	var p edited
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range p.Statement {
		out = append(out, fmt.Sprint(s.Sid, len(s.Action)))
		for op, keys := range s.Condition {
			for k := range keys {
				out = append(out, op+k)
			}
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// everything asks for all that can be asked for.
func everything() access.Query {
	return access.Query{
		Tag: "team", SSH: true, RunCommand: true,
		Forwards:    []access.Forward{{Port: 8080}, {Port: 5432}, {Host: "db.corp.example", Port: 5432}},
		Preferences: access.Preferences{Bucket: "session-logs", Prefix: "shells", LogGroup: "/ssm/shells", Key: "arn:aws:kms:eu-west-1:140207249019:key/11111111-2222-3333-4444-555555555555", IdleTimeout: 15},
	}
}
