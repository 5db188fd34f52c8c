package awsapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"ssm-migrate/internal/fleet"
)

// Commands runs scripts on instances by Run Command. Its methods may run
// concurrently; that is how it is quick: the same script for many instances
// of a place goes out in one call for up to 50 of them.
type Commands struct {
	changer *Changer
	rhythm  rhythm

	mu      sync.Mutex
	batches map[batchKey]*batch // guarded by mu; those that still take instances
}

// NewCommands runs scripts with the accesses of a Changer.
func NewCommands(c *Changer) *Commands {
	return &Commands{changer: c, batches: map[batchKey]*batch{}}
}

const (
	apiSend    = "ssm:SendCommand"
	apiResults = "ssm:ListCommandInvocations"
	apiResult  = "ssm:GetCommandInvocation"

	runDocument = "AWS-RunShellScript"
	runPlugin   = "aws:runShellScript"

	// most is how many instances one SendCommand takes (API reference).
	mostInstances = 50
	// gather is how long a script waits for others of its kind to go with it.
	gather = 100 * time.Millisecond
	// deliver is how long Systems Manager tries to hand a command to an agent;
	// 30 s is the least that it takes.
	deliver = time.Minute
	// spare is added to what a command may take before its end is given up on.
	spare = 30 * time.Second
	// mostOutput is where GetCommandInvocation cuts standard output.
	mostOutput = 24_000
)

// batchKey tells what goes out together.
type batchKey struct {
	at      fleet.Place
	name    string
	text    string
	timeout time.Duration
}

// batch is one script on its way to several instances.
type batch struct {
	key    batchKey
	full   chan struct{} // closed when it takes no more
	done   chan struct{} // closed when results is whole
	cancel context.CancelFunc

	// Guarded by Commands.mu.
	ids     []string
	waiting int

	results map[string]fleet.ScriptResult // set before done is closed
}

// Run runs a script as root. The other ways are not this type's: on them nothing starts.
func (c *Commands) Run(ctx context.Context, h fleet.Host, way fleet.Way, s fleet.Script) fleet.ScriptResult {
	no := func(why string) fleet.ScriptResult {
		return fleet.ScriptResult{Started: fleet.TruthNo, Way: fleet.WaySessionManager, Reason: why}
	}
	switch {
	case way != fleet.WaySessionManager:
		return no("Run Command is no " + string(way) + " way")
	case h.Windows():
		return no("the host runs Windows")
	case strings.Contains(s.Text, "{{"):
		return no("Systems Manager would put something in place of {{ in the script")
	case ctx.Err() != nil:
		return no(ctx.Err().Error())
	}
	b := c.join(ctx, h, s)
	select {
	case <-b.done:
	case <-ctx.Done():
		if !c.leave(b) {
			return fleet.ScriptResult{Way: fleet.WaySessionManager, Reason: ctx.Err().Error()}
		}
	}
	r, ok := b.results[h.ID]
	if !ok {
		r = fleet.ScriptResult{Way: fleet.WaySessionManager, Reason: "the answer was lost"}
	}
	return r
}

// join adds the instance to a batch that is about to go out, or begins one.
func (c *Commands) join(ctx context.Context, h fleet.Host, s fleet.Script) *batch {
	key := batchKey{at: h.Ref().Place(), name: s.Name, text: s.Text, timeout: cmp.Or(s.Timeout, time.Minute)}
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.batches[key]
	// An instance that is in it already must get the script once more.
	if b == nil || slices.Contains(b.ids, h.ID) {
		// It serves several callers, and ends when the last of them has gone.
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		b = &batch{key: key, full: make(chan struct{}), done: make(chan struct{}), cancel: cancel}
		c.batches[key] = b
		go c.carry(own, b)
	}
	b.ids = append(b.ids, h.ID)
	b.waiting++
	if len(b.ids) == mostInstances {
		delete(c.batches, key)
		close(b.full)
	}
	return b
}

// leave gives up on a batch. Whoever is the last to do so ends it, and waits for
// that, so that nothing outlives the calls.
func (c *Commands) leave(b *batch) (ended bool) {
	c.mu.Lock()
	b.waiting--
	last := b.waiting == 0
	c.mu.Unlock()
	if !last {
		return false
	}
	b.cancel()
	<-b.done
	return true
}

// carry waits for company, sends the batch and collects its results.
func (c *Commands) carry(ctx context.Context, b *batch) {
	defer close(b.done)
	defer b.cancel()
	t := time.NewTimer(gather)
	select {
	case <-t.C:
	case <-b.full:
	case <-ctx.Done():
	}
	t.Stop()
	c.mu.Lock()
	if c.batches[b.key] == b {
		delete(c.batches, b.key)
	}
	ids := slices.Clone(b.ids)
	c.mu.Unlock()
	slices.Sort(ids) // they came in no order

	r := &commandRun{key: b.key, rhythm: &c.rhythm, results: map[string]fleet.ScriptResult{}}
	b.results = r.results
	if ctx.Err() != nil {
		r.none(ids, fleet.TruthNo, ctx.Err().Error())
		return
	}
	p, err := c.changer.in(ctx, b.key.at)
	if err != nil {
		r.none(ids, fleet.TruthNo, err.Error())
		return
	}
	r.ssm, r.account = p.ssm, p.account
	r.run(ctx, r.online(ctx, ids))
}

// commandRun is one batch in the hands of Systems Manager.
type commandRun struct {
	ssm     *ssm.Client
	account *Account
	key     batchKey
	rhythm  *rhythm

	mu      sync.Mutex
	results map[string]fleet.ScriptResult // guarded by mu
}

func (r *commandRun) set(id string, res fleet.ScriptResult) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results[id] = res
}

// none sets the result of instances on which nothing was seen to run.
func (r *commandRun) none(ids []string, started fleet.Truth, why string) {
	for _, id := range ids {
		r.set(id, fleet.ScriptResult{Started: started, Way: fleet.WaySessionManager, Reason: why})
	}
}

// online leaves out instances that Systems Manager does not reach now: one of
// them would fail the call for all. What cannot be told is left in.
func (r *commandRun) online(ctx context.Context, ids []string) []string {
	reach := map[string]string{}
	err := pages(ctx, func(ctx context.Context, token *string) (*string, error) {
		out, err := r.ssm.DescribeInstanceInformation(ctx, &ssm.DescribeInstanceInformationInput{
			Filters:    []types.InstanceInformationStringFilter{{Key: aws.String("InstanceIds"), Values: ids}},
			MaxResults: aws.Int32(50), NextToken: token,
		})
		if err != nil {
			return nil, err
		}
		for _, i := range out.InstanceInformationList {
			reach[aws.ToString(i.InstanceId)] = string(i.PingStatus)
		}
		return out.NextToken, nil
	})
	if err != nil {
		return ids
	}
	return slices.DeleteFunc(ids, func(id string) bool {
		switch reach[id] {
		case string(types.PingStatusOnline):
			return false
		case "":
			r.none([]string{id}, fleet.TruthNo, "Systems Manager does not list the instance: it is no managed node, or is stopped")
		default:
			r.none([]string{id}, fleet.TruthNo, "Systems Manager lists the instance as "+clean(reach[id]))
		}
		return true
	})
}

// run sends the script. Systems Manager refuses a whole call for one instance
// that it does not want: then the halves go for themselves.
func (r *commandRun) run(ctx context.Context, ids []string) {
	if len(ids) == 0 {
		return
	}
	out, err := r.ssm.SendCommand(ctx, &ssm.SendCommandInput{
		DocumentName:   aws.String(runDocument),
		InstanceIds:    ids,
		Comment:        aws.String(clip("migrate: "+r.key.name, 100)),
		TimeoutSeconds: aws.Int32(int32(deliver / time.Second)),
		MaxConcurrency: aws.String("100%"),
		MaxErrors:      aws.String("100%"),
		Parameters: map[string][]string{
			"commands":         {r.key.text},
			"executionTimeout": {strconv.Itoa(int(max(r.key.timeout, time.Second) / time.Second))},
		},
	}, onlyIfRefused)
	var invalid *types.InvalidInstanceId
	switch {
	case errors.As(err, &invalid) && len(ids) > 1:
		// Side by side: the good half must not wait for what becomes of the other.
		half := len(ids) / 2
		var other sync.WaitGroup
		other.Go(func() { r.run(ctx, ids[:half]) })
		r.run(ctx, ids[half:])
		other.Wait()
	case errors.As(err, &invalid):
		r.none(ids, fleet.TruthNo, "Systems Manager cannot send to the instance: its agent is down, it is not registered, or the policy does not allow it")
	case err != nil:
		started := fleet.TruthUnknown
		if code(err) != "" && httpStatus(err) < 500 || connectFailed(err) {
			started = fleet.TruthNo // an answer, or no connection: nothing was sent
		}
		r.none(ids, started, r.refusal(err))
	case out.Command == nil || aws.ToString(out.Command.CommandId) == "":
		r.none(ids, fleet.TruthUnknown, "SendCommand answered without a command")
	default:
		r.collect(ctx, aws.ToString(out.Command.CommandId), ids)
	}
}

// refusal tells what to allow where something is denied.
func (r *commandRun) refusal(err error) string {
	why := apiSend + ": " + r.account.failure(apiSend, err).Error()
	if code(err) == "AccessDeniedException" {
		why += "; allow " + apiSend + " on the document " + runDocument + " and on the instances, and " + apiResults + " and " + apiResult
	}
	return why
}

// onlyIfRefused keeps the SDK from sending a command again that may have been
// sent: SendCommand takes no client token.
func onlyIfRefused(o *ssm.Options) { o.Retryer = refusedOnly{o.Retryer} }

type refusedOnly struct{ aws.Retryer }

// IsErrorRetryable reports whether the call certainly had no effect.
func (r refusedOnly) IsErrorRetryable(err error) bool {
	return r.Retryer.IsErrorRetryable(err) && (throttleCode(err) != "" || connectFailed(err))
}

// collect waits for the end of the command on all instances, and reads what it
// printed there.
func (r *commandRun) collect(ctx context.Context, command string, ids []string) {
	limit := deliver + r.key.timeout + spare
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	open := map[string]bool{}
	for _, id := range ids {
		open[id] = true
	}
	last := map[string]string{}
	var trouble error
	sent := time.Now()
	for pause := r.rhythm.begin(); len(open) > 0; pause = longer(pause) {
		if !rest(ctx, pause) {
			break
		}
		var states map[string]string
		if states, trouble = r.states(ctx, command); trouble != nil {
			continue
		}
		for _, id := range ids {
			state, known := states[id]
			if !open[id] || !known {
				continue // it takes a moment until an invocation is listed
			}
			last[id] = state
			if unfinished[state] {
				continue
			}
			if len(open) == len(ids) {
				r.rhythm.ended(time.Since(sent))
			}
			if res, ok := r.result(ctx, command, id, state); ok {
				r.set(id, res)
				delete(open, id)
			}
		}
	}
	for _, id := range ids {
		if open[id] {
			why := fmt.Sprintf("no end within %s (last state: %s)", limit, cmp.Or(clean(last[id]), "not listed"))
			if trouble != nil {
				why += "; " + r.account.failure(apiResults, trouble).Error()
			}
			started := fleet.TruthUnknown
			if last[id] == "InProgress" {
				started = fleet.TruthYes
			}
			r.none([]string{id}, started, why)
		}
	}
}

func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// unfinished are the details of states that another one follows.
var unfinished = map[string]bool{"Pending": true, "InProgress": true, "In Progress": true, "Delayed": true, "Cancelling": true}

// states gives the detailed state of the command on each instance.
func (r *commandRun) states(ctx context.Context, command string) (map[string]string, error) {
	out := map[string]string{}
	err := pages(ctx, func(ctx context.Context, token *string) (*string, error) {
		page, err := r.ssm.ListCommandInvocations(ctx, &ssm.ListCommandInvocationsInput{CommandId: aws.String(command), MaxResults: aws.Int32(50), NextToken: token})
		if err != nil {
			return nil, err
		}
		for _, i := range page.CommandInvocations {
			out[aws.ToString(i.InstanceId)] = cmp.Or(aws.ToString(i.StatusDetails), string(i.Status))
		}
		return page.NextToken, nil
	})
	return out, err
}

// result reads how the command ended on an instance; ok is false where the
// answer has to be asked for again.
func (r *commandRun) result(ctx context.Context, command, id, state string) (fleet.ScriptResult, bool) {
	res := fleet.ScriptResult{Way: fleet.WaySessionManager}
	if why, never := neverRan[strings.ReplaceAll(state, " ", "")]; never {
		res.Started, res.Reason = fleet.TruthNo, why
		return res, true
	}
	out, err := r.ssm.GetCommandInvocation(ctx, &ssm.GetCommandInvocationInput{CommandId: aws.String(command), InstanceId: aws.String(id), PluginName: aws.String(runPlugin)})
	if err != nil {
		if code(err) == "AccessDeniedException" {
			res.Reason = apiResult + ": " + r.account.failure(apiResult, err).Error() + "; allow " + apiResult
			return res, true
		}
		return res, false
	}
	res.Stdout, res.Stderr = []byte(aws.ToString(out.StandardOutputContent)), []byte(aws.ToString(out.StandardErrorContent))
	res.Cut = len(res.Stdout) >= mostOutput || strings.HasSuffix(strings.TrimSpace(string(res.Stdout)), "--output truncated--")
	switch {
	case out.ResponseCode >= 0 && (state == "Success" || state == "Failed"):
		res.Started, res.Ended, res.Exit = fleet.TruthYes, true, int(out.ResponseCode)
	case state == "Failed":
		res.Started, res.Reason = fleet.TruthNo, "the agent could not start it"
		if len(res.Stdout) > 0 {
			res.Started = fleet.TruthUnknown
		}
	default: // ExecutionTimedOut, Cancelled and whatever may come
		res.Reason = "ended as " + clean(state)
		if len(res.Stdout) > 0 || strings.Contains(state, "ExecutionTimedOut") {
			res.Started = fleet.TruthYes
		}
	}
	return res, true
}

// neverRan are the states in which a command did not reach its instance.
// Source: Systems Manager User Guide, "Understanding command statuses".
var neverRan = map[string]string{
	"DeliveryTimedOut": "the command was not delivered in time: the agent does not answer",
	"Undeliverable":    "the command could not be delivered: the agent is not there",
	"Terminated":       "the command was withdrawn before it was delivered",
	"InvalidPlatform":  "the document does not fit the instance's operating system",
	"AccessDenied":     "Systems Manager was denied access to the instance",
	"RateExceeded":     "too many commands were under way in the account",
}

// clip cuts a text to at most n bytes.
func clip(s string, n int) string { return s[:min(len(s), n)] }
