package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"

	"ssm-migrate/internal/fleet"
)

// Save adds a batch to a running snapshot in one transaction. Records with
// the key of an earlier one replace it. A snapshot that is not running is
// ErrNotRunning. The caller says what was being saved, and where to.
func (d *DB) Save(ctx context.Context, snapshot int64, b fleet.Batch) error {
	return d.write(ctx, func(tx *sql.Tx) error {
		if err := mustRun(ctx, tx, snapshot); err != nil {
			return err
		}
		s := saver{ctx: ctx, tx: tx, snapshot: snapshot}
		for _, save := range []func(fleet.Batch) error{s.accounts, s.regions, s.hosts, s.nodes, s.connections, s.probes} {
			if err := save(b); err != nil {
				return err
			}
		}
		return nil
	})
}

// saver writes one batch within one transaction.
type saver struct {
	ctx      context.Context
	tx       *sql.Tx
	snapshot int64
}

// each runs a statement once for every item, with the snapshot's ID as its
// first argument.
func each[T any](s *saver, text string, items []T, args func(*T) ([]any, error)) error {
	if len(items) == 0 {
		return nil
	}
	stmt, err := s.tx.PrepareContext(s.ctx, text)
	if err != nil {
		return err
	}
	defer func() { _ = stmt.Close() }()
	row := make([]any, 0, 20)
	for i := range items {
		rest, err := args(&items[i])
		if err != nil {
			return err
		}
		row = append(append(row[:0], s.snapshot), rest...)
		if _, err := stmt.ExecContext(s.ctx, row...); err != nil {
			return err
		}
	}
	return nil
}

func (s *saver) accounts(b fleet.Batch) error {
	err := each(s, "REPLACE INTO accounts (snapshot, label, id) VALUES (?, ?, ?)", b.Accounts,
		func(a *fleet.Account) ([]any, error) { return []any{a.Label, a.ID}, nil })
	if err != nil {
		return err
	}
	for i := range b.Accounts {
		if err := s.collections(b.Accounts[i].Label, "", accountCollections(&b.Accounts[i])); err != nil {
			return err
		}
	}
	return nil
}

func (s *saver) regions(b fleet.Batch) error {
	err := each(s, "REPLACE INTO regions (snapshot, label, name, account) VALUES (?, ?, ?, ?)", b.Regions,
		func(r *fleet.Region) ([]any, error) { return []any{r.Label, r.Name, r.Account}, nil })
	if err != nil {
		return err
	}
	for i := range b.Regions {
		if err := s.collections(b.Regions[i].Label, b.Regions[i].Name, regionCollections(&b.Regions[i])); err != nil {
			return err
		}
	}
	return nil
}

func (s *saver) collections(label, region string, cs []collection) error {
	return each(s, `REPLACE INTO collections (snapshot, label, region, name, known, elements, source, at, reason, content)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, cs,
		func(c *collection) ([]any, error) {
			r, err := c.write()
			return []any{label, region, c.name, r.known, r.elements, r.source, timeText(r.at), r.reason, string(r.content)}, err
		})
}

func (s *saver) hosts(b fleet.Batch) error {
	return each(s, `REPLACE INTO hosts (snapshot, id, account, region, az, name, state, platform, image, vpc, subnet,
		private_ip, public_ip, profile_arn, auto_scaling_group, record) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, b.Hosts,
		func(h *fleet.Host) ([]any, error) {
			only := *h
			only.Node, only.Connection, only.Probe = fleet.Fact[fleet.Node]{}, fleet.Fact[string]{}, fleet.Fact[fleet.Probe]{}
			record, err := json.Marshal(ec2Record{Host: &only})
			return []any{
				h.ID, h.Account, h.Region, h.AZ, h.Name(), h.State, h.Platform, h.ImageID, h.VPC, h.Subnet,
				addrText(h.PrivateIP), addrText(h.PublicIP), h.ProfileARN, h.AutoScalingGroup, string(record),
			}, err
		})
}

// ec2Record is a host without the facts that have tables of their own.
type ec2Record struct {
	*fleet.Host
	Node       *struct{} `json:"node,omitempty"`
	Connection *struct{} `json:"connection,omitempty"`
	Probe      *struct{} `json:"probe,omitempty"`
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func (s *saver) nodes(b fleet.Batch) error {
	return each(s, `REPLACE INTO nodes (snapshot, id, account, region, ping_status, agent_version, platform_name, record)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`, b.Nodes,
		func(n *fleet.Node) ([]any, error) {
			record, err := json.Marshal(n)
			return []any{n.ID, n.Account, n.Region, n.PingStatus, n.AgentVersion, n.PlatformName, string(record)}, err
		})
}

func (s *saver) connections(b fleet.Batch) error {
	return each(s, "REPLACE INTO connections (snapshot, host, known, status, source, at, reason) VALUES (?, ?, ?, ?, ?, ?, ?)", b.Connections,
		func(c *fleet.HostStatus) ([]any, error) {
			f := c.Status
			return []any{c.Host, f.Known, f.Value, f.Source, timeText(f.At), f.Reason}, nil
		})
}

// probeRow is a probe taken apart into what its tables hold.
type probeRow struct {
	host            string
	fact            fleet.Fact[fleet.Probe] // without what the fields below hold
	agent           string
	settings, users any // digests, or nil
	keys            []fleet.Key
}

type probePart struct{ digest, body string }

func (s *saver) probes(b fleet.Batch) error {
	var rows []probeRow
	var parts []probePart
	seen := map[string]bool{}
	part := func(v any) (any, error) {
		body, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(body)
		digest := hex.EncodeToString(sum[:])
		if !seen[digest] {
			seen[digest] = true
			parts = append(parts, probePart{digest, string(body)})
		}
		return digest, nil
	}
	for _, p := range b.Probes {
		r, err := takeApart(p, part)
		if err != nil {
			return fmt.Errorf("probe of %s: %w", p.Host, err)
		}
		rows = append(rows, r)
	}
	if err := each(s, "INSERT OR IGNORE INTO probe_parts (snapshot, digest, body) VALUES (?, ?, ?)", parts,
		func(p *probePart) ([]any, error) { return []any{p.digest, p.body}, nil }); err != nil {
		return err
	}
	if err := s.probeRows(rows); err != nil {
		return err
	}
	return s.keys(rows)
}

func takeApart(p fleet.ProbeResult, part func(any) (any, error)) (r probeRow, err error) {
	r = probeRow{host: p.Host, fact: p.Probe, agent: p.Probe.Value.Agent.Value.Version}
	v := &r.fact.Value
	if len(v.Keys.Value) > 0 {
		r.keys, v.Keys.Value = v.Keys.Value, nil
	}
	if len(v.SSHD.Value.Settings) > 0 {
		if r.settings, err = part(v.SSHD.Value.Settings); err != nil {
			return r, err
		}
		v.SSHD.Value.Settings = nil
	}
	if len(v.Users.Value) > 0 {
		if r.users, err = part(v.Users.Value); err != nil {
			return r, err
		}
		v.Users.Value = nil
	}
	return r, nil
}

func (s *saver) probeRows(rows []probeRow) error {
	return each(s, `REPLACE INTO probes (snapshot, host, known, source, at, reason, login_user, root, os, agent_version, settings, users, record)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, rows,
		func(r *probeRow) ([]any, error) {
			f := r.fact
			record, err := json.Marshal(f.Value)
			return []any{
				r.host, f.Known, f.Source, timeText(f.At), f.Reason, f.Value.LoginUser, f.Value.Root,
				f.Value.OS.Name, r.agent, r.settings, r.users, string(record),
			}, err
		})
}

// keys replaces all keys of the hosts: a later probe may have found fewer.
func (s *saver) keys(rows []probeRow) error {
	if err := each(s, "DELETE FROM host_keys WHERE snapshot = ? AND host = ?", rows,
		func(r *probeRow) ([]any, error) { return []any{r.host}, nil }); err != nil {
		return err
	}
	type hostKey struct {
		host     string
		position int
		key      *fleet.Key
	}
	var keys []hostKey
	for i := range rows {
		for j := range rows[i].keys {
			keys = append(keys, hostKey{rows[i].host, j, &rows[i].keys[j]})
		}
	}
	return each(s, `REPLACE INTO host_keys (snapshot, host, position, user, file, line, type, bits, fingerprint, blob, comment, options, ca, problem)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, keys,
		func(k *hostKey) ([]any, error) {
			options, err := listText(k.key.Options)
			return []any{
				k.host, k.position, k.key.User, k.key.File, k.key.Line, k.key.Type, k.key.Bits,
				k.key.Fingerprint, k.key.Blob, k.key.Comment, options, k.key.CA, k.key.Problem,
			}, err
		})
}

// listText is a list as JSON, NULL for a nil one.
func listText[T any](list []T) (any, error) {
	if list == nil {
		return nil, nil
	}
	text, err := json.Marshal(list)
	return string(text), err
}
