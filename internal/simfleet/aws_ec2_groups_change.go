package simfleet

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

var ec2GroupChanges = map[string]operation{
	"CreateSecurityGroup": createSecurityGroup,
	"DeleteSecurityGroup": deleteSecurityGroup,
	"CreateTags":          createTags,
	"DeleteTags":          deleteTags,
}

func createSecurityGroup(c *call) (any, error) {
	if err := c.missing("GroupName", "GroupDescription", "VpcId"); err != nil {
		return nil, err
	}
	name, vpc, description := c.form.Get("GroupName"), c.form.Get("VpcId"), c.form.Get("GroupDescription")
	switch {
	case find(c.region.VPCs, func(v *fleet.VPC) bool { return v.ID == vpc }) == nil:
		return nil, refuse("InvalidVpcID.NotFound", "The vpc ID '%s' does not exist", vpc)
	case strings.HasPrefix(name, "sg-"), len(name) > 255, !describable(name):
		return nil, refuse("InvalidParameterValue", "Value (%s) for parameter GroupName is invalid. Names must not begin with 'sg-' and have up to 255 characters of a-z, A-Z, 0-9, spaces, and ._-:/()#,@[]+=&;{}!$*", name)
	case !describable(description):
		return nil, refuse("InvalidParameterValue", "Value (%s) for parameter GroupDescription is invalid. Character sets beyond ASCII are not supported.", description)
	case find(c.region.Groups, func(g *fleet.SecurityGroup) bool { return g.VPC == vpc && g.Name == name }) != nil:
		return nil, refuse("InvalidGroup.Duplicate", "The security group '%s' already exists for VPC '%s'", name, vpc)
	}
	g := &fleet.SecurityGroup{ID: c.w.newID("sg"), Name: name, VPC: vpc, Description: description, Tags: c.specifiedTags("security-group"), Ingress: []fleet.Permission{}}
	c.region.Groups = append(c.region.Groups, g)
	everywhere := fleet.Rule{Egress: true, Protocol: "-1", From: -1, To: -1, CIDR: netip.MustParsePrefix("0.0.0.0/0")}
	if _, err := c.w.authorize(c.region, g, []fleet.Rule{everywhere}, nil); err != nil {
		return nil, err
	}
	return struct {
		returned
		ID   string       `xml:"groupId"`
		Tags itemSet[tag] `xml:"tagSet"`
		ARN  string       `xml:"securityGroupArn"`
	}{returned{true}, g.ID, tagSet(g.Tags), "arn:aws:ec2:" + c.region.Name + ":" + c.account.ID + ":security-group/" + g.ID}, nil
}

func deleteSecurityGroup(c *call) (any, error) {
	id := c.form.Get("GroupId")
	if name := c.form.Get("GroupName"); id == "" && name != "" {
		return nil, refuse("InvalidParameterValue", "The groupName parameter cannot be used with a group of a VPC that is not the default one: %s", name)
	}
	if err := c.missing("GroupId"); err != nil {
		return nil, err
	}
	g, err := c.securityGroup(id)
	if err != nil {
		return nil, err
	}
	switch {
	case g.Name == "default":
		return nil, refuse("CannotDelete", "the specified group: %q name: \"default\" cannot be deleted by a user", id)
	case c.w.inUse(c.region, g):
		return nil, refuse("DependencyViolation", "resource %s has a dependent object", id)
	}
	c.region.revoke(g, c.region.rulesOf(g))
	c.region.Groups = slices.DeleteFunc(slices.Clone(c.region.Groups), func(x *fleet.SecurityGroup) bool { return x == g })
	return struct {
		returned
		ID string `xml:"groupId"`
	}{returned{true}, id}, nil
}

// inUse reports whether an interface has the group, or another group's rule
// names it. Launch templates may name groups that do not exist.
func (w *World) inUse(rg *Region, g *fleet.SecurityGroup) bool {
	for _, in := range rg.Instances {
		for _, n := range in.Host.Interfaces {
			if slices.Contains(n.Groups, g.ID) && in.Host.State != "terminated" {
				return true
			}
		}
	}
	if find(rg.ENIs, func(n *ENI) bool { return slices.Contains(n.Groups, g.ID) }) != nil {
		return true
	}
	names := func(p fleet.Permission) bool { return slices.Contains(p.Groups, g.ID) }
	for _, a := range w.Accounts {
		for _, other := range a.Regions {
			for _, x := range other.Groups {
				if x != g && (slices.ContainsFunc(x.Ingress, names) || slices.ContainsFunc(x.Egress, names)) {
					return true
				}
			}
		}
	}
	return false
}

// tagsOf gives the tags of a resource, to be changed in place; nil: there is
// no such resource.
func (rg *Region) tagsOf(id string) *map[string]string {
	if g := find(rg.Groups, func(g *fleet.SecurityGroup) bool { return g.ID == id }); g != nil {
		return &g.Tags
	}
	if in := find(rg.Instances, func(in *Instance) bool { return in.Host.ID == id }); in != nil {
		return &in.Host.Tags
	}
	if v := find(rg.VPCs, func(v *fleet.VPC) bool { return v.ID == id }); v != nil {
		return &v.Tags
	}
	if s := find(rg.Subnets, func(s *fleet.Subnet) bool { return s.ID == id }); s != nil {
		return &s.Tags
	}
	return nil
}

// tagsElsewhere reports whether a resource exists whose tags are in rg.Tags.
func (rg *Region) tagsElsewhere(id string) bool {
	return find(rg.Templates, func(l *fleet.LaunchTemplate) bool { return l.ID == id }) != nil ||
		find(rg.Endpoints, func(e *fleet.VPCEndpoint) bool { return e.ID == id }) != nil ||
		find(rg.KeyPairs, func(k *fleet.KeyPair) bool { return k.ID == id }) != nil ||
		slices.ContainsFunc(rg.Groups, func(g *fleet.SecurityGroup) bool {
			return slices.ContainsFunc(rg.rulesOf(g), func(r fleet.Rule) bool { return r.ID == id })
		})
}

func (c *call) taggable() ([]string, error) {
	ids := c.list("ResourceId")
	if len(ids) == 0 {
		return nil, c.missing("ResourceId.1")
	}
	for _, id := range ids {
		if c.region.tagsOf(id) == nil && !c.region.tagsElsewhere(id) {
			return nil, refuse("InvalidID", "The ID '%s' is not valid", id)
		}
	}
	return ids, nil
}

func createTags(c *call) (any, error) {
	ids, err := c.taggable()
	if err != nil {
		return nil, err
	}
	tags := c.pairs("Tag")
	for k := range tags {
		if k == "" || strings.HasPrefix(strings.ToLower(k), "aws:") {
			return nil, refuse("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
		}
	}
	for _, id := range ids {
		in := c.region.tagsOf(id)
		if in == nil {
			c.region.setTags(id, tags)
			continue
		}
		// Copied, since instances of one group may share a map.
		all := maps.Clone(*in)
		if all == nil {
			all = map[string]string{}
		}
		maps.Copy(all, tags)
		*in = all
	}
	return returned{true}, nil
}

// deleteTags takes tags by key, where a value is given only with that value;
// without any, all but AWS's own.
func deleteTags(c *call) (any, error) {
	ids, err := c.taggable()
	if err != nil {
		return nil, err
	}
	goes := func(k, v string) bool {
		listed := c.members("Tag")
		for _, p := range listed {
			if c.form.Get(p+".Key") == k && (!c.form.Has(p+".Value") || c.form.Get(p+".Value") == v) {
				return true
			}
		}
		return len(listed) == 0 && !strings.HasPrefix(k, "aws:")
	}
	for _, id := range ids {
		if in := c.region.tagsOf(id); in != nil {
			all := maps.Clone(*in)
			maps.DeleteFunc(all, goes)
			*in = all
			continue
		}
		maps.DeleteFunc(c.region.Tags[id], goes)
	}
	return returned{true}, nil
}
