//! Errors between the program and its database.

use std::fmt;

use super::value::FromSqlError;
use crate::pdu_json;

/// A failed database operation. It can be cloned because one failed commit is reported to many callers.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DbError {
    /// The database refused a statement.
    #[error("statement failed: {message}; in: {sql}")]
    Statement {
        /// The statement as the repository wrote it.
        sql: String,
        /// The database's message.
        message: String,
        /// A unique index or primary key was violated.
        unique_violation: bool,
        /// The cause of the failure.
        blame: Blame,
    },
    /// A column does not have the content that the program expects.
    #[error("column {column:?} (number {index}): {error}; in: {sql}")]
    Column {
        /// The statement as the repository wrote it.
        sql: String,
        /// The column's name, empty when there is no such column.
        column: String,
        /// The column's number, from 0.
        index: usize,
        /// What is wrong with it.
        error: FromSqlError,
    },
    /// A parameter cannot be stored.
    #[error("parameter {index} {problem}; in: {sql}")]
    Parameter {
        /// The statement as the repository wrote it.
        sql: String,
        /// The parameter's number, from 1.
        index: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The JSON of an event is larger than readers accept: nothing was written.
    #[error(transparent)]
    TooLarge(#[from] pdu_json::TooLarge),
    /// `query_one` or `query_opt` found a different number of rows.
    #[error("expected one row, found {found}; in: {sql}")]
    RowCount {
        /// The statement as the repository wrote it.
        sql: String,
        /// The number of rows (2 means two or more).
        found: usize,
    },
    /// A statement of [`Tx::change_each_later`](super::Tx::change_each_later) has not changed a row for each of its
    /// rows of parameters.
    #[error("a row was not changed; in: {0}")]
    Unchanged(&'static str),
    /// A stored value is invalid (for example a malformed id, or JSON that does not parse).
    #[error("bad data in {place}: {problem}")]
    BadData {
        /// Table, column and row.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A write was attempted in `Database::read`.
    #[error("not possible in a read transaction: {0}")]
    ReadOnly(&'static str),
    /// The closure panicked; its changes were rolled back.
    #[error("the transaction panicked: {0}")]
    Panicked(String),
    /// The database rolled the transaction back; nothing of it is stored.
    #[error("the commit failed and nothing was stored: {0}")]
    Commit(String),
    /// The connection was lost during the commit: whether it is stored is not known yet.
    #[error("the connection to the database was lost during the commit: {0}")]
    CommitUnknown(String),
    /// The database cannot be reached now. Nothing was stored.
    #[error("the database cannot be reached: {0}")]
    Unavailable(String),
    /// Another process writes to the database.
    #[error("another Plexus server is using the database")]
    InUse,
    /// The server is shutting down.
    #[error("the database is closed")]
    Closed,
}

/// The cause of a failed statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The values: they violate a constraint, or have the wrong type or size.
    Data,
    /// The database: it lacks space, memory or a lock, or is read-only. The same statement may succeed later.
    Database,
    /// Not known: the values, the statement or the database.
    Unknown,
}

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another server uses it.
    #[error("another Plexus server, or a command such as `plexus user`, is using the database {0}")]
    InUse(String),
    /// The lock file could not be created.
    #[error("cannot write {path}: {error}")]
    Lock {
        /// The lock file.
        path: String,
        /// The reason.
        error: std::io::Error,
    },
    /// A PostgreSQL database that stores or sorts text differently from SQLite.
    #[error("the PostgreSQL database cannot be used: {0}")]
    Unsuitable(String),
    /// The database belongs to another program.
    #[error("{place} {found}, which Plexus cannot use; nothing in it was changed. {remedy}")]
    Foreign {
        /// The file, or the name and the server of a PostgreSQL database.
        place: String,
        /// The kind of database that was found.
        found: Foreign,
        /// What the operator can do.
        remedy: &'static str,
    },
    /// The schema could not be migrated.
    #[error("{place}: {error}")]
    Migrate {
        /// The file, or the name and the server of a PostgreSQL database.
        place: String,
        /// What is wrong with the schema.
        error: Box<MigrateError>,
    },
    /// The database returned an error.
    #[error(transparent)]
    Db(#[from] DbError),
    /// A thread could not be started.
    #[error("cannot start a database thread: {0}")]
    Thread(std::io::Error),
}

/// A database or file that does not belong to Plexus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// The database of Synapse.
    Synapse,
    /// The database of another program.
    Unknown,
    /// A file that is not a database.
    NotADatabase,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Synapse => "is a database of Synapse",
            Self::Unknown => "is a database of another program",
            Self::NotADatabase => "is not an SQLite database",
        })
    }
}

/// Why the schema could not be migrated. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The schema was migrated by a newer version of Plexus.
    #[error(
        "the database was last used by a newer version of Plexus (its schema has version {database}, this program's \
         has {binary}). Run that version, or restore a backup from before the upgrade"
    )]
    TooNew {
        /// The version of the database's schema.
        database: i64,
        /// The last migration of this program.
        binary: i64,
    },
    /// The schema is older than this program.
    #[error(
        "the database is from an older version of Plexus (its schema has version {database}, this program's has \
         {binary}). Run `plexus db migrate`, or start the server, which does the same"
    )]
    TooOld {
        /// The version of the database's schema.
        database: i64,
        /// The last migration of this program.
        binary: i64,
    },
    /// There is no schema.
    #[error("there is no data yet; the server makes the database at its first start")]
    Empty,
    /// A migration failed.
    #[error("migration {number:04} ({name}) failed: {error}")]
    Failed {
        /// Its number.
        number: i64,
        /// Its name.
        name: &'static str,
        /// Why.
        error: DbError,
    },
    /// The database returned another error.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Returns the value that was read. When only this value is damaged, logs that and returns `None`, so that the rest
/// goes on without it.
pub fn readable<T>(read: Result<T, DbError>) -> Option<T> {
    read.inspect_err(|error| tracing::warn!("skipped unreadable data: {error}")).ok()
}

/// Returns stored JSON that becomes part of a response. When it is not JSON and would break the whole response, logs
/// that and returns `None`. `place` names table, column and row.
pub fn readable_json(json: String, place: impl FnOnce() -> String) -> Option<String> {
    let checked = serde_json::from_str::<serde::de::IgnoredAny>(&json);
    readable(checked.map_err(|error| DbError::bad_data(place(), error)))?;
    Some(json)
}

impl DbError {
    /// Whether a unique index or primary key was violated.
    pub fn is_unique_violation(&self) -> bool {
        matches!(self, Self::Statement { unique_violation: true, .. })
    }

    /// Whether the value that was read or written is the cause, and not the database as a whole.
    pub fn is_of_one(&self) -> bool {
        matches!(
            self,
            Self::Statement { blame: Blame::Data | Blame::Unknown, .. }
                | Self::Column { .. }
                | Self::Parameter { .. }
                | Self::TooLarge(_)
                | Self::RowCount { .. }
                | Self::Unchanged(_)
                | Self::BadData { .. }
                | Self::Panicked(_)
        )
    }

    /// Whether the value that was read or written is certainly the cause: a retry fails in the same way, so nothing is
    /// lost without one.
    pub fn is_of_data(&self) -> bool {
        matches!(
            self,
            Self::Statement { blame: Blame::Data, .. }
                | Self::Column { .. }
                | Self::Parameter { .. }
                | Self::TooLarge(_)
                | Self::RowCount { .. }
                | Self::BadData { .. }
                | Self::Panicked(_)
        )
    }

    /// Whether the write may have been stored in spite of the error.
    pub fn may_be_stored(&self) -> bool {
        matches!(self, Self::CommitUnknown(_) | Self::Closed)
    }

    /// Whether stored data is the cause: reading it again fails too, but reading other data may succeed.
    pub fn is_bad_data(&self) -> bool {
        matches!(self, Self::Column { .. } | Self::BadData { .. } | Self::RowCount { .. })
    }

    /// Whether the database itself failed, rather than the conversion of its result.
    pub(super) fn breaks_transaction(&self) -> bool {
        !matches!(
            self,
            Self::Column { .. }
                | Self::BadData { .. }
                | Self::RowCount { .. }
                | Self::Parameter { .. }
                | Self::TooLarge(_)
        )
    }

    /// Returns the error for an invalid stored value; `place` names table, column and row.
    pub fn bad_data(place: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self::BadData { place: place.into(), problem: problem.to_string() }
    }
}
