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
		for _, save := range []func(*fleet.Assessment) error{s.verdicts, s.findings, s.assessmentParts} {
			if err := save(a); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("save assessment of snapshot %d: %w", a.Snapshot, err)
	}
	return nil
}

func (s *saver) verdicts(a *fleet.Assessment) error {
	position := 0
	return each(s, "INSERT INTO verdicts (snapshot, position, host, verdict, cause, causes, paths) VALUES (?, ?, ?, ?, ?, ?, ?)", a.Hosts,
		func(h *fleet.HostVerdict) ([]any, error) {
			position++
			causes, err := listText(h.Causes)
			paths, pathsErr := listText(h.Paths)
			return []any{position, h.Host, h.Verdict.String(), h.Cause, causes, paths}, errors.Join(err, pathsErr)
		})
}

func (s *saver) findings(a *fleet.Assessment) error {
	position := 0
	return each(s, `INSERT INTO findings (snapshot, position, code, host, object, severity, title, evidence, fix, blast, undo, because)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, a.Findings,
		func(f *fleet.Finding) ([]any, error) {
			position++
			evidence, err := json.Marshal(f.Evidence)
			because, becauseErr := listText(f.Because)
			return []any{position, f.Code, f.Host, f.Object, f.Severity.String(), f.Title, string(evidence), f.Fix, f.Blast, f.Undo, because}, errors.Join(err, becauseErr)
		})
}

// assessmentPart is a part of an assessment that is kept as one JSON value.
type assessmentPart struct {
	name  string
	value any // pointer
}

func partsOf(a *fleet.Assessment) []assessmentPart {
	return []assessmentPart{{"paths", &a.Paths}, {"operators", &a.Operators}, {"ledger", &a.Ledger}, {"parity", &a.Parity}}
}

func (s *saver) assessmentParts(a *fleet.Assessment) error {
	return each(s, "INSERT INTO assessment_parts (snapshot, name, content) VALUES (?, ?, ?)", partsOf(a),
		func(p *assessmentPart) ([]any, error) {
			content, err := json.Marshal(p.value)
			return []any{p.name, string(content)}, err
		})
}

// Assessment reads the judgement on a snapshot, or gives ErrNoAssessment. What
// an earlier version of the program did not judge is empty.
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
		for _, read := range []func(context.Context, *sql.Tx, *fleet.Assessment) error{readVerdicts, readFindings, readParts} {
			if err := read(ctx, tx, a); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("assessment of snapshot %d: %w", snapshot, err)
	}
	return a, nil
}

func readVerdicts(ctx context.Context, tx *sql.Tx, a *fleet.Assessment) error {
	return query(ctx, tx, "SELECT host, verdict, cause, causes, paths FROM verdicts WHERE snapshot = ? ORDER BY position", []any{a.Snapshot}, func(scan scanner) error {
		var h fleet.HostVerdict
		var verdict string
		if err := scan(&h.Host, &verdict, &h.Cause, jsonText{&h.Causes}, jsonText{&h.Paths}); err != nil {
			return err
		}
		err := h.Verdict.UnmarshalText([]byte(verdict))
		a.Hosts = append(a.Hosts, h)
		return err
	})
}

func readFindings(ctx context.Context, tx *sql.Tx, a *fleet.Assessment) error {
	const columns = "code, host, object, severity, title, evidence, fix, blast, undo, because"
	return query(ctx, tx, "SELECT "+columns+" FROM findings WHERE snapshot = ? ORDER BY position", []any{a.Snapshot}, func(scan scanner) error {
		var f fleet.Finding
		var severity string
		err := scan(&f.Code, &f.Host, &f.Object, &severity, &f.Title, jsonText{&f.Evidence}, &f.Fix, &f.Blast, &f.Undo, jsonText{&f.Because})
		if err != nil {
			return err
		}
		err = f.Severity.UnmarshalText([]byte(severity))
		a.Findings = append(a.Findings, f)
		return err
	})
}

func readParts(ctx context.Context, tx *sql.Tx, a *fleet.Assessment) error {
	into := map[string]any{}
	for _, p := range partsOf(a) {
		into[p.name] = p.value
	}
	return query(ctx, tx, "SELECT name, content FROM assessment_parts WHERE snapshot = ?", []any{a.Snapshot}, func(scan scanner) error {
		var name string
		var content []byte
		if err := scan(&name, &content); err != nil {
			return err
		}
		if value, ok := into[name]; ok {
			return json.Unmarshal(content, value)
		}
		return nil
	})
}
