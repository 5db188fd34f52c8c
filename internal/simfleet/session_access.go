package simfleet

import (
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// principal is the user or role that made the request, with the name of an
// assumed role's session. An access key that belongs to nobody in IAM acts for
// the account itself, which may do everything; known is false then.
func (c *call) principal() (p principal, session string, known bool) {
	p, session, known = c.account.principalOf(c.callerARN())
	if !known {
		return principal{arn: c.callerARN(), id: uniqueID("AIDA", c.callerARN()), name: "operator"}, "", false
	}
	return p, session, true
}

// request is the caller's request for an action on a resource.
func (c *call) request(session, action, resource string) request {
	return personRequest(c.region.Name, session, action, resource)
}

// documentARN is how policies name a session document.
func documentARN(rg *Region, d *fleet.SessionDocument) string {
	owner := d.Owner
	if owner == "Amazon" {
		owner = ""
	}
	return fmt.Sprintf("arn:aws:ssm:%s:%s:document/%s", rg.Name, owner, d.Name)
}

// startRefused gives the first of an instance and a session document on which
// the principal may not start a session; empty when it may.
func (a *Account) startRefused(p principal, session string, in *Instance, document string) string {
	host := instanceARN(in.Region, in.Host.ID)
	for _, resource := range []string{host, document} {
		q := personRequest(in.Region.Name, session, "ssm:StartSession", resource)
		if resource == host {
			for k, v := range in.Host.Tags {
				for _, prefix := range []string{"aws:resourcetag/", "ssm:resourcetag/", "ec2:resourcetag/"} {
					q.context[prefix+strings.ToLower(k)] = []string{v}
				}
			}
		}
		if !a.judge(p, q).yes() {
			return resource
		}
	}
	return ""
}

func instanceARN(rg *Region, id string) string {
	return fmt.Sprintf("arn:aws:ec2:%s:%s:instance/%s", rg.Name, rg.Account.ID, id)
}

// opensDataChannel reports whether the principal may open a data channel.
// AWS's own pages name the channel's resource in three ways.
func (a *Account) opensDataChannel(p principal, session, region string) bool {
	name := p.name
	if name == "" {
		name = session
	}
	sessions := fmt.Sprintf("arn:aws:ssm:%s:%s:session/", region, a.ID)
	resources := []string{"*", sessions + name + "-0"}
	if id := p.value("aws:userid", session); len(id) > 0 {
		resources = append(resources, sessions+id[0]+"-0")
	}
	return slices.ContainsFunc(resources, func(resource string) bool {
		return a.judge(p, personRequest(region, session, "ssmmessages:OpenDataChannel", resource)).yes()
	})
}

// mayTouch refuses the caller an action on a session that it has no right to.
// The tags that Session Manager gives a session say who began it and on what.
func (c *call) mayTouch(action string, s *fleet.ManagedSession) error {
	p, session, known := c.principal()
	if !known {
		return nil
	}
	resource := fmt.Sprintf("arn:aws:ssm:%s:%s:session/%s", c.region.Name, c.account.ID, s.ID)
	q := c.request(session, action, resource)
	q.context["ssm:resourcetag/aws:ssmmessages:session-id"] = []string{c.account.sessionTag(s.Owner)}
	q.context["ssm:resourcetag/aws:ssmmessages:target-id"] = []string{s.Target}
	if !c.account.judge(p, q).yes() {
		return c.deniedOn(action, resource)
	}
	return nil
}

// sessionTag is the value of a session's tag aws:ssmmessages:session-id: the
// user ID of who began it.
func (a *Account) sessionTag(owner string) string {
	p, session, ok := a.principalOf(owner)
	if !ok {
		return uniqueID("AIDA", owner)
	}
	if id := p.value("aws:userid", session); len(id) > 0 {
		return id[0]
	}
	return p.id
}

// deniedOn is IAM's refusal of an action on a resource.
func (c *call) deniedOn(action, resource string) error {
	return refuse("AccessDeniedException", "User: %s is not authorized to perform: %s on resource: %s because no identity-based policy allows the %s action",
		c.callerARN(), action, resource, action)
}
