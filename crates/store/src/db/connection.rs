//! One interface for the two kinds of connection.

use super::commit::{CommitError, CommitId, Fate};
use super::postgres::PostgresConn;
use super::row::Visit;
use super::sqlite::SqliteConn;
use super::value::Param;
use super::{Backend, DbError, Options};
use crate::Position;

/// A connection of either backend, owned by one database thread.
pub(crate) enum Connection {
    Sqlite(Box<SqliteConn>),
    Postgres(Box<PostgresConn>),
}

/// A statement of [`Connection::send`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Sent {
    /// It has run and changed this many rows.
    Done(u64),
    /// The number of the statement among those sent ahead in this transaction.
    Number(usize),
}

impl Connection {
    pub(crate) fn open(options: &Options, writer: bool) -> Result<Self, DbError> {
        match options {
            Options::Sqlite(options) => SqliteConn::open(&options.path, writer).map(Box::new).map(Self::Sqlite),
            Options::Postgres(options) => PostgresConn::open(options, writer).map(Box::new).map(Self::Postgres),
        }
    }

    /// Opens a connection that only reads. It changes nothing in an SQLite file, not even its journal mode.
    pub(super) fn open_read_only(options: &Options) -> Result<Self, DbError> {
        match options {
            Options::Sqlite(options) => SqliteConn::open_read_only(&options.path).map(Box::new).map(Self::Sqlite),
            Options::Postgres(_) => Self::open(options, false),
        }
    }

    pub(crate) fn backend(&self) -> Backend {
        match self {
            Self::Sqlite(_) => Backend::Sqlite,
            Self::Postgres(_) => Backend::Postgres,
        }
    }

    pub(super) fn execute(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<u64, DbError> {
        match self {
            Self::Sqlite(conn) => conn.execute(sql, params),
            Self::Postgres(conn) => conn.run(sql, &[params], &mut |_| Ok(())),
        }
    }

    pub(super) fn query(&mut self, sql: &'static str, params: &[Param<'_>], visit: Visit<'_>) -> Result<(), DbError> {
        match self {
            Self::Sqlite(conn) => conn.query(sql, params, visit),
            Self::Postgres(conn) => conn.run(sql, &[params], visit).map(drop),
        }
    }

    pub(super) fn execute_many(&mut self, sql: &'static str, rows: &[&[Param<'_>]]) -> Result<u64, DbError> {
        match self {
            Self::Sqlite(conn) => conn.execute_many(sql, rows),
            Self::Postgres(conn) => conn.run(sql, rows, &mut |_| Ok(())),
        }
    }

    /// Runs a statement for each row, without waiting for its result where there is a server to wait for.
    pub(super) fn send(&mut self, sql: &'static str, rows: &[&[Param<'_>]]) -> Result<Sent, DbError> {
        match self {
            _ if rows.is_empty() => Ok(Sent::Done(0)),
            Self::Sqlite(conn) => conn.execute_many(sql, rows).map(Sent::Done),
            Self::Postgres(conn) => conn.send(sql, rows, false).map(Sent::Number),
        }
    }

    /// Like [`Connection::send`]; fails unless each of `rows` changes a row.
    pub(super) fn send_each(&mut self, sql: &'static str, rows: &[&[Param<'_>]]) -> Result<(), DbError> {
        match self {
            _ if rows.is_empty() => Ok(()),
            Self::Sqlite(conn) => match conn.execute_many(sql, rows)? {
                changed if changed == rows.len() as u64 => Ok(()),
                _ => Err(DbError::Unchanged(sql)),
            },
            Self::Postgres(conn) => conn.send(sql, rows, true).map(drop),
        }
    }

    /// Waits for the responses to everything that was sent. Returns the first failure.
    pub(super) fn settle(&mut self) -> Result<(), DbError> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(conn) => conn.settle(),
        }
    }

    /// Returns how many rows a statement has changed; `None` before its response, or when it failed.
    pub(super) fn changed(&self, sent: Sent) -> Option<u64> {
        match (sent, self) {
            (Sent::Done(changed), _) => Some(changed),
            (Sent::Number(number), Self::Postgres(conn)) => conn.changed(number),
            (Sent::Number(_), Self::Sqlite(_)) => None,
        }
    }

    pub(super) fn query_many(
        &mut self,
        sql: &'static str,
        rows: &[&[Param<'_>]],
        visit: Visit<'_>,
    ) -> Result<(), DbError> {
        match self {
            Self::Sqlite(conn) => conn.query_many(sql, rows, visit),
            Self::Postgres(conn) => conn.run(sql, rows, visit).map(drop),
        }
    }

    /// Runs a query whose text is built at run time from the schema.
    pub(crate) fn query_text(&mut self, sql: &str, visit: Visit<'_>) -> Result<(), DbError> {
        match self {
            Self::Sqlite(conn) => conn.query_text(sql, visit),
            Self::Postgres(conn) => conn.query_text(sql, visit),
        }
    }

    /// Prepares a statement without running it; returns the names of its columns.
    pub(crate) fn describe(&mut self, sql: &str) -> Result<Vec<String>, DbError> {
        match self {
            Self::Sqlite(conn) => conn.describe(sql),
            Self::Postgres(conn) => conn.describe(sql),
        }
    }

    /// Runs statements without parameters and results in one round trip.
    pub(crate) fn batch(&mut self, sql: &str) -> Result<(), DbError> {
        match self {
            Self::Sqlite(conn) => conn.batch(sql),
            Self::Postgres(conn) => conn.batch(sql),
        }
    }

    /// Opens a write transaction, on a new connection when the old one is known to be lost.
    pub(super) fn begin_write(&mut self) -> Result<(), DbError> {
        match self {
            // IMMEDIATE takes the lock now, so that nothing can fail later for lack of it.
            Self::Sqlite(conn) => conn.execute("BEGIN IMMEDIATE", &[]).map(drop),
            Self::Postgres(conn) => conn.begin(),
        }
    }

    /// Opens a read transaction: all its statements see one state of the database.
    pub(super) fn begin_read(&mut self) -> Result<(), DbError> {
        match self {
            Self::Sqlite(conn) => conn.execute("BEGIN", &[]).map(drop),
            Self::Postgres(conn) => conn.begin(),
        }
    }

    /// Ends a transaction without storing anything.
    pub(super) fn rollback(&mut self) {
        match self {
            Self::Sqlite(conn) if !conn.in_transaction() => {}
            Self::Sqlite(conn) => {
                if let Err(error) = conn.execute("ROLLBACK", &[]) {
                    tracing::warn!(%error, "a rollback failed");
                }
            }
            Self::Postgres(conn) => conn.rollback(),
        }
    }

    /// Returns the clock; nobody else moves it until the commit.
    pub(super) fn clock(&mut self) -> Result<Position, DbError> {
        match self {
            Self::Sqlite(_) => self.read_clock(),
            Self::Postgres(conn) => match conn.clock() {
                Some(clock) => Ok(clock),
                None => {
                    let clock = self.read_clock()?;
                    if let Self::Postgres(conn) = self {
                        conn.set_clock(clock);
                    }
                    Ok(clock)
                }
            },
        }
    }

    fn read_clock(&mut self) -> Result<Position, DbError> {
        let mut position = None;
        self.query("SELECT position FROM clock WHERE id = 1", &[], &mut |row| {
            position = Some(row.get(0)?);
            Ok(())
        })?;
        position.ok_or_else(|| DbError::bad_data("clock", "the row is missing"))
    }

    /// Moves the clock (from, to) and commits, together with everything that was sent ahead.
    pub(super) fn commit(&mut self, clock: Option<(Position, Position)>) -> Result<(), CommitError> {
        match self {
            Self::Sqlite(conn) => {
                let sql = "UPDATE clock SET position = $1 WHERE id = 1";
                clock
                    .map_or(Ok(0), |(_, to)| conn.execute(sql, &[Param::Int(to)]))
                    .and_then(|_| conn.execute("COMMIT", &[]))
                    .map_err(|error| CommitError::Failed(DbError::Commit(error.to_string())))?;
                conn.limit_wal();
                Ok(())
            }
            Self::Postgres(conn) => conn.commit(clock),
        }
    }

    /// Sets the savepoint `closure`, after releasing the previous one if there is one.
    pub(super) fn savepoint(&mut self, release: bool) -> Result<(), DbError> {
        match self {
            Self::Sqlite(conn) => {
                if release {
                    conn.execute("RELEASE SAVEPOINT closure", &[])?;
                }
                conn.execute("SAVEPOINT closure", &[]).map(drop)
            }
            Self::Postgres(conn) => {
                conn.savepoint(release);
                Ok(())
            }
        }
    }

    /// Undoes everything since the savepoint, which stays.
    pub(super) fn rollback_to_savepoint(&mut self) -> Result<(), DbError> {
        match self {
            Self::Sqlite(conn) => conn.execute("ROLLBACK TO SAVEPOINT closure", &[]).map(drop),
            Self::Postgres(conn) => conn.rollback_to_savepoint(),
        }
    }

    /// Returns the fate of a commit that got no response.
    pub(super) fn fate(&mut self, commit: CommitId) -> Result<Fate, DbError> {
        match self {
            Self::Sqlite(_) => Ok(Fate::RolledBack),
            Self::Postgres(conn) => conn.fate(commit),
        }
    }
}

impl Connection {
    /// Returns the stored clock.
    pub(super) fn position(&mut self) -> Result<Position, DbError> {
        let mut position = 0;
        self.query_text("SELECT position FROM clock WHERE id = 1", &mut |row| {
            position = row.get(0)?;
            Ok(())
        })?;
        Ok(position)
    }
}
