//! SQLite connections.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use plexus_base::private;
use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, Value, ValueRef as SqliteRef};
use rusqlite::{CachedStatement, ErrorCode, OpenFlags};

use super::checkpoint::Checkpointer;
use super::row::{Columns, Row, Visit};
use super::value::{FromSqlError, Param, ValueRef};
use super::{Blame, DbError, dialect};

/// The WAL starts over whenever no reader uses it at that moment. With constant readers it grows; beyond this many
/// bytes the writer waits for a moment without readers.
const WAL_LIMIT: u64 = 64 << 20;
/// How long the writer waits for that moment. A long reader (`plexus db check`) must not stop the server.
const GAP_TIMEOUT: Duration = Duration::from_millis(200);
/// How long to wait for another process's write lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// One connection, used by one thread.
pub(crate) struct SqliteConn {
    /// `None` for a read-only connection. Dropped before the connection.
    checkpointer: Option<Checkpointer>,
    conn: rusqlite::Connection,
    /// From statements as the repositories wrote them to statements for SQLite.
    texts: HashMap<&'static str, Arc<str>>,
    wal: PathBuf,
    /// The size of the WAL, in bytes, beyond which it is made to start over.
    wal_limit: u64,
}

impl SqliteConn {
    pub(super) fn open(path: &Path, writer: bool) -> Result<Self, DbError> {
        let unavailable = |error: rusqlite::Error| DbError::Unavailable(format!("{}: {error}", path.display()));
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        flags.set(OpenFlags::SQLITE_OPEN_CREATE, writer);
        if writer && !path.exists() {
            // SQLite gives its other files the permissions of the database file. Errors here occur in SQLite too.
            let _ = private::create_new(path);
        }
        if writer {
            private::warn_if_open(path);
        }
        let mut conn = rusqlite::Connection::open_with_flags(path, flags).map_err(unavailable)?;
        conn.set_prepared_statement_cache_capacity(if writer { 384 } else { 128 });
        // This promises the same plan for all parameters; otherwise statements would be compiled at each use.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(unavailable)?;
        rusqlite::vtab::array::load_module(&conn).map_err(unavailable)?;
        if writer && conn.is_readonly("main").map_err(unavailable)? {
            let problem = format!("{} cannot be written", path.display());
            return Err(DbError::Unavailable(problem));
        }
        conn.busy_timeout(BUSY_TIMEOUT).map_err(unavailable)?;
        // FULL: acknowledged writes survive a power failure, not only a crash. Cache sizes are in KiB.
        conn.execute_batch(&format!(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA temp_store = MEMORY;
             PRAGMA cache_size = -{cache};
             PRAGMA journal_size_limit = {WAL_LIMIT};
             PRAGMA query_only = {query_only};",
            cache = if writer { 8192 } else { 2048 },
            query_only = i32::from(!writer),
        ))
        .map_err(unavailable)?;
        let checkpointer = writer.then(|| Checkpointer::start(path, &mut conn)).transpose().map_err(unavailable)?;
        Ok(Self::of(conn, path, checkpointer))
    }

    /// Opens a connection that changes nothing in the file, and makes no files beside it unless there is a journal to
    /// be read.
    pub(super) fn open_read_only(path: &Path) -> Result<Self, DbError> {
        let unavailable = |error: rusqlite::Error| DbError::Unavailable(format!("{}: {error}", path.display()));
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let has_journal = ["-wal", "-journal"].iter().any(|suffix| with_suffix(path, suffix).exists());
        let conn = if has_journal {
            rusqlite::Connection::open_with_flags(path, flags)
        } else {
            // Nobody has it open: it needs neither locks nor the files of the write-ahead log.
            let uri = immutable_uri(path).map_err(|error| DbError::Unavailable(error.to_string()))?;
            rusqlite::Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)
        };
        let conn = conn.map_err(unavailable)?;
        rusqlite::vtab::array::load_module(&conn).map_err(unavailable)?;
        conn.busy_timeout(BUSY_TIMEOUT).map_err(unavailable)?;
        Ok(Self::of(conn, path, None))
    }

    fn of(conn: rusqlite::Connection, path: &Path, checkpointer: Option<Checkpointer>) -> Self {
        let wal = with_suffix(path, "-wal");
        Self { checkpointer, conn, texts: HashMap::new(), wal, wal_limit: WAL_LIMIT }
    }

    pub(super) fn batch(&mut self, sql: &str) -> Result<(), DbError> {
        self.conn.execute_batch(sql).map_err(|error| statement_error(sql, &error))
    }

    /// Whether a transaction is open (SQLite ends it by itself after some errors, such as a full disk).
    pub(super) fn in_transaction(&self) -> bool {
        !self.conn.is_autocommit()
    }

    pub(super) fn execute(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<u64, DbError> {
        let text = self.text(sql);
        let mut statement = prepare(&self.conn, sql, &text)?;
        execute(&mut statement, sql, params)
    }

    pub(super) fn execute_many(&mut self, sql: &'static str, rows: &[&[Param<'_>]]) -> Result<u64, DbError> {
        let text = self.text(sql);
        let mut statement = prepare(&self.conn, sql, &text)?;
        rows.iter().try_fold(0, |sum, row| Ok(sum + execute(&mut statement, sql, row)?))
    }

    pub(super) fn query(&mut self, sql: &'static str, params: &[Param<'_>], visit: Visit<'_>) -> Result<(), DbError> {
        self.query_many(sql, &[params], visit)
    }

    pub(super) fn query_many(
        &mut self,
        sql: &'static str,
        rows: &[&[Param<'_>]],
        visit: Visit<'_>,
    ) -> Result<(), DbError> {
        let text = self.text(sql);
        let mut statement = prepare(&self.conn, sql, &text)?;
        for params in rows {
            bind(&mut statement, sql, params)?;
            let mut found = statement.raw_query();
            while let Some(row) = found.next().map_err(|error| statement_error(sql, &error))? {
                visit(&Row::new(row, sql))?;
            }
        }
        Ok(())
    }

    /// Runs text that is not known at compile time (schema, statistics).
    pub(super) fn query_text(&mut self, sql: &str, visit: Visit<'_>) -> Result<(), DbError> {
        let mut statement = self.conn.prepare(sql).map_err(|error| statement_error(sql, &error))?;
        let mut found = statement.raw_query();
        while let Some(row) = found.next().map_err(|error| statement_error(sql, &error))? {
            visit(&Row::new(row, sql))?;
        }
        Ok(())
    }

    /// Prepares a statement without running it; returns the names of its columns.
    pub(super) fn describe(&mut self, sql: &str) -> Result<Vec<String>, DbError> {
        let text = dialect::sqlite_statement(sql);
        let statement = self.conn.prepare(&text).map_err(|error| statement_error(sql, &error))?;
        Ok(statement.column_names().map(str::to_owned).collect())
    }

    /// Called after each commit: requests a checkpoint, and makes an overgrown WAL start over.
    pub(super) fn limit_wal(&mut self) {
        if let Some(checkpointer) = &mut self.checkpointer {
            checkpointer.committed(&self.conn);
        }
        let size = std::fs::metadata(&self.wal).map_or(0, |data| data.len());
        if size <= self.wal_limit {
            return;
        }
        match self.truncate_wal() {
            Ok(true) => self.wal_limit = WAL_LIMIT,
            // Not at every commit: each attempt may cost the timeout.
            Ok(false) => self.wal_limit = size + WAL_LIMIT / 2,
            Err(error) => {
                self.wal_limit = size + WAL_LIMIT / 2;
                tracing::warn!(%error, size, "a checkpoint of the write-ahead log failed");
            }
        }
    }

    /// Truncates the WAL; returns whether it is now empty.
    fn truncate_wal(&mut self) -> Result<bool, rusqlite::Error> {
        self.conn.busy_timeout(GAP_TIMEOUT)?;
        let busy = self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        self.conn.busy_timeout(BUSY_TIMEOUT)?;
        Ok(busy? == 0)
    }

    fn text(&mut self, sql: &'static str) -> Arc<str> {
        Arc::clone(self.texts.entry(sql).or_insert_with(|| dialect::sqlite_statement(sql).into()))
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Returns the URI of a file that does not change while it is open.
fn immutable_uri(path: &Path) -> io::Result<OsString> {
    let mut uri = b"file://".to_vec();
    for byte in std::path::absolute(path)?.into_os_string().into_vec() {
        match byte {
            b'%' | b'?' | b'#' => uri.extend(format!("%{byte:02X}").into_bytes()),
            byte => uri.push(byte),
        }
    }
    uri.extend(b"?immutable=1");
    Ok(OsString::from_vec(uri))
}

fn prepare<'c>(conn: &'c rusqlite::Connection, sql: &str, text: &str) -> Result<CachedStatement<'c>, DbError> {
    conn.prepare_cached(text).map_err(|error| statement_error(sql, &error))
}

fn execute(statement: &mut CachedStatement<'_>, sql: &str, params: &[Param<'_>]) -> Result<u64, DbError> {
    bind(statement, sql, params)?;
    // raw_execute refuses statements that return rows; RETURNING needs a query.
    statement.raw_execute().map(|changed| changed as u64).map_err(|error| statement_error(sql, &error))
}

fn bind(statement: &mut CachedStatement<'_>, sql: &str, params: &[Param<'_>]) -> Result<(), DbError> {
    let expected = statement.parameter_count();
    if expected != params.len() {
        return Err(DbError::Statement {
            sql: sql.to_owned(),
            message: format!("{expected} parameters in the text, {} given", params.len()),
            unique_violation: false,
            blame: Blame::Unknown,
        });
    }
    for (index, param) in params.iter().enumerate() {
        let index = index + 1;
        let value = to_sqlite(*param).map_err(|problem| DbError::Parameter { sql: sql.to_owned(), index, problem })?;
        statement.raw_bind_parameter(index, value).map_err(|error| statement_error(sql, &error))?;
    }
    Ok(())
}

fn to_sqlite(param: Param<'_>) -> Result<ToSqlOutput<'_>, &'static str> {
    Ok(match param {
        Param::List(list) => {
            let values = list
                .params()
                .into_iter()
                .map(|param| to_owned_value(param.checked()?))
                .collect::<Result<Vec<_>, _>>()?;
            ToSqlOutput::from_rc(Rc::new(values), c"rarray")
        }
        scalar => ToSqlOutput::Borrowed(to_ref(scalar)?),
    })
}

fn to_ref(param: Param<'_>) -> Result<SqliteRef<'_>, &'static str> {
    Ok(match param {
        Param::Int(number) => SqliteRef::Integer(number),
        Param::Text(text) => SqliteRef::Text(text.as_bytes()),
        Param::Blob(bytes) => SqliteRef::Blob(bytes),
        Param::Null => SqliteRef::Null,
        Param::Unsigned(_) | Param::List(_) => return Err("was not checked"),
    })
}

fn to_owned_value(param: Param<'_>) -> Result<Value, &'static str> {
    Ok(match param {
        Param::Int(number) => Value::Integer(number),
        Param::Text(text) => Value::Text(text.to_owned()),
        Param::Blob(bytes) => Value::Blob(bytes.to_owned()),
        Param::Null => Value::Null,
        Param::Unsigned(_) | Param::List(_) => return Err("was not checked"),
    })
}

impl Columns for rusqlite::Row<'_> {
    fn value(&self, index: usize) -> Result<ValueRef<'_>, FromSqlError> {
        let value = self.get_ref(index).map_err(|error| FromSqlError::Invalid(error.to_string()))?;
        Ok(match value {
            SqliteRef::Null => ValueRef::Null,
            SqliteRef::Integer(number) => ValueRef::Int(number),
            SqliteRef::Text(text) => {
                ValueRef::Text(std::str::from_utf8(text).map_err(|error| FromSqlError::Invalid(error.to_string()))?)
            }
            SqliteRef::Blob(bytes) => ValueRef::Blob(bytes),
            SqliteRef::Real(_) => {
                return Err(FromSqlError::Invalid("floating point numbers are not used".to_owned()));
            }
        })
    }

    fn name(&self, index: usize) -> String {
        self.as_ref().column_name(index).map(str::to_owned).unwrap_or_default()
    }
}

fn statement_error(sql: &str, error: &rusqlite::Error) -> DbError {
    let unique_violation = matches!(
        error,
        rusqlite::Error::SqliteFailure(failure, _)
            if failure.code == ErrorCode::ConstraintViolation
                && matches!(
                    failure.extended_code,
                    rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE
                        | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY
                        | rusqlite::ffi::SQLITE_CONSTRAINT_ROWID
                )
    );
    let blame = error.sqlite_error_code().map_or(Blame::Unknown, blame);
    DbError::Statement { sql: sql.to_owned(), message: error.to_string(), unique_violation, blame }
}

/// Result codes: <https://www.sqlite.org/rescode.html>. A corrupt page does not necessarily affect other statements.
fn blame(code: ErrorCode) -> Blame {
    match code {
        ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig => Blame::Data,
        ErrorCode::DiskFull
        | ErrorCode::SystemIoFailure
        | ErrorCode::OutOfMemory
        | ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::FileLockingProtocolFailed
        | ErrorCode::CannotOpen
        | ErrorCode::NotADatabase
        | ErrorCode::ReadOnly => Blame::Database,
        _ => Blame::Unknown,
    }
}
