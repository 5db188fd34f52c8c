// Package readiness turns a snapshot into findings and verdicts: for each host
// whether Session Manager can open a session on it, what stands in the way,
// the evidence, the fix, and whom else the fix touches. Its functions are
// pure: no I/O, no clock, and the same input gives the same output.
//
// Three rules hold everywhere. Live evidence beats inference: a host whose
// agent holds its control channel open is not called blocked because a rule
// set looks wrong; the contradiction is a finding of its own. An unknown fact
// is neither good nor bad, and counts only where nothing else settles the
// question. A host is ready only on facts that are known, so that losing a
// fact can never make a host ready.
package readiness
