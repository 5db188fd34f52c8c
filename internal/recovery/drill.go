package recovery

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// Drill is one drill of a VPC's bastion, as the journal keeps it.
type Drill struct {
	Place  fleet.Place `json:"place"`
	VPC    string      `json:"vpc"`
	Plan   string      `json:"plan"`
	At     time.Time   `json:"at"`     // its end
	Hosts  int         `json:"hosts"`  // that were logged in to, or tried
	Proved int         `json:"proved"` // with success

	// How long its phases took.
	Launch  time.Duration `json:"launch"`  // until the bastion was in service
	Console time.Duration `json:"console"` // until its host keys were known
	Bastion time.Duration `json:"bastion"` // until the login to it
	Logins  time.Duration `json:"logins"`  // into all hosts
	ScaleIn time.Duration `json:"scaleIn"` // until no instance was left
}

// In is how long it took until all hosts were reached: what a real need would take.
func (d Drill) In() time.Duration { return d.Launch + d.Console + d.Bastion + d.Logins }

// String is one line for people.
func (d Drill) String() string {
	return fmt.Sprintf("%d of %s in %s (launch %s, console %s, bastion %s, logins %s; back at zero %s)", d.Proved, fleet.Count(d.Hosts, "host"), seconds(d.In()),
		seconds(d.Launch), seconds(d.Console), seconds(d.Bastion), seconds(d.Logins), seconds(d.ScaleIn))
}

func seconds(d time.Duration) string { return d.Round(time.Second).String() }

// LastDrills are the newest drills, one for each VPC, by place and VPC.
func LastDrills(all []Drill) []Drill {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b Drill) int {
		return cmp.Or(strings.Compare(a.Place.Account, b.Place.Account), strings.Compare(a.Place.Region, b.Place.Region), strings.Compare(a.VPC, b.VPC), b.At.Compare(a.At))
	})
	return slices.CompactFunc(all, func(a, b Drill) bool { return a.Place == b.Place && a.VPC == b.VPC })
}

// drilled judges the last drill of a VPC; nil: there was none.
func drilled(group string, d *Drill, now time.Time) Check {
	c := Check{Code: CheckDrill, What: group, Holds: fleet.TruthNo, Now: "it was never drilled", Do: "migrate recovery drill --yes"}
	if d == nil {
		return c
	}
	age := now.Sub(d.At)
	c.Now = "drilled " + Days(age) + " ago: " + d.String()
	switch {
	case age < 0:
		c.Holds, c.Now, c.Do = fleet.TruthUnknown, "the last drill is from the future: a clock is wrong", "set the clock of this machine"
	case age <= DrillEvery && d.Proved == d.Hosts:
		c.Holds, c.Do = fleet.TruthYes, ""
	}
	return c
}

// Drilled fills in the last drill, and judges it where the VPC has a bastion.
func (v *VPC) Drilled(drills []Drill, now time.Time) {
	for _, d := range LastDrills(drills) {
		if d.Place == v.Place && d.VPC == v.VPC {
			v.Drill = &d
		}
	}
	if v.There == fleet.TruthYes {
		v.Checks = append(v.Checks, drilled(v.Group, v.Drill, now))
	}
}
