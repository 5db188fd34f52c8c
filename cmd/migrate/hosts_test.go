package main

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ssm-migrate/internal/filter"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/sqlite"
)

func TestArgumentsOfHosts(t *testing.T) {
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	for _, v := range []fleet.View{{Name: "to do", Filter: "team=shop", Sort: "az"}, {Name: "old", Filter: "gone=x"}} {
		if err := db.SaveView(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	s := &stored{db: db, snap: &fleet.Snapshot{Hosts: []fleet.Host{
		{ID: "i-01", Tags: map[string]string{"Name": "web-1", "team": "shop"}, PrivateIP: netip.MustParseAddr("10.0.0.1")},
		{ID: "i-02", Tags: map[string]string{"Name": "a b=c", "team": "data"}},
	}}}
	for _, c := range []struct {
		args  string // divided by |
		view  string
		named bool
		pass  string
		err   string
	}{
		{"", "", true, "i-01 i-02", ""},
		{"web-1", "", true, "i-01 i-02", ""},
		{"web-1|10.0.0.1|i-02", "", true, "i-01 i-02", ""},
		{"a b=c", "", true, "i-01 i-02", ""},
		{"web", "", false, "i-01", ""},
		{"web-1|nobody", "", false, "", ""},
		{"team=shop|-name:web", "", false, "", ""},
		{"team=data", "", false, "i-02", ""},
		{"", "to do", true, "i-01", ""},
		{"team=data", "to do", false, "", ""},
		{"taem=data", "", false, "", "filter: no key and no tag is called \"taem\": did you mean team"},
		{"", "old", false, "", "view old: no key and no tag is called \"gone\""},
		{"", "new", false, "", `there are "old", "to do"`},
	} {
		var args []string
		if c.args != "" {
			args = strings.Split(c.args, "|")
		}
		names, filters, err := s.hostFilters(t.Context(), hostQuery{args: args, view: c.view})
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q, view %q: %v, want %q", c.args, c.view, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", c.args, err)
			continue
		}
		var pass []string
		for i := range s.snap.Hosts {
			x := filter.NewSubject(&s.snap.Hosts[i], fleet.HostVerdict{}, nil)
			x.Text = x.Words()
			if !slices.ContainsFunc(filters, func(f filter.Filter) bool { return !f.Match(&x) }) {
				pass = append(pass, x.Host.ID)
			}
		}
		if got := strings.Join(pass, " "); got != c.pass || c.named && !slices.Equal(names, args) || !c.named && names != nil {
			t.Errorf("%q, view %q: hosts %v are named and %s pass, want %s", c.args, c.view, names, got, c.pass)
		}
	}
}
