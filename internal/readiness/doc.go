// Package readiness turns a snapshot into findings and verdicts: for each host
// whether Session Manager can open a session on it, what stands in the way,
// the evidence, the fix, and whom else the fix touches. Its functions are
// pure: no I/O, no clock, and the same input gives the same output.
//
// Three rules hold everywhere. Live evidence beats inference: a host whose
// agent holds its control channel open is not called blocked because a rule
// set looks wrong; the contradiction is a finding of its own. An unknown fact
// is neither good nor bad, and counts only where nothing else settles the
// question. A verdict speaks of what was seen: a host is ready where Systems
// Manager shows its agent connected and nothing that was seen keeps sessions
// from opening. Losing a fact never makes a host ready, but for those that
// nobody sees without a login on the host, the machine's health: what stops
// only sessions, as a full disk does, stays unseen there, and the findings
// ssh-not-scanned and ssh-partly-scanned say so.
package readiness
