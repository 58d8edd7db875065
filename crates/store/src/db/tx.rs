//! One transaction: what the closures of [`Database::read`](super::Database::read) and
//! [`Database::write`](super::Database::write) work with.

use super::connection::Connection;
use super::value::Param;
use super::{DbError, Row, ToSql};
use crate::Position;
use crate::change::Change;

/// A transaction on a database thread. All calls block.
///
/// After a failed statement the transaction can only fail (as in PostgreSQL): use `ON CONFLICT` where a
/// conflict is expected, not the error.
pub struct Tx<'c> {
    conn: &'c mut Connection,
    batch: Option<&'c mut Batch>,
    pub(super) effects: Effects,
    pub(super) failed: Option<DbError>,
}

/// Positions given out in the transaction that is open on the writer's connection.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The clock before this batch: `None` until somebody asks for a position.
    pub(super) clock: Option<Position>,
    /// The last position given out.
    pub(super) last: Position,
}

/// What happens after the commit.
#[derive(Default)]
pub(super) struct Effects {
    pub(super) changes: Vec<Change>,
    pub(super) after: Vec<Box<dyn FnOnce() + Send>>,
}

impl<'c> Tx<'c> {
    pub(super) fn new(conn: &'c mut Connection, batch: Option<&'c mut Batch>) -> Self {
        Self { conn, batch, effects: Effects::default(), failed: None }
    }

    /// Runs a statement; answers the number of rows it changed.
    pub fn execute(&mut self, sql: &'static str, params: &[&dyn ToSql]) -> Result<u64, DbError> {
        self.check()?;
        let params = bind(sql, params)?;
        let result = self.conn.execute(sql, &params);
        self.keep_failure(result)
    }

    /// Runs a query; answers its rows, each through `map`.
    pub fn query<T>(
        &mut self,
        sql: &'static str,
        params: &[&dyn ToSql],
        mut map: impl FnMut(&Row<'_>) -> Result<T, DbError>,
    ) -> Result<Vec<T>, DbError> {
        let mut rows = Vec::new();
        self.for_each(sql, params, |row| {
            rows.push(map(row)?);
            Ok(())
        })?;
        Ok(rows)
    }

    /// Runs a query and hands each row to `visit`, without collecting them.
    pub fn for_each(
        &mut self,
        sql: &'static str,
        params: &[&dyn ToSql],
        mut visit: impl FnMut(&Row<'_>) -> Result<(), DbError>,
    ) -> Result<(), DbError> {
        self.check()?;
        let params = bind(sql, params)?;
        let result = self.conn.query(sql, &params, &mut visit);
        self.keep_failure(result)
    }

    /// The only row, or `None`; two rows are an error.
    pub fn query_opt<T>(
        &mut self,
        sql: &'static str,
        params: &[&dyn ToSql],
        map: impl FnMut(&Row<'_>) -> Result<T, DbError>,
    ) -> Result<Option<T>, DbError> {
        let mut rows = self.query(sql, params, map)?;
        match rows.len() {
            0 | 1 => Ok(rows.pop()),
            found => Err(DbError::RowCount { sql: sql.to_owned(), found }),
        }
    }

    /// The only row; none or two are an error.
    pub fn query_one<T>(
        &mut self,
        sql: &'static str,
        params: &[&dyn ToSql],
        map: impl FnMut(&Row<'_>) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        self.query_opt(sql, params, map)?.ok_or_else(|| DbError::RowCount { sql: sql.to_owned(), found: 0 })
    }

    /// Runs one statement for many rows; answers how many rows it changed.
    ///
    /// `INSERT INTO .. VALUES (..)`, `UPDATE .. SET .. WHERE ..` and `DELETE FROM .. WHERE ..` are one statement
    /// and one round trip on PostgreSQL: there two of `rows` must not change the same row of the table.
    ///
    /// ```ignore
    /// tx.insert_many(
    ///     "INSERT INTO tags (user_id, tag) VALUES ($1, $2)",
    ///     tags.iter().map(|tag| [user_id.to_param(), tag.to_param()]),
    /// )?;
    /// ```
    pub fn insert_many<'p, const N: usize>(
        &mut self,
        sql: &'static str,
        rows: impl IntoIterator<Item = [Param<'p>; N]>,
    ) -> Result<u64, DbError> {
        self.check()?;
        let rows = bind_rows(sql, rows)?;
        let rows: Vec<&[Param<'p>]> = rows.iter().map(<[_; N]>::as_slice).collect();
        let result = self.conn.execute_many(sql, &rows);
        self.keep_failure(result)
    }

    /// As [`Tx::insert_many`] for a statement with `RETURNING`: answers the returned rows. Their order is
    /// not defined, and a row that `ON CONFLICT DO NOTHING` skipped is absent.
    pub fn insert_many_returning<'p, T, const N: usize>(
        &mut self,
        sql: &'static str,
        rows: impl IntoIterator<Item = [Param<'p>; N]>,
        mut map: impl FnMut(&Row<'_>) -> Result<T, DbError>,
    ) -> Result<Vec<T>, DbError> {
        self.check()?;
        let rows = bind_rows(sql, rows)?;
        let rows: Vec<&[Param<'p>]> = rows.iter().map(<[_; N]>::as_slice).collect();
        let mut found = Vec::new();
        let result = self.conn.query_many(sql, &rows, &mut |row| {
            found.push(map(row)?);
            Ok(())
        });
        self.keep_failure(result)?;
        Ok(found)
    }

    /// Prepares a statement without running it; answers the names of its columns. It is an error if the
    /// database does not accept it, or if a column has a type that [`Row::get`] cannot read.
    pub fn describe(&mut self, sql: &str) -> Result<Vec<String>, DbError> {
        self.check()?;
        let result = self.conn.describe(sql);
        self.keep_failure(result)
    }

    /// The next position of the one clock. Positions are given in commit order; those of a transaction
    /// that rolls back are given again. An error in a read transaction.
    pub fn next_position(&mut self) -> Result<Position, DbError> {
        self.check()?;
        let result = match self.batch.as_mut() {
            None => return Err(DbError::ReadOnly("next_position")),
            Some(batch) if batch.clock.is_some() => Ok(()),
            Some(batch) => self.conn.lock_clock().map(|clock| {
                batch.clock = Some(clock);
                batch.last = clock;
            }),
        };
        self.keep_failure(result)?;
        let Some(batch) = self.batch.as_mut() else {
            return Err(DbError::ReadOnly("next_position"));
        };
        batch.last += 1;
        Ok(batch.last)
    }

    /// Tells the commit listener about a change, after the commit and in commit order. Without effect in a
    /// read transaction.
    pub fn announce(&mut self, change: Change) {
        if self.batch.is_some() {
            self.effects.changes.push(change);
        }
    }

    /// Runs `f` on the writer thread after the commit, in commit order, before the batch's positions are
    /// published: the place to update memory. It must be quick and must not call the database. Not run when
    /// the transaction rolls back or only reads.
    pub fn after_commit(&mut self, f: impl FnOnce() + Send + 'static) {
        if self.batch.is_some() {
            self.effects.after.push(Box::new(f));
        }
    }

    fn check(&self) -> Result<(), DbError> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn keep_failure<T>(&mut self, result: Result<T, DbError>) -> Result<T, DbError> {
        if let Err(error) = &result
            && error.breaks_transaction()
        {
            self.failed = Some(error.clone());
        }
        result
    }
}

/// The parameters as both databases can store them. Checked here, so that both refuse the same.
fn bind<'p>(sql: &str, params: &'p [&dyn ToSql]) -> Result<Vec<Param<'p>>, DbError> {
    let params = params.iter().zip(1..);
    params.map(|(param, index)| check(sql, index, param.to_param())).collect()
}

fn bind_rows<'p, const N: usize>(
    sql: &str,
    rows: impl IntoIterator<Item = [Param<'p>; N]>,
) -> Result<Vec<[Param<'p>; N]>, DbError> {
    let mut bound = Vec::new();
    for mut row in rows {
        for (param, index) in row.iter_mut().zip(1..) {
            *param = check(sql, index, *param)?;
        }
        bound.push(row);
    }
    Ok(bound)
}

fn check<'p>(sql: &str, index: usize, param: Param<'p>) -> Result<Param<'p>, DbError> {
    param.checked().map_err(|problem| DbError::Parameter { sql: sql.to_owned(), index, problem })
}
