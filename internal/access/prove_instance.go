package access

import (
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/readiness"
)

// mostAgents is on how many agents of a role everything is tried; the others
// are asked for what they need.
const mostAgents = 2

// callers are the role's agents, and two to whom its credentials should be of no use.
func (x *instanceRole) callers(parsed) []caller {
	var out []caller
	for n, h := range x.hosts {
		keys := x.keysOf(h.ID)
		keys[strings.ToLower(sourceInstance)] = []string{readiness.InstanceARN(h)}
		keys["ssm:sourceinstancearn"] = []string{readiness.InstanceARN(h)}
		out = append(out, caller{name: "the agent of " + h.ID, keys: keys, host: x.positions[n], brief: n >= mostAgents})
	}
	if x.byDefault {
		return out
	}
	abroad := &fleet.Host{ID: "i-0fffffffffffffff0", Account: foreign, Region: x.hosts[0].Region}
	for _, c := range []struct {
		name  string
		value []string
	}{
		{"an instance of another account with the role's credentials", []string{readiness.InstanceARN(abroad)}},
		{"somebody who assumes the role", nil},
	} {
		keys := x.keysOf("somebody")
		keys[strings.ToLower(sourceInstance)], keys["ssm:sourceinstancearn"] = c.value, c.value
		out = append(out, caller{name: c.name, keys: keys, host: -1, bare: true})
	}
	return out
}

// keysOf is what is known of a request of a session of the role.
func (x *instanceRole) keysOf(session string) readiness.Keys {
	keys, ok := x.world.grants.Caller(x.arn, session)
	if !ok {
		keys = readiness.Stranger(x.arn, x.name, session)
	}
	keys["aws:principaltag/"], keys["aws:sourceidentity"] = nil, nil
	return keys
}

func (x *instanceRole) things(text parsed) []thing {
	at := x.hosts[0].Ref().Place()
	out := others(x.partition, at)
	sampled := map[int]bool{x.positions[0]: true}
	out = append(out, x.world.hosts(func(i int) bool { return sampled[i] })...)
	for _, n := range x.needs {
		if n.Resource != "*" {
			out = append(out, plain(witness(n.Resource), at))
		}
	}
	return mentioning(out, text, at)
}

// promises: what the agent needs, on what it needs it. Where an action is
// needed on everything, its resource is nothing that AWS lets a policy narrow.
func (x *instanceRole) promises(c caller, q ask) bool {
	if c.bare && !x.byDefault && slices.ContainsFunc(narrowed, func(n string) bool { return n == q.action }) {
		return false
	}
	return slices.ContainsFunc(x.needs, func(n readiness.Need) bool {
		return n.Action == q.action && (n.Resource == "*" || matches(n.Resource, q.thing.arn))
	})
}

func (x *instanceRole) keeps(ask) bool { return false }

func (x *instanceRole) asks() []string {
	var out []string
	for _, n := range x.needs {
		out = addAll(out, n.Action)
	}
	return out
}

func (x *instanceRole) tells() []string {
	out := []string{fmt.Sprintf("agents of %s with role %s may keep up and serve sessions: %s", fleet.Count(len(x.hosts), "host"), x.name, strings.Join(readiness.SessionActions(), ", "))}
	if len(x.old) > 0 {
		out = append(out, fmt.Sprintf("and Run Command by ec2messages, for %s with an agent below %s or of unknown version", fleet.Count(len(x.old), "host"), readiness.RunCommandVersion))
	}
	for _, n := range x.needs {
		if n.Resource != "*" {
			out = append(out, "and "+n.Action+" on "+n.Resource)
		} else if n.Action == "logs:DescribeLogGroups" {
			out = append(out, "and "+n.Action)
		}
	}
	if x.byDefault {
		return append(out, "not held to the instance: Systems Manager hands these credentials out itself")
	}
	held, _ := x.split()
	return append(out, strings.Join(held, " and ")+" only from instances of account "+x.account)
}
