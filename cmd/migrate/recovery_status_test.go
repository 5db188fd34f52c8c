package main

import (
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/recovery"
)

// A login proves the current key only where no other one may have been used.
func TestLoginsOfTwoGenerationsProveNoKey(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	const old, next = "ssh-ed25519 T0xE old", "ssh-ed25519 TkVX new"
	for name, tt := range map[string]struct {
		retired time.Time // of the old key
		login   fleet.Truth
		drilled bool // with the new key alone
		want    fleet.Truth
	}{
		"both in use":                 {login: fleet.TruthYes, want: fleet.TruthUnknown},
		"both in use, with the new":   {login: fleet.TruthYes, drilled: true, want: fleet.TruthYes},
		"before the old was retired":  {retired: at.Add(time.Hour), login: fleet.TruthYes, want: fleet.TruthUnknown},
		"after the old was retired":   {retired: at.Add(-time.Hour), login: fleet.TruthYes, want: fleet.TruthYes},
		"no login that counts by now": {retired: at.Add(-time.Hour), login: fleet.TruthNo, drilled: true, want: fleet.TruthUnknown},
		"retired, and with the new":   {retired: at.Add(time.Hour), login: fleet.TruthYes, drilled: true, want: fleet.TruthYes},
		"nobody has logged in anyhow": {login: fleet.TruthUnknown, want: fleet.TruthUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			host := fleet.HostRef{Account: "1", Region: "eu-west-1", ID: "i-1"}
			want := recovery.Wanted{
				Key:   recovery.Blob(next),
				Keys:  []fleet.RecoveryKey{{Line: next, Made: at.Add(-2 * time.Hour)}, {Line: old, Made: at.Add(-24 * time.Hour), Retired: tt.retired}},
				Known: map[fleet.HostRef]fleet.Truth{},
			}
			v := recovery.VPC{Hosts: []recovery.Host{{Host: host, Key: fleet.TruthUnknown, Login: tt.login, Proof: fleet.Proof{At: at}}}}
			knowKeys(want, []recovery.VPC{v}, map[fleet.HostRef]bool{host: tt.drilled})
			if got, shown := want.Known[host], v.Hosts[0].Key; got != tt.want || shown != tt.want {
				t.Errorf("%s, shown as %s, want %s", got, shown, tt.want)
			}
		})
	}
}
