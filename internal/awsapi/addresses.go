package awsapi

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"ssm-migrate/internal/fleet"
)

const apiInterfaces = "ec2:DescribeNetworkInterfaces"

// addAddresses gives endpoints the addresses of their network interfaces, which
// are listed by endpoint. Endpoints of other types stay without the fact.
func (r *Region) addAddresses(ctx context.Context, c *collection[fleet.VPCEndpoint], interfaces map[string][]string) {
	var all []string
	for _, ids := range interfaces {
		all = append(all, ids...)
	}
	slices.Sort(all)
	found, err := r.interfaceAddresses(ctx, slices.Compact(all))
	at := time.Now().UTC()
	for id, ids := range interfaces {
		var list []netip.Addr
		missing := ""
		for _, eni := range ids {
			if found[eni] == nil {
				missing = eni
			}
			list = append(list, found[eni]...)
		}
		slices.SortFunc(list, netip.Addr.Compare)
		v := c.seen[id]
		switch {
		case missing == "":
			v.Addresses = fleet.Known(list, apiInterfaces, at)
		case err != nil:
			v.Addresses = fleet.Partial(list, apiInterfaces, at, r.account.failure(apiInterfaces, err).Error())
		default:
			v.Addresses = fleet.Partial(list, apiInterfaces, at, "EC2 tells no address of "+clean(missing))
		}
		c.seen[id] = v
	}
}

// maxFilterValues is how many values EC2 takes in one filter ("List and filter
// using the CLI and API", EC2 User Guide).
const maxFilterValues = 200

// interfaceAddresses gives the addresses of network interfaces by their ID. On
// an error it gives those that were read before.
func (r *Region) interfaceAddresses(ctx context.Context, ids []string) (map[string][]netip.Addr, error) {
	found := map[string][]netip.Addr{}
	for some := range slices.Chunk(ids, maxFilterValues) {
		err := pages(ctx, func(ctx context.Context, token *string) (*string, error) {
			out, err := r.ec2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{
				Filters:    []types.Filter{{Name: aws.String("network-interface-id"), Values: some}},
				MaxResults: page1000,
				NextToken:  token,
			})
			if err != nil {
				return nil, err
			}
			for _, in := range out.NetworkInterfaces {
				found[aws.ToString(in.NetworkInterfaceId)] = addressesOf(in)
			}
			return out.NextToken, nil
		})
		if err != nil {
			return found, err
		}
	}
	return found, nil
}

func addressesOf(in types.NetworkInterface) []netip.Addr {
	var out []netip.Addr
	if a := addr(in.PrivateIpAddress); a.IsValid() {
		out = append(out, a)
	}
	for _, v := range in.Ipv6Addresses {
		if a := addr(v.Ipv6Address); a.IsValid() {
			out = append(out, a)
		}
	}
	return out
}
