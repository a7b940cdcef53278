//! A transaction, as the queries of the capabilities see it.

use super::{
    StoreError,
    postgres::{self, Session},
    sql::{Column, Param, Row},
    sqlite,
};

/// A connection within a transaction: its reads are consistent, and all its writes are committed together or not at all.
#[derive(Debug)]
pub struct Tx(pub(super) Engine);

/// The database behind it.
#[derive(Debug)]
pub(super) enum Engine {
    Sqlite(rusqlite::Connection),
    Postgres(Session),
}

// === impl Tx ===

impl Tx {
    /// Runs a statement, and returns how many rows it changed.
    pub(crate) fn execute(&self, sql: &str, params: &[&dyn Param]) -> Result<usize, StoreError> {
        match &self.0 {
            Engine::Sqlite(connection) => sqlite::execute(connection, sql, params),
            Engine::Postgres(session) => session.execute(sql, params),
        }
    }

    /// Every row of the answer, as `read` reads it.
    pub(crate) fn rows<T, C: FromIterator<T>>(
        &self,
        sql: &str,
        params: &[&dyn Param],
        read: impl FnMut(Row<'_>) -> Result<T, StoreError>,
    ) -> Result<C, StoreError> {
        match &self.0 {
            Engine::Sqlite(connection) => sqlite::rows(connection, sql, params, read),
            Engine::Postgres(session) => session.rows(sql, params, read),
        }
    }

    /// The first row of the answer, if it has any.
    pub(crate) fn row<T>(
        &self,
        sql: &str,
        params: &[&dyn Param],
        read: impl FnOnce(Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        match &self.0 {
            Engine::Sqlite(connection) => sqlite::row(connection, sql, params, read),
            Engine::Postgres(session) => session.row(sql, params, read),
        }
    }

    /// The first row of an answer that always has one.
    pub(crate) fn one<T>(
        &self,
        sql: &str,
        params: &[&dyn Param],
        read: impl FnOnce(Row<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.row(sql, params, read)?
            .ok_or_else(|| StoreError::Corrupt(format!("no row: {sql}")))
    }

    /// The first value of the first row of an answer that always has one.
    pub(crate) fn value<T: Column>(&self, sql: &str, params: &[&dyn Param]) -> Result<T, StoreError> {
        self.one(sql, params, |row| row.get(0))
    }

    /// Bytes of the database's file that are free, and that SQLite uses before the file grows.
    pub fn reusable_bytes(&self) -> Result<u64, StoreError> {
        match &self.0 {
            Engine::Sqlite(connection) => sqlite::reusable_bytes(connection),
            Engine::Postgres(_) => Ok(0),
        }
    }

    /// Writes something that changes nothing, to find out whether the database can be written.
    pub fn probe(&self) -> Result<(), StoreError> {
        match &self.0 {
            Engine::Sqlite(connection) => sqlite::probe(connection),
            Engine::Postgres(session) => postgres::probe(session),
        }
    }
}
