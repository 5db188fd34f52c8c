// Package recovery knows the way back in: the recovery key, the bastion group,
// what counts as proof of them and when it expires.
package recovery
