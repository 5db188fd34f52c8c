package inventory

import "ssm-migrate/internal/fleet"

// control is one service control policy at one level of the organization.
type control struct {
	Level    string             `json:"level"`
	ARN      string             `json:"arn"`
	Document fleet.Fact[string] `json:"document"`
}

func (c control) id() string { return c.Level + " " + c.ARN }

// controls takes levels apart into single policies: where one is attached
// counts as much as what it says.
func controls(levels fleet.Fact[[]fleet.ControlLevel]) fleet.Fact[[]control] {
	out := fleet.Fact[[]control]{Known: levels.Known, Reason: levels.Reason}
	for _, l := range levels.Value {
		for _, p := range l.Policies {
			out.Value = append(out.Value, control{Level: l.Target, ARN: p.ARN, Document: p.Document})
		}
	}
	return out
}

// preferences compares Session Manager's preferences and, where both name one,
// the bucket, log group and key.
func (d *differ) preferences(old, new fleet.Fact[fleet.Preferences]) {
	const what = "session preferences"
	if !known(d, what, "", old, new) {
		return
	}
	a, b := old.Value, new.Value
	d.text(what+" exist", "", yesNo(a.Exists), yesNo(b.Exists))
	d.text(what, "", a.Content, b.Content)
	named(d, "session log bucket", a.Bucket, b.Bucket)
	named(d, "session log group", a.LogGroup, b.LogGroup)
	named(d, "session key", a.Key, b.Key)
}

// named compares what two documents name. A zero fact stands for nothing named:
// the documents' own difference tells that.
func named[T any](d *differ, what string, old, new fleet.Fact[T]) {
	if old.Source != "" && new.Source != "" && known(d, what, "", old, new) {
		d.object(what, "", old.Value, new.Value)
	}
}
