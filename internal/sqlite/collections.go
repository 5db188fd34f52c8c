package sqlite

import (
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"ssm-migrate/internal/fleet"
)

// collection is one fact of an account or Region on its way to or from its row.
type collection struct {
	name  string
	write func() (collectionRow, error)
	read  func(collectionRow) error
}

type collectionRow struct {
	known          bool
	elements       int
	source, reason string
	at             time.Time
	content        []byte
}

func collectionOf[T any](name string, f *fleet.Fact[T]) collection {
	return collection{
		name: name,
		write: func() (collectionRow, error) {
			content, err := json.Marshal(f.Value)
			row := collectionRow{known: f.Known, source: f.Source, reason: f.Reason, at: f.At, content: content}
			if v := reflect.ValueOf(f.Value); v.Kind() == reflect.Slice {
				row.elements = v.Len()
			}
			return row, err
		},
		read: func(row collectionRow) error {
			*f = fleet.Fact[T]{Known: row.known, Source: row.source, Reason: row.reason, At: row.at}
			if err := json.Unmarshal(row.content, &f.Value); err != nil {
				return fmt.Errorf("collection %s: %w", name, err)
			}
			return nil
		},
	}
}

func accountCollections(a *fleet.Account) []collection {
	return []collection{
		collectionOf("caller", &a.Caller),
		collectionOf("profiles", &a.Profiles),
		collectionOf("roles", &a.Roles),
		collectionOf("policies", &a.Policies),
		collectionOf("users", &a.Users),
		collectionOf("groups", &a.Groups),
		collectionOf("controlLevels", &a.ControlLevels),
		collectionOf("simulations", &a.Simulations),
		collectionOf("hostedZones", &a.HostedZones),
	}
}

// regionCollections leaves HybridNodes and UnplacedNodes out: they are rows of the table nodes.
func regionCollections(r *fleet.Region) []collection {
	return []collection{
		collectionOf("instances", &r.Instances),
		collectionOf("nodes", &r.Nodes),
		collectionOf("defaultRole", &r.DefaultRole),
		collectionOf("scalingGroups", &r.ScalingGroups),
		collectionOf("templates", &r.Templates),
		collectionOf("keyPairs", &r.KeyPairs),
		collectionOf("vpcs", &r.VPCs),
		collectionOf("subnets", &r.Subnets),
		collectionOf("routeTables", &r.RouteTables),
		collectionOf("groups", &r.Groups),
		collectionOf("networkAcls", &r.NetworkACLs),
		collectionOf("endpoints", &r.Endpoints),
		collectionOf("gateways", &r.Gateways),
		collectionOf("natGateways", &r.NATGateways),
		collectionOf("prefixLists", &r.PrefixLists),
		collectionOf("dhcpOptions", &r.DHCPOptions),
		collectionOf("peerings", &r.Peerings),
		collectionOf("resolverRules", &r.ResolverRules),
		collectionOf("connectEndpoints", &r.ConnectEndpoints),
		collectionOf("serialConsole", &r.SerialConsole),
		collectionOf("preferences", &r.Preferences),
		collectionOf("documents", &r.Documents),
		collectionOf("sessions", &r.Sessions),
	}
}
