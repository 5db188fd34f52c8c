package cutover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// createEndpoint makes interface endpoints with private DNS, and the security
// group that lets the whole VPC in before the names begin to lead there.
type createEndpoint struct {
	endpoints Endpoints
	groups    SecurityGroups
}

// endpointImage is what of the step there is already.
type endpointImage struct {
	Services []string `json:"services,omitempty"` // that have an endpoint with private DNS
	Group    string   `json:"group,omitempty"`    // ID of the group of that name
}

// endpointView is a VPC as the step sees it.
type endpointView struct {
	group   fleet.SecurityGroup // zero: it is not there
	closed  []fleet.Rule        // that the group lacks
	missing []string            // services without a usable endpoint
	tables  []string            // route tables without a gateway endpoint
	pending []fleet.VPCEndpoint
	narrow  string // what an endpoint of others does not let in
	image   endpointImage
}

const httpsPort = 443

func (k createEndpoint) look(ctx context.Context, s plan.Step) (endpointView, error) {
	var v endpointView
	c := s.Endpoint
	if c == nil || len(c.Services) == 0 || c.Group == "" && (len(c.Tables) == 0 || len(c.Services) > 1) {
		return v, malformed(s)
	}
	if len(c.Tables) > 0 {
		return k.lookGateway(ctx, s)
	}
	var err error
	v.group, err = k.groups.FindGroup(ctx, s.At, c.VPC, c.Group)
	if err := answered(err, fleet.ErrNotFound); err != nil {
		return v, fmt.Errorf("look for the security group %s: %w", c.Group, err)
	}
	v.image.Group = v.group.ID
	if v.group.ID != "" {
		want, err := portFrom(httpsPort, c.Sources, "the step's source %q is not a CIDR: make a new plan")
		if err != nil {
			return v, err
		}
		actual, err := groupRules(ctx, k.groups, s.At, v.group.ID)
		if err != nil {
			return v, err
		}
		v.closed = missingRules(want, actual)
	}
	all, err := k.endpoints.EndpointsOf(ctx, s.At, c.VPC)
	if err != nil {
		return v, fmt.Errorf("list the endpoints of %s: %w", c.VPC, err)
	}
	for _, service := range c.Services {
		at := slices.IndexFunc(all, func(e fleet.VPCEndpoint) bool {
			return e.Service == service && e.Type == "Interface" && e.PrivateDNS
		})
		if at < 0 {
			v.missing = append(v.missing, service)
			continue
		}
		v.image.Services = append(v.image.Services, service)
		if all[at].State != "available" {
			v.pending = append(v.pending, all[at])
		}
		if v.narrow == "" && (s.Handed || !slices.Contains(all[at].Groups, v.group.ID)) {
			if v.narrow, err = k.shut(ctx, s, all[at]); err != nil {
				return v, err
			}
		}
	}
	return v, nil
}

// lookGateway is look for a gateway endpoint. Several of a VPC may share the work,
// each for tables of its own.
func (k createEndpoint) lookGateway(ctx context.Context, s plan.Step) (v endpointView, err error) {
	c := s.Endpoint
	all, err := k.endpoints.EndpointsOf(ctx, s.At, c.VPC)
	if err != nil {
		return v, fmt.Errorf("list the endpoints of %s: %w", c.VPC, err)
	}
	for _, table := range c.Tables {
		at := slices.IndexFunc(all, func(e fleet.VPCEndpoint) bool {
			return e.Service == c.Services[0] && e.Type == "Gateway" && slices.Contains(e.RouteTables, table)
		})
		switch {
		case at < 0:
			v.tables = append(v.tables, table)
		case all[at].State != "available":
			v.pending = append(v.pending, all[at])
		}
	}
	if len(v.tables) == 0 {
		v.image.Services = c.Services
	}
	return v, nil
}

// shut says whom the groups of an endpoint that others made do not let in. The
// names lead the whole VPC to it.
func (k createEndpoint) shut(ctx context.Context, s plan.Step, e fleet.VPCEndpoint) (string, error) {
	var rules []fleet.Rule
	for _, g := range e.Groups {
		of, err := groupRules(ctx, k.groups, s.At, g)
		if err != nil {
			return "", err
		}
		rules = append(rules, of...)
	}
	want, err := portFrom(httpsPort, s.Endpoint.Sources, "the step's source %q is not a CIDR: make a new plan")
	if err != nil {
		return "", err
	}
	for _, w := range want {
		if !letsIn(rules, httpsPort, w.CIDR) {
			return fmt.Sprintf("%s for %s does not let all of %s in on port %d by blocks of addresses", e.ID, e.Service, w.CIDR, httpsPort), nil
		}
	}
	return "", nil
}

func (k createEndpoint) Observe(ctx context.Context, s plan.Step) (Observation, error) {
	v, err := k.look(ctx, s)
	if err != nil {
		return Observation{}, err
	}
	switch {
	case len(v.tables) > 0:
		return observed(false, v.image, "%s has no route to an endpoint for %s", v.tables[0], s.Endpoint.Services[0])
	case len(v.missing) > 0:
		return observed(false, v.image, "%s has no endpoint for %s", s.Endpoint.VPC, v.missing[0])
	case len(v.pending) > 0:
		return observed(false, v.image, "%s of %s is %s", v.pending[0].ID, s.Endpoint.VPC, v.pending[0].State)
	case len(v.closed) > 0 && !s.Handed:
		return observed(false, v.image, "%s lacks %s", v.group.ID, ruleTexts(v.closed))
	case v.narrow != "":
		return observed(false, v.image, "%s", v.narrow)
	}
	return observed(true, v.image, "%s has its endpoints", s.Endpoint.VPC)
}

func (k createEndpoint) Apply(ctx context.Context, s plan.Step, _ json.RawMessage, token string) (json.RawMessage, error) {
	// A step that was undone is applied anew with the same token, and AWS would
	// answer for the endpoint that is gone.
	try := time.Now().Unix()
	return done(settle(ctx, builtWithin, func() (string, error) {
		v, err := k.look(ctx, s)
		if err != nil {
			return "", err
		}
		c := s.Endpoint
		switch {
		case len(v.tables) > 0:
			err := k.endpoints.CreateEndpoint(ctx, s.At, fleet.VPCEndpoint{
				VPC: c.VPC, Service: c.Services[0], Type: "Gateway", RouteTables: v.tables, Policy: c.Policies[c.Services[0]], Tags: stepTags(nil, token),
			}, clientToken(token, c.Services[0], strconv.FormatInt(try, 36), strings.Join(v.tables, " ")))
			if errors.Is(err, fleet.ErrNotFound) {
				try++
				return "gateway endpoint for " + c.Services[0], nil
			}
			if err != nil {
				return "", fmt.Errorf("create a gateway endpoint for %s in %s: %w", c.Services[0], c.VPC, err)
			}
			return "gateway endpoint for " + c.Services[0], nil
		case len(v.pending) > 0 && len(c.Tables) > 0:
			return unready(v.pending[0])
		case len(c.Tables) > 0:
			return "", nil
		case v.group.ID == "":
			_, err := k.groups.CreateGroup(ctx, s.At, fleet.SecurityGroup{
				VPC: c.VPC, Name: c.Group, Description: plan.EndpointGroupText, Tags: stepTags(nil, token),
			})
			if err := answered(err, fleet.ErrExists); err != nil {
				return "", fmt.Errorf("create the security group %s: %w", c.Group, err)
			}
			return "security group " + c.Group, nil
		case len(v.closed) > 0:
			// Before any endpoint: from the moment that one is there, its name
			// leads all neighbours to it.
			return allow(ctx, k.groups, s.At, v.group.ID, v.closed, token)
		case len(v.pending) > 0:
			return unready(v.pending[0])
		case len(v.missing) > 0:
			err := k.endpoints.CreateEndpoint(ctx, s.At, fleet.VPCEndpoint{
				VPC: c.VPC, Service: v.missing[0], Type: "Interface", Subnets: c.Subnets, Groups: []string{v.group.ID}, Policy: c.Policies[v.missing[0]], Tags: stepTags(nil, token),
			}, clientToken(token, v.missing[0], v.group.ID))
			if errors.Is(err, fleet.ErrExists) {
				return "", fmt.Errorf("create an endpoint for %s: a private hosted zone or another endpoint answers for its name in %s already; remove the zone from the VPC, or use that endpoint: %w", v.missing[0], c.VPC, err)
			}
			if err != nil {
				return "", fmt.Errorf("create an endpoint for %s in %s: %w", v.missing[0], c.VPC, err)
			}
			return "endpoint for " + v.missing[0], nil
		case v.narrow != "":
			return "", fmt.Errorf("%s; let its owner open it: %w", v.narrow, ErrForeign)
		}
		return "", nil
	}))
}

// unready waits for an endpoint, unless it cannot become available.
func unready(e fleet.VPCEndpoint) (left string, err error) {
	switch e.State {
	case "pending", "pendingacceptance", "partial":
		return e.ID + " is " + e.State, nil
	}
	return "", fmt.Errorf("%s is %s: delete it, and try again", e.ID, e.State)
}

// ours are the endpoints that the step made.
func (k createEndpoint) ours(ctx context.Context, s plan.Step, token string) ([]fleet.VPCEndpoint, error) {
	if s.Endpoint == nil {
		return nil, malformed(s)
	}
	all, err := k.endpoints.EndpointsOf(ctx, s.At, s.Endpoint.VPC)
	if err != nil {
		return nil, fmt.Errorf("list the endpoints of %s: %w", s.Endpoint.VPC, err)
	}
	return slices.DeleteFunc(all, func(e fleet.VPCEndpoint) bool { return e.Tags[fleet.TagStep] != token }), nil
}

func (k createEndpoint) Undo(ctx context.Context, s plan.Step, before, after json.RawMessage, token string) error {
	was, err := imageOf[endpointImage](before)
	if err != nil {
		return err
	}
	return unsettle(ctx, builtWithin, after, func() (string, error) {
		endpoints, err := k.ours(ctx, s, token)
		if err != nil {
			return "", err
		}
		for _, e := range endpoints {
			if err := answered(k.endpoints.DeleteEndpoint(ctx, s.At, e.ID), fleet.ErrNotFound); err != nil {
				return "", fmt.Errorf("delete endpoint %s: %w", e.ID, err)
			}
		}
		if len(endpoints) > 0 {
			return "endpoint " + endpoints[0].ID, nil
		}
		if len(s.Endpoint.Tables) > 0 {
			return "", nil
		}
		if was.Group != "" {
			return k.withdraw(ctx, s, was.Group, token)
		}
		return deleteGroup(ctx, k.groups, s.At, s.Endpoint.VPC, s.Endpoint.Group, token)
	})
}

// withdraw takes back the rules that the step added to a group that was there.
func (k createEndpoint) withdraw(ctx context.Context, s plan.Step, group, token string) (left string, err error) {
	actual, err := k.groups.GroupRules(ctx, s.At, group)
	if err := answered(err, fleet.ErrNotFound); err != nil {
		return "", fmt.Errorf("read the rules of %s: %w", group, err)
	}
	return revoke(ctx, k.groups, s.At, group, made(actual, token))
}

// deleteGroup deletes a group that the step made. Interfaces that are on their
// way out still use it for a while.
func deleteGroup(ctx context.Context, groups SecurityGroups, at fleet.Place, vpc, name, token string) (left string, err error) {
	g, err := groups.FindGroup(ctx, at, vpc, name)
	if errors.Is(err, fleet.ErrNotFound) || err == nil && g.Tags[fleet.TagStep] != token {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look for the security group %s: %w", name, err)
	}
	err = groups.DeleteGroup(ctx, at, g.ID)
	if errors.Is(err, fleet.ErrInUse) {
		return fmt.Sprintf("security group %s: %v", name, err), nil
	}
	if err := answered(err, fleet.ErrNotFound); err != nil {
		return "", fmt.Errorf("delete security group %s: %w", name, err)
	}
	return "security group " + name, nil
}

func (k createEndpoint) Undone(ctx context.Context, s plan.Step, before, _ json.RawMessage, token string) (Observation, error) {
	was, err := imageOf[endpointImage](before)
	if err != nil {
		return Observation{}, err
	}
	endpoints, err := k.ours(ctx, s, token)
	if err != nil {
		return Observation{}, err
	}
	if len(endpoints) > 0 {
		return restored("endpoint " + endpoints[0].ID + " is still there")
	}
	if len(s.Endpoint.Tables) > 0 {
		return restored("")
	}
	g, err := k.groups.FindGroup(ctx, s.At, s.Endpoint.VPC, s.Endpoint.Group)
	switch {
	case errors.Is(err, fleet.ErrNotFound):
		return restored("")
	case err != nil:
		return Observation{}, fmt.Errorf("look for the security group %s: %w", s.Endpoint.Group, err)
	case was.Group == "" && g.Tags[fleet.TagStep] == token:
		return restored("security group " + g.Name + " is still there")
	}
	actual, err := groupRules(ctx, k.groups, s.At, g.ID)
	if err != nil {
		return Observation{}, err
	}
	if ours := made(actual, token); len(ours) > 0 {
		return restored(g.ID + " still has " + ruleTexts(ours))
	}
	return restored("")
}
