package readiness

import (
	"net/netip"
	"strings"
	"testing"

	"ssm-migrate/internal/fleet"
)

func TestWithoutProxy(t *testing.T) {
	const ssm, imds = "ssm.eu-west-1.amazonaws.com", "169.254.169.254"
	for _, c := range []struct {
		list, host string
		want       bool
	}{
		{"", ssm, false}, {"*", ssm, true}, {" localhost , 169.254.169.254 ", imds, true}, {"169.254.0.0/16", imds, true},
		{"169.254.169.253", imds, false}, {"169.254.169.254:80", imds, true}, {"169.254.169.254:443", imds, false},
		{"amazonaws.com", ssm, true}, {".amazonaws.com", ssm, true}, {"*.amazonaws.com", ssm, true}, {".amazonaws.com", "amazonaws.com", false},
		{"amazonaws.com", "amazonaws.com", true}, {"aws.com", ssm, false}, {"AMAZONAWS.COM:443", ssm, true}, {"amazonaws.com:80", ssm, false},
		{"254", imds, false}, {"fd00:ec2::254", "fd00:ec2::254", true},
	} {
		if got := withoutProxy(c.list, c.host); got != c.want {
			t.Errorf("no_proxy %q exempts %s: %t, want %t", c.list, c.host, got, c.want)
		}
	}
}

func TestAmazonIssuer(t *testing.T) {
	for issuer, want := range map[string]bool{
		"C=US, O=Amazon, CN=Amazon RSA 2048 M01": true, "CN=Amazon RSA 2048 M01": true, "C = US, O = Amazon, CN = Amazon RSA 2048 M02": true,
		"/C=US/O=Amazon/CN=Amazon ECDSA 256 M01": true, "CN=Corp Proxy": false, "O=Amazonia, CN=x": false, "": false, "Amazon": false,
		"O=Corp, OU=Amazon RSA 2048 M01": false,
	} {
		if got := amazonIssuer(issuer); got != want {
			t.Errorf("%q is Amazon's: %t, want %t", issuer, got, want)
		}
	}
}

func TestInDomain(t *testing.T) {
	for _, c := range []struct {
		name, domain string
		want         bool
	}{
		{"ssm.r.amazonaws.com", "", true}, {"ssm.r.amazonaws.com", ".", true}, {"ssm.r.amazonaws.com.", "AMAZONAWS.com", true},
		{"ssm.r.amazonaws.com", "ssm.r.amazonaws.com", true}, {"ssm.r.amazonaws.com", "sm.r.amazonaws.com", false}, {"amazonaws.com", "r.amazonaws.com", false},
	} {
		if got := inDomain(c.name, c.domain); got != c.want {
			t.Errorf("%q in %q: %t, want %t", c.name, c.domain, got, c.want)
		}
	}
}

// FuzzForeignText feeds what hosts, zones and configurations hold to
// everything here that takes text apart.
func FuzzForeignText(f *testing.F) {
	f.Add("169.254.169.254,.amazonaws.com:443", "https://ssm.eu-west-1.amazonaws.com/x", "C=US, O=Amazon", `\052.amazonaws.com`)
	f.Add("10.0.0.0/8,[::1]:80", "[::1]", "/O=Amazon/CN=", "vpce-0abc-1.ssm.eu-west-1.vpce.amazonaws.com")
	f.Fuzz(func(t *testing.T, list, host, issuer, record string) {
		if withoutProxy(list, host) != withoutProxy(list+",", host) {
			t.Errorf("an empty entry changes what %q exempts", list)
		}
		if withoutProxy(list, host) && !withoutProxy(list+",x.example", host) {
			t.Errorf("one more entry takes %q back", host)
		}
		if strings.ContainsAny(hostName(host), "/:") {
			t.Errorf("%q is no host name", hostName(host))
		}
		amazonIssuer(issuer)
		n := newNetwork(newIndex(&fleet.Snapshot{}), &fleet.Snapshot{})
		if n.namedEndpoint(record) != nil {
			t.Errorf("an endpoint out of nothing: %q", record)
		}
		z := &fleet.HostedZone{Name: host, Records: []fleet.DNSRecord{{Name: record, Type: "A", Values: []string{list, "10.0.0.1"}}}}
		if r, ok := recordFor(z, issuer); ok && len(r.addresses) == 0 {
			t.Error("the record's address is gone")
		}
		if p, err := netip.ParsePrefix(host); err == nil {
			if s, ok := prefixSpan(p); ok && before(s.hi, s.lo) {
				t.Errorf("%s ends before it begins: %v", p, s)
			}
		}
		tellsApart(list)
	})
}
