-- Commands that devices run: a request, its run on each device, and what each run writes.
CREATE TABLE commands (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    arguments TEXT NOT NULL, -- JSON
    timeout_s INTEGER NOT NULL,
    target TEXT NOT NULL, -- JSON of the API's Target
    target_device TEXT, -- what `target` names, for queries
    target_group TEXT,
    project TEXT NOT NULL DEFAULT '',
    created_ms INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    expires_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX commands_by_target ON commands (target_device);
CREATE INDEX commands_by_group ON commands (target_group);
CREATE INDEX commands_by_project ON commands (project);

CREATE TABLE command_runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    command INTEGER NOT NULL REFERENCES commands ON DELETE CASCADE,
    device TEXT NOT NULL REFERENCES devices ON DELETE CASCADE,
    state TEXT NOT NULL,
    final INTEGER NOT NULL,
    cancel INTEGER NOT NULL DEFAULT 0, -- somebody wants it cancelled
    due_ms INTEGER NOT NULL, -- when the server gives up on it
    nonce INTEGER, -- the device's number for this attempt to run it
    detail TEXT NOT NULL DEFAULT '',
    exit_status INTEGER,
    result TEXT, -- JSON
    output_start INTEGER NOT NULL DEFAULT 0,
    output_end INTEGER NOT NULL DEFAULT 0,
    dropped_bytes INTEGER NOT NULL DEFAULT 0,
    begun_ms INTEGER,
    updated_ms INTEGER NOT NULL,
    UNIQUE (command, device)
) STRICT;
CREATE INDEX command_runs_by_command ON command_runs (command, id);
CREATE INDEX command_runs_by_device ON command_runs (device, id);
CREATE INDEX command_runs_open ON command_runs (device, id) WHERE final = 0;
CREATE INDEX command_runs_due ON command_runs (due_ms) WHERE final = 0;
CREATE INDEX command_runs_unfinished ON command_runs (command, id) WHERE final = 0;
CREATE INDEX command_runs_by_age ON command_runs (updated_ms) WHERE final = 1;

CREATE TABLE command_output (
    run INTEGER NOT NULL REFERENCES command_runs ON DELETE CASCADE,
    at INTEGER NOT NULL, -- place of its first byte in the output
    stream TEXT NOT NULL, -- 'stdout' or 'stderr'
    data BLOB NOT NULL,
    PRIMARY KEY (run, at)
) STRICT, WITHOUT ROWID;
