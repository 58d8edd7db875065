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

/// Reloads certificates, log levels and application services, and logs what was reloaded and what was not.
pub(super) async fn reload(running: &Running, telemetry: &Telemetry, started: &Started) {
    running.reload();
    reload_logging(telemetry, started.log_config.as_deref());
    compare(running, started).await;
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

/// Reloads the application services, and logs which other options have changed since the start: they act from the next
/// start on.
async fn compare(running: &Running, started: &Started) {
    match preflight::examine(&started.paths, started.options) {
        (report, Some(loaded)) if !report.has_errors() => {
            running.reload_app_services(&loaded.config.api.app_service_config_files).await;
            log_changes(started, &loaded.written);
        }
        (report, _) => {
            tracing::error!("SIGHUP: not reread, and the next start would fail: the configuration has mistakes");
            for error in &report.errors {
                tracing::error!("configuration: {error}");
            }
        }
    }
}

fn log_changes(started: &Started, written: &Written) {
    let mut changed = started.written.changed(written);
    changed.retain(|option| option != "app_service_config_files");
    if changed.is_empty() {
        tracing::info!("SIGHUP: the configuration is as it was at the start");
    } else {
        let changed = changed.join(", ");
        tracing::warn!("SIGHUP: not reread, because they act from the next start on: the changed options {changed}");
    }
}
