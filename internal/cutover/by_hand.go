package cutover

import (
	"fmt"
	"strings"

	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/recovery"
)

// ByHand is the shell script by which somebody else does what a step does on a
// host: work on the SSM Agent, with the same checks as the step's own, or the recovery key. sh runs
// it as root, from standard input or as a file. Head and body make it, in this order; steps that want the same of
// their hosts have the same head, and steps of one kind the same body. It can be run again, and holds no
// secret.
//
// Between head and body a line MODE=start makes work on an agent go on by itself, for
// callers that the agent carries; with MODE=look the script only waits for its
// end. The exit code is 0 if all is as wanted, or begun; else the output says why.
//
// Of w only Plan, SigningKey, Signer, Paths and Generations are used. Both parts are empty for
// a step that nobody does on a host, or not by hand.
func ByHand(w HostWorld, s plan.Step) (head, body string, err error) {
	w = w.withKey()
	h := &hostSide{HostWorld: w, paths: w.Paths, folder: "export-" + w.Plan.ID, recoveryKey: recovery.Blob(w.Plan.Policy.Recovery.PublicKey)}
	switch {
	case s.Kind == plan.Agent && s.Agent != nil:
		return h.agentByHand(s.Agent, s.At.Region)
	case s.Kind == plan.WaitFor && s.Wait != nil && s.Wait.Action != "":
		return h.agentByHand(&plan.AgentChange{Action: s.Wait.Action}, s.At.Region)
	case s.Kind == plan.RecoveryKey && s.Key != nil:
		if err := (recoveryKeyKind{h}).inUse(s); err != nil {
			return "", "", err
		}
		vars, parts := h.lineVars(s.Key)
		return h.handHead(vars), handBody("put_key", parts...), nil
	}
	return "", "", nil
}

func (h *hostSide) agentByHand(c *plan.AgentChange, region string) (head, body string, err error) {
	vars := hostVars{{"ACTION", string(c.Action)}, {"FLOOR", c.Floor}}
	if c.Action == plan.InstallAgent || c.Action == plan.UpgradeAgent {
		vars = h.agentVars(c, string(c.Action), region)
	}
	vars = append(vars, [2]string{"JOB", token(h.Plan.Digest, "by hand "+string(c.Action))})
	// The work lies on the host as a script of its own: the variables and the
	// parts, as they are here.
	const mark = "MIGRATE-END-OF-SAVED-SCRIPT"
	var text strings.Builder
	for _, p := range []string{"common", "agent", "agentwork", "hand"} {
		text.WriteString(scriptPart(p))
	}
	head = fmt.Sprintf("set_here() {\ncat <<'%s'\n%s%s\n}\neval \"$(set_here)\"\n", mark, h.handHead(vars), mark)
	body = fmt.Sprintf("parts() {\ncat <<'%s'\n%s%s\n}\neval \"$(parts)\"\nwork_script() {\nset_here\nparts\nprintf 'hand_work\\n'\n}\n", mark, text.String(), mark)
	return head, body + handMain("hand_agent"), nil
}

func (h *hostSide) handHead(vars hostVars) string { return h.scriptHead() + vars.String() }

func handBody(function string, parts ...string) string {
	var b strings.Builder
	b.WriteString("CONNECTION=${1:-$SSH_CONNECTION}\n")
	for _, p := range parts {
		b.WriteString(scriptPart(p))
	}
	return b.String() + handMain(function)
}

// handMain calls the function in the last line: only a text that arrived whole runs.
func handMain(function string) string {
	return fmt.Sprintf("main() {\n%s\n}\nmain </dev/null\n", function)
}
