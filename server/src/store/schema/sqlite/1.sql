-- Times are milliseconds since 1970-01-01T00:00:00Z. Hashes are SHA-256.

CREATE TABLE users (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    password TEXT NOT NULL, -- PHC string
    created_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
    hash BLOB PRIMARY KEY, -- of the token
    user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_user ON sessions (user);

CREATE TABLE devices (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    paired_ms INTEGER NOT NULL,
    last_seen_ms INTEGER,
    address TEXT,
    serial TEXT, -- as its certificate request said, until the inventory comes
    inventory TEXT NOT NULL DEFAULT '{}' -- JSON of the protocol's Inventory
) STRICT, WITHOUT ROWID;

CREATE TABLE pairing_tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hash BLOB NOT NULL UNIQUE, -- of the secret
    created_ms INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    expires_ms INTEGER NOT NULL,
    device_name TEXT,
    device TEXT REFERENCES devices ON DELETE CASCADE, -- to pair again
    used_by TEXT,
    used_key BLOB, -- SHA-256 of the public key that it certified
    revoked INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX pairing_tokens_by_device ON pairing_tokens (device);

CREATE TABLE certificates (
    hash BLOB PRIMARY KEY, -- of the DER form
    device TEXT NOT NULL REFERENCES devices ON DELETE CASCADE,
    serial TEXT NOT NULL,
    issued_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    replaces BLOB, -- the certificate it renews, which stays active until this one is used
    revoked_ms INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX certificates_by_device ON certificates (device);

CREATE TABLE groups (
    name TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TABLE group_devices (
    name TEXT NOT NULL REFERENCES groups ON DELETE CASCADE,
    device TEXT NOT NULL REFERENCES devices ON DELETE CASCADE,
    PRIMARY KEY (name, device)
) STRICT, WITHOUT ROWID;
CREATE INDEX group_devices_by_device ON group_devices (device);

CREATE TABLE bundles (
    id TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    manifest TEXT NOT NULL -- JSON of bundle::Manifest
) STRICT, WITHOUT ROWID;

-- Holds all that the offer needs: a deployment outlives its bundle.
CREATE TABLE deployments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    bundle TEXT NOT NULL,
    size INTEGER NOT NULL,
    version TEXT NOT NULL,
    compatible TEXT NOT NULL,
    manifest_hash TEXT NOT NULL,
    target TEXT NOT NULL, -- JSON of the API's Target
    created_ms INTEGER NOT NULL,
    created_by TEXT NOT NULL
) STRICT;

CREATE TABLE updates (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL REFERENCES devices ON DELETE CASCADE,
    deployment INTEGER REFERENCES deployments ON DELETE CASCADE, -- NULL for local installs
    version TEXT NOT NULL,
    state TEXT NOT NULL,
    final INTEGER NOT NULL,
    reason TEXT, -- JSON of the API's Why
    bytes_fetched INTEGER NOT NULL DEFAULT 0,
    bundle_size INTEGER NOT NULL DEFAULT 0,
    started_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    sent INTEGER NOT NULL DEFAULT 0, -- the device may know of it
    cancel INTEGER NOT NULL DEFAULT 0, -- an operator wants it cancelled
    local_key TEXT, -- names a local install, so that it is stored once
    UNIQUE (deployment, device),
    UNIQUE (device, local_key)
) STRICT;
CREATE UNIQUE INDEX updates_open ON updates (device) WHERE final = 0;
CREATE INDEX updates_by_device ON updates (device, id);

CREATE TABLE update_states (
    id INTEGER PRIMARY KEY,
    update_id INTEGER NOT NULL REFERENCES updates ON DELETE CASCADE,
    state TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    running_version TEXT NOT NULL,
    running_slot TEXT NOT NULL,
    reason TEXT
) STRICT;
CREATE INDEX update_states_by_update ON update_states (update_id, id);

-- The highest sequence number of each queue of a device: what is not above it is a repeat.
CREATE TABLE queues (
    device TEXT NOT NULL REFERENCES devices ON DELETE CASCADE,
    channel TEXT NOT NULL,
    queue INTEGER NOT NULL, -- the bits of an unsigned number
    sequence INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    PRIMARY KEY (device, channel, queue)
) STRICT, WITHOUT ROWID;

-- A series whose device is gone is emptied in small steps and then removed.
CREATE TABLE series (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT REFERENCES devices ON DELETE SET NULL,
    name TEXT NOT NULL,
    unit TEXT NOT NULL,
    UNIQUE (device, name)
) STRICT;

CREATE TABLE samples (
    series INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    value REAL NOT NULL,
    PRIMARY KEY (series, at_ms)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
