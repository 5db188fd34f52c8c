package readiness

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// network answers, from what EC2 and Route 53 list, whether a host's TCP
// connection to an AWS endpoint's port 443 would be let through, hop by hop.
// It is not safe for concurrent use.
type network struct {
	*index
	hosts     map[string][]*fleet.Host // running ones by VPC
	peerings  map[string]*fleet.Peering
	rules     map[string][]*fleet.ResolverRule // by VPC
	zones     map[string][]*fleet.HostedZone   // by VPC
	byZone    map[string]*fleet.HostedZone
	byRule    map[string]*fleet.ResolverRule
	byAddress map[netip.Addr][]*fleet.VPCEndpoint // in VPCs whose ranges overlap, several
	accounts  map[string]*fleet.Account
	issuers   map[string]int       // hosts that saw certificates of an issuer that is not Amazon
	proxies   map[string]neighbour // by VPC, a host whose agent is heard through a proxy

	public4, public6 addresses

	ruleMemo   map[string]rules
	lookups    map[string]lookup
	ways       map[string]*path
	policies   map[string]*endpointPolicy
	targetMemo map[*fleet.Region][]target
	positions  map[string]int
	listed     []fleet.Path
}

func newNetwork(x *index, s *fleet.Snapshot) *network {
	n := &network{
		index:      x,
		hosts:      map[string][]*fleet.Host{},
		peerings:   map[string]*fleet.Peering{},
		rules:      map[string][]*fleet.ResolverRule{},
		zones:      map[string][]*fleet.HostedZone{},
		byZone:     map[string]*fleet.HostedZone{},
		byRule:     map[string]*fleet.ResolverRule{},
		byAddress:  map[netip.Addr][]*fleet.VPCEndpoint{},
		accounts:   map[string]*fleet.Account{},
		issuers:    map[string]int{},
		proxies:    map[string]neighbour{},
		public4:    publicSpace(false),
		public6:    publicSpace(true),
		ruleMemo:   map[string]rules{},
		lookups:    map[string]lookup{},
		ways:       map[string]*path{},
		policies:   map[string]*endpointPolicy{},
		targetMemo: map[*fleet.Region][]target{},
		positions:  map[string]int{},
	}
	for i := range s.Accounts {
		a := &s.Accounts[i]
		n.accounts[a.ID] = a
		for j := range a.HostedZones.Value {
			n.addZone(&a.HostedZones.Value[j])
		}
	}
	for i := range s.Regions {
		n.addRegionNetwork(&s.Regions[i])
	}
	for i := range s.Hosts {
		if h := &s.Hosts[i]; h.Running() {
			n.hosts[h.VPC] = append(n.hosts[h.VPC], h)
			n.noteIssuers(h)
			n.noteProxy(h)
		}
	}
	return n
}

func (n *network) addZone(z *fleet.HostedZone) {
	if n.byZone[z.ID] != nil {
		return // listed by two accounts
	}
	n.byZone[z.ID] = z
	for _, vpc := range z.VPCs {
		n.zones[vpc] = append(n.zones[vpc], z)
	}
}

// addRule takes a Resolver rule. Every account that a rule is shared with lists
// it with the associations of its own VPCs only.
// Source: Route 53 Resolver API Reference, ListResolverRuleAssociations.
func (n *network) addRule(r *fleet.ResolverRule) {
	all := n.byRule[r.ID]
	if all == nil {
		first := *r
		first.VPCs = nil
		all = &first
		n.byRule[r.ID] = all
	}
	for _, vpc := range r.VPCs {
		if !slices.Contains(n.rules[vpc], all) {
			all.VPCs = append(all.VPCs, vpc)
			n.rules[vpc] = append(n.rules[vpc], all)
		}
	}
}

func (n *network) addRegionNetwork(r *fleet.Region) {
	byID(n.peerings, r.Peerings.Value, func(p *fleet.Peering) string { return p.ID })
	for i := range r.ResolverRules.Value {
		n.addRule(&r.ResolverRules.Value[i])
	}
	for i := range r.Endpoints.Value {
		e := &r.Endpoints.Value[i]
		for _, a := range e.Addresses.Value {
			if known := n.byEndpoint[e.ID]; !slices.Contains(n.byAddress[a.Unmap()], known) {
				n.byAddress[a.Unmap()] = append(n.byAddress[a.Unmap()], known)
			}
		}
	}
}

// path is the answer for one host and service.
type path struct {
	service  string
	name     string             // that the agent asks for
	open     answer             // everything on the way lets the connection pass
	tcp      answer             // likewise without the endpoint's policy: what a test of the connection would show
	stop     hop                // what decides open, unless it is yes
	dns      hop                // what the name leads to
	endpoint *fleet.VPCEndpoint // whose addresses the name is known to give
	public   bool               // the name is known to give public addresses
	doubtful lookupDoubt        // why nobody knows what the name gives
	hops     []hop
	differs  bool     // hosts of the same subnet fare differently
	refused  []string // actions that the endpoint's policy does not allow
	unsure   []string // actions that it may or may not allow
	position int      // among the paths of the assessment
}

// hop is one thing that a connection has to pass.
type hop struct {
	kind     string // fleet.Hop's
	object   string // its ID
	text     string // what it does to the connection
	source   string
	at       time.Time
	passes   answer
	code     string // of the finding, where it stops the connection
	fix      string
	undo     string
	none     bool // there is no route at all
	presumed bool // "no" holds unless something that was not collected helps, such as a private hosted zone
}

// The kinds of hops.
const (
	kindDNS      = "dns"
	kindGroup    = "security group"
	kindACLOut   = "network ACL, out"
	kindACLIn    = "network ACL, in"
	kindReplyOut = "network ACL, answers out"
	kindReplyIn  = "network ACL, answers in"
	kindTable    = "route table"
	kindIGW      = "internet gateway"
	kindEIGW     = "egress-only internet gateway"
	kindNAT      = "NAT gateway"
	kindPeering  = "peering"
	kindTransit  = "transit gateway"
	kindVPN      = "virtual private gateway"
	kindFirewall = "firewall"
	kindENI      = "network interface"
	kindOther    = "route target"
	kindEndpoint = "endpoint"
	kindPolicy   = "endpoint policy"
	kindProxy    = "proxy"
	kindHost     = "host"
)

// hopFrom starts a hop that a collection vouches for.
func hopFrom[T any](f fleet.Fact[T], kind, object, format string, args ...any) hop {
	return hop{kind: kind, object: object, text: fmt.Sprintf(format, args...), source: cmp.Or(f.Source, uncollected), at: f.At}
}

func (h hop) as(code string) hop {
	h.code = code
	return h
}

func (h hop) fixedBy(format string, args ...any) hop {
	h.fix = fmt.Sprintf(format, args...)
	return h
}

func (h hop) undoneBy(format string, args ...any) hop {
	h.undo = fmt.Sprintf(format, args...)
	return h
}

// walk follows one connection. A stop outweighs a doubt, so that it goes on
// after a doubt and ends at the first stop.
type walk struct {
	*network
	o      *origin
	v6     bool
	answer answer
	stop   hop
	hops   []hop
	// differs notes that the answer may depend on which address of the subnet asks.
	differs bool
	// remote are the service's addresses, where they are known.
	remote  addresses
	service string
}

func (n *network) walk(o *origin, v6 bool) *walk {
	return &walk{network: n, o: o, v6: v6, answer: yes}
}

// fork starts a walk of a part of the connection.
func (w *walk) fork() *walk {
	return &walk{network: w.network, o: w.o, v6: w.v6, answer: yes, remote: w.remote, service: w.service}
}

// endpoints names the service's endpoints in a fix, the same for all services
// of the agent itself, so that one fix speaks for them.
func (w *walk) endpoints() string {
	switch w.service {
	case "s3":
		return "S3"
	case "logs":
		return "the CloudWatch Logs endpoint"
	case "kms":
		return "the KMS endpoint"
	}
	return "the Systems Manager endpoints"
}

// endAs puts the cause of a stop in the place of the hop at which the
// connection ends. The way is still drawn to that hop.
func (w *walk) endAs(a answer, cause hop) {
	last := &w.hops[len(w.hops)-1]
	drawn := cause
	drawn.kind, drawn.object, drawn.passes = last.kind, last.object, a
	*last = drawn
	w.answer, w.stop = a, cause
}

// pass notes a hop and what it does. Nothing follows one that stops the connection.
func (w *walk) pass(a answer, at hop) {
	if w.answer == no {
		return
	}
	at.passes = a
	if slices.ContainsFunc(w.hops, func(h hop) bool { return h.kind == at.kind && h.object == at.object && h.text == at.text }) {
		return
	}
	w.hops = append(w.hops, at)
	if a < w.answer {
		w.answer, w.stop = a, at
	}
}

// passOwn is pass for a question whose answer depends on the source address.
func (w *walk) passOwn(a answer, at hop) {
	if a == maybe && !w.o.exact {
		w.differs = true
	}
	w.pass(a, at)
}

// branches joins what becomes of the parts of a connection that go different
// ways: all of them pass, or none; otherwise it is a doubt.
func (w *walk) branches(all []*walk) {
	answers := make([]answer, len(all))
	for i, c := range all {
		answers[i] = c.answer
		w.differs = w.differs || c.differs
	}
	switch joint := agree(answers...); joint {
	case no:
		for _, h := range all[0].hops {
			w.pass(h.passes, h)
		}
	case yes:
		for _, c := range all {
			for _, h := range c.hops {
				w.pass(yes, h)
			}
		}
	default:
		worst := slices.MinFunc(all, func(a, b *walk) int { return cmp.Compare(a.answer, b.answer) })
		at := worst.stop
		if worst.answer == no {
			at.text = "for a part of the addresses only: " + at.text
		}
		w.pass(maybe, at)
	}
}

// target is a service that sessions need beyond Systems Manager itself.
type target struct {
	service string
	region  string
	what    string          // "session logs in bucket x"
	asks    []policyRequest // what the host asks of the service
	needed  bool            // without it no shell opens
}

// origin is what of a host decides its ways. Hosts with the same key share them.
type origin struct {
	r       *fleet.Region
	account string
	region  string
	vpc     string
	subnet  string
	groups  []string
	sources [2]addresses // IPv4 and IPv6 addresses that a connection may come from
	has     [2]bool      // has an address of the family
	public  bool         // has a public IPv4 address
	windows bool
	others  []fleet.NetworkInterface // in other subnets than the primary one
	exact   bool                     // sources are the host's own, not its subnet's
	key     string
}

func (o *origin) source(v6 bool) addresses {
	if v6 {
		return o.sources[1]
	}
	return o.sources[0]
}

// who names the sources in a text.
func (o *origin) who(v6 bool) string {
	if s := o.source(v6); o.exact && len(s) > 0 {
		return s[0].lo.String()
	}
	return o.subnet
}

// origin reads a host. Unless exact, it stands for every address of its subnet.
func (n *network) origin(h *fleet.Host, r *fleet.Region, exact bool) *origin {
	o := &origin{
		r: r, account: h.Account, region: h.Region, vpc: h.VPC, subnet: h.Subnet, groups: h.Groups,
		public: h.PublicIP.IsValid(), windows: h.Windows(), exact: exact,
	}
	own := []netip.Addr{h.PrivateIP}
	for _, i := range h.Interfaces {
		switch {
		case i.Index == 0:
			own = append(own, i.IPv6...)
			o.public = o.public || i.PublicIP.IsValid()
		case i.Subnet != h.Subnet:
			o.others = append(o.others, i)
		}
	}
	addrs := theseAddresses(own...)
	o.has = [2]bool{len(addrs.family(false)) > 0, len(addrs.family(true)) > 0}
	s := n.subnets[h.Subnet]
	if s == nil {
		o.exact = true
	}
	if o.exact {
		o.sources = [2]addresses{addrs.family(false), addrs.family(true)}
	} else {
		o.sources = [2]addresses{addressesOf(s.CIDR), addressesOf(s.IPv6...)}
	}
	o.key = o.sharedKey()
	if o.exact {
		o.key += "@" + fmt.Sprint(addrs)
	}
	return o
}

func (o *origin) sharedKey() string {
	var b strings.Builder
	for _, s := range []string{o.account, o.region, o.vpc, o.subnet} {
		b.WriteString(s)
		b.WriteByte('|')
	}
	for _, g := range o.groups {
		b.WriteString(g)
		b.WriteByte(',')
	}
	for _, f := range []bool{o.has[0], o.has[1], o.public, o.windows} {
		if f {
			b.WriteByte('+')
		} else {
			b.WriteByte('-')
		}
	}
	for _, i := range o.others {
		b.WriteString("|" + i.Subnet + ":" + strings.Join(i.Groups, ","))
	}
	return b.String()
}
