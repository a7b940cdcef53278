//! The database as a file: a copy while a server uses it, and changes while none does.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, Transaction, params};

use super::{DATABASE, StoreError, Tx, schema, sqlite};

/// Changes that a restored database took over from the one that it replaces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Inherited {
    /// Certificates that were revoked since then, or whose device was removed since then.
    pub revoked: usize,
    /// Certificates that were issued since then.
    pub issued: usize,
    /// Users who were deleted since then, and are disabled now.
    pub shut_out: usize,
}

/// Writes the database in `data_dir`, as it is at one moment, to the new file `to`. A server may be using it, and does not wait.
pub fn copy(data_dir: &Path, to: &Path) -> Result<(), StoreError> {
    let connection = sqlite::open_to_read(&data_dir.join(DATABASE))?;
    let to = to
        .to_str()
        .ok_or_else(|| StoreError::Corrupt(format!("{} is not UTF-8, which SQLite needs", to.display())))?;
    connection.execute("VACUUM INTO ?", [to])?;
    Ok(())
}

/// Reads from the database `file`, which no server uses.
pub fn read<T>(file: &Path, job: impl FnOnce(&Tx) -> Result<T, StoreError>) -> Result<T, StoreError> {
    job(&Tx::embedded(sqlite::open_to_read(file)?))
}

/// Checks the database `file`, which no server uses, and brings it up to date. It is one file afterwards, without a journal.
pub fn check(file: &Path) -> Result<(), StoreError> {
    let mut connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.execute_batch("PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL;")?;
    let verdict: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(StoreError::Corrupt(verdict));
    }
    schema::migrate(&mut connection)
}

/// Changes the database `file`, which no server uses, in one transaction.
pub fn change<T>(file: &Path, job: impl FnOnce(&Tx) -> Result<T, StoreError>) -> Result<T, StoreError> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.execute_batch(
        "PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; BEGIN IMMEDIATE",
    )?;
    let tx = Tx::embedded(connection);
    let value = job(&tx)?;
    tx.execute("COMMIT", &[])?;
    Ok(value)
}

/// Takes over from the database `old` what users may do, and which certificates may connect, if their devices are in the database `file` too. Certificates that
/// were issued or revoked since `file` was written stay so. No server uses either database.
pub fn inherit(file: &Path, old: &Path, now_ms: i64) -> Result<Inherited, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_URI;
    let mut connection = Connection::open_with_flags(file, flags)?;
    let old = old
        .to_str()
        .ok_or_else(|| StoreError::Corrupt(format!("{} is not UTF-8, which SQLite needs", old.display())))?;
    connection.execute("ATTACH ? AS old", [old])?;
    let transaction = connection.transaction()?;
    let mut revoked = transaction.execute(
        "UPDATE certificates SET revoked_ms = ?1 WHERE revoked_ms IS NULL AND hash IN \
         (SELECT hash FROM old.certificates WHERE revoked_ms IS NOT NULL)",
        params![now_ms],
    )?;
    revoked += transaction.execute(
        "UPDATE certificates SET revoked_ms = ?1 WHERE revoked_ms IS NULL \
         AND device NOT IN (SELECT id FROM old.devices) \
         AND device IN (SELECT subject FROM old.audit WHERE action = 'device.delete')",
        params![now_ms],
    )?;
    let issued = transaction.execute(
        "INSERT INTO certificates (hash, device, serial, issued_ms, expires_ms, replaces, revoked_ms) \
         SELECT hash, device, serial, issued_ms, expires_ms, replaces, revoked_ms FROM old.certificates \
         WHERE device IN (SELECT id FROM devices) ON CONFLICT DO NOTHING",
        [],
    )?;
    transaction.execute(
        "UPDATE pairing_tokens SET revoked = 1 WHERE used_by IS NULL AND hash IN \
         (SELECT hash FROM old.pairing_tokens WHERE revoked = 1 OR used_by IS NOT NULL)",
        [],
    )?;
    transaction.execute(
        "UPDATE pairing_tokens SET used_key = NULL WHERE hash IN \
         (SELECT hash FROM old.pairing_tokens WHERE used_by IS NOT NULL AND used_key IS NULL)",
        [],
    )?;
    let shut_out = inherit_users(&transaction)?;
    transaction.commit()?;
    Ok(Inherited {
        revoked,
        issued,
        shut_out,
    })
}

/// Takes over from the database that is attached as `old` what users may do: a password that was changed, a user who was deleted or disabled and
/// a role that was taken away do not come back.
fn inherit_users(transaction: &Transaction<'_>) -> Result<usize, StoreError> {
    transaction.execute_batch(
        "UPDATE users SET password = (SELECT password FROM old.users AS known WHERE known.name = users.name) \
         WHERE name IN (SELECT name FROM old.users); \
         UPDATE users SET disabled = 1 WHERE name NOT IN (SELECT name FROM old.users)",
    )?;
    let roles_since: i64 = 4;
    let version: i64 = transaction.pragma_query_value(Some("old"), "user_version", |row| row.get(0))?;
    if version >= roles_since {
        let user = if version > roles_since { "user_id" } else { "user" };
        transaction.execute_batch(&format!(
            "UPDATE users SET disabled = 1 WHERE name IN (SELECT name FROM old.users WHERE disabled = 1); \
             DELETE FROM grants WHERE user_id IN (SELECT id FROM users WHERE name IN (SELECT name FROM old.users)); \
             INSERT INTO grants (user_id, role, project, group_name) \
             SELECT users.id, held.role, held.project, held.group_name FROM old.grants AS held \
             JOIN old.users AS known ON known.id = held.{user} JOIN users ON users.name = known.name \
             WHERE held.project = '' OR held.project IN (SELECT path FROM projects) OR held.group_name IN (SELECT name FROM groups)"
        ))?;
    }
    Ok(transaction.query_row(
        "SELECT count(*) FROM users WHERE disabled = 1 AND name NOT IN (SELECT name FROM old.users)",
        [],
        |row| row.get(0),
    )?)
}
