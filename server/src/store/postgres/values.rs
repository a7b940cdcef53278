//! Values, as PostgreSQL's binary format has them.

use std::{error::Error, fmt};

use bytes::BytesMut;
use postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use postgres_protocol::types;

use super::super::sql::Value;

/// A value that the column's or the parameter's type has no room for.
#[derive(Debug)]
struct Mismatch(String);

// === impl Value ===

impl ToSql for Value<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match (*self, kind) {
            (Value::Null, _) => return Ok(IsNull::Yes),
            (Value::Integer(number), &Type::INT8) => types::int8_to_sql(number, out),
            (Value::Integer(number), &Type::INT4) => types::int4_to_sql(i32::try_from(number)?, out),
            (Value::Integer(number), &Type::BOOL) => types::bool_to_sql(number != 0, out),
            #[expect(
                clippy::cast_precision_loss,
                reason = "as SQLite stores a number in a column of reals"
            )]
            (Value::Integer(number), &Type::FLOAT8) => types::float8_to_sql(number as f64, out),
            (Value::Real(number), &Type::FLOAT8) => types::float8_to_sql(number, out),
            // PostgreSQL takes no NUL in text.
            (Value::Text(text), &Type::TEXT | &Type::VARCHAR | &Type::NAME) if text.contains('\0') => {
                types::text_to_sql(&text.replace('\0', "\u{fffd}"), out);
            }
            (Value::Text(text), &Type::TEXT | &Type::VARCHAR | &Type::NAME) => types::text_to_sql(text, out),
            (Value::Blob(bytes), &Type::BYTEA) => types::bytea_to_sql(bytes, out),
            (value, kind) => return Err(Mismatch(format!("a {kind} cannot hold {value:?}")).into()),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value<'a> {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(match *kind {
            Type::INT8 => Value::Integer(types::int8_from_sql(raw)?),
            Type::INT4 => Value::Integer(types::int4_from_sql(raw)?.into()),
            Type::BOOL => Value::Integer(types::bool_from_sql(raw)?.into()),
            Type::FLOAT8 => Value::Real(types::float8_from_sql(raw)?),
            Type::TEXT | Type::VARCHAR | Type::NAME => Value::Text(types::text_from_sql(raw)?),
            Type::BYTEA => Value::Blob(types::bytea_from_sql(raw)),
            _ => return Err(Mismatch(format!("a {kind} is not expected: the query has to cast it")).into()),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Value::Null)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

// === impl Mismatch ===

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Mismatch {}
