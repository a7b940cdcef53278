//! SQLite: the database inside the process.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rusqlite::{
    Connection, OpenFlags, Statement, ToSql,
    types::{ToSqlOutput, ValueRef},
};

use super::{
    StoreError, Tx,
    sql::{Param, Row, Source, Value},
    tx::Engine,
    writer::{Commit, Job},
};

/// How long a read waits while SQLite recovers or checkpoints the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Steps of SQLite's virtual machine between two checks whether somebody still waits: well below a millisecond.
const STEPS: i32 = 10_000;

/// Statements that each connection keeps prepared: all that there are.
const STATEMENTS: usize = 256;

/// The connection that writes.
#[derive(Debug)]
pub(super) struct Writing(Tx);

// === impl Tx ===

impl Tx {
    pub(super) fn embedded(connection: Connection) -> Self {
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Self(Engine::Sqlite(connection))
    }
}

/// Opens the database for the one who writes.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open(path)?;
    // FULL: an acknowledged message survives a power cut, not only a crash of the server.
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")?;
    Ok(connection)
}

/// Opens the database for reading.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Begins a read of one moment, which ends early when `over` is set.
pub(super) fn begin_read(connection: &Connection, over: Arc<AtomicBool>) -> Result<(), StoreError> {
    connection.progress_handler(STEPS, Some(move || over.load(Ordering::Relaxed)));
    Ok(connection.execute_batch("BEGIN DEFERRED")?)
}

/// Ends it.
pub(super) fn end_read(connection: &Connection) -> Result<(), StoreError> {
    connection.progress_handler(0, None::<fn() -> bool>);
    Ok(connection.execute_batch("ROLLBACK")?)
}

pub(super) fn execute(
    connection: &Connection,
    sql: &str,
    params: &[&dyn Param],
) -> Result<usize, StoreError> {
    let mut statement = prepare(connection, sql, params)?;
    Ok(statement.raw_execute()?)
}

pub(super) fn rows<T, C: FromIterator<T>>(
    connection: &Connection,
    sql: &str,
    params: &[&dyn Param],
    mut read: impl FnMut(Row<'_>) -> Result<T, StoreError>,
) -> Result<C, StoreError> {
    let mut statement = prepare(connection, sql, params)?;
    let mut rows = statement.raw_query();
    std::iter::from_fn(|| {
        rows.next()
            .map_err(StoreError::from)
            .transpose()
            .map(|row| row.and_then(|row| read(Row(Source::Sqlite(row)))))
    })
    .collect()
}

pub(super) fn row<T>(
    connection: &Connection,
    sql: &str,
    params: &[&dyn Param],
    read: impl FnOnce(Row<'_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let mut statement = prepare(connection, sql, params)?;
    let mut rows = statement.raw_query();
    rows.next()?.map(|row| read(Row(Source::Sqlite(row)))).transpose()
}

/// See [`Tx::reusable_bytes`].
pub(super) fn reusable_bytes(connection: &Connection) -> Result<u64, StoreError> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
    Ok(pragma("freelist_count")? * pragma("page_size")?)
}

/// See [`Tx::probe`].
pub(super) fn probe(connection: &Connection) -> Result<(), StoreError> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(connection.pragma_update(None, "user_version", version)?)
}

/// The value in a column of a row.
pub(super) fn value<'a>(row: &'a rusqlite::Row<'a>, column: usize) -> Result<Value<'a>, StoreError> {
    Ok(match row.get_ref(column)? {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => Value::Text(
            std::str::from_utf8(text)
                .map_err(|_| StoreError::Corrupt(format!("column {column} holds text that is not UTF-8")))?,
        ),
        ValueRef::Blob(bytes) => Value::Blob(bytes),
    })
}

fn prepare<'a>(
    connection: &'a Connection,
    sql: &str,
    params: &[&dyn Param],
) -> Result<rusqlite::CachedStatement<'a>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    bind(&mut statement, params)?;
    Ok(statement)
}

fn bind(statement: &mut Statement<'_>, params: &[&dyn Param]) -> Result<(), StoreError> {
    for (index, param) in params.iter().enumerate() {
        statement.raw_bind_parameter(index + 1, param.value()?)?;
    }
    Ok(())
}

// === impl Value ===

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(number),
            Self::Real(number) => ValueRef::Real(number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

// === impl Writing ===

impl Writing {
    pub(super) fn new(connection: Connection) -> Self {
        Self(Tx::embedded(connection))
    }

    fn run(&self, connection: &Connection, batch: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
        for job in batch {
            connection.prepare_cached("SAVEPOINT job")?.execute([])?;
            if !job.run(&self.0) {
                connection.prepare_cached("ROLLBACK TO job")?.execute([])?;
            }
            connection.prepare_cached("RELEASE job")?.execute([])?;
        }
        Ok(())
    }
}

impl Commit for Writing {
    fn commit(&mut self, batch: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
        let Engine::Sqlite(connection) = &self.0.0 else {
            return Err(StoreError::Closed);
        };
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let done = self
            .run(connection, batch)
            .and_then(|()| Ok(connection.execute_batch("COMMIT")?));
        if done.is_err() && !connection.is_autocommit() {
            connection.execute_batch("ROLLBACK")?;
        }
        done
    }
}

// === impl StoreError ===

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) {
            return Self::Full;
        }
        Self::Database(Arc::new(error))
    }
}
