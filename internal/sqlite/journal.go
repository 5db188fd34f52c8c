package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"ssm-migrate/internal/cutover"
)

// Append implements cutover.Journal. All entries are on disk when it returns,
// or none. A journal that ends in a lease which has run out or was given to
// somebody else takes no more: cutover.ErrLease.
func (d *DB) Append(ctx context.Context, fence int64, entries ...cutover.Entry) ([]cutover.Entry, error) {
	out, err := d.append(ctx, fence, entries)
	if err != nil {
		return nil, fmt.Errorf("write the journal: %w", err)
	}
	return out, nil
}

func (d *DB) append(ctx context.Context, fence int64, entries []cutover.Entry) (out []cutover.Entry, err error) {
	last, err := d.prepared(ctx, journalEnd)
	if err != nil {
		return nil, err
	}
	insert, err := d.prepared(ctx, journalInsert)
	if err != nil {
		return nil, err
	}
	err = d.write(ctx, func(tx *sql.Tx) error {
		// Nothing waits for anybody once the transaction has begun: a context
		// that may end would only cost a goroutine for each statement.
		ctx := context.WithoutCancel(ctx)
		var l leaseRow
		var seq int64
		var hash string
		err := tx.StmtContext(ctx, last).QueryRowContext(ctx).Scan(&l.holder, &l.until, &l.fence, &seq, &hash) //nolint:sqlclosecheck // the transaction closes it
		if errors.Is(err, sql.ErrNoRows) {
			return cutover.ErrLease
		}
		if err != nil {
			return err
		}
		if err := l.heldWith(fence); err != nil {
			return err
		}
		if out, err = cutover.Chain(seq, hash, entries); err != nil {
			return err
		}
		into := tx.StmtContext(ctx, insert)
		for i := range out {
			if err := insertEntry(ctx, into, &out[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

// What is asked for each entry, and so is prepared once.
const (
	journalEnd = `SELECT holder, until, fence, coalesce(seq, 0), coalesce(hash, '')
		FROM lease LEFT JOIN (SELECT seq, hash FROM journal ORDER BY seq DESC LIMIT 1) WHERE id = 1`
	journalInsert = `INSERT INTO journal (seq, at, plan, digest, wave, step, event, result, hosts, detail, operator, image, prev, hash)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
)

func insertEntry(ctx context.Context, insert *sql.Stmt, e *cutover.Entry) error {
	var hosts, image any
	if e.Hosts != nil {
		text, err := json.Marshal(e.Hosts)
		if err != nil {
			return err
		}
		hosts = string(text)
	}
	if e.Image != nil {
		image = string(e.Image)
	}
	_, err := insert.ExecContext(ctx,
		e.Seq, timeText(e.At), e.Plan, e.Digest, e.Wave, e.Step, string(e.Event), e.Result.String(), hosts, e.Detail, e.Operator, image, e.Prev, e.Hash)
	return err
}

// Entries implements cutover.Journal.
func (d *DB) Entries(ctx context.Context, planID string) ([]cutover.Entry, error) {
	var out []cutover.Entry
	err := d.read(ctx, func(tx *sql.Tx) error {
		const columns = "seq, at, plan, digest, wave, step, event, result, hosts, detail, operator, image, prev, hash"
		return query(ctx, tx, "SELECT "+columns+" FROM journal WHERE ?1 = '' OR plan = ?1 ORDER BY seq", []any{planID}, func(scan scanner) error {
			var e cutover.Entry
			var result string
			var image sql.NullString
			err := scan(&e.Seq, textTime{&e.At}, &e.Plan, &e.Digest, &e.Wave, &e.Step, (*string)(&e.Event), &result, jsonText{&e.Hosts},
				&e.Detail, &e.Operator, &image, &e.Prev, &e.Hash)
			if err != nil {
				return err
			}
			if image.Valid {
				e.Image = json.RawMessage(image.String)
			}
			err = e.Result.UnmarshalText([]byte(result))
			out = append(out, e)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	return out, nil
}

// LastEntry is the number of a plan's newest journal entry; 0 without any. It
// tells cheaply whether Entries would give more than the last time.
func (d *DB) LastEntry(ctx context.Context, planID string) (seq int64, err error) {
	err = d.read(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, "SELECT coalesce(max(seq), 0) FROM journal WHERE plan = ?", planID).Scan(&seq)
	})
	if err != nil {
		return 0, fmt.Errorf("read the journal: %w", err)
	}
	return seq, nil
}

// LastPlan is the plan of the newest journal entry; empty without any.
func (d *DB) LastPlan(ctx context.Context) (id string, err error) {
	err = d.read(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `SELECT plan FROM journal WHERE plan NOT IN (SELECT id FROM plans WHERE content ->> 'purpose' IS NOT NULL)
			ORDER BY seq DESC LIMIT 1`).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read the journal: %w", err)
	}
	return id, nil
}

// LastRun is the ID of the plan that the last entry of the journal belongs to,
// whatever the plan is for; empty: the journal is empty.
func (d *DB) LastRun(ctx context.Context) (id string, err error) {
	err = d.read(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, "SELECT plan FROM journal ORDER BY seq DESC LIMIT 1").Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read the journal: %w", err)
	}
	return id, nil
}
