package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// KeepStage notes the stage that the wizard shows.
func (d *DB) KeepStage(ctx context.Context, stage string) error {
	err := d.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO wizard (id, stage) VALUES (1, ?)", stage)
		return err
	})
	if err != nil {
		return fmt.Errorf("note the wizard's stage: %w", err)
	}
	return nil
}

// Stage is the stage that KeepStage noted last; empty: none yet.
func (d *DB) Stage(ctx context.Context) (stage string, err error) {
	err = d.read(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, "SELECT stage FROM wizard").Scan(&stage)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read the wizard's stage: %w", err)
	}
	return stage, nil
}
