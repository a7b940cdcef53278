//! One connection to PostgreSQL.

use std::{
    cell::{Cell, RefCell, RefMut},
    collections::HashMap,
    sync::Arc,
};

use postgres::{
    CancelToken, Client, Statement,
    error::{DbError, Severity, SqlState},
    types::ToSql,
};

use super::super::{
    StoreError,
    sql::{Cells, Column, Param, Row, Value},
    tx::Connection,
};

/// Statements that a connection keeps prepared: all that there are.
const STATEMENTS: usize = 512;

/// Answers after which a connection is of no use.
const GONE: &[SqlState] = &[
    SqlState::ADMIN_SHUTDOWN,
    SqlState::CRASH_SHUTDOWN,
    SqlState::CANNOT_CONNECT_NOW,
    SqlState::TOO_MANY_CONNECTIONS,
    SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    // The primary has become a standby.
    SqlState::READ_ONLY_SQL_TRANSACTION,
];

/// Answers to a transaction that another one was quicker than.
const RACED: &[SqlState] = &[
    SqlState::T_R_SERIALIZATION_FAILURE,
    SqlState::T_R_DEADLOCK_DETECTED,
    SqlState::LOCK_NOT_AVAILABLE,
];

/// What went wrong in a transaction, if anything did that is not the statement's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing.
    Fine,
    /// Another transaction won a race: the same work may succeed when it runs again.
    Raced,
    /// The connection is of no use any more.
    Lost,
}

/// A connection, for one thread at a time.
pub(in super::super) struct Session {
    /// `None` once it is dropped.
    client: Option<RefCell<Client>>,
    statements: RefCell<HashMap<String, Statement>>,
    fate: Cell<Fate>,
}

// === impl Session ===

impl Session {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client: Some(RefCell::new(client)),
            statements: RefCell::default(),
            fate: Cell::new(Fate::Fine),
        }
    }

    pub(super) fn fate(&self) -> Fate {
        self.fate.get()
    }

    pub(super) fn cancel_token(&self) -> Result<CancelToken, StoreError> {
        self.client().map(|client| client.cancel_token())
    }

    /// Runs statements without values, one after the other.
    pub(super) fn batch(&self, sql: &str) -> Result<(), StoreError> {
        let done = self.client()?.batch_execute(sql);
        done.map_err(|error| self.failed(error))
    }

    /// Begins a transaction, in which nothing has gone wrong yet.
    pub(super) fn begin(&self, sql: &str) -> Result<(), StoreError> {
        self.fate.set(Fate::Fine);
        self.batch(sql)
    }

    /// Begins a read of one moment.
    pub(in super::super) fn begin_read(&self) -> Result<(), StoreError> {
        self.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    }

    /// Ends it, and returns whether the connection can be used again.
    pub(in super::super) fn end_read(&self) -> bool {
        self.batch("ROLLBACK").is_ok() && self.fate() == Fate::Fine
    }

    fn answer(&self, sql: &str, params: &[&dyn Param]) -> Result<Vec<postgres::Row>, StoreError> {
        let statement = self.prepare(sql)?;
        let values = values(params)?;
        let rows = self.client()?.query(&statement, &references(&values));
        rows.map_err(|error| self.failed(error))
    }

    /// The first value of the only row of an answer.
    pub(super) fn one<T: Column>(&self, sql: &str, params: &[&dyn Param]) -> Result<T, StoreError> {
        let rows = self.answer(sql, params)?;
        let row = rows
            .first()
            .ok_or_else(|| StoreError::Corrupt(format!("no row: {sql}")))?;
        Row(row).get(0)
    }

    fn prepare(&self, sql: &str) -> Result<Statement, StoreError> {
        if let Some(statement) = self.statements.borrow().get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client()?.prepare(&numbered(sql));
        let statement = statement.map_err(|error| self.failed(error))?;
        let mut statements = self.statements.borrow_mut();
        if statements.len() >= STATEMENTS {
            statements.clear();
        }
        statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    fn client(&self) -> Result<RefMut<'_, Client>, StoreError> {
        let client = self.client.as_ref().ok_or(StoreError::Closed)?;
        Ok(client.borrow_mut())
    }

    fn failed(&self, error: postgres::Error) -> StoreError {
        let fate = match error.code() {
            Some(code) if GONE.contains(code) || is_fatal(&error) => Fate::Lost,
            Some(code) if RACED.contains(code) => Fate::Raced,
            // Not an answer of the database.
            None if error.is_closed()
                || is_io(&error)
                || self.client().is_ok_and(|client| client.is_closed()) =>
            {
                Fate::Lost
            }
            _ => Fate::Fine,
        };
        // A transaction that lost a race is over, and so is a connection: what follows in it only fails for that reason.
        if self.fate.get() == Fate::Fine || fate == Fate::Lost {
            self.fate.set(fate);
        }
        error.into()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let client = self.client.take();
        // A client says goodbye on a runtime of its own, which must not end on a thread of the server's.
        if tokio::runtime::Handle::try_current().is_ok() {
            std::thread::spawn(move || drop(client));
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("fate", &self.fate)
            .finish_non_exhaustive()
    }
}

impl Connection for Session {
    fn execute(&self, sql: &str, params: &[&dyn Param]) -> Result<usize, StoreError> {
        let statement = self.prepare(sql)?;
        let values = values(params)?;
        let changed = self.client()?.execute(&statement, &references(&values));
        let changed = changed.map_err(|error| self.failed(error))?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    fn query(
        &self,
        sql: &str,
        params: &[&dyn Param],
        take: &mut dyn FnMut(Row<'_>) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        // Read whole, so that `take` may ask for more.
        for row in &self.answer(sql, params)? {
            if !take(Row(row))? {
                break;
            }
        }
        Ok(())
    }

    fn reusable_bytes(&self) -> Result<u64, StoreError> {
        Ok(0)
    }

    fn probe(&self) -> Result<(), StoreError> {
        self.execute("UPDATE homeport SET batch = batch", &[]).map(drop)
    }

    fn columns(&self, table: &str) -> Result<Vec<String>, StoreError> {
        let rows = self.answer(
            "SELECT CAST(column_name AS TEXT) FROM information_schema.columns \
             WHERE table_name = ?1 AND table_schema = current_schema() ORDER BY CAST(column_name AS TEXT) COLLATE \"C\"",
            &[&table],
        )?;
        rows.iter().map(|row| Row(row).get(0)).collect()
    }

    fn last_id(&self, table: &str) -> Result<Option<i64>, StoreError> {
        self.one(
            "SELECT pg_sequence_last_value(CAST(pg_get_serial_sequence(?1, 'id') AS regclass))",
            &[&table],
        )
    }

    fn set_last_id(&self, table: &str, last: i64) -> Result<(), StoreError> {
        // As a part of the transaction, which `setval` is not.
        self.batch(&format!(
            "ALTER TABLE {table} ALTER COLUMN id RESTART WITH {}",
            last.saturating_add(1)
        ))
    }
}

impl Cells for postgres::Row {
    fn value(&self, column: usize) -> Result<Value<'_>, StoreError> {
        Ok(self.try_get(column)?)
    }
}

/// Whether the database has ended the connection.
fn is_fatal(error: &postgres::Error) -> bool {
    let severity = error.as_db_error().and_then(DbError::parsed_severity);
    matches!(severity, Some(Severity::Fatal | Severity::Panic))
}

/// Whether the way to the database failed, and not the database.
fn is_io(error: &postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
}

fn values<'a>(params: &'a [&'a dyn Param]) -> Result<Vec<Value<'a>>, StoreError> {
    params.iter().copied().map(Param::value).collect()
}

fn references<'a>(values: &'a [Value<'a>]) -> Vec<&'a (dyn ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

/// The statement with PostgreSQL's placeholders, `$1`, in place of `?1`. No text of a statement has a question mark.
fn numbered(sql: &str) -> String {
    sql.replace('?', "$")
}

// === impl StoreError ===

impl From<postgres::Error> for StoreError {
    fn from(error: postgres::Error) -> Self {
        match error.code() {
            Some(&SqlState::DISK_FULL) => Self::Full,
            Some(&SqlState::QUERY_CANCELED) => Self::TooSlow,
            Some(code) if RACED.contains(code) => Self::Busy,
            Some(code) if GONE.contains(code) || is_fatal(&error) => Self::Away(Arc::new(Told(error))),
            None if error.is_closed() || is_io(&error) => Self::Away(Arc::new(Told(error))),
            _ => Self::Database(Arc::new(Told(error))),
        }
    }
}

/// An error whose text has its cause, which PostgreSQL's client leaves to the caller.
#[derive(Debug)]
pub(super) struct Told(pub(super) postgres::Error);

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        match std::error::Error::source(&self.0) {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Told {}
