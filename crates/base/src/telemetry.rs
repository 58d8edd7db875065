//! Logging: where to, from which level on, and changing that while the server runs.

mod log_config;
mod log_file;

use std::io;
use std::path::{Path, PathBuf};

use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::Clock;
pub use log_config::{Destination, LogConfig, LogConfigError, Output, Rotation};
use log_file::LogFile;

/// Logging cannot be set up as asked.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The file that `log_config` names is wrong.
    #[error(transparent)]
    Config(#[from] LogConfigError),
    /// A log file cannot be written.
    #[error("cannot write the log file {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// Another part of the process logs already.
    #[error("logging is set up already: {0}")]
    AlreadySetUp(#[from] TryInitError),
    /// The subscriber is gone.
    #[error("log levels cannot be changed: {0}")]
    Gone(#[from] reload::Error),
}

/// Logging as it was set up; changes levels while the server runs.
#[derive(Debug)]
pub struct Telemetry {
    log_config: Option<PathBuf>,
    levels: reload::Handle<Targets, Registry>,
    files: Vec<LogFile>,
}

/// Starts logging for the whole process: by the file that `log_config` names, or everything from INFO on to the
/// standard error. Also answers with what in that file has no effect.
///
/// # Errors
/// When the file is wrong, a log file cannot be written, or logging was started before.
pub fn start(log_config: Option<&Path>, clock: &Clock) -> Result<(Telemetry, Vec<String>), TelemetryError> {
    let config = read(log_config)?;
    let (levels, handle) = reload::Layer::new(config.targets());
    let mut files = Vec::new();
    let mut outputs = Vec::new();
    for output in &config.outputs {
        outputs.push(layer(output, clock, &mut files)?);
    }
    tracing_subscriber::registry().with(levels).with(outputs).try_init()?;
    let telemetry = Telemetry { log_config: log_config.map(Path::to_owned), levels: handle, files };
    Ok((telemetry, config.not_in_effect))
}

impl Telemetry {
    /// Reads the levels anew, and opens log files anew in case they were moved away. Also answers with what in the file has
    /// no effect; outputs stay as they were at start.
    ///
    /// # Errors
    /// When the file is wrong (the levels then stay as they are) or a log file cannot be written.
    pub fn reload(&self) -> Result<Vec<String>, TelemetryError> {
        let config = read(self.log_config.as_deref())?;
        self.levels.reload(config.targets())?;
        for file in &self.files {
            file.reopen().map_err(|source| TelemetryError::File { path: file.path().to_owned(), source })?;
        }
        Ok(config.not_in_effect)
    }
}

fn read(log_config: Option<&Path>) -> Result<LogConfig, LogConfigError> {
    match log_config {
        Some(path) => LogConfig::read(path),
        None => Ok(LogConfig::default()),
    }
}

type BoxedLayer<S> = Box<dyn Layer<S> + Send + Sync>;

fn layer<S>(output: &Output, clock: &Clock, files: &mut Vec<LogFile>) -> Result<BoxedLayer<S>, TelemetryError>
where
    S: Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    Ok(match &output.destination {
        Destination::Stdout => formatted(io::stdout, output, shows_colours(&io::stdout())),
        Destination::Stderr => formatted(io::stderr, output, shows_colours(&io::stderr())),
        Destination::File { path, rotation } => {
            let file = LogFile::open(path, *rotation, clock.clone());
            let file = file.map_err(|source| TelemetryError::File { path: path.clone(), source })?;
            files.push(file.clone());
            formatted(move || file.clone(), output, false)
        }
    })
}

/// Whether this is a terminal whose user has not switched colours off (<https://no-color.org>).
fn shows_colours(stream: &impl io::IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn formatted<S, W>(writer: W, output: &Output, colours: bool) -> BoxedLayer<S>
where
    S: Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    let level: LevelFilter = output.level;
    let layer = fmt::layer().with_writer(writer).with_ansi(colours);
    if output.json { layer.json().with_filter(level).boxed() } else { layer.with_filter(level).boxed() }
}

#[cfg(test)]
mod tests;
