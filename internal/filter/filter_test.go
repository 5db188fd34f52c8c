package filter_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ssm-migrate/internal/filter"
	"ssm-migrate/internal/fleet"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// host is a blocked host of which much is known.
func host() *fleet.Host {
	return &fleet.Host{
		ID: "i-0abc", Account: "111122223333", Region: "eu-west-1", AZ: "eu-west-1a", VPC: "vpc-1", State: "running", Groups: []string{"sg-1", "sg-2"},
		PrivateIP: netip.MustParseAddr("10.0.0.7"), PublicIP: netip.MustParseAddr("198.51.100.9"), LaunchTime: now.Add(-40 * 24 * time.Hour), Platform: "Linux/UNIX",
		Tags: map[string]string{"Name": "Web-1", "team": "shop floor", "az": "tagged", "aws:autoscaling:groupName": "web", "cost center": "42", "q": `say "x"`},
		Probe: fleet.Known(fleet.Probe{OS: fleet.OS{ID: "debian", Version: "12"}, Agent: fleet.Known(fleet.HostAgent{}, "probe", now), Keys: fleet.Known([]fleet.Key{
			{Fingerprint: "SHA256:aaa", Comment: "ann@laptop"}, {Fingerprint: "SHA256:bbb", Comment: "deploy@ci"}}, "probe", now)}, "probe", now),
	}
}

// other is a host of which little is known; its tags belong to the language.
func other() *fleet.Host {
	return &fleet.Host{ID: "i-0def", Tags: map[string]string{"owner": "Ann", "Team": "x"}}
}

func subject(h *fleet.Host, v fleet.HostVerdict, findings ...fleet.Finding) filter.Subject {
	s := filter.NewSubject(h, v, findings)
	s.Text = s.Words()
	return s
}

func subjects() (known, unknown filter.Subject, l *filter.Language) {
	a, b := host(), other()
	known = subject(a, fleet.HostVerdict{Verdict: fleet.VerdictBlocked, Cause: "agent-missing"}, fleet.Finding{Code: "agent-missing"}, fleet.Finding{Code: "key-shared"})
	return known, subject(b, fleet.HostVerdict{}), filter.NewLanguage([]fleet.Host{*a, *b})
}

func TestMatch(t *testing.T) {
	s, _, l := subjects()
	tests := []struct {
		text string
		want bool
	}{
		{"", true}, {"   ", true}, {"web", true}, {"WEB-1", true}, {"db", false}, {"-db", true}, {"-web", false}, {"10.0.0.7", true}, {"198.51", true}, {"i-0abc", true}, {"team=shop", false}, {`"team=shop"`, true},
		{"status:blocked", true}, {"status=blocked", true}, {"status=block", false}, {"status:block", true}, {"status:ready", false}, {"verdict:blocked", true}, {"-status:ready", true}, {"-ready", true}, {"-blocked", false},
		{"az=eu-west-1a", true}, {"az=eu-west-1", false}, {"az:eu-west-1", true}, {"zone:1a", true}, {"region=eu-west-1", true}, {"REGION=EU-WEST-1", true}, {"vpc=vpc-1", true}, {"vpc=vpc-2", false},
		{`team="shop floor"`, true}, {`"shop floor"`, true}, {"Team=\"Shop Floor\"", true}, {"team:shop", true}, {"team:web", false}, {"owner=ann", false}, {"-owner=ann", true}, {"owner=", true}, {"team=", false}, {"asg=", true}, {"-asg=", false},
		{"tag:az=tagged", true}, {"tag:az=eu", false}, {"tag:team", true}, {"tag:owner", false}, {"tag:nobody=has", false}, {"tag:nobody=", true}, {"tag:team:floor", true}, {"tag:aws:autoscaling:groupName", true},
		{"aws:autoscaling:groupName=web", true}, {"aws:autoscaling:groupname:we", true}, {`"cost center"=42`, true}, {`"cost center"=4`, false}, {`tag:"cost center"=42`, true}, {`q="say \"x\""`, true}, {`q:"\"x"`, true},
		{"cause=agent-missing", true}, {"finding=key-shared", true}, {"finding=key", false}, {"finding:key", true}, {"finding=", false}, {"group=sg-2", true}, {"sg=sg-3", false},
		{"web status:blocked", true}, {"web status:ready", false}, {"keys=2", true}, {"keys>1", true}, {"keys>2", false}, {"keys>=2", true}, {"keys<=2", true}, {"keys<2", false}, {"keys=?", false}, {"findings>1", true},
		{"age>30d", true}, {"age>30", true}, {"age>6w", false}, {"age<1y", true}, {"age=40", true}, {"age>959h", true}, {"age>961h", false},
		{"key:ann", true}, {"key=SHA256:aaa", true}, {"key:bob", false}, {"ip=10.0.0.7", true}, {"ip=", false}, {"os:debian", true}, {"agent=-", true},
		{"-", true}, {"--", false}, {"=x", false}, {`"`, true}, {`"-web"`, false}, {`owner="`, true}, {`"web`, true},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			f, err := l.Parse(tt.text, now)
			if err != nil {
				t.Fatal(err)
			}
			if got := f.Match(&s); got != tt.want {
				t.Errorf("%q matches: %v, want %v", tt.text, got, tt.want)
			}
		})
	}
}

// What is not known is neither more nor less than a number; the opposite of a
// term is all the rest.
func TestUnknownNumbers(t *testing.T) {
	_, s, l := subjects()
	for text, want := range map[string]bool{"keys>0": false, "keys<100": false, "-keys>0": true, "keys=?": true, "keys=": true, "age>1d": false, "age<1d": false, "age=?": true, "agent=?": true, "ip=": true, "status:unknown": true} {
		f, err := l.Parse(text, now)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Match(&s); got != want {
			t.Errorf("%q matches: %v, want %v", text, got, want)
		}
	}
}

func TestErrorsTellWhatToWrite(t *testing.T) {
	_, _, l := subjects()
	for text, want := range map[string]string{
		"satus=blocked":    "did you mean status",
		"stauts:blocked":   "did you mean status",
		"ownr=ann":         "did you mean owner",
		"arn:aws:iam::1":   `Quotes look for the text: "arn:aws:iam::1"`,
		"cost=5":           `"cost center"`,
		"zz9=5":            `no key and no tag is called "zz9"`,
		"status=halfway":   "ready, blocked or unknown",
		"az>3":             "> and < are for keys, findings, age",
		"team>3":           "> and < are for keys, findings, age",
		"keys>many":        "keys>3",
		"age<":             "age>30d",
		"tag:":             "tag:team=web",
		"web -satus:ready": "did you mean status",
	} {
		_, err := l.Parse(text, now)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want it to say %q", text, err, want)
		}
	}
}

func TestWhatCanBeReadOfAWrongFilterHolds(t *testing.T) {
	s, _, l := subjects()
	for text, want := range map[string]bool{"satus=blocked web": true, "satus=blocked db": false, "satus=blocked": true} {
		f, err := l.Parse(text, now)
		if err == nil || f.Match(&s) != want {
			t.Errorf("%q: %v, and it matches: %v", text, err, !want)
		}
	}
}

func TestEveryKeyHasAValue(t *testing.T) {
	s, _, l := subjects()
	s.Host.Subnet, s.Host.AutoScalingGroup, s.Host.ProfileARN, s.Host.ImageID, s.Host.InstanceType, s.Host.KeyName = "a", "b", "c", "d", "e", "f"
	for _, k := range filter.Keys() {
		for _, name := range []string{k.Name, k.Also} {
			if name == "" {
				continue
			}
			f, err := l.Parse("-"+name+"=", now)
			if err != nil {
				t.Fatal(err)
			}
			if !f.Match(&s) {
				t.Errorf("the host has no value for %s", name)
			}
		}
		if k.Help == "" {
			t.Errorf("%s has no help", k.Name)
		}
	}
}

func TestCompletions(t *testing.T) {
	_, _, l := subjects()
	for start, want := range map[string][]string{"te": {"team"}, "a": {"account", "az", "asg"}, "cost": {`"cost center"`}, "zzz": nil, "aws": {`"aws:autoscaling:groupName"`}} {
		got := l.Completions(start, 3)
		if start == "te" {
			got = []string{strings.ToLower(got[0])}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", start, got, want)
		}
	}
}

// A term that is written for a value finds it, whatever the value is.
func TestWrittenTermsFindTheirValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[ -~äß]{1,12}`)
		key, value := text.Draw(t, "key"), text.Draw(t, "value")
		h := &fleet.Host{ID: "i-1", AutoScalingGroup: value, Tags: map[string]string{key: value}}
		s := subject(h, fleet.HostVerdict{})
		for _, written := range []string{filter.Term("asg", value), filter.TagTerm(key, value)} {
			f, err := filter.NewLanguage([]fleet.Host{*h}).Parse(written, now)
			if err != nil {
				t.Fatalf("%s: %v", written, err)
			}
			if !f.Match(&s) {
				t.Fatalf("%s does not find key %q with value %q", written, key, value)
			}
		}
	})
}

// Whatever is typed is read or refused with a reason, and a host passes a text
// or its opposite, never both.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"web", "-web", "status:blocked", `a="b c"`, `"`, "-", "tag:a=b", "tag:", "=", ":", "age>30d", "keys<=2", "keys=?", `tag:"x y"=\`, "team=web az:1 -ready", "\xff=\x00"} {
		f.Add(s)
	}
	known, unknown, l := subjects()
	f.Fuzz(func(t *testing.T, text string) {
		terms, err := l.Parse(text, now)
		if err != nil {
			if err.Error() == "" {
				t.Fatal("no reason is given")
			}
			return
		}
		for _, s := range []*filter.Subject{&known, &unknown} {
			got := terms.Match(s)
			if blank, err := l.Parse("  "+text+"  ", now); err == nil && !strings.Contains(text, `"`) && blank.Match(s) != got {
				t.Fatalf("%q: blanks around it matter", text)
			}
			if strings.ContainsAny(text, "\" \t\n") || text == "" || text[0] == '-' {
				continue
			}
			not, err := l.Parse("-"+text, now)
			if err != nil {
				t.Fatalf("-%s: %v", text, err)
			}
			if not.Match(s) == got {
				t.Fatalf("%q and its opposite both say %v", text, got)
			}
		}
	})
}
