//! Recognises databases of other programs before anything is written to them.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::connection::Connection;
use super::error::{DbError, Foreign, OpenError};
use super::options::{Backend, Options};

/// The first bytes of every SQLite file.
const SQLITE_MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Refuses an SQLite file that does not belong to Plexus. Opens it read-only: the writer's connection would change its
/// journal mode.
pub(super) fn check_file(options: &Options) -> Result<(), OpenError> {
    let Options::Sqlite(sqlite) = options else {
        return Ok(());
    };
    match first_bytes(&sqlite.path) {
        Some(bytes) if bytes.is_empty() => return Ok(()),
        Some(bytes) if bytes != SQLITE_MAGIC => return Err(refusal(options, Foreign::NotADatabase)),
        Some(_) => {}
        // Problems with the file are reported when it is opened for writing.
        None => return Ok(()),
    }
    match Connection::open_read_only(options).and_then(|mut conn| owner(&mut conn)) {
        Ok(Some(found)) => Err(refusal(options, found)),
        Ok(None) => Ok(()),
        // Another program may be using it.
        Err(error) => Err(error.into()),
    }
}

/// Refuses a database that does not belong to Plexus.
pub(super) fn check(options: &Options, conn: &mut Connection) -> Result<(), OpenError> {
    match owner(conn)? {
        Some(found) => Err(refusal(options, found)),
        None => Ok(()),
    }
}

fn first_bytes(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(SQLITE_MAGIC.len() as u64).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Returns the program that the database belongs to; `None` for an empty database and for Plexus. Both Plexus and
/// Synapse have a table `schema_version`, with different columns.
fn owner(conn: &mut Connection) -> Result<Option<Foreign>, DbError> {
    let sql = match conn.backend() {
        Backend::Sqlite => {
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        }
        Backend::Postgres => {
            "SELECT relname::text FROM pg_class
             WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
        }
    };
    let mut tables: Vec<String> = Vec::new();
    conn.query_text(sql, &mut |row| {
        tables.push(row.get(0)?);
        Ok(())
    })?;
    let has = |name: &str| tables.iter().any(|table| table == name);
    Ok(match conn.backend() {
        _ if has("applied_schema_deltas") => Some(Foreign::Synapse),
        _ if has("schema_version") && has("clock") => None,
        _ if has("schema_version") => Some(Foreign::Unknown),
        // A PostgreSQL schema may contain tables of extensions and of other programs besides Plexus's.
        Backend::Sqlite if !tables.is_empty() => Some(Foreign::Unknown),
        _ => None,
    })
}

/// Returns what the operator can do about it.
fn remedy(options: &Options, found: Foreign) -> &'static str {
    match (options, found) {
        (_, Foreign::NotADatabase) => {
            "Set database.args.database to a file that does not exist yet, and Plexus makes it; if this was Plexus's \
             database, restore a backup"
        }
        (Options::Sqlite(_), _) => {
            "Set database.args.database to a file that does not exist yet, and Plexus makes it. The data of the other \
             program cannot be imported"
        }
        (Options::Postgres(_), _) => {
            "Make an empty database with `CREATE DATABASE plexus ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0` and \
             set database.args.dbname to its name. The data of the other program cannot be imported"
        }
    }
}

fn refusal(options: &Options, found: Foreign) -> OpenError {
    OpenError::Foreign { place: options.place(), found, remedy: remedy(options, found) }
}
