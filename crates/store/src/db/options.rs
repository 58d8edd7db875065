//! The location of the database: Synapse's `database:` section.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use plexus_base::private;
use serde_json::{Map, Value};
use tokio_postgres::config::Host;

use super::tls::{SslMode, SslOptions, Tls};
use super::{DbError, OpenError};

/// The two kinds of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// SQLite, in the process.
    Sqlite,
    /// PostgreSQL, 12 or newer.
    Postgres,
}

/// The location of the database and how to connect to it.
#[derive(Clone, Debug)]
pub enum Options {
    /// `name: sqlite3`
    Sqlite(SqliteOptions),
    /// `name: psycopg2`
    Postgres(Box<PostgresOptions>),
}

/// An SQLite file.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// The file; its write-ahead log lies beside it.
    pub path: PathBuf,
}

/// A PostgreSQL database.
#[derive(Clone)]
pub struct PostgresOptions {
    /// Everything that the driver needs.
    pub config: tokio_postgres::Config,
    /// Whether and how the connection is encrypted; `config`'s own `ssl_mode` is not looked at.
    pub ssl: SslOptions,
    /// Connections at most, the writer's included.
    pub max_connections: usize,
    /// Accept a database whose locale is not C (`allow_unsafe_locale`).
    pub allow_unsafe_locale: bool,
}

impl std::fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The driver's own Debug leaves the password out.
        f.debug_struct("PostgresOptions").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A `database:` section that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// Neither of the two.
    #[error("database.name: {0:?} is not supported; allowed are sqlite3 and psycopg2")]
    Name(String),
    /// An argument of the wrong type or value.
    #[error("database.args.{option}: found {found}, expected {expected}")]
    Argument {
        /// The option's name.
        option: String,
        /// What was found.
        found: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// An argument that is not known.
    #[error("database.args.{0}: unknown option")]
    Unknown(String),
}

impl Options {
    /// An SQLite file.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self::Sqlite(SqliteOptions { path: path.into() })
    }

    /// From `database.name` and `database.args`; a relative SQLite path is relative to `directory`.
    pub fn from_config(
        name: &str,
        args: &Map<String, Value>,
        allow_unsafe_locale: bool,
        directory: &Path,
    ) -> Result<Self, OptionsError> {
        match name {
            "sqlite3" => sqlite_options(args, directory).map(Self::Sqlite),
            "psycopg2" => {
                let options = postgres_options(args)?;
                Ok(Self::Postgres(Box::new(PostgresOptions { allow_unsafe_locale, ..options })))
            }
            other => Err(OptionsError::Name(other.to_owned())),
        }
    }

    /// The file, or the name and the server of a PostgreSQL database, as an operator would name it.
    pub fn place(&self) -> String {
        match self {
            Self::Sqlite(options) => options.path.display().to_string(),
            Self::Postgres(options) => options.place(),
        }
    }

    /// Which kind of database this is.
    pub fn backend(&self) -> Backend {
        match self {
            Self::Sqlite(_) => Backend::Sqlite,
            Self::Postgres(_) => Backend::Postgres,
        }
    }

    /// How many threads read.
    pub(super) fn readers(&self) -> usize {
        match self {
            Self::Sqlite(_) => 4,
            Self::Postgres(options) => options.max_connections.saturating_sub(1).max(1),
        }
    }

    /// Keeps a second server off an SQLite file. (PostgreSQL has a lock of its own for that.)
    pub(super) fn lock(&self) -> Result<Option<File>, OpenError> {
        let Self::Sqlite(SqliteOptions { path }) = self else {
            return Ok(None);
        };
        let mut lock_path = path.as_os_str().to_owned();
        lock_path.push(".lock");
        let cannot = |error| OpenError::Lock { path: lock_path.to_string_lossy().into_owned(), error };
        let file = private::options().create(true).truncate(false).write(true).open(&lock_path).map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(self.place())),
            Err(TryLockError::Error(error)) => Err(cannot(error)),
        }
    }
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl PostgresOptions {
    /// Ten connections; where to is still to be said in `config`.
    pub fn new() -> Self {
        let mut config = tokio_postgres::Config::new();
        config
            .application_name("plexus")
            .connect_timeout(Duration::from_secs(10))
            .keepalives_idle(Duration::from_secs(30))
            .tcp_user_timeout(Duration::from_secs(30));
        Self { config, ssl: SslOptions::default(), max_connections: 10, allow_unsafe_locale: false }
    }

    /// Whether the files of `sslrootcert`, `sslcert` and `sslkey` can be used.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn check_certificates(&self) -> Result<(), DbError> {
        let local = self.config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        if !local && self.ssl.mode != SslMode::Disable {
            Tls::new(&self.ssl).map_err(|error| DbError::Unavailable(error.to_string()))?;
        }
        Ok(())
    }

    pub(super) fn place(&self) -> String {
        let database = self.config.get_dbname().or(self.config.get_user()).unwrap_or_default();
        format!("PostgreSQL database {database:?} at {}", places(&self.config))
    }
}

/// The hosts of a configuration, as an operator would name them.
fn places(config: &tokio_postgres::Config) -> String {
    let ports = config.get_ports();
    let hosts = config.get_hosts().iter().enumerate().map(|(index, host)| {
        let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        match host {
            Host::Tcp(name) => format!("{name}:{port}"),
            Host::Unix(folder) => folder.display().to_string(),
        }
    });
    hosts.collect::<Vec<_>>().join(", ")
}

fn sqlite_options(args: &Map<String, Value>, directory: &Path) -> Result<SqliteOptions, OptionsError> {
    let mut path = None;
    for (option, value) in args {
        match option.as_str() {
            "database" => path = Some(text(option, value)?),
            // psycopg2's and sqlite3's pools had sizes; ours has its own.
            "cp_min" | "cp_max" | "check_same_thread" => {}
            _ => return Err(OptionsError::Unknown(option.clone())),
        }
    }
    match path {
        Some(":memory:") | None => Err(OptionsError::Argument {
            option: "database".to_owned(),
            found: path.unwrap_or("nothing").to_owned(),
            expected: "the path of a file",
        }),
        Some(path) => Ok(SqliteOptions { path: directory.join(path) }),
    }
}

fn postgres_options(args: &Map<String, Value>) -> Result<PostgresOptions, OptionsError> {
    let PostgresOptions { mut config, mut ssl, mut max_connections, allow_unsafe_locale } = PostgresOptions::new();
    let (mut certificate, mut key) = (None, None);
    for (option, value) in args.iter().filter(|(_, value)| !value.is_null()) {
        match option.as_str() {
            "user" => drop(config.user(scalar(option, value)?)),
            "password" => drop(config.password(scalar(option, value)?)),
            "dbname" | "database" => drop(config.dbname(scalar(option, value)?)),
            "host" => drop(config.host(text(option, value)?)),
            "port" => drop(config.port(number(option, value)?)),
            "options" => drop(config.options(text(option, value)?)),
            "application_name" => drop(config.application_name(text(option, value)?)),
            "connect_timeout" => {
                config.connect_timeout(Duration::from_secs(number::<u32>(option, value)?.into()));
            }
            "keepalives_idle" => {
                config.keepalives_idle(Duration::from_secs(number::<u32>(option, value)?.into()));
            }
            "keepalives_interval" => {
                config.keepalives_interval(Duration::from_secs(number::<u32>(option, value)?.into()));
            }
            "tcp_user_timeout" => {
                config.tcp_user_timeout(Duration::from_millis(number::<u32>(option, value)?.into()));
            }
            "keepalives_count" => drop(config.keepalives_retries(number(option, value)?)),
            "sslmode" => ssl.mode = ssl_mode(option, value)?,
            "sslrootcert" => ssl.root = Some(text(option, value)?.into()),
            "sslcert" => certificate = Some(PathBuf::from(text(option, value)?)),
            "sslkey" => key = Some(PathBuf::from(text(option, value)?)),
            "cp_max" => max_connections = number::<u16>(option, value)?.max(2).into(),
            "cp_min" | "cp_noisy" | "cp_openfun" | "cp_name" | "cp_reconnect" => {}
            _ => return Err(OptionsError::Unknown(option.clone())),
        }
    }
    if config.get_hosts().is_empty() {
        config.host(["/var/run/postgresql", "/tmp"][usize::from(!Path::new("/var/run/postgresql").is_dir())]);
    }
    ssl.client = certificate.zip(key);
    Ok(PostgresOptions { config, ssl, max_connections, allow_unsafe_locale })
}

fn ssl_mode(option: &str, value: &Value) -> Result<SslMode, OptionsError> {
    Ok(match text(option, value)? {
        "disable" => SslMode::Disable,
        "allow" | "prefer" => SslMode::Prefer,
        "require" => SslMode::Require,
        "verify-ca" => SslMode::VerifyCa,
        "verify-full" => SslMode::VerifyFull,
        _ => {
            let expected = "disable, allow, prefer, require, verify-ca or verify-full";
            return Err(argument(option, value, expected));
        }
    })
}

fn text<'v>(option: &str, value: &'v Value) -> Result<&'v str, OptionsError> {
    value.as_str().ok_or_else(|| argument(option, value, "a text"))
}

/// Digits without quotes are a number in YAML, but names and passwords may consist of them.
fn scalar(option: &str, value: &Value) -> Result<String, OptionsError> {
    match value {
        Value::Number(number) => Ok(number.to_string()),
        other => text(option, other).map(str::to_owned),
    }
}

fn number<T: TryFrom<u64> + std::str::FromStr>(option: &str, value: &Value) -> Result<T, OptionsError> {
    let found = match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64().and_then(|number| T::try_from(number).ok()),
    };
    found.ok_or_else(|| argument(option, value, "a number in range"))
}

fn argument(option: &str, value: &Value, expected: &'static str) -> OptionsError {
    // Errors are printed and logged.
    let found = if option == "password" { "a value that is not shown here".to_owned() } else { value.to_string() };
    OptionsError::Argument { option: option.to_owned(), found, expected }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(member: &str, value: Value) -> Result<PostgresOptions, OptionsError> {
        postgres_options(&Map::from_iter([(member.to_owned(), value)]))
    }

    #[test]
    fn names_and_passwords_may_be_digits() {
        let options = read("password", json!(12_345_678)).expect("a password");
        assert_eq!(options.config.get_password(), Some(&b"12345678"[..]));
        assert_eq!(read("user", json!(7)).expect("a user").config.get_user(), Some("7"));
        assert_eq!(read("dbname", json!(8)).expect("a name").config.get_dbname(), Some("8"));
    }

    #[test]
    fn an_error_does_not_hold_the_password() {
        let error = read("password", json!(["hidden"])).expect_err("no password");
        assert!(!error.to_string().contains("hidden"), "{error}");
    }
}
