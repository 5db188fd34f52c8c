package simfleet_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/simfleet"
)

// scene is a fresh world with one host in it that serves sessions.
type scene struct {
	*simfleet.World
	rg *simfleet.Region
	in *simfleet.Instance
}

// connectedHost finds a host without an own profile problem in the VPC of a
// name ("prod": endpoints, "apps": NAT, "legacy": public).
func connectedHost(t *testing.T, vpc string) scene {
	t.Helper()
	w := generate(t, simfleet.Options{Instances: 300, Seed: 8})
	rg := w.Accounts[0].Regions[0]
	i := slices.IndexFunc(rg.Instances, func(in *simfleet.Instance) bool {
		return strings.HasPrefix(in.Host.Tags["Name"], vpc) && in.Role == "app" && w.ServesSessions(in)
	})
	if i < 0 {
		t.Fatalf("no host that serves sessions in %s", vpc)
	}
	return scene{w, rg, rg.Instances[i]}
}

func (s scene) role() *fleet.Role {
	a := s.rg.Account
	p := a.Profiles[slices.IndexFunc(a.Profiles, func(p *fleet.InstanceProfile) bool { return p.ARN == s.in.Host.ProfileARN })]
	return a.Roles[slices.IndexFunc(a.Roles, func(r *fleet.Role) bool { return r.Name == p.Role })]
}

func (s scene) group() *fleet.SecurityGroup {
	return s.rg.Groups[slices.IndexFunc(s.rg.Groups, func(g *fleet.SecurityGroup) bool { return g.ID == s.in.Host.Groups[0] })]
}

func (s scene) vpc() *fleet.VPC {
	return s.rg.VPCs[slices.IndexFunc(s.rg.VPCs, func(v *fleet.VPC) bool { return v.ID == s.in.Host.VPC })]
}

func (s scene) endpoint(service string) *fleet.VPCEndpoint {
	i := slices.IndexFunc(s.rg.Endpoints, func(e *fleet.VPCEndpoint) bool {
		return e.VPC == s.in.Host.VPC && strings.HasSuffix(e.Service, "."+service)
	})
	return s.rg.Endpoints[i]
}

func (s scene) removeEndpoint(service string) {
	e := s.endpoint(service)
	s.rg.Endpoints = slices.DeleteFunc(s.rg.Endpoints, func(x *fleet.VPCEndpoint) bool { return x == e })
}

func (s scene) routes() *fleet.RouteTable {
	return s.rg.RouteTables[slices.IndexFunc(s.rg.RouteTables, func(t *fleet.RouteTable) bool { return slices.Contains(t.Subnets, s.in.Host.Subnet) })]
}

func deny(actions string) string {
	return `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"` + actions + `","Resource":"*"}}`
}

func allow(actions string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["` + strings.ReplaceAll(actions, " ", `","`) + `"],"Resource":"*"}]}`
}

func TestConsequences(t *testing.T) {
	const defaultRole = "service-role/AWSSystemsManagerDefaultEC2InstanceManagementRole"
	everywhere := netip.MustParsePrefix("0.0.0.0/0")
	for name, c := range map[string]struct {
		vpc               string
		change            func(scene)
		online, connected bool
	}{
		"nothing":                   {"prod", func(scene) {}, true, true},
		"agent stopped":             {"prod", func(s scene) { s.in.Agent.Running = false }, false, false},
		"agent removed":             {"prod", func(s scene) { s.in.Agent = simfleet.Agent{} }, false, false},
		"agent without sessions":    {"prod", func(s scene) { s.in.Agent.Version = "2.3.50.0" }, true, false},
		"instance stopped":          {"prod", func(s scene) { s.in.Host.State = "stopped" }, false, false},
		"clock off by six minutes":  {"prod", func(s scene) { s.in.Skew = -6 * time.Minute }, false, false},
		"clock off by four minutes": {"prod", func(s scene) { s.in.Skew = 4 * time.Minute }, true, true},
		"no metadata service":       {"prod", func(s scene) { s.in.Host.Metadata.Endpoint = "disabled" }, false, false},
		"no profile":                {"prod", func(s scene) { s.in.Host.ProfileARN = "" }, false, false},
		"no profile, default role":  {"prod", func(s scene) { s.in.Host.ProfileARN = ""; s.rg.DefaultRole = defaultRole }, true, true},
		"default role, old agent": {"prod", func(s scene) {
			s.in.Host.ProfileARN, s.in.Agent.Version, s.rg.DefaultRole = "", "3.2.581.0", defaultRole
		}, false, false},
		"half a role hides default": {"prod", func(s scene) {
			s.role().Attached = nil
			s.role().Inline["x"] = allow("ssm:*")
			s.rg.DefaultRole = defaultRole
		}, true, false},
		"role may not be assumed": {"prod", func(s scene) {
			s.role().Trust = strings.ReplaceAll(s.role().Trust, "ec2.amazonaws.com", "lambda.amazonaws.com")
		}, false, false},
		"deny registration":            {"prod", func(s scene) { s.role().Inline["no"] = deny("ssm:Update*") }, false, false},
		"deny channels":                {"prod", func(s scene) { s.role().Inline["no"] = deny("SSMMessages:*") }, true, false},
		"boundary without channels":    {"prod", func(s scene) { s.role().Boundary = "arn:aws:iam::" + s.rg.Account.ID + ":policy/corp-boundary" }, true, false},
		"boundary that does not exist": {"prod", func(s scene) { s.role().Boundary = "arn:aws:iam::1:policy/gone" }, false, false},
		"without the ssm endpoint":     {"prod", func(s scene) { s.removeEndpoint("ssm") }, false, false},
		"without ssmmessages":          {"prod", func(s scene) { s.removeEndpoint("ssmmessages") }, true, false},
		"without ec2messages":          {"prod", func(s scene) { s.removeEndpoint("ec2messages") }, true, true},
		"endpoint pending":             {"prod", func(s scene) { s.endpoint("ssm").State = "pending" }, false, false},
		"no private DNS":               {"prod", func(s scene) { s.endpoint("ssmmessages").PrivateDNS = false }, true, false},
		"no DNS hostnames":             {"prod", func(s scene) { s.vpc().DNSHostnames.Value = false }, false, false},
		"no DNS":                       {"prod", func(s scene) { s.vpc().DNSSupport.Value = false }, false, false},
		"endpoint group closed":        {"prod", func(s scene) { s.endpoint("ssm").Groups = nil; closeENIs(s, s.endpoint("ssm").ID) }, false, false},
		"endpoint policy":              {"prod", func(s scene) { s.endpoint("ssmmessages").Policy = allow("ssmmessages:Create*") }, true, false},
		"no egress":                    {"prod", func(s scene) { s.group().Egress = nil }, false, false},
		"egress to 443 only": {"prod", func(s scene) {
			s.group().Egress = []fleet.Permission{{Protocol: "tcp", From: 443, To: 443, CIDRs: []netip.Prefix{everywhere}}}
		}, true, true},
		"egress to 80 only": {"prod", func(s scene) {
			s.group().Egress = []fleet.Permission{{Protocol: "tcp", From: 80, To: 80, CIDRs: []netip.Prefix{everywhere}}}
		}, false, false},
		"inspection spares endpoints": {"prod", func(s scene) { s.rg.Inspected[s.in.Host.VPC] = "CN=Corp" }, true, true},
		"inspection":                  {"apps", func(s scene) { s.rg.Inspected[s.in.Host.VPC] = "CN=Corp" }, false, false},
		"NAT gateway failed":          {"apps", func(s scene) { s.rg.NATGateways[0].State = "failed" }, false, false},
		"route is a black hole":       {"apps", func(s scene) { s.routes().Routes[1].State = "blackhole" }, false, false},
		"specific black hole": {"apps", func(s scene) {
			s.routes().Routes = append(s.routes().Routes, fleet.Route{CIDR: netip.MustParsePrefix("192.0.2.0/24"), Target: "pcx-1", State: "blackhole"})
		}, false, false},
		"no route":                  {"apps", func(s scene) { s.routes().Routes = s.routes().Routes[:1] }, false, false},
		"internet gateway detached": {"apps", func(s scene) { detach(s) }, false, false},
		"ACL drops replies": {"apps", func(s scene) {
			acl(s, fleet.ACLEntry{Number: 50, Protocol: "6", CIDR: everywhere, From: 1024, To: 65535})
		}, false, false},
		"ACL drops some replies": {"apps", func(s scene) {
			acl(s, fleet.ACLEntry{Number: 50, Protocol: "6", CIDR: everywhere, From: 50000, To: 65535})
		}, false, false},
		"ACL drops requests":            {"apps", func(s scene) { acl(s, fleet.ACLEntry{Number: 50, Egress: true, Protocol: "-1", CIDR: everywhere}) }, false, false},
		"ACL denies too late":           {"apps", func(s scene) { acl(s, fleet.ACLEntry{Number: 101, Protocol: "-1", CIDR: everywhere}) }, true, true},
		"ACL denies UDP":                {"apps", func(s scene) { acl(s, fleet.ACLEntry{Number: 50, Protocol: "17", CIDR: everywhere}) }, true, true},
		"endpoint in place of NAT":      {"apps", func(s scene) { s.routes().Routes = s.routes().Routes[:1]; addEndpoints(s) }, true, true},
		"public host":                   {"legacy", func(scene) {}, true, true},
		"public host loses its address": {"legacy", func(s scene) { s.in.Host.PublicIP = netip.Addr{} }, false, false},
		"public host, gateway detached": {"legacy", func(s scene) { detach(s) }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := connectedHost(t, c.vpc)
			c.change(s)
			if got, connected := s.Online(s.in), s.Connected(s.in); got != c.online || connected != c.connected {
				t.Errorf("online %v, connected %v; want %v, %v (%s; %+v)", got, connected, c.online, c.connected, s.OfflineReason(s.in), s.EgressTo(s.in, "ssmmessages"))
			}
		})
	}
}

func closeENIs(s scene, endpoint string) {
	for _, n := range s.rg.ENIs {
		if n.Owner == endpoint {
			n.Groups = nil
		}
	}
}

func detach(s scene) {
	for _, g := range s.rg.Gateways {
		g.VPCs = slices.DeleteFunc(g.VPCs, func(v string) bool { return v == s.in.Host.VPC })
	}
}

// acl puts an entry into the network ACL of the host's subnet.
func acl(s scene, e fleet.ACLEntry) {
	for _, a := range s.rg.NetworkACLs {
		if slices.Contains(a.Subnets, s.in.Host.Subnet) {
			a.Entries = append(a.Entries, e)
		}
	}
}

func addEndpoints(s scene) {
	for i, service := range []string{"ssm", "ssmmessages"} {
		id := "vpce-" + service
		s.rg.Endpoints = append(s.rg.Endpoints, &fleet.VPCEndpoint{ID: id, VPC: s.in.Host.VPC, Service: "com.amazonaws." + s.rg.Name + "." + service, Type: "Interface", State: "available", PrivateDNS: true})
		s.rg.ENIs = append(s.rg.ENIs, &simfleet.ENI{ID: "eni-" + service, VPC: s.in.Host.VPC, Subnet: s.in.Host.Subnet, Owner: id,
			Groups:    []string{s.rg.Groups[slices.IndexFunc(s.rg.Groups, func(g *fleet.SecurityGroup) bool { return g.Name == "apps-endpoints" })].ID},
			PrivateIP: addr(s.in.Host.PrivateIP.Next(), i)})
	}
}

func addr(a netip.Addr, plus int) netip.Addr {
	for range 100 + plus {
		a = a.Next()
	}
	return a
}

// Taking something away never brings an agent online.
func TestTakingAwayNeverConnects(t *testing.T) {
	for name, take := range map[string]func(*simfleet.World){
		"a Deny in every role": func(w *simfleet.World) {
			for _, r := range w.Accounts[0].Roles {
				if r.Inline == nil {
					r.Inline = map[string]string{}
				}
				r.Inline["no"] = deny("ssmmessages:OpenControlChannel")
			}
		},
		// Endpoints are another matter: a host with a public way out gets by
		// without one whose group shuts it out.
		"all gateways": func(w *simfleet.World) {
			for _, rg := range w.Accounts[0].Regions {
				rg.Gateways = nil
			}
		},
		"all ingress": func(w *simfleet.World) {
			for _, rg := range w.Accounts[0].Regions {
				for _, g := range rg.Groups {
					g.Ingress = nil
				}
			}
		},
		"all routes": func(w *simfleet.World) {
			for _, rg := range w.Accounts[0].Regions {
				for _, t := range rg.RouteTables {
					t.Routes = t.Routes[:1]
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := generate(t, simfleet.Options{Instances: 150})
			before := map[string]bool{}
			for in := range w.Instances() {
				before[in.Host.ID] = w.Connected(in)
			}
			take(w)
			lost := 0
			for in := range w.Instances() {
				now := w.Connected(in)
				if now && !before[in.Host.ID] {
					t.Errorf("%s became connected", in.Host.ID)
				}
				if !now && before[in.Host.ID] {
					lost++
				}
			}
			if lost == 0 {
				t.Error("no host lost its connection: nothing was tested")
			}
		})
	}
}

func TestPermits(t *testing.T) {
	const action = "ssm:UpdateInstanceInformation"
	one := func(s string) string { return `{"Statement":` + s + `}` }
	for name, c := range map[string]struct {
		documents []string
		want      bool
	}{
		"nothing":                        {nil, false},
		"exact":                          {[]string{allow(action)}, true},
		"other case":                     {[]string{allow("SSM:updateinstanceinformation")}, true},
		"star":                           {[]string{allow("*")}, true},
		"service star":                   {[]string{allow("ssm:*")}, true},
		"stars inside":                   {[]string{allow("ssm:*Instance*ation")}, true},
		"question mark":                  {[]string{allow("ss?:UpdateInstanceInformatio?")}, true},
		"question mark too many":         {[]string{allow(action + "?")}, false},
		"other action":                   {[]string{allow("ssm:GetDocument ssmmessages:*")}, false},
		"deny wins":                      {[]string{allow("*"), deny("ssm:U*")}, false},
		"other deny":                     {[]string{allow("*"), deny("s3:*")}, true},
		"NotAction allows":               {[]string{one(`{"Effect":"Allow","NotAction":"iam:*","Resource":"*"}`)}, true},
		"NotAction spares":               {[]string{one(`{"Effect":"Allow","NotAction":["ssm:*"],"Resource":"*"}`)}, false},
		"Deny by NotAction":              {[]string{allow("*"), one(`{"Effect":"Deny","NotAction":"s3:*","Resource":"*"}`)}, false},
		"own instance":                   {[]string{one(`{"Effect":"Allow","Action":"ssm:*","Resource":"arn:aws:ec2:*:*:instance/*"}`)}, true},
		"other resource":                 {[]string{one(`{"Effect":"Allow","Action":"ssm:*","Resource":"arn:aws:s3:::bucket/*"}`)}, false},
		"NotResource":                    {[]string{one(`{"Effect":"Allow","Action":"ssm:*","NotResource":"arn:aws:s3:::*"}`)}, true},
		"Region fits":                    {[]string{one(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:RequestedRegion":["eu-west-1"]}}}`)}, true},
		"Region does not fit":            {[]string{one(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:requestedregion":"us-east-1"}}}`)}, false},
		"Region must not":                {[]string{allow("*"), one(`{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringNotEquals":{"aws:RequestedRegion":"eu-west-1"}}}`)}, true},
		"Region must not and does":       {[]string{allow("*"), one(`{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringNotLike":{"aws:RequestedRegion":"us-*"}}}`)}, false},
		"unknown key":                    {[]string{one(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/x":"y"}}}`)}, false},
		"unknown key, IfExists":          {[]string{one(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEqualsIfExists":{"aws:PrincipalTag/x":"y"}}}`)}, true},
		"not JSON":                       {[]string{"hello"}, false},
		"many stars take no long time":   {[]string{allow(strings.Repeat("*a", 2000))}, false},
		"statement alone, not in a list": {[]string{one(`{"Effect":"Allow","Action":"ssm:*","Resource":"*"}`)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := connectedHost(t, "prod")
			r := s.role()
			r.Attached, r.Inline = nil, map[string]string{}
			for i, d := range c.documents {
				r.Inline[string(rune('a'+i))] = d
			}
			if got := s.Permits(s.in, action); got != c.want {
				t.Errorf("permitted %v, want %v", got, c.want)
			}
		})
	}
}

func TestEgressTells(t *testing.T) {
	s := connectedHost(t, "prod")
	p := s.EgressTo(s.in, "ssm")
	if !p.TLS || p.Host != "ssm.eu-west-1.amazonaws.com" || p.Endpoint == "" || len(p.Addresses) != 2 || !s.vpc().CIDRs[0].Contains(p.Addresses[0]) || !strings.Contains(p.Issuer, "Amazon") {
		t.Errorf("by endpoint: %+v", p)
	}
	s = connectedHost(t, "apps")
	p = s.EgressTo(s.in, "ssm")
	if !p.TLS || p.Endpoint != "" || !slices.Equal(p.Addresses, simfleet.PublicAddresses("ssm", "eu-west-1")) {
		t.Errorf("by NAT: %+v", p)
	}
	if p = s.EgressTo(s.in, "nonsense"); p.TCP || len(p.Addresses) > 0 || p.Reason == "" {
		t.Errorf("a service that does not exist: %+v", p)
	}
	s.rg.Inspected[s.in.Host.VPC] = "CN=Corp"
	if p = s.EgressTo(s.in, "ssm"); !p.TCP || p.TLS || p.Issuer != "CN=Corp" || p.Reason == "" {
		t.Errorf("inspected: %+v", p)
	}
}

func TestCanReach(t *testing.T) {
	office := simfleet.Origin{Addr: simfleet.OperatorAddr}
	stranger := simfleet.Origin{Addr: netip.MustParseAddr("198.51.100.200")}
	s := connectedHost(t, "prod")
	bastion := s.Bastion(s.in)
	if bastion == nil {
		t.Fatal("no bastion")
	}
	host, from := s.in.Host, simfleet.Origin{Instance: bastion}
	legacy := connectedHost(t, "legacy")
	legacy.in.Host.Groups = legacy.in.Host.Groups[:1]
	legacy.group().Ingress = []fleet.Permission{{Protocol: "tcp", From: 20, To: 25, CIDRs: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}}
	for name, c := range map[string]struct {
		w      *simfleet.World
		from   simfleet.Origin
		to     *simfleet.Instance
		dst    netip.Addr
		port   int
		source netip.Addr // zero: does not get through
	}{
		"office to bastion":             {s.World, office, bastion, bastion.Host.PublicIP, 22, simfleet.OperatorAddr},
		"office to bastion, other port": {s.World, office, bastion, bastion.Host.PublicIP, 443, netip.Addr{}},
		"stranger to bastion":           {s.World, stranger, bastion, bastion.Host.PublicIP, 22, netip.Addr{}},
		"office to bastion in private":  {s.World, office, bastion, bastion.Host.PrivateIP, 22, netip.Addr{}},
		"office to host":                {s.World, office, s.in, host.PrivateIP, 22, netip.Addr{}},
		"bastion to host":               {s.World, from, s.in, host.PrivateIP, 22, bastion.Host.PrivateIP},
		"bastion to host, other port":   {s.World, from, s.in, host.PrivateIP, 2222, netip.Addr{}},
		"host to bastion":               {s.World, simfleet.Origin{Instance: s.in}, bastion, bastion.Host.PrivateIP, 22, netip.Addr{}},
		"an address of another":         {s.World, from, s.in, bastion.Host.PrivateIP, 22, netip.Addr{}},
		"stranger to an open host":      {legacy.World, stranger, legacy.in, legacy.in.Host.PublicIP, 22, stranger.Addr},
		"bastion to another VPC":        {legacy.World, simfleet.Origin{Instance: legacy.Bastion(connectedIn(legacy, "prod"))}, legacy.in, legacy.in.Host.PrivateIP, 22, netip.Addr{}},
		"by the internet":               {legacy.World, simfleet.Origin{Instance: legacy.Bastion(connectedIn(legacy, "prod"))}, legacy.in, legacy.in.Host.PublicIP, 22, legacy.Bastion(connectedIn(legacy, "prod")).Host.PublicIP},
	} {
		got := c.w.CanReach(c.from, c.to, c.dst, c.port)
		if got.OK != c.source.IsValid() || got.Source != c.source || got.OK == (got.Reason != "") {
			t.Errorf("%s: %+v, want source %v", name, got, c.source)
		}
	}
	s.group().Ingress = nil
	if got := s.CanReach(from, s.in, host.PrivateIP, 22); got.OK {
		t.Error("the bastion gets in by a group that lets nobody in")
	}
	bastion.Host.State = "stopped"
	if got := s.CanReach(office, bastion, bastion.Host.PublicIP, 22); got.OK {
		t.Error("a stopped bastion answers")
	}
}

// connectedIn finds a host of another VPC in the same world.
func connectedIn(s scene, vpc string) *simfleet.Instance {
	i := slices.IndexFunc(s.rg.Instances, func(in *simfleet.Instance) bool {
		return strings.HasPrefix(in.Host.Tags["Name"], vpc) && in.Role == "app"
	})
	return s.rg.Instances[i]
}
