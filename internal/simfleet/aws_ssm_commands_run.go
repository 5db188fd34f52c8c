package simfleet

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"strings"
	"sync"
	"time"
)

// How long Run Command takes, in simulated time.
const (
	commandAppears  = 700 * time.Millisecond // until GetCommandInvocation knows of it
	commandTravels  = 400 * time.Millisecond // until the agent has it, and as long back
	commandRetries  = 5 * time.Second        // between looks at a node that cannot be reached
	updateTakes     = 20 * time.Second       // of AWS-UpdateSSMAgent
	maxStandardOut  = 24_000
	maxStandardErr  = 8_000
	maxPluginOutput = 2_500
)

// dispatcher carries one command out.
type dispatcher struct {
	s *AWS
	h *Hosts
	c *sentCommand

	mu     sync.Mutex
	next   int
	failed int
}

// run sends the invocations, as many at once as the command allows, until too
// many have failed. It returns when all have ended.
func (d *dispatcher) run() {
	n := len(d.c.invocations)
	at, _ := shareOf(d.c.concurrency, n)
	most, _ := shareOf(d.c.errors, n)
	if d.h.wait(d.h.ctx, commandAppears) != nil {
		return
	}
	d.locked(func() {
		for _, v := range d.c.invocations {
			v.visible = true
		}
	})
	var workers sync.WaitGroup
	for range min(max(at, 1), n) {
		workers.Go(func() {
			for {
				v := d.take(most)
				if v == nil {
					return
				}
				d.invoke(v)
			}
		})
	}
	workers.Wait()
}

func (d *dispatcher) locked(f func()) {
	d.s.commands.mu.Lock()
	defer d.s.commands.mu.Unlock()
	f()
}

// take gives the next invocation that is to be sent. What is left after too many
// failures is terminated.
func (d *dispatcher) take(most int) *invocation {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.next < len(d.c.invocations) {
		v := d.c.invocations[d.next]
		d.next++
		waits := false
		d.locked(func() {
			if waits = v.status == "Pending"; waits && d.failed > most {
				v.status, v.details, waits = "Cancelled", "Terminated", false
			}
		})
		if waits {
			return v
		}
	}
	return nil
}

// end notes how an invocation ended. Failures and execution timeouts count
// against MaxErrors, timeouts of the delivery do not.
func (d *dispatcher) end(v *invocation, status, details string, code int) {
	now := d.h.w.Now().UTC()
	d.locked(func() {
		if v.done() {
			return
		}
		if v.status == "Cancelling" {
			status, details = "Cancelled", "Cancelled"
		}
		v.status, v.details, v.code = status, details, code
		if !v.began.IsZero() {
			v.ended = now
		}
	})
	if details == "Failed" || details == "Execution Timed Out" {
		d.mu.Lock()
		d.failed++
		d.mu.Unlock()
	}
}

// invoke delivers an invocation, lets it run and brings its result back.
func (d *dispatcher) invoke(v *invocation) {
	ctx, cancel := context.WithCancel(d.h.ctx)
	defer cancel()
	d.locked(func() { v.stop = cancel })
	deadline := d.c.delivery + d.c.execution
	spent, reason := d.deliver(ctx, v, deadline)
	switch {
	case d.h.ctx.Err() != nil:
		return
	case ctx.Err() != nil:
		d.end(v, "Cancelled", "Cancelled", -1)
		return
	case reason == gone:
		d.end(v, "Failed", "Undeliverable", -1)
		return
	case reason != "":
		d.end(v, "TimedOut", "Delivery Timed Out", -1)
		return
	}
	d.locked(func() {
		if v.status == "Pending" {
			v.status, v.details, v.began = "InProgress", "In Progress", d.h.w.Now().UTC()
		}
	})
	boots := d.h.state(v.in).bootCount()
	result := d.execute(ctx, v)
	if d.h.ctx.Err() != nil {
		return
	}
	// The script survives the agent's restart, since the unit has
	// KillMode=process, and its result waits on disk. A reboot ends it.
	if !d.report(v, deadline-spent) {
		d.end(v, "TimedOut", "Delivery Timed Out", -1)
		return
	}
	if d.h.state(v.in).bootCount() != boots {
		result = outcome{code: 1, stderr: []byte("document process failed unexpectedly: document worker timed out, check [ssm-document-worker]/[ssm-session-worker] log for crash reason")}
	}
	d.locked(func() {
		v.stdout, v.stderr = clip(result.stdout, maxStandardOut), clip(result.stderr, maxStandardErr)
	})
	switch {
	case result.timedOut:
		d.end(v, "TimedOut", "Execution Timed Out", -1)
	case result.code != 0:
		d.end(v, "Failed", "Failed", result.code)
	default:
		d.end(v, "Success", "Success", 0)
	}
}

// gone is why nothing will ever be delivered.
const gone = "the node is gone"

// deliver waits until the agent takes the command; it gives the time spent and
// what kept it from the agent to the end.
func (d *dispatcher) deliver(ctx context.Context, v *invocation, patience time.Duration) (spent time.Duration, reason string) {
	jitter := fnv.New32a()
	_, _ = jitter.Write([]byte(v.node))
	for step := commandTravels + time.Duration(jitter.Sum32()%400)*time.Millisecond; ; step = commandRetries {
		if err := d.h.wait(ctx, step); err != nil {
			return spent, err.Error()
		}
		spent += step
		reason = "a node outside of EC2"
		if v.in != nil {
			d.h.w.Mu.RLock()
			reason = d.h.w.CommandReason(v.in)
			if strings.HasSuffix(reason, "is mounted noexec") {
				reason = "" // it arrives, and does not start
			}
			if v.in.Host.State == "terminated" {
				reason = gone
			}
			d.h.w.Mu.RUnlock()
		}
		if reason == "" || reason == gone || spent >= patience {
			return spent, reason
		}
	}
}

// report waits until the agent can bring the result back.
func (d *dispatcher) report(v *invocation, patience time.Duration) bool {
	for step := commandTravels; ; step = commandRetries {
		if d.h.wait(d.h.ctx, step) != nil {
			return false
		}
		patience -= step
		d.h.w.Mu.RLock()
		reason, ended := d.h.w.OfflineReason(v.in), v.in.Host.State == "terminated"
		d.h.w.Mu.RUnlock()
		if reason == "" {
			return true
		}
		if patience <= 0 || ended {
			return false
		}
	}
}

// outcome is what a plugin leaves.
type outcome struct {
	code           int
	timedOut       bool
	stdout, stderr []byte
}

func (d *dispatcher) execute(ctx context.Context, v *invocation) outcome {
	if d.c.document == "AWS-UpdateSSMAgent" {
		return d.updateAgent(ctx, v)
	}
	m := d.h.machine(v.in)
	switch m.Fault {
	case MachineHang, MachineEndless:
		return outcome{timedOut: d.h.wait(ctx, d.c.execution) == nil}
	case MachineGarbage:
		var out, errs bytes.Buffer
		garbage(&out, &errs)
		return outcome{stdout: out.Bytes(), stderr: errs.Bytes()}
	}
	orchestration := fmt.Sprintf("%s/%s/document/orchestration/%s/awsrunShellScript/0.awsrunShellScript", agentData, v.node, d.c.id)
	d.h.w.Mu.RLock()
	noexec := strings.HasSuffix(d.h.w.CommandReason(v.in), "is mounted noexec")
	d.h.w.Mu.RUnlock()
	if noexec {
		return failedScript(126, []byte("sh: "+orchestration+"/_script.sh: Permission denied\n"))
	}
	var out, errs bytes.Buffer
	text := strings.Join(d.c.parameters["commands"], "\n") + "\n"
	status := d.h.run(ctx, m, command{
		account: account{name: "root", home: "/root", shell: "/bin/sh"}, script: []byte(text), dir: m.workingDirectory(d.c.parameters, orchestration),
		limit: d.c.execution, parent: m.agentPID() + 40, stdout: &out, stderr: &errs,
		env: map[string]string{"AWS_SSM_INSTANCE_ID": v.node, "AWS_SSM_REGION_NAME": m.Region.Name, "PWD": "/usr/bin"},
	})
	switch {
	case status == statusTimedOut:
		return outcome{timedOut: true, stdout: out.Bytes(), stderr: errs.Bytes()}
	case status != 0:
		o := failedScript(status, errs.Bytes())
		o.stdout = out.Bytes()
		return o
	}
	return outcome{stdout: out.Bytes(), stderr: errs.Bytes()}
}

// failedScript is what the agent makes of a script's failure: it adds a line of its own.
func failedScript(status int, errs []byte) outcome {
	return outcome{code: status, stderr: fmt.Appendf(bytes.Clone(errs), "failed to run commands: exit status %d", status)}
}

// workingDirectory is where a script runs: where the parameter says, or in the
// agent's own folder for the command.
func (m *machine) workingDirectory(parameters map[string][]string, otherwise string) string {
	if v := parameters["workingDirectory"]; len(v) > 0 && v[0] != "" {
		return v[0]
	}
	if (&process{m: m}).makeDirs(otherwise, 0o700) != nil {
		return "/"
	}
	return otherwise
}

// updateAgent is AWS-UpdateSSMAgent: it gets the current version from the
// Region's bucket and restarts the agent.
func (d *dispatcher) updateAgent(ctx context.Context, v *invocation) outcome {
	if d.h.wait(ctx, updateTakes) != nil {
		return outcome{code: 1}
	}
	m := d.h.machine(v.in)
	if p := m.agentEgress("s3"); !p.TLS {
		return outcome{code: 1, stderr: []byte("Failed to update amazon-ssm-agent: failed to download file reliably: " + p.Host + ": " + p.Reason)}
	}
	if m.full("/var/lib/amazon/ssm/update", false) {
		return outcome{code: 1, stderr: []byte("Failed to update amazon-ssm-agent: no space left on device")}
	}
	from := m.Agent.Version
	if versionLess(from, agentCurrent) {
		d.h.changeAgent(v.in, func(a *Agent, now time.Time) {
			a.Version = agentCurrent
			a.start(now)
		})
		return outcome{stdout: fmt.Appendf(nil, "Updating amazon-ssm-agent from %s to %s\nSuccessfully updated amazon-ssm-agent from %s to %s\n", from, agentCurrent, from, agentCurrent)}
	}
	return outcome{stdout: fmt.Appendf(nil, "amazon-ssm-agent %s has already been installed, update skipped\n", from)}
}

// clip cuts text off after a number of characters.
func clip(b []byte, characters int) []byte {
	n := 0
	for i := range string(bytes.ToValidUTF8(b, []byte("\uFFFD"))) {
		if n++; n > characters {
			return bytes.ToValidUTF8(b, []byte("\uFFFD"))[:i]
		}
	}
	return bytes.ToValidUTF8(b, []byte("\uFFFD"))
}
