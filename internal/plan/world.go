package plan

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// world finds a snapshot's objects by ID. IDs are unique over accounts.
type world struct {
	regions  map[fleet.Place]*fleet.Region
	accounts map[string]*fleet.Account
	vpcs     map[string]*fleet.VPC
	groups   map[string]*fleet.SecurityGroup
	subnets  map[string]*fleet.Subnet
	ofVPC    map[string][]*fleet.Subnet // by ID, each once
	tableOf  map[string]*fleet.RouteTable
	mainOf   map[string]*fleet.RouteTable // by VPC
	guards   map[string][]string          // security group → endpoints that carry it
}

func newWorld(s *fleet.Snapshot) *world {
	w := &world{
		regions: map[fleet.Place]*fleet.Region{}, accounts: map[string]*fleet.Account{}, vpcs: map[string]*fleet.VPC{},
		groups: map[string]*fleet.SecurityGroup{}, subnets: map[string]*fleet.Subnet{}, ofVPC: map[string][]*fleet.Subnet{},
		tableOf: map[string]*fleet.RouteTable{}, mainOf: map[string]*fleet.RouteTable{}, guards: map[string][]string{},
	}
	for i := range s.Accounts {
		w.accounts[s.Accounts[i].ID] = &s.Accounts[i]
	}
	for i := range s.Regions {
		w.addRegion(&s.Regions[i])
	}
	for _, list := range w.ofVPC {
		slices.SortFunc(list, func(a, b *fleet.Subnet) int { return strings.Compare(a.ID, b.ID) })
	}
	return w
}

func (w *world) addRegion(r *fleet.Region) {
	w.regions[fleet.Place{Account: r.Account, Region: r.Name}] = r
	for i := range r.VPCs.Value {
		w.vpcs[r.VPCs.Value[i].ID] = &r.VPCs.Value[i]
	}
	for i := range r.Groups.Value {
		w.groups[r.Groups.Value[i].ID] = &r.Groups.Value[i]
	}
	for i := range r.Subnets.Value {
		s := &r.Subnets.Value[i]
		if w.subnets[s.ID] == nil { // a shared subnet is listed by several accounts
			w.ofVPC[s.VPC] = append(w.ofVPC[s.VPC], s)
		}
		w.subnets[s.ID] = s
	}
	for i := range r.RouteTables.Value {
		t := &r.RouteTables.Value[i]
		if t.Main {
			w.mainOf[t.VPC] = t
		}
		for _, s := range t.Subnets {
			w.tableOf[s] = t
		}
	}
	for _, e := range r.Endpoints.Value {
		for _, g := range e.Groups {
			if !slices.Contains(w.guards[g], e.ID) {
				w.guards[g] = append(w.guards[g], e.ID)
			}
		}
	}
}

// region is what was collected around a place; all unknown when nothing was.
func (w *world) region(at fleet.Place) *fleet.Region {
	if r := w.regions[at]; r != nil {
		return r
	}
	return &fleet.Region{}
}

// table is the route table of a subnet; nil when it was not read.
func (w *world) table(s *fleet.Subnet) *fleet.RouteTable {
	if t := w.tableOf[s.ID]; t != nil {
		return t
	}
	return w.mainOf[s.VPC]
}

// scalingGroup finds a host's Auto Scaling group; nil when it was not read.
func (w *world) scalingGroup(h *fleet.Host) *fleet.ScalingGroup {
	groups := w.region(h.Ref().Place()).ScalingGroups.Value
	for i := range groups {
		if h.AutoScalingGroup != "" && groups[i].Name == h.AutoScalingGroup {
			return &groups[i]
		}
	}
	return nil
}

// template is the launch template version from which the host's Auto Scaling
// group would replace it; nil when it was not read.
func (w *world) template(h *fleet.Host) (*fleet.LaunchTemplate, *fleet.TemplateVersion) {
	ref := h.LaunchTemplate
	if g := w.scalingGroup(h); g != nil {
		ref = g.Template
	}
	return w.region(h.Ref().Place()).Template(ref)
}

// bastion is the launch template of the VPC's recovery bastion, and the version
// of it that the bastion starts from; nil what was not seen.
func (w *world) bastion(at fleet.Place, vpc string) (*fleet.LaunchTemplate, *fleet.TemplateVersion) {
	region := w.region(at)
	i := slices.IndexFunc(region.Templates.Value, func(t fleet.LaunchTemplate) bool { return t.Name == RecoveryName(vpc) })
	if i < 0 {
		return nil, nil
	}
	t := &region.Templates.Value[i]
	ref := fleet.LaunchTemplateRef{ID: t.ID}
	for _, g := range region.ScalingGroups.Value {
		if g.Name == t.Name && g.Template.ID == t.ID {
			ref = g.Template
		}
	}
	_, v := region.Template(ref)
	return t, v
}

// groupName is a security group as texts name it: "sg-0abc (web)".
func (w *world) groupName(id string) string {
	if g := w.groups[id]; g != nil && g.Name != "" {
		return id + " (" + fleet.OneLine(g.Name, 60) + ")"
	}
	return id
}

// groupsOf lists a host's security groups over all its interfaces, once each.
func groupsOf(h *fleet.Host) []string {
	all := slices.Clone(h.Groups)
	for _, n := range h.Interfaces {
		all = append(all, n.Groups...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// gone reports whether the instance is on its way out: nobody needs a door to it.
func gone(h *fleet.Host) bool { return h.State == "terminated" || h.State == "shutting-down" }

// matches reports whether all that the selector names fits the host.
func (s Selector) matches(h *fleet.Host) bool {
	if s.empty() || !fits(s.ID, h.ID) || !fits(s.Name, h.Name()) || !fits(s.ASG, h.AutoScalingGroup) || !fits(s.VPC, h.VPC) {
		return false
	}
	for k, v := range s.Tags {
		if have, ok := h.Tags[k]; !ok || !fits(v, have) {
			return false
		}
	}
	return true
}

// fits reports whether a value matches a pattern of path.Match; an empty one
// matches everything.
func fits(pattern, value string) bool {
	if pattern == "" {
		return true
	}
	// A slash is an ordinary letter in names and tags.
	ok, err := path.Match(strings.ReplaceAll(pattern, "/", "\x00"), strings.ReplaceAll(value, "/", "\x00"))
	return err == nil && ok
}

func comparePlaces(a, b fleet.Place) int {
	return cmp.Or(strings.Compare(a.Account, b.Account), strings.Compare(a.Region, b.Region))
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

func sortedPlaces[V any](m map[fleet.Place]V) []fleet.Place {
	return slices.SortedFunc(maps.Keys(m), comparePlaces)
}

func addOnce[T comparable](list []T, more ...T) []T {
	for _, x := range more {
		if !slices.Contains(list, x) {
			list = append(list, x)
		}
	}
	return list
}

// clip makes a text from a host, an API or a file fit for one line.
func clip(s string) string { return fleet.OneLine(s, 120) }

// some joins the first few of a list.
func some(list []string) string {
	const most = 5
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}
