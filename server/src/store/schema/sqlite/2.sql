-- After an older database was restored: certificates that were issued from `from_ms` to `to_ms` are unknown, and may come back until `ends_ms`.
CREATE TABLE readmissions (
    id INTEGER PRIMARY KEY,
    from_ms INTEGER NOT NULL,
    to_ms INTEGER NOT NULL,
    ends_ms INTEGER NOT NULL
) STRICT;

-- What is asked for with every report of a device, or for a whole fleet, is found without looking at the rest.
CREATE INDEX updates_newest ON updates (device, final, id DESC);
CREATE INDEX updates_by_deployment ON updates (deployment, id);
CREATE INDEX certificates_shown ON certificates (device, (revoked_ms IS NOT NULL), (replaces IS NOT NULL), issued_ms DESC);
CREATE INDEX certificates_by_issue ON certificates (device, issued_ms DESC, hash DESC);
CREATE INDEX pairing_tokens_by_user ON pairing_tokens (used_by);
CREATE INDEX pairing_tokens_by_expiry ON pairing_tokens (expires_ms);
CREATE INDEX sessions_by_expiry ON sessions (expires_ms);
CREATE INDEX audit_by_action ON audit (action, id);
