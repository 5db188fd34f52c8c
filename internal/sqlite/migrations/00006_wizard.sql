-- +goose Up

-- +goose StatementBegin
CREATE TABLE wizard (
    -- Owner: tui. Where the wizard was left, so that the next start shows it again.
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    stage TEXT    NOT NULL                   -- name of the stage that was shown last
) STRICT;
-- +goose StatementEnd
