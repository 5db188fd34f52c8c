package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"ssm-migrate/internal/fleet"
)

// Load reads a snapshot, or gives ErrNoSnapshot. Values that many hosts have
// in common are shared between them: treat the snapshot as read-only. A
// running snapshot is given as far as it has come.
func (d *DB) Load(ctx context.Context, id int64) (*fleet.Snapshot, error) {
	var s *fleet.Snapshot
	err := d.read(ctx, func(tx *sql.Tx) error {
		info, err := scanSnapshot(tx.QueryRowContext(ctx, selectSnapshots+"WHERE id = ?", id).Scan)
		if err != nil {
			return err
		}
		l := loader{ctx: ctx, tx: tx, snapshot: id}
		l.Hosts = make([]fleet.Host, 0, info.Hosts)
		for _, load := range []func() error{l.accounts, l.regions, l.collections, l.hosts, l.nodes, l.connections, l.probes} {
			if err := load(); err != nil {
				return err
			}
		}
		s = fleet.Join(info, l.Batch)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load snapshot %d: %w", id, err)
	}
	return s, nil
}

// loader reads a whole snapshot into one batch, in a fixed order.
type loader struct {
	fleet.Batch
	ctx      context.Context
	tx       *sql.Tx
	snapshot int64
}

func (l *loader) query(text string, row func(scanner) error) error {
	return query(l.ctx, l.tx, text, []any{l.snapshot}, row)
}

func (l *loader) accounts() error {
	return l.query("SELECT label, id FROM accounts WHERE snapshot = ? ORDER BY label", func(scan scanner) error {
		var a fleet.Account
		err := scan(&a.Label, &a.ID)
		l.Accounts = append(l.Accounts, a)
		return err
	})
}

func (l *loader) regions() error {
	return l.query("SELECT label, name, account FROM regions WHERE snapshot = ? ORDER BY label, name", func(scan scanner) error {
		var r fleet.Region
		err := scan(&r.Label, &r.Name, &r.Account)
		l.Regions = append(l.Regions, r)
		return err
	})
}

func (l *loader) collections() error {
	type key struct{ label, region, name string }
	readers := map[key]func(collectionRow) error{}
	for i := range l.Accounts {
		for _, c := range accountCollections(&l.Accounts[i]) {
			readers[key{l.Accounts[i].Label, "", c.name}] = c.read
		}
	}
	for i := range l.Regions {
		for _, c := range regionCollections(&l.Regions[i]) {
			readers[key{l.Regions[i].Label, l.Regions[i].Name, c.name}] = c.read
		}
	}
	return l.query("SELECT label, region, name, known, source, at, reason, content FROM collections WHERE snapshot = ?", func(scan scanner) error {
		var k key
		var row collectionRow
		if err := scan(&k.label, &k.region, &k.name, &row.known, &row.source, textTime{&row.at}, &row.reason, &row.content); err != nil {
			return err
		}
		if read, ok := readers[k]; ok {
			return read(row)
		}
		return nil
	})
}

func (l *loader) hosts() error {
	return l.query("SELECT record FROM hosts WHERE snapshot = ?", func(scan scanner) error {
		var h fleet.Host
		err := scan(jsonText{&h})
		l.Hosts = append(l.Hosts, h)
		return err
	})
}

func (l *loader) nodes() error {
	return l.query("SELECT record FROM nodes WHERE snapshot = ? ORDER BY account, region, id", func(scan scanner) error {
		var n fleet.Node
		err := scan(jsonText{&n})
		l.Nodes = append(l.Nodes, n)
		return err
	})
}

func (l *loader) connections() error {
	return l.query("SELECT host, known, status, source, at, reason FROM connections WHERE snapshot = ?", func(scan scanner) error {
		var c fleet.HostStatus
		f := &c.Status
		err := scan(&c.Host, &f.Known, &f.Value, &f.Source, textTime{&f.At}, &f.Reason)
		l.Connections = append(l.Connections, c)
		return err
	})
}

func (l *loader) probes() error {
	parts, err := l.parts()
	if err != nil {
		return err
	}
	at := map[string]int{}
	err = l.query("SELECT host, known, source, at, reason, settings, users, record FROM probes WHERE snapshot = ? ORDER BY host", func(scan scanner) error {
		var p fleet.ProbeResult
		var settings, users sql.Null[string]
		f := &p.Probe
		if err := scan(&p.Host, &f.Known, &f.Source, textTime{&f.At}, &f.Reason, &settings, &users, jsonText{&f.Value}); err != nil {
			return err
		}
		var err error
		if settings.Valid {
			if f.Value.SSHD.Value.Settings, err = decoded(parts.settings, parts.bodies, settings.V); err != nil {
				return err
			}
		}
		if users.Valid {
			if f.Value.Users.Value, err = decoded(parts.users, parts.bodies, users.V); err != nil {
				return err
			}
		}
		at[p.Host] = len(l.Probes)
		l.Probes = append(l.Probes, p)
		return nil
	})
	if err != nil {
		return err
	}
	return l.keys(at)
}

// probeParts are the parts that probes share, decoded when first needed.
type probeParts struct {
	bodies   map[string][]byte
	settings map[string]map[string][]string
	users    map[string][]fleet.User
}

func (l *loader) parts() (probeParts, error) {
	p := probeParts{bodies: map[string][]byte{}, settings: map[string]map[string][]string{}, users: map[string][]fleet.User{}}
	err := l.query("SELECT digest, body FROM probe_parts WHERE snapshot = ?", func(scan scanner) error {
		var digest string
		var body []byte
		err := scan(&digest, &body)
		p.bodies[digest] = body
		return err
	})
	return p, err
}

func decoded[T any](done map[string]T, bodies map[string][]byte, digest string) (T, error) {
	v, ok := done[digest]
	if ok {
		return v, nil
	}
	body, ok := bodies[digest]
	if !ok {
		return v, fmt.Errorf("%w: part %s of a probe is missing", ErrDamaged, digest)
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return v, err
	}
	done[digest] = v
	return v, nil
}

// keys gives each probe its keys. Strings that many keys have in common are
// kept once: one shared key may open every host of a fleet.
func (l *loader) keys(probes map[string]int) error {
	known := map[string]string{}
	once := func(s *string) {
		if k, ok := known[*s]; ok {
			*s = k
			return
		}
		known[*s] = *s
	}
	return l.query(`SELECT host, user, file, line, type, bits, fingerprint, blob, comment, options, ca, problem
		FROM host_keys WHERE snapshot = ? ORDER BY host, position`, func(scan scanner) error {
		var host string
		var k fleet.Key
		if err := scan(&host, &k.User, &k.File, &k.Line, &k.Type, &k.Bits, &k.Fingerprint, &k.Blob, &k.Comment, jsonText{&k.Options}, &k.CA, &k.Problem); err != nil {
			return err
		}
		i, ok := probes[host]
		if !ok {
			return fmt.Errorf("%w: keys of %s without its probe", ErrDamaged, host)
		}
		for _, s := range []*string{&k.User, &k.File, &k.Type, &k.Fingerprint, &k.Blob, &k.Comment, &k.Problem} {
			once(s)
		}
		f := &l.Probes[i].Probe.Value.Keys
		f.Value = append(f.Value, k)
		return nil
	})
}

// jsonText scans a JSON column into a value; NULL leaves it as it is.
type jsonText struct{ into any }

// Scan implements sql.Scanner.
func (j jsonText) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		return json.Unmarshal([]byte(v), j.into)
	case []byte:
		return json.Unmarshal(v, j.into)
	}
	return fmt.Errorf("%T is not stored JSON", v)
}
