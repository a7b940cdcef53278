-- Users get roles, and the fleet is divided into projects. A project's path is '' for things that are in none. It is no foreign key:
-- SQLite cannot add one to a table. A project is only deleted when nothing is in it.
CREATE TABLE projects (
    path TEXT PRIMARY KEY, -- names joined by '/'
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

ALTER TABLE users ADD COLUMN kind TEXT NOT NULL DEFAULT 'person'; -- or 'service'
ALTER TABLE users ADD COLUMN project TEXT NOT NULL DEFAULT ''; -- whose administrators manage the user
ALTER TABLE users ADD COLUMN disabled INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN last_login_ms INTEGER;
CREATE INDEX users_by_project ON users (project);

CREATE TABLE grants (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    role TEXT NOT NULL,
    project TEXT, -- '' is everything
    group_name TEXT REFERENCES groups ON DELETE CASCADE,
    CHECK ((project IS NULL) <> (group_name IS NULL))
) STRICT;
CREATE UNIQUE INDEX grants_on_projects ON grants (user, project) WHERE project IS NOT NULL;
CREATE UNIQUE INDEX grants_on_groups ON grants (user, group_name) WHERE group_name IS NOT NULL;
CREATE INDEX grants_by_user ON grants (user, id);
CREATE INDEX grants_by_project ON grants (project);
CREATE INDEX grants_by_group ON grants (group_name);
-- Until now, everybody could do everything.
INSERT INTO grants (user, role, project) SELECT id, 'administrator', '' FROM users;

CREATE TABLE access_tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hash BLOB NOT NULL UNIQUE, -- of the secret
    user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    name TEXT NOT NULL,
    role TEXT NOT NULL, -- the most that it can do
    project TEXT NOT NULL, -- where; '' is everything
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    last_used_ms INTEGER
) STRICT;
CREATE INDEX access_tokens_by_user ON access_tokens (user, id);
CREATE INDEX access_tokens_by_expiry ON access_tokens (expires_ms);

ALTER TABLE devices ADD COLUMN project TEXT NOT NULL DEFAULT '';
CREATE INDEX devices_by_project ON devices (project);

ALTER TABLE groups ADD COLUMN project TEXT NOT NULL DEFAULT '';
CREATE INDEX groups_by_project ON groups (project);

ALTER TABLE pairing_tokens ADD COLUMN project TEXT NOT NULL DEFAULT '';
ALTER TABLE pairing_tokens ADD COLUMN maker INTEGER; -- the user whose right it relies on; NULL for tokens of an older database
CREATE INDEX pairing_tokens_by_project ON pairing_tokens (project);
CREATE INDEX pairing_tokens_unused ON pairing_tokens (project, expires_ms) WHERE used_by IS NULL AND revoked = 0;

-- A file may belong to several projects, which do not know of each other.
CREATE TABLE bundle_projects (
    bundle TEXT NOT NULL REFERENCES bundles ON DELETE CASCADE,
    project TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    PRIMARY KEY (bundle, project)
) STRICT, WITHOUT ROWID;
CREATE INDEX bundle_projects_by_age ON bundle_projects (created_ms DESC, bundle DESC, project DESC);
CREATE INDEX bundle_projects_by_project ON bundle_projects (project);
INSERT INTO bundle_projects (bundle, project, created_ms, created_by) SELECT id, '', created_ms, created_by FROM bundles;
DROP INDEX bundles_by_age;
ALTER TABLE bundles DROP COLUMN created_ms;
ALTER TABLE bundles DROP COLUMN created_by;

ALTER TABLE deployments ADD COLUMN project TEXT NOT NULL DEFAULT '';
ALTER TABLE deployments ADD COLUMN target_device TEXT; -- what `target` names, for queries
ALTER TABLE deployments ADD COLUMN target_group TEXT;
UPDATE deployments SET target_device = target ->> '$.device', target_group = target ->> '$.group';
CREATE INDEX deployments_by_target ON deployments (target_device);
CREATE INDEX deployments_by_group ON deployments (target_group);
CREATE INDEX deployments_by_project ON deployments (project);

ALTER TABLE audit ADD COLUMN project TEXT NOT NULL DEFAULT '';
CREATE INDEX audit_by_project ON audit (project, id);
