// Package fleet holds the words that every other package shares: hosts, facts,
// findings and snapshots, as plain values without I/O.
package fleet
