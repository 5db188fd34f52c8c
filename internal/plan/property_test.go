package plan_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// drawScene draws a fleet of two VPCs with everything that decides about doors.
func drawScene(t *rapid.T) *scene {
	x := newScene(0)
	r := x.region()
	r.VPCs.Value = append(r.VPCs.Value, fleet.VPC{ID: "vpc-2", CIDRs: []netip.Prefix{prefix("10.1.0.0/16")}, DNSSupport: known(true), DNSHostnames: known(true)})
	r.Subnets.Value = append(r.Subnets.Value, fleet.Subnet{ID: "subnet-2", VPC: "vpc-2", AZ: region + "a", CIDR: prefix("10.1.1.0/24")})
	target := rapid.SampledFrom([]string{"igw-2", "nat-2", "vgw-2"}).Draw(t, "way out of vpc-2")
	r.RouteTables.Value = append(r.RouteTables.Value, fleet.RouteTable{ID: "rtb-2", VPC: "vpc-2", Main: true, Routes: []fleet.Route{{CIDR: prefix("0.0.0.0/0"), Target: target, State: "active"}}})
	r.Groups.Value = nil
	for vpc := 1; vpc <= 2; vpc++ {
		for g := range 4 {
			group := fleet.SecurityGroup{ID: fmt.Sprintf("sg-%d%d", vpc, g), Name: fmt.Sprintf("g%d", g), VPC: fmt.Sprintf("vpc-%d", vpc)}
			for i := range rapid.IntRange(0, 3).Draw(t, "rules") {
				group.Ingress = append(group.Ingress, drawPermission(t, vpc, i))
			}
			r.Groups.Value = append(r.Groups.Value, group)
		}
	}
	for i := range r.Groups.Value {
		r.Groups.Value[i].Tags = drawTags(t)
	}
	r.VPCs.Value[0].Tags, x.s.Accounts[0].Roles.Value[0].Tags = drawTags(t), drawTags(t)
	if rapid.IntRange(0, 9).Draw(t, "instances known") == 0 {
		r.Instances = lost[int]("throttled")
	}
	r.ScalingGroups.Value = []fleet.ScalingGroup{{Name: "jump", Min: 1, Desired: 1, Max: 2}, {Name: "web", Min: 1, Desired: 2, Max: 4}}
	calm := rapid.IntRange(0, 2).Draw(t, "calm") == 0 // nothing is wrong with its hosts, and nobody leaves one out
	for n := range rapid.IntRange(0, 24).Draw(t, "hosts") {
		x.drawHost(t, n+1, calm)
	}
	x.p = drawPolicy(t)
	if calm {
		x.p.Exclude, x.p.RequireAccess, x.p.Bastions = nil, false, []plan.Selector{{ASG: "jump"}}
	} else {
		x.drawPeople(t)
	}
	return x
}

// drawTags draws the tags of a thing: those of a stack, of Terraform, or of nobody's code.
func drawTags(t *rapid.T) map[string]string {
	return rapid.SampledFrom([]map[string]string{
		nil, nil, {"team": "red"}, {"ManagedBy": "Terraform"}, {"aws:cloudformation:stack-name": "net"}, {"aws:cloudformation:stack-name": "app", "terraform": "true"},
	}).Draw(t, "tags")
}

func drawPermission(t *rapid.T, vpc, i int) fleet.Permission {
	p := rapid.SampledFrom([]fleet.Permission{
		{Protocol: "tcp", From: 22, To: 22}, {Protocol: "tcp", From: 22, To: 22}, {Protocol: "tcp", From: 443, To: 443}, {Protocol: "udp", From: 22, To: 22},
		{Protocol: "tcp", From: 20, To: 30}, {Protocol: "tcp", From: 22, To: 80}, {Protocol: "tcp", From: 0, To: 65535}, {Protocol: "tcp", From: -1, To: -1}, {Protocol: "-1", From: -1, To: -1},
	}).Draw(t, "rule")
	switch rapid.IntRange(0, 3).Draw(t, "source") {
	case 0:
		p.Groups = []string{fmt.Sprintf("sg-%d%d", vpc, i)}
	case 1:
		p.PrefixLists = []string{"pl-1"}
	case 2:
		p.CIDRs = []netip.Prefix{prefix("fd00::/8")}
	default:
		p.CIDRs = []netip.Prefix{prefix("10.0.0.0/8"), prefix("192.0.2.0/24")}
	}
	return p
}

func (x *scene) drawHost(t *rapid.T, n int, calm bool) {
	h := readyHost(n)
	vpc := rapid.IntRange(1, 2).Draw(t, "vpc")
	h.VPC = fmt.Sprintf("vpc-%d", vpc)
	if vpc == 2 {
		h.Subnet, h.AZ = "subnet-2", region+"a"
	}
	draw := func() string { return fmt.Sprintf("sg-%d%d", vpc, rapid.IntRange(0, 3).Draw(t, "group")) }
	h.Groups = []string{draw()}
	if rapid.Bool().Draw(t, "second group") {
		h.Groups = append(h.Groups, draw())
	}
	if rapid.IntRange(0, 5).Draw(t, "second interface") == 0 {
		h.Interfaces = []fleet.NetworkInterface{{ID: "eni", Index: 1, Groups: []string{draw()}}}
	}
	h.Tags["team"] = rapid.SampledFrom([]string{"red", "blue", "frozen"}).Draw(t, "team")
	for k, v := range drawTags(t) {
		if k != "team" {
			h.Tags[k] = v
		}
	}
	h.AutoScalingGroup = rapid.SampledFrom([]string{"", "", "web", "jump"}).Draw(t, "scaling group")
	x.add(h)
	if calm {
		return
	}
	i := len(x.s.Hosts) - 1
	switch rapid.IntRange(0, 19).Draw(t, "kind") {
	case 0:
		x.s.Hosts[i].State = "stopped"
	case 1:
		x.s.Hosts[i].State = "terminated"
	case 2:
		x.s.Hosts[i].Platform = "Windows"
	case 3:
		x.s.Hosts[i].Probe = lost[fleet.Probe]("timeout")
	case 4:
		x.probe(i).Gaps = []fleet.Gap{{What: "x", Reason: "y"}}
	case 5:
		x.probe(i).Via = []string{x.s.Hosts[rapid.IntRange(0, i).Draw(t, "via")].PrivateIP.String()}
	case 6, 7:
		x.block(i, rapid.SampledFrom([]string{"agent-stopped", "clock-skew", "endpoint-missing", "group-egress-closed"}).Draw(t, "cause"), x.s.Hosts[i].Groups[0])
	case 8:
		x.a.Hosts[i].Verdict = fleet.VerdictUnknown
	}
	agent := &x.probe(i).Agent
	switch rapid.IntRange(0, 9).Draw(t, "agent") {
	case 0, 1:
		agent.Value.Enabled = rapid.SampledFrom([]string{"disabled", "masked", "enabled-runtime", "static", "generated", ""}).Draw(t, "at boot")
	case 2:
		agent.Value = fleet.HostAgent{}
	case 3:
		*agent = lost[fleet.HostAgent]("cut off")
	}
}

func (x *scene) drawPeople(t *rapid.T) {
	if len(x.s.Hosts) == 0 {
		return
	}
	for range rapid.IntRange(0, 3).Draw(t, "consumers") {
		x.consumer(rapid.SampledFrom([]fleet.ConsumerStatus{fleet.ConsumerActive, fleet.ConsumerWaived, fleet.ConsumerSilent, fleet.ConsumerMigrated}).Draw(t, "status"),
			rapid.IntRange(0, len(x.s.Hosts)-1).Draw(t, "consumer's host"))
	}
	if rapid.IntRange(0, 3).Draw(t, "people") == 0 {
		cells := ""
		for range x.s.Hosts {
			cells += rapid.SampledFrom([]string{"k", "k", "k", "l", "u", "-"}).Draw(t, "cell")
		}
		x.people(cells, rapid.Bool().Draw(t, "claimed"))
	}
}

func drawPolicy(t *rapid.T) plan.Policy {
	p := plan.DefaultPolicy()
	p.Canary = rapid.IntRange(0, 3).Draw(t, "canary")
	p.Waves = rapid.SliceOfN(rapid.SampledFrom([]string{"1", "3", "10", "10%", "34%", "100%"}), 1, 3).Draw(t, "waves")
	p.GroupBy = rapid.SampledFrom([]string{"", "az", "asg", "tag:team"}).Draw(t, "group by")
	p.Spread = rapid.SampledFrom([]int{1, 30, 50, 100}).Draw(t, "spread")
	if rapid.Bool().Draw(t, "order") {
		p.Order = []plan.Selector{{Tags: map[string]string{"team": "red"}}, {VPC: "vpc-2"}}
	}
	if rapid.Bool().Draw(t, "exclude") {
		p.Exclude = []plan.Exclusion{{Selector: plan.Selector{Tags: map[string]string{"team": "frozen"}}, Reason: "frozen"}}
	}
	if rapid.Bool().Draw(t, "bastions") {
		p.Bastions = []plan.Selector{{ASG: "jump"}}
	}
	switch rapid.IntRange(0, 3).Draw(t, "fixes") {
	case 0, 1:
		p.Fixes = map[string]string{"wait-for": "hand", "agent": "hand"}
	case 2:
		p.Fixes = map[string]string{"agent": "never"}
	}
	if what := rapid.SampledFrom([]string{"", "", "apply", "hand", "auto"}).Draw(t, "recovery rules"); what != "" {
		if p.Fixes == nil {
			p.Fixes = map[string]string{}
		}
		p.Fixes["recovery-rule"], p.Fixes["allow-egress"] = what, what
	}
	if rapid.IntRange(0, 3).Draw(t, "managed by") == 0 {
		p.ManagedBy = []string{"team=red"}
	}
	p.RequireSilent = rapid.Bool().Draw(t, "require silent")
	p.RequireAccess = rapid.Bool().Draw(t, "require access")
	p.SplitWide = rapid.Bool().Draw(t, "split")
	p.Recovery.From = []string{"198.51.100.0/24"}
	if rapid.IntRange(0, 9).Draw(t, "key") > 0 {
		p.Recovery.PublicKey = publicKey
	}
	return p
}

func TestEveryPlanKeepsItsPromises(t *testing.T) {
	var closed, refused, scaled, enabled, handed int
	rapid.Check(t, func(t *rapid.T) {
		x := drawScene(t)
		p, err := plan.Make(x.s, x.a, x.p, now)
		if err != nil {
			t.Fatal(err)
		}
		again, err := plan.Make(x.s, x.a, x.p, now)
		if err != nil || again.Digest != p.Digest {
			t.Fatalf("the same arguments give another plan (%v):\n%s", err, cmp.Diff(p, again))
		}
		text, err := plan.Encode(p)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := plan.Decode(text); err != nil || back.Digest != p.Digest {
			t.Fatalf("it does not come back: %v", err)
		}
		checkEveryHostOnce(t, x, p)
		checkSizes(t, x, p)
		checkOrder(t, x, p)
		checkDoors(t, x, p)
		checkRules(t, x, p)
		checkExcluded(t, x, p)
		checkScaleIn(t, x, p)
		handed += checkOwners(t, x, p)
		if x.region().Instances.Known {
			if stale := p.Stale(x.s); len(stale) > 0 {
				t.Fatalf("stale against its own snapshot: %v", stale)
			}
		}
		hosts, groups := p.Closes()
		closed += hosts + groups
		refused += len(p.Refusals)
		scaled += len(p.Of(plan.ScaleIn))
		enabled += checkBoots(t, x, p)
	})
	if testing.Short() {
		return // a fifth of the fleets may well have no bastions that go
	}
	if closed == 0 || refused == 0 || scaled == 0 || enabled == 0 || handed == 0 {
		t.Errorf("the fleets prove nothing: %d closed, %d refused, %d scaled in, %d closed after their agent was enabled, %d handed over", closed, refused, scaled, enabled, handed)
	}
}

// Every host is in exactly one wave, or refused from the start.
func checkEveryHostOnce(t *rapid.T, x *scene, p *plan.Plan) {
	for i := range x.s.Hosts {
		ref, n := x.s.Hosts[i].Ref(), 0
		for _, w := range p.Waves {
			for _, h := range w.Hosts {
				if h == ref {
					n++
				}
			}
		}
		for _, r := range p.Refused(ref) {
			if !slices.Contains(plan.Codes(), r.Code) {
				t.Fatalf("code %s is not listed", r.Code)
			}
			if r.Phase == plan.Prepare {
				n++
			}
		}
		if n != 1 {
			t.Fatalf("%s is %d times in a wave or refused", ref, n)
		}
		quarantined := slices.ContainsFunc(p.Of(plan.QuarantineKeys), func(s plan.Step) bool { return s.Hosts[0] == ref })
		if w := p.WaveOf(ref); w != nil && !quarantined && !slices.ContainsFunc(p.Refused(ref), func(r plan.Refusal) bool { return r.Phase == plan.Quarantine }) {
			t.Fatalf("%s keeps its keys, and nobody says why", ref)
		}
	}
}

// No wave is larger than the policy wants, nor holds more of a group.
func checkSizes(t *rapid.T, x *scene, p *plan.Plan) {
	all := len(p.Hosts())
	key := func(ref fleet.HostRef) string {
		h := x.s.Hosts[slices.IndexFunc(x.s.Hosts, func(h fleet.Host) bool { return h.Ref() == ref })]
		switch x.p.GroupBy {
		case "az":
			return h.AZ
		case "asg":
			return h.AutoScalingGroup
		case "tag:team":
			return h.Tags["team"]
		}
		return ""
	}
	total := map[string]int{}
	for _, ref := range p.Hosts() {
		total[key(ref)]++
	}
	n := 0
	for _, w := range p.Waves {
		if len(w.Hosts) == 0 {
			continue
		}
		size := x.p.Canary
		if n > 0 || x.p.Canary == 0 {
			k := n
			if x.p.Canary > 0 {
				k--
			}
			text := x.p.Waves[min(k, len(x.p.Waves)-1)]
			number, err := strconv.Atoi(strings.TrimSuffix(text, "%"))
			if err != nil {
				t.Fatal(err)
			}
			if size = number; strings.HasSuffix(text, "%") {
				size = max(1, all*number/100)
			}
		}
		n++
		if len(w.Hosts) > size {
			t.Fatalf("%s has %d hosts, want %d at most", w.Name, len(w.Hosts), size)
		}
		in := map[string]int{}
		for _, ref := range w.Hosts {
			in[key(ref)]++
		}
		for k, n := range in {
			if k != "" && n > max(1, total[k]*x.p.Spread/100) {
				t.Fatalf("%s has %d of %d hosts of %q, with a spread of %d%%", w.Name, n, total[k], k, x.p.Spread)
			}
		}
	}
}

// Hosts that the policy names first never come after others.
func checkOrder(t *rapid.T, x *scene, p *plan.Plan) {
	if x.p.Order == nil {
		return
	}
	last := 0
	for _, w := range p.Waves {
		lowest, highest := 9, 0
		for _, ref := range w.Hosts {
			h := x.s.Hosts[slices.IndexFunc(x.s.Hosts, func(h fleet.Host) bool { return h.Ref() == ref })]
			rank := 2
			if h.Tags["team"] == "red" {
				rank = 0
			} else if h.VPC == "vpc-2" {
				rank = 1
			}
			lowest, highest = min(lowest, rank), max(highest, rank)
		}
		if len(w.Hosts) == 0 {
			continue
		}
		if lowest < last {
			t.Fatalf("%s has a host of rank %d after one of rank %d", w.Name, lowest, last)
		}
		last = highest
	}
}

// Walks through the steps as they run, and looks at every door that closes.
func checkDoors(t *rapid.T, x *scene, p *plan.Plan) {
	recovery := map[string]bool{}
	for _, s := range p.Of(plan.RecoveryRule) {
		recovery[s.Rules.Group] = true
	}
	aside, proved, drilled := map[fleet.HostRef]bool{}, map[fleet.HostRef]bool{}, map[fleet.HostRef]bool{}
	active := map[string]bool{}
	for _, c := range x.a.Ledger.Consumers {
		for _, id := range c.Hosts {
			active[id] = active[id] || c.Status == fleet.ConsumerActive
		}
	}
	for _, w := range p.Waves {
		for i, s := range w.Steps {
			lane := slices.DeleteFunc(slices.Clone(w.Steps[i+1:]), func(o plan.Step) bool { return o.Lane != s.Lane || o.Phase != s.Phase })
			before := slices.DeleteFunc(slices.Clone(w.Steps[:i]), func(o plan.Step) bool { return o.Lane != s.Lane || o.Phase != s.Phase })
			armed := len(before) > 0 && strings.HasPrefix(string(before[len(before)-1].Kind), "arm-")
			disarmed := len(lane) > 1 && lane[0].Kind == plan.ProveSession && strings.HasPrefix(string(lane[1].Kind), "disarm-")
			switch s.Kind {
			case plan.ProveSession:
				mark(proved, s.Hosts)
			case plan.RecoveryDrill:
				mark(drilled, s.Hosts)
			case plan.QuarantineKeys:
				ref := s.Hosts[0]
				if !armed || !disarmed || !proved[ref] || !drilled[ref] || x.p.RequireSilent && active[ref.ID] || x.p.Recovery.PublicKey == "" {
					t.Fatalf("the keys of %s go: armed %v, disarmed %v, proved %v, drilled %v", ref, armed, disarmed, proved[ref], drilled[ref])
				}
				h := x.s.Hosts[slices.IndexFunc(x.s.Hosts, func(h fleet.Host) bool { return h.Ref() == ref })]
				if !slices.ContainsFunc(h.Groups, func(g string) bool { return recovery[g] }) {
					t.Fatalf("no group of %s lets the recovery bastion in", ref)
				}
				aside[ref] = true
			case plan.ClosePort:
				if !armed || !disarmed || !recovery[s.Rules.Group] {
					t.Fatalf("%s: armed %v, disarmed %v, open for recovery %v", s.ID, armed, disarmed, recovery[s.Rules.Group])
				}
				for _, h := range x.s.Hosts {
					if h.State != "terminated" && carries(h, s.Rules.Group) && (!aside[h.Ref()] || !slices.Contains(s.Hosts, h.Ref()) || !proved[h.Ref()]) {
						t.Fatalf("%s closes over %s", s.ID, h.ID)
					}
				}
			}
		}
	}
}

// Nothing closes on a host whose agent the next boot may not start, unless an
// earlier step sees to it. It gives the number of hosts with such a step.
func checkBoots(t *rapid.T, x *scene, p *plan.Plan) (enabled int) {
	sure := map[fleet.HostRef]bool{}
	for _, h := range x.s.Hosts {
		if a := h.Probe.Value.Agent; h.Probe.Known && a.Known && a.Value.Installed && a.Value.Enabled == "enabled" {
			sure[h.Ref()] = true
		}
	}
	for _, w := range p.Waves {
		for _, s := range w.Steps {
			switch {
			case s.Kind == plan.Agent && s.Agent.Action != plan.RestartAgent:
				mark(sure, s.Hosts)
			case s.Kind == plan.QuarantineKeys && len(s.Hosts) == 1:
				if !sure[s.Hosts[0]] {
					t.Fatalf("%s closes, and the next boot may not start its agent", s.Hosts[0])
				}
				if slices.ContainsFunc(w.Steps, func(o plan.Step) bool {
					return o.Kind == plan.Agent && slices.Equal(o.Hosts, s.Hosts) && o.Agent.Action == plan.EnableAgent
				}) {
					enabled++
				}
			case s.Kind == plan.ClosePort:
				for _, h := range s.Hosts {
					if !sure[h] {
						t.Fatalf("%s closes over %s, and the next boot may not start its agent", s.ID, h)
					}
				}
			}
		}
	}
	return enabled
}

// What prepares an owned thing is its owner's, unless the policy takes it; what
// closes a door is nobody else's. It gives the number of steps that are handed over.
func checkOwners(t *rapid.T, x *scene, p *plan.Plan) (handed int) {
	listed := map[string]string{}
	for _, o := range p.Owners() {
		for _, id := range append(slices.Clone(o.Handed), o.Applied...) {
			if listed[id] != "" {
				t.Fatalf("%s is listed twice", id)
			}
			listed[id] = "of " + o.Owner
		}
	}
	for _, w := range p.Waves {
		for _, s := range w.Steps {
			switch fix := x.p.FixOf(s.Kind); {
			case s.Handed && s.Phase != plan.Prepare:
				t.Fatalf("%s is left to others", s.ID)
			case fix != "" && s.Kind != plan.WaitFor && s.Handed != (fix == "hand" || fix == "auto" && s.Owner != ""):
				t.Fatalf("%s of %q with %s is handed over: %v", s.ID, s.Owner, fix, s.Handed)
			case s.Owner != "" && !s.Handed && !strings.Contains(s.Warning, "managed by "+s.Owner):
				t.Fatalf("%s changes what %s owns without a warning", s.ID, s.Owner)
			case (s.Owner != "" || s.Handed) != (listed[s.ID] == "of "+s.Owner):
				t.Fatalf("%s of %q is listed as %q", s.ID, s.Owner, listed[s.ID])
			}
			if s.Handed {
				handed++
			}
			if s.Kind != plan.RecoveryRule && s.Kind != plan.ClosePort {
				continue
			}
			i := slices.IndexFunc(x.region().Groups.Value, func(g fleet.SecurityGroup) bool { return g.ID == s.Rules.Group })
			tags, want := x.region().Groups.Value[i].Tags, ""
			switch {
			case tags["aws:cloudformation:stack-name"] != "":
				want = "cloudformation " + tags["aws:cloudformation:stack-name"]
			case len(x.p.ManagedBy) == 1 && tags["team"] != "":
				want = tags["team"]
			case len(x.p.ManagedBy) != 1 && tags["ManagedBy"] != "":
				want = "terraform"
			}
			if s.Owner != want {
				t.Fatalf("%s is of %q, want %q by %v", s.ID, s.Owner, want, tags)
			}
		}
	}
	return handed
}

func mark(set map[fleet.HostRef]bool, hosts []fleet.HostRef) {
	for _, h := range hosts {
		set[h] = true
	}
}

func carries(h fleet.Host, group string) bool {
	return slices.Contains(h.Groups, group) || slices.ContainsFunc(h.Interfaces, func(n fleet.NetworkInterface) bool { return slices.Contains(n.Groups, group) })
}

// What a closed group lets through differs in port 22 alone.
func checkRules(t *rapid.T, x *scene, p *plan.Plan) {
	for _, s := range p.Of(plan.ClosePort) {
		i := slices.IndexFunc(x.region().Groups.Value, func(g fleet.SecurityGroup) bool { return g.ID == s.Rules.Group })
		before := fleet.Rules(x.region().Groups.Value[i].Ingress, false)
		after := slices.DeleteFunc(slices.Clone(before), func(r fleet.Rule) bool { return slices.ContainsFunc(s.Rules.Rules, r.Same) })
		after = append(after, s.Rules.Add...)
		for _, source := range before {
			for _, packet := range []struct {
				protocol string
				port     int
			}{{"tcp", 0}, {"tcp", 21}, {"tcp", 22}, {"tcp", 23}, {"tcp", 443}, {"tcp", 65535}, {"udp", 22}, {"udp", 53}, {"icmp", 8}} {
				is, was := passes(after, source, packet.protocol, packet.port), passes(before, source, packet.protocol, packet.port)
				if packet.protocol == "tcp" && packet.port == 22 {
					was = false
				}
				if is != was {
					t.Fatalf("%s: %s %d passes: %v, want %v\nrules %+v\ninstead %+v", s.Rules.Group, packet.protocol, packet.port, is, was, before, s.Rules.Add)
				}
			}
		}
	}
}

// passes reports whether the rules let a packet from a rule's source in.
func passes(rules []fleet.Rule, from fleet.Rule, protocol string, port int) bool {
	return slices.ContainsFunc(rules, func(r fleet.Rule) bool {
		if r.CIDR != from.CIDR || r.Group != from.Group || r.PrefixList != from.PrefixList {
			return false
		}
		if r.Protocol == "icmpv6" && from.CIDR.IsValid() && from.CIDR.Addr().Is6() {
			r.Protocol = "icmp"
		}
		return r.Protocol == "-1" || r.Protocol == protocol && (r.From == -1 || r.From <= port && port <= r.To)
	})
}

// Nothing is opened or closed on hosts that the policy leaves out.
func checkExcluded(t *rapid.T, x *scene, p *plan.Plan) {
	if x.p.Exclude == nil {
		return
	}
	for _, h := range x.s.Hosts {
		if h.Tags["team"] != "frozen" || h.State == "terminated" {
			continue
		}
		for _, w := range p.Waves {
			for _, s := range w.Steps {
				if slices.Contains(s.Hosts, h.Ref()) || s.Kind == plan.RecoveryRule && carries(h, s.Rules.Group) || s.Kind == plan.ClosePort && carries(h, s.Rules.Group) {
					t.Fatalf("step %s touches %s, which is excluded", s.ID, h.ID)
				}
			}
		}
	}
}

// Bastions go only when nobody who keeps his keys comes through them.
func checkScaleIn(t *rapid.T, x *scene, p *plan.Plan) {
	aside := map[fleet.HostRef]bool{}
	for _, s := range p.Of(plan.QuarantineKeys) {
		mark(aside, s.Hosts)
	}
	for _, s := range p.Of(plan.ScaleIn) {
		for _, b := range x.s.Hosts {
			if b.AutoScalingGroup != s.Scaling.Group {
				continue
			}
			if aside[b.Ref()] {
				t.Fatalf("bastion %s is in a wave and scaled in", b.ID)
			}
			for _, h := range x.s.Hosts {
				if !aside[h.Ref()] && h.State != "terminated" && h.AutoScalingGroup != s.Scaling.Group &&
					(slices.Contains(h.Probe.Value.Via, b.PrivateIP.String()) || h.VPC == b.VPC && x.lets(h, b.PrivateIP)) &&
					slices.ContainsFunc(p.Refused(h.Ref()), func(r plan.Refusal) bool { return r.Code != "bastion" && r.Phase == plan.Prepare }) {
					t.Fatalf("%s needs bastion %s, which goes: %v", h.ID, b.ID, p.Refused(h.Ref()))
				}
			}
		}
	}
}

// lets reports whether a block of addresses in the host's groups lets an address in to port 22.
func (x *scene) lets(h fleet.Host, from netip.Addr) bool {
	return slices.ContainsFunc(x.region().Groups.Value, func(g fleet.SecurityGroup) bool {
		return slices.Contains(h.Groups, g.ID) && slices.ContainsFunc(fleet.Rules(g.Ingress, false), func(r fleet.Rule) bool { return r.Admits(22) && r.CIDR.Contains(from) })
	})
}
