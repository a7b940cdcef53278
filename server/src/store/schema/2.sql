-- After an older database was restored: certificates that were issued from `from_ms` to `to_ms` are unknown, and may come back until `ends_ms`.
CREATE TABLE readmissions (
    id INTEGER PRIMARY KEY,
    from_ms INTEGER NOT NULL,
    to_ms INTEGER NOT NULL,
    ends_ms INTEGER NOT NULL
) STRICT;
