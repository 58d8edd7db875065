//! The two kinds of connection behind one face.

use super::postgres::{Fate, PostgresConn, TransactionNumber};
use super::sqlite::SqliteConn;
use super::value::Param;
use super::{Backend, DbError, Options, Row};
use crate::Position;

/// A connection of either backend, owned by one database thread.
pub(crate) enum Connection {
    Sqlite(SqliteConn),
    Postgres(Box<PostgresConn>),
}

/// Why a commit did not succeed.
#[derive(Debug)]
pub(super) enum CommitError {
    /// Nothing was stored.
    Failed(String),
    /// The connection was lost before the answer came.
    Unknown(TransactionNumber, String),
}

type Visit<'v> = &'v mut dyn FnMut(&Row<'_>) -> Result<(), DbError>;

impl Connection {
    pub(crate) fn open(options: &Options, writer: bool) -> Result<Self, DbError> {
        match options {
            Options::Sqlite(options) => SqliteConn::open(&options.path, writer).map(Self::Sqlite),
            Options::Postgres(options) => PostgresConn::open(options, writer).map(Box::new).map(Self::Postgres),
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
            Self::Postgres(conn) => conn.execute(sql, params),
        }
    }

    pub(super) fn query(&mut self, sql: &'static str, params: &[Param<'_>], visit: Visit<'_>) -> Result<(), DbError> {
        match self {
            Self::Sqlite(conn) => conn.query(sql, params, visit),
            Self::Postgres(conn) => conn.query(sql, params, visit),
        }
    }

    pub(super) fn execute_many(&mut self, sql: &'static str, rows: &[&[Param<'_>]]) -> Result<u64, DbError> {
        match self {
            Self::Sqlite(conn) => conn.execute_many(sql, rows),
            Self::Postgres(conn) => conn.query_many(sql, rows, &mut |_| Ok(())),
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
            Self::Postgres(conn) => conn.query_many(sql, rows, visit).map(|_| ()),
        }
    }

    /// A query whose text is made at run time from the schema itself.
    pub(crate) fn query_text(&mut self, sql: &str, visit: Visit<'_>) -> Result<(), DbError> {
        match self {
            Self::Sqlite(conn) => conn.query_text(sql, visit),
            Self::Postgres(conn) => conn.query_text(sql, visit),
        }
    }

    /// Prepares a statement without running it; answers the names of its columns.
    pub(crate) fn describe(&mut self, sql: &str) -> Result<Vec<String>, DbError> {
        match self {
            Self::Sqlite(conn) => conn.describe(sql),
            Self::Postgres(conn) => conn.describe(sql),
        }
    }

    /// Statements without parameters and answers, in one round trip.
    pub(crate) fn batch(&mut self, sql: &str) -> Result<(), DbError> {
        match self {
            Self::Sqlite(conn) => conn.batch(sql),
            Self::Postgres(conn) => conn.batch(sql),
        }
    }

    /// Opens a write transaction, on a new connection when the old one is lost.
    pub(super) fn begin_write(&mut self) -> Result<Option<TransactionNumber>, DbError> {
        match self {
            // IMMEDIATE: the lock is taken now, so nothing can fail later for want of it.
            Self::Sqlite(conn) => conn.execute("BEGIN IMMEDIATE", &[]).map(|_| None),
            Self::Postgres(conn) => {
                conn.ensure()?;
                match conn.begin_write() {
                    // The server may have closed an idle connection: nothing was sent on it yet.
                    Err(DbError::Unavailable(_)) if conn.is_lost() => {
                        conn.ensure()?;
                        conn.begin_write().map(Some)
                    }
                    other => other.map(Some),
                }
            }
        }
    }

    /// Opens a read transaction: all its statements see one state of the database.
    pub(super) fn begin_read(&mut self) -> Result<(), DbError> {
        match self {
            Self::Sqlite(conn) => conn.execute("BEGIN", &[]).map(drop),
            Self::Postgres(conn) => {
                conn.ensure()?;
                match conn.batch("BEGIN") {
                    Err(DbError::Unavailable(_)) if conn.is_lost() => {
                        conn.ensure()?;
                        conn.batch("BEGIN")
                    }
                    other => other,
                }
            }
        }
    }

    /// Ends a transaction without storing anything.
    pub(super) fn rollback(&mut self) {
        let result = match self {
            Self::Sqlite(conn) if !conn.in_transaction() => Ok(()),
            Self::Sqlite(conn) => conn.execute("ROLLBACK", &[]).map(drop),
            Self::Postgres(conn) if conn.is_lost() => Ok(()),
            Self::Postgres(conn) => conn.batch("ROLLBACK"),
        };
        if let Err(error) = result {
            tracing::warn!(%error, "a rollback failed");
        }
    }

    /// Reads the clock and keeps other processes from moving it until the commit.
    pub(super) fn lock_clock(&mut self) -> Result<Position, DbError> {
        let sql = match self {
            Self::Sqlite(_) => "SELECT position FROM clock WHERE id = 1",
            Self::Postgres(_) => "SELECT position FROM clock WHERE id = 1 FOR UPDATE",
        };
        let mut position = None;
        self.query(sql, &[], &mut |row| {
            position = Some(row.get(0)?);
            Ok(())
        })?;
        position.ok_or_else(|| DbError::bad_data("clock", "the row is missing"))
    }

    /// Moves the clock and commits.
    pub(super) fn commit(
        &mut self,
        clock: Option<Position>,
        number: Option<TransactionNumber>,
    ) -> Result<(), CommitError> {
        match self {
            Self::Sqlite(conn) => {
                let sql = "UPDATE clock SET position = $1 WHERE id = 1";
                clock
                    .map_or(Ok(0), |position| conn.execute(sql, &[Param::Int(position)]))
                    .and_then(|_| conn.execute("COMMIT", &[]))
                    .map_err(|error| CommitError::Failed(error.to_string()))?;
                conn.limit_wal();
                Ok(())
            }
            Self::Postgres(conn) => {
                let clock = clock.map(|position| format!("UPDATE clock SET position = {position} WHERE id = 1; "));
                // One round trip. The leading statement fails in a transaction that has failed; a COMMIT
                // alone would silently roll it back.
                let sql = format!("{}COMMIT", clock.as_deref().unwrap_or("SELECT 1; "));
                conn.batch(&sql).map_err(|error| match number {
                    Some(number) if conn.is_lost() => CommitError::Unknown(number, error.to_string()),
                    _ => CommitError::Failed(error.to_string()),
                })
            }
        }
    }

    /// Sets the savepoint `closure`, after releasing the one before if there is one.
    pub(super) fn savepoint(&mut self, release: bool) -> Result<(), DbError> {
        match self {
            Self::Sqlite(conn) => {
                if release {
                    conn.execute("RELEASE SAVEPOINT closure", &[])?;
                }
                conn.execute("SAVEPOINT closure", &[]).map(drop)
            }
            Self::Postgres(conn) => {
                conn.batch(if release { "RELEASE SAVEPOINT closure; SAVEPOINT closure" } else { "SAVEPOINT closure" })
            }
        }
    }

    /// Undoes what was done since the savepoint, which stays.
    pub(super) fn rollback_to_savepoint(&mut self) -> Result<(), DbError> {
        match self {
            Self::Sqlite(conn) => conn.execute("ROLLBACK TO SAVEPOINT closure", &[]).map(drop),
            Self::Postgres(conn) => conn.batch("ROLLBACK TO SAVEPOINT closure"),
        }
    }

    /// What became of a transaction whose commit was not answered.
    pub(super) fn fate(&mut self, number: TransactionNumber) -> Result<Fate, DbError> {
        match self {
            Self::Sqlite(_) => Ok(Fate::RolledBack),
            Self::Postgres(conn) => conn.fate(number),
        }
    }
}

impl Connection {
    /// The clock as it is stored.
    pub(super) fn position(&mut self) -> Result<Position, DbError> {
        let mut position = 0;
        self.query_text("SELECT position FROM clock WHERE id = 1", &mut |row| {
            position = row.get(0)?;
            Ok(())
        })?;
        Ok(position)
    }
}
