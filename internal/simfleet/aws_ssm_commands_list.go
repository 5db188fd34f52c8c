package simfleet

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

type pluginInfo struct {
	Name          string
	Status        string
	StatusDetails string
	ResponseCode  int
	Start         *seconds `json:"ResponseStartDateTime,omitempty"`
	Finish        *seconds `json:"ResponseFinishDateTime,omitempty"`
	Output        string
}

// info is a command as SendCommand and ListCommands show it. The caller holds
// the log's lock.
func (cmd *sentCommand) info() map[string]any {
	status, details := cmd.status()
	done, failed, late := 0, 0, 0
	for _, v := range cmd.invocations {
		if v.done() {
			done++
		}
		switch v.details {
		case "Failed", "Execution Timed Out", "Undeliverable", "Access Denied":
			failed++
		case "Delivery Timed Out":
			late++
		}
	}
	targets := []map[string]any{}
	for _, t := range cmd.targets {
		targets = append(targets, map[string]any{"Key": t.Key, "Values": t.Values})
	}
	parameters := cmd.parameters
	if parameters == nil {
		parameters = map[string][]string{}
	}
	return map[string]any{
		"CommandId": cmd.id, "DocumentName": cmd.document, "DocumentVersion": cmd.version, "Comment": cmd.comment, "Parameters": parameters,
		"InstanceIds": append([]string{}, cmd.instances...), "Targets": targets, "RequestedDateTime": seconds(cmd.created), "ExpiresAfter": seconds(cmd.created.Add(cmd.delivery + cmd.execution)),
		"Status": status, "StatusDetails": details, "MaxConcurrency": cmd.concurrency, "MaxErrors": cmd.errors, "TargetCount": len(cmd.invocations), "CompletedCount": done,
		"ErrorCount": failed, "DeliveryTimedOutCount": late, "TimeoutSeconds": int(cmd.delivery.Seconds()), "OutputS3BucketName": "", "OutputS3KeyPrefix": "", "ServiceRole": "",
		"NotificationConfig": map[string]any{"NotificationArn": "", "NotificationEvents": []string{}, "NotificationType": ""}, "CloudWatchOutputConfig": cloudWatchOff(),
	}
}

func cloudWatchOff() map[string]any {
	return map[string]any{"CloudWatchLogGroupName": "", "CloudWatchOutputEnabled": false}
}

// status sums the invocations up. Source: Systems Manager User Guide, monitor-commands.
func (cmd *sentCommand) status() (status, details string) {
	if len(cmd.invocations) == 0 {
		return "Success", "No Instances In Tag"
	}
	count := map[string]int{}
	open := 0
	for _, v := range cmd.invocations {
		count[v.details]++
		if !v.done() {
			open++
		}
	}
	errors := count["Failed"] + count["Execution Timed Out"]
	most, _ := shareOf(cmd.errors, len(cmd.invocations))
	switch {
	case open > 0 && cmd.cancelled:
		return "Cancelling", "Cancelling"
	case open == len(cmd.invocations) && count["Pending"] == open:
		return "Pending", "Pending"
	case open > 0:
		return "InProgress", "In Progress"
	case cmd.cancelled:
		return "Cancelled", "Cancelled"
	case count["Success"] == len(cmd.invocations):
		return "Success", "Success"
	case errors > most && count["Failed"] > 0:
		return "Failed", "Failed"
	case errors > most:
		return "TimedOut", "Execution Timed Out"
	case count["Delivery Timed Out"] == len(cmd.invocations):
		return "TimedOut", "Delivery Timed Out"
	}
	return "Failed", "Incomplete"
}

func (cmd *sentCommand) plugin() string { return runDocuments[cmd.document].plugin }

var commandIDForm = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// sent finds a command of the caller's account and Region. The caller holds the
// log's lock.
func (c *call) sent(id string) *sentCommand {
	return find(c.server.commands.list, func(cmd *sentCommand) bool {
		return cmd.id == id && cmd.region.Account == c.account && cmd.region.Name == c.region.Name
	})
}

func getCommandInvocation(c *call) (any, error) {
	var r struct {
		CommandID  string `json:"CommandId"`
		InstanceID string `json:"InstanceId"`
		PluginName string
	}
	if err := c.decode(&r); err != nil {
		return nil, err
	}
	switch {
	case !commandIDForm.MatchString(r.CommandID):
		return nil, refuse("InvalidCommandId", "")
	case r.InstanceID == "":
		return nil, refuse("InvalidInstanceId", "")
	}
	log := &c.server.commands
	log.mu.Lock()
	defer log.mu.Unlock()
	var v *invocation
	cmd := c.sent(r.CommandID)
	if cmd != nil {
		v = find(cmd.invocations, func(v *invocation) bool { return v.node == r.InstanceID && v.visible })
	}
	switch {
	case v == nil:
		return nil, refuse("InvocationDoesNotExist", "")
	case r.PluginName != "" && r.PluginName != cmd.plugin():
		return nil, refuse("InvalidPluginName", "")
	}
	out := map[string]any{
		"CommandId": cmd.id, "InstanceId": v.node, "Comment": cmd.comment, "DocumentName": cmd.document, "DocumentVersion": cmd.version, "PluginName": cmd.plugin(),
		"ResponseCode": v.code, "Status": v.status, "StatusDetails": v.details, "StandardOutputContent": "", "StandardErrorContent": "",
		"StandardOutputUrl": "", "StandardErrorUrl": "", "ExecutionStartDateTime": "", "ExecutionEndDateTime": "", "ExecutionElapsedTime": "", "CloudWatchOutputConfig": cloudWatchOff(),
	}
	if !v.began.IsZero() {
		out["ExecutionStartDateTime"] = v.began.Format("2006-01-02T15:04:05.000Z")
	}
	if v.done() {
		out["StandardOutputContent"], out["StandardErrorContent"] = string(v.stdout), string(v.stderr)
		if !v.ended.IsZero() {
			out["ExecutionEndDateTime"] = v.ended.Format("2006-01-02T15:04:05.000Z")
			out["ExecutionElapsedTime"] = fmt.Sprintf("PT%gS", v.ended.Sub(v.began).Truncate(time.Millisecond).Seconds())
		}
	}
	return out, nil
}

// commandFilter is one of ListCommands' and ListCommandInvocations' filters.
type commandFilter struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// matches reports whether a command passes, with the status that counts for it.
func (f commandFilter) matches(cmd *sentCommand, status string) (bool, error) {
	switch f.Key {
	case "Status":
		return f.Value == status, nil
	case "DocumentName":
		return f.Value == cmd.document, nil
	case "InvokedAfter":
		return cmd.created.After(filterTime(f.Value)), nil
	case "InvokedBefore":
		return cmd.created.Before(filterTime(f.Value)), nil
	}
	return false, refuse("InvalidFilterKey", "%s is not a valid filter key", f.Key)
}

type listRequest struct {
	CommandID  string `json:"CommandId"`
	InstanceID string `json:"InstanceId"`
	MaxResults *int
	NextToken  string
	Details    bool
	Filters    []commandFilter
}

func (r *listRequest) passes(cmd *sentCommand, status string) (bool, error) {
	for _, f := range r.Filters {
		if ok, err := f.matches(cmd, status); err != nil || !ok {
			return false, err
		}
	}
	return r.CommandID == "" || r.CommandID == cmd.id, nil
}

// commands lists the caller's, the newest first. The caller holds the log's lock.
func (c *call) commands() []*sentCommand {
	own := filter(c.server.commands.list, func(cmd *sentCommand) bool {
		return cmd.region.Account == c.account && cmd.region.Name == c.region.Name
	})
	slices.Reverse(own)
	return own
}

func listCommands(c *call) (any, error) {
	var r listRequest
	if err := c.decode(&r); err != nil {
		return nil, err
	}
	log := &c.server.commands
	log.mu.Lock()
	defer log.mu.Unlock()
	rows := []map[string]any{}
	for _, cmd := range c.commands() {
		status, _ := cmd.status()
		ok, err := r.passes(cmd, status)
		if err != nil {
			return nil, err
		}
		if ok && (r.InstanceID == "" || slices.ContainsFunc(cmd.invocations, func(v *invocation) bool { return v.node == r.InstanceID })) {
			rows = append(rows, cmd.info())
		}
	}
	rows, next, err := jsonPage(c, rows, r.MaxResults, r.NextToken, 50, "ValidationException", "InvalidNextToken")
	return struct {
		Commands  []map[string]any
		NextToken string `json:",omitempty"`
	}{rows, next}, err
}

func listCommandInvocations(c *call) (any, error) {
	var r listRequest
	if err := c.decode(&r); err != nil {
		return nil, err
	}
	if r.CommandID != "" && !commandIDForm.MatchString(r.CommandID) {
		return nil, refuse("InvalidCommandId", "")
	}
	log := &c.server.commands
	log.mu.Lock()
	defer log.mu.Unlock()
	rows := []map[string]any{}
	for _, cmd := range c.commands() {
		for _, v := range cmd.invocations {
			ok, err := r.passes(cmd, v.status)
			if err != nil {
				return nil, err
			}
			if ok && v.visible && (r.InstanceID == "" || r.InstanceID == v.node) {
				rows = append(rows, cmd.invocationInfo(v, r.Details))
			}
		}
	}
	rows, next, err := jsonPage(c, rows, r.MaxResults, r.NextToken, 50, "ValidationException", "InvalidNextToken")
	return struct {
		CommandInvocations []map[string]any
		NextToken          string `json:",omitempty"`
	}{rows, next}, err
}

func (cmd *sentCommand) invocationInfo(v *invocation, details bool) map[string]any {
	plugins := []pluginInfo{}
	if details {
		p := pluginInfo{Name: cmd.plugin(), Status: v.status, StatusDetails: v.details, ResponseCode: v.code}
		if !v.began.IsZero() {
			p.Start = (*seconds)(&v.began)
		}
		if v.done() {
			text := string(v.stdout)
			if len(v.stderr) > 0 {
				text += "\n----------ERROR-------\n" + string(v.stderr)
			}
			p.Output = string(clip([]byte(text), maxPluginOutput))
			if !v.ended.IsZero() {
				p.Finish = (*seconds)(&v.ended)
			}
		}
		plugins = append(plugins, p)
	}
	return map[string]any{
		"CommandId": cmd.id, "InstanceId": v.node, "InstanceName": "", "Comment": cmd.comment, "DocumentName": cmd.document, "DocumentVersion": cmd.version,
		"RequestedDateTime": seconds(cmd.created), "Status": v.status, "StatusDetails": v.details, "StandardOutputUrl": "", "StandardErrorUrl": "", "TraceOutput": "",
		"CommandPlugins": plugins, "ServiceRole": "", "CloudWatchOutputConfig": cloudWatchOff(),
		"NotificationConfig": map[string]any{"NotificationArn": "", "NotificationEvents": []string{}, "NotificationType": ""},
	}
}

// cancelCommand takes back what has not been delivered, and asks agents to end
// what runs.
func cancelCommand(c *call) (any, error) {
	var r struct {
		CommandID   string   `json:"CommandId"`
		InstanceIDs []string `json:"InstanceIds"`
	}
	if err := c.decode(&r); err != nil {
		return nil, err
	}
	log := &c.server.commands
	log.mu.Lock()
	defer log.mu.Unlock()
	cmd := c.sent(r.CommandID)
	if cmd == nil {
		return nil, refuse("InvalidCommandId", "")
	}
	for _, id := range r.InstanceIDs {
		if !slices.ContainsFunc(cmd.invocations, func(v *invocation) bool { return v.node == id }) {
			return nil, refuse("InvalidInstanceId", "%s", strings.Join(r.InstanceIDs, ", "))
		}
	}
	cmd.cancelled = cmd.cancelled || len(r.InstanceIDs) == 0
	for _, v := range cmd.invocations {
		switch {
		case len(r.InstanceIDs) > 0 && !slices.Contains(r.InstanceIDs, v.node):
		case v.status == "Pending":
			v.status, v.details = "Cancelled", "Cancelled"
		case v.status == "InProgress":
			v.status, v.details = "Cancelling", "Cancelling"
		}
		if v.stop != nil && (v.details == "Cancelled" || v.details == "Cancelling") {
			v.stop()
		}
	}
	return map[string]any{}, nil
}
