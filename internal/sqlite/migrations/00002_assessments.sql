-- +goose Up

-- +goose StatementBegin
CREATE TABLE assessments (
    -- Owner: readiness. The judgement on a snapshot; a new one replaces it.
    snapshot INTEGER PRIMARY KEY REFERENCES snapshots (id) ON DELETE CASCADE,
    at       TEXT
) STRICT;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TABLE verdicts (
    -- Owner: readiness. One row for each host that was judged.
    snapshot INTEGER NOT NULL REFERENCES assessments (snapshot) ON DELETE CASCADE,
    position INTEGER NOT NULL,                  -- order in the assessment
    host     TEXT    NOT NULL,
    verdict  TEXT    NOT NULL CHECK (verdict IN ('unknown', 'blocked', 'ready')),
    cause    TEXT    NOT NULL,                  -- finding code that decides; empty when ready
    PRIMARY KEY (snapshot, position),
    UNIQUE (snapshot, host)
) STRICT, WITHOUT ROWID;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TABLE findings (
    -- Owner: readiness. What stands in a host's way or should be known of it.
    snapshot INTEGER NOT NULL REFERENCES assessments (snapshot) ON DELETE CASCADE,
    position INTEGER NOT NULL,                  -- order in the assessment
    code     TEXT    NOT NULL,                  -- name in the catalogue of findings
    host     TEXT    NOT NULL,                  -- empty: about the account or Region
    object   TEXT    NOT NULL,                  -- the shared thing at fault
    severity TEXT    NOT NULL CHECK (severity IN ('note', 'risk', 'unknown', 'blocks')),
    title    TEXT    NOT NULL,
    evidence TEXT    NOT NULL CHECK (json_valid(evidence)),
    fix      TEXT    NOT NULL,
    blast    TEXT    NOT NULL,
    PRIMARY KEY (snapshot, position)
) STRICT, WITHOUT ROWID;
-- +goose StatementEnd

CREATE INDEX findings_by_code ON findings (snapshot, code);
CREATE INDEX findings_by_host ON findings (snapshot, host);
