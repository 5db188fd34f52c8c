package sqlite

import "database/sql"

// Pools gives tests the connections for writing and for reading.
func (d *DB) Pools() (w, r *sql.DB) { return d.w, d.r }

// Schema is the newest schema version.
var Schema = schema
