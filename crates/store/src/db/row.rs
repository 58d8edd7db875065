//! A result row, the same for both backends.

use super::value::{FromSql, FromSqlError, ValueRef};
use super::{DbError, postgres};

/// A result row.
pub struct Row<'r> {
    inner: Inner<'r>,
    sql: &'r str,
}

enum Inner<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(&'r tokio_postgres::Row),
}

impl<'r> Row<'r> {
    pub(super) fn sqlite(row: &'r rusqlite::Row<'r>, sql: &'r str) -> Self {
        Self { inner: Inner::Sqlite(row), sql }
    }

    pub(super) fn postgres(row: &'r tokio_postgres::Row, sql: &'r str) -> Self {
        Self { inner: Inner::Postgres(row), sql }
    }

    /// Column `index` (from 0). An error names the statement and the column.
    pub fn get<T: FromSql>(&self, index: usize) -> Result<T, DbError> {
        let value = self.value(index).map_err(|error| self.error(index, error))?;
        T::from_value(value).map_err(|error| self.error(index, error))
    }

    /// Column `index` borrowed, without a copy.
    pub fn value_at(&self, index: usize) -> Result<ValueRef<'_>, DbError> {
        self.value(index).map_err(|error| self.error(index, error))
    }

    /// Column `index` through a conversion of the caller's: bad data is reported with statement and column.
    pub fn get_with<T, R: FromSql, E: std::fmt::Display>(
        &self,
        index: usize,
        convert: impl FnOnce(R) -> Result<T, E>,
    ) -> Result<T, DbError> {
        convert(self.get(index)?).map_err(|error| self.error(index, FromSqlError::Invalid(error.to_string())))
    }

    fn value(&self, index: usize) -> Result<ValueRef<'_>, FromSqlError> {
        match self.inner {
            Inner::Sqlite(row) => super::sqlite::value(row, index),
            Inner::Postgres(row) => postgres::value(row, index),
        }
    }

    fn error(&self, index: usize, error: FromSqlError) -> DbError {
        let column = match self.inner {
            Inner::Sqlite(row) => row.as_ref().column_name(index).ok().map(str::to_owned),
            Inner::Postgres(row) => row.columns().get(index).map(|column| column.name().to_owned()),
        };
        DbError::Column { sql: self.sql.to_owned(), column: column.unwrap_or_default(), index, error }
    }
}
