package simfleet

import (
	"cmp"
	"strconv"
	"strings"

	"ssm-migrate/internal/fleet"
)

var ec2ProfileChanges = map[string]operation{
	"AssociateIamInstanceProfile":          associateProfile,
	"DisassociateIamInstanceProfile":       disassociateProfile,
	"ReplaceIamInstanceProfileAssociation": replaceProfile,
	"ModifyInstanceMetadataOptions":        modifyMetadataOptions,
}

// associationID is that of the instance's profile.
func (in *Instance) associationID() string {
	return cmp.Or(in.association, "iip-assoc-"+in.Host.ID[2:])
}

type profileAssociation struct {
	ID       string     `xml:"associationId"`
	Instance string     `xml:"instanceId"`
	Profile  xmlProfile `xml:"iamInstanceProfile"`
	State    string     `xml:"state"`
}

type profileAnswer struct {
	Association profileAssociation `xml:"iamInstanceProfileAssociation"`
}

func (in *Instance) profileXML(state string) profileAssociation {
	return profileAssociation{in.associationID(), in.Host.ID, xmlProfile{in.Host.ProfileARN, uniqueID("AIPA", in.Host.ProfileARN)}, state}
}

// wantedProfile finds the profile that a request names, as EC2 sees IAM: late.
func (c *call) wantedProfile() (*fleet.InstanceProfile, error) {
	arn, name := c.form.Get("IamInstanceProfile.Arn"), c.form.Get("IamInstanceProfile.Name")
	if arn == "" && name == "" {
		return nil, c.missing("IamInstanceProfile.Name")
	}
	p := find(c.server.settled(c.account).Profiles, func(p *fleet.InstanceProfile) bool {
		return (arn == "" || p.ARN == arn) && (name == "" || p.Name == name)
	})
	switch {
	case p == nil && arn != "":
		return nil, refuse("InvalidParameterValue", "Value (%s) for parameter iamInstanceProfile.arn is invalid. Invalid IAM Instance Profile ARN", arn)
	case p == nil:
		return nil, refuse("InvalidParameterValue", "Value (%s) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name", name)
	case p.Role == "":
		return nil, refuse("InvalidParameterValue", "IAM Instance Profile %q has no associated IAM Roles", p.ARN)
	}
	return p, nil
}

func associateProfile(c *call) (any, error) {
	p, err := c.wantedProfile()
	if err != nil {
		return nil, err
	}
	in, err := c.instanceNamed(c.form.Get("InstanceId"))
	if err != nil {
		return nil, err
	}
	switch {
	case in.Host.State != "running" && in.Host.State != "stopped":
		return nil, refuse("IncorrectInstanceState", "The instance '%s' is not in a valid state for this operation.", in.Host.ID)
	case in.Host.ProfileARN != "":
		return nil, refuse("IncorrectState", "There is an existing association for instance %s", in.Host.ID)
	}
	c.w.giveProfile(in, p.ARN)
	return profileAnswer{in.profileXML("associating")}, nil
}

// giveProfile puts a profile on an instance, in a new association.
func (w *World) giveProfile(in *Instance, arn string) {
	in.Host.ProfileARN, in.association = arn, w.newID("iip-assoc")
}

// associated finds the instance of a request's association.
func (c *call) associated() (*Instance, error) {
	id := c.form.Get("AssociationId")
	if in := find(c.region.Instances, func(in *Instance) bool { return in.Host.ProfileARN != "" && in.associationID() == id }); in != nil {
		return in, nil
	}
	return nil, refuse("InvalidAssociationID.NotFound", "An invalid association-id of '%s' was given", id)
}

func disassociateProfile(c *call) (any, error) {
	in, err := c.associated()
	if err != nil {
		return nil, err
	}
	out := profileAnswer{in.profileXML("disassociating")}
	in.Host.ProfileARN, in.association = "", ""
	return out, nil
}

func replaceProfile(c *call) (any, error) {
	p, err := c.wantedProfile()
	if err != nil {
		return nil, err
	}
	in, err := c.associated()
	if err != nil {
		return nil, err
	}
	c.w.giveProfile(in, p.ARN)
	return profileAnswer{in.profileXML("associating")}, nil
}

func modifyMetadataOptions(c *call) (any, error) {
	in, err := c.instanceNamed(c.form.Get("InstanceId"))
	if err != nil {
		return nil, err
	}
	m, err := c.metadataOptions("", in.Host.Metadata)
	if err != nil {
		return nil, err
	}
	in.Host.Metadata = m
	return struct {
		ID       string      `xml:"instanceId"`
		Metadata xmlMetadata `xml:"instanceMetadataOptions"`
	}{in.Host.ID, xmlMetadata{"pending", m.Tokens, m.HopLimit, m.Endpoint}}, nil
}

// metadataOptions reads what a request says of them over what was there.
func (c *call) metadataOptions(prefix string, m fleet.MetadataOptions) (fleet.MetadataOptions, error) {
	if v := c.form.Get(prefix + "HttpTokens"); v != "" {
		if v != "optional" && v != "required" {
			return m, refuse("InvalidParameterValue", "Value (%s) for parameter HttpTokens is invalid.", v)
		}
		m.Tokens = v
	}
	if v := c.form.Get(prefix + "HttpEndpoint"); v != "" {
		if v != "enabled" && v != "disabled" {
			return m, refuse("InvalidParameterValue", "Value (%s) for parameter HttpEndpoint is invalid.", v)
		}
		m.Endpoint = v
	}
	if v := strings.TrimSpace(c.form.Get(prefix + "HttpPutResponseHopLimit")); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > 64 {
			return m, refuse("InvalidParameterValue", "Value (%s) for parameter HttpPutResponseHopLimit is invalid.", v)
		}
		m.HopLimit = n
	}
	return m, nil
}
