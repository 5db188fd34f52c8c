package plan_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"ssm-migrate/internal/plan"
)

func TestPolicyTemplateIsTheDefault(t *testing.T) {
	got, err := plan.ParsePolicy([]byte(plan.PolicyTemplate()))
	if err != nil {
		t.Fatal(err)
	}
	want := plan.DefaultPolicy()
	for _, k := range plan.Kinds() {
		if d := want.FixOf(k); d != "" && got.FixOf(k) != d {
			t.Errorf("the template says %s of %s, the default is %s", got.FixOf(k), k, d)
		}
	}
	// What the template writes out empty is nothing, as left out.
	for _, p := range []*plan.Policy{&got, &want} {
		p.Fixes = nil
		p.Pins = nil
		p.Order, p.Exclude, p.Windows, p.Bastions, p.Recovery.From, p.EndpointSources = nil, nil, nil, nil, nil, nil
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Every key of the policy stands in the template, and every example in it is valid.
func TestPolicyTemplateNamesEverything(t *testing.T) {
	var keys map[string]any
	text, err := yaml.Dump(plan.DefaultPolicy())
	if err == nil {
		err = yaml.Load(text, &keys)
	}
	if err != nil {
		t.Fatal(err)
	}
	for k := range keys {
		if !strings.Contains(plan.PolicyTemplate(), "\n"+k+":") {
			t.Errorf("the template does not name %s", k)
		}
	}
	var lines []string
	for line := range strings.Lines(plan.PolicyTemplate()) {
		if rest, ok := strings.CutPrefix(line, "#  "); ok { // an example: it goes below the key, whose value ends
			lines[len(lines)-1] = strings.Replace(lines[len(lines)-1], " []", "", 1)
			line = "   " + rest
		}
		lines = append(lines, line)
	}
	p, err := plan.ParsePolicy([]byte(strings.Join(lines, "")))
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Order) != 2 || len(p.Exclude) != 1 || len(p.Pins) != 1 || len(p.Windows) != 1 || len(p.Bastions) != 1 {
		t.Errorf("examples: %+v", p)
	}
}

func TestParsePolicyRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"canry: 1":                   "canry",
		"canary: 1\ncanary: 2":       "canary",
		"canary: -1":                 "canary",
		"waves: []":                  "waves",
		"waves: ['0']":               "waves[0]",
		"waves: ['101%']":            "waves[0]",
		"waves: [many]":              "waves[0]",
		"group_by: vpc":              "group_by",
		"group_by: 'tag:'":           "group_by",
		"spread: 0":                  "spread",
		"concurrency: 0":             "concurrency",
		"soak: 5":                    "duration",
		"timer: 1m":                  "timer",
		"proof_age: 0s":              "proof_age",
		"order: [{}]":                "order[0]",
		"order: [{name: '['}]":       "pattern",
		"exclude: [{name: x}]":       "reason",
		"exclude: [{reason: x}]":     "selects nothing",
		"pins: [{wave: 1}]":          "pins[0]",
		"pins: [{id: i-1, wave: 0}]": "pins[0]",
		"pins: [{id: i-1, wave: 1}, {id: i-1, wave: 2}]":                            "pins[1]",
		"windows: [{from: '9', to: '10:00'}]":                                       "time of day",
		"windows: [{from: '09:00', to: '09:00'}]":                                   "begins and ends",
		"windows: [{days: m, from: '1:00', to: '2:00'}]":                            "days",
		"windows: [{zone: Mars, from: '1:00', to: '2:00'}]":                         "zone",
		"fixes: {close-port: apply}":                                                "close-port",
		"fixes: {agent: perhaps}":                                                   "perhaps",
		"fixes: {wait-for: apply}":                                                  "wait-for",
		"fixes: {recovery-rule: never}":                                             "no door closes",
		"fixes: {wait-for: auto}":                                                   "wait-for",
		"managed_by: [terraform]":                                                   "managed_by[0]",
		"managed_by: ['=x']":                                                        "managed_by[0]",
		"managed_by: ['a=[']":                                                       "managed_by[0]",
		"agent_source: http://m.example.com/{folder}/{file}":                        "agent_source",
		"agent_source: https://a:b@m.example.com/{folder}/{file}":                   "password",
		"agent_source: https://m.example.com/{folder}/{file}?token=1":               "query",
		"agent_source: https://m.example.com/{folder}":                              "lacks {folder}",
		"agent_source: https://m.example.com/agent/{file}":                          "lacks {folder}",
		"agent_source: https://m.example.com/{version}/{folder}/{file}":             "braces",
		"agent_source: https:///{folder}/{file}":                                    "host name",
		"endpoint_policy: everybody":                                                "endpoint_policy",
		"endpoint_policy: o-1":                                                      "endpoint_policy",
		"endpoint_sources: [0.0.0.0/0]":                                             "endpoint_sources",
		"endpoint_sources: [10.0.0.1/8]":                                            "endpoint_sources",
		"recovery: {rotate: sometimes}":                                             "never, due and always",
		"agent_floor: new":                                                          "agent_floor",
		"recovery: {from: [10.0.0.1/8]}":                                            "block of addresses",
		"recovery: {public_key: 'ssh-ed25519 AAAA'}":                                "public_key",
		"recovery: {public_key: 'no-pty ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3v'}": "options",
		"recovery: {public_key: '-----BEGIN OPENSSH PRIVATE KEY-----'}":             "public_key",
		"recovery: {public_key: 'ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIJ3v2Yq2m0lqVQHcPbZ4b8Hc3l0nYVb3vVQ0m0lqVQHc'}": "type",
		"recovery: {type: ''}": "type",
	} {
		_, err := plan.ParsePolicy([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one about %s", text, err, want)
		}
	}
}

func TestWindowsOfThePolicy(t *testing.T) {
	p, err := plan.ParsePolicy([]byte(`windows: [{days: mon-fri, from: "22:00", to: "04:00", zone: Europe/Berlin}, {days: "Sat, sun", from: "10:00", to: "12:00"}, {from: "00:00", to: "23:59"}]`))
	if err != nil {
		t.Fatal(err)
	}
	want := []plan.Window{{Days: "mon-fri", From: "22:00", To: "04:00", Zone: "Europe/Berlin"}, {Days: "Sat, sun", From: "10:00", To: "12:00"}, {From: "00:00", To: "23:59"}}
	if diff := cmp.Diff(want, p.Windows); diff != "" {
		t.Error(diff)
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte(plan.PolicyTemplate()))
	f.Add([]byte("windows: [{days: mon-fri, from: '09:00', to: '16:00', zone: Europe/Berlin}]\nfixes: {agent: hand}\n"))
	f.Add([]byte("pins: [{id: i-001, wave: 2, reason: x}, {id: i-none, wave: 1}]\n"))
	f.Add([]byte("recovery: {public_key: '" + publicKey + "', from: [10.0.0.0/8]}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := plan.ParsePolicy(text)
		if err != nil {
			return
		}
		x := newScene(3)
		x.p = p
		made, err := plan.Make(x.s, x.a, p, now)
		if errors.Is(err, plan.ErrPins) && len(p.Pins) > 0 {
			return // its three hosts may be too few for the pins
		}
		if err != nil {
			t.Fatalf("a valid policy makes no plan: %v", err)
		}
		encoded, err := plan.Encode(made)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := plan.Decode(encoded); err != nil {
			t.Fatalf("the plan does not come back: %v", err)
		}
	})
}

func TestWhenADrillRotatesTheKey(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	month := plan.Duration(30 * 24 * time.Hour)
	for _, tt := range []struct {
		rotate string
		age    plan.Duration
		made   time.Time
		want   bool
	}{
		{"", month, time.Time{}, false},
		{plan.RotateNever, month, now.AddDate(-1, 0, 0), false},
		{plan.RotateDue, month, now.AddDate(0, 0, -29), false},
		{plan.RotateDue, month, now.AddDate(0, 0, -31), true},
		{plan.RotateDue, month, time.Time{}, true}, // nobody knows how old it is
		{plan.RotateDue, 0, now.AddDate(-1, 0, 0), false},
		{plan.RotateAlways, 0, now, true},
	} {
		r := plan.RecoveryPolicy{Rotate: tt.rotate, KeyAge: tt.age}
		if got := r.RotatesAfterDrill(tt.made, now); got != tt.want {
			t.Errorf("rotate %q, key_age %s, made %s: %v", tt.rotate, tt.age, tt.made, got)
		}
	}
}
