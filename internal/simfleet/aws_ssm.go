package simfleet

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

var ssmOperations = map[string]operation{
	"DescribeInstanceInformation": describeNodes,
	"GetConnectionStatus":         getConnectionStatus,
	"GetServiceSetting":           getServiceSetting,
	"GetDocument":                 getDocument,
	"DescribeDocument":            describeDocument,
	"ListDocuments":               listDocuments,
	"ListDocumentVersions":        listDocumentVersions,
	"DescribeSessions":            describeSessions,
}

// decode reads a JSON request.
func (c *call) decode(into any) error {
	if err := json.Unmarshal(c.json, into); err != nil {
		return refuse("SerializationException", "%v", err)
	}
	return nil
}

// seconds is a time in the JSON protocol: seconds since 1970 with a fraction.
type seconds time.Time

// MarshalJSON writes the number.
func (s seconds) MarshalJSON() ([]byte, error) {
	return json.Marshal(float64(time.Time(s).UnixMilli()) / 1000)
}

type nodeInfo struct {
	InstanceID        string   `json:"InstanceId"`
	PingStatus        string   `json:"PingStatus"`
	LastPing          *seconds `json:"LastPingDateTime,omitempty"`
	AgentVersion      string   `json:"AgentVersion"`
	IsLatestVersion   bool     `json:"IsLatestVersion"`
	PlatformType      string   `json:"PlatformType"`
	PlatformName      string   `json:"PlatformName"`
	PlatformVersion   string   `json:"PlatformVersion"`
	ResourceType      string   `json:"ResourceType"`
	SourceID          string   `json:"SourceId"`
	SourceType        string   `json:"SourceType"`
	IPAddress         string   `json:"IPAddress,omitempty"`
	ComputerName      string   `json:"ComputerName,omitempty"`
	IAMRole           string   `json:"IamRole,omitempty"`
	AssociationStatus string   `json:"AssociationStatus,omitempty"`

	tags map[string]string
}

// node gives what Systems Manager lists of an instance; ok is false for none.
func (c *call) node(in *Instance) (n nodeInfo, ok bool) {
	listed, ping, last := c.w.nodeState(in)
	if !listed {
		return n, false
	}
	n = nodeInfo{
		InstanceID: in.Host.ID, PingStatus: ping, LastPing: (*seconds)(&last), AgentVersion: in.Agent.Version, IsLatestVersion: in.Agent.Version == agentCurrent,
		PlatformType: "Linux", PlatformVersion: in.OS.Version, ResourceType: "EC2Instance", SourceID: in.Host.ID, SourceType: "AWS::EC2::Instance",
		IPAddress: addressText(in.Host.PrivateIP), ComputerName: in.Hostname, AssociationStatus: "Success", tags: in.Host.Tags,
	}
	n.PlatformName = platformName(in.OS)
	if in.OS.Family == "windows" {
		n.PlatformType = "Windows"
	}
	if c.w.Now().Sub(in.Agent.Started) < 30*time.Minute {
		n.AssociationStatus = "Pending"
	}
	if byDefault, reason := c.w.credentials(in); byDefault && reason == "" {
		n.IAMRole = in.Region.DefaultRole
	}
	return n, true
}

// platformName is the agent's name for a system: os-release's NAME.
func platformName(os OS) string {
	switch os.Family {
	case "amzn":
		return "Amazon Linux"
	case "sles":
		return "SLES"
	case "windows":
		return os.Pretty
	}
	name, _, _ := strings.Cut(os.Pretty, " "+strings.TrimSuffix(os.Version, ".04"))
	return name
}

func hybridNode(h *fleet.Node) nodeInfo {
	last := seconds(h.LastPing)
	return nodeInfo{
		InstanceID: h.ID, PingStatus: h.PingStatus, LastPing: &last, AgentVersion: h.AgentVersion, IsLatestVersion: h.LatestVersion, PlatformType: h.PlatformType,
		PlatformName: h.PlatformName, PlatformVersion: h.PlatformVersion, ResourceType: h.ResourceType, SourceID: h.ID, SourceType: "AWS::SSM::ManagedInstance",
		ComputerName: h.ComputerName, IAMRole: h.IAMRole, AssociationStatus: h.Association,
	}
}

type nodeFilter struct {
	Key    string   `json:"Key"`
	Values []string `json:"Values"`
}

// matches reports whether the node passes; the key was checked before.
func (f nodeFilter) matches(n nodeInfo) bool {
	if key, ok := strings.CutPrefix(f.Key, "tag:"); ok {
		v, has := n.tags[key]
		return has && slices.Contains(f.Values, v)
	}
	if f.Key == "tag-key" {
		return slices.ContainsFunc(f.Values, func(k string) bool { _, has := n.tags[k]; return has })
	}
	return slices.Contains(f.Values, nodeFields[strings.ToLower(f.Key)](n))
}

// nodeFields are the filter keys of both filter parameters, in lower case:
// InstanceInformationFilterList writes them lowerCamelCase, Filters UpperCamelCase.
var nodeFields = map[string]func(nodeInfo) string{
	"instanceids":       func(n nodeInfo) string { return n.InstanceID },
	"agentversion":      func(n nodeInfo) string { return n.AgentVersion },
	"pingstatus":        func(n nodeInfo) string { return n.PingStatus },
	"platformtypes":     func(n nodeInfo) string { return n.PlatformType },
	"iamrole":           func(n nodeInfo) string { return n.IAMRole },
	"resourcetype":      func(n nodeInfo) string { return n.ResourceType },
	"associationstatus": func(n nodeInfo) string { return n.AssociationStatus },
}

// checkFilters refuses what the service refuses: unknown keys, no or too many
// values, tags together with others, IDs that do not exist.
func (c *call) checkFilters(filters []nodeFilter) error {
	tags := 0
	for _, f := range filters {
		isTag := strings.HasPrefix(f.Key, "tag:") || f.Key == "tag-key"
		switch {
		case isTag:
			tags++
		case nodeFields[strings.ToLower(f.Key)] == nil:
			return refuse("InvalidFilterKey", "%s is not a valid filter key", f.Key)
		}
		if len(f.Values) == 0 || len(f.Values) > 100 {
			return refuse("ValidationException", "a filter takes 1 to 100 values")
		}
		if strings.EqualFold(f.Key, "InstanceIds") {
			for _, id := range f.Values {
				if !c.knownTarget(id) {
					return refuse("InvalidInstanceId", "Instance %s is not known", id)
				}
			}
		}
	}
	if tags > 0 && tags < len(filters) {
		return refuse("InvalidInstanceInformationFilterValue", "tag filters cannot be used together with other filters")
	}
	return nil
}

func (c *call) knownTarget(id string) bool {
	return find(c.region.Instances, func(in *Instance) bool { return in.Host.ID == id }) != nil ||
		find(c.region.Hybrid, func(n *fleet.Node) bool { return n.ID == id }) != nil
}

func describeNodes(c *call) (any, error) {
	in := struct {
		MaxResults *int
		NextToken  string
		Filters    []nodeFilter
		Old        []struct {
			Key    string   `json:"key"`
			Values []string `json:"valueSet"`
		} `json:"InstanceInformationFilterList"`
	}{}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	size := 10
	if in.MaxResults != nil {
		if size = *in.MaxResults; size < 5 || size > 50 {
			return nil, refuse("ValidationException", "1 validation error detected: Value '%d' at 'maxResults' failed to satisfy constraint: Member must have value between 5 and 50", size)
		}
	}
	filters := in.Filters
	for _, f := range in.Old {
		filters = append(filters, nodeFilter(f))
	}
	if len(in.Filters) > 0 && len(in.Old) > 0 {
		return nil, refuse("ValidationException", "InstanceInformationFilterList and Filters cannot be used together")
	}
	if err := c.checkFilters(filters); err != nil {
		return nil, err
	}
	start, err := c.offset(in.NextToken, len(c.region.Instances)+len(c.region.Hybrid), "InvalidNextToken")
	if err != nil {
		return nil, err
	}
	out := struct {
		InstanceInformationList []nodeInfo
		NextToken               string `json:",omitempty"`
	}{InstanceInformationList: []nodeInfo{}}
	out.InstanceInformationList, out.NextToken = c.nodes(filters, start, size)
	return out, nil
}

// nodes lists up to size nodes from a place among all instances and hybrid nodes.
func (c *call) nodes(filters []nodeFilter, start, size int) (page []nodeInfo, next string) {
	page = []nodeInfo{}
	instances := c.region.Instances
	for i := start; i < len(instances)+len(c.region.Hybrid); i++ {
		var n nodeInfo
		listed := true
		if i < len(instances) {
			n, listed = c.node(instances[i])
		} else {
			n = hybridNode(c.region.Hybrid[i-len(instances)])
		}
		if !listed || slices.ContainsFunc(filters, func(f nodeFilter) bool { return !f.matches(n) }) {
			continue
		}
		if len(page) == size {
			return page, c.pageToken(i)
		}
		page = append(page, n)
	}
	return page, ""
}

func getConnectionStatus(c *call) (any, error) {
	var in struct{ Target string }
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if in.Target == "" || len(in.Target) > 400 {
		return nil, refuse("ValidationException", "1 validation error detected: Value at 'target' failed to satisfy constraint: Member must have length between 1 and 400")
	}
	connected := false
	if i := find(c.region.Instances, func(i *Instance) bool { return i.Host.ID == in.Target }); i != nil {
		connected = c.w.Connected(i)
	} else if n := find(c.region.Hybrid, func(n *fleet.Node) bool { return n.ID == in.Target }); n != nil {
		connected = n.PingStatus == "Online"
	}
	status := "notconnected"
	if connected {
		status = "connected"
	}
	return map[string]string{"Target": in.Target, "Status": status}, nil
}

const defaultRoleSetting = "/ssm/managed-instance/default-ec2-instance-management-role"

// serviceSettings are the settings and the values that they have by default.
var serviceSettings = map[string]string{
	defaultRoleSetting: "$None",
	"/ssm/documents/console/public-sharing-permission": "Enable",
	"/ssm/managed-instance/activation-tier":            "standard",
	"/ssm/parameter-store/default-parameter-tier":      "Standard",
	"/ssm/parameter-store/high-throughput-enabled":     "false",
}

func getServiceSetting(c *call) (any, error) {
	var in struct {
		SettingID string `json:"SettingId"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	name, err := c.settingName(in.SettingID)
	if err != nil {
		return nil, err
	}
	return map[string]any{"ServiceSetting": c.setting(name)}, nil
}
