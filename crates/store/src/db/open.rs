//! Opening a database: checks its owner, locks out other servers, and migrates its schema.

use std::fs::File;

use super::connection::Connection;
use super::error::{DbError, MigrateError, OpenError};
use super::options::Options;
use super::{foreign, migrate};
use crate::Position;

/// The writer's connection to a database with a current schema.
pub(super) struct Prepared {
    pub(super) conn: Connection,
    /// Held for as long as the database is open, so that a second server is refused.
    pub(super) lock: Option<File>,
    pub(super) position: Position,
    migrations: Vec<i64>,
}

/// Opens the database for writing and migrates it. Runs on a separate thread: the PostgreSQL driver blocks on its own
/// runtime, which is not allowed on a thread of another runtime.
pub(super) fn prepare(options: &Options) -> Result<Prepared, OpenError> {
    on_own_thread(|| {
        foreign::check_file(options)?;
        let lock = options.lock()?;
        let mut conn = Connection::open(options, true).map_err(|error| match error {
            DbError::InUse => OpenError::InUse(options.place()),
            error => OpenError::Db(error),
        })?;
        foreign::check(options, &mut conn)?;
        check_text(options, &mut conn)?;
        let migrations = migrate::migrate(&mut conn).map_err(|error| wrong_schema(options, error))?;
        let position = conn.position()?;
        Ok(Prepared { conn, lock, position, migrations })
    })
}

/// Migrates the schema of a database that no server uses. Returns the numbers of the migrations that ran.
///
/// # Errors
/// See [`OpenError`].
pub fn migrate_database(options: &Options) -> Result<Vec<i64>, OpenError> {
    on_own_thread(|| prepare(options).map(|prepared| prepared.migrations))
}

/// Calls `f` with a connection that only reads, to a database with this program's schema.
pub(crate) fn inspect<T: Send>(
    options: &Options,
    f: impl FnOnce(&mut Connection) -> Result<T, DbError> + Send,
) -> Result<T, OpenError> {
    with_current(options, Connection::open_read_only, f)
}

/// Calls `f` with a connection beside those of a server that may be running, to a database with this program's schema.
/// It only reads until `f` allows it to write.
pub(crate) fn amend<T: Send>(
    options: &Options,
    f: impl FnOnce(&mut Connection) -> Result<T, DbError> + Send,
) -> Result<T, OpenError> {
    with_current(options, |options| Connection::open(options, false), f)
}

fn with_current<T: Send>(
    options: &Options,
    open: impl FnOnce(&Options) -> Result<Connection, DbError> + Send,
    f: impl FnOnce(&mut Connection) -> Result<T, DbError> + Send,
) -> Result<T, OpenError> {
    on_own_thread(|| {
        if let Options::Sqlite(sqlite) = options
            && !sqlite.path.exists()
        {
            return Err(wrong_schema(options, MigrateError::Empty));
        }
        foreign::check_file(options)?;
        let mut conn = open(options)?;
        foreign::check(options, &mut conn)?;
        migrate::require_current(&mut conn).map_err(|error| wrong_schema(options, error))?;
        Ok(f(&mut conn)?)
    })
}

fn wrong_schema(options: &Options, error: MigrateError) -> OpenError {
    match error {
        MigrateError::Db(error) => OpenError::Db(error),
        error => OpenError::Migrate { place: options.place(), error: Box::new(error) },
    }
}

/// Runs `f` on a thread without an async runtime and waits for it.
fn on_own_thread<T: Send>(f: impl FnOnce() -> Result<T, OpenError> + Send) -> Result<T, OpenError> {
    std::thread::scope(|scope| {
        let thread =
            std::thread::Builder::new().name("db-open".to_owned()).spawn_scoped(scope, f).map_err(OpenError::Thread)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Refuses a PostgreSQL database that sorts or stores text differently from SQLite.
fn check_text(options: &Options, conn: &mut Connection) -> Result<(), OpenError> {
    let Options::Postgres(options) = options else {
        return Ok(());
    };
    let mut found = (String::new(), String::new());
    conn.query_text(
        "SELECT pg_encoding_to_char(encoding), datcollate::text FROM pg_database
         WHERE datname = current_database()",
        &mut |row| {
            found = (row.get(0)?, row.get(1)?);
            Ok(())
        },
    )?;
    let (encoding, collate) = found;
    if encoding != "UTF8" {
        return Err(OpenError::Unsuitable(format!("its encoding is {encoding}, it must be UTF8")));
    }
    if collate != "C" && !options.allow_unsafe_locale {
        return Err(OpenError::Unsuitable(format!(
            "its locale is {collate}; create it with LC_COLLATE 'C' and LC_CTYPE 'C' from template0, \
             or set database.allow_unsafe_locale"
        )));
    }
    Ok(())
}
