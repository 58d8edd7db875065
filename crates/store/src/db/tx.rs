//! One transaction: the argument of the closures of [`Database::read`](super::Database::read) and
//! [`Database::write`](super::Database::write).

use std::collections::HashSet;
use std::marker::PhantomData;

use super::connection::{Connection, Sent};
use super::value::Param;
use super::{Backend, DbError, Row, ToSql, dialect};
use crate::Position;
use crate::change::Change;

/// A transaction on a database thread. All calls block.
///
/// After a failed statement the transaction can only fail (as in PostgreSQL): where a conflict is expected, use `ON
/// CONFLICT` and not the error.
pub struct Tx<'c> {
    conn: &'c mut Connection,
    batch: Option<&'c mut Batch>,
    /// What is announced after the commit.
    pub(super) changes: Vec<Change>,
    failed: Option<DbError>,
    /// Whether the closure is alone in its transaction: then the statements it sent ahead get their responses together
    /// with the commit.
    alone: bool,
}

/// A statement whose result is read later with [`Tx::changed`], in the same transaction.
#[derive(Clone, Copy, Debug)]
pub struct Later {
    /// `None`: it was not run because the transaction had failed, or it failed itself.
    sent: Option<Sent>,
    _of_this_thread: PhantomData<*const ()>,
}

/// The positions assigned in the open transaction of the writer's connection.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The clock before this batch: `None` until a position is needed.
    pub(super) clock: Option<Position>,
    /// The last assigned position.
    pub(super) last: Position,
}

impl<'c> Tx<'c> {
    pub(super) fn new(conn: &'c mut Connection, batch: Option<&'c mut Batch>) -> Self {
        Self { conn, batch, changes: Vec::new(), failed: None, alone: false }
    }

    /// Runs `f` in the transaction that is open on `conn`. Fails when a statement failed, including one that was sent
    /// ahead.
    pub(crate) fn within<T, E>(
        conn: &mut Connection,
        f: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<Result<T, E>, DbError> {
        let mut tx = Tx::new(conn, None);
        let result = f(&mut tx);
        match tx.finish(false) {
            Some(error) => Err(error),
            None => Ok(result),
        }
    }

    /// Returns the kind of database.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.conn.backend()
    }

    /// Marks the closure as alone in its transaction.
    pub(super) fn alone(self) -> Self {
        Self { alone: true, ..self }
    }

    /// Runs a statement; returns the number of changed rows.
    ///
    /// # Errors
    /// When the statement fails, or the transaction has failed before.
    pub fn execute(&mut self, sql: &'static str, params: &[&dyn ToSql]) -> Result<u64, DbError> {
        self.check()?;
        let params = bind(sql, params)?;
        let result = self.conn.execute(sql, &params);
        self.keep_failure(result)
    }

    /// Runs a query; returns its rows, each converted by `map`.
    ///
    /// # Errors
    /// When the statement or `map` fails, or the transaction has failed before.
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

    /// Runs a query and passes each row to `visit`, without collecting them.
    ///
    /// # Errors
    /// When the statement or `visit` fails, or the transaction has failed before.
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

    /// Runs a query; returns its only row, or `None`.
    ///
    /// # Errors
    /// Like [`Tx::query`], and when there are two rows.
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

    /// Runs a query; returns its only row.
    ///
    /// # Errors
    /// Like [`Tx::query`], and when there are no or two rows.
    pub fn query_one<T>(
        &mut self,
        sql: &'static str,
        params: &[&dyn ToSql],
        map: impl FnMut(&Row<'_>) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        self.query_opt(sql, params, map)?.ok_or_else(|| DbError::RowCount { sql: sql.to_owned(), found: 0 })
    }

    /// Runs one statement for many rows; returns the number of changed rows.
    ///
    /// `INSERT INTO .. VALUES (..)`, `UPDATE .. SET .. WHERE ..` and `DELETE FROM .. WHERE ..` are one statement and
    /// one round trip on PostgreSQL: there no two of `rows` may change the same row of the table. In debug builds an
    /// `ON CONFLICT .. DO UPDATE` that would do so fails on SQLite, too.
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

    /// Like [`Tx::insert_many`] for a statement with `RETURNING`: returns the returned rows. Their order is not
    /// defined, and rows that `ON CONFLICT DO NOTHING` skipped are absent.
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

    /// Like [`Tx::execute`], but without waiting: on PostgreSQL the statement is sent with the next one that is waited
    /// for, and everything sent together costs one round trip.
    ///
    /// Its failure is returned by that next statement, by [`Tx::changed`], or at the latest by the commit; the
    /// closure's changes are then not kept.
    ///
    /// # Errors
    /// When a parameter cannot be stored.
    pub fn execute_later(&mut self, sql: &'static str, params: &[&dyn ToSql]) -> Result<Later, DbError> {
        let params = bind(sql, params)?;
        Ok(self.send(sql, &[&params]))
    }

    /// Like [`Tx::insert_many`], but without waiting: see [`Tx::execute_later`].
    pub fn insert_many_later<'p, const N: usize>(
        &mut self,
        sql: &'static str,
        rows: impl IntoIterator<Item = [Param<'p>; N]>,
    ) -> Result<Later, DbError> {
        let rows = bind_rows(sql, rows)?;
        let rows: Vec<&[Param<'p>]> = rows.iter().map(<[_; N]>::as_slice).collect();
        Ok(self.send(sql, &rows))
    }

    /// Like [`Tx::insert_many_later`], for a statement that must change a row for each of `rows`; otherwise the closure
    /// fails with [`DbError::Unchanged`]. PostgreSQL checks that itself, so that not even the commit waits for the
    /// count.
    pub fn change_each_later<'p, const N: usize>(
        &mut self,
        sql: &'static str,
        rows: impl IntoIterator<Item = [Param<'p>; N]>,
    ) -> Result<(), DbError> {
        let rows = bind_rows(sql, rows)?;
        let rows: Vec<&[Param<'p>]> = rows.iter().map(<[_; N]>::as_slice).collect();
        if self.failed.is_none() {
            self.failed = self.conn.send_each(sql, &rows).err();
        }
        Ok(())
    }

    /// On both databases a failure is reported later, so that the results of the statements before it are the same.
    fn send(&mut self, sql: &'static str, rows: &[&[Param<'_>]]) -> Later {
        let sent = match &self.failed {
            Some(_) => None,
            None => self.conn.send(sql, rows).map_err(|error| self.failed = Some(error)).ok(),
        };
        Later { sent, _of_this_thread: PhantomData }
    }

    /// Returns how many rows a statement has changed. This works even if a statement sent after it has failed, so that
    /// a closure can use the result first.
    ///
    /// # Errors
    /// When the statement failed.
    pub fn changed(&mut self, later: Later) -> Result<u64, DbError> {
        let settled = self.settle();
        match later.sent.and_then(|sent| self.conn.changed(sent)) {
            Some(changed) => Ok(changed),
            None => self.check().and(settled).and(Err(DbError::Unavailable("not connected".to_owned()))),
        }
    }

    /// Waits for the responses to everything that was sent. Returns the first failure.
    fn settle(&mut self) -> Result<(), DbError> {
        let result = self.conn.settle();
        self.keep_failure(result)
    }

    /// Ends the closure's part and returns the failure of one of its statements, if there was one. When the closure is
    /// alone and has gone `well`, missing responses are left to the commit.
    pub(super) fn finish(&mut self, well: bool) -> Option<DbError> {
        if !self.alone || !well || self.failed.is_some() {
            drop(self.settle());
        }
        self.failed.take()
    }

    /// Prepares a statement without running it; returns the names of its columns.
    ///
    /// # Errors
    /// When the database does not accept the statement, or when [`Row::get`] cannot read the type of a column.
    pub fn describe(&mut self, sql: &str) -> Result<Vec<String>, DbError> {
        self.check()?;
        let result = self.conn.describe(sql);
        self.keep_failure(result)
    }

    /// Returns the next position of the clock. Positions are assigned in commit order; those of a transaction that
    /// rolls back are assigned again.
    ///
    /// # Errors
    /// In a read transaction, or when the clock cannot be read.
    pub fn next_position(&mut self) -> Result<Position, DbError> {
        self.check()?;
        let result = match self.batch.as_mut() {
            None => return Err(DbError::ReadOnly("next_position")),
            Some(batch) if batch.clock.is_some() => Ok(()),
            Some(batch) => self.conn.clock().map(|clock| {
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

    /// Skips `count` positions, which stay free: the next position is higher by that many.
    ///
    /// # Errors
    /// See [`Tx::next_position`].
    pub fn reserve_positions(&mut self, count: Position) -> Result<(), DbError> {
        self.next_position()?;
        if let Some(batch) = self.batch.as_mut() {
            batch.last += count - 1;
        }
        Ok(())
    }

    /// Tells the commit listeners about a change, after the commit and in commit order. Without effect in a
    /// read transaction.
    pub fn announce(&mut self, change: Change) {
        if self.batch.is_some() {
            self.changes.push(change);
        }
    }

    fn check(&self) -> Result<(), DbError> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn keep_failure<T>(&mut self, result: Result<T, DbError>) -> Result<T, DbError> {
        if let Err(error) = &result
            && self.failed.is_none()
            && error.breaks_transaction()
        {
            self.failed = Some(error.clone());
        }
        result
    }
}

/// Returns the parameters as both databases can store them. Checked here, so that both refuse the same values.
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
    if cfg!(debug_assertions) && bound.len() > 1 {
        check_distinct(sql, &bound)?;
    }
    Ok(bound)
}

/// Fails if a statement would write one row of a table twice. PostgreSQL refuses that and SQLite does not: a test on
/// either database finds it.
fn check_distinct<const N: usize>(sql: &str, rows: &[[Param<'_>; N]]) -> Result<(), DbError> {
    let Some(key) = dialect::upsert_key(sql) else { return Ok(()) };
    let mut seen = HashSet::new();
    let mut is_new =
        |row: &[Param<'_>; N]| seen.insert(key.iter().map(|at| format!("{:?}", row.get(*at))).collect::<Vec<_>>());
    if rows.iter().all(&mut is_new) {
        return Ok(());
    }
    let index = key.first().map_or(1, |at| at + 1);
    Err(DbError::Parameter { sql: sql.to_owned(), index, problem: "is the key of two rows" })
}

fn check<'p>(sql: &str, index: usize, param: Param<'p>) -> Result<Param<'p>, DbError> {
    param.checked().map_err(|problem| DbError::Parameter { sql: sql.to_owned(), index, problem })
}
