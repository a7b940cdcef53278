//! The tables, and the migrations from older databases.
//!
//! The first schema of PostgreSQL is that of SQLite after its fifth migration. From there on the numbers are the same.

use super::{
    super::{StoreError, schema::NEWEST, tx::Connection as _},
    Session,
};

const FIRST: i64 = 5;

const MIGRATIONS: [&str; 2] = [
    include_str!("../schema/postgres/5.sql"),
    include_str!("../schema/postgres/6.sql"),
];

// Both databases get their migrations together.
#[expect(clippy::cast_possible_wrap, reason = "a handful")]
const _: () = assert!(FIRST + MIGRATIONS.len() as i64 - 1 == NEWEST);

/// Brings the database up to date, all of it or nothing.
pub(super) fn migrate(session: &Session) -> Result<(), StoreError> {
    session.begin("BEGIN")?;
    let done = steps(session);
    session.batch(if done.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    done
}

fn steps(session: &Session) -> Result<(), StoreError> {
    session.batch(
        "CREATE TABLE IF NOT EXISTS homeport (
            version BIGINT NOT NULL, -- of the schema
            batch BIGINT NOT NULL -- the last that the writer committed
        )",
    )?;
    let found: Option<i64> = session.one("SELECT max(version) FROM homeport", &[])?;
    let known = NEWEST;
    if let Some(found) = found.filter(|found| *found > known) {
        return Err(StoreError::Newer { found, known });
    }
    if found.is_none() {
        session.batch("INSERT INTO homeport (version, batch) VALUES (0, 0)")?;
    }
    let done = found.map_or(0, |found| found - FIRST + 1);
    let missing = usize::try_from(done).ok().and_then(|done| MIGRATIONS.get(done..));
    for migration in missing.unwrap_or_default() {
        session.batch(migration)?;
    }
    session
        .execute("UPDATE homeport SET version = ?1", &[&known])
        .map(drop)
}
