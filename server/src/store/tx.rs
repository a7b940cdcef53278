//! A transaction, as the queries of the capabilities see it.

use std::any::Any;

use super::{
    StoreError,
    sql::{Column, Param, Row},
};

/// A connection to a database of some kind.
pub(super) trait Connection: Any + Send + std::fmt::Debug {
    /// Runs a statement, and returns how many rows it changed.
    fn execute(&self, sql: &str, params: &[&dyn Param]) -> Result<usize, StoreError>;

    /// Runs a query, and gives its rows to `take` until that wants no more.
    fn query(
        &self,
        sql: &str,
        params: &[&dyn Param],
        take: &mut dyn FnMut(Row<'_>) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError>;

    /// See [`Tx::reusable_bytes`].
    fn reusable_bytes(&self) -> Result<u64, StoreError>;

    /// See [`Tx::probe`].
    fn probe(&self) -> Result<(), StoreError>;

    /// Names of a table's columns, in the order of their bytes.
    fn columns(&self, table: &str) -> Result<Vec<String>, StoreError>;

    /// The highest number that the database gave to a row of a table, if it remembers that.
    fn last_id(&self, table: &str) -> Result<Option<i64>, StoreError>;

    /// Makes the database number the next row of a table with a higher number.
    fn set_last_id(&self, table: &str, last: i64) -> Result<(), StoreError>;
}

/// A connection within a transaction: its reads are consistent, and all its writes are committed together or not at all.
#[derive(Debug)]
pub struct Tx(pub(super) Box<dyn Connection>);

// === impl Tx ===

impl Tx {
    pub(super) fn new(connection: impl Connection) -> Self {
        Self(Box::new(connection))
    }

    /// The connection, for those who know its kind.
    pub(super) fn connection<T: Connection>(&self) -> Result<&T, StoreError> {
        let connection: &dyn Any = &*self.0;
        connection.downcast_ref().ok_or(StoreError::Closed)
    }

    /// Runs a statement, and returns how many rows it changed.
    pub(crate) fn execute(&self, sql: &str, params: &[&dyn Param]) -> Result<usize, StoreError> {
        self.0.execute(sql, params)
    }

    /// Every row of the answer, as `read` reads it.
    pub(crate) fn rows<T, C: FromIterator<T>>(
        &self,
        sql: &str,
        params: &[&dyn Param],
        mut read: impl FnMut(Row<'_>) -> Result<T, StoreError>,
    ) -> Result<C, StoreError> {
        let mut rows = Vec::new();
        self.0.query(sql, params, &mut |row| {
            rows.push(read(row)?);
            Ok(true)
        })?;
        Ok(rows.into_iter().collect())
    }

    /// The first row of the answer, if it has any.
    pub(crate) fn row<T>(
        &self,
        sql: &str,
        params: &[&dyn Param],
        mut read: impl FnMut(Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut found = None;
        self.0.query(sql, params, &mut |row| {
            found = Some(read(row)?);
            Ok(false)
        })?;
        Ok(found)
    }

    /// The first row of an answer that always has one.
    pub(crate) fn one<T>(
        &self,
        sql: &str,
        params: &[&dyn Param],
        read: impl FnMut(Row<'_>) -> Result<T, StoreError>,
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
        self.0.reusable_bytes()
    }

    /// Writes something that changes nothing, to find out whether the database can be written.
    pub fn probe(&self) -> Result<(), StoreError> {
        self.0.probe()
    }
}
