//! The tables, and how an older database becomes a newer one.
//!
//! `PRAGMA user_version` is the number of migrations that a database has had. A migration that has been released is never changed.

use rusqlite::Connection;

use super::StoreError;

const MIGRATIONS: [&str; 2] = [include_str!("schema/1.sql"), include_str!("schema/2.sql")];

/// Brings the database up to date, all of it or nothing.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
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
mod tests {
    use super::*;

    /// Who makes a table grow, and what ends that. A table that a device can grow has a limit that the transaction keeps, or an age.
    const TABLES: [(&str, &str, &str); 16] = [
        ("users", "operators", "operators"),
        ("sessions", "people who log in", "100 of one person; 24 hours"),
        ("devices", "pairing tokens", "operators"),
        ("pairing_tokens", "operators", "30 days after they expire"),
        (
            "certificates",
            "devices",
            "10 of one device in 24 hours; 90 days after their end",
        ),
        ("groups", "operators", "operators"),
        ("group_devices", "operators", "operators"),
        ("bundles", "operators", "operators"),
        ("deployments", "operators", "operators"),
        (
            "updates",
            "operators; devices with local installs",
            "100 local installs of one device",
        ),
        ("update_states", "devices", "256 of one update, and its final one"),
        ("queues", "devices", "4 of one device and channel"),
        ("series", "devices", "512 of one device"),
        (
            "samples",
            "devices",
            "telemetry's retention; the rate of one device",
        ),
        (
            "audit",
            "operators; strangers with failed logins",
            "operators; failed logins: 65 in 10 minutes, 90 days",
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
        let mut known: Vec<_> = TABLES.map(|(name, _, _)| name).to_vec();
        known.sort_unstable();
        assert_eq!(
            found, known,
            "say of a new table who makes it grow, and what ends that"
        );
        assert!(
            TABLES
                .iter()
                .all(|(_, who, end)| !who.is_empty() && !end.is_empty())
        );
    }

    /// Tables that are as large as the fleet, or larger.
    const LARGE: [&str; 10] = [
        "devices",
        "pairing_tokens",
        "certificates",
        "group_devices",
        "deployments",
        "updates",
        "update_states",
        "queues",
        "series",
        "samples",
    ];

    /// How queries begin that scan or sort all the same, and why they may.
    const WHOLE: [(&str, &str); 11] = [
        (
            "SELECT id, size, created_ms, created_by, manifest FROM bundles ORDER BY",
            "operators' list of few",
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
            "SELECT id, bundle, version, target, created_ms, created_by FROM deployments ORDER BY id DESC LIMIT",
            "ends at its limit",
        ),
        (
            "SELECT count(*) FROM updates JOIN deployments",
            "the index of open updates, when an operator deletes a bundle",
        ),
        (
            "SELECT id, name, paired_ms, last_seen_ms, address, serial, inventory FROM devices WHERE ?1 IS NULL",
            "operators' list, on a reader",
        ),
        (
            "SELECT id, created_ms, created_by, expires_ms, device_name",
            "operators' list, on a reader",
        ),
        ("DELETE FROM queues WHERE", "4 of one device and channel"),
        (
            "SELECT id, coalesce((SELECT max(at_ms)",
            "512 of one device, once a message",
        ),
        (
            "SELECT CAST(avg(at_ms) AS INTEGER)",
            "one series, on a reader, until its deadline",
        ),
        ("DELETE FROM sessions WHERE hash IN (", "100 of one person"),
    ];

    #[test]
    fn every_query_finds_its_rows_by_an_index() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        let sources = [
            include_str!("audit.rs"),
            include_str!("bundles.rs"),
            include_str!("certificates.rs"),
            include_str!("deployments.rs"),
            include_str!("devices.rs"),
            include_str!("groups.rs"),
            include_str!("pairing.rs"),
            include_str!("queues.rs"),
            include_str!("telemetry.rs"),
            include_str!("updates.rs"),
            include_str!("users.rs"),
        ];
        let mut slow = Vec::new();
        let mut count = 0;
        for query in sources.iter().flat_map(|source| queries(source)) {
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
            let may = WHOLE
                .iter()
                .any(|(start, why)| query.starts_with(start) && !why.is_empty());
            if (scans || sorts) && !may {
                slow.push(format!("{query}\n    {}", steps.join("\n    ")));
            }
        }
        assert!(count > 60, "found only {count} queries in the sources");
        assert!(slow.is_empty(), "{}", slow.join("\n"));
    }

    /// The text of every query in a source: what `prepare_cached` is given, with the source's own `COLUMNS`.
    fn queries(source: &str) -> Vec<String> {
        let columns = source
            .split_once("const COLUMNS: &str =")
            .and_then(|(_, rest)| literal(rest))
            .unwrap_or_default();
        source
            .split("prepare_cached(")
            .skip(1)
            .filter_map(literal)
            .map(|query| query.replace("{COLUMNS}", &columns))
            .collect()
    }

    /// The first string literal of `text`, with its continued lines joined.
    fn literal(text: &str) -> Option<String> {
        let (_, rest) = text.split_once('"')?;
        let (literal, _) = rest.split_once('"')?;
        Some(literal.split("\\\n").map(str::trim_start).collect())
    }
}
