package awsapi

import (
	"slices"

	"github.com/aws/smithy-go"
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
