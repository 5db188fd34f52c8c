package cutover_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// What was closed is told as it was before, word for word, as long as a rollback
// would have to open it again.
func TestClosedGroupsAndSavedKeys(t *testing.T) {
	planned := fleet.Rule{Protocol: "tcp", From: 22, To: 22, CIDR: netip.MustParsePrefix("10.0.0.0/8")}
	was := planned
	was.ID, was.Description, was.Tags = "sgr-1", "VPN", map[string]string{"team": "ops"}
	other := fleet.Rule{Protocol: "tcp", From: 443, To: 443, CIDR: netip.MustParsePrefix("0.0.0.0/0")}
	image, err := json.Marshal(map[string]any{"group": "sg-1", "rules": []fleet.Rule{was, other}})
	if err != nil {
		t.Fatal(err)
	}
	h := []fleet.HostRef{{Account: here.Account, Region: here.Region, ID: "i-1"}}
	p := &plan.Plan{ID: "p", Digest: "d", Waves: []plan.Wave{{Steps: []plan.Step{
		{ID: "keys", Kind: plan.QuarantineKeys, At: here, Hosts: h},
		{ID: "close", Kind: plan.ClosePort, At: here, Hosts: h, Rules: &plan.RuleChange{Group: "sg-1", Rules: []fleet.Rule{planned}}},
	}}}}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	entry := func(step string, e cutover.Event, image json.RawMessage) cutover.Entry {
		return cutover.Entry{At: at, Plan: "p", Digest: "d", Step: step, Event: e, Image: image}
	}
	begun := []cutover.Entry{entry("keys", cutover.Intended, nil), entry("close", cutover.Intended, image)}
	ended := append(begun, entry("keys", cutover.Ours, nil), entry("close", cutover.Ours, nil))
	back := append(ended, entry("close", cutover.UndoBegan, nil), entry("close", cutover.Undone, nil), entry("keys", cutover.UndoBegan, nil), entry("keys", cutover.Undone, nil))
	for _, tt := range []struct {
		name    string
		entries []cutover.Entry
		state   cutover.State
		rule    fleet.Rule
		saved   int
	}{
		{"not begun", nil, cutover.StateNew, planned, 0},
		{"begun", begun, cutover.StateIntended, was, 1},
		{"closed", ended, cutover.StateOurs, was, 1},
		{"taken back", back, cutover.StateUndone, planned, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			groups, err := cutover.ClosedGroups(p, tt.entries)
			if err != nil || len(groups) != 1 || groups[0].State != tt.state || groups[0].Journaled != (tt.saved > 0) {
				t.Fatalf("%+v, %v", groups, err)
			}
			if diff := cmp.Diff([]fleet.Rule{tt.rule}, groups[0].Rules, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
				t.Error(diff)
			}
			folder, hosts, err := cutover.SavedKeys(p, tt.entries)
			if err != nil || len(hosts) != tt.saved || folder != "/var/lib/migrate/"+cutover.Token(p, "") {
				t.Errorf("%s, %v, %v", folder, hosts, err)
			}
			states, err := cutover.States(p, tt.entries)
			if err != nil || len(tt.entries) > 0 && states["close"] != tt.state {
				t.Errorf("%v, %v", states, err)
			}
		})
	}
	strange := []cutover.Entry{{Plan: "p", Digest: "another", Step: "keys", Event: cutover.Intended}}
	if _, err := cutover.ClosedGroups(p, strange); !errors.Is(err, cutover.ErrDigest) {
		t.Errorf("another plan's journal: %v", err)
	}
}
