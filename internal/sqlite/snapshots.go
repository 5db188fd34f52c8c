package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"ssm-migrate/internal/fleet"
)

// Begin opens a new snapshot with info's Started and Version, and gives its
// ID. Until Finish it counts as running. As for Save and Finish, it is the
// caller who says in an error what was being done.
func (d *DB) Begin(ctx context.Context, info fleet.SnapshotInfo) (int64, error) {
	var id int64
	err := d.write(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, "INSERT INTO snapshots (started, state, version) VALUES (?, 'running', ?) RETURNING id",
			timeText(info.Started), info.Version).Scan(&id)
	})
	if err != nil {
		return 0, err
	}
	return id, nil
}

// Finish closes the snapshot info.ID with info's Finished, State, Hosts and
// Unknowns. A snapshot can be finished once (ErrNotRunning).
func (d *DB) Finish(ctx context.Context, info fleet.SnapshotInfo) error {
	if info.State != fleet.SnapshotComplete && info.State != fleet.SnapshotIncomplete {
		return fmt.Errorf("%s is not an end state", info.State)
	}
	return d.write(ctx, func(tx *sql.Tx) error {
		if err := mustRun(ctx, tx, info.ID); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "UPDATE snapshots SET finished = ?, state = ?, hosts = ?, unknowns = ? WHERE id = ?",
			timeText(info.Finished), info.State.String(), info.Hosts, info.Unknowns, info.ID)
		return err
	})
}

func mustRun(ctx context.Context, tx *sql.Tx, id int64) error {
	var running bool
	err := tx.QueryRowContext(ctx, "SELECT state = 'running' FROM snapshots WHERE id = ?", id).Scan(&running)
	if err == nil && !running || errors.Is(err, sql.ErrNoRows) {
		return ErrNotRunning
	}
	return err
}

const selectSnapshots = "SELECT id, started, finished, state, version, hosts, unknowns FROM snapshots "

// Snapshots lists all snapshots, newest first, running ones included.
func (d *DB) Snapshots(ctx context.Context) ([]fleet.SnapshotInfo, error) {
	var out []fleet.SnapshotInfo
	err := d.read(ctx, func(tx *sql.Tx) error {
		return query(ctx, tx, selectSnapshots+"ORDER BY id DESC", nil, func(scan scanner) error {
			info, err := scanSnapshot(scan)
			out = append(out, info)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	return out, nil
}

// Latest is the newest finished snapshot, or ErrNoSnapshot.
func (d *DB) Latest(ctx context.Context) (fleet.SnapshotInfo, error) {
	var info fleet.SnapshotInfo
	err := d.read(ctx, func(tx *sql.Tx) (err error) {
		info, err = scanSnapshot(tx.QueryRowContext(ctx, selectSnapshots+"WHERE state <> 'running' ORDER BY id DESC LIMIT 1").Scan)
		return err
	})
	if err != nil {
		return fleet.SnapshotInfo{}, fmt.Errorf("latest snapshot: %w", err)
	}
	return info, nil
}

// Delete removes a snapshot with its assessment. A writer that still works on
// it gets ErrNotRunning. Deleting what is not there is ErrNoSnapshot; one that
// a plan was made from is ErrPlanned.
func (d *DB) Delete(ctx context.Context, id int64) error {
	err := d.write(ctx, func(tx *sql.Tx) error {
		var planned bool
		if err := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM plans WHERE snapshot = ?)", id).Scan(&planned); err != nil {
			return err
		}
		if planned {
			return ErrPlanned
		}
		done, err := tx.ExecContext(ctx, "DELETE FROM snapshots WHERE id = ?", id)
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 {
			return errors.Join(ErrNoSnapshot, err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("delete snapshot %d: %w", id, err)
	}
	return nil
}

// mayRun is the age up to which a snapshot that was not finished is taken for
// one that is still being written.
const mayRun = 24 * time.Hour

// Prune keeps the newest finished snapshots, keep of them (at least one), and
// deletes the finished ones that are older. Of those that were never finished
// it deletes the ones that are older than the newest finished snapshot, but
// never one that may still be running: one that started less than 24 hours ago
// by this machine's clock. A snapshot that a plan was made from stays, beyond
// the number. It gives how many it deleted. The file does not
// shrink; its free space is used again.
func (d *DB) Prune(ctx context.Context, keep int) (int, error) {
	if keep < 1 {
		return 0, fmt.Errorf("prune snapshots: cannot keep %d, want at least 1", keep)
	}
	var n int64
	err := d.write(ctx, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, `WITH finished AS (SELECT id FROM snapshots WHERE state <> 'running')
			DELETE FROM snapshots WHERE id NOT IN (SELECT snapshot FROM plans) AND CASE state
				WHEN 'running' THEN id < (SELECT max(id) FROM finished) AND coalesce(unixepoch(started), 0) <= ?
				ELSE id < (SELECT id FROM finished ORDER BY id DESC LIMIT 1 OFFSET ?) END`, time.Now().Add(-mayRun).Unix(), keep-1)
		if err != nil {
			return err
		}
		n, err = done.RowsAffected()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("prune snapshots: %w", err)
	}
	return int(n), nil
}

// scanner reads the columns of the current row.
type scanner func(into ...any) error

func scanSnapshot(scan scanner) (fleet.SnapshotInfo, error) {
	var info fleet.SnapshotInfo
	var state string
	err := scan(&info.ID, textTime{&info.Started}, textTime{&info.Finished}, &state, &info.Version, &info.Hosts, &info.Unknowns)
	if errors.Is(err, sql.ErrNoRows) {
		return info, ErrNoSnapshot
	}
	if err != nil {
		return info, err
	}
	return info, info.State.UnmarshalText([]byte(state))
}

// query calls row for every row of the answer.
func query(ctx context.Context, tx *sql.Tx, text string, args []any, row func(scanner) error) error {
	rows, err := tx.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // Err below tells what went wrong
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// timeText is a time as it is stored: RFC 3339 in UTC, NULL for the zero time.
func timeText(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// textTime scans what timeText wrote.
type textTime struct{ t *time.Time }

// Scan implements sql.Scanner.
func (s textTime) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*s.t = time.Time{}
		return nil
	case string:
		t, err := time.Parse(time.RFC3339Nano, v)
		*s.t = t
		return err
	}
	return fmt.Errorf("%T is not a stored time", v)
}
