package readiness_test

import (
	"net/netip"

	"github.com/google/go-cmp/cmp/cmpopts"
)

// sameAddress compares addresses, whose fields are not exported.
var sameAddress = cmpopts.EquateComparable(netip.Addr{})
