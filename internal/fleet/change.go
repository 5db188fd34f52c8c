package fleet

import (
	"errors"
	"net/netip"
	"time"
)

// ErrNotFound says that a resource does not exist.
var ErrNotFound = errors.New("not found")

// Rule is one security group rule with one source or destination, as
// ec2:DescribeSecurityGroupRules lists it. Exactly one of CIDR, PrefixList and
// Group is set.
type Rule struct {
	ID           string            `json:"id,omitempty"` // sgr-…; a rule that is authorized again gets another
	Egress       bool              `json:"egress,omitempty"`
	Protocol     string            `json:"protocol"` // "tcp", "udp", "icmp", a number, or "-1" for all
	From         int               `json:"from"`     // first port; -1 for all
	To           int               `json:"to"`       // last port; -1 for all
	CIDR         netip.Prefix      `json:"cidr,omitzero"`
	PrefixList   string            `json:"prefixList,omitempty"`
	Group        string            `json:"group,omitempty"`
	GroupAccount string            `json:"groupAccount,omitempty"` // of Group, where another account owns it
	Description  string            `json:"description,omitempty"`
	Tags         map[string]string `json:"tags,omitempty"`
}

// Admits reports whether the rule lets TCP connections to the port through.
func (r Rule) Admits(port int) bool {
	switch r.Protocol {
	case "-1":
		return true
	case "tcp", "6":
		return r.From == -1 || r.From <= port && port <= r.To
	}
	return false
}

// Same reports whether two rules let the same through. ID, Description and Tags
// make no difference.
func (r Rule) Same(o Rule) bool {
	return r.Egress == o.Egress && r.Protocol == o.Protocol && r.From == o.From && r.To == o.To &&
		r.CIDR == o.CIDR && r.PrefixList == o.PrefixList && r.Group == o.Group && r.GroupAccount == o.GroupAccount
}

// Rules takes permissions apart, one rule for each source. IDs, tags and the
// accounts of groups are not known there.
func Rules(permissions []Permission, egress bool) []Rule {
	var out []Rule
	for _, p := range permissions {
		one := Rule{Egress: egress, Protocol: p.Protocol, From: p.From, To: p.To, Description: p.Description}
		for _, c := range p.CIDRs {
			r := one
			r.CIDR = c
			out = append(out, r)
		}
		for _, l := range p.PrefixLists {
			r := one
			r.PrefixList = l
			out = append(out, r)
		}
		for _, g := range p.Groups {
			r := one
			r.Group = g
			out = append(out, r)
		}
	}
	return out
}

// Schedule is a one-time EventBridge Scheduler schedule that authorizes one
// ingress rule again: the dead man's switch outside of our process.
type Schedule struct {
	Name   string    `json:"name"`
	At     time.Time `json:"at"` // UTC, whole seconds; the service fires within the minute
	Role   string    `json:"role"`
	Group  string    `json:"group"` // security group ID
	Rule   Rule      `json:"rule"`
	State  string    `json:"state,omitempty"`  // "ENABLED", "DISABLED", as read back
	Target string    `json:"target,omitempty"` // ARN as read back
	// ScaleIn is an Auto Scaling group that the schedule sets to zero, in place
	// of authorizing Rule.
	ScaleIn string `json:"scaleIn,omitempty"`
}
