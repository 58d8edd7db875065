//! The configuration, the database, the disk, the limits of the system.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use plexus_base::config::{Config, Report};
use plexus_store::{Options, maintenance};
use rustix::process::{Resource, getrlimit};

use super::check::Check;
use crate::control_socket::{ControlClient, ControlClientError};
use crate::wire;

/// With less free space the server soon cannot write, in bytes.
const MIN_FREE_BYTES: u64 = 1 << 30;
/// Fewer open files than these hold up many clients and other servers.
const MIN_OPEN_FILES: u64 = 4096;

pub(super) fn configuration(report: &Report) -> Check {
    const NAME: &str = "configuration";
    let advice = "`plexus config check` explains each line";
    let first = |lines: Vec<String>| lines.into_iter().next().unwrap_or_default();
    if report.has_errors() {
        let errors: Vec<String> = report.errors.iter().map(ToString::to_string).collect();
        return Check::failed(NAME, format!("{} mistakes; the first: {}", errors.len(), first(errors)), advice);
    }
    if report.is_clean() {
        return Check::ok(NAME, "no mistakes");
    }
    let lines: Vec<String> = report.to_string().lines().map(str::to_owned).collect();
    Check::warning(NAME, format!("{} remarks; the first: {}", lines.len(), first(lines)), advice)
}

pub(super) async fn checks(config: &Config) -> Vec<Check> {
    let mut checks = vec![database(config).await];
    checks.extend(space("free space for media", &config.media.media_store_path));
    if let Ok(Options::Sqlite(options)) = wire::database_options(config)
        && let Some(folder) = std::path::absolute(&options.path).ok().as_deref().and_then(Path::parent)
    {
        checks.extend(space("free space for the database", folder));
    }
    checks.push(open_files(getrlimit(Resource::Nofile).maximum));
    checks
}

async fn database(config: &Config) -> Check {
    const NAME: &str = "database";
    let options = match wire::database_options(config) {
        Ok(options) => options,
        Err(error) => return Check::failed(NAME, error.to_string(), "correct the option `database`"),
    };
    let advice = match &options {
        Options::Sqlite(options) if !options.path.exists() => {
            return Check::skipped(NAME, format!("{} is made at the first start", options.path.display()));
        }
        Options::Sqlite(_) => "see `plexus db check`; the server migrates the database when it starts",
        Options::Postgres(_) => {
            "see docs/postgresql.md and `plexus db check`; the server makes and migrates its tables when it starts"
        }
    };
    match tokio::task::spawn_blocking(move || maintenance::product(&options)).await {
        Ok(Ok(product)) => Check::ok(NAME, format!("{product}; its tables are those of this version")),
        Ok(Err(error)) => Check::failed(NAME, error.to_string(), advice),
        Err(error) => Check::failed(NAME, error.to_string(), advice),
    }
}

fn space(name: &'static str, folder: &Path) -> Option<Check> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let status = rustix::fs::statvfs(folder).ok()?;
    Some(free_space(name, folder, status.f_bavail.saturating_mul(status.f_frsize)))
}

/// Judges the free space of a folder, in bytes.
fn free_space(name: &'static str, folder: &Path, free: u64) -> Check {
    let found = format!("{} MiB at {}", free >> 20, folder.display());
    if free < MIN_FREE_BYTES {
        Check::warning(name, found, "free some space, or move the folder")
    } else {
        Check::ok(name, found)
    }
}

/// Judges the limit of open files; `None`: there is none.
fn open_files(limit: Option<u64>) -> Check {
    const NAME: &str = "limit of open files";
    match limit {
        Some(files) if files < MIN_OPEN_FILES => Check::warning(
            NAME,
            format!("{files}, of which each connection needs one"),
            "raise it: LimitNOFILE=65536 in the systemd unit, or `ulimit -Hn`",
        ),
        Some(files) => Check::ok(NAME, files.to_string()),
        None => Check::ok(NAME, "none"),
    }
}

/// Whose processes may be the server: the configuration's owner starts it.
pub(super) fn owners(config: &Config) -> Vec<u32> {
    std::fs::metadata(&config.config_dir).map(|folder| folder.uid()).into_iter().collect()
}

pub(super) fn process(server: &Result<Option<ControlClient>, ControlClientError>) -> Check {
    const NAME: &str = "server";
    match server {
        Ok(Some(server)) => Check::ok(NAME, format!("it runs as process {}", server.process)),
        Ok(None) => Check::failed(NAME, "it does not run", "start it: `plexus start` or `systemctl start plexus`"),
        Err(error) => {
            Check::failed(NAME, error.to_string(), "run the command as the user that the server runs as, or as root")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::check::Outcome;

    #[test]
    fn little_free_space_is_a_warning() {
        let check = |free| free_space("free space for media", Path::new("/media"), free);
        let little = check(MIN_FREE_BYTES - 1);
        assert_eq!((little.outcome, little.found.as_str()), (Outcome::Warning, "1023 MiB at /media"));
        let enough = check(MIN_FREE_BYTES);
        assert_eq!((enough.outcome, enough.found.as_str()), (Outcome::Ok, "1024 MiB at /media"));
    }

    #[test]
    fn a_low_limit_of_open_files_is_a_warning() {
        for (limit, outcome, found) in [
            (Some(MIN_OPEN_FILES - 1), Outcome::Warning, "4095, of which each connection needs one"),
            (Some(MIN_OPEN_FILES), Outcome::Ok, "4096"),
            (None, Outcome::Ok, "none"),
        ] {
            let check = open_files(limit);
            assert_eq!((check.outcome, check.found.as_str()), (outcome, found));
        }
    }
}
