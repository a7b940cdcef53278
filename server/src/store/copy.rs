//! Copies everything from one database to another, of either kind, and checks that it arrived.

use sha2::{Digest as _, Sha256};

use super::{
    StoreError, Tx,
    sql::{Param, Row, Value, tuples},
};

/// Rows that are read, and written, at a time.
const ROWS: usize = 500;

/// The tables, with their keys, and whether the database numbers their rows. A table comes after those that it refers to.
pub(super) const TABLES: &[(&str, &[&str], bool)] = &[
    ("projects", &["path"], false),
    ("users", &["id"], true),
    ("sessions", &["hash"], false),
    ("devices", &["id"], false),
    ("pairing_tokens", &["id"], true),
    ("certificates", &["hash"], false),
    ("groups", &["name"], false),
    ("group_devices", &["name", "device"], false),
    ("grants", &["id"], true),
    ("access_tokens", &["id"], true),
    ("bundles", &["id"], false),
    ("bundle_projects", &["bundle", "project"], false),
    ("deployments", &["id"], true),
    ("updates", &["id"], true),
    ("update_states", &["id"], true),
    ("commands", &["id"], true),
    ("command_runs", &["id"], true),
    ("command_output", &["run", "at"], false),
    ("queues", &["device", "channel", "queue"], false),
    ("series", &["id"], true),
    ("samples", &["series", "at_ms"], false),
    ("audit", &["id"], true),
    ("readmissions", &["id"], true),
];

/// What was copied of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Name of the table.
    pub table: &'static str,
    /// Its rows.
    pub rows: u64,
    /// SHA-256 of the rows, in the order of their key, in hex.
    pub sha256: String,
}

/// A value that outlives its row.
#[derive(Debug, Clone, PartialEq)]
enum Kept {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

/// A table of one database.
struct Table {
    name: &'static str,
    key: &'static [&'static str],
    columns: Vec<String>,
}

/// Copies every table from `from` to `to`, which has none of the rows, and reads the copy again to compare it. Both are in a transaction.
pub(super) fn copy(from: &Tx, to: &Tx) -> Result<Vec<Copied>, StoreError> {
    let mut copied = Vec::with_capacity(TABLES.len());
    for (name, key, numbered) in TABLES {
        let table = Table {
            name,
            key,
            columns: from.0.columns(name)?,
        };
        let source = table.sum(from, |rows| table.insert(to, rows))?;
        if *numbered {
            let last = last_id(from, name)?;
            if last > 0 {
                to.0.set_last_id(name, last)?;
            }
        }
        let target = table.sum(to, |_| Ok(()))?;
        if source != target {
            return Err(StoreError::Corrupt(format!(
                "{name} is not the same after the copy: {} rows became {}",
                source.rows, target.rows
            )));
        }
        copied.push(target);
    }
    Ok(copied)
}

/// Deletes every row of a database in PostgreSQL.
pub(super) fn clear(tx: &Tx) -> Result<(), StoreError> {
    let names: Vec<_> = TABLES.iter().map(|(name, ..)| *name).collect();
    tx.execute(&format!("TRUNCATE {}", names.join(", ")), &[])
        .map(drop)
}

/// The highest number that a table's rows ever had: it is not used again.
fn last_id(tx: &Tx, table: &str) -> Result<i64, StoreError> {
    let highest: i64 = tx.value(&format!("SELECT coalesce(max(id), 0) FROM {table}"), &[])?;
    Ok(highest.max(tx.0.last_id(table)?.unwrap_or(0)))
}

// === impl Table ===

impl Table {
    /// Reads the rows in the order of their key, some at a time.
    fn pages(
        &self,
        tx: &Tx,
        mut take: impl FnMut(&[Vec<Kept>]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let (columns, key) = (self.columns.join(", "), self.key.join(", "));
        let behind = format!("WHERE ({key}) > {}", tuples(1, self.key.len()));
        let mut last: Vec<Kept> = Vec::new();
        loop {
            let query = format!(
                "SELECT {columns} FROM {} {} ORDER BY {key} LIMIT {ROWS}",
                self.name,
                if last.is_empty() { "" } else { &behind }
            );
            let params: Vec<&dyn Param> = last.iter().map(|value| value as &dyn Param).collect();
            let rows: Vec<Vec<Kept>> = tx.rows(&query, &params, |row| self.keep(row))?;
            take(&rows)?;
            match rows.last() {
                Some(row) if rows.len() == ROWS => last = self.key_of(row),
                _ => return Ok(()),
            }
        }
    }

    fn keep(&self, row: Row<'_>) -> Result<Vec<Kept>, StoreError> {
        (0..self.columns.len())
            .map(|column| Ok(row.value(column)?.into()))
            .collect()
    }

    fn key_of(&self, row: &[Kept]) -> Vec<Kept> {
        self.key
            .iter()
            .filter_map(|name| self.columns.iter().position(|column| column == name))
            .filter_map(|column| row.get(column).cloned())
            .collect()
    }

    fn insert(&self, tx: &Tx, rows: &[Vec<Kept>]) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let statement = format!(
            "INSERT INTO {} ({}) VALUES {}",
            self.name,
            self.columns.join(", "),
            tuples(rows.len(), self.columns.len())
        );
        let params: Vec<&dyn Param> = rows.iter().flatten().map(|value| value as &dyn Param).collect();
        tx.execute(&statement, &params).map(drop)
    }

    /// Reads all rows, and gives them to `take` on the way.
    fn sum(
        &self,
        tx: &Tx,
        mut take: impl FnMut(&[Vec<Kept>]) -> Result<(), StoreError>,
    ) -> Result<Copied, StoreError> {
        let (mut hash, mut count) = (Sha256::new(), 0);
        self.pages(tx, |rows| {
            for value in rows.iter().flatten() {
                value.add_to(&mut hash);
            }
            count += rows.len() as u64;
            take(rows)
        })?;
        Ok(Copied {
            table: self.name,
            rows: count,
            sha256: crate::hex(&hash.finalize()),
        })
    }
}

// === impl Kept ===

impl Kept {
    /// Adds a form of the value from which it can be read again.
    fn add_to(&self, hash: &mut Sha256) {
        let mut add = |kind: u8, bytes: &[u8]| {
            hash.update([kind]);
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        match self {
            Self::Null => add(0, &[]),
            Self::Integer(number) => add(1, &number.to_be_bytes()),
            // SQLite has no negative zero.
            Self::Real(number) => add(2, &(number + 0.0).to_bits().to_be_bytes()),
            // PostgreSQL has no NUL in text: see `postgres::values`.
            Self::Text(text) => add(3, text.replace('\0', "\u{fffd}").as_bytes()),
            Self::Blob(bytes) => add(4, bytes),
        }
    }
}

impl From<Value<'_>> for Kept {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Integer(number) => Self::Integer(number),
            Value::Real(number) => Self::Real(number),
            Value::Text(text) => Self::Text(text.to_owned()),
            Value::Blob(bytes) => Self::Blob(bytes.to_vec()),
        }
    }
}

impl Param for Kept {
    fn value(&self) -> Result<Value<'_>, StoreError> {
        Ok(match self {
            Self::Null => Value::Null,
            Self::Integer(number) => Value::Integer(*number),
            Self::Real(number) => Value::Real(*number),
            Self::Text(text) => Value::Text(text),
            Self::Blob(bytes) => Value::Blob(bytes),
        })
    }
}
