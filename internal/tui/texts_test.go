package tui

import (
	"slices"
	"strings"
	"testing"

	"ssm-migrate/internal/fleet"
)

// What is next, and what heads a table of people, is never cut off in the
// smallest usual terminal.
func TestSentencesFit(t *testing.T) {
	for _, s := range scenes {
		lines := strings.Split(s.stage(t, 80, 24).screen(), "\n")
		check := slices.Clone(lines[len(lines)-3 : len(lines)-1])
		if strings.HasPrefix(s.name, "ledger") || strings.HasPrefix(s.name, "access") {
			check = append(check, lines[2:4]...)
		}
		for _, l := range check {
			if strings.Contains(l, "…") {
				t.Errorf("%s: %q is cut off", s.name, l)
			}
		}
	}
	for at, keys := range map[string][]string{"consumers": {"l"}, "people": {"a"}, "operators": {"a", "tab"}} {
		d := stocked(t, 60, 80, 24).press(keys...)
		for range 3 {
			d.press("enter")
			if out := d.screen(); strings.Contains(out[strings.Index(out, " Next"):], "…") {
				t.Errorf("%s: cut off:\n%s", at, out)
			}
			d.press("esc", "down")
		}
	}
}

func TestAPathInOneLine(t *testing.T) {
	hops := []fleet.Hop{{Kind: "security group", Object: "sg-1"}, {Kind: "network ACL", Object: "acl-1"}, {Kind: "network ACL", Object: "acl-1"}, {Kind: "network ACL", Object: "acl-2"}, {Kind: "endpoint", Object: "vpce-1"}, {Kind: "endpoint", Object: "vpce-1"}}
	if got, want := inOneLine(hops), "host → security group sg-1 → network ACL acl-1 ×2 → network ACL acl-2 → endpoint vpce-1 ×2"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if got := inOneLine(nil); got != "host" {
		t.Errorf("no hops: %s", got)
	}
}

func TestNamesAreToldOnce(t *testing.T) {
	snap, judged := testFleet(9)
	for i := range snap.Hosts[:8] {
		snap.Hosts[i].Tags["Name"] = "web"
	}
	d := newData(snap, judged)
	var ids []string
	for _, h := range snap.Hosts {
		ids = append(ids, h.ID)
	}
	if got, want := d.names(ids), clean(snap.Hosts[8].Name())+", web ×8"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	many, judgedMany := testFleet(100)
	d, ids = newData(many, judgedMany), nil
	for _, h := range many.Hosts {
		ids = append(ids, h.ID)
	}
	if got := d.names(ids); !strings.HasSuffix(got, " and 40 more") {
		t.Errorf("100 hosts: %q", got)
	}
}

// Rows that differ only in the account on the hosts can be told apart, and so
// can those that nobody claims.
func TestNarrowLedgerTellsRowsApart(t *testing.T) {
	snap, judged := testFleet(60)
	ops := judged.Ledger.Consumers[0]
	root := ops
	root.User = "root"
	judged.Ledger.Consumers = append(judged.Ledger.Consumers, root)
	d := newDriver(t, &world{snap: snap, judged: judged}, 80, 24, Options{}).press("l")
	d.mustShow("TO USER", "ops", "root", "? deploy@ci")
}

func TestDetailsSayWhatToDo(t *testing.T) {
	group := func(c fleet.Consumer) [2]string { return consumerNext(fleet.ConsumerGroup{Consumer: c}) }
	role := []string{"arn:aws:iam::123456789012:role/ops"}
	for name, tt := range map[string]struct {
		got  [2]string
		want string
	}{
		"nobody's key":             {group(fleet.Consumer{}), "claim it"},
		"an owner without IAM":     {group(fleet.Consumer{Owner: "Ann"}), "a principal"},
		"an owner with IAM":        {group(fleet.Consumer{Owner: "Ann", Principals: role}), "waive it"},
		"waived":                   {group(fleet.Consumer{Status: fleet.ConsumerWaived, Waiver: &fleet.Waiver{Until: testNow}}), "before 2026-"},
		"silent":                   {group(fleet.Consumer{Status: fleet.ConsumerSilent}), "go back"},
		"the inventory itself":     {group(fleet.Consumer{Owner: "migrate", OwnerBy: "probe"}), "go back"},
		"a key that loses":         {personNext(fleet.PersonParity{Loses: 1}), "owners file"},
		"a person without IAM":     {personNext(fleet.PersonParity{Person: "Bob", Claimed: true, Loses: 1}), "Bob a principal"},
		"a person with IAM":        {personNext(fleet.PersonParity{Claimed: true, Principals: role, Loses: 1}), "ssm:StartSession"},
		"a person not known":       {personNext(fleet.PersonParity{Claimed: true, Principals: role, Unknown: 1}), "find out"},
		"a person who keeps all":   {personNext(fleet.PersonParity{Keeps: 1}), "go back"},
		"a grant for everything":   {operatorNext(fleet.Operator{Unrestricted: true}), "limit it"},
		"an editor of preferences": {operatorNext(fleet.Operator{EditPreferences: fleet.TruthYes}), "preferences"},
		"nobody's principal":       {operatorNext(fleet.Operator{}), "whose it is"},
		"a plain operator":         {operatorNext(fleet.Operator{People: []string{"Ann"}}), "go back"},
	} {
		if !strings.Contains(tt.got[0], tt.want) || tt.got[1] == "" {
			t.Errorf("%s: next %q, want %q", name, tt.got, tt.want)
		}
	}
	d := stocked(t, 60, 80, 24).press("l", "enter")
	d.mustShow("Move it to Session Manager, or waive it")
	d = stocked(t, 60, 80, 24).press("a", "enter")
	d.mustShow("Give Bob a principal")
}

func TestAHostSaysWhoUsesIt(t *testing.T) {
	d := stocked(t, 60, 120, 100).press("f", "enter")
	d.mustShow("Who uses this host", "Ann as ops for shell, active", "keeps it")
}

// A filter that came from another screen is narrowed by what is typed.
func TestTypingNarrowsADrilledFilter(t *testing.T) {
	d := stocked(t, 60, 80, 24).press("2", "down", "enter", "/")
	d.mustShow("11 of 60 hosts")
	d.write("az=eu-west-1a")
	d.mustShow("/ cause=agent-missing status=blocked az=eu-west-1a", "4 of 60 hosts")
	d.press("esc", "esc")
	d = stocked(t, 60, 80, 24).press("2", "down", "enter", "/", "enter", "esc")
	d.mustShow("What stands in the way") // nothing was typed: esc still goes back
}

// What was cut says so once, also where the cut comes at the very edge.
func TestWhatDoesNotFitEndsInOneEllipsis(t *testing.T) {
	for w := 3; w < 40; w++ {
		got := wrapTo("attach an instance profile whose role has AmazonSSMManagedInstanceCore, or turn on Default Host Management", w, 2)
		if last := got[len(got)-1]; len(got) != 2 || strings.Count(last, "…") != 1 || width(last) > w {
			t.Errorf("in %d cells: %q", w, got)
		}
	}
}
