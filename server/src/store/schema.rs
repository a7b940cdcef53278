//! The tables, and the migrations from older databases.
//!
//! `PRAGMA user_version` counts the migrations of a database. A released migration never changes.

use rusqlite::Connection;

use super::StoreError;

const MIGRATIONS: [&str; 6] = [
    include_str!("schema/sqlite/1.sql"),
    include_str!("schema/sqlite/2.sql"),
    include_str!("schema/sqlite/3.sql"),
    include_str!("schema/sqlite/4.sql"),
    include_str!("schema/sqlite/5.sql"),
    include_str!("schema/sqlite/6.sql"),
];

/// Number of the newest schema.
#[expect(clippy::cast_possible_wrap, reason = "a handful")]
pub(super) const NEWEST: i64 = MIGRATIONS.len() as i64;

/// Brings the database up to date, all of it or nothing.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = NEWEST;
    let Some(missing) = usize::try_from(found)
        .ok()
        .and_then(|done| MIGRATIONS.get(done..))
    else {
        return Err(StoreError::Newer { found, known });
    };
    let transaction = connection.transaction()?;
    for migration in missing {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::access;

    /// For each table: who makes it grow, and its limit. A table that a device can grow has a limit that the transaction keeps, or an age.
    /// The tests `tables` of the API flood each of them.
    const TABLES: &[(&str, &str, &str)] = &[
        ("users", "administrators", "10,000 of one project"),
        ("grants", "administrators", "100 of one user"),
        ("access_tokens", "users", "100 of one user; 366 days"),
        (
            "projects",
            "administrators",
            "1000 at the top, and below each of those",
        ),
        ("sessions", "people who log in", "100 of one person; 24 hours"),
        ("devices", "pairing tokens", "operators"),
        (
            "pairing_tokens",
            "operators",
            "100,000 unused of one project; 30 days after they expire",
        ),
        (
            "certificates",
            "devices",
            "10 of one device in 24 hours; 90 days after their end",
        ),
        ("groups", "operators", "10,000 of one project"),
        ("group_devices", "operators", "operators"),
        ("bundles", "operators", "operators"),
        ("bundle_projects", "operators", "projects"),
        ("deployments", "operators", "operators"),
        (
            "updates",
            "operators; devices with local installs",
            "100 local installs of one device",
        ),
        ("update_states", "devices", "256 of one update, and its final one"),
        (
            "commands",
            "operators",
            "one person: one a second; until its last run is forgotten",
        ),
        (
            "command_runs",
            "operators",
            "64 of one device that have not ended, its newest 100 that have; 90 days",
        ),
        (
            "command_output",
            "devices",
            "1 MiB of one run, of the newest 20 runs of one device",
        ),
        ("queues", "devices", "4 of one device and channel"),
        ("series", "devices", "512 of one device"),
        (
            "samples",
            "devices",
            "telemetry's retention; the rate of one device",
        ),
        (
            "audit",
            "operators; people with logins, own passwords and access tokens; strangers with failed logins; \
             devices with pairing tokens and unknown certificates",
            "operators; one person's logins, own passwords and access tokens: one a minute, 366 days; \
             failed logins: 65 in 10 minutes, 90 days; pairing: 10 for one token in 24 hours, until it expires; \
             unknown certificates: one of a device in a day, 90 days",
        ),
        (
            "readmissions",
            "the server's administrator",
            "the server's administrator",
        ),
    ];

    #[test]
    fn every_table_that_grows_has_an_end() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        let mut statement = connection
            .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name")
            .unwrap();
        let found: Vec<String> = statement
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let mut known: Vec<_> = TABLES.iter().map(|(name, _, _)| *name).collect();
        known.sort_unstable();
        assert_eq!(
            found, known,
            "add a new table to `TABLES`: who makes it grow, and its limit"
        );
        assert!(
            TABLES
                .iter()
                .all(|(_, who, end)| !who.is_empty() && !end.is_empty())
        );
    }

    #[test]
    fn every_older_database_becomes_the_same() {
        let tables = |connection: &Connection| -> Vec<String> {
            connection
                .prepare("SELECT name || ': ' || (SELECT group_concat(name, ' ') FROM pragma_table_info(tables.name)) FROM sqlite_master AS tables ORDER BY 1")
                .unwrap()
                .query_map([], |row| row.get::<_, Option<String>>(0))
                .unwrap()
                .map(|row| row.unwrap().unwrap_or_default())
                .collect()
        };
        let mut new = Connection::open_in_memory().unwrap();
        migrate(&mut new).unwrap();
        for version in 1..MIGRATIONS.len() {
            let mut old = Connection::open_in_memory().unwrap();
            for migration in &MIGRATIONS[..version] {
                old.execute_batch(migration).unwrap();
            }
            old.pragma_update(None, "user_version", version).unwrap();
            migrate(&mut old).unwrap();
            assert_eq!(tables(&old), tables(&new), "from version {version}");
        }
    }

    #[test]
    fn an_older_database_knows_how_its_updates_stand() {
        let mut connection = Connection::open_in_memory().unwrap();
        for migration in &MIGRATIONS[..2] {
            connection.execute_batch(migration).unwrap();
        }
        connection.pragma_update(None, "user_version", 2).unwrap();
        connection
            .execute_batch(
                "INSERT INTO devices (id, name, paired_ms) VALUES ('a', 'a', 0);
                 INSERT INTO updates (id, device, version, state, final, started_ms, updated_ms) VALUES (7, 'a', '2', 'failed', 1, 0, 0);
                 INSERT INTO update_states (update_id, state, at_ms, running_version, running_slot)
                     VALUES (7, 'offered', 0, '', ''), (7, 'installing', 1, '1', 'A'), (7, 'failed', 2, '1', 'B');",
            )
            .unwrap();
        migrate(&mut connection).unwrap();
        let stands: (u32, String, String, String) = connection
            .query_row(
                "SELECT steps, previous, running_version, running_slot FROM updates",
                [],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
            )
            .unwrap();
        assert_eq!(
            stands,
            (3, "installing".to_owned(), "1".to_owned(), "B".to_owned())
        );
    }

    #[test]
    fn users_of_an_older_database_stay_administrators_and_bundles_stay_everybody_s() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("PRAGMA foreign_keys = ON").unwrap();
        for migration in &MIGRATIONS[..3] {
            connection.execute_batch(migration).unwrap();
        }
        connection.pragma_update(None, "user_version", 3).unwrap();
        connection
            .execute_batch(
                r#"INSERT INTO users (name, password, created_ms) VALUES ('admin', 'x', 1);
                 INSERT INTO sessions (hash, user, expires_ms) VALUES (zeroblob(32), 1, 9000000000000000);
                 INSERT INTO bundles (id, size, created_ms, created_by, manifest) VALUES ('b', 7, 5, 'admin', '{}');
                 INSERT INTO deployments (bundle, size, version, compatible, manifest_hash, target, created_ms, created_by) VALUES
                     ('b', 7, '1', 'c', 'h', '{"device":"d"}', 6, 'admin'), ('b', 7, '1', 'c', 'h', '{"group":"g"}', 6, 'admin');"#,
            )
            .unwrap();
        migrate(&mut connection).unwrap();
        let text = |query: &str| -> String { connection.query_row(query, [], |row| row.get(0)).unwrap() };
        assert_eq!(
            text("SELECT role || ':' || project FROM grants WHERE user_id = 1"),
            "administrator:"
        );
        assert_eq!(text("SELECT kind || disabled || project FROM users"), "person0");
        assert_eq!(
            text(
                "SELECT bundle || ':' || project || ':' || created_ms || ':' || created_by FROM bundle_projects"
            ),
            "b::5:admin"
        );
        assert_eq!(
            text(
                "SELECT group_concat(coalesce(target_device, '') || '/' || coalesce(target_group, '')) FROM deployments"
            ),
            "d/,/g"
        );
        let tx = crate::store::Tx::embedded(connection);
        let (_, access) = tx.identify(&[0; 32], 0).unwrap().unwrap();
        assert!(access.allows_everywhere(homeport_api::Permission::UserChange));
    }

    /// Tables that are as large as the fleet, or larger.
    pub(in super::super) const LARGE: &[&str] = &[
        "devices",
        "pairing_tokens",
        "certificates",
        "group_devices",
        "deployments",
        "updates",
        "update_states",
        "commands",
        "command_runs",
        "command_output",
        "queues",
        "series",
        "samples",
    ];

    /// The beginnings of queries that scan or sort all the same, and why they may.
    pub(in super::super) const WHOLE: &[(&str, &str)] = &[
        (
            "SELECT id, name, paired_ms, last_seen_ms, address, serial, inventory, project FROM devices WHERE devices.id IN",
            "devices of somebody's projects and groups, on a reader, until its deadline",
        ),
        (
            "SELECT deployment, state, count(*), max(updated_ms) FROM json_each",
            "devices of one page of deployments",
        ),
        (
            "SELECT command, state, count(*), max(updated_ms) FROM json_each",
            "devices of one page of commands",
        ),
        (
            "SELECT id FROM bundles WHERE NOT EXISTS",
            "the index of open updates, when telemetry is pruned",
        ),
        (
            "SELECT device FROM group_devices JOIN devices",
            "a group by name, once for a deployment",
        ),
        (
            "UPDATE certificates SET revoked_ms = ?1 WHERE hash IN (",
            "3 unused of one device",
        ),
        (
            "SELECT hash, device FROM certificates WHERE revoked_ms IS NULL",
            "once, at the start",
        ),
        (
            "SELECT count(*) FROM updates JOIN deployments",
            "the index of open updates, when an operator deletes a bundle",
        ),
        ("DELETE FROM queues WHERE", "4 of one device and channel"),
        (
            "SELECT id, coalesce((SELECT max(at_ms)",
            "512 of one device, once a message",
        ),
        (
            "SELECT min(at_ms) + (max(at_ms)",
            "one series, on a reader, until its deadline",
        ),
        ("DELETE FROM sessions WHERE hash IN (", "100 of one person"),
    ];

    /// The files with queries.
    const SOURCES: &[(&str, &str)] = &[
        ("access/rows.rs", include_str!("../access/rows.rs")),
        ("audit/rows.rs", include_str!("../audit/rows.rs")),
        ("bundles/rows.rs", include_str!("../bundles/rows.rs")),
        ("commands/rows.rs", include_str!("../commands/rows.rs")),
        ("commands/run_rows.rs", include_str!("../commands/run_rows.rs")),
        ("deployments/rows.rs", include_str!("../deployments/rows.rs")),
        (
            "deployments/update_rows.rs",
            include_str!("../deployments/update_rows.rs"),
        ),
        ("devices/rows.rs", include_str!("../devices/rows.rs")),
        ("groups/rows.rs", include_str!("../groups/rows.rs")),
        ("ingest/queue_rows.rs", include_str!("../ingest/queue_rows.rs")),
        (
            "pairing/certificate_rows.rs",
            include_str!("../pairing/certificate_rows.rs"),
        ),
        ("pairing/rows.rs", include_str!("../pairing/rows.rs")),
        ("people/rows.rs", include_str!("../people/rows.rs")),
        ("people/token_rows.rs", include_str!("../people/token_rows.rs")),
        ("people/user_rows.rs", include_str!("../people/user_rows.rs")),
        ("projects/rows.rs", include_str!("../projects/rows.rs")),
        ("telemetry/rows.rs", include_str!("../telemetry/rows.rs")),
    ];

    #[test]
    fn no_file_of_queries_is_forgotten() {
        let mut found = Vec::new();
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut directories = vec![root.clone()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else if path.to_str().unwrap().ends_with("rows.rs") {
                    found.push(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        found.sort_unstable();
        let known: Vec<_> = SOURCES.iter().map(|(path, _)| *path).collect();
        assert_eq!(found, known, "add the file to `SOURCES`");
    }

    #[test]
    fn every_query_finds_its_rows_by_an_index() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        let (mut slow, mut needed) = (Vec::new(), HashSet::new());
        let mut count = 0;
        for query in all_queries() {
            count += 1;
            let mut plan = connection
                .prepare(&format!("EXPLAIN QUERY PLAN {query}"))
                .unwrap();
            let parameters = plan.parameter_count();
            let steps: Vec<String> = plan
                .query_map(rusqlite::params_from_iter(vec![1; parameters]), |row| row.get(3))
                .unwrap()
                .collect::<Result<_, _>>()
                .unwrap();
            let scans = steps.iter().any(|step| {
                step.strip_prefix("SCAN ")
                    .is_some_and(|table| LARGE.contains(&table.split(' ').next().unwrap_or(table)))
            });
            let sorts = steps.iter().any(|step| step.contains("TEMP B-TREE"));
            if !scans && !sorts {
                continue;
            }
            match WHOLE
                .iter()
                .find(|(start, why)| query.starts_with(start) && !why.is_empty())
            {
                Some((start, _)) => {
                    needed.insert(*start);
                }
                None => slow.push(format!("{query}\n    {}", steps.join("\n    "))),
            }
        }
        assert!(count > 60, "found only {count} queries in the sources");
        assert!(slow.is_empty(), "{}", slow.join("\n"));
        let superfluous: Vec<_> = WHOLE
            .iter()
            .filter(|(start, _)| !needed.contains(start))
            .collect();
        assert!(superfluous.is_empty(), "these are quick: {superfluous:?}");
    }

    pub(in super::super) fn all_queries() -> impl Iterator<Item = String> {
        SOURCES.iter().flat_map(|(_, source)| queries(source))
    }

    /// The text of every query in a source: the first arguments of the methods of `Tx`, with the source's own `COLUMNS` and `TABLES`. A query of what
    /// somebody sees comes twice: for a part of the fleet, and for everything.
    fn queries(source: &str) -> Vec<String> {
        const CONDITIONS: [(&str, &str); 8] = [
            ("{IN_PROJECT}", access::IN_PROJECT),
            ("{AUDIT_SEEN}", access::AUDIT_SEEN),
            ("{TOKEN_SEEN}", access::TOKEN_SEEN),
            ("{DEVICE_SEEN}", access::DEVICE_SEEN),
            ("{GROUP_SEEN}", access::GROUP_SEEN),
            ("{DEPLOYMENT_SEEN}", access::DEPLOYMENT_SEEN),
            ("{COMMAND_SEEN}", access::COMMAND_SEEN),
            ("{BUNDLE_SEEN}", access::BUNDLE_SEEN),
        ];
        let constant = |name: &str| {
            let (_, rest) = source.split_once(&format!("const {name}: &str ="))?;
            literal(rest.split_once('"')?.1)
        };
        let columns = constant("COLUMNS").unwrap_or_default();
        let tables = constant("TABLES").unwrap_or_default();
        let of_scope = |query: &str, scope: &str| {
            let query = query.replace("{COLUMNS}", &columns).replace("{TABLES}", &tables);
            let query = CONDITIONS.iter().fold(query, |query, (name, condition)| {
                query.replace(name, access::limited(scope, condition))
            });
            assert!(!query.contains('{'), "{query}");
            query
        };
        let source = source.split("#[cfg(test)]").next().unwrap_or_default();
        let written: Vec<_> = [
            ".execute(",
            ".rows(",
            ".row(",
            ".one(",
            ".value(",
            ".target_place(",
        ]
        .iter()
        .flat_map(|call| source.split(call).skip(1))
        .filter_map(|arguments| {
            let arguments = arguments.trim_start();
            let text = arguments.strip_prefix("&format!(").unwrap_or(arguments);
            literal(text.trim_start().strip_prefix('"')?)
        })
        .collect();
        written
            .iter()
            .flat_map(|query| [of_scope(query, "{}"), of_scope(query, access::EVERYTHING)])
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// The string literal that begins before `text`, with its continued lines joined.
    fn literal(text: &str) -> Option<String> {
        let (literal, _) = text.split_once('"')?;
        Some(literal.split("\\\n").map(str::trim_start).collect())
    }
}
