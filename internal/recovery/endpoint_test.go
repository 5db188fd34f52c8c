package recovery_test

import (
	"net/netip"
	"strings"
	"testing"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/recovery"
)

func TestConnectEndpointLeadsToTheHost(t *testing.T) {
	host := fleet.Host{ID: "i-1", VPC: "vpc-1", Subnet: "subnet-b", PrivateIP: netip.MustParseAddr("10.0.2.7"), Groups: []string{"sg-host"}}
	from := func(p fleet.Permission) []fleet.Permission {
		p.Protocol, p.From, p.To = "tcp", 22, 22
		return []fleet.Permission{p}
	}
	for _, tt := range []struct {
		name string
		set  func(r *fleet.Region, e *fleet.ConnectEndpoint, ep, host *fleet.SecurityGroup)
		want fleet.Truth
		why  string
	}{
		{"by its group", func(*fleet.Region, *fleet.ConnectEndpoint, *fleet.SecurityGroup, *fleet.SecurityGroup) {}, fleet.TruthYes, ""},
		{"by its subnet", func(_ *fleet.Region, _ *fleet.ConnectEndpoint, _, h *fleet.SecurityGroup) {
			h.Ingress = from(fleet.Permission{CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}})
		}, fleet.TruthYes, ""},
		{"by a part of its subnet", func(_ *fleet.Region, _ *fleet.ConnectEndpoint, _, h *fleet.SecurityGroup) {
			h.Ingress = from(fleet.Permission{CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.1.0/25")}})
		}, fleet.TruthUnknown, "do not let endpoint eice-1 in"},
		{"by a prefix list", func(r *fleet.Region, _ *fleet.ConnectEndpoint, _, h *fleet.SecurityGroup) {
			r.PrefixLists.Value = []fleet.PrefixList{{ID: "pl-1", CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.1.0/24")}}}
			h.Ingress = from(fleet.Permission{PrefixLists: []string{"pl-1"}})
		}, fleet.TruthYes, ""},
		{"by a prefix list that is not known", func(_ *fleet.Region, _ *fleet.ConnectEndpoint, _, h *fleet.SecurityGroup) {
			h.Ingress = from(fleet.Permission{PrefixLists: []string{"pl-1"}})
		}, fleet.TruthUnknown, "do not let endpoint eice-1 in"},
		{"closed on the host", func(_ *fleet.Region, _ *fleet.ConnectEndpoint, _, h *fleet.SecurityGroup) { h.Ingress = nil }, fleet.TruthNo, "do not let endpoint eice-1 in"},
		{"nothing goes out of the endpoint", func(_ *fleet.Region, _ *fleet.ConnectEndpoint, ep, _ *fleet.SecurityGroup) {
			ep.Egress = from(fleet.Permission{CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.9.0/24")}})
		}, fleet.TruthNo, "let nothing out"},
		{"not ready", func(_ *fleet.Region, e *fleet.ConnectEndpoint, _, _ *fleet.SecurityGroup) { e.State = "create-failed" }, fleet.TruthNo, "eice-1 is create-failed"},
		{"in another VPC", func(_ *fleet.Region, e *fleet.ConnectEndpoint, _, _ *fleet.SecurityGroup) { e.VPC = "vpc-2" }, fleet.TruthNo, "there is no EC2 Instance Connect Endpoint"},
		{"none was listed", func(r *fleet.Region, e *fleet.ConnectEndpoint, _, _ *fleet.SecurityGroup) {
			e.VPC, r.ConnectEndpoints.Known, r.ConnectEndpoints.Reason = "vpc-2", false, "denied"
		}, fleet.TruthUnknown, "denied"},
		{"it shows the operator's address", func(_ *fleet.Region, e *fleet.ConnectEndpoint, _, _ *fleet.SecurityGroup) { e.PreserveClientIP = true }, fleet.TruthUnknown, "your own address"},
		{"a network ACL denies something", func(r *fleet.Region, _ *fleet.ConnectEndpoint, _, _ *fleet.SecurityGroup) {
			r.NetworkACLs.Value = []fleet.NetworkACL{{ID: "acl-1", Subnets: []string{"subnet-b"}, Entries: []fleet.ACLEntry{
				{Number: 90, Protocol: "6", From: 22, To: 22, CIDR: netip.MustParsePrefix("0.0.0.0/0")}, {Number: 100, Allow: true, Protocol: "-1", CIDR: netip.MustParsePrefix("0.0.0.0/0")},
			}}}
		}, fleet.TruthUnknown, "acl-1"},
		{"groups are not known", func(r *fleet.Region, _ *fleet.ConnectEndpoint, _, _ *fleet.SecurityGroup) { r.Groups.Known = false }, fleet.TruthUnknown, "security groups are not known"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := fleet.ConnectEndpoint{ID: "eice-1", VPC: "vpc-1", Subnet: "subnet-a", State: "create-complete", Groups: []string{"sg-ep"}}
			ep := fleet.SecurityGroup{ID: "sg-ep", VPC: "vpc-1", Egress: []fleet.Permission{{Protocol: "-1", From: -1, To: -1, CIDRs: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}}}
			hostGroup := fleet.SecurityGroup{ID: "sg-host", VPC: "vpc-1", Ingress: from(fleet.Permission{Groups: []string{"sg-ep"}})}
			r := &fleet.Region{Name: "eu-west-1", Subnets: fleet.Fact[[]fleet.Subnet]{Known: true, Value: []fleet.Subnet{{ID: "subnet-a", VPC: "vpc-1", CIDR: netip.MustParsePrefix("10.0.1.0/24")}}}}
			r.ConnectEndpoints.Known, r.Groups.Known, r.NetworkACLs.Known, r.PrefixLists.Known = true, true, true, true
			tt.set(r, &e, &ep, &hostGroup)
			r.ConnectEndpoints.Value, r.Groups.Value = []fleet.ConnectEndpoint{e}, []fleet.SecurityGroup{ep, hostGroup}
			_, works, why := recovery.ConnectEndpoint(r, host)
			if works != tt.want || !strings.Contains(why, tt.why) || (why == "") != (works == fleet.TruthYes) {
				t.Errorf("%v, %q; want %v, %q", works, why, tt.want, tt.why)
			}
		})
	}
}

func TestSerialConsoleIsOnlyStatedWhereItIsAllowed(t *testing.T) {
	r := &fleet.Region{Name: "eu-west-1"}
	h := fleet.Host{ID: "i-1"}
	if got := recovery.SerialConsole(r, h); got != "" {
		t.Errorf("not known: %q", got)
	}
	r.SerialConsole = fleet.Fact[bool]{Known: true}
	if got := recovery.SerialConsole(r, h); got != "" {
		t.Errorf("not allowed: %q", got)
	}
	r.SerialConsole.Value = true
	if got := recovery.SerialConsole(r, h); !strings.Contains(got, "eu-west-1") || !strings.Contains(got, "i-1") || !strings.Contains(got, "password") {
		t.Errorf("allowed: %q", got)
	}
}
