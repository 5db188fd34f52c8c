package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"ssm-migrate/internal/fleet"
)

// SaveProof implements cutover.Proofs. Nothing is replaced: proofs are kept as evidence.
func (d *DB) SaveProof(ctx context.Context, p fleet.Proof) error {
	err := d.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO proofs (account, region, host, way, kind, works, reason, at, round_trip, by, run_as, session, log, log_object)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			p.Host.Account, p.Host.Region, p.Host.ID, string(p.Way), p.Kind, p.Works.String(), p.Reason, timeText(p.At), int64(p.RoundTrip),
			p.By, p.RunAs, p.Session, p.Log.String(), p.LogObject)
		return err
	})
	if err != nil {
		return fmt.Errorf("save the proof of %s by %s: %w", p.Host, p.Way, err)
	}
	return nil
}

const selectProofs = `SELECT account, region, host, way, kind, works, reason, at, round_trip, by, run_as, session, log, log_object FROM proofs `

// LatestProof implements cutover.Proofs. Of two that ended in the same
// millisecond the one that was saved later is the newer.
func (d *DB) LatestProof(ctx context.Context, h fleet.HostRef, way fleet.Way) (p fleet.Proof, ok bool, err error) {
	err = d.read(ctx, func(tx *sql.Tx) error {
		var err error
		p, err = scanProof(tx.QueryRowContext(ctx, selectProofs+`WHERE host = ? AND way = ? AND account = ? AND region = ?
			ORDER BY unixepoch(at, 'subsec') DESC, id DESC LIMIT 1`, h.ID, string(way), h.Account, h.Region).Scan)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		ok = err == nil
		return err
	})
	if err != nil {
		return fleet.Proof{}, false, fmt.Errorf("read the latest proof of %s by %s: %w", h, way, err)
	}
	return p, ok, nil
}

func scanProof(scan scanner) (fleet.Proof, error) {
	var p fleet.Proof
	var works, log string
	err := scan(&p.Host.Account, &p.Host.Region, &p.Host.ID, (*string)(&p.Way), &p.Kind, &works, &p.Reason, textTime{&p.At}, (*int64)(&p.RoundTrip),
		&p.By, &p.RunAs, &p.Session, &log, &p.LogObject)
	if err != nil {
		return fleet.Proof{}, err
	}
	return p, errors.Join(p.Works.UnmarshalText([]byte(works)), p.Log.UnmarshalText([]byte(log)))
}
