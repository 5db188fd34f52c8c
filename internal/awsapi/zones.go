package awsapi

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"ssm-migrate/internal/fleet"
)

const apiZones = "route53:ListHostedZones"

// hostedZones lists the account's private hosted zones that answer for names of
// AWS endpoints in the Regions to read. Zones of other accounts that hold in
// this account's VPCs are not among them: Route 53 shows them to their owner.
func (a *Account) hostedZones(ctx context.Context) fleet.Fact[[]fleet.HostedZone] {
	names := endpointNames(a.regions)
	return collect(ctx, a, apiZones, func(v fleet.HostedZone) string { return v.ID }, func(ctx context.Context, c *collection[fleet.HostedZone]) error {
		var zones []fleet.HostedZone
		err := pages(ctx, func(ctx context.Context, token *string) (*string, error) {
			out, err := a.route53.ListHostedZones(ctx, &route53.ListHostedZonesInput{HostedZoneType: types.HostedZoneTypePrivateHostedZone, Marker: token})
			if err != nil {
				return nil, err
			}
			for _, in := range out.HostedZones {
				z := fleet.HostedZone{ID: strings.TrimPrefix(aws.ToString(in.Id), "/hostedzone/"), Name: zoneName(in.Name)}
				private := in.Config != nil && in.Config.PrivateZone
				if private && slices.ContainsFunc(names, func(name string) bool { return within(name, z.Name) }) {
					zones = append(zones, z)
				}
			}
			return marker(out.IsTruncated, out.NextMarker)
		})
		each(zones, parallel, func(z fleet.HostedZone) {
			if err := a.readZone(ctx, &z); err != nil {
				c.leaveOut(&failure{api: apiZones, text: "zone " + clean(z.Name) + ": " + a.failure(apiZones, err).Error(), err: err})
				return
			}
			c.add(z)
		})
		return err
	})
}

// readZone adds the zone's VPCs and address records.
func (a *Account) readZone(ctx context.Context, z *fleet.HostedZone) error {
	zone, err := a.route53.GetHostedZone(ctx, &route53.GetHostedZoneInput{Id: &z.ID})
	if err != nil {
		return err
	}
	for _, v := range zone.VPCs {
		z.VPCs = append(z.VPCs, aws.ToString(v.VPCId))
	}
	slices.Sort(z.VPCs)
	next := route53.ListResourceRecordSetsInput{HostedZoneId: &z.ID}
	return pages(ctx, func(ctx context.Context, _ *string) (*string, error) {
		out, err := a.route53.ListResourceRecordSets(ctx, &next)
		if err != nil {
			return nil, err
		}
		for _, in := range out.ResourceRecordSets {
			switch in.Type {
			case types.RRTypeA, types.RRTypeAaaa, types.RRTypeCname:
				z.Records = append(z.Records, dnsRecord(in))
			}
		}
		next.StartRecordName, next.StartRecordType, next.StartRecordIdentifier = out.NextRecordName, out.NextRecordType, out.NextRecordIdentifier
		place := strings.Join([]string{aws.ToString(out.NextRecordName), string(out.NextRecordType), aws.ToString(out.NextRecordIdentifier)}, " ")
		return marker(out.IsTruncated, &place)
	})
}

func dnsRecord(in types.ResourceRecordSet) fleet.DNSRecord {
	v := fleet.DNSRecord{Name: zoneName(in.Name), Type: string(in.Type)}
	for _, r := range in.ResourceRecords {
		v.Values = append(v.Values, domain(r.Value))
	}
	if in.AliasTarget != nil {
		v.Alias = zoneName(in.AliasTarget.DNSName)
	}
	return v
}

var octal = regexp.MustCompile(`\\[0-3][0-7]{2}`)

// zoneName is a name without its final dot and in plain characters: Route 53
// writes * as \052 ("DNS domain name format", Developer Guide).
func zoneName(s *string) string {
	return octal.ReplaceAllStringFunc(domain(s), func(code string) string {
		n, err := strconv.ParseUint(code[1:], 8, 8)
		if err != nil || n < ' ' || n > '~' {
			return code
		}
		return string(rune(n))
	})
}

// within reports whether a zone answers for a name.
func within(name, zone string) bool {
	return zone != "" && (strings.EqualFold(name, zone) || len(name) > len(zone) && strings.EqualFold(name[len(name)-len(zone)-1:], "."+zone))
}

// endpointServices are those that agents and sessions call.
var endpointServices = append(fleet.Services[:], "s3", "kms", "logs")

func endpointNames(regions []string) []string {
	var out []string
	for _, region := range regions {
		for _, service := range endpointServices {
			for _, suffix := range []string{fleet.DNSSuffix(region), fleet.DualStackSuffix(region)} {
				out = append(out, service+"."+region+"."+suffix)
			}
		}
	}
	return out
}
