//! Statements, in the SQL that both databases understand, and their values.
//!
//! Placeholders are `?1`, `?2` and so on. What is not portable is in `docs/development/decisions/database.md`.

use serde::de::DeserializeOwned;

use super::StoreError;

/// A value of a statement or of a row. Booleans are 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    /// NULL.
    Null,
    /// Signed number of 64 bits.
    Integer(i64),
    /// Floating point number of 64 bits.
    Real(f64),
    /// UTF-8.
    Text(&'a str),
    /// Bytes.
    Blob(&'a [u8]),
}

/// The type of a value that statements take.
pub(crate) trait Param {
    fn value(&self) -> Result<Value<'_>, StoreError>;
}

/// The type of a value that rows give.
pub(crate) trait Column: Sized {
    /// `None` if the value has another type.
    fn read(value: Value<'_>) -> Option<Self>;
}

/// The values of a row, as a driver has them.
pub(super) trait Cells {
    fn value(&self, column: usize) -> Result<Value<'_>, StoreError>;
}

/// A row of an answer.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a>(pub(super) &'a dyn Cells);

/// Placeholders for so many rows of so many values: `(?1, ?2), (?3, ?4)`.
pub(crate) fn tuples(rows: usize, width: usize) -> String {
    let tuple = |row: usize| {
        let marks: Vec<_> = (1..=width)
            .map(|column| format!("?{}", row * width + column))
            .collect();
        format!("({})", marks.join(", "))
    };
    (0..rows).map(tuple).collect::<Vec<_>>().join(", ")
}

// === impl Row ===

impl<'a> Row<'a> {
    /// The value in this column.
    pub(crate) fn get<T: Column>(self, column: usize) -> Result<T, StoreError> {
        let value = self.value(column)?;
        T::read(value).ok_or_else(|| {
            StoreError::Corrupt(format!(
                "column {column} holds {value:?}, not {}",
                std::any::type_name::<T>()
            ))
        })
    }

    /// The value in this column, which is JSON.
    pub(crate) fn json<T: DeserializeOwned>(self, column: usize) -> Result<T, StoreError> {
        match self.value(column)? {
            Value::Text(json) => Ok(serde_json::from_str(json)?),
            other => Err(StoreError::Corrupt(format!(
                "column {column} holds {other:?}, not JSON"
            ))),
        }
    }

    /// The value in this column, whatever it is.
    pub(super) fn value(self, column: usize) -> Result<Value<'a>, StoreError> {
        self.0.value(column)
    }
}

// === impl Param ===

impl<T: Param + ?Sized> Param for &T {
    fn value(&self) -> Result<Value<'_>, StoreError> {
        (**self).value()
    }
}

impl<T: Param> Param for Option<T> {
    fn value(&self) -> Result<Value<'_>, StoreError> {
        self.as_ref().map_or(Ok(Value::Null), Param::value)
    }
}

impl Param for str {
    fn value(&self) -> Result<Value<'_>, StoreError> {
        Ok(Value::Text(self))
    }
}

impl Param for String {
    fn value(&self) -> Result<Value<'_>, StoreError> {
        Ok(Value::Text(self))
    }
}

impl Param for [u8] {
    fn value(&self) -> Result<Value<'_>, StoreError> {
        Ok(Value::Blob(self))
    }
}

impl<const N: usize> Param for [u8; N] {
    fn value(&self) -> Result<Value<'_>, StoreError> {
        Ok(Value::Blob(self))
    }
}

impl Param for bool {
    fn value(&self) -> Result<Value<'_>, StoreError> {
        Ok(Value::Integer((*self).into()))
    }
}

impl Param for f64 {
    fn value(&self) -> Result<Value<'_>, StoreError> {
        Ok(Value::Real(*self))
    }
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl Param for $type {
            fn value(&self) -> Result<Value<'_>, StoreError> {
                let number = i64::try_from(*self);
                Ok(Value::Integer(number.map_err(|_| {
                    StoreError::Corrupt(format!("{self} is larger than the numbers of a database"))
                })?))
            }
        }

        impl Column for $type {
            fn read(value: Value<'_>) -> Option<Self> {
                match value {
                    Value::Integer(number) => number.try_into().ok(),
                    _ => None,
                }
            }
        }
    )*};
}

integers!(i64, u64, u32, usize);

// === impl Column ===

impl<T: Column> Column for Option<T> {
    fn read(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::read(value).map(Some),
        }
    }
}

impl Column for bool {
    fn read(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Integer(number) => Some(number != 0),
            _ => None,
        }
    }
}

impl Column for f64 {
    fn read(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Real(number) => Some(number),
            _ => None,
        }
    }
}

impl Column for String {
    fn read(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text.to_owned()),
            _ => None,
        }
    }
}

impl Column for Vec<u8> {
    fn read(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Blob(bytes) => Some(bytes.to_vec()),
            _ => None,
        }
    }
}

impl<const N: usize> Column for [u8; N] {
    fn read(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Blob(bytes) => bytes.try_into().ok(),
            _ => None,
        }
    }
}
