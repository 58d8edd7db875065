//! A result row, the same for both backends.

use super::DbError;
use super::value::{FromSql, FromSqlError, ValueRef};

/// A function that is called for each row of a result.
pub(super) type Visit<'v> = &'v mut dyn FnMut(&Row<'_>) -> Result<(), DbError>;

/// A row as a driver returns it.
pub(super) trait Columns {
    /// Returns column `index` (from 0).
    fn value(&self, index: usize) -> Result<ValueRef<'_>, FromSqlError>;

    /// Returns the column's name; empty when there is no such column.
    fn name(&self, index: usize) -> String;
}

/// A result row.
pub struct Row<'r> {
    columns: &'r dyn Columns,
    sql: &'r str,
}

impl<'r> Row<'r> {
    pub(super) fn new(columns: &'r dyn Columns, sql: &'r str) -> Self {
        Self { columns, sql }
    }

    /// Reads column `index` (from 0). An error names the statement and the column.
    ///
    /// # Errors
    /// When the column has another type or an invalid value.
    pub fn get<T: FromSql>(&self, index: usize) -> Result<T, DbError> {
        T::from_value(self.value_at(index)?).map_err(|error| self.error(index, error))
    }

    /// Borrows column `index` without copying.
    pub fn value_at(&self, index: usize) -> Result<ValueRef<'_>, DbError> {
        self.columns.value(index).map_err(|error| self.error(index, error))
    }

    /// Reads column `index` and converts it with `convert`.
    ///
    /// # Errors
    /// The conversion's, with the statement and the column.
    pub fn get_with<T, R: FromSql, E: std::fmt::Display>(
        &self,
        index: usize,
        convert: impl FnOnce(R) -> Result<T, E>,
    ) -> Result<T, DbError> {
        convert(self.get(index)?).map_err(|error| self.error(index, FromSqlError::Invalid(error.to_string())))
    }

    fn error(&self, index: usize, error: FromSqlError) -> DbError {
        DbError::Column { sql: self.sql.to_owned(), column: self.columns.name(index), index, error }
    }
}

/// Reads column 0: the `map` argument of single-column queries.
///
/// # Errors
/// See [`Row::get`].
pub fn first<T: FromSql>(row: &Row<'_>) -> Result<T, DbError> {
    row.get(0)
}
