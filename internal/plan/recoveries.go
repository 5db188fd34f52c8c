package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// vpcKey is a VPC as one account sees it: in a VPC that is shared, each account
// has groups of its own.
type vpcKey struct {
	at  fleet.Place
	vpc string
}

func (h *member) vpcKey() vpcKey { return vpcKey{at: h.Ref().Place(), vpc: h.VPC} }

// recoveryPlan is the way back into one VPC.
type recoveryPlan struct {
	change RecoveryChange
	hosts  []*member
	closed []string // groups that close
	groups []string // these and more: through which the bastion reaches every one of the hosts
}

// recoveries plans the way back in for every host whose doors are to close, and
// refuses to close those that would have none.
func (m *maker) recoveries() {
	byVPC := map[vpcKey][]*member{}
	var order []vpcKey
	for _, h := range m.closers() {
		switch {
		case refusesKeys(h.Host, h.user) != "":
			m.refuse(h, Quarantine, "recovery-key-refused", refusesKeys(h.Host, h.user)+": the recovery key would not let anybody in", "let sshd take public keys (PubkeyAuthentication, AuthorizedKeysFile) from that account")
		case len(h.Groups) == 0 || !m.world.region(h.Ref().Place()).Groups.Known:
			m.refuse(h, Quarantine, "groups-unknown", "its security groups were not read: what closes and what stays open cannot be told", "let the inventory call ec2:DescribeSecurityGroups and take it again")
		default:
			k := h.vpcKey()
			if byVPC[k] == nil {
				order = append(order, k)
			}
			byVPC[k] = append(byVPC[k], h)
		}
	}
	for _, k := range order {
		m.recover(k, byVPC[k])
	}
}

func (m *maker) recover(k vpcKey, hosts []*member) {
	none := func(list []*member, code, text, do string) {
		for _, h := range list {
			m.refuse(h, Quarantine, code, text, do)
		}
	}
	p := &recoveryPlan{change: RecoveryChange{
		VPC: k.vpc, Name: RecoveryName(k.vpc), Type: m.policy.Recovery.Type, From: m.policy.Recovery.From, PublicKey: bastionLine(m.policy.Recovery),
	}}
	var why string
	if p.change.Subnets, p.change.Public, why = m.bastionSubnets(k.vpc); why != "" {
		none(hosts, "no-bastion-subnet", why, "route a subnet of the VPC to where the operators are, or correct recovery.from")
		return
	}
	var do string
	if t, v := m.world.bastion(k.at, k.vpc); t != nil {
		p.change.Image, p.change.User, why, do = m.presentImage(t, v)
	} else {
		p.change.Image, p.change.User, why = m.bastionImage(k, hosts)
	}
	if why != "" {
		none(hosts, "no-bastion-image", why, cmp.Or(do, "name an image and its login user in recovery.image and recovery.user"))
		return
	}
	var uncovered []*member
	_, uncovered = m.cover(hosts)
	none(uncovered, "no-recovery-group", "all its security groups are also on hosts that the policy excludes: opening port 22 to the bastion would open it there", "put a security group of its own on it, or do not exclude the others")
	p.hosts = slices.DeleteFunc(slices.Clone(hosts), func(h *member) bool { return !h.closes })
	if len(p.hosts) > 0 {
		m.recovery[k] = p
	}
}

// bastionSubnets lists the VPC's subnets from which answers find the operators,
// those that reach most of their addresses; public says that the way leads
// through an internet gateway. Why is set where there is none.
func (m *maker) bastionSubnets(vpc string) (subnets []string, public bool, why string) {
	most := 0
	for _, s := range m.world.ofVPC[vpc] {
		t := m.world.table(s)
		if t == nil || !s.CIDR.IsValid() {
			continue
		}
		n, byInternet := 0, false
		for _, text := range m.policy.Recovery.From {
			from, err := netip.ParsePrefix(text)
			if err != nil {
				continue // Validate has seen to it
			}
			switch target := routeTo(t, from); {
			case strings.HasPrefix(target, "igw-"):
				n, byInternet = n+1, true
			case target == "local", strings.HasPrefix(target, "vgw-"), strings.HasPrefix(target, "tgw-"), strings.HasPrefix(target, "pcx-"):
				n++
			}
		}
		// A subnet with a public address of its own is no better than one
		// without that reaches as many.
		switch {
		case n == 0 || n < most:
		case n > most:
			most, subnets, public = n, []string{s.ID}, byInternet
		case byInternet == public:
			subnets = append(subnets, s.ID)
		}
	}
	if subnets == nil {
		return nil, false, fmt.Sprintf("no subnet of VPC %s has a route to %s: operators would not reach a recovery bastion there", clip(vpc), strings.Join(m.policy.Recovery.From, ", "))
	}
	return subnets, public, ""
}

// routeTo is the target of the most specific active route for all of a block of
// addresses; empty when there is none.
func routeTo(t *fleet.RouteTable, to netip.Prefix) string {
	best, target := -1, ""
	for _, r := range t.Routes {
		if r.State != "" && r.State != "active" || !r.CIDR.IsValid() || r.CIDR.Addr().Is4() != to.Addr().Is4() {
			continue
		}
		if r.CIDR.Bits() <= to.Bits() && r.CIDR.Contains(to.Addr()) && r.CIDR.Bits() > best {
			best, target = r.CIDR.Bits(), r.Target
		}
	}
	return target
}

// presentImage is the image that a recovery bastion starts from which is there
// already, whatever the policy says: no step changes it. Its login user is the policy's
// where that is about this image, else the one that the template's maker left in
// its tag, else that of hosts of the image. Why, and what to do, are set where one is not known.
func (m *maker) presentImage(t *fleet.LaunchTemplate, v *fleet.TemplateVersion) (image, user, why, do string) {
	if v == nil || v.ImageID == "" {
		return "", "", "recovery bastion " + clip(t.Name) + " is there already, and the image that it starts from was not read", "let the inventory call ec2:DescribeLaunchTemplateVersions and take it again"
	}
	if r := m.policy.Recovery; r.Image == "" || r.Image == v.ImageID {
		user = r.User
	}
	if tag := t.Tags[fleet.TagUser]; user == "" && fleet.IsUserName(tag) {
		user = tag
	}
	for _, h := range m.hosts {
		if user == "" && h.ImageID == v.ImageID {
			user = imageUser(h.Host)
		}
	}
	if user == "" {
		image := clip(v.ImageID)
		return "", "", fmt.Sprintf("recovery bastion %s is there already and starts from image %s, whose login user is not known", clip(t.Name), image),
			fmt.Sprintf("name image %s and its login user in recovery.image and recovery.user; or give launch template %s the tag %s with that user", image, clip(t.Name), fleet.TagUser)
	}
	return v.ImageID, user, "", ""
}

// bastionImage is the policy's image, else that of the VPC's present bastion,
// else of the newest host to be closed there, with its login user. Why is set where there is none.
func (m *maker) bastionImage(k vpcKey, hosts []*member) (image, user, why string) {
	r := m.policy.Recovery
	if r.Image != "" {
		user = r.User
		for _, h := range m.hosts {
			if user == "" && h.ImageID == r.Image {
				user = loginUser(h.Host)
			}
		}
		if user == "" {
			return "", "", "the login user of image " + clip(r.Image) + " is not known: no host that was probed came from it"
		}
		return r.Image, user, ""
	}
	var candidates []*member
	for _, h := range m.hosts {
		fits := h.bastion && h.vpcKey() == k || slices.Contains(hosts, h)
		if fits && h.Running() && !h.Windows() && h.ImageID != "" && architectures[h.Architecture] == typeArchitecture(r.Type) && cmp.Or(r.User, imageUser(h.Host)) != "" {
			candidates = append(candidates, h)
		}
	}
	if candidates == nil {
		return "", "", fmt.Sprintf("VPC %s has no Linux host whose image a %s could start and whose login user is known", clip(k.vpc), clip(r.Type))
	}
	slices.SortStableFunc(candidates, func(a, b *member) int {
		if a.bastion != b.bastion {
			if a.bastion {
				return -1
			}
			return 1
		}
		return cmp.Or(b.LaunchTime.Compare(a.LaunchTime), strings.Compare(a.ID, b.ID))
	})
	best := candidates[0]
	return best.ImageID, cmp.Or(r.User, imageUser(best.Host)), ""
}

// imageUser is the account into which cloud-init puts the launch key: the
// distribution's own, where the host has it.
func imageUser(h *fleet.Host) string {
	if !h.Probe.Known {
		return ""
	}
	return imageUsers[h.Probe.Value.OS.ID]
}

// typeArchitecture is the architecture of an instance type, by the g that
// Graviton's types have behind the generation. Source: Amazon EC2 User Guide,
// instance type naming conventions.
func typeArchitecture(t string) string {
	family, _, _ := strings.Cut(t, ".")
	rest := strings.TrimLeft(family, "abcdefghijklmnopqrstuvwxyz")
	rest = strings.TrimLeft(rest, "0123456789")
	if family == "a1" || strings.HasPrefix(rest, "g") {
		return "arm64"
	}
	return "amd64"
}

// cover picks few security groups through which the bastion reaches every host
// on its primary interface: those first that cover most of the hosts that are
// left, and of these the ones that fewest others carry. Groups of hosts that the
// policy excludes are not opened; hosts that have no other are left over.
func (m *maker) cover(hosts []*member) (groups []string, uncovered []*member) {
	left := slices.Clone(hosts)
	may := map[string]bool{}
	for _, h := range hosts {
		for _, g := range h.Groups {
			if _, asked := may[g]; !asked {
				may[g] = m.mayOpen(g)
			}
		}
	}
	for len(left) > 0 {
		counts := map[string]int{}
		for _, h := range left {
			for _, g := range h.Groups {
				if may[g] {
					counts[g]++
				}
			}
		}
		if len(counts) == 0 {
			return groups, left
		}
		best := slices.MinFunc(sortedKeys(counts), func(a, b string) int {
			return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(len(m.carries[a]), len(m.carries[b])))
		})
		groups = append(groups, best)
		left = slices.DeleteFunc(left, func(h *member) bool { return slices.Contains(h.Groups, best) })
	}
	return groups, nil
}

// mayOpen reports whether a group may let the recovery bastion in.
func (m *maker) mayOpen(group string) bool {
	if m.world.groups[group] == nil || m.world.guards[group] != nil {
		return false
	}
	return !slices.ContainsFunc(m.carries[group], func(h *member) bool {
		return slices.ContainsFunc(m.policy.Exclude, func(x Exclusion) bool { return x.matches(h.Host) })
	})
}

// recoverySteps are the foundation's steps for the ways back in.
func (m *maker) recoverySteps() []Step {
	var out []Step
	for _, k := range m.recoveryKeys() {
		p := m.recovery[k]
		lane := m.recoveryLane(k)
		c := p.change
		what := fleet.Count(len(p.hosts), "host")
		s := Step{
			Kind: RecoveryGroup, Phase: Prepare, Lane: lane, At: k.at, Hosts: refs(p.hosts), Recovery: &c,
			Title:  fmt.Sprintf("Make recovery bastion %s, held at zero instances", c.Name),
			Before: []string{"no second way into VPC " + k.vpc},
			After: []string{
				fmt.Sprintf("Auto Scaling group %s: 0 of at most 1 instance, %s of image %s in %s", c.Name, c.Type, c.Image, some(c.Subnets)),
				fmt.Sprintf("security group %s: SSH from %s", c.Name, strings.Join(c.From, ", ")),
			},
			Blast: "the way back into " + what + "; nobody else is touched",
		}
		if c.Public {
			s.After = append(s.After, "the bastion gets a public address: operators come through an internet gateway")
		}
		out = append(out, s)
		for _, g := range p.groups {
			rule := fleet.Rule{Protocol: "tcp", From: 22, To: 22, Group: c.Name, Description: "migrate: recovery bastion"}
			on := slices.DeleteFunc(slices.Clone(p.hosts), func(h *member) bool { return !slices.Contains(groupsOf(h.Host), g) })
			out = append(out, Step{
				Kind: RecoveryRule, Phase: Prepare, Lane: lane, At: k.at, Hosts: refs(on),
				Title: fmt.Sprintf("Let the recovery bastion into %s", m.world.groupName(g)),
				After: []string{m.ruleLine(rule)}, Blast: m.groupBlast(g),
				Rules: &RuleChange{Group: g, Rules: []fleet.Rule{rule}},
			})
		}
	}
	return out
}

func (m *maker) recoveryKeys() []vpcKey {
	var out []vpcKey
	for k := range m.recovery {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b vpcKey) int { return cmp.Or(comparePlaces(a.at, b.at), strings.Compare(a.vpc, b.vpc)) })
	return out
}

// recoveryLane names the lane of a VPC's recovery; of a shared VPC each account has one.
func (m *maker) recoveryLane(k vpcKey) string {
	for other := range m.recovery {
		if other != k && other.vpc == k.vpc {
			return RecoveryName(k.vpc) + "-" + k.at.Account
		}
	}
	return RecoveryName(k.vpc)
}
