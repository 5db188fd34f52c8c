-- +goose Up

-- +goose StatementBegin
CREATE TABLE recovery_keys (
    -- Owner: recovery. The generations of the recovery key, public facts only: the
    -- private part never comes here.
    id       INTEGER PRIMARY KEY,               -- the higher, the later it was saved
    key      TEXT    NOT NULL UNIQUE,           -- base64 of the public key, without type and comment
    line     TEXT    NOT NULL,                  -- public key: type, base64, comment
    ca       INTEGER NOT NULL CHECK (ca IN (0, 1)), -- it signs user certificates
    location TEXT    NOT NULL,                  -- where the private part is kept
    made     TEXT,                              -- times: RFC 3339 in UTC
    retired  TEXT,                              -- NULL: in use
    plan     TEXT    NOT NULL                   -- that brought it; empty: none
) STRICT;
-- +goose StatementEnd
