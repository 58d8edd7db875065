//! SIGHUP: reloads what can be reloaded while the server runs, and logs what cannot.

use std::path::{Path, PathBuf};

use plexus_base::config::{Options, Written};
use plexus_base::telemetry::Telemetry;

use crate::preflight;
use crate::running::Running;

/// The configuration at the start.
pub(super) struct Started {
    /// Its files and folders.
    pub paths: Vec<PathBuf>,
    /// How they were read.
    pub options: Options,
    /// Their content.
    pub written: Written,
    /// `log_config`
    pub log_config: Option<PathBuf>,
}

/// Reloads certificates and log levels, and logs what was reloaded and what was not.
pub(super) fn reload(running: &Running, telemetry: &Telemetry, started: &Started) {
    running.reload();
    reload_logging(telemetry, started.log_config.as_deref());
    compare(started);
}

fn reload_logging(telemetry: &Telemetry, log_config: Option<&Path>) {
    let Some(path) = log_config else {
        tracing::info!("SIGHUP: no log levels to reread, because log_config is not set");
        return;
    };
    match telemetry.reload_levels() {
        Ok(no_effect) => {
            tracing::info!("SIGHUP: reread the log levels in {}", path.display());
            for line in no_effect {
                tracing::warn!("log configuration: not in effect: {line}");
            }
        }
        Err(error) => tracing::error!("SIGHUP: the log levels stay as they were: {error}"),
    }
    match telemetry.reopen_files().as_slice() {
        [] => tracing::info!("SIGHUP: reopened the log files"),
        errors => errors.iter().for_each(|error| tracing::error!("SIGHUP: the log file in use stays: {error}")),
    }
}

/// Logs which options have changed since the start: they act from the next start on.
fn compare(started: &Started) {
    match preflight::examine(&started.paths, started.options) {
        (report, Some(loaded)) if !report.has_errors() => match started.written.changed(&loaded.written).as_slice() {
            [] => tracing::info!("SIGHUP: the configuration is as it was at the start"),
            changed => tracing::warn!(
                "SIGHUP: not reread, because they act from the next start on: the changed options {}",
                changed.join(", ")
            ),
        },
        (report, _) => {
            tracing::error!("SIGHUP: not reread, and the next start would fail: the configuration has mistakes");
            for error in &report.errors {
                tracing::error!("configuration: {error}");
            }
        }
    }
}
