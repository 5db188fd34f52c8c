package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"ssm-migrate/internal/fleet"
)

// Views gives the saved views in the order of their names.
func (d *DB) Views(ctx context.Context) ([]fleet.View, error) {
	var out []fleet.View
	err := d.read(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, "SELECT name, filter, sort, reverse, grouping FROM views ORDER BY name")
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var v fleet.View
			if err := rows.Scan(&v.Name, &v.Filter, &v.Sort, &v.Reverse, &v.Group); err != nil {
				return err
			}
			out = append(out, v)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("read the saved views: %w", err)
	}
	return out, nil
}

// SaveView puts a view in place of the one of the same name.
func (d *DB) SaveView(ctx context.Context, v fleet.View) error {
	err := d.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO views (name, filter, sort, reverse, grouping) VALUES (?, ?, ?, ?, ?)",
			v.Name, v.Filter, v.Sort, v.Reverse, v.Group)
		return err
	})
	if err != nil {
		return fmt.Errorf("save view %q: %w", v.Name, err)
	}
	return nil
}

// DropView forgets a view. One that is not there is forgotten already.
func (d *DB) DropView(ctx context.Context, name string) error {
	err := d.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM views WHERE name = ?", name)
		return err
	})
	if err != nil {
		return fmt.Errorf("forget view %q: %w", name, err)
	}
	return nil
}
