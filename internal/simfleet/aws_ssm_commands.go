package simfleet

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"ssm-migrate/internal/fleet"
)

// commandTasks are Run Command.
var commandTasks = map[string]operation{
	"SendCommand": sendCommand, "GetCommandInvocation": getCommandInvocation, "ListCommands": listCommands,
	"ListCommandInvocations": listCommandInvocations, "CancelCommand": cancelCommand,
}

// commandLog holds the commands that were sent.
type commandLog struct {
	mu   sync.Mutex
	list []*sentCommand // guarded by mu, and so is all in them that changes; oldest first
}

// sentCommand is one command with its invocations.
type sentCommand struct {
	id, document, version, comment, by string
	region                             *Region
	parameters                         map[string][]string
	targets                            []commandTarget
	instances                          []string // as the request named them
	concurrency, errors                string   // as the request has them
	created                            time.Time
	delivery, execution                time.Duration
	invocations                        []*invocation
	cancelled                          bool
}

type commandTarget struct {
	Key    string
	Values []string
}

// invocation is a command's copy for one node.
type invocation struct {
	node           string
	in             *Instance // nil: a node outside EC2
	visible        bool      // GetCommandInvocation knows of it
	status         string
	details        string
	code           int
	stdout, stderr []byte
	began, ended   time.Time
	stop           context.CancelFunc
}

func (v *invocation) done() bool {
	return v.status != "Pending" && v.status != "InProgress" && v.status != "Cancelling"
}

// runDocuments are the documents of Amazon that run here, with their
// parameters and the plugin that does the work.
var runDocuments = map[string]struct {
	plugin     string
	parameters []string
}{
	"AWS-RunShellScript": {"aws:runShellScript", []string{"commands", "workingDirectory", "executionTimeout"}},
	"AWS-UpdateSSMAgent": {"aws:updateSsmAgent", []string{"version", "allowDowngrade"}},
}

// Limits of SendCommand. Source: API reference.
const (
	maxCommandNodes  = 50
	defaultDelivery  = time.Hour
	defaultExecution = time.Hour
	maxExecution     = 48 * time.Hour
)

type sendRequest struct {
	InstanceIDs     []string `json:"InstanceIds"`
	Targets         []commandTarget
	DocumentName    string
	DocumentVersion string
	TimeoutSeconds  *int
	Comment         string
	Parameters      map[string][]string
	MaxConcurrency  string
	MaxErrors       string
}

// check refuses what the service refuses whatever the nodes are.
func (r *sendRequest) check() error {
	invalid := func(format string, args ...any) error {
		return refuse("ValidationException", "1 validation error detected: "+format, args...)
	}
	switch {
	case r.DocumentName == "":
		return invalid("Value null at 'documentName' failed to satisfy constraint: Member must not be null")
	case len(r.InstanceIDs) > maxCommandNodes:
		return invalid("Value '%v' at 'instanceIds' failed to satisfy constraint: Member must have length less than or equal to 50", r.InstanceIDs)
	case len(r.InstanceIDs) > 0 && len(r.Targets) > 0, len(r.InstanceIDs) == 0 && len(r.Targets) == 0:
		return refuse("InvalidParameters", "Specify either InstanceIds or Targets")
	case len(r.Targets) > 5:
		return invalid("Value at 'targets' failed to satisfy constraint: Member must have length less than or equal to 5")
	case len(r.Comment) > 100:
		return invalid("Value at 'comment' failed to satisfy constraint: Member must have length less than or equal to 100")
	case r.TimeoutSeconds != nil && (*r.TimeoutSeconds < 30 || *r.TimeoutSeconds > 2_592_000):
		return invalid("Value '%d' at 'timeoutSeconds' failed to satisfy constraint: Member must have value between 30 and 2592000", *r.TimeoutSeconds)
	}
	for i, id := range r.InstanceIDs {
		if slices.Contains(r.InstanceIDs[:i], id) {
			return refuse("DuplicateInstanceId", "")
		}
	}
	for _, n := range []string{r.MaxConcurrency, r.MaxErrors} {
		if _, err := shareOf(n, 1); n != "" && err != nil {
			return invalid("Value '%s' failed to satisfy constraint: Member must satisfy regular expression pattern", n)
		}
	}
	d, ok := runDocuments[r.DocumentName]
	if !ok || r.DocumentVersion != "" && r.DocumentVersion != "1" && !strings.HasPrefix(r.DocumentVersion, "$") {
		return refuse("InvalidDocument", "document %s does not exist, or is no command document", r.DocumentName)
	}
	for name := range r.Parameters {
		if !slices.Contains(d.parameters, name) {
			return refuse("InvalidParameters", "document %s does not support parameters", name)
		}
	}
	if d.plugin == "aws:runShellScript" && len(r.Parameters["commands"]) == 0 {
		return refuse("InvalidParameters", "Parameter \"commands\" requires a value.")
	}
	if v := r.Parameters["executionTimeout"]; len(v) > 0 {
		if n, ok := decimal(v[0]); !ok || n < 1 || time.Duration(n)*time.Second > maxExecution {
			return refuse("InvalidParameters", "Parameter \"executionTimeout\" does not match its pattern.")
		}
	}
	return nil
}

// shareOf reads "10" or "10%" of a whole; of a percentage at least one.
func shareOf(text string, whole int) (int, error) {
	number, percent := strings.CutSuffix(text, "%")
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || percent && n > 100 {
		return 0, fmt.Errorf("bad number %q", text)
	}
	if percent {
		return int(math.Ceil(float64(n*whole) / 100)), nil
	}
	return n, nil
}

func sendCommand(c *call) (any, error) {
	var r sendRequest
	if err := c.decode(&r); err != nil {
		return nil, err
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	cmd := &sentCommand{document: r.DocumentName, version: r.DocumentVersion, comment: r.Comment, by: c.callerARN(), region: c.region, parameters: r.Parameters,
		targets: r.Targets, instances: r.InstanceIDs, concurrency: r.MaxConcurrency, errors: r.MaxErrors, created: c.w.Now().UTC(),
		delivery: defaultDelivery, execution: defaultExecution}
	if cmd.concurrency == "" {
		cmd.concurrency = "50"
	}
	if cmd.errors == "" {
		cmd.errors = "0"
	}
	if r.TimeoutSeconds != nil {
		cmd.delivery = time.Duration(*r.TimeoutSeconds) * time.Second
	}
	if v := r.Parameters["executionTimeout"]; len(v) > 0 {
		n, _ := decimal(v[0])
		cmd.execution = time.Duration(n) * time.Second
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d command %s", c.w.Seed, c.id))
	cmd.id = fmt.Sprintf("%x-%x-4%03x-8%03x-%x", sum[:4], sum[4:6], int(sum[6])<<4|int(sum[7])>>4, int(sum[8])<<4|int(sum[9])>>4, sum[10:16])
	c.w.Mu.RLock()
	err := cmd.aim(c)
	c.w.Mu.RUnlock()
	if err != nil {
		return nil, err
	}
	s := c.server
	s.commands.mu.Lock()
	s.commands.list = append(s.commands.list, cmd)
	out := cmd.info()
	s.commands.mu.Unlock()
	if h := s.o.Hosts; h != nil {
		h.wg.Go(func() { (&dispatcher{s: s, h: h, c: cmd}).run() })
	}
	return map[string]any{"Command": out}, nil
}

// aim finds the nodes and checks that the caller may use them. By instance IDs,
// one node that is not managed fails the whole call.
func (cmd *sentCommand) aim(c *call) error {
	p, session, known := c.principal()
	document := fmt.Sprintf("arn:aws:ssm:%s::document/%s", c.region.Name, cmd.document)
	if known && !c.account.judge(p, c.request(session, "ssm:SendCommand", document)).yes() {
		return c.deniedOn("ssm:SendCommand", document)
	}
	add := func(id string, in *Instance) { // an invocation that waits
		cmd.invocations = append(cmd.invocations, &invocation{node: id, in: in, status: "Pending", details: "Pending", code: -1})
	}
	if len(cmd.instances) == 0 {
		for _, in := range c.region.Instances {
			if listed, _, _ := c.w.nodeState(in); !listed || !cmd.targeted(in) {
				continue
			}
			add(in.Host.ID, in)
			if known && !c.maySend(p, session, in) {
				last := cmd.invocations[len(cmd.invocations)-1]
				last.visible, last.status, last.details = true, "Failed", "Access Denied"
			}
		}
		return nil
	}
	var bad []string
	for _, id := range cmd.instances {
		in := find(c.region.Instances, func(in *Instance) bool { return in.Host.ID == id })
		node := find(c.region.Hybrid, func(n *fleet.Node) bool { return n.ID == id })
		switch {
		case in != nil && known && !c.maySend(p, session, in):
			return c.deniedOn("ssm:SendCommand", instanceARN(c.region, id))
		case in != nil && c.w.Online(in), node != nil && node.PingStatus == "Online":
			add(id, in)
		default:
			bad = append(bad, id)
		}
	}
	if len(bad) > 0 {
		return refuse("InvalidInstanceId", "Instances [[%s]] not in a valid state for account %s", strings.Join(bad, ", "), c.account.ID)
	}
	for _, v := range cmd.invocations {
		if v.in != nil && v.in.OS.Family == "windows" && cmd.document == "AWS-RunShellScript" {
			return refuse("UnsupportedPlatformType", "The document %s is not supported on %s", cmd.document, v.node)
		}
	}
	return nil
}

func (c *call) maySend(p principal, session string, in *Instance) bool {
	q := c.request(session, "ssm:SendCommand", instanceARN(in.Region, in.Host.ID))
	for k, v := range in.Host.Tags {
		for _, prefix := range []string{"aws:resourcetag/", "ssm:resourcetag/", "ec2:resourcetag/"} {
			q.context[prefix+strings.ToLower(k)] = []string{v}
		}
	}
	return c.account.judge(p, q).yes()
}

// targeted reports whether all targets fit the instance.
func (cmd *sentCommand) targeted(in *Instance) bool {
	return !slices.ContainsFunc(cmd.targets, func(t commandTarget) bool {
		switch key, isTag := strings.CutPrefix(t.Key, "tag:"); {
		case isTag:
			v, has := in.Host.Tags[key]
			return !has || !slices.Contains(t.Values, v)
		case t.Key == "tag-key":
			return !slices.ContainsFunc(t.Values, func(k string) bool { _, has := in.Host.Tags[k]; return has })
		case strings.EqualFold(t.Key, "InstanceIds"):
			return !slices.Contains(t.Values, "*") && !slices.Contains(t.Values, in.Host.ID)
		}
		return true
	})
}
