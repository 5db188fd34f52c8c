package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"ssm-migrate/internal/cutover"
)

// Acquire implements cutover.Leases. Holder tells one run from all others, so
// it should name the process too: a run never takes its own name for a reason
// to push another one out.
func (d *DB) Acquire(ctx context.Context, holder string, duration time.Duration) (int64, error) {
	if holder == "" || duration <= 0 {
		return 0, errors.New("acquire the lease: holder and duration must be set")
	}
	var fence int64
	err := d.write(ctx, func(tx *sql.Tx) error {
		var held string
		var until int64
		now := time.Now()
		err := tx.QueryRowContext(ctx, "SELECT holder, until FROM lease WHERE id = 1").Scan(&held, &until)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if held != "" && now.UnixNano() < until {
			return &cutover.HeldError{Holder: held, Until: time.Unix(0, until).UTC()}
		}
		return tx.QueryRowContext(ctx, `INSERT INTO lease (id, holder, until, fence) VALUES (1, ?1, ?2, 1)
			ON CONFLICT (id) DO UPDATE SET holder = ?1, until = ?2, fence = fence + 1 RETURNING fence`,
			holder, now.Add(duration).UnixNano()).Scan(&fence)
	})
	if err != nil {
		return 0, fmt.Errorf("acquire the lease: %w", err)
	}
	return fence, nil
}

// Renew implements cutover.Leases. A lease that has run out is lost, also when
// nobody has taken it since.
func (d *DB) Renew(ctx context.Context, fence int64, duration time.Duration) error {
	err := d.write(ctx, func(tx *sql.Tx) error {
		if err := mustHold(ctx, tx, fence); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "UPDATE lease SET until = ? WHERE id = 1", time.Now().Add(duration).UnixNano())
		return err
	})
	if err != nil {
		return fmt.Errorf("renew the lease: %w", err)
	}
	return nil
}

// Release implements cutover.Leases. Releasing what somebody else holds by now
// does nothing.
func (d *DB) Release(ctx context.Context, fence int64) error {
	err := d.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE lease SET holder = '' WHERE id = 1 AND fence = ?", fence)
		return err
	})
	if err != nil {
		return fmt.Errorf("release the lease: %w", err)
	}
	return nil
}

// Holder says who holds the lease and until when; empty: nobody.
func (d *DB) Holder(ctx context.Context) (holder string, until time.Time, err error) {
	err = d.read(ctx, func(tx *sql.Tx) error {
		var end int64
		err := tx.QueryRowContext(ctx, "SELECT holder, until FROM lease WHERE id = 1").Scan(&holder, &end)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		until = time.Unix(0, end).UTC()
		if err == nil && (holder == "" || !time.Now().Before(until)) {
			holder, until = "", time.Time{}
		}
		return err
	})
	if err != nil {
		return "", time.Time{}, fmt.Errorf("read the lease: %w", err)
	}
	return holder, until, nil
}

// leaseRow is the lease as it is stored.
type leaseRow struct {
	holder       string
	until, fence int64
}

// heldWith fails with cutover.ErrLease unless the lease is held with the fence.
func (l leaseRow) heldWith(fence int64) error {
	if l.holder == "" || l.fence != fence || time.Now().UnixNano() >= l.until {
		return cutover.ErrLease
	}
	return nil
}

// mustHold is heldWith for the lease that is stored now.
func mustHold(ctx context.Context, tx *sql.Tx, fence int64) error {
	var l leaseRow
	err := tx.QueryRowContext(ctx, "SELECT holder, until, fence FROM lease WHERE id = 1").Scan(&l.holder, &l.until, &l.fence)
	if errors.Is(err, sql.ErrNoRows) {
		return cutover.ErrLease
	}
	if err != nil {
		return err
	}
	return l.heldWith(fence)
}
