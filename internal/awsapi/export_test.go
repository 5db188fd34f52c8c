package awsapi

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/aws/smithy-go"

	"ssm-migrate/internal/fleet"
)

// CheckedActions are the actions that Changer.Check asks for, sorted.
func CheckedActions() []string {
	var out []string
	for _, n := range needs {
		for _, g := range n.grants {
			out = append(out, g.action)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// ReasonOf is the reason that an API error with this code and message gives.
func ReasonOf(code, message string) string {
	return reason(&smithy.GenericAPIError{Code: code, Message: message})
}

// Document is the policy document in IAM's encoding.
func Document(encoded string) string { return document(&encoded) }

// ZoneName is a DNS name of Route 53's as it is kept.
func ZoneName(s string) string { return zoneName(&s) }

// TunnelURL is the address of a tunnel, signed at a time with the credentials of the environment.
func TunnelURL(t *testing.T, region, endpoint, dns, address string, at time.Time) string {
	t.Helper()
	a, err := Open(t.Context(), Access{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := &sessionPlace{account: a, region: region, config: a.configFor(region)}
	u, err := p.tunnelURL(t.Context(), fleet.ConnectEndpoint{ID: endpoint, DNSName: dns}, fleet.Host{PrivateIP: netip.MustParseAddr(address)}, at)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
