package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"ssm-migrate/internal/fleet"
)

// SaveRecoveryKey keeps a generation of the recovery key, or what became of one
// that is kept already: the base64 of its public key tells which. A line that
// is no public key, or holds a private one, is refused.
func (d *DB) SaveRecoveryKey(ctx context.Context, k fleet.RecoveryKey) error {
	fields := strings.Fields(k.Line)
	if len(fields) < 2 || strings.ContainsAny(k.Line, "\r\n") || !strings.HasPrefix(fields[1], "AAAA") || strings.Contains(k.Line, "PRIVATE KEY") {
		return errors.New("save the recovery key: its line is not a public key (type, base64, comment)")
	}
	err := d.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO recovery_keys (key, line, ca, location, made, retired, plan) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (key) DO UPDATE SET line = excluded.line, ca = excluded.ca, location = excluded.location, made = excluded.made,
			retired = excluded.retired, plan = excluded.plan`,
			fields[1], k.Line, k.CA, k.Location, timeText(k.Made), timeText(k.Retired), k.Plan)
		return err
	})
	if err != nil {
		return fmt.Errorf("save the recovery key: %w", err)
	}
	return nil
}

// RecoveryKeys lists the generations of the recovery key, those that are retired
// too, the newest first. Of two that were made at the same time the one that
// was saved later is the newer.
func (d *DB) RecoveryKeys(ctx context.Context) ([]fleet.RecoveryKey, error) {
	var out []fleet.RecoveryKey
	err := d.read(ctx, func(tx *sql.Tx) error {
		const text = "SELECT line, ca, location, made, retired, plan FROM recovery_keys ORDER BY unixepoch(made, 'subsec') DESC, id DESC"
		return query(ctx, tx, text, nil, func(scan scanner) error {
			var k fleet.RecoveryKey
			err := scan(&k.Line, &k.CA, &k.Location, textTime{&k.Made}, textTime{&k.Retired}, &k.Plan)
			out = append(out, k)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list the recovery keys: %w", err)
	}
	return out, nil
}
