//! Encoding parameters and decoding columns.

use bytes::{Bytes, BytesMut};
use tokio_postgres::Statement;
use tokio_postgres::types::{FromSql, IsNull, Kind, ToSql, Type, to_sql_checked};

use super::describe;
use crate::db::row::Columns;
use crate::db::value::{FromSqlError, Param, ValueRef};

type BoxError = Box<dyn std::error::Error + Sync + Send>;

/// An encoded parameter; `None` is NULL. It owns its bytes, so that the statement can be sent later.
#[derive(Clone, Debug)]
pub(super) struct Encoded(Option<Bytes>);

impl Encoded {
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, Bytes::len)
    }
}

impl ToSql for Encoded {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, BoxError> {
        Ok(match &self.0 {
            None => IsNull::Yes,
            Some(bytes) => {
                out.extend_from_slice(bytes);
                IsNull::No
            }
        })
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// Encodes the parameters of a statement for one row.
pub(super) fn encode_row(statement: &Statement, row: &[Param<'_>]) -> Result<Vec<Encoded>, BoxError> {
    encode(statement, row.iter().map(|param| Bind(*param)))
}

/// Encodes the parameters of a statement for many rows, each as an array.
pub(super) fn encode_columns(statement: &Statement, rows: &[&[Param<'_>]]) -> Result<Vec<Encoded>, BoxError> {
    encode(statement, (0..statement.params().len()).map(|column| BindColumn { rows, column }))
}

fn encode<P: ToSql>(statement: &Statement, params: impl Iterator<Item = P>) -> Result<Vec<Encoded>, BoxError> {
    let mut buffer = BytesMut::new();
    params
        .zip(statement.params())
        .map(|(param, ty)| {
            Ok(Encoded(match param.to_sql(ty, &mut buffer)? {
                IsNull::Yes => None,
                IsNull::No => Some(buffer.split().freeze()),
            }))
        })
        .collect()
}

#[derive(Debug)]
struct Bind<'a>(Param<'a>);

impl ToSql for Bind<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, BoxError> {
        match self.0 {
            Param::Null => Ok(IsNull::Yes),
            Param::Int(number) => match *ty {
                Type::INT4 => i32::try_from(number)?.to_sql(ty, out),
                Type::INT2 => i16::try_from(number)?.to_sql(ty, out),
                Type::BOOL => (number != 0).to_sql(ty, out),
                Type::INT8 => number.to_sql(ty, out),
                _ => Err(mismatch("a number", ty)),
            },
            Param::Text(text) if <&str as ToSql>::accepts(ty) => text.to_sql(ty, out),
            Param::Text(_) => Err(mismatch("text", ty)),
            Param::Blob(bytes) if *ty == Type::BYTEA => bytes.to_sql(ty, out),
            Param::Blob(_) => Err(mismatch("bytes", ty)),
            Param::List(list) => match ty.kind() {
                Kind::Array(_) => list
                    .params()
                    .into_iter()
                    .map(|param| param.checked().map(Bind))
                    .collect::<Result<Vec<_>, _>>()?
                    .to_sql(ty, out),
                _ => Err(mismatch("a list", ty)),
            },
            Param::Unsigned(_) => Err("was not checked".into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// One column of many rows, as an array.
#[derive(Debug)]
struct BindColumn<'a> {
    rows: &'a [&'a [Param<'a>]],
    column: usize,
}

impl ToSql for BindColumn<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, BoxError> {
        let values: Vec<Bind<'_>> =
            self.rows.iter().filter_map(|row| row.get(self.column)).map(|param| Bind(*param)).collect();
        values.to_sql(ty, out)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

fn mismatch(given: &str, ty: &Type) -> BoxError {
    format!("{given} was given where the statement takes {ty}").into()
}

pub(super) fn readable(ty: &Type) -> bool {
    matches!(*ty, Type::INT8 | Type::INT4 | Type::INT2 | Type::BOOL | Type::TEXT | Type::VARCHAR | Type::BYTEA)
}

impl<'a> FromSql<'a> for ValueRef<'a> {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, BoxError> {
        Ok(match *ty {
            Type::INT8 => Self::Int(i64::from_sql(ty, raw)?),
            Type::INT4 => Self::Int(i32::from_sql(ty, raw)?.into()),
            Type::INT2 => Self::Int(i16::from_sql(ty, raw)?.into()),
            Type::BOOL => Self::Int(bool::from_sql(ty, raw)?.into()),
            Type::BYTEA => Self::Blob(raw),
            _ => Self::Text(std::str::from_utf8(raw)?),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, BoxError> {
        Ok(Self::Null)
    }

    fn accepts(ty: &Type) -> bool {
        readable(ty) || *ty == Type::NAME
    }
}

impl Columns for tokio_postgres::Row {
    fn value(&self, index: usize) -> Result<ValueRef<'_>, FromSqlError> {
        self.try_get(index).map_err(|error| FromSqlError::Invalid(describe(&error)))
    }

    fn name(&self, index: usize) -> String {
        self.columns().get(index).map(|column| column.name().to_owned()).unwrap_or_default()
    }
}
