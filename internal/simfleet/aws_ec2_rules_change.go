package simfleet

import (
	"fmt"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"ssm-migrate/internal/fleet"
)

var ec2RuleChanges = map[string]operation{
	"AuthorizeSecurityGroupIngress":              func(c *call) (any, error) { return authorizeRules(c, false) },
	"AuthorizeSecurityGroupEgress":               func(c *call) (any, error) { return authorizeRules(c, true) },
	"RevokeSecurityGroupIngress":                 func(c *call) (any, error) { return revokeRules(c, false) },
	"RevokeSecurityGroupEgress":                  func(c *call) (any, error) { return revokeRules(c, true) },
	"UpdateSecurityGroupRuleDescriptionsIngress": func(c *call) (any, error) { return describeAnew(c, false) },
	"UpdateSecurityGroupRuleDescriptionsEgress":  func(c *call) (any, error) { return describeAnew(c, true) },
}

// maxRules is EC2's quota of rules in a security group for each direction.
const maxRules = 60

// ruleNote is what a rule has beyond its permission: its ID, and the account
// of the group that it names.
type ruleNote struct{ id, account string }

// ruleText names a rule within its group, by what it lets through.
func ruleText(r fleet.Rule) string {
	peer := r.PrefixList + r.Group
	if r.CIDR.IsValid() {
		peer = r.CIDR.String()
	}
	return fmt.Sprint(r.Egress, " ", r.Protocol, " ", r.From, " ", r.To, " ", peer)
}

// rulesOf gives a group's rules, one for each source. Permissions are the
// truth of what passes; a rule that nobody authorized over the API has an ID
// that follows from what it says.
func (rg *Region) rulesOf(g *fleet.SecurityGroup) []fleet.Rule {
	out := append(fleet.Rules(g.Ingress, false), fleet.Rules(g.Egress, true)...)
	for i := range out {
		r := &out[i]
		note := rg.rules[g.ID+" "+ruleText(*r)]
		if r.ID, r.GroupAccount = note.id, note.account; r.ID == "" {
			h := fnv.New64a()
			_, _ = fmt.Fprint(h, g.ID, " ", ruleText(*r))
			r.ID = fmt.Sprintf("sgr-0%016x", h.Sum64())
		}
		if tags := rg.tagged(r.ID); len(tags) > 0 {
			r.Tags = tags
		}
	}
	return out
}

// setRules puts rules into a group, each as a permission of its own.
func setRules(g *fleet.SecurityGroup, egress bool, rules []fleet.Rule) {
	out := []fleet.Permission{}
	for _, r := range rules {
		if r.Egress != egress {
			continue
		}
		p := fleet.Permission{Protocol: r.Protocol, From: r.From, To: r.To, Description: r.Description}
		switch {
		case r.CIDR.IsValid():
			p.CIDRs = []netip.Prefix{r.CIDR}
		case r.PrefixList != "":
			p.PrefixLists = []string{r.PrefixList}
		default:
			p.Groups = []string{r.Group}
		}
		out = append(out, p)
	}
	if egress {
		g.Egress = out
	} else {
		g.Ingress = out
	}
}

// authorize adds rules to a group, all or none.
func (w *World) authorize(rg *Region, g *fleet.SecurityGroup, rules []fleet.Rule, tags map[string]string) ([]fleet.Rule, error) {
	have := rg.rulesOf(g)
	for i, r := range rules {
		if slices.ContainsFunc(have, r.Same) || slices.ContainsFunc(rules[:i], r.Same) {
			return nil, refuse("InvalidPermission.Duplicate", "the specified rule %q already exists", "peer: "+rulePeer(r)+", "+rulePorts(r)+", ALLOW")
		}
		if err := rg.ruleExists(r); err != nil {
			return nil, err
		}
	}
	count := len(filter(have, func(r fleet.Rule) bool { return len(rules) > 0 && r.Egress == rules[0].Egress }))
	if count+len(rules) > maxRules {
		return nil, refuse("RulesPerSecurityGroupLimitExceeded", "The maximum number of rules per security group has been reached.")
	}
	if rg.rules == nil {
		rg.rules = map[string]ruleNote{}
	}
	for i := range rules {
		r := &rules[i]
		r.ID = w.newID("sgr")
		rg.rules[g.ID+" "+ruleText(*r)] = ruleNote{r.ID, r.GroupAccount}
		rg.setTags(r.ID, tags)
		if len(tags) > 0 {
			r.Tags = maps.Clone(tags)
		}
	}
	if len(rules) > 0 {
		setRules(g, rules[0].Egress, append(have, rules...))
	}
	return rules, nil
}

// ruleExists reports whether what a rule names is there.
func (rg *Region) ruleExists(r fleet.Rule) error {
	switch {
	case r.PrefixList != "" && find(rg.PrefixLists, func(l *fleet.PrefixList) bool { return l.ID == r.PrefixList }) == nil:
		return refuse("InvalidPrefixListID.NotFound", "The prefix list ID '%s' does not exist", r.PrefixList)
	case r.Group == "":
		return nil
	}
	for _, a := range rg.Account.accounts() {
		if r.GroupAccount != "" && a.ID != r.GroupAccount || r.GroupAccount == "" && a != rg.Account {
			continue
		}
		for _, other := range a.Regions {
			if other.Name == rg.Name && find(other.Groups, func(g *fleet.SecurityGroup) bool { return g.ID == r.Group }) != nil {
				return nil
			}
		}
	}
	return refuse("InvalidGroup.NotFound", "The security group '%s' does not exist", r.Group)
}

// revoke takes rules out of a group. A note that is left behind would give a
// rule that is authorized again its old ID.
func (rg *Region) revoke(g *fleet.SecurityGroup, rules []fleet.Rule) {
	left := slices.DeleteFunc(rg.rulesOf(g), func(r fleet.Rule) bool { return slices.ContainsFunc(rules, r.Same) })
	for _, r := range rules {
		delete(rg.rules, g.ID+" "+ruleText(r))
		delete(rg.Tags, r.ID)
	}
	if len(rules) > 0 {
		setRules(g, rules[0].Egress, left)
	}
}

func rulePeer(r fleet.Rule) string {
	if r.CIDR.IsValid() {
		return r.CIDR.String()
	}
	return r.PrefixList + r.Group
}

func rulePorts(r fleet.Rule) string {
	if r.Protocol == "-1" {
		return "ALL"
	}
	return fmt.Sprintf("%s, from port: %d, to port: %d", strings.ToUpper(r.Protocol), r.From, r.To)
}

// protocolNames are the protocols that EC2 gives back by name.
var protocolNames = map[string]string{"6": "tcp", "17": "udp", "1": "icmp", "58": "icmpv6", "all": "-1"}

// permissionRules reads IpPermissions, or the older parameters for one rule.
func (c *call) permissionRules(egress bool) ([]fleet.Rule, error) {
	var out []fleet.Rule
	for _, p := range c.members("IpPermissions") {
		rules, err := c.permissionRule(p+".", egress)
		if err != nil {
			return nil, err
		}
		if len(rules) == 0 {
			return nil, refuse("InvalidParameterValue", "Invalid value '' for the parameter IpRanges: a source or destination is needed.")
		}
		out = append(out, rules...)
	}
	if cidr := c.form.Get("CidrIp"); cidr != "" {
		base, err := c.ruleBase("", egress)
		if err != nil {
			return nil, err
		}
		if base.CIDR, err = parseCIDR(cidr, true); err != nil {
			return nil, err
		}
		out = append(out, base)
	}
	return out, nil
}

// ruleBase reads protocol and ports.
func (c *call) ruleBase(prefix string, egress bool) (fleet.Rule, error) {
	r := fleet.Rule{Egress: egress, Protocol: strings.ToLower(c.form.Get(prefix + "IpProtocol")), From: -1, To: -1}
	if name := protocolNames[r.Protocol]; name != "" {
		r.Protocol = name
	}
	number, numberErr := strconv.Atoi(r.Protocol)
	switch {
	case slices.Contains([]string{"tcp", "udp", "icmp", "icmpv6", "-1"}, r.Protocol):
	case numberErr != nil || number < 0 || number > 255:
		return r, refuse("InvalidParameterValue", "Invalid value '%s' for IP protocol. Unknown protocol.", r.Protocol)
	}
	if r.Protocol == "-1" {
		return r, nil
	}
	from, err1 := strconv.Atoi(c.form.Get(prefix + "FromPort"))
	to, err2 := strconv.Atoi(c.form.Get(prefix + "ToPort"))
	ported := r.Protocol == "tcp" || r.Protocol == "udp"
	switch {
	case (err1 != nil || err2 != nil) && ported:
		return r, refuse("InvalidParameterValue", "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.")
	case err1 != nil || err2 != nil:
		return r, nil //nolint:nilerr // other protocols than TCP and UDP need no ports
	case ported && (from < 0 || from > 65535 || to < from || to > 65535):
		return r, refuse("InvalidParameterValue", "Invalid TCP/UDP port range (%d:%d)", from, to)
	}
	r.From, r.To = from, to
	return r, nil
}

// permissionRule reads one member of IpPermissions, a rule for each source.
func (c *call) permissionRule(prefix string, egress bool) ([]fleet.Rule, error) {
	base, err := c.ruleBase(prefix, egress)
	if err != nil {
		return nil, err
	}
	var out []fleet.Rule
	add := func(at string, set func(r *fleet.Rule) error) {
		r := base
		r.Description = c.form.Get(at + ".Description")
		if e := set(&r); e != nil && err == nil {
			err = e
		}
		out = append(out, r)
	}
	for _, p := range c.members(prefix + "IpRanges") {
		add(p, func(r *fleet.Rule) (err error) { r.CIDR, err = parseCIDR(c.form.Get(p+".CidrIp"), true); return err })
	}
	for _, p := range c.members(prefix + "Ipv6Ranges") {
		add(p, func(r *fleet.Rule) (err error) { r.CIDR, err = parseCIDR(c.form.Get(p+".CidrIpv6"), false); return err })
	}
	for _, p := range c.members(prefix + "PrefixListIds") {
		add(p, func(r *fleet.Rule) error { r.PrefixList = c.form.Get(p + ".PrefixListId"); return nil })
	}
	for _, p := range c.members(prefix + "Groups") {
		add(p, func(r *fleet.Rule) error {
			r.Group = c.form.Get(p + ".GroupId")
			if owner := c.form.Get(p + ".UserId"); owner != c.account.ID {
				r.GroupAccount = owner
			}
			return nil
		})
	}
	for _, r := range out {
		if err == nil && !describable(r.Description) {
			err = refuse("InvalidParameterValue", "Invalid rule description. Valid descriptions are strings less than 256 characters from the following set:  a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*")
		}
	}
	return out, err
}

func describable(s string) bool {
	return len(s) <= 255 && madeOf(s, ". _-:/()#,@[]+=&;{}!$*")
}

// parseCIDR reads a range in its canonical form: EC2 clears the host bits.
func parseCIDR(s string, v4 bool) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4() != v4 {
		return netip.Prefix{}, refuse("InvalidParameterValue", "CIDR block %s is malformed", s)
	}
	return p.Masked(), nil
}

func authorizeRules(c *call, egress bool) (any, error) {
	g, err := c.securityGroup(c.form.Get("GroupId"))
	if err != nil {
		return nil, err
	}
	rules, err := c.permissionRules(egress)
	if err != nil {
		return nil, err
	}
	if len(rules) == 0 {
		return nil, refuse("MissingParameter", "The request must contain the parameter ipPermissions")
	}
	if rules, err = c.w.authorize(c.region, g, rules, c.specifiedTags("security-group-rule")); err != nil {
		return nil, err
	}
	return struct {
		returned
		Rules itemSet[xmlRule] `xml:"securityGroupRuleSet"`
	}{returned{true}, itemsOf(rules, func(r fleet.Rule) xmlRule { return c.ruleXML(g.ID, r) })}, nil
}

func revokeRules(c *call, egress bool) (any, error) {
	g, err := c.securityGroup(c.form.Get("GroupId"))
	if err != nil {
		return nil, err
	}
	have := filter(c.region.rulesOf(g), func(r fleet.Rule) bool { return r.Egress == egress })
	var gone []fleet.Rule
	for _, id := range c.list("SecurityGroupRuleId") {
		i := slices.IndexFunc(have, func(r fleet.Rule) bool { return r.ID == id })
		if i < 0 {
			return nil, refuse("InvalidSecurityGroupRuleId.NotFound", "The security group rule ID '%s' does not exist", id)
		}
		gone = append(gone, have[i])
	}
	named, err := c.permissionRules(egress)
	if err != nil {
		return nil, err
	}
	for _, r := range named {
		i := slices.IndexFunc(have, r.Same)
		if i < 0 {
			return nil, refuse("InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
		}
		gone = append(gone, have[i])
	}
	if len(gone) == 0 {
		return nil, refuse("MissingParameter", "The request must contain the parameter ipPermissions or securityGroupRuleIds")
	}
	c.region.revoke(g, gone)
	type revoked struct {
		ID          string `xml:"securityGroupRuleId"`
		Group       string `xml:"groupId"`
		Egress      bool   `xml:"isEgress"`
		Protocol    string `xml:"ipProtocol"`
		From        int    `xml:"fromPort"`
		To          int    `xml:"toPort"`
		CIDR        string `xml:"cidrIpv4,omitempty"`
		IPv6        string `xml:"cidrIpv6,omitempty"`
		PrefixList  string `xml:"prefixListId,omitempty"`
		Referenced  string `xml:"referencedGroupId,omitempty"`
		Description string `xml:"description,omitempty"`
	}
	return struct {
		returned
		Rules itemSet[revoked] `xml:"revokedSecurityGroupRuleSet"`
	}{returned{true}, itemsOf(gone, func(r fleet.Rule) revoked {
		x := c.ruleXML(g.ID, r)
		return revoked{x.ID, x.Group, x.Egress, x.Protocol, x.From, x.To, x.CIDR, x.IPv6, x.PrefixList, r.Group, x.Description}
	})}, nil
}

// describeAnew changes descriptions. One that is absent is taken away.
func describeAnew(c *call, egress bool) (any, error) {
	g, err := c.securityGroup(c.form.Get("GroupId"))
	if err != nil {
		return nil, err
	}
	rules := filter(c.region.rulesOf(g), func(r fleet.Rule) bool { return r.Egress == egress })
	named, err := c.permissionRules(egress)
	if err != nil {
		return nil, err
	}
	for _, n := range named {
		i := slices.IndexFunc(rules, n.Same)
		if i < 0 {
			return nil, refuse("InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
		}
		rules[i].Description = n.Description
	}
	descriptions := c.members("SecurityGroupRuleDescription")
	for _, p := range descriptions {
		id := c.form.Get(p + ".SecurityGroupRuleId")
		i := slices.IndexFunc(rules, func(r fleet.Rule) bool { return r.ID == id })
		if i < 0 {
			return nil, refuse("InvalidSecurityGroupRuleId.NotFound", "The security group rule ID '%s' does not exist", id)
		}
		rules[i].Description = c.form.Get(p + ".Description")
	}
	if len(named)+len(descriptions) == 0 {
		return nil, refuse("MissingParameter", "The request must contain the parameter ipPermissions or securityGroupRuleDescriptions")
	}
	setRules(g, egress, rules)
	return returned{true}, nil
}
