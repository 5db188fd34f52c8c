-- +goose Up

-- +goose StatementBegin
CREATE TABLE views (
    -- Owner: tui. Ways of looking at the hosts that operators have given a name.
    name     TEXT    NOT NULL PRIMARY KEY CHECK (name <> ''),
    filter   TEXT    NOT NULL,                  -- in the language of filters; empty: all hosts
    sort     TEXT    NOT NULL,                  -- a column; empty: by verdict
    reverse  INTEGER NOT NULL CHECK (reverse IN (0, 1)),
    grouping TEXT    NOT NULL                   -- what hosts are grouped by; empty: nothing
) STRICT;
-- +goose StatementEnd
