-- How an update stands is told without its history.
ALTER TABLE updates ADD COLUMN steps INTEGER NOT NULL DEFAULT 1; -- states that it has entered
ALTER TABLE updates ADD COLUMN previous TEXT; -- the state before this one
ALTER TABLE updates ADD COLUMN running_version TEXT NOT NULL DEFAULT '';
ALTER TABLE updates ADD COLUMN running_slot TEXT NOT NULL DEFAULT '';
UPDATE updates SET
    steps = (SELECT count(*) FROM update_states WHERE update_id = updates.id),
    previous = (SELECT state FROM update_states WHERE update_id = updates.id ORDER BY id DESC LIMIT 1 OFFSET 1),
    running_version = coalesce(
        (SELECT running_version FROM update_states WHERE update_id = updates.id ORDER BY id DESC LIMIT 1), ''),
    running_slot = coalesce(
        (SELECT running_slot FROM update_states WHERE update_id = updates.id ORDER BY id DESC LIMIT 1), '');

-- Lists are read a page at a time, and devices of a deployment are counted by state.
CREATE INDEX devices_by_name ON devices (name, id);
CREATE INDEX bundles_by_age ON bundles (created_ms DESC, id DESC);
CREATE INDEX updates_by_state ON updates (deployment, state, id, updated_ms);
