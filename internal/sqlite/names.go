package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"ssm-migrate/internal/fleet"
)

// HostNames lists hosts of a snapshot whose ID or name begins as given, most of
// them at most, by ID. It reads no more than that: completion asks it at every
// press of a key, also in a fleet of 100,000. Only ID, Account, Region and the
// tag Name of the hosts are set.
func (d *DB) HostNames(ctx context.Context, snapshot int64, begin string, most int) ([]fleet.Host, error) {
	var out []fleet.Host
	err := d.read(ctx, func(tx *sql.Tx) error {
		const text = `SELECT id, account, region, name FROM hosts
			WHERE snapshot = ?1 AND (substr(id, 1, length(?2)) = ?2 OR substr(name, 1, length(?2)) = ?2) ORDER BY id LIMIT ?3`
		return query(ctx, tx, text, []any{snapshot, begin, most}, func(scan scanner) error {
			var h fleet.Host
			var name string
			err := scan(&h.ID, &h.Account, &h.Region, &name)
			if name != h.ID {
				h.Tags = map[string]string{"Name": name}
			}
			out = append(out, h)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list the hosts of snapshot %d: %w", snapshot, err)
	}
	return out, nil
}
