package cutover_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
)

var errLost = errors.New("the answer was lost")

// cloud is what a fakeAWS holds; keys are IDs or names.
type cloud struct {
	Groups       map[string]fleet.SecurityGroup
	Rules        map[string][]fleet.Rule // by group
	Roles        map[string]fleet.RoleState
	Policies     map[string]string // "role/policy" → document, "role arn" → ""
	Profiles     map[string]fleet.ProfileState
	Associations map[string]fleet.ProfileAssociation // by instance
	DefaultRole  string
	Members      map[string][]string // security group → instances
	Documents    map[string][]fleet.DocumentVersion
	Endpoints    map[string]fleet.VPCEndpoint
	Ready        map[string]time.Time // of endpoints and of groups' instances: when they are there, or gone
	Templates    map[string]fleet.BastionTemplate
	Scaling      map[string]fleet.ScalingGroup
	Schedules    map[string]fleet.Schedule
	Conflict     bool // a private zone answers for the names of endpoints
}

func (c cloud) clone() cloud {
	text, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	out := emptyCloud()
	if err := json.Unmarshal(text, &out); err != nil {
		panic(err)
	}
	return out
}

func emptyCloud() cloud {
	return cloud{
		Members: map[string][]string{},
		Groups:  map[string]fleet.SecurityGroup{}, Rules: map[string][]fleet.Rule{}, Roles: map[string]fleet.RoleState{}, Policies: map[string]string{},
		Profiles: map[string]fleet.ProfileState{}, Associations: map[string]fleet.ProfileAssociation{}, Documents: map[string][]fleet.DocumentVersion{},
		Endpoints: map[string]fleet.VPCEndpoint{}, Ready: map[string]time.Time{}, Templates: map[string]fleet.BastionTemplate{},
		Scaling: map[string]fleet.ScalingGroup{}, Schedules: map[string]fleet.Schedule{},
	}
}

// dump is the cloud as it is compared: without what AWS numbers anew.
func (c cloud) dump(t testing.TB) string {
	t.Helper()
	c = c.clone()
	for id, rules := range c.Rules {
		for i := range rules {
			rules[i].ID = ""
		}
		slices.SortFunc(rules, func(a, b fleet.Rule) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		c.Rules[id] = rules
	}
	for name, versions := range c.Documents {
		c.Documents[name] = slices.DeleteFunc(versions, func(v fleet.DocumentVersion) bool { return !v.Default })
	}
	clear(c.Ready)
	maps.DeleteFunc(c.Endpoints, func(_ string, e fleet.VPCEndpoint) bool { return e.State == "deleted" })
	text, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// fakeAWS fills cutover.AWS from memory. Reads lag; one call can get lost.
type fakeAWS struct {
	mu    sync.Mutex
	now   cloud
	past  []moment // states, each with the time until which it held
	lag   time.Duration
	next  int
	calls int
	lose  int  // the call that gets lost; -1: none
	acted bool // ... after it has acted

	// versions are the user data of the one launch template's versions, tokens
	// those that made them: nothing takes them away.
	versions map[int64]string
	tokens   map[string]int64
}

type moment struct {
	until time.Time
	state cloud
}

var _ cutover.AWS = (*fakeAWS)(nil)

func newFakeAWS(c cloud) *fakeAWS {
	return &fakeAWS{now: c.clone(), lose: -1, versions: map[int64]string{}, tokens: map[string]int64{}}
}

// fails counts calls and tells whether this one gets lost before and after acting.
func (f *fakeAWS) fails() (before, after error) {
	n := f.calls
	f.calls++
	switch {
	case n != f.lose:
	case f.acted:
		return nil, errLost
	default:
		return errLost, nil
	}
	return nil, nil
}

func (f *fakeAWS) read(act func(c cloud) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	before, after := f.fails()
	if err := errors.Join(before, after); err != nil {
		return err
	}
	seen := f.now
	for _, m := range f.past {
		if time.Now().Add(-f.lag).Before(m.until) {
			seen = m.state
			break
		}
	}
	return act(seen)
}

func (f *fakeAWS) change(act func(c *cloud) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	before, after := f.fails()
	if before != nil {
		return before
	}
	next := f.now.clone() // states that reads have seen stay as they are
	if err := act(&next); err != nil {
		return cmp.Or(after, err)
	}
	f.past = append(f.past, moment{time.Now(), f.now})
	f.now = next
	return after
}

func (f *fakeAWS) id(kind string) string { f.next++; return fmt.Sprintf("%s-%04d", kind, f.next) }

func get[T any](m map[string]T, key string) (T, error) {
	v, ok := m[key]
	if !ok {
		return v, fmt.Errorf("%s: %w", key, fleet.ErrNotFound)
	}
	return v, nil
}

func add[T any](m map[string]T, key string, v T) error {
	if _, ok := m[key]; ok {
		return fmt.Errorf("%s: %w", key, fleet.ErrExists)
	}
	m[key] = v
	return nil
}

func remove[T any](m map[string]T, key string) error {
	_, err := get(m, key)
	delete(m, key)
	return err
}

func (f *fakeAWS) FindGroup(_ context.Context, _ fleet.Place, vpc, name string) (out fleet.SecurityGroup, err error) {
	err = f.read(func(c cloud) error {
		for _, id := range slices.Sorted(maps.Keys(c.Groups)) {
			if g := c.Groups[id]; g.VPC == vpc && g.Name == name {
				out = g
				return nil
			}
		}
		return fleet.ErrNotFound
	})
	return out, err
}

func (f *fakeAWS) GroupRules(_ context.Context, _ fleet.Place, group string) (out []fleet.Rule, err error) {
	err = f.read(func(c cloud) error {
		_, err := get(c.Groups, group)
		out = c.Rules[group]
		return err
	})
	return out, err
}

func (f *fakeAWS) GroupMembers(_ context.Context, _ fleet.Place, group string) (out []string, err error) {
	err = f.read(func(c cloud) error {
		out = slices.Clone(c.Members[group])
		return nil
	})
	return out, err
}

func (f *fakeAWS) CreateGroup(_ context.Context, _ fleet.Place, g fleet.SecurityGroup) (string, error) {
	g.ID = f.id("sg")
	return g.ID, f.change(func(c *cloud) error {
		for _, other := range c.Groups {
			if other.VPC == g.VPC && other.Name == g.Name {
				return fleet.ErrExists
			}
		}
		c.Rules[g.ID] = []fleet.Rule{{ID: f.id("sgr"), Egress: true, Protocol: "-1", From: -1, To: -1, CIDR: cidr("0.0.0.0/0")}}
		return add(c.Groups, g.ID, g)
	})
}

func (f *fakeAWS) DeleteGroup(_ context.Context, _ fleet.Place, group string) error {
	return f.change(func(c *cloud) error {
		for id, e := range c.Endpoints {
			if slices.Contains(e.Groups, group) && (e.State != "deleted" || time.Now().Before(c.Ready[id])) {
				return fleet.ErrInUse
			}
		}
		for _, t := range c.Scaling {
			if len(t.Instances) > 0 || time.Now().Before(c.Ready[t.Name]) {
				return fleet.ErrInUse
			}
		}
		delete(c.Rules, group)
		return remove(c.Groups, group)
	})
}

func (f *fakeAWS) Authorize(_ context.Context, _ fleet.Place, group string, r fleet.Rule) error {
	return f.change(func(c *cloud) error {
		if _, err := get(c.Groups, group); err != nil {
			return err
		}
		if slices.ContainsFunc(c.Rules[group], r.Same) {
			return fleet.ErrExists
		}
		r.ID = f.id("sgr")
		c.Rules[group] = append(c.Rules[group], r)
		return nil
	})
}

func (f *fakeAWS) Revoke(_ context.Context, _ fleet.Place, group string, egress bool, ids []string) error {
	return f.change(func(c *cloud) error {
		n := len(c.Rules[group])
		c.Rules[group] = slices.DeleteFunc(c.Rules[group], func(r fleet.Rule) bool { return r.Egress == egress && slices.Contains(ids, r.ID) })
		if n-len(c.Rules[group]) != len(ids) {
			return fleet.ErrNotFound
		}
		return nil
	})
}

func (f *fakeAWS) Association(_ context.Context, _ fleet.Place, instance string) (out fleet.ProfileAssociation, err error) {
	err = f.read(func(c cloud) (err error) { out, err = get(c.Associations, instance); return err })
	return out, err
}

func (f *fakeAWS) Associate(_ context.Context, _ fleet.Place, instance, profile string) error {
	return f.change(func(c *cloud) error {
		if _, err := get(c.Profiles, profile); err != nil {
			return err
		}
		return add(c.Associations, instance, fleet.ProfileAssociation{ID: "iip-assoc-" + instance, Profile: profile, State: "associated"})
	})
}

func (f *fakeAWS) Disassociate(_ context.Context, _ fleet.Place, id string) error {
	return f.change(func(c *cloud) error { return remove(c.Associations, strings.TrimPrefix(id, "iip-assoc-")) })
}

func (f *fakeAWS) Associated(_ context.Context, _ fleet.Place, profile string) (n int, err error) {
	err = f.read(func(c cloud) error {
		for _, a := range c.Associations {
			if a.Profile == profile {
				n++
			}
		}
		return nil
	})
	return n, err
}

func (f *fakeAWS) Profile(_ context.Context, _ fleet.Place, name string) (out fleet.ProfileState, err error) {
	err = f.read(func(c cloud) (err error) { out, err = get(c.Profiles, name); return err })
	return out, err
}

func (f *fakeAWS) CreateProfile(_ context.Context, _ fleet.Place, name, token string) error {
	return f.change(func(c *cloud) error {
		return add(c.Profiles, name, fleet.ProfileState{Name: name, Tags: map[string]string{fleet.TagStep: token}})
	})
}

func (f *fakeAWS) SetProfileRole(_ context.Context, _ fleet.Place, profile, role string) error {
	return f.change(func(c *cloud) error {
		p, err := get(c.Profiles, profile)
		if err == nil && p.Role != "" {
			err = fleet.ErrExists
		}
		if err != nil {
			return err
		}
		p.Role = role
		c.Profiles[profile] = p
		return nil
	})
}

func (f *fakeAWS) DeleteProfile(_ context.Context, _ fleet.Place, p fleet.ProfileState) error {
	return f.change(func(c *cloud) error { return remove(c.Profiles, p.Name) })
}

func (f *fakeAWS) Role(_ context.Context, _ fleet.Place, name string) (out fleet.RoleState, err error) {
	err = f.read(func(c cloud) (err error) { out, err = get(c.Roles, name); return err })
	return out, err
}

func (f *fakeAWS) CreateRole(_ context.Context, _ fleet.Place, r fleet.RoleState) error {
	return f.change(func(c *cloud) error { return add(c.Roles, r.Name, r) })
}

func (f *fakeAWS) DeleteRole(_ context.Context, _ fleet.Place, name string) error {
	return f.change(func(c *cloud) error {
		for key := range c.Policies {
			if strings.HasPrefix(key, name+"/") || strings.HasPrefix(key, name+" ") {
				return fleet.ErrInUse
			}
		}
		for _, p := range c.Profiles {
			if p.Role == name {
				return fleet.ErrInUse
			}
		}
		return remove(c.Roles, name)
	})
}

func (f *fakeAWS) RolePolicy(_ context.Context, _ fleet.Place, role, policy string) (out string, err error) {
	err = f.read(func(c cloud) (err error) { out, err = get(c.Policies, role+"/"+policy); return err })
	return out, err
}

func (f *fakeAWS) RolePolicies(_ context.Context, _ fleet.Place, role string) (out []string, err error) {
	err = f.read(func(c cloud) error {
		for key := range c.Policies {
			if name, of := strings.CutPrefix(key, role+"/"); of {
				out = append(out, name)
			}
		}
		slices.Sort(out)
		return nil
	})
	return out, err
}

func (f *fakeAWS) PutRolePolicy(_ context.Context, _ fleet.Place, role, policy, document string) error {
	return f.change(func(c *cloud) error {
		c.Policies[role+"/"+policy] = document
		_, err := get(c.Roles, role)
		return err
	})
}

func (f *fakeAWS) DeleteRolePolicy(_ context.Context, _ fleet.Place, role, policy string) error {
	return f.change(func(c *cloud) error { return remove(c.Policies, role+"/"+policy) })
}

func (f *fakeAWS) HasPolicy(_ context.Context, _ fleet.Place, role, arn string) (has bool, err error) {
	err = f.read(func(c cloud) error { _, has = c.Policies[role+" "+arn]; return nil })
	return has, err
}

func (f *fakeAWS) RoleInFull(_ context.Context, at fleet.Place, role string) (out fleet.Role, policies []fleet.Policy, err error) {
	err = f.read(func(c cloud) error {
		r, err := get(c.Roles, role)
		out = fleet.Role{Name: r.Name, ARN: "arn:aws:iam::" + at.Account + ":role" + r.Path + r.Name, Trust: r.Trust, Tags: r.Tags, Inline: map[string]string{}}
		for key, text := range c.Policies {
			if name, of := strings.CutPrefix(key, role+"/"); of {
				out.Inline[name] = text
			} else if arn, of := strings.CutPrefix(key, role+" "); of {
				out.Attached = append(out.Attached, arn)
				policies = append(policies, fleet.Policy{ARN: arn, Document: fleet.Fact[string]{Known: text != "", Value: text, Reason: "not read"}})
			}
		}
		return err
	})
	return out, policies, err
}

func (f *fakeAWS) AttachPolicy(_ context.Context, _ fleet.Place, role, arn string) error {
	return f.change(func(c *cloud) error { c.Policies[role+" "+arn] = ""; return nil })
}

func (f *fakeAWS) DetachPolicy(_ context.Context, _ fleet.Place, role, arn string) error {
	return f.change(func(c *cloud) error { return remove(c.Policies, role+" "+arn) })
}

func (f *fakeAWS) DefaultRole(context.Context, fleet.Place) (out string, err error) {
	err = f.read(func(c cloud) error { out = c.DefaultRole; return nil })
	return out, err
}

func (f *fakeAWS) SetDefaultRole(_ context.Context, _ fleet.Place, path string) error {
	return f.change(func(c *cloud) error { c.DefaultRole = path; return nil })
}

func (f *fakeAWS) Document(_ context.Context, _ fleet.Place, name, number string) (out fleet.DocumentVersion, err error) {
	err = f.read(func(c cloud) error {
		for _, v := range c.Documents[name] {
			if v.Number == number || number == "" && v.Default {
				out = v
				return nil
			}
		}
		return fleet.ErrNotFound
	})
	return out, err
}

func (f *fakeAWS) DocumentVersions(_ context.Context, _ fleet.Place, name string) (out []fleet.DocumentVersion, err error) {
	err = f.read(func(c cloud) (err error) { out, err = get(c.Documents, name); return err })
	out = slices.Clone(out)
	slices.Reverse(out)
	for i := range out {
		out[i].Content = ""
	}
	return out, err
}

func (f *fakeAWS) CreateDocument(_ context.Context, _ fleet.Place, name, content, _ string) error {
	return f.change(func(c *cloud) error {
		return add(c.Documents, name, []fleet.DocumentVersion{{Number: "1", Default: true, Content: content}})
	})
}

func (f *fakeAWS) AddDocumentVersion(_ context.Context, _ fleet.Place, name, content string) error {
	return f.change(func(c *cloud) error {
		all := c.Documents[name]
		if slices.ContainsFunc(all, func(v fleet.DocumentVersion) bool { return v.Content == content }) {
			return fleet.ErrExists
		}
		c.Documents[name] = append(all, fleet.DocumentVersion{Number: fmt.Sprint(len(all) + 1), Content: content})
		return nil
	})
}

func (f *fakeAWS) SetDefaultVersion(_ context.Context, _ fleet.Place, name, number string) error {
	return f.change(func(c *cloud) error {
		all := c.Documents[name]
		if !slices.ContainsFunc(all, func(v fleet.DocumentVersion) bool { return v.Number == number }) {
			return fleet.ErrNotFound
		}
		for i := range all {
			all[i].Default = all[i].Number == number
		}
		return nil
	})
}

func (f *fakeAWS) DeleteDocument(_ context.Context, _ fleet.Place, name string) error {
	return f.change(func(c *cloud) error { return remove(c.Documents, name) })
}

func (f *fakeAWS) EndpointsOf(_ context.Context, _ fleet.Place, vpc string) (out []fleet.VPCEndpoint, err error) {
	err = f.read(func(c cloud) error {
		for _, id := range slices.Sorted(maps.Keys(c.Endpoints)) {
			e := c.Endpoints[id]
			if e.State == "pending" && time.Now().After(c.Ready[id]) {
				e.State = "available"
			}
			if e.VPC == vpc && e.State != "deleted" {
				out = append(out, e)
			}
		}
		return nil
	})
	return out, err
}

func (f *fakeAWS) CreateEndpoint(_ context.Context, _ fleet.Place, e fleet.VPCEndpoint, token string) error {
	return f.change(func(c *cloud) error {
		e.ID, e.PrivateDNS, e.State = "vpce-"+token, e.Type == "Interface", "pending"
		if c.Conflict {
			return fleet.ErrExists
		}
		if _, twice := c.Endpoints[e.ID]; !twice {
			c.Endpoints[e.ID], c.Ready[e.ID] = e, time.Now().Add(time.Minute)
		}
		return nil
	})
}

func (f *fakeAWS) DeleteEndpoint(_ context.Context, _ fleet.Place, id string) error {
	return f.change(func(c *cloud) error {
		e, err := get(c.Endpoints, id)
		e.State = "deleted"
		c.Endpoints[id], c.Ready[id] = e, time.Now().Add(time.Minute)
		return err
	})
}

func (f *fakeAWS) Template(_ context.Context, _ fleet.Place, name string) (out fleet.BastionTemplate, err error) {
	err = f.read(func(c cloud) (err error) { out, err = get(c.Templates, name); return err })
	return out, err
}

func (f *fakeAWS) CreateTemplate(_ context.Context, _ fleet.Place, t fleet.BastionTemplate, _ string) error {
	t.ID, t.Version = f.id("lt"), 1
	return f.change(func(c *cloud) error { return add(c.Templates, t.Name, t) })
}

// AddTemplateVersion keeps the user data of all versions; each is one more than
// the last.
func (f *fakeAWS) AddTemplateVersion(_ context.Context, _ fleet.Place, t fleet.BastionTemplate, userData, token string) (version int64, err error) {
	err = f.change(func(c *cloud) error {
		if _, err := get(c.Templates, t.Name); err != nil {
			return err
		}
		if version = f.tokens[token]; version == 0 {
			version = 2 + int64(len(f.tokens))
			f.versions[version], f.tokens[token] = userData, version
		}
		return nil
	})
	return version, err
}

func (f *fakeAWS) SetTemplateDefault(_ context.Context, _ fleet.Place, name string, version int64) error {
	return f.change(func(c *cloud) error {
		t, err := get(c.Templates, name)
		if err != nil {
			return err
		}
		if t.Version == 1 {
			f.versions[1] = t.UserData
		}
		t.Version, t.UserData = version, f.versions[version]
		c.Templates[name] = t
		return nil
	})
}

func (f *fakeAWS) SetTemplateVersion(_ context.Context, _ fleet.Place, name, template, version string) error {
	return f.change(func(c *cloud) error {
		g, err := get(c.Scaling, name)
		if err != nil {
			return err
		}
		g.Template = fleet.LaunchTemplateRef{ID: template, Version: version}
		c.Scaling[name] = g
		return nil
	})
}

func (f *fakeAWS) DeleteTemplate(_ context.Context, _ fleet.Place, name string) error {
	return f.change(func(c *cloud) error { return remove(c.Templates, name) })
}

func (f *fakeAWS) ScalingGroup(_ context.Context, _ fleet.Place, name string) (out fleet.ScalingGroup, err error) {
	err = f.read(func(c cloud) (err error) {
		out, err = get(c.Scaling, name)
		if out.Desired == 0 && time.Now().After(c.Ready[name]) {
			out.Instances = nil
		}
		return err
	})
	return out, err
}

func (f *fakeAWS) SetSize(_ context.Context, _ fleet.Place, name string, minimum, desired, maximum int) error {
	return f.change(func(c *cloud) error {
		g, err := get(c.Scaling, name)
		g.Min, g.Desired, g.Max = minimum, desired, maximum
		c.Scaling[name], c.Ready[name] = g, time.Now().Add(time.Minute)
		return err
	})
}

// InService gives as many instances as the group wants once they have
// started.
func (f *fakeAWS) InService(_ context.Context, _ fleet.Place, name string) (out []fleet.Host, err error) {
	err = f.read(func(c cloud) error {
		g, err := get(c.Scaling, name)
		if err == nil && !time.Now().Before(c.Ready[name]) {
			for i := range g.Desired {
				out = append(out, fleet.Host{ID: fmt.Sprintf("%s-%d", name, i)})
			}
		}
		return err
	})
	return out, err
}

func (f *fakeAWS) LaunchFailure(context.Context, fleet.Place, string, time.Time) (string, error) {
	return "", nil
}

func (f *fakeAWS) CreateScalingGroup(_ context.Context, _ fleet.Place, g fleet.ScalingGroup) error {
	return f.change(func(c *cloud) error { return add(c.Scaling, g.Name, g) })
}

func (f *fakeAWS) DeleteScalingGroup(_ context.Context, _ fleet.Place, name string) error {
	return f.change(func(c *cloud) error {
		if g := c.Scaling[name]; g.Desired > 0 || len(g.Instances) > 0 && time.Now().Before(c.Ready[name]) {
			return fleet.ErrInUse
		}
		return remove(c.Scaling, name)
	})
}

func (f *fakeAWS) Schedule(_ context.Context, _ fleet.Place, name string) (out fleet.Schedule, err error) {
	err = f.read(func(c cloud) (err error) { out, err = get(c.Schedules, name); return err })
	return out, err
}

func (f *fakeAWS) CreateSchedule(_ context.Context, at fleet.Place, s fleet.Schedule, _ string) error {
	s.State, s.Target = "ENABLED", cutover.TimerTarget(at.Region)
	return f.change(func(c *cloud) error { return add(c.Schedules, s.Name, s) })
}

func (f *fakeAWS) DeleteSchedule(_ context.Context, _ fleet.Place, name string) error {
	return f.change(func(c *cloud) error { return remove(c.Schedules, name) })
}
