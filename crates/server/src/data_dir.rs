//! Finding the configuration, and creating one at the first start.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use plexus_base::config::{self, Config, DEFAULT_PORT, Generate, Loaded, Options, Report};
use plexus_base::{Random, private};

use crate::command::{CommandError, ConfigArgs, ServeArgs, YesNo};
use crate::{key_file, preflight};

/// The default name of the server: only this machine can use it.
pub(crate) const DEFAULT_SERVER_NAME: &str = "localhost";

/// Why the first start could not create its files.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CreateError {
    /// The folder cannot be created or written to.
    #[error("cannot write to the folder {path}: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The configuration cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// There is a configuration already.
    #[error("{0} exists already")]
    Exists(PathBuf),
    /// The signing key.
    #[error(transparent)]
    Key(#[from] key_file::KeyError),
    /// The server's name.
    #[error("{0:?} is not a server name: a host name or address, with or without a port, such as example.com")]
    ServerName(String),
}

/// Returns the files and folders that make up the configuration.
pub(crate) fn paths(args: &ConfigArgs) -> Vec<PathBuf> {
    if args.config_path.is_empty() { vec![args.data_dir().join("homeserver.yaml")] } else { args.config_path.clone() }
}

/// Why the configuration could not be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// It has mistakes.
    #[error("the configuration is wrong:{0}")]
    Wrong(String),
    /// It does not exist.
    #[error("there is no configuration in {0}; `plexus serve` makes one, -c names another")]
    None(PathBuf),
    /// None of the named files and folders exists.
    #[error("there is no configuration file {0}")]
    Missing(PathBuf),
}

/// As [`paths`].
///
/// # Errors
/// When none of them exists.
pub(crate) fn existing(args: &ConfigArgs) -> Result<Vec<PathBuf>, LoadError> {
    let paths = paths(args);
    match paths.first() {
        Some(first) if !paths.iter().any(|path| path.exists()) => Err(if args.config_path.is_empty() {
            LoadError::None(args.data_dir().to_owned())
        } else {
            LoadError::Missing(first.clone())
        }),
        _ => Ok(paths),
    }
}

/// Reads the configuration.
///
/// # Errors
/// When a file cannot be read or an option is wrong; the text names file, line and option.
pub(crate) fn load(args: &ConfigArgs) -> Result<Loaded, LoadError> {
    load_with(args, false)
}

/// As [`load`]; with `forbid_secrets`, secrets written in the configuration itself are errors.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_with(args: &ConfigArgs, forbid_secrets: bool) -> Result<Loaded, LoadError> {
    config::load(&existing(args)?, Options { forbid_secrets }).map_err(LoadError::wrong)
}

/// As [`load_with`], and checks everything that the configuration names, too.
///
/// # Errors
/// When the server could not start with it; the text lists all mistakes.
pub(crate) fn examine(args: &ConfigArgs, forbid_secrets: bool) -> Result<Loaded, LoadError> {
    match preflight::examine(&existing(args)?, Options { forbid_secrets }) {
        (report, Some(loaded)) if !report.has_errors() => Ok(loaded),
        (report, _) => Err(LoadError::wrong(report)),
    }
}

impl LoadError {
    fn wrong(report: Report) -> Self {
        match report.errors.as_slice() {
            [error] => Self::Wrong(format!(" {error}")),
            _ => Self::Wrong(
                format!("\n{}", Report { errors: report.errors, ..Report::default() }).trim_end().to_owned(),
            ),
        }
    }
}

/// Creates the data directory with its configuration and signing key, unless a configuration is named or exists
/// already.
///
/// # Errors
/// See [`CreateError`].
pub(crate) fn create_if_new(args: &ServeArgs) -> Result<(), CreateError> {
    let target = args.config.data_dir().join("homeserver.yaml");
    if !args.config.config_path.is_empty() || target.exists() {
        return Ok(());
    }
    create_for(args, &target)
}

/// Implements `plexus serve --generate-config`: writes a configuration or, if there is one, the missing files that it
/// names. Returns the files that were written.
///
/// # Errors
/// When the existing configuration has mistakes, or a file cannot be written.
pub(crate) fn generate(args: &ServeArgs) -> Result<Vec<PathBuf>, CommandError> {
    let named = args.config.config_path.first().cloned();
    let target = named.unwrap_or_else(|| args.config.data_dir().join("homeserver.yaml"));
    if target.exists() {
        return create_missing(&mut load_with(&args.config, false)?.config);
    }
    create_for(args, &target)?;
    Ok(vec![target])
}

fn create_for(args: &ServeArgs, target: &Path) -> Result<(), CreateError> {
    let folder = target.parent().unwrap_or(Path::new(""));
    create(&New {
        target,
        config_dir: args.config_directory.as_deref().unwrap_or(folder),
        data_dir: args.config.data_dir.as_deref().unwrap_or(folder),
        server_name: args.server_name.as_deref().unwrap_or(DEFAULT_SERVER_NAME),
        report_stats: args.report_stats == Some(YesNo::Yes),
        open_ports: args.open_private_ports,
        port: args.port,
    })
}

/// A configuration to be created.
#[derive(Debug, Clone, Copy)]
pub(crate) struct New<'a> {
    /// The file.
    pub target: &'a Path,
    /// Where the signing key goes.
    pub config_dir: &'a Path,
    /// Where the data will be.
    pub data_dir: &'a Path,
    /// The server's name.
    pub server_name: &'a str,
    /// Whether anonymous statistics are reported.
    pub report_stats: bool,
    /// Whether to listen on all addresses.
    pub open_ports: bool,
    /// The port to listen on, if not the default for the server's name.
    pub port: Option<u16>,
}

/// Writes a configuration and a signing key. The configuration is written last and atomically, so that an interrupted
/// start can simply be repeated.
///
/// # Errors
/// See [`CreateError`].
pub(crate) fn create(new: &New<'_>) -> Result<(), CreateError> {
    let New { target, server_name, .. } = *new;
    require_server_name(server_name)?;
    if target.exists() {
        return Err(CreateError::Exists(target.to_owned()));
    }
    let target_dir = folder(target.parent().unwrap_or(Path::new("")))?;
    let config_dir = folder(new.config_dir)?;
    let data_dir = folder(new.data_dir)?;
    let key_path = config_dir.join(format!("{server_name}.signing.key"));
    let random = Random::system();
    if !key_path.exists() {
        key_file::write(&key_path, &key_file::make(&random)).map_err(|error| match error {
            key_file::KeyError::Write { source, .. } => CreateError::Folder { path: config_dir.clone(), source },
            other => CreateError::Key(other),
        })?;
    }
    let text = text(&New { config_dir: &config_dir, data_dir: &data_dir, ..*new }, &random);
    write_whole(&target_dir.join(target.file_name().unwrap_or("homeserver.yaml".as_ref())), &text)
}

/// Returns the text of a configuration, without writing it or a signing key.
///
/// # Errors
/// When the server's name is not valid.
pub(crate) fn configuration(new: &New<'_>) -> Result<String, CreateError> {
    require_server_name(new.server_name)?;
    Ok(text(new, &Random::system()))
}

/// Writes a configuration made by [`configuration`].
///
/// # Errors
/// When the file exists or cannot be written.
pub(crate) fn write_configuration(target: &Path, text: &str) -> Result<(), CreateError> {
    if target.exists() {
        return Err(CreateError::Exists(target.to_owned()));
    }
    write_whole(target, text)
}

fn require_server_name(name: &str) -> Result<(), CreateError> {
    match plexus_protocol::id::ServerName::try_from(name) {
        Ok(_) => Ok(()),
        Err(_) => Err(CreateError::ServerName(name.to_owned())),
    }
}

fn text(new: &New<'_>, random: &Random) -> String {
    let New { server_name, report_stats, config_dir, data_dir, .. } = *new;
    let port = new.port.unwrap_or_else(|| port_for(server_name));
    let text = config::generate(&Generate { server_name, report_stats, config_dir, data_dir, port }, random);
    if new.open_ports { text.replace("    bind_addresses: ['127.0.0.1']\n", "") } else { text }
}

/// Returns the port of the listener without TLS: 400 below the one in the server's name, as in Synapse's generator,
/// which leaves that one to the proxy in front.
fn port_for(server_name: &str) -> u16 {
    let named = plexus_protocol::id::ServerName::try_from(server_name).ok().and_then(|name| name.host_port().1);
    named.and_then(|port| port.checked_sub(400)).filter(|port| *port > 0).unwrap_or(DEFAULT_PORT)
}

/// Returns the folder's full path, creating the folder if it is missing.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn folder(path: &Path) -> Result<PathBuf, CreateError> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    private::create_folders(path)
        .and_then(|()| fs::canonicalize(path))
        .map_err(|source| CreateError::Folder { path: path.to_owned(), source })
}

/// Writes a file atomically. It holds secrets: only its owner can read it.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write_whole(path: &Path, text: &str) -> Result<(), CreateError> {
    let write_error = |source| CreateError::Write { path: path.to_owned(), source };
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let unfinished = PathBuf::from(name);
    let mut file = private::options().create(true).truncate(true).write(true).open(&unfinished).map_err(write_error)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(write_error)?;
    fs::rename(&unfinished, path).map_err(write_error)
}

/// Writes the missing files that the configuration names: signing key, log configuration and registration secret.
/// Returns those that were written.
///
/// # Errors
/// When one cannot be written.
pub(crate) fn create_missing(config: &mut Config) -> Result<Vec<PathBuf>, CommandError> {
    let random = Random::system();
    let mut written = Vec::new();
    let key = config.signing_key_path();
    if config.keys.signing_key.is_none() && !key.exists() {
        key_file::write(&key, &key_file::make(&random))?;
        written.push(key);
    }
    if let Some(path) = config.logging.log_config.as_ref().filter(|path| !path.exists()) {
        // In the current folder, as Synapse has it.
        let log_file = std::path::absolute("homeserver.log")?;
        write_whole(path, &config::generate_log_config(&log_file))?;
        written.push(path.clone());
    }
    written.extend(config.generate_missing_secrets(&random)?);
    Ok(written)
}
