package simfleet

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

var ec2EndpointChanges = map[string]operation{
	"CreateVpcEndpoint":  createEndpoint,
	"ModifyVpcEndpoint":  modifyEndpoint,
	"DeleteVpcEndpoints": deleteEndpoints,
}

// How long interface endpoints take to come and to go.
const (
	endpointPending  = time.Minute
	endpointDeleting = 30 * time.Second
)

const openEndpointPolicy = `{"Statement":[{"Action":"*","Effect":"Allow","Principal":"*","Resource":"*"}]}`

// endpointRequest is what CreateVpcEndpoint is asked for.
type endpointRequest struct {
	vpc        *fleet.VPC
	service    string // "ssm"
	kind       string
	privateDNS bool
	subnets    []*fleet.Subnet
	groups     []string
	tables     []*fleet.RouteTable
	policy     string
}

func (c *call) endpointRequest() (q endpointRequest, err error) {
	if err := c.missing("VpcId", "ServiceName"); err != nil {
		return q, err
	}
	id, name := c.form.Get("VpcId"), c.form.Get("ServiceName")
	if q.vpc = find(c.region.VPCs, func(v *fleet.VPC) bool { return v.ID == id }); q.vpc == nil {
		return q, refuse("InvalidVpcId.NotFound", "The Vpc Id %s does not exist", id)
	}
	var ok bool
	if q.service, ok = strings.CutPrefix(name, "com.amazonaws."+c.region.Name+"."); !ok || !slices.Contains(append([]string{"ec2"}, publicServices...), q.service) {
		return q, refuse("InvalidServiceName", "The Vpc Endpoint Service '%s' does not exist", name)
	}
	q.kind, q.policy = cmp.Or(c.form.Get("VpcEndpointType"), "Gateway"), cmp.Or(c.form.Get("PolicyDocument"), openEndpointPolicy)
	switch {
	case q.kind == "Gateway" && q.service != "s3":
		return q, refuse("InvalidParameter", "Endpoint type (Gateway) does not match available service types ([Interface]).")
	case q.kind != "Gateway" && q.kind != "Interface":
		return q, refuse("InvalidParameter", "Endpoint type (%s) does not match available service types ([Interface]).", q.kind)
	}
	if q.tables, err = c.namedTables("RouteTableId"); err != nil {
		return q, err
	}
	if q.kind == "Gateway" {
		return q, c.routesFit(q.tables)
	}
	q.privateDNS = c.form.Get("PrivateDnsEnabled") != "false"
	if q.subnets, err = c.endpointSubnets(q.vpc.ID, c.list("SubnetId"), nil); err != nil {
		return q, err
	}
	if q.groups, err = c.endpointGroups(q.vpc.ID, c.list("SecurityGroupId")); err != nil {
		return q, err
	}
	if q.privateDNS {
		err = c.privateDNSFits(q.vpc, q.service, "")
	}
	return q, err
}

// routesFit checks that no gateway endpoint serves the tables yet.
func (c *call) routesFit(tables []*fleet.RouteTable) error {
	for _, t := range tables {
		if slices.ContainsFunc(t.Routes, func(r fleet.Route) bool { return r.PrefixList != "" && strings.HasPrefix(r.Target, "vpce-") }) {
			return refuse("RouteAlreadyExists", "route table %s already has a route with destination-prefix-list-id", t.ID)
		}
	}
	return nil
}

func (c *call) namedTables(parameter string) ([]*fleet.RouteTable, error) {
	var out []*fleet.RouteTable
	for _, id := range c.list(parameter) {
		t := find(c.region.RouteTables, func(t *fleet.RouteTable) bool { return t.ID == id })
		if t == nil {
			return nil, refuse("InvalidRouteTableId.NotFound", "The routeTable ID '%s' does not exist", id)
		}
		out = append(out, t)
	}
	return out, nil
}

// endpointSubnets finds subnets for an endpoint: one in each Availability Zone.
func (c *call) endpointSubnets(vpc string, ids, have []string) ([]*fleet.Subnet, error) {
	zones := map[string]bool{}
	for _, s := range c.region.Subnets {
		if slices.Contains(have, s.ID) {
			zones[s.AZ] = true
		}
	}
	var out []*fleet.Subnet
	for _, id := range ids {
		s := find(c.region.Subnets, func(s *fleet.Subnet) bool { return s.ID == id && s.VPC == vpc })
		switch {
		case s == nil:
			return nil, refuse("InvalidSubnetId.NotFound", "The subnet ID '%s' does not exist", id)
		case zones[s.AZ]:
			return nil, refuse("DuplicateSubnetsInSameZone", "Found another VPC endpoint subnet in the availability zone of %s", id)
		}
		zones[s.AZ] = true
		out = append(out, s)
	}
	return out, nil
}

// endpointGroups checks groups; without any, the VPC's default one is meant.
func (c *call) endpointGroups(vpc string, ids []string) ([]string, error) {
	for _, id := range ids {
		if find(c.region.Groups, func(g *fleet.SecurityGroup) bool { return g.ID == id && g.VPC == vpc }) == nil {
			return nil, refuse("InvalidSecurityGroupId.NotFound", "The security group ID '%s' does not exist", id)
		}
	}
	if len(ids) > 0 {
		return ids, nil
	}
	if g := c.region.defaultGroup(vpc); g != nil {
		return []string{g.ID}, nil
	}
	return nil, nil
}

func (rg *Region) defaultGroup(vpc string) *fleet.SecurityGroup {
	return find(rg.Groups, func(g *fleet.SecurityGroup) bool { return g.VPC == vpc && g.Name == "default" })
}

// privateDNSFits checks what private DNS needs: both DNS attributes of the
// VPC, and nothing else that answers for the name. The endpoint named except
// does not count.
func (c *call) privateDNSFits(vpc *fleet.VPC, service, except string) error {
	if !vpc.DNSSupport.Value || !vpc.DNSHostnames.Value {
		return refuse("InvalidParameter", "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true for %s", vpc.ID)
	}
	name := ordinaryName(service, c.region.Name)
	clash := find(c.region.Endpoints, func(e *fleet.VPCEndpoint) bool {
		return e.ID != except && e.VPC == vpc.ID && e.Type == "Interface" && e.PrivateDNS && e.State != "deleted" && slices.Contains(privateNames(e, c.region.Name), name)
	}) != nil
	for _, a := range c.account.accounts() {
		if find(a.Zones, func(z *fleet.HostedZone) bool {
			return slices.Contains(z.VPCs, vpc.ID) && strings.EqualFold(strings.TrimSuffix(z.Name, "."), name)
		}) != nil {
			clash = true
		}
	}
	if clash {
		return refuse("InvalidParameter", "private-dns-enabled cannot be set because there is already a conflicting DNS domain for %s in the VPC %s", name, vpc.ID)
	}
	return nil
}

func createEndpoint(c *call) (any, error) {
	id, made, keep, err := c.once(c.form.Get("ClientToken"), c.formRequest())
	if err != nil {
		return nil, err
	}
	if !made {
		q, err := c.endpointRequest()
		if err != nil {
			return nil, err
		}
		id = c.makeEndpoint(q)
		keep(id)
	}
	e := find(c.region.Endpoints, func(e *fleet.VPCEndpoint) bool { return e.ID == id })
	if e == nil {
		return nil, refuse("InvalidVpcEndpointId.NotFound", "The Vpc Endpoint Id '%s' does not exist", id)
	}
	return struct {
		Endpoint xmlEndpoint `xml:"vpcEndpoint"`
		Token    string      `xml:"clientToken,omitempty"`
	}{c.endpointXML(e, c.groupNames()), c.form.Get("ClientToken")}, nil
}

func (c *call) makeEndpoint(q endpointRequest) string {
	rg, w := c.region, c.w
	e := &fleet.VPCEndpoint{ID: w.newID("vpce"), VPC: q.vpc.ID, Service: c.form.Get("ServiceName"), Type: q.kind, State: "available", Policy: q.policy}
	rg.Endpoints = append(rg.Endpoints, e)
	rg.setTags(e.ID, c.specifiedTags("vpc-endpoint"))
	if q.kind == "Gateway" {
		for _, t := range q.tables {
			e.RouteTables = append(e.RouteTables, t.ID)
			rg.routeByGateway(t, e)
		}
		return e.ID
	}
	e.State, e.PrivateDNS, e.Groups = "pending", q.privateDNS, q.groups
	e.DNSNames = []string{e.ID + "-" + w.unique(8) + "." + q.service + "." + rg.Name + ".vpce." + fleet.DNSSuffix(rg.Name)}
	if q.privateDNS {
		e.DNSNames = append(e.DNSNames, ordinaryName(q.service, rg.Name))
	}
	for _, s := range q.subnets {
		rg.addInterface(w, e, s)
	}
	e.Addresses = fleet.Known(rg.endpointAddresses(e), "", w.Now())
	w.at(w.Now().Add(w.takes(endpointPending)), "endpoint "+e.ID+" available", func() {
		if e.State == "pending" {
			e.State = "available"
		}
	})
	return e.ID
}

// routeByGateway leads a route table's packets for S3 to a gateway endpoint.
func (rg *Region) routeByGateway(t *fleet.RouteTable, e *fleet.VPCEndpoint) {
	l := find(rg.PrefixLists, func(l *fleet.PrefixList) bool { return l.Name == e.Service })
	if l != nil {
		t.Routes = append(t.Routes, fleet.Route{PrefixList: l.ID, Target: e.ID, State: "active"})
	}
}

func (rg *Region) addInterface(w *World, e *fleet.VPCEndpoint, s *fleet.Subnet) {
	e.Subnets = append(slices.Clone(e.Subnets), s.ID)
	rg.ENIs = append(rg.ENIs, &ENI{ID: w.newID("eni"), VPC: e.VPC, Subnet: s.ID, Groups: e.Groups, PrivateIP: w.freeAddress(rg, s), Owner: e.ID})
}

// freeAddress gives an address of a subnet that nobody has or had, so that one
// address never means two machines.
func (w *World) freeAddress(rg *Region, s *fleet.Subnet) netip.Addr {
	used := map[netip.Addr]bool{}
	for _, n := range rg.ENIs {
		used[n.PrivateIP] = used[n.PrivateIP] || n.VPC == s.VPC
	}
	for _, in := range rg.Instances {
		used[in.Host.PrivateIP] = used[in.Host.PrivateIP] || in.Host.VPC == s.VPC
	}
	for i := 1<<(32-s.CIDR.Bits()) - 30; i > 3; i-- {
		a := addressAt(s.CIDR, i)
		if key := s.VPC + " " + a.String(); !used[a] && !w.given[key] {
			w.give(key)
			return a
		}
	}
	return netip.Addr{}
}

// freePublic gives an address of the internet that nobody in the world has or had.
func (w *World) freePublic() netip.Addr {
	used := map[netip.Addr]bool{}
	for in := range w.Instances() {
		used[in.Host.PublicIP] = true
	}
	for _, a := range w.Accounts {
		for _, rg := range a.Regions {
			for _, n := range rg.ENIs {
				used[n.PublicIP] = true
			}
		}
	}
	for i := 90_000; ; i++ {
		if a := addressAt(publicNet, i); !used[a] && !w.given[a.String()] {
			w.give(a.String())
			return a
		}
	}
}

func (w *World) give(address string) {
	if w.given == nil {
		w.given = map[string]bool{}
	}
	w.given[address] = true
}

func modifyEndpoint(c *call) (any, error) {
	id := c.form.Get("VpcEndpointId")
	e := find(c.region.Endpoints, func(e *fleet.VPCEndpoint) bool { return e.ID == id })
	if e == nil {
		return nil, refuse("InvalidVpcEndpointId.NotFound", "The Vpc Endpoint Id '%s' does not exist", id)
	}
	if e.State != "available" {
		return nil, refuse("IncorrectState", "The Vpc Endpoint '%s' is in state '%s'", id, e.State)
	}
	rg := c.region
	add, err := c.endpointSubnets(e.VPC, c.list("AddSubnetId"), e.Subnets)
	if err != nil {
		return nil, err
	}
	groups := slices.DeleteFunc(slices.Clone(e.Groups), func(g string) bool { return slices.Contains(c.list("RemoveSecurityGroupId"), g) })
	if groups, err = c.endpointGroups(e.VPC, append(groups, c.list("AddSecurityGroupId")...)); err != nil {
		return nil, err
	}
	service := e.Service[strings.LastIndex(e.Service, ".")+1:]
	private := cmp.Or(c.form.Get("PrivateDnsEnabled"), map[bool]string{true: "true", false: "false"}[e.PrivateDNS]) == "true"
	if vpc := find(rg.VPCs, func(v *fleet.VPC) bool { return v.ID == e.VPC }); private && !e.PrivateDNS {
		if err := c.privateDNSFits(vpc, service, e.ID); err != nil {
			return nil, err
		}
	}
	name := ordinaryName(service, rg.Name)
	e.DNSNames = slices.DeleteFunc(slices.Clone(e.DNSNames), func(n string) bool { return n == name })
	if e.PrivateDNS = private; private {
		e.DNSNames = append(e.DNSNames, name)
	}
	if e.Type == "Interface" {
		e.Groups = slices.Compact(groups)
	}
	gone := c.list("RemoveSubnetId")
	e.Subnets = slices.DeleteFunc(slices.Clone(e.Subnets), func(s string) bool { return slices.Contains(gone, s) })
	rg.ENIs = slices.DeleteFunc(slices.Clone(rg.ENIs), func(n *ENI) bool { return n.Owner == e.ID && slices.Contains(gone, n.Subnet) })
	for _, n := range rg.ENIs {
		if n.Owner == e.ID {
			n.Groups = e.Groups
		}
	}
	for _, s := range add {
		rg.addInterface(c.w, e, s)
	}
	e.Addresses = fleet.Known(rg.endpointAddresses(e), "", c.w.Now())
	if p := c.form.Get("PolicyDocument"); p != "" {
		e.Policy = p
	} else if c.form.Get("ResetPolicy") == "true" {
		e.Policy = openEndpointPolicy
	}
	return returned{true}, nil
}

func deleteEndpoints(c *call) (any, error) {
	type problem struct {
		Code    string `xml:"code"`
		Message string `xml:"message"`
	}
	type item struct {
		ID    string  `xml:"resourceId"`
		Error problem `xml:"error"`
	}
	var out struct {
		Failed itemSet[item] `xml:"unsuccessful"`
	}
	ids := c.list("VpcEndpointId")
	if len(ids) == 0 {
		return nil, c.missing("VpcEndpointId.1")
	}
	for _, id := range ids {
		e := find(c.region.Endpoints, func(e *fleet.VPCEndpoint) bool { return e.ID == id })
		if e == nil {
			out.Failed.Items = append(out.Failed.Items, item{id, problem{"InvalidVpcEndpointId.NotFound", "The Vpc Endpoint Id '" + id + "' does not exist"}})
			continue
		}
		c.removeEndpoint(e)
	}
	return out, nil
}

func (c *call) removeEndpoint(e *fleet.VPCEndpoint) {
	rg := c.region
	remove := func() {
		rg.ENIs = slices.DeleteFunc(slices.Clone(rg.ENIs), func(n *ENI) bool { return n.Owner == e.ID })
		rg.Endpoints = slices.DeleteFunc(slices.Clone(rg.Endpoints), func(x *fleet.VPCEndpoint) bool { return x == e })
		maps.DeleteFunc(rg.Tags, func(id string, _ map[string]string) bool { return id == e.ID })
	}
	if e.Type == "Gateway" {
		for _, t := range rg.RouteTables {
			t.Routes = slices.DeleteFunc(slices.Clone(t.Routes), func(r fleet.Route) bool { return r.Target == e.ID })
		}
		remove()
		return
	}
	if e.State != "deleting" {
		e.State = "deleting"
		c.w.at(c.w.Now().Add(c.w.takes(endpointDeleting)), "endpoint "+e.ID+" deleted", remove)
	}
}
