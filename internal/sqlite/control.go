package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"ssm-migrate/internal/cutover"
)

// Control implements cutover.Control.
func (d *DB) Control(ctx context.Context, planID string) (cutover.Wish, error) {
	var w cutover.Wish
	err := d.read(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, "SELECT pause, stop, concurrency, by, at, reason FROM control WHERE plan = ?", planID).
			Scan(&w.Pause, &w.Stop, &w.Concurrency, &w.By, textTime{&w.At}, &w.Reason)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	if err != nil {
		return cutover.Wish{}, fmt.Errorf("read what is wished of plan %s: %w", planID, err)
	}
	return w, nil
}

// SetControl puts a wish in place of an earlier one.
func (d *DB) SetControl(ctx context.Context, planID string, w cutover.Wish) error {
	err := d.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO control (plan, pause, stop, concurrency, by, at, reason) VALUES (?, ?, ?, ?, ?, ?, ?)",
			planID, w.Pause, w.Stop, w.Concurrency, w.By, timeText(w.At), w.Reason)
		return err
	})
	if err != nil {
		return fmt.Errorf("store what is wished of plan %s: %w", planID, err)
	}
	return nil
}
