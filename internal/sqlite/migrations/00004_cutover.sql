-- +goose Up

-- +goose StatementBegin
CREATE TABLE plans (
    -- Owner: plan. One row for each plan, never changed. Its snapshot stays as
    -- long as it does: a rollback needs the hosts as they were.
    id       TEXT    PRIMARY KEY,               -- first 12 hex digits of the digest
    digest   TEXT    NOT NULL UNIQUE,           -- SHA-256, hex
    snapshot INTEGER NOT NULL REFERENCES snapshots (id),
    made     TEXT,                              -- times: RFC 3339 in UTC
    by       TEXT    NOT NULL,                  -- who made it
    content  TEXT    NOT NULL CHECK (json_valid(content))
) STRICT;
-- +goose StatementEnd

CREATE INDEX plans_by_snapshot ON plans (snapshot);

-- +goose StatementBegin
CREATE TABLE proofs (
    -- Owner: recovery. Every attempt to use a way into a host, also those that failed.
    id         INTEGER PRIMARY KEY,
    account    TEXT    NOT NULL,
    region     TEXT    NOT NULL,
    host       TEXT    NOT NULL,                -- instance ID
    way        TEXT    NOT NULL,                -- session-manager, ssh, recovery
    kind       TEXT    NOT NULL,                -- session type, or login
    works      TEXT    NOT NULL CHECK (works IN ('unknown', 'no', 'yes')),
    reason     TEXT    NOT NULL,
    at         TEXT,                            -- when the attempt ended
    round_trip INTEGER NOT NULL,                -- nanoseconds
    by         TEXT    NOT NULL,
    run_as     TEXT    NOT NULL,
    session    TEXT    NOT NULL,
    log        TEXT    NOT NULL CHECK (log IN ('unknown', 'no', 'yes')),
    log_object TEXT    NOT NULL
) STRICT;
-- +goose StatementEnd

CREATE INDEX proofs_by_host ON proofs (host, way);

-- +goose StatementBegin
CREATE TABLE journal (
    -- Owner: cutover. What was done to the world, each line before and after the
    -- act. Append-only: triggers refuse changes. hash is SHA-256 over the rest of
    -- the line as JSON, prev included, so that no line can be changed or left out unseen.
    seq      INTEGER PRIMARY KEY,               -- from 1, without gaps
    at       TEXT,
    plan     TEXT    NOT NULL,
    digest   TEXT    NOT NULL,                  -- of the plan
    wave     INTEGER NOT NULL,
    step     TEXT    NOT NULL,                  -- empty: about the run or a wave
    event    TEXT    NOT NULL,
    result   TEXT    NOT NULL CHECK (result IN ('unknown', 'no', 'yes')),
    hosts    TEXT    CHECK (hosts IS NULL OR json_valid(hosts)), -- list; NULL without hosts
    detail   TEXT    NOT NULL,
    operator TEXT    NOT NULL,
    image    TEXT    CHECK (image IS NULL OR json_valid(image)), -- before-image, or what was made; no secret
    prev     TEXT    NOT NULL,                  -- hash of the line before; empty for the first
    hash     TEXT    NOT NULL
) STRICT;
-- +goose StatementEnd

CREATE INDEX journal_by_plan ON journal (plan);

-- +goose StatementBegin
CREATE TRIGGER journal_is_not_changed BEFORE UPDATE ON journal
BEGIN
    SELECT raise(ABORT, 'the journal is append-only');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER journal_is_not_shortened BEFORE DELETE ON journal
BEGIN
    SELECT raise(ABORT, 'the journal is append-only');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER journal_is_not_replaced BEFORE INSERT ON journal
WHEN NEW.seq IS NULL OR NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM journal)
BEGIN
    -- INSERT OR REPLACE deletes without asking the trigger above.
    SELECT raise(ABORT, 'the journal is append-only');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TABLE lease (
    -- Owner: cutover. Who may write the journal: one row at most.
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    holder TEXT    NOT NULL,                    -- empty: released
    until  INTEGER NOT NULL,                    -- Unix time in nanoseconds
    fence  INTEGER NOT NULL                     -- grows with every acquisition
) STRICT;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TABLE control (
    -- Owner: cutover. What is wished of a plan's run, from another terminal.
    plan        TEXT    PRIMARY KEY,
    pause       INTEGER NOT NULL CHECK (pause IN (0, 1)),
    stop        INTEGER NOT NULL CHECK (stop IN (0, 1)),
    concurrency INTEGER NOT NULL,               -- lanes at once; 0: the policy's
    by          TEXT    NOT NULL,
    at          TEXT,
    reason      TEXT    NOT NULL
) STRICT;
-- +goose StatementEnd
