package readiness_test

import (
	"net/netip"
	"strings"
	"testing"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/inventory"
)

// more adds healthy hosts, changed, beside the first.
func more(alter change, ids ...string) change {
	return func(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) {
		for _, id := range ids {
			h := healthyHost(id)
			alter(s, &h, &s.Regions[0])
			s.Hosts = append(s.Hosts, h)
		}
	}
}

func asIs(*fleet.Snapshot, *fleet.Host, *fleet.Region) {}

func unresolved(t *fleet.EndpointTest) {
	*t = fleet.EndpointTest{Service: t.Service, Host: t.Host, Addresses: known([]netip.Addr{}, "probe")}
}

func limitedGap(why string) change {
	return func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
		h.Probe.Value.Logins = lost[fleet.LoginLog]("probe: logins", why)
	}
}

func withoutRoot(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) { h.Probe.Value.Root = false }

func onlyEndpoint(service string) change {
	return func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
		r.Endpoints.Value = []fleet.VPCEndpoint{endpoint(service)}
	}
}

// What a finding advises has to touch what is in the way, and nothing else;
// its blast radius has to name everybody whom that touches.
func TestAdvice(t *testing.T) {
	const (
		limit   = "arn:aws:iam::" + accountID + ":policy/limit"
		attach  = "AmazonSSMManagedInstanceCore"
		failed  = "egress-test-failed"
		partly  = "ssh-partly-scanned"
		noLog   = "no SSH log file and no journal on the host"
		missing = "profile-missing"
		bounded = "boundary-denies-session-actions"
	)
	bindTwo := func(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) { s.Accounts[0].Roles.Value[1].Boundary = limit }
	fromTemplate := func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) {
		h.LaunchTemplate, h.AutoScalingGroup = fleet.LaunchTemplateRef{ID: "lt-1", Version: "3"}, "web"
	}
	metadataOff := func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) { h.Metadata.Endpoint = "disabled" }
	for _, c := range []struct {
		name    string
		changes []change
		code    string
		says    []string // in fix, blast radius or evidence
		not     []string
	}{
		{"boundary in the way", []change{offline, boundary(allowing(`"s3:*"`)), bindTwo, more(asIs, "i-2", "i-3")}, bounded,
			[]string{"in the permissions boundary " + limit, "permissions boundary " + limit + " binds 2 roles with 3 hosts", "role web is used by 3 hosts"}, []string{attach}},
		{"boundary and role in the way: the role", []change{offline, boundary(allowing(`"s3:*"`)), role(allowing(`"s3:*"`))}, lacks,
			[]string{"to role " + roleARN, attach}, []string{"boundary"}},
		{"boundary and role in the way: the boundary", []change{offline, boundary(allowing(`"s3:*"`)), role(allowing(`"s3:*"`))}, bounded,
			[]string{"in the permissions boundary " + limit, "binds 1 role with 1 host"}, []string{attach}},
		{"boundary of roles that were not all read", []change{offline, boundary(allowing(`"s3:*"`)), func(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) {
			s.Accounts[0].Roles.Known = false
		}}, bounded, []string{"binds at least 1 role with 1 host"}, nil},
		{"boundary that denies", []change{offline, boundary(denyChannel)}, bounded,
			[]string{limit + " denies it", "binds 1 role with 1 host"}, []string{attach, "then allow"}},
		{"explicit Deny of what is allowed", []change{offline, role(denyChannel)}, lacks,
			[]string{"narrow the explicit Deny (inline policy own denies it) of ssmmessages:OpenControlChannel, ssmmessages:OpenDataChannel"}, []string{attach, "to role " + roleARN, "boundary"}},
		{"role alone in the way", []change{offline, role(allowing(heartbeat))}, lacks, []string{attach}, []string{"boundary"}},

		{"one endpoint is missing", []change{offline, unprobed, isolated, onlyEndpoint("ssm")}, "endpoint-missing",
			[]string{"add an interface endpoint for ssmmessages with private DNS to VPC vpc-1"}, []string{"ssm and ssmmessages"}},
		{"the other endpoint is missing", []change{offline, unprobed, isolated, onlyEndpoint("ssmmessages")}, "endpoint-missing",
			[]string{"add an interface endpoint for ssm with private DNS to VPC vpc-1"}, []string{"ssm and ssmmessages"}},
		{"both endpoints are missing", []change{offline, unprobed, isolated, noEndpoints}, "endpoint-missing",
			[]string{"add interface endpoints for ssm and ssmmessages with private DNS to VPC vpc-1"}, nil},

		{"Default Host Management Configuration is off", []change{offline, noProfile, more(noProfile, "i-2"), more(asIs, "i-3")}, missing,
			[]string{"a profile acts on this host only", "every instance of account " + accountID + " in " + regionName + " without a working profile: 2 of 3 hosts"}, nil},
		{"whose profiles work is not known", []change{offline, noProfile, more(asIs, "i-2"), func(s *fleet.Snapshot, _ *fleet.Host, _ *fleet.Region) {
			s.Accounts[0].Roles = lost[[]fleet.Role]("iam", "AccessDenied")
		}}, missing, []string{"without a working profile: at least 1 of 2 hosts"}, nil},
		{"Default Host Management Configuration is on", []change{offline, noProfile, defaultRoleOn, agentVersion("3.2.581.0")}, missing,
			[]string{"this host only", "meet what Default Host Management Configuration needs"}, []string{"turn on"}},
		{"the setting was read, the agent's version was not", []change{offline, noProfile, defaultRoleOn, unprobed}, "default-role-unknown",
			[]string{"find out the agent's version", "3.2.582.0"}, []string{"ssm:GetServiceSetting"}},
		{"the setting was read, whether IMDSv2 is in use cannot be", []change{offline, noProfile, defaultRoleOn, func(_ *fleet.Snapshot, h *fleet.Host, _ *fleet.Region) { h.Metadata.Tokens = "optional" }}, "default-role-unknown",
			[]string{"--http-tokens required"}, []string{"ssm:GetServiceSetting", "version"}},
		{"the setting was not read", []change{offline, noProfile, func(_ *fleet.Snapshot, _ *fleet.Host, r *fleet.Region) {
			r.DefaultRole = lost[string]("ssm:GetServiceSetting", "AccessDenied")
		}}, "default-role-unknown", []string{"ssm:GetServiceSetting"}, nil},
		{"an application's role", []change{offline, role(allowing(`"s3:Get*","s3-object-lambda:Get*","logs:*"`))}, "role-serves-application",
			[]string{"role web has inline policy own, which is about s3\n"}, nil},
		{"metadata off, from a template", []change{offline, metadataOff, fromTemplate, more(fromTemplate, "i-2")}, "imds-disabled",
			[]string{"launch template lt-1, from which 2 hosts came", "Auto Scaling group web with 2 hosts"}, []string{"this host only"}},
		{"metadata off, by hand", []change{offline, metadataOff}, "imds-disabled", []string{"this host only"}, []string{"launch template lt", "Auto Scaling"}},

		{"the name does not resolve", []change{offline, tested(unresolved)}, failed,
			[]string{"make the names of ssm and ssmmessages resolve", "VPC vpc-1 has 1 host"}, []string{"TLS inspection", "firewall"}},
		{"the connection does not open", []change{offline, tested(timedOut), more(asIs, "i-2")}, failed,
			[]string{"open TCP 443", "subnet subnet-app has 2 hosts", "firewall"}, []string{"TLS inspection", "resolve"}},
		{"TLS is inspected", []change{offline, tested(inspected)}, "tls-intercepted",
			[]string{"TLS inspection", "trust store", "1 host of this snapshot"}, []string{"resolve", "open TCP 443", "this host only"}},
		{"two stages fail", []change{offline, tested(func(t *fleet.EndpointTest) {
			if t.Service == "ssm" {
				timedOut(t)
			} else {
				t.TLS, t.Issuer = known(false, "probe"), ""
			}
		})}, failed, []string{"open TCP 443 from the host to ssm", "TLS inspection", "exempt ssmmessages"}, nil},
		{"a doubt beside the host's no", []change{offline, noEndpoints, route("tgw-1", "active"), tested(timedOut)}, "firewall-drops",
			[]string{"by the host's own test", "ssm by static analysis: route table rtb-app sends internet traffic through transit gateway tgw-1, which is not followed"}, nil},

		{"no log on the host", []change{limitedGap(noLog)}, partly, []string{"keep a log of SSH"}, []string{"sudo"}},
		{"no log on the host, no root", []change{withoutRoot, limitedGap(noLog)}, partly, []string{"keep a log of SSH"}, []string{"sudo"}},
		{"no root", []change{withoutRoot, limitedGap("/var/log/secure: permission denied")}, partly, []string{"sudo -n"}, []string{"keep a log"}},
		{"root was not enough", []change{limitedGap("/var/log/secure: permission denied")}, partly, []string{"even root"}, []string{"sudo", "keep a log"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := assess(c.changes...)
			checkFindings(t, a)
			f := finding(t, a, c.code)
			text := "fix: " + f.Fix + "\nblast: " + f.Blast + "\n" + factsOf(f)
			for _, want := range c.says {
				if !strings.Contains(text, want) {
					t.Errorf("does not say %q:\n%s", want, text)
				}
			}
			for _, bad := range c.not {
				if strings.Contains(f.Fix+"\n"+f.Blast, bad) || bad == "undecided" && strings.Contains(text, bad) {
					t.Errorf("says %q:\n%s", bad, text)
				}
			}
		})
	}
}

// The advice on a missing log hangs on the words of the collector.
func TestAdviceKnowsTheCollectorsWords(t *testing.T) {
	p, err := inventory.Parse(fleet.ProbeOutput{Stdout: []byte("migrate-probe 1\nbegin\tlogins\nend\tlogins\ndone\n")}, at)
	if err != nil {
		t.Fatal(err)
	}
	f := finding(t, assess(limitedGap(p.Logins.Reason)), "ssh-partly-scanned")
	if !strings.HasPrefix(f.Fix, "keep a log of SSH") {
		t.Errorf("reason %q, fix %q", p.Logins.Reason, f.Fix)
	}
}
