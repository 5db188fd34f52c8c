package simfleet

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"ssm-migrate/internal/fleet"
)

var route53Operations = map[string]operation{
	"ListHostedZones":        listHostedZones,
	"ListHostedZonesByVPC":   listHostedZonesByVPC,
	"GetHostedZone":          getHostedZone,
	"ListResourceRecordSets": listRecordSets,
}

// restAction names the operation behind a request of a REST protocol, and the
// resource that the path names. An empty action is none that is known here.
func restAction(service, method, path string, query url.Values) (action, name string) {
	if service == "s3" {
		return bucketAction(method, path, query)
	}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if method != http.MethodGet || len(parts) < 2 || parts[0] != "2013-04-01" {
		return "", ""
	}
	switch {
	case parts[1] == "hostedzone" && len(parts) == 2:
		return "ListHostedZones", ""
	case parts[1] == "hostedzonesbyvpc" && len(parts) == 2:
		return "ListHostedZonesByVPC", ""
	case parts[1] == "hostedzone" && len(parts) == 3:
		return "GetHostedZone", parts[2]
	case parts[1] == "hostedzone" && len(parts) == 4 && parts[3] == "rrset":
		return "ListResourceRecordSets", parts[2]
	}
	return "", ""
}

type zoneConfig struct {
	Comment string `xml:"Comment,omitempty"`
	Private bool   `xml:"PrivateZone"`
}

type hostedZone struct {
	ID        string     `xml:"Id"`
	Name      string     `xml:"Name"`
	Reference string     `xml:"CallerReference"`
	Config    zoneConfig `xml:"Config"`
	Records   int        `xml:"ResourceRecordSetCount"`
}

func zoneXML(z *fleet.HostedZone) hostedZone {
	return hostedZone{"/hostedzone/" + z.ID, z.Name + ".", "made-by-" + z.ID, zoneConfig{Private: true}, len(recordSets(z))}
}

// zonePage takes a page by maxitems, which both kinds of lists cap at 100.
func zonePage[T any](c *call, rows []T, token string) (page []T, next, size string, err error) {
	n := 100
	if s := c.form.Get("maxitems"); s != "" {
		if n, err = strconv.Atoi(s); err != nil || n < 1 {
			return nil, "", "", refuse("InvalidInput", "Invalid maxitems %q", s)
		}
		n = min(n, 100)
	}
	start, err := c.offset(token, len(rows), "InvalidInput")
	if err != nil {
		return nil, "", "", err
	}
	end := min(start+n, len(rows))
	if end < len(rows) {
		next = c.pageToken(end)
	}
	return rows[start:end], next, strconv.Itoa(n), nil
}

func listHostedZones(c *call) (any, error) {
	type list struct {
		Zones []hostedZone `xml:"HostedZone"`
	}
	var out struct {
		Zones     list   `xml:"HostedZones"`
		Marker    string `xml:"Marker,omitempty"`
		Truncated bool   `xml:"IsTruncated"`
		Next      string `xml:"NextMarker,omitempty"`
		Size      string `xml:"MaxItems"`
	}
	out.Marker = c.form.Get("marker")
	rows, next, size, err := zonePage(c, c.account.Zones, out.Marker)
	out.Zones.Zones, out.Truncated, out.Next, out.Size = mapped(rows, zoneXML), next != "", next, size
	return out, err
}

func listHostedZonesByVPC(c *call) (any, error) {
	type owner struct {
		Account string `xml:"OwningAccount"`
	}
	type summary struct {
		ID    string `xml:"HostedZoneId"`
		Name  string `xml:"Name"`
		Owner owner  `xml:"Owner"`
	}
	type list struct {
		Zones []summary `xml:"HostedZoneSummary"`
	}
	var out struct {
		Zones list   `xml:"HostedZoneSummaries"`
		Size  string `xml:"MaxItems"`
		Next  string `xml:"NextToken,omitempty"`
	}
	vpc, region := c.form.Get("vpcid"), c.form.Get("vpcregion")
	in := find(c.account.Regions, func(rg *Region) bool { return rg.Name == region })
	if vpc == "" || region == "" {
		return nil, refuse("InvalidInput", "vpcid and vpcregion are required")
	}
	if in == nil || find(in.VPCs, func(v *fleet.VPC) bool { return v.ID == vpc }) == nil {
		return nil, &apiError{http.StatusForbidden, "AccessDenied", "The VPC " + vpc + " in Region " + region + " is not owned by you."}
	}
	var rows []summary
	for _, a := range c.w.Accounts {
		for _, z := range a.Zones {
			if slices.Contains(z.VPCs, vpc) {
				rows = append(rows, summary{z.ID, z.Name + ".", owner{a.ID}})
			}
		}
	}
	var err error
	out.Zones.Zones, out.Next, out.Size, err = zonePage(c, rows, c.form.Get("nexttoken"))
	return out, err
}

func (c *call) zone() (*fleet.HostedZone, error) {
	if z := find(c.account.Zones, func(z *fleet.HostedZone) bool { return z.ID == c.name }); z != nil {
		return z, nil
	}
	return nil, &apiError{http.StatusNotFound, "NoSuchHostedZone", "No hosted zone found with ID: " + c.name}
}

func getHostedZone(c *call) (any, error) {
	z, err := c.zone()
	if err != nil {
		return nil, err
	}
	type vpc struct {
		Region string `xml:"VPCRegion"`
		ID     string `xml:"VPCId"`
	}
	type list struct {
		VPCs []vpc `xml:"VPC"`
	}
	var out struct {
		Zone hostedZone `xml:"HostedZone"`
		VPCs list       `xml:"VPCs"`
	}
	out.Zone = zoneXML(z)
	for _, id := range z.VPCs {
		region := c.region.Name
		if rg, _ := c.w.vpc(id); rg != nil {
			region = rg.Name
		}
		out.VPCs.VPCs = append(out.VPCs.VPCs, vpc{region, id})
	}
	return out, nil
}

// vpc finds a VPC anywhere in the world.
func (w *World) vpc(id string) (*Region, *fleet.VPC) {
	for _, a := range w.Accounts {
		for _, rg := range a.Regions {
			if v := find(rg.VPCs, func(v *fleet.VPC) bool { return v.ID == id }); v != nil {
				return rg, v
			}
		}
	}
	return nil, nil
}

type recordValue struct {
	Value string `xml:"Value"`
}

type recordValues struct {
	Records []recordValue `xml:"ResourceRecord"`
}

type recordAlias struct {
	Zone   string `xml:"HostedZoneId"`
	Name   string `xml:"DNSName"`
	Health bool   `xml:"EvaluateTargetHealth"`
}

type recordSet struct {
	Name   string        `xml:"Name"`
	Type   string        `xml:"Type"`
	TTL    *int          `xml:"TTL"`
	Values *recordValues `xml:"ResourceRecords"`
	Alias  *recordAlias  `xml:"AliasTarget"`
}

// recordSets are a zone's records in Route 53's order: by the labels of the
// name from the right, then by type. Every zone has NS and SOA records.
func recordSets(z *fleet.HostedZone) []recordSet {
	ttl := 300
	plain := func(name, kind string, values ...string) recordSet {
		return recordSet{Name: name + ".", Type: kind, TTL: &ttl, Values: &recordValues{mapped(values, func(v string) recordValue { return recordValue{v} })}}
	}
	out := []recordSet{
		plain(z.Name, "NS", "ns-0.awsdns-00.com.", "ns-512.awsdns-00.net."),
		plain(z.Name, "SOA", "ns-0.awsdns-00.com. awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400"),
	}
	for _, r := range z.Records {
		if r.Alias != "" {
			out = append(out, recordSet{Name: r.Name + ".", Type: r.Type, Alias: &recordAlias{"Z000SIMULATEDALIAS", r.Alias + ".", false}})
			continue
		}
		values := r.Values
		if r.Type == "CNAME" {
			values = mapped(values, func(v string) string { return v + "." })
		}
		out = append(out, plain(r.Name, r.Type, values...))
	}
	slices.SortStableFunc(out, compareRecords)
	return out
}

func compareRecords(a, b recordSet) int {
	if n := slices.Compare(reversedLabels(a.Name), reversedLabels(b.Name)); n != 0 {
		return n
	}
	return strings.Compare(a.Type, b.Type)
}

func reversedLabels(name string) []string {
	labels := strings.Split(strings.ToLower(strings.TrimSuffix(name, ".")), ".")
	slices.Reverse(labels)
	return labels
}

func listRecordSets(c *call) (any, error) {
	z, err := c.zone()
	if err != nil {
		return nil, err
	}
	size := 300
	if s := c.form.Get("maxitems"); s != "" {
		if size, err = strconv.Atoi(s); err != nil || size < 1 {
			return nil, refuse("InvalidInput", "Invalid maxitems %q", s)
		}
		size = min(size, 300)
	}
	from := recordSet{Name: c.form.Get("name"), Type: c.form.Get("type")}
	if from.Type != "" && from.Name == "" {
		return nil, refuse("InvalidInput", "The input is not valid: a type needs a name")
	}
	rows := recordSets(z)
	if from.Name != "" {
		rows = slices.DeleteFunc(rows, func(r recordSet) bool { return compareRecords(r, from) < 0 })
	}
	type list struct {
		Records []recordSet `xml:"ResourceRecordSet"`
	}
	var out struct {
		Records   list   `xml:"ResourceRecordSets"`
		Truncated bool   `xml:"IsTruncated"`
		Name      string `xml:"NextRecordName,omitempty"`
		Type      string `xml:"NextRecordType,omitempty"`
		Size      string `xml:"MaxItems"`
	}
	out.Size = strconv.Itoa(size)
	if len(rows) > size {
		out.Truncated, out.Name, out.Type = true, rows[size].Name, rows[size].Type
		rows = rows[:size]
	}
	out.Records.Records = rows
	return out, nil
}
