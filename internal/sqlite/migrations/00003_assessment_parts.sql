-- +goose Up

-- +goose StatementBegin
CREATE TABLE assessment_parts (
    -- Owner: readiness. What an assessment says beyond single hosts and
    -- findings, each part a JSON value of its own.
    snapshot INTEGER NOT NULL REFERENCES assessments (snapshot) ON DELETE CASCADE,
    name     TEXT    NOT NULL,                  -- "paths", "operators", "ledger", "parity"
    content  TEXT    NOT NULL CHECK (json_valid(content)),
    PRIMARY KEY (snapshot, name)
) STRICT;
-- +goose StatementEnd

ALTER TABLE findings ADD COLUMN undo TEXT NOT NULL DEFAULT '';
ALTER TABLE findings ADD COLUMN because TEXT CHECK (because IS NULL OR json_valid(because));
ALTER TABLE verdicts ADD COLUMN causes TEXT CHECK (causes IS NULL OR json_valid(causes));
ALTER TABLE verdicts ADD COLUMN paths TEXT CHECK (paths IS NULL OR json_valid(paths));
