-- +goose Up
-- Comments stand inside the statements, so that ".schema" shows them.

-- +goose StatementBegin
CREATE TABLE snapshots (
    -- Owner: inventory. One row for each run of an inventory; everything else
    -- hangs on it and goes with it. While state is 'running' only its writer
    -- should trust what is there.
    id       INTEGER PRIMARY KEY AUTOINCREMENT, -- an ID is never given twice
    started  TEXT,                              -- times: RFC 3339 in UTC, NULL when not known
    finished TEXT,
    state    TEXT    NOT NULL CHECK (state IN ('running', 'complete', 'incomplete')),
    version  TEXT    NOT NULL,                  -- of the program
    hosts    INTEGER NOT NULL DEFAULT 0,
    unknowns INTEGER NOT NULL DEFAULT 0
) STRICT;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TABLE accounts (
    -- Owner: inventory. One row for each access (profile or role) to an AWS account.
    snapshot INTEGER NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE,
    label    TEXT    NOT NULL,
    id       TEXT    NOT NULL,                  -- account ID; empty when STS would not say
    PRIMARY KEY (snapshot, label)
) STRICT, WITHOUT ROWID;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TABLE regions (
    -- Owner: inventory. One row for each Region of each access.
    snapshot INTEGER NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE,
    label    TEXT    NOT NULL,
    name     TEXT    NOT NULL,
    account  TEXT    NOT NULL,                  -- account ID; empty when not known
    PRIMARY KEY (snapshot, label, name)
) STRICT, WITHOUT ROWID;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TABLE collections (
    -- Owner: inventory. What one API gave for an account (region is empty) or a
    -- Region, and whether it gave all of it.
    snapshot INTEGER NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE,
    label    TEXT    NOT NULL,
    region   TEXT    NOT NULL,
    name     TEXT    NOT NULL,                  -- "vpcs", "roles", ...
    known    INTEGER NOT NULL CHECK (known IN (0, 1)),
    elements INTEGER NOT NULL,                  -- how many are in content
    source   TEXT    NOT NULL,                  -- "ec2:DescribeVpcs"
    at       TEXT,
    reason   TEXT    NOT NULL,                  -- why it is not known
    content  TEXT    NOT NULL CHECK (json_valid(content)),
    PRIMARY KEY (snapshot, label, region, name)
) STRICT;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TABLE hosts (
    -- Owner: inventory. One row for each EC2 instance. record is all that EC2
    -- said; the other columns repeat what is listed and joined.
    snapshot           INTEGER NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE,
    id                 TEXT    NOT NULL,        -- EC2 instance ID
    account            TEXT    NOT NULL,
    region             TEXT    NOT NULL,
    az                 TEXT    NOT NULL,
    name               TEXT    NOT NULL,        -- Name tag, or the ID
    state              TEXT    NOT NULL,
    platform           TEXT    NOT NULL,
    image              TEXT    NOT NULL,
    vpc                TEXT    NOT NULL,
    subnet             TEXT    NOT NULL,
    private_ip         TEXT    NOT NULL,
    public_ip          TEXT    NOT NULL,
    profile_arn        TEXT    NOT NULL,
    auto_scaling_group TEXT    NOT NULL,
    record             TEXT    NOT NULL CHECK (json_valid(record)),
    PRIMARY KEY (snapshot, id)
) STRICT;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TABLE nodes (
    -- Owner: inventory. One row for each managed node that Systems Manager
    -- lists, hybrid ones included.
    snapshot      INTEGER NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE,
    id            TEXT    NOT NULL,             -- i-… or mi-…
    account       TEXT    NOT NULL,
    region        TEXT    NOT NULL,
    ping_status   TEXT    NOT NULL,
    agent_version TEXT    NOT NULL,
    platform_name TEXT    NOT NULL,
    record        TEXT    NOT NULL CHECK (json_valid(record)),
    PRIMARY KEY (snapshot, id)
) STRICT;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TABLE connections (
    -- Owner: inventory. What ssm:GetConnectionStatus said of a host.
    snapshot INTEGER NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE,
    host     TEXT    NOT NULL,
    known    INTEGER NOT NULL CHECK (known IN (0, 1)),
    status   TEXT    NOT NULL,
    source   TEXT    NOT NULL,
    at       TEXT,
    reason   TEXT    NOT NULL,
    PRIMARY KEY (snapshot, host)
) STRICT, WITHOUT ROWID;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TABLE probes (
    -- Owner: inventory. What a host said of itself over SSH, or why it did not.
    -- record leaves out the keys (table host_keys) and, where a digest is
    -- given, sshd's settings and the users (table probe_parts).
    snapshot      INTEGER NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE,
    host          TEXT    NOT NULL,
    known         INTEGER NOT NULL CHECK (known IN (0, 1)),
    source        TEXT    NOT NULL,
    at            TEXT,
    reason        TEXT    NOT NULL,
    login_user    TEXT    NOT NULL,
    root          INTEGER NOT NULL CHECK (root IN (0, 1)),
    os            TEXT    NOT NULL,
    agent_version TEXT    NOT NULL,             -- as the host itself shows it
    settings      TEXT,                         -- digest of sshd's settings
    users         TEXT,                         -- digest of the users
    record        TEXT    NOT NULL CHECK (json_valid(record)),
    PRIMARY KEY (snapshot, host)
) STRICT;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TABLE probe_parts (
    -- Owner: inventory. Parts of probes that many hosts have in common, each
    -- kept once: a fleet of one image has one set of sshd settings.
    snapshot INTEGER NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE,
    digest   TEXT    NOT NULL,                  -- SHA-256 of body, hexadecimal
    body     TEXT    NOT NULL CHECK (json_valid(body)),
    PRIMARY KEY (snapshot, digest)
) STRICT;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TABLE host_keys (
    -- Owner: inventory. One row for each public key that opens a host, so that
    -- "where is this key" is one indexed look-up. Public keys only.
    snapshot    INTEGER NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE,
    host        TEXT    NOT NULL,
    position    INTEGER NOT NULL,               -- order in the probe
    user        TEXT    NOT NULL,
    file        TEXT    NOT NULL,
    line        INTEGER NOT NULL,
    type        TEXT    NOT NULL,
    bits        INTEGER NOT NULL,
    fingerprint TEXT    NOT NULL,
    blob        TEXT    NOT NULL,               -- base64 of the public key
    comment     TEXT    NOT NULL,
    options     TEXT    CHECK (options IS NULL OR json_valid(options)), -- list; NULL without options
    ca          INTEGER NOT NULL CHECK (ca IN (0, 1)),
    problem     TEXT    NOT NULL,
    PRIMARY KEY (snapshot, host, position)
) STRICT, WITHOUT ROWID;
-- +goose StatementEnd

CREATE INDEX host_keys_by_fingerprint ON host_keys (snapshot, fingerprint);
