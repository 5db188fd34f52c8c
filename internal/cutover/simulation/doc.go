// Package simulation holds tests only: whole migrations of simulated fleets,
// each decided by its seed, with faults, kills and deliberate defects.
package simulation
