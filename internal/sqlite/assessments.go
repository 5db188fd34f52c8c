package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"ssm-migrate/internal/fleet"
)

// SaveAssessment keeps the judgement on a snapshot in place of an earlier one.
// A snapshot that is not there is ErrNoSnapshot.
func (d *DB) SaveAssessment(ctx context.Context, a *fleet.Assessment) error {
	err := d.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM assessments WHERE snapshot = ?", a.Snapshot); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO assessments (snapshot, at) VALUES (?, ?)", a.Snapshot, timeText(a.At)); err != nil {
			return err
		}
		s := saver{ctx: ctx, tx: tx, snapshot: a.Snapshot}
		position := 0
		next := func() int { position++; return position }
		err := each(&s, "INSERT INTO verdicts (snapshot, position, host, verdict, cause) VALUES (?, ?, ?, ?, ?)", a.Hosts,
			func(h *fleet.HostVerdict) ([]any, error) {
				return []any{next(), h.Host, h.Verdict.String(), h.Cause}, nil
			})
		if err != nil {
			return err
		}
		position = 0
		return each(&s, `INSERT INTO findings (snapshot, position, code, host, object, severity, title, evidence, fix, blast)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, a.Findings,
			func(f *fleet.Finding) ([]any, error) {
				evidence, err := json.Marshal(f.Evidence)
				return []any{next(), f.Code, f.Host, f.Object, f.Severity.String(), f.Title, string(evidence), f.Fix, f.Blast}, err
			})
	})
	if err != nil {
		return fmt.Errorf("save assessment of snapshot %d: %w", a.Snapshot, err)
	}
	return nil
}

// Assessment reads the judgement on a snapshot, or gives ErrNoAssessment.
func (d *DB) Assessment(ctx context.Context, snapshot int64) (*fleet.Assessment, error) {
	a := &fleet.Assessment{Snapshot: snapshot}
	err := d.read(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, "SELECT at FROM assessments WHERE snapshot = ?", snapshot).Scan(textTime{&a.At})
		if errors.Is(err, sql.ErrNoRows) {
			return ErrNoAssessment
		}
		if err != nil {
			return err
		}
		id := []any{snapshot}
		err = query(ctx, tx, "SELECT host, verdict, cause FROM verdicts WHERE snapshot = ? ORDER BY position", id, func(scan scanner) error {
			var h fleet.HostVerdict
			var verdict string
			if err := scan(&h.Host, &verdict, &h.Cause); err != nil {
				return err
			}
			err := h.Verdict.UnmarshalText([]byte(verdict))
			a.Hosts = append(a.Hosts, h)
			return err
		})
		if err != nil {
			return err
		}
		return query(ctx, tx, "SELECT code, host, object, severity, title, evidence, fix, blast FROM findings WHERE snapshot = ? ORDER BY position", id,
			func(scan scanner) error {
				var f fleet.Finding
				var severity string
				if err := scan(&f.Code, &f.Host, &f.Object, &severity, &f.Title, jsonText{&f.Evidence}, &f.Fix, &f.Blast); err != nil {
					return err
				}
				err := f.Severity.UnmarshalText([]byte(severity))
				a.Findings = append(a.Findings, f)
				return err
			})
	})
	if err != nil {
		return nil, fmt.Errorf("assessment of snapshot %d: %w", snapshot, err)
	}
	return a, nil
}
