package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"ssm-migrate/internal/plan"
)

// SavePlan keeps a plan; by says who made it. Saving the same plan twice does
// nothing. A snapshot that is not there is ErrNoSnapshot; as long as the plan
// is kept, its snapshot is.
func (d *DB) SavePlan(ctx context.Context, p *plan.Plan, by string) error {
	if err := p.Verify(); err != nil {
		return fmt.Errorf("save plan: %w", err)
	}
	content, err := plan.Encode(p)
	if err != nil {
		return fmt.Errorf("save plan %s: %w", p.ID, err)
	}
	err = d.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO plans (id, digest, snapshot, made, by, content) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (digest) DO NOTHING",
			p.ID, p.Digest, p.Snapshot, timeText(p.Made), by, string(content))
		return err
	})
	if err != nil {
		return fmt.Errorf("save plan %s: %w", p.ID, err)
	}
	return nil
}

// Plan reads a plan by its ID, or by the beginning of it; empty: the newest of a cutover. None, or
// more than one, is ErrNoPlan. A plan that was changed in the file is plan.ErrDigest.
func (d *DB) Plan(ctx context.Context, id string) (*plan.Plan, error) {
	var found []string
	var content []byte
	err := d.read(ctx, func(tx *sql.Tx) error {
		// A prefix is compared as text: LIKE would read % and _ in it.
		err := query(ctx, tx, "SELECT id FROM plans WHERE substr(id, 1, length(?1)) = ?1 AND (?1 <> '' OR content ->> 'purpose' IS NULL) ORDER BY made DESC, rowid DESC LIMIT 2", []any{id}, func(scan scanner) error {
			var one string
			err := scan(&one)
			found = append(found, one)
			return err
		})
		if err != nil {
			return err
		}
		if len(found) == 0 || len(found) > 1 && id != "" {
			return ErrNoPlan
		}
		return tx.QueryRowContext(ctx, "SELECT content FROM plans WHERE id = ?", found[0]).Scan(&content)
	})
	if errors.Is(err, ErrNoPlan) && len(found) > 1 {
		return nil, fmt.Errorf("plan %s: %w: the ID of several begins so", id, ErrNoPlan)
	}
	if err != nil {
		return nil, fmt.Errorf("plan %s: %w", id, err)
	}
	p, err := plan.Decode(content)
	if err != nil {
		return nil, fmt.Errorf("plan %s in the state file: %w", found[0], err)
	}
	return p, nil
}

// Plans lists the plans of all purposes, newest first.
func (d *DB) Plans(ctx context.Context) ([]plan.Info, error) {
	var out []plan.Info
	err := d.read(ctx, func(tx *sql.Tx) error {
		return query(ctx, tx, "SELECT id, digest, snapshot, made, by, coalesce(content ->> 'purpose', '') FROM plans ORDER BY made DESC, rowid DESC", nil, func(scan scanner) error {
			var p plan.Info
			err := scan(&p.ID, &p.Digest, &p.Snapshot, textTime{&p.Made}, &p.By, (*string)(&p.Purpose))
			out = append(out, p)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list plans: %w", err)
	}
	return out, nil
}
