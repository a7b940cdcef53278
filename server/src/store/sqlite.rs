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
    Connection, OpenFlags, OptionalExtension as _, Statement, ToSql, params,
    types::{ToSqlOutput, ValueRef},
};

use super::{
    StoreError, Tx,
    sql::{Cells, Param, Row, Value},
    tx,
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
        Self::new(connection)
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

// === impl Connection ===

impl tx::Connection for Connection {
    fn execute(&self, sql: &str, params: &[&dyn Param]) -> Result<usize, StoreError> {
        Ok(prepare(self, sql, params)?.raw_execute()?)
    }

    fn query(
        &self,
        sql: &str,
        params: &[&dyn Param],
        take: &mut dyn FnMut(Row<'_>) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let mut statement = prepare(self, sql, params)?;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            if !take(Row(row))? {
                break;
            }
        }
        Ok(())
    }

    fn reusable_bytes(&self) -> Result<u64, StoreError> {
        let pragma = |name| self.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
        Ok(pragma("freelist_count")? * pragma("page_size")?)
    }

    fn probe(&self) -> Result<(), StoreError> {
        let version: i64 = self.pragma_query_value(None, "user_version", |row| row.get(0))?;
        Ok(self.pragma_update(None, "user_version", version)?)
    }

    fn columns(&self, table: &str) -> Result<Vec<String>, StoreError> {
        let mut statement = self.prepare_cached("SELECT name FROM pragma_table_info(?1) ORDER BY name")?;
        let names = statement.query_map([table], |row| row.get(0))?;
        Ok(names.collect::<Result<_, _>>()?)
    }

    fn last_id(&self, table: &str) -> Result<Option<i64>, StoreError> {
        let mut statement = self.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = ?1")?;
        Ok(statement.query_row([table], |row| row.get(0)).optional()?)
    }

    fn set_last_id(&self, table: &str, last: i64) -> Result<(), StoreError> {
        self.prepare_cached("DELETE FROM sqlite_sequence WHERE name = ?1")?
            .execute([table])?;
        self.prepare_cached("INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)")?
            .execute(params![table, last])?;
        Ok(())
    }
}

impl Cells for rusqlite::Row<'_> {
    fn value(&self, column: usize) -> Result<Value<'_>, StoreError> {
        Ok(match self.get_ref(column)? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(number) => Value::Integer(number),
            ValueRef::Real(number) => Value::Real(number),
            ValueRef::Text(text) => {
                Value::Text(std::str::from_utf8(text).map_err(|_| {
                    StoreError::Corrupt(format!("column {column} holds text that is not UTF-8"))
                })?)
            }
            ValueRef::Blob(bytes) => Value::Blob(bytes),
        })
    }
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
        let connection: &Connection = self.0.connection()?;
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
