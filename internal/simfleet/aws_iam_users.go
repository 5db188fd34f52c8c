package simfleet

import (
	"cmp"
	"strings"

	"ssm-migrate/internal/fleet"
)

type iamUser struct {
	Path     string             `xml:"Path"`
	Name     string             `xml:"UserName"`
	ID       string             `xml:"UserId"`
	ARN      string             `xml:"Arn"`
	Created  string             `xml:"CreateDate"`
	Boundary *iamBoundary       `xml:"PermissionsBoundary"`
	Tags     memberList[iamTag] `xml:"Tags"`
}

type iamUserDetail struct {
	iamUser
	Inline   memberList[iamInline]   `xml:"UserPolicyList"`
	Groups   memberList[string]      `xml:"GroupList"`
	Attached memberList[iamAttached] `xml:"AttachedManagedPolicies"`
}

type iamGroup struct {
	Path    string `xml:"Path"`
	Name    string `xml:"GroupName"`
	ID      string `xml:"GroupId"`
	ARN     string `xml:"Arn"`
	Created string `xml:"CreateDate"`
}

type iamGroupDetail struct {
	iamGroup
	Inline   memberList[iamInline]   `xml:"GroupPolicyList"`
	Attached memberList[iamAttached] `xml:"AttachedManagedPolicies"`
}

func userXML(u *fleet.IAMUser) iamUser {
	return iamUser{Path: pathOf(u.ARN), Name: u.Name, ID: cmp.Or(u.ID, uniqueID("AIDA", u.ARN)), ARN: u.ARN, Created: created, Boundary: boundaryXML(u.Boundary), Tags: iamTags(u.Tags)}
}

func userDetail(u *fleet.IAMUser) iamUserDetail {
	return iamUserDetail{userXML(u), inlineXML(u.Inline), memberList[string]{u.Groups}, membersOf(u.Attached, attachedXML)}
}

func groupXML(g *fleet.IAMGroup) iamGroup {
	return iamGroup{Path: pathOf(g.ARN), Name: g.Name, ID: uniqueID("AGPA", g.ARN), ARN: g.ARN, Created: created}
}

func groupDetail(g *fleet.IAMGroup) iamGroupDetail {
	return iamGroupDetail{groupXML(g), inlineXML(g.Inline), membersOf(g.Attached, attachedXML)}
}

// listUsers leaves tags and boundaries out, as IAM's lists do.
func listUsers(c *call) (any, error) {
	rows, page, err := cut(c, filter(c.account.Users, func(u *fleet.IAMUser) bool { return strings.HasPrefix(pathOf(u.ARN), c.form.Get("PathPrefix")) }))
	var out struct {
		Users memberList[iamUser] `xml:"Users"`
		iamPage
	}
	out.iamPage = page
	out.Users = membersOf(rows, func(u *fleet.IAMUser) iamUser {
		x := userXML(u)
		x.Boundary, x.Tags.Items = nil, nil
		return x
	})
	return out, err
}

func getUser(c *call) (any, error) {
	name := c.form.Get("UserName")
	u := find(c.account.Users, func(u *fleet.IAMUser) bool { return u.Name == name })
	if u == nil {
		return nil, noSuchEntity("The user with name %s cannot be found.", name)
	}
	return struct{ User iamUser }{userXML(u)}, nil
}

func listGroups(c *call) (any, error) {
	rows, page, err := cut(c, filter(c.account.Groups, func(g *fleet.IAMGroup) bool { return strings.HasPrefix(pathOf(g.ARN), c.form.Get("PathPrefix")) }))
	var out struct {
		Groups memberList[iamGroup] `xml:"Groups"`
		iamPage
	}
	out.Groups, out.iamPage = membersOf(rows, groupXML), page
	return out, err
}
