package cutover

import (
	"fmt"
	"strings"

	"ssm-migrate/internal/plan"
)

// maxUserData is how long user data may be, in bytes before base64. Source: EC2
// User Guide, "Run commands when you launch an EC2 instance with user data input".
const maxUserData = 16 << 10

// UserData is the shell script that a launch template's next version needs in its
// user data: on the first boot it lets the recovery key in and brings, enables and
// starts the SSM Agent, with the same checks as a step on a host. Of w only
// SigningKey, Signer and Paths are used. The error says that there is nothing to do, or
// that the script is longer than EC2 takes.
func UserData(w HostWorld, c *plan.TemplateChange, region string) (string, error) {
	if c.Key == nil && c.Agent == nil {
		return "", fmt.Errorf("launch template %s needs no user data: what it lacks are fields of it", c.Template)
	}
	h := &hostSide{HostWorld: w.withKey(), paths: w.Paths, folder: "first-boot"}
	var b strings.Builder
	b.WriteString("#!/bin/sh\n# Made by migrate for launch template " + c.Template + ".\n")
	b.WriteString(h.scriptHead())
	var calls []string
	if c.Key != nil {
		b.WriteString(hostVars{{"KEY_USER", c.Key.User}, {"KEY_LINE", c.Key.Line}}.String())
		calls = append(calls, "first_key")
	}
	parts := []string{"common", "userdata"}
	if c.Agent != nil {
		b.WriteString(h.agentVars(c.Agent, string(c.Agent.Action), region).String() + "JOB=first-boot\n")
		parts = []string{"common", "agent", "agentwork", "userdata"}
		calls = append(calls, "first_agent")
	}
	for _, p := range parts {
		b.WriteString(scriptPart(p))
	}
	fmt.Fprintf(&b, "as_root\n%s\n", strings.Join(calls, "\n"))
	if b.Len() > maxUserData {
		return "", fmt.Errorf("the user data for launch template %s has %d bytes, and EC2 takes %d: bake the agent into the image, and make a new plan", c.Template, b.Len(), maxUserData)
	}
	return b.String(), nil
}
