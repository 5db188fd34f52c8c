package simfleet

import (
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

var resolverOperations = map[string]operation{
	"ListResolverRules":            listResolverRules,
	"ListResolverRuleAssociations": listResolverAssociations,
}

type resolverQuery struct {
	MaxResults *int
	NextToken  string
	Filters    []struct {
		Name   string
		Values []string
	}
}

type resolverTarget struct {
	IP   string `json:"Ip,omitempty"`
	IPv6 string `json:"Ipv6,omitempty"`
	Port int
}

type resolverRule struct {
	ID       string `json:"Id"`
	ARN      string `json:"Arn"`
	Domain   string `json:"DomainName"`
	Status   string
	Type     string `json:"RuleType"`
	Name     string
	Targets  []resolverTarget `json:"TargetIps,omitempty"`
	Owner    string           `json:"OwnerId"`
	Share    string           `json:"ShareStatus"`
	Endpoint string           `json:"ResolverEndpointId,omitempty"`
}

// resolverFiltered applies filters whose fields are named; Name matches any of
// the values.
func resolverFiltered[T any](rows []T, q resolverQuery, field map[string]func(T) string) ([]T, error) {
	for _, f := range q.Filters {
		value := field[f.Name]
		if value == nil {
			return nil, refuse("InvalidParameterException", "[RSLVR-00410] The filter %s is not valid", f.Name)
		}
		rows = filter(rows, func(r T) bool { return slices.Contains(f.Values, value(r)) })
	}
	return rows, nil
}

func (c *call) resolverRules() []resolverRule {
	own := mapped(c.region.Rules, func(r *fleet.ResolverRule) resolverRule {
		x := resolverRule{ID: r.ID, ARN: "arn:aws:route53resolver:" + c.region.Name + ":" + c.account.ID + ":resolver-rule/" + r.ID,
			Domain: r.Domain + ".", Status: "COMPLETE", Type: r.Type, Name: r.ID, Owner: c.account.ID, Share: "NOT_SHARED"}
		for _, t := range r.Targets {
			target := resolverTarget{IP: t, Port: 53}
			if strings.Contains(t, ":") {
				target.IP, target.IPv6 = "", t
			}
			x.Targets = append(x.Targets, target)
		}
		if r.Type == "FORWARD" {
			x.Endpoint = "rslvr-out-51f1ee7000000000"
		}
		return x
	})
	// Every account sees the rule by which the Resolver answers recursively.
	return append(own, resolverRule{ID: "rslvr-autodefined-rr-internet-resolver", ARN: "arn:aws:route53resolver:" + c.region.Name + "::autodefined-rule/rslvr-autodefined-rr-internet-resolver",
		Domain: ".", Status: "COMPLETE", Type: "RECURSIVE", Name: "Internet Resolver", Owner: "Route 53 Resolver", Share: "NOT_SHARED"})
}

func listResolverRules(c *call) (any, error) {
	var in resolverQuery
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	rows, err := resolverFiltered(c.resolverRules(), in, map[string]func(resolverRule) string{
		"DomainName": func(r resolverRule) string { return r.Domain }, "Name": func(r resolverRule) string { return r.Name },
		"Type": func(r resolverRule) string { return r.Type }, "TYPE": func(r resolverRule) string { return r.Type },
		"ResolverEndpointId": func(r resolverRule) string { return r.Endpoint }, "Status": func(r resolverRule) string { return r.Status },
	})
	if err != nil {
		return nil, err
	}
	rows, next, err := jsonPage(c, rows, in.MaxResults, in.NextToken, 100, "InvalidParameterException", "InvalidNextTokenException")
	return struct {
		NextToken     string `json:",omitempty"`
		MaxResults    int
		ResolverRules []resolverRule
	}{next, len(rows), rows}, err
}

func listResolverAssociations(c *call) (any, error) {
	var in resolverQuery
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	type association struct {
		ID     string `json:"Id"`
		Rule   string `json:"ResolverRuleId"`
		Name   string
		VPC    string `json:"VPCId"`
		Status string
	}
	rows := []association{}
	for _, r := range c.region.Rules {
		for _, v := range r.VPCs {
			rows = append(rows, association{"rslvr-rrassoc-" + strings.TrimPrefix(v, "vpc-") + "-" + strings.TrimPrefix(r.ID, "rslvr-rr-"), r.ID, r.ID, v, "COMPLETE"})
		}
	}
	for _, v := range c.region.VPCs {
		rows = append(rows, association{"rslvr-autodefined-assoc-" + v.ID + "-internet-resolver", "rslvr-autodefined-rr-internet-resolver", "System Rule Association", v.ID, "COMPLETE"})
	}
	rows, err := resolverFiltered(rows, in, map[string]func(association) string{
		"ResolverRuleId": func(a association) string { return a.Rule }, "VPCId": func(a association) string { return a.VPC },
		"Name": func(a association) string { return a.Name }, "Status": func(a association) string { return a.Status },
	})
	if err != nil {
		return nil, err
	}
	rows, next, err := jsonPage(c, rows, in.MaxResults, in.NextToken, 100, "InvalidParameterException", "InvalidNextTokenException")
	return struct {
		NextToken                string `json:",omitempty"`
		MaxResults               int
		ResolverRuleAssociations []association
	}{next, len(rows), rows}, err
}
